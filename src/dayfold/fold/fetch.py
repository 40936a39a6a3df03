"""Fetches the facts of function sources, day by day, into tables of the store. Fold floor.

Invariant: the rows of a day, what is recorded of it and the marks of every rollup that reads it are one transaction; what did not
change is not written. No transaction is open while a function runs.

Weakness: a function runs on the thread of the fold, one day after another.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold import streams
from dayfold.clock import Clock
from dayfold.clock import today as today_of
from dayfold.days import Days, without
from dayfold.define.function import DAY, FunctionSource
from dayfold.define.types import DATE
from dayfold.engines.base import Session, Store, check_columns
from dayfold.engines.databases import Databases
from dayfold.errors import NotReady, Stopped, SuddenlyEmpty
from dayfold.ledger import coverage, fetches, leases, marks, versions
from dayfold.ledger.fetches import FAILED, FETCHED, GIVEN_UP, WAITING, Fetch, Standing
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup
from dayfold.plan.shape import Column, Shape, quoted
from dayfold.plan.sql import Statement, Values, alias, column, derived, table

if TYPE_CHECKING:
    import pyarrow as pa

#: Answers are kept after so many days, rows or seconds: a run that is killed asks for no more of them again.
_BATCH_DAYS = 256
_BATCH_ROWS = 100_000
_BATCH_SECONDS = 5.0
_ANSWERS, _ASKED, _CHANGED = "dayfold_answers__", "dayfold_asked__", "dayfold_answered_anew__"
_THE_DAY = Column(DAY, DATE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function said of one day: its rows, or why there are none."""

    day: dt.date
    state: str
    rows: pa.Table | None = None
    reason: str | None = None


@dataclass(slots=True)
class _Asked:
    """What was asked of one source in this run, and what failed; ``empty``: why nothing was kept of it."""

    days: set[dt.date] = field(default_factory=set)
    failures: dict[dt.date, str] = field(default_factory=dict)
    empty: SuddenlyEmpty | None = None


class Fetcher:
    """Fetches for the rollups of one run: what one of them asked for is not asked for again.

    ``stop``: called before a function is asked for a day; where it raises `Stopped`, what was answered is kept.
    """

    def __init__(
        self, databases: Databases, ledger: Ledger, clock: Clock, wait_s: float, stop: Callable[[], None]
    ) -> None:
        self.stop = stop
        self.store = databases.store
        self.ledger = ledger
        self.clock = clock
        self.wait_s = wait_s
        self._asked: dict[str, _Asked] = {}

    def fetch(
        self,
        rollup: BoundRollup,
        version: int,
        *,
        days: Sequence[Days] | None = None,
        allow_empty: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> dict[str, dict[dt.date, str]]:
        """The due days of a rollup's functions are fetched; for each function the days that failed, with the reason.

        ``days`` are asked for whatever is known of them; by default those that are due.

        Raises:
            SuddenlyEmpty: where a function has nothing for all days that it is asked for, and had some; nothing is kept then.
            Busy: when another run is fetching it; Stopped: when the run was told to stop.
        """
        failed: dict[str, dict[dt.date, str]] = {}
        for source in rollup.functions:
            asked = self._asked.setdefault(source.staging, _Asked())
            # Also where nothing is due: what another run is writing now is then seen by this one.
            with leases.lease(self.ledger, source_lease(source), wait_s=self.wait_s) as lease:
                found, sealed = self._look(rollup, version, source)
                today = today_of(self.clock)
                wanted = due_days(source, rollup, found, sealed, today) if days is None else list(_each(days, sealed))
                wanted = [day for day in wanted if day not in asked.days]
                _Fetch(self, source, found, asked, lease, today, allow_empty).run(wanted, progress)
                failed[source.label] = {
                    day: reason
                    for day, reason in asked.failures.items()
                    if days is None or any(day in one for one in days)
                }
        return {source: reasons for source, reasons in failed.items() if reasons}

    def drop_unread(self) -> None:
        """What was fetched for a definition that nobody has any more is gone."""
        with self.store.transaction(read_only=True) as session:
            known = fetches.sources(self.ledger, session)
        if known:
            with self.store.transaction() as session:
                drop_unread(self.ledger, session)

    def _look(self, rollup: BoundRollup, version: int, source: FunctionSource) -> tuple[Standing, list[Days]]:
        with self.store.transaction(read_only=True) as session:
            found = fetches.standing(self.ledger, session, source.staging)
            known = coverage.ranges(self.ledger, session, rollup.name, version)
        return found, coverage.sealed_days(known)


def said_unfetched(source: str, days: Mapping[dt.date, str]) -> str:
    """Which days of a function could not be fetched, and why the first of them.

    >>> said_unfetched("ad_spend", {dt.date(2026, 3, 1): "the function raised TimeoutError"})
    'ad_spend: 2026-03-01 could not be fetched: the function raised TimeoutError'
    """
    first = min(days)
    more = f" and {len(days) - 1:,} more days" if len(days) > 1 else ""
    return f"{source}: {first}{more} could not be fetched: {days[first]}"


def source_lease(source: FunctionSource) -> str:
    """What the lease of a function is called; no rollup has such a name."""
    return f"source {source.label}"


def _each(ranges: Iterable[Days], sealed: Sequence[Days]) -> Iterable[dt.date]:
    return (day for one in ranges for part in without(one, sealed) for day in part)


def history(source: FunctionSource, rollup: BoundRollup, found: Standing, today: dt.date) -> dt.date:
    """The first day that a rollup needs of a function."""
    since = [one for one in (source.since, rollup.definition.since) if one is not None]
    if since:
        return max(since)
    looked_back = today - dt.timedelta(days=source.lookback)
    return min(found.first or looked_back, looked_back)


def due_days(
    source: FunctionSource, rollup: BoundRollup, found: Standing, sealed: Sequence[Days], today: dt.date
) -> list[dt.date]:
    """The days to ask a function for: without an answer for good, in the lookback, or never asked for."""
    start = history(source, rollup, found, today)
    if start > today:
        return []
    recent = today - dt.timedelta(days=source.lookback)

    def is_due(day: dt.date) -> bool:
        one = found.by_day.get(day)
        return one is None or day >= recent or not (one.is_settled or one.state == GIVEN_UP)

    return [day for day in _each([Days(start, today)], sealed) if is_due(day)]


class _Fetch:
    """Asks one function for some days under its lease, and keeps what it says."""

    def __init__(
        self,
        fetcher: Fetcher,
        source: FunctionSource,
        found: Standing,
        asked: _Asked,
        lease: leases.Lease,
        today: dt.date,
        allow_empty: bool,
    ) -> None:
        self.fetcher = fetcher
        self.ledger = fetcher.ledger
        self.source = source
        self.known = dict(found.by_day)
        self.asked = asked
        self.lease = lease
        self.today = today
        self.allow_empty = allow_empty

    def run(self, days: Sequence[dt.date], progress: Callable[[str, int, int], None] | None) -> None:
        if self.asked.empty is not None and not self.allow_empty:
            raise self.asked.empty
        waiting: list[Answer] = []
        emptied: list[Answer] = []
        any_rows = False
        began = time.monotonic()
        for done, day in enumerate(days, 1):
            try:
                self.fetcher.stop()
            except Stopped:
                self._keep(waiting)
                raise
            answer = ask(self.source, day, self.today)
            if answer.state in (FAILED, GIVEN_UP):
                self.asked.failures[day] = answer.reason or ""
            any_rows = any_rows or bool(answer.rows is not None and answer.rows.num_rows)
            before = self.known.get(day)
            is_emptied = answer.state == FETCHED and not answer.rows and bool(before and before.held)
            (emptied if is_emptied else waiting).append(answer)
            held = sum(one.rows.num_rows for one in waiting if one.rows is not None)
            full = len(waiting) >= _BATCH_DAYS or held >= _BATCH_ROWS
            if full or time.monotonic() - began > _BATCH_SECONDS:
                self._keep(waiting)
                waiting, began = [], time.monotonic()
                if progress:
                    progress(self.source.label, done, len(days))
        self._keep(waiting)
        if emptied and not any_rows and not self.allow_empty:
            self.asked.empty = self._suddenly_empty(emptied)
            raise self.asked.empty
        self._keep(emptied)
        if progress and len(days) > _BATCH_DAYS:
            progress(self.source.label, len(days), len(days))

    def _suddenly_empty(self, emptied: Sequence[Answer]) -> SuddenlyEmpty:
        before = sum(self.known[one.day].held or 0 for one in emptied)
        days = Days(emptied[0].day, emptied[-1].day)
        return SuddenlyEmpty(
            f"{self.source.title} returns nothing for {days.first} to {days.last}, where it had {before} facts before. "
            "Nothing was changed.",
            hint="If its facts are really gone, run again with --allow-empty. Otherwise check what it asks, and its rights.",
        )

    # -- keeping ---------------------------------------------------------------------------------

    def _keep(self, answers: Sequence[Answer]) -> None:
        """What was answered is in the store, and what changed by it is marked."""
        if not answers:
            return
        self.asked.days |= {one.day for one in answers}
        rows = [one for one in answers if one.rows is not None]
        if not rows and not self._recorded(answers, set()):
            return
        self.ledger.retried(lambda: self._write(answers, rows))

    def _write(self, answers: Sequence[Answer], rows: Sequence[Answer]) -> None:
        ledger, source = self.ledger, self.source
        with ledger.store.transaction() as session:
            leases.fence(ledger, session, self.lease)
            changed = stage_answers(session, source, ledger.store.schema, rows) if rows else set()
            if changed:
                replace_rows(session, source, ledger.store.schema)
            records = self._recorded(answers, changed)
            if records:
                fetches.record_fetches(ledger, session, source.staging, records)
            marked = [one.day for one in records if one.day in changed or self._differs(one)]
            if marked:
                mark_days(ledger, session, source, marked)
        self.known |= {one.day: one for one in records}

    def _recorded(self, answers: Sequence[Answer], changed: set[dt.date]) -> list[Fetch]:
        """What is to be recorded anew of these days: not where it says what it said before."""
        found = []
        for answer in answers:
            before = self.known.get(answer.day)
            held = before.held if before else None
            if answer.rows is not None:
                held = answer.rows.num_rows
            one = Fetch(answer.day, answer.state, answer.reason, held, self.today)
            settles = before is not None and one.is_settled != before.is_settled
            if answer.day in changed or settles or self._differs(one):
                found.append(one)
        return found

    def _differs(self, one: Fetch) -> bool:
        before = self.known.get(one.day)
        return before is None or before.standing != one.standing


def ask(source: FunctionSource, day: dt.date, today: dt.date) -> Answer:
    """What a function says of a day; what it raises is told by its class alone, because its text may hold anything."""
    from dayfold.fold.rows import RowsWrong, typed_rows

    try:
        # What it prints is for its author, and must not stand among the rows of an answer.
        with streams.output(sys.stderr):
            return Answer(day, FETCHED, typed_rows(source(day), source.types))
    except NotReady as error:
        if source.wait_days is not None and (today - day).days > source.wait_days:
            return Answer(day, GIVEN_UP, None, f"not ready after {source.wait_days} days: {error.message}")
        return Answer(day, WAITING, None, error.message)
    except RowsWrong as error:
        return Answer(day, FAILED, None, str(error))
    except (Exception, SystemExit) as error:
        if os.environ.get("DAYFOLD_DEBUG"):
            traceback.print_exception(error)
        return Answer(day, FAILED, None, f"the function raised {type(error).__name__}")


# -- the table of its rows -------------------------------------------------------------------------


def staging(source: FunctionSource, schema: str) -> Shape:
    """The table of what was fetched: the day and the declared columns."""
    columns = tuple(Column(name, type_) for name, type_ in source.types.items())
    return Shape(source.staging, schema, (), DAY, DAY, columns, stamped=False)


def has_table(store: Store, session: Session, source: FunctionSource) -> bool:
    """Whether it was ever fetched from. Raises StoreAltered where its table has other columns."""
    found = store.stored_columns(session, [source.staging])
    if not found:
        return False
    check_columns(store, staging(source, store.schema), found[source.staging])
    return True


def ensure_table(ledger: Ledger, source: FunctionSource) -> None:
    """The table of a function's rows is there; where somebody dropped it, all of its days are fetched again."""

    def is_there() -> bool:
        with ledger.store.transaction(read_only=True) as session:
            return has_table(ledger.store, session, source)

    ledger.make_once(is_there, lambda: make_table(ledger, source))


def make_table(ledger: Ledger, source: FunctionSource) -> None:
    """Make the table and forget what was in an earlier one."""
    shape = staging(source, ledger.store.schema)
    with ledger.store.transaction() as session:
        make_empty(session, shape)
        index_table(ledger.store, session, shape)
        fetches.forget_fetches(ledger, session, source.staging)
        versions.add_fence(ledger, session, source_lease(source))


def make_empty(session: Session, shape: Shape) -> None:
    """A table of fetched rows is there, without a row."""
    session.make(shape.name, shape.columns, required=shape.required, day=DAY, is_log=True)


def index_table(store: Store, session: Session, shape: Shape) -> None:
    """Days of a new table are found by an index, where the engine needs one."""
    if store.dialect.name == "postgres":
        session.execute(f"CREATE INDEX ON {quoted(shape.schema)}.{quoted(shape.name)} ({quoted(DAY)})")


def stage_answers(session: Session, source: FunctionSource, schema: str, answers: Sequence[Answer]) -> set[dt.date]:
    """Answers as a temporary table, and the days among them whose rows are not those that are stored."""
    import pyarrow as pa

    columns = staging(source, schema).columns
    parts = []
    for one in answers:
        assert one.rows is not None
        day = pa.array([one.day], pa.date32()).take(pa.array([0] * one.rows.num_rows, pa.int32()))
        parts.append(one.rows.add_column(0, DAY, day))
    session.load(_ANSWERS, columns, pa.concat_tables(parts))
    asked = pa.table({DAY: pa.array([one.day for one in answers], pa.date32())})
    session.load(_ASKED, [_THE_DAY], asked)
    names = [column(one.name) for one in columns]
    new = exp.select(*names).from_(table(_ANSWERS))
    old = exp.select(*names).from_(table(source.staging, schema)).where(_on_days(_ASKED))
    sides = [derived(exp.except_(a, b, distinct=False), "side__") for a, b in ((new, old), (old, new))]
    whole = exp.union(*(exp.select(column(DAY)).from_(side) for side in sides), distinct=True)
    session.stage(_CHANGED, Statement(whole))
    return {day for (day,) in session.rows(Statement(exp.select(column(DAY)).from_(table(_CHANGED))))}


def replace_rows(session: Session, source: FunctionSource, schema: str) -> None:
    """The stored rows of the days that changed are those that were staged."""
    shape = staging(source, schema)
    names = [column(one.name) for one in shape.columns]
    gone = exp.Delete(this=shape.table, where=exp.Where(this=_on_days(_CHANGED)))
    session.execute(Statement(gone))
    target = exp.Schema(this=shape.table, expressions=[one.this for one in names])
    rows = exp.select(*names).from_(table(_ANSWERS)).where(_on_days(_CHANGED))
    session.execute(Statement(exp.Insert(this=target, expression=rows)))


def _on_days(listed: str) -> exp.Expr:
    days = exp.select(column(DAY)).from_(table(listed))
    return exp.In(this=column(DAY), query=exp.Subquery(this=days))


def mark_days(ledger: Ledger, session: Session, source: FunctionSource, days: Sequence[dt.date]) -> None:
    """Every cell of these days is marked in every rollup that reads the function, but on sealed days."""
    import pyarrow as pa

    session.load(_CHANGED, [_THE_DAY], pa.table({DAY: pa.array(days, pa.date32())}))
    for rollup, version in versions.readers(ledger, session, source.staging):
        values = Values()
        sealed = ledger.sql(
            "select c.day from dayfold__coverage as c where c.rollup = _rollup and c.version = _version and c.state = 'sealed'",
            _rollup=values.bind(rollup, "text"), _version=values.bind(version, "bigint"),
        ).tree  # fmt: skip
        assert isinstance(sealed, exp.Select)
        cells = exp.select(alias(exp.cast(exp.Null(), "text"), "key"), column(DAY)).from_(table(_CHANGED))
        cells = cells.where(exp.Not(this=exp.In(this=column(DAY), query=exp.Subquery(this=sealed))))
        marks.mark(ledger, session, rollup, version, cells, f"{source.label}: fetched", values)


def drop_unread(ledger: Ledger, session: Session) -> None:
    """What was fetched from functions that no rollup of the store reads any more is gone."""
    for name in fetches.sources(ledger, session):
        if not versions.readers(ledger, session, name):
            session.execute(f"DROP TABLE IF EXISTS {quoted(ledger.store.schema)}.{quoted(name)}")
            fetches.forget_fetches(ledger, session, name)
