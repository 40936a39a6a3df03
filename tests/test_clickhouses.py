"""The ClickHouse of the tests answers its official client as a server does."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from tests.clickhouses import SERVER_ZONE, ClickHouseServer

pytest.importorskip("chdb")
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData


@pytest.fixture
def server(clickhouse_server: ClickHouseServer) -> ClickHouseServer:
    return clickhouse_server


@pytest.fixture
def client(server: ClickHouseServer) -> Iterator[Any]:
    with server.database() as url, server.client(urlsplit(url).path[1:]) as client:
        yield client


@pytest.mark.parametrize("form", [False, True])
def test_parameters_arrive_as_they_are(server: ClickHouseServer, form: bool) -> None:
    """Quotes, tabs, backslashes, newlines, NULL, lists and money pass unchanged, in the address and in a form."""
    given = {
        "text": "it's\ta \\ \"line\"\n€", "none": None, "many": ["a'b", "\\"], "day": dt.date(2026, 3, 8), "money": Decimal("1.10")
    }  # fmt: skip
    with server.client(form_encode_query_params=form) as client:
        [row] = client.query(
            "SELECT {text:String}, {none:Nullable(Int64)}, {many:Array(String)}, {day:Date32}, {money:Decimal(38, 2)}",
            given,
        ).result_rows
    assert list(row) == list(given.values())


def test_statements_too_long_for_an_address(server: ClickHouseServer) -> None:
    """A parameter of a megabyte travels in a form."""
    with server.client(form_encode_query_params=True) as client:
        assert client.query("SELECT length({long:String})", {"long": "x" * 1_000_000}).first_row == (1_000_000,)


def test_rows_go_in_and_come_out(client: Any) -> None:
    """Arrow, blocks and text go in, compressed or not, and are counted; Arrow and text come out, empty results included."""
    client.command("CREATE TABLE t (`a ``b` Nullable(Int64), words Array(String)) ENGINE MergeTree ORDER BY tuple()")
    table = pa.table({"a `b": pa.array([1, None]), "words": pa.array([["x"], []])})
    assert client.insert_arrow("t", table).written_rows == 2
    assert client.insert("t", [[3, ["y"]]], ["a `b", "words"]).written_rows == 1
    for compression, packed in ((None, b"4\t[]\n"), ("gzip", gzip.compress(b"5\t[]\n"))):
        done = client.raw_insert("t", ["a `b", "words"], packed, fmt="TabSeparated", compression=compression)
        assert done.written_rows == 1
    done = client.command("INSERT INTO t SELECT 6, [] UNION ALL SELECT 7, []")
    assert (done.written_rows, client.command("INSERT INTO t VALUES (8, ['z'])").written_rows) == (2, 1)
    rows = client.query_arrow("SELECT * FROM t ORDER BY 1 NULLS LAST", use_strings=True)
    assert rows["a `b"].to_pylist() == [1, 3, 4, 5, 6, 7, 8, None]
    assert rows["words"].to_pylist() == [["x"], ["y"], [], [], [], [], ["z"], []]
    assert client.query_arrow("SELECT words FROM t WHERE 0").num_rows == 0
    assert client.raw_query("SELECT 1 AS one, 'x' AS two", fmt="CSVWithNames") == b'"one","two"\n1,"x"\n'
    assert client.query("SELECT * FROM t LIMIT 0").column_names == ("a `b", "words")
    assert client.query("SELECT * FROM t").summary["read_rows"] == "8"


def test_a_session_keeps_its_tables_and_settings(server: ClickHouseServer) -> None:
    """Temporary tables and SET belong to the session; settings of a request end with it; without a session nothing stays."""
    with (
        server.client() as one,
        server.client() as other,
        server.client(autogenerate_session_id=False) as loose,
    ):
        one.command("CREATE TEMPORARY TABLE mine (a Int64)")
        assert one.insert_arrow("mine", pa.table({"a": [1, 2]})).written_rows == 2
        assert one.command("SELECT sum(a) FROM mine") == 3
        for stranger in (other, loose):
            with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
                stranger.query("SELECT * FROM mine")
        asked = "SELECT getSetting('max_block_size')"
        usual = loose.command(asked)
        one.command("SET max_block_size = 5")
        assert one.command(asked, settings={"max_block_size": 7}) == 7
        assert [one.command(asked), other.command(asked), loose.command(asked)] == [5, usual, usual]
        loose.command("SET max_block_size = 5")
        assert loose.command(asked) == usual
        one.params["close_session"] = "1"
        assert one.command("SELECT sum(a) FROM mine") == 3
        with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
            one.query("SELECT * FROM mine")


def test_a_session_answers_one_request_at_a_time(server: ClickHouseServer) -> None:
    """A second request on a busy session is refused; requests of two sessions run side by side."""
    with (
        server.client(session_id="s") as one,
        server.client(session_id="s") as same,
        server.client() as other,
    ):
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(one.command, "SELECT sleep(1)")
            while not int(other.command("SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep(1)%'")):
                assert not slow.done()
            with pytest.raises(DatabaseError, match="SESSION_IS_LOCKED"):
                same.command("SELECT 1")
            assert not slow.done()
        assert same.command("SELECT 1") == 1


@pytest.mark.parametrize(
    ("statement", "code", "name"),
    [
        ("SELECT * FROM nowhere", 60, "UNKNOWN_TABLE"),
        ("SELECT nothing", 47, "UNKNOWN_IDENTIFIER"),
        ("SELEC 1", 62, "SYNTAX_ERROR"),
        ("SELECT throwIf(number = 3) FROM numbers(9)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
    ],
)
def test_errors_carry_their_code(client: Any, statement: str, code: int, name: str) -> None:
    """What the engine refuses reaches the caller with its number and name, and the session goes on."""
    with pytest.raises(DatabaseError) as refused:
        client.query(statement)
    assert (refused.value.code, refused.value.name) == (code, name)
    assert client.command("SELECT 1") == 1


def test_a_bad_row_inserts_nothing(client: Any) -> None:
    """An insert with a row that cannot be read is refused whole."""
    client.command("CREATE TABLE t (a Int8) ENGINE MergeTree ORDER BY a")
    with pytest.raises(DatabaseError, match="CANNOT_PARSE"):
        client.raw_insert("t", ["a"], b"1\nx\n", fmt="TabSeparated")
    assert client.command("SELECT count() FROM t") == 0


def test_strangers_are_refused(server: ClickHouseServer) -> None:
    """A wrong password, a database that is not there and a setting that does not exist are told apart."""
    with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED") as refused:
        server.client(password="wrong")
    assert "wrong" not in str(refused.value)
    with pytest.raises(DatabaseError, match="UNKNOWN_DATABASE"):
        server.client("nowhere")
    with server.client() as client, pytest.raises(DatabaseError, match="115"):
        client.command("SELECT 1", settings={"no_such_setting": 1})


def test_tables_sent_along(client: Any) -> None:
    """A file of a request is a table of its query, and of no other."""
    table = pa.table({"a": pa.array([1, 2], pa.int64())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    sent = ExternalData(
        file_name="sent", data=sink.getvalue().to_pybytes(), fmt="ArrowStream", structure="a Int64", mime_type="application/octet-stream"
    )  # fmt: skip
    assert client.query("SELECT sum(a) FROM sent", external_data=sent).first_row == (3,)
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT sum(a) FROM sent")


def test_the_zone_is_far_from_utc(client: Any) -> None:
    assert client.command("SELECT timezone()") == SERVER_ZONE


def test_what_was_inserted_survives_a_kill() -> None:
    """A killed server comes back on its port with its tables, and without its sessions."""
    with ClickHouseServer.own() as server, server.client(session_id="s") as client:
        client.command("CREATE TABLE t (a Int64) ENGINE MergeTree ORDER BY a")
        client.command("CREATE TEMPORARY TABLE gone (a Int64)")
        client.insert_arrow("t", pa.table({"a": [1, 2]}))
        server.restart()
        assert client.command("SELECT count() FROM t") == 2
        with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
            client.query("SELECT * FROM gone")
    assert not server.folder.exists()
