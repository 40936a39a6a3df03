"""The line to the collector: one request for a batch, and what its answer means. Of the client, standard library only.

Weakness: a server that sends its answer byte by byte is waited for; environment variables for proxies are not looked at.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

PATH = "/v1/events"
#: From so many bytes on a body is packed.
PACKED_FROM = 1024
#: Servers close a connection that is idle for longer, often after 5 s.
_IDLE_S = 4.0
_MOST_ANSWER = 4 << 20
#: The longest wait that a server may ask for.
MOST_WAIT_S = 3600.0


class Verdict(Enum):
    """What becomes of a batch: it is done, sent again, given up, or sent in parts."""

    DONE = auto()
    AGAIN = auto()
    REFUSED = auto()
    SPLIT = auto()


class Said(NamedTuple):
    """What came of a request.

    Attributes:
        reason: A status or the class of an error; nothing that was sent.
        wait_s: How long the server wants to be left alone.
        answer: The body of a 200.
    """

    verdict: Verdict
    reason: str
    wait_s: float | None = None
    answer: Mapping[str, Any] = MappingProxyType({})


class Line:
    """A connection to a collector, made when it is needed.

    Raises:
        ValueError: for an address that is none of http or https, or a key that cannot stand in a header.
    """

    def __init__(self, url: object, key: object, timeout_s: float) -> None:
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url: expected the address of a collector, such as https://events.example.com.")
        if not isinstance(key, str) or not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("key: expected a write key: ASCII letters without a space.")
        self._tls, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path = f"{parts.path.rstrip('/')}{PATH}"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._timeout_s = timeout_s
        self._connection: HTTPConnection | None = None
        self._used = 0.0

    def post(self, events: Sequence[bytes]) -> Said:
        """Send a batch and judge the answer. Whatever goes wrong, it says so."""
        sent_at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        body = b'{"sent_at":"%s","events":[%s]}' % (sent_at.encode(), b",".join(events))
        headers = dict(self._headers)
        if len(body) > PACKED_FROM:
            import gzip

            body = gzip.compress(body, compresslevel=5, mtime=0)
            headers["Content-Encoding"] = "gzip"
        try:
            response = self._asked(body, headers)
            content = response.read(_MOST_ANSWER)
            if response.length and len(content) < _MOST_ANSWER:
                raise ConnectionError("the answer ends before its end")
            if response.will_close or not response.isclosed():
                self.close()
            self._used = time.monotonic()
            return judged(response.status, content, response.headers.get("Retry-After"))
        except Exception as error:
            self.close()
            return Said(Verdict.AGAIN, type(error).__name__)

    def _asked(self, body: bytes, headers: dict[str, str]) -> HTTPResponse:
        """The beginning of the answer; a connection that the server closed meanwhile is made anew."""
        from http.client import HTTPException

        if self._connection is not None and time.monotonic() - self._used < _IDLE_S:
            try:
                return self._over(self._connection, body, headers)
            except TimeoutError:
                raise
            except (OSError, HTTPException):
                pass
        self.close()
        self._connection = self._connected()
        return self._over(self._connection, body, headers)

    def _over(self, connection: HTTPConnection, body: bytes, headers: dict[str, str]) -> HTTPResponse:
        try:
            connection.request("POST", self._path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a body may answer, and hang up, before it has read it all.
            if connection.sock is None:
                raise
        return connection.getresponse()

    def _connected(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if self._tls else HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout_s)

    def close(self) -> None:
        """No connection is open; again is harmless."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


def judged(status: int, content: bytes, retry_after: str | None = None) -> Said:
    """What an answer means for the batch.

    >>> judged(429, b"", "7")
    Said(verdict=<Verdict.AGAIN: 2>, reason='status 429', wait_s=7.0, answer=mappingproxy({}))
    >>> judged(200, b"<html>welcome to the hotel</html>").reason
    'an answer that is none of a collector'
    """
    reason = f"status {status}"
    if status == 200:
        with contextlib.suppress(ValueError):
            answer = json.loads(content)
            if isinstance(answer, dict) and isinstance(answer.get("accepted"), int):
                return Said(Verdict.DONE, reason, answer=answer)
        return Said(Verdict.AGAIN, "an answer that is none of a collector")
    if status == 413:
        return Said(Verdict.SPLIT, reason)
    # A proxy that waited too long says 408: the batch may not have arrived.
    if 400 <= status < 500 and status not in (408, 429):
        return Said(Verdict.REFUSED, reason)
    return Said(Verdict.AGAIN, reason, _seconds(retry_after))


def _seconds(retry_after: str | None) -> float | None:
    """The wait that a Retry-After asks for: seconds, or until a date."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), MOST_WAIT_S) if seconds == seconds else None
