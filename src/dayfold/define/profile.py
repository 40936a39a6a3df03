"""Profiles: one row per entity over its whole life. Definitions floor, pure.

A profile is a rollup whose only bucket is the whole life: the same marks, leases, publications and proofs carry it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import ClassVar

from dayfold.days import LIFELONG
from dayfold.define.expr import reads_clock
from dayfold.define.function import FunctionSource
from dayfold.define.lasting import First
from dayfold.define.metric import Distinct, Gauge, Increase, Measured, Metric
from dayfold.define.rollup import ATTRIBUTES, Reader, Rollup, RollupDef, siblings
from dayfold.define.source import Folded

#: What a rollup may say and a profile may not: it has no days.
_OF_DAYS = ("day_column", "grain", "lookback", "since")


class Profile(Rollup):
    """One row per entity over its whole life. Write a subclass with metrics as its attributes.

    A fact counts for the entity whose key it has; facts with NULL in a key column are nobody's. ``where``, expressions and formulas
    may use ``now()``, which is 00:00 UTC of the current day: what depends on it is right on the day it changes. `Formula`, `Ratio`
    and `Case` are columns of the table like all others.

    Attributes:
        table: The table's name. Default: snake case of the class.
        key: A column, or a tuple of columns, that name the entity.
        index: More indexes, each a column or a tuple of columns.
        owner: The key column that says whose a row is, for row-level policies in PostgreSQL.
        schedule: When `dayfold serve` refreshes it. Default: with the others, as ``[schedule] fold`` says.
        timezone: The zone of its schedule.

    >>> from dayfold.define.metric import Count, Min
    >>> from dayfold.define.rollup import definition
    >>> from dayfold.define.source import Table
    >>> orders = Table("orders")
    >>> class Customers(Profile):
    ...     key = "customer_id"
    ...     first_order_at = Min(orders, "ordered_at")
    ...     orders = Count(orders)
    >>> found, problems = definition(Customers)
    >>> found.table, found.is_profile, problems
    ('customers', True, [])
    """

    _attributes: ClassVar[tuple[str, ...]] = tuple(one for one in ATTRIBUTES if one not in _OF_DAYS)
    _kind: ClassVar[str] = "Profile"

    @classmethod
    def _grain(cls) -> object:
        return LIFELONG


class _ProfileReader(Reader):
    """Reads a profile: what a rollup needs of days it does not have."""

    _NO_METRICS = "a Profile needs at least one metric of a source, such as Count(table)."

    has_days = False

    def _grain(self) -> str:
        return LIFELONG

    def _day_column(self) -> str:
        return "day"

    def _lookback(self) -> int | None:
        return None

    def _since(self) -> dt.date | None:
        return None

    def _is_stored(self, name: str) -> bool:
        return True

    def _named(self, found: RollupDef) -> Collection[str]:
        return [*found.metrics, *found.key]

    def _check_metrics(self, found: RollupDef) -> None:
        if not found.key:
            self._problem("bad-value", "a Profile needs a key: the column, or columns, that name an entity.")
        super()._check_metrics(found)

    def _check_measured(self, metric: Measured) -> None:
        kind = type(metric).__name__
        if isinstance(metric, Gauge | Increase):
            instead = (
                "Last(…, at=…) is the level now" if isinstance(metric, Gauge) else "Fold a rollup of it, and Sum that"
            )
            self._problem("bad-metric", f"{kind} is of days, which a profile does not have.", f"{instead}.", metric)
        elif metric.extra:
            self._problem("unknown-option", f"{kind} has no option 'extra' in a profile.", metric=metric)
        elif metric.is_timed and not isinstance(metric, First) and not isinstance(metric.source, FunctionSource):
            self._problem(
                "unknown-option",
                f"{kind} has no option 'at' in a profile, which counts facts of all times.",
                'Leave it out; facts without a moment are left out with where="… is not null".',
                metric,
            )
        self._check_profile_source(metric, kind)

    def _check_profile_source(self, metric: Measured, kind: str) -> None:
        source: object = metric.source
        if isinstance(source, FunctionSource):
            self._problem(
                "bad-source",
                f"{source.title} is a function of a day, and a profile has no days.",
                "Fold a rollup over it, and name that rollup as the source.",
                metric,
            )
        elif isinstance(source, Folded) and source.is_standing:
            self._problem("bad-metric", f"{kind} is of days, which a profile does not have.", metric=metric)
        elif isinstance(metric, Distinct) and isinstance(source, Folded) and not source.is_lifelong:
            name = source.rollup.__name__
            if isinstance(getattr(source.rollup, metric.expr_text or "", None), Distinct):
                self._problem(
                    "bad-metric", f"{kind} unites the sets of {name}, which a profile does not keep.",
                    "Count the values in their own source.", metric,
                )  # fmt: skip


Profile._reader = _ProfileReader


def is_time_driven(profile: RollupDef) -> bool:
    """Whether rows change with the day alone: something in it uses ``now()``."""
    return any(_reads_clock(metric) for metric in profile.metrics.values())


def time_driven(profile: RollupDef) -> tuple[str, ...]:
    """The columns that change with the day alone: they use ``now()``, or are made of one that does."""
    found = {name for name, metric in profile.metrics.items() if _reads_clock(metric)}
    for name, metric in profile.computed.items():
        if found & set(siblings(metric)):
            found.add(name)
    return tuple(name for name in profile.metrics if name in found)


def _reads_clock(metric: Metric) -> bool:
    trees = [getattr(metric, name, None) for name in ("expr", "where", "ties")]
    return any(reads_clock(tree) for tree in trees if tree is not None)
