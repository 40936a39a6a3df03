"""query through the command line: ranges, keys, grains, comparisons, forms."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.acceptance.command import succeeds
from tests.acceptance.shop import MOST

RANGE = ("--from", "2026-01-01", "--to", "2026-01-10")


def rows(folder: Path, *words: object) -> list[dict[str, Any]]:
    return succeeds("query", *words, "--json", cwd=folder).rows


def test_answer_is_an_object_with_rows_and_what_must_be_said(folded_once: Path) -> None:
    """Rows have day and metrics; beside them exactness, and the days that have no number with the reason."""
    done = succeeds(
        *("query", "ShopDaily", "-m", "orders_count,revenue", "-m", "customers", "--from", "2025-12-31", "--to", "2026-01-11", "--json"),
        cwd=folded_once,
    )  # fmt: skip
    answer = done.json
    nothing = {"orders_count": None, "revenue": None, "customers": None}
    assert {name: answer[name] for name in ("rollup", "from", "to", "grain", "tz")} == {
        "rollup": "ShopDaily",
        "from": "2025-12-31",
        "to": "2026-01-11",
        "grain": "day",
        "tz": "UTC",
    }
    assert answer["rows"][:4] == [
        {"day": "2025-12-31", **nothing},
        {"day": "2026-01-01", "orders_count": 2, "revenue": Decimal("10.30"), "customers": 1},
        {"day": "2026-01-02", "orders_count": 2, "revenue": Decimal("104.99"), "customers": 2},
        {"day": "2026-01-03", "orders_count": 0, "revenue": Decimal("0.00"), "customers": 0},
    ]
    assert answer["rows"][-1] == {"day": "2026-01-11", **nothing}
    assert answer["exact"] == {"orders_count": True, "revenue": True, "customers": True}
    metrics = ["orders_count", "revenue", "customers"]
    assert answer["missing"] == [
        {
            "from": "2025-12-31",
            "to": "2025-12-31",
            "reason": "before the history, which starts on 2026-01-01",
            "metrics": metrics,
        },
        {"from": "2026-01-11", "to": "2026-01-11", "reason": "in the future", "metrics": metrics},
    ]


def test_numbers_keep_all_their_digits(folded_once: Path) -> None:
    """A sum beyond 2^63, decimals with their zeros: the same in JSON, CSV and Parquet."""
    words = ("query", "ShopDaily", "-m", "points,revenue", "--from", "2026-01-06", "--to", "2026-01-06")
    text = succeeds(*words, "--json", cwd=folded_once).out
    assert f'"points": {MOST + 1},' in text
    assert '"revenue": 10000000000.00\n' in text
    assert succeeds(*words, "-f", "csv", cwd=folded_once).out == (
        f'"day","points","revenue"\n2026-01-06,{MOST + 1},10000000000.00\n'
    )
    table = parquet.read_table(pa.BufferReader(succeeds(*words, "-f", "parquet", cwd=folded_once).output))
    assert table.to_pydict()["points"] == [MOST + 1]
    assert table.to_pydict()["revenue"] == [Decimal("10000000000.00")]
    [one] = rows(folded_once, "ShopDaily", "-m", "points", *words[4:], "--by", "country", "--where", "country=FR")
    assert one["points"] == MOST


def test_table_aligns_numbers_and_says_the_rest_apart(folded_once: Path) -> None:
    """A person reads thousands and dashes on standard output; gaps and cut buckets stand on standard error."""
    done = succeeds(
        *("query", "ShopDaily", "-m", "revenue,paid_share", "--from", "2025-12-31", "--to", "2026-01-06"),
        cwd=folded_once,
    )
    lines = [line.rstrip() for line in done.out.splitlines()]
    assert [line.split() for line in lines[2:5]] == [
        ["2025-12-31", "–", "–"],
        ["2026-01-01", "10.30", "0.5000"],
        ["2026-01-02", "104.99", "1.0000"],
    ]
    assert lines[-1] == "2026-01-06   10,000,000,000.00       1.0000"
    assert {len(line) for line in lines} == {len(lines[-1])}
    assert done.err == "missing: 2025-12-31: revenue, paid_share: before the history, which starts on 2026-01-01\n"


def test_csv_tells_null_from_empty_and_quotes_where_needed(folded_once: Path) -> None:
    done = succeeds(
        "query",
        "ShopDaily",
        "-m",
        "largest,orders_count",
        *RANGE,
        "--by",
        "country,shop_id",
        "--grain",
        "total",
        "-f",
        "csv",
        cwd=folded_once,
    )
    assert list(csv.reader(io.StringIO(done.out))) == [
        ["day", "country", "shop_id", "largest", "orders_count"],
        ["2026-01-01", "", "2", "5.00", "1"],
        ["2026-01-01", "DE", "1", "99.99", "2"],
        ["2026-01-01", "FR", "1", "9999999999.99", "5"],
        ["2026-01-01", "FR", "2", "20.00", "1"],
    ]


def test_parquet_is_typed(folded_once: Path, tmp_path: Path) -> None:
    """Days are dates, counts 64-bit integers, money decimals; a file on demand."""
    target = tmp_path / "answer.parquet"
    done = succeeds(
        "query",
        "ShopDaily",
        "-m",
        "orders_count,revenue,paid_share",
        *RANGE,
        "-f",
        "parquet",
        "-o",
        target,
        cwd=folded_once,
    )
    assert done.out == ""
    schema = parquet.read_schema(target)
    assert schema.field("day").type == pa.date32()
    assert schema.field("orders_count").type == pa.int64()
    assert pa.types.is_decimal(schema.field("revenue").type)
    assert schema.field("paid_share").type == pa.float64()


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_file_holds_what_would_be_printed(folded_once: Path, tmp_path: Path, form: str) -> None:
    words = ("query", "ShopDaily", "-m", "revenue", *RANGE, "--format", form)
    assert succeeds(*words, "--output", tmp_path / "out", cwd=folded_once).out == ""
    assert (tmp_path / "out").read_bytes() == succeeds(*words, cwd=folded_once).output


@pytest.mark.parametrize(
    ("name", "start"), [("a.csv", b'"day",'), ("a.json", b"{"), ("a.parquet", b"PAR1"), ("a.txt", b"day ")]
)
def test_the_name_of_the_file_says_its_form(folded_once: Path, tmp_path: Path, name: str, start: bytes) -> None:
    succeeds("query", "ShopDaily", "-m", "orders_count", "--from", "2026-01-01", "-o", tmp_path / name, cwd=folded_once)
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["country=FR"], {("FR", 1): 5, ("FR", 2): 1}),
        (["country="], {(None, 2): 1}),
        (["country!="], {("DE", 1): 2, ("FR", 1): 5, ("FR", 2): 1}),
        (["country!=FR"], {(None, 2): 1, ("DE", 1): 2}),
        (["country=FR", "country=DE"], {("DE", 1): 2, ("FR", 1): 5, ("FR", 2): 1}),
        (["country=FR", "country="], {(None, 2): 1, ("FR", 1): 5, ("FR", 2): 1}),
        (["country=FR", "shop_id=2"], {("FR", 2): 1}),
        (["country!=FR", "country!=DE"], {(None, 2): 1}),
        (["country=XX"], {}),
        (["shop_id!=2"], {("DE", 1): 2, ("FR", 1): 5}),
    ],
)
def test_filters(folded_once: Path, filters: list[str], expected: dict[Any, int]) -> None:
    """The same key: any of the values. Different keys: all of them. k= is NULL, k!=v keeps NULL."""
    words = [word for one in filters for word in ("--where", one)]
    found = rows(
        folded_once,
        "ShopDaily",
        "-m",
        "orders_count",
        *RANGE,
        "--grain",
        "total",
        "--by",
        "country",
        "--by",
        "shop_id",
        *words,
    )
    assert {(row["country"], row["shop_id"]): row["orders_count"] for row in found} == expected


@pytest.mark.parametrize(
    ("grain", "expected", "partial"),
    [
        ("day", {"2026-01-02": 2, "2026-01-03": 0, "2026-01-04": 0, "2026-01-05": 1, "2026-01-06": 2}, None),
        ("week", {"2026-01-02": 2, "2026-01-05": 3}, ["2026-01-02", "2026-01-05"]),
        ("month", {"2026-01-02": 5}, ["2026-01-02"]),
        ("quarter", {"2026-01-02": 5}, ["2026-01-02"]),
        ("year", {"2026-01-02": 5}, ["2026-01-02"]),
        ("total", {"2026-01-02": 5}, None),
    ],
)
def test_grains_are_cut_to_the_range(
    folded_once: Path, grain: str, expected: dict[str, int], partial: list[str] | None
) -> None:
    """Weeks start on Monday; a bucket is named by the first day of it that was asked for."""
    done = succeeds(
        *("query", "ShopDaily", "-m", "orders_count", "--from", "2026-01-02", "--to", "2026-01-06", "--grain", grain, "--json"),
        cwd=folded_once,
    )  # fmt: skip
    assert {row["day"]: row["orders_count"] for row in done.rows} == expected
    assert done.json.get("partial") == partial


def test_uniques_are_united_and_ratios_divided_anew(folded_once: Path) -> None:
    """Over days and keys: customers 5, 7, 8 and 9 are four, and the share is that of the sums."""
    [one] = rows(folded_once, "ShopDaily", "-m", "customers,paid_share,doubled,largest", *RANGE, "--grain", "total")
    assert one == {
        "day": "2026-01-01",
        "customers": 4,
        "paid_share": pytest.approx(Decimal(7) / 9),
        "doubled": 18,
        "largest": Decimal("9999999999.99"),
    }


def test_gauge_is_the_level_of_the_last_day(folded_once: Path) -> None:
    words = ("Seats", "--from", "2026-01-05", "--to", "2026-01-09", "--grain", "week")
    assert rows(folded_once, *words) == [{"day": "2026-01-05", "seats": 15}]
    assert [row["seats"] for row in rows(folded_once, *words, "--by", "shop_id")] == [11, 4]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("-7d", "yesterday", ("2026-01-03", "2026-01-09")),
        ("yesterday", "today", ("2026-01-09", "2026-01-10")),
        ("today", "today", ("2026-01-10", "2026-01-10")),
        ("-0d", "2026-01-10", ("2026-01-10", "2026-01-10")),
    ],
)
def test_days_may_be_relative(folded_once: Path, first: str, last: str, expected: tuple[str, str]) -> None:
    """Both ends are included."""
    answer = succeeds(
        "query", "ShopDaily", "-m", "orders_count", "--from", first, "--to", last, "--json", cwd=folded_once
    ).json
    assert (answer["rows"][0]["day"], answer["rows"][-1]["day"]) == expected
    assert (answer["from"], answer["to"]) == expected


def test_sort_and_limit(folded_once: Path) -> None:
    """The greatest first with a minus; equal rows in the order of days and keys, NULL first; a default of all metrics."""
    words = ("ShopDaily", *RANGE, "--grain", "total", "--by", "country")
    assert [row["country"] for row in rows(folded_once, *words, "--sort", "-revenue")] == ["FR", "DE", None]
    assert [row["country"] for row in rows(folded_once, *words, "--sort", "revenue", "--limit", 1)] == [None]
    assert [row["country"] for row in rows(folded_once, *words, "--sort", "-country")] == ["FR", "DE", None]
    [first] = rows(folded_once, "ShopDaily", *RANGE, "--sort", "-orders_count", "--limit", "1")
    assert first["day"] == "2026-01-01"
    assert list(first) == [
        *("day", "orders_count", "paid_count", "revenue", "points", "customers", "largest", "paid_share", "doubled"),
    ]


def test_missing_days_make_a_bucket_unknown_unless_allowed(folded_once: Path) -> None:
    """Null with the reason; --allow-missing adds up the days that are there and marks the bucket."""
    words = (
        "query",
        "ShopDaily",
        "-m",
        "orders_count,customers",
        "--from",
        "2025-12-30",
        "--to",
        "2026-01-05",
        "--grain",
        "total",
        "--json",
    )
    strict = succeeds(*words, cwd=folded_once).json
    assert strict["rows"] == [{"day": "2025-12-30", "orders_count": None, "customers": None}]
    assert [(gap["from"], gap["to"]) for gap in strict["missing"]] == [("2025-12-30", "2025-12-31")]
    allowed = succeeds(*words, "--allow-missing", cwd=folded_once).json
    assert allowed["rows"] == [{"day": "2025-12-30", "orders_count": 5, "customers": 3}]
    assert allowed["partial"] == ["2025-12-30"]
    assert allowed["missing"] == strict["missing"]


def test_comparison_with_the_days_before(folded_once: Path) -> None:
    """Both ranges are named; the earlier rows stand beside these by the place of their bucket."""
    words = (
        "query",
        "ShopDaily",
        "-m",
        "orders_count",
        "--from",
        "2026-01-06",
        "--to",
        "2026-01-07",
        "--compare",
        "previous",
    )
    compared = succeeds(*words, "--json", cwd=folded_once).json["compare"]
    assert (compared["kind"], compared["from"], compared["to"]) == ("previous", "2026-01-04", "2026-01-05")
    assert [row["orders_count"] for row in compared["rows"]] == [0, 1]
    done = succeeds(*words, "-f", "csv", cwd=folded_once)
    assert done.out == (
        '"day","orders_count","compared_day","orders_count_compared"\n2026-01-06,2,2026-01-04,0\n2026-01-07,0,2026-01-05,1\n'
    )
    assert "compared: 2026-01-06 to 2026-01-07 with 2026-01-04 to 2026-01-05\n" in done.err


def test_unfinished_week_is_compared_with_the_same_days_of_the_last(folded_once: Path) -> None:
    """The present week has six days so far, so has what it is compared with; days before the history are unknown."""
    words = (
        "query",
        "ShopDaily",
        "-m",
        "orders_count",
        "--from",
        "2026-01-05",
        "--to",
        "today",
        "--grain",
        "week",
        "--json",
    )
    compared = succeeds(*words, "--compare", "previous", cwd=folded_once).json["compare"]
    assert (compared["from"], compared["to"]) == ("2025-12-29", "2026-01-03")
    assert compared["rows"] == [{"day": "2025-12-29", "orders_count": None}]
    assert compared["missing"][0]["reason"] == "before the history, which starts on 2026-01-01"


def test_comparison_with_the_year_before(folded_once: Path) -> None:
    words = (
        "query",
        "ShopDaily",
        "-m",
        "orders_count",
        "--from",
        "2026-01-05",
        "--to",
        "2026-01-06",
        "--compare",
        "year",
        "--json",
    )
    compared = succeeds(*words, cwd=folded_once).json["compare"]
    assert (compared["kind"], compared["from"], compared["to"]) == ("year", "2025-01-05", "2025-01-06")
    assert [row["orders_count"] for row in compared["rows"]] == [None, None]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", [2, 2, 0]),
        # The order of 18:15 UTC is the first of the next day in Kathmandu, where 1 January began before the history.
        ("Asia/Kathmandu", [None, 2, 1]),
        # The order of midnight UTC belongs to 31 December.
        ("America/New_York", [1, 2, 0]),
    ],
)
def test_days_of_another_zone(folded_once: Path, zone: str, expected: list[int | None]) -> None:
    """A rollup of quarters of an hour answers for the days of any zone; a day it covers in part is unknown."""
    done = succeeds(
        *("query", "ShopClock", "-m", "orders_count", "--from", "2026-01-01", "--to", "2026-01-03", "--tz", zone, "--json"),
        cwd=folded_once,
    )  # fmt: skip
    found = [row["orders_count"] for row in done.rows]
    assert found == expected
    assert done.json["tz"] == zone


def test_rollup_is_named_by_class_or_table(folded_once: Path) -> None:
    assert rows(folded_once, "shop_daily", *RANGE) == rows(folded_once, "ShopDaily", *RANGE)
