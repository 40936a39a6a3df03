"""Adding: what callers count goes to the live store in calls that are made together, and waits here while it is down. Counting floor.

One thread sends. Whatever callers want added while it waits for an answer goes with its next calls, so that a busy process makes few.
The calls of one shard are made one after another; a shard that does not answer keeps no other one waiting. A caller waits for the
answer, for a moment; when the live store is down nobody is kept waiting, and what was added stands in a buffer of this process, of a
bounded size. What finds no room there is lost, counted and logged.

Invariant: what was answered with `ACCEPTED` is in the live store. What is sent again is added once: by the number of its call as long as
the live store's epoch lasts, for a day at most, by its id after that.
"""

from __future__ import annotations

import logging
import os
import queue
import secrets
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field
from enum import StrEnum

from dayfold.count.live import Add, Call, LiveStore, Reply, Tallies, shard_of
from dayfold.errors import Busy, DayfoldError, Unsent
from dayfold.ledger.counted import ADDS

#: Increments in one turn of the sender: a script keeps a server from others for some 10 µs for each.
_IN_TURN = 2_000
#: Seconds between two tries while the live store is down, at first and at most.
_AGAIN_S, _AGAIN_MOST_S = 0.05, 2.0
#: Epochs that ended, of each shard, that this process tells of.
_EPOCHS = 16
#: Seconds for which the number of a call is known to be kept by the live store.
_KNOWN_S = 86_400.0
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
    """Increments that one caller waits for; ``answer`` gets the outcome of each, ``left`` have none yet.

    ``turn``: those of the same one were offered between two calls of `Adder.settle`.
    """

    adds: Sequence[Add]
    turn: int
    answer: Future[list[Outcome]] = field(default_factory=Future)
    outcomes: list[Outcome | None] = field(default_factory=list)
    left: int = 0


_Place = tuple[str, int]
_Seat = tuple[_Ticket, int]


@dataclass(slots=True)
class _Piece:
    """A call to be made, with where each of its increments came from; ``uncertain_at``: when it may have been made already."""

    call: Call
    adds: list[Add]
    seats: list[_Seat]
    uncertain_at: float | None = None

    @property
    def is_uncertain(self) -> bool:
        """Whether it may have been made already."""
        return self.uncertain_at is not None


@dataclass(slots=True)
class _Shard:
    """What is known of a shard by its answers, and its calls: the next one is made when the one before it was answered.

    ``ended``: the tallies that were seen last of epochs before this one.
    """

    place: _Place
    calls: int = 0
    epoch: str = ""
    tallies: Tallies = field(default_factory=dict)
    ended: dict[str, Tallies] = field(default_factory=dict)
    line: deque[_Piece] = field(default_factory=deque)
    pause_s: float = _AGAIN_S
    next_at: float = 0.0


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
        self._begin()
        # A process that was forked has neither the thread nor the numbers of the one before; what waited there is sent there.
        begin = weakref.WeakMethod(self._begin)
        os.register_at_fork(after_in_child=lambda: (found := begin()) and found())

    def _begin(self) -> None:
        """Nothing was sent yet by this process."""
        self.figures = Figures()
        self._client = secrets.token_hex(8)
        self._queue: queue.SimpleQueue[_Ticket | None] = queue.SimpleQueue()
        self._waiting = 0
        self._turn = 0
        #: How many increments of each turn have no outcome yet.
        self._unsettled: dict[int, int] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._shards: dict[_Place, _Shard] = {}
        #: Shards that did not answer when they were asked last. Replaced, never changed.
        self._failing: frozenset[_Place] = frozenset()
        self._busy: set[_Place] = set()
        #: Runs of servers, which epochs begin with; whether there is one that not every shard was asked of.
        self._runs: set[str] = set()
        self._has_begun_anew = False
        self._quiet_until = 0.0

    # -- callers ---------------------------------------------------------------------------------

    def offer(self, adds: Sequence[Add]) -> Future[list[Outcome]]:
        """Have increments sent; the future gets the outcome of each, as soon as that is known.

        Raises:
            Busy: where there is no room and the settings say so.
        """
        if not adds:
            return _done([])
        with self._changed:
            if self._waiting + len(adds) > self.most_waiting:
                self._refuse(len(adds))
                return _done([Outcome.LOST] * len(adds))
            self._waiting += len(adds)
            self._unsettled[self._turn] = self._unsettled.get(self._turn, 0) + len(adds)
            self.figures.waiting = self._waiting
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dayfold-adder", daemon=True)
                self._thread.start()
            ticket = _Ticket(adds, self._turn, outcomes=[None] * len(adds), left=len(adds))
        # Whoever waits may go away, and does not take it back by that.
        ticket.answer.set_running_or_notify_cancel()
        is_down = self._is_down(adds)
        self._queue.put(ticket)
        if is_down:
            # Nobody waits for a store that is known to be down; the thread goes on trying.
            return _done([Outcome.BUFFERED] * len(adds))
        return ticket.answer

    def _is_down(self, adds: Sequence[Add]) -> bool:
        failing = self._failing
        if not failing or self.live.is_one:
            return bool(failing)
        return any((add.counter, shard_of(add.key, self.live.shards)) in failing for add in adds)

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
        """All that was offered before has an outcome, whatever is offered meanwhile. Raises Busy where it has not in time."""
        ends_at = time.monotonic() + timeout_s
        with self._changed:
            mine = self._turn
            self._turn += 1
            while left := sum(adds for turn, adds in self._unsettled.items() if turn <= mine):
                if not self._changed.wait(ends_at - time.monotonic()) and time.monotonic() >= ends_at:
                    raise Busy(
                        f"{left:,} increments wait for the live store {self.live.address}.",
                        hint=self.figures.failing or "Try again in a while.",
                    )

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
        self._queue.put(None)
        thread.join(timeout_s)
        self._thread = None

    # -- the sender ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            tickets = self._taken(self._idle_s())
            if tickets is None:
                return
            self._line_up(tickets)
            now = time.monotonic()
            due = [one for one in (self._shards[place] for place in self._busy) if one.next_at <= now]
            # Those that answer first: the others may take their time.
            due.sort(key=lambda one: one.place in self._failing)
            if due:
                self._send(due)

    def _idle_s(self) -> float | None:
        """How long there is nothing to do but for new tickets."""
        if not self._busy:
            return None
        return max(min(self._shards[place].next_at for place in self._busy) - time.monotonic(), 0.0)

    def _taken(self, wait_s: float | None) -> list[_Ticket] | None:
        """The next tickets, of all that are there; None: the end."""
        found: list[_Ticket] = []
        size = 0
        while size < _IN_TURN:
            try:
                one = self._queue.get(timeout=wait_s) if wait_s is None or wait_s > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if one is None:
                if found:
                    self._queue.put(None)
                    break
                return None
            found.append(one)
            size += len(one.adds)
            wait_s = 0.0
        return found

    def _line_up(self, tickets: Sequence[_Ticket]) -> None:
        """These increments stand in the calls of their shards. A call that may have been made already does not change any more."""
        shards = self.live.shards
        for ticket in tickets:
            for index, add in enumerate(ticket.adds):
                place = (add.counter, shard_of(add.key, shards))
                shard = self._shards.get(place)
                if shard is None:
                    shard = self._shards[place] = _Shard(place)
                if not shard.line:
                    self._busy.add(place)
                piece = shard.line[-1] if shard.line else None
                if piece is None or piece.is_uncertain or len(piece.adds) >= _IN_TURN:
                    adds: list[Add] = []
                    piece = _Piece(Call(*place, 0, adds), adds, [])
                    shard.line.append(piece)
                piece.adds.append(add)
                piece.seats.append((ticket, index))

    def _send(self, shards: Sequence[_Shard]) -> None:
        """Make the next call of each of these shards; one that failed stays the next."""
        # The epoch is known before anything is added in it, so that nothing is added again in another one.
        failed = self._greet([one for one in shards if not one.epoch])
        for shard in shards:
            since = shard.line[0].uncertain_at
            if since is not None and time.monotonic() - since > _KNOWN_S:
                self._move(shard, shard.line[0])
        pieces = [one.line[0] for one in shards if one.place not in failed and one.line]
        for piece in pieces:
            shard = self._shards[piece.call.counter, piece.call.shard]
            if not piece.is_uncertain:
                piece.call.epoch = shard.epoch
            if not piece.call.number:
                shard.calls += 1
                piece.call.number = shard.calls
        for piece, reply in zip(pieces, self._replies([one.call for one in pieces]), strict=True):
            place = (piece.call.counter, piece.call.shard)
            if isinstance(reply, Exception):
                failed[place] = reply
                if not isinstance(reply, Unsent) and not piece.is_uncertain:
                    piece.uncertain_at = time.monotonic()
            else:
                self._settle(self._shards[place], piece, reply)
        self._note([one.place for one in shards], failed)
        if self._has_begun_anew:
            # What was seen of all the other shards is told, whether anything is added to them or not.
            self._has_begun_anew = False
            self._greet([one for one in self._shards.values() if one.epoch and one.place not in failed])

    def _replies(self, calls: Sequence[Call]) -> list[Reply | Exception]:
        try:
            return self.live.send(self._client, calls) if calls else []
        except Exception as error:  # whatever it is, what waits must not be forgotten
            return [error] * len(calls)

    def _greet(self, shards: Sequence[_Shard]) -> dict[_Place, Exception]:
        """The epochs of shards are known; or why they are not."""
        calls = [Call(*one.place, 0, []) for one in shards]
        failed: dict[_Place, Exception] = {}
        for shard, reply in zip(shards, self._replies(calls), strict=True):
            if isinstance(reply, Exception):
                failed[shard.place] = reply
            else:
                self._learn(shard, reply)
        return failed

    def _settle(self, shard: _Shard, piece: _Piece, reply: Reply) -> None:
        """A call was answered: each of its increments has an outcome."""
        self._learn(shard, reply)
        if reply.state == "moved":
            self._move(shard, piece)
            return
        shard.line.popleft()
        if not shard.line:
            self._busy.discard(shard.place)
        if not reply.refused:
            self._end(piece.seats, Outcome.ACCEPTED)
        else:
            for index, seat in enumerate(piece.seats):
                self._end([seat], _REFUSED.get(reply.refused.get(index, ""), Outcome.ACCEPTED))

    def _end(self, seats: Sequence[_Seat], outcome: Outcome) -> None:
        """Increments have an outcome, and whoever has all of theirs is told."""
        for ticket, index in seats:
            ticket.outcomes[index] = outcome
            ticket.left -= 1
            if not ticket.left:
                _answer(ticket)
        with self._changed:
            self._waiting -= len(seats)
            self.figures.waiting = self._waiting
            for ticket, _ in seats:
                self._unsettled[ticket.turn] -= 1
                if not self._unsettled[ticket.turn]:
                    del self._unsettled[ticket.turn]
                    self._changed.notify_all()
            if outcome is Outcome.BUFFERED:
                self.figures.uncertain += len(seats)
            else:
                setattr(self.figures, outcome.value, getattr(self.figures, outcome.value) + len(seats))

    def _move(self, shard: _Shard, piece: _Piece) -> None:
        """The epoch of a call has ended, or its number is forgotten. Where it may have been made, only what has an id is sent again."""
        pairs = list(zip(piece.seats, piece.adds, strict=True))
        gone = [seat for seat, add in pairs if piece.is_uncertain and not add.id]
        again = [(seat, add) for seat, add in pairs if not piece.is_uncertain or add.id]
        shard.line.popleft()
        if again:
            adds = [add for _, add in again]
            shard.line.appendleft(_Piece(Call(*shard.place, 0, adds), adds, [seat for seat, _ in again]))
        if not shard.line:
            self._busy.discard(shard.place)
        if gone:
            self._complain(
                "uncertain",
                f"{len(gone)} increments were sent to the live store {self.live.address}, which gave no answer, and may not be in it",
            )
            self._end(gone, Outcome.BUFFERED)

    def _learn(self, shard: _Shard, reply: Reply) -> None:
        """The epoch and tallies that an answer tells; where the epoch is another one, what was seen of the old one is told."""
        if shard.epoch and shard.epoch != reply.epoch:
            if shard.tallies:
                shard.ended[shard.epoch] = shard.tallies
            try:
                # Those before it as well: who was told of them may have lost it since, before it was taken note of.
                for epoch, tallies in shard.ended.items():
                    self.live.tell_seen(*shard.place, epoch, tallies)
            except DayfoldError:
                # It is told with the next answer.
                return
            shard.tallies = {}
            while len(shard.ended) > _EPOCHS:
                del shard.ended[next(iter(shard.ended))]
        run = reply.epoch.partition("-")[0]
        if run not in self._runs:
            self._runs.add(run)
            self._has_begun_anew = True
        if shard.epoch != reply.epoch or reply.tallies.get(ADDS, 0) >= shard.tallies.get(ADDS, 0):
            shard.epoch, shard.tallies = reply.epoch, reply.tallies

    def _note(self, asked: Iterable[_Place], failed: dict[_Place, Exception]) -> None:
        """Which shards answer; whoever waits for one that does not waits no more."""
        now = time.monotonic()
        answered = [one for one in asked if one not in failed]
        recovered = self._failing.intersection(answered)
        for place in answered:
            self._shards[place].pause_s, self._shards[place].next_at = _AGAIN_S, 0.0
        for place, error in failed.items():
            shard = self._shards[place]
            shard.next_at = now + shard.pause_s
            shard.pause_s = min(2 * shard.pause_s, _AGAIN_MOST_S)
            for piece in shard.line:
                for ticket, _ in piece.seats:
                    _answer(ticket)
            reason = error.message if isinstance(error, DayfoldError) else type(error).__name__
            self.figures.failing = f"the live store does not answer ({reason})"
            self._complain("live-store-down", f"the live store {self.live.address} does not take increments: {reason}")
        if failed or recovered:
            self._failing = self._failing.difference(answered).union(failed)
        if recovered:
            for place in self._failing:
                self._shards[place].next_at = 0.0
        if recovered and not self._failing:
            self.figures.failing = ""
            _log.info("The live store %s answers again", self.live.address, extra={"action": "live-store-up"})

    def _complain(self, action: str, text: str) -> None:
        """A line in the log, and not again at once."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_S
            _log.error(text, extra={"action": action})


def _answer(ticket: _Ticket) -> None:
    """Whoever waits for a ticket has the outcomes that are known; the others are buffered."""
    if not ticket.answer.done():
        ticket.answer.set_result([one or Outcome.BUFFERED for one in ticket.outcomes])


def _done(outcomes: list[Outcome]) -> Future[list[Outcome]]:
    found: Future[list[Outcome]] = Future()
    found.set_result(outcomes)
    return found
