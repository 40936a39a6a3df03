"""Answers that were computed before, never older than what is stored. HTTP door.

A key names the whole question: its resolved days, what its caller may see, and the version and revision of the rollup that a look at
the ledger found after the request came. A publication moves the revision, so that what was kept under the old one is never asked for
again; it leaves when room is needed. There is no time to live, and nothing to invalidate.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dayfold.http.formats import pieces

if TYPE_CHECKING:
    import pyarrow as pa

#: What an entry costs beside its body.
_OVERHEAD_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it is sent. ``etag`` is made of the body alone: what one may not see does not show in it.

    ``headers``: those that tell of the body.
    """

    body: bytes
    media_type: str
    etag: str
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def of(cls, body: bytes, media_type: str) -> Kept:
        """An answer with its tag."""
        mark = hashlib.sha256(media_type.encode() + b"\n" + body).hexdigest()[:32]
        headers = (
            (b"content-length", str(len(body)).encode()),
            (b"content-type", media_type.encode()),
            (b"etag", f'"{mark}"'.encode()),
        )
        return cls(body, media_type, f'"{mark}"', headers)


@dataclass(frozen=True, slots=True)
class Large:
    """An answer of so many rows that it is sent in pieces, and not kept. ``documents``: columns whose texts are JSON."""

    form: str
    said: dict[str, Any]
    rows: pa.Table
    documents: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[bytes]:
        return pieces(self.form, self.said, self.rows, self.documents)


class Cache:
    """The answers of one process, the least recently used first out. Used on the event loop only.

    Attributes:
        hits, misses: How often an answer was there, and had to be computed; ``joined``: waited for another's computation.
        size_bytes: What is held now.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.hits = self.misses = self.joined = self.size_bytes = 0
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._coming: dict[Hashable, asyncio.Task[Kept | Large]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def forget(self) -> None:
        """Nothing is kept any more."""
        self._kept.clear()
        self.size_bytes = 0

    async def get(self, key: Hashable, compute: Callable[[], Awaitable[Kept | Large]]) -> tuple[Kept | Large, str]:
        """The answer of a key, computed once however many ask for it at the same time, and whether it was there.

        ``hit``: it was; ``joined``: another request was computing it; ``miss``. Raises what computing it raises.
        """
        found = self._kept.get(key)
        if found is not None:
            self.hits += 1
            self._kept.move_to_end(key)
            return found, "hit"
        task, how = self._coming.get(key), "joined"
        if task is None:
            self.misses += 1
            how = "miss"
            task = asyncio.create_task(self._compute(key, compute))
            self._coming[key] = task
        else:
            self.joined += 1
        # One who leaves does not take the answer from the others.
        return await asyncio.shield(task), how

    async def _compute(self, key: Hashable, compute: Callable[[], Awaitable[Kept | Large]]) -> Kept | Large:
        try:
            kept = await compute()
            if isinstance(kept, Kept):
                self._keep(key, kept)
            return kept
        finally:
            del self._coming[key]

    def _keep(self, key: Hashable, kept: Kept) -> None:
        size = len(kept.body) + _OVERHEAD_BYTES
        if size > self.limit_bytes // 4:
            # One large answer does not push all others out.
            return
        self._kept[key] = kept
        self.size_bytes += size
        while self.size_bytes > self.limit_bytes:
            _, gone = self._kept.popitem(last=False)
            self.size_bytes -= len(gone.body) + _OVERHEAD_BYTES
