"""What stands beside Dayfold's tables in the store belongs to others: it is never taken over and never lost."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from dayfold import Count, Distinct, Rollup, Sum, Table
from dayfold.errors import DefinitionError
from tests.engines.ground import Ground, march

DDL = "shop bigint, who text, amount bigint, made timestamptz"
ROWS = [
    {"shop": 1, "who": "ann", "amount": 2, "made": march(1)},
    {"shop": 2, "who": "bob", "amount": 3, "made": march(10)},
]
INDEXES = {
    "duckdb": "SELECT index_name FROM duckdb_indexes() WHERE table_name = 'sales'",
    "postgres": "SELECT indexname FROM pg_indexes WHERE tablename = 'sales'",
}


def define(ground: Ground, name: str = "Sales", **attributes: Any) -> None:
    metrics = {"total": Count(ground.table("sale"), at="made")}
    ground.define(type(name, (Rollup,), {"key": "shop", "lookback": 3, **metrics, **attributes}))


@pytest.fixture
def loaded(store: Ground) -> Ground:
    store.load("sale", DDL, ROWS)
    return store


@pytest.fixture
def folded(loaded: Ground) -> Ground:
    define(loaded)
    loaded.fold()
    return loaded


def refusal(ground: Ground) -> str:
    [run] = ground.opened.fold()
    assert run.status == "failed"
    return str(run.error)


def test_a_first_fold_takes_no_table_that_is_there(loaded: Ground) -> None:
    """Not even one with the right columns: it is somebody's."""
    loaded.stored("CREATE TABLE sales (shop bigint, day date, total bigint)")
    loaded.stored("INSERT INTO sales VALUES (7, DATE '2026-03-01', 70)")
    define(loaded)
    assert refusal(loaded) == (
        "There is a table sales already, which Dayfold did not make for Sales.\n"
        '  Rename or drop it, or give the rollup another table: table = "…".'
    )
    assert loaded.stored("SELECT * FROM sales") == [(7, dt.date(2026, 3, 1), 70)]


def test_an_edit_of_the_table_takes_no_table_that_is_there(folded: Ground) -> None:
    """The rows of both stay where they are; with the table gone the same definition goes on."""
    folded.stored("CREATE TABLE bills (note text)")
    folded.stored("INSERT INTO bills VALUES ('mine')")
    before = sorted(folded.stored("SELECT * FROM sales"))
    define(folded, table="bills")
    assert "There is a table bills already" in refusal(folded)
    assert folded.stored("SELECT * FROM bills") == [("mine",)]
    assert sorted(folded.stored("SELECT * FROM sales")) == before
    folded.stored("DROP TABLE bills")
    define(folded, table="bills")
    folded.fold()
    assert sorted(folded.stored("SELECT shop, total FROM bills")) == [(1, 1), (2, 1)]


def test_a_rollup_does_not_take_the_table_of_another(folded: Ground) -> None:
    """A class that was renamed but kept its table would wipe what the first one folded."""
    define(folded, "Revenue", table="sales")
    assert refusal(folded) == (
        "The table sales of Revenue is that of the rollup Sales, which was folded before.\n"
        '  Call the class Sales again, or give it another table: table = "…".'
    )
    assert sorted(folded.stored("SELECT shop, total FROM sales")) == [(1, 1), (2, 1)]


def test_a_rollup_does_not_count_its_own_table(folded: Ground) -> None:
    """It would feed on itself."""
    define(folded, total=Sum(Table("sales"), "total", at="day"))
    with pytest.raises(DefinitionError, match="the table 'sales' is one of its own sources"):
        folded.opened.fold()
    assert sorted(folded.stored("SELECT shop, total FROM sales")) == [(1, 1), (2, 1)]


def test_indexes_of_others_outlive_folds_and_edits(folded: Ground) -> None:
    """One that a person made for their own queries is there after any change that keeps its columns."""
    folded.stored("CREATE INDEX mine ON sales (total)")
    folded.insert("sale", [{"shop": 3, "who": "cat", "amount": 1, "made": march(11)}])
    define(folded)
    folded.fold()
    assert ("mine",) in folded.stored(INDEXES[folded.engine])
    define(folded, index=["total"], amount=Sum(folded.table("sale"), "amount", at="made"))
    folded.fold()
    assert ("mine",) in folded.stored(INDEXES[folded.engine])
    assert sorted(folded.stored("SELECT shop, total, amount FROM sales")) == [(1, 1, 2), (2, 1, 3), (3, 1, 1)]


def test_a_dropped_table_is_folded_again(folded: Ground) -> None:
    """Its days are no longer called covered, so that all of them come back, not only those of the lookback."""
    folded.stored("DROP TABLE sales")
    define(folded)
    folded.fold()
    assert sorted(folded.stored("SELECT shop, total FROM sales")) == [(1, 1), (2, 1)]


@pytest.mark.parametrize("letters", [40, 50])
def test_long_table_names_can_be_edited(loaded: Ground, letters: int) -> None:
    """The tables beside it have names of their own within what PostgreSQL keeps of a name."""
    name = "t" * letters
    people = Distinct(loaded.table("sale"), "who", at="made")
    define(loaded, table=name, people=people, index=["total"])
    loaded.fold()
    define(loaded, table=name, people=people, amount=Sum(loaded.table("sale"), "amount", at="made"))
    loaded.fold()
    assert sorted(loaded.stored(f"SELECT shop, total, people, amount FROM {name}")) == [(1, 1, 1, 2), (2, 1, 1, 3)]
    assert loaded.ask("Sales", "people", first=1, last=10, grain="total")[0]["people"] == 2


def test_the_schema_of_the_settings_is_made(loaded: Ground) -> None:
    """Every table of Dayfold stands in it, and none beside it."""
    loaded.config["store"]["schema"] = "metrics"
    define(loaded)
    loaded.fold()
    assert sorted(loaded.stored("SELECT shop, total FROM metrics.sales")) == [(1, 1), (2, 1)]
    schemas = "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name LIKE 'dayfold%'"
    assert loaded.stored(schemas) == [("metrics",)]


def test_a_comment_above_a_query_is_no_other_source(loaded: Ground) -> None:
    """A source that is written as SQL is known by its text: where it stands in the file changes nothing."""
    query = "SELECT shop, made FROM sale"
    above = Count(Table(sql=query, database=loaded.pairing.database), at="made")
    below = Count(Table(sql=query, database=loaded.pairing.database), at="made")
    define(loaded, total=above)
    loaded.fold()
    covered = loaded.stored("SELECT DISTINCT source FROM dayfold_coverage")
    define(loaded, total=below)
    assert loaded.fold_written() == 0
    assert loaded.stored("SELECT DISTINCT source FROM dayfold_coverage") == covered
    loaded.source("DELETE FROM sale")
    assert "returns nothing for" in refusal(loaded)


def test_a_table_of_another_name_is_not_filled_with_nothing(folded: Ground) -> None:
    """An edit whose source has lost its rows is refused by what was published before, wherever that stands."""
    folded.source("DELETE FROM sale")
    define(folded, table="bills", amount=Sum(folded.table("sale"), "amount", at="made"))
    assert "the new definition has no row where the old one has some" in refusal(folded)
    assert sorted(folded.stored("SELECT shop, total FROM sales")) == [(1, 1), (2, 1)]
    assert [run.status for run in folded.opened.fold(allow_empty=True)] == ["done"]
    assert folded.stored("SELECT count(*) FROM bills") == [(0,)]
