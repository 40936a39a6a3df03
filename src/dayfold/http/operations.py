"""``/metrics``: figures of the service itself, for Prometheus. HTTP door."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dayfold.collect.intake import Intake
from dayfold.count.adder import Figures as Added
from dayfold.http.cache import Cache
from dayfold.http.laws import Laws
from dayfold.http.streaming import Streams
from dayfold.ledger.intake import OUTCOMES

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Figures:
    """What a service counts of itself."""

    def __init__(
        self,
        cache: Cache,
        intake: Callable[[], Intake | None] = lambda: None,
        added: Callable[[], Added | None] = lambda: None,
        laws: Laws | None = None,
        streams: Callable[[], Streams | None] = lambda: None,
    ) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "dayfold_http_requests",
            "Requests that were answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "dayfold_http_request_seconds",
            "How long answers took.",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(_CacheFigures(cache))
        self.registry.register(_IntakeFigures(intake))
        self.registry.register(_CounterFigures(added))
        self.registry.register(_StreamFigures(streams))
        if laws is not None:
            self.registry.register(_LawFigures(laws))
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. ``route``: the path of its route, which there are few of."""
        # Finding the two by their labels takes longer than counting.
        found = self._known.get((method, route, status))
        if found is None:
            found = self.requests.labels(method, route, str(status)), self.seconds.labels(route)
            self._known[method, route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def text(self) -> bytes:
        """All figures in Prometheus' format."""
        return generate_latest(self.registry)


class _CacheFigures(Collector):
    """What the cache counts."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def collect(self) -> Iterator[Metric]:
        """The counters and sizes as they are now."""
        cache = self.cache
        for name, text, value in (
            ("hits", "Answers that were there.", cache.hits),
            ("misses", "Answers that were computed.", cache.misses),
            ("joined", "Answers that another request was computing.", cache.joined),
        ):
            yield CounterMetricFamily(f"dayfold_cache_{name}", text, value)
        yield GaugeMetricFamily("dayfold_cache_bytes", "Memory that kept answers take.", cache.size_bytes)
        yield GaugeMetricFamily("dayfold_cache_answers", "How many answers are kept.", len(cache))


class _IntakeFigures(Collector):
    """What the collector counts."""

    def __init__(self, intake: Callable[[], Intake | None]) -> None:
        self.intake = intake

    def collect(self) -> Iterator[Metric]:
        """The counters as they are now; none where no events are taken in."""
        found = self.intake()
        if found is None:
            return
        events = CounterMetricFamily(
            "dayfold_events", "Events that came in, by what became of them.", labels=["outcome"]
        )
        for outcome in OUTCOMES:
            events.add_metric([outcome], found.figures.totals[outcome])
        yield events
        yield GaugeMetricFamily(
            "dayfold_events_waiting", "Events that are not in the log yet.", found.figures.waiting_events
        )
        yield GaugeMetricFamily("dayfold_events_waiting_bytes", "What these take.", found.figures.waiting_bytes)
        yield GaugeMetricFamily(
            "dayfold_events_written_at_seconds", "When events were last written to the log.", found.figures.written_at
        )


class _StreamFigures(Collector):
    """What the streams of events count."""

    def __init__(self, streams: Callable[[], Streams | None]) -> None:
        self.streams = streams

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now."""
        found = self.streams()
        if found is None:
            return
        yield GaugeMetricFamily("dayfold_event_streams", "Streams of events that are open.", len(found))
        yield CounterMetricFamily("dayfold_event_streams_dropped", "Streams that were too slow.", found.dropped)
        yield CounterMetricFamily("dayfold_event_streams_missed", "Events that these missed.", found.missed)


class _CounterFigures(Collector):
    """What this process has added to counters."""

    def __init__(self, added: Callable[[], Added | None]) -> None:
        self.added = added

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now; none where nothing was added."""
        found = self.added()
        if found is None:
            return
        adds = CounterMetricFamily(
            "dayfold_increments", "Increments of this process, by what became of them.", labels=["outcome"]
        )
        for outcome in ("accepted", "repeated", "overflow", "lost", "uncertain"):
            adds.add_metric([outcome], getattr(found, outcome))
        yield adds
        yield GaugeMetricFamily(
            "dayfold_increments_waiting", "Increments in the buffer of this process.", found.waiting
        )
        yield GaugeMetricFamily(
            "dayfold_live_store_up", "Whether the live store took the last increments.", int(not found.failing)
        )


class _LawFigures(Collector):
    """What became of all that was added to each counter."""

    def __init__(self, laws: Laws) -> None:
        self.laws = laws

    def collect(self) -> Iterator[Metric]:
        """The law as it was last read; none where it never was."""
        laws = self.laws
        if not laws.read_at or not laws.last:
            return
        amounts = GaugeMetricFamily(
            "dayfold_counter_amount",
            "accepted = applied + pending + quarantined + lost + missing, of each total.",
            labels=["counter", "total", "part"],
        )
        holds = GaugeMetricFamily("dayfold_counter_holds", "Whether nothing is missing or lost.", labels=["counter"])
        lost = GaugeMetricFamily("dayfold_counter_lost", "Increments that are lost, at least.", labels=["counter"])
        for one in laws.last:
            parts = {"applied": one.applied, "pending": one.pending, "quarantined": one.quarantined, "lost": one.lost}
            for total, accepted in one.accepted.items():
                amounts.add_metric([one.counter, total, "accepted"], accepted)
                for part, found in (*parts.items(), ("missing", one.missing)):
                    amounts.add_metric([one.counter, total, part], found.get(total, 0))
            if one.reachable or not one.holds:
                # Else it is not known.
                holds.add_metric([one.counter], int(one.holds))
            lost.add_metric([one.counter], one.lost_adds)
        yield from (amounts, holds, lost)
        yield GaugeMetricFamily("dayfold_counters_read_at_seconds", "When these were last read.", laws.read_at)


class Counted:
    """Middleware that counts every request by its route, never by its path: a path may hold a value."""

    def __init__(self, app: ASGIApp, figures: Figures) -> None:
        self.app = app
        self.figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self.figures.answered(scope["method"], route, status, time.perf_counter() - began)
