"""Events and counters in a real browser: what comes in shows by itself, and whatever ends that is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from dayfold.http import event_stream, streaming
from dayfold.plan.access import Scope
from tests.dashboard.browser import DESKTOP, PHONE, LiveSite, live
from tests.dashboard.pages import PageSite
from tests.engines.ground import Ground
from tests.http.gathering import SAID, Daily
from tests.http.site import header
from tests.http.test_count import Level


@pytest.fixture
def busy(duck: Ground, browser: Browser) -> Iterator[LiveSite]:
    """A site that takes events and increments."""
    duck.define(Daily, SAID, Level)
    with PageSite(duck) as site:
        site.service.collector.start()
        with live(site, browser) as made:
            yield made


def post(busy: LiveSite, path: str, body: Any) -> None:
    """Send something, as a server does, and wait until it is where it shows."""
    import httpx

    key = busy.site.app.accounts.create_token("a server", "track").secret
    assert httpx.post(busy.url + path, json=body, headers=header(key)).status_code == 200


def send(busy: LiveSite, *numbers: int) -> None:
    """Events that are told from each other by their actor."""
    sent = [
        {"event_type": "asset_viewed", "actor": {"id": f"person-{n}"}, "properties": {"asset_id": 2**60 + n}}
        for n in numbers
    ]
    post(busy, "/v1/events?wait=log", sent)


def test_events_show_as_they_come_in(busy: LiveSite) -> None:
    """The newest on top, with all digits; nothing moves in a pause, and nothing is missing after it."""
    send(busy, 1)
    with busy.visit() as visit:
        page = visit.open("/events")
        people = page.locator("#events tr td:nth-child(8)")
        expect(page.locator("#stream-state")).to_have_text("live")
        expect(page.locator("thead").first.locator("th").nth(7)).to_have_text("actor id")
        expect(people).to_have_text(["person-1"])
        send(busy, 2, 3)
        expect(people).to_have_text(["person-3", "person-2", "person-1"])
        expect(page.locator("#arrived")).to_have_text("2")
        row = page.locator("#events tr").first
        expect(row.locator("td").nth(3)).to_have_text(str(2**60 + 3))
        row.locator("summary").click()
        expect(row.locator("pre")).to_contain_text(f'"asset_id": {2**60 + 3}')
        page.get_by_role("button", name="Pause").focus()
        page.keyboard.press("Enter")
        send(busy, 4)
        expect(page.locator("#arrived")).to_have_text("3")
        expect(people).to_have_text(["person-3", "person-2", "person-1"])
        page.keyboard.press("Enter")
        expect(people.first).to_have_text("person-4")
        send(busy, *range(100, 180))
        expect(people).to_have_text([f"person-{n}" for n in range(179, 129, -1)])
        assert visit.serious() == []


def test_what_ends_a_stream_is_said(busy: LiveSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too slow: how much was missed, and a way back that misses nothing; signed out: why."""
    with busy.visit("read", Scope(personal=True)) as visit:
        page = visit.open("/events")
        expect(page.locator("#stream-state")).to_have_text("live")
        monkeypatch.setattr(streaming, "MOST_WAITING", 0)
        send(busy, 1, 2)
        expect(page.get_by_role("alert")).to_contain_text("It missed 2 of the events")
        assert visit.serious() == []
        monkeypatch.setattr(streaming, "MOST_WAITING", 100)
        monkeypatch.setattr(event_stream, "_CHECK_S", 0.1)
        page.get_by_role("button", name="Connect again").click()
        expect(page.locator("#stream-state")).to_have_text("live")
        expect(page.locator("#events tr")).to_have_count(2)
        csrf = page.locator("input[name=csrf_token]").first.input_value()
        visit.context.request.post(f"{busy.url}/sign-out", form={"csrf_token": csrf})
        expect(page.get_by_role("alert")).to_contain_text("You are signed out")
        expect(page.locator("#stream-state")).to_have_text("not live")


def test_counters_move_without_a_reload(busy: LiveSite) -> None:
    """What was added shows, as pending and then as applied."""
    with busy.visit() as visit:
        page = visit.open("/counters")
        post(busy, "/v1/count", {"counter": "level", "key": {"place": "Zürich", "shelf": 7}, "add": {"pieces": -30}})
        row = page.locator("#counter-level tr[data-total=pieces] td")
        expect(row).to_have_text(["-30", "-30", "0", "-30", "0", "0", "0"])
        busy.site.app.counters.flush()
        expect(row).to_have_text(["-30", "-30", "-30", "0", "0", "0", "0"])
        expect(page.locator("#counter-level tbody").nth(1)).to_contain_text("Zürich")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_pages_keep_nobody_out(busy: LiveSite, dark: bool, viewport: dict[str, int]) -> None:
    """No serious finding of axe, nothing wider than the screen, no error, with events and without scripts too."""
    paths = ("/events", "/events/quarantine", "/events/reports", "/events/reports?by=referrer", "/counters")
    with busy.visit(dark=dark, viewport=viewport) as visit:
        # What is empty looks alike in every size and colour.
        for path in paths if viewport == PHONE and not dark else ():
            visit.open(path)
            assert visit.serious() == [], path
        send(busy, 1, 2)
        post(busy, "/v1/count", {"counter": "level", "key": {"place": "Zürich", "shelf": 7}, "add": {"pieces": 3}})
        for path in paths:
            visit.open(path)
            assert visit.serious() == [], path
            assert not visit.is_wide(), path
    with busy.visit(dark=dark, viewport=viewport, script=False) as visit:
        assert visit.open("/events").locator("#events tr").count() == 2
        assert visit.open("/counters").locator("#counter-level tr[data-total=pieces] data").first.inner_text() == "3"
