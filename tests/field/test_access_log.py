"""A real access log, replayed through the collector and folded, against counts made straight from its lines.

Data: apache_logs of elastic/examples (Apache-2.0), 10,000 lines of May 2015. The counts here split lines by hand and import nothing of the
product; what a program is and what a browser is called is judged by words in its name.
"""

from __future__ import annotations

import collections
import datetime as dt
import gzip
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from tests.acceptance.serving import served
from tests.examples.licensing import EXAMPLE, module
from tests.sql import store_config

LOG = Path(os.environ.get("DAYFOLD_FIELD_DATA", "nowhere")) / "elastic_apache_logs" / "apache_logs.gz"
pytestmark = pytest.mark.skipif(
    not LOG.is_file(), reason="needs DAYFOLD_FIELD_DATA: the folder with elastic_apache_logs, a real access log"
)
NOW = dt.datetime(2015, 6, 1, tzinfo=dt.UTC)
SITE = "http://semicomplete.com"
#: What belongs to a page and is none.
PARTS = (".css", ".js", ".map", ".ico", ".woff", ".woff2", ".eot", ".xml", ".rss", ".atom", ".txt", ".json")
WORKS = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".pdf", ".mp4", ".webm", ".mp3", ".zip", ".ttf")
#: Words in the names of programs that read pages by themselves.
PROGRAMS = (
    "bot", "spider", "crawl", "slurp", "feed", "rss", "reader", "curl", "wget", "java", "python", "ruby", "perl", "http", "fetch",
    "monitor", "archiver", "preview", "scan", "facebookexternalhit", "tiny", "netvibes", "newsblur", "liferea", "akregator", "vienna",
    "mediapartners",
    "genieo", "superfeedr", "ahc", "okhttp", "validator", "pinboard", "yandex", "baidu", "mailru", "daum", "wordpress", "checker",
    "ezooms", "favicon", "embedly", "phantomjs", "binlar", "nutch", "imageproxy", "indy", "ichiro", "magpie", "simplepie",
)  # fmt: skip
SEARCH = ("google.", "bing.", "yahoo.", "duckduckgo.", "yandex.", "baidu.", "ask.", "aol.", "startpage.")


@dataclass(frozen=True)
class Line:
    """A view, as a line of the log says it."""

    day: dt.date
    path: str
    is_page: bool
    ip: str
    referrer: str
    agent: str


@dataclass
class Log:
    """What the log says."""

    lines: int = 0
    unreadable: int = 0
    views: list[Line] = field(default_factory=list)


@pytest.fixture(scope="module")
def log() -> Log:
    """Every line, split at its quotes."""
    found = Log()
    for text in gzip.decompress(LOG.read_bytes()).decode("utf-8", "replace").splitlines():
        found.lines += 1
        parts = text.split('"')
        if len(parts) != 7:
            found.unreadable += 1
            continue
        method, target, _ = parts[1].split(" ", 2)
        status = int(parts[2].split()[0])
        path = target.split("?")[0].split("#")[0]
        if method != "GET" or not (200 <= status < 300 or status == 304) or path.lower().endswith(PARTS):
            continue
        day = dt.datetime.strptime(parts[0].split("[")[1].split(":")[0], "%d/%b/%Y").date()
        found.views.append(Line(day, path, not path.lower().endswith(WORKS), parts[0].split()[0], parts[3], parts[5]))
    return found


@dataclass(frozen=True)
class Told:
    """What became of two replays, and what the store says afterwards."""

    first: Any
    second: Any
    app: Dayfold


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The log replayed by the example's command, twice, and folded once."""
    folder = tmp_path_factory.mktemp("replayed")
    for name in ("metrics.py", "dayfold.toml"):
        shutil.copy(EXAMPLE / name, folder)
    url = f"duckdb:///{folder}/store.duckdb"
    replay, load = module("replay"), module("load")
    load.fill(url, load.Traffic(0))
    config = {**store_config(url), "collect": {"own_hosts": ["semicomplete.com"]}}
    with Dayfold(folder / "metrics.py", config, clock=FixedClock(NOW)) as app:
        key = app.accounts.create_token("replay", "track").secret
    environment = {
        "DAYFOLD_STORE__URL": url, "DAYFOLD_SERVE__JOBS": "false", "DAYFOLD_NOW": NOW.isoformat(),
        "DAYFOLD_COLLECT__OWN_HOSTS": '["semicomplete.com"]',
    }  # fmt: skip
    with served(cwd=folder, env=environment) as running:
        first, second = (replay.replay([LOG], running.url, key, SITE, b"salt") for _ in range(2))
    with Dayfold(folder / "metrics.py", config, clock=FixedClock(NOW)) as app:
        assert {run.error for run in app.fold(["TrafficDaily", "PagesDaily", "DailyMetrics"])} == {None}
        yield Told(first, second, app)


RANGE = {"from_": "2015-05-17", "to": "2015-05-20"}


def rows(
    told: Told, rollup: str, metrics: list[str], *by: str, grain: str = "total", **more: Any
) -> list[dict[str, Any]]:
    return list(told.app.query(rollup, metrics, by=by, grain=grain, **RANGE, **more).rows)


def test_every_line_is_accounted_for(log: Log, told: Told) -> None:
    """Views are in the log once, however often they are sent; the malformed line is counted."""
    assert (log.lines, log.unreadable) == (told.first.lines, told.first.unreadable) == (10_000, 1)
    assert told.first.outcomes["accepted"] == told.second.outcomes["repeated"] == len(log.views)
    assert told.first.left_out == log.lines - log.unreadable - len(log.views)
    assert told.second.outcomes["accepted"] == told.second.outcomes["conflicts"] == 0


def test_views_of_each_page_and_day(log: Log, told: Told) -> None:
    """To the last one, and the visitors of each day and of all four."""
    found: collections.Counter[Any] = collections.Counter()
    for row in rows(told, "PagesDaily", ["views"], "page", grain="day"):
        found[row["day"], row["page"].removeprefix(SITE).split("?")[0].split("#")[0]] += row["views"]
    expected = collections.Counter((one.day, one.path) for one in log.views if one.is_page)
    assert +found == expected
    assert sum(expected.values()) == 3_956
    people = {
        day: {(one.ip, one.agent) for one in log.views if one.day == day} for day in {one.day for one in log.views}
    }
    assert {row["day"]: row["visitors"] for row in rows(told, "TrafficDaily", ["visitors"], grain="day")} == {
        day: len(some) for day, some in people.items()
    }
    [total] = rows(told, "TrafficDaily", ["visitors", "views"])
    assert (total["visitors"], total["views"]) == (len(set.union(*people.values())), len(log.views))


def test_views_of_works_by_people(log: Log, told: Told) -> None:
    """Each image and paper; views of programs, as the log's own marks have them, left out."""
    bots = sum(row["views"] for row in rows(told, "TrafficDaily", ["views"], "is_bot") if row["is_bot"])
    found = {row["ip_asset_id"]: row["views"] for row in rows(told, "DailyMetrics", ["views"], "ip_asset_id")}
    expected = collections.Counter(one.path for one in log.views if not one.is_page)
    assert {asset for asset, views in found.items() if views} <= set(expected)
    assert all(views <= expected[asset] for asset, views in found.items() if asset is not None)
    pages = sum(row["views"] for row in rows(told, "PagesDaily", ["views"], "is_bot") if row["is_bot"])
    assert sum(found.values()) == sum(expected.values()) - (bots - pages)


def is_program(agent: str) -> bool:
    """Whether words in its name say that nobody looks at what it reads."""
    words = agent.lower().replace("applewebkit", "")
    return "+http" in words or any(one in words for one in PROGRAMS)


def test_programs_are_told_from_people(log: Log, told: Told) -> None:
    """As words in their names say, in more than ninety-nine views of a hundred."""
    found = {row["is_bot"]: row["views"] for row in rows(told, "TrafficDaily", ["views"], "is_bot")}
    by_words = sum(is_program(one.agent) for one in log.views)
    assert abs(found[True] - by_words) <= 0.008 * len(log.views)
    assert sum(found.values()) == len(log.views)


#: A browser's name is the first of these words that it has; others call themselves after the great ones.
NAMES = (
    ("seamonkey", "SeaMonkey"), ("iceweasel", "Iceweasel"), ("conkeror", "Conkeror"), ("midori", "Midori"), ("chromium", "Chromium"),
    ("chromeframe", "Chrome Frame"), ("maxthon", "Maxthon"), ("opr/", "Opera"), ("opera", "Opera"), ("crios", "Chrome"),
    ("chrome/", "Chrome"), ("firefox/", "Firefox"), ("msie", "IE"), ("trident/", "IE"),
)  # fmt: skip
MOBILE = {"Chrome Mobile": "Chrome", "Chrome Mobile iOS": "Chrome", "Chrome Mobile WebView": "Chrome", "Firefox Mobile": "Firefox",
          "IE Mobile": "IE"}  # fmt: skip


def test_browsers_are_those_of_the_log(log: Log, told: Told) -> None:
    """Views by people with each of the great browsers, by the words that it has in its name."""
    found: collections.Counter[str] = collections.Counter()
    for row in rows(told, "TrafficDaily", ["views"], "browser", "is_bot"):
        if not row["is_bot"]:
            found[MOBILE.get(row["browser"], str(row["browser"]))] += row["views"]
    by_words = collections.Counter(
        next((name for word, name in NAMES if word in one.agent.lower()), "other")
        for one in log.views
        if not is_program(one.agent)
    )
    for name in ("Chrome", "Firefox", "IE", "Opera", "Chromium", "Iceweasel", "Chrome Frame"):
        assert abs(found[name] - by_words[name]) <= 0.01 * by_words[name] + 8, (name, found, by_words)


def test_referrers_are_those_of_the_log(log: Log, told: Told) -> None:
    """None and the site's own to the last one; searches by the hosts of the great engines, within one in a hundred."""
    found: collections.Counter[str] = collections.Counter()
    for row in rows(told, "TrafficDaily", ["views"], "referrer_class"):
        found[str(row["referrer_class"])] += row["views"]
    hosts = [urlsplit(one.referrer).hostname or "" for one in log.views]
    own = sum(host == "semicomplete.com" or host.endswith(".semicomplete.com") for host in hosts)
    assert found["internal"] == own
    assert found["none"] == hosts.count("")
    search = sum(any(f".{one}" in f".{host}" for one in SEARCH) for host in hosts)
    assert abs(found["search"] - search) <= 0.01 * len(hosts)
