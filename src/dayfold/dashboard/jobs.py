"""``/jobs``: every job with its schedule, its runs and its buttons. Dashboard door.

Invariant: whatever is asked for here goes through the same desk as the HTTP API's, with the caller's name; no page of jobs shows a
value of a row to who may not read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.view import View
from dayfold.errors import UsageError
from dayfold.http.rights import Right
from dayfold.http.work_forms import MOST_NUMBER
from dayfold.jobs.desk import Desk, JobView
from dayfold.jobs.jobs import ENRICH, FINALIZE, FOLD, REBUILD, RETAIN, VERIFY, Job
from dayfold.ledger.jobs import JobRun
from dayfold.ledger.runs import RunRecord
from dayfold.schedule import expression

Form = TypeVar("Form", bound=BaseModel)
#: Jobs that may be run now without further words, and those of them that take days.
RUNNABLE = (FOLD, FINALIZE, VERIFY, ENRICH, RETAIN)
DAILY = (FOLD, FINALIZE, VERIFY, ENRICH)
#: Runs on one page.
PAGE = 25
_TABS = (
    ("Jobs", "/jobs"), ("Runs", "/jobs/runs"), ("Rebuild", "/jobs/rebuild"), ("Coverage", "/jobs/coverage"),
    ("Drifts", "/jobs/drifts"), ("Checks", "/jobs/checks"), ("Alerts", "/jobs/alerts"),
)  # fmt: skip
router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One job on a page.

    Attributes:
        schedule: When it is due, in words.
        run: The run that goes on or waits.
        is_runnable: Whether a button may run it; ``is_daily``: for days, too.
        needs: What it is asked for instead, and where; empty where it is runnable.
    """

    job: JobView
    url: str
    schedule: str
    run: JobRun | None
    is_runnable: bool
    is_daily: bool
    needs: tuple[str, str] | None


@router.get("/jobs", openapi_extra=shows(Right.JOBS))
def jobs(view: View) -> Response:
    """Every job."""
    return view.page("jobs/jobs.html", "Jobs", tabs=tabs(view, "/jobs"), **_listed(view))


@router.get("/jobs/list", openapi_extra=shows(Right.JOBS))
def jobs_part(view: View) -> Response:
    """Every job as it stands now: the part of the page that looks again by itself."""
    return view.page("jobs/jobs_part.html", "Jobs", **_listed(view))


# -- what the pages of jobs share ------------------------------------------------------------------


def tabs(view: View, here: str) -> list[tuple[str, str, bool]]:
    """The pages about jobs: what they are called, where they are, and whether it is this one."""
    return [(text, view.to(path), path == here) for text, path in _TABS]


def asker(view: View) -> str:
    """Who asks, for the record."""
    assert view.caller is not None
    return view.caller.name


def filled(form: type[Form], fields: Mapping[str, object]) -> Form:
    """A form of the HTTP API from the fields of a page's; those that are None are as if not given.

    Raises:
        UsageError: with the first thing that is wrong.
    """
    try:
        return form(**{name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


def number_in(text: str | None) -> int | None:
    """The number of a run or an episode; None for what is none.

    >>> number_in("12"), number_in("0"), number_in("x"), number_in(None)
    (12, None, None, None)
    """
    if not text or not text.isascii() or not text.isdigit() or len(text) > len(str(MOST_NUMBER)):
        return None
    return int(text) if 0 < int(text) <= MOST_NUMBER else None


def page_of_runs(
    view: View, desk: Desk, *, of_rollups: bool, **which: str | None
) -> tuple[Sequence[JobRun | RunRecord], str | None]:
    """A page of runs, the newest first, and where the next one is."""
    before = number_in(view.param("before"))
    found = desk.runs(PAGE + 1, before=before, of_rollups=of_rollups, **which)
    shown = found[:PAGE]
    return shown, view.url(before=shown[-1].id) if len(found) > PAGE else None


def request_in_words(request: Mapping[str, Any]) -> str:
    """What a run was asked for.

    >>> request_in_words({"rollup": "Shops", "from": "2026-03-01", "to": "2026-03-02", "where": ["shop=7"], "dry_run": True})
    'Shops, 2026-03-01 to 2026-03-02, where shop=7, dry run'
    >>> request_in_words({})
    'what is due'
    """
    first, last = request.get("from"), request.get("to")
    words = [str(request["rollup"])] if request.get("rollup") else []
    if first:
        words.append(str(first) if first == last else f"{first} to {last}")
    if request.get("where"):
        words.append(f"where {' and '.join(request['where'])}")
    if request.get("sample"):
        words.append(f"{request['sample']:,} days at random")
    words += [
        text
        for name, text in (("heal", "heal"), ("dry_run", "dry run"), ("allow_empty", "days may become empty"))
        if request.get(name)
    ]
    words += [f"{name} {request[name]}" for name in ("export", "erasure") if request.get(name)]
    return ", ".join(words) or "what is due"


def schedule_in_words(text: str) -> str:
    """When a job is due.

    >>> schedule_in_words("*/5 * * * *"), schedule_in_words("01:00"), schedule_in_words("off")
    ('Every fifth minute of every hour', 'At 01:00 every day', 'Only when somebody asks')
    """
    words = expression(text)
    if words is None:
        return "Only when somebody asks"
    import datetime as dt

    from cronsim import CronSim

    return CronSim(words, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)).explain()


# -- this page -------------------------------------------------------------------------------------


def entry(view: View, one: JobView) -> Entry:
    """A job for a page."""
    desk = view.service.desk
    kind = desk.jobs[one.job].kind
    return Entry(
        one, view.to(f"/jobs/{one.job}"), schedule_in_words(one.schedule), desk.run(one.run_id) if one.run_id else None,
        kind in RUNNABLE, kind in DAILY, _needs(view, desk.jobs[one.job]),
    )  # fmt: skip


def _needs(view: View, one: Job) -> tuple[str, str] | None:
    if one.kind == REBUILD:
        return "Choose the days", view.to("/jobs/rebuild")
    return None


def _listed(view: View) -> dict[str, Any]:
    entries = [entry(view, one) for one in view.service.desk.all()]
    return {"entries": entries, "runs_here": runs_here(view), "refresh_s": 2 if any(one.run for one in entries) else 10}


def runs_here(view: View) -> bool:
    """Whether the process that answers runs jobs."""
    return view.app.settings.serve.jobs
