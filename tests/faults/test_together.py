"""Several runs at once, holders that were paused, readers in between, and connections that are cut."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import psycopg
import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.engines.base import Session as StoreSession
from dayfold.errors import DayfoldError, FileLocked
from dayfold.fold import chunk, reshape
from dayfold.fold.fold import Folder
from dayfold.ledger import leases, versions
from dayfold.ledger.ledger import Ledger
from tests.faults import shops
from tests.faults.conftest import fold, start
from tests.faults.killed import around_points
from tests.faults.test_kills import comparable, edited, undisturbed
from tests.sql import Session, run_sql

pytestmark = pytest.mark.in_turn

Stores = Callable[[], str]


def open_app(url: str, version: str = "first") -> Dayfold:
    return Dayfold(shops.definitions(version), shops.config(url), clock=FixedClock(shops.NOW))


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """A started thread, and where its result or its error will be."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


@pytest.mark.parametrize("before", [(), (fold,), (fold, shops.change)], ids=["empty", "folded", "changed"])
def test_two_folds_at_once_make_one_result(engine: str, new_store: Stores, before: tuple[Any, ...]) -> None:
    """In two threads with an application each, on a new store and on one with rows: no error, nothing twice."""
    url = new_store()
    for step in before:
        step(url)
    together = threading.Barrier(3)

    def work() -> list[Any]:
        with open_app(url) as app:
            together.wait(30)
            return app.fold()

    threads = [in_thread(work) for _ in range(3)]
    for thread, _ in threads:
        thread.join(60)
    for _, results in threads:
        assert not isinstance(results[0], Exception), results[0]
        assert [run.error for run in results[0]] == [None]
    assert comparable(url) == undisturbed(engine, new_store, *before, fold)


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_processes_at_once_make_one_result(engine: str, new_store: Stores) -> None:
    """Two schedulers that start in the same second on an empty store."""
    url = new_store()
    processes = [start(url) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert comparable(url) == undisturbed(engine, new_store, fold)
    assert len(run_sql(url, "SELECT 1 FROM dayfold_runs WHERE status = 'done'")) == 3


def test_a_first_fold_that_comes_second_goes_on(
    engine: str, new_store: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked before the other run made the tables, and finds them made: they are the rollup's, and nobody's else."""
    url = new_store()
    fold(url)
    real, looks = Folder._is_registered, iter([False])
    monkeypatch.setattr(Folder, "_is_registered", lambda *args: next(looks, None) is not False and real(*args))
    with open_app(url) as app:
        [run] = app.fold()
    assert (run.status, run.error) == ("done", None)
    assert comparable(url) == undisturbed(engine, new_store, fold)


@pytest.mark.parametrize(("version", "publishing"), [("first", chunk), ("edited", reshape)], ids=["chunk", "version"])
def test_a_publication_that_meets_another_fold_at_its_fence_is_tried_again(
    engine: str, new_store: Stores, monkeypatch: pytest.MonkeyPatch, version: str, publishing: ModuleType
) -> None:
    """A rollup above registers between its snapshot and its fence: it is refused once, and published then."""
    url = new_store()
    fold(url)
    shops.change(url)
    found: list[str] = []

    def fence(ledger: Ledger, session: StoreSession, held: leases.Lease) -> None:
        if not found:
            # The snapshot is taken; then the other fold comes, as `Folder.register` does.
            ledger.version(session)
            with ledger.store.transaction() as other:
                versions.pass_fence(ledger, other, held.rollup)
        try:
            leases.fence(ledger, session, held)
        except DayfoldError as error:
            found.append(type(error).__name__)
            raise
        found.append("ours")

    monkeypatch.setattr(publishing, "leases", SimpleNamespace(fence=fence))
    fold(url, version)
    monkeypatch.undo()
    assert found[:2] == ["Conflict", "ours"]
    assert comparable(url) == undisturbed(
        engine, new_store, fold, shops.change, edited if version == "edited" else fold
    )


def test_a_holder_that_was_paused_past_its_lease_publishes_nothing_more(
    engine: str, new_store: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run took over; the late one is told so, and the rows are those of the other."""
    url = new_store()
    paused, go_on = threading.Event(), threading.Event()
    slow = threading.get_ident
    holder: list[int] = []
    real = chunk.Chunk._read_apart

    def read(self: chunk.Chunk, portion: Any) -> Any:
        if slow() in holder and self.indexed:
            paused.set()
            assert go_on.wait(60)
        return real(self, portion)

    monkeypatch.setattr(chunk.Chunk, "_read_apart", read)
    monkeypatch.setattr(leases, "_renew", lambda *_: None)
    monkeypatch.setattr(leases, "lease", functools.partial(leases.lease, lease_s=0.05))

    def late() -> list[Any]:
        holder.append(slow())
        with open_app(url) as app:
            return app.fold()

    thread, results = in_thread(late)
    assert paused.wait(60)
    # After its first chunk the holder stands still; its lease runs out and the other run takes it.
    try:
        fold(url)
    finally:
        go_on.set()
        thread.join(60)
    [[run]] = results
    assert run.status == "failed"
    assert run.error == (
        "The lease of Shops was taken over by another run while this one was paused.\n"
        "  Nothing more was published by this run; the other one goes on."
    )
    assert comparable(url) == undisturbed(engine, new_store, fold)
    statuses = run_sql(url, "SELECT status FROM dayfold_runs ORDER BY id")
    assert statuses == [("interrupted",), ("done",)]


def test_a_reader_never_sees_half_of_a_version(engine: str, new_store: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every step of a change of version another connection reads all old rows or all new ones."""
    url = new_store()
    fold(url)
    old = comparable(url)
    seen: list[Any] = []

    def look(_: str) -> None:
        with Session(url) as reader:
            if engine == "postgres":
                reader.run("SET LOCAL lock_timeout = '20ms'")
            # While columns change a reader waits for the end of the transaction; it cannot be waited for from inside it.
            with contextlib.suppress(psycopg.errors.LockNotAvailable):
                seen.append(reader.run("SELECT * FROM shops"))

    around_points(look, monkeypatch.setattr)
    edited(url)
    monkeypatch.undo()
    new = run_sql(url, "SELECT * FROM shops")
    assert len(seen) > 10
    before = sorted(seen[0], key=repr)
    assert len(before) == len(old["shops"])  # type: ignore[arg-type]
    states = [sorted(rows, key=repr) for rows in seen]
    assert all(rows in (before, sorted(new, key=repr)) for rows in states)
    assert sorted(new, key=repr) != before


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
@pytest.mark.parametrize("version", ["first", "edited"])
def test_a_connection_cut_in_the_middle_of_a_publish_changes_nothing(
    engine: str, new_store: Stores, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """The run says so; the next one completes the work."""
    url = new_store()
    fold(url)
    shops.change(url)
    before = comparable(url)
    real = chunk.replace

    def cut(store: Any, session: Any, *args: Any, **how: Any) -> Any:
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [session.connection.info.backend_pid])
        return real(store, session, *args, **how)

    monkeypatch.setattr(chunk, "replace", cut)
    with open_app(url, version) as app:
        [run] = app.fold()
    assert run.status == "failed"
    assert "Nothing was published" in str(run.error)
    assert comparable(url)["shops"] == before["shops"]
    monkeypatch.undo()
    fold(url, version)
    assert comparable(url) == undisturbed(
        engine, new_store, fold, shops.change, edited if version == "edited" else fold
    )


OWNER = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


@pytest.mark.parametrize("engine", ["duckdb"], indirect=True)
def test_a_file_that_another_process_owns_is_refused_by_its_name(engine: str, new_store: Stores) -> None:
    """One sentence says who has it; when it is let go of, the fold runs."""
    url = new_store()
    path = url.removeprefix("duckdb:///")
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with open_app(url) as app, pytest.raises(FileLocked) as refused:
            app.fold()
        assert f"The DuckDB file {path} is in use by " in str(refused.value)
        assert f"(process {owner.pid})" in str(refused.value)
        owner.communicate("")
    fold(url)
