"""A sender of events that costs little, so that what is measured is the collector: it writes prepared bytes and counts answers."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.load.client import Target

_AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)
#: Visitors, assets and pages that the events are of.
VISITORS, ASSETS, PAGES = 20_000, 200, 300


def one(number: int, run: str) -> bytes:
    """One event, as a server sends it on for a browser."""
    return (
        b'{"id":"%s","event_type":"asset_viewed","source":"web","entity_type":"ip_asset","entity_id":"asset-%d","anonymous_id":"visitor-%d",'
        b'"session_id":"session-%d","page":"https://studio.example/assets/%d?utm_source=letter&utm_campaign=autumn",'
        b'"user_agent":"%s","properties":{"project_id":"project-%d","seconds":%d,"title":"A page of the catalogue"}}'
    ) % (
        f"{run}-{number}".encode(), number % ASSETS, number * 7919 % VISITORS, number * 7919 % VISITORS, number % PAGES,
        _AGENT.encode(), number % 20, number % 60,
    )  # fmt: skip


@dataclass(slots=True)
class Sent:
    """What came of some sending: seconds of each answer, and the events that they acknowledged."""

    events: int = 0
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    took: float = 0.0

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.took if self.took else 0.0

    def quantile(self, share: float) -> float:
        """Seconds within which a share of the answers came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class _Sender(asyncio.Protocol):
    """One connection that sends its next request as soon as it has an answer, or when it is told to."""

    def __init__(self, target: Target, sent: Sent, batch: int, make: Callable[[], bytes], until: float) -> None:
        self.target = target
        self.sent = sent
        self.batch = batch
        self.make = make
        self.until = until
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered: asyncio.Future[None] | None = None
        self._began = 0.0
        self._data = self._body = b""
        #: Told of every body that was acknowledged, and when.
        self.note: Callable[[bytes, float], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        if self.until:
            self.send()

    def send(self) -> None:
        self._body = self.make()
        self._began = time.perf_counter()
        self.transport.write(self.target.request("/v1/events", body=self._body))

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._data.endswith(b"}"):
            return
        now = time.perf_counter()
        self.sent.seconds.append(now - self._began)
        if self._data.startswith(b"HTTP/1.1 200") and b'"accepted":%d,' % self.batch in self._data:
            self.sent.events += self.batch
            if self.note is not None:
                self.note(self._body, now)
        elif len(self.sent.wrong) < 10:
            self.sent.wrong.append(self._data[:400].decode("latin-1"))
        self._data = b""
        if self.answered is not None:
            self.answered.set_result(None)
        elif now < self.until:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


async def crowd(target: Target, connections: int, seconds: float, batch: int) -> Sent:
    """As many events as can be sent over some connections, each of which waits for its answer."""
    sent, make = Sent(), _maker(batch)
    host, port, _ = target.place
    began = time.perf_counter()
    senders = []
    for _ in range(connections):
        sender = _Sender(target, sent, batch, make, began + seconds)
        await asyncio.get_running_loop().create_connection(lambda sender=sender: sender, host, port)  # type: ignore[misc]
        senders.append(sender)
    await asyncio.gather(*(one.closed for one in senders))
    sent.took = time.perf_counter() - began
    return sent


async def steady(target: Target, rate: int, seconds: float, note: Callable[[bytes, float], None] | None = None) -> Sent:
    """Single events at a steady pace, over as many connections as that needs; ``note``: told of each that was acknowledged."""
    sent, make = Sent(), _maker(1)
    host, port, _ = target.place
    free: list[_Sender] = []
    began = time.perf_counter()
    tasks = []

    async def send() -> None:
        sender = free.pop() if free else None
        # A server lets go of connections that were not used for long.
        if sender is None or sender.transport.is_closing():
            sender = _Sender(target, sent, 1, make, 0.0)
            await asyncio.get_running_loop().create_connection(lambda: sender, host, port)
        sender.answered = asyncio.get_running_loop().create_future()
        sender.note = note
        sender.send()
        await sender.answered
        free.append(sender)

    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(send()))
    await asyncio.gather(*tasks)
    sent.took = time.perf_counter() - began
    for one_sender in free:
        one_sender.transport.close()
    return sent


def _maker(batch: int) -> Callable[[], bytes]:
    """Makes bodies of events that nobody sent before."""
    run, numbers = os.urandom(4).hex(), itertools.count()
    if batch == 1:
        return lambda: one(next(numbers), run)
    # The rest of a batch is prepared once: only ids differ from one to the next.
    parts = [one(number, "RUN").split(b"RUN-%d" % number) for number in range(batch)]

    def make() -> bytes:
        name = f"{run}-{next(numbers)}".encode()
        return (
            b"[" + b",".join(head + b"%s-%d" % (name, place) + tail for place, (head, tail) in enumerate(parts)) + b"]"
        )

    return make
