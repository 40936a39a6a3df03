"""Compiles the closed expression language, typed, into an engine's SQL. Plan floor, pure.

Each rule gives the same value on every engine: integers are 64-bit, ``/`` is double precision and null on a
zero divisor, text compares by bytes, letters fold A to Z only, an absent JSON path is null, a cast that
cannot be made is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlglot import exp

from dayfold.define.expr import CASTS, ExpressionError
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
    UUID,
    Kind,
    Type,
    decimal,
)  # fmt: skip
from dayfold.names import listing, suggestion
from dayfold.plan.dialect import GRAMMARS, Dialect

_FIELDS = {"year": "YEAR", "quarter": "QUARTER", "month": "MONTH", "day": "DAY", "hour": "HOUR",
           "minute": "MINUTE", "dow": "DOW", "isodow": "ISODOW"}  # fmt: skip
_CAST_TYPES = {
    "TEXT": TEXT, "VARCHAR": TEXT, "INT": INT, "BIGINT": INT, "SMALLINT": INT, "DOUBLE": FLOAT, "BOOLEAN": BOOL,
    "DATE": DATE, "TIMESTAMP": TIMESTAMP, "TIMESTAMPTZ": TIMESTAMPTZ, "UUID": UUID,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Typed:
    """A compiled tree and its type."""

    tree: exp.Expr
    type: Type


class Compiler:
    """Compiles trees of the language over named columns of one source, for one engine.

    Raises:
        ExpressionError: for an unknown column or operands that do not fit.
    """

    def __init__(self, scope: Mapping[str, Typed], dialect: Dialect, owner: str) -> None:
        self.scope = scope
        self.dialect = dialect
        self.owner = owner

    def compile(self, node: exp.Expr) -> Typed:
        """The node in the engine's words."""
        rule = _RULES.get(type(node))
        if rule is None:
            raise ExpressionError(f"'{node.sql('postgres')}' is not part of the expression language.")
        return rule(self, node)

    def condition(self, node: exp.Expr) -> exp.Expr:
        """The node, which must be true or false."""
        return self._want(node, (Kind.BOOL, Kind.NULL), "a condition").tree

    def _want(self, node: exp.Expr, kinds: tuple[Kind, ...], what: str) -> Typed:
        typed = self.compile(node)
        if typed.type.kind not in kinds:
            raise ExpressionError(f"expected {what}, but '{node.sql('postgres')}' is {typed.type}.")
        return typed

    def _numbers(self, *nodes: exp.Expr) -> list[Typed]:
        """Operands of arithmetic, integers widened to 64 bits."""
        found = []
        for node in nodes:
            typed = self._want(node, (Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.NULL), "a number")
            if typed.type.kind is Kind.INT and not isinstance(node, exp.Literal):
                typed = Typed(self.dialect.cast(typed.tree, INT), INT)
            found.append(typed)
        return found

    def column(self, node: exp.Column) -> Typed:
        name = node.name
        if name in self.scope:
            return self.scope[name]
        folded = [known for known in self.scope if known.lower() == name.lower()]
        if len(folded) == 1 and not node.this.quoted:
            return self.scope[folded[0]]
        raise ExpressionError(
            f"{self.owner} has no column '{name}'{suggestion(name, self.scope)}.",
            f"Columns: {listing(self.scope)}",
        )

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
            type_ = decimal(max(1, len(whole.lstrip("0")) + len(part)), len(part))
            return Typed(self.dialect.cast(exp.Literal.string(text), type_), type_)
        return Typed(self.dialect.cast(exp.Literal.string(text), FLOAT), FLOAT)

    def arithmetic(self, node: exp.Binary) -> Typed:
        left, right = self._numbers(node.left, node.right)
        type_ = _arithmetic_type(type(node), left.type, right.type, node)
        return Typed(exp.Paren(this=type(node)(this=left.tree, expression=right.tree)), type_)

    def divide(self, node: exp.Div) -> Typed:
        left, right = self._numbers(node.left, node.right)
        return Typed(exp.Paren(this=self.dialect.piece("divide", _x=left.tree, _y=right.tree)), FLOAT)

    def modulo(self, node: exp.Mod) -> Typed:
        left, right = self._numbers(_bare(node.left), _bare(node.right))
        if Kind.FLOAT in (left.type.kind, right.type.kind):
            raise ExpressionError(
                f"'{node.sql('postgres')}' is the remainder of a float; cast it to numeric(p,s) first."
            )
        divisor = exp.Nullif(this=right.tree, expression=exp.Literal.number(0))
        wider = left.type if left.type.kind is Kind.DECIMAL else right.type
        return Typed(exp.Paren(this=exp.Mod(this=exp.Paren(this=left.tree), expression=divisor)), wider)

    def negate(self, node: exp.Neg) -> Typed:
        (typed,) = self._numbers(node.this)
        return Typed(exp.Paren(this=exp.Neg(this=exp.Paren(this=typed.tree))), typed.type)

    def compare(self, node: exp.Binary) -> Typed:
        left, right = self._alike(node.left, node.right)
        ordered = isinstance(node, exp.LT | exp.LTE | exp.GT | exp.GTE)
        return Typed(type(node)(this=self._bytes(left, ordered), expression=self._bytes(right, ordered)), BOOL)

    def between(self, node: exp.Between) -> Typed:
        value, low, high = self._alike(node.this, node.args["low"], node.args["high"])
        return Typed(exp.Paren(this=exp.Between(this=self._bytes(value, True), low=low.tree, high=high.tree)), BOOL)

    def member(self, node: exp.In) -> Typed:
        value, *options = self._alike(node.this, *node.expressions)
        return Typed(exp.In(this=value.tree, expressions=[option.tree for option in options]), BOOL)

    def _bytes(self, typed: Typed, ordered: bool) -> exp.Expr:
        return self.dialect.piece("bytewise", _x=typed.tree) if ordered and typed.type.kind is Kind.TEXT else typed.tree

    def _alike(self, *nodes: exp.Expr) -> list[Typed]:
        """Operands brought to one kind, or an error that names both."""
        typed = [self.compile(node) for node in nodes]
        kinds = [
            t.type for t, node in zip(typed, nodes, strict=True) if not _is_text(node) and t.type.kind is not Kind.NULL
        ]
        goal = kinds[0] if kinds else TEXT
        found = []
        for one, node in zip(typed, nodes, strict=True):
            if _is_text(node) and goal.kind in (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.UUID):
                one = self._literal_cast(node, goal)
            if not _comparable(one.type, goal):
                texts = f"'{nodes[0].sql('postgres')}' and '{node.sql('postgres')}'"
                raise ExpressionError(f"{texts} cannot be compared: one is {goal}, the other {one.type}.")
            if one.type.is_temporal and len({k.kind for k in kinds}) > 1:
                one = self.cast_to(one, TIMESTAMPTZ, node)
            found.append(one)
        return found

    def _literal_cast(self, node: exp.Expr, goal: Type) -> Typed:
        text = node.name
        grammar = Kind.TIMESTAMPTZ if goal.is_temporal else goal.kind
        if not re.fullmatch(GRAMMARS[grammar], text, re.ASCII):
            raise ExpressionError(
                f"'{text}' is not a {goal}; expected ISO 8601, such as 2026-01-31."
                if goal.is_temporal
                else f"'{text}' is not a {goal}."
            )
        if goal.kind is Kind.DATE and len(text) > 10:
            goal = TIMESTAMPTZ
        return Typed(self.dialect.cast(exp.Literal.string(text), goal), goal)

    def logic(self, node: exp.Connector) -> Typed:
        return Typed(
            exp.Paren(this=type(node)(this=self.condition(node.left), expression=self.condition(node.right))),
            BOOL,
        )

    def negation(self, node: exp.Not) -> Typed:
        return Typed(exp.Not(this=exp.Paren(this=self.condition(node.this))), BOOL)

    def like(self, node: exp.Like | exp.ILike) -> Typed:
        return self._like(node, None)

    def escaped_like(self, node: exp.Escape) -> Typed:
        if not isinstance(node.this, exp.Like | exp.ILike):
            raise ExpressionError(f"ESCAPE belongs to LIKE or ILIKE; got '{node.sql('postgres')}'.")
        return self._like(node.this, node.expression)

    def _like(self, node: exp.Like | exp.ILike, escape: exp.Expr | None) -> Typed:
        value = self._want(node.this, (Kind.TEXT, Kind.NULL), "text").tree
        pattern = self._want(node.expression, (Kind.TEXT, Kind.NULL), "text").tree
        if isinstance(node, exp.ILike):
            value, pattern = (self.dialect.piece("lower_ascii", _x=tree) for tree in (value, pattern))
        # PostgreSQL's default escape is a backslash and DuckDB has none, so it is always said.
        mark = escape.copy() if escape else exp.Literal.string("\\")
        return Typed(exp.Paren(this=exp.Escape(this=exp.Like(this=value, expression=pattern), expression=mark)), BOOL)

    def is_(self, node: exp.Is) -> Typed:
        value = (
            self.compile(node.this)
            if isinstance(node.expression, exp.Null)
            else self._want(node.this, (Kind.BOOL,), "a condition")
        )
        return Typed(exp.Paren(this=exp.Is(this=value.tree, expression=node.expression.copy())), BOOL)

    def case(self, node: exp.Case) -> Typed:
        subject = node.this
        branches = [
            (
                exp.EQ(this=subject.copy(), expression=branch.this.copy()) if subject else branch.this,
                branch.args["true"],
            )
            for branch in node.args["ifs"]
        ]
        default = node.args.get("default") or exp.Null()
        values, type_ = self._unified([value for _, value in branches] + [default])
        ifs = [
            exp.If(this=self.condition(test), true=value) for (test, _), value in zip(branches, values, strict=False)
        ]
        return Typed(exp.Case(ifs=ifs, default=values[-1]), type_)

    def coalesce(self, node: exp.Coalesce) -> Typed:
        values, type_ = self._unified([node.this, *node.expressions])
        return Typed(exp.Coalesce(this=values[0], expressions=values[1:]), type_)

    def extreme(self, node: exp.Greatest | exp.Least) -> Typed:
        values, type_ = self._unified([node.this, *node.expressions])
        if type_.kind is Kind.TEXT:
            values = [self.dialect.piece("bytewise", _x=value) for value in values]
        return Typed(type(node)(this=values[0], expressions=values[1:], ignore_nulls=True), type_)

    def nullif(self, node: exp.Nullif) -> Typed:
        left, right = self._alike(node.this, node.expression)
        return Typed(exp.Nullif(this=left.tree, expression=right.tree), left.type)

    def _unified(self, nodes: list[exp.Expr]) -> tuple[list[exp.Expr], Type]:
        """Values that one column may hold, and its type."""
        typed = [self.compile(node) for node in nodes]
        type_ = NULL
        for one, node in zip(typed, nodes, strict=True):
            joined = _join(type_, one.type)
            if joined is None:
                raise ExpressionError(f"'{node.sql('postgres')}' is {one.type} where the other values are {type_}.")
            type_ = joined
        if type_.kind is Kind.NULL:
            return [one.tree for one in typed], type_
        return [self.dialect.cast(one.tree, type_) if one.type != type_ else one.tree for one in typed], type_

    def concat(self, node: exp.DPipe) -> Typed:
        parts = [
            self._want(side, (Kind.TEXT, Kind.NULL), "text (cast it with ::text)").tree
            for side in (node.left, node.right)
        ]
        return Typed(exp.Paren(this=exp.DPipe(this=parts[0], expression=parts[1])), TEXT)

    def json_text(self, node: exp.JSONExtractScalar) -> Typed:
        return Typed(self._json("json_text", node), TEXT)

    def json_value(self, node: exp.JSONExtract) -> Typed:
        return Typed(self._json("json_value", node), JSON)

    def _json(self, piece: str, node: exp.JSONExtract | exp.JSONExtractScalar) -> exp.Expr:
        value = self._want(node.this, (Kind.JSON,), "JSON").tree
        steps = node.expression.expressions[1:] if isinstance(node.expression, exp.JSONPath) else []
        if len(steps) != 1 or not isinstance(steps[0], exp.JSONPathKey | exp.JSONPathSubscript):
            raise ExpressionError(f"'{node.sql('postgres')}': -> and ->> take one name or one position.")
        step = steps[0].this
        if isinstance(step, int):
            path, plain = f"$[{step}]", exp.Literal.number(step)
        else:
            quoted = str(step).replace("\\", "\\\\").replace('"', '\\"')
            path, plain = f'$."{quoted}"', exp.Literal.string(str(step))
        return exp.Paren(this=self.dialect.piece(piece, _x=value, _path=exp.Literal.string(path), _step=plain))

    def cast(self, node: exp.Cast) -> Typed:
        goal = _cast_goal(node)
        if _is_text(node.this) and goal.kind in GRAMMARS and not goal.is_number:
            return self._literal_cast(node.this, goal)
        return self.cast_to(self.compile(node.this), goal, node)

    def cast_to(self, value: Typed, goal: Type, node: exp.Expr) -> Typed:
        """A value in another type; an error where the language has no such cast."""
        have, want = value.type.kind, goal.kind
        tree = value.tree
        if have is want and (have is not Kind.DECIMAL or goal == value.type):
            return value
        if have is Kind.NULL:
            return Typed(self.dialect.cast(tree, goal), goal)
        if have is Kind.TEXT and want is Kind.BOOL:
            folded = self.dialect.piece("lower_ascii", _x=tree)
            return Typed(
                self.dialect.sql(
                    "CASE WHEN _x IN ('true', 't', 'yes', 'on', '1') THEN TRUE WHEN _x IN ('false', 'f', 'no', 'off', '0') THEN FALSE "
                    "WHEN NOT _x IS NULL THEN CAST(_fail AS BOOLEAN) END",
                    _x=folded,
                    _fail=self.dialect.piece("fail", _x=tree),
                ),
                goal,
            )
        if have is Kind.TEXT and want in GRAMMARS:
            test = self._matches(tree, GRAMMARS[want])
            good = self.dialect.cast(exp.Trim(this=tree.copy()), goal)
            bad = self.dialect.cast(self.dialect.piece("fail", _x=tree), goal)
            return Typed(
                self.dialect.sql(
                    "CASE WHEN _t THEN _a WHEN NOT _x IS NULL THEN _b END", _t=test, _a=good, _b=bad, _x=tree
                ),
                goal,
            )
        if have is Kind.BOOL and want is Kind.INT:
            return Typed(self.dialect.sql("CASE WHEN _x THEN 1 WHEN NOT _x THEN 0 END", _x=tree), goal)
        if have is Kind.FLOAT and want is Kind.DECIMAL:
            return Typed(self.dialect.cast(self.dialect.piece("float_text", _x=tree), goal), goal)
        if (have, want) in _PLAIN_CASTS:
            return Typed(self._temporal_cast(value, goal) if goal.is_temporal else self.dialect.cast(tree, goal), goal)
        raise ExpressionError(
            f"'{node.sql('postgres')}': the language has no cast from {value.type} to {goal}, because engines disagree about it."
        )

    def _temporal_cast(self, value: Typed, goal: Type) -> exp.Expr:
        if value.type.kind is Kind.TIMESTAMPTZ:
            return self.dialect.cast(
                self.dialect.piece("in_zone", _x=value.tree, _zone=exp.Literal.string("UTC")), goal
            )
        if goal.kind is Kind.TIMESTAMPTZ:
            return self.dialect.piece("as_utc", _x=self.dialect.cast(value.tree, TIMESTAMP))
        return self.dialect.cast(value.tree, goal)

    def _matches(self, tree: exp.Expr, grammar: str) -> exp.Expr:
        # DuckDB's pieces match the whole text; PostgreSQL's operator needs the anchors.
        pattern = grammar if self.dialect.name == "duckdb" else f"^({grammar})$"
        return self.dialect.piece("matches", _x=tree, _pattern=exp.Literal.string(pattern))

    def number_function(self, node: exp.Func) -> Typed:
        """abs, ceil, floor, sign and round; the last half away from zero, of exact numbers only."""
        (value,) = self._numbers(node.this)
        rounds = isinstance(node, exp.Round)
        if rounds and value.type.kind is Kind.FLOAT:
            raise ExpressionError(f"'{node.sql('postgres')}' rounds a float; cast it to numeric(p,s), which rounds it.")
        if isinstance(node, exp.Abs) or value.type.kind is Kind.INT:
            return Typed(
                exp.Abs(this=value.tree) if isinstance(node, exp.Abs) else self._of_integer(node, value),
                value.type,
            )
        if isinstance(node, exp.Sign):
            return Typed(self.dialect.cast(exp.Sign(this=value.tree), INT), INT)
        digits = node.args.get("decimals")
        if digits is not None and not (isinstance(digits, exp.Literal) and digits.name.isdigit()):
            raise ExpressionError(f"'{node.sql('postgres')}': round takes a number of digits, such as 2.")
        scale = int(digits.name) if digits is not None else 0
        if rounds and scale:
            type_ = decimal(value.type.precision, min(scale, value.type.scale or scale))
            return Typed(
                self.dialect.cast(exp.Round(this=value.tree, decimals=exp.Literal.number(scale)), type_),
                type_,
            )
        type_ = FLOAT if value.type.kind is Kind.FLOAT else decimal(value.type.precision, 0)
        return Typed(self.dialect.cast(type(node)(this=value.tree), type_), type_)

    def _of_integer(self, node: exp.Func, value: Typed) -> exp.Expr:
        return self.dialect.cast(exp.Sign(this=value.tree), INT) if isinstance(node, exp.Sign) else value.tree

    def text_function(self, node: exp.Func) -> Typed:
        """Functions of text, in characters, letters folded from A to Z only."""
        value = self._want(node.this, (Kind.TEXT, Kind.NULL), "text").tree
        match node:
            case exp.Lower():
                return Typed(self.dialect.piece("lower_ascii", _x=value), TEXT)
            case exp.Upper():
                return Typed(self.dialect.piece("upper_ascii", _x=value), TEXT)
            case exp.Length():
                return Typed(self.dialect.cast(exp.Length(this=value), INT), INT)
            case exp.Trim():
                blanks = (
                    self._want(node.expression, (Kind.TEXT,), "text").tree
                    if node.expression
                    else exp.Literal.string(" ")
                )
                name = {"LEADING": "LTRIM", "TRAILING": "RTRIM"}.get(str(node.args.get("position")).upper())
                both = "TRIM" if self.dialect.name == "duckdb" else "BTRIM"
                return Typed(exp.Anonymous(this=name or both, expressions=[value, blanks]), TEXT)
            case exp.Replace():
                old, new = (
                    self._want(part, (Kind.TEXT,), "text").tree for part in (node.expression, node.args["replacement"])
                )
                return Typed(exp.Replace(this=value, expression=old, replacement=new), TEXT)
            case exp.StartsWith() | exp.StrPosition():
                part = node.args.get("substr") or node.expression
                found = exp.Anonymous(this="STRPOS", expressions=[value, self._want(part, (Kind.TEXT,), "text").tree])
                if isinstance(node, exp.StrPosition):
                    return Typed(self.dialect.cast(found, INT), INT)
                return Typed(exp.EQ(this=found, expression=exp.Literal.number(1)), BOOL)
        return self._slice(node, value)

    def _slice(self, node: exp.Func, value: exp.Expr) -> Typed:
        numbers = [
            part
            for part in (node.args.get("start"), node.args.get("length"), node.args.get("expression"))
            if part is not None
        ]
        for number in numbers:
            if not (isinstance(number, exp.Literal) and number.name.isdigit()):
                raise ExpressionError(
                    f"'{node.sql('postgres')}': {node.sql_name().lower()} takes whole numbers from 0 on."
                )
        if isinstance(node, exp.Substring) and int(numbers[0].name) < 1:
            raise ExpressionError(f"'{node.sql('postgres')}': positions in text start at 1.")
        return Typed(
            exp.Anonymous(
                this=node.sql_name(),
                expressions=[
                    value,
                    *(self.dialect.cast(n, INT) if self.dialect.name == "duckdb" else n.copy() for n in numbers),
                ],
            ),
            TEXT,
        )

    def extract(self, node: exp.Extract) -> Typed:
        field = _FIELDS.get(node.name.lower())
        if field is None:
            raise ExpressionError(f"extract knows {listing(_FIELDS)}; got '{node.name.lower()}'.")
        value = self._want(node.expression, (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ), "a date or a moment")
        tree = self.cast_to(value, TIMESTAMP, node).tree
        return Typed(self.dialect.cast(exp.Extract(this=exp.Var(this=field), expression=tree), INT), INT)

    def paren(self, node: exp.Paren) -> Typed:
        inner = self.compile(node.this)
        return Typed(exp.Paren(this=inner.tree), inner.type)


def _bare(node: exp.Expr) -> exp.Expr:
    """SQLGlot wraps the operands of ``mod(a, b)``."""
    return node.this if isinstance(node, exp.Paren) else node


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and bool(node.is_string)


def _comparable(one: Type, other: Type) -> bool:
    if Kind.NULL in (one.kind, other.kind):
        return True
    if Kind.JSON in (one.kind, other.kind) or Kind.OTHER in (one.kind, other.kind):
        return False
    return one.kind == other.kind or (one.is_number and other.is_number) or (one.is_temporal and other.is_temporal)


def _join(one: Type, other: Type) -> Type | None:
    """The type that holds values of both, or None."""
    if one.kind is Kind.NULL or one == other:
        return other
    if other.kind is Kind.NULL:
        return one
    if one.is_number and other.is_number:
        if Kind.FLOAT in (one.kind, other.kind):
            return FLOAT
        (p1, s1), (p2, s2) = _digits(one), _digits(other)
        scale = max(s1, s2)
        return decimal(min(MAX_DIGITS, max(p1 - s1, p2 - s2) + scale), scale)
    if one.is_temporal and other.is_temporal:
        return TIMESTAMPTZ if Kind.TIMESTAMPTZ in (one.kind, other.kind) else TIMESTAMP
    return one if one.kind == other.kind else None


def _digits(type_: Type) -> tuple[int, int]:
    """Precision and scale of an exact number."""
    if type_.kind is Kind.INT:
        return 19, 0
    if type_.scale is None:
        raise ExpressionError(
            "a decimal without a scale of its own stands in arithmetic.",
            "Cast it first, such as amount::numeric(18,2).",
        )
    return type_.precision or MAX_DIGITS, type_.scale


def _arithmetic_type(kind: type[exp.Expr], one: Type, other: Type, node: exp.Expr) -> Type:
    kinds = (one.kind, other.kind)
    if Kind.NULL in kinds:
        return other if one.kind is Kind.NULL else one
    if Kind.FLOAT in kinds:
        return FLOAT
    if kinds == (Kind.INT, Kind.INT):
        return INT
    (p1, s1), (p2, s2) = _digits(one), _digits(other)
    if kind is exp.Mul:
        precision, scale = p1 + p2, s1 + s2
    else:
        scale = max(s1, s2)
        precision = max(p1 - s1, p2 - s2) + scale + 1
    if scale > MAX_DIGITS - 10:
        raise ExpressionError(f"'{node.sql('postgres')}' has {scale} digits after the point; cast its parts to fewer.")
    return decimal(min(MAX_DIGITS, precision), scale)


def _cast_goal(node: exp.Cast) -> Type:
    target = node.to
    name = target.this.name
    if name == "DECIMAL":
        numbers = [int(part.name) for part in target.expressions if part.name.isdigit()]
        if len(numbers) == 2 and 1 <= numbers[0] <= MAX_DIGITS and numbers[1] <= numbers[0]:
            return decimal(*numbers)
        raise ExpressionError(
            f"'{node.sql('postgres')}': say numeric's digits, such as numeric(18,2), at most {MAX_DIGITS}."
        )
    if name not in _CAST_TYPES or target.expressions:
        raise ExpressionError(f"'{node.sql('postgres')}': casts go to {listing(CASTS)}.")
    return _CAST_TYPES[name]


_PLAIN_CASTS = frozenset({
    (Kind.INT, Kind.TEXT), (Kind.INT, Kind.DECIMAL), (Kind.INT, Kind.FLOAT), (Kind.DECIMAL, Kind.INT), (Kind.DECIMAL, Kind.FLOAT),
    (Kind.DECIMAL, Kind.DECIMAL), (Kind.DECIMAL, Kind.TEXT), (Kind.FLOAT, Kind.INT), (Kind.BOOL, Kind.TEXT), (Kind.UUID, Kind.TEXT),
    (Kind.DATE, Kind.TEXT), (Kind.DATE, Kind.TIMESTAMP), (Kind.DATE, Kind.TIMESTAMPTZ), (Kind.TIMESTAMP, Kind.DATE),
    (Kind.TIMESTAMP, Kind.TIMESTAMPTZ), (Kind.TIMESTAMPTZ, Kind.DATE), (Kind.TIMESTAMPTZ, Kind.TIMESTAMP),
})  # fmt: skip

_C = Compiler
_RULES: dict[type[exp.Expr], Callable[[Compiler, exp.Expr], Typed]] = {  # type: ignore[assignment]  # each rule takes its own node
    exp.Column: _C.column, exp.Literal: _C.literal, exp.Paren: _C.paren, exp.Cast: _C.cast,
    exp.Boolean: lambda _, node: Typed(node.copy(), BOOL), exp.Null: lambda _, node: Typed(node.copy(), NULL),
    exp.Add: _C.arithmetic, exp.Sub: _C.arithmetic, exp.Mul: _C.arithmetic, exp.Div: _C.divide, exp.Mod: _C.modulo, exp.Neg: _C.negate,
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ), _C.compare),
    exp.And: _C.logic, exp.Or: _C.logic, exp.Not: _C.negation, exp.In: _C.member, exp.Between: _C.between,
    exp.Like: _C.like, exp.ILike: _C.like, exp.Escape: _C.escaped_like, exp.Is: _C.is_, exp.Case: _C.case,
    exp.Coalesce: _C.coalesce, exp.Nullif: _C.nullif, exp.Greatest: _C.extreme, exp.Least: _C.extreme, exp.DPipe: _C.concat,
    exp.JSONExtract: _C.json_value, exp.JSONExtractScalar: _C.json_text, exp.Extract: _C.extract,
    **dict.fromkeys((exp.Abs, exp.Ceil, exp.Floor, exp.Round, exp.Sign), _C.number_function),
    **dict.fromkeys((exp.Lower, exp.Upper, exp.Length, exp.Trim, exp.Replace, exp.StartsWith, exp.StrPosition,
                     exp.Substring, exp.Left, exp.Right), _C.text_function),
}  # fmt: skip
