"""What is sent for what was tracked, whatever that is."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import logging
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dayfold.client import Client
from tests.client.collector import Collector
from tests.client.conftest import KEY

NewClient = Callable[..., Client]


class Color(enum.Enum):
    RED = "red"


class Broken:
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_event_is_sent_as_the_collector_reads_it(new_client: NewClient, collector: Collector) -> None:
    """Every argument has its field, and what is not given is left out."""
    known = new_client().track(
        "license_created", {"revenue_cents": 500}, actor_id=7, entity_type="license", entity_id="L1",
        anonymous_id="a1", session_id="s1", occurred_at=dt.datetime(2026, 3, 9, 10, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        attribution={"utm_source": "news"}, source="server", page="https://x.example/", user_agent="UA", ip="192.0.2.1",
    )  # fmt: skip
    assert collector.until_events(1) == [
        {
            "id": known, "event_type": "license_created", "occurred_at": "2026-03-09T10:00:00+02:00",
            "properties": {"revenue_cents": 500}, "actor": {"type": "user", "id": "7"}, "attribution": {"utm_source": "news"},
            "entity_type": "license", "entity_id": "L1", "anonymous_id": "a1", "session_id": "s1", "source": "server",
            "page": "https://x.example/", "user_agent": "UA", "ip": "192.0.2.1",
        }
    ]  # fmt: skip
    (request,) = collector.requests
    assert request.path == "/v1/events"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert set(request.body) == {"sent_at", "events"}
    assert dt.datetime.fromisoformat(request.body["sent_at"]).utcoffset() == dt.timedelta(0)


def test_a_plain_event_has_an_id_and_a_moment(new_client: NewClient, collector: Collector) -> None:
    """A UUID, and milliseconds since 1970; a second event has another id."""
    client = new_client()
    ids = {client.track("asset_viewed"), client.track("asset_viewed")}
    first, second = collector.until_events(2)
    assert {first["id"], second["id"]} == ids == {str(uuid.UUID(one)) for one in ids if one}
    assert set(first) == {"id", "event_type", "occurred_at"}
    assert abs(first["occurred_at"] / 1000 - dt.datetime.now(dt.UTC).timestamp()) < 60


def test_other_keywords_are_properties(new_client: NewClient, collector: Collector) -> None:
    """A declared column such as project_id is filled from there; properties by that name win."""
    new_client().track("asset_viewed", {"n": 1}, project_id="p1", n=2)
    assert collector.until_events(1)[0]["properties"] == {"project_id": "p1", "n": 1}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (dt.datetime(2026, 3, 9, 10), "2026-03-09T10:00:00+00:00"),
        (dt.date(2026, 3, 9), "2026-03-09"),
        ("2026-03-09T10:00:00Z", "2026-03-09T10:00:00Z"),
        (1773050400.25, 1773050400250),
        (1773050400250, 1773050400250),
    ],
)
def test_moments(new_client: NewClient, collector: Collector, given: object, sent: object) -> None:
    """Without a zone a datetime is UTC; seconds and milliseconds are told apart by their size."""
    new_client().track("asset_viewed", occurred_at=given)
    assert collector.until_events(1)[0]["occurred_at"] == sent


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (decimal.Decimal("4.50"), "4.50"),
        (dt.date(2026, 3, 9), "2026-03-09"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Color.RED, "red"),
        (float("nan"), "nan"),
        ([float("-inf"), {1.5: float("inf")}], ["-inf", {"1.5": "inf"}]),
        ({("a", 1): {"b"}}, {"('a', 1)": ["b"]}),
        (b"\xffx", "\ufffdx"),
        ("\ud800 half a letter", "? half a letter"),
        ("line\nbreak\u2028\0", "line\nbreak\u2028\0"),
        (2**70, 2**70),
    ],
)
def test_what_json_cannot_hold_is_made_text(
    new_client: NewClient, collector: Collector, given: object, sent: object
) -> None:
    """The event arrives, with something that a person can read."""
    assert new_client().track("asset_viewed", {"value": given}) is not None
    assert collector.until_events(1)[0]["properties"] == {"value": sent}


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ((), {}),
        ((None,), {}),
        ((5,), {}),
        (("",), {}),
        (("x", 5), {}),
        (("x", ["secret"]), {}),
        (("x", {"circle": CIRCLE}), {}),
        (("x", {"circle": [CIRCLE, float("nan")]}), {}),
        (("x", {"broken": Broken()}), {}),
        (("x", {"much": "x" * 600_000}), {}),
        (("x", {"long": 10**5000}), {}),
        (("x",), {"entity_id": Broken()}),
        (("x",), {"occurred_at": float("nan")}),
        (("x",), {"id": "x" * 201}),
        (("x",), {"attribution": CIRCLE}),
    ],
)
def test_what_can_be_no_event_is_dropped_and_counted(
    new_client: NewClient, collector: Collector, words: tuple[Any, ...], more: dict[str, Any]
) -> None:
    """Nothing is raised, nothing of it is sent, and the next event arrives."""
    client = new_client()
    assert client.track(*words, **more) is None
    assert client.counts["malformed"] == client.counts["dropped"] == 1
    client.track("asset_viewed")
    assert [one["event_type"] for one in collector.until_events(1)] == ["asset_viewed"]


def test_later_changes_of_properties_are_not_sent(new_client: NewClient, collector: Collector) -> None:
    """The event is what it was when it was tracked."""
    properties = {"n": 1}
    client = new_client(interval_s=0.2)
    client.track("asset_viewed", properties)
    properties["n"] = 2
    assert collector.until_events(1)[0]["properties"] == {"n": 1}


def test_dropped_events_are_logged_once_without_their_values(
    new_client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says how many, and neither what they held nor the key."""
    client = new_client()
    with caplog.at_level(logging.DEBUG, "dayfold.client"):
        client.track("secret type", {"secret name": Broken()})
        client.track("asset_viewed")
        assert client.flush()
        client.track("secret type", {"secret name": Broken()})
        assert client.close()
    assert caplog.messages == [
        "1 events were dropped: they have no type, cannot be made JSON, or are too large. It is said once."
    ]
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("url", "key", "message"),
    [
        ("events.example.com", "k", "url: expected the address of a collector, such as https://events.example.com."),
        (
            "ftp://events.example.com",
            "k",
            "url: expected the address of a collector, such as https://events.example.com.",
        ),
        (None, "k", "url: expected the address of a collector, such as https://events.example.com."),
        ("https://events.example.com", "", "key: expected a write key: ASCII letters without a space."),
        ("https://events.example.com", "a\nb", "key: expected a write key: ASCII letters without a space."),
        ("https://events.example.com", None, "key: expected a write key: ASCII letters without a space."),
    ],
)
def test_a_client_without_address_or_key_is_refused_at_the_start(url: Any, key: Any, message: str) -> None:
    """Where the program begins, not where it tracks; the key is not repeated."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # its whole text is compared
        Client(url, key)
    assert str(refused.value) == message


def test_importing_the_client_loads_nothing_else(tmp_path: Path) -> None:
    """A program that only sends events has neither the rest of the package in it nor any other package."""
    script = (
        "import sys; before = set(sys.modules); from dayfold.client import Client; Client('https://x', 'k').track('x')\n"
        "names = {one.partition('.')[0] for one in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(sorted(names), sorted(one for one in sys.modules if one.startswith('dayfold')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    ours = ["", ".client", ".client.books", ".client.client", ".client.event", ".client.line", ".client.sender"]
    assert done.stdout.strip() == f"['dayfold'] {[f'dayfold{one}' for one in ours]}"
