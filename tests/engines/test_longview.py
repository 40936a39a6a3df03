"""The long view on both engines: every kind of number by day, week and month, and what happens to it when tables change."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from dayfold import Avg, Count, Dayfold, Distinct, Formula, Gauge, Max, Min, Ratio, Rollup, Sum, Table
from dayfold.clock import FixedClock
from tests.conftest import Pairing
from tests.engines.ground import NOW, Ground, march
from tests.sql import Session, run_sql, store_config

D = dt.date
DDL = "shop text, amount numeric(12,2), who text, made timestamptz"
VIEW = "analytics_metrics_timeseries"


@pytest.fixture
def ground(store: Ground) -> Ground:
    """A view reads the store alone."""
    del store.config["store"]["long_view"]
    return store


def fact(shop: str | None, made: dt.datetime, amount: str = "1.00", who: str = "ann") -> dict[str, Any]:
    return {"shop": shop, "amount": Decimal(amount), "who": who, "made": made}


#: Two weeks and two months; a shop without a name; the level of b ends on the 3rd; two who come again.
FACTS = [
    fact("a", dt.datetime(2026, 2, 26, 9, tzinfo=dt.UTC), "10.10", "ann"),
    fact("a", dt.datetime(2026, 2, 26, 10, tzinfo=dt.UTC), "0.20", "bob"),
    fact("a", march(1, 23), "5.00", "ann"),
    fact("b", march(2, 0), "7.00", "cid"),
    fact(None, march(2, 5), "1.00", "cid"),
    fact("b", march(3, 5), "2.00", "cid"),
    fact("a", march(8, 5), "3.00", "bob"),
    fact("a", march(8, 6), "4.00", "dee"),
    fact("a", march(12, 6), "9.99", "ann"),
]


def metrics(ground: Ground) -> dict[str, Any]:
    sale = ground.table("sale")
    return {
        "total": Count(sale, at="made"),
        "amount": Sum(sale, "amount", at="made"),
        "mean": Avg(sale, "amount", at="made"),
        "least": Min(sale, "amount", at="made"),
        "most": Max(sale, "amount", at="made"),
        "people": Distinct(sale, "who", at="made"),
        "level": Gauge(sale, "amount", at="made"),
        "held": Gauge(sale, "amount", at="made", carry=True),
        "name": Max(sale, "who", at="made"),
        "each": Ratio("amount", "people"),
        "twice": Formula("each * 2"),
        "many": Formula("total > 2"),
    }


def define(ground: Ground, *, grain: str = "day", **more: Any) -> None:
    ground.define(type("Sales", (Rollup,), {"key": "shop", "grain": grain, **metrics(ground), **more}))


def folded(ground: Ground, **more: Any) -> None:
    ground.load("sale", DDL, FACTS)
    define(ground, **more)
    ground.fold()


def seen(ground: Ground, period: str, where: str = "true") -> dict[tuple[str, str | None, dt.date], Decimal | None]:
    """The view's numbers by metric, shop and day."""
    rows = ground.stored(
        f'SELECT metric, CAST(dimensions AS text), day, value FROM "{VIEW}" WHERE period = $1 AND {where}', [period]
    )
    found = {(metric, json.loads(text)["shop"], day): value for metric, text, day, value in rows}
    assert len(found) == len(rows)
    return found


def bucket(day: dt.date, period: str) -> dt.date:
    if period == "weekly":
        return day - dt.timedelta(days=day.weekday())
    return day.replace(day=1) if period == "monthly" else day


def expected(period: str) -> dict[tuple[str, str | None, dt.date], Decimal | None]:
    """Every number by hand. The last covered day of a week or month is its Sunday, its end, or the 12th, today."""
    groups: dict[tuple[str | None, dt.date], list[dict[str, Any]]] = defaultdict(list)
    for one in FACTS:
        groups[one["shop"], bucket(one["made"].date(), period)].append(one)
    found: dict[tuple[str, str | None, dt.date], Decimal | None] = {}
    for (shop, start), facts in groups.items():
        amounts = [one["amount"] for one in facts]
        people = len({one["who"] for one in facts})
        ends = {"daily": start, "weekly": min(start + dt.timedelta(days=6), D(2026, 3, 12))}
        ends["monthly"] = D(2026, 2, 28) if start.month == 2 else D(2026, 3, 12)
        last = [one for one in facts if one["made"].date() == ends[period]]
        numbers: dict[str, Decimal | None] = {
            "total": Decimal(len(facts)), "amount": sum(amounts), "mean": sum(amounts) / len(facts), "least": min(amounts),
            "most": max(amounts), "people": Decimal(people), "each": sum(amounts) / people, "twice": sum(amounts) / people * 2,
            "level": max(last, key=lambda one: one["made"])["amount"] if last else None,
            "held": max(facts, key=lambda one: one["made"])["amount"],
        }  # fmt: skip
        found |= {(name, shop, start): number for name, number in numbers.items()}
    return found


def rounded(numbers: dict[Any, Decimal | None]) -> dict[Any, Decimal | None]:
    return {key: None if one is None else Decimal(one).quantize(Decimal("0.000001")) for key, one in numbers.items()}


@pytest.mark.parametrize("grain", ["day", "hour", "15min"])
def test_every_number_by_day_week_and_month(ground: Ground, grain: str) -> None:
    """Sums add, ratios are of sums, sets are united, levels are those of the last covered day; text and truth are no numbers."""
    folded(ground, grain=grain)
    for period in ("daily", "weekly", "monthly"):
        assert rounded(seen(ground, period)) == rounded(expected(period)), period


def test_hours_are_of_rollups_that_keep_them(ground: Ground) -> None:
    """One row for each hour with a fact; the moment is its start."""
    folded(ground, grain="15min")
    rows = ground.stored(
        f"SELECT \"timestamp\", day, value FROM {VIEW} WHERE metric = 'total' AND period = 'hourly' ORDER BY 1"
    )
    made = sorted({one["made"].replace(minute=0) for one in FACTS})
    assert [(at.astimezone(dt.UTC), day) for at, day, _ in rows] == [(at, at.date()) for at in made]
    define(ground)
    ground.fold()
    assert ground.stored(f"SELECT count(*) FROM {VIEW} WHERE period = 'hourly'") == [(0,)]


def test_columns_are_typed_and_complete(ground: Ground) -> None:
    """Digits are kept, dimensions have their own types, moments are the starts of buckets in UTC."""
    ground.load("visit", "shop_id bigint, sku text, made timestamptz", [{"shop_id": 7, "sku": 'a"b', "made": march(3)}])
    visits = {"n": Count(ground.table("visit"), at="made"), "key": ("shop_id", "sku")}
    ground.define(type("Visits", (Rollup,), visits))
    ground.fold()
    names = 'metric, value, CAST(dimensions AS text), "timestamp", day, period, source, calculated_at'
    rows = ground.stored(f"SELECT {names} FROM {VIEW} ORDER BY day DESC, period")
    assert [row[5] for row in rows] == ["daily", "weekly", "monthly"]
    metric, value, dimensions, timestamp, day, _, source, calculated_at = rows[0]
    assert (metric, value, str(value)) == ("n", 1, "1.000000000000")
    assert json.loads(dimensions) == {"shop_id": 7, "sku": 'a"b'}
    assert (timestamp.astimezone(dt.UTC), day, source) == (march(3, 0), D(2026, 3, 3), "Visits")
    assert calculated_at.astimezone(dt.UTC) == ground.clock.instant
    assert [row[4] for row in rows[1:]] == [D(2026, 3, 2), D(2026, 3, 1)]


def test_wide_sums_keep_their_digits(ground: Ground) -> None:
    """Beyond what a double holds, and money to the cent; what has more than 26 digits before the point is null."""
    ground.load("bill", "amount numeric(36,2), made timestamptz", [])
    for amount in ("90071992547409931.01", "90071992547409931.02"):
        ground.insert("bill", [{"amount": Decimal(amount), "made": march(3)}])
    bill = ground.table("bill")
    ground.define(
        type(
            "Bills",
            (Rollup,),
            {"paid": Sum(bill, "amount", at="made"), "huge": Sum(bill, "amount * 1000000000000", at="made", scale=0)},
        )
    )
    ground.fold()
    rows = dict(ground.stored(f"SELECT metric, value FROM {VIEW} WHERE period = 'weekly'"))
    assert rows == {"paid": Decimal("180143985094819862.03"), "huge": None}


def test_uncovered_days_have_no_rows_and_weeks_with_a_hole_are_null(ground: Ground) -> None:
    """What a source gave on other days is there; a week that lacks one of them has no sum, and its last level."""
    ground.load("payment", "shop text, amount double precision, made timestamptz", [])
    for day, amount in ((3, 1.5), (4, float("nan")), (5, 2.5), (9, 4.0)):
        ground.insert("payment", [{"shop": "a", "amount": amount, "made": march(day)}])
    ground.config = {**ground.config, "fold": {"chunk_rows": 1}}
    payment = ground.table("payment")
    paid = {"paid": Sum(payment, "amount", at="made", scale=2), "level": Gauge(payment, "amount", at="made", scale=2)}
    ground.define(type("Paid", (Rollup,), {"key": "shop", **paid}))
    assert [run.status for run in ground.opened.fold()] == ["partial"]
    daily = seen(ground, "daily", "metric = 'paid'")
    assert {day.day: value for (_, _, day), value in daily.items()} == {3: Decimal("1.5"), 5: Decimal("2.5"), 9: 4}
    weekly = {(metric, day.day): value for (metric, _, day), value in seen(ground, "weekly").items()}
    assert weekly[("paid", 2)] is None
    assert weekly[("paid", 9)] == 4
    assert seen(ground, "monthly", "metric = 'paid'") == {("paid", "a", D(2026, 3, 1)): None}


def test_view_is_that_of_the_new_definition_with_the_fold_that_publishes_it(ground: Ground) -> None:
    """A metric goes, one comes, one changes its type, the key changes; grants and views on it stay."""
    folded(ground)
    ground.stored(f"CREATE VIEW board AS SELECT metric, value, day, period FROM {VIEW}")
    if ground.engine == "postgres":
        ground.stored("CREATE ROLE board_reader")
        ground.stored(f"GRANT SELECT ON {VIEW} TO board_reader")
    sale = ground.table("sale")
    ground.define(type("Sales", (Rollup,), {"total": Sum(sale, "amount", at="made"), "sold": Count(sale, at="made")}))
    ground.fold()
    rows = ground.stored("SELECT metric, value FROM board WHERE period = 'monthly' AND day = '2026-02-01' ORDER BY 1")
    assert rows == [("sold", 2), ("total", Decimal("10.30"))]
    if ground.engine == "postgres":
        granted = f"SELECT has_table_privilege('board_reader', '{VIEW}', 'SELECT')"
        assert ground.stored(granted) == [(True,)]
        ground.stored(f"REVOKE SELECT ON {VIEW} FROM board_reader")
        ground.stored("DROP ROLE board_reader")


def test_edited_formula_is_in_the_view_after_the_next_fold(ground: Ground) -> None:
    """No row is folded for it."""
    folded(ground)
    define(ground, twice=Formula("each * 3"))
    assert ground.fold_written() == 0
    found = seen(ground, "monthly", "metric = 'twice' AND day = '2026-02-01'")
    assert rounded(found) == {("twice", "a", D(2026, 2, 1)): Decimal("15.45")}


def test_folding_again_leaves_the_view_alone(ground: Ground) -> None:
    """Nothing is made where nothing changed."""
    folded(ground)
    before = oid(ground)
    ground.fold()
    assert oid(ground) == before


def test_view_that_was_renamed_is_no_reason_not_to_publish(ground: Ground) -> None:
    """Under its earlier name it reads columns that an edit drops: it goes with the transaction that does."""
    folded(ground)
    ground.config["store"]["long_view"] = "board"
    sale = ground.table("sale")
    ground.define(type("Sales", (Rollup,), {"sold": Count(sale, at="made")}))
    ground.fold()
    assert ground.stored("SELECT DISTINCT metric FROM board") == [("sold",)]
    assert not ground.stored(f"SELECT 1 FROM information_schema.tables WHERE table_name = '{VIEW}'")


def oid(ground: Ground) -> Any:
    """What moves when the view is made again."""
    if ground.engine == "postgres":
        return ground.stored(f"SELECT xmin::text FROM pg_rewrite WHERE ev_class = '{VIEW}'::regclass")
    if ground.engine == "clickhouse":
        return ground.stored(f"SELECT uuid FROM system.tables WHERE name = '{VIEW}' AND database = current_database()")
    return ground.stored(f"SELECT view_oid FROM duckdb_views() WHERE view_name = '{VIEW}'")


def test_removed_rollup_stays_in_the_view_until_it_is_pruned(ground: Ground) -> None:
    """The view is no reason not to prune it, and reads the others afterwards."""
    ground.load("visit", "shop text, made timestamptz", [{"shop": "a", "made": march(3)}])
    ground.load("sale", DDL, FACTS)
    visits = type("Visits", (Rollup,), {"key": "shop", "visits": Count(ground.table("visit"), at="made")})
    sales = type("Sales", (Rollup,), {"key": "shop", **metrics(ground)})
    ground.define(sales, visits)
    ground.fold()
    assert sources(ground) == ["Sales", "Visits"]
    ground.define(sales)
    ground.fold()
    assert sources(ground) == ["Sales", "Visits"]
    ground.define(sales)
    assert [one.dependents for one in ground.opened.orphans()] == [()]
    ground.opened.prune(["Visits"])
    assert sources(ground) == ["Sales"]


def sources(ground: Ground) -> list[str]:
    return [name for (name,) in ground.stored(f"SELECT DISTINCT source FROM {VIEW} ORDER BY 1")]


def test_table_of_somebody_else_is_left_alone(ground: Ground) -> None:
    """The fold folds, and says why there is no view; another name is the way out."""
    ground.load("sale", DDL, FACTS)
    ground.stored(f"CREATE TABLE {VIEW} (mine text)")
    define(ground)
    [run] = ground.fold()
    assert run.warnings[-1] == (
        f"The view {VIEW} is not made: the store has a table or view of that name, which Dayfold did not make. "
        'Name another one in dayfold.toml: [store] long_view = "…", or "" for none.'
    )
    assert ground.stored(f"SELECT count(*) FROM {VIEW}") == [(0,)]
    ground.config["store"]["long_view"] = "every_number"
    define(ground)
    [run] = ground.fold()
    assert not any("view" in warning for warning in run.warnings)
    assert ground.stored("SELECT count(*) > 0 FROM every_number") == [(True,)]
    ground.config["store"]["long_view"] = ""
    define(ground)
    ground.fold()
    assert not ground.stored("SELECT 1 FROM information_schema.tables WHERE table_name = 'every_number'")
    assert ground.stored(f"SELECT count(*) FROM {VIEW}") == [(0,)]


def test_question_for_one_metric_and_period_reads_no_other(ground: Ground) -> None:
    """Metric, period and source are constants of a branch: the plan has what is asked alone."""
    folded(ground)
    asked = f"EXPLAIN SELECT * FROM {VIEW} WHERE metric = 'amount' AND period = 'daily' AND day >= '2026-03-01'"
    plan = "\n".join(str(row[-1]) for row in ground.stored(asked))
    whole = "\n".join(str(row[-1]) for row in ground.stored(f"EXPLAIN SELECT * FROM {VIEW}"))
    words = ("dayfold__coverage",)
    assert [plan.count(word) for word in words] in ([1], [2])
    assert whole.count("dayfold__coverage") > 20


def test_many_rollups_make_one_view(ground: Ground) -> None:
    """Hundreds of branches are made and asked."""
    ground.load("sale", DDL, FACTS)
    some = metrics(ground)
    ground.define(*(type(f"Sales{n}", (Rollup,), {"key": "shop", **some}) for n in range(6)))
    ground.fold()
    asked = f"SELECT count(*) FROM {VIEW} WHERE metric = 'total' AND period = 'daily'"
    assert ground.stored(asked) == [(6 * 7,)]


def test_incomplete_sets_have_no_union(ground: Ground) -> None:
    """More different values than a set keeps: the days are counted exactly, their week cannot be."""
    ground.source(
        "CREATE TABLE visit AS SELECT 1 AS n, 'x' AS who, TIMESTAMPTZ '2026-03-03 10:00:00+00' AS made WHERE false"
    )
    for day, first in ((3, 0), (4, 8_000)):
        ground.source(
            f"INSERT INTO visit SELECT 1, CAST(i AS text), TIMESTAMPTZ '2026-03-{day:02} 10:00:00+00' "
            f"FROM generate_series({first}, {first + 16_999}) AS t(i)"
        )
    people = Distinct(ground.table("visit"), "who", at="made")
    ground.define(type("Visits", (Rollup,), {"people": people}))
    ground.fold()
    rows = ground.stored(f"SELECT period, day, value FROM {VIEW} ORDER BY period, day")
    assert rows == [
        ("daily", D(2026, 3, 3), 17_000), ("daily", D(2026, 3, 4), 17_000),
        ("monthly", D(2026, 3, 1), None), ("weekly", D(2026, 3, 2), None),
    ]  # fmt: skip


def test_formula_over_sources_of_different_days_is_null(ground: Ground) -> None:
    """Visits were counted a week before there were payments: the month of both has no ratio, the next one has."""
    ground.clock.instant = dt.datetime(2026, 4, 12, 12, tzinfo=dt.UTC)
    ground.load("visit", "amount numeric(12,2), made timestamptz", [])
    ground.load("payment", "amount double precision, made timestamptz", [])
    ground.insert("visit", [{"amount": Decimal(1), "made": march(day)} for day in (2, 10, 25)])
    ground.insert("visit", [{"amount": Decimal(1), "made": dt.datetime(2026, 4, 5, tzinfo=dt.UTC)}])
    for made, amount in ((march(2), float("nan")), (march(25), 6.0), (dt.datetime(2026, 4, 5, tzinfo=dt.UTC), 9.0)):
        ground.insert("payment", [{"amount": amount, "made": made}])
    ground.config = {**ground.config, "fold": {"chunk_rows": 1}}
    paid = Sum(ground.table("payment"), "amount", at="made", scale=2)
    visits = Count(ground.table("visit"), at="made")
    ground.define(type("Paid", (Rollup,), {"visits": visits, "paid": paid, "each": Ratio("paid", "visits")}))
    ground.opened.fold()
    rows = ground.stored(f"SELECT metric, day, value FROM {VIEW} WHERE period = 'monthly' ORDER BY day, metric")
    assert rows == [
        ("each", D(2026, 3, 1), None), ("paid", D(2026, 3, 1), 6), ("visits", D(2026, 3, 1), 3),
        ("each", D(2026, 4, 1), 9), ("paid", D(2026, 4, 1), 9), ("visits", D(2026, 4, 1), 1),
    ]  # fmt: skip


def test_row_policies_of_a_rollup_hold_in_the_view(postgres_url: str) -> None:
    """Whoever may see the rows of one shop in the table sees those in the view, with what the page says to grant."""
    with Ground(Pairing("postgres-same", postgres_url, postgres_url)) as ground:
        del ground.config["store"]["long_view"]
        ground.load("sale", DDL, FACTS)
        total = Count(ground.table("sale"), at="made")
        ground.define(type("Sales", (Rollup,), {"key": "shop", "total": total}))
        ground.fold()
        for statement in (
            "CREATE ROLE one_shop",
            "ALTER TABLE sales ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY mine ON sales TO one_shop USING (shop = 'b')",
            f"GRANT SELECT ON {VIEW}, dayfold_coverage, sales TO one_shop",
        ):
            ground.stored(statement)
        try:
            with Session(postgres_url) as session:
                session.run("SET ROLE one_shop")
                rows = session.run(f"SELECT DISTINCT dimensions ->> 'shop' FROM {VIEW}")
            assert rows == [("b",)]
        finally:
            ground.stored("DROP OWNED BY one_shop")
            ground.stored("DROP ROLE one_shop")


def test_folds_at_once_make_one_view(postgres_url: str) -> None:
    """Each of two first folds has tables that the other does not know of; the view has both."""
    run_sql(postgres_url, f"CREATE TABLE sale ({DDL})")
    run_sql(postgres_url, "INSERT INTO sale VALUES ('a', 1, 'ann', '2026-03-03 10:00:00+00')")
    sales = {
        name: type(name, (Rollup,), {"total": Count(Table("sale"), at="made")}) for name in ("One", "Two", "Three")
    }
    barrier = threading.Barrier(len(sales))

    def fold(name: str) -> list[str]:
        with Dayfold([sales[name]], store_config(postgres_url), clock=FixedClock(NOW)) as app:
            app.ledger.ready()
            barrier.wait(30)
            return [str(one) for run in app.fold() for one in (run.error, *run.warnings) if one]

    with ThreadPoolExecutor(len(sales)) as pool:
        assert list(pool.map(fold, sales)) == [[], [], []]
    found = run_sql(postgres_url, f"SELECT DISTINCT source FROM {VIEW} ORDER BY 1")
    assert found == [("One",), ("Three",), ("Two",)]
