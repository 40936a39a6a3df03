"""Retain: raw events past their time go, and what was folded of them stays for good. Fold floor.

A day of events is deleted only when every rollup over events has it sealed, or never counts it. Days are sealed here first: those
that every source of a rollup has folded and that nothing waits for. What cannot be sealed is kept, and why is said.

Invariant: a day is sealed before any of its events goes; a process that ends in between leaves all of them, or the day without any.

Weakness: a rollup that is defined later begins where the events do.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dayfold.clock import Clock
from dayfold.clock import today as today_of
from dayfold.days import ONE_DAY, Days, union
from dayfold.define.events import TABLE, EventLog
from dayfold.define.fingerprint import digest
from dayfold.define.metric import Increase
from dayfold.define.source import Folded
from dayfold.engines.base import Changed, Session
from dayfold.fold.fold import StopCheck
from dayfold.fold.reduce import over_events
from dayfold.ledger import counted, coverage, events, history, leases, marks, quarantine, receipts, runs, versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, identity
from dayfold.plan.sql import column, table
from dayfold.settings import RetainSettings

#: What a run that seals days is called.
JOB = "seal"


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that is past its time: how much of it, and of which days."""

    what: str
    count: int
    first: dt.date | None
    last: dt.date | None


@dataclass(frozen=True, slots=True)
class Kept:
    """Days whose events are past their time and stay, and why."""

    days: Days
    events: int
    reason: str


@dataclass(slots=True)
class Retained:
    """What is past its time, or was.

    Attributes:
        things: What there is to delete, or was deleted.
        sealed: How many days of each rollup are to be sealed first, or were.
        kept: Events that stay though they are past their time.
        deleted: Whether it was deleted.
    """

    things: list[Thing] = field(default_factory=list)
    sealed: dict[str, int] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    deleted: bool = False

    def as_object(self) -> dict[str, Any]:
        """The same for JSON."""
        kept = [
            {"from": one.days.first, "to": one.days.last, "events": one.events, "reason": one.reason}
            for one in self.kept
        ]
        return {
            "deleted": self.deleted, "things": [asdict(one) for one in self.things], "sealed": self.sealed, "kept": kept,
        }  # fmt: skip


@dataclass(slots=True)
class _Standing:
    """How one rollup stands: the days that are sealed in it, and what keeps others from being so."""

    rollup: BoundRollup
    number: int
    states: Mapping[str, Mapping[str, Sequence[Days]]]
    marked: marks.Marks
    wrong: str = ""

    def reason(self, day: dt.date) -> str | None:
        """Why a day cannot be sealed; None where it can be, or is."""
        since = self.rollup.definition.since
        if self.is_sealed(day) or (since is not None and day < since):
            return None
        if self.wrong:
            return self.wrong
        name = self.rollup.name
        if self.marked.everything or day in self.marked.whole_days or day in self.marked.cells:
            return f"{name} has changes of it to fold"
        for source in dict.fromkeys(scan.label for scan in self.rollup.scans):
            found = [
                state for state, ranges in self.states.get(source, {}).items() if any(day in one for one in ranges)
            ]
            if not found:
                return f"{name} has not folded it"
            if found[0] not in (coverage.FOLDED, coverage.SEALED):
                return f"{name} is {found[0]} on it"
        return None

    def is_sealed(self, day: dt.date) -> bool:
        """Whether a day is never computed again."""
        return any(day in one for one in coverage.sealed_days(self.states))

    def is_counted(self, day: dt.date) -> bool:
        """Whether the rollup has anything of a day."""
        return any(day in one for states in self.states.values() for ranges in states.values() for one in ranges)


def computed_from_events(rollups: Sequence[BoundRollup]) -> list[BoundRollup]:
    """The rollups whose days have to be sealed before events of these go.

    A profile over a rollup is not among them, nor what is folded from it: the rows of the rollup stay.
    """
    found: dict[str, BoundRollup] = {}
    for one in over_events(rollups):
        for source in one.definition.sources:
            is_above = isinstance(source, Folded) and source.rollup.__name__ in found and not source.is_lifelong
            if isinstance(source, EventLog) or (is_above and not one.is_lifelong):
                found[one.name] = one
    return list(found.values())


@dataclass(slots=True)
class Retainer:
    """Deletes what is past its time in one store. ``bind``: the rollups of the definitions, where days are to be sealed."""

    ledger: Ledger
    clock: Clock
    bind: Callable[[], Sequence[BoundRollup]]
    settings: RetainSettings
    wait_s: float
    stop: StopCheck
    remember_days: int = 7
    settle_counts: Callable[[], bool] = lambda: True

    def run(self, *, yes: bool) -> Retained:
        """Look, and with ``yes`` seal and delete."""
        found = Retained(deleted=yes)
        if self.settings.events_days is not None and events.exists(self.ledger):
            self._events(found, self.settings.events_days, yes=yes)
        if self.settings.quarantine_days is not None:
            self._quarantine(found, self.settings.quarantine_days, yes=yes)
        self._history(found, yes=yes)
        self._counters(found, yes=yes)
        return found

    # -- events ----------------------------------------------------------------------------------

    def _events(self, found: Retained, keep_days: int, *, yes: bool) -> None:
        rollups = computed_from_events(self.bind())
        before = today_of(self.clock) - dt.timedelta(days=keep_days)
        held = self._held(before)
        standings = self._standings(rollups)
        for one in standings:
            days = self._sealable(one, held)
            if days and yes:
                days = self._seal(one.rollup, held)
            if days:
                found.sealed[one.rollup.name] = sum(map(len, days))
        if yes:
            standings = self._standings(rollups)
        going = self._going(found, standings, held)
        if yes:
            going = self._delete(rollups, going)
            self._delete_ids(before)
        found.things.append(_thing("events", going))

    def _held(self, before: dt.date) -> dict[dt.date, int]:
        """How many events each day before one has."""
        ledger = self.ledger
        day = ledger.store.dialect.piece("utc_date", _x=column("occurred_at"))
        query = ledger.sql(
            "select _day, count(*) from _t where occurred_at < :before::timestamptz group by 1 order by 1",
            _day=day, _t=table(TABLE, ledger.store.schema), before=_start(before),
        )  # fmt: skip
        with ledger.store.transaction(read_only=True) as session:
            return {one: int(count) for one, count in session.rows(query)}

    def _standings(self, rollups: Sequence[BoundRollup]) -> list[_Standing]:
        with self.ledger.store.transaction(read_only=True) as session:
            known = versions.versions(self.ledger, session)
            return [self._standing(session, one, known.get(one.name)) for one in rollups]

    def _standing(self, session: Session, rollup: BoundRollup, version: versions.Version | None) -> _Standing:
        name = rollup.name
        if version is None:
            return _Standing(rollup, 0, {}, marks.Marks(False, (), {}), f"{name} was never folded")
        found = _Standing(
            rollup, version.number, coverage.ranges(self.ledger, session, name, version.number),
            marks.pending(self.ledger, session, name, version.number),
        )  # fmt: skip
        grown = [
            one for one, metric in rollup.definition.measured.items()
            if isinstance(metric, Increase) and isinstance(metric.source, EventLog)
        ]  # fmt: skip
        if rollup.is_lifelong:
            found.wrong = (
                f"{name} is of whole lives, and would forget them; fold a rollup of them, and the profile over that"
            )
        elif grown:
            found.wrong = f"{name}.{grown[0]} compares levels with those of earlier days"
        elif version.building or version.fingerprint != digest(identity(rollup)):
            found.wrong = f"the definition of {name} was edited and is not folded since"
        return found

    def _sealable(self, one: _Standing, held: Mapping[dt.date, int]) -> list[Days]:
        """The days up to the last with events to delete that can be sealed and are not."""
        if not held or not one.number or one.rollup.is_lifelong:
            return []
        last = max(held)
        firsts = [days.first for states in one.states.values() for ranges in states.values() for days in ranges]
        first = min(firsts, default=last + ONE_DAY)
        asked = (first + dt.timedelta(days=n) for n in range((last - first).days + 1))
        return union(
            Days(day, day)
            for day in asked
            if one.is_counted(day) and not one.is_sealed(day) and one.reason(day) is None
        )

    def _seal(self, rollup: BoundRollup, held: Mapping[dt.date, int]) -> list[Days]:
        """Days are sealed, with receipts that hold on every engine: one transaction, under the rollup's lease."""
        ledger, name = self.ledger, rollup.name
        with leases.lease(ledger, name, wait_s=self.wait_s) as lease, ledger.store.transaction() as session:
            leases.fence(ledger, session, lease)
            version = versions.versions(ledger, session)[name]
            days = self._sealable(self._standing(session, rollup, version), held)
            if not days:
                return []
            span = Days(days[0].first, days[-1].last)
            run_id = runs.begin(ledger, session, JOB, name, version.number, lease.holder, span)
            for part in days:
                for source in dict.fromkeys(scan.label for scan in rollup.scans):
                    coverage.seal(ledger, session, name, version.number, source, part, run_id)
                receipts.record(ledger, session, rollup.shape, name, version.number, part, run_id, lasting=True)
            versions.bump_revision(ledger, session, name)
            runs.progress(ledger, session, run_id, 0, Changed())
            runs.finish(ledger, session, run_id, runs.DONE, None)
        return days

    def _going(
        self, found: Retained, standings: Sequence[_Standing], held: Mapping[dt.date, int]
    ) -> dict[dt.date, int]:
        """The days whose events may go; those that stay are said with the reason."""
        going: dict[dt.date, int] = {}
        kept: dict[str, list[dt.date]] = {}
        for day, count in held.items():
            reason = next((why for one in standings if (why := one.reason(day)) is not None), None)
            if reason is None:
                going[day] = count
            else:
                kept.setdefault(reason, []).append(day)
        for reason, days in kept.items():
            found.kept += [
                Kept(part, sum(held.get(day, 0) for day in part), reason)
                for part in union(Days(day, day) for day in days)
            ]
        found.kept.sort(key=lambda one: one.days.first)
        return going

    def _delete(self, rollups: Sequence[BoundRollup], going: Mapping[dt.date, int]) -> dict[dt.date, int]:
        """The events of these days are gone, with their ids and the marks that their going made; a day is one transaction."""
        ledger, done = self.ledger, {}
        names = [one.name for one in rollups]
        for day in going:
            self.stop()

            def delete(day: dt.date = day) -> int:
                with ledger.store.transaction() as session:
                    return self._delete_day(session, day, names)

            done[day] = ledger.retried(delete)
        return done

    def _delete_day(self, session: Session, day: dt.date, names: Sequence[str]) -> int:
        ledger = self.ledger
        count = session.execute(
            ledger.sql(
                "delete from _t where occurred_at >= :start::timestamptz and occurred_at < :end::timestamptz",
                _t=table(TABLE, ledger.store.schema), start=_start(day), end=_start(day + ONE_DAY),
            )
        )  # fmt: skip
        session.execute(ledger.sql("delete from dayfold__event_ids where day = :day::date", day=day))
        session.execute(
            ledger.sql(
                "delete from dayfold__marks where day = :day::date and rollup = any(:names::text[]) and "
                "strpos(reason, :reason::text) > 0",
                day=day, names=list(names), reason=f"{TABLE}: delete",
            )
        )  # fmt: skip
        return int(count)

    def _delete_ids(self, before: dt.date) -> None:
        """Ids of days that have no events any more are of no use: those of erased events among them."""
        ledger = self.ledger
        day = ledger.store.dialect.piece("utc_date", _x=column("occurred_at", "e"))
        query = ledger.sql(
            "delete from dayfold__event_ids where day < :before::date and not day in "
            "(select _day from _t as e where e.occurred_at < :end::timestamptz)",
            before=before, end=_start(before), _day=day, _t=table(TABLE, ledger.store.schema),
        )  # fmt: skip

        def delete() -> int:
            with ledger.store.transaction() as session:
                return int(session.execute(query))

        ledger.retried(delete)

    # -- the rest --------------------------------------------------------------------------------

    def _quarantine(self, found: Retained, keep_days: int, *, yes: bool) -> None:
        ledger = self.ledger
        before = self.clock.now() - dt.timedelta(days=keep_days)
        day = "cast({} at time zone 'UTC' as date)"
        look = ledger.sql(
            f"select count(*), {day.format('min(received_at)')}, {day.format('max(received_at)')} from dayfold__quarantine where "
            "received_at < :before::timestamptz",
            before=before,
        )
        with ledger.store.transaction(read_only=not yes) as session:
            [row] = session.rows(look)
            if yes:
                quarantine.expire(ledger, session, before)
        found.things.append(Thing("quarantine", *row))

    def _counters(self, found: Retained, *, yes: bool) -> None:
        """Ids of increments that would be refused by now, and notes of batches; what ended processes have added is summed up."""
        now, ledger = self.clock.now(), self.ledger
        # What waits may have ids that came before: these are known until it is applied.
        is_settled = yes and self.settle_counts()
        # A day more than they are remembered: an increment is refused by its moment, and noted when it was flushed.
        ids = now - dt.timedelta(days=self.remember_days + 1)
        flushes = now - dt.timedelta(days=self.settings.flushes_days)

        def once() -> dict[str, tuple[int, dt.date | None, dt.date | None]]:
            with ledger.store.transaction(read_only=not yes) as session:
                past = counted.past(ledger, session, ids, flushes)
                if is_settled:
                    counted.forget_ids(ledger, session, ids)
                if yes:
                    counted.forget_flushes(ledger, session, flushes)
                    counted.merge_adders(ledger, session, now - dt.timedelta(days=2))
                return past

        found.things += [Thing(name, *row) for name, row in ledger.retried(once).items()]

    def _history(self, found: Retained, *, yes: bool) -> None:
        keep = {name: getattr(self.settings, name) for name in ("runs_days", "audit_days", "alerts_days")}
        with self.ledger.store.transaction(read_only=not yes) as session:
            past = history.past(self.ledger, session, **keep)
            if yes:
                counts = history.forget_older(self.ledger, session, **keep)
                past = {name: (counts[name], first, last) for name, (_, first, last) in past.items()}
        found.things += [Thing(name, *row) for name, row in past.items()]


def _thing(what: str, days: Mapping[dt.date, int]) -> Thing:
    return Thing(what, sum(days.values()), min(days, default=None), max(days, default=None))


def _start(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)
