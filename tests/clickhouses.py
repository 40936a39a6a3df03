"""A real ClickHouse engine for the tests, from the chdb wheel, behind ClickHouse's own HTTP protocol.

The engine runs in a process of its own, so that many processes share one server as they would share a real one. What holds of a real server
and is kept: databases, sessions with their temporary tables and settings, parameters, formats, error codes and their HTTP statuses, the
summary of rows, passwords, compressed bodies, data sent along with a query. A server ends when nobody holds its file lock any more (an
ended or killed process lets go too), and takes its files with it. Invariant: whoever holds a lease has a running server.

Weakness: POSIX only. Answers are whole, never streamed, so an error never comes in the middle of one. A query's id is not the engine's. Two
statements in one request are not refused. A request of a session that names no database runs where the one before it ran.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

USER = "default"
#: Characters that must be escaped in a URL, so that every test shows that they are.
PASSWORD = "p@ss/w:rd"
#: Far from UTC and with clock changes: a query that forgets to say UTC gets other days.
SERVER_ZONE = "America/New_York"
_PATIENCE_S = 60
_SESSION_S = 60


class ClickHouseServer:
    """A server of a folder. ``with`` starts one of its own, which can be killed; `lease` gives the one that a whole test run shares."""

    def __init__(self, folder: Path, users: Path | None = None) -> None:
        self.folder = folder
        self.port = 0
        self._users = users or folder / "users"
        self._holds: Any = None
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def own(cls) -> Self:
        """A server in a folder that goes with it; not started yet."""
        from tests.servers import roomy_folder

        return cls(Path(tempfile.mkdtemp(prefix="dayfold-clickhouse-", dir=roomy_folder())))

    def __enter__(self) -> Self:
        self._holds = self._users.open("w")
        fcntl.flock(self._holds, fcntl.LOCK_SH)
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._holds.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """The address of a database."""
        return f"clickhouse://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def client(self, database: str = "default", password: str = PASSWORD, **options: Any) -> Any:
        """A connection past the product."""
        import clickhouse_connect

        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username=USER, password=password, database=database, **options
        )

    def execute(self, statement: str) -> str:
        """Run a statement outside any test's database; what it answers, as text."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", statement.encode(), _authority())
        with urllib.request.urlopen(request) as answer:
            return str(answer.read().decode())

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a fresh empty database, dropped afterwards whoever still has a session."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} SYNC")

    def start(self) -> Self:
        """It answers, on the port that it had before."""
        port = self.folder / "port"
        port.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # Without the script's folder on the path, where `http` is a package of tests.
                [sys.executable, "-P", __file__, self.folder, self._users, str(self.port)], env={**os.environ, "TZ": SERVER_ZONE},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
            )  # fmt: skip
        give_up = time.monotonic() + _PATIENCE_S
        while not port.exists():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"ClickHouse did not start:\n{(self.folder / 'log').read_text(errors='replace')}")
            time.sleep(0.005)
        self.port = int(port.read_text())
        return self

    def leave(self) -> None:
        """The process is not this one's to wait for: it ends by itself when nobody holds its lock."""
        assert self._process is not None
        self._process.returncode, self._process = 0, None

    def kill(self) -> None:
        """kill -9. Sessions and their temporary tables are gone; what the system had taken to write is there after `start`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> Self:
        """Killed, and started with what was on disk."""
        self.kill()
        return self.start()

    def pause(self) -> None:
        """It holds its connections and answers nothing, until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def lease(folder: Path) -> Iterator[ClickHouseServer]:
    """The server shared by all processes that name the same folder, started by the first of them. It is not to be killed."""
    from tests.servers import roomy_folder

    home, users = folder / "clickhouse.home", folder / "clickhouse.users"
    with users.open("w") as holds:
        with (folder / "clickhouse.starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            fcntl.flock(holds, fcntl.LOCK_SH)
            if not (home.exists() and Path(home.read_text()).exists()):
                made = tempfile.mkdtemp(prefix="dayfold-clickhouse-", dir=roomy_folder())
                ClickHouseServer(Path(made), users).start().leave()
                home.write_text(made)
        server = ClickHouseServer(Path(home.read_text()), users)
        server.port = int((server.folder / "port").read_text())
        yield server


def _authority() -> dict[str, str]:
    return {"X-ClickHouse-User": USER, "X-ClickHouse-Key": PASSWORD}


# What follows runs in the server's process.


class _Refusal(Exception):
    """An answer that is an error, as ClickHouse words one."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        found = re.search(r"Code: (\d+)\. DB::(?:Net)?Exception", message)
        self.code = int(found[1]) if found else 1001
        self.message = message[found.start() :] if found else f"Code: 1001. DB::Exception: {message} (STD_EXCEPTION)"

    @property
    def status(self) -> int:
        return next((status for status, codes in _STATUSES.items() if self.code in codes), 500)


#: The HTTP status of an error code, as the engine's own server chooses it.
_STATUSES = {
    400: {6, 26, 27, 36, 38, 41, 43, 53, 62, 69, 70, 72, 107, 113, 117, 321, 386, 457, 467},
    403: {192, 193, 497, 516},
    404: {46, 47, 50, 60, 63, 73, 81, 115, 137},
    408: {159},
    413: {29},
    501: {48},
}
#: Parameters of a request that are not settings of its query; the last four are about the transport, of which there is nothing to set.
_RESERVED = {
    "query", "database", "user", "password", "default_format", "session_id", "session_timeout", "session_check", "close_session",
    "query_id", "quota_key", "compress", "decompress", "wait_end_of_query", "buffer_size", "client_protocol_version", "role", "stacktrace",
    "send_progress_in_http_headers", "http_headers_progress_interval_ms", "enable_http_compression",
    "cancel_http_readonly_queries_on_client_close",
}  # fmt: skip
_NAME = rb"(?:`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"|\w+)"
_INSERT = re.compile(
    rb"\s*(INSERT\s+INTO\s+(?:TABLE\s+)?" + _NAME + rb"(?:\s*\.\s*" + _NAME + rb")?\s*"
    rb"(?:\((?:[^()`\"]|" + _NAME + rb")*\))?)\s*(SETTINGS\s[^;]*?)?\s*FORMAT\s+(\w+)[ \t;]*(?:\r?\n|$)",
    re.IGNORECASE,
)
_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*(?:SETTINGS\s.*)?;?\s*$", re.IGNORECASE | re.DOTALL)
_SHOWS = re.compile(
    rb"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(SELECT|WITH|FROM|SHOW|DESC|EXPLAIN|EXISTS|CHECK|KILL)", re.IGNORECASE | re.DOTALL
)
_OWN_WAYS = re.compile(rb"\s*(SET|USE)\s", re.IGNORECASE)
#: Where the engine in process differs from a server by itself.
_AS_A_SERVER = {"implicit_select": "0"}


@dataclass
class _Request:
    """What one request asks, in whichever part of it that stood."""

    parameters: dict[str, str]
    statement: bytes
    files: dict[str, bytes]

    @classmethod
    def read(cls, query: Any, headers: Any, body: bytes) -> _Request:
        parameters = dict(query)
        body = _plain(body, headers.get("content-encoding", ""))
        files: dict[str, bytes] = {}
        kind, _, boundary = headers.get("content-type", "").partition("boundary=")
        if kind.startswith("multipart/form-data"):
            for name, is_file, value in _parts(body, boundary.strip('"').encode()):
                if is_file:
                    files[name] = value
                else:
                    parameters[name] = value.decode("utf-8", "surrogateescape")
            body = b""
        words = parameters.pop("query", "").encode("utf-8", "surrogateescape")
        return cls(parameters, words + b"\n" + body if words and body else words + body, files)

    @property
    def settings(self) -> dict[str, str]:
        extra = {f"{name}_{word}" for name in self.files for word in ("format", "structure", "types")}
        return {
            name: value
            for name, value in self.parameters.items()
            if name not in _RESERVED and name not in extra and not name.startswith("param_")
        }

    @property
    def bound(self) -> dict[str, str]:
        return {name[6:]: value for name, value in self.parameters.items() if name.startswith("param_")}


@dataclass
class _Answer:
    body: bytes
    format: str | None  # Of what is shown; None after a statement that shows nothing.
    summary: dict[str, int] = field(default_factory=dict)


class _Handle:
    """One connection to the engine, with the temporary tables and settings of its session; one request at a time."""

    def __init__(self, path: str, stays: bool = True) -> None:
        from chdb.state.sqlitelike import Connection

        self._engine: Any = Connection(path)
        self.busy = threading.Lock()
        self.ends = 0.0
        self._stays = stays
        self._database = ""
        self._wanted: dict[str, str] = {}
        self._before: dict[str, str | None] = {}
        self._run("SET " + _pairs(_AS_A_SERVER))

    def close(self) -> None:
        self._engine.close()

    def answer(self, request: _Request) -> _Answer:
        database = request.parameters.get("database", "")
        if database and database != self._database:
            self._run(f"USE {_quoted(database, '`')}")
            self._database = database
        self._settle(request.settings)
        with self._tables(request):
            if found := _INSERT.match(request.statement):
                return self._insert(request, found)
            fallback = request.parameters.get("default_format", "TabSeparated")
            result = self._run(request.statement, fallback, request.bound)
        if _OWN_WAYS.match(request.statement):
            self._database = ""
            self._wanted = {}
        named = _FORMAT.search(request.statement)
        form = named[1].decode() if named else fallback
        return _Answer(
            result.bytes() or b"", form if _SHOWS.match(request.statement) else None,
            {"read_rows": result.storage_rows_read(), "read_bytes": result.storage_bytes_read(), "written_rows": result.rows_written(),
             "written_bytes": result.bytes_written(), "result_rows": result.rows_read(), "result_bytes": result.size(),
             "elapsed_ns": int(result.elapsed() * 1e9)},
        )  # fmt: skip

    def _insert(self, request: _Request, found: re.Match[bytes]) -> _Answer:
        words, settings, form = (part.decode() if part else "" for part in found.groups())
        for name, value in request.bound.items():
            self._run(f"SET param_{name} = {_quoted(value)}")
        with _refusals(), self._engine.send_insert(f"{words} {settings}", form) as inserter:
            inserter.append(request.statement[found.end() :])
            done = inserter.finish()
        return _Answer(b"", None, {"written_rows": done.rows_written, "written_bytes": done.bytes_written})

    @contextlib.contextmanager
    def _tables(self, request: _Request) -> Iterator[None]:
        """The files of the request are temporary tables while its query runs."""
        made = []
        try:
            for name, content in request.files.items():
                structure = request.parameters.get(f"{name}_structure") or ", ".join(
                    f"_{place} {kind}" for place, kind in enumerate(request.parameters[f"{name}_types"].split(","), 1)
                )
                self._run(f"CREATE TEMPORARY TABLE {name} ({structure})")
                made.append(name)
                with _refusals(), self._engine.send_insert(
                    f"INSERT INTO {name}", request.parameters.get(f"{name}_format", "TabSeparated")
                ) as inserter:  # fmt: skip
                    inserter.append(content)
                    inserter.finish()
            yield
        finally:
            for name in made:
                self._run(f"DROP TEMPORARY TABLE {name}")

    def _settle(self, wanted: dict[str, str]) -> None:
        """The request's settings hold, and of the request before it only what its session had set."""
        if wanted == self._wanted:
            return
        for name, value in self._before.items():
            self._run(f"SET {name} = {'DEFAULT' if value is None else _quoted(value)}")
        self._before, self._wanted = {}, {}
        if wanted:
            self._before = self._held(wanted) if self._stays else {}
            self._run("SET " + _pairs(wanted))
            self._wanted = wanted

    def _held(self, names: Iterable[str]) -> dict[str, str | None]:
        """What the session itself had set; None is the default. Some 6 ms."""
        listed = ", ".join(map(_quoted, names))
        found = self._run(f"SELECT name, value, changed FROM system.settings WHERE name IN ({listed})", "JSONCompact")
        return {name: value if changed else None for name, value, changed in json.loads(found.bytes())["data"]}

    def _run(self, statement: str | bytes, form: str = "TabSeparated", bound: dict[str, str] | None = None) -> Any:
        with _refusals():
            return self._engine.query(statement, form, params=bound or {})


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise _Refusal(str(error)) from None


class _Engine:
    """The sessions of one folder of data."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._sessions: dict[str, _Handle] = {}
        self._lock = threading.Lock()
        self._own = _Handle(self._path)  # Without any handle the engine would end.
        found = self._own._run("SELECT version(), timezone()", "JSONCompact")
        [[self.version, self.zone]] = json.loads(found.bytes())["data"]

    def answer(self, request: _Request) -> _Answer:
        if not request.statement.strip():
            raise _Refusal("Code: 62. DB::Exception: Syntax error: Empty query. (SYNTAX_ERROR)")
        with self._handle(request.parameters) as handle:
            return handle.answer(request)

    @contextlib.contextmanager
    def _handle(self, parameters: dict[str, str]) -> Iterator[_Handle]:
        name = parameters.get("session_id")
        if not name:
            with contextlib.closing(_Handle(self._path, stays=False)) as handle:
                yield handle
            return
        with self._lock:
            self._sweep()
            if name not in self._sessions:
                if parameters.get("session_check") == "1":
                    raise _Refusal(f"Code: 372. DB::Exception: Session {name} not found. (SESSION_NOT_FOUND)")
                self._sessions[name] = _Handle(self._path)
            handle = self._sessions[name]
            if not handle.busy.acquire(blocking=False):
                raise _Refusal(
                    f"Code: 373. DB::Exception: Session {name} is locked by a concurrent client. (SESSION_IS_LOCKED)"
                )
        try:
            yield handle
        finally:
            handle.ends = time.monotonic() + float(parameters.get("session_timeout", _SESSION_S))
            if parameters.get("close_session") == "1":
                handle.ends = 0
            handle.busy.release()

    def _sweep(self) -> None:
        """Sessions that nobody used for as long as they said are gone."""
        for name, handle in list(self._sessions.items()):
            if handle.ends < time.monotonic() and handle.busy.acquire(blocking=False):
                self._sessions.pop(name).close()


def _pairs(settings: dict[str, str]) -> str:
    return ", ".join(f"{_known(name)} = {_quoted(value)}" for name, value in settings.items())


def _known(name: str) -> str:
    if not re.fullmatch(r"\w+", name):
        raise _Refusal(f"Code: 115. DB::Exception: Setting {name} is neither a builtin setting nor started with the prefix "
                       "'SQL_' registered for user-defined settings. (UNKNOWN_SETTING)")  # fmt: skip
    return name


def _quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def _plain(body: bytes, encoding: str) -> bytes:
    """The body unpacked; the client's own parts can do it, for they packed it."""
    from clickhouse_connect.driver._backend.httpcommon import decompress_response
    from clickhouse_connect.driver.exceptions import OperationalError

    try:
        return decompress_response(body, encoding)
    except OperationalError:
        raise _Refusal(f"Code: 48. DB::Exception: Unknown compression {encoding}. (NOT_IMPLEMENTED)") from None


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, bool, bytes]]:
    """The fields of a form: name, whether it is a file, and value."""
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:-1]:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'\bname="([^"]*)"', head)
        assert name is not None
        yield name[1].decode(), b"filename=" in head, value


def _admits(headers: Any, parameters: dict[str, str]) -> bool:
    kind, _, rest = headers.get("authorization", "").partition(" ")
    if kind == "Basic":
        return base64.b64decode(rest).decode() == f"{USER}:{PASSWORD}"
    user = headers.get("x-clickhouse-user", parameters.get("user", USER))
    return (user, headers.get("x-clickhouse-key", parameters.get("password"))) == (USER, PASSWORD)


def serve(folder: Path, users: Path, port: int) -> None:
    """Answer on a port of this machine until nobody holds the folder's lock; the folder goes too."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    engine = _Engine(folder / "data")

    def answered(query: Any, headers: Any, body: bytes) -> Response:
        shown = {
            "X-ClickHouse-Server-Display-Name": "dayfold-tests",
            "X-ClickHouse-Query-Id": query.get("query_id") or secrets.token_hex(16),
            "X-ClickHouse-Timezone": engine.zone,
        }
        try:
            if not _admits(headers, dict(query)):
                raise _Refusal(f"Code: 516. DB::Exception: {USER}: Authentication failed: password is incorrect, or there is no user "
                               "with such name. (AUTHENTICATION_FAILED)")  # fmt: skip
            done = engine.answer(_Request.read(query, headers, body))
        except _Refusal as refusal:
            text = f"{refusal.message} (version {engine.version})\n"
            return PlainTextResponse(text, refusal.status, {**shown, "X-ClickHouse-Exception-Code": str(refusal.code)})
        if done.format:
            shown["X-ClickHouse-Format"] = done.format
        shown["X-ClickHouse-Summary"] = json.dumps({name: str(value) for name, value in done.summary.items()})
        return Response(done.body, 200, shown)

    async def root(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(answered, request.query_params, request.headers, body)

    async def ping(_: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    threading.Thread(target=_end_when_left, args=(folder, users), daemon=True).start()
    done = folder / "port.new"
    done.write_text(str(listener.getsockname()[1]))
    done.rename(folder / "port")
    application = Starlette(routes=[Route("/", root, methods=["GET", "POST"]), Route("/ping", ping)])
    uvicorn.Server(uvicorn.Config(application, log_level="warning", timeout_keep_alive=_PATIENCE_S)).run([listener])


def _end_when_left(folder: Path, users: Path) -> None:
    with users.open("w") as holds:
        fcntl.flock(holds, fcntl.LOCK_EX)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
