"""One look at the ledger, shared by all requests that wait for it. HTTP door.

A request has to know the present revisions, or a cached answer might be older than what another replica published, and whom its
secret lets in, or a revoked token would live on. One read that began after a request came is as good for it as one of its own:
requests that come while a read runs share the next one, so a thousand at once cost two.

Invariant: what a request is given was read in a snapshot that began after the request came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

from dayfold.ledger import sessions, tokens, versions
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.versions import Standing

#: The digest of a token and that of a session, each where there is one.
_Asked = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look saw.

    Attributes:
        standings: Each rollup's version and revision, by name.
        bearers: Whom the asked digests of tokens let in; one that is not there lets nobody in.
        guests: The same of the digests of browsers' sessions.
    """

    standings: dict[str, Standing]
    bearers: dict[str, tokens.Bearer]
    guests: dict[str, sessions.Guest]


class Glance:
    """Looks at the ledger of one store for all who ask."""

    def __init__(self, ledger: Ledger, threads: Executor) -> None:
        self.ledger = ledger
        self.threads = threads
        self._waiting: list[tuple[_Asked, asyncio.Future[Seen]]] = []
        self._looking = False

    async def look(self, token: str | None = None, *, session: str | None = None) -> Seen:
        """What the ledger says from this moment on, with whom the digest of a token or of a browser's session lets in.

        Raises what the store raises.
        """
        mine: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        self._waiting.append(((token, session), mine))
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().create_task(self._look_for_all())
        return await mine

    async def _look_for_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                asked = {one for one, _ in waiting}
                try:
                    seen = await loop.run_in_executor(self.threads, self._read, asked)
                except Exception as error:
                    _tell(waiting, lambda one, error=error: one.set_exception(error))  # type: ignore[misc]  # bound early
                else:
                    _tell(waiting, lambda one, seen=seen: one.set_result(seen))  # type: ignore[misc]  # bound early
        finally:
            self._looking = False

    def _read(self, asked: Iterable[_Asked]) -> Seen:
        with self.ledger.store.transaction(read_only=True) as session:
            bearers = {one: tokens.bearer(self.ledger, session, one) for one, _ in asked if one is not None}
            guests = {one: sessions.guest(self.ledger, session, one) for _, one in asked if one is not None}
            return Seen(
                versions.standings(self.ledger, session),
                {digest: one for digest, one in bearers.items() if one is not None},
                {digest: one for digest, one in guests.items() if one is not None},
            )


def _tell(waiting: Iterable[tuple[_Asked, asyncio.Future[Seen]]], tell: Callable[[asyncio.Future[Seen]], None]) -> None:
    """Tell all who still wait; a client that left cancelled its future."""
    for _, one in waiting:
        if not one.done():
            tell(one)
