"""What Inside Airbnb says of each listing of a city, made of its reviews by profiles, from one snapshot to the next.

The publisher's figures are as of the day on which a listing was scraped, so the clock stands on each of these days in turn. Between
snapshots reviews are deleted and inserted, told by triggers; nothing is rebuilt. Data: Inside Airbnb, CC BY 4.0.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
from collections.abc import Iterable
from typing import Any

import pytest

from dayfold import Count, Dayfold, Formula, Max, Min, Profile, Table
from dayfold.clock import FixedClock
from tests.field.test_airbnb_albany import FOLDER, SNAPSHOTS, Review, Reviews, pytestmark, snapshot
from tests.sql import Session, load_rows, run_sql, store_config

__all__ = ["pytestmark"]

review = Table("review", changes="trigger")
Row = dict[str, Any]


class Listings(Profile):
    """Each listing over its whole life: nothing here moves with the day."""

    key = "listing_id"

    reviews = Count(review)
    first_review = Min(review, "date")
    last_review = Max(review, "date")


class ListingsNow(Profile):
    """Each listing as of the current day, in the publisher's columns."""

    key = "listing_id"

    number_of_reviews = Count(review)
    number_of_reviews_ltm = Count(review, where="date >= now()::date - 365")
    number_of_reviews_l30d = Count(review, where="date >= now()::date - 30")
    number_of_reviews_ly = Count(review, where="extract(year from date) = extract(year from now()) - 1")
    first_review = Min(review, "date")
    last_review = Max(review, "date")
    # Months of thirty days, from the first review to the day of scraping, both counted; the number itself in the first of them.
    reviews_per_month = Formula(
        "case when now()::date - first_review > 30 then number_of_reviews / ((now()::date - first_review + 1) / 30) "
        "else number_of_reviews end"
    )


COUNTED = ("number_of_reviews", "number_of_reviews_ltm", "number_of_reviews_l30d")
#: Published of the last two snapshots only.
LAST_YEAR = "number_of_reviews_ly"
DATES = ("first_review", "last_review")
COLUMNS = (*COUNTED, LAST_YEAR, *DATES, "reviews_per_month")
#: Snapshot, listing, column, here, published. The last review is 31 days old on the day that the listing says it was scraped and 30 on
#: the day before, on which most of that snapshot was: the one figure of all that was not taken on its listing's day.
OFF = {("2025-10-06", 51579900, "number_of_reviews_l30d", 0, 1)}


def listings_of(reviews: Iterable[Review]) -> int:
    """How many listings they are of."""
    return len({row.listing_id for row in reviews})


def listings(day: str) -> list[dict[str, str]]:
    """What the publisher says of each listing in a snapshot."""
    with gzip.open(FOLDER / f"listings_profile_{day}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class City:
    """The reviews with triggers and two profiles of them in one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = FixedClock(dt.datetime(2024, 1, 6, 12, tzinfo=dt.UTC))

    def opened(self) -> Dayfold:
        return Dayfold([Listings, ListingsNow], store_config(self.url), clock=self.clock)

    def begin(self, reviews: Reviews) -> None:
        """Load the first snapshot and install the triggers."""
        ddl = "id bigint PRIMARY KEY, listing_id bigint, date date, reviewer_id bigint"
        load_rows(self.url, "review", ddl, [row._asdict() for row in reviews.values()])
        with self.opened() as app:
            assert app.track_install() == ["review"]

    def write(self, gone: list[Review], fresh: list[Review]) -> None:
        """Ordinary statements: what is gone is deleted by its id, what is new is inserted."""
        with Session(self.url) as session:
            session.run("DELETE FROM review WHERE id = ANY($1)", [[row.id for row in gone]])
            session.insert("review", [row._asdict() for row in fresh])

    def fold(self, day: str) -> tuple[int, int]:
        """Fold on that day: how many listings each profile computed. A second fold writes nothing, and all is proved."""
        self.clock.instant = dt.datetime.fromisoformat(f"{day}T12:00:00+00:00")
        with self.opened() as app:
            lasting, now = app.fold()
            assert {(run.status, run.error) for run in (lasting, now)} == {("done", None)}
            assert lasting.warnings == now.warnings == []
            assert sum(run.rows_inserted + run.rows_updated + run.rows_deleted for run in app.fold()) == 0
            assert all(one.is_proved for one in app.verify())
        return lasting.cells, now.cells

    def stored(self) -> dict[int, Row]:
        """The listings as of the day; the other profile says the same of their whole lives."""
        rows = run_sql(self.url, f"SELECT listing_id, {', '.join(COLUMNS)} FROM listings_now")
        found = {listing: dict(zip(COLUMNS, values, strict=True)) for listing, *values in rows}
        lives = run_sql(self.url, "SELECT listing_id, reviews, first_review, last_review FROM listings")
        assert {one: tuple(values) for one, *values in lives} == {
            one: (row["number_of_reviews"], row["first_review"], row["last_review"]) for one, row in found.items()
        }
        return found


def differences(snapshot_day: str, told: list[dict[str, str]], found: dict[int, Row]) -> set[tuple[Any, ...]]:
    """Every figure that is not the published one. A listing without reviews has no row, and zeros there."""
    none: Row = dict.fromkeys((*COUNTED, LAST_YEAR), 0) | dict.fromkeys((*DATES, "reviews_per_month"))
    off = set()
    for line in told:
        listing = int(line["id"])
        row = found.get(listing, none)
        wanted: Row = {name: int(line[name]) for name in (*COUNTED, LAST_YEAR) if name in line}
        wanted |= {name: dt.date.fromisoformat(line[name]) if line[name] else None for name in DATES}
        off |= {(snapshot_day, listing, name, row[name], value) for name, value in wanted.items() if row[name] != value}
        rate, rounded = row["reviews_per_month"], line["reviews_per_month"]
        if (rate is None) != (not rounded) or (rounded and abs(rate - float(rounded)) > 0.005 + 1e-9):
            off.add((snapshot_day, listing, "reviews_per_month", rate, rounded))
    return off


@pytest.fixture
def city(store_url: str) -> City:
    return City(store_url)


def test_four_snapshots_say_what_their_publisher_says(city: City) -> None:
    """Of 1,724 listings and 11,229 figures one is off, which is not of its day; each fold computes the listings that were touched.

    Where the day has moved, every listing is computed in the profile whose columns ask for it, and none in the other.
    """
    reviews: Reviews = {}
    off: set[tuple[Any, ...]] = set()
    compared = figures = 0
    for day in SNAPSHOTS:
        before, reviews = reviews, snapshot(day)
        gone = [row for number, row in before.items() if number not in reviews]
        fresh = [row for number, row in reviews.items() if number not in before]
        told = listings(day)
        first, *later = sorted({line["last_scraped"] for line in told})
        if before:
            # What vanished, on a day that has moved; then what is new, within that day.
            city.write(gone, [])
            assert city.fold(first) == (listings_of(gone), listings_of(before.values()))
            city.write([], fresh)
            assert city.fold(first) == (listings_of(fresh), listings_of(fresh))
        else:
            city.begin(reviews)
            assert city.fold(first) == (listings_of(fresh), listings_of(fresh))
        for scraped in (first, *later):
            if scraped in later:
                assert city.fold(scraped) == (0, listings_of(reviews.values()))
            some = [line for line in told if line["last_scraped"] == scraped]
            off |= differences(day, some, city.stored())
            compared += len(some)
            figures += sum(len(COLUMNS) - (LAST_YEAR not in line) for line in some)
    assert off == OFF
    assert (compared, figures) == (1_724, 11_229)
