"""One ClickHouse database, through clickhouse-connect: a server by HTTP, or the engine in this process (chdb). Engines floor.

ClickHouse has no transactions. A session here is one connection with temporary tables of its own; what it writes is written at once.
As a *source* that is enough. `dayfold.engines.pair` makes a store of it.

Weakness: two statements of a session see what was written between them; a source that changes while it is read is read as it changes.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID as Uuid

from dayfold import interrupting
from dayfold.define.source import Own, Table
from dayfold.define.types import (
    BOOL,
    DATE,
    FLOAT,
    HASHES,
    INT,
    OTHER,
    TEXT,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    Kind,
    Type,
    decimal,
)  # fmt: skip
from dayfold.engines.base import Session
from dayfold.engines.csv import arrow_type
from dayfold.errors import (
    ConnectionFailed,
    DayfoldError,
    MissingDriver,
    SourceFailed,
    StoreError,
    StoreExhausted,
    TookTooLong,
)
from dayfold.plan.bind import relation
from dayfold.plan.dialect import CLICKHOUSE
from dayfold.plan.longview import MARK
from dayfold.plan.shape import Column, declared, quoted
from dayfold.plan.sql import Statement, statement

if TYPE_CHECKING:
    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

ADDRESS_HINT = (
    "Expected clickhouse://USER:PASSWORD@HOST:PORT/DATABASE, the port that of HTTP (8123, or 8443 with ?secure=true), "
    "or chdb:///FOLDER for the engine in this process."
)
#: The database in a folder where none is named.
_EMBEDDED = "dayfold"
#: Holds rows whose identifiers are texts yet.
_TEXTS = "dayfold_texts__"
#: What every session asks of the engine, so that NULLs, names and overflows are what they are elsewhere.
SETTINGS: dict[str, Any] = {
    # The view over all rollups is one statement, however many there are.
    "max_query_size": 64 << 20,
    "max_ast_elements": 5_000_000,
    "max_expanded_ast_elements": 50_000_000,
    "join_use_nulls": 1,
    "aggregate_functions_null_for_empty": 1,
    "prefer_column_name_to_alias": 1,
    "transform_null_in": 0,
    "union_default_mode": "ALL",
    "date_time_overflow_behavior": "throw",
    "least_greatest_legacy_null_behavior": 0,
    "cast_keep_nullable": 1,
    "precise_float_parsing": 1,
    "output_format_decimal_trailing_zeros": 1,
    "output_format_json_escape_forward_slashes": 0,
    "short_circuit_function_evaluation": "force_enable",
    "output_format_arrow_string_as_string": 1,
    "mutations_sync": 2,
    "lightweight_deletes_sync": 2,
    "session_timezone": "UTC",
    "allow_suspicious_low_cardinality_types": 1,
}
_KINDS = {
    "Bool": BOOL, "Int8": INT, "Int16": INT, "Int32": INT, "Int64": INT, "UInt8": INT, "UInt16": INT, "UInt32": INT,
    "UInt64": decimal(20, 0), "Int128": decimal(38, 0), "Float32": FLOAT, "Float64": FLOAT, "String": TEXT, "UUID": UUID,
    "Date": DATE, "Date32": DATE, "Array(Int64)": HASHES,
}  # fmt: skip


def logical_type(name: str) -> Type:
    """The type of a column from ClickHouse's name for it.

    >>> str(logical_type("Nullable(Decimal(12, 2))")), str(logical_type("LowCardinality(Nullable(String))"))
    ('decimal(12,2)', 'text')
    """
    while wrapped := re.fullmatch(r"(?:Nullable|LowCardinality)\((.+)\)", name):
        name = wrapped[1]
    if digits := re.fullmatch(r"Decimal\((\d+), (\d+)\)", name):
        precision, scale = int(digits[1]), int(digits[2])
        return decimal(precision, scale)
    if name.startswith(("Enum8(", "Enum16(", "FixedString(")):
        return TEXT
    if name.startswith("DateTime"):
        # Without a zone of its own it is what its writer's clock said, which is taken as UTC unless a definition says otherwise.
        return TIMESTAMPTZ if "'" in name else TIMESTAMP
    return _KINDS.get(name, OTHER)


class ClickHouse:
    """One ClickHouse database."""

    dialect = CLICKHOUSE

    def __init__(self, url: str, *, schema: str | None = None, base: Path | None = None) -> None:
        self.url = url
        parts = urlsplit(url)
        words = dict(parse_qsl(parts.query))
        self.is_embedded = parts.scheme == "chdb"
        if self.is_embedded:
            self._folder = str(
                (base or Path()) / Path(unquote(url.removeprefix("chdb:///").partition("?")[0])).expanduser()
            )
            self._database = words.get("database", _EMBEDDED)
        else:
            self._database = unquote(parts.path.strip("/")) or "default"
        #: The database that tables are made in. Names of sources are those of the address's own.
        self.schema = schema or self._database
        self._words = words
        self._parts = parts
        self._idle: list[Client] = []
        self._lock = threading.Lock()
        self._opened = False

    @property
    def home(self) -> ClickHouse:
        """A source alone has no ledger."""
        return self

    @property
    def address(self) -> str:
        """Host, port and database, or the folder; never the user's password."""
        if self.is_embedded:
            words = "" if self._database == _EMBEDDED else f"?database={self._database}"
            return f"chdb:///{self._folder}{words}"
        port = f":{self._parts.port}" if self._parts.port else ""
        return f"clickhouse://{self._parts.hostname or 'localhost'}{port}/{self._database}"

    @property
    def journal(self) -> None:
        """Many processes write to a server, and each may end for good."""

    def open(self) -> None:
        """Connect once, so that an address that leads nowhere is known."""
        if self._opened:
            return
        self._give_back(self._connect())
        self._opened = True

    def close(self) -> None:
        """Close all connections."""
        while self._idle:
            with contextlib.suppress(Exception):
                self._idle.pop().close()
        self._opened = False

    def _connect(self) -> Client:
        try:
            import clickhouse_connect
            from clickhouse_connect.driver.exceptions import ClickHouseError
        except ImportError:
            raise MissingDriver(
                f"{self.address} needs the ClickHouse driver, which is not installed.",
                hint="Install it: pip install 'dayfold[clickhouse]'",
            ) from None
        words: dict[str, Any] = {"settings": dict(SETTINGS), "autogenerate_session_id": True}
        try:
            if self.is_embedded:
                Path(self._folder).parent.mkdir(parents=True, exist_ok=True)
                client = clickhouse_connect.get_client(interface="chdb", path=self._folder, settings=dict(SETTINGS))
                client.command(f"CREATE DATABASE IF NOT EXISTS {quoted(self._database)}")
                client.command(f"USE {quoted(self._database)}")
                return client
            try:
                return self._dial(self._database, words)
            except ClickHouseError as error:
                if _code(error) != _NO_DATABASE:
                    raise
            # Looking makes nothing: the database is there once something is kept in it.
            return self._dial("default", words)
        except ImportError:
            raise MissingDriver(
                f"{self.address} needs chdb, which is not installed.", hint="Install it: pip install 'dayfold[chdb]'"
            ) from None
        except (ClickHouseError, OSError, ValueError) as error:
            raise ConnectionFailed(
                f"{self.address} cannot be reached: {_reason(error)}.", hint="`dayfold doctor` checks every connection."
            ) from None

    def _dial(self, database: str, words: Mapping[str, Any]) -> Client:
        """A connection to the server."""
        import clickhouse_connect

        return clickhouse_connect.get_client(
            host=self._parts.hostname or "localhost",
            port=self._parts.port or (8443 if self._words.get("secure") == "true" else 8123),
            username=unquote(self._parts.username or "default"),
            password=unquote(self._parts.password or ""),
            database=database,
            secure=self._words.get("secure") == "true",
            verify=self._words.get("verify", "true") == "true",
            connect_timeout=10,
            send_receive_timeout=3600,
            form_encode_query_params=True,
            client_name="dayfold",
            # A pool that all clients share keeps eight connections, and throws away what a ninth session gives back.
            dedicated_pool=True,
            **words,
        )

    def make_database(self) -> None:
        """The database is there; again is harmless."""
        with self.transaction() as session:
            # Asking for one that is there takes the right to make one.
            if session.query("SELECT 1 FROM system.databases WHERE name = $1", [self.schema]):
                return
            session.command(f"CREATE DATABASE IF NOT EXISTS {quoted(self.schema)}")
        self.close()

    def _take(self) -> Client:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, client: Client) -> None:
        with self._lock:
            self._idle.append(client)

    def reaches(self, database: str) -> bool:
        """ClickHouse reads no other database in its own statements."""
        return False

    def qualify(self, source: Table) -> Table:
        """Names are as they are; the tables that we keep are in our database."""
        return Table(f"{self.schema}.{source.name}") if isinstance(source, Own) else source

    @contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[ClickHouseSession]:
        """A connection of one's own, with its temporary tables."""
        client = self._take()
        session = ClickHouseSession(self, client)
        try:
            with interrupting.interruptible(session.cancel):
                yield session
        except BaseException:
            session.broken = True
            raise
        finally:
            session.end()

    def peek(self, one: Statement) -> list[tuple[Any, ...]]:
        """The result of one small query."""
        with self.transaction(read_only=True) as session:
            return session.rows(one)

    @property
    def commits(self) -> int | None:
        """Others write as well."""
        return None

    def trim(self) -> None:
        """The server keeps its own memory."""

    def describe(self, source: Table) -> dict[str, Type]:
        """A source's columns in order."""
        with self.transaction(read_only=True) as session:
            text, _ = statement("select * from _s", _s=relation(source)).render("clickhouse")
            try:
                found = session.query(f"DESCRIBE TABLE ({text})")
            except DayfoldError as error:
                raise SourceFailed(
                    f"{source.title} cannot be read: {error.message}", source=source.label, hint=error.hint
                ) from None
        return {row[0]: logical_type(row[1]) for row in found}

    def tables(self, database: str | None = None) -> list[str]:
        """Tables and views of the database."""
        query = statement(
            "select name from system.tables where database = :schema and not is_temporary and not startsWith(comment, :mark) "
            "order by name",
            "clickhouse", schema=self._database, mark=MARK,
        )  # fmt: skip
        with self.transaction(read_only=True) as session:
            return [name for (name,) in session.rows(query) if not name.startswith("dayfold_")]

    def leads(self, session: Session, source: Table, keys: Sequence[str], moment: str | None = None) -> bool:
        """ClickHouse finds ranges by the bounds of its granules, not by an index of rows."""
        return False


class ClickHouseSession:
    """One connection to ClickHouse, with temporary tables of its own."""

    def __init__(self, store: ClickHouse, client: Client) -> None:
        self.store = store
        self.client = client
        self.broken = False
        self._temporary: set[str] = set()
        self._ends_at: float | None = None
        self._limit_s = 0.0
        self._query_id = ""

    def end(self) -> None:
        """The connection goes back without what it staged; one that something failed on is closed."""
        if self.broken:
            with contextlib.suppress(Exception):
                self.client.close()
            return
        for name in self._temporary:
            self.client.command(f"DROP TABLE IF EXISTS {quoted(name)}")
        self.store._give_back(self.client)

    def end_at(self, moment: float | None, seconds: float) -> None:
        """Statements end at a moment of the monotonic clock, which is so many seconds from where a limit began; None: at none."""
        self._ends_at, self._limit_s = moment, seconds

    def cancel(self) -> None:
        """End the statement that runs, from another thread."""
        if self._query_id:
            with self.store.transaction() as other:
                other.client.command("KILL QUERY WHERE query_id = {id:String}", parameters={"id": self._query_id})

    @contextmanager
    def _running(self) -> Iterator[dict[str, Any]]:
        """The settings of one statement; its error is one of ours."""
        from clickhouse_connect.driver.exceptions import ClickHouseError

        interrupting.check()
        settings: dict[str, Any] = {}
        if self._ends_at is not None:
            left = self._ends_at - time.monotonic()
            if left <= 0:
                raise TookTooLong(f"It takes longer than {self._limit_s:g} s.")
            settings["max_execution_time"] = max(left, 0.05)
        if not self.store.is_embedded:
            self._query_id = settings["query_id"] = secrets.token_hex(16)
        try:
            yield settings
        except ClickHouseError as error:
            interrupting.check()
            if self._limit_s and _code(error) in _TIMED_OUT:
                raise TookTooLong(f"It takes longer than {self._limit_s:g} s.") from None
            raise translated(error, self.store.address) from None
        finally:
            self._query_id = ""

    def query(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query in ClickHouse's own words, its values numbered ``$1``, ``$2`` and so on."""
        text, parameters = bound(text, values)
        with self._running() as settings:
            found = self.client.query(text, parameters=parameters, settings=settings)
        return [tuple(row) for row in found.result_rows]

    def command(self, text: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that gives no rows; those that it wrote."""
        text, parameters = bound(text, values)
        with self._running() as settings:
            found = self.client.command(text, parameters=parameters, settings=settings)
        summary = getattr(found, "summary", None) or {}
        return int(summary.get("written_rows", 0))

    def execute(self, one: Statement | str) -> int:
        """Run a statement; the rows it wrote, where the engine says."""
        return self.command(one) if isinstance(one, str) else self.command(*one.render("clickhouse"))

    def rows(self, one: Statement) -> list[tuple[Any, ...]]:
        """The result of a small query."""
        return self.query(*one.render("clickhouse"))

    def columns_of(self, one: Statement) -> dict[str, Type]:
        """The columns that a query gives."""
        return self.columns_of_text(*one.render("clickhouse"))

    def columns_of_text(self, text: str, values: Sequence[Any] = ()) -> dict[str, Type]:
        """The columns that a query in ClickHouse's own words gives."""
        return {row[0]: logical_type(row[1]) for row in self.query(f"DESCRIBE TABLE ({text})", values)}

    def arrow(self, one: Statement, columns: Sequence[Column], *, few: bool = False) -> pa.Table:
        """The result of a query."""
        text, values = one.render("clickhouse")
        return self.arrow_of(text, values, columns)

    def arrow_of(self, text: str, values: Sequence[Any], columns: Sequence[Column]) -> pa.Table:
        """The result of a query in ClickHouse's own words."""
        casts = ", ".join(f"{_read(one)} AS {quoted(one.name)}" for one in columns)
        text, parameters = bound(f"SELECT {casts} FROM ({text})", values)
        with self._running() as settings:
            found = self.client.query_arrow(text, parameters=parameters, settings=settings, use_strings=True)
        return _as_read(found, columns)

    def stage(self, name: str, one: Statement) -> None:
        """A temporary table from a query."""
        text, values = one.render("clickhouse")
        self.stage_of(name, text, values)

    def stage_of(self, name: str, text: str, values: Sequence[Any]) -> None:
        """A temporary table from a query in ClickHouse's own words."""
        self.command(f"CREATE OR REPLACE TEMPORARY TABLE {quoted(name)} ENGINE = Memory AS {text}", values)
        self._temporary.add(name)

    def load(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """A temporary table from Arrow."""
        listed = ", ".join(declared(CLICKHOUSE, one) for one in columns)
        self.command(f"CREATE OR REPLACE TEMPORARY TABLE {quoted(name)} ({listed}) ENGINE = Memory")
        self._temporary.add(name)
        self.insert(quoted(name), columns, rows)

    def append(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """Rows straight into the table."""
        self.insert(f"{quoted(self.store.schema)}.{quoted(name)}", columns, rows)

    def insert(self, target: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """Rows of Arrow into a table, by its quoted name."""
        if not rows.num_rows:
            return
        if any(one.type.kind is Kind.UUID for one in columns):
            # Arrow has no type for them, and ClickHouse reads none from text as it comes in.
            texts = [Column(one.name, TEXT) if one.type.kind is Kind.UUID else one for one in columns]
            self.load(_TEXTS, texts, rows)
            casts = ", ".join(f"CAST({quoted(one.name)} AS {_kind_of(one)})" for one in columns)
            names = ", ".join(quoted(one.name) for one in columns)
            self.command(f"INSERT INTO {target} ({names}) SELECT {casts} FROM {quoted(_TEXTS)}")
            return
        import pyarrow as pa

        written = _as_written(rows, columns)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, written.schema) as stream:
            stream.write_table(written)
        with self._running() as settings:
            self.client.raw_insert(
                target,
                [one.name for one in columns],
                insert_block=bytes(sink.getvalue()),
                settings=settings,
                fmt="ArrowStream",
            )

    def analyze(self, name: str) -> None:
        """ClickHouse knows how many rows a table has."""

    def plan_joins(self, *, nested: bool) -> None:
        """ClickHouse joins by hashes."""

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Each statement gets what is left of the time."""
        self._ends_at, self._limit_s = time.monotonic() + seconds, seconds
        try:
            yield
        finally:
            self._ends_at, self._limit_s = None, 0.0

    @contextmanager
    def within(self, source: Table) -> Iterator[None]:
        """A source's own SQL finds its tables in the connection's database."""
        yield

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """The connection's database is ours."""
        yield


#: Quoted texts and names, which are left as they are, and the numbers of values.
_NUMBERED = re.compile(r"""'(?:[^'\\]|''|\\.)*'|"(?:[^"]|"")*"|`[^`]*`|\$(\d+)""")


def bound(text: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """A text with ``$1``, ``$2`` … as ClickHouse writes parameters, each with its type, and the values by name.

    >>> bound("SELECT $1 + $2, '$1'", [1, None])
    ("SELECT {p1:Int64} + {p2:Nullable(String)}, '$1'", {'p1': 1, 'p2': None})
    """
    found: dict[str, Any] = {}

    def fill(match: re.Match[str]) -> str:
        if not match[1]:
            return match[0]
        value = values[int(match[1]) - 1]
        found[f"p{match[1]}"] = _sent(value)
        return f"{{p{match[1]}:{_type_of(value)}}}"

    return _NUMBERED.sub(fill, text), found


def _type_of(value: Any) -> str:
    """The type that a value is sent as."""
    match value:
        case None:
            return "Nullable(String)"
        case bool():
            return "Bool"
        case int():
            return "Int64" if -(2**63) <= value < 2**63 else "Int256"
        case float():
            return "Float64"
        case Decimal():
            return f"Decimal(76, {max(0, -int(value.as_tuple().exponent))})" if value.is_finite() else "String"
        case dt.datetime():
            return "DateTime64(6, 'UTC')"
        case dt.date():
            return "Date32"
        case Uuid():
            return "UUID"
        case list() | tuple():
            kinds = {_type_of(one) for one in value if one is not None}
            [kind] = kinds if len(kinds) == 1 else ["String"]
            return f"Array(Nullable({kind}))" if any(one is None for one in value) else f"Array({kind})"
    return "String"


def _sent(value: Any) -> Any:
    """A value as the driver sends it."""
    if isinstance(value, dt.datetime):
        whole = value.astimezone(dt.UTC) if value.tzinfo else value
        return (
            whole.strftime("%Y-%m-%d %H:%M:%S.%f")
            if whole.year >= 1000
            else f"{whole.year:04}{whole.strftime('-%m-%d %H:%M:%S.%f')}"
        )
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Decimal | Uuid):
        return str(value)
    return value


def _kind_of(one: Column) -> str:
    """The type of a column that may be NULL."""
    return CLICKHOUSE.nullable(one.type)


def _read(one: Column) -> str:
    """A column as Arrow takes it."""
    name = quoted(one.name)
    if one.type.kind is Kind.HASHES:
        return name
    if one.type.kind in (Kind.UUID, Kind.JSON, Kind.TEXT):
        return f"CAST(toString({name}) AS Nullable(String))"
    if one.type.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
        return f"CAST(toUnixTimestamp64Micro(CAST({name} AS Nullable(DateTime64(6, 'UTC')))) AS Nullable(Int64))"
    return f"CAST({name} AS Nullable({CLICKHOUSE.type_name(one.type)}))"


def _as_read(found: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Arrow from ClickHouse with the types that Arrow has elsewhere; an empty set is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    arrays = []
    for one in columns:
        array = found[one.name]
        wanted = arrow_type(one.type)
        if one.type.kind is Kind.HASHES:
            array = array.cast(wanted)
            array = pc.if_else(pc.greater(pc.list_value_length(array), 0), array, pa.scalar(None, wanted))
        elif array.type != wanted:
            array = array.cast(pa.int64()).cast(wanted) if pa.types.is_timestamp(wanted) else array.cast(wanted)
        arrays.append(array)
    return pa.table(arrays, names=[one.name for one in columns])


def _as_written(rows: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Arrow as ClickHouse reads it: no set is an empty one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    arrays = []
    for place, one in enumerate(columns):
        array = rows.column(place)
        wanted = arrow_type(one.type)
        if array.type != wanted:
            array = array.cast(wanted)
        if one.type.kind is Kind.HASHES:
            array = pc.fill_null(array, pa.scalar([], wanted))
        arrays.append(array)
    return pa.table(arrays, names=[one.name for one in columns])


_TIMED_OUT = (159, 160, 394)
_NO_DATABASE = 81
#: Codes of errors that a value caused: what a cast or a moment expects, and what does not fit.
_OF_VALUES = {6, 27, 38, 41, 69, 70, 72, 131, 153, 321, 349, 407, 457, 467, 395, 53}
_KNOWN = {
    60: ("a table does not exist", ""),
    47: ("a column does not exist", ""),
    497: ("permission denied", "`dayfold doctor` says which rights are missing."),
    164: ("the connection is read-only", "The store needs a user who may write."),
    243: ("the disk is full", "Nothing was published; free some space and run it again."),
    241: ("the memory is full", "Nothing was published; give ClickHouse more memory, or fold smaller portions."),
}


def _code(error: Exception) -> int:
    """ClickHouse's number of an error; 0 where it says none."""
    known = getattr(error, "code", None)
    if isinstance(known, int) and known:
        return known
    found = re.search(r"Code: (\d+)", str(error))
    return int(found[1]) if found else 0


def translated(error: Exception, address: str) -> DayfoldError:
    """A ClickHouse error as one of ours; its text may hold values of rows, so only its code is passed on."""
    code = _code(error)
    if not code:
        return ConnectionFailed(
            f"The connection to {address} was lost.", hint="Nothing was published by the transaction; run it again."
        )
    what, hint = _KNOWN.get(code, (f"error {code}", ""))
    if code in (69, 407, 70):
        return SourceFailed(
            "a value cannot be computed with (a number left its range)",
            hint="An integer sum beyond 64 bits, or a decimal beyond its digits.",
        )
    if code in _OF_VALUES:
        kind = "A value does not have the form that a cast or a moment in the definition expects."
        return SourceFailed(f"a value cannot be computed with ({what})", hint=kind)
    if code in (241, 243):
        return StoreExhausted(f"{address} refused a statement: {what}.", hint=hint)
    return StoreError(f"{address} refused a statement: {what}.", hint=hint)


def _reason(error: Exception) -> str:
    """Why a connection failed, in a few words: the driver's own may show the address with its password."""
    code = _code(error)
    if code:
        return {516: "authentication failed", 81: "the database does not exist", 192: "authentication failed"}.get(
            code, f"error {code}"
        )
    text = str(error)
    for words in ("refused", "timed out", "Name or service not known", "resolve"):
        if words in text:
            return f"the connection was {words}" if words == "refused" else words
    if "engine" in text:
        return "another folder is open in this process, or another process has this one"
    return type(error).__name__
