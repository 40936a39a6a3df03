"""The ground of the HTTP tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Pairing
from tests.engines.ground import Ground


@pytest.fixture
def store(store_url: str, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """One empty database that is source and store, on each engine."""
    engine = request.node.callspec.params["store_url"]
    with Ground(Pairing(f"{engine}-same", store_url, store_url)) as made:
        yield made


@pytest.fixture
def duck(duckdb_url: str) -> Iterator[Ground]:
    """One empty DuckDB file that is source and store."""
    with Ground(Pairing("duckdb-same", duckdb_url, duckdb_url)) as made:
        yield made
