"""Stale marks: the cells whose sources changed since they were folded. Ledger floor.

A mark is a row of its own, never unique and never updated: one that two transactions shared would lose the change
of the later one. A fold reads the ids of the marks that its snapshot sees, and deletes exactly those.

A key is written as a JSON array of texts, one for each key column, null for NULL; a mark without a day means every cell,
one with a day and without a key every cell of that day.

Marks of entities, whose levels changed, stand among them under a tag instead of the rollup's name, so that nobody takes
them for marks of its cells; a fold turns them into those of the cells that the levels show in.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.days import Days
from dayfold.define.types import DATE, INT, TEXT, TIMESTAMPTZ
from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.follow import TAG
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, column, derived, sql, table

if TYPE_CHECKING:
    import pyarrow as pa

#: The marks that a chunk read: their ids, keys and days.
READ = "dayfold_marks__"
#: The marks of entities that are turned into those of cells.
ENTITIES = "dayfold_entities__"
#: Why a cell is marked that a level shows in which changed on an earlier day.
OF_LEVELS = "an earlier level of {source} changed"
#: What is read of a mark.
COLUMNS = (Column("id", INT), Column("key", TEXT), Column("day", DATE))
CELL = COLUMNS[1:]
COLUMNS_WITH_TIME = (*COLUMNS, Column("marked_at", TIMESTAMPTZ))
COLUMNS_WITH_REASON = (*COLUMNS_WITH_TIME, Column("reason", TEXT))


@dataclass(frozen=True, slots=True)
class Marks:
    """What is marked of one rollup's version.

    Attributes:
        everything: Whether a mark means every cell.
        whole_days: Days with a mark that means all their cells.
        cells: How many marks with a key each day has; one cell may have several.
    """

    everything: bool
    whole_days: tuple[dt.date, ...]
    cells: dict[dt.date, int]

    @property
    def days(self) -> list[dt.date]:
        """All marked days, in order."""
        return sorted({*self.whole_days, *self.cells})


@dataclass(frozen=True, slots=True)
class MarkRecord:
    """One mark, for people."""

    key: str | None
    day: dt.date | None
    marked_at: str
    reason: str


def pending(ledger: Ledger, session: Session, rollup: str, version: int) -> Marks:
    """What is marked of a rollup's version now."""
    query = ledger.sql(
        "select day, key is null, count(*) from dayfold__marks where rollup = :rollup and version = :version "
        "group by 1, 2",
        rollup=rollup, version=version,
    )  # fmt: skip
    found = session.rows(query)
    return Marks(
        any(day is None for day, _, _ in found),
        tuple(sorted(day for day, keyless, _ in found if day is not None and keyless)),
        {day: count for day, keyless, count in found if day is not None and not keyless},
    )


def listed(ledger: Ledger, session: Session, rollup: str, version: int, days: Days | None) -> pa.Table:
    """The marks of a range of days, or those without a day, that this transaction sees: ids, keys and days."""
    return session.arrow(_listed(ledger, rollup, version, days), COLUMNS)


def read(
    ledger: Ledger,
    session: Session,
    rollup: str,
    version: int,
    days: Days | None,
    known: pa.Table | None = None,
    *,
    keyed: bool = False,
) -> None:
    """Stage the marks of a range of days, or those without a day, that this transaction sees; or ``known`` ones.

    ``keyed``: only those of single cells.
    """
    if known is not None:
        session.load(READ, COLUMNS, known.filter(known["key"].is_valid()) if keyed else known)
    else:
        session.stage(READ, _listed(ledger, rollup, version, days, keyed=keyed))


def _listed(ledger: Ledger, rollup: str, version: int, days: Days | None, *, keyed: bool = False) -> Statement:
    within = "day >= _first and day <= _last" if days else "day is null"
    within += " and not key is null" if keyed else ""
    values = Values()
    limits: dict[str, exp.Expr] = {}
    if days:
        limits = {"_first": values.bind(days.first, "date"), "_last": values.bind(days.last, "date")}
    query = ledger.sql(
        f"select id, key, day from dayfold__marks where rollup = _rollup and version = _version and {within}",
        _rollup=values.bind(rollup, "text"), _version=values.bind(version, "bigint"), **limits,
    )  # fmt: skip
    query.values.by_name.update(values.by_name)
    return query


def unsealed(ledger: Ledger, rollup: str, version: int) -> exp.Subquery:
    """The staged marks with a key that are not on a sealed day, as something to select from."""
    tree = ledger.sql(
        "select m.key, m.day from _marks as m where not m.key is null and not exists (select 1 from dayfold__coverage as c "
        "where c.rollup = _rollup and c.version = _version and c.day = m.day and c.state = 'sealed')",
        _marks=table(READ), _rollup=exp.Literal.string(rollup), _version=exp.Literal.number(version),
    ).tree  # fmt: skip
    return exp.Subquery(this=tree, alias=exp.TableAlias(this=exp.to_identifier("m")))


def delete_read(ledger: Ledger, session: Session) -> None:
    """The marks that were staged are done with; those that came since stay."""
    session.execute(ledger.sql(f'delete from dayfold__marks where id in (select id from "{READ}")'))


def mark(
    ledger: Ledger,
    session: Session,
    rollup: str,
    version: int,
    cells: exp.Query | None,
    reason: str,
    values: Values | None = None,
) -> int:
    """Mark cells, given by a query with the columns ``key`` and ``day``; without one, every cell. How many.

    ``values``: those that the query has bound.
    """
    bound = values if values is not None else Values()
    words = {
        "_sequence": exp.Literal.string(sequence(ledger)),
        "_rollup": bound.bind(rollup, "text"),
        "_version": bound.bind(version, "bigint"),
        "_now": bound.bind(ledger.clock.now(), "timestamptz"),
        "_reason": bound.bind(reason, "text"),
    }
    insert = "insert into dayfold__marks (id, rollup, version, key, day, marked_at, reason) "
    if cells is None:
        query = ledger.sql(
            insert + "select nextval(_sequence), _rollup, _version, null::text, null::date, _now, _reason", **words
        )
    else:
        query = ledger.sql(
            insert + "select nextval(_sequence), _rollup, _version, c.key, c.day, _now, _reason from _cells as c",
            _cells=derived(cells, "c"), **words,
        )  # fmt: skip
    query.values.by_name.update(bound.by_name)
    return session.execute(query)


def take_over(ledger: Ledger, session: Session, rollup: str, version: int, loaded: str) -> None:
    """Marks that were written elsewhere, and loaded as a temporary table, are marks of the ledger."""
    session.execute(
        ledger.sql(
            "insert into dayfold__marks (id, rollup, version, key, day, marked_at, reason) "
            "select nextval(_sequence), _rollup, _version, f.key, f.day, f.marked_at, f.reason from _loaded as f",
            _sequence=exp.Literal.string(sequence(ledger)), _rollup=exp.Literal.string(rollup),
            _version=exp.Literal.number(version), _loaded=table(loaded),
        )
    )  # fmt: skip


def sequence(ledger: Ledger) -> str:
    """The sequence of the marks' ids, as ``nextval`` takes it."""
    return f'"{ledger.home.schema}"."dayfold__mark_ids"'


def forget_of(ledger: Ledger, session: Session, rollup: str, version: int, tables: Sequence[str]) -> None:
    """Delete the marks that triggers of these tables wrote: made for another definition, they cannot be read as cells."""
    for name in tables:
        session.execute(
            ledger.sql(
                "delete from dayfold__marks where (rollup = :rollup or left(rollup, length(:tag)) = :tag) and "
                "version = :version and left(reason, length(:prefix)) = :prefix",
                rollup=rollup, tag=rollup + TAG, version=version, prefix=f"{name}: ",
            )
        )  # fmt: skip


def entities(ledger: Ledger, tag: str, version: int) -> exp.Select:
    """A select of the marks of entities under a tag: ids, keys, days and times."""
    tree = ledger.sql(
        "select id, key, day, marked_at from dayfold__marks where rollup = _tag and version = _version",
        _tag=exp.Literal.string(tag), _version=exp.Literal.number(version),
    ).tree  # fmt: skip
    assert isinstance(tree, exp.Select)
    return tree


def read_entities(ledger: Ledger, session: Session, tag: str, version: int) -> exp.Select:
    """Stage the marks of entities that this transaction sees, and select them from there."""
    session.stage(ENTITIES, Statement(entities(ledger, tag, version)))
    session.analyze(ENTITIES)
    return exp.select(column("key"), column("day")).from_(table(ENTITIES))


def delete_entities(ledger: Ledger, session: Session) -> None:
    """The staged marks of entities have become marks of cells."""
    session.execute(ledger.sql(f'delete from dayfold__marks where id in (select id from "{ENTITIES}")'))


def whole_days(ledger: Ledger, session: Session, rollup: str, version: int) -> dict[dt.date, str]:
    """The days of which every cell is marked, in order, and since when."""
    query = ledger.sql(
        "select day, _at from dayfold__marks where rollup = :rollup and version = :version and key is null and "
        "not day is null group by day order by day",
        rollup=rollup, version=version,
        _at=ledger.home.dialect.piece("iso_moment", _x=sql("min(marked_at)")),
    )  # fmt: skip
    return dict(session.rows(query))


def tell_of_loss(
    ledger: Ledger, session: Session, rollup: str, version: int, tables: Sequence[str], days: Days
) -> bool:
    """Whether triggers of these tables saw rows of these days go."""
    for name in tables:
        query = ledger.sql(
            "select 1 from dayfold__marks where rollup = :rollup and version = :version and "
            "(reason = :emptied or (reason in (:deleted, :updated) and day >= :first::date and day <= :last::date)) limit 1",
            rollup=rollup, version=version, emptied=f"{name}: truncate", deleted=f"{name}: delete",
            updated=f"{name}: update", first=days.first, last=days.last,
        )  # fmt: skip
        if session.rows(query):
            return True
    return False


def drop_beyond(
    ledger: Ledger, session: Session, rollup: str, version: int, since: dt.date | None, today: dt.date
) -> None:
    """Delete marks on days that are not folded: before a rollup's history, and those to come, which are folded whole."""
    before = " or day < :since::date" if since else ""
    limits = {"since": since} if since else {}
    session.execute(
        ledger.sql(
            f"delete from dayfold__marks where rollup = :rollup and version = :version and (day > :today::date{before})",
            rollup=rollup, version=version, today=today, **limits,
        )
    )  # fmt: skip


def counts(ledger: Ledger, session: Session) -> dict[str, int]:
    """How many marks each rollup's published version has."""
    return dict(session.rows(ledger.sql("select rollup, count(*) from dayfold_stale group by rollup")))


def of_cell(
    ledger: Ledger, session: Session, rollup: str, version: int, key: str, day: dt.date
) -> Sequence[MarkRecord]:
    """The marks that a cell waits for, oldest first."""
    query = ledger.sql(
        "select key, day, _at, reason from dayfold__marks where rollup = :rollup and version = :version and "
        "(day is null or day = :day::date) and (key is null or key = :key) order by id",
        rollup=rollup, version=version, key=key, day=day,
        _at=ledger.home.dialect.piece("iso_moment", _x=column("marked_at")),
    )  # fmt: skip
    return [MarkRecord(*row) for row in session.rows(query)]
