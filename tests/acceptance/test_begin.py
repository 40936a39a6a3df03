"""The first five minutes: init, demo, help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.command import dayfold, fails, succeeds

LATE = {"DAYFOLD_NOW": "2011-12-10T12:00:00+00:00"}


def test_init_writes_files_that_define_something(tmp_path: Path) -> None:
    """The two files are valid as they are: the next complaint is about the database that they name."""
    done = succeeds("init", cwd=tmp_path)
    assert done.out.startswith("wrote metrics.py\nwrote dayfold.toml\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dayfold.toml", "metrics.py"]
    message = fails("plan", cwd=tmp_path, status=1, env={"APP_DATABASE_URL": "postgresql://readonly@127.0.0.1:1/app"})
    assert message.startswith("postgresql://127.0.0.1:1/app cannot be reached: ")


def test_init_never_overwrites_unless_told_to(tmp_path: Path) -> None:
    """Files that are there stay as they are, the one that is not there is not made; --force replaces both."""
    (tmp_path / "metrics.py").write_text("mine")
    assert fails("init", cwd=tmp_path, status=2) == (
        "metrics.py exists already.\n  Name another folder, or replace them with --force."
    )
    assert (tmp_path / "metrics.py").read_text() == "mine"
    assert not (tmp_path / "dayfold.toml").exists()
    assert succeeds("init", "--force", "--json", cwd=tmp_path).json == {"written": ["metrics.py", "dayfold.toml"]}
    assert "class ShopDaily(Rollup)" in (tmp_path / "metrics.py").read_text()


def test_init_makes_the_folder_it_is_given(tmp_path: Path) -> None:
    succeeds("init", "new/shop", cwd=tmp_path)
    assert (tmp_path / "new" / "shop" / "dayfold.toml").exists()


def test_demo_shows_a_picture_and_then_has_nothing_to_write(tmp_path: Path) -> None:
    """Real data, folded and shown; the second run folds again and writes no row."""
    done = succeeds("demo", cwd=tmp_path, env=LATE)
    assert "Loaded 1,067,371 rows" in done.out
    assert "SalesDaily: done, 740 days, 3,237 cells, +3,237 ~0 -0 rows" in done.out
    table = done.out[done.out.index("The last months") :]
    assert table.splitlines()[1].split() == [
        *("day", "lines", "orders", "customers", "items", "revenue", "cancelled_lines", "revenue_per_order"),
    ]
    assert "Netherlands" in table
    assert "What to try next" in table
    assert any(set("▁▂▃▄▅▆▇█") & set(line) for line in table.splitlines())
    runs = succeeds("demo", "--json", cwd=tmp_path, env=LATE).json
    assert runs["folder"] == "dayfold-demo/retail"
    assert [
        (run["rollup"], run["rows_inserted"], run["rows_updated"], run["rows_deleted"]) for run in runs["runs"]
    ] == [
        ("SalesDaily", 0, 0, 0),
        ("ProductDaily", 0, 0, 0),
    ]


def test_demo_of_nothing_names_the_examples(tmp_path: Path) -> None:
    assert fails("demo", "retial", cwd=tmp_path, status=2) == (
        "There is no example 'retial'; the nearest is 'retail'.\n  Examples: creator_app, licensing, retail, salon, testimonials, uploads"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["init", "demo", "plan", "fold", "query", "status", "doctor", "migrate"])
def test_every_command_explains_itself_and_takes_json(command: str, tmp_path: Path) -> None:
    help_text = succeeds(command, "--help", cwd=tmp_path).out
    assert help_text.startswith(f"Usage: dayfold {command} ")
    assert "--json" in help_text


def test_words_that_are_no_command_are_wrong_usage(tmp_path: Path) -> None:
    assert "No such command 'frob'" in fails("frob", cwd=tmp_path, status=2)
    assert "No such option: --colour" in fails("plan", "--colour", cwd=tmp_path, status=2)


def test_missing_definitions_are_said_in_words_and_as_json(tmp_path: Path) -> None:
    """Every command that needs definitions names the file that it looked for."""
    words = (
        "There is no definitions file metrics.py.",
        "Run `dayfold init` for a commented one, or name yours with `-a FILE` or DAYFOLD_APP.",
    )
    for command in ("fold", "status"):
        assert fails(command, cwd=tmp_path, status=2) == "\n  ".join(words)
    done = dayfold("query", "ShopDaily", "--json", cwd=tmp_path)
    assert done.status == 2
    assert json.loads(done.out) == {"error": {"code": "config", "message": words[0], "hint": words[1]}}
    assert list(tmp_path.iterdir()) == []
