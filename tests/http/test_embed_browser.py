"""The frame in a real browser, within another site: what it shows, what it asks for and with what, and how it ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from playwright.sync_api import Browser, Frame, Page, Request, expect

from tests.acceptance.command import succeeds
from tests.acceptance.serving import Served, served
from tests.loopback import Answers, Loopback
from tests.tracker.conftest import browser

__all__ = ["browser"]
pytestmark = pytest.mark.in_turn
SECRET = "s" * 32
METRICS = '''
from dayfold import Card, Count, Page, Rollup, Series, Sum, Table, Top

sold = Table(sql="""
    select 'mine' as shop, n * 10 as cents, timestamptz '2026-03-01 10:00:00+00' + n * interval '1 day' as made from range(10) as r(n)
    union all select 'theirs', 777000 + n, timestamptz '2026-03-01 10:00:00+00' + n * interval '1 day' from range(10) as r(n)
""")


class ShopDaily(Rollup):
    """What shops sell."""

    key = "shop"
    orders = Count(sold, at="made")
    cents = Sum(sold, "cents", at="made")


class ShopPage(Page):
    """What a shop sells."""

    orders = Card(ShopDaily, "orders")
    cents = Series(ShopDaily, "cents")
    shops = Top(ShopDaily, "cents", by="shop")
'''


class Host(Loopback):
    """Another site, whose one page has the frame and keeps what it is told."""

    def __init__(self) -> None:
        self.frame = ""
        host = self

        class Handler(Answers):
            def do_GET(self) -> None:
                page = (
                    "<!doctype html><title>shop</title><link rel=icon href=data:,><script>told = []; addEventListener('message', (e) =>"
                    f" told.push(e.data.type))</script><iframe name=view src='{host.frame}' width=1000 height=800></iframe>"
                )
                self.answer(200, page.encode(), Content_Type="text/html")

        super().__init__(Handler)


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as made:
        yield made


@pytest.fixture
def running(host: Host, tmp_path: Path) -> Iterator[Served]:
    """A server that the site may show, folded."""
    (tmp_path / "metrics.py").write_text(METRICS)
    (tmp_path / "dayfold.toml").write_text(
        f'[dashboard]\nembed_in = ["{host.origin}"]\n[serve]\njobs = false\n[auth.jwt]\nsecret = "{SECRET}"\nalgorithms = ["HS256"]\n'
        'audience = "dayfold"\n[auth.jwt.claims]\nrows = { shop = "shop" }\n'
    )
    env = {"DAYFOLD_NOW": "2026-03-12T12:00:00+00:00"}
    succeeds("fold", cwd=tmp_path, env=env)
    with served("--host", "127.0.0.1", cwd=tmp_path, env=env) as made:
        yield made


def token(**claims: Any) -> str:
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    return jwt.encode({"aud": "dayfold", "exp": ends, "shop": "mine", **claims}, SECRET, "HS256")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(timezone_id="Asia/Kathmandu", viewport={"width": 1100, "height": 900})
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


def framed(page: Page) -> Frame:
    [_, found] = page.frames
    return found


def test_frame_shows_its_rows_and_sends_the_token_with_every_request(
    page: Page, host: Host, running: Served, tmp_path: Path
) -> None:
    """Also after a click, of a form, of a receipt and of a file; the token stands in no address, and the console stays quiet."""
    good, asked, complaints = token(), list[Request](), list[str]()
    page.on("request", lambda one: asked.append(one) if one.url.startswith(running.url) else None)
    page.on("console", lambda one: complaints.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    host.frame = f"{running.url}/embed/pages/ShopPage?theme=dark&period=30d#token={good}"
    page.goto(host.origin)
    frame = framed(page)
    expect(frame.locator("[data-part=orders] .kpi")).to_have_text("10")
    assert frame.evaluate("location.href") == f"{running.url}/embed/pages/ShopPage?theme=dark&period=30d"
    assert frame.evaluate("document.documentElement.dataset.theme") == "dark"
    assert frame.locator("header, nav[aria-label=Main]").count() == 0
    expect(frame.locator("[data-part=cents] canvas")).to_be_visible()
    assert frame.locator("[data-part=shops] tbody tr").count() == 1
    frame.get_by_role("link", name="7 days").click()
    expect(frame.locator("[data-part=orders] .kpi")).to_have_text("5")
    frame.get_by_label("From", exact=True).fill("2026-03-02")
    frame.get_by_label("To (included)", exact=True).fill("2026-03-04")
    frame.get_by_role("button", name="Show").click()
    expect(frame.locator("[data-part=orders] .kpi")).to_have_text("3")
    frame.locator("[data-part=orders] .kpi a").click()
    expect(frame.locator("#receipt-content .kpi")).to_have_text("3")
    assert "777" not in frame.locator("body").inner_text()
    # What a live page would ask with.
    frame.evaluate("new Promise((done) => { new EventSource('/pages/ShopPage').onerror = done })")
    assert "dayfold:height" in page.evaluate("told")
    host.frame = f"{running.url}/embed/rollups/ShopDaily?by=shop#token={good}"
    page.goto(host.origin)
    frame = framed(page)
    with page.expect_download() as waiting:
        frame.get_by_role("link", name="CSV").click()
    rows = Path(waiting.value.path()).read_text()
    assert "mine" in rows
    assert "theirs" not in rows
    reading = [one for one in asked if not one.url.startswith((f"{running.url}/static/", f"{running.url}/embed/"))]
    assert len(reading) > 5
    assert {one.all_headers().get("authorization") for one in reading} == {f"Bearer {good}"}
    assert [one.url for one in asked if good in one.url.partition("#")[0]] == []
    assert complaints == []
    words = {"metrics": "orders", "grain": "total", "from": "2026-02-11", "to": "2026-03-12", "allow_missing": "1"}
    api = f"{running.url}/v1/rollups/ShopDaily/query"
    told = httpx.get(api, params=words, headers={"Authorization": f"Bearer {good}"}).json()
    assert told["rows"][0]["orders"] == 10


def test_frame_ends_with_its_token_and_goes_on_with_another(page: Page, host: Host, running: Served) -> None:
    """It says so to people and to the site around it, which may give it another one; a message of nobody else counts."""
    host.frame = f"{running.url}/embed/pages/ShopPage#token={token(exp=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))}"
    page.goto(host.origin)
    frame = framed(page)
    expect(frame.get_by_role("heading", name="This view has expired")).to_be_visible()
    page.wait_for_function("told.includes('dayfold:expired')")
    assert frame.locator("data").count() == 0
    frame.evaluate("secret => window.postMessage({type: 'dayfold:token', token: secret}, '*')", token())
    page.wait_for_timeout(100)
    assert frame.locator("data").count() == 0
    page.evaluate(
        "([to, secret]) => document.querySelector('iframe').contentWindow.postMessage({type: 'dayfold:token', token: secret}, to)",
        [running.url, token()],
    )
    expect(frame.locator("[data-part=orders] .kpi")).to_have_text("10")


def test_frame_takes_its_token_from_a_form(page: Page, host: Host, running: Served) -> None:
    """For sites that want none in an address at all."""
    host.frame = "about:blank"
    page.goto(host.origin)
    page.evaluate(
        "([to, secret]) => { const form = document.createElement('form');"
        " Object.assign(form, {method: 'post', action: to, target: 'view'}); const field = document.createElement('input');"
        " Object.assign(field, {name: 'token', value: secret}); form.append(field); document.body.append(form); form.submit() }",
        [f"{running.url}/embed/pages/ShopPage?part=orders", token()],
    )
    view = page.frame_locator("iframe")
    expect(view.locator("[data-part=orders] .kpi")).to_have_text("10")
    assert view.locator("[data-part]").count() == 1


def test_another_site_shows_nothing(page: Page, host: Host, running: Served) -> None:
    """The browser itself refuses to put the frame there, and any other page anywhere."""
    with Host() as other:
        _nothing_is_shown(page, running, other, "/embed/pages/ShopPage")
    for path in ("/pages/ShopPage?bare=1", "/sign-in"):
        _nothing_is_shown(page, running, host, path)


def _nothing_is_shown(page: Page, running: Served, site: Host, path: str) -> None:
    site.frame = f"{running.url}{path}#token={token()}"
    with page.expect_console_message(lambda one: "frame-ancestors" in one.text):
        page.goto(site.origin)
