"""Plain SQL and rows for the tests, on either engine, past the product.

Statements are written once with ``$1``, ``$2`` for parameters. Every call opens and closes its own connection
(a DuckDB file has one owner process) unless a :class:`Session` is held for several statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import duckdb
import psycopg
import pyarrow as pa
from sqlglot import exp, parse_one

from dayfold.define.source import Table
from dayfold.engines.clickhouse import ClickHouse
from dayfold.plan.clickhouse import type_name
from dayfold.plan.shape import Column
from dayfold.plan.sql import spelled

Row = Mapping[str, Any]


def is_duckdb(url: str) -> bool:
    return url.startswith("duckdb://")


def is_clickhouse(url: str) -> bool:
    return url.startswith(("clickhouse://", "chdb://"))


class Session:
    """One connection and one transaction; committed when left without an error. ClickHouse has none: what is done is done."""

    def __init__(self, url: str) -> None:
        self.duckdb = is_duckdb(url)
        self.clickhouse = ClickHouse(url) if is_clickhouse(url) else None
        self.connection: Any
        if self.clickhouse:
            self.connection = self.clickhouse
        elif self.duckdb:
            self.connection = duckdb.connect(url.removeprefix("duckdb:///"))
            self.connection.sql("SET TimeZone = 'UTC'")
            self.connection.sql("BEGIN")
        else:
            self.connection = psycopg.connect(url, cursor_factory=psycopg.RawCursor)
            self.connection.execute("SET TIME ZONE 'UTC'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        try:
            if not self.clickhouse:
                self.run("ROLLBACK" if failure else "COMMIT")
        finally:
            self.connection.close()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement, or no rows."""
        if self.clickhouse:
            with self.clickhouse.transaction() as session:
                text, values = in_clickhouse(sql), [_aware(one) for one in parameters]
                if text.startswith(("SELECT", "WITH", "DESCRIBE")):
                    return session.query(text, values)
                session.command(text, values)
                return []
        if self.duckdb:
            result = self.connection.sql(sql, params=list(parameters) or None)
            columns = result.to_arrow_table().columns if result is not None else []
            return list(zip(*(column.to_pylist() for column in columns), strict=True))
        cursor = self.connection.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, rows: Iterable[Row]) -> None:
        """Put rows that all have the same columns into a table."""
        rows = list(rows)
        if not rows:
            return
        names = list(rows[0])
        columns = ", ".join(f'"{name}"' for name in names)
        if self.clickhouse:
            types = self.clickhouse.describe(Table(table))
            wanted = [Column(name, types[name]) for name in names]
            with self.clickhouse.transaction() as session:
                session.append(table, wanted, _arrow(rows, wanted))
        elif self.duckdb:
            facts = pa.Table.from_pylist([dict(row) for row in rows])
            self.connection.register("facts", facts)
            self.connection.sql(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM facts")
            self.connection.unregister("facts")
        else:
            with self.connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row([row[name] for name in names])


def run_sql(url: str, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own and return its rows."""
    with Session(url) as session:
        return session.run(sql, parameters)


def load_rows(url: str, table: str, ddl: str, rows: Iterable[Row]) -> None:
    """Make ``table`` with the columns of ``ddl`` and fill it.

    ``ddl`` is what stands between the brackets of CREATE TABLE: ``"shop_id bigint, sent_at timestamptz"``.
    """
    with Session(url) as session:
        session.run(f"CREATE TABLE {table} ({ddl})")
        session.insert(table, rows)


def read_only(url: str) -> str:
    """The same PostgreSQL database, as a role that may only SELECT from the tables that exist now."""
    run_sql(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    return url.replace("//owner:", "//reader:", 1)


def drop_clickhouse(url: str) -> None:
    """The database and all its tables are gone."""
    store = ClickHouse(url)
    with store.transaction() as session:
        session.command(f"DROP DATABASE IF EXISTS {store.schema}")
    store.close()


def in_clickhouse(sql: str) -> str:
    """A statement of the tests in ClickHouse's words: what they say to make and change tables is PostgreSQL's."""
    tree = parse_one(sql, read="postgres").transform(_translated)
    if isinstance(tree, exp.Create) and tree.kind == "INDEX":
        return "SELECT 1"
    if isinstance(tree, exp.Create) and tree.kind == "TABLE" and isinstance(tree.this, exp.Schema):
        columns = [f'"{one.name}" {_kind(one.args["kind"])}' for one in tree.this.expressions if one.args.get("kind")]
        return f"CREATE TABLE {tree.this.this.sql(identify=True)} ({', '.join(columns)}) ENGINE = MergeTree ORDER BY tuple()"
    if isinstance(tree, exp.Update):
        sets = ", ".join(_printed(one) for one in tree.expressions)
        where = tree.args.get("where")
        return (
            f"ALTER TABLE {tree.this.sql(identify=True)} UPDATE {sets} WHERE {_printed(where.this) if where else '1'}"
        )
    if isinstance(tree, exp.Delete) and not tree.args.get("where"):
        tree = tree.where("1 = 1")
    return _printed(tree)


def _printed(tree: exp.Expr) -> str:
    return tree.sql(spelled("clickhouse"), identify=True)


def _kind(type_: exp.DataType) -> str:
    """The type of a column that may be NULL; a moment without a zone has none there either."""
    plain = type_.this in (exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ)
    name = "DateTime64(6)" if plain else type_name(type_)
    return name if name.startswith("Array") else f"Nullable({name})"


def _translated(node: exp.Expr) -> exp.Expr:
    """What ClickHouse says otherwise, and only tests ask of it."""
    if isinstance(node, exp.AtTimeZone):
        return exp.cast(node.this, "timestamptz", dialect="postgres")
    if isinstance(node, exp.CurrentTimestamp):
        return parse_one("now64(6, 'UTC')", read="clickhouse")
    if isinstance(node, exp.Mul) and isinstance(node.expression, exp.Interval):
        unit = node.expression.copy()
        unit.set("this", node.this)
        return unit
    if isinstance(node, exp.Table) and isinstance(node.this, exp.GenerateSeries):
        series = node.this
        names = node.args["alias"].columns if node.args.get("alias") else []
        name = names[0].name if names else "generate_series"
        every = (
            f'SELECT arrayJoin(range({_printed(series.args["start"])}, {_printed(series.args["end"])} + 1)) AS "{name}"'
        )
        return exp.Subquery(
            this=parse_one(every, read="clickhouse"), alias=exp.TableAlias(this=exp.to_identifier(node.alias or "g"))
        )
    return node


def _aware(value: Any) -> Any:
    """Moments as ClickHouse takes them."""
    return value


def _arrow(rows: Sequence[Row], columns: Sequence[Column]) -> pa.Table:
    """Rows as Arrow, each value of its column's type."""
    from dayfold.engines.csv import arrow_type

    arrays = []
    for one in columns:
        values = [row[one.name] for row in rows]
        wanted = arrow_type(one.type)
        if pa.types.is_string(wanted):
            values = [None if value is None else str(value) for value in values]
        arrays.append(
            pa.array(values).cast(wanted) if any(v is not None for v in values) else pa.nulls(len(values), wanted)
        )
    return pa.table(arrays, names=[one.name for one in columns])
