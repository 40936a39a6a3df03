"""What is worked out of an address, kept for when it comes again. HTTP door.

Programs and dashboards ask the same questions again and again, and reading their words takes longer than all else that a kept answer
costs. Only what was accepted is kept: what is refused, such as a secret, is not held on to.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")
#: Addresses that are kept; a new one beyond them lets all of them go.
_MOST = 4_000
#: Longer ones are rare, and worked out each time.
_LONGEST = 2_000


class Addresses(Generic[Value]):
    """What was made of addresses.

    >>> lengths = Addresses()
    >>> lengths.get(b"from=today", None, lambda: 10), lengths.get(b"from=today", None, lambda: 11)
    (10, 10)
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, Value] = {}

    def known(self, query: bytes, with_: Hashable) -> Value | None:
        """What was made of an address, where something was."""
        return self._kept.get((query, with_))

    def get(self, query: bytes, with_: Hashable, make: Callable[[], Value]) -> Value:
        """What was made of an address's query, with whatever else decides it. Raises what making it raises."""
        key = (query, with_)
        try:
            return self._kept[key]
        except KeyError:
            value = make()
        if len(query) <= _LONGEST:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[key] = value
        return value
