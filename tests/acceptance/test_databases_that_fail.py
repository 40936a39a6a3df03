"""Stores and sources that cannot be used: what the command says, that it says no secret, and that it changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from dayfold.ledger.migrations import VERSION
from tests.acceptance.command import NOW, dayfold, fails, succeeds
from tests.acceptance.shop import METRICS, TOML, source_url, store_url, stored, tables_of
from tests.servers import PASSWORD, READER
from tests.sql import run_sql

OWN = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('mine', flush=True); sys.stdin.read()"


@contextmanager
def owned_by_another(file: Path) -> Iterator[int]:
    """Another process has the DuckDB file open; its id."""
    with subprocess.Popen([sys.executable, "-c", OWN, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        yield other.pid
        other.stdin.close()


def test_locked_store_names_its_holder(folded: Path) -> None:
    file = folded / "dayfold.duckdb"
    before = file.read_bytes()
    with owned_by_another(file) as pid:
        for words in (("fold",), ("query", "ShopDaily")):
            message = fails(*words, cwd=folded, status=1)
            assert message.startswith("The DuckDB file dayfold.duckdb is in use by python")
            assert message.endswith(
                f" (process {pid}).\n  One process owns a DuckDB file at a time, readers included. Let that process finish, or stop it."
            )
        assert dayfold("fold", "--json", cwd=folded).json["error"]["code"] == "file-locked"
    assert file.read_bytes() == before
    succeeds("fold", cwd=folded)


def test_locked_source_of_a_first_fold_writes_nothing(shop: Path) -> None:
    with owned_by_another(shop / "shop.duckdb"):
        assert "shop.duckdb is in use by python" in fails("fold", cwd=shop, status=1)
    assert not (shop / "dayfold.duckdb").exists()


@pytest.mark.parametrize("role", ["store", "databases.app"])
def test_refused_connection(shop: Path, role: str) -> None:
    (shop / "dayfold.toml").write_text(
        f'{TOML}\n[{role}]\nurl = "postgresql://someone:s3cret@127.0.0.1:1/shop"'
        if role not in TOML
        else TOML.replace(f'[{role}]\nurl = "duckdb:///', f'[{role}]\nurl = "postgresql://someone:s3cret@127.0.0.1:1/')
    )
    message = fails("fold", cwd=shop, status=1)
    assert message.startswith("postgresql://127.0.0.1:1/")
    assert message.endswith("cannot be reached: Connection refused.\n  `dayfold doctor` checks every connection.")
    assert not (shop / "dayfold.duckdb").exists()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ((":p%40ss%2Fw%3Ard@", ":s3cret@"), "password authentication failed"),
        (("/t_", "/nowhere_t_"), "does not exist"),
        (("@127.0.0.1", "@nowhere.invalid"), "nowhere.invalid"),
    ],
)
def test_wrong_password_host_or_database(shop: Path, postgres_url: str, wrong: tuple[str, str], reason: str) -> None:
    """The reason is the server's; neither the password given nor the right one is printed, by any command."""
    url = postgres_url.replace(*wrong)
    assert url != postgres_url
    for words in (("fold", "--json"), ("doctor",)):
        done = dayfold(*words, cwd=shop, env={"DAYFOLD_STORE__URL": url})
        assert done.status == 1, str(done)
        assert "cannot be reached: " in done.err + done.out
        assert reason in done.err + done.out
        assert "Traceback" not in done.err
        for secret in ("s3cret", PASSWORD, "p%40ss"):
            assert secret not in done.err + done.out
    assert tables_of(postgres_url) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@127.0.0.1:port/shop",
        "postgresql://u:s3/cr@et@127.0.0.1:1/shop",
        "postgresql://u:s3 cret@127.0.0.1:1/shop",
        "postgresql://u:s3%cret@127.0.0.1:1/shop",
        "postgresql://u:s3cret@[::1/shop",
        "postgresql://u@127.0.0.1:1/shop?pasword=s3cret",
    ],
)
def test_address_that_cannot_be_read_keeps_its_secret(shop: Path, url: str) -> None:
    """The part that cannot be read may be the password, so it is not shown."""
    message = fails("fold", cwd=shop, status=2, env={"DAYFOLD_STORE__URL": url})
    assert message.endswith(
        "Expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for @, %2F for / and %20 for a space inside a part."
    )
    assert "s3" not in message
    assert "cr" not in message.partition("\n")[0]


def test_missing_driver_names_what_to_install(shop: Path, tmp_path: Path) -> None:
    """Without psycopg a PostgreSQL store is refused, and a DuckDB one works as ever."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text("import sys\nsys.modules['psycopg'] = None\n")
    path = os.pathsep.join(filter(None, [str(hook), os.environ.get("PYTHONPATH", "")]))
    url = "postgresql://u:s3cret@127.0.0.1:1/shop"
    for words in (("fold",), ("status",)):
        assert fails(*words, cwd=shop, status=1, env={"PYTHONPATH": path, "DAYFOLD_STORE__URL": url}) == (
            "postgresql://127.0.0.1:1/shop needs the PostgreSQL driver, which is not installed.\n"
            "  Install it: pip install 'dayfold[postgres]'"
        )
    assert not (shop / "dayfold.duckdb").exists()
    succeeds("fold", cwd=shop, env={"PYTHONPATH": path})


def test_file_that_is_not_a_database(shop: Path) -> None:
    """A text file in the store's place is left as it is; one in the source's place keeps the store from being made."""
    (shop / "dayfold.duckdb").write_text("my notes\n" * 1000)
    for words in (("fold",), ("status",)):
        assert fails(*words, cwd=shop, status=1) == "dayfold.duckdb is not a DuckDB file."
    assert (shop / "dayfold.duckdb").read_text() == "my notes\n" * 1000
    (shop / "dayfold.duckdb").rename(shop / "shop.duckdb")
    assert fails("fold", cwd=shop, status=1) == "shop.duckdb is not a DuckDB file."
    assert not (shop / "dayfold.duckdb").exists()


def test_file_or_folder_that_is_not_there(shop: Path) -> None:
    assert fails("fold", cwd=shop, status=1, env={"DAYFOLD_STORE__URL": "duckdb:///new/dayfold.duckdb"}) == (
        "The folder of the DuckDB file new/dayfold.duckdb does not exist.\n  Make it: mkdir -p new"
    )
    (shop / "shop.duckdb").unlink()
    assert fails("fold", cwd=shop, status=1) == "The DuckDB file shop.duckdb of [databases.app] does not exist."
    assert sorted(path.name for path in shop.iterdir()) == ["dayfold.toml", "metrics.py"]


def test_source_that_goes_away_leaves_its_numbers_and_says_so(folded: Path) -> None:
    """The fold fails, the last numbers stay readable and are called stale with the reason; then it recovers."""
    (folded / "shop.duckdb").rename(folded / "away.duckdb")
    words = ("query", "ShopDaily", "-m", "orders_count", "--from", "2026-01-01", "--grain", "total", "--json")
    before = succeeds(*words, cwd=folded).rows
    done = dayfold("fold", "ShopDaily", cwd=folded)
    assert done.status == 1
    assert "ShopDaily: partial" in done.out
    assert "ShopDaily: app.orders: The DuckDB file shop.duckdb of [databases.app] does not exist." in done.err
    answer = succeeds(*words, cwd=folded)
    assert answer.rows == before
    assert [(gap["from"], gap["to"], gap["reason"]) for gap in answer.json["stale"]] == [
        ("2026-01-03", "2026-01-10", "failed: The DuckDB file shop.duckdb of [databases.app] does not exist.")
    ]
    (folded / "away.duckdb").rename(folded / "shop.duckdb")
    succeeds("fold", "ShopDaily", cwd=folded)
    assert "stale" not in succeeds(*words, cwd=folded).json


def test_suddenly_empty_source_wipes_nothing(folded: Path) -> None:
    """A source that had facts and has none stops the fold until somebody says that it is meant."""
    before = stored(store_url(folded), "shop_daily")
    run_sql(source_url(folded), "DELETE FROM orders")
    done = dayfold("fold", "ShopDaily", cwd=folded)
    assert done.status == 1
    assert "returns nothing for 2026-01-03 to 2026-01-10, where it had 5 facts before. Nothing was changed." in done.err
    assert "--allow-empty" in done.err
    assert stored(store_url(folded), "shop_daily") == before
    assert "-5 rows" in succeeds("fold", "ShopDaily", "--allow-empty", cwd=folded).out


@pytest.fixture(params=["duckdb", "postgres"])
def project(request: pytest.FixtureRequest, folded: Path) -> tuple[Path, str, dict[str, str]]:
    """The shop folded into a store on either engine: its folder, the store's address and the variables to use it."""
    if request.param == "duckdb":
        return folded, store_url(folded), {}
    url = request.getfixturevalue("postgres_url")
    env = {"DAYFOLD_STORE__URL": url}
    succeeds("fold", cwd=folded, env=env)
    return folded, url, env


ALTERATIONS = {
    "newer": (
        "UPDATE dayfold__store SET version = version + 1",
        f"is of version {VERSION + 1}; this program knows versions up to {VERSION}.",
    ),
    "older": ("UPDATE dayfold__store SET version = 0", f"is of version 0; this program needs version {VERSION}."),
    "ledger-table-gone": ("DROP TABLE dayfold__fences", "the table dayfold__fences is missing"),
    "ledger-column-added": ("ALTER TABLE dayfold__sources ADD COLUMN note text", "the table dayfold__sources differs in note"),
    "view-gone": ("DROP VIEW dayfold_runs", "the view dayfold_runs is missing"),
    "rollup-column-added": ("ALTER TABLE shop_daily ADD COLUMN note text", "the column 'note' is not one of ours"),
}  # fmt: skip


@pytest.mark.in_turn
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_altered_store_is_refused_with_the_difference(
    project: tuple[Path, str, dict[str, str]], alteration: str
) -> None:
    """A later version's store, an earlier one's, a ledger or a rollup changed by hand: said, and nothing is folded."""
    folder, url, env = project
    statement, message = ALTERATIONS[alteration]
    run_sql(url, statement)
    before = stored(url, "shop_daily", "seats", "dayfold__coverage")
    run_sql(source_url(folder), "INSERT INTO orders VALUES (99, 1, 'FR', 1, 'paid', 1, 1, '2026-01-10 08:00:00+00')")
    done = dayfold("fold", "ShopDaily", cwd=folder, env={**env, "DAYFOLD_NOW": NOW})
    assert done.status == 1, str(done)
    assert message in done.err
    assert "Traceback" not in done.err
    assert stored(url, "shop_daily", "seats", "dayfold__coverage") == before


@pytest.mark.in_turn
@pytest.mark.parametrize("alteration", ["ledger-table-gone", "ledger-column-added", "view-gone"])
def test_migrate_does_not_call_an_altered_store_up_to_date(
    project: tuple[Path, str, dict[str, str]], alteration: str
) -> None:
    """It says the difference, as every other command does."""
    folder, url, env = project
    statement, message = ALTERATIONS[alteration]
    run_sql(url, statement)
    assert message in fails("migrate", cwd=folder, status=1, env=env)


@pytest.mark.parametrize("words", [("query", "ShopDaily"), ("status",), ("plan",), ("migrate",)])
def test_newer_store_is_refused_by_every_command(folded: Path, words: tuple[str, ...]) -> None:
    run_sql(store_url(folded), "UPDATE dayfold__store SET version = version + 1")
    assert fails(*words, cwd=folded, status=1) == (
        f"The store duckdb:///dayfold.duckdb is of version {VERSION + 1}; this program knows versions up to {VERSION}.\n"
        "  Install the newer Dayfold that made it."
    )


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("ALTER TABLE shop_daily DROP COLUMN largest", "the column 'largest' is missing"),
        (
            "ALTER TABLE shop_daily ALTER COLUMN orders_count TYPE text",
            "the column 'orders_count' is text, expected bigint",
        ),
    ],
)
def test_rollup_table_altered_by_hand(folded: Path, postgres_url: str, statement: str, difference: str) -> None:
    """The message names the table, the column and both types."""
    env = {"DAYFOLD_STORE__URL": postgres_url}
    succeeds("fold", "ShopDaily", cwd=folded, env=env)
    # PostgreSQL keeps a column while a view needs it.
    run_sql(postgres_url, "DROP VIEW analytics_metrics_timeseries")
    run_sql(postgres_url, statement)
    done = dayfold("fold", "ShopDaily", cwd=folded, env=env)
    assert done.status == 1
    assert f"The table shop_daily is not as Dayfold makes it: {difference}." in done.err


def test_a_view_on_a_column_that_goes_is_named(folded: Path, postgres_url: str) -> None:
    """PostgreSQL keeps the column while a view needs it: which view, and what to do. The old version stays."""
    env = {"DAYFOLD_STORE__URL": postgres_url}
    succeeds("fold", "ShopDaily", cwd=folded, env=env)
    run_sql(postgres_url, "CREATE VIEW big AS SELECT day, largest FROM shop_daily")
    before = stored(postgres_url, "shop_daily")
    text = METRICS.replace('    largest = Max(orders, "amount", at="created_at")\n', "")
    (folded / "metrics.py").write_text(text)
    done = dayfold("fold", "ShopDaily", cwd=folded, env=env)
    assert done.status == 1
    assert (
        "cannot change a table that others depend on: view big depends on column largest of table shop_daily"
        in done.err
    )
    assert "Drop what depends on it" in done.err
    assert stored(postgres_url, "shop_daily") == before
    run_sql(postgres_url, "DROP VIEW big")
    succeeds("fold", "ShopDaily", cwd=folded, env=env)


def test_a_store_without_rights_is_not_called_busy(folded: Path, postgres_url: str) -> None:
    """Waiting would not help: the right that lacks is said at once."""
    env = {"DAYFOLD_STORE__URL": postgres_url}
    succeeds("fold", "ShopDaily", cwd=folded, env=env)
    done = dayfold(
        "fold", "ShopDaily", cwd=folded, env={"DAYFOLD_STORE__URL": postgres_url.replace("//owner:", f"//{READER}:", 1)}
    )
    assert done.status == 1
    assert "permission" in done.err
    assert "Traceback" not in done.err


def test_store_of_another_storage_version_is_not_called_broken(shop: Path) -> None:
    """A DuckDB file in the older format is read as a source all the same."""
    (shop / "shop.duckdb").rename(shop / "new.duckdb")
    with duckdb.connect(str(shop / "any.duckdb")) as connection:
        connection.execute(f"ATTACH '{shop}/new.duckdb' AS new (READ_ONLY)")
        connection.execute(f"ATTACH '{shop}/shop.duckdb' AS old (STORAGE_VERSION 'v1.0.0')")
        connection.execute("COPY FROM DATABASE new TO old")
    assert "ShopDaily: done, 10 days, 8 cells, +8 ~0 -0 rows" in succeeds("fold", "ShopDaily", cwd=shop).out
