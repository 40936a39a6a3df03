"""``/counters``: live figures, and whether all that was acknowledged is accounted for. Dashboard door.

The numbers are of all keys, so seeing them takes an administrator, as over the API.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.counterdesk import CounterPresent
from dayfold.dashboard.rendering import as_moment
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.view import View
from dayfold.errors import UsageError
from dayfold.http.rights import Right

router = APIRouter(route_class=PageRoute, include_in_schema=False)
#: Keys of each counter, seconds between two looks at least, and how many times as long as a look took.
_KEYS, _EVERY_S, _TIMES = 10, 2, 10


@router.get("/counters", openapi_extra=shows(Right.ADMIN))
def counters(view: View) -> Response:
    """How every counter stands, anew every few seconds."""
    return view.page("counters.html", "Counters", **_standing(view))


@router.get("/counters/live", openapi_extra=shows(Right.ADMIN))
def live(view: View) -> Response:
    """The part of the page that moves."""
    return view.page("counters_live.html", "Counters", **_standing(view))


def _standing(view: View) -> dict[str, Any]:
    desk = view.app.counters
    if not desk.is_used:
        raise UsageError("These definitions have no counter.", hint="Write a class of Counter in metrics.py.")
    began = time.monotonic()
    found = desk.present(_KEYS)
    # A look never takes more than a tenth of the time.
    every = max(_EVERY_S, math.ceil(_TIMES * (time.monotonic() - began)))
    now = view.app.clock.now()
    return {
        "counters": [(one, _lag(one, now), _parts(one)) for one in found],
        "figures": desk.figures,
        "every": every,
        "live_url": view.to("/counters/live"),
        "looked_at": now,
    }


def _lag(one: CounterPresent, now: dt.datetime) -> float | None:
    """Seconds since something was last applied, where anything waits for that."""
    if not one.stands.pending_keys or one.last_flush is None:
        return None
    return max(0.0, (now - as_moment(one.last_flush)).total_seconds())


def _parts(one: CounterPresent) -> list[dict[str, Any]]:
    """The law of each total: accepted = applied + pending + quarantined + lost, and what is missing."""
    law = one.stands.law
    return [
        {
            "total": name, "accepted": law.accepted[name], "applied": law.applied[name], "pending": law.pending[name],
            "quarantined": law.quarantined[name], "lost": law.lost[name], "missing": law.missing.get(name, 0),
            "today": one.stands.today.get(name),
        }
        for name in law.accepted
    ]  # fmt: skip
