"""Types of the expression language: which one holds two, and how a value changes its own. Plan floor, pure.

Invariant: for equal input a cast gives an equal value on every engine, or an error on every engine.

Weakness: DuckDB reads a fraction in JSON in double precision, so digits past the fifteenth may be lost there.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from sqlglot import exp

from dayfold.define.expr import CASTS, ExpressionError
from dayfold.define.types import (
    BOOL,
    DATE,
    FLOAT,
    INT,
    MAX_DIGITS,
    TEXT,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    Kind,
    Type,
    decimal,
)  # fmt: skip
from dayfold.names import listing
from dayfold.plan.dialect import GRAMMARS, Dialect

_CAST_TYPES = {
    "TEXT": TEXT, "VARCHAR": TEXT, "INT": INT, "BIGINT": INT, "DOUBLE": FLOAT, "BOOLEAN": BOOL, "DATE": DATE,
    "TIMESTAMP": TIMESTAMP, "TIMESTAMPTZ": TIMESTAMPTZ, "UUID": UUID,
}  # fmt: skip
_PLAIN_CASTS = frozenset({
    (Kind.INT, Kind.TEXT), (Kind.INT, Kind.DECIMAL), (Kind.INT, Kind.FLOAT), (Kind.DECIMAL, Kind.INT),
    (Kind.DECIMAL, Kind.DECIMAL), (Kind.DECIMAL, Kind.TEXT), (Kind.BOOL, Kind.TEXT), (Kind.UUID, Kind.TEXT),
    (Kind.DATE, Kind.TEXT), (Kind.DATE, Kind.TIMESTAMP), (Kind.TIMESTAMP, Kind.DATE),
})  # fmt: skip
#: The most digits after the point of a cast.
_MAX_SCALE = 30
#: Decimals of so many digits become doubles by one division of two exact numbers.
_EXACT_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Typed:
    """A compiled tree and its type."""

    tree: exp.Expr
    type: Type


def shown(node: exp.Expr) -> str:
    """An expression as its writer spells it, for messages."""
    return node.sql("postgres")


def cast_goal(node: exp.Cast) -> Type:
    """The type that a cast names.

    Raises:
        ExpressionError: when the language has no such cast.
    """
    target = node.to
    name = target.this.name
    if name == "DECIMAL":
        numbers = [int(part.name) for part in target.expressions if part.name.isdigit()]
        if len(numbers) == 2 and 1 <= numbers[0] <= MAX_DIGITS and numbers[1] <= min(numbers[0], _MAX_SCALE):
            return decimal(*numbers)
        raise ExpressionError(
            f"'{shown(node)}': say numeric's digits, such as numeric(18,2): at most {MAX_DIGITS}, "
            f"and {_MAX_SCALE} after the point."
        )  # fmt: skip
    if name not in _CAST_TYPES or target.expressions:
        raise ExpressionError(f"'{shown(node)}': casts go to {listing(CASTS)}.")
    return _CAST_TYPES[name]


def cast_value(value: Typed, goal: Type, dialect: Dialect, place: str) -> Typed:
    """A value in another type.

    Raises:
        ExpressionError: when the language has no such cast; ``place`` is the text it stands in.
    """
    have, want = value.type.kind, goal.kind
    if have is want and (have is not Kind.DECIMAL or goal == value.type):
        return value
    return Typed(_cast_tree(value, goal, dialect, place), goal)


def _cast_tree(value: Typed, goal: Type, dialect: Dialect, place: str) -> exp.Expr:
    tree, have, want = value.tree, value.type.kind, goal.kind
    if have is not Kind.TEXT and want is Kind.TEXT and (have, want) in _PLAIN_CASTS:
        return dialect.text(tree, value.type)
    if have is not Kind.NULL and value.type.is_number and want is Kind.DECIMAL and _holds(goal, value.type):
        return dialect.exactly(tree, goal)
    if (have, want) == (Kind.DECIMAL, Kind.INT):
        # Rounded first: ClickHouse cuts digits off.
        whole = decimal(MAX_DIGITS, 0)
        return dialect.cast(dialect.cast(tree, whole) if dialect.name == "clickhouse" else tree, INT)
    if have is Kind.NULL or (have, want) in _PLAIN_CASTS:
        return dialect.cast(tree, goal)
    if have is Kind.TEXT and want is Kind.BOOL:
        return dialect.piece("bool_from_text", _x=dialect.piece("lower_ascii", _x=dialect.piece("trimmed", _x=tree)))
    if have is Kind.TEXT and want in GRAMMARS:
        return from_text(tree, goal, dialect)
    if have is Kind.BOOL and want is Kind.INT:
        return dialect.sql("CASE WHEN _x THEN 1 WHEN NOT _x THEN 0 END", _x=tree)
    if have is Kind.FLOAT and want is Kind.DECIMAL:
        return _from_float(tree, goal, dialect)
    if have is Kind.FLOAT and want is Kind.INT:
        return dialect.cast(_cast_tree(value, decimal(MAX_DIGITS, 0), dialect, place), INT)
    if have is Kind.DECIMAL and want is Kind.FLOAT:
        exact = value.type.precision is not None and value.type.precision <= _EXACT_DIGITS
        return dialect.cast(tree if exact else dialect.piece("exact_decimal", _x=tree), FLOAT)
    if have is Kind.TIMESTAMPTZ and want in (Kind.DATE, Kind.TIMESTAMP):
        return dialect.cast(dialect.piece("utc_start", _x=tree), goal)
    if want is Kind.TIMESTAMPTZ and have in (Kind.DATE, Kind.TIMESTAMP):
        return dialect.piece("as_utc", _x=dialect.cast(tree, TIMESTAMP))
    raise ExpressionError(
        f"'{place}': the language has no cast from {value.type} to {goal}, because engines disagree about it."
    )


def _from_float(tree: exp.Expr, goal: Type, dialect: Dialect) -> exp.Expr:
    """The decimal that a float shows, rounded half away from zero; engines round its binary value differently.

    DuckDB takes every such text for a decimal of 38 digits, while narrower ones take or refuse some wrongly.
    """
    wide = decimal(MAX_DIGITS, goal.scale)
    exact = dialect.sql(
        "CASE WHEN ABS(_x) < _limit THEN _exact WHEN NOT _x IS NULL THEN _bad END",
        _x=tree,
        _limit=dialect.cast(exp.Literal.string(f"1e{MAX_DIGITS - (goal.scale or 0)}"), FLOAT),
        _exact=dialect.cast(dialect.piece("float_text", _x=tree), wide),
        _bad=dialect.cast(dialect.piece("fail", _x=tree), wide),
    )
    return exact if goal == wide else dialect.cast(exact, goal)


def from_text(tree: exp.Expr, goal: Type, dialect: Dialect) -> exp.Expr:
    """Text as a value: what fits the grammar of its type, white space around it apart; else an error."""
    text = dialect.piece("trimmed", _x=tree)
    whole = dialect.piece("to_microseconds", _x=text) if goal.is_temporal else text
    return dialect.sql(
        "CASE WHEN _t THEN _a WHEN NOT _x IS NULL THEN _b END",
        _t=dialect.matches(text, dialect.grammar(goal)),
        _a=dialect.read(whole, goal),
        _b=dialect.cast(dialect.piece("fail", _x=tree), goal),
        _x=tree,
    )


def meant(node: exp.Expr, goal: Type, dialect: Dialect) -> Typed:
    """What a text beside a date, a moment or a UUID says: the same kind, or a moment beside a date."""
    later = (
        goal.kind is Kind.DATE and re.fullmatch(f"({GRAMMARS[Kind.TIMESTAMPTZ]})", node.name) and len(node.name) > 10
    )
    return literal_cast(node, TIMESTAMPTZ if later else goal, dialect)


def literal_cast(node: exp.Expr, goal: Type, dialect: Dialect) -> Typed:
    """A written value in its type, checked here; a moment with an offset beside a timestamp is taken to UTC.

    Raises:
        ExpressionError: when the text does not have the form of the type.
    """
    text = node.name.strip()
    grammar = Kind.TIMESTAMPTZ if goal.kind is Kind.TIMESTAMP else goal.kind
    fits = re.fullmatch(GRAMMARS[grammar], text)
    if goal.is_temporal:
        try:
            moment = dt.datetime.fromisoformat(text) if fits else None
            if moment is not None and moment.tzinfo is not None:
                moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            moment = None
        if moment is None:
            raise ExpressionError(f"'{text}' cannot be read as {goal}; expected ISO 8601, such as 2026-01-31.")
        text = f"{moment.date() if goal == DATE else moment}{'+00:00' if goal == TIMESTAMPTZ else ''}"
    elif not fits:
        raise ExpressionError(f"'{text}' cannot be read as {goal}.")
    return Typed(dialect.cast(exp.Literal.string(text), goal), goal)


def comparable(one: Type, other: Type) -> bool:
    """Whether values of two types may stand beside ``=`` or ``<``."""
    if Kind.NULL in (one.kind, other.kind):
        return True
    if Kind.JSON in (one.kind, other.kind) or Kind.OTHER in (one.kind, other.kind):
        return False
    return one.kind == other.kind or (one.is_number and other.is_number) or (one.is_temporal and other.is_temporal)


def joined(one: Type, other: Type) -> Type | None:
    """The type that holds values of both, or None."""
    if one.kind is Kind.OTHER or other.kind is Kind.OTHER:
        return None
    if one.kind is Kind.NULL or one == other:
        return other
    if other.kind is Kind.NULL:
        return one
    if one.is_number and other.is_number:
        if Kind.FLOAT in (one.kind, other.kind):
            return FLOAT
        if _scaleless(one) or _scaleless(other):
            return decimal(None, None)
        (p1, s1), (p2, s2) = _digits(one), _digits(other)
        scale = max(s1, s2)
        return decimal(min(MAX_DIGITS, max(p1 - s1, p2 - s2) + scale), scale)
    if one.is_temporal and other.is_temporal:
        return TIMESTAMPTZ if Kind.TIMESTAMPTZ in (one.kind, other.kind) else TIMESTAMP
    return one if one.kind == other.kind else None


def arithmetic_type(operator: type[exp.Expr], one: Type, other: Type, place: str) -> Type:
    """The type of a sum, difference or product: wide enough for every result, up to 38 digits.

    Raises:
        ExpressionError: when a product has too many digits after the point.
    """
    if Kind.FLOAT in (one.kind, other.kind):
        return FLOAT
    if one.kind is Kind.INT and other.kind is Kind.INT:
        return INT
    if _scaleless(one) or _scaleless(other):
        return decimal(None, None)
    (p1, s1), (p2, s2) = _digits(one), _digits(other)
    if operator is exp.Mul:
        precision, scale = p1 + p2, s1 + s2
    else:
        scale = max(s1, s2)
        precision = max(p1 - s1, p2 - s2) + scale + 1
    if scale > MAX_DIGITS - 10:
        raise ExpressionError(f"'{place}' has {scale} digits after the point; cast its parts to fewer.")
    return decimal(min(MAX_DIGITS, precision), scale)


def _holds(goal: Type, have: Type) -> bool:
    """Whether a decimal type holds every exact number of another type."""
    if have.kind is Kind.FLOAT or _scaleless(have) or _scaleless(goal):
        return False
    (p1, s1), (p2, s2) = _digits(goal), _digits(have)
    return s1 >= s2 and p1 - s1 >= p2 - s2


def _scaleless(type_: Type) -> bool:
    """PostgreSQL's plain ``numeric``, which keeps the digits that each value has."""
    return type_.kind is Kind.DECIMAL and type_.scale is None


def _digits(type_: Type) -> tuple[int, int]:
    """Precision and scale of an exact number."""
    return (19, 0) if type_.kind is Kind.INT else (type_.precision or MAX_DIGITS, type_.scale or 0)
