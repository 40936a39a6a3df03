"""What the next fold would do and read, found without writing anything. Fold floor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dayfold.clock import Clock
from dayfold.days import Days
from dayfold.define.fingerprint import digest
from dayfold.engines.base import Store
from dayfold.engines.databases import Databases
from dayfold.errors import DayfoldError
from dayfold.fold.binding import Bound
from dayfold.fold.fold import Folder, failing
from dayfold.ledger import versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, identity
from dayfold.plan.scan import facts_per_day


@dataclass(slots=True)
class RollupPlan:
    """What the next fold of one rollup would do.

    Attributes:
        action: ``create`` (first fold), ``new version`` (its definition was edited) or ``refresh``.
        edits: What was edited, one sentence each.
        days: The days to compute; ``facts``: how many facts the sources have on them.
        failing: Sources that cannot be read now, with the reason.
    """

    rollup: str
    table: str
    action: str
    edits: list[str]
    days: list[Days]
    facts: int
    failing: dict[str, str] = field(default_factory=dict)

    def as_object(self) -> dict[str, Any]:
        """The plan for JSON."""
        return {
            "rollup": self.rollup, "table": self.table, "action": self.action, "edits": self.edits,
            "days": sum(map(len, self.days)), "ranges": [{"from": days.first, "to": days.last} for days in self.days],
            "facts": self.facts, "failing": self.failing,
        }  # fmt: skip


def plan(databases: Databases, ledger: Ledger, clock: Clock, bound: Bound) -> list[RollupPlan]:
    """The plan of each rollup, in the order of the definitions."""
    known: dict[str, versions.Version] = {}
    with ledger.store.transaction(read_only=True) as session:
        version = ledger.version(session)
        if version is not None:
            ledger.check(session, version)
            known = versions.versions(ledger, session)
    folder = Folder(databases, ledger, clock, bound, chunk_rows=1, wait_s=0)
    return [
        _plan(folder, rollup, known.get(rollup.name), failing(rollup, bound), version is None)
        for rollup in bound.rollups
    ]


def _plan(
    folder: Folder,
    rollup: BoundRollup,
    version: versions.Version | None,
    failed: dict[str, DayfoldError],
    fresh_store: bool,
) -> RollupPlan:
    mark = digest(identity(rollup))
    if version is None:
        action, number = "create", 1
    elif version.fingerprint == mark:
        action, number = "refresh", version.number
    else:
        action, number = "new version", version.number + 1 if version.building == mark else 0
    work = folder.decide(rollup, number, failed, fresh=fresh_store)
    facts = sum(
        _facts(folder.databases.of(scan.source), scan, work.days) for scan in rollup.scans if scan.label not in failed
    )
    edits = edits_of(version.definition, identity(rollup)) if version and action == "new version" else []
    reasons = {source: error.message for source, error in failed.items()}
    return RollupPlan(rollup.name, rollup.shape.name, action, edits, work.days, facts, reasons)


def _facts(database: Store, scan: Any, ranges: list[Days]) -> int:
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
    types, now = old.get("types", {}), new.get("types", {})
    return found + [
        f"column {name} is now {now[name]}, was {types[name]}"
        for name in now
        if types.get(name, now[name]) != now[name]
    ]
