"""``/jobs/rebuild``: fold days again, what would change first. Dashboard door.

A rebuild has two steps: a dry run, whose page shows what would change, and then the same words without ``dry_run``. Both are runs of
the same job as the HTTP API's, so they wait, are logged and are noted as those are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.jobs import asker, entry, filled, number_in, page_of_runs, request_in_words, runs_here, tabs
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.runs import run_page
from dayfold.dashboard.view import View
from dayfold.errors import DayfoldError, TookTooLong, UnknownName, UsageError
from dayfold.http.rights import Right, check_sees_everything
from dayfold.http.work import rebuild_words
from dayfold.http.work_forms import RebuildAsked
from dayfold.jobs.jobs import REBUILD
from dayfold.ledger.jobs import JobRun
from dayfold.ledger.runs import DONE

#: How long a page computes single values that would change, and waits for another run of the rollup.
_LIMIT_S, _WAIT_S = 60.0, 5.0
router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/jobs/rebuild", openapi_extra=shows(Right.JOBS, "rollup", "from", "to", "where", "before"))
def rebuild(view: View) -> Response:
    """What to rebuild; an address may have it filled in already."""
    given = {"rollup": view.param("rollup", ""), "from": view.param("from", ""), "to": view.param("to", "")}
    return _form(view, {**given, "where": "\n".join(view.params("where"))})


@router.post("/jobs/rebuild", openapi_extra=shows(Right.JOBS, audit="rebuild"))
def dry_run(view: View) -> Response:
    """A dry run of what the form says; with ``again``, of what an earlier one was asked for."""
    fields = {name: view.form.get(name, "").strip() for name in ("rollup", "from", "to", "where")}
    asked = {
        "rollup": fields["rollup"], "from": fields["from"] or None, "to": fields["to"] or None, "where": _lines(fields["where"]),
        "dry_run": True, "allow_empty": bool(view.form.get("allow_empty")),
    }  # fmt: skip
    try:
        number = view.service.desk.trigger(REBUILD, _words(view, asked), asker(view))
    except UsageError as error:
        return _form(view, fields, error)
    return view.onward(view.to(f"/jobs/runs/{number}"))


@router.post("/jobs/runs/{number}/rebuild", openapi_extra=shows(Right.JOBS, audit="rebuild"))
def do(view: View, number: str) -> Response:
    """What a dry run looked at is rebuilt, by the same words."""
    looked = _looked(view, number)
    words = {name: value for name, value in looked.request.items() if name != "dry_run"}
    started = view.service.desk.trigger(REBUILD, words, asker(view))
    return view.onward(view.to(f"/jobs/runs/{started}"))


@router.post("/jobs/runs/{number}/changes", openapi_extra=shows(Right.JOBS))
def changes(view: View, number: str) -> Response:
    """The largest changes of single values, for who may read them; they are computed anew, and kept nowhere."""
    assert view.caller is not None
    check_sees_everything(view.caller, "Changes")
    if not view.may(Right.READ):
        raise UsageError("Changes are values of rows.", hint="Sign in as somebody who may read numbers.")
    looked = _looked(view, number).request
    until = time.monotonic() + _LIMIT_S

    def stop() -> None:
        if time.monotonic() > until:
            raise TookTooLong(
                f"Single changes took longer than {_LIMIT_S:.0f} seconds to compute.",
                hint="Choose fewer days. The counts are of all of them.",
            )

    try:
        found = view.app.rebuild(
            looked["rollup"], from_=looked.get("from"), to=looked.get("to"), where=looked.get("where", ()), dry_run=True,
            allow_empty=bool(looked.get("allow_empty")), wait_s=_WAIT_S, stop=stop,
        )  # fmt: skip
    except DayfoldError as error:
        return run_page(view, number, problem=error)
    return run_page(view, number, changes=found.moves)


def _looked(view: View, number: str) -> JobRun:
    """A dry run that ended well. Raises UnknownName, UsageError."""
    known = number_in(number)
    if known is None:
        raise UnknownName(f"There is no run {number[:40]}.", hint="The page of runs lists them.")
    one = view.service.desk.run(known)
    if one.job != REBUILD or not one.request.get("dry_run") or one.status != DONE:
        raise UsageError(
            f"Run {known} is no dry run that ended well.",
            hint="Choose the days: they are looked at before they are rebuilt.",
        )
    return one


def _words(view: View, asked: dict[str, Any]) -> dict[str, Any]:
    """What a run is asked for. Raises UsageError and its kinds."""
    if not asked["rollup"]:
        raise UsageError("Choose a rollup.")
    return rebuild_words(view.app, filled(RebuildAsked, asked))


def _lines(text: str) -> Sequence[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _form(view: View, given: dict[str, Any], problem: UsageError | None = None) -> Response:
    desk = view.service.desk
    runs, following = page_of_runs(view, desk, of_rollups=False, job=REBUILD)
    known = view.rollups()
    return view.page(
        "jobs/rebuild.html", "Rebuild", 400 if problem else 200, tabs=tabs(view, "/jobs/rebuild"), given=given, problem=problem,
        rollups=[one.name for one in known if not one.is_profile], profiles=[one.name for one in known if one.is_profile],
        entry=entry(view, desk.one(REBUILD)), runs=runs, following=following, words=request_in_words, runs_here=runs_here(view),
    )  # fmt: skip
