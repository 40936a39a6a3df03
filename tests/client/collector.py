"""A collector on loopback that keeps what it is sent, and misbehaves when told to."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from tests.loopback import Answers, Loopback

#: Nothing of these tests takes longer, unless it hangs.
LIMIT_S = 30.0


@dataclass
class Request:
    """What one request was."""

    path: str
    headers: dict[str, str]
    size: int
    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)

    @property
    def ids(self) -> list[str]:
        return [one["id"] for one in self.body["events"]]


class Collector:
    """Takes events as the native API says, each id once.

    Attributes:
        script: What is done with the next requests, one each: a status, a status with headers or a body, or a word: ``hang`` until
            `release`; ``drop`` the connection; ``cut`` the answer off after the events were kept. When it is empty: 200.
        most_bytes: Larger bodies, unpacked, are answered 413.
    """

    def __init__(self) -> None:
        self.script: deque[Any] = deque()
        self.requests: list[Request] = []
        self.events: dict[str, dict[str, Any]] = {}
        self.most_bytes = 1 << 30
        self._news = threading.Condition()
        self._released = threading.Event()

    def release(self) -> None:
        """Requests that hang go on."""
        self._released.set()

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for requests until something holds."""
        with self._news:
            assert self._news.wait_for(holds, LIMIT_S), (len(self.requests), len(self.events))

    def until_events(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many different events; all that came."""
        self.until(lambda: len(self.events) >= count)
        return list(self.events.values())

    @property
    def received(self) -> list[str]:
        """The id of every event of every request that was taken, in order."""
        return [id_ for request in self.requests for id_ in request.ids]

    def take(self, answers: Answers) -> None:
        """Answer one request."""
        raw = answers.asked()
        packed = answers.headers.get("Content-Encoding") == "gzip"
        text = gzip.decompress(raw) if packed else raw
        request = Request(answers.path, dict(answers.headers.items()), len(text), json.loads(text))
        with self._news:
            self.requests.append(request)
            step = self.script.popleft() if self.script else 413 if len(text) > self.most_bytes else 200
            self._news.notify_all()
        if step == "hang":
            assert self._released.wait(LIMIT_S)
            step = 200
        if step == "drop":
            answers.close_connection = True
            return
        status, headers, body = step if isinstance(step, tuple) else (step, {}, None)
        if body is None and status in (200, "cut"):
            body = json.dumps(self._kept(request)).encode()
        if status == "cut":
            answers.send_response(200)
            answers.send_header("Content-Length", str(len(body) + 1))
            answers.end_headers()
            answers.wfile.write(body)
            answers.close_connection = True
        else:
            answers.answer(status, body or b"", **headers)
        with self._news:
            self._news.notify_all()

    def _kept(self, request: Request) -> dict[str, Any]:
        with self._news:
            new = [one for one in request.body["events"] if one["id"] not in self.events]
            self.events.update((one["id"], one) for one in new)
        repeated = len(request.body["events"]) - len(new)
        return {
            "accepted": len(new),
            "repeated": repeated,
            "conflicts": 0,
            "quarantined": 0,
            "ignored": 0,
            "errors": [],
        }


@contextmanager
def serving(collector: Collector, port: int = 0) -> Iterator[Loopback]:
    """A collector that is reached inside the block."""

    class Handler(Answers):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            collector.take(self)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def __init__(self, _: object, handler: type[Answers]) -> None:
            super().__init__(("127.0.0.1", port), handler)

    with Loopback(Handler, Server) as loopback:
        try:
            yield loopback
        finally:
            collector.release()
