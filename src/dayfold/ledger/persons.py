"""Who is to be erased: an actor with the browsers that are known to be theirs, and which rows say so. Ledger floor.

Invariant: a row of somebody else is never theirs. From a browser that several people used, only what no other actor stands on is
this one's; the others' events lose the browser's id, and stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dayfold.define.events import TABLE
from dayfold.engines.base import Session
from dayfold.ledger import quarantine, visitors
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import Statement

#: True for rows that are a person's, of any table with both columns.
THEIRS = (
    "(actor_id = any(:actors::text[]) or (anonymous_id = any(:browsers::text[]) and "
    "(actor_id is null or actor_id = any(:actors::text[]))))"
)
#: True for what somebody else did in a browser that was theirs too.
OTHERS = "(anonymous_id = any(:browsers::text[]) and not actor_id is null and not actor_id = any(:actors::text[]))"


@dataclass(frozen=True, slots=True)
class Person:
    """The names of one person: of actors and of browsers, each in order.

    >>> Person.of(["u1"], ["b2", "b1"]).names
    ('u1', 'b1', 'b2')
    """

    actor_ids: tuple[str, ...]
    anonymous_ids: tuple[str, ...]

    @classmethod
    def of(cls, actor_ids: Iterable[str], anonymous_ids: Iterable[str]) -> Person:
        """A person of these names, each once."""
        return cls(tuple(sorted(set(actor_ids))), tuple(sorted(set(anonymous_ids))))

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.actor_ids, *self.anonymous_ids)

    @property
    def bound(self) -> dict[str, Any]:
        """The values of `THEIRS` and `OTHERS`."""
        return {"actors": list(self.actor_ids), "browsers": list(self.anonymous_ids)}

    def query(self, ledger: Ledger, text: str, name: str) -> Statement:
        """A statement about the person's rows of one table, which the text calls ``_t``."""
        uses = {key: value for key, value in self.bound.items() if f":{key}" in text}
        return ledger.sql(text, _t=ledger.place(name), **uses)


def known(ledger: Ledger, session: Session, person: Person, *, has_log: bool) -> Person:
    """The person with the browsers that any event links to one of their actors; one step, for a browser may be several people's."""
    found = {*person.anonymous_ids, *visitors.aliases_of(ledger, session, person.actor_ids, ()).anonymous_ids}
    for name in (*([TABLE] if has_log else []), quarantine.TABLE):
        text = "select distinct anonymous_id from _t where actor_id = any(:actors::text[]) and not anonymous_id is null"
        found |= {one for (one,) in session.rows(person.query(ledger, text, name))}
    return Person.of(person.actor_ids, found)
