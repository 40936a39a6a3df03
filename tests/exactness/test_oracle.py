"""The oracle on cases small enough to work out by hand."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from tests.exactness import oracle
from tests.exactness.oracle import Measure, Spec, answer, ratio, stored_cells, stored_sets

D = dt.date
TODAY = D(2026, 3, 10)


def cents(text: str | int) -> Decimal:
    return Decimal(text).quantize(Decimal("0.01"))


def at(day: int, hour: int = 12, month: int = 3) -> dt.datetime:
    return dt.datetime(2026, month, day, hour, tzinfo=dt.UTC)


def row(shop: Any, moment: Any, amount: Any = 1, who: Any = "ann") -> dict[str, Any]:
    return {"shop": shop, "at": moment, "amount": amount, "who": who}


def measure(kind: str, column: str | None = None, **more: Any) -> Measure:
    expr = (lambda row: row[column]) if column else (lambda row: 1)
    return Measure(kind, "sale", lambda row: row["at"], expr, **more)


SALES = Spec(
    ("shop",),
    {
        "sales": measure("count"),
        "big": measure("count", where=lambda row: row["amount"] > 5 if row["amount"] is not None else None),
        "revenue": measure("sum", "amount"),
        "least": measure("min", "amount"),
        "most": measure("max", "amount"),
        "mean": measure("avg", "amount"),
        "people": measure("distinct", "who"),
        "level": measure("gauge", "amount"),
        "each": ratio("revenue", "people"),
    },
)
ROWS = {
    "sale": [
        row("a", at(2, 9), cents(10), "ann"),
        row("a", at(2, 11), cents(3), "bob"),
        row("a", at(2, 11), cents(-1), "ann"),
        row(None, at(2), cents(4), None),
        row("a", at(3), None, "ann"),
        row("b", at(4), cents(7), "bob"),
        row("a", None, cents(99)),
        row("a", at(11), cents(99)),
    ]
}


def test_a_cell_is_every_fact_of_its_key_and_day() -> None:
    """Each kind adds up in its own way; an average is a sum and a count; a tied gauge takes the greater."""
    assert stored_cells(SALES, ROWS, TODAY)[("a",), D(2026, 3, 2)] == {
        "sales": 3,
        "big": 1,
        "revenue": 12,
        "least": -1,
        "most": 10,
        "mean__sum": 12,
        "mean__count": 3,
        "people": 2,
        "level": 3,
    }


def test_rows_without_a_moment_and_of_the_future_make_no_cell() -> None:
    """Only days up to today with a fact have rows; NULL is a key like any other."""
    assert set(stored_cells(SALES, ROWS, TODAY)) == {
        (("a",), D(2026, 3, 2)),
        ((None,), D(2026, 3, 2)),
        (("a",), D(2026, 3, 3)),
        (("b",), D(2026, 3, 4)),
    }


def test_a_row_without_contribution_is_zero_or_null() -> None:
    """A fact with a null value leaves Sum and Distinct zero, Min, Max and Gauge null."""
    cell = stored_cells(SALES, ROWS, TODAY)[("a",), D(2026, 3, 3)]
    assert (cell["sales"], cell["revenue"], cell["mean__count"], cell["people"]) == (1, 0, 0, 1)
    assert (cell["least"], cell["most"], cell["level"]) == (None, None, None)


def test_sets_hold_the_values_behind_each_count() -> None:
    """NULLs are not counted, and a cell without values has no set."""
    assert stored_sets(SALES, ROWS, TODAY) == {
        (("a",), D(2026, 3, 2)): {"people": {"ann", "bob"}},
        (("a",), D(2026, 3, 3)): {"people": {"ann"}},
        (("b",), D(2026, 3, 4)): {"people": {"bob"}},
    }


def test_hashes_are_sixty_bits_of_md5() -> None:
    """md5('kann') is 20c7f8…; its first 15 hex digits are a non-negative 60-bit integer."""
    import hashlib

    expected = int(hashlib.md5(b"kann").hexdigest()[:15], 16)
    assert oracle.hashes(["ann"], "k") == [expected]
    assert 0 <= expected < 2**60


def test_a_total_unites_sets_and_divides_sums() -> None:
    """Over days and keys nothing is averaged or counted twice."""
    total = answer(SALES, ROWS, TODAY, D(2026, 3, 1), D(2026, 3, 4), grain="total")
    numbers = total[D(2026, 3, 1), ()]
    assert (numbers["sales"], numbers["revenue"], numbers["people"]) == (6, 23, 2)
    assert numbers["mean"] == pytest.approx(23 / 5)
    assert numbers["each"] == pytest.approx(11.5)
    assert numbers["level"] == 7


def test_covered_days_without_facts_are_zero_and_later_days_null() -> None:
    """A day after today is not known; an empty day before it is zero, its ratio and extremes null."""
    days = answer(SALES, ROWS, TODAY, D(2026, 3, 9), D(2026, 3, 11))
    assert [days[D(2026, 3, n), ()]["sales"] for n in (9, 10, 11)] == [0, 0, None]
    assert days[D(2026, 3, 9), ()]["each"] is None
    assert days[D(2026, 3, 9), ()]["least"] is None


def test_missing_days_make_a_period_null_unless_allowed() -> None:
    """The same total with one uncovered day: null, or the sum of the others."""

    def covered(day: dt.date) -> bool:
        return day != D(2026, 3, 4)

    asked = (SALES, ROWS, TODAY, D(2026, 3, 2), D(2026, 3, 4))
    assert answer(*asked, grain="total", covered=covered)[D(2026, 3, 2), ()]["sales"] is None
    allowed = answer(*asked, grain="total", covered=covered, allow_missing=True)[D(2026, 3, 2), ()]
    assert (allowed["sales"], allowed["revenue"]) == (5, 16)


@pytest.mark.parametrize(
    ("where", "sales"),
    [
        ([("shop", "=", "a")], 4),
        ([("shop", "=", "a"), ("shop", "=", "b")], 5),
        ([("shop", "!=", "a")], 2),
        ([("shop", "=", None)], 1),
        ([("shop", "!=", None)], 5),
        ([("shop", "=", "a"), ("shop", "!=", "a")], 0),
    ],
)
def test_filters_take_null_for_a_value(where: list[oracle.Condition], sales: int) -> None:
    """The same column is any of its values; an excluded value does not take NULL with it."""
    total = answer(SALES, ROWS, TODAY, D(2026, 3, 1), D(2026, 3, 10), where=where, grain="total")
    assert total[D(2026, 3, 1), ()]["sales"] == sales


def test_by_gives_each_key_every_period() -> None:
    """Keys present in the range have a zero where they have no fact."""
    rows = answer(SALES, ROWS, TODAY, D(2026, 3, 2), D(2026, 3, 3), by=["shop"])
    assert {cell: numbers["sales"] for cell, numbers in rows.items()} == {
        (D(2026, 3, 2), ("a",)): 3,
        (D(2026, 3, 2), (None,)): 1,
        (D(2026, 3, 3), ("a",)): 1,
        (D(2026, 3, 3), (None,)): 0,
    }


@pytest.mark.parametrize(
    ("grain", "first", "last", "expected"),
    [
        (
            "week",
            D(2025, 12, 31),
            D(2026, 1, 12),
            [(D(2025, 12, 31), D(2026, 1, 4)), (D(2026, 1, 5), D(2026, 1, 11)), (D(2026, 1, 12),) * 2],
        ),
        (
            "month",
            D(2026, 1, 31),
            D(2026, 3, 1),
            [(D(2026, 1, 31),) * 2, (D(2026, 2, 1), D(2026, 2, 28)), (D(2026, 3, 1),) * 2],
        ),
        ("quarter", D(2026, 3, 31), D(2026, 4, 1), [(D(2026, 3, 31),) * 2, (D(2026, 4, 1),) * 2]),
        ("year", D(2025, 12, 31), D(2026, 1, 1), [(D(2025, 12, 31),) * 2, (D(2026, 1, 1),) * 2]),
        ("total", D(2025, 12, 31), D(2026, 1, 1), [(D(2025, 12, 31), D(2026, 1, 1))]),
    ],
)
def test_periods_are_clipped_to_the_range(grain: str, first: D, last: D, expected: list[tuple[D, D]]) -> None:
    """Weeks begin on Monday, over the turn of the year too."""
    assert oracle.periods(first, last, grain) == expected


LEVELS = {"sale": [row("a", at(1), 10), row("a", at(3), 30), row("b", at(2), 5)]}


@pytest.mark.parametrize(
    ("over_keys", "carry", "expected"),
    [("sum", False, 30), ("sum", True, 35), ("avg", True, 17.5), ("min", True, 5), ("max", True, 30)],
)
def test_a_gauge_over_time_is_its_last_day(over_keys: str, carry: bool, expected: float) -> None:
    """Keys without a row on that day are left out, or carry their last value along."""
    spec = Spec(("shop",), {"mrr": measure("gauge", "amount", over_keys=over_keys, carry=carry)})
    total = answer(spec, LEVELS, TODAY, D(2026, 3, 1), D(2026, 3, 3), grain="total")
    assert total[D(2026, 3, 1), ()]["mrr"] == expected


def test_quarter_hours_make_local_days() -> None:
    """18:15 UTC is midnight in Kathmandu; a DST day in London has 23 hours."""
    moments = [dt.datetime(2026, 3, 2, 18, 14, tzinfo=dt.UTC), dt.datetime(2026, 3, 2, 18, 15, tzinfo=dt.UTC)]
    spec = Spec((), {"sales": measure("count")}, dt.timedelta(minutes=15))
    rows = {"sale": [row("a", moment) for moment in moments]}
    assert set(stored_cells(spec, rows, TODAY)) == {
        ((), dt.datetime(2026, 3, 2, 18, m, tzinfo=dt.UTC)) for m in (0, 15)
    }
    days = answer(spec, rows, TODAY, D(2026, 3, 2), D(2026, 3, 3), zone="Asia/Kathmandu")
    assert [numbers["sales"] for numbers in days.values()] == [1, 1]
    late = {"sale": [row("a", dt.datetime(2026, 3, 29, 23, 30, tzinfo=dt.UTC))]}
    london = answer(spec, late, D(2026, 4, 1), D(2026, 3, 29), D(2026, 3, 30), zone="Europe/London")
    assert [numbers["sales"] for numbers in london.values()] == [0, 1]


def test_dates_and_naive_moments_are_utc() -> None:
    """A date counts on its own day; a timestamp without a zone is UTC."""
    rows = {"sale": [row("a", D(2026, 3, 2)), row("a", dt.datetime(2026, 3, 2, 23, 59))]}
    spec = Spec((), {"sales": measure("count")})
    assert stored_cells(spec, rows, TODAY) == {((), D(2026, 3, 2)): {"sales": 2}}


def test_sums_keep_all_their_digits() -> None:
    """Integers near 2^63 and cents are exact."""
    rows = {"sale": [row("a", at(2), 2**62), row("a", at(2), 2**62 - 1), row("a", at(2), Decimal("-0.01"))]}
    spec = Spec((), {"revenue": measure("sum", "amount")})
    assert stored_cells(spec, rows, TODAY) == {((), D(2026, 3, 2)): {"revenue": Decimal("9223372036854775806.99")}}


def test_increase_by_hand() -> None:
    """From nothing, over a gap under another key, standing still, after a reset; the day's last and greatest counts."""
    spec = Spec(("shop",), {"grown": measure("increase", "amount", per=lambda row: row["who"])})
    rows = [
        row("a", at(1, 9), 99),
        row("a", at(1, 10), 4),
        row("b", at(1, 10), 10),
        row("c", at(4), 15),
        row("c", at(5), 15),
        row("a", at(6), 3),
        row("a", at(6), 2, None),
        row("a", at(7), None),
    ]
    found = {(key[0], bucket): one["grown"] for (key, bucket), one in stored_cells(spec, {"sale": rows}, TODAY).items()}
    expected = {("b", 1): 10, ("c", 4): 5, ("c", 5): 0, ("a", 6): 5}
    assert found == {(key, D(2026, 3, day)): number for (key, day), number in expected.items()}
