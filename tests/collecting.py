"""A collector in a process of its own, which tests send events to, kill, and start again at the same address."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import random
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from dayfold import Dayfold
from tests.acceptance.command import COMMAND, LIMIT_S, Done, environment, succeeds
from tests.sql import is_clickhouse, ledger_of, rows_of, run_sql, store_config

METRICS = """\
from dayfold import Count, Distinct, Rollup, Sum, events

events.columns(project_id="text")


class Daily(Rollup):
    key = "project_id"

    happened = Count(events, at="occurred_at")
    people = Distinct(events, "coalesce(actor_id, anonymous_id)", at="occurred_at")
    cents = Sum(events, "(props->>'cents')::bigint", at="occurred_at")
"""
#: What a page sends in these tests.
PAGE_TYPES = ("page_viewed", "asset_viewed", "identified", "grouped", "aliased", "signed_up")


class Station:
    """A folder of definitions that collect events, and the server that runs on it.

    Args:
        folder: An empty one.
        url: Of the store.
        metrics: The definitions.
        settings: More lines of ``dayfold.toml``.
    """

    def __init__(self, folder: Path, url: str, metrics: str = METRICS, settings: str = "") -> None:
        self.folder = folder
        self.store = url
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.py").write_text(metrics)
        words = f'[store]\nurl = "{rows_of(url)}"\nlong_view = ""\n[serve]\njobs = false\n'
        if is_clickhouse(url):
            words += f'[ledger]\nurl = "{ledger_of(url)}"\n'
        (folder / "dayfold.toml").write_text(words + settings)
        self.server_key, self.page_key, self.reader = "", "", ""

    def __enter__(self) -> Self:
        with Dayfold([], store_config(self.store)) as app:
            app.ledger.ready()
            self.server_key = app.accounts.create_token("a server", "track").secret
            self.page_key = app.accounts.create_token("a page", "public", types=PAGE_TYPES).secret
            self.reader = app.accounts.create_token("a reader", "read").secret
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # -- its process -----------------------------------------------------------------------------

    def start(self, **env: str) -> None:
        """It listens."""
        self.process = process = self.begin(**env)
        assert process.stdout is not None
        text = ""
        while not text.endswith("\n}\n"):
            line = process.stdout.readline()
            assert line, self.log
            text += line
        assert json.loads(text)["url"] == self.host

    def begin(self, port: int | None = None, **env: str) -> subprocess.Popen[str]:
        """A server's process, which may not listen yet."""
        with (self.folder / "server.log").open("a") as log:
            return subprocess.Popen(
                [*COMMAND, "serve", "--port", str(port or self.port), "--host", "127.0.0.1", "--json"],
                cwd=self.folder, env=environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate(timeout=LIMIT_S)
        self.process = None

    def stop(self) -> None:
        """It ends in order; again is harmless."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        finally:
            self.process = None

    @property
    def log(self) -> str:
        """What its processes have said on standard error."""
        return (self.folder / "server.log").read_text()

    # -- what is asked of it ---------------------------------------------------------------------

    def post(self, path: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
        """The status and the words of one answer; what the connection raises where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            sent = {"content-type": "application/json", "authorization": f"Bearer {self.server_key}", **headers}
            connection.request("POST", path, json.dumps(body), sent)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def run(self, *words: object) -> Done:
        """A command that ends well."""
        return succeeds(*words, cwd=self.folder)

    def stored(self, sql: str) -> list[tuple[Any, ...]]:
        """What the store says once all that was taken is there; the server is stopped."""
        self.stop()
        return run_sql(self.store, sql)

    def events(self, columns: str = "event_type") -> list[tuple[Any, ...]]:
        """The events of the log, in the order of their ids; every id stands once, in the table of the ids and in the log."""
        found = self.stored(f"SELECT {columns} FROM dayfold_events ORDER BY id")
        [(ids,)] = self.stored("SELECT count(*) FROM dayfold__event_ids")
        [(different,)] = self.stored("SELECT count(DISTINCT id) FROM dayfold_events")
        assert ids == different == len(found)
        return found


def basic(key: str) -> Mapping[str, str]:
    """A write key as Segment's libraries send it."""
    return {"authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


def free_port() -> int:
    """A port that nobody listens on.

    It is none of those that the system gives to clients: who tries again and again to reach a server that is gone would
    some day be connected to itself.
    """
    ports = list(range(20_000, 32_000))
    random.SystemRandom().shuffle(ports)
    for port in ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


@contextlib.contextmanager
def station(folder: Path, url: str, **how: str) -> Iterator[Station]:
    """A collector that runs inside the block."""
    with Station(folder, url, **how) as found:
        yield found
