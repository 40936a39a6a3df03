"""One failing source among others: its own metrics stand or are null, the rest goes on, and it is said."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from dayfold import Count, Ratio, Rollup, Sum
from tests.engines.ground import Ground, march
from tests.sql import engine_of

DDL = "shop bigint, amount double precision, made timestamptz"


def row(shop: int, day: int, amount: float = 1.0) -> dict[str, Any]:
    return {"shop": shop, "amount": amount, "made": march(day)}


@pytest.fixture
def three(ground: Ground) -> Ground:
    """A rollup of three sources, none folded yet."""
    for name in ("request", "answer", "payment"):
        ground.load(name, DDL, [row(1, 10), row(2, 11)])

    class Shops(Rollup):
        key = "shop"
        asked = Count(ground.table("request"), at="made")
        answered = Count(ground.table("answer"), at="made")
        paid = Sum(ground.table("payment"), "amount", at="made", scale=2)
        share = Ratio("paid", "asked")

    ground.define(Shops)
    return ground


def spoil(ground: Ground) -> None:
    """From now on the payments hold what is no number."""
    ground.insert("payment", [row(1, 10, float("nan"))])


def mend(ground: Ground) -> None:
    # Only ClickHouse takes NaN for unlike itself.
    is_bad = (
        "is_nan(amount)"
        if engine_of(ground.pairing.source) == "clickhouse"
        else "amount = CAST('NaN' AS double precision)"
    )
    ground.source(f"DELETE FROM payment WHERE {is_bad}")


def test_a_source_that_never_worked_is_null_and_the_others_are_published(three: Ground) -> None:
    """Null with the reason, in rows and in whatever is computed of it; not zero."""
    spoil(three)
    [run] = three.opened.fold()
    assert run.status == "partial"
    assert run.error.startswith(three.label("payment"))
    answer = three.answer("Shops", first=10, last=11)
    assert [(one["asked"], one["answered"], one["paid"], one["share"]) for one in answer.rows] == [
        (1, 1, None, None),
        (1, 1, None, None),
    ]
    [gap] = answer.missing
    assert gap.metrics == ("paid", "share")
    assert gap.reason.startswith("failed: ")
    states = dict(three.stored("SELECT DISTINCT source, state FROM dayfold_coverage WHERE day < DATE '2026-03-12'"))
    assert states == {
        three.label(n): s for n, s in (("request", "folded"), ("answer", "folded"), ("payment", "failed"))
    }


def test_a_source_that_fails_later_shows_its_last_values_as_stale(three: Ground) -> None:
    """The others move on in the very same rows."""
    three.fold()
    spoil(three)
    three.insert("request", [row(1, 10)])
    [run] = three.opened.fold()
    assert run.status == "partial"
    answer = three.answer("Shops", "asked", "paid", first=10, last=11)
    assert [(one["asked"], one["paid"]) for one in answer.rows] == [(2, 1), (1, 1)]
    assert answer.missing == []
    [gap] = answer.stale
    assert gap.metrics == ("paid",)
    assert gap.reason.startswith("failed: ")


def test_a_row_stays_while_a_failed_source_may_have_facts_for_it(three: Ground) -> None:
    """It is deleted only when no source has any."""
    three.fold()
    spoil(three)
    for name in ("request", "answer"):
        three.source(f"DELETE FROM {name} WHERE shop = 2")
    three.opened.fold()
    assert three.stored("SELECT asked, answered, paid FROM shops WHERE shop = 2") == [(0, 0, 1)]
    mend(three)
    three.source("DELETE FROM payment WHERE shop = 2")
    three.fold()
    assert three.stored("SELECT * FROM shops WHERE shop = 2") == []


def test_a_mended_source_is_folded_without_being_asked_for(three: Ground) -> None:
    """The next fold brings it up to date, also on days that the lookback no longer reaches."""
    spoil(three)
    three.opened.fold()
    mend(three)
    three.clock.instant += dt.timedelta(days=30)
    three.fold()
    answer = three.answer("Shops", "paid", first=10, last=11)
    assert [one["paid"] for one in answer.rows] == [1, 1]
    assert (answer.missing, answer.stale) == ([], [])


@pytest.mark.parametrize("folds", [1, 2])
def test_a_dropped_table_fails_as_a_source(three: Ground, folds: int) -> None:
    """What it gave before is shown as stale; the others are published; it heals when it is back."""
    for _ in range(folds):
        three.fold()
    three.source("ALTER TABLE payment RENAME TO elsewhere")
    three.insert("request", [row(1, 10)])
    [run] = three.opened.fold()
    assert run.status == "partial"
    answer = three.answer("Shops", "asked", "paid", first=10, last=10)
    assert [(one["asked"], one["paid"]) for one in answer.rows] == [(2, 1)]
    assert [gap.metrics for gap in answer.stale] == [("paid",)]
    three.source("ALTER TABLE elsewhere RENAME TO payment")
    three.fold()
    assert three.answer("Shops", "paid", first=10, last=10).stale == []


def test_a_bad_value_costs_its_own_days_only(three: Ground) -> None:
    """A long history is folded in portions: the days around the portion with the bad value have their numbers."""
    three.config = {**three.config, "fold": {"chunk_rows": 1}}
    three.insert("payment", [row(1, 8), row(1, 9, float("nan")), row(1, 11)])
    payment = three.table("payment")

    class Payments(Rollup):
        paid = Sum(payment, "amount", at="made", scale=2)

    three.define(Payments)
    [run] = three.opened.fold()
    assert run.status == "partial"
    answer = three.answer("Payments", first=8, last=11)
    assert [one["paid"] for one in answer.rows] == [1, None, 1, 2]
    assert [str(gap.days) for gap in answer.missing] == ["2026-03-09"]
    mend(three)
    three.fold()
    assert [one["paid"] for one in three.ask("Payments", first=8, last=11)] == [1, 0, 1, 2]


def test_one_failing_rollup_does_not_keep_the_others(three: Ground) -> None:
    """Each has its own run and its own status."""
    request, payment = three.table("request"), three.table("payment")

    class Requests(Rollup):
        asked = Count(request, at="made")

    class Payments(Rollup):
        paid = Sum(payment, "amount", at="made", scale=2)

    spoil(three)
    runs = three.define(Payments, Requests).fold()
    assert [(run.rollup, run.status) for run in runs] == [("Payments", "partial"), ("Requests", "done")]


def test_an_edit_with_a_failing_source_leaves_the_old_version_to_readers(three: Ground) -> None:
    """A new version is published only when it is complete."""
    three.fold()
    before = three.stored("SELECT shop, day, asked, answered, paid FROM shops ORDER BY 1, 2")
    spoil(three)

    class Shops(Rollup):
        key = "shop"
        asked = Count(three.table("request"), at="made")
        paid = Sum(three.table("payment"), "amount * 2", at="made", scale=2)

    [run] = three.define(Shops).fold()
    assert run.status == "partial"
    assert three.stored("SELECT shop, day, asked, answered, paid FROM shops ORDER BY 1, 2") == before
    mend(three)
    three.fold()
    assert three.stored("SELECT shop, asked, paid FROM shops ORDER BY shop") == [(1, 1, 2), (2, 1, 2)]
