"""Retain: raw events go behind sealed days, and nothing that was folded of them changes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dayfold import Count, Dayfold, Distinct, Increase, Min, Profile, Rollup, Sum, events
from dayfold.days import Days
from dayfold.errors import Sealed
from dayfold.fold.retain import Kept, Thing
from dayfold.ledger import events as log
from tests.eventlog import NOON, event, send
from tests.sql import store_config

TODAY = dt.date(2026, 3, 12)
DAY = NOON.date()
OLD = DAY - dt.timedelta(days=40)


class Daily(Rollup):
    """What happened in one project on one day."""

    key = "project_id"
    views = Count(events, at="occurred_at")
    visitors = Distinct(events, "actor_id", at="occurred_at")


class Recent(Rollup):
    """The same, but nothing of before."""

    since = DAY - dt.timedelta(days=30)
    views = Count(events, at="occurred_at")


class Grown(Rollup):
    """How much a level grew."""

    grew = Increase(events, "(props->>'n')::bigint", per="actor_id", at="occurred_at")


class Persons(Profile):
    """Who did how much, on how many days, by the days that are kept."""

    key = "project_id"
    views = Sum(Daily, "views")
    first_day = Min(Daily, "day")


class Begun(Rollup):
    """Projects by their first day."""

    projects = Count(Persons, at="first_day")


class Direct(Profile):
    """Who did how much, by the events."""

    key = "actor_id"
    views = Count(events)


class ByActor(Rollup):
    """What one person did on one day."""

    key = "actor_id"
    views = Count(events, at="occurred_at")


class Actors(Profile):
    """What one person did, by the days that are kept."""

    key = "actor_id"
    views = Sum(ByActor, "views")


class Clock:
    """Stands still at the noon of a day."""

    def now(self) -> dt.datetime:
        """The moment."""
        return dt.datetime.combine(TODAY, dt.time(12), dt.UTC)


@pytest.fixture
def make(store_url: str) -> Iterator[Callable[..., Dayfold]]:
    """Applications over one store, on each engine."""
    made: list[Dayfold] = []

    def make(*rollups: Any, **retain: int) -> Dayfold:
        if made:
            made.pop().close()
        said = [*(rollups or (Daily, Recent)), events.columns(project_id="text")]
        words = {**store_config(store_url, long_view=""), "retain": retain}
        made.append(Dayfold(said, words, clock=Clock()))
        return made[0]

    yield make
    for app in made:
        app.close()


def query(app: Dayfold, text: str) -> list[tuple[Any, ...]]:
    """What the store holds; ``_log``: the events."""
    values = {"_log": log.table(log.TABLE, app.ledger.store.schema)} if "_log" in text else {}
    with app.ledger.store.transaction(read_only=True) as session:
        return [tuple(row) for row in session.rows(app.ledger.sql(text, **values))]


def at(days: int) -> dt.datetime:
    """A noon, so many days after the oldest event."""
    return NOON - dt.timedelta(days=40 - days)


def some(app: Dayfold) -> None:
    """Events of three old days and of a late one, folded."""
    app.fold()
    send(
        app,
        event(1, occurred_at=at(0), actor_id="u"),
        event(2, occurred_at=at(0), actor_id="v"),
        event(3, occurred_at=at(1), actor_id="u"),
        event(4, occurred_at=at(5), actor_id="w"),
        event(5, occurred_at=NOON, actor_id="u"),
    )
    app.fold()


def answers(app: Dayfold) -> list[list[dict[str, Any]]]:
    """What is asked of old days."""
    asked = [("day", DAY), ("total", DAY)]
    return [app.query("Daily", from_=OLD, to=to, grain=grain).rows for grain, to in asked]


def of(found: Any, what: str) -> Thing:
    """One thing of what was found."""
    return next(one for one in found.things if one.what == what)


def test_nothing_is_deleted_that_nobody_asked_for(make: Callable[..., Dayfold]) -> None:
    """Events are kept for ever unless settings say otherwise, and looking deletes nothing."""
    app = make()
    some(app)
    assert [one.what for one in app.retain(yes=True).things if one.what in ("events", "quarantine")] == []
    app = make(events_days=20, quarantine_days=1)
    found = app.retain()
    assert (found.deleted, of(found, "events")) == (False, Thing("events", 4, OLD, OLD + dt.timedelta(days=5)))
    assert of(found, "quarantine") == Thing("quarantine", 0, None, None)
    assert found.sealed == {"Daily": 6}
    assert query(app, "select count(*) from _log") == [(5,)]
    assert query(app, "select count(*) from dayfold__coverage where state = 'sealed'") == [(0,)]


def test_events_go_and_what_was_folded_of_them_stays(make: Callable[..., Dayfold]) -> None:
    """Days are sealed, their events and ids go, and no answer, plan or proof changes."""
    app = make(events_days=20)
    some(app)
    before = answers(app)
    found = app.retain(yes=True)
    assert (found.deleted, of(found, "events"), found.kept) == (
        True,
        Thing("events", 4, OLD, OLD + dt.timedelta(days=5)),
        [],
    )
    assert found.sealed == {"Daily": 6}
    assert query(app, "select count(*) from _log") == [(1,)]
    assert query(app, "select count(*) from dayfold__event_ids") == [(1,)]
    assert query(app, "select count(*) from dayfold__marks") == [(0,)]
    assert answers(app) == before
    assert [one.cells for one in app.fold()] == [0, 0]
    assert answers(app) == before
    assert all(one.is_proved for one in app.verify(from_=OLD, to=TODAY))
    again = app.retain(yes=True)
    assert (of(again, "events").count, again.sealed, again.kept) == (0, {}, [])


def test_a_late_event_of_a_sealed_day_changes_nothing(make: Callable[..., Dayfold]) -> None:
    """It is kept until the next time, marks nothing that is computed, and goes then."""
    app = make(events_days=20)
    some(app)
    app.retain(yes=True)
    before = answers(app)
    send(app, event(6, occurred_at=at(0), actor_id="late"))
    assert [one.cells for one in app.fold()] == [0, 0]
    assert query(app, "select count(*) from dayfold__marks where rollup = 'Daily'") == [(0,)]
    assert answers(app) == before
    assert all(one.is_proved for one in app.verify(from_=OLD, to=TODAY))
    assert of(app.retain(yes=True), "events").count == 1
    assert answers(app) == before


def test_sealed_days_are_not_rebuilt(make: Callable[..., Dayfold]) -> None:
    """A rebuild, and an edited definition, are refused with the reason; the numbers stay."""
    app = make(events_days=20)
    some(app)
    app.retain(yes=True)
    with pytest.raises(Sealed) as caught:
        app.rebuild("Daily", from_=OLD, to=DAY)
    assert str(caught.value) == (
        f"Daily is sealed on {OLD}..{OLD + dt.timedelta(days=5)}: what its rows were folded from may be gone, and nothing "
        "computes them again.\n  Rebuild the days around them."
    )
    before = answers(app)

    class Edited(Daily):
        table = "daily"
        views = Count(events, at="occurred_at", where="actor_id is not null")

    Edited.__name__ = Edited.__qualname__ = "Daily"
    edited = make(Edited, events_days=20)
    [result] = edited.fold()
    assert result.error is not None
    assert "its sealed days" in result.error
    app = make(events_days=20)
    assert answers(app) == before


def test_days_that_cannot_be_sealed_are_kept(make: Callable[..., Dayfold]) -> None:
    """A day that waits to be folded, or that levels are compared with, stays, and why is said."""
    app = make(events_days=20)
    some(app)
    send(app, event(7, occurred_at=at(1), actor_id="x"))
    found = app.retain(yes=True)
    second = OLD + dt.timedelta(days=1)
    assert found.kept == [Kept(Days(second, second), 2, "Daily has changes of it to fold")]
    assert of(found, "events").count == 3
    assert query(app, "select count(*) from _log") == [(3,)]
    assert [one.cells for one in app.fold()] == [1, 0]
    app = make(Daily, Recent, Grown, events_days=20)
    found = app.retain()
    assert found.kept == [Kept(Days(second, second), 2, "Grown was never folded")]
    app.fold()
    found = app.retain(yes=True)
    assert found.kept == [Kept(Days(second, second), 2, "Grown.grew compares levels with those of earlier days")]


def test_events_go_behind_a_profile_over_their_days(make: Callable[..., Dayfold]) -> None:
    """It holds what the days hold, and so does what is over it; a profile that reads events itself would forget, and keeps them."""
    app = make(Daily, Persons, Begun, Direct, events_days=20)
    app.fold()
    send(app, event(1, occurred_at=at(0), project_id="p"), event(2, occurred_at=at(1), project_id="p"))
    app.fold()
    why = "Direct is of whole lives, and would forget them; fold a rollup of them, and the profile over that"
    found = app.retain(yes=True)
    assert found.kept == [Kept(Days(OLD, OLD + dt.timedelta(days=1)), 2, why)]
    app = make(Daily, Persons, Begun, events_days=20)
    found = app.retain(yes=True)
    assert (of(found, "events").count, found.kept) == (2, [])
    assert set(found.sealed) <= {"Daily"}
    assert query(app, "select count(*) from _log") == [(0,)]
    send(app, event(3, occurred_at=NOON, project_id="p"))
    app.fold()
    assert app.rebuild("Persons").cells == 0
    assert app.profile("Persons", {"project_id": "p"}).found["views"] == 3
    assert [one.drifted for one in app.verify()] == [0, 0, 0]
    assert app.query("Begun", from_=OLD, to=OLD).rows[0]["projects"] == 1


def test_erased_person_leaves_the_profile_over_sealed_days(make: Callable[..., Dayfold]) -> None:
    """Also where no event of theirs is left: what they did then is somebody's whom nobody knows."""
    app = make(ByActor, Actors, events_days=20)
    app.fold()
    send(app, event(1, occurred_at=at(0), actor_id="u"), event(2, occurred_at=at(1), actor_id="v"))
    app.fold()
    app.retain(yes=True)
    found = app.erase(actor=["u"])
    assert found.refolded == [{"rollup": "Actors", "cells": 3, "error": None}]
    [(one, first), (other, second)] = query(app, "select actor_id, views from actors order by actor_id desc")
    assert (one, first, other[:7], second) == ("v", 1, "erased-", 1)
    assert [done.rows_inserted + done.rows_deleted for done in app.fold()] == [0, 0]
    assert [one.drifted for one in app.verify()] == [0, 0]


def test_held_events_go_after_their_time(make: Callable[..., Dayfold]) -> None:
    """Quarantine has a time of its own."""
    app = make(quarantine_days=10)
    app.fold()
    with app.ledger.store.transaction() as session:
        for number, day in ((1, "2026-02-01"), (2, "2026-03-11")):
            session.execute(
                app.ledger.sql(
                    "insert into dayfold__quarantine (id, event_id, reason, detail, event_type, trust, occurred_at, received_at, body) "
                    f"values ('00000000-0000-0000-0000-00000000000{number}'::uuid, '00000000-0000-0000-0000-000000000001'::uuid, "
                    f"'undeclared', '', 'x', 'public', timestamptz '{day} 10:00:00+00', timestamptz '{day} 10:00:00+00', '')"
                )
            )
    day = dt.date(2026, 2, 1)
    assert of(app.retain(), "quarantine") == Thing("quarantine", 1, day, day)
    assert of(app.retain(yes=True), "quarantine") == Thing("quarantine", 1, day, day)
    assert query(app, "select count(*) from dayfold__quarantine") == [(1,)]


def test_ids_of_erased_events_go_with_their_day(make: Callable[..., Dayfold]) -> None:
    """What says that an event was erased is kept as long as events of its day would be."""
    app = make(events_days=20)
    some(app)
    app.erase(["w"])
    assert query(app, "select count(*) from dayfold__event_ids") == [(5,)]
    app.retain(yes=True)
    assert query(app, "select count(*) from dayfold__event_ids") == [(1,)]
