"""Pages as a browser without scripts sees them: a site with the dashboard, signed-in clients, and what stands on a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from starlette.testclient import TestClient

from dayfold.dashboard.application import make
from dayfold.http.straight import Straight
from dayfold.ledger import sessions
from dayfold.plan.access import EVERYTHING, Scope
from tests.http.site import Site

#: Elements that have no end.
_VOID = frozenset(
    {"meta", "link", "input", "br", "hr", "img", "path", "rect", "source", "col", "wbr", "circle", "line"}
)


class PageSite(Site):
    """A site whose application has the pages of the dashboard."""

    make = staticmethod(make)

    def signed_in(self, kind: str = "admin", scope: Scope = EVERYTHING, name: str = "anna") -> TestClient:
        """A browser with a session of its own, which asks for pages and follows no redirect."""
        with self.app.ledger.store.transaction() as session:
            # By OIDC: a local user would have to be there.
            secret = sessions.begin(self.app.ledger, session, sessions.OIDC, sessions.Guest(name, kind, scope), 12)
        return TestClient(
            Straight(self.api, self.service), raise_server_exceptions=False, follow_redirects=False,
            headers={"Accept": "text/html"}, cookies={"dayfold_session": secret}, client=("203.0.113.9", 4712),
        )  # fmt: skip


class Page(HTMLParser):
    """The elements of a page, checked for what our policy would block and for ends that are missing."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.text_parts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        assert answer.headers["content-type"].startswith("text/html"), answer.text[:500]
        self.source: str = answer.text
        self.feed(self.source)
        assert not self._open, f"not ended: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        blocked = [name for name in found if name == "style" or name.startswith(("on", "hx-on"))]
        assert not blocked, f"{tag} has {blocked}, which the policy blocks"
        assert tag != "style", "a style element, which the policy blocks"
        if tag == "script":
            assert "src" in found or found.get("type") == "application/json", (
                "an inline script, which the policy blocks"
            )
        self.elements.append((tag, found))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        assert self._open, f"</{tag}> ends nothing"
        opened = self._open.pop()
        assert opened == tag, f"</{tag}> ends <{opened}>"

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("script", "style"):
            self.text_parts.append(data)

    @property
    def text(self) -> str:
        """What a person reads, blanks as one."""
        return re.sub(r"\s+", " ", "".join(self.text_parts)).strip()

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind that has these; ``data_total`` is ``data-total``."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    def values_after(self, attribute: str, name: str) -> list[str]:
        """The values of the numbers within the element that has an attribute of a value."""
        found = re.search(rf'{attribute}="{re.escape(name)}".*?</(?:p|tr|li|dd|td)>', self.source, re.DOTALL)
        assert found, f"nothing has {attribute}={name}"
        return re.findall(r'<data value="([^"]*)">', found[0])

    def links(self) -> list[str]:
        """Where its links of our own lead."""
        return [str(one["href"]) for one in self.all("a") if str(one.get("href", "")).startswith("/")]
