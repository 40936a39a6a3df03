"""Sites with pages: on both engines, or on DuckDB where the engine does not matter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Pairing
from tests.dashboard.pages import PageSite
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, customers, order, rollups, studies


@pytest.fixture
def duck(duckdb_url: str) -> Iterator[Ground]:
    """One empty DuckDB file that is source and store."""
    with Ground(Pairing("duckdb-same", duckdb_url, duckdb_url)) as made:
        yield made


@pytest.fixture
def shops(duck: Ground) -> Iterator[PageSite]:
    """Three shops, one of them NULL, with orders of ten days; rollups, profiles, a cohort and a funnel over them, folded."""
    rows = [
        order(shop, day, 100 * shop + day, channel, f"c{(day + shop) % 4}")
        for shop in (42, 43)
        for day in range(2, 11)
        for channel in ("web", "shop")
        if day != 5
    ]
    duck.load("orders", COLUMNS, [*rows, order(None, 3, 7), order(42, 4, 1_000_000, customer="<b>bold</b>")])
    duck.define(*rollups(duck), *studies(duck), customers(duck))
    duck.fold()
    with PageSite(duck) as site:
        yield site
