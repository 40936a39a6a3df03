"""A question about one rollup, checked before anything is read. Query floor.

Invariant: a `Request` names only what the rollup has, and a range that begins before it ends.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass, field

from dayfold.days import GRAINS, LIFE, ONE_DAY, STORED_GRAINS, Days, as_day, start_of
from dayfold.define.metric import Distinct, Gauge
from dayfold.define.rollup import RollupDef, siblings
from dayfold.errors import BadDate, QueryRefused, UnknownName, UsageError
from dayfold.names import listing, suggestion
from dayfold.plan.access import EVERYTHING, Scope
from dayfold.plan.keys import KeyFilter, key_column, key_filters

COMPARISONS = ("previous", "year")
#: More than a hundred years: each is a bucket that is looked at.
MAX_DAYS = 40_000
#: Hours that are answered at once: half a century of them.
MOST_HOURS = 500_000
#: Every hour of every present zone begins at one of these minutes, so that the present is known as well by the last of them.
QUARTER = dt.timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Request:
    """One question.

    Attributes:
        metrics: What is answered; ``needed`` also holds what formulas are made of.
        days: In UTC, or in ``tz`` where that is set.
        also: Another range whose keys are answered too.
        present: Where hours up to the present are asked, the quarter of an hour that runs: later ones have not begun.
        filters: What was asked for and what the caller may see; both have to be met.
        is_limited: Whether some rows are kept from the caller, so that nothing about all rows may be told.
    """

    rollup: RollupDef
    metrics: tuple[str, ...]
    days: Days
    by: tuple[str, ...]
    filters: tuple[KeyFilter, ...]
    grain: str
    tz: str | None
    compare: str | None
    sort: str | None
    limit: int | None
    allow_missing: bool
    today: dt.date
    needed: tuple[str, ...] = field(default=())
    also: Days | None = None
    is_limited: bool = False
    present: dt.datetime | None = None

    @classmethod
    def parse(
        cls,
        rollup: RollupDef,
        metrics: Sequence[str] | None,
        *,
        from_: dt.date | str,
        to: dt.date | str,
        by: Sequence[str] = (),
        where: Sequence[str] = (),
        grain: str = "day",
        tz: str | None = None,
        compare: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        allow_missing: bool = False,
        today: dt.date,
        now: dt.datetime | None = None,
        scope: Scope = EVERYTHING,
    ) -> Request:
        """A request from words, of a rollup that the scope sees.

        ``now`` tells the hours that have not begun; without it, all hours of ``today`` have.

        Raises:
            UnknownName, BadDate, UsageError, QueryRefused: saying what is wrong and what there is.
        """
        first, last = (as_day(day, today) for day in (from_, to))
        if rollup.is_profile:
            raise QueryRefused(
                f"{rollup.name} is a profile: a row is an entity over its whole life, and of no day.",
                hint=f"Ask for entities: dayfold profile {rollup.name}",
            )
        wanted = tuple(metric_of(rollup, name) for name in dict.fromkeys(metrics or rollup.metrics))
        keys = tuple(key_column(rollup, name, "to group by") for name in dict.fromkeys(by))
        request = cls(
            rollup, wanted, Days(first, last), keys, (*key_filters(rollup, where), *scope.filters(rollup)),
            _one_of("grain", grain, GRAINS), tz, _one_of("compare", compare, COMPARISONS) if compare else None, sort, limit,
            allow_missing, today, needed_for(rollup, wanted), is_limited=scope.is_limited,
            present=quarter(now) if now is not None and grain == "hour" and last >= today - ONE_DAY else None,
        )  # fmt: skip
        request._check()
        return request

    @classmethod
    def of_entity(
        cls, profile: RollupDef, metric: str, where: tuple[KeyFilter, ...], today: dt.date, scope: Scope
    ) -> Request:
        """A request for one column of an entity of a profile, which the scope sees. Raises UnknownName."""
        wanted = (metric_of(profile, metric),)
        return cls(
            profile, wanted, Days(LIFE, LIFE), (), (*where, *scope.filters(profile)), "day", None, None, None, None, False,
            today, needed_for(profile, wanted), is_limited=scope.is_limited,
        )  # fmt: skip

    def _check(self) -> None:
        if len(self.days) > MAX_DAYS:
            raise QueryRefused(
                f"The range has {len(self.days):,} days; at most {MAX_DAYS:,} are asked at once.",
                hint="Ask for a shorter range.",
            )
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit is a number of rows from 1 on, got {self.limit}.")
        if self.sort is not None:
            known = (*self.bucket_columns, *self.by, *self.metrics)
            if self.sort.removeprefix("-") not in known:
                name = self.sort.removeprefix("-")
                raise UnknownName(
                    f"The answer has no '{name}' to sort by{suggestion(name, known)}.",
                    hint=f"Sort by: {listing(known)}",
                )
        if self.tz is not None:
            self._check_zone(self.tz)
        if self.grain == "hour":
            self._check_hours()
        pinned = {one.key for one in self.filters if not one.exclude and len(one.values) == 1}
        apart = [key for key in self.rollup.key if key not in self.by and key not in pinned]
        for name in self.needed:
            metric = self.rollup.metrics[name]
            if isinstance(metric, Gauge) and metric.over_keys == "refuse" and apart:
                raise QueryRefused(
                    f"{self.rollup.name}.{name} is a gauge that is not combined over keys (over_keys='refuse'), "
                    f"and the question leaves {listing(apart)} open.",
                    hint=f"Ask for it --by {' --by '.join(self.rollup.key)}, or for one value of each with --where.",
                )

    def _check_zone(self, tz: str) -> None:
        try:
            # `localtime` is the zone of this machine: the same question would have another answer on the next one.
            if tz not in zoneinfo.available_timezones() or tz == "localtime":
                raise zoneinfo.ZoneInfoNotFoundError
            zone = zoneinfo.ZoneInfo(tz)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            known = zoneinfo.available_timezones()
            raise UnknownName(
                f"There is no time zone '{tz}'{suggestion(tz, known)}.",
                hint="Zones are named as in Europe/London.",
            ) from None
        minutes = STORED_GRAINS[self.rollup.grain]
        edges = (dt.date.min + dt.timedelta(days=2), dt.date.max - dt.timedelta(days=2))
        if self.days.first < edges[0] or self.days.last > edges[1]:
            raise BadDate(f"Days of a zone are asked from {edges[0]} to {edges[1]}.")
        for day in (*self.days, self.days.last + dt.timedelta(days=1)):
            start = dt.datetime.combine(day, dt.time(), zone).astimezone(dt.UTC)
            if (start.hour * 60 + start.minute) % minutes or start.second:
                raise QueryRefused(
                    f"A day in {tz} starts at {start:%H:%M} UTC, inside a stored bucket: "
                    f"{self.rollup.name} keeps buckets of a grain of {self.rollup.grain}.",
                    hint='Ask in UTC, or give the rollup a finer grain: grain = "15min" holds the days of every present zone.',
                )

    def _check_hours(self) -> None:
        """Refuse hours that the rollup does not keep, or that its days do not have."""
        rollup = self.rollup
        if rollup.grain == "day":
            raise QueryRefused(
                f'{rollup.name} keeps one number a day (grain = "day"), which says nothing of its hours.',
                hint='Ask for days, or give the rollup a finer grain: grain = "hour".',
            )
        if "hour" in (*self.by, *self.metrics):
            raise QueryRefused(
                f"{rollup.name} has a column 'hour' of its own, and an answer by hours calls the hour so.",
                hint="Leave that column out, or ask for days.",
            )
        if len(self.days) * 24 > MOST_HOURS:
            raise QueryRefused(
                f"The range has {len(self.days) * 24:,} hours; at most {MOST_HOURS:,} are given at once.",
                hint="Ask for a shorter range, or for days.",
            )
        minute = self.first_minute
        for day in (*self.days, self.days.last + ONE_DAY):
            if start_of(day, self.zone).minute != minute:
                raise QueryRefused(
                    f"The clocks of {self.tz} change by a part of an hour on {day - ONE_DAY}, which has no whole hours.",
                    hint="Ask for days, or for a range on one side of it.",
                )

    @property
    def zone(self) -> dt.tzinfo:
        """The zone whose days are asked."""
        return dt.UTC if self.tz is None else zoneinfo.ZoneInfo(self.tz)

    @property
    def first_minute(self) -> int:
        """The minute of a UTC hour at which the asked hours begin."""
        return start_of(self.days.first, self.zone).minute

    @property
    def bucket_columns(self) -> tuple[str, ...]:
        """The columns of an answer that say which bucket a row is of; the last one alone tells it."""
        return ("day", "hour") if self.grain == "hour" else ("day",)

    @property
    def utc_days(self) -> Days:
        """The UTC days that the asked days touch."""
        if self.tz is None:
            return self.days
        start, end = start_of(self.days.first, self.zone), start_of(self.days.last + ONE_DAY, self.zone)
        return Days(start.date(), (end - dt.timedelta(microseconds=1)).date())

    @property
    def distincts(self) -> list[str]:
        """The metrics that are sets."""
        return [name for name in self.needed if isinstance(self.rollup.metrics[name], Distinct)]

    def sources_of(self, name: str) -> list[str]:
        """The sources that a metric's numbers come from."""
        metric = self.rollup.metrics[name]
        measured = self.rollup.measured
        if name in measured:
            return [measured[name].source.label]
        # A formula of a profile may name a key column, which is of no source.
        parts = [part for part in siblings(metric) if part in self.rollup.metrics]  # type: ignore[arg-type]
        return sorted({source for part in parts for source in self.sources_of(part)})


def quarter(now: dt.datetime) -> dt.datetime:
    """The quarter of an hour that an instant lies in: questions within it have one answer."""
    return now - (now - dt.datetime(2000, 1, 1, tzinfo=dt.UTC)) % QUARTER


def metric_of(rollup: RollupDef, name: str) -> str:
    """A metric by its name. Raises UnknownName, and QueryRefused for one that would be added up and must not."""
    if name in rollup.metrics:
        return name
    called = re.fullmatch(r"\s*(\w+)\s*\(\s*(\w+)\s*\)\s*", name)
    if called and isinstance(rollup.metrics.get(called[2]), Distinct):
        raise QueryRefused(
            f"'{name}': Distinct values are never added up, because one value may stand in several rows.",
            hint=f"Ask for {called[2]} itself: over a longer range (--grain total) or fewer keys it is the size of the united sets.",
        )
    raise UnknownName(
        f"{rollup.name} has no metric '{name}'{suggestion(name, rollup.metrics)}.",
        hint=f"Metrics: {listing(rollup.metrics)}",
    )


def _one_of(what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UsageError(f"{what} is one of {listing(known)}, got '{value}'{suggestion(value, known)}.")
    return value


def needed_for(rollup: RollupDef, metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics asked for and those they are computed from, parts first."""
    order: dict[str, None] = {}

    def add(name: str) -> None:
        metric = rollup.metrics[name]
        if name not in rollup.measured:
            for part in siblings(metric):  # type: ignore[arg-type]  # what is not measured is computed
                if part in rollup.metrics:
                    add(part)
        order[name] = None

    for name in metrics:
        add(name)
    return tuple(order)
