"""How many entities there were, day by day: of the rollups that take the size of a profile. Dashboard door."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dayfold.dashboard.span import first_day
from dayfold.dashboard.view import View
from dayfold.define.rollup import RollupDef
from dayfold.define.size import Size, Standing
from dayfold.errors import QueryRefused
from dayfold.query.answer import Answer

DAYS, _LINES = 90, 10


@dataclass(frozen=True, slots=True)
class Sizes:
    """One metric over the last days, by a column of the rollup's key.

    Attributes:
        by: That column; None where the rollup is of all entities together.
        lines: For each of its values the number of each day, None where it is not known.
    """

    rollup: RollupDef
    metric: str
    by: str | None
    url: str
    days: Sequence[dt.date]
    lines: Sequence[tuple[Any, Sequence[int | None]]]
    payload: Mapping[str, Any]
    known: int


def sizes(view: View, profile: RollupDef) -> list[Sizes]:
    """The sizes of a profile that are kept, of rollups that the caller sees."""
    found = []
    for rollup in view.rollups():
        for name, metric in rollup.metrics.items():
            source = metric.source if isinstance(metric, Size) else None
            if isinstance(source, Standing) and source.name == profile.table and view.covered(rollup.name):
                try:
                    found.append(_sizes(view, profile, rollup, name, source.naming))
                except QueryRefused:
                    # Such as a size that is not added up over keys.
                    continue
    return found


def _sizes(view: View, profile: RollupDef, rollup: RollupDef, metric: str, naming: Mapping[str, str]) -> Sizes:
    of_profile = {key: naming.get(key, key) for key in rollup.key}
    by = next((key for key in reversed(rollup.key) if of_profile[key] not in profile.key), None)
    # Filters over what the rollup is counted by hold here too; of other columns nothing is known of past days.
    where = [
        f"{key}={word.partition('=')[2]}"
        for key, name in of_profile.items()
        for word in view.params("where")
        if word.startswith(f"{name}=")
    ]
    first = max(view.today - dt.timedelta(days=DAYS - 1), first_day(view, rollup) or view.today)
    answer = view.answer(
        rollup.name, [metric], from_=first, to=view.today, by=[by] if by else (), where=list(dict.fromkeys(where))
    )
    days = sorted({row["day"] for row in answer.rows})
    lines = _lines(answer, metric, by, days)
    payload = {
        "x": days,
        "series": [{"label": _label(value, metric, by), "values": values} for value, values in lines],
        "missing": [[gap.days.first, gap.days.last] for gap in answer.missing],
        "open": [view.today],
    }
    known = sum(any(values[place] is not None for _, values in lines) for place in range(len(days)))
    return Sizes(rollup, metric, by, view.to(f"/rollups/{rollup.name}", by=by), days, lines, payload, known)


def _lines(
    answer: Answer, metric: str, by: str | None, days: Sequence[dt.date]
) -> list[tuple[Any, Sequence[int | None]]]:
    """A line for each value, the greatest on the last day first."""
    places = {day: n for n, day in enumerate(days)}
    found: dict[Any, list[int | None]] = {}
    for row in answer.rows:
        found.setdefault(row[by] if by else None, [None] * len(days))[places[row["day"]]] = row[metric]
    some = sorted(found.items(), key=lambda one: -(one[1][-1] or 0))
    return list(some[:_LINES])


def _label(value: Any, metric: str, by: str | None) -> str:
    if by is None:
        return metric.replace("_", " ")
    return "no value" if value is None else str(value)
