"""Random trials of counters: what clients were told, and a naive account of what has to stand for it.

Each increment adds a power of four of its own to ``digits``, so that a digit of a sum, in base four, tells how often that increment
stands in it. The account shares no code with the product; it reads tables with plain SQL.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from typing import Any

from dayfold import Counter, Dayfold, Total
from dayfold.clock import FixedClock
from dayfold.count.adder import Adder
from dayfold.count.flush import Flusher
from dayfold.count.live import Add
from dayfold.count.valkey import Valkey
from tests.sql import run_sql, store_config

NOW = dt.datetime(2026, 3, 12, 12, tzinfo=dt.UTC)
DAYS = ("2026-03-11", "2026-03-12")
KEYS = ("a", "b", 'c:/"d', "é")
STEPS = ("sealed", "read", "applied", "dropped")
#: Increments of one key and day whose digits fit into 63 bits.
MOST = 31
#: Seconds that a client of a busy machine waits for an answer.
PATIENCE_S = 20


class Hits(Counter):
    """What is counted in the trials."""

    key = "k"
    digits = Total()
    adds = Total()


@dataclass
class Told:
    """An increment and what its clients were told of it."""

    key: str
    day: str
    place: int
    id: str
    accepted: bool = False

    @property
    def amount(self) -> int:
        return int(4**self.place)


@dataclass
class Account:
    """Every increment that anybody tried."""

    told: list[Told] = field(default_factory=list)
    _places: dict[tuple[str, str], int] = field(default_factory=dict)

    def new(self, dice: random.Random, owner: str = "") -> Told | None:
        """One more, of any key and day that has room."""
        key, day = dice.choice(KEYS), dice.choice(DAYS)
        place = self._places.get((key, day), 0)
        if place == MOST:
            return None
        self._places[key, day] = place + 1
        one = Told(key, day, place, f"{owner}{key} {day} {place}" if dice.random() < 0.5 else "")
        self.told.append(one)
        return one

    def lost(self, rows: dict[tuple[str, str], int]) -> list[Told]:
        """What was acknowledged and does not stand. Whatever stands twice, or was never tried, is a failed test."""
        found = []
        tried = {(one.key, one.day): 0 for one in self.told}
        for one in self.told:
            digit = rows.get((one.key, one.day), 0) // one.amount % 4
            assert digit <= 1, f"{one} stands {digit} times"
            tried[one.key, one.day] += one.amount
            if one.accepted and not digit:
                found.append(one)
        for place, digits in rows.items():
            assert digits <= tried.get(place, 0), f"{place} holds what nobody added"
        return found


def add_of(one: Told) -> Add:
    key = '["' + one.key.replace('"', '\\"') + '"]'
    return Add("hits", one.day, key, "", one.id, {"digits": one.amount, "adds": 1})


def opened(store: str, live: dict[str, Any] | None = None) -> Dayfold:
    """The application of the trials; one process of it."""
    words: dict[str, Any] = store_config(store, long_view="")
    if live:
        words["live"] = live
    return Dayfold([Hits], words, clock=FixedClock(NOW))


# -- processes that are killed -----------------------------------------------------------------------

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.faults.counting_preload"])


def flush_until(store: str, live: dict[str, Any] | None, step: str, nth: int) -> None:
    """A flush of this process, which ends with SIGKILL at the n-th time that it passes the step."""
    passed = 0

    def act(name: str) -> None:
        nonlocal passed
        passed += name == step
        if passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    with opened(store, live) as app:
        app.counters.make()
        Flusher(app.ledger, app.counters.live, act).flush(app.counters.defined()[0])


def add_until_killed(store: str, live: dict[str, Any] | None, adds: list[Add], pipe: Any, last: int) -> None:
    """Increments one after another, each answer told; SIGKILL after the last of them, or in the middle of it."""
    with opened(store, live) as app:
        app.counters.make()
        for place, one in enumerate(adds):
            if place == last:
                app.counters.offer([one])
                os.kill(os.getpid(), signal.SIGKILL)
            pipe.send(str(app.counters.add_many([one])[0]))


def in_process(act: Callable[..., None], *words: Any) -> ForkServerProcess:
    """Something that goes on in a process of its own."""
    process = _FORKS.Process(target=act, args=words)
    process.start()
    return process


def added_and_killed(store: str, live: dict[str, Any] | None, some: list[Told], dice: random.Random) -> None:
    """A client that adds and is killed; what it was told before is known."""
    mine, theirs = _FORKS.Pipe(duplex=False)
    process = in_process(
        add_until_killed, store, live, [add_of(one) for one in some], theirs, dice.randrange(len(some))
    )
    theirs.close()
    for one in some:
        try:
            if mine.recv() == "accepted":
                one.accepted = True
        except EOFError:
            break
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    process.close()


# -- looking -----------------------------------------------------------------------------------------


def rows_of(store: str, table: str) -> dict[tuple[str, str], int]:
    found = run_sql(store, f'SELECT k, day, digits, adds FROM "{table}"')
    for _, _, digits, adds in found:
        assert sum(int(one) for one in _base4(digits)) == adds
    return {(k, str(day)): int(digits) for k, day, digits, _ in found}


def _base4(number: int) -> Iterator[int]:
    while number:
        number, digit = divmod(number, 4)
        yield digit


def check(store: str, live: dict[str, Any] | None, account: Account, *, may_lose: bool) -> None:
    """All that the promises say of a quiet moment, after one more flush."""
    with opened(store, live) as app:
        app.counters.flush()
        [law] = app.counters.conservation()
        runs = app.fold()
        assert [run.error for run in runs if run.error] == []
    rows = rows_of(store, "dayfold_counted_hits")
    lost = account.lost(rows)
    assert rows_of(store, "hits_daily") == rows
    current = {k: int(digits) for k, digits in run_sql(store, "SELECT k, digits FROM hits")}
    assert current == {key: sum(d for (k, _), d in rows.items() if k == key) for key in {k for k, _ in rows}}
    assert not any(law.pending.values())
    assert law.applied["digits"] == sum(rows.values())
    assert not any(law.quarantined.values())
    if lost:
        assert may_lose, lost
        assert not law.holds, (law, lost)
        assert law.lost_adds >= len(lost), (law, lost)
        assert law.missing["digits"] >= sum(one.amount for one in lost), (law, lost)
    if not may_lose:
        assert law.holds, law
        assert law.accepted == law.applied


@contextmanager
def client(live: dict[str, Any]) -> Iterator[Adder]:
    """A client of this process, with connections of its own."""
    store = Valkey(live["url"], live["prefix"], live["timeout_s"])
    store.prepare()
    adder = Adder(store, most_waiting=10_000, patience_s=PATIENCE_S)
    try:
        yield adder
    finally:
        adder.close()
        store.close()


def at_once(acts: list[Callable[[], object]]) -> None:
    """Some things at the same time; what one of them raises is raised."""
    errors: list[BaseException] = []

    def run(act: Callable[[], object]) -> None:
        try:
            act()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if errors:
        raise errors[0]
