"""Coverage: what has been folded of each rollup, source and day. Ledger floor.

``open``: folded while the day was not over. ``folded``: folded after it ended. ``failed``: the last fold could
not read the source; ``folded_at`` says whether an earlier one did. Absent: never folded.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from dayfold.days import Days
from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import Statement, Values, column, derived, either, sql

OPEN, FOLDED, FAILED, SEALED = "open", "folded", "failed", "sealed"


@dataclass(frozen=True, slots=True)
class DayCover:
    """One source's coverage of one day."""

    source: str
    day: dt.date
    state: str
    facts: int
    ever_folded: bool
    reason: str | None


def coverage(ledger: Ledger, session: Session, rollup: str, version: int, days: Days | None = None) -> list[DayCover]:
    """A rollup's coverage, of a range or all of it, in the order of days."""
    bounds = " and day >= :first::date and day <= :last::date" if days else ""
    limits = {"first": days.first, "last": days.last} if days else {}
    query = ledger.sql(
        "select source, day, state, facts, folded_at is not null, reason from dayfold__coverage "
        f"where rollup = :rollup and version = :version{bounds} order by day, source",
        rollup=rollup, version=version, **limits,
    )  # fmt: skip
    return [DayCover(*row) for row in session.rows(query)]


def record_folded(
    ledger: Ledger,
    session: Session,
    rollup: str,
    version: int,
    source: str,
    scope: Sequence[Days],
    facts: Statement,
    run_id: int,
    today: dt.date,
) -> None:
    """Every day of the scope is covered by this source. ``facts``: a query for ``day`` and ``facts`` of days that have any."""
    for days in scope:
        values = Values(dict(facts.values.by_name))
        span = ledger.store.dialect.piece(
            "days_between", _x=values.bind(days.first, "date"), _y=values.bind(days.last, "date")
        )
        every = sql(
            "select d.day, coalesce(f.facts, 0) as facts, case when d.day >= _today then 'open' else 'folded' end as "
            "state "
            "from _span as d left join _facts as f on f.day = d.day",
            _today=values.bind(today, "date"), _span=derived(span, "d"), _facts=derived(facts.tree, "f"),
        )  # fmt: skip
        parameters = {
            "rollup": rollup,
            "version": version,
            "source": source,
            "now": ledger.clock.now(),
            "run": run_id,
        }
        update = ledger.sql(
            "update dayfold__coverage as c set state = n.state, facts = n.facts, folded_at = :now::timestamptz, run_id "
            "= :run, reason = null "
            "from _every as n where c.rollup = :rollup and c.version = :version and c.source = :source and c.day = "
            "n.day",
            _every=derived(every, "n"), **parameters,
        )  # fmt: skip
        update.values.by_name.update(values.by_name)
        known = session.execute(update)
        if known < len(days):
            insert = ledger.sql(
                "insert into dayfold__coverage (rollup, version, source, day, state, facts, folded_at, run_id) "
                "select :rollup::text, :version::bigint, :source::text, n.day, n.state, n.facts, :now::timestamptz, "
                ":run::bigint from _every as n "
                "where not exists (select 1 from dayfold__coverage as c where c.rollup = :rollup and c.version = "
                ":version "
                "and c.source = :source and c.day = n.day)",
                _every=derived(every, "n"), **parameters,
            )  # fmt: skip
            insert.values.by_name.update(values.by_name)
            session.execute(insert)


def record_failed(
    ledger: Ledger,
    session: Session,
    rollup: str,
    version: int,
    source: str,
    scope: Sequence[Days],
    reason: str,
    run_id: int,
) -> None:
    """This source could not be read for the scope; what it gave before stays."""
    for days in scope:
        values = Values()
        span = ledger.store.dialect.piece(
            "days_between", _x=values.bind(days.first, "date"), _y=values.bind(days.last, "date")
        )
        parameters = {"rollup": rollup, "version": version, "source": source, "reason": reason, "run": run_id}
        update = ledger.sql(
            "update dayfold__coverage set state = 'failed', reason = :reason, run_id = :run where rollup = :rollup and "
            "version = :version "
            "and source = :source and day >= :first::date and day <= :last::date",
            first=days.first, last=days.last, **parameters,
        )  # fmt: skip
        if session.execute(update) == len(days):
            continue
        insert = ledger.sql(
            "insert into dayfold__coverage (rollup, version, source, day, state, facts, folded_at, run_id, reason) "
            "select :rollup::text, :version::bigint, :source::text, n.day, 'failed', 0, null, :run::bigint, "
            ":reason::text from _span as n "
            "where not exists (select 1 from dayfold__coverage as c where c.rollup = :rollup and c.version = :version "
            "and c.source = :source and c.day = n.day)",
            _span=derived(span, "n"), **parameters,
        )  # fmt: skip
        insert.values.by_name.update(values.by_name)
        session.execute(insert)


def facts_before(
    ledger: Ledger, session: Session, rollup: str, version: int, source: str, scope: Sequence[Days]
) -> int:
    """How many facts the source had on these days when they were last folded."""
    values = Values()
    within = either(
        sql(
            "_d >= _low and _d <= _high",
            _d=column("day"),
            _low=values.bind(days.first, "date"),
            _high=values.bind(days.last, "date"),
        )
        for days in scope
    )
    query = ledger.sql(
        "select coalesce(sum(facts), 0)::bigint from dayfold__coverage where rollup = :rollup and version = :version "
        "and source = :source and _within",
        rollup=rollup, version=version, source=source, _within=within,
    )  # fmt: skip
    query.values.by_name.update(values.by_name)
    return int(session.rows(query)[0][0])
