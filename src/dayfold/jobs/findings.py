"""What judging a rule needs and gives. Jobs floor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from dayfold.clock import Clock
from dayfold.count.conservation import Conservation
from dayfold.days import Days, union
from dayfold.define.catalog import Catalog
from dayfold.ledger import coverage
from dayfold.ledger.ledger import Ledger
from dayfold.query.answer import Answer
from dayfold.query.request import Request
from dayfold.settings import Settings


class Counters(Protocol):
    """The counters of an application."""

    def conservation(self) -> list[Conservation]:
        """The law of each counter."""
        ...


class Reads(Protocol):
    """What rules are judged with: the facade's verbs."""

    catalog: Catalog
    ledger: Ledger
    settings: Settings
    clock: Clock

    @property
    def counters(self) -> Counters:
        """Its counters."""
        ...

    @property
    def today(self) -> dt.date:
        """The present UTC day."""
        ...

    def answer(self, request: Request, *, live: bool = False) -> Answer:
        """The answer to a question."""
        ...


class State(StrEnum):
    """What a rule says of a subject. ``GONE``: the subject is there no more."""

    FIRING = "firing"
    CLEAR = "clear"
    UNKNOWN = "unknown"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says of one subject now: in a sentence, in fields, and where to look."""

    subject: str
    state: State
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    look: str = ""


def gone(subject: str) -> Finding:
    """There is nothing of this name any more."""
    return Finding(subject, State.GONE, "It is not watched any more.")


def settled(states: Mapping[str, Sequence[Days]]) -> list[Days]:
    """The days of a source that are no longer open, from `coverage.ranges`: folded or sealed, or failed at the last fold."""
    return union(
        days for state in (coverage.FOLDED, coverage.SEALED, coverage.FAILED) for days in states.get(state, ())
    )
