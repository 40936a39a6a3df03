"""Rows that are versions: which of them are shown, and what is asked of them where they are joined to a change set."""

from __future__ import annotations

import sqlglot

from dayfold.define.types import DATE, INT, TEXT
from dayfold.plan.shape import Column
from dayfold.plan.sql import table
from dayfold.plan.versions import STEPS, Kept, Seen, beside

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


def test_any_number_of_writes_may_go_on_at_once() -> None:
    """What is not published is a list: its text nests no deeper for a thousand writes than for one."""
    text = Seen(last=2000, pending=tuple(range(5, 2001, 2)), own=7).shows().sql("clickhouse")
    assert text.startswith(f'("write__" < {2001 * STEPS} AND NOT (intDiv("write__", {STEPS}) IN (5, 9, 11, ')
    assert Seen(last=3).shows().sql("clickhouse") == f'("write__" < {4 * STEPS})'


def test_writes_are_settled_up_to_the_first_that_goes_on() -> None:
    """What one of them replaced, nobody who begins now reads."""
    assert (Seen(last=9, pending=(7, 4)).settled, Seen(last=9).settled, Seen().settled) == (3, 9, 0)
