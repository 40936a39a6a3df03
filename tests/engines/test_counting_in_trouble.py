"""Counters when something is amiss: the trouble of one is not that of another, and nothing is told that is not known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dayfold import Counter, Dayfold, Total
from dayfold.clock import FixedClock
from dayfold.errors import StoreAltered, StoreError

pytestmark = pytest.mark.in_turn
NOW = dt.datetime(2026, 3, 18, 12, tzinfo=dt.UTC)


class Hits(Counter):
    """What is counted."""

    key = "k"
    n = Total()


class Visits(Counter):
    """What is counted beside it."""

    key = "k"
    n = Total()


Make = Callable[..., Dayfold]


@pytest.fixture(params=["embedded", "valkey"])
def words(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What ``[live]`` says: nothing of where, or a Valkey. A busy machine gets the time that it needs."""
    return {"wait_ms": 20_000} if request.param == "embedded" else dict(request.getfixturevalue("live_words"))


@pytest.fixture
def make(store_url: str, words: dict[str, Any]) -> Iterator[Make]:
    made = []

    def build(*classes: type[Any], clock: dt.datetime = NOW, **live: Any) -> Dayfold:
        settings = {"store": {"url": store_url, "long_view": ""}, "live": words | live}
        made.append(Dayfold(classes or (Hits, Visits), settings, clock=FixedClock(clock)))
        return made[-1]

    yield build
    for app in made:
        app.close()


def law(app: Dayfold, name: str = "visits") -> tuple[bool, int]:
    [found] = app.counters.conservation([name])
    return found.holds, found.applied["n"]


@pytest.mark.parametrize(
    "how", ["drop table dayfold_counted_hits", "alter table dayfold_counted_hits alter n type text"]
)
def test_counter_that_cannot_be_flushed_keeps_no_other_one_waiting(make: Make, how: str) -> None:
    """A table that is gone, or was altered: its increments wait, and those of the next counter are applied."""
    app = make()
    for one in (Hits, Visits):
        assert app.counters.add(one, k="a", n=1) == "accepted"
    app.counters.make()
    with app.ledger.store.transaction() as session:
        session.execute(how)
    again = make() if "alter" in how else app
    with pytest.raises(StoreAltered if "alter" in how else StoreError):
        again.counters.flush()
    assert law(again) == (True, 1)
