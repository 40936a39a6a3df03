"""The service's own history, and how much of it is kept. Ledger floor.

Invariant: coverage, receipts, verifications and rows are never deleted here, nor the runs that they name: what is stored stays explained.
"""

from __future__ import annotations

import datetime as dt
import re

from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger

#: Tries to sign in are looked at for minutes; a day is more than enough.
_TRIES_KEPT = dt.timedelta(days=1)
_NAMED = " and ".join(
    f"id not in (select run_id from {table} where run_id is not null)"
    for table in ("dayfold__coverage", "dayfold__receipts", "dayfold__verifications")
)
#: What is deleted, in this order: a name for the summary, whose age counts, and the statement.
_DELETED: tuple[tuple[str, str, str], ...] = (
    (
        "runs",
        "runs",
        f"delete from dayfold__runs where status <> 'running' and started_at < :before::timestamptz and {_NAMED}",
    ),
    (
        "job_runs",
        "runs",
        "delete from dayfold__job_runs where status not in ('queued', 'running') and asked_at < :before::timestamptz and "
        "id not in (select max(id) from dayfold__job_runs where started_at is not null group by job)",
    ),
    ("audit", "audit", "delete from dayfold__audit where noted_at < :before::timestamptz"),
    (
        "deliveries",
        "alerts",
        "delete from dayfold__deliveries where delivered_at < :before::timestamptz and alert_id in "
        "(select id from dayfold__alerts where closed_at < :before::timestamptz)",
    ),
    (
        "alerts",
        "alerts",
        "delete from dayfold__alerts where closed_at < :before::timestamptz and id not in (select alert_id from dayfold__deliveries)",
    ),
    ("sessions", "sessions", "delete from dayfold__sessions where expires_at < :before::timestamptz"),
    ("tries", "tries", "delete from dayfold__tries where tried_at < :before::timestamptz"),
)


#: The column whose age counts in a statement.
_AGE = re.compile(r"(\w+_at) < :before")


def past(
    ledger: Ledger, session: Session, *, runs_days: int, audit_days: int, alerts_days: int
) -> dict[str, tuple[int, dt.date | None, dt.date | None]]:
    """What `forget_older` would delete: how many entries, and their first and last day, by kind."""
    before = _before(ledger, runs_days, audit_days, alerts_days)
    found = {}
    for name, kind, query in _DELETED:
        age = _AGE.search(query)
        assert age is not None
        ends = ", ".join(f"cast({end}({age[1]}) at time zone 'UTC' as date)" for end in ("min", "max"))
        text = query.replace("delete from", f"select count(*), {ends} from", 1)
        [(count, first, last)] = session.rows(ledger.sql(text, before=before[kind]))
        found[name] = (int(count), first, last)
    return found


def forget_older(
    ledger: Ledger, session: Session, *, runs_days: int, audit_days: int, alerts_days: int
) -> dict[str, int]:
    """Only what is younger than so many days is kept; how many entries went, by kind. Again is harmless.

    The newest run of each job stays, whatever its age.
    """
    before = _before(ledger, runs_days, audit_days, alerts_days)
    return {name: session.execute(ledger.sql(query, before=before[kind])) for name, kind, query in _DELETED}


def _before(ledger: Ledger, runs_days: int, audit_days: int, alerts_days: int) -> dict[str, dt.datetime]:
    now = ledger.clock.now()
    return {
        "runs": now - dt.timedelta(days=runs_days),
        "audit": now - dt.timedelta(days=audit_days),
        "alerts": now - dt.timedelta(days=alerts_days),
        "sessions": now,
        "tries": now - _TRIES_KEPT,
    }
