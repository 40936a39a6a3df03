"""Page views: each page that a visitor sees is told once, however the site shows it."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.tracker.collector import Collector, Site, html
from tests.tracker.conftest import Visitor


def viewed(collector: Collector, page: Page) -> list[str]:
    """The paths of all page views up to now, told in order."""
    page.evaluate("dayfold('track', 'end'); dayfold('flush')")
    collector.wait_for("end")
    events = sorted(collector.acknowledged("page_viewed"), key=lambda event: event["occurred_at"])
    return [event["page"].split("/", 3)[3] for event in events]


def test_page_that_is_loaded_is_viewed_once(visitor: Visitor, collector: Collector) -> None:
    """One page view, with its address, as a web event of a visitor in a session."""
    page = visitor.open("/a?x=1#part")
    page.evaluate("dayfold('flush')")
    [event] = collector.wait_for("page_viewed")
    assert event["page"] == visitor.url("/a?x=1")
    assert event["source"] == "web"
    assert event["properties"] == {}
    assert len(event["id"]) == len(event["session_id"]) == len(event["anonymous_id"]) == 36
    assert set(event) == {
        "id", "event_type", "source", "occurred_at", "page", "properties", "attribution", "session_id", "anonymous_id",
    }  # fmt: skip
    assert collector.requests[0].envelope["write_key"] == "wk_1"
    assert collector.requests[0].headers["content-type"].startswith("text/plain")
    assert collector.preflights == 0


def test_new_addresses_in_the_history_are_views(visitor: Visitor, collector: Collector) -> None:
    """pushState and going back are views; the same address again is none."""
    page = visitor.open("/a")
    page.evaluate("history.pushState({}, '', '/b')")
    page.evaluate("history.pushState({}, '', '/b')")
    page.evaluate("history.pushState({}, '', '/b?page=2')")
    page.evaluate("history.pushState({step: 1}, '')")
    with page.expect_event("framenavigated"):
        page.evaluate("history.go(-3)")
    assert viewed(collector, page) == ["a", "b", "b?page=2", "b"]


def test_replaced_address_is_a_view_when_its_path_is_another(visitor: Visitor, collector: Collector) -> None:
    """Filters that write themselves into the query are no page views."""
    page = visitor.open("/a")
    page.evaluate("history.replaceState({}, '', '/a?filter=red')")
    page.evaluate("history.pushState({}, '', '/a?filter=red')")
    page.evaluate("history.replaceState({}, '', '/c')")
    assert viewed(collector, page) == ["a", "c"]


def test_hash_is_no_view(visitor: Visitor, collector: Collector) -> None:
    """A jump within a page is none of its own."""
    page = visitor.open("/a")
    page.evaluate("location.hash = 'part'")
    page.evaluate("history.pushState({}, '', '#other')")
    page.evaluate(
        "new Promise((done) => { addEventListener('hashchange', done); location.hash = 'third' }).then(() => 0)"
    )
    assert viewed(collector, page) == ["a"]


def test_hash_is_a_view_where_the_tag_says_so(visitor: Visitor, collector: Collector, site: Site) -> None:
    """`data-hash`: a router that lives after the #."""
    site.html = html(collector, "data-hash")
    page = visitor.open("/#/a")
    page.evaluate("new Promise((done) => { addEventListener('hashchange', done); location.hash = '/b' }).then(() => 0)")
    page.evaluate("history.replaceState({}, '', '#/c')")
    assert viewed(collector, page) == ["#/a", "#/b", "#/c"]


def test_page_from_the_cache_for_going_back_is_viewed_again(visitor: Visitor, collector: Collector) -> None:
    """The tracker neither keeps a page out of the browser's cache nor misses that it came back from it."""
    page = visitor.open("/a")
    page.evaluate("window.kept = true")
    visitor.go(page, "/b")
    page.go_back(wait_until="commit")
    assert page.evaluate("window.kept"), "the page was loaded again instead of coming back"
    assert viewed(collector, page) == ["a", "b", "a"]


def test_request_that_hangs_holds_up_no_other_page(visitor: Visitor, collector: Collector) -> None:
    """When its page is left it is given up with its lock, although the page lies in the cache; from there it comes back whole."""
    collector.behave(0)
    page = visitor.open("/a")
    page.evaluate("window.kept = true; void dayfold('flush')")
    collector.wait(lambda: collector.requests)
    visitor.go(page, "/b")
    collector.behave(200)
    page.evaluate("dayfold('flush')")
    assert any(event["page"].endswith("/b") for event in collector.acknowledged(beacons=False))
    page.go_back(wait_until="commit")
    assert page.evaluate("window.kept"), "the page was loaded again instead of coming back"
    assert viewed(collector, page) == ["a", "b", "a"]


def test_page_that_is_made_ready_ahead_is_viewed_when_it_is_shown(visitor: Visitor, collector: Collector) -> None:
    """A browser that prerenders a page nobody looks at yet makes no page view."""
    visitor.context.add_init_script("Object.defineProperty(document, 'prerendering', { value: true })")
    page = visitor.open("/a")
    page.evaluate("dayfold('track', 'early'); dayfold('flush')")
    collector.wait_for("early")
    assert collector.acknowledged("page_viewed") == []
    page.evaluate("document.dispatchEvent(new Event('prerenderingchange'))")
    assert viewed(collector, page) == ["a"]


def test_page_views_are_the_sites_own_where_the_tag_says_so(visitor: Visitor, collector: Collector, site: Site) -> None:
    """`data-manual`: nothing but `page(…)` makes a view."""
    site.html = html(collector, "data-manual")
    page = visitor.open("/a")
    page.evaluate("history.pushState({}, '', '/b'); dayfold('page', { ip_asset_id: 'a7' })")
    assert viewed(collector, page) == ["b"]
    assert collector.acknowledged("page_viewed")[0]["properties"] == {"ip_asset_id": "a7"}


def test_tag_says_what_its_page_is_about(visitor: Visitor, collector: Collector, site: Site) -> None:
    """`data-dayfold-*` of the script become properties of the page view, and its entity."""
    site.html = html(
        collector, 'data-dayfold-entity-type="asset" data-dayfold-entity-id="a7" data-dayfold-project-id="p1"'
    )
    visitor.open("/a").evaluate("dayfold('flush')")
    [event] = collector.wait_for("page_viewed")
    assert (event["entity_type"], event["entity_id"], event["properties"]) == ("asset", "a7", {"project_id": "p1"})


def test_tag_that_stands_twice_counts_once(visitor: Visitor, collector: Collector, site: Site) -> None:
    """A template that was included twice doubles nothing."""
    tag = f'<script src="{collector.host}/dayfold.js" data-key="wk_1"></script>'
    site.html = html(collector, body=tag)
    assert viewed(collector, visitor.open("/a")) == ["a"]
