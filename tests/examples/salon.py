"""The salon example as the tests load it, and what its tables hold."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import math
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from tests.examples.salon_oracle import Columns, Person, Spot
from tests.sql import Session, is_duckdb

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "salon"
NOW = dt.datetime(2026, 3, 10, 12, 0, tzinfo=dt.UTC)
TODAY = NOW.date()
#: A tenth of the example's size.
CUSTOMERS = 700
ROWS = 14_007
PROFILE, ROLLUP = "CustomerAnalytics", "AnalyticsAppointmentsByLocationDaily"
#: The columns that a salon's own job has, in their order; the key comes before them.
_NAMES = """
    customer_created_at first_booking_at last_booking_at next_booking_at first_location_id last_location_id first_service_id
    last_service_id total_bookings total_accepted_bookings total_cancelled total_no_shows total_pending bookings_30d bookings_90d
    bookings_365d no_shows_90d cancellations_90d no_show_rate cancellation_rate acceptance_rate days_since_first_booking
    days_since_last_booking days_until_next_booking avg_days_between_visits visits_per_month active_months favourite_location_id
    favourite_service_id favourite_team_member_id favourite_weekday favourite_hour locations_count services_count team_members_count
    total_booked_minutes avg_booked_minutes total_revenue_cents payments_count avg_ticket_cents min_ticket_cents max_ticket_cents
    first_payment_at last_payment_at last_payment_cents refunded_cents refunds_count failed_payments_count tips_cents
    revenue_30d_cents revenue_90d_cents revenue_365d_cents revenue_per_visit_cents is_referrer referrals_count
    referred_by_customer_id referral_rewards_cents booking_notes booking_notes_count last_note_at customer_segment value_tier
    reliability_score
"""
COLUMNS = _NAMES.split()
KEY = ("organization_id", "square_customer_id")
Stamps = dict[Person, tuple[Any, ...]]


def module(name: str) -> Any:
    """A file of the example."""
    spec = importlib.util.spec_from_file_location(f"salon_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


def stored_profiles(url: str, table: str = "customer_analytics") -> dict[Person, Columns]:
    """Every customer's columns as a table holds them, in Python's own kinds."""
    names = [*COLUMNS, "visits"]
    with Session(url) as session:
        rows = session.run(f"SELECT {', '.join([*KEY, *names])} FROM {table}")
    found = {
        (organization, customer): dict(zip(names, map(_plain, names, values), strict=True))
        for organization, customer, *values in rows
    }
    assert len(found) == len(rows)
    return found


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC)
    if isinstance(value, Decimal):
        assert value == int(value)
        return int(value)
    return json.loads(value) if name == "booking_notes" and isinstance(value, str) else value


def differences(found: dict[Person, Columns], expected: dict[Person, Columns]) -> list[tuple[Any, ...]]:
    """Every value that two states do not have in common: whose, of which column, as it is and as it should be."""
    wrong: list[tuple[Any, ...]] = [(person, "row") for person in found.keys() ^ expected.keys()]
    for person in found.keys() & expected.keys():
        mine, theirs = found[person], expected[person]
        wrong += [(person, name, mine[name], theirs[name]) for name in theirs if not _is_same(mine[name], theirs[name])]
    return wrong


def _is_same(one: Any, other: Any) -> bool:
    """The same kind and value; doubles may differ in the last digit, where sums were divided in another order."""
    if type(one) is not type(other):
        return False
    return math.isclose(one, other, rel_tol=1e-12) if isinstance(one, float) else bool(one == other)


def stored_locations(url: str) -> dict[Spot, tuple[int, ...]]:
    """What the rollup's table holds."""
    with Session(url) as session:
        rows = session.run(
            "SELECT organization_id, location_id, day, appointments, no_shows, revenue_cents, new_customers "
            "FROM analytics_appointments_by_location_daily"
        )
    return {(organization, location, day): tuple(map(int, figures)) for organization, location, day, *figures in rows}


def stamps(url: str) -> Stamps:
    """When each customer's row was made and last changed, and by which run."""
    with Session(url) as session:
        rows = session.run(f"SELECT {', '.join(KEY)}, created_at, updated_at, run_id FROM customer_analytics")
    return {(organization, customer): tuple(found) for organization, customer, *found in rows}


def run_by_hand(url: str, today: dt.date) -> None:
    """The table `by_hand` is there, as the benchmark's own SQL makes it."""
    engine = "duckdb" if is_duckdb(url) else "postgres"
    sql = (ROOT / "benchmarks" / "sql" / f"{engine}_salon.sql").read_text().replace("$today", f"'{today} 00:00:00+00'")
    connection: Any = (
        duckdb.connect(url.removeprefix("duckdb:///")) if is_duckdb(url) else psycopg.connect(url, autocommit=True)
    )
    with connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(sql)
