"""Profiles over HTTP: forms, pages, what is kept and for how long, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from dayfold.http import profiles, reads
from dayfold.http.formats import encoded
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, customers, order, rollups
from tests.http.site import Site, header, problem

PATH = "/v1/profiles/Customers"
ONE = f"{PATH}/one"
ANN = ["shop_id=1", "customer=ann"]
pytestmark = pytest.mark.in_turn


@pytest.fixture
def site(store: Ground) -> Iterator[Site]:
    """Two shops with three customers."""
    rows = [
        order(1, 2, 500, customer="ann"), order(1, 3, 2**53 + 1, customer="ann"), order(1, 4, 7, customer="=1+1"),
        order(2, 4, 9, customer="zoe"), order(None, 5, 1, customer="ann"), *(order(2, day, 1, customer="zoe") for day in (5, 6)),
    ]  # fmt: skip
    store.load("orders", COLUMNS, rows)
    store.define(*rollups(store), customers(store))
    store.fold()
    with Site(store) as made:
        yield made


def test_an_answer_is_that_of_the_command(site: Site) -> None:
    """Digit by digit, lists as lists; CSV and Parquet hold the same rows, and no form has a page cut short unsaid."""
    admin = header(site.token())
    for path, words, asked in (
        (PATH, {"sort": "-cents", "limit": 2}, site.app.profiles("Customers", sort="-cents", limit=2)),
        (
            PATH,
            {"count_by": "segment", "columns": "cents"},
            site.app.profiles("Customers", count_by=["segment"], columns=["cents"]),
        ),
        (ONE, {"key": ANN}, site.app.profile("Customers", {"shop_id": 1, "customer": "ann"})),
    ):
        answer = site.get(path, admin, **words)
        assert (answer.status_code, answer.content) == (200, encoded(asked.as_object()))
    rows = site.get(PATH, admin, columns="customer,cents,amounts").json()["rows"]
    assert rows[1] == {"customer": "ann", "cents": 2**53 + 501, "amounts": [500, 2**53 + 1]}
    packed = pq.read_table(
        io.BytesIO(site.get(PATH, admin, format="parquet", columns="customer,cents,amounts").content)
    ).to_pylist()
    assert [{**one, "amounts": json.loads(one["amounts"])} for one in packed] == rows
    text = list(csv.DictReader(io.StringIO(site.get(PATH, admin, format="csv").text)))
    assert [one["customer"] for one in text] == ["'=1+1", "ann", "zoe"]
    assert text[1]["last_at"] == "2026-03-03T12:00:00.000000Z"
    alone = site.get(ONE, admin, key=ANN, format="csv", columns="cents").text
    assert alone == f'"cents"\n{2**53 + 501}\n'


def test_pages_and_large_answers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """`next` leads on, by itself after as many entities as a page has; a large answer comes in pieces, with lists as lists."""
    admin = header(site.token())
    monkeypatch.setattr(profiles, "_PAGE", 2)
    first = site.get(PATH, admin, columns="customer").json()
    rest = site.get(PATH, admin, columns="customer", after=first["next"]).json()
    assert [one["customer"] for one in (*first["rows"], *rest["rows"])] == ["=1+1", "ann", "zoe"]
    assert "next" not in rest
    assert problem(site.get(PATH, admin, after=first["next"], sort="cents"))[:2] == (400, "usage")
    whole = site.get(PATH, admin, limit=3).json()
    monkeypatch.setattr(profiles, "WHOLE_ROWS", 1)
    assert site.get(PATH, admin, limit=3).headers["dayfold-cache"] == "hit"
    site.service.cache.forget()
    assert sorted(site.get(PATH, admin, limit=3).json()) == sorted(whole)
    assert site.get(PATH, admin, limit=3).json()["rows"] == whole["rows"]
    assert reads.WHOLE_ROWS > 1


def test_an_answer_is_kept_until_something_changes(site: Site) -> None:
    """The second time it is there, and 304 with its tag; a change that waits and one that is folded are told at once."""
    admin = header(site.token())
    for path, words in ((ONE, {"key": ANN}), (PATH, {})):
        # The first look tells what the next ones look by.
        site.get(path, admin, **words)
        answer = site.get(path, admin, **words)
        again = site.get(path, {**admin, "If-None-Match": answer.headers["etag"]}, **words)
        assert (again.status_code, again.headers.get("dayfold-cache")) == (304, "hit" if path == PATH else None)
    ledger = site.app.ledger
    with ledger.store.transaction() as session:
        session.execute(
            ledger.sql(
                "insert into dayfold__marks (id, rollup, version, key, day, marked_at, reason) values (99999, 'Customers', 1, "
                """'["1","ann"]', date '0001-01-01', :now::timestamptz, 'a test')""",
                now=ledger.clock.now(),
            )
        )
    told = site.get(ONE, admin, key=ANN).json()
    assert (told["complete"], [one["reason"] for one in told["stale"]]) == (False, ["changed since it was folded"])
    assert site.get(ONE, admin, key=["shop_id=2", "customer=zoe"]).json()["complete"]
    assert not site.get(PATH, admin).json()["complete"]
    assert site.get(PATH, site.reader({"shop_id": ["1"]})).json()["complete"]
    assert not [one for one in site.app.fold() if one.error]
    assert site.get(ONE, admin, key=ANN).json()["complete"]


def test_refusals_are_problems(site: Site) -> None:
    """A key of another's entity is refused like one that nobody has; a profile is no rollup, nor the other way."""
    admin, limited = header(site.token()), site.reader({"shop_id": ["2"]})
    gone = (
        404, "no-such-entity", "Customers has no entity of this key.",
        "It has one once a source has a fact of it, and the next fold is done.",
    )  # fmt: skip
    assert {problem(site.get(ONE, limited, key=[f"shop_id={shop}", "customer=ann"])) for shop in (1, 2, 77)} == {gone}
    assert problem(site.get(ONE, admin, key=["shop_id=1", "customer=x"])) == gone
    assert problem(site.get("/v1/profiles/ShopDaily", admin))[:3] == (
        400, "query-refused", "ShopDaily is a rollup: its rows are of days, and it has no entities.",
    )  # fmt: skip
    for path in ("query", "latest"):
        assert problem(site.get(f"/v1/rollups/Customers/{path}", admin))[:3] == (
            400, "query-refused", "Customers is a profile: a row is an entity over its whole life, and of no day.",
        )  # fmt: skip
    for words in (
        {"key": "shop_id"},
        {"key": "shop_id=1"},
        {"key": ["shop_id=1", "shop_id=1"]},
        {"key": ["shop_id=", "customer=a"]},
        {},
    ):
        assert problem(site.get(ONE, admin, **words))[0] == 400, words
    kinds = {one["name"]: one["kind"] for one in site.get("/v1/rollups", admin).json()["rollups"]}
    assert kinds == {"ShopDaily": "rollup", "ChannelDaily": "rollup", "PlatformDaily": "rollup", "Customers": "profile"}
    assert "segment" not in {one["metric"] for one in site.get("/v1/metrics", admin).json()["metrics"]}
