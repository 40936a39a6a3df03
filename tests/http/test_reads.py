"""Questions over HTTP: what is answered, in which form, and what is said of a wrong one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from dayfold import Count, Rollup, Sum
from dayfold.http import reads
from dayfold.http.formats import encoded
from tests.engines.ground import Ground, march
from tests.http.shops import COLUMNS, order, rollups
from tests.http.site import Site, header, problem

QUERY = "/v1/rollups/ShopDaily/query"
SPAN = {"from_": "2026-03-02", "to": "2026-03-05"}


@pytest.fixture
def site(store: Ground) -> Iterator[Site]:
    """Two shops over three days, on each engine."""
    rows = [
        order(1, 2, 500, "web", "a"),
        order(1, 2, 700, "app", "b"),
        order(1, 3, 50, "web", "a"),
        order(2, 4, 9, "web", "z"),
    ]
    store.load("orders", COLUMNS, rows)
    store.define(*rollups(store))
    store.fold()
    with Site(store) as made:
        yield made


@pytest.fixture
def admin(site: Site) -> dict[str, str]:
    """Who sees everything."""
    return header(site.token("read"))


def test_an_answer_is_that_of_the_command(site: Site, admin: dict[str, str]) -> None:
    """The JSON is `dayfold query --json`'s, digit by digit."""
    answer = site.get(QUERY, admin, metrics="orders,per_order", by="shop_id", grain="total", compare="previous", **SPAN)
    assert answer.status_code == 200
    asked = site.app.query(
        "ShopDaily",
        ["orders", "per_order"],
        from_="2026-03-02",
        to="2026-03-05",
        by=["shop_id"],
        grain="total",
        compare="previous",
    )
    expected = encoded(asked.as_object())
    assert sorted(answer.content) == sorted(expected)
    assert answer.json() == json.loads(expected)


def test_csv_and_parquet_hold_the_same_rows(site: Site, admin: dict[str, str]) -> None:
    """Each form has every row, typed where it can be."""
    rows = site.get(QUERY, admin, metrics="orders,cents", by="shop_id", **SPAN).json()["rows"]
    text = site.get(QUERY, admin, metrics="orders,cents", by="shop_id", format="csv", **SPAN)  # no null among them
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    read = list(csv.DictReader(io.StringIO(text.text)))
    assert [{name: str(value) for name, value in row.items()} for row in rows] == read
    packed = site.get(QUERY, admin, metrics="orders,cents", by="shop_id", format="parquet", **SPAN)
    assert packed.headers["content-type"] == "application/vnd.apache.parquet"
    table = pq.read_table(io.BytesIO(packed.content))
    assert [str(one.type) for one in table.schema] == ["date32[day]", "int64", "int64", "int64"]
    assert [{**row, "day": row["day"].isoformat()} for row in table.to_pylist()] == rows


def test_a_large_answer_comes_in_pieces_and_whole(
    site: Site, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent in pieces is what would have been sent at once, in every form; it is not kept."""
    for form in ("json", "csv", "parquet"):
        whole = site.get(QUERY, admin, by="shop_id", format=form, **SPAN)
        with monkeypatch.context() as patch:
            patch.setattr(reads, "WHOLE_ROWS", 1)
            pieces = site.get(QUERY, admin, by="shop_id", format=form, sort="day", **SPAN)
        assert pieces.content == whole.content
        assert "etag" in whole.headers
        assert "etag" not in pieces.headers


def test_pages_make_up_the_whole(site: Site, admin: dict[str, str]) -> None:
    """Each page goes on after the last one, whatever its size; the last names no next."""
    words = {"by": "shop_id", "sort": "-orders", "metrics": "orders", **SPAN}
    whole = site.get(QUERY, admin, **words).json()["rows"]
    assert len(whole) == 8
    for size in (1, 3, 8, 9):
        found, after = [], None
        while True:
            page = site.get(QUERY, admin, limit=size, **words, **({"after": after} if after else {})).json()
            assert len(page["rows"]) <= size
            found += page["rows"]
            after = page.get("next")
            if after is None:
                break
        assert found == whole


def test_a_place_that_is_none_is_refused(site: Site, admin: dict[str, str]) -> None:
    """Whatever stands in `after`: words, never a fault."""
    for after in ("x", "WzFd", "e30", "WyIyMDI2LTAzLTAyIl0", "bm9uZQ", "[" * 4000):
        answer = site.get(QUERY, admin, by="shop_id", limit=2, after=after, **SPAN)
        assert problem(answer) == (
            400, "usage", "after is not a place in this answer.", "Pass on the 'next' of the page before.",
        )  # fmt: skip


def test_the_place_of_a_row_that_is_gone(site: Site, admin: dict[str, str]) -> None:
    """A page that cannot be gone on from is refused, and not begun somewhere else."""
    answer = site.get(QUERY, admin, by="shop_id", limit=2, after="WyIyMDI2LTAzLTAyIiwgIjc3Il0", **SPAN)
    assert problem(answer) == (
        400, "query-refused", "The row that 'after' names is gone from the answer.", "Begin again with the first page.",
    )  # fmt: skip


def test_latest_says_its_day(site: Site, admin: dict[str, str]) -> None:
    """The last covered day is today, which is open."""
    said = site.get("/v1/rollups/ShopDaily/latest", admin, metrics="orders").json()
    assert (said["day"], said["open"], said["rows"]) == ("2026-03-12", True, [{"day": "2026-03-12", "orders": 0}])
    by = site.get("/v1/metrics/sales/latest", admin, by="channel", shop_id="1").json()
    assert (by["day"], by["rows"]) == ("2026-03-12", [])


def test_latest_of_what_was_never_folded(duck: Ground) -> None:
    """No covered day is said, and what to do."""
    duck.load("orders", COLUMNS, [])
    duck.define(*rollups(duck))
    with Site(duck) as site:
        answer = site.get("/v1/rollups/PlatformDaily/latest", header(site.token()))
        assert problem(answer) == (
            400, "query-refused", "PlatformDaily has no covered day for everything.", "Fold it: dayfold fold PlatformDaily",
        )  # fmt: skip


def test_top_is_the_greatest(site: Site, admin: dict[str, str]) -> None:
    """The keys with the most, over the whole range."""
    said = site.get("/v1/rollups/ShopDaily/top", admin, metric="cents", by="shop_id", n=1, **SPAN).json()
    assert said["rows"] == [{"day": "2026-03-02", "shop_id": 1, "cents": 1250}]
    assert said["grain"] == "total"


def test_a_metric_is_found_by_its_name(site: Site, admin: dict[str, str]) -> None:
    """Any key column is a parameter; weeks are clipped to the range."""
    said = site.get("/v1/metrics/sales", admin, period="weekly", channel="web", **SPAN).json()
    assert (said["metric"], said["period"], said["rollup"]) == ("sales", "weekly", "ChannelDaily")
    assert said["rows"] == [{"day": "2026-03-02", "sales": 3}]
    either = site.get("/v1/metrics/sales", admin, channel=["web", "app"], **SPAN).json()
    assert [row["sales"] for row in either["rows"]] == [2, 1, 1, 0]


def test_a_name_in_several_rollups_is_to_be_qualified(duck: Ground) -> None:
    """The error lists them, and a qualified name is answered."""
    duck.load("orders", COLUMNS, [order(1, 2, 5)])
    made = duck.table("orders")

    class First(Rollup):
        orders = Count(made, at="made_at")

    class Second(Rollup):
        key = "shop_id"
        orders = Sum(made, "cents", at="made_at")

    duck.define(First, Second)
    duck.fold()
    with Site(duck) as site:
        token = header(site.token())
        answer = site.get("/v1/metrics/orders", token, **SPAN)
        assert problem(answer) == (
            400, "usage", "Several rollups have a metric 'orders'.", "Name one of them: First.orders, Second.orders",
        )  # fmt: skip
        assert site.get("/v1/metrics/Second.orders", token, **SPAN).json()["rows"][0]["orders"] == 5
        assert site.get("/v1/metrics", token).json()["metrics"] == [
            {"metric": "orders", "rollups": ["First", "Second"], "dimensions": ["shop_id"]}
        ]


@pytest.mark.parametrize(
    ("path", "words", "said"),
    [
        (QUERY, {"metric": "orders"}, (400, "usage", "There is no parameter 'metric'; the nearest is 'metrics'.")),
        (QUERY, {"from": ["2026-03-01", "2026-03-02"]}, (400, "usage", "The parameter 'from' is given twice; it has one value.")),
        (QUERY, {"from": "2026-03-32"}, (400, "bad-date", "'2026-03-32' is not a date.")),
        (QUERY, {"from": "2026-03-05", "to": "2026-03-01"},
         (400, "bad-date", "The range ends before it starts: from 2026-03-05 to 2026-03-01.")),
        (QUERY, {"period": "7d", "to": "today"}, (400, "usage", "A period is a range of its own; it does not stand beside from or to.")),
        (QUERY, {"period": "8d"}, (400, "usage", "period is one of 7d, 30d, 90d, 12m, month, year.")),
        (QUERY, {"metrics": "ordres"}, (404, "unknown-name", "ShopDaily has no metric 'ordres'; the nearest is 'orders'.")),
        (QUERY, {"grain": "fortnight"}, (400, "usage", "grain is one of hour, day, week, month, quarter, year, total.")),
        (QUERY, {"by": "shop"}, (404, "unknown-name", "ShopDaily has no key column 'shop' to group by; the nearest is 'shop_id'.")),
        (QUERY, {"limit": "0"}, (400, "usage", "limit is a number from 1 to 1,000,000.")),
        (QUERY, {"format": "xml"}, (400, "usage", "format is one of json, csv, parquet.")),
        (QUERY, {"from": "0001-01-01", "to": "9999-12-31"},
         (400, "query-refused", "The range has 3,652,059 days; at most 40,000 are asked at once.")),
        ("/v1/rollups/ShopDayli/query", {}, (404, "unknown-name", "There is no rollup 'ShopDayli'; the nearest is 'ShopDaily'.")),
        ("/v1/rollup", {}, (404, "unknown-path", "There is no path like this.")),
        ("/v1/metrics/ordres", {}, (404, "unknown-name", "There is no metric 'ordres'; the nearest is 'orders'.")),
        ("/v1/metrics/orders", {"shop": "1"},
         (400, "usage", "There is no parameter 'shop', and ShopDaily has no such key column; the nearest is 'shop_id'.")),
        ("/v1/metrics/ShopDaily.x", {}, (404, "unknown-name", "ShopDaily has no metric 'x'.")),
    ],
)  # fmt: skip
def test_wrong_words_say_what_to_change(
    site: Site, admin: dict[str, str], path: str, words: dict[str, str], said: tuple[int, str, str]
) -> None:
    """Every mistake is a problem that names it, with the nearest known name."""
    assert problem(site.get(path, admin, **words))[:3] == said


@pytest.mark.parametrize(
    "text",
    ["'; DROP TABLE shop_daily; --", '" OR 1=1 --', "1) UNION SELECT 1 --", "\x00", "%", "💥" * 50],
    ids=["drop", "or", "union", "nul", "percent", "letters"],
)
def test_sql_in_every_parameter(site: Site, admin: dict[str, str], text: str) -> None:
    """Whatever stands in a parameter is a name that is not there or a value that no row has; nothing of it is run."""
    for name in (
        "metrics",
        "from",
        "to",
        "by",
        "where",
        "grain",
        "tz",
        "compare",
        "sort",
        "limit",
        "after",
        "format",
        "period",
    ):
        answer = site.get(QUERY, admin, **{name: text})
        assert 400 <= answer.status_code < 500, (name, answer.text)
    for value in (f"shop_id={text}", f"{text}=1"):
        assert site.get(QUERY, admin, where=value).status_code in (400, 404)
    channel = site.get("/v1/rollups/ChannelDaily/query", admin, where=f"channel={text}", grain="total", **SPAN)
    assert channel.status_code == (400 if "\x00" in text else 200)
    if channel.status_code == 200:
        assert channel.json()["rows"] == [{"day": "2026-03-02", "sales": 0}]
    assert site.get(f"/v1/metrics/{quote(text, safe='')}", admin).status_code in (400, 404)
    assert site.get(QUERY, admin, grain="total", metrics="orders", **SPAN).json()["rows"] == [
        {"day": "2026-03-02", "orders": 4}
    ]


def test_a_fault_tells_nothing(site: Site, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw is named by its class alone."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("shop 42 and its secret")

    monkeypatch.setattr(site.app, "answer", broken)
    answer = site.get(QUERY, admin, **SPAN)
    assert problem(answer) == (
        500, "error", "Dayfold met an error that it did not foresee: ZeroDivisionError.", "The server's log says where.",
    )  # fmt: skip


def test_health_needs_no_token(site: Site) -> None:
    """A load balancer asks without one; the service's own figures are for this machine or an administrator."""
    assert site.get("/healthz").json() == {"status": "up"}
    assert site.get("/readyz").json() == {"status": "ready"}
    assert problem(site.get("/metrics"))[:2] == (401, "unauthenticated")
    figures = site.get("/metrics", header(site.token("admin"))).text
    assert 'dayfold_http_requests_total{method="GET",route="/healthz",status="200"} 1.0' in figures


def test_days_are_plain_dates(site: Site, admin: dict[str, str]) -> None:
    """A browser anywhere shows the same date: no time and no zone is in it."""
    rows = site.get(QUERY, admin, metrics="orders", **SPAN).json()["rows"]
    assert [row["day"] for row in rows] == ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05"]
    assert march(2).date().isoformat() == rows[0]["day"]
