"""A real Chromium, a site and a collector. The tests of this folder need Debian's `chromium`, or what DAYFOLD_CHROMIUM names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.tracker.collector import Collector, Site, html

CHROMIUM = os.environ.get("DAYFOLD_CHROMIUM") or shutil.which("chromium")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # An origin without TLS and without the rights of localhost, on this machine.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser of this test process, with the cache for going back that people have."""
    if CHROMIUM is None:
        missing = pytest.fail if "CI" in os.environ else pytest.skip
        missing("needs a Chromium: apt-get install chromium, or DAYFOLD_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=SWITCHES, ignore_default_args=["--disable-back-forward-cache"]
        )
        yield browser
        browser.close()


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
