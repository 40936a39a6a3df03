"""Decides what a fold computes: whole days, marked cells, and in which portions. Fold floor.

Reads coverage, marks and, where a source tells nothing, its first moment; writes nothing.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection
from dataclasses import dataclass, field

from dayfold.clock import Clock
from dayfold.clock import today as today_of
from dayfold.days import LIFE, ONE_DAY, Days, overlap, union, without
from dayfold.engines.databases import Databases
from dayfold.errors import DayfoldError, SourceFailed
from dayfold.fold import chunk as chunks
from dayfold.fold.binding import Bound
from dayfold.ledger import coverage, fetches, marks
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, Scan
from dayfold.plan.cells import Covered, due, history_start, portions
from dayfold.plan.keys import KeySlice
from dayfold.plan.scan import facts_per_day, first_day

#: New days that a run may bring without the facts of its source being counted first.
_GUESSED_DAYS = 3


@dataclass(slots=True)
class Work:
    """What one fold of one rollup is about to do.

    Attributes:
        days: Ranges to fold whole.
        cells: How many marks other days have, by day.
        everything: The marks that mean every cell, which are done with at the end.
        closing: Sources that told their changes while days were open that are over now: these are closed as they are.
    """

    days: list[Days]
    total_days: int
    today: dt.date
    known_facts: dict[dt.date, int]
    marked: marks.Marks = field(default_factory=lambda: marks.Marks(False, (), {}))
    cells: dict[dt.date, int] = field(default_factory=dict)
    closing: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Decider:
    """Decides for the rollups of one store. ``chunk_rows``: the facts that one transaction covers."""

    databases: Databases
    ledger: Ledger
    clock: Clock
    bound: Bound
    chunk_rows: int

    def decide(
        self,
        rollup: BoundRollup,
        version: int,
        failed: dict[str, DayfoldError],
        untracked: Collection[str] = (),
        *,
        fresh: bool = False,
        without_ledger: bool = False,
    ) -> Work:
        """The days and cells to fold now. Sources that fail here are added to ``failed``.

        ``untracked``: sources that should tell their changes and do not. ``fresh``: no day is covered yet, and
        ``without_ledger``: nothing is there at all.
        """
        # A profile has one bucket, which is never over. What names the day is folded for that one, also after its midnight.
        today = LIFE if rollup.is_lifelong else rollup.bound_on or today_of(self.clock)
        known: dict[str, dict[str, list[Days]]] = {}
        standings: dict[str, fetches.Standing] = {}
        marked = marks.Marks(False, (), {})
        outdated = False
        reports = any(one.reports_changes for one in rollup.definition.sources)
        if not without_ledger and (reports or not fresh):
            with self.ledger.store.transaction(read_only=True) as session:
                known = coverage.ranges(self.ledger, session, rollup.name, version)
                marked = marks.pending(self.ledger, session, rollup.name, version)
                standings = fetches.standings(self.ledger, session, rollup)
                outdated = rollup.as_of is not None and rollup.as_of != coverage.as_of(
                    self.ledger, session, rollup.name, version
                )
        definition = rollup.definition
        reporting = [
            one.label for one in definition.sources if one.reports_changes and one.label not in {*untracked, *failed}
        ]
        covered = {
            scan.label: coverage.covered(known.get(scan.label, {}), when_open=scan.label in reporting and not outdated)
            for scan in rollup.scans
        }
        if definition.is_standing:
            # Nothing can tell how a profile stood on a day that is over.
            past = Days(dt.date.min, today - ONE_DAY)
            covered = {source: Covered(union([past, *one.folded]), today) for source, one in covered.items()}
        covered |= {source: one.covered(known.get(source, {})) for source, one in standings.items()}
        moments = [one.first for one in standings.values()]
        if not (definition.since or rollup.is_lifelong):
            # Of a source that tells its changes, only what is marked can be older than what was covered.
            told = coverage.known_from(known, () if marked.everything else reporting)
            apart = {*told, *(one.label for one in rollup.functions)}
            # What is known of a source begins with a day: only an earlier fact would change where its history begins.
            moments += [
                self.first_day(scan, failed, covered[scan.label].first)
                for scan in rollup.scans
                if scan.label not in apart
            ]
        moments += marked.days[:1]
        start = history_start(moments, covered.values(), definition.since, today)
        sealed = coverage.sealed_days(known)
        lookback = definition.lookback_days({*untracked, *failed})
        days = due(start, today, lookback, covered, sealed)
        wanted = [Days(day, day) for day in marked.whole_days if start <= day <= today]
        if marked.everything and start <= today:
            wanted.append(Days(start, today))
        if definition.is_standing:
            wanted = [part for one in wanted if (part := overlap(one, Days(today, today)))]
        if wanted:
            days = [part for one in union([*days, *wanted]) for part in without(one, sealed)]
        facts: dict[dt.date, int] = {}
        if known:
            with self.ledger.store.transaction(read_only=True) as session:
                facts = coverage.facts_of(self.ledger, session, rollup.name, version, days)
        cells = {
            day: count
            for day, count in marked.cells.items()
            if start <= day <= today and not any(day in one for one in days)
            if not (definition.is_standing and day < today)
        }
        ends = (coverage.OPEN, coverage.FAILED) if definition.is_standing else (coverage.OPEN,)
        closing = [
            source
            for source in (known if definition.is_standing else reporting)
            if any(one.first < today for state in ends for one in known.get(source, {}).get(state, ()))
        ]
        return Work(days, sum(map(len, days)), today, facts, marked, cells, closing)

    def first_day(self, scan: Scan, failed: dict[str, DayfoldError], before: dt.date | None = None) -> dt.date | None:
        """The day of a source's first fact, before a day; a source that cannot be read is added to ``failed``."""
        if scan.label in failed:
            return None
        database = self.databases.of(scan.source)
        try:
            with database.transaction(read_only=True) as session, session.within(scan.source):
                found = session.rows(first_day(scan, database.dialect, before))
        except DayfoldError as error:
            failed[scan.label] = as_source_failure(scan, error)
            return None
        day = found[0][0] if found else None
        return day if isinstance(day, dt.date) else None

    def portions_of(self, rollup: BoundRollup, ranges: list[Days]) -> list[Days]:
        """Days cut into transactions by the number of facts. Raises SourceFailed where a source cannot be read."""
        failed = failing(rollup, self.bound)
        found = [] if failed else self.portions(rollup, Work(ranges, 0, today_of(self.clock), {}), failed)
        for source, error in failed.items():
            raise SourceFailed(f"{source}: {error.message}", source=source, hint=error.hint)
        return found

    def portions(self, rollup: BoundRollup, work: Work, failed: dict[str, DayfoldError]) -> list[Days]:
        """The work cut into transactions by the number of facts; one where there are few."""
        if not work.days:
            return []
        facts: dict[dt.date, int] = dict(work.known_facts)
        unknown = [day for days in work.days for day in days if day not in facts]
        if len(unknown) <= _GUESSED_DAYS and facts:
            # A daily run: a new day is taken to be as full as the fullest known one, and nothing is counted.
            return portions(work.days, facts | dict.fromkeys(unknown, max(facts.values())), self.chunk_rows)
        facts = {}
        for scan in rollup.scans:
            if scan.label in failed:
                continue
            database = self.databases.of(scan.source)
            try:
                with database.transaction(read_only=True) as session, session.within(scan.source):
                    if chunks.fewer_facts(session, scan, self.chunk_rows):
                        continue
                    for days in work.days:
                        for day, count in session.rows(facts_per_day(scan, days)):
                            facts[day] = facts.get(day, 0) + count
            except DayfoldError as error:
                failed[scan.label] = as_source_failure(scan, error)
        return portions(work.days, facts, self.chunk_rows)

    def slices(self, rollup: BoundRollup, work: Work, failed: dict[str, DayfoldError]) -> int:
        """In how many parts of its keys a profile is computed, by the number of its facts; 0 where it need not be."""
        if not work.days:
            return 0
        facts = sum(work.known_facts.values())
        if not facts:
            for scan in rollup.scans:
                if scan.label not in failed:
                    facts += self._facts(scan, failed)
        return max(1, math.ceil(facts / self.chunk_rows))

    def slices_of(self, rollup: BoundRollup, ranges: list[Days]) -> int:
        """In how many parts a profile that is there is computed again. Raises SourceFailed where a source cannot be read."""
        failed = failing(rollup, self.bound)
        found = 1 if failed else self.slices(rollup, Work(ranges, 1, LIFE, {}), failed)
        for source, error in failed.items():
            raise SourceFailed(f"{source}: {error.message}", source=source, hint=error.hint)
        return found

    def parts(self, rollup: BoundRollup, slices: int) -> list[chunks.Portion]:
        """The parts of a profile, by a key column."""
        life, key = Days(LIFE, LIFE), rollup.shape.key[-1].name
        if slices == 1:
            return [chunks.Portion(life)]
        return [chunks.Portion(life, keys=(KeySlice(key, n, slices),), is_last=n + 1 == slices) for n in range(slices)]

    def _facts(self, scan: Scan, failed: dict[str, DayfoldError]) -> int:
        """How many facts a source has; one that cannot be read is added to ``failed``."""
        database = self.databases.of(scan.source)
        try:
            with database.transaction(read_only=True) as session, session.within(scan.source):
                if chunks.fewer_facts(session, scan, self.chunk_rows):
                    # Less than one part: how many they are is of no matter.
                    return 0
                return sum(int(count) for _, count in session.rows(facts_per_day(scan, Days(LIFE, LIFE))))
        except DayfoldError as error:
            failed[scan.label] = as_source_failure(scan, error)
            return 0


def failing(rollup: BoundRollup, bound: Bound) -> dict[str, DayfoldError]:
    """The sources of a rollup that cannot be read just now, with the reason."""
    return {scan.label: bound.failed[scan.label] for scan in rollup.scans if scan.label in bound.failed}


def as_source_failure(scan: Scan, error: DayfoldError) -> SourceFailed:
    """An error met while reading a source, as the source's own."""
    return SourceFailed(error.message, source=scan.label, hint=error.hint)
