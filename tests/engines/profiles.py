"""A small salon for the tests of profiles: its tables, a profile with every kind of metric, and what its rows should be.

`expected` is plain Python over the rows and shares no code with the product.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from typing import Any

from dayfold import (
    Avg,
    Case,
    Collect,
    Count,
    Distinct,
    Exists,
    First,
    Formula,
    Last,
    Max,
    Min,
    Mode,
    Profile,
    Ratio,
    Rollup,
    Sum,
)
from tests.engines.ground import Ground

BOOKINGS = (
    "id bigint primary key, org text, customer_id text, location text, start_at timestamptz, status text, minutes bigint, note text, "
    "updated_at timestamptz"
)
PAYMENTS = "id bigint primary key, org text, payer text, cents bigint, status text, updated_at timestamptz"
UTC = dt.UTC
Row = dict[str, Any]


def booking(number: int, customer: str | None, start: dt.datetime, **more: Any) -> Row:
    """A booking of organisation o, accepted, at L1 for half an hour, without a note."""
    known = {"org": "o", "location": "L1", "status": "ACCEPTED", "minutes": 30, "note": None}
    return {
        "id": number,
        **known,
        "customer_id": customer,
        "start_at": start,
        **more,
        "updated_at": more.get("updated_at", start),
    }


def payment(number: int, payer: str | None, cents: int, **more: Any) -> Row:
    """A completed payment in organisation o."""
    known = {
        "org": "o",
        "payer": payer,
        "cents": cents,
        "status": "COMPLETED",
        "updated_at": dt.datetime(2026, 3, 1, tzinfo=UTC),
    }
    return {"id": number, **known, **more}


def define(ground: Ground, changes: str | None = None) -> tuple[type[Profile], type[Rollup]]:
    """The profile, and a rollup that counts new customers by it."""
    booked = ground.table("bookings", columns={"customer": "customer_id"}, changes=changes)
    paid = ground.table("payments", columns={"customer": "payer"}, changes=changes)

    class Customers(Profile):
        """One row per customer."""

        key = ("org", "customer")
        index = ("segment", "revenue")

        first_at = Min(booked, "start_at", where="status = 'ACCEPTED'")
        last_at = Max(booked, "start_at", where="status = 'ACCEPTED' and start_at < now() + interval '1 day'")
        next_at = Min(booked, "start_at", where="status = 'ACCEPTED' and start_at >= now() + interval '1 day'")
        bookings = Count(booked)
        bookings_30d = Count(
            booked, where="start_at >= now() - interval '30 days' and start_at < now() + interval '1 day'"
        )
        first_location = First(booked, "location", at="start_at", ties="id", where="status = 'ACCEPTED'")
        last_location = Last(booked, "location", at="start_at", ties="id")
        notes = Collect(booked, "note", at="start_at", ties="id", most=2, newest=True)
        early_minutes = Collect(booked, "minutes", at="start_at", ties="id", most=3)
        has_no_show = Exists(booked, where="status = 'NO_SHOW'")
        weekday = Mode(booked, "extract(isodow from start_at)")
        favourite = Mode(booked, "location")
        locations = Distinct(booked, "location")
        mean_minutes = Avg(booked, "minutes")
        revenue = Sum(paid, "cents", where="status = 'COMPLETED'")
        payments = Count(paid, where="status = 'COMPLETED'")
        largest = Max(paid, "cents", where="status = 'COMPLETED'")
        ticket = Ratio("revenue", "payments")
        days_since = Formula("now()::date - last_at::date")
        segment = Case(
            {
                "prospect": "first_at is null",
                "new": "first_at >= now() - interval '30 days'",
                "active": "days_since <= 60",
                "at_risk": "days_since <= 120",
            },
            default="lost",
        )

    class NewCustomers(Rollup):
        """Customers by the day and place of their first accepted booking."""

        key = ("org", "location")

        new_customers = Count(Customers.source(columns={"location": "first_location"}), at="first_at")

    return Customers, NewCustomers


#: The columns of the profile, in order.
COLUMNS = (
    "org", "customer", "first_at", "last_at", "next_at", "bookings", "bookings_30d", "first_location", "last_location", "notes",
    "early_minutes", "has_no_show", "weekday", "favourite", "locations", "mean_minutes", "revenue", "payments", "largest", "ticket",
    "days_since", "segment",
)  # fmt: skip


def expected(bookings: Iterable[Row], payments: Iterable[Row], today: dt.date) -> dict[tuple[str, str], Row]:
    """What the profile's rows should be."""
    mine: dict[tuple[str, str], tuple[list[Row], list[Row]]] = {}
    for one in bookings:
        if one["org"] is not None and one["customer_id"] is not None:
            mine.setdefault((one["org"], one["customer_id"]), ([], []))[0].append(one)
    for one in payments:
        if one["org"] is not None and one["payer"] is not None:
            mine.setdefault((one["org"], one["payer"]), ([], []))[1].append(one)
    found = {key: _row(key, booked, paid, today) for key, (booked, paid) in mine.items()}
    return {key: row for key, row in found.items() if row is not None}


def _row(key: tuple[str, str], booked: list[Row], paid: list[Row], today: dt.date) -> Row | None:
    completed = [one["cents"] for one in paid if one["status"] == "COMPLETED"]
    if not booked and not completed:
        return None
    midnight = dt.datetime.combine(today, dt.time(), UTC)
    day = dt.timedelta(days=1)
    timed = sorted((one for one in booked if one["start_at"] is not None), key=lambda one: (one["start_at"], one["id"]))
    accepted = [one for one in timed if one["status"] == "ACCEPTED"]
    past = [one["start_at"] for one in accepted if one["start_at"] < midnight + day]
    ahead = [one["start_at"] for one in accepted if one["start_at"] >= midnight + day]
    first_at, last_at = (accepted[0]["start_at"] if accepted else None), max(past, default=None)
    minutes = [one["minutes"] for one in booked if one["minutes"] is not None]
    since = None if last_at is None else (today - last_at.astimezone(UTC).date()).days
    segment = "lost"
    if first_at is None:
        segment = "prospect"
    elif first_at >= midnight - 30 * day:
        segment = "new"
    elif since is not None and since <= 60:
        segment = "active"
    elif since is not None and since <= 120:
        segment = "at_risk"
    notes = [one["note"] for one in reversed(timed) if one["note"] is not None][:2]
    early = [one["minutes"] for one in timed if one["minutes"] is not None][:3]
    first_places = [one["location"] for one in accepted if one["location"] is not None]
    places = [one["location"] for one in timed if one["location"] is not None]
    return {
        "org": key[0],
        "customer": key[1],
        "first_at": first_at,
        "last_at": last_at,
        "next_at": min(ahead, default=None),
        "bookings": len(booked),
        "bookings_30d": sum(midnight - 30 * day <= one["start_at"] < midnight + day for one in timed),
        "first_location": first_places[0] if first_places else None,
        "last_location": places[-1] if places else None,
        "notes": notes or None,
        "early_minutes": early or None,
        "has_no_show": any(one["status"] == "NO_SHOW" for one in booked),
        "weekday": _most([one["start_at"].astimezone(UTC).isoweekday() for one in timed]),
        "favourite": _most([one["location"] for one in booked if one["location"] is not None]),
        "locations": len({one["location"] for one in booked if one["location"] is not None}),
        "mean_minutes": sum(minutes) / len(minutes) if minutes else None,
        "revenue": sum(completed),
        "payments": len(completed),
        "largest": max(completed, default=None),
        "ticket": sum(completed) / len(completed) if completed else None,
        "days_since": since,
        "segment": segment,
    }


def _most(values: list[Any]) -> Any:
    tally = Tally(values)
    return min((value for value in tally if tally[value] == max(tally.values())), default=None)


def stored(ground: Ground) -> dict[tuple[str, str], Row]:
    """The profile's rows as the store has them."""
    rows = [
        dict(zip(COLUMNS, values, strict=True))
        for values in ground.stored(f"select {', '.join(COLUMNS)} from customers")
    ]
    for row in rows:
        for name in ("notes", "early_minutes"):
            row[name] = json.loads(row[name]) if isinstance(row[name], str) else row[name]
        for name in ("first_at", "last_at", "next_at"):
            row[name] = row[name].astimezone(UTC) if row[name] is not None else None
    return {(row["org"], row["customer"]): row for row in rows}


def new_customers(rows: Mapping[tuple[str, str], Row], today: dt.date) -> dict[tuple[dt.date, str, str | None], int]:
    """How many first bookings each day, organisation and place has, up to today."""
    firsts = [(row["first_at"].date(), row["org"], row["first_location"]) for row in rows.values() if row["first_at"]]
    return dict(Tally(one for one in firsts if one[0] <= today))


def counted(ground: Ground) -> dict[tuple[dt.date, str, str | None], int]:
    """What the rollup has."""
    return {row[:3]: row[3] for row in ground.stored("select day, org, location, new_customers from new_customers")}
