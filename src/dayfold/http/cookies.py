"""The cookie of a browser's session, and what a change needs beside it. HTTP door.

Invariant: the cookie's secret is nowhere but in the browser; the CSRF token is derived from it, so nothing more is stored.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request
from starlette.responses import Response

from dayfold.errors import Forbidden, UsageError
from dayfold.settings_auth import AuthSettings

SESSION = "dayfold_session"
CSRF_HEADER, CSRF_FIELD = "X-CSRF-Token", "csrf_token"
#: Methods that change nothing.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM = "application/x-www-form-urlencoded"
_FORM_BYTES, _MOST_FIELDS = 16_384, 20


def is_secure(request: Request, auth: AuthSettings) -> bool:
    """Whether cookies go by HTTPS only: the request came by it, or the settings say so."""
    return auth.secure_cookies or request.url.scheme == "https"


def named(request: Request, auth: AuthSettings, name: str) -> str:
    """A cookie's full name; with ``__Host-`` no other host of the domain can set it."""
    return f"__Host-{name}" if is_secure(request, auth) else name


def read(request: Request, auth: AuthSettings, name: str = SESSION) -> str | None:
    """A cookie of ours; None where there is none."""
    return request.cookies.get(named(request, auth, name)) or None


def put(answer: Response, request: Request, auth: AuthSettings, name: str, value: str, seconds: int) -> None:
    """The answer sets a cookie that scripts cannot read and other sites' changes do not carry."""
    answer.set_cookie(
        named(request, auth, name), value, max_age=seconds, path="/", secure=is_secure(request, auth), httponly=True,
        samesite="lax",
    )  # fmt: skip


def drop(answer: Response, request: Request, auth: AuthSettings, name: str = SESSION) -> None:
    """The answer takes a cookie away."""
    put(answer, request, auth, name, "", 0)


def csrf_token(secret: str) -> str:
    """The token that a change has to carry in a session with this secret.

    >>> csrf_token("a") == csrf_token("a"), csrf_token("a") == csrf_token("b")
    (True, False)
    """
    return hmac.new(secret.encode("utf-8", "surrogatepass"), b"dayfold csrf", hashlib.sha256).hexdigest()


async def check_change(request: Request, auth: AuthSettings, secret: str) -> None:
    """A change that a cookie let in comes from a page of ours.

    Raises:
        Forbidden: where it comes from another site, or lacks the CSRF token.
    """
    check_origin(request, auth)
    given = request.headers.get(CSRF_HEADER)
    if given is None and request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
        given = (await fields(request)).get(CSRF_FIELD)
    if not hmac.compare_digest((given or "").encode(), csrf_token(secret).encode()):
        raise Forbidden(
            "This change came without the CSRF token of the session.",
            hint=f"Send it as {CSRF_HEADER}; GET /v1/me has it.",
        )


def check_origin(request: Request, auth: AuthSettings) -> None:
    """The request does not come from a page of another site. Raises Forbidden."""
    origin = request.headers.get("origin")
    if origin is None:
        return
    ours = {request.headers.get("host", "").lower()}
    if auth.public_url:
        ours.add(urlsplit(auth.public_url).netloc.lower())
    if urlsplit(origin).netloc.lower() not in ours - {""}:
        raise Forbidden(
            "This change came from a page of another site.",
            hint="Open Dayfold at its own address; behind a proxy, name it in [auth] public_url.",
        )


async def fields(request: Request) -> dict[str, str]:
    """The fields of a form. Raises UsageError where it is none, or too long."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    length = request.headers.get("content-length", "")
    if kind != _FORM or not (length.isascii() and length.isdigit()) or int(length[:20]) > _FORM_BYTES:
        raise UsageError(f"This needs a form of at most {_FORM_BYTES:,} bytes.", hint=f"Send it as {_FORM}.")
    body = await request.body()
    try:
        found = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
        if any("\0" in text for text in (*found, *found.values())):
            raise ValueError  # no store keeps it, and no field of ours has it
        return found
    except ValueError:
        raise UsageError("The form cannot be read.", hint=f"Send UTF-8 as {_FORM}.") from None
