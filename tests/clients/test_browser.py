"""@segment/analytics-next, as it is published, in a real Chromium: a host, a write key, and nothing else."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import NOW
from tests.clients import sending
from tests.clients.conftest import MODULES
from tests.collecting import Station
from tests.loopback import Answers, Loopback

pytest.importorskip("playwright", reason="needs playwright")
from playwright.sync_api import Browser, BrowserContext, Page, Response, sync_playwright

CHROMIUM = os.environ.get("DAYFOLD_CHROMIUM") or shutil.which("chromium")
LIBRARY = MODULES / "@segment" / "analytics-next" / "dist" / "umd"
TODAY = dt.datetime.fromisoformat(NOW).date()
#: The three ways to say where events go.
BY_SETTINGS = "{writeKey: '%(key)s', cdnURL: '%(host)s'}"
BY_HAND = (
    "{writeKey: '%(key)s', cdnSettings: {integrations: {"
    "'Segment.io': {apiKey: '%(key)s', apiHost: '%(bare)s/v1', protocol: 'http'}}}}"
)
IN_BATCHES = (
    "{writeKey: '%(key)s', cdnSettings: {integrations: {"
    "'Segment.io': {apiKey: '%(key)s', apiHost: '%(bare)s/v1', protocol: 'http', "
    "deliveryStrategy: {strategy: 'batching', config: {size: 4, timeout: 200}}}}}}"
)
PAGE = """\
<!doctype html><title>A page</title><link rel=icon href=data:,><script src="/lib/index.js"></script>
<script>window.analytics = AnalyticsNext.AnalyticsBrowser.load(%s)</script>
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium."""
    if CHROMIUM is None or not LIBRARY.is_dir():
        assert not os.environ.get("CI"), "CI has Chromium and the libraries"
        pytest.skip("needs a Chromium (apt-get install chromium, or DAYFOLD_CHROMIUM) and npm ci in tests/clients/node")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


class Visit:
    """A site with the library, and a visitor of it."""

    def __init__(self, context: BrowserContext, site: str, station: Station) -> None:
        self.context = context
        self.site = site
        self.station = station
        self.html = ""
        #: The ids of the messages that the collector acknowledged while a page was there to see it.
        self.acknowledged: set[str] = set()
        self.refused: list[int] = []
        context.on("response", self._saw)
        self.says(BY_SETTINGS)

    def says(self, options: str) -> None:
        """The pages load the library with these options."""
        where = {"key": self.station.page_key, "host": self.station.host, "bare": self.station.host.partition("//")[2]}
        self.html = PAGE % (options % where)

    def open(self, path: str = "/") -> Page:
        """A page, with the library at work."""
        page = self.context.new_page()
        page.goto(self.site + path)
        page.evaluate("() => analytics.ready()")
        return page

    def wait_for(self, page: Page, count: int) -> None:
        """So many messages were acknowledged."""
        for _ in range(900):
            if len(self.acknowledged) >= count:
                return
            page.wait_for_timeout(50)
        raise AssertionError(f"{len(self.acknowledged)} of {count} messages were acknowledged")

    def _saw(self, answer: Response) -> None:
        request = answer.request
        if request.method != "POST" or not request.url.startswith(self.station.host):
            return
        if answer.status != 200:
            self.refused.append(answer.status)
            return
        body = json.loads(request.post_data or "{}")
        self.acknowledged |= {one["messageId"] for one in body.get("batch", [body])}


@pytest.fixture
def visit(browser: Browser, station: Station) -> Iterator[Visit]:
    """A visitor of a site of another origin than the collector's."""
    found: list[Visit] = []

    class Pages(Answers):
        def do_GET(self) -> None:
            if self.path.startswith("/lib/"):
                self.answer(200, (LIBRARY / Path(self.path).name).read_bytes(), Content_Type="text/javascript")
            else:
                self.answer(200, found[0].html.encode(), Content_Type="text/html; charset=utf-8")

    with Loopback(Pages) as site:
        context = browser.new_context(timezone_id="Asia/Kathmandu")
        context.set_default_timeout(20_000)
        found.append(Visit(context, site.origin, station))
        yield found[0]
        context.close()


@sending.on("duckdb")
@pytest.mark.parametrize("options", [BY_SETTINGS, BY_HAND, IN_BATCHES], ids=["settings", "by hand", "batches"])
def test_every_call(visit: Visit, options: str) -> None:
    """Each is one event of the browser; a page says nothing of who its visitor is."""
    visit.says(options)
    page = visit.open("/a?utm_source=news&utm_campaign=spring&utm_medium=email")
    page.evaluate(
        """async () => {
            await analytics.page("Docs", "Start")
            await analytics.track("asset_viewed", {project_id: "p1", cents: 5})
            await analytics.identify("ada", {plan: "pro"})
            await analytics.track("signed_up", {plan: "pro"})
            await analytics.group("acme", {seats: 5})
            await analytics.alias("ada-2")
        }"""
    )
    visit.wait_for(page, 6)
    anonymous = page.evaluate("() => analytics.instance.user().anonymousId()")
    found = visit.station.events(
        "event_type, CAST(occurred_at AS date), actor_id, anonymous_id, source, trust, project_id, utm_source, utm_campaign, browser, page"
    )
    address = f"{visit.site}/a?utm_source=news&utm_campaign=spring&utm_medium=email"
    assert sorted(found) == [
        (kind, TODAY, None, anonymous, "web", "public", project, "news", "spring", found[0][-2], address)
        for kind, project in [
            ("aliased", None), ("asset_viewed", "p1"), ("grouped", None), ("identified", None), ("page_viewed", None), ("signed_up", None),
        ]
    ]  # fmt: skip
    assert "Chrom" in str(found[0][-2])
    assert visit.refused == []


@sending.on("duckdb", "postgres")
def test_it_goes_offline_and_comes_back(visit: Visit) -> None:
    """What it keeps meanwhile is sent by the page that stays, and by the next one after a page that goes; each event once."""
    page = visit.open()
    track = "async (types) => { for (const n of types) await analytics.track('asset_viewed', {n}) }"
    page.evaluate(track, [1, 2])
    visit.wait_for(page, 2)
    visit.context.set_offline(True)
    page.evaluate(track, [3, 4])
    page.wait_for_timeout(300)
    assert len(visit.acknowledged) == 2
    visit.context.set_offline(False)
    visit.wait_for(page, 4)
    visit.context.set_offline(True)
    page.evaluate(track, [5, 6])
    visit.context.set_offline(False)
    page.goto("about:blank")
    page.close()
    page = visit.open()
    page.evaluate(track, [7])
    visit.wait_for(page, 7)
    found = visit.station.events("CAST(properties->>'n' AS bigint), CAST(occurred_at AS date)")
    assert sorted(found) == [(n, TODAY) for n in range(1, 8)]


@sending.on("duckdb")
def test_the_server_is_killed_while_it_sends(visit: Visit) -> None:
    """It tries again with the same ids; every event is there once."""
    page = visit.open()
    page.evaluate(
        """() => {
            let n = 0
            const timer = setInterval(() => {
                analytics.track("asset_viewed", {n})
                if (++n === 60) clearInterval(timer)
            }, 20)
        }"""
    )
    visit.wait_for(page, 5)
    visit.station.kill()
    page.wait_for_timeout(1500)
    visit.station.start()
    visit.wait_for(page, 60)
    assert Counter(visit.station.events("CAST(properties->>'n' AS bigint)")) == Counter((n,) for n in range(60))
