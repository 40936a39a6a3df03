"""What one serving process holds: the application, the threads that work for it, its cache and its doorkeeper. HTTP door."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request

from dayfold import settings as configuration
from dayfold.app import Dayfold
from dayfold.count.conservation import Conservation
from dayfold.define.catalog import has_moved
from dayfold.errors import DayfoldError
from dayfold.fold.erase import Outside
from dayfold.http.cache import Cache
from dayfold.http.collector import Collector
from dayfold.http.counting import Counting
from dayfold.http.doorkeeper import Doorkeeper
from dayfold.http.embed import Embed
from dayfold.http.gate import Gate
from dayfold.http.glance import Glance
from dayfold.http.lane import Address, Place
from dayfold.http.laws import Laws
from dayfold.http.oidc import Oidc
from dayfold.http.operations import Figures
from dayfold.http.sent import Keys
from dayfold.http.streaming import Streams
from dayfold.http.trail import Trail
from dayfold.jobs.alerts import AlertLoop
from dayfold.jobs.desk import Desk
from dayfold.jobs.scheduler import Scheduler
from dayfold.ledger.persons import Person
from dayfold.memo import Memo
from dayfold.plan.access import Scope

if TYPE_CHECKING:
    from dayfold.http.questions import Reading

Result = TypeVar("Result")
#: Addresses of which something is kept.
_ADDRESSES = 4_000
#: Answers that pages are made of and that are kept.
_ANSWERS = 400
#: How long an erasure waits for the event loop.
_FORGETTING_S = 10
_KEPT = "answers and addresses that this process keeps in memory; all of them are forgotten"
_log = logging.getLogger("dayfold.http")


@dataclass(frozen=True, slots=True)
class Present:
    """What one request goes by from its beginning to its end, whatever is reloaded or whichever day begins meanwhile.

    Attributes:
        edition: Moves when the definitions are read again.
    """

    app: Dayfold
    edition: int
    now: dt.datetime

    @property
    def today(self) -> dt.date:
        """The UTC day of the request."""
        return self.now.date()


class Service:
    """One process's service.

    Args:
        app: The application; its store's ledger is ready. `reload` puts another in its place, so whoever keeps a service
            looks at its ``app`` anew for each piece of work.
    """

    def __init__(self, app: Dayfold) -> None:
        app.keep_to_published()
        # One thing, so that no request meets new definitions under the old number.
        self._serving = (app, 0)
        origin = app.catalog.origin
        self.settings_file = configuration.digest(origin.path.parent) if origin else ""
        self._reloading = threading.Lock()
        #: What was last said about definitions that cannot be read again.
        self._wrong = ""
        self.threads = ThreadPoolExecutor(app.settings.serve.threads, thread_name_prefix="dayfold")
        # A look at the ledger never waits behind questions that take long.
        self._lookers = ThreadPoolExecutor(1, thread_name_prefix="dayfold-look")
        # Nor do readers wait behind a slow database that says what others may see.
        self._askers = ThreadPoolExecutor(4, thread_name_prefix="dayfold-ask")
        self.glance = Glance(app.ledger, self._lookers)
        #: Whom the keys of programs let in that send events or count.
        self.keys = Keys(self.glance)
        self.cache = Cache(app.settings.serve.cache_mb * 1_000_000)
        #: What was read of addresses, and where they lead; used on the event loop only.
        self.readings: Memo[Hashable, Reading] = Memo(_ADDRESSES)
        self.places: Memo[Address, Place] = Memo(_ADDRESSES)
        #: What pages are made of, as their threads computed it.
        self.answers: Memo[Hashable, Any] = Memo(_ANSWERS)
        self.laws = Laws(self._conservation)
        self.figures = Figures(
            self.cache,
            lambda: self.app.event_log.intake,
            lambda: self.app.counters.figures,
            self.laws,
            lambda: self.streams,
        )
        embed, self.oidc = _outside(app)
        self.doorkeeper = Doorkeeper(self.glance, app.settings.auth, embed, self.work)
        #: Who looks on while events come in.
        self.streams = Streams()
        self.collector = Collector(self)
        self.counting = Counting(self)
        #: Whether jobs run here, and counters are flushed.
        self._is_working = False
        self.gate = Gate(app)
        self.trail = Trail(app)
        self.alerts = app.alerts()
        #: Poked at the end of every job's run; the server starts it.
        self.alert_loop = AlertLoop(self.alerts)
        self.scheduler = Scheduler(app, self.alert_loop.poke, self.refresh)
        self.desk = Desk(app, self.scheduler.poke, self.scheduler.stop_job)
        #: Where what is kept in memory is used; known from the first request on.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kept = Outside("kept answers", _KEPT, self._forget)
        app.outside.append(self._kept)

    async def work(self, do: Callable[..., Result], *args: object, **words: object) -> Result:
        """Something of the synchronous core, done in a thread."""
        loop = self._loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, functools.partial(do, *args, **words))

    async def resolved(self, app: Dayfold, scope: Scope) -> Scope:
        """A scope whose relations were looked up. Raises AccessUnknown, Forbidden."""
        return await asyncio.get_running_loop().run_in_executor(self._askers, app.resolved, scope)

    def _forget(self, person: Person) -> int:
        """No answer, and no address that was asked, is kept in memory any more."""
        loop, done = self._loop, threading.Event()

        def forget() -> None:
            self.cache.forget()
            self.readings.forget()
            self.places.forget()
            self.answers.forget()
            done.set()

        if loop is None or not loop.is_running():
            forget()
        else:
            loop.call_soon_threadsafe(forget)
            done.wait(_FORGETTING_S)
        return 0

    @property
    def present(self) -> Present:
        """What a request that comes now goes by."""
        app, edition = self._serving
        return Present(app, edition, app.clock.now())

    @property
    def app(self) -> Dayfold:
        """The application with its present definitions."""
        return self._serving[0]

    @property
    def edition(self) -> int:
        """How often the definitions were read again."""
        return self._serving[1]

    def start(self) -> None:
        """Run jobs and flush counters from now on, where ``[serve] jobs`` says so, and judge the alert rules."""
        self.alert_loop.start()
        if self.app.settings.serve.jobs:
            self._is_working = True
            self.scheduler.start()
            self._flush()

    def _conservation(self) -> Sequence[Conservation]:
        return self.app.counters.conservation()

    def _flush(self) -> None:
        if self._is_working and self.app.counters.is_used:
            self.app.counters.start()

    def ask_stop(self) -> None:
        """Begin no job any more, and end what goes on for as long as somebody looks; returns at once."""
        self.streams.end()
        self.scheduler.ask_stop()

    def _serve(self, app: Dayfold) -> None:
        """New requests, jobs and alert rules go by an application's definitions; kept answers are those of the old ones."""
        app.keep_to_published()
        self.doorkeeper.embed, self.oidc = _outside(app)
        self.collector.use(app)
        self._serving = (app, self.edition + 1)
        # They hold on to the application that was.
        self.readings.forget()
        self.alerts = self.alert_loop.alerts = app.alerts()
        self.scheduler.redefine(app)
        self.desk.redefine(app)
        app.counters.redefine()
        self._flush()

    def reload(self, fingerprint: str) -> Dayfold:
        """The application with definitions of a fingerprint where their file has it now, for all requests from then on.

        Jobs that run end their chunk and go on with the new ones. Where the file has others, nothing is changed.

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

    def refresh(self) -> DayfoldError | None:
        """The application has the definitions of the file as it is now; where these cannot be read, why, and it keeps its own."""
        with self._reloading:
            known = self.app.catalog.origin
            if known is None or not has_moved(known):
                self._wrong = ""
                return None
            try:
                self._serve(self.app.reloaded())
            except DayfoldError as error:
                if str(error) != self._wrong:
                    self._wrong = str(error)
                    _log.error(
                        "The definitions were edited and cannot be read again; no fold begins until they can: %s", error,
                        extra={"action": "definitions-failed"},
                    )  # fmt: skip
                return error
            _log.info("The definitions were read again", extra={"action": "definitions-reloaded"})
            return None

    def close(self) -> None:
        """Let jobs end their chunk, and the threads what they do."""
        self.app.outside.remove(self._kept)
        self.scheduler.close()
        self._is_working = False
        self.app.counters.stop()
        self.collector.stop()
        self.laws.close()
        self.alert_loop.stop()
        self.gate.close()
        self.trail.close()
        self.threads.shutdown(wait=True, cancel_futures=True)
        self._lookers.shutdown(wait=True, cancel_futures=True)
        self._askers.shutdown(wait=True, cancel_futures=True)


def _outside(app: Dayfold) -> tuple[Embed | None, Oidc | None]:
    """What checks the tokens and people that others vouch for, against an application's definitions."""
    auth = app.settings.auth
    return Embed(auth.jwt, app.catalog, app.folder) if auth.jwt.is_on else None, Oidc(app) if auth.oidc.is_on else None


def present(request: Request) -> Present:
    """What a request goes by."""
    found: Present = request.state.present
    return found


def service(request: Request) -> Service:
    """The service that a request came to; a dependency of routes."""
    found: Service = request.app.state.service
    return found
