"""What definitions over the moments of a profile have in common: cohorts and funnels. Definitions floor, pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dayfold.define.lasting import Collect, Exists
from dayfold.define.metric import Avg, Count, Distinct, Metric, Ratio, Sum
from dayfold.define.profile import Profile
from dayfold.define.rollup import Rollup, RollupDef
from dayfold.define.source import Place, caller
from dayfold.errors import Problem
from dayfold.names import listing, suggestion

#: Metrics of a profile that are no moment, whatever they are made of. `Sum` stands for those that are made like it.
_NO_MOMENTS = (Avg, Collect, Count, Distinct, Exists, Ratio, Sum)
_NOTHING = object()


class Study:
    """A question about the entities of a profile that is asked again and again. Write a subclass of `Cohort` or `Funnel`."""

    profile: ClassVar[type[Profile]]

    _place: ClassVar[Place]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._place = caller()


@dataclass(frozen=True)
class StudyDef:
    """A study as it was written, checked against the definitions that it names.

    Attributes:
        profile: The profile whose entities it is about.
    """

    name: str
    place: Place
    description: str
    profile: RollupDef

    @property
    def rollups(self) -> tuple[RollupDef, ...]:
        """Everything that it reads: who may not see all of them does not see it."""
        return (self.profile,)


class StudyReader:
    """Reads one class and collects its mistakes.

    ``rollups``: the rollups and profiles that the class may name.
    """

    kind = "Study"
    #: What a class may say, and what it has to.
    attributes: ClassVar[tuple[str, ...]] = ("profile",)
    needed: ClassVar[tuple[str, ...]] = ("profile",)

    def __init__(self, cls: type[Study], rollups: Mapping[str, RollupDef]) -> None:
        self.cls = cls
        self.rollups = rollups
        self.problems: list[Problem] = []
        self.given: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            if issubclass(base, Study):
                self.given |= {name: value for name, value in vars(base).items() if name in self.attributes}
        self._check_attributes()

    def problem(self, code: str, message: str, hint: str = "") -> None:
        """Keep a mistake."""
        self.problems.append(Problem(code, str(self.cls._place), self.cls.__name__, message, hint))

    @property
    def description(self) -> str:
        """The docstring in one line."""
        return " ".join((self.cls.__doc__ or "").split())

    def _check_attributes(self) -> None:
        for name, value in vars(self.cls).items():
            if name.startswith("_") or name in self.attributes or name.isupper() or callable(value):
                continue
            if not isinstance(value, classmethod | staticmethod | property):
                self.problem(
                    "unknown-attribute", f"a {self.kind} has no attribute '{name}'{suggestion(name, self.attributes)}.",
                    f"Attributes: {listing(self.attributes)}; constants of your own are written in capitals.",
                )  # fmt: skip
        for name in self.needed:
            if name not in self.given:
                self.problem("bad-value", f"a {self.kind} needs {name}.", f"Attributes: {listing(self.attributes)}")

    def rollup(self, what: str, *, is_profile: bool) -> RollupDef | None:
        """The profile, or the rollup, that an attribute names; None where it is a mistake or missing."""
        given = self.given.get(what, _NOTHING)
        if given is _NOTHING:
            return None
        wanted = Profile if is_profile else Rollup
        named = given.__name__ if isinstance(given, type) else repr(given)
        if not isinstance(given, type) or not issubclass(given, wanted) or issubclass(given, Profile) != is_profile:
            self.problem("bad-source", f"{what} is a {wanted.__name__}, got {named}.")
            return None
        found = self.rollups.get(given.__name__)
        if found is None or found.place != given._place:
            self.problem(
                "bad-source", f"{what} is {named}, which is none of these definitions.",
                "Import that class into the definitions file, or give it with the others.",
            )  # fmt: skip
            return None
        return found

    def names(self, what: str, one: str) -> tuple[str, ...]:
        """A text, or several, each once."""
        given = self.given.get(what, ())
        found = (given,) if isinstance(given, str) else given
        if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
            self.problem("bad-value", f"{what} is {one} or a tuple of them, got {given!r}.")
            return ()
        if len(set(found)) < len(found):
            self.problem("duplicate-name", f"{what} names one twice: {listing(found)}.")
        return tuple(dict.fromkeys(found))

    def check_moment(self, what: str, profile: RollupDef, name: str) -> None:
        """A column of the profile may be a moment; its type shows when it is read."""
        metric = profile.metrics.get(name)
        if metric is None:
            known = [one for one, metric in profile.metrics.items() if not isinstance(metric, _NO_MOMENTS)]
            self.problem(
                "unknown-column", f"{what} names '{name}', which is no column of {profile.name}{suggestion(name, known)}.",
                f"Columns that may be moments: {listing(known)}",
            )  # fmt: skip
        elif isinstance(metric, _NO_MOMENTS):
            self.problem(
                "bad-moment", f"{what} names '{name}' ({metric.kind}), which is no moment.",
                'Such as: Min(table, "created_at").',
            )  # fmt: skip

    def metric(self, what: str, rollup: RollupDef, name: str, known: Collection[str] | None = None) -> Metric | None:
        """A metric of a rollup by its name, or None where there is none."""
        if name not in rollup.metrics:
            names = list(known if known is not None else rollup.metrics)
            self.problem(
                "unknown-metric", f"{what} names '{name}', which is no metric of {rollup.name}{suggestion(name, names)}.",
                f"Metrics: {listing(names)}",
            )  # fmt: skip
            return None
        return rollup.metrics[name]
