"""``/cohorts/NAME`` and ``/funnels/NAME``: who comes back and what they bring, and who goes on from step to step. Dashboard door."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.filters import FORM, chips, chosen, led_on
from dayfold.dashboard.profiles import value_name
from dayfold.dashboard.rendering import percent
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.span import PERIODS
from dayfold.dashboard.view import View, address
from dayfold.days import ONE_DAY, Days, as_day, bucket_end, bucket_start
from dayfold.define.cohort import CUMULATIVE, PER_ENTITY, CohortDef
from dayfold.define.funnel import FunnelDef
from dayfold.define.lasting import Case, Exists, First, Mode
from dayfold.define.rollup import RollupDef
from dayfold.define.study import StudyDef
from dayfold.errors import BadDate, QueryRefused, UsageError
from dayfold.http.asked import words
from dayfold.http.rights import Right
from dayfold.periods import CUSTOM, days_of
from dayfold.query.cohort_request import GRAINS, CohortRequest
from dayfold.query.cohorts import CohortAnswer
from dayfold.query.funnels import LABELS, OF_COHORT, OF_DAYS, FunnelAnswer, FunnelRequest
from dayfold.query.profile_request import ProfileRequest

router = APIRouter(route_class=PageRoute, include_in_schema=False)
#: Cohorts and ages that are shown where nothing else is asked for, and the ages that may be asked for.
_COHORTS, _AGES, AGES = 12, 13, (7, 13, 25, 37, 61, 121)
#: Groups of a split that have a table of their own.
_GROUPS = 8
_QUIET_DAYS = 90
RETENTION = "retention"
_FILTERS = ("where", "by", *FORM)


# -- funnels -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """A funnel's steps of one group: ``name`` is None where nothing is split."""

    name: str | None
    steps: Sequence[Mapping[str, Any]]
    on_days: Sequence[Mapping[str, Any]]

    @property
    def anybody(self) -> int:
        """How many steps were taken, or would count."""
        return sum(int(row["entities"]) for row in (*self.steps, *self.on_days))

    @property
    def began(self) -> int:
        """How many took the first step."""
        return int(self.steps[0]["entities"])


@router.get("/funnels/{name}", openapi_extra=shows(Right.READ, "from", "to", "period", *_FILTERS))
def funnel(view: View, name: str) -> Response:
    """How many went from step to step."""
    found = view.scope.funnel(view.app.catalog, name)
    onward = led_on(view, found.profile.key, found.profile.key)
    if onward is not None:
        return onward
    said = _said(view, found, "funnels", found.profile.key)
    status = 200
    if said["is_folded"]:
        try:
            newest = newest_moment(view, found.profile, found.steps[0])
            days, period = _span(view, newest)
            said |= {"days": days, "period": period, "periods": _periods(view)}
            answer = _funnel(view, found, days)
            groups = _funnel_groups(answer, said["by"])
            said |= {"groups": groups[:_GROUPS], "further": len(groups[_GROUPS:]), "remarks": answer.remarks_of_profile}
            said |= {"labels": LABELS, "downloads": _downloads(view, f"/v1/funnels/{found.name}", said, days)}
        except (QueryRefused, UsageError) as error:
            said["refused"], status = error, 422 if isinstance(error, QueryRefused) else 400
    return view.page("funnel.html", found.name, status, funnel=found, **said)


def _funnel(view: View, found: FunnelDef, days: Days) -> FunnelAnswer:
    by, where = _by(view), view.params("where")
    asked = FunnelRequest.parse(
        found, from_=days.first, to=days.last, by=by, where=where, today=view.today, scope=view.scope
    )
    key = ("funnel", found.name, days, tuple(by), tuple(where))
    return view.kept([found.profile.name], key, lambda: view.app.funnel_answer(asked))


def _funnel_groups(answer: FunnelAnswer, by: Sequence[str]) -> list[Group]:
    """The steps of each group, the one that most began in first."""
    some: dict[tuple[Any, ...], dict[str, list[dict[str, Any]]]] = {}
    for row in answer.rows:
        group = some.setdefault(tuple(row[name] for name in by), {OF_COHORT: [], OF_DAYS: []})
        group[row["counts"]].append(row)
    found = [Group(_named(key), group[OF_COHORT], group[OF_DAYS]) for key, group in some.items()]
    return sorted(found, key=lambda one: -one.began)


# -- cohorts -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of a cohort at an age.

    Attributes:
        value: What is shown, as ``text``; None where it is not known.
        heat: From 0, nothing or not known, to 9.
        count: What the value is made of: how many were active, or the sum of all of the cohort.
        is_running: Whether the period is not over.
    """

    value: float | None
    text: str
    heat: int
    count: Any
    is_running: bool
    period: dt.date


@dataclass(frozen=True, slots=True)
class Line:
    """A cohort: its first day, how many began, and its ages that have begun."""

    cohort: dt.date
    size: int
    is_partial: bool
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Heat:
    """A table of cohorts by ages, of one group of a split."""

    name: str | None
    lines: Sequence[Line]
    size: int = field(default=0)


@router.get(
    "/cohorts/{name}",
    openapi_extra=shows(Right.READ, "from", "to", "grain", "unbounded", "periods", "show", *_FILTERS),
)
def cohort(view: View, name: str) -> Response:
    """Who came back, and what they brought in."""
    found = view.scope.cohort(view.app.catalog, name)
    onward = led_on(view, found.profile.key, found.profile.key)
    if onward is not None:
        return onward
    said = _said(view, found, "cohorts", found.profile.key)
    grain, is_unbounded = view.one_of("grain", GRAINS, "month"), view.param("unbounded") in ("1", "true")
    show = view.one_of("show", (RETENTION, *found.values), RETENTION)
    grains = [
        (one, view.url(grain=one if one != "month" else None, from_=None, to=None), one == grain) for one in GRAINS
    ]
    said |= {
        "grain": grain, "grains": grains, "unbounded": is_unbounded, "show": show, "ages": sorted({*AGES, _ages(view)}), "heats": [],
        "most_ages": _ages(view),
        "tabs": [("Retention", view.url(show=None), show == RETENTION)]
        + [(one.replace("_", " "), view.url(show=one), show == one) for one in found.values],
    }  # fmt: skip
    status = 200
    if said["is_folded"]:
        try:
            days = _starts(view, found, grain)
            answer = _cohort(view, found, days, grain, is_unbounded=is_unbounded)
            heats = _heats(answer, said["by"], None if show == RETENTION else show)
            said |= {"days": days, "heats": heats[:_GROUPS], "further": len(heats[_GROUPS:]), "answer": answer}
            said |= {"downloads": _downloads(view, f"/v1/cohorts/{found.name}", said, days)}
        except (QueryRefused, UsageError) as error:
            said["refused"], status = error, 422 if isinstance(error, QueryRefused) else 400
    return view.page("cohort.html", found.name, status, cohort=found, **said)


def _cohort(view: View, found: CohortDef, days: Days, grain: str, *, is_unbounded: bool) -> CohortAnswer:
    by, where, ages = _by(view), view.params("where"), _ages(view)
    asked = CohortRequest.parse(
        found, from_=days.first, to=days.last, grain=grain, unbounded=is_unbounded, by=by, where=where, periods=ages,
        today=view.today, scope=view.scope,
    )  # fmt: skip
    key = ("cohort", found.name, days, grain, is_unbounded, tuple(by), tuple(where), ages)
    return view.kept([one.name for one in found.rollups], key, lambda: view.app.cohort_answer(asked))


def _ages(view: View) -> int:
    return view.count("periods", _AGES, 1_000)


def _heats(answer: CohortAnswer, by: Sequence[str], value: str | None) -> list[Heat]:
    """A table for each group, the one with the most entities first; shares, or a value per entity of the cohort up to each age."""
    shown, count = ("rate", "active") if value is None else (value + PER_ENTITY, value + CUMULATIVE)
    most = 1.0 if value is None else max((abs(row[shown] or 0.0) for row in answer.rows), default=0.0)
    groups: dict[tuple[Any, ...], dict[dt.date, list[dict[str, Any]]]] = {}
    for row in answer.rows:
        groups.setdefault(tuple(row[name] for name in by), {}).setdefault(row["cohort"], []).append(row)
    found = []
    for key, cohorts in groups.items():
        lines = [
            Line(
                first,
                int(rows[0]["size"]),
                first in answer.partial,
                [
                    Cell(
                        row[shown],
                        percent(row[shown]) if value is None else f"{row[shown] or 0:,.2f}",
                        heat_of(row[shown], most),
                        row[count],
                        bool(row["partial"]),
                        row["period"],
                    )
                    for row in rows
                ],
            )
            for first, rows in cohorts.items()
        ]
        found.append(Heat(_named(key), lines, sum(one.size for one in lines)))
    return sorted(found, key=lambda one: -one.size)


def heat_of(value: float | None, most: float) -> int:
    """How warm a cell is: what is not zero is never as cold as a zero.

    >>> heat_of(None, 1), heat_of(0.0, 1), heat_of(0.001, 1), heat_of(0.55, 1), heat_of(1.0, 1), heat_of(-3.0, 5)
    (0, 0, 1, 5, 9, 0)
    """
    if value is None or value <= 0 or most <= 0:
        return 0
    return max(1, min(9, int(value / most * 10)))


def _starts(view: View, found: CohortDef, grain: str) -> Days:
    """The days of starts that are asked for, else the last periods up to the newest start there is."""
    first, last = view.param("from"), view.param("to")
    if first and last:
        return _range(as_day(first, view.today), as_day(last, view.today))
    newest = newest_moment(view, found.profile, found.start) or view.today
    to = as_day(last, view.today) if last else min(bucket_end(bucket_start(newest, grain), grain), view.today)
    if first:
        return _range(as_day(first, view.today), max(to, as_day(first, view.today)))
    oldest = first_moment(view, found.profile, found.start)
    start = bucket_start(to, grain)
    for _ in range(_COHORTS - 1):
        if oldest is not None and oldest < start:
            start = bucket_start(start - ONE_DAY, grain)
    return Days(start, to)


# -- what both have ----------------------------------------------------------------------------------


def _said(view: View, found: StudyDef, path: str, key: Sequence[str]) -> dict[str, Any]:
    """What both pages say, with an answer or without one."""
    by = _by(view)
    looked = next(
        ((name, word.partition("=")[2]) for name in reversed(key) if (word := chosen(view.params("where"), name))),
        (key[0], ""),
    )
    return {
        "study": found, "above": view.to(f"/profiles/{found.profile.name}"), "by": by, "splits": splits(found.profile),
        "chips": chips(view, found.profile, key), "looked_for": looked, "refused": None, "remarks": [], "groups": [], "days": None,
        "is_folded": all(view.covered(one.name) for one in found.rollups), "path": path, "further": 0, "downloads": [],
        "unfolded": [one.name for one in found.rollups if not view.covered(one.name)],
    }  # fmt: skip


def splits(profile: RollupDef) -> list[str]:
    """The columns that entities are told apart by: what they are put into, and the parts of their key."""
    few = [name for name, one in profile.metrics.items() if isinstance(one, Case | Exists | Mode | First)]
    return [*few, *profile.key[:-1]]


def _by(view: View) -> list[str]:
    return list(dict.fromkeys(name for one in view.params("by") for name in words(one)))


def _named(key: Sequence[Any]) -> str | None:
    return " · ".join(value_name(one) for one in key) if key else None


def newest_moment(view: View, profile: RollupDef, name: str) -> dt.date | None:
    """The last day up to today on which a column of a profile has a moment; None where it has none."""
    return _moment(view, profile, name, f"-{name}")


def first_moment(view: View, profile: RollupDef, name: str) -> dt.date | None:
    """The first such day."""
    return _moment(view, profile, name, name)


def _moment(view: View, profile: RollupDef, name: str, sort: str) -> dt.date | None:
    asked = ProfileRequest.page(
        profile,
        where=[f"{name}<{view.today + ONE_DAY}"],
        sort=sort,
        limit=1,
        columns=[name],
        today=view.today,
        scope=view.scope,
    )

    def compute() -> list[dt.date]:
        found = [row[name] for row in view.app.profile_answer(asked).rows if row[name] is not None]
        return [one.date() if isinstance(one, dt.datetime) else one for one in found]

    days = view.kept([profile.name], ("moment", sort), compute)
    return days[0] if days else None


def _span(view: View, newest: dt.date | None) -> tuple[Days, str]:
    """The days of a page: a range of one's own, or a period that ends today, or with the newest moment where that is long ago."""
    is_past = newest is not None and (view.today - newest).days > _QUIET_DAYS
    end = newest if is_past and newest is not None else view.today
    first, last = view.param("from"), view.param("to")
    if first or last:
        to = as_day(last, view.today) if last else end
        start = as_day(first, view.today) if first else to - dt.timedelta(days=_QUIET_DAYS - 1)
        return _range(start, to), CUSTOM
    period = view.one_of("period", list(PERIODS), "90d")
    return days_of(period, end), period


def _range(first: dt.date, last: dt.date) -> Days:
    if first > last:
        raise BadDate(f"The range ends before it starts: from {first} to {last}.")
    return Days(first, last)


def _periods(view: View) -> list[tuple[str, str, str]]:
    return [(name, text, view.url(period=name, from_=None, to=None)) for name, text in PERIODS.items()]


def _downloads(view: View, path: str, said: Mapping[str, Any], days: Days) -> list[tuple[str, str]]:
    """Where the same numbers are given as a file."""
    asked: dict[str, object] = {"from": days.first, "to": days.last, "by": ",".join(said["by"]) or None}
    asked["where"] = view.params("where")
    if said["path"] == "cohorts":
        asked |= {"grain": said["grain"], "unbounded": 1 if said["unbounded"] else None, "periods": _ages(view)}
    return [(form, address(path, {**asked, "format": form})) for form in ("csv", "parquet")]
