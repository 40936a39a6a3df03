"""Funnels: both counts against plain Python over random moments, on both engines."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

import pytest

from dayfold import First, Funnel, Min, Profile
from dayfold.errors import QueryRefused, UnknownName
from dayfold.plan.access import Scope
from tests.engines.ground import NOW, Ground

TODAY = NOW.date()
COLUMNS = "org text, id bigint, plan text, seen timestamptz, tried timestamp, paid timestamptz, due date"
STEPS = ("seen", "tried", "paid")
Row = dict[str, Any]
MIDNIGHT = dt.datetime.combine(TODAY, dt.time())


def define(ground: Ground) -> list[type]:
    """A profile with moments of three types, and funnels over them."""
    source = ground.table("persons")

    class People(Profile):
        """One row per person."""

        key = ("org", "id")
        plan = First(source, "plan", at="seen")
        seen = Min(source, "seen")
        tried = Min(source, "tried")
        paid = Min(source, "paid")
        due = Min(source, "due")

    class Buying(Funnel):
        """Seen, tried, paid within a week."""

        profile, steps, window_days = People, STEPS, 7

    class Ever(Funnel):
        """However long it takes."""

        profile, steps = People, ("seen", "paid")

    class ByDay(Funnel):
        """A date says no time of day."""

        profile, steps, window_days = People, ("tried", "due"), 3

    return [People, Buying, Ever, ByDay]


def world(ground: Ground, seed: int) -> list[Row]:
    """Random people, of whom each step is before, at, after, or long after the one before, or never was; not folded."""
    draw = random.Random(seed)
    people = []
    for number in range(150):
        at = MIDNIGHT - dt.timedelta(days=draw.randrange(-2, 25), minutes=draw.choice([0, 1, 700]))
        found: list[dt.datetime | None] = [at]
        for _ in range(2):
            steps = [
                dt.timedelta(0),
                dt.timedelta(hours=-1),
                dt.timedelta(days=3),
                dt.timedelta(days=7),
                dt.timedelta(days=7, seconds=1),
            ]
            at += draw.choice(steps)
            found.append(at)
        seen, tried, paid = (one if draw.random() < 0.8 else None for one in found)
        people.append(
            {
                "org": draw.choice("ab"), "id": number, "plan": draw.choice(["x", "y", None]),
                "seen": seen and seen.replace(tzinfo=dt.UTC), "tried": tried, "paid": paid and paid.replace(tzinfo=dt.UTC),
                "due": paid and paid.date(),
            }
        )  # fmt: skip
    ground.load("persons", COLUMNS, people)
    ground.define(*define(ground))
    return people


def expected(
    people: Sequence[Row],
    steps: Sequence[str],
    window: int | None,
    first: dt.date,
    last: dt.date,
    *,
    by_day: bool = False,
) -> dict[str, list[tuple[int, int | None]]]:
    """For both counts how many are at each step and, of the cohort, how many who went no further still may."""
    ends = dt.datetime.combine(TODAY, dt.time()) + dt.timedelta(days=1)
    reached, still, on = ([0] * len(steps) for _ in range(3))
    for one in people:
        moments: list[dt.datetime | None] = []
        for name in steps:
            at = one[name]
            if isinstance(at, dt.datetime):
                at = at.replace(tzinfo=None)
            if at is not None and (by_day or not isinstance(at, dt.datetime)):
                at = dt.datetime.combine(at, dt.time())
            moments.append(at)
        for n, at in enumerate(moments):
            on[n] += at is not None and first <= at.date() <= min(last, TODAY)
        start = moments[0]
        if start is None or not first <= start.date() <= min(last, TODAY):
            continue
        end = None if window is None else start + dt.timedelta(days=window)
        depth = 0
        before = start
        for at in moments:
            if at is None or at < before or at >= ends or (end is not None and at > end):
                break
            depth, before = depth + 1, at
            reached[depth - 1] += 1
        if depth < len(steps) and (end is None or end >= MIDNIGHT):
            still[depth - 1] += 1
    return {"cohort": list(zip(reached, still, strict=True)), "days": [(count, None) for count in on]}


def told(rows: Sequence[Row]) -> dict[str, list[tuple[int, int | None]]]:
    """The same of an answer's rows."""
    return {
        what: [(row["entities"], row["open"]) for row in rows if row["counts"] == what] for what in ("cohort", "days")
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_funnels_are_what_people_did(store: Ground, seed: int) -> None:
    """Order, window and open windows, of moments of every type; and the counts of days beside them."""
    people = world(store, seed)
    store.fold()
    app = store.opened
    for back, forth in ((20, 0), (13, 4), (8, 8), (9, -3)):
        first, last = TODAY - dt.timedelta(days=back), TODAY + dt.timedelta(days=-forth)
        for name, steps, window in (
            ("Buying", STEPS, 7),
            ("Ever", ("seen", "paid"), None),
            ("ByDay", ("tried", "due"), 3),
        ):
            answer = app.funnel(name, from_=first, to=last)
            assert told(answer.rows) == expected(people, steps, window, first, last, by_day=name == "ByDay"), (
                name,
                first,
            )
            cohort = [row for row in answer.rows if row["counts"] == "cohort"]
            for before, row in zip([None, *cohort], cohort, strict=False):
                assert row["rate_from_first"] == (
                    row["entities"] / cohort[0]["entities"] if cohort[0]["entities"] else None
                )
                assert row["rate_from_first"] is None or row["rate_from_first"] <= 1
                assert row["rate_from_previous"] == (
                    row["entities"] / before["entities"] if before and before["entities"] else None
                )
        answer = app.funnel("Buying", from_=first, to=last, by=["plan"], where=["org=a"])
        for plan in {row["plan"] for row in answer.rows}:
            some = [one for one in people if one["org"] == "a" and first_plan(one) == plan]
            rows = [row for row in answer.rows if row["plan"] == plan]
            assert told(rows) == expected(some, STEPS, 7, first, last), (plan, first)


def first_plan(one: Row) -> str | None:
    """What the profile has: a fact without its moment is left out."""
    return str(one["plan"]) if one["plan"] is not None and one["seen"] is not None else None


def test_both_counts_say_what_they_are(store: Ground) -> None:
    """Two labelled answers side by side; who sees no profile knows of no funnel; what was never folded is refused."""
    people = world(store, 3)
    app = store.opened
    with pytest.raises(QueryRefused, match=r"People was never folded\."):
        app.funnel("Buying", from_="-7d", to="today")
    store.fold()
    found = app.funnel("Buying", from_="-20d", to="today").as_object()
    assert found["days"]["label"].startswith("counts of days, not of the same customers")
    assert [row["moment"] for row in found["cohort"]["rows"]] == list(STEPS)
    assert ("open" in found["cohort"]["rows"][0], "open" in found["days"]["rows"][0]) == (True, False)
    limited = app.funnel("Buying", from_="-20d", to="today", scope=Scope.of(None, {"org": ["a"]}))
    mine = [one for one in people if one["org"] == "a"]
    assert told(limited.rows) == expected(mine, STEPS, 7, TODAY - dt.timedelta(days=20), TODAY)
    with pytest.raises(UnknownName, match=r"^There is no funnel 'Buying'\.\n  Funnels: none"):
        app.funnel("Buying", from_="-7d", to="today", scope=Scope.of(None, {"plan": ["x"]}))
    none = app.funnel("Buying", from_=TODAY + dt.timedelta(days=1), to=TODAY + dt.timedelta(days=2))
    assert {row["entities"] for row in none.rows} == {0}
