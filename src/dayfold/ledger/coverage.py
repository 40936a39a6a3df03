"""Coverage: what has been folded of each rollup, source and day. Ledger floor.

``open``: folded while the day was not over; with a reason: its source is not ready. A profile has one day, `dayfold.days.LIFE`,
which is never over. ``folded``: folded after it
ended. ``failed``: the last fold could not read the source. ``folded_at`` says whether an earlier one did. Absent: never
folded.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from dayfold.days import LIFE, Days, union
from dayfold.define.types import DATE
from dayfold.engines.base import Session
from dayfold.ledger import versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.cells import CELL_DAY, Cells, Covered
from dayfold.plan.sql import Statement, Values, column, derived, either, sql, table

OPEN, FOLDED, FAILED, SEALED = "open", "folded", "failed", "sealed"


@dataclass(frozen=True, slots=True)
class DayCover:
    """One source's coverage of one day."""

    source: str
    day: dt.date
    state: str
    facts: int
    ever_folded: bool
    reason: str | None


def coverage(ledger: Ledger, session: Session, rollup: str, version: int, days: Days | None = None) -> list[DayCover]:
    """A rollup's coverage, of a range or all of it, in the order of days."""
    bounds = " and day >= :first::date and day <= :last::date" if days else ""
    limits = {"first": days.first, "last": days.last} if days else {}
    query = ledger.sql(
        "select source, day, state, facts, folded_at is not null, reason from dayfold__coverage "
        f"where rollup = :rollup and version = :version{bounds} order by day, source",
        rollup=rollup, version=version, **limits,
    )  # fmt: skip
    return [DayCover(*row) for row in session.rows(query)]


def first_days(ledger: Ledger, session: Session, rollup: str, version: int) -> dict[str, dt.date]:
    """The first covered day of each source of a rollup."""
    query = ledger.sql(
        "select source, min(day) from dayfold__coverage where rollup = :rollup and version = :version group by source",
        rollup=rollup, version=version,
    )  # fmt: skip
    return dict(session.rows(query))


def last_days(ledger: Ledger, session: Session, rollup: str, version: int, until: dt.date) -> dict[str, dt.date]:
    """The last day of each source of a rollup up to some day, that one included, that was ever folded."""
    query = ledger.sql(
        "select source, max(day) from dayfold__coverage where rollup = :rollup and version = :version and "
        "day <= :until::date and not folded_at is null group by source",
        rollup=rollup, version=version, until=until,
    )  # fmt: skip
    return dict(session.rows(query))


def as_of(ledger: Ledger, session: Session, rollup: str, version: int) -> dt.date | None:
    """The day that `now()` was when a profile's rows were computed; None where its sources have it from different days."""
    query = ledger.sql(
        "select min(as_of), max(as_of) from dayfold__coverage where rollup = :rollup and version = :version",
        rollup=rollup, version=version,
    )  # fmt: skip
    first, last = session.rows(query)[0]
    return first if first == last and isinstance(first, dt.date) else None


@dataclass(frozen=True, slots=True)
class LifeCover:
    """One source's coverage of a profile; ``folded_at``: the moment at which it was last read whole, as text in UTC."""

    source: str
    state: str
    reason: str | None
    folded_at: str | None
    as_of: dt.date | None


def lives(ledger: Ledger, session: Session, rollup: str, version: int) -> list[LifeCover]:
    """A profile's coverage by each of its sources."""
    query = ledger.sql(
        "select source, state, reason, _at, as_of from dayfold__coverage where rollup = :rollup and version = :version order by source",
        rollup=rollup, version=version, _at=ledger.home.dialect.piece("iso_moment", _x=column("folded_at")),
    )  # fmt: skip
    return [LifeCover(*row) for row in session.rows(query)]


def ranges(ledger: Ledger, session: Session, rollup: str, version: int) -> dict[str, dict[str, list[Days]]]:
    """For each source the ranges of days in each state, in order.

    Ranges are found by the database: a history may have a million days, and a daily run touches a few.
    """
    found: dict[str, dict[str, list[Days]]] = {}
    whole = session.rows(
        ledger.sql(
            "select source, state, min(day), max(day), count(*) from dayfold__coverage where rollup = :rollup and "
            "version = :version group by source, state",
            rollup=rollup, version=version,
        )
    )  # fmt: skip
    if all((last - first).days + 1 == count for _, _, first, last, count in whole):
        # Each state is one range, as after any ordinary day; looking for gaps takes five times as long.
        for source, state, first, last, _ in whole:
            found.setdefault(source, {})[state] = [Days(first, last)]
        return found
    query = ledger.sql(
        "select source, state, min(day), max(day) from (select source, day, state, "
        "day - cast(row_number() over (partition by source, state order by day) as integer) "
        "as island from dayfold__coverage where rollup = :rollup and version = :version) as d "
        "group by source, state, island order by min(day)",
        rollup=rollup, version=version,
    )  # fmt: skip
    for source, state, first, last in session.rows(query):
        found.setdefault(source, {}).setdefault(state, []).append(Days(first, last))
    return found


def close_days(
    ledger: Ledger, session: Session, rollup: str, version: int, sources: Sequence[str], today: dt.date
) -> bool:
    """Days that are over are folded, of sources whose every change was marked while they were open; whether there were any."""
    close = (
        "update dayfold__coverage set state = 'folded' where rollup = :rollup and version = :version and "
        "source = :source and state = 'open' and day < :today::date and reason is null"
    )
    counts = [
        session.execute(ledger.sql(close, rollup=rollup, version=version, source=source, today=today))
        for source in sources
    ]
    return any(counts)


def seal_days(
    ledger: Ledger, session: Session, rollup: str, version: int, sources: Sequence[str], today: dt.date
) -> bool:
    """Days that are over and that nothing can compute again stay as they were last folded; whether there were any.

    One on which every fold failed is missing, as one without a fold is.
    """
    mine = "rollup = :rollup and version = :version and source = :source and state in ('open', 'failed') and day < :today::date"
    counts = []
    for source in sources:
        for text in (
            f"delete from dayfold__coverage where {mine} and folded_at is null",
            f"update dayfold__coverage set state = 'sealed', reason = null where {mine}",
        ):
            words = {"rollup": rollup, "version": version, "source": source, "today": today}
            counts.append(session.execute(ledger.sql(text, **words)))
    return any(counts)


def seal(ledger: Ledger, session: Session, rollup: str, version: int, source: str, days: Days, run_id: int) -> None:
    """Every one of these days is frozen: nothing computes it again."""
    session.execute(
        ledger.sql(
            "insert into dayfold__coverage as c (rollup, version, source, day, state, facts, folded_at, run_id) "
            "select :rollup::text, :version::bigint, :source::text, d.day, 'sealed', 0, :now::timestamptz, :run::bigint "
            f"from {_EACH_DAY} as d where true on conflict (rollup, version, source, day) do update set "
            "state = excluded.state, folded_at = excluded.folded_at, run_id = excluded.run_id, reason = null",
            rollup=rollup, version=version, source=source, first=days.first, last=days.last,
            now=ledger.clock.now(), run=run_id,
        )
    )  # fmt: skip


def covered(states: Mapping[str, Sequence[Days]], *, when_open: bool = False) -> Covered:
    """What a source has covered for good; ``when_open``: its changes are told, so that its open days are too."""
    settled = [FOLDED, SEALED, *([OPEN] if when_open else [])]
    firsts = [days.first for found in states.values() for days in found]
    return Covered(union(days for state in settled for days in states.get(state, ())), min(firsts, default=None))


def known_from(known: Mapping[str, Mapping[str, Sequence[Days]]], sources: Iterable[str]) -> set[str]:
    """Those of some sources that were read before, so that their history begins where their coverage does."""
    return {one for one in sources if any(known.get(one, {}).get(state) for state in (OPEN, FOLDED, SEALED))}


def sealed_days(known: Mapping[str, Mapping[str, Sequence[Days]]]) -> list[Days]:
    """The days that some source is sealed on, from `ranges`."""
    return union(days for states in known.values() for days in states.get(SEALED, ()))


@dataclass(frozen=True, slots=True)
class OpenDay:
    """A day that is over and that a source of a rollup is not closed on."""

    rollup: str
    source: str
    day: dt.date
    state: str
    reason: str | None


def left_open(ledger: Ledger, session: Session, today: dt.date) -> list[OpenDay]:
    """The days before today that are open or failed, of the versions that readers see."""
    query = ledger.sql(
        "select c.rollup, c.source, c.day, c.state, c.reason from dayfold__coverage as c join dayfold__rollups as r on "
        "r.rollup = c.rollup and r.version = c.version where c.day < :today::date and c.state in ('open', 'failed') "
        "and c.day > :life::date order by c.day, c.rollup, c.source",
        today=today,
        life=LIFE,
    )
    return [OpenDay(*row) for row in session.rows(query)]


def unproved(ledger: Ledger, session: Session, since: dt.date, today: dt.date) -> dict[str, list[Days]]:
    """The days from ``since`` and before today that every source is closed on and that were never verified, by rollup."""
    query = ledger.sql(
        "select c.rollup, c.day from dayfold__coverage as c join dayfold__rollups as r on r.rollup = c.rollup and "
        "r.version = c.version left join dayfold__verifications as v on v.rollup = c.rollup and v.version = c.version and "
        "v.day = c.day where c.day >= :since::date and c.day < :today::date and v.day is null group by c.rollup, c.day "
        "having sum(case when c.state = 'folded' then 0 else 1 end) = 0 order by c.rollup, c.day",
        since=since, today=today,
    )  # fmt: skip
    found: dict[str, list[Days]] = {}
    for rollup, day in session.rows(query):
        found.setdefault(rollup, []).append(Days(day, day))
    return {rollup: union(days) for rollup, days in found.items()}


def facts_of(ledger: Ledger, session: Session, rollup: str, version: int, ranges: Sequence[Days]) -> dict[dt.date, int]:
    """How many facts all sources together had on the covered ones of these days."""
    found: dict[dt.date, int] = {}
    for days in ranges:
        for one in coverage(ledger, session, rollup, version, days):
            found[one.day] = found.get(one.day, 0) + one.facts
    return found


#: How many facts each day has, of a store whose ledger is in another database.
_FACTS = "dayfold_facts__"
_EACH_DAY = (
    "(select cast(s.d as date) as day from "
    "generate_series(:first::date::timestamp, :last::date::timestamp, interval '1 day') as s(d))"
)


def record_folded(
    ledger: Ledger,
    session: Session,
    rollup: str,
    version: int,
    source: str,
    days: Days,
    scans: Sequence[str],
    run_id: int,
    today: dt.date,
    as_of: dt.date | None = None,
    earlier: int = 0,
) -> None:
    """Every one of these days is covered by this source. ``scans``: the temporary tables of its results.

    ``as_of``: what `now()` was, of a profile that uses it; ``earlier``: facts of the one day that were counted before.
    """
    facts = " union all ".join(f'select cast(slot__ as date) as day, facts__ as facts from "{name}"' for name in scans)
    if scans and ledger.home is not ledger.store:
        # Counted where they are: days go to the ledger, and not all that a scan has found.
        parts: list[exp.Query] = [
            exp.select(
                ledger.store.dialect.cast(column("slot__"), DATE).as_("day"), column("facts__").as_("facts")
            ).from_(table(name))
            for name in scans
        ]
        whole = functools.reduce(lambda one, other: exp.union(one, other, distinct=False), parts)
        session.stage(
            _FACTS,
            Statement(
                sql("select day, cast(sum(facts) as bigint) as facts from _r group by day", _r=derived(whole, "r"))
            ),
        )
        facts = f'select day, facts from "{_FACTS}"'
    session.execute(
        ledger.sql(
            "insert into dayfold__coverage as c (rollup, version, source, day, state, facts, folded_at, run_id, as_of) "
            "select :rollup::text, :version::bigint, :source::text, d.day, "
            "case when d.day >= :today::date then 'open' else 'folded' end, cast(coalesce(f.facts, 0) as bigint) + :earlier::bigint, "
            f":now::timestamptz, :run::bigint, :as_of::date from {_EACH_DAY} as d "
            f"left join (select day, sum(facts) as facts from ({facts}) as r group by day) as f on f.day = d.day "
            "on conflict (rollup, version, source, day) do update set state = excluded.state, facts = excluded.facts, "
            "folded_at = excluded.folded_at, run_id = excluded.run_id, reason = null, as_of = excluded.as_of",
            rollup=rollup, version=version, source=source, first=days.first, last=days.last, today=today,
            now=ledger.clock.now(), run=run_id, as_of=as_of, earlier=earlier,
        )
    )  # fmt: skip


def record_failed(
    ledger: Ledger,
    session: Session,
    rollup: str,
    version: int,
    source: str,
    days: Days,
    reason: str,
    run_id: int,
    cells: Cells | None = None,
) -> None:
    """This source could not be read for these days, or those of these cells; what it gave before stays."""
    if cells is not None:
        listed = exp.select(column(CELL_DAY, "c")).from_(cells.source)
        session.execute(
            ledger.sql(
                "update dayfold__coverage set state = 'failed', run_id = :run, reason = :reason where rollup = :rollup and "
                "version = :version and source = :source and day in (_listed) and state <> 'sealed'",
                rollup=rollup, version=version, source=source, reason=reason, run=run_id, _listed=listed,
            )
        )  # fmt: skip
        return
    session.execute(
        ledger.sql(
            "insert into dayfold__coverage as c (rollup, version, source, day, state, facts, folded_at, run_id, reason) "
            "select :rollup::text, :version::bigint, :source::text, d.day, 'failed', 0, null, :run::bigint, "
            f":reason::text from {_EACH_DAY} as d on conflict (rollup, version, source, day) do update set "
            "state = excluded.state, run_id = excluded.run_id, reason = excluded.reason",
            rollup=rollup, version=version, source=source, first=days.first, last=days.last, reason=reason, run=run_id,
        )
    )  # fmt: skip


def forget(ledger: Ledger, session: Session, rollup: str, version: int) -> None:
    """Nothing of this version is covered any more, and answers about the rollup are other ones."""
    gone = "delete from dayfold__coverage where rollup = :rollup and version = :version"
    if session.execute(ledger.sql(gone, rollup=rollup, version=version)):
        versions.bump_revision(ledger, session, rollup)


def facts_before(
    ledger: Ledger, session: Session, rollup: str, version: int, source: str, scope: Sequence[Days]
) -> int:
    """How many facts the source had on these days when they were last folded."""
    values = Values()
    within = either(
        sql(
            "_d >= _low and _d <= _high",
            _d=column("day"),
            _low=values.bind(days.first, "date"),
            _high=values.bind(days.last, "date"),
        )
        for days in scope
    )
    query = ledger.sql(
        "select coalesce(sum(facts), 0)::bigint from dayfold__coverage where rollup = :rollup and version = :version "
        "and source = :source and _within",
        rollup=rollup, version=version, source=source, _within=within,
    )  # fmt: skip
    query.values.by_name.update(values.by_name)
    return int(session.rows(query)[0][0])
