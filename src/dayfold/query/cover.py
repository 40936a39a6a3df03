"""What of a question is covered: which buckets can be answered, and the reasons for those that cannot. Query floor."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from dayfold.days import ONE_DAY, Bucket, Days, buckets
from dayfold.ledger.coverage import FAILED, OPEN, DayCover
from dayfold.query.request import Request


@dataclass(frozen=True, slots=True)
class Gap:
    """Days of some metrics that are null, or stale, and why."""

    days: Days
    reason: str
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spine:
    """The buckets of an answer, and for each source whether a bucket is covered and which day is its last covered.

    ``apart``: for computed metrics of several sources, whether these are covered on different days of a bucket, so that
    what is made of them would be made of different days.
    ``partly``: asked days of a zone that have rows of a source, though not all UTC days they touch are covered.
    """

    buckets: list[Bucket]
    covered: dict[str, list[bool]]
    last_day: dict[str, list[dt.date | None]]
    partial: list[dt.date]
    partly: dict[str, list[dt.date]]
    apart: dict[str, list[bool]]


class Cover:
    """The coverage of one question.

    ``computed``: UTC days of which something was computed for this answer, with the reason; of sources that ``failed``
    nothing was.
    """

    def __init__(
        self,
        request: Request,
        known: Iterable[DayCover],
        history: Mapping[str, dt.date],
        computed: Mapping[dt.date, str] | None = None,
        failed: Collection[str] = (),
    ) -> None:
        self.request = request
        self.history = history
        self.computed = computed or {}
        self.failed = failed
        self.unequal: list[Gap] = []
        self.by_source: dict[str, dict[dt.date, DayCover]] = {}
        for one in known:
            self.by_source.setdefault(one.source, {})[one.day] = one

    def has(self, source: str, day: dt.date) -> bool:
        """Whether a day's number is known, be it an older one."""
        one = self.by_source.get(source, {}).get(day)
        return one is not None and one.ever_folded

    def spine(self) -> Spine:
        """The buckets of the question with their coverage."""
        request = self.request
        found = buckets(request.days, request.grain)
        sources = sorted({source for name in request.metrics for source in request.sources_of(name)})
        covered: dict[str, list[bool]] = {source: [] for source in sources}
        last_day: dict[str, list[dt.date | None]] = {source: [] for source in sources}
        partly: dict[str, list[dt.date]] = {source: [] for source in sources}
        partial = [bucket.days.first for bucket in found if bucket.partial]
        mixed = {name: of for name in request.needed if len(of := request.sources_of(name)) > 1}
        apart: dict[str, list[bool]] = {name: [] for name in mixed} if request.allow_missing else {}
        for bucket in found:
            held: dict[str, list[dt.date]] = {}
            for source in sources:
                days = held[source] = [day for day in bucket.days if self._knows(source, day)]
                whole = len(days) == len(bucket.days)
                if request.tz is not None and not whole:
                    known = set(days)
                    partly[source] += [day for day in bucket.days if day not in known and self._touches(source, day)]
                covered[source].append(whole or (request.allow_missing and bool(days)))
                last_day[source].append(days[-1] if days else None)
                if days and not whole and request.allow_missing and bucket.days.first not in partial:
                    partial.append(bucket.days.first)
            for name, flags in apart.items():
                differ = any(held[source] != held[mixed[name][0]] for source in mixed[name])
                flags.append(differ)
                if differ:
                    self.unequal.append(Gap(bucket.days, "its sources are covered on different days", (name,)))
        return Spine(found, covered, last_day, sorted(partial), partly, apart)

    def _knows(self, source: str, day: dt.date) -> bool:
        """Whether an asked day is known: all of the UTC days that it touches and that have begun."""
        touched = self._utc(day)
        begun = [utc for utc in touched if utc <= self.request.today]
        return all(self.has(source, utc) for utc in begun or touched)

    def _touches(self, source: str, day: dt.date) -> bool:
        """Whether any UTC day of an asked day is covered."""
        return any(self.has(source, utc) for utc in self._utc(day))

    def _utc(self, day: dt.date) -> tuple[dt.date, ...]:
        """The UTC days that an asked day touches."""
        if self.request.tz is None:
            return (day,)
        zone = zoneinfo.ZoneInfo(self.request.tz)
        start = dt.datetime.combine(day, dt.time(), zone).astimezone(dt.UTC)
        end = dt.datetime.combine(day + ONE_DAY, dt.time(), zone).astimezone(dt.UTC) - dt.timedelta(microseconds=1)
        return (start.date(),) if start.date() == end.date() else (start.date(), end.date())

    def missing(self) -> list[Gap]:
        """Days without a number, with the reason."""
        return _joined([*self._gaps(self._missing_reason), *self.unequal])

    def stale(self) -> list[Gap]:
        """Days that show the number of a fold that is not the last word: a later one failed, or the day went on."""
        return _joined(self._gaps(self._stale_reason))

    def provisional(self) -> list[Gap]:
        """Days whose number was computed for this answer and is not stored, with the reason."""
        return _joined(self._gaps(self._provisional_reason)) if self.computed else []

    def _provisional_reason(self, source: str, day: dt.date) -> str | None:
        if source in self.failed:
            return None
        return next((self.computed[utc] for utc in self._utc(day) if utc in self.computed), None)

    def _missing_reason(self, source: str, day: dt.date) -> str | None:
        if self._knows(source, day):
            return None
        return next(self._reason(source, utc) for utc in self._utc(day) if not self.has(source, utc))

    def _stale_reason(self, source: str, day: dt.date) -> str | None:
        for utc in self._utc(day):
            one = self.by_source.get(source, {}).get(utc)
            if one is None or not one.ever_folded:
                continue
            if one.state == FAILED:
                return f"failed: {one.reason}"
            if one.state == OPEN and one.reason is not None:
                return f"not ready: {one.reason}"
            if one.state == OPEN and utc < self.request.today:
                return "last folded before the day had ended"
        return None

    def _reason(self, source: str, day: dt.date) -> str:
        one = self.by_source.get(source, {}).get(day)
        if one is not None:
            return f"{'not ready' if one.state == OPEN else 'failed'}: {one.reason}"
        if day > self.request.today:
            return "in the future"
        start = self.history.get(source)
        if start is not None and day < start:
            return f"before the history, which starts on {start}"
        return "never folded"

    def _gaps(self, reason_of: Callable[[str, dt.date], str | None]) -> list[Gap]:
        """Runs of asked days with one reason, each with the metrics that it concerns."""
        sources = sorted({source for name in self.request.metrics for source in self.request.sources_of(name)})
        metrics = {
            source: tuple(name for name in self.request.metrics if source in self.request.sources_of(name))
            for source in sources
        }
        found: list[Gap] = []
        for source in sources:
            run: list[dt.date] = []
            why: str | None = None
            for day in (*self.request.days, None):
                reason = reason_of(source, day) if day is not None else None
                if run and reason != why:
                    found.append(Gap(Days(run[0], run[-1]), str(why), metrics[source]))
                    run = []
                why = reason
                if reason is not None and day is not None:
                    run.append(day)
        return found


def _joined(gaps: list[Gap]) -> list[Gap]:
    """Gaps of several sources with the same days and reason, as one."""
    merged: dict[tuple[Days, str], dict[str, None]] = {}
    for gap in gaps:
        merged.setdefault((gap.days, gap.reason), {}).update(dict.fromkeys(gap.metrics))
    return [Gap(days, reason, tuple(names)) for (days, reason), names in sorted(merged.items())]
