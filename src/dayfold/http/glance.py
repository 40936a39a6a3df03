"""One look at the ledger, shared by all requests that wait for it. HTTP door.

A request has to know the present revisions, or a cached answer might be older than what another replica published, and whom its
secret lets in, or a revoked token would live on. One read that began after a request came is as good for it as one of its own:
requests that come while a read runs share the next one, so a thousand at once cost two. Where the store knows that nothing was
committed since the last look, as DuckDB's does, that one is as good as a new one.

Invariant: what a request is given is what a snapshot that began after the request came would have shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

from dayfold.ledger.ledger import Ledger
from dayfold.ledger.look import Seen, look

#: The digest of a token and that of a session, each where there is one.
_Asked = tuple[str | None, str | None]
#: Secrets that one kept look knows at most; more are looked up again.
_MOST = 1_000


@dataclass(frozen=True, slots=True)
class _Last:
    """What was seen last, of which secrets, and how many transactions had been committed before."""

    seen: Seen
    asked: frozenset[_Asked]
    commits: int


class Glance:
    """Looks at the ledger of one store for all who ask. Used on the event loop only."""

    def __init__(self, ledger: Ledger, threads: Executor) -> None:
        self.ledger = ledger
        self.threads = threads
        self._waiting: list[tuple[_Asked, asyncio.Future[Seen]]] = []
        self._looking = False
        self._last: _Last | None = None

    async def look(self, token: str | None = None, *, session: str | None = None) -> Seen:
        """What the ledger says from this moment on, with whom the digest of a token or of a browser's session lets in.

        Raises what the store raises.
        """
        asked = (token, session)
        if (last := self._still()) is not None and asked in last.asked:
            return last.seen
        mine: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, mine))
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().create_task(self._look_for_all())
        return await mine

    def _still(self) -> _Last | None:
        """What was seen last, where a look now would see the same."""
        last = self._last
        # Where the store does not know of all commits its number is None, which no look is kept under.
        if last is None or last.commits != self.ledger.store.commits:
            return None
        until = last.seen.until
        return last if until is None or self.ledger.clock.now().timestamp() < until else None

    async def _look_for_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                asked = frozenset(one for one, _ in waiting)
                # Seen before the look begins: what is committed meanwhile makes it one that is not kept.
                commits = self.ledger.store.commits
                try:
                    seen = await loop.run_in_executor(self.threads, self._read, asked)
                except Exception as error:
                    _tell(waiting, lambda one, error=error: one.set_exception(error))  # type: ignore[misc]  # bound early
                else:
                    self._keep(seen, asked, commits)
                    _tell(waiting, lambda one, seen=seen: one.set_result(seen))  # type: ignore[misc]  # bound early
        finally:
            self._looking = False

    def _keep(self, seen: Seen, asked: frozenset[_Asked], commits: int | None) -> None:
        """What was seen stands beside what was seen before, where nothing was committed in between."""
        if commits is None:
            self._last = None
            return
        # A secret that lets nobody in is looked up each time: whoever makes some up pushes nobody out.
        known = frozenset(one for one in asked if _is_answered(one, seen))
        last = self._still()
        if last is not None and len(last.asked) < _MOST:
            seen, known = last.seen.with_(seen), known | last.asked
        self._last = _Last(seen, known, commits)

    def _read(self, asked: Collection[_Asked]) -> Seen:
        return look(
            self.ledger,
            {token for token, _ in asked if token is not None},
            {session for _, session in asked if session is not None},
        )


def _is_answered(asked: _Asked, seen: Seen) -> bool:
    token, session = asked
    return (token is None or token in seen.bearers) and (session is None or session in seen.guests)


def _tell(waiting: Iterable[tuple[_Asked, asyncio.Future[Seen]]], tell: Callable[[asyncio.Future[Seen]], None]) -> None:
    """Tell all who still wait; a client that left cancelled its future."""
    for _, one in waiting:
        if not one.done():
            tell(one)
