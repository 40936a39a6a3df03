"""The ground of the engine tests: every pairing of source and store, or every engine as one database each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Pairing
from tests.engines.ground import Ground


@pytest.fixture
def ground(pairing: Pairing) -> Iterator[Ground]:
    """Empty databases in each pairing."""
    with Ground(pairing) as made:
        yield made


@pytest.fixture
def store(store_url: str, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """One empty database that is source and store, on each engine."""
    engine = request.node.callspec.params["store_url"]
    with Ground(Pairing(f"{engine}-same", store_url, store_url)) as made:
        yield made
