"""Makes the platform's tables and fills them, and sends ninety days of events through a collector.

    python load.py duckdb:///licensing.duckdb
    python load.py postgresql://localhost/licensing --scale 1

Full size is a million events from 2025-11-01 on. A server is started for the time of loading, keys are made for it and
revoked again; what is sent goes over HTTP, as from the pages and servers of a platform.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from sending import Collector  # noqa: E402  (beside this file, wherever it is started from)
from traffic import FIRST, Request, Traffic, moment  # noqa: E402

SCALE = 0.005
#: What pages may send: what everybody may, and how long a page was read.
PAGES = ("page_viewed", "asset_viewed", "page_engaged")
COMMAND = (sys.executable, "-m", "dayfold.cli.main")


def load(url: str, scale: float = SCALE, told: Callable[[int], None] = lambda sent: None) -> int:
    """Fill the tables, send the events, and return how many rows and events that were.

    Raises:
        ValueError: `url` is neither duckdb:///PATH nor postgresql://….
    """
    if _is_duckdb(url):
        # The commands below run elsewhere.
        url = f"duckdb:///{Path(url.removeprefix('duckdb:///')).resolve()}"
    traffic = Traffic(scale)
    rows = fill(url, traffic)
    # What happened in ninety days comes at once here, which no limit is for.
    environment = {
        **os.environ,
        "DAYFOLD_STORE__URL": url,
        "DAYFOLD_SERVE__JOBS": "false",
        "DAYFOLD_COLLECT__PER_MINUTE": "0",
    }
    names = {"pages": f"loading pages {os.getpid()}", "servers": f"loading servers {os.getpid()}"}
    kinds = {
        "pages": ["--kind", "public", *(word for one in PAGES for word in ("--type", one))],
        "servers": ["--kind", "track"],
    }
    keys = {
        name: str(_dayfold(environment, "token", "create", named, *kinds[name], "--json")["token"])
        for name, named in names.items()
    }
    try:
        with _served(environment) as address:
            sent = send(address, keys, traffic, told=told)
    finally:
        for named in names.values():
            _dayfold(environment, "token", "revoke", named, "--json")
    return rows + sent


def fill(url: str, traffic: Traffic) -> int:
    """Make the platform's tables anew and fill them in one transaction; how many rows they have."""
    tables = traffic.tables()
    with _connected(url) as connection:
        for statement in _statements("schema.sql"):
            connection.execute(statement)
        for name, rows in tables.items():
            place = "?" if _is_duckdb(url) else "%s"
            places = ", ".join([place] * len(rows[0]))
            cursor = connection if _is_duckdb(url) else connection.cursor()
            cursor.executemany(f"INSERT INTO {name} VALUES ({places})", rows)
        for statement in _statements("indexes.sql"):
            connection.execute(statement)
    return sum(map(len, tables.values()))


def present() -> dt.datetime:
    """The present, as the server sees it too."""
    told = os.environ.get("DAYFOLD_NOW")
    return dt.datetime.fromisoformat(told) if told else dt.datetime.now(dt.UTC)


def send(
    address: str,
    keys: Mapping[str, str],
    requests: Iterable[Request],
    *,
    now: Callable[[], dt.datetime] = present,
    told: Callable[[int], None] = lambda sent: None,
) -> int:
    """Send requests one after the other, in their order; how many events they held.

    Args:
        address: Of the collector.
        keys: The write keys of ``pages`` and ``servers``.
        requests: Of which pages say what their clocks show, so that the collector corrects them.
        now: The present as the collector knows it.
        told: Called from time to time with the events sent so far.
    """
    collector = Collector(address)
    sent = 0
    try:
        for number, one in enumerate(requests):
            shown = None if one.ahead_s is None else moment(now() + dt.timedelta(seconds=one.ahead_s))
            collector.send(keys[one.key], one.events, sent_at=shown, headers=one.headers)
            sent += len(one.events)
            if number % 200 == 0:
                told(sent)
    finally:
        collector.close()
    told(sent)
    return sent


def _dayfold(environment: Mapping[str, str], *words: str) -> dict[str, Any]:
    """A command of Dayfold over these definitions."""
    done = subprocess.run(
        [*COMMAND, *words, "-a", str(HERE / "metrics.py")],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"dayfold {words[0]} {words[1]}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def _served(environment: Mapping[str, str]) -> Iterator[str]:
    """The address of a server that runs for a while."""
    words = [*COMMAND, "serve", "--host", "127.0.0.1", "--port", "0", "--json", "-a", str(HERE / "metrics.py")]
    with subprocess.Popen(words, env=dict(environment), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            text = ""
            while not text.endswith("}\n"):
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError("dayfold serve ended at once; what it said stands above")
                text += line
            yield str(json.loads(text)["url"])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _is_duckdb(url: str) -> bool:
    if url.startswith("duckdb:///"):
        return True
    if url.startswith(("postgresql://", "postgres://")):
        return False
    scheme = url.partition(":")[0]
    raise ValueError(f"expected duckdb:///PATH or postgresql://…, got a URL starting with {scheme!r}")


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    """A connection and one transaction."""
    if _is_duckdb(url):
        import duckdb  # each driver is needed for its own engine only

        with duckdb.connect(url.removeprefix("duckdb:///")) as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
    else:
        import psycopg

        with psycopg.connect(url) as connection:
            yield connection


def _statements(name: str) -> list[str]:
    """The statements of a file; none of them holds a semicolon."""
    lines = [line for line in (HERE / name).read_text(encoding="utf-8").splitlines() if not line.startswith("--")]
    return [one.strip() for one in "\n".join(lines).split(";") if one.strip()]


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url", help="duckdb:///PATH or postgresql://…")
    parser.add_argument("--scale", type=float, default=SCALE, help=f"part of a million events (default: {SCALE})")
    words = parser.parse_args()
    count = load(
        words.url, words.scale, lambda sent: print(f"\r{sent:,} events sent", end="", file=sys.stderr, flush=True)
    )
    print(f"\n{count:,} rows and events from {FIRST} on")


if __name__ == "__main__":
    _main()
