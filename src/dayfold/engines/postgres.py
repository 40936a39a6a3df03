"""PostgreSQL 15 or later: the production store, and the main source. Engines floor.

Rows travel between PostgreSQL and other databases as CSV that Arrow writes and reads, so no row passes
through Python. Session settings are made per transaction, so that a connection pooler in between is harmless.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

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
    Kind,
    Type,
    decimal,
)  # fmt: skip
from dayfold.engines import freezing
from dayfold.engines.base import Session, normal_type, try_making
from dayfold.engines.csv import from_csv, to_csv, written
from dayfold.errors import (
    Busy,
    ConfigError,
    Conflict,
    ConnectionFailed,
    DayfoldError,
    MissingDriver,
    RowsRefused,
    SourceFailed,
    StoreError,
    StoreExhausted,
    StoreMoved,
    TookTooLong,
)
from dayfold.plan.bind import relation
from dayfold.plan.dialect import POSTGRES
from dayfold.plan.longview import MARK
from dayfold.plan.shape import INDEX_SUFFIX, Column, Shape, declared, quoted, rendered
from dayfold.plan.sql import Statement, derived, statement, table

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa

_OIDS = {
    16: BOOL, 20: INT, 21: INT, 23: INT, 700: FLOAT, 701: FLOAT, 25: TEXT, 1043: TEXT, 1042: TEXT, 19: TEXT, 2950: UUID,
    1082: DATE, 1114: TIMESTAMP, 1184: TIMESTAMPTZ, 114: JSON, 3802: JSON, 1016: HASHES,
}  # fmt: skip
_NUMERIC_OID = 1700
_SETTINGS = (
    "SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, YMD', true), "
    "set_config('IntervalStyle', 'postgres', true), "
    "set_config('extra_float_digits', '1', true), set_config('standard_conforming_strings', 'on', true)"
)
_MINIMUM_VERSION = 150000
#: A table smaller than this is counted for its number of rows.
_COUNTED_BYTES = 64_000_000
ADDRESS_HINT = "Expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for @, %2F for / and %20 for a space inside a part."


#: How long rewriting waits for others to let a table go, and how often it looks.
_REWRITE_WAIT_S, _REWRITE_POLL_S = 30, 0.1
_STATISTICS = "what PostgreSQL's planner keeps of values (pg_statistic), until its next vacuum: VACUUM FULL pg_statistic, as superuser"
#: VACUUM skips what a user may not vacuum with a warning alone.
_HAS_OLD_STATISTICS = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
#: Snapshots as old as a transaction or older; an age counts from now on, so it needs no wrapping number. A new snapshot is as old
#: as the oldest transaction that writes anywhere on the server, in other databases too, and the one that rewrites goes by it.
_OLD_SNAPSHOTS = """
SELECT cast(cast(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) <= $1 OR count(*) > 0
FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()
AND backend_xmin IS NOT NULL AND age(backend_xmin) > age(cast(cast($1 % 4294967296 AS text) AS xid))
"""


class PostgresStore:
    """One PostgreSQL database."""

    dialect = POSTGRES

    def __init__(self, url: str, *, schema: str | None = None) -> None:
        self.url = url
        self._schema = schema
        self.schema = schema or "public"
        self._idle: list[psycopg.Connection[Any]] = []
        self._opened = False
        self._opening = threading.Lock()

    @property
    def home(self) -> PostgresStore:
        """The ledger stands here too."""
        return self

    @property
    def address(self) -> str:
        """Host, port and database, never the user's password."""
        parts = urlsplit(self.url)
        words = dict(parse_qsl(parts.query))
        host = words.get("host") or parts.hostname or "localhost"
        port = words.get("port") or parts.port
        return f"postgresql://{host}{f':{port}' if port else ''}{parts.path}"

    @property
    def journal(self) -> None:
        """Many processes write to a server, and each may end for good."""

    def open(self) -> None:
        """Connect and find the schema that new tables go to."""
        with self._opening:
            if self._opened:
                return
            connection = self._connect()
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
            self._opened = True

    def _prepare(self, connection: psycopg.Connection[Any]) -> None:
        if connection.info.server_version < _MINIMUM_VERSION:
            version = connection.info.server_version // 10000
            raise ConnectionFailed(f"{self.address} is PostgreSQL {version}; Dayfold needs 15 or later.")
        if self._schema is None:
            with self._translating():
                found = connection.execute("SELECT coalesce(current_schema(), 'public')").fetchall()
            self.schema = found[0][0]

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            import psycopg
        except ImportError:
            raise MissingDriver(
                f"{self.address} needs the PostgreSQL driver, which is not installed.",
                hint="Install it: pip install 'dayfold[postgres]'",
            ) from None
        try:
            return psycopg.connect(
                self.url,
                autocommit=True,
                application_name="dayfold",
                cursor_factory=psycopg.RawCursor,
                connect_timeout=10,
                # A pooler in between may give the next statement to another server process, which has not prepared it.
                prepare_threshold=None,
            )
        except psycopg.ProgrammingError:
            # The driver's own words would show the part that it cannot read, which may be the password.
            raise ConfigError(f"The address of {self.address} cannot be read.", hint=ADDRESS_HINT) from None
        except psycopg.Error as error:
            raise ConnectionFailed(
                f"{self.address} cannot be reached: {_reason(error)}.",
                hint="`dayfold doctor` checks every connection.",
            ) from None

    def close(self) -> None:
        """Close all connections."""
        while self._idle:
            self._idle.pop().close()
        self._opened = False

    def reaches(self, database: str) -> bool:
        """PostgreSQL reads no other database in its own transactions."""
        return False

    def qualify(self, source: Table) -> Table:
        """Names are as they are; the tables that we keep are in our schema."""
        return Table(f"{self.schema}.{source.name}") if isinstance(source, Own) else source

    @contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[PostgresSession]:
        """One transaction over one snapshot, on a connection of its own."""
        self.open()
        import psycopg

        connection = self._begun("READ ONLY" if read_only else "READ WRITE")
        try:
            with interrupting.interruptible(connection.cancel):
                yield PostgresSession(self, connection)
                with self._translating():
                    connection.execute("COMMIT")
        except BaseException:
            if not connection.closed:
                try:
                    connection.execute("ROLLBACK")
                except psycopg.Error:
                    connection.close()
            raise
        finally:
            if not connection.closed:
                self._idle.append(connection)

    def peek(self, one: Statement) -> list[tuple[Any, ...]]:
        """The result of one small query, without a transaction around it."""
        self.open()
        connection, cursor = self._first(*one.render("postgres"))
        try:
            return cursor.fetchall()
        finally:
            self._idle.append(connection)

    @property
    def commits(self) -> int | None:
        """Others write as well."""
        return None

    def _begun(self, mode: str) -> psycopg.Connection[Any]:
        """A connection in a new transaction."""
        return self._first(f"BEGIN ISOLATION LEVEL REPEATABLE READ {mode}; {_SETTINGS}")[0]

    def _first(self, text: str, values: Sequence[Any] = ()) -> tuple[psycopg.Connection[Any], psycopg.Cursor[Any]]:
        """A connection with the result of a first statement. The server may have ended those that were idle; then it is another one."""
        import psycopg

        interrupting.check()
        while True:
            try:
                connection, was_idle = self._idle.pop(), True
            except IndexError:
                connection, was_idle = self._connect(), False
            try:
                return connection, connection.execute(text, values or None)
            except psycopg.Error as error:
                was_ended = connection.closed or isinstance(error, psycopg.OperationalError)
                if was_ended or connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
                    connection.close()
                else:
                    self._idle.append(connection)
                if not (was_ended and was_idle):
                    raise translated(error, self.address) from None
            except BaseException:
                connection.close()
                raise

    @contextmanager
    def _translating(self, limit_s: float = 0) -> Iterator[None]:
        import psycopg

        interrupting.check()
        try:
            yield
        except psycopg.errors.QueryCanceled as error:
            interrupting.check()
            if limit_s:
                raise TookTooLong(f"It takes longer than {limit_s:g} s.") from None
            raise translated(error, self.address) from None
        except psycopg.Error as error:
            raise translated(error, self.address) from None

    def describe(self, source: Table) -> dict[str, Type]:
        """A source's columns in order."""
        with self.transaction(read_only=True) as session:
            try:
                columns = session.describe(statement("select * from _s limit 0", _s=relation(source)))
            except DayfoldError as error:
                raise SourceFailed(
                    f"{source.title} cannot be read: {error.message}", source=source.label, hint=error.hint
                ) from None
            enums = {
                oid for (oid,) in session.rows(statement("select cast(oid as bigint) from pg_type where typtype = 'e'"))
            }
        return {
            name: TEXT if oid in enums else _logical_type(oid, precision, scale)
            for name, oid, precision, scale in columns
        }

    def tables(self, database: str | None = None) -> list[str]:
        """Tables and views that the user sees."""
        query = statement(
            "select n.nspname, c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
            "where c.relkind in ('r', 'v', 'm', 'p', 'f') and n.nspname not in ('pg_catalog', 'information_schema', "
            "'pg_toast') and not starts_with(coalesce(obj_description(c.oid, 'pg_class'), ''), :mark) order by 1, 2",
            mark=MARK,
        )
        with self.transaction(read_only=True) as session:
            home = session.rows(statement("select current_schema()"))[0][0]
            found = session.rows(query)
        return [
            name if schema == home else f"{schema}.{name}" for schema, name in found if not name.startswith("dayfold_")
        ]

    def trim(self) -> None:
        """The server keeps its own memory."""

    def rewrite(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """The tables and their indexes are written anew, and so is what the planner keeps of their values, where the user may."""
        import psycopg

        self.open()
        with self.transaction(read_only=True) as session:
            present = sorted(self.stored_columns(session, names))
        missed = ["PostgreSQL's write-ahead log and its archive, until their files are recycled"]
        connection, _ = self._first("SELECT 1")
        try:
            self._await_old_snapshots(connection)
            with self._translating():
                connection.execute(f"SET lock_timeout = '{_REWRITE_WAIT_S}s'")
                for name in present:
                    connection.execute(f"VACUUM (FULL, ANALYZE) {quoted(self.schema)}.{quoted(name)}")
                try:
                    connection.execute("VACUUM (FULL) pg_catalog.pg_statistic")
                except psycopg.errors.InsufficientPrivilege:
                    missed.append(_STATISTICS)
                if not connection.execute(_HAS_OLD_STATISTICS).fetchall()[0][0]:
                    missed.append(_STATISTICS)
        finally:
            # It goes with its settings.
            connection.close()
        return [f"the table {name}" for name in present], list(dict.fromkeys(missed))

    def _await_old_snapshots(self, connection: psycopg.Connection[Any]) -> None:
        """No transaction is left that could still see what was deleted: such rows would be written anew as well. Raises Busy."""
        with self._translating():
            [(now,)] = connection.execute("SELECT cast(cast(pg_current_xact_id() AS text) AS bigint)").fetchall()
            until = time.monotonic() + _REWRITE_WAIT_S
            while connection.execute(_OLD_SNAPSHOTS, [now]).fetchall()[0][0]:
                if time.monotonic() >= until:
                    raise Busy(
                        f"A transaction of {self.address}, or of its server, that began before is still open, and sees what was deleted.",
                        hint="End it, and run the same again; nothing is lost.",
                    )
                time.sleep(_REWRITE_POLL_S)

    def make_schema(self, session: Session) -> None:
        """The schema for tables of ours is there; making it takes a right that using it does not."""
        if not session.rows(statement("select 1 from pg_namespace where nspname = :name", name=self.schema)):
            session.execute(f"CREATE SCHEMA {quoted(self.schema)}")

    def check_writable(self) -> None:
        """Whether tables can be made in the schema."""
        try_making(self)

    def stored_columns(self, session: Session, names: Sequence[str]) -> Mapping[str, dict[str, str]]:
        """The columns of tables that exist."""
        query = statement(
            "select c.relname, a.attname, format_type(a.atttypid, a.atttypmod) from pg_class as c join pg_namespace as "
            "n on n.oid = c.relnamespace "
            "join pg_attribute as a on a.attrelid = c.oid where n.nspname = :schema and c.relname = any(:names) and "
            "a.attnum > 0 and not a.attisdropped "
            "order by c.relname, a.attnum", schema=self.schema, names=list(names),
        )  # fmt: skip
        found: dict[str, dict[str, str]] = {}
        for name, column, type_ in session.rows(query):
            found.setdefault(name, {})[column] = type_
        return found

    def refit(self, session: Session, shape: Shape, found: Mapping[str, str], *, rekeyed: bool) -> None:
        """Alter the table: grants, policies and views keep hold of it."""
        expected = {one.name: normal_type(POSTGRES, one.type) for one in shape.columns}
        gone = [name for name, type_ in found.items() if expected.get(name) != type_]
        fresh = [one for one in shape.columns if found.get(one.name) != expected[one.name]]
        if not (gone or fresh or rekeyed):
            return
        target = rendered(shape.table)
        for name in self.stored_indexes(session, shape.name):
            if name.endswith(INDEX_SUFFIX):
                session.execute(f"DROP INDEX {quoted(self.schema)}.{quoted(name)}")
        if rekeyed:
            session.execute(f"DELETE FROM {target}")
        for name in gone:
            session.execute(f"ALTER TABLE {target} DROP COLUMN {quoted(name)}")
        for one in fresh:
            session.execute(f"ALTER TABLE {target} ADD COLUMN {declared(POSTGRES, one)}")
            if one.name in shape.required:
                session.execute(f"ALTER TABLE {target} ALTER COLUMN {quoted(one.name)} SET NOT NULL")

    def stored_indexes(self, session: Session, table: str) -> dict[str, str]:
        """The indexes of a table."""
        query = statement(
            "select indexname, indexdef from pg_indexes where schemaname = :schema and tablename = :name",
            schema=self.schema,
            name=table,
        )
        return dict(session.rows(query))

    def remarks(self, session: Session) -> dict[str, str]:
        """The views of our schema that have a comment, with it."""
        query = statement(
            "select c.relname, d.description from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
            "join pg_description as d on d.objoid = c.oid and d.classoid = 'pg_class'::regclass and d.objsubid = 0 "
            "where n.nspname = :schema and c.relkind = 'v'",
            schema=self.schema,
        )
        return dict(session.rows(query))

    def views_on(self, session: Session, names: Sequence[str]) -> list[str]:
        """The views and materialized views that read one of the tables, the long view apart."""
        query = statement(
            "select distinct cast(cast(v.oid as regclass) as text) from pg_depend as d join pg_rewrite as w on w.oid = d.objid "
            "join pg_class as v on v.oid = w.ev_class join pg_class as t on t.oid = d.refobjid "
            "join pg_namespace as n on n.oid = t.relnamespace where d.classid = 'pg_rewrite'::regclass and "
            "v.oid <> t.oid and n.nspname = :schema and t.relname = any(:names) and "
            "not starts_with(coalesce(obj_description(v.oid, 'pg_class'), ''), :mark) order by 1",
            schema=self.schema, names=list(names), mark=MARK,
        )  # fmt: skip
        return [name for (name,) in session.rows(query)]

    def leads(self, session: Session, source: Table, keys: Sequence[str], moment: str | None = None) -> bool:
        """Whether a valid index begins with the key columns, in any order, and goes on with the moment where one is named.

        An enum in it leads nowhere: keys compare as text.
        """
        if source.name is None or not keys:
            return False
        query = statement(
            "select array_agg(case when t.typtype <> 'e' then a.attname::text end order by u.place) from pg_index as i "
            "cross join lateral unnest(i.indkey::smallint[]) with ordinality as u(number, place) "
            "left join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = u.number "
            "left join pg_type as t on t.oid = a.atttypid where i.indrelid = to_regclass(:name) and i.indisvalid "
            "and i.indpred is null group by i.indexrelid",
            name=".".join(quoted(part) for part in str(self.qualify(source).name).split(".")),
        )
        found = [list(names) for (names,) in session.rows(query)]
        on = [] if moment is None else [moment]
        return any(set(names[: len(keys)]) == set(keys) and names[len(keys) :][: len(on)] == on for names in found)

    def sizes(self, session: Session, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Rows, of large tables as the planner estimates them, and bytes with indexes."""
        query = statement(
            "select c.relname, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid) from pg_class as c "
            "join pg_namespace as n on n.oid = c.relnamespace where n.nspname = :schema and c.relname = any(:names)",
            schema=self.schema, names=list(names),
        )  # fmt: skip
        found = {}
        for name, rows, size in session.rows(query):
            if size < _COUNTED_BYTES:
                rows = session.rows(statement("select count(*) from _t", _t=table(name, self.schema)))[0][0]  # noqa: PLW2901
            found[name] = (rows, size)
        return found

    def freeze(self, session: Session, names: Sequence[str], why: str | None) -> None:
        """Triggers refuse whoever writes; making them waits for transactions that have written, and no longer than for a while."""
        session.execute(f"SET LOCAL lock_timeout = '{_REWRITE_WAIT_S}s'")
        for text in freezing.postgres(self.schema, names, why):
            session.execute(text)


class PostgresSession:
    """One PostgreSQL transaction."""

    def __init__(self, store: PostgresStore, connection: psycopg.Connection[Any]) -> None:
        self.store = store
        self.connection = connection
        self._ends_at: float | None = None
        self._limit_s = 0.0
        self._staged: set[str] = set()

    def _check_time(self) -> None:
        """Give the next statement the time that is left, where it is limited."""
        if self._ends_at is None:
            return
        left_ms = int((self._ends_at - time.monotonic()) * 1000)
        if left_ms <= 0:
            raise TookTooLong(f"It takes longer than {self._limit_s:g} s.")
        self.connection.execute(f"SET LOCAL statement_timeout = {left_ms}")

    def _run(self, text: str, values: Sequence[Any]) -> psycopg.Cursor[Any]:
        with self.store._translating(limit_s=self._limit_s):
            self._check_time()
            # Not prepared: the planner should see the values of every range.
            return self.connection.execute(text, values or None, prepare=False)

    def execute(self, one: Statement | str) -> int:
        """Run a statement; the rows it affected."""
        cursor = self._run(one, []) if isinstance(one, str) else self._run(*one.render("postgres"))
        return max(cursor.rowcount, 0)

    def rows(self, one: Statement) -> list[tuple[Any, ...]]:
        """The result of a small query."""
        return self._run(*one.render("postgres")).fetchall()

    def describe(self, one: Statement) -> list[tuple[str, int, int | None, int | None]]:
        """The columns of a query: name, type id, precision and scale."""
        cursor = self._run(*one.render("postgres"))
        return [(c.name, c.type_code, c.precision, c.scale) for c in cursor.description or ()]

    def columns_of(self, one: Statement) -> dict[str, Type]:
        """The columns that a query gives."""
        limited = Statement(exp.select("*").from_(derived(one.built().tree, "q")).limit(0), one.values)
        return {name: _logical_type(oid, precision, scale) for name, oid, precision, scale in self.describe(limited)}

    def arrow(self, one: Statement, columns: Sequence[Column], *, few: bool = False) -> pa.Table:
        """The result of a query, read as CSV: the driver takes rows of a COPY one by one, which is slow for few and light for many."""
        if few:
            text, values = one.render("postgres")
            found = self._run(text, [_parameter(value) for value in values]).pgresult
            assert found is not None
            places = range(len(columns))
            rows = ([found.get_value(row, place) for place in places] for row in range(found.ntuples))
            return from_csv(written(rows, columns), columns)
        text = f"COPY ({with_literals(one)}) TO STDOUT (FORMAT csv)"
        with (
            self.store._translating(limit_s=self._limit_s),
            self.connection.cursor() as cursor,
        ):
            self._check_time()
            with cursor.copy(text) as copy:
                return from_csv(b"".join(bytes(block) for block in copy), columns)

    def stage(self, name: str, one: Statement) -> None:
        """A temporary table from a query; its size is statistics enough for the hash joins that follow."""
        text, values = one.render("postgres")
        self._make_room(name)
        self._run(f"CREATE TEMP TABLE {quoted(name)} ON COMMIT DROP AS {text}", values)

    def _make_room(self, name: str) -> None:
        """A temporary table of that name, which ends with the transaction, is dropped where this one made it."""
        if name in self._staged:
            self._run(f"DROP TABLE IF EXISTS pg_temp.{quoted(name)}", [])
        self._staged.add(name)

    def load(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """A temporary table from Arrow."""
        self._make_room(name)
        self._run(
            f"CREATE TEMP TABLE {quoted(name)} ({', '.join(declared(POSTGRES, one) for one in columns)}) ON COMMIT "
            "DROP",
            [],
        )
        self._copy(f"pg_temp.{quoted(name)}", columns, rows)

    def make(
        self, name: str, columns: Sequence[Column], *,
        identity: Sequence[str] = (), required: Collection[str] = (), day: str | None = None, is_log: bool = False,
    ) -> None:  # fmt: skip
        """A table is there; what tells its rows apart is for its indexes to say."""
        parts = (declared(POSTGRES, one) + (" NOT NULL" if one.name in required else "") for one in columns)
        self._run(f"CREATE TABLE {quoted(self.store.schema)}.{quoted(name)} ({', '.join(parts)})", [])

    def add_columns(self, name: str, columns: Sequence[Column]) -> None:
        """The columns are there too."""
        for one in columns:
            self._run(
                f"ALTER TABLE {quoted(self.store.schema)}.{quoted(name)} ADD COLUMN {declared(POSTGRES, one)}", []
            )

    def append(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """Rows straight into the table."""
        names = ", ".join(quoted(one.name) for one in columns)
        self._copy(f"{quoted(self.store.schema)}.{quoted(name)} ({names})", columns, rows)

    def _copy(self, target: str, columns: Sequence[Column], rows: pa.Table) -> None:
        text = f"COPY {target} FROM STDIN (FORMAT csv)"
        with self.store._translating(), self.connection.cursor() as cursor, cursor.copy(text) as copy:
            copy.write(to_csv(rows, columns))

    def analyze(self, name: str) -> None:
        """Count a temporary table's rows for the planner."""
        self._run(f"ANALYZE pg_temp.{quoted(name)}", [])

    def plan_joins(self, *, nested: bool) -> None:
        """Nested loops over computed days take minutes; the planner chooses them where it cannot know better."""
        self._run(f"SET LOCAL enable_nestloop = {'on' if nested else 'off'}", [])

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Each statement gets what is left of the time."""
        self._ends_at = time.monotonic() + seconds
        self._limit_s = seconds
        try:
            yield
        finally:
            self._ends_at = None
        self._run("SET LOCAL statement_timeout = 0", [])

    @contextmanager
    def within(self, source: Table) -> Iterator[None]:
        """A source's own SQL finds its tables by the connection's search path."""
        yield

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """The schema stands first in the search path, until the transaction ends."""
        path = "SELECT set_config('search_path', $1 || ', ' || current_setting('search_path'), true)"
        self._run(path, [quoted(self.store.schema)])
        yield


def _parameter(value: Any) -> Any:
    """A value as the driver sends it soonest: a list as its text, which the cast around it reads."""
    return _list_text(value) if isinstance(value, list) else value


def with_literals(one: Statement) -> str:
    """A statement with its values as SQLGlot prints literals: COPY takes no parameters."""
    text, values = one.render("postgres")

    def fill(found: re.Match[str]) -> str:
        return _literal(values[int(found[1]) - 1]).sql(dialect="postgres") if found[1] else found[0]

    return _NUMBERED.sub(fill, text)


#: Quoted texts and names, which are left as they are, and the numbers of values.
_NUMBERED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\d+)""")


def _literal(value: Any) -> exp.Expr:
    """A value as a literal of its own type, or as text that the cast around it reads."""
    if isinstance(value, list):
        return exp.Literal.string(_list_text(value))
    if value is None or isinstance(value, bool | int):
        return exp.convert(value)
    return exp.Literal.string(str(value))


def _list_text(values: list[Any]) -> str:
    as_text = _element if any(isinstance(value, str) for value in values) else _plain
    return "{" + ",".join(map(as_text, values)) + "}"


def _plain(value: Any) -> str:
    return "NULL" if value is None else str(value)


def _element(value: Any) -> str:
    """A value as an element of an array's text."""
    if not isinstance(value, str):
        return _plain(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _logical_type(oid: int, precision: int | None, scale: int | None) -> Type:
    if oid == _NUMERIC_OID:
        return decimal(precision, scale) if precision is not None else Type(Kind.DECIMAL)
    return _OIDS.get(oid, OTHER)


def translated(error: psycopg.Error, address: str) -> DayfoldError:
    """A PostgreSQL error as one of ours; its text may hold values of rows, so only state and kind are passed on."""
    import psycopg

    state = error.sqlstate or ""
    if (why := freezing.told(error.diag.message_primary or "")) is not None:
        return StoreMoved(why)
    if isinstance(error, psycopg.OperationalError) and not state:
        return ConnectionFailed(
            f"The connection to {address} was lost.",
            hint="Nothing was published by the transaction; run it again.",
        )
    known = {
        "22003": (
            "a number left its range",
            "An integer sum beyond 64 bits, or a decimal beyond its digits.",
        ),
        "42P01": ("a table does not exist", ""),
        "42703": ("a column does not exist", ""),
        "42501": ("permission denied", "`dayfold doctor` says which rights are missing."),
        "53100": ("the disk is full", "Nothing was published; free some space and run it again."),
        "40001": ("another transaction changed the same rows", "Nothing was published; run it again."),
        "55P03": ("another transaction holds the table", "Nothing was changed; run it again when that has ended."),
        "57P01": ("the server was shut down", "Nothing was published; run it again."),
        "25006": ("the connection is read-only", "The store needs a user who may write."),
    }
    if state == "2BP01":
        # The server names the objects that depend on one another, never a row.
        detail = (error.diag.message_detail or "").splitlines()
        return StoreError(
            f"{address} cannot change a table that others depend on: {'; '.join(detail)}.",
            hint="Drop what depends on it, run this again, and make it anew.",
        )
    what, hint = known.get(state, (f"{type(error).__name__}, SQLSTATE {state}", ""))
    if state.startswith("22"):
        kind = "A value does not have the form that a cast or a moment in the definition expects."
        return SourceFailed(f"a value cannot be computed with ({what})", hint=hint or kind)
    # A constraint other than uniqueness, or a trigger that raises.
    if state in ("23502", "23503", "23514", "23P01", "P0001"):
        return RowsRefused(f"{address} refused rows: {what}.", hint=hint)
    # Insufficient resources, an object in use, an operator's intervention, an error of the system.
    if state[:2] in ("53", "55", "57", "58"):
        return StoreExhausted(f"{address} refused a statement: {what}.", hint=hint)
    # Serialization failure, deadlock, unique violation, a table or another object that exists already.
    conflict = state in ("40001", "40P01", "23505", "42P07", "42710")
    return (Conflict if conflict else StoreError)(f"{address} refused a statement: {what}.", hint=hint)


def _reason(error: psycopg.Error) -> str:
    """Why a connection failed, in one line; libpq's messages hold addresses and names, no secret."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    for wanted in (
        "refused",
        "does not exist",
        "authentication",
        "timeout",
        "translate host",
        "No such file",
    ):
        for line in lines:
            if wanted in line:
                text = line
    return text.rpartition("failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")
