"""Filters over any column of a profile: read from words, and as conditions. Plan floor, pure.

Invariant: a filter's value is bound as a parameter of its column's type, and never part of a message; it may be personal.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlglot import exp

from dayfold.days import parse_day
from dayfold.define.rollup import RollupDef
from dayfold.define.types import MAX_DIGITS, Kind, Type
from dayfold.errors import BadDate, UnknownName, UsageError
from dayfold.names import listing, suggestion
from dayfold.plan import keys
from dayfold.plan.keys import FEW_VALUES, filter_value
from dayfold.plan.sql import Values, either, sql

STAMPS = ("created_at", "updated_at", "run_id")
_WORD = re.compile(r"([^=!<>]*)(!=|>=|<=|=|>|<)(.*)", re.DOTALL)
_HINT = 'Write column=value, column!=value, column= for NULL, column="" for the empty text, or column>value, >=, <, <=.'
_NUMBER = re.compile(r"[+-]?([0-9]{1,38}(\.[0-9]{0,38})?|\.[0-9]{1,38})")
_FLOAT = re.compile(_NUMBER.pattern + r"([eE][+-]?[0-9]{1,3})?")
#: What one can be greater than.
_ORDERED = (Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows of which a column has any of ``values`` (None is NULL), has none of them, or is greater or less than each.

    Attributes:
        sign: ``=``, ``!=``, ``>``, ``>=``, ``<`` or ``<=``.
    """

    column: str
    sign: str
    values: tuple[str | None, ...]

    def bound(self, type_: Type, today: dt.date) -> list[object]:
        """The values that `admits` binds, in that order: each of a few, or all of them as one list. Raises UsageError."""
        known = [value_of(self.column, one, type_, today) for one in self.values if one is not None]
        if self.sign not in ("=", "!="):
            if None in self.values:
                raise UsageError(f"'{self.column}{self.sign}' compares with a value, and there is none.", hint=_HINT)
            if type_.kind not in _ORDERED:
                raise UsageError(
                    f"'{self.sign}' compares numbers, days and moments, and '{self.column}' holds {type_}.",
                    hint=f"Write {self.column}=value or {self.column}!=value.",
                )
            return known
        return [known] if len(known) > FEW_VALUES else known

    def admits(self, tree: exp.Expr, type_: Type, today: dt.date, values: Values) -> exp.Expr:
        """True where the column that a tree gives is one that the filter lets through."""
        cast = cast_name(type_)
        found = self.bound(type_, today)
        if self.sign not in ("=", "!="):
            tests = [sql(f"_k {self.sign} _v", _k=tree, _v=values.bind(one, cast)) for one in found]
            return exp.and_(*tests)
        tests = [sql("_k is null", _k=tree)] if None in self.values else []
        for one in found:
            if isinstance(one, list):
                tests.append(sql("_k in (select unnest(_v))", _k=tree, _v=values.bind(one, f"{cast}[]")))
            else:
                tests.append(sql("_k = _v", _k=tree, _v=values.bind(one, cast)))
        any_of = either(tests)
        return sql("coalesce(not (_t), true)", _t=any_of) if self.sign == "!=" else any_of


def comparisons(title: str, columns: Collection[str], where: Sequence[str]) -> tuple[Comparison, ...]:
    """The words of ``--where``: equal to any of a column's values, and all else together.

    Raises:
        UsageError, UnknownName: naming the word that is no filter, or the column that there is not.

    >>> comparisons("Customers", ["segment", "orders"], ["segment=new", "segment=lost", "orders>=3"])
    (Comparison(column='segment', sign='=', values=('new', 'lost')), Comparison(column='orders', sign='>=', values=('3',)))
    """
    found: dict[tuple[str, str], list[str | None]] = {}
    for word in where:
        parts = _WORD.fullmatch(word)
        if parts is None:
            raise UsageError(f"'{word}' is not a filter.", hint=_HINT)
        name, sign, value = parts.groups()
        found.setdefault((known_column(title, columns, name, "to filter by"), sign), []).append(filter_value(value))
    return tuple(Comparison(name, sign, tuple(dict.fromkeys(values))) for (name, sign), values in found.items())


def profile_columns(profile: RollupDef, *, is_limited: bool) -> tuple[str, ...]:
    """The columns of a profile that may be seen, as they stand in its table; the number of a run would tell of the rows of others."""
    stamps = STAMPS[:-1] if is_limited else STAMPS
    return (*profile.key, *profile.metrics, *stamps)


def known_column(title: str, columns: Collection[str], name: str, purpose: str) -> str:
    """A column by its name, wanted "to filter by" or "to sort by". Raises UnknownName."""
    if name in columns:
        return name
    raise UnknownName(
        f"{title} has no column '{name}' {purpose}{suggestion(name, columns)}.", hint=f"Columns: {listing(columns)}"
    )


def value_of(name: str, text: str, type_: Type, today: dt.date) -> object:
    """A filter's value as its column's type; a day stands for its first moment (UTC). Raises UsageError.

    >>> from dayfold.define.types import TIMESTAMPTZ, decimal
    >>> value_of("revenue", "10.5", decimal(12, 2), dt.date(2026, 3, 1))
    Decimal('10.5')
    >>> value_of("seen_at", "-7d", TIMESTAMPTZ, dt.date(2026, 3, 8)).isoformat()
    '2026-03-01T00:00:00+00:00'
    """
    wrong = UsageError(f"The filter's value for '{name}' is not {type_}, which that column holds.")
    match type_.kind:
        case Kind.DECIMAL | Kind.FLOAT if "\x00" in text:
            raise wrong
        case Kind.DECIMAL:
            return _decimal(text, type_, wrong)
        case Kind.FLOAT:
            if not _FLOAT.fullmatch(text) or not math.isfinite(number := float(text)):
                raise wrong
            return number
        case Kind.DATE:
            try:
                return parse_day(text, today)
            except BadDate:
                raise wrong from None
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return _moment(text, type_, today, wrong)
        case Kind.TEXT | Kind.INT | Kind.BOOL | Kind.UUID:
            try:
                return keys.typed(name, text, type_)
            except UsageError:
                raise wrong from None
    raise UsageError(f"'{name}' holds {type_}, which is compared with NULL alone.", hint=f"Write {name}= or {name}!=.")


def _decimal(text: str, type_: Type, wrong: UsageError) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise wrong
    number = Decimal(text).normalize()
    if type_.scale is None:
        return number
    digits, exponent = len(number.as_tuple().digits), int(number.as_tuple().exponent)
    whole = (type_.precision or MAX_DIGITS) - type_.scale
    if -exponent > type_.scale or digits + exponent > whole:
        raise wrong
    return number


def _moment(text: str, type_: Type, today: dt.date, wrong: UsageError) -> dt.datetime:
    try:
        found = dt.datetime.combine(parse_day(text, today), dt.time())
    except BadDate:
        try:
            found = dt.datetime.fromisoformat(text)
        except ValueError:
            raise wrong from None
    try:
        aware = found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)
    except OverflowError:
        raise wrong from None
    return aware if type_.kind is Kind.TIMESTAMPTZ else aware.replace(tzinfo=None)


def cast_name(type_: Type) -> str:
    """A column's type, in PostgreSQL's spelling."""
    if type_.kind is Kind.DECIMAL:
        return "numeric" if type_.scale is None else f"numeric({type_.precision or MAX_DIGITS}, {type_.scale})"
    other = {Kind.FLOAT: "double precision", Kind.TIMESTAMP: "timestamp", Kind.TIMESTAMPTZ: "timestamptz"}
    return other.get(type_.kind) or keys.cast_name(type_)
