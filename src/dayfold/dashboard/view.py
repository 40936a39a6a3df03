"""What one page sees: who asks, what they asked for, and the answers they may have. Dashboard door.

Invariant: everything that a page reads of rollups goes through the caller's scope, by the same requests as the HTTP API's.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from fastapi import Request
from starlette.datastructures import ImmutableMultiDict
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dayfold.app import Dayfold
from dayfold.define.rollup import RollupDef
from dayfold.errors import UsageError
from dayfold.http.reads import words_of
from dayfold.http.rights import Caller, Right
from dayfold.http.service import Present, Service, service
from dayfold.plan.access import Scope
from dayfold.query.answer import Answer
from dayfold.query.request import Request as Question

Kept = TypeVar("Kept")
#: Parameters that every page has: without navigation, and in which colours.
EVERYWHERE = ("bare", "theme")
THEMES = ("auto", "light", "dark")
_SEE_OTHER = 303
_LONGEST = 4_000
#: Nothing of another site, nothing inline; `dayfold.dashboard.embed` alone lets others frame a page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    # Not no-referrer: browsers would then send forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Cookie, Authorization, HX-Request",
}


@dataclass(frozen=True, slots=True)
class Link:
    """An entry of the navigation."""

    label: str
    url: str
    is_current: bool


class View:
    """One request for a page.

    Args:
        request: Let in, or refused.
        form: The fields of a form that was sent.
    """

    def __init__(self, request: Request, form: ImmutableMultiDict[str, str]) -> None:
        self.request = request
        self.form = form
        self.service: Service = service(request)
        self.now: Present = getattr(request.state, "present", None) or self.service.present
        self.caller: Caller | None = getattr(request.state, "caller", None)
        self._covered: dict[str, Mapping[str, Mapping[str, Sequence[Mapping[str, dt.date]]]]] = {}

    # -- who and what ------------------------------------------------------------------------------

    @property
    def app(self) -> Dayfold:
        """The application with the definitions that the request goes by."""
        return self.now.app

    @property
    def today(self) -> dt.date:
        """The UTC day of the request."""
        return self.now.today

    @property
    def scope(self) -> Scope:
        """What the caller may see."""
        assert self.caller is not None
        return self.caller.scope

    def may(self, right: Right) -> bool:
        """Whether the caller may do what takes a right."""
        return self.caller is not None and right in self.caller.rights

    @property
    def name(self) -> str:
        """Who is signed in; empty where nobody is."""
        return self.caller.name.removeprefix("user ") if self.caller and self.caller.rights else ""

    @property
    def csrf(self) -> str:
        """The token that a change by a form has to carry."""
        return (self.caller.csrf if self.caller else None) or ""

    @property
    def is_htmx(self) -> bool:
        """Whether a part of a page asks, and not the address bar."""
        return self.request.headers.get("hx-request") == "true"

    @property
    def is_bare(self) -> bool:
        """Whether the page is shown without navigation, inside of another one."""
        return self.param("bare") == "1"

    @property
    def theme(self) -> str:
        """The colours that were asked for."""
        asked = self.param("theme")
        return asked if asked in THEMES else "auto"

    # -- words -------------------------------------------------------------------------------------

    def param(self, name: str, default: str | None = None) -> str | None:
        """A parameter of the address. Raises UsageError for one that is given twice or is too long."""
        given = self.params(name)
        if len(given) > 1:
            raise UsageError(f"The parameter '{name}' is given twice; it has one value.")
        return given[0] if given else default

    def params(self, name: str) -> list[str]:
        """All values of a parameter that are not empty."""
        given = [one for one in self.request.query_params.getlist(name) if one]
        if any(len(one) > _LONGEST for one in given):
            raise UsageError(f"{name} is longer than {_LONGEST:,} letters.")
        return given

    def one_of(self, name: str, known: Sequence[str], default: str) -> str:
        """A parameter that has one of some values; another one is taken for the default, so that old links go on working."""
        given = self.param(name) or default
        return given if given in known else default

    def count(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 to ``most``; what is none is taken for the default."""
        given = self.param(name) or ""
        return (
            min(int(given), most)
            if given.isascii() and given.isdigit() and 0 < len(given) < 10 and int(given)
            else default
        )

    @property
    def path(self) -> str:
        """The path of the page, as a browser writes it."""
        return quote(self.request.url.path, safe="/")

    def url(self, **changed: object) -> str:
        """The address of this page with parameters changed: a list for several values, None to leave one out.

        ``from_`` is the parameter ``from``.
        """
        given: dict[str, list[str]] = {}
        for name, value in self.request.query_params.multi_items():
            if value:
                given.setdefault(name, []).append(value)
        for word, new in changed.items():
            name = word.rstrip("_")
            given.pop(name, None)
            if new is not None:
                given[name] = [str(one) for one in new] if isinstance(new, list | tuple) else [str(new)]
        return address(self.path, given)

    def to(self, path: str, **words: object) -> str:
        """The address of another page; embedded pages stay without navigation and in their colours."""
        kept = {name: self.param(name) for name in EVERYWHERE}
        return address(path, {name.rstrip("_"): value for name, value in {**words, **kept}.items()})

    # -- answers -----------------------------------------------------------------------------------

    def rollup(self, name: str) -> RollupDef:
        """A rollup or profile that the caller may see. Raises UnknownName."""
        return self.scope.rollup(self.app.catalog, name)

    def rollups(self) -> list[RollupDef]:
        """Those that the caller may see, as they are written."""
        return list(self.scope.visible(self.app.catalog).values())

    def answer(
        self,
        rollup: str,
        metrics: Sequence[str] | None = None,
        *,
        from_: dt.date | str,
        to: dt.date | str,
        by: Sequence[str] = (),
        where: Sequence[str] = (),
        grain: str = "day",
        tz: str | None = None,
        compare: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        allow_missing: bool = True,
    ) -> Answer:
        """The answer to a question, as `Dayfold.query` gives it within the caller's scope; kept while its rollup stands as it does.

        Raises:
            QueryRefused, UnknownName, UsageError.
        """
        asked = Question.parse(
            self.rollup(rollup), metrics, from_=from_, to=to, by=by, where=where, grain=grain, tz=tz, compare=compare, sort=sort,
            limit=limit, allow_missing=allow_missing, today=self.today, now=self.now.now, scope=self.scope,
        )  # fmt: skip
        standing = self.request.state.seen.standings.get(asked.rollup.name)
        key = (asked.rollup.name, words_of(asked), self.now.edition, self.today, self.scope.mark, standing)
        kept = self.service.answers.get(key)
        if kept is None:
            kept = self.app.answer(asked)
            if kept.table.num_rows <= _KEPT_ROWS:
                self.service.answers.learn(key, kept)
        return kept

    def newest_row(self, rollup: RollupDef, metric: str) -> dt.date | None:
        """The newest day that has a row the caller may see. Raises QueryRefused where the rollup was never folded, or was edited."""
        asked = Question.parse(
            self.rollup(rollup.name), [metric], from_=self.today, to=self.today, today=self.today, scope=self.scope
        )
        return self.kept([rollup.name], ("newest row", metric), lambda: self.app.newest_row(asked))

    def kept(self, rollups: Sequence[str], words: tuple[Any, ...], compute: Callable[[], Kept]) -> Kept:
        """What some rollups' rows alone decide beside words and the caller's scope; kept while the rollups stand as they do."""
        standings = tuple(self.request.state.seen.standings.get(name) for name in rollups)
        key = (tuple(rollups), words, self.now.edition, self.today, self.scope.mark, standings)
        found: Kept | None = self.service.answers.get(key)
        if found is None:
            found = compute()
            self.service.answers.learn(key, found)
        return found

    def covered(self, rollup: str) -> Mapping[str, Mapping[str, Sequence[Mapping[str, dt.date]]]]:
        """The days of each source of a rollup in each state, as ranges; empty before its first fold."""
        name = self.rollup(rollup).name
        if name not in self._covered:
            self._covered[name] = self.app.covered(name)
        return self._covered[name]

    # -- pages -------------------------------------------------------------------------------------

    @property
    def navigation(self) -> list[Link]:
        """What the caller may go to."""
        from dayfold.dashboard.navigation import navigation

        return navigation(self)

    def page(
        self, template: str, title: str, status: int = 200, headers: Mapping[str, str] | None = None, **words: Any
    ) -> Response:
        """A page of a template, with what it is given."""
        from dayfold.dashboard.rendering import rendered

        return HTMLResponse(
            rendered(template, {"view": self, "title": title, **words}), status, {**HEADERS, **(headers or {})}
        )

    def onward(self, path: str) -> Response:
        """Where to look after a change; parts of pages follow too."""
        return RedirectResponse(path, _SEE_OTHER, {"Cache-Control": "no-store"})

    def refusal(self, status: int, message: str, hint: str) -> Response:
        """A page, or a part of one, that says what is wrong and what to do."""
        template = "refusal_part.html" if self.is_htmx else "refusal.html"
        return self.page(
            template, _TITLES.get(status, "This did not work"), status, message=message, hint=hint, status_code=status
        )


#: The most rows of an answer that is kept.
_KEPT_ROWS = 5_000
_TITLES = {
    400: "This address asks for something that is not there",
    401: "Please sign in",
    403: "You may not see this",
    404: "There is nothing here",
    409: "Something else is going on",
    422: "There is no truthful answer",
    429: "Too many tries",
    503: "The store does not answer",
}


def address(path: str, words: Mapping[str, object]) -> str:
    """A path with parameters; those that are None are left out.

    >>> address("/rollups/Shops", {"by": ["shop", "day"], "tz": None})
    '/rollups/Shops?by=shop&by=day'
    """
    pairs = [
        (name, str(one))
        for name, value in words.items()
        if value is not None
        for one in (value if isinstance(value, list | tuple) else [value])
    ]
    return f"{path}?{urlencode(pairs)}" if pairs else path
