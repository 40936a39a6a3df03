"""``/receipt/…``: where one number comes from. Dashboard door.

A number of one day and one key is a stored cell, and is explained; any other one is made of such cells, which are listed.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.jobs import number_in
from dayfold.dashboard.rendering import as_moment
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.view import View, address
from dayfold.dashboard.words import filter_word
from dayfold.days import Days, as_day
from dayfold.define.metric import Computed, Distinct, Gauge, Increase, Max, Min
from dayfold.define.rollup import RollupDef
from dayfold.errors import BadDate, DayfoldError, Forbidden, QueryRefused
from dayfold.http.rights import Right
from dayfold.jobs.jobs import REBUILD
from dayfold.ledger.jobs import JobRun
from dayfold.plan.keys import key_filters
from dayfold.query.request import metric_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_ASKED = ("from", "to", "where", "tz", "hour", "offset", "run")
#: Cells that a sum lists, and source rows of a cell.
_PARTS, _ROWS = 200, 20
#: How long a fold of one cell is waited for before the receipt says that it goes on, and looks again: few threads answer all pages.
_PATIENCE_S, _PAUSE_S = 1.0, 0.05


@dataclass(frozen=True, slots=True)
class Part:
    """A cell that a number is made of."""

    day: dt.date
    key: tuple[Any, ...]
    value: Any
    receipt: str


@router.get("/receipt/{name}/{metric}", openapi_extra=shows(Right.READ, *_ASKED))
def receipt(view: View, name: str, metric: str) -> Response:
    """The receipt of a number: as a part of a page, or as a page of its own."""
    return _shown(view, name, metric, _run(view, name))


@router.post("/receipt/{name}/{metric}", openapi_extra=shows(Right.JOBS, *_ASKED, audit="rebuild"))
def refold(view: View, name: str, metric: str) -> Response:
    """The cell is folded again, by a rebuild of its day and key; the receipt then says what came of it."""
    if not view.may(Right.READ):
        # Steering jobs is not seeing numbers, and a receipt is made of them.
        raise Forbidden("A receipt shows numbers.", hint="Sign in as somebody who may read them, or rebuild the days.")
    one = view.rollup(name)
    days = _days(view, one)
    words: dict[str, Any] = {"rollup": one.name}
    if days is not None:
        words |= {"from": str(days.first), "to": str(days.last)}
    if where := view.params("where"):
        words["where"] = where
    number = view.service.desk.trigger(REBUILD, words, view.caller.name if view.caller else "")
    until = time.monotonic() + _PATIENCE_S
    run = view.service.desk.run(number)
    while not run.has_ended and time.monotonic() < until:
        time.sleep(_PAUSE_S)
        run = view.service.desk.run(number)
    return _shown(view, name, metric, run)


def _run(view: View, name: str) -> JobRun | None:
    """The run that the cell was folded again by, for whoever may see jobs."""
    number = number_in(view.param("run"))
    if number is None or not view.may(Right.JOBS):
        return None
    run = view.service.desk.run(number)
    return run if run.job == REBUILD and run.request.get("rollup") == view.rollup(name).name else None


def _said(run: JobRun | None) -> str:
    """What came of a run so far."""
    if run is None:
        return ""
    if not run.has_ended:
        return f"Run {run.id} goes on: {run.status}."
    return f"Run {run.id}: {run.status}." + (f" {run.error}" if run.error else "")


def _shown(view: View, name: str, metric: str, run: JobRun | None) -> Response:
    one = view.rollup(name)
    metric_of(one, metric)
    days = _days(view, one)
    words: dict[str, Any] = {
        "rollup": one, "metric": metric, "days": days, "where": view.params("where"), "said": _said(run),
        "again": view.url(run=run.id) if run is not None and not run.has_ended else None,
    }  # fmt: skip
    if _is_cell(view, one, days):
        words |= _explained(view, one, metric, days)
        template = "receipt_cell"
    else:
        assert days is not None
        words |= _parts(view, one, metric, days)
        template = "receipt_parts"
    if view.is_htmx:
        return view.page(f"{template}.html", "", is_part=True, **words)
    return view.page(
        "receipt.html", f"{one.name}: {metric.replace('_', ' ')}", part=f"{template}.html", is_part=False, **words
    )


def _days(view: View, rollup: RollupDef) -> Days | None:
    """The days of the number; a profile has none."""
    if rollup.is_profile:
        return None
    last = as_day(view.param("to") or view.param("from") or "yesterday", view.today)
    return Days(as_day(view.param("from") or last, view.today), last)


def _is_cell(view: View, rollup: RollupDef, days: Days | None) -> bool:
    """Whether a number is of one stored cell: one whole day in UTC, and one value of every key column."""
    if view.param("hour"):
        return False
    pinned = {one.key for one in key_filters(rollup, view.params("where")) if not one.exclude and len(one.values) == 1}
    return pinned == set(rollup.key) and (days is None or (len(days) == 1 and not view.param("tz")))


def _explained(view: View, rollup: RollupDef, metric: str, days: Days | None) -> dict[str, Any]:
    given = view.param("offset") or "0"
    offset = int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 0
    found = view.app.explain(
        rollup.name,
        metric,
        day=days.first if days else None,
        where=view.params("where"),
        limit=_ROWS,
        offset=offset,
        scope=view.scope,
    )
    return {
        "found": found, "offset": offset, "page": _ROWS, "may_refold": view.may(Right.JOBS) and not found.sealed,
        "more": view.url(offset=offset + _ROWS, run=None), "less": view.url(offset=max(offset - _ROWS, 0) or None, run=None),
        "action": view.url(offset=None, run=None),
    }  # fmt: skip


def _parts(view: View, rollup: RollupDef, metric: str, days: Days) -> dict[str, Any]:
    """The cells of a number that is made of several, the greatest first, and how it is made of them."""
    where, tz = view.params("where"), view.param("tz")
    hour = _hour(view)
    value, exact, refused = None, True, ""
    try:
        grain = "total" if hour is None else "hour"
        answer = view.answer(rollup.name, [metric], from_=days.first, to=days.last, where=where, grain=grain, tz=tz)
        value = next((row[metric] for row in answer.rows if hour is None or row["hour"] == hour), None)
        exact = answer.exact[metric]
    except QueryRefused as error:
        refused = error.message
    parts: list[Part] = []
    try:
        answer = view.answer(
            rollup.name,
            [metric],
            from_=days.first,
            to=days.last,
            by=rollup.key,
            where=where,
            sort=f"-{metric}",
            limit=_PARTS,
        )
        parts = [_part(rollup, metric, row) for row in answer.rows if row[metric] is not None]
    except DayfoldError as error:
        refused = refused or error.message
    return {
        "value": value,
        "exact": exact,
        "parts": parts,
        "most": _PARTS,
        "made": _made(rollup, metric),
        "refused": refused,
        "zone": tz,
        "hour": hour,
    }


def _hour(view: View) -> dt.datetime | None:
    """The start of the one hour of the day that the number is of. Raises BadDate."""
    text = view.param("hour")
    try:
        return as_moment(text) if text else None
    except (ValueError, OverflowError):
        raise BadDate("The hour of the receipt is none.", hint="Expected such as 2026-01-31T14:00:00+00:00.") from None


def _part(rollup: RollupDef, metric: str, row: dict[str, Any]) -> Part:
    where = [filter_word(key, row[key]) for key in rollup.key]
    day = row["day"]
    link = address(f"/receipt/{rollup.name}/{metric}", {"from": day, "to": day, "where": where or None})
    return Part(day, tuple(row[key] for key in rollup.key), row[metric], link)


def _made(rollup: RollupDef, metric: str) -> str:
    """How a number is made of cells, in a sentence."""
    match rollup.metrics[metric]:
        case Computed():
            return "It is computed from the metrics that it is made of, after these were added up: it is no sum and no average of its days."
        case Distinct():
            return "It counts different values: those of several days or keys are united, and never summed."
        case Gauge():
            return (
                "It is a level: over time the last covered day counts, over keys it is combined as its definition says."
            )
        case Min() | Max():
            return "It is the least or the greatest of its cells."
        case Increase():
            return "It is the growth of a level, and adds up over days and keys."
    return "It is the sum of its cells."
