"""Opens and ends the sessions of browsers. HTTP door, over the synchronous core.

Invariant: a session, the note of it in the audit table and the end of what it was opened with are one transaction. A wrong
password and an unknown name cost the same time and are told in the same words.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dayfold.app import Dayfold
from dayfold.engines.base import Session
from dayfold.errors import Unauthenticated
from dayfold.ledger import audit, passwords, sessions, tries, users
from dayfold.ledger.sessions import Guest
from dayfold.plan.access import EVERYTHING

Result = TypeVar("Result")
SIGN_IN, SIGN_OUT = "sign-in", "sign-out"
#: Who comes by a one-time link.
_FIRST = Guest("first-start", "admin", EVERYTHING)


class Gate:
    """Lets people in, and out."""

    def __init__(self, app: Dayfold) -> None:
        self.ledger = app.ledger
        self.hours = app.settings.auth.session_hours
        # Two: hashing passwords takes a third of a second each, and questions are to go on meanwhile.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="dayfold-sign-in")
        app.before_closing(self.close)

    async def work(self, do: Callable[..., Result], *args: object) -> Result:
        """One of the verbs below, done in a thread of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(do, *args))

    def close(self) -> None:
        """Let the threads end what they do."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def by_password(self, name: str, password: str, address: str) -> str:
        """The secret of a new session of a local user.

        Raises:
            TooMany: before the password is looked at; Unauthenticated.
        """
        of_user, of_address = tries.subject("user", name), tries.subject("address", address)
        since = tries.count(self.ledger, {of_user: tries.USER_TRIES, of_address: tries.ADDRESS_TRIES})
        with self.ledger.store.transaction(read_only=True) as session:
            user, kept = users.found(self.ledger, session, name)
        is_right = passwords.fits(password[: passwords.LONGEST], kept) and len(password) <= passwords.LONGEST

        def begin(session: Session) -> str | None:
            if user is None or kept is None or not is_right or not users.hold(self.ledger, session, name, kept):
                # A name that is not known may be a password in the wrong field.
                self._note(session, f"user {user.name}" if user else "nobody", SIGN_IN, audit.REFUSED)
                return None
            tries.forgive(self.ledger, session, of_user, since - tries.WINDOW)
            tries.forgive(self.ledger, session, of_address, since)
            return self._begin(session, sessions.PASSWORD, Guest(user.name, user.kind, user.scope))

        secret = self._write(begin)
        if secret is None:
            raise Unauthenticated(
                "The name or the password is not right.",
                hint=f"After {tries.USER_TRIES} tries a name has to wait for {tries.WINDOW.seconds // 60} minutes.",
            )
        return secret

    def by_link(self, code: str) -> str:
        """The secret of a new session of an administrator, by a link that is used up. Raises Unauthenticated."""
        with self.ledger.store.transaction(read_only=True) as session:
            is_good = sessions.is_link(self.ledger, session, code)

        def begin(session: Session) -> str | None:
            if sessions.use_link(self.ledger, session, code):
                return self._begin(session, sessions.LINK, _FIRST)
            return None

        secret = self._write(begin) if is_good else None
        if secret is None:
            raise Unauthenticated(
                "This link was used before, or is older than 15 minutes.",
                hint="Start `dayfold serve` again for a new one, or make a user: dayfold user add NAME",
            )
        return secret

    def by_oidc(self, guest: Guest) -> str:
        """The secret of a new session of somebody whom the provider named."""
        return self._write(lambda session: self._begin(session, sessions.OIDC, guest))

    def refuse(self) -> None:
        """Somebody whom the provider did not let in, or who has no rights here, is noted."""
        self._write(lambda session: self._note(session, "nobody", SIGN_IN, audit.REFUSED))

    def end(self, secret: str, name: str) -> None:
        """The session lets nobody in any more."""

        def end(session: Session) -> None:
            sessions.end(self.ledger, session, sessions.digest(secret))
            self._note(session, name, SIGN_OUT, audit.OK)

        self._write(end)

    def _begin(self, session: Session, origin: str, guest: Guest) -> str:
        self._note(session, f"user {guest.name}", SIGN_IN, audit.OK, origin)
        return sessions.begin(self.ledger, session, origin, guest, self.hours)

    def _note(self, session: Session, actor: str, action: str, outcome: str, target: str | None = None) -> None:
        audit.note(self.ledger, session, actor, action, target, outcome)

    def _write(self, work: Callable[[Session], Result]) -> Result:
        def once() -> Result:
            with self.ledger.store.transaction() as session:
                return work(session)

        return self.ledger.retried(once)
