"""The HTTP server: a year of one key, an unchanged answer, and a crowd while rows are published every five seconds."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks import subjects
from benchmarks.load.client import Connection, Target, run
from benchmarks.load.work import Subject, Timing, crowd, one_by_one, unchanged
from benchmarks.machine import Failed, Stolen
from benchmarks.measures import server as postgres
from benchmarks.results import Line, missing
from dayfold import Dayfold
from dayfold.ledger import tokens
from dayfold.plan.access import EVERYTHING

KEYS, YEARS = 1_000, 3
CLIENTS, DASHBOARDS, CROWD_S, PUBLISHED_EVERY_S = 1_000, 20, 30.0, 5.0
METRICS = """
from dayfold import Count, Ratio, Rollup, Sum, Table

event = Table("event", database={database!r}, changes="trigger")


class ShopDaily(Rollup):
    \"\"\"What one shop sold on one day.\"\"\"

    key = "shop_id"
    orders = Count(event, at="made_at")
    items = Sum(event, "items", at="made_at")
    cents = Sum(event, "cents", at="made_at")
    cents_per_order = Ratio("cents", "orders")
"""
FILL = """
    CREATE TABLE event (shop_id bigint, made_at timestamptz, items bigint, cents bigint);
    INSERT INTO event SELECT k, (current_date - {days} + d) + interval '10 hours', (k * 7 + d) % 5, (k * 13 + d * 7) % 10000
    FROM generate_series(1, {keys}) AS a (k), generate_series(1, {days}) AS b (d);
    CREATE INDEX ON event (made_at)
"""


def served(scale: int) -> Iterator[Line]:
    """Lines for a store of each engine; the source is PostgreSQL."""
    keys = KEYS // scale
    with postgres() as url_of:
        for engine in ("DuckDB", "PostgreSQL"):
            work = f"`dayfold serve`, {engine}, {keys:,} keys × {YEARS} years"
            url = url_of("shops")
            try:
                with subjects.folder() as place:
                    yield from _of_engine(work, place, engine, url, keys)
            except (Failed, OSError, ValueError, asyncio.IncompleteReadError) as failed:
                yield missing(work, "Dayfold", str(failed))


def _of_engine(work: str, place: Path, engine: str, url: str, keys: int) -> Iterator[Line]:
    days = 365 * YEARS + 1
    with psycopg.connect(url, autocommit=True) as connection:
        for text in FILL.format(days=days - 1, keys=keys).split(";"):
            connection.execute(text)
    store = url if engine == "PostgreSQL" else "duckdb:///store.duckdb"
    database = None if engine == "PostgreSQL" else "app"
    place.joinpath("metrics.py").write_text(METRICS.format(database=database))
    databases = "" if database is None else f'[databases.app]\nurl = "{url}"\n'
    place.joinpath("dayfold.toml").write_text(f'[store]\nurl = "{store}"\n{databases}')
    with Dayfold(place / "metrics.py") as app:
        app.track_install()
        [result] = app.fold()
        if result.error:
            raise Failed(result.error)
        with app.ledger.store.transaction() as session:
            secret = tokens.create(app.ledger, session, "load", "admin", EVERYTHING, None, "benchmarks")[1]
    with serving(place) as (at, _):
        yield from run(_measured(work, Target(at, secret), url, keys))


async def _measured(work: str, target: Target, url: str, keys: int) -> list[Line]:
    today = dt.datetime.now(dt.UTC).date()
    subject = Subject(
        "ShopDaily", "orders", "shop_id", [str(key) for key in range(1, min(keys, 300) + 1)],
        str(today - dt.timedelta(days=364)), str(today), str(today.replace(day=1)),
    )  # fmt: skip
    # The first answers fill caches of files and texts.
    await one_by_one(target, Subject(**{**subject.__dict__, "values": subject.values[-5:]}))
    stolen = Stolen()
    found = await one_by_one(target, Subject(**{**subject.__dict__, "values": subject.values[:-5]}))
    lines = [_line(work, "a year of one key, computed", found, "p95 ≤ 25 ms wanted", stolen)]
    stolen = Stolen()
    found = await unchanged(target, subject, 50, 20_000)
    said = f"{found.rate:,.0f} a second; ≥ 2,000 wanted"
    lines.append(_line(work, "the same, unchanged (304), 50 connections", found, said, stolen))
    stolen = Stolen()
    ended = asyncio.Event()
    publisher = asyncio.create_task(_publish(target, url, ended))
    found, kinds = await crowd(target, subject, CLIENTS, DASHBOARDS, CROWD_S)
    ended.set()
    published = await publisher
    whole = sum(kinds.values())
    said = (
        f"{found.rate:,.0f} a second; {kinds.get('hit', 0) / whole:.1%} kept answers, {kinds.get('joined', 0) / whole:.1%} "
        f"waited for another's; {published} publications; p95 ≤ 500 ms and ≥ 90 % wanted"
    )
    lines.append(
        _line(work, f"{CLIENTS:,} clients at once, {DASHBOARDS} dashboards of 5 questions", found, said, stolen)
    )
    return lines


async def _publish(target: Target, url: str, ended: asyncio.Event) -> int:
    """Insert a row and have it folded, every five seconds; how often rows were published."""
    connection = Connection(target)
    await connection.open()
    published = 0
    with psycopg.connect(url, autocommit=True) as source:
        while not ended.is_set():
            source.execute("INSERT INTO event SELECT 1 + (random() * 10)::int, now() - interval '1 day', 1, 100")
            answer = await connection.post("/v1/jobs/fold/trigger", b"{}")
            if answer.status == 202:
                published += 1
            try:
                await asyncio.wait_for(ended.wait(), PUBLISHED_EVERY_S)
            except TimeoutError:
                continue
    connection.close()
    return published


def _line(work: str, what: str, found: Timing, said: str, stolen: Stolen) -> Line:
    if found.wrong:
        raise Failed(f"{what}: {len(found.wrong)} wrong answers, the first: {found.wrong[0]}")
    p50, p95 = 1000 * found.quantile(0.50), 1000 * found.quantile(0.95)
    host = f"; the host took {stolen.share:.0%} of the processors"
    return Line(work, what, f"p95 {p95:.1f} ms", f"{p50:.1f} ms", said + host)


@contextmanager
def serving(place: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`dayfold serve` as a process of its own, with compiled bytecode and without a schedule; the value is its URL, and the process."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {
        "DAYFOLD_SCHEDULE__FOLD": "off",
        "DAYFOLD_SCHEDULE__FINALIZE": "off",
        "DAYFOLD_SCHEDULE__VERIFY": "off",
        "DAYFOLD_SCHEDULE__ENRICH": "off",
    }
    command = [str(Path(sys.executable).parent / "dayfold"), "serve", "--port", "0", "--host", "127.0.0.1", "--json"]
    with place.joinpath("serve.log").open("w") as log:
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield announced(process), process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def announced(process: subprocess.Popen[str]) -> str:
    """The server's URL, which it prints as JSON once it listens."""
    assert process.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        line = process.stdout.readline()
        if not line:
            raise Failed("`dayfold serve` did not start")
        text += line
    return str(json.loads(text)["url"])
