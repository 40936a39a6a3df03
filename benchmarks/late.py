"""Late rows among a year of events: what one changed cell costs, and ten thousand of them."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from benchmarks import events, subjects
from benchmarks.machine import Failed, run
from benchmarks.measures import millions, server
from benchmarks.results import Line, missing, ratio, seconds
from dayfold import Dayfold
from dayfold.clock import FixedClock

#: The evening of the last day of the events, so that the lookback looks at days that hold some.
NOW = dt.datetime(2025, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
MANY = 10_000
#: What a stale cell is for an account and a day; both engines read it. $first is the first new id.
INSERT = f"""
    INSERT INTO event (id, account, occurred_at, kind, amount, visitor)
    SELECT $first + i, 'account-' || lpad(CAST(i % {events.ACCOUNTS} AS varchar), 3, '0'),
        TIMESTAMPTZ '2025-01-02 12:00:00+00' + CAST((i - i % {events.ACCOUNTS}) / {events.ACCOUNTS} * 18 AS integer)
            * INTERVAL '1 day',
        'purchase', 12.34, 'late'
    FROM generate_series(CAST($from AS bigint), $from + $count - 1) AS t (i)
"""


class Late:
    """Inserts late rows into distinct cells, other cells each time."""

    def __init__(self, rows: int) -> None:
        self.next = rows

    def statement(self, count: int) -> str:
        """A statement that makes so many cells stale."""
        self.next += MANY
        start = 0 if count > 1 else (self.next // MANY * 37) % MANY
        words = {"$first": self.next, "$from": start, "$count": count}
        text = INSERT
        for word, value in words.items():
            text = text.replace(word, str(value))
        return text


def late_rows(rows: int, rounds: int) -> Iterator[Line]:
    """One stale cell and many, inside a process that is up and as a whole process, on both engines."""
    for engine, lines in (("DuckDB", _duckdb), ("PostgreSQL", _postgres)):
        work = f"one late row among {millions(rows)} of a year, {engine}"
        try:
            yield from lines(work, rows, rounds)
        except Failed as failed:
            yield missing(work, "Dayfold", str(failed))


def _duckdb(work: str, rows: int, rounds: int) -> Iterator[Line]:
    with subjects.folder() as place:
        events.store_copy(rows, subjects.WORK, place, events.YEAR)
        late = Late(rows)
        yield from _inside(place, "duckdb:///store.duckdb", work, late, rounds)
        whole = []
        for _ in range(rounds):
            with duckdb.connect(str(place / "store.duckdb")) as connection:
                connection.execute(late.statement(1))
            finished, [folded] = subjects.fold(place, now=NOW)
            _check(folded["cells"], 1)
            whole.append(finished.seconds)
        yield seconds(work, "Dayfold, whole process", whole)
    yield _sqlmesh(work, rows, rounds, whole)


def _postgres(work: str, rows: int, rounds: int) -> Iterator[Line]:
    with server() as url_of, subjects.folder() as place:
        url = url_of("events")
        events.fill_postgres(url, rows, subjects.WORK, events.YEAR, "CREATE INDEX ON event (account, occurred_at)")
        yield from _inside(place, url, work, Late(rows), rounds)


def _inside(place: Path, url: str, work: str, late: Late, rounds: int) -> Iterator[Line]:
    """Lines of folds in this process: the changed cell, the lookback, many changed cells."""
    one, many = [], []
    subjects.set_up_dayfold(place, "late", url)
    with Dayfold(place / "metrics.py", clock=FixedClock(NOW)) as app:
        app.track_install()
        _fold(app, None)
        for _ in range(rounds):
            _insert(app, late.statement(1))
            one.append(_fold(app, 1))
        for _ in range(rounds):
            _insert(app, late.statement(MANY))
            many.append(_fold(app, MANY))
    # The same rollup without changes=…: every fold computes the last week again, whatever changed.
    subjects.set_up_dayfold(place, "counts", url)
    with Dayfold(place / "metrics.py", clock=FixedClock(NOW)) as app:
        lookback = [_fold(app, None) for _ in range(rounds + 1)][1:]
    subjects.set_up_dayfold(place, "late", url)
    yield seconds(work, "Dayfold, a fold in a process that is up", one, "1 cell computed, 1 row written")
    beside = f"{ratio(lookback, one)} the changed cell, and no row older than a week is seen"
    yield seconds(work, "Dayfold, the same with a fixed lookback of 7 days", lookback, beside)
    title = f"Dayfold, {MANY:,} stale cells in a process that is up"
    yield seconds(work, title, many, f"{min(many) / MANY * 1e6:.0f} µs a cell")


def _insert(app: Dayfold, statement: str) -> None:
    with app.databases.store.transaction() as session:
        session.execute(statement)


def _fold(app: Dayfold, cells: int | None) -> float:
    """Seconds of a fold, which computed so many cells and wrote as many rows."""
    started = time.perf_counter()
    [result] = app.fold()
    taken = time.perf_counter() - started
    if result.error:
        raise Failed(result.error)
    if cells is not None:
        _check(result.cells, cells)
        _check(result.rows_inserted + result.rows_updated + result.rows_deleted, cells)
    return taken


def _check(found: float, expected: int) -> None:
    """A fold that did less than all would look fast."""
    if found != expected:
        raise Failed(f"expected {expected} cells, got {found:g}")


def _sqlmesh(work: str, rows: int, rounds: int, ours: list[float]) -> Line:
    """SQLMesh is told the day of the late row and computes that day for every account."""
    title = "SQLMesh, whole process, told which day to restate"
    try:
        with _sqlmesh_store(rows) as (place, command):
            late = Late(rows)
            times = []
            # The first run fills caches of files and bytecode; it is not counted.
            for _ in range(rounds + 1):
                with duckdb.connect(str(place / "store.duckdb")) as connection:
                    connection.execute(late.statement(1))
                    [(day,)] = connection.execute(
                        "SELECT strftime(occurred_at AT TIME ZONE 'UTC', '%Y-%m-%d') FROM event ORDER BY id DESC LIMIT 1"
                    ).fetchall()
                times.append(
                    run(command(["--restate-model", "bench.event_daily", "-s", day, "-e", day]), place).seconds
                )
                _check_sqlmesh(place / "store.duckdb")
    except (Failed, OSError, ValueError) as failed:
        return missing(work, title, str(failed))
    return seconds(work, title, times[1:], f"{ratio(times[1:], ours)} Dayfold, whole process")


@contextmanager
def _sqlmesh_store(rows: int) -> Iterator[tuple[Path, Callable[[list[str]], list[str]]]]:
    """A folder with the events, folded once by SQLMesh, and the command that changes it."""
    program = str(subjects.rival_python("sqlmesh").parent / "sqlmesh")

    def command(more: list[str]) -> list[str]:
        return [program, "plan", *more, "--auto-apply", "--no-prompts"]

    with subjects.folder() as place:
        shutil.copytree(subjects.HERE / "sqlmesh" / "late", place, dirs_exist_ok=True)
        events.store_copy(rows, subjects.WORK, place, events.YEAR)
        run(command([]), place)
        yield place, command


def _check_sqlmesh(store: Path) -> None:
    with duckdb.connect(str(store), read_only=True) as connection:
        [(found, expected)] = connection.execute(
            "SELECT (SELECT sum(events) FROM bench.event_daily), (SELECT count(*) FROM event)"
        ).fetchall()
    if found != expected:
        raise Failed(f"sqlmesh holds {found} events, expected {expected}")
