"""How many entities a profile has, day by day. Definitions floor, pure.

What a profile is today it may not be tomorrow, and nothing tells what it was: a size is taken on its own day and never again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dayfold.define.metric import Gauge
from dayfold.define.source import Folded, Moment, Table, unknown_options
from dayfold.names import listing

#: The column of a standing profile that names the day.
DAY = "day"


class Standing(Folded):
    """A profile's rows as they stand today, each with the day: a source that has no other day."""

    def __init__(self, rollup: type, table: str, columns: Mapping[str, str] | None = None) -> None:
        super().__init__(rollup, table, columns, is_lifelong=True)

    @property
    def is_standing(self) -> bool:
        """They are."""
        return True

    @property
    def label(self) -> str:
        """The profile's table, told from the profile as a source of its moments."""
        return f"{super().label} as it stands"

    def as_words(self) -> list[Any]:
        """The identity, told from that of the profile's moments."""
        *words, kind = super().as_words()
        return [*words, "standing", kind]

    @property
    def identity(self) -> tuple[Any, ...]:
        """Another source than the profile's moments."""
        return (*super().identity, "standing")


class Size(Gauge):
    """How many entities a profile has, by columns of theirs that are the rollup's key: such as the customers of each segment.

    It is taken by each fold and stands as the last fold of the day left it; a day that is over is sealed, and one without a fold is
    missing. Over time: its value on the last covered day. Over keys: ``over_keys``, as of any gauge.

    >>> from dayfold.define.metric import Count
    >>> from dayfold.define.profile import Profile
    >>> class Customers(Profile):
    ...     key = "customer_id"
    ...     orders = Count(Table("orders"))
    >>> Size(Customers, where="orders > 1").over_keys
    'sum'
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ("where", "over_keys")

    def __init__(
        self,
        source: Table | type | None = None,
        *more: object,
        where: str | None = None,
        over_keys: str = "sum",
        **unknown: Any,
    ) -> None:
        as_source = getattr(source, "as_source", None) if isinstance(source, type) else None
        given: object = as_source() if as_source is not None else source
        is_profile = isinstance(given, Folded) and given.is_lifelong
        standing = source
        if isinstance(given, Folded) and given.is_lifelong:
            standing = Standing(given.rollup, given.name or "", given.naming)
        super().__init__(standing, "1", at=Moment(DAY), where=where, over_keys=over_keys)
        self.problems += unknown_options("Size", self.place, unknown, self.OPTIONS)
        if more:
            self.problem(
                "unknown-option",
                "Size takes a Profile and no expression; it counts entities.",
                'To leave entities out: where="…". To sum what they have: Sum of the profile at one of its moments.',
            )
        if not is_profile:
            name = source.__name__ if isinstance(source, type) else type(source).__name__
            self.problems.clear()
            self.problem("bad-source", f"Size is of a Profile, got {name}.", f"Options: {listing(self.OPTIONS)}")

    def identity(self) -> dict[str, Any]:
        """That of a gauge, and that it counts."""
        return {**super().identity(), "counts": True}
