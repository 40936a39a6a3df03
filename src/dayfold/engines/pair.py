"""A store in two databases: rows stand in ClickHouse, and the ledger at *home*, in PostgreSQL or a DuckDB file. Engines floor.

The rest of the program sees one store. A session is one transaction at home; each statement runs where its tables are
(`dayfold.engines.routing`). What is written to ClickHouse are versions of rows (`dayfold.plan.versions`):

1. before the first of them a transaction takes the number of a *write* at home, in a transaction of its own: the intent;
2. versions are inserted under that number, which no reader shows;
3. the transaction's commit at home holds the publication of the number, beside all else that it did;
4. what BI tools read is told of it.

A kill before 3 leaves versions that nobody ever sees, and an intent by which the next write removes them. A kill between 3 and 4
leaves the views of BI tools as they were until the next write.

Invariant: everything inside one transaction is seen by readers whole or not at all, in both databases.

Weakness: of two transactions that insert the same row none is refused; leases and fences keep that from happening. A transaction that
reads for longer than `KEEP_S` may be refused at its end.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dayfold.define.source import Own, Table
from dayfold.define.types import BOOL, INT, Type
from dayfold.engines import compacting, kept
from dayfold.engines.base import Session, Store, make_shape, normal_type
from dayfold.engines.clickhouse import ClickHouse, ClickHouseSession
from dayfold.engines.routing import HOME, Router, target_of
from dayfold.engines.writes import COMPACTED, KEEP_S, OURS, PUBLISHED, TABLES, WRITES, Writes
from dayfold.errors import Conflict, DayfoldError, StoreError, UsageError
from dayfold.plan.dialect import CLICKHOUSE
from dayfold.plan.longview import MARK
from dayfold.plan.shape import Column, Shape, quoted
from dayfold.plan.sql import Constant, Statement, column, table
from dayfold.plan.versions import (
    GONE,
    REVISES,
    ROW,
    SEEN,
    STEPS,
    VERSIONS_PREFIX,
    WRITE,
    Kept,
    Reader,
    Seen,
    beside,
    limited,
    rewritten,
)  # fmt: skip

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)
_BEHIND, _UNTENDED = {"action": "views-behind"}, {"action": "not-cleaned"}
#: What the names of tables of ours begin with that hold rows, and not the ledger.
_OF_ROWS = (
    "dayfold_events",
    "dayfold_attribution",
    "dayfold_build__",
    "dayfold_rebuild__",
    "dayfold__source_",
    VERSIONS_PREFIX,
    SEEN,
)
_KEPT = "dayfold_kept__"
#: Texts that make or drop something, which come from above as texts.
_CREATE_AS = re.compile(r'CREATE TABLE "(?P<schema>[^"]+)"\."(?P<name>[^"]+)" AS (?P<query>.+)', re.DOTALL)
_DROP = re.compile(r'DROP TABLE (?:IF EXISTS )?"(?P<schema>[^"]+)"\."(?P<name>[^"]+)"')
_VIEW = re.compile(
    r'(?:CREATE (?:OR REPLACE )?VIEW|DROP VIEW(?: IF EXISTS)?|COMMENT ON VIEW) "(?P<schema>[^"]+)"\."(?P<name>[^"]+)"'
)


class PairStore:
    """ClickHouse for rows, and another store for the ledger."""

    dialect = CLICKHOUSE

    def __init__(self, rows: ClickHouse, home: Store, *, family: str = "MergeTree") -> None:
        self.rows = rows
        self._home = home
        self.schema = rows.schema
        self.family = family
        self.writes = Writes(home, rows, family)
        self._tend_at = 0.0
        #: Whether this process has seen that every table has its view.
        self.is_viewed = False

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
        """The database, the schema of the ledger, and what keeps the two together are there.

        Raises:
            UsageError: where the database has rows that another ledger knows: numbers of writes would mean both.
        """
        assert isinstance(session, PairSession)
        self.rows.make_database()
        if session.unmade:
            with self.rows.transaction() as raw:
                query = "SELECT 1 FROM system.tables WHERE database = $1 AND startsWith(name, $2) LIMIT 1"
                if raw.query(query, [self.schema, VERSIONS_PREFIX]):
                    raise UsageError(
                        f"{self.address} holds rows of a store whose ledger is not at {self._home.address}.",
                        hint="Name that ledger (ledger.url), or an empty database, or drop the tables there.",
                    )
        self.writes.make(session.home)

    def check_writable(self) -> None:
        """Whether tables can be made in both."""
        self._home.check_writable()
        with self.rows.transaction() as session:
            if not session.query("SELECT 1 FROM system.databases WHERE name = $1", [self.schema]):
                session.command(f"CREATE DATABASE {quoted(self.schema)}")
                session.command(f"DROP DATABASE {quoted(self.schema)}")
                return
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
        if strange:
            # Before anything is kept in the store, what serves versions there is another's.
            rows = session.raw.query(
                "SELECT c.table, c.name, c.type FROM system.columns AS c JOIN system.tables AS t ON t.database = c.database AND "
                "t.name = c.table WHERE c.database = $1 AND has($2, c.table) AND ($3 OR NOT startsWith(t.comment, $4)) "
                "ORDER BY c.table, c.position",
                [self.schema, strange, session.unmade, OURS],
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
            session.stage(_KEPT, Statement(exp.select(*map(column, stays)).from_(shape.table)))
        session.drop(shape.name)
        make_shape(session, shape)
        if stays:
            target = exp.Schema(this=shape.table, expressions=[exp.to_identifier(one, quoted=True) for one in stays])
            rows = exp.select(*map(column, stays)).from_(table(_KEPT))
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
        query = (
            "SELECT name, as_select FROM system.tables WHERE database = $1 AND engine = 'View' AND NOT startsWith(comment, $2) "
            "AND NOT startsWith(comment, $3)"
        )
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

    def freeze(self, session: Session, names: Sequence[str], why: str | None) -> None:
        """The ledger refuses: no row in ClickHouse changes without a number from it, and none is seen that it has not published."""
        assert isinstance(session, PairSession)
        at_home = [name for name in names if name not in session.kept]
        keeping = [WRITES, PUBLISHED, TABLES] if self.writes.is_made(session.home) else []
        self._home.freeze(session.home, [*at_home, *keeping], why)
        if why is None:
            session.catch_up()

    # -- what it does for itself -----------------------------------------------------------------

    def tend(self) -> None:
        """Versions that others have replaced go, now and then.

        A process looks at its first write and from then on now and then; whether it is time yet says the ledger, so that it is done
        where each process lives for a moment too, and not by each of many.
        """
        now = time.monotonic()
        if now < self._tend_at:
            return
        self._tend_at = now + KEEP_S / 2
        with contextlib.suppress(Conflict):
            if compacting.is_due(self):
                self.writes.tidy()
                compacting.compact(self)

    def rewrite(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """Only the newest version of every row stands in any file, on both sides."""
        return compacting.rewrite(self, names)


class PairSession:
    """One transaction of a store in two databases."""

    def __init__(self, store: PairStore, home: Session) -> None:
        self.store = store
        self.home = home
        self.writes = store.writes
        self.router = Router(home, store.home.schema, lambda: self.raw, self._shown, store.is_home)
        self.feeds = kept.Feeds(store.writes, home)
        self._raw: ClickHouseSession | None = None
        self._raw_context: contextlib.ExitStack | None = None
        self._tables: dict[str, Kept] | None = None
        self._seen: Seen | None = None
        self._number = 0
        self._step = 0
        #: Tables that rows were added to; whose views are made anew, and what is said after that.
        self._added: set[str] = set()
        self._views: list[str] = []
        self._after: list[str] = []
        self._covers = False
        self._limit: tuple[float, float] | None = None
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
                self._raw.end_at(*self._limit)
        return self._raw

    @property
    def unmade(self) -> bool:
        """Whether nothing was ever kept in the store."""
        return not self.writes.is_made(self.home)

    @property
    def kept(self) -> dict[str, Kept]:
        """The tables whose rows are versions, by name, as this transaction sees them."""
        if self._tables is None:
            self._tables = {} if self.unmade else kept.known_tables(self.writes, self.home)
        return self._tables

    @property
    def seen(self) -> Seen:
        """Which writes this transaction shows."""
        if self._seen is None:
            self._seen = Seen() if self.unmade else self.writes.seen(self.home)
        return replace(self._seen, own=self._number)

    @property
    def reader(self) -> Reader:
        """Builds what this transaction reads of versions."""
        return Reader(self.store.schema, self.seen)

    def _shown(self, tree: exp.Expr) -> exp.Expr:
        """Tables of versions are what readers see of them."""
        target = target_of(tree)
        for node in list(tree.find_all(exp.Table)):
            known = self.kept.get(node.name) if node.db in ("", self.store.schema) else None
            if known is None or node is target:
                continue
            name = exp.TableAlias(this=exp.to_identifier(node.alias or node.name, quoted=True))
            rows = limited(self.reader.rows(known), _beside(node, known))
            node.replace(exp.Subquery(this=rows, alias=name))
        return tree

    # -- the transaction -------------------------------------------------------------------------

    def write(self) -> int:
        """The number of the next versions, of a write that is known at home."""
        if not self._number:
            self._number = self.writes.begin(self.home, self.seen.settled)
        self._step += 1
        if self._step >= STEPS:
            raise StoreError("One transaction writes more than is told apart.", hint="Fold smaller portions.")
        return self._number * STEPS + self._step

    def publish(self) -> None:
        """The transaction publishes what it wrote, if it commits. Raises Conflict."""
        self._check_age()
        for name in sorted(self._added & self.kept.keys()):
            kept.agree(self.writes, self.home, self.kept[name])
        if self._number:
            self.writes.publish(self.home, self._number)

    def _check_age(self) -> None:
        """What this transaction read was all there. Raises Conflict where versions that it may have needed are gone."""
        if self._raw is None or self._seen is None or time.monotonic() - self._began < KEEP_S / 2:
            return
        with self.store.home.transaction(read_only=True) as home:
            [(last,)] = home.rows(self.writes.sql(f"select last from {COMPACTED} where id = 1"))
        if int(last) > self._seen.settled:
            raise Conflict("Rows that this was read from may be gone.", hint="Run it again; nothing was changed.")

    def published(self) -> None:
        """The transaction is committed: what other programs read follows."""
        number, self._number = self._number, 0
        self.writes.ended(number)
        if not (number or self._after or self._covers):
            return
        try:
            self.writes.tell(covers=self._covers or bool(self._after))
            for name in dict.fromkeys([*self._views, *self._unviewed()]):
                self._put_view(name)
            for text in self._after:
                self.raw.command(text)
        except DayfoldError as error:
            _log.warning("Views for other programs follow with the next write: %s", error.message, extra=_BEHIND)
        try:
            self.store.tend()
        except DayfoldError as error:
            _log.warning("Replaced rows are cleaned up later: %s", error.message, extra=_UNTENDED)

    def catch_up(self) -> None:
        """What other programs read is what is published, whatever was killed or refused, once the transaction is committed."""
        self._covers = True

    def _unviewed(self) -> list[str]:
        """The tables whose views another process did not come to; looked for once in a process."""
        if self.store.is_viewed:
            return []
        self.store.is_viewed = True
        query = "SELECT name, as_select FROM system.tables WHERE database = $1 AND engine = 'View' AND startsWith(comment, $2)"
        there = dict(self.raw.query(query, [self.store.schema, OURS]))
        return [name for name, one in self.kept.items() if one.versions not in there.get(name, "")]

    def _put_view(self, name: str) -> None:
        """What other programs read under a table's name is what is published of it."""
        known = self.kept.get(name)
        gone = f"DROP VIEW IF EXISTS {quoted(self.store.schema)}.{quoted(name)}"
        self.raw.command(gone if known is None else kept.view(known, self.store.schema))

    def abandon(self) -> None:
        """The transaction ended otherwise: what it wrote is removed now, or by its intent later."""
        number, self._number = self._number, 0
        self.writes.ended(number)
        if number:
            with contextlib.suppress(Exception):
                self.writes.tidy()

    def end(self) -> None:
        """The session of ClickHouse goes back."""
        if self._raw_context is not None:
            self._raw_context.close()
            self._raw_context, self._raw = None, None

    # -- statements ------------------------------------------------------------------------------

    def execute(self, one: Statement | str) -> int:
        """Run a statement on the side of its tables; the rows it affected."""
        if isinstance(one, str):
            return self._execute_text(one)
        side, routed = self.router.route(one)
        if side == HOME:
            self._covers = self._covers or _covers(routed)
        target = None if isinstance(routed, Constant) else target_of(routed.tree)
        if side != HOME and target is not None and target.db == self.store.schema and target.name in self.kept:
            return self._write(self.kept[target.name], routed)
        count = self.router.on(side).execute(routed)
        if target is not None:
            self.router.changed(routed.tree, side)
        return count

    def _write(self, known: Kept, one: Statement) -> int:
        """Versions of rows are written; how many rows that are."""
        event = (
            "update" if isinstance(one.tree, exp.Update) else "delete" if isinstance(one.tree, exp.Delete) else "insert"
        )
        number, before = self.write(), self.seen
        if event == "insert":
            self._added.add(known.name)
        else:
            kept.hold(self.writes, self.home, known)
        tree = rewritten(one.tree, number, known, self.reader)
        self.raw.command(*Statement(tree, one.values).render("clickhouse"))
        if event != "insert":
            known = self.kept[known.name] = replace(known, revised=True)
        standing = f" AND NOT {quoted(GONE)}" if event == "update" else ""
        place = f"{quoted(self.store.schema)}.{quoted(known.versions)}"
        [(count,)] = self.raw.query(f"SELECT count() FROM {place} WHERE {quoted(WRITE)} = {number}{standing}")
        if count:
            self._feed(known, event, number, before)
        return int(count)

    def _feed(self, known: Kept, event: str, number: int, before: Seen) -> None:
        """The cells that versions changed are marked."""
        query = self.feeds.cells(known, event, number, Reader(self.store.schema, replace(before, below=number)))
        if query is not None:
            self.feeds.mark(known.name, event, self.raw.arrow_of(query, [], self.feeds.columns))

    def _execute_text(self, text: str) -> int:
        """A text that makes or drops something, on the side of what it names."""
        for pattern, run in ((_DROP, self._drop_text), (_CREATE_AS, self._make_as), (_VIEW, self._change_view)):
            found = pattern.match(text)
            if found is not None and found["schema"] == self.store.schema:
                run(found)
                return 0
        return self.home.execute(text)

    def rows(self, one: Statement) -> list[tuple[Any, ...]]:
        """The result of a small query."""
        side, routed = self.router.route(one)
        return self.router.on(side).rows(routed)

    def arrow(self, one: Statement, columns: Sequence[Column], *, few: bool = False) -> pa.Table:
        """The result of a query."""
        side, routed = self.router.route(one)
        return self.router.on(side).arrow(routed, columns, few=few)

    def columns_of(self, one: Statement) -> dict[str, Type]:
        """The columns that a query gives."""
        side, routed = self.router.route(one)
        return self.router.on(side).columns_of(routed)

    def stage(self, name: str, one: Statement) -> None:
        """A temporary table from a query, on the side that it reads."""
        side, routed = self.router.route(one)
        self.router.on(side).stage(name, routed)
        self.router.staged(name, side)

    def load(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """A temporary table, on whichever side needs it."""
        self.router.load(name, columns, rows)

    def append(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """Rows straight into a table of ours."""
        known = self.kept.get(name)
        if known is None:
            self.home.append(name, columns, rows)
            self._covers = self._covers or name == "dayfold__coverage"
            return
        if not rows.num_rows:
            return
        import pyarrow as pa

        number, before = self.write(), self.seen
        self._added.add(name)
        listed = list(columns)
        for mark, value in ((WRITE, number), (GONE, False), (REVISES, False)):
            listed.append(Column(mark, INT if mark == WRITE else BOOL))
            rows = rows.append_column(mark, pa.repeat(pa.scalar(value), rows.num_rows))
        self.raw.insert(f"{quoted(self.store.schema)}.{quoted(known.versions)}", listed, rows)
        self._feed(known, "insert", number, before)

    def analyze(self, name: str) -> None:
        """ClickHouse counts rows itself; what is at home is counted there."""
        if self.router.is_on(name, HOME):
            self.home.analyze(name)

    def plan_joins(self, *, nested: bool) -> None:
        """ClickHouse joins by hashes."""

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Both sides stop after this time."""
        self._limit = (time.monotonic() + seconds, seconds)
        if self._raw is not None:
            self._raw.end_at(*self._limit)
        try:
            with self.home.limit(seconds):
                yield
        finally:
            self._limit = None
            if self._raw is not None:
                self._raw.end_at(None, 0.0)

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
        """A table for versions is there, and known at home. Raises Conflict where there is one of that name."""
        if name in self.kept:
            raise Conflict(f"The table {name} is there already.", hint="Run it again.")
        number = self.write() // STEPS
        known = kept.planned(name, number, columns, identity=identity, required=required, day=day, is_log=is_log)
        self.raw.command(kept.making(known, self.store.schema, self.store.family, durable=True))
        kept.note(self.writes, self.home, known)
        self.kept[name] = known
        self._views.append(name)

    def add_columns(self, name: str, columns: Sequence[Column]) -> None:
        """A table has more columns, NULL in the rows that it has."""
        known = self.kept[name]
        self.write()
        for one in columns:
            # Nobody reads a column that the ledger does not know.
            self.raw.command(
                f"ALTER TABLE {quoted(self.store.schema)}.{quoted(known.versions)} ADD COLUMN IF NOT EXISTS {quoted(one.name)} "
                f"{CLICKHOUSE.nullable(one.type)}"
            )
        known = self.kept[name] = known.with_columns([*known.columns, *columns])
        kept.note_columns(self.writes, self.home, known)
        self._views.append(name)

    def drop(self, name: str, *, at_once: bool = False) -> None:
        """A table is not known any more; its versions go when nobody reads them any more, or ``at_once`` after the commit."""
        known = self.kept.pop(name, None)
        if known is None:
            return
        self.write()
        kept.forget(self.writes, self.home, name)
        self._views.append(name)
        if at_once:
            self._after.append(f"DROP TABLE IF EXISTS {quoted(self.store.schema)}.{quoted(known.versions)} SYNC")

    def renew(self, name: str) -> None:
        """A table stands in new files, with the rows that this transaction shows. Raises Conflict where others have written since."""
        known = self.kept[name]
        kept.hold(self.writes, self.home, known)
        text, _ = Statement(self.reader.rows(known, whole=True)).render("clickhouse")
        hidden = exp.select("1").from_(table(known.versions, self.store.schema))
        hidden = hidden.where(exp.Not(this=self.seen.shows())).limit(1)
        self.drop(name, at_once=True)
        identity = () if known.identity == (ROW,) else known.identity
        self.make(name, known.columns, identity=identity, required=known.required, day=known.month, is_log=known.is_log)
        self.raw.command(kept.inserted(self.kept[name], self.store.schema, text, self.write()))
        if self.raw.rows(Statement(hidden)) and self._is_behind():
            raise Conflict(f"Rows of {name} were published meanwhile.", hint="Run it again.")

    def _is_behind(self) -> bool:
        """Whether anything was published since this transaction began."""
        with self.store.home.transaction(read_only=True) as home:
            now = self.writes.seen(home)
        mine = self.seen
        return now.last > max(mine.last, self._number) or {*now.pending} ^ {*mine.pending} > {self._number}

    def _drop_text(self, found: re.Match[str]) -> None:
        self.drop(found["name"])

    def _make_as(self, found: re.Match[str]) -> None:
        """A table with the rows of a query, of which every temporary table is on this side."""
        text = found["query"]
        self.router.bring_named(text, "rows")
        columns = self.raw.columns_of_text(text)
        self.make(found["name"], [Column(name, type_) for name, type_ in columns.items()])
        known = self.kept[found["name"]]
        names = ", ".join(quoted(one) for one in (*known.names, WRITE, GONE, REVISES))
        place = f"{quoted(self.store.schema)}.{quoted(known.versions)}"
        self.raw.command(f"INSERT INTO {place} ({names}) SELECT *, {self.write()}, false, false FROM ({text})")

    def _change_view(self, found: re.Match[str]) -> None:
        """A view of ours is made, dropped or remarked upon once the transaction is committed."""
        text = found.string
        if text.startswith("COMMENT ON VIEW"):
            place, _, remark = text.removeprefix("COMMENT ON VIEW ").partition(" IS ")
            text = f"ALTER TABLE {place} MODIFY COMMENT {remark}"
        self._after.append(text)


def _covers(one: Statement) -> bool:
    """Whether a statement may change what is covered."""
    if isinstance(one, Constant):
        return "dayfold__coverage" in one.text
    return any(node.name == "dayfold__coverage" for node in one.tree.find_all(exp.Table))


def _beside(node: exp.Table, known: Kept) -> list[exp.Expr]:
    """What is asked of a table that is joined to a temporary one, of which only the rows count that fit."""
    join = node.parent
    if not isinstance(join, exp.Join) or join.this is not node or join.side not in ("", "LEFT"):
        return []
    source = join.parent.args.get("from_") if isinstance(join.parent, exp.Select) else None
    return beside(known, node.alias or node.name, join.args.get("on"), source.this) if source is not None else []
