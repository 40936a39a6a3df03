"""The creator app on both engines: every number by day, week and month against a count by hand.

The oracle reads the tables as rows and counts in Python; what the advertising network would say it asks that network. It imports
nothing of the product.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.jobs.jobs import jobs
from tests.servers import PostgresServer
from tests.sql import Session, run_sql, store_config

pytestmark = pytest.mark.in_turn

EXAMPLE = Path(__file__).parents[2] / "examples" / "creator_app"
NOW = dt.datetime(2026, 2, 5, 1, tzinfo=dt.UTC)
FIRST, ADS_SINCE = dt.date(2025, 1, 1), dt.date(2026, 1, 1)
#: A hundredth of the example's size.
SCALE, ROWS = 0.012, 15_352
DAY = dt.timedelta(days=1)

REVENUE = ("mrr", "active_subscribers", "new_users", "churned_subscribers", "gross_revenue", "net_revenue")
LEVELS = ("mrr", "active_subscribers")
POSTS = ("posts_created", "posts_by_platform", "posts_posted")
ENGAGEMENT = ("post_views", "post_likes", "post_comments", "post_shares")
ADS = ("ad_spend", "ad_cost", "ad_impressions", "ad_clicks", "ad_conversions")
#: For each rollup its key and what it holds.
ROLLUPS = {
    "RevenueDaily": (("source",), REVENUE),
    "PostsDaily": (("platform", "category", "campaign", "status", "spiciness"), POSTS),
    "EngagementDaily": (("platform", "category", "campaign", "spiciness"), ENGAGEMENT),
    "AdsDaily": (("campaign", "channel"), ADS),
}
PERIODS = {"daily": "day", "weekly": "week", "monthly": "month"}
Key = tuple[Any, ...]
#: Numbers by rollup, key and day: a row where a fact is.
Figures = dict[tuple[str, Key, dt.date], dict[str, Decimal | None]]


def module(name: str) -> Any:
    """A file of the example."""
    spec = importlib.util.spec_from_file_location(f"creator_app_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


NETWORK = module("ads_server")


def day_of(moment: dt.datetime) -> dt.date:
    return moment.astimezone(dt.UTC).date()


# -- the oracle ----------------------------------------------------------------------------------


def truth(url: str, today: dt.date) -> Figures:
    """Every key and day that has facts, counted row by row from the tables, and from the network, as they are now."""
    found: Figures = {}
    with Session(url) as session:
        _revenue(found, session.run(
            "SELECT source, measured_at, mrr, active_subscribers, new_users, churned_subscribers, gross_revenue, store_fee "
            "FROM daily_revenue"
        ))  # fmt: skip
        _posts(found, session.run(
            "SELECT platform, category, campaign, status, spiciness, created_at, posted_at FROM marketing_post"
        ))  # fmt: skip
        _engagement(found, session.run(
            "SELECT post_id, observed_at, platform, category, campaign, spiciness, views, likes, comments, shares FROM post_snapshot"
        ))  # fmt: skip
    _ads(found, today)
    return found


def add(found: Figures, rollup: str, key: Key, day: dt.date, numbers: dict[str, Any]) -> None:
    row = found.setdefault((rollup, key, day), dict.fromkeys(ROLLUPS[rollup][1], Decimal(0)))
    for name, number in numbers.items():
        row[name] = (row[name] or 0) + Decimal(number)


def _revenue(found: Figures, rows: list[tuple[Any, ...]]) -> None:
    latest: dict[tuple[Any, dt.date], tuple[dt.datetime, dict[str, Any]]] = {}
    for source, at, mrr, subscribers, new, churned, gross, fee in rows:
        flows = {"new_users": new, "churned_subscribers": churned, "gross_revenue": gross, "net_revenue": gross - fee}
        add(found, "RevenueDaily", (source,), day_of(at), flows)
        level = (at, {"mrr": mrr, "active_subscribers": subscribers})
        # Of two sources' rows that lost their store at one moment, the greater level of each counts.
        old = latest.get((source, day_of(at)))
        if old is not None and old[0] == at:
            level = (at, {name: max(value, old[1][name]) for name, value in level[1].items()})
        if old is None or old[0] <= at:
            latest[source, day_of(at)] = level
    for (source, day), (_, levels) in latest.items():
        found["RevenueDaily", (source,), day] |= {name: Decimal(value) for name, value in levels.items()}


def _posts(found: Figures, rows: list[tuple[Any, ...]]) -> None:
    for platform, category, campaign, status, spiciness, created_at, posted_at in rows:
        key = (platform, category, campaign, status, spiciness)
        add(found, "PostsDaily", key, day_of(created_at), {"posts_created": 1, "posts_by_platform": 1})
        if posted_at is not None and status == "posted":
            add(found, "PostsDaily", key, day_of(posted_at), {"posts_posted": 1})


def _engagement(found: Figures, rows: list[tuple[Any, ...]]) -> None:
    last: dict[tuple[int, dt.date], tuple[Any, ...]] = {}
    for post, at, *rest in rows:
        if (post, day_of(at)) not in last or last[post, day_of(at)][0] < at:
            last[post, day_of(at)] = (at, *rest)
    before: dict[int, tuple[int, ...]] = {}
    for (post, day), (_, *key, views, likes, comments, shares) in sorted(last.items(), key=lambda one: one[0][1]):
        levels = (views, likes, comments, shares)
        earlier = before.get(post, (0, 0, 0, 0))
        grown = [now - then if now >= then else now for now, then in zip(levels, earlier, strict=True)]
        add(found, "EngagementDaily", tuple(key), day, dict(zip(ENGAGEMENT, grown, strict=True)))
        before[post] = levels


def _ads(found: Figures, today: dt.date) -> None:
    day = ADS_SINCE
    while day <= today:
        for row in NETWORK.report(day, (today - day).days) or ():
            spend, fee = Decimal(row["spend"]), Decimal(row["fee"])
            numbers = {"ad_spend": spend, "ad_cost": spend + fee}
            numbers |= {f"ad_{name}": row[name] for name in ("impressions", "clicks", "conversions")}
            add(found, "AdsDaily", (row["campaign"], row["channel"]), day, numbers)
        day += DAY


def start(day: dt.date, period: str) -> dt.date:
    """The first day of the bucket that holds a day."""
    if period == "weekly":
        return day - dt.timedelta(days=day.weekday())
    return day.replace(day=1) if period == "monthly" else day


def last_day(first: dt.date, period: str, covered_to: dt.date) -> dt.date:
    """The last covered day of a bucket."""
    if period == "weekly":
        return min(first + 6 * DAY, covered_to)
    month = (first.replace(day=28) + 4 * DAY).replace(day=1) - DAY
    return min(month, covered_to) if period == "monthly" else first


def resampled(figures: Figures, period: str, today: dt.date) -> Figures:
    """By day, week or month: flows add up, levels are those of the last covered day."""
    found: Figures = {}
    for (rollup, key, day), numbers in figures.items():
        first = start(day, period)
        flows = {name: number for name, number in numbers.items() if name not in LEVELS}
        add(found, rollup, key, first, flows)
        if rollup == "RevenueDaily":
            row = found[rollup, key, first]
            for name in LEVELS:
                row[name] = None if row[name] == 0 else row[name]
                if day == last_day(first, period, today):
                    row[name] = numbers[name]
    return found


def with_rates(figures: Figures) -> dict[tuple[str, str, Key, dt.date], Decimal | None]:
    """Every number by rollup, metric, key and day, ratios of sums among them."""
    found: dict[tuple[str, str, Key, dt.date], Decimal | None] = {}
    for (rollup, key, day), numbers in figures.items():
        rates: dict[str, Decimal | None] = {}
        if rollup == "EngagementDaily":
            views = Decimal(numbers["post_views"] or 0)
            touched = sum(Decimal(numbers[name] or 0) for name in ENGAGEMENT[1:])
            rates["avg_engagement_rate"] = touched / views if views else None
        if rollup == "AdsDaily":
            cost, conversions = Decimal(numbers["ad_cost"] or 0), Decimal(numbers["ad_conversions"] or 0)
            rates["cost_per_conversion"] = cost / conversions if conversions else None
        for name, number in {**numbers, **rates}.items():
            found[rollup, name, key, day] = None if number is None else round(Decimal(number), 6)
    return found


# -- the example ---------------------------------------------------------------------------------


@dataclass
class Creator:
    """The example over one database that is source and store, with the network beside it."""

    url: str
    folder: Path
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOW))
    opened: Dayfold | None = None

    def __post_init__(self) -> None:
        self.load = module("load")
        assert self.load.load(self.url, SCALE) == ROWS
        self.definitions = self.folder / "metrics.py"
        self.definitions.write_text((EXAMPLE / "metrics.py").read_text())

    @property
    def today(self) -> dt.date:
        return self.clock.instant.date()

    @property
    def app(self) -> Dayfold:
        """Opened when it is first asked for; one DuckDB file has one owner."""
        if self.opened is None:
            self.opened = Dayfold(self.definitions, store_config(self.url), clock=self.clock)
        return self.opened

    def close(self) -> None:
        if self.opened is not None:
            self.opened.close()
            self.opened = None

    def fold(self) -> dict[str, Any]:
        """The runs of a fold that went well."""
        runs = {run.rollup: run for run in self.app.fold()}
        assert {run.error for run in runs.values()} == {None}
        return runs

    def look(self) -> Seen:
        """What the tables say and what the view says, now."""
        self.close()
        names = "source, metric, CAST(dimensions AS text), day, period, value"
        rows = run_sql(self.url, f"SELECT {names} FROM analytics_metrics_timeseries")
        view: dict[str, dict[tuple[str, str, Key, dt.date], Decimal | None]] = {period: {} for period in PERIODS}
        for rollup, metric, text, day, period, value in rows:
            dimensions = json.loads(text)
            key = tuple(dimensions[name] for name in ROLLUPS[rollup][0])
            assert (rollup, metric, key, day) not in view[period]
            view[period][rollup, metric, key, day] = None if value is None else round(value, 6)
        return Seen(self.today, truth(self.url, self.today), view)


@dataclass(frozen=True)
class Seen:
    """One moment of the example."""

    today: dt.date
    figures: Figures
    view: dict[str, dict[tuple[str, str, Key, dt.date], Decimal | None]]


@dataclass(frozen=True)
class Story:
    """The example, folded before and after its bad week."""

    creator: Creator
    before: Seen
    after: Seen
    runs: dict[str, Any]


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """One for all tests of a worker that leave the tables as they were."""
    folder = tmp_path_factory.mktemp("creator")
    with ExitStack() as stack:
        url = f"duckdb:///{folder}/store.duckdb"
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = stack.enter_context(server.database())
        creator = Creator(url, folder)
        stack.callback(creator.close)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        network = NETWORK.server(lambda: creator.today)
        threading.Thread(target=network.serve_forever, daemon=True).start()
        stack.callback(network.server_close)
        stack.callback(network.shutdown)
        patch.setenv("ADS_URL", f"http://127.0.0.1:{network.server_port}")
        creator.app.track_install()
        creator.fold()
        before = creator.look()
        assert creator.load.apply_history(url) > 20
        creator.clock.instant += DAY
        runs = creator.fold()
        yield Story(creator, before, creator.look(), runs)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("period", PERIODS)
def test_every_number_by_day_week_and_month_is_the_count_by_hand(story: Story, moment: str, period: str) -> None:
    """Before and after rows came late, moved, went, changed their key and levels were corrected: all keys, all metrics."""
    seen: Seen = getattr(story, moment)
    expected = with_rates(resampled(seen.figures, period, seen.today))
    assert len(expected) > 500
    assert seen.view[period] == expected


@pytest.mark.parametrize("rollup", ROLLUPS)
@pytest.mark.parametrize("grain", PERIODS.values())
def test_questions_have_the_same_numbers(story: Story, rollup: str, grain: str) -> None:
    """Asked of all keys together over the months of ads, zeros filled in: what every key has, added up by hand."""
    first, last = ADS_SINCE, story.after.today - 2 * DAY
    [period] = [name for name, unit in PERIODS.items() if unit == grain]
    totals: dict[dt.date, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for (one, _, day), numbers in story.after.figures.items():
        if one != rollup or not first <= day <= last:
            continue
        at = max(start(day, period), first)
        for name, number in numbers.items():
            ends = last_day(start(day, period), period, last)
            if name not in LEVELS or day == ends:
                totals[at][name] += Decimal(number or 0)
    names = ROLLUPS[rollup][1]
    answer = story.creator.app.query(rollup, list(names), from_=first, to=last, grain=grain)
    found = {row["day"]: {name: Decimal(row[name] or 0) for name in names} for row in answer.rows}
    assert found == {day: {name: totals[day][name] for name in names} for day in found}
    assert set(totals) <= set(found)
    assert answer.missing == []


def test_what_is_in_the_data(story: Story) -> None:
    """Keys that are NULL, a campaign and a store that ended, a day without data, counters that went back to zero."""
    keys = {(rollup, key) for rollup, key, _ in story.before.figures}
    assert {("RevenueDaily", (None,)), ("AdsDaily", (None, "search"))} <= keys
    assert any(rollup == "PostsDaily" and None in key for rollup, key in keys)
    assert not [day for _, _, day in story.before.figures if day == dt.date(2025, 6, 15)]
    ended = [day for rollup, key, day in story.before.figures if rollup == "RevenueDaily" and key == ("partner",)]
    assert max(ended) == FIRST + 149 * DAY
    assert not [day for rollup, _, day in story.before.figures if rollup == "AdsDaily" and day == NETWORK.DOWN]
    assert ("AdsDaily", ("campaign-5", "search")) in keys


def test_folding_again_writes_nothing(story: Story) -> None:
    """Not a row of any rollup."""
    runs = story.creator.fold()
    assert {(run.rows_inserted, run.rows_updated, run.rows_deleted) for run in runs.values()} == {(0, 0, 0)}


def test_bad_week_costs_what_changed(story: Story) -> None:
    """Rows written are the rows that differ."""
    for rollup in ("RevenueDaily", "PostsDaily", "EngagementDaily"):
        before, after = (
            {place[1:]: row for place, row in seen.figures.items() if place[0] == rollup}
            for seen in (story.before, story.after)
        )
        different = sum(before.get(place) != after.get(place) for place in before.keys() | after.keys())
        run = story.runs[rollup]
        assert run.rows_inserted + run.rows_updated + run.rows_deleted == different > 0, rollup


def test_verify_proves_what_is_stored(story: Story) -> None:
    """By other SQL than the fold's."""
    for found in story.creator.app.verify(from_="2025-10-01", to="2026-02-05"):
        assert (found.drifted, found.error) == (0, None), found.rollup


def test_failing_network_leaves_the_other_rollups_alone(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address leads nowhere: ads keep what they had, and the rest is folded."""
    creator = story.creator
    monkeypatch.setenv("ADS_URL", "http://127.0.0.1:1")
    runs = {run.rollup: run.status for run in creator.app.fold()}
    assert {name: status for name, status in runs.items() if name != "AdsDaily"} == dict.fromkeys(
        ["RevenueDaily", "PostsDaily", "EngagementDaily"], "done"
    )
    assert runs["AdsDaily"] == "partial"
    monkeypatch.undo()
    creator.fold()


def test_report_is_missing_then_first_then_corrected(story: Story) -> None:
    """All three reach the rollup, each with the fold of its day; what waits is null and says why.

    The clock goes on, so it comes last.
    """
    creator = story.creator
    day = creator.today
    found = []
    for _ in range(4):
        creator.fold()
        answer = creator.app.query("AdsDaily", ["ad_spend"], from_=day, to=day)
        found.append((answer.rows[0]["ad_spend"], [gap.reason for gap in answer.missing]))
        creator.clock.instant += DAY

    def spent(age: int) -> Decimal:
        return sum((Decimal(row["spend"]) for row in NETWORK.report(day, age)), Decimal(0))

    waiting = (None, ["not ready: the report comes after two days"])
    assert found == [waiting, waiting, (spent(2), []), (spent(3), [])]
    assert spent(2) != spent(3)


def test_its_schedule_is_said_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that the application had say when metrics are aggregated; without them it is one o'clock UTC."""
    for file in ("metrics.py", "dayfold.toml"):
        (tmp_path / file).write_text((EXAMPLE / file).read_text())

    def scheduled() -> tuple[str, str]:
        with Dayfold(tmp_path / "metrics.py", clock=FixedClock(NOW)) as app:
            app.catalog.check()
            assert set(app.catalog.alerts) == {"low_revenue", "spend", "jobs"}
            fold = jobs(app.catalog, app.settings)["fold"]
            return fold.schedule.text, fold.schedule.zone

    assert scheduled() == ("01:00", "UTC")
    monkeypatch.setenv("METRICS_AGGREGATION_TIME", "02:30")
    monkeypatch.setenv("METRICS_AGGREGATION_TIMEZONE", "America/New_York")
    assert scheduled() == ("02:30", "America/New_York")
