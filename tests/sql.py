"""Plain SQL and rows for the tests, on any engine, past the product.

Statements are written once, in the words that PostgreSQL and DuckDB share, with ``$1``, ``$2`` for parameters; ClickHouse gets its own.

Every call opens and closes its own connection (a DuckDB file has one owner process) unless a session is held for several statements.

A store in ClickHouse has its ledger in another database: its address here is ``clickhouse://…#LEDGER``, which `store_config` takes apart.
A session of it runs each statement where its tables are. Who changes rows of a rollup there changes their versions.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

import duckdb
import psycopg
import pyarrow as pa
from sqlglot import exp, parse_one
from sqlglot.dialects.clickhouse import ClickHouse

Row = Mapping[str, Any]


def is_duckdb(url: str) -> bool:
    return url.startswith("duckdb://")


def is_clickhouse(url: str) -> bool:
    return url.startswith(("clickhouse://", "chdb:///"))


def engine_of(url: str) -> str:
    """The engine of a source, or of a store's rows."""
    return "clickhouse" if is_clickhouse(url) else "duckdb" if is_duckdb(url) else "postgres"


def ledger_of(url: str) -> str:
    """The database that a store's ledger stands in."""
    return url.partition("#")[2] if is_clickhouse(url) else url


def rows_of(url: str) -> str:
    """The database that a store's rows stand in, as the product takes it."""
    return url.partition("#")[0] if is_clickhouse(url) else url


def store_config(url: str, **words: Any) -> dict[str, Any]:
    """What a configuration says of a store."""
    config: dict[str, Any] = {"store": {"url": rows_of(url), **words}}
    return config | {"ledger": {"url": ledger_of(url)}} if is_clickhouse(url) else config


class Session:
    """One connection and one transaction; committed when left without an error. What was done in ClickHouse is done anyway."""

    def __init__(self, url: str) -> None:
        self.duckdb = is_duckdb(url)
        self.clickhouse = _Rows(url) if is_clickhouse(url) else None
        self.ledger: Session | None = None
        self.connection: Any = None
        if self.clickhouse:
            self.ledger = Session(ledger_of(url)) if ledger_of(url) else None
        elif self.duckdb:
            self.connection = duckdb.connect(url.removeprefix("duckdb:///"))
            self.connection.sql("SET TimeZone = 'UTC'")
            self.connection.sql("BEGIN")
        else:
            self.connection = psycopg.connect(url, cursor_factory=psycopg.RawCursor)
            self.connection.execute("SET TIME ZONE 'UTC'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        if self.clickhouse:
            self.clickhouse.close()
            if self.ledger is not None:
                self.ledger.__exit__(failure)
            return
        try:
            self.run("ROLLBACK" if failure else "COMMIT")
        finally:
            self.connection.close()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement, or no rows."""
        if self.clickhouse:
            return self.clickhouse.run(sql, parameters, self.ledger)
        if self.duckdb:
            result = self.connection.sql(sql, params=list(parameters) or None)
            columns = result.to_arrow_table().columns if result is not None else []
            return list(zip(*(column.to_pylist() for column in columns), strict=True))
        cursor = self.connection.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, rows: Iterable[Row]) -> None:
        """Put rows that all have the same columns into a table."""
        rows = list(rows)
        if not rows:
            return
        names = list(rows[0])
        columns = ", ".join(f'"{name}"' for name in names)
        if self.clickhouse:
            self.clickhouse.insert(table, rows, self.ledger)
        elif self.duckdb:
            facts = pa.Table.from_pylist([dict(row) for row in rows])
            self.connection.register("facts", facts)
            self.connection.sql(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM facts")
            self.connection.unregister("facts")
        else:
            with self.connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row([row[name] for name in names])


def run_sql(url: str, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own and return its rows."""
    with Session(url) as session:
        return session.run(sql, parameters)


def load_rows(url: str, table: str, ddl: str, rows: Iterable[Row]) -> None:
    """Make ``table`` with the columns of ``ddl`` and fill it.

    ``ddl`` is what stands between the brackets of CREATE TABLE: ``"shop_id bigint, sent_at timestamptz"``.
    """
    with Session(url) as session:
        session.run(f"CREATE TABLE {table} ({ddl})")
        session.insert(table, rows)


def read_only(url: str) -> str:
    """The same PostgreSQL database, as a role that may only SELECT from the tables that exist now."""
    run_sql(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    return url.replace("//owner:", "//reader:", 1)


# -- ClickHouse ----------------------------------------------------------------------------------

_SETTINGS = {
    "join_use_nulls": 1,
    "aggregate_functions_null_for_empty": 1,
    "union_default_mode": "ALL",
    "cast_keep_nullable": 1,
    "transform_null_in": 1,
    "session_timezone": "UTC",
    "mutations_sync": 2,
    "allow_nondeterministic_mutations": 1,
    "date_time_input_format": "best_effort",
    "cast_string_to_date_time_mode": "best_effort",
    "date_time_overflow_behavior": "throw",
}
_MOMENT = "DateTime64(6, 'UTC')"
_T = exp.DataType.Type
_TYPES = {
    _T.BOOLEAN: "Bool", _T.SMALLINT: "Int16", _T.INT: "Int32", _T.BIGINT: "Int64", _T.FLOAT: "Float32", _T.DOUBLE: "Float64",
    _T.TEXT: "String", _T.VARCHAR: "String", _T.JSON: "String", _T.JSONB: "String", _T.UUID: "UUID", _T.DATE: "Date32",
    _T.TIMESTAMP: "DateTime64(6)", _T.TIMESTAMPTZ: _MOMENT,
}  # fmt: skip
#: The tables of ours whose names begin with ``dayfold_`` and that hold rows, not the ledger.
_OF_ROWS = (
    "dayfold_versions__",
    "dayfold_seen__",
    "dayfold_events",
    "dayfold_attribution",
    "dayfold_build__",
    "dayfold_rebuild__",
    "dayfold__source_",
)
#: So many versions of one write are told apart.
_STEPS = 1 << 16
_MARKS = ("write__", "gone__", "revises__")


class _Spelling(ClickHouse):
    """The shared words in ClickHouse's."""

    class Generator(ClickHouse.Generator):
        def datatype_sql(self, expression: exp.DataType) -> str:
            if expression.this == _T.ARRAY:
                [inner] = expression.expressions or [exp.DataType.build("bigint")]
                return f"Array({_TYPES.get(inner.this, 'String')})"
            if expression.this == _T.DECIMAL:
                digits = ", ".join(one.name for one in expression.expressions) or "38, 10"
                return f"Nullable(Decimal({digits}))"
            return f"Nullable({_TYPES.get(expression.this) or super().datatype_sql(expression)})"

        def cast_sql(self, expression: exp.Cast, safe_prefix: str | None = None) -> str:
            given = expression.this
            if expression.to.this in (_T.TIMESTAMP, _T.TIMESTAMPTZ) and given.is_string:
                return f"toDateTime64('{_text(dt.datetime.fromisoformat(given.name))}', 6, 'UTC')"
            return super().cast_sql(expression, safe_prefix)

        def eq_sql(self, expression: exp.EQ) -> str:
            value = expression.expression
            is_nan = isinstance(value, exp.Cast) and value.this.name.lower() == "nan"
            return f"isNaN({self.sql(expression, 'this')})" if is_nan else super().eq_sql(expression)

        def attimezone_sql(self, expression: exp.AtTimeZone) -> str:
            zone = expression.args["zone"].name
            whole = self.sql(expression, "this")
            return whole if zone == "UTC" else f"toDateTime64(toString(toTimeZone({whole}, '{zone}')), 6, 'UTC')"

        def generateseries_sql(self, expression: exp.GenerateSeries) -> str:
            return f"generate_series({self.sql(expression, 'start')}, {self.sql(expression, 'end')})"

        explodinggenerateseries_sql = generateseries_sql

        def table_sql(self, expression: exp.Table, sep: str = " AS ") -> str:
            names = expression.args["alias"].columns if expression.args.get("alias") else []
            if not isinstance(expression.this, exp.GenerateSeries | exp.ExplodingGenerateSeries) or not names:
                return super().table_sql(expression, sep)
            return f'(SELECT generate_series AS "{names[0].name}" FROM {self.sql(expression.this)}) AS "{expression.alias}"'

        def mul_sql(self, expression: exp.Mul) -> str:
            interval = expression.expression
            if not isinstance(interval, exp.Interval):
                return super().mul_sql(expression)
            unit = str(interval.args["unit"]).capitalize()
            return f"toInterval{unit}({self.sql(expression, 'this')} * {interval.this.name})"

        def currenttimestamp_sql(self, expression: exp.CurrentTimestamp) -> str:
            return "now64(6, 'UTC')"


class _Rows:
    """A connection to a ClickHouse database."""

    _idle: dict[str, list[Any]] = {}  # noqa: RUF012
    _lock = threading.Lock()

    def __init__(self, url: str) -> None:
        parts = urlsplit(rows_of(url))
        self._place = rows_of(url) if parts.scheme == "chdb" else parts.netloc
        with self._lock:
            idle = self._idle.setdefault(self._place, [])
            self.client = idle.pop() if idle else None
        if self.client is None:
            self.client = _client(url)
        if parts.scheme != "chdb":
            self.client.database = unquote(parts.path.strip("/"))

    def close(self) -> None:
        with self._lock:
            self._idle[self._place].append(self.client)

    def run(self, sql: str, parameters: Sequence[Any], ledger: Session | None) -> list[tuple[Any, ...]]:
        tree = parse_one(sql, read="postgres")
        names = {node.name for node in tree.find_all(exp.Table) if node.db in ("", "public", "main")}
        if ledger is not None and any(one.db == "information_schema" for one in tree.find_all(exp.Table)):
            return [*self._run(tree, parameters, {}), *ledger.run(sql, parameters)]
        if ledger is not None and any(_is_ledgers(name) or self._is_counters(name, ledger) for name in names):
            return ledger.run(sql, parameters)
        kept = _kept(ledger)
        gone = kept.keys() & names if isinstance(tree, exp.Drop) else ()
        for name in gone if ledger is not None else ():
            # As if it was never made: neither its versions nor what is known of them is there.
            self.client.command(f'DROP TABLE "{kept[name]["versions"]}"')
            ledger.run("DELETE FROM dayfold__tables WHERE name = $1", [name])
        return self._run(tree, parameters, kept)

    def _is_counters(self, name: str, ledger: Session) -> bool:
        """Whether a table is one of a counter's, which stands where the ledger does under the counter's own name."""
        there = ledger.run("SELECT 1 FROM information_schema.tables WHERE table_name = $1", [name])
        return bool(there) and not self.client.command(f'EXISTS TABLE "{name}"')

    def _run(self, tree: exp.Expr, parameters: Sequence[Any], kept: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        text, values = self._spelled(tree, parameters, kept)
        if not text:
            return []
        if isinstance(tree, exp.Query | exp.Describe):
            found = self.client.query(text, values)
            walls = ["DateTime" in one.name and "'" not in one.name for one in found.column_types]
            return [tuple(map(_read, row, walls)) for row in found.result_rows]
        self.client.command(text, values)
        return []

    def _spelled(
        self, tree: exp.Expr, parameters: Sequence[Any], kept: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        values = {}
        for node in list(tree.find_all(exp.Parameter)):
            value = parameters[int(node.name) - 1]
            values[f"p{node.name}"] = _text(value)
            node.replace(exp.Var(this=f"{{p{node.name}:{_kind(value)}}}"))
        for node in list(tree.find_all(exp.Table)):
            if node.db == "information_schema":
                own = exp.select("*").from_(node.copy()).where("table_schema = currentDatabase()")
                own = own.where("not startsWith(table_name, 'dayfold_versions__') and table_name <> 'dayfold_seen__'")
                node.replace(own.subquery(node.alias or node.name))
            elif isinstance(node.this, exp.ExplodingGenerateSeries) and node.alias_column_names:
                [name] = node.alias_column_names
                rows = exp.select(exp.alias_(exp.cast(exp.column("generate_series"), "bigint"), name))
                node.replace(rows.from_(exp.Table(this=node.this.copy())).subquery(node.alias))
            elif node.db == "public":
                node.set("db", None)
        return _statement(tree, kept), values

    def insert(self, table: str, rows: Sequence[Row], ledger: Session | None) -> None:
        if ledger is not None and _is_ledgers(table):
            ledger.insert(table, rows)
            return
        known = _kept(ledger).get(table)
        if known is not None:
            rows = [dict(row) | dict(zip(_MARKS, (known["write"], False, False), strict=True)) for row in rows]
            table = known["versions"]
        lines = "\n".join(json.dumps({name: _sent(value) for name, value in row.items()}) for row in rows)
        self.client.raw_insert(table, list(rows[0]), insert_block=lines, fmt="JSONEachRow")


def _client(url: str) -> Any:
    import clickhouse_connect

    parts = urlsplit(rows_of(url))
    if parts.scheme == "chdb":
        client = clickhouse_connect.get_client(
            interface="chdb", path=unquote(url.removeprefix("chdb:///").partition("?")[0]), settings=_SETTINGS, tz_mode="aware"
        )  # fmt: skip
        database = dict(parse_qsl(parts.query)).get("database", "dayfold")
        client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
        client.command(f"USE {database}")
        return client
    return clickhouse_connect.get_client(
        host=parts.hostname, port=parts.port, username=unquote(parts.username or ""), password=unquote(parts.password or ""),
        settings=_SETTINGS, tz_mode="aware", autogenerate_session_id=False, form_encode_query_params=True,
    )  # fmt: skip


def _is_ledgers(name: str) -> bool:
    return name.startswith("dayfold_") and not name.startswith(_OF_ROWS)


def _kept(ledger: Session | None) -> dict[str, Any]:
    """The tables of a store whose rows are versions: where those stand, what tells rows apart, and a write that readers see."""
    if ledger is None or not ledger.run("SELECT 1 FROM information_schema.tables WHERE table_name = 'dayfold__tables'"):
        return {}
    [(last,)] = ledger.run("SELECT last FROM dayfold__head")
    found = ledger.run("SELECT name, versions, columns, identity FROM dayfold__tables")
    return {
        name: {"versions": versions, "columns": [one[0] for one in json.loads(columns)], "identity": json.loads(identity),
               "write": last * _STEPS + _STEPS - 1}
        for name, versions, columns, identity in found
    }  # fmt: skip


def _statement(tree: exp.Expr, kept: Mapping[str, Any]) -> str:
    """A statement in ClickHouse's words; empty where it has none and needs none."""

    def say(node: exp.Expr) -> str:
        return node.sql(_Spelling, identify=True)

    match tree:
        case exp.Create(kind="INDEX"):
            return ""
        case exp.Create(kind="TABLE", this=exp.Schema() as schema):
            columns = [_column(one) for one in schema.expressions if isinstance(one, exp.ColumnDef)]
            return f"CREATE TABLE {say(schema.this)} ({', '.join(columns)}) ENGINE = MergeTree ORDER BY tuple()"
        case exp.Create(kind="TABLE"):
            query = say(tree.expression)
            return f"CREATE TABLE {say(tree.this)} ENGINE = MergeTree ORDER BY tuple() AS {query}"
        case exp.Alter() if isinstance(tree.args["actions"][0], exp.AlterRename):
            return f"RENAME TABLE {say(tree.this)} TO {say(tree.args['actions'][0].this)}"
        case exp.Update():
            return _updated(tree, kept.get(tree.this.name), say)
        case exp.Delete():
            return _deleted(tree, kept.get(tree.this.name), say)
        case exp.Insert():
            return _inserted(tree, kept, say)
    return say(tree)


def _column(one: exp.ColumnDef) -> str:
    kinds = [constraint.kind for constraint in one.args.get("constraints") or ()]
    kind = one.args["kind"].sql(_Spelling)
    if any(isinstance(each, exp.PrimaryKeyColumnConstraint) for each in kinds):
        kind = kind.removeprefix("Nullable(").removesuffix(")")
    defaults = [each.this.sql(_Spelling) for each in kinds if isinstance(each, exp.DefaultColumnConstraint)]
    return " ".join([f'"{one.name}"', kind, *(f"DEFAULT {each}" for each in defaults)])


def _updated(tree: exp.Update, known: Any, say: Any) -> str:
    where = tree.args.get("where")
    condition = say(where.this) if where is not None else "true"
    for one in tree.expressions:
        # A sum with a decimal fraction is one, and not a double that is cut to so many digits.
        for number in [node for node in one.find_all(exp.Literal) if not node.is_string and "." in node.name]:
            number.replace(
                exp.cast(exp.Literal.string(number.name), f"decimal(38, {len(number.name.partition('.')[2])})")
            )
    changed = {one.this.name: say(one.expression) for one in tree.expressions}
    place = known["versions"] if known else tree.this.name
    if not known or not {*changed} & {*known["identity"]}:
        sets = ", ".join(f'"{name}" = {value}' for name, value in changed.items())
        return f'ALTER TABLE "{place}" UPDATE {sets} WHERE {condition}'
    # ClickHouse changes no column that rows are told apart by: the old row is gone, and there is a new one.
    names = ", ".join(f'"{name}"' for name in (*known["columns"], *_MARKS))
    new = ", ".join(changed.get(name, f'"{name}"') for name in known["columns"])
    old = ", ".join(f'"{name}"' for name in known["columns"])
    rows = f'FROM "{tree.this.name}" WHERE {condition}'
    return (
        f'INSERT INTO "{place}" ({names}) SELECT {old}, {known["write"]} - 1, true, true {rows} '
        f"UNION ALL SELECT {new}, {known['write']}, false, false {rows}"
    )


def _deleted(tree: exp.Delete, known: Any, say: Any) -> str:
    where = tree.args.get("where")
    condition = say(where.this) if where is not None else "true"
    if not known:
        return f'ALTER TABLE "{tree.this.name}" DELETE WHERE {condition}'
    if where is None or known["identity"] == ["row__"]:
        return f'ALTER TABLE "{known["versions"]}" DELETE WHERE {condition}'
    # All versions of the row: of those before it none becomes the newest.
    identity = ", ".join(f'"{name}"' for name in known["identity"])
    # As texts, where NULL is like NULL.
    row = f"toJSONString(tuple({identity}))"
    return f'ALTER TABLE "{known["versions"]}" DELETE WHERE {row} IN (SELECT {row} FROM "{tree.this.name}" WHERE {condition})'


def _inserted(tree: exp.Insert, kept: Mapping[str, Any], say: Any) -> str:
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    known = kept.get(target.name)
    if not known:
        return str(say(tree))
    names = [one.name for one in tree.this.expressions] if isinstance(tree.this, exp.Schema) else known["columns"]
    listed = ", ".join(f'"{name}"' for name in (*names, *_MARKS))
    rows = tree.expression
    marks = f"{known['write']}, false, false"
    given = (
        " UNION ALL ".join(f"SELECT {', '.join(map(say, row.expressions))}, {marks}" for row in rows.expressions)
        if isinstance(rows, exp.Values)
        else f"SELECT *, {marks} FROM ({say(rows)})"
    )
    return f'INSERT INTO "{known["versions"]}" ({listed}) {given}'


def _kind(value: Any) -> str:
    """The type that a parameter is sent as."""
    match value:
        case bool():
            return "Bool"
        case int():
            return "Int64" if abs(value) < 2**63 else "Int256"
        case float():
            return "Float64"
        case Decimal():
            return f"Decimal(76, {max(0, -int(value.as_tuple().exponent))})"
        case dt.datetime():
            return _MOMENT
        case dt.date():
            return "Date32"
        case list() | tuple():
            return f"Array({_kind(value[0]) if value else 'Int64'})"
    return "Nullable(String)"


def _text(value: Any) -> Any:
    """A parameter as it is sent."""
    match value:
        case dt.datetime():
            whole = value.astimezone(dt.UTC) if value.tzinfo else value
            return whole.strftime("%Y-%m-%d %H:%M:%S.%f")
        case dt.date():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case list() | tuple():
            return [_text(one) for one in value]
    return value


def _sent(value: Any) -> Any:
    """A value of a row as JSON has it."""
    if isinstance(value, dict):
        return json.dumps(value)
    return value if isinstance(value, bool | int | str | list | None) else str(_text(value))


def _read(value: Any, wall: bool) -> Any:
    """A value as the other engines give it: no set is none, and a moment without a zone stands in none."""
    if wall and value is not None:
        return value.astimezone(dt.UTC).replace(tzinfo=None)
    return None if value == [] else value
