"""The event log as a source: whatever is written to it marks its cells, and the rows are what the events say."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dayfold import Count, Dayfold, Distinct, Gauge, Increase, Max, Rollup, Sum, Table, events
from dayfold.errors import DefinitionError, StoreAltered
from dayfold.ledger import events as log
from tests.eventlog import NOON, event, send
from tests.sql import store_config

TODAY = dt.date(2026, 3, 12)
ASSETS = events.columns(project_id="text", asset_id="bigint")


class Daily(Rollup):
    """What happened with one asset on one day."""

    key = ("project_id", "asset_id")
    views = Count(events, at="occurred_at", where="event_type = 'asset_viewed'")
    visitors = Distinct(events, "coalesce(actor_id, anonymous_id)", at="occurred_at")
    revenue_cents = Sum(events, "(props->>'revenue_cents')::bigint", at="occurred_at")
    seconds = Sum(events, "(props->>'seconds')::bigint", at="occurred_at", trust="public")


class Clock:
    """Stands still at the noon of a day."""

    def now(self) -> dt.datetime:
        """The moment."""
        return dt.datetime.combine(TODAY, dt.time(12), dt.UTC)


Make = Callable[..., Dayfold]


@pytest.fixture
def make(store_url: str) -> Iterator[Make]:
    """Applications over one store, on each engine."""
    made = []

    def make(*rollups: Any, **store: Any) -> Dayfold:
        if made:
            made.pop().close()
        app = Dayfold([*(rollups or (Daily,)), ASSETS], store_config(store_url, **store), clock=Clock())
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


def rows(app: Dayfold, rollup: str = "Daily") -> list[tuple[Any, ...]]:
    """The rows as they are stored."""
    name = app.catalog[rollup].table
    metrics = list(app.catalog[rollup].metrics)
    keys = list(app.catalog[rollup].key)
    with app.ledger.store.transaction(read_only=True) as session:
        names = ", ".join(f'"{one}"' for one in ["day", *keys, *metrics])
        query = app.ledger.sql(f"select {names} from _t order by 1, 2, 3", _t=log.table(name, app.ledger.store.schema))
        return [tuple(row) for row in session.rows(query)]


def marked(app: Dayfold) -> list[tuple[str | None, dt.date | None]]:
    """The marked cells."""
    with app.ledger.store.transaction(read_only=True) as session:
        found = session.rows(app.ledger.sql("select distinct key, day from dayfold__marks order by 2, 1"))
    return [tuple(row) for row in found]


DAY = NOON.date()


def test_events_are_folded_and_mark_their_cells(make: Make) -> None:
    """A late event makes its own cell stale and no other; a repetition none."""
    app = make()
    app.fold()
    assert rows(app) == []
    send(
        app,
        event(1, project_id="p", asset_id=7, anonymous_id="a", props={"seconds": 4}),
        event(2, project_id="p", asset_id=7, anonymous_id="a", actor_id="u"),
        event(3, project_id="p", asset_id=8, trust="server", event_type="sold", props={"revenue_cents": 250}),
    )
    assert marked(app) == [('["p","7"]', DAY), ('["p","8"]', DAY)]
    app.fold()
    assert rows(app) == [(DAY, "p", 7, 2, 2, 0, 4), (DAY, "p", 8, 0, 0, 250, 0)]
    assert marked(app) == []
    send(app, event(1, project_id="p", asset_id=7, anonymous_id="a", props={"seconds": 4}))
    assert marked(app) == []
    send(app, event(4, project_id="p", asset_id=8, occurred_at=NOON - dt.timedelta(days=400)))
    assert marked(app) == [('["p","8"]', DAY - dt.timedelta(days=400))]
    [result] = app.fold()
    assert result.cells == 1
    assert rows(app)[0][:4] == (DAY - dt.timedelta(days=400), "p", 8, 1)
    assert [one.cells for one in app.fold()] == [0]
    assert all(one.is_proved for one in app.verify(from_=DAY, to=TODAY))


def test_changed_and_deleted_events_mark_their_cells(make: Make) -> None:
    """Whoever writes to the log, in whatever way: the old cell and the new one are stale."""
    app = make()
    app.fold()
    send(
        app,
        event(1, project_id="p", asset_id=7),
        event(2, project_id="q", asset_id=7),
        event(3, project_id="q", asset_id=9),
    )
    app.fold()
    table = log.table(log.TABLE, app.ledger.store.schema)
    with app.ledger.store.transaction() as session:
        session.execute(app.ledger.sql("update _t set project_id = 'r' where project_id = 'p'", _t=table))
        session.execute(app.ledger.sql("delete from _t where asset_id = 9", _t=table))
    assert marked(app) == [('["p","7"]', DAY), ('["q","9"]', DAY), ('["r","7"]', DAY)]
    app.fold()
    assert [row[1:4] for row in rows(app)] == [("q", 7, 1), ("r", 7, 1)]


def test_money_of_a_browser_is_no_revenue(make: Make) -> None:
    """Anybody may send anything with the key of a page; a metric that counts it says so."""
    app = make()
    app.fold()
    sold = {"revenue_cents": 100, "seconds": 3}
    send(
        app,
        event(1, project_id="p", asset_id=1, props=sold),
        event(2, project_id="p", asset_id=1, trust="server", props=sold),
    )
    app.fold()
    assert [row[5:] for row in rows(app)] == [(100, 6)]


@pytest.mark.in_turn
@pytest.mark.parametrize(
    "poison",
    ["abc", {"a": 1}, [1], 1e30, 1e-30, "99999999999999999999", "9" * 70, True, "", "1e999", "NaN", -1e25, None],
)
def test_what_one_event_says_keeps_no_other_from_being_folded(make: Make, poison: Any) -> None:
    """Whatever anybody sends in place of a number is none: it is not counted, and everything else is."""

    class Cast(Rollup):
        key = ("project_id",)
        n = Count(events, at="occurred_at")
        whole = Sum(events, "(props->>'v')::bigint", at="occurred_at", trust="public")
        money = Sum(events, "(props->>'v')::numeric(6,2)", at="occurred_at", trust="public")
        short = Sum(events, "(props->>'v')::numeric(2,2)", at="occurred_at", trust="public")
        real = Sum(events, "(props->>'v')::double precision", at="occurred_at", trust="public", scale=2)
        large = Count(events, at="occurred_at", where="(props->>'v')::bigint > 4")
        yes = Count(events, at="occurred_at", where="(props->>'v')::boolean and event_type = 'asked'")
        ids = Distinct(events, "(props->>'v')::uuid", at="occurred_at")

    app = make(Cast)
    app.fold()
    send(
        app, event(1, project_id="p", asset_id=1, props={"v": poison}), event(2, project_id="p", asset_id=1, props={"v": 5}),
        event(3, project_id="p", asset_id=1, event_type="asked", props={"v": "yes"}),
    )  # fmt: skip
    [result] = app.fold()
    assert (result.status, result.error) == ("done", None)
    [row] = rows(app, "Cast")
    assert (row[2:4], str(row[4]), row[7:]) == ((3, 5), "5.00", (1, 1, 0))
    assert all(one.is_proved for one in app.verify(from_=DAY, to=DAY))


def test_trust_is_said_of_numbers_from_properties(make: Make) -> None:
    """Every number of an event is guarded alike; where it means nothing, that is said."""

    class Guarded(Rollup):
        key = ("project_id", "asset_id")
        greatest = Max(events, "(props->>'n')::bigint", at="occurred_at")
        anybody = Max(events, "(props->>'n')::bigint", at="occurred_at", trust="public")
        level = Gauge(events, "(properties->>'n')::bigint", at="occurred_at")
        grew = Increase(events, "(props->>'n')::bigint", per="asset_id", at="occurred_at")
        events = Count(events, at="occurred_at")

    app = make(Guarded)
    app.fold()
    send(
        app,
        event(1, project_id="p", asset_id=1, props={"n": 9}),
        event(2, project_id="p", asset_id=1, trust="server", props={"n": 5}),
        event(3, project_id="p", asset_id=1, trust="server", props={"n": 8}, occurred_at=NOON + dt.timedelta(days=1)),
    )
    app.fold()
    assert [row[3:] for row in rows(app, "Guarded")] == [(5, 9, 5, 5, 2), (8, 8, 8, 3, 1)]

    class Wrong(Rollup):
        orders = Sum(Table("orders"), "amount", at="made_at", trust="public")
        cents = Sum(events, "(props->>'cents')::bigint", at="occurred_at", trust="everybody")
        people = Distinct(events, "actor_id", at="occurred_at", trust="public")

    with pytest.raises(DefinitionError) as caught:
        Dayfold([Wrong]).catalog.check()
    assert [one.message for one in caught.value.problems] == [
        "trust is said of events, and the source is Table('orders').",
        "trust is one of server, public, got 'everybody'.",
        "Distinct has no option 'trust'.",
    ]


def test_an_increase_over_events_follows_a_late_level(make: Make) -> None:
    """A level that comes late changes the next observed day too."""

    class Levels(Rollup):
        key = ("project_id",)
        grew = Increase(events, "(props->>'n')::bigint", per="asset_id", at="occurred_at")
        seen = Count(events, at="occurred_at")

    app = make(Levels)
    app.fold()
    days = [NOON - dt.timedelta(days=n) for n in (9, 5, 1)]
    known = {"project_id": "p", "asset_id": 1, "trust": "server"}
    send(
        app,
        event(1, occurred_at=days[0], props={"n": 10}, **known),
        event(2, occurred_at=days[2], props={"n": 30}, **known),
    )
    app.fold()
    assert [row[2] for row in rows(app, "Levels")] == [10, 20]
    send(app, event(3, occurred_at=days[1], props={"n": 25}, **known))
    app.fold()
    assert [row[2] for row in rows(app, "Levels")] == [10, 15, 5]


def test_an_edited_rollup_misses_no_event(make: Make) -> None:
    """What comes before, while and after a definition changes is counted once, in both rollups over the log."""
    app = make()
    app.fold()
    send(app, event(1, project_id="p", asset_id=1))
    app.fold()

    class Edited(Rollup):
        table = "daily"
        key = ("project_id", "asset_id")
        clicks = Count(events, at="occurred_at", where="event_type = 'clicked'")
        views = Count(events, at="occurred_at", where="event_type = 'asset_viewed'")

    class Other(Rollup):
        key = ("project_id", "asset_id")
        total = Count(events, at="occurred_at")

    Edited.__name__ = "Daily"
    app = make(Edited, Other)
    send(app, event(2, project_id="p", asset_id=1))
    app.fold()
    send(app, event(3, project_id="p", asset_id=1), event(4, project_id="p", asset_id=2, event_type="clicked"))
    app.fold(["Other"])
    assert [row[3:] for row in rows(app)] == [(0, 2)]
    app.fold(["Daily"])
    assert [row[2:] for row in rows(app)] == [(1, 0, 3), (2, 1, 0)]
    assert [row[2:] for row in rows(app, "Other")] == [(1, 3), (2, 1)]


def test_looking_makes_no_log(make: Make) -> None:
    """A plan over events that nobody has sent yet writes nothing, and says nothing of triggers."""
    app = make()
    [plan] = app.plan()
    assert (plan.action, plan.facts, plan.warnings) == ("create", 0, [])
    assert not log.exists(app.ledger)
    app.fold()
    [plan] = app.plan()
    assert (plan.action, plan.warnings) == ("refresh", [])


def test_the_log_is_in_the_stores_schema(make: Make) -> None:
    """A store with a schema of its own has the events there too."""
    app = make(schema=f"metrics_{secrets.token_hex(4)}")
    app.fold()
    send(app, event(1, project_id="p", asset_id=1))
    app.fold()
    assert len(rows(app)) == 1
    send(app, event(2, project_id="p", asset_id=1))
    [result] = app.fold()
    assert (result.cells, result.marked) == (1, 1)
    assert all(one.is_proved for one in app.verify())


def test_triggers_are_installed_before_the_first_event(make: Make) -> None:
    """Installing them in a new store makes the log that they stand on."""
    app = make()
    app.track_install()
    app.fold()
    send(app, event(1, project_id="p", asset_id=1))
    assert marked(app) == [('["p","1"]', DAY)]


def test_triggers_that_somebody_dropped_are_made_again(make: Make) -> None:
    """What was written meanwhile is not lost: the fold looks at everything again."""
    app = make()
    app.fold()
    send(app, event(1, project_id="p", asset_id=1))
    app.fold()
    app.track_remove()
    send(app, event(2, project_id="p", asset_id=1, occurred_at=NOON - dt.timedelta(days=90)))
    app.fold()
    assert [row[3] for row in rows(app)] == [1, 1]
    send(app, event(3, project_id="p", asset_id=1))
    assert marked(app) == [('["p","1"]', DAY)]


def test_a_declared_column_of_another_type_is_refused(make: Make, store_url: str) -> None:
    """A column holds what it was made for."""
    app = make()
    app.fold()
    other = Dayfold([Daily, events.columns(project_id="text", asset_id="text")], store_config(store_url))
    app.close()
    with other, pytest.raises(StoreAltered, match="columns of other types than are declared: asset_id"):
        other.fold()


def test_doctor_knows_the_indexes_of_the_log(make: Make) -> None:
    """It is made with one for moments, in the schema of the store; nobody is told to make another."""
    app = make(schema=f"metrics_{secrets.token_hex(4)}")
    assert [one for one in app.doctor() if one.level != "ok"] == [], "there is no log yet"
    app.fold()
    found = [(one.level, one.message) for one in app.doctor() if one.subject == "dayfold_events"]
    is_postgres = app.ledger.store.dialect.name == "postgres"
    assert found == ([("ok", "an index begins with occurred_at")] if is_postgres else [])


def test_a_key_that_no_event_has_is_to_be_declared(make: Make) -> None:
    """What helps with a table of somebody's own is no help with the log."""

    class Lost(Rollup):
        key = "shop_id"
        views = Count(events, at="occured_at")

    with pytest.raises(DefinitionError) as caught:
        make(Lost).fold()
    key, moment = caught.value.problems
    assert key.message == "the key column 'shop_id': dayfold_events has no column 'shop_id'."
    assert key.hint.endswith('\nDeclare it: events.columns(shop_id="text").')
    assert moment.message == "dayfold_events has no column 'occured_at'; the nearest is 'occurred_at'."
    assert moment.hint.startswith("Columns: id, ")
    assert "\n" not in moment.hint
