"""Sets of distinct values: the same on every engine, united over days and keys, honest when they overflow."""

from __future__ import annotations

import datetime as dt
import math

import pytest

from dayfold import Distinct, Rollup
from tests.engines.ground import Ground, march
from tests.exactness.oracle import SET_LIMIT, hashes

KEY = "0123456789abcdef0123456789abcdef"


def with_store_key(ground: Ground) -> None:
    """A store whose secret is known."""
    ground.opened.migrate()
    ground.stored("UPDATE dayfold__store SET store_key = $1", [KEY])


def test_sets_are_the_same_on_every_engine(ground: Ground) -> None:
    """For one store key every pairing stores the very same hashes, of text, integers, UUIDs, dates, booleans."""
    uuid = "0b9f5d0e-8b1a-4c9e-9d7e-0123456789ab"
    ground.source("CREATE TABLE visit (who text, number bigint, mark uuid, born date, flag boolean, made timestamptz)")
    for who, number, born, flag in (
        ("caf\u00e9", -1, "2024-02-29", True),
        ("cafe\u0301", 2**62, "0999-01-01", False),
        ("", 0, None, True),
        (None, None, None, None),
        ("ann", 0, "2024-02-29", True),
    ):
        ground.source(
            "INSERT INTO visit VALUES ($1, $2, CAST($3 AS uuid), CAST($4 AS date), $5, $6)",
            [who, number, uuid.upper(), born, flag, march(10)],
        )
    names = {"who": "who", "number": "number", "mark": "mark", "born": "born", "flag": "flag"}
    visit = ground.table("visit")
    ground.define(type("Visits", (Rollup,), {n: Distinct(visit, e, at="made") for n, e in names.items()}))
    with_store_key(ground)
    ground.fold()
    [sets] = ground.stored(f"SELECT {', '.join(names)} FROM visits__sets")
    values = {
        "who": {"caf\u00e9", "cafe\u0301", "", "ann"},
        "number": {-1, 2**62, 0},
        "mark": {uuid},
        "born": {dt.date(2024, 2, 29), dt.date(999, 1, 1)},
        "flag": {True, False},
    }
    for name, found in zip(names, sets, strict=True):
        assert found == hashes(values[name], KEY), name
    [row] = ground.ask("Visits", first=10, last=10)
    assert row == {"day": dt.date(2026, 3, 10)} | {name: len(found) for name, found in values.items()}


def test_uniques_of_many_days_are_not_the_sum_of_daily_uniques(ground: Ground) -> None:
    """Ten people over three days and two shops, in every overlap: united, never added."""
    rows = [
        {"shop": shop, "who": f"p{person}", "made": march(9 + day)}
        for day, shop, people in ((0, 1, range(4)), (0, 2, range(2, 6)), (1, 1, range(4)), (2, 2, range(8, 12)))
        for person in people
    ]
    ground.load("visit", "shop bigint, who text, made timestamptz", rows)

    class Visits(Rollup):
        key = "shop"
        people = Distinct(ground.table("visit"), "who", at="made")

    ground.define(Visits)
    ground.fold()
    answer = ground.answer("Visits", "people", first=9, last=11, grain="total")
    assert [row["people"] for row in answer.rows] == [10]
    assert answer.exact == {"people": True}
    by_shop = ground.ask("Visits", "people", first=9, last=11, grain="total", by=["shop"])
    assert {row["shop"]: row["people"] for row in by_shop} == {1: 4, 2: 8}


@pytest.mark.parametrize("people", [40_000])
def test_a_set_that_overflows_keeps_the_smallest_and_says_so(ground: Ground, people: int) -> None:
    """The bucket's count stays exact; a wider question is an estimate, marked, within four standard errors."""
    ground.source("CREATE TABLE visit (who bigint, made timestamptz)")
    for first, day in ((0, 10), (people // 2, 11)):
        ground.source(
            f"INSERT INTO visit SELECT n, TIMESTAMPTZ '2026-03-{day} 12:00:00+00' "
            f"FROM (SELECT generate_series AS n FROM generate_series({first}, {first + people - 1})) AS numbers"
        )

    class Visits(Rollup):
        people = Distinct(ground.table("visit"), "who", at="made")

    ground.define(Visits)
    with_store_key(ground)
    ground.fold()
    [(stored,)] = ground.stored("SELECT people FROM visits__sets WHERE day = DATE '2026-03-10'")
    assert stored == hashes(range(people), KEY)
    assert len(stored) == SET_LIMIT
    one = ground.answer("Visits", "people", first=10, last=10)
    assert (one.rows[0]["people"], one.exact, one.error) == (people, {"people": True}, {})
    both = ground.answer("Visits", "people", first=10, last=11, grain="total")
    assert both.exact == {"people": False}
    error = both.error["people"]
    assert 0 < error < 2 / math.sqrt(SET_LIMIT)
    true = people // 2 + people
    assert abs(both.rows[0]["people"] - true) <= 4 * error * true


def test_complete_sets_unite_exactly_whatever_the_size_of_the_union(store: Ground) -> None:
    """Two complete sets whose union is larger than what one may hold: still exact."""
    store.source("CREATE TABLE visit (who bigint, made timestamptz)")
    for first, day in ((0, 10), (10_000, 11)):
        store.source(
            f"INSERT INTO visit SELECT n, TIMESTAMPTZ '2026-03-{day} 12:00:00+00' "
            f"FROM (SELECT generate_series AS n FROM generate_series({first}, {first + 14_999})) AS numbers"
        )

    class Visits(Rollup):
        people = Distinct(store.table("visit"), "who", at="made")

    store.define(Visits)
    store.fold()
    answer = store.answer("Visits", "people", first=10, last=11, grain="total")
    assert (answer.rows[0]["people"], answer.exact) == (25_000, {"people": True})
