"""A store in two databases: what travels between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dayfold import Count, Dayfold, Distinct, Rollup, Table
from dayfold.engines import duckdb

visit = Table(
    sql="select number % 50 as shop, concat('v', toString(number % 700)) as visitor, "
    "addHours(toDateTime('2026-03-01 00:00:00', 'UTC'), number % 72) as at from numbers(6000)"
)


class ShopDaily(Rollup):
    """What happened in one shop on one day."""

    key = "shop"
    visits = Count(visit, at="at")
    visitors = Distinct(visit, "visitor", at="at")


def test_first_fold_sends_the_ledger_days_and_no_cells(
    clickhouse_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and sets stay in ClickHouse: what comes to the ledger grows with days, however many keys there are."""
    loaded: list[int] = []
    load = duckdb.DuckSession.load

    def noted(self: Any, name: str, columns: Any, rows: Any) -> None:
        loaded.append(rows.num_rows)
        load(self, name, columns, rows)

    monkeypatch.setattr(duckdb.DuckSession, "load", noted)
    settings = {"store": {"url": clickhouse_url}, "ledger": {"url": f"duckdb:///{tmp_path}/ledger.duckdb"}}
    with Dayfold([ShopDaily], settings) as app:
        [result] = app.fold()
    assert (result.error, result.cells) == (None, 150)
    assert max(loaded) <= 10
