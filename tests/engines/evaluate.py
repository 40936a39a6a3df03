"""Expressions evaluated where they will run: compiled by the product, over a real table of each engine.

Two tables hold the same rows in DuckDB and PostgreSQL; a third look at PostgreSQL's reads its ``json`` column
where the others read ``jsonb``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dayfold.define.expr import parse
from dayfold.define.source import Table
from dayfold.define.types import TIMESTAMPTZ, Type
from dayfold.engines.duckdb import DuckStore
from dayfold.engines.postgres import PostgresStore
from dayfold.errors import SourceFailed
from dayfold.plan.expressions import Compiler, Typed
from dayfold.plan.sql import column, statement
from tests.sql import Session

#: name: (type on DuckDB, type on PostgreSQL)
COLUMNS = {
    "id": ("integer", "integer"),
    "small": ("smallint", "smallint"),
    "num": ("integer", "integer"),
    "big": ("bigint", "bigint"),
    "price": ("decimal(12,2)", "numeric(12,2)"),
    "rate": ("decimal(10,4)", "numeric(10,4)"),
    "wide": ("decimal(38,10)", "numeric(38,10)"),
    "whole": ("decimal(38,0)", "numeric(38,0)"),
    "ratio": ("double", "double precision"),
    "single": ("real", "real"),
    "txt": ("varchar", "text"),
    "other": ("varchar", "varchar(80)"),
    "mood": ("mood", "mood"),
    "ok": ("boolean", "boolean"),
    "born": ("date", "date"),
    "seen": ("timestamp", "timestamp"),
    "sent": ("timestamptz", "timestamptz"),
    "uid": ("uuid", "uuid"),
    "doc": ("json", "jsonb"),
    "doc_plain": ("json", "json"),
}
#: The day that ``now()`` is the start of.
TODAY = dt.date(2026, 3, 9)
#: In an order that is neither that of bytes nor of letters.
MOODS = ("sad", "ok", "Happy", "élan")
#: The ways of looking at the rows, each an engine and the column that stands for ``doc``.
LOOKS = {"duckdb": "doc", "postgres": "doc", "postgres-json": "doc_plain"}


class _Error:
    def __repr__(self) -> str:
        return "an error"


#: What a statement gives that fails because of a value, not because it is wrong.
ERROR = _Error()


@dataclass(frozen=True)
class Bench:
    """The rows, on every engine."""

    stores: Mapping[str, DuckStore | PostgresStore] = field(repr=False)
    columns: Mapping[str, Mapping[str, Type]] = field(repr=False)

    def value(self, look: str, expression: str, id_: int) -> Any:
        """What an expression gives for one row, or ERROR. Moments come as naive UTC."""
        return self.values(look, expression, [id_])[0]

    def values(self, look: str, expression: str, ids: Sequence[int]) -> list[Any]:
        """What an expression gives for several rows, in one statement where none is an error."""
        typed, store = self.compiled(look, expression), self._store(look)
        tree = typed.tree
        if typed.type == TIMESTAMPTZ:
            tree = store.dialect.sql("_x AT TIME ZONE 'UTC'", _x=tree)
        try:
            with store.transaction() as session:
                found = session.rows(statement("select id, _x from facts where id = any(:ids)", _x=tree, ids=list(ids)))
        except SourceFailed:
            return [ERROR] if len(ids) == 1 else [self.value(look, expression, id_) for id_ in ids]
        return [dict(found)[id_] for id_ in ids]

    def compiled(self, look: str, expression: str) -> Typed:
        """An expression in an engine's words."""
        types = self.columns[look.partition("-")[0]]
        scope = {name: Typed(column(LOOKS[look] if name == "doc" else name), type_) for name, type_ in types.items()}
        return Compiler(scope, self._store(look).dialect, "facts", now=TODAY).compile(parse(expression))

    def _store(self, look: str) -> DuckStore | PostgresStore:
        return self.stores[look.partition("-")[0]]

    def close(self) -> None:
        for store in self.stores.values():
            store.close()


def bench(urls: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> Bench:
    """Rows in fresh databases; what a row does not name is NULL, and its id is its place."""
    full = [dict.fromkeys(COLUMNS) | row | {"id": n, "doc_plain": row.get("doc")} for n, row in enumerate(rows)]
    for engine, url in urls.items():
        place = ("duckdb", "postgres").index(engine)
        with Session(url) as session:
            moods = ", ".join(f"'{mood}'" for mood in MOODS)
            ddl = ", ".join(f"{name} {types[place]}" for name, types in COLUMNS.items())
            places = ", ".join(f"${n + 1}::{types[place]}" for n, types in enumerate(COLUMNS.values()))
            session.run(f"CREATE TYPE mood AS ENUM ({moods})")
            session.run(f"CREATE TABLE facts ({ddl})")
            for row in full:
                session.run(f"INSERT INTO facts VALUES ({places})", list(row.values()))
    stores: dict[str, DuckStore | PostgresStore] = {
        "duckdb": DuckStore(urls["duckdb"].removeprefix("duckdb:///")),
        "postgres": PostgresStore(urls["postgres"]),
    }
    return Bench(stores, {engine: store.describe(Table("facts")) for engine, store in stores.items()})
