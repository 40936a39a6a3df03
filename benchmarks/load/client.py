"""An HTTP client that costs little, so that what is measured is the server: one connection, one request at a time."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Target:
    """A deployment, and who asks."""

    url: str
    token: str

    @property
    def place(self) -> tuple[str, int, bool]:
        """Host, port and whether it is spoken to with TLS."""
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        return parts.hostname or "127.0.0.1", parts.port or (443 if secure else 80), secure

    def request(self, path: str, etag: str = "", body: bytes | None = None) -> bytes:
        """The bytes of a request: GET, or POST where there is a body."""
        host = urlsplit(self.url).netloc
        verb = "GET" if body is None else "POST"
        lines = [f"{verb} {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {self.token}"]
        if etag:
            lines.append(f"If-None-Match: {etag}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


@dataclass
class Connection:
    """A connection that stays open; `get` is called again when the answer is there."""

    target: Target
    reader: asyncio.StreamReader | None = field(default=None)
    writer: asyncio.StreamWriter | None = field(default=None)

    async def open(self) -> None:
        """Connect."""
        host, port, secure = self.target.place
        context = ssl.create_default_context() if secure else None
        self.reader, self.writer = await asyncio.open_connection(host, port, ssl=context)

    async def get(self, path: str, etag: str = "") -> Answer:
        """One answer, timed from sending the request to the last byte of the answer."""
        return await self._ask(self.target.request(path, etag))

    async def post(self, path: str, body: bytes) -> Answer:
        """The answer to a body."""
        return await self._ask(self.target.request(path, body=body))

    async def _ask(self, request: bytes) -> Answer:
        assert self.reader is not None
        assert self.writer is not None
        began = time.perf_counter()
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await self._body(headers, int(first.split(" ", 2)[1]))
        return Answer(int(first.split(" ", 2)[1]), headers, body, time.perf_counter() - began)

    async def _body(self, headers: dict[str, str], status: int) -> bytes:
        assert self.reader is not None
        if status == 304 or headers.get("content-length") == "0":
            return b""
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        parts = []
        while size := int(await self.reader.readline(), 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return b"".join(parts)

    def close(self) -> None:
        """Hang up."""
        if self.writer is not None:
            self.writer.close()
