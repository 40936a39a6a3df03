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
from dayfold.http.cache import Cache
from dayfold.http.doorkeeper import Doorkeeper
from dayfold.http.embed import Embed
from dayfold.http.gate import Gate
from dayfold.http.glance import Glance
from dayfold.http.oidc import Oidc
from dayfold.http.operations import Figures
from dayfold.http.trail import Trail
from dayfold.jobs.alerts import AlertLoop
from dayfold.jobs.desk import Desk
from dayfold.jobs.scheduler import Scheduler

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
        self.cache = Cache(app.settings.serve.cache_mb * 1_000_000)
        self.figures = Figures(self.cache)
        #: Moves when the definitions are read again.
        self.edition = 0
        auth = app.settings.auth
        embed = Embed(auth.jwt, app.catalog, app.folder) if auth.jwt.is_on else None
        self.doorkeeper = Doorkeeper(self.glance, auth, embed, self.work)
        self.oidc = Oidc(app) if auth.oidc.is_on else None
        self.gate = Gate(app)
        self.trail = Trail(app)
        self.alerts = app.alerts()
        #: Poked at the end of every job's run; the server starts it.
        self.alert_loop = AlertLoop(self.alerts)
        self.scheduler = Scheduler(app, self.alert_loop.poke)
        self.desk = Desk(app, self.scheduler.poke, self.scheduler.stop_job)

    async def work(self, do: Callable[..., Result], *args: object, **words: object) -> Result:
        """Something of the synchronous core, done in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, functools.partial(do, *args, **words))

    def start(self) -> None:
        """Run jobs from now on, where ``[serve] jobs`` says so, and judge the alert rules."""
        self.alert_loop.start()
        if self.app.settings.serve.jobs:
            self.scheduler.start()

    def ask_stop(self) -> None:
        """Begin no job any more; returns at once."""
        self.scheduler.ask_stop()

    def _serve(self, app: Dayfold) -> None:
        """New requests, jobs and alert rules go by an application's definitions; kept answers are those of the old ones."""
        # In this order: see `dayfold.http.route.admit`.
        self.app = app
        self.edition += 1
        self.alerts = self.alert_loop.alerts = app.alerts()
        self.scheduler.redefine(app)
        self.desk.redefine(app)

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
                    self._serve(fresh)
                    _log.info("The definitions were read again", extra={"action": "definitions-reloaded"})
            return self.app

    def close(self) -> None:
        """Let jobs end their chunk, and the threads what they do."""
        self.scheduler.close()
        self.alert_loop.stop()
        self.gate.close()
        self.trail.close()
        self.threads.shutdown(wait=True, cancel_futures=True)
        self._lookers.shutdown(wait=True, cancel_futures=True)


def service(request: Request) -> Service:
    """The service that a request came to; a dependency of routes."""
    found: Service = request.app.state.service
    return found
