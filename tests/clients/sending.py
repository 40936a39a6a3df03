"""What all libraries of servers are asked to do, and what has to be in the log afterwards."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.command import LIMIT_S, NOW
from tests.collecting import Station
from tests.conftest import SOAK

TODAY = dt.datetime.fromisoformat(NOW).date()
#: Steps that a sender takes, one every few milliseconds; once it has taken a quarter of them, it makes a file.
STEPS = 400
KILLS = 2
_COLUMNS = "event_type, CAST(occurred_at AS date), actor_id, anonymous_id, source, trust, project_id, utm_source, utm_campaign, page"


def on(*engines: str) -> pytest.MarkDecorator:
    """The engines of a test in the everyday run; in the soak it is both."""
    return pytest.mark.parametrize("store_url", ["duckdb", "postgres"] if SOAK else list(engines), indirect=True)


def ends(process: subprocess.Popen[str]) -> None:
    """It ends well: it gave nothing up."""
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors


def kill_meanwhile(station: Station, sender: subprocess.Popen[str], ready: Path) -> None:
    """The collector is killed and started again while somebody sends."""
    while not ready.exists() and sender.poll() is None:
        try:
            sender.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
    for _ in range(KILLS):
        station.kill()
        station.start()
    ends(sender)


def every_call_is_there(station: Station) -> None:
    """Each call is one event of its kind, on the day that its time says by the server's clock."""
    ago = TODAY - dt.timedelta(days=3)
    page = "https://shop.example/docs?utm_source=news"
    expected = [
        ("aliased", TODAY, "ada", "browser-1", "server", "server", None, None, None, None),
        ("grouped", TODAY, "ada", None, "server", "server", None, None, None, None),
        ("identified", TODAY, "ada", "browser-1", "server", "server", None, None, None, None),
        ("order_paid", ago, "ada", None, "server", "server", None, None, None, None),
        ("order_paid", ago, "ada", None, "server", "server", None, None, None, None),
        ("order_paid", TODAY, "ada", None, "server", "server", "p1", "newsletter", "spring", "https://shop.example/a"),
        ("page_viewed", TODAY, "ada", None, "server", "server", None, "news", None, page),
        ("screen_viewed", TODAY, "ada", None, "server", "server", None, None, None, None),
    ]
    assert sorted(station.events(_COLUMNS), key=lambda one: (one[0], one[1])) == expected
    properties = dict(station.stored("SELECT event_type, CAST(properties AS text) FROM dayfold_events ORDER BY id"))
    assert '"plan"' in properties["identified"]
    assert '"group_id"' in properties["grouped"]
    assert '"Start"' in properties["page_viewed"]


def every_step_is_there(station: Station) -> None:
    """Each step once, in the log and in the numbers."""
    station.stop()
    station.run("fold")
    assert Counter(station.events("CAST(properties->>'n' AS bigint)")) == Counter((n,) for n in range(STEPS))
    assert station.stored("SELECT happened, cents FROM daily") == [(STEPS, STEPS)]
