"""The SQL that follows a changed level to where it shows next: the entity's next observed day. Plan floor, pure.

Weakness: all keys that the entity has on that day are named, though its growth belongs to one of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlglot import exp

from dayfold.define.types import DATE, Kind
from dayfold.plan.bind import Scan
from dayfold.plan.cells import CELL_DAY, changed, decoded
from dayfold.plan.observed import NUMBER, PAIRS, Observed, lateral, levels_of, nested, of_columns, window
from dayfold.plan.sql import Values, alias, both, column, either, sql


def levels_tag(rollup: str, scan: Scan) -> str:
    """What marks of entities are kept under: those whose levels one scan of a rollup is computed from.

    Their key is the entity, encoded as a cell's is, so that nobody may take them for marks of cells.
    """
    return f"{rollup}{TAG}{', '.join(sorted(one.name for one in levels_of(scan).each))}"


#: Follows the name of the rollup, which has no space.
TAG = " levels of "


def following(scan: Scan, pairs: exp.Expr, *, led: bool) -> exp.Select:
    """The cells, ``key`` and ``day``, that changed levels show in: those of the entity's day and of its next observed day.

    ``pairs``: a select of entities, as ``k0__``, ``k1__`` …, and days, as ``day__``. All keys that the entity has on
    these days are meant: which of them the growth belongs to may have changed as well.
    """
    reader = Observed(scan)
    rows = _next_looked_up(reader, pairs) if led else _next_passed(reader, pairs)
    keys = [(one, column(k)) for k, (one, _) in zip(reader.keys, scan.keys, strict=True)]
    return changed(scan.dialect, keys, column(CELL_DAY), nested(rows, "n"))


def _next_passed(reader: Observed, pairs: exp.Expr) -> exp.Select:
    """From one pass over the later observations of these entities."""
    dialect, scan = reader.scan.dialect, reader.scan
    first = exp.select(alias(sql("min(_d)", _d=column(CELL_DAY, "f")), "first")).from_(
        nested(pairs.copy(), "f"), copy=False
    )
    some = exp.select(alias(exp.Literal.number(1), "one")).from_(nested(pairs.copy(), PAIRS), copy=False)
    some = some.where(reader.same_entity(of_columns(PAIRS, "k", len(reader.per))))
    names = [*([NUMBER] if reader.several else []), *reader.entity, *reader.keys, CELL_DAY]
    seen = exp.select(*(one for one in reader.observations().selects if one.alias_or_name in names))
    seen = seen.select(alias(scan.moment.day.copy(), "seen__"), alias(dialect.cast(exp.Null(), DATE), "told__"))
    seen = reader.numbered(seen.from_(scan.relation.copy())).where(reader.observed(column(NUMBER))).distinct()
    seen = seen.where(sql("_d >= (_f)", _d=scan.moment.day, _f=first)).where(exp.Exists(this=some))
    of_pairs: list[exp.Expr] = [column(NUMBER)] if reader.several else []
    entity = zip(reader.entity, of_columns(PAIRS, "k", len(reader.per)), reader.levels.per, strict=True)
    of_pairs += [
        alias(dialect.piece("bytewise", _x=tree) if one.type.kind is Kind.TEXT else tree, e)
        for e, tree, (one, _) in entity
    ]
    of_pairs += [
        alias(dialect.cast(exp.Null(), one.type), k) for k, (one, _) in zip(reader.keys, scan.keys, strict=True)
    ]
    of_pairs += [column(CELL_DAY, PAIRS), alias(dialect.cast(exp.Null(), DATE), "seen__")]
    told = exp.select(*of_pairs, alias(column(CELL_DAY, PAIRS), "told__")).from_(
        nested(pairs.copy(), PAIRS), copy=False
    )
    both_sides = exp.union(seen, reader.numbered(told), distinct=False, copy=False)
    items = [
        alias(_earlier_days("told__", reader.places), "last_told__"),
        alias(_earlier_days("seen__", reader.places), "last_seen__"),
        alias(window(sql("max(told__)"), [*reader.places, column(CELL_DAY)]), "same__"),
    ]
    placed = exp.select("*", *items).from_(nested(both_sides, "u"), copy=False)
    stale = sql(
        "not seen__ is null and (not same__ is null or coalesce(last_told__ >= coalesce(last_seen__, last_told__), false))"
    )
    return exp.select("*").from_(nested(placed, "d"), copy=False).where(stale, copy=False)


def _next_looked_up(reader: Observed, pairs: exp.Expr) -> exp.Select:
    """By an index: the next observed day of each entity, then what it has on both days."""
    scan, count = reader.scan, len(reader.per)
    number, told = column(NUMBER, PAIRS), column(CELL_DAY, PAIRS)
    entity = of_columns(PAIRS, "k", count)
    each = reader.numbered(exp.select("*").from_(nested(pairs.copy(), "t"), copy=False))

    def next_day(select: exp.Select, same: exp.Expr) -> exp.Select:
        assert scan.moment.raw is not None
        tests = [same, scan.moment.after(told), reader.observed(number)]
        found = select.select(alias(scan.moment.day.copy(), "next__")).where(both(tests))
        return found.order_by(exp.Ordered(this=scan.moment.raw.copy())).limit(1)

    later = lateral(reader.looked_up(entity, next_day), "x")
    days = [
        exp.select(*entity, told).from_(nested(pairs.copy(), PAIRS), copy=False),
        exp.select(*entity, alias(column("next__", "x"), CELL_DAY))
        .from_(nested(each, PAIRS), copy=False)
        .join(later, join_type="cross", copy=False),
    ]
    places = exp.union(*days, distinct=True, copy=False)

    def on_day(select: exp.Select, same: exp.Expr) -> exp.Select:
        any_level = either(reader.observed(exp.Literal.number(n)) for n in range(len(reader.levels.each)))
        items = [alias(tree.copy(), k) for (_, tree), k in zip(scan.keys, reader.keys, strict=True)]
        select = select.select(*items, alias(scan.moment.day.copy(), CELL_DAY))
        return select.where(both([same, scan.moment.on_day(told), any_level]))

    facts = lateral(reader.looked_up(entity, on_day), "o")
    rows = exp.select(exp.Column(this=exp.Star(), table=exp.to_identifier("o", quoted=True)))
    return rows.from_(nested(places, PAIRS), copy=False).join(facts, join_type="cross", copy=False)


def marked_entities(scan: Scan, marked: exp.Select) -> exp.Select:
    """The entities and days, as `following` takes them, of a select of marks: encoded ``key`` and ``day``."""
    columns = [one for one, _ in levels_of(scan).per]
    return decoded(scan.dialect, columns, nested(marked, "m"), column("key", "m"), column("day", "m"))


def everybody(scan: Scan, days: Sequence[dt.date], values: Values) -> exp.Select:
    """Every entity with an observation after one of some days, each with that day: for days that changed as a whole."""
    reader = Observed(scan)
    listed = exp.select(alias(scan.dialect.piece("exploded", _x=values.bind(list(days), "date[]")), CELL_DAY))
    day = column(CELL_DAY, "d")
    items = [alias(tree.copy(), f"k{n}__") for n, tree in enumerate(reader.per)]
    select = exp.select(*items, day).from_(scan.relation.copy()).join(nested(listed, "d"), join_type="cross")
    return select.where(sql("_d >= _day", _d=scan.moment.day, _day=day)).distinct()


def _earlier_days(name: str, partition: Sequence[exp.Expr]) -> exp.Expr:
    """The greatest of a column over the earlier days."""
    found = window(sql("max(_x)", _x=column(name)), partition, [column(CELL_DAY)])
    found.set(
        "spec", exp.WindowSpec(kind="GROUPS", start="UNBOUNDED", start_side="PRECEDING", end="1", end_side="PRECEDING")
    )
    return found
