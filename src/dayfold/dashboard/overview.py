"""``/``: everything at a glance, from the definitions alone. Dashboard door."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.headline import Headline, headline
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.standing import Standing, standing
from dayfold.dashboard.view import View, address
from dayfold.define.rollup import RollupDef
from dayfold.http.rights import Right
from dayfold.plan.access import EVERYTHING
from dayfold.query.status import CheckStatus

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Card:
    """One rollup or profile at a glance. ``headline`` is None where it has nothing to show yet."""

    rollup: RollupDef
    url: str
    standing: Standing
    headline: Headline | None

    @property
    def receipt(self) -> str | None:
        """Where its number tells where it comes from; None of a profile's, which is how many entities there are."""
        span = self.headline.span if self.headline is not None else None
        if self.headline is None or span is None:
            return None
        days = {"from": span.days.first, "to": span.days.last}
        return address(f"/receipt/{self.rollup.name}/{self.headline.metric}", days)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that somebody should look at."""

    kind: str
    text: str
    url: str


@router.get("/", openapi_extra=shows(Right.READ))
def overview(view: View) -> Response:
    """Every rollup and profile as a card, and what is wrong."""
    cards = [_card(view, one) for one in view.rollups()]
    return view.page(
        "overview.html", "Overview", rollups=[one for one in cards if not one.rollup.is_profile],
        profiles=[one for one in cards if one.rollup.is_profile], troubles=_troubles(view, cards),
        studies=_studies(view),
    )  # fmt: skip


def _card(view: View, rollup: RollupDef) -> Card:
    path = f"/profiles/{rollup.name}" if rollup.is_profile else f"/rollups/{rollup.name}"
    stands = standing(view, rollup)
    shown = headline(view, rollup) if stands.text != "never folded" else None
    return Card(rollup, view.to(path), stands, shown)


def _studies(view: View) -> list[tuple[str, str, str]]:
    """Cohorts and funnels: name, description and address."""
    catalog = view.app.catalog
    visible = {one.name for one in view.rollups()}
    found: list[tuple[str, str, str]] = []
    for path, studies in (("cohorts", catalog.cohorts), ("funnels", catalog.funnels)):
        found += [
            (name, one.description, view.to(f"/{path}/{name}"))
            for name, one in studies.items()
            if all(rollup.name in visible for rollup in one.rollups)
        ]
    return found


def _troubles(view: View, cards: list[Card]) -> list[Trouble]:
    """What failed, drifted or waits for somebody, the worst first; drifts and alerts only for who may see jobs."""
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
    return found
