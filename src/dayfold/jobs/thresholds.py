"""Judges conditions on metrics at their last covered day. Jobs floor; writes nothing.

Invariant: a number that is missing, such as one of a day that is not covered, leaves a condition unknown.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dayfold.days import ONE_DAY, Days, bucket_start, union
from dayfold.define.alert import Threshold, filter_text
from dayfold.define.condition import Verdict, shown
from dayfold.define.condition import exact as exact_number
from dayfold.define.expr import ExpressionError
from dayfold.errors import QueryRefused
from dayfold.jobs.findings import Finding, Reads, State, gone, settled
from dayfold.ledger import coverage, versions
from dayfold.query.answer import Answer
from dayfold.query.request import Request

#: Values of a rule's ``by`` that are watched: each may have an episode, and each episode is a message.
MOST_SUBJECTS = 100
#: Reads that are tried again where a fold published between the two halves of a comparison.
_READS = 3


def last_settled(
    known: Mapping[str, Mapping[str, Sequence[Days]]], sources: Iterable[str], today: dt.date
) -> dt.date | None:
    """The last day before today that no longer is open in any of some sources.

    >>> march = lambda first, last: Days(dt.date(2026, 3, first), dt.date(2026, 3, last))
    >>> known = {"a": {"folded": [march(1, 9)], "open": [march(10, 10)]}, "b": {"folded": [march(1, 5), march(8, 8)]}}
    >>> last_settled(known, ["a", "b"], dt.date(2026, 3, 10))
    datetime.date(2026, 3, 8)
    """
    found = [settled(known.get(source, {})) for source in sources]
    day = today - ONE_DAY
    while True:
        lasts = [max((min(days.last, day) for days in ranges if days.first <= day), default=None) for ranges in found]
        if not lasts or None in lasts:
            return None
        earliest = min(one for one in lasts if one is not None)
        if earliest == day:
            return day
        day = earliest


def threshold(reads: Reads, watch: Threshold, open_subjects: Sequence[str]) -> list[Finding]:
    """What a condition says: of its rollup, or of each value of its key columns."""
    day = _last_day(reads, watch)
    if day is None:
        message = f"{watch.rollup} has no covered day."
        return [Finding(one, State.UNKNOWN, message) for one in open_subjects or [watch.rollup]]
    if not watch.by:
        found = _both(reads, watch, day, watch.where, ()).single(watch.rollup)
        return [found, *(gone(one) for one in open_subjects if one != watch.rollup)]
    pair = _both(reads, watch, day, watch.where, watch.by)
    if len(pair.now.rows) > MOST_SUBJECTS:
        raise QueryRefused(
            f"{watch.rollup} has more than {MOST_SUBJECTS} values of {', '.join(watch.by)}; an alert watches at most so many.",
            hint="Narrow the rule with where, or watch fewer key columns with by.",
        )
    earlier = {_subject(watch, row): row for row in pair.then.rows}
    subjects = {_subject(watch, row): row for row in pair.now.rows}
    findings = [pair.reading(subject, row, earlier.get(subject, {})) for subject, row in subjects.items()]
    return findings + [_absent(reads, watch, day, one) for one in open_subjects if one not in subjects]


def _absent(reads: Reads, watch: Threshold, day: dt.date, subject: str) -> Finding:
    """A key that has an open episode and no row in either range: its counts are zero, its levels missing."""
    key = _key(subject)
    if set(key) != set(watch.by):
        return gone(subject)
    words = [f"{name}={filter_text(value)}" for name, value in key.items()]
    return _both(reads, watch, day, (*watch.where, *words), ()).single(subject)


def _last_day(reads: Reads, watch: Threshold) -> dt.date | None:
    """The last covered day: over, and taken in since by a fold of every source of the metrics."""
    rollup = reads.catalog.rollups[watch.rollup]
    asked = Request.parse(rollup, watch.condition.metrics, from_=reads.today, to=reads.today, today=reads.today)
    sources = {source for name in watch.condition.metrics for source in asked.sources_of(name)}
    until = reads.today + ONE_DAY if watch.over else reads.today
    with reads.ledger.store.transaction(read_only=True) as session:
        version = versions.versions(reads.ledger, session).get(watch.rollup)
        if version is None:
            return None
        known = coverage.ranges(reads.ledger, session, watch.rollup, version.number)
    if watch.over:
        # Today counts as far as it was folded, and so does a day that was left open.
        known = {
            name: {coverage.FOLDED: union(days for one in states.values() for days in one)}
            for name, states in known.items()
        }
    return last_settled(known, sources, until)


def _subject(watch: Threshold, row: Mapping[str, Any]) -> str:
    """A key as text: a JSON object, so that no two keys look alike."""
    return json.dumps({name: None if row[name] is None else _plain(row[name]) for name in watch.by}, ensure_ascii=False)


def _key(subject: str) -> dict[str, str | None]:
    """A key from its text; nothing for another subject, of the rule as it was before an edit."""
    try:
        key = json.loads(subject)
    except ValueError:
        return {}
    return key if isinstance(key, dict) else {}


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _both(reads: Reads, watch: Threshold, day: dt.date, where: Sequence[str], by: Sequence[str]) -> _Pair:
    """The metrics over the range that ends with a day and over the one before it, of one revision, each with the keys of both."""
    first = bucket_start(day, watch.over) if watch.over else day - (watch.condition.days - 1) * ONE_DAY
    span = Days(first, day)
    before = Days(span.first - watch.condition.days * ONE_DAY, span.first - ONE_DAY)
    request = Request.parse(
        reads.catalog.rollups[watch.rollup], watch.condition.metrics, from_=span.first, to=span.last, by=by, where=where,
        grain="total", limit=MOST_SUBJECTS + 1, today=reads.today, allow_missing=watch.over is not None,
    )  # fmt: skip
    if not watch.condition.earlier:
        now = reads.answer(request)
        return _Pair(watch, now, now)
    for _ in range(_READS):
        now = reads.answer(replace(request, also=before))
        then = reads.answer(replace(request, days=before, also=span))
        if now.revision == then.revision:
            return _Pair(watch, now, then)
    raise QueryRefused(
        f"{watch.rollup} is published so often that no two reads agree.", hint="It is looked at again in a minute."
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """The answers that a condition is judged by: of the range that ends with the last covered day, and of the one before."""

    watch: Threshold
    now: Answer
    then: Answer

    def single(self, subject: str) -> Finding:
        """What the condition says of answers with one row."""
        now, then = (one.rows[0] if one.rows else {} for one in (self.now, self.then))
        return self.reading(subject, now, then)

    def reading(self, subject: str, now: Mapping[str, Any], then: Mapping[str, Any]) -> Finding:
        """What the condition says of one row and the row before."""
        watch, wanted = self.watch, self.watch.condition
        try:
            verdict = wanted.judge(
                {name: now.get(name) for name in wanted.metrics}, {name: then.get(name) for name in wanted.earlier}
            )
        except ExpressionError as error:
            raise QueryRefused(f"{watch.rollup}: {error}", hint="Name metrics that are numbers.") from None
        said = [_said(name, now.get(name), exact=self.now.exact.get(name, True)) for name in wanted.metrics]
        over = "on" if len(self.now.days) == 1 else "over"
        message = f"{', '.join(said)} {over} {self.now.days}" + (f" of {subject}" if watch.by else "")
        if wanted.earlier:
            before = ", ".join(_said(name, then.get(name), verb="was") for name in wanted.earlier)
            message += f"; {over} {self.then.days} {before}"
        message += f". The rule: {wanted.text}{_bound_now(verdict, wanted.earlier)}."
        if self.now.stale or self.then.stale:
            # An older number, of a day that failed or was never taken in whole, is not the last word.
            return Finding(subject, State.UNKNOWN, message)
        state = State.UNKNOWN if verdict.holds is None else State.FIRING if verdict.holds else State.CLEAR
        return Finding(subject, state, message, self._details(now, then, verdict), self._look())

    def _details(self, now: Mapping[str, Any], then: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
        wanted = self.watch.condition
        found: dict[str, Any] = {
            "rollup": self.watch.rollup, "from": str(self.now.days.first), "to": str(self.now.days.last),
            "metrics": {name: now.get(name) for name in wanted.metrics},
            "value": None if verdict.value is None else shown(verdict.value),
            "bound": None if verdict.bound is None else shown(verdict.bound),
        }  # fmt: skip
        if wanted.earlier:
            found |= {"compared_from": str(self.then.days.first), "compared_to": str(self.then.days.last)}
            found["compared"] = {name: then.get(name) for name in wanted.earlier}
        return found

    def _look(self) -> str:
        """The command that shows the numbers."""
        words = [f"dayfold query {self.watch.rollup}", *(f"-m {name}" for name in self.watch.condition.metrics)]
        words.append(f"--from {self.now.days.first} --to {self.now.days.last}")
        return " ".join([*words, *(f"--by {name}" for name in self.watch.by)])


def _bound_now(verdict: Verdict, earlier: Sequence[str]) -> str:
    """A bound that moves, as it is now."""
    return f"; the bound is {shown(verdict.bound):,} now" if earlier and verdict.bound is not None else ""


def _said(name: str, value: Any, verb: str = "is", *, exact: bool = True) -> str:
    number = None if value is None else exact_number(value)
    about = "" if exact else "about "
    return f"{name} {verb} missing" if number is None else f"{name} {verb} {about}{shown(number):,}"
