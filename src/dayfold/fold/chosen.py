"""Which days verify looks at: what was chosen, what can be compared, and what is left out. Fold floor."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dayfold.days import ONE_DAY, Days, as_day, union, without
from dayfold.engines.base import Session
from dayfold.errors import UsageError
from dayfold.ledger import coverage, marks, verifications
from dayfold.ledger.fetches import ALWAYS
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup


@dataclass(frozen=True, slots=True)
class Choice:
    """Which days are verified: a range, some at random, or the least recently verified within a budget of seconds."""

    days: Days | None = None
    sample: int | None = None
    budget_s: float | None = None


def choice(
    from_: dt.date | str | None,
    to: dt.date | str | None,
    sample: int | None,
    budget_s: float | None,
    *,
    default_budget_s: float,
    today: dt.date,
) -> Choice:
    """What the words of a call choose.

    Raises:
        UsageError, BadDate: where they do not fit together.

    >>> choice(None, None, None, None, default_budget_s=60, today=dt.date(2026, 1, 9)).budget_s
    60
    """
    if (from_ is None) != (to is None):
        missing = "to" if to is None else "from"
        raise UsageError(
            f"A range has two ends; '{missing}' is missing.", hint="Give both --from and --to, or neither."
        )
    if from_ is not None and sample is not None:
        raise UsageError("A range and a sample were given.", hint="Give --from and --to, or --sample.")
    if sample is not None and sample < 1:
        raise UsageError(f"A sample is of at least 1 day, got {sample}.")
    if budget_s is not None and budget_s < 0:
        raise UsageError(f"A budget is 0 seconds or more, got {budget_s:g}.")
    days = None
    if from_ is not None and to is not None:
        first, last = (as_day(one, today) for one in (from_, to))
        days = Days(first, last)
    if budget_s is None and days is None and sample is None:
        budget_s = default_budget_s
    return Choice(days, sample, budget_s)


@dataclass(slots=True)
class DueDays:
    """The days that can be verified, in the order in which they are due.

    Attributes:
        sealed: Those that are compared with their receipts only.
        left_out: How many days, and marks of cells, are not compared, by reason.
    """

    due: list[dt.date]
    sealed: set[dt.date]
    left_out: dict[str, int] = field(default_factory=dict)


def due_days(
    ledger: Ledger, session: Session, rollup: BoundRollup, version: int, choice: Choice, today: dt.date
) -> DueDays:
    """The chosen days of a rollup that every source has folded for good, or that are sealed."""
    known = coverage.ranges(ledger, session, rollup.name, version)
    pending = marks.pending(ledger, session, rollup.name, version)
    places = verifications.order(ledger, session, rollup.name, version)
    covered = [days for states in known.values() for ranges in states.values() for days in ranges]
    asked = [choice.days] if choice.days else union(covered)
    asked = _minus(asked, [Days(today + ONE_DAY, dt.date.max)])
    sealed = _shared(asked, coverage.sealed_days(known))
    settled = asked
    functions = {one.label for one in rollup.functions}
    for source in {scan.label for scan in rollup.scans}:
        states = known.get(source, {})
        folded = states.get(coverage.FOLDED, [])
        if rollup.is_lifelong:
            # A profile is never over: what is there is compared.
            folded = union([*folded, *states.get(coverage.OPEN, [])])
        if source in functions:
            # Days that a function is never asked for hold nothing of it, for good.
            seen = union(days for ranges in states.values() for days in ranges)
            folded = union([*folded, *without(ALWAYS, seen)])
        settled = _shared(settled, folded)
    settled = _minus(settled, sealed)
    marked = settled if pending.everything else _shared(settled, [Days(day, day) for day in pending.whole_days])
    compared = _minus(settled, marked)
    days = [day for one in (*compared, *sealed) for day in one]
    if choice.sample is not None:
        days = random.sample(days, min(choice.sample, len(days)))
    # Never verified first, of these the newest; then the one that waits longest.
    days.sort(key=lambda day: (places.get(day, -1), -day.toordinal() if day not in places else 0))
    left = _unsettled(known, _minus(_minus(asked, settled), sealed))
    if rollup.is_lifelong and choice.days is not None:
        left = {"whole lives, which are of no day": 1}
    left["marked days"] = sum(map(len, marked))
    left["marks of cells"] = sum(count for day, count in pending.cells.items() if any(day in one for one in compared))
    return DueDays(days, {day for one in sealed for day in one}, {reason: n for reason, n in left.items() if n})


def _unsettled(known: Mapping[str, Mapping[str, Sequence[Days]]], rest: Sequence[Days]) -> dict[str, int]:
    """Why days cannot be compared, and how many of them."""
    found = {}
    for reason, state in (("open days", coverage.OPEN), ("failed days", coverage.FAILED)):
        days = _shared(rest, union(one for states in known.values() for one in states.get(state, ())))
        found[reason] = sum(map(len, days))
        rest = _minus(rest, days)
    return {**found, "days never folded": sum(map(len, rest))}


def _minus(ranges: Sequence[Days], holes: Sequence[Days]) -> list[Days]:
    return [part for one in ranges for part in without(one, holes)]


def _shared(ranges: Sequence[Days], others: Sequence[Days]) -> list[Days]:
    """The days of both."""
    return _minus(ranges, _minus(ranges, others))
