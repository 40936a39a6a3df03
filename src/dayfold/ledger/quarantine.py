"""Events that were held back: of a type that is not declared, not as declared, or with the id of another one. Ledger floor.

Nothing of them is lost: each stands here whole, until it is replayed after the definitions were mended, or deleted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from dayfold.define.types import TEXT, TIMESTAMPTZ, UUID
from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.shape import Column
from dayfold.plan.sql import column

#: Why an event is held: the definitions do not know it so, another one has its id, or the store does not take it.
UNDECLARED, CONFLICT, REFUSED = "undeclared", "conflict", "refused"
REASONS = (UNDECLARED, CONFLICT, REFUSED)
TABLE = "dayfold__quarantine"
COLUMNS = (
    Column("id", UUID), Column("event_id", UUID), Column("reason", TEXT), Column("detail", TEXT), Column("event_type", TEXT),
    Column("trust", TEXT), Column("actor_id", TEXT), Column("anonymous_id", TEXT), Column("occurred_at", TIMESTAMPTZ),
    Column("received_at", TIMESTAMPTZ), Column("body", TEXT),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event in quarantine. Moments are ISO text in UTC; ``body`` is the event as it was read, in JSON."""

    id: str
    event_id: str
    reason: str
    detail: str
    event_type: str
    occurred_at: str
    received_at: str
    body: str


def listed(
    ledger: Ledger,
    session: Session,
    *,
    reason: str | None = None,
    event_type: str | None = None,
    limit: int = 100,
    after: str = "",
) -> list[HeldEvent]:
    """Held events by their ids, which follow time, from the one after ``after``."""
    moment = ledger.home.dialect.piece
    query = ledger.sql(
        "select cast(id as text), cast(event_id as text), reason, detail, event_type, _occurred, _received, body "
        "from dayfold__quarantine where (:reason::text is null or reason = :reason::text) and "
        "(:event_type::text is null or event_type = :event_type::text) and (:after::text is null or id > :after::uuid) "
        "order by id limit :limit::bigint",
        reason=reason, event_type=event_type, limit=limit, after=after or None,
        _occurred=moment("iso_moment", _x=column("occurred_at")), _received=moment("iso_moment", _x=column("received_at")),
    )  # fmt: skip
    return [HeldEvent(*row) for row in session.rows(query)]


def counts(ledger: Ledger, session: Session) -> dict[str, int]:
    """How many are held, by reason."""
    return dict(session.rows(ledger.sql("select reason, count(*) from dayfold__quarantine group by reason")))


def release(ledger: Ledger, session: Session, ids: Sequence[str]) -> int:
    """These are not held any more; how many were."""
    if not ids:
        return 0
    return session.execute(
        ledger.sql(
            "delete from dayfold__quarantine where id in (select u::uuid from _ids as u)",
            _ids=exp.Unnest(expressions=[exp.Array(expressions=[exp.Literal.string(one) for one in ids])]),
        )
    )  # fmt: skip


def expire(ledger: Ledger, session: Session, before: dt.datetime) -> int:
    """Events that were held since before a moment are gone; how many."""
    return session.execute(
        ledger.sql("delete from dayfold__quarantine where received_at < :before::timestamptz", before=before)
    )
