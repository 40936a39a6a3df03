"""Live answers: what a fold would say now, said without it; marked, in time, and nothing written."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest

from dayfold import Avg, Count, Distinct, Gauge, Ratio, Rollup, Sum, Table
from dayfold.errors import QueryRefused
from tests.conftest import SOAK
from tests.engines.ground import NOW, Ground, march
from tests.exactness.draws import alike
from tests.sql import engine_of

pytestmark = pytest.mark.in_turn

D = dt.date
DDL = "id bigint, shop text, amount bigint, who text, made timestamptz, seen_at timestamptz"
SHOPS = ["a", "b", "", None]
PEOPLE = ["ann", "bob", "cat", None]


def row(
    number: int, shop: str | None, day: int, hour: int = 12, amount: int = 1, who: str | None = "ann"
) -> dict[str, Any]:
    made = march(day, hour)
    return {"id": number, "shop": shop, "amount": amount, "who": who, "made": made, "seen_at": made}


ROWS = [row(1, "a", 3), row(2, "a", 9), row(3, "b", 9, who="bob"), row(4, "b", 10), row(5, None, 11)]


def sales(ground: Ground, **attributes: Any) -> type[Rollup]:
    sale = ground.table("sale", **({"changes": attributes.pop("changes")} if "changes" in attributes else {}))
    metrics = {
        "total": Count(sale, at="made"),
        "amount": Sum(sale, "amount", at="made", where="amount > 0"),
        "people": Distinct(sale, "who", at="made"),
        "mean": Avg(sale, "amount", at="made"),
        "level": Gauge(sale, "amount", at="made"),
        "held": Gauge(sale, "amount", at="made", carry=True, over_keys="max"),
        "each": Ratio("amount", "total"),
    }
    return type("Sales", (Rollup,), {"key": "shop", **metrics, **attributes})


#: Questions of every kind, as arguments of `Dayfold.query`.
QUESTIONS: list[dict[str, Any]] = [
    {},
    {"by": ["shop"]},
    {"grain": "total"},
    {"grain": "week", "by": ["shop"]},
    {"where": ["shop=a"]},
    {"where": ["shop!=a"], "by": ["shop"], "grain": "total"},
    {"where": ["shop="], "grain": "total"},
    {"grain": "month", "allow_missing": True},
    {"grain": "week", "compare": "previous", "by": ["shop"]},
    {"first": 8, "last": 9, "by": ["shop"], "sort": "-total", "limit": 3},
]


def told(ground: Ground, questions: list[dict[str, Any]], **more: Any) -> list[tuple[Any, ...]]:
    """Everything that answers say, but what is provisional."""
    found = []
    for question in questions:
        answer = ground.answer("Sales", **question, **more)
        object_ = answer.as_object() | ({"compare": answer.compare.rows} if answer.compare else {})
        ignored = ("rows", "provisional", "revision", "stale")
        found.append((answer.rows, {name: part for name, part in object_.items() if name not in ignored}))
    return found


def same(live: list[tuple[Any, ...]], folded: list[tuple[Any, ...]]) -> None:
    for (rows, rest), (expected, told_) in zip(live, folded, strict=True):
        assert len(rows) == len(expected)
        for one, other in zip(rows, expected, strict=True):
            assert one.keys() == other.keys()
            assert all(alike(one[name], other[name]) for name in one), (one, other)
        assert rest == told_


def stored(ground: Ground) -> list[Any]:
    return [
        ground.stored("SELECT * FROM sales ORDER BY shop, day"),
        ground.stored("SELECT * FROM dayfold__coverage ORDER BY source, day"),
        ground.stored("SELECT * FROM dayfold__marks ORDER BY id"),
        ground.stored("SELECT count(*) FROM dayfold__runs"),
    ]


def changes(ground: Ground, draw: random.Random, number: int) -> None:
    """Rows come, change, move and go, mostly of recent days."""
    day = draw.choice([1, 3, 5, 6, 8, 9, 10, 11, 12])
    shop, who = draw.choice(SHOPS), draw.choice(PEOPLE)
    match draw.randrange(4):
        case 0:
            ground.source("DELETE FROM sale WHERE id = $1 AND id > 1", [draw.randrange(2, number)])
        case 1:
            ground.source(
                "UPDATE sale SET shop = $1, made = $2, amount = amount + 1, seen_at = $4 WHERE id = $3 AND id > 1",
                [shop, march(day, draw.randrange(24)), draw.randrange(2, number), ground.clock.instant],
            )
        case _:
            fresh = row(number, shop, day, draw.randrange(24), draw.randrange(-2, 9), who)
            ground.insert("sale", [fresh | {"seen_at": ground.clock.instant}])


@pytest.mark.parametrize("seed", range(1, 9 if SOAK else 2))
def test_a_live_answer_is_that_of_a_fold(ground: Ground, seed: int) -> None:
    """Number by number, with what is missing and whether it is exact, whatever happened; and it writes nothing."""
    draw = random.Random(f"{seed} {ground.pairing.name}")
    ground.load("sale", DDL, ROWS)
    ground.define(sales(ground, lookback=4))
    ground.fold()
    number = 10
    for _ in range(2):
        for _ in range(draw.randrange(1, 9)):
            changes(ground, draw, number)
            number += 1
        ground.clock.instant += dt.timedelta(hours=draw.choice([0, 5, 30]))
        before = stored(ground)
        live = told(ground, QUESTIONS, live=True)
        assert stored(ground) == before
        ground.fold()
        same(live, told(ground, QUESTIONS))


def test_days_of_a_zone_are_live_too(ground: Ground) -> None:
    """Buckets of a quarter of an hour, in days that begin at 18:15 UTC."""
    ground.load("sale", DDL, ROWS)
    ground.define(sales(ground, grain="15min", lookback=3))
    ground.fold()
    ground.insert("sale", [row(8, "a", 10, 18), row(9, "b", 10, 19, who="cat"), row(10, "a", 12, 3)])
    questions = [
        {"tz": zone, "first": 9, **more} for zone in ("Asia/Kathmandu", "America/New_York") for more in QUESTIONS[:4]
    ]
    live = told(ground, questions, live=True)
    ground.fold()
    same(live, told(ground, questions))
    assert live != []


def test_a_rollup_that_was_never_folded_is_answered(ground: Ground) -> None:
    """No table is needed, and none is made; history starts where it would."""
    ground.load("sale", DDL, ROWS)
    ground.define(sales(ground))
    live = told(ground, QUESTIONS, live=True)
    assert ground.answer("Sales", "total", live=True).as_object()["provisional"] == [
        {"from": D(2026, 3, 3), "to": D(2026, 3, 11), "reason": "never folded", "metrics": ["total"]},
        {"from": D(2026, 3, 12), "to": D(2026, 3, 12), "reason": "the day is not over", "metrics": ["total"]},
    ]
    with pytest.raises(QueryRefused, match="never folded"):
        ground.answer("Sales")
    ground.fold()
    same(live, told(ground, QUESTIONS))


def test_what_was_computed_is_marked_with_its_reason(ground: Ground) -> None:
    """The open day, days that ended since, days never folded, the lookback: each said, and what is stored is not."""
    ground.load("sale", DDL, ROWS)
    ground.define(sales(ground, lookback=4))
    ground.fold()
    ground.clock.instant += dt.timedelta(days=2)
    answer = ground.answer("Sales", "total", "each", first=8, last=15, live=True)
    assert [(str(gap.days), gap.reason, gap.metrics) for gap in answer.provisional] == [
        ("2026-03-10..2026-03-11", "in the lookback, whose changes nobody reports", ("total", "each")),
        ("2026-03-12", "last folded before the day had ended", ("total", "each")),
        ("2026-03-13", "never folded", ("total", "each")),
        ("2026-03-14", "the day is not over", ("total", "each")),
    ]
    assert [(str(gap.days), gap.reason) for gap in answer.missing] == [("2026-03-15", "in the future")]
    assert answer.stale == []
    assert "provisional: 2026-03-14: total, each: the day is not over" in answer.remarks()
    assert "provisional" not in ground.answer("Sales", "total").as_object()


def mark(ground: Ground, key: str | None, day: D | None) -> None:
    ground.stored(
        "INSERT INTO dayfold__marks (id, rollup, version, key, day, marked_at, reason) VALUES (1, 'Sales', 1, $1, $2, $3, 'a test')",
        [key, day, NOW],
    )


@pytest.mark.parametrize(
    ("key", "day", "seen"),
    [
        ('["a"]', D(2026, 3, 3), {"a": 5, "b": None}),
        ("[null]", D(2026, 3, 3), {None: 7}),
        (None, D(2026, 3, 3), {"a": 5, "b": 6, None: 7}),
        (None, None, {"a": 5, "b": 6, None: 7}),
        ('["a"]', D(2026, 3, 4), {}),
    ],
    ids=["cell", "cell of no shop", "day", "everything", "another day"],
)
def test_exactly_what_is_marked_is_computed(
    ground: Ground, key: str | None, day: D | None, seen: dict[Any, Any]
) -> None:
    """A marked cell is live, its neighbours are as they are stored; a mark without a day is every cell."""
    first = [row(1, shop, 3, amount=1) for shop in ("a", "b", None)]
    ground.load("sale", DDL, first)
    ground.define(sales(ground, lookback=0))
    ground.fold()
    ground.source("UPDATE sale SET amount = CASE WHEN shop = 'a' THEN 5 WHEN shop = 'b' THEN 6 ELSE 7 END")
    mark(ground, key, day)
    found = {
        one["shop"]: one["amount"] for one in ground.ask("Sales", "amount", first=3, last=3, by=["shop"], live=True)
    }
    assert found == {shop: seen.get(shop) or 1 for shop in ("a", "b", None)}
    [total] = ground.ask("Sales", "amount", first=3, last=3, live=True)
    assert total["amount"] == sum(found.values())


def test_a_level_is_carried_from_a_live_day_before_the_range(ground: Ground) -> None:
    """What is carried into the range may itself be stale."""
    ground.load("sale", DDL, [row(1, "a", 3, amount=4)])
    ground.define(sales(ground, lookback=0))
    ground.fold()
    ground.source("UPDATE sale SET amount = 9")
    mark(ground, '["a"]', D(2026, 3, 3))
    assert [one["held"] for one in ground.ask("Sales", "held", first=10, last=11, live=True)] == [9, 9]
    assert [one["held"] for one in ground.ask("Sales", "held", first=10, last=11)] == [4, 4]


def test_rows_stamped_since_the_last_fold_are_seen(ground: Ground) -> None:
    """A source with a cursor has told nothing yet; its stamps are read, no lookback is."""
    ground.load("sale", DDL, ROWS)
    ground.define(sales(ground, changes="seen_at"))
    ground.fold()
    late = row(9, "a", 3, amount=5) | {"seen_at": dt.datetime(2099, 1, 1, tzinfo=dt.UTC)}
    ground.insert("sale", [late])
    before = stored(ground)
    live = told(ground, QUESTIONS, live=True)
    assert ground.ask("Sales", "amount", first=3, last=3, live=True)[0]["amount"] == 6
    answer = ground.answer("Sales", "amount", first=1, last=11, live=True)
    assert ("2026-03-03", "some cells changed since they were folded") in [
        (str(gap.days), gap.reason) for gap in answer.provisional
    ]
    assert stored(ground) == before
    ground.fold()
    same(live, told(ground, QUESTIONS))


def test_everything_is_live_where_stamps_were_not_read_yet(ground: Ground) -> None:
    """Folded by lookback before: what changed since then may stand behind any stamp, so no stored cell is believed."""
    ground.load("sale", DDL, ROWS)
    ground.define(sales(ground, lookback=0))
    ground.fold()
    ground.source("UPDATE sale SET amount = 9 WHERE id = 1")
    ground.define(sales(ground, changes="seen_at"))
    before = stored(ground)
    answer = ground.answer("Sales", "amount", first=3, last=11, live=True)
    assert [row["amount"] for row in answer.rows if row["amount"]] == [9, 2, 1, 1]
    assert [(str(gap.days), gap.reason) for gap in answer.provisional] == [
        ("2026-03-03..2026-03-11", "changed since it was folded")
    ]
    live = told(ground, QUESTIONS, live=True)
    assert stored(ground) == before
    ground.fold()
    same(live, told(ground, QUESTIONS))
    assert ground.answer("Sales", "amount", first=3, last=11, live=True).provisional == []


def test_sealed_days_are_never_computed(ground: Ground) -> None:
    """Their source may be gone: the stored number stands, marked or not."""
    ground.load("sale", DDL, ROWS)
    ground.define(sales(ground, lookback=11))
    ground.fold()
    ground.stored("UPDATE dayfold__coverage SET state = 'sealed' WHERE day = DATE '2026-03-09'")
    ground.source("DELETE FROM sale WHERE id IN (2, 3, 4)")
    mark(ground, None, None)
    answer = ground.answer("Sales", "total", first=9, last=10, live=True)
    assert [one["total"] for one in answer.rows] == [2, 0]
    assert [str(gap.days) for gap in answer.provisional] == ["2026-03-10"]


def test_a_source_that_cannot_be_read_leaves_its_numbers(ground: Ground) -> None:
    """Its columns stay as they were, with the reason; those of the other source are live."""
    ground.load("sale", DDL, ROWS)
    ground.load(
        "visit", "shop text, made timestamptz", [{"shop": "a", "made": march(9)}, {"shop": "c", "made": march(9)}]
    )
    visit = ground.table("visit")
    more = {"visits": Count(visit, at="made"), "visitors": Distinct(visit, "shop", at="made")}
    ground.define(sales(ground, **more))
    ground.fold()
    ground.insert("sale", [row(8, "a", 9)])
    ground.source("DROP TABLE visit")
    answer = ground.answer("Sales", "total", "visits", "visitors", first=8, last=9, by=["shop"], live=True)
    assert [(str(one["day"]), *list(one.values())[1:]) for one in answer.rows if one["day"] == D(2026, 3, 9)] == [
        ("2026-03-09", "a", 2, 1, 1),
        ("2026-03-09", "b", 1, 0, 0),
        ("2026-03-09", "c", 0, 1, 1),
    ]
    assert {gap.metrics for gap in answer.provisional} == {("total",)}
    assert [(str(gap.days), gap.metrics) for gap in answer.stale] == [
        ("2026-03-08..2026-03-09", ("visits", "visitors"))
    ]
    assert answer.stale[0].reason.startswith("failed: ")
    live = told(ground, [{"by": ["shop"]}, {"grain": "total"}], live=True)
    ground.opened.fold()
    same(live, told(ground, [{"by": ["shop"]}, {"grain": "total"}]))


def test_days_whose_fold_failed_are_computed_once_the_source_can_be_read(ground: Ground) -> None:
    """A source that came back answers for the days that it failed on, also those it never covered."""
    ground.load("sale", DDL, ROWS)
    ground.define(sales(ground, lookback=0))
    ground.fold()
    ground.clock.instant += dt.timedelta(days=1)
    ground.source("ALTER TABLE sale RENAME TO away")
    [run] = ground.opened.fold()
    assert run.status != "done"
    ground.source("ALTER TABLE away RENAME TO sale")
    ground.insert("sale", [row(8, "a", 12), row(9, "a", 13)])
    answer = ground.answer("Sales", "total", first=11, last=13, live=True)
    assert [one["total"] for one in answer.rows] == [1, 1, 1]
    assert [(str(gap.days), gap.reason) for gap in answer.provisional] == [
        ("2026-03-12..2026-03-13", "its last fold failed")
    ]
    assert (answer.missing, answer.stale) == ([], [])


def test_a_value_that_cannot_be_computed_with_leaves_the_source_out(ground: Ground) -> None:
    """A failed statement ends a transaction; the answer comes from another one, with the stored numbers."""
    ground.load("sale", "shop text, amount text, made timestamptz", [{"shop": "a", "amount": "4", "made": march(9)}])

    class Sales(Rollup):
        amount = Sum(ground.table("sale"), "amount::bigint", at="made")

    ground.define(Sales)
    ground.fold()
    ground.source("INSERT INTO sale VALUES ('a', 'a lot', TIMESTAMPTZ '2026-03-10 12:00:00+00')")
    answer = ground.answer("Sales", first=9, last=10, live=True)
    assert [one["amount"] for one in answer.rows] == [4, 0]
    assert answer.provisional == []
    assert "a lot" not in str(answer.stale)


def test_an_edited_definition_is_refused(ground: Ground) -> None:
    """Rows of two definitions do not add up."""
    ground.load("sale", DDL, ROWS)
    ground.define(sales(ground))
    ground.fold()
    ground.define(sales(ground, least=Sum(ground.table("sale"), "amount", at="made")))
    with pytest.raises(QueryRefused) as refused:
        ground.answer("Sales", "total", live=True)
    assert str(refused.value) == (
        "The definition of Sales was edited since it was folded, so that rows computed now do not fit the stored ones.\n"
        "  Run: dayfold fold Sales"
    )


def test_an_answer_that_takes_too_long_is_refused(ground: Ground) -> None:
    """The limit is named, and what to do; nothing is left behind, and the next answer is given."""
    ground.load("sale", DDL, ROWS)
    ground.config["query"] = {"live_s": 0.3}
    slow = Table(
        sql="select s.shop, s.amount, s.made, (select count(*) from sale as a, generate_series(1, 400000) as b(n), "
        "generate_series(1, 400000) as c(n) where (a.id + b.n * c.n + s.id) % 7 = 3) as work from sale as s",
        database=ground.pairing.database,
    )
    if engine_of(ground.pairing.source) == "clickhouse":
        slow = Table(
            sql="select s.shop as shop, s.amount as amount, s.made as made, toInt64((s.id + b.number * c.number) % 7) as work "
            "from sale as s cross join numbers(400000) as b cross join numbers(400000) as c",
            database=ground.pairing.database,
        )

    class Slow(Rollup):
        work = Sum(slow, "work", at="made")

    ground.define(Slow, sales(ground))
    with pytest.raises(QueryRefused) as refused:
        ground.opened.query("Slow", ["work"], from_="2026-03-09", to="2026-03-12", live=True)
    assert str(refused.value) == (
        "The live answer takes longer than 0.3 s: too much of Slow would be computed now.\n"
        "  Fold first: dayfold fold Slow. Or ask for a shorter range or fewer keys, or raise [query] live_s."
    )
    ground.config["query"] = {}
    ground.define(sales(ground))
    assert ground.ask("Sales", "total", first=9, last=9, live=True) == [{"day": D(2026, 3, 9), "total": 2}]


def test_a_rollup_over_a_rollup_is_computed_from_its_rows(store: Ground) -> None:
    """The lower one's rows stand as they were folded; its publication marks the cells above it."""
    store.load("sale", DDL, ROWS)
    lower = sales(store)

    class All(Rollup):
        total = Sum(lower, "total", at="day")
        people = Distinct(lower, "people", at="day")

    store.define(lower, All)
    store.fold()
    store.insert("sale", [row(8, "a", 9, who="dan")])
    store.opened.fold(["Sales"])
    [one] = store.ask("All", first=9, last=9, live=True)
    assert (one["total"], one["people"]) == (3, 3)
    [gap] = store.answer("All", "total", first=9, last=9, live=True).provisional
    assert gap.reason == "some cells changed since they were folded; computed from Sales as last folded"


@pytest.mark.parametrize(
    "pairing", ["duckdb-same", "postgres-to-duckdb", "postgres-same", "postgres-databases"], indirect=True
)
def test_triggers_tell_which_cells_are_live(ground: Ground) -> None:
    """Logged beside the source and collected by nobody yet, or in the ledger: both are seen; no day is looked back to."""
    ground.load("sale", DDL, ROWS)
    app = ground.define(sales(ground, changes="trigger"))
    app.fold()
    app.track_install()
    ground.fold()
    ground.source("UPDATE sale SET made = TIMESTAMPTZ '2026-03-05 12:00:00+00', shop = 'b' WHERE id = 2")
    ground.source("DELETE FROM sale WHERE id = 3")
    held = stored(ground)
    live = told(ground, QUESTIONS, live=True)
    answer = ground.answer("Sales", "total", first=1, last=11, live=True)
    assert [str(gap.days) for gap in answer.provisional] == ["2026-03-05", "2026-03-09"]
    assert stored(ground) == held
    ground.fold()
    same(live, told(ground, QUESTIONS))
