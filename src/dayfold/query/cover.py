"""What of a question is covered: which buckets can be answered, and the reasons for those that cannot. Query floor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from dayfold.days import ONE_DAY, ONE_HOUR, Bucket, Days, buckets, hours, start_of
from dayfold.define.rollup import RollupDef
from dayfold.ledger.coverage import FAILED, OPEN, DayCover
from dayfold.query.request import Request

#: Why days are computed of which only some cells changed.
CHANGED = "changed since it was folded"
SOME_CHANGED = "some cells changed since they were folded"
OF_CELLS = (CHANGED, SOME_CHANGED)
FUTURE = "in the future"
#: Why the day that runs is named among those with a null, where hours are asked.
LATER = "its later hours are in the future"


@dataclass(frozen=True, slots=True)
class Gap:
    """Days of some metrics that are null, or stale, and why."""

    days: Days
    reason: str
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spine:
    """The buckets of an answer, and for each source whether a bucket is covered and which day (or hour) is its last covered.

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


@dataclass(frozen=True, slots=True)
class Frame:
    """What an answer has beside its numbers; ``rollup``: of the definition that it was worked out for."""

    rollup: RollupDef
    spine: Spine
    missing: list[Gap]
    stale: list[Gap]
    provisional: list[Gap]


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
        # What most days are, kept apart: a year of days is looked at several times for each answer.
        self._ever: dict[str, set[dt.date]] = {}
        self._unsettled: dict[str, set[dt.date]] = {}
        for one in known:
            self.by_source.setdefault(one.source, {})[one.day] = one
            if one.ever_folded:
                self._ever.setdefault(one.source, set()).add(one.day)
            if one.state in (OPEN, FAILED):
                self._unsettled.setdefault(one.source, set()).add(one.day)

    def frame(self) -> Frame:
        """The buckets of the question and what has to be said with them."""
        spine = self.spine()
        return Frame(self.request.rollup, spine, self.missing(), self.stale(), self.provisional())

    def has(self, source: str, day: dt.date) -> bool:
        """Whether a day's number is known, be it an older one."""
        return day in self._ever.get(source, ())

    def spine(self) -> Spine:
        """The buckets of the question with their coverage."""
        request = self.request
        found = self._buckets()
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
                if bucket.hour is not None:
                    is_known = self._knows_hour(source, bucket.hour)
                    covered[source].append(is_known)
                    last_day[source].append(bucket.hour if is_known else None)
                    held[source] = [bucket.hour] if is_known else []
                    continue
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

    def _buckets(self) -> list[Bucket]:
        request = self.request
        found = buckets(request.days, request.grain)
        if request.grain != "hour":
            return found
        return [Bucket(one.days, False, hour) for one in found for hour in hours(one.days.first, request.zone)]

    def _knows_hour(self, source: str, hour: dt.datetime) -> bool:
        """Whether an hour is known: it has begun, and the UTC days that it touches are known."""
        last = hour + ONE_HOUR - dt.timedelta(microseconds=1)
        return self._has_begun(hour) and all(self.has(source, day) for day in {hour.date(), last.date()})

    def _has_begun(self, hour: dt.datetime) -> bool:
        present = self.request.present
        return hour.date() <= self.request.today if present is None else hour <= present

    def _knows(self, source: str, day: dt.date) -> bool:
        """Whether an asked day is known: all of the UTC days that it touches and that have begun."""
        if self.request.tz is None:
            return self.has(source, day)
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
        zone = self.request.zone
        start, end = start_of(day, zone), start_of(day + ONE_DAY, zone) - dt.timedelta(microseconds=1)
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
        reasons = (self.computed[utc] for utc in self._utc(day) if utc in self.computed)
        # That some cell of a day changed tells of the cells of others.
        return next((one for one in reasons if not (self.request.is_limited and one in OF_CELLS)), None)

    def _missing_reason(self, source: str, day: dt.date) -> str | None:
        if self.request.grain == "hour":
            return self._missing_hours_reason(source, day)
        if self._knows(source, day):
            return None
        return next(self._reason(source, utc) for utc in self._utc(day) if not self.has(source, utc))

    def _missing_hours_reason(self, source: str, day: dt.date) -> str | None:
        """Why some hour of a day is null."""
        whole = hours(day, self.request.zone)
        absent = [hour for hour in whole if not self._knows_hour(source, hour)]
        if not absent:
            return None
        if any(self._has_begun(hour) for hour in absent):
            return next(self._reason(source, utc) for utc in self._utc(day) if not self.has(source, utc))
        return FUTURE if absent == whole else LATER

    def _stale_reason(self, source: str, day: dt.date) -> str | None:
        unsettled = self._unsettled.get(source, ())
        for utc in self._utc(day):
            if utc not in unsettled:
                continue
            one = self.by_source[source][utc]
            if not one.ever_folded:
                continue
            if one.state == FAILED or (one.state == OPEN and one.reason is not None):
                return self._unable(one)
            if one.state == OPEN and utc < self.request.today:
                return "last folded before the day had ended"
        return None

    def _reason(self, source: str, day: dt.date) -> str:
        one = self.by_source.get(source, {}).get(day)
        if one is not None:
            return self._unable(one)
        if day > self.request.today:
            return FUTURE
        start = self.history.get(source)
        if start is not None and day < start:
            return "before the history" if self.request.is_limited else f"before the history, which starts on {start}"
        return "never folded"

    def _unable(self, one: DayCover) -> str:
        """Why a source failed or is not ready; the reason may speak of facts that are not the caller's."""
        what = "not ready" if one.state == OPEN else "failed"
        return what if self.request.is_limited else f"{what}: {one.reason}"

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
