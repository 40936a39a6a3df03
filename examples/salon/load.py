"""Makes the tables of the booking system and fills them, the same rows on every machine; old ones are replaced.

    python load.py duckdb:///salon.duckdb
    python load.py postgresql://localhost/salon --customers 500000
    python load.py duckdb:///salon.duckdb --changes

6,700 customers of two organizations over six years up to today, with bookings of the next two months. `--changes` changes
the loaded rows as `changes.sql` says. Both engines get the same rows: DuckDB draws them. Today is the UTC day of the
machine, or of DAYFOLD_NOW.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TABLES = ("locations", "customers", "bookings", "payments", "referral_profiles")
CUSTOMERS = 6_700
#: What `changes.sql` names is there from this size on.
FEWEST_CUSTOMERS = 300


def load(url: str, customers: int = CUSTOMERS, today: dt.date | None = None) -> int:
    """Fill the tables in the database at `url` in one transaction and return how many rows they have.

    Raises:
        ValueError: `url` is neither duckdb:///PATH nor postgresql://…, or there are too few customers.
    """
    if customers < FEWEST_CUSTOMERS:
        raise ValueError(f"expected {FEWEST_CUSTOMERS} customers or more, got {customers}")
    words = _words(today or present_day()) | {"$customers": str(customers)}
    with _connected(url) as connection:
        _run(connection, "schema.sql")
        if _is_duckdb(url):
            _run(connection, "generate.sql", words)
        else:
            _copy(connection, words)
        _run(connection, "indexes.sql")
        return sum(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)


def apply_changes(url: str, today: dt.date | None = None) -> int:
    """Run the statements of `changes.sql`, each in a transaction of its own, and return how many there were."""
    statements = _statements("changes.sql", _words(today or present_day()))
    for statement in statements:
        with _connected(url) as connection:
            connection.execute(statement)
    return len(statements)


def present_day() -> dt.date:
    """The UTC day of the machine, or of DAYFOLD_NOW, which the command takes for the present as well."""
    pretended = os.environ.get("DAYFOLD_NOW")
    moment = dt.datetime.fromisoformat(pretended) if pretended else dt.datetime.now(dt.UTC)
    return moment.astimezone(dt.UTC).date()


def _words(today: dt.date) -> dict[str, str]:
    return {"$today": f"'{today} 00:00:00+00'"}


def _is_duckdb(url: str) -> bool:
    if url.startswith("duckdb:///"):
        return True
    if url.startswith(("postgresql://", "postgres://")):
        return False
    scheme = url.partition(":")[0]
    raise ValueError(f"expected duckdb:///PATH or postgresql://…, got a URL starting with {scheme!r}")


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    """A connection and one transaction."""
    if _is_duckdb(url):
        import duckdb  # each driver is needed for its own engine only

        with duckdb.connect(url.removeprefix("duckdb:///")) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
    else:
        import psycopg

        with psycopg.connect(url) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            yield connection


def _statements(name: str, words: dict[str, str] | None = None) -> list[str]:
    """The statements of a file, with its words filled in; none of them holds a semicolon."""
    lines = [line for line in (HERE / name).read_text(encoding="utf-8").splitlines() if not line.startswith("--")]
    text = re.sub(r"\$[a-z]+", lambda found: (words or {})[found[0]], "\n".join(lines))
    return [one.strip() for one in text.split(";") if one.strip()]


def _run(connection: Any, name: str, words: dict[str, str] | None = None) -> None:
    for statement in _statements(name, words):
        connection.execute(statement)


def _copy(connection: Any, words: dict[str, str]) -> None:
    """Draw the rows in a DuckDB in memory and send them to PostgreSQL."""
    import duckdb
    import pyarrow as pa
    import pyarrow.csv

    plain = pyarrow.csv.WriteOptions(include_header=False)
    with duckdb.connect() as drawn, connection.cursor() as cursor:
        drawn.execute("SET TimeZone = 'UTC'")
        _run(drawn, "schema.sql")
        _run(drawn, "generate.sql", words)
        for table in TABLES:
            # Arrow writes NULL as nothing and text in quotes, which is how COPY csv reads them.
            with cursor.copy(f"COPY {table} FROM STDIN (FORMAT csv)") as copy:
                for batch in drawn.sql(f"FROM {table}").to_arrow_reader(100_000):
                    block = pa.BufferOutputStream()
                    pyarrow.csv.write_csv(batch, block, plain)
                    copy.write(block.getvalue().to_pybytes())
            cursor.execute(f"ANALYZE {table}")


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url", help="duckdb:///PATH or postgresql://…")
    parser.add_argument("--customers", type=int, default=CUSTOMERS, help=f"how many customers (default: {CUSTOMERS:,})")
    parser.add_argument("--today", type=dt.date.fromisoformat, help="the day that the rows lead up to (default: today)")
    parser.add_argument("--changes", action="store_true", help="change the rows that are there, as changes.sql says")
    words = parser.parse_args()
    if words.changes:
        print(f"changes.sql: {apply_changes(words.url, words.today)} statements")
    else:
        print(f"{len(TABLES)} tables: {load(words.url, words.customers, words.today):,} rows")


if __name__ == "__main__":
    _main()
