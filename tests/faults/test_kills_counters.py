"""Random trials: whatever ends at whatever step, each acknowledged increment stands once; what a live store loses is said."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from dayfold.count.adder import Adder
from dayfold.count.flush import Flusher
from dayfold.errors import ConnectionFailed, StoreError
from tests.conftest import SOAK
from tests.faults.counting import (
    PATIENCE_S,
    STEPS,
    Account,
    Told,
    add_of,
    added_and_killed,
    at_once,
    check,
    client,
    flush_until,
    in_process,
    opened,
)
from tests.servers import PostgresServer, lease
from tests.valkeys import DURABLE, FORGETFUL, SNAPSHOT, ValkeyServer

#: Trials are two hundred in all, and ten thousand in the soak.
SHARE = 50 if SOAK else 1
pytestmark = [pytest.mark.soak] if SOAK else []


class Ended(BaseException):
    """Nothing goes on from here."""


class Trial:
    """One store, one live store, two clients, and dice that fall the same in every run."""

    def __init__(self, store: str, server: ValkeyServer, seed: str, database: PostgresServer | None = None) -> None:
        self.store = store
        self.server = server
        self.database = database
        self.dice = random.Random(seed)
        self.live = {"url": server.url, "prefix": "".join(filter(str.isalnum, seed)), "timeout_s": PATIENCE_S}
        self.account = Account()
        self.clients: list[Adder] = []

    def run(self, steps: int) -> None:
        acts: dict[Callable[[], None], int] = {
            self.add: 40, self.add_some: 12, self.retry: 15, self.flush: 8, self.flush_ended: 12, self.flush_killed: 3,
            self.flush_twice: 10, self.client_killed: 2, self.restart: 6, self.restart_amid: 5, self.save: 6,
            self.database_killed: 25 if self.database else 0,
        }  # fmt: skip
        with ExitStack() as stack:
            self.stack = stack
            self.app = stack.enter_context(opened(self.store, self.live))
            self.app.counters.make()
            self.clients = [stack.enter_context(client(self.live)) for _ in range(2)]
            for act in self.dice.choices(list(acts), list(acts.values()), k=steps):
                act()
            for one in self.clients:
                # Whoever lives hears of what was lost when it adds the next time.
                self._told(one, [self._new()])
                one.settle(PATIENCE_S)
                assert one.figures.waiting == 0
        check(self.store, self.live, self.account, may_lose=self.server.keeps != DURABLE)

    # -- steps -----------------------------------------------------------------------------------

    def _new(self) -> Told:
        one = self.account.new(self.dice)
        assert one is not None
        return one

    def _told(self, adder: Adder, some: list[Told]) -> None:
        outcomes = adder.add([add_of(one) for one in some])
        for one, outcome in zip(some, outcomes, strict=True):
            one.accepted = one.accepted or outcome == "accepted"
            assert outcome in ("accepted", "repeated", "buffered")

    def add(self) -> None:
        self._told(self.dice.choice(self.clients), [self._new()])

    def add_some(self) -> None:
        self._told(self.dice.choice(self.clients), [self._new() for _ in range(self.dice.randint(2, 6))])

    def retry(self) -> None:
        """Anything with an id, by anybody, however often."""
        known = [one for one in self.account.told if one.id]
        if known:
            self._told(self.dice.choice(self.clients), self.dice.choices(known, k=self.dice.randint(1, 3)))

    def flush(self) -> None:
        self.app.counters.flush()

    def flush_ended(self) -> None:
        """What flushes is no more, at any step; its process goes on."""
        step, nth = self.dice.choice(STEPS), self.dice.randint(1, 2)

        def act(name: str) -> None:
            nonlocal nth
            nth -= name == step
            if name == step and nth == 0:
                raise Ended

        with suppress(Ended):
            Flusher(self.app.ledger, self.app.counters.live, act).flush(self.app.counters.defined()[0])

    def database_killed(self) -> None:
        """SIGKILL of a server process of PostgreSQL, which ends all of them and recovers what was committed."""
        database, step = self.database, self.dice.choice(STEPS)
        assert database is not None
        self.add()

        def act(name: str) -> None:
            if name == step:
                database.kill()

        flusher = Flusher(self.app.ledger, self.app.counters.live, act)
        with suppress(ConnectionFailed, StoreError):
            flusher.flush(self.app.counters.defined()[0])
        self.app.close()
        self.app = self.stack.enter_context(opened(self.store, self.live))
        self.app.counters.make()

    def flush_killed(self) -> None:
        nth = self.dice.randint(1, 2)
        process = in_process(flush_until, self.store, self.live, self.dice.choice(STEPS), nth)
        process.join(60)
        assert process.exitcode in (0, -9)
        process.close()

    def flush_twice(self) -> None:
        """One flush stands still at a step until another one has ended, which began before it or after it."""
        step, is_first = self.dice.choice(STEPS[:3]), self.dice.random() < 0.5
        arrived, go = threading.Event(), threading.Event()

        def pause(name: str) -> None:
            if name == step and not go.is_set():
                arrived.set()
                assert go.wait(60)

        [counter] = self.app.counters.defined()
        live = self.app.counters.live

        def slow() -> None:
            try:
                Flusher(self.app.ledger, live, pause).flush(counter)
            finally:
                arrived.set()

        def quick() -> None:
            assert arrived.wait(60)
            try:
                if is_first:
                    self._told(self.clients[0], [self._new()])
                Flusher(self.app.ledger, live).flush(counter)
            finally:
                go.set()

        self.add()
        at_once([slow, quick])

    def client_killed(self) -> None:
        some = [self._new() for _ in range(self.dice.randint(1, 5))]
        added_and_killed(self.store, self.live, some, self.dice)
        if self.server.keeps != DURABLE:
            # Nobody is left who could tell what it saw.
            self.app.counters.flush()

    def save(self) -> None:
        if self.server.keeps == SNAPSHOT:
            self.server.save()

    def restart(self) -> None:
        """Clients go on while the server is down, and nobody waits for it."""
        self.server.kill()
        for _ in range(self.dice.randint(0, 3)):
            self.add()
        self.server.start()
        for one in self.clients:
            one.settle(PATIENCE_S)

    def restart_amid(self) -> None:
        """The server is killed while one client adds as fast as it can."""
        some = [self._new() for _ in range(6)]
        begun = threading.Event()
        first = self.dice.randrange(len(some))

        def add() -> None:
            for place, one in enumerate(some):
                if place == first:
                    begun.set()
                self._told(self.clients[0], [one])

        def restart() -> None:
            assert begun.wait(60)
            self.server.restart()

        at_once([add, restart])
        self.clients[0].settle(PATIENCE_S)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, ValkeyServer]]:
    """A live store of each kind, for tests that kill them."""
    with ExitStack() as stack:
        yield {keeps: stack.enter_context(ValkeyServer(keeps)) for keeps in (DURABLE, SNAPSHOT, FORGETFUL)}


@pytest.fixture(params=range(4 * SHARE))
def part(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.mark.parametrize(("keeps", "trials"), [(DURABLE, 17), (SNAPSHOT, 12), (FORGETFUL, 9)], ids=str)
def test_each_acknowledged_increment_stands_once(
    keeps: str, trials: int, part: int, servers: dict[str, ValkeyServer], postgres_server: PostgresServer
) -> None:
    """Adds, retries, flushes, kills of flushers, clients and the live store in any order, on PostgreSQL."""
    for number in range(trials):
        with postgres_server.database() as store:
            Trial(store, servers[keeps], f"{keeps} {part} {number}").run(10)


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL that may be killed, and has what it committed in the files of the system before it says so."""
    with lease(tmp_path_factory.mktemp("postgres")) as server:
        server.execute("ALTER SYSTEM SET synchronous_commit = on")
        server.execute("SELECT pg_reload_conf()")
        yield server


def test_a_database_that_is_killed_holds_each_increment_once(
    part: int, servers: dict[str, ValkeyServer], own_postgres: PostgresServer
) -> None:
    """PostgreSQL ends at any step of a flush; what it committed stands, what it did not waits."""
    for number in range(4):
        with own_postgres.database() as store:
            Trial(store, servers[DURABLE], f"database {part} {number}", own_postgres).run(6)


@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
def test_increments_that_wait_in_the_store_stand_once(
    engine: str, part: int, new_duckdb: Callable[..., str], postgres_server: PostgresServer
) -> None:
    """Processes that add and are killed, and that flush and are killed, without a live store beside the store."""
    for number in range(3 if engine == "duckdb" else 5):
        with ExitStack() as stack:
            store = new_duckdb(f"s{number}") if engine == "duckdb" else stack.enter_context(postgres_server.database())
            dice, account = random.Random(f"{engine} {part} {number}"), Account()
            for _ in range(2):
                some = [one for one in (account.new(dice) for _ in range(dice.randint(1, 8))) if one]
                some += [one for one in account.told if one.id and dice.random() < 0.3]
                added_and_killed(store, None, some, dice)
                process = in_process(flush_until, store, None, dice.choice(["sealed", "read", "applied"]), 1)
                process.join(60)
                assert process.exitcode in (0, -signal.SIGKILL)
            check(store, None, account, may_lose=False)
