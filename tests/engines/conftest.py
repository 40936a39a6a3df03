"""The ground of the engine tests: every pairing of source and store, or every engine as one database each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Pairing
from tests.engines.ground import Ground


@pytest.fixture
def ground(pairing: Pairing) -> Iterator[Ground]:
    """Empty databases in each pairing."""
    with Ground(pairing) as made:
        yield made


@pytest.fixture
def store(store_url: str, request: pytest.FixtureRequest, new_postgres: Callable[[], str]) -> Iterator[Ground]:
    """One empty database that is source and store, on each engine; where triggers are needed, ClickHouse has a source beside it."""
    engine = request.node.callspec.params["store_url"]
    apart = engine == "clickhouse" and request.node.get_closest_marker("triggers") is not None
    pairing = (
        Pairing("postgres-to-clickhouse", new_postgres(), store_url)
        if apart
        else Pairing(f"{engine}-same", store_url, store_url)
    )
    with Ground(pairing) as made:
        yield made
