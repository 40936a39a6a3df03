"""What a live answer computes: the days and cells of its ranges that a fold would compute now, and why. Query floor.

Invariant: a sealed day is never among them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dayfold.days import Days, overlap, union, without
from dayfold.define.types import DATE, TEXT
from dayfold.engines.scans import leads_to_levels
from dayfold.errors import DayfoldError
from dayfold.ledger import coverage, cursors, fetches, marks
from dayfold.ledger.coverage import FAILED, FOLDED, OPEN, DayCover
from dayfold.ledger.fetches import Standing
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import Scan
from dayfold.plan.cells import Covered, due, history_start
from dayfold.plan.scan import changed_since, first_day
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values
from dayfold.query.cover import CHANGED, SOME_CHANGED
from dayfold.query.levels import shown_next
from dayfold.query.sources import Snapshots, Sources

if TYPE_CHECKING:
    import pyarrow as pa

PAIR = (Column("key", TEXT), Column("day", DATE))
#: Ranges of days in each state, by source.
Known = Mapping[str, Mapping[str, Sequence[Days]]]

NEVER = "never folded"
FAILED_BEFORE = "its last fold failed"
RUNNING = "the day is not over"
ENDED = "last folded before the day had ended"
LOOKBACK = "in the lookback, whose changes nobody reports"


@dataclass(slots=True)
class Due:
    """What is computed for one answer.

    Attributes:
        start: The first day of the rollup's history; after ``today`` where it has none yet.
        days: Ranges computed whole; ``cells``: single cells beside them, their keys encoded.
        reasons: Why, for each day with something computed.
        failed: Sources that cannot be read now, with the reason: their numbers stay as they are.
        standings: How the sources that are functions stand.
    """

    start: dt.date
    today: dt.date
    days: list[Days]
    cells: pa.Table | None = None
    reasons: dict[dt.date, str] = field(default_factory=dict)
    failed: dict[str, DayfoldError] = field(default_factory=dict)
    standings: Mapping[str, Standing] = field(default_factory=dict)

    def covered(self, known: Iterable[DayCover], days: Days, sources: Iterable[str]) -> list[DayCover]:
        """Coverage of some days as a fold of all this would leave it."""
        found = {(one.source, one.day): one for one in known}
        whole = [day for part in self.days for day in part if day in days]
        for source in sources:
            error = self.failed.get(source)
            if error is None and source in self.standings:
                for part in self.days:
                    if shared := overlap(part, days):
                        cover = self.standings[source].cover(source, shared, self.today)
                        for day in shared:
                            found.pop((source, day), None)
                        found |= {(source, day): one for day, one in cover.items()}
                continue
            if error is None:
                for day in whole:
                    state = OPEN if day >= self.today else FOLDED
                    found[source, day] = DayCover(source, day, state, 0, True, None)
                continue
            for day in [*whole, *(day for day in self.reasons if day in days and (source, day) in found)]:
                before = found.get((source, day))
                ever = before is not None and before.ever_folded
                found[source, day] = DayCover(source, day, FAILED, 0, ever, error.message)
        return list(found.values())

    def history(self, known: Mapping[str, dt.date], sources: Iterable[str]) -> dict[str, dt.date]:
        """The first day of each source as a fold would leave it."""
        if self.start > self.today:
            return dict(known)
        starts = {source: min(known.get(source, self.start), self.start) for source in sources}
        starts |= {source: one.first for source, one in self.standings.items() if one.first is not None}
        return {**known, **starts}


def whole(days: Days, today: dt.date, failed: Mapping[str, DayfoldError], standings: Mapping[str, Standing]) -> Due:
    """All of some days, whatever is known of them."""
    return Due(days.first, today, [days], None, dict.fromkeys(days, ""), dict(failed), standings)


class Decider:
    """Decides what one live answer computes, from the ledger and the sources as their snapshots show them."""

    def __init__(
        self,
        ledger: Ledger,
        snapshots: Snapshots,
        sources: Sources,
        number: int | None,
        failed: dict[str, DayfoldError],
    ) -> None:
        self.ledger = ledger
        self.snapshots = snapshots
        self.sources = sources
        self.rollup = sources.rollup
        self.number = number
        self.failed = failed

    def decide(self, ranges: Sequence[Days], today: dt.date) -> Due:
        """What a fold would compute now on these ranges; open days always.

        Raises:
            ScanFailed: naming the source that could not be asked.
        """
        known: Known = {}
        marked = marks.Marks(False, (), {})
        if self.number is not None:
            session = self.snapshots.store
            known = coverage.ranges(self.ledger, session, self.rollup.name, self.number)
            marked = marks.pending(self.ledger, session, self.rollup.name, self.number)
        found, everything = self._found(covered=bool(known))
        everything = everything or marked.everything
        if known and not everything:
            found += self._levels([*marked.whole_days, *(day for one in found for day in _keyless(one))])
        earliest = [*marked.days[:1], *(day for one in found for day in _days(one)[:1])]
        covered = {source: coverage.covered(known.get(source, {})) for source in self.sources.labels}
        standings = fetches.standings(self.ledger, self.snapshots.store, self.rollup)
        covered |= {source: one.covered(known.get(source, {})) for source, one in standings.items()}
        earliest += [one.first for one in standings.values() if one.first is not None]
        start = self._start(ranges, today, known, covered, earliest, everything=everything)
        if start > today:
            return Due(start, today, [], failed=dict(self.failed), standings=standings)
        every, sealed = Days(start, today), coverage.sealed_days(known)
        wanted = due(start, today, self._lookback_days(), covered, sealed)
        keyless = [day for one in found for day in _keyless(one)]
        wanted += [Days(day, day) for day in [*marked.whole_days, *keyless]] + ([every] if everything else [])
        within = [part for one in ranges if (part := overlap(one, every))]
        days = [part for one in union(wanted) for span in within if (part := overlap(one, span))]
        days = [part for one in union(days) for part in without(one, sealed)]
        cells = self._cells(found, [part for one in union(within) for part in without(one, [*days, *sealed])])
        changed_days = [every] if everything else [Days(day, day) for day in [*marked.whole_days, *keyless]]
        reasons = self._reasons(days, known, changed_days, today)
        for day in _days(cells) if cells is not None else ():
            reasons.setdefault(day, self._said(SOME_CHANGED))
        return Due(start, today, days, cells, reasons, dict(self.failed), standings)

    def _lookback_days(self) -> int | None:
        return self.rollup.definition.lookback_days({*self.sources.untracked, *self.failed})

    def _start(
        self,
        ranges: Sequence[Days],
        today: dt.date,
        known: Known,
        covered: Mapping[str, Covered],
        earliest: Sequence[dt.date],
        *,
        everything: bool,
    ) -> dt.date:
        """The first day of history; the sources are asked for their first moments only where the answer may need them."""
        definition = self.rollup.definition
        moments: list[dt.date | None] = list(earliest)
        firsts = [one.first for one in covered.values() if one.first is not None]
        asked_since = min(days.first for days in ranges)
        if definition.since is None and not (firsts and min(firsts) <= asked_since):
            reporting = {one.label for one in definition.sources if one.reports_changes} - self.sources.untracked
            told = coverage.known_from(known, () if everything else reporting)
            told |= {one.label for one in self.rollup.functions}
            moments += [
                self._first_day(scan, covered[scan.label].first if scan.label in covered else None)
                for scan in self._healthy
                if scan.label not in told
            ]
        return history_start(moments, covered.values(), definition.since, today)

    @property
    def _healthy(self) -> list[Scan]:
        return [scan for scan in self.rollup.scans if scan.label not in self.failed]

    def _first_day(self, scan: Scan, before: dt.date | None) -> dt.date | None:
        with self.snapshots.reading(scan) as session:
            found = session.rows(first_day(scan, scan.dialect, before))
        day = found[0][0] if found else None
        return day if isinstance(day, dt.date) else None

    # -- what changed and was not marked yet -----------------------------------------------------

    def _found(self, *, covered: bool) -> tuple[list[pa.Table], bool]:
        """Cells that sources can tell to have changed and no fold has marked yet, and whether it may be every cell."""
        found: list[pa.Table] = []
        everything = covered and bool(self.sources.renewed)
        if self.number is None:
            return found, everything
        asked: set[str] = set()
        for scan in self._healthy:
            if scan.source.cursor is not None:
                cells, every = self._behind_cursor(scan, self.number, covered=covered)
                found += [cells] if cells is not None else []
                everything = everything or every
            elif (log := self.sources.logs.get(scan.label)) is not None and scan.label not in asked:
                asked.add(scan.label)
                with self.snapshots.reading(scan) as session:
                    found.append(session.arrow(log, marks.COLUMNS_WITH_REASON).select(["key", "day"]))
        everything = everything or any(one["day"].null_count for one in found)
        return [one.filter(one["day"].is_valid()) for one in found], everything

    def _levels(self, days: Sequence[dt.date]) -> list[pa.Table]:
        """The cells in which changed levels show, those after days that changed as a whole among them."""
        if self.number is None:
            return []
        scans = [scan for scan in self._healthy if scan.levels is not None]
        return [
            one
            for scan in scans
            for _, one in shown_next(self.ledger, self.snapshots, self.sources, self.number, scan, days)
        ]

    def _behind_cursor(self, scan: Scan, number: int, *, covered: bool) -> tuple[pa.Table | None, bool]:
        """The cells of rows stamped since the last fold, or that they may be any."""
        known = cursors.cursor(self.ledger, self.snapshots.store, self.rollup.name, number, scan.label)
        if known is None or known.position is None:
            # What was folded before its stamps were read may have changed anywhere since.
            return None, covered
        values = Values()
        with self.snapshots.reading(scan) as session:
            led = leads_to_levels(self.sources.databases.of(scan.source), session, scan)
            cells = changed_since(scan, known.position, values, led=led)
            return session.arrow(Statement(cells, values), PAIR), False

    def _cells(self, found: Sequence[pa.Table], left: Sequence[Days]) -> pa.Table | None:
        """The marked cells on days that are not computed whole, each once."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.number is None or not left:
            return None
        span = Days(left[0].first, left[-1].last)
        marked = marks.listed(self.ledger, self.snapshots.store, self.rollup.name, self.number, span)
        schema = pa.schema([("key", pa.string()), ("day", pa.date32())])
        cells = pa.concat_tables([one.select(["key", "day"]).cast(schema) for one in [marked, *found]])
        cells = cells.filter(cells["key"].is_valid())
        here = []
        for days in left:
            low, high = (pa.scalar(day, pa.date32()) for day in (days.first, days.last))
            here.append(cells.filter(pc.and_(pc.greater_equal(cells["day"], low), pc.less_equal(cells["day"], high))))
        cells = pa.concat_tables(here).group_by(["key", "day"]).aggregate([])
        return cells if cells.num_rows else None

    # -- why -------------------------------------------------------------------------------------

    def _reasons(
        self, days: Sequence[Days], known: Known, changed_days: Sequence[Days], today: dt.date
    ) -> dict[dt.date, str]:
        """Why each day is computed whole: the strongest reason that any source gives."""
        states = {
            state: union(days for one in known.values() for days in one.get(state, ())) for state in (FAILED, OPEN)
        }
        ever = [
            union(days for ranges in known.get(source, {}).values() for days in ranges) for source in self._always_there
        ]
        found = {}
        for day in (day for part in days for day in part):
            if not all(_holds(ranges, day) for ranges in ever):
                reason = RUNNING if day == today else NEVER
            elif _holds(states[FAILED], day):
                reason = FAILED_BEFORE
            elif _holds(states[OPEN], day):
                reason = RUNNING if day >= today else ENDED
            else:
                reason = CHANGED if _holds(changed_days, day) else LOOKBACK
            found[day] = self._said(reason)
        return found

    @property
    def _always_there(self) -> list[str]:
        """The sources that have every day; functions, which may begin later, only where there is no other."""
        functions = {one.label for one in self.rollup.functions}
        return [one for one in self.sources.labels if one not in functions] or self.sources.labels

    def _said(self, reason: str) -> str:
        """A reason, with the rollups whose rows were taken as they were last folded."""
        lowers = ", ".join(one.rollup.__name__ for one in self.rollup.definition.lowers)
        return f"{reason}; computed from {lowers} as last folded" if lowers else reason


def _holds(ranges: Sequence[Days], day: dt.date) -> bool:
    return any(day in one for one in ranges)


def _days(cells: pa.Table) -> list[dt.date]:
    """The days of cells, each once, in order."""
    return sorted(cells["day"].unique().to_pylist())


def _keyless(cells: pa.Table) -> list[dt.date]:
    """The days of which every cell is meant."""
    return _days(cells.filter(cells["key"].is_null()))
