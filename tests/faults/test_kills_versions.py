"""kill -9 where a store in two databases is written: readers see all of a transaction or nothing, and the next run removes what is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.engines import compacting
from dayfold.engines.base import undone
from tests.faults import shops
from tests.faults.conftest import do, fold, kill
from tests.faults.test_kills import comparable, undisturbed
from tests.sql import run_sql, store_config

POINTS = [
    ("write begun", 1),
    ("write begun", 3),
    ("table made", 1),
    ("versions written", 1),
    ("versions written", 4),
    ("write published", 1),
    ("write published", 3),
    ("told", 1),
    ("told", 3),
    ("view put", 1),
    ("view put", 2),
]

TENDING = [
    ("versions compacted", 1),
    ("versions compacted", 2),
    ("table written anew", 1),
    ("table written anew", 2),
    ("committed", 2),
]
REMOVING = [("versions removed", 1)]
LISTS = [POINTS, TENDING, REMOVING]


@pytest.fixture
def new_store(new_clickhouse: Callable[..., str]) -> Callable[[], str]:
    """Makes filled stores in ClickHouse, each with its ledger in PostgreSQL."""

    def make() -> str:
        url = new_clickhouse("postgres")
        shops.fill(url)
        return url

    return make


def versions(url: str) -> dict[str, int]:
    """How many versions stand in each table, by the names that readers use."""
    found = run_sql(url, "SELECT name, versions FROM dayfold__tables")
    return {name: run_sql(url, f'SELECT count(*) FROM "{table}"')[0][0] for name, table in found}


@pytest.mark.parametrize(("point", "nth"), POINTS, ids=str)
def test_a_killed_fold_leaves_nothing_that_anybody_sees(new_store: Callable[[], str], point: str, nth: int) -> None:
    """The next fold completes it; no version of the killed one is left, and other programs see what ours do."""
    url = new_store()
    kill(url, "first", point, nth)
    fold(url)
    assert comparable(url) == undisturbed("clickhouse", new_store, fold)
    seen = {name: run_sql(url, f"SELECT count(*) FROM {name}")[0][0] for name in ("shops", "shops__sets")}
    # Nothing was ever replaced, so that there is one version of each row and no other.
    assert versions(url) == seen


def test_replaced_versions_go_and_nobody_notices(new_store: Callable[[], str]) -> None:
    """Compacting takes what others have replaced, and no more; a second time it finds nothing."""
    url = new_store()
    fold(url)
    run_sql(url, "DELETE FROM request WHERE shop = 1")
    with Dayfold(shops.definitions("first"), shops.config(url), clock=FixedClock(shops.NOW)) as app:
        app.rebuild("Shops", from_="2026-03-01", to="2026-03-20", allow_empty=True)
    before, many = comparable(url), versions(url)
    with Dayfold(shops.definitions("first"), shops.config(url), clock=FixedClock(shops.NOW)) as app:
        assert sorted(compacting.compact(app.databases.store, keep_s=0)) == ["shops", "shops__sets"]  # type: ignore[arg-type]
        assert compacting.compact(app.databases.store, keep_s=0) == []  # type: ignore[arg-type]
    assert comparable(url) == before
    few = versions(url)
    assert few["shops"] < many["shops"]
    assert few == {name: run_sql(url, f"SELECT count(*) FROM {name}")[0][0] for name in few}
    assert run_sql(url, "SELECT count(*) FROM dayfold__tables WHERE revised") == [(0,)]


def test_a_transaction_that_is_undone_leaves_no_version(new_store: Callable[[], str]) -> None:
    """What it wrote is removed at once, and its number is never shown."""
    url = new_store()
    fold(url)
    before, many = comparable(url), versions(url)
    app = Dayfold(shops.definitions("first"), store_config(url), clock=FixedClock(shops.NOW))
    with app, undone(app.databases.store) as session:
        statement = app.ledger.sql("delete from _t where day >= '2026-03-01'", _t=app.ledger.place("shops"))
        assert session.execute(statement) > 0
        assert session.rows(app.ledger.sql("select count(*) from _t", _t=app.ledger.place("shops"))) == [(0,)]
    assert comparable(url) == before
    assert versions(url) == many


@pytest.mark.parametrize(("point", "nth"), TENDING, ids=str)
def test_a_kill_while_versions_go_changes_nothing(new_store: Callable[[], str], point: str, nth: int) -> None:
    """Whatever went was replaced, and what is written anew has its name once all of it is there."""
    url = new_store()
    fold(url)
    run_sql(url, "DELETE FROM request WHERE shop = 1")
    with Dayfold(shops.definitions("first"), shops.config(url), clock=FixedClock(shops.NOW)) as app:
        app.rebuild("Shops", from_="2026-03-01", to="2026-03-20", allow_empty=True)
    before = comparable(url)
    kill(url, "first", point, nth, "compacted")
    assert comparable(url) == before
    do(url, "first", "compacted")
    assert comparable(url) == before
    assert versions(url) == {name: run_sql(url, f"SELECT count(*) FROM {name}")[0][0] for name in versions(url)}


@pytest.mark.parametrize(("point", "nth"), REMOVING, ids=str)
def test_a_kill_while_what_was_left_is_removed(new_store: Callable[[], str], point: str, nth: int) -> None:
    """It is removed by the next write, as often as it takes."""
    url = new_store()
    kill(url, "first", "versions written", 2)
    kill(url, "first", point, nth)
    fold(url)
    assert comparable(url) == undisturbed("clickhouse", new_store, fold)
    assert versions(url) == {name: run_sql(url, f"SELECT count(*) FROM {name}")[0][0] for name in versions(url)}
