"""The intake beside a log that refuses: what is safe is written once, whoever waits is told rightly, and it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.collect.intake import Held, Intake, Ticket
from dayfold.collect.journal import Journal
from dayfold.errors import ConnectionFailed, StoreError
from dayfold.ledger import events as log
from dayfold.ledger import quarantine
from tests.faults import killed_intake
from tests.sql import run_sql


@pytest.fixture
def app(duckdb_url: str) -> Iterator[Dayfold]:
    """An application whose log takes events through a journal."""
    with killed_intake.opened(duckdb_url) as app:
        app.ledger.ready()
        yield app


class Log:
    """Stands before the log: refuses what it is told to, in this order; None: it is written.

    Its first call waits until it is let go, so that what is offered meanwhile is written together.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: Exception | None) -> None:
        self.errors = [None, *errors]
        self.is_asked, self.is_open = threading.Event(), threading.Event()
        self.write = log.append
        monkeypatch.setattr(log, "append", self)

    def __call__(self, *args: Any) -> Any:
        self.is_asked.set()
        assert self.is_open.wait(30)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return self.write(*args)


def offer(intake: Intake, number: int, **more: Any) -> Ticket:
    """A request on its way."""
    ticket = killed_intake.ticket(number)
    for name, value in more.items():
        setattr(ticket, name, value)
    intake.offer(ticket)
    return ticket


def test_parts_that_the_log_took_are_not_written_again(
    app: Dayfold, duckdb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was held back with them is held once, and what comes later is written too."""
    gate = Log(monkeypatch, StoreError("It is odd."), None, ConnectionFailed("It is away."))
    safe = threading.Semaphore(0)
    intake = app.event_log.open(lambda tickets: safe.release())
    offer(intake, 0)
    assert gate.is_asked.wait(30)
    ticket = killed_intake.ticket(1)
    event = ticket.record.events[0]
    ticket.record.held.append(Held(event.id, quarantine.UNDECLARED, "It is not declared.", event))
    intake.offer(ticket)
    offer(intake, 2)
    offer(intake, 3)
    while safe.acquire(timeout=30) and intake.journal is not None and intake.journal.last < 4:
        pass
    gate.is_open.set()
    intake.settle()
    app.event_log.close()
    found = run_sql(duckdb_url, "SELECT actor_id, count(*) FROM dayfold_events GROUP BY 1 ORDER BY 1")
    assert found == [("r0", 3), ("r1", 3), ("r2", 3), ("r3", 3)]
    assert run_sql(duckdb_url, "SELECT count(*) FROM dayfold__quarantine") == [(1,)]
    counted = run_sql(duckdb_url, "SELECT outcome, sum(events) FROM dayfold__intake GROUP BY 1 ORDER BY 1")
    assert counted == [("accepted", 12), ("quarantined", 1)]


def test_who_waits_for_the_log_is_told_how_it_ended(app: Dayfold, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that it was away in between."""
    told = threading.Event()
    gate = Log(monkeypatch, ConnectionFailed("It is away."))
    gate.errors.pop(0)
    gate.is_open.set()
    intake = app.event_log.open(lambda tickets: told.set())
    ticket = offer(intake, 0, waits=True)
    assert told.wait(30)
    assert ticket.error is None
    assert ticket.outcomes == [log.Outcome.ACCEPTED] * 3


def test_it_ends_beside_a_disk_that_hangs(app: Dayfold, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was not acknowledged is told so, and the process does not wait for what can never come."""
    told: list[Ticket] = []
    begun, goes_on = threading.Event(), threading.Event()

    def hang(journal: Journal, records: list[bytes]) -> int:
        begun.set()
        assert goes_on.wait(30)
        raise StoreError("It hangs.")

    intake = app.event_log.open(told.extend)
    monkeypatch.setattr(Journal, "append", hang)
    tickets = [offer(intake, 0)]
    assert begun.wait(30)
    tickets.append(offer(intake, 1))
    stopping = threading.Thread(target=intake.stop, args=(0.2,), daemon=True)
    stopping.start()
    stopping.join(0.5)
    goes_on.set()
    stopping.join(10)
    assert not stopping.is_alive()
    assert told == tickets
    assert all(one.error is not None for one in tickets)
