"""Rows that are versions, joined to a change set: what is asked of them before versions are compared."""

from __future__ import annotations

import sqlglot

from dayfold.define.types import DATE, INT, TEXT
from dayfold.plan.shape import Column
from dayfold.plan.sql import table
from dayfold.plan.versions import Kept, beside

KEPT = Kept(
    "shop_daily",
    "dayfold_versions__1__shop_daily",
    (Column("shop", TEXT), Column("day", DATE), Column("n", INT)),
    ("shop", "day"),
)


def conditions(text: str, other: str = "changes") -> list[str]:
    """What is asked of ``t`` that is joined to ``c`` on a condition."""
    named = sqlglot.exp.alias_(table(other), "c", table=True)
    return [one.sql("clickhouse") for one in beside(KEPT, "t", sqlglot.parse_one(text, read="postgres"), named)]


def test_equal_identity_is_asked_of_the_rows() -> None:
    """Equality of key and day leads to the parts that hold such rows; where NULLs are equal, they are let through."""
    assert conditions("t.shop is not distinct from c.shop and c.day = t.day and t.n = c.n") == [
        '("shop" IN (SELECT "shop" FROM "changes") OR "shop" IS NULL)',
        '"day" IN (SELECT "day" FROM "changes")',
    ]


def test_nothing_is_asked_where_other_rows_could_count() -> None:
    """A value of the row is not its identity: an older version may have it. Either-or says nothing of each part."""
    assert conditions("t.n = c.n") == []
    assert conditions("t.shop = c.shop or t.day = c.day") == []
    assert conditions("t.shop = t.shop") == []
    assert conditions("t.day >= c.day") == []
