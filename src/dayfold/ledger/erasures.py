"""Erasures: which were asked for, how far each is, and the certificate of what it did. Ledger floor.

Invariant: the names of the person stand here only until the transaction that erases them, which takes them away with all else.
What an erasure that ended in the middle has left to do is done by the next one, which needs no name for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dayfold.engines.base import Session
from dayfold.errors import UnknownName
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import column

#: Asked for; gone from the store, with cells to fold and files to rewrite; and done.
ASKED, ERASED, DONE = "asked", "erased", "done"
#: What erasures hold their lease under.
LEASE = "erase"


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure. ``request``: the names, until they are erased. Moments are ISO text in UTC."""

    id: int
    asked_at: str
    asked_by: str
    state: str
    request: dict[str, Any] | None
    certificate: dict[str, Any] | None


def ask(ledger: Ledger, session: Session, request: Mapping[str, Any], asked_by: str) -> int:
    """An erasure stands to be done; its number."""
    insert = (
        "insert into dayfold__erasures (id, asked_at, asked_by, state, request) values (nextval(:sequence), :now::timestamptz, "
        ":by, 'asked', :request) returning id"
    )
    sequence = f'"{ledger.home.schema}"."dayfold__run_ids"'
    query = ledger.sql(insert, sequence=sequence, now=ledger.clock.now(), by=asked_by, request=json.dumps(request))
    return int(session.rows(query)[0][0])


def erased(ledger: Ledger, session: Session, number: int, certificate: Mapping[str, Any]) -> None:
    """The person is gone from the store once the transaction commits, and so are their names."""
    session.execute(
        ledger.sql(
            "update dayfold__erasures set state = 'erased', request = null, certificate = :certificate where id = :id",
            id=number, certificate=json.dumps(certificate),
        )
    )  # fmt: skip


def done(ledger: Ledger, session: Session, number: int, certificate: Mapping[str, Any]) -> None:
    """Nothing is left to do."""
    session.execute(
        ledger.sql(
            "update dayfold__erasures set state = 'done', certificate = :certificate, finished_at = :now::timestamptz where "
            "id = :id and state = 'erased'",
            id=number, certificate=json.dumps(certificate), now=ledger.clock.now(),
        )
    )  # fmt: skip


def unfinished(ledger: Ledger, session: Session) -> list[Erasure]:
    """Those whose person is gone from the store and that have something left to do, in order."""
    return _listed(ledger, session, "where state = 'erased'")


def waiting(ledger: Ledger, session: Session) -> list[Erasure]:
    """Those that were asked for and whose person is still there, in order."""
    return _listed(ledger, session, "where state = 'asked'")


def forget(ledger: Ledger, session: Session, number: int) -> None:
    """An erasure that was asked for and could not be begun is gone, with the names."""
    session.execute(ledger.sql("delete from dayfold__erasures where id = :id and state = 'asked'", id=number))


def erasure(ledger: Ledger, session: Session, number: int) -> Erasure:
    """One of them. Raises UnknownName."""
    found = _listed(ledger, session, "where id = :id", id=number)
    if not found:
        raise UnknownName(f"There is no erasure {number}.")
    return found[0]


def _listed(ledger: Ledger, session: Session, where: str, **values: Any) -> list[Erasure]:
    moment = ledger.home.dialect.piece("iso_moment", _x=column("asked_at"))
    text = f"select id, _at, asked_by, state, request, certificate from dayfold__erasures {where} order by id"
    return [
        Erasure(int(number), at, by, state, *(json.loads(one) if one else None for one in words))
        for number, at, by, state, *words in session.rows(ledger.sql(text, _at=moment, **values))
    ]
