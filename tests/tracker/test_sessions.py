"""Sessions, visitors and where they came from."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.tracker.collector import Collector
from tests.tracker.conftest import Visitor

MINUTE = 60_000


def told(collector: Collector, page: Page) -> list[dict[str, Any]]:
    """All events up to now, in the order in which they happened."""
    page.evaluate("dayfold('track', 'end'); dayfold('flush')")
    collector.wait(lambda: any(one["event_type"] == "end" for one in collector.acknowledged(beacons=False)))
    return sorted(collector.acknowledged(), key=lambda event: event["occurred_at"])


def sessions(events: list[dict[str, Any]]) -> list[int]:
    """For each event, which session it is of: the first is 0."""
    ids = list(dict.fromkeys(event["session_id"] for event in events))
    return [ids.index(event["session_id"]) for event in events]


def test_thirty_minutes_without_a_sign_end_a_session(visitor: Visitor, collector: Collector) -> None:
    """29 minutes do not, 31 do; the visitor stays the same."""
    visitor.context.clock.install()
    page = visitor.open("/a")
    visitor.context.clock.fast_forward(29 * MINUTE)
    page.evaluate("dayfold('track', 'one')")
    visitor.context.clock.fast_forward(29 * MINUTE)
    page.evaluate("dayfold('track', 'two')")
    visitor.context.clock.fast_forward(31 * MINUTE)
    events = told(collector, page)
    assert [event["event_type"] for event in events] == ["page_viewed", "one", "two", "end"]
    assert sessions(events) == [0, 0, 0, 1]
    assert len({event["anonymous_id"] for event in events}) == 1


def test_reading_is_a_sign(visitor: Visitor, collector: Collector) -> None:
    """Somebody who moves about the page for an hour without an event is still there."""
    visitor.context.clock.install()
    page = visitor.open("/a")
    for step in range(3):
        visitor.context.clock.fast_forward(20 * MINUTE)
        page.mouse.move(10 + step, 10)
    assert set(sessions(told(collector, page))) == {0}


def test_session_goes_on_after_the_clock_was_set_back_a_little_and_ends_after_a_day(
    visitor: Visitor, collector: Collector
) -> None:
    """A session that seems to begin tomorrow does not last until then."""
    page = visitor.open("/a")
    page.evaluate("const real = Date.now; Date.now = () => real() - 60e3; dayfold('track', 'one'); Date.now = real")
    page.evaluate("const real2 = Date.now; Date.now = () => real2() - 864e5; dayfold('track', 'two'); Date.now = real2")
    by_type = {event["event_type"]: event["session_id"] for event in told(collector, page)}
    assert by_type["page_viewed"] == by_type["one"] != by_type["two"]


def test_tabs_share_session_and_visitor(visitor: Visitor, collector: Collector) -> None:
    """What one tab begins, the next goes on with."""
    first = visitor.open("/a")
    second = visitor.open("/b")
    told(collector, first)
    events = told(collector, second)
    assert len(events) >= 3
    assert len({event["session_id"] for event in events}) == 1
    assert len({event["anonymous_id"] for event in events}) == 1


def test_new_campaign_begins_a_session(visitor: Visitor, collector: Collector) -> None:
    """The same campaign again does not, nor does a page without one; a click of an advertiser is a campaign."""
    page = visitor.open("/a?utm_source=news&utm_campaign=may")
    visitor.go(page, "/b")
    visitor.go(page, "/a?utm_source=news&utm_campaign=may")
    visitor.go(page, "/a?utm_source=news&utm_campaign=june")
    visitor.go(page, "/c?gclid=x1")
    events = [event for event in told(collector, page) if event["event_type"] == "page_viewed"]
    assert sessions(events) == [0, 0, 0, 1, 2]


def test_tab_with_an_older_campaign_does_not_take_the_session_back(visitor: Visitor, collector: Collector) -> None:
    """Only an arrival begins a session: two tabs of two campaigns do not cut each other's."""
    first = visitor.open("/a?utm_campaign=may")
    second = visitor.open("/a?utm_campaign=june")
    first.evaluate("dayfold('track', 'one')")
    second.evaluate("dayfold('track', 'two')")
    first.evaluate("dayfold('track', 'three')")
    told(collector, first)
    assert sessions(told(collector, second))[:5] == [0, 1, 1, 1, 1]


def test_each_event_says_how_its_session_began(visitor: Visitor, collector: Collector) -> None:
    """The campaign's fields, the page that was landed on with its query, and the referrer, also on later pages."""
    landing = "/a?utm_source=news&utm_medium=email&utm_campaign=may&utm_term=t&utm_content=c&utm_id=9&x=1"
    page = visitor.open(landing, referer="https://news.example/mail")
    visitor.go(page, "/b", referer="https://elsewhere.example/")
    events = told(collector, page)
    assert len(events) == 3
    for event in events:
        assert event["attribution"] == {
            "landing_page": visitor.url(landing),
            "referrer": "https://news.example/mail",
            "utm_source": "news",
            "utm_medium": "email",
            "utm_campaign": "may",
            "utm_term": "t",
            "utm_content": "c",
        }


def test_site_is_not_its_own_referrer(visitor: Visitor, collector: Collector) -> None:
    """A session that begins between two pages of the site came from nowhere else."""
    visitor.context.clock.install()
    page = visitor.open("/a", referer="https://news.example/")
    visitor.context.clock.fast_forward(31 * MINUTE)
    page.evaluate("dayfold('track', 'later')")
    visitor.context.clock.fast_forward(31 * MINUTE)
    visitor.go(page, "/b", referer=visitor.url("/a"))
    events = told(collector, page)
    assert [event["attribution"].get("referrer") for event in events] == ["https://news.example/", None, None, None]


def test_session_that_somebody_wrote_nonsense_into_begins_anew(visitor: Visitor, collector: Collector) -> None:
    """Whatever stands in the storage, events go out with a session."""
    page = visitor.open("/a")
    for nonsense in ("5", "{", "null", '{"at": "x"}', "[]"):
        page.evaluate("(text) => { localStorage['dayfold.wk_1.session'] = text; dayfold('track', 'one') }", nonsense)
    assert all(len(event["session_id"]) == 36 for event in told(collector, page))
