"""The threads behind a client: one sends in batches and tries again; with a spool, another writes what comes to disk.

Of the client, standard library only.

Invariant: an event leaves the memory or the spool when its batch was answered, or when it was given up and counted.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from dayfold.client.books import ANSWERED, Books
from dayfold.client.line import Line, Said, Verdict

if TYPE_CHECKING:
    from dayfold.client.spool import Spool, Taken

#: The most bytes of a batch, before it is packed.
BATCH_BYTES = 512_000
_LEAST_BATCH_BYTES = 16_000
#: The wait after a first failure; it doubles up to the last.
FIRST_WAIT_S = 0.5
LAST_WAIT_S = 60.0
#: How long an event waits to be written with others.
_GATHER_S = 0.002
_WRITTEN_TOGETHER = 1000
_CODE = re.compile(r"[a-z][a-z-]{0,39}")


class Asked(threading.Event):
    """Stands among the events for somebody who waits until those before it were dealt with.

    Attributes:
        is_last: Nothing comes after it: the threads end.
    """

    def __init__(self, *, is_last: bool = False) -> None:
        super().__init__()
        self.is_last = is_last


Queue = SimpleQueue[bytes | Asked]


class Batch(NamedTuple):
    """Events that are sent together; ``is_full``: more may be waiting."""

    events: list[bytes]
    is_full: bool
    taken: Taken | None = None


class Sender:
    """Takes events from a queue, through a spool where there is one, and sends them.

    Args:
        most_events: Of a batch.
        most_queued: How many events are kept in memory where the spool cannot be written.
        interval_s: How long events wait for others.
    """

    def __init__(
        self, queue: Queue, line: Line, books: Books, spool: Spool | None,
        *, most_events: int, most_queued: int, interval_s: float,
    ) -> None:  # fmt: skip
        self._queue, self._line, self._books, self._spool = queue, line, books, spool
        #: What is sent from memory: with a spool, only what could not be written to it.
        self._direct: Queue = SimpleQueue() if spool else queue
        self._most_events, self._most_queued, self._interval_s = most_events, most_queued, interval_s
        self._most_bytes = BATCH_BYTES
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._left_over: bytes | None = None
        self._asked: list[Asked] = []
        #: From the thread that writes to the one that sends.
        self._passed_on: SimpleQueue[Asked] = SimpleQueue()
        self._in_hand = 0
        self._asking = 0
        self._lock = threading.RLock()
        self._is_impatient = self._rests = self._is_over = False
        self._ends_at: float | None = None
        self._is_down = False
        self._disk = ""
        self._said = dict.fromkeys(("overflowed", "malformed", "discarded"), 0)
        self._threads = [threading.Thread(target=self._send_all, name="dayfold-client", daemon=True)]
        if spool:
            self._threads.append(threading.Thread(target=self._write_all, name="dayfold-client-spool", daemon=True))

    def start(self) -> None:
        """Both threads run."""
        for one in self._threads:
            one.start()

    def ring(self) -> None:
        """A batch is full: it is sent now."""
        self._bell.put(None)

    def waiting(self) -> int:
        """How many events are in memory."""
        queued = self._queue.qsize() + (self._direct.qsize() if self._spool else 0)
        return max(0, queued - self._asking) + self._in_hand

    def ask(self, *, is_last: bool = False) -> Asked:
        """What is set as soon as all events before now were dealt with; a wait between attempts is cut short, once."""
        asked = Asked(is_last=is_last)
        with self._lock:
            self._asking += 1
        self._queue.put(asked)
        self._is_impatient = True
        self.ring()
        return asked

    def end(self, within_s: float) -> bool:
        """Both threads end: when all was dealt with, or after so long. Whether it was."""
        self._ends_at = time.monotonic() + within_s
        found = self.ask(is_last=True).wait(within_s)
        self.ring()
        for one in self._threads:
            # A request that hangs is left to its daemon.
            one.join(max(0.1, self._ends_at - time.monotonic()) if found else 0.1)
        return found

    def leave(self) -> None:
        """In the child of a fork: the connection is the parent's, and closed here without a word to the server."""
        self._line.close()

    # To disk

    def _write_all(self) -> None:
        """Every event is on disk a moment after it came."""
        assert self._spool is not None
        is_last = False
        while not is_last:
            item: bytes | Asked | None = self._queue.get()
            # Others that come at the same time share a write, and a change of threads.
            time.sleep(_GATHER_S)
            lines: list[bytes] = []
            asked: list[Asked] = []
            while item is not None:
                if isinstance(item, Asked):
                    asked.append(self._seen(item))
                else:
                    lines.append(item)
                try:
                    item = self._queue.get_nowait() if len(lines) < _WRITTEN_TOGETHER else None
                except Empty:
                    item = None
            if lines:
                self._write(lines)
            for one in asked:
                self._passed_on.put(one)
                is_last = is_last or one.is_last
            if asked or (not self._rests and self._spool.pending() >= self._most_events):
                self.ring()

    def _write(self, lines: list[bytes]) -> None:
        assert self._spool is not None
        try:
            self._books.count("discarded", self._spool.append(lines))
        except Exception as error:
            for one in lines:
                self.keep(one, error)

    def keep(self, line: bytes, error: Exception) -> bool:
        """An event that could not be written waits in memory, or is dropped where there are too many; whether it waits."""
        self._disk = type(error).__name__
        if self._direct.qsize() < self._most_queued:
            self._direct.put(line)
            return True
        self._books.count("overflowed")
        return False

    # To the collector

    def _send_all(self) -> None:
        while True:
            try:
                if self._direct.qsize() < self._most_events and not self._is_impatient:
                    self._listen(self._interval_s)
                self._is_impatient = False
                self._send_waiting()
                self._say()
            except Exception as error:
                # Unforeseen; what was taken from the spool is still there.
                self._books.count("discarded", self._in_hand)
                self._in_hand = 0
                self._books.remark(
                    "error", "The client met an error that it did not foresee: %s.", type(error).__name__
                )
                self._listen(self._interval_s)
            if self._is_over or self._left_s() <= 0:
                break
        self._line.close()
        if self._spool is not None:
            self._spool.close()

    def _send_waiting(self) -> None:
        """What waits is sent; what comes meanwhile is, where it fills a batch or somebody waits for it."""
        while not self._passed_on.empty():
            self._asked.append(self._passed_on.get())
        while (batch := self._take()) is not None:
            if not self._deliver(batch):
                return
            if batch.taken is not None and self._spool is not None:
                self._spool.settle(batch.taken)
            if self._spool is None:
                self._tell()
            if not batch.is_full and not self._asked:
                return
        self._tell()

    def _seen(self, asked: Asked) -> Asked:
        """What stood in the queue stands there no more."""
        with self._lock:
            self._asking -= 1
        return asked

    def _tell(self) -> None:
        """Everything before those who asked was dealt with, and they are told."""
        self._say()
        asked, self._asked = self._asked, []
        for one in asked:
            one.set()
            self._is_over = self._is_over or one.is_last

    def _take(self) -> Batch | None:
        """The next batch: from memory, else from the spool."""
        events: list[bytes] = []
        size = 0
        while len(events) < self._most_events:
            item: bytes | Asked | None = self._left_over
            self._left_over = None
            if item is None:
                try:
                    item = self._direct.get_nowait()
                except Empty:
                    break
            if isinstance(item, Asked):
                self._asked.append(self._seen(item))
            elif events and size + len(item) >= self._most_bytes:
                self._left_over = item
                break
            else:
                size += len(item) + 1
                events.append(item)
        if events:
            self._in_hand = len(events)
            return Batch(events, self._left_over is not None or len(events) == self._most_events)
        if self._spool is None or (taken := self._spool.take(self._most_events, self._most_bytes)) is None:
            return None
        self._books.count("discarded", taken.damaged)
        return Batch(taken.events, taken.has_more, taken)

    def _deliver(self, batch: Batch) -> bool:
        """Send events until they are answered or given up; False where the time to end came before."""
        parts = [batch.events] if batch.events else []
        failures = 0
        while parts:
            events = parts[-1]
            self._in_hand = 0 if batch.taken else sum(map(len, parts))
            said = self._line.post(events)
            if said.verdict is Verdict.AGAIN:
                failures += 1
                self._is_down = True
                self._books.remark(
                    "down", "The collector takes no events just now (%s); they are sent again.", said.reason
                )
                if not self._rest(failures, said):
                    return False
                continue
            failures = 0
            parts.pop()
            if said.verdict is Verdict.SPLIT and len(events) > 1:
                half = len(events) // 2
                parts += [events[half:], events[:half]]
                self._most_bytes = max(_LEAST_BATCH_BYTES, min(self._most_bytes, sum(map(len, events)) // 2))
            elif said.verdict is Verdict.DONE:
                self._answered(len(events), said.answer)
            else:
                self._books.count("refused", len(events))
                self._books.remark(
                    said.reason,
                    "The collector refused a request (%s); %d events were dropped.",
                    said.reason,
                    len(events),
                )
        self._in_hand = 0
        return True

    def _answered(self, count: int, answer: Mapping[str, Any]) -> None:
        """Count what the server says of a batch, and remark on what it did not take."""
        if self._is_down:
            self._is_down = False
            self._books.good_news("The collector takes events again.")
        self._books.count("sent", count)
        known = 0
        for word in ANSWERED:
            number = answer.get(word)
            if isinstance(number, int) and 0 < number <= count:
                self._books.count(word, number)
                known += number
        self._books.count("refused", max(0, count - known))
        errors = answer.get("errors")
        for one in errors if isinstance(errors, list) else []:
            found = one.get("code") if isinstance(one, dict) else None
            # Texts of the server may quote an event; its codes are its own words.
            word = found if isinstance(found, str) and _CODE.fullmatch(found) else "unknown"
            self._books.remark(f"code {word}", "The collector did not take an event as it is: %s.", word, once=True)

    def _rest(self, failures: int, said: Said) -> bool:
        """Wait for the next attempt, as long as the server asks for, else twice as long as before; False: it is time to end."""
        wait_s = min(LAST_WAIT_S, FIRST_WAIT_S * 2 ** min(failures - 1, 20)) * (0.5 + os.urandom(1)[0] / 510)
        due = time.monotonic() + max(wait_s, said.wait_s or 0.0)
        self._rests = True
        while (rest := due - time.monotonic()) > 0 and self._left_s() > 0:
            self._say()
            if self._is_impatient and said.wait_s is None:
                self._is_impatient = False
                break
            self._listen(min(rest, self._left_s()))
        self._rests = False
        return self._left_s() > 0

    def _listen(self, most_s: float) -> None:
        """Wait for the bell, or so long."""
        with contextlib.suppress(Empty):
            self._bell.get(timeout=max(0.0, most_s))

    def _left_s(self) -> float:
        """How long there is to the end."""
        return LAST_WAIT_S if self._ends_at is None else self._ends_at - time.monotonic()

    def _say(self) -> None:
        """Remark on what went wrong since; the callers of `track` had no time for it."""
        if self._disk:
            self._books.remark("disk", "The spool cannot be written (%s); events wait in memory.", self._disk)
            self._disk = ""
        counts = self._books.counts()
        for what, text, once in (
            ("overflowed", "The queue is full: %d events were dropped.", False),
            (
                "malformed",
                "%d events were dropped: they have no type, cannot be made JSON, or are too large. It is said once.",
                True,
            ),
            ("discarded", "%d events of the spool were dropped: it is full, or a file was damaged.", False),
        ):
            if more := counts[what] - self._said[what]:
                self._said[what] = counts[what] if self._books.remark(what, text, more, once=once) else self._said[what]
