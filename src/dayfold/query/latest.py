"""The last day that is covered of some metrics. Query floor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from dayfold.define.rollup import RollupDef
from dayfold.errors import QueryRefused
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing
from dayfold.query.known import known
from dayfold.query.request import Request


def last_covered(ledger: Ledger, rollup: RollupDef, metrics: Sequence[str] | None, today: dt.date) -> dt.date:
    """The last day up to today that every source of the metrics (all by default) was folded on; today counts while it is open.

    Raises:
        UnknownName: for a metric that there is not; QueryRefused: when no day is covered.
    """
    request = Request.parse(rollup, metrics, from_=today, to=today, today=today)
    sources = sorted({source for name in request.metrics for source in request.sources_of(name)})
    ledger.store.open()
    with ledger.store.transaction(read_only=True) as session:
        found = known(ledger, session, rollup.name)
        days = found.last_days(ledger, session, today) if found else {}
    if any(source not in days for source in sources):
        raise QueryRefused(
            f"{rollup.name} has no covered day for {listing(request.metrics)}.",
            hint=f"Fold it: dayfold fold {rollup.name}",
        )
    return min(days[source] for source in sources)
