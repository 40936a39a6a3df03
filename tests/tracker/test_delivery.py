"""Every event reaches the collector once, whatever happens on the way."""

from __future__ import annotations

import contextlib
import datetime as dt
import time

import pytest
from playwright.sync_api import Error, Page

from tests.tracker.collector import Collector, Site, html
from tests.tracker.conftest import Visitor

SECOND = 1000


def left(page: Page) -> int:
    """Events that wait in the browser."""
    return int(page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('dayfold.wk_1.+')).length"))


def track(page: Page, *types: str) -> None:
    page.evaluate("(types) => types.forEach((type) => dayfold('track', type))", list(types))


def settled(page: Page) -> None:
    """Everything that waited was acknowledged."""
    page.wait_for_function("() => !Object.keys(localStorage).some((name) => name.startsWith('dayfold.wk_1.+'))")


def idle(page: Page, collector: Collector) -> None:
    """No request is on its way: who gets the lock knows that one that began has had its answer."""
    page.evaluate(
        "(name) => navigator.locks.request(name, { signal: AbortSignal.timeout(10000) }, () => 0)",
        f"{collector.host}/v1/events",
    )


def fetches(collector: Collector) -> list[list[str]]:
    """The types of the events of each request that was no beacon."""
    return [[event["event_type"] for event in one.events] for one in collector.requests if not one.beacon]


def test_ten_events_go_at_once_and_fewer_after_five_seconds(visitor: Visitor, collector: Collector) -> None:
    """A batch is sent when it is full, or five seconds after its first event."""
    visitor.context.clock.install()
    visitor.context.clock.pause_at(dt.datetime.now() + dt.timedelta(hours=1))
    page = visitor.open("/a")
    visitor.context.clock.run_for(4 * SECOND)
    track(page, *"bcdefghi")
    assert fetches(collector) == []
    track(page, "j")
    collector.wait(lambda: collector.requests)
    settled(page)
    assert fetches(collector) == [["page_viewed", *"bcdefghij"]]
    track(page, "k")
    visitor.context.clock.run_for(4900)
    assert len(collector.requests) == 1
    visitor.context.clock.run_for(200)
    collector.wait_for("k")
    assert fetches(collector)[1:] == [["k"]]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_refused_batch_is_sent_again_with_the_same_ids(visitor: Visitor, collector: Collector, status: int) -> None:
    """Later and later: each pause may be up to twice as long as the one before, and nothing is asked meanwhile."""
    visitor.context.clock.install()
    collector.behave(status)
    page = visitor.open("/a")
    visitor.context.clock.pause_at(dt.datetime.now() + dt.timedelta(seconds=3))
    page.evaluate("dayfold('flush')")
    pauses = []
    for tries in range(2, 9):
        waited = 0
        while len(collector.requests) < tries:
            assert waited < 400, "not sent again"
            visitor.context.clock.run_for(SECOND)
            waited += 1
            idle(page, collector)
        pauses.append(waited)
    collector.behave(200)
    visitor.context.clock.run_for(300 * SECOND)
    collector.wait(collector.acknowledged)
    settled(page)
    assert len({tuple(one.ids) for one in collector.requests}) == 1
    assert all(2**n / 2 <= pause <= max(6, 2**n + 1) for n, pause in enumerate(pauses, 1)), pauses
    assert pauses[-1] > 60
    sent = [one.envelope["sent_at"] for one in collector.requests]
    assert sorted(set(sent)) == sent


def test_retry_after_is_honoured_by_every_tab(visitor: Visitor, collector: Collector) -> None:
    """Until the moment that a 429 names no tab asks, not even for ten new events or on a new page."""
    visitor.context.clock.install()
    collector.behave(429, Retry_After="600")
    page = visitor.open("/a")
    page.evaluate("dayfold('flush')")
    collector.behave(200)
    requests = len(collector.requests)
    assert requests == 1
    track(page, *"bcdefghijklm")
    other = visitor.open("/b")
    track(other, "n")
    for tab in (page, other):
        tab.evaluate("dispatchEvent(new Event('online'))")
        tab.evaluate("dayfold('flush')")
    visitor.context.clock.run_for(590 * SECOND)
    other.evaluate("dayfold('flush')")
    assert len(collector.requests) == requests
    visitor.context.clock.run_for(20 * SECOND)
    assert len(collector.wait_for(count=15)) == 15


def test_retry_after_of_a_clock_that_was_wrong_is_forgotten(visitor: Visitor, collector: Collector) -> None:
    """A rest that seems to last for days is no rest."""
    page = visitor.open("/a")
    page.evaluate("localStorage['dayfold.wk_1.rest'] = Date.now() + 864e5; dayfold('flush')")
    collector.wait_for("page_viewed")


@pytest.mark.parametrize("status", [400, 401, 403, 415])
def test_batch_that_is_refused_for_good_is_dropped_and_counted(
    visitor: Visitor, collector: Collector, status: int
) -> None:
    """It is not sent again, and the next envelope says how many were lost, until one was taken."""
    collector.behave(status)
    page = visitor.open("/a")
    page.evaluate("dayfold('flush')")
    assert left(page) == 0
    assert page.evaluate("dayfold('dropped')") == 1
    collector.behave(200)
    for kind in ("one", "two"):
        track(page, kind)
        page.evaluate("dayfold('flush')")
    assert fetches(collector) == [["page_viewed"], ["one"], ["two"]]
    assert [one.envelope.get("dropped") for one in collector.requests] == [None, 1, None]


def test_batch_that_is_too_large_is_split(visitor: Visitor, collector: Collector) -> None:
    """Halved until it is taken; no event is lost or sent twice to somebody who took it."""
    collector.behave(most=3)
    page = visitor.open("/a")
    track(page, *"bcdefghi")
    page.evaluate("dayfold('flush')")
    settled(page)
    taken = [one for one in collector.requests if one.status == 200]
    ids = [id_ for one in taken for id_ in one.ids]
    assert len(ids) == len(set(ids)) == 9
    assert max(len(one.ids) for one in taken) <= 3


def test_single_event_that_is_too_large_is_dropped(visitor: Visitor, collector: Collector) -> None:
    """It would be too large for ever, and it does not keep the others."""
    collector.behave(413)
    page = visitor.open("/a")
    page.evaluate("dayfold('flush')")
    assert left(page) == 0
    assert page.evaluate("dayfold('dropped')") == 1


def test_server_that_hangs_is_given_up_and_asked_again(visitor: Visitor, collector: Collector) -> None:
    """After thirty seconds the request is given up, and with it the other tabs' wait."""
    visitor.context.clock.install()
    collector.behave(0)
    page = visitor.open("/a")
    page.evaluate("void dayfold('flush')")
    collector.wait(lambda: collector.requests)
    ids = collector.requests[0].ids
    visitor.context.clock.run_for(31 * SECOND)
    idle(page, collector)
    collector.behave(200)
    visitor.context.clock.run_for(10 * SECOND)
    collector.wait_for("page_viewed")
    assert collector.requests[-1].ids == ids


def test_being_online_again_ends_the_pause(visitor: Visitor, collector: Collector) -> None:
    """What failed for want of a network is sent as soon as there is one."""
    visitor.context.clock.install()
    page = visitor.open("/a")
    visitor.context.clock.pause_at(dt.datetime.now() + dt.timedelta(seconds=3))
    visitor.context.set_offline(True)
    for _ in range(4):
        page.evaluate("dayfold('flush')")
        visitor.context.clock.run_for(20 * SECOND)
        idle(page, collector)
    visitor.context.set_offline(False)
    collector.wait_for("page_viewed")


def test_offline_and_back_every_event_once_on_its_day(visitor: Visitor, collector: Collector) -> None:
    """Three days of events without a network come in once each, with the days on which they happened."""
    start = dt.datetime.now(dt.UTC).replace(hour=12, minute=0, second=0, microsecond=0) - dt.timedelta(days=3)
    visitor.context.clock.install(time=start)
    page = visitor.open("/a")
    page.evaluate("dayfold('flush')")
    visitor.context.set_offline(True)
    for _ in range(3):
        track(page, "asset_viewed", "cta_clicked")
        visitor.context.clock.fast_forward(86_400 * SECOND)
    assert len(collector.requests) == 1
    visitor.context.set_offline(False)
    settled(page)
    # The first came in three days ago as the browser counts; here both clocks are compared at each sending.
    ids = [id_ for one in collector.requests for id_ in one.ids]
    assert len(ids) == len(set(ids)) == 7
    today = dt.datetime.now(dt.UTC)
    days = [(today - dt.timedelta(days=n)).date().isoformat() for n in (3, 3, 2, 2, 1, 1)]
    assert collector.days()[1:] == days


def test_offline_tab_that_was_closed_is_heard_of_on_the_next_visit(visitor: Visitor, collector: Collector) -> None:
    """What a tab could not send lies in the browser, for whichever page comes next."""
    page = visitor.open("/a")
    page.evaluate("dayfold('flush')")
    visitor.context.set_offline(True)
    track(page, "one", "two")
    page.close()
    visitor.context.set_offline(False)
    visitor.open("/b").evaluate("dayfold('flush')")
    collector.wait_for("one", "two", count=2)
    ids = [id_ for one in collector.requests for id_ in one.ids]
    assert len(ids) == len(set(ids)) == 4


def test_queue_has_a_cap_and_counts_what_it_drops(visitor: Visitor, collector: Collector) -> None:
    """A thousand events wait at most; the oldest go, and the collector hears how many."""
    visitor.context.set_offline(False)
    page = visitor.open("/a")
    visitor.context.set_offline(True)
    page.evaluate("for (let n = 0; n < 1004; n++) dayfold('track', 'n' + n)")
    assert left(page) == 1000
    assert page.evaluate("dayfold('dropped')") == 5
    visitor.context.set_offline(False)
    settled(page)
    types = [event["event_type"] for event in collector.acknowledged()]
    assert sorted(types) == sorted(f"n{n}" for n in range(4, 1004))
    assert [one.envelope.get("dropped") for one in collector.requests][:2] == [5, None]
    assert max(len(one.events) for one in collector.requests) == 50
    assert page.evaluate("dayfold('dropped')") == 0


def test_page_that_is_left_sends_a_beacon(visitor: Visitor, collector: Collector) -> None:
    """What had not gone yet goes as text with the key in it; nothing waits for a next page."""
    page = visitor.open("/a")
    track(page, "one")
    page.goto("about:blank")
    collector.wait_for("one")
    [beacon] = collector.requests
    assert beacon.beacon
    assert beacon.headers["content-type"].startswith("text/plain")
    assert beacon.envelope["write_key"] == "wk_1"
    assert [event["event_type"] for event in beacon.events] == ["one", "page_viewed"]


def test_what_a_beacon_carried_is_sent_again_under_the_same_ids(visitor: Visitor, collector: Collector) -> None:
    """Nobody knows whether a beacon arrived, so its events wait for an answer; then they are gone."""
    page = visitor.open("/a")
    track(page, "one")
    visitor.go(page, "/b")
    assert left(page) >= 2
    page.evaluate("dayfold('flush')")
    settled(page)
    beacon, again = collector.requests
    assert beacon.beacon
    assert set(beacon.ids) < set(again.ids)


def test_beacon_that_failed_loses_nothing(visitor: Visitor, collector: Collector) -> None:
    """A collector that was away when the page was left gets its events with the next page's."""
    collector.behave(503)
    page = visitor.open("/a")
    track(page, "one")
    visitor.go(page, "/b")
    collector.wait(lambda: collector.requests)
    assert collector.acknowledged() == []
    collector.behave(200)
    page.evaluate("dayfold('flush')")
    assert [event["event_type"] for event in collector.wait_for("one")] == ["one"]


def test_page_closed_within_a_tenth_of_a_second_is_heard_of(visitor: Visitor, collector: Collector) -> None:
    """A visitor who closes the tab at once was there."""
    page = visitor.context.new_page()
    page.goto(visitor.url("/a"))
    page.wait_for_function("() => window.dayfold && window.dayfold.live", polling=5)
    page.close(run_before_unload=True)
    [event] = collector.wait_for("page_viewed")
    assert event["page"] == visitor.url("/a")
    assert collector.requests[0].beacon


def test_hidden_tab_sends_a_beacon_and_no_more_until_it_is_seen_again(visitor: Visitor, collector: Collector) -> None:
    """A phone may end a page that is hidden without a word; one that goes on does not tell everything twice at once."""
    visitor.context.clock.install()
    page = visitor.open("/a")
    hide(page, True)
    collector.wait_for("page_viewed")
    visitor.context.clock.run_for(60 * SECOND)
    idle(page, collector)
    assert [one.beacon for one in collector.requests] == [True]
    hide(page, False)
    visitor.context.clock.run_for(6 * SECOND)
    settled(page)
    assert [one.beacon for one in collector.requests] == [True, False]
    hide(page, True)
    page.goto("about:blank")
    assert len(collector.requests) == 2


def hide(page: Page, hidden: bool) -> None:
    """The page is as in a tab that another one covers, or seen again."""
    page.evaluate(
        "(hidden) => { if (hidden) Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
        "else delete document.hidden;"
        "document.dispatchEvent(new Event('visibilitychange')) }",
        hidden,
    )


def test_beacon_carries_what_fits_the_newest_first(visitor: Visitor, collector: Collector) -> None:
    """A browser takes 64 kB; the rest is stored for the next page."""
    collector.behave(503)
    page = visitor.open("/a")
    page.evaluate("dayfold('flush')")
    page.evaluate("for (const n of '123456789') dayfold('track', 'n' + n, { text: 'é'.repeat(6000) })")
    collector.behave(200)
    visitor.go(page, "/b")
    collector.wait(lambda: any(one.beacon for one in collector.requests))
    [beacon] = [one for one in collector.requests if one.beacon]
    assert beacon.size < 64 * 1024
    assert [event["event_type"] for event in beacon.events] == ["n9", "n8", "n7", "n6"]
    collector.wait_for(*(f"n{n}" for n in range(1, 10)), count=9)


def test_two_tabs_send_each_event_once(visitor: Visitor, collector: Collector) -> None:
    """Both come back from being offline in the same instant, and share one queue."""
    first, second = visitor.open("/a"), visitor.open("/b")
    visitor.context.set_offline(True)
    for n in range(30):
        track(first, f"a{n}")
        track(second, f"b{n}")
    visitor.context.set_offline(False)
    for page in (first, second):
        settled(page)
    ids = [id_ for one in collector.requests for id_ in one.ids]
    assert len(ids) == len(set(ids)) == 62


def test_two_tabs_without_locks_send_each_event_once(visitor: Visitor, collector: Collector) -> None:
    """On a page without TLS there are no locks and no randomUUID: each tab sends what it made."""
    first, second = visitor.open("/a", host="shop.test"), visitor.open("/b", host="shop.test")
    assert not first.evaluate("isSecureContext || 'locks' in navigator || 'randomUUID' in crypto")
    visitor.context.set_offline(True)
    for n in range(30):
        track(first, f"a{n}")
        track(second, f"b{n}")
    visitor.context.set_offline(False)
    for page in (first, second):
        settled(page)
    ids = [id_ for one in collector.requests for id_ in one.ids]
    assert len(ids) == len(set(ids)) == 62
    assert all(len(id_) == 36 and id_[14] == "4" and id_[19] in "89ab" for id_ in ids)


@pytest.mark.parametrize("host", ["127.0.0.1", "shop.test"])
def test_events_of_a_tab_that_died_are_sent_by_another(visitor: Visitor, collector: Collector, host: str) -> None:
    """A browser that crashed tells on the next visit; where there are no locks, ten minutes later."""
    visitor.context.clock.install()
    page = visitor.open("/a", host=host)
    visitor.context.set_offline(True)
    track(page, "one")
    # It dies without an event of the page: nothing of it runs any more.
    with page.expect_event("crash"), contextlib.suppress(Error):
        page.goto("chrome://crash")
    page.close()
    visitor.context.set_offline(False)
    other = visitor.open("/b", host=host)
    other.evaluate("dayfold('flush')")
    collector.wait(lambda: any(event["page"].endswith("/b") for event in collector.acknowledged()))
    if host == "shop.test":
        assert collector.acknowledged("one") == []
        visitor.context.clock.fast_forward(601 * SECOND)
        other.evaluate("dayfold('flush')")
    collector.wait_for("one")


def test_wrong_clock_is_told_so_that_the_day_is_right(visitor: Visitor, collector: Collector) -> None:
    """A clock that is a day ahead dates events tomorrow; with the moment of sending the collector knows better."""
    visitor.context.clock.install(time=dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
    page = visitor.open("/a")
    page.evaluate("dayfold('flush')")
    [event] = collector.wait_for("page_viewed")
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    occurred = dt.datetime.fromisoformat(event["occurred_at"])
    assert abs(occurred - tomorrow) < dt.timedelta(minutes=1)
    assert collector.days() == [dt.datetime.now(dt.UTC).date().isoformat()]


THROWS = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError') } })"
REFUSES = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }"
NONE = "Object.defineProperty(window, 'localStorage', { value: null })"


@pytest.mark.parametrize("script", [THROWS, REFUSES, NONE], ids=["denied", "full", "none"])
def test_without_storage_events_are_sent_from_memory(visitor: Visitor, collector: Collector, script: str) -> None:
    """A private window without localStorage is counted as a page of its own, with retries and a beacon."""
    visitor.context.add_init_script(script)
    collector.behave(503)
    page = visitor.open("/a")
    track(page, "one")
    page.evaluate("dayfold('flush')")
    collector.behave(200)
    page.evaluate("dispatchEvent(new Event('online'))")
    viewed, one = collector.wait_for("page_viewed", "one", count=2)
    assert viewed["session_id"] == one["session_id"]
    assert viewed["anonymous_id"] == one["anonymous_id"]
    track(page, "two")
    page.goto("about:blank")
    collector.wait_for("two")


def test_storage_that_fills_up_on_the_way_loses_nothing(visitor: Visitor, collector: Collector, site: Site) -> None:
    """The site itself may use up what a browser allows."""
    site.html = html(collector, head="<script>localStorage.x='x'.repeat(5*1024*1024-200)</script>")
    page = visitor.open("/a")
    track(page, "one", "two")
    page.evaluate("dayfold('flush')")
    assert len(collector.wait_for(count=3)) == 3
    assert page.evaluate("localStorage.length") >= 1


def test_browser_without_beacons_tells_on_the_next_page(visitor: Visitor, collector: Collector) -> None:
    """Leaving never throws; what was stored is sent later."""
    visitor.context.add_init_script("delete Navigator.prototype.sendBeacon")
    page = visitor.open("/a")
    track(page, "one")
    visitor.go(page, "/b")
    assert collector.requests == []
    page.evaluate("dayfold('flush')")
    collector.wait_for("one")


def test_locks_that_are_refused_do_not_keep_events(visitor: Visitor, collector: Collector) -> None:
    """A browser that has locks and denies them is one without."""
    visitor.context.add_init_script("LockManager.prototype.request = () => Promise.reject(new Error('no'))")
    visitor.open("/a").evaluate("dayfold('flush')")
    collector.wait_for("page_viewed")


def test_page_does_not_wait_for_the_collector(visitor: Visitor, collector: Collector) -> None:
    """A thousand calls while the collector hangs take the page a moment."""
    collector.behave(0)
    page = visitor.open("/a")
    began = time.monotonic()
    page.evaluate("for (let n = 0; n < 300; n++) dayfold('track', 'n' + n); 0")
    assert page.evaluate("1 + 1") == 2
    assert time.monotonic() - began < 5
