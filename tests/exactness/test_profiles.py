"""Profiles after any history: refresh by refresh they equal the oracle; a refresh from nothing finds nothing more to write."""

from __future__ import annotations

import datetime as dt
import random

import pytest

from tests.conftest import SOAK, Pairing
from tests.engines.ground import NOW, Ground
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

#: How each pairing's sources tell what changed, and how many histories it gets in the everyday run.
TOLD = {
    "duckdb-same": ("trigger", 3),
    "postgres-same": ("trigger", 3),
    "postgres-to-duckdb": ("updated_at", 2),
    "postgres-databases": ("trigger", 3),
    "duckdb-files": (None, 1),
    "duckdb-to-postgres": (None, 1),
    "clickhouse-to-duckdb": (None, 1),
    "clickhouse-to-postgres": (None, 1),
    "clickhouse-same": (None, 2),
    "duckdb-to-clickhouse": (None, 1),
    "postgres-to-clickhouse": ("trigger", 2),
}
SOAK_FACTOR = 100
STEPS = 12
CUSTOMERS = ["a", "b", "A", "a:b", "é", "e\u0301", "x\u200dy", None]
PLACES = ["L1", "L2", "l1", "", None]
NOTES = [None, "", "plain", 'a "quote"', "é \\ \n", "null"]
STATUSES = ["ACCEPTED", "ACCEPTED", "ACCEPTED", "CANCELLED", "NO_SHOW", "PENDING"]
MOMENTS = [dt.timedelta(0), dt.timedelta(microseconds=-1), dt.timedelta(hours=10), dt.timedelta(hours=23, minutes=59)]


def _stamp() -> dt.datetime:
    """When a row was written, by the clock of its database: that is what positions are told by, whatever day is folded."""
    return dt.datetime.now(dt.UTC)


class History:
    """Two source tables and their rows in Python, changed together."""

    def __init__(self, ground: Ground, changes: str | None, seed: int) -> None:
        self.ground = ground
        self.changes = changes
        self.draw = random.Random(seed)
        self.booked: dict[int, Row] = {}
        self.paid: dict[int, Row] = {}
        self.next = 1
        ground.clock.instant = NOW
        ground.source("drop table if exists bookings")
        ground.source("drop table if exists payments")
        ground.load("bookings", BOOKINGS, [])
        ground.load("payments", PAYMENTS, [])

    @property
    def today(self) -> dt.date:
        return self.ground.clock.now().date()

    def _moment(self) -> dt.datetime | None:
        if self.draw.random() < 0.05:
            return None
        days = self.draw.choice([0, 1, -1, 29, 30, 31, 60, 61, 120, 400, -20])
        midnight = dt.datetime.combine(self.today, dt.time(), dt.UTC)
        return midnight - dt.timedelta(days=days) + self.draw.choice(MOMENTS)

    def _booking(self, number: int) -> Row:
        row = booking(
            number, self.draw.choice(CUSTOMERS), NOW, org=self.draw.choice(["o", "o", "p", None]),
            location=self.draw.choice(PLACES), status=self.draw.choice(STATUSES), note=self.draw.choice(NOTES),
            minutes=self.draw.choice([None, 0, 15, 30, 45]),
        )  # fmt: skip
        return {**row, "start_at": self._moment(), "updated_at": _stamp()}

    def _payment(self, number: int) -> Row:
        return payment(
            number, self.draw.choice(CUSTOMERS), self.draw.choice([0, 1, 999, -5, 2**40]), org=self.draw.choice(["o", "p"]),
            status=self.draw.choice(["COMPLETED", "COMPLETED", "FAILED"]), updated_at=_stamp(),
        )  # fmt: skip

    def _put(self, table: str, row: Row) -> None:
        kept = self.booked if table == "bookings" else self.paid
        if row["id"] in kept:
            names = [name for name in row if name != "id"]
            words = ", ".join(f"{name} = ${n}" for n, name in enumerate(names, start=1))
            mark = f"${len(names) + 1}"
            self.ground.source(
                f"update {table} set {words} where id = {mark}", [*(row[name] for name in names), row["id"]]
            )
        else:
            self.ground.insert(table, [row])
        kept[row["id"]] = row

    def change(self) -> None:
        """One change of the sources, or of the clock."""
        what = self.draw.random()
        tables = [("bookings", self.booked, self._booking), ("payments", self.paid, self._payment)]
        name, kept, make = self.draw.choice(tables)
        if what < 0.45 or not kept:
            for _ in range(self.draw.randint(1, 4)):
                self._put(name, make(self.next))
                self.next += 1
        elif what < 0.65:
            number = self.draw.choice(list(kept))
            row = make(number)
            if self.changes == "updated_at":
                # A stamp says where a row is, and nothing of the entity that it was taken from.
                row |= {one: kept[number][one] for one in ("org", "customer_id", "payer") if one in row}
            self._put(name, row)
        elif what < 0.8 and self.changes != "updated_at":
            number = self.draw.choice(list(kept))
            self.ground.source(f"delete from {name} where id = {number}")
            del kept[number]
        else:
            self.ground.clock.instant += dt.timedelta(hours=self.draw.choice([1, 24, 24 * 30, 24 * 61]))

    def check(self, *, rebuilt: bool) -> None:
        """The stored rows are the oracle's, and a refresh from nothing finds nothing to write."""
        wanted = expected(self.booked.values(), self.paid.values(), self.today)
        assert stored(self.ground) == wanted
        assert counted(self.ground) == new_customers(wanted, self.today)
        if rebuilt and wanted:
            again = self.ground.opened.rebuild("Customers", allow_empty=True)
            assert again.cells == 0


def run(pairing: Pairing, seeds: range) -> None:
    """Histories from seeds, one after another in the same databases."""
    changes, _ = TOLD[pairing.name]
    for seed in seeds:
        with Ground(pairing) as ground:
            history = History(ground, changes, seed)
            ground.define(*define(ground, changes))
            if changes == "trigger":
                ground.opened.track_install()
            for step in range(STEPS):
                history.change()
                ground.define(*define(ground, changes))
                ground.fold(allow_empty=True)
                history.check(rebuilt=step == STEPS - 1)
            [found, _] = ground.opened.verify()
            assert (found.drifted, found.error) == (0, None)
            ground.stored("drop table customers")
            ground.stored("drop table new_customers")


@pytest.mark.parametrize("pairing", TOLD, indirect=True)
def test_refreshed_profiles_equal_the_oracle_after_any_history(pairing: Pairing) -> None:
    """Inserts, changes of keys and moments, deletes and midnights: each refresh leaves what a refresh from nothing would."""
    run(pairing, range(TOLD[pairing.name][1]))


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="hundreds of histories: `make soak`")
@pytest.mark.parametrize("pairing", TOLD, indirect=True)
def test_refreshed_profiles_equal_the_oracle_after_hundreds_of_histories(pairing: Pairing) -> None:
    """The same, with new histories every time."""
    begin = random.SystemRandom().randrange(10**9)
    run(pairing, range(begin, begin + TOLD[pairing.name][1] * SOAK_FACTOR))
