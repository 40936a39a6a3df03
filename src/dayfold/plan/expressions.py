"""Compiles the closed expression language, typed, into an engine's SQL. Plan floor, pure.

Each rule gives the same value on every engine: integers are 64-bit, ``/`` is double precision and null on a
zero divisor, text compares by bytes, letters fold A to Z only, an absent JSON path is null, a cast that
cannot be made is an error.

Weakness: a result beyond the range of double precision is infinity on DuckDB and an error on PostgreSQL.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlglot import exp

from dayfold.define.expr import ExpressionError, Now
from dayfold.define.types import (
    BOOL,
    DATE,
    FLOAT,
    INT,
    JSON,
    MAX_DIGITS,
    NULL,
    TEXT,
    TIMESTAMP,
    TIMESTAMPTZ,
    Kind,
    Type,
    decimal,
)  # fmt: skip
from dayfold.names import listing, suggestion
from dayfold.plan.calendar import PERIODS, day_arithmetic, moved, start_of, truncated
from dayfold.plan.casts import (
    Typed,
    arithmetic_type,
    cast_goal,
    cast_value,
    comparable,
    joined,
    literal_cast,
    meant,
    shown,
)  # fmt: skip
from dayfold.plan.dialect import Dialect

__all__ = ["Compiler", "Typed"]

_FIELDS = {"year": "YEAR", "quarter": "QUARTER", "month": "MONTH", "day": "DAY", "hour": "HOUR",
           "minute": "MINUTE", "dow": "DOW", "isodow": "ISODOW"}  # fmt: skip
#: The field that is no part of a clock's reading: seconds since 1970, with all their digits.
_EPOCH, _SECONDS = "epoch", decimal(20, 6)
_NUMBERS = (Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.NULL)
_TEXTS = (Kind.TEXT, Kind.NULL)
_TIMES = (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)
#: The pieces that put kinds of values into the order that they have everywhere.
_ORDERS = {Kind.TEXT: "bytewise", Kind.UUID: "uuid_order"}
_NORMAL_IN_CLICKHOUSE = (Kind.TEXT, Kind.FLOAT, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)
_OPERATORS = (exp.Add, exp.Sub, exp.Mul, exp.Mod, exp.Neg)
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class Compiler:
    """Compiles trees of the language over named columns of one source, for one engine.

    ``now`` is the day whose start ``now()`` means; without one there is no ``now()``.

    Raises:
        ExpressionError: for an unknown column or operands that do not fit.
    """

    def __init__(self, scope: Mapping[str, Typed], dialect: Dialect, owner: str, now: dt.date | None = None) -> None:
        self.scope = scope
        self.dialect = dialect
        self.owner = owner
        self.now = now

    def compile(self, node: exp.Expr) -> Typed:
        """The node in the engine's words."""
        rule = _RULES.get(type(node))
        if rule is None:
            raise ExpressionError(f"'{shown(node)}' is not part of the expression language.")
        return rule(self, node)

    def condition(self, node: exp.Expr) -> exp.Expr:
        """The node, which must be true or false."""
        return self._want(node, (Kind.BOOL, Kind.NULL), "a condition").tree

    def cast_to(self, value: Typed, goal: Type, node: exp.Expr) -> Typed:
        """A value in another type; an error where the language has no such cast."""
        return cast_value(value, goal, self.dialect, shown(node))

    def _want(self, node: exp.Expr, kinds: tuple[Kind, ...], what: str) -> Typed:
        return _fitting(self.compile(node), node, kinds, what)

    def _text(self, node: exp.Expr) -> exp.Expr:
        return self._want(node, _TEXTS, "text").tree

    # Leaves

    def column(self, node: exp.Column) -> Typed:
        found = self.scope.get(node.name) or self._folded(node)
        if found is None:
            raise ExpressionError(
                f"{self.owner} has no column '{node.name}'{suggestion(node.name, self.scope)}.",
                f"Columns: {listing(self.scope)}",
            )
        kinds = _NORMAL_IN_CLICKHOUSE if self.dialect.name == "clickhouse" else (Kind.TEXT, Kind.FLOAT)
        if found.type.kind in kinds and isinstance(found.tree, exp.Column):
            # An enum orders by its definition and knows no LIKE, and engines disagree about real = 0.1. Other text
            # and doubles pass through this cast at no cost. A moment of ClickHouse's has days of the zone of its column.
            return Typed(self.dialect.cast(found.tree, found.type), found.type)
        return found

    def _folded(self, node: exp.Column) -> Typed | None:
        """The one column that an unquoted name means whatever its case."""
        known = [name for name in self.scope if name.lower() == node.name.lower()]
        return self.scope[known[0]] if len(known) == 1 and not node.this.quoted else None

    def literal(self, node: exp.Literal) -> Typed:
        if node.is_string:
            if "\x00" in node.name:
                raise ExpressionError("a text holds a NUL character, which no database column can.")
            return Typed(node.copy(), TEXT)
        text = node.name
        if re.fullmatch(r"\d+", text) and int(text) < 2**63:
            return Typed(node.copy(), INT)
        if re.fullmatch(r"\d*\.\d*|\d+", text):
            whole, _, part = text.partition(".")
            digits = max(1, len(whole.lstrip("0")) + len(part))
            if digits > MAX_DIGITS:
                raise ExpressionError(f"{text} has {digits} digits; a number has at most {MAX_DIGITS}.")
            type_ = decimal(digits, len(part))
            return Typed(self.dialect.cast(exp.Literal.string(text), type_), type_)
        if math.isinf(float(text)) or (float(text) == 0 and re.match(r"[0.]*[1-9]", text)):
            raise ExpressionError(f"{text} is beyond the range of double precision.")
        return Typed(self.dialect.cast(exp.Literal.string(text), FLOAT), FLOAT)

    def paren(self, node: exp.Paren) -> Typed:
        inner = self.compile(node.this)
        return Typed(exp.Paren(this=inner.tree), inner.type)

    # Arithmetic

    def _number(self, node: exp.Expr) -> Typed:
        return self._wide(self.compile(node), node)

    def _wide(self, typed: Typed, node: exp.Expr) -> Typed:
        """An operand of arithmetic as wide as its type says: an integer in 64 bits."""
        _fitting(typed, node, _NUMBERS, "a number")
        type_ = INT if typed.type.kind is Kind.NULL else typed.type
        if isinstance(node.unnest(), _OPERATORS) or (type_.kind is Kind.DECIMAL and type_.scale is None):
            return Typed(typed.tree, type_)
        return Typed(self._widened(typed.tree, type_), type_)

    def _widened(self, tree: exp.Expr, type_: Type) -> exp.Expr:
        already = isinstance(tree, exp.Cast) and tree.to == self.dialect.data_type(type_)
        return tree if already else self.dialect.exactly(tree, type_)

    def arithmetic(self, node: exp.Binary) -> Typed:
        if isinstance(node.right, exp.Interval):
            return moved(self._want(node.left, _TIMES, "a date or a moment"), node, node.right, self.dialect)
        left, right = self.compile(node.left), self.compile(node.right)
        if isinstance(node, exp.Add | exp.Sub) and (left.type.is_temporal or right.type.is_temporal):
            return day_arithmetic(node, left, right, self.dialect)
        left, right = self._wide(left, node.left), self._wide(right, node.right)
        type_ = arithmetic_type(type(node), left.type, right.type, shown(node))
        if type_.kind is Kind.FLOAT:
            left, right = self.cast_to(left, FLOAT, node.left), self.cast_to(right, FLOAT, node.right)
        sides = (self.dialect.spacious(one.tree, one.type) for one in (left, right))
        tree: exp.Expr = exp.Paren(this=type(node)(this=next(sides), expression=next(sides)))
        if self.dialect.name == "clickhouse" and type_.kind is not Kind.FLOAT:
            checked = type_.kind is Kind.INT or type_.precision == MAX_DIGITS
            tree = self.dialect.cast(tree, type_) if checked else self.dialect.exactly(tree, type_)
        elif type_.precision == MAX_DIGITS:
            # PostgreSQL has more digits than others; a result beyond these is an error on every engine.
            tree = self.dialect.cast(tree, type_)
        return Typed(tree, type_)

    def divide(self, node: exp.Div) -> Typed:
        operands = {
            name: self._want(side, _NUMBERS, "a number") for name, side in (("_x", node.left), ("_y", node.right))
        }
        floats = {name: self.cast_to(one, FLOAT, node).tree for name, one in operands.items()}
        return Typed(exp.Paren(this=self.dialect.sql("_x / NULLIF(_y, 0)", **floats)), FLOAT)

    def modulo(self, node: exp.Mod) -> Typed:
        left, right = self._number(node.left), self._number(node.right)
        type_ = joined(left.type, right.type)
        if type_ is None or type_.kind is Kind.FLOAT:
            raise ExpressionError(f"'{shown(node)}' is the remainder of a float; cast it to numeric(p,s) first.")
        if type_.kind is Kind.INT:
            return Typed(exp.Paren(this=self.dialect.piece("modulo", _x=left.tree, _y=right.tree)), INT)
        divisor = exp.Nullif(this=self._widened(right.tree, type_), expression=exp.Literal.number(0))
        return Typed(exp.Paren(this=exp.Mod(this=self._widened(left.tree, type_), expression=divisor)), type_)

    def negate(self, node: exp.Neg) -> Typed:
        typed = self._number(node.this)
        operand = self.dialect.spacious(typed.tree, typed.type)
        tree: exp.Expr = exp.Paren(this=exp.Neg(this=exp.Paren(this=operand)))
        if typed.type.kind is Kind.DECIMAL:
            tree = self.dialect.exactly(tree, typed.type) if self.dialect.name == "clickhouse" else tree
        # DuckDB widens the negation of a constant, so that it would not overflow.
        return Typed(self.dialect.cast(tree, INT) if typed.type.kind is Kind.INT else tree, typed.type)

    # Conditions

    def compare(self, node: exp.Binary) -> Typed:
        left, right = self._alike(node.left, node.right)
        ordered = isinstance(node, exp.LT | exp.LTE | exp.GT | exp.GTE)
        return Typed(type(node)(this=self._bytes(left, ordered), expression=self._bytes(right, ordered)), BOOL)

    def between(self, node: exp.Between) -> Typed:
        value, low, high = self._alike(node.this, node.args["low"], node.args["high"])
        # PostgreSQL's grammar has no AT TIME ZONE right after BETWEEN.
        least = exp.Paren(this=low.tree) if isinstance(low.tree, exp.AtTimeZone) else low.tree
        if value.type.kind is Kind.UUID:
            least, high = self._bytes(low, True), Typed(self._bytes(high, True), high.type)
        return Typed(exp.Paren(this=exp.Between(this=self._bytes(value, True), low=least, high=high.tree)), BOOL)

    def member(self, node: exp.In) -> Typed:
        value, *options = self._alike(node.this, *node.expressions)
        return Typed(exp.In(this=value.tree, expressions=[option.tree for option in options]), BOOL)

    def _bytes(self, typed: Typed, ordered: bool) -> exp.Expr:
        order = _ORDERS.get(typed.type.kind) if ordered else None
        return self.dialect.piece(order, _x=typed.tree) if order else typed.tree

    def _alike(self, *nodes: exp.Expr) -> list[Typed]:
        """Operands brought to types that every engine compares alike, or an error that names two that do not fit."""
        typed = [self.compile(node) for node in nodes]
        known = [t.type for t, node in zip(typed, nodes, strict=True) if not _is_text(node) and t.type != NULL]
        goal = known[0] if known else TEXT
        if goal.is_temporal or goal.kind is Kind.UUID:
            typed = [
                meant(node, goal, self.dialect) if _is_text(node) else t for node, t in zip(nodes, typed, strict=True)
            ]
        if goal.kind in (Kind.JSON, Kind.OTHER):
            raise ExpressionError(
                f"'{shown(nodes[0])}' is {goal}, which is not compared; take a value out of it first."
            )
        for one, node in zip(typed, nodes, strict=True):
            if not comparable(one.type, goal):
                texts = f"'{shown(nodes[0])}' and '{shown(node)}'"
                raise ExpressionError(f"{texts} cannot be compared: one is {goal}, the other {one.type}.")
        kinds = {one.type.kind for one in typed} - {Kind.NULL}
        if Kind.FLOAT in kinds:
            typed = [self.cast_to(t, FLOAT, node) for t, node in zip(typed, nodes, strict=True)]
        elif self.dialect.name == "clickhouse" and kinds <= {Kind.INT, Kind.DECIMAL} and Kind.DECIMAL in kinds:
            # Decimals of different scales are brought to one, for which their own type may have no room.
            scale = max(one.type.scale or 0 for one in typed)
            wide = decimal(MAX_DIGITS, scale)
            typed = [
                t if t.type.kind is Kind.NULL else Typed(self.dialect.spacious(t.tree, wide), t.type) for t in typed
            ]
        elif goal.is_temporal and len(kinds) > 1:
            typed = [self.cast_to(t, TIMESTAMPTZ, node) for t, node in zip(typed, nodes, strict=True)]
        return typed

    def logic(self, node: exp.Connector) -> Typed:
        sides = self.condition(node.left), self.condition(node.right)
        return Typed(exp.Paren(this=type(node)(this=sides[0], expression=sides[1])), BOOL)

    def negation(self, node: exp.Not) -> Typed:
        return Typed(exp.Not(this=exp.Paren(this=self.condition(node.this))), BOOL)

    def escaped_like(self, node: exp.Escape) -> Typed:
        if not isinstance(node.this, exp.Like | exp.ILike):
            raise ExpressionError(f"ESCAPE belongs to LIKE or ILIKE; got '{shown(node)}'.")
        mark = node.expression
        if not _is_text(mark) or not re.fullmatch(r"[!-/:-@\[-^`{-~]", mark.name) or mark.name == "%":
            raise ExpressionError(f"'{shown(node)}': ESCAPE takes one ASCII sign that is no letter, digit, % or _.")
        return self._like(node.this, mark.name)

    def like(self, node: exp.Like | exp.ILike) -> Typed:
        return self._like(node, "\\")

    def _like(self, node: exp.Like | exp.ILike, mark: str) -> Typed:
        value, pattern = self._text(node.this), node.expression
        if isinstance(pattern, exp.Null):
            return Typed(self.dialect.cast(pattern, BOOL), BOOL)
        # With a pattern known here, no engine meets one that it reads in its own way.
        if not _is_text(pattern):
            raise ExpressionError(f"'{shown(node)}': the pattern of LIKE is written out, such as 'video%'.")
        if pattern.name.replace(mark * 2, "").endswith(mark):
            raise ExpressionError(f"'{shown(node)}': the pattern ends with its escape sign; write it twice.")
        text = self.compile(pattern).tree
        if isinstance(node, exp.ILike):
            value = self.dialect.piece("lower_ascii", _x=value)
            text = exp.Literal.string(pattern.name.translate(_ASCII_LOWER))
        # PostgreSQL's default escape is a backslash and DuckDB has none, so it is always said.
        test = exp.Escape(this=exp.Like(this=value, expression=text), expression=exp.Literal.string(mark))
        return Typed(exp.Paren(this=test), BOOL)

    def is_(self, node: exp.Is) -> Typed:
        absent = isinstance(node.expression, exp.Null)
        value = self.compile(node.this).tree if absent else self.condition(node.this)
        return Typed(exp.Paren(this=exp.Is(this=value, expression=node.expression.copy())), BOOL)

    # Choices

    def case(self, node: exp.Case) -> Typed:
        subject, branches = node.this, node.args["ifs"]
        tests = [
            exp.EQ(this=subject.copy(), expression=branch.this.copy()) if subject else branch.this
            for branch in branches
        ]
        default = node.args.get("default") or exp.Null()
        values, type_ = self._unified([*(branch.args["true"] for branch in branches), default])
        ifs = [exp.If(this=self.condition(test), true=value) for test, value in zip(tests, values[:-1], strict=True)]
        return Typed(exp.Case(ifs=ifs, default=values[-1]), type_)

    def coalesce(self, node: exp.Coalesce) -> Typed:
        values, type_ = self._unified([node.this, *node.expressions])
        return Typed(exp.Coalesce(this=values[0], expressions=values[1:]), type_)

    def extreme(self, node: exp.Greatest | exp.Least) -> Typed:
        values, type_ = self._unified([node.this, *node.expressions])
        if type_.kind is Kind.JSON:
            raise ExpressionError(f"'{shown(node)}': JSON values have no order; take one out with ->> and cast it.")
        if type_.kind is Kind.TEXT:
            values = [self.dialect.piece("bytewise", _x=value) for value in values]
        if type_.kind is Kind.UUID:
            values = [self.dialect.piece("uuid_order", _x=value) for value in values]
        tree = type(node)(this=values[0], expressions=values[1:], ignore_nulls=True)
        return Typed(self.dialect.cast(tree, type_) if type_.kind is Kind.UUID else tree, type_)

    def nullif(self, node: exp.Nullif) -> Typed:
        left, right = self._alike(node.this, node.expression)
        tree = exp.Nullif(this=left.tree, expression=right.tree)
        # PostgreSQL gives the type in which the two were compared.
        mixed = left.type.is_number and left.type != right.type
        return Typed(self._widened(tree, left.type) if mixed else tree, left.type)

    def _unified(self, nodes: Sequence[exp.Expr]) -> tuple[list[exp.Expr], Type]:
        """Values that one column may hold, and its type."""
        typed = [self.compile(node) for node in nodes]
        type_ = NULL
        for one, node in zip(typed, nodes, strict=True):
            wider = joined(type_, one.type)
            if wider is None:
                raise ExpressionError(f"'{shown(node)}' is {one.type} where the other values are {type_}.")
            type_ = wider
        if type_.kind is Kind.NULL:
            return [one.tree for one in typed], type_
        return [self.cast_to(one, type_, node).tree for one, node in zip(typed, nodes, strict=True)], type_

    # JSON

    def json_text(self, node: exp.JSONExtractScalar) -> Typed:
        return Typed(self._json("json_text", node), TEXT)

    def json_value(self, node: exp.JSONExtract) -> Typed:
        return Typed(self._json("json_value", node), JSON)

    def _json(self, piece: str, node: exp.JSONExtract | exp.JSONExtractScalar) -> exp.Expr:
        value = self._want(node.this, (Kind.JSON,), "JSON").tree
        path, step = _json_step(node)
        if self.dialect.name == "clickhouse":
            value, place = _json_place(value, step, self.dialect)
            return exp.Paren(this=self.dialect.piece(piece, _x=value, _place=place))
        return exp.Paren(this=self.dialect.piece(piece, _x=value, _path=path, _step=step))

    # Casts and functions

    def cast(self, node: exp.Cast) -> Typed:
        goal = cast_goal(node)
        if _is_text(node.this) and goal.kind not in (Kind.TEXT, Kind.BOOL):
            return literal_cast(node.this, goal, self.dialect)
        return self.cast_to(self.compile(node.this), goal, node)

    def number_function(self, node: exp.Func) -> Typed:
        """abs, ceil, floor, sign and round; the last half away from zero, of exact numbers only."""
        value = self._number(node.this)
        if isinstance(node, exp.Abs):
            whole = exp.Abs(this=self.dialect.spacious(value.tree, value.type))
            return Typed(
                whole if self.dialect.name != "clickhouse" else self.dialect.cast(whole, value.type), value.type
            )
        if isinstance(node, exp.Sign):
            return Typed(self.dialect.cast(exp.Sign(this=value.tree), INT), INT)
        scale = _digits_asked(node) if isinstance(node, exp.Round) else 0
        if isinstance(node, exp.Round) and value.type.kind is Kind.FLOAT:
            raise ExpressionError(f"'{shown(node)}' rounds a float; cast it to numeric(p,s), which rounds it.")
        if value.type.kind is Kind.INT:
            return value
        if value.type.kind is Kind.FLOAT:
            return Typed(type(node)(this=value.tree), FLOAT)
        kept = min(scale, value.type.scale if value.type.scale is not None else scale)
        type_ = decimal(value.type.precision or MAX_DIGITS, kept)
        # A cast to fewer digits rounds half away from zero.
        tree = (
            value.tree
            if isinstance(node, exp.Round)
            else type(node)(this=self.dialect.spacious(value.tree, value.type))
        )
        return Typed(self.dialect.cast(tree, type_), type_)

    def concat(self, node: exp.DPipe) -> Typed:
        parts = [self._want(side, _TEXTS, "text (cast it with ::text)").tree for side in (node.left, node.right)]
        return Typed(exp.Paren(this=exp.DPipe(this=parts[0], expression=parts[1])), TEXT)

    def folding(self, node: exp.Lower | exp.Upper) -> Typed:
        piece = "lower_ascii" if isinstance(node, exp.Lower) else "upper_ascii"
        return Typed(self.dialect.piece(piece, _x=self._text(node.this)), TEXT)

    def length(self, node: exp.Length) -> Typed:
        return Typed(self.dialect.cast(self.dialect.piece("length", _x=self._text(node.this)), INT), INT)

    def trim(self, node: exp.Trim) -> Typed:
        signs = self._text(node.expression) if node.expression else exp.Literal.string(" ")
        side = {"LEADING": "trim_left", "TRAILING": "trim_right"}.get(
            str(node.args.get("position")).upper(), "trim_both"
        )
        return Typed(self.dialect.piece(side, _x=self._text(node.this), _signs=signs), TEXT)

    def replace(self, node: exp.Replace) -> Typed:
        parts = [self._text(part) for part in (node.this, node.expression, node.args["replacement"])]
        text, old, new = parts
        return Typed(self.dialect.piece("replaced", _x=text, _old=old, _new=new), TEXT)

    def position(self, node: exp.StartsWith | exp.StrPosition) -> Typed:
        """The place of a text in another, from 1 on and 0 where there is none; or whether it begins with it."""
        part = node.args["substr"] if isinstance(node, exp.StrPosition) else node.expression
        text, other = self._text(node.this), self._text(part)
        if isinstance(node, exp.StartsWith):
            return Typed(self.dialect.piece("starts_with", _x=text, _part=other), BOOL)
        return Typed(self.dialect.cast(self.dialect.piece("position", _x=text, _part=other), INT), INT)

    def slice(self, node: exp.Left | exp.Right | exp.Substring) -> Typed:
        """Some of a text's characters."""
        parts = [node.args.get(name) for name in ("start", "length", "expression")]
        numbers = [part for part in parts if part is not None]
        name = node.sql_name()
        for number in numbers:
            if not _is_digits(number) or int(number.name) >= 2**31:
                raise ExpressionError(f"'{shown(node)}': {name.lower()} takes whole numbers from 0 on.")
        if isinstance(node, exp.Substring) and (not node.args.get("start") or int(node.args["start"].name) < 1):
            raise ExpressionError(f"'{shown(node)}': positions in text start at 1.")
        if self.dialect.name == "clickhouse":
            name = {"LEFT": "leftUTF8", "RIGHT": "rightUTF8"}.get(name.upper(), "substringUTF8")
        return Typed(exp.Anonymous(this=name, expressions=[self._text(node.this), *(n.copy() for n in numbers)]), TEXT)

    def extract(self, node: exp.Extract) -> Typed:
        name = node.name.lower()
        field = _FIELDS.get(name)
        if field is None and name != _EPOCH:
            raise ExpressionError(f"extract knows {listing([*_FIELDS, _EPOCH])}; got '{name}'.")
        value = self._want(node.expression, _TIMES, "a date or a moment")
        tree = self.cast_to(value, TIMESTAMP, node).tree
        if field is None:
            micros = self.dialect.cast(self.dialect.piece("epoch_micros", _x=tree), decimal(20, 0))
            millionth = self.dialect.cast(exp.Literal.string("0.000001"), decimal(6, 6))
            return Typed(self.dialect.cast(exp.Mul(this=micros, expression=millionth), _SECONDS), _SECONDS)
        return Typed(self.dialect.cast(exp.Extract(this=exp.Var(this=field), expression=tree), INT), INT)

    def trunc(self, node: exp.TimestampTrunc) -> Typed:
        """The first day of a period."""
        unit = node.args["unit"]
        period = unit.name.lower() if isinstance(unit, exp.Var) else shown(unit)
        if period not in PERIODS:
            raise ExpressionError(f"date_trunc knows {listing(PERIODS)}; got '{period}'.")
        value = self._want(node.this, _TIMES, "a date or a moment")
        return truncated(self.cast_to(value, DATE, node), period, self.dialect)

    def present(self, _: Now) -> Typed:
        """The start of the day that is computed for."""
        if self.now is None:
            raise ExpressionError(
                "now() is of profiles only: what a rollup says of a day must not depend on when it is folded.",
                "Take it out, or move the metric to a Profile, whose rows are as of today.",
            )
        return start_of(self.now, self.dialect)


def _fitting(typed: Typed, node: exp.Expr, kinds: tuple[Kind, ...], what: str) -> Typed:
    if typed.type.kind not in kinds:
        raise ExpressionError(f"expected {what}, but '{shown(node)}' is {typed.type}.")
    return typed


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and bool(node.is_string)


def _is_digits(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit()


def _digits_asked(node: exp.Round) -> int:
    digits = node.args.get("decimals")
    if digits is None:
        return 0
    if not _is_digits(digits) or int(digits.name) > MAX_DIGITS:
        raise ExpressionError(f"'{shown(node)}': round takes a number of digits, such as 2.")
    return int(digits.name)


def _json_step(node: exp.JSONExtract | exp.JSONExtractScalar) -> tuple[exp.Expr, exp.Expr]:
    """The one name or position that an arrow takes: DuckDB's path, and PostgreSQL's operand."""
    path = node.expression
    steps = path.expressions[1:] if isinstance(path, exp.JSONPath) else [path]
    step = steps[0].this if len(steps) == 1 else None
    if isinstance(path, exp.Neg) and _is_digits(path.this):
        step = -int(path.this.name)
    if isinstance(step, int):
        return exp.Literal.string(f"$[{step}]"), exp.Literal.number(step)
    if not isinstance(step, str) or not isinstance(steps[0], exp.JSONPathKey):
        raise ExpressionError(f"'{shown(node)}': -> and ->> take one name or one position.")
    # DuckDB takes a quoted * for a wildcard and no quoted nothing; in its other spelling a number is a position.
    escaped = step.replace("\\", "\\\\").replace('"', '\\"')
    return exp.Literal.string(f"/{step}" if step in ("", "*") else f'$."{escaped}"'), exp.Literal.string(step)


def _json_place(value: exp.Expr, step: exp.Expr, dialect: Dialect) -> tuple[exp.Expr, exp.Expr]:
    """What ClickHouse takes a part out of, and the name or position: from 1 on, and to be asked of arrays only."""
    if isinstance(step, exp.Literal) and step.is_string:
        return value, step
    number = int(step.sql())
    whole = dialect.sql("CASE WHEN JSONType(_x) = 'Array' THEN _x WHEN NOT _x IS NULL THEN '[]' END", _x=value)
    return whole, exp.Literal.number(number + 1 if number >= 0 else number)


_C = Compiler
# Any: each rule takes its own kind of node.
_RULES: dict[type[exp.Expr], Callable[[Compiler, Any], Typed]] = {
    exp.Column: _C.column, exp.Literal: _C.literal, exp.Paren: _C.paren, exp.Cast: _C.cast,
    exp.Boolean: lambda _, node: Typed(node.copy(), BOOL), exp.Null: lambda _, node: Typed(node.copy(), NULL),
    exp.Add: _C.arithmetic, exp.Sub: _C.arithmetic, exp.Mul: _C.arithmetic, exp.Div: _C.divide, exp.Mod: _C.modulo,
    exp.Neg: _C.negate,
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ), _C.compare),
    exp.And: _C.logic, exp.Or: _C.logic, exp.Not: _C.negation, exp.In: _C.member, exp.Between: _C.between,
    exp.Like: _C.like, exp.ILike: _C.like, exp.Escape: _C.escaped_like, exp.Is: _C.is_, exp.Case: _C.case,
    exp.Coalesce: _C.coalesce, exp.Nullif: _C.nullif, exp.Greatest: _C.extreme, exp.Least: _C.extreme,
    exp.DPipe: _C.concat, exp.JSONExtract: _C.json_value, exp.JSONExtractScalar: _C.json_text,
    **dict.fromkeys((exp.Abs, exp.Ceil, exp.Floor, exp.Round, exp.Sign), _C.number_function),
    exp.Lower: _C.folding, exp.Upper: _C.folding, exp.Length: _C.length, exp.Trim: _C.trim, exp.Replace: _C.replace,
    exp.StartsWith: _C.position, exp.StrPosition: _C.position, exp.Extract: _C.extract,
    exp.TimestampTrunc: _C.trunc, Now: _C.present,
    **dict.fromkeys((exp.Substring, exp.Left, exp.Right), _C.slice),
}  # fmt: skip
