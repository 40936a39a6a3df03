"""Every figure of the retail example against plain queries over its Parquet file, on both stores.

The oracle reads the file with DuckDB alone, imports nothing of the product, and turns London wall time into UTC by
the rule of the law: an hour is taken off from 01:00 UTC on the last Sunday of March to 01:00 UTC on that of October.
"""

from __future__ import annotations

import csv
import datetime as dt
import fcntl
import importlib.util
import io
import json
import lzma
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from tests.acceptance.command import succeeds
from tests.servers import PostgresServer
from tests.sql import run_sql, store_config

pytestmark = pytest.mark.in_turn

EXAMPLE = Path(__file__).parents[2] / "examples" / "retail"
NOW = dt.datetime(2011, 12, 10, 12, tzinfo=dt.UTC)
FIRST, LAST = "2009-12-01", "2011-12-09"
ALL = (FIRST, LAST)
#: Cuts a week, a month, a quarter and a year at both ends.
INSIDE = ("2010-02-10", "2011-10-20")
GRAINS = ("day", "week", "month", "quarter", "year", "total")
SALES = ("lines", "orders", "customers", "items", "revenue", "cancelled_lines", "revenue_per_order")
RETURNS = ("returned_lines", "returned_items", "refunded")
PRODUCTS = ("lines", "customers", "items", "revenue")

# No DST change of another year lies in the data.
SUMMER = "(wall >= '2010-03-28 02:00' and wall < '2010-10-31 02:00') or (wall >= '2011-03-27 02:00' and wall < '2011-10-30 02:00')"
FACTS = f"""
    SELECT *, CAST(CASE WHEN {SUMMER} THEN wall - INTERVAL 1 hour ELSE wall END AS date) AS day
    FROM (SELECT *, invoiced_at + INTERVAL (?) hour AS wall FROM read_parquet(?))
"""
FIGURES = """
    count(f.invoice) AS lines,
    count(DISTINCT f.invoice) AS orders,
    count(DISTINCT f.customer_id) AS customers,
    coalesce(sum(f.quantity), 0) AS items,
    coalesce(sum(f.quantity * f.price), 0) AS revenue,
    count(CASE WHEN left(f.invoice, 1) = 'C' THEN 1 END) AS cancelled_lines,
    count(CASE WHEN left(f.invoice, 1) = 'C' THEN 1 END) AS returned_lines,
    coalesce(sum(CASE WHEN left(f.invoice, 1) = 'C' THEN -f.quantity END), 0) AS returned_items,
    coalesce(sum(CASE WHEN left(f.invoice, 1) = 'C' THEN -f.quantity * f.price END), 0) AS refunded,
    CAST(sum(f.quantity * f.price) AS double) / CAST(nullif(count(DISTINCT f.invoice), 0) AS double) AS revenue_per_order
"""


class Oracle:
    """Plain queries over the file."""

    def __init__(self, hours_later: int = 0) -> None:
        self.connection = duckdb.connect()
        self.connection.execute(
            f"CREATE TABLE fact AS {FACTS}", [hours_later, str(EXAMPLE / "data" / "order_line.parquet")]
        )

    def figures(
        self, name: str, span: tuple[str, str], grain: str, by: tuple[str, ...] = (), where: str = "true"
    ) -> None:
        """Keep a row for every bucket of a range and every group that has facts in it as a table of that name."""
        first, last = (f"DATE '{day}'" for day in span)
        keys = "".join(f", {key}" for key in by)
        matched = " AND ".join(["f.bucket = b.bucket", *(f"f.{key} IS NOT DISTINCT FROM g.{key}" for key in by)])
        days = f"SELECT CAST(unnest(generate_series({first}, {last}, INTERVAL 1 day)) AS date) AS day"
        start = {"day": "day", "total": first}.get(
            grain, f"greatest(CAST(date_trunc('{grain}', day) AS date), {first})"
        )
        self.connection.execute(f"""
            CREATE OR REPLACE TABLE {name} AS
            WITH chosen AS (SELECT *, {start} AS bucket FROM fact WHERE day BETWEEN {first} AND {last} AND ({where})),
                buckets AS (SELECT DISTINCT {start} AS bucket FROM ({days})),
                groups AS (SELECT DISTINCT 1 AS one{keys} FROM chosen)
            SELECT b.bucket AS day{"".join(f", g.{key}" for key in by)}, {FIGURES}
            FROM buckets AS b CROSS JOIN groups AS g LEFT JOIN chosen AS f ON {matched}
            GROUP BY ALL
        """)

    def differences(
        self, name: str, answer: Any, keys: tuple[str, ...], metrics: tuple[str, ...]
    ) -> list[tuple[Any, ...]]:
        """Rows of an answer (as Arrow) that the kept table does not have in every digit, and the other way round."""
        matched = " AND ".join(f"e.{key} IS NOT DISTINCT FROM a.{key}" for key in keys)
        unequal = " OR ".join(f"e.{metric} IS DISTINCT FROM a.{metric}" for metric in metrics)
        shown = ", ".join(
            [*(f"coalesce(e.{key}, a.{key})" for key in keys), *(f"[e.{m}::text, a.{m}::text]" for m in metrics)]
        )
        self.connection.register("answer", answer)
        found = self.connection.execute(
            f"SELECT {shown} FROM {name} AS e FULL JOIN answer AS a ON {matched} WHERE e.day IS NULL OR a.day IS NULL OR {unequal} LIMIT 5"
        ).fetchall()
        counts = self.connection.execute(
            f"SELECT count(*) FROM {name} UNION ALL SELECT count(*) FROM answer"
        ).fetchall()
        self.connection.unregister("answer")
        assert counts[0] == counts[1]
        return found


@dataclass
class Retail:
    """The example, folded once by the command on one engine."""

    folder: Path
    url: str
    runs: list[dict[str, Any]]
    app: Dayfold

    def differences(
        self, oracle: Oracle, rollup: str, metrics: tuple[str, ...], span: tuple[str, str], grain: str, **words: Any
    ) -> list[tuple[Any, ...]]:
        """How the answer to a question differs from the oracle's; ``condition`` says the oracle's filter in SQL."""
        condition = words.pop("condition", "true")
        by = tuple(words.get("by", ()))
        answer = self.app.query(rollup, metrics, from_=span[0], to=span[1], grain=grain, **words)
        assert not answer.missing
        assert all(answer.exact.values())
        assert answer.error == {}
        oracle.figures("expected", span, grain, by, condition)
        return oracle.differences("expected", answer.table, ("day", *by), metrics)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def retail(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retail]:
    """Folded by the first worker that asks; the others wait for it and read the same rows."""
    engine = request.param
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / f"retail-{engine}"
    server: PostgresServer | None = request.getfixturevalue("postgres_server") if engine == "postgres" else None
    url = server.url("retail") if server else "duckdb:///retail.duckdb"
    with (shared / f"retail-{engine}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "runs.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            if server:
                server.execute("DROP DATABASE IF EXISTS retail WITH (FORCE)")
                server.execute("CREATE DATABASE retail TEMPLATE template0")
            load(url if server else f"duckdb:///{folder}/retail.duckdb")
            _write_files(folder, url)
            done = succeeds("fold", "--json", cwd=folder, env={"DAYFOLD_NOW": NOW.isoformat()})
            (folder / "runs.json").write_text(done.out)
    if not server:
        # One process owns a DuckDB file, so every worker has its own.
        mine = tmp_path_factory.mktemp("retail") / "retail"
        shutil.copytree(folder, mine)
        folder, url = mine, f"duckdb:///{mine}/retail.duckdb"
    with Dayfold(folder / "metrics.py", clock=FixedClock(NOW)) as app:
        yield Retail(folder, url, json.loads((folder / "runs.json").read_text())["runs"], app)


def load(url: str) -> None:
    spec = importlib.util.spec_from_file_location("retail_load", EXAMPLE / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.load(url) == 1_067_371


def _write_files(folder: Path, url: str) -> None:
    shutil.copyfile(EXAMPLE / "metrics.py", folder / "metrics.py")
    (folder / "dayfold.toml").write_text(f'[store]\nurl = "{url}"\n')


def test_fold_reports_every_cell(retail: Retail, oracle: Oracle) -> None:
    """A run says how many cells it computed and rows it wrote: as many as there are days with facts of each key."""
    countries, products, returns = oracle.connection.execute(
        "SELECT count(DISTINCT (day, country)), count(DISTINCT (day, stock_code)), "
        "count(DISTINCT (day, country)) FILTER (WHERE left(invoice, 1) = 'C') FROM fact"
    ).fetchall()[0]
    told = [
        (run["rollup"], run["status"], run["cells"], run["rows_inserted"], run["rows_updated"], run["rows_deleted"])
        for run in retail.runs
    ]
    assert told == [
        ("SalesDaily", "done", countries, countries, 0, 0),
        ("ProductDaily", "done", products, products, 0, 0),
        ("ReturnsDaily", "done", returns, returns, 0, 0),
    ]


@pytest.mark.parametrize(
    ("table", "key", "metrics", "facts"),
    [
        ("sales_daily", "country", SALES[:-1], "true"),
        ("product_daily", "stock_code", PRODUCTS, "true"),
        ("returns_daily", "country", RETURNS, "left(invoice, 1) = 'C'"),
    ],
)
def test_stored_rows_are_the_plain_group_by(
    retail: Retail, oracle: Oracle, table: str, key: str, metrics: tuple[str, ...], facts: str, tmp_path: Path
) -> None:
    """The table itself holds one row for each key and day that has facts, and nothing else."""
    names = ", ".join(("day", key, *metrics))
    if retail.url.startswith("duckdb"):
        retail.app.close()
        with duckdb.connect(retail.url.removeprefix("duckdb:///")) as connection:
            rows = connection.sql(f"SELECT {names} FROM {table}").to_arrow_table()
    else:
        query = f"COPY (SELECT {names} FROM {table}) TO STDOUT (FORMAT csv)"
        with psycopg.connect(retail.url) as connection, connection.cursor() as cursor, cursor.copy(query) as copy:
            (tmp_path / "rows.csv").write_bytes(b"".join(copy))
        types = {"day": "date", key: "text", "revenue": "decimal(38, 3)", "refunded": "decimal(38, 3)"}
        columns = {name: types.get(name, "bigint") for name in names.split(", ")}
        rows = oracle.connection.sql(
            f"FROM read_csv('{tmp_path}/rows.csv', header = false, columns = {columns})"
        ).to_arrow_table()
    oracle.connection.execute(
        f"CREATE OR REPLACE TABLE expected AS SELECT f.day, f.{key}, {FIGURES} FROM fact AS f WHERE {facts} GROUP BY ALL"
    )
    assert oracle.differences("expected", rows, ("day", key), metrics) == []


@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize(
    ("words", "condition"),
    [
        pytest.param({}, "true", id="all-countries"),
        pytest.param({"by": ("country",)}, "true", id="by-country"),
        pytest.param({"where": ["country=EIRE"]}, "country = 'EIRE'", id="one-country"),
        pytest.param(
            {"where": ["country=France", "country=Japan", "country!=Japan"], "by": ("country",)},
            "country = 'France'",
            id="any-of-and-not",
        ),
        pytest.param({"where": ["country!=United Kingdom"]}, "country <> 'United Kingdom'", id="all-but-one"),
    ],
)
def test_sales(retail: Retail, oracle: Oracle, grain: str, words: dict[str, Any], condition: str) -> None:
    """All metrics of SalesDaily, over the whole history and over a range that cuts its buckets, in every grain."""
    for span in (ALL, INSIDE):
        assert retail.differences(oracle, "SalesDaily", SALES, span, grain, condition=condition, **words) == []


@pytest.mark.parametrize("grain", GRAINS)
def test_products_together(retail: Retail, oracle: Oracle, grain: str) -> None:
    """All metrics of ProductDaily over all products: distinct customers are united, not added up."""
    assert retail.differences(oracle, "ProductDaily", PRODUCTS, ALL, grain) == []


@pytest.mark.parametrize("grain", ["month", "quarter", "year", "total"])
def test_products_one_by_one(retail: Retail, oracle: Oracle, grain: str) -> None:
    """All metrics of ProductDaily for each of its 5,305 products."""
    assert retail.differences(oracle, "ProductDaily", PRODUCTS, ALL, grain, by=("stock_code",)) == []


@pytest.mark.parametrize("grain", ["day", "week"])
def test_some_products_by_day_and_week(retail: Retail, oracle: Oracle, grain: str) -> None:
    """All metrics of the twenty best sold products, and of some whose codes are not numbers."""
    best = oracle.connection.execute(
        "SELECT stock_code FROM fact GROUP BY 1 ORDER BY sum(quantity) DESC, 1 LIMIT 20"
    ).fetchall()
    codes = [code for (code,) in best] + ["POST", "85123a", "85123A", "gift_0001_20", "TEST001"]
    quoted = ", ".join(f"'{code}'" for code in codes)
    words = {"by": ("stock_code",), "where": [f"stock_code={code}" for code in codes]}
    found = retail.differences(
        oracle, "ProductDaily", PRODUCTS, ALL, grain, condition=f"stock_code IN ({quoted})", **words
    )
    assert found == []


def test_known_totals(retail: Retail) -> None:
    """Two years in one row, as the example's README states them."""
    rows = retail.app.query("SalesDaily", from_=FIRST, to=LAST, grain="total").rows
    assert rows == [
        {
            "day": dt.date(2009, 12, 1),
            "lines": 1_067_371,
            "orders": 53_628,
            "customers": 5_942,
            "items": 10_608_492,
            "revenue": Decimal("19287250.568"),
            "cancelled_lines": 19_494,
            "revenue_per_order": 19287250.568 / 53628,
        }
    ]


def test_command_prints_the_same_figures(retail: Retail) -> None:
    """What the command prints as JSON is the answer, in every digit."""
    if retail.url.startswith("duckdb"):
        retail.app.close()
    words = (
        "query",
        "SalesDaily",
        "-m",
        "orders,customers",
        "-m",
        "revenue",
        "--from",
        FIRST,
        "--to",
        LAST,
        "--grain",
        "total",
        "--json",
    )
    done = succeeds(*words, cwd=retail.folder, env={"DAYFOLD_NOW": NOW.isoformat()})
    assert done.rows == [{"day": FIRST, "orders": 53_628, "customers": 5_942, "revenue": Decimal("19287250.568")}]
    assert '"revenue": 19287250.568\n' in done.out
    assert done.json["exact"] == {"orders": True, "customers": True, "revenue": True}
    assert done.json["missing"] == []


def test_folding_again_writes_nothing(retail: Retail) -> None:
    """A second fold computes the trailing days again, finds them equal and leaves every row as it is."""
    if retail.url.startswith("duckdb"):
        retail.app.close()
    marks = "SELECT count(*), max(updated_at), max(run_id), min(run_id) FROM"
    before = [run_sql(retail.url, f"{marks} {table}") for table in ("sales_daily", "product_daily", "returns_daily")]
    later = (NOW + dt.timedelta(hours=1)).isoformat()
    runs = succeeds("fold", "--json", cwd=retail.folder, env={"DAYFOLD_NOW": later}).json["runs"]
    written = [(run["status"], run["rows_inserted"], run["rows_updated"], run["rows_deleted"]) for run in runs]
    assert written == [("done", 0, 0, 0)] * 3
    assert [
        run_sql(retail.url, f"{marks} {table}") for table in ("sales_daily", "product_daily", "returns_daily")
    ] == before


ZONED = """
from dayfold import Count, Distinct, Moment, Rollup, Sum, Table

later = Table(sql="select *, invoiced_at + interval '15 hours' as wall from order_line")
at = Moment("wall", tz="Europe/London")


class Later(Rollup):
    key = "country"

    lines = Count(later, at=at)
    customers = Distinct(later, "customer_id", at=at)
    revenue = Sum(later, "quantity * price", at=at)
"""


def test_wall_times_near_midnight_count_on_their_utc_day(new_duckdb: Callable[..., str], tmp_path: Path) -> None:
    """The office closes before the zone matters; the same lines fifteen hours later fall around midnight, where it does."""
    url = new_duckdb()
    load(url)
    (tmp_path / "metrics.py").write_text(ZONED)
    oracle, naive = Oracle(hours_later=15), 0
    with Dayfold(tmp_path / "metrics.py", store_config(url), clock=FixedClock(NOW + dt.timedelta(days=5))) as app:
        assert [run.status for run in app.fold()] == ["done"]
        span = (FIRST, "2011-12-11")
        answer = app.query("Later", from_=span[0], to=span[1], by=["country"])
    oracle.figures("expected", span, "day", ("country",))
    assert oracle.differences("expected", answer.table, ("day", "country"), ("lines", "customers", "revenue")) == []
    [(naive,)] = oracle.connection.execute("SELECT count(*) FROM fact WHERE day <> CAST(wall AS date)").fetchall()
    assert naive > 1_000


@pytest.fixture(scope="module")
def published() -> dict[dt.date, tuple[int, int, int, Decimal]]:
    """Lines, orders, customers and revenue of each day, added up line by line from the CSV as it was published."""
    days: dict[dt.date, dict[str, Any]] = {}
    packed = Path(os.environ["DAYFOLD_FIELD_DATA"]) / "online_retail_ii" / "online_retail_ii.csv.xz"
    with lzma.open(packed) as raw:
        for line in csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline="")):
            # The office is closed around midnight: the day of its clock is the UTC day.
            month, day, year = map(int, line["InvoiceDate"].partition(" ")[0].split("/"))
            none: dict[str, Any] = {"lines": 0, "orders": set(), "customers": set(), "mills": 0}
            one = days.setdefault(dt.date(year, month, day), none)
            whole, _, cents = line["Price"].partition(".")
            one["lines"] += 1
            one["orders"].add(line["Invoice"])
            one["customers"].update({line["Customer ID"]} - {""})
            one["mills"] += int(whole + cents.ljust(3, "0")) * int(line["Quantity"])
    return {
        day: (one["lines"], len(one["orders"]), len(one["customers"]), Decimal(one["mills"]) / 1000)
        for day, one in days.items()
    }


@pytest.mark.skipif(
    "DAYFOLD_FIELD_DATA" not in os.environ, reason="needs DAYFOLD_FIELD_DATA: the original CSV of Online Retail II"
)
def test_original_csv_gives_the_same_days(
    retail: Retail, published: dict[dt.date, tuple[int, int, int, Decimal]]
) -> None:
    """The original file, read by Python alone, equals the folded days of all countries."""
    rows = retail.app.query("SalesDaily", ["lines", "orders", "customers", "revenue"], from_=FIRST, to=LAST).rows
    found = {
        row["day"]: (row["lines"], row["orders"], row["customers"], row["revenue"]) for row in rows if row["lines"]
    }
    assert found == published
