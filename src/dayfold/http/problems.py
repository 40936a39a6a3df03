"""Errors as problem details (RFC 9457). HTTP door.

The type of a problem is the stable code of `dayfold.errors`. Nothing unforeseen is told to a caller: its text may hold values.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dayfold.errors import (
    AccessUnknown,
    Busy,
    Conflict,
    ConnectionFailed,
    DayfoldError,
    DefinitionError,
    Forbidden,
    NoSuchEntity,
    Stopped,
    TookTooLong,
    TooMany,
    Unauthenticated,
    UnknownName,
    UsageError,
)
from dayfold.jobs.report import report
from dayfold.plan.access import EVERYTHING

CONTENT_TYPE = "application/problem+json"
#: The first class that an error is one of says its status.
_STATUS: tuple[tuple[type[DayfoldError], HTTPStatus], ...] = (
    (Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (AccessUnknown, HTTPStatus.SERVICE_UNAVAILABLE),
    (TooMany, HTTPStatus.TOO_MANY_REQUESTS),
    (UnknownName, HTTPStatus.NOT_FOUND),
    (NoSuchEntity, HTTPStatus.NOT_FOUND),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (Busy, HTTPStatus.CONFLICT),
    (Conflict, HTTPStatus.CONFLICT),
    (Stopped, HTTPStatus.CONFLICT),
    (TookTooLong, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ConnectionFailed, HTTPStatus.SERVICE_UNAVAILABLE),
)
#: What the framework refuses by itself: code, detail and hint.
_PATHS = "GET /openapi.json lists every path."
_FRAMEWORK = {
    400: ("request", "The body cannot be read.", "Send JSON, as UTF-8."),
    404: ("unknown-path", "There is no path like this.", _PATHS),
    405: ("method", "This path has no such method.", _PATHS),
    413: ("too-long", "The body is too long: at most 1 MiB is read.", "Send less at once."),
}
_log = logging.getLogger("dayfold.http")


def status_of(error: DayfoldError) -> HTTPStatus:
    """The status of an error's answer; a fault of ours or of the store's is a 500.

    >>> status_of(UnknownName("There is no rollup 'x'.")).value
    404
    """
    return next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def problem(status: HTTPStatus, code: str, detail: str, hint: str = "", **more: Any) -> Response:
    """An answer that says what is wrong and what to do."""
    body = {
        "type": f"urn:dayfold:{code}",
        "title": status.phrase,
        "status": status.value,
        "code": code,
        "detail": detail,
    }
    if hint:
        body["hint"] = hint
    headers = {"Cache-Control": "no-store"}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if "retry_after_s" in more:
        headers["Retry-After"] = str(more["retry_after_s"])
    return Response(msgspec.json.encode(body | more), status.value, headers, CONTENT_TYPE)


def of_error(error: DayfoldError, *, is_known: bool = True) -> Response:
    """The answer to a request that one of our errors ended.

    ``is_known``: the caller may know what stands behind the service; else a fault of ours, of the definitions or of a database is told
    by its code alone, for it may name what they do not see.
    """
    more: dict[str, Any] = {}
    is_fault = status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, AccessUnknown)
    if is_fault and not is_known:
        detail = "This cannot be answered at present; it is not for what was asked."
        return problem(
            status_of(error), error.code, detail, "Try again later; who runs the service sees why in its log."
        )
    if isinstance(error, DefinitionError):
        more["problems"] = [
            {"code": p.code, "place": p.place, "subject": p.subject, "message": p.message, "hint": p.hint}
            for p in error.problems
        ]
    if isinstance(error, TooMany):
        more["retry_after_s"] = error.retry_after_s
    if isinstance(error, Busy) and error.run_id is not None:
        more["run_id"] = error.run_id
    return problem(status_of(error), error.code, error.message, error.hint, **more)


def _of_words(request: Request, error: RequestValidationError) -> Response:
    """The answer to parameters or a body that do not fit what the route describes; no value is repeated."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_whole = any(tuple(one["loc"]) == ("body",) and one["type"] != "missing" for one in error.errors())
    if is_whole and kind != "application/json":
        detail = "The body does not say that it is JSON."
        return problem(HTTPStatus.BAD_REQUEST, "usage", detail, "Send it with Content-Type: application/json.")
    found = []
    for one in error.errors():
        where = ".".join(str(part) for part in one["loc"][1:]) or str(one["loc"][0])
        found.append({"in": str(one["loc"][0]), "name": where, "message": one["msg"]})
    if any(one["type"] == "json_invalid" for one in error.errors()):
        return of_framework(HTTPStatus.BAD_REQUEST)
    first = found[0]
    detail = f"{first['name']} ({first['in']}): {first['message']}."
    return problem(
        HTTPStatus.BAD_REQUEST, "usage", detail, "GET /openapi.json describes every parameter.", errors=found
    )


def of_framework(status: HTTPStatus) -> Response:
    """The answer to a request that the framework refuses.

    >>> of_framework(HTTPStatus.NOT_FOUND).status_code
    404
    """
    return problem(status, *_FRAMEWORK.get(status.value, ("request", f"{status.phrase}.", _PATHS)))


def told(request: Request, error: DayfoldError) -> Response:
    """The answer to a request that one of our errors ended, as its caller may know it; a fault is in the log."""
    who = getattr(request.state, "caller", None)
    answer = of_error(error, is_known=who is None or who.scope == EVERYTHING)
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("A request failed: %s", error.message, extra={"action": "request-failed", "path": request.url.path})
    return answer


def install(api: FastAPI) -> None:
    """All errors of an API are answered as problems."""

    @api.exception_handler(DayfoldError)
    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, DayfoldError)
        return told(request, error)

    @api.exception_handler(RequestValidationError)
    async def words(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _of_words(request, error)

    @api.exception_handler(HTTPException)
    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = of_framework(HTTPStatus(error.status_code))
        answer.headers.update(error.headers or {})
        return answer

    @api.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        # Its text may hold values of rows; the log has its kind and the place.
        _log.exception(
            "A request met an error that nobody foresaw", extra={"action": "request-failed", "path": request.url.path}
        )
        report(error, "request-failed")
        detail = f"Dayfold met an error that it did not foresee: {type(error).__name__}."
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "error", detail, "The server's log says where.")
