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
from tests.conftest import SOAK
from tests.faults import shops
from tests.faults.killed import JOBS
from tests.sql import is_clickhouse

ROOT = Path(__file__).parents[2]
Fold = Callable[..., list[Any]]


def fold(url: str, version: str = "first") -> list[Any]:
    """One plain fold that must succeed."""
    return do(url, version, "fold")


def do(url: str, version: str, job: str, source: str | None = None) -> Any:
    """A job that must succeed, in this process."""
    _check_told(url, version, source)
    definitions = shops.definitions(version, apart=source is not None)
    with Dayfold(definitions, shops.config(url, source), clock=FixedClock(shops.NOW)) as app:
        if job != "fold":
            assert JOBS[job](app) == []
            return None
        runs = app.fold()
    assert [run.error for run in runs if run.error] == []
    return runs


def _check_told(url: str, version: str, source: str | None) -> None:
    """Skips what a table in ClickHouse cannot do."""
    if version.startswith("tracked") and is_clickhouse(url) and source is None:
        pytest.skip("what changes is told by triggers, which tables in ClickHouse have not")


def start(
    url: str, version: str = "first", point: str = "", nth: int = 1, job: str = "fold", source: str | None = None
) -> subprocess.Popen[str]:
    """A job in a process of its own, killed where it says."""
    _check_told(url, version, source)
    order = json.dumps([url, version, point, nth, job, source])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.killed", order],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill(url: str, version: str, point: str, nth: int, job: str = "fold", source: str | None = None) -> None:
    """A job that is killed at the point; never to get there is a failed test."""
    process = start(url, version, point, nth, job, source)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors or f"the {job} ended before '{point}' number {nth}"


def spread(points: list[tuple[str, int]]) -> pytest.MarkDecorator:
    """Each point on one engine, by turns; in the soak on both."""
    engines = ("duckdb", "postgres")
    cases = [
        pytest.param(engine, *point, id=f"{engine}-{point[0]}-{point[1]}")
        for n, point in enumerate(points)
        for engine in (engines if SOAK else engines[n % 2 : n % 2 + 1])
    ]
    return pytest.mark.parametrize(("engine", "point", "nth"), cases, indirect=["engine"])


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


@pytest.fixture(params=["duckdb", "postgres", "clickhouse"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)
