"""Which days a fold computes, and in which portions. Plan floor, pure.

Weakness: without marks, a change older than the lookback is not noticed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dayfold.days import ONE_DAY, Days, union, without


@dataclass(frozen=True, slots=True)
class Covered:
    """What is known of one source's days: those folded after they ended, and the first one ever looked at."""

    folded: Sequence[Days]
    first: dt.date | None


def history_start(
    first_moments: Iterable[dt.date | None], covered: Iterable[Covered], since: dt.date | None, today: dt.date
) -> dt.date:
    """The first day of a rollup: ``since``, which may lie ahead, else that of the earliest fact or coverage, else today."""
    if since is not None:
        return since
    known = [day for day in first_moments if day is not None] + [one.first for one in covered if one.first is not None]
    return min([day for day in known if day <= today], default=today)


def due(start: dt.date, today: dt.date, lookback_days: int, covered: Mapping[str, Covered]) -> list[Days]:
    """The days to fold: those that some source has not covered for good, today, and the lookback before it.

    >>> one = {"t": Covered([Days(dt.date(2026, 1, 1), dt.date(2026, 1, 2))], dt.date(2026, 1, 1))}
    >>> [str(d) for d in due(dt.date(2026, 1, 1), dt.date(2026, 1, 4), 0, one)]
    ['2026-01-03..2026-01-04']
    """
    if start > today:
        return []
    try:
        looked_back = max(start, today - dt.timedelta(days=lookback_days))
    except OverflowError:
        looked_back = start
    days = Days(start, today)
    unsettled = [part for one in covered.values() for part in without(days, one.folded)] if covered else [days]
    return union([*unsettled, Days(looked_back, today)])


def portions(ranges: Iterable[Days], facts: Mapping[dt.date, int], limit: int) -> list[Days]:
    """Ranges cut between days, each of at most ``limit`` facts where one day does not have more.

    >>> facts = {dt.date(2026, 1, 1): 5, dt.date(2026, 1, 2): 5, dt.date(2026, 1, 3): 1}
    >>> [str(d) for d in portions([Days(dt.date(2026, 1, 1), dt.date(2026, 1, 3))], facts, 6)]
    ['2026-01-01', '2026-01-02..2026-01-03']
    """
    found: list[Days] = []
    for days in ranges:
        first, total = days.first, 0
        for day in sorted(day for day in facts if day in days):
            if total and total + facts[day] > limit:
                found.append(Days(first, day - ONE_DAY))
                first, total = day, 0
            total += facts[day]
        found.append(Days(first, days.last))
    return found
