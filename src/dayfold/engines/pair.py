"""A store in two databases: rows stand in ClickHouse, and the ledger at *home*, in PostgreSQL or a DuckDB file. Engines floor.

The rest of the program sees one store. A session is one transaction at home; each statement runs where its tables are, and rows that it
needs from the other side travel there first, as temporary tables. What is written to ClickHouse are versions (`dayfold.plan.versions`):

1. before the first of them a transaction takes the number of a *write* at home, in a transaction of its own: the intent;
2. versions are inserted under that number, which no reader shows;
3. the transaction's commit at home holds the publication of the number, beside all else that it did;
4. what BI tools read is told of it.

A kill before 3 leaves versions that nobody ever sees, and an intent by which the next write removes them. A kill between 3 and 4
leaves the views of BI tools as they were until the next write. Tables are known at home too, so that making, changing and dropping them is
a part of the transaction: a changed table is a new table of versions.

Invariant: everything inside one transaction is seen by readers whole or not at all, in both databases.

Weakness: of two transactions that insert the same row none is refused; leases and fences keep that from happening. A transaction that
reads for longer than `KEEP_S` may be refused at its end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dayfold.define.source import Own, Table
from dayfold.define.types import DATE, INT, TEXT, Kind, Type
from dayfold.engines.base import Session, Store, make_shape, normal_type
from dayfold.engines.clickhouse import ClickHouse, ClickHouseSession
from dayfold.engines.clickhouse import logical_type as clickhouse_type
from dayfold.engines.compacting import KEEP_S, compact, rewrite
from dayfold.errors import Conflict, DayfoldError, StoreError
from dayfold.names import fitted
from dayfold.plan.dialect import CLICKHOUSE, FOREIGN
from dayfold.plan.longview import MARK
from dayfold.plan.shape import Column, Shape, quoted
from dayfold.plan.sql import Constant, Statement, Values, column, derived, statement, table
from dayfold.plan.triggers import FEEDS, NEW_ROWS, OLD_ROWS
from dayfold.plan.versions import (
    GONE,
    REVISES,
    ROW,
    STEPS,
    VERSIONS_PREFIX,
    WRITE,
    Kept,
    Reader,
    Seen,
    declaration,
    made_by,
    newest_of,
    rewritten,
)  # fmt: skip

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)
_BEHIND = {"action": "views-behind"}
#: The tables at home by which the two are kept together.
WRITES, PUBLISHED, HEAD, TABLES = "dayfold__writes", "dayfold__published", "dayfold__head", "dayfold__tables"
HORIZONS, COMPACTED = "dayfold__horizons", "dayfold__compacted"
_HOME_TABLES = (WRITES, PUBLISHED, HEAD, TABLES, FEEDS, HORIZONS, COMPACTED)
_MAKE_HOME = (
    f"CREATE TABLE {HEAD} (id BIGINT PRIMARY KEY, last BIGINT NOT NULL, told BIGINT NOT NULL)",
    f"CREATE TABLE {HORIZONS} (last BIGINT NOT NULL, noted_at TIMESTAMPTZ NOT NULL)",
    f"CREATE TABLE {COMPACTED} (id BIGINT PRIMARY KEY, last BIGINT NOT NULL)",
    f"INSERT INTO {COMPACTED} (id, last) VALUES (1, 0)",
    f"CREATE TABLE {WRITES} (id BIGINT PRIMARY KEY, begun_at TIMESTAMPTZ NOT NULL)",
    f"CREATE TABLE {PUBLISHED} (id BIGINT PRIMARY KEY)",
    f"CREATE TABLE {TABLES} (name TEXT PRIMARY KEY, versions TEXT NOT NULL, columns TEXT NOT NULL, identity TEXT NOT NULL, "
    "month TEXT, is_log BOOLEAN NOT NULL, revised BOOLEAN NOT NULL, changed BIGINT NOT NULL)",
    f"CREATE TABLE {FEEDS} (name TEXT NOT NULL, table_name TEXT NOT NULL, event TEXT NOT NULL, tag TEXT NOT NULL, version BIGINT NOT NULL, "
    "cells TEXT NOT NULL, reason TEXT NOT NULL)",
    f"INSERT INTO {HEAD} (id, last, told) VALUES (1, 0, 0)",
)
#: What the table of versions of a table is called, and that by which views know what is published.
SEEN_TABLE = "dayfold_seen__"
#: What the names of tables of ours begin with that hold rows, and not the ledger.
_OF_ROWS = (
    "dayfold_events",
    "dayfold_attribution",
    "dayfold_build__",
    "dayfold_rebuild__",
    "dayfold__source_",
    VERSIONS_PREFIX,
    SEEN_TABLE,
)
#: Advisory locks of writes, in PostgreSQL: whoever holds one goes on.
_LOCKS = 0x64666C64
_TRIES = 20
_PAUSE_S = 0.05
_MOVED = "dayfold_moved_{}__"
#: Texts that make tables, which come from above as texts.
_CREATE_AS = re.compile(r'CREATE TABLE "(?P<schema>[^"]+)"\."(?P<name>[^"]+)" AS (?P<query>.+)', re.DOTALL)
_DROP = re.compile(r'DROP TABLE (?:IF EXISTS )?"(?P<schema>[^"]+)"\."(?P<name>[^"]+)"')
_VIEW = re.compile(
    r'(?:CREATE (?:OR REPLACE )?VIEW|DROP VIEW(?: IF EXISTS)?|COMMENT ON VIEW) "(?P<schema>[^"]+)"\."(?P<name>[^"]+)"'
)
#: What types are called at home that only ClickHouse calls otherwise.
_AT_HOME = {exp.DataType.Type.DATE32: "date", exp.DataType.Type.DATETIME64: "timestamptz"}
_NAMED = re.compile(r'"([^"]+)"')


class PairStore:
    """ClickHouse for rows, and another store for the ledger."""

    dialect = CLICKHOUSE

    def __init__(self, rows: ClickHouse, home: Store, *, family: str = "MergeTree", durable: bool = True) -> None:
        self.rows = rows
        self._home = home
        self.schema = rows.schema
        self.family = family
        self.durable = durable
        #: Writes of this process that go on.
        self._live: set[int] = set()
        self._lock = threading.Lock()
        self._made = False
        self._tidied = False
        self._tend_at = time.monotonic() + KEEP_S

    @property
    def home(self) -> Store:
        """Where the ledger stands."""
        return self._home

    @property
    def address(self) -> str:
        """Where rows are."""
        return self.rows.address

    @property
    def journal(self) -> Path | None:
        """Beside the ledger, where that is a file."""
        return self._home.journal

    def open(self) -> None:
        """Connect to both."""
        self._home.open()
        self.rows.open()

    def close(self) -> None:
        """Disconnect from both."""
        self.rows.close()
        self._home.close()

    @contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[PairSession]:
        """One transaction at home, and one snapshot of rows."""
        session: PairSession | None = None
        try:
            with self._home.transaction(read_only=read_only) as home:
                session = PairSession(self, home)
                yield session
                session.publish()
            session.published()
        except BaseException:
            if session is not None:
                session.abandon()
            raise
        finally:
            if session is not None:
                session.end()

    def peek(self, one: Statement) -> list[tuple[Any, ...]]:
        """The result of one small query."""
        if not isinstance(one, Constant):
            with self.transaction(read_only=True) as session:
                return session.rows(one)
        return self._home.peek(one)

    @property
    def commits(self) -> int | None:
        """Others write as well, unless the ledger is a file of this process."""
        return self._home.commits

    def trim(self) -> None:
        """Both give back what they can."""
        self._home.trim()

    def describe(self, source: Table) -> dict[str, Type]:
        """A source's columns in order; of a table of ours without what only tells versions apart."""
        if source.name is not None:
            schema, _, name = source.name.rpartition(".")
            if schema in ("", self.schema):
                with self.transaction(read_only=True) as session:
                    if (kept := session.kept.get(name)) is not None:
                        return {one.name: one.type for one in kept.columns}
            if schema == self._home.schema:
                return self._home.describe(source)
        return self.rows.describe(source)

    def tables(self, database: str | None = None) -> list[str]:
        """The tables and views of the database that rows are in."""
        return self.rows.tables(database)

    def reaches(self, database: str) -> bool:
        """No other database is read in its statements."""
        return False

    def qualify(self, source: Table) -> Table:
        """Names are as they are; the tables that we keep are in our database."""
        return Table(f"{self.schema}.{source.name}") if isinstance(source, Own) else source

    def make_schema(self, session: Session) -> None:
        """The tables that keep the two together are there."""
        assert isinstance(session, PairSession)
        self.rows.make_database()
        self._home.make_schema(session.home)
        self._make_home(session.home)

    def _make_home(self, home: Session) -> None:
        if not self._home.stored_columns(home, [HEAD]):
            for text in _MAKE_HOME:
                home.execute(self.home_statement(text))
        self._made = True

    def home_statement(self, text: str, **values: Any) -> Statement:
        """A statement of these tables, in the spelling that the engines at home share."""
        one = statement(text, **values)
        tree = one.built().tree.copy()
        for node in list(tree.find_all(exp.Table)):
            if node.name in _HOME_TABLES and not node.db:
                node.set("db", exp.to_identifier(self._home.schema, quoted=True))
        return Statement(tree, one.values)

    def is_made(self, home: Session) -> bool:
        """Whether anything was ever kept here."""
        if not self._made:
            self._made = bool(self._home.stored_columns(home, [HEAD]))
        return self._made

    def check_writable(self) -> None:
        """Whether tables can be made in both."""
        self._home.check_writable()
        with self.rows.transaction() as session:
            name = f"{quoted(self.schema)}.{quoted('dayfold_doctor__')}"
            session.command(f"CREATE TABLE IF NOT EXISTS {name} (a Int64) ENGINE = MergeTree ORDER BY a")
            session.command(f"DROP TABLE IF EXISTS {name}")

    # -- tables ----------------------------------------------------------------------------------

    def is_home(self, name: str) -> bool:
        """Whether a table or view of ours is one of the ledger, by its name alone."""
        return name.startswith("dayfold_") and not name.startswith(_OF_ROWS)

    def stored_columns(self, session: Session, names: Sequence[str]) -> Mapping[str, dict[str, str]]:
        """The columns of tables that exist, on whichever side they are."""
        assert isinstance(session, PairSession)
        at_home = [name for name in names if self.is_home(name)]
        found = dict(self._home.stored_columns(session.home, at_home)) if at_home else {}
        if len(at_home) == len(names):
            return found
        strange = []
        for name in names:
            if name in at_home:
                continue
            kept = session.kept.get(name)
            if kept is not None:
                found[name] = {one.name: normal_type(CLICKHOUSE, one.type) for one in kept.columns}
            else:
                strange.append(name)
        if strange and not session.unmade:
            rows = session.raw.query(
                "SELECT c.table, c.name, c.type FROM system.columns AS c JOIN system.tables AS t ON t.database = c.database AND "
                "t.name = c.table WHERE c.database = $1 AND has($2, c.table) AND NOT startsWith(t.comment, $3) ORDER BY c.table, c.position",
                [self.schema, strange, OURS],
            )
            for owner, name, type_ in rows:
                found.setdefault(owner, {})[name] = type_
        return found

    def refit(self, session: Session, shape: Shape, found: Mapping[str, str], *, rekeyed: bool) -> None:
        """The rows that stay are versions in a new table, which has the name from now on."""
        assert isinstance(session, PairSession)
        expected = {one.name: normal_type(CLICKHOUSE, one.type) for one in shape.columns}
        if dict(found) == expected and not rekeyed:
            return
        stays = [] if rekeyed else [name for name, type_ in expected.items() if found.get(name) == type_]
        if stays:
            session.stage("dayfold_kept__", Statement(exp.select(*map(column, stays)).from_(shape.table)))
        session.drop(shape.name)
        make_shape(session, shape)
        if stays:
            target = exp.Schema(this=shape.table, expressions=[exp.to_identifier(one, quoted=True) for one in stays])
            rows = exp.select(*map(column, stays)).from_(table("dayfold_kept__"))
            session.execute(Statement(exp.Insert(this=target, expression=rows)))

    def stored_indexes(self, session: Session, name: str) -> dict[str, str]:
        """ClickHouse keeps rows in the order of their identity, and has no other indexes."""
        assert isinstance(session, PairSession)
        return self._home.stored_indexes(session.home, name) if self.is_home(name) else {}

    def remarks(self, session: Session) -> dict[str, str]:
        """The views of our database that have a comment, with it."""
        assert isinstance(session, PairSession)
        if session.unmade:
            return {}
        query = "SELECT name, comment FROM system.tables WHERE database = $1 AND engine = 'View' AND comment <> ''"
        return dict(session.raw.query(query, [self.schema]))

    def views_on(self, session: Session, names: Sequence[str]) -> list[str]:
        """The views whose text names one of the tables."""
        assert isinstance(session, PairSession)
        query = "SELECT name, as_select FROM system.tables WHERE database = $1 AND engine = 'View' AND NOT startsWith(comment, $2) AND NOT startsWith(comment, $3)"
        found = session.raw.query(query, [self.schema, OURS, MARK])
        return [
            name
            for name, text in found
            if not name.startswith("dayfold_") and any(re.search(rf"\b{re.escape(one)}\b", text) for one in names)
        ]

    def leads(self, session: Session, source: Table, keys: Sequence[str], moment: str | None = None) -> bool:
        """ClickHouse finds ranges by the bounds of its granules."""
        return False

    def sizes(self, session: Session, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Rows as readers see them, and the bytes of all versions."""
        assert isinstance(session, PairSession)
        at_home = [name for name in names if self.is_home(name)]
        found = dict(self._home.sizes(session.home, at_home)) if at_home else {}
        for name in names:
            kept = session.kept.get(name)
            if kept is None:
                continue
            [(size,)] = session.raw.query(
                "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = $1 AND table = $2 AND active",
                [self.schema, kept.versions],
            )
            [(rows,)] = session.rows(Statement(exp.select(exp.Count(this=exp.Star())).from_(table(name, self.schema))))
            found[name] = (int(rows or 0), int(size or 0))
        return found

    # -- writes ----------------------------------------------------------------------------------

    def begin_write(self) -> int:
        """The number of a new write, which is known at home before anything is written under it."""
        for turn in range(_TRIES):
            try:
                with self._lock, self._home.transaction() as home:
                    self.is_made(home)
                    self._home_ready(home)
                    home.execute(self.home_statement(f"update {HEAD} set last = last + 1 where id = 1"))
                    [(number,)] = home.rows(self.home_statement(f"select last from {HEAD} where id = 1"))
                    home.execute(
                        self.home_statement(f"insert into {WRITES} (id, begun_at) values (:id, now())", id=int(number))
                    )
                    self._live.add(int(number))
                return int(number)
            except Conflict:
                if turn == _TRIES - 1:
                    raise
                time.sleep(_PAUSE_S * (turn + 1))
        raise AssertionError

    def _home_ready(self, home: Session) -> None:
        if not self._made:
            self._home.make_schema(home)
            self._make_home(home)

    def hold(self, home: Session, number: int) -> None:
        """Whoever asks knows that this write goes on, for as long as the transaction does."""
        if self._home.dialect.name == "postgres":
            home.rows(
                statement(
                    "select pg_advisory_xact_lock(:space, :number)::text",
                    "postgres",
                    space=_LOCKS,
                    number=number & 0x7FFFFFFF,
                )
            )

    def ended(self, number: int) -> None:
        """The write is over, whatever became of it."""
        self._live.discard(number)

    def _is_abandoned(self, home: Session, number: int) -> bool:
        """Whether nobody works at a write any more that is not published."""
        if number in self._live:
            return False
        if self._home.dialect.name != "postgres":
            # One process owns a DuckDB file.
            return True
        query = "select pg_try_advisory_xact_lock(:space, :number)"
        [(free,)] = home.rows(statement(query, "postgres", space=_LOCKS, number=number & 0x7FFFFFFF))
        return bool(free)

    def tidy(self) -> None:
        """What abandoned writes left is gone, and what is published is known to be so without being listed.

        To be called at any time, by any number of processes: what it does twice does no harm.
        """
        with self._home.transaction() as home:
            if not self.is_made(home):
                return
            self._settle(home)
            open_ = [number for (number,) in home.rows(self.home_statement(f"select id from {WRITES}"))]
            abandoned = [one for one in open_ if self._is_abandoned(home, one)]
            if not abandoned:
                return
            known = {name for (name,) in home.rows(self.home_statement(f"select versions from {TABLES}"))}
            with self.rows.transaction() as raw:
                found = raw.query(
                    "SELECT name FROM system.tables WHERE database = $1 AND startsWith(name, $2)",
                    [self.schema, VERSIONS_PREFIX],
                )
                for (name,) in found:
                    if name not in known:
                        if made_by(name) in abandoned:
                            raw.command(f"DROP TABLE IF EXISTS {quoted(self.schema)}.{quoted(name)} SYNC")
                        continue
                    for number in abandoned:
                        self._remove(raw, name, number)
            for number in abandoned:
                home.execute(self.home_statement(f"delete from {WRITES} where id = :id", id=number))

    def _settle(self, home: Session) -> None:
        """What is published is so without being listed."""
        home.execute(self.home_statement(f"delete from {WRITES} where id in (select id from {PUBLISHED})"))
        home.execute(self.home_statement(f"delete from {PUBLISHED} where not id in (select id from {WRITES})"))

    def withdraw(self, number: int) -> None:
        """Nothing was written under a number."""
        with contextlib.suppress(Conflict), self._home.transaction() as home:
            home.execute(self.home_statement(f"delete from {WRITES} where id = :id", id=number))

    def _remove(self, raw: ClickHouseSession, name: str, number: int) -> None:
        """No version of a write stands in a table."""
        place = f"{quoted(self.schema)}.{quoted(name)}"
        mine = f"{quoted(WRITE)} >= {number * STEPS} AND {quoted(WRITE)} < {(number + 1) * STEPS}"
        if raw.query(f"SELECT 1 FROM {place} WHERE {mine} LIMIT 1"):
            raw.command(f"ALTER TABLE {place} DELETE WHERE {mine}")

    def tell(self, *, covers: bool = True) -> None:
        """What views of BI tools go by is what is published now; ``covers``: and what is covered."""
        for turn in range(_TRIES):
            try:
                with self._home.transaction() as home:
                    self._settle(home)
                    home.execute(self.home_statement(f"update {HEAD} set told = told + 1 where id = 1"))
                    [(told,)] = home.rows(self.home_statement(f"select told from {HEAD} where id = 1"))
                    seen = self.seen(home)
                    covered = self._covered(home) if covers else None
                break
            except Conflict:
                if turn == _TRIES - 1:
                    return
                time.sleep(_PAUSE_S * (turn + 1))
        place = f"{quoted(self.schema)}.{quoted(SEEN_TABLE)}"
        with self.rows.transaction() as raw:
            raw.command(
                f"CREATE TABLE IF NOT EXISTS {place} (told UInt64, last UInt64, pending Array(UInt64)) ENGINE = {self.family} ORDER BY told "
                f"COMMENT '{OURS}: which writes are published'"
            )
            if covered is not None:
                raw.load("dayfold_covered__", covered[0], covered[1])
                raw.command(
                    f"CREATE OR REPLACE TABLE {quoted(self.schema)}.{quoted('dayfold_coverage')} ENGINE = {self.family} "
                    f"ORDER BY tuple() COMMENT '{OURS}: which days are covered' AS SELECT * FROM {quoted('dayfold_covered__')}"
                )
            raw.command(f"INSERT INTO {place} SELECT {int(told)}, {seen.last}, {list(seen.pending)}")
            if told % 500 == 0:
                raw.command(f"DELETE FROM {place} WHERE told < {int(told) - 100}")

    def _covered(self, home: Session) -> tuple[Sequence[Column], pa.Table] | None:
        """The coverage that every table's view is read beside."""
        if not self._home.stored_columns(home, ["dayfold_coverage"]):
            return None
        tree = exp.select("*").from_(table("dayfold_coverage", self._home.schema))
        columns = [Column(name, type_) for name, type_ in home.columns_of(Statement(tree)).items()]
        return columns, home.arrow(Statement(tree.copy()), columns)

    def tend(self) -> None:
        """Versions that others have replaced go, now and then."""
        now = time.monotonic()
        if now < self._tend_at:
            return
        self._tend_at = now + KEEP_S
        with contextlib.suppress(Conflict):
            self.tidy()
            compact(self)

    def seen(self, home: Session, own: int = 0) -> Seen:
        """What a transaction at home shows of writes."""
        [(last,)] = home.rows(self.home_statement(f"select last from {HEAD} where id = 1"))
        query = f"select w.id from {WRITES} as w left join {PUBLISHED} as p on p.id = w.id where p.id is null"
        pending = [int(number) for (number,) in home.rows(self.home_statement(query))]
        return Seen(int(last), tuple(sorted(pending)), own)

    def rewrite(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """Only the newest version of every row stands in any file, on both sides."""
        return rewrite(self, names)


#: What a comment of a table or view that only serves versions begins with.
OURS = "Made by Dayfold"


class PairSession:
    """One transaction of a store in two databases."""

    def __init__(self, store: PairStore, home: Session) -> None:
        self.store = store
        self.home = home
        self._raw: ClickHouseSession | None = None
        self._raw_context: contextlib.ExitStack | None = None
        self._kept: dict[str, Kept] | None = None
        self._seen: Seen | None = None
        self._number = 0
        self._step = 0
        self._wrote = False
        self._views: list[str] = []
        self._after: list[str] = []
        #: Temporary tables: on which sides they are, and what was loaded and is on none yet.
        self._temps: dict[str, set[str]] = {}
        self._loads: dict[str, tuple[Sequence[Column], pa.Table]] = {}
        self._moves = 0
        self._limit: tuple[float, float] | None = None
        self._limits: list[Any] = []
        self.unmade = False
        self._covers = False
        self._feeds: dict[str, list[Any]] = {}
        self._appended: set[str] = set()
        self._began = time.monotonic()

    # -- the two sides ---------------------------------------------------------------------------

    @property
    def raw(self) -> ClickHouseSession:
        """The session of ClickHouse, made when it is first needed."""
        if self._raw is None:
            stack = contextlib.ExitStack()
            self._raw = stack.enter_context(self.store.rows.transaction())
            self._raw_context = stack
            if self._limit is not None:
                left = max(self._limit[0] - time.monotonic(), 0.05)
                self._raw._ends_at, self._raw._limit_s = time.monotonic() + left, self._limit[1]
        return self._raw

    @property
    def kept(self) -> dict[str, Kept]:
        """The tables whose rows are versions, by name, as this transaction sees them."""
        if self._kept is None:
            self._kept = {}
            if not self.store.is_made(self.home):
                self.unmade = True
                return self._kept
            query = f"select name, versions, columns, identity, month, is_log, revised from {TABLES}"
            for name, versions, columns, identity, month, is_log, revised in self.home.rows(
                self.store.home_statement(query)
            ):
                listed = tuple(
                    Column(one, Type(Kind(kind), precision, scale))
                    for one, kind, precision, scale, _ in json.loads(columns)
                )
                required = frozenset(one for one, *_, needed in json.loads(columns) if needed)
                self._kept[name] = Kept(
                    name, versions, listed, tuple(json.loads(identity)), month, required, bool(is_log), bool(revised)
                )
        return self._kept

    @property
    def seen(self) -> Seen:
        """Which writes this transaction shows."""
        if self._seen is None:
            self._seen = self.store.seen(self.home) if self.store.is_made(self.home) else Seen()
        return replace(self._seen, own=self._number)

    @property
    def reader(self) -> Reader:
        """Builds what this transaction reads of versions."""
        return Reader(self.store.schema, self.seen)

    def write(self) -> int:
        """The number of the next version, of a write that is known at home."""
        if not self._number:
            if self.kept or not self.unmade:
                _ = self.seen
            if not self.store._tidied:
                self.store._tidied = True
                with contextlib.suppress(Conflict):
                    self.store.tidy()
            self._number = self.store.begin_write()
            self.store.hold(self.home, self._number)
        self._step += 1
        if self._step >= STEPS:
            raise StoreError("One transaction writes more than is told apart.", hint="Fold smaller portions.")
        return self._number * STEPS + self._step

    def _note_home(self, one: Statement) -> None:
        """What is told to other programs follows where coverage moves."""
        text = one.text if isinstance(one, Constant) else ""
        named = "dayfold__coverage" in text or any(
            node.name == "dayfold__coverage" for node in ([] if text else one.tree.find_all(exp.Table))
        )
        self._covers = self._covers or named

    def note_compacted(self, last: int) -> None:
        """Versions that were replaced by then are gone: whoever still goes by an older snapshot is refused."""
        query = f"update {COMPACTED} set last = :last where id = 1 and last < :last"
        self.home.execute(self.store.home_statement(query, last=last))

    def note_unrevised(self, kept: Kept) -> None:
        """No row of a table has more than one version any more."""
        query = (
            f"update {TABLES} set revised = false, changed = changed + 1 where name = :name and versions = :versions"
        )
        self.home.execute(self.store.home_statement(query, name=kept.name, versions=kept.versions))

    def renew(self, name: str) -> None:
        """A table stands in new files, with the rows that this transaction shows. Raises Conflict where others have written since."""
        known = self.kept[name]
        self._take_hold(known)
        hidden = exp.select("1").from_(table(known.versions, self.store.schema))
        hidden = hidden.where(exp.Not(this=self.seen.shows()))
        rows = exp.select(*(column(one) for one in known.all_names)).from_(
            derived(self.reader.rows(known, whole=True), "rows__")
        )
        text, _ = Statement(rows).render("clickhouse")
        self.drop(name, at_once=True)
        self.make(
            name, known.columns, identity=() if known.identity == (ROW,) else known.identity, required=known.required, day=known.month,
            is_log=known.is_log,
        )  # fmt: skip
        fresh = self.kept[name]
        names = ", ".join(quoted(one) for one in (*known.all_names, WRITE, GONE, REVISES))
        place = f"{quoted(self.store.schema)}.{quoted(fresh.versions)}"
        self.raw.command(f"INSERT INTO {place} ({names}) SELECT *, {self.write()}, false, false FROM ({text})")
        if self.raw.rows(Statement(hidden.limit(1))) and self._is_behind():
            raise Conflict(f"Rows of {name} were published meanwhile.", hint="Run it again.")

    def _is_behind(self) -> bool:
        """Whether anything was published since this transaction began."""
        with self.store._home.transaction(read_only=True) as home:
            now = self.store.seen(home)
        mine = self.seen
        return now.last > max(mine.last, self._number) or set(now.pending) - {self._number} != set(mine.pending) - {
            self._number
        }

    def _check_age(self) -> None:
        """What this transaction read was all there. Raises Conflict where versions that it may have needed are gone."""
        if self._raw is None or self._seen is None or time.monotonic() - self._began < KEEP_S / 2:
            return
        with self.store._home.transaction(read_only=True) as home:
            [(last,)] = home.rows(self.store.home_statement(f"select last from {COMPACTED} where id = 1"))
        if int(last) > self._seen.last:
            raise Conflict(
                "This took so long that rows which it read by may be gone.", hint="Run it again; nothing was changed."
            )

    def publish(self) -> None:
        """The transaction publishes what it wrote, if it commits."""
        self._check_age()
        for name in sorted(self._appended):
            self._agree(name)
        if self._number and self._wrote:
            query = f"insert into {PUBLISHED} (id) values (:id)"
            self.home.execute(self.store.home_statement(query, id=self._number))

    def published(self) -> None:
        """The transaction is committed: what other programs read follows."""
        number, self._number = self._number, 0
        if number:
            self.store.ended(number)
            if not self._wrote:
                self.store.withdraw(number)
        if not (self._wrote or self._views or self._after):
            return
        try:
            self.store.tell(covers=self._covers or bool(self._after))
            for name in dict.fromkeys(self._views):
                self._put_view(name)
            for text in self._after:
                self.raw.command(text)
            self.store.tend()
        except DayfoldError as error:
            _log.warning("Views for other programs follow with the next write: %s", error.message, extra=_BEHIND)

    def abandon(self) -> None:
        """The transaction ended otherwise: what it wrote is removed, or found by its intent later."""
        number, self._number = self._number, 0
        if self._raw is not None:
            self._raw.broken = self._raw.broken or False
        if not number:
            return
        self.store.ended(number)
        with contextlib.suppress(Exception):
            self.store.tidy()

    def end(self) -> None:
        """The session of ClickHouse goes back."""
        if self._raw_context is not None:
            self._raw_context.close()
            self._raw_context, self._raw = None, None

    # -- routing ---------------------------------------------------------------------------------

    def _side_of(self, node: exp.Table) -> str | None:
        """Where a table is: ``home``, ``rows``, or None for a temporary one."""
        if node.db:
            return "home" if node.db == self.store._home.schema else "rows"
        if node.name in self._temps or node.name in self._loads:
            return None
        return "rows"

    def _tables(self, tree: exp.Expr) -> list[exp.Table]:
        names = {cte.alias for cte in tree.find_all(exp.CTE)}
        return [
            node
            for node in tree.find_all(exp.Table)
            if isinstance(node.this, exp.Identifier) and not (node.name in names and not node.db)
        ]

    def _where(self, one: Statement, tree: exp.Expr) -> str:
        """The side that a statement runs on."""
        target: Any = None
        if isinstance(tree, exp.Insert):
            target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        elif isinstance(tree, exp.Update | exp.Delete):
            target = tree.this
        if target is not None and (side := self._side_of(target)) is not None:
            return side
        found = self._tables(tree)
        sides = {self._side_of(node) for node in found}
        if one.side is not None:
            return one.side
        if "rows" in sides or _is_foreign(tree):
            return "rows"
        if "home" in sides:
            return "home"
        temps = [node.name for node in found if node.name in self._temps]
        if target is not None and target.name in self._temps:
            there = self._temps[target.name]
            return next(iter(there)) if len(there) == 1 else "home"
        if temps and all(self._temps[name] == {"home"} for name in temps):
            return "home"
        if (
            temps
            and all("home" in self._temps[name] for name in temps)
            and any("rows" not in self._temps[name] for name in temps)
        ):
            return "home"
        return "rows"

    def _routed(self, one: Statement) -> tuple[str, Statement]:
        """A statement and the side it runs on, with all that it reads there."""
        if isinstance(one, Constant):
            if one.side == "rows":
                return "rows", one
            self._bring_named(one.text)
            return "home", one
        built = one.built()
        tree = built.tree.copy()
        side = self._where(one, tree)
        tree = self._gathered(tree, side, built.values)
        return side, Statement(tree, built.values)

    def _bring_named(self, text: str) -> None:
        """Temporary tables that a text names are at home."""
        if self._temps or self._loads:
            for name in set(_NAMED.findall(text)):
                if name in self._temps or name in self._loads:
                    self._bring(name, "home")

    def _gathered(self, tree: exp.Expr, side: str, values: Values) -> exp.Expr:
        """The tree with what the other side has as temporary tables of this one, and of versions what is shown."""
        other = "rows" if side == "home" else "home"
        for node in self._tables(tree):
            if node.parent is None or node.find_ancestor(exp.Table) is not None:
                continue
            if self._side_of(node) == other and _is_within(node, tree):
                self._exchange(self._largest(node, tree, other), side, other, values)
        for node in self._tables(tree):
            if self._side_of(node) is None:
                self._bring(node.name, side)
            elif side == "home" and node.db != self.store._home.schema:
                raise StoreError(f"The table {node.name} is not at home.")
        if side == "rows":
            return self._shown(tree)
        for node in tree.find_all(exp.DataType):
            if node.this in _AT_HOME:
                node.replace(exp.DataType.build(_AT_HOME[node.this]))
        return tree

    def _largest(self, node: exp.Table, tree: exp.Expr, other: str) -> exp.Expr:
        """The greatest query around a table that reads this side alone and nothing of what is around it."""
        best: exp.Expr = node
        at: exp.Expr | None = node.parent
        while at is not None and at is not tree:
            if isinstance(at, exp.Query) and not isinstance(at, exp.Subquery):
                sides = {self._side_of(one) for one in self._tables(at)}
                if ("rows" if other == "home" else "home") in sides or not _is_closed(at):
                    break
                if any(not isinstance(one.this, exp.Identifier) for one in at.find_all(exp.Table)):
                    # A function that gives rows is spelled for the side that the statement is for.
                    break
                if _is_foreign(at) if other == "home" else _numbers(at):
                    break
                if other == "home" and any(
                    self._side_of(one) is None and self._temps.get(one.name, set()) == {"rows"}
                    for one in self._tables(at)
                ):
                    break
                best = at
            at = at.parent
        return best

    def _exchange(self, node: exp.Expr, side: str, other: str, values: Values) -> None:
        """A part of a statement is a temporary table of its side, with the rows that it has on the other."""
        self._moves += 1
        name = _MOVED.format(self._moves)
        if isinstance(node, exp.Table):
            bare = exp.select("*").from_(table(node.name, node.db or None))
            rows = self._taken(Statement(bare), other)
            known = node.alias or node.name
            fresh: exp.Expr = exp.alias_(table(name), known, table=True)
        else:
            rows = self._taken(Statement(node.copy(), values), other)
            fresh = exp.select("*").from_(table(name))
        self._loads[name] = rows
        self._temps[name] = set()
        self._bring(name, side)
        node.replace(fresh)

    def _taken(self, one: Statement, side: str) -> tuple[Sequence[Column], pa.Table]:
        """The rows of a query of one side, with their types."""
        if side == "home":
            tree = self._gathered(one.tree.copy(), "home", one.values)
            return self._of_home(Statement(tree, one.values))
        tree = self._gathered(one.tree.copy(), "rows", one.values)
        text, values = Statement(tree, one.values).render("clickhouse")
        described = self.raw.query(f"DESCRIBE TABLE ({text})", values)
        columns = [Column(row[0], clickhouse_type(row[1])) for row in described]
        return columns, self.raw.arrow_of(text, values, columns)

    def _of_home(self, one: Statement) -> tuple[Sequence[Column], pa.Table]:
        columns = [Column(name, type_) for name, type_ in self.home.columns_of(one).items()]
        return columns, self.home.arrow(one, columns)

    def _bring(self, name: str, side: str) -> None:
        """A temporary table is on this side."""
        there = self._temps.setdefault(name, set())
        if side in there:
            return
        if name in self._loads:
            columns, rows = self._loads[name]
        else:
            [origin] = there
            bare = Statement(exp.select("*").from_(table(name)))
            if origin == "home":
                columns, rows = self._of_home(bare)
            else:
                text, values = bare.render("clickhouse")
                described = self.raw.query(f"DESCRIBE TABLE ({text})", values)
                columns = [Column(row[0], clickhouse_type(row[1])) for row in described]
                rows = self.raw.arrow_of(text, values, columns)
        if side == "home":
            self.home.load(name, columns, rows)
            self.home.analyze(name)
        else:
            self.raw.load(name, columns, rows)
        there.add(side)

    def _shown(self, tree: exp.Expr) -> exp.Expr:
        """Tables of versions are what readers see of them."""
        kept = self.kept
        for node in self._tables(tree):
            known = kept.get(node.name) if node.db == self.store.schema else None
            if (
                known is None
                or (isinstance(node.parent, exp.Schema | exp.Insert) and node is _target(tree))
                or node is _target(tree)
            ):
                continue
            name = node.alias or node.name
            rows = exp.Subquery(
                this=self.reader.rows(known),
                alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)),
            )
            if node is tree:
                tree = rows
            else:
                node.replace(rows)
        return tree

    # -- statements ------------------------------------------------------------------------------

    def execute(self, one: Statement | str) -> int:
        """Run a statement on the side of its tables; the rows it affected."""
        if isinstance(one, str):
            return self._execute_text(one)
        side, routed = self._routed(one)
        if side == "home":
            self._note_home(routed)
        if isinstance(routed, Constant):
            return self.home.execute(routed) if side == "home" else self.raw.execute(routed)
        if side == "home":
            count = self.home.execute(routed)
            self._changed_temp(routed.tree, "home")
            return count
        target = _target(routed.tree)
        known = self.kept.get(target.name) if target is not None and target.db == self.store.schema else None
        if known is None:
            count = self.raw.execute(routed)
            self._changed_temp(routed.tree, "rows")
            return count
        return self._write(known, routed)

    def _changed_temp(self, tree: exp.Expr, side: str) -> None:
        """A temporary table that was written to is on one side only."""
        target = _target(tree)
        if target is not None and not target.db and target.name in self._temps:
            self._temps[target.name] = {side}
            self._loads.pop(target.name, None)

    def _write(self, known: Kept, one: Statement) -> int:
        """Versions of rows are written; how many rows that are."""
        revises = isinstance(one.tree, exp.Update | exp.Delete)
        number = self.write()
        if revises:
            self._take_hold(known)
        else:
            self._appended.add(known.name)
        tree = rewritten(one.tree, number, known, self.reader)
        self._wrote = True
        self.raw.command(*Statement(tree, one.values).render("clickhouse"))
        if revises and not known.revised:
            self.kept[known.name] = replace(known, revised=True)
        place = f"{quoted(self.store.schema)}.{quoted(known.versions)}"
        gone = f" AND NOT {quoted(GONE)}" if isinstance(one.tree, exp.Update) else ""
        [(count,)] = self.raw.query(f"SELECT count() FROM {place} WHERE {quoted(WRITE)} = {number}{gone}")
        if count:
            event = "insert" if not revises else "delete" if isinstance(one.tree, exp.Delete) else "update"
            self._tell(self.kept[known.name], event, number)
        return int(count)

    def _tell(self, known: Kept, event: str, number: int) -> None:
        """The cells that a write changed are marked, for whoever is fed from the table: what triggers do elsewhere."""
        feeds = self._fed(known.name, event)
        if not feeds:
            return
        names = ", ".join(quoted(one) for one in known.names)
        place = f"{quoted(self.store.schema)}.{quoted(known.versions)}"
        mine = f"SELECT {names} FROM {place} WHERE {quoted(WRITE)} = {number}"
        sides = {}
        if event != "delete":
            sides[NEW_ROWS] = f"{mine} AND NOT {quoted(GONE)}"
        if event == "delete":
            sides[OLD_ROWS] = mine
        if event == "update":
            earlier = Reader(self.store.schema, replace(self.seen, below=number)).rows(known)
            changed = exp.select(column(known.identity[0])).from_(table(known.versions, self.store.schema))
            changed = changed.where(exp.EQ(this=column(WRITE), expression=exp.Literal.number(number)))
            old = exp.select("*").from_(derived(earlier, "earlier__"))
            old = old.where(exp.In(this=column(known.identity[0]), query=exp.Subquery(this=changed)))
            sides[OLD_ROWS], _ = Statement(old).render("clickhouse")
        parts = [
            f"SELECT {place_} AS {quoted('feed__')}, CAST({quoted('key')} AS Nullable(String)) AS {quoted('key')}, "
            f"CAST({quoted('day')} AS Nullable(Date32)) AS {quoted('day')} FROM ({cells})"
            for place_, (_, _, cells, _) in enumerate(feeds)
        ]
        ctes = ", ".join(f"{quoted(name)} AS ({text})" for name, text in sides.items())
        columns = [Column("feed__", INT), Column("key", TEXT), Column("day", DATE)]
        found = self.raw.arrow_of(f"WITH {ctes} {' UNION ALL '.join(parts)}", [], columns)
        if not found.num_rows:
            return
        import pyarrow as pa

        of = pa.table(
            {
                "feed__": pa.array(range(len(feeds)), pa.int64()),
                "tag": pa.array([one[0] for one in feeds], pa.string()),
                "version": pa.array([one[1] for one in feeds], pa.int64()),
                "reason": pa.array([one[3] for one in feeds], pa.string()),
            }
        )
        self.home.load("dayfold_told__", columns, found)
        fed = [Column("feed__", INT), Column("tag", TEXT), Column("version", INT), Column("reason", TEXT)]
        self.home.load("dayfold_fed__", fed, of)
        schema = self.store._home.schema
        self.home.execute(
            statement(
                "insert into _marks (id, rollup, version, key, day, marked_at, reason) select nextval(_sequence), f.tag, f.version, "
                't.key, t.day, now(), f.reason from dayfold_told__ as t join dayfold_fed__ as f on f.feed__ = t.feed__',
                _marks=table("dayfold__marks", schema), _sequence=exp.Literal.string(f'"{schema}"."dayfold__mark_ids"'),
            )
        )  # fmt: skip

    def _fed(self, name: str, event: str) -> list[tuple[str, int, str, str]]:
        """What is fed from a table: the tag and version of its marks, the query for its cells, and the reason."""
        if name not in self._feeds:
            query = f"select event, tag, version, cells, reason from {FEEDS} where table_name = :name"
            self._feeds[name] = self.home.rows(self.store.home_statement(query, name=name))
        return [
            (tag, int(version), cells, reason) for one, tag, version, cells, reason in self._feeds[name] if one == event
        ]

    def _agree(self, name: str) -> None:
        """The table that rows were added to is still the one of that name, until this transaction has ended. Raises Conflict."""
        known = self.kept.get(name)
        if known is None:
            return
        if self.store._home.dialect.name == "postgres":
            query = f"select versions from {TABLES} where name = :name for share"
        else:
            query = f"update {TABLES} set changed = changed where name = :name returning versions"
        if self.home.rows(self.store.home_statement(query, name=name)) != [(known.versions,)]:
            raise Conflict(f"The table {name} was written anew meanwhile.", hint="Run it again; nothing was changed.")

    def _take_hold(self, known: Kept) -> None:
        """Of two transactions that change rows of one table the second meets a conflict, and is tried again."""
        query = f"update {TABLES} set changed = changed + 1, revised = true where name = :name"
        self.home.execute(self.store.home_statement(query, name=known.name))

    def _execute_text(self, text: str) -> int:
        """A text that makes or drops something, on the side of what it names."""
        schema = self.store.schema
        if (found := _DROP.fullmatch(text)) and found["schema"] == schema:
            self.drop(found["name"])
            return 0
        if (found := _CREATE_AS.fullmatch(text)) and found["schema"] == schema:
            self._make_as(found["name"], found["query"])
            return 0
        if (found := _VIEW.match(text)) and found["schema"] == schema:
            self._change_view(found["name"], text)
            return 0
        return self.home.execute(text)

    def rows(self, one: Statement) -> list[tuple[Any, ...]]:
        """The result of a small query."""
        side, routed = self._routed(one)
        return self.home.rows(routed) if side == "home" else self.raw.rows(routed)

    def arrow(self, one: Statement, columns: Sequence[Column], *, few: bool = False) -> pa.Table:
        """The result of a query."""
        side, routed = self._routed(one)
        session: Session = self.home if side == "home" else self.raw
        return session.arrow(routed, columns, few=few)

    def columns_of(self, one: Statement) -> dict[str, Type]:
        """The columns that a query gives."""
        side, routed = self._routed(one)
        return self.home.columns_of(routed) if side == "home" else self.raw.columns_of(routed)

    def stage(self, name: str, one: Statement) -> None:
        """A temporary table from a query, on the side that it reads."""
        side, routed = self._routed(one)
        self._loads.pop(name, None)
        if side == "home":
            self.home.stage(name, routed)
        else:
            self.raw.stage(name, routed)
        self._temps[name] = {side}

    def load(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """A temporary table, on whichever side needs it."""
        self._loads[name] = (columns, rows)
        self._temps[name] = set()

    def append(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """Rows straight into a table of ours."""
        known = self.kept.get(name)
        if known is None:
            self.home.append(name, columns, rows)
            return
        if not rows.num_rows:
            return
        import pyarrow as pa

        number = self.write()
        self._wrote = True
        marks = [
            (Column(WRITE, INT), number),
            (Column(GONE, Type(Kind.BOOL)), False),
            (Column(REVISES, Type(Kind.BOOL)), False),
        ]
        listed = list(columns)
        for one, value in marks:
            rows = rows.append_column(
                one.name,
                pa.array([value], pa.int64() if one.type.kind is Kind.INT else pa.bool_()).take(
                    pa.array([0] * rows.num_rows, pa.int32())
                ),
            )
            listed.append(one)
        self.raw.insert(f"{quoted(self.store.schema)}.{quoted(known.versions)}", listed, rows)
        self._tell(known, "insert", number)

    def analyze(self, name: str) -> None:
        """ClickHouse counts rows itself; what comes home is counted then."""
        if "home" in self._temps.get(name, ()):
            self.home.analyze(name)

    def plan_joins(self, *, nested: bool) -> None:
        """ClickHouse joins by hashes."""

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Both sides stop after this time."""
        self._limit = (time.monotonic() + seconds, seconds)
        try:
            with self.home.limit(seconds), contextlib.ExitStack() as stack:
                if self._raw is not None:
                    stack.enter_context(self._raw.limit(seconds))
                yield
        finally:
            self._limit = None
            if self._raw is not None:
                self._raw._ends_at, self._raw._limit_s = None, 0.0

    @contextmanager
    def within(self, source: Table) -> Iterator[None]:
        """A source's own SQL finds its tables in the database of rows."""
        yield

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """Names without a schema are those of the database of rows."""
        yield

    # -- tables ----------------------------------------------------------------------------------

    def make(
        self, name: str, columns: Sequence[Column], *,
        identity: Sequence[str] = (), required: Collection[str] = (), day: str | None = None, is_log: bool = False,
    ) -> None:  # fmt: skip
        """A table for versions is there, and known at home."""
        if name in self.kept:
            raise Conflict(f"The table {name} is there already.", hint="Run it again.")
        number = self.write() // STEPS
        ordered = tuple(identity) or (ROW,)
        is_log = is_log or not identity
        needed = {*required, *([*identity, *([day] if day else [])] if is_log else [])} & {one.name for one in columns}
        kept = Kept(
            name,
            f"{VERSIONS_PREFIX}{number}__{fitted(name, 150)}",
            tuple(columns),
            ordered,
            day,
            frozenset(needed),
            is_log,
        )
        types = {
            one.name: CLICKHOUSE.type_name(one.type) if one.name in kept.required else CLICKHOUSE.nullable(one.type)
            for one in columns
        }
        order = [day, *ordered] if is_log and day else [*ordered, WRITE]
        self.raw.command(declaration(kept, types, self.store.schema, self.store.family, order, self._settings()))
        words = json.dumps(
            [
                [one.name, one.type.kind, one.type.precision, one.type.scale, one.name in kept.required]
                for one in columns
            ]
        )
        self.home.execute(
            self.store.home_statement(
                f"insert into {TABLES} (name, versions, columns, identity, month, is_log, revised, changed) values (:name, :versions, "
                ":columns, :identity, :month, :is_log, false, 0)",
                name=name, versions=kept.versions, columns=words, identity=json.dumps(list(ordered)), month=day, is_log=kept.is_log,
            )
        )  # fmt: skip
        self.kept[name] = kept
        self._wrote = True
        self._views.append(name)

    def _settings(self) -> str:
        found = ["allow_nullable_key = 1"]
        if self.store.durable and self.store.family == "MergeTree":
            # The ledger has committed what it says of them: a power cut must not take the rows back.
            found += ["fsync_after_insert = 1", "fsync_part_directory = 1"]
        return ", ".join(found)

    def add_columns(self, name: str, columns: Sequence[Column]) -> None:
        """A table has more columns, NULL in the rows that it has."""
        known = self.kept[name]
        place = f"{quoted(self.store.schema)}.{quoted(known.versions)}"
        for one in columns:
            # Nobody reads a column that the ledger does not know.
            self.raw.command(
                f"ALTER TABLE {place} ADD COLUMN IF NOT EXISTS {quoted(one.name)} {CLICKHOUSE.nullable(one.type)}"
            )
        fresh = known.with_columns([*known.columns, *columns])
        words = json.dumps(
            [
                [one.name, one.type.kind, one.type.precision, one.type.scale, one.name in known.required]
                for one in fresh.columns
            ]
        )
        query = f"update {TABLES} set columns = :columns, changed = changed + 1 where name = :name"
        self.home.execute(self.store.home_statement(query, columns=words, name=name))
        self.kept[name] = fresh
        self.write()
        self._wrote = True
        self._views.append(name)

    def drop(self, name: str, *, at_once: bool = False) -> None:
        """A table is not known any more; its versions go when nobody can read them any more, or ``at_once`` after the commit."""
        known = self.kept.pop(name, None)
        if known is None:
            return
        self.write()
        self.home.execute(self.store.home_statement(f"delete from {TABLES} where name = :name", name=name))
        self._wrote = True
        self._views.append(name)
        if at_once:
            self._after.append(f"DROP TABLE IF EXISTS {quoted(self.store.schema)}.{quoted(known.versions)} SYNC")

    def _make_as(self, name: str, text: str) -> None:
        """A table with the rows of a query, of which every temporary table is on this side."""
        for one in set(_NAMED.findall(text)):
            if one in self._temps or one in self._loads:
                self._bring(one, "rows")
        described = self.raw.query(f"DESCRIBE TABLE ({text})")
        columns = [Column(row[0], clickhouse_type(row[1])) for row in described]
        self.make(name, columns, identity=(), required=(), day=None, is_log=False)
        known = self.kept[name]
        names = ", ".join(quoted(one) for one in (*known.names, WRITE, GONE, REVISES))
        place = f"{quoted(self.store.schema)}.{quoted(known.versions)}"
        self.raw.command(f"INSERT INTO {place} ({names}) SELECT *, {self.write()}, false, false FROM ({text})")

    def _change_view(self, name: str, text: str) -> None:
        """A view of ours is made, dropped or remarked upon once the transaction is committed."""
        if text.startswith("COMMENT ON VIEW"):
            place, _, remark = text.removeprefix("COMMENT ON VIEW ").partition(" IS ")
            text = f"ALTER TABLE {place} MODIFY COMMENT {remark}"
        self._after.append(text)

    def _put_view(self, name: str) -> None:
        """What BI tools read under a table's name is what is published of it."""
        known = self.kept.get(name)
        place = f"{quoted(self.store.schema)}.{quoted(name)}"
        if known is None:
            self.raw.command(f"DROP VIEW IF EXISTS {place}")
            return
        self.raw.command(
            f"CREATE OR REPLACE VIEW {place} AS {view_of(known, self.store.schema)} COMMENT '{OURS}: the published rows'"
        )


def view_of(kept: Kept, schema: str) -> str:
    """A select of the published rows of a table, by what `PairStore.tell` has told ClickHouse."""
    seen = f"{quoted(schema)}.{quoted(SEEN_TABLE)}"
    write = quoted(WRITE)
    newest = f"(SELECT argMax((last, pending), told) FROM {seen})"
    shown = f"{write} < (tupleElement({newest}, 1) + 1) * {STEPS} AND NOT has(tupleElement({newest}, 2), intDiv({write}, {STEPS}))"
    names = [column(one) for one in kept.names]
    base = exp.select().from_(table(kept.versions, schema)).where("_shown")
    text, _ = Statement(newest_of(kept, base, names)).render("clickhouse")
    return text.replace(quoted("_shown"), shown)


def _target(tree: exp.Expr) -> exp.Table | None:
    """The table that a statement writes to."""
    if isinstance(tree, exp.Insert):
        found = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        return found if isinstance(found, exp.Table) else None
    if isinstance(tree, exp.Update | exp.Delete) and isinstance(tree.this, exp.Table):
        return tree.this
    return None


def _is_foreign(tree: exp.Expr) -> bool:
    """Whether a tree has words of ClickHouse's own."""
    return any(FOREIGN in node.meta for node in tree.walk() if node._meta)


def _numbers(tree: exp.Expr) -> bool:
    """Whether a tree takes numbers of a sequence, which is at home."""
    return any(one.name.lower() == "nextval" for one in tree.find_all(exp.Anonymous))


def _is_within(node: exp.Expr, tree: exp.Expr) -> bool:
    """Whether a node is still a part of a tree."""
    at: exp.Expr | None = node
    while at is not None:
        if at is tree:
            return True
        at = at.parent
    return False


def _is_closed(query: exp.Expr) -> bool:
    """Whether a query names no column of what is around it: every qualifier is one of its own."""
    own = {node.alias_or_name for node in query.find_all(exp.Table)}
    own |= {node.alias for node in query.find_all(exp.Subquery) if node.alias}
    own |= {node.alias for node in query.find_all(exp.CTE)}
    own |= {node.alias for node in query.find_all(exp.Lateral, exp.Unnest, exp.Values) if node.alias}
    return all(not one.table or one.table in own for one in query.find_all(exp.Column))
