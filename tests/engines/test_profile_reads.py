"""Reading profiles: one entity, pages in any order, counts of values, and what an answer says of itself."""

from __future__ import annotations

import base64
import datetime as dt
import io
import itertools
import json
import operator
from collections import Counter as Tally
from collections.abc import Callable
from typing import Any

import pytest
from pyarrow import parquet

from dayfold import Count, Min, Profile
from dayfold.errors import QueryRefused, UnknownName, UsageError
from dayfold.plan.access import Scope
from dayfold.query import exports
from tests.engines.ground import NOW, Ground, march
from tests.engines.profiles import COLUMNS, Row, booking, define, expected
from tests.engines.test_profiles import BOOKED, PAID, begin

pytestmark = pytest.mark.in_turn

MINE = Scope.of(None, {"org": ["p"]})


@pytest.fixture
def folded(store: Ground) -> Ground:
    """The salon's profile, folded."""
    begin(store)
    store.fold()
    return store


def oracle() -> list[Row]:
    """The rows of the profile, in the order of their keys."""
    found = expected(BOOKED, PAID, NOW.date())
    return [found[key] for key in sorted(found)]


def pages(ground: Ground, size: int, **asked: Any) -> list[Row]:
    """All rows, page by page."""
    found: list[Row] = []
    after = None
    for _ in range(50):
        page = ground.opened.profiles("Customers", limit=size, after=after, **asked)
        found += page.rows
        after = page.next
        if after is None:
            return found
    raise AssertionError("the pages do not end")


def test_one_entity_is_read_by_its_whole_key(folded: Ground) -> None:
    """All its columns, each as its type; and what the answer is as of."""
    app = folded.opened
    found = app.profile("Customers", {"org": "o", "customer": "a"})
    row = found.row
    assert row is not None
    assert list(row) == [*COLUMNS, "created_at", "updated_at", "run_id"]
    assert {name: row[name] for name in COLUMNS} == oracle()[0]
    told = found.as_object()
    assert (told["as_of"], told["complete"], told["missing"], told["stale"]) == (NOW.date(), True, [], [])
    assert (told["revision"], told["folded_at"]) == (1, "2026-03-12T12:00:00Z")
    assert app.profile("customers", {"org": "q", "customer": "a"}).row is None
    assert app.profile("customers", {"org": "o", "customer": "a"}, columns=["segment"]).row == {"segment": "new"}
    with pytest.raises(
        UsageError, match=r"^An entity of Customers has a whole key; customer is missing.\n  --key org=… "
    ):
        app.profile("Customers", {"org": "o"})
    with pytest.raises(UnknownName, match=r"Customers has no column .orgs. in its key"):
        app.profile("Customers", {"orgs": "o"})


SORTS = [
    "org",
    "-customer",
    "first_at",
    "-first_at",
    "segment",
    "-favourite",
    "has_no_show",
    "-ticket",
    "-revenue",
    "updated_at",
]


def test_pages_in_any_order_hold_each_entity_once(folded: Ground) -> None:
    """Ties are decided by the key, NULLs are last either way, and pages of any size are one order."""
    rows = oracle()
    for sort in SORTS:
        name = sort.removeprefix("-")
        known = [one for one in rows if name in one and one[name] is not None]
        known.sort(key=operator.itemgetter(name), reverse=sort.startswith("-"))
        wanted = [*known, *(one for one in rows if one not in known)]
        for size in (1, 2, 4, 100):
            found = pages(folded, size, sort=sort, columns=["customer", "org"])
            assert [(one["org"], one["customer"]) for one in found] == [(one["org"], one["customer"]) for one in wanted]


Test = Callable[[Row], bool]
FILTERS: list[tuple[list[str], Test]] = [
    (["customer=a"], lambda one: one["customer"] == "a"),
    (["customer=a", "customer=b", "org=o"], lambda one: one["customer"] in "ab" and one["org"] == "o"),
    (["customer!=a", "customer!=b"], lambda one: one["customer"] not in "ab"),
    (["first_at="], lambda one: one["first_at"] is None),
    (["first_at!="], lambda one: one["first_at"] is not None),
    (["first_location!=L2"], lambda one: one["first_location"] != "L2"),
    (["bookings>1", "bookings<=4"], lambda one: 1 < one["bookings"] <= 4),
    (["revenue>=9007199254740993"], lambda one: one["revenue"] >= 2**53 + 1),
    (["ticket>1500.4"], lambda one: one["ticket"] is not None and one["ticket"] > 1500.4),
    (["has_no_show=true"], lambda one: one["has_no_show"]),
    (["first_at>=2026-03-02T12:00:00Z"], lambda one: one["first_at"] is not None and one["first_at"] >= march(2)),
    (
        ["first_at<-30d"],
        lambda one: one["first_at"] is not None and one["first_at"] < march(12, 0) - dt.timedelta(days=30),
    ),
    (["notes="], lambda one: one["notes"] is None),
    ([f"customer={n}" for n in "abcdefghijklmnopqrstuvwxyz"][1:], lambda one: one["customer"] != "a"),
    (["customer=' or 1=1 --"], lambda one: False),
]


def test_filters_hold_for_any_column(folded: Ground) -> None:
    """Each kind of comparison finds what plain Python finds; values are never SQL."""
    for words, test in FILTERS:
        found = folded.opened.profiles("Customers", where=words, columns=["org", "customer"]).rows
        assert found == [{"org": one["org"], "customer": one["customer"]} for one in oracle() if test(one)], words


def test_values_are_counted_and_added_up(folded: Ground) -> None:
    """How many entities each value has, NULL among them, beside exact sums; in pages too."""
    rows = oracle()
    found = pages(folded, 1, count_by=["first_location", "org"], columns=["revenue", "bookings"])
    groups = [(one["first_location"], one["org"]) for one in rows]
    wanted = sorted(Tally(groups).items(), key=lambda one: (one[0][0] is None, one[0][0] or "", one[0][1]))
    assert [((one["first_location"], one["org"]), one["count"]) for one in found] == wanted
    for one in found:
        mine = [row for row in rows if (row["first_location"], row["org"]) == (one["first_location"], one["org"])]
        assert (one["revenue"], one["bookings"]) == (
            sum(row["revenue"] for row in mine),
            sum(row["bookings"] for row in mine),
        )
    most = folded.opened.profiles("Customers", count_by=["segment"], sort="-count", limit=1, where=["bookings>0"])
    assert most.rows == [{"segment": "new", "count": 2}]
    assert most.next is not None


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"where": ["nothing=1"]}, "Customers has no column 'nothing' to filter by."),
    ({"where": ["segment"]}, "'segment' is not a filter."),
    ({"where": ["segment>new"]}, "'>' compares numbers, days and moments, and 'segment' holds text."),
    ({"where": ["bookings>"]}, "'bookings>' compares with a value, and there is none."),
    ({"where": ["bookings=1; drop table customers"]}, "The filter's value for 'bookings' is not integer, which that column holds."),
    ({"where": ["first_at>yesterdai"]}, "The filter's value for 'first_at' is not timestamptz, which that column holds."),
    ({"where": ["ticket>nan"]}, "The filter's value for 'ticket' is not float, which that column holds."),
    ({"where": ["notes=x"]}, "'notes' holds json, which is compared with NULL alone."),
    ({"sort": "nothing"}, "The answer of Customers has no 'nothing' to sort by."),
    ({"sort": "notes"}, "'notes' holds json, which has no order."),
    ({"columns": ['segment"; drop table customers; --']}, "Customers has no column 'segment\"; drop table customers; --' to show"),
    ({"count_by": ["notes"]}, "'notes' holds json, which is not counted by."),
    ({"count_by": ["segment"], "columns": ["locations"]}, "'locations' counts distinct values, which are never added up"),
    ({"count_by": ["segment"], "columns": ["ticket"]}, "'ticket' holds float, which is not added up."),
    ({"count_by": ["segment"], "sort": "revenue"}, "The answer of Customers has no 'revenue' to sort by"),
    ({"limit": 0}, "limit is a number of rows from 1 on, got 0."),
    ({"after": "nothing"}, "after is not a place in this answer."),
]  # fmt: skip


def test_what_cannot_be_answered_is_refused(folded: Ground) -> None:
    """With the reason, and never with a value that may be somebody's."""
    for asked, message in REFUSED:
        with pytest.raises(UsageError) as refused:
            folded.opened.profiles("Customers", **asked)
        assert refused.value.message.startswith(message), asked


def test_days_are_asked_of_rollups_and_entities_of_profiles(folded: Ground) -> None:
    """Each refusal names the command that answers."""
    app = folded.opened
    for first, last in (("-7d", "today"), ("0001-01-01", "0001-01-01")):
        with pytest.raises(QueryRefused) as refused:
            app.query("Customers", from_=first, to=last)
        assert str(refused.value) == (
            "Customers is a profile: a row is an entity over its whole life, and of no day.\n  Ask for entities: dayfold profile Customers"
        )
    with pytest.raises(QueryRefused) as refused:
        app.profiles("NewCustomers")
    assert str(refused.value) == (
        "NewCustomers is a rollup: its rows are of days, and it has no entities.\n  Ask for days: dayfold query NewCustomers"
    )


def test_a_place_belongs_to_its_question(folded: Ground) -> None:
    """Another filter, order, count or scope refuses it; a forged one shows nothing that is not the caller's."""
    app = folded.opened
    place = app.profiles("Customers", limit=1, sort="revenue").next
    assert place is not None
    others: list[dict[str, Any]] = [
        {"sort": "-revenue"}, {}, {"sort": "revenue", "where": ["org=o"]}, {"sort": "revenue", "scope": MINE},
        {"count_by": ["segment"]},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(UsageError, match="after is a place in the answer to another question"):
            app.profiles("Customers", after=place, **other)
    mark = json.loads(base64.urlsafe_b64decode(app.profiles("Customers", limit=1).next + "=="))[0]
    for forged in ([mark], [mark, "o"], [mark, 1, 2], [mark, "\x00", "a"], {"a": 1}):
        with pytest.raises(UsageError, match="after is not a place in this answer"):
            app.profiles("Customers", after=base64.urlsafe_b64encode(json.dumps(forged).encode()).decode())


def test_a_limited_caller_sees_their_entities_alone(folded: Ground) -> None:
    """Whatever is asked: another's key is like one that nobody has, and no order, count or filter tells of it."""
    app = folded.opened
    for key in ({"org": "o", "customer": "a"}, {"org": "o", "customer": "nobody"}):
        hidden = app.profile("Customers", key, scope=MINE)
        assert hidden.as_object() == app.profile("Customers", {"org": "p", "customer": "x"}, scope=MINE).as_object()
    mine = app.profile("Customers", {"org": "p", "customer": "a"}, scope=MINE)
    assert mine.row is not None
    assert not {"run_id", "revision", "folded_at"} & {*mine.row, *mine.as_object()}
    for asked in (
        {},
        {"sort": "-revenue"},
        {"where": ["org=o", "org=p"]},
        {"where": ["org!=p"]},
        {"where": ["revenue>=0"]},
    ):
        found = app.profiles("Customers", columns=["org", "customer"], scope=MINE, **asked).rows
        assert found in ([{"org": "p", "customer": "a"}], [])
    assert [one["count"] for one in app.profiles("Customers", count_by=["org"], scope=MINE).rows] == [1]
    with pytest.raises(UnknownName, match=r"has no .run_id. to sort by"):
        app.profiles("Customers", sort="run_id", scope=MINE)
    with pytest.raises(UnknownName, match="There is no rollup 'Customers'"):
        app.profiles("Customers", scope=Scope.of(None, {"segment": ["new"]}))


def test_an_answer_says_what_is_not_the_last_word(store: Ground) -> None:
    """A day that passed, a change that waits, a source that failed: each with its columns; a later fold takes it back."""
    begin(store, "trigger")
    store.opened.track_install()
    with pytest.raises(QueryRefused, match=r"^Customers was never folded.\n  Run: dayfold fold Customers$"):
        store.opened.profiles("Customers")
    store.fold()
    store.source("update bookings set minutes = 31 where customer_id = 'b'")
    store.define(*define(store, "trigger"))
    app = store.opened

    def told(customer: str | None, **more: Any) -> list[tuple[str, int]]:
        found = (
            app.profiles("Customers", **more)
            if customer is None
            else app.profile("Customers", {"org": "o", "customer": customer}, **more)
        )
        assert found.standing.is_complete == (not found.standing.stale)
        return [(one.reason, len(one.columns)) for one in found.standing.stale]

    everything = len(COLUMNS) + 3
    assert told("a") == []
    assert told("b") == [("changed since it was folded", everything)]
    assert told(None) == [("some entities changed since they were folded", everything)]
    assert told(None, scope=Scope.of(None, {"org": ["o"]})) == []
    store.clock.instant = NOW + dt.timedelta(days=1)
    # last_at, next_at, bookings_30d, days_since, segment: the others stay as they are.
    assert told("a") == [("as of 2026-03-12", 5)]
    assert told("a", columns=["revenue"]) == []
    store.fold()
    assert (told("a"), told("b"), told(None)) == ([], [], [])


def test_a_failed_source_leaves_its_columns_stale(folded: Ground) -> None:
    """They keep the values of the last fold, with the reason; those of other sources are the last word."""
    folded.source("alter table payments rename to gone")
    folded.define(*define(folded))
    folded.opened.fold(["Customers"])
    [lack] = folded.opened.profile("Customers", {"org": "o", "customer": "a"}).standing.stale
    assert lack.columns == ("revenue", "payments", "largest", "ticket")
    assert lack.reason.startswith("failed: ")
    scoped = folded.opened.profiles("Customers", scope=MINE).standing
    assert [one.reason for one in scoped.stale] == ["failed"]


def test_pages_go_on_while_rows_are_published(folded: Ground) -> None:
    """Entities that come and go between two pages neither repeat nor hide others."""
    first = folded.opened.profiles("Customers", limit=2, columns=["customer"])
    folded.insert("bookings", [booking(20, "aa", march(1)), booking(21, "cc", march(1))])
    folded.define(*define(folded))
    folded.fold()
    rest = folded.opened.profiles("Customers", after=first.next, columns=["customer"])
    assert [one["customer"] for one in itertools.chain(first.rows, rest.rows)] == ["a", "b", "c", "cc", "d", "z", "a"]


def test_a_key_of_one_column_and_moments_without_a_zone(store: Ground) -> None:
    """A moment is told in UTC whatever its column is, and is found by day."""
    rows = [{"who": n, "came_at": dt.datetime(2026, 3, n), "day": dt.date(2026, 3, n)} for n in (1, 2)]
    store.load("visits", "who bigint, came_at timestamp, day date", rows)
    came = store.table("visits")

    class Visitors(Profile):
        """Who came."""

        key = "who"
        first_at = Min(came, "came_at")
        first_day = Min(came, "day")
        visits = Count(came)

    store.define(Visitors)
    store.fold()
    found = store.opened.profiles(
        "Visitors", where=["first_at>2026-03-01", "first_day>=2026-03-02"], columns=["who", "first_at"]
    )
    assert found.rows == [{"who": 2, "first_at": dt.datetime(2026, 3, 2, tzinfo=dt.UTC)}]
    assert store.opened.profile("Visitors", {"who": 1}, columns=["visits"]).row == {"visits": 1}
    with pytest.raises(UsageError, match="The filter's value for 'who' is not integer"):
        store.opened.profile("Visitors", {"who": "1 or 1=1"})


def test_a_profile_is_exported_in_portions(folded: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each entity once, in the order of keys, whatever the size of a portion; within the scope; by any column."""
    monkeypatch.setattr(exports, "_ENTITIES", 2)
    app = folded.opened

    def written(form: str, **how: Any) -> bytes:
        stream = io.BytesIO()
        app.export("profile", "Customers", out=stream, form=form, **how)
        return stream.getvalue()

    told: list[tuple[str, int, int]] = []
    found = [json.loads(one) for one in written("jsonl", progress=lambda *one: told.append(one)).decode().splitlines()]
    assert [{name: one[name] for name in ("org", "customer", "notes", "revenue", "ticket")} for one in found] == [
        {name: one[name] for name in ("org", "customer", "notes", "revenue", "ticket")} for one in oracle()
    ]
    assert told == [("Customers", 2, 6), ("Customers", 4, 6), ("Customers", 6, 6), ("Customers", 6, 6)]
    assert found[0]["first_at"] == "2026-03-02T12:00:00Z"
    assert parquet.read_table(io.BytesIO(written("parquet"))).num_rows == 6
    mine = written("csv", scope=MINE).decode().splitlines()
    assert mine[0] == ",".join(f'"{name}"' for name in (*COLUMNS, "created_at", "updated_at"))
    assert [line[:7] for line in mine[1:]] == ['"p","a"']
    assert len(written("csv", where=["segment=prospect", "revenue<1"]).decode().splitlines()) == 2
    with pytest.raises(UsageError, match=r"^Customers is a profile, and no rollup"):
        app.export("rollup", "Customers", out=io.BytesIO())
    with pytest.raises(UsageError, match=r"^A profile has no days"):
        written("csv", from_="-7d")
    with pytest.raises(UnknownName, match=r"^Customers has no column 'run_id' to filter by"):
        written("csv", where=["run_id>0"], scope=MINE)
