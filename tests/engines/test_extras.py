"""Metrics marked as extra: columns like others, and together in one JSON column of their table."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from dayfold import Avg, Count, Dayfold, Distinct, Max, Rollup, Sum, Table
from dayfold.errors import DefinitionError
from tests.engines.ground import Ground, march

DDL = "shop bigint, amount numeric(12,2), units bigint, who text, made timestamptz"
OTHER = "shop bigint, units bigint, made timestamptz"


@pytest.fixture
def sales(ground: Ground) -> Ground:
    """Sales of two shops, and visits of one."""
    ground.load(
        "sale",
        DDL,
        [
            {"shop": 1, "amount": Decimal("9007199254.71"), "units": 2**53 + 1, "who": 'a"b', "made": march(10)},
            {"shop": 2, "amount": Decimal(2), "units": 4, "who": "bob", "made": march(11)},
        ],
    )
    ground.load(
        "visit", OTHER, [{"shop": 1, "units": 5, "made": march(10)}, {"shop": 3, "units": 6, "made": march(10)}]
    )
    return ground


def rollup(ground: Ground, **changes: Any) -> type[Rollup]:
    """A rollup over both tables, most of it extra."""
    sale, visit = ground.table("sale"), ground.table("visit")
    words: dict[str, Any] = {
        "key": "shop",
        "orders": Count(sale, at="made"),
        "units": Sum(sale, "units", at="made", extra=True),
        "amount": Sum(sale, "amount", at="made", extra=True),
        "who": Max(sale, "who", at="made", extra=True),
        "people": Distinct(sale, "who", at="made", extra=True),
        "visits": Sum(visit, "units", at="made", extra=True),
    }
    return type("Sales", (Rollup,), words | changes)


def packed(ground: Ground) -> dict[tuple[int, dt.date], dict[str, Any]]:
    """The JSON column, every digit of it."""
    rows = ground.stored('SELECT shop, day, CAST("metadata" AS text) FROM sales ORDER BY 1')
    return {(shop, day): json.loads(text, parse_float=Decimal) for shop, day, text in rows}


def test_extras_stand_in_one_json_column_too(sales: Ground) -> None:
    """With all digits, absent values as in their own columns; a change moves both, and a second fold writes nothing."""
    sales.define(rollup(sales))
    sales.fold()
    first = {"units": 2**53 + 1, "amount": Decimal("9007199254.71"), "who": 'a"b', "people": 1, "visits": 5}
    none = {"units": 0, "amount": 0, "who": None, "people": 0, "visits": 6}
    assert packed(sales) == {
        (1, march(10).date()): first,
        (2, march(11).date()): {"units": 4, "amount": 2, "who": "bob", "people": 1, "visits": 0},
        (3, march(10).date()): none,
    }
    assert sales.stored("SELECT orders, units, visits FROM sales WHERE shop = 1") == [(1, 2**53 + 1, 5)]
    [again] = sales.fold()
    assert (again.rows_inserted, again.rows_updated, again.rows_deleted) == (0, 0, 0)
    sales.insert("visit", [{"shop": 3, "units": 1, "made": march(10)}])
    [changed] = sales.fold()
    assert changed.rows_updated == 1
    assert packed(sales)[3, march(10).date()] == {**none, "visits": 7}


def test_a_failed_source_leaves_its_extras(sales: Ground) -> None:
    """Of a row whose other numbers changed: the JSON says what the columns say."""
    sales.define(rollup(sales))
    sales.fold()
    sales.insert("sale", [{"shop": 1, "amount": 1, "units": 1, "who": "z", "made": march(10)}])
    sales.source("ALTER TABLE visit RENAME TO gone")
    [run] = sales.opened.fold()
    assert run.status == "partial"
    [(units, visits)] = sales.stored("SELECT units, visits FROM sales WHERE shop = 1")
    found = packed(sales)[1, march(10).date()]
    assert (found["units"], found["visits"]) == (units, visits) == (2**53 + 2, 5)


def test_a_metric_becomes_extra_and_is_none_again(sales: Ground) -> None:
    """An edit makes the column, fills it in every row, and takes it away; the table stays the same one."""
    none: dict[str, Any] = {
        "units": Sum(sales.table("sale"), "units", at="made"),
        "amount": Sum(sales.table("sale"), "amount", at="made"),
        "who": Max(sales.table("sale"), "who", at="made"),
        "people": Distinct(sales.table("sale"), "who", at="made"),
        "visits": Sum(sales.table("visit"), "units", at="made"),
    }
    sales.define(rollup(sales, **none))
    sales.fold()
    sales.define(rollup(sales, **{**none, "visits": Sum(sales.table("visit"), "units", at="made", extra=True)}))
    sales.fold()
    assert {place[0]: found for place, found in packed(sales).items()} == {
        1: {"visits": 5},
        2: {"visits": 0},
        3: {"visits": 6},
    }
    sales.define(rollup(sales, **none))
    sales.fold()
    assert len(sales.stored("SELECT * FROM sales LIMIT 1")[0]) == 2 + 6 + 3


def test_extras_are_asked_for_as_any_metric(sales: Ground) -> None:
    """Stored and live, verified; the column itself is no metric."""
    app = sales.define(rollup(sales))
    sales.fold()
    for live in (False, True):
        answer = app.query("Sales", ["visits", "people"], from_="2026-03-10", to="2026-03-11", grain="total", live=live)
        assert [(row["visits"], row["people"]) for row in answer.rows] == [(11, 2)]
    assert all(one.is_proved for one in app.verify(from_="2026-03-10", to="2026-03-11"))


def test_mistakes() -> None:
    """What cannot be an extra, and a name that is taken."""
    sale = Table("sale")

    class Wrong(Rollup):
        key = "metadata"
        total = Count(sale, at="made", extra=True)
        mean = Avg(sale, "amount", at="made", extra=True)
        odd = Sum(sale, "amount", at="made", extra="yes")  # type: ignore[arg-type]

    with pytest.raises(DefinitionError) as caught:
        Dayfold([Wrong]).catalog.check()
    assert [(one.code, one.message) for one in caught.value.problems] == [
        ("reserved-name", "'metadata' is what the column of the metrics marked as extra is called."),
        ("bad-value", "an Avg is kept as its sum and its count, so that it is no extra."),
        ("bad-value", "extra is True or False, got 'yes'."),
    ]
