"""What programs send on the busiest paths: whose key it is, the body, and what is answered. HTTP door.

These requests are answered before the framework looks at them, through the same doorkeeper's words.

Invariant: what a request holds is in no log and no refusal.
"""

from __future__ import annotations

import base64
import binascii
import time
import zlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Send

from dayfold.errors import DayfoldError, Forbidden, Unauthenticated
from dayfold.http import problems
from dayfold.http.glance import Glance
from dayfold.ledger import tokens
from dayfold.ledger.tokens import Bearer
from dayfold.memo import Memo

#: Bytes of a body as it is sent, and as it is where it was packed.
LARGEST_BODY = 1 << 20
LARGEST_UNPACKED = 4 << 20
#: Seconds for which a key is known without asking the ledger again: so long a revoked one may still send.
_KEY_S = 1.0
_TYPES = ("application/json", "text/plain", "application/x-ndjson")
#: The header of an answer in JSON.
JSON = (b"content-type", b"application/json")
Headers = Mapping[bytes, bytes]


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Refusal(Exception):
    """Ends a request with an answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def answer_of(response: Any) -> Answer:
    """A response of the framework as it is sent here."""
    headers = tuple((name, value) for name, value in response.raw_headers if name != b"content-length")
    return Answer(response.status_code, response.body, headers)


def refused(status: HTTPStatus, code: str = "", detail: str = "", hint: str = "", **more: Any) -> Refusal:
    """What ends a request with a problem; without a code in the framework's words."""
    return Refusal(
        answer_of(problems.problem(status, code, detail, hint, **more) if code else problems.of_framework(status))
    )


async def reply(
    take: Awaitable[Answer], send: Send, more: tuple[tuple[bytes, bytes], ...], failed: Callable[[], object]
) -> int:
    """Send what a request comes to; with which status, 499 where nobody waited for it.

    Args:
        take: What answers it; whatever it raises becomes an answer too.
        send: Of the request.
        more: Headers of every answer.
        failed: Called where an error was not foreseen.
    """
    try:
        found = await take
    except Refusal as refusal:
        found = refusal.answer
    except DayfoldError as error:
        found = answer_of(problems.of_error(error, is_known=False))
    except ClientDisconnect:
        return 499
    except Exception:
        failed()
        found = answer_of(
            problems.problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "This request could not be answered.")
        )
    length = (b"content-length", str(len(found.body)).encode())
    await send({"type": "http.response.start", "status": found.status, "headers": [*found.headers, *more, length]})
    await send({"type": "http.response.body", "body": found.body})
    return found.status


def only_post() -> Answer:
    """The answer to another method."""
    refusal = refused(HTTPStatus.METHOD_NOT_ALLOWED).answer
    return Answer(refusal.status, refusal.body, (*refusal.headers, (b"allow", b"POST")))


# -- the body --------------------------------------------------------------------------------------


async def body_of(headers: Headers, receive: Receive, what: str) -> bytes:
    """The body of a request, unpacked; ``what``: whatever is sent in it, in the plural."""
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1")
    if kind and kind not in _TYPES:
        raise refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-type", f"{what} are sent as application/json or text/plain."
        )
    packed = headers.get(b"content-encoding", b"").strip().lower()
    if packed not in (b"", b"identity", b"gzip"):
        raise refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-type", "A body is packed with gzip, or not at all.")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) > LARGEST_BODY:
        raise _too_long()
    parts = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > LARGEST_BODY:
            raise _too_long()
        parts.append(part)
        if not message.get("more_body"):
            break
    body = b"".join(parts) if len(parts) > 1 else parts[0]
    return _unpacked(body) if packed == b"gzip" or body[:2] == b"\x1f\x8b" else body


def _unpacked(body: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    try:
        found = reader.decompress(body, LARGEST_UNPACKED)
    except zlib.error:
        raise refused(HTTPStatus.BAD_REQUEST, "request", "The body is not packed with gzip.") from None
    if reader.unconsumed_tail or not reader.eof:
        if len(found) >= LARGEST_UNPACKED:
            raise _too_long()
        raise refused(HTTPStatus.BAD_REQUEST, "request", "The packed body ends before its end.")
    return found


def _too_long() -> Refusal:
    return refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-long", "The body is too long: at most 1 MiB is read, 4 MiB unpacked."
    )


# -- whose key it is -------------------------------------------------------------------------------


def key_of(headers: Headers) -> str | None:
    """The write key of a request's header: a Bearer, or the user of Basic."""
    words = headers.get(b"authorization", b"").split()
    if len(words) != 2:
        return None
    if words[0].lower() == b"bearer":
        return words[1].decode("latin-1")
    if words[0].lower() == b"basic":
        try:
            return base64.b64decode(words[1], validate=True).decode("utf-8").partition(":")[0] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


@dataclass(frozen=True, slots=True)
class _Known:
    """Whom a key lets in, and until when that needs no further look."""

    bearer: Bearer
    until: float


class Keys:
    """Whom keys let in, each known for a second. Used on the event loop only.

    Args:
        glance: What looks at the ledger.
    """

    def __init__(self, glance: Glance) -> None:
        self.glance = glance
        self._known: Memo[str, _Known] = Memo(1_000)

    async def bearer(self, key: str | None, kinds: Collection[str], does: str, ways: str) -> Bearer:
        """Whom a key lets in.

        Args:
            key: As it was sent, if it was.
            kinds: Of which one has to be.
            does: What another kind does not: ``sends no events``.
            ways: The ways to make one that may, as a command.

        Raises:
            Unauthenticated, Forbidden.
        """
        if not key:
            raise Unauthenticated(
                "This needs a write key.",
                hint="Send it as Authorization: Bearer …, as the user of Basic, or in the body; `dayfold token create NAME --kind track` "
                "makes one."
                if "public" in kinds
                else "Send it as Authorization: Bearer …; `dayfold token create NAME --kind track` makes one.",
            )
        digest = tokens.digest(key)
        now = time.monotonic()
        known = self._known.get(digest)
        if known is None or known.until < now:
            bearer = (await self.glance.look(digest)).bearers.get(digest)
            if bearer is None:
                raise Unauthenticated(
                    "The write key is not known, or it has expired or was revoked.", hint=f"Make a new one: {ways}"
                )
            known = _Known(bearer, now + _KEY_S)
            self._known.learn(digest, known)
        if known.bearer.kind not in kinds:
            raise Forbidden(f"A token of the kind '{known.bearer.kind}' {does}.", hint=f"Make a key for it: {ways}")
        return known.bearer
