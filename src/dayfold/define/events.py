"""The event log as definitions see it: what every event has, and the columns that a project adds. Definitions floor, pure.

A definitions file says ``events.columns(…)`` and ``events.types(…)`` as statements. What it says belongs to that file: it is kept
among the names of the module that said it, so that two applications in one process do not meet.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dayfold.define.source import Own, Place, caller
from dayfold.define.types import (
    BOOL,
    DECLARED,
    JSON,
    TEXT,
    TIMESTAMPTZ,
    UUID,
    Kind,
    Type,
    declared_type,
)
from dayfold.errors import Problem
from dayfold.names import is_plain, listing, suggestion

#: The table of the store that holds the events.
TABLE = "dayfold_events"
#: Who is behind an event: whoever found the key of a page, or a server of the application's own.
PUBLIC, SERVER = "public", "server"
#: What a page may send without being told otherwise.
PUBLIC_TYPES = frozenset({"page_viewed", "asset_viewed"})
#: What definitions call a column beside its own name.
NAMING = {"props": "properties"}
#: What every event has, in the order of the table.
COLUMNS: dict[str, Type] = {
    "id": UUID,
    "occurred_at": TIMESTAMPTZ,
    "sent_at": TIMESTAMPTZ,
    "original_timestamp": TIMESTAMPTZ,
    "received_at": TIMESTAMPTZ,
    "source": TEXT,
    "trust": TEXT,
    "event_type": TEXT,
    "actor_type": TEXT,
    "actor_id": TEXT,
    "anonymous_id": TEXT,
    "session_id": TEXT,
    "properties": JSON,
    "utm_source": TEXT,
    "utm_medium": TEXT,
    "utm_campaign": TEXT,
    "utm_term": TEXT,
    "utm_content": TEXT,
    "click_id": TEXT,
    "channel": TEXT,
    "page": TEXT,
    "landing_page": TEXT,
    "referrer": TEXT,
    "referrer_class": TEXT,
    "referrer_name": TEXT,
    "first_source": TEXT,
    "first_medium": TEXT,
    "first_campaign": TEXT,
    "last_source": TEXT,
    "last_medium": TEXT,
    "last_campaign": TEXT,
    "user_agent": TEXT,
    "device_type": TEXT,
    "browser": TEXT,
    "os": TEXT,
    "country": TEXT,
    "is_bot": BOOL,
}
#: Columns that say who somebody is, or hold what they wrote: whoever may not see personal data is shown nothing in them, and of
#: addresses what stands before ``?`` and ``#``. Every read and export goes by these two.
PERSONAL = ("actor_id", "anonymous_id", "session_id", "properties", "click_id", "user_agent")
ADDRESSES = ("page", "landing_page", "referrer")
#: Columns that a caller's rows may be limited by, beside the entities: other columns of the log may mean something else than a key
#: column of the same name.
IDENTITIES = ("actor_id", "anonymous_id")
#: What an entity may be: it is a key of rollups, and a filter of reads.
_ENTITY_KINDS = (Kind.TEXT, Kind.INT, Kind.UUID, Kind.BOOL, Kind.DATE)
_ENTITY_TYPES = tuple(words for words, type_ in DECLARED.items() if type_.kind in _ENTITY_KINDS)
#: Where a module keeps what it said of events.
_SAID = "__dayfold_events__"


@dataclass(frozen=True, slots=True)
class Said:
    """One statement about events.

    Attributes:
        what: ``columns`` or ``types``.
        words: What was given.
    """

    what: str
    words: Mapping[str, object]
    place: Place


class EventLog(Own):
    """The events of this application as a source; there is one log, `events`.

    >>> events
    events
    """

    #: What one event says must not keep all others from being folded.
    forgiving = True

    def __init__(self, columns: Mapping[str, str] | None = None) -> None:
        super().__init__(TABLE, COLUMNS, {**NAMING, **(columns or {})})

    def source(self, *, columns: Mapping[str, str]) -> EventLog:
        """The same events with more names, such as those of a key: each for a column or an expression.

        >>> sorted(events.source(columns={"visitor": "coalesce(actor_id, anonymous_id)"}).naming)
        ['props', 'visitor']
        """
        return EventLog(columns)

    def columns(self, **types: object) -> Said:
        """Columns that every event of this file has beside its own: ids of what it is about.

        They are filled from an event's properties or context of the same name, and each is an index with time.

        Args:
            types: Names, each with a type: text, bigint, uuid, boolean or date.
        """
        return _say(Said("columns", types, caller()))

    def types(self, families: Mapping[str, object]) -> Said:
        """The types of events that this file knows; events of others, or without a required property, go to quarantine.

        Args:
            families: For each family its types, each with the names and types of its properties. ``?`` after a name: it
                may be missing.
        """
        return _say(Said("types", {"": families}, caller()))

    def __repr__(self) -> str:
        return "events"


def _say(one: Said) -> Said:
    """Keep a statement with the module that made it."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "dayfold":
        frame = frame.f_back
    frame.f_globals.setdefault(_SAID, []).append(one)
    return one


def said(names: Mapping[str, Any]) -> list[Said]:
    """What a module said of events, by the names that it has."""
    return list(names.get(_SAID, ()))


@dataclass(frozen=True, slots=True)
class Entities:
    """The columns that a project adds to its events: ids of what they are about, each an index with time.

    >>> found = Entities.declared({"project_id": "uuid", "asset": "text"}, Place("metrics.py", 3))
    >>> [str(one) for one in found.types.values()], found.problems
    (['uuid', 'text'], ())
    """

    types: Mapping[str, Type] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, statements: Iterable[Said]) -> Entities:
        """The columns of all statements together."""
        types: dict[str, Type] = {}
        problems: list[Problem] = []
        for one in statements:
            if one.what != "columns":
                continue
            found = cls.declared(one.words, one.place, types)
            types |= found.types
            problems += found.problems
        return cls(types, tuple(problems))

    @classmethod
    def declared(cls, words: Mapping[str, object], place: Place, known: Iterable[str] = ()) -> Entities:
        """Columns from their names and types, each mistake kept; ``known``: those that were declared before."""
        types: dict[str, Type] = {}
        problems = []
        taken = {one.lower() for one in known}

        def problem(code: str, message: str, hint: str = "") -> None:
            problems.append(Problem(code, str(place), "events.columns", message, hint))

        for name, given in words.items():
            type_ = declared_type(given) if isinstance(given, str) else None
            if not is_plain(name) or "__" in name:
                problem("bad-name", f"a column's name is of letters, digits and single '_', got {name!r}.")
            elif name.lower() in COLUMNS or name.lower() in NAMING:
                problem("duplicate-name", f"every event has a column '{name.lower()}' already.")
            elif name.lower() in taken:
                problem(
                    "duplicate-name",
                    f"the column '{name}' is there twice; databases do not tell upper and lower case apart.",
                )
            elif type_ is None or type_.kind not in _ENTITY_KINDS:
                near = suggestion(str(given), _ENTITY_TYPES) if isinstance(given, str) else ""
                problem(
                    "bad-value",
                    f"the column '{name}' has no type {given!r}{near}.",
                    f"Types of ids: {listing(_ENTITY_TYPES)}",
                )
            else:
                types[name] = type_
                taken.add(name.lower())
        return cls(types, tuple(problems))


#: The built-in event log.
events = EventLog()
