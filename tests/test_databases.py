"""The tests' own ground: databases that are real, fresh and alike on both engines."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import psycopg
import pytest

from tests.conftest import Pairing
from tests.servers import SERVER_ZONE, PostgresServer
from tests.sql import load_rows, read_only, run_sql

DDL = "id bigint, name text, price numeric(12,2), sent_at timestamptz, local timestamp, day date, ok boolean"
NOON = dt.datetime(2026, 3, 29, 12, 30, tzinfo=dt.UTC)
ROWS = [
    {
        "id": 2**60,
        "name": "a:b/c\u200d",
        "price": Decimal("-1.25"),
        "sent_at": NOON,
        "local": NOON.replace(tzinfo=None),
        "day": NOON.date(),
        "ok": True,
    },
    {"id": -1, "name": None, "price": None, "sent_at": None, "local": None, "day": None, "ok": None},
]


def test_rows_come_back_as_they_were_put_in(store_url: str) -> None:
    """load_rows and run_sql carry every type and NULL unchanged, on both engines."""
    load_rows(store_url, "fact", DDL, ROWS)
    assert run_sql(store_url, "SELECT * FROM fact ORDER BY id DESC") == [tuple(row.values()) for row in ROWS]


def test_parameters_have_one_spelling(store_url: str) -> None:
    """$1 and $2 work on both engines."""
    load_rows(store_url, "fact", DDL, ROWS)
    run_sql(store_url, "UPDATE fact SET name = $1 WHERE id = $2", ["new", -1])
    assert run_sql(store_url, "SELECT name FROM fact WHERE id = $1", [-1]) == [("new",)]


def test_a_database_is_fresh_for_every_test(postgres_server: PostgresServer) -> None:
    """Two databases share nothing, and both are gone afterwards."""
    with postgres_server.database() as first, postgres_server.database() as second:
        load_rows(first, "fact", "id bigint", [{"id": 1}])
        assert run_sql(second, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        run_sql(first, "SELECT 1")


def test_the_server_stands_in_another_zone(postgres_url: str) -> None:
    """A session that does not say UTC reads local days, so forgetting it cannot go unseen."""
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SHOW TimeZone").fetchone() == (SERVER_ZONE,)


def test_the_reader_may_only_select(postgres_url: str) -> None:
    """The read-only role reads tables and can neither write them nor make any."""
    load_rows(postgres_url, "fact", "id bigint", [{"id": 1}])
    reader = read_only(postgres_url)
    assert run_sql(reader, "SELECT id FROM fact") == [(1,)]
    for forbidden in ("INSERT INTO fact VALUES (2)", "CREATE TABLE more (id bigint)"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run_sql(reader, forbidden)


def test_pairings_say_what_they_are(pairing: Pairing) -> None:
    """Each pairing gives two databases of the engines it names, or one."""
    engines = [url.partition(":")[0].removesuffix("ql") for url in (pairing.source, pairing.store)]
    expected = pairing.name.replace("-same", "").replace("-files", "").replace("-databases", "").split("-to-")
    assert engines == [expected[0], expected[-1]]
    assert pairing.same is pairing.name.endswith("-same")
