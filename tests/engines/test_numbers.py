"""Numbers are exact: past 2^53, near 2^63, to the cent over a million rows; what cannot be is an error."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from dayfold import Avg, Count, Gauge, Max, Min, Rollup, Sum
from tests.engines.ground import Ground, march


def sales(ground: Ground, **metrics: Any) -> None:
    ground.define(type("Sales", (Rollup,), metrics))


def test_sums_past_the_reach_of_a_double_keep_every_digit(ground: Ground) -> None:
    """2^53 + 1, and a sum one below 2^63; a range over several such days has more digits than 64 bits."""
    rows = [{"n": 2**53 + 1, "made": march(9)}, {"n": 2**62, "made": march(10)}, {"n": 2**62 - 1, "made": march(10)}]
    rows += [{"n": 2**63 - 1, "made": march(11)}, {"n": -(2**63), "made": march(12)}]
    ground.load("sale", "n bigint, made timestamptz", rows)
    sale = ground.table("sale")
    sales(ground, total=Sum(sale, "n", at="made"), least=Min(sale, "n", at="made"), most=Max(sale, "n", at="made"))
    ground.fold()
    stored = ground.stored("SELECT total FROM sales ORDER BY day")
    assert stored == [(2**53 + 1,), (2**63 - 1,), (2**63 - 1,), (-(2**63),)]
    [row] = ground.ask("Sales", "total", "least", "most", first=9, last=11, grain="total")
    assert row["total"] == 2**53 + 1 + 2 * (2**63 - 1)
    assert (row["least"], row["most"]) == (2**53 + 1, 2**63 - 1)


@pytest.mark.parametrize("sign", [1, -1], ids=["up", "down"])
def test_a_sum_beyond_64_bits_fails_its_source_and_publishes_nothing(ground: Ground, sign: int) -> None:
    """An overflow is an error, never a number that wrapped around or lost digits."""
    rows = [{"n": sign * 2**62, "made": march(10)}] * 3
    ground.load("sale", "n bigint, made timestamptz", rows)
    sales(ground, total=Sum(ground.table("sale"), "n", at="made"))
    [run] = ground.opened.fold()
    assert run.status == "partial"
    assert run.error == (
        f"{ground.label('sale')}: a value cannot be computed with (a number left its range)\n"
        "  An integer sum beyond 64 bits, or a decimal beyond its digits."
    )
    answer = ground.answer("Sales", "total", first=10, last=10)
    assert [row["total"] for row in answer.rows] == [None]
    assert "failed" in answer.missing[0].reason
    assert ground.stored("SELECT count(*) FROM sales") == [(0,)]


def test_a_sum_may_leave_64_bits_on_the_way(ground: Ground) -> None:
    """Only the result counts, in whatever order the rows come."""
    rows = [{"n": n, "made": march(10)} for n in (2**62, 2**62, 2**62, -(2**62), -(2**62))]
    ground.load("sale", "n bigint, made timestamptz", rows)
    sales(ground, total=Sum(ground.table("sale"), "n", at="made"))
    ground.fold()
    assert ground.stored("SELECT total FROM sales") == [(2**62,)]


def test_negative_amounts_and_cents_add_up(ground: Ground) -> None:
    """Refunds count; a mean is the quotient of exact sums."""
    amounts = ["0.10", "0.20", "-0.30", "-99.99", "12345678.91"]
    rows = [{"amount": Decimal(text), "made": march(10)} for text in amounts]
    ground.load("sale", "amount numeric(12,2), made timestamptz", rows)
    sale = ground.table("sale")
    sales(
        ground,
        total=Sum(sale, "amount", at="made"),
        refunds=Sum(sale, "amount", at="made", where="amount < 0"),
        mean=Avg(sale, "amount", at="made"),
    )
    ground.fold()
    [row] = ground.ask("Sales", first=10, last=10)
    assert (row["total"], row["refunds"]) == (Decimal("12345578.92"), Decimal("-100.29"))
    assert row["mean"] == pytest.approx(12345578.92 / 5, rel=1e-15)


def test_money_over_a_million_rows_is_right_to_the_cent(store: Ground) -> None:
    """No binary fraction is anywhere on the way."""
    store.source("CREATE TABLE sale (amount numeric(12,2), made timestamptz)")
    store.source(
        "INSERT INTO sale SELECT CAST((n * 7919) % 1000003 - 400000 AS numeric(14,2)) * CAST(0.01 AS numeric(3,2)), "
        "TIMESTAMPTZ '2026-03-01 00:00:00+00' + n % 4 * INTERVAL '1 day' "
        "FROM (SELECT CAST(generate_series AS bigint) AS n FROM generate_series(1, 1000000)) AS numbers"
    )
    cents = [0] * 4
    for n in range(1, 1_000_001):
        cents[n % 4] += n * 7919 % 1000003 - 400000
    sales(store, total=Sum(store.table("sale"), "amount", at="made"))
    store.fold()
    assert [total for (total,) in store.stored("SELECT total FROM sales ORDER BY day")] == [
        Decimal(one).scaleb(-2) for one in cents
    ]


def test_values_of_a_float_are_rounded_before_they_are_added(ground: Ground) -> None:
    """The sum is the same in any order, so that a second fold finds nothing to write."""
    values = [0.1, 0.2, 0.3, 1e9 + 0.005, -2.675, 2.5e-7]
    ground.load("sale", "amount double precision, made timestamptz", [{"amount": v, "made": march(10)} for v in values])
    sales(ground, total=Sum(ground.table("sale"), "amount", at="made", scale=6))
    ground.fold()
    [(total,)] = ground.stored("SELECT total FROM sales")
    assert total == sum(Decimal(repr(v)).quantize(Decimal("0.000001")) for v in values)
    assert ground.fold_written() == 0


@pytest.mark.parametrize("kind", [Sum, Avg, Min, Max, Gauge])
def test_nan_and_infinity_fail_their_source_with_their_count(store: Ground, kind: type[Any]) -> None:
    """Not a number is not a number: nothing is published of it, and the error counts without showing values."""
    store.source("CREATE TABLE sale (amount double precision, made timestamptz)")
    for value in ("NaN", "Infinity", "-Infinity", "1.5", "2.5"):
        store.source(
            f"INSERT INTO sale VALUES (CAST('{value}' AS double precision), TIMESTAMPTZ '2026-03-10 12:00:00+00')"
        )
    scale = {} if kind in (Min, Max) else {"scale": 2}
    sales(store, amount=kind(store.table("sale"), "amount", at="made", **scale))
    [run] = store.opened.fold()
    assert run.status == "partial"
    assert run.error == (
        "sale: 3 facts from 2026-03-10 to 2026-03-12 hold a number that is NaN or infinite.\n"
        "  Correct them, or leave them out with where=…."
    )
    assert store.stored("SELECT * FROM sales") == []
    store.source("DELETE FROM sale WHERE amount NOT IN (1.5, 2.5)")
    [run] = store.opened.fold()
    assert run.status == "done"
    assert len(store.stored("SELECT * FROM sales")) == 1


def test_bad_numbers_outside_the_filter_do_no_harm(store: Ground) -> None:
    """`where` is the way to leave them out, as the error says."""
    store.source("CREATE TABLE sale (amount double precision, good boolean, made timestamptz)")
    for value, good in (("NaN", "false"), ("1.25", "true")):
        store.source(
            f"INSERT INTO sale VALUES (CAST('{value}' AS double precision), {good}, TIMESTAMPTZ '2026-03-10 12:00:00+00')"
        )
    sales(
        store,
        amount=Sum(store.table("sale"), "amount", at="made", where="good", scale=2),
        all=Count(store.table("sale"), at="made"),
    )
    store.fold()
    assert store.ask("Sales", first=10, last=10) == [{"day": dt.date(2026, 3, 10), "amount": Decimal("1.25"), "all": 2}]
