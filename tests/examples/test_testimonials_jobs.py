"""The jobs of the testimonials example on both engines, as its `dayfold.toml` schedules them.

The scheduler is stepped by hand, with a clock that is moved on by hours.
"""

from __future__ import annotations

import datetime as dt
import json
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.days import Days
from dayfold.http.application import make
from dayfold.http.service import Service
from tests.examples.testimonials import (
    EXAMPLE,
    NOW,
    SCALE,
    Cell,
    Figures,
    module,
    row_stamps,
    stored_figures,
    truth,
    untracked_definitions,
)
from tests.servers import PostgresServer
from tests.sql import Session, run_sql, store_config

#: What is older is deleted before the first fold: the jobs of a day do not need 400 days.
SINCE = "'2026-01-01 00:00:00+00'"
HOUR = dt.timedelta(hours=1)
TODAY = NOW.date()
#: The story begins half an hour before the first of these hours of the day, and ends in the night after the last.
HOURS = range(18, 24)
#: Those after which everything is compared.
WATCHED = (20, 23)


class Served:
    """The example with its jobs, its definitions and its API over one database that is source and store."""

    def __init__(self, url: str, folder: Path, definitions: str) -> None:
        self.url = url
        self.clock = FixedClock(NOW.replace(hour=HOURS[0] - 1))
        self.load = module("load")
        self.load.load(url, SCALE)
        for table, moment in (
            ("testimonial_request", "sent_at"), ("testimonial_request_event", '"at"'), ("testimonial_submission", "submitted_at"),
        ):  # fmt: skip
            run_sql(url, f"DELETE FROM {table} WHERE {moment} < {SINCE}")
        path = folder / "metrics.py"
        path.write_text(definitions)
        settings = tomllib.loads((EXAMPLE / "dayfold.toml").read_text()) | store_config(url)
        self.app = Dayfold(path, settings, clock=self.clock)
        self.app.ledger.ready()
        self.service = Service(self.app)
        token = self.app.accounts.create_token("jobs", "admin").secret
        self.client = TestClient(make(self.service), headers={"Authorization": f"Bearer {token}"})

    def close(self) -> None:
        self.service.close()
        self.app.close()

    def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        found = self.client.request(method, f"/v1{path}", **more)
        assert found.status_code == status, found.text
        return found.json()

    def settle(self) -> None:
        """Do what is due and what waits."""
        scheduler = self.service.scheduler
        while True:
            scheduler.step()
            scheduler.join()
            now = self.clock.instant.isoformat().replace("+00:00", "Z")
            if not [
                one for one in self.ask("GET", "/jobs")["jobs"] if one["run_id"] or (one["next_run"] or "9") <= now
            ]:
                return

    def at(self, moment: dt.datetime) -> None:
        """The clock goes on to a moment, and the jobs that came due are run."""
        self.clock.instant = moment
        self.settle()

    def run(self, number: int) -> Any:
        """A run, which went well."""
        found = self.ask("GET", f"/runs/{number}")
        assert (found["status"], found["error"]) == ("done", None)
        return found

    def last(self, job: str) -> Any:
        """The newest run of a job, which went well."""
        runs = [one for one in self.ask("GET", f"/runs?job={job}")["runs"] if one["of"] == "job"]
        return self.run(runs[0]["id"])

    def asked(self, path: str, **words: Any) -> Any:
        """The run of what was asked for, once it has ended well."""
        number = self.ask("POST", path, 202, json={name.rstrip("_"): value for name, value in words.items()})["run_id"]
        self.settle()
        return self.run(number)


def written(run: Any) -> int:
    """The rows that a run inserted, updated and deleted."""
    [one] = run["summary"]["rollups"]
    return int(one["rows_inserted"] + one["rows_updated"] + one["rows_deleted"])


def different(before: Figures, after: Figures) -> int:
    """How many cells two states do not have in common."""
    return sum(before.get(cell) != after.get(cell) for cell in before.keys() | after.keys())


@dataclass(frozen=True)
class Hour:
    """One hourly fold: what was stored before it and after, and what the tables said."""

    before: Figures
    stored: Figures
    true: Figures
    run: Any


@dataclass
class Story:
    """A day of the example, from its first fold to the night after it, and what was seen on the way."""

    served: Served
    hours: dict[int, Hour] = field(default_factory=dict)
    evening: list[Any] = field(default_factory=list)
    finalized: Any = None
    morning: list[Any] = field(default_factory=list)
    jobs: list[Any] = field(default_factory=list)


def coverage(served: Served) -> list[dict[str, Any]]:
    """Of the first source the ranges of days by state."""
    found = served.ask("GET", "/coverage?rollup=TestimonialDaily")["coverage"]["TestimonialDaily"]
    return [{state: ranges for state, ranges in states.items() if ranges} for states in found.values()]


def live_through(served: Served) -> Story:
    """Every hour some of what `history.sql` says happens to old rows, and a request of the day that goes on."""
    story = Story(served)
    served.settle()
    assert stored_figures(served.url) == truth(served.url)
    statements = served.load._statements("history.sql")
    for place, hour in enumerate(HOURS):
        moment = dt.datetime.combine(TODAY, dt.time(hour), dt.UTC)
        with Session(served.url) as session:
            for statement in statements[place :: len(HOURS)]:
                session.run(statement)
            row = f"({940_000_000 + hour}, 1, '{moment - dt.timedelta(minutes=30)}', NULL)"
            session.run(f"INSERT INTO testimonial_request VALUES {row}")
        before = stored_figures(served.url) if hour in WATCHED else {}
        served.at(moment)
        if hour in WATCHED:
            story.hours[hour] = Hour(before, stored_figures(served.url), truth(served.url), served.last("fold"))
    story.evening = coverage(served)
    midnight = dt.datetime.combine(TODAY + dt.timedelta(days=1), dt.time(), dt.UTC)
    # The last request of the day arrives when the day is over.
    run_sql(
        served.url,
        f"INSERT INTO testimonial_request VALUES (940000099, 1, '{midnight - dt.timedelta(seconds=1)}', NULL)",
    )
    served.at(midnight)
    served.at(midnight + dt.timedelta(minutes=15))
    story.finalized, story.morning, story.jobs = (
        served.last("finalize"),
        coverage(served),
        served.ask("GET", "/jobs")["jobs"],
    )
    return story


def opened(engine: str, folder: Path, request: pytest.FixtureRequest, stack: ExitStack, definitions: str) -> Served:
    """The example on an engine."""
    url = f"duckdb:///{folder}/store.duckdb"
    if engine == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = stack.enter_context(server.database())
    served = Served(url, folder, definitions)
    stack.callback(served.close)
    return served


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """One for all tests of a worker; each leaves the tables as they were."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("jobs")
        served = opened(request.param, folder, request, stack, (EXAMPLE / "metrics.py").read_text())
        served.app.track_install()
        yield live_through(served)


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def untracked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The example without triggers, folded for the first time."""
    with ExitStack() as stack:
        served = opened(request.param, tmp_path_factory.mktemp("untracked"), request, stack, untracked_definitions())
        served.settle()
        yield served


def test_jobs_run_when_the_configuration_says(story: Story) -> None:
    """Each once at the start, as nobody had seen it; then by the hour and by the night, and none of them fails."""
    assert {one["job"]: (one["schedule"], one["success_count"], one["error_count"]) for one in story.jobs} == {
        "fold": ("0 * * * *", 1 + len(HOURS) + 1, 0), "finalize": ("15 0 * * *", 2, 0), "verify": ("30 3 * * *", 1, 0),
        "retain": ("45 4 * * *", 0, 0), "rebuild": ("off", 0, 0), "export": ("off", 0, 0),
        "erase": ("off", 0, 0),
    }  # fmt: skip


def test_every_hour_brings_the_rollup_to_what_the_tables_say(story: Story) -> None:
    """Late, moved, deleted and merged rows of any age, and the day that goes on; the rows written are those that differ."""
    assert tuple(story.hours) == WATCHED
    for hour in story.hours.values():
        assert hour.stored == hour.true
        assert written(hour.run) == different(hour.before, hour.stored) > 0
        assert hour.run["cause"] == "schedule"
    assert different(story.hours[WATCHED[0]].stored, story.hours[WATCHED[-1]].stored) > 100


def test_night_closes_the_day(story: Story) -> None:
    """Open while it goes on; after midnight folded with the row that came late, verified, and nothing stays open."""
    for states in story.evening:
        assert states["open"] == [{"from": str(TODAY), "to": str(TODAY)}]
    for states in story.morning:
        assert states["folded"][-1]["to"] == str(TODAY)
        assert states["open"] == [{"from": "2026-02-06", "to": "2026-02-06"}]
    summary = story.finalized["summary"]
    [verified] = summary["verified"]
    assert (verified["days"], verified["drifted"], summary["open_days"]) == (1, 0, 0)
    assert stored_figures(story.served.url) == truth(story.served.url)


def test_running_again_changes_nothing(story: Story) -> None:
    """Whichever job, for no days or for a week of them: no row is written, and no stamp moves."""
    served = story.served
    before = row_stamps(served.url)
    served.clock.instant += dt.timedelta(minutes=1)
    for job in ("fold", "finalize"):
        for words in ({}, {"from_": "2026-01-26", "to": "2026-02-01"}):
            assert written(served.asked(f"/jobs/{job}/trigger", **words)) == 0
    again = served.asked("/rebuild", rollup="TestimonialDaily", from_="2026-01-01", to="2026-02-05")
    assert written(again) == 0
    assert row_stamps(served.url) == before


def test_drift_is_told_once_and_its_recovery_once(
    story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A day that somebody changed by hand: more than 1 % of the cells and more than ten of them; the nightly verification fails."""
    monkeypatch.chdir(tmp_path)
    served, alerts = story.served, story.served.service.alerts
    before = stored_figures(served.url)

    def told() -> list[tuple[str, str]]:
        alerts.look()
        alerts.deliver()
        sent = tmp_path / "alerts.jsonl"
        found = [json.loads(line) for line in sent.read_text().splitlines()] if sent.exists() else []
        return [(one["event"], one["rule"]) for one in found]

    assert told() == []
    run_sql(
        served.url,
        "UPDATE testimonial_daily_analytics SET approved_count = approved_count + 1 WHERE date >= '2026-01-26'",
    )
    served.at(dt.datetime(2026, 2, 6, 3, 30, tzinfo=dt.UTC))
    verify = served.ask("GET", "/jobs/verify")
    count = sum(1 for _, day in before if dt.date(2026, 1, 26) <= day <= TODAY)
    assert (verify["last_status"], verify["last_error"]) == (
        "failed", f"Cells differ from their sources: {count} of TestimonialDaily.",
    )  # fmt: skip
    opening = [("opened", "drift_share"), ("opened", "drift_cells"), ("opened", "jobs")]
    assert sorted(told()) == sorted(told()) == sorted(opening)
    healed = served.asked("/verify", rollup="TestimonialDaily", from_="2026-01-01", to="2026-02-05", heal=True)
    assert healed["summary"]["verified"][0]["healed"] == count
    assert stored_figures(served.url) == before
    recovery = [("recovered", rule) for _, rule in opening]
    assert sorted(told()) == sorted(told()) == sorted(opening + recovery)


def mixed(before: Figures, after: Figures, days: Iterable[Days], shop: int | None = None) -> Figures:
    """The new numbers on some days, of one shop or of all, and the old ones elsewhere."""

    def is_new(cell: Cell) -> bool:
        return any(cell[1] in one for one in days) and shop in (None, cell[0])

    return {cell: row for cell, row in after.items() if is_new(cell)} | {
        cell: row for cell, row in before.items() if not is_new(cell)
    }


def test_without_changes_the_week_is_computed_again_and_a_rebuild_brings_the_rest(untracked: Served) -> None:
    """Today and the seven days before it follow their source each hour; an older week of one shop when it is asked for, then of all."""
    served = untracked
    before = stored_figures(served.url)
    assert before == truth(served.url)
    late = [(shop, day) for shop in (1, 2) for day in ("2026-02-03", "2026-02-05", "2026-01-07", "2026-01-20")]
    for number, (shop, day) in enumerate(late, 950_000_000):
        run_sql(served.url, f"INSERT INTO testimonial_request VALUES ({number}, {shop}, '{day} 00:20:00+00', NULL)")
    run_sql(
        served.url, "DELETE FROM testimonial_submission WHERE submitted_at >= '2026-02-02 00:00:00+00' AND shop_id = 3"
    )
    after = truth(served.url)
    served.at(served.clock.instant + dt.timedelta(minutes=30))
    week = [Days(dt.date(2026, 1, 29), TODAY)]
    assert served.last("fold")["summary"]["rollups"][0]["days"] == 8
    expected = mixed(before, after, week)
    assert stored_figures(served.url) == expected != after

    words = {"rollup": "TestimonialDaily", "from_": "2026-01-05", "to": "2026-01-11"}
    older = [Days(dt.date(2026, 1, 5), dt.date(2026, 1, 11))]
    dry = served.asked("/rebuild", **words, where=["shop_id=1"], dry_run=True)
    assert dry["summary"]["rollups"][0]["cells"] == 1
    assert stored_figures(served.url) == expected
    assert written(served.asked("/rebuild", **words, where=["shop_id=1"])) == 1
    expected = mixed(expected, after, older, shop=1)
    assert stored_figures(served.url) == expected
    assert written(served.asked("/rebuild", **words)) == 1
    expected = mixed(expected, after, older)
    assert stored_figures(served.url) == expected != after
    assert written(served.asked("/rebuild", **{**words, "from_": "2026-01-01", "to": "2026-01-28"})) == 2
    assert stored_figures(served.url) == after


def test_rebuild_without_dates_is_refused(untracked: Served) -> None:
    """Nothing is queued."""
    for words, said in (({}, "A rebuild of a rollup is of days"), ({"from": "2026-01-01"}, "A range has two ends")):
        found = untracked.ask("POST", "/rebuild", 400, json={"rollup": "TestimonialDaily", **words})
        assert (found["code"], found["detail"].partition(";")[0].partition(".")[0]) == (
            "usage",
            said,
        )
