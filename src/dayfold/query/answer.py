"""An answer and the forms it is given in. Query floor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dayfold.days import Days
from dayfold.query.compare import beside
from dayfold.query.cover import Gap
from dayfold.query.request import Request

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Answer:
    """The rows of a question, and what has to be said with them.

    Attributes:
        table: The rows as Arrow: ``day`` (first day of the bucket), for hours ``hour`` (its start), the keys, the metrics.
        exact: For each metric, whether every number is exact.
        error: For each metric that is not, its greatest relative standard error.
        missing: Days that are null, with the reason; ``stale``: days that show an older fold's numbers.
        partial: Buckets that the range, or allowed missing days, cut short.
        provisional: Days that were computed from the sources for this answer, with the reason.
        compare: The answer for the range it is compared with.
        beside: For each bucket the one it is compared with, both by their first days, or the starts of their hours in UTC.
    """

    request: Request
    table: pa.Table
    exact: dict[str, bool]
    error: dict[str, float]
    missing: list[Gap]
    stale: list[Gap]
    partial: list[dt.date]
    revision: int
    provisional: list[Gap] = field(default_factory=list)
    compare: Answer | None = field(default=None)
    beside: dict[dt.date, dt.date] = field(default_factory=dict)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        return list(self.table.to_pylist())

    @property
    def days(self) -> Days:
        """The asked range."""
        return self.request.days

    def as_object(self) -> dict[str, Any]:
        """The answer for JSON: ``rows``, and beside them what has to be said."""
        found: dict[str, Any] = {
            "rollup": self.request.rollup.name,
            "from": self.days.first,
            "to": self.days.last,
            "grain": self.request.grain,
            "tz": self.request.tz or "UTC",
            # It moves with the rows of everybody.
            **({} if self.request.is_limited else {"revision": self.revision}),
            "rows": self.rows,
            "exact": self.exact,
            "missing": gaps(self.missing),
        }
        if self.error:
            found["error"] = self.error
        if self.stale:
            found["stale"] = gaps(self.stale)
        if self.provisional:
            found["provisional"] = gaps(self.provisional)
        if self.partial:
            found["partial"] = self.partial
        if self.compare is not None:
            name = self.request.bucket_columns[-1]
            pairs = [
                {name: self._shown(bucket), f"compared_{name}": self._shown(earlier)}
                for bucket, earlier in self.beside.items()
            ]
            found["compare"] = {"kind": self.request.compare, "beside": pairs, **self.compare.as_object()}
        return found

    def _shown(self, bucket: dt.date) -> dt.date:
        """A bucket as the rows show it: an hour with the offset of the asked zone."""
        return bucket.astimezone(self.request.zone) if isinstance(bucket, dt.datetime) else bucket

    def flat(self) -> pa.Table:
        """The rows as one table; a compared range adds ``compared_day`` (or ``_hour``) and each metric's ``…_compared``."""
        if self.compare is None:
            return self.table
        return beside(self.table, self.compare.table, self.request, self.beside)

    def remarks(self) -> list[str]:
        """What has to be said with the rows, a line each."""
        lines = []
        if self.compare is not None:
            lines.append(
                f"compared: {self.days.first} to {self.days.last} with {self.compare.days.first} to {self.compare.days.last}"
            )
        lines += [f"missing: {gap.days}: {', '.join(gap.metrics)}: {gap.reason}" for gap in self.missing]
        lines += [f"stale: {gap.days}: {', '.join(gap.metrics)}: {gap.reason}" for gap in self.stale]
        lines += [f"provisional: {gap.days}: {', '.join(gap.metrics)}: {gap.reason}" for gap in self.provisional]
        if self.partial:
            lines.append(f"partial: {', '.join(map(str, self.partial))}")
        lines += [f"estimated: {name}, relative standard error {error:.2%}" for name, error in self.error.items()]
        return lines


def gaps(found: Sequence[Gap]) -> list[dict[str, Any]]:
    """Gaps for JSON."""
    return [
        {"from": gap.days.first, "to": gap.days.last, "reason": gap.reason, "metrics": list(gap.metrics)}
        for gap in found
    ]
