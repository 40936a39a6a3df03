"""The one number that stands for a rollup, and how it went lately. Dashboard door."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dayfold.dashboard.span import Span, newest
from dayfold.dashboard.view import View
from dayfold.days import Days
from dayfold.define.lasting import Case
from dayfold.define.rollup import RollupDef
from dayfold.errors import QueryRefused
from dayfold.periods import days_of
from dayfold.query.profile_request import COUNT, ProfileRequest

_PERIOD = "30d"
#: How many values of a segment a card has room for.
_MOST_SEGMENTS = 6


@dataclass(frozen=True, slots=True)
class Headline:
    """A number and its story.

    Attributes:
        metric: What it is, ``value`` over all of ``span``; ``before``: over as many days before them.
        values: Day by day; None where a day is not known.
        segments: Of a profile instead: how many entities have each value of ``metric``.
        is_whole: Whether every day of the range is known. ``before_days``: those of ``before``.
    """

    metric: str
    value: Any
    before: Any = None
    values: Sequence[Any] = ()
    span: Span | None = None
    segments: Sequence[tuple[Any, int]] = ()
    is_whole: bool = True
    before_days: Days | None = None


def headline(view: View, rollup: RollupDef) -> Headline | None:
    """The first metric of a rollup that has an answer over all its keys; of a profile how many entities there are."""
    if rollup.is_profile:
        return _entities(view, rollup)
    for metric in rollup.metrics:
        try:
            return _of(view, rollup, metric)
        except QueryRefused:
            continue
    return None


def _of(view: View, rollup: RollupDef, metric: str) -> Headline:
    end = newest(view, rollup, metric)
    # The last whole days: what is still open would look like a fall.
    last = end - dt.timedelta(days=1) if end == view.today else end
    days = days_of(_PERIOD, last)
    before = Days(days.first - dt.timedelta(days=len(days)), days.first - dt.timedelta(days=1))
    daily = view.answer(rollup.name, [metric], from_=days.first, to=days.last)
    total = view.answer(rollup.name, [metric], from_=days.first, to=days.last, grain="total")
    earlier = view.answer(rollup.name, [metric], from_=before.first, to=before.last, grain="total")
    return Headline(
        metric, _only(total.rows, metric), None if total.missing or earlier.missing else _only(earlier.rows, metric),
        [row[metric] for row in daily.rows], Span(days, _PERIOD, end, (view.today - end).days > len(days)),
        is_whole=not daily.missing, before_days=before,
    )  # fmt: skip


def _only(rows: Sequence[dict[str, Any]], metric: str) -> Any:
    return rows[0][metric] if rows else None


def _entities(view: View, profile: RollupDef) -> Headline | None:
    """How many entities there are, and of which segment where the profile has one."""
    segment = next((name for name, one in profile.metrics.items() if isinstance(one, Case)), None)
    try:
        everybody = ProfileRequest.page(profile, today=view.today, scope=view.scope)
        known = view.kept([profile.name], ("size",), lambda: view.app.profile_size(everybody))
        return Headline(segment or "", known, segments=_segments(view, profile, segment) if segment else ())
    except QueryRefused:
        return None


def _segments(view: View, profile: RollupDef, segment: str) -> list[tuple[Any, int]]:
    """The values of a segment that most entities have, and how many these are."""
    asked = ProfileRequest.page(
        profile, count_by=[segment], sort=f"-{COUNT}", limit=_MOST_SEGMENTS, today=view.today, scope=view.scope
    )
    rows = view.kept(
        [profile.name], ("headline", segment), lambda: list(view.app.profile_answer(asked).table.to_pylist())
    )
    return [(row[segment], int(row[COUNT])) for row in rows]
