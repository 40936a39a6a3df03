"""The verbs of access: tokens, users, one-time links and the audit table, as the command line and Python call them. Ledger floor.

Invariant: whatever lets somebody in, or stops doing so, is written in one transaction with its note in the audit table.
"""

from __future__ import annotations

import datetime as dt
import getpass
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from dayfold.days import ONE_DAY
from dayfold.define.catalog import Catalog
from dayfold.engines.base import Session
from dayfold.errors import BadDate, DayfoldError, UsageError
from dayfold.ledger import audit, pages, passwords, sessions, tokens, users
from dayfold.ledger.audit import Note
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.tokens import Limits, Token
from dayfold.ledger.users import User
from dayfold.names import listing, suggestion
from dayfold.plan.access import Scope
from dayfold.plan.grants import grant

Result = TypeVar("Result")
_ORIGIN = re.compile(r"https?://[^/?#\s@]+", re.IGNORECASE)
_NAME = re.compile(r"[\w.@:+ -]{1,100}")


@dataclass(frozen=True, slots=True)
class Made:
    """A token that was just made; its secret is nowhere else."""

    id: str
    secret: str


class Accounts:
    """Who may come in.

    Args:
        ledger: Of the store.
        catalog: The definitions that scopes are checked against.
        actor: Who does what is done here, as the audit table names them.
        check: Refuses a scope whose accesses do not fit the definitions.
    """

    def __init__(self, ledger: Ledger, catalog: Catalog, actor: str, check: Callable[[Scope], None]) -> None:
        self.check = check
        self.ledger = ledger
        self.catalog = catalog
        self.actor = actor

    def create_token(
        self, name: str, kind: str, *, rollups: Sequence[str] = (), rows: Sequence[str] = (), accesses: Sequence[str] = (),
        personal: bool = False, events: bool = False, expires: str | None = None, types: Sequence[str] = (),
        origins: Sequence[str] = (),
    ) -> Made:  # fmt: skip
        """A new token.

        Args:
            name: What it is for; several tokens may have one name.
            kind: ``read``, ``jobs``, ``track``, ``public`` or ``admin``.
            rollups: The rollups that a ``read`` token sees; all by default.
            rows: For a ``read`` token ``"key=value,value"``; ``"key="`` for NULL, ``"key:none"`` for no row.
            accesses: For a ``read`` token ``"NAME:parameter=value,…"``: what an `Access` of the definitions lets through.
            personal: A ``read`` token is shown personal data of raw events.
            events: A ``read`` token may export raw events, and sees them where its rollups are limited.
            expires: ``90d``, or the last day that it is good on, as ``YYYY-MM-DD`` (UTC); never by default.
            types: The types of events that a ``public`` key may send. Default: page_viewed and asset_viewed.
            origins: The origins of the pages that a ``public`` key is used by, such as ``https://shop.example``. Default: any.

        Raises:
            UsageError, UnknownName, BadDate: for words that do not fit.
        """
        _check_name("token", name)
        _check_kind(kind, tokens.KINDS)
        limits = _limits(kind, types, origins)
        scope = self._granted(kind, rollups, rows, accesses, personal=personal, events=events)
        until = expiry(expires, self.ledger.clock.now()) if expires is not None else None

        def make(session: Session) -> Made:
            token_id, secret = tokens.create(self.ledger, session, name, kind, scope, until, self.actor, limits)
            self._note(session, "token-create", f"{name} ({token_id})")
            return Made(token_id, secret)

        return self._write(make)

    def tokens(self) -> list[Token]:
        """All tokens, the newest first; revoked and expired ones too."""
        return self._read(lambda session: tokens.listed(self.ledger, session))

    def revoke_token(self, word: str) -> list[Token]:
        """A token by its id, or all of a name, let nobody in any more; again is harmless. Raises UnknownName."""

        def revoke(session: Session) -> list[Token]:
            found = tokens.revoke(self.ledger, session, word)
            for one in found:
                self._note(session, "token-revoke", f"{one.name} ({one.id})")
            return found

        return self._write(revoke)

    def add_user(
        self, name: str, password: str, kind: str = "admin", *, rollups: Sequence[str] = (), rows: Sequence[str] = (),
        accesses: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """A person may sign in, with the rights of a kind and the scope that a token would have.

        Raises:
            UsageError, UnknownName: for words that do not fit, a name that is taken, a password that is too short.
        """
        _check_name("user", name)
        _check_kind(kind, users.KINDS)
        _check_password(password)
        scope = self._granted(kind, rollups, rows, accesses)
        kept = passwords.hashed(password)

        def add(session: Session) -> None:
            users.add(self.ledger, session, name, kept, kind, scope)
            self._note(session, "user-add", name)

        self._write(add)

    def _granted(
        self, kind: str, rollups: Sequence[str], rows: Sequence[str], accesses: Sequence[str], *, personal: bool = False,
        events: bool = False,
    ) -> Scope:  # fmt: skip
        scope = grant(self.catalog, kind, rollups, rows, accesses, personal=personal, events=events)
        self.check(scope)
        return scope

    def users(self) -> list[User]:
        """All users, by name."""
        return self._read(lambda session: users.listed(self.ledger, session))

    def set_password(self, name: str, password: str) -> None:
        """A user has another password, and signs in anew everywhere. Raises UnknownName, UsageError."""
        _check_password(password)
        kept = passwords.hashed(password)

        def change(session: Session) -> None:
            users.set_password(self.ledger, session, name, kept)
            self._note(session, "user-password", name)

        self._write(change)

    def remove_user(self, name: str) -> None:
        """A user is gone, and signed out everywhere; their pages are nobody's. Raises UnknownName."""

        def remove(session: Session) -> None:
            users.remove(self.ledger, session, name)
            pages.disown(self.ledger, session, f"user {name}")
            self._note(session, "user-remove", name)

        self._write(remove)

    def make_link(self) -> str:
        """The code of a link that signs an administrator in, once, within 15 minutes."""

        def make(session: Session) -> str:
            self._note(session, "link-create", None)
            return sessions.make_link(self.ledger, session)

        return self._write(make)

    def is_anybody_known(self) -> bool:
        """Whether somebody could come in with a token that is good, or a password."""
        now = self.ledger.clock.now()
        good = [one for one in self.tokens() if state_of(one, now) == "valid"]
        return bool(good or self.users())

    def notes(self, limit: int = 100, before: int | None = None) -> list[Note]:
        """The audit table, the newest note first; those older than the note ``before``."""
        return self._read(lambda session: audit.listed(self.ledger, session, limit, before))

    def note(self, actor: str, action: str, target: str | None, outcome: str) -> None:
        """Something that was done stands in the audit table."""
        self._write(lambda session: audit.note(self.ledger, session, actor, action, target, outcome))

    @contextmanager
    def noted(self, action: str, target: str) -> Iterator[None]:
        """What is done in this context stands in the audit table, with how it ended."""
        outcome = audit.FAILED
        try:
            yield
            outcome = audit.OK
        except DayfoldError as error:
            outcome = audit.REFUSED if error.exit_status == UsageError.exit_status else audit.FAILED
            raise
        finally:
            if self.ledger.exists():
                self.note(self.actor, action, target, outcome)

    def _note(self, session: Session, action: str, target: str | None) -> None:
        audit.note(self.ledger, session, self.actor, action, target, audit.OK)

    def _read(self, work: Callable[[Session], Result]) -> Result:
        self.ledger.ready()
        with self.ledger.store.transaction(read_only=True) as session:
            return work(session)

    def _write(self, work: Callable[[Session], Result]) -> Result:
        def once() -> Result:
            with self.ledger.store.transaction() as session:
                return work(session)

        self.ledger.ready()
        return self.ledger.retried(once)


def local_actor() -> str:
    """Who runs a command on this machine, as the audit table names them."""
    try:
        return f"command of {getpass.getuser()}"
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return "command"


def state_of(token: Token, now: dt.datetime) -> str:
    """``valid``, ``expired`` or ``revoked``."""
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at is not None and dt.datetime.fromisoformat(token.expires_at) <= now:
        return "expired"
    return "valid"


def expiry(word: str, now: dt.datetime) -> dt.datetime:
    """The moment from which a token lets nobody in: so many days from now, or the end of its last day.

    Raises:
        BadDate: for anything else, and for a day that is over.

    >>> now = dt.datetime(2026, 1, 10, 12, tzinfo=dt.UTC)
    >>> str(expiry("90d", now)), str(expiry("2026-12-31", now))
    ('2026-04-10 12:00:00+00:00', '2027-01-01 00:00:00+00:00')
    """
    try:
        if days := re.fullmatch(r"([1-9]\d{0,4})d", word):
            return now + dt.timedelta(days=int(days[1]))
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", word):
            end = dt.datetime.combine(dt.date.fromisoformat(word) + ONE_DAY, dt.time(), dt.UTC)
            if end <= now:
                raise BadDate(f"--expires names a day that is over: {word}.", hint="Name today or a later day (UTC).")
            return end
    except (ValueError, OverflowError):
        pass
    raise BadDate(f"{word!r} is no time to expire.", hint="Expected a number of days such as 90d, or a day YYYY-MM-DD.")


def _limits(kind: str, types: Sequence[str], origins: Sequence[str]) -> Limits:
    """What a public key may send, and from where. Raises UsageError."""
    if (types or origins) and kind != "public":
        raise UsageError(
            f"Only the kind 'public' has types and origins, got '{kind}'.",
            hint="Leave them out, or make a key for pages: --kind public",
        )
    for one in origins:
        if not _ORIGIN.fullmatch(one):
            raise UsageError(
                "An origin is a scheme and a host, without a path.",
                hint="Such as https://shop.example or http://localhost:3000",
            )
    return Limits(
        tuple(dict.fromkeys(types)) if types else None,
        tuple(dict.fromkeys(one.lower() for one in origins)) if origins else None,
    )


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name) or name != name.strip():
        raise UsageError(
            f"This is no name of a {what}.", hint="Expected 1 to 100 letters, digits, spaces and any of . _ - @ : +"
        )


def _check_kind(kind: str, known: Sequence[str]) -> None:
    if kind not in known:
        raise UsageError(f"There is no kind '{kind}'{suggestion(kind, known)}.", hint=f"Kinds: {listing(known)}")


def _check_password(password: str) -> None:
    if not passwords.SHORTEST <= len(password) <= passwords.LONGEST:
        raise UsageError(
            f"A password has {passwords.SHORTEST} to {passwords.LONGEST:,} letters, got {len(password):,}.",
            hint="Take a longer one, such as four words.",
        )
