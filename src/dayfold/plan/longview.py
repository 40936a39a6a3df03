"""The long view: every number of every rollup as a row of one view, by hour, day, week and month. Plan floor, pure.

One branch for each rollup, period and metric, joined by UNION ALL. Metric, period and source are constants of a branch, so that
a question for one of them computes no other. A number is what a query says of the same key and bucket, or null.

Weakness: a carried level stands where its key has a row, and to find it all rows of the rollup are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from dayfold.define.expr import ExpressionError, columns
from dayfold.define.types import DATE, FLOAT, TEXT, TIMESTAMP, TIMESTAMPTZ, decimal
from dayfold.plan.dialect import Dialect
from dayfold.plan.expressions import Compiler, Typed
from dayfold.plan.shape import SETS_SUFFIX
from dayfold.plan.sql import alias, both, column, derived, spelled, sql, table

#: What the comment on the view begins with: one without it is somebody else's.
MARK = "Dayfold: every number of every rollup"
COLUMNS = ("metric", "value", "dimensions", "timestamp", "day", "period", "source", "calculated_at")
#: The periods, with the unit that days are cut by; hours come from finer grains.
UNITS = {"daily": "day", "weekly": "week", "monthly": "month"}
HOURLY = "hourly"
#: Digits of money and ratios alike; what does not fit is null.
VALUE = decimal(38, 12)
_TOO_LARGE = "1e26"


@dataclass(frozen=True, slots=True)
class LongMetric:
    """A metric that is stored.

    Attributes:
        kind: As its definition says; ``is_number``: whether it is one, ``is_float``: in double precision.
        source: The source, as coverage names it.
        carry: Whether a level without a row on a day keeps its last one.
    """

    name: str
    kind: str
    source: str
    is_number: bool = True
    is_float: bool = False
    carry: bool = False


@dataclass(frozen=True, slots=True)
class LongRollup:
    """A rollup as the store has it; ``computed`` names the formulas of its definition, each after its parts."""

    name: str
    table: str
    schema: str
    key: tuple[str, ...]
    day_column: str
    grain: str
    metrics: Mapping[str, LongMetric]
    computed: Mapping[str, exp.Expr] = field(default_factory=dict)

    @property
    def slot(self) -> str:
        """The column that, with the key, identifies a row."""
        return self.day_column if self.grain == "day" else "bucket"

    @property
    def periods(self) -> tuple[str, ...]:
        """The periods that its rows can be told in."""
        return (*UNITS,) if self.grain == "day" else (HOURLY, *UNITS)

    def words(self) -> list[object]:
        """What decides its branches, in JSON's own kinds."""
        metrics = [
            [one.name, one.kind, one.source, one.is_number, one.is_float, one.carry] for one in self.metrics.values()
        ]
        formulas = [[name, tree.sql()] for name, tree in self.computed.items()]
        return [self.name, self.table, self.schema, list(self.key), self.day_column, self.grain, metrics, formulas]

    def parts(self, name: str) -> list[str]:
        """The stored metrics that a metric is made of; nothing where one is missing."""
        found: dict[str, None] = {}
        for one in [name] if name in self.metrics else _names(self.computed[name]):
            mine = [one] if one in self.metrics else self.parts(one) if one in self.computed else []
            if not mine:
                return []
            found |= dict.fromkeys(mine)
        return list(found)


def long_view(rollups: Iterable[LongRollup], dialect: Dialect) -> str:
    """The view's query, as text: each branch is printed by itself, because there may be hundreds.

    >>> from dayfold.plan.dialect import DUCKDB
    >>> long_view([], DUCKDB).endswith("WHERE FALSE")
    True
    """
    covers: dict[tuple[str, str, str], str] = {}
    branches = [
        found
        for rollup in rollups
        for period in rollup.periods
        for name in (*rollup.metrics, *rollup.computed)
        if (found := _Branch(rollup, period, name, dialect, covers).select()) is not None
    ]
    return " UNION ALL ".join(_printed(one, dialect) for one in branches or [_empty(dialect)])


def _printed(tree: exp.Expr, dialect: Dialect) -> str:
    return tree.sql(spelled(dialect.name), identify=True, copy=False)


def _from(query: exp.Expr, name: str) -> exp.Subquery:
    """A query that nothing else holds as something to select from: copying trees is most of what a view costs."""
    return exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)))


def _empty(dialect: Dialect) -> exp.Select:
    types = dict(zip(COLUMNS, (TEXT, VALUE, None, TIMESTAMPTZ, DATE, TEXT, TEXT, TIMESTAMPTZ), strict=True))
    items = [
        alias(dialect.cast(exp.Null(), type_) if type_ else dialect.piece("json_empty"), name)
        for name, type_ in types.items()
    ]
    return exp.select(*items).where(exp.false())


def _names(tree: exp.Expr) -> list[str]:
    return [one.name for one in columns(tree)]


@dataclass(slots=True)
class _Branch:
    """One metric of one rollup in one period; ``covers`` keeps the texts that branches share."""

    rollup: LongRollup
    period: str
    name: str
    dialect: Dialect
    covers: dict[tuple[str, str, str], str]

    def select(self) -> exp.Select | None:
        """Its rows; None where it is no number."""
        parts = [self.rollup.metrics[name] for name in self.rollup.parts(self.name)]
        if not parts or not all(one.is_number for one in parts):
            return None
        scope = {one.name: Typed(column(one.name, "r"), FLOAT) for one in parts}
        value: exp.Expr | None = column(self.name, "r")
        if self.name in self.rollup.computed:
            value = self._computed(scope)
        if value is None:
            return None
        rollup, bucket = self.rollup, column("bucket__", "r")
        moment = bucket if self.period == HOURLY else self._start(bucket)
        day = self.dialect.piece("utc_date", _x=bucket) if self.period == HOURLY else bucket
        text = {
            name: self.dialect.cast(exp.Literal.string(word), TEXT)
            for name, word in (("metric", self.name), ("period", self.period), ("source", rollup.name))
        }
        items = {
            "metric": text["metric"], "value": self._digits(value, parts), "dimensions": self._dimensions(),
            "timestamp": moment, "day": day, "period": text["period"], "source": text["source"],
            "calculated_at": column("calculated__", "r"),
        }  # fmt: skip
        select = exp.Select(expressions=[alias(items[name], name) for name in COLUMNS])
        return select.from_(_from(self._rows(parts), "r"), copy=False)

    # -- values ----------------------------------------------------------------------------------

    def _computed(self, scope: dict[str, Typed]) -> exp.Expr | None:
        """The formula over its finished parts; None where it makes no number."""
        known = {name: Typed(self.dialect.cast(one.tree, FLOAT), FLOAT) for name, one in scope.items()}
        try:
            for name, tree in self.rollup.computed.items():
                if all(part in known for part in _names(tree)):
                    known[name] = Compiler(known, self.dialect, self.rollup.name).compile(tree)
        except ExpressionError:
            return None
        done = known.get(self.name)
        return exp.Paren(this=done.tree) if done is not None and done.type.is_number else None

    def _digits(self, value: exp.Expr, parts: Sequence[LongMetric]) -> exp.Expr:
        """A number with 12 digits after the point; doubles as text says them, which engines cut differently."""
        as_float = self.dialect.cast(value, FLOAT)
        if self.name in self.rollup.computed or any(one.is_float for one in parts):
            value = self.dialect.cast(as_float, TEXT)
        digits = self.dialect.cast(value, VALUE)
        limit = self.dialect.cast(exp.Literal.number(_TOO_LARGE), FLOAT)
        fitting = self.dialect.sql("CASE WHEN ABS(_x) < _limit THEN _v END", _x=as_float, _limit=limit, _v=digits)
        # Cast again, because PostgreSQL forgets the digits of a CASE, and a view's columns keep their types for life.
        return self.dialect.cast(fitting, VALUE)

    def _dimensions(self) -> exp.Expr:
        pairs: list[exp.Expr] = []
        for name in self.rollup.key:
            pairs += [exp.Literal.string(name), column(name, "r")]
        if not pairs:
            return self.dialect.piece("json_empty")
        if self.dialect.name == "clickhouse":
            return self._written_dimensions()
        return exp.Anonymous(
            this="JSON_OBJECT" if self.dialect.name == "duckdb" else "JSONB_BUILD_OBJECT", expressions=pairs
        )

    def _written_dimensions(self) -> exp.Expr:
        """The same where no function makes an object."""
        text: exp.Expr = exp.Literal.string("{")
        for place, name in enumerate(self.rollup.key):
            begin = exp.Literal.string(("," if place else "") + json.dumps(name) + ":")
            value = self.dialect.piece("json_string", _x=column(name, "r"))
            text = sql("_a || _b || coalesce(_c, 'null')", _a=text, _b=begin, _c=value)
        return sql("_a || '}'", _a=text)

    def _start(self, day: exp.Expr) -> exp.Expr:
        return self.dialect.piece("utc_start", _x=self.dialect.cast(day, TIMESTAMP))

    # -- rows ------------------------------------------------------------------------------------

    @property
    def _is_stored(self) -> bool:
        """Whether the buckets are those of the table, so that nothing is added up."""
        return (self.period, self.rollup.grain) in (("daily", "day"), (HOURLY, "hour"))

    @property
    def _spans_days(self) -> bool:
        return self.period in ("weekly", "monthly")

    def _rows(self, parts: Sequence[LongMetric]) -> exp.Select:
        """Key, bucket and finished parts, where all of their sources are covered."""
        rollup = self.rollup
        sources = list(dict.fromkeys(one.source for one in parts))
        covers = {source: f"c{n}__" for n, source in enumerate(sources)}
        bucket = self._bucket()
        items: list[exp.Expr] = [*(column(name, "t") for name in rollup.key), alias(bucket, "bucket__")]
        seen = [column("updated_at", "t"), *(column("folded_at", name) for name in covers.values())]
        latest: exp.Expr = exp.Greatest(this=seen[0], expressions=seen[1:])
        if not self._is_stored:
            latest = exp.Max(this=latest)
        items += [alias(self._value(one, covers), one.name) for one in parts]
        select = exp.Select(expressions=[*items, alias(latest, "calculated__")]).from_(self._table(parts), copy=False)
        for source, name in covers.items():
            on = sql("_c = _b", _c=column("bucket__" if self._spans_days else "day", name), _b=self._cut())
            select = select.join(_from(self._cover(source), name), on=on, copy=False)
        if not self._is_stored:
            positions = (exp.Literal.number(n + 1) for n in range(len(rollup.key) + 1))
            select = select.group_by(*positions, copy=False)
        return select

    def _day(self) -> exp.Column:
        return column(self.rollup.day_column, "t")

    def _bucket(self) -> exp.Expr:
        """What a stored row's bucket is called."""
        if self.period != HOURLY:
            return self._cut()
        slot = column("bucket", "t")
        return slot if self._is_stored else self.dialect.piece("floor_hour", _x=slot)

    def _cut(self) -> exp.Expr:
        """The days, or first days of weeks and months, that rows are matched with coverage by."""
        return self._first_day(self._day()) if self._spans_days else self._day()

    def _first_day(self, day: exp.Expr) -> exp.Expr:
        # From a timestamp: PostgreSQL would cut a date in the zone of the session.
        whole = self.dialect.cast(day, TIMESTAMP)
        return self.dialect.cast(sql(f"date_trunc('{UNITS[self.period]}', _x)", _x=whole), DATE)

    def _cover(self, source: str) -> exp.Var:
        """The coverage of a source, as text: many branches have the same."""
        place = (self.rollup.name, source, self.period)
        if place not in self.covers:
            self.covers[place] = _printed(self._coverage(source), self.dialect)
        return exp.Var(this=self.covers[place])

    def _coverage(self, source: str) -> exp.Select:
        """The covered days of a source; for weeks and months one row for each, which says whether a day is missing in it.

        The first and the last one of a history are whole where all of its days in them are covered.
        """
        names = exp.Literal.string(self.rollup.name), exp.Literal.string(source)
        of = sql("rollup = _r and source = _s and not folded_at is null", _r=names[0], _s=names[1])
        days = (
            exp.select(column("day"), column("folded_at"))
            .from_(table("dayfold_coverage", self.rollup.schema))
            .where(of)
        )
        if not self._spans_days:
            return days
        day = column("day")
        cut = exp.select(
            day, column("folded_at"), alias(self._first_day(day), "bucket__"),
            alias(sql("min(day) over ()"), "begins__"), alias(sql("max(day) over ()"), "ends__"),
        ).from_(derived(days, "days__"))  # fmt: skip
        unit = UNITS[self.period]
        after = self.dialect.cast(sql(f"cast(bucket__ as timestamp) + interval '1 {unit}'"), DATE)
        last, first = sql("least(_after - 1, ends__)", _after=after), sql("greatest(bucket__, begins__)")
        length = sql("_a - _b", _a=last, _b=first)
        if self.dialect.name == "clickhouse":
            length = self.dialect.piece("days_between", _x=last, _y=first)
        expected = sql("_n + 1", _n=length)
        return (
            exp.select(
                column("bucket__"), alias(sql("max(folded_at)"), "folded_at"), alias(sql("max(day)"), "last__"),
                alias(sql("count(*)"), "days__"), alias(sql("count(*) = _n", _n=expected), "whole__"),
            )
            .from_(derived(cut, "cut__"))
            .group_by(column("bucket__"), column("begins__"), column("ends__"))
        )  # fmt: skip

    def _table(self, parts: Sequence[LongMetric]) -> exp.Expr:
        """The stored rows; beside them sets to be united, and levels that are carried to later rows."""
        rollup = self.rollup
        stored = table(rollup.table, rollup.schema)
        carried = [one for one in parts if one.carry]
        united = [one for one in parts if one.kind == "distinct" and not self._is_stored]
        if not (carried or united):
            return exp.alias_(stored, "t", table=True)
        select = exp.select(exp.Column(this=exp.Star(), table=exp.to_identifier("s"))).from_(
            exp.alias_(stored, "s", table=True)
        )
        for one in united:
            select = select.select(alias(column(one.name, "h"), f"{one.name}__hashes"))
        if united:
            identity = (*rollup.key, rollup.slot)
            same = both(self.dialect.piece("equal", _x=column(name, "s"), _y=column(name, "h")) for name in identity)
            sets = exp.alias_(table(rollup.table + SETS_SUFFIX, rollup.schema), "h", table=True)
            select = select.join(sets, on=same, join_type="left")
        for one in carried:
            select = select.select(alias(self._filled(one), f"{one.name}__place"))
        if not carried:
            return select.subquery("t")
        held = exp.select("*").from_(select.subquery("p"))
        for one in carried:
            window = exp.Window(
                this=exp.Max(this=column(one.name, "p")),
                partition_by=[*(column(name, "p") for name in rollup.key), column(f"{one.name}__place", "p")],
            )
            held = held.select(alias(window, f"{one.name}__held"))
        return held.subquery("t")

    def _filled(self, metric: LongMetric) -> exp.Expr:
        """How many levels of the key were known up to a row: rows of one number hold the level of the first."""
        keys = [column(name, "s") for name in self.rollup.key]
        return exp.Window(
            this=exp.Count(this=column(metric.name, "s")),
            partition_by=keys or [exp.Literal.number(1)],
            order=exp.Order(expressions=[exp.Ordered(this=column(self.rollup.slot, "s"))]),
        )

    def _value(self, metric: LongMetric, covers: Mapping[str, str]) -> exp.Expr:
        """A finished part: as it is stored, or added up as its kind adds up."""
        stored = column(f"{metric.name}__held" if metric.carry else metric.name, "t")
        cover = covers[metric.source]
        if metric.kind == "gauge":
            return stored if self._is_stored else self._level(stored, cover, metric.carry)
        value = self._added(metric, stored)
        if not self._spans_days:
            return value
        tests = [sql("bool_and(_w)", _w=column("whole__", cover))]
        for other in covers.values():
            if other != cover:
                same = [sql("_a = _b", _a=column(name, cover), _b=column(name, other)) for name in ("days__", "last__")]
                tests.append(sql("bool_and(_s)", _s=both(same)))
        return self.dialect.sql("CASE WHEN _ok THEN _v END", _ok=both(tests), _v=value)

    def _level(self, stored: exp.Expr, cover: str, carry: bool) -> exp.Expr:
        """The level at the end of the bucket's last covered day."""
        level: exp.Expr = stored
        if self._spans_days:
            how = "_d <= _last" if carry else "_d = _last"
            on = sql(how, _d=self._day(), _last=column("last__", cover))
            level = sql("case when _on then _x end", _on=on, _x=stored)
        return self.dialect.piece("last_value", _x=level, _at=column(self.rollup.slot, "t"))

    def _added(self, metric: LongMetric, stored: exp.Expr) -> exp.Expr:
        if metric.kind == "avg":
            total: exp.Expr = column(f"{metric.name}__sum", "t")
            count: exp.Expr = column(f"{metric.name}__count", "t")
            if not self._is_stored:
                total, count = self._total(metric, total), self._total(metric, count)
            return self.dialect.piece("divide", _x=total, _y=count)
        if self._is_stored:
            return stored
        if metric.kind in ("min", "max"):
            return sql(f"{metric.kind}(_x)", _x=stored)
        if metric.kind == "distinct":
            return self._united(metric, stored)
        return self._total(metric, stored)

    def _total(self, metric: LongMetric, stored: exp.Expr) -> exp.Expr:
        return sql("sum(_x)", _x=stored) if metric.is_float else self.dialect.total(stored, VALUE)

    def _united(self, metric: LongMetric, stored: exp.Expr) -> exp.Expr:
        """The size of united sets, where all of them are complete."""
        hashes = column(f"{metric.name}__hashes", "t")
        union = self.dialect.piece("united_sets", _x=hashes, _t=self.dialect.piece("set_present", _x=hashes))
        return self.dialect.sql(
            "CASE WHEN COUNT(*) FILTER (WHERE _n > 0) <= 1 THEN MAX(_n) WHEN SUM(_n) = SUM(_size) AND "
            "COALESCE(_first, 0) >= 0 THEN _whole END",
            _n=stored,
            _first=self.dialect.piece("set_first", _x=union),
            _size=self.dialect.piece("set_size", _x=hashes),
            _whole=self.dialect.piece("set_size", _x=union),
        )
