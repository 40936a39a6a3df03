"""Steps between days and moments: intervals, numbers of days, the first day of a period. Plan floor, pure.

Invariant: a day is a day of UTC and has 24 hours, whatever the time zone of the session that runs the SQL.
"""

from __future__ import annotations

import datetime as dt

from sqlglot import exp

from dayfold.define.expr import MOST_DAYS, ExpressionError, interval
from dayfold.define.types import DATE, INT, TIMESTAMP, TIMESTAMPTZ, Kind
from dayfold.plan.casts import Typed, cast_value, shown
from dayfold.plan.dialect import Dialect

#: What ``date_trunc`` goes back to the start of; a week starts on Monday.
PERIODS = ("day", "week", "month", "quarter", "year")
#: Engines add a day by the clocks of the session's time zone, which may change, and an hour as it is.
_IN_HOURS = {"weeks": 168, "days": 24}


def start_of(day: dt.date, dialect: Dialect) -> Typed:
    """00:00 UTC of a day."""
    return Typed(dialect.cast(exp.Literal.string(f"{day} 00:00:00+00:00"), TIMESTAMPTZ), TIMESTAMPTZ)


def moved(value: Typed, node: exp.Binary, length: exp.Interval, dialect: Dialect) -> Typed:
    """A moment that an interval later or earlier; of a date, counted from its start and without a time zone."""
    if value.type == DATE:
        value = cast_value(value, TIMESTAMP, dialect, shown(node))
    number, unit = interval(length)
    if unit in _IN_HOURS:
        number, unit = number * _IN_HOURS[unit], "hours"
    step = exp.Interval(this=exp.Literal.string(str(number)), unit=exp.Var(this=unit.upper()))
    return Typed(exp.Paren(this=type(node)(this=value.tree, expression=step)), value.type)


def day_arithmetic(node: exp.Add | exp.Sub, left: Typed, right: Typed, dialect: Dialect) -> Typed:
    """The date so many days away, or the number of days from one date to another.

    Raises:
        ExpressionError: for anything else of which one side is a date or a moment.
    """
    minus = isinstance(node, exp.Sub)
    if left.type.is_temporal and right.type.is_temporal:
        if left.type == DATE == right.type and minus:
            return Typed(exp.Paren(this=dialect.piece("days_between", _x=left.tree, _y=right.tree)), INT)
        raise _no_length(node)
    if right.type.is_temporal and minus:
        raise ExpressionError(f"'{shown(node)}' subtracts {right.type} from {left.type}, which has no meaning.")
    start, days = (right, left) if right.type.is_temporal else (left, right)
    sides = (node.right, node.left) if right.type.is_temporal else (node.left, node.right)
    if start.type != DATE:
        raise _wants_interval(node, start, days, *sides)
    if days.type.kind not in (Kind.INT, Kind.NULL):
        raise ExpressionError(
            f"expected a whole number of days beside '{shown(sides[0])}', but '{shown(sides[1])}' is {days.type}.",
            "A written date is cast: '2026-01-31'::date." if days.type.kind is Kind.TEXT else "",
        )
    number = _as_days(days, sides[1], dialect)
    tree = type(node)(this=start.tree, expression=dialect.sql("CAST(_n AS INTEGER)", _n=number))
    return Typed(exp.Paren(this=tree), DATE)


def truncated(value: Typed, period: str, dialect: Dialect) -> Typed:
    """The first day of the period that a date lies in."""
    if period == "day":
        return value
    start = dialect.sql(f"DATE_TRUNC('{period}', _x)", _x=dialect.cast(value.tree, TIMESTAMP))
    return Typed(dialect.cast(start, DATE), DATE)


def _as_days(days: Typed, node: exp.Expr, dialect: Dialect) -> exp.Expr:
    """A number of days with which no engine leaves its calendar; a greater one is an error, as elsewhere."""
    if isinstance(node, exp.Literal):
        if int(node.name) > MOST_DAYS:
            raise ExpressionError(f"'{node.name}' is more than {MOST_DAYS:,} days.")
        return days.tree
    return dialect.sql(
        f"CASE WHEN _n BETWEEN -{MOST_DAYS} AND {MOST_DAYS} THEN _n WHEN NOT _n IS NULL THEN _bad END",
        _n=dialect.cast(days.tree, INT),
        _bad=dialect.cast(dialect.piece("fail", _x=days.tree), INT),
    )


def _no_length(node: exp.Add | exp.Sub) -> ExpressionError:
    left, right = shown(node.left), shown(node.right)
    if isinstance(node, exp.Sub):
        return ExpressionError(
            f"'{shown(node)}' is a length of time, which expressions do not have.",
            f"For the number of days write {_as_date(node.left)} - {_as_date(node.right)}.",
        )
    return ExpressionError(f"'{left}' and '{right}' are both a date or a moment, and are not added.")


def _as_date(node: exp.Expr) -> str:
    return f"cast({shown(node)} as date)"


def _wants_interval(
    node: exp.Add | exp.Sub, start: Typed, days: Typed, moment: exp.Expr, number: exp.Expr
) -> ExpressionError:
    sign = "-" if isinstance(node, exp.Sub) else "+"
    return ExpressionError(
        f"expected an interval beside '{shown(moment)}', which is {start.type}, but '{shown(number)}' is {days.type}.",
        f"Write {shown(moment)} {sign} interval '1 day', or {_as_date(moment)} {sign} 1 for a date.",
    )
