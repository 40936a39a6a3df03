"""An edited definition: a new version is built aside and published into the same table, which keeps its identity."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from dayfold import Count, Distinct, Rollup, Sum
from dayfold.errors import QueryRefused
from tests.conftest import Pairing
from tests.engines.ground import Ground, march
from tests.servers import READER
from tests.sql import run_sql

DDL = "shop bigint, tenant text, amount bigint, price numeric(12,2), made timestamptz"
ROWS = [
    {"shop": 1, "tenant": "a", "amount": 2, "price": 1, "made": march(1)},
    {"shop": 1, "tenant": "b", "amount": 3, "price": 2, "made": march(10)},
    {"shop": 2, "tenant": "a", "amount": 4, "price": 3, "made": march(10)},
]


def sales(ground: Ground, **attributes: Any) -> None:
    """Define the rollup, with these attributes instead of the first ones."""
    ground.define(type("Sales", (Rollup,), {"key": "shop", "lookback": 1, **metrics(ground), **attributes}))


def metrics(ground: Ground) -> dict[str, Any]:
    return {"total": Count(ground.table("sale"), at="made")}


@pytest.fixture
def folded(store: Ground) -> Ground:
    """A version is built from the source as any chunk is; publishing it is the store's affair."""
    store.load("sale", DDL, ROWS)
    sales(store)
    store.fold()
    return store


def test_an_added_metric_has_its_whole_history(ground: Ground) -> None:
    """All days are folded again, not only those of the lookback; in every pairing."""
    ground.load("sale", DDL, ROWS)
    sales(ground)
    ground.fold()
    sale = ground.table("sale")
    sales(ground, amount=Sum(sale, "amount", at="made"), people=Distinct(sale, "tenant", at="made"))
    ground.fold()
    rows = ground.stored("SELECT shop, day, total, amount, people FROM sales ORDER BY day, shop")
    first, tenth = dt.date(2026, 3, 1), dt.date(2026, 3, 10)
    assert rows == [(1, first, 1, 2, 1), (1, tenth, 1, 3, 1), (2, tenth, 1, 4, 1)]
    [row] = ground.ask("Sales", "people", first=1, last=10, grain="total")
    assert row["people"] == 2
    assert ground.fold_written() == 0


def test_a_changed_metric_is_of_one_version_everywhere(folded: Ground) -> None:
    """The days outside the lookback are those of the new definition too."""
    sales(folded, total=Count(folded.table("sale"), at="made", where="tenant = 'a'"))
    folded.fold()
    rows = folded.stored("SELECT shop, day, total FROM sales ORDER BY day, shop")
    assert rows == [(1, dt.date(2026, 3, 1), 1), (2, dt.date(2026, 3, 10), 1)]


def test_a_removed_metric_leaves_the_table(folded: Ground) -> None:
    """And its sets with it; the other numbers are not written again."""
    sales(folded, people=Distinct(folded.table("sale"), "tenant", at="made"))
    folded.fold()
    sales(folded)
    [run] = folded.fold()
    assert (run.rows_inserted, run.rows_updated, run.rows_deleted) == (0, 0, 0)
    tables = folded.stored("SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'sales%'")
    assert tables == [("sales",)]


def test_a_changed_type_is_the_new_type(folded: Ground) -> None:
    """A count that becomes a decimal sum under the same name."""
    sales(folded, total=Sum(folded.table("sale"), "price", at="made"))
    folded.fold()
    rows = folded.stored("SELECT shop, total FROM sales ORDER BY day, shop")
    assert [(shop, str(total)) for shop, total in rows] == [(1, "1.00"), (1, "2.00"), (2, "3.00")]


@pytest.mark.parametrize("key", ["tenant", ("shop", "tenant"), ()])
def test_a_changed_key_leaves_no_row_of_the_old_one(folded: Ground, key: Any) -> None:
    """Rows are about whom the new key says, all of them."""
    sales(folded, key=key)
    folded.fold()
    names = [key] if isinstance(key, str) else list(key)
    found = folded.stored(f"SELECT {', '.join(['day', *names, 'total'])} FROM sales")
    wanted: dict[tuple[Any, ...], int] = {}
    for row in ROWS:
        cell = (row["made"].date(), *(row[name] for name in names))
        wanted[cell] = wanted.get(cell, 0) + 1
    assert {row[:-1]: row[-1] for row in found} == wanted
    assert folded.fold_written() == 0


def test_a_changed_grain_and_day_column_are_published(folded: Ground) -> None:
    """The rows are of the new buckets only."""
    sales(folded, grain="hour")
    folded.fold()
    assert folded.stored("SELECT count(*), min(bucket) FROM sales") == [(3, march(1))]
    sales(folded, day_column="on_day")
    folded.fold()
    assert folded.stored("SELECT count(*), min(on_day) FROM sales") == [(3, dt.date(2026, 3, 1))]


def test_an_edited_metric_is_not_answered_before_it_is_folded(folded: Ground) -> None:
    """Old numbers are not given out under a new meaning; untouched metrics are answered."""
    sale = folded.table("sale")
    both = {"amount": Sum(sale, "amount", at="made")}
    sales(folded, **both)
    folded.fold()
    sales(folded, **both, total=Count(sale, at="made", where="tenant = 'a'"))
    assert folded.ask("Sales", "amount", first=10, last=10, grain="total")[0]["amount"] == 7
    with pytest.raises(QueryRefused, match="The definition of Sales was edited since it was folded: total"):
        folded.ask("Sales", "total")


def test_an_edit_taken_back_finds_everything_as_it_was(folded: Ground) -> None:
    """The rows of the first definition come back, and nothing of the other is left."""
    before = folded.stored("SELECT shop, day, total FROM sales ORDER BY 1, 2")
    sales(folded, key="tenant")
    folded.fold()
    sales(folded)
    folded.fold()
    assert folded.stored("SELECT shop, day, total FROM sales ORDER BY 1, 2") == before
    builds = "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'dayfold_build%'"
    assert folded.stored(builds) == []


def test_indexes_follow_the_definition(folded: Ground) -> None:
    """One that is no longer named goes, a new one comes; neither is a new version."""
    folded.needs("indexes of rows")
    names = {
        "duckdb": "SELECT index_name FROM duckdb_indexes() WHERE table_name = 'sales'",
        "postgres": "SELECT indexname FROM pg_indexes WHERE tablename = 'sales'",
    }[folded.engine]
    before = set(folded.stored(names))
    sales(folded, index=["total"])
    folded.fold()
    assert len(set(folded.stored(names)) - before) == 1
    sales(folded)
    folded.fold()
    assert set(folded.stored(names)) == before


def test_indexes_change_together_with_what_they_index(folded: Ground) -> None:
    """Rows change under an index that comes, stays and goes, in folds and in edits."""
    sale = folded.table("sale")
    amount = Sum(sale, "amount", at="made")
    expected = 3
    for attributes in (
        {"index": ["total"]},
        {"index": ["total"]},
        {"index": ["total"], "amount": amount},
        {"index": [("amount", "total")], "amount": amount},
        {},
        {"index": ["total"], "key": "tenant"},
    ):
        folded.insert("sale", [{"shop": 1, "tenant": "a", "amount": 1, "price": 1, "made": march(11)}])
        expected += 1
        sales(folded, **attributes)
        folded.fold()
        assert folded.stored("SELECT sum(total) FROM sales") == [(expected,)]


@pytest.mark.parametrize("pairing", ["postgres-same", "duckdb-to-postgres"], indirect=True)
def test_the_table_keeps_its_identity_grants_and_views(pairing: Pairing) -> None:
    """Whoever was allowed to read it, and every view on it, still reads it after any edit."""
    with Ground(pairing) as ground:
        ground.load("sale", DDL, ROWS)
        sales(ground)
        ground.fold()
        oid = ground.stored("SELECT 'sales'::regclass::oid")
        ground.stored(f"GRANT SELECT ON sales TO {READER}")
        ground.stored("CREATE VIEW busy_days AS SELECT day, total FROM sales WHERE total > 0")
        amount = Sum(ground.table("sale"), "amount", at="made")
        for edit in ({"amount": amount}, {"key": ("shop", "tenant")}, {"key": "tenant", "amount": amount}, {}):
            sales(ground, **edit)
            ground.fold()
            assert ground.stored("SELECT 'sales'::regclass::oid") == oid
            assert ground.stored("SELECT count(*) FROM busy_days") == ground.stored("SELECT count(*) FROM sales")
            reader = pairing.store.replace("//owner:", "//reader:", 1)
            assert run_sql(reader, "SELECT sum(total) FROM sales") == [(3,)]
