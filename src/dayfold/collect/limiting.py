"""How much one visitor may send in a minute. Collect floor, pure.

Each visitor has an allowance that fills up steadily and holds a minute's worth; a request is let through while anything is left of it,
and is then counted whole. So a browser that was offline for a week gets rid of all it has kept in one request, and waits afterwards.

Weakness: each process has allowances of its own.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

#: Visitors whose allowances are kept. A visitor who is forgotten has a full one.
_VISITORS = 100_000
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to one visitor.

    Attributes:
        is_let: Whether the request is let through.
        left: Events that may still be sent at once.
        wait_s: Whole seconds until something may be sent again; 0 where it may now.
        full_s: Whole seconds until the allowance is full again.
    """

    is_let: bool
    left: int
    wait_s: int
    full_s: int


class Limiter:
    """Allowances of visitors.

    Args:
        per_minute: Events that one may send; 0: as many as they like.

    >>> limiter = Limiter(2)
    >>> [limiter.take("a", 1, 100.0).is_let for _ in range(3)], limiter.take("a", 1, 130.0).is_let
    ([True, True, False], True)
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        #: For each visitor when their allowance will be full again.
        self._full_at: dict[Hashable, float] = {}

    def take(self, visitor: Hashable, events: int, now: float) -> Allowance:
        """Count a request's events against a visitor's allowance, if anything is left of it; ``now`` in seconds."""
        each = _MINUTE / self.per_minute
        full_at = max(self._full_at.get(visitor, now), now)
        # What was taken, in seconds of filling up: a minute's worth is all there is.
        is_let = full_at - now <= _MINUTE - each
        if is_let:
            full_at += events * each
            if visitor not in self._full_at and len(self._full_at) >= _VISITORS:
                self._forget(now)
            self._full_at[visitor] = full_at
        left = max(0, math.floor((_MINUTE - (full_at - now)) / each + 1e-9))
        wait = 0 if left else max(1, math.ceil(full_at - now - _MINUTE + each))
        return Allowance(is_let, left, wait, math.ceil(full_at - now))

    def _forget(self, now: float) -> None:
        """Allowances that are full say nothing; where all are in use, the room is made anew."""
        self._full_at = {visitor: at for visitor, at in self._full_at.items() if at > now}
        if len(self._full_at) >= _VISITORS:
            self._full_at.clear()
