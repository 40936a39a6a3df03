"""kill -9 in what runs jobs: the ledger says interrupted, and the next process does what is left, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import do, kill, spread
from tests.faults.test_kills import comparable, undisturbed
from tests.sql import run_sql

pytestmark = pytest.mark.in_turn

Store = Callable[[], str]
#: Points of what a scheduler does, and of what its runs do.
SCHEDULED = [
    ("job registered", 1), ("slot claimed", 1), ("run queued", 1), ("run claimed", 1), ("run finished", 1),
    ("run finished", 3),
]  # fmt: skip
#: Points inside the fold that a real server runs.
SERVED = [("started", 1), ("replaced", 2), ("covered", 3), ("verified", 1)]
STOPPED = [("job disabled", 1), ("job enabled", 1)]
MOVED = [("job rescheduled", 1)]
BEATING = [("heart beaten", 1)]
FAILING_ONCE = [("run put back", 1)]
RETAINED = [("history forgotten", 1)]
NOTED = [("run interrupted", 1)]
EXPORTED = [("export asked", 1), ("export begun", 1), ("export finished", 1), ("export removed", 1)]
LISTS = (SCHEDULED, SERVED, STOPPED, MOVED, BEATING, FAILING_ONCE, RETAINED, NOTED, EXPORTED)


def scheduled(url: str) -> object:
    return do(url, "first", "scheduled")


def outcomes(url: str) -> list[tuple[str, str]]:
    return run_sql(url, "SELECT job, status FROM dayfold_job_runs ORDER BY id")


def is_whole(url: str, engine: str, new_store: Store) -> None:
    """Rows, sets, coverage and receipts are those of jobs that nobody disturbed, and each job was done."""
    assert comparable(url) == undisturbed(engine, new_store, scheduled)
    found = outcomes(url)
    assert {status for _, status in found} <= {"done", "interrupted"}
    assert {job for job, status in found if status == "done"} >= {"fold", "finalize", "verify"}


@spread(SCHEDULED)
def test_a_killed_scheduler_loses_no_slot_and_runs_none_twice(
    engine: str, new_store: Store, point: str, nth: int
) -> None:
    """Whatever the moment: each job is done once, beside the run that was interrupted."""
    url = new_store()
    kill(url, "first", point, nth, "scheduled")
    scheduled(url)
    is_whole(url, engine, new_store)
    done = [job for job, status in outcomes(url) if status == "done"]
    assert sorted(done) == ["finalize", "fold", "verify"]


@spread(SERVED)
def test_a_server_killed_during_a_job_leaves_it_interrupted(
    engine: str, new_store: Store, point: str, nth: int
) -> None:
    """The ledger says so, and the next run completes what it began."""
    url = new_store()
    kill(url, "first", point, nth, "served")
    before = outcomes(url)
    assert "running" in {status for _, status in before}
    scheduled(url)
    is_whole(url, engine, new_store)
    died = [job for job, status in outcomes(url) if status == "interrupted"]
    assert died == [job for job, status in before if status == "running"]
    causes = run_sql(url, "SELECT job, status FROM dayfold_job_runs WHERE cause = 'interrupted'")
    assert causes == [(job, "done") for job in died]


@spread(STOPPED)
def test_a_kill_while_a_job_is_stopped_or_started(engine: str, new_store: Store, point: str, nth: int) -> None:
    """It is one or the other; started again, it does what is due."""
    url = new_store()
    kill(url, "first", point, nth, "stopped")
    [(is_enabled,)] = run_sql(url, "SELECT is_enabled FROM dayfold__jobs WHERE job = 'fold'")
    assert is_enabled in (True, False)
    do(url, "first", "stopped")
    is_whole(url, engine, new_store)


@spread(MOVED)
def test_a_kill_while_a_schedule_is_taken_over(engine: str, new_store: Store, point: str, nth: int) -> None:
    """The next process takes it over."""
    url = new_store()
    scheduled(url)
    kill(url, "first", point, nth, "moved")
    do(url, "first", "moved")
    [(schedule,)] = run_sql(url, "SELECT schedule FROM dayfold__jobs WHERE job = 'fold'")
    assert schedule == "*/7 * * * * UTC"


@spread(BEATING)
def test_a_kill_between_two_heartbeats(engine: str, new_store: Store, point: str, nth: int) -> None:
    """A heart that has just beaten does not keep a dead run alive."""
    url = new_store()
    kill(url, "first", point, nth, "beating")
    scheduled(url)
    is_whole(url, engine, new_store)


@spread(FAILING_ONCE)
def test_a_kill_between_two_attempts(engine: str, new_store: Store, point: str, nth: int) -> None:
    """The second attempt is the next process's."""
    url = new_store()
    kill(url, "first", point, nth, "failing_once")
    scheduled(url)
    assert run_sql(url, "SELECT status, attempt FROM dayfold_job_runs WHERE job = 'fold'")[-1] == ("done", 2)
    is_whole(url, engine, new_store)


@spread(RETAINED)
def test_a_kill_while_history_is_forgotten(engine: str, new_store: Store, point: str, nth: int) -> None:
    """All of it or none; the run is interrupted, and done again."""
    url = new_store()
    kill(url, "first", point, nth, "retained")
    scheduled(url)
    assert [one for one in outcomes(url) if one[0] == "retain"] == [("retain", "interrupted"), ("retain", "done")]


@pytest.mark.parametrize(("point", "nth"), NOTED, ids=str)
def test_a_kill_while_a_dead_run_is_noted(engine: str, new_store: Store, point: str, nth: int) -> None:
    """Noted and queued again are one transaction: it is run again once."""
    url = new_store()
    kill(url, "first", "run claimed", 1, "scheduled")
    kill(url, "first", point, nth, "scheduled")
    scheduled(url)
    assert sorted(one for one in outcomes(url) if one[0] == "fold") == [("fold", "done"), ("fold", "interrupted")]
    is_whole(url, engine, new_store)


@spread(EXPORTED)
def test_a_killed_export_leaves_no_file_that_nobody_finds(
    engine: str, new_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, nth: int
) -> None:
    """The next process goes on with it; and what erases exports finds whatever was written."""
    monkeypatch.setenv("EXPORT_FOLDER", str(tmp_path / "files"))
    url = new_store()
    kill(url, "first", point, nth, "exported")
    do(url, "first", "exported")
    assert list((tmp_path / "files").iterdir()) == []
    assert run_sql(url, "SELECT count(*) FROM dayfold__exports") == [(0,)]
