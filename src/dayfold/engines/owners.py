"""Who serves a DuckDB file: ``FILE.owner`` beside it says where the serving process takes commands. Engines floor.

One process owns a DuckDB file, readers included. The owner file is readable by its user alone, for it holds the secret that commands
prove to know. The lock of the file itself decides who owns it; this is only how to reach them.

Weakness: the file is believed where it lies; it is of no use on a machine or in a container that does not share the socket.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dayfold.engines.base import Store

SUFFIX = ".owner"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that serves a DuckDB file.

    Attributes:
        socket: The path of the Unix socket that takes commands.
        secret: What a command proves to know; shown nowhere.
        url: Where its HTTP API is.
        fingerprint: Of its definitions, when it wrote this down.
        host: The machine whose processes and sockets are meant.
    """

    pid: int
    socket: str
    secret: str = field(repr=False)
    url: str
    fingerprint: str
    version: str
    host: str

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"`dayfold serve` (process {self.pid})"


@dataclass(frozen=True, slots=True)
class Served:
    """What is shown of an owner: its process and the address of its HTTP API."""

    process: int
    url: str


def file_of(store: Store) -> Path | None:
    """Where the owner of a store is written down, or None where it is no DuckDB file."""
    path = getattr(store, "path", ":memory:")
    return None if store.dialect.name != "duckdb" or path == ":memory:" else beside(path)


def beside(path: str | Path) -> Path:
    """The owner file of a DuckDB file, the same for every way that leads to it.

    >>> beside("/srv/shop.duckdb").name
    'shop.duckdb.owner'
    """
    found = Path(path).expanduser().resolve()
    return found.with_name(found.name + SUFFIX)


def read(file: Path) -> Owner | None:
    """The owner that a file tells of, or None where there is none, or none to be believed.

    A file that others than its user may read or write, or that another user has put there, could lead commands anywhere.
    """
    with suppress(OSError, ValueError, TypeError):
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        with open(descriptor, encoding="utf-8") as text:  # noqa: PTH123 - a descriptor has no path
            held = os.fstat(descriptor)
            if stat.S_IMODE(held.st_mode) & 0o077 or os.geteuid() not in (held.st_uid, 0):
                return None
            words: dict[str, object] = dict(json.load(text))
        if all(isinstance(word, int if name == "pid" else str) for name, word in words.items()):
            return Owner(**words)  # type: ignore[arg-type]  # looked at one line above
    return None


def write(file: Path, owner: Owner) -> None:
    """The file tells of an owner, whole or not at all, and only to its user."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as text:  # noqa: PTH123 - a descriptor has no path
        json.dump(asdict(owner), text)
    draft.replace(file)


def forget(file: Path, owner: Owner | None = None) -> None:
    """The file is gone, unless another owner has written it since; so is the owner's socket with its folder."""
    found = read(file)
    if owner is not None and found != owner:
        return
    if found is not None and found.host == here():
        with suppress(OSError):
            path = Path(found.socket)
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
                path.parent.rmdir()
    with suppress(OSError):
        file.unlink()


def is_gone(owner: Owner) -> bool:
    """Whether an owner's process has certainly ended."""
    if owner.host != here():
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def served(store: Store) -> Served | None:
    """How this process serves a store, or None where it does not."""
    file = file_of(store)
    owner = read(file) if file else None
    return Served(owner.pid, owner.url) if owner and owner.pid == os.getpid() and owner.host == here() else None


def here() -> str:
    """This machine, as owner files name it."""
    return socket.gethostname()
