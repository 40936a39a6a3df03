"""A store in two databases: what travels between them."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp

from dayfold import Count, Dayfold, Distinct, Rollup, Table
from dayfold.define.types import DATE, INT
from dayfold.engines import duckdb
from dayfold.engines.clickhouse import ClickHouse
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, sql, table
from tests.sql import rows_of, store_config

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


@pytest.mark.parametrize("ledger", ["duckdb", "postgres"])
def test_nobody_sees_half_of_a_transaction(new_clickhouse: Callable[..., str], ledger: str) -> None:
    """Rows of two months change together, in statements of their own; our readers and the view of other programs see all or nothing."""
    url = new_clickhouse(ledger)
    columns = [Column("day", DATE), Column("n", INT)]
    rows = pa.table({"day": pa.array([dt.date(2026, 1, 5), dt.date(2026, 2, 5)], pa.date32()), "n": pa.array([100, 0])})
    first, second = (exp.cast(exp.Literal.string(day), "date") for day in ("2026-01-05", "2026-02-05"))
    found: list[tuple[str, int]] = []
    done = threading.Event()
    with Dayfold([], store_config(url)) as app:
        app.ledger.ready()
        store = app.databases.store
        place = table("moved", store.schema)
        with store.transaction() as session:
            session.make("moved", columns, identity=["day"], required=["day"], day="day")
            session.append("moved", columns, rows)

        def look() -> None:
            raw = ClickHouse(rows_of(url))
            while not done.is_set():
                with raw.transaction(read_only=True) as other:
                    found.append(("view", other.query("SELECT toInt64(sum(n)) FROM moved")[0][0]))
                with store.transaction(read_only=True) as session:
                    found.append(
                        ("ours", session.rows(Statement(sql("select cast(sum(n) as bigint) from _t", _t=place)))[0][0])
                    )
            raw.close()

        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(look)
            for _ in range(60):
                with store.transaction() as session:
                    # By turns over and back: in between the sum is another one.
                    for day, change in ((first, -1), (second, 1)):
                        update = sql(
                            "update _t set n = n + _c where day = _d", _t=place, _c=exp.Literal.number(change), _d=day
                        )
                        assert session.execute(Statement(update)) == 1
            done.set()
            looking.result()
        with store.transaction(read_only=True) as session:
            stored = session.rows(Statement(sql("select n from _t order by day", _t=place)))
    assert stored == [(40,), (60,)]
    assert {total for _, total in found} == {100}
    assert len(found) > 20
