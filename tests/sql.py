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

Row = Mapping[str, Any]


def is_duckdb(url: str) -> bool:
    return url.startswith("duckdb://")


class Session:
    """One connection and one transaction; committed when left without an error."""

    def __init__(self, url: str) -> None:
        self.duckdb = is_duckdb(url)
        self.connection: Any
        if self.duckdb:
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
            self.run("ROLLBACK" if failure else "COMMIT")
        finally:
            self.connection.close()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement, or no rows."""
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
        if self.duckdb:
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
