"""kill -9 while a store is moved: the same command goes on, and at no moment are two stores written to, or half of one read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.errors import StoreIncomplete, StoreMoved
from tests.conftest import SOAK
from tests.faults import shops
from tests.faults.conftest import do, kill
from tests.faults.test_kills import comparable

MOVE = [
    ("way taken", 1), ("committed", 1), ("committed", 2), ("store begun", 1), ("part noted", 1), ("portion put", 8),
    ("table finished", 44), ("table compared", 9), ("receipts renewed", 2), ("sources named", 1),
    ("way taken", 3), ("gone", 1), ("store whole", 1),
]  # fmt: skip
STAY = [("way given up", 1), ("committed", 1)]
#: What lies between the two databases that a store is filled in.
BETWEEN = [("table made", 2), ("write begun", 3), ("write published", 3), ("told", 4)]
LISTS = [MOVE, STAY, BETWEEN]


VERSION = "stamped"


@pytest.fixture
def source(new_duckdb: Callable[[str], str]) -> str:
    """The sources, beside the store."""
    url = new_duckdb("app")
    shops.fill(url)
    return url


#: From which engine to which; each point is killed at on one of these ways, by turns.
WAYS = (("duckdb", "postgres"), ("postgres", "clickhouse"), ("clickhouse", "duckdb"))


def by_turns(points: list[tuple[str, int]]) -> pytest.MarkDecorator:
    """Each point on one way; in the soak on all."""
    cases = [
        pytest.param(way, *point, id=f"{'-'.join(way)}-{point[0]}-{point[1]}")
        for n, point in enumerate(points)
        for way in (WAYS if SOAK else WAYS[n % 3 : n % 3 + 1])
    ]
    return pytest.mark.parametrize(("places", "point", "nth"), cases, indirect=["places"])


@pytest.fixture
def places(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A store's place, and the one that it goes to."""
    make = {name: request.getfixturevalue(f"new_{name}") for name in request.param}
    here, there = (make[name]("moving") if name == "duckdb" else make[name]() for name in request.param)
    monkeypatch.setenv("MOVE_TO", there)
    return str(here), str(there)


def may_write(url: str, source: str) -> bool:
    """Whether a run may write to a store."""
    with Dayfold(shops.definitions(VERSION, apart=True), shops.config(url, source), clock=FixedClock(shops.NOW)) as app:
        if not app.ledger.exists():
            return False
        try:
            app.ledger.ready()
        except (StoreMoved, StoreIncomplete):
            return False
        return True


def seen(url: str) -> dict[str, object]:
    """Everything visible, with receipts by what they say, because each engine has a hash of its own."""
    found = comparable(url)
    return {**found, "receipts": [(*row[:3], row[-1]) for row in found["receipts"]]}  # type: ignore[attr-defined]


@by_turns(MOVE)
def test_a_killed_move_goes_on_and_ends_with_the_same_store(
    places: tuple[str, str], source: str, point: str, nth: int
) -> None:
    """At no moment are both written to; what is there in the end is what was here, and a fold goes on with it."""
    go_on(*places, source, point, nth)


@pytest.mark.parametrize("places", [("duckdb", "clickhouse")], ids="-".join, indirect=True)
@pytest.mark.parametrize(("point", "nth"), BETWEEN)
def test_a_move_that_is_killed_between_two_databases_goes_on(
    places: tuple[str, str], source: str, point: str, nth: int
) -> None:
    """As between any two; views for other programs show all of it too, whether or not they were told of it before the end."""
    go_on(*places, source, point, nth)


def go_on(here: str, there: str, source: str, point: str, nth: int) -> None:
    """A store is moved twice, the first time until it is killed."""
    do(here, VERSION, "fold", source)
    shops.change_far_back(source)
    before = seen(here)
    kill(here, VERSION, point, nth, "move", source)
    assert [may_write(here, source), may_write(there, source)].count(True) <= 1
    do(here, VERSION, "move", source)
    assert (may_write(here, source), may_write(there, source)) == (False, True)
    assert seen(there) == before
    assert seen(here) == before
    do(there, VERSION, "fold", source)


@by_turns(STAY)
def test_a_killed_abandonment_is_done_or_not(places: tuple[str, str], source: str, point: str, nth: int) -> None:
    """Where it was done the store is written to; else the next one does it."""
    here, _ = places
    do(here, VERSION, "fold", source)
    kill(here, VERSION, "portion put", 3, "move", source)
    kill(here, VERSION, point, nth, "stay", source)
    assert may_write(here, source) == (point == "committed")
    if point != "committed":
        do(here, VERSION, "stay", source)
    shops.change_far_back(source)
    do(here, VERSION, "fold", source)
