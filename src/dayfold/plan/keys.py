"""Filters over the key of a rollup: read from words, and as conditions. Plan floor, pure.

Invariant: a filter's value is never part of a message; it may be personal.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlglot import exp

from dayfold.define.rollup import RollupDef
from dayfold.define.types import Kind, Type
from dayfold.errors import UnknownName, UsageError
from dayfold.names import listing, suggestion
from dayfold.plan.sql import Values, either, sql

#: Up to so many values are compared one by one; more are one list, which an engine joins by a hash.
FEW_VALUES = 16
_HINT = 'Write key=value, key!=value, key= for NULL, or key="" for the empty text.'


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Rows of one key column: any of ``values`` (None is NULL), or none of them where ``exclude``.

    Attributes:
        is_right: What the caller may see, and not what they ask for: no value lets nothing through, and neither does one
            that is not of the key's type.
    """

    key: str
    values: tuple[str | None, ...]
    exclude: bool
    is_right: bool = False

    def admits(self, tree: exp.Expr, type_: Type, values: Values) -> exp.Expr:
        """True where the key column that a tree gives is one that the filter lets through."""
        tests = [sql("_k is null", _k=tree)] if None in self._fitting(type_) else []
        for one in self.bound(type_):
            if isinstance(one, list):
                bound = values.bind(one, f"{cast_name(type_)}[]")
                tests.append(sql("_k in (select unnest(_v))", _k=tree, _v=bound))
            else:
                tests.append(sql("_k = _v", _k=tree, _v=values.bind(one, cast_name(type_))))
        any_of = either(tests) if tests else exp.false()
        return sql("coalesce(not (_t), true)", _t=any_of) if self.exclude else any_of

    def bound(self, type_: Type) -> list[object]:
        """The values that `admits` binds, in that order: each of a few, or all of them as one list."""
        wanted = [value for value in self._fitting(type_) if value is not None]
        return [wanted] if len(wanted) > FEW_VALUES else wanted

    def lets(self, text: str | None, type_: Type) -> bool:
        """Whether one value is let through. Raises UsageError where it is not of the key's type."""
        value = None if text is None else typed(self.key, text, type_)
        return (value in self._fitting(type_)) != self.exclude

    def _fitting(self, type_: Type) -> list[object]:
        """The values to compare with, as the key's type. Raises UsageError for one that is asked for and is not of it."""
        found: list[object] = []
        for text in self.values:
            try:
                found.append(None if text is None else typed(self.key, text, type_))
            except UsageError:
                if not self.is_right:
                    raise
        return found


class Admits(Protocol):
    """Which keys something is about, said of one key column."""

    @property
    def key(self) -> str:
        """The key column."""
        ...

    def admits(self, tree: exp.Expr, type_: Type, values: Values) -> exp.Expr:
        """True where the key column that a tree gives is one of them."""
        ...


#: How many keys a slice can tell apart, by the first digits of their hashes.
_SLICES = 16**8


@dataclass(frozen=True, slots=True)
class KeySlice:
    """One of some parts of about the same size of all keys, the same on every engine: by the hash of a key column.

    >>> [KeySlice("id", n, 4).bounds for n in (0, 3)]
    [('00000000', '40000000'), ('c0000000', 'g')]
    """

    key: str
    number: int
    of: int

    @property
    def bounds(self) -> tuple[str, str]:
        """The first hash of the slice, and the first that is of none or a later one."""
        first, after = (_SLICES * number // self.of for number in (self.number, self.number + 1))
        return f"{first:08x}", f"{after:08x}" if after < _SLICES else "g"

    def admits(self, tree: exp.Expr, type_: Type, values: Values) -> exp.Expr:
        """True where the key column that a tree gives is of this slice."""
        head = sql("left(md5(cast(_k as text)), 8)", _k=tree)
        first, after = (exp.Literal.string(one) for one in self.bounds)
        return sql("_h >= _a and _h < _b", _h=head, _a=first, _b=after)


def key_column(rollup: RollupDef, name: str, purpose: str) -> str:
    """A key column by its name, wanted "to group by" or "for --rows". Raises UnknownName."""
    if name in rollup.key:
        return name
    raise UnknownName(
        f"{rollup.name} has no key column '{name}' {purpose}{suggestion(name, rollup.key)}.",
        hint=f"Key columns: {listing(rollup.key)}",
    )


def key_filters(rollup: RollupDef, where: Sequence[str]) -> tuple[KeyFilter, ...]:
    """The words of ``--where``: the same key is any of its values, different keys are all of them.

    Raises:
        UsageError, UnknownName: naming the word that is no filter, or the key that the rollup does not have.
    """
    found: dict[tuple[str, bool], list[str | None]] = {}
    for word in where:
        parts = re.fullmatch(r"([^=!]*)(!?=)(.*)", word, re.DOTALL)
        if parts is None:
            raise UsageError(f"'{word}' is not a filter.", hint=_HINT)
        key, sign, value = parts.groups()
        found.setdefault((key_column(rollup, key, "to filter by"), sign == "!="), []).append(filter_value(value))
    return tuple(KeyFilter(key, tuple(dict.fromkeys(values)), exclude) for (key, exclude), values in found.items())


def filter_value(text: str) -> str | None:
    """A filter's value: nothing is NULL, two quotes are the text that is empty."""
    return "" if text == '""' else text or None


def typed(key: str, text: str, type_: Type) -> object:
    """A filter's value as the key's type. Raises UsageError."""
    try:
        match type_.kind:
            case Kind.INT:
                number = int(text)
                if -(2**63) <= number < 2**63:
                    return number
                raise ValueError
            case Kind.DATE:
                return dt.date.fromisoformat(text)
            case Kind.BOOL:
                return {"true": True, "false": False}[text.lower()]
            case Kind.UUID:
                if len(text.replace("-", "")) != 32 or int(text.replace("-", ""), 16) < 0:
                    raise ValueError
        if "\x00" in text:
            raise ValueError
        return text
    except (ValueError, KeyError):
        raise UsageError(f"The filter's value for '{key}' is not {type_}, which that key column holds.") from None


def cast_name(type_: Type) -> str:
    """The type of a key column, in PostgreSQL's spelling."""
    return {Kind.INT: "bigint", Kind.DATE: "date", Kind.BOOL: "boolean", Kind.UUID: "uuid"}.get(type_.kind, "text")
