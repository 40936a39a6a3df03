"""A disk that is full: nothing is half done, the error says what to do, and with room the next run completes the work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import ROOT, fold
from tests.faults.test_kills import comparable, undisturbed

PROGRAM = """
import json, resource, sys
from dayfold import Dayfold
from dayfold.clock import FixedClock
from tests.faults import shops

url, room = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
try:
    with Dayfold(shops.definitions("first"), shops.config(url), clock=FixedClock(shops.NOW)) as app:
        print(json.dumps([run.error for run in app.fold()]))
except Exception as error:
    print(json.dumps([f"{type(error).__name__}: {error}"]))
"""


@pytest.mark.parametrize("engine", ["duckdb"], indirect=True)
@pytest.mark.parametrize("more", [0, 60_000, 300_000], ids=["none", "a little", "some"])
def test_no_room_in_the_store(engine: str, new_store: Callable[[], str], more: int) -> None:
    """The file of the store cannot grow; a limit of the process stands for the disk, the system's answer is the same."""
    url = new_store()
    path = Path(url.removeprefix("duckdb:///"))
    room = path.stat().st_size + more
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, str(room)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    if "null" not in said:
        assert "disk" in said or "full" in said or "written" in said, said
    fold(url)
    assert comparable(url) == undisturbed(engine, new_store, fold)
