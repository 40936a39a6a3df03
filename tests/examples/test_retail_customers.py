"""Every customer of the retail example as a profile: recency, orders, revenue and more, equal to one plain query over its file.

The oracle is DuckDB alone over the Parquet file, by other means where there are any: grouping and windows instead of firsts and modes.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from dayfold import Case, Count, Dayfold, Distinct, First, Formula, Last, Max, Min, Mode, Profile, Ratio, Sum, Table
from dayfold.clock import FixedClock
from tests.examples.test_retail import EXAMPLE, load
from tests.sql import run_sql, store_config

pytestmark = pytest.mark.in_turn

line = Table("order_line")
SOLD = "invoice not like 'C%'"


class Customers(Profile):
    """Whom to write to, and whom to thank."""

    key = "customer_id"

    orders = Distinct(line, "invoice", where=SOLD)
    cancellations = Distinct(line, "invoice", where="invoice like 'C%'")
    lines = Count(line)
    products = Distinct(line, "stock_code", where=SOLD)
    revenue = Sum(line, "quantity * price")
    largest_line = Max(line, "quantity * price")
    first_at = Min(line, "invoiced_at", where=SOLD)
    last_at = Max(line, "invoiced_at", where=SOLD)
    first_invoice = First(line, "invoice", at="invoiced_at", ties="invoice", where=SOLD)
    last_invoice = Last(line, "invoice", at="invoiced_at", ties="invoice", where=SOLD)
    favourite = Mode(line, "stock_code", where=SOLD)
    recency_days = Formula("now()::date - last_at::date")
    revenue_per_order = Ratio("revenue", "orders")
    segment = Case(
        {"never": "orders = 0", "lost": "recency_days > 365", "once": "orders = 1", "best": "revenue >= 10000"}, default="regular"
    )  # fmt: skip


COLUMNS = tuple(name for name, one in vars(Customers).items() if hasattr(one, "kind"))
PLAIN = f"""
    WITH fact AS (SELECT *, left(invoice, 1) = 'C' AS back FROM read_parquet($1) WHERE customer_id IS NOT NULL),
        sums AS (
            SELECT customer_id, count(*) AS lines, sum(quantity * price) AS revenue, max(quantity * price) AS largest_line
            FROM fact GROUP BY 1
        ),
        returned AS (SELECT DISTINCT customer_id, invoice FROM fact WHERE back),
        backs AS (SELECT customer_id, count(*) AS cancellations FROM returned GROUP BY 1),
        goods AS (SELECT customer_id, stock_code, count(*) AS often FROM fact WHERE NOT back GROUP BY 1, 2),
        liked AS (
            SELECT customer_id, count(*) OVER (PARTITION BY customer_id) AS products, stock_code AS favourite FROM goods
            QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY often DESC, stock_code) = 1
        ),
        sales AS (SELECT customer_id, invoice, min(invoiced_at) AS began, max(invoiced_at) AS ended FROM fact WHERE NOT back GROUP BY 1, 2),
        orders AS (SELECT customer_id, count(*) AS orders, min(began) AS first_at, max(ended) AS last_at FROM sales GROUP BY 1),
        firsts AS (SELECT DISTINCT ON (customer_id) customer_id, invoice AS first_invoice FROM sales ORDER BY customer_id, began, invoice),
        lasts AS (
            SELECT DISTINCT ON (customer_id) customer_id, invoice AS last_invoice FROM sales
            ORDER BY customer_id, ended DESC, invoice DESC
        ),
        whole AS (
            SELECT
                * REPLACE (coalesce(orders, 0) AS orders, coalesce(cancellations, 0) AS cancellations, coalesce(products, 0) AS products),
                date_diff('day', CAST(last_at AS date), $2) AS recency_days,
                CASE WHEN orders > 0 THEN CAST(revenue AS double) / orders END AS revenue_per_order
            FROM sums LEFT JOIN backs USING (customer_id) LEFT JOIN liked USING (customer_id) LEFT JOIN orders USING (customer_id)
                LEFT JOIN firsts USING (customer_id) LEFT JOIN lasts USING (customer_id)
        )
    SELECT customer_id, {", ".join(COLUMNS[:-1])},
        CASE WHEN orders = 0 THEN 'never' WHEN recency_days > 365 THEN 'lost' WHEN orders = 1 THEN 'once'
            WHEN revenue >= 10000 THEN 'best' ELSE 'regular' END AS segment
    FROM whole
"""


def plain(today: dt.date) -> dict[int, tuple[Any, ...]]:
    """What one query over the file says of each customer on that day."""
    with duckdb.connect() as connection:
        rows = connection.execute(PLAIN, [str(EXAMPLE / "data" / "order_line.parquet"), today]).fetchall()
    return {customer: tuple(values) for customer, *values in rows}


def test_customers_are_what_a_plain_query_says(store_url: str) -> None:
    """All 5,942 in every column, on the day after the last order and on a day two months later."""
    load(store_url)
    segments = []
    for today in (dt.date(2011, 12, 10), dt.date(2012, 2, 10)):
        clock = FixedClock(dt.datetime.combine(today, dt.time(12), dt.UTC))
        with Dayfold([Customers], store_config(store_url), clock=clock) as app:
            [run] = app.fold()
            assert (run.status, run.error, run.cells) == ("done", None, 5_942)
        rows = run_sql(store_url, f"SELECT customer_id, {', '.join(COLUMNS)} FROM customers")
        found = {customer: tuple(values) for customer, *values in rows}
        assert found == plain(today)
        segments.append(sum(row[-1] == "lost" for row in found.values()))
    revenue, orders = COLUMNS.index("revenue"), COLUMNS.index("orders")
    totals = (len(found), sum(row[orders] for row in found.values()), sum(row[revenue] for row in found.values()))
    assert totals == (5_942, 36_975, Decimal("16648292.388"))
    assert segments == [1_616, 1_799]
