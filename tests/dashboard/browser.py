"""A site of pages behind a real address, and what a real browser must not meet on any of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect

from dayfold.http.straight import Straight
from dayfold.ledger import sessions
from dayfold.plan.access import EVERYTHING, Scope
from tests.dashboard.pages import PageSite

AXE = Path(__file__).parents[1] / "clients" / "node" / "node_modules" / "axe-core" / "axe.min.js"
#: What a person cannot get past; lesser findings are advice.
SERIOUS = ("serious", "critical")
#: What is awaited comes at once on an idle machine; a busy one is given its time.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


class Visit:
    """A browser that is signed in, and everything that went wrong in it.

    Attributes:
        troubles: Errors of the console and of scripts, failed requests, answers of 400 and more, requests to anywhere else.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.troubles: list[str] = []
        self.asked: list[str] = []
        self.page: Page = context.new_page()
        self.page.on(
            "console", lambda one: one.type in ("error", "warning") and self.troubles.append(f"console: {one.text}")
        )
        self.page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", self._sent)
        self.page.on("response", lambda one: one.status >= 400 and self.troubles.append(f"{one.status}: {one.url}"))

    def _failed(self, request: Any) -> None:
        # Leaving a page ends what it still waited for.
        if "ERR_ABORTED" not in (request.failure or ""):
            self.troubles.append(f"failed: {request.url} {request.failure}")

    def _sent(self, request: Any) -> None:
        self.asked.append(request.url)
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.troubles.append(f"another site: {request.url}")

    def open(self, path: str) -> Page:
        """A page, once nothing more is asked for."""
        self.page.goto(self.url + path)
        self.page.wait_for_load_state("load")
        return self.page

    def check(self) -> None:
        """Nothing went wrong."""
        assert not self.troubles, "\n".join(self.troubles)

    def is_wide(self) -> bool:
        """Whether a person has to scroll sideways."""
        return bool(
            self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1")
        )

    def serious(self, rules: Sequence[str] = (), *, without: Sequence[str] = ()) -> list[str]:
        """What axe finds that keeps people out, by all rules or some: the rule and the first element."""
        if not AXE.exists():
            pytest.fail("needs axe-core: npm ci --prefix tests/clients/node")
        if not self.page.evaluate("Boolean(window.axe)"):
            # By the debugger, past the policy of the page.
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        options: dict[str, Any] = {
            "resultTypes": ["violations"],
            "rules": {name: {"enabled": False} for name in without},
        }
        if rules:
            options["runOnly"] = list(rules)
        # The rows of a table are alike: the first of them stand for all.
        rows = {"exclude": ["tbody tr:nth-child(n+16)"]}
        found = self.page.evaluate("([rows, options]) => axe.run(rows, options)", [rows, options])
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['any'][:1]}"
            for one in found["violations"]
            if one["impact"] in SERIOUS
        ]


class LiveSite:
    """A `PageSite` behind a free port of this machine."""

    def __init__(self, site: PageSite, browser: Browser) -> None:
        self.site = site
        self.browser = browser
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        # Its life cycle is the site's own.
        config = uvicorn.Config(
            Straight(site.api, site.service), log_config=None, lifespan="off", timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    def start(self) -> None:
        """It listens."""
        self._socket.listen(128)
        self._thread.start()

    def stop(self) -> None:
        """It listens no more."""
        self._server.should_exit = True
        self._thread.join(30)
        self._socket.close()

    @contextmanager
    def visit(
        self, kind: str = "admin", scope: Scope = EVERYTHING, *, timezone: str = "Asia/Kathmandu", dark: bool = False,
        viewport: dict[str, int] = DESKTOP, script: bool = True,
    ) -> Iterator[Visit]:  # fmt: skip
        """A browser of somebody who is signed in; nothing may have gone wrong when it is closed."""
        with self.site.app.ledger.store.transaction() as session:
            secret = sessions.begin(
                self.site.app.ledger, session, sessions.OIDC, sessions.Guest("anna", kind, scope), 12
            )
        context = self.browser.new_context(
            locale="en-US",
            timezone_id=timezone,
            color_scheme="dark" if dark else "light",
            viewport=viewport,
            java_script_enabled=script,
        )  # type: ignore[arg-type]  # a viewport is two numbers
        context.add_cookies([{"name": "dayfold_session", "value": secret, "url": self.url}])
        context.set_default_timeout(PATIENCE_MS)
        try:
            visit = Visit(context, self.url)
            yield visit
            visit.check()
        finally:
            context.close()


@contextmanager
def live(site: PageSite, browser: Browser) -> Iterator[LiveSite]:
    """A site behind an address, for as long as the block lasts."""
    made = LiveSite(site, browser)
    made.start()
    try:
        yield made
    finally:
        made.stop()
