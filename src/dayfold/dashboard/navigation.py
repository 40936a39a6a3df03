"""Where a caller may go. Dashboard door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dayfold.http.rights import Right

if TYPE_CHECKING:
    from dayfold.dashboard.view import Link, View


def navigation(view: View) -> list[Link]:
    """The entries for a caller: only what they may see, and what the application has."""
    from dayfold.dashboard.view import Link

    if view.caller is None or not view.caller.rights:
        return []
    here = view.request.url.path
    found = []
    for label, url, is_there in (
        ("Overview", "/", view.may(Right.READ)),
        ("Profiles", "/profiles", view.may(Right.READ) and _has_entities(view)),
        ("Pages", "/pages", view.may(Right.READ)),
        ("Events", "/events", view.may(Right.READ) and view.app.event_log.is_used),
        ("Counters", "/counters", view.may(Right.ADMIN) and view.app.counters.is_used),
        ("Jobs", "/jobs", view.may(Right.JOBS)),
    ):
        if is_there:
            is_current = (
                here == url
                or (url != "/" and here.startswith(f"{url}/"))
                or (url == "/" and here.startswith("/rollups/"))
                or (url == "/profiles" and here.startswith(("/cohorts/", "/funnels/")))
            )
            found.append(Link(label, url, is_current))
    return found


def _has_entities(view: View) -> bool:
    # A cohort or a funnel is there for whoever its profile is there for, or for nobody.
    return any(one.is_profile for one in view.rollups())
