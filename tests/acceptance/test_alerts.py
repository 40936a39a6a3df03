"""Alerts of the real server and the real command line, against a real receiver."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.command import COMMAND, LIMIT_S, dayfold, environment, fails, succeeds
from tests.engines.receivers import Receiver, is_signed
from tests.sql import run_sql

RULES = '''

from dayfold import Alert


class ManyOrders(Alert):
    """More than the shop can pack."""

    rollup = "ShopDaily"
    when = "orders_count > 0"
'''
CHANNEL = """
[alerts.channels.ops]
url = "${HOOK}"
secret = "s3"
"""


@contextmanager
def server(folder: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """`dayfold serve` while the block runs; it is up when the block begins, and killed where it still runs after it."""
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--json"], cwd=folder, env=environment(env), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            text = ""
            while not text.endswith("}\n"):
                line = process.stdout.readline()
                assert line, process.communicate(timeout=LIMIT_S)[1]
                text += line
            assert json.loads(text)["url"].startswith("http://127.0.0.1:")
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=LIMIT_S)


def at(minute: int, receiver: Receiver) -> dict[str, str]:
    """The variables of a server at a moment of 10 January."""
    return {"DAYFOLD_NOW": f"2026-01-10T12:{minute:02}:00+00:00", "HOOK": receiver.url}


@pytest.fixture
def alerting(folded: Path) -> Path:
    with (folded / "metrics.py").open("a") as file:
        file.write(RULES)
    with (folded / "dayfold.toml").open("a") as file:
        file.write(CHANNEL)
    return folded


def test_server_tells_once_through_kills_refusals_and_recovery(alerting: Path) -> None:
    """Refused twice, killed with -9 between attempts, taken in the end; no second message; one recovery. All signed."""
    store = f"duckdb:///{alerting / 'shop.duckdb'}"
    with Receiver([500, 503]) as receiver:
        for minute, requests in ((0, 1), (1, 2), (5, 3)):
            with server(alerting, at(minute, receiver)) as process:
                receiver.wait(requests)
                # A moment in which the answer may or may not be written down.
                process.kill()
        assert receiver.events == [("ManyOrders", "opened")] * 3
        run_sql(store, "DELETE FROM orders WHERE CAST(created_at AT TIME ZONE 'UTC' AS date) = DATE '2026-01-09'")
        succeeds("fold", cwd=alerting, env=at(30, receiver))
        with server(alerting, at(40, receiver)) as process:
            receiver.wait_for(("ManyOrders", "recovered"))
            process.terminate()
            process.communicate(timeout=LIMIT_S)
        assert [event for _, event in receiver.events].count("recovered") == 1
        assert len({body["delivery"] for body in receiver.bodies if body["event"] == "opened"}) == 1
        assert len({body["alert"] for body in receiver.bodies}) == 1
        assert all(is_signed(headers, body, "s3") for _, headers, body in receiver.requests)
        listed = succeeds("alerts", "list", "--json", cwd=alerting, env=at(41, receiver)).json
        [one] = listed["alerts"]
        assert [each["event"] for each in one["deliveries"]] == ["opened", "recovered"]
        assert one["deliveries"][0]["state"] == "delivered"


def test_list_judges_now_and_writes_nothing(alerting: Path) -> None:
    """A person tries a rule without telling anybody."""
    with Receiver() as receiver:
        env = {"HOOK": receiver.url}
        shown = succeeds("alerts", "list", cwd=alerting, env=env).out
        assert shown.splitlines()[0].split() == ["rule", "kind", "state", "to", "about"]
        assert shown.splitlines()[2].split()[:4] == ["ManyOrders", "threshold", "firing", "ops"]
        assert succeeds("alerts", "list", "--open", "--json", cwd=alerting, env=env).json["alerts"] == []
        assert receiver.requests == []


def test_list_without_rules_says_where_they_are_written(folded: Path) -> None:
    """The first thing that somebody reads who looks for alerts."""
    assert succeeds("alerts", "list", cwd=folded).out == (
        "No rule is defined; write an Alert in metrics.py, or [alerts.rules.NAME] in dayfold.toml.\n"
    )


def test_test_says_of_each_channel_what_happened(alerting: Path) -> None:
    """Exit status 1 where one did not take the message."""
    with (alerting / "dayfold.toml").open("a") as file:
        file.write('[alerts.channels.log]\ncommand = ["false"]\n')
    with Receiver() as receiver:
        env = {"HOOK": receiver.url}
        done = dayfold("alerts", "test", "--json", cwd=alerting, env=env)
        assert done.status == 1
        assert [(one["channel"], one["kind"], one["ok"], one["error"]) for one in done.json["channels"]] == [
            ("ops", "webhook", True, None), ("log", "command", False, "The command false ended with status 1; expected 0."),
        ]  # fmt: skip
        assert succeeds("alerts", "test", "ops", cwd=alerting, env=env).out.startswith(
            "ops (webhook): it took the message, "
        )
        assert receiver.events == [("test", "test")] * 2
        assert fails("alerts", "test", "opps", cwd=alerting, env=env, status=2) == (
            "There is no channel 'opps'; the nearest is 'ops'.\n  Channels: ops, log"
        )


def test_test_without_a_channel(folded: Path) -> None:
    """The section to write is named."""
    assert fails("alerts", "test", cwd=folded, status=2) == (
        "There is no channel to send to.\n  Add [alerts.channels.NAME] to dayfold.toml."
    )


def test_mistake_in_a_rule_stops_commands_with_its_setting(folded: Path) -> None:
    """Like any mistake in definitions, before anything is written."""
    with (folded / "dayfold.toml").open("a") as file:
        file.write('[alerts.rules.low]\nwhen = "orders_cont < 1"\nrollup = "ShopDaily"\n')
    assert fails("alerts", "list", cwd=folded, status=2).startswith(
        "DefinitionError [unknown-metric] alerts.rules.low\n  when names 'orders_cont', which is no metric of ShopDaily; the nearest is "
    )
