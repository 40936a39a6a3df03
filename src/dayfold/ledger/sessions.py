"""Sessions of browsers, and the links that open one without a password, once. Ledger floor.

Only digests are kept. A session of a local user is good while the user is there, with the password that it was opened with.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
from dataclasses import dataclass

from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.access import Scope

#: Where a session comes from.
PASSWORD, LINK, OIDC = "password", "link", "oidc"
LINK_MINUTES = 15


@dataclass(frozen=True, slots=True)
class Guest:
    """Whom a session lets in."""

    name: str
    kind: str
    scope: Scope


def digest(secret: str) -> str:
    """What is kept of a session's secret or a link's; never that of a token with the same letters.

    >>> len(digest("x"))
    64
    """
    return hashlib.sha256(b"session " + secret.encode("utf-8", "surrogatepass")).hexdigest()


def begin(ledger: Ledger, session: Session, origin: str, guest: Guest, hours: float) -> str:
    """A new session; its secret, for the browser's cookie. Sessions that have ended are forgotten."""
    now = ledger.clock.now()
    session.execute(ledger.sql("delete from dayfold__sessions where expires_at <= :now::timestamptz", now=now))
    secret = secrets.token_urlsafe(32)
    session.execute(
        ledger.sql(
            "insert into dayfold__sessions (digest, origin, username, kind, scope, created_at, expires_at) values "
            "(:digest, :origin, :name, :kind, :scope, :now::timestamptz, :expires::timestamptz)",
            digest=digest(secret), origin=origin, name=guest.name, kind=guest.kind,
            scope=json.dumps(guest.scope.as_object()), now=now, expires=now + dt.timedelta(hours=hours),
        )
    )  # fmt: skip
    return secret


def end(ledger: Ledger, session: Session, secret_digest: str) -> None:
    """The session lets nobody in any more; again is harmless."""
    session.execute(ledger.sql("delete from dayfold__sessions where digest = :digest", digest=secret_digest))


def make_link(ledger: Ledger, session: Session) -> str:
    """The code of a link that opens one session of an administrator, within `LINK_MINUTES`."""
    now = ledger.clock.now()
    session.execute(ledger.sql("delete from dayfold__links where expires_at <= :now::timestamptz", now=now))
    code = secrets.token_urlsafe(32)
    session.execute(
        ledger.sql(
            "insert into dayfold__links (digest, expires_at) values (:digest, :expires::timestamptz)",
            digest=digest(code), expires=now + dt.timedelta(minutes=LINK_MINUTES),
        )
    )  # fmt: skip
    return code


def is_link(ledger: Ledger, session: Session, code: str) -> bool:
    """Whether there is such a link; a look, so that made-up codes cost no writing."""
    return bool(session.rows(ledger.sql("select 1 from dayfold__links where digest = :digest", digest=digest(code))))


def use_link(ledger: Ledger, session: Session, code: str) -> bool:
    """Whether the link was good, and this use its only one."""
    query = "delete from dayfold__links where digest = :digest and expires_at > :now::timestamptz returning 1"
    return bool(session.rows(ledger.sql(query, digest=digest(code), now=ledger.clock.now())))
