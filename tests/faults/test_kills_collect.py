"""kill -9 while events are taken in: what was acknowledged is in the log once, whenever the process ends and whoever takes over."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from dayfold.collect.intake import Record
from dayfold.collect.journal import Journal
from dayfold.collect.reading import Reader, Sender
from tests.collecting import Station
from tests.conftest import SOAK
from tests.faults import killed_intake
from tests.faults.conftest import ROOT
from tests.sql import run_sql

#: Steps between an event's arrival and its place in the log, each killed at.
STEPS = ["journaled", "acknowledged", "written", "counted", "journal moved", "taken", "journal done"]
#: The same where the log itself makes events safe.
STEPS_OF_LOG = ["written", "counted", "taken", "acknowledged"]


class Client(threading.Thread):
    """Sends events in small batches, each until it is acknowledged, as libraries do: the same ids, whatever went wrong."""

    def __init__(self, station: Station, name: str, ends: threading.Event, port: int | None = None) -> None:
        super().__init__()
        self.station = station
        self.prefix = name
        self.ends = ends
        self.port = port or station.port
        self.acknowledged: list[str] = []
        self.sent = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        chance = random.Random(self.prefix)
        while not self.ends.is_set():
            ids = [f"{self.prefix}-{self.sent + n}" for n in range(chance.choice([1, 3, 20]))]
            told = [
                {
                    "id": one, "event_type": "step", "actor": {"id": self.prefix}, "occurred_at": "2026-01-09T12:00:00Z",
                    "properties": {"cents": 1, "project_id": f"p{len(one) % 2}"},
                }
                for one in ids
            ]  # fmt: skip
            while not self._post(told):
                # Until the very end: whoever was promised an answer waits for it.
                if self.ends.wait(0.02) and not self.station.process:
                    return
            self.sent += len(ids)
            self.acknowledged += ids

    def _post(self, told: list[object]) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"content-type": "application/json", "authorization": f"Bearer {self.station.server_key}"}
            connection.request("POST", "/v1/events", json.dumps(told), headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if answer.status == 200:
            return True
        if answer.status not in (429, 503):
            self.wrong.append(f"{answer.status} {body.decode()}")
        return False


def everything_is_there(station: Station, clients: list[Client]) -> None:
    """Every acknowledged event is in the log, none twice, and the numbers are those of the log."""
    assert [one.wrong for one in clients] == [[] for _ in clients]
    station.stop()
    station.run("fold")
    found = Counter(station.events("actor_id"))
    acknowledged = {(one.prefix,): len(one.acknowledged) for one in clients}
    # A batch that nobody had an answer to may be there as well.
    assert all(found[one] >= count for one, count in acknowledged.items())
    assert sum(found.values()) - sum(acknowledged.values()) <= 20 * len(clients)
    assert sum(acknowledged.values()) > 0
    [(happened, cents)] = station.stored("SELECT sum(happened), sum(cents) FROM daily")
    assert happened == cents == sum(found.values())
    assert station.stored("SELECT count(*) FROM dayfold__quarantine") == [(0,)]
    [(repeated, accepted)] = station.stored(
        "SELECT coalesce(sum(events) FILTER (WHERE outcome <> 'accepted'), 0), sum(events) FILTER (WHERE outcome = 'accepted') "
        "FROM dayfold__intake"
    )
    assert accepted == sum(found.values()), f"counted {accepted} and {repeated} others"


def test_a_server_killed_under_load_again_and_again(tmp_path: Path, store_url: str) -> None:
    """At any moment; it is started again, and its clients have sent on."""
    with Station(tmp_path / "station", store_url) as station:
        ends = threading.Event()
        clients = [Client(station, f"c{n}", ends) for n in range(8)]
        for one in clients:
            one.start()
        chance = random.Random(17)
        for _ in range(12 if SOAK else 3):
            ends.wait(chance.uniform(0.3, 1.2))
            station.kill()
            station.start()
        ends.wait(0.5)
        ends.set()
        for one in clients:
            one.join()
        everything_is_there(station, clients)


def test_two_servers_on_one_store_take_the_same_events(tmp_path: Path, postgres_url: str) -> None:
    """Both are told all of them at once, by many; each is there once, and each answer was right."""
    with Station(tmp_path / "station", postgres_url) as station:
        beside = Station(tmp_path / "beside", postgres_url)
        beside.server_key = station.server_key
        beside.start()
        try:
            ends = threading.Event()
            # Two of each name: they send the same ids, one to either server.
            clients = [Client(one, f"c{n}", ends) for n in range(32) for one in (station, beside)]
            for client in clients:
                client.start()
            ends.wait(10 if SOAK else 3)
            ends.set()
            for client in clients:
                client.join()
        finally:
            beside.stop()
        assert [client.wrong for client in clients] == [[] for _ in clients]
        station.stop()
        station.run("fold")
        found = {str(actor): count for actor, count in Counter(station.events("actor_id")).items() for actor in actor}
        for left, right in zip(clients[::2], clients[1::2], strict=True):
            assert found[left.prefix] == max(len(left.acknowledged), len(right.acknowledged))
        assert station.stored("SELECT sum(happened), sum(cents) FROM daily") == [(sum(found.values()),) * 2]
        assert station.stored("SELECT count(*) FROM dayfold__quarantine") == [(0,)]
        assert "Traceback" not in station.log + beside.log


def test_clients_that_hang_up(tmp_path: Path, duckdb_url: str) -> None:
    """In the middle of a request, or before its answer: the others are served, and what came whole is kept once."""
    with Station(tmp_path / "station", duckdb_url) as station:
        body = json.dumps([{"id": f"h{n}", "event_type": "step"} for n in range(500)]).encode()
        head = (
            f"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {station.server_key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        for sent in (head[:40], head, head + body[:1000], head + body):
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", station.port)) as client:
                    client.sendall(sent)
        assert station.post("/v1/events", {"id": "last", "event_type": "step"})[0] == 200
        assert len(station.events()) in (1, 501)
        assert "Traceback" not in station.log


# -- a kill after each step --------------------------------------------------------------------------


def intake(url: str, point: str, nth: int) -> subprocess.CompletedProcess[str]:
    """Takes four requests in, each acknowledged on standard output, and is killed at the point."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.killed_intake", json.dumps([url, point, nth])],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def taken(url: str) -> list[tuple[str, int]]:
    """The events that are in the log, once what was left over is taken in; each once."""
    with killed_intake.opened(url) as app:
        app.event_log.make()
    found = run_sql(url, "SELECT actor_id, count(*) FROM dayfold_events GROUP BY actor_id ORDER BY 1")
    assert run_sql(url, "SELECT count(*), count(DISTINCT id) FROM dayfold_events") == run_sql(
        url, "SELECT count(*), count(*) FROM dayfold__event_ids"
    )
    return found


#: On DuckDB the log takes what waits at once, so that its steps may come only once.
_CASES = [
    *(("duckdb", one, nth) for one in STEPS for nth in (1, 3) if nth == 1 or one in ("journaled", "acknowledged")),
    *(("postgres", one, nth) for one in STEPS_OF_LOG for nth in (1, 3)),
]


@pytest.mark.in_turn
@pytest.mark.parametrize(("engine", "point", "nth"), _CASES, ids=str)
def test_a_kill_after_each_step(request: pytest.FixtureRequest, engine: str, point: str, nth: int) -> None:
    """What was acknowledged is there, whole and once; so it is when all is sent again."""
    url = str(request.getfixturevalue(f"{engine}_url"))
    done = intake(url, point, nth)
    assert done.returncode == -signal.SIGKILL, done.stderr
    acknowledged = done.stdout.split()
    found = taken(url)
    assert {actor for actor, _ in found} >= set(acknowledged)
    assert {count for _, count in found} <= {3}
    again = intake(url, "never", 1)
    assert again.returncode == 0, again.stderr
    assert taken(url) == [(f"r{n}", 3) for n in range(4)]
    [(accepted,)] = run_sql(url, "SELECT sum(events) FROM dayfold__intake WHERE outcome = 'accepted'")
    assert accepted == 12


# -- what a dead process left ------------------------------------------------------------------------


@pytest.fixture
def journal(duckdb_url: str) -> Path:
    """Four requests in a journal, and none of them in the log."""
    with killed_intake.opened(duckdb_url) as app:
        app.ledger.ready()
        app.event_log.make()
    folder = Path(duckdb_url.removeprefix("duckdb:///") + ".journal")
    made = Journal(folder)
    encode = msgspec.msgpack.encode
    for number in range(4):
        made.append([encode(killed_intake.ticket(number).record)])
    made.close()
    return folder


def test_a_tail_torn_at_every_byte(journal: Path, duckdb_url: str) -> None:
    """A record that was not whole was not acknowledged; those before it are, and a new one takes its number."""
    [file] = journal.glob("*.log")
    whole = file.read_bytes()
    sizes = [16 + len(data) for _, data in Journal(journal).records()]
    assert sum(sizes) == len(whole)
    for cut in range(sum(sizes[:3]), len(whole)):
        for tail in (b"", b"\0" * (len(whole) - cut), b"\xff" * 40):
            if (torn := whole[:cut] + tail) == whole:
                continue
            file.write_bytes(torn)
            made = Journal(journal)
            assert [number for number, _ in made.records()] == [1, 2, 3], cut
            assert made.append([b"new"]) == 4
            made.close()
            assert [data for _, data in Journal(journal).records(3)] == [b"new"]
            for other in journal.glob("*.log"):
                if other != file:
                    other.unlink()
    file.write_bytes(whole[:-1])
    assert taken(duckdb_url) == [(f"r{n}", 3) for n in range(3)]
    assert list(journal.glob("*.log")) == []


def test_a_bit_that_turned_ends_the_journal_there(journal: Path) -> None:
    """What follows a damaged record is not read: its place is not sure."""
    [file] = journal.glob("*.log")
    whole = bytearray(file.read_bytes())
    whole[20] ^= 1
    file.write_bytes(whole)
    assert list(Journal(journal).records()) == []


@pytest.mark.parametrize("by", ["fold", "serve"])
def test_a_dead_servers_journal_is_taken_in(journal: Path, duckdb_url: str, tmp_path: Path, by: str) -> None:
    """By whoever opens the store next, before it does anything else; again is harmless."""
    kept = {path.name: path.read_bytes() for path in journal.iterdir()}
    station = Station(tmp_path / "station", duckdb_url)
    for _ in range(2):
        if by == "serve":
            station.start()
            station.stop()
        station.run("fold")
        assert station.stored("SELECT sum(happened) FROM daily") == [(12,)]
        assert len(station.events()) == 12
        assert list(journal.glob("*.log")) == []
        # The same files once more, as if their end had not reached the disk.
        for name, data in kept.items():
            (journal / name).write_bytes(data)


@pytest.mark.parametrize(
    ("columns", "projects"),
    [
        ({"project_id": "text", "asset_id": "bigint"}, [("0",), ("1",), ("2",)]),
        ({"asset_id": "bigint"}, [(None,)]),
        ({"step_no": "bigint", "project_id": "text"}, [("0",), ("1",), ("2",)]),
    ],
    ids=["one more", "another", "another order"],
)
def test_definitions_are_edited_before_the_journal_is_taken(
    journal: Path, duckdb_url: str, columns: dict[str, str], projects: list[tuple[str | None]]
) -> None:
    """Events are read again for the columns that there are now."""
    with killed_intake.opened(duckdb_url, **columns) as app:
        app.event_log.make()
    assert run_sql(duckdb_url, "SELECT project_id, count(*) FROM dayfold_events GROUP BY 1 ORDER BY 1") == [
        (*one, 12 // len(projects)) for one in projects
    ]
    assert list(journal.glob("*.log")) == []


def test_events_that_do_not_fit_any_more_are_held(duckdb_url: str) -> None:
    """A new column of another type than their property: each is in quarantine, whole."""
    with killed_intake.opened(duckdb_url, asset_id="bigint") as app:
        app.ledger.ready()
        app.event_log.make()
    folder = Path(duckdb_url.removeprefix("duckdb:///") + ".journal")
    made = Journal(folder)
    made.append([msgspec.msgpack.encode(killed_intake.ticket(0, ("asset_id",)).record)])
    made.close()
    with killed_intake.opened(duckdb_url, asset_id="bigint", project_id="uuid") as app:
        app.event_log.make()
    assert run_sql(duckdb_url, "SELECT count(*) FROM dayfold_events") == [(0,)]
    assert run_sql(duckdb_url, "SELECT reason, detail, count(*) FROM dayfold__quarantine GROUP BY 1, 2") == [
        ("undeclared", "It does not fit the definitions as they are now (Unreadable).", 3)
    ]


def test_a_column_of_every_type_is_taken_from_the_journal(duckdb_url: str) -> None:
    """What an event says of its entities is the same after a kill."""
    said = {"asset_id": "bigint", "licence_id": "uuid", "is_trial": "boolean", "due_on": "date"}
    words = {"asset_id": 7, "licence_id": str(uuid.UUID(int=9)), "is_trial": True, "due_on": "20260401"}
    with killed_intake.opened(duckdb_url, **said) as app:
        app.ledger.ready()
        app.event_log.make()
        raw = msgspec.json.encode({"id": "a", "event_type": "step", "properties": words})
        types = app.catalog.entities.types
    batch = Reader(types).native([msgspec.Raw(raw)], Sender("server", killed_intake.MICROS))
    made = Journal(Path(duckdb_url.removeprefix("duckdb:///") + ".journal"))
    made.append([msgspec.msgpack.encode(Record(tuple(types), batch.events))])
    made.close()
    with killed_intake.opened(duckdb_url, **said) as app:
        app.event_log.make()
    assert run_sql(duckdb_url, "SELECT asset_id, licence_id::text, is_trial, due_on::text FROM dayfold_events") == [
        (7, str(uuid.UUID(int=9)), True, "2026-04-01")
    ]


FULL = """
import json, queue, resource, signal, sys
from dayfold.collect.journal import Journal
from tests.faults import killed_intake

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
settled = queue.Queue()
with killed_intake.opened(sys.argv[1]) as app:
    app.ledger.ready()
    intake = app.event_log.open(lambda tickets: [settled.put(one) for one in tickets] and None)

    def send(number):
        intake.offer(killed_intake.ticket(number))
        error = settled.get(timeout=30).error
        print(number, "kept" if error is None else error.message.rpartition(": ")[2], flush=True)

    send(0)
    intake.settle()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    send(1)
    send(2)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    send(1)
    send(3)
    intake.settle()
"""


def test_a_disk_that_is_full_while_events_are_journaled(duckdb_url: str) -> None:
    """Whoever sends is told, and nothing of it counts; with room it goes on."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, duckdb_url], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["0 kept", "1 File too large.", "2 File too large.", "1 kept", "3 kept"]
    assert taken(duckdb_url) == [("r0", 3), ("r1", 3), ("r3", 3)]
