"""What a rollup's rows should be, computed a second way. Plan floor, pure.

The fold and this page share the expression language, the columns of the sources and the engines' spellings of types and
hashes, and nothing else: no filter, key, day, aggregate or change set of the fold's is used here. Each fact is first
given its values and the microsecond it counts at, then placed on a list of days, and only then grouped.

Weakness: a mistake in the expression language itself would be made on both sides.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from dayfold.days import LIFELONG, ONE_DAY, STORED_GRAINS, Days
from dayfold.define.expr import parse
from dayfold.define.metric import Avg, Count, Distinct, Gauge, Increase, Max, Measured, Min, Sum
from dayfold.define.size import Size
from dayfold.define.source import Folded, Moment, Table
from dayfold.define.types import DATE, HASHES, INT, MAX_DIGITS, TEXT, TIMESTAMP, TIMESTAMPTZ, Kind, Type, decimal
from dayfold.plan import proof_levels
from dayfold.plan.bind import BoundRollup
from dayfold.plan.dialect import ISO_WITH_ZONE, Dialect
from dayfold.plan.expressions import Compiler, Typed
from dayfold.plan.shape import Column, life, only_one
from dayfold.plan.sql import Values, alias, both, column, either, sql

#: The day a row belongs to, and the start of its bucket.
DAY, SLOT = "day__", "slot__"
_MICROS_A_DAY = 86_400_000_000
_EPOCH = dt.date(1970, 1, 1)
#: No fact counts earlier, and the days around it are days.
_EVER = dt.date(1, 1, 4)


@dataclass(frozen=True, slots=True)
class Timing:
    """When a fact counts.

    Attributes:
        instant: Orders like time and can be compared with a day's start as ``starts_as`` has it.
        micros: Microseconds since 1970 in UTC, defined for the facts of a day.
        nearby: A bare column that is at most a day and a half off, so that an index is of use.
    """

    instant: exp.Expr
    starts_as: str
    micros: exp.Expr
    nearby: exp.Expr | None = None

    def among(self, ranges: Sequence[Days], values: Values) -> exp.Expr:
        """True for facts of these days."""
        return either(both(self._tests(days, values)) for days in ranges)

    def _tests(self, days: Days, values: Values) -> list[exp.Expr]:
        tests = [
            sql("_x >= _a", _x=self.instant, _a=self._start(days.first, values)),
            sql("_x < _b", _x=self.instant, _b=self._start(days.last + ONE_DAY, values)),
        ]
        if self.nearby is not None:
            wide = [
                values.bind(days.first - 2 * ONE_DAY, "timestamp"),
                values.bind(days.last + 3 * ONE_DAY, "timestamp"),
            ]
            tests += [sql("_x >= _a", _x=self.nearby, _a=wide[0]), sql("_x < _b", _x=self.nearby, _b=wide[1])]
        return tests

    def _start(self, day: dt.date, values: Values) -> exp.Expr:
        """The first moment of a day."""
        if self.starts_as in ("s", "ms"):
            return values.bind((day - _EPOCH).days * 86_400 * (1 if self.starts_as == "s" else 1000), "bigint")
        text = f"{day} 00:00:00+00" if self.starts_as == "timestamptz" else str(day)
        return values.bind(text, self.starts_as)


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric: what each fact contributes, null where nothing, and how contributions make the stored columns."""

    kind: str
    name: str
    value: exp.Expr
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """The metrics of one source at one moment."""

    source: Table
    relation: exp.Expr
    dialect: Dialect
    minutes: int
    keys: tuple[tuple[Column, exp.Expr], ...]
    timing: Timing
    measures: tuple[Measure, ...]
    #: Of an increase, which is a branch of its own: whose levels it compares.
    per: tuple[exp.Expr, ...] = ()

    @property
    def columns(self) -> list[Column]:
        """The columns that `rows` has beside key, day and slot."""
        return [one for measure in self.measures for one in measure.columns]

    def rows(self, ranges: Sequence[Days], salt: str, values: Values) -> exp.Select:
        """A select of one row for each key and bucket of these days that some fact contributes to."""
        if self.per:
            return self._grown(ranges, values)
        placed = self._placed(ranges, values)
        gauges = [n for n, one in enumerate(self.measures) if one.kind == "gauge"]
        names = [column(one.name) for one, _ in self.keys]
        if gauges:
            latest = [alias(self._latest(n, names), f"latest{n}__") for n in gauges]
            placed = exp.select("*", *latest).from_(nested(placed, "placed__"), copy=False)
        salted = values.bind(salt, "text")
        found = [
            alias(self.dialect.cast(tree, one.type), one.name)
            for n, measure in enumerate(self.measures)
            for one, tree in zip(measure.columns, self._aggregates(measure, n, salted), strict=True)
        ]
        identity = [*names, column(DAY), column(SLOT)]
        rows = exp.select(*identity, *found).from_(nested(placed, "facts__"), copy=False)
        return rows.group_by(*(one.copy() for one in identity), copy=False)

    def _grown(self, ranges: Sequence[Days], values: Values) -> exp.Select:
        """The increase of these days: levels are looked for on all days before them, too."""
        last = max(days.last for days in ranges)
        facts = self._facts([Days(_EVER, last)], values)
        facts = facts.select(*(alias(tree.copy(), proof_levels.entity(n)) for n, tree in enumerate(self.per)))
        start = sql(
            "_u - (_u - _a) % _n", _u=column("us__"), _a=_number_of(_micros(_EVER)), _n=_number_of(_MICROS_A_DAY)
        )
        keys = [one.name for one, _ in self.keys]
        listed = listed_days(ranges, self.dialect, values)
        grown = proof_levels.grown(facts, listed, len(self.per), keys, self.dialect, start)
        names = [column(one) for one in keys]
        [stored] = self.measures[0].columns
        total = self.dialect.cast(self.dialect.total(column("grown__"), stored.type), stored.type)
        identity = [*names, alias(column("day"), DAY), alias(column("day"), SLOT)]
        rows = exp.select(*identity, alias(total, stored.name)).from_(nested(grown, "grown__"), copy=False)
        return rows.group_by(*names, column("day"), copy=False)

    def _facts(self, ranges: Sequence[Days], values: Values) -> exp.Select:
        """Each fact of these days with its key, its microsecond and what it contributes."""
        among = self.timing.among(ranges, values)
        # Guarded as well as filtered: the microseconds of an infinite moment are an error.
        micros = sql("case when _a then _m end", _a=among, _m=self.timing.micros)
        items = [alias(tree.copy(), one.name) for one, tree in self.keys]
        items += [alias(one.value.copy(), f"v{n}__") for n, one in enumerate(self.measures)]
        facts = exp.select(*items, alias(micros, "us__")).from_(self.relation.copy(), copy=False)
        return facts.where(among, copy=False)

    def _placed(self, ranges: Sequence[Days], values: Values) -> exp.Select:
        """The facts that contribute to anything, each on its day of the list and in its bucket."""
        anchor = values.bind(_micros(min(days.first for days in ranges)), "bigint")
        day_start = self._floored(_MICROS_A_DAY, anchor)
        slot: exp.Expr = column("day", "d")
        if self.minutes != 1440:
            start = exp.Paren(this=self._floored(self.minutes * 60_000_000, anchor))
            slot = self.dialect.piece("from_micros", _x=start)
        kept = [column(one.name, "f") for one, _ in self.keys]
        kept += [column(f"v{n}__", "f") for n in range(len(self.measures))]
        contributes = either(sql("not _v is null", _v=column(f"v{n}__", "f")) for n in range(len(self.measures)))
        placed = exp.select(*kept, column("us__", "f"), alias(column("day", "d"), DAY), alias(slot, SLOT))
        placed = placed.from_(nested(self._facts(ranges, values), "f"), copy=False)
        listed = listed_days(ranges, self.dialect, values)
        placed = placed.join(listed, on=sql("_s = _d", _s=day_start, _d=column("start", "d")), copy=False)
        return placed.where(contributes, copy=False)

    def _floored(self, length: int, anchor: exp.Expr) -> exp.Expr:
        """The start of the stretch of time that holds a fact, in microseconds."""
        micros = column("us__", "f")
        return sql("_u - (_u - _a) % _n", _u=micros, _a=anchor, _n=exp.Literal.number(length))

    def _latest(self, n: int, names: Sequence[exp.Expr]) -> exp.Expr:
        at = sql("max(case when not _v is null then _u end)", _v=column(f"v{n}__"), _u=column("us__"))
        return exp.Window(this=at, partition_by=[*(one.copy() for one in names), column(SLOT)])

    def _aggregates(self, measure: Measure, n: int, salt: exp.Expr) -> list[exp.Expr]:
        """The stored columns of a metric from the contributions of a group."""
        value = column(f"v{n}__")
        match measure.kind:
            case "avg":
                return [self.dialect.total(value, measure.columns[0].type), sql("count(_v)", _v=value)]
            case "gauge":
                last = sql("case when _u = _l then _v end", _u=column("us__"), _l=column(f"latest{n}__"), _v=value)
                return [sql("max(_x)", _x=last)]
            case "distinct" | "united":
                hashed: exp.Expr = value
                if measure.kind == "distinct":
                    hashed = self.dialect.piece("hash", _salt=salt, _x=value)
                there = sql("not _v is null", _v=value)
                whole = self.dialect.piece("hash_set", _x=hashed, _t=there)
                return [sql("count(distinct _v)", _v=value), self.dialect.piece("smallest", _x=exp.Paren(this=whole))]
            case "sum":
                return [self.dialect.total(value, measure.columns[0].type)]
        return [sql(f"{measure.kind}(_v)", _v=value)]


def branches(rollup: BoundRollup, columns: Mapping[Table, Mapping[str, Type]]) -> list[Branch]:
    """How a rollup is proved, from its definition and the columns that its sources have."""
    grouped: dict[tuple[object, ...], list[tuple[str, Measured]]] = {}
    for name, metric in rollup.definition.measured.items():
        apart = name if _is_union(metric, columns) or isinstance(metric, Increase) else ""
        grouped.setdefault((metric.source, metric.moment, apart), []).append((name, metric))
    return [_branch(rollup, metrics, columns) for metrics in grouped.values()]


def _branch(
    rollup: BoundRollup, metrics: Sequence[tuple[str, Measured]], columns: Mapping[Table, Mapping[str, Type]]
) -> Branch:
    first = metrics[0][1]
    source = first.source
    scan = next(one for one in rollup.scans if one.source == source)
    dialect = scan.dialect
    compiler = compiler_of(source, columns[source], dialect)
    assert first.moment is not None
    keys = tuple((one, key_of(compiler, one)) for one in rollup.shape.key)
    types = {one.name: one.type for one in rollup.shape.values}
    measures = tuple(_measure(compiler, name, metric, types, _is_union(metric, columns)) for name, metric in metrics)
    minutes = STORED_GRAINS[rollup.definition.grain]
    columns_of = [compiler.compile(column(one)) for one in first.per] if isinstance(first, Increase) else []
    per = tuple(
        dialect.piece("bytewise", _x=one.tree) if one.type.kind is Kind.TEXT else one.tree for one in columns_of
    )
    return Branch(source, scan.relation, dialect, minutes, keys, timing_of(compiler, first.moment), measures, per)


def compiler_of(source: Table, columns: Mapping[str, Type], dialect: Dialect, now: dt.date | None = None) -> Compiler:
    """The expression language over a source's columns and the names that its definition gives them."""
    own = {name: Typed(column(name), type_) for name, type_ in columns.items()}
    compiler = Compiler(dict(own), dialect, source.label, now=now)
    named = {name: own[text] if text in own else compiler.compile(parse(text)) for name, text in source.naming.items()}
    return Compiler({**own, **named}, dialect, source.label, now=now)


def key_of(compiler: Compiler, one: Column) -> exp.Expr:
    """A fact's value of a key column."""
    tree = compiler.compile(column(one.name)).tree
    if one.type.kind is Kind.TEXT:
        return compiler.dialect.piece("bytewise", _x=compiler.dialect.cast(tree, TEXT))
    return compiler.dialect.cast(tree, one.type)


def _is_union(metric: Measured, columns: Mapping[Table, Mapping[str, Type]]) -> bool:
    """Whether a metric unites the sets of another rollup."""
    return (
        isinstance(metric, Distinct)
        and isinstance(metric.source, Folded)
        and f"{metric.expr_text}__hashes" in columns[metric.source]
    )


def _measure(compiler: Compiler, name: str, metric: Measured, types: Mapping[str, Type], united: bool) -> Measure:
    dialect = compiler.dialect
    if isinstance(metric, Count | Size):
        value: exp.Expr = exp.Literal.number(1)
        stored: tuple[Column, ...] = (Column(name, INT, zero=True),)
    elif united:
        value = column(f"{metric.expr_text}__hashes")
        stored = (Column(name, INT, zero=True), Column(set_column(name), HASHES))
    elif isinstance(metric, Distinct):
        assert metric.expr is not None
        value = dialect.piece("bytewise", _x=dialect.text(*_both(compiler.compile(metric.expr))))
        stored = (Column(name, INT, zero=True), Column(set_column(name), HASHES))
    else:
        value = contribution(compiler, metric)
        names = [f"{name}__sum", f"{name}__count"] if isinstance(metric, Avg) else [name]
        types = {**types, names[0]: decimal(MAX_DIGITS, metric.scale)} if metric.scale is not None else types
        stored = tuple(Column(one, types[one], zero=isinstance(metric, Sum)) for one in names)
    if metric.where is not None:
        no_set = dialect.cast(exp.Null(), HASHES) if united else exp.Null()
        value = sql("case when _w then _v else _n end", _w=compiler.condition(metric.where), _v=value, _n=no_set)
    if united:
        value = dialect.piece("exploded", _x=value)
    kind = "united" if united else "count" if isinstance(metric, Size) else metric.kind
    return Measure(kind, name, value, stored)


def contribution(compiler: Compiler, metric: Measured) -> exp.Expr:
    """What a fact contributes to a sum, a mean, an extreme or a level; a number that is none is an error."""
    assert metric.expr is not None
    dialect, typed = compiler.dialect, compiler.compile(metric.expr)
    if typed.type.kind is Kind.TEXT:
        return dialect.piece("bytewise", _x=typed.tree)
    if typed.type.kind is Kind.FLOAT or (typed.type.kind is Kind.DECIMAL and dialect.name == "postgres"):
        checked = sql(
            "case when _x is null then null when _f then _x else _bad end",
            _x=typed.tree,
            _f=dialect.piece("finite", _x=typed.tree),
            _bad=dialect.cast(dialect.piece("fail", _x=dialect.cast(typed.tree, TEXT)), typed.type),
        )
        typed = Typed(checked, typed.type)
    if isinstance(metric, Increase):
        below = dialect.cast(dialect.piece("fail", _x=dialect.cast(typed.tree, TEXT)), typed.type)
        typed = Typed(sql("case when _x < 0 then _bad else _x end", _x=typed.tree, _bad=below), typed.type)
    rounds = metric.scale is not None and isinstance(metric, Sum | Gauge)
    if rounds:
        typed = compiler.cast_to(typed, decimal(MAX_DIGITS, metric.scale), metric.expr)
    return (
        dialect.cast(typed.tree, INT) if typed.type.kind is Kind.INT and isinstance(metric, Min | Max) else typed.tree
    )


def timing_of(compiler: Compiler, moment: Moment) -> Timing:
    """When facts of a moment count."""
    dialect, typed = compiler.dialect, compiler.compile(column(moment.column))
    raw, kind = typed.tree, typed.type.kind
    zone = exp.Literal.string(moment.tz or "UTC")
    if typed.type.is_number:
        factor = exp.Literal.number(1_000_000 if moment.unit == "s" else 1_000)
        product = sql("_x * _f", _x=dialect.cast(raw, INT) if kind is Kind.INT else exp.Paren(this=raw), _f=factor)
        whole = product if kind is Kind.INT else dialect.cast(exp.Floor(this=product), INT)
        return Timing(raw, moment.unit or "s", whole)
    if kind is Kind.TEXT:
        instant = _instant(dialect, raw, zone)
        return Timing(instant, "timestamptz", dialect.piece("epoch_micros", _x=instant))
    if kind is Kind.TIMESTAMP and moment.tz not in (None, "UTC"):
        instant = dialect.piece("in_zone", _x=raw, _zone=zone)
        return Timing(instant, "timestamptz", dialect.piece("epoch_micros", _x=instant), raw)
    return Timing(raw, str(kind), dialect.piece("epoch_micros", _x=raw))


def _instant(dialect: Dialect, raw: exp.Expr, zone: exp.Expr) -> exp.Expr:
    """The instant that an ISO text names; text that is none is an error of the cast."""
    text = dialect.piece("to_microseconds", _x=dialect.piece("trimmed", _x=raw))
    return sql(
        "case when _z then _zoned else _local end",
        _z=dialect.matches(dialect.piece("trimmed", _x=raw), ISO_WITH_ZONE),
        _zoned=dialect.cast(text, TIMESTAMPTZ),
        _local=dialect.piece("in_zone", _x=dialect.cast(text, TIMESTAMP), _zone=zone),
    )


def listed_days(ranges: Sequence[Days], dialect: Dialect, values: Values) -> exp.Expr:
    """The days one by one, each with its first microsecond: ``start`` and ``day`` of ``d``."""
    listed: exp.Expr | None = None
    for days in ranges:
        first, last = (values.bind(day, "date") for day in (days.first, days.last))
        one = dialect.days_from(first, last)
        listed = one if listed is None else exp.union(listed, one, distinct=False, copy=False)
    assert listed is not None, "there is a day to list"
    start = dialect.piece("epoch_micros", _x=column("day", "l"))
    return (
        exp.select(column("day", "l"), alias(start, "start"))
        .from_(nested(listed, "l"), copy=False)
        .subquery("d", copy=False)
    )


def nested(query: exp.Expr, name: str) -> exp.Subquery:
    """A query as something to select from, itself and no copy: copying large trees would be most of the cost."""
    return exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)))


def _both(typed: Typed) -> tuple[exp.Expr, Type]:
    return typed.tree, typed.type


def set_column(metric: str) -> str:
    """What the set of a metric is called beside its size."""
    return f"{metric}__set"


def _number_of(number: int) -> exp.Expr:
    return exp.Paren(this=exp.cast(exp.Literal.string(str(number)), "bigint"))


def _micros(day: dt.date) -> int:
    return (day - _EPOCH).days * _MICROS_A_DAY


def identity(rollup: BoundRollup) -> list[Column]:
    """The columns that tell proved rows apart: key, day and bucket."""
    slot = Column(SLOT, DATE if rollup.definition.grain in ("day", LIFELONG) else TIMESTAMPTZ)
    return [*rollup.shape.key, Column(DAY, DATE), slot]


def merged(rollup: BoundRollup, parts: Sequence[tuple[exp.Expr, Sequence[Column]]], dialect: Dialect) -> exp.Select:
    """One row per key and bucket from the rows of several branches, each with columns of its own."""
    if rollup.is_lifelong:
        return _joined(rollup, parts)
    names = [column(one.name) for one in identity(rollup)]
    wanted = [one for _, columns in parts for one in columns]
    selects: list[exp.Expr] = []
    for relation, columns in parts:
        has = {one.name for one in columns}
        items = [
            column(one.name) if one.name in has else alias(dialect.cast(exp.Null(), one.type), one.name)
            for one in wanted
        ]
        selects.append(exp.select(*(name.copy() for name in names), *items).from_(relation, copy=False))
    whole = selects[0]
    for one in selects[1:]:
        whole = exp.union(whole, one, distinct=False, copy=False)
    if len(selects) == 1:
        assert isinstance(whole, exp.Select)
        return whole
    greatest = [alias(dialect.piece(only_one(one.type), _x=column(one.name)), one.name) for one in wanted]
    rows = exp.select(*names, *greatest).from_(nested(whole, "parts__"), copy=False)
    return rows.group_by(*(name.copy() for name in names), copy=False)


def _joined(rollup: BoundRollup, parts: Sequence[tuple[exp.Expr, Sequence[Column]]]) -> exp.Select:
    """One row per entity from the rows of several branches: keys without NULL, which are joined."""
    keys = [one.name for one in rollup.shape.key]
    items = [column(name) for name in keys] + [alias(life(), DAY), alias(life(), SLOT)]
    items += [column(one.name, f"m{n}") for n, (_, columns) in enumerate(parts) for one in columns]
    using: list[int | str | exp.Expr] = [exp.to_identifier(name, quoted=True) for name in keys]
    select = exp.select(*items)
    for n, (relation, _) in enumerate(parts):
        rows = nested(exp.select("*").from_(relation, copy=False), f"m{n}")
        select = select.join(rows, using=using, join_type="full", copy=False) if n else select.from_(rows, copy=False)
    return select
