"""People who sign in with a password of ours. Ledger floor.

A password is kept as its hash (`dayfold.ledger.passwords`). Sessions of a user that was removed, or whose password was
changed, let nobody in any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from dayfold.engines.base import Session
from dayfold.errors import UnknownName, UsageError
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, suggestion
from dayfold.plan.access import Scope
from dayfold.plan.sql import column

KINDS = ("admin", "read", "jobs")


@dataclass(frozen=True, slots=True)
class User:
    """A person as the ledger has them, without the password. Moments are ISO text in UTC."""

    name: str
    kind: str
    scope: Scope
    created_at: str
    changed_at: str


def add(ledger: Ledger, session: Session, name: str, kept: str, kind: str, scope: Scope) -> None:
    """A person may sign in, with the password whose hash is kept. Raises UsageError where the name is taken."""
    if any(one.name == name for one in listed(ledger, session)):
        raise UsageError(
            f"There is a user '{name}' already.",
            hint=f"Change the password: dayfold user password {name}; or remove the user first.",
        )
    session.execute(
        ledger.sql(
            "insert into dayfold__users (name, password, kind, scope, created_at, changed_at) values "
            "(:name, :password, :kind, :scope, :now::timestamptz, :now::timestamptz)",
            name=name, password=kept, kind=kind, scope=json.dumps(scope.as_object()),
            now=ledger.clock.now(),
        )
    )  # fmt: skip


def listed(ledger: Ledger, session: Session) -> list[User]:
    """All users, by name."""
    moment = ledger.home.dialect.piece
    query = ledger.sql(
        "select name, kind, scope, _created, _changed from dayfold__users order by name",
        _created=moment("iso_moment", _x=column("created_at")), _changed=moment("iso_moment", _x=column("changed_at")),
    )  # fmt: skip
    return [
        User(name, kind, Scope.from_object(json.loads(scope)), *moments)
        for name, kind, scope, *moments in session.rows(query)
    ]


def found(ledger: Ledger, session: Session, name: str) -> tuple[User | None, str | None]:
    """The user of a name and what is kept of the password; nothing of both where there is none."""
    user = next((one for one in listed(ledger, session) if one.name == name), None)
    kept = session.rows(ledger.sql("select password from dayfold__users where name = :name", name=name))
    return (user, kept[0][0]) if user and kept else (None, None)


def hold(ledger: Ledger, session: Session, name: str, kept: str) -> bool:
    """Whether the user still has this password; from here on nobody changes it before the transaction's end."""
    touch = "update dayfold__users set kind = kind where name = :name and password = :kept returning 1"
    return bool(session.rows(ledger.sql(touch, name=name, kept=kept)))


def set_password(ledger: Ledger, session: Session, name: str, kept: str) -> None:
    """The user has another password, and signs in anew everywhere. Raises UnknownName."""
    _check(ledger, session, name)
    # On DuckDB a row that is replaced, as `hold` does, is met by none but another replacement.
    session.rows(
        ledger.sql(
            "update dayfold__users set password = :password, changed_at = :now::timestamptz where name = :name returning 1",
            name=name, password=kept, now=ledger.clock.now(),
        )
    )  # fmt: skip
    _sign_out(ledger, session, name)


def remove(ledger: Ledger, session: Session, name: str) -> None:
    """The user is gone, and their sessions are. Raises UnknownName."""
    _check(ledger, session, name)
    session.execute(ledger.sql("delete from dayfold__users where name = :name", name=name))
    _sign_out(ledger, session, name)


def _sign_out(ledger: Ledger, session: Session, name: str) -> None:
    session.execute(
        ledger.sql("delete from dayfold__sessions where username = :name and origin = 'password'", name=name)
    )


def _check(ledger: Ledger, session: Session, name: str) -> None:
    known = [one.name for one in listed(ledger, session)]
    if name not in known:
        raise UnknownName(f"There is no user '{name}'{suggestion(name, known)}.", hint=f"Users: {listing(known)}")
