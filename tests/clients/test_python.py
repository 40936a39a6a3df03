"""segment-analytics-python, as it is published: a host, a write key, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients import sending
from tests.collecting import Station

pytest.importorskip("segment.analytics", reason="needs segment-analytics-python")

HEAD = """\
import datetime as dt, pathlib, sys, time
from segment.analytics import Client

failed = []
client = Client(sys.argv[2], host=sys.argv[1], on_error=lambda error, items: failed.append(error), **{OPTIONS})
days = lambda n: dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=n)
"""
EVERY_CALL = """\
context = {"campaign": {"source": "newsletter", "name": "spring"}, "page": {"url": "https://shop.example/a"}}
client.identify("ada", {"plan": "pro"}, anonymous_id="browser-1")
client.track("ada", "order_paid", {"cents": 1250, "project_id": "p1"}, context=context)
client.track("ada", "order_paid", {"cents": 250}, timestamp=days(3), message_id="order-17")
client.track("ada", "order_paid", {"cents": 250}, timestamp=days(3), message_id="order-18")
client.page("ada", "Docs", "Start", {"url": "https://shop.example/docs?utm_source=news"})
client.screen("ada", "Settings", "Privacy")
client.group("ada", "acme", {"seats": 5})
client.alias("browser-1", "ada")
"""
MANY = f"""\
for n in range({sending.STEPS}):
    if n == {sending.STEPS} // 4:
        pathlib.Path(sys.argv[3]).touch()
    client.track("ada", "step", {{"n": n, "cents": 1, "project_id": "p"}})
    time.sleep(0.004)
"""
END = "client.shutdown()\nassert not failed, failed\n"


def program(station: Station, text: str, *words: object, **options: object) -> subprocess.Popen[str]:
    """A program that uses the library."""
    return subprocess.Popen(
        [sys.executable, "-c", HEAD.replace("{OPTIONS}", repr(options)) + text, station.host, station.server_key, *map(str, words)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@sending.on("duckdb")
@pytest.mark.parametrize("options", [{}, {"gzip": True}, {"sync_mode": True}], ids=["plain", "gzip", "at once"])
def test_every_call(station: Station, options: dict[str, object]) -> None:
    """Each is one event of its kind; what waits is sent when the program ends."""
    sending.ends(program(station, EVERY_CALL + ("" if "sync_mode" in options else END), **options))
    sending.every_call_is_there(station)


@sending.on("duckdb")
def test_the_server_is_killed_while_it_sends(station: Station, tmp_path: Path) -> None:
    """It tries again with the same ids; every event is there once, and is folded so."""
    ready = tmp_path / "ready"
    sender = program(station, MANY + END, ready, upload_size=7, upload_interval=0.02)
    sending.kill_meanwhile(station, sender, ready)
    sending.every_step_is_there(station)
