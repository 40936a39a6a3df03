"""The collector: single events and batches with millions stored, the time of an answer while a fold runs, memory, and a fold of the log."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import subjects
from benchmarks.load.client import Connection, Target, run
from benchmarks.load.events import Sent, crowd, steady
from benchmarks.machine import Failed, Stolen
from benchmarks.measures import millions
from benchmarks.measures import server as postgres
from benchmarks.results import Line, missing
from benchmarks.serve import announced, serving
from dayfold import Dayfold
from dayfold.errors import DayfoldError
from dayfold.ledger import tokens
from dayfold.plan.access import EVERYTHING
from dayfold.plan.sql import Statement, sql

STORED, FOLDED = 5_000_000, 1_000_000
CONNECTIONS, BATCH, BATCH_CONNECTIONS, CROWD_S, STEADY, STEADY_S = 256, 500, 8, 20.0, 100, 20.0
MEMORY_RATE, MEMORY_S, SOAK_S = 1_000, 120.0, 600.0
METRICS = '''
from dayfold import Count, Distinct, Rollup, Sum, events

events.columns(project_id="text", ip_asset_id="text", license_id="text")


class DailyMetrics(Rollup):
    """What happened with one asset on one day."""

    key = ("project_id", "ip_asset_id", "license_id")
    views = Count(events, at="occurred_at", where="event_type = 'asset_viewed'")
    clicks = Count(events, at="occurred_at", where="event_type = 'asset_downloaded'")
    unique_visitors = Distinct(events, "coalesce(actor_id, anonymous_id)", at="occurred_at")
    seconds = Sum(events, "(props->>'seconds')::bigint", at="occurred_at", trust="public")
'''
#: A rival that does all that a web server has to, and keeps nothing.
BARE = """
import json, socket, sys
import msgspec, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

async def events(request):
    found = msgspec.json.decode(await request.body())
    count = len(found) if isinstance(found, list) else 1
    return Response(b'{"accepted":%d,"quarantined":0,"ignored":0,"errors":[]}' % count, media_type="application/json")

listener = socket.socket()
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
listener.bind(("127.0.0.1", 0))
listener.listen(2048)
print(json.dumps({"url": "http://127.0.0.1:%d" % listener.getsockname()[1]}), flush=True)
app = Starlette(routes=[Route("/v1/events", events, methods=["POST"])])
uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listener])
"""
#: Events that are stored before anything is measured: as many a day, over 100 days, with ids of their own.
FILL = """
select {uuid} as id, _until - (n % 100) * interval '1 day' - (n % 80000) * interval '1 second' as occurred_at, _until as received_at,
  'web' as source, 'server' as trust, case when n % 10 = 0 then 'asset_downloaded' else 'asset_viewed' end as event_type,
  'visitor-' || ((n::bigint * 7919) % 20000)::text as anonymous_id, 'session-' || ((n::bigint * 7919) % 20000)::text as session_id,
  '{{"seconds": ' || (n % 60)::text || ', "title": "A page of the catalogue"}}' as properties,
  'https://studio.example/assets/' || (n % 300)::text as page, 'letter' as utm_source, 'autumn' as utm_campaign,
  'desktop' as device_type, 'Chrome' as browser, 'Windows' as os, false as is_bot,
  'project-' || (n % 20)::text as project_id, 'asset-' || (n % 200)::text as ip_asset_id
from {series} as s (n)
"""


def collected(scale: int, soak: bool) -> Iterator[Line]:
    """Lines for a store of each engine, with events stored before."""
    bare = _bare()
    yield from bare.values()
    with postgres() as url_of:
        for engine, stored in (("DuckDB", STORED // scale), ("PostgreSQL", FOLDED // scale)):
            work = f"the collector, {engine}, {millions(stored)} stored"
            try:
                with subjects.folder() as place:
                    url = url_of("events") if engine == "PostgreSQL" else "duckdb:///store.duckdb"
                    yield from _of_engine(work, place, engine, url, stored, SOAK_S if soak else MEMORY_S / scale)
            except (Failed, DayfoldError, OSError, ValueError, asyncio.IncompleteReadError) as failed:
                yield missing(work, "Dayfold", str(failed))


def folded(scale: int, rounds: int) -> Iterator[Line]:
    """Lines for a fold of a log that was never folded, beside the SQL that a person would write."""
    rows = FOLDED // scale
    ours, theirs = [], []
    work = f"fold of the event log, DuckDB, {millions(rows)}"
    for _ in range(rounds):
        with subjects.folder() as place:
            _set_up(place, "duckdb:///store.duckdb")
            with Dayfold(place / "metrics.py") as app:
                app.ledger.ready()
                app.event_log.make()
                _fill(app, "DuckDB", rows)
                began = time.perf_counter()
                with app.ledger.store.transaction() as session:
                    session.execute(_HAND_WRITTEN)
                theirs.append(time.perf_counter() - began)
                began = time.perf_counter()
                [result] = app.fold()
                ours.append(time.perf_counter() - began)
                if result.error:
                    raise Failed(result.error)
    said = f"{statistics.median(ours) / statistics.median(theirs):.2f} × hand-written SQL without sets; ≤ 1 s wanted"
    yield Line(work, "Dayfold", f"{min(ours):.3f} s", f"{statistics.median(ours):.3f} s", said)
    yield Line(work, "hand-written SQL", f"{min(theirs):.3f} s", f"{statistics.median(theirs):.3f} s", "")


_HAND_WRITTEN = """
CREATE TABLE by_hand AS SELECT occurred_at::date AS day, project_id, ip_asset_id, license_id,
  count(*) FILTER (event_type = 'asset_viewed') AS views, count(*) FILTER (event_type = 'asset_downloaded') AS clicks,
  count(DISTINCT coalesce(actor_id, anonymous_id)) AS unique_visitors, sum((properties->>'seconds')::bigint) AS seconds
FROM dayfold_events GROUP BY ALL
"""


def _set_up(place: Path, url: str) -> None:
    place.joinpath("metrics.py").write_text(METRICS)
    place.joinpath("dayfold.toml").write_text(f'[store]\nurl = "{url}"\n')


def _fill(app: Dayfold, engine: str, rows: int) -> None:
    """Events and their ids are in the log."""
    uuid, series = (
        ("uuid()", f"range({rows})") if engine == "DuckDB" else ("gen_random_uuid()", f"generate_series(1, {rows})")
    )
    dialect = app.ledger.store.dialect.name
    with app.ledger.store.transaction() as session:
        query = sql(FILL.format(uuid=uuid, series=series), dialect, _until=sql("now()", dialect))
        session.stage("fill", Statement(query))
        names = [one for one in query.named_selects if one != "properties"]
        columns = ", ".join(names)
        session.execute("INSERT INTO dayfold__event_ids (id, day, digest) SELECT id, occurred_at::date, 0 FROM fill")
        session.execute(
            f"INSERT INTO dayfold_events ({columns}, properties) SELECT {columns}, properties::json FROM fill"
        )


def _of_engine(work: str, place: Path, engine: str, url: str, stored: int, memory_s: float) -> Iterator[Line]:
    _set_up(place, url)
    with Dayfold(place / "metrics.py") as app:
        app.ledger.ready()
        app.event_log.make()
        before = _resident_kb()
        _fill(app, engine, stored)
        app.fold()
        with app.ledger.store.transaction() as session:
            secret = tokens.create(app.ledger, session, "load", "admin", EVERYTHING, None, "benchmarks")[1]
            sizes = app.ledger.store.sizes(session, ["dayfold_events", "dayfold__event_ids"])
    yield _ids(work, engine, stored, sizes, before)
    with serving(place) as (at, process):
        target = Target(at, secret)
        yield from run(_measured(work, target, process.pid, memory_s))


def _ids(work: str, engine: str, stored: int, sizes: dict[str, tuple[int, int]], before: int) -> Line:
    """What a million ids take, on disk and, in DuckDB, whose key is kept in memory, there."""
    events, ids = (sizes[name][1] / stored for name in ("dayfold_events", "dayfold__event_ids"))
    said = f"{events:,.0f} bytes an event in the log" + (f", {ids:,.0f} in the table of ids" if ids else "")
    if engine == "DuckDB":
        found = key_bytes(stored)
        return Line(
            work,
            "bytes of the key of ids, in memory",
            f"{found / stored * 1e6 / 1e6:,.0f} MB",
            "–",
            f"a million; {said}",
        )
    return Line(work, "bytes of an event with its indexes", f"{events:,.0f}", "–", said)


def key_bytes(stored: int) -> float:
    """What a process that only opens a key of so many ids and looks one up holds, without what it holds before."""
    program = (
        "import duckdb, sys, uuid\n"
        "def rss():\n"
        "    return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmRSS'))\n"
        "with duckdb.connect(':memory:') as c:\n"
        "    c.execute('create table ids (id uuid primary key, day date not null, digest bigint not null)')\n"
        "    c.execute('set enable_progress_bar = false')\n"
        "    before = rss()\n"
        "    c.execute('insert into ids select uuid(), current_date, 0 from range(%d)' % int(sys.argv[1]))\n"
        "    print(rss() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(stored)], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


async def _measured(work: str, target: Target, pid: int, memory_s: float) -> list[Line]:
    await crowd(target, 16, 1.0, 1)
    stolen = Stolen()
    singles = await crowd(target, CONNECTIONS, CROWD_S, 1)
    lines = [_rate(work, f"single events, {CONNECTIONS} connections", singles, "≥ 8,000 a second wanted", stolen)]
    stolen = Stolen()
    batches = await crowd(target, BATCH_CONNECTIONS, CROWD_S, BATCH)
    lines.append(
        _rate(work, f"batches of {BATCH}, {BATCH_CONNECTIONS} connections", batches, "≥ 50,000 a second wanted", stolen)
    )
    await _settled(target)
    stolen = Stolen()
    lines.append(
        _times(work, f"{STEADY} events a second", await steady(target, STEADY, STEADY_S), "p95 ≤ 10 ms wanted", stolen)
    )
    ended = asyncio.Event()
    folding = asyncio.create_task(_fold_on(target, ended))
    stolen = Stolen()
    found = await steady(target, STEADY, STEADY_S)
    ended.set()
    folds = await folding
    lines.append(
        _times(
            work,
            f"{STEADY} events a second while rollups are rebuilt",
            found,
            f"{folds} rebuilds; p95 ≤ 10 ms wanted",
            stolen,
        )
    )
    await _settled(target)
    before = _resident_kb(pid)
    sent = await steady(target, MEMORY_RATE, memory_s)
    await _settled(target)
    after = _resident_kb(pid)
    said = f"{before / 1024:,.0f} MB before {memory_s:.0f} s of {MEMORY_RATE:,} events a second; {len(sent.wrong)} wrong answers"
    lines.append(Line(work, "memory of the server", f"{after / 1024:,.0f} MB", "–", said))
    return lines


async def _settled(target: Target) -> None:
    """What was acknowledged is in the log, too."""
    connection = Connection(target)
    await connection.open()
    await connection.post("/v1/events?wait=log", b'{"event_type": "settled"}')
    connection.close()


async def _fold_on(target: Target, ended: asyncio.Event) -> int:
    """Rebuild all days of the rollup, one rebuild after another."""
    connection = Connection(target)
    await connection.open()
    done = 0
    while not ended.is_set():
        answer = await connection.post("/v1/rebuild", b'{"rollup": "DailyMetrics", "from": "-95d", "to": "today"}')
        run_id = json.loads(answer.body).get("id")
        while not ended.is_set():
            state = json.loads((await connection.get(f"/v1/runs/{run_id}")).body)
            if state.get("status") not in ("queued", "running"):
                done += 1
                break
            await asyncio.sleep(0.05)
    connection.close()
    return done


def _rate(work: str, what: str, found: Sent, said: str, stolen: Stolen) -> Line:
    if found.wrong:
        raise Failed(f"{what}: {len(found.wrong)} wrong answers, the first: {found.wrong[0]}")
    times = f"p50 {1000 * found.quantile(0.5):.1f} ms, p95 {1000 * found.quantile(0.95):.1f} ms"
    host = f"the host took {stolen.share:.0%} of the processors"
    return Line(work, what, f"{found.rate:,.0f} a second", "–", f"{times}; {said}; {host}")


def _times(work: str, what: str, found: Sent, said: str, stolen: Stolen) -> Line:
    if found.wrong:
        raise Failed(f"{what}: {len(found.wrong)} wrong answers, the first: {found.wrong[0]}")
    p50, p95 = 1000 * found.quantile(0.5), 1000 * found.quantile(0.95)
    return Line(
        work, what, f"p95 {p95:.1f} ms", f"{p50:.1f} ms", f"{said}; the host took {stolen.share:.0%} of the processors"
    )


def _bare() -> dict[str, Line]:
    """What a web server reaches that reads the same bodies and keeps nothing."""
    work = "a Starlette route that reads events and keeps none"
    with subjects.folder() as place, _running(place) as at:
        target = Target(at, "none")
        stolen = Stolen()
        singles = run(crowd(target, CONNECTIONS, CROWD_S / 2, 1))
        batches = run(crowd(target, BATCH_CONNECTIONS, CROWD_S / 2, BATCH))
    return {
        "singles": _rate(work, f"single events, {CONNECTIONS} connections", singles, "nothing is kept", stolen),
        "batches": _rate(
            work, f"batches of {BATCH}, {BATCH_CONNECTIONS} connections", batches, "nothing is kept", stolen
        ),
    }


@contextmanager
def _running(place: Path) -> Iterator[str]:
    program = place / "bare.py"
    program.write_text(BARE)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen([sys.executable, program], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield announced(process)
    finally:
        process.kill()
        process.wait()


def _resident_kb(pid: int | str = "self") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
