"""What an application does with its counters: adds to them, flushes what waits, and accounts for every increment. Below the facade.

Weakness: increments that wait in the buffer of a process, while the live store is down, end with that process.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dayfold.clock import Clock
from dayfold.count.live import Add, LiveStore
from dayfold.define.catalog import Catalog
from dayfold.define.counter import Counter, CounterDef
from dayfold.errors import Busy, ConnectionFailed, DayfoldError, StoreAltered, UnknownName, UsageError
from dayfold.fold import eventlog
from dayfold.ledger import counted, counted_proof, held_counts
from dayfold.ledger.counted import ADDS
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, plural, suggestion
from dayfold.settings import Settings

if TYPE_CHECKING:
    from dayfold.count.adder import Adder, Figures, Outcome
    from dayfold.count.conservation import Conservation, Present
    from dayfold.count.flush import Flushed
    from dayfold.count.importing import Imported
    from dayfold.define.rollup import RollupDef
    from dayfold.fold.doctor import Finding
    from dayfold.fold.track import Tracking
    from dayfold.ledger.held_counts import Held

#: How long what is offered may take to reach the live store before a fold or an erasure goes on without it.
_SETTLE_S = 5.0
#: Seconds between two lines of the log about the same trouble of the flusher.
_QUIET_S = 60.0
_log = logging.getLogger("dayfold.count")


class App(Protocol):
    """What the desk needs of the application."""

    ledger: Ledger
    catalog: Catalog
    settings: Settings
    clock: Clock

    def tracking(self) -> Tracking:
        """The triggers of tables."""
        ...

    def before_closing(self, end: Callable[[], None]) -> None:
        """Call something when the application is closed."""
        ...


@dataclass(slots=True)
class Replayed:
    """What became of held rows: how many are applied now, and how many stay."""

    replayed: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class CounterStatus:
    """How a counter stands.

    Attributes:
        keys: Keys with a total; ``days``: what is pending of each day, in keys and totals.
        held: Rows in quarantine, by reason.
        law: What became of all that was added.
        last_flush: When something was applied last, in ISO text.
    """

    counter: str
    live: str
    keys: int
    pending_days: Mapping[str, int]
    held: Mapping[str, int]
    law: Conservation
    last_flush: str | None

    def as_words(self) -> dict[str, object]:
        """For JSON."""
        return {
            "counter": self.counter, "live": self.live, "keys": self.keys, "pending_days": dict(self.pending_days),
            "held": dict(self.held), "last_flush": self.last_flush, "law": self.law.as_words(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class CounterPresent:
    """How a counter stands at one moment, for whoever watches it.

    Attributes:
        keys: Keys with a total; ``held``: rows in quarantine, by reason; ``last_flush``: in ISO text.
    """

    counter: CounterDef
    live: str
    keys: int
    held: Mapping[str, int]
    last_flush: str | None
    stands: Present


def held_as_words(one: Held) -> dict[str, object]:
    """A held row for JSON; a key that is none stands as the one text that it is."""
    return {
        "id": one.id, "held_at": one.held_at, "reason": one.reason, "detail": one.detail, "day": one.day,
        "key": _read_text(one.key, lambda: [one.key], list), "owner": one.owner and _read_text(one.owner, lambda: one.owner),
        "amounts": dict(one.amounts),
    }  # fmt: skip


def _read_text(text: str, otherwise: Callable[[], object], kind: type = object) -> object:
    """What a text of JSON says; something else where it is none, or not of a kind: any program writes to the live store."""
    try:
        found = json.loads(text)
    except ValueError:
        return otherwise()
    return found if isinstance(found, kind) else otherwise()


class _Shared:
    """What all editions of one application have together in this process; ``app``: the first, which the others end before."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.lock = threading.RLock()
        self.live: LiveStore | None = None
        self.adder: Adder | None = None
        self.loop: _Loop | None = None
        self.made: set[str] = set()


class CounterDesk:
    """The verbs of the counters of one application.

    Args:
        app: The application; its copies share what is connected.
    """

    def __init__(self, app: App, shared: _Shared | None = None) -> None:
        self.app = app
        self._shared = shared or _Shared(app)

    def of(self, app: App) -> CounterDesk:
        """The desk of another edition of the same application."""
        return CounterDesk(app, self._shared)

    @property
    def is_used(self) -> bool:
        """Whether the definitions have a counter."""
        return bool(self.app.catalog.counters.by_name)

    def find(self, name: object) -> CounterDef | None:
        """A counter by its class, its name, or that of its class or tables; None where there is none."""
        return self.app.catalog.counters.find(name)

    def defined(self, names: Iterable[object] | None = None) -> list[CounterDef]:
        """Counters by name or class, all of them by default. Raises UnknownName."""
        known = self.app.catalog.counters
        if names is None:
            return list(known.by_name.values())
        found = []
        for name in names:
            one = known.find(name)
            if one is None:
                said = name.__name__ if isinstance(name, type) else str(name)
                raise UnknownName(
                    f"There is no counter '{said}'{suggestion(said, known.by_name)}.",
                    hint=f"Counters: {listing(known.by_name)}",
                )
            found.append(one)
        return found

    # -- what is connected -----------------------------------------------------------------------

    @property
    def live(self) -> LiveStore:
        """Where increments wait; nothing is asked of it yet."""
        shared = self._shared
        with shared.lock:
            if shared.live is None:
                shared.live = self._opened()
                shared.app.before_closing(self.close)
            return shared.live

    def _opened(self) -> LiveStore:
        settings = self.app.settings.live
        if settings.url is not None:
            from dayfold.count.valkey import Valkey

            return Valkey(settings.url.get_secret_value(), settings.prefix, settings.timeout_s)
        from dayfold.count.embedded import Embedded

        return Embedded(self._shared.app.ledger)

    @property
    def adder(self) -> Adder:
        """What sends the increments of this process."""
        shared = self._shared
        with shared.lock:
            if shared.adder is None:
                from dayfold.count.adder import Adder

                settings = self.app.settings.live
                live = self.live
                live.prepare()
                shared.adder = Adder(
                    live,
                    most_waiting=settings.buffer,
                    patience_s=settings.patience_s,
                    raises=settings.when_full == "raise",
                )
            return shared.adder

    @property
    def figures(self) -> Figures | None:
        """What this process has added, since it began; None before it added anything."""
        return self._shared.adder.figures if self._shared.adder else None

    def make(self) -> None:
        """The tables of counters are there as the definitions say, and what is written to them marks what it changes.

        Raises:
            StoreAltered: where a table is another one; those of the other counters are there.
        """
        self.app.catalog.check()
        self.app.ledger.ready()
        altered: dict[str, StoreAltered] = {}
        for one in self.defined():
            try:
                counted.ensure(self.app.ledger, one)
            except StoreAltered as error:
                altered[one.counted.label] = error
        eventlog.tend(self.app.ledger, self.app.tracking(), altered)
        self._shared.made |= {one.name for one in self.defined() if one.counted.label not in altered}
        for found in altered.values():
            raise found

    def _made(self, counters: Sequence[CounterDef]) -> None:
        """These have their tables, whatever becomes of the others. Raises StoreAltered."""
        if all(one.name in self._shared.made for one in counters):
            return
        try:
            self.make()
        except StoreAltered:
            if any(one.name not in self._shared.made for one in counters):
                raise

    def start(self) -> None:
        """Flush every ``[live] flush_s`` seconds from now on, in a thread of its own; again is harmless."""
        with self._shared.lock:
            if self._shared.loop is None:
                self._shared.loop = _Loop(self)
                self._shared.app.before_closing(self.stop)

    def stop(self) -> None:
        """Flush no more; again is harmless."""
        with self._shared.lock:
            loop, self._shared.loop = self._shared.loop, None
        if loop is not None:
            loop.stop()

    def redefine(self) -> None:
        """What flushes goes by these definitions, from now on."""
        self._shared.made.clear()
        if self._shared.loop is not None:
            self._shared.loop.desk = self

    def close(self) -> None:
        """What waits in this process is sent, and nothing is connected any more; again is harmless."""
        self.stop()
        shared = self._shared
        with shared.lock:
            adder, live = shared.adder, shared.live
            shared.adder = shared.live = None
        if adder is not None:
            adder.close()
        if live is not None:
            live.close()

    # -- adding ----------------------------------------------------------------------------------

    def read(
        self,
        counter: CounterDef,
        key: Mapping[str, object],
        amounts: Mapping[str, object],
        owner: object = None,
        at: dt.datetime | dt.date | str | None = None,
        id: str | None = None,
    ) -> Add:
        """One increment, checked. Raises UsageError."""
        from dayfold.count.reading import read

        remember = dt.timedelta(days=self.app.settings.live.remember_days)
        return read(counter, key, owner, amounts, at, id, self.app.clock.now(), remember)

    def _read_words(self, counter: object, words: dict[str, Any], **more: Any) -> Add:
        """An increment whose key columns and totals are named side by side."""
        [found] = self.defined([counter])
        key = {name: words.pop(name) for name in found.key if name in words}
        for name in words:
            if name not in found.totals:
                raise UsageError(
                    f"{found.name} has neither a key column nor a total '{name}'{suggestion(name, (*found.key, *found.totals))}.",
                    hint=f"Key: {listing(found.key)}. Totals: {listing(found.totals)}.",
                )
        return self.read(found, key, words, **more)

    def add(
        self,
        counter: type[Counter] | str,
        /,
        *,
        owner: object = None,
        at: dt.datetime | dt.date | str | None = None,
        id: str | None = None,
        **words: Any,
    ) -> Outcome:
        """Add to a counter's totals; the answer comes within ``[live] wait_ms``.

        Args:
            counter: Its class or name.
            owner: Whose the key is, where the counter has an owner. Without it the key keeps the owner that it has.
            at: When it happened; the UTC day of that moment is counted. A time without a zone is UTC. Default: now.
            id: What tells this increment from any other of the counter: one that is added again with it counts once.
            words: A value for each key column, and an amount for each total that is added to.

        Returns:
            ``accepted``: it is in the live store. ``repeated``: it was there. ``buffered``: the live store is down or slow, and it
            waits in this process. ``lost``: the buffer is full. ``overflow``: a sum would pass 64 bits.

        Raises:
            UsageError, UnknownName: for words that do not fit the counter; TooOld: with an id that is not
                remembered any more; Busy: where the buffer is full and ``[live] when_full`` is ``raise``.
        """
        return self.adder.add([self._read_words(counter, words, owner=owner, at=at, id=id)])[0]

    async def add_async(
        self,
        counter: type[Counter] | str,
        /,
        *,
        owner: object = None,
        at: dt.datetime | dt.date | str | None = None,
        id: str | None = None,
        **words: Any,
    ) -> Outcome:
        """`add`, for a caller on an event loop."""
        return (await self.added([self._read_words(counter, words, owner=owner, at=at, id=id)]))[0]

    def add_many(self, adds: Sequence[Add]) -> list[Outcome]:
        """Add what `read` has checked, all at once; the outcome of each."""
        return self.adder.add(adds) if adds else []

    async def added(self, adds: Sequence[Add]) -> list[Outcome]:
        """`add_many`, for a caller on an event loop."""
        from dayfold.count.adder import Outcome

        if not adds:
            return []
        answer = asyncio.wrap_future(self.adder.offer(adds))
        done, _ = await asyncio.wait([answer], timeout=self.adder.patience_s)
        return answer.result() if done else [Outcome.BUFFERED] * len(adds)

    def offer(self, adds: Sequence[Add]) -> Future[list[Outcome]]:
        """Add what `read` has checked and wait for nothing: the future gets the outcomes."""
        return self.adder.offer(adds)

    # -- flushing --------------------------------------------------------------------------------

    def flush(self, counters: Iterable[object] | None = None) -> list[Flushed]:
        """What waits in the live store is in the store: exactly once, whoever else flushes.

        Raises:
            ConnectionFailed: where the live store or the store does not answer; StoreError: where the store does not take what a
                counter has. Nothing is lost, and the other counters are flushed.
        """
        from dayfold.count.flush import Flushed, Flusher

        wanted = self.defined(counters)
        failed: DayfoldError | None = None
        try:
            self._made(wanted)
            if self._shared.adder is not None:
                self._shared.adder.settle(_SETTLE_S)
        except (StoreAltered, Busy) as error:
            # A table was altered, or a part of the live store is down: the others are flushed.
            failed = error
        found = [Flushed(one.name) for one in wanted if one.name in self._shared.made]
        for done in found:
            for live in self._lives():
                try:
                    Flusher(self.app.ledger, live).flush(self.app.catalog.counters.by_name[done.counter], done)
                except DayfoldError as error:
                    failed = failed or error
        if failed is not None:
            raise failed
        return found

    def _lives(self) -> list[LiveStore]:
        """Every live store that may hold increments: what waited in the store before there was another one is there still."""
        from dayfold.count.embedded import Embedded

        return [self.live, Embedded(self.app.ledger)] if self.live.is_apart else [self.live]

    def settle(self, rollups: Sequence[RollupDef]) -> dict[str, str]:
        """What was acknowledged for the counters that some rollups are folded from is in the store.

        Where the live store does not answer, the log says so, and each rollup over a counter has the reason.
        """
        wanted = [one for one in self.defined() if any(one.counted in rollup.sources for rollup in rollups)]
        if wanted:
            try:
                self.flush([one.name for one in wanted])
            except DayfoldError as error:
                _log.warning(
                    "Counters are folded without what waits in the live store: %s",
                    error.message,
                    extra={"action": "counts-not-flushed"},
                )
                said = f"what waits in the live store is not in it: {error.message}"
                return {one.name: said for one in rollups if any(counter.counted in one.sources for counter in wanted)}
        return {}

    def is_settled(self) -> bool:
        """Whether what was acknowledged is in the store; where it cannot be brought there, the log says so."""
        try:
            self.flush()
        except DayfoldError as error:
            _log.warning("Ids of increments are kept: %s", error.message, extra={"action": "counts-not-flushed"})
            return False
        return True

    # -- accounting ------------------------------------------------------------------------------

    def conservation(self, counters: Iterable[object] | None = None) -> list[Conservation]:
        """For each counter: accepted = applied + pending + quarantined, or what is missing."""
        from dayfold.count.conservation import conservation

        wanted = self.defined(counters)
        self._made(wanted)
        return [conservation(self.app.ledger, self._lives(), one) for one in wanted]

    def status(self) -> list[CounterStatus]:
        """How each counter stands."""
        from dayfold.count.conservation import conservation, pending_days

        self._made(self.defined())
        found = []
        for one in self.defined():
            law = conservation(self.app.ledger, self._lives(), one)
            days = pending_days(self.app.ledger, self._lives(), one) if law.reachable else {}
            with self.app.ledger.store.transaction(read_only=True) as session:
                keys, held, last = counted.standing(self.app.ledger, session, one)
            found.append(CounterStatus(one.name, self.live.address, keys, days, held, law, last))
        return found

    def present(self, keys: int = 10) -> list[CounterPresent]:
        """How each counter stands at this moment, with its greatest keys. Raises Busy, ConnectionFailed."""
        from dayfold.count.conservation import present

        wanted = self.defined()
        self._made(wanted)
        now = self.app.clock.now()
        found = []
        for one in wanted:
            stands = present(self.app.ledger, self._lives(), one, now.date(), keys)
            with self.app.ledger.store.transaction(read_only=True) as session:
                count, held, last = counted.standing(self.app.ledger, session, one)
            found.append(CounterPresent(one, self.live.address, count, held, last, stands))
        return found

    def prove(self, counter: CounterDef, *, heal: bool = False) -> list[str]:
        """What is wrong with a counter's tables: the law, the sums of its keys, its identities. Empty where nothing is.

        Args:
            counter: Whose tables are there.
            heal: Write the current totals anew where they are not the sums of the days.

        Raises:
            ConnectionFailed: where nothing is wrong but for what a live store that does not answer may hold.
        """
        from dayfold.count.conservation import conservation

        law = conservation(self.app.ledger, self._lives(), counter)
        wrong = [] if law.holds else [law.said]
        ledger = self.app.ledger

        def look() -> int:
            with ledger.store.transaction(read_only=not heal) as session:
                return counted_proof.unlike_totals(ledger, session, counter, heal=heal)

        if (unlike := ledger.retried(look)) and not heal:
            wrong.append(
                f"{unlike:,} keys of {counter.totals_table} have other totals than their days: dayfold verify --heal mends them"
            )
        with ledger.store.transaction(read_only=True) as session:
            for text, rows in counted_proof.breaking(ledger, session, counter).items():
                wrong.append(f"{rows:,} rows of {counter.counted.label} do not meet {text}")
        if not wrong and not law.reachable:
            raise self._unreachable()
        return wrong

    def remarks(self, counter: CounterDef) -> list[str]:
        """What has to be known of a counter's days though nothing is wrong."""
        with self.app.ledger.store.transaction(read_only=True) as session:
            keys = counted_proof.on_sealed_days(self.app.ledger, session, counter)
        said = f"counted on sealed days: {plural(keys, 'key')}, in {counter.totals_table} and in no row of a day"
        return [said] if keys else []

    def _unreachable(self) -> ConnectionFailed:
        return ConnectionFailed(
            f"The live store {self.live.address} does not answer, so that what waits there, or is lost, is not known.",
            hint="Try again later.",
        )

    def accept_loss(self, counters: Iterable[object] | None = None) -> list[Conservation]:
        """What is missing is known and taken note of: the law holds again, and says how much was lost. What it was before.

        Raises:
            ConnectionFailed: where the live store does not answer: what is lost is not known then; Busy: where more was lost
                meanwhile, or somebody else took note of it.
        """
        found, ledger = self.conservation(counters), self.app.ledger
        for law in found:
            if not law.reachable:
                raise self._unreachable()
        for law in found:
            if law.holds:
                continue
            [counter] = self.defined([law.counter])

            def note(counter: CounterDef = counter, law: Conservation = law) -> None:
                with ledger.store.transaction() as session:
                    missing = {**law.missing, ADDS: law.lost_adds}
                    if not counted_proof.accept_loss(ledger, session, counter, missing, law.lost, law.vanished):
                        raise Busy(f"More was lost of {counter.name}, or taken note of, meanwhile.", hint="Look again.")

            ledger.retried(note)
        return found

    def findings(self) -> list[Finding]:
        """What `doctor` says of the live store and of what was added."""
        from dayfold.fold.doctor import OK, PROBLEM, WARNING, Finding

        if not self.is_used:
            return []
        name = f"live store {self.live.address}"
        try:
            found = [
                Finding(OK if one.is_safe else WARNING, name, one.said, one.advice) for one in self.live.durability()
            ]
            laws = self.conservation() if all(counted.exists(self.app.ledger, one) for one in self.defined()) else []
        except DayfoldError as error:
            return [Finding(PROBLEM, name, error.message, error.hint)]
        for law in laws:
            if law.holds:
                found.append(
                    Finding(OK, f"counter {law.counter}", "all that was added is applied, pending or quarantined")
                )
            else:
                advice = f"dayfold counters check {law.counter}; once that is understood: dayfold counters accept-loss {law.counter}"
                found.append(Finding(PROBLEM, f"counter {law.counter}", law.said, advice))
        return found

    def held(self, counter: object, *, limit: int = 100, after: str = "") -> list[Held]:
        """Rows of a counter that are in quarantine, by their ids; ``after``: the id that the page before ended with."""
        [found] = self.defined([counter])
        if not self.app.ledger.exists():
            return []
        with self.app.ledger.store.transaction(read_only=True) as session:
            return held_counts.held_rows(self.app.ledger, session, found.name, limit, after)

    def replay(self, counters: Iterable[object] | None = None) -> Replayed:
        """Held rows that the database and the definitions take by now are applied, and not held any more."""
        from dayfold.count.flush import Flusher

        wanted = self.defined(counters)
        self._made(wanted)
        flusher, found = Flusher(self.app.ledger, self.live), Replayed()
        for counter in wanted:
            after = ""
            while page := self.held(counter.name, limit=1_000, after=after):
                after = page[-1].id
                for one in page:
                    if flusher.replay(counter, one):
                        found.replayed += 1
                    else:
                        found.kept += 1
        return found

    def import_(
        self,
        counter: object,
        pattern: str,
        *,
        url: str | None = None,
        fields: Mapping[str, str] | None = None,
        dry_run: bool = False,
        progress: Callable[[int], None] = lambda done: None,
    ) -> Imported:
        """Keys of home-made counters are drained into a counter, each once.

        Args:
            counter: Its class or name.
            pattern: What the keys are like: ``"daily:{date}:{api_key_id}:metrics"``. ``{date}`` is the day, ``{total}`` the total that
                a single number is of, every other name a key column or the owner.
            url: The server that holds them. Default: ``[live] url``.
            fields: Fields of their hashes, each with the total that it is; empty: it is left out.
            dry_run: Read and add up, and change nothing.
            progress: Told how many keys were looked at.

        Raises:
            UsageError: for a pattern that does not fit; ConnectionFailed.
        """
        from dayfold.count.importing import Importer, Layout
        from dayfold.count.valkey import Valkey

        [found] = self.defined([counter])
        layout = Layout(pattern, found.key, found.owner if found.has_owner else None, fields or {})
        if url is None and self.app.settings.live.url is None:
            raise UsageError("Nothing says which server holds the old keys.", hint="Name it: --url redis://HOST:6379/0")
        self._made([found])
        source = Valkey(url, timeout_s=30) if url is not None else self._opened()
        assert isinstance(source, Valkey)
        try:
            with source.connected() as client:
                return Importer(self.app.ledger, client, found, layout).run(dry_run=dry_run, progress=progress)
        finally:
            source.close()


class _Loop:
    """Flushes again and again in a thread of its own, until it is stopped."""

    def __init__(self, desk: CounterDesk) -> None:
        self.desk = desk
        self._stopped = threading.Event()
        self._complained_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="dayfold-flusher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the flush that goes on."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self.desk.app.settings.live.flush_s):
            try:
                self.desk.flush()
            except Exception as error:  # whatever it is, the next flush must come
                if time.monotonic() - self._complained_at >= _QUIET_S:
                    self._complained_at = time.monotonic()
                    reason = error.message if isinstance(error, DayfoldError) else type(error).__name__
                    _log.error("Counters cannot be flushed: %s", reason, extra={"action": "flush-failed"})
            else:
                self._complained_at = float("-inf")
