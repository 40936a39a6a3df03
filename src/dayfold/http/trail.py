"""What the audit table learns of requests. HTTP door.

A change is noted before its answer leaves, by the one middleware here. The use of a token is noted once for each day and
kind of path (``/v1/rollups``), aside and without making the request wait: a note for each read would be a write for each read.

Weakness: notes that the store refuses, also of changes that were made, are only in the log; a process that is killed loses those of
its last moment.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from concurrent.futures import ThreadPoolExecutor

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dayfold.app import Dayfold
from dayfold.clock import UTC, today
from dayfold.errors import DayfoldError
from dayfold.http.rights import Caller
from dayfold.ledger import audit

USE = "token-use"
_log = logging.getLogger("dayfold.http")


class Trail:
    """Writes notes of requests into the audit table of one application."""

    def __init__(self, app: Dayfold) -> None:
        self.app = app
        # One thread: notes come one after the other, and never in the way of a question.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="dayfold-audit")
        self._known: set[tuple[str, str, str, str]] = set()
        self._day: dt.date | None = None
        self._closed = False
        app.before_closing(self.close)

    def once(self, actor: str, action: str, target: str, outcome: str) -> None:
        """This is noted today, once; the caller does not wait for it."""
        day = today(self.app.clock)
        if day != self._day:
            self._day, self._known = day, set()
        what = (actor, action, target, outcome)
        if what in self._known or self._closed:
            return
        self._known.add(what)
        self._threads.submit(self._write_once, day, *what)

    async def note(self, actor: str, action: str, target: str, outcome: str) -> None:
        """This is noted, and in the table when the call returns."""
        if not self._closed:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._write, actor, action, target, outcome)

    def close(self) -> None:
        """Everything is written; again is harmless."""
        self._closed = True
        self._threads.shutdown(wait=True)

    def _write_once(self, day: dt.date, actor: str, action: str, target: str, outcome: str) -> None:
        """Unless another process did so today."""
        ledger = self.app.ledger
        start = dt.datetime.combine(day, dt.time(), UTC)
        try:
            with ledger.store.transaction(read_only=True) as session:
                if audit.noted_since(ledger, session, start, actor, action, target, outcome):
                    return
        except DayfoldError as error:
            _unwritten(action, error)
            return
        self._write(actor, action, target, outcome)

    def _write(self, actor: str, action: str, target: str, outcome: str) -> None:
        try:
            self.app.accounts.note(actor, action, target, outcome)
        except DayfoldError as error:
            _unwritten(action, error)


def _unwritten(action: str, error: DayfoldError) -> None:
    _log.error(
        "The audit table could not be written: %s", error.message, extra={"action": "audit-failed", "what": action}
    )


def family(path: str) -> str:
    """The kind of a path: its first two parts, which hold no name of anything.

    >>> family("/v1/rollups/Sales/query"), family("/metrics")
    ('/v1/rollups', '/metrics')
    """
    return "/".join(path.split("/")[:3])


class Noting:
    """Notes every request that was let in to a route with an audited action, and how it ended."""

    def __init__(self, app: ASGIApp, trail: Trail) -> None:
        self.app = app
        self.trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through; its note is in the table before its answer leaves."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        noted = False

        async def write(outcome: str) -> None:
            nonlocal noted
            action, caller = state.get("audit_action"), state.get("caller")
            if not noted and action is not None and isinstance(caller, Caller):
                noted = True
                await self.trail.note(caller.name, action, state.get("audit_target") or scope["path"], outcome)

        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                await write(outcome_of(message["status"]))
            await send(message)

        try:
            await self.app(scope, receive, noting_send)
        except BaseException:
            await write(audit.FAILED)
            raise


def outcome_of(status: int) -> str:
    """How a request with this status ended.

    >>> outcome_of(202), outcome_of(409), outcome_of(503)
    ('ok', 'refused', 'failed')
    """
    if status < 400:
        return audit.OK
    return audit.REFUSED if status < 500 else audit.FAILED
