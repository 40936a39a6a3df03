"""What a page does at its edges: callers with one right, ranges without an end, filters that let much through."""

from __future__ import annotations

import json
import re
from html import escape, unescape

import pytest

from dayfold import Count, Rollup, Series
from dayfold import Page as ShownPage
from dayfold.dashboard import picture
from dayfold.query.profile import ProfileAnswer
from dayfold.query.profile_request import ProfileRequest
from tests.dashboard.pages import Page, PageSite
from tests.dashboard.test_jobs import past, settle
from tests.dashboard.test_rollups import SPAN, payload
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, order


def test_who_steers_jobs_alone_gets_no_receipt(shops: PageSite) -> None:
    """A receipt has numbers and source rows: folding a cell again shows none of them to whoever may not read."""
    client = shops.signed_in("jobs")
    csrf = str(Page(client.get("/jobs")).all("meta", name="csrf")[0]["content"])
    answer = client.post(
        "/receipt/ShopDaily/cents?from=2026-03-04&to=2026-03-04&where=shop_id%3D42", data={"csrf_token": csrf}
    )
    assert answer.status_code == 403
    assert "1000000" not in answer.text
    assert shops.service.desk.runs(1, of_rollups=False) == []


def test_an_excluded_key_leaves_a_picture_of_the_greatest(shops: PageSite) -> None:
    """Of the others as many lines as were asked for, in the chart and in the table."""
    client = shops.signed_in()
    page = Page(client.get(f"/rollups/ShopDaily?metrics=cents&by=shop_id&n=1&where=shop_id!%3D43&{SPAN}"))
    assert [one["label"] for one in payload(page)["series"]] == ["42: cents"]
    assert ">NULL</td>" not in page.source
    assert "the 1 greatest" in page.text


def test_a_picture_has_an_end(shops: PageSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """More numbers than anybody looks at are refused before they are read, with a way out."""
    monkeypatch.setattr(picture, "MOST_NUMBERS", 11)
    page = Page(shops.signed_in().get(f"/rollups/ShopDaily?metrics=cents&{SPAN}"))
    assert "These are 12 numbers; a picture has at most 11. Choose fewer days, or a coarser grain." in page.text
    assert not page.all("figure")
    cohort = shops.signed_in().get("/cohorts/Returning?grain=day&from=2024-01-01&to=2026-03-01&periods=121")
    assert cohort.status_code == 422
    assert "These are 95,832 cells; a table has at most 20,000." in Page(cohort).text


@pytest.mark.parametrize("path", ["/rollups/ShopDaily?to=0001-01-02", "/funnels/Growing?to=0001-01-02"])
def test_a_range_that_ends_with_the_calendar_is_one(shops: PageSite, path: str) -> None:
    """Days before the first one are not asked for."""
    assert shops.signed_in().get(path).status_code == 200


def test_a_range_with_missing_days_is_beside_no_whole_one(shops: PageSite) -> None:
    """Its total lacks days, so that a change would be none."""
    page = Page(shops.signed_in().get(f"/rollups/ShopDaily?metrics=cents&{SPAN}"))
    card = re.search(r'data-total="cents".*?</li>', page.source, re.DOTALL)
    assert card
    assert "without the days that are missing" in card[0]
    assert "delta" not in card[0]


def test_a_number_of_the_overview_has_its_receipt(shops: PageSite) -> None:
    """The receipt says the number of the card."""
    client = shops.signed_in()
    page = Page(client.get("/"))
    links = [str(one["href"]) for one in page.all("a") if "data-receipt" in one]
    assert links
    for address in links:
        shown = re.search(rf'href="{re.escape(address.replace("&", "&amp;"))}"><data value="([^"]*)">', page.source)
        kpi = re.search(r'class="kpi"[^>]*>(?:<a[^>]*>)?<data value="([^"]*)">', client.get(address).text)
        assert shown
        assert kpi
        assert shown[1] == kpi[1]


def test_a_number_of_an_hour_has_the_receipt_of_that_hour(duck: Ground) -> None:
    """In a zone too, whose day the hour is of; the cells below are of its days."""
    made = duck.table("orders")

    class Hourly(Rollup):
        """Orders by hour."""

        grain = "15min"
        key = "shop_id"
        orders = Count(made, at="made_at")

    late = [order(1, 3, 5) | {"made_at": order(1, 3, 5)["made_at"].replace(hour=20)} for _ in range(3)]
    duck.load("orders", COLUMNS, [order(1, 3, 1), *late])
    duck.define(Hourly)
    duck.fold()
    with PageSite(duck) as site:
        client = site.signed_in()
        page = Page(client.get("/rollups/Hourly?grain=hour&tz=Asia/Kathmandu&from=2026-03-04&to=2026-03-04"))
        [shown] = re.findall(r'<a data-receipt href="([^"]*hour=[^"]*)"><data value="3">', page.source)
        receipt = Page(client.get(shown.replace("&amp;", "&")))
        assert re.search(r'class="kpi"><data value="3">', receipt.source)
        assert "the hour from 2026-03-03 19:15 UTC" in receipt.text
        assert client.get("/receipt/Hourly/orders?from=2026-03-03&to=2026-03-03&hour=x").status_code == 400


def test_an_entity_is_shown_in_a_frame_too(shops: PageSite) -> None:
    """Its key is no secret in the address of the frame either; a token in it is refused still."""
    shops.app.settings.dashboard.embed_in = ["https://shop.example"]
    path = "/embed/profiles/Customers/one?key=shop_id%3D42&key=customer%3Dc1"
    assert shops.client.get(path).status_code == 200
    assert shops.client.get("/embed/profiles/Customers/one?key=abc").status_code == 400


def test_the_overview_says_what_failed(shops: PageSite) -> None:
    """A job whose last attempt failed, to whoever may see jobs; a reader hears nothing of it."""
    settle(shops)
    assert "The last run of the job" not in Page(shops.signed_in().get("/")).text
    past(shops, "update dayfold__job_runs set status = 'failed' where job = 'fold'")
    assert "The last run of the job fold failed." in Page(shops.signed_in().get("/")).text
    assert "The last run of the job" not in Page(shops.signed_in("read").get("/")).text


def test_the_overview_counts_entities_without_listing_them(shops: PageSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile may have very many."""
    asked: list[ProfileRequest] = []
    answered = shops.app.profile_answer

    def answer(one: ProfileRequest) -> ProfileAnswer:
        asked.append(one)
        return answered(one)

    monkeypatch.setattr(shops.app, "profile_answer", answer)
    page = Page(shops.signed_in().get("/"))
    assert page.values_after("data-entities", "Shoppers") == ["9"]
    assert asked
    assert all(one.limit is not None for one in asked)


def test_whoever_signs_in_comes_back_to_a_long_address(shops: PageSite) -> None:
    """As long as one that holds a page's whole state; one that is longer still leads home."""
    where = "&".join(f"where=shop_id%3D{number}" for number in range(60))
    address = f"/rollups/ShopDaily?{SPAN}&{where}"
    answer = shops.client.get(address, follow_redirects=False)
    page = shops.client.get(answer.headers["location"])
    assert f'name="next" value="{escape(address)}"' in page.text
    longer = shops.client.get(f"{address}&{where}&{where}", follow_redirects=False)
    assert longer.headers["location"] == "/sign-in"


def test_words_of_a_page_that_are_no_words_are_told(shops: PageSite) -> None:
    """A form may send any JSON."""
    client = shops.signed_in()
    csrf = str(Page(client.get("/")).all("meta", name="csrf")[0]["content"])
    part = {"part": "card", "name": "one", "rollup": "ShopDaily", "metric": [{}]}
    answer = client.post("/pages/new", data={"csrf_token": csrf, "title": "T", "words": json.dumps({"parts": [part]})})
    assert answer.status_code == 400


def test_a_number_of_a_series_has_its_receipt(duck: Ground) -> None:
    """Of the days of its row and of its key, as the page of the definitions shows it; a key may be called like a column."""
    made = duck.table("orders")

    class ByChannel(Rollup):
        """Orders by channel."""

        key = "channel"
        orders = Count(made, at="made_at")

    class Both(ShownPage):
        """By week."""

        over_time = Series("ByChannel", "orders", by="channel", grain="week")

    duck.load("orders", COLUMNS, [order(1, day, 5, channel) for day in (2, 9, 10) for channel in ("day", "", "web")])
    duck.define(ByChannel, Both)
    duck.fold()
    with PageSite(duck) as site:
        client = site.signed_in()
        page = Page(client.get("/pages/Both?from=2026-03-02&to=2026-03-11"))
        assert [one["label"] for one in payload(page, "chart-over_time")["series"]] == ['""', '"day"', "web"]
        links = re.findall(r'<a data-receipt href="([^"]*)"><data value="(\d+)">', page.source)
        assert [value for _, value in links] == ["1", "1", "1", "2", "2", "2"]
        for link, value in links:
            assert f'class="kpi"><data value="{value}">' in client.get(unescape(link)).text
        assert "are too many by week" in Page(client.get("/pages/Both?from=1990-01-01&to=2026-03-11")).text
