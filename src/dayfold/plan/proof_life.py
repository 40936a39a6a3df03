"""What a profile's rows should be, computed a second way. Plan floor, pure.

As in `dayfold.plan.proof` nothing of the fold's is used but the expression language and the engines' spellings. Where the fold has one
aggregate that depends on an order, here each fact is numbered in that order first.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from dayfold.days import Days
from dayfold.define.lasting import Collect, Exists, First
from dayfold.define.metric import Avg, Count, Distinct, Measured, Sum
from dayfold.define.source import Table
from dayfold.define.types import INT, Kind, Type
from dayfold.plan.bind import BoundRollup
from dayfold.plan.dialect import Dialect
from dayfold.plan.expressions import Compiler, Typed
from dayfold.plan.proof import DAY, SLOT, compiler_of, contribution, key_of, nested, timing_of
from dayfold.plan.shape import Column, life
from dayfold.plan.sql import Values, alias, both, column, either, sql


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric: what each fact contributes, null where nothing, and what it is ordered by."""

    kind: str
    name: str
    value: exp.Expr
    columns: tuple[Column, ...]
    order: tuple[exp.Expr, ...] = ()
    most: int = 0
    newest: bool = False
    written: exp.Expr | None = None

    @property
    def is_ordered(self) -> bool:
        """Whether it depends on an order of facts."""
        return self.kind == "mode" or bool(self.order)


@dataclass(frozen=True, slots=True)
class LifeBranch:
    """Metrics of one source of a profile: one that depends on an order, or all that do not."""

    source: Table
    relation: exp.Expr
    dialect: Dialect
    keys: tuple[tuple[Column, exp.Expr], ...]
    measures: tuple[Measure, ...]

    @property
    def columns(self) -> list[Column]:
        """The columns that `rows` has beside key, day and slot."""
        return [one for measure in self.measures for one in measure.columns]

    def rows(self, ranges: Sequence[Days], salt: str, values: Values) -> exp.Select:
        """A select of one row for each key that some fact contributes to. There is one day, and no set."""
        facts = self._numbered(self._counted(self._facts()))
        names = [column(one.name) for one, _ in self.keys]
        found = [
            alias(self.dialect.cast(self._aggregate(n, measure), one.type), one.name)
            for n, measure in enumerate(self.measures)
            for one in measure.columns
        ]
        days = [alias(life(), DAY), alias(life(), SLOT)]
        rows = exp.select(*names, *days, *found).from_(nested(facts, "facts__"), copy=False)
        return rows.group_by(*(one.copy() for one in names), copy=False)

    def _facts(self) -> exp.Select:
        """Each fact of somebody that contributes to anything, with its key and what it contributes."""
        items = [alias(tree.copy(), one.name) for one, tree in self.keys]
        for n, measure in enumerate(self.measures):
            items.append(alias(measure.value.copy(), f"v{n}__"))
            items += [alias(tree.copy(), f"o{n}_{place}__") for place, tree in enumerate(measure.order)]
            if measure.written is not None:
                items.append(alias(measure.written.copy(), f"w{n}__"))
        facts = exp.select(*items).from_(self.relation.copy(), copy=False)
        named = both(sql("not _k is null", _k=column(one.name)) for one, _ in self.keys)
        given = either(sql("not _v is null", _v=column(f"v{n}__")) for n in range(len(self.measures)))
        return exp.select("*").from_(nested(facts, "all__"), copy=False).where(both([named, given]), copy=False)

    def _counted(self, facts: exp.Select) -> exp.Select:
        """How often each value is there for its key, where that matters."""
        counts = []
        for n, measure in enumerate(self.measures):
            if measure.kind == "mode":
                often = exp.Window(this=sql("count(*)"), partition_by=[*self._names, column(f"v{n}__")])
                counts.append(alias(often, f"o{n}_0__"))
        return exp.select("*", *counts).from_(nested(facts, "counted__"), copy=False) if counts else facts

    def _sortable(self, n: int) -> exp.Expr:
        """A value as facts are ordered by it: identifiers by their texts, on every engine."""
        value = column(f"v{n}__")
        is_identifier = any(one.type.kind is Kind.UUID for one in self.measures[n].columns)
        return self.dialect.piece("uuid_order", _x=value) if is_identifier else value

    def _numbered(self, facts: exp.Select) -> exp.Select:
        """The place of each fact among those of its key, where a metric depends on it."""
        places = []
        for n, measure in enumerate(self.measures):
            by: list[exp.Expr] = [exp.Ordered(this=sql("_v is null", _v=column(f"v{n}__")))]
            if measure.kind == "mode":
                by.append(exp.Ordered(this=column(f"o{n}_0__"), desc=True, nulls_first=False))
            elif not measure.order:
                continue
            down = measure.kind == "last" or measure.newest
            trees = [column(f"o{n}_{place}__") for place in range(len(measure.order))]
            by += [exp.Ordered(this=one, desc=down, nulls_first=down) for one in [*trees, self._sortable(n)]]
            number = exp.Window(this=exp.RowNumber(), partition_by=list(self._names), order=exp.Order(expressions=by))
            places.append(alias(number, f"n{n}__"))
        return exp.select("*", *places).from_(nested(facts, "numbered__"), copy=False) if places else facts

    @property
    def _names(self) -> list[exp.Expr]:
        return [column(one.name) for one, _ in self.keys]

    def _aggregate(self, n: int, measure: Measure) -> exp.Expr:
        """A metric from the contributions of a key."""
        value = column(f"v{n}__")
        match measure.kind:
            case "first" | "last" | "mode":
                return self.dialect.piece(
                    "any_value", _x=sql("case when _n = 1 then _v end", _n=column(f"n{n}__"), _v=value)
                )
            case "collect":
                return self._list(n, measure)
            case "avg":
                total = sql("sum(_v)", _v=value)
                return self.dialect.piece(
                    "divide", _x=self.dialect.piece("exact_decimal", _x=total), _y=sql("count(_v)", _v=value)
                )
            case "exists":
                return sql("count(_v) > 0", _v=value)
            case "distinct":
                return sql("count(distinct _v)", _v=value)
            case "sum":
                return self.dialect.total(value, measure.columns[0].type)
        return sql(f"{measure.kind}(_v)", _v=value)

    def _list(self, n: int, measure: Measure) -> exp.Expr:
        """The collected values as JSON; null where there are none."""
        place = column(f"n{n}__")
        kept = sql(
            "not _v is null and _n <= _most", _v=column(f"v{n}__"), _n=place, _most=exp.Literal.number(measure.most)
        )
        joined = self.dialect.piece("joined_by", _x=column(f"w{n}__"), _by=place, _w=kept)
        return sql("'[' || _j || ']'", _j=joined)


def branches(
    rollup: BoundRollup, columns: Mapping[Table, Mapping[str, Type]], as_of: dt.date | None
) -> list[LifeBranch]:
    """How a profile is proved. ``as_of``: what `now()` was when its rows were stored."""
    grouped: dict[Table, list[tuple[str, Measured]]] = {}
    for name, metric in rollup.definition.measured.items():
        grouped.setdefault(metric.source, []).append((name, metric))
    found = []
    for source, metrics in grouped.items():
        scan = next(one for one in rollup.scans if one.source == source)
        compiler = compiler_of(source, columns[source], scan.dialect, as_of)
        keys = tuple((one, key_of(compiler, one)) for one in rollup.shape.key)
        types = {one.name: one.type for one in rollup.shape.values}
        measures = [_measure(compiler, name, metric, types[name]) for name, metric in metrics]
        # What numbers facts is a branch of its own: sorting millions of them with all that others need takes minutes.
        plain = tuple(one for one in measures if not one.is_ordered)
        groups = [*([plain] if plain else []), *((one,) for one in measures if one.is_ordered)]
        found += [LifeBranch(source, scan.relation, scan.dialect, keys, group) for group in groups]
    return found


def _measure(compiler: Compiler, name: str, metric: Measured, type_: Type) -> Measure:
    dialect = compiler.dialect
    written = None
    if isinstance(metric, Count):
        value: exp.Expr = exp.Literal.number(1)
    elif isinstance(metric, Distinct):
        assert metric.expr is not None
        value = _text_of(dialect, compiler.compile(metric.expr))
    else:
        value = contribution(compiler, metric)
    order: list[exp.Expr] = []
    if isinstance(metric, First):
        assert metric.moment is not None
        order = [timing_of(compiler, metric.moment).instant]
        if metric.ties is not None:
            ties = compiler.compile(metric.ties)
            order.append(dialect.piece("bytewise", _x=ties.tree) if ties.type.kind is Kind.TEXT else ties.tree)
    tests = [compiler.condition(metric.where)] if metric.where is not None else []
    tests += [sql("not _at is null", _at=order[0])] if order else []
    if isinstance(metric, Collect):
        assert metric.expr is not None
        written = _written(dialect, value, compiler.compile(metric.expr).type)
    if tests:
        value = sql("case when _w then _v end", _w=both(tests), _v=value)
    has_zero = isinstance(metric, Count | Distinct | Sum) and not isinstance(metric, Avg)
    stored = Column(name, INT if type(metric) is Count else type_, zero=has_zero)
    kind = metric.kind
    most, newest = (metric.most, metric.newest) if isinstance(metric, Collect) else (0, False)
    if isinstance(metric, Exists):
        kind = "exists"
    return Measure(kind, name, value, (stored,), tuple(order), most, newest, written)


def _text_of(dialect: Dialect, typed: Typed) -> exp.Expr:
    return dialect.piece("bytewise", _x=dialect.text(typed.tree, typed.type))


def _written(dialect: Dialect, value: exp.Expr, type_: Type) -> exp.Expr:
    """A value in JSON's spelling."""
    match type_.kind:
        case Kind.INT | Kind.DECIMAL | Kind.BOOL:
            return dialect.text(value, type_)
        case Kind.FLOAT:
            return dialect.piece("float_text", _x=value)
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return dialect.piece("json_string", _x=dialect.piece("iso_micros", _x=value))
    return dialect.piece("json_string", _x=dialect.text(value, type_))
