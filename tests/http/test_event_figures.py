"""Rates of types and reports of campaigns and referrers, beside what the raw events say, on each engine."""

from __future__ import annotations

import collections
import datetime as dt
import random
from collections.abc import Iterator
from typing import Any

import pytest

from dayfold.errors import Forbidden, UnknownName
from dayfold.plan.access import EVERYTHING, Scope
from dayfold.query.event_figures import REPORTS
from tests.engines.ground import NOW, Ground
from tests.http.gathering import AGENT, Gathering, ago

BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.fixture
def gathering(store: Ground) -> Iterator[Gathering]:
    """A collector, on each engine."""
    with Gathering(store) as found:
        yield found


def visits(draw: random.Random) -> list[dict[str, Any]]:
    """Events of forty days, some of bots, some that nothing brought."""
    found = []
    for n in range(300):
        person = draw.randrange(25)
        found.append(
            {
                "event_type": draw.choice(["asset_viewed", "asset_viewed", "asset_bought", "signed_up"]),
                "occurred_at": ago(hours=draw.choice([0.5, 1, 1.5, 23, 30, 24 * draw.randrange(40)]), minutes=draw.randrange(50)),
                "anonymous_id": f"b{person}", "session_id": f"s{person}-{draw.randrange(3)}", "source": "web",
                "properties": {"project_id": f"p{n % 2}"}, "user_agent": draw.choice([AGENT, AGENT, BOT]),
                "page": "https://shop.example/" + draw.choice(["", "?utm_source=news&utm_campaign=spring", "?utm_medium=email"]),
                "attribution": {"referrer": draw.choice(["", "https://www.google.com/", "https://blog.example.org/x"])},
            }
        )  # fmt: skip
    return found


def test_rates_and_reports_are_what_the_events_say(gathering: Gathering) -> None:
    """Every span, every report, for everybody and for one project; a day that is cut off is not in it."""
    told = visits(random.Random(7))
    gathering.send(*told)
    app = gathering.app
    events = app.events(limit=1000).rows
    assert len(events) == 300
    for scope, mine in (
        (EVERYTHING, events),
        (Scope.of(None, {"project_id": ["p1"]}), [one for one in events if one["project_id"] == "p1"]),
        (Scope.of(["Daily"], {}), []),
    ):
        for span, width, count in (("day", 13, 24), ("month", 10, 30)):
            found = app.event_rates(span, scope=scope)
            wanted = collections.Counter(
                (one["event_type"], one["occurred_at"].isoformat()[:width].replace("+", "T")) for one in mine
            )
            assert len(found.starts) == count
            assert found.starts[-1][:width] == NOW.isoformat()[:width]
            assert [found.starts[-1], found.starts[0]] == sorted([found.starts[-1], found.starts[0]], reverse=True)
            for one in found.types:
                assert list(one.parts) == [wanted[one.event_type, start[:width]] for start in found.starts]
            lately = [one["event_type"] for one in mine if one["occurred_at"] > NOW - dt.timedelta(hours=1)]
            assert {one.event_type: one.hour for one in found.types if one.hour} == collections.Counter(lately)
            assert [one.total for one in found.types] == sorted((one.total for one in found.types), reverse=True)
    first, last = NOW.date() - dt.timedelta(days=9), NOW.date() - dt.timedelta(days=1)
    people = [one for one in events if not one["is_bot"] and first <= one["occurred_at"].date() <= last]
    for by, names in REPORTS.items():
        named = [one for one in people if any(one[name] is not None for name in names)]
        if by == "referrer":
            named = [one for one in people if one["referrer_class"] not in (None, "none", "internal")]
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for one in named:
            groups.setdefault(tuple(one[name] for name in names), []).append(one)
        found_ = app.event_report(by, first, "yesterday", scope=EVERYTHING)
        assert {row[: len(names)]: row[len(names) :] for row in found_.rows} == {
            key: figures(some) for key, some in groups.items()
        }
        assert found_.total == figures(named)
        assert len(found_.rows) > 0, by
        assert [row[-2] for row in found_.rows] == sorted((row[-2] for row in found_.rows), reverse=True)
        assert app.event_report(by, first, "yesterday", limit=1).rows == found_.rows[:1]


def figures(events: list[dict[str, Any]]) -> tuple[int, int, int]:
    """Events, visitors and sessions."""
    return (
        len(events),
        len({one["actor_id"] or one["anonymous_id"] for one in events} - {None}),
        len({one["session_id"] for one in events} - {None}),
    )


def test_nothing_of_an_empty_log_and_no_report_for_whom_events_are_kept_from(duck: Ground) -> None:
    """A report is of all events; where there is none, it is empty."""
    with Gathering(duck) as here:
        found = here.app.event_report("campaign", "-6d", "today")
        assert (found.rows, found.total) == ((), (0, 0, 0))
        assert here.app.event_rates().types == ()
        for scope in (Scope.of(None, {"project_id": ["p1"]}), Scope.of(["Daily"], {}), Scope.of(None, {"shop": ["1"]})):
            with pytest.raises(Forbidden):
                here.app.event_report("campaign", "-6d", "today", scope=scope)
        with pytest.raises(UnknownName, match="campaign"):
            here.app.event_report("campain", "-6d", "today")
        with pytest.raises(UnknownName):
            here.app.event_rates("week")
