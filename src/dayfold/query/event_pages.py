"""Raw events, page by page and in portions of any length, each read in one snapshot. Query floor.

Invariant: an event is read through `Scope.event_filters` and `plan.event_reads.selected` alone.

Weakness: of a browser that two people signed in with, what it did while nobody was signed in is shown to neither.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dayfold.define.events import TABLE
from dayfold.define.types import Type
from dayfold.engines.base import Session
from dayfold.errors import UsageError
from dayfold.ledger.ledger import Ledger
from dayfold.plan.access import Scope
from dayfold.plan.event_reads import MOST_EVENTS, Place, Wanted, beyond, selected
from dayfold.plan.keys import KeyFilter
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, alias, both, column, sql, table

if TYPE_CHECKING:
    import pyarrow as pa

#: Browsers of one person that are looked for.
_MOST_BROWSERS = 500


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, the newest first; ``next`` leads to those before them, None where there are none."""

    rows: list[dict[str, Any]]
    next: str | None

    def as_object(self) -> dict[str, Any]:
        """The page for JSON."""
        return {"events": self.rows, **({"next": self.next} if self.next is not None else {})}


class EventReader:
    """Reads the events that a scope sees, in one snapshot.

    Args:
        ledger: Of the store.
        session: The snapshot.
        entities: The columns of the project.
        scope: What the asker may see, its relations looked up.
        personal: Whether personal data are shown; only where the scope shows them.
    """

    def __init__(
        self, ledger: Ledger, session: Session, entities: Mapping[str, Type], scope: Scope, *, personal: bool = True
    ) -> None:
        self.dialect = ledger.store.dialect
        self.session = session
        self.entities = entities
        found = ledger.store.stored_columns(session, [TABLE]).get(TABLE)
        #: Columns that are declared, and not made before the next fold or event.
        self.missing = [] if found is None else [name for name in entities if name not in found]
        self.filters: tuple[KeyFilter, ...] | None = None if found is None else scope.event_filters(entities)
        self.selected = selected(self.dialect, entities, personal=personal and scope.personal, missing=self.missing)
        self.table = table(TABLE, ledger.store.schema)

    @property
    def columns(self) -> list[Column]:
        """The columns of an event as it is shown."""
        return [one for one, _ in self.selected]

    def read(self, wanted: Wanted, limit: int, after: Place | None = None, *, descending: bool) -> pa.Table:
        """At most so many events behind a place, by time and id; without a limit that a person would see, of any number."""
        from dayfold.engines.csv import arrow_type

        if self.filters is None:
            return _empty(self.columns, arrow_type)
        values = Values()
        tests = [wanted.condition(self.entities, self.filters, values, self.missing)]
        if after is not None:
            tests.append(beyond(after, values, descending=descending))
        query = exp.select(*(alias(tree, one.name) for one, tree in self.selected)).from_(self.table).where(both(tests))
        # By the table's own columns: the selected id is a text.
        order = [
            exp.Ordered(this=column(name, TABLE), desc=descending, nulls_first=descending)
            for name in ("occurred_at", "id")
        ]
        query = query.order_by(*order).limit(limit)
        return self.session.arrow(Statement(query, values), self.columns, few=limit <= MOST_EVENTS + 1)

    def portions(self, wanted: Wanted, counts: Sequence[tuple[dt.date, int]], size: int) -> Iterator[pa.Table]:
        """All events, the oldest first, in tables of at most ``size``, so that memory does not follow their number.

        ``counts``: those of their days.
        """
        for first, last in _stretches(counts, size):
            place = None
            while True:
                rows = self.read(replace(wanted, first=first, last=last), size, place, descending=False)
                if rows.num_rows:
                    yield rows
                if rows.num_rows < size:
                    break
                place = place_of(rows, rows.num_rows - 1)

    def counts(self, wanted: Wanted) -> list[tuple[dt.date, int]]:
        """The UTC days with events, each with how many."""
        if self.filters is None:
            return []
        values = Values()
        test = wanted.condition(self.entities, self.filters, values, self.missing)
        day = self.dialect.piece("utc_date", _x=column("occurred_at"))
        query = sql("select _d, count(*) from _t where _c group by 1 order by 1", _d=day, _t=self.table, _c=test)
        return [(one, int(count)) for one, count in self.session.rows(Statement(query, values))]

    def browsers(self, actor: str) -> list[str]:
        """The browsers that one actor signed in with, and nobody else."""
        if self.filters is None:
            return []
        values = Values()
        query = sql(
            "select anonymous_id from _t where not actor_id is null and anonymous_id in (select anonymous_id from _t where "
            "actor_id = _a and not anonymous_id is null) group by anonymous_id having min(actor_id) = max(actor_id) "
            "order by 1 limit _n",
            _t=self.table, _a=values.bind(actor, "text"), _n=exp.Literal.number(_MOST_BROWSERS),
        )  # fmt: skip
        return [one for (one,) in self.session.rows(Statement(query, values))]


def _stretches(counts: Sequence[tuple[dt.date, int]], size: int) -> Iterator[tuple[dt.date, dt.date]]:
    """First and last days that hold at most ``size`` events together; a day by itself may hold more.

    >>> days = [(dt.date(2026, 3, day), count) for day, count in ((1, 4), (3, 5), (4, 2), (9, 30))]
    >>> [(str(first), str(last)) for first, last in _stretches(days, 10)]
    [('2026-03-01', '2026-03-03'), ('2026-03-04', '2026-03-04'), ('2026-03-09', '2026-03-09')]
    """
    first = last = None
    held = 0
    for day, count in counts:
        if first is not None and last is not None and held + count > size:
            yield first, last
            first, held = None, 0
        first, last, held = first or day, day, held + count
    if first is not None and last is not None:
        yield first, last


def _empty(columns: Sequence[Column], arrow_type: Any) -> pa.Table:
    import pyarrow as pa

    return pa.table({one.name: pa.array([], arrow_type(one.type)) for one in columns})


def place_of(rows: pa.Table, row: int) -> Place:
    """The place of one event of a table."""
    return Place.of(rows["occurred_at"][row].as_py(), rows["id"][row].as_py())


def page(
    ledger: Ledger,
    entities: Mapping[str, Type],
    wanted: Wanted,
    scope: Scope,
    *,
    limit: int = 100,
    after: str | None = None,
    own: bool = False,
) -> EventPage:
    """A page of events, the newest first; ``own``: of the person who is their actor.

    Raises:
        UsageError: for a limit beyond what is given at once, or a place that is none.
    """
    if not 1 <= limit <= MOST_EVENTS:
        raise UsageError(f"limit is a number of events from 1 to {MOST_EVENTS:,}, got {limit:,}.")
    place = Place.read(after) if after is not None else None
    with ledger.store.transaction(read_only=True) as session:
        reader = EventReader(ledger, session, entities, scope)
        if own and wanted.actor is not None:
            wanted = wanted.of_person(reader.browsers(wanted.actor))
        found = reader.read(wanted, limit + 1, place, descending=True)
    following = None
    if found.num_rows > limit:
        found = found.slice(0, limit)
        following = str(place_of(found, limit - 1))
    return EventPage([_told(row) for row in found.to_pylist()], following)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """An event with its properties as an object; their numbers keep all digits."""
    if row["properties"] is not None:
        row["properties"] = json.loads(row["properties"], parse_float=Decimal)
    return row
