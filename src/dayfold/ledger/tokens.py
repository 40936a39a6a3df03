"""Access tokens: hashed at rest, shown once. Ledger floor.

A token is ``dfk_`` and 43 letters of 256 random bits. Its SHA-256 is kept: bits enough that nothing slower is needed, and
a stolen table lets nobody in.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
from dataclasses import dataclass

from dayfold.engines.base import Session
from dayfold.errors import UnknownName
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, suggestion
from dayfold.plan.access import Scope
from dayfold.plan.sql import column

PREFIX = "dfk_"
KINDS = ("read", "jobs", "track", "public", "admin")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a public write key may send, and from where.

    Attributes:
        types: The types of events; None: those that a page may send without being told otherwise.
        origins: The origins of pages, such as ``https://shop.example``; None: any.

    >>> Limits.read(Limits(("page_viewed",), None).written())
    Limits(types=('page_viewed',), origins=None)
    """

    types: tuple[str, ...] | None = None
    origins: tuple[str, ...] | None = None

    def written(self) -> str:
        """The limits as text."""
        return json.dumps({"types": self.types, "origins": self.origins})

    @classmethod
    def read(cls, text: str | None) -> Limits:
        """The limits of a text that was written before; none where there is no text."""
        words = json.loads(text) if text else {}
        types, origins = words.get("types"), words.get("origins")
        return cls(None if types is None else tuple(types), None if origins is None else tuple(origins))


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the ledger has it: all but the secret. Moments are ISO text in UTC."""

    id: str
    name: str
    kind: str
    scope: Scope
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a valid token lets in."""

    id: str
    name: str
    kind: str
    scope: Scope
    limits: Limits = Limits()


def digest(secret: str) -> str:
    """What is kept of a secret.

    >>> len(digest("dfk_x"))
    64
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def create(
    ledger: Ledger,
    session: Session,
    name: str,
    kind: str,
    scope: Scope,
    expires_at: dt.datetime | None,
    created_by: str,
    limits: Limits = Limits(),
) -> tuple[str, str]:
    """A new token: its id, and the secret that is shown this once."""
    secret = PREFIX + secrets.token_urlsafe(32)
    token_id = secrets.token_hex(4)
    session.execute(
        ledger.sql(
            "insert into dayfold__tokens (id, name, digest, kind, scope, created_at, created_by, expires_at, limits) values "
            "(:id, :name, :digest, :kind, :scope, :now::timestamptz, :by, :expires::timestamptz, :limits::text)",
            id=token_id, name=name, digest=digest(secret), kind=kind, scope=json.dumps(scope.as_object()),
            now=ledger.clock.now(), by=created_by, expires=expires_at,
            limits=limits.written() if limits != Limits() else None,
        )
    )  # fmt: skip
    return token_id, secret


def listed(ledger: Ledger, session: Session) -> list[Token]:
    """All tokens, the newest first; revoked and expired ones too."""
    moment = ledger.home.dialect.piece
    query = ledger.sql(
        "select id, name, kind, scope, limits, _created, created_by, _expires, _revoked from dayfold__tokens "
        "order by created_at desc, id",
        _created=moment("iso_moment", _x=column("created_at")), _expires=moment("iso_moment", _x=column("expires_at")),
        _revoked=moment("iso_moment", _x=column("revoked_at")),
    )  # fmt: skip
    return [
        Token(token_id, name, kind, Scope.from_object(json.loads(scope)), made, by, ends, ended, Limits.read(limits))
        for token_id, name, kind, scope, limits, made, by, ends, ended in session.rows(query)
    ]


def revoke(ledger: Ledger, session: Session, word: str) -> list[Token]:
    """A token, by its id, or all of a name, let nobody in any more; again is harmless. Raises UnknownName."""
    known = listed(ledger, session)
    mine = [one for one in known if word in (one.id, one.name)]
    if not mine:
        names = list(dict.fromkeys(one.name for one in known))
        raise UnknownName(f"There is no token '{word}'{suggestion(word, names)}.", hint=f"Tokens: {listing(names)}")
    for one in mine:
        session.execute(
            ledger.sql(
                "update dayfold__tokens set revoked_at = :now::timestamptz where id = :id and revoked_at is null",
                now=ledger.clock.now(), id=one.id,
            )
        )  # fmt: skip
    return mine
