"""Tracking: the triggers that tell what changed in a table, installed on request, and whether they still stand. Fold floor.

Triggers are made from the definitions of all rollups over a table. They are never installed silently: a table without them,
or with those of an older definition, is folded by lookback, and that is said.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from dayfold.define.fingerprint import digest
from dayfold.define.source import Read, Table
from dayfold.engines.base import Store
from dayfold.engines.databases import Databases
from dayfold.errors import DayfoldError, UnknownName, UsageError
from dayfold.fold.binding import Bound
from dayfold.ledger import marks, versions
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, suggestion
from dayfold.plan import triggers
from dayfold.plan.bind import BoundRollup, identity
from dayfold.plan.shape import quoted
from dayfold.plan.sql import Statement, Values, sql, statement, table
from dayfold.plan.triggers import EVENTS, PREFIX, Feed, Log, Tracked, reference

#: The schema of ours in a database that is not the store.
SCHEMA = "dayfold_track"
_LOG = Log(table("marks", SCHEMA), f'"{SCHEMA}"."mark_ids"')
_MAKE_LOG = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE SEQUENCE IF NOT EXISTS {SCHEMA}.mark_ids",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.marks (id BIGINT NOT NULL, rollup TEXT NOT NULL, version BIGINT NOT NULL, "
    "key TEXT, day DATE, marked_at TIMESTAMPTZ NOT NULL, reason TEXT NOT NULL)",
    f"COMMENT ON SCHEMA {SCHEMA} IS 'What changed in tables that Dayfold folds; made by dayfold track install'",
)


#: What the user who folds may do with the log, whoever made it.
_GRANT_LOG = (f"GRANT USAGE ON SCHEMA {SCHEMA} TO ", f"GRANT SELECT, DELETE ON {SCHEMA}.marks TO ")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a source is tracked for one rollup: by triggers that a stamp tells from any others, or not, and why."""

    stamp: str | None
    missing: str = ""
    tables: tuple[str, ...] = ()


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
class _Found:
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
    _seen: dict[tuple[str, str], _Found] = field(default_factory=dict)

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
        mark = digest(identity(rollup))
        found = []
        for scan in rollup.scans:
            if scan.source != source:
                continue
            if source.name is not None:
                found.append(((source.database, source.name), Feed(rollup.name, number, mark, scan, columns)))
                continue
            for read in triggers.reads_of(source, scan.dialect):
                feed = Feed(rollup.name, number, mark, scan, columns, read, self._identity(source, read))
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

    def _log(self, source: Table) -> Log:
        if self.databases.of(source) is self.databases.store:
            schema = self.databases.store.schema
            return Log(table("dayfold__marks", schema), marks.sequence(self.ledger))
        return _LOG

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
        stamps, tables = [], []
        missing = ""
        for tracked in self.wanted({rollup.name: version}, [rollup]):
            if source.label not in {feed.scan.label for feed in tracked.feeds}:
                continue
            state, message, stamp = self._state(tracked)
            missing = missing or ("" if state == "ok" else message)
            stamps.append(stamp)
            tables.append(tracked.name)
        return Standing(None if missing else " ".join(stamps), missing, tuple(tables))

    def _state(self, tracked: Tracked) -> tuple[str, str, str]:
        database = self.databases.of(tracked.feeds[0].scan.source)
        found = self._found(database, tracked)
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

    def _events(self, database: Store) -> tuple[str, ...]:
        return EVENTS if database.dialect.name == "postgres" else EVENTS[:3]

    def _found(self, database: Store, tracked: Tracked) -> _Found:
        place = (database.address, tracked.name)
        if database.dialect.name == "duckdb":
            return self._found_duckdb(database, tracked)
        if place not in self._seen:
            log = f'"{database.schema}"."dayfold__marks"' if database is self.databases.store else f'"{SCHEMA}"."marks"'
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
            self._seen[place] = _Found(relations, fed, ",".join(oids))
        return self._seen[place]

    def _found_duckdb(self, database: Store, tracked: Tracked) -> _Found:
        """DuckDB's triggers are told by their names: the rollup, what it is fed with, and when they were made."""
        names = [name for name, _ in _duckdb_triggers(database, tracked.name)]
        exists = bool(_duckdb_tables(database, tracked.name))
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
        return _Found({tracked.name: events} if exists else {}, fed, "")

    def status(self) -> list[TableStanding]:
        """How every table that should be tracked is."""
        found = []
        for tracked in self.wanted(self.numbers()):
            database = self.databases.of(tracked.feeds[0].scan.source)
            state, message, _ = self._state(tracked)
            found.append(
                TableStanding(
                    tracked.name, database.address, state, message, tuple(sorted(tracked.rollups)),
                    self._waiting(database, tracked),
                )
            )  # fmt: skip
        return found

    def _waiting(self, database: Store, tracked: Tracked) -> int:
        if database is self.databases.store:
            return 0
        try:
            with database.transaction(read_only=True) as session:
                query = f"select count(*) from {SCHEMA}.marks where rollup = any(:rollups)"
                return int(session.rows(statement(query, rollups=sorted(tracked.rollups)))[0][0])
        except DayfoldError:
            return 0

    # -- changing it -----------------------------------------------------------------------------

    def statements(self, names: Sequence[str] = ()) -> list[tuple[Store, Tracked, list[str]]]:
        """What installs the triggers of some tables, or of all that should have them, as a DBA would run it."""
        found = []
        for tracked in self._named(names):
            database = self.databases.of(tracked.feeds[0].scan.source)
            if database.dialect.name == "duckdb":
                found.append((database, tracked, self._duckdb_statements(database, tracked)))
            else:
                found.append((database, tracked, self._postgres_statements(database, tracked)))
        return found

    def _named(self, names: Sequence[str]) -> list[Tracked]:
        tables = self.wanted(self.numbers())
        known = [one.name for one in tables]
        for name in names:
            if name not in known:
                raise UnknownName(
                    f"No definition tracks a table '{name}'{suggestion(name, known)}.",
                    hint=f"Tracked tables: {listing(known)}" if known else 'Say changes="trigger" in a Table.',
                )
        if not tables:
            raise UsageError(
                "No definition asks for triggers.", hint='Say so in a source: Table("…", changes="trigger").'
            )
        return [one for one in tables if not names or one.name in names]

    def _postgres_statements(self, database: Store, tracked: Tracked) -> list[str]:
        same = database is self.databases.store
        schema = database.schema if same else SCHEMA
        with database.transaction(read_only=True) as session:
            [(path, user)] = session.rows(
                statement("select current_schemas(false)::text[], cast(current_user as text)")
            )
            relations = session.rows(database.dialect.statement(_RELATIONS, name=reference(tracked.name)))
        if not relations:
            raise UnknownName(f"{database.address} has no table '{tracked.name}'.")
        for name, kind in relations:
            if kind not in ("r", "p"):
                raise UsageError(
                    f"{name} is no table but a {'view' if kind in ('v', 'm') else 'foreign table'}, which has no such triggers.",
                    hint="Write it as Table(sql=…, reads=[…]) over its tables, or leave changes out.",
                )
        made = [] if same else [*_MAKE_LOG, *(text + quoted(user) for text in _GRANT_LOG)]
        made += triggers.postgres_function(tracked, schema, path, self._stamps(database, tracked))
        for name, _ in relations:
            made += triggers.postgres_triggers(tracked, schema, name)
        return made

    def _stamps(self, database: Store, tracked: Tracked) -> dict[str, str]:
        """What tells the feeding of each rollup from another: it goes on where it stands, and begins anew elsewhere."""
        self._seen.clear()
        fed = self._found(database, tracked).fed if self._state(tracked)[0] != "missing" else {}
        return {
            rollup: fed[rollup][1] if rollup in fed and fed[rollup][0] == mark else secrets.token_hex(4)
            for rollup, mark in tracked.rollups.items()
        }

    def _duckdb_statements(self, database: Store, tracked: Tracked) -> list[str]:
        found = []
        stamp = secrets.token_hex(4)
        there = [name for name, _ in _duckdb_triggers(database, tracked.name)]
        kept: set[str] = set()
        for rollup in sorted(tracked.rollups):
            feeds = tuple(feed for feed in tracked.feeds if feed.rollup == rollup)
            one = Tracked(tracked.name, tracked.dialect, feeds, tracked.log)
            mine = [name for event in EVENTS[:3] for name in there if name.startswith(triggers.duckdb_name(one, event))]
            if len(mine) == len(EVENTS[:3]):
                kept |= set(mine)
            else:
                found += triggers.duckdb_triggers(one, stamp)
        gone = [f"DROP TRIGGER {quoted(name)} ON {reference(tracked.name)}" for name in there if name not in kept]
        return gone + found

    def install(self, names: Sequence[str] = ()) -> list[str]:
        """Make the triggers; each table in one transaction. The tables that have them now.

        Raises:
            StoreError: when a right is missing, with what to ask for.
        """
        done = []
        for database, tracked, texts in self.statements(names):
            with _rights(database, tracked), database.transaction() as session:
                for text in texts:
                    session.execute(text)
            done.append(tracked.name)
        self._seen.clear()
        return done

    def remove(self, names: Sequence[str] = ()) -> list[str]:
        """Drop our triggers from tables, and the schema of ours where nothing uses it any more."""
        done = []
        for database in dict.fromkeys([self.databases.store, *self.databases.others.values()]):
            done += self._remove_from(database, names)
        self._seen.clear()
        return done

    def _remove_from(self, database: Store, names: Sequence[str]) -> list[str]:
        if database.dialect.name == "duckdb":
            found = _duckdb_triggers(database)
            with database.transaction() as session:
                mine = [(name, owner) for name, owner in found if not names or owner in names]
                for name, owner in mine:
                    session.execute(f"DROP TRIGGER {quoted(name)} ON {reference(owner)}")
            return sorted({owner for _, owner in mine})
        done: set[str] = set()
        with database.transaction() as session:
            rows = session.rows(database.dialect.statement(_OURS))
            kept = 0
            for trigger, relation, plain, _ in rows:
                if names and plain not in names and relation not in names:
                    kept += 1
                    continue
                session.execute(f"DROP TRIGGER {quoted(trigger)} ON {relation}")
                done.add(plain)
            gone = {row[3] for row in rows} - {row[3] for row in session.rows(database.dialect.statement(_OURS))}
            for function in sorted(gone):
                session.execute(f"DROP FUNCTION {function}()")
            if done and not kept and database is not self.databases.store:
                session.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        return sorted(done)


class _rights:  # reads as a phrase in the with statement
    """Says which rights the triggers of a table need, where the database refused them."""

    def __init__(self, database: Store, tracked: Tracked) -> None:
        self.database = database
        self.tracked = tracked

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: Any) -> None:
        if isinstance(error, DayfoldError) and "permission denied" in error.message:
            name = reference(self.tracked.name)
            error.hint = (
                f"Its user needs TRIGGER on {name}, and CREATE on the database for the schema {SCHEMA}. Or have a DBA run "
                f"what this prints: dayfold track install {self.tracked.name} --sql"
            )
            error.args = (error.message,)


def logged(rollup: str, version: int) -> Statement:
    """The marks that were logged beside a source for one version of a rollup."""
    values = Values()
    tree = sql(
        "select id, key, day, marked_at, reason from _log where rollup = _rollup and version = _version",
        _log=_LOG.table, _rollup=values.bind(rollup, "text"), _version=values.bind(version, "bigint"),
    )  # fmt: skip
    return Statement(tree, values)


def forget_logged(ids: list[int]) -> Statement:
    """Deletes logged marks by their ids."""
    return statement("delete from _log where id = any(:ids)", _log=_LOG.table, ids=ids)


def _fed(comment: str) -> dict[str, tuple[str, str]]:
    """What a trigger function says of itself; nothing where somebody else wrote it."""
    try:
        found = json.loads(comment)
        return {str(name): (str(mark), str(stamp)) for name, (mark, stamp) in found.items()}
    except (ValueError, AttributeError, TypeError):
        return {}


def _duckdb_triggers(database: Store, owner: str | None = None) -> list[tuple[str, str]]:
    """Our triggers in a DuckDB store: name and table."""
    query = "select trigger_name, table_name from duckdb_triggers() where trigger_name like 'dayfold\\_%' escape '\\'"
    plain = owner.rpartition(".")[2] if owner else None
    with database.transaction(read_only=True) as session:
        found = session.rows(Statement(_duck(query)))
    return sorted((name, table_name) for name, table_name in found if plain is None or table_name == plain)


def _duckdb_tables(database: Store, name: str) -> list[str]:
    with database.transaction(read_only=True) as session:
        query = statement(
            "select table_name from duckdb_tables() where table_name = :name", "duckdb", name=name.rpartition(".")[2]
        )
        return [found for (found,) in session.rows(query)]


def _duck(text: str) -> exp.Expr:
    return sql(text, "duckdb")


#: A table and its partitions, or tables that inherit from it.
_TREE = """
with recursive tree as (
  select c.oid, c.relkind from pg_class as c where c.oid = to_regclass(:name)
  union all
  select c.oid, c.relkind from tree as t join pg_inherits as i on i.inhparent = t.oid join pg_class as c on c.oid = i.inhrelid
)
"""
_RELATIONS = _TREE + "select cast(cast(oid as regclass) as text), cast(relkind as text) from tree order by oid"
_TRIGGERS = (
    _TREE
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
_OURS = """
select cast(t.tgname as text), cast(cast(t.tgrelid as regclass) as text), cast(c.relname as text),
  concat(quote_ident(n.nspname), '.', quote_ident(p.proname))
from pg_trigger as t join pg_class as c on c.oid = t.tgrelid join pg_proc as p on p.oid = t.tgfoid
join pg_namespace as n on n.oid = p.pronamespace
where t.tgname in ('dayfold_insert', 'dayfold_update', 'dayfold_delete', 'dayfold_truncate') and not t.tgisinternal
"""
