"""Functions as sources: fetched once, typed, kept day by day; what is not ready is null, and what is corrected is folded again."""

from __future__ import annotations

import datetime as dt
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dayfold import Count, Dayfold, Distinct, Gauge, NotReady, Ratio, Rollup, Sum, source
from dayfold.clock import FixedClock
from dayfold.define.function import FunctionSource
from dayfold.errors import Busy, SourceFailed, Stopped
from dayfold.fold import fetch
from dayfold.ledger import leases
from tests.engines.ground import NOW, D, Ground, march
from tests.loopback import Answers, Loopback
from tests.sql import run_sql, store_config

pytestmark = pytest.mark.in_turn

COLUMNS = {"platform": "text", "spend": "numeric(12,2)", "clicks": "bigint"}
REASON = "the report comes after two days"
TODAY = NOW.date()


class Reports:
    """What an API has for each day: rows, an exception, or nothing yet; and the days that it was asked for."""

    def __init__(self) -> None:
        self.by_day: dict[dt.date, Any] = {}
        self.asked: list[dt.date] = []

    def set(self, day: int, *rows: tuple[Any, ...], error: BaseException | None = None) -> None:
        self.by_day[D(2026, 3, day)] = error if error is not None else list(rows)

    def __call__(self, day: dt.date) -> Any:
        self.asked.append(day)
        found = self.by_day.get(day, [])
        if isinstance(found, BaseException):
            raise found
        return found

    def days(self) -> list[int]:
        """The days of March that were asked for since the last look, in order."""
        found, self.asked = [day.day for day in self.asked], []
        return sorted(found)


@pytest.fixture
def reports() -> Reports:
    return Reports()


def function(reports: Reports, name: str = "ad_spend", **options: Any) -> FunctionSource:
    def fetch_day(day: dt.date) -> Any:
        return reports(day)

    fetch_day.__name__ = name
    options = {"columns": COLUMNS, "since": "2026-03-01", **options}
    made: FunctionSource = source(**options)(fetch_day)
    return made


def daily(spend: FunctionSource, **more: Any) -> type[Any]:
    metrics = {"spend": Sum(spend, "spend"), "clicks": Sum(spend, "clicks", at="day")}
    return type("AdDaily", (Rollup,), {"key": "platform", **metrics, **more})


def spent(ground: Ground, first: int = 1, last: int = 12, rollup: str = "AdDaily", **more: Any) -> dict[int, Any]:
    """The spend of each day of March, as a number or null."""
    rows = ground.ask(rollup, "spend", first=first, last=last, **more)
    return {row["day"].day: None if row["spend"] is None else float(row["spend"]) for row in rows}


def written(runs: list[Any]) -> int:
    return sum(run.rows_inserted + run.rows_updated + run.rows_deleted for run in runs)


def states(ground: Ground, source: str = "ad_spend") -> dict[int, tuple[str, str | None]]:
    found = ground.stored(
        "SELECT day, state, reason FROM dayfold_coverage WHERE source = $1 AND rollup = 'AdDaily' ORDER BY day",
        [source],
    )
    return {day.day: (state, reason) for day, state, reason in found}


# -- what a rollup shows ---------------------------------------------------------------------------


def test_rows_of_each_day_are_folded_and_a_day_without_rows_is_zero(ground: Ground, reports: Reports) -> None:
    """An empty answer is an answer."""
    reports.set(10, ("tiktok", "12.50", 3), ("youtube", 2, 1))
    reports.set(11, ("tiktok", "0.25", 1))
    ground.define(daily(function(reports)))
    ground.fold()
    assert reports.days() == list(range(1, 13))
    assert spent(ground, 9) == {9: 0.0, 10: 14.5, 11: 0.25, 12: 0.0}
    assert [row["clicks"] for row in ground.ask("AdDaily", "clicks", first=10, last=10, by=["platform"])] == [3, 1]
    assert states(ground)[11] == ("folded", None)
    assert states(ground)[12] == ("open", None)


def test_folding_again_writes_nothing_and_asks_for_the_lookback(ground: Ground, reports: Reports) -> None:
    """Seven days and today are asked for again; equal answers change nothing."""
    reports.set(3, ("tiktok", 1, 1))
    reports.set(10, ("tiktok", 2, 1))
    ground.define(daily(function(reports)))
    ground.fold()
    reports.days()
    before = ground.stored("SELECT * FROM ad_daily ORDER BY day")
    [run] = ground.fold()
    assert reports.days() == list(range(5, 13))
    assert (written([run]), run.cells, run.days) == (0, 0, [])
    assert ground.stored("SELECT * FROM ad_daily ORDER BY day") == before
    assert ground.stored("SELECT count(*) FROM dayfold__marks") == [(0,)]


def test_a_corrected_day_is_folded_again_and_no_other(ground: Ground, reports: Reports) -> None:
    """A row more, a row less and another value all count."""
    reports.set(9, ("tiktok", 1, 1), ("youtube", 5, 5))
    reports.set(10, ("tiktok", 2, 1))
    ground.define(daily(function(reports)))
    ground.fold()
    reports.set(9, ("tiktok", 1, 2), ("youtube", 5, 5), ("youtube", 5, 5))
    [run] = ground.fold()
    assert [str(days) for days in run.days] == ["2026-03-09"]
    assert run.rows_updated == 2
    assert spent(ground, 9, 10) == {9: 11.0, 10: 2.0}
    reports.set(9, ("tiktok", 1, 2))
    [run] = ground.fold()
    assert (run.rows_updated, run.rows_deleted) == (0, 1)
    assert spent(ground, 9, 10) == {9: 1.0, 10: 2.0}


def test_not_ready_is_null_with_its_reason_and_asked_again_until_it_answers(ground: Ground, reports: Reports) -> None:
    """However old the day is; and a query that adds it up says what is missing."""
    reports.set(2, error=NotReady(REASON))
    reports.set(11, error=NotReady(REASON))
    reports.set(10, ("tiktok", 1, 1))
    ground.define(daily(function(reports, lookback=1)))
    [run] = ground.fold()
    assert run.status == "done"
    assert spent(ground) == {**dict.fromkeys(range(1, 13), 0.0), 2: None, 10: 1.0, 11: None}
    answer = ground.answer("AdDaily", "spend")
    assert [(str(gap.days), gap.reason) for gap in answer.missing] == [
        ("2026-03-02", f"not ready: {REASON}"),
        ("2026-03-11", f"not ready: {REASON}"),
    ]
    assert answer.stale == []
    assert ground.ask("AdDaily", "spend", grain="total")[0]["spend"] is None
    assert states(ground)[2] == ("open", REASON)
    reports.days()
    assert written(ground.fold()) == 0
    assert reports.days() == [2, 11, 12]
    reports.set(2, ("tiktok", 4, 1))
    reports.set(11)
    ground.fold()
    assert spent(ground, 1, 3) == {1: 0.0, 2: 4.0, 3: 0.0}
    assert spent(ground, 11, 11) == {11: 0.0}
    assert states(ground)[2] == ("folded", None)
    assert ground.answer("AdDaily", "spend").missing == []


def test_the_stored_table_holds_null_where_a_day_is_not_ready(ground: Ground, reports: Reports) -> None:
    """Whoever reads the table itself sees no zero: beside another source's facts, and before the function's first day."""
    rows = [{"platform": "tiktok", "made": march(day)} for day in (1, 2, 3)]
    ground.load("post", "platform text, made timestamptz", rows)
    reports.set(3, error=NotReady(REASON))
    spend = function(reports, since="2026-03-02")
    ground.define(daily(spend, posts=Count(ground.table("post"), at="made")))
    ground.fold()
    stored = "SELECT day, posts, spend, clicks FROM ad_daily ORDER BY day"
    found = ground.stored(stored)
    assert [(day.day, *rest) for day, *rest in found] == [(1, 1, None, None), (2, 1, 0, 0), (3, 1, None, None)]
    assert spent(ground, 1, 4) == {1: None, 2: 0.0, 3: None, 4: 0.0}
    gaps = [(str(gap.days), gap.reason) for gap in ground.answer("AdDaily", "spend").missing]
    assert gaps == [
        ("2026-03-01", "before the history, which starts on 2026-03-02"),
        ("2026-03-03", f"not ready: {REASON}"),
    ]
    assert written(ground.fold()) == 0
    reports.set(3)
    ground.fold()
    assert [(day.day, *rest) for day, *rest in ground.stored(stored)][2] == (3, 1, 0, 0)


def test_a_day_that_is_not_ready_yet_again_moves_nothing(ground: Ground, reports: Reports) -> None:
    """Answers that were kept stay good until something is published; a day that becomes ready is."""
    reports.set(10, ("tiktok", 1, 1))
    reports.set(11, error=NotReady(REASON))
    ground.define(daily(function(reports)))
    ground.fold()
    held = "SELECT * FROM dayfold__rollups", "SELECT * FROM dayfold__coverage ORDER BY day, source"
    before = [ground.stored(one) for one in held]
    ground.fold()
    assert [ground.stored(one) for one in held] == before
    ground.clock.instant = march(13)
    ground.fold()
    before = [ground.stored(one) for one in held]
    ground.fold()
    assert [ground.stored(one) for one in held] == before
    reports.set(11, ("tiktok", 2, 1))
    ground.fold()
    assert [ground.stored(one) for one in held] != before


def test_figures_stand_while_a_later_fetch_is_not_ready(ground: Ground, reports: Reports) -> None:
    """They are shown as stale, with the reason."""
    reports.set(10, ("tiktok", 7, 1))
    ground.define(daily(function(reports)))
    ground.fold()
    reports.set(10, error=NotReady("the report is being corrected"))
    [run] = ground.fold()
    assert (run.status, written([run])) == ("done", 0)
    assert spent(ground, 10, 10) == {10: 7.0}
    [gap] = ground.answer("AdDaily", "spend").stale
    assert (str(gap.days), gap.reason) == ("2026-03-10", "not ready: the report is being corrected")
    assert ground.opened.status().rollups[0].state == "waiting"
    reports.set(10, ("tiktok", 8, 1))
    ground.fold()
    assert spent(ground, 10, 10) == {10: 8.0}
    assert ground.answer("AdDaily", "spend").stale == []
    assert ground.opened.status().rollups[0].state == "up to date"


def test_a_day_that_is_over_is_asked_for_once_more(ground: Ground, reports: Reports) -> None:
    """Without a lookback as well: what was answered on the day itself is not the last word."""
    reports.set(12, ("tiktok", 1, 1))
    ground.define(daily(function(reports, lookback=0)))
    ground.fold()
    assert states(ground)[12] == ("open", None)
    ground.clock.instant = march(14)
    reports.days()
    assert written(ground.fold()) == 0
    assert reports.days() == [12, 13, 14]
    assert states(ground)[12] == ("folded", None)
    assert states(ground)[13] == ("folded", None)
    ground.fold()
    assert reports.days() == [14]


def test_wait_days_gives_up_and_says_so(ground: Ground, reports: Reports) -> None:
    """The run in which it gives up is partial; the day is failed and asked for no more."""
    reports.set(8, error=NotReady(REASON))
    reports.set(10, error=NotReady(REASON))
    ground.define(daily(function(reports, wait_days=3, lookback=0)))
    [run] = ground.opened.fold()
    assert run.status == "partial"
    assert run.error == f"ad_spend: 2026-03-08 could not be fetched: not ready after 3 days: {REASON}"
    assert states(ground)[8] == ("failed", f"not ready after 3 days: {REASON}")
    assert states(ground)[10] == ("open", REASON)
    reports.days()
    [run] = ground.opened.fold()
    assert run.status == "done"
    assert reports.days() == [10, 12]
    assert spent(ground, 8, 9) == {8: None, 9: 0.0}
    reports.set(8, ("tiktok", 1, 1))
    ground.opened.rebuild("AdDaily", from_="2026-03-08", to="2026-03-08")
    assert spent(ground, 8, 9) == {8: 1.0, 9: 0.0}


# -- failures --------------------------------------------------------------------------------------


def test_a_day_that_fails_leaves_other_days_and_sources_alone(ground: Ground, reports: Reports) -> None:
    """The exception is told by its class; its text may hold a token."""
    ground.load("post", "platform text, made timestamptz", [{"platform": "tiktok", "made": march(d)} for d in (10, 11)])
    reports.set(10, ("tiktok", 1, 1))
    reports.set(11, error=RuntimeError("token=secret"))
    ground.define(daily(function(reports), posts=Count(ground.table("post"), at="made")))
    [run] = ground.opened.fold()
    assert run.status == "partial"
    assert run.error == "ad_spend: 2026-03-11 could not be fetched: the function raised RuntimeError"
    rows = ground.ask("AdDaily", "spend", "posts", first=10, last=11)
    assert [(row["posts"], row["spend"]) for row in rows] == [(1, 1), (1, None)]
    [gap] = ground.answer("AdDaily", "spend", "posts").missing
    assert (str(gap.days), gap.reason, gap.metrics) == (
        "2026-03-11", "failed: the function raised RuntimeError", ("spend",),
    )  # fmt: skip
    assert ground.opened.status().rollups[0].state == "failing"
    kept = ground.stored("SELECT reason FROM dayfold__fetches UNION ALL SELECT error FROM dayfold_runs")
    assert not any("secret" in (text or "") for (text,) in kept)
    assert ground.opened.fold()[0].status == "partial"
    reports.set(11, ("tiktok", 2, 1))
    ground.fold()
    assert spent(ground, 10, 11) == {10: 1.0, 11: 2.0}


def test_figures_stand_while_a_later_fetch_fails(ground: Ground, reports: Reports) -> None:
    """They are shown as stale, with the reason, until it answers."""
    reports.set(10, ("tiktok", 7, 1))
    ground.define(daily(function(reports)))
    ground.fold()
    reports.set(10, error=TimeoutError())
    assert ground.opened.fold()[0].status == "partial"
    assert spent(ground, 10, 10) == {10: 7.0}
    [gap] = ground.answer("AdDaily", "spend").stale
    assert gap.reason == "failed: the function raised TimeoutError"
    reports.set(10, ("tiktok", 7, 1))
    assert written(ground.fold()) == 0
    assert ground.answer("AdDaily", "spend").stale == []


WRONG = [
    ([{"platform": "x", "spend": 1}], "a row lacks the column 'clicks'"),
    (
        [{"platform": "x", "spend": 1, "clicks": 1, "click": 2}],
        "a row has the column 'click', which is not declared; the nearest is 'clicks'",
    ),
    ([("x", "much", 1)], "a value of the column 'spend' is no numeric(12,2)"),
    ([("x", float("nan"), 1)], "a value of the column 'spend' is no numeric(12,2)"),
    ([("x", "1.005", 1)], "a value of the column 'spend' is no numeric(12,2)"),
    ([("x", 1, 1.5)], "a value of the column 'clicks' is no bigint"),
    ([("x", 1)], "a row has 2 values; expected 3: platform, spend, clicks"),
    ([("x", 1, 1), {"platform": "x"}], "a row is neither a dict nor a tuple, or the rows are not of one kind"),
    (None, "it returned nothing (None); expected rows, [] for a day without facts"),
    ({"platform": "x"}, "it returned one dict; expected rows, [] for a day without facts"),
]


@pytest.mark.parametrize(("rows", "reason"), WRONG, ids=lambda one: one if isinstance(one, str) else "")
def test_a_wrong_row_fails_its_day_and_names_the_column(
    store: Ground, reports: Reports, rows: Any, reason: str
) -> None:
    """Source, day and column are named, and no value."""
    reports.by_day[TODAY - dt.timedelta(days=2)] = rows
    reports.set(9, ("tiktok", 1, 1))
    store.define(daily(function(reports)))
    [run] = store.opened.fold()
    assert run.error == f"ad_spend: 2026-03-10 could not be fetched: {reason}"
    assert spent(store, 9, 11) == {9: 1.0, 10: None, 11: 0.0}


def test_a_function_that_has_nothing_at_once_is_stopped(ground: Ground, reports: Reports) -> None:
    """A key that ran out must not empty a week; --allow-empty says that it is true."""
    reports.set(9, ("tiktok", 1, 1))
    reports.set(11, ("tiktok", 2, 1))
    spend = function(reports)
    other = type("Clicks", (Rollup,), {"clicks": Sum(spend, "clicks")})
    ground.define(daily(spend), other)
    ground.fold()
    reports.by_day.clear()
    runs = ground.opened.fold()
    message = (
        "ad_spend returns nothing for 2026-03-09 to 2026-03-11, where it had 2 facts before. Nothing was changed.\n"
        "  If its facts are really gone, run again with --allow-empty. Otherwise check what it asks, and its rights."
    )
    assert [(run.status, run.error) for run in runs] == [("failed", message)] * 2
    assert spent(ground, 9, 11) == {9: 1.0, 10: 0.0, 11: 2.0}
    reports.set(11, ("tiktok", 2, 1))
    ground.fold()
    assert spent(ground, 9, 11) == {9: 0.0, 10: 0.0, 11: 2.0}
    reports.by_day.clear()
    ground.fold(allow_empty=True)
    assert spent(ground, 9, 11) == {9: 0.0, 10: 0.0, 11: 0.0}
    assert written(ground.fold()) == 0


# -- several rollups -------------------------------------------------------------------------------


def test_one_fold_asks_once_for_all_rollups_and_marks_those_that_are_not_folded(
    ground: Ground, reports: Reports
) -> None:
    """A rollup that is folded later finds the days that changed marked, with the reason."""
    reports.set(10, ("tiktok", 1, 1))
    spend = function(reports)
    ground.define(
        daily(spend), type("Clicks", (Rollup,), {"spend": Sum(spend, "spend"), "people": Distinct(spend, "platform")})
    )
    ground.fold()
    assert reports.days() == list(range(1, 13))
    reports.set(10, ("tiktok", 3, 1))
    ground.fold(rollups=["AdDaily"])
    assert ground.stored("SELECT rollup, key, day, reason FROM dayfold_stale") == [
        ("Clicks", None, D(2026, 3, 10), "ad_spend: fetched")
    ]
    assert spent(ground, 10, 10, "Clicks") == {10: 1.0}
    reports.days()
    [run] = ground.fold(rollups=["Clicks"])
    assert [str(days) for days in run.days] == ["2026-03-10"]
    assert spent(ground, 10, 10, "Clicks") == {10: 3.0}


def test_a_rollup_that_comes_later_folds_what_was_fetched(ground: Ground, reports: Reports) -> None:
    """Its history is that of the source; nothing but the lookback is asked for again."""
    reports.set(2, ("tiktok", 1, 1))
    spend = function(reports, lookback=2)
    ground.define(daily(spend))
    ground.fold()
    reports.days()
    ground.define(daily(spend), type("Clicks", (Rollup,), {"spend": Sum(spend, "spend")}))
    ground.fold()
    assert reports.days() == [10, 11, 12]
    assert spent(ground, 1, 3, "Clicks") == {1: 0.0, 2: 1.0, 3: 0.0}


def test_history_without_since_begins_with_the_lookback_and_leaves_no_gap(ground: Ground, reports: Reports) -> None:
    """Days between two folds far apart are asked for as well."""
    ground.define(daily(function(reports, since=None, lookback=2)))
    ground.fold()
    assert reports.days() == [10, 11, 12]
    ground.clock.instant = march(20)
    ground.fold()
    assert reports.days() == list(range(12, 21))


def test_answers_are_kept_while_others_are_asked_for(
    store: Ground, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is stopped has kept what it had; the next one asks for the rest, and says how far it is."""
    monkeypatch.setattr(fetch, "_BATCH_DAYS", 2)
    reports.set(1, ("tiktok", 1, 1))
    reports.set(6, error=KeyboardInterrupt())
    store.define(daily(function(reports, lookback=0)))
    with pytest.raises(KeyboardInterrupt):
        store.opened.fold()
    reports.days()
    reports.set(6, ("tiktok", 2, 1))
    seen: list[tuple[str, int, int]] = []
    store.fold(progress=lambda *words: seen.append(words))
    assert reports.days() == list(range(5, 13))
    assert seen[:4] == [("ad_spend", 2, 8), ("ad_spend", 4, 8), ("ad_spend", 6, 8), ("ad_spend", 8, 8)]
    assert spent(store, 1, 6) == {1: 1.0, 2: 0.0, 3: 0.0, 4: 0.0, 5: 0.0, 6: 2.0}


def test_a_fold_that_is_told_to_stop_asks_no_further_day_and_keeps_what_it_has(store: Ground, reports: Reports) -> None:
    """A long history is not asked to its end first; the next fold asks for the rest."""
    reports.set(2, ("tiktok", 1, 1))
    store.define(daily(function(reports, lookback=0)))

    def stop() -> None:
        if len(reports.asked) == 3:
            raise Stopped("The job was stopped.")

    [run] = store.opened.fold(stop=stop)
    assert (run.status, run.error) == ("stopped", "The job was stopped.")
    assert reports.days() == [1, 2, 3]
    store.fold()
    assert reports.days() == list(range(4, 13))
    assert spent(store, 1, 3) == {1: 0.0, 2: 1.0, 3: 0.0}


def test_two_functions_of_one_rollup_do_not_wait_for_each_other(ground: Ground, reports: Reports) -> None:
    """One is not ready; the other's figures are there."""
    clicks = Reports()
    clicks.set(11, ("tiktok", 1, 5))
    reports.set(11, error=NotReady(REASON))
    spend, other = function(reports), function(clicks, "ad_clicks")
    ground.define(
        type("AdDaily", (Rollup,), {"key": "platform", "spend": Sum(spend, "spend"), "clicks": Sum(other, "clicks"),
                                    "cost": Ratio("spend", "clicks")})
    )  # fmt: skip
    ground.fold()
    [row] = ground.ask("AdDaily", "spend", "clicks", "cost", first=11, last=11)
    assert (row["spend"], row["clicks"], row["cost"]) == (None, 5, None)
    assert ground.stored("SELECT spend, clicks FROM ad_daily") == [(None, 5)]


# -- other verbs -----------------------------------------------------------------------------------


def test_plan_says_how_many_days_it_would_ask_for_and_calls_nothing(ground: Ground, reports: Reports) -> None:
    """Before the first fold and after it."""
    reports.set(10, ("tiktok", 1, 1))
    app = ground.define(daily(function(reports)))
    [plan] = app.plan()
    assert (plan.fetches, plan.failing, sum(map(len, plan.days))) == ({"ad_spend": 12}, {}, 12)
    assert reports.days() == []
    ground.fold()
    reports.days()
    [plan] = app.plan()
    assert (plan.fetches, plan.days) == ({"ad_spend": 8}, [])
    assert reports.days() == []


def test_live_answers_read_what_was_fetched_and_call_nothing(ground: Ground, reports: Reports) -> None:
    """Before a fold nothing is known; after it, what is not ready stays null beside what is live of other sources."""
    ground.load("post", "platform text, made timestamptz", [{"platform": "tiktok", "made": march(d)} for d in (9, 11)])
    reports.set(10, ("tiktok", 1, 1))
    reports.set(11, error=NotReady(REASON))
    ground.define(daily(function(reports), posts=Count(ground.table("post"), at="made"), lookback=7))
    live = ground.answer("AdDaily", "spend", "posts", first=10, live=True)
    assert [(row["posts"], row["spend"]) for row in live.rows] == [(0, None), (1, None), (0, None)]
    assert {gap.reason for gap in live.missing} == {"failed: ad_spend was never fetched."}
    assert reports.days() == []
    ground.fold()
    reports.days()
    ground.insert("post", [{"platform": "tiktok", "made": march(11)}, {"platform": "youtube", "made": march(10)}])
    live = ground.answer("AdDaily", "spend", "posts", first=10, live=True)
    assert [(row["posts"], row["spend"]) for row in live.rows] == [(1, 1), (2, None), (0, 0)]
    assert [gap.reason for gap in live.missing] == [f"not ready: {REASON}"]
    by_platform = ground.ask("AdDaily", "spend", first=10, last=10, by=["platform"], live=True)
    assert [row["spend"] for row in by_platform] == [1, 0]
    assert reports.days() == []


def test_explain_shows_the_fetched_rows(ground: Ground, reports: Reports) -> None:
    """And why a day has no number."""
    reports.set(10, ("tiktok", "1.50", 1), ("youtube", 2, 1))
    reports.set(11, error=NotReady(REASON))
    app = ground.define(daily(function(reports)))
    ground.fold()
    reports.days()
    found = app.explain("AdDaily", "spend", day="2026-03-10", where=["platform=tiktok"])
    [evidence] = found.evidence
    assert [str(row["spend"]) for row in evidence.rows] == ["1.50"]
    assert (found.value, found.present) == (found.present, found.value)
    found = app.explain("AdDaily", "spend", day="2026-03-11", where=["platform=tiktok"])
    assert found.why == [f"There is no number: not ready: {REASON}."]
    assert (found.value, found.present) == (None, None)
    assert reports.days() == []


def test_rebuild_asks_anew_and_stops_where_a_day_fails(ground: Ground, reports: Reports) -> None:
    """Days before the lookback are corrected by it; a dry run calls nothing."""
    reports.set(2, ("tiktok", 1, 1))
    app = ground.define(daily(function(reports, lookback=1)))
    ground.fold()
    reports.set(2, ("tiktok", 5, 1))
    reports.days()
    assert app.rebuild("AdDaily", from_="2026-03-01", to="2026-03-03", dry_run=True).cells == 0
    assert reports.days() == []
    assert app.rebuild("AdDaily", from_="2026-03-01", to="2026-03-03").cells == 1
    assert reports.days() == [1, 2, 3]
    assert spent(ground, 2, 2) == {2: 5.0}
    reports.set(2, error=OSError())
    with pytest.raises(SourceFailed) as error:
        app.rebuild("AdDaily", from_="2026-03-01", to="2026-03-03")
    assert str(error.value) == (
        "ad_spend: 2026-03-02 could not be fetched: the function raised OSError. Nothing was changed."
    )
    assert spent(ground, 2, 2) == {2: 5.0}
    reports.set(2, ("tiktok", 5, 1))
    assert written(ground.fold()) == 0


def test_verify_compares_with_what_was_fetched(ground: Ground, reports: Reports) -> None:
    """No function is called; days that are not ready are left out; those before its first day are compared."""
    ground.load(
        "post", "platform text, made timestamptz", [{"platform": "tiktok", "made": march(d)} for d in (1, 9, 10)]
    )
    reports.set(9, ("tiktok", 1, 1))
    reports.set(10, error=NotReady(REASON))
    spend = function(reports, since="2026-03-05")
    app = ground.define(daily(spend, posts=Count(ground.table("post"), at="made")))
    ground.fold()
    reports.days()
    [result] = app.verify(from_="2026-03-01", to="2026-03-12")
    assert (result.drifted, result.days, result.error) == (0, 10, None)
    assert result.left_out == {"open days": 2}
    assert result.notes == ["ad_spend is compared as it was fetched; `dayfold rebuild` asks it anew"]
    assert reports.days() == []
    ground.stored("UPDATE ad_daily SET spend = 99 WHERE day = DATE '2026-03-09'")
    [result] = app.verify(heal=True, from_="2026-03-01", to="2026-03-12")
    assert (result.drifted, result.healed) == (1, 1)
    assert reports.days() != []
    assert spent(ground, 9, 9) == {9: 1.0}


def test_sealed_days_are_never_fetched(ground: Ground, reports: Reports) -> None:
    """What an adopted table says stands."""
    ground.load("legacy", "platform text, day date, spend numeric(12,2), clicks bigint",
                [{"platform": "tiktok", "day": D(2026, 3, n), "spend": 8, "clicks": 1} for n in (2, 4)])  # fmt: skip
    reports.set(2, ("tiktok", 1, 1))
    reports.set(10, ("tiktok", 1, 1))
    app = ground.define(daily(function(reports, since="2026-03-02")))
    app.adopt("AdDaily", "legacy", database=ground.pairing.database, to="2026-03-04")
    ground.fold()
    assert reports.days() == list(range(5, 13))
    assert spent(ground, 2, 5) == {2: 8.0, 3: 0.0, 4: 8.0, 5: 0.0}
    assert ground.stored("SELECT count(*) FROM dayfold__marks") == [(0,)]


def test_an_edit_of_the_columns_fetches_the_history_anew(ground: Ground, reports: Reports) -> None:
    """Readers see the old version until then, and the old rows are gone afterwards."""
    reports.set(2, ("tiktok", 1, 1))
    ground.define(daily(function(reports)))
    ground.fold()
    reports.days()
    reports.by_day = {D(2026, 3, 2): [("tiktok", "1.125", 1)]}
    ground.define(daily(function(reports, columns={**COLUMNS, "spend": "numeric(12,3)"})))
    ground.fold()
    assert reports.days() == list(range(1, 13))
    assert spent(ground, 2, 2) == {2: 1.125}
    assert len(staged(ground)) == 1


def test_a_function_that_an_edit_adds_is_fetched_before_readers_see_it(ground: Ground, reports: Reports) -> None:
    """A day that fails does not hold the edit back; it is null with its reason."""
    ground.load("post", "platform text, made timestamptz", [{"platform": "tiktok", "made": march(d)} for d in (9, 10)])
    posts = Count(ground.table("post"), at="made")
    ground.define(type("AdDaily", (Rollup,), {"key": "platform", "posts": posts}))
    ground.fold()
    reports.set(9, ("tiktok", 5, 1))
    reports.set(10, error=OSError())
    ground.define(daily(function(reports), posts=posts))
    assert ground.opened.fold()[0].status == "partial"
    rows = ground.ask("AdDaily", "posts", "spend", first=9, last=10)
    assert [(row["posts"], row["spend"]) for row in rows] == [(1, 5), (1, None)]
    reports.set(10)
    ground.fold()
    assert spent(ground, 9, 10) == {9: 5.0, 10: 0.0}


def staged(ground: Ground) -> list[str]:
    found = ground.stored(
        "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'dayfold__source_%' AND "
        "table_name <> 'dayfold__sources' ORDER BY 1"
    )
    return [name for (name,) in found]


def test_what_was_fetched_goes_with_the_last_rollup_that_reads_it(ground: Ground, reports: Reports) -> None:
    """Not before; and the table is hidden from whoever looks for tables."""
    spend = function(reports)
    keep = type("Keep", (Rollup,), {"n": Count(spend)})
    app = ground.define(daily(spend), keep)
    ground.fold()
    assert len(staged(ground)) == 1
    assert not any(name.startswith("dayfold_") for name in app.databases.store.tables())
    other = Reports()
    rest = type("Rest", (Rollup,), {"n": Count(function(other, "others"))})
    ground.define(keep, rest).prune(["AdDaily"])
    assert len(staged(ground)) == 1
    ground.define(rest).prune(["Keep"])
    assert staged(ground) == []
    ground.define(daily(spend))
    reports.days()
    ground.fold()
    assert reports.days() == list(range(1, 13))


def test_a_staging_table_that_somebody_dropped_is_fetched_anew(ground: Ground, reports: Reports) -> None:
    """All of its days are asked for again, and nothing is written where they say the same."""
    reports.set(2, ("tiktok", 1, 1))
    ground.define(daily(function(reports)))
    ground.fold()
    [name] = staged(ground)
    ground.stored(f"DROP TABLE {name}")
    reports.days()
    assert written(ground.fold()) == 0
    assert reports.days() == list(range(1, 13))
    assert spent(ground, 2, 2) == {2: 1.0}


def test_all_types_come_through(ground: Ground, reports: Reports) -> None:
    """Each declared type is kept as it is, nulls included, and equal answers stay equal."""
    columns = {
        "name": "text", "n": "bigint", "ok": "boolean", "on_": "date", "at_": "timestamptz", "id": "uuid",
        "money": "numeric(20,4)", "rate": "double precision", "more": "json",
    }  # fmt: skip
    row = ("a,\"b\"\n", 2**62, True, "2026-01-02", "2026-01-02T03:04:05+02:00", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
           12.3, 0.5, {"b": [1, None], "a": "ü"})  # fmt: skip
    reports.set(10, row, (None,) * 9)
    spend = function(reports, columns=columns)
    metrics = {
        "n": Sum(spend, "n"), "money": Sum(spend, "money"), "ids": Distinct(spend, "id"), "oks": Count(spend, where="ok"),
        "a": Distinct(spend, "more ->> 'a'"), "level": Gauge(spend, "rate", scale=2), "names": Distinct(spend, "name"),
    }  # fmt: skip
    ground.define(type("Wide", (Rollup,), metrics))
    ground.fold()
    [found] = ground.ask("Wide", first=10, last=10)
    assert {name: str(value) for name, value in found.items() if name != "day"} == {
        "n": str(2**62), "money": "12.3000", "ids": "1", "oks": "1", "a": "1", "level": "0.50", "names": "1",
    }  # fmt: skip
    assert written(ground.fold()) == 0
    assert ground.stored("SELECT count(*) FROM dayfold__marks") == [(0,)]


def test_two_runs_at_once_take_turns(store: Ground, reports: Reports) -> None:
    """While one holds the source, another that may not wait says so, and changes nothing."""
    reports.set(10, ("tiktok", 1, 1))
    spend = function(reports)
    app = store.define(daily(spend))
    store.fold()
    with leases.lease(app.ledger, fetch.source_lease(spend), wait_s=0):
        [run] = app.fold(wait_s=0)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.startswith("source ad_spend is being folded by ")
    assert Busy.code == "busy"
    assert written(store.fold()) == 0


def test_two_runs_that_fetch_at_the_same_time_keep_each_row_once(new_postgres: Callable[[], str]) -> None:
    """One after the other; the second finds what the first has kept."""
    url = new_postgres()
    both_started = threading.Barrier(2, timeout=30)
    results: list[Any] = []

    def run(name: str) -> None:
        reports = Reports()
        reports.set(10, ("tiktok", 1, 1))
        spend = function(reports)
        rollup = type(name, (Rollup,), {"spend": Sum(spend, "spend")})
        other = type("AdWeekly" if name == "AdDaily" else "AdDaily", (Rollup,), {"spend": Sum(spend, "spend")})
        with Dayfold([rollup, other], store_config(url), clock=FixedClock(NOW)) as app:
            both_started.wait()
            results.extend(app.fold())

    threads = [threading.Thread(target=run, args=[name]) for name in ("AdDaily", "AdWeekly")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(one.status, one.error) for one in results] == [("done", None)] * 4
    assert (
        run_sql(url, "SELECT day, spend FROM ad_daily UNION ALL SELECT day, spend FROM ad_weekly")
        == [(D(2026, 3, 10), 1)] * 2
    )
    [(name,)] = run_sql(
        url, "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'dayfold__source_ad%'"
    )
    assert run_sql(url, f"SELECT count(*) FROM {name}") == [(1,)]
    assert run_sql(url, "SELECT count(*) FROM dayfold__marks") == [(0,)]


def test_rows_may_be_dicts_an_arrow_table_or_a_generator(ground: Ground, reports: Reports) -> None:
    """Dicts in any order of their keys, tuples in the order of the columns, and whatever is read as Arrow."""
    import pyarrow as pa

    reports.by_day = {
        D(2026, 3, 9): [{"clicks": 1, "spend": "1.5", "platform": "x"}],
        D(2026, 3, 10): pa.table({"spend": [2.5], "platform": ["x"], "clicks": [1]}),
        D(2026, 3, 11): (row for row in [("x", 3, 1)]),
    }
    ground.define(daily(function(reports, lookback=0)))
    ground.fold()
    assert spent(ground, 9, 11) == {9: 1.5, 10: 2.5, 11: 3.0}


# -- an API ----------------------------------------------------------------------------------------


@pytest.fixture
def api(ground: Ground) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """An HTTP server that has no report of a day until two days later, then a first figure, and a corrected one from the third."""
    asked: list[str] = []

    class Handler(Answers):
        def do_GET(self) -> None:
            day = dt.date.fromisoformat(self.path.strip("/"))
            asked.append(self.path)
            age = (ground.clock.instant.date() - day).days
            spend = None if age < 2 else "10.00" if age == 2 else "12.75"
            body = json.dumps([{"platform": "tiktok", "spend": spend, "clicks": 3}]).encode() if spend else b"{}"
            self.answer(200 if spend else 404, body)

    with Loopback(Handler) as server:
        yield server.origin, lambda: asked


def test_an_api_that_answers_late_and_corrects_itself(ground: Ground, api: tuple[str, Callable[[], list[str]]]) -> None:
    """404 until two days later, then a first figure, then a corrected one: all three reach the rollup."""
    address, _ = api

    @source(columns=COLUMNS, since="2026-03-10", lookback=3)
    def ad_spend(day: dt.date) -> Any:
        try:
            with urllib.request.urlopen(f"{address}/{day}") as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    raise NotReady(REASON) from None
                raise

    ground.define(daily(ad_spend))
    seen = []
    for day in (10, 11, 12, 13, 14):
        ground.clock.instant = march(day)
        ground.fold()
        seen.append(spent(ground, 10, day))
    assert seen == [
        {10: None},
        {10: None, 11: None},
        {10: 10.0, 11: None, 12: None},
        {10: 12.75, 11: 10.0, 12: None, 13: None},
        {10: 12.75, 11: 12.75, 12: 10.0, 13: None, 14: None},
    ]
    assert written(ground.fold()) == 0
