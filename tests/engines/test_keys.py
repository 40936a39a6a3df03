"""Whom a row is about: keys are columns, never joined text, and NULL is a key."""

from __future__ import annotations

import datetime as dt
from typing import Any

from dayfold import Count, Rollup, Sum
from tests.engines.ground import Ground, march

JOINER = "\u200d"
AWKWARD = ["a:b", "a/b", "a", "b", JOINER, f"a{JOINER}b", "x" * 200, "caf\u00e9", "cafe\u0301", "", " a", "A", None]


def test_awkward_keys_stay_apart(ground: Ground) -> None:
    """Separators, invisible characters, length, normal forms, case: each is a key of its own, unchanged."""
    rows = [{"tenant": key, "made": march(10)} for number, key in enumerate(AWKWARD) for _ in range(number + 1)]
    ground.load("sale", "tenant text, made timestamptz", rows)

    class Sales(Rollup):
        key = "tenant"
        total = Count(ground.table("sale"), at="made")

    ground.define(Sales)
    ground.fold()
    wanted = {key: number + 1 for number, key in enumerate(AWKWARD)}
    assert dict(ground.stored("SELECT tenant, total FROM sales")) == wanted
    assert {row["tenant"]: row["total"] for row in ground.ask("Sales", first=10, last=10, by=["tenant"])} == wanted
    for key in ("a:b", f"a{JOINER}b", "cafe\u0301", "x" * 200):
        [row] = ground.ask("Sales", first=10, last=10, where=[f"tenant={key}"])
        assert row["total"] == wanted[key]


def test_numbers_side_by_side_never_meet(ground: Ground) -> None:
    """(1, 12) is not (11, 2); the same customer of two tenants is two."""
    pairs = {(1, 12): 3, (11, 2): 5, (1, 2): 1, (2, 1): 2, (None, 12): 4, (1, None): 6, (None, None): 7}
    rows = [{"tenant": t, "customer": c, "made": march(10)} for (t, c), count in pairs.items() for _ in range(count)]
    ground.load("sale", "tenant bigint, customer bigint, made timestamptz", rows)

    class Sales(Rollup):
        key = ("tenant", "customer")
        total = Count(ground.table("sale"), at="made")

    ground.define(Sales)
    ground.fold()
    assert {(t, c): n for t, c, n in ground.stored("SELECT tenant, customer, total FROM sales")} == pairs
    assert ground.ask("Sales", first=10, last=10) == [{"day": dt.date(2026, 3, 10), "total": 28}]


def test_a_null_key_folded_five_times_is_one_row(ground: Ground) -> None:
    """NULL equals NULL: nothing is inserted again, and the total does not grow."""
    ground.load(
        "sale", "shop bigint, made timestamptz", [{"shop": None, "made": march(10)}, {"shop": 1, "made": march(10)}]
    )

    class Sales(Rollup):
        key = "shop"
        total = Count(ground.table("sale"), at="made")

    ground.define(Sales)
    assert [ground.fold_written() for _ in range(5)] == [2, 0, 0, 0, 0]
    ground.insert("sale", [{"shop": None, "made": march(10)}])
    assert ground.fold_written() == 1
    assert sorted(ground.stored("SELECT coalesce(shop, 0), total FROM sales")) == [(0, 2), (1, 1)]


def test_keys_of_every_kind_are_kept(ground: Ground) -> None:
    """Text, integers, UUIDs, dates and booleans; each with its NULL, and each can be asked for."""
    uuid = "0b9f5d0e-8b1a-4c9e-9d7e-0123456789ab"
    full = {"number": -(2**63), "word": "a", "mark": uuid, "flag": False, "born": dt.date(1999, 12, 31)}
    rows: list[dict[str, Any]] = [full, dict.fromkeys(full)]
    ddl = "number bigint, word text, mark uuid, flag boolean, born date, made timestamptz"
    ground.source(f"CREATE TABLE sale ({ddl})")
    for row in rows:
        values = [*row.values(), march(10)]
        ground.source("INSERT INTO sale VALUES ($1, $2, CAST($3 AS uuid), $4, $5, $6)", values)

    class Sales(Rollup):
        key = ("number", "word", "mark", "flag", "born")
        total = Count(ground.table("sale"), at="made")

    ground.define(Sales)
    assert ground.fold_written() == 2
    assert ground.fold_written() == 0
    for where in (["number=-9223372036854775808"], ["flag=false"], [f"mark={uuid}"], ["born=1999-12-31"], ["born="]):
        [row] = ground.ask("Sales", first=10, last=10, where=where)
        assert row["total"] == 1, where


def test_totals_and_entities_are_separate_rollups(ground: Ground) -> None:
    """A platform-wide row does not stand among the rows that it sums up."""
    rows = [{"shop": shop, "amount": shop, "made": march(10)} for shop in (1, 2, 3)]
    ground.load("sale", "shop bigint, amount bigint, made timestamptz", rows)
    sale = ground.table("sale")

    class ShopSales(Rollup):
        key = "shop"
        amount = Sum(sale, "amount", at="made")

    class Sales(Rollup):
        amount = Sum(sale, "amount", at="made")

    ground.define(ShopSales, Sales)
    ground.fold()
    for rollup in ("ShopSales", "Sales"):
        assert ground.ask(rollup, first=10, last=10) == [{"day": dt.date(2026, 3, 10), "amount": 6}]
