"""Fixtures shared by all tests: real databases on both engines, and every pairing of source and store.

The host stands in a zone far from UTC, and the PostgreSQL server in another, so that any arithmetic in local
time shows as a wrong day in whichever test meets it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import clickhouses
from tests.servers import PostgresServer, lease, roomy_folder
from tests.sql import rows_of, store_config
from tests.valkeys import FORGETFUL, ValkeyServer

HOST_ZONE = "Asia/Kathmandu"
SOAK = bool(os.environ.get("DAYFOLD_SOAK"))

os.environ["TZ"] = HOST_ZONE
time.tzset()

# The everyday run repeats the same histories, so that a red test is red again; the soak looks for new ones.
settings.register_profile(
    "dayfold",
    deadline=None,
    derandomize=not SOAK,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
)
settings.load_profile("dayfold")


#: Where a store's rows can be.
ENGINES = ("duckdb", "postgres", "clickhouse")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The PostgreSQL 18 server of this test run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with lease(folder) as server:
        yield server


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clickhouses.ClickHouseServer]:
    """The ClickHouse server of this test run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with clickhouses.lease(folder) as server:
        yield server


@pytest.fixture
def new_postgres(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes fresh PostgreSQL databases and returns their URLs; all are dropped after the test."""
    with contextlib.ExitStack() as databases:

        def make() -> str:
            server: PostgresServer = request.getfixturevalue("postgres_server")
            return databases.enter_context(server.database())

        yield make


@pytest.fixture
def new_duckdb() -> Iterator[Callable[..., str]]:
    """Names fresh DuckDB files, in a folder that goes after the test."""
    with tempfile.TemporaryDirectory(prefix="dayfold-duckdb-", dir=roomy_folder()) as folder:

        def make(name: str = "store") -> str:
            return f"duckdb:///{Path(folder) / name}.duckdb"

        yield make


@pytest.fixture
def new_clickhouse(
    request: pytest.FixtureRequest, new_duckdb: Callable[..., str], new_postgres: Callable[[], str]
) -> Iterator[Callable[..., str]]:
    """Makes fresh ClickHouse databases, each a store with a ledger in the engine that is asked for ("": none), and returns their URLs."""
    with contextlib.ExitStack() as databases:

        def make(ledger: str | None = None) -> str:
            server: clickhouses.ClickHouseServer = request.getfixturevalue("clickhouse_server")
            rows = databases.enter_context(server.database())
            if ledger == "":
                return rows
            home = (
                new_duckdb(f"ledger_{secrets.token_hex(4)}")
                if (ledger or _ledger(request.node.nodeid)) == "duckdb"
                else new_postgres()
            )
            return f"{rows}#{home}"

        yield make


def _ledger(test: str) -> str:
    """The engine of a ledger that nobody asked for: half of the tests get each, the same in every run."""
    return ("duckdb", "postgres")[zlib.crc32(test.encode()) % 2]


@pytest.fixture
def postgres_url(new_postgres: Callable[[], str]) -> str:
    """A fresh, empty PostgreSQL database."""
    return new_postgres()


@pytest.fixture
def duckdb_url(new_duckdb: Callable[..., str]) -> str:
    """A DuckDB file that does not exist yet."""
    return new_duckdb()


@pytest.fixture
def clickhouse_url(new_clickhouse: Callable[..., str]) -> str:
    """A fresh, empty ClickHouse database, and one for its ledger; `tests.sql.store_config` takes the two apart."""
    return new_clickhouse()


@pytest.fixture(scope="session")
def chdb_folder() -> Iterator[Path]:
    """The one folder that ClickHouse in this process keeps its tables in."""
    with tempfile.TemporaryDirectory(prefix="dayfold-chdb-", dir=roomy_folder(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def new_chdb(folder: Path) -> str:
    """A database of the engine in this process that does not exist yet."""
    return f"chdb:///{folder}?database=d{secrets.token_hex(6)}"


@pytest.fixture(params=ENGINES)
def store_url(request: pytest.FixtureRequest) -> str:
    """A fresh store, on each engine in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """A Valkey 9 server of this test process, for tests that do not end it."""
    with ValkeyServer(FORGETFUL) as server:
        yield server


@pytest.fixture
def live_words(valkey_server: ValkeyServer) -> dict[str, Any]:
    """What ``[live]`` says: a Valkey with keys of the test's own. A busy machine gets the time that it needs."""
    return {"url": valkey_server.url, "prefix": f"t{secrets.token_hex(6)}", "wait_ms": 20_000, "timeout_s": 20}


@dataclass(frozen=True)
class Pairing:
    """A source database and a store."""

    name: str
    source: str
    store: str

    @property
    def same(self) -> bool:
        """Whether the source's tables stand in the store."""
        return self.source == self.store

    @property
    def database(self) -> str | None:
        """What ``Table(…, database=…)`` says of the source."""
        return None if self.same else "app"

    @property
    def config(self) -> dict[str, Any]:
        """What ``dayfold.toml`` would say. The long view has tests of its own: making it is half of a small fold."""
        databases = {} if self.same else {"app": {"url": rows_of(self.source)}}
        return {**store_config(self.store, long_view=""), "databases": databases}


#: name: (engine of the source, engine of the store, whether they are one database). A ledger beside ClickHouse takes turns in both others.
PAIRINGS = {
    "duckdb-same": ("duckdb", "duckdb", True),
    "duckdb-files": ("duckdb", "duckdb", False),
    "duckdb-to-postgres": ("duckdb", "postgres", False),
    "postgres-to-duckdb": ("postgres", "duckdb", False),
    "postgres-same": ("postgres", "postgres", True),
    "postgres-databases": ("postgres", "postgres", False),
    "clickhouse-same": ("clickhouse", "clickhouse", True),
    "duckdb-to-clickhouse": ("duckdb", "clickhouse", False),
    "postgres-to-clickhouse": ("postgres", "clickhouse", False),
    "clickhouse-to-duckdb": ("clickhouse", "duckdb", False),
    "clickhouse-to-postgres": ("clickhouse", "postgres", False),
}


#: Folders of tests of what stands above the engines.
ABOVE = ("http", "clients", "tracker", "acceptance", "field")
#: Those in which rows travel, or are read from another database. Each test meets one of them; in the soak, all.
CROSSINGS = [name for name, (_, _, same) in PAIRINGS.items() if not same]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What the everyday run leaves to the soak.

    A test of all pairings runs as one database of each engine, and in the one crossing that its name picks. Of the tests that run on
    every engine, every other one runs with a store in ClickHouse. A test marked ``in_turn`` runs each of its cases on one engine, or in
    one pairing: its cases take turns.
    """
    if SOAK:
        return
    kept, left = [], []
    for item in items:
        mine = getattr(item, "callspec", None)
        name = mine.params.get("pairing") if mine is not None else None
        is_kept = name not in CROSSINGS or name == _crossing(item.nodeid, str(name))
        if mine is not None and "clickhouse" in (mine.params.get("store_url"), str(name).removesuffix("-same")):
            # What stands above the engines meets it in the soak alone.
            is_kept = zlib.crc32(item.nodeid.encode()) % 2 == 0 and item.path.parent.name not in ABOVE
        (kept if is_kept else left).append(item)
    alike: dict[str, list[pytest.Item]] = {}
    for item in kept:
        if item.get_closest_marker("in_turn") is not None:
            alike.setdefault(_GROUND.sub("*", item.nodeid), []).append(item)
    off = {
        id(one)
        for name, some in alike.items()
        for one in some
        if one is not some[zlib.crc32(name.encode()) % len(some)]
    }
    left += [one for one in kept if id(one) in off]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [one for one in kept if id(one) not in off]


#: The engine or the pairing in a test's name.
_GROUND = re.compile(rf"(?<=[\[-])(?:{'|'.join([*PAIRINGS, *ENGINES])})(?=[\]-])")


def _crossing(test: str, name: str) -> str:
    """The crossing of a test: the same for all its pairings, and the same in every run."""
    return CROSSINGS[zlib.crc32(test.replace(name, "").encode()) % len(CROSSINGS)]


@pytest.fixture(params=PAIRINGS)
def pairing(
    request: pytest.FixtureRequest,
    new_duckdb: Callable[..., str],
    new_postgres: Callable[[], str],
    new_clickhouse: Callable[..., str],
) -> Pairing:
    """Every pairing of source and store, as one database and as two."""
    source_engine, store_engine, same = PAIRINGS[request.param]

    def make(engine: str, role: str) -> str:
        if engine == "clickhouse":
            return new_clickhouse(None if role == "store" else "")
        return new_duckdb(role) if engine == "duckdb" else new_postgres()

    store = make(store_engine, "store")
    return Pairing(request.param, store if same else make(source_engine, "source"), store)
