"""Who did what: the notes of the audit table. Ledger floor.

Invariant: a note holds names of people, tokens, rollups and paths; never a secret, and no value of a row.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import column

#: How an action ended.
OK, REFUSED, FAILED = "ok", "refused", "failed"
#: Longer names are cut: a note is a line.
_LETTERS = 200


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the audit table; ``at`` is ISO text in UTC."""

    id: int
    at: str
    actor: str
    action: str
    target: str | None
    outcome: str


def note(ledger: Ledger, session: Session, actor: str, action: str, target: str | None, outcome: str) -> None:
    """An action stands in the audit table, once the transaction commits."""
    session.execute(
        ledger.sql(
            "insert into dayfold__audit (id, noted_at, actor, action, target, outcome) values "
            "(nextval(:sequence), :now::timestamptz, :actor, :action, :target, :outcome)",
            sequence=f'"{ledger.home.schema}"."dayfold__audit_ids"', now=ledger.clock.now(), actor=actor[:_LETTERS],
            action=action, target=_kept(target) if target else target, outcome=outcome,
        )
    )  # fmt: skip


def _kept(target: str) -> str:
    """A target as it is kept. A path that somebody asked for may hold a NUL, which PostgreSQL keeps nowhere."""
    return target[:_LETTERS].replace("\0", "\N{REPLACEMENT CHARACTER}")


def noted_since(
    ledger: Ledger, session: Session, moment: dt.datetime, actor: str, action: str, target: str, outcome: str
) -> bool:
    """Whether such a note was made at this moment or later."""
    query = ledger.sql(
        "select 1 from dayfold__audit where noted_at >= :moment::timestamptz and actor = :actor and action = :action "
        "and target = :target and outcome = :outcome limit 1",
        moment=moment, actor=actor[:_LETTERS], action=action, target=_kept(target), outcome=outcome,
    )  # fmt: skip
    return bool(session.rows(query))


def listed(ledger: Ledger, session: Session, limit: int, before: int | None = None) -> list[Note]:
    """The newest notes first; those older than the note ``before`` where it is given."""
    query = ledger.sql(
        "select id, _at, actor, action, target, outcome from dayfold__audit where :before::bigint is null or id < "
        ":before::bigint order by id desc limit :limit",
        _at=ledger.home.dialect.piece("iso_moment", _x=column("noted_at")), before=before, limit=limit,
    )  # fmt: skip
    return [Note(*row) for row in session.rows(query)]
