"""Batches, retries, and what is given up: the collector refuses, hangs, or answers strangely."""

from __future__ import annotations

import email.utils
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dayfold.client import Client, sender
from dayfold.client.line import Line, Verdict, judged
from tests.client.collector import LIMIT_S, Collector, serving
from tests.client.conftest import KEY

NewClient = Callable[..., Client]


def answer(**more: Any) -> bytes:
    """The body of a 200."""
    counts = dict.fromkeys(("accepted", "repeated", "conflicts", "quarantined", "ignored"), 0)
    return json.dumps({**counts, "errors": [], **more}).encode()


def track(client: Client, count: int) -> list[str | None]:
    return [client.track("asset_viewed", {"n": n}) for n in range(count)]


def test_events_go_in_batches_in_their_order(new_client: NewClient, collector: Collector) -> None:
    """At most a hundred a request, each event once."""
    client = new_client(interval_s=60)
    ids = track(client, 250)
    assert client.flush()
    assert collector.received == ids
    assert max(len(one.ids) for one in collector.requests) == 100
    counts = client.counts
    assert (counts["sent"], counts["accepted"], counts["dropped"], counts["waiting"]) == (250, 250, 0, 0)


def test_a_full_batch_does_not_wait(new_client: NewClient, collector: Collector) -> None:
    """A hundred events are sent at once; those after them wait for their second."""
    track(new_client(interval_s=60), 100)
    collector.until_events(100)


def test_a_batch_is_no_larger_than_a_collector_takes(new_client: NewClient, collector: Collector) -> None:
    """Events of 100 kB: five to a request."""
    client = new_client(interval_s=60)
    ids = [client.track("asset_viewed", {"text": "x" * 100_000}) for _ in range(12)]
    assert client.flush()
    assert collector.received == ids
    assert max(one.size for one in collector.requests) <= 512_000 + 100
    assert max(len(one.ids) for one in collector.requests) == 5


def test_bodies_are_packed_where_it_pays(new_client: NewClient, collector: Collector) -> None:
    """Above a kilobyte."""
    client = new_client(interval_s=60)
    track(client, 1)
    assert client.flush()
    track(client, 20)
    assert client.flush()
    packed = [one.headers.get("Content-Encoding") for one in collector.requests]
    assert (packed, collector.requests[1].size > 1024) == ([None, "gzip"], True)


@pytest.mark.parametrize(
    "step",
    [
        500,
        503,
        429,
        301,
        204,
        "drop",
        "cut",
        (200, {}, b"<html>sign in to the hotel's network</html>"),
        (200, {}, b"[1]"),
        (200, {}, b'{"status": "ok"}'),
    ],
)
def test_what_was_not_acknowledged_is_sent_again(new_client: NewClient, collector: Collector, step: Any) -> None:
    """With the same ids, until the collector says that it has them; each is kept once."""
    collector.script += [step, step]
    client = new_client()
    ids = track(client, 3)
    assert client.flush(LIMIT_S)
    # A connection that breaks while it is reused is tried once more at once.
    assert len(collector.requests) >= 3
    assert {tuple(one.ids) for one in collector.requests} == {tuple(ids)}
    assert list(collector.events) == ids
    counts = client.counts
    assert (counts["sent"], counts["repeated"], counts["dropped"]) == (3, 3 if step == "cut" else 0, 0)


def test_a_collector_that_is_not_there_yet(collector: Collector) -> None:
    """Events wait for it."""
    with serving(Collector()) as loopback:
        port = loopback.port
    with Client(f"http://127.0.0.1:{port}", KEY, interval_s=0.01) as client:
        ids = track(client, 3)
        assert not client.flush(0.05)
        with serving(collector, port):
            assert client.flush(LIMIT_S)
    assert list(collector.events) == ids


def test_a_collector_that_hangs_is_asked_again(new_client: NewClient, collector: Collector) -> None:
    """After the limit of silence, over another connection; and after the usual wait, though a connection was there already."""
    client = new_client(timeout_s=0.1)
    for silent in (1, 3):
        collector.script.append("hang")
        ids = track(client, 3)
        assert client.flush(LIMIT_S)
        assert list(collector.events)[-3:] == ids
        assert len(collector.requests) == silent + 1


def test_silence_is_no_broken_connection(url: str, collector: Collector) -> None:
    """Where a request over a connection that was used before is not answered, it is not repeated at once."""
    line = Line(url, KEY, 0.1)
    collector.script += [200, "hang"]
    assert [line.post([b'{"id":"1"}']).reason for _ in range(2)] == ["status 200", "TimeoutError"]
    line.close()
    assert len(collector.requests) == 2


def test_sent_at_is_that_of_the_attempt(new_client: NewClient, collector: Collector) -> None:
    """Else a retry would move the moment of its events."""
    collector.script.append((429, {"Retry-After": "1"}, b""))
    client = new_client()
    client.track("asset_viewed")
    assert client.flush(LIMIT_S)
    first, second = collector.requests
    assert first.body["events"] == second.body["events"]
    assert first.body["sent_at"] < second.body["sent_at"]


def test_retry_after_is_honoured(new_client: NewClient, collector: Collector) -> None:
    """Nobody hurries it, not even a flush."""
    collector.script.append((429, {"Retry-After": "1"}, b""))
    client = new_client()
    client.track("asset_viewed")
    collector.until(lambda: len(collector.requests) == 1)
    assert client.flush(LIMIT_S)
    first, second = collector.requests
    assert second.at - first.at >= 1.0


@pytest.mark.parametrize(
    ("words", "least", "most"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("-3", 0, 0),
        ("99999999", 3600, 3600),
        ("soon", None, None),
        ("nan", None, None),
    ],
)
def test_forms_of_retry_after(words: str, least: float | None, most: float | None) -> None:
    """Seconds, an hour at most; others mean nothing."""
    said = judged(503, b"", words)
    assert said.verdict is Verdict.AGAIN
    if least is None or most is None:
        assert said.wait_s is None
    else:
        assert said.wait_s is not None
        assert least <= said.wait_s <= most


def test_retry_after_a_date() -> None:
    """A date means the time until then."""
    said = judged(503, b"", email.utils.formatdate(time.time() + 600, usegmt=True))
    assert said.wait_s is not None
    assert 500 <= said.wait_s <= 600


def test_a_request_that_took_too_long_is_sent_again() -> None:
    """A proxy may say so of one that never reached the collector."""
    assert judged(408, b"").verdict is Verdict.AGAIN


def test_waits_grow_and_differ(monkeypatch: pytest.MonkeyPatch, new_client: NewClient, collector: Collector) -> None:
    """Each is about twice the one before, up to a minute, and not the same for all clients."""
    waits: list[float] = []
    monkeypatch.setattr(sender, "FIRST_WAIT_S", 0.5)

    def listened(self: sender.Sender, most_s: float) -> None:
        waits.append(most_s)
        self._is_impatient = self._rests

    monkeypatch.setattr(sender.Sender, "_listen", listened)
    collector.script += [503] * 12
    client = new_client()
    client.track("asset_viewed")
    collector.until_events(1)
    rests = [one for one in waits if one > 0.02][:12]
    assert all(0.24 * 2**n <= one <= 0.5 * 2**n for n, one in enumerate(rests[:7])), rests
    assert all(29 <= one <= 60 for one in rests[7:]), rests


@pytest.mark.parametrize("status", [400, 401, 403, 404, 415, 422])
def test_a_refused_batch_is_dropped_and_counted(
    new_client: NewClient, collector: Collector, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not sent again, and the next one is."""
    collector.script.append(status)
    client = new_client()
    with caplog.at_level(logging.DEBUG, "dayfold.client"):
        track(client, 3)
        assert client.flush(LIMIT_S)
        ids = track(client, 2)
        assert client.flush(LIMIT_S)
    assert list(collector.events) == ids
    assert (client.counts["refused"], client.counts["dropped"], client.counts["sent"]) == (3, 3, 2)
    assert caplog.messages == [f"The collector refused a request (status {status}); 3 events were dropped."]


def test_a_batch_that_is_too_large_is_sent_in_parts(new_client: NewClient, collector: Collector) -> None:
    """Only the event that is too large by itself is dropped; later batches are smaller at once."""
    collector.most_bytes = 20_000
    client = new_client(interval_s=60)
    ids = [client.track("asset_viewed", {"text": "x" * (30_000 if n == 7 else 1_000)}) for n in range(60)]
    assert client.flush(LIMIT_S)
    assert list(collector.events) == [one for n, one in enumerate(ids) if n != 7]
    assert (client.counts["refused"], client.counts["sent"]) == (1, 59)
    asked = len(collector.requests)
    more = [client.track("asset_viewed", {"text": "x" * 1_000}) for _ in range(60)]
    assert client.flush(LIMIT_S)
    assert set(more) <= set(collector.events)
    assert max(one.size for one in collector.requests[asked:]) <= collector.most_bytes


def test_errors_of_events_are_logged_once_for_each_code(
    new_client: NewClient, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """The code is the collector's word; its detail may quote an event and stays out of the log."""
    errors = [
        {"index": 0, "code": "bad-event", "detail": "'secret' is no type"},
        {"index": 1, "code": "bad-event", "detail": "secret"},
        {"index": 2, "code": "secret Mr. X", "detail": ""},
        "secret",
    ]
    body = answer(accepted=1, quarantined=1, errors=errors)
    collector.script += [(200, {}, body), (200, {}, body)]
    client = new_client(interval_s=60)
    with caplog.at_level(logging.DEBUG, "dayfold.client"):
        for _ in range(2):
            track(client, 4)
            assert client.flush(LIMIT_S)
    assert caplog.messages == [
        "The collector did not take an event as it is: bad-event.",
        "The collector did not take an event as it is: unknown.",
    ]
    counts = client.counts
    assert (counts["sent"], counts["accepted"], counts["quarantined"], counts["refused"]) == (8, 2, 2, 4)


def test_an_outage_is_logged_without_values_and_key(
    new_client: NewClient, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Once while it lasts, and its end."""
    collector.script += [503] * 5
    client = new_client()
    with caplog.at_level(logging.DEBUG, "dayfold.client"):
        client.track("secret type", {"secret": "secret"}, actor_id="secret")
        collector.until_events(1)
        assert client.flush(LIMIT_S)
    assert caplog.messages == [
        "The collector takes no events just now (status 503); they are sent again.",
        "The collector takes events again.",
    ]
    assert "secret" not in caplog.text
    assert KEY not in caplog.text


def test_a_full_queue_drops_the_newest(
    new_client: NewClient, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller is not made to wait while the collector hangs; what was dropped is counted, and logged once a minute."""
    collector.script.append("hang")
    client = new_client(queue_events=5, batch_events=2, interval_s=60)
    with caplog.at_level(logging.DEBUG, "dayfold.client"):
        first = track(client, 2)
        collector.until(lambda: len(collector.requests) == 1)
        found = track(client, 20)
        assert collector.events == {}
        assert found[5:] == [None] * 15
        assert client.counts["overflowed"] == client.counts["dropped"] == 15
        assert client.counts["waiting"] == 7
        collector.release()
        assert client.flush(LIMIT_S)
        assert list(collector.events) == first + found[:5]
    assert caplog.messages == ["The queue is full: 15 events were dropped."]


def test_track_does_not_wait_for_the_thread(new_client: NewClient, collector: Collector) -> None:
    """Ten thousand events are taken in while a request hangs."""
    collector.script.append("hang")
    client = new_client()
    client.track("asset_viewed")
    collector.until(lambda: len(collector.requests) == 1)
    assert None not in track(client, 9_000)
    assert collector.events == {}
    collector.release()
    assert client.flush(LIMIT_S)
    assert len(collector.events) == 9_001


def test_many_threads_at_once(new_client: NewClient, collector: Collector) -> None:
    """Each event arrives, once."""
    client = new_client()
    ids: list[str | None] = []
    threads = [threading.Thread(target=lambda: ids.extend(track(client, 500))) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert client.flush(LIMIT_S)
    assert sorted(collector.received) == sorted(map(str, ids))
    assert len(ids) == len(set(ids)) == 4_000


def test_leaving_the_block_sends_what_waits(url: str, collector: Collector) -> None:
    """And later events are dropped and counted; closing again is harmless."""
    with Client(url, KEY, interval_s=60) as client:
        ids = track(client, 3)
    assert list(collector.events) == ids
    assert client.close()
    assert client.track("asset_viewed") is None
    assert client.counts["overflowed"] == 1
    assert not [one for one in threading.enumerate() if one in client._sender._threads]


def test_closing_does_not_wait_for_a_collector_that_hangs(new_client: NewClient, collector: Collector) -> None:
    """It says that something is left."""
    collector.script.append("hang")
    client = new_client()
    track(client, 3)
    collector.until(lambda: len(collector.requests) == 1)
    assert not client.close(0.05)
    assert client.counts["waiting"] == 3
    assert collector.events == {}


def test_a_flush_before_the_first_event_is_done(new_client: NewClient) -> None:
    """There is nothing to wait for."""
    assert new_client().flush(0)


def script(text: str, url: str, *, cwd: Path, **env: str) -> subprocess.Popen[str]:
    """A program that sends events."""
    program = f"import os, signal, sys, time\nfrom dayfold.client import Client\nURL, KEY = {url!r}, {KEY!r}\n{text}"
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=cwd, env={**os.environ, **env}
    )


def test_the_end_of_a_program_sends_what_waits(url: str, collector: Collector, tmp_path: Path) -> None:
    """Though nobody closes the client, or holds it any more."""
    with script("print(Client(URL, KEY, interval_s=60).track('x'))", url, cwd=tmp_path) as program:
        out, _ = program.communicate(timeout=LIMIT_S)
    assert (program.returncode, list(collector.events)) == (0, [out.strip()])


def test_the_end_of_a_program_does_not_wait_for_a_collector_that_hangs(
    url: str, collector: Collector, tmp_path: Path
) -> None:
    """The request is still unanswered when the program is gone."""
    collector.script.append("hang")
    with script("Client(URL, KEY, interval_s=0.01, timeout_s=3600).track('x')", url, cwd=tmp_path) as program:
        program.communicate(timeout=LIMIT_S)
    assert (program.returncode, collector.events, len(collector.requests)) == (0, {}, 1)


FORK = """
client = Client(URL, KEY, interval_s=60, **{more})
before = [client.track("parent") for _ in range(5)]
child = os.fork()
if child == 0:
    mine = [client.track("child") for _ in range(3)]
    done = client.flush(20)
    print(done, client.counts["sent"], flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(client.flush(20), client.counts["sent"], flush=True)
"""


@pytest.mark.parametrize("more", ["{}", "{'spool': 'spool'}", "{'spool': 'spool', 'durable': True}"])
def test_after_a_fork_both_send_their_own(url: str, collector: Collector, tmp_path: Path, more: str) -> None:
    """The child starts a thread of its own; what the parent has queued is sent once, by the parent."""
    with script(FORK.replace("{more}", more), url, cwd=tmp_path) as program:
        out, _ = program.communicate(timeout=LIMIT_S)
    assert out.splitlines() == ["True 3", "True 5"]
    assert sorted(one["event_type"] for one in collector.events.values()) == ["child"] * 3 + ["parent"] * 5
    assert len(collector.received) == 8


def test_a_signal_handler_may_track(url: str, collector: Collector, tmp_path: Path) -> None:
    """Also where it interrupts a call of track: nothing waits for itself."""
    program = (
        "client = Client(URL, KEY, spool='spool', durable=True, interval_s=0.01)\n"
        "signal.signal(signal.SIGALRM, lambda *_: client.track('alarm'))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n"
        "for _ in range(5000): client.track('plain')\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "print(client.close(20))"
    )
    with script(program, url, cwd=tmp_path) as running:
        out, _ = running.communicate(timeout=LIMIT_S)
    types = [one["event_type"] for one in collector.events.values()]
    assert (out.strip(), types.count("plain")) == ("True", 5000)
    assert types.count("alarm") > 0
