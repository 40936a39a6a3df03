"""The conservation laws of counters as ``/metrics`` tells them: read on demand, and not again at once. HTTP door."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from dayfold.count.conservation import Conservation
from dayfold.errors import DayfoldError

#: Seconds for which laws are told without being read again, and that one request waits for them.
FRESH_S, PATIENCE_S = 15.0, 2.0
_log = logging.getLogger("dayfold.count")


class Laws:
    """What became of all that was added, as it was when it was last asked. Used on the event loop; it reads in a thread of its own.

    Args:
        read: Reads them; whatever it raises leaves those that were.
    """

    def __init__(self, read: Callable[[], Sequence[Conservation]]) -> None:
        self.read = read
        self.last: Sequence[Conservation] = ()
        #: When they were read, in seconds since 1970; 0: never.
        self.read_at = 0.0
        self._until = 0.0
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: Future[None] | None = None

    async def renew(self) -> None:
        """`last` is no older than is allowed, unless reading takes long or fails; never raises."""
        if time.monotonic() < self._until:
            return
        if self._under_way is None or self._under_way.done():
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="dayfold-laws")
            self._under_way = self._thread.submit(self._read)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._under_way)), PATIENCE_S)

    def _read(self) -> None:
        try:
            self.last, self.read_at = self.read(), time.time()
        except Exception as error:  # whatever it is, the other figures are told
            reason = error.message if isinstance(error, DayfoldError) else type(error).__name__
            _log.warning("The law of counters cannot be read: %s", reason, extra={"action": "law-unread"})
        self._until = time.monotonic() + FRESH_S

    def close(self) -> None:
        """Read no more."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
