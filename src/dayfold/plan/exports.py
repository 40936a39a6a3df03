"""What an export is of, checked before anything is read or written. Plan floor, pure.

Invariant: an export that holds raw events is one that its asker was given: `ExportAsked.parse` is the only way to make one.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dayfold.days import Days, as_day
from dayfold.define.catalog import Catalog
from dayfold.define.rollup import RollupDef
from dayfold.errors import Forbidden, UsageError
from dayfold.names import listing, suggestion
from dayfold.plan.access import Scope
from dayfold.plan.comparisons import comparisons, profile_columns
from dayfold.plan.event_reads import Wanted
from dayfold.plan.keys import key_filters

EVENTS, ROLLUP, PROFILE, ACTOR = "events", "rollup", "profile", "actor"
WHATS = (EVENTS, ROLLUP, PROFILE, ACTOR)
#: What is folded, and holds no raw event.
_FOLDED = (ROLLUP, PROFILE)
FORMS = ("csv", "jsonl", "parquet")
#: What narrows events and not the rows of a rollup.
_OF_EVENTS = ("entity_type", "entity_id", "event_type", "actor", "session")


@dataclass(frozen=True, slots=True)
class ExportAsked:
    """An export as it was asked for. Days are ISO texts, already resolved.

    Attributes:
        what: ``events``, ``rollup``, ``profile`` or ``actor``.
        name: Of the rollup or profile, its class; of the actor, their id.
        personal: Whether personal data are in it.
    """

    what: str
    name: str | None = None
    form: str = "csv"
    personal: bool = False
    first: str | None = None
    last: str | None = None
    where: tuple[str, ...] = ()
    filters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(
        cls,
        catalog: Catalog,
        scope: Scope,
        today: dt.date,
        *,
        what: str,
        name: str | None = None,
        form: str = "csv",
        personal: bool = False,
        from_: dt.date | str | None = None,
        to: dt.date | str | None = None,
        where: Sequence[str] = (),
        **filters: str | None,
    ) -> ExportAsked:
        """An export from words; ``filters``: those of `Wanted.parse`.

        Raises:
            UsageError, UnknownName, BadDate: for words that do not fit; Forbidden: for what the scope does not open.
        """
        for kind, text, known in (("export", what, WHATS), ("format", form, FORMS)):
            if text not in known:
                raise UsageError(
                    f"There is no {kind} '{text}'{suggestion(text, known)}.", hint=f"Known: {listing(known)}"
                )
        first, last = (None if day is None else as_day(day, today) for day in (from_, to))
        if first is not None and last is not None:
            Days(first, last)
        given = {word: text for word, text in filters.items() if text is not None}
        _check_words(what, name, where, given)
        if what == PROFILE and (first or last):
            raise UsageError("A profile has no days.", hint="Narrow it with where, by any of its columns.")
        if what not in _FOLDED and not scope.events:
            raise Forbidden(
                "Raw events are exported by administrators, and with tokens that were given it.",
                hint="Make a token that may: dayfold token create NAME --kind read --events",
            )
        if personal and not scope.personal:
            raise Forbidden(
                "Personal data are exported with the right to see them.",
                hint="Leave personal out, or make a token that has it: dayfold token create NAME --kind read --personal",
            )
        if what in _FOLDED:
            assert name is not None
            rollup = scope.rollup(catalog, name)
            _check_kind(what, rollup)
            if what == ROLLUP:
                key_filters(rollup, where)
            else:
                comparisons(rollup.name, profile_columns(rollup, is_limited=scope.is_limited), where)
            name = rollup.name
        made = cls(what, name, form, personal, _text(first), _text(last), tuple(where), given)
        if what not in _FOLDED:
            made.wanted(catalog, scope)
        return made

    def wanted(self, catalog: Catalog, scope: Scope) -> Wanted:
        """The events that are in it. Raises Forbidden, where the scope shows nobody."""
        words: dict[str, Any] = dict(self.filters)
        if self.what == ACTOR:
            words["actor"] = self.name
        return Wanted.parse(
            catalog.entities.types, **words, from_=self.first, to=self.last, today=dt.date.min, scope=scope
        )

    @property
    def holds(self) -> str:
        """What finds it again: ``events``, or the rollup's or profile's name after ``rollup:``."""
        return f"rollup:{self.name}" if self.what in _FOLDED else "events"

    @property
    def title(self) -> str:
        """What it is of, for the audit and for a file's name; never a person.

        >>> ExportAsked("rollup", "ShopDaily").title, ExportAsked("actor", "anna").title
        ('ShopDaily', 'actor')
        """
        return str(self.name) if self.what in _FOLDED else self.what

    def as_text(self) -> str:
        """As JSON; `from_text` reads it back.

        >>> ExportAsked.from_text(ExportAsked("rollup", "S", where=("a=1",)).as_text())
        ExportAsked(what='rollup', name='S', form='csv', personal=False, first=None, last=None, where=('a=1',), filters={})
        """
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> ExportAsked:
        """What `as_text` wrote."""
        words = json.loads(text)
        return cls(**{**words, "where": tuple(words["where"])})


def _text(day: dt.date | None) -> str | None:
    return None if day is None else str(day)


def _check_kind(what: str, found: RollupDef) -> None:
    """Refuse a profile as a rollup, and a rollup as a profile."""
    if found.is_profile != (what == PROFILE):
        kind = PROFILE if found.is_profile else ROLLUP
        raise UsageError(
            f"{found.name} is a {kind}, and no {what}.", hint=f"Export it as one: dayfold export {kind} {found.name}"
        )


def _check_words(what: str, name: str | None, where: Sequence[str], given: Mapping[str, str]) -> None:
    """Refuse words that do not go with what is exported."""
    if what == EVENTS and name is not None:
        raise UsageError("All events have no name.", hint="Narrow them with entity_type, event_type, actor or session.")
    if what != EVENTS and not name:
        raise UsageError(f"An export of {'an' if what == ACTOR else 'a'} {what} names it; the name is missing.")
    if what not in _FOLDED and where:
        raise UsageError(
            "'where' is about a rollup or a profile.", hint=f"Events are narrowed with {listing(_OF_EVENTS)}."
        )
    if what != EVENTS and given:
        raise UsageError(f"{listing(given)} narrows an export of events.", hint="Leave it out here.")
