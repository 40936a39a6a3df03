"""Looks at every connection, table and clock that folds depend on, and says how to mend what it finds. Fold floor."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from dayfold.clock import Clock, SystemClock
from dayfold.define.catalog import Catalog
from dayfold.define.function import FunctionSource
from dayfold.define.source import Own
from dayfold.engines import owners
from dayfold.engines.base import Source, Store
from dayfold.engines.databases import Databases
from dayfold.errors import DayfoldError, DefinitionError
from dayfold.fold import rls
from dayfold.fold.binding import Binder
from dayfold.fold.rls import Policies, PolicyStanding, standings
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing
from dayfold.plan.bind import BoundRollup, Scan
from dayfold.plan.lookup import bare, column_of
from dayfold.plan.shape import quoted
from dayfold.plan.sql import statement

OK, WARNING, PROBLEM = "ok", "warning", "problem"
_CLOCK_LIMIT_S = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``ok``, ``warning`` or ``problem``, and what to do."""

    level: str
    subject: str
    message: str
    advice: str = ""


def doctor(databases: Databases, ledger: Ledger, catalog: Catalog, clock: Clock, policies: Policies) -> list[Finding]:
    """Everything that was looked at, in the order it was."""
    findings: list[Finding] = [_connection("store", databases.store, clock)]
    for name, database in databases.others.items():
        attached = databases.store.reaches(name)
        findings.append(_attached(name, database) if attached else _connection(f"databases.{name}", database, clock))
    if any(one.level == PROBLEM for one in findings):
        return findings
    findings += [*_owner(databases.store), _ledger(ledger), _writable(databases.store)]
    try:
        bound = Binder(databases, ledger).bind(catalog, catalog.rollups.values())
    except DefinitionError as error:
        return [
            *findings,
            *(
                Finding(
                    PROBLEM,
                    problem.place,
                    ": ".join(word for word in (f"[{problem.code}] {problem.subject}".strip(), problem.message)),
                    problem.hint,
                )
                for problem in error.problems
            ),
            *_missing_moments(catalog, error),
        ]
    except DayfoldError as error:
        return [*findings, Finding(PROBLEM, "definitions", error.message, error.hint)]
    findings.append(Finding(OK, "definitions", f"all fit their sources: {listing(one.name for one in bound.rollups)}"))
    for source, failure in bound.failed.items():
        findings.append(Finding(PROBLEM, source, failure.message, failure.hint))
    return [*findings, *_indexes(databases, ledger, bound.rollups), *_policies(policies)]


def _policies(policies: Policies) -> list[Finding]:
    """Tables of rollups with an owner whose policies are missing or not those of the settings, and what gets past them."""
    found = standings(policies)
    if isinstance(found, DayfoldError):
        return [Finding(PROBLEM, "rls", found.message, found.hint)]
    return [_protection(one) for one in found]


def _protection(one: PolicyStanding) -> Finding:
    if one.state == rls.OK:
        return Finding(OK, one.table, "its row-level policies are those of [rls]")
    return Finding(WARNING if one.state == rls.MISSING else PROBLEM, one.table, one.message, one.advice)


def _missing_moments(catalog: Catalog, error: DefinitionError) -> list[Finding]:
    """The statements that add the moments which tables do not keep."""
    found = {}
    for rollup in catalog.rollups.values():
        for name, metric in rollup.measured.items():
            moment = metric.moment
            if moment is None or metric.source.name is None:
                continue
            said = f"has no column '{moment.column}'"
            if any(one.subject == f"{rollup.name}.{name}" and said in one.message for one in error.problems):
                target = ".".join(quoted(part) for part in metric.source.name.split("."))
                found[metric.source.label, moment.column] = Finding(
                    WARNING,
                    metric.source.label,
                    f"it does not keep {moment.column}; from the day that it does, {name} is exact",
                    f"ALTER TABLE {target} ADD COLUMN {quoted(moment.column)} timestamptz;",
                )
    return list(found.values())


def _connection(name: str, database: Source, clock: Clock) -> Finding:
    try:
        database.open()
        with database.transaction(read_only=True) as session:
            epoch = session.rows(statement("select cast(extract(epoch from now()) as double precision)"))[0][0]
    except DayfoldError as error:
        return Finding(PROBLEM, name, error.message, error.hint)
    apart = abs(float(epoch) - clock.now().timestamp()) if isinstance(clock, SystemClock) else 0
    if apart > _CLOCK_LIMIT_S:
        return Finding(
            WARNING,
            name,
            f"{database.address} answers, but its clock differs from ours by {apart:.0f} s",
            "Days end by our clock; set both by NTP.",
        )
    return Finding(OK, name, f"{database.address} answers")


def _attached(name: str, store: Source) -> Finding:
    """A DuckDB file that the store reads itself."""
    try:
        tables = store.tables(name)
    except DayfoldError as error:
        return Finding(PROBLEM, f"databases.{name}", error.message, error.hint)
    return Finding(OK, f"databases.{name}", f"its file is attached to the store, with tables: {listing(tables[:30])}")


def _owner(store: Store) -> list[Finding]:
    """The process that serves a DuckDB file, where one does."""
    served = owners.served(store)
    if served is None:
        return []
    return [
        Finding(OK, "owner", f"process {served.process} serves the file at {served.url}, and runs commands for others")
    ]


def _ledger(ledger: Ledger) -> Finding:
    try:
        with ledger.store.transaction(read_only=True) as session:
            version = ledger.version(session)
            if version is None:
                return Finding(OK, "ledger", "there is none yet; the first fold makes it")
            ledger.check(session, version)
            ledger.check_stays(session)
    except DayfoldError as error:
        return Finding(PROBLEM, "ledger", error.message, error.hint)
    return Finding(OK, "ledger", f"version {version}")


def _writable(store: Store) -> Finding:
    """Whether tables can be made, tried and undone."""
    try:
        store.check_writable()
    except DayfoldError as error:
        advice = error.hint or f"Grant the store's user CREATE on the schema {store.schema}."
        return Finding(PROBLEM, "permissions", error.message, advice)
    return Finding(OK, "permissions", f"tables can be made in {store.schema}")


def _indexes(databases: Databases, ledger: Ledger, rollups: list[BoundRollup]) -> list[Finding]:
    """Moments in PostgreSQL that no index leads to, with the statement for one."""
    findings: dict[tuple[str, str], Finding] = {}
    for rollup in rollups:
        for scan in rollup.scans:
            if (
                scan.dialect.name != "postgres"
                or scan.source.name is None
                or isinstance(scan.source, FunctionSource)
                # Tables that we keep are made with their indexes.
                or (isinstance(scan.source, Own) and not ledger.keeps(scan.source.label))
                or not (scan.moment.is_lifelong or isinstance(scan.moment.raw, exp.Column))
            ):
                continue
            if scan.moment.is_lifelong:
                keys = tuple(name for _, key in scan.keys if (name := column_of(key)) is not None)
                if scan.source.reports_changes and len(keys) == len(scan.keys):
                    findings[scan.label, f"entities {keys}"] = _entity_index(databases.of(scan.source), scan, keys)
                continue
            assert isinstance(scan.moment.raw, exp.Column)
            found = _index(databases.of(scan.source), scan)
            if found is not None:
                findings[(scan.label, scan.moment.raw.name)] = found
            if scan.levels is not None:
                per = tuple(tree.name for _, one in scan.levels.per if isinstance(tree := bare(one), exp.Column))
                if len(per) == len(scan.levels.per):
                    place = (scan.label, f"levels {per} {scan.moment.raw.name}")
                    findings[place] = _level_index(databases.of(scan.source), scan, per)
            if scan.source.reports_changes and scan.keys:
                keys = tuple(tree.name for _, key in scan.keys if isinstance(tree := bare(key), exp.Column))
                if len(keys) == len(scan.keys):
                    place = (scan.label, f"{keys} {scan.moment.raw.name}")
                    findings[place] = _cell_index(databases.of(scan.source), scan, keys)
    return list(findings.values())


def _entity_index(database: Source, scan: Scan, keys: tuple[str, ...]) -> Finding:
    """Whether an index leads to the facts of one entity of a profile, so that a touched one costs a look-up."""
    with database.transaction(read_only=True) as session:
        if database.leads(session, scan.source, keys):
            return Finding(OK, scan.label, f"an index leads to the facts of one {listing(keys)}")
    return Finding(
        WARNING,
        scan.label,
        f"no index leads from {listing(keys)}, so every touched entity is looked for among all facts",
        f"CREATE INDEX CONCURRENTLY ON {_named(database, scan)} ({', '.join(map(quoted, keys))});",
    )


def _cell_index(database: Source, scan: Scan, keys: tuple[str, ...]) -> Finding:
    """Whether an index leads to the facts of one cell, so that a late row costs a look-up."""
    assert scan.source.name is not None
    assert isinstance(scan.moment.raw, exp.Column)
    moment = scan.moment.raw.name
    with database.transaction(read_only=True) as session:
        if database.leads(session, scan.source, keys, moment):
            return Finding(OK, scan.label, f"an index leads from {listing(keys)} to {moment}")
    target = _named(database, scan)
    return Finding(
        WARNING,
        scan.label,
        f"no index leads from {listing(keys)} to {moment}, so every marked cell is looked for among the facts of its day",
        f"CREATE INDEX CONCURRENTLY ON {target} ({', '.join(quoted(name) for name in (*keys, moment))});",
    )


def _level_index(database: Source, scan: Scan, per: tuple[str, ...]) -> Finding:
    """Whether an index leads to the level before, so that it is looked up."""
    assert scan.source.name is not None
    assert isinstance(scan.moment.raw, exp.Column)
    moment = scan.moment.raw.name
    with database.transaction(read_only=True) as session:
        if database.leads(session, scan.source, per, moment):
            return Finding(OK, scan.label, f"an index leads from {listing(per)} to {moment}")
    target = _named(database, scan)
    return Finding(
        WARNING,
        scan.label,
        f"no index leads from {listing(per)} to {moment}, so every fold reads all earlier levels",
        f"CREATE INDEX CONCURRENTLY ON {target} ({', '.join(quoted(name) for name in (*per, moment))});",
    )


def _named(database: Source, scan: Scan) -> str:
    """The table, as statements of its database name it."""
    return ".".join(quoted(part) for part in str(database.qualify(scan.source).name).split("."))


def _index(database: Source, scan: Scan) -> Finding | None:
    assert scan.source.name is not None
    assert isinstance(scan.moment.raw, exp.Column)
    schema, _, name = str(database.qualify(scan.source).name).rpartition(".")
    moment = scan.moment.raw.name
    query = statement(
        "select count(*) from pg_index as i join pg_class as c on c.oid = i.indrelid "
        "join pg_namespace as n on n.oid = c.relnamespace join pg_attribute as a on a.attrelid = c.oid and a.attnum = i.indkey[0] "
        "where c.relname = :name and n.nspname = coalesce(:schema, current_schema()) and a.attname = :moment and c.relkind in ('r', 'p')",
        name=name,
        schema=schema or None,
        moment=moment,
    )
    with database.transaction(read_only=True) as session:
        if session.rows(query)[0][0]:
            return Finding(OK, scan.label, f"an index begins with {moment}")
    target = _named(database, scan)
    return Finding(
        WARNING,
        scan.label,
        f"no index begins with {moment}, so every fold reads the whole table",
        f"CREATE INDEX CONCURRENTLY ON {target} ({quoted(moment)});",
    )
