"""The SQL that computes cells: one select per source and moment, then one row per cell. Plan floor, pure."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from dayfold.days import Days
from dayfold.define.types import DATE, INT, TIMESTAMPTZ
from dayfold.plan.bind import BoundRollup, Scan, grain_minutes
from dayfold.plan.dialect import Dialect
from dayfold.plan.shape import Column, Shape
from dayfold.plan.sql import Statement, Values, alias, both, column, either, sql, table

#: How many facts a row was folded from, and how many of their numbers were not finite.
FACTS, BAD = Column("facts__", INT, zero=True), Column("bad__", INT, zero=True)


def scan_columns(rollup: BoundRollup, scan: Scan) -> list[Column]:
    """The columns of a scan's result, in order."""
    slot = Column("slot__", DATE if rollup.definition.grain == "day" else TIMESTAMPTZ)
    return [*rollup.shape.key, slot, *scan.value_columns, *(Column(set_name(one.hashes.name), one.hashes.type) for one in scan.sets), FACTS, BAD]


def set_name(metric: str) -> str:
    """What a metric's set is called beside its size."""
    return f"{metric}__hashes"


def compute(rollup: BoundRollup, scan: Scan, days: Days, salt: str) -> Statement:
    """One row per key and slot that a source has facts for on these days, all metrics from one pass.

    ``salt`` is the store's key for the hashes of distinct values.
    """
    values = Values()
    keys = [alias(tree, name.name) for name, tree in scan.keys]
    slot = alias(scan.moment.bucket(grain_minutes(rollup.definition)), "slot__")
    conditions = [scan.moment.within(days, values)]
    if (common := scan.common_filter) is not None:
        conditions.append(common)
    guards = [sql("count(*) filter (where _g)", _g=guard) for guard in scan.guards]
    bad = exp.Literal.number(0)
    for guard in guards:
        bad = exp.Add(this=bad, expression=guard)
    items = [
        *keys,
        slot,
        *(alias(part.aggregate, part.column.name) for part in scan.parts),
        *(item for item in _sets(scan, values, salt)),
        alias(sql("count(*)"), FACTS.name),
        alias(bad, BAD.name),
    ]
    select = exp.select(*items).from_(scan.relation.copy()).where(both(conditions))
    select = select.group_by(*(exp.Literal.number(n + 1) for n in range(len(keys) + 1)))
    if _may_be_absent(scan):
        present = either([*scan.presence, sql("_b > 0", _b=column(BAD.name))])
        names = [column(one.name) for one in scan_columns(rollup, scan)]
        select = exp.select(*names).from_(select.subquery("cells__")).where(present)
    return Statement(select, values)


def _sets(scan: Scan, values: Values, salt: str) -> Iterable[exp.Expr]:
    """The size of each set of values, then its hashes."""
    bound = values.bind(salt, "text") if scan.sets else exp.Null()
    for one in scan.sets:
        text = one.text if one.where is None else sql("case when _w then _x end", _w=one.where, _x=one.text)
        yield alias(sql("count(distinct _x)", _x=text), one.count.name)
    for one in scan.sets:
        hashed = scan.dialect.piece("hash", _salt=bound, _x=one.text)
        tests = [sql("not _x is null", _x=one.text), *([one.where] if one.where is not None else [])]
        kept = scan.dialect.piece("hash_set", _x=hashed)
        for aggregate in list(kept.find_all(exp.ArrayAgg, exp.List)):
            aggregate.replace(exp.Filter(this=aggregate.copy(), expression=exp.Where(this=both(tests))))
            break
        yield alias(kept, set_name(one.hashes.name))


def _may_be_absent(scan: Scan) -> bool:
    """Whether a group may hold facts and still no contribution: not where every fact is counted."""
    counts_all = any(part.aggregate == sql("count(*)") for part in scan.parts)
    only_counts = not scan.sets and all(part.aggregate.find(exp.Count) is part.aggregate or isinstance(part.aggregate, exp.Filter) and isinstance(part.aggregate.this, exp.Count) and isinstance(part.aggregate.this.this, exp.Star) for part in scan.parts)
    return not counts_all and not (only_counts and scan.common_filter is not None)


def first_day(scan: Scan, dialect: Dialect, finite: bool = True) -> Statement:
    """The day of a source's first moment; no row or null where it has none."""
    tree = scan.moment.first_day()
    select = exp.select(alias(dialect.cast(tree, DATE) if scan.moment.raw_kind != "timestamptz" else dialect.piece("utc_date", _x=tree), "day"))
    select = select.from_(scan.relation.copy())
    if scan.moment.raw is not None and scan.moment.raw_kind in ("timestamptz", "timestamp", "date", "local"):
        kind = "timestamp" if scan.moment.raw_kind == "local" else scan.moment.raw_kind
        select = select.where(sql(f"_m > cast('-infinity' as {kind}) and _m < cast('infinity' as {kind})", _m=scan.moment.raw))
    else:
        select = select.where(sql("not _m is null", _m=scan.moment.instant))
    if (common := scan.common_filter) is not None:
        select = select.where(common)
    return Statement(select)


def facts_per_day(scan: Scan, days: Days) -> Statement:
    """How many facts each day has: what chunks are sized by."""
    values = Values()
    select = exp.select(alias(scan.moment.day, "day"), alias(sql("count(*)"), "facts")).from_(scan.relation.copy())
    select = select.where(scan.moment.within(days, values)).group_by(exp.Literal.number(1))
    return Statement(select, values)


def combine(shape: Shape, sets: list[Column], scans: list[tuple[exp.Table, list[Column]]], dialect: Dialect) -> exp.Expr:
    """One row per key and slot from the results of several scans."""
    wanted = [*shape.values, *(Column(set_name(one.name), one.type) for one in sets)]
    identity = [column(one.name) for one in shape.key] + [column("slot__")]
    branches: list[exp.Expr] = []
    for result, has in scans:
        names = {one.name for one in has}
        items = [column(one.name) if one.name in names else alias(dialect.cast(exp.Null(), one.type), one.name) for one in wanted]
        branches.append(exp.select(*identity, *items).from_(result.copy()))
    if len(branches) == 1:
        return branches[0]
    merged = branches[0]
    for branch in branches[1:]:
        merged = exp.union(merged, branch, distinct=False)
    items = [alias(dialect.piece("any_of", _x=column(one.name)), one.name) for one in wanted]
    select = exp.select(*identity, *items).from_(exp.Subquery(this=merged, alias=exp.TableAlias(this=exp.to_identifier("scans__"))))
    return select.group_by(*(exp.Literal.number(n + 1) for n in range(len(identity))))


def staged(name: str) -> exp.Table:
    """A temporary table of ours."""
    return table(name)
