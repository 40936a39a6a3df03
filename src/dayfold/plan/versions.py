"""Rows of a store that cannot change rows: each is a version, the newest published one counts. Plan floor, pure.

A table is kept as versions in a table of its own (`Kept`), where each row says which *write* made it. A write is numbered in the ledger
before its first row is written, and published by the ledger's commit. Readers take the rows of published writes, and of several versions
of one row the newest; a version that is gone says that there is no row.

Invariant: what a reader sees is decided by one snapshot of the ledger, whatever is written meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from dayfold.define.types import Type
from dayfold.plan.shape import Column, quoted
from dayfold.plan.sql import alias, column, identifier, table

#: The columns of every version beside those of its table: which write made it, whether it says that the row is gone, and whether
#: there was a row before it.
WRITE, GONE, REVISES = "write__", "gone__", "revises__"
#: What tells rows apart in a table that has no columns for it.
ROW = "row__"
#: What the table of versions of a table is called first; the write that made it follows.
VERSIONS_PREFIX = "dayfold_versions__"
#: The table by which views know what is published.
SEEN = "dayfold_seen__"
#: So many statements of one write are told apart.
STEPS = 1 << 16
_REVISED, _PLACE = "revised__", "place__"


@dataclass(frozen=True, slots=True)
class Kept:
    """A table of the store and where its versions stand.

    Attributes:
        name: What it is called; ``versions``: the table of its versions, in the same database.
        columns: With their types; ``identity``: those that tell its rows apart, `ROW` alone where none do.
        month: The column of the day by whose month it is divided; None where it is not.
        is_log: Whether rows hardly ever change once they are there.
        revised: Whether some row has more than one version.
    """

    name: str
    versions: str
    columns: tuple[Column, ...]
    identity: tuple[str, ...]
    month: str | None = None
    required: frozenset[str] = frozenset()
    is_log: bool = False
    revised: bool = False

    @property
    def names(self) -> list[str]:
        """The columns that it has for readers."""
        return [one.name for one in self.columns]

    @property
    def all_names(self) -> list[str]:
        """Those, and what tells rows apart."""
        return [*self.names, *([ROW] if self.identity == (ROW,) else [])]

    def known(self, name: str) -> Type | None:
        """The type of a column, or None where there is none of that name."""
        return next((one.type for one in self.columns if one.name == name), None)

    def with_columns(self, columns: Sequence[Column]) -> Kept:
        """The same with other columns."""
        return replace(self, columns=tuple(columns))


@dataclass(frozen=True, slots=True)
class Seen:
    """What one snapshot of the ledger shows: writes up to a number, but for those that were not published; and its own.

    Attributes:
        last: The greatest number that was given out; ``pending``: those up to it that are not published.
        own: The write of the transaction that looks, whose rows it sees; ``below``: only versions before this one.
    """

    last: int = 0
    pending: tuple[int, ...] = ()
    own: int = 0
    below: int | None = None

    @property
    def settled(self) -> int:
        """The last write that is published and has none before it that is not."""
        return min([self.last + 1, *self.pending]) - 1

    def shows(self) -> exp.Expr:
        """True for versions that readers of this snapshot may see."""
        write = column(WRITE)
        limit = exp.Literal.number((self.last + 1) * STEPS)
        shown: exp.Expr = exp.LT(this=write.copy(), expression=limit)
        hidden = [exp.Literal.number(one) for one in sorted(self.pending) if one != self.own]
        if hidden:
            # One list, however many go on at once: a condition for each would nest as deep as there are.
            number = exp.Anonymous(this="intDiv", expressions=[write.copy(), exp.Literal.number(STEPS)])
            shown = exp.and_(shown, exp.Not(this=exp.In(this=number, expressions=hidden)))
        if self.own > self.last:
            shown = exp.or_(exp.Paren(this=shown), _of_write(write, self.own))
        if self.below is not None:
            shown = exp.and_(
                exp.Paren(this=shown), exp.LT(this=write.copy(), expression=exp.Literal.number(self.below))
            )
        return exp.Paren(this=shown)


def _of_write(write: exp.Expr, number: int) -> exp.Expr:
    low, high = (exp.Literal.number(one * STEPS) for one in (number, number + 1))
    return exp.and_(exp.GTE(this=write.copy(), expression=low), exp.LT(this=write.copy(), expression=high))


@dataclass(frozen=True, slots=True)
class Reader:
    """Builds what is read of versioned tables under one snapshot."""

    schema: str
    seen: Seen = field(default_factory=Seen)

    def rows(self, kept: Kept, *, whole: bool = False) -> exp.Select:
        """A select of a table's rows as readers see them; ``whole``: with what tells rows apart too.

        Conditions on a row's identity that are asked around it are pushed through it by ClickHouse, down to the parts that are read.
        """
        names = [column(one) for one in (kept.all_names if whole else kept.names)]
        base = exp.select().from_(table(kept.versions, self.schema)).where(self.seen.shows())
        if not kept.revised:
            return base.select(*names)
        if kept.is_log:
            return self._of_log(kept, base, names)
        return newest_of(kept, base, names)

    def _of_log(self, kept: Kept, base: exp.Select, names: Sequence[exp.Expr]) -> exp.Select:
        """Of a table whose rows hardly ever change: those that did are few, and are told apart from all others."""
        [one] = kept.identity
        revised = base.copy().where(column(REVISES)).select(column(one))
        plain = base.copy().where(exp.Not(this=column(REVISES)))
        plain = plain.where(exp.Not(this=exp.In(this=column(one), query=exp.Subquery(this=revised)))).select(*names)
        fresh = newest_of(kept, base.copy().where(column(REVISES)), names)
        both = exp.union(plain, fresh, distinct=False)
        return exp.select(*names).from_(both.subquery("kept__"))


def newest_of(kept: Kept, versions: exp.Select, names: Sequence[exp.Expr]) -> exp.Select:
    """The newest of some versions of each row, but for those that say that the row is gone."""
    newest = exp.Ordered(this=column(WRITE), desc=True, nulls_first=False)
    place = exp.Window(
        this=exp.RowNumber(), partition_by=[column(one) for one in kept.identity], order=exp.Order(expressions=[newest])
    )
    inner = versions.select(*names, column(GONE), alias(place, _PLACE))
    first = exp.EQ(this=column(_PLACE), expression=exp.Literal.number(1))
    return exp.select(*names).from_(inner.subquery(_REVISED)).where(first, exp.Not(this=column(GONE)))


def beside(kept: Kept, name: str, condition: exp.Expr | None, other: exp.Expr) -> list[exp.Expr]:
    """What a table's rows meet anyway, by a temporary table that they are joined to on this condition.

    With it only the parts are read that hold such rows, and not the whole table.

    ``name``: what the table is called there. A NULL is equal to another, so it is let through where the column may have one.
    """
    if condition is None or not isinstance(other, exp.Table) or other.db:
        return []
    known = other.alias or other.name
    found: list[exp.Expr] = []
    for part in condition.unnest().flatten() if isinstance(condition.unnest(), exp.And) else [condition]:
        equal = part.unnest()
        if not isinstance(equal, exp.EQ | exp.NullSafeEQ):
            continue
        pair = {one.table: one for one in (equal.this, equal.expression) if isinstance(one, exp.Column)}
        if pair.keys() != {name, known} or pair[name].name not in kept.identity:
            continue
        values = exp.select(column(pair[known].name)).from_(table(other.name))
        mine: exp.Expr = exp.In(this=column(pair[name].name), query=exp.Subquery(this=values))
        if isinstance(equal, exp.NullSafeEQ):
            null = exp.Is(this=column(pair[name].name), expression=exp.null())
            mine = exp.Paren(this=exp.or_(mine, null))
        found.append(mine)
    return found


def limited(rows: exp.Select, conditions: Collection[exp.Expr]) -> exp.Select:
    """Those of some rows that meet conditions."""
    return exp.select("*").from_(rows.subquery("beside__")).where(*conditions) if conditions else rows


def rewritten(tree: exp.Expr, write: int, kept: Kept, reader: Reader) -> exp.Expr:
    """An INSERT, UPDATE or DELETE of a table as the insert of versions.

    ``write``: of the versions, its step included.
    """
    if isinstance(tree, exp.Insert):
        return _inserted(tree, write, kept, reader)
    here = tree.this
    name = here.alias or here.name
    where = tree.args.get("where")
    condition = where.this.copy() if where is not None else None
    others = _others(tree)
    near = [one for other in others for one in beside(kept, name, condition, other)]
    old = exp.alias_(exp.Subquery(this=limited(reader.rows(kept, whole=True), near)), name, table=True)
    changed: dict[str, exp.Expr] = {}
    if isinstance(tree, exp.Update):
        changed = {one.this.name: one.expression.copy() for one in tree.args["expressions"]}
    gone = isinstance(tree, exp.Delete)
    items = [alias(changed.get(one, column(one, name)), one) for one in kept.all_names]
    select = exp.select(*items, *_marks(write, gone=gone, revises=True)).from_(old)
    for one in others:
        select = select.join(
            one.copy(), on=condition.copy() if condition is not None else exp.true(), join_type="inner"
        )
    if condition is not None and not others:
        select = select.where(condition.copy())
    moved = [one for one in kept.identity if one in changed]
    if moved:
        # A row that is told apart otherwise from now on: the old one is gone, and there is a new one.
        was = exp.select(
            *(alias(column(one, name), one) for one in kept.all_names), *_marks(write, gone=True, revises=True)
        )
        was = was.from_(old.copy())
        for one in others:
            was = was.join(one.copy(), on=condition.copy() if condition is not None else exp.true(), join_type="inner")
        if condition is not None and not others:
            was = was.where(condition.copy())
        select = exp.union(select, was, distinct=False)  # type: ignore[assignment]
    return _insert(kept, reader.schema, kept.all_names, select)


def _others(tree: exp.Expr) -> list[exp.Expr]:
    if isinstance(tree, exp.Update):
        found = tree.args.get("from_")
        return [found.this] if found is not None else []
    return list(tree.args.get("using") or [])


def _marks(write: int, *, gone: bool, revises: bool) -> list[exp.Expr]:
    truth = {True: exp.true(), False: exp.false()}
    return [alias(exp.Literal.number(write), WRITE), alias(truth[gone], GONE), alias(truth[revises], REVISES)]


def _inserted(tree: exp.Insert, write: int, kept: Kept, reader: Reader) -> exp.Expr:
    target = tree.this
    names = [one.name for one in target.expressions] if isinstance(target, exp.Schema) else kept.names
    rows = tree.expression
    if isinstance(rows, exp.Values):
        selects = [exp.select(*(one.copy() for one in row.expressions)) for row in rows.expressions]
        rows = selects[0]
        for one in selects[1:]:
            rows = exp.union(rows, one, distinct=False)
    rows = rows.copy()
    _name_items(rows, names)
    inner = exp.select("*", *_marks(write, gone=False, revises=False)).from_(
        exp.Subquery(this=rows, alias=exp.TableAlias(this=identifier("rows__")))
    )
    return _insert(kept, reader.schema, names, inner)


def _name_items(rows: exp.Expr, names: Sequence[str]) -> None:
    """What a query gives is called as the columns that it is for: two of the same name would become one."""
    first = rows
    while not isinstance(first, exp.Select):
        first = first.this
    if any(isinstance(one, exp.Star) for one in first.expressions):
        return
    items = [alias(one.unalias(), name) for one, name in zip(first.expressions, names, strict=True)]
    first.set("expressions", items)


def _insert(kept: Kept, schema: str, names: Sequence[str], rows: exp.Expr) -> exp.Expr:
    target = exp.Schema(
        this=table(kept.versions, schema), expressions=[identifier(one) for one in (*names, WRITE, GONE, REVISES)]
    )
    return exp.Insert(this=target, expression=rows)


def made_by(name: str) -> int:
    """The write that made a table of versions, by the table's name; 0 where it is no such name.

    >>> made_by("dayfold_versions__12__orders"), made_by("orders")
    (12, 0)
    """
    found = re.match(rf"{VERSIONS_PREFIX}(\d+)__", name)
    return int(found[1]) if found else 0


def declaration(
    kept: Kept, types: dict[str, str], schema: str, family: str, order: Sequence[str], settings: str
) -> str:
    """The statement that makes the table of versions."""
    columns = [f"{quoted(one.name)} {types[one.name]}" for one in kept.columns]
    if kept.identity == (ROW,):
        columns.append(f"{quoted(ROW)} UUID DEFAULT generateUUIDv4()")
    columns += [f"{quoted(WRITE)} UInt64", f"{quoted(GONE)} Bool", f"{quoted(REVISES)} Bool"]
    columns.append(f"INDEX writes__ {quoted(WRITE)} TYPE minmax GRANULARITY 1")
    divided = f" PARTITION BY toYYYYMM({quoted(kept.month)})" if kept.month else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted(schema)}.{quoted(kept.versions)} ({', '.join(columns)}) ENGINE = {family}{divided} "
        f"ORDER BY ({', '.join(quoted(one) for one in order)}) SETTINGS {settings}"
    )
