"""``dayfold rls`` through the command line, with its exit statuses and JSON."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.command import dayfold, fails, succeeds
from tests.servers import PostgresServer

METRICS = '''\
from dayfold import Count, Rollup, Table


class UsageDaily(Rollup):
    """What one user did on one day."""

    key = "user_id"
    owner = "user_id"

    uses = Count(Table("usage"), at="made")
'''


@pytest.fixture
def usage(postgres_url: str, tmp_path: Path) -> Iterator[tuple[Path, str, str]]:
    """A folder with a folded rollup, and the names of two roles."""
    mark = secrets.token_hex(4)
    owners, everybody = f"owners_{mark}", f"everybody_{mark}"
    (tmp_path / "metrics.py").write_text(METRICS)
    (tmp_path / "dayfold.toml").write_text(
        f'[store]\nurl = "{postgres_url}"\n\n[rls]\nexpression = "current_setting(\'app.uid\', true)"\n'
        f'owner_roles = ["{owners}"]\nall_roles = ["{everybody}"]\n'
    )
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("create table usage (user_id text, made timestamptz)")
        connection.execute("insert into usage values ('anna', '2026-01-05 12:00:00+00')")
        for role in (owners, everybody):
            connection.execute(f"create role {role}")
        succeeds("fold", cwd=tmp_path)
        yield tmp_path, owners, everybody
        for role in (owners, everybody):
            connection.execute(f"drop owned by {role} cascade")
            connection.execute(f"drop role {role}")


def test_policies_are_installed_told_and_removed(usage: tuple[Path, str, str]) -> None:
    """Status ends with 1 until they are there, and says what to do."""
    folder, owners, everybody = usage
    missing = dayfold("rls", "status", cwd=folder)
    assert missing.status == 1
    assert "missing   it has no policies of ours" in missing.out
    assert missing.err == "To mend it: dayfold rls install\n"
    printed = succeeds("rls", "install", "--sql", cwd=folder).out
    assert (
        printed
        == f"""\
-- usage_daily
BEGIN;
ALTER TABLE "public"."usage_daily" ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS "dayfold_owner" ON "public"."usage_daily";
DROP POLICY IF EXISTS "dayfold_all" ON "public"."usage_daily";
CREATE POLICY "dayfold_owner" ON "public"."usage_daily" FOR SELECT TO "{owners}" \
USING ("user_id" = (SELECT CAST(current_setting('app.uid', TRUE) AS text)));
CREATE POLICY "dayfold_all" ON "public"."usage_daily" FOR SELECT TO "{everybody}" USING (true);
GRANT USAGE ON SCHEMA "public" TO "{owners}", "{everybody}";
GRANT SELECT ON "public"."usage_daily" TO "{owners}", "{everybody}";
COMMIT;

"""
    )
    assert dayfold("rls", "status", cwd=folder).status == 1
    assert succeeds("rls", "install", cwd=folder).out == "usage_daily: its policies are installed\n"
    assert succeeds("rls", "status", "--json", cwd=folder).json == {
        "tables": [{"rollup": "UsageDaily", "table": "usage_daily", "state": "ok", "message": "", "advice": ""}]
    }
    assert "ok       usage_daily: its row-level policies are those of [rls]\n" in succeeds("doctor", cwd=folder).out
    [removal] = succeeds("rls", "remove", "--sql", "--json", cwd=folder).json["tables"]
    assert removal == {
        "name": "usage_daily",
        "statements": [
            f'REVOKE SELECT ON "public"."usage_daily" FROM "{everybody}", "{owners}"',
            'DROP POLICY IF EXISTS "dayfold_owner" ON "public"."usage_daily"',
            'DROP POLICY IF EXISTS "dayfold_all" ON "public"."usage_daily"',
            'ALTER TABLE "public"."usage_daily" DISABLE ROW LEVEL SECURITY',
        ],
    }
    said = "usage_daily: its policies are gone, and its roles may not read it any more\n"
    assert succeeds("rls", "remove", "usage_daily", cwd=folder).out == said
    assert succeeds("rls", "remove", cwd=folder).out == "No table has policies of ours.\n"
    assert succeeds("rls", "install", "UsageDaily", "--json", cwd=folder).json == {"installed": ["usage_daily"]}
    assert succeeds("rls", "remove", "--json", cwd=folder).json == {"removed": ["usage_daily"]}


def test_a_user_who_only_folds_keeps_folding(usage: tuple[Path, str, str], postgres_server: PostgresServer) -> None:
    """The owner of the tables is no superuser, and is not held to the policies of others."""
    folder, owners, _ = usage
    url = (folder / "dayfold.toml").read_text().split('"')[1]
    writer = f"writer_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create role {writer} login password 'secret'")
        connection.execute(f"grant select on usage to {writer}")
        connection.execute(f"create schema metrics authorization {writer}")
        try:
            database = url.rpartition("/")[2]
            address = f"postgresql://{writer}:secret@127.0.0.1:{postgres_server.port}/{database}"
            text = (
                (folder / "dayfold.toml")
                .read_text()
                .replace(f'url = "{url}"', f'url = "{address}"\nschema = "metrics"')
            )
            (folder / "dayfold.toml").write_text(text)
            succeeds("fold", cwd=folder)
            succeeds("rls", "install", cwd=folder)
            connection.execute("insert into usage values ('ben', '2026-01-09 12:00:00+00')")
            assert "+1 ~0 -0 rows" in succeeds("fold", cwd=folder).out
            assert succeeds("verify", cwd=folder).status == 0
            connection.execute(f"set role {owners}")
            connection.execute("set app.uid = 'ben'")
            assert connection.execute("select user_id from metrics.usage_daily").fetchall() == [("ben",)]
        finally:
            connection.execute("reset role")
            connection.execute(f"drop owned by {writer} cascade")
            connection.execute(f"drop role {writer}")


def test_duckdb_is_refused_with_the_reason(folded: Path) -> None:
    """Exit status 2, and nothing else."""
    assert fails("rls", "install", cwd=folded, status=2) == (
        "duckdb:///dayfold.duckdb has no row-level policies: a DuckDB file has neither users nor roles, and who opens it reads all "
        "of it.\n  Make PostgreSQL the store; or give people the HTTP API, whose tokens limit rows on every engine."
    )
