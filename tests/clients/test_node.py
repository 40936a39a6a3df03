"""@segment/analytics-node, as it is published: a host, a write key, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.clients import sending
from tests.clients.conftest import NODE
from tests.collecting import Station


def program(node: str, station: Station, *words: object) -> subprocess.Popen[str]:
    """The program that uses the library."""
    return subprocess.Popen(
        [node, "send.mjs", station.host, station.server_key, *map(str, words)],
        cwd=NODE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@sending.on("duckdb", "postgres")
def test_every_call(node: str, station: Station) -> None:
    """Each is one event of its kind; what waits is sent when the program ends."""
    sending.ends(program(node, station, "every"))
    sending.every_call_is_there(station)


@sending.on("postgres")
def test_the_server_is_killed_while_it_sends(node: str, station: Station, tmp_path: Path) -> None:
    """It tries again with the same ids; every event is there once, and is folded so."""
    ready = tmp_path / "ready"
    sending.kill_meanwhile(station, program(node, station, "many", ready), ready)
    sending.every_step_is_there(station)
