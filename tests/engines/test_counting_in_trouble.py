"""Counters when something is amiss: the trouble of one is not that of another, and nothing is told that is not known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dayfold import Counter, Dayfold, Total
from dayfold.clock import FixedClock
from dayfold.count.valkey import Valkey, script
from dayfold.counterdesk import held_as_words
from dayfold.define.counter import MOST
from dayfold.errors import Busy, ConnectionFailed, StoreAltered, StoreError, StoreExhausted, UsageError
from tests.sql import run_sql, store_config
from tests.valkeys import FORGETFUL, ValkeyServer

pytestmark = pytest.mark.in_turn
NOW = dt.datetime(2026, 3, 18, 12, tzinfo=dt.UTC)


class Hits(Counter):
    """What is counted."""

    key = "k"
    n = Total()


class Visits(Counter):
    """What is counted beside it."""

    key = "k"
    n = Total()


Make = Callable[..., Dayfold]


@pytest.fixture(params=["embedded", "valkey"])
def words(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What ``[live]`` says: nothing of where, or a Valkey. A busy machine gets the time that it needs."""
    return {"wait_ms": 20_000} if request.param == "embedded" else dict(request.getfixturevalue("live_words"))


@pytest.fixture
def make(store_url: str, words: dict[str, Any]) -> Iterator[Make]:
    made = []

    def build(*classes: type[Any], clock: dt.datetime = NOW, **live: Any) -> Dayfold:
        settings = {**store_config(store_url, long_view=""), "live": words | live}
        made.append(Dayfold(classes or (Hits, Visits), settings, clock=FixedClock(clock)))
        return made[-1]

    yield build
    for app in made:
        app.close()


def law(app: Dayfold, name: str = "visits") -> tuple[bool, int]:
    [found] = app.counters.conservation([name])
    return found.holds, found.applied["n"]


@pytest.mark.parametrize(
    "how", ["drop table dayfold_counted_hits", "alter table dayfold_counted_hits alter n type text"]
)
def test_counter_that_cannot_be_flushed_keeps_no_other_one_waiting(make: Make, how: str) -> None:
    """A table that is gone, or was altered: its increments wait, and those of the next counter are applied."""
    app = make()
    for one in (Hits, Visits):
        assert app.counters.add(one, k="a", n=1) == "accepted"
    app.counters.make()
    with app.ledger.store.transaction() as session:
        session.execute(how)
    again = make() if "alter" in how else app
    with pytest.raises(StoreAltered if "alter" in how else StoreError):
        again.counters.flush()
    assert law(again) == (True, 1)


def test_counter_with_another_owner_is_refused_and_the_next_one_flushed(make: Make) -> None:
    """A counter keeps its owner for life, and the error says so."""
    make(Hits).fold()
    app = make(type("Hits", (Counter,), {"key": "k", "owner": "u", "n": Total()}), Visits)
    app.counters.add("visits", k="a", n=1)
    with pytest.raises(StoreAltered, match="A counter keeps its key, owner and types for life"):
        app.counters.flush()
    assert law(app) == (True, 1)


def test_held_amount_beyond_64_bits_stays_held_and_others_are_replayed(make: Make) -> None:
    """Two increments whose sum no total holds are one held row, which keeps no other one from being applied."""
    app = make()
    for number in range(2):
        app.counters.add(Visits, k="a", n=MOST, id=f"{number}")
    app.counters.flush()
    app.counters.add(Visits, k="b", n=MOST)
    app.counters.flush()
    app.counters.add(Visits, k="b", n=1)
    app.counters.flush()
    with app.ledger.store.transaction() as session:
        for table in ("dayfold_counted_visits", "visits"):
            session.execute(f"update {table} set n = n - 1 where k = 'b'")
    found = app.counters.replay()
    assert (found.replayed, found.kept) == (1, 1)


def test_rows_are_not_to_blame_for_a_store_without_room(postgres_url: str) -> None:
    """A batch that finds no room waits, whole, though each of its rows would find some."""
    full = """
        create function full_disk() returns trigger language plpgsql as $$ begin
          if (select count(*) from fresh) > 3 then raise exception using errcode = '53100'; end if; return null;
        end $$;
        create trigger full_disk after insert on dayfold_counted_hits referencing new table as fresh for each statement
          execute function full_disk()
    """
    settings = {**store_config(postgres_url, long_view=""), "live": {"wait_ms": 20_000}}
    with Dayfold([Hits], settings, clock=FixedClock(NOW)) as app:
        app.counters.make()
        run_sql(postgres_url, full)
        app.counters.add_many(
            [app.counters.read(app.catalog.counters.by_name["hits"], {"k": k}, {"n": 1}) for k in "abcde"]
        )
        with pytest.raises(StoreExhausted, match="the disk is full"):
            app.counters.flush()
        assert app.counters.held("hits") == []
        run_sql(postgres_url, "drop trigger full_disk on dayfold_counted_hits")
        app.counters.flush()
        assert law(app, "hits") == (True, 5)


def test_id_is_known_until_what_waits_is_applied(make: Make) -> None:
    """An increment that was sent again in time, and waited until its id is too old to be kept, counts once."""
    first = make()
    assert first.counters.add(Visits, k="a", n=1, id="x") == "accepted"
    first.counters.flush()
    again = make(clock=NOW + dt.timedelta(days=6))
    assert again.counters.add(Visits, k="a", n=1, id="x", at=NOW) == "accepted"
    late = make(clock=NOW + dt.timedelta(days=10))
    late.retain(yes=True)
    late.counters.flush()
    assert law(late) == (True, 1)


def test_erasing_takes_amounts_of_totals_that_are_gone_from_the_definition(make: Make) -> None:
    """They are counted as erased as those that are still there."""

    class PerUser(Counter):
        key = "user_id"
        n = Total()
        m = Total()
        owner = "user_id"

    before = make(PerUser)
    for user in ("u1", "u2"):
        assert before.counters.add(PerUser, user_id=user, n=1, m=5) == "accepted"
    before.fold()
    # A DuckDB file is written anew by whoever has it for itself.
    before.close()

    after = make(type("PerUser", (Counter,), {"key": "user_id", "owner": "user_id", "n": Total()}))
    after.fold()
    after.erase(actor=["u1"])
    [found] = after.counters.conservation()
    assert (found.holds, found.said) == (True, "All that was added is accounted for.")


def test_loss_that_two_take_note_of_is_lost_once(make: Make) -> None:
    """Who is late is told to look again."""
    app = make()
    app.counters.add(Visits, k="a", n=3)
    app.counters.flush()
    with app.ledger.store.transaction() as session:
        session.execute("update dayfold_counted_visits set n = 1")
    seen = app.counters.conservation(["visits"])
    app.counters.accept_loss(["visits"])
    app.counters.conservation = lambda counters=None: seen  # type: ignore[method-assign]
    with pytest.raises(Busy, match="Look again"):
        app.counters.accept_loss(["visits"])
    del app.counters.conservation
    [found] = app.counters.conservation(["visits"])
    assert (found.holds, found.lost["n"]) == (True, 2)


@pytest.mark.parametrize(
    ("at", "why"),
    [
        ("0001-01-01T00:00:00+05:00", "at lies before the year 1 or after 9999 in UTC"),
        ("9999-12-31T23:59:59-05:00", "at lies before the year 1 or after 9999 in UTC"),
        ("1969-12-31T23:59:59Z", "at lies before 1970"),
    ],
)
def test_moment_beyond_the_calendar_is_refused(duckdb_url: str, at: str, why: str) -> None:
    """It has no day in UTC, or one that only a wrong clock tells."""
    with Dayfold([Hits], store_config(duckdb_url)) as app, pytest.raises(UsageError, match=why):
        app.counters.add(Hits, k="a", n=1, at=at)


# -- live stores that end ----------------------------------------------------------------------------


@pytest.fixture
def forgetful() -> Iterator[ValkeyServer]:
    """A server of the test's own that keeps nothing on disk."""
    with ValkeyServer(FORGETFUL) as found:
        yield found


def opened(store: str, server: ValkeyServer) -> Dayfold:
    live = {"url": server.url, "prefix": "trouble", "timeout_s": 5, "wait_ms": 20_000}
    return Dayfold([Hits], {**store_config(store, long_view=""), "live": live}, clock=FixedClock(NOW))


def add_past_us(server: ValkeyServer, key: str, shard: int = 11) -> None:
    """What a service in another language does, which remembers nothing of what it is told."""
    words = ("", 0, "", 1, "2026-03-18", key, "", "", 1, "n", 1)
    with server.client() as client:
        assert client.eval(script("add"), 1, f"{{trouble:1:hits:{shard}}}:", *words)[0] == b"ok"


def test_loss_before_anything_was_applied_is_told(duckdb_url: str, forgetful: ValkeyServer) -> None:
    """A server that was empty when it was flushed, was added to by a service that is gone, and lost that: the next flush says so."""
    with opened(duckdb_url, forgetful) as app:
        app.counters.flush()
        add_past_us(forgetful, '["k1"]')
        forgetful.restart()
        assert app.counters.flush()[0].vanished == 16
        assert not app.counters.conservation()[0].holds
        assert app.counters.flush()[0].vanished == 0


def test_call_is_not_made_again_when_its_number_may_be_forgotten(
    duckdb_url: str, forgetful: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers for longer than numbers of calls are kept: what has an id is sent again, the rest is uncertain."""
    with opened(duckdb_url, forgetful) as app:
        app.counters.add(Hits, k="a", n=1)
        monkeypatch.setattr("dayfold.count.adder._KNOWN_S", 0.0)
        send = Valkey.send

        def lose_answer(*words: Any) -> list[Any]:
            send(*words)
            monkeypatch.setattr(Valkey, "send", send)
            return [ConnectionFailed("The answer was lost.")]

        monkeypatch.setattr(Valkey, "send", lose_answer)
        hits = app.catalog.counters.by_name["hits"]
        app.counters.add_many([app.counters.read(hits, {"k": "a"}, {"n": 1}, id=id) for id in (None, "x")])
        app.counters.flush()
        assert app.counters.figures is not None
        assert (app.counters.figures.uncertain, app.counters.figures.repeated) == (1, 1)
        assert law(app, "hits") == (True, 3)


def test_law_is_not_said_to_hold_while_nobody_can_tell(duckdb_url: str, forgetful: ValkeyServer) -> None:
    """Nothing is missing as far as one sees, and a part is out of sight: a proof says so."""
    with opened(duckdb_url, forgetful) as app:
        app.counters.add(Hits, k="a", n=1)
        app.fold()
        forgetful.kill()
        [found] = app.verify()
    assert found.error is None
    assert found.notes == [
        f"conservation cannot be proved now: The live store {forgetful.url.removesuffix('/0')} does not answer, so that what waits there, "
        "or is lost, is not known."
    ]


def test_key_that_is_none_is_held_and_shown(duckdb_url: str, forgetful: ValkeyServer) -> None:
    """Whatever another program writes as a key keeps nobody from seeing what is held."""
    with opened(duckdb_url, forgetful) as app:
        for key in ("k1", '"k1"', '["k1","k2"]'):
            add_past_us(forgetful, key)
        app.counters.flush()
        shown = [held_as_words(one) for one in app.counters.held("hits")]
        keys = [one["key"] for one in shown]
        assert len(keys) == 3
        assert ["k1", "k2"] in keys
        assert ['"k1"'] in keys
        assert ['["2026-03-18",k1,"n"]'] in keys
        assert app.counters.replay().kept == 3
        assert app.counters.conservation()[0].holds
