"""What a caller sees of events that are at hand and not read from the log. Plan floor, pure.

The rules are those of `dayfold.plan.event_reads`, without an engine.

Invariant: an event passes a sieve, and is shown, exactly as a page of the log would have it.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dayfold.define.events import ADDRESSES, COLUMNS, PERSONAL
from dayfold.define.types import Kind, Type
from dayfold.plan.access import Scope
from dayfold.plan.event_reads import Wanted
from dayfold.plan.keys import typed


@dataclass(frozen=True, slots=True)
class Sieve:
    """Which events go through.

    Attributes:
        tests: Of some columns the values that go through; None: any but NULL.
        is_open: Whether any event is there for the caller.
    """

    tests: tuple[tuple[str, frozenset[object] | None], ...] = ()
    is_open: bool = True

    @classmethod
    def of(cls, entities: Mapping[str, Type], wanted: Wanted, scope: Scope) -> Sieve:
        """What is asked for by type and entity, within what a scope lets through."""
        filters = scope.event_filters(entities)
        if filters is None:
            return cls(is_open=False)
        types = {**COLUMNS, **entities}
        tests: list[tuple[str, frozenset[object] | None]] = []
        for one in filters:
            bound = one.bound(types[one.key])
            values = [value for part in bound for value in (part if isinstance(part, list) else [part])]
            nothing = {None} if None in one.values else set()
            tests.append((one.key, frozenset(_kept(value, types[one.key]) for value in values) | nothing))
        if wanted.entity is not None:
            name, text = wanted.entity
            given = None if text is None else frozenset({_kept(typed(name, text, types[name]), types[name])})
            tests.append((name, given))
        if wanted.event_type is not None:
            tests.append(("event_type", frozenset({wanted.event_type})))
        return cls(tuple(tests))

    def lets(self, value_of: Callable[[str], object]) -> bool:
        """Whether an event goes through; ``value_of``: what it has in a column, None where that is not there."""
        if not self.is_open:
            return False
        for name, values in self.tests:
            value = value_of(name)
            if value is None if values is None else value not in values:
                return False
        return True


def _kept(value: object, type_: Type) -> object:
    """A value of a filter as events have it: days are ISO text, UUIDs have one spelling."""
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(uuid.UUID(str(value))) if type_.kind is Kind.UUID else value


def redact(row: dict[str, Any]) -> None:
    """An event as it is shown to whoever may not see personal data."""
    for name in PERSONAL:
        row[name] = None
    for name in ADDRESSES:
        if row[name] is not None:
            row[name] = row[name].partition("?")[0].partition("#")[0]
