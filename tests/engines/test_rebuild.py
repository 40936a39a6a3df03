"""Rebuild: days that exist are folded again, all at once or not at all."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from dayfold import Count, Distinct, Rollup, Sum
from dayfold.errors import BadDate, Sealed, SourceFailed, SuddenlyEmpty, UsageError
from tests.engines.ground import Ground, march

DDL = "id bigint, shop bigint, who text, amount bigint, made timestamptz"
OLD = dt.timedelta(days=40)


def row(number: int, shop: int | None = None) -> dict[str, Any]:
    made = march(1) - OLD + dt.timedelta(days=number % 20)
    return {
        "id": number,
        "shop": number % 3 if shop is None else shop,
        "who": f"p{number % 5}",
        "amount": number,
        "made": made,
    }


def filled(ground: Ground, **fold: Any) -> None:
    """Twenty days, all older than the lookback."""
    ground.load("visit", DDL, [row(n) for n in range(120)])
    ground.config = {**ground.config, "fold": {"chunk_rows": 30, **fold}}
    visit = ground.table("visit")
    metrics = {
        "visits": Count(visit, at="made"),
        "total": Sum(visit, "amount", at="made"),
        "people": Distinct(visit, "who", at="made"),
    }
    ground.define(type("Visits", (Rollup,), {"key": "shop", **metrics}))
    ground.fold()


def rebuild(ground: Ground, first: int = 0, last: int = 19, **how: Any) -> Any:
    start = (march(1) - OLD).date()
    return ground.opened.rebuild(
        "Visits", from_=start + dt.timedelta(days=first), to=start + dt.timedelta(days=last), **how
    )


def stored(ground: Ground) -> Any:
    sets = dict(ground.stored("SELECT concat(shop, ' ', day), people FROM visits__sets"))
    rows = ground.stored("SELECT shop, day, visits, total, people FROM visits ORDER BY 1, 2")
    assert [len(sets[f"{shop} {day}"]) for shop, day, *_ in rows] == [people for *_, people in rows]
    return rows


def truth(ground: Ground) -> Any:
    return ground.source(
        "SELECT shop, CAST(made AT TIME ZONE 'UTC' AS DATE), count(*), CAST(sum(amount) AS BIGINT), count(DISTINCT who) "
        "FROM visit GROUP BY 1, 2 ORDER BY 1, 2"
    )


def left_over(ground: Ground) -> Any:
    return ground.stored(
        "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'dayfold\\_rebuild%' ESCAPE '\\'"
    )


def test_rebuild_finds_what_the_lookback_cannot(ground: Ground) -> None:
    """A change, a late row and a delete, 30 days back; only what differs is written."""
    filled(ground)
    ground.source("UPDATE visit SET amount = 900 WHERE id = 5")
    ground.source("DELETE FROM visit WHERE id IN (7, 27, 47, 67, 87, 107)")
    ground.insert("visit", [{**row(3), "id": 200, "shop": 9}])
    assert ground.fold_written() == 0
    result = rebuild(ground)
    assert (result.rows_inserted, result.rows_updated, result.rows_deleted, result.days) == (1, 1, 3, 20)
    assert stored(ground) == truth(ground)
    assert rebuild(ground).cells == 0
    assert left_over(ground) == []
    jobs = ground.stored("SELECT job, status, cells FROM dayfold_runs ORDER BY id DESC LIMIT 2")
    assert jobs == [("rebuild", "done", 0), ("rebuild", "done", 5)]


@pytest.mark.parametrize("chunk_rows", [30, 1000], ids=["many portions", "one portion"])
def test_dry_run_changes_nothing_and_shows_the_largest_moves(ground: Ground, chunk_rows: int) -> None:
    """How many cells would change, and by how much."""
    filled(ground, chunk_rows=chunk_rows)
    ground.source("UPDATE visit SET amount = 900 WHERE id = 5")
    ground.source("UPDATE visit SET amount = 90 WHERE id = 8")
    before = stored(ground)
    result = rebuild(ground, dry_run=True)
    assert (result.cells, result.rows_updated, result.run_id) == (2, 2, None)
    moves = [(move.key["shop"], move.day, move.metric, move.stored, move.rebuilt) for move in result.moves]
    first = (march(1) - OLD).date()
    sums = {row[:2]: row[3] for row in before}
    expected = [
        (2, first + dt.timedelta(days=5), "total", sums[2, first + dt.timedelta(days=5)], 895),
        (2, first + dt.timedelta(days=8), "total", sums[2, first + dt.timedelta(days=8)], 82),
    ]
    assert moves == [(*where, str(old), str(old + more)) for *where, old, more in expected]
    assert stored(ground) == before


def test_key_filter_rebuilds_only_these_keys(ground: Ground) -> None:
    """Other shops stay as they are, right or wrong."""
    filled(ground)
    ground.source("UPDATE visit SET amount = amount + 1")
    assert rebuild(ground, where=["shop=1"]).rows_updated == 20
    right = {row[:2]: row for row in truth(ground)}
    assert {row[0] for row in stored(ground) if row == right[row[:2]]} == {1}
    assert rebuild(ground, where=["shop!=1"]).rows_updated == 40
    assert stored(ground) == truth(ground)


def test_source_suddenly_empty_stops_the_rebuild(ground: Ground) -> None:
    """Nothing is wiped unless it is allowed."""
    filled(ground)
    before = stored(ground)
    ground.source("DELETE FROM visit")
    for how in ({}, {"dry_run": True}, {"where": ["shop=2"]}):
        with pytest.raises(SuddenlyEmpty, match="Nothing was changed"):
            rebuild(ground, **how)
    assert stored(ground) == before
    assert left_over(ground) == []
    assert rebuild(ground, allow_empty=True).rows_deleted == len(before)
    assert stored(ground) == []


def test_some_days_empty_beside_others_are_published(ground: Ground) -> None:
    """A day made honestly empty becomes empty."""
    filled(ground)
    ground.source("DELETE FROM visit WHERE id % 20 = 4")
    rebuild(ground)
    assert stored(ground) == truth(ground)


def test_source_that_cannot_be_read_changes_nothing(ground: Ground) -> None:
    """The error names it."""
    filled(ground)
    before = stored(ground)
    ground.source("ALTER TABLE visit RENAME TO elsewhere")
    with pytest.raises(SourceFailed, match="visit"):
        rebuild(ground)
    assert stored(ground) == before


def test_sealed_days_are_refused_with_the_reason(store: Ground) -> None:
    """The days around them are not."""
    filled(store)
    day = (march(1) - OLD + dt.timedelta(days=6)).date()
    store.stored("UPDATE dayfold__coverage SET state = 'sealed' WHERE day = $1", [day])
    store.source("UPDATE visit SET amount = amount + 1")
    with pytest.raises(Sealed) as refused:
        rebuild(store)
    assert str(refused.value) == (
        f"Visits is sealed on {day}: what its rows were folded from may be gone, and nothing computes them again.\n"
        "  Rebuild the days around them."
    )
    assert rebuild(store, 0, 5).rows_updated == 18


def test_words_that_do_not_fit_are_refused_before_anything(store: Ground) -> None:
    """Each says what is wrong."""
    filled(store)
    with pytest.raises(BadDate, match="ends before it starts"):
        rebuild(store, 5, 3)
    with pytest.raises(UsageError, match="was never folded on 2020"):
        store.opened.rebuild("Visits", from_="2020-01-01", to="2020-01-31")
    with pytest.raises(UsageError, match="has no key column 'shp'"):
        rebuild(store, where=["shp=1"])
    with pytest.raises(UsageError, match="is not integer"):
        rebuild(store, where=["shop=one"])


def test_edited_definition_is_folded_first(store: Ground) -> None:
    """A rebuild never mixes two versions."""
    filled(store)
    store.define(type("Visits", (Rollup,), {"key": "shop", "visits": Count(store.table("visit"), at="made")}))
    with pytest.raises(UsageError, match="was edited since it was folded"):
        rebuild(store)
