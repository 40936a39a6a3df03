"""Connections of stores: opened once however many threads come first, and made anew where the server ended them."""

from __future__ import annotations

import threading
from typing import Any

import duckdb
import psycopg
import pytest

from dayfold.engines.connect import store as store_of
from dayfold.errors import DayfoldError
from dayfold.plan.sql import statement
from tests.sql import run_sql

#: How long another thread is given to do what it must not.
A_MOMENT_S = 0.3


@pytest.mark.parametrize("module", [duckdb, psycopg])
def test_threads_that_come_first_at_once_open_a_store_once(
    module: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one waits until the first has made everything ready."""
    store = store_of(
        request.getfixturevalue(f"{'duckdb' if module is duckdb else 'postgres'}_url"), setting="store.url"
    )
    begun = module.connect
    second = threading.Thread(target=store.open)
    made: list[Any] = []

    def slow(*words: Any, **more: Any) -> Any:
        made.append(begun(*words, **more))
        if not second.ident:
            second.start()
            second.join(A_MOMENT_S)
        return made[-1]

    monkeypatch.setattr(module, "connect", slow)
    store.open()
    second.join()
    with store.transaction(read_only=True) as session:
        assert session.rows(statement("select current_setting('TimeZone')")) == [("UTC",)]
    store.close()
    assert len(made) == 1


END = (
    "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity WHERE application_name = 'dayfold' AND "
    "datname = current_database()"
)


def test_idle_connections_that_the_server_ended_are_made_anew(postgres_url: str) -> None:
    """All of them, as after a restart; a transaction that was under way is lost all the same."""
    store = store_of(postgres_url, setting="store.url")
    one = statement("select 1")
    with store.transaction(), store.transaction(), store.transaction():
        pass
    assert run_sql(postgres_url, END) == [(3,)]
    with store.transaction() as session:
        assert session.rows(one) == [(1,)]
    with pytest.raises(DayfoldError), store.transaction() as session:  # noqa: PT012 - what is lost is the whole transaction
        assert run_sql(postgres_url, END) == [(1,)]
        session.rows(one)
    with store.transaction() as session:
        assert session.rows(one) == [(1,)]
    store.close()
