"""Which jobs there are, and when each is due. Jobs floor.

A rollup with a schedule of its own is folded by a job of its own, and by no other but `finalize`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from dayfold.days import ONE_DAY
from dayfold.define.catalog import Catalog
from dayfold.errors import UnknownName
from dayfold.fold.eventlog import is_used
from dayfold.ledger import jobs as ledger_jobs
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, suggestion
from dayfold.schedule import OFF, Schedule
from dayfold.settings import Settings

FOLD, FINALIZE, VERIFY, ENRICH, RETAIN = "fold", "finalize", "verify", "enrich", "retain"
REBUILD, EXPORT, ERASE = "rebuild", "export", "erase"

#: A job or a rule that a process has is noted so often; one that was not noted for longer is gone, and not only new to some replicas.
SEEN_EVERY = dt.timedelta(minutes=5)
GONE_AFTER = dt.timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Job:
    """One job.

    Attributes:
        name: ``fold``, ``fold:ShopDaily``, ``finalize``, ``verify``, ``retain``, ``rebuild``, ``export`` or ``erase``.
        kind: The same without a rollup.
        rollups: Those it works on, by class name.
        description: What it does, one sentence.
    """

    name: str
    kind: str
    schedule: Schedule
    rollups: tuple[str, ...]
    description: str

    def first_due(self, now: dt.datetime) -> dt.datetime | None:
        """When it is due where it was never seen before: at once, or at its first slot where there is nothing to catch up on."""
        after = self.schedule.after(now)
        return after if after is None or self.kind in (ENRICH, RETAIN) else now

    def touches(self, request: Mapping[str, object]) -> frozenset[str]:
        """The rollups that a run of it works on."""
        named = request.get("rollup")
        return frozenset([str(named)] if named else self.rollups)


def jobs(catalog: Catalog, settings: Settings) -> dict[str, Job]:
    """Every job of an application, by name.

    >>> from dayfold.define.catalog import catalog
    >>> [one.name for one in jobs(catalog([]), Settings()).values()]
    ['finalize', 'verify', 'retain', 'rebuild', 'export', 'erase']
    """
    words = settings.schedule
    every = tuple(catalog.rollups)
    own = {name: one for name, one in catalog.rollups.items() if one.schedule is not None}
    plain = tuple(name for name in every if name not in own)
    found = []
    if plain:
        described = "Brings the rollups without a schedule of their own up to date."
        found.append(Job(FOLD, FOLD, Schedule(words.fold, words.timezone), plain, described))
    for name, one in own.items():
        schedule = Schedule(one.schedule or OFF, one.timezone or words.timezone)
        found.append(Job(f"{FOLD}:{name}", FOLD, schedule, (name,), f"Brings {name} up to date."))
    found += [
        Job(
            FINALIZE, FINALIZE, Schedule(words.finalize, words.timezone), every,
            "Folds all rollups, verifies the days that ended since, and reports those that stay open.",
        ),
        Job(VERIFY, VERIFY, Schedule(words.verify, words.timezone), every, "Verifies the least recently verified days."),
        *(
            [Job(ENRICH, ENRICH, Schedule(words.enrich, words.timezone), (), "Applies today's rules to yesterday's events.")]
            if is_used(catalog)
            else []
        ),
        Job(
            RETAIN, RETAIN, Schedule(words.retain, words.timezone), (),
            "Deletes events and the service's own history that are past their time.",
        ),
        Job(REBUILD, REBUILD, Schedule(OFF), every, "Folds days again that somebody asked for; it has no schedule."),
        Job(EXPORT, EXPORT, Schedule(OFF), (), "Writes the exports that somebody asked for; it has no schedule."),
        Job(ERASE, ERASE, Schedule(OFF), every, "Erases persons that somebody named; it has no schedule."),
    ]  # fmt: skip
    return {one.name: one for one in found}


def named(found: Mapping[str, Job], name: str) -> Job:
    """A job by its name. Raises UnknownName."""
    if name in found:
        return found[name]
    raise UnknownName(f"There is no job '{name}'{suggestion(name, found)}.", hint=f"Jobs: {listing(found)}")


def register(ledger: Ledger, found: Mapping[str, Job]) -> None:
    """The ledger knows every job; one whose schedule was edited is due as it says now, and one that no process has had for long never.

    Again is harmless, and needed now and then: another process may have seen to it by other definitions.
    """
    now = ledger.clock.now()
    with ledger.store.transaction(read_only=True) as session:
        known = ledger_jobs.states(ledger, session)
    for name, one in known.items():
        if name not in found and one.schedule and now - one.seen_at >= GONE_AFTER:
            # Nobody runs it; should it come back, it is due as its schedule says then.
            ledger.retried(lambda: ledger_jobs.reschedule(ledger, name, one.schedule, "", None))  # noqa: B023  # called now
    quiet = [name for name in sorted(found) if name in known and now - known[name].seen_at >= SEEN_EVERY]
    if quiet:
        ledger.retried(lambda: ledger_jobs.touch(ledger, quiet))
    for job in found.values():
        state, written = known.get(job.name), str(job.schedule)
        if state is None:
            due = job.first_due(now)
            since = now.date() - ONE_DAY
            ledger.retried(lambda: ledger_jobs.register(ledger, job.name, written, due, since))  # noqa: B023  # called now
        elif state.schedule != written:
            due = job.schedule.after(now)
            before = state.schedule
            ledger.retried(lambda: ledger_jobs.reschedule(ledger, job.name, before, written, due))  # noqa: B023  # called now
