"""Where facts may come from: tables read with SELECT alone, mapped columns, the engine's own SQL, joins of rights."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from dayfold import Count, Rollup, Sum, Table
from tests.conftest import Pairing
from tests.engines.ground import Ground, march
from tests.sql import read_only

ROWS = [{"square_id": 7, "Amount Due": 5, "made": march(10)}, {"square_id": 8, "Amount Due": -2, "made": march(11)}]
DDL = 'square_id bigint, "Amount Due" bigint, made timestamptz'


def test_columns_go_by_the_names_of_definitions(ground: Ground) -> None:
    """A name stands for the table's own column or for an expression over its columns."""
    ground.source(f"CREATE TABLE sale ({DDL})")
    for one in ROWS:
        ground.source("INSERT INTO sale VALUES ($1, $2, $3)", list(one.values()))
    mapped = {"customer_id": "square_id", "due": "Amount Due", "big": '"Amount Due" > 0'}

    class Sales(Rollup):
        key = "customer_id"
        due = Sum(ground.table("sale", columns=mapped), "due * 2", at="made")
        big = Count(ground.table("sale", columns=mapped), at="made", where="big")

    ground.define(Sales)
    ground.fold()
    assert ground.stored("SELECT customer_id, due, big FROM sales ORDER BY customer_id") == [(7, 10, 1), (8, -4, 0)]


def test_a_query_is_a_source(ground: Ground) -> None:
    """Its tables are those of its own database."""
    ground.source(f"CREATE TABLE sale ({DDL})")
    for one in ROWS:
        ground.source("INSERT INTO sale VALUES ($1, $2, $3)", list(one.values()))
    sql = 'SELECT square_id AS customer, sum("Amount Due") AS due, max(made) AS made FROM sale GROUP BY 1'

    class Sales(Rollup):
        key = "customer"
        due = Sum(Table(sql=sql, database=ground.pairing.database), "due", at="made", scale=0)

    ground.define(Sales)
    ground.fold()
    assert ground.stored("SELECT customer, due FROM sales ORDER BY customer") == [(7, 5), (8, -2)]
    assert ground.fold_written() == 0


@pytest.mark.parametrize("pairing", ["postgres-to-duckdb", "postgres-databases"], indirect=True)
def test_a_source_needs_only_select(pairing: Pairing) -> None:
    """A role that may write nothing is enough to be folded from."""
    with Ground(pairing) as ground:
        ground.load("sale", "shop bigint, made timestamptz", [{"shop": 1, "made": march(10)}])
        ground.config = dataclasses.replace(pairing, source=read_only(pairing.source)).config

        class Sales(Rollup):
            key = "shop"
            total = Count(ground.table("sale"), at="made")

        ground.define(Sales)
        ground.fold()
        assert ground.ask("Sales", first=10, last=10) == [{"day": dt.date(2026, 3, 10), "total": 1}]


def test_two_sources_meet_in_one_row(ground: Ground) -> None:
    """A key that only one of them has gets zeros of the other; a NULL key of both is one row."""
    for name, shops in (("request", [1, None]), ("answer", [2, None])):
        ground.load(name, "shop bigint, made timestamptz", [{"shop": shop, "made": march(10)} for shop in shops])

    class Shops(Rollup):
        key = "shop"
        asked = Count(ground.table("request"), at="made")
        answered = Count(ground.table("answer"), at="made")

    ground.define(Shops)
    ground.fold()
    rows = ground.stored("SELECT shop, asked, answered FROM shops ORDER BY shop NULLS LAST")
    assert rows == [(1, 1, 0), (2, 0, 1), (None, 1, 1)]
