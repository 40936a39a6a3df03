"""An explanation and its form for programs. Query floor, pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field
from typing import Any

from dayfold.days import LIFE
from dayfold.ledger.marks import MarkRecord
from dayfold.ledger.receipts import Receipt
from dayfold.query.evidence import Evidence


@dataclass(frozen=True, slots=True)
class SourceState:
    """How a source has covered the day: a state of coverage, or None where it never was, with the reason.

    ``facts``: how many it had on the day for all keys; None where not all may be told of.
    """

    source: str
    state: str | None
    reason: str | None
    facts: int | None


@dataclass(frozen=True, slots=True)
class RowWritten:
    """A stored row of the cell. ``slot``: its day, or the start of its bucket; moments are ISO text in UTC."""

    slot: str
    created_at: str
    updated_at: str
    run_id: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A run that wrote the cell; its days, where it folded whole ones."""

    id: int
    job: str
    status: str
    started_at: str
    finished_at: str | None
    first_day: dt.date | None
    last_day: dt.date | None
    error: str | None

    @property
    def reason(self) -> str:
        """Why it wrote: its job and the days that it computed, or the cells that were marked."""
        if self.first_day is None:
            return f"{self.job} of cells that were marked"
        if self.first_day == LIFE:
            return f"{self.job} of all entities"
        return f"{self.job} of {self.first_day} to {self.last_day}"


@dataclass(frozen=True, slots=True)
class Verification:
    """When the day was last compared with its sources, by which run, how many cells and how many of them drifted."""

    verified_at: str
    run_id: int
    cells: int
    drifted: int


@dataclass
class Explanation:
    """What is known of one cell of one metric.

    Attributes:
        day: None where the cell is the whole life of an entity.
        value: As a query answers it; ``parts``: those of the metrics that it is computed from.
        why: What the number is, in sentences.
        states: How each source of the metric has covered the day.
        sealed: Whether the day is never computed again.
        rows: The stored rows of the cell; ``runs``: those that wrote them.
        marks: The changes that the next fold will take in, oldest first.
        present: The value that the sources make now, where it was ``computed``; else ``unknown`` says why not.
        evidence: For each part the SQL that computes it and the facts behind it.
    """

    rollup: str
    metric: str
    kind: str
    day: dt.date | None
    key: dict[str, str | None]
    table: str
    value: Any
    exact: bool
    parts: dict[str, Any]
    version: int
    fingerprint: str
    states: list[SourceState]
    sealed: bool
    rows: list[RowWritten]
    runs: list[Run]
    marks: list[MarkRecord]
    verification: Verification | None
    receipt: Receipt | None
    why: list[str]
    computed: bool = False
    present: Any = None
    present_parts: dict[str, Any] = field(default_factory=dict)
    unknown: str | None = None
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def stale(self) -> bool:
        """Whether a change is marked that no fold has taken in."""
        return bool(self.marks)

    def as_object(self) -> dict[str, Any]:
        """The explanation for JSON."""
        found: dict[str, Any] = {
            "rollup": self.rollup,
            "metric": self.metric,
            "kind": self.kind,
            "day": self.day,
            "key": self.key,
            "table": self.table,
            "value": self.value,
            "exact": self.exact,
            "parts": self.parts,
            "why": self.why,
            "version": self.version,
            "fingerprint": self.fingerprint,
            "coverage": [asdict(one) for one in self.states],
            "sealed": self.sealed,
            "stale": self.stale,
            "stored": [asdict(one) for one in self.rows],
            "runs": [{**asdict(one), "reason": one.reason} for one in self.runs],
            "marks": [asdict(one) for one in self.marks],
            "verification": asdict(self.verification) if self.verification else None,
            "receipt": asdict(self.receipt) if self.receipt else None,
            "evidence": [one.as_object() for one in self.evidence],
        }
        if self.computed:
            found["present"] = {"value": self.present, "parts": self.present_parts}
        else:
            found["unknown"] = self.unknown
        return found
