"""Commands while ``dayfold serve`` owns their DuckDB file: they say and do what they say and do alone."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold, __version__
from dayfold.cli import errand
from dayfold.errors import FileLocked
from dayfold.http.wire import Kind, Line, proof
from dayfold.settings import digest
from tests.acceptance.command import LIMIT_S, NOW, Done, dayfold, fails, succeeds
from tests.acceptance.serving import Serving, begun, serving
from tests.acceptance.shop import METRICS, TOML, store_url, stored
from tests.acceptance.test_databases_that_fail import owned_by_another
from tests.sql import run_sql

#: A history whose facts need no table: 17,000 orders from 2024-01-01 to 2025-12-09, 24 a day.
LONG = '''\
from dayfold import Count, Rollup, Table

orders = Table(
    sql="select i % 3 as shop_id, timestamptz '2024-01-01 00:00:00+00' + to_hours(cast(i as bigint)) as created_at "
    "from range(17000) as t(i)"
)


class ShopDaily(Rollup):
    """Orders of one shop on one day."""

    key = "shop_id"

    orders_count = Count(orders, at="created_at")
'''
#: One that takes DuckDB hours to read.
ENDLESS = '''\
from dayfold import Count, Rollup, Table

orders = Table(
    sql="select 1 as shop_id, timestamptz '2024-01-01 00:00:00+00' as created_at from range(3000000) as a(i), "
    "range(3000000) as b(j) where (i * j) % 1000003 = 7"
)


class ShopDaily(Rollup):
    """Orders of one shop on one day."""

    key = "shop_id"

    orders_count = Count(orders, at="created_at")
'''
LONG_TOML = '[store]\nurl = "duckdb:///dayfold.duckdb"\n\n[fold]\nchunk_rows = 200\n'
INTERRUPTED = "Interrupted. What was published stays; the next run continues.\n"

#: Commands that change nothing, with the words that they print alike.
LOOKING = (
    ("query", "ShopDaily", "--format", "json", "--from", "2026-01-01"),
    ("query", "ShopDaily", "--format", "csv", "--from", "2026-01-01", "--by", "shop_id,country"),
    ("query", "ShopDaily", "--format", "parquet", "--from", "2026-01-01"),
    ("query", "ShopDaily", "--from", "2025-12-20", "--grain", "week", "--allow-missing"),
    ("query", "ShopDaily", "--live", "--json", "--from", "2026-01-01"),
    ("plan",),
    ("plan", "--json"),
    ("explain", "ShopDaily", "revenue", "--day", "2026-01-01", "--where", "shop_id=1", "--where", "country=FR", "--json"),
    ("track", "status"),
    ("track", "status", "--json"),
    ("migrate",),
    ("query", "ShopDayly"),
    ("query", "ShopDayly", "--json"),
    ("query", "ShopDaily", "-m", "customers", "--compare", "month", "--json"),
    ("explain", "ShopDaily", "revenue", "--day", "2026-13-01"),
    ("adopt", "ShopDaily", "--from-table", "nowhere"),
    ("rebuild", "ShopDaily", "--from", "2025-01-01", "--to", "2025-01-02"),
    ("query", "ShopDaily", "--output", "nowhere/a.csv"),
)  # fmt: skip


def long_shop(folder: Path, metrics: str = LONG) -> Path:
    """A folder whose fold takes 85 chunks, or does not end."""
    folder.mkdir()
    (folder / "metrics.py").write_text(metrics)
    (folder / "dayfold.toml").write_text(LONG_TOML)
    return folder


@pytest.fixture(scope="module")
def served(folded_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, dict[Any, Done]]]:
    """The folded shop, what commands say of it alone, and then a server of it; tests change none of its rows."""
    folder = Path(shutil.copytree(folded_once, tmp_path_factory.mktemp("served") / "shop"))
    alone = {words: dayfold(*words, cwd=folder) for words in LOOKING}
    with serving(folder) as server:
        yield server, alone


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_command_says_what_it_says_alone(served: tuple[Serving, dict[Any, Done]], words: tuple[str, ...]) -> None:
    """Output, errors and exit status are the same to the byte, whether a server owns the file or nobody does."""
    server, alone = served
    assert asked(server, *words) == alone[words]


@pytest.mark.parametrize("words", [LOOKING[0], LOOKING[2], LOOKING[12]], ids=" ".join)
def test_command_passes_on_what_the_server_says(
    served: tuple[Serving, dict[Any, Done]], words: tuple[str, ...]
) -> None:
    """The command line itself is no different either: JSON, bytes, and an error on both streams."""
    server, alone = served
    assert dayfold(*words, cwd=server.folder) == alone[words]


def test_commands_that_are_compared_end_in_every_way(served: tuple[Serving, dict[Any, Done]]) -> None:
    """Some of the compared commands end well and some do not, with words on both streams."""
    _, alone = served
    assert {done.status for done in alone.values()} == {0, 2}
    assert any(done.err for done in alone.values())
    assert any(b"PAR1" in done.output for done in alone.values())


def test_files_are_written_where_the_command_was_called(
    served: tuple[Serving, dict[Any, Done]], tmp_path: Path
) -> None:
    """A relative file is taken from the caller's folder, not from the server's."""
    server, alone = served
    words = ("query", "ShopDaily", "--from", "2026-01-01", "-a", server.folder / "metrics.py")
    succeeds(*words, "--output", "answer.json", cwd=tmp_path)
    succeeds(*words, "--by", "shop_id,country", "-o", "answer.csv", cwd=tmp_path)
    assert (tmp_path / "answer.json").read_bytes() == alone[LOOKING[0]].output
    assert (tmp_path / "answer.csv").read_bytes() == alone[LOOKING[1]].output
    assert not (server.folder / "answer.json").exists()


def test_pretended_moment_is_that_of_each_command(served: tuple[Serving, dict[Any, Done]]) -> None:
    """DAYFOLD_NOW holds for the command that has it, and for no other."""
    server, _ = served
    told = {}

    def ask(day: str) -> None:
        env = {"DAYFOLD_NOW": f"{day}T12:00:00+00:00"}
        told[day] = succeeds("query", "Seats", "--from", "today", "--json", cwd=server.folder, env=env).json["from"]

    asking = [threading.Thread(target=ask, args=(f"2026-01-{day:02}",)) for day in range(3, 9)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert told == {day: day for day in told}
    assert len(told) == 6


def test_twenty_commands_at_once_keep_their_outputs_apart(served: tuple[Serving, dict[Any, Done]]) -> None:
    server, alone = served
    words = [LOOKING[place] for place in (0, 1, 11, 12)] * 5
    found: list[Done] = []
    asking = [threading.Thread(target=lambda one=one: found.append(asked(server, *one))) for one in words]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert len(found) == 20
    assert [done for done in found if done != alone[done.words]] == []


def errand_of(server: Serving, *words: object) -> dict[str, Any]:
    """What a client says of a command."""
    with Dayfold(server.folder / "metrics.py") as app:
        assert app.catalog.origin is not None
        return {
            "words": list(map(str, words)),
            "folder": str(server.folder),
            "environ": {"DAYFOLD_NOW": NOW},
            "definitions": {
                "path": str(server.folder / "metrics.py"),
                "fingerprint": app.catalog.origin.fingerprint,
            },
            "settings": {
                "work": errand.work_settings(app.settings),
                "seals": errand.seals(app.settings, server.folder / "metrics.py", server.owner["secret"]),
                "file": digest(server.folder),
            },
            "encodings": [["utf-8", "strict"], ["utf-8", "backslashreplace"]],
            "is_terminal": False,
        }


def asked(server: Serving, *words: str, cancelled: bool = False) -> Done:
    """A command, asked for without a process for it."""
    parts: dict[Kind, bytes] = {Kind.OUTPUT: b"", Kind.ERRORS: b""}
    with greeted(server.owner) as line:
        line.send_words(Kind.ERRAND, errand_of(server, *words))
        if cancelled:
            line.send(Kind.CANCEL)
        while (frame := line.receive()) is not None:
            kind, content = frame
            if kind is Kind.STATUS:
                return Done(words, json.loads(content)["status"], parts[Kind.OUTPUT], parts[Kind.ERRORS].decode())
            parts[kind] += content
    raise AssertionError("The server ended the connection without a status.")


def test_status_and_doctor_name_the_server(served: tuple[Serving, dict[Any, Done]]) -> None:
    server, _ = served
    pid = server.process.pid
    assert succeeds("status", "--json", cwd=server.folder).json["owner"] == {"process": pid, "url": server.url}
    assert f"Served by process {pid} at {server.url}\n" in succeeds("status", cwd=server.folder).out
    findings = succeeds("doctor", "--json", cwd=server.folder, env={"DAYFOLD_NOW": ""}).json["findings"]
    assert [one for one in findings if one["subject"] == "owner"] == [
        {
            "level": "ok",
            "subject": "owner",
            "message": f"process {pid} serves the file at {server.url}, and runs commands for others",
            "advice": "",
        }
    ]


def locked(server: Serving, file: str = "dayfold.duckdb") -> str:
    return (
        f"The DuckDB file {file} is in use by `dayfold serve` (process {server.process.pid}) at {server.url}.\n  One process "
        "owns a DuckDB file at a time. Commands with its definitions run in that server by themselves; everything else asks its "
        "HTTP API, or stops it first."
    )


def test_second_server_is_refused_with_the_address_of_the_first(served: tuple[Serving, dict[Any, Done]]) -> None:
    server, _ = served
    assert fails("serve", "--port", 0, cwd=server.folder, status=1) == locked(server)


def test_python_is_told_of_the_server(served: tuple[Serving, dict[Any, Done]]) -> None:
    """`Dayfold(…)` in another process is no command; the error says who has the file and how to ask."""
    server, _ = served
    with Dayfold(server.folder / "metrics.py") as app, pytest.raises(FileLocked) as refused:
        app.query("Seats", from_="2026-01-01", to="2026-01-02")
    assert str(refused.value) == locked(server, str(server.folder / "dayfold.duckdb"))


def test_only_its_user_reaches_the_server(served: tuple[Serving, dict[Any, Done]]) -> None:
    """The owner file can be read, and the folder of the socket entered, by the server's user alone."""
    server, _ = served
    path = Path(server.owner["socket"])
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (server.owner_file, path.parent)]
    assert modes == [0o600, 0o700]
    assert server.owner["secret"] not in dayfold("status", "--json", cwd=server.folder).out


def test_strangers_at_the_socket_are_sent_away(served: tuple[Serving, dict[Any, Done]]) -> None:
    """Noise, a frame that is too long, a wrong secret, and a command before the greeting: nothing is run, and the server goes on."""
    server, alone = served
    early = json.dumps({"words": ["migrate"]}).encode()
    wrong = json.dumps({"nonce": "1", "proof": proof("not the secret", "client", "1")}).encode()
    for noise in (
        secrets.token_bytes(4096),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"H\xff\xff\xff\xff",
        b"H\x00\x00\x00\x02[]",
        b"H" + len(wrong).to_bytes(4, "big") + wrong,
        b"R" + len(early).to_bytes(4, "big") + early,
    ):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            stranger.settimeout(LIMIT_S)
            stranger.connect(server.owner["socket"])
            stranger.sendall(noise)
            stranger.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                assert stranger.recv(1) == b""
    assert asked(server, *LOOKING[0]) == alone[LOOKING[0]]


@pytest.mark.parametrize("words", [{}, {"words": ["status"], "folder": "/", "environ": {}, "definitions": []}])
def test_errand_that_lacks_words_is_not_run(served: tuple[Serving, dict[Any, Done]], words: dict[str, object]) -> None:
    server, alone = served
    with greeted(server.owner) as line:
        line.send_words(Kind.ERRAND, words)
        assert line.receive() is None
    assert asked(server, *LOOKING[0]) == alone[LOOKING[0]]


@contextmanager
def greeted(owner: dict[str, Any]) -> Iterator[Line]:
    """A connection to a server that knows us."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(LIMIT_S)
        connection.connect(owner["socket"])
        line = Line(connection)
        line.send_words(Kind.HELLO, {"nonce": "1", "proof": proof(owner["secret"], "client", "1")})
        assert line.receive_words(Kind.HELLO) == {"proof": proof(owner["secret"], "server", "1")}
        yield line


def test_reader_that_stops_reading_ends_its_command_only(served: tuple[Serving, dict[Any, Done]]) -> None:
    """As with `| head -1`: the client ends well, and so does what it asked for."""
    server, alone = served
    words = ("query", "ShopClock", "--from", "1990-01-01", "--by", "shop_id", "--limit", "6000", "--format", "csv")
    with begun(*words, cwd=server.folder) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline() != ""
        command.stdout.close()
        assert command.stderr.read() == ""
        assert command.wait(LIMIT_S) == 0
    assert asked(server, *LOOKING[0]) == alone[LOOKING[0]]


def test_commands_that_write_do_so_in_the_server(shop: Path, folded_once: Path) -> None:
    """Fold, verify and rebuild through a server leave the rows that they leave alone."""
    with serving(shop) as server:
        runs = succeeds("fold", "--json", cwd=shop).json["runs"]
        assert [(run["rollup"], run["status"], run["rows_inserted"]) for run in runs] == [
            ("ShopDaily", "done", 8),
            ("ShopClock", "done", 9),
            ("Seats", "done", 5),
        ]
        verified = succeeds("verify", "--json", cwd=shop).json["verifications"]
        assert [one["drifted"] for one in verified] == [0, 0, 0]
        rebuilt = succeeds("rebuild", "Seats", "--from", "2026-01-01", "--to", "2026-01-05", "--json", cwd=shop).json
        assert (rebuilt["days"], rebuilt["cells"]) == (5, 0)
        holders = succeeds("status", "--json", cwd=shop).json["owner"]["process"]
        assert holders == server.process.pid
    tables = ("shop_daily", "shop_clock", "seats")
    mine, alone = (
        {name: [row[:-3] for row in rows] for name, rows in stored(store_url(folder), *tables).items()}
        for folder in (shop, folded_once)
    )
    assert mine == alone
    assert not server.owner_file.exists()
    assert not Path(server.folder / "dayfold.duckdb.owner").exists()


def test_drift_ends_a_verification_in_the_server_as_alone(folded: Path) -> None:
    """Exit status 1, and the same drifts."""
    run_sql(store_url(folded), "UPDATE shop_daily SET points = points + 1 WHERE day = '2026-01-01'")
    words = ("verify", "ShopDaily", "--from", "2026-01-01", "--to", "2026-01-09", "--json")
    with serving(folded):
        inside = dayfold(*words, cwd=folded)
    alone = dayfold(*words, cwd=folded)
    assert (inside.status, alone.status) == (1, 1)
    assert inside.json["verifications"][0]["drifts"] == alone.json["verifications"][0]["drifts"] != []


def test_edited_definitions_are_read_again(folded: Path) -> None:
    """A command with newer definitions has the server read them first; an answer has the new metric at once."""
    with serving(folded) as server:
        before = server.process.pid
        edited = METRICS.replace(
            'doubled = Formula("orders_count * 2")',
            'doubled = Formula("orders_count * 2")\n    tripled = Formula("orders_count * 3")',
        )
        (folded / "metrics.py").write_text(edited)
        rows = succeeds("query", "ShopDaily", "-m", "orders_count,tripled", "--json", cwd=folded).rows
        assert [row["tripled"] for row in rows] == [row["orders_count"] and row["orders_count"] * 3 for row in rows]
        assert succeeds("status", "--json", cwd=folded).json["owner"]["process"] == before


def test_edited_module_beside_definitions_is_read_again(shop: Path) -> None:
    """What the definitions import from their own folder is part of them."""
    (shop / "words.py").write_text("PAID = \"status = 'paid'\"\n")
    (shop / "metrics.py").write_text(
        "import words\n" + METRICS.replace("where=\"status = 'paid'\"", "where=words.PAID")
    )
    with serving(shop):
        query = ("query", "ShopDaily", "-m", "paid_count", "--grain", "total", "--from", "2026-01-01", "--json")
        succeeds("fold", cwd=shop)
        assert succeeds(*query, cwd=shop).rows[0]["paid_count"] == 7
        (shop / "words.py").write_text("PAID = \"status = 'open' or false\"\n")
        succeeds("fold", cwd=shop)
        assert succeeds(*query, cwd=shop).rows[0]["paid_count"] == 2


def test_broken_edit_is_told_and_the_server_goes_on(folded: Path) -> None:
    """Every mistake of the file is shown, those of its sources too; the server keeps the definitions that it has."""
    with serving(folded):
        good = succeeds(*LOOKING[0], cwd=folded)
        (folded / "metrics.py").write_text(
            METRICS.replace('"points", at="created_at"', '"pints", at="created_at"').replace("largest = Max(orders,", "largest = Max(")
        )  # fmt: skip
        message = fails("fold", cwd=folded, status=2)
        assert re.findall(r"^DefinitionError \[(.*)\] (.*)$", message, re.MULTILINE) != []
        (folded / "metrics.py").write_text(METRICS.replace('"points", at="created_at"', '"pints", at="created_at"'))
        message = fails("query", "Seats", cwd=folded, status=2)
        assert message == (
            "DefinitionError [unknown-column] metrics.py:15 ShopDaily.points\n"
            "  app.orders has no column 'pints'; the nearest is 'points'.\n"
            "  Columns: id, shop_id, country, customer_id, status, amount, points, created_at"
        )
        assert dayfold("fold", "--json", cwd=folded).json["error"]["code"] == "definition"
        (folded / "metrics.py").write_text(METRICS)
        assert succeeds(*LOOKING[0], cwd=folded) == good


def test_other_definitions_are_refused_with_both_fingerprints(
    served: tuple[Serving, dict[Any, Done]], tmp_path: Path
) -> None:
    """A server is not made to take another file than its own."""
    server, _ = served
    other = tmp_path / "other.py"
    other.write_text(METRICS.partition("class ShopClock")[0])
    (tmp_path / "dayfold.toml").write_text(TOML.replace("duckdb:///", f"duckdb:///{server.folder}/"))
    message = fails("status", "-a", other, cwd=tmp_path, status=2)
    mine = re.search(r"this command has .*, fingerprint ([0-9a-f]{16})", message)
    assert mine is not None
    assert mine[1] != server.owner["fingerprint"]
    assert message == (
        f"`dayfold serve` (process {server.process.pid}) owns the store and has other definitions: {server.folder}/metrics.py, "
        f"fingerprint {server.owner['fingerprint']}; this command has {other}, fingerprint {mine[1]}.\n"
        f"  Name the server's with -a {server.folder}/metrics.py, or stop the server and run the command by itself."
    )


def test_other_databases_than_the_servers_are_refused(served: tuple[Serving, dict[Any, Done]], tmp_path: Path) -> None:
    """The numbers would be of another database than the command was given."""
    server, _ = served
    env = {"DAYFOLD_DATABASES__APP__URL": f"duckdb:///{tmp_path}/other.duckdb"}
    assert fails("plan", cwd=server.folder, env=env, status=2) == (
        f"[databases.app] of this command is not what `dayfold serve` (process {server.process.pid}), which owns the store, was "
        "started with.\n  The server reads its settings when it starts; start it again to take new ones."
    )


def test_edited_settings_of_the_work_hold_and_the_rest_waits(folded: Path) -> None:
    """How much a command does at once is its own affair; that the file was edited is said."""
    with serving(folded) as server:
        (folded / "dayfold.toml").write_text(TOML + "\n[query]\nlive_s = 0.000001\n")
        done = dayfold("query", "ShopDaily", "--live", cwd=folded)
        assert done.status == 2, str(done)
        remark, _, error = done.err.partition("\n")
        assert remark == (
            f"dayfold.toml was edited since `dayfold serve` (process {server.process.pid}) read it; what concerns the server holds "
            "from its next start."
        )
        assert error.startswith("The live answer takes longer than 1e-06 s: ")


def test_killed_server_leaves_nothing_in_the_way(folded: Path) -> None:
    """After kill -9 its owner file is stale: the next command works by itself, and removes the file and the socket."""
    alone = dayfold(*LOOKING[0], cwd=folded)
    with serving(folded) as server:
        owner, file = server.owner, server.owner_file
        server.process.kill()
        server.process.wait(LIMIT_S)
        assert file.exists()
        assert dayfold(*LOOKING[0], cwd=folded) == alone
    assert not file.exists()
    assert not Path(owner["socket"]).parent.exists()


def test_stale_owner_file_does_not_hide_the_holder(folded: Path) -> None:
    """Another process holds the file by now: it is named, and the owner file of the dead server is gone."""
    with serving(folded) as server:
        text = server.owner_file.read_text()
    server.owner_file.write_text(text)
    server.owner_file.chmod(0o600)
    with owned_by_another(folded / "dayfold.duckdb") as pid:
        message = fails("query", "Seats", cwd=folded, status=1)
        assert message.startswith("The DuckDB file dayfold.duckdb is in use by python")
        assert f"(process {pid})" in message
        assert not server.owner_file.exists()
    succeeds("query", "Seats", cwd=folded)


def test_owner_file_of_another_machine_is_left_alone(folded: Path) -> None:
    """A socket of another machine cannot be reached from here, and the server there lives on."""
    with serving(folded) as server:
        words = server.owner | {"host": "elsewhere"}
        server.owner_file.write_text(json.dumps(words))
        Path(words["socket"]).rename(f"{words['socket']}.away")
        assert fails("query", "Seats", cwd=folded, status=1) == (
            f"The DuckDB file dayfold.duckdb is in use by `dayfold serve` (process {server.process.pid}) on elsewhere.\n"
            f"  Run the command there, or ask its HTTP API at {server.url}."
        )
        assert server.owner_file.exists()


def test_server_of_another_version_is_told_apart(folded: Path) -> None:
    """An upgraded command does not send its words to a server that may not know them."""
    with serving(folded) as server:
        server.owner_file.write_text(json.dumps(server.owner | {"version": "0.0.1"}))
        assert fails("query", "Seats", cwd=folded, status=1) == (
            f"The store is in use by `dayfold serve` (process {server.process.pid}), which is Dayfold 0.0.1; this is {__version__}.\n"
            "  Start the server again with this version, or run the command with the server's."
        )


def test_owner_file_that_others_may_write_is_not_believed(folded: Path) -> None:
    """It could lead commands, and what they say, to anybody."""
    with serving(folded) as server:
        server.owner_file.chmod(0o666)
        message = fails("query", "Seats", cwd=folded, status=1)
        assert f"(process {server.process.pid}).\n  One process owns a DuckDB file at a time" in message
        server.owner_file.chmod(0o600)
        succeeds("query", "Seats", cwd=folded)


def days_folded(folder: Path) -> tuple[int, int, int]:
    """Rows, days and orders of the long history, once nobody owns the file."""
    [found] = run_sql(
        store_url(folder), "SELECT count(*), count(DISTINCT day), sum(orders_count)::bigint FROM shop_daily"
    )
    return found  # type: ignore[return-value]


def test_client_that_is_killed_cancels_its_fold(tmp_path: Path) -> None:
    """What was published stays, the server goes on, and the next fold does the rest and no more."""
    folder = long_shop(tmp_path / "long")
    with serving(folder) as server:
        with begun("fold", cwd=folder) as command:
            assert command.stderr is not None
            assert re.fullmatch(r"ShopDaily: \d+ of \d+ days\n", command.stderr.readline())
            command.kill()
        [run] = succeeds("fold", "--json", cwd=folder).json["runs"]
        assert run["status"] == "done"
        assert 0 < run["rows_inserted"] < 3 * 709
        states = [one["status"] for one in succeeds("status", "--json", cwd=folder).json["runs"]]
        assert states == ["done", "interrupted"]
        assert server.process.poll() is None
    assert days_folded(folder) == (3 * 709, 709, 17000)


def test_interrupted_client_says_so_and_its_fold_goes_on_later(tmp_path: Path) -> None:
    """Ctrl-C at the client does what it does to a fold that runs alone: status 130 and the same words."""
    folder = long_shop(tmp_path / "long")
    with serving(folder):
        with begun("fold", cwd=folder) as command:
            assert command.stderr is not None
            assert command.stderr.readline().startswith("ShopDaily: ")
            command.send_signal(signal.SIGINT)
            out, said = command.communicate(timeout=LIMIT_S)
        assert (command.returncode, out) == (130, "")
        assert said.endswith(INTERRUPTED)
        assert said.count(INTERRUPTED) == 1
        succeeds("fold", cwd=folder)
    assert days_folded(folder) == (3 * 709, 709, 17000)


def test_cancelled_command_ends_a_statement_that_runs(tmp_path: Path) -> None:
    """A statement that would take hours is interrupted in the engine; the next command finds nothing in its way."""
    folder = long_shop(tmp_path / "endless", ENDLESS)
    with serving(folder) as server:
        done = asked(server, "fold", "--wait", "0", cancelled=True)
        assert (done.status, done.out, done.err) == (130, "", INTERRUPTED)


def test_stopped_server_tells_the_command_that_runs(tmp_path: Path) -> None:
    """SIGTERM abandons the chunk that is computed; what was published stays, and the client knows why it ended."""
    folder = long_shop(tmp_path / "long")
    with serving(folder) as server:
        with begun("fold", cwd=folder) as command:
            assert command.stderr is not None
            assert command.stderr.readline().startswith("ShopDaily: ")
            server.process.terminate()
            _, said = command.communicate(timeout=LIMIT_S)
        assert command.returncode == 1, said
        assert said.endswith(f"{INTERRUPTED}The server at {server.url}, which ran this command, is stopping.\n")
        server.process.wait(LIMIT_S)
        assert not server.owner_file.exists()
    succeeds("fold", cwd=folder)
    assert days_folded(folder) == (3 * 709, 709, 17000)


def test_killed_server_is_told_to_the_command_that_runs(tmp_path: Path) -> None:
    folder = long_shop(tmp_path / "long")
    with serving(folder) as server:
        with begun("fold", cwd=folder) as command:
            assert command.stderr is not None
            assert command.stderr.readline().startswith("ShopDaily: ")
            server.process.kill()
            _, said = command.communicate(timeout=LIMIT_S)
        assert command.returncode == 1, said
        assert said.endswith(
            f"`dayfold serve` (process {server.process.pid}), which owns the store and ran this command, ended before it had.\n"
            "  What was published stays; run it again.\n"
        )
    succeeds("fold", cwd=folder)
    assert days_folded(folder) == (3 * 709, 709, 17000)


def test_client_that_never_reads_holds_up_nobody(folded: Path) -> None:
    """Its command waits where it writes; others are answered, and the server stops without waiting for it."""
    words = ("query", "ShopClock", "--from", "1920-01-01", "--by", "shop_id", "--format", "csv")
    with serving(folded) as server, begun(*words, cwd=folded) as silent:
        assert silent.stdout is not None
        assert silent.stdout.readline() != ""
        assert len(asked(server, "status", "--json").json["rollups"]) == 3
        assert asked(server, "fold", "Seats").out.startswith("Seats: done")
        assert silent.poll() is None
        server.process.terminate()
        assert server.process.wait(LIMIT_S) == 0


def test_output_of_definitions_is_no_output_of_a_command(folded: Path) -> None:
    """What an edited file prints while the server reads it goes to the errors of the command that made it read it."""
    with serving(folded):
        good = succeeds(*LOOKING[0], cwd=folded)
        (folded / "metrics.py").write_text(METRICS + '\nprint("read")\n')
        done = succeeds(*LOOKING[0], cwd=folded)
        assert (done.output, done.err) == (good.output, "read\nread\n")
        assert succeeds(*LOOKING[0], cwd=folded).err == "read\n"
