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
    "abs", "ceil", "coalesce", "date_part", "extract", "floor", "greatest", "least", "left", "length", "lower",
    "ltrim", "mod", "nullif", "position", "replace", "right", "round", "rtrim", "sign", "starts_with", "strpos",
    "substr", "substring", "trim", "upper",
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

_OPERATORS = (
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE,
    exp.And, exp.Or, exp.Not, exp.In, exp.Between, exp.Like, exp.ILike, exp.Escape, exp.Is, exp.NullSafeEQ,
    exp.NullSafeNEQ, exp.Case, exp.If, exp.DPipe, exp.Cast, exp.JSONExtract, exp.JSONExtractScalar, exp.Paren,
)  # fmt: skip
_CALLS = (
    exp.Abs, exp.Ceil, exp.Coalesce, exp.Extract, exp.Floor, exp.Greatest, exp.Least, exp.Left, exp.Length,
    exp.Lower, exp.Trim, exp.Nullif, exp.Replace, exp.Right, exp.Round, exp.Sign, exp.StartsWith,
    exp.StrPosition, exp.Substring, exp.Upper,
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
                        "only_json_types", "nested", "coalesce", "_type"})  # fmt: skip
_WAY_OUT = 'For anything else write the source as Table(sql="select …"), in the engine\'s own SQL.'


class Language(Postgres):
    """PostgreSQL's spelling, where ``f(doc -> 'name')`` is an arrow into JSON and no lambda."""

    class Parser(PostgresParser):
        """Knows no lambdas."""

        LAMBDAS: ClassVar[dict[Any, Any]] = {}


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
        if isinstance(node, exp.Column) and node.table:
            raise ExpressionError(f"'{text}' names a table in '{node.sql()}'; an expression names columns only.")
        if isinstance(node, exp.In) and not node.expressions and not node.args.get("unnest"):
            raise ExpressionError(f"'{text}' has an empty list after IN.")
        if any(value and name not in _ARGUMENTS for name, value in node.args.items()):
            raise ExpressionError(
                f"'{text}' uses a form of {_spelled(node, text)} that expressions do not have.", _WAY_OUT
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
