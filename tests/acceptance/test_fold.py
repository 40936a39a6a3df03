"""plan, fold, status, doctor and migrate through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.command import NOW, dayfold, succeeds
from tests.acceptance.shop import LEVELS, METRICS, ORDERS, TABLES, make_shop, source_url, store_url, stored, tables_of
from tests.sql import Session, run_sql

ROLLUPS = ("shop_daily", "shop_daily__sets", "shop_clock", "seats")


def test_plan_says_what_fold_then_does(shop: Path) -> None:
    """A plan names days and facts and leaves no file behind; after the fold only the lookback is left to do."""
    plans = succeeds("plan", "--json", cwd=shop).json["plans"]
    assert plans[0] == {
        "rollup": "ShopDaily",
        "table": "shop_daily",
        "action": "create",
        "edits": [],
        "days": 10,
        "ranges": [{"from": "2026-01-01", "to": "2026-01-10"}],
        "marked": 0,
        "facts": 9,
        "rows": None,
        "seconds": None,
        "fetches": {},
        "failing": {},
        "warnings": [],
    }
    assert [plan["rollup"] for plan in plans] == ["ShopDaily", "ShopClock", "Seats"]
    assert not (shop / "dayfold.duckdb").exists()
    succeeds("fold", cwd=shop)
    again = succeeds("plan", "ShopDaily", "--json", cwd=shop).json["plans"]
    assert [(plan["action"], plan["ranges"]) for plan in again] == [
        ("refresh", [{"from": "2026-01-03", "to": "2026-01-10"}])
    ]
    assert "ShopDaily: refresh, 8 days, 5 facts to read" in succeeds("plan", "ShopDaily", cwd=shop).out


def test_fold_tells_programs_what_it_did(shop: Path) -> None:
    """Each run has its rollup, status, cells, rows written by kind, and seconds."""
    runs = succeeds("fold", "--json", cwd=shop).json["runs"]
    assert all(float(run.pop("seconds")) >= 0 for run in runs)
    assert runs == [
        {
            "rollup": name,
            "status": "done",
            "run_id": n,
            "cells": cells,
            "rows_inserted": rows,
            "rows_updated": 0,
            "rows_deleted": 0,
            "warnings": [],
        }
        for n, name, cells, rows in [(1, "ShopDaily", 8, 8), (2, "ShopClock", 7, 9), (3, "Seats", 5, 5)]
    ]


def test_folding_again_writes_no_row_and_moves_no_time(folded: Path) -> None:
    before = stored(store_url(folded), *ROLLUPS)
    runs = succeeds("fold", "--json", cwd=folded, env={"DAYFOLD_NOW": "2026-01-10T13:00:00+00:00"}).json["runs"]
    assert [(run["rows_inserted"], run["rows_updated"], run["rows_deleted"]) for run in runs] == [(0, 0, 0)] * 3
    assert stored(store_url(folded), *ROLLUPS) == before


def test_fold_of_one_rollup_leaves_the_others(shop: Path) -> None:
    runs = succeeds("fold", "Seats", "--json", cwd=shop).json["runs"]
    assert [run["rollup"] for run in runs] == ["Seats"]
    assert "shop_daily" not in tables_of(store_url(shop))


def test_changed_rows_are_counted_by_kind(folded: Path) -> None:
    """One row changed, one deleted, one new: the run says one of each, in words as in JSON."""
    with Session(source_url(folded)) as session:
        session.run("UPDATE orders SET amount = 30 WHERE id = 8")
        session.run("DELETE FROM orders WHERE id = 5")
        session.run("INSERT INTO orders VALUES (10, 3, 'IT', 1, 'paid', 1, 1, '2026-01-08 10:00:00+00')")
    done = succeeds("fold", "ShopDaily", cwd=folded)
    assert done.out.startswith("ShopDaily: done, 8 days, ")
    assert ", +1 ~1 -1 rows, " in done.out


def test_status_counts_days_rows_and_runs(folded: Path) -> None:
    found = succeeds("status", "--json", cwd=folded).json
    daily = next(one for one in found["rollups"] if one["rollup"] == "ShopDaily")
    assert daily.pop("size_bytes") > 0
    assert daily == {
        "rollup": "ShopDaily",
        "table": "shop_daily",
        "state": "up to date",
        "first_day": "2026-01-01",
        "last_day": "2026-01-10",
        "days": {"folded": 9, "open": 1},
        "rows": 8,
        "failing": [],
        "stale": 0,
    }
    assert [(run["id"], run["rollup"], run["status"], run["rows_inserted"]) for run in found["runs"]] == [
        (3, "Seats", "done", 5),
        (2, "ShopClock", "done", 9),
        (1, "ShopDaily", "done", 8),
    ]
    told = succeeds("status", "--runs", 1, cwd=folded).out
    assert "9 folded, 1 open" in told
    assert "ShopClock    done" not in told


def test_status_of_a_store_that_is_not_there_makes_none(shop: Path) -> None:
    """Looking at the state of things writes nothing."""
    found = succeeds("status", "--json", cwd=shop).json
    assert {one["state"] for one in found["rollups"]} == {"never folded"}
    assert found["runs"] == []
    assert not (shop / "dayfold.duckdb").exists()


@pytest.mark.parametrize(
    ("moment", "edit", "state"),
    [
        (NOW, None, "up to date"),
        ("2026-01-12T00:00:00+00:00", None, "behind"),
        (NOW, ("where=\"status = 'paid'\"", "where=\"status = 'open'\""), "edited"),
        (NOW, ("class ShopDaily(", "class DailyOfShops("), "removed"),
    ],
)
def test_status_says_how_a_rollup_stands(folded: Path, moment: str, edit: tuple[str, str] | None, state: str) -> None:
    if edit:
        (folded / "metrics.py").write_text(METRICS.replace(*edit))
    found = succeeds("status", "--json", cwd=folded, env={"DAYFOLD_NOW": moment}).json
    assert [one["state"] for one in found["rollups"] if one["rollup"] == "ShopDaily"] == [state]


def test_doctor_finds_nothing_wrong_with_a_healthy_project(shop: Path) -> None:
    """Before the first fold; looking makes neither a table nor the store's file."""
    told = succeeds("doctor", "--json", cwd=shop, env={"DAYFOLD_NOW": ""}).json["findings"]
    assert {one["level"] for one in told} == {"ok"}
    assert {one["subject"] for one in told} >= {"store", "databases.app", "ledger", "permissions", "definitions"}
    assert not (shop / "dayfold.duckdb").exists()


def test_doctor_reports_problems_and_fails(shop: Path) -> None:
    """A definition that does not fit its table is a problem, with its place; the status says so."""
    run_sql(source_url(shop), "ALTER TABLE orders RENAME COLUMN amount TO total")
    done = dayfold("doctor", "--json", cwd=shop)
    assert done.status == 1
    problems = [one for one in done.json["findings"] if one["level"] == "problem"]
    assert [one["subject"] for one in problems] == ["metrics.py:14", "metrics.py:17"]
    assert "'amount'" in problems[0]["message"]


def test_doctor_gives_the_statement_for_a_missing_index(shop: Path, postgres_url: str) -> None:
    """A moment in PostgreSQL that no index leads to is read whole by every fold."""
    with Session(postgres_url) as session:
        for text in (*TABLES, ORDERS, LEVELS):
            session.run(text)
    (shop / "dayfold.toml").write_text(f'[databases.app]\nurl = "{postgres_url}"\n')
    done = succeeds("doctor", "--json", cwd=shop)
    advice = {one["advice"] for one in done.json["findings"] if one["subject"].endswith("orders")}
    assert len(advice) == 1
    assert all(text.startswith('CREATE INDEX CONCURRENTLY ON "orders" (') and '"created_at"' in text for text in advice)
    run_sql(postgres_url, advice.pop().replace(" CONCURRENTLY", ""))
    told = succeeds("doctor", "--json", cwd=shop).json["findings"]
    assert [one["level"] for one in told if one["subject"].endswith("orders")] == ["ok"]


def test_doctor_gives_the_statement_for_an_index_that_leads_to_cells(shop: Path, postgres_url: str) -> None:
    """A source that tells its changes: a marked cell is looked up by its key and moment, in whatever order the key stands."""
    with Session(postgres_url) as session:
        for text in (*TABLES, ORDERS, LEVELS, "CREATE INDEX ON orders (created_at)"):
            session.run(text)
    (shop / "dayfold.toml").write_text(f'[databases.app]\nurl = "{postgres_url}"\n')
    tracked = METRICS.replace('Table("orders", database="app")', 'Table("orders", database="app", changes="trigger")')
    (shop / "metrics.py").write_text(tracked.replace('"shop_id", "country"', '"shop_id", "customer_id"'))
    wanted = {
        "shop_id, customer_id": '"shop_id", "customer_id", "created_at"',
        "shop_id": '"shop_id", "created_at"',
    }
    assert cell_indexes(shop) == [
        (
            "warning",
            f"no index leads from {key} to created_at, so every marked cell is looked for among the facts of its day",
            f'CREATE INDEX CONCURRENTLY ON "orders" ({columns});',
        )
        for key, columns in wanted.items()
    ]
    run_sql(postgres_url, "CREATE INDEX ON orders (customer_id, shop_id, created_at)")
    assert [level for level, _, _ in cell_indexes(shop)] == ["ok", "warning"]
    run_sql(postgres_url, cell_indexes(shop)[1][2].replace(" CONCURRENTLY", ""))
    assert cell_indexes(shop) == [("ok", f"an index leads from {key} to created_at", "") for key in wanted]


def cell_indexes(folder: Path) -> list[tuple[str, str, str]]:
    findings = succeeds("doctor", "--json", cwd=folder, env={"DAYFOLD_NOW": ""}).json["findings"]
    return [(one["level"], one["message"], one["advice"]) for one in findings if "index leads from" in one["message"]]


def test_doctor_gives_the_statement_for_a_moment_that_a_table_does_not_keep(shop: Path) -> None:
    """Beside the problem itself; once for each moment, however many metrics count by it."""
    run_sql(source_url(shop), "ALTER TABLE levels RENAME COLUMN measured_at TO updated_at")
    done = dayfold("doctor", "--json", cwd=shop)
    assert done.status == 1
    assert [one for one in done.json["findings"] if one["level"] == "warning"] == [
        {
            "level": "warning",
            "subject": "app.levels",
            "message": "it does not keep measured_at; from the day that it does, seats is exact",
            "advice": 'ALTER TABLE "levels" ADD COLUMN "measured_at" timestamptz;',
        }
    ]
    run_sql(source_url(shop), 'ALTER TABLE "levels" ADD COLUMN "measured_at" timestamptz')
    succeeds("doctor", cwd=shop, env={"DAYFOLD_NOW": ""})


def test_migrate_makes_a_store_and_then_has_nothing_to_do(shop: Path) -> None:
    assert succeeds("migrate", "--json", cwd=shop).json["applied"][0].startswith("1: ")
    assert succeeds("migrate", "--json", cwd=shop).json == {"applied": []}
    assert succeeds("migrate", cwd=shop).out == "Nothing to apply: the store is of this program's version.\n"
    assert "dayfold_runs" in tables_of(store_url(shop))


def test_definitions_elsewhere_are_named_by_option_or_variable(shop: Path, tmp_path: Path) -> None:
    """-a FILE and DAYFOLD_APP find the file; dayfold.toml and relative database files are those beside it."""
    (shop / "metrics.py").rename(shop / "numbers.py")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    succeeds("fold", "-a", shop / "numbers.py", cwd=elsewhere)
    done = succeeds("status", "--json", cwd=elsewhere, env={"DAYFOLD_APP": str(shop / "numbers.py")})
    assert {one["state"] for one in done.json["rollups"]} == {"up to date"}
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("zone", ["Europe/London", "Africa/Casablanca", "Asia/Kathmandu", "America/New_York"])
def test_host_zone_changes_no_row(tmp_path: Path, zone: str) -> None:
    """Naive, zoned and ISO moments around both clock changes of the year give the same rows wherever the host stands."""
    folder = make_shop(tmp_path / "shop")
    (folder / "metrics.py").write_text(ZONED)
    with Session(source_url(folder)) as session:
        session.run("CREATE TABLE seen (naive timestamp, zoned timestamptz, iso text, seconds bigint)")
        for moment in MOMENTS:
            session.run(
                f"INSERT INTO seen VALUES ('{moment}', '{moment}+00', '{moment.replace(' ', 'T')}Z', epoch(timestamptz '{moment}+00'))"
            )
    succeeds("fold", cwd=folder, env={"TZ": zone, "DAYFOLD_NOW": "2026-11-01T00:30:00+00:00"})
    rows = run_sql(store_url(folder), "SELECT day, naive, zoned, iso, seconds FROM seen_daily ORDER BY day")
    assert [(str(day), *counts) for day, *counts in rows] == [
        (day, *[2] * 4) for day in ("2026-03-28", "2026-03-29", "2026-03-30", "2026-10-24", "2026-10-25", "2026-10-26")
    ]
    answer = succeeds(
        *("query", "SeenDaily", "-m", "zoned", "--from", "2026-03-28", "--to", "today", "--grain", "total", "--json"),
        cwd=folder, env={"TZ": zone, "DAYFOLD_NOW": "2026-11-01T00:30:00+00:00"},
    )  # fmt: skip
    assert answer.json["to"] == "2026-11-01"
    assert answer.rows == [{"day": "2026-03-28", "zoned": 12}]


MOMENTS = [
    f"2026-{day} {time}"
    for day in ("03-28", "03-29", "03-30", "10-24", "10-25", "10-26")
    for time in ("00:00:00", "23:59:59")
]
ZONED = """\
from dayfold import Count, Moment, Rollup, Table

seen = Table("seen", database="app")


class SeenDaily(Rollup):
    naive = Count(seen, at="naive")
    zoned = Count(seen, at="zoned")
    iso = Count(seen, at=Moment("iso", unit="iso"))
    seconds = Count(seen, at=Moment("seconds", unit="s"))
"""
