"""Pages: how long the server takes, how much the first one is with all its files, and how long a year of ten series is drawn."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import httpx
from playwright.sync_api import sync_playwright

from benchmarks import subjects
from benchmarks.machine import Failed
from benchmarks.results import Line, missing, ratio
from benchmarks.serve import serving
from dayfold import Dayfold
from dayfold.errors import DayfoldError
from dayfold.ledger import tokens
from dayfold.plan.access import EVERYTHING

ROUNDS = 20
#: A page, and the question of the HTTP API that has its chart's numbers.
ROLLUP = "/rollups/SalesDaily?metrics=revenue&from=2011-01-01&to=2011-11-30&bare=1"
QUESTION = "/v1/rollups/SalesDaily/query?metrics=revenue&from=2011-01-01&to=2011-11-30"
TEN = "/rollups/SalesDaily?metrics=revenue&by=country&n=10&from=2010-12-01&to=2011-11-30"


def paged(scale: int) -> Iterator[Line]:
    """Lines of the retail demo in an embedded file."""
    work = "pages of the retail demo, DuckDB"
    try:
        with subjects.folder() as place:
            command = [str(Path(sys.executable).parent / "dayfold"), "demo", "retail", "--no-serve", "--folder", "."]
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
            subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
            with Dayfold(place / "metrics.py") as app, app.ledger.store.transaction() as session:
                secret = tokens.create(app.ledger, session, "pages", "read", EVERYTHING, None, "benchmarks")[1]
            with serving(place) as (at, _):
                yield from _served(work, at, secret, max(ROUNDS // scale, 3))
    except (Failed, DayfoldError, OSError, subprocess.SubprocessError, httpx.HTTPError) as failed:
        yield missing(work, "Dayfold", str(failed))


def _served(work: str, at: str, secret: str, rounds: int) -> Iterator[Line]:
    with httpx.Client(base_url=at, headers={"Authorization": f"Bearer {secret}"}, timeout=60) as client:
        # A person opens the first page seconds after the server began, not in its first moment.
        time.sleep(3)
        first = _times(client, "/", 1)
        again = _times(client, "/", rounds)
        yield _line(
            work,
            "overview, first and again",
            [*first, *again],
            f"first {first[0] * 1000:.0f} ms; {_bytes(client):,} bytes with all files",
        )
        page, question = _times(client, ROLLUP, rounds), _times(client, QUESTION, rounds)
        yield _line(work, "a rollup over eleven months", page, f"{ratio(page, question)} its JSON")
        drawn = _drawn(at, secret, client.get(TEN).text, rounds)
        yield _line(work, "script: ten series of a year", drawn, "200 ms aimed at")


def _line(work: str, contestant: str, times: list[float], compared: str) -> Line:
    return Line(work, contestant, f"{min(times) * 1000:.0f} ms", f"{statistics.median(times) * 1000:.0f} ms", compared)


def _times(client: httpx.Client, path: str, rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        client.get(path).raise_for_status()
        found.append(time.perf_counter() - began)
    return found


def _bytes(client: httpx.Client) -> int:
    """What a browser is sent for the first page: itself, and each file that it names, as they go over the line."""

    def size(path: str) -> int:
        with client.stream("GET", path) as answer:
            return sum(len(part) for part in answer.iter_raw())

    text = client.get("/").text
    names = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', text))
    names |= {re.sub(r"/[^/]+$", "/chart.js", next(iter(sorted(names))).replace("/vendor", ""))}
    return size("/") + sum(size(name) for name in names)


def _drawn(at: str, secret: str, page: str, rounds: int) -> list[float]:
    """How long a browser draws the page's chart, as the page itself notes it: from its numbers to what is seen."""
    assert page.count('"metric"') >= 10, "the page has fewer series"
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(
            viewport={"width": 1280, "height": 900}, extra_http_headers={"Authorization": f"Bearer {secret}"}
        )
        for _ in range(rounds):
            tab = context.new_page()
            tab.goto(at + TEN)
            tab.wait_for_selector("figure[data-drawn-ms]")
            found.append(float(tab.get_attribute("figure[data-drawn-ms]", "data-drawn-ms") or 0) / 1000)
            tab.close()
        browser.close()
    return found


def _chromium() -> str:
    found = os.environ.get("DAYFOLD_CHROMIUM") or which("chromium")
    if found is None:
        raise Failed("needs a Chromium: apt-get install chromium, or DAYFOLD_CHROMIUM")
    return found
