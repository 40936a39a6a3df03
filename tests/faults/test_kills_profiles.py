"""kill -9 after each step of a profile's refresh: no reader finds half a customer, and the next run completes the work.

Each ends with the rows of an oracle, its rollup of new customers, and the ledger of a run that nobody disturbed.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults import salons
from tests.faults.conftest import do, fold, kill, spread
from tests.faults.test_kills import comparable, undisturbed
from tests.faults.test_kills_trust import without_counts
from tests.sql import run_sql

pytestmark = pytest.mark.in_turn

Store = Callable[[], str]
#: Four parts, each a transaction; then the new customers follow.
PARTS = [
    ("computed", 1),
    ("replaced", 3),
    ("counted", 1),
    ("counted", 3),
    ("covered", 1),
    ("finished", 1),
    ("finished", 2),
]
TOUCHED = [
    ("replaced", 1),
    ("receipts corrected", 1),
    ("marks deleted", 1),
    ("counted", 1),
    ("finished", 1),
    ("marks deleted", 2),
]
MIDNIGHT = [("replaced", 2), ("counted", 1), ("counted", 3), ("marks deleted", 1)]


def fill(url: str) -> None:
    salons.fill(url)


def tracked(url: str) -> object:
    return do(url, "salon told", "track")


def salon_fold(url: str) -> object:
    return fold(url, "salon")


def told_fold(url: str) -> object:
    return fold(url, "salon told")


def told_later(url: str) -> object:
    return do(url, "salon told", "later")


@spread(PARTS)
def test_a_killed_refresh_in_parts_is_completed(engine: str, new_store: Store, point: str, nth: int) -> None:
    """A customer is there whole or not at all; nobody is covered before everybody is."""
    url = new_store()
    fill(url)
    kill(url, "salon", point, nth)
    right = salons.right(salons.rows())
    found = salons.visible(url)
    assert found.items() <= right.items()
    if point == "counted" and nth == 3:
        # The next run knows that it is not done, though most of them are there.
        assert 0 < len(found) < len(right)
        assert run_sql(url, "SELECT 1 FROM dayfold_coverage") == []
    salon_fold(url)
    salons.check(url, salons.rows())
    assert comparable(url) == undisturbed(engine, new_store, fill, salon_fold)


@spread(TOUCHED)
def test_a_killed_refresh_of_touched_customers_loses_none(engine: str, new_store: Store, point: str, nth: int) -> None:
    """All that were touched or none, with the marks of the days that they were new on."""
    url = new_store()
    fill(url)
    tracked(url)
    told_fold(url)
    salons.change(url)
    kill(url, "salon told", point, nth)
    assert salons.visible(url) in (salons.right(salons.rows()), salons.right(salons.changed()))
    told_fold(url)
    salons.check(url, salons.changed())
    right = undisturbed(engine, new_store, fill, tracked, told_fold, salons.change, told_fold)
    assert without_counts(comparable(url)) == without_counts(right)
    assert right["marks"] == []


@spread(MIDNIGHT)
def test_a_killed_refresh_after_midnight_is_completed(engine: str, new_store: Store, point: str, nth: int) -> None:
    """Each customer is of yesterday or of today; what was touched meanwhile is not lost with the parts that were done."""
    url = new_store()
    fill(url)
    tracked(url)
    told_fold(url)
    salons.change(url)
    kill(url, "salon told", point, nth, "later")
    before, after = salons.right(salons.rows()), salons.right(salons.changed(), 1)
    found = salons.visible(url)
    assert all(row in (before.get(key), after.get(key)) for key, row in found.items())
    told_later(url)
    salons.check(url, salons.changed(), 1)
    right = undisturbed(engine, new_store, fill, tracked, told_fold, salons.change, told_later)
    assert comparable(url) == right
    assert right["marks"] == []
