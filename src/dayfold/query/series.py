"""The SQL of an answer: one statement over stored rows, each metric added up by its own algebra. Query floor, pure.

Steps: stored rows of the range → parts per bucket and group → one row for every bucket and group → values, zero
where covered days have no row and null where days are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from dayfold.days import ONE_DAY
from dayfold.define.metric import Avg, Count, Distinct, Gauge, Max, Measured, Min, Sum
from dayfold.define.rollup import RollupDef
from dayfold.define.types import BOOL, DATE, FLOAT, MAX_DIGITS, TIMESTAMPTZ, Kind, Type, decimal
from dayfold.memo import Memo
from dayfold.plan.dialect import HASH_SPACE, SET_LIMIT, Dialect
from dayfold.plan.expressions import Compiler, Typed
from dayfold.plan.shape import SETS_SUFFIX, Column
from dayfold.plan.sql import Constant, Statement, Values, alias, both, column, derived, either, sql, table
from dayfold.query.cover import Spine
from dayfold.query.request import Request

LABEL, DAY = "bucket__", "day__"
_WHOLE = decimal(MAX_DIGITS, 0)


@dataclass(frozen=True, slots=True)
class _Spelling:
    """A text, the names of its values in order, and what it returns; the rollup is held, so that no other takes its place."""

    text: str
    names: tuple[str, ...]
    columns: tuple[Column, ...]
    rollup: RollupDef
    tree: exp.Expr | None = None


#: Texts by the shapes of their questions.
_spellings: Memo[Hashable, _Spelling] = Memo(2_000)


def _texts(values: Iterable[Any]) -> list[str | None]:
    return [None if one is None else str(one) for one in values]


class Series:
    """Builds the statement of one request over tables whose column types are known."""

    def __init__(
        self,
        request: Request,
        table_name: str,
        types: Mapping[str, Type],
        schema: str | None,
        dialect: Dialect,
        spine: Spine,
    ) -> None:
        self.request = request
        self.table = table(table_name, schema)
        self.sets_table = table(table_name + SETS_SUFFIX, schema)
        self.types = types
        self.dialect = dialect
        self.spine = spine
        self.sources = list(spine.covered)
        self.parts: list[exp.Expr] = []
        self.joins: list[tuple[str, exp.Expr]] = []
        self.results: dict[str, Typed] = {}
        self.columns: list[Column] = []
        self.values = self._bound()

    # -- texts that are known from questions of the same shape ------------------------------------

    def statement(self) -> Statement:
        """The whole statement; `columns` then names what it returns."""
        return self._spelled("answer", self._whole)

    def groups(self) -> Statement:
        """How many groups the answer has for each bucket."""
        return self._spelled("groups", lambda: sql("select count(*) from _g as g", _g=derived(self._groups(), "g")))

    def _spelled(self, what: str, build: Callable[[], exp.Expr]) -> Statement:
        """A statement whose text is built once for questions of one shape: building it takes longer than running it."""
        request, spine = self.request, self.spine
        shape = (
            what, id(request.rollup), self.table.name, self.table.db, tuple(self.types.items()), self.dialect.name, request.metrics,
            request.by, request.grain, request.tz, request.first_minute if self._is_hourly else 0, request.sort, request.limit,
            request.also is None, tuple(self.sources), tuple(spine.apart), tuple(map(len, spine.partly.values())),
            tuple((one.key, one.exclude, None in one.values) for one in request.filters),
            tuple((name, isinstance(value, list)) for name, value in self.values.by_name.items() if name.startswith("key_")),
        )  # fmt: skip
        known = _spellings.get(shape)
        if known is not None and known.tree is not None:
            self.columns = list(known.columns)
            return Statement(known.tree, self.values, side="rows")
        if known is None:
            tree = build()
            if self.dialect.name == "clickhouse":
                # What is read of versions depends on the snapshot, so the text is another one each time.
                _spellings.learn(shape, _Spelling("", (), tuple(self.columns), request.rollup, tree))
                return Statement(tree, self.values, side="rows")
            made = Statement(tree, self.values)
            text, _ = made.render(self.dialect.name)
            known = _Spelling(text, tuple(made.order), tuple(self.columns), request.rollup)
            _spellings.learn(shape, known)
        self.columns = list(known.columns)
        return Constant(exp.null(), self.values, text=known.text, names=known.names)

    def _bound(self) -> Values:
        """Every value of the statement under a name that says its part in it."""
        request, spine = self.request, self.spine
        named: dict[str, Any] = {}
        for what, days in (("asked", request.days), ("also", request.also)):
            if days is not None:
                named |= {f"{what}_first": days.first, f"{what}_last": days.last}
            if days is not None and request.tz is not None:
                # The stored days within reach of a zone, which an index finds.
                named |= {f"{what}_utc_first": days.first - ONE_DAY, f"{what}_utc_last": days.last + ONE_DAY}
        labels: list[Any] = [bucket.label for bucket in spine.buckets]
        named["labels"] = _texts(labels) if self._is_hourly else labels
        if self._is_hourly:
            named["days"] = [bucket.days.first for bucket in spine.buckets]
        for n, source in enumerate(self.sources):
            last: list[Any] = spine.last_day[source]
            named |= {f"ok_{n}": spine.covered[source], f"last_{n}": _texts(last) if self._is_hourly else last}
            named |= {f"partly_{n}_{m}": day for m, day in enumerate(spine.partly[source])}
        named |= {f"apart_{name}": apart for name, apart in spine.apart.items()}
        for n, one in enumerate(request.filters):
            named |= {f"key_{n}_{m}": value for m, value in enumerate(one.bound(self.types[one.key]))}
        return Values(named)

    def _value(self, name: str, cast: str) -> exp.Expr:
        """The tree of a value that `_bound` names."""
        return exp.cast(exp.Placeholder(this=name), cast, dialect="postgres")

    # -- the text --------------------------------------------------------------------------------

    def _whole(self) -> exp.Expr:
        request = self.request
        ctes: list[tuple[str, exp.Expr]] = [
            ("spine__", self._spine()),
            ("rows__", self._rows(self.table)),
        ]
        for name in request.needed:
            self._prepare(name, ctes)
        groups = [LABEL, *request.by]
        parts = (
            exp.select(*(column(name) for name in groups), *self.parts)
            .from_(table("rows__"))
            .group_by(*self._positions(len(groups)))
        )
        ctes.append(("parts__", parts))
        if request.by:
            ctes.append(("groups__", self._groups()))
        tree = self._assembled()
        for name, cte in ctes:
            tree = tree.with_(exp.to_identifier(name), as_=cte, copy=False)
        return tree

    def _groups(self) -> exp.Expr:
        """The groups with a row in the range, in the range it is compared with, or with a level carried into it."""
        request, day = self.request, self._day()
        tests = [self._in_range(day, "asked"), *([self._in_range(day, "also")] if request.also is not None else [])]
        for name in request.needed:
            metric = request.rollup.metrics[name]
            if isinstance(metric, Gauge) and metric.carry:
                last = self._value("asked_last", "date")
                tests.append(sql("_d <= _last and not _x is null", _d=day, _last=last, _x=column(name)))
        keys = exp.select(*(column(name) for name in request.by)).from_(self.table)
        return keys.where(both([either(tests), *self._filters()])).distinct()

    def _positions(self, count: int) -> list[exp.Expr]:
        return [exp.Literal.number(n + 1) for n in range(count)]

    def _spine(self) -> exp.Expr:
        """The buckets as rows: first day or hour, and for each source its coverage and last covered day or hour."""
        kind = "timestamptz" if self._is_hourly else "date"
        items = [alias(self._list("labels", kind), LABEL)]
        if self._is_hourly:
            items.append(alias(self._list("days", "date"), DAY))
        for n in range(len(self.sources)):
            items.append(alias(self._list(f"ok_{n}", "boolean"), f"ok_{n}__"))
            items.append(alias(self._list(f"last_{n}", kind), f"last_{n}__"))
        items += [alias(self._list(f"apart_{name}", "boolean"), f"apart_{name}__") for name in self.spine.apart]
        return exp.select(*items)

    def _list(self, name: str, type_: str) -> exp.Expr:
        return self.dialect.piece("exploded", _x=self._value(name, f"{type_}[]"))

    def _rows(self, source: exp.Table) -> exp.Expr:
        """Stored rows of the asked days and keys, each with its bucket."""
        return (
            exp.select("*", alias(self._label(), LABEL))
            .from_(source)
            .where(both([self._in_range(self._day(), "asked"), *self._filters()]))
        )

    def _day(self) -> exp.Expr:
        """The asked day of a stored row: its own, or that of the asked zone."""
        rollup = self.request.rollup
        if self.request.tz is None or rollup.grain == "day":
            return column(rollup.day_column)
        local = self.dialect.piece("wall", _x=column("bucket"), _zone=exp.Literal.string(self.request.tz))
        return self.dialect.cast(local, DATE)

    @property
    def _is_hourly(self) -> bool:
        return self.request.grain == "hour"

    def _unit(self) -> exp.Expr:
        """What buckets are made of: the asked day of a stored row or, where hours are asked, its hour."""
        if not self._is_hourly:
            return self._day()
        minutes = self.dialect.sql(f"interval '{self.request.first_minute} minutes'")
        # As if the zone's hours began with those of UTC.
        moved = sql("_b - _m", _b=column("bucket"), _m=minutes)
        return exp.Paren(this=sql("_h + _m", _h=self.dialect.piece("floor_hour", _x=moved), _m=minutes))

    def _in_range(self, day: exp.Expr, what: str) -> exp.Expr:
        """True for a day of one of the ranges that `_bound` names."""
        low, high = self._value(f"{what}_first", "date"), self._value(f"{what}_last", "date")
        tests = [sql("_d >= _a and _d <= _b", _d=day, _a=low, _b=high)]
        if self.request.tz is not None:
            stored = column(self.request.rollup.day_column)
            low, high = self._value(f"{what}_utc_first", "date"), self._value(f"{what}_utc_last", "date")
            tests.append(sql("_d >= _a and _d <= _b", _d=stored, _a=low, _b=high))
        return both(tests)

    def _label(self) -> exp.Expr:
        first = self._value("asked_first", "date")
        match self.request.grain:
            case "hour" | "day":
                return self._unit()
            case "total":
                return first
        start = self.dialect.sql(f"cast(date_trunc('{self.request.grain}', _d) as date)", _d=self._day())
        return sql("greatest(_s, _f)", _s=start, _f=first)

    def _filters(self) -> list[exp.Expr]:
        """What the filters let through; their values have the names that `_bound` gives them."""
        return [
            one.admits(column(one.key), self.types[one.key], Values(prefix=f"key_{n}_"))
            for n, one in enumerate(self.request.filters)
        ]

    def _prepare(self, name: str, ctes: list[tuple[str, exp.Expr]]) -> None:
        """Add the parts of a metric and how its value comes from them."""
        metric = self.request.rollup.metrics[name]
        match metric:
            case Distinct():
                self._distinct(name, metric, ctes)
            case Gauge():
                self._gauge(name, metric, ctes)
            case Avg():
                total, count = self._added(f"{name}__sum", metric), self._added(f"{name}__count", metric)
                mean = self.dialect.piece("divide", _x=total, _y=count)
                self._result(name, self._covered(metric, mean), FLOAT)
            case Count() | Sum():
                type_ = self.types[name]
                whole = _WHOLE if type_.kind is Kind.INT else decimal(MAX_DIGITS, type_.scale)
                self._result(name, self._covered(metric, sql("coalesce(_x, 0)", _x=self._added(name, metric))), whole)
            case Min() | Max():
                kind = "max" if isinstance(metric, Max) else "min"
                tree = self._bytes(self._stored(name, metric), self.types[name])
                self.parts.append(alias(sql(f"{kind}(_x)", _x=tree), name))
                self._result(name, self._covered(metric, column(name, "p")), self.types[name])
            case _:
                self._computed(name)

    def _result(self, name: str, tree: exp.Expr, type_: Type) -> None:
        self.results[name] = Typed(self.dialect.cast(tree, type_), type_)

    def _bytes(self, tree: exp.Expr, type_: Type) -> exp.Expr:
        return self.dialect.piece("bytewise", _x=tree) if type_.kind is Kind.TEXT else tree

    def _stored(self, name: str, metric: Measured) -> exp.Expr:
        """A stored column, null on days of the asked zone that are only partly covered."""
        days = self.spine.partly[metric.source.label]
        if not days:
            return column(name)
        return sql("case when not (_w) then _x end", _w=self._partly(metric), _x=column(name))

    def _partly(self, metric: Measured) -> exp.Expr:
        """True on days of the asked zone that are only partly covered."""
        n = self.sources.index(metric.source.label)
        return either(
            sql("_d = _v", _d=self._day(), _v=self._value(f"partly_{n}_{m}", "date"))
            for m in range(len(self.spine.partly[metric.source.label]))
        )

    def _set_counts(self, name: str, metric: Measured) -> exp.Expr:
        """True for rows with a set of a day that is wholly covered."""
        there = self.dialect.piece("set_present", _x=column(name))
        if not self.spine.partly[metric.source.label]:
            return there
        return both([there, exp.Not(this=exp.Paren(this=self._partly(metric)))])

    def _added(self, name: str, metric: Measured) -> exp.Expr:
        """The sum of a stored column, wide enough for any range."""
        type_ = self.types[name]
        wide = _WHOLE if type_.kind is Kind.INT else decimal(MAX_DIGITS, type_.scale)
        value = self.dialect.exactly(self._stored(name, metric), wide)
        self.parts.append(alias(self.dialect.total(value, wide), name))
        return column(name, "p")

    def _covered(self, metric: Measured, value: exp.Expr) -> exp.Expr:
        """The value where the metric's days are covered, else null."""
        return sql(
            "case when _ok then _v end",
            _ok=column(f"ok_{self.sources.index(metric.source.label)}__", "s"),
            _v=value,
        )

    def _last(self, metric: Measured, of: str) -> exp.Expr:
        return column(f"last_{self.sources.index(metric.source.label)}__", of)

    def _computed(self, name: str) -> None:
        """A ratio or formula, in double precision, from the finished values of its parts."""
        metric = self.request.rollup.computed[name]
        assert metric.expr is not None
        scope = {
            part: Typed(self.dialect.cast(done.tree, FLOAT), FLOAT) if done.type.is_number else done
            for part, done in self.results.items()
        }
        done = Compiler(scope, self.dialect, self.request.rollup.name).compile(metric.expr)
        type_ = FLOAT if done.type.is_number or done.type.kind is Kind.NULL else done.type
        # A null part makes the answer unknown; a formula may not turn missing days into a number.
        sources = self.request.sources_of(name)
        oks = both(column(f"ok_{self.sources.index(source)}__", "s") for source in sources)
        if name in self.spine.apart:
            oks = both([oks, exp.Not(this=column(f"apart_{name}__", "s"))])
        self._result(name, sql("case when _ok then _v end", _ok=oks, _v=done.tree), type_)

    def _distinct(self, name: str, metric: Distinct, ctes: list[tuple[str, exp.Expr]]) -> None:
        """The size of united sets: exact where they are complete, else estimated from their smallest hashes.

        A set that was reduced has a mark instead of each hash that it lost, and is never complete: the union is at least what is
        held, and at most as many more as were lost, which is the error that is told.

        The estimate is (k - 1) / (hash k / hash space) of Bar-Yossef et al., "Counting Distinct Elements in a Data
        Stream" (2002), k the number of hashes up to the least bound of the incomplete sets; its relative standard
        error is 1 / sqrt(k - 2).
        """
        stored = self._stored(name, metric)
        for suffix, one in (
            ("__rows", sql("count(*) filter (where _x > 0)", _x=stored)),
            ("__most", sql("max(_x)", _x=stored)),
            ("__all", self.dialect.total(self.dialect.exactly(stored, _WHOLE), _WHOLE)),
        ):
            self.parts.append(alias(one, name + suffix))
        groups = [LABEL, *self.request.by]
        size, last = (self.dialect.piece(what, _x=column(name)) for what in ("set_size", "set_last"))
        bound = sql("case when _s >= _n then _l end", _s=size, _n=exp.Literal.number(SET_LIMIT), _l=last)
        window = exp.Window(this=exp.Min(this=bound), partition_by=[column(one) for one in groups])
        kept = exp.select(*(column(one) for one in groups), alias(column(name), "set__"), alias(window, "bound__"))
        kept = kept.from_(derived(self._rows(self.sets_table), "kept__")).where(self._set_counts(name, metric))
        hashes = exp.select(
            *(column(one) for one in groups),
            column("bound__"),
            alias(self.dialect.piece("exploded", _x=column("set__")), "hash__"),
        )
        hashes = hashes.from_(kept.subquery("sets__"))
        united = exp.select(
            *(column(one) for one in groups),
            alias(sql("count(*)"), "held__"),
            alias(sql("count(distinct hash__) filter (where hash__ >= 0)"), "whole__"),
            alias(sql("count(distinct hash__) filter (where hash__ >= 0 and hash__ <= bound__)"), "under__"),
            alias(sql("count(*) filter (where hash__ < 0)"), "lost__"),
            alias(sql("max(bound__)"), "bound__"),
        )
        union_name = f"union_{name}__"
        ctes.append((union_name, united.from_(hashes.subquery("hashes__")).group_by(*self._positions(len(groups)))))
        self.joins.append((union_name, self._matching(union_name)))
        self._distinct_value(name, metric, union_name)

    def _distinct_value(self, name: str, metric: Distinct, union_name: str) -> None:
        rows, most, total = (column(name + suffix, "p") for suffix in ("__rows", "__most", "__all"))
        held, whole, under, bound, lost = (
            column(one, union_name) for one in ("held__", "whole__", "under__", "bound__", "lost__")
        )
        full = sql("coalesce(_h, 0) = coalesce(_t, 0)", _h=held, _t=total)
        complete = sql("_f and coalesce(_l, 0) = 0", _f=full, _l=lost)
        estimate = sql(
            "greatest(_m, least(_t, round(cast(cast(_u - 1 as double precision) * _space / nullif(_b, 0) as numeric(38, 0)), 0)))",
            _m=most, _t=total, _u=under, _b=bound, _space=self.dialect.cast(exp.Literal.number(HASH_SPACE), FLOAT),
        )  # fmt: skip
        value = sql(
            "case when coalesce(_r, 0) <= 1 then coalesce(_m, 0) when _c then _w when _f then greatest(_m, _w) else _e end",
            _r=rows,
            _m=most,
            _c=complete,
            _f=full,
            _w=whole,
            _e=estimate,
        )
        self._result(name, self._covered(metric, value), _WHOLE)
        exact = sql("coalesce(_r, 0) <= 1 or _c", _r=rows, _c=complete)
        error = self.dialect.sql(
            "case when _x then null when _f then cast(_l as double precision) / greatest(_m, _w) "
            "else 1 / sqrt(cast(greatest(_u - 2, 1) as double precision)) end",
            _x=exact,
            _f=full,
            _l=lost,
            _m=most,
            _w=whole,
            _u=under,
        )
        self.results[f"{name}__exact"] = Typed(self.dialect.cast(exact, BOOL), BOOL)
        self.results[f"{name}__error"] = Typed(self.dialect.cast(error, FLOAT), FLOAT)

    def _gauge(self, name: str, metric: Gauge, ctes: list[tuple[str, exp.Expr]]) -> None:
        """The level of each key on the bucket's last covered day, then combined over keys."""
        rollup = self.request.rollup
        keys, type_ = list(rollup.key), self.types[name]
        held = self._carried(name, metric) if metric.carry else self._on_last_day(name, metric)
        latest = self.dialect.piece("last_value", _x=column(name), _at=column(rollup.slot))
        each = exp.select(column(LABEL), *(column(key) for key in keys), alias(latest, name))
        each = each.from_(derived(held, "held__")).group_by(*self._positions(1 + len(keys)))
        groups = [LABEL, *self.request.by]
        how = metric.over_keys if metric.over_keys != "refuse" else "max"
        over = exp.select(*(column(one) for one in groups), alias(self._over(how, name, type_), name))
        level_name = f"level_{name}__"
        ctes.append((level_name, over.from_(each.subquery("each__")).group_by(*self._positions(len(groups)))))
        self.joins.append((level_name, self._matching(level_name)))
        result = (
            FLOAT
            if how == "avg" or type_.kind is Kind.FLOAT
            else _WHOLE
            if type_.kind is Kind.INT
            else decimal(MAX_DIGITS, type_.scale)
        )
        self._result(name, self._covered(metric, column(name, level_name)), result)

    def _over(self, how: str, name: str, type_: Type) -> exp.Expr:
        """A level of several keys."""
        if how == "sum":
            return self.dialect.total(column(name), type_)
        return sql(f"{how}(_x)", _x=column(name))

    def _on_last_day(self, name: str, metric: Gauge) -> exp.Expr:
        rows = exp.select(exp.Column(this=exp.Star(), table=exp.to_identifier("r"))).from_(
            exp.alias_(table("rows__"), "r", table=True)
        )
        same = sql(
            "_a = _b and _day = _last and not _x is null",
            _a=column(LABEL, "r"),
            _b=column(LABEL, "s"),
            _day=self._unit_of("r"),
            _last=self._last(metric, "s"),
            _x=column(name, "r"),
        )
        return rows.join(exp.alias_(table("spine__"), "s", table=True), on=same)

    def _unit_of(self, of: str) -> exp.Expr:
        unit = self._unit().copy()
        for node in [unit] if isinstance(unit, exp.Column) else list(unit.find_all(exp.Column)):
            node.set("table", exp.to_identifier(of, quoted=True))
        return unit

    def _carried(self, name: str, metric: Gauge) -> exp.Expr:
        """For each bucket and key the last row up to the bucket's last covered day, however old."""
        rollup = self.request.rollup
        keys = list(rollup.key)
        unit = self._unit()
        following = exp.Window(
            this=exp.Lead(this=unit.copy()),
            partition_by=[column(key) for key in keys] or [exp.Literal.number(1)],
            order=exp.Order(expressions=[exp.Ordered(this=column(rollup.slot))]),
        )
        spans = exp.select(
            *(column(key) for key in keys),
            column(rollup.slot),
            column(name),
            alias(unit, "from__"),
            alias(following, "until__"),
        )
        spans = spans.from_(self.table).where(both([sql("not _x is null", _x=column(name)), *self._filters()]))
        on = sql(
            "_from <= _last and (_until > _last or _until is null)",
            _from=column("from__", "k"),
            _until=column("until__", "k"),
            _last=self._last(metric, "s"),
        )
        rows = exp.select(exp.Column(this=exp.Star(), table=exp.to_identifier("k")), column(LABEL, "s"))
        return rows.from_(exp.Subquery(this=spans, alias=exp.TableAlias(this=exp.to_identifier("k")))).join(
            exp.alias_(table("spine__"), "s", table=True), on=on
        )

    def _matching(self, other: str) -> exp.Expr:
        """Rows of the same bucket and group as the answer's."""
        tests = [sql("_a = _b", _a=column(LABEL, other), _b=column(LABEL, "s"))]
        tests += [self.dialect.piece("equal", _x=column(key, other), _y=column(key, "g")) for key in self.request.by]
        return both(tests)

    def _assembled(self) -> exp.Select:
        """One row for each bucket and group, in order."""
        request = self.request
        select = exp.select(alias(column(DAY if self._is_hourly else LABEL, "s"), "day"))
        self.columns = [Column("day", DATE)]
        if self._is_hourly:
            select = select.select(alias(column(LABEL, "s"), "hour"))
            self.columns.append(Column("hour", TIMESTAMPTZ))
        select = select.from_(exp.alias_(table("spine__"), "s", table=True))
        for key in request.by:
            select = select.select(alias(column(key, "g"), key))
            self.columns.append(Column(key, self.types[key]))
        wanted = [
            *request.metrics,
            *(f"{name}{suffix}" for name in request.distincts for suffix in ("__exact", "__error")),
        ]
        for name in wanted:
            select = select.select(alias(self.results[name].tree, name))
            self.columns.append(Column(name, self.results[name].type))
        if request.by:
            select = select.join(exp.alias_(table("groups__"), "g", table=True), join_type="cross")
        select = select.join(exp.alias_(table("parts__"), "p", table=True), on=self._matching("p"), join_type="left")
        for name, on in self.joins:
            select = select.join(table(name), on=on, join_type="left")
        whole = (
            exp.select(*(column(one.name) for one in self.columns))
            .from_(select.subquery("answer__"))
            .order_by(*self._order())
        )
        return whole.limit(request.limit) if request.limit else whole

    def _order(self) -> list[exp.Expr]:
        """The asked order, then days and keys, so that equal questions have equal answers."""
        types = {one.name: one.type for one in self.columns}
        order: list[exp.Expr] = []
        if self.request.sort:
            name = self.request.sort.removeprefix("-")
            order.append(
                exp.Ordered(
                    this=self._bytes(column(name), types[name]),
                    desc=self.request.sort.startswith("-"),
                    nulls_first=False,
                )
            )
        order += [
            exp.Ordered(this=self._bytes(column(name), types[name]), desc=False, nulls_first=True)
            for name in (self.request.bucket_columns[-1], *self.request.by)
        ]
        return order
