"""Sends each statement to the one of two databases whose tables it names, with the rows of the other that it needs. Engines floor.

A table says by its schema where it is. Temporary tables have none; they are wherever they are needed, and travel as Arrow. A part of a
statement that reads the other side alone runs there, and only what it gives travels.

Invariant: what a statement reads of one side, it reads in that side's snapshot of the same transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dayfold.engines.base import Session
from dayfold.engines.clickhouse import ClickHouseSession
from dayfold.errors import StoreError
from dayfold.plan.dialect import FOREIGN
from dayfold.plan.shape import Column
from dayfold.plan.sql import Constant, Statement, Values, table

if TYPE_CHECKING:
    import pyarrow as pa

#: The two sides: where the ledger is, and where rows are.
HOME, ROWS = "home", "rows"
#: What types are called at home that only ClickHouse calls otherwise.
_AT_HOME = {exp.DataType.Type.DATE32: "date", exp.DataType.Type.DATETIME64: "timestamptz"}
_MOVED = "dayfold_moved_{}__"
_NAMED = re.compile(r'"([^"]+)"')


class Router:
    """The temporary tables of one transaction, and where its statements run.

    Args:
        home: The session of the ledger's database, whose tables are in ``schema``.
        raw: Gives the session of the other one, which may not be needed at all.
        is_ours: Whether a table without a schema is one of the ledger, by its name.
        shown: Puts what readers see into a tree where it names tables of versions.
    """

    def __init__(
        self,
        home: Session,
        schema: str,
        raw: Callable[[], ClickHouseSession],
        shown: Callable[[exp.Expr], exp.Expr],
        is_ours: Callable[[str], bool],
    ) -> None:
        self.home = home
        self.schema = schema
        self.raw = raw
        self.shown = shown
        self.is_ours = is_ours
        #: The sides that each temporary table is on; what was loaded and is on none yet.
        self._sides: dict[str, set[str]] = {}
        self._loads: dict[str, tuple[Sequence[Column], pa.Table]] = {}
        self._moves = 0

    def on(self, side: str) -> Session | ClickHouseSession:
        """The session of a side."""
        return self.home if side == HOME else self.raw()

    # -- temporary tables ------------------------------------------------------------------------

    def staged(self, name: str, side: str) -> None:
        """A temporary table was made on a side."""
        self._loads.pop(name, None)
        self._sides[name] = {side}

    def load(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """A temporary table is on whichever side needs it."""
        self._loads[name] = (columns, rows)
        self._sides[name] = set()

    def changed(self, tree: exp.Expr, side: str) -> None:
        """What a statement wrote to, if that is a temporary table, is on this side only."""
        target = target_of(tree)
        if target is not None and not target.db and target.name in self._sides:
            self.staged(target.name, side)

    def is_on(self, name: str, side: str) -> bool:
        """Whether a temporary table is on a side."""
        return side in self._sides.get(name, ())

    def bring(self, name: str, side: str) -> None:
        """A temporary table is on this side too."""
        there = self._sides.setdefault(name, set())
        if side in there:
            return
        if name in self._loads:
            columns, rows = self._loads[name]
        elif there:
            columns, rows = self._read(Statement(exp.select("*").from_(table(name))), next(iter(there)))
        else:
            raise StoreError(f"The temporary table {name} was not made.")
        session = self.on(side)
        session.load(name, columns, rows)
        session.analyze(name)
        there.add(side)

    def bring_named(self, text: str, side: str) -> None:
        """The temporary tables that a text names are on a side."""
        for name in set(_NAMED.findall(text)) & self._sides.keys():
            self.bring(name, side)

    def _read(self, one: Statement, side: str) -> tuple[Sequence[Column], pa.Table]:
        """The rows of a query that reads one side alone."""
        session = self.on(side)
        columns = [Column(name, type_) for name, type_ in session.columns_of(one).items()]
        return columns, session.arrow(one, columns)

    # -- statements ------------------------------------------------------------------------------

    def route(self, one: Statement) -> tuple[str, Statement]:
        """The side that a statement runs on, and what runs there."""
        if isinstance(one, Constant):
            side = one.side or HOME
            self.bring_named(one.text, side)
            return side, one
        built = one.built()
        tree = built.tree.copy()
        side = self._side(one.side, tree)
        return side, Statement(self._gathered(tree, side, built.values), built.values)

    def _side(self, said: str | None, tree: exp.Expr) -> str:
        target = target_of(tree)
        if target is not None and (place := self._place_of(target)) is not None:
            return place
        if said is not None:
            return said
        found = _tables(tree)
        places = {self._place_of(node) for node in found}
        if ROWS in places or _is_foreign(tree):
            return ROWS
        if HOME in places:
            return HOME
        if target is not None and len(there := self._sides.get(target.name, set())) == 1:
            return next(iter(there))
        names = [node.name for node in found if node.name in self._sides]
        # Where all of them are anyway, and where there is a choice, where something else would have to travel to.
        at_home = bool(names) and all(self.is_on(name, HOME) for name in names)
        return HOME if at_home and (target is not None or not all(self.is_on(name, ROWS) for name in names)) else ROWS

    def _place_of(self, node: exp.Table) -> str | None:
        """The side of a table; None for a temporary one."""
        if node.db:
            return HOME if node.db == self.schema else ROWS
        if node.name in self._sides:
            return None
        return HOME if self.is_ours(node.name) else ROWS

    def _gathered(self, tree: exp.Expr, side: str, values: Values) -> exp.Expr:
        """The tree with all that it reads on its own side, and of versions what is shown."""
        other = ROWS if side == HOME else HOME
        for node in _tables(tree):
            if self._place_of(node) == other and _is_within(node, tree):
                self._exchange(self._largest(node, tree, other), side, other, values)
        for node in _tables(tree):
            if self._place_of(node) is None:
                self.bring(node.name, side)
        if side == ROWS:
            return self.shown(tree)
        for kind in list(tree.find_all(exp.DataType)):
            if kind.this in _AT_HOME:
                kind.replace(exp.DataType.build(_AT_HOME[kind.this]))
        return tree

    def _largest(self, node: exp.Table, tree: exp.Expr, other: str) -> exp.Expr:
        """The greatest query around a table that its own side can answer alone."""
        best: exp.Expr = node
        at = node.parent
        while at is not None and at is not tree:
            if isinstance(at, exp.Query) and not isinstance(at, exp.Subquery):
                if not self._is_answered(at, other):
                    break
                best = at
            at = at.parent
        return best

    def _is_answered(self, query: exp.Expr, side: str) -> bool:
        """Whether a query reads one side, in its own words, and nothing of what is around it."""
        if any(not isinstance(one.this, exp.Identifier) for one in query.find_all(exp.Table)):
            # A function that gives rows is spelled for the side that the statement is for.
            return False
        if not _is_closed(query) or (_is_foreign(query) if side == HOME else _is_numbering(query)):
            return False
        for one in _tables(query):
            place = self._place_of(one)
            if place is None:
                if side == HOME and self._sides.get(one.name) == {ROWS}:
                    return False
            elif place != side:
                return False
        return True

    def _exchange(self, node: exp.Expr, side: str, other: str, values: Values) -> None:
        """A part of a statement is a temporary table of its side, with the rows that it has on the other."""
        self._moves += 1
        name = _MOVED.format(self._moves)
        if isinstance(node, exp.Table):
            part: exp.Expr = exp.select("*").from_(table(node.name, node.db or None))
            fresh: exp.Expr = exp.alias_(table(name), node.alias or node.name, table=True)
        else:
            part, fresh = node.copy(), exp.select("*").from_(table(name))
        self.load(name, *self._read(Statement(self._gathered(part, other, values), values), other))
        node.replace(fresh)


def target_of(tree: exp.Expr) -> exp.Table | None:
    """The table that a statement writes to."""
    if isinstance(tree, exp.Insert):
        found: Any = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    elif isinstance(tree, exp.Update | exp.Delete):
        found = tree.this
    else:
        return None
    return found if isinstance(found, exp.Table) else None


def _tables(tree: exp.Expr) -> list[exp.Table]:
    """The tables that a tree names, its own queries and functions left out."""
    names = {cte.alias for cte in tree.find_all(exp.CTE)}
    return [
        node
        for node in tree.find_all(exp.Table)
        if isinstance(node.this, exp.Identifier) and (node.db or node.name not in names)
    ]


def _is_foreign(tree: exp.Expr) -> bool:
    """Whether a tree has words that only ClickHouse understands."""
    return any(FOREIGN in node.meta for node in tree.walk() if node._meta)


def _is_numbering(tree: exp.Expr) -> bool:
    """Whether a tree takes numbers of a sequence, which is at home."""
    return any(one.name.lower() == "nextval" for one in tree.find_all(exp.Anonymous))


def _is_within(node: exp.Expr, tree: exp.Expr) -> bool:
    """Whether a node is still a part of a tree."""
    at: exp.Expr | None = node
    while at is not None and at is not tree:
        at = at.parent
    return at is tree


def _is_closed(query: exp.Expr) -> bool:
    """Whether every column that a query names with its table is of a table of its own."""
    own = {node.alias_or_name for node in query.find_all(exp.Table)}
    own |= {node.alias for node in query.find_all(exp.Subquery, exp.CTE, exp.Lateral, exp.Unnest, exp.Values)}
    return all(not one.table or one.table in own for one in query.find_all(exp.Column))
