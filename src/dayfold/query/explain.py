"""Explains one cell of one metric: its value, how it is computed, the facts behind it, who wrote it and why. Query floor.

Everything is read in one snapshot of the store and one of each source's database. Nothing is written.

Source rows may be personal: they are the answer, and never part of an error.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlglot import exp

from dayfold.days import LIFELONG, Days
from dayfold.define.metric import Avg, Gauge
from dayfold.define.rollup import RollupDef
from dayfold.define.source import Table
from dayfold.define.types import TEXT, Kind, Type
from dayfold.engines.base import Session
from dayfold.engines.scans import ScanFailed
from dayfold.errors import DayfoldError, QueryRefused, UsageError
from dayfold.ledger import coverage, fetches, marks, receipts
from dayfold.ledger.coverage import FAILED, OPEN, SEALED
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing
from dayfold.plan.bind import stored_columns
from dayfold.plan.cells import encoded
from dayfold.plan.keys import KeyFilter, cast_name, key_filters, typed
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, alias, both, column, sql, table
from dayfold.query.answer import Answer
from dayfold.query.cover import Gap
from dayfold.query.due import NEVER, whole
from dayfold.query.evidence import Evidence, evidence
from dayfold.query.explanation import Explanation, RowWritten, Run, SourceState, Verification
from dayfold.query.known import Known
from dayfold.query.levels import shown_next
from dayfold.query.live import left_out
from dayfold.query.request import Request
from dayfold.query.run import Rows, answered, check_same, folded, merged_rows
from dayfold.query.sources import Snapshots, Sources

#: More source rows than are looked through at once.
MAX_ROWS = 10_000


def cell_filters(rollup: RollupDef, where: Sequence[str]) -> tuple[KeyFilter, ...]:
    """The words that name one key, each key column once.

    Raises:
        UsageError: naming the key columns that are not named, or named by more than one value.
    """
    filters = key_filters(rollup, where)
    several = [one.key for one in filters if one.exclude or len(one.values) != 1]
    if several:
        raise UsageError(
            f"A cell has one value of {listing(dict.fromkeys(several))}, and --where names another number of them.",
            hint='Write key=value, key= for NULL, or key="" for the empty text.',
        )
    named = {one.key for one in filters}
    missing = [key for key in rollup.key if key not in named]
    if missing:
        words = " ".join(f"--where {key}=…" for key in missing)
        raise UsageError(
            f"A cell of {rollup.name} is named by its whole key; {listing(missing)} is missing.",
            hint=f"Add: {words} ({missing[0]}= for NULL)",
        )
    return tuple(sorted(filters, key=lambda one: rollup.key.index(one.key)))


def explain(ledger: Ledger, sources: Sources, request: Request, *, limit: int, offset: int) -> Explanation:
    """What is known of one cell. ``request`` asks for one metric of one day and one key.

    Raises:
        QueryRefused: when the rollup was never folded, the metric was edited since, or the caller may not see the key.
        UsageError: for a page that is none.
    """
    if not 1 <= limit <= MAX_ROWS or offset < 0:
        raise UsageError(f"limit is from 1 to {MAX_ROWS:,} rows and offset from 0 on, got {limit} and {offset}.")
    ledger.store.open()
    with ledger.store.transaction(read_only=True) as session:
        table = folded(ledger, session, request).version.table
    types = ledger.store.describe(Table(f"{ledger.store.schema}.{table}"))
    request = _permitted(request, types)
    failed = dict(sources.failed)
    while True:
        try:
            with Snapshots(sources.databases) as snapshots:
                found = folded(ledger, snapshots.store, request)
                rows = Rows(found.version.table, ledger.store.schema, types, found)
                kind = _EntityExplainer if request.rollup.is_profile else _Explainer
                return kind(ledger, sources, snapshots, request, found, rows, failed).explain(limit, offset)
        except ScanFailed as failure:
            # An engine's failed statement has ended its transaction, so it starts again without the source.
            failed[failure.scan.label] = left_out(failure)


def _permitted(request: Request, types: Mapping[str, Type]) -> Request:
    """The request for its cell alone, which the caller may see. Raises QueryRefused, whether there is such a cell or not."""
    asked = {one.key: one.values[0] for one in request.filters if not one.is_right}
    for right in request.filters:
        if right.is_right and not right.lets(asked[right.key], types[right.key]):
            raise QueryRefused(
                f"The value of {right.key} is not among those that you may see.",
                hint="Ask for a key of your own; who issued the token knows which these are.",
            )
    return replace(request, filters=tuple(one for one in request.filters if not one.is_right))


class _Explainer:
    def __init__(
        self,
        ledger: Ledger,
        sources: Sources,
        snapshots: Snapshots,
        request: Request,
        found: Known,
        rows: Rows,
        failed: dict[str, DayfoldError],
    ) -> None:
        self.ledger = ledger
        self.sources = sources
        self.snapshots = snapshots
        self.request = request
        self.found = found
        self.version = found.version
        self.rows = rows
        self.failed = failed
        self.rollup = request.rollup
        self.day = request.days.first
        self.metric = request.metrics[0]

    @property
    def session(self) -> Session:
        return self.snapshots.store

    def explain(self, limit: int, offset: int) -> Explanation:
        answer = self._answered(self.rows)
        written = self._written()
        states = self._states(answer)
        sealed = self._is_sealed()
        found = Explanation(
            rollup=self.rollup.name,
            metric=self.metric,
            kind=self.rollup.metrics[self.metric].kind,
            day=None if self.rollup.is_profile else self.day,
            key={one.key: one.values[0] for one in self.request.filters},
            table=self.version.table,
            value=answer.rows[0][self.metric],
            exact=answer.exact[self.metric],
            parts=self._parts(answer),
            version=self.version.number,
            fingerprint=self.version.fingerprint,
            states=states,
            sealed=sealed,
            rows=written,
            runs=self._runs({one.run_id for one in written}),
            marks=self._marks(),
            verification=self._verification(),
            receipt=self._receipt(),
            why=[],
        )
        self._look_at_sources(found, limit, offset)
        found.why = self._why(found, answer)
        return found

    # -- the stored number -----------------------------------------------------------------------

    def _asked(self) -> Request:
        """The question for the metric and all that it is made of."""
        names = dict.fromkeys([self.metric, *self.request.needed])
        return replace(self.request, metrics=tuple(names))

    def _answered(self, rows: Rows) -> Answer:
        """The answer that some rows give."""
        return answered(self.ledger, self.session, self._asked(), rows)

    def _shown(self, name: str) -> exp.Expr:
        """A stored column as it is shown."""
        return column(name)

    def _parts(self, answer: Answer) -> dict[str, Any]:
        return {name: answer.rows[0][name] for name in self.request.needed if name != self.metric}

    def _columns(self) -> list[str]:
        return [one for name in self.request.needed for one in stored_columns(self.rollup, name)]

    def _written(self) -> list[RowWritten]:
        """The stored rows of the cell: one, or one for each bucket of a finer grain."""
        dialect, values = self.ledger.store.dialect, Values()
        names, shape = self._columns(), self.sources.rollup.shape
        moments = [alias(dialect.piece("iso_micros", _x=column(name)), name) for name in ("created_at", "updated_at")]
        slot = shape.slot_of()
        is_day = self.rollup.grain in ("day", LIFELONG)
        at = dialect.cast(slot, TEXT) if is_day else dialect.piece("iso_moment", _x=slot)
        select = exp.select(alias(at, "slot__"), *moments, column("run_id"), *(self._shown(name) for name in names))
        tests = [sql("_d = _v", _d=shape.day(), _v=values.bind(self.day, "date"))]
        tests += [one.admits(column(one.key), self.rows.types[one.key], values) for one in self.request.filters]
        select = select.from_(shape.named(self.version.table).table).where(both(tests)).order_by(column("slot__"))
        return [
            RowWritten(row[0], row[1], row[2], int(row[3]), dict(zip(names, row[4:], strict=True)))
            for row in self.session.rows(Statement(select, values))
        ]

    # -- the ledger ------------------------------------------------------------------------------

    def _states(self, answer: Answer) -> list[SourceState]:
        """How each source of the metric has covered the day."""
        known = coverage.coverage(self.ledger, self.session, self.rollup.name, self.version.number, self.request.days)
        by_source = {one.source: one for one in known}
        reasons: dict[str, str] = {}
        for gap in answer.missing:
            for name in gap.metrics:
                if name in self.rollup.measured:
                    reasons.setdefault(self.rollup.measured[name].source.label, gap.reason)
        found = []
        for source in self.request.sources_of(self.metric):
            one = by_source.get(source)
            if one is None:
                facts = None if self.request.is_limited else 0
                found.append(SourceState(source, None, reasons.get(source, "never folded"), facts))
            elif self.request.is_limited:
                # Facts, and reasons that speak of them, are everybody's.
                found.append(SourceState(source, one.state, one.state if one.reason else None, None))
            else:
                found.append(SourceState(source, one.state, one.reason, one.facts))
        return found

    def _is_sealed(self) -> bool:
        known = coverage.coverage(self.ledger, self.session, self.rollup.name, self.version.number, self.request.days)
        return any(one.state == SEALED for one in known)

    def _runs(self, ids: set[int]) -> list[Run]:
        dialect = self.ledger.store.dialect
        query = self.ledger.sql(
            "select id, job, status, _started, _finished, first_day, last_day, error from dayfold__runs where id = any(:ids) "
            "order by id",
            ids=sorted(ids),
            _started=dialect.piece("iso_moment", _x=column("started_at")),
            _finished=dialect.piece("iso_moment", _x=column("finished_at")),
        )
        found = [Run(*row) for row in self.session.rows(query)] if ids else []
        return [replace(one, error=None) for one in found] if self.request.is_limited else found

    def _marks(self) -> list[marks.MarkRecord]:
        dialect, values = self.ledger.store.dialect, Values()
        parts = []
        words = {one.key: one.values[0] for one in self.request.filters}
        for key in self.sources.rollup.shape.key:
            text = words[key.name]
            bound = exp.Null() if text is None else values.bind(typed(key.name, text, key.type), cast_name(key.type))
            parts.append((key, dialect.cast(bound, key.type)))
        query = Statement(exp.select(alias(encoded(dialect, parts), "key")), values)
        key_text = self.session.rows(query)[0][0]
        name, number = self.rollup.name, self.version.number
        found = list(marks.of_cell(self.ledger, self.session, name, number, key_text, self.day))
        return found + self._marks_of_levels(key_text)

    def _marks_of_levels(self, key: str) -> list[marks.MarkRecord]:
        """Levels that changed on an earlier day, and show in this cell next."""
        if self._is_sealed():
            return []
        name, number = self.sources.rollup.name, self.version.number
        days = marks.whole_days(self.ledger, self.session, name, number)
        found = []
        for scan in self.sources.rollup.scans:
            if scan.levels is None or scan.label in self.failed:
                continue
            for since, cells in shown_next(self.ledger, self.snapshots, self.sources, number, scan, list(days)):
                if (key, self.day) in zip(cells["key"].to_pylist(), cells["day"].to_pylist(), strict=True):
                    at = since or min(days.values())
                    found.append(marks.MarkRecord(key, self.day, at, marks.OF_LEVELS.format(source=scan.label)))
        return found

    def _verification(self) -> Verification | None:
        """The last comparison of the day; it counts everybody's cells."""
        if self.request.is_limited:
            return None
        query = self.ledger.sql(
            "select _at, run_id, cells, drifted from dayfold__verifications where rollup = :rollup and version = :version "
            "and day = :day::date",
            rollup=self.rollup.name, version=self.version.number, day=self.day,
            _at=self.ledger.store.dialect.piece("iso_moment", _x=column("verified_at")),
        )  # fmt: skip
        found = self.session.rows(query)
        return Verification(*found[0]) if found else None

    def _receipt(self) -> receipts.Receipt | None:
        """The receipt of the day, over everybody's rows."""
        if self.request.is_limited:
            return None
        days = self.request.days
        known = receipts.receipts(self.ledger, self.session, self.rollup.name, self.version.number, days)
        return known.get(self.day)

    # -- the sources -----------------------------------------------------------------------------

    def _look_at_sources(self, found: Explanation, limit: int, offset: int) -> None:
        """The SQL of each part and, where the day is not sealed, the facts behind it and the value that they make now."""
        measured = self.rollup.measured
        for name in self.request.needed:
            if name in measured:
                read = None if found.sealed else (limit, offset)
                found.evidence.append(self._evidence(name, read))
        if found.sealed:
            found.unknown = "the day is sealed, so that its sources are not consulted"
            return
        lost = [one for one in self.request.sources_of(self.metric) if one in self.failed]
        if lost:
            why = "" if self.request.is_limited else f": {self.failed[lost[0]].message}"
            found.unknown = f"{listing(lost)} cannot be read{why}"
            return
        if self.day > self.request.today:
            found.unknown = "the day is in the future"
            return
        self._compute(found)

    def _evidence(self, name: str, page: tuple[int, int] | None) -> Evidence:
        return evidence(
            self.sources,
            self.snapshots,
            name,
            self.request.filters,
            self.day,
            self.failed,
            page,
            self.ledger.store.schema,
            is_limited=self.request.is_limited,
        )

    def _compute(self, found: Explanation) -> None:
        """The value that the sources make now, computed as a live answer's is."""
        rollup = self.sources.rollup
        try:
            check_same(rollup, self.version)
        except DayfoldError as error:
            found.unknown = error.message
            return
        standings = fetches.standings(self.ledger, self.session, rollup)
        due = whole(Days(self.day, self.day), self.request.today, self.failed, standings)
        carried = isinstance(metric := self.rollup.metrics[self.metric], Gauge) and metric.carry
        held = [Days(dt.date.min, self.day) if carried else self.request.days]
        rows = merged_rows(self.ledger, self.snapshots, self.sources, due, self.found, held, self.request.filters)
        present = self._answered(rows)
        if any(source in self.failed for source in self.request.sources_of(self.metric)):
            return
        found.present = present.rows[0][self.metric]
        found.present_parts = self._parts(present)
        found.computed = True

    # -- why -------------------------------------------------------------------------------------

    def _why(self, found: Explanation, answer: Answer) -> list[str]:
        """What the number is, in sentences."""
        lines = []
        failing = [one for one in found.states if one.state == FAILED]
        if answer.missing and found.value is None:
            lines += [f"There is no number: {gap.reason}." for gap in answer.missing if self.metric in gap.metrics]
        elif not found.rows:
            lines.append(self._no_row(found))
        elif found.value is None:
            lines.append("The row is there, and no fact of this metric is in it.")
        lines += [f"The last fold of {one.source} failed: {one.reason}" for one in failing]
        waiting = [one for one in found.states if one.state == OPEN and one.reason and found.value is not None]
        lines += [f"{one.source} is not ready to say more: {one.reason}" for one in waiting]
        if found.sealed and found.receipt:
            lines.append(
                f"The day is sealed: it is never computed again. What it holds came from {found.receipt.origin}."
            )
        elif found.sealed:
            lines.append("The day is sealed: it is never computed again.")
        if found.marks:
            lines.append("The cell is stale: what it is made of was changed, and the next fold computes it anew.")
        elif found.computed and found.value is not None and found.present != found.value:
            lines.append("The source gives another number now, and nothing has reported a change.")
        return lines

    def _no_row(self, found: Explanation) -> str:
        metric = self.rollup.metrics[self.metric]
        if isinstance(metric, Gauge) and metric.carry and found.value is not None:
            return "The cell has no row: the level is carried from an earlier day."
        if found.value is None:
            what = "mean" if isinstance(metric, Avg) else metric.kind
            return (
                f"The day is covered and the cell has no row: no fact counts for it, and the {what} of nothing is null."
            )
        return f"The day is covered and the cell has no row: no fact counts for it, which is {found.value}."


class _EntityExplainer(_Explainer):
    """Explains one column of an entity of a profile: its cell is the whole life."""

    def _answered(self, rows: Rows) -> Answer:
        """The entity's row; null with a reason where a source was never read."""
        values = Values()
        tests = [one.admits(column(one.key), self.rows.types[one.key], values) for one in self.request.filters]
        types = {one.name: one.type for one in self.sources.rollup.shape.body}
        columns = [Column(name, TEXT if self._is_text(name) else types[name]) for name in self.request.needed]
        select = exp.select(*(self._shown(one.name) for one in columns)).from_(table(rows.table, rows.schema))
        found = self.session.arrow(Statement(select.where(both(tests)), values), columns, few=True)
        if not found.num_rows:
            found = found.schema.empty_table().from_pylist([dict.fromkeys(found.column_names)], found.schema)
        exact = dict.fromkeys(self.request.needed, True)
        return Answer(self.request, found, exact, {}, self._gaps(rows), [], [], self.version.revision)

    def _gaps(self, rows: Rows) -> list[Gap]:
        """What is not known, since a source of it was never read."""
        if rows.due is not None:
            return []
        known = coverage.coverage(self.ledger, self.session, self.rollup.name, self.version.number, self.request.days)
        read = {one.source for one in known if one.ever_folded}
        unread = [name for name in self.request.needed if not read.issuperset(self.request.sources_of(name))]
        return [Gap(self.request.days, NEVER, tuple(unread))] if unread else []

    def _is_text(self, name: str) -> bool:
        """Whether a column is shown as text: moments, and JSON."""
        types = {one.name: one.type for one in self.sources.rollup.shape.body}
        return types[name].kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.JSON)

    def _shown(self, name: str) -> exp.Expr:
        dialect = self.ledger.store.dialect
        if not self._is_text(name):
            return column(name)
        is_json = {one.name: one.type for one in self.sources.rollup.shape.body}[name].kind is Kind.JSON
        text = dialect.cast(column(name), TEXT) if is_json else dialect.piece("iso_micros", _x=column(name))
        return alias(text, name)

    def _no_row(self, found: Explanation) -> str:
        return "There is no row of this key: no fact counts for it."
