"""What an application does with its events: takes them in, brings back those that were held, renews them. Below the facade.

Weakness: events that were sent before a process ended stand in its journal until the next one that writes takes them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dayfold.define.catalog import Catalog
from dayfold.define.events import TABLE
from dayfold.engines.databases import Databases
from dayfold.errors import Busy, UnknownName, UsageError
from dayfold.fold import eventlog
from dayfold.fold.fold import Progress
from dayfold.ledger import events as event_log
from dayfold.ledger import intake as counts
from dayfold.ledger import quarantine
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, suggestion
from dayfold.settings import Settings

if TYPE_CHECKING:
    from dayfold.collect.anew import Renewed
    from dayfold.collect.intake import Intake, Onlooker, Ticket
    from dayfold.fold.track import Tracking
    from dayfold.ledger.quarantine import HeldEvent

#: How long a fold waits for events that were acknowledged and are not in the log yet.
_SETTLE_S = 10
#: Held events that are replayed in one transaction.
_PORTION = 1_000


class App(Protocol):
    """What the desk needs of the application."""

    ledger: Ledger
    catalog: Catalog
    databases: Databases
    settings: Settings

    @property
    def today(self) -> dt.date:
        """The present UTC day."""
        ...

    def tracking(self) -> Tracking:
        """The triggers of tables."""
        ...

    def before_closing(self, end: Callable[[], None]) -> None:
        """Call something when the application is closed."""
        ...


@dataclass(frozen=True, slots=True)
class EventStatus:
    """How the event log stands.

    Attributes:
        events: How many it holds, about; ``bytes``: of the log and the table of its ids, with indexes.
        held: Events in quarantine, by reason.
        taken: For each of the last days, by outcome, how many events came.
        waiting: Events that are acknowledged and not in the log yet; ``failing``: why, where the log does not take them.
    """

    events: int
    bytes: int
    held: dict[str, int]
    taken: dict[dt.date, dict[str, int]]
    waiting: int = 0
    failing: str = ""


@dataclass(slots=True)
class Replayed:
    """What became of held events: how many are in the log now, how many stay, and why, by what is said of them."""

    replayed: int = 0
    kept: int = 0
    why: dict[str, int] = field(default_factory=dict)

    def stays(self, reason: str) -> None:
        """One more stays."""
        self.kept += 1
        self.why[reason] = self.why.get(reason, 0) + 1


class EventDesk:
    """The verbs of the event log of one application.

    Args:
        app: The application; its copies share the desk's intake.
    """

    def __init__(self, app: App, intake: list[Intake] | None = None) -> None:
        self.app = app
        #: What takes events in, in this process, where anything does; shared with desks of other editions of the definitions.
        self._intake: list[Intake] = intake if intake is not None else []

    def of(self, app: App) -> EventDesk:
        """The desk of another edition of the same application."""
        return EventDesk(app, self._intake)

    @property
    def is_used(self) -> bool:
        """Whether the definitions have anything to do with events."""
        return eventlog.is_used(self.app.catalog)

    @property
    def intake(self) -> Intake | None:
        """What takes events in, in this process."""
        return self._intake[0] if self._intake else None

    def make(self) -> None:
        """The log is there as the definitions say, what is written to it marks what it changes, and what waited for it is in it."""
        eventlog.make(self.app.ledger, self.app.catalog)
        eventlog.tend(self.app.ledger, self.app.tracking())
        folder = self.app.databases.store.journal
        if self.intake is not None:
            # What was acknowledged before is folded too; where the log does not take it now, what it has is.
            with contextlib.suppress(Busy):
                self.intake.settle(_SETTLE_S)
        elif folder is not None and folder.is_dir():
            self._made().recover()

    def open(self, tell: Callable[[list[Ticket]], None], onlooker: Onlooker | None = None) -> Intake:
        """What takes events in, started; it ends with the application. The ledger is ready.

        Args:
            tell: Called with tickets that are settled, in another thread.
            onlooker: Sees the events that are new in the log.
        """
        self.make()
        found = self._made(tell, onlooker)
        found.start()
        self._intake.append(found)
        self.app.before_closing(self.close)
        return found

    def close(self) -> None:
        """No events are taken in any more; again is harmless."""
        while self._intake:
            self._intake.pop().stop()

    def settle(self, timeout: float = 60) -> None:
        """All that was acknowledged is in the log, and nothing of it stands in the journal. Raises Busy."""
        folder = self.app.databases.store.journal
        if self.intake is not None:
            self.intake.settle(timeout)
        elif self.is_used and folder is not None and folder.is_dir():
            self._made().recover()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Events are taken and not written by this process; afterwards it looks all visitors up again.

        Without a journal they are written: whoever sends waits for that, and nothing is known of visitors between two groups.
        """
        if self.intake is None or self.intake.journal is None:
            yield
        else:
            with self.intake.paused():
                yield

    def redefine(self) -> None:
        """Events are taken in as these definitions say, from now on."""
        from dayfold.collect.reading import Reader

        if self.intake is not None:
            self.make()
            entities = self.app.catalog.entities.types
            self.intake.use(entities, Reader(entities).entities_of)

    def _made(
        self, tell: Callable[[list[Ticket]], None] = lambda tickets: None, onlooker: Onlooker | None = None
    ) -> Intake:
        from dayfold.collect.attribution import Attributor
        from dayfold.collect.intake import Intake
        from dayfold.collect.journal import Journal
        from dayfold.collect.reading import Reader

        app = self.app
        entities = app.catalog.entities.types
        folder = app.databases.store.journal
        return Intake(
            app.ledger, entities, Reader(entities).entities_of, journal=Journal(folder) if folder is not None else None,
            attribution=Attributor(app.ledger), most_bytes=app.settings.collect.waiting_mb * 1_000_000, tell=tell,
            onlooker=onlooker,
        )  # fmt: skip

    # -- verbs -----------------------------------------------------------------------------------

    def status(self, days: int = 7) -> EventStatus:
        """How the event log stands; empty before there is one."""
        ledger = self.app.ledger
        if not ledger.exists() or not event_log.exists(ledger):
            return EventStatus(0, 0, {}, {})
        since = self.app.today - dt.timedelta(days=days - 1)
        with ledger.store.transaction(read_only=True) as session:
            sizes = ledger.store.sizes(session, [TABLE, event_log.IDS])
            held = quarantine.counts(ledger, session)
            taken: dict[dt.date, dict[str, int]] = {}
            for day, outcome, events in counts.counted(ledger, session, since):
                taken.setdefault(day, {})[outcome] = events
        figures = self.intake.figures if self.intake else None
        return EventStatus(
            sizes.get(TABLE, (0, 0))[0], sum(size for _, size in sizes.values()), held, taken,
            figures.waiting_events if figures else 0, figures.failing if figures else "",
        )  # fmt: skip

    def quarantined(
        self, *, reason: str | None = None, event_type: str | None = None, limit: int = 100, after: str = ""
    ) -> list[HeldEvent]:
        """Events that are held, the oldest first; ``after``: the id of the last one of the page before. Raises UsageError."""
        _check_reason(reason)
        ledger = self.app.ledger
        if not ledger.exists():
            return []
        with ledger.store.transaction(read_only=True) as session:
            return quarantine.listed(ledger, session, reason=reason, event_type=event_type, limit=limit, after=after)

    def replay(self, *, event_type: str | None = None, progress: Callable[[int], None] = lambda done: None) -> Replayed:
        """Held events that the definitions know by now are in the log, and not held any more.

        An event whose id another one has stays where it is.

        Args:
            event_type: Only those of one type.
            progress: Told how many were looked at.
        """
        import msgspec

        from dayfold.collect.event import Event
        from dayfold.collect.intake import Record, Ticket
        from dayfold.collect.reading import Reader, Unreadable

        self._check_used()
        app = self.app
        self.make()
        reader = Reader(app.catalog.entities.types)
        found, after, looked = Replayed(), "", 0
        while page := self.quarantined(event_type=event_type, limit=_PORTION, after=after):
            after = page[-1].id
            looked += len(page)
            record = Record(reader.names)
            for one in page:
                if one.reason == quarantine.CONFLICT:
                    found.stays(one.detail)
                    continue
                event = msgspec.json.decode(one.body, type=Event)
                event.props = msgspec.json.decode(event.properties)
                complaint = app.catalog.event_types.complaint(event.event_type, event.props)
                try:
                    event.entities = reader.entities_of(event)
                except Unreadable as error:
                    complaint = complaint or str(error)
                event.props = {}
                if complaint is not None:
                    found.stays(complaint)
                    continue
                record.events.append(event)
                record.released.append(one.id)
            if record.events:
                self._take(Ticket(record, 0, waits=True))
                found.replayed += len(record.events)
            progress(looked)
        return found

    def _take(self, ticket: Ticket) -> None:
        """A ticket's events are in the log."""
        if self.intake is None:
            self._made().take_now(ticket)
        else:
            self.intake.offer(ticket)
            self.intake.settle()
        if ticket.error is not None:
            raise ticket.error

    def renew(
        self,
        from_: dt.date | str,
        to: dt.date | str,
        *,
        progress: Progress | None = None,
    ) -> Renewed:
        """Stored events of a range of days are as they would be if they came in now: today's lists and rules. Their cells are marked.

        Args:
            from_: First day: a date, ``YYYY-MM-DD``, ``today``, ``yesterday`` or ``-7d`` (UTC).
            to: Last day, included.
            progress: Called after each portion with ``enrich``, events done and events in all.
        """
        from dayfold.collect.anew import renew
        from dayfold.collect.enrich import open_enricher
        from dayfold.days import Days, as_day

        self._check_used()
        app = self.app
        days = Days(as_day(from_, app.today), as_day(to, app.today))
        app.ledger.ready()
        self.make()
        enricher = open_enricher(app.settings.collect)
        try:
            return renew(
                app.ledger,
                enricher,
                days,
                progress=lambda done, whole: progress("enrich", done.events, whole) if progress else None,
            )
        finally:
            if self.intake is not None:
                self.intake.forget()

    def _check_used(self) -> None:
        if not self.is_used:
            raise UsageError(
                "These definitions say nothing of events.",
                hint="Say events.columns() in metrics.py, or fold a rollup from events.",
            )


def _check_reason(reason: str | None) -> None:
    if reason is not None and reason not in quarantine.REASONS:
        raise UnknownName(
            f"There is no reason '{reason}'{suggestion(reason, quarantine.REASONS)}.",
            hint=f"Reasons: {listing(quarantine.REASONS)}",
        )
