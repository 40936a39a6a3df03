"""Pages of profiles: what the API says, found, put in order and page by page; one entity, for whoever may see it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from starlette.testclient import TestClient

from dayfold import Case, Count, Profile, Rollup, Size, events
from dayfold.dashboard import profiles
from dayfold.plan.access import Scope
from tests.dashboard.pages import Page, PageSite
from tests.engines.ground import Ground
from tests.eventlog import event, send
from tests.http.shops import COLUMNS, order

PATH = "/profiles/Customers"
MINE = Scope.of(None, {"shop_id": ["42"]})
ENTITIES = events.columns(customer="text")
ODD = '<script>alert("1")</script> a=b&c'


def api(client: TestClient, path: str, **words: Any) -> dict[str, Any]:
    """An answer of the API, to the same browser."""
    answer = client.get(f"/v1{path}", params=words)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def entities(page: Page) -> list[list[str]]:
    """The texts of the rows of the table."""
    [whole] = re.findall(r'<table class="table" id="entities">.*?</table>', page.source, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", whole.partition("<tbody>")[2], re.DOTALL)
    return [[_text(one) for one in re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL)] for row in rows]


def _text(cell: str) -> str:
    raw = re.search(r'<data value="([^"]*)">', cell)
    return raw[1] if raw else unescape(re.sub(r"<[^>]*>", "", cell))


def test_a_table_is_the_answer_of_the_api_sorted_and_page_by_page(
    shops: PageSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order, the places lead through all rows once; a heading says the order and leads to the other one."""
    monkeypatch.setattr(profiles, "PAGE", 3)
    client = shops.signed_in()
    rows = api(client, "/profiles/Customers", sort="-cents", columns="shop_id,customer,cents", limit=100)["rows"]
    seen, path = [], f"{PATH}?sort=-cents&columns=cents"
    while path:
        page = Page(client.get(path))
        seen += entities(page)
        assert page.values_after("class", "found")[:1] == [str(len(rows))]
        path = next((str(one["href"]) for one in page.all("a", rel="next")), "")
    assert seen == [[str(row[name]) for name in ("shop_id", "customer", "cents")] for row in rows]
    first = Page(client.get(f"{PATH}?sort=-cents&columns=cents"))
    assert [one.get("aria-sort") for one in first.all("th", scope="col")] == [None, None, "descending"]
    assert f"{PATH}?columns=cents&sort=cents" in first.links()
    # The key leads to the entity, and files have all rows.
    one = next(link for link in first.links() if "/one?" in link)
    assert Page(client.get(one)).values_after("data-column", "cents") == [seen[0][2]]
    csv = next(link for link in first.links() if "format=csv" in link)
    assert len(client.get(csv).text.splitlines()) == len(rows) + 1


def test_forms_lead_to_addresses_that_hold_their_filters(shops: PageSite) -> None:
    """The key is found exactly; a comparison is added; each is told in words and can be taken off; nothing found says so."""
    client = shops.signed_in()
    led = client.get(f"{PATH}?sort=-cents&find=c1&find_in=customer")
    assert (led.status_code, led.headers["location"]) == (303, f"{PATH}?sort=-cents&where=customer%3Dc1")
    again = client.get(f"{led.headers['location']}&column=orders&sign=%3E%3D&value=5&find=c2&find_in=customer")
    where = parse_qs(urlsplit(again.headers["location"]).query)["where"]
    assert where == ["customer=c2", "orders>=5"]
    page = Page(client.get(f"{PATH}?where=customer%3Dc1&where=shop_id%3D42&columns=orders"))
    assert entities(page) == [
        ["42", "c1", str(api(client, "/profiles/Customers/one", key=["shop_id=42", "customer=c1"])["row"]["orders"])]
    ]
    assert "customer is c1" in page.text
    assert f"{PATH}?columns=orders&where=shop_id%3D42" in page.links()
    assert "Nothing found" in Page(client.get(f"{PATH}?where=customer%3Dnobody")).text
    wrong = client.get(f"{PATH}?where=orders%3Eabc")
    assert wrong.status_code == 400
    assert "is not integer" in Page(wrong).text
    assert client.get(f"{PATH}?sort=nothing").status_code == 400
    assert client.get("/profiles/Shop").status_code == 404


def test_segments_are_the_counts_of_the_api_and_lead_to_their_entities(shops: PageSite) -> None:
    """Of columns with few values, or of any that is asked for, under the same filters."""
    client = shops.signed_in()
    page = Page(client.get(f"{PATH}?show=segments&where=orders%3E3"))
    counts = api(client, "/profiles/Customers", count_by="segment", where="orders>3", sort="-count")["rows"]
    [table] = re.findall(r'data-segment="segment">.*?</table>', page.source, re.DOTALL)
    assert re.findall(r'<data value="([^"]*)">', table) == [str(row["count"]) for row in counts]
    link = next(link for link in page.links() if "segment%3Dregular" in link)
    assert len(entities(Page(client.get(link)))) == next(row["count"] for row in counts if row["segment"] == "regular")
    other = Page(client.get(f"{PATH}?show=segments&by=orders"))
    assert [one["data-segment"] for one in other.all("table")] == ["orders"]


def test_one_entity_has_all_its_columns_each_with_its_receipt_and_its_days(shops: PageSite) -> None:
    """As the API has them; a rollup of its key tells of its days, and each of those numbers has a receipt too."""
    client = shops.signed_in()
    key = ["shop_id=42", "customer=c1"]
    row = api(client, "/profiles/Shoppers/one", key=key)["row"]
    page = Page(client.get("/profiles/Shoppers/one?key=shop_id%3D42&key=customer%3Dc1"))
    assert page.values_after("data-column", "dearest") == [str(row["dearest"])]
    assert set(row) - {"shop_id", "customer"} == {one["data-column"] for one in page.all("dd")}
    receipt = next(link for link in page.links() if link.startswith("/receipt/Shoppers/dearest"))
    assert client.get(receipt).status_code == 200
    words = {"metrics": "paid", "where": key, "from": "2026-03-01", "to": "2026-03-12"}
    days = {
        one["day"]: str(one["paid"])
        for one in api(client, "/rollups/ShopperDaily/query", allow_missing=1, **words)["rows"]
        if one["paid"]
    }
    [table] = re.findall(r"ShopperDaily: days with something.*?</table>", page.source, re.DOTALL)
    shown = re.findall(r'<th scope="row">([^<]*)</th>.*?<data value="([^"]*)">', table)
    assert dict(shown) == days
    assert shown
    assert (
        client.get(next(link for link in page.links() if link.startswith("/receipt/ShopperDaily"))).status_code == 200
    )


def test_a_limited_caller_sees_no_other_shop(shops: PageSite) -> None:
    """Neither rows, nor counts, nor days; another's entity is answered like one that is not there."""
    client = shops.signed_in("read", MINE, "shop")
    for path in (PATH, f"{PATH}?show=segments&by=shop_id", f"{PATH}?where=shop_id%3D43", "/profiles"):
        text = Page(client.get(path)).text
        assert "43" not in text.replace("shop id is 43", "")
    assert {row[0] for row in entities(Page(client.get(PATH)))} == {"42"}
    found = len(api(client, "/profiles/Customers", limit=100)["rows"])
    assert Page(client.get(PATH)).values_after("class", "found")[:1] == [str(found)]
    answers = [
        client.get(f"{PATH}/one?key=shop_id%3D{shop}&key=customer%3D{name}")
        for shop, name in ((43, "c1"), (42, "none"))
    ]
    assert [one.status_code for one in answers] == [404, 404]
    assert Page(answers[0]).text == Page(answers[1]).text
    # Who lacks the column that the profile is limited by does not see that it is there.
    assert (
        "Customers"
        not in Page(shops.signed_in("read", Scope.of(None, {"channel": ["web"]}), "c").get("/profiles")).text
    )


@pytest.fixture
def odd(duck: Ground) -> Iterator[PageSite]:
    """Profiles whose keys are hard to write, and persons; and a size. Nothing is folded yet."""
    made = duck.table("orders")

    class Buyers(Profile):
        """Who bought."""

        key = "customer"
        orders = Count(made)
        kind = Case({"<often>": "orders > 1"})

    class BuyersDaily(Rollup):
        """How many of each kind."""

        key = "kind"
        buyers = Size(Buyers)

    class Persons(Profile):
        """Who did something."""

        key = "person"
        done = Count(events.source(columns={"person": "actor_id"}))

    rows = [order(1, 2, 5, customer=ODD), order(1, 3, 6, customer=ODD), order(1, 3, 6, customer="")]
    duck.load("orders", COLUMNS, rows)
    duck.define(Buyers, BuyersDaily, Persons, ENTITIES)
    with PageSite(duck) as site:
        yield site


def test_before_a_fold_and_after_it_with_a_key_that_is_hard_to_write(odd: PageSite) -> None:
    """A page says what to run first; a key of markup is text everywhere; the empty text and NULL are told apart; sizes are by day."""
    client = odd.signed_in()
    before = Page(client.get("/profiles/Buyers"))
    assert "Never folded" in before.text
    assert "dayfold fold Buyers" in before.text
    odd.app.fold()
    page = Page(client.get("/profiles/Buyers"))
    assert [row[0] for row in entities(page)] == ['""', ODD]
    alone = Page(client.get(next(link for link in page.links() if "/one?" in link and "script" in link)))
    assert ODD in alone.text
    assert not [one for one in (page, alone) if "<script>alert" in one.source]
    assert Page(client.get('/profiles/Buyers/one?key=customer%3D""')).values_after("data-column", "orders") == ["1"]
    led = client.get("/profiles/Buyers", params={"find": ODD})
    assert [row[0] for row in entities(Page(client.get(led.headers["location"])))] == [ODD]
    segments = Page(client.get("/profiles/Buyers?show=segments"))
    assert "no value" in segments.text
    assert "<often>" in segments.text
    assert "One day is known so far" in segments.text
    assert client.get("/profiles/Buyers/one?key=abc").status_code == 400


def test_the_events_of_an_entity_are_shown_to_whoever_may_see_them(odd: PageSite) -> None:
    """Of the entity alone; of a person only where personal data are; of none where raw events are closed."""
    odd.app.fold()
    send(
        odd.app, event(1, customer=ODD, actor_id="anna", event_type="basket_filled"),
        event(2, customer="other", actor_id="ben", event_type="basket_left"),
    )  # fmt: skip
    odd.app.fold()
    buyer, person = (
        "/profiles/Buyers/one?" + urlencode({"key": f"customer={ODD}"}),
        "/profiles/Persons/one?key=person%3Danna",
    )
    reader = odd.signed_in("read", name="reader")
    for client, path in ((odd.signed_in(), buyer), (odd.signed_in(), person), (reader, buyer)):
        text = Page(client.get(path)).text
        assert "basket_filled" in text
        assert "basket_left" not in text
    closed = odd.signed_in("read", Scope.of(["Buyers"], {}), "closed")
    for client, path in ((reader, person), (closed, buyer)):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "basket_filled" not in Page(answer).text
