"""The SQL of questions to a profile: one entity, a page of entities, and how many there are of each value. Query floor, pure.

An order ends with what tells rows apart, and a page goes on behind the values of the last row, so that equal values never hide or
repeat a row. NULLs are last, whichever way is up.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dayfold.define.types import INT, MAX_DIGITS, TEXT, Kind, Type, decimal
from dayfold.errors import QueryRefused, UsageError
from dayfold.plan.comparisons import cast_name, value_of
from dayfold.plan.dialect import Dialect
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, alias, both, column, derived, either, remembered, sql, table
from dayfold.query.profile_request import COUNT, ProfileRequest

if TYPE_CHECKING:
    import pyarrow as pa

#: What cannot be put in order, or counted by.
_WITHOUT_ORDER = (Kind.JSON, Kind.HASHES, Kind.OTHER)
#: More rows than there are.
_EVERYTHING = 10**15


@dataclass(frozen=True, slots=True)
class Term:
    """One part of an order."""

    name: str
    type: Type
    descending: bool
    is_nullable: bool


class ProfileRows:
    """Builds the statements of one request over a table whose column types are known. Raises UsageError, QueryRefused."""

    def __init__(
        self, request: ProfileRequest, table_name: str, schema: str, types: Mapping[str, Type], dialect: Dialect
    ) -> None:
        self.request = request
        self.table = table(table_name, schema)
        self.types = types
        self.dialect = dialect
        self.selected = self._counted() if request.count_by else {name: types[name] for name in request.columns}
        self.order = self._order()

    @property
    def columns(self) -> list[Column]:
        """What a statement returns: what is shown, and what else a place is made of."""
        hidden = {one.name: one.type for one in self.order} if self.request.key is None else {}
        return [Column(name, _shown(type_)) for name, type_ in {**self.selected, **hidden}.items()]

    # -- statements ------------------------------------------------------------------------------

    def page(self, limit: int | None, place: Sequence[str | None] | None = None) -> Statement:
        """At most so many rows behind a place."""
        request = self.request
        parsed = self._place(place) if place is not None else None
        values = [*self._filter_values(), *(one for one in parsed or () if one is not None)]
        shape = (
            "page", self._shape(), request.columns, request.count_by, request.sort, limit,
            None if parsed is None else tuple(one is None for one in parsed),
        )  # fmt: skip

        def build() -> Statement:
            bound = Values()
            rows: exp.Expr = self.table
            tests = [self._filtered(bound)]
            if request.count_by:
                rows, tests = derived(self._groups(tests[0]), "counted__"), []
            if parsed is not None:
                tests.append(self._behind(parsed, bound))
            query = exp.select(*self._items()).from_(rows).where(both(tests)).order_by(*self._ordered())
            return Statement(query.limit(limit) if limit is not None else query, bound)

        return remembered(shape, values, build)

    def one(self) -> Statement:
        """The entity of the request's key, or no row."""
        request = self.request
        assert request.key is not None
        texts = dict(zip(request.profile.key, request.key, strict=True))
        # The part that is last is likely the one that tells most entities apart; in DuckDB an index of its own leads to it.
        names = [request.profile.key[-1], *request.profile.key[:-1]]
        known = [value_of(name, texts[name], self.types[name], dt.date.min) for name in names]
        apart = self.dialect.name == "duckdb" and len(names) > 1

        def build() -> Statement:
            bound = Values()
            tests = [
                sql("_k = _v", _k=column(name), _v=bound.bind(value, cast_name(self.types[name])))
                for name, value in zip(names, known, strict=True)
            ]
            rest = both(
                [*tests[1:], *(one.admits(column(one.key), self.types[one.key], bound) for one in request.rights)]
            )
            if apart:
                # DuckDB takes an index for one equality that stands alone, and none of several columns; what is limited stands alone.
                led = exp.select("*").from_(self.table).where(tests[0]).limit(_EVERYTHING)
                return Statement(exp.select(*self._items()).from_(derived(led, "led__")).where(rest), bound)
            return Statement(exp.select(*self._items()).from_(self.table).where(both([tests[0], rest])), bound)

        return remembered(("one", self._shape(), request.columns), [*known, *self._right_values()], build)

    def size(self) -> Statement:
        """How many entities there are."""
        return remembered(
            ("size", self._shape()), self._filter_values(), lambda: self._built("select count(*) from _t where _c")
        )

    def _built(self, text: str) -> Statement:
        bound = Values()
        return Statement(sql(text, _t=self.table, _c=self._filtered(bound)), bound)

    def _items(self) -> list[exp.Expr]:
        kinds = {**self.selected, **{one.name: one.type for one in self.order}}
        # A name that is said again as its own alias would cost DuckDB a third more.
        return [
            column(one.name)
            if one.type == kinds[one.name]
            else alias(self.dialect.cast(column(one.name), TEXT), one.name)
            for one in self.columns
        ]

    # -- filters ---------------------------------------------------------------------------------

    def _filtered(self, values: Values) -> exp.Expr:
        request, types = self.request, self.types
        tests = [one.admits(column(one.key), types[one.key], values) for one in request.rights]
        tests += [one.admits(column(one.column), types[one.column], request.today, values) for one in request.where]
        return both(tests)

    def _right_values(self) -> list[object]:
        return [value for one in self.request.rights for value in one.bound(self.types[one.key])]

    def _filter_values(self) -> list[object]:
        """What `_filtered` binds, in that order."""
        request, types = self.request, self.types
        asked = [value for one in request.where for value in one.bound(types[one.column], request.today)]
        return [*self._right_values(), *asked]

    def _shape(self) -> tuple[Any, ...]:
        """What the text of a filter is made of, beside values."""
        request, types = self.request, self.types
        rights = tuple((one.key, _forms(one.bound(types[one.key])), None in one.values) for one in request.rights)
        asked = tuple(
            (one.column, one.sign, _forms(one.bound(types[one.column], request.today)), None in one.values)
            for one in request.where
        )
        return (self.table.db, self.table.name, tuple(types.items()), rights, asked)

    # -- counts ----------------------------------------------------------------------------------

    def _counted(self) -> dict[str, Type]:
        request = self.request
        for name in request.count_by:
            if self.types[name].kind in _WITHOUT_ORDER:
                raise QueryRefused(f"'{name}' holds {self.types[name]}, which is not counted by.")
        found = {**{name: self.types[name] for name in request.count_by}, COUNT: INT}
        for name in request.columns:
            type_ = self.types[name]
            if type_.kind not in (Kind.INT, Kind.DECIMAL):
                raise QueryRefused(
                    f"'{name}' holds {type_}, which is not added up.",
                    hint="Integers and decimals are: their sums are exact.",
                )
            found[name] = decimal(MAX_DIGITS, type_.scale or 0)
        return found

    def _groups(self, test: exp.Expr) -> exp.Expr:
        request = self.request
        sums = [
            alias(self.dialect.cast(self.dialect.total(column(name), self.types[name]), self.selected[name]), name)
            for name in request.columns
        ]
        items = [*(column(name) for name in request.count_by), alias(sql("count(*)"), COUNT), *sums]
        places = [exp.Literal.number(n + 1) for n in range(len(request.count_by))]
        return exp.select(*items).from_(self.table).where(test).group_by(*places)

    # -- order and places ------------------------------------------------------------------------

    def _order(self) -> list[Term]:
        """The asked order, and then what tells rows apart."""
        request = self.request
        if request.key is not None:
            return []
        names = [request.sort or request.identity[0], *request.identity]
        found: dict[str, Term] = {}
        for word in names:
            name = word.removeprefix("-")
            type_ = {**self.types, **self.selected}[name]
            if type_.kind in _WITHOUT_ORDER:
                raise QueryRefused(f"'{name}' holds {type_}, which has no order.", hint="Sort by another column.")
            is_key = name in request.profile.key or bool(request.count_by and name == COUNT)
            found.setdefault(name, Term(name, type_, word.startswith("-"), not is_key))
        return list(found.values())

    def _ordered(self) -> list[exp.Expr]:
        # A key is never NULL; saying where its NULLs go would keep PostgreSQL from an index that goes the other way.
        return [
            exp.Ordered(
                this=column(one.name, *self._of()),
                desc=one.descending,
                nulls_first=one.descending and not one.is_nullable,
            )
            for one in self.order
        ]

    def _of(self) -> tuple[str, ...]:
        """What the columns of an order are columns of: what is selected may have their names and other types."""
        return ("counted__",) if self.request.count_by else (self.table.name,)

    def _behind(self, place: Sequence[object], values: Values) -> exp.Expr:
        """True for the rows that come after a place."""
        bound = [
            None if value is None else values.bind(value, cast_name(one.type))
            for one, value in zip(self.order, place, strict=True)
        ]
        ways: list[exp.Expr] = []
        same: list[exp.Expr] = []
        for one, value in zip(self.order, bound, strict=True):
            name = column(one.name)
            if value is not None:
                sign = "<" if one.descending else ">"
                beyond = sql(f"_k {sign} _v", _k=name, _v=value)
                ways.append(both([*same, either([beyond, sql("_k is null", _k=name)]) if one.is_nullable else beyond]))
                same.append(sql("_k = _v", _k=name, _v=value))
            else:
                same.append(sql("_k is null", _k=name))
        found = either(ways)
        first, value = self.order[0], bound[0]
        if value is not None and not first.is_nullable:
            # Said once more, so that an index leads to where the page begins.
            sign = "<=" if first.descending else ">="
            found = both([sql(f"_k {sign} _v", _k=column(first.name), _v=value), found])
        return found

    def _place(self, texts: Sequence[str | None]) -> list[object]:
        """A place as values. Raises UsageError where it is none of this question."""
        if len(texts) != len(self.order):
            raise wrong_place()
        return [None if text is None else _read(text, one) for text, one in zip(texts, self.order, strict=True)]

    def place_of(self, rows: pa.Table, row: int) -> list[str | None]:
        """The place of a row."""
        return [_written(rows[one.name][row].as_py()) for one in self.order]


def place_text(mark: str, place: Sequence[str | None]) -> str:
    """A place as it is handed out."""
    return base64.urlsafe_b64encode(json.dumps([mark, *place]).encode()).decode().rstrip("=")


def place_read(mark: str, text: str) -> list[str | None]:
    """A place that was handed out for pages of one question.

    Raises:
        UsageError: where it is none, or is one of another question.

    >>> place_read("q1", place_text("q1", ["a", None]))
    ['a', None]
    """
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise wrong_place() from None
    if not isinstance(found, list) or not found or not all(one is None or isinstance(one, str) for one in found):
        raise wrong_place()
    if found[0] != mark:
        raise UsageError(
            "after is a place in the answer to another question.",
            hint="Pass on the 'next' of the page before, with the same filters, order and counts, and the same rights.",
        )
    return found[1:]


def wrong_place() -> UsageError:
    """What refuses a place that is none."""
    return UsageError("after is not a place in this answer.", hint="Pass on the 'next' of the page before.")


def _read(text: str, term: Term) -> object:
    try:
        if term.type.kind is Kind.FLOAT:
            return float(text)
        return value_of(term.name, text, term.type, dt.date.min)
    except (UsageError, ValueError):
        raise wrong_place() from None


def _written(value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case Decimal():
            return f"{value:f}"
        case dt.datetime():
            return value.isoformat()
    return str(value)


def _forms(values: Sequence[object]) -> tuple[bool, ...]:
    return tuple(isinstance(one, list) for one in values)


def _shown(type_: Type) -> Type:
    """The type that a column is read as."""
    return TEXT if type_.kind in (Kind.UUID, Kind.JSON) else type_
