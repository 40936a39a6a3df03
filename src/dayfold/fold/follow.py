"""Changed levels followed to where they show next: marks of entities become marks of cells. Fold floor.

A level changed on one day changes the entity's next observed day too. Which day that is, is found here, in the snapshot of
a fold, and never by a trigger: another transaction may bring a day in between before both have committed, and then logs
it itself.

Invariant: marks of entities are deleted by the transaction that marks what they lead to.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.define.source import Table
from dayfold.engines.base import Session, Source
from dayfold.engines.databases import Databases
from dayfold.engines.scans import leads_to_levels
from dayfold.ledger import leases, marks
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, Scan
from dayfold.plan.follow import everybody, following, levels_tag, marked_entities
from dayfold.plan.sql import Statement, Values, alias, column, derived, table

if TYPE_CHECKING:
    import pyarrow as pa

_FOUND = "dayfold_followed__"


def of_levels(rollup: BoundRollup, source: Table) -> list[Scan]:
    """The scans of increases over a source."""
    return [scan for scan in rollup.scans if scan.source == source and scan.levels is not None]


def follow(
    databases: Databases, ledger: Ledger, rollup: BoundRollup, version: int, lease: leases.Lease, scan: Scan
) -> None:
    """The cells are marked that changed levels show in: entities that the ledger has marks of, and days marked whole."""
    with ledger.store.transaction(read_only=True) as session:
        told = _has_entities(ledger, session, rollup, version, scan)
        days = list(marks.whole_days(ledger, session, rollup.name, version))
    if not told and not days:
        return
    apart = None
    if days and databases.of(scan.source) is not databases.store:
        with databases.of(scan.source).transaction(read_only=True) as session:
            apart = _shown_of_days(databases.of(scan.source), session, scan, days)
    with ledger.store.transaction() as session:
        leases.fence(ledger, session, lease)
        if apart is not None:
            mark_loaded(ledger, session, rollup, version, scan.source, apart)
        elif days:
            values = Values()
            led = leads_to_levels(ledger.store, session, scan)
            cells = following(scan, everybody(scan, days, values), led=led)
            _mark(ledger, session, rollup, version, scan, cells, values)
        if told:
            staged = marks.read_entities(ledger, session, levels_tag(rollup.name, scan), version)
            led = leads_to_levels(ledger.store, session, scan)
            _mark(ledger, session, rollup, version, scan, following(scan, marked_entities(scan, staged), led=led))
            marks.delete_entities(ledger, session)


def _has_entities(ledger: Ledger, session: Session, rollup: BoundRollup, version: int, scan: Scan) -> bool:
    marked = marks.entities(ledger, levels_tag(rollup.name, scan), version)
    one = exp.select(alias(exp.Literal.number(1), "one")).from_(derived(marked, "m"))
    return bool(session.rows(Statement(one.limit(1))))


def _mark(
    ledger: Ledger,
    session: Session,
    rollup: BoundRollup,
    version: int,
    scan: Scan,
    cells: exp.Select,
    values: Values | None = None,
) -> None:
    with session.within(scan.source):
        marks.mark(ledger, session, rollup.name, version, cells, marks.OF_LEVELS.format(source=scan.label), values)


def mark_loaded(
    ledger: Ledger, session: Session, rollup: BoundRollup, version: int, source: Table, cells: pa.Table
) -> None:
    """Cells that were found in another database are marked."""
    session.load(_FOUND, marks.CELL, cells)
    loaded = exp.select(column("key"), column("day")).from_(table(_FOUND))
    marks.mark(ledger, session, rollup.name, version, loaded, marks.OF_LEVELS.format(source=source.label))


def shown_beside(
    database: Source, session: Session, scan: Scan, logged: exp.Select
) -> tuple[list[int], pa.Table | None]:
    """The ids of entities logged beside a source, and the cells that their levels show in."""
    ids = session.arrow(Statement(logged.copy()), marks.COLUMNS_WITH_TIME)["id"].to_pylist()
    if not ids:
        return [], None
    cells = following(scan, marked_entities(scan, logged), led=leads_to_levels(database, session, scan))
    with session.within(scan.source):
        return ids, session.arrow(Statement(cells), marks.CELL)


def _shown_of_days(database: Source, session: Session, scan: Scan, days: Sequence[dt.date]) -> pa.Table:
    values = Values()
    cells = following(scan, everybody(scan, days, values), led=leads_to_levels(database, session, scan))
    with session.within(scan.source):
        return session.arrow(Statement(cells, values), marks.CELL)


def waiting(ledger: Ledger, databases: Databases, rollup: BoundRollup, version: int) -> list[dt.date]:
    """The days of cells that the next fold will mark, found without writing; one for each cell not marked yet."""
    found: list[dt.date] = []
    for scan in rollup.scans:
        if scan.levels is None or databases.of(scan.source) is not databases.store:
            continue
        with ledger.store.transaction(read_only=True) as session:
            if not _has_entities(ledger, session, rollup, version, scan):
                continue
            marked = marks.entities(ledger, levels_tag(rollup.name, scan), version)
            led = leads_to_levels(ledger.store, session, scan)
            cells = following(scan, marked_entities(scan, marked), led=led)
            known = ledger.sql(
                "select 1 from dayfold__marks as m where m.rollup = _rollup and m.version = _version and m.day = _day and "
                "m.key = _key",
                _rollup=exp.Literal.string(rollup.name), _version=exp.Literal.number(version),
                _day=column("day", "c"), _key=column("key", "c"),
            ).tree  # fmt: skip
            fresh = exp.select(column("day", "c")).from_(derived(cells, "c"))
            with session.within(scan.source):
                found += [day for (day,) in session.rows(Statement(fresh.where(exp.Not(this=exp.Exists(this=known)))))]
    return found
