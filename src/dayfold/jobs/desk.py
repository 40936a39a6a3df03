"""What the doors ask about jobs and tell them, on whatever replica they come in. Jobs floor.

Everything goes through the ledger, so it reaches every replica and outlives a restart.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dayfold.errors import Busy, Stopped, UnknownName, UsageError
from dayfold.jobs.jobs import ERASE, EXPORT, REBUILD, RETAIN, Job, jobs, named, register
from dayfold.jobs.work import Verbs
from dayfold.ledger import jobs as ledger_jobs
from dayfold.ledger import runs as ledger_runs
from dayfold.ledger.jobs import ASKED, JobRun, JobState, Tally
from dayfold.ledger.runs import RUNNING, RunRecord


@dataclass(frozen=True, slots=True)
class JobView:
    """How a job stands.

    Attributes:
        enabled: Whether it runs when it is due; ``running``: whether a run of it goes on, ``run_id`` or waits.
        run_count: Runs that ended, of those that are kept; ``success_count`` of them were done, ``error_count`` failed or
            were interrupted.
        last_run: When its newest run began; ``last_…``: of the same run.
        next_run: When it is due; null where it is stopped or has no schedule.
    """

    job: str
    description: str
    schedule: str
    timezone: str
    enabled: bool
    running: bool
    run_id: int | None
    run_count: int
    success_count: int
    error_count: int
    last_run: dt.datetime | None
    last_status: str | None
    last_duration_s: float | None
    last_error: str | None
    next_run: dt.datetime | None


class Desk:
    """The jobs of one application, as doors see them.

    Args:
        verbs: The application; its store's ledger is ready.
        poke: Called when there is something to do.
        stop_here: Called with the name of a job that was stopped.
    """

    def __init__(
        self, verbs: Verbs, poke: Callable[[], None] = lambda: None, stop_here: Callable[[str], None] = lambda job: None
    ) -> None:
        self.ledger = verbs.ledger
        self.verbs = verbs
        self.jobs: dict[str, Job] = jobs(verbs.catalog, verbs.settings)
        self.poke = poke
        self.stop_here = stop_here
        self._is_registered = False

    def redefine(self, verbs: Verbs) -> None:
        """From now on these definitions say which jobs there are."""
        self.verbs = verbs
        self.jobs = jobs(verbs.catalog, verbs.settings)
        self._is_registered = False

    def _ready(self) -> None:
        if not self._is_registered:
            register(self.ledger, self.jobs)
            self._is_registered = True

    # -- looking ---------------------------------------------------------------------------------

    def all(self) -> list[JobView]:
        """Every job."""
        self._ready()
        with self.ledger.store.transaction(read_only=True) as session:
            states = ledger_jobs.states(self.ledger, session)
            active: dict[str, JobRun] = {}
            for one in ledger_jobs.active(self.ledger, session):
                # One that goes on tells more than one that waits.
                if one.job not in active or one.status == RUNNING:
                    active[one.job] = one
            latest = ledger_jobs.latest(self.ledger, session)
            tallies = ledger_jobs.tallies(self.ledger, session)
        return [
            _view(job, states[name], active.get(name), latest.get(name), tallies.get(name, Tally(0, 0, 0)))
            for name, job in self.jobs.items()
        ]

    def one(self, name: str) -> JobView:
        """One job by its name. Raises UnknownName."""
        job = named(self.jobs, name)
        return next(view for view in self.all() if view.job == job.name)

    def check(self, name: str) -> None:
        """Raise UnknownName where there is no such job."""
        named(self.jobs, name)

    def run(self, number: int) -> JobRun:
        """One run of a job. Raises UnknownName."""
        with self.ledger.store.transaction(read_only=True) as session:
            found = ledger_jobs.run(self.ledger, session, number)
        if found is None:
            raise UnknownName(f"There is no run {number}.", hint="GET /v1/runs lists them.")
        return found

    def runs(
        self,
        limit: int,
        *,
        job: str | None = None,
        rollup: str | None = None,
        status: str | None = None,
        before: int | None = None,
        of_rollups: bool = True,
    ) -> list[JobRun | RunRecord]:
        """Runs of jobs and, with ``of_rollups``, of rollups by themselves, the newest first; with a rollup, only those of it."""
        with self.ledger.store.transaction(read_only=True) as session:
            found: list[JobRun | RunRecord] = []
            if of_rollups:
                found += ledger_runs.listed(
                    self.ledger, session, limit, job=job, rollup=rollup, status=status, before=before
                )
            if rollup is None:
                found += ledger_jobs.listed(self.ledger, session, limit, job=job, status=status, before=before)
        return sorted(found, key=lambda one: -one.id)[:limit]

    def whole(self, number: int) -> tuple[JobRun | RunRecord, list[RunRecord]] | None:
        """A run of a job with what it did to each rollup, or a run of a rollup; None where there is none."""
        with self.ledger.store.transaction(read_only=True) as session:
            run = ledger_jobs.run(self.ledger, session, number)
            if run is not None:
                children = [
                    one["run_id"]
                    for what in ("rollups", "rebuilt", "verified")
                    for one in (run.summary or {}).get(what, ())
                    if one.get("run_id") is not None
                ]
                return run, ledger_runs.listed(self.ledger, session, len(children), ids=children) if children else []
            single = ledger_runs.listed(self.ledger, session, 1, ids=[number])
        return (single[0], []) if single else None

    # -- telling ---------------------------------------------------------------------------------

    def start(self, name: str) -> JobView:
        """The job runs when it is due; again is harmless. Raises UnknownName."""
        job = named(self.jobs, name)
        self._ready()

        def enable() -> None:
            with self.ledger.store.transaction() as session:
                ledger_jobs.enable(self.ledger, session, job.name, job.schedule.after(self.ledger.clock.now()))

        self.ledger.retried(enable)
        self.poke()
        return self.one(name)

    def stop(self, name: str) -> JobView:
        """The job begins no run, on any replica, until it is started; a run that goes on ends after its chunk.

        Again is harmless. Raises UnknownName.
        """
        job = named(self.jobs, name)
        self._ready()

        def disable() -> None:
            with self.ledger.store.transaction() as session:
                ledger_jobs.disable(self.ledger, session, job.name)

        self.ledger.retried(disable)
        self.stop_here(job.name)
        return self.one(name)

    def trigger(self, name: str, request: Mapping[str, Any], asked_by: str, *, unless_active: bool = False) -> int:
        """The number of a run that waits to be begun; of one that waits already, where it was asked for the same.

        Args:
            name: The job's name.
            request: What the run is asked for; days are ISO texts, already resolved.
            asked_by: Who asks, for the record.
            unless_active: Refuse where a run of the job goes on or waits.

        Raises:
            UnknownName: for the job; UsageError: where it cannot be asked that; Stopped: where it is stopped.
            Busy: with ``unless_active``; it has the number of the active run.
        """
        job = named(self.jobs, name)
        _check(job, request)
        self._ready()
        number = self.ledger.retried(lambda: self._queue(job, request, asked_by, unless_active=unless_active))
        self.poke()
        return number

    def _queue(self, job: Job, request: Mapping[str, Any], asked_by: str, *, unless_active: bool) -> int:
        with self.ledger.store.transaction() as session:
            if not ledger_jobs.take_turn(self.ledger, session, job.name):
                raise Stopped(
                    f"The job '{job.name}' is stopped.", hint=f"Start it first: POST /v1/jobs/{job.name}/start"
                )
            active = ledger_jobs.active(self.ledger, session, job.name)
            if active and unless_active:
                raise Busy(
                    f"Run {active[0].id} of the job '{job.name}' is active.", run_id=active[0].id,
                    hint=f"Look at it: GET /v1/runs/{active[0].id}",
                )  # fmt: skip
            waiting = [
                one.id
                for one in active
                if one.status != RUNNING and one.request == dict(request) and not one.not_before
            ]
            if waiting:
                return waiting[0]
            return ledger_jobs.queue(self.ledger, session, job.name, ASKED, request, asked_by)


def _check(job: Job, request: Mapping[str, Any]) -> None:
    """The job can be asked this."""
    if job.kind == REBUILD and not request.get("rollup"):
        raise UsageError("A rebuild is of one rollup and of days.", hint="Ask for it with POST /v1/rebuild.")
    if job.kind == EXPORT and not request.get("export"):
        raise UsageError("An export is of something that was asked for.", hint="Ask for it with POST /v1/exports.")
    if job.kind == ERASE and not request.get("erasure"):
        raise UsageError("An erasure is of one person.", hint="Ask for it with POST /v1/erasures.")
    if job.kind == RETAIN and request:
        raise UsageError("The job 'retain' has no days.", hint="Trigger it with {}.")


def _view(job: Job, state: JobState, active: JobRun | None, last: JobRun | None, tally: Tally) -> JobView:
    return JobView(
        job.name, job.description, job.schedule.text, job.schedule.zone, state.is_enabled,
        active is not None and active.status == RUNNING, active.id if active else None,
        tally.runs, tally.done, tally.failed,
        last.started_at if last else None, last.status if last else None, last.seconds if last else None,
        last.error if last else None, state.due_at if state.is_enabled else None,
    )  # fmt: skip
