"""Makes the three tables of the application and fills them, the same rows on every machine; old ones are replaced.

    python load.py duckdb:///creator_app.duckdb
    python load.py postgresql://localhost/app --scale 0.1
    python load.py duckdb:///creator_app.duckdb --history

Full size is 8,500 posts, 400 days from 2025-01-01 and about a million rows; a scale takes that part of the posts.
`--history` changes the loaded rows as `history.sql` says. Both engines get the same rows: DuckDB draws them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TABLES = ("daily_revenue", "marketing_post", "post_snapshot")
POSTS, DAYS = 8_500, 400
#: The history needs some posts.
FEWEST_POSTS = 100
FIRST, DOWN = "2025-01-01 00:00:00+00", "2025-06-15 00:00:00+00"


def load(url: str, scale: float = 1.0) -> int:
    """Fill the tables in the database at `url` in one transaction and return how many rows they have.

    Raises:
        ValueError: `url` is neither duckdb:///PATH nor postgresql://….
    """
    with _connected(url) as connection:
        _run(connection, "schema.sql")
        if _is_duckdb(url):
            _generate(connection, scale)
        else:
            _copy(connection, scale)
        _run(connection, "indexes.sql")
        return sum(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)


def apply_history(url: str) -> int:
    """Run the statements of `history.sql`, each in a transaction of its own, and return how many there were."""
    statements = _statements("history.sql")
    for statement in statements:
        with _connected(url) as connection:
            connection.execute(statement)
    return len(statements)


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
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
    else:
        import psycopg

        with psycopg.connect(url) as connection:
            yield connection


def _statements(name: str) -> list[str]:
    """The statements of a file; none of them holds a semicolon."""
    lines = [line for line in (HERE / name).read_text(encoding="utf-8").splitlines() if not line.startswith("--")]
    return [one.strip() for one in "\n".join(lines).split(";") if one.strip()]


def _run(connection: Any, name: str) -> None:
    for statement in _statements(name):
        connection.execute(statement)


def _generate(connection: Any, scale: float) -> None:
    """Draw the rows, in DuckDB."""
    words = {
        "$posts": str(max(FEWEST_POSTS, round(POSTS * scale))),
        "$days": str(DAYS),
        "$first": f"'{FIRST}'",
        "$down": f"'{DOWN}'",
    }
    for statement in _statements("generate.sql"):
        connection.execute(re.sub(r"\$\w+", lambda found: words[found[0]], statement))


def _copy(connection: Any, scale: float) -> None:
    """Draw the rows in a DuckDB in memory and send them to PostgreSQL."""
    import duckdb
    import pyarrow as pa
    import pyarrow.csv

    plain = pyarrow.csv.WriteOptions(include_header=False)
    with duckdb.connect() as drawn, connection.cursor() as cursor:
        drawn.execute("SET TimeZone = 'UTC'")
        _run(drawn, "schema.sql")
        _generate(drawn, scale)
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
    parser.add_argument("--scale", type=float, default=1.0, help="part of the posts (default: 1, which is 8,500)")
    parser.add_argument("--history", action="store_true", help="change the rows that are there, as history.sql says")
    words = parser.parse_args()
    if words.history:
        print(f"history.sql: {apply_history(words.url)} statements")
    else:
        print(f"{len(TABLES)} tables: {load(words.url, words.scale):,} rows")


if __name__ == "__main__":
    _main()
