"""The overview, a rollup's page and receipts: what they say is what the API says, to whoever may see it."""

from __future__ import annotations

import json
import re
import time
from html import unescape
from typing import Any

import pytest

from dayfold.dashboard import static
from dayfold.ledger import alerts
from dayfold.plan.access import Scope
from tests.dashboard.pages import Page, PageSite

SPAN = "from=2026-03-01&to=2026-03-12"
MINE = Scope.of(None, {"shop_id": ["42"]})


def said(client: Any, path: str) -> dict[str, Any]:
    """An answer of the API, to the same browser."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def payload(page: Page, name: str = "series") -> dict[str, Any]:
    """What the chart draws."""
    found = re.search(rf'id="{name}-data">(.*?)</script>', page.source, re.DOTALL)
    assert found
    drawn: dict[str, Any] = json.loads(found[1])
    return drawn


def test_overview_has_a_card_for_everything_that_is_defined(shops: PageSite) -> None:
    """Each with its own words, its headline over thirty days as the API answers, and how fresh it is."""
    client = shops.signed_in()
    page = Page(client.get("/"))
    for name in ("ShopDaily", "ChannelDaily", "PlatformDaily", "ShopperDaily"):
        card = page.all("p", data_card=name)[0]
        answer = said(
            client,
            f"/v1/rollups/{name}/query?metrics={card['data-metric']}&from={card['data-from']}&to={card['data-to']}&grain=total&allow_missing=1",
        )
        assert page.values_after("data-card", name) == [str(answer["rows"][0][card["data-metric"]])]
    assert "Orders of one shop." in page.text
    assert page.values_after("data-entities", "Customers") == [
        str(sum(row["count"] for row in said(client, "/v1/profiles/Customers?count_by=shop_id")["rows"]))
    ]
    assert "up to date" in page.text
    assert "Returning" in page.text


def test_overview_says_what_is_wrong_until_it_is_mended(shops: PageSite) -> None:
    """Drift of a rollup until a heal, of a profile until everybody is folded again; an alert while it is open."""
    app, client = shops.app, shops.signed_in()
    ledger = app.ledger
    with ledger.store.transaction() as session:
        session.execute(ledger.sql("update shop_daily set orders = orders + 1 where shop_id = 42"))
        session.execute(ledger.sql("update customers set cents = cents + 1 where shop_id = 42"))
        alerts.open_episode(ledger, session, "LateShops", "ShopDaily", "It is late.", {})
    for name in ("ShopDaily", "Customers"):
        app.verify([name], **({} if name == "Customers" else {"from_": "2026-03-01", "to": "2026-03-12"}))
    text = Page(client.get("/")).text
    assert "Customers: 5 cells drifted and were not healed." in text
    assert "ShopDaily: 8 cells drifted and were not healed." in text
    assert "The alert LateShops is open." in text
    app.fold(["Customers", "ShopDaily"])
    text = Page(client.get("/")).text
    assert "Customers: 5 cells" not in text
    # The days before the lookback were not computed again.
    assert "ShopDaily: 8 cells drifted" in text
    app.verify(["ShopDaily"], from_="2026-03-01", to="2026-03-12", heal=True)
    assert "drifted" not in Page(client.get("/")).text
    assert "The alert" not in Page(shops.signed_in("read").get("/")).text


def test_table_and_chart_of_a_rollup_are_the_answer_of_the_api(shops: PageSite) -> None:
    """Day by day, a day without orders being a zero; decimals and integers with all their digits."""
    client = shops.signed_in()
    answer = said(client, f"/v1/rollups/ShopDaily/query?metrics=orders,cents&{SPAN}")
    page = Page(client.get(f"/rollups/ShopDaily?metrics=orders,cents&{SPAN}"))
    drawn = payload(page)
    assert drawn["x"] == [row["day"] for row in answer["rows"]]
    assert [one["values"] for one in drawn["series"]] == [
        [row[metric] for row in answer["rows"]] for metric in ("orders", "cents")
    ]
    rows = re.findall(r'<tr[^>]*><th scope="row">(\d{4}-\d\d-\d\d)</th>(.*?)</tr>', page.source, re.DOTALL)
    shown = {day: re.findall(r'<data value="([^"]*)">', cells) for day, cells in rows}
    assert shown == {
        row["day"]: [] if row["orders"] is None else [str(row["orders"]), str(row["cents"])] for row in answer["rows"]
    }
    assert shown["2026-03-05"] == ["0", "0"]
    totals = said(client, f"/v1/rollups/ShopDaily/query?{SPAN}&grain=total&allow_missing=1")["rows"][0]
    assert page.values_after("data-total", "customers")[0] == str(totals["customers"])
    assert "without the days that are missing" in page.text


def test_keys_are_lines_of_their_own_and_lead_to_themselves(shops: PageSite) -> None:
    """The greatest first, NULL among them; a key's link shows that key alone."""
    client = shops.signed_in()
    page = Page(client.get(f"/rollups/ShopDaily?metrics=cents&by=shop_id&{SPAN}"))
    answer = said(client, f"/v1/rollups/ShopDaily/query?metrics=cents&by=shop_id&{SPAN}")
    lines = {one["label"]: one["values"] for one in payload(page)["series"]}
    assert list(lines) == ["42: cents", "43: cents", "NULL: cents"]
    for shop in (42, 43, None):
        label = f"{'NULL' if shop is None else shop}: cents"
        assert lines[label] == [row["cents"] for row in answer["rows"] if row["shop_id"] == shop]
    only = next(
        link for link in Page(client.get(f"/rollups/ShopDaily?{SPAN}")).links() if link.endswith("where=shop_id%3D")
    )
    assert payload(Page(client.get(only)))["series"][0]["values"][2] == 1


def test_keys_are_compared_with_their_own_past(shops: PageSite) -> None:
    """Beside each key's line its own of the range before, as the API has it; the number before has its receipt too."""
    client = shops.signed_in()
    words = "metrics=cents&by=shop_id&compare=previous&from=2026-03-07&to=2026-03-10"
    page = Page(client.get(f"/rollups/ShopDaily?{words}"))
    answer = said(client, f"/v1/rollups/ShopDaily/query?{words}&allow_missing=1")
    lines = {one["label"]: one["values"] for one in payload(page)["series"]}
    for shop in (42, 43):
        assert lines[f"{shop}: cents"] == [row["cents"] for row in answer["rows"] if row["shop_id"] == shop]
        before = {row["day"]: row["cents"] for row in answer["compare"]["rows"] if row["shop_id"] == shop}
        expected = [before[pair["compared_day"]] for pair in answer["compare"]["beside"]]
        assert lines[f"{shop}: cents, compared"] == expected
        assert any(expected)
    assert "/receipt/ShopDaily/cents?from=2026-03-03&to=2026-03-06" in page.links()


def test_missing_days_are_told_from_zeros(shops: PageSite) -> None:
    """A day before history, or to come, is no zero on the chart and in the table, and the page says why."""
    page = Page(shops.signed_in().get("/rollups/ShopDaily?metrics=orders&from=2026-03-09&to=2026-03-14"))
    drawn = payload(page)
    assert drawn["series"][0]["values"][-2:] == [None, None]
    assert drawn["missing"][-1] == ["2026-03-13", "2026-03-14"]
    assert drawn["open"] == ["2026-03-12"]
    assert "Not known, and not zero: 2026-03-13 to 2026-03-14, orders: in the future" in page.text
    assert "From 2026-03-12 on numbers may still change." in page.text


def test_filter_form_leads_to_an_address_of_its_own(shops: PageSite) -> None:
    answer = shops.signed_in().get(f"/rollups/ShopDaily?{SPAN}&filter_key=shop_id&filter_value=43&filter_not=")
    assert answer.headers["location"] == "/rollups/ShopDaily?from=2026-03-01&to=2026-03-12&where=shop_id%3D43"
    page = Page(shops.signed_in().get(answer.headers["location"]))
    assert "shop_id is 43" in page.text


def test_number_of_a_cell_has_its_receipt(shops: PageSite) -> None:
    """The SQL, the source rows, the run that wrote it, and what the sources say now."""
    client = shops.signed_in()
    page = Page(client.get("/receipt/ShopDaily/cents?from=2026-03-04&to=2026-03-04&where=shop_id%3D42"))
    told = said(client, "/v1/rollups/ShopDaily/explain?metric=cents&day=2026-03-04&where=shop_id%3D42")
    assert re.search(rf'<p class="kpi" data-value><data value="{told["value"]}">', page.source)
    assert f"fingerprint {told['fingerprint']}" in page.text
    assert "Source rows 1 to 3 of 3" in page.text
    assert "<b>bold</b>" not in page.source
    assert "&lt;b&gt;bold&lt;/b&gt;" in page.source
    assert "SUM(" in page.source
    part = client.get(
        "/receipt/ShopDaily/cents?from=2026-03-04&to=2026-03-04&where=shop_id%3D42", headers={"HX-Request": "true"}
    )
    assert "<html" not in part.text


def test_number_of_several_cells_lists_them(shops: PageSite) -> None:
    """Each cell with its own receipt; together they are the sum, and uniques are said to be no sum."""
    client = shops.signed_in()
    page = Page(client.get(f"/receipt/ShopDaily/cents?{SPAN}"))
    answer = said(client, f"/v1/rollups/ShopDaily/query?metrics=cents&by=shop_id&{SPAN}")
    values = [int(one) for one in re.findall(r'<a data-receipt href="[^"]*"><data value="(\d+)">', page.source)]
    assert sorted(values) == sorted(row["cents"] for row in answer["rows"] if row["cents"] is not None)
    assert "It is the sum of its cells." in page.text
    assert "united, and never summed" in Page(client.get(f"/receipt/ShopDaily/customers?{SPAN}")).text


def test_cell_is_folded_again_on_demand(shops: PageSite) -> None:
    """By a rebuild of its day and key, which takes the token of the session and the right to jobs."""
    address = "/receipt/ShopDaily/orders?from=2026-03-04&to=2026-03-04&where=shop_id%3D42"
    client = shops.signed_in()
    assert client.post(address, data={"csrf_token": "wrong"}).status_code == 403
    csrf = str(Page(client.get("/")).all("meta", name="csrf")[0]["content"])
    shops.service.scheduler.start()
    page = Page(client.post(address, data={"csrf_token": csrf}))
    until = time.monotonic() + 30
    while again := re.findall(r'<a data-receipt href="([^"]*run=\d+)">Look again', page.source):
        assert time.monotonic() < until
        assert re.search(r"Run \d+ goes on: (queued|running)\.", page.text)
        page = Page(client.get(unescape(again[0])))
    assert re.search(r"Run \d+: done\.", page.text)
    reader = shops.signed_in("read")
    token = str(Page(reader.get("/")).all("meta", name="csrf")[0]["content"])
    refused = reader.post(address, data={"csrf_token": token})
    assert refused.status_code == 403
    assert "You may not see this" in Page(refused).text
    assert "Fold this cell again" not in Page(reader.get(address)).text


def test_limited_reader_sees_their_rows_alone(shops: PageSite) -> None:
    """On every page and in every part: no other shop's number, no rollup that has not the column, nothing of jobs."""
    client = shops.signed_in("read", MINE)
    home = Page(client.get("/"))
    assert "PlatformDaily" not in home.source
    assert home.all("a", href="/jobs") == []
    page = Page(client.get(f"/rollups/ShopDaily?metrics=cents&by=shop_id&{SPAN}"))
    assert [one["label"] for one in payload(page)["series"]] == ["42: cents"]
    mine = said(client, "/v1/rollups/ShopDaily/query?metrics=cents&grain=total&from=2026-03-02&to=2026-03-12")["rows"][
        0
    ]["cents"]
    assert page.values_after("data-total", "cents")[0] == str(mine)
    assert 'id="pulse"' not in page.source
    assert client.get("/pulse/ShopDaily").status_code == 204
    other = Page(client.get(f"/rollups/ShopDaily?metrics=cents&where=shop_id%3D43&{SPAN}"))
    assert {value for one in payload(other)["series"] for value in one["values"]} <= {0, None}
    assert client.get("/rollups/PlatformDaily").status_code == 404


def test_page_hears_that_rows_are_others(shops: PageSite) -> None:
    """The pulse is silent until the rollup is published again, and tells the page then."""
    client = shops.signed_in()
    pulse = str(Page(client.get(f"/rollups/ShopDaily?{SPAN}")).all("div", id="pulse")[0]["hx-get"])
    assert client.get(pulse).status_code == 204
    shops.app.rebuild("ShopDaily", from_="2026-03-04", to="2026-03-04")
    changed = client.get(pulse)
    if changed.status_code == 204:  # nothing differed: no row was published
        shops.app.ledger.store.open()
        with shops.app.ledger.store.transaction() as session:
            session.execute(
                shops.app.ledger.sql("insert into orders values (42, 'web', 'c', 5, timestamp '2026-03-04 10:00:00')")
            )
        shops.app.rebuild("ShopDaily", from_="2026-03-04", to="2026-03-04")
        changed = client.get(pulse)
    assert changed.status_code == 200
    assert changed.headers["HX-Trigger"] == "folded"
    assert Page(changed).all("div", id="pulse")[0]["hx-get"] != pulse


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/rollups/ShopDayly", 404, "the nearest is 'ShopDaily'"),
        ("/rollups/ShopDaily?metrics=cent", 404, "the nearest is 'cents'"),
        ("/rollups/ShopDaily?from=2026-13-01", 400, "2026-13-01"),
        ("/rollups/ShopDaily?from=2026-03-04&to=2026-03-02", 400, "ends before it starts"),
        ("/rollups/ShopDaily?wher=shop_id%3D42", 400, "wher"),
        ("/rollups/ShopDaily?by=channel", 404, "no key column 'channel'"),
        ("/receipt/ShopDaily/nothing", 404, "nothing"),
        ("/nowhere", 404, "No page has this address."),
    ],
)
def test_what_is_wrong_is_told_on_a_page(shops: PageSite, path: str, status: int, text: str) -> None:
    answer = shops.signed_in().get(path)
    assert (answer.status_code, answer.headers["content-security-policy"].startswith("default-src 'none'")) == (
        status,
        True,
    )
    assert text in Page(answer).text


def test_strangers_are_sent_to_sign_in_and_come_back(shops: PageSite) -> None:
    """With the address that they came for; a part of a page, or a program, is told 401 instead."""
    client = shops.signed_in()
    client.cookies.clear()
    answer = client.get(f"/rollups/ShopDaily?{SPAN}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=/rollups/ShopDaily%3Ffrom%3D2026-03-01%26to%3D2026-03-12"
    assert client.get("/", headers={"HX-Request": "true"}).status_code == 401


def test_files_are_served_for_ever_by_their_digest(shops: PageSite) -> None:
    """Also compressed; an address with another digest is not kept."""
    client = shops.signed_in()
    client.cookies.clear()
    page = client.get(static.address("dayfold.css"))
    assert page.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert page.headers["content-encoding"] == "gzip"
    assert "--accent" in page.text
    assert client.get("/static/0/dayfold.css").headers["cache-control"] == "no-cache"
    assert client.get("/static/0/../application.py").status_code == 404
