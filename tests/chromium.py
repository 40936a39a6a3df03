"""A real Chromium for tests: Debian's, or what DAYFOLD_CHROMIUM names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = os.environ.get("DAYFOLD_CHROMIUM") or shutil.which("chromium")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # An origin without TLS and without the rights of localhost, on this machine.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, with the cache for going back that people have; where there is none the test is left out, and fails in CI."""
    if CHROMIUM is None:
        missing = pytest.fail if "CI" in os.environ else pytest.skip
        missing("needs a Chromium: apt-get install chromium, or DAYFOLD_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=SWITCHES, ignore_default_args=["--disable-back-forward-cache"]
        )
        yield browser
        browser.close()
