"""Feeds the access log of a web server to a collector: pages as `page_viewed`, images and other works as `asset_viewed`.

    python replay.py access.log access.log.1.gz --url http://localhost:8787 --key SERVER_KEY --site https://www.example.com

Logs are in Apache's combined format, as nginx writes it too. Each line makes one event with an id of its own, so that a
replay that was interrupted is run again, and what had been sent changes nothing. No address of a visitor is stored:
visitors are told apart by a hash of their address and browser.

What counts is a GET that was answered with 2xx or 304. What a page consists of (styles, scripts, fonts, icons) and feeds are no views.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import hashlib
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

from sending import Collector, Refused

LINE = re.compile(
    r'(?P<ip>\S+) \S+ \S+ \[(?P<at>[^\]]+)\] "(?P<method>[A-Z]+) (?P<target>\S+) [^"]*" (?P<status>\d{3}) \S+'
    r' "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"\s*'
)
#: Endings of what people look at for itself, and of what belongs to a page.
WORKS = ("png", "jpg", "jpeg", "gif", "svg", "webp", "pdf", "mp4", "webm", "mp3", "zip", "ttf")
PARTS = ("css", "js", "map", "ico", "woff", "woff2", "eot", "xml", "rss", "atom", "txt", "json")
BATCH = 500


@dataclass
class Progress:
    """What became of the lines so far."""

    lines: int = 0
    unreadable: int = 0
    left_out: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        words = [f"{count:,} {name}" for name, count in sorted(self.outcomes.items()) if count]
        return f"{self.lines:,} lines: {', '.join(words) or 'nothing yet'}; {self.left_out:,} no views, {self.unreadable:,} unreadable"


def event_of(line: str, number: int, site: str, salt: bytes) -> dict[str, Any] | None:
    """The event of a line, None where it is no view.

    Args:
        line: As it stands in the log.
        number: How many lines like it, to the letter, came before in the same file.
        site: What the addresses of its pages begin with.
        salt: What visitors' hashes are made with.

    Raises:
        ValueError: it is no line of the combined format.
    """
    found = LINE.fullmatch(line)
    if found is None:
        raise ValueError("no line of the combined format")
    at = dt.datetime.strptime(found["at"], "%d/%b/%Y:%H:%M:%S %z")
    kind = _kind(found["target"])
    if found["method"] != "GET" or kind is None or not (found["status"].startswith("2") or found["status"] == "304"):
        return None
    visitor = hashlib.blake2b(f"{found['ip']}\0{found['agent']}".encode(), key=salt, digest_size=16).hexdigest()
    page = site.rstrip("/") + found["target"] if found["target"].startswith("/") else found["target"]
    event: dict[str, Any] = {
        "id": hashlib.blake2b(f"{number}\0{line}".encode(), digest_size=16).hexdigest(),
        "event_type": kind,
        "source": "import",
        "occurred_at": at.isoformat(),
        "anonymous_id": visitor,
        "page": page,
        "ip": found["ip"],
    }
    if kind == "asset_viewed":
        event["properties"] = {"ip_asset_id": _path(found["target"])[:200]}
    for name, value in (("user_agent", found["agent"]), ("referrer", found["referrer"])):
        if value not in ("", "-"):
            text = re.sub(r"\\(.)", r"\1", value)
            event |= {"attribution": {"referrer": text}} if name == "referrer" else {name: text}
    return event


def _path(target: str) -> str:
    """What stands before the query of a request. One that begins with // is a path all the same."""
    return target.partition("?")[0].partition("#")[0]


def _kind(target: str) -> str | None:
    """What a request is for: a page, a work, or a part of a page."""
    _, dot, ending = _path(target).rpartition("/")[2].lower().rpartition(".")
    if not dot:
        return "page_viewed"
    if ending in PARTS:
        return None
    return "asset_viewed" if ending in WORKS else "page_viewed"


def events_of(lines: Iterable[str], site: str, salt: bytes, progress: Progress) -> Iterator[dict[str, Any]]:
    """The events of a file's lines. A line that stands there twice is two requests."""
    seen: Counter[bytes] = Counter()
    for raw in lines:
        line = raw.rstrip("\r\n")
        progress.lines += 1
        mark = hashlib.blake2b(line.encode(), digest_size=12).digest()
        number = seen[mark]
        seen[mark] += 1
        try:
            event = event_of(line, number, site, salt)
        except ValueError:
            progress.unreadable += 1
            continue
        if event is None:
            progress.left_out += 1
        else:
            yield event


def replay(
    paths: Iterable[Path],
    url: str,
    key: str,
    site: str,
    salt: bytes,
    told: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Send the views of some logs, and return what became of their lines.

    Raises:
        Refused, OSError: where the collector does not take them; running it again goes on.
    """
    progress = Progress()
    collector = Collector(url)
    try:
        for path in paths:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt", encoding="utf-8", errors="replace") as lines:
                batch: list[dict[str, Any]] = []
                for event in events_of(lines, site, salt, progress):
                    batch.append(event)
                    if len(batch) == BATCH:
                        _send(collector, key, batch, progress)
                        told(progress)
                        batch = []
                if batch:
                    _send(collector, key, batch, progress)
    finally:
        collector.close()
    told(progress)
    return progress


def _send(collector: Collector, key: str, batch: list[dict[str, Any]], progress: Progress) -> None:
    answer = collector.send(key, batch, is_in_log=True)
    names = ("accepted", "repeated", "conflicts", "quarantined", "ignored")
    progress.outcomes.update({name: answer.get(name, 0) for name in names})
    kept = sum(answer.get(name, 0) for name in names)
    progress.outcomes["refused"] += len(batch) - kept


def _told() -> Callable[[Progress], None]:
    """A line that is written over on a terminal; in a log one every ten seconds."""
    last = 0.0

    def told(progress: Progress) -> None:
        nonlocal last
        if sys.stderr.isatty():
            print(f"\r{progress}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - last > 10:
            last = time.monotonic()
            print(progress, file=sys.stderr, flush=True)

    return told


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "logs", nargs="+", type=Path, metavar="LOG", help="a log, packed with gzip where it ends with .gz"
    )
    parser.add_argument("--url", default="http://localhost:8787", help="where `dayfold serve` listens")
    parser.add_argument("--key", required=True, help="a write key of the kind track")
    parser.add_argument("--site", required=True, help="what addresses begin with: https://www.example.com")
    parser.add_argument("--salt", help="what visitors' hashes are made with; the same for every run (default: the key)")
    words = parser.parse_args()
    for one in words.logs:
        if not one.is_file():
            parser.error(f"there is no file {one}")
    salt = hashlib.blake2b((words.salt or words.key).encode()).digest()
    try:
        progress = replay(words.logs, words.url, words.key, words.site, salt, _told())
    except (Refused, OSError) as error:
        sys.exit(f"\n{error}\nRun it again to go on: what was sent is known, and is not counted twice.")
    print(f"\r{progress}")
    if progress.lines and progress.unreadable == progress.lines:
        sys.exit("No line is in Apache's combined format, so nothing was sent.")


if __name__ == "__main__":
    _main()
