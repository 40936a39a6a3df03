"""A rollup's page in a real browser: charts, receipts, the keyboard, colours, phones, zones, and life without scripts."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.browser import DESKTOP, PHONE, LiveSite

SPAN = "from=2026-03-01&to=2026-03-12"
ROLLUP = f"/rollups/ShopDaily?metrics=orders&{SPAN}"


def drawn(page: Page) -> Any:
    """The chart, once a script has drawn it."""
    page.wait_for_selector("figure[data-chart] canvas")
    return page.locator("figure[data-chart]").first


@pytest.mark.parametrize("timezone", ["America/New_York", "Asia/Kathmandu"])
def test_days_are_the_same_wherever_the_browser_is(street: LiveSite, timezone: str) -> None:
    """On the axis, in the legend under the mouse, in the table, and in the range that is drawn with the mouse."""
    with street.visit(timezone=timezone) as visit:
        page = visit.open(ROLLUP)
        chart = drawn(page)
        days = page.locator("#rows tbody th").all_inner_texts()
        assert days == [f"2026-03-{day:02}" for day in range(12, 0, -1)]
        over = chart.locator(".u-over").bounding_box()
        assert over
        # The first of twelve days stands at the left end.
        page.mouse.move(over["x"] + 1, over["y"] + 20)
        legend = chart.locator(".u-legend .u-value").first
        expect(legend).to_have_text("2026-03-01")
        assert page.input_value("#from") == "2026-03-01"


def test_range_is_drawn_with_the_mouse(street: LiveSite) -> None:
    """It becomes the page's address, numbers and all; going back shows what was."""
    with street.visit() as visit:
        page = visit.open(ROLLUP)
        over = drawn(page).locator(".u-over").bounding_box()
        assert over
        step = over["width"] / 11
        page.mouse.move(over["x"] + 2.7 * step, over["y"] + 30)
        page.mouse.down()
        page.mouse.move(over["x"] + 6.2 * step, over["y"] + 40, steps=5)
        page.mouse.up()
        page.wait_for_url("**from=2026-03-04**")
        assert "to=2026-03-07" in page.url
        expect(page.locator("#rows tbody th")).to_have_text(["2026-03-07", "2026-03-06", "2026-03-05", "2026-03-04"])
        drawn(page)
        page.evaluate("history.back()")
        expect(page.locator("#rows tbody th")).to_have_count(12)


def test_number_opens_its_receipt_and_the_keyboard_closes_it(street: LiveSite) -> None:
    """By keys alone: to the number, into its receipt, on to a cell of it, and back to where one was."""
    with street.visit() as visit:
        page = visit.open(ROLLUP)
        link = page.locator('[data-total="orders"] a')
        link.focus()
        page.keyboard.press("Enter")
        sheet = page.locator("dialog#receipt")
        expect(sheet.locator("h2")).to_have_text("ShopDaily: orders")
        sheet.locator("tbody a[data-receipt]").first.focus()
        page.keyboard.press("Enter")
        expect(sheet.locator("pre").first).to_contain_text("SELECT")
        assert visit.serious() == []
        page.keyboard.press("Escape")
        expect(sheet).not_to_be_visible()
        expect(link).to_be_focused()


def test_chart_changes_without_a_reload_when_a_cell_is_folded(street: LiveSite) -> None:
    """A number that its source contradicts is folded again from its receipt; the chart behind it follows by itself."""
    app = street.site.app
    with app.ledger.store.transaction() as session:
        session.execute(
            app.ledger.sql("insert into orders values (42, 'web', 'late', 5, timestamp '2026-03-04 10:00:00')")
        )
    street.site.service.scheduler.start()
    with street.visit() as visit:
        page = visit.open(f"{ROLLUP}&where=shop_id%3D42")
        drawn(page)
        page.evaluate("window.sameDocument = true")
        row = page.locator("#rows tr", has_text="2026-03-04")
        before = int(row.locator("data").first.get_attribute("value") or 0)
        row.locator("a[data-receipt]").first.click()
        sheet = page.locator("dialog#receipt")
        sheet.get_by_role("button", name="Fold this cell again").click()
        expect(sheet.locator(".notice")).to_contain_text("done.")
        expect(sheet.locator("p.kpi data")).to_have_attribute("value", str(before + 1))
        page.keyboard.press("Escape")
        expect(row.locator("data").first).to_have_attribute("value", str(before + 1))
        drawn(page)
        assert page.evaluate("window.sameDocument") is True


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_pages_keep_nobody_out(street: LiveSite, dark: bool, viewport: dict[str, int]) -> None:
    """No serious finding of axe, nothing that is wider than the screen, no error and no request to another site."""
    with street.visit(dark=dark, viewport=viewport) as visit:
        for path in (
            "/",
            f"{ROLLUP}&by=shop_id&compare=previous",
            f"/receipt/ShopDaily/cents?{SPAN}",
            "/receipt/ShopDaily/cents?from=2026-03-04&to=2026-03-04&where=shop_id%3D42",
        ):
            visit.open(path)
            assert visit.serious() == [], path
            assert not visit.is_wide(), path


def test_page_is_read_without_scripts(street: LiveSite) -> None:
    """Every number, a picture of the series, filters and ranges by forms and links, receipts as pages."""
    with street.visit(script=False) as visit:
        page = visit.open(ROLLUP)
        assert page.locator("#rows tbody tr").count() == 12
        assert page.locator("svg.chart-picture path").count() == 1
        page.fill("#from", "2026-03-03")
        page.get_by_role("button", name="Show").click()
        assert page.locator("#rows tbody tr").count() == 10
        page.locator("#rows a").first.click()
        expect(page.locator("h1")).to_have_text("ShopDaily: orders")


def test_colours_are_chosen_once(street: LiveSite) -> None:
    """The switch holds on the next page; an address may ask for others."""
    with street.visit() as visit:
        page = visit.open("/")
        page.get_by_role("button", name="Light or dark").click()
        assert visit.open(ROLLUP).get_attribute("html", "data-theme") == "dark"
        assert visit.open(f"{ROLLUP}&theme=light").get_attribute("html", "data-theme") == "light"


def test_series_of_a_year_are_drawn_quickly(street: LiveSite) -> None:
    """Ten series of a year are one chart of 3,650 points; how long that takes stands on it, and is measured in `benchmarks`."""
    with street.visit() as visit:
        page = visit.open(ROLLUP)
        drawn(page)
        data = {
            "x": [time.strftime("%Y-%m-%d", time.gmtime(86_400 * day)) for day in range(365)],
            "series": [
                {"label": f"s{n}", "metric": f"m{n}", "values": [n * day for day in range(365)]} for n in range(10)
            ],
        }
        page.evaluate(
            "async (data) => { const f = document.querySelector('figure[data-chart]');"
            "f.querySelector('script').textContent = JSON.stringify(data);"
            "document.dispatchEvent(new CustomEvent('htmx:after:swap')) }",
            data,
        )
        page.wait_for_function("document.querySelectorAll('.u-legend .u-series').length === 11")
        assert float(page.get_attribute("figure[data-chart]", "data-drawn-ms") or 0) > 0


def test_visits_notice_what_is_wrong(street: LiveSite) -> None:
    """The watch of these tests itself: an error of a page is one of the test."""
    with pytest.raises(AssertionError, match="404"), street.visit() as visit:
        visit.open("/rollups/Nothing")
