"""The one way SQL is built: templates parsed by SQLGlot, parts put in as trees, values bound as parameters.

Plan floor, pure.

Invariant: no value ever becomes text here except literals that a definition's author wrote, and those are
printed by SQLGlot. Every identifier is printed quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp

from dayfold.memo import Memo
from dayfold.plan import clickhouse

Part = exp.Expr | Sequence[exp.Expr]


@dataclass(slots=True)
class Values:
    """Values on their way into one statement, each under a name of its own, which begins with ``prefix``."""

    by_name: dict[str, Any] = field(default_factory=dict)
    prefix: str = "v"

    def bind(self, value: Any, cast: str | None = None) -> exp.Expr:
        """A tree that stands for a value; ``cast`` names its type where an engine cannot infer it."""
        name = f"{self.prefix}{len(self.by_name)}"
        self.by_name[name] = value
        placeholder = exp.Placeholder(this=name)
        return exp.cast(placeholder, cast, dialect="postgres") if cast else placeholder


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and its values, ready for `render`.

    ``side``: of a store in two databases the one that it is for, ``home`` or ``rows``; None where its tables say it.
    """

    tree: exp.Expr
    values: Values = field(default_factory=Values)
    order: dict[str, int] = field(default_factory=dict, repr=False, compare=False)
    side: str | None = field(default=None, repr=False, compare=False)

    def render(self, dialect: str) -> tuple[str, list[Any]]:
        """Text with ``$1``, ``$2`` … and the values in that order.

        The tree is numbered in place, because copying it takes longer than printing it.
        """
        tree = self.tree
        nodes = list(tree.find_all(exp.Placeholder, bfs=False))
        if len({id(node) for node in nodes}) < len(nodes):
            # A part that stands in two places is one node with one parent; a copy has two.
            tree = tree.copy()
            nodes = list(tree.find_all(exp.Placeholder, bfs=False))
        for node in nodes:
            place = self.order.setdefault(node.name, len(self.order) + 1)
            node.replace(exp.Parameter(this=exp.Literal.number(place)))
        text = tree.sql(dialect=spelled(dialect), identify=True, copy=False)
        return text, [self.values.by_name[name] for name in self.order]

    def built(self) -> Statement:
        """The statement with its tree."""
        return self


@dataclass(frozen=True, slots=True)
class Constant(Statement):
    """A statement whose text is known: parsing and printing it would be most of its cost."""

    text: str = ""
    names: tuple[str, ...] = ()

    def render(self, dialect: str) -> tuple[str, list[Any]]:
        """The text and the values in the order of their numbers."""
        return self.text, [self.values.by_name[name] for name in self.names]


@dataclass(frozen=True, slots=True)
class Remembered(Statement):
    """A statement whose text is known from an earlier one of the same build: building and printing trees takes longest."""

    key: Hashable = None
    build: Callable[[], Statement] | None = None

    def render(self, dialect: str) -> tuple[str, list[Any]]:
        """The text, built once in a process for equal keys, and this statement's values."""
        known = _texts.get((self.key, dialect))
        if known is None:
            assert self.build is not None
            made = self.build()
            text, _ = made.render(dialect)
            known = text, tuple(made.order)
            _texts.learn((self.key, dialect), known)
        text, names = known
        return text, [self.values.by_name[name] for name in names]

    def built(self) -> Statement:
        """The same with its tree."""
        assert self.build is not None
        made = self.build()
        return Statement(made.tree, self.values, side=made.side)


#: Rendered texts by what they were built from.
_texts: Memo[tuple[Hashable, str], tuple[str, tuple[str, ...]]] = Memo(2_000)


def remembered(key: Hashable, values: Sequence[Any], build: Callable[[], Statement]) -> Statement:
    """A statement that is built only where no equal one was: ``values`` are those that ``build`` binds, in its order."""
    named = Values({f"v{n}": value for n, value in enumerate(values)})
    return Remembered(exp.null(), named, key=key, build=build)


@lru_cache(maxsize=512)
def _template(text: str, dialect: str) -> exp.Expr:
    return sqlglot.parse_one(text, read=dialect)


def sql(text: str, dialect: str = "postgres", **parts: Part) -> exp.Expr:
    """A template's tree with its ``_names`` replaced by trees; a list fills a place in a list.

    >>> sql("coalesce(_x, 0)", _x=column("n")).sql("postgres", identify=True)
    'COALESCE("n", 0)'
    """
    root = exp.Paren(this=_template(text, dialect).copy())
    for node in list(root.find_all(exp.Column, exp.Table)):
        name = node.name
        if name not in parts or (isinstance(node, exp.Column) and node.table):
            continue
        part = parts[name]
        if isinstance(part, exp.Expr):
            fresh = part.copy()
            if isinstance(node, exp.Table) and node.args.get("alias"):
                fresh = exp.alias_(fresh, node.alias, table=True)
            node.replace(fresh)
        else:
            node.replace([one.copy() for one in part])  # SQLGlot splices a list into its place
    tree: exp.Expr = root.this
    tree.pop()
    return tree


def statement(text: str, dialect: str = "postgres", values: Values | None = None, **parts: Any) -> Statement:
    """A template with trees for its ``_names`` and bound values for its ``:names``.

    >>> statement("select :a::date", a="2026-01-01").render("duckdb")
    ('SELECT CAST($1 AS DATE)', ['2026-01-01'])
    """
    bound = values if values is not None else Values()
    if not any(name.startswith("_") for name in parts):
        bound.by_name.update(parts)
        return Remembered(exp.null(), bound, key=(text, dialect), build=lambda: Statement(sql(text, dialect), bound))
    trees = {name: part for name, part in parts.items() if name.startswith("_")}
    tree = sql(text, dialect, **trees)
    bound.by_name.update({name: part for name, part in parts.items() if not name.startswith("_")})
    return Statement(tree, bound)


def spelled(dialect: str) -> str:
    """What SQLGlot calls the spelling of an engine."""
    return clickhouse.NAME if dialect == "clickhouse" else dialect


def identifier(name: str) -> exp.Identifier:
    """A quoted identifier."""
    return exp.to_identifier(name, quoted=True)


def column(name: str, table: str | None = None) -> exp.Column:
    """A quoted column reference."""
    return exp.Column(this=identifier(name), table=identifier(table) if table else None)


def table(name: str, schema: str | None = None, catalog: str | None = None) -> exp.Table:
    """A quoted table reference."""
    return exp.Table(
        this=identifier(name),
        db=identifier(schema) if schema else None,
        catalog=identifier(catalog) if catalog else None,
    )


def alias(tree: exp.Expr, name: str) -> exp.Expr:
    """A named select item."""
    return exp.Alias(this=tree, alias=identifier(name))


def derived(query: exp.Expr, name: str) -> exp.Subquery:
    """A query as something to select from."""
    return exp.Subquery(this=query.copy(), alias=exp.TableAlias(this=identifier(name)))


def both(conditions: Iterable[exp.Expr]) -> exp.Expr:
    """All of the conditions; true where there are none."""
    return exp.and_(*conditions, copy=True) if (conditions := list(conditions)) else exp.true()


def either(conditions: Iterable[exp.Expr]) -> exp.Expr:
    """Any of the conditions; false where there are none."""
    return exp.or_(*conditions, copy=True) if (conditions := list(conditions)) else exp.false()
