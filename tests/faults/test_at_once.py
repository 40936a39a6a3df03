"""Two folds, a rebuild, a writer and readers at once: no error, nothing half, no lost mark."""

from __future__ import annotations

import datetime as dt
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from dayfold import Count, Dayfold, Distinct, Rollup, Sum, Table
from dayfold.clock import FixedClock
from dayfold.fold.chunk import Chunk
from tests.conftest import SOAK
from tests.faults import shops
from tests.faults.conftest import do, fold
from tests.faults.test_kills import comparable, undisturbed
from tests.sql import Session, is_clickhouse, run_sql, store_config

#: A minute in the soak; enough of everything in a few seconds.
SECONDS = 60 if SOAK else 4
SHOPS, DAYS = 5, 20
DAY = dt.timedelta(days=1)


def definitions() -> list[type[Any]]:
    request = Table("request", changes="trigger")
    metrics = {
        "asked": Count(request, at="made"),
        "amount": Sum(request, "amount", at="made"),
        "people": Distinct(request, "who", at="made"),
    }
    lower = type("Shops", (Rollup,), {"key": "shop", **metrics})
    return [
        lower,
        type("Platform", (Rollup,), {"asked": Sum(lower, "asked", at="day"), "amount": Sum(lower, "amount", at="day")}),
    ]


def open_app(url: str) -> Dayfold:
    config = {**store_config(url), "fold": {"chunk_rows": 40, "wait_s": 60}}
    return Dayfold(definitions(), config, clock=FixedClock(shops.NOW))


def filled(url: str) -> None:
    """Rows whose number and amount stay the same on each day, however they move between shops."""
    if is_clickhouse(url):
        pytest.skip("what changes is told by triggers, which tables in ClickHouse have not")
    with Session(url) as session:
        session.run(f"CREATE TABLE request ({shops.DDL})")
        start = shops.NOW.replace(hour=9, minute=0)
        rows = [
            {
                "shop": n % SHOPS,
                "who": f"p{n % 7}",
                "amount": n % 11,
                "made": start - shops.dt.timedelta(days=n % DAYS),
                "stamped_at": start,
            }
            for n in range(DAYS * 20)
        ]
        session.insert("request", rows)
    with open_app(url) as app:
        app.track_install()
        assert [run.error for run in app.fold() if run.error] == []


class Crowd:
    """Threads that work until told to stop; their errors are kept."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.errors: list[str] = []
        self.done: dict[str, int] = {}
        self.threads: list[threading.Thread] = []

    def join_in(self, name: str, work: Callable[[], None]) -> None:
        def run() -> None:
            while not self.stop.is_set():
                try:
                    work()
                    self.done[name] = self.done.get(name, 0) + 1
                except Exception as error:
                    self.errors.append(f"{name}: {type(error).__name__}: {error}")
                    return

        thread = threading.Thread(target=run, name=name)
        self.threads.append(thread)
        thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(120)


def test_folds_a_rebuild_and_readers_at_once(
    engine: str, new_store: Callable[[], str], request: pytest.FixtureRequest
) -> None:
    """Rows move between shops all the time; what a day adds up to never does, at any moment, for any reader."""
    url = str(
        request.getfixturevalue(f"new_{engine}")("crowd")
        if engine == "duckdb"
        else request.getfixturevalue(f"new_{engine}")()
    )
    filled(url)
    right = dict(run_sql(url, "SELECT day, SUM(asked) FROM shops GROUP BY day"))
    chosen = random.Random(5)
    crowd = Crowd()
    first, second, builder, asker = (open_app(url) for _ in range(4))

    def write() -> None:
        shop, other = chosen.sample(range(SHOPS), 2)
        low = shops.NOW - DAY * chosen.randrange(DAYS)
        with Session(url) as session:
            session.run(
                "UPDATE request SET shop = $1 WHERE shop = $2 AND made >= $3 AND made < $4",
                [shop, other, low, low + DAY],
            )
        time.sleep(0.02)

    def folded(app: Dayfold) -> Callable[[], None]:
        def work() -> None:
            errors = [run.error for run in app.fold() if run.error]
            assert not errors, errors

        return work

    def rebuild() -> None:
        builder.rebuild("Shops", from_="2026-03-01", to="2026-03-20")

    def ask() -> None:
        rows = asker.query("Shops", ["asked", "amount"], from_="2026-03-01", to="2026-03-20").rows
        assert {row["day"]: row["asked"] for row in rows} == right

    def look() -> None:
        with Session(url) as session:
            assert dict(session.run("SELECT day, SUM(asked) FROM shops GROUP BY day")) == right
        time.sleep(0.01)

    try:
        jobs = {
            "writer": write, "fold 1": folded(first), "fold 2": folded(second), "rebuild": rebuild, "query": ask, "reader": look,
        }  # fmt: skip
        for name, work in jobs.items():
            crowd.join_in(name, work)
        time.sleep(SECONDS)
    finally:
        crowd.end()
        for app in (first, second, builder, asker):
            app.close()
    assert crowd.errors == []
    assert min(crowd.done.get(name, 0) for name in ("writer", "fold 1", "fold 2", "rebuild", "query", "reader")) >= 1, (
        crowd.done
    )
    with open_app(url) as app:
        assert [run.error for run in app.fold() if run.error] == []
    stored = run_sql(url, "SELECT shop, day, asked, amount, people FROM shops ORDER BY 1, 2")
    truth = run_sql(
        url,
        "SELECT shop, CAST(made AT TIME ZONE 'UTC' AS DATE), count(*), CAST(sum(amount) AS BIGINT), count(DISTINCT who) "
        "FROM request GROUP BY 1, 2 ORDER BY 1, 2",
    )
    assert stored == truth
    assert run_sql(url, "SELECT count(*) FROM dayfold__marks") == [(0,)]


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_every_connection_cut_between_two_chunks(
    engine: str, new_store: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the server restarts: the published chunks stand, the next run goes on with the rest."""
    url = new_store()
    real, chunks = Chunk._publish, iter(range(100))

    def publish(self: Chunk, *args: Any) -> Any:
        if next(chunks) == 2:
            with psycopg.connect(url, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND "
                    "pid <> pg_backend_pid()"
                )
        return real(self, *args)

    monkeypatch.setattr(Chunk, "_publish", publish)
    with Dayfold(shops.definitions("first"), shops.config(url), clock=FixedClock(shops.NOW)) as app:
        [run] = app.fold()
    monkeypatch.undo()
    covered = run_sql(url, "SELECT count(DISTINCT day) FROM dayfold_coverage")[0][0]
    assert covered >= 4
    if run.status == "failed":
        assert "Nothing was published" in str(run.error)
    fold(url)
    assert comparable(url) == undisturbed(engine, new_store, fold)


def test_a_rebuild_waits_for_the_fold_that_holds_the_rollup(engine: str, new_store: Callable[[], str]) -> None:
    """And the other way round: each has the rollup for itself."""
    url = new_store()
    fold(url)
    crowd = Crowd()
    crowd.join_in("fold", lambda: void(fold(url)))
    crowd.join_in("rebuild", lambda: void(do(url, "first", "rebuild")))
    time.sleep(1.5)
    crowd.end()
    assert crowd.errors == []
    assert comparable(url) == undisturbed(engine, new_store, fold)


def void(_: object) -> None:
    return None
