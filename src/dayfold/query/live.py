"""Live rows: what a fold would publish now, computed from the sources and merged with the stored rows. Query floor.

Nothing is published, and no mark is touched: the merged rows are temporary tables, gone with the transaction.

Weakness: a rollup over another one is computed from that one's stored rows, not from their sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.days import Days
from dayfold.engines.base import Session, Store
from dayfold.engines.scans import ScanFailed, Scans, Wanted, stage_cells
from dayfold.errors import DayfoldError, SourceFailed
from dayfold.plan.bind import Scan
from dayfold.plan.cells import Cells, cell_day
from dayfold.plan.keys import KeyFilter
from dayfold.plan.publish import Publication
from dayfold.plan.scan import Scope, combine, set_name
from dayfold.plan.shape import SETS_SUFFIX, Column, Shape
from dayfold.plan.sql import Statement, Values, alias, both, column, derived, either, sql, table
from dayfold.query.due import PAIR, Due
from dayfold.query.sources import Snapshots, Sources

if TYPE_CHECKING:
    pass

#: What the merged rows are called; their sets beside them.
LIVE = "dayfold_live"
_FOUND = "dayfold_live_cells__"


def merged(
    snapshots: Snapshots,
    sources: Sources,
    due: Due,
    held: Sequence[Days],
    keys: tuple[KeyFilter, ...],
    salt: str,
    *,
    stored: bool,
) -> None:
    """Temporary tables of the store hold the rollup's rows, and their sets, as a fold of all that is due would leave them.

    ``held``: the days whose stored rows are wanted; ``keys``: what the key of all rows has to meet; ``salt``: the store's key,
    for the hashes of distinct values; ``stored``: whether the rollup has tables yet.

    Raises:
        ScanFailed: naming the source that could not be read or computed; every snapshot is useless then.
    """
    _Merger(snapshots, sources, due, keys, salt, stored).merge(held)


def left_out(failure: ScanFailed) -> SourceFailed:
    """Why a source is left out, as its own failure."""
    error = failure.error
    return SourceFailed(error.message, source=failure.scan.label, hint=error.hint)


@dataclass(frozen=True, slots=True)
class _Computed:
    """Computed rows of a scope: a temporary table with one column for each of the rollup's values and sets."""

    name: str
    days: Days
    cells: Cells | None


@dataclass(slots=True)
class _Merger:
    snapshots: Snapshots
    sources: Sources
    due: Due
    keys: tuple[KeyFilter, ...]
    salt: str
    stored: bool

    @property
    def session(self) -> Session:
        return self.snapshots.store

    @property
    def store(self) -> Store:
        return self.sources.databases.store

    @property
    def failed(self) -> Mapping[str, DayfoldError]:
        return self.due.failed

    def merge(self, held: Sequence[Days]) -> None:
        rollup = self.sources.rollup
        parts = list(self._parts())
        self._stage(LIVE, rollup.shape, [one.name for one in rollup.shape.values], None, parts, held)
        if rollup.sets_shape:
            names = [set_name(one.name) for one in rollup.sets_shape.values]
            present = either(sql("not _s is null", _s=column(name)) for name in names)
            self._stage(LIVE + SETS_SUFFIX, rollup.sets_shape, names, present, parts, held)

    # -- computing -------------------------------------------------------------------------------

    def _parts(self) -> Iterator[_Computed]:
        """Every range and the cells, computed one after another."""
        rollup = self.sources.rollup
        healthy = [(n, scan) for n, scan in enumerate(rollup.scans) if scan.label not in self.failed]
        if not healthy:
            return
        number = 0
        for number, days in enumerate(self.due.days):
            yield self._part(number, healthy, Scope(days, None, self.keys), Wanted(days, self.keys))
        if self.due.cells is None:
            return
        self.session.load(_FOUND, PAIR, self.due.cells)
        cells = stage_cells(self.store, self.session, rollup, table(_FOUND))
        if cells is not None:
            scope = Scope(cells.days, cells, self.keys)
            yield self._part(number + 1, healthy, scope, Wanted(cells.days, self.keys, self.due.cells))

    def _part(self, number: int, healthy: list[tuple[int, Scan]], scope: Scope, wanted: Wanted) -> _Computed:
        scans = Scans(self.sources.databases, self.sources.rollup, self.salt)
        apart = {}
        for n, scan in healthy:
            if self.snapshots.apart(scan):
                with self.snapshots.reading(scan) as session:
                    apart[n] = scans.computed(session, scan, wanted)
        staged = [(scan, scans.stage(self.session, n, scan, scope, apart)) for n, scan in healthy]
        new = scans.combined(self.session, staged, whole=not self.failed)
        name = f"dayfold_live_{number}__"
        rows: exp.Expr = exp.select("*").from_(new.copy())
        if self.failed and self.stored:
            rows = self._with_kept(number, new, scope)
        self.session.stage(name, Statement(rows))
        return _Computed(name, scope.days, scope.cells)

    def _with_kept(self, number: int, new: exp.Table, scope: Scope) -> exp.Expr:
        """Computed rows with what failed sources gave before, and the stored rows that hold only that."""
        rollup = self.sources.rollup
        sets = rollup.sets_shape
        columns = [one for one in rollup.shape.values if one.source not in self.failed]
        hashes = [one for one in (sets.values if sets else ()) if one.source not in self.failed]
        results: list[tuple[exp.Table, list[Column]]] = [
            (new, [*columns, *(Column(set_name(one.name), one.type) for one in hashes)])
        ]
        for shape in (rollup.shape, *([sets] if sets else [])):
            kept = f"dayfold_kept_{number}_{len(results)}__"
            names = {one.name: one.name if shape is rollup.shape else set_name(one.name) for one in shape.values}
            mine = [one for one in shape.values if one.source in self.failed]
            if not mine:
                continue
            values = Values()
            holds = either(one.holds(column(one.name), self.store.dialect) for one in mine)
            rows = self._scope(shape, scope.days, scope.cells).stored(values, "t")
            items = [column(one.name) for one in shape.key] + [alias(shape.slot_of(), "slot__")]
            items += [alias(column(one.name), names[one.name]) for one in mine]
            self.session.stage(kept, Statement(exp.select(*items).from_(derived(rows, "t")).where(holds), values))
            results.append((table(kept), [Column(names[one.name], one.type) for one in mine]))
        return combine(rollup.shape, list(sets.values) if sets else [], results, self.store.dialect)

    def _scope(self, shape: Shape, days: Days, cells: Cells | None) -> Publication:
        names = [one.name for one in shape.values]
        dialect = self.store.dialect
        return Publication(shape, table(LIVE), names, [days], dialect, frozenset(), None, cells, self.keys)

    # -- merging ---------------------------------------------------------------------------------

    def _stage(
        self,
        name: str,
        shape: Shape,
        names: Sequence[str],
        present: exp.Expr | None,
        parts: Sequence[_Computed],
        held: Sequence[Days],
    ) -> None:
        """One temporary table: the stored rows that stand, and the computed ones in place of the others."""
        values = Values()
        whole: exp.Expr = self._standing(shape, parts, held, values) if self.stored else self._none(shape)
        for part in parts:
            whole = exp.union(whole, self._new(shape, names, present, part), distinct=False, copy=False)
        self.session.stage(name, Statement(whole, values))
        self.session.analyze(name)

    def _columns(self, shape: Shape) -> list[Column]:
        beside = {"created_at", "updated_at", "run_id", *(one.name for one in shape.packed)} if shape.stamped else set()
        return [one for one in shape.columns if one.name not in beside]

    def _none(self, shape: Shape) -> exp.Select:
        """No row, with the columns of the table that is not there yet."""
        dialect = self.store.dialect
        items = [alias(dialect.cast(exp.Null(), one.type), one.name) for one in self._columns(shape)]
        return exp.select(*items).where(exp.false())

    def _standing(self, shape: Shape, parts: Sequence[_Computed], held: Sequence[Days], values: Values) -> exp.Select:
        """Stored rows of the days that are wanted which nothing is computed for."""
        names = [one.name for one in shape.values]
        dialect = self.store.dialect
        wanted = Publication(shape, table(LIVE), names, held, dialect, frozenset(), None, None, self.keys)
        tests = [wanted.in_scope(values, "t")]
        keys = [column(one.name, "t") for one in shape.key]
        day = shape.day("t")
        for part in parts:
            if part.cells is None:
                low, high = values.bind(part.days.first, "date"), values.bind(part.days.last, "date")
                tests.append(sql("not (_d >= _low and _d <= _high)", _d=day, _low=low, _high=high))
                continue
            on_day = sql("_d = _c", _d=day, _c=cell_day())
            for null_safe in part.cells.branches():
                listed = exp.select(alias(exp.Literal.number(1), "one")).from_(part.cells.source)
                listed = listed.where(part.cells.listed(keys, on_day, null_safe))
                tests.append(exp.Not(this=exp.Exists(this=listed)))
        rows = exp.select(*(column(one.name, "t") for one in self._columns(shape)))
        return rows.from_(exp.alias_(shape.table, "t", table=True)).where(both(tests))

    def _new(self, shape: Shape, names: Sequence[str], present: exp.Expr | None, part: _Computed) -> exp.Select:
        """Computed rows with the columns of the table."""
        dialect = self.store.dialect
        slot = column("slot__")
        day: exp.Expr = slot
        items: list[exp.Expr] = [column(one.name) for one in shape.key]
        if not shape.is_lifelong:
            items.append(alias(slot, shape.slot))
            if shape.slot != shape.day_column:
                day = dialect.piece("utc_date", _x=slot)
                items.append(alias(day, shape.day_column))
        values = {one.name: one.filled(column(name), day) for one, name in zip(shape.values, names, strict=True)}
        values |= shape.making(values)
        items += [alias(dialect.cast(values[one.name], one.type), one.name) for one in shape.body]
        rows = exp.select(*items).from_(table(part.name))
        return rows.where(present.copy()) if present is not None else rows
