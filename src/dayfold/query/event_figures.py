"""Figures over raw events: how many of each type came lately, and what brought whoever came. Query floor.

Invariant: events are read through `Wanted.condition` with the filters of a scope, as pages of them are; a report is of all events, and
refused to a caller of whom some are kept.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from dayfold.days import ONE_DAY, Days, as_day
from dayfold.define.types import Type
from dayfold.errors import Forbidden, UnknownName
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, suggestion
from dayfold.plan.access import Scope
from dayfold.plan.event_reads import Wanted
from dayfold.plan.sql import Statement, Values, both, column, either, sql
from dayfold.query.event_pages import EventReader

#: How the time before now is divided: the size of a part, how many there are, and the piece that gives an event's.
SPANS: Mapping[str, tuple[dt.timedelta, int, str]] = {
    "day": (dt.timedelta(hours=1), 24, "floor_hour"),
    "month": (ONE_DAY, 30, "utc_date"),
}
#: The columns of each report, of the log.
REPORTS: Mapping[str, tuple[str, ...]] = {
    "campaign": ("utm_source", "utm_medium", "utm_campaign"),
    "source": ("utm_source",),
    "medium": ("utm_medium",),
    "referrer": ("referrer_class", "referrer_name"),
    "channel": ("channel",),
    "first-touch": ("first_source", "first_medium", "first_campaign"),
    "last-touch": ("last_source", "last_medium", "last_campaign"),
}
#: Referrers that brought nobody from elsewhere.
_NOWHERE = ("none", "internal")


@dataclass(frozen=True, slots=True)
class TypeRate:
    """How many events of one type came lately.

    Attributes:
        hour: In the last 60 minutes.
        parts: In each part of the span, the oldest first; the last one goes on.
    """

    event_type: str
    hour: int
    parts: tuple[int, ...]

    @property
    def total(self) -> int:
        """In the whole span."""
        return sum(self.parts)


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates of all types, those with most events first; ``starts``: when each part begins, in ISO text."""

    span: str
    starts: tuple[str, ...]
    types: tuple[TypeRate, ...]


def rates(ledger: Ledger, entities: Mapping[str, Type], scope: Scope, now: dt.datetime, span: str = "day") -> Rates:
    """The rates of the types that a scope sees, by when events happened. Raises UnknownName."""
    if span not in SPANS:
        raise UnknownName(f"There is no span '{span}'{suggestion(span, SPANS)}.", hint=f"Spans: {listing(SPANS)}")
    size, count, piece = SPANS[span]
    last = now.replace(minute=0, second=0, microsecond=0)
    if size == ONE_DAY:
        last = last.replace(hour=0)
    starts = [last - size * number for number in reversed(range(count))]
    found: dict[str, list[int]] = {}
    lately: dict[str, int] = {}
    with ledger.store.transaction(read_only=True) as session:
        reader = EventReader(ledger, session, entities, scope, personal=False)
        if reader.filters is not None:
            values = Values()
            test = Wanted().condition(entities, reader.filters, values, reader.missing)
            part = reader.dialect.piece(piece, _x=column("occurred_at"))
            text = exp.cast(part, "text") if piece == "utc_date" else reader.dialect.piece("iso_moment", _x=part)
            query = sql(
                "select event_type, _part, count(*), count(*) filter (where occurred_at > _ago) from _t "
                "where occurred_at >= _first and occurred_at <= _now and _test group by 1, 2",
                _part=text, _t=reader.table, _test=test, _first=values.bind(starts[0], "timestamptz"),
                _now=values.bind(now, "timestamptz"), _ago=values.bind(now - dt.timedelta(hours=1), "timestamptz"),
            )  # fmt: skip
            places = {_text(one, size): place for place, one in enumerate(starts)}
            for name, start, events, hour in session.rows(Statement(query, values)):
                found.setdefault(name, [0] * count)[places[start]] = int(events)
                lately[name] = lately.get(name, 0) + int(hour)
    types = [TypeRate(name, lately[name], tuple(parts)) for name, parts in found.items()]
    types.sort(key=lambda one: (-one.total, one.event_type))
    return Rates(span, tuple(_text(one, size) for one in starts), tuple(types))


def _text(start: dt.datetime, size: dt.timedelta) -> str:
    return start.date().isoformat() if size == ONE_DAY else start.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Report:
    """What brought whoever came, over a range of days.

    Attributes:
        columns: What it is by.
        rows: The values of these columns, then events, visitors and sessions; most visitors first.
        total: Events, visitors and sessions of all rows together, those that are not shown too.
    """

    by: str
    first: dt.date
    last: dt.date
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: tuple[int, int, int]


def report(
    ledger: Ledger,
    entities: Mapping[str, Type],
    scope: Scope,
    by: str,
    from_: dt.date | str,
    to: dt.date | str,
    today: dt.date,
    limit: int = 100,
) -> Report:
    """Events that name what brought their visitor, without those of bots; days are of UTC, both included.

    Raises:
        Forbidden: to a caller of whom events are kept; UnknownName: for a report that there is not; BadDate.
    """
    if by not in REPORTS:
        raise UnknownName(f"There is no report '{by}'{suggestion(by, REPORTS)}.", hint=f"Reports: {listing(REPORTS)}")
    if scope.is_limited or scope.event_filters(entities) is None:
        raise Forbidden("This is of all events, and some are kept from this caller.", hint="Ask somebody who sees all.")
    days = Days(as_day(from_, today), as_day(to, today))
    names = REPORTS[by]
    with ledger.store.transaction(read_only=True) as session:
        reader = EventReader(ledger, session, entities, scope, personal=False)
        if reader.filters is None:
            return Report(by, days.first, days.last, names, (), (0, 0, 0))
        rows: list[list[tuple[Any, ...]]] = []
        for parts in (names, ()):
            values = Values()
            wanted = Wanted(first=days.first, last=days.last)
            tests = [
                wanted.condition(entities, reader.filters, values, reader.missing),
                sql("not coalesce(is_bot, false)"),
            ]
            tests.append(_names_something(by, names))
            figures = sql(
                "select count(*) as n, count(distinct coalesce(actor_id, anonymous_id)) as v, count(distinct session_id) as s"
                " from _t where _c",
                _t=reader.table, _c=both(tests),
            )  # fmt: skip
            query = figures.find(exp.Select)
            assert query is not None
            if parts:
                shown = [*(column(one) for one in parts), *query.expressions]
                query = query.select(*shown, append=False).group_by(*(column(one) for one in parts))
                # By place: PostgreSQL and DuckDB both put NULL last so.
                order = [
                    f"{len(parts) + 2} desc",
                    f"{len(parts) + 1} desc",
                    *(f"{n + 1} asc nulls last" for n in range(len(parts))),
                ]
                query = query.order_by(*order).limit(limit)
            rows.append([tuple(row) for row in session.rows(Statement(query, values))])
    [total] = rows[1]
    return Report(by, days.first, days.last, names, tuple(rows[0]), (int(total[0]), int(total[1]), int(total[2])))


def _names_something(by: str, names: tuple[str, ...]) -> exp.Expr:
    """True for events that say what the report is by."""
    if by == "referrer":
        nowhere = [exp.Literal.string(one) for one in _NOWHERE]
        return sql("not coalesce(referrer_class, 'none') in (_v)", _v=nowhere)
    return either(sql("not _c is null", _c=column(one)) for one in names)
