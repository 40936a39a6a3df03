"""Checks: what they find on each engine, when they run, what is kept of them and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from dayfold import Alert, Check, Count, Dayfold, Rollup, Sum
from dayfold.define.check import CheckDef, definition
from dayfold.fold.checks import has_failed, holds
from dayfold.jobs import jobs, runner
from dayfold.ledger import checks as kept
from dayfold.plan.access import Scope
from tests.conftest import Pairing
from tests.engines.ground import Ground, march
from tests.engines.test_alerts_http import Door

DDL = "id bigint, shop text, cents bigint, made timestamptz"
ROWS = [{"id": n, "shop": "oslo" if n % 2 else "lyon", "cents": 10 * n, "made": march(n)} for n in range(1, 6)]


def shops(ground: Ground) -> type[Rollup]:
    sale = ground.table("sale")

    class ShopDaily(Rollup):
        key = "shop"
        sales = Count(sale, at="made")
        cents = Sum(sale, "cents", at="made")

    return ShopDaily


def made(name: str, **words: Any) -> type[Check]:
    return type(name, (Check,), words)


def defined(ground: Ground, *checks: type[Check], rows: list[dict[str, Any]] | None = None) -> Dayfold:
    ground.load("sale", DDL, ROWS if rows is None else rows)
    return ground.define(shops(ground), *checks)


def found(app: Dayfold, **how: Any) -> dict[str, tuple[Any, ...]]:
    return {one.name: (one.verdict, one.offending, one.left, one.right, one.reason) for one in app.check(**how)}


def test_a_query_must_return_nothing_and_two_sides_must_agree(store: Ground) -> None:
    """Counts of rows and numbers of comparisons are shown, and no value of a row."""
    moment = "select timestamptz '2026-03-05 13:00:00+01:00'"
    if store.engine == "clickhouse":
        moment = "select parseDateTime64BestEffort('2026-03-05 13:00:00+01:00', 6, 'UTC')"
    app = defined(
        store,
        made("NoTwice", query="select shop, day from shop_daily group by 1, 2 having count(*) > 1 -- twice\n;"),
        made("NoLyon", query="with lyon as (select * from shop_daily where shop = 'lyon') select * from lyon", severity="warning"),
        made("AsSold", left="select sum(cents) from shop_daily", right="select sum(cents) from sale"),
        made("AsDouble", left="select avg(cents) from sale", right="select 29.7::double precision", tolerance_percent=2),
        made("Fewer", left="select count(*) from sale", right="select 4.5", compare="<"),
        made("Names", left="select min(shop) from sale", right="select max(shop) from sale"),
        made("Nothing", left="select sum(cents) from sale where id < 0", right="select null"),
        made("Half", left="select sum(cents) from sale where id < 0", right="select 1"),
        made("Moment", left="select max(made) from sale", right=moment),
    )  # fmt: skip
    store.fold()
    one = "left = right does not hold"
    assert found(app) == {
        "NoTwice": ("passed", 0, None, None, None),
        "NoLyon": ("failed", 2, None, None, "Its query returns 2 rows, and must return none."),
        "AsSold": ("passed", None, 150, 150, None),
        "AsDouble": ("passed", None, 30, Decimal("29.7"), None),
        "Fewer": ("failed", None, 5, Decimal("4.5"), "left < right does not hold."),
        "Names": ("failed", None, None, None, f"{one}; the values are no numbers, and are not shown."),
        "Nothing": ("passed", None, None, None, None),
        "Half": ("failed", None, None, 1, f"{one}; left is NULL."),
        "Moment": ("passed", None, None, None, None),
    }


def test_a_check_that_cannot_run_says_why_and_others_go_on(store: Ground) -> None:
    """A missing table, several rows, two kinds of values, a number that is none and time that is over are errors of that check."""
    slow = "select count(*) from range(1000000) as a(x), range(1000000) as b(y)"
    if store.engine == "postgres":
        slow = "select pg_sleep(60)"
    if store.engine == "clickhouse":
        slow = "select count() from numbers(1000000000000) where number % 7 = 8"
    app = defined(
        store,
        made("Missing", query="select * from nowhere"),
        made("Several", left="select cents from sale", right="select 1"),
        made("NoRow", left="select 1 where false", right="select 1"),
        made("Kinds", left="select min(shop) from sale", right="select 1"),
        made("Infinite", left="select 'infinity'::double precision", right="select 1"),
        made("Slow", query=slow, seconds=0.2),
        made("Fine", query="select 1 where false"),
    )
    reasons = {one.name: (one.verdict, one.reason) for one in app.check()}
    assert reasons.pop("Missing")[0] == "error"
    assert reasons == {
        "Several": ("error", "The query of left returns several rows, expected one."),
        "NoRow": ("error", "The query of left returns no row, expected one."),
        "Kinds": ("error", "left gives a text and right a number."),
        "Infinite": ("error", "The query of left gives no finite number."),
        "Slow": ("error", "It takes longer than 0.2 s."),
        "Fine": ("passed", None),
    }
    assert has_failed(app.check())


def test_a_fold_leads_to_the_checks_of_what_was_published(store: Ground) -> None:
    """Of named rollups: what was published since, what did not pass, what was edited; of none: each fold."""
    every = made("Every", query="select 1 from shop_daily where cents < 0")
    few = {"query": "select 1 from shop_daily where cents > 45"}
    rollup = shops(store)
    store.load("sale", DDL, ROWS[:4])
    store.define(rollup, every, made("Few", of=rollup, **few))

    def folded() -> dict[str, tuple[str, bool]]:
        runs = store.fold()
        found = store.opened.check_folded(runs)
        # Nothing was published since, so only what did not pass or is of every fold runs again.
        again = {one.name for one in store.opened.check_folded(runs)}
        assert again == {one.name for one in found if one.name != "Few" or one.verdict == "failed"}
        return {one.name: (one.verdict, one.run_id == runs[0].run_id) for one in found}

    ran, passed, failed = {"Every": ("passed", True)}, ("passed", True), ("failed", True)
    assert folded() == ran | {"Few": passed}
    assert folded() == ran | {"Few": passed}
    store.insert("sale", ROWS[4:])
    assert folded() == ran | {"Few": failed}
    store.define(rollup, every, made("Few", of=[rollup], severity="warning", **few))
    assert folded() == ran | {"Few": failed}
    assert [one.name for one in store.opened.check("shop_daily")] == ["Few"]
    store.source("update sale set cents = 1 where id = 5")
    assert folded() == ran | {"Few": passed}


def test_the_last_hundred_verdicts_are_kept_and_the_last_is_told(
    store: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view and the status have the last of each; a check that never ran has none."""
    monkeypatch.setattr(kept, "MOST_KEPT", 2)
    app = defined(store, made("Few", left="select count(*) from sale", right="select 4", compare="<="))
    assert [(one.check, one.verdict, one.checked_at) for one in app.checks()] == [("Few", None, None)]
    assert [one.verdict for one in app.status().checks] == [None]
    for _ in range(4):
        app.check()
    [status] = app.status().checks
    assert (status.verdict, status.left, status.right, status.checked_at) == ("failed", 5, 4, "2026-03-12T12:00:00Z")
    assert store.stored("select name, verdict, left_value from dayfold_checks") == [("Few", "failed", "5")]
    assert store.stored("select turn from dayfold__checks order by turn") == [(3,), (4,)]


def test_a_failed_check_fails_its_job_for_good_and_is_alertable(store: Ground) -> None:
    """The fold stands, the summary names the check without a number of its sides, and the alert closes when it passes."""
    few = made("Few", left="select count(*) from shop_daily", right="select 4", compare="<=")
    soft = made("Soft", query="select 1", severity="warning")
    named = type("Named", (Alert,), {"check_failed": "Soft"})
    every = type("Every", (Alert,), {"check_failed": True})
    app = defined(store, few, soft, named, every)
    assert states(app) == {"Named": "unknown", "Every": "unknown"}
    done = run_job(app, "fold")
    assert (done.error, done.is_final) == ("Checks did not pass: Few: left <= right does not hold.", True)
    assert [(one["check"], one["verdict"]) for one in done.summary["checks"]] == [("Few", "failed"), ("Soft", "failed")]
    assert not {"left", "right"} & done.summary["checks"][0].keys()
    assert app.query("ShopDaily", ["sales"], from_="2026-03-01", to="2026-03-05", grain="total").rows[0]["sales"] == 5
    assert states(app) == {"Named": "firing", "Every": "firing"}
    assert [one["message"] for one in app.alerts().listed()["alerts"] if one["rule"] == "Every"] == [
        "The check Few failed. left <= right does not hold."
    ]
    store.source("delete from sale where id = 5")
    app = store.define(shops(store), few, soft, named, every)
    assert run_job(app, "verify").error is not None
    store.fold(allow_empty=True)
    assert run_job(app, "verify").error is None
    assert states(app) == {"Named": "firing", "Every": "clear"}


def states(app: Dayfold) -> dict[str, str]:
    return {one.name: one.state for one in app.alerts().look()}


def run_job(app: Dayfold, name: str) -> Any:
    task = runner.Task(app, jobs.jobs(app.catalog, app.settings)[name], {}, None, lambda *_: None, lambda: None)
    return runner.do(task)


@pytest.fixture
def schemas(postgres_url: str) -> Iterator[Ground]:
    """A PostgreSQL whose rollups stand in a schema of their own."""
    with Ground(Pairing("postgres-same", postgres_url, postgres_url)) as ground:
        ground.config["store"]["schema"] = "analytics"
        yield ground


def test_tables_of_the_store_need_no_schema(schemas: Ground) -> None:
    """A name is first that of a rollup's table, and then whatever the user's search path finds."""
    app = defined(
        schemas, made("AsSold", left="select sum(cents) from shop_daily", right="select sum(cents) from sale")
    )
    schemas.fold()
    assert found(app) == {"AsSold": ("passed", None, 150, 150, None)}


def test_a_check_writes_nothing_whatever_it_calls(schemas: Ground) -> None:
    """What SQLGlot cannot see, such as a function that writes, PostgreSQL refuses in a read-only transaction."""
    sly = made("Sly", query="select sly()")
    defined(schemas, sly)
    schemas.source("create function sly() returns int language sql as 'delete from sale returning 1'")
    app = schemas.define(shops(schemas), sly)
    assert found(app)["Sly"][0] == "error"
    assert schemas.source("select count(*) from sale") == [(5,)]


def test_each_side_asks_its_own_database(ground: Ground) -> None:
    """The store on the left and the source on the right, whichever engines they are, and wherever rows travel."""
    right = {"right": "select sum(cents) from sale"}
    if ground.pairing.database:
        right["right_database"] = ground.pairing.database
    app = defined(ground, made("AsSold", left="select sum(cents) from shop_daily", **right))
    ground.fold()
    assert found(app) == {"AsSold": ("passed", None, 150, 150, None)}


def comparison(compare: str, **words: Any) -> CheckDef:
    return definition(made("C", left="select 1", right="select 1", compare=compare, **words))[0]


@pytest.mark.parametrize(("left", "right", "which"), [
    (None, None, "= <= >="), (None, 1, "!="), (1.0, None, "!="), (1.0, 2.0, "<= < !="), ("a", "b", "<= < !="), (True, True, "= <= >="),
])  # fmt: skip
def test_what_holds_of_two_values(left: Any, right: Any, which: str) -> None:
    """NULL equals NULL, and nothing else."""
    every = ("=", "<=", ">=", "<", ">", "!=")
    assert [one for one in every if holds(comparison(one), left, right)] == [
        one for one in every if one in which.split()
    ]


def test_a_tolerance_widens_what_holds() -> None:
    """By an amount, or by a share of the right side."""
    a, b = Decimal("100.5"), Decimal(100)
    assert [holds(comparison(how, tolerance=Decimal("0.5")), a, b) for how in ("=", "<=", "<", "!=")] == [
        True,
        True,
        False,
        False,
    ]
    assert holds(comparison("=", tolerance_percent=0.5), a, b)
    assert not holds(comparison("=", tolerance_percent=0.49), a, b)


def test_verdicts_over_http_are_for_who_may_see_everything(store: Ground) -> None:
    """Every check as it ended last, its numbers as numbers; a limited caller, whatever the right, sees none."""
    app = defined(
        store,
        made("Few", left="select count(*) from sale", right="select 4.5", compare="<="),
        made("Always", query="select 1"),
    )
    app.check_folded(app.fold())
    door = Door(store)
    try:
        few, always = door.get("/v1/checks").json()["checks"]
        assert (few["check"], few["verdict"], few["left"], few["right"]) == ("Few", "failed", 5, 4.5)
        assert (always["verdict"], always["offending"], always["run_id"]) == ("failed", 1, 1)
        assert door.get("/v1/checks", scope=Scope(rollups=("ShopDaily",))).json()["code"] == "forbidden"
        assert door.get("/v1/checks", "read").status_code == 403
    finally:
        door.close()
