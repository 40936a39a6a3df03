"""The engines of the large part: where events stand, what makes them there, and what it takes in memory and on disk."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import duckdb

from benchmarks.measures import server as postgres_server
from benchmarks.subjects import HERE

POLL_S = 0.25
#: What drops that which the hand-written SQL has made.
_LEFT = ("event_daily", "event_daily_sets", "folded")


class Engine(Protocol):
    """An engine with one database, empty at first.

    Attributes:
        name: For people; ``toml``: the settings of a project that stores there.
    """

    name: str
    toml: str

    def run(self, text: str) -> float:
        """Seconds of some statements, past the product."""

    def ask(self, text: str) -> tuple[float, Any]:
        """Seconds of a question with one value, and the value."""

    def bytes_of(self, table: str) -> int:
        """A table on disk, with its indexes."""

    def pids(self) -> list[int]:
        """The engine's processes; none where it is in that of who asks."""


def script(engine: str, name: str, rows: int = 0) -> str:
    """Statements of `sql/`."""
    return (HERE / "sql" / f"{engine}_{name}.sql").read_text(encoding="utf-8").replace("$rows", str(rows))


class _Duck:
    name, key = "DuckDB", "duckdb"

    def __init__(self, place: Path) -> None:
        self._file = place / "store.duckdb"
        self.toml = '[store]\nurl = "duckdb:///store.duckdb"\n'

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(str(self._file))
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    def run(self, text: str) -> float:
        with self._connect() as connection:
            began = time.perf_counter()
            connection.execute(text)
            return time.perf_counter() - began

    def ask(self, text: str) -> tuple[float, Any]:
        with self._connect() as connection:
            began = time.perf_counter()
            [(value,)] = connection.execute(text).fetchall()
            return time.perf_counter() - began, value

    def bytes_of(self, table: str) -> int:
        """Blocks of the file; a part of a block counts as one."""
        with self._connect() as connection:
            connection.execute("CHECKPOINT")
            [(size,)] = connection.execute(
                "SELECT count(DISTINCT block_id) * (SELECT block_size FROM pragma_database_size() LIMIT 1) "
                f"FROM pragma_storage_info('{table}') WHERE persistent AND block_id >= 0"
            ).fetchall()
        return int(size)

    def pids(self) -> list[int]:
        return []


class _Postgres:
    name, key = "PostgreSQL", "postgres"

    def __init__(self, url: str) -> None:
        self._url = url
        self._above: int | None = None
        self.toml = f'[store]\nurl = "{url}"\n'

    def run(self, text: str) -> float:
        import psycopg

        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            began = time.perf_counter()
            connection.execute(text)
            return time.perf_counter() - began

    def ask(self, text: str) -> tuple[float, Any]:
        import psycopg

        with psycopg.connect(self._url, autocommit=True) as connection:
            began = time.perf_counter()
            [(value,)] = connection.execute(text).fetchall()
            return time.perf_counter() - began, value

    def bytes_of(self, table: str) -> int:
        return int(self.ask(f"SELECT pg_total_relation_size('{table}')")[1])

    def pids(self) -> list[int]:
        """The one above all, and those that answer."""
        if self._above is None:
            folder = self.ask("SHOW data_directory")[1]
            self._above = int(Path(folder, "postmaster.pid").read_text(encoding="utf-8").split()[0])
        return [self._above, *_children(self._above)]


class _ClickHouse:
    name, key = "ClickHouse", "clickhouse"

    def __init__(self, server: Any, database: str, ledger: str) -> None:
        self._server, self._database = server, database
        server.execute(f"CREATE DATABASE {database}")
        self.toml = f'[store]\nurl = "{server.url(database)}"\n[ledger]\nurl = "{ledger}"\n'

    @contextmanager
    def _client(self) -> Iterator[Any]:
        client = self._server.client(self._database, send_receive_timeout=7200)
        try:
            yield client
        finally:
            client.close()

    def run(self, text: str) -> float:
        with self._client() as client:
            began = time.perf_counter()
            for one in text.split(";\n"):
                if one.strip():
                    client.command(one)
            return time.perf_counter() - began

    def ask(self, text: str) -> tuple[float, Any]:
        with self._client() as client:
            began = time.perf_counter()
            [(value,)] = client.query(text).result_rows
            return time.perf_counter() - began, value

    def bytes_of(self, table: str) -> int:
        query = f"SELECT sum(bytes_on_disk) FROM system.parts WHERE database = '{self._database}' AND table = '{table}' AND active"
        return int(self.ask(query)[1])

    def pids(self) -> list[int]:
        return [self._server._process.pid]


@contextmanager
def clickhouse(place: Path, database: str = "large") -> Iterator[Engine]:
    """The engine of the chdb wheel in a process of its own, behind its protocol; the ledger in PostgreSQL."""
    from tests.clickhouses import ClickHouseServer

    # On the disk that the other engines use, whatever is in memory.
    with (
        tempfile.TemporaryDirectory(prefix="dayfold-bench-") as folder,
        postgres_server() as url_of,
        ClickHouseServer(Path(folder)) as server,
    ):
        yield _ClickHouse(server, database, url_of("ledger"))


@contextmanager
def duckdb_file(place: Path) -> Iterator[Engine]:
    """A DuckDB file."""
    yield _Duck(place)


@contextmanager
def postgres(place: Path) -> Iterator[Engine]:
    """A PostgreSQL server as it is installed, without a word of configuration."""
    with postgres_server() as url_of:
        yield _Postgres(url_of("large"))


ENGINES = {"clickhouse": clickhouse, "duckdb": duckdb_file, "postgres": postgres}


def cleared(engine: Engine) -> None:
    """What the hand-written SQL has made is gone."""
    for name in _LEFT:
        engine.run(f"DROP TABLE IF EXISTS {name}")


class Peak:
    """The most memory that some processes had at once while this was entered, shared pages counted once."""

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.bytes = 0

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        pids: list[int] = []
        turn = 0
        while not self._ended.is_set():
            if turn % 8 == 0:
                pids = self._pids()
            turn += 1
            self.bytes = max(self.bytes, sum(map(_proportional_kb, pids)) * 1024)
            self._ended.wait(POLL_S)


def _proportional_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def _children(pid: int) -> list[int]:
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if _parent(int(one.name)) == pid:
                found.append(int(one.name))
        except OSError:
            continue
    return found
