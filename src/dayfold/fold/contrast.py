"""Compares some days of a rollup with its sources: one snapshot of each source, one of the store. Fold floor.

Sources in the store's own database are read in the store's snapshot. Where all sources are in one other database, totals of
days are compared first, and only the rows of days whose totals differ travel.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.days import Days, union
from dayfold.engines.base import Session, Source
from dayfold.engines.databases import Databases
from dayfold.errors import SourceFailed, StoreError
from dayfold.ledger import fetches, receipts
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, made_columns
from dayfold.plan.differences import (
    cells_per_day,
    difference_columns,
    differences,
    proved_rows,
    stored_rows,
    totals,
)
from dayfold.plan.proof import DAY, Branch, identity, merged
from dayfold.plan.proof_life import LifeBranch
from dayfold.plan.shape import Column, Made
from dayfold.plan.sql import Statement, Values, column, table

if TYPE_CHECKING:
    import pyarrow as pa

_STORED, _PROVED = "dayfold_stored__", "dayfold_proved__"
_Part = tuple[exp.Expr, Sequence[Column]]


@dataclass(slots=True)
class Contrast:
    """What a comparison found.

    Attributes:
        cells: How many cells each day has on either side, marked ones left out.
        rows: The rows that differ, as `difference_columns` has them; None where none does.
        altered: The days among those with differences whose stored rows are not what was last published.
    """

    cells: dict[dt.date, int] = field(default_factory=dict)
    rows: pa.Table | None = None
    altered: set[dt.date] = field(default_factory=set)


@dataclass(slots=True)
class Contraster:
    """Compares days of one rollup."""

    databases: Databases
    ledger: Ledger
    rollup: BoundRollup
    version: int
    branches: Sequence[Branch | LifeBranch]
    as_of: dt.date | None = None

    def contrast(self, ranges: Sequence[Days]) -> Contrast:
        """Compare these days. Raises SourceFailed where a source cannot be read or computed with."""
        home = self.databases.store
        with ExitStack() as open_:
            near: Session = open_.enter_context(home.transaction())
            far: dict[Source, Session] = {}
            for branch in self.branches:
                database = self._database(branch)
                if database is not home and database not in far:
                    far[database] = open_.enter_context(database.transaction(read_only=True))
            salt = self.ledger.store_key(near)
            standings = fetches.standings(self.ledger, near, self.rollup)
            one = replace(self, rollup=fetches.knowing(self.rollup, standings))
            self._stage(near, _STORED, lambda values: stored_rows(self.rollup, ranges, values, home.dialect))
            wanted: Sequence[Days] = ranges
            if len(far) == 1 and all(self._database(one) is not home for one in self.branches):
                [(database, session)] = far.items()
                wanted = one._unlike(near, database, session, ranges, salt)
            return one._closely(near, far, ranges, wanted, salt)

    def _database(self, branch: Branch | LifeBranch) -> Source:
        return self.databases.of(branch.source)

    def _stage(self, near: Session, name: str, build: Callable[[Values], exp.Select]) -> None:
        values = Values()
        near.stage(name, Statement(build(values), values))
        near.analyze(name)

    # -- totals ----------------------------------------------------------------------------------

    def _unlike(
        self, near: Session, database: Source, session: Session, ranges: Sequence[Days], salt: str
    ) -> list[Days]:
        """The days whose totals differ; those with marked cells are among them."""
        values = Values()
        proved = self._proved(self._selects(self.branches, ranges, salt, values), database)
        theirs = self._totals(database, session, Statement(totals(self.rollup, proved, database.dialect), values))
        home = self.databases.store
        stored = exp.select("*").from_(table(_STORED))
        ours = self._totals(home, near, Statement(totals(self.rollup, stored, home.dialect)))
        unlike = {day for day in {*theirs, *ours} if theirs.get(day) != ours.get(day)}
        return union(Days(day, day) for day in unlike)

    def _totals(self, database: Source, session: Session, statement: Statement) -> dict[dt.date, tuple[object, ...]]:
        with _reading(self.branches):
            return {row[0]: tuple(row[1:]) for row in session.rows(statement)}

    # -- row by row ------------------------------------------------------------------------------

    def _closely(
        self, near: Session, far: Mapping[Source, Session], ranges: Sequence[Days], wanted: Sequence[Days], salt: str
    ) -> Contrast:
        home, rollup, found = self.databases.store, self.rollup, Contrast()
        listed: list[exp.Expr] = [exp.select("*").from_(table(_STORED))]
        if wanted:
            parts = self._parts(near, far, wanted, salt)
            self._stage(near, _PROVED, lambda _: self._proved(parts, home))
            within = exp.select("*").from_(table(_STORED)).where(self._among(wanted))
            proved = exp.select("*").from_(table(_PROVED))
            select = differences(rollup, within, proved, self._counts, home.dialect)
            rows = near.arrow(Statement(select), difference_columns(rollup, self._columns))
            if rows.num_rows:
                found.rows = rows
                days = set(rows[DAY].unique().to_pylist())
                found.altered = receipts.altered(self.ledger, near, rollup.shape, rollup.name, self.version, days)
            listed.append(proved)
        marked = self.ledger.sql(
            "select distinct key, day from dayfold__marks where rollup = _rollup and version = _version and "
            "not day is null and not key is null",
            _rollup=exp.Literal.string(rollup.name), _version=exp.Literal.number(self.version),
        ).tree  # fmt: skip
        cells = near.rows(Statement(cells_per_day(rollup, listed, marked, home.dialect)))
        found.cells = dict.fromkeys((day for days in ranges for day in days), 0) | {day: int(n) for day, n in cells}
        return found

    def _among(self, ranges: Sequence[Days]) -> exp.Expr:
        days = [exp.cast(exp.Literal.string(str(day)), "date") for one in ranges for day in one]
        return exp.In(this=column(DAY), expressions=days)

    def _parts(self, near: Session, far: Mapping[Source, Session], ranges: Sequence[Days], salt: str) -> list[_Part]:
        """The proved rows of every branch as temporary tables of the store."""
        parts: list[_Part] = []
        for n, branch in enumerate(self.branches):
            if self._database(branch) in far:
                continue
            name, values = f"dayfold_proof_{n}__", Values()
            select = branch.rows(ranges, salt, values)
            with _reading([branch]), near.within(branch.source):
                near.stage(name, Statement(select, values))
            parts.append((table(name), branch.columns))
        for n, (database, session) in enumerate(far.items()):
            mine = [one for one in self.branches if self._database(one) is database]
            name, values = f"dayfold_far_{n}__", Values()
            select = merged(self.rollup, self._selects(mine, ranges, salt, values), database.dialect)
            columns = [one for branch in mine for one in branch.columns]
            everything = [*identity(self.rollup), *columns]
            # In one order of columns on both sides, which a union does not promise by name.
            select = exp.select(*(column(one.name) for one in everything)).from_(select.subquery("far__"))
            with _reading(mine):
                rows = session.arrow(Statement(select, values), everything)
            near.load(name, everything, rows)
            parts.append((table(name), columns))
        return parts

    def _selects(
        self, branches: Iterable[Branch | LifeBranch], ranges: Sequence[Days], salt: str, values: Values
    ) -> list[_Part]:
        return [
            (branch.rows(ranges, salt, values).subquery(f"branch{n}__"), branch.columns)
            for n, branch in enumerate(branches)
        ]

    def _proved(self, parts: Sequence[_Part], database: Source) -> exp.Select:
        rows = merged(self.rollup, parts, database.dialect)
        return proved_rows(self.rollup, rows, self._columns, database.dialect, self._made(database))

    def _made(self, database: Source) -> list[Made]:
        """The columns of a profile that are made of others, as of the day of its rows."""
        shape = self.rollup.shape
        if not shape.made:
            return []
        return made_columns(self.rollup.definition, [*shape.key, *shape.values], database.dialect, self.as_of)

    @property
    def _columns(self) -> dict[str, Column]:
        return {one.name: one for branch in self.branches for one in branch.columns}

    @property
    def _counts(self) -> list[str]:
        """The columns that count facts or values."""
        counting = {"count", "avg", "distinct", "united"}
        return [
            measure.columns[1 if measure.kind == "avg" else 0].name
            for branch in self.branches
            for measure in branch.measures
            if measure.kind in counting and (measure.kind != "avg" or not self.rollup.is_lifelong)
        ]


class _reading:  # a context that reads like a word
    """Says of which source an error is, inside the block."""

    def __init__(self, branches: Sequence[Branch | LifeBranch]) -> None:
        self.branches = branches

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SourceFailed | StoreError):
            labels = ", ".join(dict.fromkeys(one.source.label for one in self.branches))
            raise SourceFailed(f"{labels}: {error.message}", source=labels, hint=error.hint) from None
