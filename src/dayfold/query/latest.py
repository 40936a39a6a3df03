"""The last day that is covered of some metrics. Query floor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlglot import exp

from dayfold.define.rollup import RollupDef
from dayfold.define.source import Table
from dayfold.errors import QueryRefused
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing
from dayfold.plan.sql import Statement, Values, both, column, sql, table
from dayfold.query.known import known
from dayfold.query.request import Request
from dayfold.query.run import folded


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


def newest_row(ledger: Ledger, request: Request) -> dt.date | None:
    """The newest day on which a rollup has a row, of the keys that a question is about; None where it has none.

    Raises:
        QueryRefused: when the rollup was never folded, or a metric's definition was edited since.
    """
    ledger.store.open()
    while True:
        with ledger.store.transaction(read_only=True) as session:
            version = folded(ledger, session, request).version
            types = ledger.types.get(version.identity)
            if types is not None:
                values = Values()
                tests = [one.admits(column(one.key), types[one.key], values) for one in request.filters]
                query = sql(
                    "select max(_d) from _t where _c", _d=column(request.rollup.day_column),
                    _t=table(version.table, ledger.store.schema), _c=both(tests) if tests else exp.true(),
                )  # fmt: skip
                found: dt.date | None = session.rows(Statement(query, values))[0][0]
                return found
        ledger.types[version.identity] = ledger.store.describe(Table(f"{ledger.store.schema}.{version.table}"))
