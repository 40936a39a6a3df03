"""Promise 1 where only what is told is folded: no lookback, and folds that are late, ended or at once."""

from __future__ import annotations

import pytest

from tests.conftest import SOAK, Pairing
from tests.exactness.machine import run_histories
from tests.exactness.told import ToldMachine

COUNTS = {
    "duckdb-same": 4,
    "postgres-same": 4,
    "postgres-to-duckdb": 2,
    "postgres-databases": 2,
    "postgres-to-clickhouse": 2,
}
SOAK_FACTOR = 200


@pytest.mark.parametrize("pairing", COUNTS, indirect=True)
def test_told_changes_are_all_that_is_folded(pairing: Pairing) -> None:
    """Moves of days and keys, deletes, TRUNCATE, late commits, edits, crashes, two folds at once: always exact."""
    run_histories(pairing, COUNTS[pairing.name], ToldMachine)


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="thousands of histories: `make soak`")
@pytest.mark.parametrize("pairing", COUNTS, indirect=True)
def test_told_changes_are_all_that_is_folded_in_thousands_of_histories(pairing: Pairing) -> None:
    """The same, with new histories every time."""
    run_histories(pairing, COUNTS[pairing.name] * SOAK_FACTOR, ToldMachine)
