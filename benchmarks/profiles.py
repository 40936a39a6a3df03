"""Profiles: the customers of `examples/salon`, refreshed whole and in part, looked up one by one, and the days of their locations."""

from __future__ import annotations

import datetime as dt
import importlib.util
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import subjects
from benchmarks.machine import Failed
from benchmarks.measures import server
from benchmarks.results import Line, missing, ratio, seconds
from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.errors import DayfoldError

EXAMPLE = subjects.ROOT / "examples" / "salon"
TODAY = dt.date(2026, 3, 10)
NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)
PROFILE, ROLLUP = "CustomerAnalytics", "AnalyticsAppointmentsByLocationDaily"
SMALL, LARGE = 6_700, 500_000
TOUCHED, LOOKUPS, VIEWS = 1_000, 500, 50
DAY = dt.timedelta(days=1)
ENGINES = {"duckdb": "DuckDB", "postgres": "PostgreSQL"}
#: One booking of each of so many customers gets a note; others each time.
TOUCH = f"""
    UPDATE bookings SET note = 'seen at $turn' WHERE id IN (
        SELECT min(id) FROM bookings WHERE customer_id IS NOT NULL
        GROUP BY organization_id, customer_id ORDER BY organization_id, customer_id LIMIT {TOUCHED} OFFSET $offset
    )
"""


def profiled(scale: int, rounds: int) -> Iterator[Line]:
    """Lines for both engines at both sizes."""
    with ExitStack() as stack:
        url_of = stack.enter_context(server())
        for engine, title in ENGINES.items():
            for customers in (SMALL, LARGE // scale):
                salon = Salon(engine, customers, url_of)
                place = f"{title}, {customers:,} customers"
                for work, piece in (("full refresh", _full), ("in a process that is up", _inside)):
                    try:
                        yield from piece(f"profiles, {work}, {place}", salon, rounds)
                    except (Failed, DayfoldError, OSError, ValueError) as failed:
                        yield missing(f"profiles, {work}, {place}", "Dayfold", str(failed))


@dataclass(frozen=True)
class Salon:
    """The example's tables of a size on an engine, of which there are fresh copies."""

    engine: str
    customers: int
    url_of: Callable[..., str]

    @contextmanager
    def copy(self) -> Iterator[tuple[Path, str]]:
        """A folder with the definitions, and the address of a database with the rows and nothing else."""
        with subjects.folder() as place:
            shutil.copyfile(EXAMPLE / "metrics.py", place / "metrics.py")
            if self.engine == "duckdb":
                shutil.copyfile(self._file(), place / "salon.duckdb")
                yield place, f"duckdb:///{place}/salon.duckdb"
            else:
                yield place, self.url_of("round", self._database())

    def _file(self) -> Path:
        """The DuckDB file of this size; made if it is not there."""
        file = subjects.WORK / f"salon_{self.customers}.duckdb"
        if not file.exists():
            partial = file.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            _load(f"duckdb:///{partial}", self.customers)
            partial.rename(file)
        return file

    def _database(self) -> str:
        """The database of this size on the server; made if it is not there."""
        import psycopg

        name = f"salon_{self.customers}"
        with psycopg.connect(self.url_of("other"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchall()
        if not found:
            url = self.url_of(name)
            _load(url, self.customers)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
                connection.execute("CHECKPOINT")
        return name


def run_by_hand(url: str, today: dt.date = TODAY) -> float:
    """Seconds that the hand-written SQL takes from BEGIN to the end of COMMIT; its table is `by_hand`."""
    engine = "duckdb" if url.startswith("duckdb:") else "postgres"
    sql = (subjects.HERE / "sql" / f"{engine}_salon.sql").read_text().replace("$today", f"'{today} 00:00:00+00'")
    connection: Any
    if engine == "duckdb":
        import duckdb

        connection = duckdb.connect(url.removeprefix("duckdb:///"))
        connection.execute("SET TimeZone = 'UTC'")
    else:
        import psycopg

        connection = psycopg.connect(url, autocommit=True)
        connection.execute("SET TIME ZONE 'UTC'")
    with connection:
        started = time.perf_counter()
        connection.execute(sql)
        return time.perf_counter() - started


def _load(url: str, customers: int) -> None:
    _loader().load(url, customers, TODAY)


def _loader() -> ModuleType:
    """The example's loader."""
    spec = importlib.util.spec_from_file_location("salon_load", EXAMPLE / "load.py")
    if spec is None or spec.loader is None:
        raise Failed("the example has no loader")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _full(work: str, salon: Salon, rounds: int) -> Iterator[Line]:
    """Everybody from nothing: the hand-written SQL and Dayfold in turns, each on a fresh copy; and everybody again."""
    hand, ours, again = [], [], []
    for _ in range(rounds):
        with salon.copy() as (_, url):
            hand.append(run_by_hand(url))
        with salon.copy() as (place, url), Dayfold(*_settings(place, url), clock=FixedClock(NOW)) as app:
            ours.append(_fold(app, PROFILE))
            started = time.perf_counter()
            app.rebuild(PROFILE)
            again.append(time.perf_counter() - started)
    yield seconds(work, "hand-written SQL", hand)
    yield seconds(work, "Dayfold", ours, f"{ratio(ours, hand)} the hand-written SQL; ≤ 1.5 × wanted")
    yield seconds(work, "Dayfold, a rebuild that finds nothing to write", again)


def _inside(work: str, salon: Salon, rounds: int) -> Iterator[Line]:
    """Touched customers, midnights, one customer, and a month of the locations, where all has been folded before."""
    clock = FixedClock(NOW)
    with salon.copy() as (place, url), Dayfold(*_settings(place, url), clock=clock) as app:
        app.track_install()
        for name in (PROFILE, ROLLUP):
            _fold(app, name)
        touched = [_touched(app, turn) for turn in range(rounds)]
        yield seconds(work, f"Dayfold, a fold with {TOUCHED:,} touched customers", touched, "≤ 1 s wanted")
        yield _milliseconds(work, "Dayfold, a month of the locations by day", _views(app), "p95 ≤ 100 ms wanted")
        midnights = []
        for _ in range(rounds):
            clock.instant += DAY
            midnights.append(_fold(app, PROFILE))
        yield seconds(work, "Dayfold, a fold after a midnight, no row touched", midnights)
        yield _milliseconds(work, "Dayfold, one customer", _lookups(app), "p95 ≤ 5 ms wanted; 50 ms was the old target")


def _settings(place: Path, url: str) -> tuple[Path, dict[str, Any]]:
    return place / "metrics.py", {"store": {"url": url}}


def _fold(app: Dayfold, name: str, cells: int | None = None) -> float:
    """Seconds of a fold, which computed so many rows."""
    started = time.perf_counter()
    runs = {run.rollup: run for run in app.fold([name])}
    taken = time.perf_counter() - started
    run = runs[name]
    if run.error:
        raise Failed(run.error)
    if cells not in (None, run.cells):
        raise Failed(f"expected {cells} rows, got {run.cells}")
    return taken


def _touched(app: Dayfold, turn: int) -> float:
    """Seconds of the refresh of some customers, others each time."""
    with app.databases.store.transaction() as session:
        session.execute(TOUCH.replace("$turn", str(turn)).replace("$offset", str(turn * TOUCHED)))
    return _fold(app, PROFILE, TOUCHED)


def _lookups(app: Dayfold) -> list[float]:
    """Seconds of single customers, all over the table."""
    times = []
    for n in range(LOOKUPS):
        key = {"organization_id": 1, "square_customer_id": f"C{1 + n * 7 % 4000:06}"}
        started = time.perf_counter()
        _ = app.profile(PROFILE, key).row
        times.append(time.perf_counter() - started)
    return times


def _views(app: Dayfold) -> list[float]:
    """Seconds of a month of all locations of an organization, another month each time."""
    times = []
    for n in range(VIEWS):
        last = TODAY - (n + 1) * DAY
        started = time.perf_counter()
        app.query(ROLLUP, from_=last - 29 * DAY, to=last, by=["location_id"], where=["organization_id=1"])
        times.append(time.perf_counter() - started)
    return times


def _milliseconds(work: str, contestant: str, times: list[float], compared: str) -> Line:
    """A line of many short times: the 95th percentile and the median."""
    p95 = statistics.quantiles(times, n=20)[-1]
    return Line(work, contestant, f"p95 {p95 * 1e3:.1f} ms", f"{statistics.median(times) * 1e3:.1f} ms", compared)
