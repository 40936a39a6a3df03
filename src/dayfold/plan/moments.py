"""Moments: which UTC day a fact counts on, and how to select a range of days. Plan floor, pure.

A local time that a clock change repeats is the later of its two instants; one that a change skips is read with the
offset before the change, so 02:30 becomes 03:30 where clocks go from 02:00 to 03:00. Fractions of a second are cut
after the sixth digit, never rounded, so that no fact moves to the next day.

Weakness: engines bring their own tables of time zones, which differ about the future until all are updated.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlglot import exp

from dayfold.days import LIFELONG, ONE_DAY, Days
from dayfold.define.expr import ExpressionError
from dayfold.define.source import Moment
from dayfold.define.types import DATE, INT, TIMESTAMP, TIMESTAMPTZ, Kind
from dayfold.plan.dialect import GRAMMARS, ISO_WITH_ZONE, Dialect
from dayfold.plan.expressions import Compiler, Typed
from dayfold.plan.shape import life
from dayfold.plan.sql import Values, both, column, sql

_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class BoundMoment:
    """A moment column in its engine's SQL.

    ``instant`` orders facts within a day; ``day`` is the UTC day. ``raw`` is the bare column, by which a range
    is selected so that an index on it is of use; None where a computed day is all there is.
    """

    raw: exp.Expr | None
    raw_kind: str
    instant: exp.Expr
    day: exp.Expr
    dialect: Dialect

    @property
    def is_date(self) -> bool:
        """Whether it names a day and no time."""
        return self.raw_kind == "date"

    def within(self, days: Days, values: Values) -> exp.Expr:
        """True for facts of these days, both ends included."""
        if self.is_lifelong:
            return exp.true()
        first, after = days.first, _next(days.last)
        if self.raw is None:
            return self._day_between(days, values)
        if self.raw_kind in ("s", "ms"):
            factor = 86_400 * (1000 if self.raw_kind == "ms" else 1)
            low, high = ((day - _EPOCH).days * factor for day in (first, after))
            return self._between(values.bind(low, "bigint"), values.bind(high, "bigint"))
        if self.raw_kind == "local":
            # No zone is further than a day from UTC; the exact day is checked beside the indexable bounds.
            wide = self._between(
                values.bind(_clamped(first, -2), "timestamp"), values.bind(_clamped(after, 2), "timestamp")
            )
            return both([wide, self._day_between(days, values)])
        if self.raw_kind == "timestamptz":
            # Bound as text: a client library's own handling of zones stays out of it.
            return self._between(*(values.bind(f"{day} 00:00:00+00", "timestamptz") for day in (first, after)))
        return self._between(*(values.bind(day, self.raw_kind) for day in (first, after)))

    def _between(self, low: exp.Expr, high: exp.Expr) -> exp.Expr:
        return sql("_m >= _low and _m < _high", _m=self.raw, _low=low, _high=high)  # type: ignore[arg-type]

    def _day_between(self, days: Days, values: Values) -> exp.Expr:
        low, high = values.bind(days.first, "date"), values.bind(days.last, "date")
        return sql("_d >= _low and _d <= _high", _d=self.day, _low=low, _high=high)

    def since(self, instant: str, values: Values) -> exp.Expr:
        """True for facts from an instant on, given as ISO text in UTC."""
        start = values.bind(instant, "timestamptz")
        if self.raw is None or self.raw_kind not in ("timestamptz", "timestamp"):
            return sql("_m >= _s", _m=self.instant, _s=start)
        bound = start if self.raw_kind == "timestamptz" else self.dialect.piece("utc_start", _x=start)
        return sql("_m >= _s", _m=self.raw, _s=bound)

    @property
    def is_lifelong(self) -> bool:
        """Whether every fact counts, whenever it was."""
        return self.raw_kind == LIFELONG

    @property
    def ranges(self) -> bool:
        """Whether the facts of a day are a range of the bare column."""
        return self.raw is not None and self.raw_kind != "local"

    def on_day(self, day: exp.Expr) -> exp.Expr:
        """True for facts of the day that a date tree gives, as a range of the bare column where it is one."""
        if self.raw is None or self.raw_kind == "local":
            return sql("_d = _day", _d=self.day, _day=day)
        if self.raw_kind == "date":
            return sql("_m = _day", _m=self.raw, _day=day)
        after = exp.Paren(this=sql("_day + 1", _day=day))
        low, high = (self._start(one) for one in (day, after))
        return self._between(low, high)

    def before(self, day: exp.Expr) -> exp.Expr:
        """True for facts of earlier days than the one that a date tree gives."""
        first = sql("cast('0001-01-01' as date)")
        if not self.ranges:
            return sql("_d >= _first and _d < _day", _d=self.day, _first=first, _day=day)
        low, high = (first, day) if self.raw_kind == "date" else (self._start(first), self._start(day))
        return self._between(low, high)

    def after(self, day: exp.Expr) -> exp.Expr:
        """True for facts of later days than the one that a date tree gives."""
        if not self.ranges or self.raw_kind == "date":
            return sql("_d > _day", _d=self.day if not self.ranges else self.raw, _day=day)  # type: ignore[arg-type]
        return sql("_m >= _low", _m=self.raw, _low=self._start(exp.Paren(this=sql("_day + 1", _day=day))))  # type: ignore[arg-type]

    def _start(self, day: exp.Expr) -> exp.Expr:
        """The first value of the bare column on a day."""
        if self.raw_kind in ("s", "ms"):
            factor = 86_400 * (1000 if self.raw_kind == "ms" else 1)
            # A difference of dates is a number of days on every engine.
            epoch = sql("cast('1970-01-01' as date)")
            if self.dialect.name == "clickhouse":
                whole = self.dialect.piece("days_between", _x=day, _y=epoch)
            else:
                whole = self.dialect.cast(exp.Paren(this=sql("_d - _e", _d=day, _e=epoch)), INT)
            return sql("_n * _f", _n=whole, _f=exp.Literal.number(factor))
        start = self.dialect.cast(day, TIMESTAMP)
        return start if self.raw_kind == "timestamp" else self.dialect.piece("utc_start", _x=start)

    def first_day(self) -> exp.Expr:
        """The aggregate for the day of the first moment, infinities apart."""
        if self.raw is not None and self.raw_kind in ("timestamptz", "timestamp", "date"):
            return sql("min(_m)", _m=self.raw)
        return sql("min(_d)", _d=self.day)

    def bucket(self, minutes: int) -> exp.Expr:
        """The start of the stored bucket that holds a fact; a day for the grain of a day."""
        if minutes == 1440:
            return self.day
        return self.dialect.piece("floor_hour" if minutes == 60 else "floor_to", _x=self.instant)


def lifelong(dialect: Dialect) -> BoundMoment:
    """When facts of a profile count: all of them in one bucket, the whole life."""
    return BoundMoment(None, LIFELONG, exp.Null(), life(), dialect)


def bind_moment(moment: Moment, compiler: Compiler) -> BoundMoment:
    """A moment over a source's columns.

    Raises:
        ExpressionError: when the column is missing or cannot be a moment as it is written.
    """
    typed = compiler.compile(column(moment.column))
    dialect, raw, kind = compiler.dialect, typed.tree, typed.type.kind
    zone = exp.Literal.string(moment.tz or "UTC")
    if typed.type.is_number:
        return _epoch(moment, typed, dialect)
    if moment.unit in ("s", "ms") or (moment.unit == "iso" and kind is not Kind.TEXT):
        raise ExpressionError(
            f"the moment '{moment.column}' is {typed.type}; unit={moment.unit!r} does not apply to it."
        )
    if moment.tz and kind in (Kind.TIMESTAMPTZ, Kind.DATE):
        raise ExpressionError(
            f"the moment '{moment.column}' is {typed.type}; tz={moment.tz!r} does not apply to it.",
            "A timestamptz already names an instant, and a date is taken as the UTC day it says.",
        )
    if dialect.name == "clickhouse" and kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ) and isinstance(raw, exp.Cast):
        # Ranges are of the column as it stands.
        return _normal(raw.this, kind, moment, dialect)
    match kind:
        case Kind.TIMESTAMPTZ:
            return BoundMoment(raw, "timestamptz", raw, dialect.piece("utc_date", _x=raw), dialect)
        case Kind.DATE:
            return BoundMoment(raw, "date", dialect.cast(raw, DATE), raw, dialect)
        case Kind.TIMESTAMP if moment.tz in (None, "UTC"):
            return BoundMoment(raw, "timestamp", dialect.piece("as_utc", _x=raw), dialect.cast(raw, DATE), dialect)
        case Kind.TIMESTAMP:
            instant = dialect.piece("in_zone", _x=raw, _zone=zone)
            return BoundMoment(raw, "local", instant, dialect.piece("utc_date", _x=instant), dialect)
        case Kind.TEXT:
            instant = _from_text(raw, zone, dialect)
            return BoundMoment(None, "text", instant, dialect.piece("utc_date", _x=instant), dialect)
    raise ExpressionError(
        f"the moment '{moment.column}' is {typed.type}.",
        "A moment is a timestamptz, timestamp, date, ISO text, or a number with Moment(…, unit='s' or 'ms').",
    )


def _normal(raw: exp.Expr, kind: Kind, moment: Moment, dialect: Dialect) -> BoundMoment:
    """A moment of ClickHouse, whose days are otherwise those of the zone that its column names."""
    instant = dialect.cast(raw, TIMESTAMPTZ)
    if moment.tz in (None, "UTC") or kind is Kind.TIMESTAMPTZ:
        return BoundMoment(raw, "timestamptz", instant, dialect.cast(instant, DATE), dialect)
    instant = dialect.piece("in_zone", _x=instant, _zone=exp.Literal.string(moment.tz))
    return BoundMoment(raw, "local", instant, dialect.cast(instant, DATE), dialect)


def _epoch(moment: Moment, typed: Typed, dialect: Dialect) -> BoundMoment:
    if moment.unit not in ("s", "ms"):
        raise ExpressionError(
            f"the moment '{moment.column}' is a number.",
            f'Say what it counts: Moment("{moment.column}", unit="s") or unit="ms", since 1970-01-01 UTC.',
        )
    whole = typed.type.kind is Kind.INT
    scaleless = typed.type.kind is Kind.DECIMAL and typed.type.scale is None
    number = typed.tree if scaleless else dialect.cast(typed.tree, typed.type)
    factor = exp.Literal.number(1_000_000 if moment.unit == "s" else 1_000)
    micros = dialect.sql("_x * _f" if whole else "FLOOR(_x * _f)", _x=number, _f=factor)
    instant = dialect.piece("from_micros", _x=exp.Paren(this=micros) if whole else dialect.cast(micros, INT))
    return BoundMoment(typed.tree, moment.unit, instant, dialect.piece("utc_date", _x=instant), dialect)


def _from_text(raw: exp.Expr, zone: exp.Expr, dialect: Dialect) -> exp.Expr:
    """ISO text: with an offset it names an instant, without one a local time of the moment's zone."""
    text = dialect.piece("trimmed", _x=raw)
    precise = dialect.piece("to_microseconds", _x=text)
    return dialect.sql(
        "CASE WHEN _z THEN _zoned WHEN _l THEN _local WHEN NOT _x IS NULL THEN _bad END",
        _z=dialect.matches(text, ISO_WITH_ZONE),
        _l=dialect.matches(text, GRAMMARS[Kind.TIMESTAMP]),
        _x=raw,
        _zoned=dialect.cast(precise, TIMESTAMPTZ),
        _local=dialect.piece("in_zone", _x=dialect.cast(precise, TIMESTAMP), _zone=zone),
        _bad=dialect.cast(dialect.piece("fail", _x=raw), TIMESTAMPTZ),
    )


def _next(day: dt.date) -> dt.date:
    return day if day == dt.date.max else day + ONE_DAY


def _clamped(day: dt.date, days: int) -> dt.date:
    try:
        return day + dt.timedelta(days=days)
    except OverflowError:
        return dt.date.min if days < 0 else dt.date.max
