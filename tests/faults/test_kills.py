"""kill -9 at any step: the next run completes the work, and the result is that of a run nobody disturbed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults import shops
from tests.faults.conftest import fold, kill
from tests.sql import run_sql

pytestmark = pytest.mark.in_turn

BACKFILL = [
    ("committed", 1),
    ("registered", 1),
    ("leased", 1),
    ("started", 1),
    ("computed", 3),
    ("replaced", 4),
    ("indexed", 2),
    ("covered", 3),
    ("counted", 3),
    ("committed", 9),
    ("finished", 1),
]
REFOLD = [("leased", 1), ("replaced", 1), ("replaced", 2), ("counted", 1), ("finished", 1)]
EDIT = [
    ("build begun", 1),
    ("replaced", 3),
    ("counted", 2),
    ("build published", 1),
    ("build published", 2),
    ("build dropped", 2),
    ("build ended", 1),
    ("committed", 5),
]


#: Cells of today and the three days before it, which every fold computes.
LOOKBACK_CELLS = 4 * 3
Step = Callable[[str], object]
_UNDISTURBED: dict[tuple[str, tuple[Step, ...]], dict[str, object]] = {}


def undisturbed(engine: str, new_store: Callable[[], str], *steps: Step) -> dict[str, object]:
    """What a store holds after the same steps without any kill; found once for each engine."""
    if (engine, steps) not in _UNDISTURBED:
        url = new_store()
        for step in steps:
            step(url)
        _UNDISTURBED[engine, steps] = comparable(url)
    return _UNDISTURBED[engine, steps]


def comparable(url: str) -> dict[str, object]:
    """Everything visible; sets by their sizes, because each store hashes with a key of its own."""
    found = shops.contents(url)
    sets = {
        table: [tuple(len(cell) if isinstance(cell, list) else cell for cell in row) for row in rows]
        for table, rows in found.items()
        if table.endswith("__sets")
    }
    return {**found, **sets}


def edited(url: str) -> object:
    return fold(url, "edited")


@pytest.mark.parametrize(("point", "nth"), BACKFILL, ids=str)
def test_a_killed_backfill_continues_where_it_stopped(
    engine: str, new_store: Callable[[], str], point: str, nth: int
) -> None:
    """Chunks that were published are not computed again; those that were not, are."""
    url = new_store()
    kill(url, "first", point, nth)
    fold(url)
    expected = undisturbed(engine, new_store, fold)
    assert comparable(url) == expected
    runs = run_sql(url, "SELECT status, cells, rows_inserted FROM dayfold_runs ORDER BY id")
    assert runs[-1][0] == "done"
    assert {status for status, *_ in runs[:-1]} <= {"interrupted", "done"}
    rows = len(expected["shops"])  # type: ignore[arg-type]
    assert sum(inserted for *_, inserted in runs) == rows
    if point != "finished":
        # The lookback and today are always folded; everything before them once.
        assert sum(cells for _, cells, _ in runs) <= rows + LOOKBACK_CELLS


@pytest.mark.parametrize(("point", "nth"), REFOLD, ids=str)
def test_a_killed_refold_leaves_the_old_rows_or_the_new(
    engine: str, new_store: Callable[[], str], point: str, nth: int
) -> None:
    """Never some of each; the next run has them all new."""
    url = new_store()
    fold(url)
    before = comparable(url)
    shops.change(url)
    kill(url, "first", point, nth)
    expected = undisturbed(engine, new_store, fold, shops.change, fold)
    assert expected != before
    assert comparable(url) in (before, expected)
    fold(url)
    assert comparable(url) == expected


@pytest.mark.parametrize(("point", "nth"), EDIT, ids=str)
def test_a_killed_edit_shows_the_old_version_until_the_new_is_whole(
    engine: str, new_store: Callable[[], str], point: str, nth: int
) -> None:
    """What was built aside is used, not built again, and nothing of it is left over."""
    url = new_store()
    fold(url)
    old = comparable(url)["shops"]
    kill(url, "edited", point, nth)
    assert comparable(url)["shops"] == old
    fold(url, "edited")
    assert comparable(url) == undisturbed(engine, new_store, fold, edited)
    if point == "build ended":
        [(cells,)] = run_sql(url, "SELECT cells FROM dayfold_runs ORDER BY id DESC LIMIT 1")
        assert cells <= LOOKBACK_CELLS, "the days that were built before the kill were built again"


def test_an_edit_taken_back_after_a_kill_leaves_nothing(new_store: Callable[[], str]) -> None:
    """The first definition again: its rows, and no table of the other one."""
    url = new_store()
    fold(url)
    expected = comparable(url)
    kill(url, "edited", "counted", 2)
    fold(url)
    assert comparable(url) == expected


def test_a_fold_killed_again_and_again_gets_there(engine: str, new_store: Callable[[], str]) -> None:
    """Each run dies after its first published chunk; five chunks take five runs."""
    url = new_store()
    kill(url, "first", "committed", 6)
    for _ in range(2):
        kill(url, "first", "committed", 4)
    fold(url)
    assert comparable(url) == undisturbed(engine, new_store, fold)
