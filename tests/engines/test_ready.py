"""The definitions that ship with the package: sessions and visitors over real events, on both engines."""

from __future__ import annotations

import datetime as dt
from typing import Any

from dayfold import Formula, events, ready
from dayfold.define.catalog import catalog
from tests.engines.ground import NOW, Ground
from tests.eventlog import event, send

NINE = dt.datetime(2026, 3, 9, 9, tzinfo=dt.UTC)
LOG = events.columns(site="text")


class Sessions(ready.Sessions):
    """Those of one site."""

    key = ("site", "session_id")
    is_bounce = Formula("page_views <= 1 and engaged_seconds < 10")


class SessionsDaily(ready.SessionsDaily, over=Sessions):
    """By site."""

    key = "site"


def at(minutes: float, number: int, session: str, kind: str = "page_viewed", **more: Any) -> dict[str, Any]:
    """An event so many minutes after nine."""
    found = event(
        number, occurred_at=NINE + dt.timedelta(minutes=minutes), event_type=kind, session_id=session, site="s", **more
    )
    return {
        **found,
        "page": more.get("page", f"https://s.example/{number}"),
        "anonymous_id": more.get("anonymous_id", "b1"),
    }


SENT = [
    at(0, 1, "one", channel="search", referrer="https://g.example/", utm_campaign=None, device_type="phone", country="FR"),
    at(0.5, 2, "one", "page_engaged", props={"engagement_time": 20}),
    at(2.01, 3, "one", channel="direct", actor_id="anna"),
    at(2.5, 4, "one", "page_engaged", props={"engagement_time": "no number"}),
    at(1, 5, "bot", is_bot=True),
    at(600, 6, "two", channel="email", utm_source="news", utm_medium="email", utm_campaign="spring", anonymous_id="b2"),
    at(600.2, 7, "two", "page_engaged", props={"engagement_time": 4}, anonymous_id="b2"),
    at(1440, 8, "three", anonymous_id="b9", actor_id="anna", first_source="google", page="https://s.example/late"),
    at(1441, 9, "three", "page_engaged", props={"engagement_time": 30}, anonymous_id="b9", actor_id="anna"),
]  # fmt: skip


def begin(ground: Ground) -> None:
    """The definitions over an empty log, folded, and then events that are folded."""
    ground.define(
        Sessions, SessionsDaily, ready.Visitors, ready.VisitorsDaily, ready.VisitorDaily, ready.VisitorRetention, LOG  # type: ignore[arg-type]
    )  # fmt: skip
    ground.fold()
    send(ground.opened, *SENT)
    ground.fold()


def test_sessions_and_visitors_are_what_the_events_say(store: Ground) -> None:
    """Bots are in none; sums of what pages say skip what is no number; a late event is in its session and its visitor."""
    begin(store)
    columns = "session_id, duration_seconds, events, page_views, engaged_seconds, is_bounce, channel, utm_campaign, device, visitor"
    assert store.stored(f"select {columns} from sessions order by started_at") == [
        ("one", 150, 4, 2, 20, False, "search", None, "phone", "anna"),
        ("two", 12, 2, 1, 4, True, "email", "spring", None, "b2"),
        ("three", 60, 2, 1, 30, False, None, None, None, "anna"),
    ]
    seen = "visitor, sessions, page_views, engaged_seconds, first_page, last_page, first_source"
    assert store.stored(f"select {seen} from visitors order by visitor") == [
        ("anna", 2, 2, 30, "https://s.example/3", "https://s.example/late", "google"),
        ("b1", 1, 1, 20, "https://s.example/1", "https://s.example/1", None),
        ("b2", 1, 1, 4, "https://s.example/6", "https://s.example/6", None),
    ]
    app = store.define(
        Sessions, SessionsDaily, ready.Visitors, ready.VisitorsDaily, ready.VisitorDaily, ready.VisitorRetention, LOG
    )
    send(app, at(-5, 10, "one", channel="social"))
    assert [run.cells for run in app.fold()][:1] == [1]
    [first, second] = app.query("SessionsDaily", from_="2026-03-09", to="2026-03-10", where=["site=s"]).rows
    assert (first["sessions"], first["visitors"], first["bounce_rate"], first["mean_duration_seconds"]) == (
        2,
        2,
        0.5,
        231.0,
    )
    assert (second["sessions"], second["bounces"], second["pages_per_session"]) == (1, 0, 1.0)
    assert [row["new_visitors"] for row in app.query("VisitorsDaily", from_="2026-03-09", to="2026-03-10").rows] == [
        3,
        0,
    ]
    ages = app.cohort("VisitorRetention", from_="2026-03-09", to="2026-03-09", grain="day", periods=2).rows
    assert [(row["size"], row["active"], row["page_views_cumulative"]) for row in ages] == [(3, 3, 4), (3, 1, 5)]
    assert all(one.is_proved for one in app.verify(from_=NINE.date(), to=NOW.date()))
    assert sum(run.rows_inserted + run.rows_updated + run.rows_deleted for run in app.fold()) == 0


def test_what_ships_is_right_as_it_is() -> None:
    """Every definition of the module together has no mistake, and stands in its own file."""
    classes = [getattr(ready, name) for name in ready.__all__]
    found = catalog(classes)
    assert found.problems == ()
    assert {str(one.place).partition(":")[0] for one in (*found.rollups.values(), *found.cohorts.values())} == {
        "ready.py"
    }
    assert catalog([Sessions, SessionsDaily]).rollups["SessionsDaily"].place.file == __file__
