"""Checks as they are written: what they mean, and every mistake with its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from dayfold import Alert, Check, Count, Dayfold, Rollup, Table
from dayfold.define.catalog import catalog
from dayfold.define.check import readable
from dayfold.errors import DefinitionError

MESSY = """\
from dayfold import Alert, Check, Count, Rollup, Table

order = Table("orders", database="app")


class ShopDaily(Rollup):
    orders = Count(order, at="made")


class ShopDayly:
    pass


class Neither(Check):
    left = "select 1"
    NOTE = "capitals are the author's own"


class Both(Check):
    query = "select 1"
    right = "select 2"


class Query(Check):
    query = "delete from shop_daily returning 1"
    compare = "<"
    serverity = "warning"
    of = ShopDayly


class Words(Check):
    left = "select 1, 2"
    right = "select * from orders"
    right_database = "ap"
    severity = "fatal"
    compare = "=="
    tolerance = -1
    tolerance_percent = True
    seconds = 0
    of = "ShopDaily"
    database = 3


class Unread(Check):
    query = "select from from"


class shopdaily(Check):
    query = " "


class Twice(Check):
    left = "select 1; select 2"
    right = "select :day"


class Told(Alert):
    check_failed = ["Twise"]


class Off(Alert):
    check_failed = False
"""
EXAMPLE = 'Such as: query = "select id from customer group by id having count(*) > 1"'
SIDE = 'Such as: left = "select sum(amount_cents) from payment"'
MESSAGES = f"""\
DefinitionError [bad-check] metrics.py:14 Neither
  a Check says query, or left and right, got left.
  {EXAMPLE}
DefinitionError [bad-check] metrics.py:19 Both
  a Check says query, or left and right, got query, right.
  {EXAMPLE}
DefinitionError [unknown-attribute] metrics.py:24 Query
  a Check has no attribute 'serverity'; the nearest is 'severity'.
  Attributes: query, left, right, left_database, right_database, compare, tolerance, tolerance_percent, of, severity, database, \
seconds; constants of your own are written in capitals.
DefinitionError [bad-check] metrics.py:24 Query
  compare does not go with query.
DefinitionError [unknown-rollup] metrics.py:24 Query
  it is of ShopDayly, which is none of these definitions; the nearest is 'ShopDaily'.
  Definitions: ShopDaily
DefinitionError [bad-query] metrics.py:24 Query.query
  expected one select that changes nothing.
  {EXAMPLE}
DefinitionError [bad-check] metrics.py:31 Words
  a comparison has a tolerance or a tolerance_percent, got both.
DefinitionError [bad-value] metrics.py:31 Words
  database is a text, got 3.
DefinitionError [bad-value] metrics.py:31 Words
  of is a rollup's class or a list of them, got 'ShopDaily'.
DefinitionError [bad-value] metrics.py:31 Words
  severity is one of error, warning, got 'fatal'.
DefinitionError [bad-value] metrics.py:31 Words
  compare is one of =, <=, >=, <, >, !=, got '=='.
DefinitionError [bad-value] metrics.py:31 Words
  tolerance is a number from 0 on, got -1.
DefinitionError [bad-value] metrics.py:31 Words
  tolerance_percent is a number from 0 on, got True.
DefinitionError [bad-value] metrics.py:31 Words
  seconds is a number above 0 and up to 3600, got 0.
DefinitionError [bad-query] metrics.py:31 Words.left
  the query gives 2 columns, expected the one column that holds the value.
  {SIDE}
DefinitionError [unknown-database] metrics.py:31 Words.right
  there is no [databases.ap] in dayfold.toml; the nearest is 'app'.
  Databases: app
DefinitionError [bad-query] metrics.py:44 Unread.query
  the query cannot be read as SQL of duckdb.
  {EXAMPLE}
DefinitionError [bad-value] metrics.py:48 shopdaily
  query is a text, got ' '.
  {EXAMPLE}
DefinitionError [duplicate-name] metrics.py:48 shopdaily
  the class name 'shopdaily' is taken by metrics.py:6.
DefinitionError [bad-query] metrics.py:52 Twice.left
  expected one select that changes nothing.
  {SIDE}
DefinitionError [bad-query] metrics.py:52 Twice.right
  the query cannot be read as SQL of duckdb.
  {SIDE}
DefinitionError [unknown-check] metrics.py:57 Told
  there is no check 'Twise'; the nearest is 'Twice'.
  Checks: Neither, Both, Query, Words, Unread, shopdaily, Twice
DefinitionError [bad-value] metrics.py:61 Off
  check_failed is true, a check's name or a list of them, got False."""


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Each with its line, what was expected and the nearest known name; those of the databases' languages among them."""
    (tmp_path / "metrics.py").write_text(MESSY)
    config = {"store": {"url": "duckdb:///s.duckdb"}, "databases": {"app": {"url": "duckdb:///app.duckdb"}}}
    with Dayfold(tmp_path / "metrics.py", config) as app, pytest.raises(DefinitionError) as caught:
        app.check()
    assert str(caught.value) == MESSAGES


def test_what_is_written_is_what_is_meant() -> None:
    """Defaults, a database for both sides and one of its own, a base class, and a docstring over several lines."""

    class ShopDaily(Rollup):
        orders = Count(Table("orders"), at="made")

    class Base(Check):
        database = "app"
        of = (ShopDaily, ShopDaily)
        left = right = "select 1"

    class Stored(Base):
        """What is stored
        is what was paid."""

        left_database = None
        tolerance = 0.1

    found = catalog([ShopDaily, Base, Stored, type("Told", (Alert,), {"check_failed": "Stored"})])
    assert found.problems == ()
    one = found.checks["Stored"]
    assert {side: source.database for side, source in one.sides.items()} == {"left": None, "right": "app"}
    assert (one.of, one.severity, one.compare, one.seconds) == (("ShopDaily",), "error", "=", 60)
    assert (one.tolerance, one.description) == (Decimal("0.1"), "What is stored is what was paid.")


@pytest.mark.parametrize("query", [
    "insert into t values (1)", "with gone as (delete from t returning 1) select * from gone", "select 1 into t", "drop table t",
    "select 1 for update", "values (1)", "copy t to '/tmp/t'", "set x = 1", "vacuum", "select $1", "select 1; select 2", "",
])  # fmt: skip
@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
def test_only_one_select_is_read(query: str, dialect: str) -> None:
    """Whatever writes, locks, or is no query is refused before it is sent."""
    with pytest.raises(ValueError, match=r"expected one select|cannot be read|has a parameter"):
        readable(query, dialect)
