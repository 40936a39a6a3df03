"""Access by relation: what a database says at the moment decides who sees which rows, and nothing opens by failing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dayfold import Access, Count, Distinct, Rollup, Sum
from dayfold.errors import AccessRefused, AccessUnknown, DayfoldError, Forbidden, UnknownName, UsageError
from dayfold.plan.access import EVERYTHING, Grant, Scope
from dayfold.plan.keys import FEW_VALUES
from dayfold.query import relations
from tests.conftest import Pairing
from tests.engines.ground import D, Ground, march

UUIDS = {n: f"00000000-0000-4000-8000-00000000000{n}" for n in (7, 8)}
#: The kinds that a brand's identifier may be of, and the identifiers of two brands.
BRANDS = {
    "bigint": {7: "7", 8: "8"},
    "text": {7: "o'neil; drop table license --", 8: "8"},
    "uuid": UUIDS,
}


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


#: The source in another database of the other engine; what every pairing has to do is tested on all of them.
crossed = pytest.mark.parametrize("pairing", ["duckdb-to-postgres", "postgres-to-duckdb"], indirect=True)
in_postgres = pytest.mark.parametrize("pairing", ["postgres-same"], indirect=True)


@pytest.fixture(params=BRANDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shop(ground: Ground) -> Ground:
    """Views of three assets, folded; brand 7 has a license on two of them, brand 8 on one."""
    return made(ground, "bigint")


def made(ground: Ground, kind: str) -> Ground:
    """A ground with licenses by brands of some kind, and two folded rollups of which one has no assets."""
    viewed = [(1, "fr", 5), (1, "fr", 6), (2, "de", 5), (3, "de", 6), (3, "fr", 7), (None, "fr", 7)]
    ground.load(
        "viewed", "asset_id bigint, country text, cents bigint, made timestamptz",
        [{"asset_id": a, "country": c, "cents": 10, "made": march(day)} for a, c, day in viewed],
    )  # fmt: skip
    licensed = [(7, 1, "active"), (7, 2, "active"), (7, 3, "expired"), (8, 3, "active")]
    ground.load("license", f"brand_id {kind}, asset_id bigint, status text", [])
    for brand, asset, status in licensed:
        ground.source(
            f"insert into license select cast($1 as {kind}), cast($2 as bigint), cast($3 as text)",
            [BRANDS[kind][brand], asset, status],
        )
    define(ground)
    ground.fold()
    return ground


def define(ground: Ground, **queries: str | None) -> None:
    view = ground.table("viewed")

    class AssetDaily(Rollup):
        key = ("asset_id", "country")
        views = Count(view, at="made")
        cents = Sum(view, "cents", at="made")
        countries = Distinct(view, "country", at="made")

    class CountryDaily(Rollup):
        key = "country"
        views = Count(view, at="made")

    words: dict[str, Any] = {
        "asset_id": "select asset_id from license where brand_id = :brand_id and status = 'active'",
        "database": ground.pairing.database,
    } | queries
    ground.define(AssetDaily, CountryDaily, type("Brand", (Access,), words))


def brand(number: int, kind: str = "bigint") -> Scope:
    return Scope.of(None, {}, [Grant.of("Brand", {"brand_id": BRANDS[kind][number]})])


def seen(ground: Ground, scope: Scope) -> dict[Any, int]:
    """Views by asset, as somebody sees them."""
    rows = ground.ask("AssetDaily", "views", grain="total", by=["asset_id"], allow_missing=True, scope=scope)
    return {row["asset_id"]: row["views"] for row in rows}


def age(ground: Ground, clock: Clock) -> None:
    """The answers grow old by this clock."""
    ground.opened.relations.monotonic = clock


def test_a_brand_sees_the_assets_it_has_a_license_on(ground: Ground, kind: str) -> None:
    """Parameters that are integers, texts with SQL in them and UUIDs are bound, and find exactly their rows."""
    made(ground, kind)
    assert seen(ground, brand(7, kind)) == {1: 2, 2: 1}
    assert seen(ground, brand(8, kind)) == {3: 2}
    assert seen(ground, EVERYTHING) == {1: 2, 2: 1, 3: 2, None: 1}
    assert ground.source("select count(*) from license") == [(4,)]


def test_a_license_that_expires_closes_after_the_time_that_an_answer_holds(shop: Ground, clock: Clock) -> None:
    """Until then the first answer is used again; from then on the database is asked, and the mark is another."""
    age(shop, clock)
    assert seen(shop, brand(7)) == {1: 2, 2: 1}
    before = shop.opened.resolved(brand(7))
    shop.source("update license set status = 'expired' where brand_id = 7 and asset_id = 2")
    clock.seconds += 59.9
    assert shop.opened.resolved(brand(7)) is before
    assert seen(shop, brand(7)) == {1: 2, 2: 1}
    clock.seconds += 0.1
    assert seen(shop, brand(7)) == {1: 2}
    assert shop.opened.resolved(brand(7)).mark != before.mark
    shop.source("delete from license")
    clock.seconds += 60
    assert seen(shop, brand(7)) == {}


@crossed
def test_without_a_time_every_read_asks(shop: Ground, clock: Clock) -> None:
    """`[auth] relation_s = 0` closes with the next read."""
    shop.config = {**shop.config, "auth": {"relation_s": 0}}
    define(shop)
    age(shop, clock)
    assert seen(shop, brand(7)) == {1: 2, 2: 1}
    shop.source("update license set status = 'expired' where asset_id = 2")
    assert seen(shop, brand(7)) == {1: 2}


@crossed
def test_numbers_are_of_what_is_seen(shop: Ground) -> None:
    """Sums, sets and filters are over the rows of the relation; asking for another's rows finds none."""
    rows = shop.ask("AssetDaily", "cents", "countries", grain="total", allow_missing=True, scope=brand(7))
    assert rows == [{"day": D(2026, 3, 1), "cents": 30, "countries": 2}]
    rows = shop.ask("AssetDaily", "views", grain="total", where=["asset_id=3"], allow_missing=True, scope=brand(7))
    assert [row["views"] for row in rows] == [0]
    with pytest.raises(DayfoldError) as error:
        shop.opened.explain("AssetDaily", "views", day="2026-03-06", where=["asset_id=3", "country=de"], scope=brand(7))
    assert error.value.message == "The value of asset_id is not among those that you may see."
    found = shop.opened.explain(
        "AssetDaily", "views", day="2026-03-06", where=["asset_id=1", "country=fr"], scope=brand(7)
    )
    assert found.value == 1


@crossed
def test_a_rollup_without_the_key_column_is_not_there(shop: Ground) -> None:
    """Its rows could not be told apart, so it does not exist for whom a relation limits."""
    with pytest.raises(UnknownName) as error:
        shop.ask("CountryDaily", "views", scope=brand(7))
    assert str(error.value) == "There is no rollup 'CountryDaily'.\n  Rollups: AssetDaily"
    assert list(shop.opened.resolved(brand(7)).visible(shop.opened.catalog)) == ["AssetDaily"]


@crossed
def test_relations_and_lists_of_values_have_to_be_met_both(shop: Ground) -> None:
    """A grant narrows rows, rows narrow a grant, and a second grant narrows the first."""
    assert seen(shop, brand(7).narrowed(Scope.of(None, {"asset_id": ["2", "3"]}))) == {2: 1}
    assert seen(shop, brand(7).narrowed(Scope.of(None, {"country": ["fr"]}))) == {1: 2}
    assert seen(shop, brand(7).narrowed(brand(8))) == {}


@crossed
def test_several_columns_are_asked_each(shop: Ground) -> None:
    """One query a column, their parameters united."""
    shop.source("create table partner (country text, region text)")
    shop.source("insert into partner values ('fr', 'west')")
    define(shop, country="select country from partner where region = :region")
    both = Scope.of(None, {}, [Grant.of("Brand", {"brand_id": "7", "region": "west"})])
    assert seen(shop, both) == {1: 2}
    with pytest.raises(UsageError) as error:
        shop.opened.check_scope(brand(7))
    assert str(error.value) == (
        "The access Brand takes the parameters brand_id, region; got brand_id.\n  Name each of them once, and no other."
    )


@crossed
def test_null_among_the_values_opens_nothing(shop: Ground) -> None:
    """A license on nothing in particular is none on the rows without an asset."""
    shop.source("insert into license values (7, null, 'active')")
    define(shop)
    assert seen(shop, brand(7)) == {1: 2, 2: 1}


@crossed
def test_values_that_are_not_of_the_keys_type_open_nothing(shop: Ground) -> None:
    """A query that gives other things than keys lets nothing through."""
    define(shop, asset_id="select status from license where brand_id = :brand_id")
    assert seen(shop, brand(7)) == {}


CLOSED = "What the access Brand lets you see cannot be looked up: its database does not tell."
LATER = "\n  Nothing is shown until it can; try again in a while. The log of the service says more."


@pytest.mark.parametrize("query", [
    "select asset_id from licence where brand_id = :brand_id",
    "select asset_id from license where cast(status as bigint) = :brand_id",
])  # fmt: skip
@crossed
def test_a_failing_query_closes(shop: Ground, clock: Clock, query: str, caplog: pytest.LogCaptureFixture) -> None:
    """The read is refused and says neither table nor address; the log does; the next read asks again."""
    define(shop, asset_id=query)
    age(shop, clock)
    for _ in range(2):
        with pytest.raises(AccessUnknown) as error:
            seen(shop, brand(7))
        assert str(error.value) == CLOSED + LATER
    assert [record.action for record in caplog.records] == ["relation-failed"] * 2  # type: ignore[attr-defined]


@crossed
def test_a_parameter_of_another_type_closes(shop: Ground) -> None:
    """Text where the database compares with an integer is an error there, and no access here."""
    for text in ("7 or true", "7\x00", "", "seven"):
        with pytest.raises(AccessUnknown):
            seen(shop, Scope.of(None, {}, [Grant.of("Brand", {"brand_id": text})]))


@crossed
def test_an_answer_that_is_too_old_does_not_outlive_a_failure(shop: Ground, clock: Clock) -> None:
    """What was known is not used beyond its time because the database is gone."""
    age(shop, clock)
    assert seen(shop, brand(7)) == {1: 2, 2: 1}
    shop.source("alter table license rename to elsewhere")
    clock.seconds += 60
    with pytest.raises(AccessUnknown):
        seen(shop, brand(7))
    shop.source("alter table elsewhere rename to license")
    assert seen(shop, brand(7)) == {1: 2, 2: 1}


@crossed
def test_too_many_values_close(shop: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """More values than may be are refused, and not cut."""
    monkeypatch.setattr(relations, "MOST_VALUES", 1)
    with pytest.raises(AccessUnknown) as error:
        seen(shop, brand(7))
    assert error.value.message == (
        "What the access Brand lets you see cannot be looked up: its query for asset_id gives more than 1 values."
    )
    assert seen(shop, brand(8)) == {3: 2}


def test_a_slow_query_closes(store: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time a query is ended."""
    made(store, "bigint")
    monkeypatch.setattr(relations, "LIMIT_S", 0.1)
    numbers = "range(100000)" if store.engine == "duckdb" else "generate_series(1, 100000)"
    query = f"select count(*) from {numbers} a(x), {numbers} b(y) where x * y % 7 = :brand_id"
    if store.engine == "clickhouse":
        query = "select count() from numbers(1000000000000) where number * 3 % 7 = :brand_id"
    define(store, asset_id=query)
    with pytest.raises(AccessUnknown) as error:
        seen(store, brand(7))
    assert error.value.message == (
        "What the access Brand lets you see cannot be looked up: it takes longer than 0.1 s."
    )


@in_postgres
def test_a_query_that_writes_changes_nothing(shop: Ground) -> None:
    """Whatever a function in it does, a query runs in a transaction that only reads."""
    shop.source("create function taken() returns bigint language sql as 'delete from license returning 1'")
    define(shop, asset_id="select taken() from license where brand_id = :brand_id")
    with pytest.raises(AccessUnknown):
        seen(shop, brand(7))
    assert shop.source("select count(*) from license") == [(4,)]


@crossed
def test_an_access_that_is_gone_closes(shop: Ground) -> None:
    """A grant of a name that the definitions do not have any more is refused; when it is given out, the nearest is named."""
    scope = Scope.of(None, {}, [Grant.of("Brnd", {"brand_id": "7"})])
    with pytest.raises(Forbidden) as refused:
        seen(shop, scope)
    assert str(refused.value) == (
        "There is no access 'Brnd'; the nearest is 'Brand'.\n"
        "  Who issued the token makes a new one that fits the definitions."
    )
    with pytest.raises(UnknownName) as error:
        shop.opened.check_scope(scope)
    assert str(error.value) == "There is no access 'Brnd'; the nearest is 'Brand'.\n  Accesses: Brand"
    with pytest.raises(Forbidden):
        seen(shop, Scope.of(None, {}, [Grant.of("Brand", {})]))
    with pytest.raises(Forbidden):
        seen(shop, Scope.of(None, {}, [Grant.of("Brand", {"brand_id": "7", "more": "1"})]))


@crossed
def test_a_scope_that_was_not_looked_up_sees_nothing(shop: Ground) -> None:
    """Who forgets to ask the database opens nothing."""
    catalog = shop.opened.catalog
    assert brand(7).visible(catalog) == {}
    assert brand(7).is_limited
    with pytest.raises(UnknownName) as unknown:
        brand(7).rollup(catalog, "AssetDaily")
    assert str(unknown.value) == "There is no rollup 'AssetDaily'.\n  Rollups: none"
    with pytest.raises(AccessRefused) as error:
        brand(7).filters(catalog["AssetDaily"])
    assert str(error.value) == (
        "It was not looked up what the caller's relations let them see.\n  Read with Dayfold.resolved(scope)."
    )


@crossed
def test_live_answers_are_of_what_is_seen(shop: Ground) -> None:
    """Rows that are computed for an answer pass the same check."""
    shop.insert("viewed", [{"asset_id": a, "country": "it", "cents": 1, "made": march(12, 8)} for a in (1, 3)])
    rows = shop.ask(
        "AssetDaily", "views", by=["asset_id"], first=12, grain="total", live=True, allow_missing=True, scope=brand(7)
    )
    assert {row["asset_id"]: row["views"] for row in rows} == {1: 1}


@crossed
def test_of_all_who_ask_at_once_one_asks_the_database(shop: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait for its answer; a failure is theirs too."""
    asked = []
    several = threading.Barrier(2)
    answering = threading.Event()
    real = relations.Relations._ask

    def slowly(self: relations.Relations, grant: Grant) -> Any:
        asked.append(grant)
        several.wait(10)
        answering.wait(10)
        if len(asked) > 1:
            raise AccessUnknown("gone")
        return real(self, grant)

    monkeypatch.setattr(relations.Relations, "_ask", slowly)
    found = shop.opened.relations
    waiting = threading.Semaphore(0)
    awaited = relations.Relations._awaited

    def told(self: relations.Relations, grant: Grant, other: Any) -> Any:
        waiting.release()
        return awaited(self, grant, other)

    monkeypatch.setattr(relations.Relations, "_awaited", told)

    def once() -> list[Any]:
        answering.clear()
        with ThreadPoolExecutor(4) as threads:
            one = threads.submit(found.resolve, brand(7))
            several.wait(10)
            others = [threads.submit(found.resolve, brand(7)) for _ in range(3)]
            for _ in others:
                assert waiting.acquire(timeout=10)
            answering.set()
            return [each.exception() or each.result() for each in (one, *others)]

    assert {scope.rows for scope in once()} == {(("asset_id", ("1", "2")),)}
    assert len(asked) == 1
    clock = Clock()
    clock.seconds = found.monotonic() + 60
    found.monotonic = clock
    assert [str(error) for error in once()] == ["gone"] * 4
    assert len(asked) == 2


@pytest.mark.parametrize("pairing", ["duckdb-same", "postgres-same"], indirect=True)
@pytest.mark.parametrize("type_", ["bigint", "text", "uuid", "date"])
def test_many_values_are_let_through_as_few_are(pairing: Pairing, type_: str) -> None:
    """A list is compared with text by text, whatever letters it holds, NULL included and wrong types left out."""
    held = {
        "bigint": ["1", "-5", "9007199254740993"],
        "text": ["a,b", '{"x"}', "NULL", "", 'o\'neil \\ "q"', "ü\n", "$1 :v0 %s"],
        "uuid": list(UUIDS.values()),
        "date": ["2026-01-01", "0999-12-31"],
    }[type_]
    others = {
        "bigint": [str(n) for n in range(1000, 1040)], "text": [f"no{n}" for n in range(40)],
        "uuid": [f"10000000-0000-4000-8000-0000000000{n}" for n in range(10, 50)],
        "date": [f"2025-{m:02}-{d:02}" for m in range(1, 5) for d in range(1, 11)],
    }[type_]  # fmt: skip
    hidden = {"bigint": "2", "text": "b", "uuid": "20000000-0000-4000-8000-000000000000", "date": "2027-01-01"}[type_]
    with Ground(pairing) as ground:
        ground.load("fact", f"k {type_}, made timestamptz", [])
        for value in (*held, hidden, None):
            ground.source(f"insert into fact select cast($1 as {type_}), timestamptz '2026-03-05 12:00:00+00'", [value])

        class FactDaily(Rollup):
            key = "k"
            total = Count(ground.table("fact"), at="made")

        ground.define(FactDaily)
        ground.fold()

        def found(values: list[str | None]) -> int:
            scope = Scope.of(None, {"k": values})
            return sum(row["total"] for row in ground.ask("FactDaily", by=["k"], first=5, last=5, scope=scope))

        assert len(others) > FEW_VALUES
        assert found([*held, *others]) == len(held)
        assert found([*held, *others, None]) == len(held) + 1
        assert found([*others]) == 0
        assert found([*held, "not of the type\x00", *others]) == len(held)
        excluded = ground.ask(
            "FactDaily", by=["k"], first=5, last=5, where=[f"k!={one}" for one in (*held, *others) if one]
        )
        assert sum(row["total"] for row in excluded) == 2 + ("" in held)


@crossed
def test_ten_thousand_values_are_one_parameter(shop: Ground) -> None:
    """A brand with many licenses is asked for by one list, and not by so many conditions."""
    numbers = "range(1, 10001)" if shop.pairing.source.startswith("duckdb") else "generate_series(1, 10000)"
    shop.source(f"insert into license select 9, n, 'active' from {numbers} as t(n)")
    define(shop)
    scope = Scope.of(None, {}, [Grant.of("Brand", {"brand_id": "9"})])
    assert seen(shop, scope) == {1: 2, 2: 1, 3: 2}
    [(column, values)] = shop.opened.resolved(scope).rows
    assert (column, len(values)) == ("asset_id", 10_000)
