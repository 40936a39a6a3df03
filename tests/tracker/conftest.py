"""A real Chromium, a site and a collector. The tests of this folder need Debian's `chromium`, or what DAYFOLD_CHROMIUM names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.chromium import chromium
from tests.tracker.collector import Collector, Site, html


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a file, with the cache for going back that people have.

    For no more than that: while it is there a loop runs in this thread, which other tests would meet.
    """
    with chromium() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor: storage of his own."""
    context = browser.new_context(locale="en-GB", timezone_id="Asia/Kathmandu")
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Where events go."""
    with Collector() as collector:
        yield collector


@pytest.fixture
def site(collector: Collector) -> Iterator[Site]:
    """A site whose every page has the tracker."""
    with Site() as site:
        site.html = html(collector)
        yield site


class Visitor:
    """Opens pages of the site."""

    def __init__(self, context: BrowserContext, site: Site, errors: list[str]) -> None:
        self.context = context
        self.site = site
        self.errors = errors

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.site.port}{path}"

    def open(self, path: str = "/", host: str = "127.0.0.1", referer: str | None = None) -> Page:
        """A new tab with a page of the site, and the tracker running in it."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.go(page, path, host, referer)
        return page

    def go(self, page: Page, path: str, host: str = "127.0.0.1", referer: str | None = None) -> None:
        page.goto(self.url(path, host), referer=referer)
        page.wait_for_function("() => window.dayfold && window.dayfold.live")


@pytest.fixture
def visitor(context: BrowserContext, site: Site) -> Iterator[Visitor]:
    """A visitor of the site; no page may have seen an exception."""
    errors: list[str] = []
    yield Visitor(context, site, errors)
    assert errors == []
