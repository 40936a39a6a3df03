"""A fact counts on its UTC day whatever its moment is written as, and on whatever engine."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from dayfold import Count, Moment, Rollup, Table
from tests.engines.ground import Ground
from tests.sql import is_clickhouse

DDL = """
    id bigint, aware timestamptz, naive timestamp, london timestamp, rabat timestamp, calendar date,
    text_zoned text, text_plain text, text_local text, seconds bigint, millis bigint
"""
LONDON, RABAT = ZoneInfo("Europe/London"), ZoneInfo("Africa/Casablanca")
#: Hours around every change of clocks that 2026 has in the two zones, and around two plain midnights.
CENTRES = ["2026-02-15T02", "2026-03-22T02", "2026-03-29T01", "2026-10-25T01", "2026-07-01T00", "2026-01-01T00"]
INSTANTS = sorted(
    {
        dt.datetime.fromisoformat(centre).replace(tzinfo=dt.UTC) + dt.timedelta(minutes=30 * step, microseconds=1)
        for centre in CENTRES
        for step in range(-8, 54)
    }
)
NEW_YEAR = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
#: Engines and Python carry tables of zones of different years; what Morocco does after this is not in all of them.
RABAT_KNOWN_UNTIL = dt.datetime(2026, 9, 1, tzinfo=dt.UTC)


def local(instant: dt.datetime, zone: ZoneInfo) -> dt.datetime | None:
    """The time on the wall, None where it names two instants."""
    wall = instant.astimezone(zone).replace(tzinfo=None)
    offsets = {wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)}
    return wall if len(offsets) == 1 else None


def rows() -> list[dict[str, object]]:
    found = []
    for number, instant in enumerate(INSTANTS):
        there = instant.astimezone(dt.timezone(dt.timedelta(hours=-9, minutes=-30)))
        on_the_wall = local(instant, LONDON)
        micros = (instant - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
        found.append(
            {
                "id": number,
                "aware": instant,
                "naive": instant.replace(tzinfo=None),
                "london": on_the_wall,
                "rabat": local(instant, RABAT) if instant < RABAT_KNOWN_UNTIL else None,
                "calendar": instant.date(),
                "text_zoned": there.isoformat(),
                "text_plain": instant.replace(tzinfo=None).isoformat(sep=" "),
                "text_local": on_the_wall and on_the_wall.isoformat(),
                "seconds": micros // 1_000_000,
                "millis": micros // 1000,
            }
        )
    return found


MOMENTS = {
    "aware": "aware",
    "naive": "naive",
    "london": Moment("london", tz="Europe/London"),
    "rabat": Moment("rabat", tz="Africa/Casablanca"),
    "text_zoned": Moment("text_zoned", unit="iso"),
    "text_plain": "text_plain",
    "text_local": Moment("text_local", tz="Europe/London"),
    "seconds": Moment("seconds", unit="s"),
    "millis": Moment("millis", unit="ms"),
}


def expected(length: dt.timedelta, column: str) -> dict[dt.datetime, int]:
    """Facts with a value in the column, by the start of their bucket."""
    counts: dict[dt.datetime, int] = {}
    for row, instant in zip(rows(), INSTANTS, strict=True):
        if row[column] is not None:
            bucket = NEW_YEAR - -((instant - NEW_YEAR) // length) * length
            counts[bucket] = counts.get(bucket, 0) + 1
    return counts


def test_every_kind_of_moment_counts_on_its_utc_day(ground: Ground) -> None:
    """Across both changes of clocks no fact moves to a neighbouring day, is lost, or counts twice."""
    fact = ground.table("fact")
    metrics = {name: Count(fact, at=at) for name, at in {**MOMENTS, "calendar": "calendar"}.items()}
    ground.load("fact", DDL, rows())
    ground.clock.instant = NEW_YEAR
    ground.define(type("Moments", (Rollup,), metrics))
    ground.fold()
    columns = list(metrics)
    stored = ground.stored(f"SELECT day, {', '.join(columns)} FROM moments")
    for place, name in enumerate(columns, start=1):
        wanted = {bucket.date(): count for bucket, count in expected(dt.timedelta(days=1), name).items()}
        assert {row[0]: row[place] for row in stored if row[place]} == wanted, name


def test_every_kind_of_moment_counts_in_its_utc_hour(ground: Ground) -> None:
    """Buckets of an hour show a wrong offset that a day would hide."""
    fact = ground.table("fact")
    ground.load("fact", DDL, rows())
    ground.clock.instant = NEW_YEAR
    metrics = {name: Count(fact, at=at) for name, at in MOMENTS.items()}
    ground.define(type("Moments", (Rollup,), {"grain": "hour", **metrics}))
    ground.fold()
    stored = ground.stored(f"SELECT bucket, {', '.join(MOMENTS)} FROM moments")
    for place, name in enumerate(MOMENTS, start=1):
        assert {row[0]: row[place] for row in stored if row[place]} == expected(dt.timedelta(hours=1), name), name


@pytest.mark.parametrize(
    ("wall", "zone", "utc"),
    [
        ("2026-10-25T01:30", "Europe/London", "2026-10-25T01:00"),
        ("2026-03-29T01:30", "Europe/London", "2026-03-29T01:00"),
    ],
    ids=["said twice", "never said"],
)
def test_a_time_that_is_said_twice_or_never_takes_the_standard_offset(
    ground: Ground, wall: str, zone: str, utc: str
) -> None:
    """One rule for what has no single answer, the same on both engines."""
    ground.load("fact", "said timestamp", [{"said": dt.datetime.fromisoformat(wall)}])
    ground.clock.instant = NEW_YEAR
    metrics = {"made": Count(ground.table("fact"), at=Moment("said", tz=zone))}
    ground.define(type("Moments", (Rollup,), {"grain": "hour", **metrics}))
    ground.fold()
    bucket = dt.datetime.fromisoformat(utc).replace(tzinfo=dt.UTC)
    assert ground.stored("SELECT bucket, made FROM moments") == [(bucket, 1)]


def test_moments_that_are_null_future_or_infinite_make_no_row(ground: Ground) -> None:
    """Facts of the future wait for their day; an infinite moment has none."""
    ddl = "aware timestamptz, naive timestamp, calendar date"
    ground.load("fact", ddl, [{"aware": None, "naive": None, "calendar": None}])
    beyond = () if is_clickhouse(ground.pairing.source) else ("infinity", "-infinity")
    for value in (*beyond, "2026-03-12 23:00", "2026-03-13 00:00", "2026-03-10 10:00"):
        cast = f"CAST('{value}' AS timestamp)"
        zoned = f"CAST('{value}' AS timestamptz)" if "infinity" in value else f"CAST('{value}+00' AS timestamptz)"
        day = f"CAST('{value[:10] if value[0] == '2' else value}' AS date)"
        ground.source(f"INSERT INTO fact SELECT {zoned}, {cast}, {day}")

    class Moments(Rollup):
        aware = Count(ground.table("fact"), at="aware")
        naive = Count(ground.table("fact"), at="naive")
        calendar = Count(ground.table("fact"), at="calendar")

    ground.define(Moments)
    ground.fold()
    rows = "SELECT day, aware, naive, calendar FROM moments ORDER BY day"
    two = [(dt.date(2026, 3, 10), 1, 1, 1), (dt.date(2026, 3, 12), 1, 1, 1)]
    assert ground.stored(rows) == two
    ground.clock.instant += dt.timedelta(days=1)
    ground.fold()
    assert ground.stored(rows) == [*two, (dt.date(2026, 3, 13), 1, 1, 1)]


def test_text_that_is_no_moment_fails_its_source(store: Ground) -> None:
    """A value that cannot be read is an error with a reason, never a row left out in silence."""
    store.load("fact", "made text", [{"made": "2026-03-10T10:00:00Z"}, {"made": "last Tuesday"}])

    class Moments(Rollup):
        made = Count(Table("fact"), at="made")

    [run] = store.define(Moments).fold()
    assert run.status != "done"
    assert "fact" in (run.error or "")
    assert "last Tuesday" not in (run.error or "")
    assert store.stored("SELECT * FROM moments") == []
