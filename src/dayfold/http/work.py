"""Routes of jobs and runs: seeing them, steering them, asking for work. HTTP door.

Whatever is asked for is written into the ledger before it is answered, so any replica may do it and a restart loses none.
Invariant: no answer here holds a value of a row; seeing jobs is not seeing numbers.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query, Request
from starlette.responses import Response

from dayfold.app import Dayfold
from dayfold.days import Days, as_day
from dayfold.errors import UnknownName, UsageError
from dayfold.fold.chosen import choice
from dayfold.http.description import told
from dayfold.http.formats import encoded
from dayfold.http.rights import Caller, Right, caller, needs
from dayfold.http.route import Route
from dayfold.http.service import Service, service
from dayfold.http.work_forms import (
    MOST_NUMBER,
    CronDone,
    DaysAsked,
    JobForm,
    JobsForm,
    JobsStatus,
    Queued,
    RebuildAsked,
    RunsForm,
    RunStatus,
    RunWhole,
    VerifyAsked,
    job_form,
    run_form,
    run_whole,
)
from dayfold.jobs.jobs import REBUILD, VERIFY
from dayfold.ledger import runs as ledger_runs
from dayfold.plan.keys import key_filters
from dayfold.query.request import MAX_DAYS

#: What a route passes beside its right when the audit has to know of it.
#: How soon a caller who waits for a run is told that it has ended, at first and at most.
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.05, 1.0
Asker = Annotated[Caller, Depends(caller)]
Found = Annotated[Service, Depends(service)]
JobName = Annotated[
    str, Path(description="The job's name, such as `fold` or `fold:ShopDaily`.", max_length=200, examples=["fold"])
]
Number = Annotated[int, Path(ge=1, le=MOST_NUMBER, description="The run's number.")]


def _audited(right: Right, action: str) -> dict[str, Any]:
    return needs(right, action)


def _answer(value: Any, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    content = encoded(value.model_dump(mode="json", by_alias=True))
    return Response(content, status.value, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def _queued(number: int) -> Response:
    """The answer to work that was asked for."""
    href = f"/v1/runs/{number}"
    return _answer(Queued(run_id=number, href=href), HTTPStatus.ACCEPTED, {"Location": href})


_CRON: dict[int | str, dict[str, Any]] = {
    200: {"model": CronDone, "description": "The run has ended."},
    **told(404, 409),
}
work = APIRouter(prefix="/v1", tags=["jobs"], route_class=Route)


# -- jobs ------------------------------------------------------------------------------------------


@work.get("/jobs", openapi_extra=needs(Right.JOBS), response_model=JobsForm, summary="All jobs")
async def jobs(found: Found) -> Response:
    """Every job with its schedule, how often it ran, how it went last and when it is due."""
    views = await found.work(found.desk.all)
    return _answer(JobsForm(jobs=[job_form(one) for one in views]))


@work.get(
    "/jobs/status",
    openapi_extra=needs(Right.JOBS),
    response_model=JobsStatus,
    summary="The jobs together",
)
async def jobs_status(found: Found) -> Response:
    """All jobs added up: how many runs there were and how they went, the newest one, what goes on, and what is due next."""
    views = await found.work(found.desk.all)
    begun = [one for one in views if one.last_run is not None]
    last = max(begun, key=lambda one: (one.last_run, one.job), default=None)
    due = [one for one in views if one.next_run is not None]
    following = min(due, key=lambda one: (one.next_run, one.job), default=None)
    return _answer(
        JobsStatus(
            runs_jobs_here=found.app.settings.serve.jobs,
            enabled=sum(one.enabled for one in views),
            stopped=[one.job for one in views if not one.enabled],
            running=[one.job for one in views if one.running],
            run_count=sum(one.run_count for one in views),
            success_count=sum(one.success_count for one in views),
            error_count=sum(one.error_count for one in views),
            last_job=last.job if last else None,
            last_run=last.last_run if last else None,
            last_status=last.last_status if last else None,
            last_duration_s=last.last_duration_s if last else None,
            next_job=following.job if following else None,
            next_run=following.next_run if following else None,
        )
    )


@work.get(
    "/jobs/{name}", openapi_extra=needs(Right.JOBS), responses=told(404), response_model=JobForm, summary="One job"
)
async def job(name: JobName, found: Found) -> Response:
    """One job as `/v1/jobs` lists it."""
    return _answer(job_form(await found.work(found.desk.one, name)))


@work.post(
    "/jobs/{name}/start", openapi_extra=_audited(Right.JOBS, "start"), responses=told(404, 409), response_model=JobForm,
    summary="Let a job run when it is due",
)  # fmt: skip
async def start(name: JobName, found: Found) -> Response:
    """The job runs when it is due, on every replica. What it missed while it was stopped is caught up by one run. Again is harmless."""
    return _answer(job_form(await found.work(found.desk.start, name)))


@work.post(
    "/jobs/{name}/stop", openapi_extra=_audited(Right.JOBS, "stop"), responses=told(404, 409), response_model=JobForm,
    summary="Let a job run no more",
)  # fmt: skip
async def stop(name: JobName, found: Found) -> Response:
    """The job begins no run on any replica until it is started, whoever asks; restarts do not change that.

    A run that goes on ends after its present chunk: what was published stays, and the next run goes on from there. Again is harmless.
    """
    return _answer(job_form(await found.work(found.desk.stop, name)))


@work.post(
    "/jobs/{name}/trigger", openapi_extra=_audited(Right.JOBS, "trigger"), responses=told(404, 409), response_model=Queued,
    status_code=202, summary="Run a job now",
)  # fmt: skip
async def trigger(
    name: JobName, found: Found, asker: Asker, asked: Annotated[DaysAsked | None, Body()] = None
) -> Response:
    """A run of the job, as soon as no other of its runs goes on.

    With days, `fold` folds those that were never folded, and folds again those that were and are not sealed; `finalize` and `verify` verify
    them. The same asked twice, before it has begun, is one run.
    """
    request = asked_days(found.app, asked.first, asked.last) if asked is not None else {}
    return _queued(await found.work(found.desk.trigger, name, request, asker.name))


@work.post(
    "/cron/{job}", openapi_extra=_audited(Right.CRON, "cron"), responses=_CRON,
    response_model=Queued, status_code=202, summary="Run a job now, for outside schedulers",
    operation_id="cron_by_post",
)  # fmt: skip
@work.get(
    "/cron/{job}", openapi_extra=_audited(Right.CRON, "cron"), responses=_CRON,
    response_model=Queued, status_code=202, summary="Run a job now, for outside schedulers", operation_id="cron",
)  # fmt: skip
async def cron(
    request: Request,
    job: JobName,
    found: Found,
    asker: Asker,
    wait: Annotated[float, Query(ge=0, le=300, description="Seconds to wait for the run's end.", examples=[30])] = 0,
) -> Response:
    """A run of the job, unless one is active: then 409, with its number as `run_id`.

    With `wait`, 200 and the run with its summary once it has ended, however it ended: `status` says so; 202 if it has not by then.
    """
    number = await found.work(found.desk.trigger, job, {}, asker.name, unless_active=True)
    until, pause_s = time.monotonic() + wait, _FIRST_PAUSE_S
    while wait and time.monotonic() < until and not await request.is_disconnected():
        await asyncio.sleep(min(pause_s, max(until - time.monotonic(), 0)))
        pause_s = min(pause_s * 2, _MOST_PAUSE_S)
        run = await found.work(found.desk.run, number)
        if run.has_ended:
            return _answer(
                CronDone(
                    run_id=number, href=f"/v1/runs/{number}", status=run.status, summary=run.summary, error=run.error
                )
            )
    return _queued(number)


# -- runs ------------------------------------------------------------------------------------------


@work.get(
    "/runs",
    openapi_extra=needs(Right.JOBS),
    responses=told(404),
    response_model=RunsForm,
    summary="Runs, the newest first",
)
async def runs(
    found: Found,
    job: Annotated[str | None, Query(description="Only of this job.", examples=["fold"])] = None,
    rollup: Annotated[
        str | None, Query(description="Only what was done to this rollup.", examples=["ShopDaily"])
    ] = None,
    status: Annotated[RunStatus | None, Query(description="Only with this status.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 100,
    before: Annotated[
        int | None, Query(ge=1, le=MOST_NUMBER, description="Only with smaller numbers, for the next page.")
    ] = None,
) -> Response:
    """Runs of jobs, and what was done to each rollup by them and by commands, in one list; `of` tells them apart."""
    known = {*found.desk.jobs, *ledger_runs.JOBS}
    if job is not None and job not in known:
        found.desk.check(job)
    name = found.app.catalog[rollup].name if rollup is not None else None
    listed = await found.work(found.desk.runs, limit, job=job, rollup=name, status=status, before=before)
    return _answer(RunsForm(runs=[run_form(one) for one in listed]))


@work.get(
    "/runs/{id}", openapi_extra=needs(Right.JOBS), responses=told(404), response_model=RunWhole, summary="One run"
)
async def run(id: Number, found: Found) -> Response:
    """One run with its progress while it goes on, its summary once it has ended, and what it did to each rollup."""
    whole = await found.work(found.desk.whole, id)
    if whole is None:
        raise UnknownName(f"There is no run {id}.", hint="GET /v1/runs lists them.")
    return _answer(run_whole(*whole))


# -- asking ----------------------------------------------------------------------------------------


@work.post(
    "/rebuild", openapi_extra=_audited(Right.JOBS, "rebuild"), responses=told(404, 409), response_model=Queued, status_code=202,
    summary="Fold days again",
)  # fmt: skip
async def rebuild(asked: RebuildAsked, found: Found, asker: Asker) -> Response:
    """Days that were folded are folded again, built aside and published in one transaction; `dry_run` only counts what would change."""
    request = rebuild_words(found.app, asked)
    return _queued(await found.work(found.desk.trigger, REBUILD, request, asker.name))


@work.post(
    "/verify", openapi_extra=_audited(Right.JOBS, "verify"), responses=told(404, 409), response_model=Queued, status_code=202,
    summary="Compare stored cells with their sources",
)  # fmt: skip
async def verify(asked: VerifyAsked, found: Found, asker: Asker) -> Response:
    """Cells of a rollup, or of all, are compared with their sources; those that differ are counted, and with `heal` folded again."""
    request = verify_words(found.app, asked)
    return _queued(await found.work(found.desk.trigger, VERIFY, request, asker.name))


# -- the words of a run ----------------------------------------------------------------------------


def rebuild_words(app: Dayfold, asked: RebuildAsked) -> dict[str, Any]:
    """What a run of `rebuild` is asked for. Raises UsageError and its kinds."""
    definition = app.catalog[asked.rollup]
    key_filters(definition, asked.where)
    days = asked_days(app, asked.first, asked.last)
    if definition.is_profile == bool(days):
        raise UsageError(
            f"{definition.name} is a profile, which has no days." if days else "A rebuild of a rollup is of days.",
            hint="Leave 'from' and 'to' out." if days else "Give both 'from' and 'to'.",
        )
    words = asked.model_dump(include={"where", "dry_run", "allow_empty"}, exclude_defaults=True)
    return {"rollup": definition.name, **days, **words}


def verify_words(app: Dayfold, asked: VerifyAsked) -> dict[str, Any]:
    """What a run of `verify` is asked for. Raises UsageError and its kinds."""
    choice(asked.first, asked.last, asked.sample, None, default_budget_s=0, today=app.today)
    request: dict[str, Any] = {} if asked.rollup is None else {"rollup": app.catalog[asked.rollup].name}
    request |= asked_days(app, asked.first, asked.last)
    return request | asked.model_dump(include={"sample", "heal"}, exclude_defaults=True)


def asked_days(app: Dayfold, first: str | None, last: str | None) -> dict[str, str]:
    """The days that were asked for, as a run keeps them: dates, whatever day it is when it begins."""
    if first is None and last is None:
        return {}
    if first is None or last is None:
        raise UsageError("A range has two ends; 'from' or 'to' is missing.", hint="Give both, or neither.")
    days = Days(as_day(first, app.today), as_day(last, app.today))
    if len(days) > MAX_DAYS:
        raise UsageError(
            f"The range has {len(days):,} days; at most {MAX_DAYS:,} are asked at once.",
            hint="Ask for a shorter range.",
        )
    return {"from": str(days.first), "to": str(days.last)}
