"""What a program calls to send events. Of the client, standard library only.

Invariant: `Client.track` neither waits for a network nor raises, whatever it is given and whatever goes wrong.
Weakness: without a spool, what was not sent when the process dies is lost. A server that forbids threads sends nothing
(uWSGI needs ``--enable-threads``).
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Mapping
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dayfold.client.books import Books
from dayfold.client.event import line, moment, new_id
from dayfold.client.line import Line
from dayfold.client.sender import BATCH_BYTES, Sender

if TYPE_CHECKING:
    from pathlib import Path

    from dayfold.client.spool import Spool

#: The longest id; the collector takes no longer one.
ID_LETTERS = 200
#: How long the end of the program waits for the last events.
EXIT_S = 2.0
_FIELDS = ("entity_type", "entity_id", "anonymous_id", "session_id", "source", "page", "user_agent", "ip")
#: Those that were not closed: their events are sent, though nobody holds them any more.
_clients: set[Client] = set()


class Client:
    """Sends events to a collector, from a thread of its own, in batches.

    One client serves a whole program. It is safe in threads, in signal handlers, and after a fork: the child has a client
    with an empty queue, and what the parent has queued is sent by the parent.

    Args:
        url: Where ``dayfold serve`` answers.
        key: A server's write key.
        spool: A folder for events that wait to be sent: they outlive the process. Processes of one program, with one
            collector and key, may share it. Default: events wait in memory.
        durable: With a spool: an event is on disk when `track` returns. Default: a thread writes it at once.
        queue_events: How many events wait in memory at most; further ones are dropped and counted.
        batch_events: How many events a request has at most.
        interval_s: How long events wait for others.
        timeout_s: How long a request may be silent.
        spool_bytes: How large the folder may be; the oldest events are dropped and counted.

    Raises:
        ValueError: for an address or a key that can be none, or a spool where files have no locks.
        OSError: where the folder cannot be made.

    >>> with Client("https://events.example.com", key="wk_server") as client:
    ...     client.counts["sent"]
    0
    """

    def __init__(
        self, url: str, key: str, *, spool: str | Path | None = None, durable: bool = False, queue_events: int = 10_000,
        batch_events: int = 100, interval_s: float = 1.0, timeout_s: float = 10.0, spool_bytes: int = 64 << 20,
    ) -> None:  # fmt: skip
        self._address = (url, key, timeout_s)
        self._most_queued, self._most_events, self._interval_s = queue_events, batch_events, interval_s
        self._spool = _spool(spool, spool_bytes) if spool is not None else None
        self._is_durable = durable and self._spool is not None
        self._begin()
        _clients.add(self)
        if self._spool is not None:
            # What an earlier process left is sent, though this one may have nothing to say.
            self._started()

    def _begin(self) -> None:
        """Nothing is queued and no thread runs: a new process."""
        self._lock = threading.RLock()
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._books = Books()
        self._sender = Sender(
            self._queue, Line(*self._address), self._books, self._spool,
            most_events=self._most_events, most_queued=self._most_queued, interval_s=self._interval_s,
        )  # fmt: skip
        self._runs = self._is_closed = False

    def track(
        self,
        event_type: object = None,
        properties: Mapping[str, object] | None = None,
        *,
        id: object = None,
        occurred_at: object = None,
        actor_id: object = None,
        actor_type: object = "user",
        entity_type: object = None,
        entity_id: object = None,
        anonymous_id: object = None,
        session_id: object = None,
        attribution: Mapping[str, object] | None = None,
        source: object = None,
        page: object = None,
        user_agent: object = None,
        ip: object = None,
        **more: object,
    ) -> str | None:
        """The id of the event, which is on its way; or None where it was dropped, and counted.

        Args:
            event_type: What happened, such as ``"license_created"``.
            properties: What is known of it. What JSON cannot hold is made text.
            id: A UUID, or another text of up to 200 letters: the same id again is the same event. Default: a new one.
            occurred_at: A datetime (UTC where it has no zone), ISO text, or a number of seconds or milliseconds since 1970.
                Default: now.
            actor_id: The known user, or whoever else did it.
            actor_type: What that is.
            entity_type: What kind of thing it is about.
            entity_id: Which one.
            anonymous_id: The browser.
            session_id: The visit.
            attribution: utm_source and the like, referrer, landing_page, click_id.
            source: web, server or import. Default: as the collector has it.
            page: The address that was seen.
            user_agent: The browser that saw it, as it calls itself.
            ip: Where it was seen from; the collector takes the country from it and drops it.
            more: Further properties.
        """
        try:
            if not isinstance(event_type, str) or not event_type or self._is_closed:
                self._books.count("overflowed" if self._is_closed else "malformed")
                return None
            known = new_id() if id is None or id == "" else str(id)
            event: dict[str, object] = {
                "id": known,
                "event_type": event_type,
                "occurred_at": int(time.time() * 1000) if occurred_at is None else moment(occurred_at),
            }
            if properties or more:
                event["properties"] = {**more, **(properties or {})}
            if actor_id is not None:
                event["actor"] = {"type": actor_type, "id": str(actor_id)}
            if attribution:
                event["attribution"] = attribution
            for name, value in zip(
                _FIELDS, (entity_type, entity_id, anonymous_id, session_id, source, page, user_agent, ip), strict=True
            ):
                if value is not None:
                    event[name] = str(value)
            written = line(event)
            if len(known) > ID_LETTERS or len(written) > BATCH_BYTES:
                self._books.count("malformed")
                return None
            return known if self._put(written) else None
        except Exception:
            self._books.count("malformed")
            return None

    def _put(self, written: bytes) -> bool:
        """An event is queued, or on disk."""
        if not self._runs:
            self._started()
        if self._is_durable and self._spool is not None:
            try:
                self._books.count("discarded", self._spool.append([written]))
            except OSError as error:
                return self._sender.keep(written, error)
            waiting = self._spool.pending()
        else:
            waiting = self._queue.qsize()
            if waiting >= self._most_queued:
                self._books.count("overflowed")
                return False
            self._queue.put(written)
            waiting += 1
        # With a spool that is not durable, its writer listens to the queue and rings itself.
        if waiting % self._most_events == 0 and (self._is_durable or self._spool is None):
            self._sender.ring()
        return True

    def _started(self) -> None:
        with self._lock:
            if not self._runs and not self._is_closed:
                self._sender.start()
                self._runs = True

    @property
    def counts(self) -> dict[str, int]:
        """What became of the events of this process, and how many wait in memory.

        ``sent``: in requests that were answered 200; of these ``accepted``, ``repeated``, ``conflicts``, ``quarantined``,
        ``ignored``, and those that were refused. ``dropped``: the sum of ``refused`` (by the collector, one by one or with
        their request), ``overflowed`` (the queue was full, or the client closed), ``malformed`` (no event, no JSON, or
        too large) and ``discarded`` (for want of space on disk, or damaged there). ``waiting``: in memory; after `close`, lost.
        """
        return {**self._books.counts(), "waiting": self._sender.waiting()}

    def flush(self, timeout: float = 5.0) -> bool:
        """Whether all events so far were answered, or given up, within so many seconds. A try is made at once."""
        if not self._runs:
            return self._queue.empty()
        return self._sender.ask().wait(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Send what waits, for so long, and end; again is harmless. Whether all of it was dealt with.

        What is then left is lost, but for what is in the spool: another process, or the next one, sends that.
        """
        with self._lock:
            runs, self._runs, self._is_closed = self._runs, False, True
        _clients.discard(self)
        return self._sender.end(timeout) if runs else True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _after_fork(self) -> None:
        """In the child: the parent's queue, threads, connection and files are the parent's."""
        was_closed = self._is_closed
        self._sender.leave()
        if self._spool is not None:
            self._spool.leave()
        self._begin()
        self._is_closed = was_closed


def _spool(folder: str | Path, most_bytes: int) -> Spool:
    """The spool of a folder; who has none does not load it."""
    from dayfold.client.spool import Spool

    return Spool(folder, most_bytes)


def _end_all() -> None:
    """The end of the program: what waits is sent, for a short while."""
    until = time.monotonic() + EXIT_S
    for one in list(_clients):
        one.close(max(0.0, until - time.monotonic()))


def _forked() -> None:
    for one in list(_clients):
        one._after_fork()


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
