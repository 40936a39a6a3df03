"""Where the libraries are, and a collector on each engine. What is missing skips its tests, by name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collecting import Station

NODE = Path(__file__).parent / "node"
MODULES = NODE / "node_modules"


@pytest.fixture
def station(tmp_path: Path, store_url: str) -> Iterator[Station]:
    """A running collector, on each engine in turn."""
    with Station(tmp_path / "station", store_url) as found:
        yield found


@pytest.fixture(scope="session")
def node() -> str:
    """The program, with the libraries beside it."""
    found = shutil.which("node")
    if found is None or not (MODULES / "@segment" / "analytics-node").is_dir():
        assert not os.environ.get("CI"), "CI has node and the libraries: npm ci in tests/clients/node"
        pytest.skip("needs node and, in tests/clients/node, npm ci")
    return found
