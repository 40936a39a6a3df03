"""The tables that Dayfold makes, as the engine's own catalogue describes them."""

from __future__ import annotations

import datetime as dt
import re

import duckdb
import psycopg
import pytest

from dayfold import Avg, Count, Distinct, Gauge, Max, Min, Ratio, Rollup, Sum
from tests.engines.ground import Ground, march

DDL = "tenant text, shop bigint, amount numeric(12,2), units bigint, who text, made timestamptz"
ROWS = [
    {"tenant": None, "shop": None, "amount": 1, "units": 2, "who": "ann", "made": march(10)},
    {"tenant": "a", "shop": 1, "amount": 3, "units": 4, "who": "bob", "made": march(11)},
]
INDEXES = {
    "duckdb": "SELECT index_name, sql FROM duckdb_indexes() WHERE table_name = $1",
    "postgres": "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = $1",
}
TYPES = {
    "duckdb": "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = $1 ORDER BY column_index",
    "postgres": "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
    "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    "clickhouse": "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = $1 ORDER BY position",
}
#: Spelled as PostgreSQL does. In ClickHouse hardly any column refuses NULL.
SPELLING = {
    "DECIMAL": "numeric",
    "VARCHAR": "text",
    "BIGINT": "bigint",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "Decimal": "numeric",
    "String": "text",
    "Array(Int64)": "bigint[]",
    "Int64": "bigint",
    "Date32": "date",
    "DateTime64(6, 'UTC')": "timestamp with time zone",
}


@pytest.fixture
def folded(ground: Ground) -> Ground:
    """A rollup of every kind of metric, folded once."""
    ground.load("sale", DDL, ROWS)
    sale = ground.table("sale")

    class Sales(Rollup):
        key = ("tenant", "shop")
        index = ("tenant", ("shop", "total"))
        day_column = "on_day"
        total = Count(sale, at="made")
        amount = Sum(sale, "amount", at="made")
        units = Sum(sale, "units", at="made")
        least = Min(sale, "amount", at="made")
        most = Max(sale, "who", at="made")
        mean = Avg(sale, "amount", at="made")
        people = Distinct(sale, "who", at="made")
        level = Gauge(sale, "units", at="made")
        each = Ratio("amount", "total")

    ground.define(Sales)
    ground.fold()
    return ground


def column_types(ground: Ground, table: str) -> dict[str, str]:
    found = {}
    for name, type_ in ground.stored(TYPES[ground.engine], [table]):
        respelled = re.sub(r"^Nullable\((.*)\)$", r"\1", type_)
        for word, spelled in SPELLING.items():
            respelled = respelled.replace(word, spelled)
        found[name] = respelled.replace(", ", ",")
    return found


def test_columns_have_the_types_that_numbers_need(folded: Ground) -> None:
    """Counts are 64-bit, money is decimal, the day is a date; what is computed when read is not stored."""
    types = column_types(folded, "sales")
    money = types.pop("amount"), types.pop("mean__sum")
    assert all(re.fullmatch(r"numeric\(\d+,2\)", one) for one in money)
    assert types == {
        "tenant": "text",
        "shop": "bigint",
        "on_day": "date",
        "total": "bigint",
        "units": "bigint",
        "least": "numeric(12,2)",
        "most": "text",
        "mean__count": "bigint",
        "people": "bigint",
        "level": "bigint",
        "created_at": "timestamp with time zone",
        "updated_at": "timestamp with time zone",
        "run_id": "bigint",
    }
    assert column_types(folded, "sales__sets") == {
        "tenant": "text",
        "shop": "bigint",
        "on_day": "date",
        "people": "bigint[]",
    }


def test_a_second_row_of_one_cell_is_refused_by_the_database(folded: Ground) -> None:
    """Key and day are unique, NULLs equal: not even another program can double a cell."""
    folded.needs("unique keys")
    for table in ("sales", "sales__sets"):
        for tenant in ("IS NULL", "= 'a'"):
            with pytest.raises((duckdb.ConstraintException, psycopg.errors.UniqueViolation)):
                folded.stored(f"INSERT INTO {table} SELECT * FROM {table} WHERE tenant {tenant}")


def test_there_is_an_index_on_the_day_and_on_every_entry(folded: Ground) -> None:
    """Named in the definition, made in the database; the unique one covers key and day."""
    folded.needs("indexes of rows")
    indexes = [text.replace('"', "").replace("'", "") for _, text in folded.stored(INDEXES[folded.engine], ["sales"])]

    def columns(text: str) -> str:
        return re.sub(r"\s+", "", text.partition("(")[2])

    unique = [text for text in indexes if "UNIQUE" in text.upper()]
    plain = sorted(columns(text).rstrip(";").removesuffix(")") for text in indexes if text not in unique)
    assert plain == ["on_day", "shop,total", "tenant"]
    [text] = unique
    assert all(name in text for name in ("tenant", "shop", "on_day"))


def test_no_column_that_identifies_a_row_is_loose(folded: Ground) -> None:
    """A row without a day cannot be put in."""
    folded.needs("rows that are changed in place")
    with pytest.raises((duckdb.ConstraintException, psycopg.errors.NotNullViolation)):
        folded.stored("UPDATE sales SET on_day = NULL")


def test_the_ledgers_views_are_for_everyone(folded: Ground) -> None:
    """dayfold_runs and dayfold_coverage answer plain SQL."""
    [(job, rollup, status, inserted)] = folded.stored("SELECT job, rollup, status, rows_inserted FROM dayfold_runs")
    assert (job, rollup, status, inserted) == ("fold", "Sales", "done", 2)
    states = folded.stored("SELECT day, state, facts FROM dayfold_coverage WHERE rollup = 'Sales' ORDER BY day")
    assert states == [
        (dt.date(2026, 3, 10), "folded", 1),
        (dt.date(2026, 3, 11), "folded", 1),
        (dt.date(2026, 3, 12), "open", 0),
    ]


def test_a_table_altered_by_hand_is_refused_with_the_difference(store: Ground) -> None:
    """Nothing is written over a column that Dayfold did not make."""
    store.needs("table under the name, but a view of its versions")
    store.load("sale", DDL, ROWS)

    class Sales(Rollup):
        total = Count(store.table("sale"), at="made")

    store.define(Sales)
    store.fold()
    store.stored("ALTER TABLE sales ADD COLUMN mine text")
    [run] = store.opened.fold()
    assert run.status == "failed"
    assert "The table sales is not as Dayfold makes it: the column 'mine' is not one of ours." in str(run.error)
