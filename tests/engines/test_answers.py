"""Questions, the same answers everywhere: zones, gauges, comparisons, filters, and what is missing."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from dayfold import Count, Distinct, Formula, Gauge, Ratio, Rollup, Sum
from dayfold.errors import QueryRefused
from tests.engines.ground import Ground, march

D = dt.date
DDL = "shop text, amount bigint, who text, made timestamptz"


@pytest.fixture
def ground(store: Ground) -> Ground:
    """A question reads the store alone: where the facts came from is for the tests of sources and folds."""
    return store


def row(shop: str | None, made: dt.datetime, amount: int = 1, who: str = "ann") -> dict[str, Any]:
    return {"shop": shop, "amount": amount, "who": who, "made": made}


def sales(ground: Ground, rows: list[dict[str, Any]], **attributes: Any) -> None:
    """Fold these rows by shop, with these metrics and attributes."""
    ground.load("sale", DDL, rows)
    ground.define(type("Sales", (Rollup,), {"key": "shop", **attributes}))
    ground.fold()


def count(ground: Ground) -> dict[str, Any]:
    return {"total": Count(ground.table("sale"), at="made")}


def test_days_of_kathmandu_come_from_quarter_hours(ground: Ground) -> None:
    """Its day starts at 18:15 UTC: the quarter before belongs to the day before."""
    rows = [
        row("a", march(9, 18, 14)),
        row("a", march(9, 18, 15)),
        row("b", march(10, 18, 14)),
        row("b", march(10, 18, 15)),
    ]
    sales(ground, rows, grain="15min", **count(ground), people=Distinct(ground.table("sale"), "who", at="made"))
    answer = ground.ask("Sales", first=10, last=11, tz="Asia/Kathmandu")
    assert answer == [
        {"day": D(2026, 3, 10), "total": 2, "people": 1},
        {"day": D(2026, 3, 11), "total": 1, "people": 1},
    ]


def test_days_of_change_of_clocks_have_their_hours(ground: Ground) -> None:
    """23 hours in March, 25 in October, in London."""
    start = dt.datetime(2026, 3, 27, tzinfo=dt.UTC)
    rows = [row("a", start + dt.timedelta(hours=n)) for n in range(24 * 220)]
    ground.clock.instant = rows[-1]["made"]
    sales(ground, rows, grain="hour", **count(ground))
    for first, hours in ((D(2026, 3, 28), [24, 23, 24]), (D(2026, 10, 24), [24, 25, 24])):
        last = first + dt.timedelta(days=2)
        rows_ = ground.opened.query("Sales", ["total"], from_=first, to=last, tz="Europe/London").rows
        assert [one["total"] for one in rows_] == hours


def test_a_zone_inside_a_bucket_is_refused(ground: Ground) -> None:
    """An hour of storage cannot be cut at a quarter past."""
    sales(ground, [row("a", march(10))], grain="hour", **count(ground))
    with pytest.raises(QueryRefused) as refused:
        ground.ask("Sales", first=10, last=10, tz="Asia/Kathmandu")
    assert str(refused.value) == (
        "A day in Asia/Kathmandu starts at 18:15 UTC, inside a stored bucket: Sales keeps buckets of a grain of hour.\n"
        '  Ask in UTC, or give the rollup a finer grain: grain = "15min" holds the days of every present zone.'
    )


def test_a_gauge_is_a_level_and_no_sum(ground: Ground) -> None:
    """The latest of the day, the greater of a tie; over time the last day; over keys as declared."""
    sale = ground.table("sale")
    gauges = {how: Gauge(sale, "amount", at="made", over_keys=how) for how in ("sum", "avg", "min", "max", "refuse")}
    held = {"held": Gauge(sale, "amount", at="made", carry=True)}
    rows = [
        row("a", march(9, 8), 100),
        row("a", march(9, 9), 10),
        row("a", march(9, 9), 7),
        row("b", march(9), 5),
        row("b", march(12), 6),
    ]
    sales(ground, rows, **gauges, **held)
    names = ["sum", "avg", "min", "max", "held"]
    [one] = ground.ask("Sales", *names, first=9, last=9)
    assert [one[name] for name in names] == [15, 7.5, 5, 10, 15]
    [one] = ground.ask("Sales", *names, first=9, last=12, grain="total")
    assert [one[name] for name in names] == [6, 6.0, 6, 6, 16]
    [one] = ground.ask("Sales", *names, first=10, last=11, grain="total")
    assert [one[name] for name in names] == [None, None, None, None, 15]
    by = ground.ask("Sales", "held", "refuse", first=9, last=12, grain="total", by=["shop"])
    assert {one["shop"]: (one["held"], one["refuse"]) for one in by} == {"a": (10, None), "b": (6, 6)}
    with pytest.raises(QueryRefused, match="not combined over keys"):
        ground.ask("Sales", "refuse")


def test_an_unfinished_month_is_compared_with_the_same_days_of_the_last(ground: Ground) -> None:
    """Both ranges are named; a year back means the same dates."""
    days = [dt.datetime(2026, 2, day, 12, tzinfo=dt.UTC) for day in (1, 12, 13, 28)] + [march(1), march(12)]
    days += [dt.datetime(2025, 3, 12, 12, tzinfo=dt.UTC)]
    sales(ground, [row("a", made) for made in days], **count(ground))
    previous = ground.answer("Sales", grain="month", compare="previous")
    assert [one["total"] for one in previous.rows] == [2]
    assert (str(previous.compare.days), previous.compare.rows[0]["total"]) == ("2026-02-01..2026-02-12", 2)
    year = ground.answer("Sales", grain="total", compare="year")
    assert (str(year.compare.days), year.compare.exact) == ("2025-03-01..2025-03-12", {"total": True})
    assert year.compare.rows[0]["total"] is None
    assert "before the history" in year.compare.missing[0].reason


def test_keys_that_vanished_stand_beside_nothing(ground: Ground) -> None:
    """A comparison by key shows the keys of both ranges: who bought before and no more is the news."""
    rows = [row("stays", march(1)), row("gone", march(3)), row("stays", march(3)), row("stays", march(10))]
    rows += [row("new", march(10))]
    sales(ground, rows, **count(ground))
    answer = ground.answer("Sales", first=9, last=11, grain="total", by=["shop"], compare="previous")
    assert {one["shop"]: one["total"] for one in answer.rows} == {"gone": 0, "new": 1, "stays": 1}
    assert {one["shop"]: one["total"] for one in answer.compare.rows} == {"gone": 1, "new": 0, "stays": 1}


def test_a_carried_level_is_there_for_keys_without_a_row(ground: Ground) -> None:
    """By key or in one number, the levels that still hold are the same ones."""
    level = Gauge(ground.table("sale"), "amount", at="made", carry=True)
    sales(ground, [row("a", march(2), 10), row("b", march(9), 5)], level=level)
    assert [one["level"] for one in ground.ask("Sales", first=10, last=10)] == [15]
    by = ground.ask("Sales", first=10, last=10, by=["shop"])
    assert {one["shop"]: one["level"] for one in by} == {"a": 10, "b": 5}


def test_a_ratio_needs_both_of_its_sources_on_the_same_days(ground: Ground) -> None:
    """Where days are left out by request, a divisor of more days than its dividend would be a lie."""
    ground.load("visit", DDL, [row("a", march(day)) for day in (2, 3, 4, 5)])
    visits = Count(ground.table("visit"), at="made")
    rows = [row("a", march(4), 10), row("a", march(5), 10)]
    sales(
        ground,
        rows,
        amount=Sum(ground.table("sale"), "amount", at="made"),
        visits=visits,
        each=Ratio("amount", "visits"),
    )
    whole = ground.answer("Sales", first=4, last=5, grain="total")
    assert [one["each"] for one in whole.rows] == [10.0]
    ground.load("payment", "shop text, amount double precision, made timestamptz", [])
    for day, amount in ((3, float("nan")), (4, 6.0), (5, 6.0)):
        ground.insert("payment", [{"shop": "a", "amount": amount, "made": march(day)}])
    paid = Sum(ground.table("payment"), "amount", at="made", scale=2)
    ground.config = {**ground.config, "fold": {"chunk_rows": 1}}
    ground.define(
        type("Paid", (Rollup,), {"key": "shop", "visits": visits, "paid": paid, "each": Ratio("paid", "visits")})
    )
    [run] = ground.opened.fold()
    assert run.status == "partial"
    allowed = ground.answer("Paid", first=2, last=5, grain="total", allow_missing=True)
    assert [(one["visits"], one["paid"], one["each"]) for one in allowed.rows] == [(4, Decimal("12.00"), None)]
    assert any("each" in gap.metrics for gap in allowed.missing)


def test_an_open_day_that_is_over_shows_an_old_number(ground: Ground) -> None:
    """Folded at noon and asked the next day: what came in the afternoon is not in it, and the answer says so."""
    sales(ground, [row("a", march(11)), row("a", march(12, 11))], **count(ground))
    assert ground.answer("Sales", first=11, last=12).stale == []
    ground.insert("sale", [row("a", march(12, 20))])
    ground.clock.instant = march(13, 1)
    answer = ground.answer("Sales", first=11, last=12)
    assert [one["total"] for one in answer.rows] == [1, 1]
    assert [(str(gap.days), gap.metrics) for gap in answer.stale] == [("2026-03-12", ("total",))]
    assert "last folded before the day had ended" in answer.stale[0].reason
    ground.fold()
    answer = ground.answer("Sales", first=11, last=12)
    assert ([one["total"] for one in answer.rows], answer.stale) == ([1, 2], [])


@pytest.mark.parametrize(
    ("where", "total"),
    [
        (["shop=a"], 1),
        (["shop=a", "shop=b"], 3),
        (["shop!=a"], 6),
        (["shop="], 4),
        (['shop=""'], 0),
        (['shop!=""'], 7),
        (["shop!="], 3),
        (["shop=", "shop=b"], 6),
        (["shop=a", "shop!=a"], 0),
        (["shop=it's \"; drop table sales --"], 0),
    ],
)
def test_filters_keep_what_they_say(ground: Ground, where: list[str], total: int) -> None:
    """The same key is any of its values, NULL is a value, and no value is ever part of a statement."""
    rows = [row(shop, march(10)) for shop, times in (("a", 1), ("b", 2), (None, 4)) for _ in range(times)]
    sales(ground, rows, **count(ground))
    assert ground.ask("Sales", first=10, last=10, where=where) == [{"day": D(2026, 3, 10), "total": total}]


def test_missing_days_are_null_or_left_out_by_request(ground: Ground) -> None:
    """A week with days before the history is null with its reason; allowed, it is what the others add up to."""
    sales(ground, [row("a", march(4), 3), row("a", march(5), 4)], amount=Sum(ground.table("sale"), "amount", at="made"))
    refused = ground.answer("Sales", first=2, last=8, grain="week")
    assert [one["amount"] for one in refused.rows] == [None]
    assert [(str(gap.days), gap.reason) for gap in refused.missing] == [
        ("2026-03-02..2026-03-03", "before the history, which starts on 2026-03-04")
    ]
    allowed = ground.answer("Sales", first=2, last=8, grain="week", allow_missing=True)
    assert [one["amount"] for one in allowed.rows] == [7]
    assert allowed.partial == [D(2026, 3, 2)]
    future = ground.answer("Sales", first=12, last=13)
    assert [one["amount"] for one in future.rows] == [0, None]
    assert [gap.reason for gap in future.missing] == ["in the future"]


def test_a_local_day_that_is_only_partly_covered_is_missing(ground: Ground) -> None:
    """Its first hours lie before the history: it is left out as a whole, in the days and in their total."""
    rows = [row("a", march(4, 10)), row("a", march(4, 20), who="bob")]
    sales(ground, rows, grain="15min", **count(ground), people=Distinct(ground.table("sale"), "who", at="made"))
    asked: dict[str, Any] = {"first": 4, "last": 5, "tz": "Asia/Kathmandu", "allow_missing": True}
    assert [(one["total"], one["people"]) for one in ground.ask("Sales", **asked)] == [(None, None), (1, 1)]
    assert [(one["total"], one["people"]) for one in ground.ask("Sales", **asked, grain="total")] == [(1, 1)]


def test_ratios_are_of_sums_and_formulas_of_finished_numbers(ground: Ground) -> None:
    """A week's ratio is not the mean of its days; a divisor of zero is null."""
    rows = [row("a", march(9), 10), row("a", march(10), 1), row("a", march(10), 1), row("b", march(10), 0)]
    sale = ground.table("sale")
    sales(
        ground,
        rows,
        **count(ground),
        amount=Sum(sale, "amount", at="made"),
        mean=Ratio("amount", "total"),
        double=Formula("mean * 2 + coalesce(amount, 0) - amount"),
        hopeless=Ratio("total", "amount"),
    )
    [one] = ground.ask("Sales", "mean", "double", first=9, last=11, grain="total")
    assert (one["mean"], one["double"]) == (3.0, 6.0)
    [one] = ground.ask("Sales", "hopeless", first=10, last=10, where=["shop=b"])
    assert one["hopeless"] is None


def test_weeks_start_on_monday_and_parts_are_marked(ground: Ground) -> None:
    """Sorted, limited, and the clipped first day of each bucket."""
    sales(ground, [row("a", march(day)) for day in range(1, 13)], **count(ground))
    answer = ground.answer("Sales", first=1, last=12, grain="week")
    assert [(one["day"], one["total"]) for one in answer.rows] == [
        (D(2026, 3, 1), 1),
        (D(2026, 3, 2), 7),
        (D(2026, 3, 9), 4),
    ]
    assert answer.partial == [D(2026, 3, 1), D(2026, 3, 9)]
    best = ground.ask("Sales", first=1, last=12, grain="week", sort="-total", limit=1)
    assert best == [{"day": D(2026, 3, 2), "total": 7}]


def test_decimals_keep_their_digits_in_answers(ground: Ground) -> None:
    """A sum of money is a decimal at every grain."""
    ground.source("CREATE TABLE bill (amount numeric(12,2), made timestamptz)")
    for amount in ("0.10", "0.20", "99999999.99"):
        ground.source("INSERT INTO bill VALUES (CAST($1 AS numeric(12,2)), $2)", [amount, march(10)])

    class Bills(Rollup):
        amount = Sum(ground.table("bill"), "amount", at="made")

    ground.define(Bills)
    ground.fold()
    [one] = ground.ask("Bills", first=10, last=12, grain="total")
    assert one["amount"] == Decimal("100000000.29")
