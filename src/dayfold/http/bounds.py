"""Refuses what is too long or cannot be read, before anything else looks at a request. HTTP door.

Invariant: no more of a body than `LARGEST_BYTES` is ever held; what was sent as bytes that are no text is not guessed at.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dayfold.errors import UsageError
from dayfold.http import problems

#: No body that any route takes is longer.
LARGEST_BYTES = 1 << 20


class Bounded:
    """Answers 413 to a body that is too long, and 400 to an address that is not UTF-8."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if not is_text(scope.get("query_string", b"")) or not is_text(scope.get("raw_path") or b""):
            error = UsageError("The address is not UTF-8.", hint="Send each value as UTF-8 with %-escapes.")
            await problems.of_error(error)(scope, receive, send)
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if length.isdigit() and int(length[:20]) > LARGEST_BYTES:
            await problems.of_framework(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > LARGEST_BYTES:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        await self.app(scope, counted, send)


def is_text(escaped: bytes) -> bool:
    """Whether bytes with %-escapes are UTF-8.

    >>> is_text(b"where=city%3DZ%C3%BCrich"), is_text(b"where=city%3DZ%FCrich"), is_text("ü".encode("latin-1"))
    (True, False, False)
    """
    try:
        unquote_to_bytes(escaped).decode()
    except UnicodeDecodeError:
        return False
    return True
