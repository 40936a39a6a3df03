"""The pieces of load: one question after another, an unchanged answer, and a crowd."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.load.client import Connection, Target

#: What a dashboard asks of one key; {key} and {value} are filled in, {first} and {last} are a year.
PANELS = (
    "/v1/rollups/{rollup}/query?from={first}&to={last}&grain=day&where={key}={value}",
    "/v1/rollups/{rollup}/query?from={first}&to={last}&grain=month&where={key}={value}",
    "/v1/rollups/{rollup}/query?from={month}&to={last}&grain=total&compare=previous&where={key}={value}",
    "/v1/rollups/{rollup}/latest?where={key}={value}",
    "/v1/metrics/{rollup}.{metric}?from={first}&to={last}&period=weekly&{key}={value}",
)


@dataclass(frozen=True)
class Subject:
    """What is asked about: a rollup, one of its metrics, a key column with some values, and a year of days."""

    rollup: str
    metric: str
    key: str
    values: Sequence[str]
    first: str
    last: str
    month: str

    def panel(self, text: str, value: str) -> str:
        """One question."""
        return text.format(
            rollup=self.rollup,
            metric=self.metric,
            key=self.key,
            value=value,
            first=self.first,
            last=self.last,
            month=self.month,
        )


@dataclass
class Timing:
    """Seconds of answers, and what was wrong with some."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    whole_s: float = 0.0

    def quantile(self, share: float) -> float:
        """The time within which this share of the answers came."""
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[round(share * 100) - 1]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.whole_s


async def one_by_one(target: Target, subject: Subject) -> Timing:
    """A year of one key, another key each time, so that no answer is one that was kept."""
    timing = Timing()
    connection = Connection(target)
    await connection.open()
    began = time.perf_counter()
    for value in subject.values:
        answer = await connection.get(subject.panel(PANELS[0], value))
        timing.seconds.append(answer.seconds)
        if answer.status != 200 or answer.header("dayfold-cache") != "miss":
            timing.wrong.append(f"{answer.status} {answer.header('dayfold-cache')}")
    timing.whole_s = time.perf_counter() - began
    connection.close()
    return timing


async def unchanged(target: Target, subject: Subject, connections: int, requests: int) -> Timing:
    """The same question with the tag of its answer, from some connections."""
    path = subject.panel(PANELS[0], subject.values[0])
    timing = Timing()
    left = itertools.count()

    async def ask(connection: Connection) -> None:
        etag = (await connection.get(path)).header("etag") or ""
        while next(left) < requests:
            answer = await connection.get(path, etag)
            timing.seconds.append(answer.seconds)
            if answer.status != 304:
                timing.wrong.append(str(answer.status))

    timing.whole_s = await _together(target, [ask] * connections)
    return timing


async def crowd(
    target: Target, subject: Subject, clients: int, dashboards: int, for_s: float, seed: int = 1
) -> tuple[Timing, dict[str, int]]:
    """Clients at once, each asking for the panels of some dashboard again and again; how many answers were kept ones."""
    draw = random.Random(seed)
    questions = [subject.panel(text, value) for value in subject.values[:dashboards] for text in PANELS]
    timing = Timing()
    kinds: dict[str, int] = {}
    ends_at = time.perf_counter() + for_s

    async def ask(connection: Connection) -> None:
        while time.perf_counter() < ends_at:
            answer = await connection.get(draw.choice(questions))
            timing.seconds.append(answer.seconds)
            kind = answer.header("dayfold-cache") or "none"
            kinds[kind] = kinds.get(kind, 0) + 1
            if answer.status != 200:
                timing.wrong.append(f"{answer.status} {answer.body[:200]!r}")

    timing.whole_s = await _together(target, [ask] * clients)
    return timing, kinds


async def _together(target: Target, works: Sequence[Callable[[Connection], Awaitable[None]]]) -> float:
    """Seconds that some work takes, each piece with a connection of its own that was open before."""
    connections = [Connection(target) for _ in works]
    for start in range(0, len(connections), 100):
        await asyncio.gather(*(one.open() for one in connections[start : start + 100]))
    began = time.perf_counter()
    await asyncio.gather(*(work(one) for work, one in zip(works, connections, strict=True)))
    whole_s = time.perf_counter() - began
    for one in connections:
        one.close()
    return whole_s
