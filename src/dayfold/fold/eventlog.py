"""The event log as a source: made with its columns, and with the triggers that mark the cells of what is written. Fold floor.

The log is a table of ours, so its triggers are tended without being asked for: they are what they should be before a fold reads
what they marked. Whoever writes to the log, and however, marks with the write.
"""

from __future__ import annotations

from collections.abc import Collection

from dayfold.define.catalog import Catalog
from dayfold.define.events import EventLog
from dayfold.define.source import Own
from dayfold.fold.install import Installer
from dayfold.fold.track import Tracking
from dayfold.ledger import events as event_log
from dayfold.ledger.ledger import Ledger


def is_used(catalog: Catalog) -> bool:
    """Whether a rollup is folded from events, or the definitions say anything of them."""
    return bool(catalog.entities.types or catalog.event_types.families) or any(
        isinstance(source, EventLog) for rollup in catalog.rollups.values() for source in rollup.sources
    )


def make(ledger: Ledger, catalog: Catalog) -> bool:
    """The log has the columns of the definitions; whether it was made just now. Raises StoreAltered."""
    before = event_log.exists(ledger)
    event_log.ensure(ledger, catalog.entities.types)
    return not before


def tend(ledger: Ledger, tracking: Tracking, without: Collection[str] = ()) -> None:
    """The triggers of tables that we keep, ``without`` some, feed every rollup over them, as its definition is now.

    Tables that are not there yet are left out: whoever makes them tends them then.
    """
    own = {
        source.label
        for one in tracking.bound.rollups
        for source in one.definition.sources
        if isinstance(source, Own) and source.label not in without and ledger.keeps(source.label)
    }
    for tracked in tracking.wanted(tracking.numbers()):
        if tracked.name.rpartition(".")[2] in own and tracking.state(tracked)[0] != "ok":
            ledger.retried(lambda name=tracked.name: Installer(tracking).install([name]))  # type: ignore[misc]
