"""The fold: decides cells, computes them, publishes what differs, records coverage. Fold floor.

Invariant: a chunk's rows, coverage and counts are one transaction; a kill between chunks leaves a state that
the next run completes.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from dayfold.clock import Clock
from dayfold.clock import today as today_of
from dayfold.days import Days
from dayfold.define.fingerprint import digest
from dayfold.engines.base import Changed, Session, ensure
from dayfold.errors import Busy, DayfoldError, LeaseLost, SourceFailed
from dayfold.fold import chunk as chunks
from dayfold.fold import reshape
from dayfold.fold.binding import Bound, Databases
from dayfold.ledger import coverage, leases, runs, versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, Scan, identity
from dayfold.plan.cells import Covered, due, history_start, portions
from dayfold.plan.scan import facts_per_day, first_day
from dayfold.plan.shape import Shape

#: New days that a run may bring without the facts of its source being counted first.
_GUESSED_DAYS = 3
#: Called after each chunk: rollup, days done, days in all.
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class FoldResult:
    """What a fold did to one rollup.

    Attributes:
        status: ``done``; ``partial`` where some sources failed; ``failed``.
        cells: Cells computed, ``rows_…``: rows written.
        seconds: From taking the lease to giving it back.
        error: What went wrong, one sentence for each source.
    """

    rollup: str
    status: str = runs.DONE
    run_id: int | None = None
    cells: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0
    seconds: float = 0.0
    error: str | None = None
    days: list[Days] = field(default_factory=list)

    def add(self, changed: Changed, cells: int) -> None:
        """Count what a chunk did."""
        self.cells += cells
        self.rows_inserted += changed.inserted
        self.rows_updated += changed.updated
        self.rows_deleted += changed.deleted


@dataclass(slots=True)
class Work:
    """What one fold of one rollup is about to do."""

    days: list[Days]
    total_days: int
    today: dt.date
    known_facts: dict[dt.date, int]


class Folder:
    """Folds rollups of one store."""

    def __init__(self, databases: Databases, ledger: Ledger, clock: Clock, *, chunk_rows: int, wait_s: float) -> None:
        self.databases = databases
        self.store = databases.store
        self.ledger = ledger
        self.clock = clock
        self.chunk_rows = chunk_rows
        self.wait_s = wait_s

    def fold(self, bound: Bound, *, allow_empty: bool = False, progress: Progress | None = None) -> list[FoldResult]:
        """Fold each rollup; one that fails does not keep the others from being folded."""
        results = []
        for rollup in bound.rollups:
            result = FoldResult(rollup.name)
            began = time.perf_counter()
            try:
                self._fold_one(rollup, failing(rollup, bound), result, allow_empty, progress)
            except DayfoldError as error:
                result.status, result.error = runs.FAILED, str(error)
                if not isinstance(error, Busy | LeaseLost):
                    self._note_failure(rollup, result)
            result.seconds = round(time.perf_counter() - began, 4)
            results.append(result)
        return results

    def _note_failure(self, rollup: BoundRollup, result: FoldResult) -> None:
        """The run ended badly; one that came to nothing before it was written down is written down now."""
        with suppress(DayfoldError), self.store.transaction() as session:
            if result.run_id is None:
                known = versions.versions(self.ledger, session).get(rollup.name)
                number = known.number if known else 0
                result.run_id = runs.begin(
                    self.ledger, session, "fold", rollup.name, number, leases.holder_name(), None
                )
            runs.finish(self.ledger, session, result.run_id, result.status, result.error)

    def _fold_one(
        self,
        rollup: BoundRollup,
        failed: dict[str, DayfoldError],
        result: FoldResult,
        allow_empty: bool,
        progress: Progress | None,
    ) -> None:
        is_new = self._register(rollup)
        with leases.lease(self.ledger, rollup.name, wait_s=self.wait_s) as lease:
            target = self._target(rollup, lease, is_new)
            work = self.decide(rollup, target.number, failed, fresh=is_new)
            span = Days(work.days[0].first, work.days[-1].last) if work.days else None
            with self.store.transaction() as session:
                leases.fence(self.ledger, session, lease)
                result.run_id = runs.start(self.ledger, session, "fold", rollup.name, target.number, lease.holder, span)
            task = chunks.Chunk(
                self.databases,
                self.ledger,
                target.rollup,
                target.number,
                lease,
                result.run_id,
                work.today,
                failed,
                allow_empty,
                building=target.building,
            )
            done = 0
            for days in self._portions(rollup, work, failed):
                if done:
                    # A long history takes no more memory than one portion of it.
                    self._trim(rollup)
                changed, cells = task.fold(days, work.days)
                result.add(changed, cells)
                result.days.append(days)
                done += len(days)
                if progress:
                    progress(rollup.name, done, work.total_days)
            failed = task.met
            if target.building and not failed:
                result.add(
                    reshape.publish_version(self.ledger, rollup, target.rollup, lease, result.run_id, allow_empty),
                    0,
                )
            self._finish(result, failed, target.building)

    def _trim(self, rollup: BoundRollup) -> None:
        for database in {self.store, *(self.databases.of(scan.source) for scan in rollup.scans)}:
            database.trim()

    def _finish(self, result: FoldResult, failed: dict[str, DayfoldError], building: bool) -> None:
        if failed:
            result.status = runs.PARTIAL
            result.error = "; ".join(_named(source, error) for source, error in sorted(failed.items()))
            if building:
                result.error += (
                    "\n  The edited definition is published once that can be read; the old one stays until then."
                )
        with self.store.transaction() as session:
            assert result.run_id is not None
            runs.finish(self.ledger, session, result.run_id, result.status, result.error)

    def _register(self, rollup: BoundRollup) -> bool:
        """The rollup has its tables and its place in the ledger; whether this call made them."""
        return self.ledger.make_once(lambda: self._is_registered(rollup), lambda: self._make_tables(rollup))

    def _is_registered(self, rollup: BoundRollup) -> bool:
        with self.store.transaction(read_only=True) as session:
            return rollup.name in versions.versions(self.ledger, session)

    def _make_tables(self, rollup: BoundRollup) -> None:
        with self.store.transaction() as session:
            reshape.check_free(self.ledger, session, rollup)
            for shape in shapes(rollup):
                session.execute(shape.create(self.store.dialect))
            words = identity(rollup)
            versions.register(self.ledger, session, rollup.name, rollup.shape.name, digest(words), words)

    def _target(self, rollup: BoundRollup, lease: leases.Lease, is_new: bool) -> Target:
        """Where this fold publishes: the rollup's tables or, for an edited definition, those built aside."""
        if is_new:
            return Target(rollup, 1, building=False)
        words = identity(rollup)
        mark = digest(words)
        with self.store.transaction() as session:
            leases.fence(self.ledger, session, lease)
            version = versions.versions(self.ledger, session)[rollup.name]
            if version.fingerprint == mark:
                if version.building:
                    versions.abandon_build(self.ledger, session, version)
                    reshape.drop_build(self.ledger, session, rollup.shape)
                self._ensure(session, rollup, rollup, version.number)
                return Target(rollup, version.number, building=False)
            built = reshape.build_of(rollup)
            reshape.check_free(self.ledger, session, rollup, version)
            reshape.check_ours(self.ledger, session, rollup, version)
            if version.building != mark:
                for name in {version.table, version.building_table or version.table, rollup.shape.name}:
                    reshape.drop_build(self.ledger, session, rollup.shape.named(name))
                versions.begin_build(self.ledger, session, version, mark, words)
            self._ensure(session, rollup, built, version.number + 1)
            return Target(built, version.number + 1, building=True)

    def _ensure(self, session: Session, rollup: BoundRollup, target: BoundRollup, number: int) -> None:
        """The tables are there; what was covered in one that somebody dropped is not covered any more."""
        made = [ensure(self.store, session, shape) for shape in shapes(target)]
        if any(made):
            coverage.forget(self.ledger, session, rollup.name, number)

    def decide(
        self, rollup: BoundRollup, version: int, failed: dict[str, DayfoldError], *, fresh: bool = False
    ) -> Work:
        """The days to fold now. Sources that fail here are added to ``failed``. ``fresh``: none is covered yet."""
        today = today_of(self.clock)
        known: dict[str, tuple[dt.date, list[Days]]] = {}
        if not fresh:
            with self.store.transaction(read_only=True) as session:
                known = coverage.settled(self.ledger, session, rollup.name, version)
        covered = covered_days(known, rollup)
        definition = rollup.definition
        moments = [] if definition.since else [self._first_day(scan, failed) for scan in rollup.scans]
        start = history_start(moments, covered.values(), definition.since, today)
        days = due(start, today, definition.lookback_days, covered)
        facts: dict[dt.date, int] = {}
        if known:
            with self.store.transaction(read_only=True) as session:
                facts = coverage.facts_of(self.ledger, session, rollup.name, version, days)
        return Work(days, sum(map(len, days)), today, facts)

    def _first_day(self, scan: Scan, failed: dict[str, DayfoldError]) -> dt.date | None:
        if scan.label in failed:
            return None
        database = self.databases.of(scan.source)
        try:
            with database.transaction(read_only=True) as session, session.within(scan.source):
                found = session.rows(first_day(scan, database.dialect))
        except DayfoldError as error:
            failed[scan.label] = as_source_failure(scan, error)
            return None
        day = found[0][0] if found else None
        return day if isinstance(day, dt.date) else None

    def _portions(self, rollup: BoundRollup, work: Work, failed: dict[str, DayfoldError]) -> list[Days]:
        """The work cut into transactions by the number of facts; one where there are few."""
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


@dataclass(frozen=True, slots=True)
class Target:
    """The tables that a fold publishes to and the version its coverage is kept under."""

    rollup: BoundRollup
    number: int
    building: bool


def shapes(rollup: BoundRollup) -> Sequence[Shape]:
    """The rollup's tables."""
    return [rollup.shape, *([rollup.sets_shape] if rollup.sets_shape else [])]


def failing(rollup: BoundRollup, bound: Bound) -> dict[str, DayfoldError]:
    """The sources of a rollup that cannot be read just now, with the reason."""
    return {scan.label: bound.failed[scan.label] for scan in rollup.scans if scan.label in bound.failed}


def covered_days(known: Mapping[str, tuple[dt.date, list[Days]]], rollup: BoundRollup) -> dict[str, Covered]:
    """What each source of a rollup has covered."""
    nothing: tuple[None, list[Days]] = (None, [])
    found = {}
    for source in {scan.label for scan in rollup.scans}:
        first, ranges = known.get(source, nothing)
        found[source] = Covered(ranges, first)
    return found


def _named(source: str, error: DayfoldError) -> str:
    """What went wrong with a source, its name said once."""
    return str(error) if error.message.startswith(source) else f"{source}: {error}"


def as_source_failure(scan: Scan, error: DayfoldError) -> SourceFailed:
    """An error met while reading a source, as the source's own."""
    return SourceFailed(error.message, source=scan.label, hint=error.hint)
