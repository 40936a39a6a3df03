"""Sends one message to one channel: a signed webhook, a command, or mail. Jobs floor.

Invariant: what is raised never holds an address's path, a secret, or what the other side answered.

Weakness: the limit of time is one of each wait for the network; a webhook that answers letter by letter may take longer.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import signal
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

from dayfold.errors import DeliveryFailed
from dayfold.settings import ChannelSettings

_PORTS = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent.

    Attributes:
        delivery: The same for every attempt, so that a receiver can drop repeats.
        body: The JSON that every kind of channel is given, or made from.
        sent_at: Unix seconds, part of what is signed.
    """

    delivery: str
    event: str
    body: str
    sent_at: int


def signature(secret: str, sent_at: int, body: str) -> str:
    """The header that proves who sent a body, and when: HMAC-SHA256 over ``t.body``.

    >>> signature("s", 1, "{}")[:21]
    't=1,v1=b253639bcd705e'
    """
    digest = hmac.new(secret.encode(), f"{sent_at}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={sent_at},v1={digest}"


def send(channel: ChannelSettings, message: Message) -> None:
    """The channel took the message.

    Raises:
        DeliveryFailed: saying why not.
    """
    _SENDERS[channel.kind](channel, message)


def _webhook(channel: ChannelSettings, message: Message) -> None:
    assert channel.url is not None
    parts = urlsplit(channel.url.get_secret_value())
    assert parts.hostname is not None
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "dayfold",
        "Dayfold-Delivery": message.delivery,
        "Dayfold-Event": message.event,
    }
    if channel.secret is not None:
        headers["Dayfold-Signature"] = signature(channel.secret.get_secret_value(), message.sent_at, message.body)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=channel.timeout_s, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=channel.timeout_s)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, message.body.encode(), headers)
        status = connection.getresponse().status
    except TimeoutError:
        raise DeliveryFailed(f"{parts.hostname} did not answer within {channel.timeout_s:g} s.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DeliveryFailed(f"{parts.hostname} could not be reached ({_kind(error)}).") from None
    finally:
        connection.close()
    if 300 <= status < 400:
        raise DeliveryFailed(
            f"{parts.hostname} answered {status}.", hint="Redirects are not followed: write the last address."
        )
    if not 200 <= status < 300:
        raise DeliveryFailed(f"{parts.hostname} answered {status}; expected 200 to 299.")


def _command(channel: ChannelSettings, message: Message) -> None:
    assert channel.command is not None
    name = channel.command[0]
    try:
        # A session of its own: what it started ends with it when its time is over.
        process = subprocess.Popen(
            channel.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise DeliveryFailed(f"The command {name} could not be started ({_kind(error)}).") from None
    try:
        process.communicate(f"{message.body}\n".encode(), timeout=channel.timeout_s)
    except subprocess.TimeoutExpired:
        raise DeliveryFailed(f"The command {name} took longer than {channel.timeout_s:g} s.") from None
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode != 0:
        raise DeliveryFailed(f"The command {name} ended with status {process.returncode}; expected 0.")


def _smtp(channel: ChannelSettings, message: Message) -> None:
    assert channel.host is not None
    port = channel.port or _PORTS[channel.tls]
    mail = _mail(channel, message)
    try:
        kind: Callable[..., smtplib.SMTP] = smtplib.SMTP
        more: dict[str, Any] = {}
        if channel.tls == "tls":
            kind, more = smtplib.SMTP_SSL, {"context": ssl.create_default_context()}
        with kind(channel.host, port, timeout=channel.timeout_s, **more) as server:
            if channel.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if channel.user is not None and channel.password is not None:
                server.login(channel.user, channel.password.get_secret_value())
            refused = server.send_message(mail)
    except TimeoutError:
        raise DeliveryFailed(f"{channel.host} did not answer within {channel.timeout_s:g} s.") from None
    except smtplib.SMTPResponseException as error:
        raise DeliveryFailed(f"{channel.host} refused the mail ({_kind(error)} {error.smtp_code}).") from None
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise DeliveryFailed(f"{channel.host} did not take the mail ({_kind(error)}).") from None
    if refused:
        raise DeliveryFailed(f"{channel.host} refused {len(refused)} of {len(channel.to)} addresses.")


def _mail(channel: ChannelSettings, message: Message) -> EmailMessage:
    """A message as a person reads it; its identity is the same for every attempt."""
    words: Mapping[str, Any] = json.loads(message.body)
    mail = EmailMessage()
    mail["From"] = str(channel.sender)
    mail["To"] = ", ".join(channel.to)
    mail["Subject"] = f"[Dayfold] {words['rule']}: {words['event']}"
    mail["Message-ID"] = f"<{message.delivery}@dayfold>"
    mail["Dayfold-Delivery"] = message.delivery
    lines = [words["message"], ""]
    lines += [f"{label}: {words[name]}" for name, label in _LINES.items() if words.get(name)]
    mail.set_content("\n".join(lines) + "\n")
    return mail


_LINES = {
    "rule": "Rule", "description": "Description", "subject": "About", "opened_at": "Since", "closed_at": "Recovered",
    "look": "Look",
}  # fmt: skip


def _kind(error: BaseException) -> str:
    """What an error of the system is called: its text may hold an address."""
    text = getattr(error, "strerror", None)
    return (
        f"{type(error).__name__}: {text}"
        if isinstance(text, str) and isinstance(error, OSError)
        else type(error).__name__
    )


_SENDERS: dict[str, Callable[[ChannelSettings, Message], None]] = {
    "webhook": _webhook,
    "command": _command,
    "smtp": _smtp,
}
