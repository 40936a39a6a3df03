"""A table's rows in portions of bounded size, the same rows on every engine. Plan floor, pure.

Portions end at rows that stand at every so-many-th place of an order that all engines share: texts by their bytes, UUIDs as texts,
NULL first. Whoever knows these rows finds the same portions in a copy of the table, on any engine.

Invariant: every row is in one portion, and rows that are equal in all columns of the order are in the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlglot import exp

from dayfold.define.types import TEXT, Kind
from dayfold.plan.dialect import Dialect
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, alias, both, column, derived, either, sql

#: The values of a row in the columns of the order; None for NULL.
Row = tuple[Any, ...]
_CASTS = {
    Kind.TEXT: "text", Kind.UUID: "text", Kind.INT: "bigint", Kind.DATE: "date", Kind.BOOL: "boolean", Kind.TIMESTAMPTZ: "timestamptz",
}  # fmt: skip
_NUMBER = "number__"


@dataclass(frozen=True, slots=True)
class Portions:
    """One table of one store as its portions are read.

    Attributes:
        order: What rows are ordered by; of sortable kinds.
    """

    dialect: Dialect
    table: exp.Table
    columns: tuple[Column, ...]
    order: tuple[Column, ...]

    @property
    def read(self) -> list[Column]:
        """The columns as they are read: what engines have types of their own for travels as its text."""
        return [_travelling(one) for one in self.columns]

    @property
    def edges(self) -> list[Column]:
        """The columns of a row that ends a portion."""
        return [_travelling(one) for one in self.order]

    def ends(self, size: int) -> Statement:
        """The rows that end portions of ``size`` rows, in order; the last portion, which may be empty, has no end."""
        places = [sql("case when _x is null then 0 else 1 end", _x=column(one.name)) for one in self.order]
        terms = [term for pair in zip(places, map(self._term, self.order), strict=True) for term in pair]
        window = exp.Window(this=exp.RowNumber(), order=exp.Order(expressions=[exp.Ordered(this=one) for one in terms]))
        items = [alias(self._as_read(one), one.name) for one in self.order]
        rows = exp.select(*items, alias(window, _NUMBER)).from_(self.table)
        chosen = exp.select(*(column(one.name, "r") for one in self.order)).from_(derived(rows, "r"))
        chosen = chosen.where(sql("_n % _size = 0", _n=column(_NUMBER, "r"), _size=exp.Literal.number(size)))
        return Statement(chosen.order_by(column(_NUMBER, "r")))

    def portion(self, after: Row | None, to: Row | None) -> Statement:
        """The rows past one row of the order and up to another; None: from the first, or to the last."""
        values = Values()
        within = []
        if after is not None:
            within.append(self._past(after, values))
            within += self._bound(after, values, ">=")
        if to is not None:
            within.append(exp.Not(this=exp.Paren(this=self._past(to, values))))
            within += self._bound(to, values, "<=")
        items = [alias(self._as_read(one), one.name) for one in self.columns]
        return Statement(exp.select(*items).from_(self.table).where(both(within)), values)

    def count(self) -> Statement:
        """How many rows there are."""
        return Statement(sql("select count(*) from _t", _t=self.table))

    def _past(self, row: Row, values: Values) -> exp.Expr:
        """True, and never null, for rows that come after one."""
        found = []
        for place, (one, value) in enumerate(zip(self.order, row, strict=True)):
            same = [self._equal(*pair, values) for pair in zip(self.order[:place], row, strict=False)]
            there = sql("not _x is null", _x=column(one.name))
            more = (
                there
                if value is None
                else sql("_t and _x > _v", _t=there, _x=self._term(one), _v=_bound(one, value, values))
            )
            found.append(exp.Paren(this=both([*same, more])))
        return either(found)

    def _equal(self, one: Column, value: Any, values: Values) -> exp.Expr:
        if value is None:
            return sql("_x is null", _x=column(one.name))
        return sql("not _x is null and _t = _v", _x=column(one.name), _t=self._term(one), _v=_bound(one, value, values))

    def _bound(self, row: Row, values: Values, comparison: str) -> list[exp.Expr]:
        """The same of the first column alone, which an index or the bounds of blocks answer."""
        one, value = self.order[0], row[0]
        if value is None or one.type.kind is Kind.UUID:
            return []
        bare = sql(f"_x {comparison} _v", _x=self._term(one), _v=_bound(one, value, values))
        # NULL comes first, so that it is past no row and before every one.
        return [bare if comparison == ">=" else sql("(_b or _x is null)", _b=bare, _x=column(one.name))]

    def _term(self, one: Column) -> exp.Expr:
        """What a column is ordered by."""
        tree = self._as_read(one)
        return self.dialect.piece("bytewise", _x=tree) if _travelling(one).type.kind is Kind.TEXT else tree

    def _as_read(self, one: Column) -> exp.Expr:
        tree = column(one.name)
        return tree if _travelling(one) is one else self.dialect.cast(tree, TEXT)


def _travelling(one: Column) -> Column:
    return Column(one.name, TEXT) if one.type.kind in (Kind.UUID, Kind.JSON) else one


def _bound(one: Column, value: Any, values: Values) -> exp.Expr:
    return values.bind(value, _CASTS[one.type.kind])


def spans(ends: Sequence[Row]) -> list[tuple[Row | None, Row | None]]:
    """The portions that some ends make.

    >>> spans([(1,), (2,)])
    [(None, (1,)), ((1,), (2,)), ((2,), None)]
    """
    edges = [None, *ends, None]
    return list(pairwise(edges))


#: Cells that are read at once, about: a row of few columns is small.
_CELLS = 2_000_000
#: Rows at once of a table that holds sets, each of at most 128 kB.
_SETS = 1_000


def size_of(columns: Sequence[Column]) -> int:
    """How many rows one portion has.

    >>> from dayfold.define.types import INT
    >>> size_of([Column("a", INT), Column("b", INT)])
    1000000
    """
    return _SETS if any(one.type.kind is Kind.HASHES for one in columns) else max(1_000, _CELLS // max(len(columns), 1))
