"""What was worked out, kept for when it is asked for again. Ground floor.

Invariant: never more entries than were allowed. When there is no more room, all of them go: what is used comes back at once, and
nothing has to be kept in order.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memo(Generic[Key, Value]):
    """Values by their keys.

    Args:
        most: How many entries there may be.

    >>> sizes = Memo[str, int](2)
    >>> for word in ("a", "bb", "ccc"):
    ...     sizes.learn(word, len(word))
    >>> sizes.get("a"), sizes.get("ccc"), len(sizes)
    (None, 3, 1)
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        """What was kept under a key."""
        return self._kept.get(key)

    def learn(self, key: Key, value: Value) -> None:
        """A value is kept under a key."""
        if len(self._kept) >= self.most and key not in self._kept:
            self._kept.clear()
        self._kept[key] = value

    def forget(self) -> None:
        """Nothing is kept any more."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)
