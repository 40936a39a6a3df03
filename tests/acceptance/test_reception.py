"""What takes commands for a served DuckDB file, in this process: how many at once, whose output is whose, and reading definitions again."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold, interrupting, streams
from dayfold.engines import owners
from dayfold.errors import DefinitionError
from dayfold.http.owner import Errand, Reception, Runner
from dayfold.http.service import Service
from dayfold.http.wire import Kind, Line, proof
from tests.acceptance.command import LIMIT_S
from tests.acceptance.shop import METRICS

ERRAND = {
    "folder": "/", "environ": {}, "definitions": {}, "settings": {}, "encodings": [["utf-8", "strict"]] * 2, "is_terminal": False,
}  # fmt: skip


@contextmanager
def receiving(folder: Path, run: Runner) -> Iterator[Reception]:
    """A reception over a folder's store."""
    with Dayfold(folder / "metrics.py") as app, streams.routed():
        service = Service(app)
        reception = Reception(service, run, "http://127.0.0.1:1")
        reception.start()
        try:
            yield reception
        finally:
            reception.stop()
            service.close()


@contextmanager
def line_to(reception: Reception, *words: str) -> Iterator[Line]:
    """A connection that has asked for a command."""
    owner = reception.owner
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(LIMIT_S)
        connection.connect(owner.socket)
        line = Line(connection)
        line.send_words(Kind.HELLO, {"nonce": "n", "proof": proof(owner.secret, "client", "n")})
        assert line.receive_words(Kind.HELLO) == {"proof": proof(owner.secret, "server", "n")}
        line.send_words(Kind.ERRAND, ERRAND | {"words": words})
        yield line


def frames(line: Line) -> list[tuple[Kind, bytes]]:
    """All that is said to its end."""
    found = []
    while (frame := line.receive()) is not None:
        found.append(frame)
    return found


def test_output_comes_while_it_is_produced_and_stays_apart(folded: Path) -> None:
    """Two commands that print in turn, each waiting for the other: each is told its own words, errors at once."""
    turns = {"a": threading.Event(), "b": threading.Event()}

    def run(errand: Errand) -> int:
        me = errand.words[0]
        print(f"{me} out")
        print(f"{me} began", file=sys.stderr)
        assert turns[me].wait(LIMIT_S)
        print(f"{me} ended", file=sys.stderr)
        return 7

    with receiving(folded, run) as reception, line_to(reception, "a") as a, line_to(reception, "b") as b:
        assert a.receive() == (Kind.ERRORS, b"a began\n")
        assert b.receive() == (Kind.ERRORS, b"b began\n")
        turns["b"].set()
        ended = [(Kind.ERRORS, b"%b ended\n"), (Kind.OUTPUT, b"%b out\n"), (Kind.STATUS, b'{"status": 7}')]
        assert frames(b) == [(kind, text.replace(b"%b", b"b")) for kind, text in ended]
        turns["a"].set()
        assert frames(a) == [(kind, text.replace(b"%b", b"a")) for kind, text in ended]


def test_one_command_too_many_is_told_so(folded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's threads are not without end; who comes later may come again."""
    go = threading.Event()
    monkeypatch.setattr("dayfold.http.owner._MOST", 3)
    with receiving(folded, lambda errand: 0 if go.wait(LIMIT_S) else 1) as reception:
        with ExitStack() as held:
            held.callback(go.set)
            running = [held.enter_context(line_to(reception, "wait")) for _ in range(4)]
            answers: list[list[tuple[Kind, bytes]]] = []
            readers = [threading.Thread(target=lambda one=one: answers.append(frames(one))) for one in running]
            for one in readers:
                one.start()
            while not answers:
                readers[0].join(0.01)
            assert answers == [[(Kind.FULL, b'{"most": 3}')]]
            go.set()
            for one in readers:
                one.join(LIMIT_S)
            assert sorted(answers[1:]) == [[(Kind.STATUS, b'{"status": 0}')]] * 3
        with line_to(reception, "again") as line:
            assert frames(line) == [(Kind.STATUS, b'{"status": 0}')]


def test_command_is_stopped_where_its_client_leaves(folded: Path) -> None:
    """It meets that at its next statement, as Ctrl-C."""
    met = threading.Event()

    def run(errand: Errand) -> int:
        print("begun", file=sys.stderr)
        try:
            while True:
                interrupting.check()
        except KeyboardInterrupt:
            met.set()
            raise

    with receiving(folded, run) as reception:
        with line_to(reception, "work") as line:
            assert line.receive() == (Kind.ERRORS, b"begun\n")
        assert met.wait(LIMIT_S)


def test_letters_are_those_of_the_client(folded: Path) -> None:
    """Its terminal's encoding holds, not the server's."""

    def run(errand: Errand) -> int:
        print("é–")
        return 0

    asked = ERRAND | {"encodings": [["latin-1", "replace"], ["utf-8", "strict"]]}
    with receiving(folded, run) as reception, pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "ERRAND", asked)
        with line_to(reception, "letters") as line:
            assert frames(line)[0] == (Kind.OUTPUT, b"\xe9?\n")


def test_owner_file_is_there_only_between_start_and_stop(folded: Path) -> None:
    file = folded / "dayfold.duckdb.owner"
    with receiving(folded, lambda errand: 0) as reception:
        found = owners.read(file)
        assert found == reception.owner
        assert "secret" not in repr(found)
        assert found is not None
        assert found.pid == os.getpid()
    assert not file.exists()
    assert not Path(reception.owner.socket).parent.exists()


def test_definitions_that_are_read_again_are_those_of_later_work_only(folded: Path) -> None:
    """Who holds the application goes on with the old ones; who asks the service anew has the new ones."""
    with Dayfold(folded / "metrics.py") as app:
        service = Service(app)
        before = service.app
        assert before.catalog.origin is not None
        assert service.reload(before.catalog.origin.fingerprint) is before
        (folded / "metrics.py").write_text(METRICS.replace("doubled", "twice"))
        with Dayfold(folded / "metrics.py") as other:
            assert other.catalog.origin is not None
            fingerprint = other.catalog.origin.fingerprint
        # What a command read is not what the file says: nothing is changed.
        assert service.reload("0" * 16) is before
        after = service.reload(fingerprint)
        assert after is service.app is not before
        asked: dict[str, Any] = {"from_": "2026-01-01", "to": "2026-01-01", "grain": "total"}
        assert before.query("ShopDaily", ["doubled"], **asked).rows[0]["doubled"] == 4
        assert after.query("ShopDaily", ["twice"], **asked).rows[0]["twice"] == 4
        (folded / "metrics.py").write_text("import nothing_of_the_kind\n")
        with pytest.raises(DefinitionError):
            service.reload("1" * 16)
        assert service.app is after
        service.close()
