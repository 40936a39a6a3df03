"""Routes of pages: the one check of all, and errors that are pages themselves. Dashboard door.

Invariant: a page's code runs only for a caller whom `dayfold.http.route.admit` let in, in a thread; what it raises of ours is shown
as the HTTP API would tell it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import ImmutableMultiDict
from starlette.responses import RedirectResponse, Response

from dayfold.dashboard.view import EVERYWHERE, View
from dayfold.errors import DayfoldError, Unauthenticated
from dayfold.http import cookies
from dayfold.http.asked import PARAMETERS
from dayfold.http.problems import status_of, told
from dayfold.http.rights import Right, needs
from dayfold.http.route import QuickRoute, admit
from dayfold.http.service import service
from dayfold.http.signin import LONGEST
from dayfold.jobs.report import report
from dayfold.plan.access import EVERYTHING

_SEE_OTHER = 303
_log = logging.getLogger("dayfold.http")


def shows(right: Right, *names: str, audit: str | None = None) -> dict[str, Any]:
    """What a page passes as ``openapi_extra``: what it asks for, and the parameters of its address.

    >>> shows(Right.READ, "from")["x-dayfold-parameters"]
    {'from': 'from', 'bare': 'bare', 'theme': 'theme'}
    """
    return {**needs(right, audit), PARAMETERS: {name: name for name in (*names, *EVERYWHERE)}}


async def _asked(request: Request) -> Response:
    """What the framework believes to call: it reads nothing of a page's request by itself."""
    raise NotImplementedError


class PageRoute(QuickRoute):
    """A route whose code takes a `View` and the parts of its path, and gives a response."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **words: Any) -> None:
        words["name"] = endpoint.__name__
        super().__init__(path, _asked, **words)
        self.show: Callable[..., Response] = endpoint

    async def answered(self, request: Request) -> Response:
        """The page, for whoever is let in; else why not, or where to sign in."""
        try:
            await admit(request)
            return await self.answer(request)
        except Unauthenticated as error:
            if request.method == "GET" and "authorization" not in request.headers and not is_htmx(request):
                query = f"?{request.url.query}" if request.url.query else ""
                onward = request.url.path + query
                after = f"?next={quote(onward, safe='/')}" if len(onward) <= LONGEST else ""
                return RedirectResponse(f"/sign-in{after}", _SEE_OTHER, {"Cache-Control": "no-store"})
            return await _refused(request, error)
        except DayfoldError as error:
            return await _refused(request, error)
        except Exception as error:
            # As of the API: its text may hold values of rows; the log has its kind and the place.
            _log.exception(
                "A page met an error that nobody foresaw",
                extra={"action": "request-failed", "path": request.url.path},
            )
            report(error, "request-failed")
            return await _refused(
                request,
                DayfoldError(
                    f"Dayfold met an error that it did not foresee: {type(error).__name__}.",
                    hint="The server's log says where.",
                ),
            )

    async def answer(self, request: Request) -> Response:
        """The page of a request that was let in."""
        view = View(request, await _form(request))
        return await service(request).work(self.show, view, **request.path_params)


async def _form(request: Request) -> ImmutableMultiDict[str, str]:
    """The fields of the form that a change sends; a field may have several values."""
    if request.method in cookies.SAFE:
        return ImmutableMultiDict()
    await cookies.fields(request)
    return ImmutableMultiDict(parse_qsl((await request.body()).decode(), keep_blank_values=True))


def is_htmx(request: Request) -> bool:
    """Whether a part of a page asks, and not the address bar."""
    return request.headers.get("hx-request") == "true"


async def lost(request: Request) -> Response:
    """The page of an address that leads nowhere; it tells nothing of anybody."""
    page = View(request, ImmutableMultiDict()).refusal
    return await run_in_threadpool(
        page, 404, "No page has this address.", "It may have been typed wrongly, or be of a rollup that went."
    )


async def _refused(request: Request, error: DayfoldError) -> Response:
    """What is wrong, as a page; the same words, and the same log, as the API has for the same caller."""
    answer = told(request, error)
    who = getattr(request.state, "caller", None)
    is_told = answer.status_code < 500 or who is None or who.scope == EVERYTHING
    message = error.message if is_told else "This cannot be shown at present; it is not for what was asked."
    hint = error.hint if is_told else "Try again later; who runs the service sees why in its log."
    view = View(request, ImmutableMultiDict())
    page = await run_in_threadpool(view.refusal, status_of(error).value, message, hint)
    for name in ("retry-after", "www-authenticate"):
        if name in answer.headers:
            page.headers[name] = answer.headers[name]
    return page
