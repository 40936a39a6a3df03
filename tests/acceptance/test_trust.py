"""rebuild, verify, explain, track, adopt, prune and --live through the command line, with their exit statuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.command import dayfold, fails, succeeds
from tests.acceptance.shop import METRICS, source_url, store_url
from tests.sql import run_sql

TRACKED = '''\
from dayfold import Count, Rollup, Sum, Table

visit = Table("visit", changes="trigger")


class Visits(Rollup):
    """Visits of one shop on one day."""

    key = "shop"

    visits = Count(visit, at="made")


class Everywhere(Rollup):
    """Visits of all shops."""

    visits = Sum(Visits, "visits", at="day")
'''


@pytest.fixture
def tracked(tmp_path: Path) -> Path:
    """A store that holds its own source, with a definition that asks for triggers."""
    (tmp_path / "metrics.py").write_text(TRACKED)
    (tmp_path / "dayfold.toml").write_text('[store]\nurl = "duckdb:///store.duckdb"\n')
    url = f"duckdb:///{tmp_path}/store.duckdb"
    run_sql(url, "CREATE TABLE visit (shop bigint, made timestamptz)")
    run_sql(
        url,
        "INSERT INTO visit SELECT i % 3, TIMESTAMPTZ '2025-12-01 12:00:00+00' + i * INTERVAL '10 hours' FROM range(90) AS r(i)",
    )
    return tmp_path


def test_status_counts_the_changes_that_wait_to_be_folded(tracked: Path) -> None:
    """Those that were told, for each rollup, also by the rollup below; after the next fold there are none."""
    succeeds("track", "install", cwd=tracked)
    succeeds("fold", cwd=tracked)
    run_sql(f"duckdb:///{tracked}/store.duckdb", "INSERT INTO visit VALUES (1, TIMESTAMPTZ '2025-12-03 12:00:00+00')")
    assert stale(tracked) == {"Visits": 1, "Everywhere": 0}
    assert "\nVisits: 1 change told since, to be folded\n" in succeeds("status", cwd=tracked).out
    succeeds("fold", "Visits", cwd=tracked)
    found = stale(tracked)
    assert (found["Visits"], found["Everywhere"] > 0) == (0, True)
    succeeds("fold", cwd=tracked)
    assert stale(tracked) == {"Visits": 0, "Everywhere": 0}
    assert "to be folded" not in succeeds("status", cwd=tracked).out


def stale(folder: Path) -> dict[str, int]:
    return {one["rollup"]: one["stale"] for one in succeeds("status", "--json", cwd=folder).json["rollups"]}


def test_tampering_is_found_by_verify_and_healed(folded: Path) -> None:
    """Exit status 1, then 0, then 0."""
    assert "no drift" in succeeds("verify", "ShopDaily", cwd=folded).out
    run_sql(store_url(folded), "UPDATE shop_daily SET orders_count = 77 WHERE day = DATE '2026-01-05'")
    found = dayfold("verify", "ShopDaily", cwd=folded)
    assert found.status == 1
    assert "2026-01-05" in found.out
    assert "stored 77" in found.out
    assert "[stored row changed outside a fold]" in found.out
    assert "1 healed" in succeeds("verify", "ShopDaily", "--heal", cwd=folded).out
    succeeds("verify", "ShopDaily", cwd=folded)
    run_sql(source_url(folded), "DELETE FROM orders WHERE id = 1")
    document = dayfold("verify", "ShopDaily", "--from", "2026-01-01", "--to", "2026-01-01", "--json", cwd=folded)
    assert document.status == 1
    [drift, *_] = document.json["verifications"][0]["drifts"]
    assert (drift["day"], drift["key"]["shop_id"], drift["reason"]) == ("2026-01-01", 1, "source has fewer facts")


def test_rebuild_says_first_and_does_then(folded: Path) -> None:
    """A dry run shows the largest moves; words that do not fit are refused with status 2."""
    run_sql(source_url(folded), "UPDATE orders SET amount = amount + 1000 WHERE id = 1")
    words = ("rebuild", "ShopDaily", "--from", "2026-01-01", "--to", "2026-01-02")
    dry = succeeds(*words, "--dry-run", cwd=folded)
    assert "2 days, 1 cell would change, +0 ~1 -0 rows" in dry.out
    assert "1,010.30" in dry.out or "1010.30" in dry.out
    assert "1 cell changed" in succeeds(*words, cwd=folded).out
    assert succeeds(*words, "--where", "shop_id=1", "--json", cwd=folded).json["cells"] == 0
    assert "never folded on 2020-01-01" in fails(
        "rebuild", "ShopDaily", "--from", "2020-01-01", "--to", "2020-01-01", cwd=folded, status=2
    )
    refused = fails("rebuild", "ShopDaily", "--from", "2026-01-01", cwd=folded, status=2)
    assert refused == "A rebuild of a rollup is of days.\n  Give both --from and --to."


def test_track_installs_and_one_late_row_is_one_cell(tracked: Path) -> None:
    """Status says what is missing, the warning of DuckDB is given, and the fold costs one cell below and one above."""
    missing = dayfold("track", "status", cwd=tracked)
    assert (missing.status, "it has no triggers" in missing.out) == (1, True)
    assert "dayfold track install" in succeeds("fold", cwd=tracked).err
    assert "CREATE TRIGGER" in succeeds("track", "install", "--sql", cwd=tracked).out
    done = succeeds("track", "install", cwd=tracked)
    assert done.out == "visit: its triggers are installed\n"
    assert "INSERT … ON CONFLICT DO UPDATE and MERGE" in done.err
    assert succeeds("track", "status", "--json", cwd=tracked).json["tables"][0]["state"] == "ok"
    succeeds("fold", cwd=tracked)
    run_sql(f"duckdb:///{tracked}/store.duckdb", "INSERT INTO visit VALUES (1, TIMESTAMPTZ '2025-12-05 10:00:00+00')")
    assert "1 marked cell" in succeeds("plan", "Visits", cwd=tracked).out
    runs = succeeds("fold", "--json", cwd=tracked).json["runs"]
    assert [(run["rollup"], run["cells"], run["rows_updated"]) for run in runs] == [
        ("Visits", 1, 1),
        ("Everywhere", 1, 1),
    ]
    assert succeeds("track", "remove", cwd=tracked).out == "visit: its triggers are gone\n"
    assert dayfold("track", "status", cwd=tracked).status == 1


def test_live_and_explain_of_one_cell(tracked: Path) -> None:
    """A row that no fold has seen is in the live answer; explain shows the stored value and the present one."""
    succeeds("track", "install", cwd=tracked)
    succeeds("fold", cwd=tracked)
    run_sql(f"duckdb:///{tracked}/store.duckdb", "INSERT INTO visit VALUES (1, TIMESTAMPTZ '2025-12-05 10:00:00+00')")
    asked = (
        "query",
        "Visits",
        "-m",
        "visits",
        "--from",
        "2025-12-05",
        "--to",
        "2025-12-05",
        "--where",
        "shop=1",
        "--json",
    )
    [stored] = succeeds(*asked, cwd=tracked).rows
    answer = succeeds(*asked, "--live", cwd=tracked)
    assert answer.rows[0]["visits"] == stored["visits"] + 1
    assert answer.json["provisional"][0]["reason"] == "some cells changed since they were folded"
    told = succeeds(
        "explain", "Visits", "visits", "--day", "2025-12-05", "--where", "shop=1", "--json", cwd=tracked
    ).json
    assert (told["value"], told["present"]["value"], told["stale"]) == (stored["visits"], stored["visits"] + 1, True)
    assert [mark["reason"] for mark in told["marks"]] == ["visit: insert"]
    assert told["evidence"][0]["total"] == stored["visits"] + 1
    assert "shop" in fails("explain", "Visits", "visits", "--day", "2025-12-05", cwd=tracked, status=2)


def test_adopt_seals_and_rebuild_refuses(tracked: Path) -> None:
    """Earlier days of a table of one's own; asked to compute them again, status 2 with the reason."""
    url = f"duckdb:///{tracked}/store.duckdb"
    run_sql(
        url,
        "CREATE TABLE legacy AS SELECT 1 AS shop, DATE '2025-11-01' + CAST(i AS INTEGER) AS day, i AS n FROM range(20) AS r(i)",
    )
    words = ("adopt", "Visits", "--from-table", "legacy", "--column", "visits=n")
    assert "would be sealed" in succeeds(*words, "--dry-run", cwd=tracked).out
    assert "20 rows of legacy from 2025-11-01 to 2025-11-20 are sealed" in succeeds(*words, cwd=tracked).out
    succeeds("fold", cwd=tracked)
    told = fails("rebuild", "Visits", "--from", "2025-11-01", "--to", "2025-12-03", cwd=tracked, status=2)
    assert told.startswith("Visits is sealed on 2025-11-01..2025-11-20")
    run_sql(url, "UPDATE visits SET visits = 99 WHERE day = DATE '2025-11-03'")
    assert dayfold("verify", "Visits", "--heal", cwd=tracked).status == 1


def test_removed_rollup_is_pruned_by_name_only(folded: Path) -> None:
    """Without a name, what could be pruned is told; with it, the table goes."""
    assert "there is nothing to prune" in fails("fold", "--prune", cwd=folded, status=2)
    text = METRICS.replace("class Seats(Rollup)", "class Chairs(Rollup)")
    (folded / "metrics.py").write_text(text)
    told = fails("fold", "--prune", cwd=folded, status=2)
    assert "Seats: the table seats, 5 rows" in told
    assert "Drop one: dayfold fold Seats --prune" in told
    assert succeeds("fold", "Seats", "--prune", cwd=folded).out == "Seats: its table seats is dropped\n"
    assert run_sql(store_url(folded), "SELECT count(*) FROM information_schema.tables WHERE table_name = 'seats'") == [
        (0,)
    ]


CHECKS = '''

class NoTwice(Check):
    """No shop has two rows of one day."""

    query = "select shop, day from visits group by 1, 2 having count(*) > 1"
    of = Visits


class AsCounted(Check):
    """As many visits as there are."""

    left = "select sum(visits) from visits"
    right = "select 90"
    of = [Visits]


class Few(Check):
    query = "select 1 from everywhere where visits > 2"
    severity = "warning"
'''


def test_checks_run_after_a_fold_and_by_verify(tracked: Path) -> None:
    """A failed check of severity error is exit status 1, a warning is shown; what was published stays."""
    metrics = tracked / "metrics.py"
    metrics.write_text(TRACKED.replace("import ", "import Check, ", 1) + CHECKS)
    succeeds("track", "install", cwd=tracked)
    assert (
        succeeds("fold", cwd=tracked).err == "Few: failed (warning): Its query returns 14 rows, and must return none.\n"
    )
    assert succeeds("verify", "Visits", "--checks-only", cwd=tracked).out.count("passed") == 2
    run_sql(f"duckdb:///{tracked}/store.duckdb", "INSERT INTO visit VALUES (1, TIMESTAMPTZ '2025-12-03 12:00:00+00')")
    assert succeeds("fold", "--no-checks", "--json", cwd=tracked).json["checks"] == []
    done = dayfold("fold", "Visits", "--json", cwd=tracked)
    assert done.status == 1
    failed = {one.pop("check"): one for one in done.json["checks"]}
    assert failed["AsCounted"] | {"seconds": 0} == {
        "severity": "error", "verdict": "failed", "reason": "left = right does not hold.", "offending": None, "left": 91, "right": 90,
        "seconds": 0, "checked_at": "2026-01-10T12:00:00Z", "run_id": done.json["runs"][0]["run_id"],
    }  # fmt: skip
    done = dayfold("verify", "--checks-only", cwd=tracked)
    assert (done.status, "NoTwice: passed" in done.out) == (1, True)
    assert "AsCounted: failed (error): left = right does not hold. left 91, right 90.\n" in done.err
    assert {one["check"]: one["verdict"] for one in succeeds("status", "--json", cwd=tracked).json["checks"]} == {
        "NoTwice": "passed", "AsCounted": "failed", "Few": "failed",
    }  # fmt: skip
    assert "AsCounted: left = right does not hold." in succeeds("status", cwd=tracked).out
    assert "--checks-only compares nothing" in fails("verify", "--checks-only", "--heal", cwd=tracked, status=2)
