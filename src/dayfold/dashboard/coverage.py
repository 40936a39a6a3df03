"""``/jobs/coverage``: the days of a rollup as a calendar, each as open, folded, failed, sealed or never folded. Dashboard door."""

from __future__ import annotations

import calendar
import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.jobs import tabs
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.view import View
from dayfold.days import Days, overlap, parse_day
from dayfold.define.rollup import RollupDef
from dayfold.errors import BadDate
from dayfold.http.rights import Right

#: What a day may be, the worst first: a day of several sources is what the worst of them is. Before: no source's history had begun.
FAILED, NEVER, OPEN, SEALED, FOLDED, BEFORE = "failed", "never", "open", "sealed", "folded", "before"
STATES = {
    FOLDED: "folded after the day was over",
    OPEN: "folded, and may still change: the day is not over, or a source has not all of its facts yet",
    FAILED: "the last fold could not read a source",
    SEALED: "frozen: nothing computes it again",
    NEVER: "never folded",
    BEFORE: "before the history of the sources begins",
}
_WORST_FIRST = (FAILED, NEVER, OPEN, SEALED, FOLDED)
#: Ranges that are listed.
_MOST_RANGES = 200
_Known = Mapping[str, Mapping[str, Sequence[Mapping[str, dt.date]]]]
router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Square:
    """One day of the calendar."""

    day: dt.date
    state: str
    url: str


@dataclass(frozen=True, slots=True)
class Month:
    """One month: its weeks from Monday to Sunday, None where a day is of another month or still to come."""

    name: str
    weeks: list[list[Square | None]]


@router.get("/jobs/coverage", openapi_extra=shows(Right.JOBS, "rollup", "source", "year", "day"))
def coverage(view: View) -> Response:
    """A year of one rollup."""
    known = view.rollups()
    names = [one.name for one in known]
    first = next((one.name for one in known if not one.is_profile), names[0] if names else "")
    name = view.one_of("rollup", names, first)
    rollup = next((one for one in known if one.name == name), None)
    states = view.covered(name) if rollup else {}
    sources = list(states)
    source = view.one_of("source", sources, "")
    chosen = {one: states[one] for one in ([source] if source else sources)}
    shown: dict[str, Any] = {"months": [], "counts": [], "years": [], "year": None, "about": None}
    if rollup is not None and not rollup.is_profile and states:
        shown = _year(view, rollup, states, chosen)
    return view.page(
        "jobs/coverage.html", "Coverage", tabs=tabs(view, "/jobs/coverage"), names=names, rollup=rollup, sources=sources,
        source=source, states=STATES, ranges=_ranges(chosen), known=states, most_ranges=_MOST_RANGES, **shown,
    )  # fmt: skip


def _year(view: View, rollup: RollupDef, known: _Known, chosen: _Known) -> dict[str, Any]:
    """The calendar of the year that is asked for, and the day that is."""
    today = view.today
    firsts = [days["from"] for states in known.values() for found in states.values() for days in found]
    years = [str(year) for year in range(today.year, min(min(firsts).year, today.year) - 1, -1)]
    year = int(view.one_of("year", years, years[0]))
    span = Days(dt.date(year, 1, 1), min(dt.date(year, 12, 31), today))
    days = days_in(chosen, span)
    squares = {day: Square(day, state, f"{view.url(day=day)}#day") for day, state in days.items()}
    months = [
        Month(
            f"{calendar.month_name[month]} {year}",
            [
                [squares.get(day) if day.month == month else None for day in week]
                for week in calendar.Calendar().monthdatescalendar(year, month)
            ],
        )
        for month in range(1, span.last.month + 1)
    ]
    counts = Counter(days.values())
    return {
        "months": months, "counts": [(state, counts[state]) for state in STATES if counts[state]], "years": years,
        "year": str(year), "about": _about(view, rollup, known),
    }  # fmt: skip


def days_in(known: _Known, span: Days) -> dict[dt.date, str]:
    """What each day of a range is, of the worst of some sources.

    >>> one = {"folded": [{"from": dt.date(2026, 1, 2), "to": dt.date(2026, 1, 3)}]}
    >>> list(days_in({"orders": one}, Days(dt.date(2026, 1, 1), dt.date(2026, 1, 4))).values())
    ['before', 'folded', 'folded', 'never']
    """
    found: dict[dt.date, set[str]] = {day: set() for day in span}
    for states in known.values():
        mine: dict[dt.date, str] = {}
        for state, ranges in states.items():
            for one in ranges:
                part = overlap(Days(one["from"], one["to"]), span)
                mine |= dict.fromkeys(part or (), state)
        start = min((one["from"] for ranges in states.values() for one in ranges), default=None)
        for day, all_of_it in found.items():
            if start is not None and day >= start:
                all_of_it.add(mine.get(day, NEVER))
    return {day: next((state for state in _WORST_FIRST if state in states), BEFORE) for day, states in found.items()}


def _about(view: View, rollup: RollupDef, known: _Known) -> dict[str, Any] | None:
    """The one day that is asked about: what it is of each source, and where to go from it."""
    text = view.param("day")
    if text is None:
        return None
    try:
        day = parse_day(text, view.today)
    except BadDate:
        return None
    alone = Days(day, day)
    return {
        "day": day,
        "states": [(source, days_in({source: states}, alone)[day]) for source, states in known.items()],
        "page": view.to(f"/rollups/{rollup.name}", from_=day, to=day) if view.may(Right.READ) else None,
        "rebuild": view.to("/jobs/rebuild", rollup=rollup.name, from_=day, to=day),
    }


def _ranges(known: _Known) -> list[tuple[str, str, dt.date, dt.date, int]]:
    """Source, state, first and last day, and how many: what the calendar shows, as a list."""
    found = [
        (source, state, days["from"], days["to"], len(Days(days["from"], days["to"])))
        for source, states in known.items()
        for state, ranges in states.items()
        for days in ranges
    ]
    return sorted(found, key=lambda one: (one[0], one[2]))
