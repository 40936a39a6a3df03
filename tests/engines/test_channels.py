"""Channels of alerts against real receivers: webhooks, commands, mail, and where errors are reported."""

from __future__ import annotations

import builtins
import contextlib
import gzip
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dayfold.errors import ConfigError, DeliveryFailed, MissingDriver
from dayfold.jobs.channels import Message, send
from dayfold.jobs.report import report, reporting
from dayfold.settings import ChannelSettings, ErrorsSettings, load
from tests.engines.receivers import MailServer, Receiver, is_signed

BODY = {
    "delivery": "7", "event": "opened", "alert": 3, "rule": "LowRevenue", "kind": "threshold", "description": "What pays the bills.",
    "subject": '{"campaign": "å"}', "message": "mrr is 850 on 2026-03-11. The rule: mrr < 1000.", "opened_at": "2026-03-12T12:00:00Z",
    "closed_at": None, "details": {}, "look": "dayfold query CreatorDaily",
}  # fmt: skip
MESSAGE = Message("7", "opened", json.dumps(BODY, ensure_ascii=False), 1_773_316_800)


def channel(**words: Any) -> ChannelSettings:
    return load({"alerts": {"channels": {"ops": words}}}).alerts.channels["ops"]


def refused(**words: Any) -> str:
    """Why a channel did not take the message."""
    with pytest.raises(DeliveryFailed) as found:
        send(channel(**words), MESSAGE)
    return str(found.value)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_webhook_is_signed_over_time_and_body() -> None:
    """The receiver's own code finds the signature right, letters beyond ASCII included."""
    with Receiver([204]) as receiver:
        send(channel(url=receiver.url, secret="s3"), MESSAGE)
        [(_, headers, body)] = receiver.requests
        assert json.loads(body) == BODY
        assert headers["Dayfold-Signature"].startswith("t=1773316800,v1=")
        assert is_signed(headers, body, "s3")


@pytest.mark.parametrize("status", [400, 404, 410, 503])
def test_webhook_that_refuses(status: int) -> None:
    """Its status is told, and nothing that it answered."""
    with Receiver([status]) as receiver:
        assert refused(url=receiver.url) == f"127.0.0.1 answered {status}; expected 200 to 299."


def test_redirects_are_not_followed() -> None:
    """A message would go where nobody configured it to."""
    with Receiver([307]) as receiver:
        assert refused(url=receiver.url) == (
            "127.0.0.1 answered 307.\n  Redirects are not followed: write the last address."
        )
        assert len(receiver.requests) == 1


def test_webhook_that_is_not_there_or_does_not_answer(silent: socket.socket) -> None:
    """The address's path, which may hold a secret, is not told."""
    port = silent.getsockname()[1]
    url = f"http://127.0.0.1:{port}/hooks/s3cret"
    assert refused(url=url, timeout_s=0.05) == "127.0.0.1 did not answer within 0.05 s."
    silent.close()
    assert refused(url=url) == "127.0.0.1 could not be reached (ConnectionRefusedError: Connection refused)."


def test_command_reads_the_message_from_its_input(tmp_path: Path) -> None:
    """As one line, so that messages can be collected in a file; its arguments are given as they are: no shell is between."""
    out = tmp_path / "out"
    program = "import sys; open(sys.argv[1], 'w').write(sys.argv[2] + sys.stdin.read())"
    send(channel(command=[sys.executable, "-c", program, str(out), "$(id); "]), MESSAGE)
    assert out.read_text() == "$(id); " + MESSAGE.body + "\n"


def test_command_that_fails_is_missing_or_hangs(tmp_path: Path) -> None:
    """Its status is told; after its time it and what it started are ended."""
    assert refused(command=["sh", "-c", "echo secret; exit 3"]) == "The command sh ended with status 3; expected 0."
    assert refused(command=["/nowhere/x"]) == (
        "The command /nowhere/x could not be started (FileNotFoundError: No such file or directory)."
    )
    fifo = tmp_path / "held"
    assert (
        refused(command=["sh", "-c", f"mkfifo {fifo}; cat {fifo}"], timeout_s=0.3)
        == "The command sh took longer than 0.3 s."
    )


def test_command_that_does_not_read_is_no_failure() -> None:
    """It may only want to know that something happened."""
    send(channel(command=["true"]), MESSAGE)


def test_mail_is_readable_and_keeps_its_identity() -> None:
    """Subject, sender, every recipient, one Message-ID for all attempts, and the message in words."""
    with MailServer() as server:
        words = {
            "host": "127.0.0.1",
            "port": server.port,
            "tls": "none",
            "from": "dayfold@x.test",
            "to": ["a@x.test", "b@x.test"],
        }
        for _ in range(2):
            send(channel(**words), MESSAGE)
        first, second = server.mails
        assert server.recipients == ["a@x.test", "b@x.test"] * 2
        assert (first["Subject"], first["From"], first["To"]) == (
            "[Dayfold] LowRevenue: opened",
            "dayfold@x.test",
            "a@x.test, b@x.test",
        )
        assert first["Message-ID"] == second["Message-ID"] == "<7@dayfold>"
        payload = first.get_payload(decode=True)
        assert isinstance(payload, bytes)
        assert payload.decode().splitlines() == [
            "mrr is 850 on 2026-03-11. The rule: mrr < 1000.", "", "Rule: LowRevenue", "Description: What pays the bills.",
            'About: {"campaign": "å"}', "Since: 2026-03-12T12:00:00Z", "Look: dayfold query CreatorDaily",
        ]  # fmt: skip


def test_mail_that_is_refused_or_not_encrypted_as_asked(silent: socket.socket) -> None:
    """A server without TLS is not spoken to in the clear where TLS was asked for."""
    to = {"from": "dayfold@x.test", "to": ["a@x.test"]}
    with MailServer(refuse="550 no such user a@x.test") as server:
        words = {"host": "127.0.0.1", "port": server.port, **to}
        assert refused(**words, tls="none") == "127.0.0.1 did not take the mail (SMTPRecipientsRefused)."
        assert refused(**words) == "127.0.0.1 did not take the mail (SMTPNotSupportedError)."
        assert refused(**words, tls="none", user="me", password="hunter2") == (
            "127.0.0.1 did not take the mail (SMTPNotSupportedError)."
        )
        assert server.mails == []
    words = {"host": "127.0.0.1", "port": silent.getsockname()[1], **to}
    assert refused(**words, timeout_s=0.05) == "127.0.0.1 did not take the mail (SMTPServerDisconnected)."


# -- errors --------------------------------------------------------------------------------------------


def meet_an_error(action: str) -> None:
    """An error whose text and local variables hold values."""
    password = "hunter2"
    try:
        raise ValueError(f"row 4711 of {password}")
    except ValueError as error:
        report(error, action)


def test_sentry_is_told_class_place_and_action_alone() -> None:
    """The event's envelope, as a real receiver gets it, holds no value."""
    with Receiver() as receiver:
        dsn = f"http://key@127.0.0.1:{receiver.port}/1"
        with reporting(ErrorsSettings.model_validate({"sentry_dsn": dsn})):
            meet_an_error("request-failed")
        [(path, headers, body)] = receiver.requests
    assert path == "/api/1/envelope/"
    text = gzip.decompress(body).decode() if headers.get("Content-Encoding") == "gzip" else body.decode()
    event = json.loads(text.splitlines()[2])
    [one] = event["exception"]["values"]
    assert one["type"] == "ValueError"
    assert event["tags"]["action"] == "request-failed"
    assert one["value"] == event["tags"]["place"]
    assert one["value"].startswith("tests.engines.test_channels:meet_an_error:")
    assert [frame["function"] for frame in one["stacktrace"]["frames"]] == ["meet_an_error"]
    for secret in ("4711", "hunter2", socket.gethostname(), "key@"):
        assert secret not in text
    meet_an_error("request-failed")
    assert len(receiver.requests) == 1


def test_otlp_is_told_class_place_and_action_alone() -> None:
    """One span for an error; the collector's request holds no value."""
    with Receiver() as receiver:
        endpoint = f"{receiver.origin}/"
        with reporting(ErrorsSettings.model_validate({"otlp_endpoint": endpoint})):
            meet_an_error("job-failed")
        [(path, _, body)] = receiver.requests
    assert path == "/v1/traces"
    for word in (b"job-failed", b"ValueError", b"meet_an_error", b"dayfold"):
        assert word in body
    for secret in (b"4711", b"hunter2"):
        assert secret not in body


@pytest.mark.parametrize(("setting", "package", "module", "extra"), [
    ("sentry_dsn", "sentry-sdk", "sentry_sdk", "sentry"),
    ("otlp_endpoint", "opentelemetry-exporter-otlp-proto-http", "opentelemetry", "otlp"),
])  # fmt: skip
def test_missing_package_is_named(
    setting: str, package: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for reports and would get none is told so at once."""
    real = builtins.__import__

    def without(name: str, *words: Any, **more: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return real(name, *words, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDriver) as missing, reporting(ErrorsSettings.model_validate({setting: "http://k@x/1"})):
        pass
    assert str(missing.value) == (
        f"errors.{setting} needs {package}, which is not installed.\n  Install it: pip install 'dayfold[{extra}]'"
    )


@pytest.mark.parametrize(("words", "message"), [
    ({"sentry_dsn": "nonsense"}, "errors.sentry_dsn is no address of a Sentry project.\n  It is https://KEY@HOST/PROJECT."),
    ({"otlp_endpoint": "collector:4318"}, "errors.otlp_endpoint is http://HOST:PORT or https://HOST:PORT."),
])  # fmt: skip
def test_addresses_that_are_none(words: dict[str, str], message: str) -> None:
    """Refused when the server starts, without repeating what may hold a key."""
    with pytest.raises(ConfigError) as refused, reporting(ErrorsSettings.model_validate(words)):
        pass
    assert str(refused.value) == message


def test_report_that_fails_does_not_fail_what_met_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request was answered; that nobody could be told is logged."""
    from dayfold.jobs import report as module

    def broken(_: object) -> None:
        raise OSError

    monkeypatch.setattr(module, "_tellers", [broken])
    with contextlib.nullcontext():
        meet_an_error("request-failed")
