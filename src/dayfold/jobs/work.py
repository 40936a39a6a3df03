"""What each job does, in terms of the verbs of the application. Jobs floor.

A summary is one JSON object: what was done to each rollup, with the numbers of its runs; `finalize` adds the days that stay open.
It holds counts and days, never a row's values.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dayfold.collect.anew import Renewed
from dayfold.days import ONE_DAY, Days, overlap, union, without
from dayfold.define.catalog import Catalog
from dayfold.errors import Busy, DayfoldError, Stopped
from dayfold.fold import checks
from dayfold.fold.certificate import Certificate
from dayfold.fold.fold import FoldResult, Progress, StopCheck
from dayfold.fold.rebuild import RebuildResult
from dayfold.fold.retain import Retained
from dayfold.fold.verify import VerifyResult
from dayfold.jobs.exports import Exports
from dayfold.jobs.jobs import ENRICH, ERASE, EXPORT, FINALIZE, FOLD, REBUILD, RETAIN, VERIFY, Job
from dayfold.ledger import coverage, runs, versions
from dayfold.ledger import jobs as ledger_jobs
from dayfold.ledger.checks import Verdict
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing
from dayfold.settings import Settings

#: Open days that a summary lists one by one.
MOST_OPEN = 1000
#: How far back `finalize` looks for days that were never verified.
MOST_BACK = dt.timedelta(days=35)
#: The code of the error that is differences which were found.
DRIFT = "drift"
#: The code of the error that is checks which did not pass.
CHECK = "check"


class Events(Protocol):
    """What jobs need of the event log."""

    def renew(self, from_: dt.date, to: dt.date, *, progress: Progress | None = None) -> Renewed:
        """Apply today's rules to stored events."""
        ...


class Verbs(Protocol):
    """What jobs need of the application."""

    catalog: Catalog
    settings: Settings
    ledger: Ledger

    @property
    def event_log(self) -> Events:
        """The event log."""
        ...

    @property
    def today(self) -> dt.date:
        """The present UTC day."""
        ...

    @property
    def exports(self) -> Exports:
        """The exports that were asked for."""
        ...

    def fold(
        self, rollups: Iterable[str] | None = None, *, progress: Progress | None = None, stop: StopCheck = ...
    ) -> list[FoldResult]:
        """Bring rollups up to date."""
        ...

    def rebuild(
        self,
        rollup: str,
        *,
        from_: dt.date | None = None,
        to: dt.date | None = None,
        where: Sequence[str] = (),
        dry_run: bool = False,
        allow_empty: bool = False,
        progress: Progress | None = None,
        stop: StopCheck = ...,
    ) -> RebuildResult:
        """Fold days that exist again."""
        ...

    def verify(
        self,
        rollups: str | Iterable[str] | None = None,
        *,
        from_: dt.date | None = None,
        to: dt.date | None = None,
        sample: int | None = None,
        heal: bool = False,
        progress: Progress | None = None,
        stop: StopCheck = ...,
    ) -> list[VerifyResult]:
        """Compare stored cells with their sources."""
        ...

    def check(
        self, rollups: str | Iterable[str] | None = None, *, after: Iterable[checks.Ran] = (), stop: StopCheck = ...
    ) -> list[Verdict]:
        """Run the checks of rollups."""
        ...

    def check_folded(self, folds: Sequence[checks.Folded], *, stop: StopCheck = ...) -> list[Verdict]:
        """Run the checks that a fold leads to."""
        ...

    def retain(self, *, yes: bool = False, stop: StopCheck = ...) -> Retained:
        """Delete what is past its time."""
        ...

    def erase_asked(self, number: int) -> Certificate:
        """Do an erasure that was asked for."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt of one run. ``earlier``: the summary of the attempt before it."""

    verbs: Verbs
    job: Job
    request: Mapping[str, Any]
    earlier: Mapping[str, Any] | None
    progress: Progress
    stop: StopCheck

    @property
    def days(self) -> Days | None:
        """The days that were asked for."""
        if not self.request.get("from"):
            return None
        return Days(*(dt.date.fromisoformat(self.request[end]) for end in ("from", "to")))


@dataclass(slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        errors: What went wrong, by the code of each error.
        is_final: Trying again would find the same.
    """

    summary: dict[str, Any] = field(default_factory=dict)
    errors: list[tuple[str, str]] = field(default_factory=list)
    is_final: bool = False

    @property
    def error(self) -> str | None:
        """Everything that went wrong, in one text."""
        # PostgreSQL keeps no NUL, and a name that somebody asked for may hold one.
        return (
            "\n".join(dict.fromkeys(text for _, text in self.errors)).replace("\0", "\N{REPLACEMENT CHARACTER}") or None
        )

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to stop."""
        return any(code == Stopped.code for code, _ in self.errors)

    @property
    def is_busy(self) -> bool:
        """Whether nothing is wrong but that other runs held the rollups."""
        return bool(self.errors) and all(code == Busy.code for code, _ in self.errors)


def do(task: Task) -> Outcome:
    """Do what a job does; what goes wrong stands in the outcome."""
    outcome = Outcome()
    try:
        _DOES[task.job.kind](task, outcome)
    except DayfoldError as error:
        outcome.errors.append((error.code, str(error)))
        # What was asked for is wrong, and stays wrong; and for a dry run somebody waits, who may ask again.
        outcome.is_final = error.exit_status != 1 or bool(task.request.get("dry_run"))
    return outcome


# -- fold ------------------------------------------------------------------------------------------


def _fold(task: Task, outcome: Outcome) -> None:
    """Bring rollups up to date; of days that were asked for, fold those again that had been folded before."""
    days = task.days
    before = {name: _refoldable(task.verbs, name, days) for name in task.job.rollups} if days else {}
    if days:
        outcome.summary |= {"from": days.first, "to": days.last}
    done = _fold_rollups(task, outcome, task.job.rollups)
    rebuilt = outcome.summary["rebuilt"] = _earlier(task, "rebuilt")
    finished = {(one["rollup"], one["from"]) for one in rebuilt}
    for name in done:
        for part in before.get(name, ()):
            if (name, str(part.first)) not in finished and not outcome.is_stopped:
                _rebuild_part(task, outcome, name, part, rebuilt)
    if not rebuilt:
        del outcome.summary["rebuilt"]
    _check_folded(task, outcome)


def _rebuild_part(task: Task, outcome: Outcome, name: str, part: Days, rebuilt: list[dict[str, Any]]) -> None:
    try:
        result = task.verbs.rebuild(name, from_=part.first, to=part.last, progress=task.progress, stop=task.stop)
    except DayfoldError as error:
        outcome.errors.append((error.code, f"{name}: {error}"))
    else:
        rebuilt.append({"from": str(part.first), "to": str(part.last), **_of_rebuild(result)})


def _fold_rollups(task: Task, outcome: Outcome, rollups: Sequence[str]) -> list[str]:
    """Fold those that an earlier attempt has not folded whole; the names of all that are folded now."""
    entries = {one["rollup"]: one for one in _earlier(task, "rollups") if one["status"] == runs.DONE}
    left = [name for name in rollups if name not in entries]
    if left:
        for result in task.verbs.fold(left, progress=task.progress, stop=task.stop):
            entries[result.rollup] = _of_fold(result)
            if result.error:
                outcome.errors.append((result.code or "partial", f"{result.rollup}: {result.error}"))
    outcome.summary["rollups"] = list(entries.values())
    return [name for name, one in entries.items() if one["status"] == runs.DONE]


def _earlier(task: Task, what: str) -> list[dict[str, Any]]:
    return list((task.earlier or {}).get(what, ()))


def _verified_earlier(task: Task) -> list[dict[str, Any]]:
    return [one for one in _earlier(task, "verified") if "error" not in one]


def _refoldable(verbs: Verbs, name: str, days: Days) -> list[Days]:
    """The days of a range that were folded before and may be again."""
    with verbs.ledger.store.transaction(read_only=True) as session:
        version = versions.versions(verbs.ledger, session).get(name)
        if version is None or not version.has_days:
            return []
        states = coverage.ranges(verbs.ledger, session, name, version.number)
    known = union(one for found in states.values() for ranges in found.values() for one in ranges)
    covered = [part for one in known if (part := overlap(one, days))]
    sealed = coverage.sealed_days(states)
    return [part for one in covered for part in without(one, sealed) if part.first <= verbs.today]


# -- finalize --------------------------------------------------------------------------------------


def _finalize(task: Task, outcome: Outcome) -> None:
    """Fold everything, verify the days that ended and were never verified, and say which days stay open."""
    verbs = task.verbs
    _fold_rollups(task, outcome, task.job.rollups)
    outcome.summary["verified"] = _verified_earlier(task)
    asked = task.days
    with verbs.ledger.store.transaction(read_only=True) as session:
        since = ledger_jobs.states(verbs.ledger, session)[task.job.name].since
        # After an edit of a definition its whole history is new: the rotation of `verify` gets to what is older.
        since = max(since, verbs.today - MOST_BACK)
        due = coverage.unproved(verbs.ledger, session, asked.first if asked else since, verbs.today)
    for name in task.job.rollups:
        for days in due.get(name, ()):
            part = overlap(days, asked) if asked else days
            if part and not outcome.is_stopped:
                _verify_days(task, outcome, [name], part)
    _judge(outcome)
    _check_folded(task, outcome)
    with verbs.ledger.store.transaction(read_only=True) as session:
        known = [
            one for one in coverage.left_open(verbs.ledger, session, verbs.today) if one.rollup in task.job.rollups
        ]
    outcome.summary["open_days"] = len({(one.rollup, one.day) for one in known})
    outcome.summary["open"] = [
        {"rollup": one.rollup, "source": one.source, "day": one.day, "state": one.state, "reason": one.reason}
        for one in known[:MOST_OPEN]
    ]


# -- verify ----------------------------------------------------------------------------------------


def _verify(task: Task, outcome: Outcome) -> None:
    """Verify what was asked for, or as many of the least recently verified days as there is time for."""
    request = task.request
    outcome.summary["verified"] = _verified_earlier(task)
    names = sorted(task.job.touches(request))
    results = _verify_days(
        task, outcome, names, task.days, sample=request.get("sample"), heal=bool(request.get("heal"))
    )
    _judge(outcome)
    if not outcome.is_stopped:
        asked = [str(request["rollup"])] if request.get("rollup") else None
        _check(outcome, task.verbs.check(asked, after=results, stop=task.stop))


def _verify_days(
    task: Task,
    outcome: Outcome,
    names: Sequence[str],
    days: Days | None,
    *,
    sample: int | None = None,
    heal: bool = False,
) -> list[VerifyResult]:
    first, last = (days.first, days.last) if days else (None, None)
    results = task.verbs.verify(
        names, from_=first, to=last, sample=sample, heal=heal, progress=task.progress, stop=task.stop
    )  # fmt: skip
    for one in results:
        outcome.summary["verified"].append(_of_verify(one))
        if one.error:
            outcome.errors.append((one.code or "error", f"{one.rollup}: {one.error}"))
    return results


def _judge(outcome: Outcome) -> None:
    """Drift is an error, also what an earlier attempt found: the days that it has verified are not verified again."""
    drifted = {one["rollup"]: 0 for one in outcome.summary["verified"] if one["drifted"] > one["healed"]}
    for one in outcome.summary["verified"]:
        if one["rollup"] in drifted:
            drifted[one["rollup"]] += one["drifted"] - one["healed"]
    if drifted:
        outcome.is_final = not outcome.errors
        told = listing(f"{count:,} of {name}" for name, count in drifted.items())
        outcome.errors.append((DRIFT, f"Cells differ from their sources: {told}."))


# -- checks ----------------------------------------------------------------------------------------


def _check_folded(task: Task, outcome: Outcome) -> None:
    """Run the checks of what this attempt and those before it folded; what was published stays, whatever they find."""
    if not outcome.is_stopped:
        folds = [checks.Ended(one["rollup"], one["status"], one["run_id"]) for one in outcome.summary["rollups"]]
        _check(outcome, task.verbs.check_folded(folds, stop=task.stop))


def _check(outcome: Outcome, found: Sequence[Verdict]) -> None:
    """A check of severity error that did not pass is an error, and trying again would find the same."""
    if not found:
        return
    outcome.summary["checks"] = [_of_check(one) for one in found]
    if checks.has_failed(found):
        outcome.is_final = outcome.is_final or not outcome.errors
        told = "; ".join(f"{one.name}: {one.reason}" for one in found if checks.has_failed([one]))
        outcome.errors.append((CHECK, f"Checks did not pass: {told}"))


# -- the others ------------------------------------------------------------------------------------


def _rebuild(task: Task, outcome: Outcome) -> None:
    """Fold days again that somebody asked for."""
    request, days = task.request, task.days
    first, last = (days.first, days.last) if days else (None, None)
    result = task.verbs.rebuild(
        request["rollup"], from_=first, to=last, where=request.get("where") or (),
        dry_run=bool(request.get("dry_run")), allow_empty=bool(request.get("allow_empty")), progress=task.progress, stop=task.stop,
    )  # fmt: skip
    outcome.summary |= {
        **({"from": first, "to": last} if days else {}),
        "dry_run": result.dry_run,
        "rollups": [_of_rebuild(result)],
    }


def _enrich(task: Task, outcome: Outcome) -> None:
    """Apply today's rules to the events of some days; yesterday's, where none were asked for."""
    yesterday = task.verbs.today - ONE_DAY
    days = task.days or Days(yesterday, yesterday)
    found = task.verbs.event_log.renew(days.first, days.last, progress=task.progress)
    outcome.summary |= {"from": days.first, "to": days.last, "events": found.events, "changed": found.changed}


def _retain(task: Task, outcome: Outcome) -> None:
    """Delete what is past its time, and finish erasures that ended in the middle."""
    found = task.verbs.retain(yes=True, stop=task.stop)
    outcome.summary["deleted"] = {one.what: one.count for one in found.things}
    outcome.summary["deleted"]["exports"] = task.verbs.exports.tidy()
    if found.sealed:
        outcome.summary["sealed"] = found.sealed
    if found.kept:
        outcome.summary["kept"] = found.as_object()["kept"]


def _erase(task: Task, outcome: Outcome) -> None:
    """Erase a person; the summary has counts, and the certificate is where the erasure is."""
    made = task.verbs.erase_asked(int(task.request["erasure"]))
    outcome.summary |= {
        "erasure": made.erasure, "rows": made.rows, "refolded": made.refolded, "sealed": made.sealed, "rewritten": made.rewritten,
    }  # fmt: skip
    for one in made.refolded:
        if one["error"]:
            outcome.errors.append(("partial", f"{one['rollup']}: {one['error']}"))


def _export(task: Task, outcome: Outcome) -> None:
    """Write an export that somebody asked for; what it is of stands with it, and not here."""
    outcome.summary["export"] = task.verbs.exports.work(task.request["export"], task.progress, task.stop)


_DOES = {
    FOLD: _fold,
    FINALIZE: _finalize,
    VERIFY: _verify,
    REBUILD: _rebuild,
    ENRICH: _enrich,
    RETAIN: _retain,
    EXPORT: _export,
    ERASE: _erase,
}


# -- words of a summary ----------------------------------------------------------------------------


def _of_fold(one: FoldResult) -> dict[str, Any]:
    found = {
        "rollup": one.rollup, "status": one.status, "run_id": one.run_id, "days": sum(map(len, one.days)), "cells": one.cells,
        "rows_inserted": one.rows_inserted, "rows_updated": one.rows_updated, "rows_deleted": one.rows_deleted,
        "seconds": one.seconds,
    }  # fmt: skip
    return found | ({"error": one.error} if one.error else {}) | ({"warnings": one.warnings} if one.warnings else {})


def _of_rebuild(one: RebuildResult) -> dict[str, Any]:
    return {
        "rollup": one.rollup, "status": runs.DONE, "run_id": one.run_id, "days": one.days, "cells": one.cells,
        "rows_inserted": one.rows_inserted, "rows_updated": one.rows_updated, "rows_deleted": one.rows_deleted,
        "seconds": one.seconds,
    }  # fmt: skip


def _of_verify(one: VerifyResult) -> dict[str, Any]:
    found = {
        "rollup": one.rollup, "run_id": one.run_id, "days": one.days, "cells": one.cells, "drifted": one.drifted,
        "healed": one.healed, "left_out": one.left_out, "seconds": one.seconds,
    }  # fmt: skip
    return found | ({"error": one.error} if one.error else {})


def _of_check(one: Verdict) -> dict[str, Any]:
    # Without the numbers of a comparison: who sees jobs sees no numbers.
    return {
        "check": one.name, "severity": one.severity, "verdict": one.verdict, "reason": one.reason, "offending": one.offending,
        "seconds": one.seconds,
    }  # fmt: skip
