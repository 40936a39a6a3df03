"""The tracker as the server serves it, in a real browser, against a real collector: what happens offline counts once, on its day."""

from __future__ import annotations

import datetime as dt
import gzip
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.acceptance.command import NOW
from tests.collecting import Station
from tests.tracker.collector import Site

DAY = dt.timedelta(days=1)


def html(station: Station) -> str:
    """A page with the tracker of a real server."""
    return (
        f'<!doctype html><title>A page</title><script async src="{station.host}/dayfold.js" data-key="{station.page_key}">'
        '</script><button data-dayfold="signed_up" data-dayfold-project_id="p">Sign up</button>'
    )


def opened(context: BrowserContext, site: Site, path: str) -> Page:
    """A tab in which the tracker runs."""
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{site.port}{path}")
    page.wait_for_function("() => window.dayfold && window.dayfold.live")
    return page


def wait(condition: Callable[[], object], timeout_s: float = 30) -> None:
    """Return once something is so."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def taken(station: Station) -> int:
    """How many events the server has acknowledged to the page."""
    found = station.run("events", "status", "--json").json
    return sum(day.get("accepted", 0) for day in found["days"])


def test_offline_for_two_days_and_back(context: BrowserContext, store_url: str, tmp_path: Path) -> None:
    """Every event once, on the day on which it happened, whatever was tried meanwhile."""
    began = dt.datetime.fromisoformat(NOW)
    with Station(tmp_path / "server", store_url) as station, Site() as site:
        site.html = html(station)
        context.clock.install(time=began)
        page = opened(context, site, "/first?utm_source=letter")
        page.clock.run_for(11_000)
        wait(lambda: taken(station) == 1)
        context.set_offline(True)
        page.click("button")
        page.clock.run_for(60_000)
        page.clock.fast_forward(int(DAY.total_seconds() * 1000))
        page.click("button")
        page.clock.run_for(60_000)
        page.clock.fast_forward(int(DAY.total_seconds() * 1000))
        station.kill()
        context.set_offline(False)
        page.clock.run_for(30_000)
        station.start(DAYFOLD_NOW=(began + 2 * DAY).isoformat())
        for _ in range(40):
            page.clock.run_for(30_000)
            if taken(station) >= 3:
                break
            time.sleep(0.1)
        page.click("button")
        page.clock.run_for(11_000)
        wait(lambda: taken(station) >= 4)
        found = station.events(
            "event_type, (occurred_at AT TIME ZONE 'UTC')::date, utm_source, project_id, session_id IS NOT NULL"
        )
    days = [(began + n * DAY).date() for n in range(3)]
    happened = sorted((kind, day) for kind, day, *_ in found if kind != "page_engaged")
    assert happened == [("page_viewed", days[0]), *(("signed_up", day) for day in days)]
    assert {(source, with_session) for kind, _, source, _, with_session in found if kind == "page_viewed"} == {
        ("letter", True)
    }
    assert {project for kind, _, _, project, _ in found if kind == "signed_up"} == {"p"}


@pytest.mark.parametrize("name", ["dayfold.js", "dayfold.mjs"])
def test_the_script_is_kept_by_browsers(name: str, store_url: str, tmp_path: Path) -> None:
    """It says what it is, comes packed to those who take that, and a browser that has it is told so."""
    import http.client

    with Station(tmp_path / "server", store_url) as station:
        connection = http.client.HTTPConnection("127.0.0.1", station.port, timeout=30)
        connection.request("GET", f"/{name}")
        answer = connection.getresponse()
        body = answer.read()
        assert (answer.status, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert b"sendBeacon" in body
        connection.request("GET", f"/{name}", headers={"if-none-match": answer.headers["etag"]})
        known = connection.getresponse()
        assert (known.status, known.read()) == (304, b"")
        connection.request("GET", f"/{name}", headers={"accept-encoding": "br, gzip"})
        packed = connection.getresponse()
        sent = packed.read()
        assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert packed.headers["etag"] != answer.headers["etag"]
        assert (gzip.decompress(sent), len(sent) <= 4000) == (body, True)
        connection.close()
