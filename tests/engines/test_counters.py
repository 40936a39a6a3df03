"""Counters, from the increment to the row: applied exactly once, and nothing lost, on a real Valkey and real stores."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dayfold import Count, Counter, Rollup, Sum, Total
from dayfold.count.flush import Flusher
from dayfold.count.reading import TooOld
from dayfold.errors import UsageError
from tests.engines.counting import TODAY, Counting, Usage

MOST = 2**63 - 1


@pytest.fixture
def usage(postgres_url: str, live_words: dict[str, Any]) -> Iterator[Counting]:
    """A counter on PostgreSQL, with increments that wait in Valkey."""
    with Counting(postgres_url, live_words) as made:
        made.define()
        yield made


@pytest.fixture(params=["postgres", "duckdb", "clickhouse", "postgres-embedded", "duckdb-embedded"])
def anywhere(request: pytest.FixtureRequest, live_words: dict[str, Any]) -> Iterator[Counting]:
    """The same on both engines, and with increments that wait in the store itself."""
    engine, _, embedded = request.param.partition("-")
    with Counting(request.getfixturevalue(f"{engine}_url"), None if embedded else live_words) as made:
        made.define()
        yield made


def test_an_increment_stands_in_every_table(anywhere: Counting) -> None:
    """In the counted row, in the current totals, and in the day."""
    assert anywhere.add("a", 2, owner="u1") == "accepted"
    assert anywhere.add("a", 3, at="2026-03-11T23:59:59Z") == "accepted"
    assert anywhere.add("b", id="once") == "accepted"
    anywhere.add("b", id="once")
    anywhere.opened.fold()
    assert anywhere.law.holds
    yesterday = dt.date(2026, 3, 11)
    expected = [("a", "u1", TODAY, 2), ("a", "u1", yesterday, 3), ("b", None, TODAY, 1)]
    assert set(anywhere.rows("k, who, day, total")) == set(expected)
    assert set(anywhere.rows("k, who, day, total", "usage_daily")) == set(expected)
    assert set(anywhere.rows("k, who, first_day, last_day, total", "usage")) == {
        ("a", "u1", yesterday, TODAY, 5),
        ("b", None, TODAY, TODAY, 1),
    }


# -- what the database does not take -----------------------------------------------------------------


def test_the_eighth_of_ten_keys_is_held_alone(usage: Counting) -> None:
    """Nine are applied; the tenth is visible, and applied by a replay once the database takes it."""
    usage.sql("ALTER TABLE dayfold_counted_usage ADD CONSTRAINT poison CHECK (k <> 'k8')")
    for place in range(1, 11):
        assert usage.add(f"k{place}", place) == "accepted"
    done = usage.flush()
    assert (done.rows, done.held) == (9, 1)
    assert usage.rows() == sorted((f"k{n}", n) for n in range(1, 11) if n != 8)
    [held] = usage.opened.counters.held("usage")
    assert (held.reason, held.key, held.day, held.amounts["total"]) == ("rejected", '["k8"]', "2026-03-12", 8)
    assert usage.law.holds
    assert usage.law.quarantined["total"] == 8
    assert usage.opened.counters.replay().kept == 1
    usage.sql("ALTER TABLE dayfold_counted_usage DROP CONSTRAINT poison")
    assert usage.opened.counters.replay().replayed == 1
    assert usage.rows() == sorted((f"k{n}", n) for n in range(1, 11))
    assert usage.law.holds
    assert usage.opened.counters.held("usage") == []
    assert usage.opened.counters.replay().replayed == 0


@pytest.mark.parametrize(
    "rule",
    [
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN IF NEW.k = 'x' THEN RAISE 'no'; END IF; RETURN NEW; END $f$;"
        "CREATE TRIGGER no BEFORE INSERT ON usage FOR EACH ROW EXECUTE FUNCTION no()",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN IF NEW.k = 'x' THEN RAISE 'no' USING ERRCODE = 'XX123'; "
        "END IF; RETURN NEW; END $f$; CREATE TRIGGER no BEFORE INSERT ON usage FOR EACH ROW EXECUTE FUNCTION no()",
        "CREATE TABLE keys (k TEXT COLLATE \"C\" PRIMARY KEY); INSERT INTO keys VALUES ('a'), ('b'); "
        "ALTER TABLE usage ADD FOREIGN KEY (k) REFERENCES keys DEFERRABLE INITIALLY DEFERRED",
    ],
    ids=["trigger", "trigger with a state of its own", "deferred foreign key"],
)
def test_whatever_refuses_a_row_holds_that_row_alone(usage: Counting, rule: str) -> None:
    """On the table of the totals as on that of the days, at the statement or at the end of the transaction."""
    usage.sql(rule)
    for key in ("a", "x", "b"):
        usage.add(key)
    assert usage.flush().held == 1
    assert usage.rows() == [("a", 1), ("b", 1)]
    assert usage.law.holds


def test_rows_that_are_refused_only_together_are_held_as_few_as_needed(usage: Counting) -> None:
    """Two increments of a key pass a limit that each of them keeps: one is applied."""
    usage.sql("ALTER TABLE usage ADD CHECK (total <= 100)")
    usage.add("a", 60)
    usage.add("a", 60, at="2026-03-11T12:00:00Z")
    usage.add("b", 5)
    assert usage.flush().held == 1
    assert sorted(total for _, total in usage.rows()) == [5, 60]
    assert usage.law.holds


def test_a_store_that_refuses_everything_holds_nothing_back(usage: Counting) -> None:
    """A table that cannot be written is no fault of the rows: they wait in the live store."""
    usage.add("a")
    usage.sql("ALTER TABLE dayfold_counted_usage RENAME TO away")
    with pytest.raises(Exception, match="a table does not exist"):
        usage.flush()
    usage.sql("ALTER TABLE away RENAME TO dayfold_counted_usage")
    assert usage.opened.counters.held("usage") == []
    usage.flush()
    assert usage.rows() == [("a", 1)]


def test_an_id_that_is_held_is_held_once(usage: Counting) -> None:
    """The same increment again, in the same flush or later, is neither held nor applied a second time."""
    usage.sql("ALTER TABLE dayfold_counted_usage ADD CONSTRAINT poison CHECK (k <> 'x')")
    [counter] = usage.opened.counters.defined()
    usage.add("x", id="one")
    usage.opened.counters.live.seal("usage")
    usage.add("x", id="one")
    assert Flusher(usage.opened.ledger, usage.opened.counters.live).flush(counter).held == 1
    usage.add("x", id="one")
    usage.flush()
    assert usage.law.holds
    usage.sql("ALTER TABLE dayfold_counted_usage DROP CONSTRAINT poison")
    assert usage.opened.counters.replay().replayed == 1
    assert usage.rows() == [("x", 1)]
    assert usage.law.holds


# -- two flushes, and what happens between their steps -----------------------------------------------


def test_a_flush_drops_only_what_it_knows_to_be_applied(usage: Counting) -> None:
    """A flush that finds some of its batches applied by another one looks at the others again: they are not dropped unseen."""
    live, [counter] = usage.opened.counters.live, usage.opened.counters.defined()
    for key in "abcdef":
        usage.add(key)
    first = live.seal("usage")
    for key in "abcdef":
        usage.add(key, 10)

    class Earlier:
        """The live store, as a flush that sealed before has it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(live, name)

        def seal(self, name: str) -> Any:
            return first

    def other(name: str) -> None:
        if name == "read" and not done:
            done.append(True)
            usage.flusher(live=Earlier()).flush(counter)

    done: list[bool] = []
    usage.flush(other)
    assert usage.law.holds, usage.law
    assert usage.rows() == [(key, 11) for key in "abcdef"]


def test_two_flushes_at_once_apply_everything_once(anywhere: Counting) -> None:
    """Neither waits for the other to be done with everything, and each increment stands once."""
    for place in range(40):
        anywhere.add(f"k{place % 7}", id=f"{place}" if place % 2 else None)
    flushes = [threading.Thread(target=anywhere.opened.counters.flush) for _ in range(3)]
    for one in flushes:
        one.start()
    for place in range(40):
        anywhere.add(f"k{place % 7}", id=f"{place}" if place % 2 else None)
    for one in flushes:
        one.join()
    anywhere.opened.counters.flush()
    assert anywhere.law.holds, anywhere.law
    assert sum(total for _, total in anywhere.rows()) == 20 + 40


def test_increments_between_sealing_and_reading_wait_for_the_next_flush(usage: Counting) -> None:
    """A sealed batch does not change."""
    usage.add("a")
    usage.flush(lambda name: usage.add("a") and None if name in ("sealed", "read") else None)
    assert usage.rows() == [("a", 1)]
    assert usage.law.holds
    usage.flush()
    assert usage.rows() == [("a", 3)]


def test_accounts_agree_while_flushes_go_on(usage: Counting) -> None:
    """accepted = applied + pending + quarantined at any time, looked at between all steps."""
    laws = []
    for _ in range(3):
        for key in "abc":
            usage.add(key, id=None if key == "a" else "same")
        usage.flush(lambda name: laws.append(usage.law.holds))
    assert len(laws) > 9
    assert all(laws)


def test_a_flush_is_not_kept_waiting_by_those_who_go_on_adding(usage: Counting) -> None:
    """It takes what was offered before it, however much is offered meanwhile."""
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            usage.add("busy")

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for one in threads:
        one.start()
    try:
        usage.add("mine")
        usage.opened.counters.flush()
    finally:
        over.set()
        for one in threads:
            one.join()
    assert ("mine", 1) in usage.rows()


def test_a_store_that_is_down_for_long_costs_no_batches(usage: Counting) -> None:
    """No more than a few are sealed before they are applied; what is added then is applied with them."""
    for _ in range(70):
        usage.add("a")
        usage.opened.counters.live.seal("usage")
    [waiting] = [len(one.batches) for one in usage.opened.counters.live.look("usage") if one.batches]  # type: ignore[union-attr]
    assert waiting == 32
    usage.flush()
    assert usage.rows() == [("a", 70)]


# -- numbers -----------------------------------------------------------------------------------------


def test_totals_reach_the_last_number_and_no_further(anywhere: Counting) -> None:
    """In the table: what would pass 63 bits is held. Nothing wraps, nothing is cut."""
    counters = anywhere.opened.counters
    assert counters.add("usage", k="a", size=MOST) == "accepted"
    anywhere.opened.counters.flush()
    assert counters.add("usage", k="a", size=1) == "accepted"
    assert counters.add("usage", k="b", size=-MOST) == "accepted"
    anywhere.opened.counters.flush()
    assert [one.reason for one in anywhere.opened.counters.held("usage")] == ["overflow"]
    assert anywhere.opened.counters.replay().kept == 1
    assert anywhere.law.holds
    counters.add("usage", k="a", size=-1)
    anywhere.opened.counters.flush()
    assert anywhere.opened.counters.replay().replayed == 1
    assert anywhere.law.holds
    assert anywhere.rows("k, size") == [("a", MOST), ("b", -MOST)]


def test_an_increment_that_overflows_in_the_live_store_adds_nothing(usage: Counting) -> None:
    """None of its totals, whatever stands before the one that does not fit; those beside it in the call are added."""
    counters = usage.opened.counters
    assert counters.add("usage", k="a", size=MOST) == "accepted"
    [counter] = counters.defined()
    words: list[dict[str, object]] = [{"total": 0, "good": 0, "size": 5}, {"total": 3, "good": 3}]
    assert counters.add_many([counters.read(counter, {"k": "a"}, one) for one in words]) == ["overflow", "accepted"]
    usage.flush()
    assert usage.rows("k, total, size") == [("a", 3, MOST)]
    assert usage.law.holds


def test_amounts_are_refused_where_they_are_not_allowed(usage: Counting) -> None:
    """Below zero, beyond 64 bits, against an identity, of an unknown total; the text names no value of the key."""
    counters = usage.opened.counters
    for words, said in (
        ({"total": -1, "good": -1}, "The amount of total is below zero, and it is no Total(negative=True)."),
        ({"size": 2**63}, "The amount of size does not fit into 64 bits."),
        ({"total": 2, "good": 1}, "The amounts do not meet the identity total = good + bad."),
        ({"size": 1.5}, "The amount of size is a whole number, got float."),
        ({"sizes": 1}, "usage has neither a key column nor a total 'sizes'; the nearest is 'size'."),
        ({}, "Nothing is added to usage."),
    ):
        with pytest.raises(UsageError) as refused:
            counters.add("usage", k="secret", **words)
        assert refused.value.message == said
    assert usage.law.accepted["total"] == 0


def test_a_total_may_have_any_name(postgres_url: str, live_words: dict[str, Any]) -> None:
    """Those of our own accounts among them."""

    class Carts(Counter):
        key = "k"
        adds = Total()
        repeated = Total()

    with Counting(postgres_url, live_words) as made:
        app = made.define(Carts)
        app.counters.add(Carts, k="a", adds=5, id="x")
        app.counters.flush()
        app.counters.add(Carts, k="a", adds=5, id="x")
        app.counters.flush()
        assert made.law.holds
        assert made.rows("k, adds", "carts") == [("a", 5)]


# -- ids ---------------------------------------------------------------------------------------------


def test_an_id_counts_once_for_as_long_as_it_is_remembered(usage: Counting) -> None:
    """In the open batch, in a sealed one, and after it was applied; an older one is refused, and not counted."""
    assert usage.add("a", id="x") == "accepted"
    assert usage.add("a", id="x") == "repeated"
    usage.opened.counters.live.seal("usage")
    usage.add("a", id="x")
    usage.flush()
    usage.add("a", id="x")
    usage.flush()
    assert usage.rows() == [("a", 1)]
    assert usage.law.holds
    with pytest.raises(TooOld):
        usage.add("a", id="y", at="2026-03-05T11:00:00Z")
    assert usage.add("a", id="y", at="2026-03-05T13:00:00Z") == "accepted"
    assert usage.add("a", at="2020-01-01") == "accepted"


def test_a_key_that_nobody_flushed_for_a_week_is_there(usage: Counting) -> None:
    """Nothing that is not applied has an end."""
    usage.add("a", at="2026-03-12T12:00:00Z")
    usage.add("a", id="x")
    assert all(usage.client.ttl(name) == -1 for name in usage.client.scan_iter(match=f"*{usage.live['prefix']}*open"))  # type: ignore[index]
    assert all(usage.client.ttl(name) == -1 for name in usage.client.scan_iter(match=f"*{usage.live['prefix']}*named"))  # type: ignore[index]
    usage.clock.instant += dt.timedelta(days=8)
    usage.flush()
    assert usage.rows("k, day, total") == [("a", TODAY, 2)]


# -- keys and owners ---------------------------------------------------------------------------------


def test_keys_are_values_and_not_joined_text(anywhere: Counting) -> None:
    """(1, 12) is not (11, 2); letters of any kind are letters."""

    class Pairs(Counter):
        key = ("a", "b")
        n = Total()

    app = anywhere.define(Pairs)
    keys = [("1", "12"), ("11", "2"), ("é:/{}\\\"'", "😀"), ("", " "), ('["', "null")]
    for place, (a, b) in enumerate(keys, 1):
        assert app.counters.add(Pairs, a=a, b=b, n=place) == "accepted"
        app.counters.add(Pairs, a=a, b=b, n=place, id=f"{a} {b}")
    app.counters.flush()
    assert anywhere.law.holds
    assert anywhere.rows("a, b, n", "pairs") == sorted((a, b, 2 * n) for n, (a, b) in enumerate(keys, 1))


@pytest.mark.parametrize(
    ("words", "one", "other"),
    [
        ("bigint", 7, 8),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("boolean", False, True),
    ],
)
def test_keys_and_owners_have_types(anywhere: Counting, words: str, one: Any, other: Any) -> None:
    """As the definition says, on every engine."""

    class Typed(Counter):
        key = "k"
        owner = "who"
        types = {"k": words, "who": words}  # noqa: RUF012
        n = Total()

    app = anywhere.define(Typed)
    app.counters.add(Typed, k=one, owner=other, n=1)
    app.counters.add(Typed, k=one, n=1, at="2026-03-11")
    app.counters.flush()
    app.counters.add(Typed, k=one, owner=one, n=1)
    app.fold()
    assert [(str(k), str(who), n) for k, who, n in anywhere.rows("k, who, n", "typed")] == [(str(one), str(one), 3)]


def test_an_owner_is_the_one_that_was_said_last(usage: Counting) -> None:
    """Given later, it is that of the days before; changed, it is another from that day on; not said, it stays."""
    usage.add("a", at="2026-03-10")
    usage.flush()
    usage.add("a", owner="u9", at="2026-03-11")
    usage.flush()
    assert usage.rows("k, day, who") == [
        ("a", dt.date(2026, 3, 10), "u9"),
        ("a", dt.date(2026, 3, 11), "u9"),
    ]
    usage.add("a", owner="u5")
    usage.opened.counters.live.seal("usage")
    usage.add("a", owner="u2")
    usage.opened.counters.live.seal("usage")
    usage.add("a")
    usage.flush()
    assert usage.rows("k, who, total", "usage") == [("a", "u2", 5)]
    assert usage.rows("k, day, who")[-1] == ("a", TODAY, "u2")
    assert usage.add("b") == "accepted"
    usage.flush()
    assert ("b", None, 1) in usage.rows("k, who, total", "usage")


def test_a_key_is_no_longer_than_the_store_indexes(usage: Counting) -> None:
    """What the door takes, the store takes; a longer one is refused where it is added."""
    import random

    dice = random.Random(1)
    text = "".join(chr(dice.randrange(0x4E00, 0x9FFF)) for _ in range(640))
    assert usage.add(text, owner="u1") == "accepted"
    usage.flush()
    assert len(usage.rows()) == 1
    with pytest.raises(UsageError, match="longer than 2,000 bytes"):
        usage.add(text + "more than that", owner="u" * 100)
    with pytest.raises(UsageError, match="NUL"):
        usage.add("a\0b")
    with pytest.raises(UsageError, match="NUL, or half of a character"):
        usage.add("\ud800")
    with pytest.raises(UsageError, match="An id is a text"):
        usage.add("a", id="\ud800")


# -- definitions that change -------------------------------------------------------------------------


def test_totals_come_and_go(postgres_url: str, live_words: dict[str, Any]) -> None:
    """A new one begins at zero; one that was removed keeps its column, and what waits of it is held until it is back."""

    class One(Counter):
        key = "k"
        a = Total()

    class Two(Counter):
        key = "k"
        a = Total()
        b = Total()

    One.__name__ = Two.__name__ = "Usage"
    with Counting(postgres_url, live_words) as made:
        first = made.define(type("Usage", (Counter,), {"key": "k", "a": Total()}))
        first.counters.add("usage", k="x", a=1)
        first.fold()
        second = made.define(type("Usage", (Counter,), {"key": "k", "a": Total(), "b": Total()}))
        second.counters.add("usage", k="x", a=1, b=5)
        second.fold()
        assert made.rows("k, a, b", "usage") == [("x", 2, 5)]
        assert made.rows("k, a, b", "usage_daily") == [("x", 2, 5)]
        second.counters.add("usage", k="x", a=1, b=7)
        third = made.define(type("Usage", (Counter,), {"key": "k", "a": Total()}))
        third.counters.flush()
        assert made.rows("k, a, b", "usage") == [("x", 3, 5)]
        [held] = third.counters.held("usage")
        assert (held.reason, held.amounts) == ("unknown", {"b": 7})
        assert made.law.holds, made.law
        fourth = made.define(type("Usage", (Counter,), {"key": "k", "a": Total(), "b": Total()}))
        assert fourth.counters.replay().replayed == 1
        assert made.rows("k, a, b", "usage") == [("x", 3, 12)]
        assert made.law.holds


def test_a_counter_is_the_source_of_another_rollup(anywhere: Counting) -> None:
    """What is flushed refolds the days that are folded from it."""

    class ByOwner(Rollup):
        key = "who"
        keys = Count(Usage, at="day")
        total = Sum(Usage, "total", at="day")

    app = anywhere.define(Usage, ByOwner)
    for key, owner in (("a", "u1"), ("b", "u1"), ("c", "u2")):
        app.counters.add(Usage, k=key, owner=owner, total=1, good=1)
    app.fold()
    assert anywhere.rows("who, keys, total", "by_owner") == [("u1", 2, 1 + 1), ("u2", 1, 1)]
    anywhere.define(Usage, ByOwner).counters.add(Usage, k="a", total=5, good=5)
    anywhere.opened.fold()
    assert anywhere.rows("who, keys, total", "by_owner") == [("u1", 2, 7), ("u2", 1, 1)]


# -- programs in other languages ---------------------------------------------------------------------


def test_amounts_that_were_taken_out_of_the_live_store_are_missed_by_the_flush(
    usage: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    """What a batch holds is less than what was accepted: the flush says how much, and so does the law."""
    usage.foreign(
        ("2026-03-12", '["k1"]', "", "", ("total", "5", "good", "5")),
        ("2026-03-12", '["k2"]', "", "", ("total", "2", "good", "2")),
    )
    for total in ("total", "good"):
        usage.client.hdel(f"{{{usage.live['prefix']}:1:usage:0}}:open", f'["2026-03-12",["k1"],"{total}"]')
    done = usage.flush()
    assert done.lost == {"total": 5, "good": 5}
    assert "A batch of usage held other amounts than were accepted" in caplog.text
    assert usage.law.missing == {"total": 5, "good": 5}
    assert usage.rows() == [("k2", 2)]


def test_keys_are_what_they_mean_and_not_how_another_program_writes_them(usage: Counting) -> None:
    """Two spellings of one key are one row; two arrays in the place of a key are none, and hold up nobody."""
    ok = ("total", "1", "good", "1")
    usage.foreign(
        ("2026-03-12", '["k1"]', "", "", ok),
        ("2026-03-12", '[ "k1" ]', "", "", ok),
        ("2026-03-12", '["\\u006b1"]', '"u1"', "", ok),
        ("2026-03-12", '["a"],["b"]', "", "", ok),
    )
    done = usage.flush()
    assert usage.rows() == [("k1", 3)]
    assert (done.rows, done.held) == (1, 1)
    assert usage.law.holds
    assert usage.law.quarantined["total"] == 1


def test_what_another_program_wrote_wrongly_is_held_alone(usage: Counting) -> None:
    """Everything that fits is applied; what does not is held with its amounts, so that the accounts agree."""
    ok = ("total", "1", "good", "1")
    answer = usage.foreign(
        ("2026-03-12", '["fine"]', "", "", ok),
        ("2026-03-12", '["fine"]', '"u1"', "id 1", ok),
        ("2026-03-12", '["a"]', "", "", ("tootal", "2")),
        ("2026-03-12", '["a"]', "", "id 2", ("tootal", "2")),
        ("2026-03-12", '["a","b"]', "", "", ok),
        ("2026-03-12", "[7]", "", "", ok),
        ("2026-03-12", '["a', "", "", ok),
        ("2026-03-12", '["a', "", "id 3", ok),
        ("2026-03-12", '["b', '"u1"', "", ok),
        ("2026-03-12", '["c"]', b'"\xff"', "", ok),
        ("2026-03-12", '["c"]', '"u', "id 8", ok),
        ("12.3.2026", '["a"]', "", "", ok),
        ("12.3.2026", '["a"]', "", "id 4", ok),
        ("2026-03-12", '["nul\\u0000"]', "", "", ok),
        ("2026-03-12", b'["raw\0nul"]', "", "", ok),
        ("2026-03-12", b'["\xff"]', "", "", ok),
        ("2026-03-12", '["a"]', "", b"\xff\0", ok),
        ("2026-03-12", '["a"]', "", "id 5", ("total", "2", "good", "1")),
        ("2026-03-12", '["minus"]', "", "", ("total", "-2", "bad", "-2")),
        ("2026-03-12", '["owned"]', '{"not": ["an owner"]}', "", ok),
        ("2026-03-12", '["a"]', "", "id 6", ("total", "99999999999999999999")),
        ("2026-03-12", '["a"]', "", "id 7", ("total", "007")),
        ("2026-03-12", '["a"]', "", "", ("total", "-0")),
        ("2026-03-12", '["a"]', "", "", ("total", "x")),
    )
    refused = [int(place) for place in answer[2][::2]]
    assert refused == [20, 21, 22, 23]
    usage.foreign(("2026-03-12", '["later"]', "", "", ok), shard=3)
    usage.flush()
    law = usage.law
    assert law.holds, law
    applied = dict(usage.rows())
    assert applied["fine"] == 2
    assert applied["later"] == 1
    assert not {"nul", "minus"} & applied.keys()
    assert law.quarantined["tootal"] == 4
    assert usage.flush().held == 0
    # Of one only the id was wrong.
    assert usage.opened.counters.replay().replayed == 1
    assert usage.opened.counters.replay().replayed == 0
    assert usage.law.holds


# -- rows that another live store left ---------------------------------------------------------------


def test_what_waits_in_the_store_is_flushed_when_there_is_a_valkey(
    postgres_url: str, live_words: dict[str, Any]
) -> None:
    """The live store changes, and nothing is left behind."""
    with Counting(postgres_url) as before:
        before.add("a")
        before.close()
    with Counting(postgres_url, live_words) as after:
        after.add("a")
        after.opened.counters.flush()
        assert after.law.holds
        assert after.rows() == [("a", 2)]
