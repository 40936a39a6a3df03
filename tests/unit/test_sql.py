"""The one way SQL is built: parts are trees, values are parameters, names are quoted."""

from __future__ import annotations

import pytest
from sqlglot import exp

from dayfold.plan.sql import Statement, Values, alias, both, column, derived, either, sql, statement, table

EVIL = 'x"; DROP TABLE t; --'


def text(tree: exp.Expr, dialect: str = "postgres") -> str:
    return tree.sql(dialect, identify=True)


def test_parts_fill_a_template() -> None:
    """Each place gets its own copy, a list fills a place in a list, and other names stay columns."""
    tree = sql("f(_x, _x, y, _rest)", _x=column("a"), _rest=[column("b"), exp.Literal.number(1)])
    assert text(tree) == 'F("a", "a", "y", "b", 1)'


def test_a_template_is_not_changed_by_its_use() -> None:
    """Templates are kept, so filling one twice must give two trees."""
    first, second = (sql("_x + 1", _x=column(name)) for name in "ab")
    assert (text(first), text(second)) == ('"a" + 1', '"b" + 1')
    part = column("c")
    sql("_x", _x=part).args["this"].set("this", "changed")
    assert text(part) == '"c"'


def test_tables_and_aliases_are_filled_too() -> None:
    """A relation takes the alias that stands beside its place."""
    tree = sql("select a.n from _t as a join _u on true", _t=table("one", "s"), _u=derived(sql("select 1 as n"), "d"))
    assert text(tree) == 'SELECT "a"."n" FROM "s"."one" AS "a" JOIN (SELECT 1 AS "n") AS "d" ON TRUE'


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
def test_names_are_quoted(dialect: str) -> None:
    """Whatever a name holds, it stays one name."""
    quoted = '"x""; DROP TABLE t; --"'
    assert text(column(EVIL), dialect) == quoted
    assert text(table(EVIL, EVIL, EVIL), dialect) == ".".join([quoted] * 3)
    assert text(alias(column("a"), EVIL), dialect) == f'"a" AS {quoted}'


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
def test_values_are_parameters_in_the_order_of_the_text(dialect: str) -> None:
    """A value is never text; one that is used twice is bound once."""
    one = statement("select :b, :a, :b where x = :c", a=1, b=EVIL, c=None)
    rendered, values = one.render(dialect)
    assert rendered == 'SELECT $1, $2, $1 WHERE "x" = $3'
    assert values == [EVIL, 1, None]


def test_bound_values_have_names_of_their_own() -> None:
    """Parts made apart meet in one statement without taking each other's values."""
    values = Values()
    low, high = values.bind(1, "bigint"), values.bind("2026-01-01", "date")
    one = statement("select :v where x > _low and y < _high", values=values, v="mine", _low=low, _high=high)
    assert one.render("postgres") == (
        'SELECT $1 WHERE "x" > CAST($2 AS BIGINT) AND "y" < CAST($3 AS DATE)',
        ["mine", 1, "2026-01-01"],
    )


def test_rendering_changes_nothing() -> None:
    """A statement can be rendered again, for another engine too."""
    one = statement("select :a", a=1)
    assert one.render("duckdb") == one.render("postgres") == one.render("duckdb") == ("SELECT $1", [1])
    assert Statement(sql("select 1")).render("duckdb") == ("SELECT 1", [])


def test_conditions_are_put_together() -> None:
    """None at all is true for all of them and false for any of them; alternatives are bracketed."""
    a, b, c = (column(name) for name in "abc")
    assert text(both([])) == "TRUE"
    assert text(either([])) == "FALSE"
    assert text(both([a])) == '"a"'
    assert text(both([a, either([b, c])])) == '"a" AND ("b" OR "c")'
    assert text(either(one for one in (a, b))) == '"a" OR "b"'
