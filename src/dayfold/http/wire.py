"""What a command and the server that owns its store say to each other over a Unix socket. HTTP door.

Frames: one letter, the length of the content in four bytes, the content. First each side proves that it knows the secret of the
owner file, without saying it. Then the command says what it is to be, in one JSON document, and is answered by frames of output
and errors, and at last by its exit status.

Invariant: no more than one frame is held in memory; whoever writes waits for whoever reads.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import select
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

#: No frame is longer; whoever announces one that is speaks another language.
LARGEST_BYTES = 4 << 20
_HEAD = struct.Struct(">cI")
#: How often whoever waits to write looks whether it still should.
_LOOK_S = 0.5


class Kind(StrEnum):
    """What a frame holds."""

    HELLO = "H"
    ERRAND = "R"
    OUTPUT = "O"
    ERRORS = "E"
    STATUS = "X"
    FULL = "F"
    CANCEL = "C"


class Garbled(Exception):
    """The other side does not speak this language."""


class Line:
    """One side's end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.gone = False
        self._writing = threading.Lock()

    def receive(self, largest: int = LARGEST_BYTES) -> tuple[Kind, bytes] | None:
        """The next frame, or None where the other side has left. Raises Garbled, and OSError at a time limit."""
        head = self._exactly(_HEAD.size)
        if head is None:
            return None
        letter, length = _HEAD.unpack(head)
        if letter.decode("latin-1") not in set(Kind) or length > largest:
            raise Garbled
        content = self._exactly(length)
        return None if content is None else (Kind(letter.decode()), content)

    def _exactly(self, count: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < count:
            part = self.connection.recv(min(count - len(parts), 1 << 16))
            if not part:
                return None
            parts += part
        return bytes(parts)

    def send(self, kind: Kind, content: bytes = b"", give_up: Callable[[], bool] = lambda: False) -> None:
        """Send a frame, waiting while the other side does not read; where it has left, or we gave up, nothing is sent any more."""
        frame = memoryview(_HEAD.pack(kind.encode(), len(content)) + content)
        with self._writing:
            room = select.poll()
            while frame.nbytes and not self.gone:
                try:
                    room.register(self.connection, select.POLLOUT)
                    if room.poll(_LOOK_S * 1000):
                        frame = frame[self.connection.send(frame, socket.MSG_DONTWAIT) :]
                    elif give_up():
                        self.gone = True
                except BlockingIOError:
                    continue
                except (OSError, ValueError):
                    self.gone = True

    def send_words(self, kind: Kind, words: Mapping[str, Any]) -> None:
        """Send a frame that holds a JSON object."""
        self.send(kind, json.dumps(words).encode())

    def receive_words(self, kind: Kind) -> dict[str, Any] | None:
        """The next frame as a JSON object, or None where the other side has left. Raises Garbled where it is another."""
        frame = self.receive()
        if frame is None:
            return None
        try:
            words = json.loads(frame[1])
        except ValueError:
            raise Garbled from None
        if frame[0] is not kind or not isinstance(words, dict):
            raise Garbled
        return words


def proof(secret: str, side: str, nonce: str) -> str:
    """What shows that a side knows the secret, for one connection only.

    >>> proof("s", "client", "1") == proof("s", "server", "1")
    False
    """
    return seal(secret, f"{side} {nonce}")


def seal(secret: str, text: str) -> str:
    """A digest of a text that says nothing of it to whoever lacks the secret."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
