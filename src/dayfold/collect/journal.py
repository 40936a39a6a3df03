"""A journal beside an embedded store: what was acknowledged and is not in the store yet. Collect floor.

Committing to DuckDB takes some milliseconds, and far more beside a fold. A record of the journal is durable after one write and one
flush of the disk, and the store takes many records in one transaction.

Invariant: a record is on the disk before `append` returns, and is there until `done` names it or a later one. Records are numbered
from 1, without gaps, for as long as the folder exists; what a store has taken is known by the last number, which it keeps in the
transaction that takes it.

A process that ends in the middle of a record leaves a torn one, which was never acknowledged: it is left out, and the next file
begins after it.
"""

from __future__ import annotations

import os
import secrets
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dayfold.errors import StoreError

#: Bytes after which the next record begins a new file.
_LARGEST_FILE = 64 << 20
_HEAD = struct.Struct("<QII")
_SUFFIX = ".log"
_NAME = "name"


@dataclass(slots=True)
class _File:
    """One file of records, from the number that it is named by."""

    path: Path
    last: int


class Journal:
    """A folder of records. One process writes it, whichever has the store's file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     journal = Journal(Path(folder) / "journal")
    ...     number = journal.append([b"one", b"two"])
    ...     journal.close()
    ...     number, [(n, data) for n, data in Journal(Path(folder) / "journal").records()]
    (2, [(1, b'one'), (2, b'two')])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._file: int | None = None
        self._bytes = 0
        with _writing(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            self.name = self._named()
        self._files = [_File(path, int(path.stem) - 1) for path in sorted(folder.glob(f"*{_SUFFIX}"))]
        for one in self._files:
            for number, _ in _read(one.path):
                one.last = number
        for one, following in pairwise(self._files):
            # What lies beyond the next file's beginning was not acknowledged: writing it had failed.
            one.last = min(one.last, int(following.path.stem) - 1)
        self._last = max((one.last for one in self._files), default=self._begun())

    def _named(self) -> str:
        """What a store knows this journal by: made with the folder."""
        path = self.folder / _NAME
        if not path.exists():
            _write_whole(path, f"{secrets.token_hex(8)} 0\n")
        return path.read_text().split()[0]

    def _begun(self) -> int:
        """The number of the last record of files that are gone."""
        words = (self.folder / _NAME).read_text().split()
        return int(words[1]) if len(words) > 1 else 0

    @property
    def last(self) -> int:
        """The number of the newest record."""
        return self._last

    def append(self, records: list[bytes]) -> int:
        """Records are durable; the number of the last one. Raises StoreError, and then none of them counts."""
        with self._lock:
            return self._append(records)

    def _append(self, records: list[bytes]) -> int:
        data = b"".join(
            _HEAD.pack(self._last + 1 + place, len(one), _check(self._last + 1 + place, one)) + one
            for place, one in enumerate(records)
        )
        with _writing(self.folder):
            if self._file is None:
                self._open()
            assert self._file is not None
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(self._file, left) :]
                os.fdatasync(self._file)
            except OSError:
                # What was written of it is torn or unsure: the next record stands in a new file.
                self._shut()
                raise
        self._last += len(records)
        self._files[-1].last = self._last
        self._bytes += len(data)
        if self._bytes >= _LARGEST_FILE:
            self._shut()
        return self._last

    def _open(self) -> None:
        path = self.folder / f"{self._last + 1:020d}{_SUFFIX}"
        # A torn file may have the name already: it began with this number and holds no whole record, or its end is unsure.
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        _sync_folder(self.folder)
        self._bytes = 0
        if not self._files or self._files[-1].path != path:
            self._files.append(_File(path, self._last))

    def _shut(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def records(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """The records after a number, each with its own, in order."""
        for one in self._files:
            if one.last > after:
                for number, data in _read(one.path):
                    if after < number <= one.last:
                        yield number, data

    def roll(self) -> int:
        """The next record begins a new file; the number of the last one until now."""
        with self._lock:
            self._shut()
            return self._last

    def done(self, number: int) -> None:
        """The records up to a number are in the store; files that are not written any more and hold no others go."""
        with self._lock, _writing(self.folder):
            while self._files and self._files[0].last <= number and (len(self._files) > 1 or self._file is None):
                gone = self._files.pop(0)
                # The number outlives the files, so that a store never takes a new record for an old one.
                _write_whole(self.folder / _NAME, f"{self.name} {gone.last}\n")
                gone.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let the files go; what is not done stays on the disk."""
        with self._lock:
            self._shut()


def _check(number: int, data: bytes) -> int:
    """What tells a record from what a torn write left.

    Of its number too: zeros, which a file may end in after the power failed, would else be a whole record of nothing.
    """
    return zlib.crc32(data, zlib.crc32(number.to_bytes(8, "little")))


def _read(path: Path) -> Iterator[tuple[int, bytes]]:
    """The whole records of a file."""
    expected = int(path.stem)
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            number, length, check = _HEAD.unpack(head)
            data = file.read(length)
            if number != expected or len(data) != length or _check(number, data) != check:
                return
            yield number, data
            expected += 1


def _write_whole(path: Path, text: str) -> None:
    """A small file has this text, or what it had before."""
    beside = path.with_suffix(".new")
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, text.encode())
        os.fsync(file)
    finally:
        os.close(file)
    beside.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


class _writing:  # reads as a phrase in the with statement
    """Says which folder cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        if isinstance(error, OSError):
            raise StoreError(
                f"The journal {self.folder} cannot be written: {error.strerror}.",
                hint="Events are refused until it can be; free some space, or let this user write there.",
            ) from None
