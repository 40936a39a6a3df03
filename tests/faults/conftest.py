"""A folder of stores for the fault tests: filled, and beside each what an undisturbed fold makes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from tests.faults import shops

ROOT = Path(__file__).parents[2]
Fold = Callable[..., list[Any]]


def fold(url: str, version: str = "first") -> list[Any]:
    """One plain fold that must succeed."""
    with Dayfold(shops.definitions(version), shops.config(url), clock=FixedClock(shops.NOW)) as app:
        runs = app.fold()
    assert [run.error for run in runs] == [None]
    return runs


def start(url: str, version: str = "first", point: str = "", nth: int = 1) -> subprocess.Popen[str]:
    """A fold in a process of its own, killed where it says."""
    order = json.dumps([url, version, point, nth])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.killed", order],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill(url: str, version: str, point: str, nth: int) -> None:
    """A fold that is killed at the point; never to get there is a failed test."""
    process = start(url, version, point, nth)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors or f"the fold ended before '{point}' number {nth}"


@pytest.fixture
def new_store(request: pytest.FixtureRequest, engine: str) -> Callable[[], str]:
    """Makes filled stores of the test's engine, whose sets are comparable."""
    names = iter("abcdef")

    def make() -> str:
        new = request.getfixturevalue(f"new_{engine}")
        url = str(new(next(names)) if engine == "duckdb" else new())
        shops.fill(url)
        return url

    return make


@pytest.fixture(params=["duckdb", "postgres"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)
