"""Engaged time: seconds in which a page was seen and touched within the last thirty, at most thirty minutes a page view."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.tracker.collector import Collector, Site, html
from tests.tracker.conftest import Visitor
from tests.tracker.test_delivery import SECOND, hide, settled

NOON = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


@pytest.fixture
def page(visitor: Visitor) -> Page:
    """A page at noon, whose time only goes on when a test says so."""
    visitor.context.clock.install(time=NOON)
    page = visitor.open("/a")
    page.clock.pause_at(NOON + dt.timedelta(minutes=1))
    return page


def wait(page: Page, seconds: float) -> None:
    page.clock.run_for(int(seconds * SECOND))


def touch(page: Page) -> None:
    """One real key, which moves nothing."""
    page.keyboard.press("Shift")


def engaged(collector: Collector, page: Page, count: int = 1) -> list[dict[str, Any]]:
    """All that was told of engaged time once the page was left; at least so many events."""
    # The tracker's own listener comes first, and the page is hidden after that: a last beacon brings this.
    page.evaluate("addEventListener('pagehide', () => dayfold('track', 'end'), true)")
    page.goto("about:blank")
    collector.wait_for("end")
    # Two requests may overtake each other.
    return sorted(collector.wait_for("page_engaged", count=count), key=lambda event: str(event["occurred_at"]))


def seconds(events: list[dict[str, Any]]) -> list[int]:
    return [event["properties"]["engagement_time"] for event in events]


def test_time_counts_until_thirty_seconds_after_a_touch(page: Page, collector: Collector) -> None:
    """Ten seconds, a touch, a minute: thirty. Another touch and seven seconds: thirty-seven."""
    wait(page, 10)
    touch(page)
    wait(page, 60)
    touch(page)
    wait(page, 7)
    assert seconds(engaged(collector, page)) == [37]


def test_touches_that_overlap_count_once(page: Page, collector: Collector) -> None:
    """A hundred touches within ten seconds are ten seconds and the thirty after."""
    for _ in range(100):
        touch(page)
        wait(page, 0.1)
    wait(page, 300)
    assert seconds(engaged(collector, page)) == [39]


@pytest.mark.parametrize(
    "act",
    [
        "page.mouse.move(5, 5)",
        "page.mouse.wheel(0, 100)",
        "page.mouse.click(5, 5)",
        "page.keyboard.press('a')",
    ],
)
def test_each_way_to_touch_a_page_counts(page: Page, collector: Collector, act: str) -> None:
    """Pointer, wheel and keys."""
    page.evaluate(
        "for (const one of ['pointermove', 'wheel', 'pointerdown', 'keydown']) addEventListener(one, () => window.met = true)"
    )
    eval(act)
    # Only the wheel's reach the page later than the call ends.
    for _ in range(500):
        if page.evaluate("window.met"):
            break
        time.sleep(0.01)
    wait(page, 3)
    hide(page, True)
    assert seconds(engaged(collector, page)) == [3]


def test_page_that_nobody_touches_has_no_engaged_time(page: Page, collector: Collector) -> None:
    """Being open is not being read."""
    wait(page, 60)
    page.evaluate("scrollTo(0, 100)")
    wait(page, 10)
    assert engaged(collector, page, count=0) == []


def test_hidden_page_does_not_count(page: Page, collector: Collector) -> None:
    """Told when it is hidden, it goes on where it is seen again within the thirty seconds; the increments add up."""
    touch(page)
    wait(page, 4.6)
    hide(page, True)
    wait(page, 10)
    hide(page, False)
    wait(page, 3.6)
    hide(page, True)
    assert seconds(engaged(collector, page, count=2)) == [4, 4]


def test_page_view_counts_thirty_minutes_at_most(page: Page, collector: Collector) -> None:
    """A game that is left running does not become the best read page; a new view counts anew."""
    for _ in range(80):
        touch(page)
        wait(page, 30)
    hide(page, True)
    hide(page, False)
    touch(page)
    wait(page, 20)
    page.evaluate("history.pushState({}, '', '/b')")
    touch(page)
    wait(page, 5)
    events = engaged(collector, page, count=2)
    assert seconds(events) == [1800, 5]


def test_time_belongs_to_the_page_on_which_it_was_spent(page: Page, collector: Collector) -> None:
    """With a router each view has its own time, its own address and what it was about; a touch does not carry over."""
    page.evaluate("dayfold('about', { ip_asset_id: 'a7', entity_type: 'asset', entity_id: 'a7' })")
    touch(page)
    wait(page, 5)
    page.evaluate("history.pushState({}, '', '/b')")
    wait(page, 5)
    touch(page)
    wait(page, 2)
    first, second = engaged(collector, page, count=2)
    assert first["page"].endswith("/a")
    assert first["properties"] == {"ip_asset_id": "a7", "engagement_time": 5}
    assert (first["entity_type"], first["entity_id"]) == ("asset", "a7")
    assert second["page"].endswith("/b")
    assert second["properties"] == {"engagement_time": 2}


def test_time_survives_a_beacon_that_fails(page: Page, visitor: Visitor, collector: Collector) -> None:
    """It is stored before it is sent, and the next page brings it, once."""
    touch(page)
    wait(page, 5)
    collector.behave(503)
    visitor.go(page, "/b")
    collector.wait(lambda: any(one.beacon for one in collector.requests))
    assert collector.acknowledged("page_engaged") == []
    collector.behave(200)
    page.evaluate("dispatchEvent(new Event('online'))")
    settled(page)
    assert seconds(collector.acknowledged("page_engaged")) == [5]


def test_time_counts_when_it_was_spent(page: Page, collector: Collector) -> None:
    """A page that is read at noon and closed on the next day was read at noon, in that session."""
    touch(page)
    page.clock.run_for(20 * 3600 * SECOND)
    [event] = engaged(collector, page)
    [viewed] = collector.acknowledged("page_viewed")
    assert event["occurred_at"] == "2026-03-10T12:01:30.000Z"
    assert event["session_id"] == viewed["session_id"]


def test_time_before_a_long_pause_belongs_to_the_session_before(page: Page, collector: Collector) -> None:
    """Somebody comes back to an open page on the next day: both days have their own seconds."""
    touch(page)
    page.clock.run_for(20 * 3600 * SECOND)
    touch(page)
    wait(page, 5)
    first, second = engaged(collector, page, count=2)
    assert [first["occurred_at"][:10], second["occurred_at"][:10]] == ["2026-03-10", "2026-03-11"]
    assert seconds([first, second]) == [30, 5]
    [viewed] = collector.acknowledged("page_viewed")
    assert viewed["session_id"] == first["session_id"] != second["session_id"]


def test_clock_that_is_set_does_not_change_what_was_spent(page: Page, collector: Collector) -> None:
    """Durations are not taken from the clock that people set."""
    touch(page)
    wait(page, 5)
    page.evaluate("const real = Date.now; Date.now = () => real() + 864e5; 0")
    touch(page)
    wait(page, 5)
    hide(page, True)
    assert sum(seconds(engaged(collector, page, count=2))) == 10


def test_page_from_the_cache_begins_anew(page: Page, visitor: Visitor, collector: Collector, site: Site) -> None:
    """What was told before a page was left is not told again when it comes back."""
    site.pages["/plain"] = "<title>Without the tracker</title>"
    touch(page)
    wait(page, 5)
    page.evaluate("window.kept = true")
    page.goto(visitor.url("/plain"))
    page.go_back(wait_until="commit")
    assert page.evaluate("window.kept")
    touch(page)
    wait(page, 2)
    hide(page, True)
    assert sorted(seconds(engaged(collector, page, count=2))) == [2, 5]


def test_tag_says_what_engaged_time_is_about(visitor: Visitor, collector: Collector, site: Site) -> None:
    """The properties of the page view are those of its engaged time, so that both fold by the same key."""
    site.html = html(collector, 'data-dayfold-ip_asset_id="a7"')
    visitor.context.clock.install(time=NOON)
    page = visitor.open("/a")
    page.clock.pause_at(NOON + dt.timedelta(minutes=1))
    touch(page)
    wait(page, 3)
    [event] = engaged(collector, page)
    assert event["properties"] == {"ip_asset_id": "a7", "engagement_time": 3}
