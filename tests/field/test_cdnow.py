"""Everybody who began to buy at a CD shop in early 1997, and what is published of them: how often they came back, until when, since when.

The summary is that of Fader and Hardie (brucehardie.com; here from Lifetimes 0.11.3, MIT), of a sample of one customer in ten: weeks
with two decimals up to 1997-09-30, the last day that their models were fitted to. A repeat is a later day, however often one
buys on it; the first purchase is none.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dayfold import Count, Dayfold, Distinct, First, Formula, Max, Min, Profile, Rollup, Sum, Table
from dayfold.clock import FixedClock
from tests.sql import load_rows, run_sql, store_config

FOLDER = Path(os.environ.get("DAYFOLD_FIELD_DATA", "nowhere")) / "cdnow"
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason="needs DAYFOLD_FIELD_DATA: the folder with cdnow, purchases of 23,570 customers and a published summary",
)
#: The last day that the published summary knows, and the last one of the data.
FITTED, LAST = dt.date(1997, 9, 30), dt.date(1998, 6, 30)
DDL = "customer bigint, day date, cds bigint, dollars numeric(9,2)"
Row = dict[str, Any]

everybody = Table("purchase")
sampled = Table("sampled_purchase")
PAST = "day <= now()::date"


class Customers(Profile):
    """Each customer as of the current day, in weeks as the published summary has them."""

    key = "customer"

    purchases = Count(everybody, where=PAST)
    free = Count(everybody, where=f"{PAST} and dollars = 0")
    days = Distinct(everybody, "day", where=PAST)
    cds = Sum(everybody, "cds", where=PAST)
    dollars = Sum(everybody, "dollars", where=PAST)
    first_day = Min(everybody, "day", where=PAST)
    last_day = Max(everybody, "day", where=PAST)
    frequency = Formula("days - 1")
    recency = Formula("(last_day - first_day) / 7")
    age = Formula("(now()::date - first_day) / 7")


class CustomerDays(Rollup):
    """What a customer of the sample bought on one day. A day that is still to come has no row."""

    key = "customer"

    dollars = Sum(sampled, "dollars", at="day")


class Spending(Profile):
    """What a repeat came to, made of the days of the rollup: facts enter it as their day comes, without a word of the clock."""

    key = "customer"

    days = Count(CustomerDays)
    dollars = Sum(CustomerDays, "dollars")
    first_dollars = First(CustomerDays, "dollars", at="day")
    frequency = Formula("days - 1")
    mean_repeat = Formula("coalesce((dollars - first_dollars) / (days - 1), 0)")


def purchases(name: str) -> list[Row]:
    """The lines of a file, customers by the number that all have."""
    with gzip.open(FOLDER / f"{name}.txt.gz", "rt", encoding="ascii") as file:
        lines = [line.split() for line in file]
    if not lines[0][0].isdigit():
        lines = lines[1:]
    return [
        {
            "customer": int(words[0]), "day": dt.date(int(day[:4]), int(day[4:6]), int(day[6:])), "cds": int(cds),
            "dollars": Decimal(dollars),
        }
        for *words, day, cds, dollars in lines
    ]  # fmt: skip


def published() -> dict[int, tuple[int, str, str, str]]:
    """Frequency, recency, age and the mean of repeats of each customer of the sample, by the number that all have."""
    with gzip.open(FOLDER / "CDNOW_sample.txt.gz", "rt", encoding="ascii") as file:
        number_of = {int(line.split()[1]): int(line.split()[0]) for line in file}
    found = {}
    names = ("cdnow_customers_summary", "cdnow_customers_summary_with_transactions")
    with gzip.open(FOLDER / f"{names[0]}.csv.gz", "rt") as one, gzip.open(FOLDER / f"{names[1]}.csv.gz", "rt") as other:
        for row, more in zip(csv.DictReader(one), csv.DictReader(other), strict=True):
            words = [(row["ID"], more["ID"]), (row["frequency"], more["x"])]
            words += [(row["recency"], more["t_x"]), (row["T"], more["T"])]
            assert all(float(left) == float(right) for left, right in words)
            found[number_of[int(row["ID"])]] = (int(more["x"]), more["t_x"], more["T"], more["zbar"])
    return found


class Shop:
    """All purchases in one database, folded as of a day."""

    def __init__(self, url: str) -> None:
        self.url = url
        load_rows(url, "purchase", DDL, purchases("CDNOW_master"))
        load_rows(url, "sampled_purchase", DDL, purchases("CDNOW_sample"))

    def fold(self, today: dt.date) -> dict[str, Any]:
        """Fold on that day, and see that what is stored is proved and that a second fold writes nothing."""
        clock = FixedClock(dt.datetime.combine(today, dt.time(12), dt.UTC))
        with Dayfold([Customers, CustomerDays, Spending], store_config(self.url), clock=clock) as app:
            runs = {run.rollup: run for run in app.fold()}
            assert {(run.status, run.error) for run in runs.values()} == {("done", None)}
            again = app.fold()
            assert sum(run.rows_inserted + run.rows_updated + run.rows_deleted for run in again) == 0
            assert all(one.is_proved for one in app.verify("Customers") + app.verify("Spending"))
        return runs

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return run_sql(self.url, sql)


@pytest.fixture
def shop(store_url: str) -> Shop:
    return Shop(store_url)


def test_customers_are_those_that_are_published(shop: Shop) -> None:
    """All 2,357 of the sample on the day of the summary, nine months later the totals of all 23,570; what was folded stays right."""
    shop.fold(FITTED)
    told = published()
    assert len(told) == 2_357
    weeks = shop.rows("select customer, frequency, recency, age from customers")
    found = {customer: (frequency, f"{recency:.2f}", f"{age:.2f}") for customer, frequency, recency, age in weeks}
    assert len(found) == 23_570
    assert {customer: found[customer] for customer in told} == {customer: row[:3] for customer, row in told.items()}
    repeats = shop.rows("select customer, frequency, mean_repeat from spending")
    assert {customer: frequency for customer, frequency, _ in repeats} == {one: row[0] for one, row in told.items()}
    # Published to the cent.
    assert all(abs(mean - float(told[customer][3])) < 0.005 + 1e-9 for customer, _, mean in repeats)

    runs = shop.fold(LAST)
    assert shop.rows(
        "select count(*), sum(purchases), sum(cds), sum(dollars), sum(free), min(first_day), max(last_day) from customers"
    ) == [(23_570, 69_659, 167_881, Decimal("2500315.63"), 80, dt.date(1997, 1, 1), LAST)]
    assert shop.rows("select count(*), sum(days), sum(dollars) from spending") == shop.rows(
        "select count(distinct customer), count(distinct (customer, day)), sum(dollars) from sampled_purchase"
    )
    # Its own columns ask for the day, so that all are computed; of the profile over the rollup, those who came back since.
    [(returned,)] = shop.rows(f"select count(distinct customer) from sampled_purchase where day > '{FITTED}'")
    assert (runs["Customers"].cells, runs["Spending"].cells) == (23_570, returned)
