"""``/``: everything at a glance, from the definitions alone. Dashboard door."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.cards import Card, card
from dayfold.dashboard.profiles import studies
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.view import View
from dayfold.http.rights import Right
from dayfold.jobs.jobs import REBUILD
from dayfold.ledger.runs import FAILED
from dayfold.plan.access import EVERYTHING
from dayfold.query.status import CheckStatus

router = APIRouter(route_class=PageRoute, include_in_schema=False)


#: Open alerts that are named; the page of alerts has all.
_MOST_ALERTS = 5


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that somebody should look at."""

    kind: str
    text: str
    url: str


@router.get("/", openapi_extra=shows(Right.READ))
def overview(view: View) -> Response:
    """Every rollup and profile as a card, and what is wrong."""
    cards = [card(view, one) for one in view.rollups()]
    return view.page(
        "overview.html", "Overview", rollups=[one for one in cards if not one.rollup.is_profile],
        profiles=[one for one in cards if one.rollup.is_profile], troubles=_troubles(view, cards),
        studies=studies(view),
    )  # fmt: skip


def _troubles(view: View, cards: list[Card]) -> list[Trouble]:
    """What failed or drifted, the worst first; drifts, checks, alerts and jobs only for who may see jobs."""
    found = [
        Trouble("bad", f"{one.rollup.name}: {one.standing.text}. {one.standing.detail}.", one.url)
        for one in cards
        if one.standing.kind == "bad"
    ]
    if view.may(Right.JOBS) and view.scope == EVERYTHING:
        found += [
            Trouble("bad", f"{one.rollup}: {one.drifted:,} cells drifted and were not healed.", "/jobs/drifts")
            for one in view.app.unhealed()
        ]
        bad: list[CheckStatus] = [one for one in view.app.checks() if one.verdict in ("failed", "error")]
        found += [Trouble("bad", f"The check {one.check} failed. {one.description}", "/jobs/checks") for one in bad]
        episodes = view.service.alerts.listed(only_open=True, limit=_MOST_ALERTS)["alerts"]
        found += [Trouble("warn", f"The alert {one['rule']} is open.", "/jobs/alerts?open=1") for one in episodes]
        # Whoever asks for a rebuild looks at what became of it.
        failed = [one for one in view.service.desk.all() if one.last_status == FAILED and one.job != REBUILD]
        found += [Trouble("bad", f"The last run of the job {one.job} failed.", f"/jobs/{one.job}") for one in failed]
    return found
