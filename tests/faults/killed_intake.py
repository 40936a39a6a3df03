"""Takes a few requests in, in a process that kills itself at a named step: ``python -m tests.faults.killed_intake``."""

from __future__ import annotations

import datetime as dt
import json
import os
import queue
import signal
import sys
from collections.abc import Callable
from typing import Any

from dayfold import Count, Dayfold, Rollup, events
from dayfold.clock import FixedClock
from dayfold.collect.intake import Intake, Record, Ticket
from dayfold.collect.journal import Journal
from dayfold.collect.reading import Reader, Sender
from dayfold.ledger import events as log
from dayfold.ledger import intake as counts
from tests.sql import store_config

NOW = dt.datetime(2026, 1, 10, 12, tzinfo=dt.UTC)
MICROS = int(NOW.timestamp() * 1e6)
#: Name of a step to the function after whose call it lies.
POINTS: dict[str, tuple[Any, str]] = {
    "journaled": (Journal, "append"),
    "written": (log, "_write"),
    "counted": (counts, "count"),
    "journal moved": (counts, "move"),
    "taken": (Intake, "_commit"),
    "journal done": (Journal, "done"),
}


class Daily(Rollup):
    """What happened in one project on one day."""

    key = "project_id"

    happened = Count(events, at="occurred_at")


def opened(url: str, **columns: str) -> Dayfold:
    """An application whose events have these columns; ``project_id`` where none is said."""
    said = events.columns(**(columns or {"project_id": "text"}))
    rollups = [Daily] if "project_id" in (columns or {"project_id": ""}) else []
    return Dayfold([*rollups, said], store_config(url, long_view=""), clock=FixedClock(NOW))


def ticket(number: int, columns: tuple[str, ...] = ("project_id",)) -> Ticket:
    """A request with three events, the same whenever it is made."""
    from dayfold.define.types import TEXT

    raws = [
        json.dumps(
            {"id": f"r{number}-{n}", "event_type": "step", "actor": {"id": f"r{number}"}, "properties": {"project_id": f"{n}"}}
        ).encode()
        for n in range(3)
    ]  # fmt: skip
    import msgspec

    batch = Reader(dict.fromkeys(columns, TEXT)).native([msgspec.Raw(one) for one in raws], Sender("server", MICROS))
    for event in batch.events:
        event.props = {}
    return Ticket(Record(columns, batch.events), sum(map(len, raws)))


def main(url: str, point: str, nth: int) -> None:
    """Take four requests in, one after another, and say each that is acknowledged."""
    passed = 0

    def act(name: str) -> None:
        nonlocal passed
        passed += name == point
        if name == point and passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    for name, (owner, function) in POINTS.items():
        setattr(owner, function, _followed(getattr(owner, function), name, act))
    settled: queue.Queue[Ticket] = queue.Queue()
    with opened(url) as app:
        app.ledger.ready()
        intake = app.event_log.open(lambda tickets: [settled.put(one) for one in tickets] and None)
        for number in range(4):
            intake.offer(ticket(number))
            told = settled.get(timeout=30)
            assert told.error is None, told.error
            print(f"r{number}", flush=True)
            act("acknowledged")
        intake.settle()


def _followed(function: Callable[..., Any], name: str, act: Callable[[str], None]) -> Callable[..., Any]:
    def call(*args: Any, **more: Any) -> Any:
        result = function(*args, **more)
        act(name)
        return result

    return call


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
