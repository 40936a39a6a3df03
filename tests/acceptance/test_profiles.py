"""A profile through the command line: plan, fold, verify, rebuild and explain speak of entities, not of days."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.acceptance.command import dayfold, fails, succeeds
from tests.sql import run_sql

METRICS = '''\
from dayfold import Count, Formula, Max, Profile, Sum, Table

visit = Table("visit", changes="trigger")


class People(Profile):
    """One row per person."""

    key = "person"

    visits = Count(visit)
    paid = Sum(visit, "cents")
    last_at = Max(visit, "made")
    idle_days = Formula("now()::date - last_at::date")
'''


MISPLACED = """\


@source(columns={"person": "bigint", "spend": "numeric(12,2)"})
def spend(day):
    return []


class Days(Rollup):
    key = "person"
    people = Distinct(visit, "person", at="made")
    first = First(visit, "cents", at="made")


class Wrong(Profile):
    key = "person"
    level = Gauge(visit, "cents", at="made")
    growth = Increase(visit, "cents", per="person", at="made")
    spend = Sum(spend, "spend")
    people = Distinct(Days, "people")
    visits = Count(visit, at="made")
"""
MESSAGES = """\
DefinitionError [bad-metric] metrics.py:25 Days.first
  First is of a whole life, and a rollup has days.
  Write it in a Profile.
DefinitionError [bad-metric] metrics.py:30 Wrong.level
  Gauge is of days, which a profile does not have.
  Last(…, at=…) is the level now.
DefinitionError [bad-metric] metrics.py:31 Wrong.growth
  Increase is of days, which a profile does not have.
  Fold a rollup of it, and Sum that.
DefinitionError [bad-source] metrics.py:32 Wrong.spend
  spend is a function of a day, and a profile has no days.
  Fold a rollup over it, and name that rollup as the source.
DefinitionError [bad-metric] metrics.py:33 Wrong.people
  Distinct unites the sets of Days, which a profile does not keep.
  Count the values in their own source.
DefinitionError [unknown-option] metrics.py:34 Wrong.visits
  Count has no option 'at' in a profile, which counts facts of all times.
  Leave it out; facts without a moment are left out with where="… is not null".
"""


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Three people with thirty visits each, in the store's own file."""
    (tmp_path / "metrics.py").write_text(METRICS)
    (tmp_path / "dayfold.toml").write_text('[store]\nurl = "duckdb:///store.duckdb"\n')
    sql(tmp_path, "CREATE TABLE visit (person bigint, cents bigint, made timestamptz)")
    sql(
        tmp_path,
        "INSERT INTO visit SELECT i % 3, i, TIMESTAMPTZ '2025-12-01 12:00:00+00' + i * INTERVAL '10 hours' FROM range(90) AS r(i)",
    )
    return tmp_path


def sql(folder: Path, statement: str) -> None:
    run_sql(f"duckdb:///{folder}/store.duckdb", statement)


def first_line(text: str) -> str:
    return re.sub(r"\d+\.\d\d s$", "0.00 s", text.splitlines()[0])


def test_commands_count_entities(people: Path) -> None:
    """All of them at first, the touched ones then, and no day anywhere."""
    succeeds("track", "install", cwd=people)
    assert succeeds("plan", cwd=people).out == "People: create, all entities, 90 facts to read, table people\n"
    assert first_line(succeeds("fold", cwd=people).out) == "People: done, 3 entities, +3 ~0 -0 rows, 0.00 s"
    sql(people, "UPDATE visit SET cents = cents + 1 WHERE person = 1 AND cents < 30")
    assert first_line(succeeds("plan", cwd=people).out) == "People: refresh, 1 entity, 0 facts to read, table people"
    assert first_line(succeeds("fold", cwd=people).out) == "People: done, 1 entity, +0 ~1 -0 rows, 0.00 s"
    assert first_line(succeeds("fold", cwd=people).out) == "People: done, 0 entities, +0 ~0 -0 rows, 0.00 s"
    assert first_line(succeeds("verify", cwd=people).out) == "People: 3 entities compared, no drift, 0.00 s"
    explained = succeeds("explain", "People", "paid", "--where", "person=1", cwd=people).out
    assert "3 entities, 0 drifted\n" in explained
    assert "of the day" not in explained


def test_drift_of_an_entity_has_no_day(people: Path) -> None:
    """Neither where verify finds it, nor where a rebuild would move it."""
    succeeds("track", "install", cwd=people)
    succeeds("fold", cwd=people)
    sql(people, "UPDATE people SET paid = 1 WHERE person = 1")
    found = dayfold("verify", cwd=people)
    assert found.status == 1
    assert first_line(found.out) == "People: 3 entities compared, 1 entity drifted, 0.00 s"
    assert found.out.splitlines()[1] == "  person=1 paid: stored 1, actual 1,335 [stored row changed outside a fold]"
    dry = succeeds("rebuild", "People", "--dry-run", cwd=people).out
    assert first_line(dry) == "People: 1 entity would change, +0 ~1 -0 rows, 0.00 s"
    assert "0001-01-01" not in dry


def test_progress_counts_parts(people: Path) -> None:
    """A fold in several transactions is as far as its parts of the entities are."""
    done = succeeds("fold", cwd=people, env={"DAYFOLD_FOLD__CHUNK_ROWS": "30"})
    assert "People: 1 of 3 parts\n" in done.err
    assert "days" not in done.out + done.err.partition("People: visit")[0]


def test_profile_without_its_triggers_is_read_whole_and_says_so(people: Path) -> None:
    """There is no lookback that could miss a change."""
    why = "visit is read whole by every fold"
    assert f"{why}: its triggers are missing" in succeeds("plan", cwd=people).out
    assert f"People: {why}, because it has no triggers." in succeeds("fold", cwd=people).err
    sql(people, "UPDATE visit SET cents = 0 WHERE cents = 0")
    assert first_line(succeeds("fold", cwd=people).out) == "People: done, 3 entities, +0 ~0 -0 rows, 0.00 s"


def test_profile_has_no_days_to_rebuild_or_explain(people: Path) -> None:
    """A day that is given is a misunderstanding, and is said to be."""
    succeeds("fold", cwd=people)
    for words in (
        ("rebuild", "People", "--from", "-7d", "--to", "today"),
        ("explain", "People", "paid", "--where", "person=1", "--day", "today"),
    ):
        refused = fails(*words, status=2, cwd=people)
        assert "People is a profile, which has no days." in refused


def test_day_that_begins_computes_all_entities_once(people: Path) -> None:
    """Where now() is used; the next fold of that day computes none. Until then a rebuild is refused, and verify compares as of then."""
    succeeds("track", "install", cwd=people)
    succeeds("fold", cwd=people)
    tomorrow = {"DAYFOLD_NOW": "2026-01-11T00:05:00+00:00"}
    assert "no drift" in succeeds("verify", cwd=people, env=tomorrow).out
    refused = fails("rebuild", "People", status=2, cwd=people, env=tomorrow)
    assert "People has columns that use now(), and its rows are of 2026-01-10." in refused
    assert succeeds("fold", cwd=people, env=tomorrow).out.startswith("People: done, 3 entities, +0 ~3 -0 rows")
    assert succeeds("fold", cwd=people, env=tomorrow).out.startswith("People: done, 0 entities, +0 ~0 -0 rows")


def test_what_is_of_days_is_refused_with_what_to_write_instead(people: Path) -> None:
    """All mistakes at once, and each with its line."""
    words = "Count, Distinct, First, Formula, Gauge, Increase, Max, Profile, Rollup, Sum, Table, source"
    text = METRICS.replace("Count, Formula, Max, Profile, Sum, Table", words)
    (people / "metrics.py").write_text(text + MISPLACED)
    assert fails("fold", status=2, cwd=people) == MESSAGES.strip()
