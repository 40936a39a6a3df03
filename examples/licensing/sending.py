"""Sends events to a collector: again where it has to be, with the same ids, so that each is kept once. Standard library only.

collector = Collector("http://localhost:8787")
collector.send("WRITE_KEY", [{"id": "order-17", "event_type": "license_created", "properties": {"revenue_cents": 500}}])
"""

from __future__ import annotations

import gzip
import http.client
import json
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

#: Tries of one request, and the longest wait between two.
ATTEMPTS, LONGEST_WAIT_S = 8, 10.0
TIMEOUT_S = 60
#: A shorter body is not worth packing.
PACKED_FROM = 1_500


class Refused(Exception):
    """The collector takes no such request, however often it is sent; the message says why."""


class Collector:
    """A collector at an address, over one connection that is kept open."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refused(f"expected http://… or https://…, got {url!r}")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        self._base = parts.path.rstrip("/")

    def send(
        self,
        key: str,
        events: Sequence[Mapping[str, Any]],
        *,
        sent_at: str | None = None,
        headers: Mapping[str, str] | None = None,
        is_in_log: bool = False,
    ) -> dict[str, Any]:
        """What became of events, once they are durable: how many were accepted, quarantined, ignored.

        `is_in_log`: wait until they are in the log, and tell those that had been sent before too (`repeated`).

        Raises:
            Refused: where sending them again is of no use.
            OSError: where the collector did not take them in the end; they may be sent again later.
        """
        words = {"events": list(events)} | ({"sent_at": sent_at} if sent_at else {})
        body = json.dumps(words).encode()
        sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **(headers or {})}
        if len(body) > PACKED_FROM:
            body = gzip.compress(body, 1)
            sent["Content-Encoding"] = "gzip"
        path = f"{self._base}/v1/events{'?wait=log' if is_in_log else ''}"
        for attempt in range(ATTEMPTS):
            wait = min(0.2 * 2**attempt, LONGEST_WAIT_S)
            try:
                self._connection.request("POST", path, body, sent)
                answer = self._connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                failure = f"no answer: {type(error).__name__}"
            else:
                if answer.status == 200:
                    found: dict[str, Any] = json.loads(text)
                    return found
                if answer.status != 429 and answer.status < 500:
                    raise Refused(_reason(text, answer.status))
                failure = _reason(text, answer.status)
                wait = max(wait, float(answer.headers.get("Retry-After", 0)))
            if attempt < ATTEMPTS - 1:
                time.sleep(wait)
        raise OSError(f"The collector did not take them in {ATTEMPTS} tries; the last time: {failure}")

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _reason(text: bytes, status: int) -> str:
    try:
        problem = json.loads(text)
        return f"{problem['detail']} {problem.get('hint', '')}".rstrip()
    except (ValueError, KeyError, TypeError):
        return f"status {status}"
