"""A small shop in two DuckDB files: its tables in one, its rollups in the other."""

from __future__ import annotations

from pathlib import Path

from tests.sql import Session, run_sql

METRICS = '''\
from dayfold import Count, Distinct, Formula, Gauge, Max, Moment, Ratio, Rollup, Sum, Table

orders = Table("orders", database="app")
levels = Table("levels", database="app")


class ShopDaily(Rollup):
    """What one shop sold in one country on one day."""

    key = ("shop_id", "country")

    orders_count = Count(orders, at="created_at")
    paid_count = Count(orders, at="created_at", where="status = 'paid'")
    revenue = Sum(orders, "amount", at="created_at")
    points = Sum(orders, "points", at="created_at")
    customers = Distinct(orders, "customer_id", at="created_at")
    largest = Max(orders, "amount", at="created_at")
    paid_share = Ratio("paid_count", "orders_count")
    doubled = Formula("orders_count * 2")


class ShopClock(Rollup):
    """Orders of one shop by the quarter of an hour."""

    key = "shop_id"
    grain = "15min"

    orders_count = Count(orders, at="created_at")


class Seats(Rollup):
    """Seats in use at the end of a day."""

    key = "shop_id"

    seats = Gauge(levels, "seats", at="measured_at")
'''
TOML = """\
[store]
url = "duckdb:///dayfold.duckdb"

[databases.app]
url = "duckdb:///shop.duckdb"
"""
#: 2^63 - 1, twice on one day and four times in all.
MOST = 9_223_372_036_854_775_807

TABLES = (
    """CREATE TABLE orders (id bigint, shop_id bigint, country text, customer_id bigint, status text,
           amount decimal(12, 2), points bigint, created_at timestamptz)""",
    "CREATE TABLE levels (shop_id bigint, seats bigint, measured_at timestamptz)",
)
# Days are UTC. Shop 1 sells on the 1st, 2nd, 5th, 6th and 9th; shop 2 on the 2nd and 9th, once in no country.
ORDERS = f"""INSERT INTO orders VALUES
    (1, 1, 'FR', 7, 'paid',   10.10, 1,      '2026-01-01 00:00:00+00'),
    (2, 1, 'FR', 7, 'open',    0.20, 2,      '2026-01-01 23:59:59.999999+00'),
    (3, 1, 'DE', 8, 'paid',   99.99, 3,      '2026-01-02 18:14:59+00'),
    (4, 2, NULL, 7, 'paid',    5.00, 4,      '2026-01-02 18:15:00+00'),
    (5, 1, 'FR', 9, 'open',   -1.01, 5,      '2026-01-05 12:00:00+00'),
    (6, 1, 'FR', 7, 'paid', 9999999999.99, {MOST}, '2026-01-06 12:00:00+00'),
    (7, 1, 'DE', 9, 'paid',    0.01, 1,      '2026-01-06 13:00:00+00'),
    (8, 2, 'FR', 7, 'paid',   20.00, 1,      '2026-01-09 01:00:00+00'),
    (9, 1, 'FR', 5, 'paid',    1.00, 1,      '2026-01-09 02:00:00+00')"""
LEVELS = """INSERT INTO levels VALUES
    (1, 10, '2026-01-01 08:00:00+00'), (1, 12, '2026-01-05 08:00:00+00'), (2, 3, '2026-01-05 09:00:00+00'),
    (1, 11, '2026-01-09 08:00:00+00'), (2, 4, '2026-01-09 09:00:00+00')"""


def source_url(folder: Path) -> str:
    return f"duckdb:///{folder / 'shop.duckdb'}"


def store_url(folder: Path) -> str:
    return f"duckdb:///{folder / 'dayfold.duckdb'}"


def make_shop(folder: Path) -> Path:
    """The shop's tables and definitions; nothing is folded."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.py").write_text(METRICS)
    (folder / "dayfold.toml").write_text(TOML)
    with Session(source_url(folder)) as session:
        for text in (*TABLES, ORDERS, LEVELS):
            session.run(text)
    return folder


def stored(url: str, *tables: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of some tables, for a comparison of before and after."""
    return {name: sorted(run_sql(url, f"SELECT * FROM {name}"), key=repr) for name in tables}


def tables_of(url: str) -> list[str]:
    """The names of all tables and views of a store."""
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema IN ('main', 'public') ORDER BY 1"
    return [name for (name,) in run_sql(url, query)]
