"""Tracking: the triggers that tell what changed in a table, installed on request, and whether they still stand. Fold floor.

Triggers are made from the definitions of all rollups over a table. They are never installed silently: a table without them,
or with those of an older definition, is folded by lookback, and that is said.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from dayfold.define.fingerprint import digest
from dayfold.define.source import Own, Read, Table
from dayfold.engines.base import Source, Store
from dayfold.engines.databases import Databases
from dayfold.errors import DayfoldError
from dayfold.fold.binding import Bound
from dayfold.ledger import marks, versions
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing
from dayfold.plan.bind import BoundRollup, Scan, identity
from dayfold.plan.follow import levels_tag
from dayfold.plan.reads import reads_of
from dayfold.plan.sql import Statement, Values, sql, statement, table
from dayfold.plan.triggers import EVENTS, FEEDS, PREFIX, Feed, Log, Tracked, reference

#: The schema of ours in a database that is not the store.
SCHEMA = "dayfold_track"
LOG = Log(table("marks", SCHEMA), f'"{SCHEMA}"."mark_ids"')


@dataclass(frozen=True, slots=True)
class Standing:
    """How a source is tracked for one rollup: by triggers that a stamp tells from any others, or not, and why.

    ``older``: those of its ``tables`` whose triggers are of another definition.
    """

    stamp: str | None
    missing: str = ""
    tables: tuple[str, ...] = ()
    older: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableStanding:
    """How one table is tracked: ``ok``, ``missing`` or ``older``, and what that means.

    Attributes:
        rollups: Those that its triggers would feed.
        waiting: Marks that were logged beside it and not collected yet.
    """

    table: str
    database: str
    state: str
    message: str
    rollups: tuple[str, ...]
    waiting: int


@dataclass(frozen=True, slots=True)
class Found:
    """A table's triggers as they are in its database.

    Attributes:
        relations: The table and its partitions, each with the events that it has triggers for.
        fed: The rollups that they feed, each with a digest of what with, and the stamp of its feeding.
        stamp: Tells these triggers from any others.
    """

    relations: dict[str, set[str]]
    fed: dict[str, tuple[str, str]]
    stamp: str


@dataclass(slots=True)
class Tracking:
    """The triggers of one application's tables."""

    databases: Databases
    ledger: Ledger
    bound: Bound
    _seen: dict[tuple[str, str], Found] = field(default_factory=dict)
    _mark: str = ""

    # -- what there should be --------------------------------------------------------------------

    def wanted(self, numbers: dict[str, int], rollups: Iterable[BoundRollup] | None = None) -> list[Tracked]:
        """The tables that should have triggers, each with all that is fed from it; versions by rollup."""
        feeds: dict[tuple[str | None, str], list[Feed]] = {}
        for rollup in self.bound.rollups if rollups is None else rollups:
            for source in rollup.definition.sources:
                if source.is_tracked and source.label not in self.bound.failed:
                    for place, feed in self._feeds(rollup, source, numbers[rollup.name]):
                        feeds.setdefault(place, []).append(feed)
        return [
            Tracked(name, feeds_of[0].scan.dialect, tuple(feeds_of), self._log(feeds_of[0].scan.source))
            for (_, name), feeds_of in feeds.items()
        ]

    def _feeds(self, rollup: BoundRollup, source: Table, number: int) -> list[tuple[tuple[str | None, str], Feed]]:
        columns = self.bound.columns[source.label]
        known = (rollup.name, number, digest(identity(rollup)), self.store_mark, self._tag(rollup, source))
        found = []
        for scan in rollup.scans:
            if scan.source != source:
                continue
            if source.name is not None:
                name = str(self.databases.of(source).qualify(source).name) if isinstance(source, Own) else source.name
                found.append(((source.database, name), Feed(*known, scan, columns)))
                continue
            for read in reads_of(source, scan.dialect):
                feed = Feed(*known, scan, columns, read, self._identity(source, read), self._loses(source, read))
                found.append(((source.database, read.table), feed))
        return found

    def _identity(self, source: Table, read: Read) -> tuple[str, ...]:
        """The primary key of a table that a query reads."""
        database = self.databases.of(source)
        if database.dialect.name != "postgres":
            return ()
        query = statement(
            "select a.attname::text from pg_index as i join pg_attribute as a on a.attrelid = i.indrelid and "
            "a.attnum = any(i.indkey::smallint[]) where i.indrelid = to_regclass(:name) and i.indisprimary order by 1",
            name=reference(read.table),
        )
        with database.transaction(read_only=True) as session:
            return tuple(name for (name,) in session.rows(query))

    def _loses(self, source: Table, read: Read) -> bool:
        """Whether rows of a table that a query reads are deleted, or cut loose, together with those of another."""
        database = self.databases.of(source)
        if database.dialect.name != "postgres":
            return False
        query = statement(
            "select count(*) from pg_constraint where contype = 'f' and conrelid = to_regclass(:name) and "
            "(confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd'))",
            name=reference(read.table),
        )
        with database.transaction(read_only=True) as session:
            return bool(session.rows(query)[0][0])

    @property
    def store_mark(self) -> str:
        """Tells this store from any other that folds the same tables; empty where it has no ledger yet."""
        if not self._mark:
            with self.ledger.store.transaction(read_only=True) as session:
                if self.ledger.version(session) is not None:
                    self._mark = hashlib.sha256(self.ledger.store_key(session).encode()).hexdigest()[:8]
        return self._mark

    def is_ours(self, database: Source) -> bool:
        """Whether triggers there write into the ledger itself."""
        return database in (self.databases.store, self.databases.store.home)

    def _tag(self, rollup: BoundRollup, source: Table) -> str:
        """What the log calls a rollup: beside a source, of which store and definition it is as well."""
        if self.is_ours(self.databases.of(source)):
            return rollup.name
        return self._tag_beside(rollup)

    def _tag_beside(self, rollup: BoundRollup) -> str:
        return f"{self.store_mark} {rollup.name} {digest(identity(rollup))}"

    def logged(self, rollup: BoundRollup, version: int) -> Statement:
        """The marks that were logged beside a source for one version of a rollup."""
        values = Values()
        tag = self._tag_beside(rollup)
        tree = sql(
            "select id, key, day, marked_at, reason from _log where rollup = _tag and version = _version",
            _log=LOG.table, _tag=values.bind(tag, "text"), _version=values.bind(version, "bigint"),
        )  # fmt: skip
        return Statement(tree, values)

    def logged_entities(self, rollup: BoundRollup, version: int, scan: Scan) -> exp.Select:
        """A select of the entities whose changed levels were logged beside a source: ids, keys, days and times."""
        tree = sql(
            "select id, key, day, marked_at from _log where rollup = _tag and version = _version",
            _log=LOG.table, _tag=exp.Literal.string(levels_tag(self._tag_beside(rollup), scan)),
            _version=exp.Literal.number(version),
        )  # fmt: skip
        assert isinstance(tree, exp.Select)
        return tree

    def _log(self, source: Table) -> Log:
        if self.is_ours(self.databases.of(source)):
            return Log(self.ledger.place("dayfold__marks"), marks.sequence(self.ledger))
        return LOG

    def numbers(self) -> dict[str, int]:
        """The version that each rollup's next fold keeps its cells under."""
        with self.ledger.store.transaction(read_only=True) as session:
            known = versions.versions(self.ledger, session) if self.ledger.version(session) is not None else {}
        found = {}
        for rollup in self.bound.rollups:
            version = known.get(rollup.name)
            same = version is not None and version.fingerprint == digest(identity(rollup))
            found[rollup.name] = 1 if version is None else version.number if same else version.number + 1
        return found

    # -- what there is ---------------------------------------------------------------------------

    def standing(self, rollup: BoundRollup, version: int, source: Table) -> Standing:
        """Whether a source's triggers feed this version of a rollup."""
        stamps, tables, older = [], [], []
        missing = ""
        for tracked in self.wanted({rollup.name: version}, [rollup]):
            if source.label not in {feed.scan.label for feed in tracked.feeds}:
                continue
            state, message, stamp = self.state(tracked)
            missing = missing or ("" if state == "ok" else message)
            stamps.append(stamp)
            tables.append(tracked.name)
            older += [tracked.name] if state == "older" else []
        return Standing(None if missing else " ".join(stamps), missing, tuple(tables), tuple(older))

    def look_again(self) -> None:
        """Forget what the databases' triggers were when they were last looked at."""
        self._seen.clear()

    def state(self, tracked: Tracked) -> tuple[str, str, str]:
        """How a table is tracked: ``ok``, ``missing`` or ``older``; what that means; and the stamp of its triggers."""
        database = self.databases.of(tracked.feeds[0].scan.source)
        found = self.found(database, tracked)
        if not found.relations:
            return "missing", f"there is no table {tracked.name}", ""
        for relation, events in found.relations.items():
            lacking = [event for event in self._events(database) if event not in events]
            if lacking:
                what = f"its partition {relation}" if len(found.relations) > 1 and relation != tracked.name else "it"
                how = (
                    "no triggers"
                    if len(lacking) == len(self._events(database))
                    else f"no trigger for {listing(lacking)}"
                )
                return "missing", f"{what} has {how}", ""
        stamps = [found.stamp]
        for rollup, mark in tracked.rollups.items():
            if found.fed.get(rollup, ("", ""))[0] != mark:
                return "older", f"its triggers are older than the definition of {rollup}", ""
            stamps.append(found.fed[rollup][1])
        return "ok", "", " ".join(stamps)

    def _events(self, database: Source) -> tuple[str, ...]:
        return EVENTS if database.dialect.name == "postgres" else EVENTS[:3]

    def found(self, database: Source, tracked: Tracked) -> Found:
        """A table's triggers as they are."""
        place = (database.address, tracked.name)
        if database.dialect.name == "duckdb":
            names = [name for name, _ in duckdb_triggers_of(database, tracked.name)]
            return self._found_by_name(tracked, names, exists=bool(_duckdb_tables(database, tracked.name)))
        if database.dialect.name == "clickhouse":
            # Only the store's own tables are tracked there.
            return self._found_by_name(
                tracked,
                fed_names(self.databases.store, tracked.name),
                exists=_has_table(self.databases.store, tracked.name),
            )
        if place not in self._seen:
            log = f'"{database.schema}"."dayfold__marks"' if self.is_ours(database) else f'"{SCHEMA}"."marks"'
            with database.transaction(read_only=True) as session:
                rows = session.rows(database.dialect.statement(_TRIGGERS, name=reference(tracked.name), log=log))
            relations: dict[str, set[str]] = {}
            for relation, event, *_ in rows:
                relations.setdefault(relation, set())
                if event is not None:
                    relations[relation].add(event.removeprefix(PREFIX))
            fed: dict[str, tuple[str, str]] = {}
            for comment in {row[2] for row in rows if row[2]}:
                fed |= _fed(comment)
            oids = sorted(str(row[3]) for row in rows if row[3])
            self._seen[place] = Found(relations, fed, ",".join(oids))
        return self._seen[place]

    def _found_by_name(self, tracked: Tracked, names: Sequence[str], *, exists: bool) -> Found:
        """Triggers without a comment are told by their names: the rollup, what it is fed with, and when they were made."""
        events: set[str] = set()
        fed = {}
        for rollup, mark in tracked.rollups.items():
            for event in EVENTS[:3]:
                begin = f"{PREFIX}{event}_{rollup}_{mark}_"
                older = [name for name in names if name.startswith(f"{PREFIX}{event}_{rollup}_")]
                now = [name for name in older if name.startswith(begin)]
                if older:
                    events.add(event)
                if now:
                    fed[rollup] = (mark, now[0].removeprefix(begin))
        return Found({tracked.name: events} if exists else {}, fed, "")

    def status(self) -> list[TableStanding]:
        """How every table that should be tracked is."""
        found = []
        for tracked in self.wanted(self.numbers()):
            database = self.databases.of(tracked.feeds[0].scan.source)
            state, message, _ = self.state(tracked)
            found.append(
                TableStanding(
                    tracked.name, database.address, state, message, tuple(sorted(tracked.rollups)),
                    self._waiting(database, tracked),
                )
            )  # fmt: skip
        return found

    def _waiting(self, database: Source, tracked: Tracked) -> int:
        if self.is_ours(database):
            return 0
        try:
            with database.transaction(read_only=True) as session:
                query = f"select count(*) from {SCHEMA}.marks where rollup = any(:rollups)"
                return int(session.rows(statement(query, rollups=sorted({feed.tag for feed in tracked.feeds})))[0][0])
        except DayfoldError:
            return 0


def forget_logged(ids: list[int]) -> Statement:
    """Deletes logged marks by their ids."""
    return statement("delete from _log where id = any(:ids)", _log=LOG.table, ids=ids)


def _fed(comment: str) -> dict[str, tuple[str, str]]:
    """What a trigger function says of itself; nothing where somebody else wrote it."""
    try:
        found = json.loads(comment)
        return {str(name): (str(mark), str(stamp)) for name, (mark, stamp) in found.items()}
    except (ValueError, AttributeError, TypeError):
        return {}


def duckdb_triggers_of(database: Source, owner: str | None = None) -> list[tuple[str, str]]:
    """Our triggers in a DuckDB store: name and table."""
    query = "select trigger_name, table_name from duckdb_triggers() where trigger_name like 'dayfold\\_%' escape '\\'"
    plain = owner.rpartition(".")[2] if owner else None
    with database.transaction(read_only=True) as session:
        found = session.rows(Statement(_duck(query)))
    return sorted((name, table_name) for name, table_name in found if plain is None or table_name == plain)


def fed_names(database: Store, owner: str | None = None) -> list[str]:
    """What is noted as fed from a table of a store without triggers, or from any; by names like those of triggers."""
    with database.transaction(read_only=True) as session:
        if not database.stored_columns(session, [FEEDS]):
            return []
        query = statement(
            "select distinct name, table_name from _feeds order by 1", _feeds=table(FEEDS, database.home.schema)
        )
        plain = owner.rpartition(".")[2] if owner else None
        return [name for name, of in session.rows(query) if plain in (None, of)]


def _has_table(database: Store, name: str) -> bool:
    plain = name.rpartition(".")[2]
    with database.transaction(read_only=True) as session:
        return plain in database.stored_columns(session, [plain])


def _duckdb_tables(database: Source, name: str) -> list[str]:
    with database.transaction(read_only=True) as session:
        query = statement(
            "select table_name from duckdb_tables() where table_name = :name", "duckdb", name=name.rpartition(".")[2]
        )
        return [found for (found,) in session.rows(query)]


def _duck(text: str) -> exp.Expr:
    return sql(text, "duckdb")


#: A table and its partitions, or tables that inherit from it.
TREE = """
with recursive tree as (
  select c.oid, c.relkind from pg_class as c where c.oid = to_regclass(:name)
  union all
  select c.oid, c.relkind from tree as t join pg_inherits as i on i.inhparent = t.oid join pg_class as c on c.oid = i.inhrelid
)
"""
_TRIGGERS = (
    TREE
    + """
select cast(cast(r.oid as regclass) as text), cast(t.tgname as text), obj_description(p.oid, 'pg_proc'),
  case when not t.oid is null then concat(t.oid, '.', p.oid, '.', cast(to_regclass(:log) as oid)) end,
  cast(r.relkind as text)
from tree as r
left join pg_trigger as t on t.tgrelid = r.oid and t.tgenabled in ('O', 'A') and not t.tgisinternal
  and t.tgname in ('dayfold_insert', 'dayfold_update', 'dayfold_delete', 'dayfold_truncate')
  and not to_regclass(:log) is null
left join pg_proc as p on p.oid = t.tgfoid
"""
)
