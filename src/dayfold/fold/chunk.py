"""One chunk of a fold: days, or marked cells, of one rollup, computed and published in one transaction. Fold floor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.days import Days
from dayfold.engines.base import Changed, Session, Watch, Watches, replace
from dayfold.engines.databases import Databases
from dayfold.engines.scans import ScanFailed, Scans, Wanted, stage_cells
from dayfold.errors import DayfoldError, SourceFailed, SuddenlyEmpty
from dayfold.fold import above
from dayfold.ledger import coverage, fetches, leases, marks, receipts, runs, versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, Scan
from dayfold.plan.cells import Cells
from dayfold.plan.keys import Admits
from dayfold.plan.publish import Publication
from dayfold.plan.scan import Scope, scan_columns, set_name
from dayfold.plan.shape import Column, Shape
from dayfold.plan.sql import Statement, Values, alias, column, either, sql, table

if TYPE_CHECKING:
    import pyarrow as pa


#: Why entities may be as of two days.
UNFINISHED = "a refresh of all entities has not ended"


@dataclass(frozen=True, slots=True)
class Portion:
    """The work of one transaction: all cells of some days, or the marked ones among them.

    Attributes:
        has_marks: Whether there were marks on these days when the fold began.
        keys: Of these days, the keys that it is about, where one day is too much for a transaction.
        is_last: Whether these days are done with after it.
    """

    days: Days
    marked: bool = False
    has_marks: bool = False
    keys: tuple[Admits, ...] = ()
    is_last: bool = True


@dataclass(slots=True)
class Chunk:
    """Folds chunks of one rollup under one lease.

    Attributes:
        lost: Sources that cannot be read at all in this run; left out of every chunk.
        uppers: Finds the rollups folded from this one, whose cells a publication marks.
        tracked: For sources whose triggers tell their changes, the tables that these stand on.
        failed: Those, and the sources with a value in the present chunk that cannot be computed with.
        met: Every source that failed in some chunk, with the first reason.
        facts: How many each source had in the parts of a day that came before.
    """

    databases: Databases
    ledger: Ledger
    rollup: BoundRollup
    version: int
    lease: leases.Lease
    run_id: int
    today: dt.date
    lost: dict[str, DayfoldError]
    allow_empty: bool
    uppers: Callable[[Session], Sequence[above.Upper]] = above.nobody
    tracked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    building: bool = False
    indexed: bool = False
    failed: dict[str, DayfoldError] = field(default_factory=dict)
    met: dict[str, DayfoldError] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.met |= self.lost

    def fold(self, portion: Portion, all_days: Sequence[Days]) -> tuple[Changed, int]:
        """Compute and publish a portion: rows written and cells computed.

        Raises:
            SuddenlyEmpty: when a source that had facts on the days looked at has none on any of them.
            LeaseLost: when another run took over; nothing was published.
        """
        self.failed = dict(self.lost)
        while True:
            try:
                apart, read = self._read_apart(portion)
                return self._publish(portion, all_days, apart, read)
            except ScanFailed as failure:
                # An engine's failed statement has ended the transaction, so it starts again without the source.
                self._leave_out(failure.scan, failure.error)

    def _leave_out(self, scan: Scan, error: DayfoldError) -> None:
        """Fold without a source: this chunk where a value is wrong, every chunk where the source is out of reach."""
        reason = error if isinstance(error, SourceFailed) else SourceFailed(error.message, hint=error.hint)
        reason.source = scan.label
        self.failed[scan.label] = reason
        self.met.setdefault(scan.label, reason)
        if not isinstance(error, SourceFailed):
            self.lost[scan.label] = reason

    @property
    def _healthy(self) -> list[tuple[int, Scan]]:
        return [(n, scan) for n, scan in enumerate(self.rollup.scans) if scan.label not in self.failed]

    def _scans(self, session: Session) -> Scans:
        return Scans(self.databases, self.rollup, self.ledger.store_key(session))

    def _read_apart(self, portion: Portion) -> tuple[dict[int, pa.Table], pa.Table | None]:
        """The computed rows of sources in other databases, and the marks that were there before they were read."""
        apart = [(n, scan) for n, scan in self._healthy if self.databases.of(scan.source) is not self.databases.store]
        if not apart:
            return {}, None
        found = None
        with self.ledger.store.transaction(read_only=True) as session:
            scans = self._scans(session)
            if portion.has_marks:
                found = marks.listed(self.ledger, session, self.rollup.name, self.version, portion.days)
        if found is None or not portion.marked:
            return scans.read_apart(apart, Wanted(portion.days, portion.keys)), found
        listed = found.filter(found["key"].is_valid())
        if not listed.num_rows:
            return {n: _nothing(scan_columns(self.rollup, scan)) for n, scan in apart}, found
        return scans.read_apart(apart, Wanted(portion.days, (), listed)), found

    def _publish(
        self, portion: Portion, all_days: Sequence[Days], apart: dict[int, pa.Table], read: pa.Table | None
    ) -> tuple[Changed, int]:
        store, ledger, days = self.databases.store, self.ledger, portion.days
        name, version = self.rollup.name, self.version
        with store.transaction() as session:
            leases.fence(ledger, session, self.lease)
            if portion.has_marks:
                marks.read(ledger, session, name, version, days, read, keyed=portion.marked)
            cells = None
            if portion.marked:
                cells = stage_cells(store, session, self.rollup, marks.unsealed(ledger, name, version))
                if cells is None:
                    marks.delete_read(ledger, session)
                    return Changed(), 0
                days = cells.days
            standings = fetches.standings(ledger, session, self.rollup)
            scans, scope = self._scans(session), Scope(days, cells, portion.keys)
            staged = [(scan, scans.stage(session, n, scan, scope, apart)) for n, scan in self._healthy]
            if not portion.marked:
                self._check_emptiness(session, staged, days, all_days)
            rollup = fetches.knowing(self.rollup, standings)
            changed, count = Changed(), 0
            if staged:
                changed, count = self._replace(session, rollup, scans, staged, days, cells, portion.keys)
            tallied: dict[str, int] = {}
            if portion.is_last:
                self._cover(session, staged, days, cells, standings, in_parts=bool(portion.keys))
            else:
                tallied = _tally(session, staged)
                self._unsettle(session, days)
            if portion.has_marks:
                marks.delete_read(ledger, session)
            if self.building:
                # Rows built aside are nobody's yet; what counts is their publication.
                changed = Changed()
            runs.progress(ledger, session, self.run_id, count, changed)
            versions.bump_revision(ledger, session, name)
        self.indexed = self.indexed or bool(staged)
        for source, facts in tallied.items():
            self.facts[source] = self.facts.get(source, 0) + facts
        return changed, count

    def _cover(
        self,
        session: Session,
        staged: list[tuple[Scan, str]],
        days: Days,
        cells: Cells | None,
        standings: Mapping[str, fetches.Standing],
        *,
        in_parts: bool,
    ) -> None:
        """Whole days are covered by the sources that were read; days of a source that failed are due again."""
        ledger, name, version = self.ledger, self.rollup.name, self.version
        for source in dict.fromkeys(scan.label for scan in self.rollup.scans):
            # A day that is folded in parts has failed where one of them has.
            failed = self.failed.get(source) or (self.met.get(source) if in_parts else None)
            if failed is not None:
                reason = failed.message
                coverage.record_failed(ledger, session, name, version, source, days, reason, self.run_id, cells)
            elif cells is None:
                scans = [one for scan, one in staged if scan.label == source]
                coverage.record_folded(
                    ledger, session, name, version, source, days, scans, self.run_id, self.today, self.rollup.as_of,
                    earlier=self.facts.get(source, 0),
                )  # fmt: skip
                if source in standings:
                    found = standings[source]
                    fetches.record_standing(ledger, session, name, version, source, found, days, self.today)
        if staged and not self.building and (cells is None or self.failed):
            receipts.record(ledger, session, self.rollup.shape, name, version, days, self.run_id, cells)

    def _unsettle(self, session: Session, days: Days) -> None:
        """Until the last part of a day is done, rows as of another day that `now()` was stand beside these."""
        ledger, name, version, as_of = self.ledger, self.rollup.name, self.version, self.rollup.as_of
        if as_of is None or self.building:
            return
        for one in coverage.lives(ledger, session, name, version):
            if one.as_of not in (None, as_of):
                coverage.record_failed(ledger, session, name, version, one.source, days, UNFINISHED, self.run_id)

    def _check_emptiness(
        self, session: Session, staged: list[tuple[Scan, str]], days: Days, all_days: Sequence[Days]
    ) -> None:
        """Stop where a source that had facts on the days looked at has none on any of them."""
        if self.allow_empty:
            return
        for source in dict.fromkeys(scan.label for scan, _ in staged):
            names = [name for scan, name in staged if scan.label == source]
            if any(session.rows(Statement(sql("select 1 from _t limit 1", _t=table(name)))) for name in names):
                continue
            if any(one.label == source for one in self.rollup.definition.lowers):
                # What another rollup published went through its own brake, and told what went.
                continue
            if any(one.label == source for one in self.rollup.functions):
                # A function that suddenly has nothing is stopped before its answer is kept.
                continue
            stored = Publication(self.rollup.shape, self.rollup.shape.table, [], [days], self.databases.store.dialect)
            if not session.rows(stored.holding(source)) or self._has_facts(source, all_days):
                continue
            tables = self.tracked.get(source, ())
            if marks.tell_of_loss(self.ledger, session, self.rollup.name, self.version, tables, days):
                continue
            before = coverage.facts_before(self.ledger, session, self.rollup.name, self.version, source, all_days)
            when = "" if self.rollup.is_lifelong else f" for {days.first} to {days.last}"
            raise SuddenlyEmpty(
                f"{_title(self.rollup, source)} returns nothing{when}, where it had {before} "
                "facts before. Nothing was changed.",
                hint="If its rows were really deleted, run again with --allow-empty. Otherwise check the connection, "
                "its rights and the table.",
            )

    def _has_facts(self, source: str, all_days: Sequence[Days]) -> bool:
        """Whether a source has any fact at all on the days of this run."""
        for scan in self.rollup.scans:
            if scan.label != source:
                continue
            with (
                self.databases.of(scan.source).transaction(read_only=True) as session,
                session.within(scan.source),
            ):
                for days in all_days:
                    values = Values()
                    query = (
                        exp.select(alias(exp.Literal.number(1), "one"))
                        .from_(scan.relation.copy())
                        .where(scan.moment.within(days, values))
                        .limit(1)
                    )
                    if session.rows(Statement(query, values)):
                        return True
        return False

    def _correction(self, session: Session) -> receipts.Correction | None:
        """What corrects the receipts of single cells; not where columns are left as they are, nor where nobody reads them."""
        if self.building or self.failed:
            return None
        return receipts.Correction(self.ledger, session, self.rollup.name, self.version, self.run_id)

    def _replace(
        self,
        session: Session,
        rollup: BoundRollup,
        scans: Scans,
        staged: list[tuple[Scan, str]],
        days: Days,
        cells: Cells | None,
        keys: tuple[Admits, ...],
    ) -> tuple[Changed, int]:
        new = scans.combined(session, staged, whole=not self.failed)
        frozen = frozenset(one.name for one in self.rollup.shape.values if one.source in self.failed)
        publisher = Publisher(
            self.databases, self.ledger, rollup, self.run_id, () if self.building else self.uppers(session)
        )
        correction = self._correction(session) if cells else None
        changed = publisher.publish(
            session, new, days, cells, keys, frozen=frozen, indexed=self.indexed, correction=correction
        )
        count = cells.count if cells else _cells(session, self.rollup.shape, new) + changed.deleted
        return changed, count


@dataclass(frozen=True, slots=True)
class Publisher:
    """Makes the stored rows and sets of a scope equal to staged ones, and marks the cells of the rollups above."""

    databases: Databases
    ledger: Ledger
    rollup: BoundRollup
    run_id: int
    uppers: Sequence[above.Upper] = ()

    def publish(
        self,
        session: Session,
        new: exp.Table,
        days: Days,
        cells: Cells | None = None,
        keys: tuple[Admits, ...] = (),
        *,
        frozen: frozenset[str] = frozenset(),
        indexed: bool = False,
        correction: Watch | None = None,
    ) -> Changed:
        """Publish staged rows, their key, ``slot__``, values and sets, over all of a scope.

        ``correction`` watches the rollup's own rows as they change.
        """
        rollup, store = self.rollup, self.databases.store
        dialect, now = store.dialect, self.ledger.clock.now()
        names = [one.name for one in rollup.shape.values]
        main = Publication(rollup.shape, new, names, [days], dialect, frozen, None, cells, keys)
        marker = above.Marker(self.ledger, session, rollup, self.uppers)
        watch: Watch = marker if correction is None else Watches(correction, marker)
        changed = replace(store, session, main, now, self.run_id, indexed=indexed, watch=watch)
        if rollup.sets_shape:
            names = [set_name(one.name) for one in rollup.sets_shape.values]
            present = either(dialect.piece("set_present", _x=column(name)) for name in names)
            sets = Publication(rollup.sets_shape, new, names, [days], dialect, frozen, present, cells, keys)
            replace(store, session, sets, now, self.run_id, indexed=indexed, watch=marker)
        return changed


def _tally(session: Session, staged: Sequence[tuple[Scan, str]]) -> dict[str, int]:
    """How many facts each source has in a part of a day, for when the day is done with."""
    found: dict[str, int] = {}
    for scan, name in staged:
        total = session.rows(Statement(sql("select coalesce(sum(facts__), 0) from _t", _t=table(name))))[0][0]
        found[scan.label] = found.get(scan.label, 0) + int(total)
    return found


def _nothing(columns: Sequence[Column]) -> pa.Table:
    """No rows with these columns."""
    import pyarrow as pa

    return pa.table({one.name: pa.nulls(0) for one in columns})


def _title(rollup: BoundRollup, source: str) -> str:
    """What a source is called in messages."""
    return next(scan.source.title for scan in rollup.scans if scan.label == source)


def _cells(session: Session, shape: Shape, new: exp.Table) -> int:
    """How many cells were computed: rows, or the days they make up where the grain is finer."""
    rows = exp.select(*(column(one.name) for one in shape.key)).from_(new.copy())
    if not shape.is_lifelong and shape.slot != shape.day_column:
        rows = rows.select(alias(exp.cast(column("slot__"), "date"), "day__")).distinct()
    else:
        rows = rows.select(column("slot__"))
    return int(session.rows(Statement(sql("select count(*) from _r as r", _r=rows.subquery())))[0][0])


def fewer_facts(session: Session, scan: Scan, limit: int) -> bool:
    """Whether the source has no more rows than one chunk takes, found without counting beyond that."""
    inner = exp.select(alias(exp.Literal.number(1), "one")).from_(scan.relation.copy()).limit(limit + 1)
    return bool(session.rows(Statement(sql("select count(*) from _i as i", _i=inner.subquery())))[0][0] <= limit)
