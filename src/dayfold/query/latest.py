"""The last day that is covered of some metrics. Query floor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from dayfold.define.rollup import RollupDef
from dayfold.errors import QueryRefused
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing
from dayfold.query.request import Request
from dayfold.query.run import known_version


def last_covered(ledger: Ledger, rollup: RollupDef, metrics: Sequence[str] | None, today: dt.date) -> dt.date:
    """The last day up to today that every source of the metrics (all by default) was folded on; today counts while it is open.

    Raises:
        UnknownName: for a metric that there is not; QueryRefused: when no day is covered.
    """
    request = Request.parse(rollup, metrics, from_=today, to=today, today=today)
    sources = sorted({source for name in request.metrics for source in request.sources_of(name)})
    ledger.store.open()
    with ledger.store.transaction(read_only=True) as session:
        version = known_version(ledger, session, rollup.name)
        days: dict[str, dt.date] = {}
        if version is not None:
            query = ledger.sql(
                "select source, max(day) from dayfold__coverage where rollup = :rollup and version = :version and "
                "day <= :today::date and not folded_at is null group by source",
                rollup=rollup.name, version=version.number, today=today,
            )  # fmt: skip
            days = dict(session.rows(query))
    if any(source not in days for source in sources):
        raise QueryRefused(
            f"{rollup.name} has no covered day for {listing(request.metrics)}.",
            hint=f"Fold it: dayfold fold {rollup.name}",
        )
    return min(days[source] for source in sources)
