"""Pages as they are written, and as Python again; the words of periods."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from dayfold import (
    Access,
    Card,
    Count,
    Funnel,
    Min,
    Page,
    Parameter,
    Profile,
    Rollup,
    Series,
    Steps,
    Sum,
    Table,
    Text,
    Top,
)
from dayfold.define.catalog import catalog
from dayfold.define.page import WrittenPage, written
from dayfold.define.page_words import Known, as_python, checked, class_name
from dayfold.errors import BadDate, UsageError
from dayfold.periods import asked_days, days_of

sold = Table("orders")


class ShopDaily(Rollup):
    """What shops sell."""

    key = ("shop", "channel")
    orders = Count(sold, at="made_at")
    cents = Sum(sold, "cents", at="made_at")


class PlatformDaily(Rollup):
    """All shops."""

    orders = Count(sold, at="made_at")


class Customers(Profile):
    """One row per customer."""

    key = ("shop", "customer")
    first_at = Min(sold, "made_at")
    second_at = Min(sold, "paid_at")


class Buying(Funnel):
    """In order."""

    profile, steps = Customers, ("first_at", "second_at")


class Manager(Access):
    """The shops of somebody."""

    shop = "select shop from manages where manager = :manager"


DEFINITIONS = [ShopDaily, PlatformDaily, Customers, Buying, Manager]
CARD = Card(ShopDaily, "orders")
MISTAKES: list[tuple[dict[str, Any], str, str, str]] = [
    ({}, "bad-page", "", "a Page has 1 to 60 parts, got 0."),
    ({"a": CARD, "titel": "x"}, "unknown-attribute", "", "a Page has no attribute 'titel'; the nearest is 'title'."),
    ({"a": CARD, "period": "7 days"}, "bad-value", "", "period is one of 7d, 30d, 90d, 12m, got '7 days'."),
    ({"a": CARD, "access": "Managr"}, "unknown-access", "",
     "access names 'Managr', which is none of these definitions; the nearest is 'Manager'."),
    ({"a": Card("ShopDialy", "orders")}, "unknown-rollup", "a", "there is no rollup 'ShopDialy'; the nearest is 'ShopDaily'."),
    ({"a": Card(Customers, "first_at")}, "bad-page", "a",
     "Customers is a profile, which has no days, and a page shows a period."),
    ({"a": Card(ShopDaily, "ordres")}, "unknown-metric", "a", "ShopDaily has no metric 'ordres'; the nearest is 'orders'."),
    ({"a": Card(ShopDaily, "orders", compare="month")}, "bad-value", "a", "compare is one of previous, year, got 'month'."),
    ({"a": Card(ShopDaily, "orders", colour="red")}, "unknown-option", "a", "Card has no option 'colour'."),
    ({"a": Card(ShopDaily, "orders", where={"shp": 1})}, "unknown-column", "a",
     "where names 'shp', which is no key column of ShopDaily; the nearest is 'shop'."),
    ({"a": Series(ShopDaily, ["orders", "cents"], by="shop")}, "bad-page", "a", "a Series by shop has one metric, got orders, cents."),
    ({"a": Series(ShopDaily, "orders", grain="hour")}, "bad-value", "a", "grain is one of day, week, month, quarter, year, got 'hour'."),
    ({"a": Series(ShopDaily, [])}, "bad-value", "a", "a metric is a text, several are a list of 1 to 20; got []."),
    ({"a": Top(ShopDaily, "orders")}, "bad-page", "a", "a Top needs by, the key column whose values are put in order."),
    ({"a": Top(ShopDaily, "orders", by="chanel")}, "unknown-column", "a",
     "by names 'chanel', which is no key column of ShopDaily; the nearest is 'channel'."),
    ({"a": Top(ShopDaily, "orders", by="shop", n=0)}, "bad-value", "a", "n is a number from 1 to 500, got 0."),
    ({"a": Steps("Byuing")}, "unknown-funnel", "a", "there is no funnel 'Byuing'; the nearest is 'Buying'."),
    ({"a": Text("")}, "bad-value", "a", "text is a text of 1 to 10,000 letters."),
    ({"a": CARD, "parameters": {"colour": "text"}}, "unknown-column", "",
     "the parameter 'colour' is of 'colour', which is no key column of what the page shows."),
    ({"a": CARD, "parameters": {"shop": "string"}}, "bad-value", "",
     "the type of the parameter 'shop' is one of text, bigint, uuid, date, boolean, got 'string'."),
    ({"a": CARD, "parameters": {"period": "text"}}, "bad-name", "",
     "a parameter's name has letters, digits and '_', and is none of period, from, to, theme, bare, page; got 'period'."),
    ({"a": CARD, "parameters": {"shop": Parameter("bigint", default="x")}}, "bad-value", "",
     "the default of the parameter 'shop': expected a whole number."),
    ({"a": CARD, "b": Card(PlatformDaily, "orders"), "parameters": {"shop": "text"}}, "unknown-column", "b",
     "the parameter 'shop' filters by 'shop', which is no key column of PlatformDaily: the part would show the numbers of all."),
    ({"a": CARD, "b": Card(PlatformDaily, "orders"), "access": Manager}, "bad-page", "b",
     "Manager limits 'shop', which is no key column of PlatformDaily: nobody who has that access sees the part."),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "part", "message"), MISTAKES, ids=[one[3][:60] for one in MISTAKES])
def test_mistakes(words: dict[str, Any], code: str, part: str, message: str) -> None:
    """One mistake, told with its place and its part; what is wrong is not there."""
    found = catalog([*DEFINITIONS, type("Wrong", (Page,), {**words, "__module__": __name__})])
    [problem] = found.problems
    assert (problem.code, problem.subject, problem.message) == (code, f"Wrong.{part}" if part else "Wrong", message)
    assert problem.place.startswith("test_page.py:")
    assert found.pages == {}


def test_all_mistakes_are_told_at_once() -> None:
    """Each with the line of its own part."""

    class Wrong(Page):
        period = "1d"
        a = Card("ShopDaily", "ordres")
        b = Top("ShopDialy", "orders", by="shop")

    found = catalog([*DEFINITIONS, Wrong]).problems
    assert [one.code for one in found] == ["bad-value", "unknown-metric", "unknown-rollup"]
    assert len({one.place for one in found}) == 3


class Whole(Page):
    """All that "a page" may say."""

    title = 'Shops: \\ "quoted" \u2028 ünder 😀'
    parameters = {"shop": Parameter("bigint", title="Which shop", default=7), "manager": "text"}  # noqa: RUF012
    period = "12m"
    access = Manager

    intro = Text('One.\n\nTwo: \'x\' """ \\n {braces}', title="Read this")
    sold = Card(ShopDaily, "orders", compare="previous")
    of_ios = Card("shop_daily", "cents", where={"channel": ["ios", None, ""]})
    line = Series(ShopDaily, ["orders", "cents"], grain="week")
    lines = Series(ShopDaily, "orders", by="channel", n=3)
    most = Top(ShopDaily, ["cents", "orders"], by=("shop", "channel"), n=5)
    steps = Steps(Buying)


def test_what_is_right_is_in_the_catalog() -> None:
    """Parts in their order, defaults, parameters of the access and of key columns."""
    found = catalog([*DEFINITIONS, Whole])
    assert found.problems == ()
    page = found.pages["Whole"]
    assert [one.kind for one in page.parts] == ["text", "card", "card", "series", "series", "top", "steps"]
    assert [one.name for one in page.rollups] == ["ShopDaily", "Customers"]
    assert [(one.name, one.column, one.type, one.default) for one in page.parameters.values()] == [
        ("manager", None, "text", None), ("shop", "shop", "bigint", "7"),
    ]  # fmt: skip
    assert (page.parts[2].where, page.parts[2].metrics) == (("channel=ios", "channel=", 'channel=""'), ("cents",))
    assert (page.parts[3].title, page.parts[4].title, page.parts[5].title) == (
        "Orders, Cents", "Orders by channel", "Cents by shop",
    )  # fmt: skip


def test_python_of_a_page_is_that_page() -> None:
    """Whatever stands in its texts: the source runs, and says the same words."""
    words = json.loads(json.dumps(dict(written(Whole).words)))
    description = 'It\'s "quoted" \\ and ends with \\'
    source = as_python("Whole", description, words)
    room: dict[str, Any] = {"__name__": "exported"}
    exec(compile(source, "exported.py", "exec"), room)
    again = written(room["Whole"])
    assert json.loads(json.dumps(dict(again.words))) == words
    assert again.description == description
    known = Known(*(getattr(catalog(DEFINITIONS), name) for name in ("rollups", "funnels", "accesses")))
    one, other = checked(again, known)[0], checked(WrittenPage("Whole", "saved", description, words), known)[0]
    assert one is not None
    assert other is not None
    assert (one.parts, one.parameters, one.title) == (other.parts, other.parameters, other.title)
    assert class_name(words["title"]) == "ShopsQuotedNderPage"


@pytest.mark.parametrize(
    ("word", "last", "first"),
    [
        ("7d", "2026-03-08", "2026-03-02"), ("30d", "2026-03-08", "2026-02-07"), ("90d", "2026-03-08", "2025-12-09"),
        ("12m", "2026-03-08", "2025-03-09"), ("12m", "2026-02-28", "2025-03-01"), ("12m", "2025-12-31", "2025-01-01"),
        ("12m", "2024-02-28", "2023-03-01"), ("12m", "2025-02-28", "2024-03-01"),
        ("month", "2026-03-08", "2026-03-01"), ("year", "2026-03-08", "2026-01-01"),
    ],
)  # fmt: skip
def test_periods_end_with_their_last_day(word: str, last: str, first: str) -> None:
    """Both ends included; twelve months begin on the day after the same day of the year before."""
    found = days_of(word, dt.date.fromisoformat(last))
    assert (str(found.first), str(found.last)) == (first, last)


def test_periods_of_a_page() -> None:
    """They end today, or on the last covered day where that is earlier; days of one's own are taken as they are."""
    today, early = dt.date(2026, 3, 8), dt.date(2026, 3, 1)

    def asked(*words: str | None, covered: dt.date | None = None) -> tuple[str, str]:
        word, days = asked_days(*words, covered=covered, today=today)  # type: ignore[misc]
        return word, str(days)

    assert asked("7d", None, None, covered=dt.date(2026, 4, 1)) == ("7d", "2026-03-02..2026-03-08")
    assert asked(None, None, None, covered=early) == ("30d", "2026-01-31..2026-03-01")
    assert asked(None, "2026-01-01", None, covered=early) == ("custom", "2026-01-01..2026-03-08")
    assert asked("custom", "2026-01-01", "yesterday") == ("custom", "2026-01-01..2026-03-07")
    with pytest.raises(UsageError, match=r"There is no period '31d'; the nearest is '\w+'\."):
        asked("31d", None, None)
    with pytest.raises(UsageError, match=r"A period of one's own needs its first day\."):
        asked("custom", None, "2026-01-01")
    with pytest.raises(BadDate):
        asked("custom", "2026-02-30", None)
