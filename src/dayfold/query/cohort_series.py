"""The SQL of a cohort's answer: one statement over the stored rows of a profile and a rollup. Query floor, pure.

Steps: the entities of the asked days → each of their days in the rollup from their start on → each of their periods → for each
cohort, group and period how many were active, and their values; beside them the size of each cohort and group.
"""

from __future__ import annotations

from sqlglot import exp

from dayfold.define.metric import Avg, Computed, Max, Measured, Min
from dayfold.define.types import BOOL, DATE, FLOAT, INT, MAX_DIGITS, Kind, Type, decimal
from dayfold.errors import QueryRefused
from dayfold.plan.calendar import truncated
from dayfold.plan.dialect import Dialect
from dayfold.plan.expressions import Compiler, Typed
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, alias, both, column, derived, sql, table
from dayfold.query.cohort_request import CohortRequest
from dayfold.query.entities import MOST_ROWS, Types, column_of, day_of, moment_type, within

#: Names of columns between the steps; no column of a rollup has two '_' at its end.
_START, _DAY, _COHORT, _PERIOD, _ACTIVE, _LAST = "start__", "day__", "cohort__", "period__", "active__", "last__"


class CohortSeries:
    """Builds the statement of one question over two stored tables whose column types are known."""

    def __init__(
        self, request: CohortRequest, tables: tuple[str, str], types: tuple[Types, Types], schema: str, dialect: Dialect
    ) -> None:
        self.request = request
        self.cohort = request.cohort
        self.profile, self.activity = (table(name, schema) for name in tables)
        self.profile_types, self.activity_types = types
        self.dialect = dialect
        self.values = Values()
        self.key = {name: f"k{n}__" for n, name in enumerate(self.cohort.profile.key)}
        self.by = {name: f"b{n}__" for n, name in enumerate(request.by)}
        self.sums = {name: f"v{n}__" for n, name in enumerate(self.cohort.values)}
        self.columns = [
            Column("cohort", DATE), *(Column(name, self.profile_types[name]) for name in request.by), Column("size", INT),
            Column("first", DATE), Column("period", DATE), Column("active", INT),
            *(Column(name, summed_type(self.activity_types[name])) for name in self.cohort.values),
        ]  # fmt: skip
        self._check_keys()

    def _check_keys(self) -> None:
        for name in self.key:
            mine, other = self.profile_types[name], self.activity_types[name]
            if mine.kind is not other.kind:
                raise QueryRefused(
                    f"The key column '{name}' is {mine} in {self.cohort.profile.name} and {other} in {self.cohort.activity.name}.",
                    hint="Cast one of them in columns={…}.",
                )

    def statement(self) -> Statement:
        """The whole statement; `columns` names what it returns: a row for each period in which somebody was active, or one for none."""
        steps = [
            ("members__", self._members()), ("starts__", self._starts()), ("days__", self._days()),
            ("periods__", self._periods()), ("ages__", self._ages()),
        ]  # fmt: skip
        groups = [_COHORT, *self.by.values()]
        items = [column(name, "s") for name in (*groups, "size__", "first__")]
        items += [column(name, "a") for name in (_PERIOD, _ACTIVE, *self.sums.values())]
        named = [alias(item, one.name) for item, one in zip(items, self.columns, strict=True)]
        same = [self.dialect.piece("equal", _x=column(name, "a"), _y=column(name, "s")) for name in groups]
        whole = exp.select(*named).from_(_as("starts__", "s")).join(_as("ages__", "a"), on=both(same), join_type="left")
        for name, cte in steps:
            whole = whole.with_(exp.to_identifier(name), as_=cte, copy=False)
        names = ["cohort", *self.request.by]
        ordered = [exp.Ordered(this=column(name), desc=False, nulls_first=True) for name in (*names, "period")]
        picked = exp.select(*(column(one.name) for one in self.columns)).from_(derived(whole, "found__"))
        return Statement(picked.order_by(*ordered).limit(MOST_ROWS), self.values)

    def _members(self) -> exp.Select:
        """The entities, each with its start."""
        assert self.request.begun is not None
        start, types = column(self.cohort.start, "p"), self.profile_types
        type_ = moment_type(self.cohort.profile, self.cohort.start, types)
        tests = [within(start, type_, self.request.begun, self.values)]
        tests += [one.admits(column(one.key, "p"), types[one.key], self.values) for one in self.request.filters]
        items = [alias(column(name, "p"), mine) for name, mine in self.key.items()]
        items += [alias(column_of(name, types, self.dialect, "p"), mine) for name, mine in self.by.items()]
        items.append(alias(day_of(start, type_, self.dialect), _START))
        return exp.select(*items).from_(exp.alias_(self.profile, "p", table=True)).where(both(tests))

    def _period(self, day: exp.Expr) -> exp.Expr:
        return truncated(Typed(day, DATE), self.request.grain, self.dialect).tree

    def _starts(self) -> exp.Select:
        """The size of each cohort and group, and the first start in it."""
        inner = exp.select(*(column(name) for name in self.by.values()), column(_START))
        inner = inner.select(alias(self._period(column(_START)), _COHORT)).from_(table("members__"))
        groups = [column(name) for name in (_COHORT, *self.by.values())]
        size = alias(self.dialect.cast(sql("count(*)"), INT), "size__")
        first = alias(sql("min(_x)", _x=column(_START)), "first__")
        return exp.select(*groups, size, first).from_(derived(inner, "m")).group_by(*_places(len(groups)))

    def _days(self) -> exp.Select:
        """The days of each entity from its start on: whether it was active, and its values."""
        assert self.request.activity is not None
        rollup, days = self.cohort.activity, self.request.activity.days
        day = column(rollup.day_column, "a")
        join = [sql("_x = _y", _x=column(name, "a"), _y=column(mine, "m")) for name, mine in self.key.items()]
        tests = [
            sql("_d >= _start", _d=day, _start=column(_START, "m")),
            sql("_d >= _low", _d=day, _low=self.values.bind(days.first, "date")),
            sql("_d <= _high", _d=day, _high=self.values.bind(days.last, "date")),
            *(one.admits(column(one.key, "a"), self.activity_types[one.key], self.values) for one in self.request.activity_filters),
        ]  # fmt: skip
        names = (*self.key.values(), *self.by.values(), _START)
        groups = [*(column(name, "m") for name in names), alias(day, _DAY)]
        select = exp.select(*groups, alias(self._active(), _ACTIVE))
        for name, mine in self.sums.items():
            tree = self._wide(name)
            select = select.select(alias(self._total(name) if self._is_grouped else tree, mine))
        select = select.from_(_as("members__", "m")).join(exp.alias_(self.activity, "a", table=True), on=both(join))
        select = select.where(both(tests))
        return select.group_by(*_places(len(groups))) if self._is_grouped else select

    @property
    def _is_grouped(self) -> bool:
        """Whether the condition is of several rows together."""
        return self.cohort.is_apart and self.cohort.active is not None

    def _active(self) -> exp.Expr:
        """True for an entity's day that meets the condition."""
        if self.cohort.active is None:
            return exp.true()
        scope: dict[str, Typed] = {}
        for name in self.request.activity.needed if self.request.activity is not None else ():
            scope[name] = self._part(name, scope)
        tree = Compiler(scope, self.dialect, self.cohort.activity.name).condition(self.cohort.active)
        return sql("coalesce(_c, false)", _c=self.dialect.cast(tree, BOOL))

    def _part(self, name: str, scope: dict[str, Typed]) -> Typed:
        """A metric of an entity's day, as the condition names it; ``scope``: those that it is made of."""
        metric = self.cohort.activity.metrics[name]
        if isinstance(metric, Computed):
            floats = {
                part: Typed(self.dialect.cast(done.tree, FLOAT), FLOAT) if done.type.is_number else done
                for part, done in scope.items()
            }
            assert metric.expr is not None
            return Compiler(floats, self.dialect, self.cohort.activity.name).compile(metric.expr)
        assert isinstance(metric, Measured)
        if isinstance(metric, Avg):
            total, count = (self._summed(f"{name}__{part}") for part in ("sum", "count"))
            return Typed(self.dialect.piece("divide", _x=total, _y=count), FLOAT)
        type_ = self.activity_types[name]
        if not self._is_grouped:
            return Typed(column(name, "a"), type_)
        if isinstance(metric, Min | Max):
            tree = column_of(name, self.activity_types, self.dialect, "a")
            return Typed(sql(f"{'max' if isinstance(metric, Max) else 'min'}(_x)", _x=tree), type_)
        return Typed(self.dialect.cast(self._summed(name), summed_type(type_)), summed_type(type_))

    def _wide(self, name: str) -> exp.Expr:
        """A stored number with room for any sum."""
        return self.dialect.exactly(column(name, "a"), summed_type(self.activity_types[name]))

    def _total(self, name: str) -> exp.Expr:
        return self.dialect.total(self._wide(name), summed_type(self.activity_types[name]))

    def _summed(self, name: str) -> exp.Expr:
        return self._total(name) if self._is_grouped else self._wide(name)

    def _periods(self) -> exp.Select:
        """Each entity once a period."""
        inner = exp.select(
            *(column(name) for name in (*self.key.values(), *self.by.values(), _ACTIVE, *self.sums.values()))
        )
        inner = inner.select(alias(self._period(column(_START)), _COHORT), alias(self._period(column(_DAY)), _PERIOD))
        inner = inner.from_(table("days__"))
        groups = [column(name) for name in (*self.key.values(), *self.by.values(), _COHORT, _PERIOD)]
        active = alias(sql("max(case when _a then 1 else 0 end)", _a=column(_ACTIVE)), _ACTIVE)
        sums = [
            alias(self.dialect.total(column(mine), summed_type(self.activity_types[name])), mine)
            for name, mine in self.sums.items()
        ]
        return exp.select(*groups, active, *sums).from_(derived(inner, "d")).group_by(*_places(len(groups)))

    def _ages(self) -> exp.Select:
        """How many were active in each period or, unbounded, in it for the last time."""
        counted = sql("_a = 1", _a=column(_ACTIVE))
        source: exp.Expr = table("periods__")
        if self.request.unbounded:
            latest = sql("max(case when _a = 1 then _p end)", _a=column(_ACTIVE), _p=column(_PERIOD))
            last = exp.Window(this=latest, partition_by=[column(mine) for mine in self.key.values()])
            inner = exp.select("*", alias(last, _LAST)).from_(table("periods__"))
            counted = sql("_c and _p = _l", _c=counted, _p=column(_PERIOD), _l=column(_LAST))
            source = derived(inner, "p")
        groups = [column(name) for name in (_COHORT, *self.by.values(), _PERIOD)]
        active = alias(self.dialect.cast(sql("count(*) filter (where _c)", _c=counted), INT), _ACTIVE)
        sums = [
            alias(
                self.dialect.cast(
                    self.dialect.total(column(mine), summed_type(self.activity_types[name])),
                    summed_type(self.activity_types[name]),
                ),
                mine,
            )
            for name, mine in self.sums.items()
        ]
        return exp.select(*groups, active, *sums).from_(source).group_by(*_places(len(groups)))


def summed_type(type_: Type) -> Type:
    """The type of a sum of any length."""
    return decimal(MAX_DIGITS, 0) if type_.kind is Kind.INT else decimal(MAX_DIGITS, type_.scale)


def _places(count: int) -> list[exp.Expr]:
    return [exp.Literal.number(n + 1) for n in range(count)]


def _as(name: str, short: str) -> exp.Expr:
    return exp.alias_(table(name), short, table=True)
