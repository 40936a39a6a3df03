"""Every page of every example in a real browser: nothing fails, nobody is kept out, and numbers are those of a count by hand.

Each example is made and told its history by `dayfold demo`, and served by `dayfold serve`, as its users do.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import duckdb
import pytest
from playwright.sync_api import Browser

from tests.acceptance.command import succeeds
from tests.acceptance.serving import served
from tests.dashboard.browser import DESKTOP, PHONE, Visit
from tests.examples import licensing, uploads

#: Pages of one kind that are looked at, such as entities of a profile; there are as many as there are rows.
_OF_A_KIND = 2
CONTRAST = "color-contrast"
#: Where links lead that are no pages to look at: files, and what is done by going there.
_NO_PAGES = ("/v1/", "/static/", "/sign-out", "/export")
Count = tuple[str, str, Callable[[Path], object]]


def by_sql(query: str) -> Callable[[Path], object]:
    """A count by a plain query over the tables of the example."""

    def count(store: Path) -> object:
        with duckdb.connect(str(store), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]

    return count


def _sent(name: str) -> Callable[[Path], object]:
    """A number of the licensing platform, from the events as they were sent."""
    traffic = licensing.drawn.Traffic(0.005)
    return lambda store: licensing.daily(licensing.truth(traffic).facts)[name]


def _used(name: str) -> Callable[[Path], object]:
    """A total of the uploads before the day of the demo, request by request."""
    return lambda store: sum(
        count for (day, *_), count in uploads.truth().by_key[name].items() if day < dt.date(2026, 2, 12)
    )


#: For each example the moment of its demo and what is counted by hand: the number that the page of a rollup shows of all days.
EXAMPLES: dict[str, tuple[str, tuple[Count, ...]]] = {
    "retail": (
        "2011-12-10T12:00:00+00:00",
        (
            ("SalesDaily", "lines", by_sql("select count(*) from order_line")),
            ("SalesDaily", "customers", by_sql("select count(distinct customer_id) from order_line")),
            ("SalesDaily", "revenue", by_sql("select sum(quantity * price) from order_line")),
            ("ProductDaily", "items", by_sql("select sum(quantity) from order_line")),
        ),
    ),
    "testimonials": (
        "2026-02-05T06:00:00+00:00",
        (
            ("TestimonialDaily", "requests_sent", by_sql("select count(*) from testimonial_request where sent_at < '2026-02-06'")),
            (
                "TestimonialDaily", "video_submissions_count",
                by_sql("select count(*) from testimonial_submission where media_type = 'video' and submitted_at < '2026-02-06'"),
            ),
        ),
    ),
    "licensing": (
        "2026-01-30T06:00:00+00:00",
        (
            ("DailyMetrics", "views", _sent("views")),
            ("DailyMetrics", "unique_visitors", _sent("unique_visitors")),
            ("DailyMetrics", "revenue_cents", _sent("revenue_cents")),
            ("PlatformDaily", "new_creators", by_sql("select count(*) from creators where joined_at >= '2025-11-01'")),
        ),
    ),
    "salon": (
        "2026-02-05T06:00:00+00:00",
        (
            (
                "AnalyticsAppointmentsByLocationDaily", "appointments",
                by_sql("select count(*) from bookings where status = 'ACCEPTED' and start_at < '2026-02-06'"),
            ),
            (
                "AnalyticsAppointmentsByLocationDaily", "revenue_cents",
                by_sql("select sum(amount_cents) from payments where status = 'COMPLETED' and paid_at < '2026-02-06'"),
            ),
        ),
    ),
    "uploads": (
        "2026-02-12T15:00:00+00:00",
        (("ApiKeyUsage", "total_requests", _used("total_requests")), ("ApiKeyUsage", "total_file_size", _used("total_file_size"))),
    ),
    "creator_app": (
        "2026-02-05T06:00:00+00:00",
        (
            ("RevenueDaily", "gross_revenue", by_sql("select sum(gross_revenue) from daily_revenue where measured_at < '2026-02-06'")),
            ("PostsDaily", "posts_created", by_sql("select count(*) from marketing_post where created_at < '2026-02-06'")),
        ),
    ),
}  # fmt: skip


def kind_of(path: str) -> str:
    """What kind of page an address leads to: names and values of rows are left out."""
    parts = urlsplit(path)
    words = parts.path.strip("/").split("/")
    named = words[0] in ("rollups", "cohorts", "funnels", "pages") and len(words) > 1
    if not named and words[0] in ("receipt", "profiles", "jobs") and len(words) > 1 and not words[1].isalpha():
        words[1:] = ["…"]
    return "/".join([*words[:1], "…"] if words[0] == "receipt" else words)


def links(visit: Visit) -> list[str]:
    """Where the page leads, within the site and not to itself."""
    found = visit.page.eval_on_selector_all("a[href^='/']", "(all) => all.map((one) => one.getAttribute('href'))")
    return [one for one in found if not one.startswith(_NO_PAGES) and "#" not in one]


def walk(visit: Visit) -> list[str]:
    """Every page that can be reached from the first one, some of each kind; each is checked as it is met."""
    seen: dict[str, int] = {}
    waiting, visited = ["/"], []
    while waiting:
        path = waiting.pop(0)
        kind = kind_of(path)
        if seen.get(kind, 0) >= (1 if kind.startswith(("rollups/", "pages/")) else _OF_A_KIND):
            continue
        seen[kind] = seen.get(kind, 0) + 1
        visit.open(path)
        assert visit.page.locator("h1").count() == 1, path
        waiting += links(visit)
        look(visit, path)
        visited.append(path)
    return visited


def look(visit: Visit, path: str) -> None:
    """The page in light and dark, on a desktop and a phone: as wide as the screen, and open to everybody."""
    page = visit.page
    assert visit.serious() == [], path
    page.emulate_media(color_scheme="dark")
    assert visit.serious([CONTRAST]) == [], (path, "dark")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert not visit.is_wide(), (path, "phone, dark")
    page.emulate_media(color_scheme="light")
    # Colours were looked at; what is in reach depends on the size.
    assert visit.serious(without=[CONTRAST]) == [], (path, "phone")
    assert not visit.is_wide(), (path, "phone")
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    visit.check()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_page_of_an_example(name: str, browser: Browser, tmp_path: Path) -> None:
    """In light on a desktop and a phone, in dark on both; numbers equal the API's and those that were counted by hand."""
    now, counted = EXAMPLES[name]
    env = {"DAYFOLD_NOW": now}
    succeeds("demo", name, "--no-serve", cwd=tmp_path, env=env)
    folder = tmp_path / "dayfold-demo" / name
    [store] = folder.glob("*.duckdb")
    expected = [(rollup, metric, count(store)) for rollup, metric, count in counted]
    with served(cwd=folder, env={**env, "DAYFOLD_SERVE__JOBS": "false"}) as server:
        context = browser.new_context(locale="en-US", timezone_id="America/New_York", viewport=DESKTOP)  # type: ignore[arg-type]
        context.set_default_timeout(30_000)
        visit = Visit(context, server.url)
        visit.page.goto(str(server.words["login_url"]))
        visited = walk(visit)
        assert {kind_of(one).partition("/")[0] for one in visited} >= {"", "rollups", "receipt", "jobs", "pages"}
        check_numbers(visit, now, expected)
        visit.check()
        context.close()


def check_numbers(visit: Visit, now: str, expected: list[tuple[str, str, Any]]) -> None:
    """Rows of every rollup's page are the API's, and some totals those of a count by hand."""
    page = visit.page
    rollups = page.evaluate("fetch('/v1/rollups').then((one) => one.json())")["rollups"]
    for one in [one for one in rollups if one["kind"] == "rollup"]:
        visit.open(f"/rollups/{one['name']}?period=90d")
        if not page.locator("#rows").count():
            continue
        address = page.get_by_role("link", name="JSON").get_attribute("href")
        text = page.evaluate("(url) => fetch(url).then((one) => one.text())", address)
        metric = one["metrics"][0]["name"]
        answered = [row[metric] for row in json.loads(text, parse_float=Decimal)["rows"]]
        shown = page.eval_on_selector_all(
            "#rows tbody tr", "(rows) => rows.map((row) => row.querySelector('data')?.getAttribute('value') ?? null)"
        )
        assert [_plain(value) for value in reversed(shown)] == [_plain(value) for value in answered], one["name"]
    today = dt.datetime.fromisoformat(now).date()
    for rollup, metric, count in expected:
        # What is counted live goes on during the demo's day.
        last = today - dt.timedelta(days=1) if rollup == "ApiKeyUsage" else today
        visit.open(f"/rollups/{rollup}?{urlencode({'from': '2009-01-01', 'to': str(last), 'metrics': metric})}")
        found = page.locator(f'[data-total="{metric}"] data').first.get_attribute("value")
        assert _plain(found) == _plain(count), (rollup, metric)


def _plain(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value)).normalize()
