"""Facts of listed cells: the join that finds them, in words that an index understands. Plan floor, pure."""

from __future__ import annotations

from sqlglot import exp

from dayfold.plan.bind import Scan
from dayfold.plan.cells import Cells, cell_day
from dayfold.plan.sql import sql


def from_cells(select: exp.Select, scan: Scan, cells: Cells | None) -> exp.Expr:
    """The select from all facts, or from those of listed cells; cells with a NULL in their key by a part of its own."""
    if cells is None:
        return select.from_(scan.relation.copy())
    day = cell_day()
    on_day = scan.moment.on_day(day) if cells.by_range else sql("_d = _day", _d=scan.moment.day, _day=day)
    keys = [bare(tree) for _, tree in scan.keys]
    parts = []
    for null_safe in cells.branches():
        part = select.copy().from_(cells.source)
        part = part.join(scan.relation.copy(), on=cells.listed(keys, on_day, null_safe))
        if scan.dialect.name == "clickhouse" and not null_safe:
            # A join reads all days from the first cell to the last there; by lists only the granules are read that hold some of it.
            part = part.where(*cells.near(keys, scan.moment.day))
        parts.append(part)
    return parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False)


def column_of(tree: exp.Expr) -> str | None:
    """The column that a key is, whatever casts and orders it is given; None where it is an expression."""
    while isinstance(tree, exp.Collate | exp.Cast):
        kind = tree.to.this if isinstance(tree, exp.Cast) else None
        if kind not in (None, exp.DataType.Type.BIGINT, exp.DataType.Type.TEXT):
            return None
        tree = tree.this
    return tree.name if isinstance(tree, exp.Column) else None


def bare(tree: exp.Expr) -> exp.Expr:
    """A key's column as an index has it, without the cast and the order that grouping gives it."""
    while isinstance(tree, exp.Collate | exp.Cast) and isinstance(tree.this, exp.Column | exp.Cast | exp.Collate):
        if isinstance(tree, exp.Cast) and tree.to.this != exp.DataType.Type.BIGINT:
            break
        tree = tree.this
    return tree
