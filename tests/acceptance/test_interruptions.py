"""What stops a command from outside: a reader that has seen enough, a person who presses Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from dayfold.engines.duckdb import DuckStore
from tests.acceptance.command import COMMAND, LIMIT_S, environment, succeeds
from tests.acceptance.shop import METRICS, TOML, source_url, store_url
from tests.sql import run_sql

# Enough rows that the pipe is full when its reader goes.
QUERY = ("query", "ShopClock", "--from", "1990-01-01", "--to", "today", "--by", "shop_id", "--limit", "6000")


def test_reader_that_stops_reading_is_no_error(folded_once: Path) -> None:
    """As with `| head -1`, in every form: no message, and the status that says all is well."""
    for form in ("table", "csv", "json"):
        with subprocess.Popen(
            [*COMMAND, *QUERY, "--format", form],
            cwd=folded_once, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as command:  # fmt: skip
            assert command.stdout is not None
            assert command.stderr is not None
            assert command.stdout.readline() != b""
            command.stdout.close()
            said = command.stderr.read().decode()
            assert command.wait(LIMIT_S) == 0, said
            assert "Broken" not in said
            assert "Traceback" not in said
            assert "Exception" not in said


def test_interrupted_backfill_says_so_and_goes_on_where_it_stopped(shop: Path) -> None:
    """Ctrl-C between two chunks: status 130, what was published stays, the next run does the rest and no more."""
    run_sql(source_url(shop), "DELETE FROM orders")
    run_sql(
        source_url(shop),
        "INSERT INTO orders SELECT i, i % 3, 'FR', i, 'paid', 1, 1, TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_hours(CAST(i AS bigint)) "
        "FROM range(17000) AS t(i)",
    )
    (shop / "metrics.py").write_text(METRICS.partition("class ShopClock")[0])
    (shop / "dayfold.toml").write_text(f"{TOML}\n[fold]\nchunk_rows = 200\n")
    with subprocess.Popen(
        [*COMMAND, "fold"], cwd=shop, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as command:  # fmt: skip
        assert command.stderr is not None
        first = command.stderr.readline()
        assert first.startswith("ShopDaily: "), first
        command.send_signal(signal.SIGINT)
        out, said = command.communicate(timeout=LIMIT_S)
    assert command.returncode == 130, (out, said)
    assert said.endswith("Interrupted. What was published stays; the next run continues.\n")
    assert "Traceback" not in said
    query = "SELECT count(*), count(DISTINCT day), sum(orders_count) FROM shop_daily"
    [(_, done_days, _)] = run_sql(store_url(shop), query)
    assert 0 < done_days < 709
    [run] = succeeds("fold", "--json", cwd=shop).json["runs"]
    assert run["status"] == "done"
    # 2024-01-01 to 2025-12-09 have facts; only the days that were not published are computed and written.
    [(rows, days, facts)] = run_sql(store_url(shop), query)
    assert (rows, days, facts) == (3 * 709, 709, 17000)
    assert run["rows_inserted"] == rows - 3 * done_days
    assert (run["rows_updated"], run["rows_deleted"]) == (0, 0)


def test_interrupted_query_is_an_interruption() -> None:
    """What DuckDB raises when Ctrl-C meets it at work undoes the transaction and is Ctrl-C again."""
    store = DuckStore(":memory:")

    def work() -> None:
        with store.transaction() as session:
            session.execute("CREATE TABLE a (n BIGINT)")
            raise RuntimeError("Query interrupted")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert store.tables() == []
    store.close()
