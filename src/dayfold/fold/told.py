"""What a rollup's sources tell of their changes, found without writing anything: for live answers. Fold floor."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from dayfold.define.function import FunctionSource
from dayfold.define.source import Table
from dayfold.engines.databases import Databases
from dayfold.errors import DayfoldError, SourceFailed
from dayfold.fold.binding import Bound
from dayfold.fold.decide import failing
from dayfold.fold.fetch import has_table
from dayfold.fold.follow import of_levels
from dayfold.fold.track import Tracking
from dayfold.ledger import cursors
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup
from dayfold.plan.follow import levels_tag
from dayfold.plan.sql import Statement


@dataclass(slots=True)
class Told:
    """How the sources of one rollup stand.

    Attributes:
        failed: Those that cannot be read, with the reason.
        untracked: Those that should report their changes and do not at present.
        renewed: Those whose triggers are not the ones of the last fold.
        logs: Those that log their changes in a database of their own, with the query for what is logged.
        entities: Of these, by the tag of their marks, the select of the entities whose changed levels are logged.
    """

    failed: dict[str, DayfoldError] = field(default_factory=dict)
    untracked: set[str] = field(default_factory=set)
    renewed: set[str] = field(default_factory=set)
    logs: dict[str, Statement] = field(default_factory=dict)
    entities: dict[str, exp.Select] = field(default_factory=dict)


def told(databases: Databases, ledger: Ledger, bound: Bound, rollup: BoundRollup) -> Told:
    """How each source of a rollup stands now."""
    found = Told(failed=dict(failing(rollup, bound)))
    if rollup.functions:
        with ledger.store.transaction(read_only=True) as session:
            missing = [one for one in rollup.functions if not has_table(ledger.store, session, one)]
        found.failed |= {one.label: _never_fetched(one) for one in missing}
    tracked = [one for one in rollup.definition.sources if one.is_tracked and one.label not in found.failed]
    if not tracked:
        return found
    tracking = Tracking(databases, ledger, bound)
    number = tracking.numbers()[rollup.name]
    for source in tracked:
        try:
            _look(databases, ledger, tracking, rollup, number, source, found)
        except DayfoldError as error:
            if databases.of(source) is databases.store and not isinstance(error, SourceFailed):
                raise
            found.failed[source.label] = SourceFailed(error.message, source=source.label, hint=error.hint)
    return found


def _never_fetched(source: FunctionSource) -> SourceFailed:
    return SourceFailed(f"{source.label} was never fetched.", source=source.label, hint="Run: dayfold fold")


def _look(
    databases: Databases,
    ledger: Ledger,
    tracking: Tracking,
    rollup: BoundRollup,
    number: int,
    source: Table,
    found: Told,
) -> None:
    standing = tracking.standing(rollup, number, source)
    if standing.missing:
        found.untracked.add(source.label)
        return
    with ledger.store.transaction(read_only=True) as session:
        known = cursors.stamp(ledger, session, rollup.name, number, source.label) if ledger.version(session) else None
    if known != standing.stamp:
        found.renewed.add(source.label)
    if databases.of(source) not in (databases.store, databases.store.home):
        found.logs[source.label] = tracking.logged(rollup, number)
        for scan in of_levels(rollup, source):
            found.entities[levels_tag(rollup.name, scan)] = tracking.logged_entities(rollup, number, scan)
