"""Answers a request: coverage, revision and rows are read in one snapshot. Query floor."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed_copy

import pyarrow as pa
import pyarrow.compute as pc

from dayfold.days import Days
from dayfold.define.fingerprint import digest
from dayfold.define.metric import Computed, Gauge
from dayfold.define.rollup import siblings
from dayfold.define.source import Table
from dayfold.define.types import Type
from dayfold.engines.base import Session
from dayfold.engines.scans import ScanFailed
from dayfold.errors import DayfoldError, QueryRefused, TookTooLong
from dayfold.ledger import coverage, fetches, versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, identity
from dayfold.plan.keys import KeyFilter
from dayfold.query.answer import Answer
from dayfold.query.compare import comparison, hours_beside
from dayfold.query.cover import Cover, Frame
from dayfold.query.due import Decider, Due
from dayfold.query.known import Known, known
from dayfold.query.live import LIVE, left_out, merged
from dayfold.query.request import Request
from dayfold.query.series import Series
from dayfold.query.sources import Snapshots, Sources

#: More rows than a person or a program can want at once.
MAX_ROWS = 2_000_000
#: Rows of an answer that are read at once.
_FEW = 5_000


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that a question is answered from: a rollup's tables, or temporary ones that hold live rows too.

    Attributes:
        types: The columns of the table; ``known``: the rollup as it stands, None where it was never folded.
        due: What was computed for live rows.
    """

    table: str
    schema: str | None
    types: Mapping[str, Type]
    known: Known | None
    due: Due | None = None


def answer(ledger: Ledger, request: Request) -> Answer:
    """The answer, with that of the compared range where one is asked for.

    Raises:
        QueryRefused: when the rollup was never folded, or a metric's definition was edited since.
    """
    ledger.store.open()
    while True:
        with ledger.store.transaction(read_only=True) as session:
            found = folded(ledger, session, request)
            version = found.version
            types = ledger.types.get(version.identity)
            if types is not None:
                return answered(ledger, session, request, Rows(version.table, ledger.store.schema, types, found))
        ledger.types[version.identity] = ledger.store.describe(Table(f"{ledger.store.schema}.{version.table}"))


def answers(ledger: Ledger, requests: Sequence[Request]) -> Iterator[Answer]:
    """The answers to questions about one rollup, all from one snapshot. Raises QueryRefused."""
    ledger.store.open()
    while True:
        with ledger.store.transaction(read_only=True) as session:
            found = folded(ledger, session, requests[0])
            version = found.version
            types = ledger.types.get(version.identity)
            if types is not None:
                rows = Rows(version.table, ledger.store.schema, types, found)
                yield from (answered(ledger, session, one, rows) for one in requests)
                return
        ledger.types[version.identity] = ledger.store.describe(Table(f"{ledger.store.schema}.{version.table}"))


def live_answer(ledger: Ledger, request: Request, sources: Sources, limit_s: float) -> Answer:
    """The answer as a fold at this moment would leave it, what was computed for it marked as provisional.

    A source that cannot be read leaves its numbers as they are, with the reason.

    Raises:
        QueryRefused: when it takes longer than ``limit_s``, or the definition was edited since it was folded.
    """
    ledger.store.open()
    ends_at = time.monotonic() + limit_s
    failed = dict(sources.failed)
    while True:
        try:
            with Snapshots(sources.databases, ends_at) as snapshots:
                rows = _live_rows(ledger, snapshots, sources, request, failed)
                return answered(ledger, snapshots.store, request, rows)
        except ScanFailed as failure:
            # An engine's failed statement has ended its transaction, so it starts again without the source.
            failed[failure.scan.label] = left_out(failure)
        except TookTooLong:
            raise QueryRefused(
                f"The live answer takes longer than {limit_s:g} s: too much of {request.rollup.name} would be computed now.",
                hint=f"Fold first: dayfold fold {request.rollup.name}. Or ask for a shorter range or fewer keys, or raise "
                "[query] live_s.",
            ) from None


def _live_rows(
    ledger: Ledger, snapshots: Snapshots, sources: Sources, request: Request, failed: dict[str, DayfoldError]
) -> Rows:
    """What a fold would compute of the asked ranges, merged with the stored rows."""
    session, rollup = snapshots.store, sources.rollup
    found = known(ledger, session, request.rollup.name)
    if found is not None:
        _check_edits(request, found)
        check_same(rollup, found.version)
    ranges = [request.utc_days]
    if request.compare:
        ranges.append(comparison(request.days, request.compare, request.grain, request.today).days)
    carried = (metric for name in request.needed if isinstance(metric := request.rollup.metrics[name], Gauge))
    if any(metric.carry for metric in carried):
        # A level is carried from however long ago.
        ranges = [Days(dt.date.min, max(days.last for days in ranges))]
    number = found.version.number if found else None
    due = Decider(ledger, snapshots, sources, number, failed).decide(ranges, request.today)
    return merged_rows(ledger, snapshots, sources, due, found, ranges, request.filters)


def merged_rows(
    ledger: Ledger,
    snapshots: Snapshots,
    sources: Sources,
    due: Due,
    found: Known | None,
    ranges: Sequence[Days],
    keys: tuple[KeyFilter, ...],
) -> Rows:
    """Rows of some days with what is due computed. Raises ScanFailed."""
    # Hashes of distinct values are compared within this answer alone where nothing is stored yet.
    salt = ledger.store_key(snapshots.store) if found else ""
    sources = changed_copy(sources, rollup=fetches.knowing(sources.rollup, due.standings))
    merged(snapshots, sources, due, ranges, keys, salt, stored=found is not None)
    shape = sources.rollup.shape
    types = {one.name: one.type for one in shape.columns}
    return Rows(LIVE, None, types, found, due)


def answered(ledger: Ledger, session: Session, request: Request, rows: Rows) -> Answer:
    """The answer from some rows, with that of the compared range where one is asked for."""
    if not request.compare:
        return _answer(ledger, session, request, rows)
    other = comparison(request.days, request.compare, request.grain, request.today)
    # Each range shows the keys of both, so that one that came or went stands beside its zero.
    found = _answer(ledger, session, changed_copy(request, also=other.days), rows)
    earlier = changed_copy(request, days=other.days, also=request.days, compare=None, sort=None, limit=None)
    found.compare = _answer(ledger, session, earlier, rows)
    found.beside = hours_beside(other.beside, request.zone) if request.grain == "hour" else other.beside
    return found


def folded(ledger: Ledger, session: Session, request: Request) -> Known:
    """The rollup as it stands, which must have what is asked for. Raises QueryRefused."""
    name = request.rollup.name
    found = known(ledger, session, name)
    if found is None:
        raise QueryRefused(f"{name} was never folded.", hint=f"Run: dayfold fold {name}")
    _check_edits(request, found)
    return found


def _check_edits(request: Request, found: Known) -> None:
    """Refuse what was edited since it was folded."""
    rollup = request.rollup
    metrics, others = found.edited(rollup)
    if edited := [*(name for name in request.needed if name in metrics), *others]:
        what = ", ".join(edited)
        raise QueryRefused(
            f"The definition of {rollup.name} was edited since it was folded: {what}.",
            hint=f"Run: dayfold fold {rollup.name}",
        )


def check_same(rollup: BoundRollup, version: versions.Version) -> None:
    """Refuse live rows beside stored ones of another definition. Raises QueryRefused."""
    if version.fingerprint != digest(identity(rollup)):
        raise QueryRefused(
            f"The definition of {rollup.name} was edited since it was folded, so that rows computed now do not fit the stored ones.",
            hint=f"Run: dayfold fold {rollup.name}",
        )


def _answer(ledger: Ledger, session: Session, request: Request, rows: Rows) -> Answer:
    frame = _frame(ledger, session, request, rows)
    spine = frame.spine
    dialect = ledger.store.dialect
    if request.by and len(spine.buckets) > 1 and not request.limit:
        groups = session.rows(Series(request, rows.table, rows.types, rows.schema, dialect, spine).groups())[0][0]
        if groups * len(spine.buckets) > MAX_ROWS:
            raise QueryRefused(
                f"The answer would have {groups * len(spine.buckets):,} rows; at most {MAX_ROWS:,} are given at once.",
                hint="Ask for a shorter range, a coarser grain, or fewer keys with --where.",
            )
    series = Series(request, rows.table, rows.types, rows.schema, dialect, spine)
    statement = series.statement()
    most = request.limit or (len(spine.buckets) if not request.by else MAX_ROWS)
    table = session.arrow(statement, series.columns, few=most <= _FEW)
    exact, error = _exactness(request, table)
    table = narrowed(table.select([*request.bucket_columns, *request.by, *request.metrics]))
    if request.grain == "hour":
        # The same instants, written with the offset that the asked zone has at each.
        zoned = pa.timestamp("us", tz=request.tz or "UTC")
        table = table.set_column(1, "hour", pc.cast(table.column("hour"), zoned))
    revision = rows.known.version.revision if rows.known else 0
    return Answer(
        request, table, exact, error, list(frame.missing), list(frame.stale), list(spine.partial), revision,
        provisional=list(frame.provisional),
    )  # fmt: skip


def _frame(ledger: Ledger, session: Session, request: Request, rows: Rows) -> Frame:
    """The buckets of the answer, and what has to be said with them."""
    if rows.due is None:
        assert rows.known is not None
        return rows.known.frame(ledger, session, request)
    days: list[coverage.DayCover] = []
    history: dict[str, dt.date] = {}
    if rows.known is not None:
        number = rows.known.version.number
        days = coverage.coverage(ledger, session, request.rollup.name, number, request.utc_days)
        history = rows.known.history(ledger, session)
    labels = [source.label for source in request.rollup.sources]
    days = rows.due.covered(days, request.utc_days, labels)
    return Cover(request, days, rows.due.history(history, labels), rows.due.reasons, rows.due.failed).frame()


def narrowed(table: pa.Table) -> pa.Table:
    """Whole numbers as 64-bit integers where they fit; a sum over a range may need more digits and keeps them."""
    for place, one in enumerate(table.schema):
        if pa.types.is_decimal(one.type) and one.type.scale == 0:
            with contextlib.suppress(pa.ArrowInvalid):
                table = table.set_column(place, one.name, pc.cast(table.column(place), pa.int64()))
    return table


def _exactness(request: Request, table: pa.Table) -> tuple[dict[str, bool], dict[str, float]]:
    """Whether each metric is exact in every row and, if not, its greatest error; formulas take after their parts."""
    exact: dict[str, bool] = {}
    error: dict[str, float] = {}
    for name in request.needed:
        metric = request.rollup.metrics[name]
        if isinstance(metric, Computed):
            exact[name] = all(exact[part] for part in siblings(metric))
        elif name in request.distincts and f"{name}__exact" in table.column_names:
            exact[name] = pc.all(table[f"{name}__exact"]).as_py() is not False
            greatest = pc.max(table[f"{name}__error"]).as_py()
            if greatest is not None:
                error[name] = greatest
        else:
            exact[name] = True
    return {name: exact[name] for name in request.metrics}, {
        name: error[name] for name in request.metrics if name in error
    }
