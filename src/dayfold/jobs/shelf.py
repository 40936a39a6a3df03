"""Where the files of exports are: a folder, or a prefix of an S3 bucket. Jobs floor.

Invariant: a file has its name only when it is whole. Until then it has another one, and is deleted where writing fails.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from dayfold.engines.connect import is_duckdb
from dayfold.errors import StoreError, UnknownName, UsageError

#: The folder of exports, where the settings name none.
FOLDER = "dayfold-exports"


class Shelf:
    """The files of one application's exports.

    Args:
        files: The file system, as Arrow has it.
        folder: The folder in it.
    """

    def __init__(self, files: Any, folder: str) -> None:
        self.files = files
        self.folder = folder

    @classmethod
    def of(cls, folder: Path | None, s3: str | None, base: Path, store: str) -> Shelf:
        """Where the settings say; ``base``: the folder of dayfold.toml, ``store``: the address of the store.

        Raises:
            StoreError: where S3 is not to be had.
        """
        from pyarrow import fs

        if s3 is not None:
            try:
                files, path = fs.S3FileSystem.from_uri(s3)
            except (OSError, ValueError, AttributeError):
                raise StoreError(
                    "The bucket of export.s3 cannot be reached.",
                    hint="Look at its address, and at the keys of this machine.",
                ) from None
            return cls(files, path)
        if folder is None:
            is_file = is_duckdb(store) and not store.endswith(":memory:")
            beside = Path(store.removeprefix("duckdb:///")).expanduser().parent if is_file else base
            return cls(fs.LocalFileSystem(), str((beside / FOLDER).resolve()))
        return cls(fs.LocalFileSystem(), str((base / folder).resolve()))

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return str(self.files.type_name) == "local"

    def _place(self, name: str) -> str:
        return posixpath.join(self.folder, name)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A stream; the file is there, whole, after the context, and nothing is where that raises."""
        temporary = self._place(f".{name}.part")
        try:
            if self.is_local:
                # Of nobody else's: what stands in the files is for who asked.
                Path(self.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
            with self.files.open_output_stream(temporary) as stream:
                yield cast(IO[bytes], stream)
            self.files.move(temporary, self._place(name))
        except BaseException as error:
            with contextlib.suppress(OSError):
                self.files.delete_file(temporary)
            if isinstance(error, OSError):
                raise _refused(error) from None
            raise

    def open(self, name: str) -> Any:
        """A stream of a file's bytes. Raises UnknownName where there is none."""
        try:
            return self.files.open_input_stream(self._place(name), compression=None)
        except OSError:
            raise UnknownName("The export's file is gone.", hint="Ask for the export again.") from None

    def size(self, name: str) -> int:
        """How many bytes a file has."""
        return int(self.files.get_file_info(self._place(name)).size)

    def remove(self, name: str) -> None:
        """A file is gone, whole or half written; again is harmless. Raises StoreError where it stays."""
        for one in (self._place(name), self._place(f".{name}.part")):
            try:
                self.files.delete_file(one)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise _refused(error) from None


def _refused(error: OSError) -> StoreError:
    # What the system says of a file of ours holds no row.
    return StoreError(
        f"An export's file cannot be written or deleted: {(error.strerror or type(error).__name__).lower()}.",
        hint="Look at [export] folder or s3, and at the room and the rights there.",
    )


@contextmanager
def written(out: str | Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """A stream to write to: a given one, or a file that is there, whole, after the context."""
    if not isinstance(out, str | Path):
        yield out
        return
    from pyarrow import fs

    target = Path(out).absolute()
    if not target.parent.is_dir():
        raise UsageError(f"{out} cannot be written: there is no such folder.")
    if target.is_dir():
        raise UsageError(f"{out} cannot be written: it is a folder.")
    with Shelf(fs.LocalFileSystem(), str(target.parent)).writing(target.name) as stream:
        yield stream
