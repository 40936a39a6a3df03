"""Stored rows beside proved ones: totals of days, and the rows that differ with how they do. Plan floor, pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlglot import exp

from dayfold.days import Days
from dayfold.define.types import BOOL, DATE, INT, TEXT, Kind
from dayfold.plan.bind import BoundRollup
from dayfold.plan.cells import encoded
from dayfold.plan.dialect import Dialect
from dayfold.plan.proof import DAY, SLOT, identity, set_column
from dayfold.plan.shape import Column, Made, among
from dayfold.plan.sql import Values, alias, both, column, derived, either, sql

MORE, FEWER, OTHER = "source has more facts", "source has fewer facts", "source has other facts"
#: Whether a row is there, on the side that it is asked of.
THERE = "there__"
KEY, CLASS = Column("key__", TEXT), Column("class__", TEXT)


def compared_columns(rollup: BoundRollup) -> list[Column]:
    """What is compared of each row: its values, then its sets."""
    sets = rollup.sets_shape.values if rollup.sets_shape else ()
    return [*rollup.shape.body, *(Column(set_column(one.name), one.type) for one in sets)]


def proved_rows(
    rollup: BoundRollup,
    merged: exp.Select,
    columns: Mapping[str, Column],
    dialect: Dialect,
    made: Sequence[Made] = (),
) -> exp.Select:
    """Proved rows as they should be stored.

    ``columns``: what the branches say of their types and of absence; ``made``: columns that are made of others of the row.
    """
    items: list[exp.Expr] = [column(one.name) for one in identity(rollup)]
    names = {one.column.name for one in made}
    for stored in compared_columns(rollup):
        if stored.name in names:
            continue
        one = columns[stored.name]
        tree: exp.Expr = column(one.name)
        if one.zero:
            nothing = sql("_x is null", _x=tree)
            if stored.known is not None:
                nothing = both([nothing, exp.Paren(this=among(column(DAY), stored.known))])
            tree = sql("case when _n then _z else _x end", _n=nothing, _x=tree, _z=one.absent)
        items.append(alias(dialect.cast(tree, one.type), one.name))
    rows = exp.select(*items, alias(exp.true(), THERE)).from_(merged.subquery("proved__", copy=False), copy=False)
    if not made:
        return rows
    # What is made of a row is made of the proved one, in the order of the stored columns.
    known = {one.column.name: one for one in made}
    trees = replace(rollup.shape, made=tuple(made)).making({})
    places = [*(one.name for one in identity(rollup)), *(one.name for one in compared_columns(rollup)), THERE]
    whole = [
        alias(dialect.cast(trees[name], known[name].column.type), name) if name in known else column(name)
        for name in places
    ]
    return exp.select(*whole).from_(rows.subquery("row__", copy=False), copy=False)


def stored_rows(rollup: BoundRollup, ranges: Sequence[Days], values: Values, dialect: Dialect) -> exp.Select:
    """The stored rows of some days with their sets; sets without a row are there with no values."""
    shape, sets = rollup.shape, rollup.sets_shape
    rows = exp.select("*").from_(shape.table).where(_on_days(shape.day(), ranges, values))
    if sets is None:
        items = [column(one.name, "t") for one in shape.key]
        items += [alias(shape.day("t"), DAY), alias(shape.slot_of("t"), SLOT)]  # type: ignore[list-item]
        items += [column(one.name, "t") for one in shape.body]
        return exp.select(*items, alias(exp.true(), THERE)).from_(derived(rows, "t"))
    lists = exp.select("*").from_(sets.table).where(_on_days(sets.day(), ranges, values))
    slot = column(shape.slot, "t")
    places = [*(one.name for one in shape.key), shape.day_column, shape.slot]
    either_side = {
        name: sql("case when _s is null then _b else _a end", _s=slot, _a=column(name, "t"), _b=column(name, "s"))
        for name in dict.fromkeys(places)
    }
    found = [alias(either_side[one.name], one.name) for one in shape.key]
    found += [alias(either_side[shape.day_column].copy(), DAY), alias(either_side[shape.slot].copy(), SLOT)]
    found += [column(one.name, "t") for one in shape.values]
    found += [alias(column(one.name, "s"), set_column(one.name)) for one in sets.values]
    same = both(dialect.piece("equal", _x=column(name, "t"), _y=column(name, "s")) for name in dict.fromkeys(places))
    there = alias(sql("not _s is null", _s=slot), THERE)
    return exp.select(*found, there).from_(derived(rows, "t")).join(derived(lists, "s"), on=same, join_type="full")


def _on_days(day: exp.Expr, ranges: Sequence[Days], values: Values) -> exp.Expr:
    return either(
        sql(
            "_d between _a and _b",
            _d=day,
            _a=values.bind(days.first, "date"),
            _b=values.bind(days.last, "date"),
        )
        for days in ranges
    )


def totals(rollup: BoundRollup, rows: exp.Expr, dialect: Dialect) -> exp.Select:
    """Each day's number of rows and the sum of their hashes, the same on every engine for the same rows."""
    parts = [_text(dialect, one, column(one.name)) for one in [*identity(rollup), *compared_columns(rollup)]]
    parts.append(dialect.text(column(THERE), BOOL))
    whole = parts[0]
    for part in parts[1:]:
        whole = exp.DPipe(this=exp.DPipe(this=whole, expression=exp.Literal.string("|")), expression=part)
    hashed = dialect.piece("hash", _salt=exp.Literal.string(""), _x=whole)
    items = [column(DAY), alias(sql("count(*)"), "rows"), alias(dialect.piece("wide_sum_text", _x=hashed), "digest")]
    return exp.select(*items).from_(derived(rows, "rows__")).group_by(column(DAY))


def _text(dialect: Dialect, one: Column, tree: exp.Expr) -> exp.Expr:
    """A value as text, null as a word of its own. Engines that write one value in two ways only cost a closer look."""
    match one.type.kind:
        case Kind.TEXT:
            text = dialect.piece("json_string", _x=tree)
        case Kind.FLOAT:
            # Engines write 1 as 1 or 1.0.
            text = sql(
                "case when _x = floor(_x) and abs(_x) < 1e15 then _i else _f end",
                _x=tree,
                _i=dialect.cast(dialect.cast(tree, INT), TEXT),
                _f=dialect.piece("float_text", _x=tree),
            )
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            text = dialect.piece("iso_micros", _x=tree)
        case Kind.HASHES:
            text = dialect.piece("set_text", _x=tree)
        case _:
            text = dialect.text(tree, one.type)
    return sql("coalesce(_t, 'null')", _t=text)


def cells_per_day(rollup: BoundRollup, rows: Sequence[exp.Expr], marked: exp.Expr, dialect: Dialect) -> exp.Select:
    """How many cells each day has on any side, those left out that are marked. ``marked``: pairs of key and day."""
    keys = [(one, column(one.name)) for one in rollup.shape.key]
    sides = [
        exp.select(alias(encoded(dialect, keys), KEY.name), column(DAY)).from_(derived(side, "side__")) for side in rows
    ]
    whole: exp.Expr = sides[0]
    for side in sides[1:]:
        whole = exp.union(whole, side, distinct=True)
    listed = exp.select("*").from_(derived(whole, "u")).distinct()
    pending = exp.select(alias(exp.Literal.number(1), "one")).from_(derived(marked, "m"))
    pending = pending.where(sql("m.key = _k and m.day = _d", _k=column(KEY.name, "c"), _d=column(DAY, "c")))
    select = exp.select(column(DAY, "c"), alias(sql("count(*)"), "cells")).from_(derived(listed, "c"))
    return select.where(exp.Not(this=exp.Exists(this=pending))).group_by(column(DAY, "c"))


def difference_columns(rollup: BoundRollup, columns: Mapping[str, Column]) -> list[Column]:
    """The columns of `differences`, in order: ``s_…`` is stored, ``a_…`` actual, ``d_…`` whether a set differs."""
    found = [KEY, *rollup.shape.key, Column(DAY, DATE), Column("bucket__", TEXT), CLASS]
    for one in compared_columns(rollup):
        if one.type.kind is Kind.HASHES:
            found += [Column(f"d_{one.name}", BOOL), Column(f"s_{one.name}", INT), Column(f"a_{one.name}", INT)]
        else:
            actual = columns[one.name].type if one.name in columns else one.type
            found += [Column(f"s_{one.name}", one.type), Column(f"a_{one.name}", actual)]
    return [*found, Column("stored__", BOOL), Column("actual__", BOOL)]


def differences(
    rollup: BoundRollup, stored: exp.Expr, proved: exp.Expr, counts: Sequence[str], dialect: Dialect
) -> exp.Select:
    """A select of the rows that differ, or are on one side only.

    ``counts``: the columns that count something, by which it is told whether the source has more facts or fewer.
    """
    places = [one.name for one in identity(rollup)]
    keys = {one.name for one in rollup.shape.key}
    same = both(
        dialect.piece("equal", _x=column(name, "s"), _y=column(name, "a"))
        if name in keys
        else sql("_x = _y", _x=column(name, "s"), _y=column(name, "a"))
        for name in places
    )
    gone = sql("_s is null", _s=column(SLOT, "s"))
    place = {
        name: sql("case when _g then _a else _s end", _g=gone, _a=column(name, "a"), _s=column(name, "s"))
        for name in places
    }
    has, should = (sql("coalesce(_t, false)", _t=column(THERE, side)) for side in ("s", "a"))
    differ = [
        dialect.piece(
            "sets_differ" if one.type.kind is Kind.HASHES else "differ",
            _x=column(one.name, "s"),
            _y=column(one.name, "a"),
        )
        for one in compared_columns(rollup)
    ]
    bucket: exp.Expr = exp.Null()
    if rollup.definition.grain != "day" and not rollup.is_lifelong:
        bucket = dialect.piece("iso_moment", _x=place[SLOT])
    items = [
        alias(encoded(dialect, [(one, place[one.name]) for one in rollup.shape.key]), KEY.name),
        *(alias(place[one.name].copy(), one.name) for one in rollup.shape.key),
        alias(place[DAY], DAY),
        alias(dialect.cast(bucket, TEXT), "bucket__"),
        alias(_class(has, should, counts), CLASS.name),
    ]
    for one, test in zip(compared_columns(rollup), differ, strict=True):
        sides = [column(one.name, "s"), column(one.name, "a")]
        if one.type.kind is Kind.HASHES:
            items.append(alias(test.copy(), f"d_{one.name}"))
            sides = [dialect.cast(dialect.piece("set_size", _x=side), INT) for side in sides]  # type: ignore[misc]
        items += [alias(side, f"{letter}_{one.name}") for letter, side in zip("sa", sides, strict=True)]
    items += [alias(has.copy(), "stored__"), alias(should.copy(), "actual__")]
    select = exp.select(*items).from_(derived(stored, "s")).join(derived(proved, "a"), on=same, join_type="full")
    return select.where(either([sql("_h <> _s", _h=has, _s=should), *differ]), copy=False)


def _class(has: exp.Expr, should: exp.Expr, counts: Sequence[str]) -> exp.Expr:
    """What the source has in comparison: more, fewer or other facts."""
    pairs = [(column(name, "s"), column(name, "a")) for name in counts]
    grown = either(sql("_a > _s", _s=s, _a=a) for s, a in pairs)
    shrunk = either(sql("_a < _s", _s=s, _a=a) for s, a in pairs)
    words = {name: exp.Literal.string(text) for name, text in (("_more", MORE), ("_fewer", FEWER), ("_other", OTHER))}
    parts: dict[str, exp.Expr] = {"_has": has, "_should": should, "_grown": grown, "_shrunk": shrunk, **words}
    return sql(
        "case when not _has and _should then _more when _has and not _should then _fewer "
        "when (_grown) and not (_shrunk) then _more when (_shrunk) and not (_grown) then _fewer else _other end",
        "postgres",
        **parts,
    )
