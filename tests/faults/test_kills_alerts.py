"""kill -9 between an alert's beginning and its message: one episode, told at least once, always under one identity."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import do, fold, kill, spread
from tests.sql import run_sql

Store = Callable[[], str]
OPENING = [
    ("episode opened", 1), ("message queued", 1), ("committed", 1), ("attempt begun", 1), ("committed", 2), ("message delivered", 1),
]  # fmt: skip
CLOSING = [("episode closed", 1), ("message queued", 1)]
REFUSED = [("attempt failed", 1)]
LISTS = (OPENING, CLOSING, REFUSED)


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the next process does."""

    def words(minutes: int, *, holds: bool = True, refused: bool = False) -> None:
        monkeypatch.setenv("ALERTS_MINUTES", str(minutes))
        monkeypatch.setenv("ALERTS_WHEN", "asked >= 0" if holds else "asked < 0")
        monkeypatch.setenv("ALERTS_COMMAND", "exit 1" if refused else f"cat >> '{tmp_path}/log'")

    return words


def told(tmp_path: Path) -> list[tuple[str, str]]:
    """The identity and event of every message that arrived."""
    log = tmp_path / "log"
    found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [(one["delivery"], one["event"]) for one in found]


@spread(OPENING)
def test_a_kill_while_an_episode_opens(
    engine: str, new_store: Store, point: str, nth: int, say: Callable[..., None], tmp_path: Path
) -> None:
    """The next process opens it or finds it open, and sends what was not sent."""
    url = new_store()
    fold(url)
    say(0)
    kill(url, "first", point, nth, "alerts")
    for minutes in (5, 10):
        say(minutes)
        do(url, "first", "alerts")
    assert run_sql(url, "SELECT count(*), count(closed_at) FROM dayfold_alerts") == [(1, 0)]
    assert {event for _, event in told(tmp_path)} == {"opened"}
    assert len(set(told(tmp_path))) == 1
    # Who is killed once the message is out cannot know that it arrived.
    assert len(told(tmp_path)) == (2 if point == "message delivered" else 1)


@spread(CLOSING)
def test_a_kill_while_an_episode_closes(
    engine: str, new_store: Store, point: str, nth: int, say: Callable[..., None], tmp_path: Path
) -> None:
    """Closed with its message, or still open."""
    url = new_store()
    fold(url)
    say(0)
    do(url, "first", "alerts")
    say(1, holds=False)
    kill(url, "first", point, nth, "alerts")
    assert run_sql(url, "SELECT count(*), count(closed_at) FROM dayfold_alerts") == [(1, 0)]
    say(5, holds=False)
    do(url, "first", "alerts")
    assert [event for _, event in told(tmp_path)] == ["opened", "recovered"]


@spread(REFUSED)
def test_a_kill_while_a_refusal_is_noted(
    engine: str, new_store: Store, point: str, nth: int, say: Callable[..., None], tmp_path: Path
) -> None:
    """The attempt counts, and the next one is made."""
    url = new_store()
    fold(url)
    say(0, refused=True)
    kill(url, "first", point, nth, "alerts")
    say(5)
    do(url, "first", "alerts")
    assert [event for _, event in told(tmp_path)] == ["opened"]
    assert run_sql(url, "SELECT attempts, error FROM dayfold__deliveries") == [(2, None)]
