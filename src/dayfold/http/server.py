"""Runs the HTTP application until it is told to stop. HTTP door."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from dayfold.app import Dayfold
from dayfold.errors import ConnectionFailed
from dayfold.http.application import make
from dayfold.http.service import Service
from dayfold.jobs.report import reporting

#: Connections that wait to be taken.
_BACKLOG = 2048
#: How long requests may go on after the process was told to stop.
_GRACE_S = 10


def serve(app: Dayfold, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Answer at an address until SIGINT or SIGTERM; ``announce`` is told the URL once it is listened at.

    Raises:
        ConnectionFailed: when the address cannot be listened at; MissingDriver, ConfigError: when errors cannot be reported as the
            settings say.
    """
    app.ledger.ready()
    with reporting(app.settings.errors):
        _serve(Service(app), host, port, announce)


def _serve(found: Service, host: str, port: int, announce: Callable[[str], None]) -> None:
    listener = _listen(host, port)
    config = uvicorn.Config(
        make(found),
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=found.app.settings.auth.trusted_proxies,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config, found.ask_stop)
    shown = f"[{host}]" if ":" in host else host
    announce(f"http://{shown}:{listener.getsockname()[1]}")
    if threading.current_thread() is threading.main_thread():
        # The server passes the signal on once it has ended, and what comes after it has to be done.
        signal.signal(signal.SIGTERM, lambda number, frame: None)
    found.start()
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
        found.close()


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
    listener = socket.socket(family, socket.SOCK_STREAM)
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
