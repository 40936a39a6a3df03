"""Events that wait on disk: files of lines in a folder that several processes may share. Of the client, standard library only.

Invariant: whoever writes or sends a file holds its lock; the system frees it when that process dies, and another takes the
file over. A file is removed when all of its events were answered, so a crash sends some again, with the same ids.
Weakness: `flock` has to work there, which it does not on every network file system. The cap is that of the folder, looked at
whenever a file is full: each process may be a file beyond it.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ImportError:  # pragma: no cover - a system without flock has no spool
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".events"
#: A file is full with so many bytes.
FILE_BYTES = 512 << 10
#: How often the folder is looked through for files whose writer is gone.
_LOOK_S = 5.0


class Segment:
    """A file that this process has locked.

    Attributes:
        size: Its whole lines, in bytes.
        settled: Up to here its events were answered.
        ours: Written by this client: its lines need no second look.
    """

    __slots__ = ("fd", "ours", "path", "settled", "size")

    def __init__(self, path: Path, fd: int, size: int = 0, *, ours: bool = True) -> None:
        self.path, self.fd, self.size, self.settled, self.ours = path, fd, size, 0, ours


class Taken(NamedTuple):
    """Events of a file, which end at ``end``; ``damaged`` lines between them are none.

    Attributes:
        has_more: There are more events, in this file or in others.
    """

    segment: Segment
    events: list[bytes]
    end: int
    damaged: int
    has_more: bool


class Spool:
    """The files of one folder, as one client sees them. Its folder and files are its user's alone.

    Raises:
        ValueError: where the system has no file locks. OSError: where the folder cannot be made.
    """

    def __init__(self, folder: str | Path, most_bytes: int) -> None:
        if fcntl is None:  # pragma: no cover
            raise ValueError("spool: this system has no file locks (flock), which a spool needs.")
        self.folder = Path(folder)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._most_bytes = most_bytes
        self._file_bytes = max(1, min(FILE_BYTES, most_bytes // 4))
        self.begin()

    def begin(self) -> None:
        """Nothing is open: what a new process has."""
        self._lock = threading.RLock()
        self._writing: Segment | None = None
        self._reading: Segment | None = None
        self._looked = 0.0
        self._found: list[Path] = []
        self._discarded = self._pending = 0

    def leave(self) -> None:
        """In the child of a fork: the parent's files are closed here, and stay locked there."""
        for one in {id(one): one for one in (self._writing, self._reading) if one}.values():
            os.close(one.fd)
        self.begin()

    def append(self, lines: Sequence[bytes]) -> int:
        """Write events, each of one line; how many events had to make room for them.

        Raises:
            OSError: where they could not be written. None of them was.
        """
        text = b"".join(b"%s\n" % one for one in lines)
        with self._lock:
            if self._writing is not None and self._writing.size >= self._file_bytes:
                self._put_away()
            one = self._writing = self._writing or self._made()
            try:
                written = os.write(one.fd, text)
            except OSError:
                written = -1
                raise
            finally:
                if written == len(text):
                    one.size += written
                elif written:
                    # What stands there half would spoil the next line.
                    os.ftruncate(one.fd, one.size)
            if written != len(text):
                raise OSError("the disk took a part")
            self._pending += len(lines)
            discarded, self._discarded = self._discarded, 0
            return discarded

    def take(self, most: int, most_bytes: int) -> Taken | None:
        """The next events, which stay where they are until they are settled; None where there are none to send."""
        with self._lock:
            segment = self._reading = self._reading or self._next()
            if segment is None:
                return None
            start, size = segment.settled, segment.size
            others = segment is not self._writing or bool(self._found)
        room = os.pread(segment.fd, min(size - start, most_bytes + 1), start)
        events: list[bytes] = []
        end, damaged = start, 0
        while len(events) < most and (stop := room.find(b"\n", end - start)) >= 0:
            one = room[end - start : stop]
            if segment.ours or _is_event(one):
                events.append(one)
            else:
                damaged += 1
            end = start + stop + 1
        if end == start:
            # A line without an end, torn by a crash, or longer than any event: nothing of the file can be used.
            return Taken(segment, [], size, 1, others)
        return Taken(segment, events, end, damaged, others or end < size)

    def settle(self, taken: Taken) -> None:
        """The events were answered, or given up: they are not sent again."""
        one = taken.segment
        with self._lock:
            one.settled = taken.end
            if one is self._writing:
                self._pending = max(0, self._pending - len(taken.events))
            if one.settled < one.size:
                return
            self._reading = None
            if one is self._writing:
                os.ftruncate(one.fd, 0)
                one.size = one.settled = 0
            else:
                _remove(one)

    def pending(self) -> int:
        """How many events were written since the last was settled, at least; of the file that is being written."""
        return self._pending

    def close(self) -> None:
        """Nothing is open, and others may send what is left."""
        with self._lock:
            for one in {id(one): one for one in (self._writing, self._reading) if one}.values():
                if one.settled == one.size:
                    _remove(one)
                else:
                    os.close(one.fd)
            self._writing = self._reading = None

    def _made(self) -> Segment:
        """A new file, ours before anybody else has it."""
        while True:
            path = self.folder / f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(3).hex()}{SUFFIX}"
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            if _locked(fd):
                return Segment(path, fd)
            os.close(fd)

    def _put_away(self) -> None:
        """The file that is written is full: whoever comes first sends it. The oldest make room where there are too many."""
        if self._writing is not self._reading and self._writing is not None:
            os.close(self._writing.fd)
        self._writing = None
        self._found = []
        self._looked = 0.0
        self._pending = 0
        sizes = {}
        for path in self._files():
            with contextlib.suppress(OSError):
                sizes[path] = path.stat().st_size
        over = sum(sizes.values()) - self._most_bytes
        for path, size in sizes.items():
            if over <= 0:
                break
            if (one := self._adopted(path)) is not None:
                with contextlib.suppress(OSError):
                    self._discarded += path.read_bytes().count(b"\n")
                _remove(one)
                over -= size

    def _next(self) -> Segment | None:
        """The oldest file with events that is ours or nobody's."""
        if not self._found and (time.monotonic() - self._looked > _LOOK_S or not self._looked):
            self._found = list(self._files())
            self._looked = time.monotonic()
        mine = self._writing if self._writing is not None and self._writing.settled < self._writing.size else None
        while self._found:
            path = self._found.pop(0)
            if mine is not None and path == mine.path:
                break
            if (one := self._adopted(path)) is not None:
                if one.size:
                    return one
                _remove(one)
        return mine

    def _files(self) -> Iterator[Path]:
        """All files of the folder, the oldest first."""
        with contextlib.suppress(OSError):
            yield from sorted(one for one in self.folder.iterdir() if one.suffix == SUFFIX)

    def _adopted(self, path: Path) -> Segment | None:
        """A file that was left by its writer, or None where somebody has it."""
        for ours in (self._writing, self._reading):
            if ours is not None and ours.path == path:
                return None
        try:
            fd = os.open(path, os.O_RDWR)
        except OSError:
            return None
        if not _locked(fd):
            os.close(fd)
            return None
        return Segment(path, fd, os.fstat(fd).st_size, ours=False)


def _locked(fd: int) -> bool:
    """Whether the file is ours from now on: nobody has its lock, nor removed it just before."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(fd).st_nlink > 0


def _remove(one: Segment) -> None:
    """The file is gone; removed before it is unlocked, so that nobody finds it unlocked and whole."""
    with contextlib.suppress(OSError):
        one.path.unlink()
    os.close(one.fd)


def _is_event(line: bytes) -> bool:
    """Whether a line is a JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
