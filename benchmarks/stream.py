"""The stream of events: how long after its sender was answered an event arrives at whoever looks on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import subjects
from benchmarks.collect import METRICS
from benchmarks.load.client import Target, run
from benchmarks.load.events import Sent, steady
from benchmarks.machine import Failed, Stolen
from benchmarks.measures import server as postgres
from benchmarks.results import Line, missing
from benchmarks.serve import serving
from dayfold import Dayfold
from dayfold.collect.reading import uuid_of
from dayfold.errors import DayfoldError
from dayfold.ledger import tokens
from dayfold.plan.access import EVERYTHING

RATE, SECONDS, VIEWERS = 1_000, 10.0, 5
#: How long the last events may take before they count as lost.
_LAST_S = 5.0


def streamed(scale: int) -> Iterator[Line]:
    """Lines for a store of each engine."""
    with postgres() as url_of:
        for engine in ("DuckDB", "PostgreSQL"):
            work = f"the stream, {engine}, {RATE:,} events a second, {VIEWERS} look on"
            try:
                with subjects.folder() as place:
                    url = url_of("events") if engine == "PostgreSQL" else "duckdb:///store.duckdb"
                    yield _of_engine(work, place, url, max(SECONDS / scale, 2.0))
            except (Failed, DayfoldError, OSError, ValueError, asyncio.IncompleteReadError) as failed:
                yield missing(work, "Dayfold", str(failed))


def _of_engine(work: str, place: Path, url: str, seconds: float) -> Line:
    place.joinpath("metrics.py").write_text(METRICS)
    place.joinpath("dayfold.toml").write_text(f'[store]\nurl = "{url}"\n')
    with Dayfold(place / "metrics.py") as app:
        app.ledger.ready()
        with app.ledger.store.transaction() as session:
            secret = tokens.create(app.ledger, session, "load", "admin", EVERYTHING, None, "benchmarks")[1]
    with serving(place) as (at, _):
        return run(_measured(work, Target(at, secret), seconds))


async def _measured(work: str, target: Target, seconds: float) -> Line:
    arrived: dict[str, float] = {}
    ended: list[str] = []
    viewers = [asyncio.create_task(_look(target, arrived if number == 0 else {}, ended)) for number in range(VIEWERS)]
    # Lists are read and pages of the store warm before it counts.
    await steady(target, 100, 1.0)
    acknowledged: dict[str, float] = {}
    stolen = Stolen()
    sent: Sent = await steady(
        target, RATE, seconds, lambda body, now: acknowledged.update({uuid_of(json.loads(body)["id"]): now})
    )
    until = time.perf_counter() + _LAST_S
    while time.perf_counter() < until and not acknowledged.keys() <= arrived.keys():
        await asyncio.sleep(0.05)
    for one in viewers:
        one.cancel()
    if sent.wrong or ended:
        raise Failed((sent.wrong + ended)[0])
    waits = sorted(arrived[one] - at for one, at in acknowledged.items() if one in arrived)
    lost = len(acknowledged) - len(waits)
    p50, p95, p99 = (waits[int(share * len(waits))] for share in (0.5, 0.95, 0.99))
    said = (
        f"p95 {p95:.3f} s, p99 {p99:.3f} s, longest {waits[-1]:.3f} s; {lost} of {len(acknowledged):,} missing; "
        f"answers p95 {sent.quantile(0.95) * 1000:.0f} ms; p95 ≤ 1 s wanted; {stolen.share:.0%} stolen"
    )
    return Line(work, "from the answer to the viewer", f"{waits[0]:.3f} s", f"{p50:.3f} s", said)


async def _look(target: Target, arrived: dict[str, float], ended: list[str]) -> None:
    """Read a stream for as long as it lasts; when each event came."""
    host, port, _ = target.place
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 24)
    try:
        writer.write(target.request("/v1/events/stream"))
        name = b""
        while line := await reader.readline():
            if line.startswith(b"event: "):
                name = line[7:].strip()
            elif line.startswith(b"data: ") and name == b"events":
                now = time.perf_counter()
                for one in json.loads(line[6:]):
                    arrived[one["id"]] = now
            elif line.startswith(b"data: ") and name in (b"dropped", b"end"):
                ended.append(f"a stream ended: {line.decode()}")
    finally:
        writer.close()
