"""Makes the tables of API keys and counts six weeks of traffic, the same on every machine.

    python load.py duckdb:///uploads.duckdb
    python load.py postgresql://localhost/uploads --live redis://localhost:6379/0

What is counted is added once more when it is run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from six_weeks import DELETED, FIRST, KEYS, ApiKey, Request, requests, some  # noqa: E402  (beside this file, wherever it is started from)

from dayfold import Dayfold  # noqa: E402

#: Increments that are sent together.
TOGETHER = 2_000


def load(url: str, live: str | None = None) -> int:
    """Make the tables, add every request to the counters, and flush; how many keys and requests that were.

    Raises:
        ValueError: `url` is neither duckdb:///PATH nor postgresql://….
    """
    if url.startswith("duckdb:///"):
        # Relative paths are from here, and not from the definitions.
        url = f"duckdb:///{Path(url.removeprefix('duckdb:///')).resolve()}"
    make(url, KEYS)
    config = {"store": {"url": url}, "live": {"url": live} if live else {}}
    with Dayfold(HERE / "metrics.py", config) as dayfold:
        return len(KEYS) + count(dayfold, requests())


def count(dayfold: Dayfold, traffic: Iterable[Request]) -> int:
    """Requests are in the counters' tables; how many. They have no ids: these are remembered for days only."""
    counters = dayfold.counters
    by_key, by_provider = counters.defined(["ApiKeyUsage", "ProviderUsage"])

    def adds() -> Iterator[Any]:
        for one in traffic:
            key = {"api_key_id": one.key.id}
            good = int(one.is_good)
            amounts = {"total_requests": 1, "successful_requests": good, "failed_requests": 1 - good}
            if one.provider:
                stored = {"upload_count": 1, "total_file_size": one.size}
                yield counters.read(by_provider, {**key, "provider": one.provider}, stored, one.key.user_id, one.at)
                amounts |= {"total_file_size": one.size, "total_files_uploaded": 1}
            yield counters.read(by_key, key, amounts, one.key.user_id, one.at)

    counted, waiting = 0, adds()
    while some := list(islice(waiting, TOGETHER)):
        outcomes = counters.offer(some).result(60)
        if set(outcomes) != {"accepted"}:
            raise RuntimeError(f"not everything was counted: {sorted(set(outcomes))}")
        counted += sum(one.counter == by_key.name for one in some)
    counters.flush()
    return counted


def count_some(dayfold: Dayfold) -> int:
    """A little of what is asked for at the present moment is in the counters' tables; how many requests."""
    return count(dayfold, some(dayfold.clock.now()))


def make(url: str, keys: Iterable[ApiKey]) -> None:
    """Make the application's tables anew, with these keys; the deleted one has its quotas only."""
    statements = [one for one in (HERE / "schema.sql").read_text(encoding="utf-8").split(";") if one.strip()]
    scheme = url.partition("://")[0]
    connection: Any
    if url.startswith("duckdb:///"):
        import duckdb  # each driver is needed for its own engine only

        connection, place = duckdb.connect(url.removeprefix("duckdb:///")), "?"
    elif scheme in ("postgresql", "postgres"):
        import psycopg

        connection, place = psycopg.connect(url, autocommit=True), "%s"
    else:
        raise ValueError(f"expected duckdb:///PATH or postgresql://…, got a URL starting with {scheme!r}")
    with connection:
        for statement in statements:
            connection.execute(statement)
        for one in keys:
            if one.id != DELETED:
                connection.execute(f"INSERT INTO api_keys VALUES ({place}, {place})", (one.id, one.user_id))
            row = (one.id, one.user_id, one.monthly_bytes, f"{FIRST} 00:00:00+00")
            connection.execute(f"INSERT INTO api_key_quotas VALUES ({', '.join([place] * 4)})", row)


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url", help="duckdb:///PATH or postgresql://…")
    parser.add_argument("--live", help="redis://… or valkey://…; default: the increments wait in the store itself")
    words = parser.parse_args()
    print(f"{load(words.url, words.live):,} keys and requests")


if __name__ == "__main__":
    _main()
