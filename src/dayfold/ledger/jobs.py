"""Jobs and their runs: what is due, who runs what, and how it went. Ledger floor.

Every change of what a job does first takes the job's turn: it writes the job's own row, so of two replicas that act at the same
moment one is refused with `Conflict` and looks again. A run is queued, running, and then done, failed, stopped or interrupted.

On DuckDB an update that returns the row replaces it, and has no conflict with one that writes in place: one of the two is lost. So
every update here that another transaction may meet is written with ``returning``.

Invariant: a slot makes one run, however many replicas see it due; of one job one run goes on at a time.
Weakness: ``due_at`` is compared with the clock of the replica that looks. A clock that was far ahead has moved it far ahead; starting
the job anew brings it back.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dayfold.engines.base import Session
from dayfold.ledger import leases
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.runs import DONE, FAILED, INTERRUPTED, RUNNING, STOPPED

#: Waits to be begun, for the first time or again.
QUEUED = "queued"
ACTIVE = (QUEUED, RUNNING)
ENDED = (DONE, FAILED, STOPPED, INTERRUPTED)
STATUSES = (*ACTIVE, *ENDED)
#: Why a run was queued: its slot came, somebody asked for it, or the process of the one before it died.
SLOT, ASKED, AGAIN = "schedule", "request", "interrupted"
#: A run that has not said that it goes on for so many heartbeats is taken for dead.
_BEATS = 3


@dataclass(frozen=True, slots=True)
class JobState:
    """What the ledger says of a job.

    Attributes:
        since: The day before it was first seen; `finalize` answers for the days from then on.
        seen_at: When a process that has the job last said so.
    """

    job: str
    is_enabled: bool
    schedule: str
    due_at: dt.datetime | None
    since: dt.date
    seen_at: dt.datetime


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job, with the documents that go with it. ``progress`` and ``summary`` are objects, or None before there are any."""

    id: int
    job: str
    cause: str
    attempt: int
    request: dict[str, Any]
    asked_by: str
    status: str
    holder: str | None
    asked_at: dt.datetime
    not_before: dt.datetime | None
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    stop_asked: bool
    progress: dict[str, Any] | None
    summary: dict[str, Any] | None
    error: str | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in ENDED

    @property
    def seconds(self) -> float | None:
        """How long the last attempt took; None while one goes on, and where there was none."""
        if self.started_at is None or self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds(), 3)


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a job ran, of the runs that are kept."""

    runs: int
    done: int
    failed: int


def _epoch(name: str) -> str:
    """A moment as a number, which every engine gives alike."""
    return f"cast(extract(epoch from {name}) as double precision)"


_RUN = (
    "select id, job, cause, attempt, request, asked_by, status, holder, "
    f"{_epoch('asked_at')}, {_epoch('not_before')}, {_epoch('started_at')}, {_epoch('finished_at')}, "
    "stop_asked, progress, summary, error from dayfold__job_runs"
)


def _moment(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC)


def _run(row: Sequence[Any]) -> JobRun:
    number, job, cause, attempt, request, asked_by, status, holder = row[:8]
    asked, not_before, started, finished = map(_moment, row[8:12])
    assert asked is not None
    progress, summary = (None if text is None else json.loads(text) for text in row[13:15])
    return JobRun(
        number, job, cause, attempt, json.loads(request), asked_by, status, holder, asked, not_before, started, finished,
        row[12], progress, summary, row[15],
    )  # fmt: skip


# -- jobs ------------------------------------------------------------------------------------------


def states(ledger: Ledger, session: Session) -> dict[str, JobState]:
    """Every job that was ever registered, by name."""
    query = f"select job, is_enabled, schedule, {_epoch('due_at')}, since, {_epoch('seen_at')} from dayfold__jobs order by job"
    return {
        job: JobState(job, is_enabled, schedule, _moment(due), since, dt.datetime.fromtimestamp(seen, dt.UTC))
        for job, is_enabled, schedule, due, since, seen in session.rows(ledger.sql(query))
    }


def register(ledger: Ledger, job: str, schedule: str, due_at: dt.datetime | None, since: dt.date) -> None:
    """The job is known; one that was known before stays as it is."""
    with ledger.store.transaction() as session:
        session.execute(
            ledger.sql(
                "insert into dayfold__jobs (job, is_enabled, schedule, due_at, since, turn, changed_at, seen_at) values (:job, true, "
                ":schedule, :due::timestamptz, :since::date, 0, :now::timestamptz, :now::timestamptz) on conflict (job) do nothing",
                job=job, schedule=schedule, due=due_at, since=since, now=ledger.clock.now(),
            )
        )  # fmt: skip


def reschedule(ledger: Ledger, job: str, before: str, schedule: str, due_at: dt.datetime | None) -> None:
    """The job is due as its edited schedule says, unless another replica has seen to that."""
    with ledger.store.transaction() as session:
        session.rows(
            ledger.sql(
                "update dayfold__jobs set schedule = :schedule, due_at = :due::timestamptz, turn = turn + 1 "
                "where job = :job and schedule = :before returning job",
                job=job, schedule=schedule, due=due_at, before=before,
            )
        )  # fmt: skip


def touch(ledger: Ledger, jobs: Iterable[str]) -> None:
    """There is a process that has these jobs."""
    with ledger.store.transaction() as session:
        for job in jobs:
            note = "update dayfold__jobs set seen_at = :now::timestamptz where job = :job returning job"
            session.rows(ledger.sql(note, now=ledger.clock.now(), job=job))


def take_turn(ledger: Ledger, session: Session, job: str) -> bool:
    """Nobody else changes what this job does until the transaction ends; whether the job is enabled.

    Raises:
        Conflict: when somebody else has its turn, here or at the commit.
    """
    query = "update dayfold__jobs set turn = turn + 1 where job = :job returning is_enabled"
    [(is_enabled,)] = session.rows(ledger.sql(query, job=job))
    return bool(is_enabled)


def enable(ledger: Ledger, session: Session, job: str, due_at: dt.datetime | None) -> None:
    """The job runs when it is due; ``due_at`` where it was due later than that, or never."""
    session.rows(
        ledger.sql(
            "update dayfold__jobs set is_enabled = true, turn = turn + 1, changed_at = :now::timestamptz, "
            "due_at = case when due_at <= :due::timestamptz then due_at else :due::timestamptz end where job = :job returning job",
            job=job, due=due_at, now=ledger.clock.now(),
        )
    )  # fmt: skip


def disable(ledger: Ledger, session: Session, job: str) -> None:
    """The job begins no run; one that goes on is told to stop, and those that wait are over."""
    values = {"job": job, "now": ledger.clock.now()}
    for query in (
        "update dayfold__jobs set is_enabled = false, turn = turn + 1, changed_at = :now::timestamptz where job = :job returning job",
        "update dayfold__job_runs set stop_asked = true where job = :job and status = 'running' returning id",
        "update dayfold__job_runs set status = 'stopped', finished_at = :now::timestamptz where job = :job and status = 'queued' "
        "returning id",
    ):
        words = {name: value for name, value in values.items() if f":{name}" in query}
        session.rows(ledger.sql(query, **words))


# -- runs ------------------------------------------------------------------------------------------


def claim_slot(ledger: Ledger, job: str, now: dt.datetime, next_due: dt.datetime | None) -> int | None:
    """The run of a slot that is due, or None where it is not, or another run of the job is active.

    Raises:
        Conflict: when another replica acts on the job at this moment.
    """
    with ledger.store.transaction() as session:
        if not take_turn(ledger, session, job) or active(ledger, session, job):
            return None
        query = f"select {_epoch('due_at')} from dayfold__jobs where job = :job and due_at <= :now::timestamptz"
        found = session.rows(ledger.sql(query, job=job, now=now))
        if not found:
            return None
        move = "update dayfold__jobs set due_at = :next::timestamptz where job = :job"
        session.execute(ledger.sql(move, job=job, next=next_due))
        return queue(ledger, session, job, SLOT, {}, "schedule", due_at=_moment(found[0][0]))


def queue(
    ledger: Ledger,
    session: Session,
    job: str,
    cause: str,
    request: Mapping[str, object],
    asked_by: str,
    *,
    attempt: int = 1,
    due_at: dt.datetime | None = None,
) -> int:
    """A new run waits to be begun; its number. ``due_at``: of the slot that it is for."""
    [(number,)] = session.rows(
        ledger.sql(
            "insert into dayfold__job_runs (id, job, cause, due_at, attempt, request, asked_by, status, asked_at, stop_asked) "
            "values (nextval(:sequence), :job, :cause, :due::timestamptz, :attempt, :request, :by, 'queued', :now::timestamptz, false) "
            "returning id",
            sequence=f'"{ledger.home.schema}"."dayfold__run_ids"', job=job, cause=cause, due=due_at, attempt=attempt,
            request=_text(request), by=asked_by, now=ledger.clock.now(),
        )
    )  # fmt: skip
    return int(number)


def claim_run(ledger: Ledger, number: int, job: str, holder: str, heartbeat_s: float) -> bool:
    """Begin a run that waits; false where it does not any more, its job is stopped, or another run of its job goes on.

    Raises:
        Conflict: when another replica acts on the job at this moment.
    """
    with ledger.store.transaction() as session:
        if not take_turn(ledger, session, job):
            return False
        if any(one.status == RUNNING for one in active(ledger, session, job)):
            return False
        query = (
            "update dayfold__job_runs set status = 'running', holder = :holder, backend = :backend, not_before = null, "
            "started_at = :now::timestamptz, finished_at = null, progress = null, stop_asked = false, "
            f"beats_until = {_beats_until(heartbeat_s)} where id = :id and status = 'queued' returning id"
        )
        backend = leases.backend(ledger, session)
        claimed = session.rows(
            ledger.sql(query, id=number, holder=holder, backend=backend, now=ledger.clock.now())
        )  # fmt: skip
        return bool(claimed)


def _beats_until(heartbeat_s: float) -> str:
    # By the database's clock: those of the replicas need not agree.
    return f"now() + {int(_BEATS * heartbeat_s * 1000)} * interval '1 millisecond'"


def beat(ledger: Ledger, number: int, holder: str, heartbeat_s: float, progress: Mapping[str, object] | None) -> bool:
    """The run goes on, and so far it has come; whether it shall stop, or is not ours any more."""
    with ledger.store.transaction() as session:
        found = session.rows(
            ledger.sql(
                f"update dayfold__job_runs set beats_until = {_beats_until(heartbeat_s)}, backend = :backend, "
                "progress = :progress::text where id = :id and status = 'running' and holder = :holder returning stop_asked",
                id=number, holder=holder, backend=leases.backend(ledger, session),
                progress=None if progress is None else _text(progress),
            )
        )  # fmt: skip
    return not found or bool(found[0][0])


def finish(
    ledger: Ledger, number: int, holder: str, status: str, summary: Mapping[str, object] | None, error: str | None
) -> bool:
    """The run ended so; false where it was not ours any more."""
    with ledger.store.transaction() as session:
        found = session.rows(
            ledger.sql(
                "update dayfold__job_runs set status = :status, summary = :summary::text, error = :error::text, "
                "finished_at = :now::timestamptz where id = :id and status = 'running' and holder = :holder returning id",
                id=number, holder=holder, status=status, summary=None if summary is None else _text(summary), error=error,
                now=ledger.clock.now(),
            )
        )  # fmt: skip
    return bool(found)


def put_back(
    ledger: Ledger,
    number: int,
    holder: str,
    attempt: int,
    not_before: dt.datetime | None,
    summary: Mapping[str, object] | None,
    error: str | None,
) -> str | None:
    """The run waits for another attempt, of any replica's, or is over where it or its job was stopped.

    The status it has then; None where it was not ours any more.
    """
    with ledger.store.transaction() as session:
        found = session.rows(
            ledger.sql(
                "update dayfold__job_runs as r set status = case when r.stop_asked or not (select j.is_enabled from dayfold__jobs as j "
                "where j.job = r.job) then 'stopped' else 'queued' end, attempt = :attempt, not_before = :until::timestamptz, "
                "summary = :summary::text, error = :error::text, finished_at = :now::timestamptz, beats_until = null "
                "where r.id = :id and r.status = 'running' and r.holder = :holder returning status",
                id=number, holder=holder, attempt=attempt, until=not_before, error=error,
                summary=None if summary is None else _text(summary), now=ledger.clock.now(),
            )
        )  # fmt: skip
    return str(found[0][0]) if found else None


def beating(ledger: Ledger, session: Session) -> list[str]:
    """The jobs that run now in a process that is not certainly gone."""
    query = "select job, backend from dayfold__job_runs where status = 'running' and beats_until > now() order by job"
    return [job for job, backend in session.rows(ledger.sql(query)) if not leases.is_dead(ledger, session, backend)]


def note_interrupted(ledger: Ledger, mine: Iterable[str], attempts: int) -> list[tuple[int, str]]:
    """Runs whose process died are interrupted, and their work is queued again at once; their numbers and jobs.

    ``mine``: holders of this process, which lives. A run that died at its last attempt failed, and is not queued again.
    """
    query = (
        "select id, job, holder, backend, beats_until > now(), request, asked_by, attempt, stop_asked from dayfold__job_runs "
        "where status = 'running' order by id"
    )
    with ledger.store.transaction(read_only=True) as session:
        dead = [
            row
            for row in session.rows(ledger.sql(query))
            if row[2] not in mine and (not row[4] or leases.is_dead(ledger, session, row[3]))
        ]
    for number, job, holder, _, _, request, asked_by, attempt, stop_asked in dead:
        error, status = f"Its process ended in the middle: {holder}.", INTERRUPTED
        following: int | None = None if stop_asked else attempt + 1
        if not stop_asked and attempt >= attempts:
            error, status, following = f"{error} That was its last attempt of {attempts}.", FAILED, None
        _interrupt(ledger, number, job, holder, json.loads(request), asked_by, status, error, following)
    return [(number, job) for number, job, *_ in dead]


def _interrupt(
    ledger: Ledger,
    number: int,
    job: str,
    holder: str,
    request: Mapping[str, object],
    asked_by: str,
    status: str,
    error: str,
    attempt: int | None,
) -> None:
    with ledger.store.transaction() as session:
        enabled = take_turn(ledger, session, job)
        found = session.rows(
            ledger.sql(
                "update dayfold__job_runs set status = :status, finished_at = :now::timestamptz, error = :error "
                "where id = :id and status = 'running' and holder = :holder returning id",
                id=number, holder=holder, now=ledger.clock.now(), status=status, error=error,
            )
        )  # fmt: skip
        if found and enabled and attempt is not None:
            queue(ledger, session, job, AGAIN, request, asked_by, attempt=attempt)


# -- looking ---------------------------------------------------------------------------------------


def active(ledger: Ledger, session: Session, job: str | None = None) -> list[JobRun]:
    """The runs that go on or wait, the oldest first; of one job, or of all."""
    which = " and job = :job" if job is not None else ""
    query = f"{_RUN} where status in ('queued', 'running'){which} order by id"
    return [_run(row) for row in session.rows(ledger.sql(query, **({} if job is None else {"job": job})))]


def run(ledger: Ledger, session: Session, number: int) -> JobRun | None:
    """One run by its number."""
    return next((_run(row) for row in session.rows(ledger.sql(f"{_RUN} where id = :id", id=number))), None)


def listed(
    ledger: Ledger,
    session: Session,
    limit: int,
    *,
    job: str | None = None,
    status: str | None = None,
    before: int | None = None,
) -> list[JobRun]:
    """Runs, the newest first; those with smaller numbers than ``before``."""
    wanted = {"job": job, "status": status, "before": before}
    given = {name: value for name, value in wanted.items() if value is not None}
    tests = {"job": "job = :job", "status": "status = :status", "before": "id < :before"}
    where = " and ".join(tests[name] for name in given) or "true"
    query = ledger.sql(f"{_RUN} where {where} order by id desc limit :limit", limit=limit, **given)
    return [_run(row) for row in session.rows(query)]


def latest(ledger: Ledger, session: Session) -> dict[str, JobRun]:
    """The newest run of each job that has begun."""
    query = f"{_RUN} where id in (select max(id) from dayfold__job_runs where started_at is not null group by job)"
    return {one.job: one for one in map(_run, session.rows(ledger.sql(query)))}


def tallies(ledger: Ledger, session: Session) -> dict[str, Tally]:
    """How often each job ran: runs that ended, those that were done, and those that failed or were interrupted."""
    query = (
        "select job, cast(count(*) as bigint), cast(sum(case when status = 'done' then 1 else 0 end) as bigint), "
        "cast(sum(case when status in ('failed', 'interrupted') then 1 else 0 end) as bigint) "
        "from dayfold__job_runs where status not in ('queued', 'running') group by job"
    )
    return {job: Tally(*counts) for job, *counts in session.rows(ledger.sql(query))}


def _text(value: Mapping[str, object]) -> str:
    return json.dumps(value, default=str)
