"""Writes a DuckDB file anew, so that nothing stands in it but what its tables hold. Engines floor.

Deleting leaves rows in their blocks, blocks in the free list and names in metadata; a checkpoint overwrites none of it. So all that
is there is copied into a file beside, which then takes the name of the first one while this process still has that one's lock: nobody
else can have been writing to it.

Invariant: at every moment one whole file has the name. A process that ends in between leaves the old one, or the new one.

Weakness: it takes the time and the disk of a copy, and nobody else reads or writes meanwhile. Between the two files another process
may take the new one for a moment; what works here is then told that the file is locked, and nothing is lost.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from dayfold.errors import Busy, StoreError
from dayfold.plan.shape import quoted

if TYPE_CHECKING:
    from dayfold.engines.duckdb import DuckStore

#: What the new file is called until it takes the old one's name.
SUFFIX = ".rewriting"
_FRESH = "dayfold_rewriting"
#: How long is waited until nobody works with the file.
_WAIT_S = 30.0


def rewrite(store: DuckStore) -> tuple[list[str], list[str]]:
    """The file holds what its tables hold and nothing else; what was rewritten, and what may still hold more.

    Raises:
        Busy: where somebody works with the file for too long.
    """
    if store.path == ":memory:":
        return [], []
    path = Path(store.path).expanduser().resolve()
    with store.alone(_WAIT_S):
        connection = store._open(writing=True)
        [(connections,)] = connection.execute("FROM duckdb_connection_count()").fetchall()
        if connections > 1:
            raise Busy(
                f"Something else in this process has the DuckDB file {path} open.",
                hint="Close that connection, and run the same again; nothing is lost.",
            )
        try:
            fresh = _copied(store, connection, path)
            _take_place(store, connection, fresh, path)
        except duckdb.Error as error:
            raise StoreError(
                f"The DuckDB file {path} could not be written anew ({type(error).__name__}).",
                hint="It needs as much free disk as the file has. Run the same again; nothing is lost.",
            ) from None
        store._open(writing=True)
    return [f"the file {path.name}"], ["copies of the file that the file system itself keeps, such as snapshots"]


def _copied(store: DuckStore, connection: duckdb.DuckDBPyConnection, path: Path) -> Path:
    """A file beside with all that the store's file has."""
    fresh = path.with_name(path.name + SUFFIX)
    for leftover in (fresh, _wal(fresh)):
        leftover.unlink(missing_ok=True)
    home = store._home
    connection.execute("CHECKPOINT")
    connection.execute(f"ATTACH '{str(fresh).replace(chr(39), chr(39) * 2)}' AS {_FRESH}")
    try:
        # Days stand together in the log: ranges are found by the bounds of blocks.
        connection.execute("SET GLOBAL preserve_insertion_order = true")
        connection.execute(f"COPY FROM DATABASE {quoted(home)} TO {_FRESH}")
        _copy_triggers(connection, home)
        _compare(connection, home)
    finally:
        connection.execute("SET GLOBAL preserve_insertion_order = false")
        connection.execute(f"USE {quoted(home)}")
        connection.execute(f"DETACH {_FRESH}")
    return fresh


def _copy_triggers(connection: duckdb.DuckDBPyConnection, home: str) -> None:
    """Copying a database leaves triggers out."""
    found = connection.execute(
        "SELECT schema_name, sql FROM duckdb_triggers() WHERE database_name = ? ORDER BY trigger_oid", [home]
    ).fetchall()
    for schema, text in found:
        connection.execute(f"USE {_FRESH}.{quoted(schema)}")
        connection.execute(text)


#: What has to be the same in both files, each with the names that tell one from another.
_CATALOGUE = (
    "SELECT schema_name, table_name, has_primary_key, comment FROM duckdb_tables() WHERE database_name = ?",
    "SELECT schema_name, table_name, column_name, data_type, is_nullable, column_default, comment FROM duckdb_columns() WHERE "
    "NOT internal AND database_name = ?",
    "SELECT schema_name, view_name, comment FROM duckdb_views() WHERE NOT internal AND database_name = ?",
    "SELECT schema_name, index_name, table_name, is_unique, expressions FROM duckdb_indexes() WHERE database_name = ?",
    "SELECT schema_name, table_name, constraint_type, constraint_text FROM duckdb_constraints() WHERE database_name = ?",
    "SELECT schema_name, sequence_name, increment_by, coalesce(last_value + increment_by, start_value) FROM duckdb_sequences() WHERE "
    "database_name = ?",
    "SELECT schema_name, table_name, trigger_name FROM duckdb_triggers() WHERE database_name = ?",
    "SELECT schema_name, function_name FROM duckdb_functions() WHERE NOT internal AND database_name = ?",
)


def _compare(connection: duckdb.DuckDBPyConnection, home: str) -> None:
    """Raise StoreError where the new file lacks anything of the old one."""
    for query in _CATALOGUE:
        old, new = (sorted(map(repr, connection.execute(query, [one]).fetchall())) for one in (home, _FRESH))
        what = re.search(r"FROM duckdb_(\w+)", query)[1]  # type: ignore[index]  # each of them reads one
        if old == new and what == "tables":
            tables = connection.execute(query, [home]).fetchall()
            old, new = (
                [str(_rows(connection, one, schema, name)) for schema, name, *_ in tables] for one in (home, _FRESH)
            )
        if old != new:
            raise StoreError(
                f"The copy of {home} has other {what} than the file, which stays as it is.",
                hint="Something in it is of a kind that DuckDB does not copy. What was deleted may still stand in free blocks.",
            )


def _rows(connection: duckdb.DuckDBPyConnection, database: str, schema: str, name: str) -> int:
    place = ".".join(map(quoted, (database, schema, name)))
    return int(connection.execute(f"SELECT count(*) FROM {place}").fetchall()[0][0])


def _take_place(store: DuckStore, connection: duckdb.DuckDBPyConnection, fresh: Path, path: Path) -> None:
    """The new file has the old one's name; the old one is no more."""
    if _wal(path).exists() and _wal(path).stat().st_size:
        raise Busy(f"{store.address} was written to meanwhile.", hint="Run the same again; nothing is lost.")
    _wal(path).unlink(missing_ok=True)
    fresh.chmod(path.stat().st_mode & 0o777)
    _synced(fresh)
    # Whoever closes the old file would else look after a log of the same name.
    connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    fresh.replace(path)
    _synced(path.parent)
    store.close()


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _synced(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
