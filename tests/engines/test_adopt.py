"""Adopt and sealing: rows whose source is gone stand for good; removed rollups stand until they are pruned by name."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from dayfold import Avg, Count, Distinct, Rollup, Sum
from dayfold.errors import Sealed, StoreError, UnknownName, UsageError
from tests.engines.ground import D, Ground, march

DDL = "id bigint, shop bigint, amount bigint, made timestamptz"
LEGACY = "shop bigint, date date, visits bigint, revenue bigint"


def rollup(ground: Ground, name: str = "Visits", **more: Any) -> type[Any]:
    visit = ground.table("visit")
    metrics = {"visits": Count(visit, at="made"), "total": Sum(visit, "amount", at="made")}
    return type(name, (Rollup,), {"key": "shop", **metrics, **more})


def filled(ground: Ground, **wrong: int) -> None:
    """A legacy table of ten days, of which the source still has the last four."""
    rows = [{"id": n, "shop": n % 3 or None, "amount": n, "made": march(n % 4 + 7)} for n in range(60)]
    ground.load("visit", DDL, rows)
    legacy = [
        {"shop": shop, "date": D(2026, 3, day), "visits": day * 10, "revenue": 7}
        for day in range(1, 7)
        for shop in (None, 1, 2)
    ]
    for day in range(7, 11):
        for shop in (None, 1, 2):
            mine = [row for row in rows if row["shop"] == shop and row["made"].day == day]
            legacy.append(
                {
                    "shop": shop,
                    "date": D(2026, 3, day),
                    "visits": len(mine),
                    "revenue": sum(row["amount"] for row in mine),
                }
            )
    for place, more in wrong.items():
        legacy[-1][place] += more
    ground.load("legacy_daily", LEGACY, legacy)
    ground.define(rollup(ground))


def adopt(ground: Ground, **how: Any) -> Any:
    columns = {"day": "date", "total": "revenue"}
    return ground.opened.adopt("Visits", "legacy_daily", database=ground.pairing.database, columns=columns, **how)


def stored(ground: Ground) -> Any:
    return ground.stored("SELECT shop, day, visits, total FROM visits ORDER BY day, shop NULLS FIRST")


def expected(ground: Ground) -> Any:
    return ground.source("SELECT shop, date, visits, revenue FROM legacy_daily ORDER BY date, shop NULLS FIRST")


def test_rows_whose_source_is_gone_are_taken_over_and_sealed(ground: Ground) -> None:
    """The days that the source still has are compared, and folded as ever."""
    filled(ground)
    result = adopt(ground)
    assert (str(result.sealed), result.rows, result.compared, result.differing) == (
        "2026-03-01..2026-03-06",
        18,
        12,
        {},
    )
    ground.fold()
    assert stored(ground) == expected(ground)
    states = ground.stored("SELECT state, min(day), max(day) FROM dayfold_coverage GROUP BY state ORDER BY state")
    assert states[-1] == ("sealed", D(2026, 3, 1), D(2026, 3, 6))
    assert ground.fold_written() == 0
    [answer] = ground.ask("Visits", "visits", grain="total")
    assert answer["visits"] == sum(row[2] for row in expected(ground))


def test_sealed_days_are_never_computed_again(ground: Ground) -> None:
    """Not by lookback, nor by a late row, a rebuild or an edit."""
    filled(ground)
    adopt(ground)
    ground.fold()
    before = expected(ground)
    ground.insert("visit", [{"id": 900, "shop": 1, "amount": 5, "made": march(5)}])
    ground.fold()
    assert stored(ground) == before
    with pytest.raises(Sealed, match=r"is sealed on 2026-03-05..2026-03-06"):
        ground.opened.rebuild("Visits", from_="2026-03-05", to="2026-03-08")
    ground.define(rollup(ground, more=Count(ground.table("visit"), at="made", where="amount > 3")))
    [run] = ground.opened.fold()
    assert "its sealed days (2026-03-01..2026-03-06) can never be computed again. The old version stays." in str(
        run.error
    )
    assert stored(ground) == before


def test_plan_says_that_an_edit_would_touch_sealed_days(store: Ground) -> None:
    """And that the fold will refuse it; as long as nothing is edited there is nothing to say."""
    filled(store)
    adopt(store)
    store.fold()
    [plan] = store.opened.plan()
    assert (plan.action, plan.warnings) == ("refresh", [])
    store.define(rollup(store, more=Count(store.table("visit"), at="made", where="amount > 3")))
    [plan] = store.opened.plan()
    assert (plan.action, plan.edits) == ("new version", ["metric more added"])
    assert plan.warnings == [
        "the edit will be refused: 2026-03-01..2026-03-06 are sealed and can never be computed again"
    ]


def test_mark_on_a_sealed_day_is_dropped(store: Ground) -> None:
    """A trigger sees a late row on it; the day stands, and the mark does not wait for ever."""
    filled(store)
    visit = store.table("visit", changes="trigger")
    store.define(
        type(
            "Visits",
            (Rollup,),
            {"key": "shop", "visits": Count(visit, at="made"), "total": Sum(visit, "amount", at="made")},
        )
    )
    adopt(store)
    store.opened.track_install()
    store.fold()
    before = stored(store)
    store.insert(
        "visit",
        [{"id": 900, "shop": 1, "amount": 5, "made": march(5)}, {"id": 901, "shop": 1, "amount": 5, "made": march(9)}],
    )
    [run] = store.fold()
    assert run.cells == 1
    [(old, new)] = [pair for pair in zip(before, stored(store), strict=True) if pair[0] != pair[1]]
    assert new == (1, D(2026, 3, 9), old[2] + 1, old[3] + 5)
    assert store.stored("SELECT count(*) FROM dayfold_stale") == [(0,)]


def test_table_that_differs_from_the_source_is_refused(ground: Ground) -> None:
    """Its numbers may follow another definition; a dry run shows where, and the difference can be accepted."""
    filled(ground, visits=1)
    with pytest.raises(
        UsageError, match=r"differs from the source in 1 of 12 cells of 2026-03-07\.\.2026-03-10"
    ) as refused:
        adopt(ground)
    assert "--accept-differences" in str(refused.value)
    assert adopt(ground, dry_run=True).differing == {D(2026, 3, 10): 1}
    assert ground.stored("SELECT count(*) FROM visits") == [(0,)]
    assert adopt(ground, accept_differences=True).rows == 18


def test_table_that_does_not_fit_is_refused(store: Ground) -> None:
    """A missing column, a cell twice, sets that are not there, days that are sealed already."""
    filled(store)
    with pytest.raises(UsageError, match="has no column 'day', 'total'"):
        store.opened.adopt("Visits", "legacy_daily")
    with pytest.raises(UsageError, match="legacy_dail"):
        store.opened.adopt("Visits", "legacy_dail")
    store.stored("INSERT INTO legacy_daily SELECT * FROM legacy_daily WHERE shop IS NULL AND date = DATE '2026-03-02'")
    with pytest.raises(UsageError, match="has 1 cells twice"):
        adopt(store)
    store.stored("DELETE FROM legacy_daily WHERE shop IS NULL AND date = DATE '2026-03-02'")
    adopt(store)
    with pytest.raises(Sealed, match=r"is sealed on 2026-03-01\.\.2026-03-06 already"):
        adopt(store)
    visit = store.table("visit")
    store.define(type("People", (Rollup,), {"key": "shop", "people": Distinct(visit, "amount", at="made")}))
    with pytest.raises(UsageError, match="has Distinct metrics"):
        store.opened.adopt("People", "legacy_daily")


def test_empty_source_beside_another_leaves_the_days_unknown(ground: Ground) -> None:
    """It may have had rows on the other one's days or not: nothing is sealed before the last day is named."""
    filled(ground)
    ground.load("call", "shop bigint, made timestamptz", [])
    calls = Count(ground.table("call"), at="made")
    ground.define(rollup(ground, calls=calls))
    ground.source("ALTER TABLE legacy_daily ADD COLUMN calls bigint DEFAULT 0")
    with pytest.raises(UsageError) as refused:
        adopt(ground)
    assert str(refused.value) == (
        "One of the sources of Visits has no row, and another has rows since 2026-03-07: which days are to be taken over is "
        "not known.\n  Name the last of them: --to DAY"
    )
    assert ground.stored("SELECT count(*) FROM visits") == [(0,)]
    assert ground.stored("SELECT count(*) FROM dayfold_coverage WHERE state = 'sealed'") == [(0,)]
    result = adopt(ground, to="2026-03-04")
    assert (str(result.sealed), result.rows) == ("2026-03-01..2026-03-04", 12)


def test_mean_is_adopted_as_sum_and_count(store: Ground) -> None:
    """The columns that it is kept in are named."""
    store.load("visit", DDL, [{"id": 1, "shop": 1, "amount": 4, "made": march(9)}])
    store.load(
        "legacy",
        "shop bigint, day date, total bigint, n bigint",
        [{"shop": 1, "day": D(2026, 3, 1), "total": 10, "n": 4}],
    )
    store.define(type("Means", (Rollup,), {"key": "shop", "mean": Avg(store.table("visit"), "amount", at="made")}))
    store.opened.adopt("Means", "legacy", columns={"mean__sum": "total", "mean__count": "n"})
    store.fold()
    [row] = store.ask("Means", "mean", grain="total")
    assert row["mean"] == 14 / 5


def test_removed_rollup_stays_until_it_is_pruned_by_name(store: Ground) -> None:
    """Folds leave it alone; a prune names what depends on it first."""
    filled(store)
    other = rollup(store, "Others")
    store.define(rollup(store), other)
    store.fold()
    store.stored("CREATE VIEW weekly AS SELECT * FROM visits")
    store.define(other)
    store.fold()
    [orphan] = store.opened.orphans()
    assert (orphan.rollup, orphan.rows, orphan.dependents) == ("Visits", 12, ("the view weekly",))
    with pytest.raises(StoreError, match="Visits is not dropped: the view weekly depend on its table visits"):
        store.opened.prune(["Visits"])
    assert store.stored("SELECT count(*) FROM visits") == [(12,)]
    with pytest.raises(UsageError, match="Others is defined"):
        store.opened.prune(["Others"])
    with pytest.raises(UnknownName, match="There is no removed rollup 'Visit'; the nearest is 'Visits'"):
        store.opened.prune(["Visit"])
    store.stored("DROP VIEW weekly")
    assert [one.rollup for one in store.opened.prune(["Visits"])] == ["Visits"]
    assert store.opened.orphans() == []
    names = store.stored("SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'visits%'")
    assert names == []
    for table in ("coverage", "receipts", "rollups", "fences"):
        assert store.stored(f"SELECT count(*) FROM dayfold__{table} WHERE rollup = 'Visits'") == [(0,)]
    store.define(rollup(store), other)
    store.fold()
    assert store.stored("SELECT count(*) FROM visits") == [(12,)]


def test_revisions_go_on_where_a_rollup_is_pruned_and_folded_anew(store: Ground) -> None:
    """Answers that were kept of the old one are never taken for those of the new one, however often."""
    filled(store)
    mine, other = rollup(store), rollup(store, "Others")
    query = "SELECT revision FROM dayfold__rollups WHERE rollup = 'Visits'"
    seen: list[int] = []
    for _ in range(3):
        store.define(mine, other)
        store.fold()
        [(revision,)] = store.stored(query)
        assert revision > max(seen, default=0)
        seen.append(revision)
        store.define(other).prune(["Visits"])
    assert seen[0] == 1
    store.define(mine, other)
    store.opened.fold(["Visits"])
    assert store.stored(query) > [(seen[-1],)]


def test_lower_rollup_is_pruned_after_the_upper(store: Ground) -> None:
    """One that others are folded from is not dropped before them."""
    filled(store)
    lower = rollup(store, "Lower")
    upper = type("Upper", (Rollup,), {"visits": Sum(lower, "visits", at="day")})
    store.define(upper, lower)
    store.fold()
    store.define(rollup(store, "Third"))
    with pytest.raises(StoreError, match="the rollup Upper depend"):
        store.opened.prune(["Lower"])
    assert [one.rollup for one in store.opened.prune(["Lower", "Upper"])] == ["Upper", "Lower"]


@pytest.mark.parametrize("order", list(permutations(["Lowest", "Middle", "Highest"])), ids="-".join)
def test_rollups_folded_from_each_other_are_pruned_from_the_highest(store: Ground, order: tuple[str, ...]) -> None:
    """In whatever order they are named, and however many stand on one another."""
    filled(store)
    lowest = rollup(store, "Lowest")
    middle = type("Middle", (Rollup,), {"key": "shop", "visits": Sum(lowest, "visits", at="day")})
    highest = type("Highest", (Rollup,), {"visits": Sum(middle, "visits", at="day")})
    other = rollup(store, "Other")
    store.define(lowest, middle, highest, other)
    store.fold()
    store.define(other)
    with pytest.raises(StoreError) as refused:
        store.opened.prune(["Lowest", "Middle"])
    assert str(refused.value) == (
        "Middle is not dropped: the rollup Highest depend on its table middle.\n  Drop or change these first."
    )
    assert [one.rollup for one in store.opened.prune(order)] == ["Highest", "Middle", "Lowest"]
    assert store.opened.orphans() == []
