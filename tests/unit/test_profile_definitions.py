"""Profiles, as they are written: every mistake at once, each with its line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from dayfold.define.catalog import load
from dayfold.errors import DefinitionError

MESSY = """\
from dayfold import (
    Case, Collect, Count, Exists, First, Formula, Gauge, Increase, Last, Min, Mode, Profile, Rollup, Size, Sum, Table, source
)

booking = Table("booking")


@source(columns={"customer": "text", "v": "bigint"}, since="2026-01-01")
def api(day):
    return []


class Customers(Profile):
    key = "customer"
    one = First(booking, "location")
    two = Count(booking, at="start_at")
    three = Gauge(booking, "minutes", at="start_at")
    four = Increase(booking, "minutes", per="id", at="start_at")
    five = Sum(api, "v")
    six = Case({"new": "two >", "old": 3})
    seven = Case({"new": "nothing = 1"}, default="other")
    eight = Formula("nine + 1")
    nine = Formula("eight + 1")
    ten = Collect(booking, "note", at="start_at", most="many")
    eleven = Collect(booking, "note", at="start_at", most=20_000, newest="yes")
    customer = Count(booking)
    twelve = Last(booking, at="start_at")
    thirteen = Mode(booking, "location", at="start_at")
    fourteen = Exists(booking, "location")
    fifteen = Case({"new": "two = 1"}, default=3)
    sixteen = Case({"new": "two >"})
    seventeen = Min(booking)


class Nobody(Profile):
    grain = "day"
    n = Count(booking)


class Null(Profile):
    key = ("org", None)
    n = Count(booking)


class Empty(Profile):
    key = "customer"
    only = Formula("1 + 1")


class Daily(Rollup):
    key = "customer"
    n = Count(booking, at="start_at")
    first = First(booking, "location", at="start_at")


class Sizes(Rollup):
    key = "customer"
    one = Size(Daily)


class MoreSizes(Rollup):
    key = "customer"
    two = Size(Empty, "n", at="start_at")


class Moments(Rollup):
    key = "customer"
    n = Count(Empty)
"""

MESSAGES = """\
DefinitionError [no-moment] metrics.py:15 Customers.one
  First needs at=…, the column that facts are ordered by.
DefinitionError [unknown-option] metrics.py:16 Customers.two
  Count has no option 'at' in a profile, which counts facts of all times.
  Leave it out; facts without a moment are left out with where="… is not null".
DefinitionError [bad-metric] metrics.py:17 Customers.three
  Gauge is of days, which a profile does not have.
  Last(…, at=…) is the level now.
DefinitionError [bad-metric] metrics.py:18 Customers.four
  Increase is of days, which a profile does not have.
  Fold a rollup of it, and Sum that.
DefinitionError [bad-source] metrics.py:19 Customers.five
  api is a function of a day, and a profile has no days.
  Fold a rollup over it, and name that rollup as the source.
DefinitionError [bad-value] metrics.py:20 Customers.six
  Case maps words to conditions, both texts, got {'new': 'two >', 'old': 3}.
  Such as: Case({"new": "orders = 1"}, default="other").
DefinitionError [unknown-metric] metrics.py:21 Customers.seven
  the case names 'nothing', which is no metric of Customers.
  Metrics: one, two, three, four, five, six, eight, nine, ten, eleven, customer, twelve, thirteen, fourteen, fifteen, sixteen, seventeen
DefinitionError [cycle] metrics.py:22 Customers.eight
  the formula is computed from itself: eight → nine → eight.
DefinitionError [cycle] metrics.py:23 Customers.nine
  the formula is computed from itself: nine → eight → nine.
DefinitionError [bad-value] metrics.py:24 Customers.ten
  most is a number of values from 1 to 10,000, got 'many'.
DefinitionError [bad-value] metrics.py:25 Customers.eleven
  most is a number of values from 1 to 10,000, got 20000.
DefinitionError [bad-value] metrics.py:25 Customers.eleven
  newest is True or False, got 'yes'.
DefinitionError [duplicate-name] metrics.py:26 Customers.customer
  'customer' is both a key column and a metric.
DefinitionError [no-expression] metrics.py:27 Customers.twelve
  Last needs an expression, such as "amount".
DefinitionError [unknown-option] metrics.py:28 Customers.thirteen
  Mode has no option 'at'.
  Options: where, trust
DefinitionError [unknown-option] metrics.py:29 Customers.fourteen
  Exists takes a source and no expression; it looks for a fact.
  To leave facts out: where="…".
DefinitionError [bad-value] metrics.py:30 Customers.fifteen
  default is a text, got 3.
DefinitionError [bad-expression] metrics.py:31 Customers.sixteen
  the condition of 'new': 'two >' cannot be read: near '>' at column 5.
  For anything else write the source as Table(sql="select …"), in the engine's own SQL.
DefinitionError [no-expression] metrics.py:32 Customers.seventeen
  Min needs an expression, such as "amount".
DefinitionError [unknown-attribute] metrics.py:35 Nobody
  a Profile has no attribute 'grain'.
  Attributes: table, key, index, owner, schedule, timezone; constants of your own are written in capitals.
DefinitionError [bad-value] metrics.py:35 Nobody
  a Profile needs a key: the column, or columns, that name an entity.
DefinitionError [bad-name] metrics.py:40 Null
  key is a name of letters, digits and '_' (at most 63), got None.
DefinitionError [no-metrics] metrics.py:45 Empty
  a Profile needs at least one metric of a source, such as Count(table).
DefinitionError [bad-metric] metrics.py:53 Daily.first
  First is of a whole life, and a rollup has days.
  Write it in a Profile.
DefinitionError [bad-source] metrics.py:58 Sizes.one
  Size is of a Profile, got Daily.
  Options: where, over_keys
DefinitionError [unknown-option] metrics.py:63 MoreSizes.two
  Size has no option 'at'.
  Options: where, over_keys
DefinitionError [unknown-option] metrics.py:63 MoreSizes.two
  Size takes a Profile and no expression; it counts entities.
  To leave entities out: where="…". To sum what they have: Sum of the profile at one of its moments.
DefinitionError [no-moment] metrics.py:68 Moments.n
  Count needs at=…, the column that says when a fact counts."""


def test_mistakes_of_profiles_are_told_with_all_others(tmp_path: Path) -> None:
    """Each with its line, what was expected and the nearest known name."""
    path = tmp_path / "metrics.py"
    path.write_text(MESSY)
    with pytest.raises(DefinitionError) as error:
        load(path).check()
    assert str(error.value) == MESSAGES
