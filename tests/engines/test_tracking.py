"""Triggers tell exactly which cells changed: one late row refolds one cell, wherever the source is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest

from dayfold import Count, Distinct, Rollup, Sum
from dayfold.ledger import receipts
from tests.engines.ground import Ground, march

DDL = "id bigint, shop bigint, who text, amount bigint, made timestamptz, note text"


def define(ground: Ground, **more: Any) -> None:
    visit = ground.table("visit", changes="trigger")
    metrics = {
        "visits": Count(visit, at="made"),
        "large": Count(visit, at="made", where="amount > 10"),
        "total": Sum(visit, "amount", at="made"),
        "people": Distinct(visit, "who", at="made"),
    }
    ground.define(type("Visits", (Rollup,), {"key": "shop", **metrics, **more}))


def row(number: int, shop: int | None, day: int, amount: int = 1, who: str = "ann") -> dict[str, Any]:
    return {"id": number, "shop": shop, "who": who, "amount": amount, "made": march(day), "note": "x"}


def filled(ground: Ground, rows: Sequence[dict[str, Any]] | None = None) -> None:
    """A folded rollup over a table with triggers."""
    ground.load("visit", DDL, rows or [row(n, n % 3 + 1, n % 9 + 1, n) for n in range(60)])
    define(ground)
    ground.opened.track_install()
    ground.fold()


def trackable(ground: Ground) -> Ground:
    if ground.pairing.source.startswith("duckdb") and ground.pairing.source != ground.pairing.store:
        pytest.skip("DuckDB has triggers for tables of the store's own file only")
    return ground


def rows_of(ground: Ground) -> list[tuple[Any, ...]]:
    return ground.stored("SELECT shop, day, visits, large, total, people FROM visits ORDER BY shop NULLS LAST, day")


def truth(ground: Ground) -> list[tuple[Any, ...]]:
    """What a plain query over the source says."""
    return ground.source(
        "SELECT shop, CAST(made AT TIME ZONE 'UTC' AS DATE), count(*), count(*) FILTER (WHERE amount > 10), "
        "CAST(sum(amount) AS BIGINT), count(DISTINCT who) FROM visit GROUP BY 1, 2 ORDER BY shop NULLS LAST, 2"
    )


def changed(ground: Ground) -> tuple[int, int]:
    """Fold: the cells computed and the rows written."""
    [run] = ground.fold()
    assert run.warnings == []
    return run.cells, run.rows_inserted + run.rows_updated + run.rows_deleted


def test_an_unchanged_source_costs_nothing(ground: Ground) -> None:
    """No cell is computed again, not even today's."""
    filled(trackable(ground))
    assert changed(ground) == (0, 0)
    assert rows_of(ground) == truth(ground)


def test_late_row_refolds_only_its_cell(ground: Ground) -> None:
    """One row of one shop, days ago: one cell."""
    filled(trackable(ground))
    ground.insert("visit", [row(100, 2, 3)])
    assert changed(ground) == (1, 1)
    assert rows_of(ground) == truth(ground)
    assert changed(ground) == (0, 0)


def test_row_before_all_history_extends_it(ground: Ground) -> None:
    """A row 400 days late is on a day that was never folded."""
    filled(trackable(ground))
    ground.insert("visit", [{**row(100, 2, 3), "made": march(1) - dt.timedelta(days=400)}])
    _, written = changed(ground)
    assert written == 1
    assert rows_of(ground) == truth(ground)


def test_moved_and_rekeyed_rows_refold_both_sides(ground: Ground) -> None:
    """A row that moves from day to day and from key to key: the cell it left and the one it came to."""
    filled(trackable(ground))
    ground.source("UPDATE visit SET made = TIMESTAMPTZ '2026-03-11 05:00:00+00', shop = 9 WHERE id = 4")
    assert changed(ground)[0] == 2
    assert rows_of(ground) == truth(ground)


def test_update_of_another_column_marks_nothing(ground: Ground) -> None:
    """A note is no part of any metric."""
    filled(trackable(ground))
    ground.source("UPDATE visit SET note = 'changed'")
    assert changed(ground) == (0, 0)


def test_last_row_of_a_cell_deleted_removes_its_row(ground: Ground) -> None:
    """The vanished cell's row goes too, and its set."""
    filled(trackable(ground), [row(1, 1, 2), row(2, 2, 2)])
    ground.source("DELETE FROM visit WHERE id = 1")
    assert changed(ground) == (1, 1)
    assert rows_of(ground) == truth(ground)
    assert ground.stored("SELECT count(*) FROM visits__sets") == [(1,)]


def test_null_keys_are_cells_of_their_own(ground: Ground) -> None:
    """A row without a shop marks the cell without a shop, and no other."""
    filled(trackable(ground))
    ground.insert("visit", [row(100, None, 3), row(101, None, 3)])
    assert changed(ground) == (1, 1)
    assert changed(ground) == (0, 0)
    ground.source("UPDATE visit SET shop = 3 WHERE id = 100")
    assert changed(ground)[0] == 2
    assert rows_of(ground) == truth(ground)


def test_whole_shop_deleted_and_truncate_are_seen(ground: Ground) -> None:
    """First one shop, then everything; both are honest and published."""
    filled(trackable(ground))
    ground.source("DELETE FROM visit WHERE shop = 2")
    changed(ground)
    assert rows_of(ground) == truth(ground)
    ground.source("TRUNCATE visit")
    [run] = ground.fold()
    assert rows_of(ground) == []
    assert run.rows_deleted > 0


def test_rows_without_a_moment_or_in_the_future_mark_no_cell_of_now(ground: Ground) -> None:
    """A NULL moment is on no day, a future one waits for its day."""
    filled(trackable(ground))
    ground.insert("visit", [{**row(100, 2, 3), "made": None}, {**row(101, 2, 30)}])
    assert changed(ground) == (0, 0)
    ground.clock.instant = march(30, 20)
    changed(ground)
    assert (2, dt.date(2026, 3, 30), 1, 0, 1, 1) in rows_of(ground)


def test_a_day_that_ends_is_closed_without_being_folded_again(ground: Ground) -> None:
    """Its changes were told while it was open."""
    filled(trackable(ground))
    ground.clock.instant += dt.timedelta(days=1)
    [run] = ground.fold()
    assert (run.cells, sum(map(len, run.days))) == (0, 1)
    states = ground.stored("SELECT day, state FROM dayfold_coverage ORDER BY day DESC LIMIT 2")
    assert states == [(dt.date(2026, 3, 13), "open"), (dt.date(2026, 3, 12), "folded")]


def test_receipts_are_those_of_the_rows_after_folds_of_cells(store: Ground) -> None:
    """Corrected by what changed, they say what a look at the whole days says; a row changed past the fold shows."""
    filled(store)
    store.insert("visit", [row(100, 2, 3), row(101, 7, 3)])
    store.source("DELETE FROM visit WHERE shop = 1 AND amount < 30")
    store.source("UPDATE visit SET amount = amount + 1 WHERE id = 50")
    assert changed(store)[0] > 3
    assert altered(store) == set()
    store.stored("UPDATE visits SET total = total + 1 WHERE shop = 2 AND day = DATE '2026-03-03'")
    assert altered(store) == {dt.date(2026, 3, 3)}


def altered(ground: Ground) -> set[dt.date]:
    """The days whose rows are not what their receipts say."""
    app = ground.opened
    [bound] = app.bind().rollups
    with app.databases.store.transaction(read_only=True) as session:
        days = [dt.date(2026, 3, day) for day in range(1, 13)]
        return receipts.altered(app.ledger, session, bound.shape, "Visits", 1, days)
