"""Questions by the hour, the same answers on every engine: zones, changes of clocks, levels, sets, and what is missing."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from dayfold import Avg, Count, Distinct, Gauge, Max, Ratio, Rollup, Sum
from dayfold.cli.query import write
from dayfold.errors import QueryRefused
from tests.engines.ground import Ground, march

D = dt.date
DDL = "shop text, amount bigint, who text, made timestamptz"


@pytest.fixture
def ground(store: Ground) -> Ground:
    """A question reads the store alone."""
    return store


def row(shop: str | None, made: dt.datetime, amount: int = 1, who: str = "ann") -> dict[str, Any]:
    return {"shop": shop, "amount": amount, "who": who, "made": made}


def sales(ground: Ground, rows: list[dict[str, Any]], grain: str = "hour", **metrics: Any) -> None:
    """Fold these rows by shop, counted and with these metrics."""
    ground.load("sale", DDL, rows)
    counted = {"total": Count(ground.table("sale"), at="made")}
    ground.define(type("Sales", (Rollup,), {"key": "shop", "grain": grain, **counted, **metrics}))
    ground.fold()


def utc(one: dict[str, Any]) -> dt.datetime:
    """The instant of a row's hour."""
    moment: dt.datetime = one["hour"]
    assert moment.tzinfo is not None
    return moment.astimezone(dt.UTC)


def test_every_hour_of_a_day_is_a_row(ground: Ground) -> None:
    """Zero where nothing happened; the day stands beside the hour."""
    rows = [row("a", march(9, 0)), row("a", march(9, 0, 59)), row("b", march(9, 23, 59)), row("b", march(10))]
    sales(ground, rows)
    answer = ground.answer("Sales", first=9, last=9, grain="hour")
    assert [(one["day"], utc(one)) for one in answer.rows] == [(D(2026, 3, 9), march(9, n)) for n in range(24)]
    assert [one["total"] for one in answer.rows] == [2, *[0] * 22, 1]
    assert (answer.missing, answer.partial) == ([], [])
    assert list(answer.rows[0]) == ["day", "hour", "total"]


@pytest.mark.parametrize("grain", ["hour", "15min"])
def test_hours_add_up_as_their_metrics_do(ground: Ground, grain: str) -> None:
    """Quarters of an hour and hours give the same: sums, means, extremes, united sets, the last level, ratios of sums."""
    sale = ground.table("sale")
    rows = [
        row("a", march(9, 8, 1), 5, "ann"),
        row("a", march(9, 8, 20), 7, "bob"),
        row("b", march(9, 8, 50), 3, "ann"),
        row("a", march(9, 9, 30), 1, "bob"),
    ]
    metrics = {
        "amount": Sum(sale, "amount", at="made"),
        "mean": Avg(sale, "amount", at="made"),
        "most": Max(sale, "amount", at="made"),
        "people": Distinct(sale, "who", at="made"),
        "level": Gauge(sale, "amount", at="made"),
        "held": Gauge(sale, "amount", at="made", carry=True),
        "each": Ratio("amount", "people"),
    }
    sales(ground, rows, grain, **metrics)
    names = ["total", *metrics]
    answer = ground.answer("Sales", *names, first=9, last=9, grain="hour")
    found = {utc(one).hour: tuple(one[name] for name in names) for one in answer.rows}
    assert found[7] == (0, 0, None, None, 0, None, None, None)
    assert found[8] == (3, 15, 5.0, 7, 2, 10, 10, 7.5)
    assert found[9] == (1, 1, 1.0, 1, 1, 1, 4, 1.0)
    assert found[10] == (0, 0, None, None, 0, None, 4, None)
    assert answer.exact["people"] is True


def test_hours_by_key_sorted_and_limited(ground: Ground) -> None:
    """Filters, groups, an order and a number of rows hold as for days."""
    rows = [row("a", march(9, 8)), row("a", march(9, 8)), row("b", march(9, 9)), row(None, march(9, 9))]
    sales(ground, rows)
    best = ground.ask("Sales", first=9, last=9, grain="hour", by=["shop"], sort="-total", limit=3)
    assert [(utc(one).hour, one["shop"], one["total"]) for one in best] == [(8, "a", 2), (9, None, 1), (9, "b", 1)]
    last = ground.ask("Sales", first=9, last=9, grain="hour", where=["shop=b"], sort="-hour", limit=1)
    assert [(utc(one).hour, one["total"]) for one in last] == [(23, 0)]


def test_days_of_change_of_clocks_have_23_and_25_hours(ground: Ground) -> None:
    """In London the hour that is skipped has no row, and the one that comes twice has two, each with its offset."""
    start = dt.datetime(2026, 3, 28, tzinfo=dt.UTC)
    ground.clock.instant = dt.datetime(2026, 10, 27, tzinfo=dt.UTC)
    sales(ground, [row("a", start + dt.timedelta(hours=n)) for n in range(24 * 213)])

    def asked(day: dt.date) -> list[dict[str, Any]]:
        question = ground.opened.query("Sales", from_=day, to=day, grain="hour", tz="Europe/London")
        return list(question.rows)

    spring, autumn = asked(D(2026, 3, 29)), asked(D(2026, 10, 25))
    assert [one["total"] for one in spring] == [1] * 23
    assert [one["total"] for one in autumn] == [1] * 25
    assert [one["hour"].isoformat() for one in spring[:3]] == [
        "2026-03-29T00:00:00+00:00", "2026-03-29T02:00:00+01:00", "2026-03-29T03:00:00+01:00",
    ]  # fmt: skip
    assert [one["hour"].isoformat() for one in autumn[:4]] == [
        "2026-10-25T00:00:00+01:00", "2026-10-25T01:00:00+01:00", "2026-10-25T01:00:00+00:00", "2026-10-25T02:00:00+00:00",
    ]  # fmt: skip
    assert {one["day"] for one in autumn} == {D(2026, 10, 25)}


def test_hours_of_kathmandu_begin_at_a_quarter_past(ground: Ground) -> None:
    """Its hours are cut from quarters: 18:15 UTC is its midnight."""
    rows = [
        row("a", march(9, 18, 14)),
        row("a", march(9, 18, 15)),
        row("b", march(9, 19, 14)),
        row("b", march(9, 19, 15)),
    ]
    sales(ground, rows, "15min", people=Distinct(ground.table("sale"), "who", at="made"))
    found = ground.ask("Sales", "total", "people", first=10, last=10, grain="hour", tz="Asia/Kathmandu")
    assert [(one["hour"].isoformat(), one["total"], one["people"]) for one in found[:3]] == [
        ("2026-03-10T00:00:00+05:45", 2, 1),
        ("2026-03-10T01:00:00+05:45", 1, 1),
        ("2026-03-10T02:00:00+05:45", 0, 0),
    ]


def test_hours_that_have_not_begun_are_null(ground: Ground) -> None:
    """It is 12:00 on the 12th: the hour that runs is known so far, later ones and later days are not."""
    sales(ground, [row("a", march(12, 11))])
    answer = ground.answer("Sales", first=12, last=13, grain="hour")
    totals = [one["total"] for one in answer.rows]
    assert totals == [0] * 11 + [1, 0] + [None] * 35
    assert [(str(gap.days), gap.reason) for gap in answer.missing] == [
        ("2026-03-12", "its later hours are in the future"),
        ("2026-03-13", "in the future"),
    ]
    ground.clock.instant = march(12, 13, 1)
    assert [one["total"] for one in ground.ask("Sales", first=12, last=12, grain="hour")][12:15] == [0, 0, None]


def test_hours_before_the_history_are_null_with_the_reason(ground: Ground) -> None:
    """A local day that lies half before the history has its later hours; the reason is that of the others."""
    sales(ground, [row("a", march(4, 10)), row("a", march(5, 2))])
    answer = ground.answer("Sales", first=4, last=4, grain="hour", tz="Asia/Tokyo")
    assert [one["total"] for one in answer.rows] == [None] * 9 + [0] * 10 + [1] + [0] * 4
    reason = "before the history, which starts on 2026-03-04"
    assert [(str(gap.days), gap.reason) for gap in answer.missing] == [("2026-03-04", reason)]


def test_hours_stand_beside_the_same_hours(ground: Ground) -> None:
    """Of the day before, by the clock: where an hour came twice, each has its own."""
    sales(ground, [row("a", march(9, 8)), row("b", march(9, 8)), row("a", march(10, 8)), row("a", march(10, 9))])
    answer = ground.answer("Sales", first=10, last=10, grain="hour", compare="previous")
    assert [one["total"] for one in answer.rows][7:11] == [0, 1, 1, 0]
    flat = answer.flat().to_pylist()
    assert (flat[8]["compared_day"], utc({"hour": flat[8]["compared_hour"]})) == (D(2026, 3, 9), march(9, 8))
    assert [one["total_compared"] for one in flat][7:11] == [0, 2, 0, 0]
    pair = answer.as_object()["compare"]["beside"][8]
    assert pair == {"hour": march(10, 8), "compared_hour": march(9, 8)}


def test_live_hours_are_computed_from_the_source(ground: Ground) -> None:
    """What came since the fold stands in its hour."""
    sales(ground, [row("a", march(12, 8))])
    ground.insert("sale", [row("a", march(12, 10))])
    live = ground.ask("Sales", first=12, last=12, grain="hour", live=True)
    assert [one["total"] for one in live][8:12] == [1, 0, 1, 0]


def test_hours_are_written_with_their_offset(
    ground: Ground, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same moments as text in JSON and CSV, as a typed column in Parquet, and short in the table for the eye."""
    sales(ground, [row("a", march(9, 8))])
    answer = ground.answer("Sales", first=9, last=9, grain="hour", tz="Europe/Paris", sort="-total", limit=1)
    for form in ("json", "csv", "parquet", "table"):
        write(answer, form, tmp_path / form)
    [found] = json.loads((tmp_path / "json").read_text())["rows"]
    assert found == {"day": "2026-03-09", "hour": "2026-03-09T09:00:00+01:00", "total": 1}
    assert (tmp_path / "csv").read_text().splitlines()[1] == '2026-03-09,"2026-03-09T09:00:00+01:00",1'
    kept = parquet.read_table(tmp_path / "parquet")
    assert str(kept.schema.field("hour").type) == "timestamp[us, tz=Europe/Paris]"
    assert "2026-03-09T09:00+01:00" in (tmp_path / "table").read_text()
    assert capsys.readouterr().out == ""


def test_hours_of_a_daily_rollup_are_refused(ground: Ground) -> None:
    """A day says nothing of its hours."""
    sales(ground, [row("a", march(9))], "day")
    with pytest.raises(QueryRefused) as refused:
        ground.ask("Sales", grain="hour")
    assert str(refused.value) == (
        'Sales keeps one number a day (grain = "day"), which says nothing of its hours.\n'
        '  Ask for days, or give the rollup a finer grain: grain = "hour".'
    )


def test_hours_cut_by_a_change_of_clocks_are_refused(ground: Ground) -> None:
    """Lord Howe Island moves its clocks by half an hour: the day of the change has no whole hours."""
    sales(ground, [row("a", march(9))], "15min")
    with pytest.raises(QueryRefused) as refused:
        ground.opened.query("Sales", from_="2026-04-04", to="2026-04-06", grain="hour", tz="Australia/Lord_Howe")
    assert str(refused.value) == (
        "The clocks of Australia/Lord_Howe change by a part of an hour on 2026-04-05, which has no whole hours.\n"
        "  Ask for days, or for a range on one side of it."
    )


def test_more_hours_than_anyone_wants_are_refused(ground: Ground) -> None:
    """Before anything is read."""
    sales(ground, [row("a", march(9))])
    with pytest.raises(QueryRefused) as refused:
        ground.opened.query("Sales", from_="1960-01-01", to="2026-03-09", grain="hour")
    assert str(refused.value) == (
        "The range has 580,200 hours; at most 500,000 are given at once.\n  Ask for a shorter range, or for days."
    )


def test_column_called_hour_leaves_no_room_for_the_hour(ground: Ground) -> None:
    """Two columns of one name would hide one another."""
    ground.load("sale", DDL, [row("a", march(9))])
    ground.define(type("Sales", (Rollup,), {"grain": "hour", "hour": Count(ground.table("sale"), at="made")}))
    ground.fold()
    with pytest.raises(QueryRefused) as refused:
        ground.ask("Sales", grain="hour")
    assert str(refused.value) == (
        "Sales has a column 'hour' of its own, and an answer by hours calls the hour so.\n"
        "  Leave that column out, or ask for days."
    )
