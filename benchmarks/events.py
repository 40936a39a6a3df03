"""The events that every contestant folds: made once per size, the same on every machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

ACCOUNTS, DAYS, YEAR = 500, 90, 365

# In order of time, as an application appends them. Every account has 2,000 visitors of its own, some far more
# active than others; with ten million events nine in ten (account, day, visitor) are new: hard for a set.
MAKE = f"""
    CREATE TABLE event AS
    SELECT
        i AS id,
        'account-' || lpad((hash(i * 7 + 1) % {ACCOUNTS})::varchar, 3, '0') AS account,
        TIMESTAMPTZ '2025-01-01 00:00:00+00'
            + to_microseconds((i::hugeint * $days * 86400000000 // $rows)::bigint) AS occurred_at,
        (['view', 'click', 'purchase', 'signup'])[1 + (hash(i * 11 + 3) % 4)::int] AS kind,
        ((hash(i * 13 + 5) % 1000000)::decimal(18, 2) / 100)::decimal(12, 2) AS amount,
        'visitor-' || lpad((
            (hash(i * 7 + 1) % {ACCOUNTS}) * 2000
            + (hash(i * 17 + 7) % 1000) * (hash(i * 19 + 9) % 2000) // 1000
        )::varchar, 7, '0') AS visitor
    FROM range($rows) AS t (i)
"""


def duckdb_file(rows: int, work: Path, days: int = DAYS) -> Path:
    """A DuckDB file with the table `event` of so many rows over so many days; made if it is not there."""
    file = work / (f"events_{rows}.duckdb" if days == DAYS else f"events_{rows}_{days}.duckdb")
    if not file.exists():
        partial = file.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with duckdb.connect(str(partial)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(MAKE.replace("$rows", str(rows)).replace("$days", str(days)))
        partial.rename(file)
    return file


def store_copy(rows: int, work: Path, folder: Path, days: int = DAYS) -> Path:
    """A fresh store file with the events, in a folder."""
    store = folder / "store.duckdb"
    shutil.copyfile(duckdb_file(rows, work, days), store)
    return store


def fill_postgres(url: str, rows: int, work: Path, days: int = DAYS, index: str = "") -> None:
    """The table `event` in a PostgreSQL database, with statistics; the rows are the DuckDB file's.

    ``index``: a statement to run once the rows are there.
    """
    import psycopg

    plain = work / f"events_{rows}.csv"
    with duckdb.connect(str(duckdb_file(rows, work, days)), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY event TO '{plain}' (HEADER false)")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE event (id bigint PRIMARY KEY, account text NOT NULL, "
            "occurred_at timestamptz NOT NULL, "
            "kind text NOT NULL, amount numeric(12, 2) NOT NULL, visitor text)"
        )
        with connection.cursor().copy("COPY event FROM STDIN (FORMAT csv)") as copy, plain.open("rb") as file:
            while block := file.read(1 << 20):
                copy.write(block)
        if index:
            connection.execute(index)
        connection.execute("VACUUM ANALYZE event")
        connection.execute("CHECKPOINT")
    plain.unlink()
