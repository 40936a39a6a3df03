"""Events as they come in: what a page of the log shows, after it is there, in order; and how a stream ends."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Self
from urllib.parse import urlencode

import pytest

from dayfold.collect import intake
from dayfold.define.events import ADDRESSES, PERSONAL
from dayfold.http import event_stream, streaming
from dayfold.plan.access import Scope
from tests.engines.ground import Ground
from tests.http.gathering import Gathering, kept
from tests.http.site import Site, header, problem

UUID = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
Look = Callable[..., "Viewer"]


class Viewer:
    """A browser that reads a stream in the loop of a site, and may stop reading."""

    def __init__(self, site: Site, headers: Mapping[str, str], **words: str) -> None:
        self.site = site
        self.status = 0
        self.body = b""
        self.is_over = False
        self.reading = threading.Event()
        self.reading.set()
        self._left: asyncio.Event | None = None
        sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._scope = {
            "type": "http", "method": "GET", "path": "/v1/events/stream", "raw_path": b"/v1/events/stream", "scheme": "http",
            "query_string": urlencode(words).encode(), "headers": [*sent, (b"host", b"testserver")], "http_version": "1.1",
            "server": ("testserver", 80), "client": ("203.0.113.9", 1), "root_path": "", "asgi": {"version": "3.0"},
        }  # fmt: skip

    def __enter__(self) -> Self:
        assert self.site.client.portal is not None
        self._done = self.site.client.portal.start_task_soon(self._run)
        until(lambda: self.status != 0)
        return self

    def __exit__(self, *error: object) -> None:
        self.reading.set()
        self.leave()
        self._done.result(10)

    async def _run(self) -> None:
        self._left = asyncio.Event()
        await self.site.client.app(dict(self._scope), self._receive, self._send)
        self.is_over = True

    async def _receive(self) -> dict[str, Any]:
        assert self._left is not None
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        while not self.reading.is_set():
            await asyncio.sleep(0.005)
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")

    def leave(self) -> None:
        """Close it."""
        if self._left is not None and self.site.client.portal is not None:
            self.site.client.portal.call(self._left.set)

    def messages(self) -> list[tuple[str, Any]]:
        """What came, but comments."""
        found = []
        for block in self.body.decode().split("\n\n")[:-1]:
            lines = dict(line.split(": ", 1) for line in block.split("\n"))
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"])))
        return found

    def events(self) -> list[dict[str, Any]]:
        """All events that came, in their order."""
        return [one for name, data in self.messages() if name == "events" for one in data]

    def expect(self, count: int) -> list[dict[str, Any]]:
        """So many events came, and no more a moment later."""
        until(lambda: len(self.events()) >= count)
        time.sleep(0.15)
        found = self.events()
        assert len(found) == count
        return found


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something; never longer than it may take on a busy machine."""
    ends = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.005)


@pytest.fixture
def gathering(store: Ground) -> Iterator[Gathering]:
    """A collector, on each engine."""
    with Gathering(store) as found:
        yield found


@pytest.fixture
def here(duck: Ground) -> Iterator[Gathering]:
    """A collector on DuckDB."""
    with Gathering(duck) as found:
        yield found


@pytest.fixture
def look(here: Gathering) -> Iterator[Look]:
    """Opens streams of what comes in here."""
    with ExitStack() as stack:

        def opened(headers: Mapping[str, str] | None = None, **words: str) -> Viewer:
            mine = header(here.site.token("admin")) if headers is None else headers
            return stack.enter_context(Viewer(here.site, mine, **words))

        yield opened


def sent(number: int, **more: Any) -> dict[str, Any]:
    """An event of one project."""
    return {
        "id": f"e{number}", "event_type": "asset_viewed", "actor": {"id": f"person-{number}"}, "session_id": "s1",
        "page": "https://shop.example/a?mail=x#top", "properties": {"project_id": f"p{number % 2}", "note": "a\nb", "cents": 1.50},
        "anonymous_id": f"b{number}", "attribution": {"utm_source": "news", "referrer": "https://www.google.com/?q=me"}, **more,
    }  # fmt: skip


def test_each_caller_is_shown_what_a_page_of_the_log_shows_them(gathering: Gathering) -> None:
    """Whole, without personal data, of their rows, of one type, of one entity, or nothing: the same events, the same words."""
    site = gathering.site
    whole, all_of_it = header(site.token("admin")), Scope(personal=True, events=True)
    askers: list[tuple[Mapping[str, str], dict[str, str]]] = [
        (whole, {}),
        (whole, {"event_type": "asset_bought"}),
        (whole, {"entity_type": "project"}),
        (whole, {"entity_type": "asset_id", "entity_id": "7"}),
        (whole, {"entity_type": "licence", "entity_id": UUID.upper()}),
        (whole, {"entity_type": "is_trial", "entity_id": "true"}),
        (whole, {"entity_type": "due_on", "entity_id": "2026-04-01"}),
        (header(site.token("read", all_of_it)), {}),
        (header(site.token("read")), {}),
        (site.reader({"project_id": ["p1"]}), {}),
        (site.reader({"project_id": [None]}), {}),
        (site.reader({"project_id": ["p0", None], "asset_id": ["7", "x"]}), {"event_type": "asset_viewed"}),
        (site.reader({"licence_id": [UUID.upper()]}), {}),
        (site.reader({"is_trial": ["true", None]}), {}),
        (site.reader({"actor_id": ["person-3"]}), {}),
        (site.reader({"project_id": []}), {}),
        (site.reader({"country": ["FR"]}), {}),
        (site.reader(rollups=["Daily"]), {}),
    ]
    with ExitStack() as stack:
        viewers = [stack.enter_context(Viewer(site, headers, **words)) for headers, words in askers]
        assert {one.status for one in viewers} == {200}
        gathering.send(*(sent(n) for n in range(4)), sent(4, event_type="asset_bought"))
        gathering.send(
            sent(5, properties={"asset_id": 7, "licence_id": UUID, "is_trial": True, "due_on": "2026-04-01"}),
            sent(6, properties={"project_id": "p0", "asset_id": "7", "is_trial": False}),
        )
        until(lambda: len(viewers[0].events()) == 7)
        time.sleep(0.2)
        seen = []
        for viewer, (headers, words) in zip(viewers, askers, strict=True):
            page = site.get("/v1/events", headers, **words).json()["events"]
            shown = viewer.events()
            assert sorted(shown, key=lambda one: one["id"]) == sorted(page, key=lambda one: one["id"]), words
            assert [list(one) for one in shown] == [list(one) for one in page]
            seen.append(len(shown))
    assert seen == [7, 1, 6, 2, 1, 1, 1, 7, 7, 2, 1, 2, 1, 6, 1, 0, 0, 0]
    mine = viewers[8].events()
    assert all(one[name] is None for one in mine for name in PERSONAL)
    assert not any(sign in (one[name] or "") for one in mine for name in ADDRESSES for sign in "?#")
    assert viewers[0].messages()[0] == ("hello", {"processes": "all" if gathering.ground.engine == "duckdb" else "one"})


def test_in_order_once_and_only_what_is_new(here: Gathering, look: Look) -> None:
    """One after the other; what was there before, what repeats it and what is held back are in no stream."""
    here.send(sent(1))
    viewer = look()
    for number in range(10, 40):
        here.post(sent(number, occurred_at=None))
    here.send(sent(1), sent(1, event_type="asset_bought"), sent(12))
    shown = viewer.expect(30)
    assert [one["actor_id"] for one in shown] == [f"person-{n}" for n in range(10, 40)]


def test_nothing_is_shown_before_it_is_in_the_log(here: Gathering, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the transaction goes on, and where it fails, nothing is shown; once it has committed, each event once."""
    append, reached, go = intake.log.append, threading.Event(), threading.Event()
    refusals = iter([True, False])

    def slow(*words: Any) -> Any:
        reached.set()
        assert go.wait(20)
        if next(refusals, False):
            raise intake.ConnectionFailed("It is away.")
        return append(*words)

    monkeypatch.setattr(intake.log, "append", slow)
    viewer = look()
    assert here.post(sent(1)).json() == kept(1)
    assert reached.wait(20)
    time.sleep(0.3)
    assert viewer.events() == []
    go.set()
    assert [one["actor_id"] for one in viewer.expect(1)] == ["person-1"]


def test_a_slow_browser_is_dropped_and_told_how_much_it_missed(
    here: Gathering, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it got and what it missed are all there is; nobody else waits for it, and neither do senders."""
    monkeypatch.setattr(streaming, "MOST_WAITING", 20)
    monkeypatch.setattr(streaming, "MOST_AT_ONCE", 5)
    monkeypatch.setattr(event_stream, "_PACE_S", 0)
    slow, quick = look(), look()
    for number in range(100):
        if number == 10:
            slow.reading.clear()
        here.send(sent(number))
    quick.expect(100)
    slow.reading.set()
    until(lambda: slow.is_over)
    [(name, told)] = slow.messages()[-1:]
    assert name == "dropped"
    assert len(slow.events()) + told["missed"] == 100
    assert [one["actor_id"] for one in slow.events()] == [f"person-{n}" for n in range(len(slow.events()))]
    assert told["missed"] > 20
    streams = here.site.service.streams
    assert (len(streams), streams.dropped, streams.missed) == (1, 1, told["missed"])


def test_whoever_never_reads_again_is_cut_off(here: Gathering, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept for them, and their place is free."""
    monkeypatch.setattr(streaming, "MOST_WAITING", 5)
    monkeypatch.setattr(streaming, "_DROPPED_S", 0.1)
    viewer = look()
    viewer.reading.clear()
    for number in range(12):
        here.send(sent(number))
    until(lambda: len(here.site.service.streams) == 0)
    assert not here.site.service.streams.is_watching


def test_a_stream_ends_with_the_right_to_see_it(here: Gathering, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is signed out, a token that is revoked; others go on. Nothing that comes later is shown."""
    monkeypatch.setattr(event_stream, "_CHECK_S", 0.05)
    site = here.site
    here.app.accounts.add_user("anna", "a password that is long enough", "read")
    site.client.post(
        "/sign-in", data={"name": "anna", "password": "a password that is long enough"}, follow_redirects=False
    )
    cookie = {"Cookie": "; ".join(f"{one.name}={one.value}" for one in site.client.cookies.jar)}
    signed_in, other = look(cookie), look()
    token = here.app.accounts.create_token("dashboards", "read")
    held = look(header(token.secret))
    here.send(sent(1))
    for one in (signed_in, other, held):
        one.expect(1)
    assert not any(one.is_over for one in (signed_in, other, held))
    csrf = site.get("/v1/me").json()["csrf_token"]
    assert site.client.post("/sign-out", headers={"X-CSRF-Token": csrf}, follow_redirects=False).status_code == 303
    until(lambda: signed_in.is_over)
    here.app.accounts.revoke_token(token.id)
    until(lambda: held.is_over)
    here.send(sent(2))
    other.expect(2)
    for one in (signed_in, held):
        assert one.messages()[-1] == ("end", {"reason": "signed-out"})
        assert len(one.events()) == 1
    assert Viewer(site, cookie).__enter__().status == 401


def test_a_server_that_ends_ends_its_streams(here: Gathering, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once those that are read, soon the others; none begins any more."""
    monkeypatch.setattr(streaming, "_ENDING_S", 0.2)
    reads, does_not = look(), look()
    does_not.reading.clear()
    here.send(sent(1))
    reads.expect(1)
    here.site.service.ask_stop()
    until(lambda: reads.is_over and does_not.is_over)
    assert reads.messages()[-1] == ("end", {"reason": "stopping"})
    late = look()
    until(lambda: late.is_over)
    assert [name for name, _ in late.messages()] == ["hello", "end"]


def test_how_many_look_on(here: Gathering, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of one caller, so many in all; whoever leaves makes room. Nobody is handed anything where nobody looks on."""
    monkeypatch.setattr(streaming, "MOST_OF_ONE", 2)
    monkeypatch.setattr(streaming, "MOST_STREAMS", 3)
    streams, mine = here.site.service.streams, header(here.site.token("admin"))
    handed = []
    monkeypatch.setattr(streams, "_spread", lambda *words: handed.append(words))
    here.send(sent(1))
    first = look(mine)
    look(mine)
    answer = here.site.get("/v1/events/stream", mine)
    assert problem(answer) == (
        429, "too-many", "Too many streams of events are open.", "Close one that nobody looks at.",
    )  # fmt: skip
    look()
    assert here.site.get("/v1/events/stream", here.site.reader({})).status_code == 429
    first.leave()
    until(lambda: first.is_over)
    assert len(streams) == 2
    assert look(mine).status == 200
    assert handed == []
    here.send(sent(2))
    until(lambda: len(handed) == 1)


def test_a_quiet_stream_says_that_it_lives(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing in between takes it for dead."""
    monkeypatch.setattr(event_stream, "_BEAT_S", 0.02)
    viewer = look()
    until(lambda: viewer.body.count(b": nothing new\n\n") > 2)
    assert viewer.messages() == [("hello", {"processes": "all"})]


def test_words_that_do_not_fit_are_refused(here: Gathering) -> None:
    """As the route that reads pages refuses them; whom nobody let in sees nothing."""
    mine = header(here.site.token("admin"))
    assert problem(here.site.get("/v1/events/stream", mine, entity_type="shop"))[:2] == (404, "unknown-name")
    assert problem(here.site.get("/v1/events/stream", mine, entity_id="1"))[:2] == (400, "usage")
    assert problem(here.site.get("/v1/events/stream", mine, actor="x"))[:2] == (400, "usage")
    assert problem(here.site.get("/v1/events/stream"))[:2] == (401, "unauthenticated")
    assert len(here.site.service.streams) == 0
