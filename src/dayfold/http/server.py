"""Runs the HTTP application until it is told to stop. HTTP door."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from dayfold import streams
from dayfold.app import Dayfold
from dayfold.errors import ConnectionFailed
from dayfold.http.application import make
from dayfold.http.owner import Reception, Runner
from dayfold.http.service import Service
from dayfold.http.straight import Straight
from dayfold.jobs.report import reporting

#: Connections that wait to be taken.
_BACKLOG = 2048
#: How long one thread may hold the interpreter while another waits for it.
_SWITCH_S = 0.0002
#: Objects that are made, and not let go, before Python looks for those that only hold each other.
_GARBAGE = 10_000
#: How long an idle connection is kept: longer than a proxy keeps its own, which would else send into a closed one.
_IDLE_S = 75
#: How long requests may go on after the process was told to stop.
_GRACE_S = 10


def serve(
    app: Dayfold,
    host: str,
    port: int,
    announce: Callable[[str], None],
    run: Runner,
    make: Callable[[Service], FastAPI] = make,
    *,
    trial: Callable[[str], None] | None = None,
) -> None:
    """Answer at an address until SIGINT or SIGTERM; ``announce`` is told the URL once it is listened at.

    ``run`` runs the commands that reach this process while it owns a DuckDB file; ``make`` makes the application of a service.
    With a ``trial``, which is given the URL in a thread of its own, the server ends when that does, and what it raises is raised here.

    Raises:
        ConnectionFailed: when the address cannot be listened at; MissingDriver, ConfigError: when errors cannot be reported as the
            settings say.
    """
    app.ledger.ready()
    # Questions that are computed give the interpreter back sooner, so that kept answers do not wait for them.
    sys.setswitchinterval(_SWITCH_S)
    with reporting(app.settings.errors):
        found = Service(app)
        _serve(found, make(found), host, port, announce, run, trial)


def _serve(
    found: Service,
    api: FastAPI,
    host: str,
    port: int,
    announce: Callable[[str], None],
    run: Runner,
    trial: Callable[[str], None] | None,
) -> None:
    listener = _listen(host, port)
    config = uvicorn.Config(
        # Outside of all else: events are the busiest of what a server is sent.
        Straight(api, found),
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=found.app.settings.auth.trusted_proxies,
        backlog=_BACKLOG,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config, found.ask_stop)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}"
    reception = Reception(found, run, url)
    with streams.routed(), _ending_well(server):
        try:
            reception.start()
            # What cannot be served is told instead of an address.
            found.collector.start()
            found.counting.start()
            announce(url)
            found.start()
            # What is there by now stays, and is not looked through whenever much else was made.
            gc.collect()
            gc.freeze()
            gc.set_threshold(_GARBAGE)
            with _tried(server, url, trial):
                server.run(sockets=[listener])
        finally:
            # What is frozen is never let go, and DuckDB's binding would say of all of it that it leaked.
            gc.unfreeze()
            listener.close()
            reception.stop()
            found.close()


@contextmanager
def _tried(server: uvicorn.Server, url: str, trial: Callable[[str], None] | None) -> Iterator[None]:
    """The server of the block is tried, if it is to be, and ends then."""
    if trial is None:
        yield
        return
    with ThreadPoolExecutor(1, thread_name_prefix="dayfold-trial") as thread:
        going = thread.submit(trial, url)
        # Whoever tries it waits at the listening socket until it answers.
        going.add_done_callback(lambda _: setattr(server, "should_exit", True))
        yield
        going.result()


@contextmanager
def _ending_well(server: uvicorn.Server) -> Iterator[None]:
    """SIGTERM ends the server, however early it comes; uvicorn raises it again once it has ended, which is no news then."""

    def end(number: int, frame: object) -> None:
        server.should_exit = True

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Server(uvicorn.Server):
    """A server that says at once that it was told to end, not only when its last request has been answered."""

    def __init__(self, config: uvicorn.Config, told: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = told

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came."""
        self._told()
        super().handle_exit(sig, frame)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named by its protocol: the event loop sends small answers at once only on sockets that say that they are TCP; others wait
    # for the other side's acknowledgement, 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConnectionFailed(
            f"{host}:{port} cannot be listened at: {error.strerror}.",
            hint="Choose another with --port, or [serve] port.",
        ) from None
    listener.listen(_BACKLOG)
    return listener
