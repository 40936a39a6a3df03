"""What is told of whom: refusals are honoured, a cookieless site stores nothing, and a token speaks for its own user alone."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.tracker.collector import Collector, Site, html
from tests.tracker.conftest import Visitor

REFUSALS = {
    "gpc": "Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })",
    "dnt": "Object.defineProperty(navigator, 'doNotTrack', { value: '1' })",
}


def jwt(sub: str, **more: Any) -> str:
    """A token as a host product signs it; its signature is the collector's business."""
    parts = ({"alg": "HS256"}, {"sub": sub, **more}, {})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def stored(page: Page) -> list[str]:
    return sorted(page.evaluate("Object.keys(localStorage).concat(Object.keys(sessionStorage), document.cookie || [])"))


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusal_is_honoured(visitor: Visitor, collector: Collector, refusal: str) -> None:
    """Nothing is sent and nothing stored, and what an earlier visit stored goes."""
    page = visitor.open("/a")
    page.goto("about:blank")
    collector.wait(lambda: collector.requests)
    before = len(collector.requests)
    visitor.context.add_init_script(REFUSALS[refusal])
    visitor.go(page, "/b")
    assert stored(page) == []
    page.evaluate("dayfold('track', 'one'); dayfold('page'); dayfold('reset'); history.pushState({}, '', '/c')")
    page.keyboard.press("a")
    page.evaluate("dayfold('flush')")
    assert stored(page) == []
    page.goto("about:blank")
    # Another visitor's event comes after anything that this one could have sent.
    probe(visitor, collector)
    assert len(collector.requests) == before + 1


def probe(visitor: Visitor, collector: Collector) -> None:
    """An event of somebody else arrives."""
    browser = visitor.context.browser
    assert browser is not None
    with browser.new_context() as other:
        page = other.new_page()
        page.goto(visitor.url("/probe"))
        page.wait_for_function("() => window.dayfold.live")
        page.evaluate("dayfold('track', 'probe'); dayfold('flush')")
        collector.wait_for("probe")
        page.evaluate("navigator.sendBeacon = () => true")


def test_other_answers_to_do_not_track_are_no_refusal(visitor: Visitor, collector: Collector) -> None:
    """`0` and `unspecified` say nothing."""
    visitor.context.add_init_script("Object.defineProperty(navigator, 'doNotTrack', { value: 'unspecified' })")
    visitor.open("/a").evaluate("dayfold('flush')")
    collector.wait_for("page_viewed")


def test_cookieless_site_stores_nothing(visitor: Visitor, collector: Collector, site: Site) -> None:
    """No id of the visitor leaves the browser either; the envelope says that the collector makes one."""
    visitor.open("/a").close()
    site.html = html(collector, "data-cookieless")
    page = visitor.open("/b?utm_source=news")
    assert stored(page) == []
    page.evaluate("dayfold('track', 'one'); dayfold('flush')")
    collector.wait_for("one")
    envelope = collector.requests[-1].envelope
    assert envelope["cookieless"] is True
    for event in envelope["events"]:
        assert "anonymous_id" not in event
        assert "session_id" not in event
        assert event["attribution"]["utm_source"] == "news"
    page.evaluate("dayfold('track', 'two')")
    page.goto("about:blank")
    collector.wait_for("two")
    assert collector.requests[-1].beacon
    assert collector.requests[-1].envelope["cookieless"] is True


def test_cookieless_site_retries_from_memory(visitor: Visitor, collector: Collector, site: Site) -> None:
    """Being without storage is no reason to lose events while the page lives."""
    site.html = html(collector, "data-cookieless")
    page = visitor.open("/a")
    visitor.context.set_offline(True)
    page.evaluate("dayfold('flush')")
    visitor.context.set_offline(False)
    collector.wait_for("page_viewed")
    assert stored(page) == []


def test_flag_that_says_false_is_off(visitor: Visitor, collector: Collector, site: Site) -> None:
    """Templates write `data-cookieless="false"`."""
    site.html = html(collector, 'data-cookieless="false" data-manual="false"')
    visitor.open("/a").evaluate("dayfold('flush')")
    [event] = collector.wait_for("page_viewed")
    assert "anonymous_id" in event
    assert "cookieless" not in collector.requests[0].envelope


def test_token_of_the_tag_goes_along_and_is_never_stored(visitor: Visitor, collector: Collector, site: Site) -> None:
    """The first page view is the user's own already."""
    token = jwt("ümit/1")
    site.html = html(collector, f'data-token="{token}"')
    page = visitor.open("/a")
    assert all(token not in text for text in page.evaluate("Object.entries(localStorage).flat()"))
    page.evaluate("dayfold('flush')")
    collector.wait_for("page_viewed")
    assert collector.requests[0].envelope["token"] == token
    page.evaluate("dayfold('track', 'one')")
    page.goto("about:blank")
    collector.wait_for("one")
    assert collector.requests[1].envelope["token"] == token


def test_token_speaks_for_events_of_its_own_user_alone(visitor: Visitor, collector: Collector) -> None:
    """Events from before the sign-in, of the user, and of the next one at the same machine go in envelopes of their own."""
    page = visitor.open("/a")
    visitor.context.set_offline(True)
    first, again, second = jwt("u1"), jwt("u1", exp=2), jwt("u2")
    page.evaluate(
        "([first, again, second]) => {"
        "dayfold('setToken', first); dayfold('track', 'of u1');"
        "dayfold('setToken', second); dayfold('track', 'of u2');"
        "dayfold('setToken', again); dayfold('track', 'of u1 again') }",
        [first, again, second],
    )
    visitor.context.set_offline(False)
    collector.wait_for("of u1 again")
    said = [(one.envelope.get("token"), [e["event_type"] for e in one.events]) for one in collector.requests]
    assert said == [(None, ["page_viewed"]), (again, ["of u1", "of u1 again"])]
    page.evaluate("(token) => { dayfold('setToken', token); dayfold('flush') }", second)
    collector.wait_for("of u2")
    assert collector.requests[-1].envelope["token"] == second
    assert collector.requests[-1].events[0]["event_type"] == "of u2"


def test_events_of_a_user_who_stays_away_go_without_a_token_after_a_day(visitor: Visitor, collector: Collector) -> None:
    """They are not lost, and nobody else's token speaks for them."""
    visitor.context.clock.install()
    page = visitor.open("/a")
    visitor.context.set_offline(True)
    page.evaluate("(token) => { dayfold('setToken', token); dayfold('track', 'one'); dayfold('setToken') }", jwt("u1"))
    visitor.context.set_offline(False)
    collector.wait_for("page_viewed")
    page.evaluate("dayfold('flush')")
    assert collector.acknowledged("one") == []
    visitor.context.clock.fast_forward(86_401_000)
    page.evaluate("(token) => { dayfold('setToken', token); dayfold('flush') }", jwt("u2"))
    collector.wait_for("one")
    assert "token" not in collector.requests[-1].envelope


def test_what_is_no_token_is_not_sent(visitor: Visitor, collector: Collector) -> None:
    """A text that speaks for nobody would only have the batch refused."""
    page = visitor.open("/a")
    page.evaluate("dayfold('setToken', 'a.b.c'); dayfold('track', 'one'); dayfold('flush')")
    collector.wait_for("one")
    assert all("token" not in one.envelope for one in collector.requests)


def test_reset_makes_another_visitor(visitor: Visitor, collector: Collector) -> None:
    """For a machine that several people use: after it nothing links the next one to the last."""
    page = visitor.open("/a")
    page.evaluate("(token) => { dayfold('setToken', token); dayfold('reset'); dayfold('track', 'one') }", jwt("u1"))
    page.evaluate("dayfold('flush')")
    viewed, one = collector.wait_for("page_viewed", "one", count=2)
    assert viewed["anonymous_id"] != one["anonymous_id"]
    assert viewed["session_id"] != one["session_id"]
    assert "token" not in collector.requests[-1].envelope
