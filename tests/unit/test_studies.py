"""Cohorts and funnels as they are written: every mistake with its place and the nearest name."""

from __future__ import annotations

from typing import Any

import pytest

from dayfold import Avg, Cohort, Count, Distinct, Formula, Funnel, Max, Min, Profile, Rollup, Sum, Table
from dayfold.define.catalog import catalog

sold = Table("orders")


class Customers(Profile):
    """One row per customer."""

    key = ("shop", "customer")
    first_at = Min(sold, "made_at")
    second_at = Formula("first_at + interval '1 day'")
    orders = Count(sold)


class CustomerDaily(Rollup):
    """What they do."""

    key = ("customer", "shop", "place")
    orders = Count(sold, at="made_at")
    cents = Sum(sold, "cents", at="made_at")
    age = Sum(sold, "age", at="made_at")
    places = Distinct(sold, "place", at="made_at")
    mean = Avg(sold, "cents", at="made_at")
    most = Max(sold, "cents", at="made_at")


class ShopDaily(Rollup):
    """What shops do."""

    key = "shop"
    orders = Count(sold, at="made_at")


class Foreign(Profile):
    """Not among the definitions."""

    key = "customer"
    first_at = Min(sold, "made_at")


COHORT: dict[str, Any] = {"profile": Customers, "start": "first_at", "activity": CustomerDaily}
FUNNEL: dict[str, Any] = {"profile": Customers, "steps": ("first_at", "second_at")}
MISTAKES: list[tuple[type, dict[str, Any], str, str]] = [
    (Cohort, {"profile": None}, "bad-source", "profile is a Profile, got None."),
    (Cohort, {"profile": ShopDaily}, "bad-source", "profile is a Profile, got ShopDaily."),
    (Cohort, {"profile": Foreign}, "bad-source", "profile is Foreign, which is none of these definitions."),
    (Cohort, {"activity": Customers}, "bad-source", "activity is a Rollup, got Customers."),
    (Cohort, {"activity": ShopDaily}, "unknown-column",
     "activity is ShopDaily, whose key has no customer: it does not say what one entity of Customers does."),
    (Cohort, {"start": 3}, "bad-value", "start is the name of a column, got 3."),
    (Cohort, {"start": "frist_at"}, "unknown-column",
     "start names 'frist_at', which is no column of Customers; the nearest is 'first_at'."),
    (Cohort, {"start": "orders"}, "bad-moment", "start names 'orders' (count), which is no moment."),
    (Cohort, {"active": "orders >"}, "bad-expression", "active: 'orders >' cannot be read: near '>' at column 8."),
    (Cohort, {"active": "ordrs > 1"}, "unknown-metric",
     "active names 'ordrs', which is no metric of CustomerDaily; the nearest is 'orders'."),
    (Cohort, {"active": "places > 1"}, "bad-metric",
     "active names 'places' (distinct), and CustomerDaily may have several rows of an entity on a day."),
    (Cohort, {"values": ("cents", "cents")}, "duplicate-name", "values names one twice: cents, cents."),
    (Cohort, {"values": 3}, "bad-value", "values is a metric's name or a tuple of them, got 3."),
    (Cohort, {"values": "cnts"}, "unknown-metric",
     "values names 'cnts', which is no metric of CustomerDaily; the nearest is 'cents'."),
    (Cohort, {"values": "mean"}, "bad-metric", "values names 'mean' (avg), which is no Sum and no Count."),
    (Cohort, {"values": "age"}, "reserved-name", "the value 'age' is called as a column of every answer is."),
    (Cohort, {"activ": "orders > 1"}, "unknown-attribute", "a Cohort has no attribute 'activ'; the nearest is 'active'."),
    (Funnel, {"steps": "first_at"}, "bad-value", "a Funnel has 2 to 30 steps, got 1."),
    (Funnel, {"steps": ("first_at", "secnd_at")}, "unknown-column",
     "steps names 'secnd_at', which is no column of Customers; the nearest is 'second_at'."),
    (Funnel, {"window_days": 0}, "bad-value", "window_days is a number of days from 1 to 36,500, or None, got 0."),
    (Funnel, {"values": "x"}, "unknown-attribute", "a Funnel has no attribute 'values'."),
]  # fmt: skip


@pytest.mark.parametrize(("base", "words", "code", "message"), MISTAKES, ids=[one[3] for one in MISTAKES])
def test_mistakes(base: type, words: dict[str, Any], code: str, message: str) -> None:
    """One mistake, told with its place; what is wrong is not there."""
    cls = type("Wrong", (base,), {**(COHORT if base is Cohort else FUNNEL), **words, "__module__": __name__})
    found = catalog([Customers, CustomerDaily, ShopDaily, cls])
    [problem] = found.problems
    assert (problem.code, problem.subject, problem.message) == (code, "Wrong", message)
    assert problem.place.startswith("test_studies.py:")
    assert not {**found.cohorts, **found.funnels}


def test_what_is_right_is_in_the_catalog() -> None:
    """Inherited words count; a condition may name what adds up; a class without its words says which it needs."""

    class Base(Cohort):
        """Words for several."""

        profile, start, activity = Customers, "second_at", CustomerDaily

    class Retention(Base):
        """Who comes back."""

        active = "orders > 1 and most > 10"
        values = "cents"

    class Steps(Funnel):
        """In order."""

        profile, steps, window_days = Customers, ["first_at", "second_at"], 30

    found = catalog([Customers, CustomerDaily, Retention, Steps])
    assert found.problems == ()
    cohort, funnel = found.cohorts["Retention"], found.funnels["Steps"]
    assert (cohort.description, cohort.values, cohort.condition_metrics) == (
        "Who comes back.",
        ("cents",),
        ("most", "orders"),
    )
    assert (funnel.steps, funnel.window_days) == (("first_at", "second_at"), 30)
    empty = catalog([Customers, type("Bare", (Cohort,), {})])
    assert [one.message for one in empty.problems] == [
        "a Cohort needs profile.", "a Cohort needs start.", "a Cohort needs activity.",
    ]  # fmt: skip
    twice = catalog([Customers, type("Customers", (Funnel,), {**FUNNEL})])
    assert twice.problems[0].code == "duplicate-name"
