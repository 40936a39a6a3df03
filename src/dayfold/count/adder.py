"""Adding: what callers count goes to the live store in calls that are made together, and waits here while it is down. Counting floor.

One thread sends. Whatever callers want added while it waits for an answer goes with its next calls, so that a busy process makes few.
A caller waits for the answer, for a moment; when the live store is down nobody is kept waiting, and what was added stands in a buffer of
this process, of a bounded size. What finds no room there is lost, counted and logged.

Invariant: what was answered with `ACCEPTED` is in the live store. What is sent again is added once: by the number of its call as long as
the live store's epoch lasts, by its id after that.
"""

from __future__ import annotations

import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field
from enum import StrEnum

from dayfold.count.live import ADDS, Add, Call, LiveStore, Reply, Tallies, shard_of
from dayfold.errors import Busy, DayfoldError

#: Increments in one turn of the sender: a script keeps a server from others for some 10 µs for each.
_IN_TURN = 2_000
#: Seconds between two tries while the live store is down, at first and at most.
_AGAIN_S, _AGAIN_MOST_S = 0.05, 2.0
#: Seconds between two lines of the log about the same trouble.
_QUIET_S = 10.0
_log = logging.getLogger("dayfold.count")


class Outcome(StrEnum):
    """What became of an increment."""

    #: It is in the live store, as durable as that is.
    ACCEPTED = "accepted"
    #: One with its id waits there already.
    REPEATED = "repeated"
    #: A sum of the live store would pass 64 bits; nothing was added.
    OVERFLOW = "overflow"
    #: It waits in this process, since the live store is down, or slow.
    BUFFERED = "buffered"
    #: There was no room to wait; it is counted among the lost.
    LOST = "lost"


_REFUSED = {"repeated": Outcome.REPEATED, "overflow": Outcome.OVERFLOW, "amount": Outcome.OVERFLOW}


@dataclass(slots=True)
class Figures:
    """What one process has done with increments, since it began.

    Attributes:
        waiting: In the buffer now.
        lost: For which there was no room; ``uncertain``: that were sent, not answered for, and cannot be sent again, since the live
            store's epoch ended meanwhile: each was added or was not.
        failing: Why the live store does not take any, where it does not.
    """

    accepted: int = 0
    repeated: int = 0
    overflow: int = 0
    waiting: int = 0
    lost: int = 0
    uncertain: int = 0
    failing: str = ""


@dataclass(slots=True)
class _Ticket:
    """Increments that one caller waits for; ``answer`` gets the outcome of each, ``left`` have none yet."""

    adds: Sequence[Add]
    answer: Future[list[Outcome]]
    outcomes: list[Outcome | None] = field(default_factory=list)
    left: int = 0


@dataclass(slots=True)
class _Piece:
    """A call under way, with where each of its increments came from; ``is_uncertain``: it may have been made already."""

    call: Call
    adds: list[Add]
    places: list[tuple[_Ticket, int]]
    is_uncertain: bool = False


@dataclass(slots=True)
class _Shard:
    """What is known of a shard by its answers."""

    calls: int = 0
    epoch: str = ""
    tallies: Tallies = field(default_factory=dict)


class Adder:
    """Sends the increments of one process.

    Args:
        live: Where they go.
        most_waiting: Increments that may wait in the buffer.
        patience_s: Seconds that a caller waits for the answer; afterwards the increment counts as buffered.
        raises: Whether an increment that finds no room raises `Busy` instead of being counted among the lost.
    """

    def __init__(self, live: LiveStore, *, most_waiting: int, patience_s: float, raises: bool = False) -> None:
        self.live = live
        self.most_waiting = most_waiting
        self.patience_s = patience_s
        self.raises = raises
        self.figures = Figures()
        self._begin()

    def _begin(self) -> None:
        """Nothing was sent yet by this process."""
        self._process = os.getpid()
        self._client = secrets.token_hex(8)
        self._queue: queue.SimpleQueue[_Ticket | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._down = False
        self._closing = threading.Event()
        self._again: list[_Piece] = []
        self._shards: dict[tuple[str, int], _Shard] = {}
        self._quiet_until = 0.0

    # -- callers ---------------------------------------------------------------------------------

    def offer(self, adds: Sequence[Add]) -> Future[list[Outcome]]:
        """Have increments sent; the future gets the outcome of each, as soon as that is known.

        Raises:
            Busy: where there is no room and the settings say so.
        """
        answer: Future[list[Outcome]] = Future()
        if self._process != os.getpid():
            # A process that was forked has neither the thread nor the numbers of the one before.
            self._begin()
        with self._lock:
            if self._waiting + len(adds) > self.most_waiting:
                self._refuse(len(adds))
                answer.set_result([Outcome.LOST] * len(adds))
                return answer
            self._waiting += len(adds)
            self.figures.waiting = self._waiting
            if self._thread is None:
                self._closing.clear()
                self._thread = threading.Thread(target=self._run, name="dayfold-adder", daemon=True)
                self._thread.start()
            is_down = self._down
        self._queue.put(_Ticket(adds, answer, [None] * len(adds), len(adds)))
        if is_down:
            # Nobody waits for a store that is known to be down; the thread goes on trying.
            buffered: Future[list[Outcome]] = Future()
            buffered.set_result([Outcome.BUFFERED] * len(adds))
            return buffered
        return answer

    def _refuse(self, adds: int) -> None:
        if self.raises:
            raise Busy(
                f"{self.most_waiting:,} increments wait for the live store {self.live.address}, and there is no room for more.",
                hint='[live] buffer is how many may wait; when_full = "drop" counts and logs what finds no room.',
            )
        self.figures.lost += adds
        self._complain(
            "no-room", f"increments are lost: {self.most_waiting:,} wait already for the live store {self.live.address}"
        )

    def add(self, adds: Sequence[Add]) -> list[Outcome]:
        """Send increments and wait for what becomes of them, no longer than the patience. Raises Busy."""
        try:
            return self.offer(adds).result(self.patience_s)
        except Late:
            return [Outcome.BUFFERED] * len(adds)

    def settle(self, timeout_s: float) -> None:
        """All that was offered before is in the live store. Raises Busy where it is not in time."""
        ends_at = time.monotonic() + timeout_s
        while self._waiting:
            if time.monotonic() > ends_at:
                raise Busy(
                    f"{self._waiting:,} increments wait for the live store {self.live.address}.",
                    hint=self.figures.failing or "Try again in a while.",
                )
            time.sleep(0.005)

    def close(self, timeout_s: float = 5.0) -> None:
        """What waits is sent, as far as the live store takes it in time; what it does not is lost, and said. Again is harmless."""
        thread = self._thread
        if thread is None:
            return
        try:
            self.settle(timeout_s)
        except Busy:
            self.figures.lost += self._waiting
            _log.error(
                "%d increments are lost: the live store %s did not take them before this process ended", self._waiting,
                self.live.address, extra={"action": "counts-lost", "adds": self._waiting},
            )  # fmt: skip
        self._closing.set()
        self._queue.put(None)
        thread.join(timeout_s)
        self._thread = None

    # -- the sender ------------------------------------------------------------------------------

    def _run(self) -> None:
        pause_s = _AGAIN_S
        while True:
            pieces, self._again = self._again, []
            if not pieces:
                tickets = self._taken()
                if tickets is None:
                    return
                pieces = self._pieces(tickets)
            if self._send(pieces):
                pause_s = _AGAIN_S
            elif self._closing.wait(pause_s):
                return
            else:
                pause_s = min(2 * pause_s, _AGAIN_MOST_S)

    def _taken(self) -> list[_Ticket] | None:
        """The next tickets, of all that are there; None: the end."""
        first = self._queue.get()
        if first is None:
            return None
        found, size = [first], len(first.adds)
        while size < _IN_TURN:
            try:
                one = self._queue.get_nowait()
            except queue.Empty:
                break
            if one is None:
                self._queue.put(None)
                break
            found.append(one)
            size += len(one.adds)
        return found

    def _pieces(self, tickets: Sequence[_Ticket]) -> list[_Piece]:
        """Calls of these increments, one for each shard: were there two, the second could be made and the first not."""
        found: dict[tuple[str, int], _Piece] = {}
        shards = self.live.shards
        for ticket in tickets:
            for index, add in enumerate(ticket.adds):
                place = (add.counter, shard_of(add.key, shards))
                piece = found.get(place)
                if piece is None:
                    piece = found[place] = self._piece(place)
                piece.adds.append(add)
                piece.places.append((ticket, index))
        return list(found.values())

    def _piece(self, place: tuple[str, int]) -> _Piece:
        known = self._shards.setdefault(place, _Shard())
        known.calls += 1
        adds: list[Add] = []
        return _Piece(Call(*place, known.calls, adds), adds, [])

    def _send(self, pieces: Sequence[_Piece]) -> bool:
        """Make these calls; those that failed are kept to be made again. Whether the live store answered all."""
        failed: Exception | None = None
        new = [one for one in pieces if not self._shards[one.call.counter, one.call.shard].epoch]
        if new:
            # The epoch is known before anything is added in it, so that nothing is added again in another one.
            failed = self._greet(new)
        if failed is None:
            for piece in pieces:
                if not piece.is_uncertain:
                    piece.call.epoch = self._shards[piece.call.counter, piece.call.shard].epoch
            for piece, reply in zip(pieces, self._replies([one.call for one in pieces]), strict=True):
                if isinstance(reply, Exception):
                    failed, piece.is_uncertain = reply, True
                    self._keep(piece)
                else:
                    self._settle(piece, reply)
        else:
            for piece in pieces:
                self._keep(piece)
        self._note(failed)
        return failed is None

    def _replies(self, calls: Sequence[Call]) -> list[Reply | Exception]:
        try:
            return self.live.send(self._client, calls)
        except Exception as error:  # whatever it is, what waits must not be forgotten
            return [error] * len(calls)

    def _greet(self, pieces: Sequence[_Piece]) -> Exception | None:
        """The epochs of shards that were not used yet are known; or why they are not."""
        calls = [Call(one.call.counter, one.call.shard, 0, []) for one in pieces]
        for call, reply in zip(calls, self._replies(calls), strict=True):
            if isinstance(reply, Exception):
                return reply
            self._learn(call, reply)
        return None

    def _keep(self, piece: _Piece) -> None:
        """A call is made again; whoever waits for it waits no more."""
        self._again.append(piece)
        for ticket, _ in piece.places:
            if not ticket.answer.done():
                ticket.answer.set_result([one or Outcome.BUFFERED for one in ticket.outcomes])

    def _settle(self, piece: _Piece, reply: Reply) -> None:
        """A call was answered: each of its increments has an outcome."""
        self._learn(piece.call, reply)
        if reply.state == "moved":
            self._moved(piece)
        elif not reply.refused:
            self._end(piece.places, Outcome.ACCEPTED)
        else:
            for index, place in enumerate(piece.places):
                self._end([place], _REFUSED.get(reply.refused.get(index, ""), Outcome.ACCEPTED))

    def _end(self, places: Sequence[tuple[_Ticket, int]], outcome: Outcome) -> None:
        """Increments have an outcome, and whoever has all of theirs is told."""
        for ticket, index in places:
            ticket.outcomes[index] = outcome
            ticket.left -= 1
            if not ticket.left and not ticket.answer.done():
                ticket.answer.set_result([one or Outcome.BUFFERED for one in ticket.outcomes])
        with self._lock:
            self._waiting -= len(places)
            self.figures.waiting = self._waiting
            if outcome is Outcome.BUFFERED:
                self.figures.uncertain += len(places)
            else:
                setattr(self.figures, outcome.value, getattr(self.figures, outcome.value) + len(places))

    def _moved(self, piece: _Piece) -> None:
        """The epoch of a call has ended. Where it may have been made, only what has an id is sent again: the id tells."""
        pairs = list(zip(piece.places, piece.adds, strict=True))
        gone = [place for place, add in pairs if piece.is_uncertain and not add.id]
        again = [(place, add) for place, add in pairs if not piece.is_uncertain or add.id]
        if gone:
            self._complain(
                "uncertain",
                f"{len(gone)} increments were sent to the live store {self.live.address} when it ended, and may not be in it",
            )
            self._end(gone, Outcome.BUFFERED)
        if again:
            fresh = self._piece((piece.call.counter, piece.call.shard))
            fresh.adds += [add for _, add in again]
            fresh.places += [place for place, _ in again]
            self._again.append(fresh)

    def _learn(self, call: Call, reply: Reply) -> None:
        """The epoch and tallies that an answer tells; where the epoch is another one, what was seen of the old one is told."""
        known = self._shards[call.counter, call.shard]
        if known.epoch and known.epoch != reply.epoch and known.tallies:
            try:
                self.live.tell_seen(call.counter, call.shard, known.epoch, known.tallies)
            except DayfoldError:
                # It is told with the next answer.
                return
            known.tallies = {}
        if known.epoch != reply.epoch or reply.tallies.get(ADDS, 0) >= known.tallies.get(ADDS, 0):
            known.epoch, known.tallies = reply.epoch, reply.tallies

    def _note(self, failed: Exception | None) -> None:
        if failed is None:
            if self._down:
                _log.info("The live store %s answers again", self.live.address, extra={"action": "live-store-up"})
            self._down, self.figures.failing = False, ""
            return
        self._down = True
        reason = failed.message if isinstance(failed, DayfoldError) else type(failed).__name__
        self.figures.failing = f"the live store does not answer ({reason})"
        self._complain("live-store-down", f"the live store {self.live.address} does not take increments: {reason}")

    def _complain(self, action: str, text: str) -> None:
        """A line in the log, and not again at once."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_S
            _log.error(text, extra={"action": action})
