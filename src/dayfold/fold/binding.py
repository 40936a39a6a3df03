"""Brings definitions, databases and the ledger together: described sources and bound rollups. Fold floor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from dayfold.clock import today
from dayfold.define.catalog import Catalog, by_place
from dayfold.define.events import EventLog
from dayfold.define.function import FunctionSource
from dayfold.define.rollup import RollupDef
from dayfold.define.source import Folded, Own, Table
from dayfold.define.types import Type
from dayfold.engines.base import Source
from dayfold.engines.databases import Databases
from dayfold.errors import ConnectionFailed, DayfoldError, DefinitionError, Problem, SourceFailed
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, nearest, suggestion
from dayfold.plan import reads
from dayfold.plan.bind import BoundRollup, DescribedSource, bind, folded_columns, folded_relation, relation
from dayfold.plan.sql import alias, table


@dataclass(slots=True)
class Bound:
    """Bound rollups and what is known of their sources.

    Attributes:
        rollups: Those that were asked for, each after the ones it is folded from.
        failed: The sources that cannot be read just now, with the reason; ``columns``: those of the others.
        known: Those and the rollups that are folded from them.
    """

    rollups: list[BoundRollup]
    failed: dict[str, DayfoldError] = field(default_factory=dict)
    columns: dict[str, Mapping[str, Type]] = field(default_factory=dict)
    known: list[BoundRollup] = field(default_factory=list)


#: Rollups as they were bound before: the definition, the columns of its sources, and what came of them.
Bindings = dict[str, tuple[RollupDef, list[tuple[object, ...]], BoundRollup]]


class Binder:
    """Describes every source once and binds the rollups over them."""

    def __init__(self, databases: Databases, ledger: Ledger, earlier: Bindings | None = None) -> None:
        self.databases = databases
        self.earlier = earlier if earlier is not None else {}
        self.ledger = ledger
        self.problems: list[Problem] = []
        self.failed: dict[str, DayfoldError] = {}
        self.described: dict[Table, DescribedSource] = {}
        self._entities: Mapping[str, Type] = {}
        self.today = today(ledger.clock)

    def bind(self, catalog: Catalog, rollups: Iterable[RollupDef]) -> Bound:
        """The rollups over their sources as they are now.

        Raises:
            DefinitionError: with every mistake of the file, those only a source can show included.
        """
        self._entities = catalog.entities.types
        asked = catalog.with_lowers(rollups)
        wanted = catalog.with_lowers(catalog.with_uppers(asked))
        for rollup in wanted:
            for source in rollup.sources:
                if _is_readable(source) and source not in self.described and not isinstance(source, Folded):
                    self._describe(source, rollup)
            self._check_target(rollup)
        bound: dict[str, BoundRollup] = {}
        for rollup in wanted:
            for lower in rollup.lowers:
                if (known := bound.get(lower.rollup.__name__)) is not None:
                    self.described[lower] = DescribedSource(folded_columns(known, lower), self.databases.store.dialect)
            one = self._bound_before(rollup)
            if one is None:
                store = self.databases.store
                one, problems = bind(rollup, self.described, store.schema, store.dialect, self.today)
                self.problems += problems
                if one is not None:
                    one = self._placed(one, bound)
                    self.earlier[rollup.name] = (rollup, self._columns(rollup), one)
            if one is not None:
                bound[rollup.name] = one
        if catalog.problems or self.problems:
            raise DefinitionError(sorted(dict.fromkeys([*catalog.problems, *self.problems]), key=by_place))
        columns = {
            source.label: one.columns
            for source, one in self.described.items()
            if source.label not in self.failed and not isinstance(source, Folded | FunctionSource)
        }
        names = {one.name for one in asked}
        everyone = list(bound.values())
        return Bound([one for one in everyone if one.name in names], self.failed, columns, everyone)

    def _bound_before(self, rollup: RollupDef) -> BoundRollup | None:
        """The rollup as it was bound before, where its sources have the columns that they had then."""
        definition, columns, known = self.earlier.get(rollup.name, (None, None, None))
        if definition is not rollup or columns != self._columns(rollup) or known is None:
            return None
        # What uses now() is bound anew on each day.
        return known if known.bound_on in (None, self.today) else None

    def _columns(self, rollup: RollupDef) -> list[tuple[object, ...]]:
        found = [self.described.get(source) for source in rollup.sources]
        known: list[tuple[object, ...]] = [tuple(one.columns.items()) if one else () for one in found]
        own = [one.label for one in rollup.sources if isinstance(one, Own)]
        return [*known, tuple(self.ledger.keeps(one) for one in own)]

    def _check_target(self, rollup: RollupDef) -> None:
        """A rollup's table is not one of the tables it is folded from."""
        store = self.databases.store
        for source in rollup.sources:
            if (
                not _is_readable(source)
                or isinstance(source, Folded | FunctionSource | Own)
                or source.name is None
                or self.databases.of(source) is not store
            ):
                continue
            schema, _, name = source.name.rpartition(".")
            attached = source.database is not None and store.reaches(source.database)
            if name.lower() == rollup.table.lower() and not attached and schema in ("", store.schema):
                self.problems.append(
                    Problem(
                        "duplicate-name", str(rollup.place), rollup.name,
                        f"the table '{rollup.table}' is one of its own sources.",
                        'Give the rollup another one: table = "…".',
                    )
                )  # fmt: skip

    def _describe(self, source: Table, rollup: RollupDef) -> None:
        if isinstance(source, FunctionSource):
            self.described[source] = DescribedSource(source.described, self.databases.store.dialect)
            return
        if isinstance(source, Own):
            dialect = replace(self.databases.of(source).dialect, forgiving=source.forgiving)
            known = {**source.described, **(self._entities if isinstance(source, EventLog) else {})}
            self.described[source] = DescribedSource(known, dialect)
            return
        if source.database is not None and not self.databases.known(source.database):
            near = nearest(source.database, self.databases.names)
            self._problem(
                source, rollup, "unknown-database",
                f"there is no [databases.{source.database}] in "
                "dayfold.toml" + (f"; the nearest is '{near}'." if near else "."),
                f"Databases: {listing(self.databases.names)}",
            )  # fmt: skip
            return
        database = self.databases.of(source)
        try:
            columns = database.describe(source)
        except (SourceFailed, ConnectionFailed) as error:
            remembered = self.ledger.remembered_source(source.label)
            if remembered is not None:
                self.failed[source.label] = error
                self.described[source] = DescribedSource(remembered, database.dialect)
            elif isinstance(error, ConnectionFailed):
                raise
            else:
                self._unreadable(source, rollup, database, error)
            return
        self.described[source] = DescribedSource(columns, database.dialect)
        if source.is_tracked:
            self._check_tracked(source, rollup, database, columns)

    def _check_tracked(self, source: Table, rollup: RollupDef, database: Source, columns: Mapping[str, Type]) -> None:
        """Triggers can be made for it, and each table that a query reads leads to the query's rows."""
        store = self.databases.store
        elsewhere = database is not store or (source.database is not None and store.reaches(source.database))
        if database.dialect.name == "duckdb" and elsewhere:
            self._problem(
                source, rollup, "no-triggers",
                "changes=\"trigger\" is for tables of the store's own file; a DuckDB file that is only read has none of ours.",
                'Say changes="updated_at", with a column that moves with every change, or leave changes out for a lookback.',
            )  # fmt: skip
            return
        if database.dialect.name == "clickhouse" and not isinstance(source, Own):
            self._problem(
                source, rollup, "no-triggers",
                "changes=\"trigger\" is for tables in PostgreSQL and in the store's own DuckDB file; ClickHouse has no such triggers.",
                'Say changes="updated_at", with a column that moves with every change, or leave changes out for a lookback.',
            )  # fmt: skip
            return
        try:
            read = reads.reads_of(source, database.dialect) if source.sql is not None else []
        except reads.Untraceable as error:
            self._problem(source, rollup, "unknown-link", str(error), error.hint)
            return
        for one in read:
            for name in one.on.values():
                if name not in columns:
                    self._problem(
                        source, rollup, "unknown-column",
                        f"Read('{one.table}') leads to '{name}', which is no column of the query{suggestion(name, columns)}.",
                        f"Columns: {listing(columns)}",
                    )  # fmt: skip

    def _unreadable(self, source: Table, rollup: RollupDef, database: Source, error: DayfoldError) -> None:
        """A source that was never read: most likely its name is wrong."""
        if source.name is None:
            self._problem(source, rollup, "bad-source", f"the query cannot be read: {error.message}", error.hint)
            return
        tables = database.tables(source.database if self.databases.store.reaches(source.database or "") else None)
        if source.name in tables:
            self._problem(source, rollup, "bad-source", error.message, error.hint)
            return
        near = nearest(source.name, tables)
        self._problem(
            source, rollup, "unknown-table",
            f"{self._address(source, database)} has no table '{source.name}'" + (f"; the nearest is '{near}'." if near else "."),
            f"Tables: {listing(tables[:30])}",
        )  # fmt: skip

    def _address(self, source: Table, database: Source) -> str:
        """Where a source is looked for."""
        attached = source.database and self.databases.store.reaches(source.database)
        return f"[databases.{source.database}]" if attached else database.address

    def _problem(self, source: Table, rollup: RollupDef, code: str, message: str, hint: str) -> None:
        self.problems.append(Problem(code, str(source.place), f"Table in {rollup.name}", message, hint))

    def _placed(self, rollup: BoundRollup, bound: Mapping[str, BoundRollup]) -> BoundRollup:
        """Scans select from their source as its database names it."""
        for scan in rollup.scans:
            if isinstance(scan.source, Folded):
                lower = bound[scan.source.rollup.__name__]
                scan.relation = folded_relation(lower, scan.dialect, scan.source, self.today)
                continue
            if isinstance(scan.source, FunctionSource):
                scan.relation = table(scan.source.staging, self.databases.store.schema)
                continue
            if isinstance(scan.source, Own) and not self.ledger.keeps(scan.source.label):
                scan.relation = _nothing(self.described[scan.source])
                continue
            scan.relation = relation(self.databases.of(scan.source).qualify(scan.source))
        return rollup


def _nothing(described: DescribedSource) -> exp.Subquery:
    """A source's columns without a row, while its table is not there yet."""
    columns = described.columns.items()
    items = [alias(described.dialect.cast(exp.Null(), type_), name) for name, type_ in columns]
    return exp.select(*items).where(exp.false()).subquery("nothing__")


def _is_readable(source: object) -> bool:
    """Whether it is a table at all; a definition may name anything as its source."""
    return isinstance(source, Table) and not source.problems
