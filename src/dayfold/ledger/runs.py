"""Runs: one row for every execution of a job. Ledger floor."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dayfold.days import Days
from dayfold.engines.base import Changed, Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import column

RUNNING, DONE, PARTIAL, FAILED, INTERRUPTED = "running", "done", "partial", "failed", "interrupted"
#: Ended between two chunks because somebody said so; the next run goes on from there.
STOPPED = "stopped"
#: What is done to one rollup at a time.
JOBS = ("fold", "rebuild", "adopt", "verify", "heal", "seal")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the ledger has it. Moments are ISO text in UTC, ``seconds`` is null while it runs."""

    id: int
    job: str
    rollup: str
    status: str
    started_at: str
    seconds: float | None
    cells: int
    rows_inserted: int
    rows_updated: int
    rows_deleted: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Started:
    """A new run's number, and the jobs of the runs that had never ended."""

    run_id: int
    interrupted: tuple[str, ...]


def start(
    ledger: Ledger, session: Session, job: str, rollup: str, version: int, holder: str, span: Days | None
) -> Started:
    """Begin a run. Runs of the rollup that never ended are noted as interrupted: its lease is ours."""
    interrupted = session.rows(
        ledger.sql(
            "update dayfold__runs set status = 'interrupted' where rollup = :rollup and status = 'running' returning job",
            rollup=rollup,
        )
    )
    run_id = begin(ledger, session, job, rollup, version, holder, span)
    return Started(run_id, tuple(sorted({name for (name,) in interrupted})))


def begin(ledger: Ledger, session: Session, job: str, rollup: str, version: int, holder: str, span: Days | None) -> int:
    """A new run's number; other runs of the rollup are left as they are."""
    [(run_id,)] = session.rows(
        ledger.sql(
            "insert into dayfold__runs (id, job, rollup, version, status, holder, started_at, first_day, last_day, "
            "cells, rows_inserted, "
            "rows_updated, rows_deleted) values (nextval(:sequence), :job, :rollup, :version, 'running', :holder, :now::timestamptz, "
            ":first::date, :last::date, 0, 0, 0, 0) returning id",
            sequence=f'"{ledger.home.schema}"."dayfold__run_ids"',
            job=job,
            rollup=rollup,
            version=version,
            holder=holder,
            now=ledger.clock.now(),
            first=span.first if span else None,
            last=span.last if span else None,
        )
    )
    return int(run_id)


def progress(ledger: Ledger, session: Session, run_id: int, cells: int, changed: Changed) -> None:
    """Add what one chunk did."""
    session.execute(
        ledger.sql(
            "update dayfold__runs set cells = cells + :cells, rows_inserted = rows_inserted + :inserted, rows_updated "
            "= rows_updated + :updated, "
            "rows_deleted = rows_deleted + :deleted where id = :id",
            cells=cells,
            inserted=changed.inserted,
            updated=changed.updated,
            deleted=changed.deleted,
            id=run_id,
        )
    )


def finish(ledger: Ledger, session: Session, run_id: int, status: str, error: str | None) -> None:
    """The run ended."""
    session.execute(
        ledger.sql(
            "update dayfold__runs set status = :status, error = :error, finished_at = :now::timestamptz where id = :id",
            status=status,
            error=error,
            now=ledger.clock.now(),
            id=run_id,
        )
    )


def pace(ledger: Ledger, session: Session, rollup: str) -> float | None:
    """Seconds for each computed cell, by the largest fold of a rollup; None where none computed any."""
    seconds = ledger.home.dialect.sql(
        "cast(extract(epoch from _x - _y) as double precision)", _x=column("finished_at"), _y=column("started_at")
    )
    query = ledger.sql(
        "select _seconds, cells from dayfold__runs where rollup = :rollup and job = 'fold' and status = 'done' and "
        "cells > 0 order by cells desc limit 1",
        rollup=rollup, _seconds=seconds,
    )  # fmt: skip
    found = session.rows(query)
    return float(found[0][0]) / int(found[0][1]) if found else None


def latest(ledger: Ledger, session: Session, limit: int) -> list[RunRecord]:
    """The newest runs first."""
    return listed(ledger, session, limit)


def listed(
    ledger: Ledger,
    session: Session,
    limit: int,
    *,
    job: str | None = None,
    rollup: str | None = None,
    status: str | None = None,
    before: int | None = None,
    ids: Collection[int] | None = None,
) -> list[RunRecord]:
    """The newest runs first; those with smaller numbers than ``before``, or with one of some numbers."""
    tests = {"job": "job = :job", "rollup": "rollup = :rollup", "status": "status = :status", "before": "id < :before"}
    asked = {"job": job, "rollup": rollup, "status": status, "before": before}
    given = {name: value for name, value in asked.items() if value is not None}
    parts = [tests[name] for name in given]
    if ids is not None:
        parts.append(f"id in ({', '.join(str(int(one)) for one in ids) or 'null'})")
    dialect = ledger.home.dialect
    query = ledger.sql(
        "select id, job, rollup, status, _started, _seconds, cells, rows_inserted, rows_updated, rows_deleted, error "
        f"from dayfold__runs where {' and '.join(parts) or 'true'} order by id desc limit :limit",
        limit=limit,
        _started=dialect.piece("iso_moment", _x=column("started_at")),
        _seconds=dialect.sql(
            "cast(extract(epoch from _x - _y) as double precision)",
            _x=column("finished_at"),
            _y=column("started_at"),
        ),
        **given,
    )
    return [RunRecord(*row) for row in session.rows(query)]
