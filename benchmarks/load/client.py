"""An HTTP client that costs little, so that what is measured is the server: one connection, one request at a time."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

Result = TypeVar("Result")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """A deployment, and who asks."""

    url: str
    token: str
    _heads: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def place(self) -> tuple[str, int, bool]:
        """Host, port and whether it is spoken to with TLS."""
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        return parts.hostname or "127.0.0.1", parts.port or (443 if secure else 80), secure

    def request(self, path: str, etag: str = "", body: bytes | None = None) -> bytes:
        """The bytes of a request: GET, or POST where there is a body."""
        if body is None and (known := self._heads.get(path + etag)):
            return known
        host = urlsplit(self.url).netloc
        verb = "GET" if body is None else "POST"
        lines = [f"{verb} {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {self.token}"]
        if etag:
            lines.append(f"If-None-Match: {etag}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        made = "\r\n".join([*lines, "", ""]).encode() + (body or b"")
        if body is None:
            self._heads[path + etag] = made
        return made


@dataclass(slots=True)
class Answer:
    """What came back; ``head``: its first line and headers, as they were sent."""

    status: int
    head: bytes
    body: bytes
    seconds: float

    def header(self, name: str) -> str | None:
        """A header, by its name in small letters."""
        found = re.search(rb"\r\n" + name.encode() + rb": ([^\r]*)", self.head, re.IGNORECASE)
        return found[1].decode("latin-1") if found else None


class Connection(asyncio.Protocol):
    """A connection that stays open; `get` is called again when the answer is there."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._whole: int | None = None
        self._answered: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Connect."""
        host, port, secure = self.target.place
        context = ssl.create_default_context() if secure else None
        await asyncio.get_running_loop().create_connection(lambda: self, host, port, ssl=context)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It was closed; whoever waits learns so."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionResetError("The server hung up."))

    def data_received(self, data: bytes) -> None:
        """A part of an answer came."""
        self._data += data
        if self._whole is None:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            found = _LENGTH.search(self._data, 0, end)
            self._whole = end + 4 + int(found[1]) if found else (end + 4 if b"chunked" not in self._data[:end] else 0)
        ended = len(self._data) >= self._whole if self._whole else self._data.endswith(b"\r\n0\r\n\r\n")
        if ended and self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    async def get(self, path: str, etag: str = "") -> Answer:
        """One answer, timed from sending the request to the last byte of the answer."""
        return await self._ask(self.target.request(path, etag))

    async def post(self, path: str, body: bytes) -> Answer:
        """The answer to a body."""
        return await self._ask(self.target.request(path, body=body))

    async def _ask(self, request: bytes) -> Answer:
        assert self._transport is not None
        self._data.clear()
        self._whole = None
        self._answered = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._transport.write(request)
        await self._answered
        seconds = time.perf_counter() - began
        head, _, body = bytes(self._data).partition(b"\r\n\r\n")
        return Answer(int(head[9:12]), head, body, seconds)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run something on the quickest loop there is, so that the client is not what is measured."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
