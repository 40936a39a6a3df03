"""Folding again: nothing is written where nothing changed, and only what changed where something did."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from dayfold import Count, Distinct, Rollup, Sum
from tests.engines.ground import Ground, march
from tests.sql import engine_of

DDL = "id bigint, shop bigint, amount bigint, who text, made timestamptz"
STAMPS = "SELECT shop, day, created_at, updated_at, run_id FROM sales ORDER BY shop, day"


def row(number: int, shop: int, day: int, amount: int = 1, who: str = "ann") -> dict[str, Any]:
    return {"id": number, "shop": shop, "amount": amount, "who": who, "made": march(day)}


ROWS = [row(1, 1, 9), row(2, 1, 10), row(3, 2, 10), row(4, 2, 11)]


@pytest.fixture
def folded(ground: Ground) -> Ground:
    ground.load("sale", DDL, ROWS)
    sale = ground.table("sale")

    class Sales(Rollup):
        key = "shop"
        lookback = 5
        total = Count(sale, at="made")
        amount = Sum(sale, "amount", at="made")
        people = Distinct(sale, "who", at="made")

    ground.define(Sales)
    ground.fold()
    ground.clock.instant += dt.timedelta(minutes=5)
    return ground


def test_folding_again_writes_nothing(folded: Ground) -> None:
    """No row, no stamp: the tables are byte for byte what they were."""
    before = folded.stored(STAMPS)
    [run] = folded.fold()
    assert (run.rows_inserted, run.rows_updated, run.rows_deleted) == (0, 0, 0)
    assert folded.stored(STAMPS) == before


def test_only_changed_rows_move_their_stamps(folded: Ground) -> None:
    """updated_at and run_id tell when and by which run a value last changed; created_at stays."""
    before = {(shop, day): stamps for shop, day, *stamps in folded.stored(STAMPS)}
    folded.source("UPDATE sale SET amount = 5 WHERE id = 3")
    [run] = folded.fold()
    assert (run.rows_inserted, run.rows_updated, run.rows_deleted) == (0, 1, 0)
    after = {(shop, day): stamps for shop, day, *stamps in folded.stored(STAMPS)}
    changed = (2, dt.date(2026, 3, 10))
    created, updated, run_id = after.pop(changed)
    assert (created, updated, run_id) == (before[changed][0], folded.clock.instant, run.run_id)
    assert after == {cell: stamps for cell, stamps in before.items() if cell != changed}


def test_a_changed_set_of_the_same_size_is_published(folded: Ground) -> None:
    """The number in the row stays; the set behind it, which wider answers come from, moves."""
    folded.source("UPDATE sale SET who = 'bob' WHERE id = 3")
    folded.fold()
    [answer] = folded.ask("Sales", "people", first=9, last=11, grain="total")
    assert answer["people"] == 2


def test_a_cell_whose_last_fact_goes_is_deleted(folded: Ground) -> None:
    """Deleted rows, a row moved to another day, a row moved to another key: nothing is left behind."""
    folded.source("DELETE FROM sale WHERE id = 1")
    folded.source("UPDATE sale SET made = TIMESTAMPTZ '2026-03-12 01:00:00+00' WHERE id = 2")
    folded.source("UPDATE sale SET shop = 9 WHERE id = 4")
    [run] = folded.fold()
    assert (run.rows_inserted, run.rows_updated, run.rows_deleted) == (2, 0, 3)
    assert folded.stored("SELECT shop, day, total FROM sales ORDER BY shop") == [
        (1, dt.date(2026, 3, 12), 1),
        (2, dt.date(2026, 3, 10), 1),
        (9, dt.date(2026, 3, 11), 1),
    ]
    assert len(folded.stored("SELECT * FROM sales__sets")) == 3


def test_a_day_made_empty_beside_others_becomes_empty(folded: Ground) -> None:
    """It is covered and zero, not missing."""
    folded.source("DELETE FROM sale WHERE id IN (2, 3)")
    folded.fold()
    answer = folded.answer("Sales", "total", first=9, last=11)
    assert [one["total"] for one in answer.rows] == [1, 0, 1]
    assert answer.missing == []


@pytest.mark.parametrize(("day", "seen"), [(7, True), (6, False)])
def test_late_rows_are_seen_as_far_as_the_lookback_reaches(folded: Ground, day: int, seen: bool) -> None:
    """Five days before today are folded again with today; what is older stands until it is asked for."""
    folded.insert("sale", [row(9, 1, 1)])
    folded.fold()
    folded.insert("sale", [row(10, 1, day)])
    folded.fold()
    [answer] = folded.ask("Sales", "total", first=day, last=day)
    assert answer["total"] == int(seen)


def test_history_that_reaches_further_back_is_folded(folded: Ground) -> None:
    """A row before the first covered day extends the history by the days from it."""
    folded.insert("sale", [row(9, 1, 2)])
    folded.fold()
    answer = folded.answer("Sales", "total", first=1, last=4)
    assert [one["total"] for one in answer.rows] == [None, 1, 0, 0]
    assert [(str(gap.days), gap.reason) for gap in answer.missing] == [
        ("2026-03-01", "before the history, which starts on 2026-03-02")
    ]


def test_a_day_is_open_until_it_is_over(ground: Ground) -> None:
    """A row of yesterday that came after yesterday's fold is found without any lookback; one of older days is not."""
    ground.load("sale", DDL, ROWS)

    class Sales(Rollup):
        lookback = 0
        total = Count(ground.table("sale"), at="made")

    ground.define(Sales)
    ground.fold()
    ground.insert("sale", [row(8, 1, 11), row(9, 1, 12)])
    ground.clock.instant = march(13, 1)
    [run] = ground.fold()
    assert [str(days) for days in run.days] == ["2026-03-12..2026-03-13"]
    assert [one["total"] for one in ground.ask("Sales", first=11, last=12)] == [1, 1]


def test_history_starts_where_since_says(ground: Ground) -> None:
    """Facts before it are left alone; days from it on are covered even without facts."""
    ground.load("sale", DDL, ROWS)

    class Sales(Rollup):
        since = "2026-03-10"
        total = Count(ground.table("sale"), at="made")

    ground.define(Sales)
    ground.fold()
    assert [one["total"] for one in ground.ask("Sales", first=9, last=12)] == [None, 2, 1, 0]


def test_a_source_that_is_suddenly_empty_wipes_nothing(folded: Ground) -> None:
    """Wrong credentials or a replaced view look like this; --allow-empty says that it is meant."""
    before = folded.stored(STAMPS)
    folded.source("DELETE FROM sale")
    [run] = folded.opened.fold()
    assert run.status == "failed"
    assert run.error == (
        f"{folded.label('sale')} returns nothing for 2026-03-09 to 2026-03-12, where it had 4 facts before. "
        "Nothing was changed.\n  If its rows were really deleted, run again with --allow-empty. "
        "Otherwise check the connection, its rights and the table."
    )
    assert folded.stored(STAMPS) == before
    assert [one["total"] for one in folded.ask("Sales", "total", first=9, last=11)] == [1, 2, 1]
    [run] = folded.fold(allow_empty=True)
    assert run.rows_deleted == 4
    assert [one["total"] for one in folded.ask("Sales", "total", first=9, last=11)] == [0, 0, 0]


def test_history_that_starts_in_the_future_has_no_days_yet(ground: Ground) -> None:
    """Nothing is due, nothing is written, and a question says why."""
    ground.load("sale", DDL, ROWS)

    class Sales(Rollup):
        since = "2026-04-01"
        total = Count(ground.table("sale"), at="made")

    ground.define(Sales)
    [run] = ground.fold()
    assert (run.status, run.days, run.rows_inserted) == ("done", [], 0)
    assert [one["total"] for one in ground.ask("Sales", first=9, last=10)] == [None, None]


def test_a_moment_before_the_calendar_starts_no_history(ground: Ground) -> None:
    """One typing mistake in a year does not make a fold of thousands of years; nor is the fact on any day."""
    if engine_of(ground.pairing.source) == "clickhouse":
        pytest.skip("ClickHouse has no moment before the calendar")
    ground.load("sale", DDL, ROWS)
    year = "'0044-03-15 (BC) 12:00+00'" if ground.pairing.source.startswith("duckdb") else "'0044-03-15 12:00+00 BC'"
    ground.source(f"INSERT INTO sale VALUES (9, 1, 1, 'ann', CAST({year} AS timestamptz))")

    class Sales(Rollup):
        total = Count(ground.table("sale"), at="made")

    ground.define(Sales)
    [run] = ground.fold()
    assert run.days[0].first == dt.date(2026, 3, 9)
    assert [one["total"] for one in ground.ask("Sales", first=9, last=11)] == [1, 2, 1]


def test_two_thousand_years_of_history_are_soon_looked_through(store: Ground) -> None:
    """A fact of the first year is a fact: its history is covered, and the next fold looks at the lookback alone."""
    store.load("sale", DDL, ROWS)
    store.source("INSERT INTO sale VALUES (9, 1, 1, 'ann', TIMESTAMPTZ '0001-01-01 12:00:00+00')")

    class Sales(Rollup):
        lookback = 2
        total = Count(store.table("sale"), at="made")

    store.define(Sales)
    store.fold()
    [run] = store.fold()
    assert [str(days) for days in run.days] == ["2026-03-10..2026-03-12"]
    assert store.stored("SELECT sum(total) FROM sales") == [(5,)]
