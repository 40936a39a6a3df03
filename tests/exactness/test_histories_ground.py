"""The two sides of a history agree before any fold is judged by them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exactness.draws import TIMES, dated, drawn_changes, drawn_rows
from tests.exactness.histories import BEGIN, History
from tests.exactness.rollups import TABLE
from tests.sql import run_sql

TODAY = BEGIN.date()


def in_database(history: History) -> list[dict[str, object]]:
    history.settle()
    names = list(history.rows[0])
    return [
        dict(zip(names, values, strict=True))
        for values in run_sql(history.source_url, f"SELECT {', '.join(names)} FROM {TABLE} ORDER BY id")
    ]


def test_rows_in_python_are_the_rows_in_the_database(store_url: str) -> None:
    """Whatever is inserted, changed, deleted or cleared, both sides hold the same, to the microsecond."""

    @settings(max_examples=25)
    @given(st.lists(drawn_rows, min_size=3, max_size=8), drawn_changes, st.integers(-1, 6))
    def check(rows: list[dict[str, object]], changes: dict[str, object], age: int) -> None:
        history = History(store_url)
        history.insert([dated(row, TODAY) for row in rows])
        history.update(1, dated(changes, TODAY))
        history.delete(2)
        history.clear_day("made_at", TODAY - dt.timedelta(days=age))
        history.clear_day("paid_at", TODAY - dt.timedelta(days=age))
        assert in_database(history) == history.rows

    check()


def test_ages_become_moments_of_each_columns_type() -> None:
    """A timestamptz is aware, a timestamp naive, a date has no time."""
    drawn = {"made_at": (1, TIMES[1]), "paid_at": (0, TIMES[0]), "due": (-1, TIMES[2]), "amount": Decimal(1)}
    assert dated(drawn, dt.date(2026, 3, 1)) == {
        "made_at": dt.datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=dt.UTC),
        "paid_at": dt.datetime(2026, 3, 1),
        "due": dt.date(2026, 3, 2),
        "amount": Decimal(1),
    }
