"""Who looks on while events come in: hands what is new in the log to every open stream. HTTP door.

Invariant: an event is handed out after the transaction that wrote it has committed, never before. Whoever sends events waits for no
stream: one that cannot keep up is dropped, and told how much it missed.

Weakness: a stream shows what its own process writes; what other processes of a store write is in the log, and in no stream here.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import datetime as dt
from collections.abc import Hashable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from dayfold.collect.event import Event
from dayfold.define.events import COLUMNS
from dayfold.define.types import Kind
from dayfold.errors import TooMany
from dayfold.http.formats import encoded
from dayfold.plan.event_sieve import Sieve, redact

#: Streams of one process, and of one caller.
MOST_STREAMS, MOST_OF_ONE = 100, 20
#: Events that wait for a browser, and those that one message holds.
MOST_WAITING, MOST_AT_ONCE = 5_000, 500
#: How long a stream that was dropped, or that ends, may take to hear of it before it is cut off.
_DROPPED_S, _ENDING_S = 30.0, 3.0
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_columns = attrgetter(*COLUMNS)
_MOMENTS = tuple(name for name, type_ in COLUMNS.items() if type_.kind is Kind.TIMESTAMPTZ)


class Arrived:
    """An event that is new in the log, and its texts, which are written once however many look on."""

    __slots__ = ("_texts", "event", "names")

    def __init__(self, names: tuple[str, ...], event: Event) -> None:
        self.names = names
        self.event = event
        self._texts: dict[bool, bytes] = {}

    def value(self, name: str) -> object:
        """What it has in a column; None where it does not have that."""
        if name in COLUMNS:
            found: object = getattr(self.event, name)
            return found
        return self.event.entities[self.names.index(name)] if name in self.names else None

    def text(self, *, personal: bool) -> bytes:
        """The event in JSON, as the routes that read events show it."""
        found = self._texts.get(personal)
        if found is None:
            found = self._texts[personal] = self._written(personal)
        return found

    def _written(self, personal: bool) -> bytes:
        event = self.event
        row: dict[str, Any] = dict(zip(COLUMNS, _columns(event), strict=True))
        row |= zip(self.names, event.entities, strict=True)
        for name in _MOMENTS:
            if row[name] is not None:
                row[name] = _EPOCH + dt.timedelta(microseconds=row[name])
        row["properties"] = msgspec.Raw(event.properties.encode())
        if not personal:
            redact(row)
        return encoded(row)


class Stream:
    """What waits for one browser. Used on the event loop only.

    Attributes:
        missed: Events that it was too slow for; once there are some, it gets no more.
        is_over: Whether it has to end, because the process does.
        is_gone: Whether nobody reads it any more.
    """

    def __init__(self, owner: Hashable, sieve: Sieve, *, personal: bool) -> None:
        self.owner = owner
        self.sieve = sieve
        self.personal = personal
        self.missed = 0
        self.is_over = False
        self.is_gone = False
        #: Cuts off whoever does not read.
        self.patience: asyncio.Timeout | None = None
        self._waiting: collections.deque[Arrived] = collections.deque()
        self._came = asyncio.Event()

    def offer(self, arrived: Sequence[Arrived]) -> None:
        """Some events are new; those that go through the sieve wait."""
        mine = [one for one in arrived if self.sieve.lets(one.value)] if self.sieve.tests else arrived
        if not mine or not self.sieve.is_open:
            return
        if self.missed or len(self._waiting) + len(mine) > MOST_WAITING:
            if not self.missed:
                self._cut_off_in(_DROPPED_S)
            self.missed += len(self._waiting) + len(mine)
            self._waiting.clear()
        else:
            self._waiting.extend(mine)
        self._came.set()

    def take(self) -> list[bytes]:
        """Some of what waits, the oldest first."""
        waiting = self._waiting
        found = [waiting.popleft().text(personal=self.personal) for _ in range(min(len(waiting), MOST_AT_ONCE))]
        if not waiting:
            self._came.clear()
        return found

    async def wait(self, seconds: float) -> None:
        """Until there is something to do, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._came.wait()

    def leave(self) -> None:
        """Nobody reads it any more."""
        self.is_gone = True
        self._came.set()

    def end(self) -> None:
        """It has to end."""
        self.is_over = True
        self._cut_off_in(_ENDING_S)
        self._came.set()

    def _cut_off_in(self, seconds: float) -> None:
        if self.patience is not None:
            self.patience.reschedule(asyncio.get_running_loop().time() + seconds)


class Streams:
    """The open streams of one process."""

    def __init__(self) -> None:
        self._open: set[Stream] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = False
        #: Streams that were dropped since the process began, and what these missed.
        self.dropped = self.missed = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_watching(self) -> bool:
        """Whether anybody looks on."""
        return bool(self._open)

    def see(self, names: tuple[str, ...], events: Sequence[Event]) -> None:
        """These events are in the log; called in a thread that writes it."""
        if self._open and events:
            self._soon(self._spread, names, events)

    def end(self) -> None:
        """Every stream ends, and none begins any more; called from anywhere."""
        self._is_over = True
        self._soon(self._end_all)

    def open(self, owner: Hashable, sieve: Sieve, *, personal: bool) -> Stream:
        """A stream of one caller's; called on the event loop. Raises TooMany."""
        if len(self._open) >= MOST_STREAMS or sum(one.owner == owner for one in self._open) >= MOST_OF_ONE:
            raise TooMany(
                "Too many streams of events are open.", retry_after_s=30, hint="Close one that nobody looks at."
            )
        self._loop = asyncio.get_running_loop()
        found = Stream(owner, sieve, personal=personal)
        if self._is_over:
            found.end()
        self._open.add(found)
        return found

    def close(self, stream: Stream) -> None:
        """A stream has ended; again is harmless."""
        if stream in self._open:
            self._open.discard(stream)
            self.dropped += bool(stream.missed)
            self.missed += stream.missed

    def _soon(self, do: Any, *words: Any) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever looked on
                self._loop.call_soon_threadsafe(do, *words)

    def _spread(self, names: tuple[str, ...], events: Sequence[Event]) -> None:
        arrived = [Arrived(names, one) for one in events]
        for one in self._open:
            one.offer(arrived)

    def _end_all(self) -> None:
        for one in self._open:
            one.end()
