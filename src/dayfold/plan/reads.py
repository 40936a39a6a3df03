"""How the tables that a query reads lead to its rows: said in the definition, or derived from its joins. Plan floor, pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from dayfold.define.source import Read, Table
from dayfold.plan.dialect import Dialect


class Untraceable(ValueError):
    """How a table leads to the rows of a query cannot be derived. ``hint`` says what to write."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def parsed(text: str, dialect: Dialect) -> exp.Expr:
    """A source's own query as a tree. Raises Untraceable where it cannot be read."""
    try:
        tree = sqlglot.parse_one(text.strip().rstrip(";"), read=dialect.name)
    except (SqlglotError, RecursionError):
        raise Untraceable(
            "the query cannot be read well enough to know what a change of one of its tables means.",
            "Leave changes out, so that its last days are folded again each run.",
        ) from None
    return tree


def is_table(node: exp.Table, name: str) -> bool:
    """Whether a table of a query is the one that a definition names."""
    schema, _, plain = name.rpartition(".")
    return node.name.lower() == plain.lower() and (not schema or not node.db or node.db.lower() == schema.lower())


def reads_of(source: Table, dialect: Dialect) -> list[Read]:
    """The tables that a query reads, each with how it leads to the query's rows.

    Raises:
        Untraceable: for a table whose link the joins of the query do not give.
    """
    assert source.sql is not None
    return [one if isinstance(one, Read) else derived_read(source.sql, one, dialect) for one in source.reads]


def derived_read(text: str, name: str, dialect: Dialect) -> Read:
    """How a table leads to a query's rows, from its select list and joins.

    >>> from dayfold.plan.dialect import POSTGRES
    >>> text = "select r.shop, r.id as request from request r left join event e on e.request_id = r.id"
    >>> derived_read(text, "event", POSTGRES).on
    {'request_id': 'request'}
    """
    tree = parsed(text, dialect)
    way_out = (
        f'Say it: Read("{name}", on={{"column of {name}": "column of the query"}}). Or leave changes out, so that the last '
        "days are folded again each run."
    )
    if not isinstance(tree, exp.Select):
        raise Untraceable(f"how '{name}' leads to the rows of the query cannot be derived.", way_out)
    tables = {node.alias or node.name: node for node in _top_tables(tree)}
    mine = [key for key, node in tables.items() if is_table(node, name)]
    if len(mine) != 1:
        what = "is not one of the tables that it selects from" if not mine else "stands in it more than once"
        raise Untraceable(f"how '{name}' leads to the rows of the query cannot be derived: it {what}.", way_out)
    equal = [(_place(one.this, tables), _place(one.expression, tables)) for one in _equalities(tree)]
    for item in tree.expressions:
        shown = item.this if isinstance(item, exp.Alias) else item
        place = _place(shown, tables)
        if place is None:
            continue
        for owner, its in _closure(place, equal):
            if owner == mine[0]:
                return Read(name, {its: item.alias_or_name})
    raise Untraceable(f"how '{name}' leads to the rows of the query cannot be derived from its joins.", way_out)


def _top_tables(tree: exp.Select) -> Iterator[exp.Table]:
    """The tables that a select names itself."""
    source = tree.args.get("from_") or tree.args.get("from")
    nodes = [source.this] if source is not None else []
    nodes += [join.this for join in tree.args.get("joins") or ()]
    return (node for node in nodes if isinstance(node, exp.Table))


def _equalities(tree: exp.Select) -> list[exp.EQ]:
    """The equalities that every joined row meets, or that decide which rows are joined."""
    found: list[exp.EQ] = []
    conditions = [join.args.get("on") for join in tree.args.get("joins") or ()]
    where = tree.args.get("where")
    conditions.append(where.this if where is not None else None)
    for condition in conditions:
        if condition is not None:
            parts = condition.flatten() if isinstance(condition, exp.And) else [condition]
            found += [part for part in parts if isinstance(part, exp.EQ)]
    return found


Place = tuple[str, str]


def _place(node: exp.Expr, tables: Mapping[str, exp.Table]) -> Place | None:
    """The table and column that a node names, where it is one."""
    if not isinstance(node, exp.Column):
        return None
    if node.table:
        return (node.table, node.name) if node.table in tables else None
    return (next(iter(tables)), node.name) if len(tables) == 1 else None


def _closure(start: Place, equal: Sequence[tuple[Place | None, Place | None]]) -> list[Place]:
    """The columns that are equal to one, itself first."""
    found = [start]
    for one in found:
        for left, right in equal:
            for here, there in ((left, right), (right, left)):
                if here == one and there is not None and there not in found:
                    found.append(there)
    return found
