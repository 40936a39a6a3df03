"""The salon example on both engines: every number of every customer and location against a count by hand."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from tests.examples.salon import (
    COLUMNS,
    CUSTOMERS,
    EXAMPLE,
    KEY,
    NOW,
    PROFILE,
    ROWS,
    TODAY,
    Stamps,
    differences,
    module,
    run_by_hand,
    stamps,
    stored_locations,
    stored_profiles,
)
from tests.examples.salon_oracle import (
    Columns,
    Person,
    Spot,
    Tables,
    locations,
    profiles,
    reached,
    read_tables,
    retention,
)
from tests.servers import PostgresServer
from tests.sql import Session, run_sql, store_config

DAY = dt.timedelta(days=1)
#: The present moves on by so many days, without a row being touched: midnights at which segments and windows change.
LATER = (1, 45)


class Salon:
    """The example, loaded into one database that is source and store."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.clock = FixedClock(NOW)
        self.definitions = folder / "metrics.py"
        self.definitions.write_text((EXAMPLE / "metrics.py").read_text())
        self.load = module("load")
        assert self.load.load(url, CUSTOMERS, TODAY) == ROWS
        self._app: Dayfold | None = None

    @property
    def app(self) -> Dayfold:
        """The application, opened when it is first asked for; one DuckDB file has one owner."""
        if self._app is None:
            self._app = Dayfold(self.definitions, store_config(self.url), clock=self.clock)
        return self._app

    @property
    def today(self) -> dt.date:
        return self.clock.instant.date()

    def close(self) -> None:
        if self._app is not None:
            self._app.close()
            self._app = None

    def fold(self) -> dict[str, Any]:
        """The runs of a fold that went well, an hour after the one before."""
        self.clock.instant += dt.timedelta(hours=1)
        runs = {run.rollup: run for run in self.app.fold()}
        assert {run.error for run in runs.values()} == {None}
        return runs

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement, past the product."""
        self.close()
        return run_sql(self.url, statement)

    def tables(self) -> Tables:
        self.close()
        return read_tables(self.url)

    def state(self) -> State:
        """What is stored, and what should be."""
        tables = self.tables()
        return State(
            stored_profiles(self.url),
            profiles(tables, self.today),
            stored_locations(self.url),
            locations(tables, self.today),
            stamps(self.url),
        )


@dataclass(frozen=True)
class State:
    """The two tables at a moment, beside the count by hand."""

    profiles: dict[Person, Columns]
    true_profiles: dict[Person, Columns]
    locations: dict[Spot, tuple[int, ...]]
    true_locations: dict[Spot, tuple[int, ...]]
    stamps: Stamps

    def check(self) -> None:
        assert differences(self.profiles, self.true_profiles) == []
        assert self.locations == self.true_locations


@dataclass(frozen=True)
class Week:
    """The salon with its triggers: loaded, after the bad week, and on some later days; with the runs in between."""

    salon: Salon
    loaded: State
    changed: State
    runs: dict[str, Any]
    later: dict[int, State]
    later_runs: dict[int, dict[str, Any]]


def live_through(salon: Salon) -> Week:
    salon.app.track_install()
    for run in salon.fold().values():
        assert run.warnings == []
    loaded = salon.state()
    assert salon.load.apply_changes(salon.url, TODAY) > 30
    runs = salon.fold()
    changed = salon.state()
    later, later_runs = {}, {}
    for days in LATER:
        salon.clock.instant = NOW + days * DAY
        later_runs[days] = salon.fold()
        later[days] = salon.state()
    return Week(salon, loaded, changed, runs, later, later_runs)


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def week(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    """One for all tests of a worker that leave the tables as they were."""
    folder = tmp_path_factory.mktemp("salon")
    with ExitStack() as stack:
        url = f"duckdb:///{folder}/store.duckdb"
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = stack.enter_context(server.database())
        salon = Salon(url, folder)
        stack.callback(salon.close)
        yield live_through(salon)


def written(run: Any) -> int:
    return int(run.rows_inserted + run.rows_updated + run.rows_deleted)


def changed_rows(before: dict[Any, Any], after: dict[Any, Any]) -> int:
    """How many rows two states do not have in common."""
    return sum(before.get(key) != after.get(key) for key in before.keys() | after.keys())


def test_data_hold_the_cases(week: Week) -> None:
    """Loaded rows have what breaks home-made analytics; otherwise equal numbers would prove little."""
    before, after = week.loaded.true_profiles, week.changed.true_profiles
    segments = Counter(one["customer_segment"] for one in before.values())
    assert min(segments[name] for name in ("prospect", "new", "active", "at_risk", "lost")) > 10
    assert {customer for organization, customer in before if organization == 1} & {
        customer for organization, customer in before if organization == 2
    }
    assert before[1, "C000001"]["booking_notes_count"] > len(before[1, "C000001"]["booking_notes"]) == 20
    assert any(one["total_bookings"] and not one["total_accepted_bookings"] for one in before.values())
    assert any(one["next_booking_at"] and not one["last_booking_at"] for one in before.values())
    assert any(one["days_since_first_booking"] and one["days_since_first_booking"] < 0 for one in before.values())
    assert sum(before.get(key, {}).get("first_booking_at") != after[key]["first_booking_at"] for key in after) > 20
    assert {(1, "C000046"), (1, "C000063"), (2, "C000063")} <= before.keys() - after.keys()
    assert {(2, "C900001"), (2, "C900002"), (1, "C900004")} <= after.keys() - before.keys()
    assert after[2, "C000052"]["customer_created_at"] is None
    assert after[2, "C000014"]["referred_by_customer_id"] is not None


def test_every_number_of_every_customer_is_the_count_by_hand(week: Week) -> None:
    """After the first fold, after rows came late, moved, went and changed their customer, and on days when nothing happened."""
    for state in (week.loaded, week.changed, *week.later.values()):
        state.check()


def test_table_has_the_columns_in_their_order(week: Week) -> None:
    """The key, the columns of the salon's own job, one more, and what every table has."""
    found = week.salon.sql(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'customer_analytics' ORDER BY ordinal_position"
    )
    names = [name for (name,) in found]
    assert names[: len(KEY) + len(COLUMNS)] == [*KEY, *COLUMNS]
    assert len(KEY) + len(COLUMNS) == 65
    assert sorted(names[65:]) == ["created_at", "run_id", "updated_at", "visits"]


def test_refresh_writes_what_differs(week: Week) -> None:
    """Rows written are those that differ, and only theirs are the stamps that move."""
    run = week.runs[PROFILE]
    assert written(run) == changed_rows(week.loaded.profiles, week.changed.profiles)
    assert written(run) <= run.cells
    for person, found in week.changed.stamps.items():
        is_same = week.loaded.profiles.get(person) == week.changed.profiles[person]
        assert (found == week.loaded.stamps.get(person)) == is_same, person


def test_refreshing_again_writes_nothing(week: Week) -> None:
    """On the same day nobody is computed, and a row that was touched and stayed the same is no change."""
    before = week.salon.state().stamps
    week.salon.sql("UPDATE bookings SET note = note WHERE id % 50 = 2")
    runs = week.salon.fold()
    assert {written(run) for run in runs.values()} == {0}
    assert week.salon.state().stamps == before


def test_midnight_changes_what_the_calendar_changes(week: Week) -> None:
    """Segments move on their day with no row touched: somebody becomes at risk, somebody lost; nobody else's row is written."""
    states = [week.changed, *week.later.values()]
    moves = Counter(
        (before.profiles[person]["customer_segment"], one["customer_segment"])
        for before, after in pairwise(states)
        for person, one in after.profiles.items()
    )
    assert {("new", "active"), ("active", "at_risk"), ("at_risk", "lost")} <= moves.keys()
    overnight = week.later[1].profiles
    assert any(
        one["customer_segment"] != overnight[person]["customer_segment"]
        for person, one in week.changed.profiles.items()
    )
    for (days, state), before in zip(week.later.items(), states, strict=False):
        assert written(week.later_runs[days][PROFILE]) == changed_rows(before.profiles, state.profiles)


@pytest.mark.in_turn
def test_segments_of_each_day_are_as_its_last_refresh_left_them(week: Week) -> None:
    """A size for each day with a refresh, of the customers as they were then; days without one have none."""
    rows = week.salon.sql("select day, organization_id, customer_segment, customers from customer_segments_daily")
    kept: dict[dt.date, Counter[tuple[Any, Any]]] = {}
    for day, organization, segment, customers in rows:
        kept.setdefault(day, Counter())[organization, segment] = customers
    states = {TODAY: week.changed, **{TODAY + days * DAY: state for days, state in week.later.items()}}
    true = {
        day: Counter((person[0], one["customer_segment"]) for person, one in state.true_profiles.items())
        for day, state in states.items()
    }
    assert kept == true


@pytest.mark.in_turn
def test_who_comes_back_and_who_goes_on_is_the_count_by_hand(week: Week) -> None:
    """Every cohort and age since the first, with what was paid; and the steps from the record to the first payment."""
    salon = week.salon
    tables, today = salon.tables(), salon.today
    rows = salon.app.cohort(
        "BookingRetention", from_=min(tables.bookings, key=lambda one: one.start).start.date(), to=today
    ).rows
    found = {
        (row["cohort"].replace(day=1), row["age"]): (row["size"], row["active"], row["revenue_cents"])
        for row in rows
        if row["size"]
    }
    assert found == retention(tables, today)
    since = today - 365 * DAY
    steps = salon.app.funnel("BookingFunnel", from_=since, to=today).of("cohort")
    assert [row["entities"] for row in steps] == reached(tables, since, today)
    assert steps[0]["entities"] > steps[2]["entities"] > 0


@pytest.mark.in_turn
def test_cancelled_first_booking_moves_the_new_customer(week: Week) -> None:
    """The day and place that a customer was new on lose them; where they are new now has them."""
    salon = week.salon
    state = salon.state()
    person = next(
        person
        for person, one in sorted(state.profiles.items())
        if one["total_accepted_bookings"] > 3 and one["first_booking_at"].date() < TODAY - 400 * DAY
    )
    [(first, status)] = salon.sql(
        f"SELECT id, status FROM bookings WHERE organization_id = {person[0]} AND customer_id = '{person[1]}' "
        "AND status = 'ACCEPTED' ORDER BY start_at, id LIMIT 1"
    )
    salon.sql(f"UPDATE bookings SET status = 'CANCELLED' WHERE id = {first}")
    salon.fold()
    cancelled = salon.state()
    salon.sql(f"UPDATE bookings SET status = '{status}' WHERE id = {first}")
    salon.fold()
    back = salon.state()
    cancelled.check()
    assert cancelled.profiles[person]["first_booking_at"] > state.profiles[person]["first_booking_at"]
    assert back.profiles == state.profiles
    assert back.locations == state.locations
    new = [sum(figures[3] for figures in one.locations.values()) for one in (state, cancelled, back)]
    assert new[0] == new[1] == new[2]
    assert changed_rows(state.locations, cancelled.locations) == 2


@pytest.mark.in_turn
def test_walk_ins_are_appointments_and_no_customers(week: Week) -> None:
    """Bookings without a customer count for their location, and nobody has them."""
    tables = week.salon.tables()
    state = week.salon.state()
    walk_ins = [one for one in tables.bookings if one.customer is None]
    assert len(walk_ins) > 100
    assert sum(one["total_bookings"] for one in state.profiles.values()) == len(tables.bookings) - len(walk_ins)
    kept = [one for one in tables.bookings if one.status == "ACCEPTED" and one.start.date() <= week.salon.today]
    assert sum(figures[0] for figures in state.locations.values()) == len(kept)


@pytest.mark.in_turn
def test_full_refresh_changes_nothing(week: Week) -> None:
    """What single refreshes made is what a computation of everybody from nothing makes."""
    salon = week.salon
    before = salon.state().stamps
    salon.clock.instant += dt.timedelta(hours=1)
    found = salon.app.rebuild(PROFILE)
    assert (found.cells, found.moves) == (0, [])
    assert salon.state().stamps == before


#: For each check, what it must not overlook: a table, of which a copy is spoiled, and how.
SPOILED = {
    "NoDuplicateCustomers": ("customer_analytics", "INSERT INTO spoiled SELECT * FROM spoiled WHERE $one"),
    "FirstBookingIsNotAfterLast": (
        "customer_analytics",
        "UPDATE spoiled SET first_booking_at = last_booking_at + INTERVAL '1 second' WHERE $one",
    ),
    "CountsEqualTheSource": ("customer_analytics", "UPDATE spoiled SET total_no_shows = total_no_shows + 1 WHERE $one"),
    "RevenueEqualsTheSource": (
        "customer_analytics",
        "UPDATE spoiled SET total_revenue_cents = total_revenue_cents + 1 WHERE $one",
    ),
    "NoCustomerIsMissing": ("customer_analytics", "DELETE FROM spoiled WHERE $one"),
    "NoCustomerIsInvented": (
        "customer_analytics",
        "UPDATE spoiled SET square_customer_id = 'C800000' WHERE $one",
    ),
    "SegmentsFollowFromDates": ("customer_analytics", "UPDATE spoiled SET customer_segment = 'prospect' WHERE $one"),
    "NewCustomersEqualFirstBookings": (
        "analytics_appointments_by_location_daily",
        "DELETE FROM spoiled WHERE new_customers > 0 AND organization_id = 2 AND location_id = 'L-GARDEN'",
    ),
}
ONE = "organization_id = 1 AND square_customer_id = 'C000001'"


def passes(session: Session, check: Any, table: str = "", instead: str = "") -> bool:
    """The verdict of a check's own SQL, with one table read instead of another."""

    def rows(text: str) -> list[tuple[Any, ...]]:
        return session.run(text.replace(table, instead) if table else text)

    if hasattr(check, "query"):
        return not rows(check.query)
    return rows(check.left) == rows(check.right)


@pytest.mark.in_turn
@pytest.mark.parametrize("name", SPOILED)
def test_check_passes_and_fails_where_rows_are_spoiled(week: Week, name: str) -> None:
    """Each of the eight holds of the stored rows, and sees the one row that is wrong."""
    table, statement = SPOILED[name]
    check = getattr(module("metrics"), name)
    week.salon.close()
    with Session(week.salon.url) as session:
        session.run(f"CREATE TEMP TABLE spoiled AS SELECT * FROM {table}")
        assert passes(session, check)
        assert passes(session, check, table, "spoiled")
        session.run(statement.replace("$one", ONE))
        assert not passes(session, check, table, "spoiled")


@pytest.mark.in_turn
def test_checks_of_the_example_run_and_name_what_fails(week: Week) -> None:
    """All eight pass on what was folded; after somebody changed a stored number, the one that sees it fails, and it alone."""
    salon = week.salon
    assert {one.name: one.verdict for one in salon.app.check()} == dict.fromkeys(SPOILED, "passed")
    change = f"UPDATE customer_analytics SET total_revenue_cents = total_revenue_cents + $1 WHERE {ONE}"
    salon.sql(change.replace("$1", "1"))
    failed = [one.name for one in salon.app.check() if one.verdict != "passed"]
    salon.sql(change.replace("$1", "-1"))
    assert failed == ["RevenueEqualsTheSource"]


@pytest.mark.in_turn
@pytest.mark.parametrize("days", [0, 9])
def test_sql_by_hand_of_the_benchmark_is_right(store_url: str, days: int) -> None:
    """The rival of the benchmark computes the same, or its time would say nothing."""
    load = module("load")
    load.load(store_url, CUSTOMERS, TODAY)
    load.apply_changes(store_url, TODAY)
    today = TODAY + days * DAY
    run_by_hand(store_url, today)
    assert differences(stored_profiles(store_url, "by_hand"), profiles(read_tables(store_url), today)) == []
