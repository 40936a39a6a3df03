"""Stored events as today's rules would have them. Collect floor.

They go through the very code that events go through at the door, in the order in which they occurred, so that there is one set of
rules. What no stored text can tell again stays: the country, and what a client said. Sessions and touches that began within the range
are found anew.

Invariant: a chunk is one transaction, in which only events that differ are written; the log's own triggers mark the cells of those. A
second run writes no event.

Weakness: first and last touches of events after the range may come from touches within it; they are renewed with a range that goes
on to today. An event costs some 80 microseconds of one core: sessions and touches need all of them in order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dayfold.collect.attribution import Attributor
from dayfold.collect.enrich import Enricher
from dayfold.collect.event import Event
from dayfold.collect.visits import OURS
from dayfold.days import Days
from dayfold.define.events import COLUMNS, TABLE
from dayfold.define.types import INT, TEXT
from dayfold.engines.base import Session
from dayfold.engines.csv import arrow_type
from dayfold.ledger import visitors
from dayfold.ledger.ledger import Ledger
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, alias, column, sql, table

if TYPE_CHECKING:
    import pyarrow as pa

_HOUR = 3_600_000_000
_STAGED = "dayfold_anew__"
#: Events that one transaction reads, in whole hours; some 100 MB of memory.
CHUNK_EVENTS = 50_000
#: What is read and not written.
_READ = ("source", "actor_id", "anonymous_id")
#: What may be another by today's rules.
WRITTEN = (
    "session_id", "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "click_id", "channel", "page", "landing_page",
    "referrer", "referrer_class", "referrer_name", "first_source", "first_medium", "first_campaign", "last_source", "last_medium",
    "last_campaign", "user_agent", "device_type", "browser", "os", "is_bot",
)  # fmt: skip
_words = attrgetter(*WRITTEN)
_MOMENT = Column("moment", INT)
_ID = Column("id", TEXT)
_TAKEN = [_ID, _MOMENT, *(Column(name, COLUMNS[name]) for name in (*_READ, *WRITTEN))]
_CHANGED = [Column("id", COLUMNS["id"]), *(Column(name, COLUMNS[name]) for name in WRITTEN)]


@dataclass(frozen=True, slots=True)
class Renewed:
    """How many events were looked at, and how many of them written."""

    events: int = 0
    changed: int = 0

    def __add__(self, other: Renewed) -> Renewed:
        return Renewed(self.events + other.events, self.changed + other.changed)


def renew(
    ledger: Ledger,
    enricher: Enricher,
    days: Days,
    *,
    chunk_events: int = CHUNK_EVENTS,
    progress: Callable[[Renewed, int], None] = lambda done, all_events: None,
) -> Renewed:
    """The events of a range of days are as they would be if they came in now. Whoever keeps visitors in memory forgets them after it.

    Args:
        ledger: Of the store that the log stands in.
        enricher: With the rules of today.
        days: Days on which the events occurred (UTC), both included.
        chunk_events: How many events a transaction reads, unless a single hour has more.
        progress: Told after each transaction what was done, of how many events.
    """
    hours = _hours(ledger, days)
    whole, done = sum(hours.values()), Renewed()
    chunks = list(_chunks(hours, chunk_events))
    # Whose a browser is counts for what it did before, too: all of that is known before the first event is looked at.
    for first, end in chunks:
        ledger.retried(lambda first=first, end=end: _link(ledger, first, end))  # type: ignore[misc]
    for first, end in chunks:
        done += ledger.retried(lambda first=first, end=end: _renew(ledger, enricher, first, end))  # type: ignore[misc]
        progress(done, whole)
    return done


def _midnight(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days * 24 * _HOUR


def _log(ledger: Ledger) -> exp.Table:
    return table(TABLE, ledger.store.schema)


def _within(ledger: Ledger, values: Values, first: int, end: int, of: str | None = None) -> exp.Expr:
    """That an event occurred within a range of moments, its end left out."""
    piece = ledger.store.dialect.piece
    return sql(
        "_at >= _first and _at < _end",
        _at=column("occurred_at", of),
        _first=piece("from_micros", _x=values.bind(first, "bigint")),
        _end=piece("from_micros", _x=values.bind(end, "bigint")),
    )


def _hours(ledger: Ledger, days: Days) -> dict[int, int]:
    """How many events each hour has, by its first moment."""
    values = Values()
    query = sql(
        "select m - m % 3600000000 as h, count(*) as n from (select _micros as m from _log where _within) as e group by 1 order by 1",
        _micros=ledger.store.dialect.piece("epoch_micros", _x=column("occurred_at")),
        _log=_log(ledger),
        _within=_within(ledger, values, _midnight(days.first), _midnight(days.last + dt.timedelta(days=1))),
    )
    with ledger.store.transaction(read_only=True) as session:
        return {int(hour): int(count) for hour, count in session.rows(Statement(query, values))}


def _chunks(hours: dict[int, int], most: int) -> Iterator[tuple[int, int]]:
    """Ranges of moments that together have all hours, each with so many events at most, or one hour.

    >>> list(_chunks({0: 5, _HOUR: 5, 5 * _HOUR: 9}, 10)) == [(0, 2 * _HOUR), (5 * _HOUR, 6 * _HOUR)]
    True
    """
    first, end, held = 0, 0, 0
    for hour, count in hours.items():
        if held and held + count > most:
            yield first, end
            held = 0
        if not held:
            first = hour
        end, held = hour + _HOUR, held + count
    if held:
        yield first, end


def _renew(ledger: Ledger, enricher: Enricher, first: int, end: int) -> Renewed:
    """One chunk."""
    with ledger.store.transaction() as session:
        taken = _taken(ledger, session, first, end)
        old = list(zip(*(taken[name].to_pylist() for name in WRITTEN), strict=True))
        ids = taken[_ID.name].to_pylist()
        events = _as_sent(taken, old)
        enricher.fill(events)
        attributor = Attributor(ledger, past=(session, first))
        attributor.fill(events)
        changed = [(id, *now) for id, event, was in zip(ids, events, old, strict=True) if (now := _words(event)) != was]
        if changed:
            _update(ledger, session, changed, first, end)
        visitors.remove_range(ledger, session, first, end)
        attributor.write(session)
    return Renewed(len(ids), len(changed))


def _link(ledger: Ledger, first: int, end: int) -> None:
    """It is known whose browsers were within a range."""
    values = Values()
    query = sql(
        "select anonymous_id, actor_id, m from (select anonymous_id, actor_id, m, lag(actor_id) over (partition by anonymous_id "
        "order by m, actor_id) as before from (select anonymous_id, actor_id, _micros as m from _log where not anonymous_id is null "
        "and not actor_id is null and _within) as e) as f where before is null or before <> actor_id order by m, actor_id",
        _micros=ledger.store.dialect.piece("epoch_micros", _x=column("occurred_at")),
        _log=_log(ledger), _within=_within(ledger, values, first, end),
    )  # fmt: skip
    with ledger.store.transaction() as session:
        links = [(browser, actor, int(moment)) for browser, actor, moment in session.rows(Statement(query, values))]
        if links:
            attributor = Attributor(ledger, past=(session, first))
            attributor.link(links)
            attributor.write(session)


def _taken(ledger: Ledger, session: Session, first: int, end: int) -> pa.Table:
    """The events of a range with what is read of them."""
    values = Values()
    dialect = ledger.store.dialect
    items = [
        alias(dialect.cast(column("id"), TEXT), _ID.name),
        alias(dialect.piece("epoch_micros", _x=column("occurred_at")), _MOMENT.name),
        *(column(one.name) for one in _TAKEN[2:]),
    ]
    query = exp.select(*items).from_(_log(ledger)).where(_within(ledger, values, first, end))
    return session.arrow(Statement(query, values), _TAKEN)


def _as_sent(taken: pa.Table, old: list[tuple[object, ...]]) -> list[Event]:
    """Events without what was found of them at the door."""
    read = zip(*(taken[name].to_pylist() for name in (_MOMENT.name, *_READ)), strict=True)
    events = []
    for (moment, source, actor, anonymous), stored in zip(read, old, strict=True):
        known: dict[str, Any] = dict(zip(WRITTEN, stored, strict=True))
        event = Event("", "", moment, moment, 0, "", source, actor_id=actor, anonymous_id=anonymous, **known)
        if event.session_id is not None and event.session_id.startswith(OURS):
            event.session_id = None
        event.first_source = event.first_medium = event.first_campaign = None
        event.last_source = event.last_medium = event.last_campaign = None
        events.append(event)
    return events


def _update(ledger: Ledger, session: Session, changed: list[tuple[object, ...]], first: int, end: int) -> None:
    """Events are as they were found anew."""
    import pyarrow as pa

    types = [pa.string() if one.name == _ID.name else arrow_type(one.type) for one in _CHANGED]
    columns = zip(_CHANGED, types, zip(*changed, strict=True), strict=True)
    session.load(_STAGED, _CHANGED, pa.table({one.name: pa.array(part, type_) for one, type_, part in columns}))
    session.analyze(_STAGED)
    values = Values()
    is_same = exp.EQ(this=column("id", "e"), expression=column("id", "s"))
    tree = exp.Update(
        this=exp.alias_(_log(ledger), "e", table=True),
        expressions=[exp.EQ(this=column(name), expression=column(name, "s")) for name in WRITTEN],
        from_=exp.From(this=exp.alias_(table(_STAGED), "s", table=True)),
        where=exp.Where(this=exp.and_(is_same, _within(ledger, values, first, end, "e"))),
    )
    session.execute(Statement(tree, values))
