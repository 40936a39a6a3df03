"""What the fault tests fold: a few weeks of two sources, in many small chunks, in two versions."""

from __future__ import annotations

import datetime as dt
from typing import Any

from dayfold import Count, Distinct, Rollup, Sum, Table
from tests.sql import Session, run_sql

NOW = dt.datetime(2026, 3, 20, 12, tzinfo=dt.UTC)
DDL = "shop bigint, who text, amount bigint, made timestamptz"
#: Four facts a day and source, so that a backfill of twenty days takes five chunks.
CHUNK_ROWS = 32
STORE_KEY = "0123456789abcdef0123456789abcdef"


def definitions(version: str) -> list[type[Any]]:
    """The rollup as it was first written, or ``edited``: another filter, a metric more, one less."""
    request, payment = Table("request"), Table("payment")
    asked_where = "amount > 2" if version == "edited" else None
    metrics: dict[str, Any] = {
        "asked": Count(request, at="made", where=asked_where),
        "people": Distinct(request, "who", at="made"),
    }
    if version == "edited":
        metrics["least"] = Sum(payment, "amount * 3", at="made")
    else:
        metrics["paid"] = Sum(payment, "amount", at="made")
    return [type("Shops", (Rollup,), {"key": "shop", "lookback": 3, **metrics})]


def config(store: str) -> dict[str, Any]:
    return {"store": {"url": store}, "fold": {"chunk_rows": CHUNK_ROWS, "wait_s": 30}}


def fill(url: str) -> None:
    """Twenty days of facts, some of a NULL shop."""
    start = NOW.replace(hour=9) - dt.timedelta(days=19)
    with Session(url) as session:
        for name in ("request", "payment"):
            session.run(f"CREATE TABLE {name} ({DDL})")
            rows = [
                {
                    "shop": [1, 2, None, 1][n % 4],
                    "who": f"p{n % 7}",
                    "amount": n % 5,
                    "made": start + dt.timedelta(hours=6 * n),
                }
                for n in range(78)
            ]
            session.insert(name, rows)


def change(url: str) -> None:
    """An update, a delete that empties a cell, and a late row, all within the lookback."""
    run_sql(url, "UPDATE request SET amount = 99 WHERE made >= TIMESTAMPTZ '2026-03-20 00:00:00+00'")
    run_sql(url, "DELETE FROM payment WHERE made >= TIMESTAMPTZ '2026-03-18 00:00:00+00' AND shop = 2")
    run_sql(url, "DELETE FROM request WHERE made >= TIMESTAMPTZ '2026-03-18 00:00:00+00' AND shop = 2")
    with Session(url) as session:
        late = NOW - dt.timedelta(days=2)
        session.insert("request", [{"shop": 7, "who": "new", "amount": 9, "made": late}])


def contents(url: str) -> dict[str, Any]:
    """All that readers can see: rows without their stamps, sets, coverage."""
    found: dict[str, Any] = {}
    with Session(url) as session:
        for table in ("shops", "shops__sets"):
            names = [name for (name,) in session.run(COLUMNS, [table])]
            columns = ", ".join(sorted(set(names) - {"created_at", "updated_at", "run_id"}))
            found[table] = session.run(f"SELECT {columns} FROM {table} ORDER BY day, shop NULLS LAST")
        found["coverage"] = session.run(
            "SELECT source, day, state, facts, reason FROM dayfold_coverage ORDER BY source, day"
        )
        found["leftovers"] = session.run(LEFTOVERS)
    return found


COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
LEFTOVERS = (
    "SELECT table_name FROM information_schema.tables "
    "WHERE table_name LIKE 'dayfold_%' AND table_name NOT LIKE 'dayfold\\_\\_%' ESCAPE '\\' "
    "AND table_name NOT IN ('dayfold_runs', 'dayfold_coverage')"
)
