"""Cohorts: who comes back, by the period of a first moment. Definitions floor, pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from sqlglot import exp

from dayfold.define.expr import ExpressionError, columns, parse
from dayfold.define.metric import Avg, Computed, Count, Distinct, Gauge, Metric, Sum
from dayfold.define.rollup import Rollup, RollupDef, siblings
from dayfold.define.study import Study, StudyDef, StudyReader
from dayfold.errors import Problem
from dayfold.names import listing

#: What every answer has beside the values and what it is split by.
OWN_COLUMNS = ("cohort", "size", "age", "period", "active", "rate", "partial")
#: What follows a value's name for its sum up to an age, and for that sum per entity of the cohort.
CUMULATIVE, PER_ENTITY = "_cumulative", "_per_entity"


class Cohort(Study):
    """Retention of the entities of a profile by the period of their first moment. Write a subclass.

    An entity is active in a period where the rollup has a row of it, or one that meets ``active``, on a day of that period; days
    before its start do not count.

    Attributes:
        profile: The `Profile` whose entities these are.
        start: The column of the profile that says when an entity begins: a timestamp or a date.
        activity: The `Rollup` of what they do, by day, whose key has the profile's key columns, perhaps among others.
        active: A condition over its metrics, for an entity on a day. Default: any row.
        values: Its Sums and Counts that are added up per cohort and age.

    >>> from dayfold.define.metric import Sum, Min
    >>> from dayfold.define.profile import Profile
    >>> from dayfold.define.rollup import definition as of
    >>> from dayfold.define.source import Table
    >>> orders = Table("orders")
    >>> class Customers(Profile):
    ...     key = "customer_id"
    ...     first_order_at = Min(orders, "ordered_at")
    >>> class CustomerDaily(Rollup):
    ...     key = "customer_id"
    ...     cents = Sum(orders, "cents", at="ordered_at")
    >>> class Retention(Cohort):
    ...     profile, start, activity, values = Customers, "first_order_at", CustomerDaily, "cents"
    >>> found, problems = definition(Retention, {one.__name__: of(one)[0] for one in (Customers, CustomerDaily)})
    >>> found.values, problems
    (('cents',), [])
    """

    start: ClassVar[str]
    activity: ClassVar[type[Rollup]]
    active: ClassVar[str | None] = None
    values: ClassVar[str | Sequence[str]] = ()


@dataclass(frozen=True)
class CohortDef(StudyDef):
    """A cohort's definition.

    Attributes:
        active: The condition, over metrics of the activity; None: any row.
    """

    start: str
    activity: RollupDef
    active: exp.Expr | None
    values: tuple[str, ...]

    @property
    def rollups(self) -> tuple[RollupDef, ...]:
        """The profile and the rollup of what its entities do."""
        return (self.profile, self.activity)

    @property
    def condition_metrics(self) -> tuple[str, ...]:
        """The metrics that the condition names."""
        return tuple(sorted({one.name for one in columns(self.active)})) if self.active is not None else ()

    @property
    def is_apart(self) -> bool:
        """Whether the activity may have several rows of an entity on a day."""
        return set(self.activity.key) != set(self.profile.key) or self.activity.grain != "day"


def definition(cls: type[Cohort], rollups: Mapping[str, RollupDef]) -> tuple[CohortDef | None, list[Problem]]:
    """A cohort's definition, None where it cannot be read, and everything that is wrong with it."""
    reader = _Reader(cls, rollups)
    return reader.read(), reader.problems


class _Reader(StudyReader):
    kind = "Cohort"
    attributes = ("profile", "start", "activity", "active", "values")
    needed = ("profile", "start", "activity")

    def read(self) -> CohortDef | None:
        profile, activity = self.rollup("profile", is_profile=True), self.rollup("activity", is_profile=False)
        active, values = self._condition(), self.names("values", "a metric's name")
        start = self.given.get("start", "")
        if not isinstance(start, str):
            self.problem("bad-value", f"start is the name of a column, got {start!r}.")
        elif profile is not None and start:
            self.check_moment("start", profile, start)
        if profile is None or activity is None:
            return None
        found = CohortDef(
            self.cls.__name__, self.cls._place, self.description, profile, str(start), activity, active, values
        )
        self._check_key(found)
        for name in found.condition_metrics:
            metric = self.metric("active", activity, name)
            if metric is not None and found.is_apart:
                self._check_added(activity, name, metric)
        for name in values:
            self._check_value(activity, name)
        return None if self.problems else found

    def _condition(self) -> exp.Expr | None:
        text = self.given.get("active")
        if text is None:
            return None
        try:
            return parse(text)
        except ExpressionError as error:
            self.problem("bad-expression", f"active: {error}", error.hint)
            return None

    def _check_key(self, found: CohortDef) -> None:
        absent = [name for name in found.profile.key if name not in found.activity.key]
        if absent:
            self.problem(
                "unknown-column",
                f"activity is {found.activity.name}, whose key has no {listing(absent)}: it does not say what one entity of "
                f"{found.profile.name} does.",
                f"Key of {found.activity.name}: {listing(found.activity.key)}",
            )

    def _check_added(self, activity: RollupDef, name: str, metric: Metric) -> None:
        """A condition over an entity's day, of which there may be several rows, names what adds up over these."""
        if isinstance(metric, Computed):
            for part in siblings(metric):
                if part in activity.metrics:
                    self._check_added(activity, part, activity.metrics[part])
        elif isinstance(metric, Distinct | Gauge):
            self.problem(
                "bad-metric",
                f"active names '{name}' ({metric.kind}), and {activity.name} may have several rows of an entity on a day.",
                "Name a metric that adds up, or fold a rollup by the profile's key alone.",
            )

    def _check_value(self, activity: RollupDef, name: str) -> None:
        known = [one for one, metric in activity.metrics.items() if _adds_up(metric)]
        metric = self.metric("values", activity, name, known)
        if metric is None:
            return
        if not _adds_up(metric):
            self.problem(
                "bad-metric", f"values names '{name}' ({metric.kind}), which is no Sum and no Count.",
                f"Sums and Counts: {listing(known)}",
            )  # fmt: skip
        elif name in OWN_COLUMNS or name.endswith((CUMULATIVE, PER_ENTITY)):
            self.problem(
                "reserved-name", f"the value '{name}' is called as a column of every answer is.",
                f"Reserved: {listing(OWN_COLUMNS)}, and what ends with '{CUMULATIVE}' or '{PER_ENTITY}'.",
            )  # fmt: skip


def _adds_up(metric: Metric) -> bool:
    return isinstance(metric, Count | Sum) and not isinstance(metric, Avg)
