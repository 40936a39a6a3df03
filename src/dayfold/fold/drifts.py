"""Drifts: the differences that verify found, without those that only wait to be folded. Fold floor."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dayfold.define.types import DATE, INT, TEXT, Kind
from dayfold.engines.base import Session
from dayfold.ledger import marks
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup
from dayfold.plan.differences import CLASS, KEY, compared_columns
from dayfold.plan.proof import DAY
from dayfold.plan.shape import Column
from dayfold.plan.sql import Values, column, sql, table

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow as pa

CHANGED = "stored row changed outside a fold"
DEFINITION = "definition"
_FOUND = "dayfold_drifted__"
_CELL = (Column("n", INT), Column("key", TEXT), Column("day", DATE), Column("reason", TEXT))


@dataclass(slots=True)
class Drift:
    """One stored value that is not what the sources say.

    Attributes:
        reason: Its class: what the source has in comparison, or how the stored side changed.
        key: The key columns; ``bucket``: the start of the bucket where the grain is finer than a day, ISO in UTC.
        metric: The metric, and ``part`` of it: ``sum`` or ``count`` of a mean, ``set`` of distinct values, whose
            sizes are shown.
        stored: None where there is no row; ``actual``: None where there are no facts.
        note: What else has to be known.
        cell: The key as the ledger writes it.
    """

    rollup: str
    reason: str
    key: dict[str, Any] = field(default_factory=dict)
    day: dt.date | None = None
    bucket: str | None = None
    metric: str | None = None
    part: str | None = None
    stored: Any = None
    actual: Any = None
    healed: bool = False
    note: str = ""
    cell: str | None = None


def unmarked(ledger: Ledger, session: Session, rollup: str, version: int, rows: pa.Table) -> pa.Table | None:
    """The rows whose cells are not marked, or None where there are none."""
    _load(session, rows)
    query = ledger.sql(
        "select f.n from _found as f where not exists (select 1 from dayfold__marks as m where m.rollup = _rollup and "
        "m.version = _version and (m.day is null or (m.day = f.day and (m.key is null or m.key = f.key))))",
        _found=table(_FOUND), _rollup=exp.Literal.string(rollup), _version=exp.Literal.number(version),
    )  # fmt: skip
    kept = session.arrow(query, [_CELL[0]])
    return rows.take(kept["n"]) if kept.num_rows else None


def classed(rows: pa.Table, altered: Collection[dt.date]) -> pa.Table:
    """The same rows, those of altered days said to be changed outside a fold."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not altered:
        return rows
    by_hand = pc.is_in(rows[DAY], value_set=pa.array(sorted(altered), pa.date32()))
    reasons = pc.if_else(by_hand, CHANGED, rows[CLASS.name])
    return rows.set_column(rows.column_names.index(CLASS.name), CLASS.name, reasons)


def mark(ledger: Ledger, session: Session, rollup: str, version: int, rows: pa.Table) -> None:
    """The cells of these rows are marked, each with the class of its drift as the reason."""
    _load(session, rows)
    for reason in rows[CLASS.name].unique().to_pylist():
        values = Values()
        cells = exp.select(column("key"), column("day")).distinct().from_(table(_FOUND))
        cells = cells.where(sql("_r = _v", _r=column("reason"), _v=values.bind(reason, "text")))
        marks.mark(ledger, session, rollup, version, cells, f"drift: {reason}", values)


def _load(session: Session, rows: pa.Table) -> None:
    import pyarrow as pa

    numbers = pa.array(range(rows.num_rows), pa.int64())
    cells = [numbers, rows[KEY.name], rows[DAY], rows[CLASS.name]]
    session.load(_FOUND, _CELL, pa.table(dict(zip((one.name for one in _CELL), cells, strict=True))))


def cells(rows: pa.Table) -> set[tuple[str, dt.date]]:
    """The cells that these rows belong to."""
    alone = rows.group_by([KEY.name, DAY]).aggregate([])
    return set(zip(alone[KEY.name].to_pylist(), alone[DAY].to_pylist(), strict=True))


def cells_by_day(rows: pa.Table) -> dict[dt.date, int]:
    """How many cells each day has among these rows."""
    alone = rows.group_by([KEY.name, DAY]).aggregate([]).group_by([DAY]).aggregate([(KEY.name, "count")])
    return dict(zip(alone[DAY].to_pylist(), alone[f"{KEY.name}_count"].to_pylist(), strict=True))


def listed(rollup: BoundRollup, rows: pa.Table, limit: int) -> list[Drift]:
    """These rows metric by metric, the earliest days first, at most so many."""
    found: list[Drift] = []
    for row in rows.sort_by([(DAY, "ascending"), (KEY.name, "ascending")]).slice(0, max(limit, 0)).to_pylist():
        key = {one.name: row[one.name] for one in rollup.shape.key}
        for one in compared_columns(rollup):
            stored, actual = row[f"s_{one.name}"], row[f"a_{one.name}"]
            is_set = one.type.kind is Kind.HASHES
            if not (row[f"d_{one.name}"] if is_set else stored != actual):
                continue
            metric, _, part = one.name.partition("__")
            found.append(
                Drift(
                    rollup.name, row[CLASS.name], key, row[DAY], row["bucket__"], metric, part or None, stored, actual,
                    cell=row[KEY.name],
                )
            )  # fmt: skip
    return found[:limit]
