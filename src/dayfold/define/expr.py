"""The closed expression language: parsed once, checked against a list, the same on every engine.

Definitions floor, pure. Expressions are written in PostgreSQL's spelling. What is not on the list here is a
mistake with a place and a way out, never passed through to an engine.

Invariant: a tree returned by `parse` holds only nodes that `dayfold.plan.expressions` can compile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import SqlglotError
from sqlglot.parsers.postgres import PostgresParser

#: The functions of the language, as a person writes them.
FUNCTIONS = (
    "abs", "ceil", "coalesce", "date_part", "date_trunc", "extract", "floor", "greatest", "least", "left", "length",
    "lower", "ltrim", "mod", "now", "nullif", "position", "replace", "right", "round", "rtrim", "sign", "starts_with",
    "strpos", "substr", "substring", "trim", "upper",
)  # fmt: skip
#: The types that a cast may name.
CASTS = (
    "text",
    "bigint",
    "integer",
    "numeric(p,s)",
    "double precision",
    "boolean",
    "date",
    "timestamp",
    "timestamptz",
    "uuid",
    "varchar",
)
#: The units of an interval, each of one fixed length in seconds: a day has 24 hours, in UTC.
SECONDS = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
#: The furthest that one step leads from a day or a moment: about 2,700 years.
MOST_DAYS = 1_000_000


class Now(exp.Expression, exp.Func):
    """``now()``; SQLGlot has one node for it and for ``current_timestamp``, which is not of the language."""

    arg_types: ClassVar[dict[str, bool]] = {}


_OPERATORS = (
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE,
    exp.And, exp.Or, exp.Not, exp.In, exp.Between, exp.Like, exp.ILike, exp.Escape, exp.Is, exp.NullSafeEQ,
    exp.NullSafeNEQ, exp.Case, exp.If, exp.DPipe, exp.Cast, exp.JSONExtract, exp.JSONExtractScalar, exp.Paren, exp.Interval,
)  # fmt: skip
_CALLS = (
    exp.Abs, exp.Ceil, exp.Coalesce, exp.Extract, exp.Floor, exp.Greatest, exp.Least, exp.Left, exp.Length,
    exp.Lower, exp.Trim, exp.Nullif, exp.Replace, exp.Right, exp.Round, exp.Sign, exp.StartsWith,
    exp.StrPosition, exp.Substring, exp.TimestampTrunc, exp.Upper, Now,
)  # fmt: skip
_LEAVES = (exp.Column, exp.Literal, exp.Boolean, exp.Null)
#: The kinds of nodes that an expression may hold.
ALLOWED = frozenset((*_OPERATORS, *_CALLS, *_LEAVES))
#: Nodes that belong to an allowed one and are read by it.
_PARTS = frozenset((exp.Identifier, exp.DataType, exp.DataTypeParam, exp.JSONPath, exp.JSONPathRoot,
                    exp.JSONPathKey, exp.JSONPathSubscript, exp.Var))  # fmt: skip
#: Everything that a node of the language may carry; anything more would be silently dropped when compiled.
_ARGUMENTS = frozenset({"this", "expression", "expressions", "low", "high", "ifs", "default", "true", "to", "is_string", "quoted",
                        "start", "length", "decimals", "replacement", "substr", "position", "typed", "safe", "ignore_nulls",
                        "only_json_types", "nested", "coalesce", "_type", "unit"})  # fmt: skip
#: Units whose length depends on the calendar, and about how many days they have.
_UNFIXED = {"months": 30, "quarters": 90, "years": 365, "decades": 3_650}
_WAY_OUT = 'For anything else write the source as Table(sql="select …"), in the engine\'s own SQL.'


class Language(Postgres):
    """PostgreSQL's spelling, where ``f(doc -> 'name')`` is an arrow into JSON and no lambda."""

    class Parser(PostgresParser):
        """Knows no lambdas, and ``now()`` by its name."""

        LAMBDAS: ClassVar[dict[Any, Any]] = {}
        FUNCTIONS: ClassVar[dict[str, Any]] = {
            **{name: build for name, build in PostgresParser.FUNCTIONS.items() if name != "TIMESTAMP_TRUNC"},
            "NOW": Now.from_arg_list,
        }


class ExpressionError(ValueError):
    """Something in an expression is not of the language. ``hint`` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def parse(text: object) -> exp.Expr:
    """The tree of an expression.

    Raises:
        ExpressionError: when it cannot be parsed or uses what the language does not have.

    >>> sorted(column.name for column in columns(parse("quantity * price")))
    ['price', 'quantity']
    """
    if not isinstance(text, str) or not text.strip():
        raise ExpressionError(f"expected an expression as text, got {text!r}.")
    try:
        trees = sqlglot.parse(text, read=Language)
    except RecursionError:
        raise ExpressionError(f"an expression of {len(text):,} letters is nested too deeply.", _WAY_OUT) from None
    except SqlglotError as error:
        raise ExpressionError(f"'{text}' cannot be read: {_where(error, text)}", _WAY_OUT) from None
    if len(trees) != 1 or trees[0] is None:
        raise ExpressionError(f"'{text}' is not one expression.", "Write one expression, without ';'.")
    try:
        tree = _plain(trees[0])
        _check(tree, text)
    except RecursionError:
        raise ExpressionError(f"an expression of {len(text):,} letters is nested too deeply.", _WAY_OUT) from None
    return tree


def columns(tree: exp.Expr) -> Iterator[exp.Column]:
    """The column references of a tree, in no promised order."""
    return tree.find_all(exp.Column)


def reads_clock(tree: exp.Expr) -> bool:
    """Whether a tree's value depends on the day on which it is computed.

    >>> reads_clock(parse("sold_at >= now() - interval '30 days'")), reads_clock(parse("sold_at"))
    (True, False)
    """
    return tree.find(Now) is not None


def interval(node: exp.Interval, text: str = "") -> tuple[int, str]:
    """The number and the unit, one of `SECONDS`, that an interval names.

    Raises:
        ExpressionError: when it is not one whole number of one unit of fixed length; ``text`` is where it stands.
    """
    unit = node.unit.name.lower() if isinstance(node.unit, exp.Var) else ""
    plural = unit.removesuffix("s") + "s"
    if plural in _UNFIXED:
        one = plural.removesuffix("s")
        raise ExpressionError(
            f"'{text}': a {one} has no fixed length.",
            f"Write days, such as interval '{_UNFIXED[plural]} days', or compare date_trunc('{one}', …).",
        )
    if plural not in SECONDS or not isinstance(node.this, exp.Literal) or not re.fullmatch(r"-?\d+", node.name):
        raise ExpressionError(
            f"'{text}': an interval is one whole number and one unit, such as interval '30 days'.",
            f"Units: {', '.join(SECONDS)}. Several are added one after the other.",
        )
    if len(node.name) > 15 or abs(int(node.name)) * SECONDS[plural] > MOST_DAYS * SECONDS["days"]:
        raise ExpressionError(f"'{text}': an interval has at most {MOST_DAYS:,} days.")
    return int(node.name), plural


def _plain(tree: exp.Expr) -> exp.Expr:
    """The tree without comments, where every NOT is a node of its own: SQLGlot only marks some nodes as negated."""

    def spell_out(node: exp.Expr) -> exp.Expr:
        node.pop_comments()
        marked = node.this if isinstance(node, exp.Escape) else node
        if not isinstance(marked, exp.Expr) or not marked.args.get("negate"):
            return node
        marked.set("negate", None)
        return exp.Not(this=exp.Paren(this=node))

    return tree.transform(spell_out, copy=False)


def _where(error: SqlglotError, text: str) -> str:
    """A parser's complaint in one line, with the place but none of the terminal colours."""
    details = getattr(error, "errors", None)
    if not details:
        return "it has an unclosed quote or bracket."
    place = details[0]
    near = (place.get("highlight") or "").strip()
    return f"near {near!r} at column {place.get('col')}." if near else "it ends too early."


def _check(tree: exp.Expr, text: str) -> None:
    """Refuse every node that is not of the language."""
    for node in tree.walk():
        kind = type(node)
        if kind in _PARTS:
            continue
        if isinstance(node, exp.Query) or (kind is exp.In and node.args.get("query")):
            raise ExpressionError(f"'{text}' holds a subquery, which expressions do not have.", _WAY_OUT)
        if kind not in ALLOWED:
            raise ExpressionError(
                f"'{text}' uses {_spelled(node, text)}, which expressions do not have.", _remedy(node, text)
            )
        if isinstance(node, exp.Interval):
            _check_interval(node, text)
        if isinstance(node, exp.Column) and node.table:
            raise ExpressionError(f"'{text}' names a table in '{node.sql()}'; an expression names columns only.")
        if isinstance(node, exp.In) and not node.expressions and not node.args.get("unnest"):
            raise ExpressionError(f"'{text}' has an empty list after IN.")
        if any(value and name not in _ARGUMENTS for name, value in node.args.items()):
            raise ExpressionError(
                f"'{text}' uses a form of {_spelled(node, text)} that expressions do not have.", _WAY_OUT
            )


def _check_interval(node: exp.Interval, text: str) -> None:
    """Refuse an interval that is not of the language or does not move anything."""
    interval(node, text)
    if not isinstance(node.parent, exp.Add | exp.Sub) or node.arg_key != "expression":
        raise ExpressionError(
            f"'{text}' uses an interval by itself, which expressions do not have.",
            "An interval stands after + or -, beside a moment: sent_at + interval '2 hours'.",
        )


def _called(node: exp.Expr, text: str) -> str | None:
    """The function that a node is, where its writer spelled it as one."""
    names = [node.name] if isinstance(node, exp.Anonymous) else node.sql_names() if isinstance(node, exp.Func) else []
    return next((name.lower() for name in names if re.search(rf"\b{re.escape(name)}\s*\(", text, re.IGNORECASE)), None)


def _spelled(node: exp.Expr, text: str) -> str:
    """A node as its writer would recognise it."""
    called = _called(node, text)
    return f"the function {called}()" if called else f"'{node.sql(dialect='postgres')}'"


def _remedy(node: exp.Expr, text: str) -> str:
    if isinstance(node, exp.AggFunc):
        return (
            "A metric already says how it adds up: name the metric itself. Distinct values are never summed, "
            "because one value may stand in several rows."
        )
    return f"Functions: {', '.join(FUNCTIONS)}. {_WAY_OUT}" if _called(node, text) else _WAY_OUT
