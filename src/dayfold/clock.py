"""The one source of the present moment. Ground floor.

Nothing else in the project asks the machine for the time, so a test or a replay can stand at any moment.
"""

from __future__ import annotations

import datetime as dt
from typing import Protocol

UTC = dt.UTC


class Clock(Protocol):
    """Says what time it is."""

    def now(self) -> dt.datetime:
        """The present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> dt.datetime:
        """The present moment, aware, in UTC."""
        return dt.datetime.now(UTC)


class FixedClock:
    """A clock that stands still until it is moved.

    >>> clock = FixedClock(dt.datetime(2026, 1, 2, 3, tzinfo=UTC))
    >>> today(clock)
    datetime.date(2026, 1, 2)
    """

    def __init__(self, instant: dt.datetime) -> None:
        self.instant = instant

    def now(self) -> dt.datetime:
        """The moment the clock was set to."""
        return self.instant.astimezone(UTC)


def today(clock: Clock) -> dt.date:
    """The present UTC day."""
    return clock.now().date()
