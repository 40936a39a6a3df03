"""Runs commands for other processes while this one serves a DuckDB file, which one process owns. HTTP door.

Each command has a thread, streams, a folder, variables and an interrupt of its own. It works over the service's connections, with the
definitions that the service has when it begins.

Invariant: a command runs only for whoever proved to know the secret of the owner file, and with the definitions that it was given
with. A client that leaves, and a server that stops, end a command as Ctrl-C does: between two statements, nothing half done.

Weakness: a command waits in its thread while its reader does not read, as it does at a full pipe, with whatever lease it holds.
"""

from __future__ import annotations

import hmac
import io
import logging
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dayfold import __version__, interrupting, streams
from dayfold.engines import owners
from dayfold.http.service import Service
from dayfold.http.wire import Garbled, Kind, Line, proof

#: Commands at once; one more is told so.
_MOST = 64
#: How long a connection may take to say what it wants.
_GREETING_S = 5.0
#: How often what is to end is interrupted again, and how long the server waits for it.
_INSIST_S = 0.1
_GRACE_S = 10.0
#: The status of a command that Ctrl-C ended.
_INTERRUPTED = 130
#: Unix sockets have short names.
_LONGEST_PATH = 100
_log = logging.getLogger("dayfold.http")


@dataclass(frozen=True, slots=True)
class Errand:
    """A command that runs here for another process.

    Attributes:
        words: Its arguments, without the program's name; ``folder``: where it was called.
        environ: Its variables, as far as they concern a command.
        definitions: The ``path`` and the ``fingerprint`` of those that it was given with.
        settings: Those of its own that hold for its work, and seals of those that have to be the server's.
        service: Where the application is; ``owner``: as the client knows the server.
        encodings: Of its output and its errors, each with what becomes of letters that it does not have.
        is_terminal: Whether its output is a terminal.
    """

    words: tuple[str, ...]
    folder: str
    environ: Mapping[str, str]
    definitions: Mapping[str, str]
    settings: Mapping[str, Any]
    encodings: tuple[tuple[str, str], tuple[str, str]]
    is_terminal: bool
    service: Service
    owner: owners.Owner


#: Runs a command; its exit status.
Runner = Callable[[Errand], int]


class Reception:
    """Takes commands for one service from `start` to `stop`."""

    def __init__(self, service: Service, run: Runner, url: str) -> None:
        self.service = service
        self.run = run
        self.url = url
        self._file = owners.file_of(service.app.databases.store)
        self._listener: socket.socket | None = None
        self._folder: str | None = None
        self._interrupts: set[interrupting.Interrupt] = set()
        self._entry = threading.Lock()
        self._closing = threading.Event()
        self._rooms = threading.BoundedSemaphore(_MOST)
        self._threads: set[threading.Thread] = set()

    def start(self) -> None:
        """Listen, and say so in the owner file. A store that is no file of this process needs none of that."""
        if self._file is None:
            return
        self._folder = _private_folder()
        path = str(Path(self._folder) / "commands")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(_MOST)
        origin = self.service.app.catalog.origin
        self.owner = owners.Owner(
            os.getpid(), path, secrets.token_hex(32), self.url, origin.fingerprint if origin else "", __version__,
            owners.here(),
        )  # fmt: skip
        owners.write(self._file, self.owner)
        threading.Thread(target=self._listen, name="commands", daemon=True).start()

    def stop(self) -> None:
        """Take no more commands, and end those that run, their clients told."""
        if self._file is None or self._listener is None:
            return
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        owners.forget(self._file, self.owner)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        for _ in range(int(_GRACE_S / _INSIST_S)):
            with self._entry:
                interrupts, threads = list(self._interrupts), list(self._threads)
            if not threads:
                return
            for one in interrupts:
                one.ask()
            threads[0].join(_INSIST_S)

    def _listen(self) -> None:
        assert self._listener is not None
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._receive, args=(connection,), name="command", daemon=True)
            with self._entry:
                self._threads.add(thread)
            thread.start()

    def _receive(self, connection: socket.socket) -> None:
        """One connection, from its greeting to its end."""
        line = Line(connection)
        try:
            with connection, suppress(OSError, Garbled):
                connection.settimeout(_GREETING_S)
                if not self._greet(line) or (errand := self._errand(line)) is None:
                    return
                if not self._rooms.acquire(blocking=False):
                    line.send_words(Kind.FULL, {"most": _MOST})
                    return
                try:
                    connection.settimeout(None)
                    self._attend(line, errand)
                finally:
                    self._rooms.release()
        finally:
            with self._entry:
                self._threads.discard(threading.current_thread())

    def _greet(self, line: Line) -> bool:
        """Whether the other side knows the secret; it is told that we do."""
        words = line.receive_words(Kind.HELLO)
        if words is None:
            return False
        nonce, given = str(words.get("nonce")), str(words.get("proof"))
        if not hmac.compare_digest(given.encode(), proof(self.owner.secret, "client", nonce).encode()):
            return False
        line.send_words(Kind.HELLO, {"proof": proof(self.owner.secret, "server", nonce)})
        return True

    def _errand(self, line: Line) -> Errand | None:
        found = line.receive_words(Kind.ERRAND)
        if found is None:
            return None
        try:
            out, err = ((str(name), str(errors)) for name, errors in found["encodings"])
            for name, errors in (out, err):
                "".encode(name, errors)
            return Errand(
                tuple(map(str, found["words"])), str(found["folder"]), dict(found["environ"]), dict(found["definitions"]),
                dict(found["settings"]), (out, err), bool(found["is_terminal"]), self.service, self.owner,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, LookupError):
            raise Garbled from None

    def _attend(self, line: Line, errand: Errand) -> None:
        """Run a command, sending what it says as it says it, and its status."""
        interrupt, done = interrupting.Interrupt(), threading.Event()
        with self._entry:
            self._interrupts.add(interrupt)
        if self._closing.is_set():
            interrupt.ask()
        watcher = threading.Thread(target=_watch, args=(line, interrupt, done), name="client of a command", daemon=True)
        watcher.start()
        out = self._stream(line, Kind.OUTPUT, errand.encodings[0], by_line=errand.is_terminal)
        err = self._stream(line, Kind.ERRORS, errand.encodings[1], by_line=True)
        try:
            with interrupt.applied(), streams.into(out, err):
                try:
                    status = self.run(errand)
                except KeyboardInterrupt:
                    status = _INTERRUPTED
                if status == _INTERRUPTED and self._closing.is_set():
                    status = 1
                    print(f"The server at {self.url}, which ran this command, is stopping.", file=err)
            out.flush()
            err.flush()
        finally:
            done.set()
            with self._entry:
                self._interrupts.discard(interrupt)
        line.send_words(Kind.STATUS, {"status": status})
        # What is left unread at a close would take the status with it: the client closes first.
        with suppress(OSError):
            line.connection.shutdown(socket.SHUT_WR)
        watcher.join(_GREETING_S)
        with suppress(OSError):
            line.connection.shutdown(socket.SHUT_RDWR)
        watcher.join()

    def _stream(self, line: Line, kind: Kind, encoding: tuple[str, str], *, by_line: bool) -> io.TextIOWrapper:
        """What a command writes to; whole lines are sent at once where somebody watches them come."""
        # Bars of progress move a cursor that is not here: errors are never a terminal, so that there are plain lines.
        is_terminal = by_line and kind is Kind.OUTPUT
        sink = io.BufferedWriter(_Sink(line, kind, self._closing.is_set, is_terminal=is_terminal), 1 << 16)
        return io.TextIOWrapper(sink, encoding[0], encoding[1], newline="", line_buffering=by_line)


class _Sink(io.RawIOBase):
    """Bytes become frames; once the client has left, they go nowhere, and the command is stopped elsewhere."""

    def __init__(self, line: Line, kind: Kind, give_up: Callable[[], bool], *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        self._line = line
        self._kind = kind
        self._give_up = give_up

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, content: Any) -> int:
        part = bytes(content[: 1 << 16])
        self._line.send(self._kind, part, self._give_up)
        return len(part)


def _watch(line: Line, interrupt: interrupting.Interrupt, done: threading.Event) -> None:
    """Interrupt a command when its client asks for it or has left; returns when the client has."""
    frame: tuple[Kind, bytes] | None = (Kind.HELLO, b"")
    while frame is not None:
        try:
            frame = line.receive()
        except (OSError, Garbled):
            frame = None
        if frame is None and not done.is_set():
            line.gone = True
        if frame is None or frame[0] is Kind.CANCEL:
            while not done.is_set():
                interrupt.ask()
                done.wait(_INSIST_S)


def _private_folder() -> str:
    """A new folder that only this user may enter, with a name short enough for sockets in it."""
    for place in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if place and len(place) + 30 < _LONGEST_PATH:
            with suppress(OSError):
                return tempfile.mkdtemp(prefix="dayfold-", dir=place)
    return tempfile.mkdtemp(prefix="dayfold-")
