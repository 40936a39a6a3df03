"""Has the server that owns a DuckDB file run a command, and passes on what it says. A door.

Invariant: a command is either run here or sent to a server, never both.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dayfold.cli import errand
from dayfold.errors import Busy, DayfoldError, FileLocked

if TYPE_CHECKING:
    from dayfold.app import Dayfold
    from dayfold.engines.owners import Owner
    from dayfold.http.wire import Line

#: How long a server may take to greet; it does so at once, unless the machine is very busy.
_GREETING_S = 10.0


class Answered(Exception):
    """Ends a command that was run elsewhere; ``status`` is its exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Silent(Exception):
    """Nobody answers at the socket, or somebody who does not know the secret."""


def unless_ours(app: Dayfold, definitions: Path) -> None:
    """Return where this process can own the store, or nobody is there to own it; else have its owner run the command.

    Raises:
        Answered: when the owner has run it.
        FileLocked: when the owner cannot be spoken with; Busy: when it has too much to do.
    """
    from dayfold.engines import owners

    file = owners.file_of(app.databases.store)
    if file is None:
        return
    for _ in range(2):
        try:
            app.databases.store.open()
        except FileLocked as locked:
            owner = owners.read(file)
            if owner is None:
                return
            try:
                line = _reached(owner)
            except _Silent:
                if owner.host != owners.here():
                    raise _elsewhere(locked, owner) from None
                owners.forget(file, owner)
                continue
            with line.connection:
                raise Answered(_run(app, definitions, owner, line)) from None
        except DayfoldError:
            # The command meets it where it always did.
            return
        else:
            # Whoever owns the file knows that nobody serves it.
            if file.exists():
                owners.forget(file)
            return


def _reached(owner: Owner) -> Line:
    """A connection whose other end knows the secret. Raises _Silent, Busy."""
    from dayfold.engines import owners
    from dayfold.http.wire import Garbled, Kind, Line, proof

    if owners.is_gone(owner):
        raise _Silent
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line = Line(connection)
    try:
        connection.settimeout(_GREETING_S)
        connection.connect(owner.socket)
        nonce = secrets.token_hex(16)
        line.send_words(Kind.HELLO, {"nonce": nonce, "proof": proof(owner.secret, "client", nonce)})
        answer = line.receive_words(Kind.HELLO)
        if answer is None or not secrets.compare_digest(str(answer.get("proof")), proof(owner.secret, "server", nonce)):
            raise Garbled
    except (OSError, Garbled):
        connection.close()
        raise _Silent from None
    connection.settimeout(None)
    return line


def _elsewhere(locked: FileLocked, owner: Owner) -> FileLocked:
    return FileLocked(
        f"The DuckDB file {locked.path} is in use by {owner.title} on {owner.host}.",
        path=locked.path,
        hint=f"Run the command there, or ask its HTTP API at {owner.url}.",
    )


def _run(app: Dayfold, definitions: Path, owner: Owner, line: Line) -> int:
    """Say what is to be done, and pass on what comes back."""
    from dayfold import __version__
    from dayfold.http.wire import Kind

    if owner.version != __version__:
        raise FileLocked(
            f"The store is in use by {owner.title}, which is Dayfold {owner.version}; this is {__version__}.",
            hint="Start the server again with this version, or run the command with the server's.",
        )
    line.send_words(Kind.ERRAND, _words(app, definitions, owner))
    while True:
        try:
            return _passed_on(line, owner)
        except KeyboardInterrupt:
            # The command ends as it would here, and says so; another Ctrl-C leaves it to that.
            line.send(Kind.CANCEL)
            return _passed_on(line, owner)


def _words(app: Dayfold, definitions: Path, owner: Owner) -> dict[str, Any]:
    from dayfold import settings as configuration

    origin = app.catalog.origin
    path = definitions.resolve()
    return {
        "words": sys.argv[1:],
        "folder": str(Path.cwd()),
        "environ": {name: os.environ[name] for name in errand.VARIABLES if name in os.environ},
        "definitions": {"path": str(path), "fingerprint": origin.fingerprint if origin else ""},
        "settings": {
            "work": errand.work_settings(app.settings),
            "seals": errand.seals(app.settings, path, owner.secret),
            "file": configuration.digest(path.parent),
        },
        "encodings": [(one.encoding, one.errors) for one in (sys.stdout, sys.stderr)],
        "is_terminal": sys.stdout.isatty(),
    }


def _passed_on(line: Line, owner: Owner) -> int:
    """Write what the server sends until it sends the status. Raises FileLocked where it leaves before that."""
    import json

    from dayfold.http.wire import Garbled, Kind

    streams = {Kind.OUTPUT: sys.stdout, Kind.ERRORS: sys.stderr}
    while True:
        try:
            frame = line.receive()
        except (ConnectionError, Garbled):
            frame = None
        if frame is None:
            break
        kind, content = frame
        if kind is Kind.STATUS:
            return int(json.loads(content)["status"])
        if kind is Kind.FULL:
            raise Busy(
                f"{owner.title} runs {json.loads(content)['most']} commands already.",
                hint="Run it again when one of them has ended.",
            )
        if kind in streams:
            streams[kind].buffer.write(content)
            streams[kind].flush()
    raise FileLocked(
        f"{owner.title}, which owns the store and ran this command, ended before it had.",
        hint="What was published stays; run it again.",
    )
