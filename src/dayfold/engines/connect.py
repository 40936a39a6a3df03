"""Makes the store that an address names. Engines floor; a driver is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dayfold.engines.base import Source, Store
from dayfold.errors import ConfigError

if TYPE_CHECKING:
    from dayfold.engines.clickhouse import ClickHouse

SCHEMES = ("duckdb:///FILE", "postgresql://USER@HOST/DATABASE", "clickhouse://USER@HOST/DATABASE")


def store(
    url: str,
    *,
    setting: str,
    base: Path | None = None,
    schema: str | None = None,
    attach: Mapping[str, str] | None = None,
    read_only: bool = False,
    memory_limit: str | None = None,
) -> Store:
    """The store of an address; nothing is opened yet.

    ``setting`` names it in errors, ``attach`` are the addresses of DuckDB files that a DuckDB store reads too.

    Raises:
        ConfigError: for an address that no engine answers to.

    >>> store("duckdb:///shop.duckdb", setting="store.url").address
    'duckdb:///shop.duckdb'
    """
    if is_duckdb(url):
        from dayfold.engines.duckdb import DuckStore

        files = {name: duckdb_path(one, base) for name, one in (attach or {}).items()}
        return DuckStore(
            duckdb_path(url, base),
            schema=schema or "main",
            attach=files,
            read_only=read_only,
            memory_limit=memory_limit,
        )
    if url.startswith(("postgresql://", "postgres://")):
        from dayfold.engines.postgres import ADDRESS_HINT, PostgresStore

        try:
            _ = urlsplit(url).port
        except ValueError:
            raise ConfigError(f"{setting} is not a PostgreSQL address.", hint=ADDRESS_HINT) from None
        return PostgresStore(url, schema=schema)
    scheme = url.partition(":")[0] or "nothing"
    raise ConfigError(
        f"{setting} is an address that starts with '{scheme}:', which no engine answers to.",
        hint=f"Expected {' or '.join(SCHEMES)}.",
    )


def source(url: str, *, setting: str, base: Path | None = None) -> Source:
    """The database of an address, to be read; nothing is opened yet.

    Raises:
        ConfigError: for an address that no engine answers to.
    """
    return (
        clickhouse(url, setting, base) if is_clickhouse(url) else store(url, setting=setting, base=base, read_only=True)
    )


def clickhouse(url: str, setting: str, base: Path | None, schema: str | None = None) -> ClickHouse:
    """A ClickHouse database."""
    from dayfold.engines.clickhouse import ADDRESS_HINT, ClickHouse

    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ConfigError(f"{setting} is not a ClickHouse address.", hint=ADDRESS_HINT) from None
    return ClickHouse(url, schema=schema, base=base)


def is_clickhouse(url: str) -> bool:
    """Whether an address is that of a ClickHouse database, of a server or in this process."""
    return url.startswith(("clickhouse://", "chdb:///"))


def pair(
    rows: str, home: str | None, *, base: Path | None, schema: str | None, home_schema: str | None, family: str
) -> Store:
    """The store whose rows stand in ClickHouse, and whose ledger stands in another database.

    Raises:
        ConfigError: where there is no other database, or it cannot be told from the first.
    """
    from dayfold.engines.pair import PairStore

    if home is None:
        raise ConfigError(
            "The store is in ClickHouse, which has no transactions, and nothing says where its ledger is.",
            hint='Name a database for it: [ledger] url = "postgresql://USER@HOST/DATABASE", or "duckdb:///ledger.duckdb" where one '
            "process does everything.",
        )
    if is_clickhouse(home):
        raise ConfigError(
            "ledger.url is a ClickHouse address; a ledger needs transactions.",
            hint="Expected postgresql://USER@HOST/DATABASE or duckdb:///FILE.",
        )
    kept = store(home, setting="ledger.url", base=base, schema=home_schema)
    return PairStore(clickhouse(rows, "store.url", base, schema), kept, family=family)


def is_duckdb(url: str) -> bool:
    """Whether an address is that of a DuckDB file."""
    return url.startswith("duckdb:///") and len(url) > len("duckdb:///")


def duckdb_path(url: str, base: Path | None) -> str:
    """The file of a DuckDB address, a relative one taken from ``base``."""
    path = url.removeprefix("duckdb:///")
    if path == ":memory:":
        return path
    return str((base or Path()) / Path(path).expanduser())
