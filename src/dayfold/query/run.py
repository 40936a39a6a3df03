"""Answers a request: coverage, revision and rows are read in one snapshot. Query floor."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Mapping
from dataclasses import replace as changed_copy

import pyarrow as pa
import pyarrow.compute as pc

from dayfold.define.metric import Computed
from dayfold.define.rollup import siblings
from dayfold.define.source import Table
from dayfold.define.types import Type
from dayfold.engines.base import Session
from dayfold.errors import QueryRefused
from dayfold.ledger import coverage, versions
from dayfold.ledger.ledger import Ledger
from dayfold.query.answer import Answer
from dayfold.query.compare import comparison
from dayfold.query.cover import Cover
from dayfold.query.request import Request
from dayfold.query.series import Series

#: More rows than a person or a program can want at once.
MAX_ROWS = 2_000_000


def answer(ledger: Ledger, request: Request) -> Answer:
    """The answer, with that of the compared range where one is asked for.

    Raises:
        QueryRefused: when the rollup was never folded, or a metric's definition was edited since.
    """
    ledger.store.open()
    with ledger.store.transaction(read_only=True) as session:
        version = _version(ledger, session, request)
    types = ledger.store.describe(Table(f"{ledger.store.schema}.{version.table}"))
    with ledger.store.transaction(read_only=True) as session:
        version = _version(ledger, session, request)
        if not request.compare:
            return _answer(ledger, session, request, version, types)
        other = comparison(request.days, request.compare, request.grain, request.today)
        # Each range shows the keys of both, so that one that came or went stands beside its zero.
        found = _answer(ledger, session, changed_copy(request, also=other.days), version, types)
        earlier = changed_copy(request, days=other.days, also=request.days, compare=None, sort=None, limit=None)
        found.compare = _answer(ledger, session, earlier, version, types)
        found.beside = other.beside
    return found


def _version(ledger: Ledger, session: Session, request: Request) -> versions.Version:
    """The stored version of the rollup, which must have what is asked for."""
    rollup = request.rollup
    number = ledger.version(session)
    if number is not None:
        ledger.check(session, number)
    known = versions.versions(ledger, session) if number is not None else {}
    if rollup.name not in known:
        raise QueryRefused(f"{rollup.name} was never folded.", hint=f"Run: dayfold fold {rollup.name}")
    version = known[rollup.name]
    stored = version.definition["metrics"]
    edited = [
        name
        for name in request.needed
        if name in rollup.measured and stored.get(name) != rollup.measured[name].identity()
    ]
    shape = {"key": list(rollup.key), "day_column": rollup.day_column, "grain": rollup.grain}
    edited += [name for name, value in shape.items() if version.definition[name] != value]
    if edited:
        what = ", ".join(edited)
        raise QueryRefused(
            f"The definition of {rollup.name} was edited since it was folded: {what}.",
            hint=f"Run: dayfold fold {rollup.name}",
        )
    return version


def _answer(
    ledger: Ledger, session: Session, request: Request, version: versions.Version, types: Mapping[str, Type]
) -> Answer:
    known = coverage.coverage(ledger, session, request.rollup.name, version.number, request.utc_days)
    cover = Cover(request, known, _history(ledger, session, request, version))
    spine = cover.spine()
    store = ledger.store
    if request.by and len(spine.buckets) > 1 and not request.limit:
        groups = session.rows(Series(request, version.table, types, store.schema, store.dialect, spine).groups())[0][0]
        if groups * len(spine.buckets) > MAX_ROWS:
            raise QueryRefused(
                f"The answer would have {groups * len(spine.buckets):,} rows; at most {MAX_ROWS:,} are given at once.",
                hint="Ask for a shorter range, a coarser grain, or fewer keys with --where.",
            )
    series = Series(request, version.table, types, store.schema, store.dialect, spine)
    statement = series.statement()
    table = session.arrow(statement, series.columns)
    exact, error = _exactness(request, table)
    table = _narrowed(table.select(["day", *request.by, *request.metrics]))
    return Answer(request, table, exact, error, cover.missing(), cover.stale(), spine.partial, version.revision)


def _narrowed(table: pa.Table) -> pa.Table:
    """Whole numbers as 64-bit integers where they fit; a sum over a range may need more digits and keeps them."""
    for place, one in enumerate(table.schema):
        if pa.types.is_decimal(one.type) and one.type.scale == 0:
            with contextlib.suppress(pa.ArrowInvalid):
                table = table.set_column(place, one.name, pc.cast(table.column(place), pa.int64()))
    return table


def _exactness(request: Request, table: pa.Table) -> tuple[dict[str, bool], dict[str, float]]:
    """Whether each metric is exact in every row and, if not, its greatest error; formulas take after their parts."""
    exact: dict[str, bool] = {}
    error: dict[str, float] = {}
    for name in request.needed:
        metric = request.rollup.metrics[name]
        if isinstance(metric, Computed):
            exact[name] = all(exact[part] for part in siblings(metric))
        elif name in request.distincts and f"{name}__exact" in table.column_names:
            exact[name] = pc.all(table[f"{name}__exact"]).as_py() is not False
            greatest = pc.max(table[f"{name}__error"]).as_py()
            if greatest is not None:
                error[name] = greatest
        else:
            exact[name] = True
    return {name: exact[name] for name in request.metrics}, {
        name: error[name] for name in request.metrics if name in error
    }


def _history(ledger: Ledger, session: Session, request: Request, version: versions.Version) -> dict[str, dt.date]:
    """The first covered day of each source."""
    query = ledger.sql(
        "select source, min(day) from dayfold__coverage where rollup = :rollup and version = :version group by source",
        rollup=request.rollup.name, version=version.number,
    )  # fmt: skip
    return dict(session.rows(query))
