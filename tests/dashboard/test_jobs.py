"""Pages of jobs: what the API says of them, what may be asked for there, by whom, and what nobody is shown."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from playwright.sync_api import expect
from starlette.testclient import TestClient

from dayfold import Alert, Check
from dayfold.http.rights import Right, right_of
from dayfold.plan.access import Scope
from tests.dashboard.browser import PHONE, LiveSite
from tests.dashboard.pages import Page, PageSite
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, order, rollups
from tests.http.site import header, routes

DAYS = {"rollup": "ShopDaily", "from": "2026-03-01", "to": "2026-03-06"}
#: The last is a part of one.
PAGES = (
    "/jobs",
    "/jobs/runs",
    "/jobs/rebuild",
    "/jobs/coverage",
    "/jobs/drifts",
    "/jobs/checks",
    "/jobs/alerts",
    "/jobs/fold",
    "/jobs/list",
)


def settle(site: PageSite) -> None:
    """Do what waits."""
    for _ in range(10):
        site.service.scheduler.step()
        site.service.scheduler.join()


def past(site: PageSite, sql: str) -> None:
    """A statement past the product."""
    with site.app.databases.store.transaction() as session:
        session.execute(sql)


def api(client: TestClient, path: str) -> Any:
    """An answer of the API, to the same browser."""
    answer = client.get(f"/v1{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def send(client: TestClient, path: str, **fields: str) -> Any:
    """A form of a page, sent as a browser does without scripts."""
    [token] = {str(one["value"]) for one in Page(client.get("/jobs/rebuild")).all("input", name="csrf_token")}
    names = {name.rstrip("_"): value for name, value in fields.items()}
    return client.post(path, data={**names, "csrf_token": token})


def asked(client: TestClient, path: str, **fields: str) -> int:
    """The number of the run that a form led to."""
    answer = send(client, path, **fields)
    assert answer.status_code == 303, unescape(re.sub(r"<[^>]*>", " ", answer.text))
    assert answer.headers["location"].startswith("/jobs/runs/")
    return int(answer.headers["location"].rpartition("/")[2])


@pytest.fixture
def site(duck: Ground) -> Iterator[PageSite]:
    """Shops with orders of ten days, folded; a check that passes, one that does not, and a rule about jobs."""
    duck.load("orders", COLUMNS, [order(shop, day, 777_000 + shop) for shop in (42, 43) for day in range(2, 12)])
    shop_daily, channel_daily, platform_daily = rollups(duck)

    class CentsAreCents(Check):
        """What one rollup sums, and what its rows sum."""

        left = "select sum(cents) from shop_daily"
        right = "select 15540850"
        of = shop_daily

    class Failing(Alert):
        """A job failed."""

        job_failed = True

    duck.config["alerts"] = {"channels": {"log": {"command": ["true"]}, "broken": {"command": ["false"]}}}
    duck.define(shop_daily, channel_daily, platform_daily, CentsAreCents, Failing)
    duck.fold()
    with PageSite(duck) as site:
        yield site


# -- what is shown ---------------------------------------------------------------------------------


def test_jobs_and_runs_are_those_of_the_api(site: PageSite) -> None:
    """Before any run, and after some: schedules in words too, counts, the last run; runs page by page."""
    client = site.signed_in()
    before = Page(client.get("/jobs"))
    assert (before.text.count("it never ran"), "Every fifth minute of every hour" in before.text) == (7, True)
    assert "No runs" in Page(client.get("/jobs/fold")).text
    settle(site)
    page = Page(client.get("/jobs"))
    for one in api(client, "/jobs")["jobs"]:
        counts = [one["run_count"], *([one["success_count"], one["error_count"]] if one["run_count"] else [])]
        card = page.source.partition(f'data-job="{one["job"]}"')[2].partition("</dl>")[0]
        assert re.findall(r'<data value="(\d+)">', card) == [str(count) for count in counts], one["job"]
        moments = [dt.datetime.fromisoformat(text) for text in re.findall(r'datetime="([^"]+)"', card)]
        assert moments == [
            dt.datetime.fromisoformat(one[name]) for name in ("next_run", "next_run", "last_run") if one[name]
        ]
    for which in ("", "job=finalize", "rollup=ShopDaily"):
        runs = api(client, f"/runs?limit=1000&{which}".removesuffix("&"))["runs"]
        shown, path = [], f"/jobs/runs?{which}"
        while path:
            page = Page(client.get(path))
            shown += re.findall(r'data-run="(\d+)"', page.source)
            path = next((str(one["href"]) for one in page.all("a", rel="next")), "")
        assert shown == [str(one["id"]) for one in runs]
    for one in api(client, "/runs?limit=1000")["runs"]:
        page = Page(client.get(f"/jobs/runs/{one['id']}"))
        assert page.all("span", role="status")[0]["data-status"] == one["status"] == "done"
        assert not [found for _, found in page.elements if "hx-trigger" in found], "nothing is awaited any more"


def test_log_of_a_run_is_what_the_ledger_has(site: PageSite) -> None:
    """In the order of time: who asked, what was done to each rollup, what checks said, how it ended."""
    client = site.signed_in()
    number = asked(client, "/jobs/fold/run")
    waits = Page(client.get(f"/jobs/runs/{number}"))
    assert ("Waits to begin" in waits.text, waits.all("div", id="run")[0]["hx-get"]) == (
        True,
        f"/jobs/runs/{number}/now",
    )
    settle(site)
    part = Page(client.get(f"/jobs/runs/{number}/now"))
    assert not part.all("h1")
    log = [unescape(re.sub(r"<[^>]*>", "", one)).strip() for one in re.findall(r"</time>(.*?)</li>", part.source)]
    names = ["ShopDaily", "ChannelDaily", "PlatformDaily"]
    nothing = "0 rows inserted, 0 updated, 0 deleted"
    told = [line for name in names for line in (f"fold of {name} began.", f"fold of {name} is done")]
    assert log[:2] == ["user anna asked for it: what is due.", "Attempt 1 began."]
    assert [line.partition(":")[0] for line in log[2:8]] == told
    assert all(line.endswith(f"{nothing}.") for line in log[3:8:2])
    assert log[-1].startswith("The run is done")
    run = api(client, f"/runs/{number}")
    table = [
        re.findall(r'<data value="([^"]*)">', row)[:5]
        for row in re.findall(r"<tr><th scope=\"row\".*?</tr>", part.source, re.DOTALL)
    ]
    assert table == [
        [str(one[name]) for name in ("days", "cells", "rows_inserted", "rows_updated", "rows_deleted")]
        for one in run["summary"]["rollups"]
    ]


def test_coverage_is_that_of_the_api(site: PageSite) -> None:
    """Every day in the state that the ranges say, the worst source first; a day leads to its numbers and to a rebuild."""
    past(site, "update dayfold__coverage set state = 'sealed' where day <= date '2026-03-04' and rollup = 'ShopDaily'")
    past(site, "update dayfold__coverage set state = 'failed' where day = date '2026-03-06' and rollup = 'ShopDaily'")
    past(site, "delete from dayfold__coverage where day = date '2026-03-08' and rollup = 'ShopDaily'")
    client = site.signed_in()
    page = Page(client.get("/jobs/coverage?rollup=ShopDaily"))
    shown = {title[:10]: title[12:] for one in page.all("a") if (title := str(one.get("title", "")))[:2] == "20"}
    [states] = api(client, "/coverage?rollup=ShopDaily")["coverage"]["ShopDaily"].values()
    expected = {f"2026-03-{day:02}": "never" for day in range(2, 13)} | {
        (dt.date.fromisoformat(one["from"]) + dt.timedelta(days=place)).isoformat(): state
        for state, ranges in states.items()
        for one in ranges
        for place in range((dt.date.fromisoformat(one["to"]) - dt.date.fromisoformat(one["from"])).days + 1)
    }
    assert {day: state for day, state in shown.items() if state != "before"} == expected
    assert sorted(expected.values()) == ["failed", *["folded"] * 5, "never", "open", *["sealed"] * 3]
    for state in ("folded", "failed", "never", "open", "sealed"):
        assert page.values_after("data-count", state) == [str(list(expected.values()).count(state))]
    day = Page(client.get("/jobs/coverage?rollup=ShopDaily&day=2026-03-06"))
    assert {
        "/rollups/ShopDaily?from=2026-03-06&to=2026-03-06",
        "/jobs/rebuild?rollup=ShopDaily&from=2026-03-06&to=2026-03-06",
    } <= {unescape(link) for link in day.links()}
    for path in ("?rollup=Nothing&year=1&day=x&source=y", "?year=2026"):
        assert client.get(f"/jobs/coverage{path}").status_code == 200


# -- what is asked for -----------------------------------------------------------------------------


def test_rebuild_shows_what_would_change_then_does_just_that(site: PageSite) -> None:
    """A dry run by the same words; the counts are its summary's; single values on demand; then the rows are others."""
    client = site.signed_in()
    settle(site)
    past(site, "insert into orders values (42, 'web', 'c', 5, timestamptz '2026-03-05 09:00:00+00')")
    query = "/rollups/ShopDaily/query?metrics=orders&from=2026-03-05&to=2026-03-05&grain=total"
    dry = asked(
        client, "/jobs/rebuild", rollup="shop_daily", from_="2026-03-01", to="2026-03-06", where="shop_id=42\r\n"
    )
    settle(site)
    looked = Page(client.get(f"/jobs/runs/{dry}"))
    told = api(client, f"/runs/{dry}")
    assert told["request"] == {**DAYS, "where": ["shop_id=42"], "dry_run": True}
    [diff] = told["summary"]["rollups"]
    for name in ("rows_inserted", "rows_updated", "rows_deleted", "cells", "days"):
        assert looked.values_after("data-diff", name) == [str(diff[name])]
    assert (diff["rows_updated"], [one["orders"] for one in api(client, query)["rows"]]) == (1, [2])
    changes = Page(send(client, f"/jobs/runs/{dry}/changes"))
    assert re.findall(r"<td>orders</td><td class=\"num\">(\d+)</td><td class=\"num\">(\d+)</td>", changes.source) == [
        ("1", "2")
    ]
    number = asked(client, f"/jobs/runs/{dry}/rebuild")
    request = api(client, f"/runs/{number}")["request"]
    assert request == {**DAYS, "where": ["shop_id=42"]}
    settle(site)
    done = Page(client.get(f"/jobs/runs/{number}"))
    assert done.values_after("data-diff", "rows_updated") == ["1"]
    assert "/rollups/ShopDaily?from=2026-03-01&to=2026-03-06" in [unescape(link) for link in done.links()]
    assert [one["orders"] for one in api(client, query)["rows"]] == [3]
    again = asked(client, "/jobs/rebuild", rollup="ShopDaily", from_="2026-03-01", to="2026-03-06")
    settle(site)
    assert "Nothing would change" in Page(client.get(f"/jobs/runs/{again}")).text
    # What is no dry run that ended well is not started.
    assert send(client, f"/jobs/runs/{number}/rebuild").status_code == 400
    actions = [(one.actor, one.action, one.target) for one in site.app.accounts.notes(100) if one.action == "rebuild"]
    assert ("user anna", "rebuild", "/jobs/rebuild") in actions


def test_what_a_rebuild_is_refused_for_says_the_way_out(site: PageSite) -> None:
    """Wrong words at once, with what was written; sealed days with those around them; empty ones with a choice to make."""
    client = site.signed_in()
    settle(site)
    wrong = send(client, "/jobs/rebuild", rollup="ShopDaily", from_="2026-03-09", to="2026-03-01")
    page = Page(wrong)
    assert (wrong.status_code, "The range ends before it starts" in page.text) == (400, True)
    assert [one["value"] for one in page.all("input", type="date")] == ["2026-03-09", "2026-03-01"]
    for fields in (
        {"rollup": "Nothing"},
        {"rollup": ""},
        {"rollup": "ShopDaily"},
        {"rollup": "ShopDaily", "from": "x" * 30, "to": "y"},
    ):
        assert send(client, "/jobs/rebuild", **fields).status_code == 400, fields
    past(site, "update dayfold__coverage set state = 'sealed' where day in (date '2026-03-03', date '2026-03-04')")
    sealed = asked(client, "/jobs/rebuild", rollup="ShopDaily", from_="2026-03-02", to="2026-03-06")
    past(site, "delete from orders where made_at::date = date '2026-03-10'")
    settle(site)
    page = Page(client.get(f"/jobs/runs/{sealed}"))
    assert ("is sealed on" in page.text, page.all("input", name="allow_empty")) == (True, [])
    around = [unescape(link) for link in page.links() if link.startswith("/jobs/rebuild?")]
    assert {
        "/jobs/rebuild?rollup=ShopDaily&from=2026-03-02&to=2026-03-02",
        "/jobs/rebuild?rollup=ShopDaily&from=2026-03-05&to=2026-03-06",
    } <= set(around)
    assert Page(client.get(around[0])).all("input", id="from")[0]["value"] == "2026-03-02"
    empty = asked(client, "/jobs/rebuild", rollup="ShopDaily", from_="2026-03-10", to="2026-03-10")
    settle(site)
    page = Page(client.get(f"/jobs/runs/{empty}"))
    assert ("has nothing for 2026-03-10" in page.text, len(page.all("input", name="allow_empty"))) == (True, 1)
    # Nobody is alarmed by what somebody only looked at.
    assert site.service.alerts.look()[0].state == "clear"
    allowed = asked(
        client, "/jobs/rebuild", rollup="ShopDaily", from_="2026-03-10", to="2026-03-10", where="", allow_empty="1"
    )
    settle(site)
    assert Page(client.get(f"/jobs/runs/{allowed}")).values_after("data-diff", "rows_deleted") == ["2"]
    assert api(client, f"/runs/{asked(client, f'/jobs/runs/{allowed}/rebuild')}")["request"]["allow_empty"] is True


def test_job_is_stopped_started_and_run_for_days(site: PageSite) -> None:
    """Back to where the button was; a stopped job says so in words; days are those of the run."""
    client = site.signed_in()
    answer = send(client, "/jobs/fold/stop", back="jobs")
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
    assert api(client, "/jobs/fold")["enabled"] is False
    page = Page(client.get("/jobs/fold"))
    assert ("it begins no run until it is started" in page.text, len(page.all("button", aria_label="Start fold"))) == (
        True,
        1,
    )
    assert "The job 'fold' is stopped." in Page(send(client, "/jobs/fold/run")).text
    assert send(client, "/jobs/fold/start").headers["location"] == "/jobs/fold"
    assert api(client, "/jobs/fold")["enabled"] is True
    number = asked(client, "/jobs/fold/run", from_="2026-03-03", to="2026-03-04")
    assert api(client, f"/runs/{number}")["request"] == {"from": "2026-03-03", "to": "2026-03-04"}
    wrong = send(client, "/jobs/fold/run", from_="2026-03-03")
    assert (wrong.status_code, "'from' or 'to' is missing" in Page(wrong).text) == (400, True)
    send(client, "/jobs/rebuild/stop")
    assert "is stopped" in Page(client.get("/jobs/rebuild")).text
    for path in ("/jobs/nothing", "/jobs/runs/4711", "/jobs/runs/x", f"/jobs/runs/{'9' * 40}"):
        assert client.get(path).status_code == 404, path
    assert send(client, "/jobs/nothing/run").status_code == 404


def test_drift_is_found_and_healed(site: PageSite) -> None:
    """Counts, where it was found, and a button that heals these days; a check that does not pass is said, with its numbers."""
    client = site.signed_in()
    settle(site)
    past(site, "update shop_daily set orders = orders + 1 where day = date '2026-03-05' and shop_id = 42")
    number = asked(client, "/jobs/drifts", rollup="ShopDaily", from_="2026-03-02", to="2026-03-11")
    settle(site)
    page = Page(client.get("/jobs/drifts"))
    card = page.source.partition('data-drift="ShopDaily"')[2].partition("</li>")[0]
    assert re.findall(r'<data value="(\d+)">', card) == ["1"]
    assert (
        "on 2026-03-05" in card,
        "Cells differ from their sources: 1 of ShopDaily." in Page(client.get(f"/jobs/runs/{number}")).text,
    ) == (True, True)
    assert page.values_after("data-verified", "ShopDaily")[:1] == ["10"]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', card))
    assert {name: value for name, value in fields.items() if name != "csrf_token"} == {
        "rollup": "ShopDaily", "from": "2026-03-05", "to": "2026-03-05", "heal": "1",
    }  # fmt: skip
    healed = asked(client, "/jobs/drifts", **fields)
    settle(site)
    assert api(client, f"/runs/{healed}")["summary"]["verified"][0]["healed"] == 1
    page = Page(client.get("/jobs/drifts"))
    assert (site.app.unhealed(), "Nothing that was compared differs" in page.text) == ([], True)
    for fields in (
        {"sample": "many"},
        {"sample": "3", "from": "2026-03-01", "to": "2026-03-02"},
        {"from": "2026-03-01"},
    ):
        assert send(client, "/jobs/drifts", **fields).status_code == 400, fields


def test_alerts_are_those_of_the_api_and_channels_are_tried(site: PageSite) -> None:
    """Episodes with their messages, rules with how they stand; a test says what arrived and what did not."""
    client = site.signed_in()
    assert "No rule ever held" in Page(client.get("/jobs/alerts")).text
    settle(site)
    past(site, "update shop_daily set orders = orders + 1 where day = date '2026-03-05'")
    asked(client, "/jobs/drifts", rollup="ShopDaily", from_="2026-03-05", to="2026-03-05")
    settle(site)
    site.service.alerts.look()
    page, told = Page(client.get("/jobs/alerts")), api(client, "/alerts")
    assert [one["data-alert"] for one in page.all("li") if "data-alert" in one] == [
        str(one["id"]) for one in told["alerts"]
    ]
    assert told["alerts"][0]["message"] in page.text
    assert [one["data-rule"] for one in page.all("tr") if "data-rule" in one] == [one["name"] for one in told["rules"]]
    tried = Page(send(client, "/jobs/alerts/test"))
    assert (
        "log (command): the test message arrived" in tried.text,
        "broken (command): the test message did not arrive" in tried.text,
    ) == (True, True)
    assert send(client, "/jobs/alerts/test", channel="nothing").status_code == 400


# -- by whom ---------------------------------------------------------------------------------------


def test_changes_need_the_token_of_the_session(site: PageSite) -> None:
    """Every form of these pages, and nothing happens without."""
    client = site.signed_in()
    paths = {
        re.sub(r"{\w+}", "1" if "runs" in route.path else "fold", route.path)
        for route in routes(site.api)
        if route.path.startswith("/jobs") and "POST" in (route.methods or ())
    }
    assert len(paths) == 8
    for path in sorted(paths):
        answer = client.post(path, data={"rollup": "ShopDaily"})
        assert (answer.status_code, "without the CSRF token" in Page(answer).text) == (403, True), path
    assert api(client, "/runs?job=rebuild")["runs"] == []
    assert api(client, "/jobs/fold")["enabled"] is True


def test_who_may_not_see_jobs_sees_a_page_that_says_so(site: PageSite) -> None:
    """A reader; somebody who is not signed in is asked to; every route here takes the right, and testing channels a greater one."""
    reader = site.signed_in("read")
    for path in (*PAGES, "/jobs/runs/1", "/jobs/runs/1/now"):
        answer = reader.get(path)
        assert (answer.status_code, "You may not see this" in Page(answer).text or "hx" in path) == (403, True), path
        assert TestClient(site.api, follow_redirects=False).get(path).status_code == 303
    limited = site.signed_in("jobs", Scope.of(None, {"shop_id": ["42"]}))
    for path in ("/jobs/drifts", "/jobs/checks", "/jobs/alerts"):
        assert limited.get(path).status_code == 403
    taken = {route.path: right_of(route) for route in routes(site.api) if route.path.startswith("/jobs")}
    assert {path for path, right in taken.items() if right is not Right.JOBS} == {"/jobs/alerts/test"}
    assert taken["/jobs/alerts/test"] is Right.ADMIN


def test_who_sees_jobs_sees_no_values(site: PageSite) -> None:
    """Neither of rows, nor of checks, nor what a rebuild would make of them; an administrator does."""
    settle(site)
    past(site, "update orders set cents = 31_337_000 where made_at::date = date '2026-03-05'")
    admin = site.signed_in()
    dry = asked(admin, "/jobs/rebuild", rollup="ShopDaily", from_="2026-03-01", to="2026-03-06")
    settle(site)
    keeper = header(site.token("jobs"))
    client = TestClient(site.api, headers={**keeper, "Accept": "text/html"}, follow_redirects=False)
    for path in (*PAGES, f"/jobs/runs/{dry}"):
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text[-300:])
        assert not re.search("777_?04|777,04|31,?337|15,?540", answer.text), path
        assert not [link for link in Page(answer).links() if link.startswith("/rollups/")], path
    assert client.post(f"/jobs/runs/{dry}/changes", data={"a": "b"}).status_code == 400
    assert re.findall('<data value="(.*?)">', admin.get("/jobs/checks").text) == ["15540850", "15540850"]
    assert "31337000" in send(admin, f"/jobs/runs/{dry}/changes").text


# -- in a browser ----------------------------------------------------------------------------------


def test_rebuild_in_a_browser_from_its_dry_run_to_its_end(street: LiveSite) -> None:
    """The scheduler runs, and the page follows by itself; on a phone, with nothing that keeps people out."""
    site = street.site
    settle(site)
    past(site, "insert into orders values (42, 'web', 'c', 5, timestamptz '2026-03-06 09:00:00+00')")
    with street.visit(viewport=PHONE) as visit:
        page = visit.open("/jobs/rebuild?rollup=ShopDaily&from=2026-03-06&to=2026-03-06")
        page.get_by_role("button", name="See what would change").click()
        expect(page.locator("[data-status]")).to_have_attribute("data-status", "queued")
        site.service.scheduler.start()
        expect(page.locator("[data-status]")).to_have_attribute("data-status", "done", timeout=30_000)
        expect(page.locator("[data-diff=rows_updated]")).to_have_text("1")
        assert (visit.serious(), visit.is_wide()) == ([], False)
        page.get_by_role("button", name="Rebuild ShopDaily, 2026-03-06").click()
        expect(page.get_by_text("The rebuild has ended.")).to_be_visible(timeout=30_000)
        page.get_by_role("link", name="Look at ShopDaily").click()
        expect(page.locator("h1")).to_contain_text("ShopDaily")
        for path in PAGES[:-1]:
            visit.open(path)
            assert (path, visit.serious(), visit.is_wide()) == (path, [], False)
        page = visit.open("/jobs")
        page.on("dialog", lambda one: one.accept())
        page.get_by_role("button", name="Stop fold").click()
        expect(page.get_by_role("button", name="Start fold")).to_be_visible()
