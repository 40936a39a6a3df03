"""What the fault tests of profiles fold: the salon of the engine tests, with enough bookings for several parts, and what it should be."""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.conftest import Pairing
from tests.engines.ground import Ground
from tests.engines.profiles import (
    BOOKINGS,
    PAYMENTS,
    Row,
    booking,
    counted,
    define,
    expected,
    new_customers,
    payment,
    stored,
)
from tests.faults.shops import NOW
from tests.sql import Session, run_sql

#: With the fault tests' 32 facts a transaction: four parts of keys.
FACTS = 60
DAY = dt.timedelta(days=1)


def ground(url: str) -> Ground:
    """The database as engine tests see it: source and store at once."""
    return Ground(Pairing("salon", url, url))


def definitions(version: str) -> list[type[Any]]:
    """``salon``: its sources tell nothing; ``salon told``: their triggers do."""
    return [*define(ground(""), "trigger" if version.endswith("told") else None)]


def rows() -> tuple[list[Row], list[Row]]:
    """Bookings of twenty customers over years and of three that are nobody's, and payments."""
    booked = [
        booking(
            n, None if n % 20 == 19 else f"c{n % 20}", NOW.replace(hour=9) - DAY * (n * 7 % 400 - 10),
            location=f"L{n % 3}", status="CANCELLED" if n % 5 == 0 else "ACCEPTED", note=f"note {n}" if n % 4 else None,
        )
        for n in range(1, FACTS + 1)
    ]  # fmt: skip
    return booked, [payment(n, f"c{n % 17}", 100 * n) for n in range(1, FACTS + 1)]


def changed() -> tuple[list[Row], list[Row]]:
    """The rows after `change`."""
    booked, paid = rows()
    kept = {one["id"]: dict(one) for one in booked}
    for one in kept.values():
        if one["customer_id"] == "c1":
            one["status"] = "CANCELLED"
        if one["customer_id"] == "c4":
            one["customer_id"] = "c3"
    return [*kept.values(), late()], [one for one in paid if one["payer"] not in ("c2", "c4")]


def late() -> Row:
    """A booking that turns up after eight years."""
    return booking(1000, "c5", NOW - DAY * 365 * 8, location="L9")


def fill(url: str) -> None:
    """The tables beside those of the shops."""
    booked, paid = rows()
    with Session(url) as session:
        session.run(f"CREATE TABLE bookings ({BOOKINGS})")
        session.run(f"CREATE TABLE payments ({PAYMENTS})")
        session.insert("bookings", booked)
        session.insert("payments", paid)


def change(url: str) -> None:
    """First bookings are cancelled, two customers become one, payments go, and somebody came years ago."""
    run_sql(url, "UPDATE bookings SET status = 'CANCELLED' WHERE customer_id = 'c1'")
    run_sql(url, "UPDATE bookings SET customer_id = 'c3' WHERE customer_id = 'c4'")
    run_sql(url, "DELETE FROM payments WHERE payer IN ('c2', 'c4')")
    with Session(url) as session:
        session.insert("bookings", [late()])


def right(facts: tuple[list[Row], list[Row]], later_days: int = 0) -> dict[tuple[str, str], Row]:
    """The oracle's rows."""
    return expected(*facts, NOW.date() + DAY * later_days)


def check(url: str, facts: tuple[list[Row], list[Row]], later_days: int = 0) -> None:
    """The profile and the rollup of new customers are the oracle's."""
    wanted = right(facts, later_days)
    assert stored(ground(url)) == wanted
    assert counted(ground(url)) == new_customers(wanted, NOW.date() + DAY * later_days)


def visible(url: str) -> dict[tuple[str, str], Row]:
    """The profile as a reader finds it; nothing where its table is not made."""
    if not run_sql(url, "SELECT 1 FROM information_schema.tables WHERE table_name = 'customers'"):
        return {}
    return stored(ground(url))
