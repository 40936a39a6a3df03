"""Judges alert rules: what each says of each of its subjects now. Jobs floor; writes nothing.

Invariant: what is not known, such as a rollup that was never verified, neither opens an episode nor closes one.

Weakness: a rule is judged once a minute, so what comes and goes between two looks is not seen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from dayfold.count.conservation import Conservation
from dayfold.days import ONE_DAY, Days
from dayfold.define.alert import AlertDef, CheckFailed, Drift, Held, JobFailed, LeftOpen, Stale, Threshold, Unaccounted
from dayfold.define.check import ERROR
from dayfold.define.condition import shown
from dayfold.jobs.findings import Finding, Reads, State, gone, settled
from dayfold.jobs.thresholds import threshold
from dayfold.ledger import alerts as ledger_alerts
from dayfold.ledger import checks, coverage, quarantine, versions
from dayfold.ledger.alerts import Drifted


def judge(reads: Reads, rule: AlertDef, open_subjects: Sequence[str]) -> list[Finding]:
    """What a rule says of its subjects, and of those that have an open episode.

    Raises:
        DayfoldError: where it cannot be judged.
    """
    return _JUDGES[type(rule.watch)](reads, rule.watch, open_subjects)


# -- jobs ------------------------------------------------------------------------------------------


def _job_failed(reads: Reads, watch: JobFailed, open_subjects: Sequence[str]) -> list[Finding]:
    with reads.ledger.store.transaction(read_only=True) as session:
        ends = ledger_alerts.job_ends(reads.ledger, session)
    found = []
    for one in ends:
        if watch.jobs is not None and one.job not in watch.jobs:
            continue
        details = {"job": one.job, "run_id": one.run_id, "finished_at": one.finished_at}
        if one.status == "failed":
            why = f": {one.error}" if one.error else "."
            tries = f"after {one.attempt} attempts" if one.attempt > 1 else "after its only attempt"
            message, state = f"The job {one.job} failed {tries}{why}", State.FIRING
        else:
            message, state = f"The job {one.job} is done.", State.CLEAR
        found.append(Finding(one.job, state, message, details, f"GET /v1/runs/{one.run_id}"))
    return found


# -- drift -----------------------------------------------------------------------------------------


def _drift(reads: Reads, watch: Drift, open_subjects: Sequence[str]) -> list[Finding]:
    by_rollup: dict[str, list[Drifted]] = {}
    with reads.ledger.store.transaction(read_only=True) as session:
        for one in ledger_alerts.drifts(reads.ledger, session):
            by_rollup.setdefault(one.rollup, []).append(one)
    found = []
    for name in _watched(reads, watch.rollup, open_subjects):
        if name not in reads.catalog.rollups:
            found.append(gone(name))
            continue
        known = by_rollup.get(name, [])
        if not known:
            found.append(Finding(name, State.UNKNOWN, f"{name} was never verified."))
            continue
        found.append(_drift_of(watch, name, max(known, key=lambda one: (_measure(watch, one), one.run_id))))
    return found


def _measure(watch: Drift, one: Drifted) -> Fraction:
    return Fraction(one.drifted) if watch.share is None else Fraction(one.drifted, max(one.cells, 1))


def _drift_of(watch: Drift, name: str, worst: Drifted) -> Finding:
    bound = Fraction(watch.cells or 0) if watch.share is None else watch.share
    details = {
        "rollup": name, "run_id": worst.run_id, "cells": worst.cells, "drifted": worst.drifted,
        "value": shown(_measure(watch, worst)), "bound": shown(bound),
    }  # fmt: skip
    is_over = _measure(watch, worst) > bound
    message = (
        f"{worst.drifted:,} of {worst.cells:,} cells of {name} that run {worst.run_id} compared differ from their sources."
        if worst.drifted
        else f"No cell of {name} is known to differ from its sources."
    )
    return Finding(name, State.FIRING if is_over else State.CLEAR, message, details, f"dayfold verify {name}")


# -- staleness -------------------------------------------------------------------------------------


def _stale(reads: Reads, watch: Stale, open_subjects: Sequence[str]) -> list[Finding]:
    ledger, now = reads.ledger, reads.clock.now()
    found = []
    with ledger.store.transaction(read_only=True) as session:
        folds = ledger_alerts.last_folds(ledger, session)
        known = versions.versions(ledger, session)
        for name in _watched(reads, watch.rollup, open_subjects):
            if name not in reads.catalog.rollups:
                found.append(gone(name))
            elif name not in known or name not in folds:
                found.append(Finding(name, State.UNKNOWN, f"{name} was never folded."))
            else:
                day = None
                # A profile has no days; of sizes one that is over is settled, or missing for good.
                if known[name].has_days and not reads.catalog.rollups[name].is_standing:
                    day = unsettled(coverage.ranges(ledger, session, name, known[name].number), reads.today)
                found.append(_staleness(watch, name, folds[name], day, now))
    return found


def _staleness(watch: Stale, name: str, folded_at: dt.datetime, day: dt.date | None, now: dt.datetime) -> Finding:
    since, message = folded_at, f"{name} was last folded at {_minute(folded_at)}"
    ended = dt.datetime.combine(day + ONE_DAY, dt.time(), dt.UTC) if day else None
    if ended is not None and ended < since:
        since, message = ended, f"{name} has not settled {day}, which is over since {_minute(ended)}"
    hours = (now - since) / dt.timedelta(hours=1)
    is_over = hours > watch.hours
    details = {
        "rollup": name, "since": since.isoformat(), "day": str(day) if ended == since else None,
        "value": round(hours, 1), "bound": watch.hours,
    }  # fmt: skip
    said = f"{message}, {hours:,.1f} hours ago." if is_over else f"{message}."
    return Finding(name, State.FIRING if is_over else State.CLEAR, said, details, "dayfold status")


def unsettled(known: Mapping[str, Mapping[str, Sequence[Days]]], today: dt.date) -> dt.date | None:
    """The first day before today, from the beginning of coverage on, that some source left open or out.

    A day that failed is none: since when a source fails, the last fold that was done says.
    """
    first = min((days.first for states in known.values() for found in states.values() for days in found), default=None)
    if first is None or first >= today:
        return None
    gaps = []
    for states in known.values():
        begins = min((days.first for found in states.values() for days in found), default=first)
        day = begins
        for days in settled(states):
            if days.first > day:
                break
            day = max(day, days.last + ONE_DAY)
        gaps.append(day)
    return min((day for day in gaps if day < today), default=None)


# -- days that were left open ----------------------------------------------------------------------


def _left_open(reads: Reads, watch: LeftOpen, open_subjects: Sequence[str]) -> list[Finding]:
    with reads.ledger.store.transaction(read_only=True) as session:
        left = ledger_alerts.left_open(reads.ledger, session)
        now = coverage.left_open(reads.ledger, session, reads.today) if left and left.days else []
    found = []
    for name in _watched(reads, watch.rollup, open_subjects):
        if name not in reads.catalog.rollups:
            found.append(gone(name))
        elif left is None:
            found.append(Finding(name, State.UNKNOWN, "The job finalize has not ended yet."))
        else:
            days = {one.day for one in now if one.rollup == name} & left.days.get(name, set())
            found.append(_openness(name, left.run_id, sorted(days)))
    return found


def _openness(name: str, run_id: int, days: Sequence[dt.date]) -> Finding:
    details = {
        "rollup": name, "run_id": run_id, "day": str(days[0]) if days else None, "value": len(days), "bound": 0,
    }  # fmt: skip
    look = f"GET /v1/runs/{run_id}"
    if not days:
        return Finding(name, State.CLEAR, f"No day of {name} that finalize looked at is open.", details, look)
    said = f"{days[0]} of {name} is" if len(days) == 1 else f"{len(days):,} days of {name}, the first {days[0]}, are"
    return Finding(name, State.FIRING, f"{said} over and still open after run {run_id} of finalize.", details, look)


# -- quarantine ------------------------------------------------------------------------------------


def _held(reads: Reads, watch: Held, open_subjects: Sequence[str]) -> list[Finding]:
    with reads.ledger.store.transaction(read_only=True) as session:
        reasons = quarantine.counts(reads.ledger, session)
    count = sum(reasons.values())
    details = {**reasons, "value": count, "bound": watch.events}
    said = "1 event is" if count == 1 else f"{count:,} events are"
    state = State.FIRING if count > watch.events else State.CLEAR
    return [Finding("quarantine", state, f"{said} held in quarantine.", details, "dayfold events quarantine")]


# -- counters --------------------------------------------------------------------------------------


def _unaccounted(reads: Reads, watch: Unaccounted, open_subjects: Sequence[str]) -> list[Finding]:
    found = [_law(one) for one in reads.counters.conservation()]
    known = {one.subject for one in found}
    return [*found, *(gone(one) for one in open_subjects if one not in known)]


def _law(law: Conservation) -> Finding:
    details = law.as_words()
    look = f"dayfold counters check {law.counter}"
    if not law.reachable and law.holds:
        return Finding(law.counter, State.UNKNOWN, f"The live store of {law.counter} does not answer.", details, look)
    if law.holds:
        return Finding(
            law.counter, State.CLEAR, f"All that was added to {law.counter} is accounted for.", details, look
        )
    return Finding(law.counter, State.FIRING, f"{law.counter}: {law.said}", details, look)


# -- checks ----------------------------------------------------------------------------------------


def _check_failed(reads: Reads, watch: CheckFailed, open_subjects: Sequence[str]) -> list[Finding]:
    defined = reads.catalog.checks
    every = [name for name, one in defined.items() if one.severity == ERROR]
    with reads.ledger.store.transaction(read_only=True) as session:
        known = checks.last(reads.ledger, session)
    found = []
    for name in dict.fromkeys([*(every if watch.checks is None else watch.checks), *open_subjects]):
        if name not in defined or (watch.checks is None and name not in every):
            found.append(gone(name))
        elif name not in known:
            found.append(Finding(name, State.UNKNOWN, f"The check {name} never ran."))
        else:
            found.append(_verdict(known[name].verdict))
    return found


def _verdict(one: checks.Verdict) -> Finding:
    details = {
        "check": one.name, "severity": one.severity, "verdict": one.verdict, "offending": one.offending, "run_id": one.run_id,
    }  # fmt: skip
    look = "dayfold verify --checks-only"
    if one.verdict == checks.PASSED:
        return Finding(one.name, State.CLEAR, f"The check {one.name} passed.", details, look)
    how = "failed" if one.verdict == checks.FAILED else "could not run"
    return Finding(one.name, State.FIRING, f"The check {one.name} {how}. {one.reason}", details, look)


# -- what they share -------------------------------------------------------------------------------


def _watched(reads: Reads, rollup: str | None, open_subjects: Sequence[str]) -> list[str]:
    """The rollups that a rule is about, and those that have an open episode."""
    return list(dict.fromkeys([*([rollup] if rollup else reads.catalog.rollups), *open_subjects]))


def _minute(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


_JUDGES: dict[type, Callable[[Reads, Any, Sequence[str]], list[Finding]]] = {
    JobFailed: _job_failed,
    Drift: _drift,
    Stale: _stale,
    LeftOpen: _left_open,
    Held: _held,
    Unaccounted: _unaccounted,
    CheckFailed: _check_failed,
    Threshold: threshold,
}
