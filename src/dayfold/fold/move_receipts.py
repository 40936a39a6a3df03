"""Receipts in a store that was moved: they say of its rows what they said of the original's. Fold floor.

A digest is made by an engine's own hash, so that one of another engine says nothing. It is a sum over the rows of a day, and what a
receipt is off by from its rows, in the original, the new one is off by as well: a day that was changed past Dayfold stays one that
was. Number of rows, run, moment and origin are as they were. A digest that the original's engine cannot make any more, of an earlier
version of it, stays as it is, and goes on to say nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dayfold.days import Days
from dayfold.define.types import DATE, TEXT
from dayfold.engines.base import Session
from dayfold.ledger import receipts
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup
from dayfold.plan.shape import Column, Shape
from dayfold.plan.sql import Statement, Values, sql, table

_FRESH = "dayfold_fresh__"


@dataclass(frozen=True, slots=True)
class _Held:
    """What the rows of days add up to, by a hash of this kind."""

    kind: str
    totals: Mapping[dt.date, int]


def renew(here: Ledger, there: Ledger, session: Session, rollup: BoundRollup, version: int) -> int:
    """The receipts of a rollup in the new store are of its engine; how many were written. Again writes the same."""
    import pyarrow as pa

    whole = Days(dt.date.min, dt.date.max)
    with here.store.transaction(read_only=True) as original:
        known = receipts.receipts(here, original, rollup.name, version, whole)
        if not known:
            return 0
        span = Days(min(known), max(known))
        kinds = {_is_lasting(one.digest) for one in known.values()}
        old = {lasting: _held(here, original, rollup.shape, span, lasting) for lasting in kinds}
    shape = replace(rollup.shape, schema=there.store.schema)
    new = {lasting: _held(there, session, shape, span, lasting) for lasting in kinds}
    fresh: dict[dt.date, str] = {}
    for day, one in known.items():
        kind, _, total = one.digest.rpartition(" ")
        before, after = old[_is_lasting(one.digest)], new[_is_lasting(one.digest)]
        if one.digest and kind == before.kind:
            off = int(total) - before.totals.get(day, 0)
            fresh[day] = f"{after.kind} {after.totals.get(day, 0) + off}"
    rows = pa.table({"day": pa.array([*fresh], pa.date32()), "digest": pa.array([*fresh.values()], pa.string())})
    session.load(_FRESH, [Column("day", DATE), Column("digest", TEXT)], rows)
    _write(there, session, rollup.name, version)
    return len(fresh)


def _write(there: Ledger, session: Session, rollup: str, version: int) -> None:
    """The digests that were loaded are those of the receipts of their days."""
    values = Values()
    query = there.sql(
        "update dayfold__receipts as r set digest = x.digest from _fresh as x "
        "where r.rollup = _rollup and r.version = _version and r.day = x.day",
        _fresh=table(_FRESH), _rollup=values.bind(rollup, "text"), _version=values.bind(version, "bigint"),
    )  # fmt: skip
    query.values.by_name.update(values.by_name)
    session.execute(query)


def _is_lasting(digest: str) -> bool:
    return digest.startswith("md5")


def _held(ledger: Ledger, session: Session, shape: Shape, span: Days, lasting: bool) -> _Held:
    dialect = ledger.store.dialect
    values = Values()
    rows = session.rows(Statement(receipts.digests(dialect, shape, span, values, lasting=lasting), values))
    kind = "md5" if lasting else str(session.rows(Statement(sql("select _k", _k=dialect.piece("hash_kind"))))[0][0])
    return _Held(kind, {day: int(digest.rpartition(" ")[2]) for day, _, digest in rows})
