"""What triggers cost the application: a bulk insert, and single-row updates, beside the same table without them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import events, subjects
from benchmarks.machine import Failed
from benchmarks.measures import millions, server
from benchmarks.results import Line, ratio, seconds
from dayfold import Dayfold

UPDATES = 500
COLUMNS = (
    "id bigint PRIMARY KEY, account text NOT NULL, occurred_at timestamptz NOT NULL, "
    "kind text NOT NULL, amount numeric(12, 2) NOT NULL, visitor text"
)
WITHOUT, WITH = "plain_event", "tracked_event"


def triggers(rows: int, rounds: int) -> Iterator[Line]:
    """Inserts and updates with and without triggers, in turns, on both engines."""
    with subjects.folder() as place:
        events.store_copy(rows, subjects.WORK, place)
        yield from _measure(place, "duckdb:///store.duckdb", "DuckDB", rows, rounds)
    with server() as url_of, subjects.folder() as place:
        events.fill_postgres(url_of("events"), rows, subjects.WORK)
        yield from _measure(place, url_of("round", "events"), "PostgreSQL", rows, rounds)


def _measure(place: Path, url: str, engine: str, rows: int, rounds: int) -> Iterator[Line]:
    subjects.set_up_dayfold(place, "tracked", url)
    with Dayfold(place / "metrics.py") as app:
        for table in (WITHOUT, WITH):
            _execute(app, f"CREATE TABLE {table} ({COLUMNS})")
        app.migrate()
        app.track_install()
        times = _inserts(app, rounds)
        cells = _logged(app)
        work = f"triggers, {engine}, insert of {millions(rows)} in one statement"
        yield seconds(work, "without triggers", times[WITHOUT])
        compared = f"{ratio(times[WITH], times[WITHOUT])} the insert without; {cells:,} cells logged"
        yield seconds(work, "with triggers", times[WITH], compared)
        updates = _updates(app, rows)
        work = f"triggers, {engine}, update of one row by its id, {UPDATES} times"
        middle = statistics.median(updates[WITH]) - statistics.median(updates[WITHOUT])
        yield _milliseconds(work, "without triggers", updates[WITHOUT], "")
        yield _milliseconds(work, "with triggers", updates[WITH], f"{1000 * middle:+.3f} ms in the median")


def _execute(app: Dayfold, statement: str) -> float:
    """Seconds of one statement in a transaction of its own."""
    started = time.perf_counter()
    with app.databases.store.transaction() as session:
        session.execute(statement)
    return time.perf_counter() - started


def _inserts(app: Dayfold, rounds: int) -> dict[str, list[float]]:
    """The whole of `event` into each table, empty before, in turns."""
    times: dict[str, list[float]] = {WITHOUT: [], WITH: []}
    for number in range(rounds + 1):
        for table, taken in times.items():
            _execute(app, f"TRUNCATE {table}")
            _execute(app, "DELETE FROM dayfold__marks")
            inserted = _execute(app, f"INSERT INTO {table} SELECT * FROM event")
            # The first turn fills caches; it is not counted.
            if number:
                taken.append(inserted)
    return times


def _logged(app: Dayfold) -> int:
    """How many marks the last insert left: one for each account and day, not for each row."""
    with app.databases.store.transaction() as session:
        found = session.execute("DELETE FROM dayfold__marks")
    if not found:
        raise Failed("the triggers logged nothing")
    return found


def _updates(app: Dayfold, rows: int) -> dict[str, list[float]]:
    """Single-row updates of a column that a metric sums, in turns, so that a slow moment hits both."""
    times: dict[str, list[float]] = {WITHOUT: [], WITH: []}
    for number in range(UPDATES):
        for table, taken in times.items():
            taken.append(_execute(app, f"UPDATE {table} SET amount = amount + 1 WHERE id = {number * 997 % rows}"))
    return times


def _milliseconds(work: str, contestant: str, times: list[float], compared: str) -> Line:
    best, middle = (f"{1000 * one:.3f} ms" for one in (min(times), statistics.median(times)))
    return Line(work, contestant, best, middle, compared)
