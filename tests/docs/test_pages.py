"""The pages that say they run, run, and what they show is what was printed.

``DAYFOLD_REFRESH_DOCS=1`` writes what was printed into the pages instead; read the difference before you keep it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.docs.pages import DOCS, ROOT, Player, Step, blocks, same
from tests.servers import READER, PostgresServer

REFRESH = bool(os.environ.get("DAYFOLD_REFRESH_DOCS"))
NOW = {"DAYFOLD_NOW": "2026-03-10T12:00:00+00:00"}
#: The tutorial's shop, as PostgreSQL makes it.
ORDERS = """
    create table orders as
    select
        n as id,
        case when n % 3 = 0 then 'lyon' else 'oslo' end as shop_id,
        n * n % 251 as customer_id,
        case when n % 11 = 0 then 'cancelled' else 'paid' end as status,
        cast((500 + n * 37 % 4000) / 100.0 as numeric(12, 2)) as amount,
        timestamptz '2026-01-01 08:00:00+00' + n * interval '83 minutes' as created_at
    from generate_series(1, 1180) as t(n)
"""


def check(page: Path, steps: list[Step]) -> None:
    """Every output that a page shows was printed; a step without one ended well."""
    if REFRESH:
        refresh(page, steps)
        return
    assert steps
    for step in steps:
        well = "exit status" not in step.printed if step.shown is None else same(step.shown, step.printed)
        if not well:
            pytest.fail(f"{page.name}: {step.words}\nprinted:\n{step.printed}\nshown:\n{step.shown}", pytrace=False)


def refresh(page: Path, steps: list[Step]) -> None:
    """Put what was printed where the page shows something else; outputs with ``...`` are left alone."""
    text = page.read_text(encoding="utf-8")
    for step in reversed(steps):
        if step.shown is not None and "..." not in step.shown and not same(step.shown, step.printed):
            text = text[: step.start] + step.printed + text[step.end :]
    page.write_text(text, encoding="utf-8")


def test_tutorial_runs_as_it_stands(tmp_path: Path) -> None:
    """A person who follows the tutorial in an empty folder sees what it shows."""
    page = DOCS / "tutorial.md"
    check(page, list(Player(tmp_path, {}).play(page)))


HOW_TOS = [
    "late-data", "time-zones", "compare", "edit-a-definition", "live", "explain", "verify", "track-changes", "adopt-a-table",
    "fetch-from-an-api", "keep-profiles",
    "be-alerted", "check", "clickhouse", "cohorts", "profiles",
]  # fmt: skip


@pytest.mark.parametrize("name", HOW_TOS)
def test_how_to_runs_on_the_shop_of_the_tutorial(name: str, tmp_path: Path) -> None:
    """The how-to pages begin with the tutorial's shop and `dayfold init`."""
    player = Player(tmp_path, {"APP_DATABASE_URL": "duckdb:///shop.duckdb", **NOW})
    [shop] = [one.text for one in blocks(DOCS / "tutorial.md") if one.mark == "file: make_shop.py"]
    player.script(shop)
    player.command("dayfold init")
    page = DOCS / "how-to" / f"{name}.md"
    check(page, list(player.play(page)))


@pytest.fixture
def shop(postgres_server: PostgresServer, new_postgres: Callable[[], str]) -> Iterator[str]:
    """A PostgreSQL database with the shop; the roles that a page makes go after the test."""
    import psycopg

    url = new_postgres()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(ORDERS)
        connection.execute(f"grant select on orders to {READER}")
        yield url
        for role in ("dayfold_reader", "dayfold_writer", "reporting", "authenticated", "service_role"):
            if connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchall():
                connection.execute(f"drop owned by {role} cascade")
                connection.execute(f"drop role {role}")


def as_user(url: str, user: str, password: str | None = None) -> str:
    """The same database for another user."""
    parts = urlsplit(url)
    secret = password or (parts.password or "")
    return urlunsplit(parts._replace(netloc=f"{user}:{secret}@{parts.hostname}:{parts.port}"))


def owner_sql(url: str) -> Callable[[str, str], None]:
    """Runs a page's statements as the database's owner."""
    import psycopg

    database = urlsplit(url).path.strip("/")

    def run(role: str, text: str) -> None:
        assert role == "owner"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(re.sub(r"\bDATABASE app\b", f"DATABASE {database}", text))

    return run


def with_example_addresses(url: str, steps: Iterator[Step]) -> list[Step]:
    """The steps with the pages' example address in place of the test's own."""
    parts = urlsplit(url)
    real = f"{parts.hostname}:{parts.port}{parts.path}"
    return [Step(s.words, s.shown, s.printed.replace(real, "db/app"), s.start, s.end) for s in steps]


def test_readme_runs_on_postgresql(shop: str, tmp_path: Path) -> None:
    """The README's ladder, from a user who may only read to rollups inside PostgreSQL, shows real output."""
    owner_sql(shop)("owner", "create schema metrics")
    variables = {"APP_DATABASE_URL": as_user(shop, READER), "STORE_URL": shop, **NOW}
    page = ROOT / "README.md"
    check(page, with_example_addresses(shop, Player(tmp_path, variables).play(page)))


def test_postgres_page_grants_suffice(shop: str, tmp_path: Path) -> None:
    """The roles and grants that the page names are enough for what it then does, and the BI query runs on the result."""
    run = owner_sql(shop)
    variables = {
        "APP_DATABASE_URL": as_user(shop, "dayfold_reader", "change-me"),
        "STORE_URL": as_user(shop, "dayfold_writer", "change-me"),
        **NOW,
    }
    page = DOCS / "how-to" / "postgres.md"
    check(page, with_example_addresses(shop, Player(tmp_path, variables, run).play(page)))
    for block in blocks(DOCS / "how-to" / "read-with-bi.md"):
        if block.mark == "sql: owner":
            run("owner", block.text)


def test_page_about_limits_holds_people_to_their_rows(shop: str, tmp_path: Path) -> None:
    """What it says somebody sees is what they see: by a relation, and as a role of the database."""
    variables = {"APP_DATABASE_URL": shop, "STORE_URL": shop, **NOW}
    page = DOCS / "how-to" / "limit-what-people-see.md"
    check(page, with_example_addresses(shop, Player(tmp_path, variables, owner_sql(shop)).play(page)))


@pytest.mark.parametrize("name", ["clickhouse", "shard"])
def test_statements_for_clickhouse_are_its_grammar(name: str, clickhouse_url: str) -> None:
    """What a page tells an owner of ClickHouse to run is at least parsed there; clusters, users and backups need what tests do not have."""
    from dayfold.engines.clickhouse import ClickHouse

    store = ClickHouse(clickhouse_url)
    texts = [one.text for one in blocks(DOCS / "how-to" / f"{name}.md") if one.language == "sql"]
    marked = [one.text for one in blocks(DOCS / "how-to" / f"{name}.md") if one.mark == "parsed: clickhouse"]
    assert texts == marked
    with store.transaction() as session:
        for text in texts:
            for one in filter(str.strip, text.split(";\n")):
                assert session.query("SELECT formatQuery($1)", [one])
    store.close()
