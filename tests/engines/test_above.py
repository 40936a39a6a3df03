"""Rollups of rollups: the platform from asset rows, months from days; folded in order, marked by what changes below."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from dayfold import Avg, Count, Distinct, Max, Min, Ratio, Rollup, Sum, Table
from dayfold.define.catalog import catalog
from dayfold.errors import DefinitionError, Stopped
from dayfold.plan import dialect
from tests.engines.ground import Ground, march

DDL = "id bigint, asset bigint, owner text, who text, amount bigint, made timestamptz"


def rollups(ground: Ground, **more: Any) -> list[type[Any]]:
    visit = ground.table("visit", **more)
    base = {
        "views": Count(visit, at="made"),
        "spent": Sum(visit, "amount", at="made"),
        "mean": Avg(visit, "amount", at="made"),
        "people": Distinct(visit, "who", at="made"),
    }
    asset = type("AssetDaily", (Rollup,), {"key": ("asset", "owner"), **base})
    upper = {
        "views": Sum(asset, "views", at="day"),
        "spent": Sum(asset, "spent", at="day"),
        "assets": Count(asset, at="day"),
        "busiest": Max(asset, "views", at="day"),
        "people": Distinct(asset, "people", at="day"),
        "each": Ratio("spent", "views"),
    }
    platform = type("Platform", (Rollup,), upper)
    monthly = type(
        "OwnerMonthly",
        (Rollup,),
        {
            "key": "owner",
            "views": Sum(asset, "views", at="month"),
            "people": Distinct(asset, "people", at="month"),
        },
    )
    return [platform, monthly, asset]


def row(number: int, day: int, asset: int | None = None) -> dict[str, Any]:
    asset = number % 4 if asset is None else asset
    return {
        "id": number, "asset": asset, "owner": f"o{asset % 2}" if asset else None, "who": f"p{number % 7}",
        "amount": number, "made": march(day),
    }  # fmt: skip


def filled(ground: Ground, **more: Any) -> None:
    ground.load("visit", DDL, [row(n, n % 9 + 1) for n in range(80)])
    ground.define(*rollups(ground, **more))
    if more:
        ground.opened.track_install()
    ground.fold()


def stored(ground: Ground) -> tuple[Any, Any]:
    return (
        ground.stored("SELECT day, views, spent, assets, busiest, people FROM platform ORDER BY day"),
        ground.stored("SELECT owner, day, views, people FROM owner_monthly ORDER BY owner NULLS LAST, day"),
    )


def truth(ground: Ground) -> tuple[Any, Any]:
    day = "CAST(made AT TIME ZONE 'UTC' AS DATE)"
    return (
        ground.source(
            f"SELECT d, CAST(sum(n) AS BIGINT), CAST(sum(s) AS BIGINT), count(*), max(n), max(p) FROM (SELECT {day} AS d, asset, "
            "owner, count(*) AS n, sum(amount) AS s FROM visit GROUP BY 1, 2, 3) AS a JOIN (SELECT "
            f"{day} AS e, count(DISTINCT who) AS p FROM visit GROUP BY 1) AS b ON e = d GROUP BY d ORDER BY d"
        ),
        ground.source(
            f"SELECT owner, CAST(date_trunc('month', {day}) AS DATE), count(*), count(DISTINCT who) FROM visit GROUP BY 1, 2 "
            "ORDER BY owner NULLS LAST, 2"
        ),
    )


def test_upper_rollups_are_folded_after_the_lower_in_one_run(ground: Ground) -> None:
    """Whatever order they are written in; uniques are united, never summed."""
    filled(ground)
    assert stored(ground) == truth(ground)
    assert ground.fold_written() == 0


@pytest.mark.triggers
def test_change_below_refolds_only_the_cells_above(store: Ground) -> None:
    """One late row: one asset's day, the platform's day, the owner's month."""
    filled(store, changes="trigger")
    store.insert("visit", [row(200, 3, asset=2)])
    runs = {run.rollup: run.cells for run in store.fold()}
    assert runs == {"AssetDaily": 1, "Platform": 1, "OwnerMonthly": 1}
    assert stored(store) == truth(store)
    assert {run.cells for run in store.fold()} == {0}


@pytest.mark.triggers
def test_key_that_moves_is_marked_on_both_sides(store: Ground) -> None:
    """An asset given to another owner: both owners' months."""
    filled(store, changes="trigger")
    store.source("UPDATE visit SET owner = 'new' WHERE asset = 1")
    store.fold()
    assert stored(store) == truth(store)
    store.source("DELETE FROM visit WHERE owner = 'new'")
    store.fold()
    assert stored(store) == truth(store)


@pytest.mark.triggers
def test_only_the_people_change(store: Ground) -> None:
    """The set of a cell changes and its size does not: the union above is still right."""
    filled(store, changes="trigger")
    store.source("UPDATE visit SET who = 'someone else' WHERE id = 5")
    store.fold()
    assert stored(store) == truth(store)


@pytest.mark.triggers
def test_folding_the_lower_alone_marks_the_upper(store: Ground) -> None:
    """The upper one is brought up to date when it is folded, and until then says nothing new."""
    filled(store, changes="trigger")
    before = stored(store)
    store.insert("visit", [row(200, 3, asset=2)])
    assert [run.rollup for run in store.fold(rollups=["AssetDaily"])] == ["AssetDaily"]
    assert stored(store) == before
    assert [run.rollup for run in store.fold(rollups=["Platform"])] == ["AssetDaily", "Platform"]
    assert stored(store)[0] == truth(store)[0]


def test_edit_of_the_lower_reaches_the_upper(store: Ground) -> None:
    """A new version below is a change of every cell above."""
    filled(store)
    visit = store.table("visit")

    class AssetDaily(Rollup):
        key = ("asset", "owner")
        views = Count(visit, at="made", where="amount > 20")
        spent = Sum(visit, "amount", at="made", where="amount > 20")
        people = Distinct(visit, "who", at="made", where="amount > 20")

    class Platform(Rollup):
        views = Sum(AssetDaily, "views", at="day")
        people = Distinct(AssetDaily, "people", at="day")

    store.define(Platform, AssetDaily)
    store.fold()
    found = store.stored("SELECT day, views, people FROM platform ORDER BY day")
    assert found == store.source(
        "SELECT CAST(made AT TIME ZONE 'UTC' AS DATE), count(*), count(DISTINCT who) FROM visit WHERE amount > 20 "
        "GROUP BY 1 ORDER BY 1"
    )


@pytest.mark.triggers
def test_change_below_reaches_an_upper_that_is_being_built(store: Ground) -> None:
    """A day that was built aside before the lower changed is marked there too, and right when it is published."""
    store.config["fold"] = {"chunk_rows": 10}
    filled(store, changes="trigger")
    edited = rollups(store, changes="trigger")
    edited[0] = type("Platform", (Rollup,), {**vars(edited[0]), "least": Min(edited[2], "views", at="day")})
    built: list[str] = []

    def stop() -> None:
        if "Platform" in built:
            raise Stopped("Enough is built.")

    store.define(*edited)
    store.opened.track_install()
    runs = store.opened.fold(progress=lambda name, *_: built.append(name), stop=stop)
    assert [(run.rollup, run.status) for run in runs] == [("AssetDaily", "done"), ("Platform", "stopped")]
    covered = store.stored("SELECT min(day), count(*) FROM dayfold__coverage WHERE rollup = 'Platform' AND version = 2")
    assert covered[0][0] == dt.date(2026, 3, 1)
    assert covered[0][1] < 12
    store.insert("visit", [row(200, 1, asset=2)])
    store.fold(rollups=["AssetDaily"])
    store.fold()
    assert stored(store) == truth(store)
    assert {run.cells for run in store.fold()} == {0}


def test_plan_of_an_upper_waits_for_the_first_fold_of_the_lower(store: Ground) -> None:
    """What there will be to fold is not known before; afterwards there is nothing to warn of."""
    store.load("visit", DDL, [row(n, n % 9 + 1) for n in range(80)])
    store.define(*rollups(store))
    said = "it is folded from AssetDaily, which is folded first; only then is known how much"
    plans = {plan.rollup: plan for plan in store.opened.plan()}
    assert {name: plan.warnings for name, plan in plans.items()} == {
        "AssetDaily": [], "Platform": [said], "OwnerMonthly": [said],
    }  # fmt: skip
    assert {name: bool(plan.days) for name, plan in plans.items()} == {
        "AssetDaily": True, "Platform": False, "OwnerMonthly": False,
    }  # fmt: skip
    store.fold()
    assert [plan.warnings for plan in store.opened.plan()] == [[], [], []]


def test_failed_lower_leaves_the_upper_as_it_was(ground: Ground) -> None:
    """The upper rollup's run says why."""
    filled(ground)
    before = stored(ground)
    ground.source("ALTER TABLE visit RENAME TO elsewhere")
    runs = {run.rollup: run for run in ground.opened.fold()}
    assert {run.status for run in runs.values()} == {"partial"}
    assert "asset_daily: AssetDaily, which it is folded from, was not folded whole." in str(runs["Platform"].error)
    assert stored(ground) == before
    ground.source("ALTER TABLE elsewhere RENAME TO visit")
    ground.fold()
    assert stored(ground) == truth(ground)


def test_sets_that_are_not_whole_are_not_united(store: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many different values they have together is not known, and nothing is made up."""
    monkeypatch.setitem(dialect.PIECES, "smallest", dialect.Spelling("_x[1:2]", "_x[1:2]", "arraySlice(_x, 1, 2)"))
    store.load("visit", DDL, [row(n, n % 9 + 1) for n in range(80)])
    store.define(*rollups(store))
    runs = {run.rollup: run for run in store.opened.fold()}
    assert runs["AssetDaily"].error is None
    assert "hold sets of more than 16,384 values" in str(runs["Platform"].error)


def test_rollup_folded_from_itself_is_an_error_with_the_path() -> None:
    """A table that names another rollup's is told to name the rollup, and a circle shows its way."""

    class First(Rollup):
        table = "first_daily"
        n = Count(Table("second_daily"), at="day")

    class Second(Rollup):
        table = "second_daily"
        n = Sum(First, "n", at="day")

    with pytest.raises(DefinitionError) as refused:
        catalog([First, Second]).check()
    assert "it is folded from itself: First → Second → First." in str(refused.value)


def test_distinct_below_is_never_summed() -> None:
    """The error says to unite it."""

    class Below(Rollup):
        people = Distinct(Table("visit"), "who", at="made")

    class Above(Rollup):
        people = Sum(Below, "people", at="day")

    with pytest.raises(DefinitionError) as refused:
        catalog([Below, Above]).check()
    assert 'Unite them: Distinct(Below, "people", at=…)' in str(refused.value)


def test_table_of_a_rollup_is_named_by_the_rollup() -> None:
    """A plain table would hide what changes."""

    class Below(Rollup):
        n = Count(Table("visit"), at="made")

    class Above(Rollup):
        n = Sum(Table("below"), "n", at="day")

    with pytest.raises(DefinitionError, match="the table 'below' is that of the rollup Below"):
        catalog([Below, Above]).check()


@pytest.mark.triggers
def test_row_that_goes_counts_no_more_where_only_its_key_is_read(store: Ground) -> None:
    """How many shops sold anything: one that did not after all is taken off its day, though no number of its own is read."""
    store.load(
        "sales", "id bigint, shop text, sold_at timestamptz",
        [{"id": n, "shop": f"s{n}", "sold_at": march(3)} for n in range(3)],
    )  # fmt: skip
    sales = store.table("sales", changes="trigger")

    class ShopSales(Rollup):
        """What a shop sold."""

        key = "shop"
        sold = Count(sales, at="sold_at")

    class Shops(Rollup):
        """How many shops sold anything."""

        shops = Count(ShopSales, at="day")

    store.define(ShopSales, Shops).track_install()
    store.fold()
    assert store.stored("select shops from shops") == [(3,)]
    store.source("delete from sales where id = 1")
    store.define(ShopSales, Shops)
    store.fold()
    assert store.stored("select shops from shops") == [(2,)]
