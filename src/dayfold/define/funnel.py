"""Funnels: how many entities reach each of several first moments, in order. Definitions floor, pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dayfold.define.rollup import RollupDef
from dayfold.define.study import Study, StudyDef, StudyReader
from dayfold.errors import Problem

#: The longest window: about a century.
MOST_DAYS = 36_500
MOST_STEPS = 30


class Funnel(Study):
    """Steps that the entities of a profile take one after the other. Write a subclass.

    Attributes:
        profile: The `Profile` whose entities these are.
        steps: The columns of the profile that say when each step was first taken, in order: timestamps or dates.
        window_days: Within so many times 24 hours of the first step the others count. Default: without an end.

    >>> from dayfold.define.metric import Min
    >>> from dayfold.define.profile import Profile
    >>> from dayfold.define.rollup import definition as of
    >>> from dayfold.define.source import Table
    >>> orders = Table("orders")
    >>> class Customers(Profile):
    ...     key = "customer_id"
    ...     first_order_at = Min(orders, "ordered_at")
    ...     first_return_at = Min(orders, "returned_at")
    >>> class Returns(Funnel):
    ...     profile, steps = Customers, ("first_order_at", "first_return_at")
    >>> definition(Returns, {"Customers": of(Customers)[0]})[0].window_days is None
    True
    """

    steps: ClassVar[Sequence[str]]
    window_days: ClassVar[int | None] = None


@dataclass(frozen=True)
class FunnelDef(StudyDef):
    """A funnel's definition."""

    steps: tuple[str, ...]
    window_days: int | None


def definition(cls: type[Funnel], rollups: Mapping[str, RollupDef]) -> tuple[FunnelDef | None, list[Problem]]:
    """A funnel's definition, None where it cannot be read, and everything that is wrong with it."""
    reader = _Reader(cls, rollups)
    return reader.read(), reader.problems


class _Reader(StudyReader):
    kind = "Funnel"
    attributes = ("profile", "steps", "window_days")
    needed = ("profile", "steps")

    def read(self) -> FunnelDef | None:
        profile = self.rollup("profile", is_profile=True)
        known = len(self.problems)
        steps = self.names("steps", "a column's name")
        if "steps" in self.given and len(self.problems) == known and not 2 <= len(steps) <= MOST_STEPS:
            self.problem("bad-value", f"a Funnel has 2 to {MOST_STEPS} steps, got {len(steps)}.")
        window = self.given.get("window_days")
        if window is not None and (
            isinstance(window, bool) or not isinstance(window, int) or not 1 <= window <= MOST_DAYS
        ):
            self.problem(
                "bad-value", f"window_days is a number of days from 1 to {MOST_DAYS:,}, or None, got {window!r}."
            )
        if profile is None:
            return None
        for name in steps:
            self.check_moment("steps", profile, name)
        if self.problems:
            return None
        return FunnelDef(self.cls.__name__, self.cls._place, self.description, profile, steps, window)
