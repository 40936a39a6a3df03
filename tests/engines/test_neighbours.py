"""What stands beside Dayfold's tables in the store belongs to others: it is never taken over and never lost."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import Any

import duckdb
import psycopg
import pytest

from dayfold import Count, Distinct, Max, Rollup, Sum, Table
from dayfold.errors import DefinitionError
from dayfold.fold import reshape
from tests.engines.ground import Ground, march
from tests.sql import rows_of, run_sql

D = dt.date
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


def test_nothing_is_built_for_a_table_that_is_not_free(folded: Ground) -> None:
    """The refusal comes before the history is read."""
    folded.stored("CREATE TABLE bills (note text)")
    define(folded, table="bills")
    refusal(folded)
    builds = "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'dayfold_build%'"
    assert folded.stored(builds) == []


def test_a_table_that_comes_while_a_version_is_built_is_not_taken(
    folded: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing looks again."""
    real = reshape.publish_version

    def publish(ledger: Any, *args: Any) -> Any:
        if folded.engine == "clickhouse":
            run_sql(folded.pairing.store, "CREATE TABLE bills (note text)")
        else:
            with ledger.store.transaction() as session:
                session.execute(f"CREATE TABLE {ledger.store.schema}.bills (note text)")
        return real(ledger, *args)

    monkeypatch.setattr(reshape, "publish_version", publish)
    define(folded, table="bills")
    assert "There is a table bills already" in refusal(folded)
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'bills'"
    assert folded.stored(columns) == [("note",)]


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
    folded.needs("indexes of rows")
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
    folded.needs("table under the name, but a view of its versions")
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
    in_clickhouse = loaded.engine == "clickhouse"
    # There it is a database of the server that all tests share, and what is beside it is the ledger.
    name = f"metrics_{secrets.token_hex(6)}" if in_clickhouse else "metrics"
    loaded.config["store"]["schema"] = name
    define(loaded)
    loaded.fold()
    assert sorted(loaded.stored(f"SELECT shop, total FROM {name}.sales")) == [(1, 1), (2, 1)]
    schemas = "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name LIKE 'dayfold%'"
    if in_clickhouse:
        assert run_sql(rows_of(loaded.pairing.store), schemas) == []
        loaded.stored(f"DROP DATABASE {name}")
    else:
        assert loaded.stored(schemas) == [(name,)]


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


def test_a_table_called_like_our_sets_is_somebodys(folded: Ground) -> None:
    """An edit without a Distinct does not drop it, and one with a Distinct does not take it."""
    folded.stored("CREATE TABLE sales__sets (note text)")
    folded.stored("INSERT INTO sales__sets VALUES ('mine')")
    amount = Sum(folded.table("sale"), "amount", at="made")
    define(folded, amount=amount)
    folded.fold()
    assert folded.stored("SELECT note FROM sales__sets") == [("mine",)]
    people = Distinct(folded.table("sale"), "who", at="made")
    for key in ("shop", "who"):
        define(folded, people=people, key=key)
        assert "There is a table sales__sets already, which Dayfold did not make for Sales." in refusal(folded)
    assert folded.stored("SELECT note FROM sales__sets") == [("mine",)]
    folded.stored("DROP TABLE sales__sets")
    define(folded, people=people)
    folded.fold()
    define(folded)
    folded.fold()
    tables = "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'sales%'"
    assert folded.stored(tables) == [("sales",)]


def test_a_column_that_somebody_added_is_not_dropped_by_an_edit(folded: Ground) -> None:
    """It is named before anything is built."""
    folded.needs("table under the name, but a view of its versions")
    for index in ("sales_key", "sales_day"):
        names = [name for (name,) in folded.stored(INDEXES[folded.engine]) if name.startswith(index)]
        folded.stored(f"DROP INDEX {names[0]}")
    folded.stored("ALTER TABLE sales ADD COLUMN note text")
    folded.stored("UPDATE sales SET note = 'mine'")
    define(folded, amount=Sum(folded.table("sale"), "amount", at="made"))
    assert refusal(folded) == (
        "The table sales has what Dayfold did not make: note. The edit would drop it.\n"
        "  Move it elsewhere and drop it here; then fold again."
    )
    assert folded.stored("SELECT DISTINCT note FROM sales") == [("mine",)]


@pytest.mark.parametrize("later", [False, True])
def test_a_key_and_a_metric_that_trade_places(loaded: Ground, later: bool) -> None:
    """The columns and their types are the same ones; what is unique is not."""
    sale = loaded.table("sale")
    loaded.insert("sale", [{"shop": 5, "who": "fay", "amount": 3, "made": march(10)}])
    define(loaded, most=Max(sale, "amount", at="made"))
    loaded.fold()
    loaded.source("CREATE VIEW turned AS SELECT amount AS most, shop, made FROM sale")
    eve = {"shop": 2, "who": "eve", "amount": 2, "made": march(10)}
    if not later:
        loaded.insert("sale", [eve])
    turned = loaded.table("turned")
    define(loaded, key="most", shop=Max(turned, "shop", at="made"), total=Count(turned, at="made"))
    loaded.fold()
    if later:
        loaded.insert("sale", [eve])
        loaded.fold()
    rows = loaded.stored("SELECT most, day, shop, total FROM sales ORDER BY day, most")
    assert rows == [(2, D(2026, 3, 1), 1, 1), (2, D(2026, 3, 10), 2, 1), (3, D(2026, 3, 10), 5, 2)]


def test_indexes_with_names_that_read_alike_are_all_made(loaded: Ground) -> None:
    """Of a column called key, of two columns or one of their joined name, of two tables."""
    loaded.needs("indexes of rows")
    loaded.load(
        "visit",
        "key bigint, a text, b text, a_b text, made timestamptz",
        [{"key": 1, "a": "x", "b": "y", "a_b": "z", "made": march(10)}],
    )
    total = {"total": Count(loaded.table("visit"), at="made")}
    keys: dict[str, Any] = {"table": "t", "key": ("key", "a", "b", "a_b"), "index": ["key", "a_b", ("a", "b")]}
    others: dict[str, Any] = {"table": "t_a", "key": ("b", "a"), "index": ["b", ("b", "a")]}
    loaded.define(type("One", (Rollup,), {**keys, **total}), type("Other", (Rollup,), {**others, **total}))
    loaded.fold()
    indexes = loaded.stored(INDEXES[loaded.engine].replace("= 'sales'", "IN ('t', 't_a')"))
    assert len(indexes) == len(set(indexes)) == (1 + 1 + 3) + (1 + 1 + 2)
    with pytest.raises((duckdb.ConstraintException, psycopg.errors.UniqueViolation)):
        loaded.stored("INSERT INTO t SELECT * FROM t")


@pytest.mark.parametrize("store_url", ["duckdb"], indirect=True)
def test_names_that_differ_in_case_are_one_name_in_duckdb(folded: Ground) -> None:
    """So a table that is there is found, however it is spelled."""
    folded.stored('CREATE TABLE "Bills" (note text)')
    define(folded, table="bills")
    assert "There is a table bills already" in refusal(folded)
    define(folded, table="Sales")
    assert "There is a table Sales already" in refusal(folded)
    define(folded)
    assert folded.fold_written() == 0


@pytest.mark.parametrize("store_url", ["duckdb"], indirect=True)
def test_an_index_stays_where_a_metric_called_like_its_table_goes(loaded: Ground) -> None:
    """DuckDB makes the table anew: an index goes with its column, and with nothing else of that name."""
    amount = Sum(loaded.table("sale"), "amount", at="made")
    define(loaded, sales=amount, mine=amount, most=Max(loaded.table("sale"), "who", at="made"))
    loaded.fold()
    loaded.stored("CREATE INDEX mine ON sales (total)")
    loaded.stored("CREATE INDEX lower_most ON sales (lower(most))")
    define(loaded, most=Max(loaded.table("sale"), "amount", at="made"))
    loaded.fold()
    names = {name for (name,) in loaded.stored(INDEXES["duckdb"])}
    assert "mine" in names
    assert "lower_most" not in names
