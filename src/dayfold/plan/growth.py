"""The SQL of increases: what levels grew by, and the facts behind it. Plan floor, pure.

Observations of an entity are put in the order of their days. Where an index leads from an entity to its moments, the levels
before are looked up; elsewhere one pass over the source finds them.

Invariant: what an entity grew by depends on its own observations alone, whatever keys or cells are asked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlglot import exp

from dayfold.days import Days
from dayfold.define.types import INT
from dayfold.plan.bind import BoundRollup, Scan
from dayfold.plan.cells import CELL_DAY, Cells, cell_day, cell_key
from dayfold.plan.keys import Admits, KeyFilter
from dayfold.plan.lookup import bare, from_cells
from dayfold.plan.observed import (
    AT,
    BAD_LEVEL,
    BEFORE,
    LEVEL,
    NUMBER,
    OBSERVED,
    PAIRS,
    Observed,
    lateral,
    nested,
    of_columns,
    window,
)
from dayfold.plan.sql import Values, alias, both, column, sql

_GROWN = "g"


def grown(
    rollup: BoundRollup,
    scan: Scan,
    days: Days,
    cells: Cells | None,
    keys: Sequence[Admits],
    values: Values,
    *,
    led: bool,
) -> exp.Select:
    """One row per key and day that something was observed on: what its entities grew by, metric by metric.

    ``led``: an index leads from an entity to its moments.
    """
    reader = Observed(scan)
    rows = _looked_up(reader, days, cells, values) if led else _passed(reader, days, cells, values)
    growth = sql("case when coalesce(_l >= _b, false) then _l - _b else _l end", _l=column(LEVEL), _b=column(BEFORE))
    items = [alias(column(k), one.name) for k, (one, _) in zip(reader.keys, scan.keys, strict=True)]
    items.append(alias(column(CELL_DAY), "slot__"))
    for n, part in enumerate(scan.parts):
        total: exp.Expr = scan.dialect.total(growth, part.column.type)
        if reader.several:
            test = sql("_n = _m", _n=column(NUMBER), _m=exp.Literal.number(n))
            total = exp.Filter(this=total, expression=exp.Where(this=test))
        items.append(alias(scan.dialect.cast(total, part.column.type), part.column.name))
    items += [alias(scan.dialect.cast(sql("sum(_x)", _x=column(name)), INT), name) for name in (OBSERVED, BAD_LEVEL)]
    tests = [sql("_d >= _a", _d=column(CELL_DAY), _a=values.bind(days.first, "date"))]
    types = {one.name: (column(k), one.type) for k, (one, _) in zip(reader.keys, scan.keys, strict=True)}
    tests += [one.admits(*types[one.key], values) for one in keys]
    if cells is not None:
        tests.append(_listed(reader, cells))
    select = exp.select(*items).from_(nested(rows, _GROWN), copy=False).where(both(tests), copy=False)
    return select.group_by(*(exp.Literal.number(n + 1) for n in range(len(scan.keys) + 1)))


def _listed(reader: Observed, cells: Cells) -> exp.Expr:
    """True for rows of listed cells, by their own key: an entity may have come from another."""
    equal = reader.scan.dialect
    same = [equal.piece("equal", _x=column(k, _GROWN), _y=cell_key(n)) for n, k in enumerate(reader.keys)]
    same.append(sql("_a = _b", _a=column(CELL_DAY, _GROWN), _b=cell_day()))
    one = exp.select(alias(exp.Literal.number(1), "one")).from_(cells.source)
    return exp.Exists(this=one.where(both(same)))


def _candidates(reader: Observed, days: Days, cells: Cells, values: Values, trees: Sequence[exp.Expr]) -> exp.Expr:
    """The entities, and days, that have an observation in a listed cell, under other names than a source's."""
    items = [alias(tree.copy(), f"c{n}__") for n, tree in enumerate(trees)]
    select = exp.select(*items, alias(reader.scan.moment.day.copy(), CELL_DAY))
    found = from_cells(select.where(reader.scan.moment.within(days, values)), reader.scan, cells)
    return exp.select("*").from_(nested(found, "c"), copy=False).distinct()


def _passed(reader: Observed, days: Days, cells: Cells | None, values: Values) -> exp.Select:
    """The day's levels with the ones before them, from one pass over all facts up to the last day."""
    rows = reader.observations().from_(reader.scan.relation.copy())
    rows = reader.numbered(rows).where(reader.scan.moment.within(Days(dt.date.min, days.last), values), copy=False)
    if cells is not None:
        # Without this, one stale cell would put the observations of every entity in order.
        some = exp.select(alias(exp.Literal.number(1), "one"))
        some = some.from_(nested(_candidates(reader, days, cells, values, reader.per), PAIRS), copy=False)
        rows = rows.where(exp.Exists(this=some.where(reader.same_entity(of_columns(PAIRS, "c", len(reader.per))))))
    # All earlier days are one: only the last level before the first day matters.
    day = sql("greatest(_d, _a - 1)", _d=column(CELL_DAY), _a=values.bind(days.first, "date"))
    kept = [one for one in rows.named_selects if one != CELL_DAY]
    flattened = exp.select(*(column(one) for one in kept), alias(day, CELL_DAY)).from_(nested(rows, "o"), copy=False)
    return _with_lag(reader, _latest(reader, flattened, raw=False))


def _looked_up(reader: Observed, days: Days, cells: Cells | None, values: Values) -> exp.Select:
    """The day's levels, and the ones before them where the range does not hold them looked up by an index."""
    scan = reader.scan
    if cells is None:
        rows: exp.Expr = reader.numbered(reader.observations(raw=True).from_(scan.relation.copy()))
        assert isinstance(rows, exp.Select)
        known = _with_lag(reader, _latest(reader, rows.where(scan.moment.within(days, values), copy=False), raw=True))
    else:
        found = nested(_candidates(reader, days, cells, values, [bare(one) for one in reader.per]), PAIRS)
        day = column(CELL_DAY, PAIRS)

        def on_day(select: exp.Select, same: exp.Expr) -> exp.Select:
            facts = reader.numbered(select)
            items = reader.observations(raw=True)
            return facts.select(*items.selects).where(both([same, scan.moment.on_day(day), items.args["where"].this]))

        facts_of = lateral(reader.looked_up(of_columns(PAIRS, "c", len(reader.per)), on_day), "o")
        rows = exp.select(exp.Column(this=exp.Star(), table=exp.to_identifier("o", quoted=True)))
        rows = rows.from_(found, copy=False).join(facts_of, join_type="cross", copy=False)
        latest = _latest(reader, rows, raw=True)
        null = scan.dialect.cast(exp.Null(), scan.parts[0].column.type)
        known = exp.select("*", alias(null, BEFORE)).from_(nested(latest, "l"), copy=False)
    return _with_looked_up(reader, known)


def _latest(reader: Observed, rows: exp.Expr, *, raw: bool) -> exp.Select:
    """The last observation of each entity and day, how many it had, and how many of them were no levels."""
    group = [*reader.places, column(CELL_DAY)]
    order: list[exp.Expr] = [sql("case when _x is null then 1 else 0 end", _x=column(LEVEL))]
    order += [exp.Ordered(this=column(name), desc=True, nulls_first=False) for name in (AT, LEVEL, *reader.keys)]
    windows = [
        alias(window(sql("row_number()"), group, order), "place__"),
        alias(window(sql("count(*)"), group), OBSERVED),
        alias(window(sql("sum(_x)", _x=column(BAD_LEVEL)), group), "bads__"),
    ]
    ranked = exp.select("*", *windows).from_(nested(rows, "o"), copy=False)
    kept = [one.alias_or_name for one in reader.observations(raw=raw).selects]
    items = [column(name) for name in (*kept, OBSERVED) if name not in (AT, BAD_LEVEL)]
    last = exp.select(*items, alias(column("bads__"), BAD_LEVEL)).from_(nested(ranked, "r"), copy=False)
    return last.where(sql("place__ = 1"), copy=False)


def _with_lag(reader: Observed, latest: exp.Select) -> exp.Select:
    """Each day's level beside that of the entity's previous day among these."""
    before = window(sql("lag(_x)", _x=column(LEVEL)), reader.places, [column(CELL_DAY)])
    return exp.select("*", alias(before, BEFORE)).from_(nested(latest, "l"), copy=False)


def _with_looked_up(reader: Observed, known: exp.Select) -> exp.Select:
    """The level before the first known one, by an index."""
    scan, number = reader.scan, column(NUMBER, "w")

    def last(select: exp.Select, same: exp.Expr) -> exp.Select:
        tests = [sql("_b is null", _b=column(BEFORE, "w")), same, scan.moment.before(column(CELL_DAY, "w"))]
        tests.append(sql("not (_x) is null", _x=reader.level(number)))
        assert scan.moment.raw is not None
        # NULLs, of which there are none here, where an index read backwards has them.
        order = [
            exp.Ordered(this=one, desc=True, nulls_first=True) for one in (scan.moment.raw.copy(), column("found__"))
        ]
        return select.select(alias(reader.level(number), "found__")).where(both(tests)).order_by(*order).limit(1)

    earlier = lateral(reader.looked_up(of_columns("w", "r", len(reader.per)), last), "b")
    kept = [one.alias_or_name for one in reader.observations().selects if one.alias_or_name != AT]
    items = [column(one, "w") for one in (*kept, OBSERVED)]
    before = sql("coalesce(_b, _f)", _b=column(BEFORE, "w"), _f=column("found__", "b"))
    select = exp.select(*items, alias(before, BEFORE)).from_(nested(known, "w"), copy=False)
    return select.join(earlier, on=exp.true(), join_type="left", copy=False)


def behind(scan: Scan, day: dt.date, keys: Sequence[KeyFilter], values: Values) -> exp.Subquery:
    """The facts that the growth of a day comes from, with all their columns, as something to select from.

    Of every entity that counts for these keys: the row of the day's level, and that of the one before it.
    """
    reader = Observed(scan)
    day_tree = values.bind(day, "date")
    parts = [one for one in reader.observations().selects if one.alias_or_name != BAD_LEVEL]
    rows = exp.select("*", *parts).from_(scan.relation.copy())
    rows = rows.where(
        both(
            [
                scan.moment.within(Days(dt.date.min, day), values),
                sql("not (_x) is null", _x=reader.level(column(NUMBER))),
            ]
        )
    )
    is_day = sql("_d = _day", _d=column(CELL_DAY), _day=day_tree)
    group = [*reader.places, sql("case when _t then 1 else 0 end", _t=is_day)]
    order = [exp.Ordered(this=column(name), desc=True, nulls_first=False) for name in (AT, LEVEL, *reader.keys)]
    ranked = exp.select("*", alias(window(sql("row_number()"), group, order), "place__")).from_(
        nested(rows, "o"), copy=False
    )
    types = {one.name: (column(k), one.type) for k, (one, _) in zip(reader.keys, scan.keys, strict=True)}
    asked = both([is_day, *(one.admits(*types[one.key], values) for one in keys)])
    counts = window(sql("max(case when _t then 1 else 0 end)", _t=asked), reader.places)
    last = (
        exp.select("*", alias(counts, "counts__"))
        .from_(nested(ranked, "r"), copy=False)
        .where(sql("place__ = 1"), copy=False)
    )
    return nested(exp.select("*").from_(nested(last, "l"), copy=False).where(sql("counts__ = 1"), copy=False), "b")
