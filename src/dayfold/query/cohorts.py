"""Answers a question to a cohort: rows, coverage and what they mean are read in one snapshot. Query floor."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from dayfold.days import Bucket, Days, bucket_end, bucket_start, buckets, overlap, union
from dayfold.define.cohort import CUMULATIVE, PER_ENTITY
from dayfold.define.types import BOOL, DATE, FLOAT, INT
from dayfold.engines.base import Session
from dayfold.engines.csv import arrow_type
from dayfold.ledger.ledger import Ledger
from dayfold.plan.shape import Column
from dayfold.query.answer import gaps
from dayfold.query.cohort_request import CohortRequest
from dayfold.query.cohort_series import CohortSeries
from dayfold.query.cover import Frame, Gap
from dayfold.query.entities import Types, check_rows, check_splits, in_one_snapshot, moment_type, told
from dayfold.query.known import Known
from dayfold.query.profile import folded as profile_folded
from dayfold.query.run import folded, narrowed

if TYPE_CHECKING:
    import pyarrow as pa

#: The digits of sums of sums.
_DIGITS = decimal.Context(prec=100)


@dataclass
class CohortAnswer:
    """The rows of an answer, and what has to be said with them.

    Attributes:
        table: One row for each cohort, group and age, as Arrow.
        missing: Days of the activity that make rows null, with the reason; ``stale``: those that show an older fold's numbers.
        partial: Cohorts, by their first days, that the range cuts short or whose period is not over.
        remarks_of_profile: What has to be said of the profile's rows.
    """

    request: CohortRequest
    table: pa.Table
    missing: list[Gap] = field(default_factory=list)
    stale: list[Gap] = field(default_factory=list)
    partial: list[dt.date] = field(default_factory=list)
    remarks_of_profile: list[str] = field(default_factory=list)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        return list(self.table.to_pylist())

    def as_object(self) -> dict[str, Any]:
        """The answer for JSON: ``rows``, and beside them what has to be said."""
        return {**self.said(), "rows": self.rows}

    def said(self) -> dict[str, Any]:
        """What is said beside the rows."""
        request, cohort = self.request, self.request.cohort
        found: dict[str, Any] = {
            "cohort": cohort.name,
            "profile": cohort.profile.name,
            "activity": cohort.activity.name,
            "from": request.days.first,
            "to": request.days.last,
            "grain": request.grain,
            "unbounded": request.unbounded,
            "missing": gaps(self.missing),
        }
        if self.stale:
            found["stale"] = gaps(self.stale)
        if self.partial:
            found["partial"] = self.partial
        if self.remarks_of_profile:
            found["remarks"] = self.remarks_of_profile
        return found

    def remarks(self) -> list[str]:
        """What has to be said with the rows, a line each."""
        lines = [f"missing: {one.days}: {', '.join(one.metrics)}: {one.reason}" for one in self.missing]
        lines += [f"stale: {one.days}: {', '.join(one.metrics)}: {one.reason}" for one in self.stale]
        if self.partial:
            lines.append(f"partial: {', '.join(map(str, self.partial))}")
        return [*lines, *self.remarks_of_profile]


def cohort_answer(ledger: Ledger, request: CohortRequest) -> CohortAnswer:
    """The answer. Raises QueryRefused where the profile or the rollup was never folded, or was edited since."""
    asked = request.of_profile

    def look(session: Session) -> Sequence[Known]:
        profile = profile_folded(ledger, session, asked)
        return [profile] if request.activity is None else [profile, folded(ledger, session, request.activity)]

    def read(session: Session, found: Sequence[Known], types: list[Types]) -> CohortAnswer:
        profile = request.cohort.profile
        check_splits(profile, request.by, types[0])
        moment_type(profile, request.cohort.start, types[0])
        remarks = told(ledger, session, found[0], asked)
        if request.activity is None:
            return CohortAnswer(
                request, _table(request, [], _columns(request, types[0], [])), remarks_of_profile=remarks
            )
        names = (found[0].version.table, found[1].version.table)
        series = CohortSeries(request, names, (types[0], types[1]), ledger.store.schema, ledger.store.dialect)
        rows = session.arrow(series.statement(), series.columns).to_pylist()
        check_rows(len(rows))
        frame = found[1].frame(ledger, session, request.activity)
        with decimal.localcontext(_DIGITS):
            grid = _Grid(request, frame)
            told_of = grid.rows(rows)
        sums = series.columns[len(series.columns) - len(request.cohort.values) :]
        table = _table(request, told_of, _columns(request, types[0], sums))
        return CohortAnswer(request, table, grid.missing(), frame.stale, grid.partial(), remarks)

    return in_one_snapshot(ledger, look, read)


def _columns(request: CohortRequest, types: Types, sums: Sequence[Column]) -> list[Column]:
    """The columns of an answer; ``sums``: the values, where somebody can have any."""
    found = [Column("cohort", DATE), *(Column(name, types[name]) for name in request.by), Column("size", INT)]
    found += [Column("age", INT), Column("period", DATE), Column("active", INT), Column("rate", FLOAT)]
    for one in sums:
        found += [one, Column(one.name + CUMULATIVE, one.type), Column(one.name + PER_ENTITY, FLOAT)]
    return [*found, Column("partial", BOOL)]


def _table(request: CohortRequest, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> pa.Table:
    import pyarrow as pa

    arrays = {one.name: pa.array([row[one.name] for row in rows], arrow_type(one.type)) for one in columns}
    return narrowed(pa.table(arrays))


class _Known:
    """On which of the looked-at days the sources of some metrics are covered."""

    def __init__(self, request: CohortRequest, frame: Frame, metrics: Iterable[str]) -> None:
        assert request.activity is not None
        self.first = request.activity.days.first
        sources = {source for name in metrics for source in request.activity.sources_of(name)}
        flags = zip(*(frame.spine.covered[source] for source in sources), strict=True)
        self.absent = [0, *accumulate(not all(day) for day in flags)]

    def holds(self, days: Days) -> bool:
        """Whether all of these days are covered."""
        start, end = (days.first - self.first).days, (days.last - self.first).days + 1
        return self.absent[end] == self.absent[start]


class _Grid:
    """Cohorts by ages: what the rows of the statement mean."""

    def __init__(self, request: CohortRequest, frame: Frame) -> None:
        assert request.activity is not None
        assert request.begun is not None
        self.request = request
        self.frame = frame
        self.periods: list[Bucket] = buckets(request.activity.days, request.grain)
        self.places = {bucket_start(one.days.first, request.grain): n for n, one in enumerate(self.periods)}
        self.cohorts = self.periods[: self.places[bucket_start(request.begun.last, request.grain)] + 1]
        self.known = {name: _Known(request, frame, [name]) for name in request.cohort.values}
        self.active = _Known(request, frame, request.watched)
        self.unknown: list[Days] = []

    def rows(self, found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The rows of the answer, in the order of cohorts, groups and ages."""
        groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
        if not self.request.by:
            groups = {(bucket_start(one.days.first, self.request.grain),): [] for one in self.cohorts}
        for row in found:
            groups.setdefault((row["cohort"], *(row[name] for name in self.request.by)), []).append(row)
        check_rows(sum(len(self._shown(self.places[key[0]])) for key in groups))
        return [row for key, some in groups.items() for row in self._ages(key, some)]

    def _shown(self, place: int) -> range:
        """The periods of a cohort that have begun, or as many of them as are asked for."""
        most = self.request.periods
        return range(place, len(self.periods) if most is None else min(len(self.periods), place + most))

    def _ages(self, key: tuple[Any, ...], found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The rows of one cohort and group."""
        request, place = self.request, self.places[key[0]]
        by_period = {self.places[row["period"]]: row for row in found if row["period"] is not None}
        size, first = (found[0]["size"], found[0]["first"]) if found else (0, None)
        made = []
        totals = dict.fromkeys(request.cohort.values, decimal.Decimal(0))
        later = self._later(by_period) if request.unbounded else None
        for n in self._shown(place):
            days, row = self.periods[n].days, by_period.get(n, {})
            count = later[n] if later is not None else row.get("active", 0)
            is_known = self._is_known(self.active, first, days, until_today=request.unbounded)
            rate = count / size if size and is_known else None
            line = {"cohort": self.periods[place].days.first, **dict(zip(request.by, key[1:], strict=True))}
            line |= {
                "size": size,
                "age": n - place,
                "period": days.first,
                "active": count if is_known else None,
                "rate": rate,
            }
            for name in request.cohort.values:
                value = row.get(name) or decimal.Decimal(0)
                totals[name] += value
                line |= self._value(name, value, totals[name], size, first, days)
            made.append({**line, "partial": self._is_running(days.first)})
        return made

    def _later(self, by_period: Mapping[int, Mapping[str, Any]]) -> list[int]:
        """For each period how many were active in it or in a later one."""
        last = [by_period.get(n, {}).get("active", 0) for n in range(len(self.periods))]
        return list(accumulate(reversed(last)))[::-1]

    def _value(
        self, name: str, value: decimal.Decimal, total: decimal.Decimal, size: int, first: dt.date | None, days: Days
    ) -> dict[str, Any]:
        """A value of one age, the sum up to it, and that per entity; null where days are missing."""
        known = self.known[name]
        is_known = self._is_known(known, first, days)
        whole = first is None or self._is_known(known, first, Days(first, days.last))
        mean = float(Fraction(total) / size) if whole and size else None
        return {
            name: value if is_known else None,
            name + CUMULATIVE: total if whole else None,
            name + PER_ENTITY: mean,
        }

    def _is_known(self, known: _Known, first: dt.date | None, days: Days, *, until_today: bool = False) -> bool:
        """Whether all days that count are covered: those from the first start of the cohort on."""
        if first is None:
            return True
        needed = Days(max(days.first, first), self.periods[-1].days.last if until_today else days.last)
        if known.holds(needed):
            return True
        self.unknown.append(needed)
        return False

    def _is_running(self, day: dt.date) -> bool:
        """Whether the period of a day is not over yet."""
        return bucket_end(bucket_start(day, self.request.grain), self.request.grain) >= self.request.today

    def missing(self) -> list[Gap]:
        """The days that made something null."""
        found = [
            Gap(shared, gap.reason, gap.metrics)
            for gap in self.frame.missing
            for days in union(self.unknown)
            if (shared := overlap(gap.days, days)) is not None
        ]
        return sorted(found, key=lambda one: (one.days, one.reason))

    def partial(self) -> list[dt.date]:
        """Cohorts that may still grow, or of which the range holds a part."""
        asked = self.request.days
        found = []
        for one in self.cohorts:
            start = bucket_start(one.days.first, self.request.grain)
            is_cut = asked.first > start or asked.last < bucket_end(start, self.request.grain)
            if is_cut or self._is_running(start):
                found.append(one.days.first)
        return found
