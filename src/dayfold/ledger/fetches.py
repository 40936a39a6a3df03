"""Fetches: how a function source stands, day by day. Ledger floor.

``fetched``: it answered. ``waiting``: it was not ready. ``failed``: it failed, or its rows were not as declared. ``given up``: not
ready for longer than it may take. What it answered before stands until it answers anew.

Invariant: what is recorded of a day and the fetched rows of it are written in one transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dayfold.days import Days, overlap, union, without
from dayfold.define.types import DATE, INT, TEXT
from dayfold.engines.base import Session
from dayfold.ledger import coverage
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup
from dayfold.plan.cells import Covered
from dayfold.plan.shape import Column
from dayfold.plan.sql import table

FETCHED, WAITING, FAILED, GIVEN_UP = "fetched", "waiting", "failed", "given up"
#: All days there are.
ALWAYS = Days(dt.date.min, dt.date.max)
_RECORDS = "dayfold_fetches__"
_COLUMNS = (
    Column("day", DATE), Column("state", TEXT), Column("reason", TEXT), Column("held", INT), Column("asked_on", DATE),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fetch:
    """How one day of a function source stands.

    Attributes:
        reason: Why it has no answer, or none since the one that stands.
        held: How many rows the last answer had; None where there was none.
        asked_on: The day of the last answer that counts: one of the day itself is not the last word.
    """

    day: dt.date
    state: str
    reason: str | None
    held: int | None
    asked_on: dt.date

    @property
    def is_settled(self) -> bool:
        """Whether it answered after the day was over."""
        return self.state == FETCHED and self.asked_on > self.day

    @property
    def standing(self) -> tuple[str, str | None, bool]:
        """What a rollup's coverage says of it."""
        return (self.state, self.reason, self.held is not None)


@dataclass(frozen=True, slots=True)
class Lack:
    """Days whose source has no answer, or none since the one that stands: what coverage says of them."""

    days: Days
    state: str
    reason: str | None
    has_figures: bool


@dataclass(frozen=True)
class Standing:
    """How a function source stands."""

    by_day: Mapping[dt.date, Fetch]

    @property
    def first(self) -> dt.date | None:
        """The first day that it was asked for."""
        return min(self.by_day, default=None)

    @cached_property
    def asked(self) -> list[Days]:
        """The days that it was asked for."""
        return union(Days(day, day) for day in self.by_day)

    @cached_property
    def figures(self) -> tuple[Days, ...]:
        """The days that it ever answered: of these, no row means none."""
        return tuple(union(Days(day, day) for day, one in self.by_day.items() if one.held is not None))

    @cached_property
    def lacking(self) -> list[Lack]:
        """The days that it has not answered, or not since the answer that stands."""
        groups: dict[tuple[str, str | None, bool], list[Days]] = {}
        for day, one in self.by_day.items():
            if one.state != FETCHED:
                groups.setdefault(one.standing, []).append(Days(day, day))
        return [
            Lack(days, coverage.OPEN if state == WAITING else coverage.FAILED, reason, has_figures)
            for (state, reason, has_figures), found in groups.items()
            for days in union(found)
        ]

    def covered(self, states: Mapping[str, Sequence[Days]]) -> Covered:
        """What of it a rollup need not fold, from the rollup's coverage of it: all but days that it never saw.

        Days whose answer changed are marked instead.
        """
        seen = union(days for found in states.values() for days in found)
        lost = [lack.days for lack in self.lacking if lack.state == coverage.FAILED]
        broken = [part for days in states.get(coverage.FAILED, ()) for part in without(days, lost)]
        new = [part for days in self.asked for part in without(days, seen)]
        return Covered(without(ALWAYS, union([*new, *broken])), min((days.first for days in seen), default=None))

    def cover(self, source: str, days: Days, today: dt.date) -> dict[dt.date, coverage.DayCover]:
        """The coverage of some days as a fold would leave it; days that it was never asked for have none."""
        found = {
            day: coverage.DayCover(
                source, day, coverage.OPEN if day >= today else coverage.FOLDED, one.held or 0, True, None
            )
            for day, one in self.by_day.items()
            if day in days
        }
        for lack in self.lacking:
            for day in overlap(lack.days, days) or ():
                found[day] = coverage.DayCover(source, day, lack.state, 0, lack.has_figures, lack.reason)
        return found


def standing(ledger: Ledger, session: Session, staging: str) -> Standing:
    """How a source stands now. ``staging``: the table of its rows."""
    query = ledger.sql(
        "select day, state, reason, held, asked_on from dayfold__fetches where source = :source order by day", source=staging
    )  # fmt: skip
    return Standing({row[0]: Fetch(*row) for row in session.rows(query)})


def standings(ledger: Ledger, session: Session, rollup: BoundRollup) -> dict[str, Standing]:
    """How each of a rollup's function sources stands now, by its name."""
    if not rollup.functions or ledger.version(session) is None:
        return {one.label: Standing({}) for one in rollup.functions}
    return {one.label: standing(ledger, session, one.staging) for one in rollup.functions}


def sources(ledger: Ledger, session: Session) -> list[str]:
    """The tables of fetched rows that anything was recorded of."""
    return [
        name for (name,) in session.rows(ledger.sql("select distinct source from dayfold__fetches order by source"))
    ]


def knowing(rollup: BoundRollup, found: Mapping[str, Standing]) -> BoundRollup:
    """The rollup with absence meaning zero only on days that its functions answered for."""
    if not found:
        return rollup
    figures = {source: one.figures for source, one in found.items()}
    return replace(rollup, shape=rollup.shape.knowing(figures))


def record_fetches(ledger: Ledger, session: Session, staging: str, found: Collection[Fetch]) -> None:
    """These days of a source stand like this now."""
    import pyarrow as pa

    columns = zip(*((one.day, one.state, one.reason, one.held, one.asked_on) for one in found), strict=True)
    kinds = (pa.date32(), pa.string(), pa.string(), pa.int64(), pa.date32())
    arrays = [pa.array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
    session.load(_RECORDS, _COLUMNS, pa.table(dict(zip((one.name for one in _COLUMNS), arrays, strict=True))))
    session.execute(
        ledger.sql(
            "insert into dayfold__fetches (source, day, state, reason, held, asked_on) "
            "select :source::text, r.day, r.state, r.reason, r.held, r.asked_on from _records as r where true "
            "on conflict (source, day) do update set state = excluded.state, reason = excluded.reason, "
            "held = excluded.held, asked_on = excluded.asked_on",
            source=staging, _records=table(_RECORDS),
        )
    )  # fmt: skip


def forget_fetches(ledger: Ledger, session: Session, staging: str) -> None:
    """The source was never asked."""
    session.execute(ledger.sql("delete from dayfold__fetches where source = :source", source=staging))


def record_standing(
    ledger: Ledger,
    session: Session,
    rollup: str,
    version: int,
    source: str,
    found: Standing,
    days: Days,
    today: dt.date,
) -> None:
    """Coverage of days that were folded with a source as it stood says so: what lacks, and why.

    Days that it was never asked for are not covered by it.
    """
    place = {"rollup": rollup, "version": version, "source": source}
    within = "where rollup = :rollup and version = :version and source = :source and state <> 'sealed' and "
    within += "day >= :first::date and day <= :last::date"
    for gap in without(days, found.asked):
        gone = ledger.sql(f"delete from dayfold__coverage {within}", first=gap.first, last=gap.last, **place)
        session.execute(gone)
    shared = [part for one in found.asked if (part := overlap(one, days))]
    for there in (part for one in shared for part in without(one, [lack.days for lack in found.lacking])):
        # It was lacking until now, perhaps.
        settle = ledger.sql(
            "update dayfold__coverage set state = case when day < :today::date then 'folded' else 'open' end, "
            f"reason = null, folded_at = :now::timestamptz {within} and (folded_at is null or not reason is null)",
            today=today, now=ledger.clock.now(), first=there.first, last=there.last, **place,
        )  # fmt: skip
        session.execute(settle)
    for lack in found.lacking:
        part = overlap(lack.days, days)
        if part is None:
            continue
        folded_at = "folded_at" if lack.has_figures else "null"
        session.execute(
            ledger.sql(
                f"update dayfold__coverage set state = :state, reason = :reason, folded_at = {folded_at} {within}",
                state=lack.state, reason=lack.reason, first=part.first, last=part.last, **place,
            )
        )  # fmt: skip
