"""Four snapshots of one city's reviews, as a history: thousands of rows vanish and appear, some dated years back.

The oracle counts the lines of the CSV files in Python and imports nothing of the product. Data: Inside Airbnb, CC BY 4.0.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dayfold import Count, Dayfold, Distinct, Rollup, Table
from dayfold.clock import FixedClock
from tests.sql import Session, run_sql, store_config

FOLDER = Path(os.environ.get("DAYFOLD_FIELD_DATA", "nowhere")) / "airbnb_albany"
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason="needs DAYFOLD_FIELD_DATA: the folder with airbnb_albany, four snapshots of a city's reviews",
)
SNAPSHOTS = ("2024-01-06", "2025-01-16", "2025-03-02", "2025-10-06")


class Review(NamedTuple):
    """A line of a file."""

    listing_id: int
    id: int
    date: dt.date
    reviewer_id: int


Cell = tuple[int, dt.date]
Reviews = dict[int, Review]
#: Reviews and reviewers of each listing and day.
Figures = dict[Cell, tuple[int, int]]


def snapshot(day: str) -> Reviews:
    """The reviews of a file, by their id."""
    with gzip.open(FOLDER / f"reviews_{day}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = [
            Review(
                int(line["listing_id"]), int(line["id"]), dt.date.fromisoformat(line["date"]), int(line["reviewer_id"])
            )
            for line in csv.DictReader(file)
        ]
    found = {row.id: row for row in rows}
    assert len(found) == len(rows)
    return found


def figures(reviews: Reviews) -> Figures:
    """What the files say, counted line by line."""
    cells: dict[Cell, list[int]] = defaultdict(list)
    for row in reviews.values():
        cells[row.listing_id, row.date].append(row.reviewer_id)
    return {cell: (len(reviewers), len(set(reviewers))) for cell, reviewers in cells.items()}


class City:
    """The reviews in PostgreSQL, with triggers, and a rollup of them."""

    def __init__(self, source: str, store: str) -> None:
        self.source, self.store = source, store
        self.clock = FixedClock(dt.datetime(2024, 1, 6, 12, tzinfo=dt.UTC))
        review = Table("review", database=None if source == store else "app", changes="trigger")

        class ListingReviews(Rollup):
            key = "listing_id"
            reviews = Count(review, at="date")
            reviewers = Distinct(review, "reviewer_id", at="date")

        self.definitions = [ListingReviews]
        self.config: dict[str, Any] = store_config(store)
        if source != store:
            self.config["databases"] = {"app": {"url": source}}

    def opened(self) -> Dayfold:
        return Dayfold(self.definitions, self.config, clock=self.clock)

    def begin(self, reviews: Reviews) -> Any:
        """Load the first snapshot, install the triggers and fold."""
        with Session(self.source) as session:
            session.run("CREATE TABLE review (id bigint PRIMARY KEY, listing_id bigint, date date, reviewer_id bigint)")
            session.run("CREATE INDEX ON review (listing_id, date)")
            session.insert("review", [row._asdict() for row in reviews.values()])
        with self.opened() as app:
            assert app.track_install() == ["review"]
        return self.fold()

    def become(self, before: Reviews, after: Reviews) -> None:
        """Ordinary statements: what is gone is deleted by its id, what is new is inserted."""
        gone = sorted(before.keys() - after.keys())
        fresh = [after[number] for number in sorted(after.keys() - before.keys())]
        assert all(before[number] == after[number] for number in before.keys() & after.keys())
        with Session(self.source) as session:
            session.run("DELETE FROM review WHERE id = ANY($1)", [gone])
            session.run(
                "INSERT INTO review (listing_id, id, date, reviewer_id) "
                "SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::date[], $4::bigint[])",
                [list(column) for column in zip(*fresh, strict=True)],
            )

    def fold(self) -> Any:
        with self.opened() as app:
            [run] = app.fold()
        assert (run.status, run.error, run.warnings) == ("done", None, [])
        return run

    def stored(self) -> Figures:
        rows = run_sql(self.store, "SELECT listing_id, day, reviews, reviewers FROM listing_reviews")
        return {(listing, day): (reviews, reviewers) for listing, day, reviews, reviewers in rows}

    def uniques(self, first: dt.date, last: dt.date) -> int:
        """The reviewers of a range, over all listings: the union of the sets that the cells keep."""
        with self.opened() as app:
            answer = app.query("ListingReviews", ["reviewers"], from_=first, to=last, grain="total")
        assert answer.exact == {"reviewers": True}
        return int(answer.rows[0]["reviewers"])


@pytest.fixture(params=["in-one-database", "store-in-duckdb"])
def city(request: pytest.FixtureRequest, new_postgres: Callable[[], str], new_duckdb: Callable[..., str]) -> City:
    source = new_postgres()
    return City(source, source if request.param == "in-one-database" else new_duckdb())


def changes(before: Reviews, after: Reviews) -> set[Cell]:
    """The cells that lost or gained a review."""
    moved = [before[number] for number in before.keys() - after.keys()]
    moved += [after[number] for number in after.keys() - before.keys()]
    return {(row.listing_id, row.date) for row in moved}


def test_every_snapshot_is_folded_by_its_changed_cells_alone(city: City) -> None:
    """Equal to the files after each fold; cells computed are those that lost or gained a review, written those that differ."""
    reviews = snapshot(SNAPSHOTS[0])
    run = city.begin(reviews)
    expected = figures(reviews)
    assert city.stored() == expected
    assert (run.cells, run.rows_inserted) == (len(expected), len(expected))
    for day in SNAPSHOTS[1:]:
        before, reviews = reviews, snapshot(day)
        city.clock.instant = dt.datetime.fromisoformat(f"{day}T12:00:00+00:00")
        city.become(before, reviews)
        run = city.fold()
        old, expected = expected, figures(reviews)
        assert city.stored() == expected
        assert run.cells == len(changes(before, reviews))
        assert (run.rows_inserted, run.rows_updated, run.rows_deleted) == (
            len(expected.keys() - old.keys()),
            sum(old[cell] != expected[cell] for cell in old.keys() & expected.keys()),
            len(old.keys() - expected.keys()),
        )
        first, last = dt.date(2013, 9, 10), dt.date.fromisoformat(day)
        assert city.uniques(first, last) == len({row.reviewer_id for row in reviews.values()})
        run = city.fold()
        assert (run.cells, run.rows_inserted + run.rows_updated + run.rows_deleted) == (0, 0)


def test_late_reviews_of_past_years_are_among_the_changes() -> None:
    """The data is what the test above is about: rows dated before a snapshot that did not hold them, and vanished ones."""
    first, third = snapshot(SNAPSHOTS[0]), snapshot(SNAPSHOTS[2])
    late = [row for number, row in third.items() if number not in first and row.date < dt.date(2024, 1, 6)]
    assert (len(first.keys() - third.keys()), len(third.keys() - first.keys()), len(late)) == (4_389, 7_600, 173)
