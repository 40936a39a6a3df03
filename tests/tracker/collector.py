"""A collector and a site on loopback, on two origins as in life: what a browser sends is recorded, and answered as a test says."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

from dayfold.collect.tracker import tracker_module, tracker_source
from tests.loopback import Answers, Loopback

#: The stub of the how-to page: calls before the script has loaded wait, with their moments.
STUB = "window.dayfold=window.dayfold||function(...a){(dayfold.q=dayfold.q||[]).push([Date.now(),a])}"


@dataclass(frozen=True)
class Request:
    """One envelope as it came in, and the status it was answered with (0: not at all)."""

    envelope: Mapping[str, Any]
    headers: Mapping[str, str]
    size: int
    status: int
    at: float

    @property
    def beacon(self) -> bool:
        return self.headers["sec-fetch-mode"] == "no-cors"

    @property
    def events(self) -> list[dict[str, Any]]:
        return list(self.envelope["events"])

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]


@dataclass
class Behaviour:
    """How requests are answered from now on."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Events in one request above which it is too large.
    most: int = 10**6
    over: threading.Event = field(default_factory=threading.Event)


class Collector:
    """Takes events at `/v1/events` and keeps what it acknowledged; serves the tracker beside that."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.preflights = 0
        self.behaviour = Behaviour()
        self._changed = threading.Condition()
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self._server = self._exit.enter_context(Loopback(_handler(self)))
        return self

    def __exit__(self, *_: object) -> None:
        self.behaviour.over.set()
        self._exit.close()

    @property
    def host(self) -> str:
        return self._server.origin

    def behave(self, status: int = 200, most: int = 10**6, **headers: str) -> None:
        """Answer like this from now on. Status 0: hang, until something else is said."""
        before, self.behaviour = self.behaviour, Behaviour(status, headers, most)
        before.over.set()

    def take(self, body: bytes, headers: Mapping[str, str]) -> Behaviour:
        """Record a request and say how it is answered."""
        envelope = json.loads(body)
        answer = self.behaviour
        if len(envelope["events"]) > answer.most:
            answer = Behaviour(413)
        with self._changed:
            self.requests.append(Request(envelope, headers, len(body), answer.status, time.monotonic()))
            self._changed.notify_all()
        if answer.status == 0:
            answer.over.wait(60)
        return answer

    def wait(self, condition: Callable[[], object], what: str = "", timeout_s: float = 15) -> None:
        """The condition holds, looked at after each request."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                said = [(one.status, one.beacon, [e["event_type"] for e in one.events]) for one in self.requests]
                raise AssertionError(f"never came: {what or 'what was waited for'}; requests: {said}")

    def acknowledged(self, *types: str, beacons: bool = True) -> list[dict[str, Any]]:
        """Each event that was taken, once, in the order in which they came; of these types, where some are given."""
        seen: dict[str, dict[str, Any]] = {}
        for request in self.requests:
            if request.status == 200 and (beacons or not request.beacon):
                for event in request.events:
                    kept = seen.setdefault(event["id"], event)
                    assert kept == event, "an id came back with another payload"
        return [event for event in seen.values() if not types or event["event_type"] in types]

    def wait_for(self, *types: str, count: int = 1, beacons: bool = True) -> list[dict[str, Any]]:
        """So many events of these types, once they are there."""
        self.wait(
            lambda: len(self.acknowledged(*types, beacons=beacons)) >= count, f"{count} of {types or 'any events'}"
        )
        return self.acknowledged(*types, beacons=beacons)

    def days(self) -> list[str]:
        """The UTC day of each event, by the collector's clock: the sender's is corrected by the moment it says it sent at."""
        found = {}
        for request in self.requests:
            received = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=time.monotonic() - request.at)
            sent = dt.datetime.fromisoformat(request.envelope["sent_at"])
            if request.status == 200:
                for event in request.events:
                    occurred = received - (sent - dt.datetime.fromisoformat(event["occurred_at"]))
                    found.setdefault(event["id"], occurred.date().isoformat())
        return list(found.values())


def _handler(collector: Collector) -> type[Answers]:
    class Doors(Answers):
        def _reply(self, status: int, body: bytes = b"", **headers: str) -> None:
            # The browser may have gone.
            try:
                self.answer(status, body, Access_Control_Allow_Origin="*", **headers)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def do_GET(self) -> None:
            served = {"/dayfold.js": tracker_source, "/dayfold.mjs": tracker_module}[self.path.split("?")[0]]
            self._reply(200, served(), Content_Type="text/javascript; charset=utf-8")

        def do_OPTIONS(self) -> None:
            collector.preflights += 1
            self._reply(204)

        def do_POST(self) -> None:
            assert self.path == "/v1/events"
            answer = collector.take(self.asked(), {name.lower(): value for name, value in self.headers.items()})
            if answer.status == 0:
                self.close_connection = True
                return
            self._reply(answer.status, b"{}", Access_Control_Expose_Headers="Retry-After", **answer.headers)

    return Doors


class Site:
    """The pages of a site: the same one at every path, unless a test lays another."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.scripts: dict[str, str] = {}
        self.html = ""
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        site = self

        class Pages(Answers):
            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                kind = "javascript" if path in site.scripts else "html"
                text = site.scripts.get(path) or site.pages.get(path, site.html)
                self.answer(200, text.encode(), Content_Type=f"text/{kind}; charset=utf-8")

        self._server = self._exit.enter_context(Loopback(Pages))
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @property
    def port(self) -> int:
        return self._server.port


def html(collector: Collector, attributes: str = "", body: str = "", head: str = "") -> str:
    """A page with the tracker's tag as the how-to page shows it."""
    return (
        f"<!doctype html><title>A page</title><link rel=icon href=data:,><script>{STUB}</script>{head}"
        f'<script async src="{collector.host}/dayfold.js" data-key="wk_1" {attributes}></script><body>{body}'
    )
