"""What the next fold would do and read, found without writing anything. Fold floor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dayfold.clock import Clock
from dayfold.clock import today as today_of
from dayfold.days import Days, union
from dayfold.define.events import events
from dayfold.define.fingerprint import digest
from dayfold.engines.base import Source
from dayfold.engines.databases import Databases
from dayfold.fold.binding import Bound
from dayfold.fold.fetch import due_days
from dayfold.fold.fold import Folder
from dayfold.fold.follow import waiting
from dayfold.fold.told import told
from dayfold.ledger import coverage, fetches, runs, versions
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing
from dayfold.plan.bind import BoundRollup, identity
from dayfold.plan.scan import facts_per_day


@dataclass(slots=True)
class RollupPlan:
    """What the next fold of one rollup would do.

    Attributes:
        action: ``create`` (first fold), ``new version`` (its definition was edited) or ``refresh``.
        edits: What was edited, one sentence each.
        days: The days to compute whole; ``marked``: single cells of other days that are known to have changed.
        facts: How many facts the sources have on the days.
        rows: About how many rows will be computed, and ``seconds``: about how long that takes, by earlier runs; None
            where there is none to go by.
        fetches: How many days functions will be asked for. What they answer for known days is not known before.
        failing: Sources that cannot be read now, with the reason.
        warnings: What has to be known before the fold: triggers to install, sealed days, rollups that come first.
        is_lifelong: Whether it is a profile: its one day means all entities, and its cells are entities.
    """

    rollup: str
    table: str
    action: str
    edits: list[str]
    days: list[Days]
    facts: int
    marked: int = 0
    rows: int | None = None
    seconds: float | None = None
    fetches: dict[str, int] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    is_lifelong: bool = False

    def as_object(self) -> dict[str, Any]:
        """The plan for JSON."""
        return {
            "rollup": self.rollup, "table": self.table, "action": self.action, "edits": self.edits,
            "days": sum(map(len, self.days)), "ranges": [{"from": days.first, "to": days.last} for days in self.days],
            "marked": self.marked, "facts": self.facts, "rows": self.rows, "seconds": self.seconds,
            "fetches": self.fetches, "failing": self.failing, "warnings": self.warnings,
        }  # fmt: skip


def plan(databases: Databases, ledger: Ledger, clock: Clock, bound: Bound) -> list[RollupPlan]:
    """The plan of each rollup, each after those that it is folded from."""
    known: dict[str, versions.Version] = {}
    with ledger.store.transaction(read_only=True) as session:
        version = ledger.version(session)
        if version is not None:
            ledger.check(session, version)
            known = versions.versions(ledger, session)
    folder = Folder(databases, ledger, clock, bound, chunk_rows=1, wait_s=0)
    return [_plan(folder, rollup, known, version is None) for rollup in bound.rollups]


def _plan(folder: Folder, rollup: BoundRollup, known: dict[str, versions.Version], fresh_store: bool) -> RollupPlan:
    version, mark = known.get(rollup.name), digest(identity(rollup))
    if version is None:
        action, number = "create", 1
    elif version.fingerprint == mark:
        action, number = "refresh", version.number
    else:
        action, number = "new version", version.number + 1 if version.building == mark else 0
    found = RollupPlan(rollup.name, rollup.shape.name, action, [], [], 0, is_lifelong=rollup.is_lifelong)
    if first := [one.rollup.__name__ for one in rollup.definition.lowers if one.rollup.__name__ not in known]:
        found.warnings.append(f"it is folded from {listing(first)}, which is folded first; only then is known how much")
        return found
    now = told(folder.databases, folder.ledger, folder.bound, rollup)
    new = _unfetched(folder, rollup, number, found)
    missing = {one.label: now.failed.pop(one.label) for one in rollup.functions if one.label in now.failed}
    skipped = {**now.failed, **missing}
    work = folder.decider.decide(rollup, number, skipped, set(now.untracked), without_ledger=fresh_store)
    found.days, found.marked = union([*work.days, *new]), sum(work.cells.values())
    if action == "refresh":
        shown = waiting(folder.ledger, folder.databases, rollup, number)
        found.marked += sum(day <= work.today and not any(day in days for days in found.days) for day in shown)
    found.facts = sum(
        _facts(folder.databases.of(scan.source), scan, work.days) for scan in rollup.scans if scan.label not in skipped
    )
    found.failing = {source: error.message for source, error in skipped.items() if source not in missing}
    how = "read whole by every fold" if rollup.is_lifelong else "folded by lookback"
    found.warnings += [
        f"{source} is {how}: its triggers are missing, or older than the definitions; dayfold track install"
        for source in sorted(now.untracked - {events.label})
    ]
    if version is not None:
        _compare(folder, rollup, version, found)
    return found


def _unfetched(folder: Folder, rollup: BoundRollup, number: int, found: RollupPlan) -> list[Days]:
    """Count the days that functions will be asked for; those that they never were, and that will be folded."""
    today = today_of(folder.clock)
    with folder.ledger.store.transaction(read_only=True) as session:
        there = folder.ledger.version(session) is not None
        standings = fetches.standings(folder.ledger, session, rollup)
        states = coverage.ranges(folder.ledger, session, rollup.name, number) if there else {}
    new: list[Days] = []
    for source in rollup.functions:
        known = standings[source.label]
        days = due_days(source, rollup, known, coverage.sealed_days(states), today)
        if days:
            found.fetches[source.label] = len(days)
        new += [Days(day, day) for day in days if day not in known.by_day]
    return union(new)


def _compare(folder: Folder, rollup: BoundRollup, version: versions.Version, found: RollupPlan) -> None:
    """What the published version says of the work: edits, sealed days, rows and time."""
    ledger = folder.ledger
    with ledger.store.transaction(read_only=True) as session:
        states = coverage.ranges(ledger, session, rollup.name, version.number)
        sizes = ledger.store.sizes(session, [version.table])
        pace = runs.pace(ledger, session, rollup.name)
    if found.action == "new version":
        found.edits = edits_of(version.definition, identity(rollup))
        if sealed := coverage.sealed_days(states):
            found.warnings.append(
                f"the edit will be refused: {', '.join(map(str, sealed))} are sealed and can never be computed again"
            )
    covered = union(days for ranges in states.values() for one in ranges.values() for days in one)
    if covered:
        stored = sizes.get(version.table, (0, 0))[0]
        found.rows = found.marked + round(stored * sum(map(len, found.days)) / sum(map(len, covered)))
        found.seconds = round(pace * found.rows, 2) if pace else None


def _facts(database: Source, scan: Any, ranges: list[Days]) -> int:
    total = 0
    for days in ranges:
        with database.transaction(read_only=True) as session, session.within(scan.source):
            total += sum(count for _, count in session.rows(facts_per_day(scan, days)))
    return total


def edits_of(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What makes two definitions differ, one sentence each.

    >>> edits_of({"key": ["a"], "metrics": {"x": 1}}, {"key": ["a"], "metrics": {"y": 1}})
    ['metric y added', 'metric x removed']
    """
    words = ("key", "table", "day_column", "grain", "since")
    found = [
        f"{name} changed from {old.get(name)!r} to {new.get(name)!r}"
        for name in words
        if old.get(name) != new.get(name)
    ]
    before, after = old["metrics"], new["metrics"]
    found += [f"metric {name} added" for name in after if name not in before]
    found += [f"metric {name} changed" for name in after if name in before and before[name] != after[name]]
    found += [f"metric {name} removed" for name in before if name not in after]
    was, made = old.get("made", {}), new.get("made", {})
    found += [f"metric {name} added" for name in made if name not in was]
    found += [f"metric {name} changed" for name in made if name in was and was[name] != made[name]]
    found += [f"metric {name} removed" for name in was if name not in made]
    types, now = old.get("types", {}), new.get("types", {})
    return found + [
        f"column {name} is now {now[name]}, was {types[name]}"
        for name in now
        if types.get(name, now[name]) != now[name]
    ]
