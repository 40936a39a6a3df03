"""kill -9 in an erasure and in retention: whoever runs it again ends where an undisturbed one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.engines.connect import duckdb_path, is_duckdb
from dayfold.ledger import events as log
from tests.faults import erasing
from tests.faults.conftest import ROOT

ERASE = [
    ("erasure asked", 1), ("sets reduced", 2), ("keys blurred", 1), ("person let go", 1), ("erasure recorded", 1),
    ("replaced", 1), ("marks deleted", 1), ("committed", 3), ("committed", 5), ("committed", 8), ("erasure ended", 1),
]  # fmt: skip
REWRITE = [("file copied", 1), ("file replaced", 1)]
RETAIN = [("sealed", 1), ("receipts recorded", 1), ("events deleted", 2), ("ids deleted", 1), ("committed", 4)]
LISTS = (ERASE, REWRITE, RETAIN)


@pytest.fixture(params=["duckdb", "postgres"])
def new_store(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes filled stores of one engine."""
    names = iter("abcdef")
    engine = request.param

    def make() -> str:
        new = request.getfixturevalue(f"new_{engine}")
        url = str(new(next(names)) if engine == "duckdb" else new())
        erasing.fill(url)
        return url

    return make


def kill(url: str, verb: str, point: str, nth: int) -> None:
    """A process that is killed at the point; never to get there is a failed test."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    order = json.dumps([url, verb, point, nth])
    ended = subprocess.run(
        [sys.executable, "-m", "tests.faults.erasing", order],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr or f"the {verb} ended before '{point}' number {nth}"


def again(url: str, verb: str) -> None:
    """The same, to its end."""
    with erasing.opened(url) as app:
        erasing.run(app, verb)


def found(url: str) -> dict[str, Any]:
    """What the store holds, as far as it does not say when or by which run; verified on the way."""
    with erasing.opened(url) as app:
        assert [one.cells for one in app.fold()] == [0, 0]
        assert all(one.is_proved for one in app.verify(from_=erasing.OLD.date(), to=app.today))
        held = {
            "events": rows(app, "select cast(id as text), actor_id, anonymous_id from _log order by 1"),
            "ids": rows(app, "select cast(id as text), digest from dayfold__event_ids order by 1"),
            "marks": rows(app, "select rollup, key, day from dayfold__marks order by 1, 2, 3"),
            "sealed": rows(
                app, "select rollup, source, day from dayfold__coverage where state = 'sealed' order by 1, 2, 3"
            ),
            "unfinished": rows(app, "select id from dayfold__erasures where state <> 'done'"),
            "daily": app.query("Daily", from_=erasing.OLD.date(), to=app.today, grain="day").rows,
            "people": sorted(
                one["views"]
                for one in app.query(
                    "ByActor", from_=erasing.OLD.date(), to=app.today, by=["actor_id"], grain="total"
                ).rows
            ),
        }
    leftovers = list(Path(duckdb_path(url, Path())).parent.glob("*.rewriting*")) if is_duckdb(url) else []
    return {**held, "leftovers": leftovers}


def rows(app: Dayfold, text: str) -> list[tuple[Any, ...]]:
    values = {"_log": log.table(log.TABLE, app.ledger.store.schema)} if "_log" in text else {}
    with app.ledger.store.transaction(read_only=True) as session:
        return [tuple(row) for row in session.rows(app.ledger.sql(text, **values))]


def undisturbed(new_store: Callable[[], str], *verbs: str) -> dict[str, Any]:
    url = new_store()
    for verb in verbs:
        again(url, verb)
    return found(url)


@pytest.mark.in_turn
@pytest.mark.parametrize(("point", "nth"), ERASE, ids=str)
def test_a_killed_erasure_is_ended_by_the_next(new_store: Callable[[], str], point: str, nth: int) -> None:
    """The person is gone from all of it, cells are folded and files are rewritten, on days that are sealed and on others."""
    url = new_store()
    seal(url)
    kill(url, "erase", point, nth)
    again(url, "erase")
    right = new_store()
    seal(right)
    again(right, "erase")
    assert found(url) == found(right)


@pytest.mark.parametrize("new_store", ["duckdb"], indirect=True)
@pytest.mark.parametrize(("point", "nth"), REWRITE, ids=str)
def test_a_kill_while_the_file_is_written_anew(new_store: Callable[[], str], point: str, nth: int) -> None:
    """The file is the old one or the new one, and the next erasure, or retention, ends what was begun."""
    url = new_store()
    kill(url, "erase", point, nth)
    again(url, "retain")
    assert found(url) == undisturbed(new_store, "erase", "retain")


@pytest.mark.in_turn
@pytest.mark.parametrize(("point", "nth"), RETAIN, ids=str)
def test_a_kill_between_sealing_and_deleting_is_harmless(new_store: Callable[[], str], point: str, nth: int) -> None:
    """A day is sealed before any of its events goes, and its events go together."""
    url = new_store()
    kill(url, "retain", point, nth)
    again(url, "retain")
    assert found(url) == undisturbed(new_store, "retain")


def test_two_erasures_at_once(new_store: Callable[[], str]) -> None:
    """One waits for the other, and finds nothing; events that come meanwhile are neither lost nor counted twice."""
    url = new_store()
    with erasing.opened(url) as app:
        made: list[Any] = []
        threads = [threading.Thread(target=lambda: made.append(app.erase([erasing.ACTOR]))) for _ in range(2)]
        for one in threads:
            one.start()
        for number in range(100, 130):
            erasing.send(app, erasing.event(number, actor_id="u", anonymous_id="b", project_id="p"))
        for one in threads:
            one.join()
        assert sorted(one.rows > 0 for one in made) == [False, True]
        app.fold()
        assert app.query("Daily", ["views"], from_=erasing.NOON.date(), to=erasing.NOON.date()).rows[0]["views"] == 32
        assert rows(app, "select count(*) from _log") == [(8 + 30,)]


def seal(url: str) -> None:
    """The old days are sealed, and their events are there."""
    from dayfold.fold.retain import Retainer

    with erasing.opened(url) as app:
        retainer = Retainer(app.ledger, app.clock, lambda: app.bind().rollups, app.settings.retain, 30, lambda: None)
        for one in app.bind().rollups:
            retainer._seal(one, retainer._held(erasing.OLD.date() + erasing.dt.timedelta(days=3)))
