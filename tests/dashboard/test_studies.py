"""Pages of cohorts and funnels: the numbers of the API as tables, with what is not known or not over told apart from a zero."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient

from dayfold.plan.access import Scope
from tests.dashboard.pages import Page, PageSite
from tests.engines.ground import NOW, Ground

MINE = Scope.of(None, {"shop_id": ["42"]})
DAYS = {"from": "2026-03-01", "to": "2026-03-12"}


def api(client: TestClient, path: str, **words: Any) -> dict[str, Any]:
    """An answer of the API, to the same browser."""
    answer = client.get(f"/v1{path}", params=words)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def table(page: Page, attribute: str, name: str) -> str:
    """The source of the table of one group."""
    [found] = re.findall(rf'<table[^>]* data-{attribute}="{name}">.*?</table>', page.source, re.DOTALL)
    return str(found)


def heat(page: Page, name: str = "") -> dict[str, list[str | None]]:
    """The values of each cohort by age; None where one is not known."""
    rows = re.findall(r'<tr data-cohort="([^"]*)">(.*?)</tr>', table(page, "heat", name), re.DOTALL)
    found = {}
    for cohort, cells in rows:
        shown = [one for one in re.findall(r"<td.*?</td>", cells, re.DOTALL)[1:] if "not begun" not in one]
        values = [re.search(r'<data value="([^"]*)">', one) for one in shown]
        found[cohort] = [one[1] if one else None for one in values]
    return found


def of_api(answer: dict[str, Any], name: str, **group: Any) -> dict[str, list[str | None]]:
    """The same of an answer."""
    found: dict[str, list[str | None]] = {}
    for row in answer["rows"]:
        if all(row[key] == value for key, value in group.items()):
            found.setdefault(row["cohort"], []).append(None if row[name] is None else repr(float(row[name])))
    return found


def test_retention_and_value_are_the_answer_of_the_api(shops: PageSite) -> None:
    """By any grain, split or not, at an age or later; as shares, or as a value per entity; what was asked for stands in the files."""
    client = shops.signed_in()
    for grain, more in (("day", {}), ("week", {"unbounded": 1}), ("month", {})):
        words = {**DAYS, "grain": grain, "periods": 13, **more}
        answer = api(client, "/cohorts/Returning", **words)
        page = Page(client.get("/cohorts/Returning", params=words))
        assert heat(page) == of_api(answer, "rate")
        assert heat(page)
        value = Page(client.get("/cohorts/Returning", params={**words, "show": "paid"}))
        assert heat(value) == of_api(answer, "paid_per_entity")
    csv = next(link for link in page.links() if "format=csv" in link)
    assert len(client.get(csv).text.splitlines()) == len(answer["rows"]) + 1
    split = {**DAYS, "grain": "day", "by": "shop_id", "periods": 13}
    page, answer = Page(client.get("/cohorts/Returning", params=split)), api(client, "/cohorts/Returning", **split)
    for shop in (42, 43):
        assert heat(page, str(shop)) == of_api(answer, "rate", shop_id=shop)


def test_by_itself_a_page_shows_the_newest_cohorts_and_says_what_is_not_over(shops: PageSite) -> None:
    """From the first start to the newest; the period that runs is marked, and no cell is coloured that is zero."""
    client = shops.signed_in()
    page = Page(client.get("/cohorts/Returning?grain=week"))
    assert list(heat(page)) == ["2026-03-02", "2026-03-09"]
    assert next(iter(heat(Page(client.get("/cohorts/Returning?grain=week&from=2026-02-23"))))) == "2026-02-23"
    assert "not over yet" in page.source
    cells = re.findall(r'<td class="num heat-(\d)"[^>]*><data value="([^"]*)">', page.source)
    assert cells
    assert all((warmth == "0") == (float(value) == 0) for warmth, value in cells)
    assert client.get("/cohorts/Returning?from=2026-03-05&to=2026-03-01").status_code == 400


def test_an_age_of_missing_days_is_not_a_zero(shops: PageSite, duck: Ground) -> None:
    """Of a day that was not folded the page says that it is not known, and why."""
    duck.clock.instant = NOW + dt.timedelta(days=1)
    try:
        client = shops.signed_in()
        words = {"from": "2026-03-01", "to": "2026-03-13", "grain": "day", "periods": 13}
        page, answer = Page(client.get("/cohorts/Returning", params=words)), api(client, "/cohorts/Returning", **words)
        assert heat(page) == of_api(answer, "rate")
        assert answer["missing"]
        assert page.source.count("not known</span>") == sum(
            row["rate"] is None and row["size"] > 0 for row in answer["rows"]
        )
        assert "never folded" in page.text
    finally:
        duck.clock.instant = NOW


@pytest.mark.parametrize("by", [None, "shop_id"])
def test_a_funnel_is_the_answer_of_the_api(shops: PageSite, by: str | None) -> None:
    """Steps with their shares, of each group; how many may still go on; and the counts of days, which say so."""
    client = shops.signed_in()
    words = {**DAYS, **({"by": by} if by else {})}
    answer = api(client, "/funnels/Growing", **words)
    page = Page(client.get("/funnels/Growing", params=words))
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in answer["cohort"]["rows"]:
        groups.setdefault("" if by is None else "no value" if row[by] is None else str(row[by]), []).append(row)
    assert groups
    for name, rows in groups.items():
        lines = re.findall(r"<tr><th.*?</tr>", table(page, "funnel", name), re.DOTALL)[-len(rows) :]
        assert [re.findall(r'<data value="([^"]*)">', one)[0] for one in lines] == [
            str(row["entities"]) for row in rows
        ]
        for line, row in zip(lines, rows, strict=True):
            assert (f"{row['rate_from_first'] * 100:.1f} %" in line) == (row["rate_from_first"] is not None)
    assert answer["days"]["label"] in page.text


def test_a_limited_caller_sees_their_rows_and_no_study_of_others(shops: PageSite) -> None:
    """Numbers of their shop alone; who may not see what a study reads is told that there is none."""
    client = shops.signed_in("read", MINE, "shop")
    for path, words in (("/cohorts/Returning", {"grain": "day", "periods": 13}), ("/funnels/Growing", {})):
        page = Page(client.get(path, params={**DAYS, **words, "by": "shop_id"}))
        whole = Page(shops.signed_in().get(path, params={**DAYS, **words, "where": "shop_id=42", "by": "shop_id"}))
        assert re.findall(r'<data value="[^"]*">', page.source) == re.findall(r'<data value="[^"]*">', whole.source)
        assert "43" not in page.text
    other = shops.signed_in("read", Scope.of(["Shoppers"], {}), "other")
    assert [other.get(path).status_code for path in ("/cohorts/Returning", "/cohorts/Never")] == [404, 404]
    assert "Returning" not in Page(other.get("/profiles")).text
    assert "Growing" in Page(other.get("/profiles")).text


def test_forms_and_days_without_anybody(shops: PageSite) -> None:
    """A key is looked for as the form says; where nobody began the page says what to do."""
    client = shops.signed_in()
    led = client.get("/funnels/Growing?find_in=shop_id&find=42&from=2026-03-01")
    assert led.headers["location"] == "/funnels/Growing?" + urlencode({"from": "2026-03-01", "where": "shop_id=42"})
    for path in ("/funnels/Growing", "/cohorts/Returning"):
        page = Page(client.get(path, params={"from": "2020-01-01", "to": "2020-02-01"}))
        assert "Nobody began in these days" in page.text
