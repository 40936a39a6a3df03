"""The fold: decides cells, computes them, publishes what differs, records coverage. Fold floor.

Invariant: a chunk's rows, coverage and counts are one transaction; a kill between chunks leaves a state that
the next run completes.
"""

from __future__ import annotations

import datetime as dt
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dayfold.clock import Clock
from dayfold.days import LIFE, Days
from dayfold.define.fingerprint import digest
from dayfold.engines.base import Changed, Session, check_columns, ensure, make_shape
from dayfold.engines.databases import Databases
from dayfold.errors import Busy, DayfoldError, LeaseLost, SourceFailed, Stopped
from dayfold.fold import above, fetch, reshape, track
from dayfold.fold import chunk as chunks
from dayfold.fold.binding import Bound
from dayfold.fold.decide import Decider, Work, failing
from dayfold.fold.discover import Discoverer, Discovery
from dayfold.fold.longview import LongView
from dayfold.ledger import coverage, leases, marks, runs, versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, identity
from dayfold.plan.cells import cell_portions
from dayfold.plan.shape import Shape

if TYPE_CHECKING:
    import pyarrow as pa

#: Marked cells that one transaction computes.
_CHUNK_CELLS = 50_000
#: Called after each chunk: rollup, days done, days in all.
Progress = Callable[[str, int, int], None]
#: Called between two chunks; raises `dayfold.errors.Stopped` where the run was told to stop. What ends a statement that runs is
#: `dayfold.interrupting.Interrupt`.
StopCheck = Callable[[], None]


def never() -> None:
    """Goes on: what a run asks that nobody can stop."""


@dataclass(slots=True)
class FoldResult:
    """What a fold did to one rollup.

    Attributes:
        status: ``done``; ``partial`` where some sources failed; ``failed``; ``stopped``.
        cells: Cells computed, ``rows_…``: rows written.
        seconds: From taking the lease to giving it back.
        error: What went wrong, one sentence for each source; ``code``: of the error that ended it.
        days: The ranges that were computed whole; ``marked``: how many single cells beside them.
        warnings: What has to be known though the fold succeeded.
        is_lifelong: Whether it is a profile, whose cells are entities.
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
    code: str | None = None
    days: list[Days] = field(default_factory=list)
    marked: int = 0
    warnings: list[str] = field(default_factory=list)
    is_lifelong: bool = False

    def add(self, changed: Changed, cells: int) -> None:
        """Count what a chunk did."""
        self.cells += cells
        self.rows_inserted += changed.inserted
        self.rows_updated += changed.updated
        self.rows_deleted += changed.deleted


class Folder:
    """Folds rollups of one store."""

    def __init__(
        self,
        databases: Databases,
        ledger: Ledger,
        clock: Clock,
        bound: Bound,
        *,
        chunk_rows: int,
        wait_s: float,
        stop: StopCheck = never,
        long_view: LongView | None = None,
        published: dict[str, str] | None = None,
    ) -> None:
        self.long_view = long_view
        #: By rollup, the definition that this process knows to be published; None: whichever is published is replaced.
        self.published = published
        self.databases = databases
        self.store = databases.store
        self.ledger = ledger
        self.clock = clock
        self.bound = bound
        self.chunk_rows = chunk_rows
        self.wait_s = wait_s
        self.stop = stop
        self.decider = Decider(databases, ledger, clock, bound, chunk_rows)
        self.tracking = track.Tracking(databases, ledger, bound)
        self.fetcher = fetch.Fetcher(databases, ledger, clock, wait_s, stop)

    def fold(
        self, *, allow_empty: bool = False, progress: Progress | None = None, job: str = "fold"
    ) -> list[FoldResult]:
        """Fold each rollup, those it is folded from before it; one that fails does not keep the others from it.

        A fold that is told to stop has no results of the rollups after the one that it stopped at.
        """
        results: dict[str, FoldResult] = {}
        for rollup in self.bound.rollups:
            result = results[rollup.name] = FoldResult(rollup.name, is_lifelong=rollup.is_lifelong)
            began = time.perf_counter()
            try:
                self.stop()
                failed = failing(rollup, self.bound) | _unfolded(rollup, results)
                self._fold_one(rollup, failed, result, allow_empty, progress, job)
            except DayfoldError as error:
                result.status, result.error, result.code = _ending(error), str(error), error.code
                if isinstance(error, Stopped) and result.run_id is None:
                    break
                if not isinstance(error, Busy | LeaseLost):
                    self._note_failure(rollup, result, job)
            result.seconds = round(time.perf_counter() - began, 4)
            if result.status == runs.STOPPED:
                break
        self._refresh_view([*results.values()][:1])
        return list(results.values())

    def _refresh_view(self, results: Sequence[FoldResult]) -> None:
        """The long view is that of the rollups as they are now; where it cannot be, the first result says why."""
        reason = self.long_view.refresh() if self.long_view else None
        if reason and results:
            results[0].warnings.append(reason)

    def _note_failure(self, rollup: BoundRollup, result: FoldResult, job: str) -> None:
        """The run ended badly; one that came to nothing before it was written down is written down now."""
        with suppress(DayfoldError), self.store.transaction() as session:
            if result.run_id is None:
                known = versions.versions(self.ledger, session).get(rollup.name)
                number = known.number if known else 0
                result.run_id = runs.begin(self.ledger, session, job, rollup.name, number, leases.holder_name(), None)
            runs.finish(self.ledger, session, result.run_id, result.status, result.error)

    def _fold_one(
        self,
        rollup: BoundRollup,
        failed: dict[str, DayfoldError],
        result: FoldResult,
        allow_empty: bool,
        progress: Progress | None,
        job: str,
    ) -> None:
        is_new = self.register(rollup)
        with leases.lease(self.ledger, rollup.name, wait_s=self.wait_s) as lease:
            target = self.ledger.retried(lambda: self._target(rollup, lease, is_new))
            unfetched = self.fetcher.fetch(rollup, target.number, allow_empty=allow_empty, progress=progress)
            found = self.discover(rollup, target.number, lease, failed, fresh=is_new)
            result.warnings += _warnings(rollup, found)
            work = self.decider.decide(rollup, target.number, failed, set(found.untracked), fresh=is_new)
            slices = self.decider.slices(rollup, work, failed) if rollup.is_lifelong else 1
            everything = self._everything(rollup, target.number, work, in_parts=slices > 1)
            span = Days(work.days[0].first, work.days[-1].last) if work.days else None
            with self.store.transaction() as session:
                leases.fence(self.ledger, session, lease)
                started = runs.start(self.ledger, session, job, rollup.name, target.number, lease.holder, span)
                result.run_id = started.run_id
                if reshape.REBUILD in started.interrupted:
                    reshape.drop_aside(self.ledger, session, rollup.shape)
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
                uppers=lambda session: self.uppers(session, rollup),
                tracked=found.tracked,
                building=target.building,
            )
            self._chunks(rollup, work, failed, task, result, progress, slices)
            failed = task.met
            self._close(rollup, target.number, work, everything, lease, failed)
            if target.building and not failed:
                publish = functools.partial(
                    reshape.publish_version, self.ledger, rollup, target.rollup, lease, result.run_id, allow_empty,
                    task.uppers, self.long_view,
                )  # fmt: skip
                result.add(self.ledger.retried(publish), 0)
                self.fetcher.drop_unread()
            self._finish(result, failed, target.building, unfetched)

    def _chunks(
        self,
        rollup: BoundRollup,
        work: Work,
        failed: dict[str, DayfoldError],
        task: chunks.Chunk,
        result: FoldResult,
        progress: Progress | None,
        slices: int,
    ) -> None:
        """Whole days first, then the marked cells of other days."""
        marked = work.marked.days
        if slices > 1:
            whole = self.decider.parts(rollup, slices)
        else:
            days_of = work.days if rollup.is_lifelong else self.decider.portions(rollup, work, failed)
            whole = [chunks.Portion(days, has_marks=any(day in days for day in marked)) for days in days_of]
        cells = [chunks.Portion(days, True, True) for days in cell_portions(work.cells, _CHUNK_CELLS)]
        done = 0
        for number, portion in enumerate([*whole, *cells]):
            self.stop()
            if number:
                # A long history takes no more memory than one portion of it.
                self._trim(rollup)
            changed, count = self.ledger.retried(functools.partial(task.fold, portion, work.days))
            result.add(changed, count)
            if portion.marked:
                result.marked += count
                continue
            if portion.is_last:
                result.days.append(portion.days)
            done += len(portion.days)
            if progress:
                progress(rollup.name, done, max(slices, work.total_days))

    def discover(
        self,
        rollup: BoundRollup,
        version: int,
        lease: leases.Lease,
        failed: dict[str, DayfoldError],
        *,
        fresh: bool = False,
    ) -> Discovery:
        """Mark what changed in the sources that tell it."""
        told = any(one.is_tracked or one.cursor for one in rollup.definition.sources)
        if not told and all(scan.levels is None for scan in rollup.scans):
            return Discovery()
        finder = Discoverer(self.databases, self.ledger, rollup, version, lease)
        return finder.discover(failed, self.tracking, fresh=fresh)

    def _everything(self, rollup: BoundRollup, version: int, work: Work, *, in_parts: bool) -> pa.Table | None:
        """The marks that mean every cell, as they are before anything is computed.

        ``in_parts``: those of single cells too, of a day that is done with only after several transactions.
        """
        if not (work.marked.everything or (in_parts and work.marked.days)):
            return None
        import pyarrow as pa

        with self.store.transaction(read_only=True) as session:
            ranges = [None, *([Days(LIFE, LIFE)] if in_parts else [])]
            return pa.concat_tables([marks.listed(self.ledger, session, rollup.name, version, days) for days in ranges])

    def _close(
        self,
        rollup: BoundRollup,
        version: int,
        work: Work,
        everything: pa.Table | None,
        lease: leases.Lease,
        failed: Mapping[str, DayfoldError],
    ) -> None:
        """Days that ended are closed, and marks that are done with, or on no day of the rollup's, are gone."""
        is_standing = rollup.definition.is_standing
        # Days that nothing can compute again are over whatever became of their source.
        closing = [source for source in work.closing if is_standing or source not in failed]
        since = work.today if is_standing else rollup.definition.since
        beyond = any(day > work.today or (since and day < since) for day in work.marked.days)
        if not (closing or beyond or everything is not None):
            return
        with self.store.transaction() as session:
            leases.fence(self.ledger, session, lease)
            close = coverage.seal_days if is_standing else coverage.close_days
            closed = close(self.ledger, session, rollup.name, version, closing, work.today)
            if beyond:
                marks.drop_beyond(self.ledger, session, rollup.name, version, since, work.today)
            if everything is not None and not failed:
                marks.read(self.ledger, session, rollup.name, version, None, everything)
                marks.delete_read(self.ledger, session)
            if closed:
                versions.bump_revision(self.ledger, session, rollup.name)

    def uppers(self, session: Session, rollup: BoundRollup) -> list[above.Upper]:
        """The rollups folded from one, as the ledger and the definitions know them.

        Looked up in the transaction that publishes: one that registers later is fenced off until that has ended.
        """
        found = []
        defined = {one.name: one for one in self.bound.known}
        for name, one in versions.versions(self.ledger, session).items():
            if name == rollup.name or rollup.shape.name not in versions.folded_from(one):
                continue
            bound = defined.get(name)
            mark = digest(identity(bound)) if bound else None
            # What is known of it now may be its published version, the one that is being built, or neither.
            for number, fingerprint in ((one.number, one.fingerprint), (one.number + 1, one.building)):
                if fingerprint is not None:
                    found.append(above.Upper(name, (number,), bound if fingerprint == mark else None))
        return found

    def _trim(self, rollup: BoundRollup) -> None:
        for database in {self.store, *(self.databases.of(scan.source) for scan in rollup.scans)}:
            database.trim()

    def _finish(
        self,
        result: FoldResult,
        failed: dict[str, DayfoldError],
        building: bool,
        unfetched: Mapping[str, Mapping[dt.date, str]],
    ) -> None:
        if failed:
            result.status = runs.PARTIAL
            result.error = "; ".join(_named(source, error) for source, error in sorted(failed.items()))
            if building:
                result.error += (
                    "\n  The edited definition is published once that can be read; the old one stays until then."
                )
        if unfetched:
            # What was fetched of other days is published all the same, and so is an edited definition.
            result.status = runs.PARTIAL
            words = [fetch.said_unfetched(source, days) for source, days in sorted(unfetched.items())]
            result.error = "; ".join([*([result.error] if result.error else []), *words])
        with self.store.transaction() as session:
            assert result.run_id is not None
            runs.finish(self.ledger, session, result.run_id, result.status, result.error)

    def register(self, rollup: BoundRollup) -> bool:
        """The rollup has its tables and its place in the ledger; whether this call made them."""
        for source in rollup.functions:
            fetch.ensure_table(self.ledger, source)
        made = self.ledger.make_once(lambda: self._is_registered(rollup), lambda: self._make_tables(rollup))
        if made:
            self._refresh_view(())
        return made

    def _is_registered(self, rollup: BoundRollup) -> bool:
        with self.store.transaction(read_only=True) as session:
            return rollup.name in versions.versions(self.ledger, session)

    def _make_tables(self, rollup: BoundRollup) -> None:
        with self.store.transaction() as session:
            reshape.check_free(self.ledger, session, rollup)
            for shape in shapes(rollup):
                make_shape(session, shape)
            words = identity(rollup)
            versions.register(self.ledger, session, rollup.name, rollup.shape.name, digest(words), words)
            self._pass_fences(session, rollup)

    def _pass_fences(self, session: Session, rollup: BoundRollup) -> None:
        """The rollups that this one is folded from know of it from now on."""
        for lower in rollup.definition.lowers:
            versions.pass_fence(self.ledger, session, lower.rollup.__name__)

    def _target(self, rollup: BoundRollup, lease: leases.Lease, is_new: bool) -> Target:
        """Where this fold publishes: the rollup's tables or, for an edited definition, those built aside."""
        if is_new:
            return Target(rollup, 1, building=False)
        words = identity(rollup)
        mark = digest(words)
        with self.store.transaction(read_only=True) as session:
            version = versions.versions(self.ledger, session)[rollup.name]
            reshape.check_not_undone(version, mark, self.published)
            known = self.store.stored_columns(session, [one.name for one in shapes(rollup)])
        if version.fingerprint == mark and not version.building and len(known) == len(shapes(rollup)):
            # As on any ordinary day: there is nothing to make, and nothing to write.
            for shape in shapes(rollup):
                check_columns(self.store, shape, known[shape.name])
            return Target(rollup, version.number, building=False)
        with self.store.transaction() as session:
            leases.fence(self.ledger, session, lease)
            version = versions.versions(self.ledger, session)[rollup.name]
            reshape.check_not_undone(version, mark, self.published)
            if version.fingerprint == mark:
                if version.building:
                    versions.abandon_build(self.ledger, session, version)
                    reshape.drop_build(self.ledger, session, rollup.shape)
                self._ensure(session, rollup, rollup, version.number)
                return Target(rollup, version.number, building=False)
            reshape.check_unsealed(self.ledger, session, rollup, version)
            built = reshape.build_of(rollup)
            reshape.check_free(self.ledger, session, rollup, version)
            reshape.check_ours(self.ledger, session, rollup, version)
            if version.building != mark:
                for name in {version.table, version.building_table or version.table, rollup.shape.name}:
                    reshape.drop_build(self.ledger, session, rollup.shape.named(name))
                versions.begin_build(self.ledger, session, version, mark, words)
                self._pass_fences(session, rollup)
            self._ensure(session, rollup, built, version.number + 1)
            return Target(built, version.number + 1, building=True)

    def _ensure(self, session: Session, rollup: BoundRollup, target: BoundRollup, number: int) -> None:
        """The tables are there; what was covered in one that somebody dropped is not covered any more."""
        made = [ensure(self.store, session, shape) for shape in shapes(target)]
        if any(made):
            coverage.forget(self.ledger, session, rollup.name, number)


@dataclass(frozen=True, slots=True)
class Target:
    """The tables that a fold publishes to and the version its coverage is kept under."""

    rollup: BoundRollup
    number: int
    building: bool


def shapes(rollup: BoundRollup) -> Sequence[Shape]:
    """The rollup's tables."""
    return [rollup.shape, *([rollup.sets_shape] if rollup.sets_shape else [])]


def _unfolded(rollup: BoundRollup, results: Mapping[str, FoldResult]) -> dict[str, DayfoldError]:
    """The rollups that this one is folded from and that were not folded whole, as sources that fail."""
    found: dict[str, DayfoldError] = {}
    for source in rollup.definition.lowers:
        lower = results.get(source.rollup.__name__)
        if lower is not None and lower.status != runs.DONE:
            reason = f"{lower.rollup}, which it is folded from, was not folded whole."
            found[source.label] = SourceFailed(reason, source=source.label)
    return found


def _warnings(rollup: BoundRollup, found: Discovery) -> list[str]:
    """What has to be said of sources that do not tell their changes as their definition says."""
    days = rollup.definition.lookback_days(found.untracked) or 0
    titles = {one.label: one.title for one in rollup.definition.sources}
    how = "is read whole by every fold" if rollup.is_lifelong else f"is folded by a lookback of {days} days"
    return [
        f"{titles[source]} {how}, because {reason}. Install its triggers: dayfold track install"
        for source, reason in found.untracked.items()
    ]


def _named(source: str, error: DayfoldError) -> str:
    """What went wrong with a source, its name said once."""
    return str(error) if error.message.startswith(source) else f"{source}: {error}"


def _ending(error: DayfoldError) -> str:
    """How a run ended that this error ended."""
    return runs.STOPPED if isinstance(error, Stopped) else runs.FAILED
