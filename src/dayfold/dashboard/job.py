"""``/jobs/NAME``: one job, its runs and its buttons. Dashboard door.

Its router comes after those of the other pages of jobs: any name that is none of theirs is a job's.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.jobs import asker, entry, filled, page_of_runs, request_in_words, runs_here, tabs
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.view import View
from dayfold.errors import UsageError
from dayfold.http.rights import Right
from dayfold.http.work import asked_days
from dayfold.http.work_forms import DaysAsked
from dayfold.jobs.jobs import named

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/jobs/{name}", openapi_extra=shows(Right.JOBS, "before"))
def job(view: View, name: str) -> Response:
    """One job and its runs, the newest first."""
    return _job_page(view, name)


@router.post("/jobs/{name}/start", openapi_extra=shows(Right.JOBS, audit="start"))
def start(view: View, name: str) -> Response:
    """The job runs when it is due."""
    view.service.desk.start(name)
    return _back(view, name)


@router.post("/jobs/{name}/stop", openapi_extra=shows(Right.JOBS, audit="stop"))
def stop(view: View, name: str) -> Response:
    """The job runs no more until it is started."""
    view.service.desk.stop(name)
    return _back(view, name)


@router.post("/jobs/{name}/run", openapi_extra=shows(Right.JOBS, audit="trigger"))
def run_now(view: View, name: str) -> Response:
    """A run of the job, for what is due or for days."""
    desk = view.service.desk
    try:
        asked = filled(DaysAsked, {"from": view.form.get("from") or None, "to": view.form.get("to") or None})
        number = desk.trigger(name, asked_days(view.app, asked.first, asked.last), asker(view))
    except UsageError as error:
        if name not in desk.jobs:
            raise
        return _job_page(view, name, problem=error)
    return view.onward(view.to(f"/jobs/runs/{number}"))


def _job_page(view: View, name: str, problem: UsageError | None = None) -> Response:
    desk = view.service.desk
    kind = named(desk.jobs, name).kind
    runs, following = page_of_runs(view, desk, of_rollups=False, job=name)
    return view.page(
        "jobs/job.html", name, 400 if problem else 200, tabs=tabs(view, "/jobs"), entry=entry(view, desk.one(name)),
        kind=kind, runs=runs, following=following, problem=problem, runs_here=runs_here(view), words=request_in_words,
        first=view.form.get("from", ""), last=view.form.get("to", ""),
    )  # fmt: skip


def _back(view: View, name: str) -> Response:
    """Where the button was."""
    return view.onward(view.to("/jobs" if view.form.get("back") == "jobs" else f"/jobs/{name}"))
