"""How one metric of one cell is computed, and the source rows behind it. Query floor.

Invariant: the store's key, which hashes of distinct values are made with, is never shown.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from sqlglot import exp

from dayfold.days import Days
from dayfold.define.function import FunctionSource
from dayfold.define.source import Folded, Table
from dayfold.define.types import TEXT, Kind, Type
from dayfold.engines.base import Session
from dayfold.errors import DayfoldError
from dayfold.plan.bind import BoundRollup, Levels, Scan, stored_columns
from dayfold.plan.growth import behind
from dayfold.plan.keys import KeyFilter
from dayfold.plan.scan import Scope, compute
from dayfold.plan.sql import Statement, Values, alias, both, column, spelled, sql
from dayfold.query.sources import Snapshots, Sources

#: What stands for the store's key where it would be a parameter.
SECRET = "(the store's key)"
#: What is said to those who may not see all rows.
CANNOT_BE_READ = "the source cannot be read"
OF_ANOTHER_KEY = "a level before belongs to another key, and is not shown"
#: What comes from a database as it is; anything else as its text there, which no client library can misread.
_PLAIN = (Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.DECIMAL, Kind.TEXT)


@dataclass
class Evidence:
    """One metric of a cell and what it is computed from.

    Attributes:
        sql: What computes it, in the words of the source's database, with ``parameters`` for ``$1``, ``$2`` …
        columns: Those of the source; ``rows``: one page of the facts that count; ``total``: how many there are.
        read: Whether the source was read; else ``reason`` says why not. Where it was, ``reason`` says what is left out.
    """

    metric: str
    source: str
    sql: str
    parameters: list[Any]
    read: bool = False
    reason: str | None = None
    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    total: int = 0
    offset: int = 0

    def as_object(self) -> dict[str, Any]:
        """The evidence for JSON."""
        return asdict(self)


def evidence(
    sources: Sources,
    snapshots: Snapshots,
    name: str,
    keys: tuple[KeyFilter, ...],
    day: dt.date,
    failed: Mapping[str, DayfoldError],
    page: tuple[int, int] | None,
    schema: str,
    *,
    is_limited: bool = False,
) -> Evidence:
    """How a metric is computed for one key and day. ``page``: how many facts, and from which on; None: the source is not read.

    ``is_limited``: some rows are kept from whoever asks, and so are facts of other keys and what a failure says.

    Raises:
        ScanFailed: when the source cannot be read; every snapshot is useless then.
    """
    rollup = sources.rollup
    scan = alone(rollup, name)
    text, parameters = written(compute(rollup, scan, Scope(Days(day, day), None, keys), SECRET), scan.dialect.name)
    found = Evidence(name, scan.label, text, parameters)
    if page is None:
        found.reason = "the day is sealed"
        return found
    if scan.label in failed:
        found.reason = CANNOT_BE_READ if is_limited else failed[scan.label].message
        return found
    described = _columns(sources, snapshots, scan, schema)
    with snapshots.reading(scan) as session:
        _read(found, session, scan, described, keys, day, page, is_limited)
    return found


def alone(rollup: BoundRollup, name: str) -> Scan:
    """The scan that computes a metric, with nothing in it of the others.

    What would make the whole source fail stays, because it fails the metric too.
    """
    definition = rollup.definition
    mine = set(stored_columns(definition, name))
    scan = next(one for one in rollup.scans if mine & {each.name for each in one.value_columns})
    held = {each.name for each in scan.value_columns}
    siblings = [other for other in definition.measured if held & set(stored_columns(definition, other))]
    return replace(
        scan,
        parts=[one for one in scan.parts if one.column.name in mine],
        sets=[one for one in scan.sets if one.count.name in mine],
        filters=[scan.counting[siblings.index(name)]],
        levels=_levels_alone(scan, mine),
        presence=[one for one in scan.presence if {each.name for each in one.find_all(exp.Column)} <= mine],
    )


def _levels_alone(scan: Scan, mine: set[str]) -> Levels | None:
    if scan.levels is None:
        return None
    return replace(scan.levels, each=tuple(one for one in scan.levels.each if one.name in mine))


def written(statement: Statement, dialect: str) -> tuple[str, list[Any]]:
    """A statement as text for people, and its parameters in the order of their numbers."""
    _, parameters = statement.render(dialect)
    tree = statement.tree.copy()
    order: dict[str, int] = {}
    for node in list(tree.find_all(exp.Placeholder, bfs=False)):
        place = order.setdefault(node.name, len(order) + 1)
        node.replace(exp.Parameter(this=exp.Literal.number(place)))
    return tree.sql(dialect=spelled(dialect), identify=True, pretty=True), parameters


def _columns(sources: Sources, snapshots: Snapshots, scan: Scan, schema: str) -> dict[str, Type]:
    """The columns of a source; of a rollup, those of its rows."""
    database = sources.databases.of(scan.source)
    if isinstance(scan.source, FunctionSource):
        return scan.source.described
    if not isinstance(scan.source, Folded):
        with snapshots.reading(scan):
            return database.describe(scan.source)
    offered = {one.alias_or_name for one in scan.relation.this.selects}
    with snapshots.reading(scan):
        stored = database.describe(Table(f"{schema}.{scan.source.name}"))
    return {name: type_ for name, type_ in stored.items() if name in offered}


def _read(
    found: Evidence,
    session: Session,
    scan: Scan,
    described: Mapping[str, Type],
    keys: Sequence[KeyFilter],
    day: dt.date,
    page: tuple[int, int],
    is_limited: bool,
) -> None:
    """The facts that count for the metric, by their moment, and how many there are.

    Of an increase these are the day's levels and the ones before them; where some rows are kept from whoever asks, those alone
    that are of the cell's key.
    """
    values = Values()
    trees = {one.name: (tree, one.type) for one, tree in scan.keys}
    tests = [scan.moment.within(Days(day, day), values), *(one.admits(*trees[one.key], values) for one in keys)]
    if (common := scan.common_filter) is not None:
        tests.append(common)
    relation = scan.relation
    if scan.levels is not None:
        values = Values()
        relation = behind(scan, day, keys, values)
        tests = [one.admits(*trees[one.key], values) for one in keys] if is_limited else []
    where = both(tests)
    count = exp.select(alias(sql("count(*)"), "facts")).from_(relation.copy())
    found.total = int(session.rows(Statement(count.where(where), values))[0][0])
    if scan.levels is not None and tests and int(session.rows(Statement(count, values))[0][0]) > found.total:
        found.reason = OF_ANOTHER_KEY
    items = [(name, _shown(scan, name, type_)) for name, type_ in described.items()]
    # Facts of one moment are put in an order of their own, so that pages neither repeat nor leave out.
    by_moment = [] if scan.moment.is_lifelong else [scan.moment.instant.copy()]
    order = [*by_moment, *(_text(scan, tree) for _, tree in items)]
    limit, found.offset = page
    rows = exp.select(*(alias(tree, f"c{n}__") for n, (_, tree) in enumerate(items))).from_(relation.copy())
    rows = rows.where(where.copy()).order_by(*order).limit(limit).offset(found.offset)
    found.columns = [name for name, _ in items]
    found.rows = [
        {name: _safe(value) for name, value in zip(found.columns, row, strict=True)}
        for row in session.rows(Statement(rows, values))
    ]
    found.read = True


def _shown(scan: Scan, name: str, type_: Type) -> exp.Expr:
    return column(name) if type_.kind in _PLAIN else scan.dialect.cast(column(name), TEXT)


def _text(scan: Scan, tree: exp.Expr) -> exp.Expr:
    return scan.dialect.piece("bytewise", _x=scan.dialect.cast(tree, TEXT))


def _safe(value: Any) -> Any:
    """A value that JSON has: a number that is none as its text."""
    if isinstance(value, Decimal) and not value.is_finite():
        return str(value)
    return value
