"""The page about growth shows what its script computes, and the script computes from what was measured."""

from __future__ import annotations

import os
import re
import tomllib

import pytest

from benchmarks import scale
from benchmarks.results import Line
from tests.docs.pages import DOCS

PAGE = DOCS / "explanation" / "scale.md"
MADE = re.compile(r"<!-- made: (?P<name>\w+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)


def test_tables_of_the_page_are_what_the_script_prints() -> None:
    """Every table that was computed stands in the page as it is computed now, and no other does."""
    made = scale.tables(scale.load())
    text = PAGE.read_text(encoding="utf-8")
    if os.environ.get("DAYFOLD_REFRESH_DOCS"):
        text = MADE.sub(lambda one: f"<!-- made: {one['name']} -->\n{made[one['name']]}\n<!-- end -->", text)
        PAGE.write_text(text, encoding="utf-8")
    assert {one["name"]: one["text"].strip() for one in MADE.finditer(text)} == made
    assert "\n| " not in MADE.sub("", text)


def test_measured_rate_comes_before_an_assumed_one() -> None:
    """A line of the results is taken where there is one, and said to be."""
    told = tomllib.loads((scale.HERE / "scale.toml").read_text(encoding="utf-8"))
    work, contestant = told["rate"]["log_clickhouse"]["line"]
    found = scale.Scale(told, [Line(work, contestant, "98,765 a second", "54,321 a second", "852 ms a transaction")])
    assert (found.rate("log_clickhouse"), found.rates["log_clickhouse"].said) == (
        54_321,
        f"measured: *{work}*, {contestant}",
    )
    assert found.rates["fold_clickhouse"].said.startswith("assumed: ")


@pytest.mark.parametrize("engine", scale.ENGINES)
def test_twice_the_events_take_twice_the_time_and_bytes(engine: str) -> None:
    """What is computed grows with the day: a slip in a unit would not."""
    one = scale.load()
    small, large = scale.Day("", 10**8, 1_000), scale.Day("", 2 * 10**8, 1_000)
    for what in (one.whole_fold_s, one.folding, one.event_bytes):
        assert what(large, engine) == pytest.approx(2 * what(small, engine))
    assert one.marks(small, engine) <= small.events * one.assumed["rollups"]
