"""Expressions evaluated where they will run: compiled by the product, over a real table of each engine.

Two tables hold the same rows in DuckDB and PostgreSQL; a third look at PostgreSQL's reads its ``json`` column
where the others read ``jsonb``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from dayfold.define.expr import parse
from dayfold.define.source import Table
from dayfold.define.types import BOOL, INT, JSON, TIMESTAMPTZ, Type
from dayfold.engines.clickhouse import ClickHouse
from dayfold.engines.duckdb import DuckStore
from dayfold.engines.postgres import PostgresStore
from dayfold.errors import SourceFailed
from dayfold.plan.expressions import Compiler, Typed
from dayfold.plan.sql import Statement, column, statement
from tests.sql import Session

#: name: (type on DuckDB, type on PostgreSQL, type on ClickHouse)
COLUMNS = {
    "id": ("integer", "integer", "Int32"),
    "small": ("smallint", "smallint", "Nullable(Int16)"),
    "num": ("integer", "integer", "Nullable(Int32)"),
    "big": ("bigint", "bigint", "Nullable(Int64)"),
    "price": ("decimal(12,2)", "numeric(12,2)", "Nullable(Decimal(12,2))"),
    "rate": ("decimal(10,4)", "numeric(10,4)", "Nullable(Decimal(10,4))"),
    "wide": ("decimal(38,10)", "numeric(38,10)", "Nullable(Decimal(38,10))"),
    "whole": ("decimal(38,0)", "numeric(38,0)", "Nullable(Decimal(38,0))"),
    "ratio": ("double", "double precision", "Nullable(Float64)"),
    "single": ("real", "real", "Nullable(Float32)"),
    "txt": ("varchar", "text", "Nullable(String)"),
    "other": ("varchar", "varchar(80)", "LowCardinality(Nullable(String))"),
    "mood": ("mood", "mood", "Nullable(Enum8('sad' = 1, 'ok' = 2, 'Happy' = 3, 'élan' = 4))"),
    "ok": ("boolean", "boolean", "Nullable(Bool)"),
    "born": ("date", "date", "Nullable(Date32)"),
    "seen": ("timestamp", "timestamp", "Nullable(DateTime64(6))"),
    "sent": ("timestamptz", "timestamptz", "Nullable(DateTime64(6, 'Asia/Tokyo'))"),
    "uid": ("uuid", "uuid", "Nullable(UUID)"),
    "doc": ("json", "jsonb", "Nullable(String)"),
    "doc_plain": ("json", "json", "Nullable(String)"),
}
#: The day that ``now()`` is the start of.
TODAY = dt.date(2026, 3, 9)
#: In an order that is neither that of bytes nor of letters.
MOODS = ("sad", "ok", "Happy", "élan")
#: The ways of looking at the rows, each an engine and the column that stands for ``doc``.
LOOKS = {"duckdb": "doc", "postgres": "doc", "postgres-json": "doc_plain", "clickhouse": "doc"}


_TIMES = ("born", "seen", "sent")


class _Error:
    def __repr__(self) -> str:
        return "an error"


#: What a statement gives that fails because of a value, not because it is wrong.
ERROR = _Error()


@dataclass(frozen=True)
class Bench:
    """The rows, on every engine."""

    stores: Mapping[str, DuckStore | PostgresStore | ClickHouse] = field(repr=False)
    columns: Mapping[str, Mapping[str, Type]] = field(repr=False)

    def value(self, look: str, expression: str, id_: int) -> Any:
        """What an expression gives for one row, or ERROR. Moments come as naive UTC."""
        return self.values(look, expression, [id_])[0]

    def values(self, look: str, expression: str, ids: Sequence[int]) -> list[Any]:
        """What an expression gives for several rows, in one statement where none is an error."""
        typed, store = self.compiled(look, expression), self._store(look)
        tree = typed.tree
        if typed.type == TIMESTAMPTZ:
            tree = store.dialect.piece("utc_start", _x=tree)
        if look == "clickhouse" and typed.type in (BOOL, INT):
            tree = store.dialect.cast(tree, typed.type)
        try:
            with store.transaction() as session:
                found = session.rows(_of(tree, ids, look))
        except SourceFailed:
            return [ERROR] if len(ids) == 1 else [self.value(look, expression, id_) for id_ in ids]
        return [dict(found)[id_] for id_ in ids]

    def compiled(self, look: str, expression: str) -> Typed:
        """An expression in an engine's words."""
        types = self.columns[look.partition("-")[0]]
        scope = {name: Typed(column(LOOKS[look] if name == "doc" else name), type_) for name, type_ in types.items()}
        return Compiler(scope, self._store(look).dialect, "facts", now=TODAY).compile(parse(expression))

    def _store(self, look: str) -> DuckStore | PostgresStore | ClickHouse:
        return self.stores[look.partition("-")[0]]

    def close(self) -> None:
        for store in self.stores.values():
            store.close()


def bench(urls: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> Bench:
    """Rows in fresh databases; what a row does not name is NULL, and its id is its place."""
    full = [dict.fromkeys(COLUMNS) | row | {"id": n, "doc_plain": row.get("doc")} for n, row in enumerate(rows)]
    for engine, url in urls.items():
        place = ("duckdb", "postgres", "clickhouse").index(engine)
        if engine == "clickhouse":
            _in_clickhouse(url, full)
            continue
        with Session(url) as session:
            moods = ", ".join(f"'{mood}'" for mood in MOODS)
            ddl = ", ".join(f"{name} {types[place]}" for name, types in COLUMNS.items())
            places = ", ".join(f"${n + 1}::{types[place]}" for n, types in enumerate(COLUMNS.values()))
            session.run(f"CREATE TYPE mood AS ENUM ({moods})")
            session.run(f"CREATE TABLE facts ({ddl})")
            for row in full:
                session.run(f"INSERT INTO facts VALUES ({places})", list(row.values()))
    makers: dict[str, Any] = {
        "duckdb": lambda url: DuckStore(url.removeprefix("duckdb:///")),
        "postgres": PostgresStore,
        "clickhouse": ClickHouse,
    }
    stores = {engine: makers[engine](url) for engine, url in urls.items()}
    columns = {engine: store.describe(Table("facts")) for engine, store in stores.items()}
    # ClickHouse keeps JSON as text.
    if "clickhouse" in columns:
        columns["clickhouse"] |= {"doc": JSON}
    return Bench(stores, columns)


def _in_clickhouse(url: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """The rows in ClickHouse, which has no infinite day and no infinite moment: none is NULL there."""
    with contextlib.closing(ClickHouse(url)) as store, store.transaction() as raw:
        listed = ", ".join(f"{name} {types[2]}" for name, types in COLUMNS.items())
        raw.command(f"CREATE TABLE facts ({listed}) ENGINE = MergeTree ORDER BY id")
        texts = [
            {name: one if isinstance(one, bool | int | None) else str(one) for name, one in row.items()} for row in rows
        ]
        given = "\n".join(
            json.dumps(
                {name: None if name in _TIMES and str(one).endswith("infinity") else one for name, one in row.items()}
            )
            for row in texts
        )
        how = {"date_time_input_format": "best_effort"}
        raw.client.raw_insert("facts", list(COLUMNS), insert_block=given, fmt="JSONEachRow", settings=how)


def _of(tree: exp.Expr, ids: Sequence[int], look: str) -> Statement:
    """An expression of some rows."""
    among = "has(:ids, id)" if look == "clickhouse" else "id = any(:ids)"
    return statement(f"select id, _x from facts where {among}", _x=tree, ids=list(ids))
