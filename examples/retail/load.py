"""Puts the order lines into a database, as table `order_line`; a table of that name is replaced.

python load.py duckdb:///retail.duckdb
python load.py postgresql://localhost/shop
"""

from __future__ import annotations

import sys
from pathlib import Path

ORDER_LINE = Path(__file__).parent / "data" / "order_line.parquet"

# One spelling that both engines read.
CREATE = """
    CREATE TABLE order_line (
        invoice text NOT NULL,
        stock_code text NOT NULL,
        description text,
        quantity integer NOT NULL,
        invoiced_at timestamp NOT NULL,
        price decimal(12, 3) NOT NULL,
        customer_id bigint,
        country text NOT NULL
    )
"""


def load(url: str) -> int:
    """Fill `order_line` in the database at `url` in one transaction and return its number of rows.

    Idempotent: the table is dropped and made again.

    Raises:
        ValueError: `url` is neither duckdb:///PATH nor postgresql://….
    """
    if url.startswith("duckdb:///"):
        return _load_duckdb(url.removeprefix("duckdb:///"))
    if url.startswith(("postgresql://", "postgres://")):
        return _load_postgres(url)
    scheme = url.partition(":")[0]
    raise ValueError(f"expected duckdb:///PATH or postgresql://…, got a URL starting with {scheme!r}")


def _load_duckdb(path: str) -> int:
    import duckdb  # each driver is needed for its own engine only

    with duckdb.connect(path) as connection:
        connection.execute("BEGIN")
        connection.execute("DROP TABLE IF EXISTS order_line")
        connection.execute(CREATE)
        connection.execute("INSERT INTO order_line SELECT * FROM read_parquet(?)", [str(ORDER_LINE)])
        connection.execute("COMMIT")
        row = connection.execute("SELECT count(*) FROM order_line").fetchone()
    assert row is not None
    return int(row[0])


def _load_postgres(url: str) -> int:
    import psycopg
    import pyarrow.csv
    import pyarrow.parquet

    lines = pyarrow.parquet.ParquetFile(ORDER_LINE)
    plain = pyarrow.csv.WriteOptions(include_header=False, delimiter=",")
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS order_line")
        cursor.execute(CREATE)
        # Arrow writes NULL as nothing and text in quotes, which is how COPY csv reads them.
        with cursor.copy("COPY order_line FROM STDIN (FORMAT csv)") as copy:
            for batch in lines.iter_batches(batch_size=100_000):
                block = pyarrow.BufferOutputStream()
                pyarrow.csv.write_csv(batch, block, plain)
                copy.write(block.getvalue().to_pybytes())
        row = cursor.execute("SELECT count(*) FROM order_line").fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python load.py duckdb:///retail.duckdb")
    print(f"order_line: {load(sys.argv[1]):,} rows")
