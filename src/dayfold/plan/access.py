"""What a caller may see: which rollups, and which values of their key columns. Plan floor, pure.

Invariant: everything that is read for a caller goes through `Scope.rollup` and carries `Scope.filters`; a rollup that lacks
a column the caller is limited by is not there for them, so a forgotten column closes and never opens. A scope whose relations
were not looked up (`dayfold.query.relations`) sees nothing at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from dayfold.define.catalog import Catalog
from dayfold.define.cohort import CohortDef
from dayfold.define.events import IDENTITIES
from dayfold.define.funnel import FunnelDef
from dayfold.define.rollup import RollupDef
from dayfold.define.study import StudyDef
from dayfold.define.types import Type
from dayfold.errors import AccessRefused, UnknownName, UsageError
from dayfold.names import listing, suggestion
from dayfold.plan.keys import KeyFilter

AnyStudy = TypeVar("AnyStudy", bound=StudyDef)


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """An access that was given to somebody: its name in the definitions, and the parameters of its queries as texts.

    >>> Grant.of("Brand", {"brand_id": 7})
    Grant(access='Brand', params=(('brand_id', '7'),))
    """

    access: str
    params: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, access: str, params: Mapping[str, object]) -> Grant:
        """A grant whose parameters are in one order. Raises UsageError for a value that is neither a text nor an integer."""
        found = []
        for name, value in sorted(params.items()):
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise UsageError(
                    f"The parameter '{name}' of the access '{access}' is neither a text nor a whole number."
                )
            found.append((name, str(value)))
        return cls(access, tuple(found))


@dataclass(frozen=True, slots=True)
class Scope:
    """What one caller may see.

    Attributes:
        rollups: Names of rollups; None: all of them.
        rows: For each key column the values that may be seen, as texts, None being NULL; no value sees nothing.
            Columns that are not named are not limited.
        relations: What a database says when it is asked: every grant has to be met, beside ``rows``. They become rows
            before anything is read.
        personal: Whether personal data of raw events are shown (`dayfold.define.events.PERSONAL`).
        events: Whether raw events may be exported, and are seen where ``rollups`` are limited.

    >>> shop = Scope(rows=(("shop_id", ("42",)),))
    >>> shop.is_limited, EVERYTHING.is_limited
    (True, False)
    """

    rollups: tuple[str, ...] | None = None
    rows: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
    relations: tuple[Grant, ...] = ()
    personal: bool = False
    events: bool = False
    _mark: str | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        rollups: Iterable[str] | None,
        rows: Mapping[str, Iterable[str | None]],
        relations: Iterable[Grant] = (),
        *,
        personal: bool = False,
        events: bool = False,
    ) -> Scope:
        """A scope whose parts are in one order, so that equal rights are equal scopes.

        >>> Scope.of(["b", "a"], {"k": ["2", "1"]}) == Scope.of(["a", "b"], {"k": ["1", "2", "1"]})
        True
        """
        names = None if rollups is None else tuple(sorted(set(rollups)))
        found = {key: _ordered(set(values)) for key, values in rows.items()}
        return cls(names, tuple(sorted(found.items())), tuple(sorted(set(relations))), personal, events)

    @property
    def is_limited(self) -> bool:
        """Whether some rows are kept from the caller, so that no number about all rows may be told."""
        return bool(self.rows or self.relations)

    @property
    def size(self) -> int:
        """How many values it names."""
        return sum(len(values) for _, values in self.rows)

    @property
    def mark(self) -> str:
        """A short text that is the same for equal scopes only; it tells none of their values.

        >>> EVERYTHING.mark
        'all'
        """
        if self._mark is None:
            # Remembered: a relation may give very many values, and every read is kept under this mark.
            words: list[Any] = [self.rollups, self.rows, [[one.access, one.params] for one in self.relations]]
            if self.personal or self.events:
                words += [self.personal, self.events]
            made = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]
            object.__setattr__(self, "_mark", "all" if self == EVERYTHING else made)
        assert self._mark is not None
        return self._mark

    def sees(self, rollup: RollupDef) -> bool:
        """Whether a rollup is there for the caller; none is before the relations were looked up."""
        if self.relations:
            return False
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

    def cohort(self, catalog: Catalog, name: str) -> CohortDef:
        """A cohort by its name, where all that it reads is there for the caller.

        Raises:
            UnknownName: also for one that exists and reads what is not there for the caller, in the same words.
        """
        return self._study("cohort", catalog.cohorts, name)

    def funnel(self, catalog: Catalog, name: str) -> FunnelDef:
        """A funnel by its name, as a `cohort`. Raises UnknownName."""
        return self._study("funnel", catalog.funnels, name)

    def _study(self, what: str, studies: Mapping[str, AnyStudy], name: str) -> AnyStudy:
        known = {one.name: one for one in studies.values() if all(map(self.sees, one.rollups))}
        if name in known:
            return known[name]
        raise UnknownName(
            f"There is no {what} '{name}'{suggestion(name, known)}.", hint=f"{what.capitalize()}s: {listing(known)}"
        )

    def filters(self, rollup: RollupDef) -> tuple[KeyFilter, ...]:
        """What the key of every row that is read has to meet, beside what was asked for.

        Raises:
            AccessRefused: where the relations were not looked up.
        """
        if self.relations:
            raise AccessRefused(
                "It was not looked up what the caller's relations let them see.",
                hint="Read with Dayfold.resolved(scope).",
            )
        return tuple(KeyFilter(column, values, exclude=False, is_right=True) for column, values in self.rows)

    def event_filters(self, entities: Mapping[str, Type]) -> tuple[KeyFilter, ...] | None:
        """What every event that is read has to meet; None: no event is there for the caller.

        Raw events are closed to whoever is limited to some rollups, unless ``events`` opens them, and to whoever is limited by a
        column that is neither an entity of the log nor one of `IDENTITIES`.

        >>> Scope.of(None, {"shop_id": ["42"]}).event_filters({}) is None, Scope.of(["Sales"], {}).event_filters({}) is None
        (True, True)
        """
        known = {*entities, *IDENTITIES}
        is_closed = self.rollups is not None and not self.events
        if self.relations or is_closed or any(column not in known for column, _ in self.rows):
            return None
        return tuple(KeyFilter(column, values, exclude=False, is_right=True) for column, values in self.rows)

    def narrowed(self, other: Scope) -> Scope:
        """What both scopes allow.

        >>> Scope.of(None, {"k": ["1", "2"]}).narrowed(Scope.of(["A"], {"k": ["2", "3"]}))
        Scope(rollups=('A',), rows=(('k', ('2',)),), relations=(), personal=False, events=False)
        """
        names = self.rollups if other.rollups is None else other.rollups
        if self.rollups is not None and other.rollups is not None:
            names = tuple(set(self.rollups) & set(other.rollups))
        rows: dict[str, Iterable[str | None]] = dict(self.rows)
        for column, values in other.rows:
            rows[column] = set(values) & set(rows[column]) if column in rows else values
        return Scope.of(
            names, rows, (*self.relations, *other.relations), personal=self.personal and other.personal,
            events=self.events and other.events,
        )  # fmt: skip

    def within(self, rows: Mapping[str, Iterable[str | None]]) -> Scope:
        """The scope with its relations replaced by the rows that they let through.

        >>> Scope.of(None, {"k": ["1", "2"]}, [Grant("Brand")]).within({"k": ["2", "3"]})
        Scope(rollups=None, rows=(('k', ('2',)),), relations=(), personal=False, events=False)
        """
        return replace(self, relations=()).narrowed(Scope.of(None, rows, personal=True, events=True))

    def as_object(self) -> dict[str, Any]:
        """The scope for JSON; `from_object` reads it back."""
        found: dict[str, Any] = {
            "rollups": None if self.rollups is None else list(self.rollups),
            "rows": {k: list(v) for k, v in self.rows},
        }
        if self.relations:
            found["relations"] = [{"access": one.access, "params": dict(one.params)} for one in self.relations]
        found |= {name: True for name in ("personal", "events") if getattr(self, name)}
        return found

    @classmethod
    def from_object(cls, words: Mapping[str, Any]) -> Scope:
        """A scope from `as_object`. Raises UsageError for a parameter that is neither a text nor an integer.

        >>> Scope.from_object(EVERYTHING.as_object()) == EVERYTHING
        True
        """
        grants = [Grant.of(one["access"], one.get("params", {})) for one in words.get("relations", ())]
        return cls.of(
            words["rollups"],
            words["rows"],
            grants,
            personal=bool(words.get("personal")),
            events=bool(words.get("events")),
        )


def _ordered(values: set[str | None]) -> tuple[str | None, ...]:
    """Values in one order, NULL first."""
    texts = sorted(one for one in values if one is not None)
    return (None, *texts) if None in values else tuple(texts)


#: All rows of all rollups.
EVERYTHING = Scope()
#: All that there is, raw events with personal data too: what administrators see, and whoever runs the program.
UNREDACTED = Scope(personal=True, events=True)
