"""Events on disk: they outlive the process, are sent by whoever comes next, and not by two."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dayfold.client import Client, spool
from dayfold.client.spool import Spool
from tests.client.collector import LIMIT_S, Collector
from tests.client.conftest import KEY
from tests.client.test_sending import script, track

NewClient = Callable[..., Client]
#: Nobody listens there.
NOWHERE = "http://127.0.0.1:9"
MOST = 1 << 30


def event(number: int, size: int = 0) -> bytes:
    return json.dumps({"id": str(number), "text": "x" * size}).encode()


def taken(one: Spool) -> list[str]:
    """The ids of all events that a spool gives, settled one after another."""
    found: list[str] = []
    while (some := one.take(100, 512_000)) is not None:
        found += [json.loads(event)["id"] for event in some.events]
        one.settle(some)
    return found


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def killed(text: str, cwd: Path, count: int) -> list[str]:
    """The ids that a program prints before it kills itself."""
    with script(f"{text}\nos.kill(os.getpid(), signal.SIGKILL)", NOWHERE, cwd=cwd) as program:
        out, _ = program.communicate(timeout=LIMIT_S)
    assert (program.returncode, len(out.split())) == (-signal.SIGKILL, count)
    return out.split()


def test_durable_events_survive_a_kill(new_client: NewClient, collector: Collector, tmp_path: Path) -> None:
    """What track returned an id for is sent by the next process, with its id."""
    text = "client = Client(URL, KEY, spool='spool', durable=True)\nfor n in range(500): print(client.track('x', n=n), flush=True)"
    ids = killed(text, tmp_path, 500)
    client = new_client(spool=tmp_path / "spool")
    assert client.flush(LIMIT_S)
    assert collector.received == ids
    assert client.counts["dropped"] == 0


WRITTEN = """
client = Client(URL, KEY, spool='spool')
ids = [client.track('x', n=n) for n in range(500)]
while sum(one.stat().st_size and one.read_bytes().count(b'\\n') for one in __import__('pathlib').Path('spool').iterdir()) < 500:
    time.sleep(0.001)
print(*ids, sep='\\n', flush=True)
"""


def test_events_are_on_disk_a_moment_later(new_client: NewClient, collector: Collector, tmp_path: Path) -> None:
    """Without durable a thread writes them, though the collector is not there; a kill after that loses none."""
    ids = killed(WRITTEN, tmp_path, 500)
    client = new_client(spool=tmp_path / "spool")
    assert client.flush(LIMIT_S)
    assert collector.received == ids


def test_a_kill_between_answer_and_removal_sends_again(
    new_client: NewClient, collector: Collector, tmp_path: Path
) -> None:
    """With the same ids: the collector keeps each once."""
    first = Spool(tmp_path / "spool", MOST)
    first.append([event(n) for n in range(10)])
    some = first.take(5, MOST)
    assert some is not None
    first.settle(some)
    first.leave()
    client = new_client(spool=tmp_path / "spool")
    assert client.flush(LIMIT_S)
    assert collector.received == [str(n) for n in range(10)]


def test_what_was_answered_is_on_disk_no_more(new_client: NewClient, collector: Collector, tmp_path: Path) -> None:
    """Nothing is left of an event that the collector has."""
    client = new_client(spool=tmp_path / "spool")
    ids = track(client, 250)
    assert client.flush(LIMIT_S)
    assert [one.stat().st_size for one in files(tmp_path / "spool")] == [0]
    assert client.close()
    assert files(tmp_path / "spool") == []
    assert collector.received == ids


def test_an_outage_is_kept_beyond_the_memory(new_client: NewClient, collector: Collector, tmp_path: Path) -> None:
    """The queue's limit does not count for what is on disk."""
    collector.script.append("hang")
    client = new_client(spool=tmp_path / "spool", durable=True, queue_events=10)
    ids = track(client, 3_000)
    assert None not in ids
    collector.release()
    assert client.flush(LIMIT_S)
    assert collector.received == ids
    assert client.counts["dropped"] == 0


def test_closing_leaves_on_disk_what_was_not_sent(new_client: NewClient, collector: Collector, tmp_path: Path) -> None:
    """Another client sends it."""
    with Client(NOWHERE, KEY, spool=tmp_path / "spool", durable=True) as client:
        ids = track(client, 5)
        assert not client.close(0.05)
    client._sender._threads[0].join(LIMIT_S)
    other = new_client(spool=tmp_path / "spool")
    assert other.flush(LIMIT_S)
    assert collector.received == ids


def test_only_its_user_can_read_it(tmp_path: Path) -> None:
    """Events may hold what is nobody's business."""
    one = Spool(tmp_path / "a" / "spool", MOST)
    one.append([event(1)])
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (one.folder, *files(one.folder))]
    one.close()
    assert modes == [0o700, 0o600]


def test_a_file_is_its_writers_while_that_lives(tmp_path: Path) -> None:
    """Others find it when it was let go."""
    writer, other = Spool(tmp_path, MOST), Spool(tmp_path, MOST)
    writer.append([event(1), event(2)])
    assert taken(other) == []
    writer.close()
    other.begin()
    assert taken(other) == ["1", "2"]
    assert files(tmp_path) == []
    assert taken(writer) == []


def test_a_file_is_its_senders_while_that_lives(tmp_path: Path) -> None:
    """Two that find a file of a dead process do not both send it."""
    dead, first, second = (Spool(tmp_path, MOST) for _ in range(3))
    dead.append([event(1)])
    dead.close()
    some = first.take(100, MOST)
    assert some is not None
    assert second.take(100, MOST) is None
    first.settle(some)
    second.begin()
    assert second.take(100, MOST) is None


def test_a_file_that_was_removed_before_it_was_locked_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was found, then sent and removed by another, then locked."""
    dead, first, second = (Spool(tmp_path, MOST) for _ in range(3))
    dead.append([event(1)])
    dead.close()
    real = os.open

    def open_late(path: Any, *words: Any) -> int:
        fd = real(path, *words)
        monkeypatch.setattr(os, "open", real)
        assert taken(first) == ["1"]
        return fd

    monkeypatch.setattr(os, "open", open_late)
    assert taken(second) == []


def test_processes_share_a_folder_without_sending_twice(url: str, collector: Collector, tmp_path: Path) -> None:
    """Five programs, and twenty files of dead ones: every event arrives once."""
    for n in range(20):
        dead = Spool(tmp_path / "spool", MOST)
        dead.append([event(n * 100 + i) for i in range(100)])
        dead.close()
    text = "with Client(URL, KEY, spool='spool', interval_s=0.01) as c:\n for n in range(200): c.track('x')\n print(c.flush(20))"
    programs = [script(text, url, cwd=tmp_path) for _ in range(5)]
    outs = [one.communicate(timeout=LIMIT_S)[0] for one in programs]
    assert outs == ["True\n"] * 5
    assert len(collector.received) == len(set(collector.received)) == 20 * 100 + 5 * 200
    assert files(tmp_path / "spool") == []


HELD = """
client = Client(URL, KEY, spool='spool', durable=True)
client.track('x')
if os.fork() == 0:
    os._exit(0)
os.wait()
print('forked', flush=True)
sys.stdin.read()
"""


def test_a_fork_does_not_free_the_file(tmp_path: Path) -> None:
    """The child closes it; its lock stays the parent's, until the parent dies."""
    program = subprocess.Popen(
        [sys.executable, "-c", f"import os, sys\nfrom dayfold.client import Client\nURL, KEY = {NOWHERE!r}, 'k'{HELD}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "forked\n"
        other = Spool(tmp_path / "spool", MOST)
        assert taken(other) == []
        program.kill()
    other.begin()
    assert len(taken(other)) == 1


def test_the_oldest_make_room(
    new_client: NewClient, collector: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The folder stays below its limit and a file, and what was dropped is counted."""
    collector.script.append("hang")
    client = new_client(spool=tmp_path / "spool", durable=True, spool_bytes=100_000)
    with caplog.at_level(logging.WARNING, "dayfold.client"):
        ids = [client.track("x", {"text": "x" * 1000}) for _ in range(500)]
        assert sum(one.stat().st_size for one in files(tmp_path / "spool")) < 130_000
        collector.release()
        assert client.flush(LIMIT_S)
    gone = client.counts["discarded"]
    assert gone > 350
    assert gone + len(collector.events) == 500
    assert list(collector.events)[-1] == ids[-1]
    assert caplog.messages == [f"{gone} events of the spool were dropped: it is full, or a file was damaged."]


def test_torn_and_damaged_lines_are_left_out(tmp_path: Path) -> None:
    """A crash tears the last line; others may be anything. What is whole is sent."""
    text = event(1) + b"\n\xff\xfe{\n[1]\n" + event(2) + b"\n" + event(3)[:9]
    (tmp_path / f"1{spool.SUFFIX}").write_bytes(text)
    (tmp_path / f"2{spool.SUFFIX}").write_bytes(b"")
    (tmp_path / f"3{spool.SUFFIX}").write_bytes(event(4) + b"\n")
    (tmp_path / "notes.txt").write_text("not ours")
    one = Spool(tmp_path, MOST)
    damaged = 0
    ids = []
    while (some := one.take(100, 512_000)) is not None:
        damaged += some.damaged
        ids += [json.loads(event)["id"] for event in some.events]
        one.settle(some)
    assert (ids, damaged, [path.name for path in files(tmp_path)]) == (["1", "2", "4"], 3, ["notes.txt"])


def test_batches_of_a_file_are_no_larger_than_asked(tmp_path: Path) -> None:
    """In events and in bytes."""
    one = Spool(tmp_path, MOST)
    one.append([event(n, 1000) for n in range(50)])
    sizes = []
    while (some := one.take(20, 5_200)) is not None:
        sizes.append(len(some.events))
        assert sum(map(len, some.events)) <= 5_200
        one.settle(some)
    one.close()
    assert (set(sizes[:-1]), sum(sizes)) == ({5}, 50)


FULL = """
import resource
from dayfold.client.spool import Spool
one = Spool('spool', 1 << 30)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for n in range(4):
    try:
        one.append([b'{"n":"%s"}' % (b'x' * 300)])
        print('written')
    except OSError:
        print('refused')
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_full_disk_spoils_no_line(tmp_path: Path) -> None:
    """An event of which only a part fits is not there at all; those before it are whole."""
    with script(FULL, NOWHERE, cwd=tmp_path) as program:
        out, _ = program.communicate(timeout=LIMIT_S)
    # Killed, what it printed to a pipe may be gone; the file tells.
    del out
    (file,) = files(tmp_path / "spool")
    assert file.read_bytes() == (b'{"n":"%s"}\n' % (b"x" * 300)) * 3


@pytest.mark.parametrize("durable", [False, True])
def test_without_its_disk_events_wait_in_memory(
    new_client: NewClient, collector: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture, durable: bool
) -> None:
    """They are sent all the same, at most as many as the queue takes; the log says why."""
    collector.script.append("hang")
    client = new_client(spool=tmp_path / "spool", durable=durable, queue_events=50, batch_events=10)
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "spool").write_text("in the way")
    with caplog.at_level(logging.WARNING, "dayfold.client"):
        first = client.track("x")
        collector.until(lambda: len(collector.requests) == 1)
        ids = track(client, 30)
        collector.release()
        assert client.flush(LIMIT_S)
    assert collector.received == [first, *ids]
    assert caplog.messages[:1] == ["The spool cannot be written (NotADirectoryError); events wait in memory."]


def test_threads_that_track_durably_write_whole_lines(
    new_client: NewClient, collector: Collector, tmp_path: Path
) -> None:
    """Each event is sent once, whoever wrote beside it, and whatever was sent meanwhile."""
    client = new_client(spool=tmp_path / "spool", durable=True)
    ids: list[str | None] = []
    threads = [threading.Thread(target=lambda: ids.extend(track(client, 400))) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert client.flush(LIMIT_S)
    assert sorted(collector.received) == sorted(map(str, ids))
    assert len(ids) == 2_400


def test_without_its_disk_the_memory_is_bounded(new_client: NewClient, collector: Collector, tmp_path: Path) -> None:
    """The newest are dropped, and their callers told."""
    collector.script.append("hang")
    client = new_client(spool=tmp_path / "spool", durable=True, queue_events=50)
    shutil.rmtree(tmp_path / "spool")
    first = client.track("x")
    collector.until(lambda: len(collector.requests) == 1)
    ids = track(client, 80)
    assert ids[50:] == [None] * 30
    assert client.counts["overflowed"] == 30
    collector.release()
    assert client.flush(LIMIT_S)
    assert collector.received == [first, *ids[:50]]
