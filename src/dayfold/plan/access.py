"""What a caller may see: which rollups, and which values of their key columns. Plan floor, pure.

Invariant: everything that is read for a caller goes through `Scope.rollup` and carries `Scope.filters`; a rollup that lacks
a column the caller is limited by is not there for them, so a forgotten column closes and never opens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dayfold.define.catalog import Catalog
from dayfold.define.rollup import RollupDef
from dayfold.errors import UnknownName
from dayfold.names import listing, suggestion
from dayfold.plan.keys import KeyFilter


@dataclass(frozen=True, slots=True)
class Scope:
    """What one caller may see.

    Attributes:
        rollups: Names of rollups; None: all of them.
        rows: For each key column the values that may be seen, as texts, None being NULL; no value sees nothing.
            Columns that are not named are not limited.

    >>> shop = Scope(rows=(("shop_id", ("42",)),))
    >>> shop.is_limited, EVERYTHING.is_limited
    (True, False)
    """

    rollups: tuple[str, ...] | None = None
    rows: tuple[tuple[str, tuple[str | None, ...]], ...] = ()

    @classmethod
    def of(cls, rollups: Iterable[str] | None, rows: Mapping[str, Iterable[str | None]]) -> Scope:
        """A scope whose parts are in one order, so that equal rights are equal scopes.

        >>> Scope.of(["b", "a"], {"k": ["2", "1"]}) == Scope.of(["a", "b"], {"k": ["1", "2", "1"]})
        True
        """
        names = None if rollups is None else tuple(sorted(set(rollups)))
        found = {
            key: tuple(sorted(set(values), key=lambda one: (one is not None, one or "")))
            for key, values in rows.items()
        }
        return cls(names, tuple(sorted(found.items())))

    @property
    def is_limited(self) -> bool:
        """Whether some rows are kept from the caller, so that no number about all rows may be told."""
        return bool(self.rows)

    @property
    def mark(self) -> str:
        """A short text that is the same for equal scopes only; it tells none of their values.

        >>> EVERYTHING.mark
        'all'
        """
        if self == EVERYTHING:
            return "all"
        return hashlib.sha256(json.dumps([self.rollups, self.rows]).encode()).hexdigest()[:32]

    def sees(self, rollup: RollupDef) -> bool:
        """Whether a rollup is there for the caller."""
        named = self.rollups is None or rollup.name in self.rollups
        return named and all(column in rollup.key for column, _ in self.rows)

    def visible(self, catalog: Catalog) -> dict[str, RollupDef]:
        """The rollups that are there for the caller, by name."""
        return {name: rollup for name, rollup in catalog.rollups.items() if self.sees(rollup)}

    def rollup(self, catalog: Catalog, name: str) -> RollupDef:
        """A rollup by its class or table name.

        Raises:
            UnknownName: also for one that exists and is not there for the caller, in the same words.
        """
        known = self.visible(catalog)
        for rollup in known.values():
            if name in (rollup.name, rollup.table):
                return rollup
        raise UnknownName(f"There is no rollup '{name}'{suggestion(name, known)}.", hint=f"Rollups: {listing(known)}")

    def filters(self, rollup: RollupDef) -> tuple[KeyFilter, ...]:
        """What the key of every row that is read has to meet, beside what was asked for."""
        return tuple(KeyFilter(column, values, exclude=False, is_right=True) for column, values in self.rows)

    def narrowed(self, other: Scope) -> Scope:
        """What both scopes allow.

        >>> Scope.of(None, {"k": ["1", "2"]}).narrowed(Scope.of(["A"], {"k": ["2", "3"]}))
        Scope(rollups=('A',), rows=(('k', ('2',)),))
        """
        names = self.rollups if other.rollups is None else other.rollups
        if self.rollups is not None and other.rollups is not None:
            names = tuple(set(self.rollups) & set(other.rollups))
        rows: dict[str, Iterable[str | None]] = dict(self.rows)
        for column, values in other.rows:
            rows[column] = set(values) & set(rows[column]) if column in rows else values
        return Scope.of(names, rows)

    def as_object(self) -> dict[str, Any]:
        """The scope for JSON; `from_object` reads it back."""
        return {
            "rollups": None if self.rollups is None else list(self.rollups),
            "rows": {k: list(v) for k, v in self.rows},
        }

    @classmethod
    def from_object(cls, words: Mapping[str, Any]) -> Scope:
        """A scope from `as_object`.

        >>> Scope.from_object(EVERYTHING.as_object()) == EVERYTHING
        True
        """
        return cls.of(words["rollups"], words["rows"])


#: All rows of all rollups.
EVERYTHING = Scope()
