"""A server whose definitions file is edited while it runs, and one whose file is older than what another process publishes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.http.service import Service
from dayfold.ledger import versions
from tests.engines.ground import NOW, march
from tests.engines.test_jobs import FOLD_ONLY, fill, runs, settle, told
from tests.sql import run_sql, store_config

BEFORE = """
from dayfold import Count, Rollup, Table


class Whole(Rollup):
    lookback = 0
    orders = Count(Table("orders"), at="made")
"""
#: The same with another metric, of another name.
AFTER = BEFORE + '    sold = Count(Table("orders"), at="made", where="shop = 1")\n'
BROKEN = AFTER.replace("where=", "wher=")
MISTAKE = (
    "DefinitionError [unknown-option] metrics.py:8 Whole.sold\n"
    "  Count has no option 'wher'; the nearest is 'where'.\n"
    "  Options: at, where, extra"
)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def filled(store_url: str) -> str:
    fill(store_url)
    return store_url


def written(folder: Path, text: str = BEFORE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.py").write_text(text)
    return folder / "metrics.py"


def opened(file: Path, url: str, clock: FixedClock, **settings: Any) -> Dayfold:
    words = {**store_config(url), "schedule": FOLD_ONLY, "jobs": {"heartbeat_s": 30}, "fold": {"wait_s": 30}}
    return Dayfold(file, {**words, **settings}, clock=clock)


@contextmanager
def serving(file: Path, url: str, clock: FixedClock, **settings: Any) -> Iterator[Service]:
    """A server's service, stepped by hand, that has folded once."""
    with opened(file, url, clock, **settings) as app:
        app.ledger.ready()
        service = Service(app)
        try:
            yield service
        finally:
            service.close()


def columns(service: Service) -> set[str]:
    with service.app.ledger.store.transaction(read_only=True) as session:
        known = versions.versions(service.app.ledger, session)["Whole"]
    return set(known.definition["metrics"])


def test_edited_definitions_are_read_before_a_job_begins(filled: str, clock: FixedClock, tmp_path: Path) -> None:
    """The next fold builds them, and a change of nothing reads nothing."""
    file = written(tmp_path / "server")
    with serving(file, filled, clock) as service:
        settle(service.scheduler)
        first = service.app
        clock.instant = march(12, 13)
        settle(service.scheduler)
        assert service.app is first
        assert columns(service) == {"orders"}
        written(tmp_path / "server", AFTER)
        clock.instant = march(12, 14)
        settle(service.scheduler)
        assert service.app is not first
        assert columns(service) == {"orders", "sold"}
        assert told(service.app) == [("fold", "schedule", "done", 1)] * 3
    assert run_sql(filled, "SELECT sum(orders), sum(sold) FROM whole") == [(22, 11)]


def test_a_command_that_publishes_an_edit_is_not_undone(
    new_postgres: Callable[[], str], clock: FixedClock, tmp_path: Path
) -> None:
    """The server reads the file that the command has read."""
    url = new_postgres()
    fill(url)
    file = written(tmp_path / "server")
    with serving(file, url, clock) as service:
        settle(service.scheduler)
        written(tmp_path / "server", AFTER)
        with opened(file, url, clock) as command:
            assert [one.status for one in command.fold()] == ["done"]
        clock.instant = march(12, 13)
        settle(service.scheduler)
        assert told(service.app)[-1] == ("fold", "schedule", "done", 1)
        assert columns(service) == {"orders", "sold"}


def test_mistakes_of_an_edit_stop_folds_and_nothing_else(
    filled: str, clock: FixedClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers keep the old definitions, verifications go on, and the repaired file is read again."""
    file = written(tmp_path / "server")
    with serving(file, filled, clock, schedule={**FOLD_ONLY, "verify": "0 * * * *"}) as service:
        settle(service.scheduler)
        written(tmp_path / "server", BROKEN)
        clock.instant = march(12, 13)
        with caplog.at_level(logging.ERROR, "dayfold.http"):
            settle(service.scheduler)
        assert told(service.app)[-2:] == [("fold", "schedule", "queued", 2), ("verify", "schedule", "done", 1)]
        [fold] = runs(service.app, "fold")[1:]
        assert fold.error == f"The definitions were edited and cannot be read again, so nothing was folded.\n{MISTAKE}"
        said = [one.getMessage() for one in caplog.records if one.name == "dayfold.http"]
        assert said == [
            f"The definitions were edited and cannot be read again; no fold begins until they can: {MISTAKE}"
        ]
        days: dict[str, Any] = {"from_": "2026-03-11", "to": "2026-03-11", "grain": "total"}
        assert service.app.query("Whole", ["orders"], **days).rows[0]["orders"] == 2
        written(tmp_path / "server", AFTER)
        assert fold.not_before is not None
        clock.instant = fold.not_before
        settle(service.scheduler)
        assert runs(service.app, "fold")[-1].status == "done"
        assert columns(service) == {"orders", "sold"}


def test_a_fold_that_goes_on_ends_its_chunk_and_goes_on_with_the_new(
    filled: str, clock: FixedClock, tmp_path: Path
) -> None:
    """As no attempt of its own: nothing failed."""
    file = written(tmp_path / "server")
    with serving(file, filled, clock, fold={"chunk_rows": 4, "wait_s": 30}) as service:
        original = service.app.fold
        stopped: list[str] = []

        def edited_in_the_middle(*args: Any, **words: Any) -> Any:
            def progress(rollup: str, done: int, total: int) -> None:
                written(tmp_path / "server", AFTER)
                assert service.refresh() is None

            del service.app.__dict__["fold"]
            found = original(*args, **{**words, "progress": progress})
            stopped.extend(f"{one.status}: {one.error}" for one in found)
            return found

        service.app.fold = edited_in_the_middle  # type: ignore[method-assign]
        settle(service.scheduler)
        assert stopped == ["stopped: The definitions were read again.\n  The run goes on with the new ones."]
        assert told(service.app) == [("fold", "schedule", "done", 1)]
        assert columns(service) == {"orders", "sold"}
    assert run_sql(filled, "SELECT sum(orders), sum(sold) FROM whole") == [(22, 11)]


def test_a_server_with_an_older_file_does_not_undo_what_another_published(
    new_postgres: Callable[[], str], clock: FixedClock, tmp_path: Path
) -> None:
    """Its fold fails and says which definitions differ; started again, it folds what its file says."""
    url = new_postgres()
    fill(url)
    file = written(tmp_path / "old")
    with serving(file, url, clock) as service:
        settle(service.scheduler)
        with opened(written(tmp_path / "new", AFTER), url, clock) as other:
            assert [one.status for one in other.fold()] == ["done"]
        clock.instant = march(12, 13)
        settle(service.scheduler)
        [(mine, theirs)] = run_sql(
            url, "SELECT (SELECT error FROM dayfold__runs WHERE status = 'failed'), fingerprint FROM dayfold__rollups"
        )
        begins = "Another process has published another definition of Whole since this one read its own: fingerprint "
        assert mine.startswith(f"{begins}{theirs}; this one has ")
        assert mine.endswith(".\n  Restart or reload this server with the definitions that are wanted.")
        assert columns(service) == {"orders", "sold"}
        run = runs(service.app, "fold")[-1]
        assert (run.status, run.attempt, run.error) == ("queued", 2, f"Whole: {mine}")
        # A command is somebody's will, and replaces it.
        [result] = service.app.sibling().fold()
        assert result.status == "done"
        assert columns(service) == {"orders"}
