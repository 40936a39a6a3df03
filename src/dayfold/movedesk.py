"""What an application does to move its store: asks the mover, and says what does not go by itself. Below the facade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dayfold.define.catalog import Catalog
from dayfold.define.function import FunctionSource
from dayfold.define.source import Folded, Own, Table
from dayfold.engines import connect
from dayfold.engines.base import Store
from dayfold.engines.databases import Databases
from dayfold.errors import Busy, DayfoldError, UsageError
from dayfold.fold import eventlog
from dayfold.fold.binding import Bound
from dayfold.fold.fold import Progress, StopCheck, never
from dayfold.fold.longview import LongView
from dayfold.fold.move import Mover, MoveResult, abandon
from dayfold.fold.move_tables import versions_of
from dayfold.fold.track import Tracking
from dayfold.ledger import cursors
from dayfold.ledger.ledger import Ledger
from dayfold.names import is_plain, listing
from dayfold.settings import Settings

if TYPE_CHECKING:
    from dayfold.counterdesk import CounterDesk
    from dayfold.eventdesk import EventDesk


class App(Protocol):
    """What the desk needs of the application."""

    ledger: Ledger
    catalog: Catalog
    databases: Databases
    settings: Settings
    event_log: EventDesk
    counters: CounterDesk

    def bind(self) -> Bound:
        """The rollups over their sources."""
        ...

    def elsewhere(
        self, url: str, schema: str | None = None, *, ledger: str | None = None, ledger_schema: str | None = None
    ) -> App:
        """The same application over another store."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


_MEMORY = ":memory:"
#: What addresses of files and folders begin with.
_FILES = ("duckdb:///", "chdb:///")
#: The schemas that are meant where none is named.
_USUAL = ("main", "public")
#: Sources that are read from the store wherever it is.
_OURS = (Own, Folded, FunctionSource)


@dataclass(slots=True)
class MoveDesk:
    """Moves the store of one application.

    Attributes:
        rows_at_once: So many rows in a portion, whatever a table's columns are.
    """

    app: App
    rows_at_once: int | None = None
    _stamps: dict[tuple[str, int, str], str] = field(default_factory=dict)

    def abandon(self) -> MoveResult:
        """A move is given up."""
        app = self.app
        place = abandon(app.ledger, app.bind().rollups, app.counters.defined())
        note = f"What {place} holds of it is of no use any more: drop it before you move there again."
        return MoveResult(app.databases.store.address, place, "abandoned", notes=[note])

    def move(
        self,
        to: str | None,
        *,
        schema: str | None = None,
        ledger: str | None = None,
        ledger_schema: str | None = None,
        sources: str | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        stop: StopCheck = never,
    ) -> MoveResult:
        """The store is in another place. Raises UsageError where none is named, or not all of it."""
        if to is None:
            raise UsageError("Nothing says where the store should go.", hint="Name an empty place: --to URL")
        _check_ledger(to, ledger, ledger_schema)
        if sources is not None and not is_plain(sources):
            raise UsageError(f"A database of dayfold.toml has a plain name, got {sources!r}.")
        app = self.app
        if app.event_log.intake is not None:
            raise Busy("This process takes events in for the store that is to be moved.", hint="Stop that first.")
        there = app.elsewhere(to, schema, ledger=ledger, ledger_schema=ledger_schema)
        try:
            self._check_other(there)
            bound = app.bind()
            tracking = Tracking(app.databases, app.ledger, bound)
            self._check_untracked(tracking)
            self._note_stamps(bound, tracking)
            standing = _standing_here(bound, app.databases)
            mover = Mover(
                app.ledger, there.ledger, place_of(app.databases.store), place_of(there.databases.store), bound.rollups,
                app.counters.defined(), self._settle, lambda: self._tend(there), progress, stop, standing, sources, self.rows_at_once,
            )  # fmt: skip
            result = mover.run(dry_run=dry_run)
        finally:
            there.close()
        result.notes += self._notes(bound, standing, sources, there)
        return result

    def _check_other(self, there: App) -> None:
        """The other place is not this one."""
        here, other = self.app.databases.store, there.databases.store
        here.open()
        other.open()
        if any(one.address.endswith(_MEMORY) for one in (other, other.home)):
            raise UsageError("What is in memory ends with this command.", hint="Name a file or a database: --to URL")
        if place_of(here) == place_of(other):
            raise UsageError(f"{place_of(here)} is the store already.", hint="Name another place: --to URL")
        shared = {_side_of(one) for one in (here, here.home)} & {_side_of(one) for one in (other, other.home)}
        if shared:
            raise UsageError(
                f"{min(shared)} holds a part of the store that is to be moved.",
                hint="Name an empty database, another file, or another schema of it: --schema NAME, --ledger-schema NAME.",
            )

    def _check_untracked(self, tracking: Tracking) -> None:
        """No table of somebody's has triggers that mark in the store which goes. Raises UsageError."""
        found = []
        for tracked in tracking.wanted(tracking.numbers()):
            source = tracked.feeds[0].scan.source
            if not isinstance(source, Own) and tracking.databases.of(source) is tracking.databases.store:
                found += [tracked.name] if tracking.state(tracked)[0] != "missing" else []
        if found:
            raise UsageError(
                f"Triggers on {listing(found)} mark in the store that is to be moved.",
                hint=f"Remove them: dayfold track remove {' '.join(found)}. After the move, name the database of these tables under "
                "[databases] and install them anew: dayfold track install",
            )

    def _settle(self) -> None:
        """What was taken in and acknowledged is in the store: events, and increments of counters."""
        self.app.event_log.settle()
        if self.app.counters.is_used:
            self.app.counters.flush()

    # -- triggers on tables of ours ----------------------------------------------------------------

    def _note_stamps(self, bound: Bound, tracking: Tracking) -> None:
        """The feedings of rollups from tables of ours that have missed nothing since days were first covered."""
        ledger = self.app.ledger
        if not ledger.exists():
            return
        with ledger.store.transaction(read_only=True) as session:
            rollups = versions_of(ledger, session, bound.rollups)
        for rollup, number in rollups:
            for source in _own(rollup.definition.sources):
                stamp = tracking.standing(rollup, number, source).stamp
                with ledger.store.transaction(read_only=True) as session:
                    known = cursors.stamp(ledger, session, rollup.name, number, source.label)
                if stamp is not None and known == stamp:
                    self._stamps[rollup.name, number, source.label] = stamp

    def _tend(self, there: App) -> list[str]:
        """The tables of ours have their triggers in the new store, which miss nothing either; the long view is made. What could not be."""
        try:
            remarks = self._tend_tables(there) if self.app.event_log.is_used or self.app.counters.is_used else []
        except DayfoldError as error:
            remarks = [
                f"Triggers on tables of ours are made by the next fold, which computes what they feed anew: {error.message}"
            ]
        name = there.settings.store.long_view
        reason = LongView(there.ledger, there.catalog, name).refresh() if name else None
        return [*remarks, *([reason] if reason else [])]

    def _tend_tables(self, there: App) -> list[str]:
        bound = there.bind()
        tracking = Tracking(there.databases, there.ledger, bound)
        eventlog.tend(there.ledger, tracking)
        tracking.look_again()
        ledger = there.ledger
        with ledger.store.transaction(read_only=True) as session:
            rollups = versions_of(ledger, session, bound.rollups)
        for rollup, number in rollups:
            for source in _own(rollup.definition.sources):
                stamp = tracking.standing(rollup, number, source).stamp
                if stamp is not None and (rollup.name, number, source.label) in self._stamps:
                    with ledger.store.transaction() as session:
                        cursors.keep_stamp(ledger, session, rollup.name, number, source.label, stamp)
        return []

    # -- what does not go by itself ----------------------------------------------------------------

    def _notes(self, bound: Bound, standing: Sequence[Table], sources: str | None, there: App) -> list[str]:
        new = there.databases.store
        notes = [f'In dayfold.toml: [store] url = "{new.address}", with its user and password.']
        if there.settings.store.db_schema:
            notes[0] += f' And: schema = "{there.settings.store.db_schema}".'
        if new.home is not new:
            notes[0] += f' [ledger] url = "{new.home.address}", likewise.'
            if there.settings.ledger.db_schema:
                notes[0] += f' And there: schema = "{there.settings.ledger.db_schema}".'
        elif self.app.databases.store.home is not self.app.databases.store:
            notes[0] += " Take [ledger] out: the ledger stands beside the rows from now on."
        if standing:
            notes.append(_left(sorted(one.title for one in standing), sources))
        if any(rollup.definition.owner for rollup in bound.rollups):
            notes.append("Row-level policies are made anew: dayfold rls install")
        notes.append("Grants, and indexes and views that others made, stay behind.")
        return notes


def _check_ledger(to: str, ledger: str | None, ledger_schema: str | None) -> None:
    """A ledger is named for a store that needs one of its own, and for no other. Raises UsageError."""
    if connect.is_clickhouse(to):
        if ledger is None:
            raise UsageError(
                "A store in ClickHouse has its ledger in another database, and nothing says in which.",
                hint="Name an empty one: --ledger postgresql://USER@HOST/DATABASE, or duckdb:///FILE where one process does everything.",
            )
        if connect.is_clickhouse(ledger):
            raise UsageError(
                "The ledger cannot stand in ClickHouse: it needs transactions.",
                hint="Name a place in PostgreSQL or a DuckDB file: --ledger URL",
            )
    elif ledger is not None or ledger_schema is not None:
        raise UsageError(
            "Only a store in ClickHouse has its ledger in another database; in any other it stands beside the rows.",
            hint="Leave --ledger out.",
        )


def place_of(store: Store) -> str:
    """What tells a place from any other, without any secret: of a store in two databases both."""
    place = _side_of(store)
    return place if store.home is store else f"{place} with its ledger at {_side_of(store.home)}"


def _side_of(store: Store) -> str:
    """What tells one database of a store from any other: the whole path of a file, and the schema where it is not the usual one."""
    begin, address = next((one for one in _FILES if store.address.startswith(one)), ""), store.address
    if begin and not address.endswith(_MEMORY):
        path, mark, words = address.removeprefix(begin).partition("?" if begin == "chdb:///" else "\0")
        address = begin + str(Path(path).expanduser().resolve()) + mark + words
    is_said = store.schema in _USUAL or address.endswith((f"/{store.schema}", f"?database={store.schema}"))
    return address if is_said else f"{address}, schema {store.schema}"


def _left(names: Sequence[str], sources: str | None) -> str:
    """What becomes of sources that stood in the store."""
    where = "stands in the old store, and stays" if len(names) == 1 else "stand in the old store, and stay"
    name = sources or "NAME"
    text = f'{listing(names)} {where} there: name it in dayfold.toml, [databases.{name}] url, and say database="{name}" in each Table(…).'
    if sources is None:
        text += " The next fold then takes them for other sources, and builds the rollups over them anew; with --sources NAME it would not."
    return text


def _own(sources: Sequence[Table]) -> list[Own]:
    """The sources that are tables of ours."""
    return [source for source in sources if isinstance(source, Own)]


def _standing_here(bound: Bound, databases: Databases) -> list[Table]:
    """The sources that are read from the store and are not of our making."""
    sources = [source for rollup in bound.rollups for source in rollup.definition.sources]
    return [source for source in dict.fromkeys(sources) if source.database is None and not isinstance(source, _OURS)]
