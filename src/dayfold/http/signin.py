"""Where people sign in and out with a browser. HTTP door.

Invariant: every way in ends in a new session with a new secret, and leads to a path of ours.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dayfold.errors import AccessRefused, ConnectionFailed, DayfoldError, TooMany, UnknownName
from dayfold.http import cookies, pages, problems
from dayfold.http.description import told
from dayfold.http.oidc import COOKIE, COOKIE_S, Oidc
from dayfold.http.rights import Right, needs
from dayfold.http.route import Route
from dayfold.http.service import Service, service

#: Where people go after they signed in, and after they signed out.
HOME, OUT = "/", "/sign-in"
#: Letters of a path to go on to: a page's address holds all that it shows, and a cookie has to hold the path.
LONGEST = 2_000
_PUBLIC = needs(Right.PUBLIC)


def _form(**fields: str) -> dict[str, Any]:
    """How a form is described in the OpenAPI document."""
    texts = {name: {"type": "string", "description": text} for name, text in fields.items()}
    content = {"application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": texts}}}
    return {"requestBody": {"content": content}}


#: A refusal is a page for a browser, and a problem for a program.
_PAGE: dict[str, Any] = {"content": {"text/html": {"schema": {"type": "string"}}}}
_ONWARD: dict[int | str, dict[str, Any]] = {303: {"description": "Where to go on."}}
_REFUSED = {status: words | _PAGE for status, words in told(401).items()}
_TRIES = {status: words | _PAGE for status, words in told(429).items()}
_PROVIDER = {**told(404), **{status: words | _PAGE for status, words in told(503).items()}}
_SEE_OTHER = 303
ServiceOf = Annotated[Service, Depends(service)]
router = APIRouter(tags=["sign-in"], route_class=Route)


def onward(path: str | None) -> str:
    r"""A path of ours to go on to; whatever could lead elsewhere is `HOME`.

    >>> onward("/dashboard?day=2026-01-01"), onward("https://elsewhere.example"), onward("//elsewhere.example")
    ('/dashboard?day=2026-01-01', '/', '/')
    >>> onward("/\\elsewhere.example"), onward(None)
    ('/', '/')
    """
    return path if path and re.fullmatch(r"/(?![/\\])[!-\[\]-~]*", path) and len(path) <= LONGEST else HOME


@router.get(
    "/sign-in", openapi_extra=_PUBLIC, summary="The page that people sign in at", response_class=HTMLResponse,
    responses=_ONWARD | _REFUSED,
)  # fmt: skip
async def page(
    request: Request,
    found: ServiceOf,
    code: Annotated[str | None, Query(max_length=200, description="Of a one-time link.")] = None,
    to: Annotated[str | None, Query(alias="next", max_length=LONGEST, description="The path to go on to.")] = None,
) -> Response:
    """The page; with the code of a one-time link, the browser is signed in."""
    if code is not None:
        try:
            secret = await found.gate.work(found.gate.by_link, code)
        except AccessRefused as error:
            return _refusal(request, found, error, onward(to))
        return _opened(request, found, secret, onward(to))
    caller = await found.doorkeeper.guest(request)
    if caller is None:
        return pages.sign_in(onward(to), has_oidc=found.oidc is not None)
    return pages.signed_in(caller.name.removeprefix("user "), caller.csrf or "")


@router.post(
    "/sign-in", summary="Sign in with a password", response_class=Response, status_code=_SEE_OTHER,
    openapi_extra=_PUBLIC | _form(name="The user's", password="The user's", next="The path to go on to"),
    responses=_ONWARD | _REFUSED | _TRIES | told(403),
)  # fmt: skip
async def sign_in(request: Request, found: ServiceOf) -> Response:
    """A form with ``name``, ``password`` and ``next``: 303 with the session's cookie; 401, or 429 after too many tries."""
    cookies.check_origin(request, found.app.settings.auth)
    form = await cookies.fields(request)
    address = request.client.host if request.client else ""
    path = onward(form.get("next"))
    try:
        secret = await found.gate.work(
            found.gate.by_password, form.get("name", "").strip(), form.get("password", ""), address
        )
    except AccessRefused as error:
        return _refusal(request, found, error, path)
    return _opened(request, found, secret, path)


@router.post(
    "/sign-out", summary="End the session", response_class=Response, status_code=_SEE_OTHER,
    openapi_extra=_PUBLIC | _form(csrf_token="Unless it is sent as X-CSRF-Token"),
    responses=_ONWARD | told(403),
)  # fmt: skip
async def sign_out(request: Request, found: ServiceOf) -> Response:
    """The session lets nobody in any more, and the cookie is taken away. The CSRF token as header or form field."""
    auth = found.app.settings.auth
    caller, secret = await found.doorkeeper.guest(request), cookies.read(request, auth)
    if caller is not None and secret is not None:
        await cookies.check_change(request, auth, secret)
        await found.gate.work(found.gate.end, secret, caller.name)
    answer = RedirectResponse(OUT, _SEE_OTHER, {"Cache-Control": "no-store"})
    cookies.drop(answer, request, auth)
    return answer


@router.get(
    "/sign-in/oidc", openapi_extra=_PUBLIC, summary="Sign in with the provider", response_class=Response,
    status_code=_SEE_OTHER, responses=_ONWARD | _PROVIDER,
)  # fmt: skip
async def to_provider(
    request: Request,
    found: ServiceOf,
    to: Annotated[str | None, Query(alias="next", max_length=LONGEST, description="The path to go on to.")] = None,
) -> Response:
    """The browser is sent to the provider."""
    provider = _provider(found)
    url, cookie = await found.gate.work(provider.start, onward(to))
    answer = RedirectResponse(url, _SEE_OTHER, {"Cache-Control": "no-store"})
    cookies.put(answer, request, found.app.settings.auth, COOKIE, cookie, COOKIE_S)
    return answer


@router.get(
    "/sign-in/oidc/return", openapi_extra=_PUBLIC, summary="Back from the provider", response_class=Response,
    status_code=_SEE_OTHER, responses=_ONWARD | _REFUSED | _PROVIDER,
)  # fmt: skip
async def from_provider(request: Request, found: ServiceOf) -> Response:
    """The provider sends the browser here with a code, and it is signed in."""
    provider, auth = _provider(found), found.app.settings.auth
    cookie = cookies.read(request, auth, COOKIE)
    try:
        guest, path = await found.gate.work(provider.finish, dict(request.query_params), cookie)
        secret = await found.gate.work(found.gate.by_oidc, guest)
    except AccessRefused as error:
        if cookie is not None:
            await found.gate.work(found.gate.refuse)
        answer = _refusal(request, found, error, HOME)
    except ConnectionFailed as error:
        answer = _refusal(request, found, error, HOME)
    else:
        answer = _opened(request, found, secret, path)
    cookies.drop(answer, request, auth, COOKIE)
    return answer


def _provider(found: Service) -> Oidc:
    if found.oidc is None:
        raise UnknownName("There is no provider to sign in with.", hint="Write [auth.oidc] in dayfold.toml.")
    return found.oidc


def _opened(request: Request, found: Service, secret: str, path: str) -> Response:
    answer = RedirectResponse(path, _SEE_OTHER, {"Cache-Control": "no-store"})
    auth = found.app.settings.auth
    cookies.put(answer, request, auth, cookies.SESSION, secret, int(auth.session_hours * 3600))
    return answer


def _refusal(request: Request, found: Service, error: DayfoldError, path: str) -> Response:
    """What was wrong, as a page for a browser and as a problem for a program."""
    if "text/html" not in request.headers.get("accept", ""):
        return problems.of_error(error)
    wait_s = error.retry_after_s if isinstance(error, TooMany) else 0
    message = f"{error.message} {error.hint}"
    status = problems.status_of(error).value
    return pages.sign_in(path, has_oidc=found.oidc is not None, message=message, status=status, retry_after_s=wait_s)
