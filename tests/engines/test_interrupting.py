"""Work that another thread interrupts: the statement that runs is interrupted, the transaction undone, and the next one unharmed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from dayfold import interrupting
from dayfold.engines import connect
from dayfold.engines.base import Store
from dayfold.engines.duckdb import DuckSession
from dayfold.plan.sql import statement
from tests.sql import is_clickhouse, run_sql

#: Nothing of these tests takes as long, unless it hangs.
LIMIT_S = 60
ENDLESS = {
    "duckdb": "select count(*) from begun, range(3000000) as a(i), range(3000000) as b(j) where (i * j + n) % 1000003 = 7",
    "postgres": "select pg_sleep(3600)",
}


@pytest.fixture
def store(store_url: str) -> Store:
    if is_clickhouse(store_url):
        pytest.skip("the ClickHouse of the tests does not know a statement by the number that it was given")
    one = connect.store(store_url, setting="store.url")
    with one.transaction() as session:
        session.execute("CREATE TABLE a (n BIGINT)")
    return one


def started(
    interrupt: interrupting.Interrupt, work: Callable[[], None]
) -> tuple[threading.Thread, list[BaseException]]:
    """Work that a thread has begun, and what ended it."""
    met: list[BaseException] = []

    def run() -> None:
        with interrupt.applied():
            try:
                work()
            except BaseException as error:
                met.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, met


def end(interrupt: interrupting.Interrupt, thread: threading.Thread) -> None:
    """Ask until the work has ended, as whoever interrupts it does."""
    for _ in range(LIMIT_S * 10):
        interrupt.ask()
        thread.join(0.1)
        if not thread.is_alive():
            return
    pytest.fail("It goes on.")


def test_statement_that_runs_is_interrupted(store: Store, store_url: str) -> None:
    """It would take hours; what the transaction wrote is undone, and the store works as ever."""
    interrupt, running = interrupting.Interrupt(), threading.Event()

    def tells() -> Iterator[pa.RecordBatch]:
        running.set()
        yield pa.record_batch({"n": pa.array([1])})

    def work() -> None:
        with store.transaction() as session:
            session.execute("INSERT INTO a VALUES (1)")
            if isinstance(session, DuckSession):
                columns = pa.schema([("n", pa.int64())])
                session.cursor.register("begun", pa.RecordBatchReader.from_batches(columns, tells()))
            session.execute(ENDLESS[store.dialect.name])

    thread, met = started(interrupt, work)
    while store.dialect.name == "postgres" and not running.is_set():
        if run_sql(
            store_url, "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'select pg_sleep%' AND state = 'active'"
        ):
            running.set()
    assert running.wait(LIMIT_S)
    end(interrupt, thread)
    assert [type(error) for error in met] == [KeyboardInterrupt]
    with store.transaction(read_only=True) as session:
        assert session.rows(statement("select count(*) from a")) == [(0,)]
    store.close()


def test_interrupt_is_met_once_so_that_work_ends_well(store: Store) -> None:
    """What is interrupted before a statement does not begin it; what it does afterwards to tidy up is done."""
    interrupt = interrupting.Interrupt()
    interrupt.ask()

    def work() -> None:
        try:
            with store.transaction() as session:
                session.execute("INSERT INTO a VALUES (1)")
        finally:
            with store.transaction() as session:
                session.execute("INSERT INTO a VALUES (2)")

    thread, met = started(interrupt, work)
    end(interrupt, thread)
    assert [type(error) for error in met] == [KeyboardInterrupt]
    with store.transaction(read_only=True) as session:
        assert session.rows(statement("select n from a")) == [(2,)]
    store.close()


def test_other_work_is_not_interrupted(store: Store) -> None:
    """An interrupt is that of one thread's work; what others do at the same time goes on."""
    interrupt = interrupting.Interrupt()
    with store.transaction() as session:
        interrupt.ask()
        session.execute("INSERT INTO a VALUES (1)")
    with store.transaction(read_only=True) as session:
        assert session.rows(statement("select n from a")) == [(1,)]
    store.close()
