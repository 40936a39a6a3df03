"""Mistakes in metrics.py, dayfold.toml and the words of a question: one clear message each, status 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.command import dayfold, fails
from tests.acceptance.shop import METRICS, TOML, source_url, stored, tables_of
from tests.sql import run_sql

COLUMNS = "Columns: id, shop_id, country, customer_id, status, amount, points, created_at"
METRIC_NAMES = "orders_count, paid_count, revenue, points, customers, largest, paid_share, doubled"


def place(text: str, metrics: str = METRICS) -> int:
    """The line of metrics.py that holds a text."""
    return 1 + next(n for n, line in enumerate(metrics.splitlines()) if text in line)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            ('Sum(orders, "amount", at="created_at")', 'Sum(orders, "amuont", at="created_at")'),
            f"DefinitionError [unknown-column] metrics.py:{place('revenue =')} ShopDaily.revenue\n"
            f"  app.orders has no column 'amuont'; the nearest is 'amount'.\n  {COLUMNS}",
            id="wrong-column",
        ),
        pytest.param(
            ('Ratio("paid_count"', 'Ratio("piad_count"'),
            f"DefinitionError [unknown-metric] metrics.py:{place('paid_share =')} ShopDaily.paid_share\n"
            "  the ratio names 'piad_count', which is no metric of ShopDaily; the nearest is 'paid_count'.\n"
            "  Metrics: orders_count, paid_count, revenue, points, customers, largest, doubled",
            id="unknown-metric-in-ratio",
        ),
        pytest.param(
            ('Formula("orders_count * 2")', 'Formula("sum(customers)")'),
            f"DefinitionError [bad-expression] metrics.py:{place('doubled =')} ShopDaily.doubled\n"
            "  the formula: 'sum(customers)' uses the function sum(), which expressions do not have.\n"
            "  A metric already says how it adds up: name the metric itself. Distinct values are never summed, "
            "because one value may stand in several rows.",
            id="summed-distinct-in-formula",
        ),
        pytest.param(
            ('seats = Gauge(levels, "seats", at="measured_at")', 'total = Sum(ShopDaily, "customers", at="day")'),
            f"DefinitionError [summed-distinct] metrics.py:{place('seats =')} Seats.total\n"
            "  ShopDaily.customers is a Distinct, and Distinct values are never summed: one value may stand in several rows.\n"
            '  Unite them: Distinct(ShopDaily, "customers", at=…). Or ask for it over a longer range or fewer keys: '
            "dayfold query ShopDaily -m customers --grain total",
            id="summed-distinct-of-a-rollup",
        ),
        pytest.param(
            ("orders_count = Count(", "orders_count = Cuont("),
            f"DefinitionError [python] metrics.py:{place('orders_count =')}\n  there is no name 'Cuont'; the nearest is 'Count'.",
            id="wrong-name-in-python",
        ),
        pytest.param(
            ("class Seats(Rollup):", "class Seats(Rollup)"),
            f"DefinitionError [python] metrics.py:{place('class Seats')}\n  SyntaxError: expected ':'",
            id="syntax",
        ),
    ],
)
def test_wrong_definition(shop: Path, change: tuple[str, str], message: str) -> None:
    """The place as file and line, what is wrong, and the nearest known name."""
    assert METRICS.count(change[0]) == 1 or change[0].startswith("orders_count")
    (shop / "metrics.py").write_text(METRICS.replace(*change, 1))
    assert fails("fold", cwd=shop, status=2) == message
    assert not (shop / "dayfold.duckdb").exists()


def test_wrong_definition_leaves_a_folded_store_alone(folded: Path) -> None:
    """Not even the rollups whose definitions are right are folded."""
    url = f"duckdb:///{folded}/dayfold.duckdb"
    before = stored(url, *tables_of(url))
    run_sql(source_url(folded), "INSERT INTO levels VALUES (1, 99, '2026-01-10 08:00:00+00')")
    (folded / "metrics.py").write_text(METRICS.replace('Sum(orders, "amount"', 'Sum(orders, "amuont"'))
    assert "[unknown-column]" in fails("fold", cwd=folded, status=2)
    assert stored(url, *tables_of(url)) == before


def test_all_mistakes_are_told_at_once(shop: Path) -> None:
    """In the order of their lines; for programs as a list of problems."""
    text = (
        METRICS.replace('"amount"', '"amuont"')
        .replace('Ratio("paid_count"', 'Ratio("piad_count"')
        .replace('"levels"', '"level"')
    )
    (shop / "metrics.py").write_text(text)
    done = dayfold("plan", "--json", cwd=shop)
    assert done.status == 2
    assert done.json["error"]["code"] == "definition"
    assert [(p["code"], p["place"], p["subject"]) for p in done.json["error"]["problems"]] == [
        ("unknown-table", f"metrics.py:{place('levels =')}", "Table in Seats"),
        ("unknown-column", f"metrics.py:{place('revenue =')}", "ShopDaily.revenue"),
        ("unknown-column", f"metrics.py:{place('largest =')}", "ShopDaily.largest"),
        ("unknown-metric", f"metrics.py:{place('paid_share =')}", "ShopDaily.paid_share"),
    ]
    assert done.err.count("DefinitionError") == 4
    assert "Traceback" not in done.err
    assert not (shop / "dayfold.duckdb").exists()


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[store\nurl = 1", "dayfold.toml is not TOML: Expected ']' at the end of a table declaration (at line 1, column 7)"),
        (
            "[stroe]\nurl = 'x'",
            "dayfold.toml: there is no setting 'stroe'; the nearest is 'store'.\n"
            "  Settings: store, ledger, databases, fold, query, verify, serve, auth, rls, alerts, errors, schedule, jobs, retain, "
            "collect, live, export, dashboard",
        ),
        (
            "[fold]\nchunk_row = 5",
            "dayfold.toml: there is no setting 'fold.chunk_row'; the nearest is 'chunk_rows'.\n  Settings: chunk_rows, wait_s",
        ),
        ("[databases.app]\nurI = 'x'", "dayfold.toml: databases.app.url: it is needed and not there."),
        (
            "[store]\nurl = '${SHOP_DATABASE}'",
            "dayfold.toml: store.url reads the variable SHOP_DATABASE, which is not set.\n"
            "  Set it, or give a default: ${SHOP_DATABASE:-value}",
        ),
        (
            "[store]\nurl = 'mysql://root:s3cret@localhost/shop'",
            "store.url is an address that starts with 'mysql:', which no engine answers to.\n"
            "  Expected duckdb:///FILE or postgresql://USER@HOST/DATABASE or clickhouse://USER@HOST/DATABASE.",
        ),
    ],
)  # fmt: skip
def test_wrong_setting(shop: Path, toml: str, message: str) -> None:
    (shop / "dayfold.toml").write_text(toml)
    assert fails("fold", cwd=shop, status=2) == message
    assert not (shop / "dayfold.duckdb").exists()


def test_wrong_variable_is_named(shop: Path) -> None:
    """A setting that comes from the environment is blamed on it; a misspelt one is not passed over."""
    assert fails("fold", cwd=shop, status=2, env={"DAYFOLD_FOLD__WAIT_S": "long"}).startswith(
        "the variable DAYFOLD_FOLD__WAIT_S: fold.wait_s: Input should be a valid number"
    )
    assert fails("fold", cwd=shop, status=2, env={"DAYFOLD_STOER__URL": "duckdb:///other.duckdb"}) == (
        "The variable DAYFOLD_STOER__URL sets nothing; the nearest is 'DAYFOLD_STORE__'.\n"
        "  Variables of settings begin with: DAYFOLD_STORE__, DAYFOLD_LEDGER__, DAYFOLD_DATABASES__, DAYFOLD_FOLD__, DAYFOLD_QUERY__, "
        "DAYFOLD_VERIFY__, DAYFOLD_SERVE__, DAYFOLD_AUTH__, DAYFOLD_RLS__, DAYFOLD_ALERTS__, DAYFOLD_ERRORS__, "
        "DAYFOLD_SCHEDULE__, DAYFOLD_JOBS__, DAYFOLD_RETAIN__, DAYFOLD_COLLECT__, DAYFOLD_LIVE__, DAYFOLD_EXPORT__, DAYFOLD_DASHBOARD__"
    )
    assert sorted(path.name for path in shop.iterdir()) == ["dayfold.toml", "metrics.py", "shop.duckdb"]


def test_variables_win_over_the_file(shop: Path) -> None:
    assert dayfold("fold", cwd=shop, env={"DAYFOLD_STORE__URL": "duckdb:///other.duckdb"}).status == 0
    assert (shop / "other.duckdb").exists()
    assert not (shop / "dayfold.duckdb").exists()
    (shop / "dayfold.toml").write_text(TOML.replace("dayfold.duckdb", "${STORE:-third}.duckdb"))
    assert dayfold("fold", cwd=shop).status == 0
    assert (shop / "third.duckdb").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ShopDayly",), "There is no rollup 'ShopDayly'; the nearest is 'ShopDaily'.\n  Rollups: ShopDaily, ShopClock, Seats"),
        (("ShopDaily", "-m", "cusomers"), f"ShopDaily has no metric 'cusomers'; the nearest is 'customers'.\n  Metrics: {METRIC_NAMES}"),
        (
            ("ShopDaily", "-m", "sum(customers)"),
            "'sum(customers)': Distinct values are never added up, because one value may stand in several rows.\n"
            "  Ask for customers itself: over a longer range (--grain total) or fewer keys it is the size of the united sets.",
        ),
        (("ShopDaily", "--from", "2026-02-30"), "'2026-02-30' is not a date.\n  Expected YYYY-MM-DD, today, yesterday (UTC), or -7d."),
        (("ShopDaily", "--to", "tomorrow"), "'tomorrow' is not a date.\n  Expected YYYY-MM-DD, today, yesterday (UTC), or -7d."),
        (
            ("ShopDaily", "--from", "today", "--to", "-7d"),
            "The range ends before it starts: from 2026-01-10 to 2026-01-03.\n"
            "  A range names its first and its last day, both included.",
        ),
        (
            ("ShopDaily", "--where", "contry=FR"),
            "ShopDaily has no key column 'contry' to filter by; the nearest is 'country'.\n  Key columns: shop_id, country",
        ),
        (
            ("ShopDaily", "--where", "country"),
            "'country' is not a filter.\n  Write key=value, key!=value, key= for NULL, or key=\"\" for the empty text.",
        ),
        (("ShopDaily", "--where", "shop_id=one"), "The filter's value for 'shop_id' is not integer, which that key column holds."),
        (
            ("ShopDaily", "--by", "contry"),
            "ShopDaily has no key column 'contry' to group by; the nearest is 'country'.\n  Key columns: shop_id, country",
        ),
        (("ShopDaily", "--grain", "weeks"),
         "grain is one of hour, day, week, month, quarter, year, total, got 'weeks'; the nearest is 'week'."),
        (("ShopDaily", "--compare", "month"), "compare is one of previous, year, got 'month'."),
        (
            ("ShopDaily", "--tz", "Europe/Lundon"),
            "There is no time zone 'Europe/Lundon'; the nearest is 'Europe/London'.\n  Zones are named as in Europe/London.",
        ),
        (
            ("ShopDaily", "--tz", "Asia/Tokyo"),
            "A day in Asia/Tokyo starts at 15:00 UTC, inside a stored bucket: ShopDaily keeps buckets of a grain of day.\n"
            '  Ask in UTC, or give the rollup a finer grain: grain = "15min" holds the days of every present zone.',
        ),
        (
            ("ShopDaily", "--sort", "-revenu"),
            f"The answer has no 'revenu' to sort by; the nearest is 'revenue'.\n  Sort by: day, {METRIC_NAMES}",
        ),
        (("ShopDaily", "--limit", "0"), "limit is a number of rows from 1 on, got 0."),
        (("ShopDaily", "--format", "xml"), "format is one of table, csv, json, parquet, got 'xml'."),
        (("ShopDaily", "-o", "no/such/folder.csv"), "no/such/folder.csv cannot be written: there is no such folder."),
    ],
)  # fmt: skip
def test_wrong_question(folded_once: Path, words: tuple[str, ...], message: str) -> None:
    assert fails("query", *words, cwd=folded_once, status=2) == message


def test_question_to_a_rollup_that_was_never_folded_or_is_edited(folded: Path) -> None:
    """No number stands under a definition that did not make it."""
    assert fails("query", "ShopDaily", cwd=folded, status=2, env={"DAYFOLD_STORE__URL": "duckdb:///new.duckdb"}) == (
        "ShopDaily was never folded.\n  Run: dayfold fold ShopDaily"
    )
    assert not (folded / "new.duckdb").exists()
    (folded / "metrics.py").write_text(METRICS.replace("status = 'paid'", "status = 'open'"))
    assert fails("query", "ShopDaily", "-m", "paid_share", cwd=folded, status=2) == (
        "The definition of ShopDaily was edited since it was folded: paid_count.\n  Run: dayfold fold ShopDaily"
    )
    assert dayfold("query", "ShopDaily", "-m", "revenue", cwd=folded).status == 0


def test_error_for_programs_has_a_stable_code(folded_once: Path) -> None:
    done = dayfold("query", "ShopDaily", "-m", "sum(customers)", "--json", cwd=folded_once)
    assert done.status == 2
    assert done.json["error"]["code"] == "query-refused"
    assert done.err.startswith(done.json["error"]["message"])


@pytest.mark.parametrize("command", ["plan", "fold"])
def test_unknown_rollup_to_work_on(shop: Path, command: str) -> None:
    assert fails(command, "Seats", "ShopDayly", cwd=shop, status=2).startswith("There is no rollup 'ShopDayly'")
    assert not (shop / "dayfold.duckdb").exists()


HOSTILE = (
    "'; DROP TABLE shop_daily; --",
    '"; DROP TABLE shop_daily; --',
    "FR' OR '1'='1",
    "x') OR true --",
    "$1",
    ":from",
    "%(x)s {0} %s",
    "\\'; DROP TABLE shop_daily; --",
    "/* FR */",
    "\u202e\u02bc OR 1=1",
)  # fmt: skip


@pytest.mark.parametrize(("sign", "expected"), [("=", []), ("!=", [1, 2, 6])])
def test_hostile_filters_are_values_like_any_other(folded_once: Path, sign: str, expected: list[int]) -> None:
    """Keys that hold no such texts have no row; nothing of them reaches the statement."""
    words = ("ShopDaily", "-m", "orders_count", "--from", "2026-01-01", "--grain", "total", "--by", "country", "--json")
    filters = [word for value in HOSTILE for word in ("--where", f"country{sign}{value}")]
    done = dayfold("query", *words, *filters, cwd=folded_once)
    assert done.status == 0, str(done)
    assert [row["orders_count"] for row in done.rows] == expected


@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
def test_hostile_words_are_refused_everywhere(request: pytest.FixtureRequest, folded: Path, engine: str) -> None:
    """SQL as rollup, metric, key, sort or zone is an unknown name; the store keeps every row."""
    env = {}
    if engine == "postgres":
        env = {"DAYFOLD_STORE__URL": request.getfixturevalue("postgres_url")}
        assert dayfold("fold", cwd=folded, env=env).status == 0
    url = env.get("DAYFOLD_STORE__URL", f"duckdb:///{folded}/dayfold.duckdb")
    before = stored(url, *tables_of(url))
    value = HOSTILE[0]
    # Every word is looked up in the definitions before a database is opened: once is enough for those.
    questions = [
        ("ShopDaily", "--where", f"shop_id={value}"),
        *([] if engine == "postgres" else [(value,), ("ShopDaily", "-m", value), ("ShopDaily", "--by", value)]),
        *([] if engine == "postgres" else [("ShopDaily", "--where", f"{value}=1"), ("ShopDaily", "--sort", value)]),
        *([] if engine == "postgres" else [("ShopDaily", "--tz", value), ("ShopDaily", "--tz", "../../../etc/passwd")]),
    ]
    for words in questions:
        fails("query", *words, cwd=folded, status=2, env=env)
    found = dayfold(
        "query",
        "ShopDaily",
        "--where",
        f"country={value}",
        "--grain",
        "total",
        "--by",
        "country",
        "--json",
        cwd=folded,
        env=env,
    )
    assert (found.status, found.rows) == (0, [])
    assert stored(url, *tables_of(url)) == before
