"""Counters as the rest of the product sees them: queried, proved, erased, watched, looked after, protected."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from dayfold import Alert, Counter, Dayfold, Formula, Rollup, Sum, Total
from dayfold.clock import FixedClock
from dayfold.jobs.findings import State
from dayfold.jobs.rules import judge
from tests.sql import store_config
from tests.valkeys import DURABLE, ValkeyServer

pytestmark = pytest.mark.in_turn
NOW = dt.datetime(2026, 3, 18, 12, tzinfo=dt.UTC)


class ApiKeyUsage(Counter):
    """Usage of each API key."""

    key = "api_key_id"
    owner = "user_id"
    day_column = "usage_date"
    identities = "requests = good + bad"
    requests = Total()
    good = Total()
    bad = Total()
    size = Total(negative=True)
    quota_share = Formula("requests / 100")


class PerOwner(Rollup):
    """Usage of each owner."""

    key = "user_id"
    requests = Sum(ApiKeyUsage, "requests", at="usage_date")


class Quota(Alert):
    """Eighty percent of a month's quota."""

    when = "quota_share >= 0.8"
    over = "month"
    by = "api_key_id"


class Lost(Alert):
    """Increments are nowhere."""

    unaccounted = True


Make = Callable[..., Dayfold]


@pytest.fixture(params=["embedded", "valkey"])
def words(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What ``[live]`` says: nothing of where, or a Valkey. A busy machine gets the time that it needs."""
    return {"wait_ms": 20_000} if request.param == "embedded" else dict(request.getfixturevalue("live_words"))


@pytest.fixture
def make(store_url: str, words: dict[str, Any]) -> Iterator[Make]:
    made = []

    def build(*classes: type[Any], clock: dt.datetime = NOW, **config: Any) -> Dayfold:
        settings = {**store_config(store_url, long_view=""), "live": words, **config}
        made.append(Dayfold(classes or (ApiKeyUsage,), settings, clock=FixedClock(clock)))
        return made[-1]

    yield build
    for app in made:
        app.close()


def add(app: Dayfold, key: str, requests: int, owner: str | None = None, at: str | None = None, **more: int) -> None:
    bad = more.pop("bad", 0)
    found = app.counters.add(
        ApiKeyUsage, api_key_id=key, owner=owner, at=at, requests=requests, good=requests - bad, bad=bad, **more
    )
    assert found == "accepted"


def rows(app: Dayfold, *by: str, name: str = "ApiKeyUsage", **more: Any) -> list[dict[str, Any]]:
    days = {"from_": "2026-03-16", "to": "2026-03-18"}
    return app.query(name, ["requests"], **days, by=by, grain="total", allow_missing=True, **more).rows


def test_days_are_queried_and_explained_as_those_of_any_rollup(make: Make) -> None:
    """By day and key, as sources of other rollups, with the row behind each number."""
    app = make(ApiKeyUsage, PerOwner)
    add(app, "k1", 3, "u1", "2026-03-16T23:59:59Z", bad=1)
    add(app, "k1", 2, "u1", "2026-03-17T00:00:00Z", size=-5)
    add(app, "k2", 4, "u1")
    assert [one.status for one in app.fold()] == ["done", "done"]
    found = app.query(
        "api_key_usage_daily", ["requests", "bad"], from_="2026-03-16", to="2026-03-18", where=["api_key_id=k1"]
    ).rows
    assert [(row["day"].day, row["requests"], row["bad"]) for row in found] == [(16, 3, 1), (17, 2, 0), (18, 0, 0)]
    assert [(row["user_id"], row["requests"]) for row in rows(app, "user_id", name="PerOwner")] == [("u1", 9)]
    shown = app.explain("ApiKeyUsage", "requests", day="2026-03-16", where=["api_key_id=k1", "user_id=u1"])
    assert shown.value == 3


def test_flush_adds_to_keys_that_are_there_and_to_new_ones_beside_them(make: Make) -> None:
    """One flush, with keys and days of both kinds: nobody is left out of the days or of the current totals."""
    app = make()
    add(app, "k1", 3, at="2026-03-17T10:00:00Z")
    app.counters.flush()
    add(app, "k1", 1, at="2026-03-17T11:00:00Z")
    add(app, "k1", 2)
    add(app, "k2", 4, at="2026-03-17T12:00:00Z")
    app.fold()
    found = app.query("ApiKeyUsage", ["requests"], from_="2026-03-17", to="2026-03-18", by=["api_key_id"]).rows
    assert {(row["day"].day, row["api_key_id"]): row["requests"] for row in found} == {
        (17, "k1"): 4, (17, "k2"): 4, (18, "k1"): 2, (18, "k2"): 0
    }  # fmt: skip
    with app.ledger.store.transaction(read_only=True) as session:
        query = app.ledger.sql("select api_key_id, requests from _t order by 1", _t=_table(app, "api_key_usage"))
        assert session.rows(query) == [("k1", 6), ("k2", 4)]


def test_live_answer_has_what_waits_and_says_so(make: Make) -> None:
    """What was acknowledged a moment ago is in a live answer, marked as provisional, and not in another one before the next fold."""
    app = make()
    add(app, "k1", 3)
    app.fold()
    add(app, "k1", 2)
    assert rows(app)[0]["requests"] == 3
    live = app.query(
        "ApiKeyUsage", ["requests"], from_="2026-03-16", to="2026-03-18", grain="total", allow_missing=True, live=True
    )
    assert live.rows[0]["requests"] == 5
    assert [one.days.last for one in live.provisional] == [dt.date(2026, 3, 18)]


def test_verify_proves_the_counted_table_by_conservation(make: Make) -> None:
    """An amount that somebody changes by hand is found though the days were folded from it."""
    app = make()
    add(app, "k1", 3)
    app.fold()
    assert app.verify("ApiKeyUsage")[0].error is None
    with app.ledger.store.transaction() as session:
        session.execute("update dayfold_counted_api_key_usage set requests = requests + 1, good = good + 1")
        session.execute("update api_key_usage set requests = requests + 1, good = good + 1")
    app.fold()
    [found] = app.verify("ApiKeyUsage")
    assert not found.is_proved
    assert found.error == "Of what was added, accepted and nowhere: requests -1, good -1."


def test_verify_says_what_was_counted_on_sealed_days(make: Make) -> None:
    """Such a day stays as it is: the increment stands in the current totals alone."""
    app = make()
    add(app, "k1", 3, at="2026-03-16T10:00:00Z")
    app.fold()
    with app.ledger.store.transaction() as session:
        session.execute(app.ledger.sql("update dayfold__coverage set state = 'sealed' where day = date '2026-03-16'"))
    add(app, "k1", 2, at="2026-03-16T11:00:00Z")
    app.fold()
    assert rows(app)[0]["requests"] == 3
    assert (
        "counted on sealed days: 1 key, in api_key_usage and in no row of a day" in app.verify("ApiKeyUsage")[0].notes
    )


def test_current_totals_are_healed_from_the_days(make: Make) -> None:
    """A totals table that was changed by hand, or lacks a key, is what the days add up to again."""
    app = make()
    add(app, "k1", 3, "u1")
    add(app, "k2", 4, "u2")
    app.fold()
    with app.ledger.store.transaction() as session:
        session.execute("update api_key_usage set good = 1 where api_key_id = 'k1'")
        session.execute("delete from api_key_usage where api_key_id = 'k2'")
    [found] = app.verify("ApiKeyUsage")
    assert found.error == "2 keys of api_key_usage have other totals than their days: dayfold verify --heal mends them"
    assert app.verify("ApiKeyUsage", heal=True)[0].error is None
    assert app.verify("ApiKeyUsage")[0].error is None
    with app.ledger.store.transaction(read_only=True) as session:
        query = app.ledger.sql(
            "select api_key_id, user_id, requests, good from _t order by 1", _t=_table(app, "api_key_usage")
        )
        assert session.rows(query) == [("k1", "u1", 3, 3), ("k2", "u2", 4, 4)]


def _table(app: Dayfold, name: str) -> Any:
    from dayfold.plan.sql import table

    # Days are rows of a rollup; keys stand where the ledger does.
    return table(name, (app.ledger.store if name.endswith("_daily") else app.ledger.home).schema)


def test_erasing_an_owner_reaches_what_waits_and_keeps_the_history_of_keys(make: Make) -> None:
    """The key is nobody's, its numbers stay, and the law holds."""
    app = make(ApiKeyUsage, PerOwner)
    add(app, "k1", 3, "u1")
    add(app, "k2", 1, "u2")
    app.fold()
    add(app, "k1", 2, "u1", "2026-03-16T10:00:00Z")
    made = app.erase(actor=["u1"])
    assert made.state == "done"
    assert next(one["rows"] for one in made.searched if one["holder"] == "counters") == 3
    for name in ("ApiKeyUsage", "PerOwner"):
        assert {row["user_id"]: row["requests"] for row in rows(app, "user_id", name=name)} == {"u2": 1, None: 5}
    assert app.counters.conservation()[0].holds
    for name in ("dayfold_counted_api_key_usage", "api_key_usage", "api_key_usage_daily"):
        with app.ledger.store.transaction(read_only=True) as session:
            query = app.ledger.sql("select count(*) from _t where user_id = 'u1'", _t=_table(app, name))
            assert session.rows(query) == [(0,)]


def test_erasing_a_person_who_is_a_key_takes_their_rows(make: Make) -> None:
    """What was counted of them is gone, and counted as erased: the law holds."""

    class PerUser(Counter):
        key = "user_id"
        owner = "user_id"
        total = Total()

    app = make(PerUser)
    for user in ("u1", "u2"):
        app.counters.add(PerUser, user_id=user, total=5)
    app.fold()
    app.erase(actor=["u1"])
    found = app.query("PerUser", ["total"], from_="today", to="today", by=["user_id"]).rows
    assert [(row["user_id"], row["total"]) for row in found] == [("u2", 5)]
    law = app.counters.conservation()[0]
    assert (law.holds, law.accepted["total"], law.applied["total"]) == (True, 10, 10)


def test_alert_opens_at_a_share_of_a_months_quota(make: Make) -> None:
    """From the first of the month on, today included as far as it is folded."""
    app = make(ApiKeyUsage, Quota)
    add(app, "k1", 60, at="2026-03-01T00:00:00Z")
    add(app, "k1", 19, at="2026-03-17T00:00:00Z")
    add(app, "k2", 99, at="2026-02-28T23:59:59Z")
    add(app, "k2", 1)
    app.fold()
    rule = app.catalog.alerts["Quota"]
    assert {one.subject: one.state for one in judge(app, rule, [])} == {
        '{"api_key_id": "k1"}': State.CLEAR, '{"api_key_id": "k2"}': State.CLEAR
    }  # fmt: skip
    add(app, "k1", 1)
    app.fold()
    found = {one.subject: one for one in judge(app, rule, [])}
    assert found['{"api_key_id": "k1"}'].state is State.FIRING
    assert found['{"api_key_id": "k1"}'].details["from"] == "2026-03-01"


def test_alert_opens_when_amounts_are_nowhere_and_closes_when_that_is_accepted(make: Make) -> None:
    """Something took amounts out of the table."""
    app = make(ApiKeyUsage, Lost)
    add(app, "k1", 3)
    app.counters.flush()
    rule = app.catalog.alerts["Lost"]
    assert [one.state for one in judge(app, rule, [])] == [State.CLEAR]
    with app.ledger.store.transaction() as session:
        session.execute("update dayfold_counted_api_key_usage set requests = 1, good = 1")
    [found] = judge(app, rule, [])
    assert (found.state, found.message) == (
        State.FIRING, "api_key_usage: Of what was added, accepted and nowhere: requests 2, good 2."
    )  # fmt: skip
    app.counters.accept_loss()
    assert [one.state for one in judge(app, rule, [])] == [State.CLEAR]
    assert app.counters.conservation()[0].lost["requests"] == 2


def test_doctor_looks_at_the_live_store_and_at_the_law(make: Make, words: dict[str, Any]) -> None:
    """A Valkey that keeps nothing on disk is a warning; increments in the store itself are safe."""
    app = make()
    add(app, "k1", 3)
    app.fold()
    found = [one for one in app.doctor() if one.subject.startswith(("live store", "counter"))]
    assert found[-1].message == "all that was added is applied, pending or quarantined"
    said = found[0].message
    assert said == (
        "it keeps nothing on disk: a restart loses all that waits"
        if "url" in words
        else "increments wait in the store itself: what is acknowledged is committed"
    )
    assert found[0].level == ("warning" if "url" in words else "ok")


def test_retain_forgets_ids_that_are_refused_by_now(make: Make) -> None:
    """And notes of batches; what is counted stays as it is, and so does the law."""
    app = make()
    assert app.counters.add(ApiKeyUsage, api_key_id="k1", requests=1, good=1, id="a") == "accepted"
    app.fold()
    later = make(clock=NOW + dt.timedelta(days=40))
    done = {one.what: one.count for one in later.retain(yes=True).things}
    assert (done["count_ids"], done["flushes"]) == (1, 1)
    law = later.counters.conservation()[0]
    assert (law.holds, law.applied["requests"]) == (True, 1)


def test_fold_goes_on_and_says_so_while_the_live_store_is_down(duckdb_url: str) -> None:
    """What is in the store is folded; what waits comes later."""
    with ValkeyServer(DURABLE) as server:
        words = {"url": server.url, "prefix": secrets.token_hex(4), "timeout_s": 1, "wait_ms": 5_000}
        with Dayfold([ApiKeyUsage], {**store_config(duckdb_url), "live": words}, clock=FixedClock(NOW)) as app:
            add(app, "k1", 3)
            app.fold()
            add(app, "k1", 2)
            server.kill()
            [found] = app.fold()
            assert found.status == "done"
            assert found.warnings == [
                "what waits in the live store is not in it: The live store "
                f"{server.url.removesuffix('/0')} cannot be used: it does not answer."
            ]
            assert rows(app)[0]["requests"] == 3
            server.start()
            app.fold()
            assert rows(app)[0]["requests"] == 5


def test_counter_whose_table_was_altered_fails_alone(postgres_url: str, live_words: dict[str, Any]) -> None:
    """The others are flushed and folded, and what waits for it stays."""

    class Downloads(Counter):
        key = "file"
        total = Total()

    def opened() -> Dayfold:
        config = {**store_config(postgres_url, long_view=""), "live": live_words}
        return Dayfold([ApiKeyUsage, Downloads], config, clock=FixedClock(NOW))

    def altered(type_: str) -> None:
        with psycopg.connect(postgres_url) as connection:
            connection.execute(f"alter table dayfold_counted_api_key_usage alter column good type {type_}")

    with opened() as app:
        app.fold()
    altered("numeric")
    with opened() as app:
        add(app, "k1", 3)
        app.counters.add(Downloads, file="a", total=2)
        found = {one.rollup: one for one in app.fold()}
        assert found["Downloads"].status == "done"
        assert (
            "has other columns than the counter api_key_usage declares: good (numeric)"
            in found["ApiKeyUsage"].warnings[0]
        )
        assert app.query("Downloads", ["total"], from_="today", to="today").rows[0]["total"] == 2
        assert any(one.level == "problem" and "good (numeric)" in one.message for one in app.doctor())
    altered("bigint")
    with opened() as app:
        assert {one.status for one in app.fold()} == {"done"}
        assert rows(app)[0]["requests"] == 3


def test_policies_protect_days_and_current_totals(postgres_url: str) -> None:
    """Two real roles: an owner sees their own rows of both tables, the service all of them, and nobody the counted table."""
    mark = secrets.token_hex(4)
    owners, everybody = f"authenticated_{mark}", f"service_role_{mark}"
    rls = {"expression": "current_setting('app.uid', true)", "owner_roles": [owners], "all_roles": [everybody]}
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for role in (owners, everybody):
            connection.execute(f'create role "{role}" nologin')
            connection.execute(f'grant "{role}" to current_user')
    try:
        with Dayfold([ApiKeyUsage], {**store_config(postgres_url), "rls": rls}, clock=FixedClock(NOW)) as app:
            add(app, "k1", 3, "u1")
            add(app, "k2", 4, "u2")
            add(app, "k3", 5)
            app.fold()
            assert app.policies().install() == ["api_key_usage", "api_key_usage_daily"]
            assert {one.state for one in app.policies().status()} == {"ok"}

            def seen(role: str, name: str, who: str = "u1") -> list[str]:
                with psycopg.connect(postgres_url) as connection:
                    connection.execute("select set_config('app.uid', %s, false)", [who])
                    connection.execute(f'set role "{role}"')
                    return [
                        key for (key,) in connection.execute(f"select api_key_id from {name} order by 1").fetchall()
                    ]

            for name in ("api_key_usage", "api_key_usage_daily"):
                assert seen(owners, name) == ["k1"]
                assert seen(owners, name, "u2") == ["k2"]
                assert seen(everybody, name) == ["k1", "k2", "k3"]
            for role in (owners, everybody):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    seen(role, "dayfold_counted_api_key_usage")
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            for role in (owners, everybody):
                connection.execute(f'drop owned by "{role}"')
                connection.execute(f'drop role "{role}"')
