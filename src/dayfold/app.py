"""The facade that every door shares: one object for one application's definitions and databases.

Weakness: one `Dayfold` folds on the caller's thread; run long folds apart from request threads.
"""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from pydantic import SecretStr

from dayfold import settings as configuration
from dayfold.clock import Clock, SystemClock, today
from dayfold.counterdesk import CounterDesk
from dayfold.days import LIFE, Days, as_day
from dayfold.define.access import Access
from dayfold.define.alert import Alert, of_settings
from dayfold.define.catalog import Catalog, catalog, load, load_again
from dayfold.define.check import Check
from dayfold.define.events import Said
from dayfold.define.page import Page
from dayfold.define.rollup import Rollup, RollupDef
from dayfold.define.source import Table
from dayfold.define.study import Study
from dayfold.engines import connect
from dayfold.engines.base import Source, Store
from dayfold.engines.databases import Databases
from dayfold.errors import ConfigError, DayfoldError, DefinitionError, StoreAltered, UnknownName, UsageError
from dayfold.eventdesk import EventDesk
from dayfold.fold import checks as checking
from dayfold.fold.binding import Binder, Bindings, Bound
from dayfold.fold.fold import Folder, FoldResult, Progress, StopCheck, never
from dayfold.fold.longview import LongView
from dayfold.ledger import versions
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing
from dayfold.plan.access import EVERYTHING, UNREDACTED, Scope
from dayfold.plan.keys import key_filters
from dayfold.query import relations

if TYPE_CHECKING:
    from dayfold.fold.adopt import AdoptResult
    from dayfold.fold.certificate import Certificate
    from dayfold.fold.doctor import Finding
    from dayfold.fold.erase import Eraser, Outside
    from dayfold.fold.install import Installer
    from dayfold.fold.move import MoveResult
    from dayfold.fold.plan import RollupPlan
    from dayfold.fold.prune import Orphan
    from dayfold.fold.rebuild import RebuildResult
    from dayfold.fold.retain import Retained
    from dayfold.fold.rls import Policies
    from dayfold.fold.track import TableStanding, Tracking
    from dayfold.fold.verify import VerifyResult
    from dayfold.jobs.alerts import Alerts
    from dayfold.jobs.exports import Exports
    from dayfold.ledger.accounts import Accounts
    from dayfold.ledger.checks import Verdict
    from dayfold.ledger.pages import SavedPages
    from dayfold.ledger.persons import Person
    from dayfold.query.answer import Answer
    from dayfold.query.cohort_request import CohortRequest
    from dayfold.query.cohorts import CohortAnswer
    from dayfold.query.event_figures import Rates, Report
    from dayfold.query.event_pages import EventPage
    from dayfold.query.explanation import Explanation
    from dayfold.query.exports import Exported
    from dayfold.query.funnels import FunnelAnswer, FunnelRequest
    from dayfold.query.profile import ProfileAnswer
    from dayfold.query.profile_request import ProfileRequest
    from dayfold.query.request import Request
    from dayfold.query.sources import Sources
    from dayfold.query.status import CheckStatus, Status, Unhealed, Verified


class Dayfold:
    """An application's rollups.

    Args:
        definitions: The path of a ``metrics.py``, or classes of rollups, access, alert rules, checks, cohorts, funnels and pages, and what
            ``events.columns(…)`` and ``events.types(…)`` returned.
        config: The path of a ``dayfold.toml`` or its words as a mapping. Default: ``dayfold.toml`` beside the
            definitions, if there is one.
        clock: Where the present moment comes from. Default: the machine.

    >>> import tempfile
    >>> from dayfold import Count, Dayfold, Rollup, Table
    >>> class Signups(Rollup):
    ...     total = Count(Table(sql="select timestamptz '2026-01-02 10:00:00+00' as seen_at"), at="seen_at")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Dayfold([Signups], {"store": {"url": f"duckdb:///{folder}/s.duckdb"}}) as app:
    ...         runs = app.fold()
    ...         app.query("Signups", ["total"], from_="2026-01-02", to="2026-01-03", grain="total").rows
    [{'day': datetime.date(2026, 1, 2), 'total': 1}]
    """

    def __init__(
        self,
        definitions: str | Path | Sequence[type[Rollup | Access | Alert | Check | Study | Page] | Said],
        config: str | Path | Mapping[str, Any] | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        path = Path(definitions) if isinstance(definitions, str | Path) else None
        base = path.parent if path else Path()
        if isinstance(config, str | Path):
            base = Path(config).parent
        written: Catalog = load(path) if path else catalog(definitions)  # type: ignore[arg-type]
        self.settings = configuration.load(config, base)
        self.clock = clock or SystemClock()
        self.databases = _databases(self.settings, base)
        self.ledger = Ledger(self.databases.store, self.clock)
        self._define(written)
        self.folder = base
        self._closers: list[Callable[[], None]] = []
        self._connections_are_ours = True
        self._published: dict[str, str] | None = None
        #: The event log, with its verbs.
        self.event_log = EventDesk(self)
        #: The counters, with their verbs.
        self.counters = CounterDesk(self)
        #: What holds personal data beside the store's tables, for `erase`; copies of the application share it.
        self.outside: list[Outside] = []

    def _define(self, written: Catalog) -> None:
        """From now on these are the definitions, with the rules of the settings among them."""
        rules = self.settings.alerts
        found = written.with_rules(of_settings(rules.words()), rules.channels)
        self.catalog = checking.checked(relations.checked(found, self.databases), self.databases)
        self.relations = relations.Relations(self.databases, self.catalog, self.settings.auth.relation_s)
        self._bindings: Bindings = {}

    def __enter__(self) -> Dayfold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; again is harmless. What works in threads ends first."""
        while self._closers:
            self._closers.pop()()
        if self._connections_are_ours:
            self.databases.close()

    def sibling(self, *, settings: configuration.Settings | None = None, clock: Clock | None = None) -> Dayfold:
        """The same application with other settings of its work or another clock, over the connections of this one.

        It keeps the definitions that this one has now, whatever is read later, and closing it closes nothing.
        """
        other = copy.copy(self)
        other.event_log = self.event_log.of(other)
        other.counters = self.counters.of(other)
        other._connections_are_ours = False
        other._closers = []
        other._published = None
        other.settings = settings or self.settings
        if clock is not None:
            other.clock = clock
            other.ledger = Ledger(self.databases.store, clock)
        return other

    def reloaded(self) -> Dayfold:
        """The same application with its definitions as their file has them now. This one goes on with its own.

        Raises:
            DefinitionError: with every mistake of the file, those that only its sources show included.
        """
        if self.catalog.origin is None:
            raise UsageError("Definitions that were given as classes cannot be read again.")
        other = copy.copy(self)
        other.event_log = self.event_log.of(other)
        other.counters = self.counters.of(other)
        other._define(load_again(self.catalog.origin))
        other.catalog.check()
        # A source that does not answer now hides its mistakes; they show when it is folded.
        try:
            other.bind()
        except DefinitionError:
            raise
        except DayfoldError:
            pass
        return other

    def keep_to_published(self) -> None:
        """From now on no fold replaces a definition that another process publishes later; the ledger is ready.

        For a process that folds by itself for long: its own definitions may be the older ones by then.
        """
        with self.ledger.store.transaction(read_only=True) as session:
            known = versions.versions(self.ledger, session)
        self._published = {name: one.fingerprint for name, one in known.items()}

    def before_closing(self, end: Callable[[], None]) -> None:
        """Call something when the application is closed, while its connections are still there."""
        self._closers.append(end)

    @property
    def today(self) -> dt.date:
        """The present UTC day."""
        return today(self.clock)

    def rollups(self, names: Iterable[str] | None = None) -> list[RollupDef]:
        """Definitions by name, all of them by default. Raises UnknownName."""
        if not names:
            return list(self.catalog.rollups.values())
        return [self.catalog[name] for name in dict.fromkeys(names)]

    def bind(self, names: Iterable[str] | None = None) -> Bound:
        """The rollups over their sources as they are now. Raises DefinitionError with every mistake."""
        wanted = self.rollups(names) if not self.catalog.problems else list(self.catalog.rollups.values())
        if self.catalog.problems and not self.catalog.rollups:
            raise DefinitionError(self.catalog.problems)
        return Binder(self.databases, self.ledger, self._bindings).bind(self.catalog, wanted)

    def fold(
        self,
        rollups: Iterable[str] | None = None,
        *,
        allow_empty: bool = False,
        wait_s: float | None = None,
        progress: Progress | None = None,
        stop: StopCheck = never,
    ) -> list[FoldResult]:
        """Bring rollups up to date. Folding again writes nothing.

        Args:
            rollups: Names; all by default.
            allow_empty: Publish even where a source that had facts returns none.
            wait_s: Seconds to wait for another run of a rollup. Default: ``[fold] wait_s``.
            progress: Called after each chunk with rollup, days done and days in all.
            stop: Called between chunks; where it raises `Stopped`, the fold ends as it is, to be gone on with by the next.

        Returns:
            One result for each rollup; a failed one does not keep the others from being folded.

        Raises:
            DefinitionError: before anything is written.
        """
        bound = self._bound_for_writing(rollups)
        unsettled = self.counters.settle([one.definition for one in bound.rollups])
        results = self._folder(bound, wait_s, stop).fold(allow_empty=allow_empty, progress=progress)
        for one in results:
            if one.rollup in unsettled:
                one.warnings.append(unsettled[one.rollup])
        return results

    def rebuild(
        self,
        rollup: str,
        *,
        from_: dt.date | str | None = None,
        to: dt.date | str | None = None,
        where: Sequence[str] = (),
        dry_run: bool = False,
        allow_empty: bool = False,
        wait_s: float | None = None,
        progress: Progress | None = None,
        stop: StopCheck = never,
    ) -> RebuildResult:
        """Fold days that exist again: built aside, and switched in one transaction. A profile is refreshed whole, and has no days.

        Args:
            rollup: Its class or table name.
            from_: First day: a date, ``YYYY-MM-DD``, ``today``, ``yesterday`` or ``-7d`` (UTC).
            to: Last day, included.
            where: Only these keys: ``"k=v"``, ``"k!=v"`` or ``"k="`` for NULL.
            dry_run: Say how many cells would change, and the largest moves, and change nothing.
            allow_empty: Publish even where a source has nothing on any of the days.
            wait_s: Seconds to wait for another run of the rollup. Default: ``[fold] wait_s``.
            progress: Called after each portion with rollup, days done and days in all.
            stop: Called between portions; where it raises `Stopped`, nothing is changed.

        Raises:
            UsageError, UnknownName, BadDate: for words that do not fit; Sealed: for a sealed day; SuddenlyEmpty, SourceFailed.
        """
        from dayfold.fold.rebuild import Rebuilder

        definition = self.catalog[rollup]
        days = self._days_to_rebuild(definition, from_, to)
        keys = key_filters(definition, where)
        folder = self._folder(self._bound_for_writing([definition.name]), wait_s, stop)
        bound = next(one for one in folder.bound.rollups if one.name == definition.name)
        return Rebuilder(folder, bound, days, keys).run(dry_run=dry_run, allow_empty=allow_empty, progress=progress)

    def _days_to_rebuild(self, rollup: RollupDef, from_: dt.date | str | None, to: dt.date | str | None) -> Days:
        """The asked range; the one bucket of a profile. Raises UsageError, BadDate."""
        if rollup.is_profile:
            if from_ is not None or to is not None:
                raise UsageError(f"{rollup.name} is a profile, which has no days.", hint="Leave --from and --to out.")
            return Days(LIFE, LIFE)
        if from_ is None or to is None:
            raise UsageError("A rebuild of a rollup is of days.", hint="Give both --from and --to.")
        return Days(as_day(from_, self.today), as_day(to, self.today))

    def verify(
        self,
        rollups: str | Iterable[str] | None = None,
        *,
        from_: dt.date | str | None = None,
        to: dt.date | str | None = None,
        sample: int | None = None,
        heal: bool = False,
        budget_s: float | None = None,
        wait_s: float | None = None,
        progress: Progress | None = None,
        stop: StopCheck = never,
    ) -> list[VerifyResult]:
        """Compare stored cells with their sources, exactly, by other SQL than the fold's.

        Args:
            rollups: One name or several; all by default.
            from_: First day. Default: the least recently verified days.
            to: Last day, included.
            sample: So many days at random instead.
            heal: Fold the cells that differ, and compare them again.
            budget_s: Seconds after which no further days are begun. Default: ``[verify] budget_s``, and no limit
                where days are given.
            wait_s: Seconds to wait for another run of a rollup. Default: ``[fold] wait_s``.
            progress: Called after some days with rollup, days done and days in all.
            stop: Called between some days; where it raises `Stopped`, what was compared is kept.

        Returns:
            One result for each rollup; `VerifyResult.is_proved` says whether all is well.

        Raises:
            UsageError, BadDate: for words that do not fit together.
        """
        from dayfold.fold.chosen import choice
        from dayfold.fold.verify import Verifier

        chosen = choice(from_, to, sample, budget_s, default_budget_s=self.settings.verify.budget_s, today=self.today)
        bound = self._bound_for_writing([rollups] if isinstance(rollups, str) else rollups)
        limits = self.settings.fold
        wait = limits.wait_s if wait_s is None else wait_s
        verifier = Verifier(
            self.databases, self.ledger, self.clock, bound, chunk_rows=limits.chunk_rows, wait_s=wait, stop=stop
        )
        results = verifier.verify(chosen, heal=heal, progress=progress)
        self._prove_counters(results, heal=heal)
        return results

    def _prove_counters(self, results: Sequence[VerifyResult], *, heal: bool) -> None:
        """The counted table, which a counter's days are compared with, is proved itself: by conservation."""
        for result in results:
            counter = self.counters.find(result.rollup)
            if counter is None or result.error is not None:
                continue
            try:
                result.notes += self.counters.remarks(counter)
                wrong = self.counters.prove(counter, heal=heal)
            except DayfoldError as error:
                result.notes.append(f"conservation cannot be proved now: {error.message}")
                continue
            if wrong:
                result.error, result.code = "; ".join(wrong), "unaccounted"

    def check(
        self, rollups: str | Iterable[str] | None = None, *, after: Iterable[checking.Ran] = (), stop: StopCheck = never
    ) -> list[Verdict]:
        """Run the checks of rollups, and keep their verdicts; nothing else is written.

        Args:
            rollups: One name or several: the checks that are of one of these. All checks by default.
            after: The results of the verification that they come after.
            stop: Called between two checks; where it raises `Stopped`, the verdicts of those before are kept.

        Returns:
            One verdict for each check; `dayfold.fold.checks.has_failed` says whether one of severity error did not pass.
        """
        checker = self._checker(stop)
        names = [rollups] if isinstance(rollups, str) else rollups
        wanted = [one.name for one in self.rollups(names)] if names else None
        return checker.run(checker.of(wanted), after)

    def check_folded(self, folds: Sequence[checking.Folded], *, stop: StopCheck = never) -> list[Verdict]:
        """Run the checks that a fold leads to: those of what was published since they last ran, of every fold, or that did not pass.

        `fold` does not run them by itself: the command line and jobs do, by this.

        Args:
            folds: What `fold` returned.
            stop: Called between two checks; where it raises `Stopped`, the verdicts of those before are kept.
        """
        checker = self._checker(stop)
        return checker.run(checker.due(folds), folds)

    def _checker(self, stop: StopCheck) -> checking.Checker:
        self.catalog.check()
        self.ledger.ready()
        return checking.Checker(self.databases, self.ledger, self.catalog.checks, stop)

    def adopt(
        self,
        rollup: str,
        from_table: str,
        *,
        database: str | None = None,
        columns: Mapping[str, str] | None = None,
        to: dt.date | str | None = None,
        dry_run: bool = False,
        accept_differences: bool = False,
        wait_s: float | None = None,
    ) -> AdoptResult:
        """Take over a daily table whose source rows are gone: its rows become sealed days of a rollup.

        Args:
            rollup: Its class or table name.
            from_table: The table, in the store or in ``database``; it is only read.
            database: A ``[databases.NAME]`` that the table lives in.
            columns: Names of ours, each with the table's own, where these differ.
            to: The last day to take over. Default: the day before all sources have rows.
            dry_run: Compare and count, and change nothing.
            accept_differences: Take the rows though the table differs from the source where both have a day.
            wait_s: Seconds to wait for another run of the rollup. Default: ``[fold] wait_s``.

        Raises:
            UsageError: when a column is missing, a cell is there twice, or the table differs; Sealed; SourceFailed.
        """
        from dayfold.fold.adopt import Adopter

        definition = self.catalog[rollup]
        folder = self._folder(self._bound_for_writing([definition.name]), wait_s)
        bound = next(one for one in folder.bound.rollups if one.name == definition.name)
        last = as_day(to, self.today) if to is not None else None
        legacy = Table(from_table, database=database)
        if database is not None and not self.databases.known(database):
            raise UnknownName(
                f"There is no [databases.{database}].", hint=f"Databases: {listing(self.databases.names)}"
            )
        adopter = Adopter(folder, bound, legacy, columns or {}, last)
        return adopter.run(dry_run=dry_run, accept_differences=accept_differences)

    def erase(
        self,
        actor: Iterable[str] = (),
        anonymous: Iterable[str] = (),
        *,
        dry_run: bool = False,
        wait_s: float | None = None,
    ) -> Certificate:
        """Nothing of a person stands in the store any more; cells that their events counted in are folded again.

        Their browsers are found by the events that link them. Again is harmless, and finishes what another call left to do. The
        certificate says what was searched, what was done and what was not reached.

        Args:
            actor: The person's ids as events have them in ``actor_id``.
            anonymous: Ids of their browsers, beside those that are known.
            dry_run: Say what would be found, and change nothing.
            wait_s: Seconds to wait for another erasure, or another run of a rollup. Default: ``[fold] wait_s``.

        Raises:
            UsageError: where nobody is named; Busy: where the store cannot be rewritten now, after the person is gone from it.
        """
        from dayfold.ledger.accounts import local_actor
        from dayfold.ledger.persons import Person

        given = Person.of(actor, anonymous)
        eraser = self._eraser(wait_s)
        return eraser.look(given, local_actor()) if dry_run else eraser.erase(given, local_actor())

    def erase_asked(self, number: int) -> Certificate:
        """An erasure that was asked for and kept is done; one that was done already is finished where it was not."""
        from dayfold.fold.certificate import Certificate
        from dayfold.fold.erase import of_request
        from dayfold.ledger import erasures

        eraser = self._eraser(None)
        with self.ledger.store.transaction(read_only=True) as session:
            asked = erasures.erasure(self.ledger, session, number)
        if asked.state == erasures.ASKED and asked.request is not None:
            return eraser.erase(of_request(asked.request), asked.asked_by, number)
        eraser.finish()
        with self.ledger.store.transaction(read_only=True) as session:
            return Certificate.of_object(erasures.erasure(self.ledger, session, number).certificate or {})

    def _eraser(self, wait_s: float | None) -> Eraser:
        from dayfold.fold.erase import Eraser, Outside
        from dayfold.fold.reduce import over_own

        bound = self._bound_for_writing(None)
        over = [one.name for one in over_own(bound.rollups)]
        wait = self.settings.fold.wait_s if wait_s is None else wait_s

        files = Outside(
            "exports", "files that were written, with all that was asked for", lambda person: self._erase_exports(over, person),
            "exports that somebody fetched", ("dayfold__exports",),
        )  # fmt: skip
        live = Outside(
            "live store", "increments that wait to be applied, which an erasure applies first", self._rewrite_live,
            "what a live store on Valkey or Redis has in its files until it has written them anew, which it was asked to do, and in "
            "its backups",
        )  # fmt: skip
        visitors = Outside(
            "visitors in memory", "what is known of visitors while events come in", self._forget_visitors
        )
        return Eraser(
            self.ledger, bound.rollups, self.counters.defined(), lambda names: self.fold(names, wait_s=wait), self._settle,
            self.event_log.paused, [*self.outside, files, visitors, *([live] if self.counters.is_used else [])], wait,
        )  # fmt: skip

    def _settle(self) -> None:
        """What was taken in and acknowledged is in the store: events, and increments of counters. Raises Busy, ConnectionFailed."""
        self.event_log.settle()
        if self.counters.is_used:
            self.counters.flush()

    def _erase_exports(self, over: Sequence[str], person: Person) -> int:
        """Exports of events, of the rollups over them, and those that name a person, are gone."""
        return len(self.exports.erase(over, person.names))

    def _rewrite_live(self, person: Person) -> int:
        """The live store writes its files anew, without what was applied."""
        self.counters.live.rewrite()
        return 0

    def _forget_visitors(self, person: Person) -> int:
        """What is known of visitors is looked up again."""
        if self.event_log.intake is not None:
            self.event_log.intake.forget()
        return 0

    def retain(self, *, yes: bool = False, wait_s: float | None = None, stop: StopCheck = never) -> Retained:
        """What is past the time that ``[retain]`` gives it, counted; deleted only with ``yes``.

        Days of events are sealed before, in every rollup over events: their numbers stay as they are for good.

        Args:
            yes: Delete it.
            wait_s: Seconds to wait for another run of a rollup. Default: ``[fold] wait_s``.
            stop: Called between portions; where it raises `Stopped`, the next call goes on.
        """
        from dayfold.fold.retain import Retainer
        from dayfold.ledger import erasures

        self.ledger.ready()
        if yes:
            with self.ledger.store.transaction(read_only=True) as session:
                waiting = [*erasures.waiting(self.ledger, session), *erasures.unfinished(self.ledger, session)]
            for one in waiting:
                self.erase_asked(one.id)
        wait = self.settings.fold.wait_s if wait_s is None else wait_s
        retainer = Retainer(
            self.ledger,
            self.clock,
            lambda: self._bound_for_writing(None).rollups,
            self.settings.retain,
            wait,
            stop,
            self.settings.live.remember_days,
            self.counters.is_settled,
        )
        return retainer.run(yes=yes)

    def orphans(self) -> list[Orphan]:
        """The rollups that were removed from the definitions, with what depends on each."""
        from dayfold.fold.prune import orphans

        return orphans(self.catalog, self.ledger)

    def prune(self, rollups: Sequence[str], *, wait_s: float | None = None) -> list[Orphan]:
        """Drop removed rollups by name. Raises UsageError, UnknownName, and StoreError naming what depends on one."""
        from dayfold.fold.prune import prune

        self.ledger.ready()
        wait = self.settings.fold.wait_s if wait_s is None else wait_s
        return prune(self.catalog, self.ledger, rollups, wait_s=wait, long_view=self._long_view)

    @property
    def _long_view(self) -> LongView:
        """The view over every rollup of the store."""
        return LongView(self.ledger, self.catalog, self.settings.store.long_view)

    def _folder(self, bound: Bound, wait_s: float | None = None, stop: StopCheck = never) -> Folder:
        limits = self.settings.fold
        wait = limits.wait_s if wait_s is None else wait_s
        return Folder(
            self.databases, self.ledger, self.clock, bound, chunk_rows=limits.chunk_rows, wait_s=wait, stop=stop,
            long_view=self._long_view, published=self._published,
        )  # fmt: skip

    def _bound_for_writing(self, rollups: Iterable[str] | None) -> Bound:
        """Bound rollups and a ledger that is ready; wrong definitions leave even a new store untouched."""
        bound = self.bind(rollups)
        self.ledger.ready()
        if self.event_log.is_used or self.counters.is_used:
            self._make_own()
            bound = self.bind(rollups)
        self.ledger.remember_sources(bound.columns)
        return bound

    def _make_own(self) -> None:
        """The tables that we keep beside the ledger are there, as the definitions say."""
        if self.event_log.is_used:
            self.event_log.make()
        if self.counters.is_used:
            # One whose table is another one fails by itself: where it is flushed, folded or looked after.
            with contextlib.suppress(StoreAltered):
                self.counters.make()

    def plan(self, rollups: Iterable[str] | None = None) -> list[RollupPlan]:
        """What the next fold would do and read, without writing anything."""
        from dayfold.fold.plan import plan

        bound = self.bind(rollups)
        return plan(self.databases, self.ledger, self.clock, bound)

    def query(
        self,
        rollup: str,
        metrics: Sequence[str] | None = None,
        *,
        from_: dt.date | str,
        to: dt.date | str,
        by: Sequence[str] = (),
        where: Sequence[str] = (),
        grain: str = "day",
        tz: str | None = None,
        compare: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        allow_missing: bool = False,
        live: bool = False,
        scope: Scope = EVERYTHING,
    ) -> Answer:
        """Metrics over a range of days, both ends included.

        Args:
            rollup: Its class or table name.
            metrics: Names; all by default.
            from_: First day: a date, ``YYYY-MM-DD``, ``today``, ``yesterday`` or ``-7d`` (UTC).
            to: Last day, included.
            by: Key columns to group by.
            where: ``"k=v"``, ``"k!=v"`` or ``"k="`` for NULL. The same key twice: any of the values.
            grain: ``day``, ``week``, ``month``, ``quarter``, ``year`` or ``total``; ``hour`` of a rollup that keeps them.
            tz: A zone whose days are asked, of a rollup of a finer grain than a day.
            compare: ``previous`` or ``year``.
            sort: A metric, key or ``day``; ``-name`` for the greatest first.
            limit: At most so many rows.
            allow_missing: Add up the covered days of a bucket where others are missing.
            live: Compute stale, open and unfolded days from the sources, within ``[query] live_s``. Writes nothing.
            scope: What the asker may see.

        Raises:
            QueryRefused: when there is no truthful answer; UnknownName, BadDate.
        """
        from dayfold.query.request import Request

        scope = self.resolved(scope)
        request = Request.parse(
            scope.rollup(self.catalog, rollup), metrics, from_=from_, to=to, by=by, where=where, grain=grain, tz=tz,
            compare=compare, sort=sort, limit=limit, allow_missing=allow_missing, today=self.today, now=self.clock.now(),
            scope=scope,
        )  # fmt: skip
        return self.answer(request, live=live)

    def cohort(
        self,
        name: str,
        *,
        from_: dt.date | str,
        to: dt.date | str,
        grain: str = "month",
        unbounded: bool = False,
        by: Sequence[str] = (),
        where: Sequence[str] = (),
        periods: int | None = None,
        scope: Scope = EVERYTHING,
    ) -> CohortAnswer:
        """Who came back, by the period of their start: for each cohort and age how many were active, and their values.

        Args:
            name: The cohort's class.
            from_: First day of starts: a date, ``YYYY-MM-DD``, ``today``, ``yesterday`` or ``-7d`` (UTC).
            to: Last day of starts, included.
            grain: ``day``, ``week`` or ``month``, of cohorts and of ages.
            unbounded: Count whoever was active at an age or later.
            by: Columns of the profile to split by.
            where: Over the profile's key: ``"k=v"``, ``"k!=v"`` or ``"k="`` for NULL. The same key twice: any of the values.
            periods: At most so many ages.
            scope: What the asker may see.

        Raises:
            QueryRefused: when there is no truthful answer; UnknownName, BadDate, UsageError.
        """
        from dayfold.query.cohort_request import CohortRequest

        scope = self.resolved(scope)
        request = CohortRequest.parse(
            scope.cohort(self.catalog, name), from_=from_, to=to, grain=grain, unbounded=unbounded, by=by, where=where,
            periods=periods, today=self.today, scope=scope,
        )  # fmt: skip
        return self.cohort_answer(request)

    def cohort_answer(self, request: CohortRequest) -> CohortAnswer:
        """The answer to a question to a cohort that was made before. Raises QueryRefused, DefinitionError."""
        from dayfold.query.cohorts import cohort_answer

        self.catalog.check()
        return cohort_answer(self.ledger, request)

    def funnel(
        self,
        name: str,
        *,
        from_: dt.date | str,
        to: dt.date | str,
        by: Sequence[str] = (),
        where: Sequence[str] = (),
        scope: Scope = EVERYTHING,
    ) -> FunnelAnswer:
        """How many of those who took the first step went on, in order and in time; and how often each step was taken in these days.

        Args:
            name: The funnel's class.
            from_: First day: a date, ``YYYY-MM-DD``, ``today``, ``yesterday`` or ``-7d`` (UTC).
            to: Last day, included.
            by: Columns of the profile to split by.
            where: Over the profile's key: ``"k=v"``, ``"k!=v"`` or ``"k="`` for NULL. The same key twice: any of the values.
            scope: What the asker may see.

        Raises:
            QueryRefused: when there is no truthful answer; UnknownName, BadDate, UsageError.
        """
        from dayfold.query.funnels import FunnelRequest

        scope = self.resolved(scope)
        request = FunnelRequest.parse(
            scope.funnel(self.catalog, name), from_=from_, to=to, by=by, where=where, today=self.today, scope=scope
        )
        return self.funnel_answer(request)

    def funnel_answer(self, request: FunnelRequest) -> FunnelAnswer:
        """The answer to a question to a funnel that was made before. Raises QueryRefused, DefinitionError."""
        from dayfold.query.funnels import funnel_answer

        self.catalog.check()
        return funnel_answer(self.ledger, request)

    def profile(
        self, name: str, key: Mapping[str, object], *, columns: Sequence[str] | None = None, scope: Scope = EVERYTHING
    ) -> ProfileAnswer:
        """One entity of a profile by its whole key: its ``row``, None where there is no such entity.

        Args:
            name: The profile's class or table name.
            key: The value of each key column.
            columns: What is shown. Default: all.
            scope: What the asker may see.

        Raises:
            QueryRefused: where the profile was never folded; UnknownName, UsageError.
        """
        from dayfold.query.profile_request import ProfileRequest, key_texts

        scope = self.resolved(scope)
        profile = scope.rollup(self.catalog, name)
        request = ProfileRequest.one(profile, key_texts(key), columns=columns, today=self.today, scope=scope)
        return self.profile_answer(request)

    def profiles(
        self,
        name: str,
        *,
        where: Sequence[str] = (),
        sort: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        columns: Sequence[str] | None = None,
        count_by: Sequence[str] = (),
        scope: Scope = EVERYTHING,
    ) -> ProfileAnswer:
        """Entities of a profile, or how many there are of each value of some columns.

        Args:
            name: The profile's class or table name.
            where: ``"column=value"``, ``!=``, ``>``, ``>=``, ``<``, ``<=``, or ``"column="`` for NULL, of any column; a day or moment
                may be ``today`` or ``-30d``. The same column equal to several values: any of them.
            sort: A column; ``-name`` for the greatest first. NULLs are last. Default: the key.
            limit: At most so many rows; the answer's ``next`` leads to the others.
            after: The ``next`` of the page before.
            columns: What is shown; with ``count_by``, integer and decimal columns that are added up.
            count_by: Count entities by the values of these columns, as ``count``.
            scope: What the asker may see.

        Raises:
            QueryRefused: when there is no truthful answer; UnknownName, UsageError.
        """
        from dayfold.query.profile_request import ProfileRequest

        scope = self.resolved(scope)
        request = ProfileRequest.page(
            scope.rollup(self.catalog, name), where=where, sort=sort, limit=limit, after=after, columns=columns,
            count_by=count_by, today=self.today, scope=scope,
        )  # fmt: skip
        return self.profile_answer(request)

    def profile_answer(self, request: ProfileRequest, *, told_waiting: bool | None = None) -> ProfileAnswer:
        """The answer to a question about entities that was made before. Raises QueryRefused, UsageError, DefinitionError."""
        from dayfold.query.profile import answer

        self.catalog.check()
        return answer(self.ledger, request, told_waiting=told_waiting)

    def newest_row(self, request: Request) -> dt.date | None:
        """The newest day on which a rollup has a row of the keys that a question is about. Raises QueryRefused, DefinitionError."""
        from dayfold.query.latest import newest_row

        self.catalog.check()
        return newest_row(self.ledger, request)

    def profile_size(self, request: ProfileRequest) -> int:
        """How many entities a question finds, page after page. Raises QueryRefused, UsageError, DefinitionError."""
        from dayfold.query.profile import size

        self.catalog.check()
        return size(self.ledger, request)

    def profile_waits(self, request: ProfileRequest, standing: object) -> bool | None:
        """Whether a change waits to be folded, of which an answer tells; None where the answer has to look itself."""
        from dayfold.query.profile import looked

        return looked(self.ledger, request, standing)

    def events(
        self,
        *,
        entity_type: str | None = None,
        entity_id: str | None = None,
        event_type: str | None = None,
        actor: str | None = None,
        session: str | None = None,
        from_: dt.date | str | None = None,
        to: dt.date | str | None = None,
        after: str | None = None,
        limit: int = 100,
        own: bool = False,
        scope: Scope = UNREDACTED,
    ) -> EventPage:
        """Raw events, the newest first.

        Args:
            entity_type: A column of ``events.columns(…)``, or its name without ``_id``: events that are about one.
            entity_id: Which one.
            event_type: Their type.
            actor: The ``actor_id``.
            session: The ``session_id``.
            from_: First day: a date, ``YYYY-MM-DD``, ``today``, ``yesterday`` or ``-7d`` (UTC). Default: the first there is.
            to: Last day, included.
            after: The ``next`` of the page before.
            limit: At most so many, up to 1,000.
            own: With what the browsers of the actor, and of nobody else, did while nobody was signed in.
            scope: What the asker may see; personal data only where it says so.

        Raises:
            UsageError, UnknownName, BadDate: for words that do not fit; Forbidden: for an actor or session of an asker who may
                not see personal data.
        """
        from dayfold.plan.event_reads import Wanted
        from dayfold.query.event_pages import page

        scope = self.resolved(scope)
        self.catalog.check()
        entities = self.catalog.entities.types
        wanted = Wanted.parse(
            entities, entity_type=entity_type, entity_id=entity_id, event_type=event_type, actor=actor, session=session,
            from_=from_, to=to, today=self.today, scope=scope,
        )  # fmt: skip
        return page(self.ledger, entities, wanted, scope, limit=limit, after=after, own=own)

    def event_rates(self, span: str = "day", *, scope: Scope = UNREDACTED) -> Rates:
        """How many events of each type came lately: by hours of the last ``day``, or by days of the last ``month``.

        Raises:
            UnknownName: for another span.
        """
        from dayfold.query.event_figures import rates

        scope = self.resolved(scope)
        self.catalog.check()
        return rates(self.ledger, self.catalog.entities.types, scope, self.clock.now(), span)

    def event_report(
        self, by: str, from_: dt.date | str, to: dt.date | str, *, limit: int = 100, scope: Scope = UNREDACTED
    ) -> Report:
        """What brought whoever came: events, visitors and sessions, those of bots left out.

        Args:
            by: ``campaign``, ``source``, ``medium``, ``referrer``, ``channel``, ``first-touch`` or ``last-touch``.
            from_: First day: a date, ``YYYY-MM-DD``, ``today``, ``yesterday`` or ``-7d`` (UTC).
            to: Last day, included.
            limit: At most so many rows, those with most visitors.
            scope: What the asker may see.

        Raises:
            Forbidden: to a caller of whom events are kept; UnknownName: for another report; BadDate.
        """
        from dayfold.query.event_figures import report

        scope = self.resolved(scope)
        self.catalog.check()
        return report(self.ledger, self.catalog.entities.types, scope, by, from_, to, self.today, limit)

    def export(
        self,
        what: str,
        name: str | None = None,
        *,
        out: str | Path | IO[bytes],
        form: str = "csv",
        personal: bool = False,
        from_: dt.date | str | None = None,
        to: dt.date | str | None = None,
        where: Sequence[str] = (),
        entity_type: str | None = None,
        entity_id: str | None = None,
        event_type: str | None = None,
        actor: str | None = None,
        session: str | None = None,
        scope: Scope = UNREDACTED,
        progress: Progress | None = None,
    ) -> Exported:
        """Events, rows of a rollup or a profile, or what is known of one actor are written to a file; memory does not follow their number.

        Args:
            what: ``events``, ``rollup``, ``profile`` or ``actor``.
            name: Of the rollup or profile, or the ``actor_id``.
            out: A file, which is there when it is whole, or a stream of bytes.
            form: ``csv``, ``jsonl`` or ``parquet``.
            personal: Personal data are in it.
            from_: First day: a date, ``YYYY-MM-DD``, ``today``, ``yesterday`` or ``-7d`` (UTC). Default: the first there is.
            to: Last day, included.
            where: Of a rollup: ``"k=v"``, ``"k!=v"`` or ``"k="`` for NULL. Of a profile: as in `profiles`.
            entity_type: Of events, as these: what they are about, as in `events`.
            entity_id: Which one.
            event_type: Their type.
            actor: The ``actor_id``.
            session: The ``session_id``.
            scope: What the asker may see.
            progress: Called after each portion with what is exported, days done and days in all.

        Raises:
            UsageError, UnknownName, BadDate, QueryRefused: for words that do not fit; Forbidden: for what the scope does not open.
        """
        from dayfold.jobs.shelf import written
        from dayfold.plan.exports import ExportAsked
        from dayfold.query.exports import export

        scope = self.resolved(scope)
        self.catalog.check()
        asked = ExportAsked.parse(
            self.catalog, scope, self.today, what=what, name=name, form=form, personal=personal, from_=from_, to=to, where=where,
            entity_type=entity_type, entity_id=entity_id, event_type=event_type, actor=actor, session=session,
        )  # fmt: skip
        with written(out) as stream:
            return export(
                self.ledger,
                self.catalog,
                self.today,
                asked,
                scope,
                stream,
                progress=progress or (lambda what, done, total: None),
            )

    @property
    def exports(self) -> Exports:
        """The exports that were asked for, with their files."""
        from dayfold.jobs.exports import Exports

        return Exports(self.ledger, self.catalog, self.settings.export, self.folder, self.today)

    def resolved(self, scope: Scope) -> Scope:
        """The scope with its relations looked up, at most ``[auth] relation_s`` seconds ago; what is read needs it so.

        Raises:
            AccessUnknown: when a database does not tell; Forbidden: when a grant does not fit the definitions.
        """
        return self.relations.resolve(scope)

    def check_scope(self, scope: Scope) -> None:
        """Raise UnknownName or UsageError where the relations of a scope that is to be given out do not fit the definitions."""
        if scope.relations:
            self.catalog.check()
        for grant in scope.relations:
            relations.check_grant(self.catalog, self.databases, grant)

    def answer(self, request: Request, *, live: bool = False) -> Answer:
        """The answer to a request that was made before. Raises QueryRefused, DefinitionError."""
        from dayfold.query.run import answer, live_answer

        self.catalog.check()
        if live:
            self._count_now(request.rollup)
            return live_answer(
                self.ledger, request, self._live_sources(request.rollup.name), self.settings.query.live_s
            )
        return answer(self.ledger, request)

    def _count_now(self, rollup: RollupDef) -> None:
        """What waits in the live store for a counter that a rollup is folded from is where a live answer reads it."""
        self.counters.settle(self.catalog.with_lowers([rollup]))

    def explain(
        self,
        rollup: str,
        metric: str,
        *,
        day: dt.date | str | None = None,
        where: Sequence[str] = (),
        limit: int = 20,
        offset: int = 0,
        scope: Scope = EVERYTHING,
    ) -> Explanation:
        """Where one number comes from: its SQL, the source rows behind it, the run that wrote it, and why. Writes nothing.

        Args:
            rollup: Its class or table name.
            metric: The metric's name.
            day: A date, ``YYYY-MM-DD``, ``today``, ``yesterday`` or ``-7d`` (UTC); none of a profile.
            where: One word for each key column: ``"k=v"``, or ``"k="`` for NULL.
            limit: At most so many source rows, after the first ``offset``.
            offset: How many source rows come before the first one.
            scope: What the asker may see.

        Raises:
            UsageError: where the key is not named wholly; QueryRefused: where the rollup was never folded, or the key is not
                the asker's; UnknownName, BadDate.
        """
        from dayfold.query.explain import cell_filters, explain
        from dayfold.query.request import Request

        scope = self.resolved(scope)
        definition = scope.rollup(self.catalog, rollup)
        found = cell_filters(definition, where)
        if definition.is_profile:
            if day is not None:
                raise UsageError(f"{definition.name} is a profile, which has no days.", hint="Leave the day out.")
            request = Request.of_entity(definition, metric, found, self.today, scope)
        elif day is None:
            raise UsageError("The day of the cell is missing.", hint="Such as: --day yesterday")
        else:
            request = Request.parse(definition, [metric], from_=day, to=day, where=where, today=self.today, scope=scope)
        self.catalog.check()
        return explain(self.ledger, self._live_sources(definition.name), request, limit=limit, offset=offset)

    def _live_sources(self, name: str) -> Sources:
        """The sources of one rollup as they stand now."""
        from dayfold.fold.told import told
        from dayfold.query.sources import Sources

        bound = self.bind([name])
        rollup = next(one for one in bound.rollups if one.name == name)
        now = told(self.databases, self.ledger, bound, rollup)
        return Sources(
            self.databases,
            rollup,
            now.failed,
            frozenset(now.untracked),
            frozenset(now.renewed),
            now.logs,
            now.entities,
        )

    def covered(self, rollup: str) -> dict[str, dict[str, list[dict[str, dt.date]]]]:
        """The days of each source of a rollup in each state of coverage, as ranges ``from`` and ``to``; empty before its first fold."""
        from dayfold.query.status import covered

        return covered(self.ledger, self.catalog[rollup].name)

    def checks(self) -> tuple[CheckStatus, ...]:
        """How every check that is defined ended last. Runs none."""
        from dayfold.query.status import checked

        return checked(self.catalog, self.ledger)

    def unhealed(self) -> list[Unhealed]:
        """What drifted when it was last compared with its sources, and was not healed since. Verifies nothing."""
        from dayfold.query.status import unhealed

        return unhealed(self.catalog, self.ledger)

    def verified(self) -> list[Verified]:
        """How far each rollup is verified, as verifications that were made tell. Verifies nothing."""
        from dayfold.query.status import verified

        return verified(self.catalog, self.ledger)

    def status(self, runs: int = 10) -> Status:
        """Coverage, rows and bytes of each rollup, and the last runs."""
        from dayfold.query.status import status

        return status(self.catalog, self.ledger, self.today, runs)

    def doctor(self) -> list[Finding]:
        """Connections, permissions, clocks, definitions and indexes, each with what to do."""
        from dayfold.fold.doctor import doctor

        found = doctor(self.databases, self.ledger, self.catalog, self.clock, self.policies())
        return found if self.catalog.problems else [*found, *self.counters.findings()]

    def policies(self) -> Policies:
        """The row-level policies of rollups with an owner: `install`, `remove`, `status`, and their statements."""
        from dayfold.fold.rls import Policies

        return Policies(self.databases.store, self.catalog, self.settings.rls)

    def tracking(self) -> Tracking:
        """The triggers that tell what changed in tables with ``changes="trigger"``. Raises DefinitionError."""
        from dayfold.fold.track import Tracking

        return Tracking(self.databases, self.ledger, self.bind())

    def installer(self) -> Installer:
        """What installs and removes these triggers, and prints their statements."""
        from dayfold.fold.install import Installer

        tracking = self.tracking()
        # Triggers name the store that they are for.
        self.ledger.ready()
        if self.event_log.is_used or self.counters.is_used:
            self._make_own()
            tracking = self.tracking()
        return Installer(tracking)

    def track_install(self, tables: Sequence[str] = ()) -> list[str]:
        """Make the triggers of tables, all that ask for them by default; the tables that have them now.

        A table in DuckDB then refuses upserts and MERGE.
        """
        return self.installer().install(tables)

    def track_remove(self, tables: Sequence[str] = ()) -> list[str]:
        """Drop our triggers from tables, from all by default; the tables that had some."""
        return self.installer().remove(tables)

    def track_status(self) -> list[TableStanding]:
        """How each table that asks for triggers is tracked."""
        return self.tracking().status()

    @property
    def accounts(self) -> Accounts:
        """Tokens, users and the audit table, with their verbs."""
        from dayfold.ledger.accounts import Accounts, local_actor

        return Accounts(self.ledger, self.catalog, local_actor(), self.check_scope)

    @property
    def saved_pages(self) -> SavedPages:
        """Pages that people saved, with their verbs."""
        from dayfold.ledger.pages import SavedPages

        return SavedPages(self.ledger, self.catalog)

    def alerts(self) -> Alerts:
        """What judges the alert rules, keeps their episodes and tells the channels."""
        from dayfold.jobs.alerts import Alerts

        return Alerts(self)

    def move(
        self,
        to: str | None = None,
        *,
        schema: str | None = None,
        ledger: str | None = None,
        ledger_schema: str | None = None,
        sources: str | None = None,
        dry_run: bool = False,
        abandon: bool = False,
        progress: Progress | None = None,
        stop: StopCheck = never,
    ) -> MoveResult:
        """The store, with all that Dayfold made in it, is in another place, and compared there cell by cell.

        Nothing is written to this store from then on; what is in it can still be read. A move that ended anywhere is gone on with by
        the same call.

        Args:
            to: The address of an empty place: ``duckdb:///FILE``, ``postgresql://USER@HOST/DATABASE`` or
                ``clickhouse://USER@HOST/DATABASE``.
            schema: The schema that tables are made in there. Default: the connection's own.
            ledger: The address of an empty place for the ledger, in PostgreSQL or a DuckDB file: needed where the store goes to
                ClickHouse, and nowhere else.
            ledger_schema: The schema that the ledger's tables are made in there. Default: the connection's own.
            sources: What definitions will call the old store, ``[databases.NAME]``, as the database of sources that stand in it: with
                ``database="NAME"`` in them they are the same sources, and nothing is folded anew.
            dry_run: Say what would be moved, and change nothing.
            abandon: Give up a move that is not done: the store is written to again.
            progress: Called after each portion with ``move``, rows done and rows in all, each of which is copied and compared.
            stop: Called between portions; where it raises `Stopped`, the same call goes on later.

        Raises:
            UsageError: where the other place has something in it; Busy: where somebody works with the store; StoreMoved: where it
                has gone elsewhere; CopyDiffers: where the copy is not the original.
        """
        from dayfold.movedesk import MoveDesk

        desk = MoveDesk(self)
        if abandon:
            return desk.abandon()
        return desk.move(
            to, schema=schema, ledger=ledger, ledger_schema=ledger_schema, sources=sources, dry_run=dry_run, progress=progress, stop=stop,
        )  # fmt: skip

    def elsewhere(
        self, url: str, schema: str | None = None, *, ledger: str | None = None, ledger_schema: str | None = None
    ) -> Dayfold:
        """The same application over another store, with connections of its own, which closing it closes. Nothing is opened yet."""
        store = self.settings.store.model_copy(update={"url": SecretStr(url), "db_schema": schema})
        other = copy.copy(self)
        home = self.settings.ledger.model_copy(
            update={"url": SecretStr(ledger) if ledger is not None else None, "db_schema": ledger_schema}
        )
        other.settings = self.settings.model_copy(update={"store": store, "ledger": home})
        other.databases = _databases(other.settings, self.folder)
        other.ledger = Ledger(other.databases.store, self.clock)
        other._bindings = {}
        other.event_log = EventDesk(other)
        other.counters = CounterDesk(other)
        other._closers = []
        other._connections_are_ours = True
        other._published = None
        return other

    def migrate(self) -> list[str]:
        """Bring the store's ledger to this program's version; the names of the migrations applied."""
        return self.ledger.migrate()


def _databases(settings: configuration.Settings, base: Path) -> Databases:
    """Every database that the settings name; DuckDB files are read through a DuckDB store."""
    store_url = settings.store.url.get_secret_value()
    others = {name: one.url.get_secret_value() for name, one in settings.databases.items()}
    same = {name for name, url in others.items() if _is_same(url, store_url, base)}
    attach = (
        {name: url for name, url in others.items() if name not in same and connect.is_duckdb(url)}
        if connect.is_duckdb(store_url)
        else {}
    )
    ledger_url = settings.ledger.url.get_secret_value() if settings.ledger.url is not None else None
    if connect.is_clickhouse(store_url):
        store: Store = connect.pair(
            store_url,
            ledger_url,
            base=base,
            schema=settings.store.db_schema,
            home_schema=settings.ledger.db_schema,
            family=settings.store.table_engine,
        )
    elif ledger_url is not None:
        raise ConfigError(
            "[ledger] is for a store in ClickHouse; in any other the ledger stands beside the rows.",
            hint="Take ledger.url out, or name a ClickHouse database in store.url.",
        )
    else:
        store = connect.store(
            store_url,
            setting="store.url",
            base=base,
            schema=settings.store.db_schema,
            attach=attach,
            memory_limit=settings.store.memory_limit,
        )
    found: dict[str, Source] = {}
    for name, url in others.items():
        if name in same or name in attach:
            found[name] = store
        else:
            found[name] = connect.source(url, setting=f"databases.{name}.url", base=base)
    return Databases(store, found)


def _is_same(url: str, other: str, base: Path) -> bool:
    if connect.is_duckdb(url) and connect.is_duckdb(other):
        return Path(connect.duckdb_path(url, base)).resolve() == Path(connect.duckdb_path(other, base)).resolve()
    return url == other
