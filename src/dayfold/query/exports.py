"""The rows of an export, portion by portion from one snapshot, so that memory does not follow their number. Query floor.

Weakness: the keys of one day of a rollup are in memory together.
"""

from __future__ import annotations

import bisect
import contextlib
import datetime as dt
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from sqlglot import exp

from dayfold.days import Days
from dayfold.define.catalog import Catalog
from dayfold.define.types import TEXT, Kind
from dayfold.errors import QueryRefused
from dayfold.ledger import quarantine
from dayfold.ledger.ledger import Ledger
from dayfold.plan.access import Scope
from dayfold.plan.event_reads import Wanted
from dayfold.plan.exports import ACTOR, PROFILE, ROLLUP, ExportAsked
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, alias, column, either, sql
from dayfold.query.event_pages import EventReader
from dayfold.query.profile import shown, snapshot
from dayfold.query.profile_request import ProfileRequest
from dayfold.query.profile_rows import ProfileRows
from dayfold.query.request import MAX_DAYS, Request
from dayfold.query.run import answers
from dayfold.query.status import covered
from dayfold.query.writers import writer

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows that are in memory at once.
PORTION_ROWS = 10_000
#: What a row of an actor's export is: an event of the log, or one that is held back.
KIND = Column("kind", TEXT)
#: Entities of a profile that are read at once: each portion may cost a look at all of them.
_ENTITIES = 50_000
#: Told after each portion: what is exported, and how much of it is done: days, or entities of a profile.
Progress = Callable[[str, int, int], None]
#: A portion, and how many days (or entities) are done with it, of how many.
_Portion = tuple["pa.Table", int, int]


@dataclass(slots=True)
class Exported:
    """What was written.

    Attributes:
        rows: How many.
        missing_days: Of a rollup: days of which a number is missing; a file has no place for the reason.
        estimated: Of a rollup: metrics that are not exact on every day.
    """

    rows: int = 0
    missing_days: int = 0
    estimated: list[str] = field(default_factory=list)

    def remarks(self) -> dict[str, Any]:
        """What has to be said with the rows; nothing where all is well."""
        found = {"missing_days": self.missing_days, "estimated": self.estimated}
        return {name: value for name, value in found.items() if value}


def export(
    ledger: Ledger,
    catalog: Catalog,
    today: dt.date,
    asked: ExportAsked,
    scope: Scope,
    stream: IO[bytes],
    *,
    progress: Progress = lambda name, done, total: None,
    check: Callable[[], object] = lambda: None,
) -> Exported:
    """An export is written into a stream.

    Args:
        ledger: Of the store.
        catalog: The definitions.
        today: The present UTC day.
        asked: What is exported.
        scope: What its asker may see, the relations looked up; the export holds no more.
        stream: Where to; it stays open.
        progress: Called after each portion.
        check: Called between portions; what it raises ends the work.
    """
    from dayfold.engines.csv import arrow_type

    catalog.check()
    found = Exported()
    made = None
    documents: set[str] = set()
    if asked.what == ROLLUP:
        portions = _of_rollup(ledger, catalog, today, asked, scope, found)
    elif asked.what == PROFILE:
        portions = _of_profile(ledger, catalog, today, asked, scope, documents)
    else:
        reading = _OfEvents(ledger, catalog, asked, scope)
        portions = reading.portions()
        made = writer(asked.form, stream, _schema(reading.columns(), arrow_type), frozenset({"properties"}))
    with contextlib.closing(portions):
        for rows, done, total in portions:
            check()
            if made is None:
                made = writer(asked.form, stream, rows.schema, frozenset(documents))
            for start in range(0, rows.num_rows, PORTION_ROWS):
                made.write(rows.slice(start, PORTION_ROWS))
            found.rows += rows.num_rows
            progress(asked.title, done, total)
    if made is not None:
        made.close()
    return found


def _schema(columns: Sequence[Column], arrow_type: Any) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(one.name, arrow_type(one.type)) for one in columns])


# -- rollups ---------------------------------------------------------------------------------------


def _of_rollup(
    ledger: Ledger, catalog: Catalog, today: dt.date, asked: ExportAsked, scope: Scope, found: Exported
) -> Generator[_Portion]:
    """The rows of each day, as a question for that day and every key answers."""
    rollup = scope.rollup(catalog, str(asked.name))
    days = _days(ledger, rollup.name, asked, today)
    requests = [
        Request.parse(rollup, None, from_=day, to=day, by=rollup.key, where=asked.where, today=today, scope=scope)
        for day in days
    ]
    types: pa.Schema | None = None
    for done, answer in enumerate(answers(ledger, requests), 1):
        rows = answer.table if types is None else answer.table.cast(types)
        types = types or rows.schema
        found.missing_days += bool(answer.missing)
        found.estimated += [one for one, exact in answer.exact.items() if not exact and one not in found.estimated]
        yield rows, done, len(requests)


def _days(ledger: Ledger, rollup: str, asked: ExportAsked, today: dt.date) -> Days:
    """The asked days; an end that is not named is where the rollup begins or ends to be covered."""
    known = [
        one for states in covered(ledger, rollup).values() for ranges in states.values() for one in ranges
    ]  # fmt: skip
    first = dt.date.fromisoformat(asked.first) if asked.first else min((one["from"] for one in known), default=today)
    last = dt.date.fromisoformat(asked.last) if asked.last else max((one["to"] for one in known), default=today)
    if not (asked.first and asked.last):
        first, last = (min(first, last), last) if asked.last else (first, max(first, last))
    days = Days(first, last)
    if len(days) > MAX_DAYS:
        raise QueryRefused(
            f"The range has {len(days):,} days; at most {MAX_DAYS:,} are exported at once.",
            hint="Ask for a shorter range.",
        )
    return days


# -- profiles --------------------------------------------------------------------------------------


def _of_profile(
    ledger: Ledger, catalog: Catalog, today: dt.date, asked: ExportAsked, scope: Scope, documents: set[str]
) -> Generator[_Portion]:
    """All entities, in the order of their keys. ``documents``: becomes the columns whose texts are JSON."""
    profile = scope.rollup(catalog, str(asked.name))
    request = ProfileRequest.page(profile, where=asked.where, today=today, scope=scope)
    with snapshot(ledger, request) as seen:
        session, stored = seen.session, seen.found.version.table
        reading = ProfileRows(request, stored, ledger.store.schema, seen.types, ledger.store.dialect)
        documents |= {name for name, type_ in reading.selected.items() if type_.kind is Kind.JSON}
        total = int(session.rows(reading.size())[0][0])
        done, place = 0, None
        while True:
            rows = session.arrow(reading.page(_ENTITIES, place), reading.columns)
            done += rows.num_rows
            yield shown(rows, reading), done, max(total, done)
            if rows.num_rows < _ENTITIES:
                return
            place = reading.place_of(rows, rows.num_rows - 1)


# -- events ----------------------------------------------------------------------------------------


class _OfEvents:
    """Events of the log and, of one actor, those that are held back."""

    def __init__(self, ledger: Ledger, catalog: Catalog, asked: ExportAsked, scope: Scope) -> None:
        self.ledger = ledger
        self.entities = catalog.entities.types
        self.asked = asked
        self.scope = scope
        self.wanted = asked.wanted(catalog, scope)

    @property
    def is_of_actor(self) -> bool:
        """Whether it is what is known of one person."""
        return self.asked.what == ACTOR

    def columns(self) -> list[Column]:
        """The columns of the file; nothing is read for them."""
        from dayfold.plan.event_reads import selected

        shown = [one for one, _ in selected(self.ledger.store.dialect, self.entities, personal=False)]
        return [KIND, *shown] if self.is_of_actor else shown

    def portions(self) -> Generator[_Portion]:
        """All of it, the oldest event first."""
        with self.ledger.store.transaction(read_only=True) as session:
            reader = EventReader(self.ledger, session, self.entities, self.scope, personal=self.asked.personal)
            wanted = self.wanted
            if self.is_of_actor:
                wanted = wanted.of_person(reader.browsers(str(wanted.actor)))
            counts = reader.counts(wanted)
            days = [day for day, _ in counts]
            for rows in reader.portions(wanted, counts, PORTION_ROWS):
                last = rows["occurred_at"][-1].as_py().astimezone(dt.UTC).date()
                yield self._kept(rows, "event"), bisect.bisect_right(days, last), len(days)
            is_whole = not self.scope.is_limited and self.scope.personal and self.asked.personal
            if self.is_of_actor and is_whole:
                held = self._held(session, reader, wanted)
                if held.num_rows:
                    yield held, len(days), len(days)

    def _kept(self, rows: pa.Table, kind: str) -> pa.Table:
        import pyarrow as pa

        if not self.is_of_actor:
            return rows
        return rows.add_column(0, KIND.name, pa.array([kind] * rows.num_rows, pa.string()))

    def _held(self, session: Any, reader: EventReader, wanted: Wanted) -> pa.Table:
        """The person's events in quarantine, each as it was read under ``properties``."""
        dialect, values = self.ledger.store.dialect, Values()
        have = {one.name for one in quarantine.COLUMNS} & {one.name for one in reader.columns}
        given: Mapping[str, exp.Expr] = {
            **{name: column(name) for name in have}, "id": column("event_id"), "properties": column("body"),
        }  # fmt: skip
        shown = [alias(dialect.cast(given.get(one.name, exp.null()), one.type), one.name) for one in reader.columns]
        mine = [sql("actor_id = _v", _v=values.bind(wanted.actor, "text"))]
        if wanted.browsers:
            texts = [values.bind(one, "text") for one in wanted.browsers]
            mine.append(sql("actor_id is null and anonymous_id in (_v)", _v=texts))
        query = exp.select(*shown).from_(self.ledger.place(quarantine.TABLE)).where(either(mine))
        query = query.order_by(column("occurred_at", quarantine.TABLE), column("id", quarantine.TABLE))
        return self._kept(session.arrow(Statement(query, values), reader.columns), "held")
