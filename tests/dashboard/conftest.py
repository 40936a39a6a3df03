"""Sites with pages: on both engines, or on DuckDB where the engine does not matter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.chromium import chromium
from tests.dashboard.browser import LiveSite, live
from tests.dashboard.pages import PageSite
from tests.engines.ground import Ground
from tests.http.conftest import duck, quick_hashes, store
from tests.http.shops import COLUMNS, customers, order, rollups, studies

__all__ = ["duck", "quick_hashes", "store"]


@pytest.fixture
def shops(duck: Ground) -> Iterator[PageSite]:
    """Three shops, one of them NULL, with orders of ten days; rollups, profiles, a cohort and a funnel over them, folded."""
    rows = [
        order(shop, day, 100 * shop + day, channel, f"c{(day + shop) % 4}")
        for shop in (42, 43)
        for day in range(2, 11)
        for channel in ("web", "shop")
        if day != 5
    ]
    duck.load("orders", COLUMNS, [*rows, order(None, 3, 7), order(42, 4, 1_000_000, customer="<b>bold</b>")])
    duck.define(*rollups(duck), *studies(duck), customers(duck))
    duck.fold()
    with PageSite(duck) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a file, and no more: while it is there a loop runs in this thread, which other tests would meet."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def street(shops: PageSite, browser: Browser) -> Iterator[LiveSite]:
    """The shops behind an address."""
    with live(shops, browser) as made:
        yield made
