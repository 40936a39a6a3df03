"""What changed in the sources since the last fold, as marks in the ledger. Fold floor.

Invariant: a change is marked before anything moves past it: marks and the cursor's position are one transaction, and marks
of another database are deleted there only after they are in the ledger.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.define.source import Table
from dayfold.engines.base import Session, Source
from dayfold.engines.databases import Databases
from dayfold.engines.scans import leads_to_levels
from dayfold.errors import DayfoldError, SourceFailed
from dayfold.fold import follow, track
from dayfold.ledger import coverage, cursors, leases, marks
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, Scan
from dayfold.plan.scan import changed_since
from dayfold.plan.sql import Statement, Values, alias, column, statement, table

if TYPE_CHECKING:
    import pyarrow as pa

#: How far an application's clock may be behind its database's.
OVERLAP = dt.timedelta(seconds=10)
#: The same where open transactions cannot be seen: on a standby, and in DuckDB.
BLIND_OVERLAP = dt.timedelta(minutes=10)
#: How long a first fold waits for transactions that began before it.
_PATIENCE_SECONDS = 2.0
_FOUND = "dayfold_found__"
#: What the virtual ids of prepared transactions begin with.
_PREPARED = "-1/"


@dataclass(slots=True)
class Discovery:
    """What was found out about a rollup's sources.

    Attributes:
        untracked: Sources that should tell their changes and do not at present, with the reason.
        tracked: Sources whose triggers do, with the tables that these stand on.
    """

    untracked: dict[str, str] = field(default_factory=dict)
    tracked: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """A source's database at one moment: its clock, the transactions open then and where the oldest began, if known."""

    now: dt.datetime
    waiting: tuple[str, ...]
    oldest: dt.datetime | None
    overlap: dt.timedelta


class Discoverer:
    """Finds the changes of one rollup's sources, under its lease."""

    def __init__(
        self, databases: Databases, ledger: Ledger, rollup: BoundRollup, version: int, lease: leases.Lease
    ) -> None:
        self.databases = databases
        self.ledger = ledger
        self.rollup = rollup
        self.version = version
        self.lease = lease

    def discover(self, failed: dict[str, DayfoldError], tracking: track.Tracking, *, fresh: bool) -> Discovery:
        """Mark what changed in the sources that can tell; sources that fail here are added to ``failed``.

        ``fresh``: none of the rollup's days was folded before.
        """
        found = Discovery()
        for source in self.rollup.definition.sources:
            if source.label in failed:
                continue
            try:
                if source.is_tracked:
                    self._triggers(source, tracking, found, fresh=fresh)
                elif source.cursor is not None:
                    self._cursor(source, fresh=fresh)
                for scan in follow.of_levels(self.rollup, source):
                    follow.follow(self.databases, self.ledger, self.rollup, self.version, self.lease, scan)
            except DayfoldError as error:
                if self.databases.of(source) is self.databases.store and not isinstance(error, SourceFailed):
                    raise
                failed[source.label] = SourceFailed(error.message, source=source.label, hint=error.hint)
        return found

    # -- triggers --------------------------------------------------------------------------------

    def _triggers(self, source: Table, tracking: track.Tracking, found: Discovery, *, fresh: bool) -> None:
        """Marks that triggers wrote in another database come here; those of the store are here already."""
        standing = tracking.standing(self.rollup, self.version, source)
        ledger, name, version = self.ledger, self.rollup.name, self.version
        if not standing.missing:
            found.tracked[source.label] = standing.tables
        else:
            found.untracked[source.label] = standing.missing
            if standing.older:
                with ledger.store.transaction() as session:
                    leases.fence(ledger, session, self.lease)
                    marks.forget_of(ledger, session, name, version, standing.older)
        with ledger.store.transaction(read_only=True) as session:
            known = cursors.stamp(ledger, session, name, version, source.label)
        if known != standing.stamp:
            with ledger.store.transaction() as session:
                leases.fence(ledger, session, self.lease)
                cursors.keep_stamp(ledger, session, name, version, source.label, standing.stamp)
                if standing.stamp is not None and not fresh and coverage.ranges(ledger, session, name, version):
                    # Nobody told what changed before these triggers were there.
                    marks.mark(ledger, session, name, version, None, "tracking began")
        if standing.stamp is not None and self.databases.of(source) not in (
            self.databases.store,
            self.databases.store.home,
        ):
            self._collect(source, tracking)

    def _collect(self, source: Table, tracking: track.Tracking) -> None:
        """Move this rollup's marks from the log beside the source into the ledger."""
        database = self.databases.of(source)
        with database.transaction(read_only=True) as session:
            read = session.arrow(tracking.logged(self.rollup, self.version), marks.COLUMNS_WITH_REASON)
            ids = read["id"].to_pylist()
            shown = []
            for scan in follow.of_levels(self.rollup, source):
                logged = tracking.logged_entities(self.rollup, self.version, scan)
                entities, cells = follow.shown_beside(database, session, scan, logged)
                ids += entities
                shown += [cells] if cells is not None else []
        if not ids:
            return
        with self.ledger.store.transaction() as session:
            leases.fence(self.ledger, session, self.lease)
            session.load(_FOUND, marks.COLUMNS_WITH_REASON, read)
            marks.take_over(self.ledger, session, self.rollup.name, self.version, _FOUND)
            for cells in shown:
                follow.mark_loaded(self.ledger, session, self.rollup, self.version, source, cells)
        forget_beside(database, ids)

    # -- cursors ---------------------------------------------------------------------------------

    def _cursor(self, source: Table, *, fresh: bool) -> None:
        """Mark the cells of rows that were stamped since the cursor's position, and move it."""
        ledger, name, version = self.ledger, self.rollup.name, self.version
        database = self.databases.of(source)
        with ledger.store.transaction(read_only=True) as session:
            known = cursors.cursor(ledger, session, name, version, source.label)
        moment = self._moment(database) if known else self._first_moment(database)
        if known is None:
            with ledger.store.transaction() as session:
                leases.fence(ledger, session, self.lease)
                start = cursors.Cursor(_settled(moment), _iso(moment.now), moment.waiting)
                cursors.move(ledger, session, name, version, source.label, start)
                if not fresh and coverage.ranges(ledger, session, name, version):
                    # Folded before, by lookback: nobody read the stamps of what changed since.
                    marks.mark(ledger, session, name, version, None, "reading by stamps began")
            return
        waiting = cursors.still_open(known.waiting, moment.waiting)
        if known.waiting and not waiting and any(one.startswith(_PREPARED) for one in moment.waiting):
            # One that was open may have been prepared meanwhile, and goes by another name until it commits.
            waiting = tuple(one for one in moment.waiting if one.startswith(_PREPARED))
        moved = cursors.Cursor(known.position, known.reached, waiting)
        if not waiting:
            # Whoever was open when the source was last looked at has ended before this look.
            passed = _iso(dt.datetime.fromisoformat(known.reached) - moment.overlap)
            position = max(filter(None, [known.position, passed]))
            moved = cursors.Cursor(position, _iso(moment.now), moment.waiting)
            if not moment.waiting:
                moved = cursors.Cursor(_iso(moment.now - moment.overlap), _iso(moment.now), ())
        scans = [scan for scan in self.rollup.scans if scan.source == source]
        apart = None
        if known.position is not None and database is not ledger.store:
            with database.transaction(read_only=True) as session:
                apart = [self._changed(session, scan, known.position) for scan in scans]
        with ledger.store.transaction() as session:
            leases.fence(ledger, session, self.lease)
            self._mark(session, source, scans, known.position, apart)
            cursors.move(ledger, session, name, version, source.label, moved)

    def _mark(
        self, session: Session, source: Table, scans: list[Scan], position: str | None, apart: list[pa.Table] | None
    ) -> None:
        reason = f"{source.label} changed"
        if position is None:
            marks.mark(self.ledger, session, self.rollup.name, self.version, None, reason)
            return
        for n, scan in enumerate(scans):
            values = Values()
            if apart is None:
                led = leads_to_levels(self.ledger.store, session, scan)
                cells = changed_since(scan, position, values, led=led)
                with session.within(source):
                    marks.mark(self.ledger, session, self.rollup.name, self.version, cells, reason, values)
            elif apart[n].num_rows:
                session.load(_FOUND, marks.CELL, apart[n])
                loaded = exp.select(column("key"), column("day")).from_(table(_FOUND))
                marks.mark(self.ledger, session, self.rollup.name, self.version, loaded, reason, values)

    def _changed(self, session: Session, scan: Scan, position: str) -> pa.Table:
        values = Values()
        led = leads_to_levels(self.databases.of(scan.source), session, scan)
        with session.within(scan.source):
            return session.arrow(Statement(changed_since(scan, position, values, led=led), values), marks.CELL)

    def _first_moment(self, database: Source) -> Moment:
        """A moment, if possible one with no transaction open: what one of them will bring must be read later."""
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            moment = self._moment(database)
            if not moment.waiting or moment.oldest or time.monotonic() > give_up:
                return moment
            time.sleep(0.05)

    def _moment(self, database: Source) -> Moment:
        """The database's clock first, and only then the transactions that are open."""
        clock = database.dialect.piece("clock")
        ask = exp.select(alias(database.dialect.piece("iso_micros", _x=clock), "now"))
        with database.transaction(read_only=True) as session:
            now = dt.datetime.fromisoformat(session.rows(Statement(ask))[0][0])
            if database.dialect.name != "postgres":
                return Moment(now, (), None, BLIND_OVERLAP)
            if session.rows(statement("select pg_is_in_recovery()"))[0][0]:
                return Moment(now, (), None, BLIND_OVERLAP)
            waiting = session.rows(statement(_OPEN))
        begun = [row[1] for row in waiting]
        oldest = dt.datetime.fromisoformat(min(begun)) if begun and None not in begun else None
        return Moment(now, tuple(sorted(row[0] for row in waiting)), oldest, OVERLAP)


def forget_beside(database: Source, ids: list[int]) -> None:
    """Marks that are in the ledger now are deleted beside their source: exactly those that were read."""
    with database.transaction() as session:
        session.execute(track.forget_logged(ids))


#: Every transaction that is open in this database and may write, with its beginning where we may know it.
_OPEN = """
select distinct l.virtualtransaction, to_char(a.xact_start, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
from pg_locks as l left join pg_stat_activity as a on a.pid = l.pid
where l.locktype in ('virtualxid', 'transactionid') and l.granted and l.pid is distinct from pg_backend_pid()
and (a.datid is null or a.datid = (select oid from pg_database where datname = current_database()))
and coalesce(a.backend_type, 'client backend') not in ('autovacuum worker', 'autovacuum launcher', 'walsender')
"""


def _settled(moment: Moment) -> str | None:
    """The stamp that every later commit will be past, or None where an open transaction may bring any."""
    if not moment.waiting:
        return _iso(moment.now - moment.overlap)
    return _iso(moment.oldest - moment.overlap) if moment.oldest else None


def _iso(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds")
