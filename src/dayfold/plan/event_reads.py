"""Reads of raw events: which are asked for, which columns are shown, and the place where a page ends. Plan floor, pure.

Invariant: what is selected for somebody who may not see personal data holds none: `selected` is the only list of columns there is.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from dayfold.days import ONE_DAY, Days, as_day
from dayfold.define.events import ADDRESSES, COLUMNS, PERSONAL
from dayfold.define.types import TEXT, Kind, Type
from dayfold.errors import Forbidden, UnknownName, UsageError
from dayfold.names import listing, suggestion
from dayfold.plan.access import Scope
from dayfold.plan.dialect import Dialect
from dayfold.plan.keys import KeyFilter, cast_name, typed
from dayfold.plan.shape import Column
from dayfold.plan.sql import Values, both, column, either, sql

#: At most so many events are given at once.
MOST_EVENTS = 1_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NO_PLACE = "after is not a place in this list of events."


@dataclass(frozen=True, slots=True)
class Place:
    """An event's place in time, which no event that arrives later moves: its moment in microseconds since 1970, and its id."""

    micros: int
    event_id: str

    def __str__(self) -> str:
        text = json.dumps([self.micros, self.event_id])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def of(cls, moment: dt.datetime, event_id: str) -> Place:
        """The place of an event.

        >>> str(Place.of(dt.datetime(2026, 3, 9, tzinfo=dt.UTC), "00000000-0000-0000-0000-000000000001"))
        'WzE3NzMwMTQ0MDAwMDAwMDAsICIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDEiXQ'
        """
        return cls((moment - _EPOCH) // dt.timedelta(microseconds=1), event_id)

    @classmethod
    def read(cls, text: str) -> Place:
        """A place from the text that a page gave out. Raises UsageError."""
        try:
            micros, event_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if isinstance(micros, bool) or not isinstance(micros, int):
                raise ValueError
            place = cls(micros, str(uuid.UUID(event_id)))
            # Beyond the years that there are.
            place.moment  # noqa: B018
            return place
        except (binascii.Error, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            raise UsageError(_NO_PLACE, hint="Pass on the 'next' of the page before.") from None

    @property
    def moment(self) -> dt.datetime:
        """When its event occurred."""
        return _EPOCH + dt.timedelta(microseconds=self.micros)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are asked for, checked against the definitions.

    Attributes:
        entity: A column of an entity, with a value, or with None for any.
        first, last: UTC days, both included.
        own: Whose own events these are: all of ``actor``, and those without an actor of ``browsers``.
    """

    entity: tuple[str, str | None] | None = None
    event_type: str | None = None
    actor: str | None = None
    session: str | None = None
    first: dt.date | None = None
    last: dt.date | None = None
    own: bool = False
    browsers: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls,
        entities: Mapping[str, Type],
        *,
        entity_type: str | None = None,
        entity_id: str | None = None,
        event_type: str | None = None,
        actor: str | None = None,
        session: str | None = None,
        from_: dt.date | str | None = None,
        to: dt.date | str | None = None,
        today: dt.date,
        scope: Scope,
    ) -> Wanted:
        """Events from words.

        Raises:
            UsageError: for an id without a type, or one that is not of the column's type; UnknownName, BadDate.
            Forbidden: for an actor or a session, where the asker may not see personal data: the answer would say of each whether
                there is one.
        """
        if (actor is not None or session is not None) and not scope.personal:
            raise Forbidden(
                f"Asking for {'an actor' if actor is not None else 'a session'} takes the right to see personal data.",
                hint="Make a token that has it: dayfold token create NAME --kind read --personal",
            )
        if entity_id is not None and entity_type is None:
            raise UsageError("entity_id is an id of some type; entity_type is missing.", hint=_entities(entities))
        entity = None
        if entity_type is not None:
            name = entity_column(entities, entity_type)
            if entity_id is not None:
                typed(name, entity_id, entities[name])
            entity = (name, entity_id)
        first, last = (None if day is None else as_day(day, today) for day in (from_, to))
        if first is not None and last is not None:
            Days(first, last)
        for name, text in (("event_type", event_type), ("actor", actor), ("session", session)):
            if text is not None and "\0" in text:
                raise UsageError(f"{name} holds a letter that no event has.")
        return cls(entity, event_type, actor, session, first, last)

    def of_person(self, browsers: Sequence[str]) -> Wanted:
        """The same of the person who is its actor: with what their browsers did before anybody knew whose they were."""
        return replace(self, own=True, browsers=tuple(browsers))

    def condition(
        self, entities: Mapping[str, Type], filters: Sequence[KeyFilter], values: Values, missing: Sequence[str] = ()
    ) -> exp.Expr:
        """True for the events that are asked for and that the filters of a scope let through; ``missing``: columns not made yet."""

        def tree(name: str) -> exp.Expr:
            return exp.null() if name in missing else column(name)

        types = {**COLUMNS, **entities}
        tests = [one.admits(tree(one.key), types[one.key], values) for one in filters]
        if self.entity is not None:
            name, text = self.entity
            if text is None:
                tests.append(sql("not _c is null", _c=tree(name)))
            else:
                value = values.bind(typed(name, text, types[name]), cast_name(types[name]))
                tests.append(sql("_c = _v", _c=tree(name), _v=value))
        for name, given in (("event_type", self.event_type), ("session_id", self.session)):
            if given is not None:
                tests.append(sql("_c = _v", _c=column(name), _v=values.bind(given, "text")))
        if self.actor is not None:
            tests.append(self._of_actor(values))
        if self.first is not None:
            tests.append(sql("occurred_at >= _v", _v=_midnight(self.first, values)))
        if self.last is not None and self.last < dt.date.max:
            tests.append(sql("occurred_at < _v", _v=_midnight(self.last + ONE_DAY, values)))
        return both(tests)

    def _of_actor(self, values: Values) -> exp.Expr:
        mine = sql("actor_id = _v", _v=values.bind(self.actor, "text"))
        if not self.own or not self.browsers:
            return mine
        texts = [values.bind(one, "text") for one in self.browsers]
        return either([mine, sql("actor_id is null and anonymous_id in (_v)", _v=texts)])


def entity_column(entities: Mapping[str, Type], name: str) -> str:
    """The column of an entity, by its name or that without ``_id``. Raises UnknownName.

    >>> entity_column({"project_id": TEXT}, "project")
    'project_id'
    """
    for one in (name, f"{name}_id"):
        if one in entities:
            return one
    known = [one.removesuffix("_id") for one in entities]
    raise UnknownName(
        f"There is no type of entity '{name}'{suggestion(name, known)}.",
        hint=_entities(entities),
    )


def _entities(entities: Mapping[str, Type]) -> str:
    known = listing(one.removesuffix("_id") for one in entities)
    return (
        f"Types of entities: {known}" if entities else 'Declare them in metrics.py: events.columns(project_id="text")'
    )


def _midnight(day: dt.date, values: Values) -> exp.Expr:
    return values.bind(dt.datetime.combine(day, dt.time(), dt.UTC), "timestamptz")


def beyond(place: Place, values: Values, *, descending: bool) -> exp.Expr:
    """True for events after a place; the first test of it is one that an index on the time leads to."""
    sign = "<" if descending else ">"
    moment, event_id = values.bind(place.moment, "timestamptz"), values.bind(place.event_id, "uuid")
    text = f"occurred_at {sign}= _t and (occurred_at {sign} _t or id {sign} _id)"
    return sql(text, _t=moment, _id=event_id)


def selected(
    dialect: Dialect, entities: Mapping[str, Type], *, personal: bool, missing: Sequence[str] = ()
) -> list[tuple[Column, exp.Expr]]:
    """The columns of an event as they are shown, each with what gives it; documents are texts."""
    found = []
    for name, type_ in {**COLUMNS, **entities}.items():
        shown = TEXT if type_.kind in (Kind.UUID, Kind.JSON) else type_
        tree: exp.Expr = column(name)
        if name in missing or (name in PERSONAL and not personal):
            tree = dialect.cast(exp.null(), shown)
        elif name in ADDRESSES and not personal:
            tree = dialect.piece("bare_address", _c=tree)
        elif shown != type_:
            tree = dialect.cast(tree, shown)
        found.append((Column(name, shown), tree))
    return found
