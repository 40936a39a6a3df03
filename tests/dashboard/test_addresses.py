"""No address is a fault of ours: whatever stands in one, a page says what it shows or what is wrong with it."""

from __future__ import annotations

import random
import re

import pytest
from fastapi.routing import APIRoute

from dayfold.dashboard.application import routers
from dayfold.http.asked import PARAMETERS
from tests.dashboard.pages import Page, PageSite
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, rollups

NAMES = ("ShopDaily", "Customers", "Returning", "Growing", "orders", "cents", "fold", "1", "%00", "Nothing")
VALUES = (
    "%00", "%ED%A0%80", "a" * 5_000, "'", '"><script>alert(1)</script>', "9" * 30, "-1", "0", "today", "0001-01-01", "9999-12-31", "NaN",
    "{}", "[]", "%F0%9F%98%80", "../../etc/passwd", "shop_id=", "shop_id=42", "=", "!=", "shop_id!=", "hour", "week", "Asia/Kathmandu", "1",
)  # fmt: skip


def test_no_address_is_a_fault(shops: PageSite) -> None:
    """Every page with drawn names and parameters: a page of ours, whole and without a script that an address brought."""
    client, draw = shops.signed_in(), random.Random(8)
    asked = [one for router in routers() for one in router.routes if isinstance(one, APIRoute) and "GET" in one.methods]
    told = set()
    for route in [one for one in asked if not one.path.startswith("/static/") for _ in range(8)]:
        path = re.sub(r"\{\w+(:\w+)?\}", lambda _: draw.choice(NAMES), route.path)
        names = [name for name in (route.openapi_extra or {}).get(PARAMETERS, {}) if draw.random() < 0.35]
        answer = client.get(path + "?" + "&".join(f"{name}={draw.choice(VALUES)}" for name in names))
        told.add(answer.status_code)
        assert answer.status_code < 500, (path, names, answer.text)
        assert "<script>alert" not in answer.text
        if "<html" in answer.text:
            Page(answer)
    assert told >= {200, 400, 404}


def test_application_without_a_fold_says_what_to_do(duck: Ground) -> None:
    """Every page of it is there, or says what the definitions lack."""
    duck.load("orders", COLUMNS, [])
    duck.define(*rollups(duck))
    with PageSite(duck) as site:
        client = site.signed_in()
        assert "Fold it: dayfold fold ShopDaily" in Page(client.get("/")).text
        for path in (
            "/rollups/ShopDaily",
            "/receipt/ShopDaily/orders",
            "/jobs",
            "/jobs/coverage",
            "/pages/new",
            "/profiles",
        ):
            assert Page(client.get(path)).text
            assert client.get(path).status_code == 200
        duck.fold()
        # Folded, and still without a row.
        assert Page(client.get("/rollups/ShopDaily")).values_after("data-total", "orders")[:1] in (["0"], [])


def test_pages_are_switched_off(duck: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API alone is served then, and says so in its own words."""
    duck.load("orders", COLUMNS, [])
    duck.define(*rollups(duck))
    monkeypatch.setattr(duck.opened.settings.dashboard, "enabled", False)
    with PageSite(duck) as site:
        answer = site.signed_in().get("/")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-path")
        assert site.signed_in().get("/v1/rollups").status_code == 200
