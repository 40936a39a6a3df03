"""Computes the rows of a rollup from its sources: staged beside the store's rows, wherever the sources are. Engines floor.

Sources in the store's own database are computed in the transaction that uses the rows. Others are computed in their own
database, each in one read-only snapshot; only the computed rows travel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.days import Days
from dayfold.engines.base import Session, Source, Store, compute
from dayfold.engines.databases import Databases
from dayfold.errors import ConnectionFailed, DayfoldError, SourceFailed, StoreError
from dayfold.plan.bind import BoundRollup, Scan
from dayfold.plan.cells import CELL_DAY, Cells, decoded, written
from dayfold.plan.dialect import SET_LIMIT
from dayfold.plan.keys import Admits
from dayfold.plan.lookup import bare, column_of
from dayfold.plan.scan import BAD, Scope, combine, not_finite, scan_columns
from dayfold.plan.scan import compute as compute_sql
from dayfold.plan.sql import Statement, Values, alias, both, column, derived, either, remembered, sql, table

if TYPE_CHECKING:
    import pyarrow as pa

NEW = "dayfold_new__"
_CELLS = "dayfold_cells__"
#: Cells that are looked up one by one where no index leads to both key and moment.
_FEW_CELLS = 64
#: Cells that are looked up one by one where an index does; beyond it the days are read once.
_MANY_CELLS = 50_000


class ScanFailed(Exception):
    """A source failed inside the store's transaction, which has to be begun again without it."""

    def __init__(self, scan: Scan, error: DayfoldError) -> None:
        super().__init__(scan.label)
        self.scan = scan
        self.error = error


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be computed: whole days of some keys, or cells in their encoded form.

    Attributes:
        listed: Cells as pairs of encoded key and day; None for all cells of the days.
    """

    days: Days
    keys: tuple[Admits, ...] = ()
    listed: pa.Table | None = None


class Scans:
    """The scans of one rollup."""

    def __init__(self, databases: Databases, rollup: BoundRollup, salt: str) -> None:
        self.databases = databases
        self.rollup = rollup
        self.salt = salt

    @property
    def store(self) -> Store:
        """Where the rows are used."""
        return self.databases.store

    def apart(self, scans: Iterable[tuple[int, Scan]]) -> list[tuple[int, Scan]]:
        """The scans whose source is in another database than the store."""
        return [(n, scan) for n, scan in scans if self.databases.of(scan.source) is not self.store]

    def read_apart(self, scans: Sequence[tuple[int, Scan]], wanted: Wanted) -> dict[int, pa.Table]:
        """The computed rows of scans in other databases, each database read in one snapshot.

        Raises:
            ScanFailed: naming the scan that could not be read or computed.
        """
        found: dict[int, pa.Table] = {}
        for database in dict.fromkeys(scan.source.database for _, scan in scans):
            mine = [(n, scan) for n, scan in scans if scan.source.database == database]
            current = mine[0][1]
            try:
                with self.databases.of(current.source).transaction(read_only=True) as session:
                    for n, scan in mine:
                        current = scan
                        with session.within(scan.source):
                            found[n] = self.computed(session, scan, wanted)
            except (SourceFailed, StoreError, ConnectionFailed) as error:
                raise ScanFailed(current, error) from error
        return found

    def computed(self, session: Session, scan: Scan, wanted: Wanted) -> pa.Table:
        """The computed rows of one scan, in a session of its source's database."""
        values = Values()
        columns = scan_columns(self.rollup, scan)
        if wanted.listed is None:
            scope = self._led(session, scan, Scope(wanted.days, None, wanted.keys))
            return session.arrow(compute_sql(self.rollup, scan, scope, self.salt, values), columns)
        pairs = zip(wanted.listed["key"].to_pylist(), wanted.listed["day"].to_pylist(), strict=True)
        text = "[" + ",".join(dict.fromkeys(f'[{key},"{day}"]' for key, day in pairs)) + "]"
        key = self.rollup.shape.key
        # A key with a NULL in it is no entity of a profile.
        count, has_null = wanted.listed.num_rows, "null" in text and not self.rollup.is_lifelong
        cells = Cells(written(scan.dialect, key, text, values), key, wanted.days, count, has_null)
        with self._planned(session, scan, cells) as cells:
            scope = self._led(session, scan, Scope(wanted.days, cells, wanted.keys))
            return session.arrow(compute_sql(self.rollup, scan, scope, self.salt, values), columns)

    def _led(self, session: Session, scan: Scan, scope: Scope) -> Scope:
        """The scope, an index used for the levels before it where there is one."""
        return replace(scope, led=leads_to_levels(self.databases.of(scan.source), session, scan))

    def _planned(self, session: Session, scan: Scan, cells: Cells) -> Lookup:
        return Lookup(self.databases.of(scan.source), session, scan, cells)

    def stage(self, session: Session, n: int, scan: Scan, scope: Scope, apart: dict[int, pa.Table]) -> str:
        """A scan's rows as a temporary table of the store, checked for numbers that are none.

        Raises:
            ScanFailed: when they cannot be computed; the transaction is over then.
        """
        name = f"dayfold_scan_{n}__"
        if n in apart:
            session.load(name, scan_columns(self.rollup, scan), apart[n])
        else:
            try:
                if scope.cells is None:
                    planned = self._led(session, scan, scope)
                    compute(self.store, session, scan, compute_sql(self.rollup, scan, planned, self.salt), name)
                else:
                    with self._planned(session, scan, scope.cells) as cells:
                        planned = self._led(session, scan, Scope(scope.days, cells, scope.keys))
                        compute(self.store, session, scan, compute_sql(self.rollup, scan, planned, self.salt), name)
            except (SourceFailed, StoreError) as error:
                raise ScanFailed(scan, error) from error
        if scan.guards and session.rows(
            Statement(sql("select 1 from _t where _b > 0 limit 1", _b=column(BAD.name), _t=table(name)))
        ):
            raise ScanFailed(scan, self._not_finite(scan, scope.days))
        return name

    def _not_finite(self, scan: Scan, days: Days) -> SourceFailed:
        """The failure of a source with numbers that are none, and how many facts hold one."""
        with self.databases.of(scan.source).transaction(read_only=True) as session, session.within(scan.source):
            count = session.rows(not_finite(scan, days))[0][0]
        when = "" if self.rollup.is_lifelong else f" from {days.first} to {days.last}"
        if any(one.united for one in scan.sets):
            return SourceFailed(
                f"{count:,} rows{when} hold sets of more than {SET_LIMIT:,} values, of which only "
                "that many are kept: how many different values they have together is not known.",
                source=scan.label,
                hint="Count the values in their own source instead.",
            )
        if scan.levels is not None:
            return SourceFailed(
                f"{count:,} facts{when} hold a level below zero, or one that is NaN or infinite.",
                source=scan.label,
                hint="A cumulative level is never below zero: correct them, or leave them out with where=…. A level that "
                "may be is a Gauge.",
            )
        return SourceFailed(
            f"{count:,} facts{when} hold a number that is NaN or infinite.",
            source=scan.label,
            hint="Correct them, or leave them out with where=….",
        )

    def combined(self, session: Session, staged: Sequence[tuple[Scan, str]], *, whole: bool) -> exp.Table:
        """One row per key and slot from the staged results; ``whole``: no scan of the rollup is missing among them."""
        if len(staged) == 1 and whole:
            return table(staged[0][1])
        sets = list(self.rollup.sets_shape.values) if self.rollup.sets_shape else []
        results = [(table(name), scan_columns(self.rollup, scan)) for scan, name in staged]
        session.stage(NEW, Statement(combine(self.rollup.shape, sets, results, self.store.dialect)))
        return table(NEW)


class Lookup:
    """Chooses how the facts of cells are found, and sets the engine to it inside the block."""

    def __init__(self, database: Source, session: Session, scan: Scan, cells: Cells) -> None:
        self.database = database
        self.session = session
        self.scan = scan
        self.cells = cells

    def __enter__(self) -> Cells:
        names = [tree.name for _, key in self.scan.keys if isinstance(tree := bare(key), exp.Column)]
        moment = self.scan.moment.raw
        if self.scan.moment.is_lifelong:
            return self._of_entities([name for _, key in self.scan.keys if (name := column_of(key)) is not None])
        led = False
        if self.scan.source.name is not None and isinstance(moment, exp.Column) and len(names) == len(self.scan.keys):
            led = self.database.leads(self.session, self.scan.source, names, moment.name)
        by_range = self.scan.moment.ranges and self.cells.count <= (_MANY_CELLS if led else _FEW_CELLS)
        self.session.plan_joins(nested=by_range)
        cells = self.cells
        return Cells(cells.relation, cells.key, cells.days, cells.count, cells.has_null, by_range)

    def _of_entities(self, names: list[str]) -> Cells:
        """Whole lives are looked up one by one where an index leads to them, and are found in one pass elsewhere."""
        led = self.scan.source.name is not None and len(names) == len(self.scan.keys)
        led = led and self.cells.count <= _MANY_CELLS
        led = led and self.database.leads(self.session, self.scan.source, names)
        self.session.plan_joins(nested=led)
        return self.cells

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.session.plan_joins(nested=True)


def leads_to_levels(database: Source, session: Session, scan: Scan) -> bool:
    """Whether an index leads from the entities of a scan of increases to their moments."""
    moment = scan.moment.raw
    if scan.levels is None or scan.source.name is None or not scan.moment.ranges or not isinstance(moment, exp.Column):
        return False
    names = [tree.name for _, one in scan.levels.per if isinstance(tree := bare(one), exp.Column)]
    return len(names) == len(scan.levels.per) and database.leads(session, scan.source, names, moment.name)


def stage_cells(store: Store, session: Session, rollup: BoundRollup, pairs: exp.Expr) -> Cells | None:
    """Cells as a temporary table of the store, from a relation of encoded keys and days; None where there are none."""
    key = rollup.shape.key
    day = column("day", "m")
    source = exp.alias_(pairs.copy(), "m", table=True) if isinstance(pairs, exp.Table) else pairs

    def staged() -> Statement:
        cells = decoded(store.dialect, key, source, column("key", "m"), day)
        if not rollup.is_lifelong:
            return Statement(cells)
        # A key with a NULL in it is no entity.
        named = both(sql("not _k is null", _k=column(f"k{n}__")) for n in range(len(key)))
        return Statement(exp.select("*").from_(derived(cells, "cells__")).where(named))

    session.stage(_CELLS, remembered(("cells", key, pairs, rollup.is_lifelong), [], staged))
    session.analyze(_CELLS)
    bounds = remembered(("bounds of cells", len(key)), [], lambda: _bounds(len(key)))
    [(count, first, last, null_count)] = session.rows(bounds)
    if not count:
        return None
    return Cells(table(_CELLS), key, Days(first, last), int(count), null_count > 0)


def _bounds(parts: int) -> Statement:
    """How many cells there are, their first and last day, and how many have a NULL in their key."""
    nulls = either(sql("_k is null", _k=column(f"k{n}__")) for n in range(parts))
    items = [
        alias(sql("count(*)"), "cells"),
        alias(sql("min(_d)", _d=column(CELL_DAY)), "first"),
        alias(sql("max(_d)", _d=column(CELL_DAY)), "last"),
        alias(sql("count(*) filter (where _n)", _n=nulls), "nulls"),
    ]
    return Statement(exp.select(*items).from_(table(_CELLS)))
