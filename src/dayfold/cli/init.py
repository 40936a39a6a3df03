"""``dayfold init``: a commented metrics.py and dayfold.toml. A door."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dayfold.cli.output import JsonOption, write_json
from dayfold.errors import UsageError

METRICS = '''"""What is counted, and when. Importing this file opens nothing; `dayfold fold` folds it."""

from dayfold import Count, Distinct, Ratio, Rollup, Sum, Table

# A table of [databases.app] in dayfold.toml; without database=… it is looked for in the store.
orders = Table("orders", database="app")


class ShopDaily(Rollup):
    """What one shop sold on one day."""

    key = "shop_id"          # one column, a tuple of columns, or () for one row a day
    # lookback = 7           # days before today that every fold computes again, for late rows
    # since = "2024-01-01"   # the first day of history; default: the day of the first order

    # `at` is the column that says when a fact counts. Naive times are UTC unless
    # Moment("created_at", tz="Europe/London") says otherwise.
    orders_count = Count(orders, at="created_at")
    paid_count = Count(orders, at="created_at", where="status = 'paid'")
    revenue = Sum(orders, "amount", at="created_at", where="status = 'paid'")
    customers = Distinct(orders, "customer_id", at="created_at")
    revenue_per_order = Ratio("revenue", "paid_count")
'''
TOML = """# Where rollups live. An embedded DuckDB file, postgresql://user@host/database, or clickhouse://user@host:8123/database
# with its ledger in one of the other two: [ledger] url = "postgresql://…"
[store]
url = "duckdb:///dayfold.duckdb"

# Where your tables live; they are only read. Any text may read a variable: ${NAME} or ${NAME:-default}
[databases.app]
url = "${APP_DATABASE_URL:-postgresql://readonly@localhost/app}"

# [fold]
# chunk_rows = 10000000   # facts that one transaction of a backfill covers
# wait_s = 60             # seconds to wait for another run of the same rollup
"""


def run(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to put them.", show_default="this folder")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a commented metrics.py and dayfold.toml to begin with."""
    files = {folder / "metrics.py": METRICS, folder / "dayfold.toml": TOML}
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise UsageError(
            f"{' and '.join(there)} {'exists' if len(there) == 1 else 'exist'} already.",
            hint="Name another folder, or replace them with --force.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    if json:
        write_json({"written": [str(path) for path in files]})
        return
    for path in files:
        print(f"wrote {path}")
    print(
        "\nEdit them to name your tables, then:\n  dayfold doctor\n  dayfold plan\n  dayfold fold\n  dayfold query "
        "ShopDaily --from -7d"
    )
