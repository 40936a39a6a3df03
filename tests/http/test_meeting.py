"""Where parts of the server meet: one cache for several routes, midnight between two steps, limited callers and faults."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.errors import ConnectionFailed, DefinitionError, Problem
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, order, rollups
from tests.http.site import Site, header, problem

SPAN = {"from_": "2026-03-09", "to": "2026-03-09"}


@pytest.fixture
def site(duck: Ground) -> Iterator[Site]:
    """Two shops."""
    duck.load("orders", COLUMNS, [order(42, 9, 500), order(43, 9, 7)])
    duck.define(*rollups(duck))
    duck.fold()
    with Site(duck) as made:
        yield made


def test_routes_that_share_a_question_do_not_share_its_words(site: Site) -> None:
    """What a route says beside the rows is its own, whichever route was asked first."""
    token = header(site.token())
    by_name = site.get("/v1/metrics/orders", token, **SPAN).json()
    plain = site.get("/v1/rollups/ShopDaily/query", token, metrics="orders", **SPAN).json()
    again = site.get("/v1/metrics/ShopDaily.orders", token, **SPAN).json()
    assert (by_name["metric"], by_name["period"]) == (again["metric"], again["period"]) == ("orders", "daily")
    assert not {"metric", "period"} & set(plain)
    assert by_name["rows"] == plain["rows"]


def test_limited_callers_are_not_told_what_was_kept(site: Site) -> None:
    """A hit and then a miss would say that others' rows were published."""
    limited, admin = site.reader({"shop_id": ["42"]}), header(site.token())
    for headers, told in ((limited, False), (admin, True)):
        answer = site.get("/v1/rollups/ShopDaily/query", headers, **SPAN)
        assert ("dayfold-cache" in answer.headers) is told


def test_an_answer_is_kept_under_the_day_that_it_was_asked_on(
    site: Site, duck: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Midnight between the question and its answer: the next day asks anew."""
    token = header(site.token())
    whole = Dayfold.answer

    def over_midnight(app: Dayfold, *words: Any, **more: Any) -> Any:
        duck.clock.instant = dt.datetime(2026, 3, 13, 0, 0, 1, tzinfo=dt.UTC)
        return whole(app, *words, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Dayfold, "answer", over_midnight)
        first = site.get("/v1/rollups/ShopDaily/query", token, from_="today", to="today").json()
    second = site.get("/v1/rollups/ShopDaily/query", token, from_="today", to="today").json()
    assert (first["from"], second["from"]) == ("2026-03-12", "2026-03-13")
    assert site.service.cache.misses == 2


ERRORS = {
    "connection": ConnectionFailed("postgresql://db.internal:5432/app cannot be reached: refused."),
    "definition": DefinitionError(
        [Problem("unknown-column", "metrics.py:3", "Others.x", "orders has no column 'secret'.")]
    ),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_faults_name_nothing_to_limited_callers(site: Site, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Whoever sees everything is told what is wrong; others are told that it is not their question."""

    def broken(*_: object, **__: object) -> None:
        raise ERRORS[kind]

    monkeypatch.setattr(site.app, "answer", broken)
    path, words = "/v1/rollups/ShopDaily/query", {"live": "1", **SPAN}
    for reader in (site.reader({"shop_id": ["42"]}), site.reader(rollups=["ShopDaily"])):
        answer = site.get(path, reader, **words)
        assert problem(answer)[1:] == (
            ERRORS[kind].code,
            "This cannot be answered at present; it is not for what was asked.",
            "Try again later; who runs the service sees why in its log.",
        )
        assert "internal" not in answer.text
        assert "secret" not in answer.text
    assert problem(site.get(path, header(site.token()), **words))[2] == ERRORS[kind].message
