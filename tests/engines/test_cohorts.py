"""Cohorts: who came back, against plain Python over random histories, on both engines."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import pytest

from dayfold import Case, Cohort, Count, First, Max, Min, Profile, Ratio, Rollup, Sum
from dayfold.days import bucket_end, bucket_start
from dayfold.errors import QueryRefused, UnknownName, UsageError
from dayfold.plan.access import Scope
from tests.engines.ground import NOW, Ground

TODAY = NOW.date()
SIGNUPS = "org text, customer bigint, plan text, made_at timestamptz, made_on date"
VISITS = "org text, customer bigint, place text, made_at timestamptz, cents bigint"
Row = dict[str, Any]
Key = tuple[str, int]
#: Before it there are no facts; a month of 28 days and the turn of a year lie after it.
FIRST = dt.date(2025, 11, 20)
SPAN = (TODAY - FIRST).days


def define(ground: Ground) -> list[type]:
    """A profile whose start is no moment of the activity, a rollup by its key, and one with a key column more."""
    signup, visit = ground.table("signups"), ground.table("visits")

    class Customers(Profile):
        """One row per customer."""

        key = ("org", "customer")
        joined_at = Min(signup, "made_at")
        joined_on = Min(signup, "made_on")
        plan = First(signup, "plan", at="made_at")
        tier = Case({"paying": "plan = 'gold'"}, default="free")

    class CustomerDaily(Rollup):
        """What a customer did on a day."""

        key = ("customer", "org")
        visits = Count(visit, at="made_at")
        cents = Sum(visit, "cents", at="made_at")

    class PlaceDaily(Rollup):
        """What a customer did on a day in one place."""

        key = ("org", "place", "customer")
        visits = Count(visit, at="made_at")
        cents = Sum(visit, "cents", at="made_at")
        largest = Max(visit, "cents", at="made_at")
        mean = Ratio("cents", "visits")

    class Retention(Cohort):
        """Who comes back."""

        profile, start, activity, values = Customers, "joined_at", CustomerDaily, ("cents", "visits")

    class Loyal(Cohort):
        """Who comes twice a day, wherever, or spends much."""

        profile, start, activity, values = Customers, "joined_on", PlaceDaily, "cents"
        active = "visits > 1 and (mean > 20 or largest between 30 and 90)"

    return [Customers, CustomerDaily, PlaceDaily, Retention, Loyal]


def moment(draw: random.Random) -> dt.datetime:
    """A moment of the span, now and then at the edge of a day, and now and then in the future."""
    day = FIRST + dt.timedelta(days=draw.randrange(SPAN + 6))
    time = draw.choice([dt.time(), dt.time(23, 59, 59, 999_999), dt.time(12)])
    return dt.datetime.combine(day, time, dt.UTC)


def world(ground: Ground, seed: int) -> tuple[list[Row], list[Row]]:
    """A random history, folded: customers with and without visits, some of them before they joined."""
    draw = random.Random(seed)
    who = [(org, customer) for org in ("a", "b") for customer in range(12)]
    signups = [
        {
            "org": org,
            "customer": customer,
            "plan": draw.choice(["gold", "basic", None]),
            "made_at": at,
            "made_on": at.date(),
        }
        for org, customer in who
        if (at := moment(draw)) and draw.random() < 0.9
    ]
    visits = [
        {
            "org": org,
            "customer": customer,
            "place": draw.choice("xyz"),
            "made_at": moment(draw),
            "cents": draw.randrange(-5, 100),
        }
        for org, customer in draw.choices(who[:-3], k=220)
    ]
    visits.append(
        {"org": "a", "customer": 0, "place": "x", "made_at": dt.datetime.combine(FIRST, dt.time(), dt.UTC), "cents": 1}
    )
    ground.load("signups", SIGNUPS, signups)
    ground.load("visits", VISITS, visits)
    ground.define(*define(ground))
    ground.fold()
    return signups, visits


def is_active(name: str, visits: list[Row]) -> bool:
    """Whether a customer with these visits on a day was active."""
    if name == "Retention":
        return bool(visits)
    cents = [one["cents"] for one in visits]
    return len(cents) > 1 and (sum(cents) / len(cents) > 20 or 30 <= max(cents) <= 90)


def expected(
    name: str, signups: Iterable[Row], visits: Iterable[Row], first: dt.date, last: dt.date, grain: str, *,
    unbounded: bool, split: bool,
) -> list[Row]:  # fmt: skip
    """The answer, customer by customer."""
    values = ("cents", "visits") if name == "Retention" else ("cents",)
    groups: dict[tuple[Any, ...], list[tuple[Key, dt.date]]] = {}
    if not split:
        day = first
        while day <= min(last, TODAY):
            groups.setdefault((bucket_start(day, grain),), [])
            day += dt.timedelta(days=1)
    for one in signups:
        start = one["made_on"]
        if first <= start <= min(last, TODAY):
            tier = "paying" if one["plan"] == "gold" else "free"
            key = (bucket_start(start, grain), *((tier,) if split else ()))
            groups.setdefault(key, []).append(((one["org"], one["customer"]), start))
    days: dict[tuple[Key, dt.date], list[Row]] = {}
    for one in visits:
        days.setdefault(((one["org"], one["customer"]), one["made_at"].date()), []).append(one)
    rows = []
    for key, members in sorted(groups.items()):
        totals = dict.fromkeys(values, 0)
        period, age = key[0], 0
        while period <= TODAY:
            end = bucket_end(period, grain)
            active = 0
            found = dict.fromkeys(values, 0)
            for who, start in members:
                mine = {day: some for (other, day), some in days.items() if other == who and start <= day <= TODAY}
                until = TODAY if unbounded else end
                active += any(period <= day <= until and is_active(name, some) for day, some in mine.items())
                inside = [one for day, some in mine.items() if period <= day <= end for one in some]
                found["cents"] += sum(one["cents"] for one in inside)
                if "visits" in found:
                    found["visits"] += len(inside)
            row = {
                "cohort": max(key[0], first),
                **({"tier": key[1]} if split else {}),
                "size": len(members),
                "age": age,
            }
            row |= {"period": max(period, first), "active": active, "rate": active / len(members) if members else None}
            for value in values:
                totals[value] += found[value]
                per = float(Fraction(totals[value], len(members))) if members else None
                row |= {value: found[value], f"{value}_cumulative": totals[value], f"{value}_per_entity": per}
            rows.append({**row, "partial": end >= TODAY})
            period, age = end + dt.timedelta(days=1), age + 1
    return rows


@pytest.mark.parametrize("seed", [1, 2])
def test_cohorts_are_what_customers_did(store: Ground, seed: int) -> None:
    """Every grain, bounded and not, split and not, over ranges that cut periods: each number is the oracle's."""
    signups, visits = world(store, seed)
    draw = random.Random(seed)
    edges = [FIRST, dt.date(2025, 12, 1), dt.date(2025, 12, 29), dt.date(2026, 1, 31), dt.date(2026, 2, 28), TODAY]
    for name in ("Retention", "Loyal"):
        for grain in ("day", "week", "month"):
            for unbounded in (False, True):
                first, last = sorted(draw.sample(edges, 2))
                last += dt.timedelta(days=draw.choice([0, 9]))
                split = draw.random() < 0.5
                asked = {"from_": first, "to": last, "grain": grain, "unbounded": unbounded}
                answer = store.opened.cohort(name, by=["tier"] if split else [], **asked)
                wanted = expected(name, signups, visits, first, last, grain, unbounded=unbounded, split=split)
                assert answer.rows == wanted, (name, asked, split)
                assert answer.missing == []
                assert all(row["rate"] is None or row["rate"] <= 1 for row in answer.rows)


def test_at_most_so_many_ages_and_those_of_ones_own(store: Ground) -> None:
    """`periods` bounds the ages; filters and rights are of both tables, and who may not see one of them knows of no cohort."""
    signups, visits = world(store, 3)
    app = store.opened
    asked = {"from_": FIRST, "to": TODAY}
    whole = app.cohort("Retention", **asked).rows
    assert app.cohort("Retention", periods=2, **asked).rows == [row for row in whole if row["age"] < 2]
    mine = [[one for one in some if one["org"] == "a"] for some in (signups, visits)]
    wanted = expected("Retention", *mine, FIRST, TODAY, "month", unbounded=False, split=False)
    limited = Scope.of(None, {"org": ["a"]})
    assert app.cohort("Retention", where=["org=a"], **asked).rows == wanted != whole
    assert app.cohort("Retention", scope=limited, **asked).rows == wanted
    nobodys = app.cohort("Retention", scope=limited, where=["org=b"], **asked).rows
    assert {row["size"] for row in nobodys} == {0}
    for scope in (
        Scope.of(["Customers"], {}), Scope.of(["CustomerDaily"], {}), Scope.of(None, {"place": ["x"]}), Scope.of(None, {"shop": []}),
    ):  # fmt: skip
        with pytest.raises(UnknownName, match=r"^There is no cohort 'Retention'\.\n"):
            app.cohort("Retention", scope=scope, **asked)
    listed = Scope.of(["Customers", "CustomerDaily"], {})
    assert app.cohort("Retention", scope=listed, **asked).rows == whole
    with pytest.raises(UnknownName, match=r"^There is no cohort 'Loyal'\.\n  Cohorts: Retention"):
        app.cohort("Loyal", scope=listed, **asked)


def test_missing_is_not_zero(store: Ground) -> None:
    """An age of which a day is not covered is null with the reason; days before the first start of a cohort need no cover."""
    world(store, 4)
    later = TODAY + dt.timedelta(days=1)
    store.clock.instant = NOW + dt.timedelta(days=1)
    try:
        answer = store.opened.cohort("Retention", from_=FIRST - dt.timedelta(days=30), to=later, grain="week")
        running = bucket_start(later, "week")
        for row in answer.rows:
            is_unknown = row["period"] == running and row["size"] > 0
            assert (row["active"] is None, row["cents"] is None, row["cents_cumulative"] is None) == (is_unknown,) * 3
        [gap] = answer.missing
        assert (gap.days.first, gap.days.last, gap.reason) == (later, later, "never folded")
        unbounded = store.opened.cohort("Retention", from_=FIRST, to=later, grain="week", unbounded=True)
        assert {row["active"] for row in unbounded.rows if row["size"]} == {None}
        store.fold()
        assert store.opened.cohort("Retention", from_=FIRST, to=later, grain="week").missing == []
    finally:
        store.clock.instant = NOW


def test_what_cannot_be_answered_is_refused(store: Ground) -> None:
    """Tables that were never folded, edited definitions, columns that do not fit, and words that are none."""
    store.load("signups", SIGNUPS, [])
    store.load("visits", VISITS, [])
    classes = define(store)
    app = store.define(*classes)

    def refused(**words: Any) -> str:
        with pytest.raises(UsageError) as error:
            app.cohort("Retention", **{"from_": "-30d", "to": "today", **words})
        return str(error.value)

    assert "Customers was never folded." in refused()
    app.fold(["Customers"])
    assert "CustomerDaily was never folded." in refused()
    app.fold()
    assert "grain is one of day, week, month, got 'months'; the nearest is 'month'." in refused(grain="months")
    assert "periods is a number from 1 on, got 0." in refused(periods=0)
    assert "Customers has no column 'plam' to split by; the nearest is 'plan'." in refused(by=["plam"])
    assert "Customers.joined_at is timestamptz, and an answer is split by" in refused(by=["joined_at"])
    assert "Customers has no key column 'plan' to filter by." in refused(where=["plan=gold"])
    assert "The range ends before it starts" in refused(to="-40d")
    customers, daily = classes[:2]

    class Odd(Cohort):
        """Whose start is a word."""

        profile, start, activity = customers, "plan", daily

    app = store.define(*classes, Odd)
    with pytest.raises(QueryRefused, match=r"Customers\.plan is text, expected a timestamp or a date\."):
        app.cohort("Odd", from_="-30d", to="today")
    assert app.cohort("Retention", from_=TODAY + dt.timedelta(days=2), to=TODAY + dt.timedelta(days=9)).rows == []
    store.source("drop table signups")
    app = store.define(*classes)
    app.fold()
    answer = app.cohort("Retention", from_="-30d", to="today", by=["tier"])
    [said] = answer.as_object()["remarks"]
    assert said.startswith("Customers: stale: joined_at, tier, plan: failed: ")
    limited = app.cohort("Retention", from_="-30d", to="today", scope=Scope.of(None, {"org": ["a"]}))
    assert limited.remarks()[-1] == "Customers: stale: joined_at: failed"
