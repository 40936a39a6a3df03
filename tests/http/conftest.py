"""Served applications: on both engines, or on DuckDB where the engine does not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from dayfold.ledger import passwords
from tests.conftest import Pairing
from tests.engines.ground import Ground
from tests.http.doors import Doors


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing costs what a test can afford; its parameters stand beside each hash, so nothing else differs."""
    monkeypatch.setattr(passwords, "_N", 2**4)
    monkeypatch.setattr(passwords, "_NOBODYS", passwords._NOBODYS.replace("32768", "16"))


@pytest.fixture
def doors(store_url: str) -> Iterator[Doors]:
    """A served application, on each engine in turn."""
    with Doors(store_url) as made:
        yield made


@pytest.fixture
def make_doors(duckdb_url: str) -> Iterator[Callable[..., Doors]]:
    """Makes a served application on DuckDB, with settings of ``[auth]``."""
    with ExitStack() as stack:

        def make(**auth: object) -> Doors:
            return stack.enter_context(Doors(duckdb_url, auth))

        yield make


@pytest.fixture
def door(make_doors: Callable[..., Doors]) -> Doors:
    """A served application on DuckDB."""
    return make_doors()


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
