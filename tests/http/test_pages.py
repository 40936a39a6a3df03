"""Pages over HTTP: who sees which, with whose rows; building, saving, sharing; the frame that other sites show."""

from __future__ import annotations

import datetime as dt
import html
import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from starlette.testclient import TestClient

from dayfold import Access, Card, Page, Series, Steps, Text, Top
from dayfold.define.page import written
from dayfold.http.embed import Embed
from dayfold.http.rights import Right, right_of
from dayfold.ledger.pages import Viewer
from dayfold.plan.access import Grant, Scope
from dayfold.settings_auth import JwtSettings
from tests.conftest import Pairing
from tests.dashboard.pages import PageSite
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, customers, order, rollups, studies
from tests.http.site import Site, header, routes
from tests.http.test_scope import MINE, PASSWORD

SPAN = "from=2026-03-01&to=2026-03-12"


class ShopPage(Page):
    """What a shop sells."""

    parameters = {"shop_id": "bigint"}  # noqa: RUF012
    period = "7d"

    intro = Text("Hello.\n\n<b>Shops</b>", title="Read this")
    orders = Card("ShopDaily", "orders", compare="previous")
    customers = Card("ShopDaily", "customers")
    revenue = Series("ShopDaily", ["cents", "orders"], grain="day")
    channels = Series("ChannelDaily", "sales", by="channel")
    shops = Top("ShopDaily", ["orders", "cents"], by="shop_id")
    growing = Steps("Growing")


class PlatformPage(Page):
    """Everybody's."""

    everything = Card("PlatformDaily", "everything")


class Manager(Access):
    """The shops of somebody."""

    shop_id = "select shop_id from manages where manager_id = :manager_id"


class ManagerPage(Page):
    """What a manager's shops sell."""

    access = Manager

    orders = Card("ShopDaily", "orders")
    shops = Top("ShopDaily", "orders", by="shop_id")


def world(ground: Ground, others: int) -> Ground:
    """Shop 42 as it always is, and others who differ from world to world, on every day and in every channel."""
    mine = [order(42, day, 100 * day, customer=f"m{day % 3}") for day in range(2, 12)]
    draw = random.Random(others)
    theirs = [
        order(draw.choice([1, 43, 500 + others, None]), day, draw.randrange(10_000), draw.choice(["web", f"c{others}"]), f"o{n}")
        for n, day in enumerate([1, *range(2, 12), *(draw.randrange(1, 13) for _ in range(others * 40))])
    ]  # fmt: skip
    ground.load("orders", COLUMNS, [*mine, *theirs])
    ground.load(
        "manages", "manager_id bigint, shop_id bigint",
        [{"manager_id": 7, "shop_id": 42}, {"manager_id": 8, "shop_id": 43}, {"manager_id": 9, "shop_id": 42},
         {"manager_id": 9, "shop_id": 43}],
    )  # fmt: skip
    ground.define(*rollups(ground), *studies(ground), customers(ground), ShopPage, PlatformPage, Manager, ManagerPage)
    ground.fold()
    return ground


@pytest.fixture
def worlds(new_duckdb: Callable[..., str]) -> Iterator[list[Site]]:
    """Two sites in which shop 42 is the same, and nobody else."""
    with ExitStack() as stack:
        sites = []
        for others in (1, 3):
            url = new_duckdb(f"world{others}")
            ground = stack.enter_context(Ground(Pairing("duckdb-same", url, url)))
            sites.append(stack.enter_context(PageSite(world(ground, others))))
        yield sites


@pytest.fixture
def site(worlds: list[Site]) -> Site:
    return worlds[0]


def signed_in(site: Site, name: str = "anna", kind: str = "read", **limits: Any) -> tuple[TestClient, str]:
    """A browser in which somebody signed in, and the token that changes need."""
    site.app.accounts.add_user(name, PASSWORD, kind, **limits)
    browser = TestClient(site.api, follow_redirects=False, raise_server_exceptions=False)
    assert browser.post("/sign-in", data={"name": name, "password": PASSWORD}).status_code == 303
    return browser, browser.get("/v1/me").json()["csrf_token"]


def addresses(text: str) -> set[str]:
    """All that a page asks for, or leads to, by itself or when somebody clicks."""
    found = re.findall(r'(?:href|src|action|hx-get|hx-post)="(/[^"]*)"', text)
    return {html.unescape(one) for one in found if not one.startswith(("/static/", "/sign-"))}


def crawled(site: Site, headers: dict[str, str], starts: list[str], most: int = 150) -> dict[str, str]:
    """Every page, part and file that a caller comes to from some pages, by its address."""
    waiting, found = list(starts), dict[str, str]()
    while waiting and len(found) < most:
        address = waiting.pop(0)
        if address in found:
            continue
        answer = site.client.get(address, headers=headers, follow_redirects=False)
        assert answer.status_code < 500, (address, answer.text)
        found[address] = f"{answer.status_code} {answer.text}"
        if "text/html" in answer.headers.get("content-type", ""):
            fresh = sorted(addresses(answer.text) - set(found))
            # A table has a receipt for each number.
            receipts = [one for one in fresh if one.startswith("/receipt/")]
            waiting += [one for one in fresh if one not in receipts or one in receipts[:: len(receipts) // 5 + 1]]
    return found


#: One row of each kind of page; what they lead to is found from them.
STARTS = [
    "/pages?bare=1", "/pages/ShopPage?bare=1", f"/pages/ShopPage?{SPAN}&bare=1", "/pages/ShopPage?shop_id=43&period=90d&bare=1",
    "/pages/ShopPage?shop_id=42&period=12m&bare=1", "/pages/ShopPage?part=channels&bare=1", f"/rollups/ShopDaily?{SPAN}&bare=1&by=shop_id",
    "/?bare=1", "/profiles?bare=1", "/profiles/Customers?bare=1", "/profiles/Customers?show=segments&bare=1",
    "/cohorts/Returning?grain=day&from=2026-03-01&to=2026-03-12&bare=1", "/funnels/Growing?from=2026-03-01&to=2026-03-12&bare=1",
    "/rollups/PlatformDaily?bare=1", "/pages/PlatformPage?bare=1", "/pages/ManagerPage?bare=1", "/pages/ManagerPage?manager_id=8&bare=1",
]  # fmt: skip
JWT = {"secret": "s" * 32, "algorithms": ["HS256"], "audience": "dayfold", "claims": {"rows": {"shop_id": "shop"}}}


def test_a_scoped_embed_token_shows_only_its_rows_in_all_that_a_page_asks_for(
    worlds: list[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever shop 42's token comes to from any page is the same in two worlds that differ in everybody else."""
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    mine = header(jwt.encode({"aud": "dayfold", "exp": ends, "shop": MINE}, "s" * 32, "HS256"))
    told, whole = [], []
    for site in worlds:
        monkeypatch.setattr(
            site.service.doorkeeper, "embed", Embed(JwtSettings.model_validate(JWT), site.app.catalog, site.app.folder)
        )
        number = save(*signed_in(site), shared="1")
        starts = [*STARTS, f"/pages/saved/{number}?bare=1"]
        told.append({_same(one, number): _same(text, number) for one, text in crawled(site, mine, starts).items()})
        whole.append(
            {
                _same(one, number): _same(text, number)
                for one, text in crawled(site, header(site.token()), starts, 12).items()
            }
        )
    assert told[0].keys() == told[1].keys()
    assert {one for one in told[0] if told[0][one] != told[1][one]} == set()
    kinds = {re.split(r"[/?]", one)[1] for one in told[0]}
    assert {"pages", "rollups", "receipt", "v1"} <= kinds
    assert len(told[0]) > 100
    for name in ("/pages/PlatformPage?bare=1", "/pages/ManagerPage?bare=1", "/rollups/PlatformDaily?bare=1"):
        assert told[0][name].startswith("404 ")
    # Whoever sees everything is shown other numbers in each, so that the comparison can fail; of shop 42 alone they are the same.
    assert [one for one in STARTS[1:6] if whole[0][one] == whole[1][one]] == [STARTS[4]]


def _same(text: str, number: str) -> str:
    """A text without what is random: the number of a page."""
    return text.replace(number, "NUMBER")


def card(text: str, name: str) -> str:
    """The number of a card."""
    found = re.search(rf'data-part="{name}".*?<data value="([^"]*)"', text, re.DOTALL)
    assert found is not None, text
    return found[1]


def test_a_page_shows_what_the_api_says(site: Site) -> None:
    """Cards, series, top lists and funnels over the days that were asked for, with the page's own filter."""
    who = header(site.token())
    page = site.client.get(f"/pages/ShopPage?{SPAN}&shop_id=42", headers=who).text

    def asked(metric: str, **more: str) -> Any:
        words = {"metrics": metric, "from": "2026-03-01", "to": "2026-03-12", "grain": "total", "where": "shop_id=42"}
        return site.client.get("/v1/rollups/ShopDaily/query", params=words | more, headers=who).json()["rows"]

    assert card(page, "orders") == str(asked("orders")[0]["orders"]) == "10"
    assert card(page, "customers") == str(asked("customers")[0]["customers"])
    assert "&lt;b&gt;Shops&lt;/b&gt;" in page
    days = re.search(r'id="chart-revenue-data">(.*?)</script>', page)
    assert days is not None
    drawn = json.loads(days[1])
    rows = asked("cents,orders", grain="day", allow_missing="1")
    assert drawn["x"] == [row["day"] for row in rows]
    assert drawn["series"][0]["values"] == [row["cents"] for row in rows]
    funnel = site.client.get(
        "/v1/funnels/Growing", params={"from": "2026-03-01", "to": "2026-03-12", "where": "shop_id=42"}, headers=who
    ).json()
    entities = [str(row["entities"]) for row in funnel["cohort"]["rows"]]
    shown = re.search(r'data-part="growing".*?</table>', page, re.DOTALL)
    assert shown is not None
    assert re.findall(r'<td class="num"><data value="(\d+)">', shown[0]) == entities
    last = site.client.get("/pages/ShopPage", headers=who).text
    assert 'data-from="2026-03-06" data-to="2026-03-12"' in last
    assert "There is no parameter &#39;shop&#39;; the nearest is &#39;shop_id&#39;" in (
        site.client.get("/pages/ShopPage?shop=42", headers=who).text
    )
    assert site.client.get("/pages/ShopPage?shop_id=x", headers=who).status_code == 400
    assert site.client.get("/pages/ShopPage?part=nothing", headers=who).status_code == 404


def test_a_page_with_an_access_is_of_whoever_was_given_it(site: Site) -> None:
    """Its parameters are theirs; whoever sees all rows chooses; everybody else does not find it."""

    def of(manager: str, **more: Any) -> dict[str, str]:
        return header(site.token("read", Scope.of(None, {}, [Grant.of("Manager", {"manager_id": manager})])))

    everyone, seven = header(site.token()), of("7")
    page = site.client.get("/pages/ManagerPage", headers=seven)
    assert (card(page.text, "orders"), "<strong>7</strong>" in page.text) == ("10", True)
    assert "ManagerPage" in site.client.get("/pages", headers=seven).text
    refused = site.client.get("/pages/ManagerPage?manager_id=8", headers=seven)
    assert (refused.status_code, "follows from who you are" in refused.text) == (403, True)
    assert card(site.client.get("/pages/ManagerPage?manager_id=7", headers=everyone).text, "orders") == "10"
    both = card(site.client.get("/pages/ManagerPage?manager_id=9", headers=everyone).text, "orders")
    other = card(site.client.get("/pages/ManagerPage?manager_id=8", headers=everyone).text, "orders")
    assert int(both) == int(other) + 10
    whole = site.client.get("/pages/ManagerPage", headers=everyone).text
    assert int(card(whole, "orders")) > int(both)
    assert "the numbers of all" in whole
    chosen = site.client.get("/pages/ManagerPage?manager_id=7", headers=everyone).text
    # A receipt would be of everybody.
    assert "data-receipt" in whole
    assert "data-receipt" not in chosen
    for stranger in (site.reader({"shop_id": ["42"]}), header(site.token("read", Scope.of(["PlatformDaily"], {})))):
        answer = site.client.get("/pages/ManagerPage", headers=stranger)
        assert (answer.status_code, "There is no page &#39;ManagerPage&#39;" in answer.text) == (404, True)
        assert "ManagerPage" not in site.client.get("/pages", headers=stranger).text


def test_a_token_may_give_its_bearer_an_access(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each its own; a token that gives none, or one that there is not, is refused rather than shown everything."""
    words = JWT | {"claims": {"rows": {}, "grants": "may"}}
    embed = Embed(JwtSettings.model_validate(words), site.app.catalog, site.app.folder)
    monkeypatch.setattr(site.service.doorkeeper, "embed", embed)
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)

    def asked(**claims: Any) -> Any:
        signed = jwt.encode({"aud": "dayfold", "exp": ends, **claims}, "s" * 32, "HS256")
        return site.client.get("/pages/ManagerPage", headers=header(signed))

    assert card(asked(may={"Manager": {"manager_id": 7}}).text, "orders") == "10"
    refused: list[Any] = [None, {}, [], "Manager", {"Manager": 7}, {"Manager": {"manager_id": [7]}}, {"Root": {}}]
    assert {asked(may=one).status_code for one in refused} | {asked().status_code} == {401}
    assert asked(may={"Manager": {}}).status_code == 403


FIELDS = {
    "title": "My shops", "description": "What I look at", "period": "30d", "p1_part": "card", "p1_rollup": "ShopDaily",
    "p1_metrics": "orders", "p1_compare": "previous", "p2_part": "top", "p2_rollup": "ShopDaily", "p2_metrics": ["orders", "cents"],
    "p2_by": "shop_id", "p2_n": "3", "p2_where": "shop_id=42\nshop_id=", "p3_part": "text", "p3_text": 'Say "this".',
    "p4_part": "series", "p4_rollup": "ChannelDaily", "p4_metrics": "sales", "p4_by": "channel", "p4_grain": "week",
}  # fmt: skip


def hidden(text: str, name: str) -> str:
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)">', text)
    assert found is not None, text
    return html.unescape(found[1])


def save(browser: TestClient, csrf: str, **more: str) -> str:
    """A page that is built and saved without a script; its number."""
    built = browser.get("/pages/new", params=FIELDS)
    assert built.status_code == 200
    form = {name: hidden(built.text, name) for name in ("words", "title", "description")}
    made = browser.post("/pages/new", data={**form, "csrf_token": csrf, **more})
    assert made.status_code == 303, made.text
    return str(made.headers["location"].removeprefix("/pages/saved/"))


def test_a_page_is_built_saved_shared_and_written_as_python(site: Site) -> None:
    """With plain forms; a change without the token of the session is refused; what is exported is the same page."""
    browser, csrf = signed_in(site)
    other, other_csrf = signed_in(site, "ben")
    root, root_csrf = signed_in(site, "root", "admin")
    first = browser.get("/pages/new")
    assert (first.status_code, "ShopDaily" in first.text, csrf in first.text) == (200, True, True)
    wrong = browser.get("/pages/new", params=FIELDS | {"p1_metrics": "ordres"})
    assert "ShopDaily has no metric &#39;ordres&#39;; the nearest is &#39;orders&#39;" in wrong.text
    assert browser.post("/pages/new", data={"title": "x", "words": "{}"}).status_code == 403
    assert browser.post("/pages/new", data={"title": "x", "words": "[", "csrf_token": csrf}).status_code == 400
    number = save(browser, csrf)
    path = f"/pages/saved/{number}"
    page = browser.get(path)
    assert (page.status_code, "My shops" in page.text, "Say &#34;this&#34;." in page.text) == (200, True, True)
    assert "My shops" in browser.get("/pages").text
    for stranger in (other.get(path), site.client.get(path, headers=header(site.token()))):
        assert stranger.status_code == 404
    assert "My shops" in root.get("/pages").text
    assert browser.post(f"{path}/share", data={"shared": "1"}).status_code == 403
    assert browser.post(f"{path}/share", data={"shared": "1", "csrf_token": csrf}).status_code == 303
    assert other.get(path).status_code == 200
    assert "Delete" not in other.get(path).text
    assert other.post(f"{path}/delete", data={"csrf_token": other_csrf}).status_code == 403
    copied = other.get(f"{path}/edit")
    assert (copied.status_code, copied.headers["location"].startswith("/pages/new?title=My+shops")) == (303, True)
    assert site.client.get(path, headers=site.reader(rollups=["PlatformDaily"])).status_code == 404
    assert site.client.get(path, headers=site.reader({"shop_id": ["42"]})).status_code == 200

    room: dict[str, Any] = {"__name__": "exported"}
    source = browser.get(f"{path}/export.py")
    assert source.headers["content-disposition"] == 'attachment; filename="MyShopsPage.py"'
    exec(compile(source.text, "exported.py", "exec"), room)
    kept = site.app.saved_pages.get(number, viewer_of(site))
    assert written(room["MyShopsPage"]).words == {"title": "My shops", **kept.words}
    assert [part["part"] for part in kept.words["parts"]] == ["card", "top", "text", "series"]
    assert kept.words["parts"][1]["where"] == {"shop_id": ["42", None]}

    again = browser.get(f"{path}/edit")
    form = {"words": hidden(again.text, "words"), "title": "Renamed", "description": "", "csrf_token": csrf}
    assert browser.post(f"{path}/edit", data=form).status_code == 303
    assert site.app.saved_pages.get(number, viewer_of(site)).words == kept.words
    assert "Renamed" in other.get(path).text
    assert root.post(f"{path}/delete", data={"csrf_token": root_csrf}).status_code == 303
    assert browser.get(path).status_code == 404


def viewer_of(site: Site) -> Any:
    return Viewer("user root", Scope(), is_admin=True)


def test_the_frame_is_off_until_a_site_is_named(site: Site) -> None:
    """Then it may stand in that site alone, holds no number, and no other page may stand anywhere; no token is taken in an address."""
    path = "/embed/pages/ShopPage?period=7d&theme=dark"
    off = site.client.get(path)
    assert (off.status_code, "frame-ancestors 'none'" in off.headers["content-security-policy"]) == (404, True)
    site.app.settings.dashboard.embed_in = ["https://shop.example", "https://other.example:8443"]
    token = header(site.token())
    frame = site.client.get(path)
    policy = frame.headers["content-security-policy"]
    assert frame.status_code == 200
    assert policy.endswith("frame-ancestors https://shop.example https://other.example:8443")
    assert "unsafe" not in policy
    assert 'data-theme="dark"' in frame.text
    assert '"page":"/pages/ShopPage?period=7d\\u0026theme=dark"' in frame.text
    assert "<data " not in frame.text
    page = site.client.get("/pages/ShopPage?bare=1", headers=token)
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "<header" not in page.text
    secret = token["Authorization"].removeprefix("Bearer ")
    by_form = site.client.post("/embed/pages/ShopPage", data={"token": secret + "</script><script>"})
    assert (by_form.status_code, secret in by_form.text, by_form.text.count("<script>")) == (200, True, 0)
    assert by_form.headers["cache-control"] == "no-store"
    assert site.client.get(f"{path}&token={quote(secret)}").status_code == 400
    for cookie in (signed_in(site)[0].cookies,):
        # Who is signed in here is nobody there.
        assert "<data " not in TestClient(site.api, cookies=cookie).get(path).text


def test_routes_of_pages_are_for_readers(site: Site) -> None:
    """What is open to everybody is the frame, which holds nothing."""
    found = {
        (right_of(route), f"{method} {route.path}") for route in routes(site.api) for method in route.methods
        if route.path.startswith(("/pages", "/embed"))
    }  # fmt: skip
    assert {path for right, path in found if right is Right.PUBLIC} == {
        "GET /embed/{path:path}",
        "POST /embed/{path:path}",
    }
    assert {right for right, _ in found} == {Right.PUBLIC, Right.READ}
