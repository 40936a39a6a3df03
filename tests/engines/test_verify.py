"""Verify finds whatever makes stored cells differ from their sources, says what it is, and heals it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from dayfold import Avg, Count, Distinct, Gauge, Max, Min, Rollup, Sum, Table
from dayfold.days import Days
from dayfold.fold import contrast, verify
from dayfold.memo import Memo
from dayfold.plan import bind, dialect, moments, scan
from dayfold.plan import sql as statements
from dayfold.plan.publish import Publication
from dayfold.plan.shape import Column
from dayfold.plan.sql import sql
from tests.engines import test_moments
from tests.engines.ground import Ground, march


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault shows in every statement, also in those that were printed before it was planted."""
    monkeypatch.setattr(statements, "_texts", Memo(100))


DDL = "id bigint, shop bigint, amount numeric(12,2), weight double precision, who text, made timestamptz"


def row(
    number: int, shop: int | None, day: int, amount: int = 1, who: str | None = "ann", hour: int = 12
) -> dict[str, Any]:
    return {"id": number, "shop": shop, "amount": amount, "weight": amount / 7, "who": who, "made": march(day, hour)}


ROWS = [
    row(1, 1, 1),
    row(2, 1, 10, 3),
    row(3, 2, 10, 4, "bob"),
    row(4, 2, 11, 5, "cat"),
    row(5, None, 11, 6, None),
    row(6, None, 10, 7),
    row(7, 1, 10, 9, "bob", 13),
    row(8, 1, 12, 9),
]


def sales(ground: Ground, **attributes: Any) -> type[Rollup]:
    sale = ground.table("sale")

    class Sales(Rollup):
        key = "shop"
        lookback = 5
        total = Count(sale, at="made")
        large = Count(sale, at="made", where="amount > 4")
        amount = Sum(sale, "amount", at="made")
        weight = Sum(sale, "weight", at="made", scale=4)
        mean = Avg(sale, "amount", at="made", where="amount > 3")
        least = Min(sale, "amount", at="made")
        name = Max(sale, "who", at="made")
        heaviest = Max(sale, "weight", at="made")
        latest = Max(sale, "made", at="made")
        level = Gauge(sale, "amount", at="made")
        people = Distinct(sale, "who", at="made")

    return type("Sales", (Sales,), attributes) if attributes else Sales


def fold_sales(ground: Ground) -> Ground:
    ground.load("sale", DDL, ROWS)
    ground.define(sales(ground))
    ground.fold()
    return ground


@pytest.fixture
def folded(ground: Ground) -> Ground:
    return fold_sales(ground)


def verified(ground: Ground, **how: Any) -> Any:
    """The one result of a verification that met no error."""
    [result] = ground.opened.verify(**how)
    assert result.error is None, result.error
    return result


def seen(result: Any) -> set[tuple[Any, ...]]:
    """The drifts by key, day, metric and class."""
    return {(one.key.get("shop"), one.day.day, one.metric, one.part, one.reason) for one in result.drifts}


def test_folded_cells_are_proved(folded: Ground) -> None:
    """Every kind of metric, NULL keys and NULL values: nothing is called drift that is none."""
    result = verified(folded)
    assert (result.drifted, result.drifts) == (0, [])
    assert (result.days, result.cells) == (11, 6)
    assert result.left_out == {"open days": 1}
    assert result.is_proved


@pytest.mark.parametrize("pairing", ["duckdb-to-postgres", "postgres-to-duckdb", "postgres-databases"], indirect=True)
def test_only_rows_of_days_whose_totals_differ_travel(folded: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between databases a day is compared by its totals first, which both engines compute alike."""
    asked: list[str] = []
    whole = contrast.Contraster._parts

    def parts(self: Any, near: Any, far: Any, ranges: Any, salt: Any) -> Any:
        asked.extend(map(str, ranges))
        return whole(self, near, far, ranges, salt)

    monkeypatch.setattr(contrast.Contraster, "_parts", parts)
    assert verified(folded).cells == 6
    assert asked == []
    folded.stored("UPDATE sales SET total = 9 WHERE shop = 2 AND day = DATE '2026-03-11'")
    result = verified(folded)
    assert (result.drifted, result.cells, asked) == (1, 6, ["2026-03-11"])


TAMPERED = [
    ("UPDATE sales SET total = 9 WHERE shop = 2 AND day = DATE '2026-03-11'", (2, 11, "total", None)),
    ("UPDATE sales SET amount = 9 WHERE shop IS NULL AND day = DATE '2026-03-11'", (None, 11, "amount", None)),
    ("UPDATE sales SET mean__sum = 0 WHERE shop = 2 AND day = DATE '2026-03-10'", (2, 10, "mean", "sum")),
    ("UPDATE sales SET mean__count = 7 WHERE shop = 2 AND day = DATE '2026-03-10'", (2, 10, "mean", "count")),
    ("UPDATE sales SET weight = weight + 0.0001 WHERE shop = 1 AND day = DATE '2026-03-01'", (1, 1, "weight", None)),
    ("UPDATE sales SET least = NULL WHERE shop = 1 AND day = DATE '2026-03-01'", (1, 1, "least", None)),
    ("UPDATE sales SET heaviest = 2.5 WHERE shop = 1 AND day = DATE '2026-03-01'", (1, 1, "heaviest", None)),
    ("UPDATE sales SET name = 'zoe' WHERE shop = 1 AND day = DATE '2026-03-10'", (1, 10, "name", None)),
    ("UPDATE sales SET level = 3 WHERE shop = 1 AND day = DATE '2026-03-10'", (1, 10, "level", None)),
    ("UPDATE sales SET people = 3 WHERE shop = 1 AND day = DATE '2026-03-10'", (1, 10, "people", None)),
    ("UPDATE sales SET latest = TIMESTAMPTZ '2026-03-01 12:00:00.000001+00' WHERE day = DATE '2026-03-01'", (1, 1, "latest", None)),
]  # fmt: skip


@pytest.mark.in_turn
@pytest.mark.parametrize(("statement", "where"), TAMPERED, ids=[" ".join(map(str, where)) for _, where in TAMPERED])
def test_a_tampered_value_is_found_named_and_healed(store: Ground, statement: str, where: tuple[Any, ...]) -> None:
    """Within the lookback and before it, whatever the metric; then the table is as it was."""
    fold_sales(store)
    whole = "SELECT * FROM sales ORDER BY shop, day"
    before = [values[:-2] for values in store.stored(whole)]
    store.stored(statement)
    result = verified(store)
    assert seen(result) == {(*where, "stored row changed outside a fold")}
    assert (result.drifted, result.is_proved) == (1, False)
    result = verified(store, heal=True)
    assert (result.drifted, result.healed, result.is_proved) == (1, 1, True)
    assert [one.healed for one in result.drifts] == [True]
    assert verified(store).drifted == 0
    assert [values[:-2] for values in store.stored(whole)] == before


def test_a_tampered_set_is_found_and_healed(folded: Ground) -> None:
    """The number in the row is right; the set behind it, which wider answers come from, is not."""
    folded.stored("UPDATE sales__sets SET people = $1 WHERE shop = 2 AND day = DATE '2026-03-11'", [[77]])
    assert seen(verified(folded)) == {(2, 11, "people", "set", "source has other facts")}
    assert verified(folded, heal=True).is_proved
    assert verified(folded).drifted == 0


def test_missing_and_extra_rows_and_sets_are_found_and_healed(folded: Ground) -> None:
    """A row that somebody deleted, a row that nobody folded, a set without a row."""
    columns = "shop, day, total, large, amount, weight, mean__sum, mean__count, people, created_at, updated_at, run_id"
    folded.stored("DELETE FROM sales WHERE shop IS NULL AND day = DATE '2026-03-10'")
    folded.stored(
        f"INSERT INTO sales ({columns}) SELECT 99, day, 0, 0, 0, 0, 0, 0, 0, created_at, updated_at, run_id "
        "FROM sales WHERE day = DATE '2026-03-01'"
    )
    folded.stored("INSERT INTO sales__sets (shop, day, people) VALUES (98, DATE '2026-03-02', $1)", [[5]])
    result = verified(folded)
    assert {(one.key["shop"], one.day.day) for one in result.drifts} == {(None, 10), (99, 1), (98, 2)}
    assert result.drifted == 3
    missing = [(one.stored, one.actual) for one in result.drifts if one.key["shop"] is None and one.metric == "total"]
    assert missing == [(None, 1)]
    assert verified(folded, heal=True).healed == 3
    assert verified(folded).drifted == 0
    assert folded.stored("SELECT count(*) FROM sales") == [(7,)]
    assert folded.stored("SELECT count(*) FROM sales__sets WHERE shop >= 98") == [(0,)]


def test_a_source_row_deleted_behind_an_untracked_tables_back_is_found_and_healed(ground: Ground) -> None:
    """A hundred days old, far beyond the lookback: no fold would ever look at it."""
    old = march(1) - dt.timedelta(days=100)
    ground.load("sale", DDL, [*ROWS, {**row(9, 1, 1, 2), "made": old}, {**row(10, 2, 1, 2), "made": old}])
    ground.define(sales(ground))
    ground.fold()
    ground.source("DELETE FROM sale WHERE id = 9")
    ground.fold()
    result = verified(ground, budget_s=600)
    assert {(one.key["shop"], one.day, one.reason) for one in result.drifts} == {
        (1, old.date(), "source has fewer facts")
    }
    assert verified(ground, budget_s=600, heal=True).is_proved
    assert verified(ground, budget_s=600).drifted == 0
    assert ground.stored("SELECT shop FROM sales WHERE day = $1", [old.date()]) == [(2,)]


def test_the_class_says_whether_the_source_has_more_fewer_or_other_facts(store: Ground) -> None:
    """What happened to the source tells where to look for the cause."""
    fold_sales(store)
    store.insert("sale", [row(20, 3, 2)])
    store.source("DELETE FROM sale WHERE id = 7")
    store.source("UPDATE sale SET amount = 4.5 WHERE id = 4")
    reasons = {(one.key["shop"], one.day.day): one.reason for one in verified(store).drifts}
    assert reasons == {
        (3, 2): "source has more facts",
        (1, 10): "source has fewer facts",
        (2, 11): "source has other facts",
    }


def test_cells_that_wait_to_be_folded_are_no_drift(ground: Ground) -> None:
    """A change that a cursor tells is discovered first; the next fold brings it, not the healing."""
    stamped = {"stamp": dt.datetime(2026, 3, 12, tzinfo=dt.UTC)}
    ground.load("sale", DDL + ", stamp timestamptz", [one | stamped for one in ROWS])
    sale = ground.table("sale", changes="stamp")

    class Sales(Rollup):
        key = "shop"
        total = Count(sale, at="made")

    ground.define(Sales)
    ground.fold()
    ground.source("UPDATE sale SET stamp = now() - interval '1 hour'")
    ground.fold()
    ground.insert("sale", [row(30, 1, 1) | {"stamp": dt.datetime.now(dt.UTC)}])
    ground.source("DELETE FROM sale WHERE id = 4")
    result = verified(ground)
    assert seen(result) == {(2, 11, "total", None, "source has fewer facts")}
    assert result.left_out["marks of cells"] >= 1


def test_open_and_failed_days_are_left_out(store: Ground) -> None:
    """Today is not over; a day whose source could not be read has numbers that are known to be old."""
    store.load("sale", DDL + ", said text", [one | {"said": str(one["id"])} for one in ROWS])
    sale = store.table("sale", columns={"number": "said::bigint"})

    class Sales(Rollup):
        lookback = 3
        amount = Sum(sale, "number", at="made")

    store.define(Sales)
    store.fold()
    store.source("UPDATE sale SET said = 'x' WHERE id = 5")
    assert store.opened.fold()[0].status == "partial"
    result = verified(store)
    assert result.drifted == 0
    assert result.left_out["failed days"] >= 1
    assert result.days + sum(result.left_out.values()) == 12


def test_a_source_that_cannot_be_computed_is_an_error_without_its_values(store: Ground) -> None:
    """Nothing is called proved that could not be compared."""
    fold_sales(store)
    store.source("UPDATE sale SET weight = CAST('NaN' AS double precision) WHERE id = 1")
    [result] = store.opened.verify()
    assert not result.is_proved
    assert result.error is not None
    assert store.label("sale") in result.error
    assert "nan" not in result.error.lower()


def test_each_call_goes_on_where_the_last_one_ended(store: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently verified days come first, and never verified ones before them."""
    monkeypatch.setattr(verify, "_FIRST_DAYS", 4)
    fold_sales(store)
    newest = (
        "SELECT day FROM dayfold_verifications WHERE verified_at = (SELECT max(verified_at) FROM dayfold_verifications)"
    )
    seen_days = []
    for _ in range(4):
        assert verified(store, budget_s=0).days == 4
        seen_days.append([day.day for (day,) in store.stored(f"{newest} ORDER BY day")])
        store.clock.instant += dt.timedelta(minutes=1)
    assert seen_days == [[8, 9, 10, 11], [4, 5, 6, 7], [1, 2, 3, 8], [4, 9, 10, 11]]


def test_a_range_and_a_sample_are_verified_whole(store: Ground) -> None:
    """A range has no budget but the one that is given; a sample has as many days as it says."""
    fold_sales(store)
    assert verified(store, from_="2026-03-02", to="2026-03-11").days == 10
    assert verified(store, sample=3).days == 3
    store.stored("UPDATE sales SET total = 9 WHERE shop = 1 AND day = DATE '2026-03-01'")
    assert verified(store, from_="2026-03-02", to="2026-03-11").drifted == 0
    assert verified(store, from_=dt.date(2026, 3, 1), to="2026-03-01").drifted == 1


def test_verifications_and_runs_are_recorded(store: Ground) -> None:
    """Each day with its cells and how many drifted; a verification is a run, and so is what heals."""
    fold_sales(store)
    store.stored("UPDATE sales SET total = 9 WHERE shop = 2 AND day = DATE '2026-03-10'")
    result = verified(store)
    known = "SELECT cells, drifted, run_id FROM dayfold_verifications WHERE day = DATE '2026-03-10'"
    assert store.stored(known) == [(3, 1, result.run_id)]
    verified(store, heal=True)
    assert store.stored(known)[0][:2] == (3, 0)
    jobs = store.stored("SELECT job, status FROM dayfold_runs ORDER BY id")
    assert jobs == [("fold", "done"), ("verify", "failed"), ("verify", "failed"), ("heal", "done")]


def test_a_definition_that_was_edited_is_said_and_healed_by_a_fold(store: Ground) -> None:
    """The stored rows are those of another definition: there is nothing to compare them with."""
    fold_sales(store)
    sale = store.table("sale")

    class Sales(Rollup):
        key = "shop"
        total = Count(sale, at="made", where="amount > 4")

    store.define(Sales)
    result = verified(store)
    assert ([one.reason for one in result.drifts], result.days, result.is_proved) == (["definition"], 0, False)
    assert verified(store, heal=True).is_proved
    assert verified(store).drifted == 0


def test_sealed_days_are_compared_with_their_receipts(store: Ground) -> None:
    """Their source rows may be gone; a stored row that was changed is found, and cannot be healed."""
    fold_sales(store)
    store.stored("UPDATE dayfold__coverage SET state = 'sealed' WHERE day <= DATE '2026-03-10'")
    store.source("DELETE FROM sale WHERE made < TIMESTAMPTZ '2026-03-11 00:00:00+00'")
    assert verified(store).is_proved
    store.stored("UPDATE sales SET total = 9 WHERE shop = 1 AND day = DATE '2026-03-01'")
    result = verified(store, heal=True)
    assert [(one.day.day, one.reason, one.healed) for one in result.drifts] == [
        (1, "stored row changed outside a fold", False)
    ]
    assert "sealed" in result.drifts[0].note
    assert (result.healed, result.is_proved) == (0, False)


@pytest.mark.in_turn
@pytest.mark.parametrize(
    ("pairing", "grain"),
    [("duckdb-same", "day"), ("postgres-same", "day"), ("duckdb-same", "hour"), ("postgres-same", "hour"),
     ("postgres-to-duckdb", "hour"), ("duckdb-to-postgres", "hour")],
    indirect=["pairing"],
)  # fmt: skip
@pytest.mark.parametrize("around", ["2026-03-29", "2026-10-25"])
def test_every_kind_of_moment_is_proved(ground: Ground, grain: str, around: str) -> None:
    """Zones, offsets, epochs and dates across changes of clocks: facts stand where the fold put them."""
    change = dt.date.fromisoformat(around)
    rows = [one for one in test_moments.rows() if abs((one["calendar"] - change).days) < 4]
    ground.load("fact", test_moments.DDL, rows)
    ground.clock.instant = dt.datetime.combine(change, dt.time(12), dt.UTC) + dt.timedelta(days=4)
    moments = test_moments.MOMENTS | ({"calendar": "calendar"} if grain == "day" else {})
    fact = ground.table("fact")
    metrics: dict[str, Any] = {name: Count(fact, at=at) for name, at in moments.items()}
    metrics |= {f"{name}_level": Gauge(fact, "id", at=at) for name, at in moments.items()}
    ground.define(type("Moments", (Rollup,), {"grain": grain, **metrics}))
    ground.fold()
    result = verified(ground)
    assert (result.drifted, result.cells >= 3) == (0, True)
    day = f"day = DATE '{around}' AND NOT millis IS NULL"
    ground.stored(f"UPDATE moments SET millis = millis + 1 WHERE {day}")
    [(count,)] = ground.stored(f"SELECT count(*) FROM moments WHERE {day}")
    found = verified(ground, from_=around, to=around).drifts
    assert ({one.metric for one in found}, len(found)) == ({"millis"}, count)
    assert all((one.bucket is not None) == (grain == "hour") for one in found)


def test_queries_mapped_columns_and_several_sources_are_proved(ground: Ground) -> None:
    """A query's own SQL, names of the definition's own, keys of text; one row from three sources."""
    ddl = "place text, who text, made timestamptz"
    rows = [
        {"place": place, "who": who, "made": march(day)}
        for place, who, day in (("é", "a", 9), (None, "b", 9), ("", "c", 10))
    ]
    ground.load("visit", ddl, rows)
    ground.load("\"Order\"", "area text, paid_at timestamp, price bigint", [
        {"area": "é", "paid_at": dt.datetime(2026, 3, 9, 23, 59, 59, 999_999), "price": -3},
        {"area": "x", "paid_at": dt.datetime(2026, 3, 10), "price": 0},
    ])  # fmt: skip
    visit = ground.table("visit", columns={"shop": "place || '!'"})
    order = ground.table("Order", columns={"shop": "area || '!'", "cents": "price * 100"})
    database = ground.pairing.database
    first = Table(sql="select place || '!' as shop, min(made) as made from visit group by place", database=database)

    class Shops(Rollup):
        key = "shop"
        visits = Count(visit, at="made")
        people = Distinct(visit, "who", at="made")
        cents = Sum(order, "cents", at="paid_at")
        opened = Count(first, at="made")

    ground.define(Shops)
    ground.fold()
    assert verified(ground).drifted == 0
    ground.source("UPDATE \"Order\" SET paid_at = TIMESTAMP '2026-03-10 00:00:00' WHERE price = -3")
    assert {(one.day.day, one.metric) for one in verified(ground).drifts} >= {(9, "cents"), (10, "cents")}
    assert verified(ground, heal=True).is_proved


def test_a_rollup_of_a_rollup_is_proved_by_the_rows_below_it(ground: Ground) -> None:
    """Sums of rows and unions of sets; what the healing below changes waits above, and is folded next."""
    ground.load("sale", DDL, ROWS)
    lower = sales(ground)

    class Months(Rollup):
        day_column = "month_day"
        amount = Sum(lower, "amount", at="month")
        people = Distinct(lower, "people", at="month")

    class Days(Rollup):
        amount = Sum(lower, "amount", at="day")
        people = Distinct(lower, "people", at="day")

    ground.define(lower, Months, Days)
    ground.fold()
    assert [(one.rollup, one.drifted, one.error) for one in ground.opened.verify()] == [
        ("Sales", 0, None), ("Months", 0, None), ("Days", 0, None),
    ]  # fmt: skip
    ground.stored("UPDATE days__sets SET people = $1 WHERE day = DATE '2026-03-10'", [[1, 2]])
    ground.stored("UPDATE sales SET amount = 77 WHERE shop = 2 AND day = DATE '2026-03-11'")
    found = {one.rollup: one for one in ground.opened.verify(heal=True)}
    assert [(one.day.day, one.metric, one.part) for one in found["Days"].drifts] == [(10, "people", "set")]
    assert all(one.is_proved for one in found.values())
    ground.fold()
    assert [one.drifted for one in ground.opened.verify()] == [0, 0, 0]


def _without_filters(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bind, "_filtered", lambda aggregate, where: aggregate)


def _first_filter_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        bind.Scan, "common_filter", property(lambda self: next(one for one in self.filters if one is not None))
    )


def _range_too_short(patch: pytest.MonkeyPatch) -> None:
    whole = moments.BoundMoment.within

    def within(self: Any, days: Days, values: Any) -> Any:
        return whole(self, Days(min(days.first + dt.timedelta(days=1), days.last), days.last), values)

    patch.setattr(moments.BoundMoment, "within", within)


def _facts_a_day_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(moments.BoundMoment, "bucket", lambda self, minutes: sql("_d + 1", _d=self.day))


def _wrong_key(patch: pytest.MonkeyPatch) -> None:
    whole = bind._Binder._key_tree
    patch.setattr(bind._Binder, "_key_tree", lambda *given: sql("coalesce(_k, 0)", _k=whole(*given)))


def _zeros_left_null(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Column, "filled", lambda self, tree, day: tree)


def _earliest_level(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(
        dialect.PIECES,
        "last_value",
        dialect.Spelling("ARG_MIN(_x, _at)", "(ARRAY_AGG(_x ORDER BY _at))[1]", "argMin(_x, _at)"),
    )


def _set_of_all_facts(patch: pytest.MonkeyPatch) -> None:
    whole = scan._hashes
    patch.setattr(scan, "_hashes", lambda one, part, salt: whole(one, dataclasses.replace(part, where=None), salt))


def _rounded_too_far(patch: pytest.MonkeyPatch) -> None:
    whole = bind._Binder._exact

    def exact(self: Any, on: Any, metric: Any, value: Any, where: Any) -> Any:
        metric.scale, kept = (2 if metric.scale else None), metric.scale
        try:
            return whole(self, on, metric, value, where)
        finally:
            metric.scale = kept

    patch.setattr(bind._Binder, "_exact", exact)


FAULTS = [
    _without_filters, _first_filter_for_all, _range_too_short, _facts_a_day_late, _wrong_key, _zeros_left_null,
    _earliest_level, _set_of_all_facts, _rounded_too_far,
]  # fmt: skip


@pytest.mark.in_turn
@pytest.mark.parametrize("plant", FAULTS, ids=[fault.__name__.strip("_") for fault in FAULTS])
def test_a_fault_in_the_sql_of_the_fold_is_found(
    store: Ground, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """The comparison is made by other SQL: the fault is there while it verifies, too."""
    store.load("sale", DDL, [*ROWS, row(40, 0, 11), row(41, 0, 10, 2, "dan")])
    sale = store.table("sale")

    class Sales(Rollup):
        key = "shop"
        large = Count(sale, at="made", where="amount > 4")
        level = Gauge(sale, "amount", at="made")
        people = Distinct(sale, "who", at="made", where="amount > 3")
        weight = Sum(sale, "weight", at="made", scale=4, where="amount > 3")

    plant(monkeypatch)
    store.define(Sales)
    store.fold()
    result = verified(store)
    assert result.drifted > 0


def _nothing_deleted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Publication, "_kept", lambda self, of: sql("true"))


def _nothing_updated(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Publication, "_at_place", lambda self, op: sql("false"))


def _cells_on_another_day(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(moments.BoundMoment, "on_day", lambda self, day: sql("_d = _x + 1", _d=self.day, _x=day))


@pytest.mark.parametrize("plant", [_nothing_deleted, _nothing_updated], ids=["nothing deleted", "nothing updated"])
def test_a_fault_in_the_publication_is_found(
    folded: Ground, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Rows that should have gone, or changed, with the fold that saw their source change."""
    plant(monkeypatch)
    folded.source("DELETE FROM sale WHERE id = 4")
    folded.source("UPDATE sale SET amount = 5 WHERE id = 2")
    folded.fold()
    assert verified(folded).drifted > 0


def test_a_fault_in_the_fold_of_cells_is_found(store: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Healing by a fold that is wrong heals nothing, and says so."""
    fold_sales(store)
    store.stored("UPDATE sales SET total = 5 WHERE shop = 1 AND day = DATE '2026-03-01'")
    _cells_on_another_day(monkeypatch)
    result = verified(store, heal=True)
    assert (result.drifted, result.healed, result.is_proved) == (1, 0, False)
