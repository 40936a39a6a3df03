"""Real receivers on loopback: an HTTP server and a mail server that keep what they were sent."""

from __future__ import annotations

import hashlib
import hmac
import json
import socketserver
import threading
from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from typing import Any

from tests.loopback import Answers, Loopback


class Receiver(Loopback):
    """An HTTP receiver that answers with the given statuses in turn, and then with 200."""

    def __init__(self, statuses: Sequence[int] = ()) -> None:
        self.statuses = list(statuses)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.arrived = threading.Condition()
        receiver = self

        class Handler(Answers):
            def do_POST(self) -> None:
                body = self.asked()
                with receiver.arrived:
                    status = receiver.statuses.pop(0) if receiver.statuses else 200
                    receiver.requests.append((self.path, dict(self.headers), body))
                    receiver.arrived.notify_all()
                self.answer(status, **({"Location": "/elsewhere"} if status in (301, 302, 307) else {}))

        super().__init__(Handler)

    @property
    def url(self) -> str:
        return f"{self.origin}/hooks/alerts?team=a"

    def wait(self, count: int, timeout_s: float = 30) -> None:
        """So many requests have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.requests) >= count, timeout_s), self.requests

    def wait_for(self, event: tuple[str, str], timeout_s: float = 60) -> None:
        """A message of a rule about an event has come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: event in self.events, timeout_s), self.events

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(body["rule"], body["event"]) for body in self.bodies]


def is_signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """What a receiver's own code checks: the digest of ``t.body``. Shares nothing with the product."""
    parts = dict(part.split("=", 1) for part in headers["Dayfold-Signature"].split(","))
    wanted = hmac.new(secret.encode(), parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return set(parts) == {"t", "v1"} and hmac.compare_digest(parts["v1"], wanted)


class MailServer(Loopback):
    """A mail server that takes every mail, or refuses it with a status."""

    def __init__(self, refuse: str | None = None) -> None:
        self.mails: list[Message] = []
        self.recipients: list[str] = []
        mailbox = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, line: str) -> None:
                self.wfile.write(line.encode() + b"\r\n")

            def handle(self) -> None:
                self.say("220 post ESMTP")
                while line := self.rfile.readline():
                    word = line.strip().decode()
                    verb = word.split(" ")[0].upper()
                    if verb == "DATA":
                        self.say("354 go on")
                        lines = []
                        while (text := self.rfile.readline()) != b".\r\n":
                            lines.append(text)
                        mailbox.mails.append(message_from_bytes(b"".join(lines)))
                        self.say("250 taken")
                    elif verb == "RCPT" and refuse:
                        self.say(refuse)
                    elif verb == "RCPT":
                        mailbox.recipients.append(word.partition("<")[2].rstrip(">"))
                        self.say("250 ok")
                    elif verb == "QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 ok")

        super().__init__(Handler, socketserver.ThreadingTCPServer)
