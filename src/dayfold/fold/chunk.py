"""One chunk of a fold: some days of one rollup, computed and published in one transaction. Fold floor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.days import Days
from dayfold.engines.base import Changed, Session, compute, replace
from dayfold.errors import ConnectionFailed, DayfoldError, SourceFailed, StoreError, SuddenlyEmpty
from dayfold.fold.binding import Databases
from dayfold.ledger import coverage, leases, runs, versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, Scan
from dayfold.plan.publish import Publication
from dayfold.plan.scan import BAD, combine, not_finite, scan_columns, set_name
from dayfold.plan.scan import compute as compute_sql
from dayfold.plan.shape import Shape
from dayfold.plan.sql import Statement, Values, alias, column, either, sql, table

if TYPE_CHECKING:
    import pyarrow as pa

_NEW = "dayfold_new__"


class _ScanFailed(Exception):
    """A source failed inside the store's transaction, which has to be begun again without it."""

    def __init__(self, scan: Scan, error: DayfoldError) -> None:
        super().__init__(scan.label)
        self.scan = scan
        self.error = error


@dataclass(slots=True)
class Chunk:
    """Folds chunks of one rollup under one lease.

    Attributes:
        lost: Sources that cannot be read at all in this run; left out of every chunk.
        failed: Those, and the sources with a value in the present chunk that cannot be computed with.
        met: Every source that failed in some chunk, with the first reason.
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
    building: bool = False
    indexed: bool = False
    failed: dict[str, DayfoldError] = field(default_factory=dict)
    met: dict[str, DayfoldError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.met |= self.lost

    def fold(self, days: Days, all_days: Sequence[Days]) -> tuple[Changed, int]:
        """Compute and publish these days: rows written and cells computed.

        Raises:
            SuddenlyEmpty: when a source that had facts on the days looked at has none on any of them.
            LeaseLost: when another run took over; nothing was published.
        """
        self.failed = dict(self.lost)
        while True:
            foreign = self._read_foreign(days)
            try:
                return self._publish(days, all_days, foreign)
            except _ScanFailed as failure:
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

    def _read_foreign(self, days: Days) -> dict[int, pa.Table]:
        """The folded rows of sources in other databases, each database read in one snapshot."""
        found: dict[int, pa.Table] = {}
        apart = [(n, scan) for n, scan in self._healthy if self.databases.of(scan.source) is not self.databases.store]
        if not apart:
            return found
        with self.ledger.store.transaction(read_only=True) as session:
            salt = self.ledger.store_key(session)
        for database in dict.fromkeys(scan.source.database for _, scan in apart):
            mine = [(n, scan) for n, scan in apart if scan.source.database == database]
            current = mine[0][1]
            try:
                with self.databases.of(current.source).transaction(read_only=True) as session:
                    for n, scan in mine:
                        current = scan
                        with session.within(scan.source):
                            columns = scan_columns(self.rollup, scan)
                            found[n] = session.arrow(compute_sql(self.rollup, scan, days, salt), columns)
            except (SourceFailed, StoreError, ConnectionFailed) as error:
                self._leave_out(current, error)
                return self._read_foreign(days)
        return found

    def _publish(self, days: Days, all_days: Sequence[Days], foreign: dict[int, pa.Table]) -> tuple[Changed, int]:
        store, ledger = self.databases.store, self.ledger
        with store.transaction() as session:
            leases.fence(ledger, session, self.lease)
            staged = [(scan, self._stage(session, n, scan, days, foreign)) for n, scan in self._healthy]
            self._check_emptiness(session, staged, days, all_days)
            changed, cells = self._replace(session, staged, days) if staged else (Changed(), 0)
            for source in dict.fromkeys(scan.label for scan in self.rollup.scans):
                if source in self.failed:
                    reason = self.failed[source].message
                    coverage.record_failed(
                        ledger, session, self.rollup.name, self.version, source, days, reason, self.run_id
                    )
                    continue
                scans = [name for scan, name in staged if scan.label == source]
                coverage.record_folded(
                    ledger, session, self.rollup.name, self.version, source, days, scans, self.run_id, self.today
                )
            if self.building:
                # Rows built aside are nobody's yet; what counts is their publication.
                changed = Changed()
            runs.progress(ledger, session, self.run_id, cells, changed)
            versions.bump_revision(ledger, session, self.rollup.name)
        self.indexed = self.indexed or bool(staged)
        return changed, cells

    def _stage(self, session: Session, n: int, scan: Scan, days: Days, foreign: dict[int, pa.Table]) -> str:
        """A scan's result as a temporary table, checked for numbers that are none."""
        name = f"dayfold_scan_{n}__"
        store = self.databases.store
        if n in foreign:
            session.load(name, scan_columns(self.rollup, scan), foreign[n])
        else:
            try:
                compute(
                    store,
                    session,
                    self.rollup,
                    scan,
                    compute_sql(self.rollup, scan, days, self.ledger.store_key(session)),
                    name,
                )
            except (SourceFailed, StoreError) as error:
                raise _ScanFailed(scan, error) from error
        if scan.guards and session.rows(
            Statement(sql("select 1 from _t where _b > 0 limit 1", _b=column(BAD.name), _t=table(name)))
        ):
            raise _ScanFailed(scan, self._not_finite(scan, days))
        return name

    def _not_finite(self, scan: Scan, days: Days) -> SourceFailed:
        """The failure of a source with numbers that are none, and how many facts hold one."""
        with self.databases.of(scan.source).transaction(read_only=True) as session, session.within(scan.source):
            count = session.rows(not_finite(scan, days))[0][0]
        return SourceFailed(
            f"{count:,} facts from {days.first} to {days.last} hold a number that is NaN or infinite.",
            source=scan.label,
            hint="Correct them, or leave them out with where=….",
        )

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
            before = coverage.facts_before(self.ledger, session, self.rollup.name, self.version, source, all_days)
            here = coverage.facts_before(self.ledger, session, self.rollup.name, self.version, source, [days])
            if not here or self._has_facts(source, all_days):
                continue
            raise SuddenlyEmpty(
                f"{_title(self.rollup, source)} returns nothing for {days.first} to {days.last}, where it had {before} "
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

    def _replace(self, session: Session, staged: list[tuple[Scan, str]], days: Days) -> tuple[Changed, int]:
        rollup, dialect = self.rollup, self.databases.store.dialect
        sets = list(rollup.sets_shape.values) if rollup.sets_shape else []
        if len(staged) == 1 and not self.failed:
            new = table(staged[0][1])
        else:
            results = [(table(name), scan_columns(rollup, scan)) for scan, name in staged]
            session.stage(_NEW, Statement(combine(rollup.shape, sets, results, dialect)))
            new = table(_NEW)
        frozen = frozenset(one.name for one in rollup.shape.values if one.source in self.failed)
        main = Publication(rollup.shape, new, [one.name for one in rollup.shape.values], [days], dialect, frozen)
        changed = self._write(session, main)
        if rollup.sets_shape:
            names = [set_name(one.name) for one in sets]
            present = either(sql("not _s is null", _s=column(name)) for name in names)
            self._write(session, Publication(rollup.sets_shape, new, names, [days], dialect, frozen, present))
        return changed, _cells(session, rollup.shape, new) + changed.deleted

    def _write(self, session: Session, publication: Publication) -> Changed:
        """The stored rows become the computed ones; the first chunk of a run sees to the indexes too."""
        store, now = self.databases.store, self.ledger.clock.now()
        return replace(store, session, publication, now, self.run_id, indexed=self.indexed)


def _title(rollup: BoundRollup, source: str) -> str:
    """What a source is called in messages."""
    return next(scan.source.title for scan in rollup.scans if scan.label == source)


def _cells(session: Session, shape: Shape, new: exp.Table) -> int:
    """How many cells were computed: rows, or the days they make up where the grain is finer."""
    rows = exp.select(*(column(one.name) for one in shape.key)).from_(new.copy())
    if shape.slot != shape.day_column:
        rows = rows.select(alias(exp.cast(column("slot__"), "date"), "day__")).distinct()
    else:
        rows = rows.select(column("slot__"))
    return int(session.rows(Statement(sql("select count(*) from _r as r", _r=rows.subquery())))[0][0])


def fewer_facts(session: Session, scan: Scan, limit: int) -> bool:
    """Whether the source has no more rows than one chunk takes, found without counting beyond that."""
    inner = exp.select(alias(exp.Literal.number(1), "one")).from_(scan.relation.copy()).limit(limit + 1)
    return bool(session.rows(Statement(sql("select count(*) from _i as i", _i=inner.subquery())))[0][0] <= limit)
