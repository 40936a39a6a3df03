"""Profiles: one row per customer over their whole life, on every pairing of source and store."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal

import pytest

from dayfold import Case, Count, First, Formula, Last, Min, Mode, Moment, Profile, Rollup, Size, Sum
from dayfold.errors import Sealed, Stopped
from tests.conftest import Pairing
from tests.engines.ground import NOW, Ground, march
from tests.engines.profiles import (
    BOOKINGS,
    PAYMENTS,
    Row,
    booking,
    counted,
    define,
    expected,
    new_customers,
    payment,
    stored,
)

LONG_AGO = dt.datetime(2021, 5, 1, 23, 59, 59, 999_999, tzinfo=dt.UTC)
BOOKED: list[Row] = [
    booking(1, "a", LONG_AGO, note="first", status="CANCELLED"),
    booking(2, "a", march(2), location="L2", note='a "quote", é'),
    booking(3, "a", march(2), location="L1", minutes=45),
    booking(4, "a", march(20), location="L3", note="later"),
    booking(5, "b", march(1), status="NO_SHOW", location="L2"),
    booking(6, None, march(1)),
    booking(7, "a", march(3), org="p", minutes=None, location=None),
    booking(8, "c", dt.datetime(2025, 12, 1, tzinfo=dt.UTC), note=""),
    booking(9, "d", dt.datetime(2025, 1, 1, 10, tzinfo=dt.UTC)),
]
PAID: list[Row] = [
    payment(1, "a", 1000),
    payment(2, "a", 2001),
    payment(3, "a", 5, status="FAILED"),
    payment(4, "z", 2**53 + 1),
    payment(5, "y", 7, status="FAILED"),
    payment(6, None, 9),
    payment(7, "d", -300),
]


def begin(ground: Ground, changes: str | None = None) -> None:
    """The tables are there, and the application knows its definitions."""
    ground.load("bookings", BOOKINGS, BOOKED)
    ground.load("payments", PAYMENTS, PAID)
    ground.define(*define(ground, changes))


def check(ground: Ground, booked: list[Row], paid: list[Row]) -> None:
    """What is stored is what the oracle says, and folding again writes nothing."""
    today = ground.clock.now().date()
    wanted = expected(booked, paid, today)
    assert stored(ground) == wanted
    assert counted(ground) == new_customers(wanted, today)
    assert ground.fold_written() == 0
    assert [(one.drifted, one.error) for one in ground.opened.verify()] == [(0, None), (0, None)]


def test_profile_is_what_its_sources_say(ground: Ground) -> None:
    """Every kind of metric, over two sources with key columns of their own."""
    begin(ground)
    ground.fold()
    check(ground, BOOKED, PAID)


def test_time_driven_columns_move_with_the_day_alone(ground: Ground) -> None:
    """New, active, at risk, lost: each on its day, though nobody books; within a day nothing is written again."""
    begin(ground, None if ground.pairing.name != "postgres-same" else "updated_at")
    for days in (0, 1, 18, 30, 31, 61, 121):
        ground.clock.instant = NOW + dt.timedelta(days=days)
        ground.fold()
        check(ground, BOOKED, PAID)


TOLD = ["duckdb-same", "postgres-same", "postgres-to-duckdb", "postgres-databases"]


@pytest.mark.parametrize("pairing", TOLD, indirect=True)
def test_touched_customers_are_computed_again_and_no_others(ground: Ground) -> None:
    """Late, moved, deleted and re-keyed rows: told by triggers, each fold computes the customers that they touched."""
    begin(ground, "trigger")
    ground.opened.track_install()
    ground.fold()
    check(ground, BOOKED, PAID)
    booked, paid = [dict(one) for one in BOOKED], [dict(one) for one in PAID]

    def cells() -> int:
        [profile, _] = ground.fold()
        assert profile.days == []
        return int(profile.cells)

    # The first accepted booking is cancelled: both days of new customers change.
    ground.source("update bookings set status = 'CANCELLED' where id = 2")
    ground.source("update bookings set status = 'CANCELLED' where id = 3")
    booked[1]["status"] = booked[2]["status"] = "CANCELLED"
    assert cells() == 1
    check(ground, booked, paid)
    # Customer c becomes a: the old one is gone.
    ground.source("update bookings set customer_id = 'a' where customer_id = 'c'")
    booked[7]["customer_id"] = "a"
    assert cells() == 2
    check(ground, booked, paid)
    ground.source("delete from bookings where id = 9")
    ground.source("delete from payments where id in (7, 4)")
    booked = [one for one in booked if one["id"] != 9]
    paid = [one for one in paid if one["id"] not in (4, 7)]
    assert cells() == 2
    check(ground, booked, paid)
    late = booking(10, "b", dt.datetime(2024, 2, 29, tzinfo=dt.UTC), note="late")
    walk_in = booking(11, None, march(4))
    ground.insert("bookings", [late, walk_in])
    ground.define(*define(ground, "trigger"))
    assert cells() == 1
    check(ground, [*booked, late, walk_in], paid)


def test_full_refresh_in_parts_is_that_in_one(ground: Ground) -> None:
    """Parts of keys, a transaction each; the marks of before are done with, and coverage knows all facts."""
    begin(ground)
    ground.opened.settings.fold.chunk_rows = 3
    told: list[tuple[int, int]] = []
    ground.fold(progress=lambda _, done, total: told.append((done, total)))
    assert told[: told[0][1]] == [(n, told[0][1]) for n in range(1, told[0][1] + 1)]
    assert told[0][1] > 2
    check(ground, BOOKED, PAID)
    label = ground.label("bookings")
    assert ground.stored(f"select facts from dayfold_coverage where rollup = 'Customers' and source = '{label}'") == [
        (8,)
    ]


@pytest.mark.parametrize("pairing", TOLD, indirect=True)
@pytest.mark.parametrize("bad", [6, 7])
def test_a_part_that_failed_is_due_again_whole(ground: Ground, bad: int) -> None:
    """Two parts, a number that is none in the first (of 6) or in the last (of 7): the triggers tell of that customer alone."""
    facts = [{"k": n % 20, "v": float("nan") if n % 20 == bad else 1.5} for n in range(60)]
    ground.load("takings", "k bigint, v double precision", facts)

    def define_totals() -> None:
        source = ground.table("takings", changes="trigger")
        ground.define(
            type("Totals", (Profile,), {"key": "k", "n": Count(source), "total": Sum(source, "v", scale=2)})
        ).settings.fold.chunk_rows = 40

    define_totals()
    ground.opened.track_install()
    [run] = ground.opened.fold()
    assert run.error == (
        f"{ground.label('takings')}: 3 facts hold a number that is NaN or infinite.\n"
        "  Correct them, or leave them out with where=…."
    )
    assert 0 < ground.stored("select count(*) from totals")[0][0] < 20
    ground.source("update takings set v = 1 where v = cast('NaN' as double precision)")
    define_totals()
    ground.fold()
    rows = ground.stored("select k, n, total from totals order by k")
    assert rows == [(k, 3, 3 if k == bad else 4.5) for k in range(20)]


def test_refresh_that_stopped_between_parts_says_so_and_is_no_drift(store: Ground) -> None:
    """Entities as of two days stand side by side: no answer is the last word, nothing is compared, and the next fold ends it."""
    begin(store)
    store.fold()
    store.clock.instant = NOW + dt.timedelta(days=19)
    store.define(*define(store)).settings.fold.chunk_rows = 3
    done: list[int] = []

    def stop() -> None:
        if done:
            raise Stopped("Stopped after the first part.")

    assert store.opened.fold(progress=lambda *told: done.append(told[1]), stop=stop)[0].status == "stopped"
    [found] = store.opened.verify(["Customers"])
    assert (found.drifted, found.error, found.left_out) == (0, None, {"failed days": 1})
    lacks = store.opened.profiles("Customers").standing.stale
    assert "failed: a refresh of all entities has not ended" in [one.reason for one in lacks]
    store.fold()
    check(store, BOOKED, PAID)


def test_status_says_that_columns_of_yesterday_are_behind(store: Ground) -> None:
    """What uses now() is due on each day, though nothing changed."""
    begin(store)
    store.fold()
    assert [one.state for one in store.opened.status().rollups] == ["up to date", "up to date"]
    store.clock.instant = NOW + dt.timedelta(days=1)
    assert store.opened.status().rollups[0].state == "behind"
    store.fold()
    assert store.opened.status().rollups[0].state == "up to date"


def test_rebuild_refreshes_whole_and_says_what_would_move(ground: Ground) -> None:
    """A number altered by hand is found by verify, shown by a dry run with no dates, and put right."""
    begin(ground, "updated_at")
    ground.fold()
    ground.stored("update customers set revenue = 1, segment = 'vip' where customer = 'd'")
    ground.define(*define(ground, "updated_at"))
    [found, _] = ground.opened.verify()
    assert {(one.metric, one.stored, one.actual) for one in found.drifts} == {
        ("revenue", 1, -300),
        ("segment", "vip", "lost"),
    }
    look = ground.opened.rebuild("Customers", dry_run=True)
    assert look.cells == 1
    assert ("revenue", "1", "-300") in {(one.metric, one.stored, one.rebuilt) for one in look.moves}
    assert ground.opened.rebuild("Customers").rows_updated == 1
    check(ground, BOOKED, PAID)


def test_explain_tells_where_a_column_comes_from(ground: Ground) -> None:
    """Its SQL, the facts behind it and the run, of a metric and of what is made of others; a change shows before it is folded."""
    begin(ground)
    ground.fold()
    where = ["org=o", "customer=a"]
    told = ground.opened.explain("Customers", "first_location", where=where)
    assert (told.value, told.present, told.day) == ("L2", "L2", None)
    assert [one.total for one in told.evidence] == [3]
    ticket = ground.opened.explain("Customers", "ticket", where=where)
    assert (ticket.value, ticket.parts) == (1500.5, {"revenue": 3001, "payments": 2})
    ground.source("update payments set cents = 1002 where id = 1")
    ground.define(*define(ground))
    now = ground.opened.explain("Customers", "revenue", where=where)
    assert (now.value, now.present) == (3001, 3003)
    assert ground.opened.explain("Customers", "segment", where=["org=o", "customer=nobody"]).value is None


def test_failing_source_leaves_its_columns_and_what_is_made_of_them_fits(ground: Ground) -> None:
    """Payments out of reach: their columns stand, those of bookings move, and formulas are made of the row as it is."""
    begin(ground)
    ground.fold()
    ground.source("alter table payments rename to payments_gone")
    ground.source("delete from bookings where id in (3, 9)")
    ground.define(*define(ground))
    [profile, _] = ground.opened.fold()
    assert profile.status == "partial"
    rows = stored(ground)
    assert (rows["o", "a"]["bookings"], rows["o", "a"]["revenue"], rows["o", "a"]["ticket"]) == (3, 3001, 1500.5)
    assert (rows["o", "d"]["bookings"], rows["o", "d"]["revenue"], rows["o", "d"]["segment"]) == (0, -300, "prospect")
    ground.source("alter table payments_gone rename to payments")
    ground.define(*define(ground))
    ground.fold()
    check(ground, [one for one in BOOKED if one["id"] not in (3, 9)], PAID)


def test_columns_of_two_days_are_not_compared_until_they_are_of_one(store: Ground) -> None:
    """Payments failed overnight, so that their columns are as of yesterday: verify leaves them out, and does not fall over."""
    begin(store)
    store.fold()
    store.clock.instant = NOW + dt.timedelta(days=1)
    store.source("alter table payments rename to payments_gone")
    store.define(*define(store))
    assert store.opened.fold()[0].status == "partial"
    store.source("alter table payments_gone rename to payments")
    store.define(*define(store))
    [found, _] = store.opened.verify()
    assert (found.error, found.cells, found.left_out) == (None, 0, {"open days": 1})
    store.fold()
    check(store, BOOKED, PAID)


def segments(store: Ground) -> tuple[type[Profile], type[Rollup], type[Rollup]]:
    """The tables are there; the profile, what counts new customers, and the sizes of its segments."""
    store.load("bookings", BOOKINGS, BOOKED)
    store.load("payments", PAYMENTS, PAID)
    people, new = define(store)

    class Segments(Rollup):
        """How many customers each segment has."""

        key = "segment"
        customers = Size(people)
        paying = Size(people, where="revenue > 0")

    return people, new, Segments


def test_fold_over_midnight_takes_sizes_of_the_day_that_it_began_on(store: Ground) -> None:
    """The next fold takes those of the new day, all of them."""
    defined = segments(store)
    store.define(*defined)

    def pass_midnight(rollup: str, done: int, total: int) -> None:
        store.clock.instant = NOW + dt.timedelta(days=1)

    def totals() -> list[tuple[dt.date, int]]:
        return [
            (day, int(n)) for day, n in store.stored("select day, sum(customers) from segments group by 1 order by 1")
        ]

    store.fold(progress=pass_midnight)
    assert totals() == [(dt.date(2026, 3, 12), 6)]
    store.define(*defined)
    store.fold()
    assert totals() == [(dt.date(2026, 3, 12), 6), (dt.date(2026, 3, 13), 6)]


def test_change_that_came_after_the_last_size_of_a_day_waits_no_longer(store: Ground) -> None:
    """The profile alone was folded in the evening: on the next day nothing is left that could never be folded."""
    defined = segments(store)
    store.define(*defined)
    store.fold()
    store.source("delete from bookings where customer_id = 'c'")
    store.define(*defined)
    store.opened.fold(["Customers"])
    store.clock.instant = NOW + dt.timedelta(days=1)
    store.fold()
    assert store.stored("select rollup, day from dayfold_stale") == []


@pytest.mark.parametrize(("fails_first", "state"), [(False, "sealed"), (True, None)])
def test_day_on_which_a_size_failed_is_over_like_any_other(store: Ground, fails_first: bool, state: str | None) -> None:
    """It stands as it was folded, or is missing; nothing is failing for ever, and no day is left open."""
    word = "x" if fails_first else "1"
    store.load("words", "id bigint primary key, k text, v text", [{"id": n, "k": f"k{n}", "v": word} for n in range(4)])
    words = store.table("words")

    class Keys(Profile):
        """One row per key."""

        key = "k"
        word = First(words, "v", at=Moment("id", unit="s"))

    class Many(Rollup):
        """How many have a number."""

        numbers = Size(Keys, where="word::bigint > 0")

    def fold() -> list[str]:
        store.define(Keys, Many)
        return [run.status for run in store.opened.fold()]

    if not fails_first:
        assert fold() == ["done", "done"]
        store.source("update words set v = 'x' where id = 1")
    assert fold() == ["done", "partial"]
    store.clock.instant = NOW + dt.timedelta(days=1)
    store.source("update words set v = '5'")
    assert fold() == ["done", "done"]
    states = dict(store.stored("select day, state from dayfold_coverage where rollup = 'Many'"))
    assert (states.get(dt.date(2026, 3, 12)), states[dt.date(2026, 3, 13)]) == (state, "open")
    store.define(Keys, Many)
    assert [one.state for one in store.opened.status().rollups] == ["up to date", "up to date"]
    assert fold() == ["done", "done"]


def test_sizes_of_a_segment_are_taken_on_their_day_and_stand(store: Ground) -> None:
    """New, active, at risk: a size a day, sealed when the day is over; a day without a fold is missing, and no later change moves it."""
    people, new, Segments = segments(store)
    store.define(people, new, Segments)
    for days in (0, 1, 3):
        store.clock.instant = NOW + dt.timedelta(days=days)
        store.fold()
    store.source("delete from bookings where customer_id = 'c'")
    store.define(people, new, Segments)
    store.fold()

    def sizes(day: int) -> dict[str, int]:
        rows = store.stored("select segment, customers from segments where day = $1", [dt.date(2026, 3, 12 + day)])
        return {row[0]: row[1] for row in rows}

    assert sizes(0) == {"new": 2, "at_risk": 1, "lost": 1, "prospect": 2}
    assert sizes(2) == {}
    assert sizes(3) == {"new": 2, "lost": 1, "prospect": 2}
    answer = store.opened.query("Segments", ["customers"], from_="2026-03-12", to="2026-03-15", allow_missing=True)
    assert [row["customers"] for row in answer.rows] == [6, 6, None, 5]
    [_, _, result] = store.opened.verify()
    assert (result.drifted, result.error) == (0, None)
    with pytest.raises(Sealed):
        store.opened.rebuild("Segments", from_="2026-03-12", to="2026-03-12")


def test_values_of_every_type_are_kept_and_folded_again(store: Ground) -> None:
    """What a column of the profile holds is what the source holds; the table is known again by the next fold, which writes nothing."""
    known: dict[str, tuple[str, object, object]] = {
        "word": ("text", "a", "é"),
        "number": ("bigint", -1, 2**62),
        "price": ("numeric(12,3)", Decimal("0.125"), Decimal("999999999.999")),
        "share": ("double precision", 0.1, 2.5),
        "day": ("date", dt.date(2024, 2, 29), dt.date(2026, 3, 1)),
        "wall": ("timestamp", dt.datetime(2026, 3, 29, 1, 30, 0, 1), dt.datetime(2026, 3, 29, 2, 30)),
        "moment": ("timestamptz", march(1), march(2)),
        "ref": ("uuid", uuid.UUID(int=1), uuid.UUID(int=2**100)),
        "paid": ("boolean", False, True),
    }
    columns = ", ".join(f"{name} {kind}" for name, (kind, _, _) in known.items())
    facts = [{"k": "a", "seen_at": march(1 + n), **{name: one[1 + n] for name, one in known.items()}} for n in (0, 1)]
    store.load("sample", f"k text, seen_at timestamptz, {columns}", facts)
    source = store.table("sample")
    made: dict[str, object] = {"key": "k"}
    for name, (kind, _, _) in known.items():
        made |= {f"first_{name}": First(source, name, at="seen_at"), f"last_{name}": Last(source, name, at="seen_at")}
        made |= {f"usual_{name}": Mode(source, name)} if kind != "double precision" else {}
        made |= {f"least_{name}": Min(source, name)} if kind not in ("uuid", "boolean") else {}
    store.define(type("Kept", (Profile,), made))
    assert store.fold_written() == 1
    names = list(made)[1:]
    [row] = store.stored(f"select {', '.join(names)} from kept")
    for name, value in zip(names, row, strict=True):
        what, _, column = name.partition("_")
        _, first, last = known[column]
        wanted = last if what == "last" else first
        assert (str(value) if column == "ref" else value) == (str(wanted) if column == "ref" else wanted), name
    assert store.fold_written() == 0
    assert [one.is_proved for one in store.opened.verify()] == [True]


def test_rebuild_in_parts_is_that_in_one_and_tells_how_far_it_is(store: Ground) -> None:
    """A dry run and a rebuild over parts of the keys find what was altered, in whichever part."""
    begin(store)
    store.fold()
    store.stored("update customers set revenue = revenue + 1")
    store.define(*define(store)).settings.fold.chunk_rows = 3
    told: list[tuple[int, int]] = []
    rows = len(expected(BOOKED, PAID, NOW.date()))
    assert store.opened.rebuild("Customers", dry_run=True).cells == rows
    assert store.opened.rebuild("Customers", progress=lambda _, done, total: told.append((done, total))).cells == rows
    assert len(told) > 2
    assert told[-1][0] == told[-1][1]
    check(store, BOOKED, PAID)


def test_doctor_names_the_index_that_a_touched_entity_needs(new_postgres: Callable[[], str]) -> None:
    """Where triggers tell of single customers, their facts are looked up by key."""
    url = new_postgres()
    with Ground(Pairing("postgres-same", url, url)) as ground:
        begin(ground, "trigger")
        told = {one.subject: one for one in ground.opened.doctor() if "index" in one.message}
        assert told["bookings"].advice == 'CREATE INDEX CONCURRENTLY ON "bookings" ("org", "customer_id");'
        ground.source("create index on bookings (customer_id, org)")
        ground.define(*define(ground, "trigger"))
        assert (
            "an index leads"
            in {one.subject: one for one in ground.opened.doctor() if "index" in one.message}["bookings"].message
        )


def test_many_entities_change_at_once_in_what_differs(store: Ground) -> None:
    """Six thousand customers grow a day older, half of them into another segment, which is indexed; each row is right, and its index."""
    rows = [
        {"id": n, "customer": f"c{n}", "seen_at": NOW - dt.timedelta(days=29 + n % 2, hours=1)} for n in range(6_000)
    ]
    store.load("visits", "id bigint, customer text, seen_at timestamptz", rows)
    visits = store.table("visits")

    class Guests(Profile):
        """One row per guest."""

        key = "customer"
        index = ("age",)
        first_at = Min(visits, "seen_at")
        days = Formula("now()::date - first_at::date")
        age = Case({"new": "days <= 30"}, default="old")

    class NewGuests(Rollup):
        """Guests by the day of their first visit."""

        guests = Count(Guests, at="first_at")

    store.define(Guests, NewGuests)
    store.fold()
    assert store.stored("select age, days, count(*) from guests group by 1, 2 order by 2") == [
        ("new", 29, 3000),
        ("new", 30, 3000),
    ]
    store.clock.instant = NOW + dt.timedelta(days=1)
    store.define(Guests, NewGuests)
    guests, new = store.fold()
    assert (guests.rows_updated, new.cells) == (6_000, 0)
    assert store.stored("select age, days, count(*) from guests group by 1, 2 order by 2") == [
        ("new", 30, 3000),
        ("old", 31, 3000),
    ]
    assert store.stored("select count(*), min(customer) from guests where age = 'old'") == [(3000, "c1")]
    assert store.stored("select count(distinct updated_at), count(distinct run_id) from guests") == [(1, 1)]


def test_triggers_of_a_profile_outlive_the_day_they_were_made_on(store: Ground) -> None:
    """Every metric looks thirty days back: what comes later is told too, though it lay ahead when the triggers were made."""
    store.load(
        "visits", "id bigint, customer text, seen_at timestamptz", [{"id": 1, "customer": "a", "seen_at": march(1)}]
    )
    table = store.table("visits", changes="trigger")

    class Recent(Profile):
        """Who came in the last thirty days."""

        key = "customer"
        visits = Count(table, where="seen_at >= now() - interval '30 days' and seen_at < now() + interval '1 day'")

    store.define(Recent).track_install()
    store.fold()
    store.clock.instant = NOW + dt.timedelta(days=40)
    store.define(Recent)
    store.fold(allow_empty=True)
    assert store.stored("select customer, visits from recent") == [("a", 0)]
    store.insert("visits", [{"id": 2, "customer": "b", "seen_at": store.clock.instant}])
    store.define(Recent)
    store.fold()
    assert store.stored("select customer, visits from recent order by customer") == [("a", 0), ("b", 1)]
