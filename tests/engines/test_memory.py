"""A long history is folded in the memory of one portion: what was read is let go between portions."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pytest

from dayfold import Count, Dayfold, Rollup, Table
from dayfold.engines.duckdb import DuckStore
from dayfold.plan.sql import Statement, sql
from tests.sql import run_sql, store_config

KEPT = sql("select sum(memory_usage_bytes) from duckdb_memory() where tag = 'BASE_TABLE'", "duckdb")
LIMIT = sql("select current_setting('memory_limit')", "duckdb")
READ = sql("select sum(id), count(distinct who) from event", "duckdb")


@pytest.fixture
def url(new_duckdb: Callable[..., str]) -> str:
    """A million rows over ten days."""
    made = new_duckdb()
    run_sql(
        made,
        "CREATE TABLE event AS SELECT i AS id, hash(i) AS who, "
        "TIMESTAMPTZ '2026-03-01 00:00:00+00' + to_hours(i * 240 // 1000000) AS made FROM range(1000000) AS t(i)",
    )
    return made


@pytest.fixture(params=["400MB", None])
def store(url: str, request: pytest.FixtureRequest) -> DuckStore:
    return DuckStore(url.removeprefix("duckdb:///"), memory_limit=request.param)


def one(store: DuckStore, query: object) -> object:
    with store.transaction(read_only=True) as session:
        return session.rows(Statement(query))[0][0]  # type: ignore[arg-type]


def test_what_was_read_is_let_go(store: DuckStore) -> None:
    """The limit on memory is as it was, and the rows are read again where they are needed."""
    before, limit = one(store, READ), one(store, LIMIT)
    kept = one(store, KEPT)
    store.trim()
    assert float(str(one(store, KEPT))) < float(str(kept)) / 2
    assert (one(store, READ), one(store, LIMIT)) == (before, limit)
    store.close()


def test_nothing_is_let_go_under_a_transaction(store: DuckStore) -> None:
    """A question that is being answered in another thread keeps the memory that it needs."""
    one(store, READ)
    with store.transaction(read_only=True) as session:
        kept = session.rows(Statement(KEPT))
        store.trim()
        assert session.rows(Statement(KEPT)) == kept
    store.close()


def test_a_history_in_portions_lets_go_between_them(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once before each portion but the first; the numbers are those of one portion."""
    trimmed: list[str] = []
    real = DuckStore.trim

    def trim(self: DuckStore) -> None:
        trimmed.append(self.path)
        real(self)

    monkeypatch.setattr(DuckStore, "trim", trim)

    class Events(Rollup):
        total = Count(Table("event"), at="made")

    with Dayfold([Events], {**store_config(url), "fold": {"chunk_rows": 400_000}}) as app:
        [run] = app.fold()
    assert len(trimmed) == len(run.days) - 1 > 0
    with duckdb.connect(url.removeprefix("duckdb:///")) as connection:
        assert connection.execute("SELECT sum(total), count(*) FROM events").fetchall() == [(1_000_000, 10)]
