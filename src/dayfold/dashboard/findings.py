"""``/jobs/drifts``, ``/jobs/checks`` and ``/jobs/alerts``: what was found to be wrong, and who was told. Dashboard door.

All three speak of all rows, so they are for callers who may see everything, as in the HTTP API.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.jobs import PAGE, asker, filled, number_in, runs_here, tabs
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.view import View
from dayfold.days import LIFE
from dayfold.errors import UsageError
from dayfold.http.rights import Right, check_sees_everything
from dayfold.http.work import verify_words
from dayfold.http.work_forms import VerifyAsked
from dayfold.jobs.alerts import Tried
from dayfold.jobs.jobs import FINALIZE, VERIFY
from dayfold.ledger.jobs import JobRun

#: Runs of the jobs that verify whose findings are listed.
_RUNS = 20
router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/jobs/drifts", openapi_extra=shows(Right.JOBS, "rollup"))
def drifts(view: View) -> Response:
    """What differs from its sources, how far everything is verified, and what verifications found and healed."""
    return _drifts(view)


@router.post("/jobs/drifts", openapi_extra=shows(Right.JOBS, audit="verify"))
def verify(view: View) -> Response:
    """Compare cells with their sources, and with ``heal`` fold those again that differ."""
    _check(view, "Drifts")
    try:
        sample = number_in(view.form.get("sample", "").strip()) if view.form.get("sample", "").strip() else None
        asked = {
            "rollup": view.form.get("rollup") or None,
            "from": view.form.get("from") or None,
            "to": view.form.get("to") or None,
        }
        if view.form.get("sample", "").strip() and sample is None:
            raise UsageError("A sample is a whole number of days.")
        words = verify_words(
            view.app, filled(VerifyAsked, {**asked, "sample": sample, "heal": bool(view.form.get("heal"))})
        )
        number = view.service.desk.trigger(VERIFY, words, asker(view))
    except UsageError as error:
        return _drifts(view, error)
    return view.onward(view.to(f"/jobs/runs/{number}"))


@router.get("/jobs/checks", openapi_extra=shows(Right.JOBS))
def checks(view: View) -> Response:
    """Every check, and how it ended last."""
    _check(view, "Checks")
    found = sorted(view.app.checks(), key=lambda one: (one.verdict in ("passed", None), one.check))
    return view.page(
        "jobs/checks.html", "Checks", tabs=tabs(view, "/jobs/checks"), checks=found, may_see_values=view.may(Right.READ)
    )


@router.get("/jobs/alerts", openapi_extra=shows(Right.JOBS, "open", "before"))
def alerts(view: View) -> Response:
    """Episodes, the newest first, with their messages; and how each rule stands."""
    return _alerts(view)


@router.post("/jobs/alerts/test", openapi_extra=shows(Right.ADMIN))
def try_channels(view: View) -> Response:
    """A test message is sent to one channel or to each; what happened."""
    _check(view, "Alerts")
    try:
        return _alerts(view, tried=view.service.alerts.test(view.form.get("channel") or None))
    except UsageError as error:
        return _alerts(view, problem=error)


def _check(view: View, what: str) -> None:
    assert view.caller is not None
    check_sees_everything(view.caller, what)


def _drifts(view: View, problem: UsageError | None = None) -> Response:
    _check(view, "Drifts")
    app, desk = view.app, view.service.desk
    verified = {one.rollup: one for one in app.verified()}
    known = view.rollups()
    runs = [
        *desk.runs(_RUNS, job=VERIFY, of_rollups=False), *desk.runs(_RUNS, job=FINALIZE, of_rollups=False),
    ]  # fmt: skip
    given = {name: view.form.get(name, "") for name in ("rollup", "from", "to", "sample", "heal")}
    return view.page(
        "jobs/drifts.html", "Drifts", 400 if problem else 200, tabs=tabs(view, "/jobs/drifts"), unhealed=app.unhealed(),
        verified=[(one, verified.get(one.name)) for one in known], found=_found(runs), problem=problem, lifelong=LIFE,
        given={**given, "rollup": given["rollup"] or view.param("rollup", "")}, runs_here=runs_here(view),
    )  # fmt: skip


def _found(runs: list[Any]) -> list[tuple[JobRun, dict[str, Any]]]:
    """What the newest runs compared, each rollup of a run by itself; what drifted comes first within a run."""
    newest = sorted((one for one in runs if isinstance(one, JobRun)), key=lambda one: -one.id)[:_RUNS]
    return [
        (run, one)
        for run in newest
        for one in sorted((run.summary or {}).get("verified", ()), key=lambda one: (-one["drifted"], one["rollup"]))
    ]


def _alerts(view: View, tried: list[Tried] | None = None, problem: UsageError | None = None) -> Response:
    _check(view, "Alerts")
    only_open = view.param("open") == "1"
    page = view.service.alerts.listed(only_open=only_open, limit=PAGE, before=number_in(view.param("before")))
    return view.page(
        "jobs/alerts.html", "Alerts", 400 if problem else 200, tabs=tabs(view, "/jobs/alerts"), episodes=page["alerts"],
        rules=page["rules"], following=view.url(before=page["before"]) if page["before"] else None, only_open=only_open,
        channels=list(view.app.settings.alerts.channels), tried=tried, problem=problem,
        may_see_values=view.may(Right.READ), may_test=view.may(Right.ADMIN),
    )  # fmt: skip
