"""The salon's numbers by hand: every column of every customer and every day of every location, from plain rows.

It reads the tables as they are and counts in Python; it imports nothing of the product and none of its SQL.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.sql import Session

Person = tuple[int, str]
Columns = dict[str, Any]
Spot = tuple[int, str, dt.date]
DAY = dt.timedelta(days=1)
NEW, ACTIVE, AT_RISK = 30, 60, 120
TIERS = (("vip", 150_000), ("high", 60_000), ("medium", 15_000), ("low", 1))
NOTES = 20


class Booking(NamedTuple):
    id: int
    organization: int
    customer: str | None
    location: str
    start: dt.datetime
    status: str
    service: str | None
    member: str | None
    minutes: int | None
    note: str | None


class Payment(NamedTuple):
    id: int
    organization: int
    customer: str | None
    location: str
    cents: int
    tip: int
    status: str
    paid: dt.datetime | None


class Referral(NamedTuple):
    id: int
    organization: int
    customer: str
    activated: dt.datetime | None
    referrer: str | None
    count: int
    rewards: int
    created: dt.datetime


@dataclass
class Life:
    """All rows of one customer."""

    records: list[dt.datetime] = field(default_factory=list)
    bookings: list[Booking] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    referrals: list[Referral] = field(default_factory=list)


@dataclass
class Tables:
    """All rows of the booking system."""

    customers: list[tuple[int, str, dt.datetime]]
    bookings: list[Booking]
    payments: list[Payment]
    referrals: list[Referral]

    def lives(self) -> dict[Person, Life]:
        """The rows of each customer; rows without one are nobody's."""
        lives: dict[Person, Life] = defaultdict(Life)
        for organization, customer, created in self.customers:
            lives[organization, customer].records.append(created)
        for booking in self.bookings:
            if booking.customer is not None:
                lives[booking.organization, booking.customer].bookings.append(booking)
        for payment in self.payments:
            if payment.customer is not None:
                lives[payment.organization, payment.customer].payments.append(payment)
        for referral in self.referrals:
            lives[referral.organization, referral.customer].referrals.append(referral)
        return dict(lives)


def read_tables(url: str) -> Tables:
    """The rows as they are now, all moments in UTC."""
    with Session(url) as session:

        def rows(columns: str, table: str) -> list[list[Any]]:
            return [[_utc(value) for value in row] for row in session.run(f"SELECT {columns} FROM {table}")]

        customers = [(row[0], row[1], row[2]) for row in rows("organization_id, id, created_at", "customers")]
        bookings = rows(
            "id, organization_id, customer_id, location_id, start_at, status, service_id, team_member_id, duration_minutes, note",
            "bookings",
        )
        payments = rows(
            "id, organization_id, customer_id, location_id, amount_cents, tip_cents, status, paid_at", "payments"
        )
        referrals = rows(
            "id, organization_id, customer_id, activated_at, referred_by_customer_id, referrals_count, rewards_cents, created_at",
            "referral_profiles",
        )
    return Tables(
        customers,
        [Booking(*row) for row in bookings],
        [Payment(*row) for row in payments],
        [Referral(*row) for row in referrals],
    )


def _utc(value: Any) -> Any:
    return value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value


def profiles(tables: Tables, today: dt.date) -> dict[Person, Columns]:
    """Every customer's columns on a day, in their order, without the key."""
    return {person: _columns(life, today) for person, life in tables.lives().items()}


def _columns(life: Life, today: dt.date) -> Columns:
    bookings = _of_bookings(life.bookings, today)
    payments = _of_payments(life.payments, today)
    columns = {"customer_created_at": min(life.records, default=None), **bookings, **payments}
    columns["revenue_per_visit_cents"] = _share(columns["total_revenue_cents"], columns["visits"])
    columns |= _of_referrals(life.referrals)
    columns |= _of_notes(life.bookings)
    columns["customer_segment"] = _segment(columns)
    columns["value_tier"] = next((tier for tier, least in TIERS if columns["total_revenue_cents"] >= least), "none")
    columns["reliability_score"] = _share(
        100 * columns["total_bookings"] - 100 * columns["total_no_shows"] - 50 * columns["total_cancelled"],
        columns["total_bookings"],
    )
    columns["visits"] = columns.pop("visits")
    return columns


def _of_bookings(bookings: Sequence[Booking], today: dt.date) -> Columns:
    in_order = sorted(bookings, key=lambda one: (one.start, one.id))
    accepted = [one for one in in_order if one.status == "ACCEPTED"]
    visits = [one for one in accepted if one.start.date() <= today]
    coming = [one for one in accepted if one.start.date() > today]
    status = Counter(one.status for one in bookings)
    first, last, following = (_at(accepted, 0), _at(visits, -1), _at(coming, 0))

    def recent(days: int, *statuses: str) -> int:
        return sum(
            today - days * DAY <= one.start.date() <= today
            for one in bookings
            if not statuses or one.status in statuses
        )

    since_first = None if first is None else (today - first.date()).days
    since_last = None if last is None else (today - last.date()).days
    between = None if last is None or first is None or len(visits) < 2 else (last.date() - first.date()).days
    return {
        "first_booking_at": first,
        "last_booking_at": last,
        "next_booking_at": following,
        "first_location_id": _known(accepted, lambda one: one.location),
        "last_location_id": _known(reversed(visits), lambda one: one.location),
        "first_service_id": _known(accepted, lambda one: one.service),
        "last_service_id": _known(reversed(visits), lambda one: one.service),
        "total_bookings": len(bookings),
        "total_accepted_bookings": len(accepted),
        "total_cancelled": status["CANCELLED"],
        "total_no_shows": status["NO_SHOW"],
        "total_pending": status["PENDING"],
        "bookings_30d": recent(30),
        "bookings_90d": recent(90),
        "bookings_365d": recent(365),
        "no_shows_90d": recent(90, "NO_SHOW"),
        "cancellations_90d": recent(90, "CANCELLED"),
        "no_show_rate": _share(status["NO_SHOW"], len(bookings)),
        "cancellation_rate": _share(status["CANCELLED"], len(bookings)),
        "acceptance_rate": _share(len(accepted), len(bookings)),
        "days_since_first_booking": since_first,
        "days_since_last_booking": since_last,
        "days_until_next_booking": None if following is None else (following.date() - today).days,
        "avg_days_between_visits": None if between is None else between / (len(visits) - 1),
        "visits_per_month": (
            None if since_first is None or since_first < 0 else len(visits) * 30.4375 / (since_first + 1)
        ),
        "active_months": len({(one.start.year, one.start.month) for one in visits}),
        "favourite_location_id": _favourite(one.location for one in accepted),
        "favourite_service_id": _favourite(one.service for one in accepted),
        "favourite_team_member_id": _favourite(one.member for one in accepted),
        "favourite_weekday": _favourite(one.start.isoweekday() for one in accepted),
        "favourite_hour": _favourite(one.start.hour for one in accepted),
        "locations_count": len({one.location for one in accepted}),
        "services_count": len({one.service for one in accepted} - {None}),
        "team_members_count": len({one.member for one in accepted} - {None}),
        "total_booked_minutes": sum(one.minutes or 0 for one in accepted),
        "avg_booked_minutes": _mean([one.minutes for one in accepted if one.minutes is not None]),
        "visits": len(visits),
    }


def _of_payments(payments: Sequence[Payment], today: dt.date) -> Columns:
    paid = [one for one in payments if one.status == "COMPLETED"]
    dated = sorted((one.paid, one.id, one.cents) for one in paid if one.paid is not None)
    refunds = [one.cents for one in payments if one.status == "REFUNDED"]

    def recent(days: int) -> int:
        return sum(cents for at, _, cents in dated if today - days * DAY <= at.date() <= today)

    revenue = sum(one.cents for one in paid)
    return {
        "total_revenue_cents": revenue,
        "payments_count": len(paid),
        "avg_ticket_cents": _share(revenue, len(paid)),
        "min_ticket_cents": min((one.cents for one in paid), default=None),
        "max_ticket_cents": max((one.cents for one in paid), default=None),
        "first_payment_at": dated[0][0] if dated else None,
        "last_payment_at": dated[-1][0] if dated else None,
        "last_payment_cents": dated[-1][2] if dated else None,
        "refunded_cents": sum(refunds),
        "refunds_count": len(refunds),
        "failed_payments_count": sum(one.status == "FAILED" for one in payments),
        "tips_cents": sum(one.tip for one in paid),
        "revenue_30d_cents": recent(30),
        "revenue_90d_cents": recent(90),
        "revenue_365d_cents": recent(365),
    }


def _of_referrals(referrals: Sequence[Referral]) -> Columns:
    in_order = sorted(referrals, key=lambda one: (one.created, one.id))
    return {
        "is_referrer": any(one.activated is not None for one in referrals),
        "referrals_count": sum(one.count for one in referrals),
        "referred_by_customer_id": next((one.referrer for one in in_order if one.referrer is not None), None),
        "referral_rewards_cents": sum(one.rewards for one in referrals),
    }


def _of_notes(bookings: Sequence[Booking]) -> Columns:
    noted = sorted((one for one in bookings if one.note), key=lambda one: (one.start, one.id), reverse=True)
    return {
        "booking_notes": [one.note for one in noted[:NOTES]] or None,
        "booking_notes_count": len(noted),
        "last_note_at": noted[0].start if noted else None,
    }


def _segment(columns: Columns) -> str:
    if columns["total_accepted_bookings"] == 0:
        return "prospect"
    if columns["days_since_first_booking"] <= NEW:
        return "new"
    since = columns["days_since_last_booking"]
    return "active" if since <= ACTIVE else "at_risk" if since <= AT_RISK else "lost"


def _at(bookings: Sequence[Booking], place: int) -> dt.datetime | None:
    return bookings[place].start if bookings else None


def _known(bookings: Iterable[Booking], value: Callable[[Booking], str | None]) -> str | None:
    return next((found for one in bookings if (found := value(one)) is not None), None)


def _favourite(values: Iterable[Any]) -> Any:
    counts = Counter(value for value in values if value is not None)
    return min(counts, key=lambda value: (-counts[value], value), default=None)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[int]) -> float | None:
    return _share(sum(values), len(values))


def locations(tables: Tables, today: dt.date) -> dict[Spot, tuple[int, int, int, int]]:
    """Appointments, no-shows, revenue and new customers of every location and day up to today that has any."""
    counts: tuple[Counter[Spot], ...] = (Counter(), Counter(), Counter(), Counter())
    appointments, no_shows, revenue, new = counts
    cells: set[Spot] = set()

    def add(counter: Counter[Spot], organization: int, location: str, at: dt.datetime, amount: int = 1) -> None:
        if at.date() <= today:
            counter[organization, location, at.date()] += amount
            cells.add((organization, location, at.date()))

    firsts: dict[Person, Booking] = {}
    for one in sorted(tables.bookings, key=lambda one: (one.start, one.id)):
        if one.status == "ACCEPTED":
            add(appointments, one.organization, one.location, one.start)
            if one.customer is not None:
                firsts.setdefault((one.organization, one.customer), one)
        elif one.status == "NO_SHOW":
            add(no_shows, one.organization, one.location, one.start)
    for first in firsts.values():
        add(new, first.organization, first.location, first.start)
    for payment in tables.payments:
        if payment.status == "COMPLETED" and payment.paid is not None:
            add(revenue, payment.organization, payment.location, payment.paid, payment.cents)
    return {cell: (appointments[cell], no_shows[cell], revenue[cell], new[cell]) for cell in cells}


def retention(tables: Tables, today: dt.date) -> dict[tuple[dt.date, int], tuple[int, int, int]]:
    """For each month of first bookings and each age in months: how many began, how many of them came, and what they paid then."""
    sizes: Counter[dt.date] = Counter()
    active: Counter[tuple[dt.date, int]] = Counter()
    cents: Counter[tuple[dt.date, int]] = Counter()
    for life in tables.lives().values():
        visits = [one.start.date() for one in life.bookings if one.status == "ACCEPTED"]
        first = min(visits, default=today + DAY)
        if first > today:
            continue
        month = first.replace(day=1)
        sizes[month] += 1
        active.update({(month, _months(month, day)) for day in visits if day <= today})
        for one in life.payments:
            if one.status == "COMPLETED" and one.paid is not None and first <= one.paid.date() <= today:
                cents[month, _months(month, one.paid.date())] += one.cents
    return {
        (month, age): (sizes[month], active[month, age], cents[month, age])
        for month in sizes
        for age in range(_months(month, today) + 1)
    }


def _months(first: dt.date, day: dt.date) -> int:
    return (day.year - first.year) * 12 + day.month - first.month


def reached(tables: Tables, since: dt.date, today: dt.date) -> list[int]:
    """Of the customers whose record was made in these days: all, who booked within 60 days of it, and who then paid within them."""
    counts = [0, 0, 0]
    end = dt.datetime.combine(today + DAY, dt.time(), dt.UTC)
    for life in tables.lives().values():
        columns = _columns(life, today)
        steps = [columns[name] for name in ("customer_created_at", "first_booking_at", "first_payment_at")]
        if steps[0] is None or not since <= steps[0].date() <= today:
            continue
        last = steps[0] + 60 * DAY
        for place, step in enumerate(steps):
            if step is None or step >= end or step > last or (place and step < steps[place - 1]):
                break
            counts[place] += 1
    return counts
