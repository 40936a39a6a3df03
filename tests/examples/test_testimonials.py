"""The testimonials example on both engines: every number of every shop and day against a count by hand."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.days import Days
from tests.examples.testimonials import (
    EXAMPLE,
    METRICS,
    NOW,
    ROWS,
    SCALE,
    Cell,
    Figures,
    module,
    row_stamps,
    stored_figures,
    totals,
    truth,
    untracked_definitions,
)
from tests.servers import PostgresServer
from tests.sql import run_sql, store_config

pytestmark = pytest.mark.in_turn


class Shops:
    """The example, loaded into one database that is source and store."""

    def __init__(self, url: str, folder: Path, definitions: str) -> None:
        self.url = url
        self.clock = FixedClock(NOW)
        self.definitions = folder / "metrics.py"
        self.definitions.write_text(definitions)
        self.load = module("load")
        assert self.load.load(url, SCALE) == ROWS
        self._app: Dayfold | None = None

    @property
    def app(self) -> Dayfold:
        """The application, opened when it is first asked for; one DuckDB file has one owner."""
        if self._app is None:
            self._app = Dayfold(self.definitions, store_config(self.url), clock=self.clock)
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
        return stored_figures(self.url)

    def bad_week(self) -> None:
        """What `history.sql` says happens."""
        self.close()
        assert self.load.apply_history(self.url) > 20

    def stamps(self) -> dict[Cell, tuple[Any, ...]]:
        """When each row was made and last changed, and by which run."""
        self.close()
        return row_stamps(self.url)


@dataclass(frozen=True)
class Week:
    """The example with its triggers, folded before and after the bad week, and what was seen on the way."""

    shops: Shops
    before: Figures
    stored_before: Figures
    stamps_before: dict[Cell, tuple[Any, ...]]
    run: Any
    folded_at: dt.datetime
    after: Figures
    stored_after: Figures
    stamps_after: dict[Cell, tuple[Any, ...]]


def live_through(shops: Shops) -> Week:
    shops.app.track_install()
    assert shops.fold().warnings == []
    before, stored_before, stamps_before = shops.truth(), shops.stored(), shops.stamps()
    shops.bad_week()
    run, folded_at = shops.fold(), shops.clock.instant
    return Week(
        shops, before, stored_before, stamps_before, run, folded_at, shops.truth(), shops.stored(), shops.stamps()
    )


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def week(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    """One for all tests of a worker that leave the tables as they were."""
    folder = tmp_path_factory.mktemp("testimonials")
    with ExitStack() as stack:
        url = f"duckdb:///{folder}/store.duckdb"
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = stack.enter_context(server.database())
        shops = Shops(url, folder, (EXAMPLE / "metrics.py").read_text())
        stack.callback(shops.close)
        yield live_through(shops)


@pytest.fixture
def untracked(store_url: str, tmp_path: Path) -> Iterator[Shops]:
    """The same definitions where the sources tell nothing: the default lookback of seven days."""
    shops = Shops(store_url, tmp_path, untracked_definitions())
    assert shops.fold().warnings == []
    yield shops
    shops.close()


def written(run: Any) -> int:
    return int(run.rows_inserted + run.rows_updated + run.rows_deleted)


def different(before: Figures, after: Figures) -> int:
    """How many cells two states do not have in common."""
    return sum(before.get(cell) != after.get(cell) for cell in before.keys() | after.keys())


def test_every_number_is_the_plain_count(week: Week) -> None:
    """After the first fold, and after rows came late, moved, went and changed their shop: all cells, all metrics."""
    assert {None, 5, 8, 9} <= {shop for shop, _ in week.before}
    assert week.stored_before == week.before
    assert (week.run.status, week.run.warnings) == ("done", [])
    assert week.stored_after == week.after
    assert min(day for _, day in week.after) == dt.date(2024, 12, 30)
    assert 9 not in {shop for shop, _ in week.after}


def test_bad_week_costs_what_changed(week: Week) -> None:
    """Rows written are those that differ; cells computed are some more, for rows that changed and count the same."""
    assert written(week.run) == different(week.before, week.after) > 500
    assert written(week.run) <= week.run.cells < len(week.before) * 2 // 3


def test_folding_again_writes_nothing(week: Week) -> None:
    """Not a cell is computed, not even today's; a row that was touched and stayed the same is no change."""
    week.shops.close()
    run_sql(week.shops.url, "UPDATE testimonial_submission SET media_type = media_type WHERE shop_id = 3")
    run = week.shops.fold()
    assert (run.cells, written(run), run.days) == (0, 0, [])


def test_untouched_rows_keep_their_stamps(week: Week) -> None:
    """updated_at and run_id move where a value does, and nowhere else; created_at moves never."""
    assert week.stamps_after.keys() == week.after.keys()
    for cell, stamps in week.stamps_after.items():
        if week.before.get(cell) == week.after[cell]:
            assert stamps == week.stamps_before[cell]
        else:
            created_at = week.stamps_before[cell][0] if cell in week.before else week.folded_at
            assert stamps == (created_at, week.folded_at, week.run.run_id)


def test_range_sums_equal_the_live_source(week: Week) -> None:
    """KPI cards: one shop and all of them, over windows that cut months, a silent shop and the day without data."""
    windows = [("2024-12-30", "2026-02-04"), ("2025-06-10", "2025-06-20"), ("2025-11-11", "2025-11-11")]
    for shop in (None, 1, 2, 5, 7, 8, 9):
        for first, last in windows:
            where = [] if shop is None else [f"shop_id={shop}"]
            answer = week.shops.app.query(
                "TestimonialDaily", from_=first, to=last, grain="total", where=where, allow_missing=False
            )
            expected = totals(week.after, dt.date.fromisoformat(first), dt.date.fromisoformat(last), shop)
            [row] = answer.rows
            assert tuple(row[metric] for metric in METRICS) == expected, (shop, first)
            sent, submitted = row["requests_sent"], row["submissions_count"]
            assert row["response_rate"] == (submitted / sent if sent else None)


def test_daily_series_has_zeros_where_nothing_happened(week: Week) -> None:
    """The day on which the service was down is covered and zero, and so is every day of the shop that went silent."""
    shops = week.shops
    answer = shops.app.query("TestimonialDaily", list(METRICS), from_="2025-06-14", to="2025-06-16")
    figures = [tuple(row[metric] for metric in METRICS) for row in answer.rows]
    days = [dt.date(2025, 6, day) for day in (14, 15, 16)]
    assert figures == [totals(week.after, day, day) for day in days]
    assert figures[1] == (0,) * len(METRICS)
    assert answer.missing == []
    silent = shops.app.query(
        "TestimonialDaily", ["requests_sent"], from_="2025-09-01", to="2025-09-30", where=["shop_id=5"]
    )
    assert [row["requests_sent"] for row in silent.rows] == [0] * 30


def test_click_that_only_an_event_knows_counts_once_on_its_first_day(week: Week) -> None:
    """A second click changes nothing; losing the first moves the request to the day of the next."""
    shops = week.shops

    def clicked(*days: int) -> list[int]:
        shops.fold()
        answer = shops.app.query(
            "TestimonialDaily", ["requests_clicked"], from_="2026-02-01", to="2026-02-04", where=["shop_id=777"]
        )
        found = [row["requests_clicked"] for row in answer.rows]
        shops.close()
        return found

    def happens(sql: str) -> None:
        shops.close()
        run_sql(shops.url, sql)

    click = "INSERT INTO testimonial_request_event VALUES (910000000, 'clicked', "
    happens("INSERT INTO testimonial_request VALUES (910000000, 777, '2026-02-01 10:00:00+00', NULL)")
    assert clicked() == [0, 0, 0, 0]
    happens(click + "'2026-02-02 23:30:00+00')")
    happens(click + "'2026-02-03 00:30:00+00')")
    assert clicked() == [0, 1, 0, 0]
    happens("DELETE FROM testimonial_request_event WHERE request_id = 910000000 AND \"at\" < '2026-02-03 00:00:00+00'")
    assert clicked() == [0, 0, 1, 0]
    happens("UPDATE testimonial_request SET clicked_at = '2026-02-04 01:00:00+00' WHERE id = 910000000")
    assert clicked() == [0, 0, 0, 1]
    happens("DELETE FROM testimonial_request_event WHERE request_id = 910000000")
    happens("DELETE FROM testimonial_request WHERE id = 910000000")
    assert clicked() == [0, 0, 0, 0]


def test_without_changes_the_lookback_is_exact_and_a_rebuild_brings_the_rest(untracked: Shops) -> None:
    """The last seven days follow their source, older ones stand until they are rebuilt: the window, and no day beside it."""
    before = untracked.truth()
    assert untracked.stored() == before
    untracked.bad_week()
    after = untracked.truth()
    run = untracked.fold()
    assert [str(days) for days in run.days] == ["2024-12-30..2024-12-31", "2026-01-29..2026-02-05"]

    def mixed(ranges: Any) -> Figures:
        """The new truth on the days of some ranges, the old one on all others."""
        new = {cell: row for cell, row in after.items() if any(cell[1] in days for days in ranges)}
        return new | {cell: row for cell, row in before.items() if not any(cell[1] in days for days in ranges)}

    stored = mixed(run.days)
    assert untracked.stored() == stored != after
    window = {"from_": "2025-12-01", "to": "2025-12-31"}
    asked = untracked.app.rebuild("TestimonialDaily", **window, dry_run=True)
    rebuilt = mixed([*run.days, Days(dt.date(2025, 12, 1), dt.date(2025, 12, 31))])
    assert asked.cells == different(stored, rebuilt) > 50
    assert untracked.stored() == stored
    done = untracked.app.rebuild("TestimonialDaily", **window)
    assert (done.cells, written(done)) == (asked.cells, asked.cells)
    assert untracked.stored() == rebuilt


def test_window_is_rebuilt_without_a_change(week: Week) -> None:
    """A rebuild of a true window, for all shops or one, finds nothing to write, and no stamp moves."""
    shops = week.shops
    before = shops.stamps()
    shops.clock.instant += dt.timedelta(hours=1)
    for how in ({"dry_run": True}, {}, {"where": ["shop_id=2"]}):
        found = shops.app.rebuild("TestimonialDaily", from_="2025-11-01", to="2025-11-30", **how)
        assert (found.days, found.cells, found.moves) == (30, 0, [])
    assert shops.stamps() == before


def test_tampered_row_is_found_and_healed(week: Week) -> None:
    """Verify finds the one cell that somebody changed, heals it, and afterwards the quarter is proved."""
    shops = week.shops
    shops.close()
    cell = "shop_id = 1 AND date = '2025-10-10'"
    run_sql(shops.url, f"UPDATE testimonial_daily_analytics SET approved_count = approved_count + 1 WHERE {cell}")
    days = {"from_": "2025-10-06", "to": "2025-10-12"}
    [found] = shops.app.verify("TestimonialDaily", **days)
    assert (found.days, found.drifted, found.is_proved) == (7, 1, False)
    [drift] = found.drifts
    assert (drift.key, drift.day, drift.metric) == ({"shop_id": 1}, dt.date(2025, 10, 10), "approved_count")
    [healed] = shops.app.verify("TestimonialDaily", **days, heal=True)
    assert (healed.drifted, healed.healed, healed.is_proved) == (1, 1, True)
    [proof] = shops.app.verify("TestimonialDaily", from_="2025-10-01", to="2025-12-31")
    assert (proof.days, proof.drifted, proof.is_proved) == (92, 0, True)
    assert shops.stored() == week.after


def test_fallback_for_a_missing_approval_counts_on_the_day_of_submission(untracked: Shops) -> None:
    """What the README says to write where there is no approved_at: another day, and another number."""
    [fallback] = re.findall(r"^approved_count = .*$", (EXAMPLE / "README.md").read_text(), re.MULTILINE)
    text = untracked.definitions.read_text()
    edited = text.replace('approved_count = Count(submission, at="approved_at")', fallback)
    assert edited != text
    untracked.close()
    untracked.definitions.write_text(edited)
    untracked.fold()
    untracked.close()
    submissions = run_sql(untracked.url, "SELECT shop_id, submitted_at, status FROM testimonial_submission")
    expected = Counter(
        (shop, moment.astimezone(dt.UTC).date())
        for shop, moment, status in submissions
        if status in ("approved", "published")
    )
    at = METRICS.index("approved_count")
    assert {cell: row[at] for cell, row in untracked.stored().items() if row[at]} == expected
    assert any(expected[cell] != row[at] for cell, row in untracked.truth().items())
