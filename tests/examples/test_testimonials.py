"""The testimonials example on both engines: every number of every shop and day against a count by hand.

The oracle reads the three tables as rows and counts in Python; it imports nothing of the product.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from tests.acceptance.command import succeeds
from tests.sql import Session, run_sql

EXAMPLE = Path(__file__).parents[2] / "examples" / "testimonials"
NOW = dt.datetime(2026, 2, 5, 0, 30, tzinfo=dt.UTC)
#: A twentieth of the example's size: ten shops.
SCALE = 0.05
ROWS = 44_724
METRICS = (
    "requests_sent",
    "requests_clicked",
    "submissions_count",
    "approved_count",
    "published_count",
    "video_submissions_count",
    "photo_submissions_count",
)
Cell = tuple[int | None, dt.date]
Figures = dict[Cell, tuple[int, ...]]


def loader() -> Any:
    """The example's `load.py`."""
    spec = importlib.util.spec_from_file_location("testimonials_load", EXAMPLE / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def truth(url: str) -> Figures:
    """Every shop and day that has facts, counted row by row from the tables as they are now."""
    with Session(url) as session:
        requests = session.run("SELECT id, shop_id, sent_at, clicked_at FROM testimonial_request")
        clicks = session.run("SELECT request_id, \"at\" FROM testimonial_request_event WHERE type = 'clicked'")
        submissions = session.run(
            "SELECT shop_id, media_type, submitted_at, approved_at, published_at FROM testimonial_submission"
        )
    first: dict[int, dt.datetime] = {}
    for request, at in clicks:
        first[request] = min(at, first.get(request, at))
    counts: dict[str, Counter[Cell]] = defaultdict(Counter)

    def count(metric: str, shop: int | None, moment: dt.datetime | None) -> None:
        if moment is not None:
            counts[metric][shop, moment.astimezone(dt.UTC).date()] += 1

    for number, shop, sent_at, clicked_at in requests:
        count("requests_sent", shop, sent_at)
        count("requests_clicked", shop, clicked_at or first.get(number))
    for shop, media_type, submitted_at, approved_at, published_at in submissions:
        count("submissions_count", shop, submitted_at)
        count("approved_count", shop, approved_at)
        count("published_count", shop, published_at)
        if media_type in ("video", "photo"):
            count(f"{media_type}_submissions_count", shop, submitted_at)
    cells = {cell for counter in counts.values() for cell in counter}
    return {cell: tuple(counts[metric][cell] for metric in METRICS) for cell in cells}


def totals(figures: Figures, first: dt.date, last: dt.date, shop: int | None = None) -> tuple[int, ...]:
    """The sums over a range of days, of one shop or of all."""
    chosen = [row for (one, day), row in figures.items() if first <= day <= last and shop in (None, one)]
    return tuple(map(sum, zip(*chosen, strict=True))) if chosen else (0,) * len(METRICS)


class Shops:
    """The example, loaded into one database that is source and store."""

    def __init__(self, url: str, folder: Path, definitions: str) -> None:
        self.url = url
        self.clock = FixedClock(NOW)
        self.definitions = folder / "metrics.py"
        self.definitions.write_text(definitions)
        self.load = loader()
        assert self.load.load(url, SCALE) == ROWS
        self._app: Dayfold | None = None

    @property
    def app(self) -> Dayfold:
        """The application, opened when it is first asked for; one DuckDB file has one owner."""
        if self._app is None:
            self._app = Dayfold(self.definitions, {"store": {"url": self.url}}, clock=self.clock)
        return self._app

    def close(self) -> None:
        if self._app is not None:
            self._app.close()
            self._app = None

    def fold(self) -> Any:
        """The run of a fold that went well, an hour after the one before."""
        self.clock.instant += dt.timedelta(hours=1)
        [run] = self.app.fold()
        assert run.error is None, run.error
        return run

    def truth(self) -> Figures:
        self.close()
        return truth(self.url)

    def stored(self) -> Figures:
        """What the rollup's table holds."""
        self.close()
        found = run_sql(self.url, f"SELECT shop_id, date, {', '.join(METRICS)} FROM testimonial_daily_analytics")
        rows = {(shop, day): tuple(figures) for shop, day, *figures in found}
        assert len(rows) == len(found)
        return rows

    def bad_week(self) -> None:
        """What `history.sql` says happens."""
        self.close()
        assert self.load.apply_history(self.url) > 20

    def stamps(self) -> list[tuple[Any, ...]]:
        """When each row was made and last changed."""
        self.close()
        return run_sql(
            self.url,
            "SELECT shop_id, date, created_at, updated_at, run_id FROM testimonial_daily_analytics ORDER BY 2, 1",
        )


@pytest.fixture
def shops(store_url: str, tmp_path: Path) -> Iterator[Shops]:
    """The example with its triggers installed, folded once."""
    shops = Shops(store_url, tmp_path, (EXAMPLE / "metrics.py").read_text())
    shops.app.track_install()
    assert shops.fold().warnings == []
    yield shops
    shops.close()


@pytest.fixture
def untracked(store_url: str, tmp_path: Path) -> Iterator[Shops]:
    """The same definitions where the sources tell nothing: the default lookback of seven days."""
    text, count = re.subn(r',\s*changes="trigger"', "", (EXAMPLE / "metrics.py").read_text())
    assert count == 3
    shops = Shops(store_url, tmp_path, text)
    assert shops.fold().warnings == []
    yield shops
    shops.close()


def written(run: Any) -> int:
    return int(run.rows_inserted + run.rows_updated + run.rows_deleted)


def different(before: Figures, after: Figures) -> int:
    """How many cells two states do not have in common."""
    return sum(before.get(cell) != after.get(cell) for cell in before.keys() | after.keys())


def test_every_number_is_the_plain_count(shops: Shops) -> None:
    """After the first fold, and after rows came late, moved, went and changed their shop: all cells, all metrics."""
    before = shops.truth()
    assert shops.stored() == before
    assert {None, 5, 9} <= {shop for shop, _ in before}
    shops.bad_week()
    after = shops.truth()
    run = shops.fold()
    assert (run.status, run.warnings) == ("done", [])
    assert shops.stored() == after
    assert written(run) == different(before, after) > 500
    assert not [shop for shop, _ in after if shop == 9]


def test_bad_week_refolds_a_part_of_the_history(shops: Shops) -> None:
    """Only cells that rows came to, left or changed in; nothing for rows that were touched and stayed the same."""
    before = shops.truth()
    shops.bad_week()
    run = shops.fold()
    touched = run.cells
    after = shops.truth()
    assert different(before, after) <= touched < len(before) * 2 // 3
    run = shops.fold()
    assert (run.cells, written(run), run.days) == (0, 0, [])


def test_untouched_rows_keep_their_stamps(shops: Shops) -> None:
    """updated_at and run_id move where a value does, and nowhere else; created_at moves never."""
    before, stamps = shops.truth(), {row[:2]: row[2:] for row in shops.stamps()}
    shops.bad_week()
    run = shops.fold()
    after = shops.truth()
    for shop, day, created_at, updated_at, run_id in shops.stamps():
        old = before.get((shop, day))
        if old == after[shop, day]:
            assert (created_at, updated_at, run_id) == stamps[shop, day]
        else:
            assert (updated_at, run_id) == (shops.clock.instant, run.run_id)
            assert old is None or created_at == stamps[shop, day][0]


def test_range_sums_equal_the_live_source(shops: Shops) -> None:
    """KPI cards: one shop and all of them, over windows that cut months, a silent shop and the day without data."""
    shops.bad_week()
    shops.fold()
    live = shops.truth()
    windows = [("2024-12-30", "2026-02-04"), ("2025-06-10", "2025-06-20"), ("2025-11-11", "2025-11-11")]
    for shop in (None, 1, 2, 5, 7, 8, 9):
        for first, last in windows:
            where = [] if shop is None else [f"shop_id={shop}"]
            answer = shops.app.query(
                "TestimonialDaily", from_=first, to=last, grain="total", where=where, allow_missing=False
            )
            expected = totals(live, dt.date.fromisoformat(first), dt.date.fromisoformat(last), shop)
            [row] = answer.rows
            assert tuple(row[metric] for metric in METRICS) == expected, (shop, first)
            sent, submitted = row["requests_sent"], row["submissions_count"]
            assert row["response_rate"] == (submitted / sent if sent else None)


def test_daily_series_has_zeros_where_nothing_happened(shops: Shops) -> None:
    """The day on which the service was down is covered and zero, and so is every day of the shop that went silent."""
    answer = shops.app.query("TestimonialDaily", list(METRICS), from_="2025-06-14", to="2025-06-16")
    figures = [tuple(row[metric] for metric in METRICS) for row in answer.rows]
    live = shops.truth()
    days = [dt.date(2025, 6, day) for day in (14, 15, 16)]
    assert figures == [totals(live, day, day) for day in days]
    assert figures[1] == (0,) * len(METRICS)
    assert answer.missing == []
    silent = shops.app.query(
        "TestimonialDaily", ["requests_sent"], from_="2025-09-01", to="2025-09-30", where=["shop_id=5"]
    )
    assert [row["requests_sent"] for row in silent.rows] == [0] * 30


def test_click_that_only_an_event_knows_counts_once_on_its_first_day(shops: Shops) -> None:
    """A second and a third click change nothing; losing the first moves the request to the day of the next."""

    def clicked(*days: int) -> list[int]:
        shops.fold()
        answer = shops.app.query(
            "TestimonialDaily", ["requests_clicked"], from_="2026-02-01", to="2026-02-04", where=["shop_id=777"]
        )
        found = [row["requests_clicked"] for row in answer.rows]
        shops.close()
        return found

    event = "INSERT INTO testimonial_request_event VALUES (910000000, 'clicked', "
    run_sql_in = lambda sql: (shops.close(), run_sql(shops.url, sql))  # noqa: E731
    run_sql_in("INSERT INTO testimonial_request VALUES (910000000, 777, '2026-02-01 10:00:00+00', NULL)")
    assert clicked() == [0, 0, 0, 0]
    run_sql_in(event + "'2026-02-02 23:30:00+00')")
    run_sql_in(event + "'2026-02-03 00:30:00+00')")
    assert clicked() == [0, 1, 0, 0]
    run_sql_in(
        "DELETE FROM testimonial_request_event WHERE request_id = 910000000 AND \"at\" < '2026-02-03 00:00:00+00'"
    )
    assert clicked() == [0, 0, 1, 0]
    run_sql_in("UPDATE testimonial_request SET clicked_at = '2026-02-04 01:00:00+00' WHERE id = 910000000")
    assert clicked() == [0, 0, 0, 1]
    run_sql_in("DELETE FROM testimonial_request WHERE id = 910000000")
    assert clicked() == [0, 0, 0, 0]


def test_without_changes_the_lookback_is_exact_and_the_rest_stands(untracked: Shops) -> None:
    """The last seven days and today follow their source; older days keep what was folded, until they are rebuilt."""
    before = untracked.truth()
    assert untracked.stored() == before
    untracked.bad_week()
    after = untracked.truth()
    run = untracked.fold()
    assert [str(days) for days in run.days] == ["2024-12-30..2024-12-31", "2026-01-29..2026-02-05"]

    def expected(cell: Cell, days: Any) -> tuple[int, ...] | None:
        return (after if any(cell[1] in one for one in days) else before).get(cell)

    cells = before.keys() | after.keys()
    mixed = {cell: row for cell in cells if (row := expected(cell, run.days)) is not None}
    assert untracked.stored() == mixed != after
    assert written(untracked.fold()) == 0


def test_demo_shows_the_example(tmp_path: Path) -> None:
    """`dayfold demo testimonials` on a machine with nothing but the package."""
    done = succeeds("demo", "testimonials", cwd=tmp_path, env={"DAYFOLD_NOW": NOW.isoformat()})
    assert "The last months" in done.out
    assert "dayfold track install" in done.out
