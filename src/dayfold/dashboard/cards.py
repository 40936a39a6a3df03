"""One rollup or profile at a glance, as a card. Dashboard door."""

from __future__ import annotations

from dataclasses import dataclass

from dayfold.dashboard.headline import Headline, headline
from dayfold.dashboard.standing import Standing, standing
from dayfold.dashboard.view import View, address
from dayfold.days import Days
from dayfold.define.rollup import RollupDef


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
        return self._receipt(self.headline.span.days if self.headline and self.headline.span else None)

    @property
    def before_receipt(self) -> str | None:
        """The same of the number that it is compared with."""
        return self._receipt(self.headline.before_days if self.headline else None)

    def _receipt(self, days: Days | None) -> str | None:
        if self.headline is None or days is None:
            return None
        return address(f"/receipt/{self.rollup.name}/{self.headline.metric}", {"from": days.first, "to": days.last})


def card(view: View, rollup: RollupDef) -> Card:
    """A rollup or a profile that the caller sees."""
    path = f"/profiles/{rollup.name}" if rollup.is_profile else f"/rollups/{rollup.name}"
    shown = headline(view, rollup) if view.covered(rollup.name) else None
    return Card(rollup, view.to(path), standing(view, rollup), shown)
