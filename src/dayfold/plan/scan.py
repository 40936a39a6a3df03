"""The SQL that computes cells: one select per source and moment, then one row per cell. Plan floor, pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlglot import exp

from dayfold.days import Days
from dayfold.define.types import DATE, INT, TIMESTAMPTZ
from dayfold.plan.bind import BoundRollup, DistinctPart, Part, Scan, grain_minutes
from dayfold.plan.cells import CELL_DAY, Cells, changed
from dayfold.plan.dialect import Dialect
from dayfold.plan.follow import following
from dayfold.plan.growth import grown
from dayfold.plan.keys import Admits
from dayfold.plan.lookup import from_cells
from dayfold.plan.shape import Column, Shape, life, only_one
from dayfold.plan.sql import Statement, Values, alias, both, column, derived, either, remembered, sql

#: How many facts a row was folded from, and how many of its metrics met a number that is not finite.
FACTS, BAD = Column("facts__", INT, zero=True), Column("bad__", INT, zero=True)


def scan_columns(rollup: BoundRollup, scan: Scan) -> list[Column]:
    """The columns of a scan's result, in order."""
    slot = Column("slot__", DATE if grain_minutes(rollup.definition) == 1440 else TIMESTAMPTZ)
    return [
        *rollup.shape.key,
        slot,
        *scan.value_columns,
        *(Column(set_name(one.hashes.name), one.hashes.type) for one in scan.sets),
        FACTS,
        BAD,
    ]


def set_name(metric: str) -> str:
    """What a metric's set is called beside its size."""
    return f"{metric}__hashes"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is computed: all of some days, of the keys that a filter admits; or a list of cells.

    ``led``: for increases, whether an index leads from an entity to its moments.
    """

    days: Days
    cells: Cells | None = None
    keys: tuple[Admits, ...] = ()
    led: bool = False


def compute(rollup: BoundRollup, scan: Scan, scope: Scope, salt: str, values: Values | None = None) -> Statement:
    """One row per key and slot that a source has facts for in this scope, all metrics from one pass.

    ``salt`` is the store's key for the hashes of distinct values. ``values`` holds those that the scope has bound.
    """
    cells = scope.cells
    if values is not None or cells is None or scope.keys or scan.levels is not None:
        return _compute(rollup, scan, scope, salt, values if values is not None else Values())
    bound = Values()
    scan.moment.within(scope.days, bound)
    if _is_salted(scan):
        bound.bind(salt)
    key = ("scan", scan.token, cells.source, cells.key, cells.has_null, cells.by_range)
    return remembered(key, list(bound.by_name.values()), lambda: _compute(rollup, scan, scope, salt, Values()))


def _is_salted(scan: Scan) -> bool:
    """Whether values are hashed."""
    return any(not one.united for one in scan.sets)


def _compute(rollup: BoundRollup, scan: Scan, scope: Scope, salt: str, values: Values) -> Statement:
    if scan.levels is not None:
        rows = grown(rollup, scan, scope.days, scope.cells, scope.keys, values, led=scope.led)
        return Statement(_finished(rollup, scan, rows), values)
    if scan.moment.is_lifelong and scope.cells is None and scan.dialect.name == "duckdb":
        return Statement(_finished(rollup, scan, _in_passes(scan, scope, values)), values)
    keys = [alias(tree, name.name) for name, tree in scan.keys]
    slot = alias(scan.moment.bucket(grain_minutes(rollup.definition)), "slot__")
    conditions = _conditions(scan, scope, values)
    salted = values.bind(salt, "text") if _is_salted(scan) else exp.null()
    items = [
        *keys,
        slot,
        *(alias(part.aggregate, part.column.name) for part in scan.parts),
        *(alias(_hashes(scan, one, salted), set_name(one.hashes.name)) for one in scan.sets),
        alias(sql("count(*)"), FACTS.name),
        alias(_bad(scan), BAD.name),
    ]
    select = exp.select(*items).where(both(conditions))
    select = select.group_by(*(exp.Literal.number(n + 1) for n in range(len(keys) + 1)))
    return Statement(_finished(rollup, scan, from_cells(select, scan, scope.cells)), values)


def _conditions(scan: Scan, scope: Scope, values: Values) -> list[exp.Expr]:
    """What facts of a scope must meet to count for any metric."""
    conditions = [scan.moment.within(scope.days, values)]
    if scan.nobody is not None:
        conditions.append(exp.Not(this=exp.Paren(this=scan.nobody.copy())))
    if (common := scan.common_filter) is not None:
        conditions.append(common)
    trees = {one.name: (tree, one.type) for one, tree in scan.keys}
    return conditions + [one.admits(*trees[one.key], values) for one in scope.keys]


def _bad(scan: Scan) -> exp.Expr:
    """The aggregate for how many metrics met a number that is not finite."""
    bad: exp.Expr = exp.Literal.number(0)
    for detector in dict.fromkeys(scan.detectors):
        bad = exp.Add(this=bad, expression=sql("case when _d then 1 else 0 end", _d=detector))
    return bad


def _in_passes(scan: Scan, scope: Scope, values: Values) -> exp.Select:
    """Whole lives of many entities: counting values, and lists, take a fraction of the time in passes of their own.

    Beside thirty other aggregates DuckDB keeps a histogram for each entity at once.
    """
    conditions = _conditions(scan, scope, values)
    keys = [alias(tree, one.name) for one, tree in scan.keys]
    names = [one.name for one, _ in scan.keys]
    beside = [part for part in scan.parts if part.apart is None]
    groups: dict[tuple[exp.Expr, exp.Expr | None], list[Part]] = {}
    for part in scan.parts:
        if part.apart is not None:
            groups.setdefault((part.apart.given, part.apart.value), []).append(part)
    items = [alias(part.aggregate, part.column.name) for part in beside]
    items += [alias(sql("count(*)"), FACTS.name), alias(_bad(scan), BAD.name)]
    whole = _grouped(exp.select(*keys, *items).from_(scan.relation.copy()).where(both(conditions)), len(keys))
    found = {part.column.name: column(part.column.name, "p") for part in beside}
    select = exp.select().from_(derived(whole, "p"))
    using: list[int | str | exp.Expr] = [exp.to_identifier(name, quoted=True) for name in names]
    for n, ((given, value), parts) in enumerate(groups.items()):
        facts = exp.select(*keys).from_(scan.relation.copy()).where(both([*conditions, given]))
        if value is None:
            one = facts.select(*(alias(part.apart.aggregate, part.column.name) for part in parts if part.apart))
        else:
            counts = facts.select(alias(value, "value__"), alias(sql("count(*)"), "n__"))
            counted = derived(_grouped(counts, len(keys) + 1), "counts__")
            one = exp.select(*map(column, names)).from_(counted)
            one = one.select(*(alias(part.apart.aggregate, part.column.name) for part in parts if part.apart))
        select = select.join(derived(_grouped(one, len(keys)), f"t{n}"), using=using, join_type="left")
        found |= {part.column.name: column(part.column.name, f"t{n}") for part in parts}
    rows = [column(name) for name in names] + [alias(life(), "slot__")]
    rows += [alias(found[part.column.name], part.column.name) for part in scan.parts]
    return select.select(*rows, column(FACTS.name, "p"), column(BAD.name, "p"))


def _grouped(select: exp.Select, columns: int) -> exp.Select:
    """The select grouped by its first columns."""
    return select.group_by(*(exp.Literal.number(n + 1) for n in range(columns)))


def _hashes(scan: Scan, one: DistinctPart, salt: exp.Expr) -> exp.Expr:
    """All hashes of a set, sorted: their number is its size, the smallest of them are kept.

    Two values of one bucket share a hash with a probability of n² / 2⁶¹: 10⁻¹⁰ for 16,384 values. Counting the values
    themselves as well costs as much again as the whole scan.
    """
    tests = [sql("not _x is null", _x=one.text), *([one.where] if one.where is not None else [])]
    if one.united:
        return scan.dialect.piece("united_sets", _x=one.text, _t=both(tests))
    return scan.dialect.piece("hash_set", _x=scan.dialect.piece("hash", _salt=salt, _x=one.text), _t=both(tests))


def _finished(rollup: BoundRollup, scan: Scan, select: exp.Expr) -> exp.Expr:
    """The groups with the sizes of their sets, those without any contribution left out."""
    absent = _may_be_absent(scan)
    if not absent and not scan.sets:
        return select
    hashes = {set_name(one.hashes.name) for one in scan.sets}
    sizes = {one.count.name: set_name(one.hashes.name) for one in scan.sets}
    items: list[exp.Expr] = []
    for one in scan_columns(rollup, scan):
        if one.name in sizes:
            size = scan.dialect.piece("set_size", _x=column(sizes[one.name]))
            items.append(alias(sql("coalesce(_s, 0)", _s=size), one.name))
        elif one.name in hashes:
            items.append(alias(scan.dialect.piece("smallest", _x=column(one.name)), one.name))
        else:
            items.append(column(one.name))
    whole = exp.select(*items).from_(derived(select, "cells__"))
    if absent:
        has_set = [scan.dialect.piece("set_present", _x=column(name)) for name in sorted(hashes)]
        whole = whole.where(either([*scan.presence, *has_set, sql("_b > 0", _b=column(BAD.name))]))
    return whole


def _may_be_absent(scan: Scan) -> bool:
    """Whether a group may hold facts and still no contribution: not where every fact is counted."""
    if any(part.aggregate == sql("count(*)") for part in scan.parts):
        return False
    counts = [isinstance(part.aggregate, exp.Filter) and part.aggregate.this == sql("count(*)") for part in scan.parts]
    return bool(scan.sets) or not all(counts)


def first_day(scan: Scan, dialect: Dialect, before: dt.date | None = None) -> Statement:
    """The day of a source's first moment; no row or null where it has none.

    ``before``: only of earlier days than this one, to which an index leads, or what an engine keeps of ranges of rows.
    """
    values = Values()
    tree = scan.moment.first_day()
    day = dialect.cast(tree, DATE) if scan.moment.raw_kind != "timestamptz" else dialect.piece("utc_date", _x=tree)
    conditions = [_in_calendar(scan)]
    if before is not None:
        conditions.append(scan.moment.before(values.bind(before, "date")))
    if (common := scan.common_filter) is not None:
        conditions.append(common)
    return Statement(exp.select(alias(day, "day")).from_(scan.relation.copy()).where(both(conditions)), values)


def _in_calendar(scan: Scan) -> exp.Expr:
    """True for moments that are on a day: none before year 1 or after 9999. A local one at the edge is at most a day from UTC."""
    kind = scan.moment.raw_kind
    if scan.moment.raw is None or kind not in ("timestamptz", "timestamp", "date", "local"):
        return sql("_m >= cast('0001-01-01 00:00:00+00' as timestamptz)", _m=scan.moment.instant)
    if kind == "date":
        return sql("_m >= cast('0001-01-01' as date) and _m < cast('9999-12-31' as date)", _m=scan.moment.raw)
    first, kind = ("0001-01-02", "timestamp") if kind == "local" else ("0001-01-01", kind)
    offset = "+00" if kind == "timestamptz" else ""
    bounds = f"_m >= cast('{first} 00:00:00{offset}' as {kind}) and _m < cast('9999-12-31 00:00:00{offset}' as {kind})"
    return sql(bounds, _m=scan.moment.raw)


def changed_since(scan: Scan, position: str, values: Values, *, led: bool = False) -> exp.Query:
    """The cells of facts stamped since a position; also of those that a filter leaves out now, and did not before.

    Of levels, the cells as well in which they show next; ``led``: an index leads from an entity to its moments.
    """
    assert scan.cursor is not None
    since = scan.cursor.since(position, values)
    cells = changed(scan.dialect, scan.keys, scan.moment.day, scan.relation.copy(), [since])
    if scan.levels is None:
        return cells
    items = [alias(tree.copy(), f"k{n}__") for n, (_, tree) in enumerate(scan.levels.per)]
    pairs = exp.select(*items, alias(scan.moment.day.copy(), CELL_DAY)).from_(scan.relation.copy())
    return exp.union(cells, following(scan, pairs.where(since.copy()).distinct(), led=led), distinct=True)


def not_finite(scan: Scan, days: Days) -> Statement:
    """How many facts of these days hold a number that is NaN or infinite."""
    values = Values()
    select = exp.select(alias(sql("count(*)"), "bad")).from_(scan.relation.copy())
    return Statement(select.where(both([scan.moment.within(days, values), either(scan.guards)])), values)


def facts_per_day(scan: Scan, days: Days) -> Statement:
    """How many facts each day has: what chunks are sized by."""
    values = Values()
    select = exp.select(alias(scan.moment.day, "day"), alias(sql("count(*)"), "facts")).from_(scan.relation.copy())
    select = select.where(scan.moment.within(days, values)).group_by(exp.Literal.number(1))
    return Statement(select, values)


def combine(
    shape: Shape, sets: list[Column], scans: list[tuple[exp.Table, list[Column]]], dialect: Dialect
) -> exp.Expr:
    """One row per key and slot from the results of several scans."""
    wanted = [*shape.values, *(Column(set_name(one.name), one.type) for one in sets)]
    identity = [column(one.name) for one in shape.key] + [column("slot__")]
    branches: list[exp.Expr] = []
    for result, has in scans:
        names = {one.name for one in has}
        items = [
            column(one.name) if one.name in names else alias(dialect.cast(exp.Null(), one.type), one.name)
            for one in wanted
        ]
        branches.append(exp.select(*identity, *items).from_(result.copy()))
    if len(branches) == 1:
        return branches[0]
    if shape.is_lifelong:
        return _joined(shape, scans, dialect)
    merged = branches[0]
    for branch in branches[1:]:
        merged = exp.union(merged, branch, distinct=False)
    items = [alias(dialect.piece(only_one(one.type), _x=column(one.name)), one.name) for one in wanted]
    select = exp.select(*identity, *items).from_(
        exp.Subquery(this=merged, alias=exp.TableAlias(this=exp.to_identifier("scans__")))
    )
    return select.group_by(*(exp.Literal.number(n + 1) for n in range(len(identity))))


def _joined(shape: Shape, scans: list[tuple[exp.Table, list[Column]]], dialect: Dialect) -> exp.Expr:
    """One row per entity: keys without NULL, so that results are joined, which takes less than grouping them."""
    keys = [one.name for one in shape.key]
    place = {one.name: f"s{n}" for n, (_, has) in enumerate(scans) for one in has}
    items = [column(name) for name in keys] + [alias(life(), "slot__")]
    for one in shape.values:
        there = place.get(one.name)
        items.append(column(one.name, there) if there else alias(dialect.cast(exp.Null(), one.type), one.name))
    select = exp.select(*items)
    for n, (result, _) in enumerate(scans):
        named = exp.alias_(result.copy(), f"s{n}", table=True)
        using: list[int | str | exp.Expr] = [exp.to_identifier(name, quoted=True) for name in keys]
        select = select.join(named, using=using, join_type="full") if n else select.from_(named)
    return select
