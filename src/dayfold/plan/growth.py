"""The SQL of increases: what levels grew by, and where a changed level shows next. Plan floor, pure.

Observations of an entity are put in the order of their days. Where an index leads from an entity to its moments, its
earlier and later observations are looked up; elsewhere one pass over the source finds them all.

Invariant: what an entity grew by depends on its own observations alone, whatever keys or cells are asked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

from sqlglot import exp

from dayfold.days import Days
from dayfold.define.types import DATE, INT, Kind
from dayfold.plan.bind import BoundRollup, Levels, Scan
from dayfold.plan.cells import CELL_DAY, Cells, cell_day, cell_key, changed, decoded
from dayfold.plan.keys import KeyFilter
from dayfold.plan.lookup import bare, from_cells
from dayfold.plan.sql import Values, alias, both, column, derived, either, sql

#: Which level of the scan, the level, the one before it, and whether it is none.
_NUMBER, _LEVEL, _BEFORE, _BAD = "n__", "level__", "before__", "bad__"
_FACTS, _AT = "facts__", "at__"
_PAIRS, _GROWN = "p", "g"


def levels_tag(rollup: str, scan: Scan) -> str:
    """What marks of entities are kept under: those whose levels one scan of a rollup is computed from.

    Their key is the entity, encoded as a cell's is, so that nobody may take them for marks of cells.
    """
    return f"{rollup}{TAG}{', '.join(sorted(one.name for one in _levels(scan).each))}"


#: Follows the name of the rollup, which has no space.
TAG = " levels of "


def _levels(scan: Scan) -> Levels:
    assert scan.levels is not None, "the scan is one of increases"
    return scan.levels


def _parts(letter: str, count: int) -> list[str]:
    return [f"{letter}{n}__" for n in range(count)]


class _Reader:
    """The parts of statements over one scan's observations."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.levels = _levels(scan)
        self.per = [tree for _, tree in self.levels.per]
        self.entity = _parts("e", len(self.per))
        self.keys = _parts("k", len(scan.keys))
        self.several = len(self.levels.each) > 1

    @property
    def places(self) -> list[exp.Expr]:
        """What tells the levels of entities apart."""
        return [column(name) for name in ([_NUMBER] if self.several else []) + self.entity]

    def level(self, number: exp.Expr) -> exp.Expr:
        """The level that a number names, null in a fact that does not observe it."""
        return self._chosen([one.tree for one in self.levels.each], number)

    def observed(self, number: exp.Expr) -> exp.Expr:
        """True for facts that observe the level that a number names, or hold what is none."""
        guard = self._chosen([one.guard for one in self.levels.each], number)
        return sql("(not (_x) is null or _g)", _x=self.level(number), _g=guard)

    def _chosen(self, trees: Sequence[exp.Expr], number: exp.Expr) -> exp.Expr:
        if len(trees) == 1:
            return trees[0].copy()
        whole = exp.Case()
        for n, tree in enumerate(trees):
            whole = whole.when(sql("_n = _m", _n=number, _m=exp.Literal.number(n)), tree)
        return whole

    def numbered(self, select: exp.Select) -> exp.Select:
        """The select once for each level, under a number."""
        if not self.several:
            return select
        each = exp.values([(n,) for n in range(len(self.levels.each))], alias="levels__", columns=[_NUMBER])
        return select.join(each, join_type="cross")

    def observations(self, *, raw: bool = False) -> exp.Select:
        """A select of observations, from nowhere yet. ``raw``: with the entity's columns as an index has them, too."""
        number = column(_NUMBER)
        items: list[exp.Expr] = [number] if self.several else []
        items += [alias(tree.copy(), name) for tree, name in zip(self.per, self.entity, strict=True)]
        if raw:
            items += [alias(bare(tree).copy(), f"r{n}__") for n, tree in enumerate(self.per)]
        items += [alias(tree.copy(), name) for (_, tree), name in zip(self.scan.keys, self.keys, strict=True)]
        guard = self._chosen([one.guard for one in self.levels.each], number)
        items += [
            alias(self.scan.moment.day.copy(), CELL_DAY),
            alias(self.scan.moment.instant.copy(), _AT),
            alias(self.level(number), _LEVEL),
            alias(sql("case when _g then 1 else 0 end", _g=guard), _BAD),
        ]
        return exp.select(*items).where(self.observed(number))

    def same_entity(self, others: Sequence[exp.Expr]) -> exp.Expr:
        """True where a fact is of an entity, NULLs being equal."""
        equal = self.scan.dialect
        return both(equal.piece("equal", _x=tree, _y=one) for tree, one in zip(self.per, others, strict=True))

    def looked_up(self, others: Sequence[exp.Expr], build: Callable[[exp.Select, exp.Expr], exp.Select]) -> exp.Expr:
        """Facts of an entity that stands outside, by an index; one with a NULL in it by a part of its own."""
        trees = [bare(tree) for tree in self.per]
        pairs = list(zip(trees, others, strict=True))
        plain = both(sql("_a = _b", _a=tree, _b=one) for tree, one in pairs)
        has_null = exp.Paren(this=either(sql("_b is null", _b=one) for one in others))
        safe = both([has_null, *(sql("_a is not distinct from _b", _a=tree, _b=one) for tree, one in pairs)])
        found = [build(exp.select().from_(self.scan.relation.copy()), test) for test in (plain, safe)]
        sides = [exp.select("*").from_(derived(one, f"side{n}")) for n, one in enumerate(found)]
        return exp.union(*sides, distinct=False)


# -- what levels grew by ---------------------------------------------------------------------------


def grown(
    rollup: BoundRollup,
    scan: Scan,
    days: Days,
    cells: Cells | None,
    keys: Sequence[KeyFilter],
    values: Values,
    *,
    led: bool,
) -> exp.Select:
    """One row per key and day that something was observed on: what its entities grew by, metric by metric.

    ``led``: an index leads from an entity to its moments.
    """
    reader = _Reader(scan)
    rows = _looked_up(reader, days, cells, values) if led else _passed(reader, days, cells, values)
    growth = sql("case when coalesce(_l >= _b, false) then _l - _b else _l end", _l=column(_LEVEL), _b=column(_BEFORE))
    items = [alias(column(k), one.name) for k, (one, _) in zip(reader.keys, scan.keys, strict=True)]
    items.append(alias(column(CELL_DAY), "slot__"))
    for n, part in enumerate(scan.parts):
        total: exp.Expr = sql("sum(_x)", _x=growth)
        if reader.several:
            test = sql("_n = _m", _n=column(_NUMBER), _m=exp.Literal.number(n))
            total = exp.Filter(this=total, expression=exp.Where(this=test))
        items.append(alias(scan.dialect.cast(total, part.column.type), part.column.name))
    items += [alias(scan.dialect.cast(sql("sum(_x)", _x=column(name)), INT), name) for name in (_FACTS, _BAD)]
    tests = [sql("_d >= _a", _d=column(CELL_DAY), _a=values.bind(days.first, "date"))]
    types = {one.name: (column(k), one.type) for k, (one, _) in zip(reader.keys, scan.keys, strict=True)}
    tests += [one.admits(*types[one.key], values) for one in keys]
    if cells is not None:
        tests.append(_listed(reader, cells))
    select = exp.select(*items).from_(derived(rows, _GROWN)).where(both(tests))
    return select.group_by(*(exp.Literal.number(n + 1) for n in range(len(scan.keys) + 1)))


def _listed(reader: _Reader, cells: Cells) -> exp.Expr:
    """True for rows of listed cells, by their own key: an entity may have come from another."""
    equal = reader.scan.dialect
    same = [equal.piece("equal", _x=column(k, _GROWN), _y=cell_key(n)) for n, k in enumerate(reader.keys)]
    same.append(sql("_a = _b", _a=column(CELL_DAY, _GROWN), _b=cell_day()))
    one = exp.select(alias(exp.Literal.number(1), "one")).from_(cells.source)
    return exp.Exists(this=one.where(both(same)))


def _candidates(reader: _Reader, days: Days, cells: Cells, values: Values, trees: Sequence[exp.Expr]) -> exp.Expr:
    """The entities, and days, that have an observation in a listed cell, under other names than a source's."""
    items = [alias(tree.copy(), f"c{n}__") for n, tree in enumerate(trees)]
    select = exp.select(*items, alias(reader.scan.moment.day.copy(), CELL_DAY))
    found = from_cells(select.where(reader.scan.moment.within(days, values)), reader.scan, cells)
    return exp.select("*").from_(derived(found, "c")).distinct()


def _passed(reader: _Reader, days: Days, cells: Cells | None, values: Values) -> exp.Select:
    """The day's levels with the ones before them, from one pass over all facts up to the last day."""
    rows = reader.observations().from_(reader.scan.relation.copy())
    rows = reader.numbered(rows).where(reader.scan.moment.within(Days(dt.date.min, days.last), values))
    if cells is not None:
        # Without this, one stale cell would put the observations of every entity in order.
        some = exp.select(alias(exp.Literal.number(1), "one"))
        some = some.from_(derived(_candidates(reader, days, cells, values, reader.per), _PAIRS))
        rows = rows.where(exp.Exists(this=some.where(reader.same_entity(_of(_PAIRS, "c", len(reader.per))))))
    # All earlier days are one: only the last level before the first day matters.
    day = sql("greatest(_d, _a - 1)", _d=column(CELL_DAY), _a=values.bind(days.first, "date"))
    kept = [one for one in rows.named_selects if one != CELL_DAY]
    flattened = exp.select(*(column(one) for one in kept), alias(day, CELL_DAY)).from_(derived(rows, "o"))
    return _with_lag(reader, _latest(reader, flattened, raw=False))


def _looked_up(reader: _Reader, days: Days, cells: Cells | None, values: Values) -> exp.Select:
    """The day's levels, and the ones before them where the range does not hold them looked up by an index."""
    scan = reader.scan
    if cells is None:
        rows: exp.Expr = reader.numbered(reader.observations(raw=True).from_(scan.relation.copy()))
        assert isinstance(rows, exp.Select)
        known = _with_lag(reader, _latest(reader, rows.where(scan.moment.within(days, values)), raw=True))
    else:
        found = derived(_candidates(reader, days, cells, values, [bare(one) for one in reader.per]), _PAIRS)
        day = column(CELL_DAY, _PAIRS)

        def on_day(select: exp.Select, same: exp.Expr) -> exp.Select:
            facts = reader.numbered(select)
            items = reader.observations(raw=True)
            return facts.select(*items.selects).where(both([same, scan.moment.on_day(day), items.args["where"].this]))

        lateral = _lateral(reader.looked_up(_of(_PAIRS, "c", len(reader.per)), on_day), "o")
        rows = exp.select(exp.Column(this=exp.Star(), table=exp.to_identifier("o", quoted=True)))
        rows = rows.from_(found).join(lateral, join_type="cross")
        latest = _latest(reader, rows, raw=True)
        null = scan.dialect.cast(exp.Null(), scan.parts[0].column.type)
        known = exp.select("*", alias(null, _BEFORE)).from_(derived(latest, "l"))
    return _with_looked_up(reader, known)


def _latest(reader: _Reader, rows: exp.Expr, *, raw: bool) -> exp.Select:
    """The last observation of each entity and day, how many it had, and how many of them were no levels."""
    group = [*reader.places, column(CELL_DAY)]
    order: list[exp.Expr] = [sql("case when _x is null then 1 else 0 end", _x=column(_LEVEL))]
    order += [exp.Ordered(this=column(name), desc=True, nulls_first=False) for name in (_AT, _LEVEL, *reader.keys)]
    windows = [
        alias(_window(sql("row_number()"), group, order), "place__"),
        alias(_window(sql("count(*)"), group), _FACTS),
        alias(_window(sql("sum(_x)", _x=column(_BAD)), group), "bads__"),
    ]
    ranked = exp.select("*", *windows).from_(derived(rows, "o"))
    kept = [one.alias_or_name for one in reader.observations(raw=raw).selects]
    items = [column(name) for name in (*kept, _FACTS) if name not in (_AT, _BAD)]
    last = exp.select(*items, alias(column("bads__"), _BAD)).from_(derived(ranked, "r"))
    return last.where(sql("place__ = 1"))


def _with_lag(reader: _Reader, latest: exp.Select) -> exp.Select:
    """Each day's level beside that of the entity's previous day among these."""
    before = _window(sql("lag(_x)", _x=column(_LEVEL)), reader.places, [column(CELL_DAY)])
    return exp.select("*", alias(before, _BEFORE)).from_(derived(latest, "l"))


def _with_looked_up(reader: _Reader, known: exp.Select) -> exp.Select:
    """The level before the first known one, by an index."""
    scan, number = reader.scan, column(_NUMBER, "w")

    def last(select: exp.Select, same: exp.Expr) -> exp.Select:
        tests = [sql("_b is null", _b=column(_BEFORE, "w")), same, scan.moment.before(column(CELL_DAY, "w"))]
        tests.append(sql("not (_x) is null", _x=reader.level(number)))
        assert scan.moment.raw is not None
        # NULLs, of which there are none here, where an index read backwards has them.
        order = [
            exp.Ordered(this=one, desc=True, nulls_first=True) for one in (scan.moment.raw.copy(), column("found__"))
        ]
        return select.select(alias(reader.level(number), "found__")).where(both(tests)).order_by(*order).limit(1)

    earlier = _lateral(reader.looked_up(_of("w", "r", len(reader.per)), last), "b")
    kept = [one.alias_or_name for one in reader.observations().selects if one.alias_or_name != _AT]
    items = [column(one, "w") for one in (*kept, _FACTS)]
    before = sql("coalesce(_b, _f)", _b=column(_BEFORE, "w"), _f=column("found__", "b"))
    select = exp.select(*items, alias(before, _BEFORE)).from_(derived(known, "w"))
    return select.join(earlier, on=exp.true(), join_type="left")


def behind(scan: Scan, day: dt.date, keys: Sequence[KeyFilter], values: Values) -> exp.Subquery:
    """The facts that the growth of a day comes from, with all their columns, as something to select from.

    Of every entity that counts for these keys: the row of the day's level, and that of the one before it.
    """
    reader = _Reader(scan)
    day_tree = values.bind(day, "date")
    parts = [one for one in reader.observations().selects if one.alias_or_name != _BAD]
    rows = exp.select("*", *parts).from_(scan.relation.copy())
    rows = rows.where(
        both(
            [
                scan.moment.within(Days(dt.date.min, day), values),
                sql("not (_x) is null", _x=reader.level(column(_NUMBER))),
            ]
        )
    )
    is_day = sql("_d = _day", _d=column(CELL_DAY), _day=day_tree)
    group = [*reader.places, sql("case when _t then 1 else 0 end", _t=is_day)]
    order = [exp.Ordered(this=column(name), desc=True, nulls_first=False) for name in (_AT, _LEVEL, *reader.keys)]
    ranked = exp.select("*", alias(_window(sql("row_number()"), group, order), "place__")).from_(derived(rows, "o"))
    types = {one.name: (column(k), one.type) for k, (one, _) in zip(reader.keys, scan.keys, strict=True)}
    asked = both([is_day, *(one.admits(*types[one.key], values) for one in keys)])
    counts = _window(sql("max(case when _t then 1 else 0 end)", _t=asked), reader.places)
    last = exp.select("*", alias(counts, "counts__")).from_(derived(ranked, "r")).where(sql("place__ = 1"))
    return derived(exp.select("*").from_(derived(last, "l")).where(sql("counts__ = 1")), "b")  # type: ignore[return-value]


# -- where a changed level shows next --------------------------------------------------------------


def following(scan: Scan, pairs: exp.Expr, *, led: bool) -> exp.Select:
    """The cells, ``key`` and ``day``, that changed levels show in: those of the entity's day and of its next observed day.

    ``pairs``: a select of entities, as ``k0__``, ``k1__`` …, and days, as ``day__``. All keys that the entity has on
    these days are meant: which of them the growth belongs to may have changed as well.
    """
    reader = _Reader(scan)
    rows = _next_looked_up(reader, pairs) if led else _next_passed(reader, pairs)
    keys = [(one, column(k)) for k, (one, _) in zip(reader.keys, scan.keys, strict=True)]
    return changed(scan.dialect, keys, column(CELL_DAY), derived(rows, "n"))


def _next_passed(reader: _Reader, pairs: exp.Expr) -> exp.Select:
    """From one pass over the later observations of these entities."""
    dialect, scan = reader.scan.dialect, reader.scan
    first = exp.select(alias(sql("min(_d)", _d=column(CELL_DAY, "f")), "first")).from_(derived(pairs, "f"))
    some = exp.select(alias(exp.Literal.number(1), "one")).from_(derived(pairs, _PAIRS))
    some = some.where(reader.same_entity(_of(_PAIRS, "k", len(reader.per))))
    names = [*([_NUMBER] if reader.several else []), *reader.entity, *reader.keys, CELL_DAY]
    seen = exp.select(*(one for one in reader.observations().selects if one.alias_or_name in names))
    seen = seen.select(alias(scan.moment.day.copy(), "seen__"), alias(dialect.cast(exp.Null(), DATE), "told__"))
    seen = reader.numbered(seen.from_(scan.relation.copy())).where(reader.observed(column(_NUMBER))).distinct()
    seen = seen.where(sql("_d >= (_f)", _d=scan.moment.day, _f=first)).where(exp.Exists(this=some))
    of_pairs: list[exp.Expr] = [column(_NUMBER)] if reader.several else []
    entity = zip(reader.entity, _of(_PAIRS, "k", len(reader.per)), reader.levels.per, strict=True)
    of_pairs += [
        alias(dialect.piece("bytewise", _x=tree) if one.type.kind is Kind.TEXT else tree, e)
        for e, tree, (one, _) in entity
    ]
    of_pairs += [
        alias(dialect.cast(exp.Null(), one.type), k) for k, (one, _) in zip(reader.keys, scan.keys, strict=True)
    ]
    of_pairs += [column(CELL_DAY, _PAIRS), alias(dialect.cast(exp.Null(), DATE), "seen__")]
    told = exp.select(*of_pairs, alias(column(CELL_DAY, _PAIRS), "told__")).from_(derived(pairs, _PAIRS))
    both_sides = exp.union(seen, reader.numbered(told), distinct=False)
    items = [
        alias(_earlier_days("told__", reader.places), "last_told__"),
        alias(_earlier_days("seen__", reader.places), "last_seen__"),
        alias(_window(sql("max(told__)"), [*reader.places, column(CELL_DAY)]), "same__"),
    ]
    placed = exp.select("*", *items).from_(derived(both_sides, "u"))
    stale = sql(
        "not seen__ is null and (not same__ is null or coalesce(last_told__ >= coalesce(last_seen__, last_told__), false))"
    )
    return exp.select("*").from_(derived(placed, "d")).where(stale)


def _next_looked_up(reader: _Reader, pairs: exp.Expr) -> exp.Select:
    """By an index: the next observed day of each entity, then what it has on both days."""
    scan, count = reader.scan, len(reader.per)
    number, told = column(_NUMBER, _PAIRS), column(CELL_DAY, _PAIRS)
    entity = _of(_PAIRS, "k", count)
    each = reader.numbered(exp.select("*").from_(derived(pairs, "t")))

    def next_day(select: exp.Select, same: exp.Expr) -> exp.Select:
        assert scan.moment.raw is not None
        tests = [same, scan.moment.after(told), reader.observed(number)]
        found = select.select(alias(scan.moment.day.copy(), "next__")).where(both(tests))
        return found.order_by(exp.Ordered(this=scan.moment.raw.copy())).limit(1)

    later = _lateral(reader.looked_up(entity, next_day), "x")
    days = [
        exp.select(*entity, told).from_(derived(pairs, _PAIRS)),
        exp.select(*entity, alias(column("next__", "x"), CELL_DAY))
        .from_(derived(each, _PAIRS))
        .join(later, join_type="cross"),
    ]
    places = exp.union(*days, distinct=True)

    def on_day(select: exp.Select, same: exp.Expr) -> exp.Select:
        any_level = either(reader.observed(exp.Literal.number(n)) for n in range(len(reader.levels.each)))
        items = [alias(tree.copy(), k) for (_, tree), k in zip(scan.keys, reader.keys, strict=True)]
        select = select.select(*items, alias(scan.moment.day.copy(), CELL_DAY))
        return select.where(both([same, scan.moment.on_day(told), any_level]))

    facts = _lateral(reader.looked_up(entity, on_day), "o")
    rows = exp.select(exp.Column(this=exp.Star(), table=exp.to_identifier("o", quoted=True)))
    return rows.from_(derived(places, _PAIRS)).join(facts, join_type="cross")


def marked_entities(scan: Scan, marked: exp.Select) -> exp.Select:
    """The entities and days, as `following` takes them, of a select of marks: encoded ``key`` and ``day``."""
    columns = [one for one, _ in _levels(scan).per]
    return decoded(scan.dialect, columns, derived(marked, "m"), column("key", "m"), column("day", "m"))


def everybody(scan: Scan, days: Sequence[dt.date], values: Values) -> exp.Select:
    """Every entity with an observation after one of some days, each with that day: for days that changed as a whole."""
    reader = _Reader(scan)
    listed = exp.select(alias(scan.dialect.piece("exploded", _x=values.bind(list(days), "date[]")), CELL_DAY))
    day = column(CELL_DAY, "d")
    items = [alias(tree.copy(), f"k{n}__") for n, tree in enumerate(reader.per)]
    select = exp.select(*items, day).from_(scan.relation.copy()).join(derived(listed, "d"), join_type="cross")
    return select.where(sql("_d >= _day", _d=scan.moment.day, _day=day)).distinct()


def _of(relation: str, letter: str, count: int) -> list[exp.Expr]:
    return [column(name, relation) for name in _parts(letter, count)]


def _lateral(query: exp.Expr, name: str) -> exp.Lateral:
    inner = exp.Subquery(this=query)
    return exp.Lateral(this=inner, alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)))


def _window(what: exp.Expr, partition: Sequence[exp.Expr], order: Sequence[exp.Expr] = ()) -> exp.Window:
    over = exp.Order(expressions=[one.copy() for one in order]) if order else None
    return exp.Window(this=what, partition_by=[one.copy() for one in partition], order=over)


def _earlier_days(name: str, partition: Sequence[exp.Expr]) -> exp.Expr:
    """The greatest of a column over the earlier days."""
    window = _window(sql("max(_x)", _x=column(name)), partition, [column(CELL_DAY)])
    window.set(
        "spec", exp.WindowSpec(kind="GROUPS", start="UNBOUNDED", start_side="PRECEDING", end="1", end_side="PRECEDING")
    )
    return window
