"""How fresh a rollup's numbers are, and what is wrong with them, in words for whoever may read them. Dashboard door.

Invariant: what is said follows from coverage alone, which every reader may see; drifts and runs are told to who may see jobs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dayfold.dashboard.view import View
from dayfold.define.rollup import RollupDef

_COVERED = ("open", "folded", "sealed")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a rollup stands.

    Attributes:
        kind: ``good``, ``warn``, ``bad`` or ``muted``, for its colour.
        text: In a few words; ``detail``: what more there is to say.
        last: The last day that every source covers.
    """

    kind: str
    text: str
    detail: str
    last: dt.date | None


def standing(view: View, rollup: RollupDef) -> Standing:
    """How a rollup stands by its coverage."""
    known = view.covered(rollup.name)
    if not known:
        return Standing("muted", "never folded", f"Fold it: dayfold fold {rollup.name}", None)
    failed = sorted(source for source, states in known.items() if states.get("failed"))
    lasts = [_last(states) for states in known.values()]
    last = None if None in lasts else min(one for one in lasts if one is not None)
    if failed:
        days = sum(len_of(one) for source in failed for one in known[source]["failed"])
        return Standing(
            "bad", "a source failed", f"{', '.join(failed)}: {days:,} day{'s' if days != 1 else ''} not folded", last
        )
    if rollup.is_profile:
        return Standing("good", "folded", "one row an entity, over its whole life", None)
    if last is None:
        return Standing("warn", "a source waits", "not every source has been folded yet", None)
    if last >= view.today:
        return Standing("good", "up to date", "today is folded, and may still change", last)
    behind = (view.today - last).days
    return Standing(
        "warn" if behind > 1 else "good", f"to {last}", f"{behind} day{'s' if behind != 1 else ''} before today", last
    )


def len_of(days: Mapping[str, dt.date]) -> int:
    """How many days a range has."""
    return (days["to"] - days["from"]).days + 1


def _last(states: Mapping[str, Sequence[Mapping[str, dt.date]]]) -> dt.date | None:
    return max((one["to"] for state in _COVERED for one in states.get(state, ())), default=None)
