"""Questions about a rollup, checked before anything is read."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from dayfold import Avg, Count, Distinct, Formula, Gauge, Ratio, Rollup, Sum, Table
from dayfold.days import Days
from dayfold.define.rollup import RollupDef, definition
from dayfold.errors import BadDate, DayfoldError, QueryRefused, UnknownName, UsageError
from dayfold.plan.keys import KeyFilter
from dayfold.query.request import Request

D = dt.date
ORDERS, PLANS = Table("orders"), Table("plans")


class Sales(Rollup):
    key = ("shop_id", "country")
    orders = Count(ORDERS, at="sold_at")
    net = Sum(ORDERS, "net", at="sold_at")
    mean = Avg(ORDERS, "net", at="sold_at")
    buyers = Distinct(ORDERS, "buyer", at="sold_at")
    per_order = Ratio("net", "orders")
    level = Gauge(PLANS, "mrr", at="day_", over_keys="refuse")
    both = Formula("per_order + level")


class Hourly(Sales):
    grain = "hour"


def of(cls: type[Rollup]) -> RollupDef:
    found, problems = definition(cls)
    assert problems == []
    return found


def ask(metrics: list[str] | None = None, cls: type[Rollup] = Sales, **words: Any) -> Request:
    days = {"from_": "2026-03-01", "to": "2026-03-10"}
    return Request.parse(of(cls), metrics or ["orders"], **{**days, **words}, today=D(2026, 3, 12))


def test_a_question_holds_what_it_needs() -> None:
    """A formula brings its parts, parts first, each once; sources are those of the parts."""
    request = ask(["both", "orders"], where=["shop_id=1", "country=DE"])
    assert request.metrics == ("both", "orders")
    assert sorted(request.needed) == ["both", "level", "net", "orders", "per_order"]
    assert request.needed.index("per_order") < request.needed.index("both")
    assert request.sources_of("both") == ["orders", "plans"]
    assert request.distincts == []
    assert request.days == Days(D(2026, 3, 1), D(2026, 3, 10))


def test_days_are_words_or_dates() -> None:
    """Every form that a command takes, and a date object."""
    assert ask(from_="-7d", to="yesterday").days == Days(D(2026, 3, 5), D(2026, 3, 11))
    assert ask(from_=D(2026, 3, 1), to="today").days == Days(D(2026, 3, 1), D(2026, 3, 12))


#: words: filters
FILTERS = {
    ("shop_id=1",): (KeyFilter("shop_id", ("1",), False),),
    ("shop_id=1", "shop_id=2", "shop_id=1"): (KeyFilter("shop_id", ("1", "2"), False),),
    ("shop_id!=1",): (KeyFilter("shop_id", ("1",), True),),
    ("shop_id=",): (KeyFilter("shop_id", (None,), False),),
    ("shop_id!=",): (KeyFilter("shop_id", (None,), True),),
    ("country=a=b",): (KeyFilter("country", ("a=b",), False),),
    ("country=!=",): (KeyFilter("country", ("!=",), False),),
    ("country= é\n",): (KeyFilter("country", (" é\n",), False),),
    ("shop_id=1", "country!=DE", "shop_id=2"): (
        KeyFilter("shop_id", ("1", "2"), False), KeyFilter("country", ("DE",), True),
    ),
    ("shop_id=1", "shop_id!=2"): (KeyFilter("shop_id", ("1",), False), KeyFilter("shop_id", ("2",), True)),
}  # fmt: skip


@pytest.mark.parametrize("words", FILTERS, ids=" ".join)
def test_filters(words: tuple[str, ...]) -> None:
    """One key's values are alternatives, different keys all hold, and nothing after '=' is NULL."""
    assert ask(where=words).filters == FILTERS[words]


#: what is asked: the error and its text
REFUSED: list[tuple[dict[str, Any], type[DayfoldError], str]] = [
    ({"metrics": ["ordres"]}, UnknownName, "Sales has no metric 'ordres'; the nearest is 'orders'.\n"
     "  Metrics: orders, net, mean, buyers, per_order, level, both"),
    ({"metrics": ["sum(buyers)"]}, QueryRefused,
     "'sum(buyers)': Distinct values are never added up, because one value may stand in several rows.\n"
     "  Ask for buyers itself: over a longer range (--grain total) or fewer keys it is the size of the united sets."),
    ({"by": ["shop"]}, UnknownName,
     "Sales has no key column 'shop' to group by; the nearest is 'shop_id'.\n  Key columns: shop_id, country"),
    ({"where": ["shop=1"]}, UnknownName,
     "Sales has no key column 'shop' to filter by; the nearest is 'shop_id'.\n  Key columns: shop_id, country"),
    ({"where": ["shop_id"]}, UsageError,
     "'shop_id' is not a filter.\n  Write key=value, key!=value, key= for NULL, or key=\"\" for the empty text."),
    ({"grain": "weeks"}, UsageError, "grain is one of hour, day, week, month, quarter, year, total, got 'weeks'; the nearest is 'week'."),
    ({"compare": "last"}, UsageError, "compare is one of previous, year, got 'last'."),
    ({"limit": 0}, UsageError, "limit is a number of rows from 1 on, got 0."),
    ({"sort": "-net"}, UnknownName, "The answer has no 'net' to sort by.\n  Sort by: day, orders"),
    ({"from_": "March"}, BadDate, "'March' is not a date.\n  Expected YYYY-MM-DD, today, yesterday (UTC), or -7d."),
    ({"from_": "today"}, BadDate, "The range ends before it starts: from 2026-03-12 to 2026-03-10.\n"
     "  A range names its first and its last day, both included."),
    ({"tz": "Europe/Londn"}, UnknownName,
     "There is no time zone 'Europe/Londn'; the nearest is 'Europe/London'.\n  Zones are named as in Europe/London."),
    ({"tz": "../etc/passwd"}, UnknownName, "There is no time zone '../etc/passwd'.\n  Zones are named as in Europe/London."),
    ({"tz": "Europe/Berlin"}, QueryRefused,
     "A day in Europe/Berlin starts at 23:00 UTC, inside a stored bucket: Sales keeps buckets of a grain of day.\n"
     '  Ask in UTC, or give the rollup a finer grain: grain = "15min" holds the days of every present zone.'),
    ({"tz": "Asia/Kathmandu", "cls": Hourly}, QueryRefused,
     "A day in Asia/Kathmandu starts at 18:15 UTC, inside a stored bucket: Hourly keeps buckets of a grain of hour.\n"
     '  Ask in UTC, or give the rollup a finer grain: grain = "15min" holds the days of every present zone.'),
    ({"metrics": ["level"]}, QueryRefused,
     "Sales.level is a gauge that is not combined over keys (over_keys='refuse'), and the question leaves shop_id, country open.\n"
     "  Ask for it --by shop_id --by country, or for one value of each with --where."),
    ({"metrics": ["both"], "by": ["shop_id"], "where": ["country!=DE"]}, QueryRefused,
     "Sales.level is a gauge that is not combined over keys (over_keys='refuse'), and the question leaves country open.\n"
     "  Ask for it --by shop_id --by country, or for one value of each with --where."),
]  # fmt: skip


@pytest.mark.parametrize(("words", "kind", "text"), REFUSED, ids=[str(one[0]) for one in REFUSED])
def test_refused_questions(words: dict[str, Any], kind: type[DayfoldError], text: str) -> None:
    """What has no answer is refused with what there is instead."""
    with pytest.raises(kind) as refused:
        ask(**words)
    assert (type(refused.value), str(refused.value), refused.value.exit_status) == (kind, text, 2)


def test_a_zone_takes_the_days_of_its_own_calendar() -> None:
    """Its days touch those of UTC around them; a clock change makes one of 23 hours."""
    request = ask(cls=Hourly, from_="2026-03-29", to="2026-03-29", tz="Europe/Berlin")
    assert request.utc_days == Days(D(2026, 3, 28), D(2026, 3, 29))
    assert ask(cls=Hourly, tz="UTC").utc_days == Days(D(2026, 3, 1), D(2026, 3, 10))
    west = ask(cls=Hourly, from_="2026-03-01", to="2026-03-01", tz="America/Los_Angeles")
    assert west.utc_days == Days(D(2026, 3, 1), D(2026, 3, 2))
