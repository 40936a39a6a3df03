"""Rebuild: days that exist are folded again, built aside and switched in one transaction. Fold floor.

Invariant: readers see all of the old rows or all of the new ones; a run that ends early changes nothing.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from dayfold.clock import today as today_of
from dayfold.days import Days, overlap, union
from dayfold.define.fingerprint import digest
from dayfold.engines.base import Changed, Session, undone
from dayfold.engines.scans import ScanFailed, Scans, Wanted
from dayfold.errors import DayfoldError, LeaseLost, Sealed, SourceFailed, Stopped, SuddenlyEmpty, UsageError
from dayfold.fold import reshape
from dayfold.fold.chunk import Portion, Publisher
from dayfold.fold.fetch import said_unfetched
from dayfold.fold.fold import Folder, Progress
from dayfold.ledger import coverage, fetches, leases, receipts, runs, versions
from dayfold.plan.bind import BoundRollup, Scan, identity
from dayfold.plan.keys import Admits, KeyFilter
from dayfold.plan.publish import CHANGES, INSERTED, UPDATED, Publication, change_counts, same_row
from dayfold.plan.scan import Scope
from dayfold.plan.shape import Shape
from dayfold.plan.sql import Statement, alias, column, sql, table

#: How many moves a dry run shows.
MOVES = 10


@dataclass(frozen=True, slots=True)
class Move:
    """One value that a rebuild would change; values are texts, None where there is no row."""

    key: dict[str, Any]
    day: dt.date
    metric: str
    stored: str | None
    rebuilt: str | None


@dataclass(slots=True)
class RebuildResult:
    """What a rebuild did, or would do.

    Attributes:
        days: The days of the range that had been folded before; others are for the fold.
        cells: Cells that differed: their rows were (would be) inserted, updated or deleted.
        moves: Of a dry run, the largest changes of single values, the greatest first.
        is_lifelong: Whether it is a profile, whose cells are entities and which has no days.
    """

    rollup: str
    dry_run: bool
    days: int = 0
    cells: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0
    moves: list[Move] = field(default_factory=list)
    run_id: int | None = None
    seconds: float = 0.0
    is_lifelong: bool = False

    def add(self, changed: Changed) -> None:
        """Count what changed."""
        self.rows_inserted += changed.inserted
        self.rows_updated += changed.updated
        self.rows_deleted += changed.deleted
        self.cells = self.rows_inserted + self.rows_updated + self.rows_deleted


@dataclass(frozen=True, slots=True)
class _Task:
    """What one run does: which days of which version, in which portions, and what it tells."""

    number: int
    ranges: Sequence[Days]
    portions: Sequence[Portion]
    allow_empty: bool
    progress: Progress | None
    result: RebuildResult

    @property
    def span(self) -> Days:
        """From the first day to the last; days between the ranges have no row."""
        return Days(self.ranges[0].first, self.ranges[-1].last)

    def tell(self, done: int) -> None:
        """Say how many days, or parts of a profile, are done."""
        if self.progress:
            self.progress(self.result.rollup, done, sum(len(one.days) for one in self.portions))


class Rebuilder:
    """Rebuilds a range of one rollup under its lease."""

    def __init__(self, folder: Folder, rollup: BoundRollup, days: Days, keys: tuple[KeyFilter, ...]) -> None:
        self.folder = folder
        self.ledger = folder.ledger
        self.store = folder.store
        self.rollup = rollup
        self.asked = days
        self.keys = keys

    def run(self, *, dry_run: bool, allow_empty: bool, progress: Progress | None) -> RebuildResult:
        """Rebuild, or say what it would change.

        Raises:
            UsageError: when the rollup was never folded on these days, or its definition was edited since.
            Sealed: when one of the days is sealed.
            SuddenlyEmpty: when a source has no fact on any of the days, where rows are stored.
            SourceFailed: when a source cannot be read; nothing was changed.
            Stopped: when it was told to stop; nothing was changed.
        """
        result = RebuildResult(self.rollup.name, dry_run, is_lifelong=self.rollup.is_lifelong)
        began = time.perf_counter()
        self._checked()
        with leases.lease(self.ledger, self.rollup.name, wait_s=self.folder.wait_s) as lease:
            number, ranges = self._checked()
            result.days = 0 if self.rollup.is_lifelong else sum(map(len, ranges))
            if not dry_run:
                self._fetch(number, ranges, allow_empty, progress)
            portions = self._portions(ranges)
            task = _Task(number, ranges, portions, allow_empty, progress, result)
            try:
                if dry_run:
                    self._look(task)
                else:
                    self._do(lease, task)
            except ScanFailed as failure:
                source = failure.scan.label
                raise SourceFailed(
                    f"{source}: {failure.error.message} Nothing was changed.", source=source, hint=failure.error.hint
                ) from None
        result.seconds = round(time.perf_counter() - began, 4)
        return result

    def _checked(self) -> tuple[int, list[Days]]:
        """The version that is rebuilt and its days, which may be."""
        name, today = self.rollup.name, today_of(self.folder.clock)
        with self.store.transaction(read_only=True) as session:
            known = versions.versions(self.ledger, session).get(name)
            if known is None:
                raise UsageError(f"{name} was never folded.", hint=f"Run: dayfold fold {name}")
            if known.fingerprint != digest(identity(self.rollup)):
                raise UsageError(
                    f"The definition of {name} was edited since it was folded.",
                    hint=f"Run: dayfold fold {name}, which folds its whole history anew.",
                )
            states = coverage.ranges(self.ledger, session, name, known.number)
        sealed = [part for part in coverage.sealed_days(states) if overlap(part, self.asked)]
        if sealed:
            raise Sealed(
                f"{name} is sealed on {', '.join(str(overlap(part, self.asked)) for part in sealed)}: what its rows were "
                "folded from may be gone, and nothing computes them again.",
                hint="Rebuild the days around them.",
            )
        folded = union(days for found in states.values() for ranges in found.values() for days in ranges)
        asked = [part for days in folded if (part := overlap(days, self.asked))]
        asked = [part for days in asked if (part := overlap(days, Days(dt.date.min, today)))]
        if asked and self.rollup.as_of is not None:
            self._check_current(known.number)
        if not asked:
            raise UsageError(
                f"{name} was never folded{'' if self.rollup.is_lifelong else f' on {self.asked}'}.",
                hint=f"A first fold is not a rebuild: dayfold fold {name}",
            )
        return known.number, asked

    def _check_current(self, number: int) -> None:
        """Rows of one day do not stand beside rows of another, where they change with it."""
        with self.store.transaction(read_only=True) as session:
            as_of = coverage.as_of(self.ledger, session, self.rollup.name, number)
        if as_of != self.rollup.as_of:
            name = self.rollup.name
            raise UsageError(
                f"{name} has columns that use now(), and its rows are of {as_of or 'several days'}.",
                hint=f"The next fold computes all of it: dayfold fold {name}",
            )

    def _fetch(self, number: int, ranges: Sequence[Days], allow_empty: bool, progress: Progress | None) -> None:
        """The days are asked anew of functions; what is not ready stays as it is. Raises SourceFailed."""
        failed = self.folder.fetcher.fetch(self.rollup, number, days=ranges, allow_empty=allow_empty, progress=progress)
        for source, days in failed.items():
            raise SourceFailed(f"{said_unfetched(source, days)}. Nothing was changed.", source=source)

    def _portions(self, ranges: list[Days]) -> list[Portion]:
        """What is computed at once: some days, or a part of a profile's keys."""
        decider = self.folder.decider
        if not self.rollup.is_lifelong:
            return [Portion(days) for days in decider.portions_of(self.rollup, ranges)]
        return decider.parts(self.rollup, decider.slices_of(self.rollup, ranges))

    # -- looking ---------------------------------------------------------------------------------

    def _look(self, task: _Task) -> None:
        """Compute every portion and compare it with what is stored, writing nothing."""
        moves: list[tuple[float, Move]] = []
        full: set[str] = set()
        done = 0
        for portion in task.portions:
            self.folder.stop()
            apart = self._apart(portion)
            with undone(self.store) as session:
                new = self._computed(session, portion, apart, full)
                main = self._publication(new, [portion.days], self._known(session), portion.keys)
                session.stage(CHANGES, main.changes())
                counts = dict(session.rows(change_counts()))
                inserted, updated = counts.get(INSERTED, 0), counts.get(UPDATED, 0)
                task.result.add(Changed(inserted, updated, sum(counts.values()) - inserted - updated))
                moves += self._moves(session)
            done += len(portion.days)
            task.tell(done)
        moves.sort(key=lambda one: (-one[0], one[1].day, one[1].metric, str(one[1].key)))
        task.result.moves = [move for _, move in moves[:MOVES]]
        with self.store.transaction(read_only=True) as session:
            self._check_emptiness(session, full, task)

    def _moves(self, session: Session) -> list[tuple[float, Move]]:
        """The largest moves of single values in the change set."""
        shape, dialect = self.rollup.shape, self.store.dialect
        numbers = [one for one in shape.body if one.type.is_number]
        keys = [column(one.name, "c") for one in shape.key]
        parts = []
        for one in numbers:
            old, new = column(one.name, "t"), column(one.name, "c")
            gap = sql(
                "abs(coalesce(cast(_n as double precision), 0) - coalesce(cast(_o as double precision), 0))",
                _n=sql("case when op__ <> 'D' then _n end", _n=new), _o=old,
            )  # fmt: skip
            texts = [
                dialect.sql("cast(_x as text)", _x=tree)
                for tree in (old, sql("case when op__ <> 'D' then _n end", _n=new))
            ]
            select = exp.select(
                *keys, alias(shape.slot_of("c"), "slot__"), alias(exp.Literal.string(one.name), "metric__"),
                alias(texts[0], "old__"), alias(texts[1], "new__"), alias(gap, "gap__"),
            )  # fmt: skip
            select = select.from_(exp.alias_(table(CHANGES), "c", table=True))
            same = same_row(dialect, shape, "t", "c")
            parts.append(select.join(exp.alias_(shape.table, "t", table=True), on=same, join_type="left"))
        if not parts:
            return []
        whole = parts[0]
        for part in parts[1:]:
            whole = exp.union(whole, part, distinct=False)  # type: ignore[assignment]
        order = [exp.Ordered(this=column("gap__"), desc=True), column("slot__"), column("metric__")]
        outer = exp.select("*").from_(exp.Subquery(this=whole, alias=exp.TableAlias(this=exp.to_identifier("m"))))
        outer = outer.where(sql("gap__ > 0")).order_by(*order).limit(MOVES)
        found = []
        for row in session.rows(Statement(self._in_days(outer))):
            key = dict(zip((one.name for one in shape.key), row, strict=False))
            day, metric, stored, rebuilt, gap_size = row[len(shape.key) :]
            found.append((float(gap_size), Move(key, day, metric, stored, rebuilt)))
        return found

    def _in_days(self, outer: exp.Select) -> exp.Select:
        """The moves with their day instead of a finer bucket."""
        shape = self.rollup.shape
        if shape.is_lifelong or shape.slot == shape.day_column:
            return outer
        day = self.store.dialect.piece("utc_date", _x=column("slot__"))
        names = [column(one.name) for one in shape.key]
        rest = [column(name) for name in ("metric__", "old__", "new__", "gap__")]
        return exp.select(*names, alias(day, "day__"), *rest).from_(outer.subquery("o"))

    # -- doing -----------------------------------------------------------------------------------

    def _do(self, lease: leases.Lease, task: _Task) -> None:
        name = self.rollup.name
        with self.store.transaction() as session:
            leases.fence(self.ledger, session, lease)
            started = runs.start(self.ledger, session, reshape.REBUILD, name, task.number, lease.holder, task.span)
            task.result.run_id = started.run_id
            reshape.drop_aside(self.ledger, session, self.rollup.shape)
        try:
            self._build_and_switch(lease, started.run_id, task)
        except (DayfoldError, ScanFailed) as error:
            self._note_failure(lease, started.run_id, error)
            raise

    def _note_failure(self, lease: leases.Lease, run_id: int, error: DayfoldError | ScanFailed) -> None:
        """The run failed; nothing of it is left."""
        known = error.error if isinstance(error, ScanFailed) else error
        with suppress(DayfoldError), self.store.transaction() as session:
            if not isinstance(error, LeaseLost):
                leases.fence(self.ledger, session, lease)
                reshape.drop_aside(self.ledger, session, self.rollup.shape)
            status = runs.STOPPED if isinstance(known, Stopped) else runs.FAILED
            runs.finish(self.ledger, session, run_id, status, str(known))

    def _build_and_switch(self, lease: leases.Lease, run_id: int, task: _Task) -> None:
        """Build all portions but the last aside; compute that one in the transaction that publishes all."""
        full: set[str] = set()
        done = 0
        for portion in task.portions[:-1]:
            self.folder.stop()
            apart = self._apart(portion)
            with self.store.transaction() as session:
                leases.fence(self.ledger, session, lease)
                self._put_aside(session, self._computed(session, portion, apart, full), first=not done)
            done += len(portion.days)
            task.tell(done)
        self.folder.stop()
        apart = self._apart(task.portions[-1])
        with self.store.transaction() as session:
            leases.fence(self.ledger, session, lease)
            new = self._computed(session, task.portions[-1], apart, full)
            if done:
                self._put_aside(session, new, first=False)
                new = self._aside
            self._check_emptiness(session, full, task)
            standings = fetches.standings(self.ledger, session, self.rollup)
            rollup = fetches.knowing(self.rollup, standings)
            uppers = self.folder.uppers(session, self.rollup)
            publisher = Publisher(self.folder.databases, self.ledger, rollup, run_id, uppers)
            changed = publisher.publish(session, new, task.span, keys=self.keys)
            task.result.add(changed)
            for days in task.ranges:
                receipts.record(self.ledger, session, self.rollup.shape, self.rollup.name, task.number, days, run_id)
                for source, found in () if self.keys else standings.items():
                    today = today_of(self.folder.clock)
                    fetches.record_standing(
                        self.ledger, session, self.rollup.name, task.number, source, found, days, today
                    )
            runs.progress(self.ledger, session, run_id, task.result.cells, changed)
            versions.bump_revision(self.ledger, session, self.rollup.name)
            reshape.drop_aside(self.ledger, session, self.rollup.shape)
            runs.finish(self.ledger, session, run_id, runs.DONE, None)
        task.tell(sum(len(one.days) for one in task.portions))

    @property
    def _aside(self) -> exp.Table:
        return table(reshape.aside_name(self.rollup.shape), self.store.schema)

    def _put_aside(self, session: Session, new: exp.Table, *, first: bool) -> None:
        """Keep computed rows in a table that nobody reads."""
        rows = exp.select("*").from_(new.copy())
        if first:
            text, _ = Statement(rows).render(self.store.dialect.name)
            session.execute(f"CREATE TABLE {self._aside.sql(identify=True)} AS {text}")
        else:
            session.execute(Statement(exp.Insert(this=self._aside, expression=rows)))

    # -- both ------------------------------------------------------------------------------------

    def _known(self, session: Session) -> Shape:
        """The rollup's table, absence meaning zero where its functions have answered."""
        return fetches.knowing(self.rollup, fetches.standings(self.ledger, session, self.rollup)).shape

    def _publication(
        self, new: exp.Expr, scope: Sequence[Days], shape: Shape, keys: tuple[Admits, ...] = ()
    ) -> Publication:
        names = [one.name for one in shape.values]
        return Publication(shape, new, names, scope, self.store.dialect, keys=(*self.keys, *keys))

    def _apart(self, portion: Portion) -> dict[int, Any]:
        with self.store.transaction(read_only=True) as session:
            scans = Scans(self.folder.databases, self.rollup, self.ledger.store_key(session))
        return scans.read_apart(
            scans.apart(list(enumerate(self.rollup.scans))), Wanted(portion.days, (*self.keys, *portion.keys))
        )

    def _computed(self, session: Session, portion: Portion, apart: dict[int, Any], full: set[str]) -> exp.Table:
        """The rows of some days, computed; sources with a fact among them are added to ``full``."""
        scans = Scans(self.folder.databases, self.rollup, self.ledger.store_key(session))
        scope = Scope(portion.days, None, (*self.keys, *portion.keys))
        staged: list[tuple[Scan, str]] = [
            (scan, scans.stage(session, n, scan, scope, apart)) for n, scan in enumerate(self.rollup.scans)
        ]
        for scan, name in staged:
            if scan.label not in full and session.rows(Statement(sql("select 1 from _t limit 1", _t=table(name)))):
                full.add(scan.label)
        return scans.combined(session, staged, whole=True)

    def _when(self, span: Days) -> str:
        return "" if self.rollup.is_lifelong else f" for {span.first} to {span.last}"

    def _check_emptiness(self, session: Session, full: set[str], task: _Task) -> None:
        """Stop where a source has nothing on any of the days, and rows are stored that hold what it gave."""
        if task.allow_empty:
            return
        shape = self.rollup.shape
        for source in dict.fromkeys(scan.label for scan in self.rollup.scans):
            if source in full:
                continue
            if session.rows(self._publication(shape.table, task.ranges, shape).holding(source)):
                raise SuddenlyEmpty(
                    f"{source} has nothing{self._when(task.span)}, where {self.rollup.name} has rows. "
                    "Nothing was changed.",
                    hint="If its rows were really deleted, run again with --allow-empty. Otherwise check the connection, "
                    "its rights and the table.",
                )
