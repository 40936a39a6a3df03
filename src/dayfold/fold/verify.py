"""Verify: stored cells are what their sources say, or every difference is named, and healed where asked. Fold floor.

Compared under the rollup's lease. A cell that waits to be folded is not drift: changes are discovered before the comparison
and, where it found differences, once more after it.

Weakness: of a source that reports no changes, a fact that came since the last fold shows as drift until it is folded.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dayfold.clock import Clock
from dayfold.clock import today as today_of
from dayfold.days import Days, union
from dayfold.define.fingerprint import digest
from dayfold.define.function import FunctionSource
from dayfold.define.source import Folded
from dayfold.engines.base import Changed, check_columns
from dayfold.engines.databases import Databases
from dayfold.errors import DayfoldError, SourceFailed, Stopped
from dayfold.fold import drifts
from dayfold.fold.binding import Bound
from dayfold.fold.chosen import Choice, DueDays, due_days
from dayfold.fold.contrast import Contrast, Contraster
from dayfold.fold.decide import failing
from dayfold.fold.drifts import CHANGED, DEFINITION, Drift
from dayfold.fold.fold import Folder, Progress, StopCheck, never, shapes
from dayfold.fold.plan import edits_of
from dayfold.ledger import coverage, leases, receipts, runs, verifications, versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan import proof_life
from dayfold.plan.bind import BoundRollup, folded_columns
from dayfold.plan.bind import identity as words_of
from dayfold.plan.proof import branches

if TYPE_CHECKING:
    import pyarrow as pa

#: Days of the first comparison; later ones grow while they are quick and shrink when they are slow.
_FIRST_DAYS, _MOST_DAYS = 8, 128
_QUICK_SECONDS, _SLOW_SECONDS = 3.0, 10.0
#: Drifts that a result holds one by one; the rest are counted.
MOST_LISTED = 10_000


@dataclass(slots=True)
class VerifyResult:
    """What verifying one rollup found.

    Attributes:
        days: How many days were compared, and ``cells`` of them.
        drifted: How many cells differ, ``healed`` of them no more; ``drifts``: the first of them, metric by metric.
        left_out: What was not compared: how many, by reason.
        notes: What has to be known of the comparison.
        error: Why it could not be compared, or not healed; ``code``: of the error.
        is_lifelong: Whether it is a profile, whose cells are entities.
    """

    rollup: str
    run_id: int | None = None
    days: int = 0
    cells: int = 0
    drifted: int = 0
    healed: int = 0
    drifts: list[Drift] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    code: str | None = None
    is_lifelong: bool = False

    @property
    def is_proved(self) -> bool:
        """Whether everything that was compared is, now, what the sources say."""
        return self.error is None and self.drifted == self.healed


class Verifier:
    """Verifies rollups of one store."""

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
    ) -> None:
        self.databases = databases
        self.ledger = ledger
        self.clock = clock
        self.bound = bound
        self.chunk_rows = chunk_rows
        self.wait_s = wait_s
        self.stop = stop

    def verify(self, choice: Choice, *, heal: bool = False, progress: Progress | None = None) -> list[VerifyResult]:
        """Verify each rollup; one that cannot be compared does not keep the others from it.

        A verification that is told to stop has no results of the rollups after the one that it stopped at.
        """
        results = []
        ends_at = None if choice.budget_s is None else time.monotonic() + choice.budget_s
        for place, rollup in enumerate(self.bound.rollups):
            result = VerifyResult(rollup.name, is_lifelong=rollup.is_lifelong)
            results.append(result)
            began = time.monotonic()
            # What is left of the time is shared evenly, so that no rollup waits for ever.
            share = None if ends_at is None else began + (ends_at - began) / (len(self.bound.rollups) - place)
            try:
                self.stop()
                _One(self, rollup, result, heal).run(choice, share, progress)
            except DayfoldError as error:
                result.error, result.code = str(error), error.code
            result.seconds = round(time.monotonic() - began, 4)
            if result.code == Stopped.code:
                break
        return results

    def folder(self, rollup: BoundRollup) -> Folder:
        """Folds this rollup and no other."""
        bound = replace(self.bound, rollups=[rollup])
        return Folder(
            self.databases,
            self.ledger,
            self.clock,
            bound,
            chunk_rows=self.chunk_rows,
            wait_s=self.wait_s,
            stop=self.stop,
        )


class _One:
    """The verification of one rollup."""

    def __init__(self, verifier: Verifier, rollup: BoundRollup, result: VerifyResult, heal: bool) -> None:
        self.verifier = verifier
        self.databases = verifier.databases
        self.ledger = verifier.ledger
        self.rollup = rollup
        self.result = result
        self.heal = heal
        self.found: list[pa.Table] = []

    def run(self, choice: Choice, ends_at: float | None, progress: Progress | None) -> None:
        version = self._version()
        if version is not None and version.fingerprint != digest(words_of(self.rollup)):
            version = self._redefined(version)
        if version is None:
            return
        self.result.notes = [
            f"{one.label} is compared as it was fetched; `dayfold rebuild` asks it anew"
            for one in self.rollup.functions
        ]
        self._check_lowers()
        with leases.lease(self.ledger, self.rollup.name, wait_s=self.verifier.wait_s) as lease:
            self._discover(version.number, lease)
            days = self._due(version.number, choice)
            self._begin(version.number, lease, days)
            try:
                self._compare(version.number, lease, days, ends_at, progress)
            except DayfoldError as error:
                self._finish(runs.STOPPED if isinstance(error, Stopped) else runs.FAILED, error.message)
                raise
            self._list_drifts()
            drifted = f"{self.result.drifted} cells differ from the source." if self.result.drifted else None
            self._finish(runs.FAILED if drifted else runs.DONE, drifted)
        if self.heal and self.found:
            self._heal(version.number)

    def _version(self) -> versions.Version | None:
        with self.ledger.store.transaction(read_only=True) as session:
            version = versions.versions(self.ledger, session).get(self.rollup.name)
        if version is None:
            self.result.left_out["never folded"] = 1
        return version

    def _redefined(self, version: versions.Version) -> versions.Version | None:
        """The stored rows are of another definition: nothing is compared, unless a fold has healed that."""
        edits = "; ".join(edits_of(version.definition, words_of(self.rollup))) or "its definition was edited"
        drift = Drift(self.rollup.name, DEFINITION, note=edits)
        self.result.drifts.append(drift)
        self.result.drifted += 1
        if not self.heal:
            return None
        self._fold()
        now = self._version()
        if now is None or now.fingerprint != digest(words_of(self.rollup)):
            return None
        drift.healed = True
        self.result.healed += 1
        return now

    def _check_lowers(self) -> None:
        """The rollups that it is folded from have the columns that their definitions say."""
        with self.ledger.store.transaction(read_only=True) as session:
            known = versions.versions(self.ledger, session)
            found = self.databases.store.stored_columns(session, [one.name for one in shapes(self.rollup)])
        for shape in shapes(self.rollup):
            check_columns(self.databases.store, shape, found.get(shape.name, {}))
        defined = {one.name: one for one in self.verifier.bound.known}
        for lower in self.rollup.definition.lowers:
            name = lower.rollup.__name__
            if name not in known or known[name].fingerprint != digest(words_of(defined[name])):
                raise SourceFailed(
                    f"{name}, which it is folded from, was edited and not folded since.",
                    source=lower.label,
                    hint="Fold first: dayfold fold",
                )

    def _discover(self, version: int, lease: leases.Lease) -> None:
        failed = failing(self.rollup, self.verifier.bound)
        self.verifier.folder(self.rollup).discover(self.rollup, version, lease, failed)
        for source, error in failed.items():
            raise SourceFailed(f"{source}: {error.message}", source=source, hint=error.hint)

    def _due(self, version: int, choice: Choice) -> DueDays:
        today = today_of(self.verifier.clock)
        with self.ledger.store.transaction(read_only=True) as session:
            days = due_days(self.ledger, session, self.rollup, version, choice, today)
        self.result.left_out = days.left_out
        return days

    # -- comparing -------------------------------------------------------------------------------

    def _begin(self, version: int, lease: leases.Lease, days: DueDays) -> None:
        span = Days(min(days.due), max(days.due)) if days.due else None
        with self.ledger.store.transaction() as session:
            leases.fence(self.ledger, session, lease)
            # Not `start`: whoever folds next has to learn of runs that never ended.
            self.result.run_id = runs.begin(
                self.ledger, session, "verify", self.rollup.name, version, lease.holder, span
            )

    def _finish(self, status: str, error: str | None) -> None:
        with self.ledger.store.transaction() as session:
            assert self.result.run_id is not None
            runs.finish(self.ledger, session, self.result.run_id, status, error)

    def _compare(
        self, version: int, lease: leases.Lease, days: DueDays, ends_at: float | None, progress: Progress | None
    ) -> None:
        if not days.due:
            # Nor is there a day that `now()` was, where a source of a profile failed.
            return
        contraster, size, done = self._contraster(version), _FIRST_DAYS, 0
        while done < len(days.due) and not (done and ends_at is not None and time.monotonic() >= ends_at):
            self.verifier.stop()
            began = time.monotonic()
            chunk = days.due[done : done + size]
            self._chunk(contraster, version, lease, chunk, days.sealed)
            self.result.days = done = done + len(chunk)
            took = time.monotonic() - began
            size = min(size * 2, _MOST_DAYS) if took < _QUICK_SECONDS else size
            size = max(size // 2, 1) if took > _SLOW_SECONDS else size
            if progress:
                progress(self.rollup.name, done, len(days.due))

    def _contraster(self, version: int) -> Contraster:
        bound = self.verifier.bound
        lowers = {one.name: one for one in bound.known}
        columns = {
            source: folded_columns(lowers[source.rollup.__name__], source)
            if isinstance(source, Folded)
            else source.described
            if isinstance(source, FunctionSource)
            else bound.columns[source.label]
            for source in self.rollup.definition.sources
        }
        if not self.rollup.is_lifelong:
            return Contraster(self.databases, self.ledger, self.rollup, version, branches(self.rollup, columns))
        with self.ledger.store.transaction(read_only=True) as session:
            # Rows are compared as of the day that they were computed on, which may have been yesterday.
            as_of = coverage.as_of(self.ledger, session, self.rollup.name, version)
        lasting = proof_life.branches(self.rollup, columns, as_of)
        return Contraster(self.databases, self.ledger, self.rollup, version, lasting, as_of)

    def _chunk(
        self, contraster: Contraster, version: int, lease: leases.Lease, chunk: list[dt.date], sealed: set[dt.date]
    ) -> None:
        """Compare some days and write down that they were."""
        plain = union(Days(day, day) for day in chunk if day not in sealed)
        found = Contrast()
        drifted: dict[dt.date, int] = {}
        if plain:
            found, rows = self._drifted(contraster, version, lease, plain)
            if rows is not None:
                self.found.append(rows)
                drifted = drifts.cells_by_day(rows)
        altered = self._altered(version, [day for day in chunk if day in sealed])
        drifted |= dict.fromkeys(altered, 1)
        self._record(version, lease, chunk, found.cells, drifted)
        self.result.cells += sum(found.cells.values())
        self.result.drifted += sum(drifted.values())

    def _record(
        self,
        version: int,
        lease: leases.Lease,
        days: Sequence[dt.date],
        cells: Mapping[dt.date, int],
        drifted: Mapping[dt.date, int],
        *,
        again: bool = False,
    ) -> None:
        """These days are verified; ``again``: their cells were counted before."""
        run_id = self.result.run_id
        assert run_id is not None
        record = [(day, cells.get(day, 0), drifted.get(day, 0)) for day in days]
        with self.ledger.store.transaction() as session:
            leases.fence(self.ledger, session, lease)
            verifications.record(self.ledger, session, self.rollup.name, version, run_id, record)
            if not again:
                runs.progress(self.ledger, session, run_id, sum(cells.values()), Changed())

    def _drifted(
        self, contraster: Contraster, version: int, lease: leases.Lease, ranges: Sequence[Days]
    ) -> tuple[Contrast, pa.Table | None]:
        """A comparison, and its differences that are no pending changes."""
        found = contraster.contrast(ranges)
        if found.rows is None:
            return found, None
        # What changed between the first discovery and the snapshot is told by now.
        self._discover(version, lease)
        with self.ledger.store.transaction() as session:
            rows = drifts.unmarked(self.ledger, session, self.rollup.name, version, found.rows)
            if rows is not None:
                rows = drifts.classed(rows, found.altered)
                if self.heal:
                    leases.fence(self.ledger, session, lease)
                    drifts.mark(self.ledger, session, self.rollup.name, version, rows)
        return found, rows

    def _altered(self, version: int, days: Sequence[dt.date]) -> set[dt.date]:
        """Sealed days whose stored rows are not what their receipts say."""
        with self.ledger.store.transaction(read_only=True) as session:
            altered = receipts.altered(self.ledger, session, self.rollup.shape, self.rollup.name, version, days)
        for day in sorted(altered):
            note = "the day is sealed: it is never computed again, and its rows can only be restored from a backup"
            self.result.drifts.append(Drift(self.rollup.name, CHANGED, day=day, note=note))
        return altered

    def _list_drifts(self) -> None:
        for rows in self.found:
            room = MOST_LISTED - len(self.result.drifts)
            self.result.drifts += drifts.listed(self.rollup, rows, room)

    # -- healing ---------------------------------------------------------------------------------

    def _heal(self, version: int) -> None:
        """Fold the marked cells and compare their days again."""
        self._fold()
        days = sorted({day for rows in self.found for day in drifts.cells_by_day(rows)})
        remaining: set[tuple[str, dt.date]] = set()
        # What is found now was folded just before: it is not marked another time.
        self.heal = False
        with leases.lease(self.ledger, self.rollup.name, wait_s=self.verifier.wait_s) as lease:
            self._discover(version, lease)
            contraster = self._contraster(version)
            for first in range(0, len(days), _MOST_DAYS):
                self.verifier.stop()
                chunk = days[first : first + _MOST_DAYS]
                found, rows = self._drifted(contraster, version, lease, union(Days(day, day) for day in chunk))
                if rows is not None:
                    remaining |= drifts.cells(rows)
                left = drifts.cells_by_day(rows) if rows is not None else {}
                self._record(version, lease, chunk, found.cells, left, again=True)
        before = {cell for one in self.found for cell in drifts.cells(one)}
        self.result.healed += len(before - remaining)
        for drift in self.result.drifts:
            if drift.cell is not None and drift.day is not None:
                drift.healed = (drift.cell, drift.day) not in remaining

    def _fold(self) -> None:
        [run] = self.verifier.folder(self.rollup).fold(job="heal")
        if run.error:
            self.result.error, self.result.code = f"it could not be healed: {run.error}", run.code
