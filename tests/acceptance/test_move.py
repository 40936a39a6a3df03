"""``dayfold move`` as people run it: looked at, done, read, and refused where nothing more is to be written."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.command import fails, succeeds

QUESTION = ("query", "ShopDaily", "--from", "2026-01-01", "--to", "2026-01-09", "--by", "country", "--json")


def test_a_store_is_moved_and_goes_on_in_its_new_place(folded: Path, postgres_url: str) -> None:
    """A dry run changes nothing; afterwards the old place is only read, and the new one has the same numbers and is folded."""
    planned = succeeds("move", "--to", postgres_url, "--schema", "metrics", "--dry-run", cwd=folded).out
    assert "\nshop_daily " in planned
    assert "dayfold.duckdb would be moved to postgresql://127.0.0.1:" in planned
    assert "p%40ss" not in planned
    succeeds("fold", cwd=folded)
    before = succeeds(*QUESTION, cwd=folded).json
    # The address of a place with a password is better kept out of the list of processes.
    moved = succeeds("move", "--schema", "metrics", "--json", cwd=folded, env={"DAYFOLD_MOVE_TO": postgres_url}).json
    assert (moved["status"], moved["resumed"]) == ("moved", False)
    assert {"table": "shop_daily", "rows": 8} in moved["tables"]
    assert moved["rows"] == sum(one["rows"] for one in moved["tables"])
    assert moved["notes"][0].startswith('In dayfold.toml: [store] url = "postgresql://127.0.0.1:')
    assert 'schema = "metrics"' in moved["notes"][0]
    message = fails("fold", cwd=folded, status=1)
    assert "was moved to postgresql://127.0.0.1:" in message
    assert succeeds(*QUESTION, cwd=folded).json == before
    toml = folded / "dayfold.toml"
    toml.write_text(toml.read_text().replace('"duckdb:///dayfold.duckdb"', f'"{postgres_url}"\nschema = "metrics"'))
    assert succeeds(*QUESTION, cwd=folded).json == before
    assert {
        run["rows_inserted"] + run["rows_updated"] for run in succeeds("fold", "--json", cwd=folded).json["runs"]
    } == {0}
    assert succeeds("verify", "--json", cwd=folded).status == 0


def test_a_store_goes_into_two_databases_and_comes_back(folded: Path) -> None:
    """Both are named, and what `dayfold.toml` says of them; nothing is folded anew, and no number is another."""
    succeeds("fold", cwd=folded)
    before = succeeds(*QUESTION, cwd=folded).json
    assert "has its ledger in another database" in fails("move", "--to", "chdb:///rows", cwd=folded, status=2)
    ledger = {"DAYFOLD_MOVE_LEDGER": "duckdb:///ledger.duckdb"}
    moved = succeeds("move", "--to", "chdb:///rows", "--json", cwd=folded, env=ledger).json
    assert moved["notes"][0] == (
        'In dayfold.toml: [store] url = "chdb:///rows", with its user and password. '
        '[ledger] url = "duckdb:///ledger.duckdb", likewise.'
    )
    toml = folded / "dayfold.toml"
    words = toml.read_text()
    apart = words.replace('"duckdb:///dayfold.duckdb"', '"chdb:///rows"')
    toml.write_text(apart + '\n[ledger]\nurl = "duckdb:///ledger.duckdb"\n')
    assert succeeds(*QUESTION, cwd=folded).json == before
    moved = succeeds("move", "--to", "duckdb:///back.duckdb", "--json", cwd=folded).json
    assert moved["notes"][0].endswith(" Take [ledger] out: the ledger stands beside the rows from now on.")
    assert "was moved to duckdb:///" in fails("fold", cwd=folded, status=1)
    toml.write_text(words.replace("dayfold.duckdb", "back.duckdb"))
    assert succeeds(*QUESTION, cwd=folded).json == before
    runs = succeeds("fold", "--json", cwd=folded).json["runs"]
    assert {run["rows_inserted"] + run["rows_updated"] for run in runs} == {0}


def test_a_move_says_what_keeps_it_from_beginning(folded: Path) -> None:
    """Words of nothing, of the store itself, of a place that no engine has, and of a move that there is none of."""
    assert (
        fails("move", cwd=folded, status=2)
        == "Nothing says where the store should go.\n  Name an empty place: --to URL"
    )
    here = f"duckdb:///{folded / 'dayfold.duckdb'}"
    assert fails("move", "--to", here, cwd=folded, status=2) == (
        f"{here} is the store already.\n  Name another place: --to URL"
    )
    assert "starts with 'mysql:'" in fails("move", "--to", "mysql://a/b", cwd=folded, status=2)
    assert fails("move", "--abandon", cwd=folded, status=2) == "The store duckdb:///dayfold.duckdb is not being moved."
