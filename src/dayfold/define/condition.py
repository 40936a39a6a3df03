"""Conditions over metrics, such as ``mrr < 1000`` or ``ad_spend > 1.5 * previous week``. Definitions floor, pure.

A condition is a part of the closed expression language (`dayfold.define.expr`): metrics, numbers, arithmetic, comparisons, AND, OR
and NOT. Beside that it knows ``previous PERIOD``: the rule's metric over the range before.

Invariant: a number that is missing makes a condition unknown, never true and never false, unless the rest decides it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from sqlglot import exp

from dayfold.define.expr import ExpressionError, columns, parse
from dayfold.names import listing, suggestion

#: How many days a period has: the days that end with the last covered one, and as many before them.
PERIODS = {"day": 1, "week": 7, "month": 30, "year": 365}
Number = int | float | Decimal
Numbers = Mapping[str, Number | None]

_PREVIOUS = re.compile(r"\bprevious\s+(?!(?:and|or|not|in|is|between)\b)(\w+)(?:\s+of\s+(\w+))?", re.IGNORECASE)
#: Begins the names that stand for the range before; a metric's own name never holds two '_'.
_BEFORE = "previous__"
_COMPARISONS: dict[type[exp.Expr], Callable[[Fraction, Fraction], bool]] = {
    exp.LT: operator.lt, exp.LTE: operator.le, exp.GT: operator.gt, exp.GTE: operator.ge, exp.EQ: operator.eq, exp.NEQ: operator.ne,
}  # fmt: skip
_ARITHMETIC: dict[type[exp.Expr], Callable[[Fraction, Fraction], Fraction]] = {
    exp.Add: operator.add, exp.Sub: operator.sub, exp.Mul: operator.mul, exp.Div: operator.truediv,
}  # fmt: skip
_LOGIC: tuple[type[exp.Expr], ...] = (exp.And, exp.Or, exp.Not, exp.Between, *_COMPARISONS)
_NUMERIC: tuple[type[exp.Expr], ...] = (exp.Neg, exp.Abs, exp.Column, exp.Literal, *_ARITHMETIC)
_EXAMPLES = 'Write a comparison such as "mrr < 1000" or "ad_spend > 1.5 * previous week".'


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition says of some numbers.

    Attributes:
        holds: None where a missing number leaves it open.
        value: The left side of a plain comparison, and ``bound``: its right side.
    """

    holds: bool | None
    value: Fraction | None = None
    bound: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked condition.

    Attributes:
        metrics: The metrics that it reads; ``earlier``: those that it reads over the range before as well.
        period: What ``previous`` was said of; None where it was not.
    """

    text: str
    tree: exp.Expr
    metrics: tuple[str, ...]
    earlier: tuple[str, ...]
    period: str | None

    @property
    def days(self) -> int:
        """How many days are looked at, and compared with as many before."""
        return PERIODS[self.period or "day"]

    def judge(self, now: Numbers, before: Numbers) -> Verdict:
        """What the condition says of the metrics over a range, and over the range before.

        >>> condition("spend > 1.5 * previous week").judge({"spend": 16}, {"spend": 10})
        Verdict(holds=True, value=Fraction(16, 1), bound=Fraction(15, 1))
        """
        numbers = {name: exact(value) for name, value in now.items()}
        numbers |= {_BEFORE + name: exact(value) for name, value in before.items()}
        tree = self.tree.unnest()
        if type(tree) in _COMPARISONS:
            return Verdict(_truth(tree, numbers), _number(tree.this, numbers), _number(tree.expression, numbers))
        return Verdict(_truth(tree, numbers))


def exact(value: object) -> Fraction | None:
    """A number without loss; None for one that is missing or not finite.

    Raises:
        ExpressionError: for what is no number.

    >>> exact(Decimal("0.10"))
    Fraction(1, 10)
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ExpressionError(f"a condition compares numbers, got {type(value).__name__}.")
    try:
        return Fraction(value)
    except (ValueError, OverflowError):
        return None


def condition(text: object) -> Condition:
    """A condition from its text.

    Raises:
        ExpressionError: saying what is no part of a condition.

    >>> condition("spend > 1.5 × previous week").metrics
    ('spend',)
    """
    if not isinstance(text, str) or not text.strip():
        raise ExpressionError(f"expected a condition as text, got {text!r}.", _EXAMPLES)
    periods: dict[str, None] = {}

    def replaced(found: re.Match[str]) -> str:
        period = found[1].lower()
        if period not in PERIODS:
            raise ExpressionError(
                f"'{text}' says 'previous {found[1]}'{suggestion(period, PERIODS)}.", f"Periods: {listing(PERIODS)}"
            )
        periods[period] = None
        return f"{_BEFORE}{found[2] or ''}"

    tree = parse(_PREVIOUS.sub(replaced, text.replace("×", "*")))
    if len(periods) > 1:
        raise ExpressionError(
            f"'{text}' compares with more than one period: {listing(periods)}.", "Write one rule for each."
        )
    _check(tree, text, is_truth=True)
    return _named(text, tree, next(iter(periods), None))


def _named(text: str, tree: exp.Expr, period: str | None) -> Condition:
    """The condition, where a bare ``previous week`` is that of its only metric."""
    names = sorted({one.name for one in columns(tree)})
    plain = [name for name in names if not name.startswith(_BEFORE)]
    if _BEFORE in names:
        if len(plain) != 1:
            raise ExpressionError(
                f"'{text}' does not say of which metric 'previous {period}' is meant.",
                f"Write: previous {period} of {plain[0] if plain else 'METRIC'}",
            )
        for one in columns(tree):
            if one.name == _BEFORE:
                one.replace(exp.column(_BEFORE + plain[0]))
    if not names:
        raise ExpressionError(f"'{text}' names no metric.", _EXAMPLES)
    earlier = sorted({one.name.removeprefix(_BEFORE) for one in columns(tree) if one.name.startswith(_BEFORE)})
    return Condition(text, tree, tuple(sorted({*plain, *earlier})), tuple(earlier), period)


def _check(tree: exp.Expr, text: str, *, is_truth: bool) -> None:
    """Refuse what is no part of a condition: a number where a comparison stands, or the other way round."""
    if isinstance(tree, exp.Paren):
        _check(tree.this, text, is_truth=is_truth)
        return
    allowed = _LOGIC if is_truth else _NUMERIC
    if not isinstance(tree, allowed) or (isinstance(tree, exp.Literal) and tree.is_string):
        expected = "a comparison" if is_truth else "a number"
        shown = tree.sql(dialect="postgres").replace(_BEFORE, "previous ")
        raise ExpressionError(f"'{text}': expected {expected}, got '{shown}'.", _EXAMPLES)
    inner = isinstance(tree, exp.And | exp.Or | exp.Not)
    parts = [tree.args.get(name) for name in ("this", "expression", "low", "high")]
    if not isinstance(tree, exp.Column | exp.Literal):
        for part in parts:
            if isinstance(part, exp.Expr):
                _check(part, text, is_truth=inner)


def _truth(tree: exp.Expr, numbers: Mapping[str, Fraction | None]) -> bool | None:
    tree = tree.unnest()
    if isinstance(tree, exp.Not):
        inner = _truth(tree.this, numbers)
        return None if inner is None else not inner
    if isinstance(tree, exp.And | exp.Or):
        sides = (_truth(tree.this, numbers), _truth(tree.expression, numbers))
        decides = isinstance(tree, exp.Or)
        if decides in sides:
            return decides
        return None if None in sides else not decides
    left = _number(tree.this, numbers)
    if isinstance(tree, exp.Between):
        low, high = (_number(tree.args[name], numbers) for name in ("low", "high"))
        return None if left is None or low is None or high is None else low <= left <= high
    right = _number(tree.expression, numbers)
    return None if left is None or right is None else _COMPARISONS[type(tree)](left, right)


def _number(tree: exp.Expr, numbers: Mapping[str, Fraction | None]) -> Fraction | None:
    tree = tree.unnest()
    if isinstance(tree, exp.Column):
        return numbers.get(tree.name)
    if isinstance(tree, exp.Literal):
        return Fraction(tree.name)
    left = _number(tree.this, numbers)
    if isinstance(tree, exp.Neg | exp.Abs):
        return None if left is None else -left if isinstance(tree, exp.Neg) else abs(left)
    right = _number(tree.expression, numbers)
    if left is None or right is None or (isinstance(tree, exp.Div) and right == 0):
        return None
    return _ARITHMETIC[type(tree)](left, right)


def shown(value: Fraction) -> int | Decimal:
    """A number for a message: whole, or with at most 6 digits after the point.

    >>> shown(Fraction(15)), shown(Fraction(1, 3)), shown(Fraction(1, 4))
    (15, Decimal('0.333333'), Decimal('0.25'))
    """
    if value.denominator == 1:
        return value.numerator
    rounded = Fraction(round(value * 10**6), 10**6)
    digits = Decimal(rounded.numerator) / Decimal(rounded.denominator)
    return digits or Decimal(value.numerator) / Decimal(value.denominator)
