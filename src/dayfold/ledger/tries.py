"""How often somebody tried to sign in: counted in the store, so that all replicas count together. Ledger floor.

A try is written and committed before its password is looked at, and counted again after that: of any number of tries at
once, no more than the limit get through.

Weakness: whoever knows a user's name can use up that user's tries for a quarter of an hour.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Mapping

from dayfold.engines.base import Session
from dayfold.errors import TooMany
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import column

WINDOW = dt.timedelta(minutes=15)
#: Tries within the window, for one user and from one address.
USER_TRIES, ADDRESS_TRIES = 5, 20


def subject(kind: str, name: str) -> str:
    """What stands in the table for a user or an address: nothing that could be a password typed into the wrong field.

    >>> subject("user", "anna") == subject("address", "anna")
    False
    """
    return hashlib.sha256(f"{kind} {name}".encode("utf-8", "surrogatepass")).hexdigest()


def count(ledger: Ledger, limits: Mapping[str, int]) -> dt.datetime:
    """One more try of each subject is counted; the moment that it stands under.

    Raises:
        TooMany: where one of them has had as many as its limit within the window; a refused try is not counted.
    """
    now = ledger.clock.now()

    def write() -> None:
        with ledger.store.transaction() as session:
            _check(ledger, session, limits)
            forget = "delete from dayfold__tries where tried_at <= :old::timestamptz"
            session.execute(ledger.sql(forget, old=now - WINDOW))
            for one in limits:
                insert = "insert into dayfold__tries (subject, tried_at) values (:subject, :now::timestamptz)"
                session.execute(ledger.sql(insert, subject=one, now=now))

    ledger.retried(write)
    with ledger.store.transaction(read_only=True) as session:
        _check(ledger, session, {one: limit + 1 for one, limit in limits.items()})
    return now


def forgive(ledger: Ledger, session: Session, one: str, since: dt.datetime) -> None:
    """The tries of a subject from a moment on are forgotten: it signed in."""
    forget = "delete from dayfold__tries where subject = :subject and tried_at >= :since::timestamptz"
    session.execute(ledger.sql(forget, subject=one, since=since))


def _check(ledger: Ledger, session: Session, limits: Mapping[str, int]) -> None:
    """Raise TooMany where a subject has had its tries."""
    now = ledger.clock.now()
    for one, limit in limits.items():
        tried = session.rows(
            ledger.sql(
                "select _at from dayfold__tries where subject = :subject and tried_at > :old::timestamptz order by "
                "tried_at desc limit :limit",
                subject=one, old=now - WINDOW, limit=limit,
                _at=ledger.home.dialect.piece("iso_moment", _x=column("tried_at")),
            )
        )  # fmt: skip
        if len(tried) >= limit:
            oldest = dt.datetime.fromisoformat(tried[-1][0])
            # The ledger's texts have whole seconds: the true moment is up to one later.
            wait_s = math.floor((oldest + WINDOW - now).total_seconds()) + 1
            raise TooMany(
                "There were too many tries to sign in.",
                retry_after_s=wait_s,
                hint="Wait as many seconds as Retry-After says.",
            )
