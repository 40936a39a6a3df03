"""Where one number comes from: its SQL runs, its facts are the facts, and what is said of it is so."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any

import pytest

from dayfold import Avg, Count, Distinct, Gauge, Ratio, Rollup, Sum
from dayfold.engines.clickhouse import ClickHouse
from dayfold.errors import QueryRefused, UnknownName, UsageError
from dayfold.plan.access import Scope
from tests.engines.ground import NOW, Ground, march
from tests.sql import engine_of, rows_of, run_sql

pytestmark = pytest.mark.in_turn

D = dt.date
DDL = "id bigint, shop text, amount numeric(12,2), who text, state text, made timestamptz, stamped timestamp, born date"


def row(
    number: int, shop: str | None, day: int, amount: int = 1, who: str = "ann", state: str = "paid"
) -> dict[str, Any]:
    made = march(day, number % 24)
    naive = made.replace(tzinfo=None)
    return {"id": number, "shop": shop, "amount": amount, "who": who, "state": state, "made": made, "stamped": naive,
            "born": D(1990, 1, 1)}  # fmt: skip


ROWS = [
    row(1, "a", 9, 5),
    row(2, "a", 9, 7, "bob"),
    row(3, "a", 9, 2, "cat", "open"),
    row(4, "b", 9, 11),
    row(5, None, 10, 3),
    row(6, "a", 11, 4),
]


def sales(ground: Ground, **attributes: Any) -> type[Rollup]:
    sale = ground.table("sale")
    metrics = {
        "total": Count(sale, at="made"),
        "paid": Count(sale, at="made", where="state = 'paid'"),
        "revenue": Sum(sale, "amount", at="made", where="state = 'paid'"),
        "people": Distinct(sale, "who", at="made"),
        "mean": Avg(sale, "amount", at="made"),
        "held": Gauge(sale, "amount", at="made", carry=True),
        "each": Ratio("revenue", "total"),
    }
    return type("Sales", (Rollup,), {"key": "shop", "lookback": 0, **metrics, **attributes})


@pytest.fixture
def folded(ground: Ground) -> Ground:
    ground.load("sale", DDL, ROWS)
    ground.define(sales(ground))
    ground.fold()
    return ground


def explained(ground: Ground, metric: str, day: int = 9, shop: str = "a", **more: Any) -> Any:
    return ground.opened.explain("Sales", metric, day=D(2026, 3, day), where=[f"shop={shop}"], **more)


def test_a_number_has_its_facts_its_row_and_its_run(folded: Ground) -> None:
    """Value, exactness, coverage, version, the run with its reason, the receipt of the day."""
    found = explained(folded, "revenue")
    assert (found.value, found.present, found.exact, found.stale, found.sealed) == (12, 12, True, False, False)
    assert (found.day, found.key, found.version, found.why) == (D(2026, 3, 9), {"shop": "a"}, 1, [])
    assert [(one.source, one.state, one.facts) for one in found.states] == [(folded.label("sale"), "folded", 4)]
    [part] = found.evidence
    assert (part.metric, part.source, part.total) == ("revenue", folded.label("sale"), 2)
    assert part.columns == ["id", "shop", "amount", "who", "state", "made", "stamped", "born"]
    assert [(one["id"], one["amount"], one["born"]) for one in part.rows] == [
        (1, 5, "1990-01-01"),
        (2, 7, "1990-01-01"),
    ]
    assert part.rows[0]["made"].startswith("2026-03-09 01:00:00")
    [written] = found.rows
    assert (written.slot, written.values) == ("2026-03-09", {"revenue": 12})
    [run] = found.runs
    assert (run.id, run.job, run.status, run.started_at) == (written.run_id, "fold", "done", "2026-03-12T12:00:00Z")
    assert run.reason == "fold of 2026-03-09 to 2026-03-12"
    assert (found.receipt.rows, found.receipt.origin, found.verification) == (2, "fold", None)
    [(fingerprint,)] = folded.stored("SELECT fingerprint FROM dayfold__rollups")
    assert found.fingerprint == fingerprint


@pytest.mark.parametrize("metric", ["total", "paid", "revenue", "people", "mean", "held"])
def test_the_sql_that_is_shown_computes_the_number(folded: Ground, metric: str) -> None:
    """Run as it stands with its parameters, past the product, it gives the value that is stored."""
    [part] = explained(folded, metric).evidence
    [(stored,)] = folded.stored(
        f"SELECT {'mean__sum' if metric == 'mean' else metric} FROM sales WHERE shop = 'a' AND day = DATE '2026-03-09'"
    )
    # A file that the store reads beside its own is named there by its database.
    text = part.sql.replace('"app"."main".', "")
    if engine_of(folded.pairing.source) == "clickhouse":
        with contextlib.closing(ClickHouse(rows_of(folded.pairing.source))) as store, store.transaction() as session:
            [result] = session.query(text, part.parameters)
    else:
        [result] = run_sql(folded.pairing.source, text, part.parameters)
    assert result[2] == stored


def test_the_key_of_the_store_is_not_shown(folded: Ground) -> None:
    """Hashes are salted with a secret; what stands in its place says so."""
    [(secret,)] = folded.stored("SELECT store_key FROM dayfold__store")
    found = explained(folded, "people")
    assert "(the store's key)" in found.evidence[0].parameters
    assert secret not in repr(found.as_object())


def test_a_ratio_shows_its_parts(folded: Ground) -> None:
    """Each with its value, its SQL and its own facts."""
    found = explained(folded, "each")
    assert (found.value, found.parts, found.present_parts) == (
        4.0,
        {"revenue": 12, "total": 3},
        {"revenue": 12, "total": 3},
    )
    assert [(one.metric, one.total) for one in found.evidence] == [("revenue", 2), ("total", 3)]


def test_facts_are_paged_in_an_order(folded: Ground) -> None:
    """Pages together are all facts once, also those of one moment."""
    folded.insert("sale", [row(25, "a", 9, n) | {"id": 100 + n} for n in range(5)])
    pages = [explained(folded, "total", limit=3, offset=offset).evidence[0] for offset in (0, 3, 6, 9)]
    assert [(one.total, one.offset, len(one.rows)) for one in pages] == [(8, 0, 3), (8, 3, 3), (8, 6, 2), (8, 9, 0)]
    assert sorted(one["id"] for page in pages for one in page.rows) == [1, 2, 3, 100, 101, 102, 103, 104]


def test_a_cell_of_no_shop_is_named_by_nothing(folded: Ground) -> None:
    """``shop=`` is NULL; its facts and marks are found."""
    mark(folded, "[null]", D(2026, 3, 10))
    found = explained(folded, "total", 10, "")
    assert (found.value, found.key, found.stale, found.evidence[0].total) == (1, {"shop": None}, True, 1)


def mark(ground: Ground, key: str | None, day: D | None) -> None:
    ground.stored(
        "INSERT INTO dayfold__marks (id, rollup, version, key, day, marked_at, reason) VALUES (1, 'Sales', 1, $1, $2, $3, 'sale: update')",
        [key, day, NOW],
    )


@pytest.mark.parametrize(("key", "day"), [('["a"]', D(2026, 3, 9)), (None, D(2026, 3, 9)), (None, None)])
def test_a_stale_cell_has_both_numbers_and_the_marks_between(folded: Ground, key: str | None, day: D | None) -> None:
    """What is stored, what the source says now, and what was reported in between; a fold makes them one."""
    folded.source("UPDATE sale SET amount = 100 WHERE id = 1")
    mark(folded, key, day)
    found = explained(folded, "revenue")
    assert (found.value, found.present, found.stale) == (12, 107, True)
    assert [(one.reason, one.marked_at) for one in found.marks] == [("sale: update", "2026-03-12T12:00:00Z")]
    assert found.why == ["The cell is stale: what it is made of was changed, and the next fold computes it anew."]
    [before] = found.runs
    assert not explained(folded, "revenue", shop="b").stale or key is None
    folded.fold()
    found = explained(folded, "revenue")
    assert (found.value, found.present, found.stale, found.marks) == (107, 107, False, [])
    [run] = found.runs
    assert run.id != before.id


def test_a_change_that_nobody_reported_is_seen(folded: Ground) -> None:
    """No mark, another number: that is said."""
    folded.source("DELETE FROM sale WHERE id = 2")
    found = explained(folded, "revenue")
    assert (found.value, found.present, found.stale) == (12, 5, False)
    assert found.why == ["The source gives another number now, and nothing has reported a change."]


def test_a_sealed_day_is_its_receipt(folded: Ground) -> None:
    """No source is read: its rows may be gone, and the table too."""
    folded.stored("UPDATE dayfold__coverage SET state = 'sealed' WHERE day = DATE '2026-03-09'")
    folded.stored("UPDATE dayfold__receipts SET origin = 'adopted from old_sales' WHERE day = DATE '2026-03-09'")
    folded.source("DROP TABLE sale")
    found = explained(folded, "revenue")
    assert (found.value, found.sealed, found.computed) == (12, True, False)
    assert found.unknown == "the day is sealed, so that its sources are not consulted"
    assert (found.receipt.rows, found.receipt.origin) == (2, "adopted from old_sales")
    assert found.receipt.digest
    assert [(one.read, one.rows, one.reason) for one in found.evidence] == [(False, [], "the day is sealed")]
    assert found.why == [
        "The day is sealed: it is never computed again. What it holds came from adopted from old_sales."
    ]


@pytest.mark.parametrize(
    ("metric", "value", "why"),
    [
        ("total", 0, "The day is covered and the cell has no row: no fact counts for it, which is 0."),
        ("people", 0, "The day is covered and the cell has no row: no fact counts for it, which is 0."),
        (
            "mean",
            None,
            "The day is covered and the cell has no row: no fact counts for it, and the mean of nothing is null.",
        ),
        (
            "each",
            None,
            "The day is covered and the cell has no row: no fact counts for it, and the ratio of nothing is null.",
        ),
        ("held", 11, "The cell has no row: the level is carried from an earlier day."),
    ],
)
def test_a_covered_day_without_a_row_says_why(folded: Ground, metric: str, value: Any, why: str) -> None:
    """Zero or null, after what the metric is."""
    found = explained(folded, metric, 11, "b")
    assert (found.value, found.present, found.why, found.rows, found.runs) == (value, value, [why], [], [])


@pytest.mark.parametrize(
    ("day", "reason"),
    [(8, "before the history, which starts on 2026-03-09"), (13, "in the future")],
)
def test_a_day_that_is_not_covered_says_why(folded: Ground, day: int, reason: str) -> None:
    """There is no number, and that is not zero."""
    found = explained(folded, "total", day)
    assert (found.value, found.why) == (None, [f"There is no number: {reason}."])
    assert [(one.state, one.reason) for one in found.states] == [(None, reason)]


def test_a_source_that_cannot_be_read_is_no_failure_of_the_explanation(folded: Ground) -> None:
    """What is stored is explained; what is not known has its reason."""
    folded.source("DROP TABLE sale")
    found = explained(folded, "revenue")
    assert (found.value, found.computed, found.evidence[0].read) == (12, False, False)
    assert found.unknown.startswith(f"{folded.label('sale')} cannot be read: ")
    assert found.unknown == f"{folded.label('sale')} cannot be read: {found.evidence[0].reason}"


def test_what_a_failure_says_is_not_told_to_whoever_may_not_see_all_rows(folded: Ground) -> None:
    """It may speak of the rows of others."""
    folded.source("DROP TABLE sale")
    found = explained(folded, "revenue", scope=Scope.of(None, {"shop": ["a"]}))
    assert (found.value, found.computed) == (12, False)
    assert found.unknown == f"{folded.label('sale')} cannot be read"
    assert [(one.read, one.reason) for one in found.evidence] == [(False, "the source cannot be read")]


def test_a_value_that_cannot_be_computed_with_is_never_shown_in_a_reason(store: Ground) -> None:
    """The facts are the answer; the reason tells only what kind of thing is wrong."""
    store.load("sale", "shop text, amount text, made timestamptz", [{"shop": "a", "amount": "4", "made": march(9)}])
    store.define(
        type("Sales", (Rollup,), {"key": "shop", "amount": Sum(store.table("sale"), "amount::bigint", at="made")})
    )
    store.fold()
    store.source("UPDATE sale SET amount = 'a lot'")
    found = explained(store, "amount")
    assert (found.value, found.computed) == (4, False)
    assert "a lot" not in str(found.unknown)


def test_the_last_verification_is_told(folded: Ground) -> None:
    """When, by which run, how many cells of the day, how many of them drifted."""
    folded.stored(
        "INSERT INTO dayfold__verifications (rollup, version, day, verified_at, run_id, cells, drifted) "
        "VALUES ('Sales', 1, $1, $2, 7, 2, 1)", [D(2026, 3, 9), NOW],
    )  # fmt: skip
    check = explained(folded, "total").verification
    assert (check.verified_at, check.run_id, check.cells, check.drifted) == ("2026-03-12T12:00:00Z", 7, 2, 1)
    assert explained(folded, "total", 10).verification is None


def test_a_finer_grain_shows_the_buckets_of_the_day(store: Ground) -> None:
    """A cell is the day; its stored rows are the buckets that have facts."""
    store.load("sale", DDL, ROWS)
    store.define(sales(store, grain="hour"))
    store.fold()
    found = explained(store, "total")
    assert (found.value, found.present, found.evidence[0].total) == (3, 3, 3)
    assert [(one.slot, one.values) for one in found.rows] == [
        (f"2026-03-09T0{hour}:00:00Z", {"total": 1}) for hour in (1, 2, 3)
    ]
    assert len(found.runs) == 1


def test_the_facts_of_a_rollup_over_a_rollup_are_the_rows_below(store: Ground) -> None:
    """The lower rollup's rows, with what they hold."""
    store.load("sale", DDL, ROWS)
    lower = sales(store)
    upper = type(
        "Platform", (Rollup,), {"total": Sum(lower, "total", at="day"), "people": Distinct(lower, "people", at="day")}
    )
    store.define(lower, upper)
    store.fold()
    found = store.opened.explain("Platform", "total", day=D(2026, 3, 9))
    [part] = found.evidence
    assert (found.value, found.present, part.total) == (4, 4, 2)
    assert [(one["shop"], one["day"], one["total"]) for one in part.rows] == [
        ("a", "2026-03-09", 3),
        ("b", "2026-03-09", 1),
    ]
    assert store.opened.explain("Platform", "people", day=D(2026, 3, 9)).present == 3


def test_the_document_for_programs_holds_everything(folded: Ground) -> None:
    """Its fields are there whatever the cell is."""
    found = explained(folded, "each").as_object()
    assert set(found) == {
        "rollup", "metric", "kind", "day", "key", "table", "value", "exact", "parts", "why", "version", "fingerprint",
        "coverage", "sealed", "stale", "stored", "runs", "marks", "verification", "receipt", "evidence", "present",
    }  # fmt: skip


def test_words_that_name_no_cell_are_refused(store: Ground) -> None:
    """A key is named wholly, each column once; a metric and a rollup by their names; what was never folded is said."""
    store.load("sale", DDL, ROWS)
    app = store.define(sales(store, key=("shop", "state")))
    day = D(2026, 3, 9)
    with pytest.raises(UsageError) as refused:
        app.explain("Sales", "total", day=day, where=["shop=a"])
    assert str(refused.value) == (
        "A cell of Sales is named by its whole key; state is missing.\n  Add: --where state=… (state= for NULL)"
    )
    for words in (["shop=a", "shop=b", "state=paid"], ["shop!=a", "state=paid"]):
        with pytest.raises(UsageError) as refused:
            app.explain("Sales", "total", day=day, where=words)
        assert str(refused.value) == (
            "A cell has one value of shop, and --where names another number of them.\n"
            '  Write key=value, key= for NULL, or key="" for the empty text.'
        )
    key = ["shop=a", "state=paid"]
    with pytest.raises(UnknownName, match="no metric 'totl'"):
        app.explain("Sales", "totl", day=day, where=key)
    with pytest.raises(QueryRefused, match="Sales was never folded"):
        app.explain("Sales", "total", day=day, where=key)
    with pytest.raises(UsageError, match="limit is from 1"):
        app.explain("Sales", "total", day=day, where=key, limit=0)
    store.fold()
    assert app.explain("Sales", "total", day=day, where=["state=paid", "shop=a"]).value == 2
