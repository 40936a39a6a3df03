"""What one serving process holds: the application, the threads that work for it, its cache and its doorkeeper. HTTP door."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import Request

from dayfold import settings as configuration
from dayfold.app import Dayfold
from dayfold.http.doorkeeper import Doorkeeper
from dayfold.http.glance import Glance

Result = TypeVar("Result")
_log = logging.getLogger("dayfold.http")


class Service:
    """One process's service.

    Args:
        app: The application; its store's ledger is ready. `reload` puts another in its place, so whoever keeps a service
            looks at its ``app`` anew for each piece of work.
    """

    def __init__(self, app: Dayfold) -> None:
        self.app = app
        origin = app.catalog.origin
        self.settings_file = configuration.digest(origin.path.parent) if origin else ""
        self._reloading = threading.Lock()
        self.threads = ThreadPoolExecutor(app.settings.serve.threads, thread_name_prefix="dayfold")
        # A look at the ledger never waits behind questions that take long.
        self._lookers = ThreadPoolExecutor(1, thread_name_prefix="dayfold-look")
        self.glance = Glance(app.ledger, self._lookers)
        self.doorkeeper = Doorkeeper(self.glance)

    async def work(self, do: Callable[..., Result], *args: object, **words: object) -> Result:
        """Something of the synchronous core, done in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, functools.partial(do, *args, **words))

    def reload(self, fingerprint: str) -> Dayfold:
        """The application with definitions of a fingerprint where their file has it now, for all requests from then on.

        What runs goes on with the definitions that it began with. Where the file has others, nothing is changed.

        Raises:
            DefinitionError: with every mistake of the file; nothing is changed.
        """
        with self._reloading:
            known = self.app.catalog.origin
            if known is not None and known.fingerprint != fingerprint:
                fresh = self.app.reloaded()
                if fresh.catalog.origin is not None and fresh.catalog.origin.fingerprint == fingerprint:
                    self.app = fresh
                    _log.info("The definitions were read again", extra={"action": "definitions-reloaded"})
            return self.app

    def close(self) -> None:
        """Let the threads end what they do."""
        self.threads.shutdown(wait=True, cancel_futures=True)
        self._lookers.shutdown(wait=True, cancel_futures=True)


def service(request: Request) -> Service:
    """The service that a request came to; a dependency of routes."""
    found: Service = request.app.state.service
    return found
