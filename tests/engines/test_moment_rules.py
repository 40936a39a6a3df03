"""Moments name the same instant and the same day on every engine as in Python, at clock changes too."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dayfold import Moment
from dayfold.days import Days
from dayfold.define.source import Table
from dayfold.define.types import Type
from dayfold.engines.duckdb import DuckStore
from dayfold.engines.postgres import PostgresStore
from dayfold.errors import SourceFailed
from dayfold.plan.expressions import Compiler, Typed
from dayfold.plan.moments import BoundMoment, bind_moment
from dayfold.plan.sql import Values, column, sql, statement
from tests.conftest import SOAK
from tests.servers import PostgresServer
from tests.sql import Session

pytestmark = pytest.mark.in_turn

ENGINES = ("duckdb", "postgres")
ZONES = ("Europe/London", "America/New_York", "Africa/Casablanca", "Asia/Kathmandu", "Australia/Lord_Howe")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
TYPES = {
    "id": "integer", "aware": "timestamptz", "wall": "timestamp", "calendar": "date", "txt": "text", "whole": "bigint",
    "short": "integer", "exact": "numeric(30,9)", "float": "double precision",
}  # fmt: skip
FAILS = "an error"


@dataclass(frozen=True)
class Clock:
    """One row on each engine, and what a moment of it is there."""

    stores: dict[str, DuckStore | PostgresStore]
    types: dict[str, dict[str, Type]]

    def put(self, name: str, value: Any) -> None:
        """Write the one row's column, as text."""
        # The cast that is written here is the database's own, so that infinities can be written too.
        text = None if value is None else str(value)
        for store in self.stores.values():
            with store.transaction() as session:
                session.execute(statement(f"update facts set {name} = cast(:value as {TYPES[name]})", value=text))

    def bound(self, engine: str, moment: Moment) -> BoundMoment:
        store = self.stores[engine]
        scope = {name: Typed(column(name), type_) for name, type_ in self.types[engine].items()}
        return bind_moment(moment, Compiler(scope, store.dialect, "facts"))

    def read(self, engine: str, moment: Moment, *days: dt.date) -> Any:
        """Instant in microseconds since 1970, its day, and for each of the days whether it is selected by it."""
        store, bound, values = self.stores[engine], self.bound(engine, moment), Values()
        micros = {
            "duckdb": "epoch_us(_i)",
            "postgres": "cast(floor(extract(epoch from _i) * 1000000) as bigint)",
        }[engine]
        items = [store.dialect.sql(micros, _i=bound.instant), sql("cast(_d as varchar)", _d=bound.day)]
        items += [bound.within(Days(day, day), values) for day in days]
        try:
            with store.transaction() as session:
                return session.rows(statement("select _items from facts", values=values, _items=items))[0]
        except SourceFailed:
            return FAILS


@pytest.fixture(scope="module")
def clock(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clock]:
    path = tmp_path_factory.mktemp("moments") / "facts.duckdb"
    with postgres_server.database() as url:
        for place in (f"duckdb:///{path}", url):
            with Session(place) as session:
                session.run(f"CREATE TABLE facts ({', '.join(map(' '.join, TYPES.items()))})")
                session.run("INSERT INTO facts (id) VALUES (1)")
        stores: dict[str, DuckStore | PostgresStore] = {"duckdb": DuckStore(str(path)), "postgres": PostgresStore(url)}
        made = Clock(stores, {engine: store.describe(Table("facts")) for engine, store in stores.items()})
        yield made
        for store in made.stores.values():
            store.close()


def told(instant: dt.datetime) -> tuple[int, str]:
    """An instant as the engines give it: microseconds since 1970, and the day."""
    micros = (instant - EPOCH) // dt.timedelta(microseconds=1)
    return micros, f"{instant.astimezone(dt.UTC).date()}"


def at_wall(wall: dt.datetime, zone: str) -> dt.datetime:
    """The rule in Python's words: a repeated time is the later one, a skipped one has the offset before the change."""
    there = wall.replace(tzinfo=ZoneInfo(zone))
    again = there.replace(fold=1)
    repeated = there.utcoffset() > again.utcoffset()  # type: ignore[operator]  # these zones have offsets
    return (again if repeated else there).astimezone(dt.UTC)


def agree(clock: Clock, moment: Moment, expected: tuple[int, str]) -> None:
    """Both engines say the expected instant and day, and select it by that day and by no day beside it."""
    day, one = dt.date.fromisoformat(expected[1]), dt.timedelta(days=1)
    for engine in ENGINES:
        assert clock.read(engine, moment, day - one, day, day + one) == (*expected, False, True, False), engine


def changes(zone: str) -> list[dt.datetime]:
    """Local times around every clock change from 2024 to 2026, and around midnights."""
    start, found = dt.datetime(2024, 1, 1, tzinfo=dt.UTC), []
    for hours in range(3 * 366 * 24):
        instant = start + dt.timedelta(hours=hours)
        before, after = (i.astimezone(ZoneInfo(zone)) for i in (instant, instant + dt.timedelta(hours=1)))
        if before.utcoffset() != after.utcoffset():
            found += [before.replace(tzinfo=None, fold=0) + dt.timedelta(minutes=m) for m in range(-60, 181, 15)]
    return [*found, *(dt.datetime.fromisoformat(t) for t in ("2026-01-01T00:00", "2026-07-01T23:59:59.999999"))]


@pytest.mark.parametrize("zone", ZONES)
def test_local_times_at_clock_changes(clock: Clock, zone: str) -> None:
    """A time that a change repeats is the later instant, a skipped one has the offset before; on every engine."""
    walls = changes(zone)
    assert len(walls) > 2 or zone == "Asia/Kathmandu"
    assert any(at_wall(w, zone).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != w for w in walls) == (len(walls) > 2)
    for wall in walls:
        clock.put("wall", wall)
        expected = told(at_wall(wall, zone))
        for engine in ENGINES:
            assert clock.read(engine, Moment("wall", tz=zone))[:2] == expected, (engine, wall)


@settings(max_examples=2_000 if SOAK else 40)
@given(st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2026, 6, 30)), st.sampled_from(ZONES))
def test_local_times_of_a_lifetime(clock: Clock, wall: dt.datetime, zone: str) -> None:
    """Python's table of zones says the same, in a timestamp and in text."""
    expected = told(at_wall(wall, zone))
    clock.put("wall", wall)
    agree(clock, Moment("wall", tz=zone), expected)
    clock.put("txt", wall.isoformat())
    agree(clock, Moment("txt", tz=zone), expected)


@settings(max_examples=1_000 if SOAK else 25)
@given(
    st.datetimes(
        dt.datetime(2, 1, 1),
        dt.datetime(9998, 12, 30),
        timezones=st.timezones().map(lambda z: z) if SOAK else st.just(dt.UTC),
    )
)
@example(dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC))
@example(dt.datetime(2024, 2, 29, 0, 0, tzinfo=dt.UTC))
def test_instants_from_year_2_to_9998(clock: Clock, instant: dt.datetime) -> None:
    """Written as timestamptz, timestamp in UTC, ISO text and seconds: always the same instant."""
    instant = instant.astimezone(dt.UTC)
    expected = told(instant)
    clock.put("aware", instant.isoformat())
    agree(clock, Moment("aware"), expected)
    clock.put("wall", instant.replace(tzinfo=None))
    agree(clock, Moment("wall"), expected)
    clock.put("txt", instant.isoformat())
    agree(clock, Moment("txt"), expected)
    seconds, micros = divmod(expected[0], 1_000_000)
    clock.put("whole", seconds)
    agree(clock, Moment("whole", unit="s"), (seconds * 1_000_000, expected[1]))
    clock.put("whole", expected[0] // 1000)
    agree(clock, Moment("whole", unit="ms"), (expected[0] // 1000 * 1000, expected[1]))
    # Before 1970 the fraction still counts upwards: -0.5 is half a second before midnight.
    clock.put(
        "exact", f"{'-' if expected[0] < 0 else ''}{abs(expected[0]) // 1_000_000}.{abs(expected[0]) % 1_000_000:06}"
    )
    agree(clock, Moment("exact", unit="s"), (seconds * 1_000_000 + micros, expected[1]))


TEXTS = {
    "2026-03-01": "2026-03-01T00:00:00",
    "2026-03-01T10:20": "2026-03-01T10:20:00",
    "2026-03-01 10:20:30": "2026-03-01T10:20:30",
    " 2026-03-01T10:20:30Z\n": "2026-03-01T10:20:30",
    "2026-03-01T10:20:30.5Z": "2026-03-01T10:20:30.500000",
    "2026-03-01T23:59:59.9999999Z": "2026-03-01T23:59:59.999999",
    "2026-03-01T23:59:59.999999999": "2026-03-01T23:59:59.999999",
    "2026-03-01T00:30:00+01:00": "2026-02-28T23:30:00",
    "2026-03-01 00:30:00+0530": "2026-02-28T19:00:00",
    "2026-02-28T20:00-08": "2026-03-01T04:00:00",
    "2026-03-01T10:20:30.123456+00:00": "2026-03-01T10:20:30.123456",
}


@pytest.mark.parametrize(("text", "instant"), TEXTS.items())
def test_iso_texts(clock: Clock, text: str, instant: str) -> None:
    """Every form of ISO 8601 that engines share; digits past the sixth are cut and never move the day."""
    clock.put("txt", text)
    agree(clock, Moment("txt"), told(dt.datetime.fromisoformat(instant).replace(tzinfo=dt.UTC)))


@pytest.mark.parametrize(
    "text", ["", "now", "today", "epoch", "infinity", "1 March 2026", "03/01/2026", "20260301", "2026-02-30",
             "2026-03-01T24:00", "1700000000", "2026-03-01T10:20:60Z", "2026-03-01T10:20:30 Europe/London", "2026-W09-7", "0000-01-01"]
)  # fmt: skip
def test_other_texts_are_errors(clock: Clock, text: str) -> None:
    """What is no ISO text is an error everywhere, never the present moment or another day."""
    clock.put("txt", text)
    for engine in ENGINES:
        assert clock.read(engine, Moment("txt")) == FAILS, engine


EPOCHS = [
    ("short", "s", 2**31 - 1, (2**31 - 1) * 1_000_000),
    ("short", "ms", -1, -1_000),
    ("whole", "s", 0, 0),
    ("whole", "s", -1, -1_000_000),
    ("whole", "ms", 1_700_000_000_123, 1_700_000_000_123_000),
    ("whole", "ms", 253_402_214_400_000 - 1, (253_402_214_400_000 - 1) * 1_000),
    ("exact", "s", "1700000000.123456789", 1_700_000_000_123_456),
    ("exact", "s", "-0.000000001", -1),
    ("exact", "ms", "86399999.999999999", 86_399_999_999),
    ("float", "s", "1700000000.5", 1_700_000_000_500_000),
    ("float", "s", "86399.9999999", 86_399_999_999),
    ("float", "s", "-0.5", -500_000),
    ("float", "ms", "1700000000123.25", 1_700_000_000_123_250),
]


@pytest.mark.parametrize(("name", "unit", "value", "micros"), EPOCHS)
def test_epochs(clock: Clock, name: str, unit: str, value: Any, micros: int) -> None:
    """Seconds and milliseconds of every number type, negative and with fractions, which are cut downwards."""
    clock.put(name, value)
    agree(clock, Moment(name, unit=unit), told(EPOCH + dt.timedelta(microseconds=micros)))


@pytest.mark.parametrize(("name", "unit", "value"), [
    ("whole", "s", 2**63 - 1), ("whole", "s", -(2**63)), ("whole", "ms", 2**63 - 1), ("whole", "s", 10**13), ("exact", "s", "1" * 21),
    ("float", "s", "1e300"), ("float", "s", "NaN"), ("float", "ms", "Infinity"), ("float", "s", "-Infinity"),
])  # fmt: skip
def test_epochs_beyond_the_calendar_are_errors(clock: Clock, name: str, unit: str, value: Any) -> None:
    """No number wraps around into a day that it does not name."""
    clock.put(name, value)
    for engine in ENGINES:
        assert clock.read(engine, Moment(name, unit=unit)) == FAILS, engine


@pytest.mark.parametrize("value", ["infinity", "-infinity", None])
@pytest.mark.parametrize(
    "moment", [Moment("aware"), Moment("wall"), Moment("wall", tz="Europe/London"), Moment("calendar")], ids=str
)
def test_infinities_and_nulls_are_on_no_day(clock: Clock, moment: Moment, value: str | None) -> None:
    """A fact without a moment, or with one that no calendar has, is selected by no range of days."""
    clock.put(moment.column, value)
    for engine in ENGINES:
        bound, values = clock.bound(engine, moment), Values()
        test = bound.within(Days(dt.date(1, 1, 1), dt.date(9999, 12, 31)), values)
        with clock.stores[engine].transaction() as session:
            assert session.rows(statement("select count(*) from facts where _w", values=values, _w=test)) == [(0,)]


@pytest.mark.parametrize("minutes", [15, 60])
@pytest.mark.parametrize(
    "text", ["1969-12-31T23:59:59.999999Z", "2026-03-29T00:59:59Z", "2026-03-01T10:44:59+05:45", "0002-01-01T00:00:00Z"]
)
def test_buckets_of_a_day(clock: Clock, text: str, minutes: int) -> None:
    """A stored bucket begins at the last whole quarter or hour, on every engine and before 1970."""
    clock.put("aware", text)
    instant = dt.datetime.fromisoformat(text).astimezone(dt.UTC)
    length = dt.timedelta(minutes=minutes)
    expected = f"{(EPOCH + (instant - EPOCH) // length * length).replace(tzinfo=None)}"
    for engine in ENGINES:
        bucket = clock.bound(engine, Moment("aware")).bucket(minutes)
        store = clock.stores[engine]
        one = statement(
            "select cast(_b as varchar) from facts", _b=store.dialect.sql("_b AT TIME ZONE 'UTC'", _b=bucket)
        )
        with store.transaction() as session:
            assert session.rows(one) == [(expected,)]
