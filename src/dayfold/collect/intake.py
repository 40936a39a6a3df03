"""Takes events in: from a door's thread into the journal and the log, many at once, in threads of its own. Collect floor.

Where the store is a file of this process, what is offered is written to a journal, and is safe then; the log takes it a moment later,
in larger transactions. Elsewhere what is offered is safe once the log's transaction has committed, and many share one.

Invariant: a ticket is settled without an error only when its events are durable. What was journaled reaches the log exactly once,
whenever the process ends: the log keeps how far it has taken the journal in the transaction that takes it.
"""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from dayfold.collect.event import Event
from dayfold.collect.journal import Journal
from dayfold.collect.reading import new_id
from dayfold.collect.writing import as_batch
from dayfold.define.types import Type
from dayfold.engines.base import Session
from dayfold.errors import Busy, ConnectionFailed, DayfoldError, StoreError
from dayfold.ledger import events as log
from dayfold.ledger import intake as counts
from dayfold.ledger import quarantine
from dayfold.ledger.events import Appended, Outcome
from dayfold.ledger.ledger import Ledger

#: Events that one transaction of the log takes at most.
_MOST_EVENTS = 20_000
#: How long the log waits for more, where a journal has them already: so many times as long as it took to write, within bounds. A
#: transaction costs much whatever it holds, so that it never takes more than about a tenth of the time.
_GATHER, _GATHER_S, _GATHER_MOST_S = 10, 0.1, 1.0
#: And while somebody looks on, at most so long.
_GATHER_WATCHED_S = 0.25
#: The waits after the log refused: the first, and the longest.
_BACKOFF_S, _BACKOFF_MOST_S = 0.2, 10.0
_WORDS = {Outcome.ACCEPTED: "accepted", Outcome.REPEATED: "repeated", Outcome.CONFLICT: "conflict"}
_log = logging.getLogger("dayfold.collect")


class Held(msgspec.Struct, omit_defaults=True, gc=False):
    """An event that goes to quarantine, and why."""

    id: str
    reason: str
    detail: str
    event: Event


class Record(msgspec.Struct, omit_defaults=True, gc=False):
    """What one request brought, as it is journaled.

    Attributes:
        entities: The names of the columns that the events have values for.
        counts: What became of those that are not kept, by outcome.
        released: Ids of held events that these were, and that are not held any more once they are in the log.
    """

    entities: tuple[str, ...]
    events: list[Event] = []
    held: list[Held] = []
    counts: dict[str, int] = {}
    released: list[str] = []


class Attribution(Protocol):
    """Knows the visitors: what brought them, and where their sessions begin."""

    def fill(self, events: list[Event]) -> None:
        """Complete events before they are written; again where writing has to be tried again."""
        ...

    def write(self, session: Session) -> None:
        """What was learnt is written with them."""
        ...

    def kept(self) -> None:
        """They are written."""
        ...

    def dropped(self) -> None:
        """They are not."""
        ...

    def forget(self) -> None:
        """What is kept in memory may be another in the store by now."""
        ...


class Onlooker(Protocol):
    """Wants to see events once they are in the log."""

    @property
    def is_watching(self) -> bool:
        """Whether it wants them now; asked in a thread of the intake's, for each transaction."""
        ...

    def see(self, names: tuple[str, ...], events: Sequence[Event]) -> None:
        """These are in the log now, each for the first time, with values for the columns of these names; returns at once."""
        ...


@dataclass(slots=True, eq=False)
class Ticket:
    """Events on their way, of one request.

    Attributes:
        waits: Whether its owner waits until they are in the log, and not only until they are safe.
        outcomes: What became of each event, once it is in the log.
        waiter: Whatever the door waits with.
    """

    record: Record
    size: int
    waits: bool = False
    number: int = 0
    error: DayfoldError | None = None
    outcomes: list[Outcome] | None = None
    waiter: Any = None


@dataclass(slots=True)
class Figures:
    """What was taken in since the process began, by outcome, and what waits."""

    totals: collections.Counter[str] = field(default_factory=collections.Counter)
    waiting_events: int = 0
    waiting_bytes: int = 0
    written_at: float = 0.0
    failing: str = ""


class Intake:
    """Takes events of one application in.

    Args:
        ledger: Of the store that the log stands in.
        entities: The declared columns, which the log has.
        again: Completes the columns of events that were read under other definitions.
        journal: Where events are safe before the log has them; None: only the log makes them safe.
        attribution: Knows the visitors.
        most_bytes: What may wait; more is refused until the log has taken some.
        tell: Called with the tickets that are settled, in a thread of the intake's.
        onlooker: Sees the events that are new in the log.
    """

    def __init__(
        self,
        ledger: Ledger,
        entities: Mapping[str, Type],
        again: Callable[[Event], tuple[Any, ...]],
        *,
        journal: Journal | None = None,
        attribution: Attribution | None = None,
        most_bytes: int = 64_000_000,
        tell: Callable[[list[Ticket]], None] = lambda tickets: None,
        onlooker: Onlooker | None = None,
    ) -> None:
        self.ledger = ledger
        self.entities = dict(entities)
        self.again = again
        self.journal = journal
        self.attribution = attribution
        self.most_bytes = most_bytes
        self.tell = tell
        self.onlooker = onlooker
        self.figures = Figures()
        #: Tells this process's counts from those of any other, so that they do not wait for each other.
        self.name = secrets.token_hex(4)
        self._encoder = msgspec.msgpack.Encoder()
        # One lock, and one thing to wait for each: whoever offers an event wakes nobody who waits for another.
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)
        self._made_safe = threading.Condition(self._lock)
        self._ended = threading.Condition(self._lock)
        self._noted: collections.Counter[str] = collections.Counter()
        self._commits = threading.Lock()
        self._fresh: collections.deque[Ticket] = collections.deque()
        self._safe: collections.deque[Ticket] = collections.deque()
        self._safe_events = 0
        self._offered = self._finished = self._position = 0
        self._hurry = 0
        self._ends = False
        self._ends_at = math.inf
        self._threads: list[threading.Thread] = []

    def use(self, entities: Mapping[str, Type], again: Callable[[Event], tuple[Any, ...]]) -> None:
        """The definitions declare these columns from now on, and the log has them."""
        self.again = again
        self.entities = dict(entities)

    # -- the door's side -------------------------------------------------------------------------

    def start(self) -> None:
        """What an earlier process left in the journal reaches the log, and events are taken from now on."""
        self.recover()
        works = [self._journal_all, self._write_all] if self.journal is not None else [self._write_all]
        for work in works:
            thread = threading.Thread(target=work, name="dayfold-intake", daemon=True)
            thread.start()
            self._threads.append(thread)

    def has_room(self, size: int) -> bool:
        """Whether a ticket of so many bytes would be taken."""
        waiting = self.figures.waiting_bytes
        return not waiting or waiting + size <= self.most_bytes

    def offer(self, ticket: Ticket) -> None:
        """Take a ticket, or raise Busy: it is settled through `tell`."""
        with self._lock:
            if self._ends:
                raise Busy("The collector is ending.", hint="Send it again.")
            if not self.has_room(ticket.size):
                raise Busy("More events wait than there is room for.", hint="Send them again a little later.")
            self.figures.waiting_bytes += ticket.size
            self.figures.waiting_events += len(ticket.record.events)
            if ticket.waits:
                self._hurry += 1
                self._made_safe.notify()
            self._offered += 1
            self._fresh.append(ticket)
            self._came.notify()

    def note(self, outcome: str, events: int) -> None:
        """So many events of this outcome are not kept, and are counted with what is written next, half a second later at most."""
        with self._lock:
            self._noted[outcome] += events

    def _offer_noted(self) -> None:
        """What was noted is on its way; the lock is held."""
        if self._noted:
            self._fresh.append(Ticket(Record(tuple(self.entities), counts=dict(self._noted)), 0))
            self._offered += 1
            self._noted.clear()

    def settle(self, timeout: float = 60) -> None:
        """All that was offered before is in the log, and nothing of it stands in the journal. Raises Busy."""
        until = time.monotonic() + timeout
        with self._lock:
            self._offer_noted()
            offered = self._offered
            self._wait_for(lambda: self._finished >= offered, until)
        if self.journal is not None:
            last = self.journal.roll()
            with self._lock:
                self._wait_for(lambda: self._position >= last, until)
            self.journal.done(last)

    def _wait_for(self, is_done: Callable[[], bool], until: float) -> None:
        self._hurry += 1
        self._came.notify()
        self._made_safe.notify()
        try:
            while not is_done():
                if time.monotonic() >= until or not self._threads:
                    reason = self.figures.failing or "it is slower than they come"
                    raise Busy(f"Events wait for the log: {reason}.", hint="Try again once it takes them.")
                self._ended.wait(min(0.5, max(0.0, until - time.monotonic())))
        finally:
            self._hurry -= 1

    def stop(self, timeout: float = 10) -> None:
        """No more is taken; what was taken reaches the log within the time, or stays in the journal."""
        with self._lock:
            self._offer_noted()
            self._ends = True
            self._ends_at = time.monotonic() + timeout
            self._came.notify()
            self._made_safe.notify()
        for one in self._threads:
            # It ends between two transactions, and nobody may take the store away from under one.
            one.join()
        self._threads.clear()
        with self._lock:
            left = [*self._fresh]
            self._fresh.clear()
        for ticket in left:
            ticket.error = Busy("The collector is ending.", hint="Send it again.")
        self._tell(left)
        if self.journal is not None:
            self.journal.close()
            with contextlib.suppress(DayfoldError, OSError):
                self.journal.done(self._position)

    def take_now(self, ticket: Ticket) -> None:
        """A ticket's events are in the log, without the threads and past the journal: for a process that only brings some."""
        self._take([ticket])

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is written to the log; afterwards what is known of visitors is looked up again."""
        with self._commits:
            try:
                yield
            finally:
                if self.attribution is not None:
                    self.attribution.forget()

    def forget(self) -> None:
        """What is known of visitors is looked up again."""
        with self.paused():
            pass

    # -- the journal's side ----------------------------------------------------------------------

    def recover(self) -> int:
        """What was journaled and not taken is in the log now; how many events."""
        if self.journal is None:
            return 0
        taken = self._position = counts_of(self.ledger, self.journal)
        decode = msgspec.msgpack.Decoder(Record).decode
        found = 0
        waiting: list[Ticket] = []
        for number, data in self.journal.records(taken):
            ticket = Ticket(decode(data), len(data), number=number)
            waiting.append(ticket)
            found += len(ticket.record.events)
            if sum(len(one.record.events) for one in waiting) >= _MOST_EVENTS:
                self._take(waiting)
                waiting = []
        if waiting:
            self._take(waiting)
        self.journal.done(self.journal.last)
        return found

    def _journal_all(self) -> None:
        """Make safe whatever is offered, all that waits at once."""
        assert self.journal is not None
        while (tickets := self._next(self._fresh)) is not None:
            error: DayfoldError | None = None
            try:
                last = self.journal.append([self._encoder.encode(one.record) for one in tickets])
            except DayfoldError as refused:
                error = refused
                _log.exception("events could not be journaled")
            except Exception as refused:  # a mistake of ours must not end the thread that everybody waits for
                error = StoreError(f"The events could not be journaled ({type(refused).__name__}).")
                _log.exception("events could not be journaled")
            with self._lock:
                if error is None:
                    for place, one in enumerate(tickets):
                        one.number = last - len(tickets) + 1 + place
                    is_first = not self._safe
                    self._safe.extend(tickets)
                    self._safe_events += sum(len(one.record.events) for one in tickets)
                    if is_first or self._hurry or self._safe_events >= _MOST_EVENTS:
                        self._made_safe.notify()
                else:
                    self._forget(tickets)
                    self._ended.notify_all()
            for one in tickets:
                one.error = error
            self._tell([one for one in tickets if error is not None or not one.waits])

    # -- the log's side --------------------------------------------------------------------------

    def _write_all(self) -> None:
        """Bring what is safe into the log, or what is offered where there is no journal."""
        queue = self._fresh if self.journal is None else self._safe
        pause, took = 0.0, 0.0
        while True:
            most = _GATHER_WATCHED_S if self.onlooker is not None and self.onlooker.is_watching else _GATHER_MOST_S
            gather = min(max(_GATHER * took, _GATHER_S), most) if self.journal is not None else 0.0
            tickets = self._next(queue, gather=gather, after=pause)
            if tickets is None:
                return
            error = None
            began = time.monotonic()
            try:
                self._take(tickets)
            except DayfoldError as refused:
                error = refused
            except Exception as refused:  # a mistake of ours must not end the thread that everybody waits for
                _log.exception("events could not be written")
                error = StoreError(f"The events could not be written ({type(refused).__name__}).")
            took = time.monotonic() - began
            # Where they were taken in parts, those before the one that failed are in the log.
            left = [one for one in tickets if one.outcomes is None]
            with self._lock:
                is_kept = error is not None and self.journal is not None and not self._ends
                if is_kept:
                    # They are safe: the log gets them when it takes them.
                    queue.extendleft(reversed(left))
                    self._safe_events += sum(len(one.record.events) for one in left)
                over = [one for one in tickets if one.outcomes is not None] if is_kept else tickets
                self._forget(over)
                self._ended.notify_all()
            if error is None:
                pause = 0.0
                if self.figures.failing:
                    _log.warning("events are written again")
                    self.figures.failing = ""
            else:
                pause = min(max(pause * 2, _BACKOFF_S), _BACKOFF_MOST_S) if self.journal is not None else 0.0
                if error.message != self.figures.failing:
                    _log.warning("events are not written: %s", error.message)
                    self.figures.failing = error.message
            # With a journal, whoever does not wait for the log was told when their events were safe.
            told = [one for one in over if self.journal is None or one.waits]
            for one in told:
                one.error = error if one.outcomes is None else None
            self._tell(told)

    def _next(
        self, queue: collections.deque[Ticket], *, gather: float = 0.0, after: float = 0.0
    ) -> list[Ticket] | None:
        """What waits in a queue, at least one ticket; None at the end."""
        came = self._came if queue is self._fresh else self._made_safe
        with self._lock:
            if time.monotonic() >= self._ends_at:
                return None
            if queue is self._fresh:
                self._offer_noted()
            while not queue:
                if self._ends and (queue is self._fresh or self._finished == self._offered):
                    return None
                if time.monotonic() >= self._ends_at:
                    return None
                came.wait(0.5)
                if queue is self._fresh:
                    self._offer_noted()
            wait = after or (0.0 if self._hurry else gather)
            until = time.monotonic() + wait
            while (left := until - time.monotonic()) > 0 and not self._ends:
                if not after and (self._hurry or self._safe_events >= _MOST_EVENTS):
                    break
                came.wait(left)
            if after and self._ends:
                return None
            found: list[Ticket] = []
            events = 0
            while queue and (not found or events + len(queue[0].record.events) <= _MOST_EVENTS):
                found.append(queue.popleft())
                events += len(found[-1].record.events)
            if queue is self._safe:
                self._safe_events -= events
            return found

    def _forget(self, tickets: Sequence[Ticket]) -> None:
        self._finished += len(tickets)
        for one in tickets:
            self.figures.waiting_bytes -= one.size
            self.figures.waiting_events -= len(one.record.events)
            if one.waits:
                self._hurry -= 1

    def _tell(self, tickets: list[Ticket]) -> None:
        if tickets:
            self.tell(tickets)

    def _take(self, tickets: Sequence[Ticket]) -> None:
        """Tickets' events are in the log, with all that goes with them; one that the store does not take is held apart."""
        try:
            self._commit(tickets)
        except (ConnectionFailed, Busy):
            raise
        except Exception as error:
            if not isinstance(error, DayfoldError):
                # A mistake of ours about one event must not keep all others out for good.
                _log.exception("events could not be written")
            if len(tickets) == 1 and len(tickets[0].record.events) <= 1:
                if not tickets[0].record.events:
                    raise
                self._set_apart(tickets[0])
                return
            parts = list(_halves(tickets))
            for one in parts:
                self._take(one)
            if len(tickets) == 1:
                tickets[0].outcomes = [outcome for [part] in parts for outcome in part.outcomes or ()]

    def _set_apart(self, ticket: Ticket) -> None:
        """An event that the store does not take goes to quarantine; where that is refused too, the store takes nothing."""
        [event] = ticket.record.events
        held = Held(new_id(event.received_at), quarantine.REFUSED, "The store does not take it.", event)
        record = ticket.record
        apart = Record(record.entities, [], [*record.held, held], record.counts, record.released)
        self._commit([Ticket(apart, ticket.size, number=ticket.number)])
        ticket.outcomes = [Outcome.CONFLICT]

    def _commit(self, tickets: Sequence[Ticket]) -> None:
        with self._commits:
            self._commit_all(tickets)

    def _commit_all(self, tickets: Sequence[Ticket]) -> None:
        entities = self.entities
        names = tuple(entities)
        events: list[Event] = []
        for one in tickets:
            if one.record.entities != names:
                self._read_again(one.record, names)
            events += one.record.events
        number = max((one.number for one in tickets), default=0)
        try:
            if self.attribution is not None:
                self.attribution.fill(events)
            found = log.append(
                self.ledger,
                as_batch(events, entities),
                entities,
                lambda session, outcomes: self._also(session, tickets, events, outcomes, number),
            )
        except BaseException:
            if self.attribution is not None:
                self.attribution.dropped()
            raise
        if self.attribution is not None:
            self.attribution.kept()
        place = 0
        for one in tickets:
            one.outcomes = found.outcomes[place : place + len(one.record.events)]
            place += len(one.record.events)
        self._count(tickets, found)
        if self.journal is not None and number:
            with self._lock:
                self._position = max(self._position, number)
            self.journal.done(number)
        if self.onlooker is not None and self.onlooker.is_watching:
            new = zip(events, found.outcomes, strict=True)
            self.onlooker.see(names, [event for event, outcome in new if outcome is Outcome.ACCEPTED])

    def _also(
        self, session: Session, tickets: Sequence[Ticket], events: Sequence[Event], found: Appended, number: int
    ) -> None:
        """What goes with the events into their transaction."""
        if self.attribution is not None:
            self.attribution.write(session)
        held = [one for ticket in tickets for one in ticket.record.held]
        if found.count(Outcome.CONFLICT):
            held += [
                Held(new_id(event.received_at), quarantine.CONFLICT, "Another event has its id.", event)
                for event, outcome in zip(events, found.outcomes, strict=True)
                if outcome is Outcome.CONFLICT
            ]
        if held:
            session.append(quarantine.TABLE, quarantine.COLUMNS, _held_rows(held))
        for one in tickets:
            quarantine.release(self.ledger, session, one.record.released)
        day = dt.datetime.fromtimestamp(self.ledger.clock.now().timestamp(), dt.UTC).date()
        counts.count(self.ledger, session, self.name, day, self._outcomes(tickets, found))
        if self.journal is not None and number:
            counts.move(self.ledger, session, self.journal.name, number)

    def _outcomes(self, tickets: Sequence[Ticket], found: Appended) -> collections.Counter[str]:
        totals = collections.Counter({word: found.count(outcome) for outcome, word in _WORDS.items()})
        for one in tickets:
            totals.update(one.record.counts)
            totals["quarantined"] += len(one.record.held)
        return totals

    def _count(self, tickets: Sequence[Ticket], found: Appended) -> None:
        with self._lock:
            self.figures.totals.update(self._outcomes(tickets, found))
            self.figures.written_at = time.time()

    def _read_again(self, record: Record, names: tuple[str, ...]) -> None:
        """The events of a record have the columns of the present definitions."""
        kept = []
        for event in record.events:
            try:
                event.props = msgspec.json.decode(event.properties)
                event.entities = self.again(event)
                kept.append(event)
            except Exception as error:  # whatever it is, the event is kept where somebody can see it
                detail = f"It does not fit the definitions as they are now ({type(error).__name__})."
                record.held.append(Held(new_id(event.received_at), quarantine.UNDECLARED, detail, event))
            event.props = {}
        record.events = kept
        record.entities = names


def counts_of(ledger: Ledger, journal: Journal) -> int:
    """The last record of a journal that the log has taken."""
    with ledger.store.transaction(read_only=True) as session:
        return counts.position(ledger, session, journal.name)


def _halves(tickets: Sequence[Ticket]) -> Iterator[list[Ticket]]:
    """The same events in two portions, in their order; the number of a record goes with its last part."""
    if len(tickets) > 1:
        middle = len(tickets) // 2
        yield list(tickets[:middle])
        yield list(tickets[middle:])
        return
    [one] = tickets
    record, middle = one.record, len(one.record.events) // 2
    yield [Ticket(Record(record.entities, record.events[:middle]), 0)]
    yield [
        Ticket(
            Record(record.entities, record.events[middle:], record.held, record.counts, record.released),
            0,
            number=one.number,
        )
    ]


def _held_rows(held: Sequence[Held]) -> Any:
    import pyarrow as pa

    from dayfold.engines.csv import arrow_type

    encode = msgspec.json.Encoder().encode
    rows = [
        (
            one.id, one.event.id, one.reason, one.detail, one.event.event_type, one.event.trust, one.event.actor_id,
            one.event.anonymous_id, one.event.occurred_at, one.event.received_at, encode(one.event).decode(),
        )
        for one in held
    ]  # fmt: skip
    columns = {}
    for place, column in enumerate(quarantine.COLUMNS):
        values = [row[place] for row in rows]
        kind = arrow_type(column.type)
        columns[column.name] = (
            pa.array(values, pa.int64()).view(kind) if column.name.endswith("_at") else pa.array(values, kind)
        )
    return pa.table(columns)
