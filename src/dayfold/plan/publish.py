"""The one way rows of the store change: a change set against what is stored, then only that is written.

Plan floor, pure. The change set names what is inserted, updated and deleted; it is also what counts, dry runs
and brakes are read from.

Invariant: after its statements ran, the rows of the scope equal the new rows, and no other row was touched.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from dayfold.days import Days
from dayfold.plan.cells import Cells, cell_day
from dayfold.plan.dialect import Dialect
from dayfold.plan.keys import Admits
from dayfold.plan.shape import Column, Shape
from dayfold.plan.sql import Statement, Values, alias, both, column, either, remembered, sql, statement, table

CHANGES = "dayfold_changes__"
INSERTED, UPDATED, DELETED = "I", "U", "D"


@dataclass(frozen=True, slots=True)
class Publication:
    """New rows for a scope of one table.

    Attributes:
        shape: The table.
        staged: The new rows: the key columns, ``slot__``, and a column for each of ``names``.
        names: What each value column is called in the staged rows.
        scope: The days whose rows are replaced.
        cells: Of these days, the cells whose rows are replaced; None for all of them.
        keys: Of these days, the keys whose rows are replaced.
        frozen: The columns of sources that failed: left as they are.
        present: A condition on the staged rows, where not all of them are rows of this table.
    """

    shape: Shape
    staged: exp.Expr
    names: Sequence[str]
    scope: Sequence[Days]
    dialect: Dialect
    frozen: frozenset[str] = frozenset()
    present: exp.Expr | None = None
    cells: Cells | None = None
    keys: tuple[Admits, ...] = ()

    @property
    def active(self) -> list[tuple[Column, str]]:
        """The value columns that this publication decides, each with its name in the staged rows."""
        pairs = zip(self.shape.values, self.names, strict=True)
        return [(one, name) for one, name in pairs if one.name not in self.frozen]

    def in_scope(self, values: Values, of: str | None = None) -> exp.Expr:
        """True for stored rows of the scope's days and keys."""
        day = self.shape.day(of)
        within = either(
            sql(
                "_d >= _low and _d <= _high",
                _d=day,
                _low=values.bind(days.first, "date"),
                _high=values.bind(days.last, "date"),
            )
            for days in self.scope
        )
        types = {one.name: one.type for one in self.shape.key}
        return both([within, *(one.admits(column(one.key, of), types[one.key], values) for one in self.keys)])

    def stored(self, values: Values, old: str) -> exp.Expr:
        """The stored rows of the scope, each with its place."""
        rows = exp.select(
            exp.Column(this=exp.Star(), table=exp.to_identifier(old)), alias(self._row_place(old), "place__")
        )
        rows = rows.from_(exp.alias_(self.shape.table, old, table=True)).where(self.in_scope(values, old))
        if self.cells is None:
            return rows
        on_day = sql("_d = _c", _d=self.shape.day(old), _c=cell_day())
        keys = [column(one.name, old) for one in self.shape.key]
        parts = []
        for null_safe in self.cells.branches():
            listed = exp.select(alias(exp.Literal.number(1), "one")).from_(self.cells.source)
            listed = listed.where(self.cells.listed(keys, on_day, null_safe))
            parts.append(rows.copy().where(exp.Exists(this=listed)))
        return parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False)

    def any_stored(self) -> Statement:
        """One row where the scope holds rows already."""
        values = Values()
        select = (
            exp.select(alias(exp.Literal.number(1), "one"))
            .from_(self.shape.table)
            .where(self.in_scope(values))
            .limit(1)
        )
        return Statement(select, values)

    def holding(self, source: str) -> Statement:
        """One row where the scope holds anything that a source gave."""
        values = Values()
        mine = [one for one in self.shape.values if one.source == source]
        held = either(one.holds(column(one.name), self.dialect) for one in mine)
        select = exp.select(alias(exp.Literal.number(1), "one")).from_(self.shape.table)
        return Statement(select.where(both([self.in_scope(values), held])).limit(1), values)

    @property
    def _key(self) -> tuple[Hashable, ...] | None:
        """What decides the texts of its statements; None where filters make each of its own kind."""
        if self.keys:
            return None
        cells = None
        if self.cells is not None:
            cells = (self.cells.source, self.cells.key, self.cells.has_null)
        staged = self.staged if isinstance(self.staged, exp.Table) else None
        if staged is None:
            return None
        return (self.shape, staged, tuple(self.names), len(self.scope), self.frozen, self.present, cells)

    @property
    def _bounds(self) -> list[dt.date]:
        return [day for days in self.scope for day in (days.first, days.last)]

    def _remembered(self, what: str, values: list[Any], build: Callable[[], Statement]) -> Statement:
        key = self._key
        return build() if key is None else remembered((what, *key), values, build)

    def changes(self) -> Statement:
        """The change set: what differs, how, and where its stored row is."""
        return self._remembered("changes", self._bounds, self._changes)

    def _changes(self) -> Statement:
        values = Values()
        old, new = "t", "n"
        stored = self.stored(values, old)
        slots = ((one.name, one.name if one in self.shape.key else "slot__") for one in self.shape.identity)
        on = both(self._equal(column(mine, old), column(theirs, new)) for mine, theirs in slots)
        gone, fresh = (
            sql("_s is null", _s=column("slot__", new)),
            sql("_s is null", _s=column("place__", old)),
        )
        kept = self._kept(old)
        op = sql(
            "case when _fresh then 'I' when _gone and not (_kept) then 'D' else 'U' end",
            _fresh=fresh,
            _gone=gone,
            _kept=kept,
        )
        identity = [
            alias(
                sql(
                    "case when _gone then _o else _n end",
                    _gone=gone,
                    _o=column(one.name, old),
                    _n=column(one.name if one in self.shape.key else "slot__", new),
                ),
                one.name,
            )
            for one in self.shape.identity
        ]
        day = self._day(column("slot__", new))
        filled = [(one, one.filled(column(name, new), day)) for one, name in self.active]
        stands = {one.name: column(one.name, old) for one in self.shape.values}
        filled += self._made(stands | {one.name: value for one, value in filled}, identity)
        differs = either(sql("_o is distinct from _n", _o=column(one.name, old), _n=value) for one, value in filled)
        select = exp.select(
            alias(op, "op__"),
            alias(column("place__", old), "place__"),
            *identity,
            *(alias(v, one.name) for one, v in filled),
        )
        select = select.from_(exp.Subquery(this=stored, alias=exp.TableAlias(this=exp.to_identifier(old))))
        select = select.join(self._new_rows(new), on=on, join_type="full")
        select = select.where(either([fresh, both([gone, exp.Not(this=exp.Paren(this=kept))]), differs]))
        return Statement(select, values)

    def _made(self, values: dict[str, exp.Expr], identity: Sequence[exp.Expr] = ()) -> list[tuple[Column, exp.Expr]]:
        """The columns that are made of others, with what these values make of them. ``identity``: the key's own, as aliases."""
        packed = [(one, self.shape.pack(self.dialect, values)) for one in self.shape.packed]
        if not self.shape.made:
            return packed
        keys = {one.alias: one.this for one in identity} if identity else {}
        made = self.shape.making(keys | values)
        return [*packed, *((one, self.dialect.cast(made[one.name], one.type)) for one in self.shape.computed)]

    @property
    def written(self) -> list[Column]:
        """The columns that are written, beside the identity and the stamps."""
        return [*(one for one, _ in self.active), *self.shape.packed, *self.shape.computed]

    def _day(self, slot: exp.Expr) -> exp.Expr:
        """The day of a slot."""
        return (
            slot
            if self.shape.is_lifelong or self.shape.slot == self.shape.day_column
            else self.dialect.piece("utc_date", _x=slot)
        )

    def _row_place(self, of: str) -> exp.Expr:
        """Where a stored row is; true where rows have no place, and only their identity tells which they are."""
        return row_place(self.dialect, of)

    def _same_row(self, stored: str, change: str) -> exp.Expr:
        """True for the stored row of a change."""
        return same_row(self.dialect, self.shape, stored, change)

    def _new_rows(self, name: str) -> exp.Expr:
        rows = exp.select("*").from_(self.staged.copy())
        if self.present is not None:
            rows = rows.where(self.present.copy())
        return exp.Subquery(this=rows, alias=exp.TableAlias(this=exp.to_identifier(name)))

    def _kept(self, of: str) -> exp.Expr:
        """True for a stored row that facts of a failed source still stand in."""
        held = [one for one in self.shape.values if one.name in self.frozen]
        return either(one.holds(column(one.name, of), self.dialect) for one in held)

    def _equal(self, one: exp.Expr, other: exp.Expr) -> exp.Expr:
        return self.dialect.piece("equal", _x=one, _y=other)

    def insert(self, now: dt.datetime, run_id: int, from_changes: bool) -> Statement:
        """New rows: those of the change set, or all staged ones where nothing was stored."""
        stamps = [now, run_id] if self.shape.stamped else []
        what = f"insert {from_changes}"
        return self._remembered(what, stamps, lambda: self._insert(now, run_id, from_changes))

    def _insert(self, now: dt.datetime, run_id: int, from_changes: bool) -> Statement:
        values = Values()
        shape = self.shape
        items: list[exp.Expr] = [column(one.name) for one in shape.key]
        slot: exp.Expr
        if from_changes:
            slot = shape.slot_of()
            active: dict[str, exp.Expr] = {one.name: column(one.name) for one in self.written}
            source = exp.select().from_(table(CHANGES)).where(sql("op__ = 'I'"))
        else:
            slot = column("slot__")
            active = {one.name: one.filled(column(name), self._day(slot)) for one, name in self.active}
            absent = {one.name: self.dialect.cast(exp.Null(), one.type) for one in self.shape.values}
            active |= {one.name: value for one, value in self._made(absent | active)}
            source = exp.select().from_(self.staged.copy())
            if self.present is not None:
                source = source.where(self.present.copy())
        if not shape.is_lifelong:
            items.append(slot)
            if shape.slot != shape.day_column:
                items.append(self._day(slot))
        columns = (*shape.body, *shape.packed)
        items += [active.get(one.name, self.dialect.cast(exp.Null(), one.type)) for one in columns]
        if shape.stamped:
            stamp = values.bind(now, "timestamptz")
            items += [stamp, stamp.copy(), values.bind(run_id, "bigint")]
        target = exp.Schema(
            this=shape.table, expressions=[exp.to_identifier(one.name, quoted=True) for one in shape.columns]
        )
        return Statement(exp.Insert(this=target, expression=source.select(*items)), values)

    def update(self, now: dt.datetime, run_id: int) -> Statement:
        """Changed rows, their stamps moved."""
        stamps = [now, run_id] if self.shape.stamped else []
        return self._remembered("update", stamps, lambda: self._update(now, run_id))

    def moving(self, columns: Collection[Column]) -> Statement:
        """The identities of rows that come, go, or change in one of some columns. Before anything of it is applied."""
        differs = either(
            sql("_o is distinct from _n", _o=column(one.name, "t"), _n=column(one.name, "c")) for one in columns
        )
        select = exp.select(*(column(one.name, "c") for one in self.shape.identity))
        select = select.from_(exp.alias_(table(CHANGES), "c", table=True))
        select = select.join(
            exp.alias_(self.shape.table, "t", table=True), on=self._same_row("t", "c"), join_type="left"
        )
        return Statement(select.where(either([sql("_op <> 'U'", _op=column("op__", "c")), differs])))

    def differing(self) -> Statement:
        """One row that says of each written column whether it differs in any row that changes."""
        tests = [
            alias(
                sql(
                    "coalesce(bool_or(_o is distinct from _n), false)",
                    _o=column(one.name, "t"),
                    _n=column(one.name, "c"),
                ),
                one.name,
            )
            for one in self.written
        ]
        select = exp.select(*tests).from_(exp.alias_(table(CHANGES), "c", table=True))
        here = exp.alias_(self.shape.table, "t", table=True)
        return Statement(select.join(here, on=self._at_place(UPDATED)))

    def update_of(self, now: dt.datetime, run_id: int, names: Collection[str], *, stamped: bool) -> Statement:
        """Changed rows get some columns; ``stamped``: all of them, and their stamps move, else those where one of these differs."""
        columns = [one for one in self.written if one.name in names]
        tree = self._updating(now, run_id, columns, stamped=stamped)
        if not stamped:
            differs = either(
                sql("_o is distinct from _n", _o=column(one.name, "t"), _n=column(one.name, "c")) for one in columns
            )
            tree.tree.set("where", exp.Where(this=both([self._at_place(UPDATED), differs])))
        return tree

    def _update(self, now: dt.datetime, run_id: int) -> Statement:
        return self._updating(now, run_id, self.written, stamped=True)

    def _updating(self, now: dt.datetime, run_id: int, columns: Sequence[Column], *, stamped: bool) -> Statement:
        values = Values()
        assignments = [exp.EQ(this=column(one.name), expression=column(one.name, "c")) for one in columns]
        if stamped and self.shape.stamped:
            assignments.append(exp.EQ(this=column("updated_at"), expression=values.bind(now, "timestamptz")))
            assignments.append(exp.EQ(this=column("run_id"), expression=values.bind(run_id, "bigint")))
        tree = exp.Update(
            this=exp.alias_(self.shape.table, "t", table=True),
            expressions=assignments,
            from_=exp.From(this=exp.alias_(table(CHANGES), "c", table=True)),
            where=exp.Where(this=self._at_place(UPDATED)),
        )
        return Statement(tree, values)

    def delete(self) -> Statement:
        """Vanished rows."""
        return self._remembered("delete", [], self._delete)

    def _delete(self) -> Statement:
        tree = exp.Delete(
            this=exp.alias_(self.shape.table, "t", table=True),
            using=[exp.alias_(table(CHANGES), "c", table=True)],
            where=exp.Where(this=self._at_place(DELETED)),
        )
        return Statement(tree)

    def _at_place(self, op: str) -> exp.Expr:
        is_this = exp.EQ(this=column("op__", "c"), expression=exp.Literal.string(op))
        return both([self._same_row("t", "c"), is_this])


def row_place(dialect: Dialect, of: str) -> exp.Expr:
    """Where a stored row is; true where rows have no place, and only their identity tells which they are."""
    if dialect.name == "clickhouse":
        return exp.true()
    return column("rowid" if dialect.name == "duckdb" else "ctid", of)


def same_row(dialect: Dialect, shape: Shape, stored: str, change: str) -> exp.Expr:
    """True for a stored row and its row of the change set."""
    if dialect.name == "clickhouse":
        pairs = [(column(one.name, stored), column(one.name, change)) for one in shape.identity]
        return both(dialect.piece("equal", _x=one, _y=other) for one, other in pairs)
    return exp.EQ(this=row_place(dialect, stored), expression=column("place__", change))


def change_counts() -> Statement:
    """How many rows of the change set are inserted, updated and deleted."""
    return statement(f'select op__, count(*) as rows from "{CHANGES}" group by op__')
