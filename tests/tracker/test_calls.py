"""What a page says itself: by attributes, by calls before and after the script came, and as a module."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.tracker.collector import STUB, Collector, Site, html
from tests.tracker.conftest import Visitor

CARD = """
<div data-dayfold="asset_clicked" data-dayfold-entity-type="asset" data-dayfold-entity-id="a7" data-dayfold-price_cents="1200">
  <b id=inside>Licence it</b></div>
<button id=plain>No event</button>
<form data-dayfold="search_performed" data-dayfold-place="header" action="javascript:0">
  <input name=secret value=hunter2><button id=send>Search</button></form>"""


def told(collector: Collector, page: Page, *types: str) -> list[dict[str, Any]]:
    """The events of these types, once everything up to now was sent."""
    page.evaluate("dayfold('track', 'end'); dayfold('flush')")
    collector.wait_for("end")
    return collector.acknowledged(*types)


def test_click_is_told_by_attribute(visitor: Visitor, collector: Collector, site: Site) -> None:
    """A click within an element that names an event; its other attributes are the properties and the entity."""
    site.html = html(collector, body=CARD)
    page = visitor.open("/a")
    page.click("#inside")
    page.click("#plain")
    [event] = told(collector, page, "asset_clicked")
    assert (event["entity_type"], event["entity_id"], event["properties"]) == ("asset", "a7", {"price_cents": "1200"})
    assert event["page"] == visitor.url("/a")


def test_submit_is_told_by_attribute_and_without_what_was_typed(
    visitor: Visitor, collector: Collector, site: Site
) -> None:
    """A form is told once, when it is submitted and not when it is clicked; its fields never leave the page."""
    site.html = html(collector, body=CARD)
    page = visitor.open("/a")
    page.click("input")
    page.click("#send")
    [event] = told(collector, page, "search_performed")
    assert event["properties"] == {"place": "header"}
    assert "hunter2" not in str(collector.requests)


def test_click_on_a_link_is_told_although_it_leaves_the_page(
    visitor: Visitor, collector: Collector, site: Site
) -> None:
    """The event is stored before the browser goes."""
    site.html = html(collector, body='<a href="/b" data-dayfold="cta_clicked">go</a>')
    page = visitor.open("/a")
    page.click("a")
    page.wait_for_url("**/b")
    [event] = collector.wait_for("cta_clicked")
    assert event["page"] == visitor.url("/a")


def test_calls_before_the_script_came_keep_their_moment(visitor: Visitor, collector: Collector, site: Site) -> None:
    """The stub notes when it was called; the events follow once the script is there."""
    site.html = html(
        collector, head="<script>window.called=Date.now();dayfold('track','cta_clicked',{place:'top'})</script>"
    )
    # The script's tag comes with a module, which waits for the page: the call lies in the stub until then.
    site.html = site.html.replace("<script async", "<script defer")
    page = visitor.open("/a")
    called = page.evaluate("window.called")
    [event] = told(collector, page, "cta_clicked")
    assert event["properties"] == {"place": "top"}
    assert abs(dt.datetime.fromisoformat(event["occurred_at"]).timestamp() * 1000 - called) < 2
    [viewed] = collector.acknowledged("page_viewed")
    assert viewed["occurred_at"] >= event["occurred_at"]


@pytest.mark.parametrize(
    "call",
    [
        "dayfold('track', 'a', { self: window })",
        "dayfold('track', 'a', { big: 1n })",
        "dayfold('nothing of that name')",
        "dayfold('constructor')",
        "dayfold()",
        "dayfold('setToken', 42)",
        "dayfold('track', 'a', { get x() { throw new Error('mine') } })",
        "document.dispatchEvent(new Event('click'))",
    ],
)
def test_mistakes_of_the_page_stay_without_effect(visitor: Visitor, collector: Collector, call: str) -> None:
    """Nothing is thrown, and the next event is told."""
    page = visitor.open("/a")
    page.evaluate(f"{call}; 0")
    assert [event["event_type"] for event in told(collector, page)] == ["page_viewed", "end"]


def test_pages_own_errors_in_the_history_are_its_own(visitor: Visitor) -> None:
    """A pushState that the browser refuses throws as it would without the tracker."""
    page = visitor.open("/a")
    assert page.evaluate("try { history.pushState({}, '', 'https://example.com/') } catch (error) { error.name }") == (
        "SecurityError"
    )


def test_module_makes_the_same_tracker(visitor: Visitor, collector: Collector, site: Site) -> None:
    """`import { createTracker }` for those who bundle; the calls that waited come along."""
    site.html = (
        f"<!doctype html><script type=module>import {{ createTracker }} from '{collector.host}/dayfold.mjs';"
        f"window.tracker = createTracker({{ key: 'wk_1', host: '{collector.host}/', manual: true, waiting: "
        "[[1e12, ['track', 'early', { n: 1 }]], [1e12, ['nonsense']]] });"
        "tracker.track('late', { entity_type: 'asset', entity_id: 'a7' }); tracker.flush()</script>"
    )
    visitor.context.new_page().goto(visitor.url("/a"))
    collector.wait_for("late")
    early, late = collector.acknowledged()
    assert (early["event_type"], early["occurred_at"]) == ("early", "2001-09-09T01:46:40.000Z")
    assert (late["event_type"], late["entity_id"], late["properties"]) == ("late", "a7", {})


def test_stub_is_the_one_of_the_how_to_page() -> None:
    """What the page tells people to copy is what these tests run."""
    from tests.docs.pages import DOCS

    assert f"<script>{STUB}</script>" in (DOCS / "how-to" / "track-a-website.md").read_text(encoding="utf-8")
