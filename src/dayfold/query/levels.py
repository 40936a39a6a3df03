"""The cells in which changed levels show, as the next fold will mark them. Query floor.

Nothing is written: entities that are marked, and days that are marked whole, are followed in the snapshots of one answer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.engines.base import Session
from dayfold.engines.scans import leads_to_levels
from dayfold.ledger import marks
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import Scan
from dayfold.plan.follow import everybody, following, levels_tag, marked_entities
from dayfold.plan.sql import Statement, Values, alias, derived, sql
from dayfold.query.sources import Snapshots, Sources

if TYPE_CHECKING:
    import pyarrow as pa


def shown_next(
    ledger: Ledger, snapshots: Snapshots, sources: Sources, number: int, scan: Scan, days: Sequence[dt.date]
) -> list[tuple[str | None, pa.Table]]:
    """Cells, ``key`` and ``day``, that levels show in which changed since a fold last followed them, and since when.

    ``days``: those that are marked whole; since when, is not said of them.

    Raises:
        ScanFailed: when the source cannot be read.
    """
    tag = levels_tag(sources.rollup.name, scan)
    marked = sources.entities.get(tag)
    if marked is None and not snapshots.apart(scan):
        marked = marks.entities(ledger, tag, number)
    found: list[tuple[str | None, pa.Table]] = []
    with snapshots.reading(scan) as session:
        led = leads_to_levels(sources.databases.of(scan.source), session, scan)
        since = _since(session, scan, marked) if marked is not None else None
        if marked is not None and since is not None:
            cells = following(scan, marked_entities(scan, marked), led=led)
            found.append((since, session.arrow(Statement(cells), marks.CELL)))
        if days:
            values = Values()
            cells = following(scan, everybody(scan, days, values), led=led)
            found.append((None, session.arrow(Statement(cells, values), marks.CELL)))
    return found


def _since(session: Session, scan: Scan, marked: exp.Select) -> str | None:
    """When the first of these entities was marked; None where none is."""
    first = scan.dialect.piece("iso_moment", _x=sql("min(m.marked_at)"))
    [(since,)] = session.rows(Statement(exp.select(alias(first, "since")).from_(derived(marked, "m"))))
    return str(since) if since is not None else None
