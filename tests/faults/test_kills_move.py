"""kill -9 while a store is moved: the same command goes on, and at no moment are two stores written to, or half of one read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.errors import StoreIncomplete, StoreMoved
from tests.faults import shops
from tests.faults.conftest import do, kill, spread
from tests.faults.test_kills import comparable

Store = Callable[[], str]
MOVE = [
    ("way taken", 1), ("committed", 1), ("committed", 2), ("store begun", 1), ("part noted", 1), ("portion put", 8),
    ("table finished", 44), ("table compared", 9), ("receipts renewed", 2), ("sources named", 1),
    ("way taken", 3), ("gone", 1), ("store whole", 1),
]  # fmt: skip
STAY = [("way given up", 1), ("committed", 1)]
#: Where one of the two stores is in two databases: what lies between these.
INTO = [("table made", 2), ("write begun", 3), ("write published", 3), ("told", 4)]
OUT = [("committed", 1), ("portion put", 12), ("gone", 1)]
LISTS = [MOVE, STAY, INTO, OUT]


VERSION = "stamped"


@pytest.fixture
def source(new_duckdb: Callable[[str], str]) -> str:
    """The sources, beside the store."""
    url = new_duckdb("app")
    shops.fill(url)
    return url


@pytest.fixture
def places(
    engine: str, new_duckdb: Callable[[str], str], new_postgres: Store, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str]:
    """A store's place on the test's engine, and one on the other, to which it goes."""
    pair = (new_duckdb("moving"), new_postgres())
    here, there = pair if engine == "duckdb" else (pair[1], pair[0])
    monkeypatch.setenv("MOVE_TO", there)
    return here, there


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


@spread(MOVE)
def test_a_killed_move_goes_on_and_ends_with_the_same_store(
    engine: str, places: tuple[str, str], source: str, point: str, nth: int
) -> None:
    """At no moment are both written to; what is there in the end is what was here, and a fold goes on with it."""
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


@pytest.mark.in_turn
@pytest.mark.parametrize("other", ["duckdb", "postgres"])
@pytest.mark.parametrize(("way", "point", "nth"), [("into", *one) for one in INTO] + [("out", *one) for one in OUT])
def test_a_killed_move_to_or_from_two_databases_goes_on(
    other: str, way: str, point: str, nth: int, new_duckdb: Callable[[str], str], new_postgres: Store,
    new_clickhouse: Callable[..., str], source: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As between any two; views of other programs show all of it too, whether or not they were told of it before the end."""
    two, one = new_clickhouse("postgres"), new_duckdb("moving") if other == "duckdb" else new_postgres()
    here, there = (one, two) if way == "into" else (two, one)
    monkeypatch.setenv("MOVE_TO", there)
    go_on(here, there, source, point, nth)


@spread(STAY)
def test_a_killed_abandonment_is_done_or_not(
    engine: str, places: tuple[str, str], source: str, point: str, nth: int
) -> None:
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
