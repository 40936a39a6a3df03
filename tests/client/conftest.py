"""What the tests of the client share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dayfold.client import Client, sender
from tests.client.collector import Collector, serving

KEY = "wk_secret_of_the_server"


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def url(collector: Collector) -> Iterator[str]:
    """Where the collector is reached."""
    with serving(collector) as loopback:
        yield loopback.origin


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between attempts are short; that they grow is a test of its own."""
    monkeypatch.setattr(sender, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def new_client(url: str) -> Iterator[Callable[..., Client]]:
    """Makes clients of the collector, which are closed when the test ends."""
    made: list[Client] = []

    def new(**words: Any) -> Client:
        made.append(Client(url, KEY, **{"interval_s": 0.01, **words}))
        return made[-1]

    yield new
    for one in made:
        one.close(0.1)
