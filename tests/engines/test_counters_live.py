"""The live store of counters: down, slow, empty, in parts, and used by other processes. Nothing is lost silently, nobody waits."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dayfold.count.importing import Importer, Layout
from dayfold.count.live import Call, Reply, shard_of
from dayfold.errors import Busy, ConnectionFailed, DayfoldError
from tests.engines.counting import Counting
from tests.valkeys import DURABLE, FORGETFUL, ValkeyServer, cluster

PATIENCE_S = 20


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """A live store of the test's own, which it may end."""
    with ValkeyServer(DURABLE) as made:
        yield made


@pytest.fixture
def usage(postgres_url: str, server: ValkeyServer) -> Iterator[Counting]:
    live = {"url": server.url, "wait_ms": 2_000, "timeout_s": 5, "buffer": 20}
    with Counting(postgres_url, live) as made:
        made.define()
        yield made


def settled(usage: Counting) -> None:
    usage.opened.counters.adder.settle(PATIENCE_S)


# -- down --------------------------------------------------------------------------------------------


def test_nobody_waits_for_a_live_store_that_is_down(usage: Counting, server: ValkeyServer) -> None:
    """Increments wait in a buffer of a bounded size; what finds no room is counted, and said. All that waited is sent once."""
    counters = usage.opened.counters
    assert usage.add("a") == "accepted"
    server.kill()
    before = time.monotonic()
    outcomes = [usage.add("abcde"[place % 5]) for place in range(25)]
    assert time.monotonic() - before < 2
    assert outcomes == ["buffered"] * 20 + ["lost"] * 5
    assert counters.figures is not None
    assert (counters.figures.waiting, counters.figures.lost) == (20, 5)
    assert "does not answer" in counters.figures.failing
    law = usage.law
    assert not law.reachable
    assert law.missing == {}
    with pytest.raises(DayfoldError):
        usage.flusher().flush(counters.defined()[0])
    server.start()
    settled(usage)
    assert (counters.figures.accepted, counters.figures.uncertain, counters.figures.waiting) == (21, 0, 0)
    assert counters.figures.failing == ""
    counters.flush()
    assert usage.law.holds
    assert usage.rows() == [("a", 5), ("b", 4), ("c", 4), ("d", 4), ("e", 4)]


def test_a_full_buffer_may_be_an_error(usage: Counting, server: ValkeyServer) -> None:
    """As the settings say; nothing is lost then, since the caller knows."""
    usage.define(when_full="raise", buffer=2)
    server.kill()
    usage.add("a")
    usage.add("a")
    with pytest.raises(Busy, match="2 increments wait"):
        usage.add("a")
    server.start()
    settled(usage)
    assert usage.opened.counters.figures is not None
    assert usage.opened.counters.figures.lost == 0


def test_a_live_store_that_hangs_keeps_nobody_longer_than_said(usage: Counting, server: ValkeyServer) -> None:
    """The answer comes within ``wait_ms``; what was sent is made once, though its answer came too late."""
    usage.define(wait_ms=50, timeout_s=0.2)
    usage.opened.counters.add("usage", k="a", size=1)
    settled(usage)
    server.pause()
    before = time.monotonic()
    assert usage.add("a") == "buffered"
    assert time.monotonic() - before < 1
    while not usage.opened.counters.adder.figures.failing:
        time.sleep(0.01)
    server.resume()
    settled(usage)
    usage.opened.counters.flush()
    assert usage.law.holds
    assert ("a", 1) in usage.rows()


def test_a_process_that_ends_while_the_live_store_is_down_says_what_is_lost(
    usage: Counting, server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the number."""
    server.kill()
    usage.add("a")
    adder = usage.opened.counters.adder
    adder.close(timeout_s=0.1)
    assert adder.figures.lost == 1
    assert "1 increments are lost" in caplog.text


def test_a_caller_that_goes_away_takes_nothing_back(usage: Counting) -> None:
    """On an event loop: many at once, some of which are cancelled; what was added is added."""
    counters = usage.opened.counters

    async def run() -> list[Any]:
        tasks = [asyncio.create_task(counters.add_async("usage", k="a", total=1, good=1)) for _ in range(20)]
        await asyncio.sleep(0)
        for one in tasks[:5]:
            one.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    usage.define(buffer=1000)
    counters = usage.opened.counters
    found = asyncio.run(run())
    settled(usage)
    assert [one for one in found if not isinstance(one, asyncio.CancelledError)] == ["accepted"] * 15
    assert usage.add("b") == "accepted"
    counters.flush()
    assert usage.law.holds


def test_a_forked_process_adds_for_itself(usage: Counting) -> None:
    """It has a connection, a thread and numbers of its own, and waits for nothing that its parent waited for."""
    usage.add("a")
    [counter] = usage.opened.counters.defined()
    add = usage.opened.counters.read(counter, {"k": "b"}, {"size": 1})
    adder = usage.opened.counters.adder
    child = os.fork()
    if child == 0:
        os._exit(0 if adder.figures.accepted == 0 and adder.add([add, add]) == ["accepted"] * 2 else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert usage.add("a") == "accepted"
    usage.opened.counters.flush()
    assert usage.law.holds
    assert usage.rows("k, size + total") == [("a", 2), ("b", 2)]


# -- back without its data ---------------------------------------------------------------------------


def test_a_live_store_that_came_back_empty_is_said_to_have(postgres_url: str) -> None:
    """The numbers of batches begin again and are not taken for those that were applied; what clients saw is known to be lost."""
    with ValkeyServer(FORGETFUL) as server, Counting(postgres_url, {"url": server.url, "wait_ms": 20_000}) as usage:
        usage.define()
        for _ in range(3):
            usage.add("a")
            usage.flush()
        usage.add("a")
        usage.add("a", id="x")
        server.restart()
        assert usage.add("b", 10) == "accepted"
        usage.add("a", 5)
        done = usage.flush()
        assert done.vanished == 16
        assert done.lost == {"total": 2, "good": 2, "*": 2}
        assert usage.rows() == [("a", 8), ("b", 10)]
        law = usage.law
        assert not law.holds
        assert (law.missing, law.lost_adds, law.vanished) == ({"total": 2, "good": 2}, 2, 16)
        assert usage.add("a", id="x") == "accepted"
        usage.flush()
        assert ("a", 9) in usage.rows()


def test_a_call_of_an_epoch_that_ended_is_not_made_again(postgres_url: str) -> None:
    """It was made and applied, its answer was lost, and then the live store lost that it was: only its client may say."""
    with ValkeyServer(FORGETFUL) as server, Counting(postgres_url, {"url": server.url, "wait_ms": 20_000}) as usage:
        live, [counter] = usage.define().counters.live, usage.opened.counters.defined()
        add = usage.opened.counters.read(counter, {"k": "a"}, {"size": 1})
        [known] = live.send("me", [Call("usage", 8, 0, [])])
        assert isinstance(known, Reply)
        call = Call("usage", 8, 1, [add], known.epoch)
        assert [one.state for one in live.send("me", [call]) if isinstance(one, Reply)] == ["ok"]
        assert [one.state for one in live.send("me", [call]) if isinstance(one, Reply)] == ["again"]
        usage.flush()
        server.restart()
        assert [one.state for one in live.send("me", [call]) if isinstance(one, Reply)] == ["moved"]
        usage.flush()
        assert usage.rows("k, size") == [("a", 1)]


def test_an_answer_that_was_lost_is_the_same_when_it_comes(usage: Counting) -> None:
    """A call that is made again tells which of its increments were refused the first time."""
    live, [counter] = usage.opened.counters.live, usage.opened.counters.defined()
    adds = [usage.opened.counters.read(counter, {"k": "a"}, {"size": amount}) for amount in (2**63 - 1, 1)]
    found = [live.send("me", [Call("usage", 8, 1, adds)])[0] for _ in range(2)]
    assert [(one.state, one.refused) for one in found if isinstance(one, Reply)] == [
        ("ok", {1: "overflow"}),
        ("again", {1: "overflow"}),
    ]


def test_a_flush_that_stood_still_during_a_restart_takes_nothing_for_lost(
    usage: Counting, server: ValkeyServer
) -> None:
    """Another one has applied batches of the new epoch meanwhile."""
    usage.add("a")
    [counter] = usage.opened.counters.defined()

    def other(name: str) -> None:
        if name == "sealed":
            server.restart()
            usage.add("a")
            usage.flusher().flush(counter)

    usage.flush(other)
    usage.flush()
    assert usage.rows() == [("a", 2)]
    assert usage.law.holds, usage.law


def test_what_was_seen_is_not_forgotten_because_less_was_noted(usage: Counting) -> None:
    """A client that tells while a flush takes note of what another one told is heard."""
    live = usage.opened.counters.live
    less, more = {"*": 1, "total": 1}, {"*": 3, "total": 3}
    live.tell_seen("usage", 3, "old", more)
    live.forget_seen("usage", 3, "old", less)
    done = usage.flush()
    assert done.lost == more
    assert usage.flush().lost == {}
    assert usage.law.lost_adds == 3


# -- a cluster ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[ValkeyServer]]:
    with cluster() as found:
        yield found


def test_a_cluster_loses_nothing_with_a_node_that_fails(postgres_url: str, nodes: list[ValkeyServer]) -> None:
    """The nodes that stand take increments and are flushed; what is for the other one waits, and is added once it is back."""
    live = {"url": nodes[0].url, "wait_ms": 20_000, "timeout_s": 2}
    with Counting(postgres_url, live) as usage:
        usage.define()
        keys = [f"k{place}" for place in range(40)]
        for key in keys:
            assert usage.add(key) == "accepted"
        usage.opened.counters.flush()
        assert usage.law.holds
        assert sum(total for _, total in usage.rows()) == 40
        nodes[2].kill()
        outcomes = [usage.add(key) for key in keys]
        assert set(outcomes) == {"accepted", "buffered"}
        buffered = {shard_of(f'["{key}"]') for key, one in zip(keys, outcomes, strict=True) if one == "buffered"}
        assert buffered.isdisjoint(
            shard_of(f'["{key}"]') for key, one in zip(keys, outcomes, strict=True) if one == "accepted"
        )
        with pytest.raises(ConnectionFailed):
            usage.flush()
        assert sum(total for _, total in usage.rows()) == 40 + outcomes.count("accepted")
        law = usage.law
        assert (law.reachable, law.missing) == (False, {})
        nodes[2].start()
        settled(usage)
        usage.opened.counters.flush()
        assert usage.law.holds, usage.law
        assert usage.rows() == sorted((key, 2) for key in keys)


# -- what home-made counters left --------------------------------------------------------------------


def test_an_import_that_is_killed_and_run_again_adds_each_key_once(usage: Counting, server: ValkeyServer) -> None:
    """After any step: between the application and the deletion, or before either."""
    with server.client() as client:
        for place in range(6):
            client.hset(f"daily:2026-03-0{place + 1}:k:é{place}:metrics", mapping={"reqs": place + 1, "note": "x"})
        client.expire("daily:2026-03-01:k:é0:metrics", 100)
        client.hset("daily:2026-03-09:bad:metrics", mapping={"reqs": "many"})
        client.hset("daily:today:bad:metrics", mapping={"reqs": 1})
    [counter] = usage.opened.counters.defined()
    layout = Layout("daily:{date}:{k}:metrics", ("k",), None, {"reqs": "size", "note": ""})

    class Ends:
        """A client whose process ends before it deletes, or before it reads what it has taken."""

        def __init__(self, client: Any, at: str) -> None:
            self.client, self.at = client, at

        def __getattr__(self, name: str) -> Any:
            if name == self.at:
                raise KeyboardInterrupt
            return getattr(self.client, name)

    with server.client() as client:
        dry = Importer(usage.opened.ledger, client, counter, layout).run(dry_run=True)
        assert (dry.keys, dry.amounts, dry.rows) == (8, {"size": 21}, 0)
        for at in ("hgetall", "delete"):
            with pytest.raises(KeyboardInterrupt):
                Importer(usage.opened.ledger, Ends(client, at), counter, layout).run(dry_run=False)
        assert {client.ttl(name) for name in client.scan_iter(match="dayfold:taken:*2026-03-01*")} == {-1}
        for _ in range(2):
            found = Importer(usage.opened.ledger, client, counter, layout).run(dry_run=False)
        assert found.left == {
            "its date, or a part of its key, is none": 1,
            "it holds something that is no whole number": 1,
        }
        assert sorted(name for name in client.scan_iter() if b"{" not in name) == [
            b"daily:2026-03-09:bad:metrics",
            b"daily:today:bad:metrics",
        ]
    assert usage.rows("k, size") == [(f"k:é{place}", place + 1) for place in range(6)]
    assert usage.law.holds, usage.law


# -- many at once ------------------------------------------------------------------------------------


def test_many_threads_add_and_nothing_is_missing(usage: Counting) -> None:
    """Each with outcomes of its own; a flush goes on beside them."""
    usage.define(buffer=100_000)
    counters = usage.opened.counters
    threads = [threading.Thread(target=lambda: [usage.add(f"k{n % 50}") for n in range(200)]) for _ in range(8)]
    for one in threads:
        one.start()
    counters.flush()
    for one in threads:
        one.join()
    counters.flush()
    assert usage.law.holds
    assert sum(total for _, total in usage.rows()) == 1_600
