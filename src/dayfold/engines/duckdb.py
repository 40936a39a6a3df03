"""DuckDB: the embedded store, and a source. Engines floor.

One process owns a DuckDB file, readers included. Other DuckDB files are attached read-only, so reading from
them and publishing into the store is one transaction.

Weakness: DuckDB has no savepoints; one failed statement ends its transaction.
"""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from dayfold import interrupting
from dayfold.define.source import Own, Table
from dayfold.define.types import (
    BOOL,
    DATE,
    FLOAT,
    HASHES,
    INT,
    JSON,
    OTHER,
    TEXT,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    Type,
    decimal,
)  # fmt: skip
from dayfold.engines import freezing, owners
from dayfold.engines.base import Session, make_shape, normal_type, try_making
from dayfold.errors import (
    Busy,
    Conflict,
    ConnectionFailed,
    DayfoldError,
    FileLocked,
    RowsRefused,
    SourceFailed,
    StoreError,
    StoreExhausted,
    StoreMoved,
    TookTooLong,
)
from dayfold.plan.bind import relation
from dayfold.plan.dialect import DUCKDB
from dayfold.plan.longview import MARK
from dayfold.plan.shape import INDEX_SUFFIX, Column, Shape, declared, quoted, rendered
from dayfold.plan.sql import Statement, column, statement, table

if TYPE_CHECKING:
    import pyarrow as pa

# Said of results of few rows, whose copy is wanted.
warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
#: Holds the rows of a table while it is made anew.
_KEPT = "dayfold_kept__"
_KINDS = {
    "BOOLEAN": BOOL, "TINYINT": INT, "SMALLINT": INT, "INTEGER": INT, "BIGINT": INT, "UTINYINT": INT, "USMALLINT": INT,
    "UINTEGER": INT, "UBIGINT": decimal(20, 0), "HUGEINT": decimal(38, 0), "UHUGEINT": decimal(38, 0), "FLOAT": FLOAT,
    "DOUBLE": FLOAT, "VARCHAR": TEXT, "UUID": UUID, "DATE": DATE, "TIMESTAMP": TIMESTAMP, "TIMESTAMP_S": TIMESTAMP,
    "TIMESTAMP_MS": TIMESTAMP, "TIMESTAMP_NS": TIMESTAMP, "TIMESTAMP WITH TIME ZONE": TIMESTAMPTZ, "JSON": JSON, "BIGINT[]": HASHES,
}  # fmt: skip


def logical_type(name: str) -> Type:
    """The type of a column from DuckDB's name for it.

    >>> str(logical_type("DECIMAL(12,2)")), str(logical_type("ENUM('a')"))
    ('decimal(12,2)', 'text')
    """
    if digits := re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", name):
        return decimal(int(digits[1]), int(digits[2]))
    if name.startswith("ENUM("):
        return TEXT
    return _KINDS.get(name, OTHER)


class _Commits:
    """Counts what may change a file: the transactions that this process commits, and each time that it takes the file.

    Weakness: a connection that somebody else opens to the file in this process is not counted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = self._ended = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """One is being committed; whether it succeeds or not, what was read before may have changed."""
        with self._lock:
            self._begun += 1
        try:
            yield
        finally:
            with self._lock:
                self._ended += 1

    def changed(self) -> None:
        """The file was taken; others may have written to it before."""
        with self.one():
            pass

    @property
    def count(self) -> int | None:
        """How many there were; None while one is under way."""
        with self._lock:
            return self._ended if self._begun == self._ended else None


#: By file: a process may open one more than once.
_commits: dict[str, _Commits] = {}


class DuckStore:
    """A DuckDB file, or ``:memory:``, and the files attached to it.

    A file that does not exist is made by the first transaction that may write; until then an empty database in
    memory stands in for it, so that looking leaves nothing behind.
    """

    dialect = DUCKDB

    def __init__(
        self,
        path: str,
        *,
        schema: str = "main",
        attach: Mapping[str, str] | None = None,
        read_only: bool = False,
        memory_limit: str | None = None,
    ) -> None:
        self.path = path
        self.schema = schema
        self.attach = dict(attach or {})
        self.read_only = read_only
        self.memory_limit = memory_limit
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._stands_in = False
        self._attached: set[str] = set()
        self._opening = threading.RLock()
        self._entry = threading.Condition()
        self._running = 0
        #: The thread that has the file for itself, or waits until it has; others wait before they begin.
        self._alone: int | None = None
        self._within = threading.local()
        file = str(Path(path).expanduser().resolve())
        self._commits = _Commits() if path == ":memory:" else _commits.setdefault(file, _Commits())

    @property
    def home(self) -> DuckStore:
        """The ledger stands here too."""
        return self

    @property
    def address(self) -> str:
        """The file."""
        return f"duckdb:///{self.path}"

    @property
    def journal(self) -> Path | None:
        """Beside the file."""
        if self.path == ":memory:" or self.read_only:
            return None
        file = Path(self.path).expanduser()
        return file.with_name(f"{file.name}.journal")

    def open(self) -> None:
        """Own the file, if there is one."""
        self._open(writing=False)

    def _open(self, *, writing: bool) -> duckdb.DuckDBPyConnection:
        """The connection, of which no thread sees anything before all of it is ready."""
        with self._opening:
            if self._connection is not None and not self._stands_in:
                return self._connection
            stands_in = not (writing or self.read_only or self.path == ":memory:" or Path(self.path).exists())
            if self._connection is not None:
                if stands_in:
                    return self._connection
                self.close()
            connection = self._connect(stands_in)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._stands_in = stands_in
            self._connection = connection
            self._commits.changed()
            return connection

    def _connect(self, stands_in: bool) -> duckdb.DuckDBPyConnection:
        folder = Path(self.path).expanduser().parent
        if self.path != ":memory:" and not folder.is_dir():
            raise ConnectionFailed(
                f"The folder of the DuckDB file {self.path} does not exist.",
                hint=f"Make it: mkdir -p {folder}",
            )
        with _connecting(self.path):
            return duckdb.connect(":memory:" if stands_in else self.path, read_only=self.read_only)

    def _prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        # Set here and not at connect, so that the user's own code may open the file in this process too.
        connection.execute("SET GLOBAL autoinstall_known_extensions = false")
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        if self.memory_limit:
            with _connecting(self.path):
                self._limit_memory(connection)
        # Row order is not promised to anyone, and keeping it costs memory in large folds.
        connection.execute("SET GLOBAL preserve_insertion_order = false")
        self._home = connection.execute("SELECT current_database()").fetchall()[0][0]

    def _limit_memory(self, connection: duckdb.DuckDBPyConnection) -> None:
        limit = (
            f"SET GLOBAL memory_limit = {_literal(self.memory_limit)}"
            if self.memory_limit
            else "RESET GLOBAL memory_limit"
        )
        connection.execute(limit)

    def close(self) -> None:
        """Let the file go."""
        with self._opening:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                self._attached.clear()

    def reaches(self, database: str) -> bool:
        """Whether a database is a DuckDB file attached here."""
        return database in self.attach

    def _reach(self, database: str) -> None:
        """Attach a file read-only, once."""
        with self._entry:
            if database in self._attached:
                return
            path = self.attach[database]
            if not Path(path).is_file():
                raise ConnectionFailed(f"The DuckDB file {path} of [databases.{database}] does not exist.")
            assert self._connection is not None
            with _connecting(path):
                self._connection.execute(f"ATTACH {_literal(path)} AS {quoted(database)} (READ_ONLY)")
            self._attached.add(database)

    @contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[DuckSession]:
        """One transaction on a connection of its own; a read-only one is a snapshot as well."""
        with (
            self._counted(),
            _interruptible(),
            self._open(writing=not read_only).cursor() as cursor,
            interrupting.interruptible(cursor.interrupt),
        ):
            session = DuckSession(self, cursor)
            cursor.execute("BEGIN TRANSACTION")
            try:
                yield session
            except BaseException:
                if not session.broken:
                    cursor.execute("ROLLBACK")
                raise
            try:
                with nullcontext() if read_only else self._commits.one():
                    cursor.execute("COMMIT")
            except duckdb.Error as error:
                interrupting.check()
                kind = Conflict if _is_conflict(error) else StoreError
                raise kind(f"{self.address} could not commit ({_kind(error)}).", hint=_advice(error)) from None

    def peek(self, one: Statement) -> list[tuple[Any, ...]]:
        """The result of one small query."""
        with self._counted(), _interruptible(), self._open(writing=False).cursor() as cursor:
            try:
                return cursor.execute(*one.render("duckdb")).fetchall()
            except duckdb.Error as error:
                raise translated(error, self.address) from None

    @property
    def commits(self) -> int | None:
        """How many transactions this process committed to the file, while it has it."""
        return None if self._connection is None or self._stands_in else self._commits.count

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """A transaction; it waits while another thread has the file for itself, but for one within another of its own thread."""
        depth = getattr(self._within, "depth", 0)
        with self._entry:
            while self._alone not in (None, threading.get_ident()) and not depth:
                self._entry.wait()
            self._running += 1
        self._within.depth = depth + 1
        try:
            yield
        finally:
            self._within.depth = depth
            with self._entry:
                self._running -= 1
                self._entry.notify_all()

    @contextmanager
    def alone(self, wait_s: float) -> Iterator[None]:
        """Inside, no other thread has a transaction. Raises Busy where one goes on for longer."""
        until = time.monotonic() + wait_s
        with self._entry:
            while self._alone is not None or self._running:
                mine = self._alone in (None, threading.get_ident())
                self._alone = threading.get_ident() if mine else self._alone
                if not self._entry.wait(max(until - time.monotonic(), 0)) and time.monotonic() >= until:
                    self._alone = None if mine else self._alone
                    self._entry.notify_all()
                    raise Busy(f"{self.address} is being worked with.", hint="Try again once it is quiet.")
                if mine and not self._running:
                    break
            self._alone = threading.get_ident()
        try:
            yield
        finally:
            with self._entry:
                self._alone = None
                self._entry.notify_all()

    def rewrite(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """The whole file is written anew: freed blocks keep what they held, and no statement of DuckDB's overwrites them."""
        from dayfold.engines import rewriting

        return rewriting.rewrite(self)

    def trim(self) -> None:
        """Drop the blocks of the file that are kept for another read; not while a transaction needs memory."""
        with self._entry, _interruptible():
            if self._running or self._alone is not None or self._connection is None or self.path == ":memory:":
                return
            # DuckDB drops kept blocks where a lower limit asks for it, and refuses the limit when some are needed.
            try:
                with suppress(duckdb.OutOfMemoryException):
                    self._connection.execute("SET GLOBAL memory_limit = '1MB'")
            finally:
                self._limit_memory(self._connection)

    def qualify(self, source: Table) -> Table:
        """A table of an attached file is named with the file, one that we keep with our schema."""
        if isinstance(source, Own):
            return Table(f"{self.schema}.{source.name}")
        if source.database and source.name is not None and self.reaches(source.database):
            schema, _, name = source.name.rpartition(".")
            return Table(f"{source.database}.{schema or 'main'}.{name}")
        return source

    def describe(self, source: Table) -> dict[str, Type]:
        """A source's columns in order."""
        with self.transaction(read_only=True) as session, session.within(source):
            text, _ = Statement(statement("select * from _s", _s=relation(self.qualify(source))).tree).render("duckdb")
            try:
                found = session.cursor.execute(f"DESCRIBE {text}").fetchall()
            except duckdb.Error as error:
                session.broken = True
                session.cursor.execute("ROLLBACK")
                interrupting.check()
                # Describing reads no row, so the engine's words hold none; they point at the mistake in the user's own SQL.
                words = str(error).strip().splitlines()[0] if source.sql is not None else ""
                raise SourceFailed(
                    f"{source.title} cannot be read ({_kind(error)}).", source=source.label, hint=words
                ) from None
        return {name: logical_type(type_) for name, type_, *_ in found}

    def tables(self, database: str | None = None) -> list[str]:
        """Tables and views of the store, or of an attached file."""
        self.open()
        if database:
            self._reach(database)
        with self.transaction(read_only=True) as session:
            found = session.rows(statement(
                "select table_schema, table_name from information_schema.tables where table_catalog = :home order by "
                "1, 2", home=database or self._home
            ))  # fmt: skip
            ours = [] if database else [name for name, text in self.remarks(session).items() if text.startswith(MARK)]
        return [
            name if schema == "main" else f"{schema}.{name}"
            for schema, name in found
            if not (name.startswith("dayfold_") or (schema == self.schema and name in ours))
        ]

    def make_schema(self, session: Session) -> None:
        """The schema for tables of ours is there."""
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(self.schema)}")

    def check_writable(self) -> None:
        """Whether tables can be made in the file, or the file itself where there is none yet."""
        self.open()
        if not self._stands_in:
            try_making(self)
        elif not os.access(Path(self.path).expanduser().parent, os.W_OK):
            raise StoreError(f"{self.address} cannot be made: its folder may not be written to.")

    def stored_columns(self, session: Session, names: Sequence[str]) -> Mapping[str, dict[str, str]]:
        """The columns of tables that exist."""
        found: dict[str, dict[str, str]] = {}
        # DuckDB takes names that differ in case for the same one.
        asked = {name.lower(): name for name in names}
        query = statement(
            "select table_name, column_name, data_type from duckdb_columns() where database_name = :home and "
            "schema_name = :schema "
            "order by table_name, column_index", "duckdb", home=self._home, schema=self.schema,
        )  # fmt: skip
        for owner, name, type_ in session.rows(query):
            if owner.lower() in asked:
                found.setdefault(asked[owner.lower()], {})[name] = type_
        return found

    def refit(self, session: Session, shape: Shape, found: Mapping[str, str], *, rekeyed: bool) -> None:
        """Make the table anew with the rows that stay; the indexes that users added stay where their columns do.

        DuckDB alters no table that has an index, nor a column that had one before this transaction.
        """
        expected = {one.name: normal_type(DUCKDB, one.type) for one in shape.columns}
        if found == expected and not rekeyed:
            return
        added = {
            name: text
            for name, text in self.stored_indexes(session, shape.name).items()
            if not name.endswith(INDEX_SUFFIX)
        }
        kept = [] if rekeyed else [name for name, type_ in expected.items() if found.get(name) == type_]
        if kept:
            session.stage(_KEPT, Statement(exp.select(*map(column, kept)).from_(shape.table)))
        session.execute(f"DROP TABLE {rendered(shape.table)}")
        make_shape(session, shape)
        if kept:
            names = ", ".join(map(quoted, kept))
            session.execute(f"INSERT INTO {rendered(shape.table)} ({names}) SELECT {names} FROM {quoted(_KEPT)}")
        gone = [name for name, type_ in found.items() if expected.get(name) != type_]
        for text in added.values():
            indexed = text.partition(" ON ")[2].partition("(")[2]
            if not any(re.search(rf"\b{re.escape(name)}\b", indexed) for name in gone):
                session.execute(text)

    def stored_indexes(self, session: Session, table: str) -> dict[str, str]:
        """The indexes of a table."""
        query = statement(
            "select index_name, sql from duckdb_indexes() where database_name = :home and schema_name = :schema and "
            "table_name = :name",
            "duckdb", home=self._home, schema=self.schema, name=table,
        )  # fmt: skip
        return dict(session.rows(query))

    def remarks(self, session: Session) -> dict[str, str]:
        """The views of our schema that have a comment, with it."""
        query = statement(
            "select view_name, comment from duckdb_views() where database_name = :home and schema_name = :schema and "
            "not comment is null",
            "duckdb", home=self._home, schema=self.schema,
        )  # fmt: skip
        return dict(session.rows(query))

    def views_on(self, session: Session, names: Sequence[str]) -> list[str]:
        """The views whose text names one of the tables: DuckDB keeps no dependencies of views."""
        query = statement(
            "select view_name, sql from duckdb_views() where not internal and database_name = :home and "
            "not starts_with(coalesce(comment, ''), :mark)",
            "duckdb", home=self._home, mark=MARK,
        )  # fmt: skip
        mine = [(name, text) for name, text in session.rows(query) if not name.startswith("dayfold_")]
        return [
            name
            for name, text in mine
            if any(re.search(rf"\b{re.escape(one)}\b", text, re.IGNORECASE) for one in names)
        ]

    def leads(self, session: Session, source: Table, keys: Sequence[str], moment: str | None = None) -> bool:
        """DuckDB finds ranges by the bounds of its blocks, not by an index."""
        return False

    def sizes(self, session: Session, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Rows, which DuckDB knows without counting, and bytes of the blocks in use."""
        present = self.stored_columns(session, names)
        found = {}
        for name in present:
            rows = session.rows(statement("select count(*) from _t", "duckdb", _t=table(name, self.schema)))[0][0]
            blocks = session.rows(
                statement(
                    "select count(distinct block_id) * (select any_value(block_size) from pragma_database_size()) "
                    "from pragma_storage_info(:name) where block_id >= 0",
                    "duckdb",
                    name=f"{quoted(self.schema)}.{quoted(name)}",
                )
            )
            found[name] = (rows, int(blocks[0][0] or 0))
        return found

    def freeze(self, session: Session, names: Sequence[str], why: str | None) -> None:
        """Triggers refuse whoever writes."""
        found = session.rows(
            statement(
                "select trigger_name, table_name from duckdb_triggers() where database_name = :home and schema_name = :schema and "
                "starts_with(trigger_name, :begin)",
                "duckdb", home=self._home, schema=self.schema, begin=freezing.PREFIX,
            )
        )  # fmt: skip
        for text in freezing.duckdb(self.schema, names, found, why):
            session.execute(text)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C while DuckDB works is the interruption that it is anywhere else, and not an error of DuckDB's."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from None
        raise
    except duckdb.InterruptException:
        interrupting.check()
        raise


class DuckSession:
    """One DuckDB transaction."""

    def __init__(self, store: DuckStore, cursor: duckdb.DuckDBPyConnection) -> None:
        self.store = store
        self.cursor = cursor
        self.broken = False
        self._loads = 0

    def _run(self, text: str, values: Sequence[Any]) -> duckdb.DuckDBPyConnection:
        interrupting.check()
        try:
            return self.cursor.execute(text, list(values))
        except duckdb.Error as error:
            raise self._broken_by(error) from None

    def _broken_by(self, error: duckdb.Error) -> DayfoldError:
        """What ended the transaction; KeyboardInterrupt is raised where that was whoever interrupts this work."""
        self._break()
        interrupting.check()
        return translated(error, self.store.address)

    def _break(self) -> None:
        """End a transaction that a failed statement has made useless."""
        if not self.broken:
            self.broken = True
            self.cursor.execute("ROLLBACK")

    def execute(self, one: Statement | str) -> int:
        """Run a statement; the rows it affected."""
        result = self._run(one, []) if isinstance(one, str) else self._run(*one.render("duckdb"))
        row = result.fetchone()
        return int(row[0]) if row and isinstance(row[0], int) else 0

    def rows(self, one: Statement) -> list[tuple[Any, ...]]:
        """The result of a small query. Moments must be selected as text or numbers."""
        return self._run(*one.render("duckdb")).fetchall()

    def columns_of(self, one: Statement) -> dict[str, Type]:
        """The columns that a query gives."""
        text, values = one.render("duckdb")
        return {row[0]: logical_type(row[1]) for row in self._run(f"DESCRIBE {text}", values).fetchall()}

    def arrow(self, one: Statement, columns: Sequence[Column], *, few: bool = False) -> pa.Table:
        """The result of a query; one of few rows is copied once more, which takes less than planning it twice."""
        text, values = one.render("duckdb")
        try:
            interrupting.check()
            return (self.cursor.execute(text, values) if few else self.cursor.sql(text, params=values)).to_arrow_table()
        except duckdb.Error as error:
            raise self._broken_by(error) from None

    def stage(self, name: str, one: Statement) -> None:
        """A temporary table from a query."""
        text, values = one.render("duckdb")
        self._run(f"CREATE OR REPLACE TEMP TABLE {quoted(name)} AS {text}", values)

    def load(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """A temporary table from Arrow."""
        with self._seen(columns, rows) as select:
            self._run(f"CREATE OR REPLACE TEMP TABLE {quoted(name)} AS {select}", [])

    def make(
        self, name: str, columns: Sequence[Column], *,
        identity: Sequence[str] = (), required: Collection[str] = (), day: str | None = None, is_log: bool = False,
    ) -> None:  # fmt: skip
        """A table is there; what tells its rows apart is for its indexes to say."""
        parts = (declared(DUCKDB, one) + (" NOT NULL" if one.name in required else "") for one in columns)
        self._run(f"CREATE TABLE {quoted(self.store.schema)}.{quoted(name)} ({', '.join(parts)})", [])

    def add_columns(self, name: str, columns: Sequence[Column]) -> None:
        """The columns are there too."""
        for one in columns:
            self._run(f"ALTER TABLE {quoted(self.store.schema)}.{quoted(name)} ADD COLUMN {declared(DUCKDB, one)}", [])

    def append(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """Rows straight from Arrow."""
        names = ", ".join(quoted(one.name) for one in columns)
        with self._seen(columns, rows) as select:
            self._run(f"INSERT INTO {quoted(self.store.schema)}.{quoted(name)} ({names}) {select}", [])

    @contextmanager
    def _seen(self, columns: Sequence[Column], rows: pa.Table) -> Iterator[str]:
        """A select of Arrow rows, each column as its type, for as long as the context lasts."""
        self._loads += 1
        view = f"dayfold_arrow_{self._loads}__"
        self.cursor.register(view, rows)
        casts = ", ".join(
            f"CAST({quoted(one.name)} AS {DUCKDB.type_name(one.type)}) AS {quoted(one.name)}" for one in columns
        )
        yield f"SELECT {casts} FROM {quoted(view)}"
        self.cursor.unregister(view)

    def analyze(self, name: str) -> None:
        """DuckDB knows how many rows a table has."""

    def plan_joins(self, *, nested: bool) -> None:
        """DuckDB joins by hashes."""

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Interrupt what runs past the limit."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self.cursor.interrupt()

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            yield
        except (DayfoldError, KeyboardInterrupt, RuntimeError):
            if not late.is_set():
                raise
            self._break()
            raise TookTooLong(f"It takes longer than {seconds:g} s.") from None
        finally:
            timer.cancel()

    @contextmanager
    def within(self, source: Table) -> Iterator[None]:
        """Inside, unqualified names of a source's own SQL are those of its file."""
        database = source.database
        if not database or not self.store.reaches(database):
            yield
            return
        self.store._reach(database)
        if source.sql is None:
            yield
            return
        self._run(f"USE {quoted(database)}", [])
        yield
        self._run(f"USE {quoted(self.store._home)}", [])

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """The schema stands first in the search path of this connection, which ends with the transaction."""
        home = quoted(self.store._home)
        path = ",".join(f"{home}.{quoted(schema)}" for schema in dict.fromkeys([self.store.schema, "main"]))
        self._run(f"SET search_path = {_literal(path)}", [])
        yield


def translated(error: duckdb.Error, address: str) -> DayfoldError:
    """A DuckDB error as one of ours; its text may hold values of rows, so only its kind is passed on."""
    if (why := freezing.told(str(error))) is not None:
        return StoreMoved(why)
    if isinstance(error, duckdb.ConversionException | duckdb.OutOfRangeException | duckdb.InvalidInputException):
        kind = "a number left its range" if _left_range(error) else _kind(error)
        return SourceFailed(f"a value cannot be computed with ({kind})", hint=_advice(error))
    if isinstance(error, duckdb.ConstraintException) and re.search(r"CHECK|NOT NULL|foreign key", str(error)):
        return RowsRefused(f"{address} refused rows ({_kind(error)}).", hint=_advice(error))
    if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException):
        return StoreExhausted(f"{address} refused a statement ({_kind(error)}).", hint=_advice(error))
    refused = Conflict if _is_conflict(error) else StoreError
    return refused(f"{address} refused a statement ({_kind(error)}).", hint=_advice(error))


def _is_conflict(error: duckdb.Error) -> bool:
    """Whether another transaction was quicker: the same rows written, the same key inserted, the same table made."""
    text = str(error)
    return (
        (isinstance(error, duckdb.TransactionException) and ("onflict" in text or "constraint violation" in text))
        or isinstance(error, duckdb.ConstraintException)
        or (isinstance(error, duckdb.CatalogException) and "already exists" in text)
    )


def _kind(error: duckdb.Error) -> str:
    """The error's class in words, without its message."""
    name = re.sub(r"(Exception|Error)$", "", type(error).__name__)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _left_range(error: duckdb.Error) -> bool:
    """Whether a number became too large: an arithmetic overflow, or a wide sum that its column cannot hold."""
    return isinstance(error, duckdb.OutOfRangeException) or "value is out of range" in str(error)


def _advice(error: duckdb.Error) -> str:
    text = str(error)
    if _left_range(error):
        return "An integer sum beyond 64 bits, or a decimal beyond its digits."
    if isinstance(error, duckdb.ConversionException | duckdb.InvalidInputException):
        return "A value does not have the form that a cast or a moment in the definition expects."
    if "No space left" in text or isinstance(error, duckdb.OutOfMemoryException):
        return "The disk or the memory is full. Nothing was published; free some space and run it again."
    if isinstance(error, duckdb.TransactionException):
        return "Another transaction changed the same rows. Nothing was published; run it again."
    if isinstance(error, duckdb.CatalogException | duckdb.BinderException):
        return text.splitlines()[0]
    return ""


@contextmanager
def _connecting(path: str) -> Iterator[None]:
    """Says why a DuckDB file cannot be opened."""
    try:
        yield
    except duckdb.Error as error:
        text = str(error)
        if "lock" in text and (holder := re.search(r"held in (.+?) \(PID (\d+)\)", text)):
            raise _locked(path, Path(holder[1]).name, int(holder[2])) from None
        if "not a valid DuckDB database" in text:
            raise ConnectionFailed(f"{path} is not a DuckDB file.") from None
        if isinstance(error, duckdb.SerializationException) or "version" in text:
            raise ConnectionFailed(
                f"The DuckDB file {path} was made by another version of DuckDB that this one cannot read."
            ) from None
        reason = text.rpartition(": ")[2].strip() if isinstance(error, duckdb.IOException) else _kind(error)
        raise ConnectionFailed(f"The DuckDB file {path} cannot be opened: {reason}.") from None


def _locked(path: str, program: str, pid: int) -> FileLocked:
    """The error that names who holds a file and, where that is a server of ours, how to reach it."""
    owner = owners.read(owners.beside(path))
    if owner is not None and owner.pid == pid:
        return FileLocked(
            f"The DuckDB file {path} is in use by {owner.title} at {owner.url}.",
            path=path,
            hint="One process owns a DuckDB file at a time. Commands with its definitions run in that server by themselves; "
            "everything else asks its HTTP API, or stops it first.",
        )
    return FileLocked(
        f"The DuckDB file {path} is in use by {program} (process {pid}).",
        path=path,
        hint="One process owns a DuckDB file at a time, readers included. Let that process finish, or stop it.",
    )


def _literal(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
