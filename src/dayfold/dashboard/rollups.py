"""``/rollups/…``: one rollup, its numbers over time and by key. Dashboard door.

Invariant: everything on the page is told by its address, and is asked for with the words that the HTTP API takes.
"""

from __future__ import annotations

import zoneinfo
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.picture import GRAINS, MOST_SERIES, Picture, Tops, picture, tops, totals
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.span import PERIODS, first_day
from dayfold.dashboard.standing import standing
from dayfold.dashboard.view import View, address
from dayfold.dashboard.words import filter_word, filters
from dayfold.days import STORED_GRAINS
from dayfold.define.rollup import RollupDef
from dayfold.http.rights import Right
from dayfold.query.request import COMPARISONS

router = APIRouter(route_class=PageRoute, include_in_schema=False)
#: Zones that are offered first; any other may be written into the address.
_ZONES = (
    "UTC", "Europe/London", "Europe/Berlin", "America/New_York", "America/Los_Angeles", "Asia/Kolkata", "Asia/Kathmandu",
    "Asia/Tokyo", "Australia/Sydney",
)  # fmt: skip
_ASKED = (
    "metrics", "from", "to", "period", "by", "where", "grain", "tz", "compare", "n", "sort", "filter_key", "filter_value", "filter_not",
)  # fmt: skip
_NO_CONTENT = 204


@router.get("/rollups/{name}", openapi_extra=shows(Right.READ, *_ASKED))
def rollup(view: View, name: str) -> Response:
    """A rollup's page; of a profile, the profile's."""
    one = view.rollup(name)
    if one.is_profile:
        return view.onward(view.to(f"/profiles/{one.name}"))
    if view.param("filter_key"):
        return view.onward(_with_filter(view, one))
    shown = picture(view, one)
    return view.page(
        "rollup.html", one.name, rollup=one, shown=shown, totals=totals(view, shown), tops=_tops(view, shown),
        stands=standing(view, one), periods=PERIODS, grains=_grains(one), zones=_zones(view, one),
        comparisons=COMPARISONS, chips=filters(view, one), downloads=_downloads(view, shown), most_series=MOST_SERIES,
        first=first_day(view, one), pulse=_pulse(view, one),
    )  # fmt: skip


@router.get("/pulse/{name}", openapi_extra=shows(Right.READ, "seen"))
def pulse(view: View, name: str) -> Response:
    """Whether a rollup's rows are others than the ones that were seen: 204 while they are not, else the page is told to look again."""
    now = _pulse(view, view.rollup(name))
    if now is None or now == view.param("seen"):
        return Response(status_code=_NO_CONTENT, headers={"Cache-Control": "no-store"})
    return view.page("pulse.html", "", headers={"HX-Trigger": "folded"}, rollup=view.rollup(name), pulse=now)


def _pulse(view: View, rollup: RollupDef) -> str | None:
    """How a rollup's rows stand; None for callers of whom some rows are kept, to whom it would tell of others'."""
    standing = view.request.state.seen.standings.get(rollup.name)
    return (
        None
        if view.scope.is_limited or standing is None
        else f"{view.now.edition}.{standing.version}.{standing.revision}"
    )


def _grains(rollup: RollupDef) -> list[str]:
    has_hours = STORED_GRAINS.get(rollup.grain, 1440) < 1440
    return [one for one in GRAINS if one != "hour" or has_hours]


def _zones(view: View, rollup: RollupDef) -> list[str]:
    """The zones whose days may be asked: of a rollup of days only UTC."""
    if STORED_GRAINS.get(rollup.grain, 1440) == 1440:
        return []
    asked = view.param("tz")
    more = [asked] if asked and asked not in _ZONES and asked in zoneinfo.available_timezones() else []
    return [*_ZONES, *more]


def _tops(view: View, shown: Picture) -> list[Tops]:
    return [found for key in shown.rollup.key if (found := tops(view, shown, key)) is not None]


def _with_filter(view: View, rollup: RollupDef) -> str:
    """The address with the filter that the form asks for."""
    word = filter_word(
        view.param("filter_key", "") or "", view.param("filter_value"), exclude=view.param("filter_not") == "1"
    )
    kept = [one for one in view.params("where") if one != word]
    return view.url(where=[*kept, word], filter_key=None, filter_value=None, filter_not=None)


def _downloads(view: View, shown: Picture) -> list[tuple[str, str]]:
    """Where the numbers on the screen are had as files, by the HTTP API."""
    words: dict[str, Any] = {
        "metrics": ",".join(shown.metrics), "from": shown.span.days.first, "to": shown.span.days.last, "by": shown.by,
        "where": view.params("where") or None, "grain": shown.grain, "tz": view.param("tz"), "compare": shown.compare,
        "allow_missing": 1,
    }  # fmt: skip
    path = f"/v1/rollups/{shown.rollup.name}/query"
    return [(form, address(path, {**words, "format": form})) for form in ("csv", "parquet", "json")]
