"""Receipts: for each day what a rollup's table held when it was last published. Ledger floor.

A receipt tells a row that was changed past Dayfold from one whose source changed. It is made by the engine's own quick hash,
which may differ between versions of the engine and is compared with its own kind only. A sealed day keeps one that is
made by md5, the same on every engine, for as long as the day stands.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from sqlglot import exp

from dayfold.days import Days
from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.cells import CELL_DAY, Cells
from dayfold.plan.dialect import Dialect
from dayfold.plan.shape import Shape
from dayfold.plan.sql import Statement, Values, alias, both, column, derived, sql

BY_FOLD = "fold"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a day held: how many rows, their digest, the run that wrote it and what it came from. ``at``: ISO, UTC."""

    day: dt.date
    rows: int
    digest: str
    run_id: int
    at: str
    origin: str


def digests(
    dialect: Dialect, shape: Shape, days: Days, values: Values, *, lasting: bool = False, cells: Cells | None = None
) -> exp.Select:
    """A select of each day's rows and their digest, as the table holds them; days without a row are left out."""
    names = [column(one.name) for one in (*shape.identity, *shape.values)]
    if lasting:
        texts = [sql("coalesce(_t, '')", _t=dialect.piece("json_string", _x=name)) for name in names]
        joined = texts[0]
        for text in texts[1:]:
            joined = exp.DPipe(this=exp.DPipe(this=joined, expression=exp.Literal.string("|")), expression=text)
        one = dialect.piece("hash", _salt=exp.Literal.string(""), _x=joined)
        prefix: exp.Expr = exp.Literal.string("md5")
    else:
        one = dialect.piece("row_hash", _x=names)
        prefix = dialect.piece("hash_kind")
    total = dialect.piece("wide_sum_text", _x=one)
    digest = sql("_p || ' ' || _t", _p=prefix, _t=total)
    day = column(shape.day_column)
    within = [
        sql("_d >= _a", _d=day, _a=values.bind(days.first, "date")),
        sql("_d <= _b", _d=day, _b=values.bind(days.last, "date")),
    ]
    if cells is not None:
        listed = exp.select(column(CELL_DAY, "c")).from_(cells.source)
        within.append(exp.In(this=day, query=exp.Subquery(this=listed)))
    select = exp.select(alias(day, "day"), alias(sql("count(*)"), "held"), alias(digest, "digest"))
    return select.from_(shape.table).where(both(within)).group_by(exp.Literal.number(1))


def record(
    ledger: Ledger,
    session: Session,
    shape: Shape,
    rollup: str,
    version: int,
    days: Days,
    run_id: int,
    cells: Cells | None = None,
    *,
    origin: str = BY_FOLD,
    lasting: bool = False,
) -> None:
    """Each of these days, or of the days of these cells, has a receipt for what its table holds now."""
    values = Values()
    held = digests(ledger.store.dialect, shape, days, values, lasting=lasting, cells=cells)
    if cells is None:
        every = sql(
            "select cast(s.d as date) as day from generate_series(_a::timestamp, _b::timestamp, interval '1 day') as s(d)",
            _a=values.bind(days.first, "date"),
            _b=values.bind(days.last, "date"),
        )
    else:
        every = exp.select(alias(column(CELL_DAY, "c"), "day")).from_(cells.source).distinct()
    query = ledger.sql(
        "insert into dayfold__receipts (rollup, version, day, stored, digest, run_id, recorded_at, origin) "
        "select _rollup, _version, d.day, coalesce(h.held, 0), coalesce(h.digest, ''), _run, _now, _origin "
        "from _days as d left join _held as h on h.day = d.day where true "
        "on conflict (rollup, version, day) do update set stored = excluded.stored, digest = excluded.digest, "
        "run_id = excluded.run_id, recorded_at = excluded.recorded_at, origin = excluded.origin",
        _rollup=values.bind(rollup, "text"), _version=values.bind(version, "bigint"), _run=values.bind(run_id, "bigint"),
        _now=values.bind(ledger.clock.now(), "timestamptz"), _origin=values.bind(origin, "text"),
        _days=derived(every, "d"), _held=derived(held, "h"),
    )  # fmt: skip
    query.values.by_name.update(values.by_name)
    session.execute(query)


def receipts(ledger: Ledger, session: Session, rollup: str, version: int, days: Days) -> dict[dt.date, Receipt]:
    """The receipts of some days."""
    query = ledger.sql(
        "select day, stored, digest, run_id, _at, origin from dayfold__receipts where rollup = :rollup and "
        "version = :version and day >= :first::date and day <= :last::date order by day",
        rollup=rollup, version=version, first=days.first, last=days.last,
        _at=ledger.store.dialect.piece("iso_moment", _x=column("recorded_at")),
    )  # fmt: skip
    return {row[0]: Receipt(*row) for row in session.rows(query)}


def altered(
    ledger: Ledger, session: Session, shape: Shape, rollup: str, version: int, days: Iterable[dt.date]
) -> set[dt.date]:
    """Those of some days whose table does not hold what their receipt says."""
    wanted = sorted(set(days))
    if not wanted:
        return set()
    span = Days(wanted[0], wanted[-1])
    known = receipts(ledger, session, rollup, version, span)
    found: dict[dt.date, tuple[int, str]] = {}
    dialect = ledger.store.dialect
    for lasting in {known[day].digest.startswith("md5") for day in wanted if day in known}:
        values = Values()
        held = session.rows(Statement(digests(dialect, shape, span, values, lasting=lasting), values))
        found |= {
            day: (rows, digest)
            for day, rows, digest in held
            if day in known and known[day].digest.startswith("md5") == lasting
        }
    return {
        day
        for day in wanted
        if day in known
        and _comparable(known[day].digest, found.get(day, (0, ""))[1])
        and (known[day].rows, known[day].digest) != found.get(day, (0, ""))
    }


def _comparable(one: str, other: str) -> bool:
    """Whether two digests are of one kind; that of no row is of every kind."""
    return not one or not other or one.rpartition(" ")[0] == other.rpartition(" ")[0]
