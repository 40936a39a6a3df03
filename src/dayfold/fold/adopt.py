"""Adopt: rows of a daily table that was kept before become sealed days of a rollup. Fold floor.

Where the source still has the days, the table is compared with it first: numbers that another definition made are not
taken for this one's.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.clock import today as today_of
from dayfold.days import ONE_DAY, Days
from dayfold.define.fingerprint import digest
from dayfold.define.metric import Distinct
from dayfold.define.source import Table
from dayfold.define.types import DATE, Type
from dayfold.engines.base import Changed, Session, ensure, undone
from dayfold.engines.scans import ScanFailed, Scans, Wanted
from dayfold.errors import DayfoldError, Sealed, SourceFailed, UsageError
from dayfold.fold.chunk import Publisher
from dayfold.fold.fold import Folder, shapes
from dayfold.ledger import coverage, leases, receipts, runs, versions
from dayfold.names import listing, nearest
from dayfold.plan.bind import BoundRollup, identity, relation
from dayfold.plan.scan import Scope
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, alias, both, column, sql, table

if TYPE_CHECKING:
    import pyarrow as pa

JOB = "adopt"
_KEPT = "dayfold_adopted__"


@dataclass(slots=True)
class AdoptResult:
    """What was taken over, or would be.

    Attributes:
        sealed: The days that are (would be) sealed; None where the source has them all.
        rows: The table's rows on them.
        compared: Cells of later days that the source still has, and ``differing`` ones among them, by day.
    """

    rollup: str
    table: str
    sealed: Days | None = None
    rows: int = 0
    compared: int = 0
    differing: dict[dt.date, int] = field(default_factory=dict)
    run_id: int | None = None
    seconds: float = 0.0


class Adopter:
    """Takes over one table for one rollup, under its lease.

    Args:
        columns: Names of ours, each with the table's own.
        last: The last day to take over. Default: the day before all sources have rows.
    """

    def __init__(
        self, folder: Folder, rollup: BoundRollup, legacy: Table, columns: Mapping[str, str], last: dt.date | None
    ) -> None:
        self.folder = folder
        self.ledger = folder.ledger
        self.store = folder.store
        self.rollup = rollup
        self.legacy = legacy
        self.names = dict(columns)
        self.last = last

    def run(self, *, dry_run: bool, accept_differences: bool) -> AdoptResult:
        """Compare, then take over and seal.

        Raises:
            UsageError: when the table lacks a column, has a cell twice, or differs from the source where both have a day.
            Sealed: when a day is sealed already.
        """
        result = AdoptResult(self.rollup.name, self.legacy.label)
        began = time.perf_counter()
        self._check_shape()
        self._check_columns()
        self._check_twice()
        self.folder.register(self.rollup)
        with leases.lease(self.ledger, self.rollup.name, wait_s=self.folder.wait_s) as lease:
            number = self._version()
            sealed, compared = self._days()
            result.sealed = sealed
            if compared is not None:
                self._compare(compared, result)
            differing = sum(result.differing.values())
            if differing and not (dry_run or accept_differences):
                worst = max(result.differing, key=lambda day: result.differing[day])
                raise UsageError(
                    f"{self.legacy.title} differs from the source in {differing:,} of {result.compared:,} cells of "
                    f"{compared}, most of them on {worst}. Nothing was taken over.",
                    hint="Its numbers may follow another definition. Look with --dry-run; take them as they are with "
                    "--accept-differences.",
                )
            if sealed is not None:
                result.rows = self._count(sealed)
                if not dry_run:
                    self._take_over(lease, number, sealed, result)
        result.seconds = round(time.perf_counter() - began, 4)
        return result

    # -- checks ----------------------------------------------------------------------------------

    def _check_shape(self) -> None:
        definition = self.rollup.definition
        if definition.is_profile:
            raise UsageError(
                f"{definition.name} is a profile, and a daily table has no whole lives.",
                hint="Adopt the table into a rollup, and fold the profile over that.",
            )
        if definition.grain != "day":
            raise UsageError(
                f"{definition.name} keeps buckets of a grain of {definition.grain}; a daily table has none of them."
            )
        sets = [name for name, metric in definition.measured.items() if isinstance(metric, Distinct)]
        if sets:
            raise UsageError(
                f"{definition.name} has Distinct metrics ({listing(sets)}), and a table of daily counts has no sets: they "
                "could never be united over days or keys.",
                hint="Adopt the table into a rollup of the other metrics.",
            )

    @property
    def _wanted(self) -> list[Column]:
        shape = self.rollup.shape
        return [*shape.key, Column(shape.day_column, DATE), *shape.values]

    def _check_columns(self) -> None:
        found = self._describe()
        missing = []
        for one in self._wanted:
            name = self.names.get(one.name, one.name)
            if name not in found:
                near = nearest(name, found)
                missing.append(f"'{name}'" + (f" (the nearest is '{near}')" if near else ""))
        unknown = [name for name in self.names if name not in {one.name for one in self._wanted}]
        if missing or unknown:
            raise UsageError(
                f"{self.legacy.title} has no column {', '.join(missing)}."
                if missing
                else f"{self.rollup.name} keeps no column '{unknown[0]}'.",
                hint=f"Needed: {listing(one.name for one in self._wanted)}. Say what the table calls one: --column ours=theirs",
            )

    def _describe(self) -> dict[str, Type]:
        try:
            return self.folder.databases.of(self.legacy).describe(self.legacy)
        except SourceFailed as error:
            raise UsageError(f"{self.legacy.title} cannot be read: {error.message}", hint=error.hint) from None

    def _check_twice(self) -> None:
        values = Values()
        names = [*(one.name for one in self.rollup.shape.key), "slot__"]
        keys = exp.select(*map(column, names)).from_(self._rows(None, values).subquery("t"))
        keys = keys.group_by(*(exp.Literal.number(n + 1) for n in range(len(names)))).having(sql("count(*) > 1"))
        database = self.folder.databases.of(self.legacy)
        with database.transaction(read_only=True) as session, session.within(self.legacy):
            count = session.rows(Statement(sql("select count(*) from _k as k", _k=keys.subquery()), values))[0][0]
        if count:
            raise UsageError(
                f"{self.legacy.title} has {count:,} cells twice: the same key and day in more than one row.",
                hint="Leave one row of each; NULLs are one key here.",
            )

    def _version(self) -> int:
        """The rollup's version, its tables made where they were not."""
        with self.store.transaction() as session:
            known = versions.versions(self.ledger, session)[self.rollup.name]
            if known.fingerprint != digest(identity(self.rollup)):
                raise UsageError(
                    f"The definition of {self.rollup.name} was edited since it was folded.",
                    hint=f"Run: dayfold fold {self.rollup.name}",
                )
            for shape in shapes(self.rollup):
                ensure(self.store, session, shape)
            states = coverage.ranges(self.ledger, session, self.rollup.name, known.number)
        if sealed := coverage.sealed_days(states):
            raise Sealed(f"{self.rollup.name} is sealed on {', '.join(map(str, sealed))} already.")
        return known.number

    # -- days ------------------------------------------------------------------------------------

    def _days(self) -> tuple[Days | None, Days | None]:
        """The days to seal, and those to compare with the source."""
        yesterday = today_of(self.folder.clock) - ONE_DAY
        bounds = exp.select(
            alias(sql("min(_d)", _d=column("slot__")), "first"), alias(sql("max(_d)", _d=column("slot__")), "last")
        )
        values = Values()
        database = self.folder.databases.of(self.legacy)
        with database.transaction(read_only=True) as session, session.within(self.legacy):
            [(first, last)] = session.rows(Statement(bounds.from_(self._rows(None, values).subquery("t")), values))
        if first is None:
            raise UsageError(f"{self.legacy.title} has no row.")
        last = min(last, yesterday)
        begins, some = self._source_begins()
        until = last if begins is None else begins - ONE_DAY
        if self.last is not None:
            until = min(self.last, yesterday)
        until = min(until, last)
        sealed = Days(first, until) if first <= until else None
        if begins is None and some is not None and self.last is None:
            raise UsageError(
                f"One of the sources of {self.rollup.name} has no row, and another has rows since {some}: which days are to be "
                "taken over is not known.",
                hint="Name the last of them: --to DAY",
            )
        after = max(first, begins) if begins is not None else None
        compared = Days(after, last) if after is not None and after <= last else None
        return sealed, compared

    def _source_begins(self) -> tuple[dt.date | None, dt.date | None]:
        """The first day on which every source has rows, and on which some source has; None where there is none."""
        failed: dict[str, DayfoldError] = {}
        firsts: dict[str, list[dt.date]] = {}
        for scan in self.rollup.scans:
            day = self.folder.decider.first_day(scan, failed)
            firsts.setdefault(scan.label, []).extend([day] if day is not None else [])
        for source, error in failed.items():
            raise SourceFailed(f"{source}: {error.message}", source=source, hint=error.hint)
        begun = [min(days) for days in firsts.values() if days]
        every = max(begun) if len(begun) == len(firsts) else None
        return every, min(begun, default=None)

    # -- rows ------------------------------------------------------------------------------------

    def _rows(self, days: Days | None, values: Values) -> exp.Select:
        """The table's rows as ours: key, ``slot__`` and values."""
        database = self.folder.databases.of(self.legacy)
        dialect, shape = database.dialect, self.rollup.shape

        def ours(one: Column) -> exp.Expr:
            return dialect.cast(column(self.names.get(one.name, one.name)), one.type)

        day = ours(Column(shape.day_column, DATE))
        items = [*(alias(ours(one), one.name) for one in shape.key), alias(day, "slot__")]
        items += [alias(ours(one), one.name) for one in shape.values]
        select = exp.select(*items).from_(relation(database.qualify(self.legacy)))
        if days is not None:
            low, high = values.bind(days.first, "date"), values.bind(days.last, "date")
            select = select.where(both([sql("_d >= _a", _d=day, _a=low), sql("_d <= _b", _d=day, _b=high)]))
        return select

    def _count(self, days: Days) -> int:
        values = Values()
        database = self.folder.databases.of(self.legacy)
        query = sql("select count(*) from _r as r", _r=self._rows(days, values).subquery())
        with database.transaction(read_only=True) as session, session.within(self.legacy):
            return int(session.rows(Statement(query, values))[0][0])

    @property
    def _columns(self) -> list[Column]:
        shape = self.rollup.shape
        return [*shape.key, Column("slot__", DATE), *shape.values]

    def _read(self, days: Days) -> pa.Table | None:
        """The table's rows, where it is in another database than the store."""
        database = self.folder.databases.of(self.legacy)
        if database is self.store:
            return None
        values = Values()
        with database.transaction(read_only=True) as session, session.within(self.legacy):
            return session.arrow(Statement(self._rows(days, values), values), self._columns)

    def _stage(self, session: Session, days: Days, read: pa.Table | None) -> exp.Table:
        if read is not None:
            session.load(_KEPT, self._columns, read)
        else:
            values = Values()
            with session.within(self.legacy):
                session.stage(_KEPT, Statement(self._rows(days, values), values))
        return table(_KEPT)

    # -- work ------------------------------------------------------------------------------------

    def _compare(self, days: Days, result: AdoptResult) -> None:
        """Count the cells in which the table differs from what the source says."""
        for part in self.folder.decider.portions_of(self.rollup, [days]):
            read = self._read(part)
            with self.store.transaction(read_only=True) as session:
                scans = Scans(self.folder.databases, self.rollup, self.ledger.store_key(session))
            numbered = list(enumerate(self.rollup.scans))
            try:
                apart = scans.read_apart(scans.apart(numbered), Wanted(part))
                with undone(self.store) as session:
                    staged = [(scan, scans.stage(session, n, scan, Scope(part), apart)) for n, scan in numbered]
                    new = scans.combined(session, staged, whole=True)
                    self._count_differences(session, new, self._stage(session, part, read), result)
            except ScanFailed as failure:
                source = failure.scan.label
                raise SourceFailed(
                    f"{source}: {failure.error.message}", source=source, hint=failure.error.hint
                ) from None

    def _count_differences(self, session: Session, new: exp.Table, kept: exp.Table, result: AdoptResult) -> None:
        shape, dialect = self.rollup.shape, self.store.dialect
        on = both(
            dialect.piece("equal", _x=column(one.name, "n"), _y=column(one.name, "k"))
            for one in (*shape.key, Column("slot__", DATE))
        )
        day = sql("coalesce(_a, _b)", _a=column("slot__", "n"), _b=column("slot__", "k"))
        values = [[one.filled(column(one.name, side), day) for side in ("n", "k")] for one in shape.values]
        differs = exp.or_(*(sql("_a is distinct from _b", _a=a, _b=b) for a, b in values))
        select = exp.select(
            alias(day, "day"), alias(sql("count(*)"), "cells"),
            alias(sql("count(*) filter (where _d)", _d=differs), "differing"),
        )  # fmt: skip
        select = select.from_(exp.alias_(new.copy(), "n", table=True))
        select = select.join(exp.alias_(kept, "k", table=True), on=on, join_type="full").group_by(exp.Literal.number(1))
        for when, cells, differing in session.rows(Statement(select)):
            result.compared += cells
            if differing:
                result.differing[when] = differing

    def _take_over(self, lease: leases.Lease, number: int, days: Days, result: AdoptResult) -> None:
        """The table's rows are the rollup's, and their days are sealed: one transaction."""
        ledger, name = self.ledger, self.rollup.name
        read = self._read(days)
        with self.store.transaction() as session:
            leases.fence(ledger, session, lease)
            started = runs.start(ledger, session, JOB, name, number, lease.holder, days)
            new = self._stage(session, days, read)
            publisher = Publisher(
                self.folder.databases, ledger, self.rollup, started.run_id, self.folder.uppers(session, self.rollup)
            )
            changed = publisher.publish(session, new, days)
            for source in dict.fromkeys(scan.label for scan in self.rollup.scans):
                coverage.seal(ledger, session, name, number, source, days, started.run_id)
            receipts.record(
                ledger, session, self.rollup.shape, name, number, days, started.run_id,
                origin=f"adopted from {self.legacy.label}", lasting=True,
            )  # fmt: skip
            runs.progress(ledger, session, started.run_id, result.rows, Changed() + changed)
            versions.bump_revision(ledger, session, name)
            runs.finish(ledger, session, started.run_id, runs.DONE, None)
        result.run_id = started.run_id


def legacy_columns(words: Sequence[str]) -> dict[str, str]:
    """``ours=theirs`` words as a mapping. Raises UsageError.

    >>> legacy_columns(["requests_sent=sent"])
    {'requests_sent': 'sent'}
    """
    found = {}
    for word in words:
        ours, sign, theirs = word.partition("=")
        if not (ours and sign and theirs):
            raise UsageError(f"'{word}' is no pair of columns.", hint="Write --column ours=theirs.")
        found[ours] = theirs
    return found
