"""``/jobs/runs``: runs, and one run with its progress, its log and what it did. Dashboard door.

Invariant: the log of a run is what the ledger has of it, in the order of time; nothing is made up.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.jobs import number_in, page_of_runs, request_in_words, runs_here, tabs
from dayfold.dashboard.rendering import amount, as_moment, duration
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.view import View
from dayfold.days import Days, overlap, union, without
from dayfold.errors import UnknownName
from dayfold.http.rights import Right
from dayfold.jobs.jobs import REBUILD
from dayfold.ledger.jobs import AGAIN, ASKED, QUEUED, SLOT, STATUSES, JobRun
from dayfold.ledger.runs import PARTIAL, RUNNING, RunRecord
from dayfold.plan.access import EVERYTHING

_CAUSES = {SLOT: "Its time came.", AGAIN: "Queued again: the process of the run before it ended in the middle."}
#: Parts of a summary that have a table of their own, and how what they list was done.
_DONE = {"rollups": "folded", "rebuilt": "rebuilt", "verified": "verified"}
_APART = (*_DONE, "checks", "open", "from", "to", "dry_run")
#: Open days that are listed.
_MOST_OPEN = 100
router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a run's log. ``url``: of the run that it is about, where that is another one."""

    at: dt.datetime
    kind: str
    text: str
    url: str | None = None


@router.get("/jobs/runs", openapi_extra=shows(Right.JOBS, "job", "rollup", "status", "before"))
def runs(view: View) -> Response:
    """All runs, of jobs and of rollups, the newest first."""
    desk = view.service.desk
    names = list(desk.jobs)
    job = view.one_of("job", names, "") or None
    rollups = [one.name for one in view.rollups()]
    rollup = view.one_of("rollup", rollups, "") or None
    statuses = [*STATUSES, PARTIAL]
    status = view.one_of("status", statuses, "") or None
    found, following = page_of_runs(view, desk, of_rollups=True, job=job, rollup=rollup, status=status)
    return view.page(
        "jobs/runs.html", "Runs", tabs=tabs(view, "/jobs/runs"), runs=found, following=following, jobs_known=names, rollups=rollups,
        statuses=statuses, job=job, rollup=rollup, wanted=status, words=request_in_words,
    )  # fmt: skip


@router.get("/jobs/runs/{number}", openapi_extra=shows(Right.JOBS))
def run(view: View, number: str) -> Response:
    """One run."""
    return run_page(view, number)


@router.get("/jobs/runs/{number}/now", openapi_extra=shows(Right.JOBS))
def run_part(view: View, number: str) -> Response:
    """One run as it stands now: the part of its page that looks again by itself until the run has ended."""
    return view.page("jobs/run_part.html", f"Run {number}", **_told(view, number))


def run_page(view: View, number: str, **more: Any) -> Response:
    """The page of a run, with what else it has to show. Raises UnknownName."""
    return view.page("jobs/run.html", f"Run {number}", tabs=tabs(view, "/jobs/runs"), **{**_told(view, number), **more})


def _told(view: View, text: str) -> dict[str, Any]:
    """All that is known of a run."""
    number = number_in(text)
    whole = view.service.desk.whole(number) if number else None
    if whole is None:
        raise UnknownName(f"There is no run {text[:40]}.", hint="The page of runs lists them.")
    one, children = whole
    of_job = isinstance(one, JobRun)
    summary = (one.summary or {}) if isinstance(one, JobRun) else {}
    request = one.request if isinstance(one, JobRun) else {}
    is_rebuild = of_job and one.job == REBUILD
    is_active = one.status in (QUEUED, RUNNING)
    return {
        "run": one, "of_job": of_job, "is_active": is_active, "words": request_in_words(request) if of_job else "",
        "log": log_of(view, one, children), "done": _done(summary), "checks": summary.get("checks", []),
        "open_days": summary.get("open", [])[:_MOST_OPEN], "facts": facts(summary), "runs_here": runs_here(view),
        "rollup_url": _rollup_url(view, one), "request": request, "is_rebuild": is_rebuild,
        "diff": next(iter(summary.get("rollups", [])), None) if is_rebuild else None,
        "around": _around(view, request) if is_rebuild and one.error else None,
        "may_see_values": view.may(Right.READ) and view.scope == EVERYTHING, "changes": None, "problem": None,
    }  # fmt: skip


def _done(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was done to each rollup, by its word."""
    return [{"what": word, **one} for name, word in _DONE.items() for one in summary.get(name, ())]


def facts(summary: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What else a summary says, flat.

    >>> facts({"deleted": {"events": 3}, "open_days": 1, "rollups": []})
    [('deleted: events', 3), ('open days', 1)]
    """
    found: list[tuple[str, Any]] = []
    for name, value in summary.items():
        if name in _APART:
            continue
        if isinstance(value, Mapping):
            found += [(f"{name}: {part}".replace("_", " "), one) for part, one in value.items()]
        else:
            found.append((name.replace("_", " "), value))
    return found


def log_of(view: View, one: JobRun | RunRecord, children: Sequence[RunRecord]) -> list[Line]:
    """The lines of a run's log, in the order of time."""
    if isinstance(one, RunRecord):
        return _of_rollup(view, one, is_own=True)
    # What was done to rollups is known to the second, so within one second the order is that of a run.
    began, ended = _begin(one), _end(one)
    done = [line for child in sorted(children, key=lambda child: child.id) for line in _of_rollup(view, child)]
    return sorted([*began, *done, *ended], key=lambda line: line.at.replace(microsecond=0))


def _begin(one: JobRun) -> list[Line]:
    asked = request_in_words(one.request)
    why = f"{one.asked_by} asked for it: {asked}." if one.cause == ASKED else _CAUSES.get(one.cause, "It was queued.")
    lines = [Line(one.asked_at, "info", why)]
    if one.started_at is not None:
        text = "An attempt began." if one.status == QUEUED else f"Attempt {one.attempt} began."
        lines.append(Line(one.started_at, "info", text))
    return lines


def _end(one: JobRun) -> list[Line]:
    """How the last attempt ended."""
    if one.finished_at is None:
        return []
    lines: list[Line] = []
    summary = one.summary or {}
    for check in summary.get("checks", ()):
        reason = f": {check['reason']}" if check.get("reason") else "."
        kind = "good" if check["verdict"] == "passed" else "bad"
        lines.append(Line(one.finished_at, kind, f"The check {check['check']} {_VERDICTS[check['verdict']]}{reason}"))
    lines += [Line(one.finished_at, "bad", text) for text in (one.error or "").splitlines() if text.strip()]
    took = f" after {duration(one.seconds)}" if one.seconds else ""
    ended = "It waits for another attempt." if one.status == QUEUED else f"The run is {one.status}{took}."
    return [*lines, Line(one.finished_at, "good" if one.status == "done" else "info", ended)]


_VERDICTS = {"passed": "passed", "failed": "failed", "error": "could not be run"}


def _of_rollup(view: View, one: RunRecord, *, is_own: bool = False) -> list[Line]:
    began = as_moment(one.started_at)
    url = None if is_own else view.to(f"/jobs/runs/{one.id}")
    lines = [Line(began, "info", f"{one.job} of {one.rollup} began.", url)]
    if one.seconds is None:
        return lines
    ended = began + dt.timedelta(seconds=one.seconds)
    if one.error and is_own:
        lines += [Line(ended, "bad", text) for text in one.error.splitlines() if text.strip()]
    rows = f"{amount(one.rows_inserted)} rows inserted, {amount(one.rows_updated)} updated, {amount(one.rows_deleted)} deleted"
    counts = f"{amount(one.cells)} cells" + ("" if one.job == "verify" else f", {rows}")
    kind = "good" if one.status == "done" else "bad" if one.error else "info"
    return [*lines, Line(ended, kind, f"{one.job} of {one.rollup} is {one.status}: {counts}.", url)]


def _rollup_url(view: View, one: JobRun | RunRecord) -> tuple[str, str] | None:
    """The rollup that a run is of, and its page on the days that were asked for; None where the caller may not read it."""
    request = one.request if isinstance(one, JobRun) else {}
    name = request.get("rollup") if isinstance(one, JobRun) else one.rollup
    known = {rollup.name: rollup for rollup in view.rollups()}
    if name not in known or not view.may(Right.READ):
        return None
    if known[name].is_profile:
        return name, view.to(f"/profiles/{name}")
    return name, view.to(f"/rollups/{name}", from_=request.get("from"), to=request.get("to"))


def _around(view: View, request: Mapping[str, Any]) -> list[tuple[str, str]] | None:
    """Where some of the days that were asked for are sealed: those around them, and where to ask for these; None where none is."""
    name, first, last = (request.get(word) for word in ("rollup", "from", "to"))
    if not first or name not in {one.name for one in view.rollups()}:
        return None
    asked = Days(dt.date.fromisoformat(first), dt.date.fromisoformat(str(last)))
    sealed = union(
        part
        for states in view.covered(str(name)).values()
        for days in states.get("sealed", ())
        if (part := overlap(Days(days["from"], days["to"]), asked))
    )
    if not sealed:
        return None
    return [
        (
            f"{days.first} to {days.last}",
            view.to("/jobs/rebuild", rollup=name, from_=days.first, to=days.last, where=request.get("where")),
        )
        for days in without(asked, sealed)
    ]
