"""Move: a whole store is copied into another one, compared cell by cell, and gone to. Fold floor.

In this order, each step one transaction or several that are noted: the store that goes is written to no more; the other one is begun,
under a version that nobody works with; every table is copied, in portions; every table is compared; receipts are made anew by the
other engine's hash, the triggers on tables of ours are made and the long view is; the store that goes is marked as gone; the other
one is whole.

Invariant: at every moment at most one of the two stores takes what is written, and a store that is read is whole. A move that ended
anywhere, in whatever way, is gone on with by the same call.

Weakness: a table is sorted once by its identity to find where portions end, and those of a table whose identity no index leads to are
each found by reading it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dayfold.define.counter import CounterDef
from dayfold.define.source import Table
from dayfold.errors import Busy, StoreMoved, UsageError
from dayfold.fold.fold import Progress, StopCheck, never
from dayfold.fold.move_copy import Copier
from dayfold.fold.move_receipts import renew
from dayfold.fold.move_tables import Moved, left_counters, moved_tables, versions_of
from dayfold.ledger import jobs, leases, moves
from dayfold.ledger.ledger import AWAY, MOVED, MOVED_HINTS, MOVING, Ledger, moved_words
from dayfold.ledger.migrations import TABLES
from dayfold.ledger.moves import DONE, FILLING, HERE, WHOLE, Part, Way
from dayfold.names import listing
from dayfold.plan.bind import BoundRollup
from dayfold.plan.sql import column

#: What is there already, or will be.
PLANNED, DID, ALREADY = "planned", "moved", "moved before"
#: Parts that are no table.
_COMPARED, _NAMED = "all compared", "sources named"


@dataclass(slots=True)
class MoveResult:
    """What a move did, or would do.

    Attributes:
        status: ``planned``, ``moved``, or ``moved before`` where nothing was left to do.
        tables: Those with rows, each with how many.
        resumed: Whether an earlier call had begun it.
        notes: What does not go by itself, and what to do about it.
    """

    source: str
    target: str
    status: str = PLANNED
    tables: dict[str, int] = field(default_factory=dict)
    resumed: bool = False
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(self.tables.values())


@dataclass(slots=True)
class Mover:
    """Moves one store.

    Attributes:
        source: What the store that goes is called, ``target`` the other one: each told from any other place, without a secret.
        settle: What was taken in and acknowledged is in the store.
        tend: Makes, over the new store, what its tables of ours need to be written to: triggers, and the long view; what could not be.
        standing: The sources that stand in the store which goes; ``database``: what definitions will call it, where that is said.
        rows_at_once: So many rows in a portion, whatever a table's columns are.
    """

    here: Ledger
    there: Ledger
    source: str
    target: str
    rollups: Sequence[BoundRollup]
    counters: Sequence[CounterDef]
    settle: Callable[[], None]
    tend: Callable[[], list[str]]
    progress: Progress | None = None
    stop: StopCheck = never
    standing: Sequence[Table] = ()
    database: str | None = None
    rows_at_once: int | None = None

    def run(self, *, dry_run: bool = False) -> MoveResult:
        """The store is in the other place, whole and the same; or, ``dry_run``, what would be moved.

        Raises:
            UsageError: where the other store has something else in it, or this one is being moved elsewhere.
            Busy: where somebody works with it; StoreMoved: where it has gone elsewhere; CopyDiffers.
        """
        began = time.perf_counter()
        result = MoveResult(self.source, self.target)
        way = self._way_out()
        other = self._way_in(way)
        result.resumed = way is not None
        if other is not None and other.state == WHOLE:
            result.status = ALREADY
            return result
        if way is None:
            self._check_quiet()
            if not dry_run:
                self.settle()
        tables = self._tables(result)
        if other is None:
            self._check_room(tables)
        if dry_run:
            return result
        way = way or self._leave(tables)
        if other is None:
            self._begin(way)
        if way.state == MOVING:
            result.notes += self._fill(tables, way, result)
            self._gone(tables, way)
        with self.there.store.transaction() as session:
            moves.end(self.there, session, Way(WHOLE, way.mark, self.source))
            # Nothing of it is frozen; where other programs read a copy of what is published, that is told again.
            self.there.store.freeze(session, [], None)
        result.status, result.seconds = DID, round(time.perf_counter() - began, 4)
        return result

    # -- looking ---------------------------------------------------------------------------------

    def _way_out(self) -> Way | None:
        """Where the store that goes is going. Raises UsageError, StoreMoved where that is another place."""
        source, target = self.source, self.target
        with self.here.store.transaction(read_only=True) as session:
            if not self.here.is_there(session):
                raise UsageError(f"There is no store at {source}, so that nothing is there to be moved.")
            way = moves.way(self.here, session, AWAY)
        if way is None or way.place == target:
            return way
        if way.state == MOVED:
            raise StoreMoved(moved_words(source, way.state, way.place), hint=MOVED_HINTS[way.state])
        raise UsageError(
            f"The store {source} is being moved to {way.place}, and not to {target}.",
            hint="Go on with that one, or give it up: dayfold move --abandon",
        )

    def _way_in(self, out: Way | None) -> Way | None:
        """How the other store stands in this move; None where nothing of it is there. Raises UsageError where something else is."""
        target = self.target
        with self.there.store.transaction(read_only=True) as session:
            version = self.there.version(session)
            way = moves.way(self.there, session, HERE) if version is not None else None
            if way is not None and out is not None and way.mark == out.mark:
                return way
            if way is not None and way.state == FILLING:
                raise UsageError(
                    f"The store {target} holds a part of another move, which is not this one.",
                    hint="Drop what that one made, or name an empty place.",
                )
            if version is not None:
                self.there.check(session, version)
            names = [name for name in TABLES if name != "dayfold__store"]
            if version is not None and not moves.is_fresh(self.there, session, names):
                raise UsageError(
                    f"There is a store at {target} already, with rows of its own.",
                    hint="Name an empty database, another file, or another schema of it: --schema NAME.",
                )
        if out is not None and out.state == MOVED:
            raise StoreMoved(moved_words(self.here.store.address, out.state, out.place), hint=MOVED_HINTS[out.state])
        return None

    def _check_quiet(self) -> None:
        """Nobody works with the store that goes. Raises Busy."""
        with self.here.store.transaction(read_only=True) as session:
            found = [f"{rollup} is held by {holder}" for rollup, holder in leases.held(self.here, session)]
            found += [f"the job {job} runs" for job in jobs.beating(self.here, session)]
        if found:
            raise Busy(
                f"The store {self.source} is being worked with: {'; '.join(found)}.",
                hint="Stop `dayfold serve`, let what runs finish, and run it again.",
            )

    def _tables(self, result: MoveResult) -> list[Moved]:
        with self.here.store.transaction(read_only=True) as session:
            tables = moved_tables(self.here, session, self.rollups, self.counters)
            for one in tables:
                [(rows,)] = one.session(session).rows(one.portions(self.here).count())
                if rows:
                    result.tables[one.name] = int(rows)
            left = left_counters(self.here, session, self.counters)
        if left:
            result.notes.append(
                f"Counters that no definition names stay behind, because nobody knows their tables: {listing(left)}. "
                "Write them down again to take them along."
            )
        return tables

    def _check_room(self, tables: Sequence[Moved]) -> None:
        """No table of the other store has the name of one that comes. Raises UsageError."""
        coming = [one for one in tables if one.name not in TABLES]
        with self.there.store.transaction(read_only=True) as session:
            taken = [
                one.name for one in coming if one.store(self.there).stored_columns(one.session(session), [one.name])
            ]
        if taken:
            raise UsageError(
                f"{self.target} has tables already that are called like ours: {', '.join(taken)}.",
                hint="Drop or rename them, or name another schema: --schema NAME.",
            )

    # -- doing -----------------------------------------------------------------------------------

    def _leave(self, tables: Sequence[Moved]) -> Way:
        """Nobody writes to the store that goes any more. Raises Busy where somebody does at this moment."""
        way = Way(MOVING, secrets.token_hex(8), self.target)
        self._freeze(tables, way)
        try:
            self._check_quiet()
        except Busy:
            thaw(self.here, [one.name for one in tables])
            raise
        return way

    def _freeze(self, tables: Sequence[Moved], way: Way) -> None:
        """The store that goes has this way out, and whoever writes to it is told so."""
        why = moved_words(self.here.store.address, way.state, way.place)
        with self.here.store.transaction() as session:
            moves.go(self.here, session, AWAY, way)
            self.here.store.freeze(session, _frozen([one.name for one in tables]), why)

    def _begin(self, way: Way) -> None:
        """The other store has a ledger that nobody works with, with the key and the numbers of the one that goes."""
        if not self.there.exists():
            self.there.make_once(self.there.exists, self.there.migrate)
        at = self.here.home.dialect.piece("iso_micros", _x=column("created_at"))
        with self.here.store.transaction() as session:
            key = self.here.store_key(session)
            [(created_at,)] = session.rows(self.here.sql("select _at from dayfold__store", _at=at))
            numbers = moves.numbers(self.here, session)
        with self.there.store.transaction() as session:
            entered = Way(FILLING, way.mark, self.source)
            moves.begin(self.there, session, entered, key, created_at, numbers)

    def _fill(self, tables: Sequence[Moved], way: Way, result: MoveResult) -> list[str]:
        """Every table is there and the same, and what goes with them is; what could not be made."""
        whole, done = 2 * max(result.rows, 1), 0

        def told(rows: int) -> None:
            nonlocal done
            done += rows
            if self.progress:
                self.progress("move", min(done, whole), whole)

        copier = Copier(self.here, self.there, way.mark, self.stop, self.rows_at_once)
        known = self._parts(way)
        copied = [copier.copy(one, known.get(one.name), told) for one in tables]
        if _COMPARED not in known:
            for one, part in zip(tables, copied, strict=True):
                copier.compare(one, part, told)
            # From here on the copy becomes what the original is not: a store of its own engine.
            self._note(way, _COMPARED)
        self._renew_receipts(way)
        remarks = self.tend()
        self._name_sources(way)
        return remarks

    def _note(self, way: Way, name: str) -> None:
        with self.there.store.transaction() as session:
            moves.note(self.there, session, way.mark, Part(name, DONE, 0, 0, 0))

    def _name_sources(self, way: Way) -> None:
        """Sources that stood in the store which goes are known by the database that it is from now on."""
        if self.database is None or _NAMED in self._parts(way):
            return
        with self.there.store.transaction() as session:
            moves.name_database(self.there, session, self.standing, self.database)
            moves.note(self.there, session, way.mark, Part(_NAMED, DONE, 0, 0, 0))

    def _parts(self, way: Way) -> dict[str, Part]:
        with self.there.store.transaction(read_only=True) as session:
            return moves.parts(self.there, session, way.mark)

    def _renew_receipts(self, way: Way) -> None:
        known = self._parts(way)
        with self.here.store.transaction(read_only=True) as session:
            rollups = versions_of(self.here, session, self.rollups)
        for rollup, number in rollups:
            name = f"receipts {rollup.name}"
            if name in known:
                continue
            self.stop()
            with self.there.store.transaction() as session:
                count = renew(self.here, self.there, session, rollup, number)
                moves.note(self.there, session, way.mark, Part(name, DONE, 0, count, 0))

    def _gone(self, tables: Sequence[Moved], way: Way) -> None:
        """The store that goes has gone: first, so that at no moment both are written to."""
        self._freeze(tables, Way(MOVED, way.mark, way.place))


def abandon(here: Ledger, rollups: Sequence[BoundRollup], counters: Sequence[CounterDef]) -> str:
    """A move is given up: the store is written to again; where it would have gone.

    Raises:
        UsageError: where it is not being moved; StoreMoved: where it has gone.
    """
    with here.store.transaction(read_only=True) as session:
        way = moves.way(here, session, AWAY) if here.is_there(session) else None
        if way is None:
            raise UsageError(f"The store {here.store.address} is not being moved.")
        if way.state == MOVED:
            raise StoreMoved(moved_words(here.store.address, way.state, way.place), hint=MOVED_HINTS[way.state])
        names = [one.name for one in moved_tables(here, session, rollups, counters)]
    thaw(here, names)
    return way.place


def thaw(here: Ledger, names: Sequence[str]) -> None:
    """A store is written to again, and goes nowhere."""
    with here.store.transaction() as session:
        here.store.freeze(session, _frozen(names), None)
        moves.stay(here, session, AWAY)


def _frozen(names: Sequence[str]) -> list[str]:
    """What is not written to while a store goes: all that travels, and what a run needs to begin."""
    return [*names, "dayfold__store", "dayfold__leases"]
