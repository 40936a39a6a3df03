"""Receipts: for each day what a rollup's table held when it was last published. Ledger floor.

A receipt tells a row that was changed past Dayfold from one whose source changed. It is made by the engine's own quick hash,
which may differ between versions of the engine and is compared with its own kind only. A sealed day keeps one that is
made by md5, the same on every engine, for as long as the day stands.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from dayfold.days import Days
from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.cells import CELL_DAY, Cells
from dayfold.plan.dialect import Dialect
from dayfold.plan.publish import CHANGES, Publication, same_row
from dayfold.plan.shape import Shape
from dayfold.plan.sql import Statement, Values, alias, both, column, derived, remembered, sql, table

BY_FOLD = "fold"
_CORRECTION = "dayfold_correction__"


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
    names = [column(one.name) for one in (*shape.identity, *shape.body)]
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
    day = shape.day()
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
    bound = [days.first, days.last, *([] if cells else [days.first, days.last])]
    bound += [rollup, version, run_id, ledger.clock.now(), origin]  # type: ignore[list-item]  # values of any kind
    key = ("receipts", ledger.home.schema, shape, lasting, cells.source if cells else None)
    session.execute(remembered(key, bound, lambda: _recording(ledger, shape, bound, cells, lasting)))


def _recording(ledger: Ledger, shape: Shape, bound: list[Any], cells: Cells | None, lasting: bool) -> Statement:
    values = Values()
    days = Days(bound[0], bound[1])
    rollup, version, run_id, now, origin = bound[-5:]
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
        _now=values.bind(now, "timestamptz"), _origin=values.bind(origin, "text"),
        _days=derived(every, "d"), _held=derived(held, "h"),
    )  # fmt: skip
    query.values.by_name.update(values.by_name)
    return query


@dataclass(frozen=True, slots=True)
class Correction:
    """Corrects the receipts of the days of some cells by the rows that change: reading whole days would cost more.

    Watches the publication of the rollup's own rows. A day without a receipt stays without one.
    """

    ledger: Ledger
    session: Session
    rollup: str
    version: int
    run_id: int

    def before(self, publication: Publication) -> None:
        """What the receipts of the changed rows' days are to be corrected by."""
        build = remembered(
            ("correction", publication.shape, publication.dialect),
            [],
            lambda: _correction(publication.shape, publication.dialect),
        )
        self.session.stage(_CORRECTION, build)

    def after(self, publication: Publication, *, all_new: bool) -> None:
        """The receipts are corrected."""
        dialect = self.ledger.home.dialect
        values = [self.run_id, self.ledger.clock.now(), self.rollup, self.version]
        key = ("corrected", self.ledger.home.schema, dialect)
        self.session.execute(remembered(key, values, lambda: _corrected(self.ledger, dialect, values)))


def _correction(shape: Shape, dialect: Dialect) -> Statement:
    """For each day of the change set: by how much its digest and its number of rows move."""

    def hashed(side: str) -> exp.Expr:
        names = [dialect.cast(column(one.name, side), one.type) for one in (*shape.identity, *shape.body)]
        return dialect.piece("row_hash", _x=names)

    moved = sql(
        "sum(cast(case when op__ <> 'D' then _new else 0 end as numeric(38, 0))) - "
        "sum(cast(case when op__ <> 'I' then _old else 0 end as numeric(38, 0)))",
        _new=hashed("c"), _old=hashed("t"),
    )  # fmt: skip
    rows = sql("count(*) filter (where op__ = 'I') - count(*) filter (where op__ = 'D')")
    slot = shape.slot_of("c")
    by_day = shape.is_lifelong or shape.slot == shape.day_column
    day = slot if by_day else dialect.piece("utc_date", _x=slot)
    kind = alias(dialect.piece("hash_kind"), "kind")
    select = exp.select(alias(day, "day"), alias(moved, "moved"), alias(rows, "held"), kind)
    select = select.from_(exp.alias_(table(CHANGES), "c", table=True))
    same = same_row(dialect, shape, "t", "c")
    select = select.join(exp.alias_(shape.table, "t", table=True), on=same, join_type="left")
    return Statement(select.group_by(exp.Literal.number(1)))


def _corrected(ledger: Ledger, dialect: Dialect, bound: list[Any]) -> Statement:
    values = Values()
    run_id, now, rollup, version = bound
    old = dialect.piece("digest_total", _x=column("digest", "r"))
    # Said by the database that made the hashes, which may be another one than this.
    kind = column("kind", "x")
    query = ledger.sql(
        "update dayfold__receipts as r set digest = case when r.digest = '' then _kind || ' ' || cast(x.moved as text) "
        "when left(r.digest, length(_kind)) = _kind then _kind || ' ' || cast(_old + x.moved as text) else r.digest end, "
        "stored = r.stored + x.held, run_id = _run, recorded_at = _now "
        "from _correction as x where r.rollup = _rollup and r.version = _version and r.day = x.day",
        _kind=kind, _old=old, _run=values.bind(run_id, "bigint"), _now=values.bind(now, "timestamptz"),
        _rollup=values.bind(rollup, "text"), _version=values.bind(version, "bigint"), _correction=table(_CORRECTION),
    )  # fmt: skip
    query.values.by_name.update(values.by_name)
    return query


def receipts(ledger: Ledger, session: Session, rollup: str, version: int, days: Days) -> dict[dt.date, Receipt]:
    """The receipts of some days."""
    query = ledger.sql(
        "select day, stored, digest, run_id, _at, origin from dayfold__receipts where rollup = :rollup and "
        "version = :version and day >= :first::date and day <= :last::date order by day",
        rollup=rollup, version=version, first=days.first, last=days.last,
        _at=ledger.home.dialect.piece("iso_moment", _x=column("recorded_at")),
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
    return {day for day in wanted if day in known and _differs(known[day], *found.get(day, (0, "")))}


def _differs(known: Receipt, rows: int, digest: str) -> bool:
    """Whether a day holds other rows than its receipt says; digests of two kinds say nothing of each other."""
    if known.rows != rows:
        return True
    return rows > 0 and _comparable(known.digest, digest) and known.digest != digest


def _comparable(one: str, other: str) -> bool:
    """Whether two digests are of one kind."""
    return one.rpartition(" ")[0] == other.rpartition(" ")[0]
