"""Promise 1: after any history of changes, what is stored and answered equals the oracle."""

from __future__ import annotations

import pytest

from tests.conftest import SOAK, Pairing
from tests.exactness.machine import run_histories

#: Histories of each pairing in the everyday run; the crossings share most of their code with the two in full.
COUNTS = {
    "duckdb-same": 40,
    "duckdb-files": 5,
    "duckdb-to-postgres": 5,
    "postgres-to-duckdb": 5,
    "postgres-same": 40,
    "postgres-databases": 5,
    "clickhouse-to-duckdb": 2,
    "clickhouse-to-postgres": 2,
    "clickhouse-same": 5,
    "duckdb-to-clickhouse": 2,
    "postgres-to-clickhouse": 2,
}
SOAK_FACTOR = 60


def test_folded_cells_equal_the_oracle_after_any_history(pairing: Pairing) -> None:
    """Inserts, updates, deletes, late and future rows, in any order: rows, sets and answers are exact."""
    run_histories(pairing, COUNTS[pairing.name])


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="thousands of histories: `make soak`")
def test_folded_cells_equal_the_oracle_after_thousands_of_histories(pairing: Pairing) -> None:
    """The same, with new histories every time."""
    run_histories(pairing, COUNTS[pairing.name] * SOAK_FACTOR)
