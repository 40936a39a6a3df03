"""Pages of events: what the API and the log say, for whom it may be told; quarantine and its replay; reports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient

from dayfold import events
from dayfold.dashboard.application import make
from dayfold.define.catalog import catalog
from dayfold.http.straight import Straight
from dayfold.plan.access import Scope
from tests.engines.ground import Ground
from tests.http.gathering import AGENT, SAID, Daily, Gathering, ago
from tests.http.site import Site, header

TYPES = {"asset": {"asset_viewed": {"project_id?": "text"}, "asset_bought": {"cents": "bigint", "project_id?": "text"}}}
PASSWORD = "a password that is long enough"


class Visitor:
    """A browser, or a program with a token, at the pages of a site."""

    def __init__(self, site: Site, headers: Mapping[str, str] | None = None) -> None:
        self.client = TestClient(Straight(make(site.service), site.service), headers=headers, follow_redirects=False)

    def page(self, path: str, **words: Any) -> str:
        """A page that is there."""
        answer = self.client.get(path, params={name.rstrip("_"): value for name, value in words.items()} or None)
        assert answer.status_code == 200, answer.text
        return str(answer.text)


@pytest.fixture
def here(duck: Ground) -> Iterator[Gathering]:
    """A collector on DuckDB that knows some types."""
    with Gathering(duck, events.types(TYPES)) as found:
        yield found


def cells(page: str, table: str) -> list[list[str]]:
    """The texts of the cells of a table, by its caption."""
    [whole] = [one for one in re.findall(r"<table.*?</table>", page, re.DOTALL) if table in one]
    rows = re.findall(r"<tr.*?</tr>", whole.partition("<tbody")[2], re.DOTALL)
    return [
        [unescape(re.sub(r"<[^>]*>", "", one)).strip() for one in re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL)]
        for row in rows
    ]


def test_the_page_has_the_newest_events_and_no_more_than_its_reader_may_see(here: Gathering) -> None:
    """The same as the API, escaped; who somebody is only for whoever may see that; filters are those of the API."""
    site = here.site
    here.send(
        {"event_type": "asset_viewed", "anonymous_id": "<b>anna</b>", "properties": {"project_id": "p1", "n": 2**53 + 1},
         "page": "https://shop.example/a?mail=x", "occurred_at": ago(hours=2)},
        {"event_type": "asset_bought", "anonymous_id": "b2", "properties": {"project_id": "p2", "cents": 5}},
    )  # fmt: skip
    admin = Visitor(site, header(site.token("admin")))
    page = admin.page("/events")
    rows = cells(page, "the newest first")
    assert [row[:2] + row[2:3] for row in rows] == [
        ["2026-03-12 12:00:00", "asset_bought", "p2"], ["2026-03-12 10:00:00", "asset_viewed", "p1"],
    ]  # fmt: skip
    assert "<b>anna</b>" not in page
    assert "&lt;b&gt;anna&lt;/b&gt;" in page
    assert str(2**53 + 1) in page
    assert cells(page, "How many events of each type")[0][:3] == ["asset_bought", "1", "1"]
    assert 'data-stream="/v1/events/stream"' in page
    only = admin.page("/events", event_type="asset_viewed", entity_type="project", entity_id="p1")
    assert len(cells(only, "the newest first")) == 1
    assert 'data-stream="/v1/events/stream?event_type=asset_viewed&amp;entity_type=project&amp;entity_id=p1"' in only
    reader = Visitor(site, header(site.token("read"))).page("/events")
    assert "anna" not in reader
    assert "mail=x" not in reader
    assert len(cells(reader, "the newest first")) == 2
    limited = Visitor(site, site.reader({"project_id": ["p1"]}))
    page = limited.page("/events")
    assert [row[2] for row in cells(page, "the newest first")] == ["p1"]
    assert "Taken in" not in page
    assert [row[0] for row in cells(page, "How many events of each type")] == ["asset_viewed"]
    assert limited.client.get("/events/reports").status_code == 403
    assert limited.client.get("/events/quarantine").status_code == 403
    assert "No such event has come yet" in Visitor(site, site.reader(rollups=["Daily"])).page("/events")
    assert admin.client.get("/events", params={"entity_type": "shop"}).status_code == 404
    assert Visitor(site).client.get("/events").headers["location"] == "/sign-in?next=/events"


def test_what_is_held_is_shown_and_replayed(here: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reasons and counts; properties as they are only for whoever may see them; a replay is confirmed, noted and told."""
    site = here.site
    secret = {"event_type": "asset_sold", "anonymous_id": "anna", "properties": {"mail": "anna@example.org", "n": 7}}
    here.send({"event_type": "asset_bought", "properties": {}}, secret, {"event_type": "asset_viewed", "id": "a"})
    here.send({"event_type": "asset_viewed", "id": "a", "properties": {"other": 1}})
    site.app.accounts.add_user("anna", PASSWORD, "admin")
    admin = Visitor(site)
    admin.client.post("/sign-in", data={"name": "anna", "password": PASSWORD})
    page = admin.page("/events/quarantine")
    assert sorted(row[1:3] for row in cells(page, "Events that are held back")) == [
        ["asset_bought", "undeclared"], ["asset_sold", "undeclared"], ["asset_viewed", "conflict"],
    ]  # fmt: skip
    assert "anna@example.org" in page
    assert len(cells(admin.page("/events/quarantine", reason="conflict"), "Events that are held back")) == 1
    operator = Visitor(site, header(site.token("jobs"))).page("/events/quarantine", type="asset_sold")
    assert "anna" not in operator
    body = json.loads(unescape(re.findall(r"<pre>(.*?)</pre>", operator, re.DOTALL)[0]))
    assert body["properties"] == {"mail": "text", "n": "number"}
    assert "/events/quarantine/replay" not in operator
    csrf = re.findall(r'name="csrf_token" value="(\w+)"', page)[0]
    sold = {"asset": {**TYPES["asset"], "asset_sold": {"mail": "text", "n?": "bigint"}}}
    monkeypatch.setattr(here.app, "catalog", catalog([Daily, SAID, events.types(sold)]))
    assert admin.client.post("/events/quarantine/replay", data={"type": "asset_sold"}).status_code == 403
    answer = admin.client.post("/events/quarantine/replay", data={"type": "asset_sold", "csrf_token": csrf})
    assert (answer.status_code, answer.headers["location"]) == (
        303, "/events/quarantine?replayed=1&kept=0&type=asset_sold",
    )  # fmt: skip
    assert "1 event taken into the log" in admin.page(answer.headers["location"])
    assert [one["event_type"] for one in site.app.events(event_type="asset_sold").rows] == ["asset_sold"]
    assert "events-replay" in {one.action for one in site.app.accounts.notes(100)}


def test_reports_are_those_of_the_log(here: Gathering) -> None:
    """By campaign and by referrer, over a range; the numbers are those of the verb."""
    site = here.site
    for person in range(3):
        here.send(
            {"event_type": "asset_viewed", "source": "web", "anonymous_id": f"b{person}", "user_agent": AGENT,
             "page": "https://shop.example/?utm_source=news&utm_campaign=spring", "session_id": f"s{person}",
             "attribution": {"referrer": "https://www.google.com/"}, "occurred_at": ago(days=person)},
        )  # fmt: skip
    reader = Visitor(site, header(site.token("read", Scope())))
    page = reader.page("/events/reports")
    assert cells(page, "Campaigns from 2026-02-11 to 2026-03-12") == [
        ["news", "–", "spring", "3", "3", "3"], ["all of them", "3", "3", "3"],
    ]  # fmt: skip
    page = reader.page("/events/reports", by="referrer", from_="2026-03-12", to="2026-03-12")
    assert cells(page, "Referrers")[0] == ["search", "Google", "1", "1", "1"]
    assert "Nothing brought anybody" in reader.page(
        "/events/reports", by="campaign", from_="2026-01-01", to="2026-01-02"
    )
    assert reader.client.get("/events/reports", params={"from": "yesteryear"}).status_code == 400
