"""The tables a rollup is kept in, column by column. Plan floor, pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from dayfold.days import LIFE, Days
from dayfold.define.rollup import PACKED
from dayfold.define.types import DATE, INT, JSON, TIMESTAMPTZ, Kind, Type
from dayfold.names import fitted
from dayfold.plan.dialect import Dialect
from dayfold.plan.sql import column, either, identifier, sql, table

SETS_SUFFIX = "__sets"
#: What tells the indexes that are made here from those that a table's users add.
INDEX_SUFFIX = "_dayfold"


@dataclass(frozen=True, slots=True)
class Column:
    """A column, whether its absent value is zero (or null), and the source that fills it.

    ``known``: the days on which absence is known to mean zero, where it does not on all.
    """

    name: str
    type: Type
    zero: bool = False
    source: str = ""
    known: tuple[Days, ...] | None = None

    def filled(self, tree: exp.Expr, day: exp.Expr) -> exp.Expr:
        """A value of this column on a day with its absence made zero where that is what absence means."""
        if not self.zero:
            return tree
        whole = sql("coalesce(_x, _zero)", _x=tree, _zero=self.absent)
        if self.known is None:
            return whole
        return sql("case when _known then _whole else _x end", _known=among(day, self.known), _whole=whole, _x=tree)

    @property
    def absent(self) -> exp.Expr:
        """What absence means where it is not null."""
        return exp.false() if self.type.kind is Kind.BOOL else exp.Literal.number(0)

    def holds(self, tree: exp.Expr, dialect: Dialect) -> exp.Expr:
        """True where a value of this column says that a fact contributed to it."""
        if self.type.kind is Kind.HASHES:
            return dialect.piece("set_present", _x=tree)
        return sql("_x <> _zero", _x=tree, _zero=self.absent) if self.zero else sql("not _x is null", _x=tree)


@dataclass(frozen=True, slots=True)
class Made:
    """A column that is made of the other columns of its row.

    Attributes:
        tree: What makes it, over columns of the row by their bare names; other made ones may be among those.
    """

    column: Column
    tree: exp.Expr


@dataclass(frozen=True, slots=True)
class Shape:
    """One table of the store: identified by key and slot, with values and, perhaps, housekeeping columns.

    ``slot`` is the day column, or ``bucket`` where the grain is finer than a day. ``extras``: the values that stand in one
    JSON column too. ``made``: columns made of others, each after those that it is made of. ``order``: the names of values and made
    columns as they stand in the table, where that is another order.

    ``is_lifelong``: a row is an entity and of no day, so that key alone identifies it; its day is `dayfold.days.LIFE` wherever one is
    asked for.
    """

    name: str
    schema: str
    key: tuple[Column, ...]
    day_column: str
    slot: str
    values: tuple[Column, ...]
    stamped: bool = True
    indexes: tuple[tuple[str, ...], ...] = ()
    extras: tuple[str, ...] = ()
    made: tuple[Made, ...] = ()
    order: tuple[str, ...] = ()
    is_lifelong: bool = False

    @property
    def table(self) -> exp.Table:
        """The table's reference."""
        return table(self.name, self.schema)

    @property
    def identity(self) -> tuple[Column, ...]:
        """The columns that say which row it is, in the order of the unique index."""
        if self.is_lifelong:
            return self.key
        slot_type = DATE if self.slot == self.day_column else TIMESTAMPTZ
        return (*self.key, Column(self.slot, slot_type))

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns in the table's order."""
        day = () if self.is_lifelong or self.slot == self.day_column else (Column(self.day_column, DATE),)
        stamps = (Column("created_at", TIMESTAMPTZ), Column("updated_at", TIMESTAMPTZ), Column("run_id", INT))
        return (*self.identity, *day, *self.body, *self.packed, *(stamps if self.stamped else ()))

    @property
    def computed(self) -> tuple[Column, ...]:
        """The columns that are made of others of their row."""
        return tuple(one.column for one in self.made)

    @property
    def body(self) -> tuple[Column, ...]:
        """Values and made columns as they stand in the table."""
        columns = (*self.values, *self.computed)
        if not self.order:
            return columns
        places = {name: place for place, name in enumerate(self.order)}
        return tuple(sorted(columns, key=lambda one: places[one.name]))

    def day(self, of: str | None = None) -> exp.Expr:
        """The day of a row."""
        return life() if self.is_lifelong else column(self.day_column, of)

    def slot_of(self, of: str | None = None) -> exp.Expr:
        """The slot of a row: its day, or its bucket."""
        return life() if self.is_lifelong else column(self.slot, of)

    def making(self, values: Mapping[str, exp.Expr]) -> dict[str, exp.Expr]:
        """What makes each made column of a row, given what its other columns are."""
        known = dict(values)
        for one in self.made:
            known[one.column.name] = _filled_in(one.tree, known)
        return {one.column.name: known[one.column.name] for one in self.made}

    @property
    def packed(self) -> tuple[Column, ...]:
        """The JSON column of the extras, where there are some."""
        return (Column(PACKED, JSON),) if self.extras else ()

    def pack(self, dialect: Dialect, values: Mapping[str, exp.Expr]) -> exp.Expr:
        """The value of that column, made of these values: an object whose numbers have all their digits."""
        types = {one.name: one.type for one in self.values}
        text: exp.Expr = exp.Literal.string("{")
        for place, name in enumerate(self.extras):
            known = types[name]
            value = dialect.text(values[name], known)
            if not (known.is_number or known.kind is Kind.BOOL):
                value = dialect.piece("json_string", _x=value)
            begin = exp.Literal.string(("," if place else "") + json.dumps(name) + ":")
            text = sql("_a || _b || coalesce(_c, 'null')", _a=text, _b=begin, _c=value)
        return dialect.cast(exp.Paren(this=sql("_a || '}'", _a=text)), JSON)

    @property
    def required(self) -> frozenset[str]:
        """The columns that are never null."""
        stamps = {"created_at", "updated_at", "run_id"} if self.stamped else set()
        identity = {one.name for one in self.key} if self.is_lifelong else {self.slot, self.day_column}
        return frozenset(identity | stamps)

    def named(self, name: str) -> Shape:
        """The same columns under another table name."""
        return replace(self, name=name)

    def knowing(self, figures: Mapping[str, tuple[Days, ...]]) -> Shape:
        """The same table, where absence means zero on some days only. ``figures``: these days, by source."""
        if not figures:
            return self
        return replace(self, values=tuple(replace(one, known=figures.get(one.source)) for one in self.values))

    @property
    def plain_indexes(self) -> dict[str, tuple[str, ...]]:
        """The indexes beside the unique one: name to columns."""
        by_day = [] if self.is_lifelong else [(self.day_column,)]
        entries = dict.fromkeys([*by_day, *self.indexes]) if self.stamped else {}
        identity = tuple(one.name for one in self.identity)
        return {index_name(self.name, names): names for names in entries if names != identity}

    @property
    def unique_index(self) -> str:
        """The name of the index that makes key and slot unique."""
        return index_name(self.name, tuple(one.name for one in self.identity), unique=True)

    def create_indexes(self, dialect: Dialect) -> dict[str, str]:
        """The statements for the unique index, in which NULLs are equal, and for the others, by name."""
        if dialect.name == "clickhouse":
            # Its rows stand in the order of their identity, and it has no index of single rows.
            return {}
        if dialect.name == "postgres":
            columns, ending = [quoted(one.name) for one in self.identity], " NULLS NOT DISTINCT"
        else:
            columns, ending = [part for one in self.identity for part in self._null_safe(dialect, one)], ""
        target = rendered(self.table)
        unique = f"CREATE UNIQUE INDEX {quoted(self.unique_index)} ON {target} ({', '.join(columns)}){ending}"
        others = {
            name: f"CREATE INDEX {quoted(name)} ON {target} ({', '.join(map(quoted, names))})"
            for name, names in self.plain_indexes.items()
        }
        return {self.unique_index: unique, **others, **self._lookup(dialect, target)}

    def _lookup(self, dialect: Dialect, target: str) -> dict[str, str]:
        """DuckDB finds no row by an index of several columns, so that one of the key's last column leads to an entity.

        Among 500,000 entities it takes 2 ms with it, and 17 without.
        """
        names = tuple(one.name for one in self.key[-1:])
        is_needed = self.is_lifelong and self.stamped and dialect.name == "duckdb" and len(self.key) > 1
        if not is_needed or names in self.plain_indexes.values():
            return {}
        name = index_name(self.name, names)
        return {name: f"CREATE INDEX {quoted(name)} ON {target} ({quoted(names[0])})"}

    def _null_safe(self, dialect: Dialect, one: Column) -> list[str]:
        """DuckDB admits NULL twice under a unique index, so nullable keys enter it as two expressions."""
        if one.name in self.required:
            return [quoted(one.name)]
        absent = dialect.cast(exp.Literal.string(_ABSENT[one.type.kind]), one.type)
        return [f"({quoted(one.name)} IS NULL)", f"COALESCE({quoted(one.name)}, {absent.sql('duckdb')})"]


def only_one(type_: Type) -> str:
    """The piece that takes the one value there is among NULLs: PostgreSQL knows no greatest of some types."""
    return "any_value" if type_.kind in (Kind.BOOL, Kind.JSON, Kind.UUID) else "any_of"


def life() -> exp.Expr:
    """The day under which everything of a profile is kept."""
    return exp.cast(exp.Literal.string(LIFE.isoformat()), "date")


def _filled_in(tree: exp.Expr, values: Mapping[str, exp.Expr]) -> exp.Expr:
    """A tree with its bare columns replaced by what they are."""

    def fill(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and not node.table and node.name in values:
            value = values[node.name].copy()
            return (
                value if isinstance(value, exp.Column | exp.Literal | exp.Cast | exp.Paren) else exp.Paren(this=value)
            )
        return node

    return tree.copy().transform(fill)


def among(day: exp.Expr, ranges: Iterable[Days]) -> exp.Expr:
    """True for the days of some ranges, written as they are."""
    return either(
        sql(
            "_d >= _a and _d <= _b",
            _d=day,
            _a=exp.cast(exp.Literal.string(str(days.first)), "date"),
            _b=exp.cast(exp.Literal.string(str(days.last)), "date"),
        )
        for days in ranges
    )


_ABSENT = {
    Kind.TEXT: "",
    Kind.INT: "0",
    Kind.BOOL: "false",
    Kind.DATE: "1970-01-01",
    Kind.UUID: "00000000-0000-0000-0000-000000000000",
}


def declared(dialect: Dialect, one: Column) -> str:
    """A column's name and type. Text of ours compares by bytes, on every engine."""
    if dialect.name == "clickhouse":
        return f"{quoted(one.name)} {dialect.nullable(one.type)}"
    collation = ' COLLATE "C"' if one.type.kind is Kind.TEXT and dialect.name == "postgres" else ""
    return f"{quoted(one.name)} {dialect.type_name(one.type)}{collation}"


def quoted(name: str) -> str:
    """An identifier as text, quoted."""
    return identifier(name).sql()


def rendered(tree: exp.Table) -> str:
    """A table reference as text, quoted."""
    return tree.sql(identify=True)


def index_name(table_name: str, columns: Sequence[str], *, unique: bool = False) -> str:
    """An index's name, at most 63 characters, unlike that of any other index of the schema.

    The digest tells names apart that read alike: those of ``("a_b",)`` and ``("a", "b")``, of a column called ``key``.
    """
    mark = hashlib.sha256(json.dumps([table_name, *columns, unique]).encode()).hexdigest()[:6]
    words = "_".join([table_name, *(["key"] if unique else columns)])
    return f"{fitted(words, 63 - len(mark) - len(INDEX_SUFFIX) - 1)}_{mark}{INDEX_SUFFIX}"
