"""The description of the API (OpenAPI): what operations have in common is written here, once. HTTP door.

Invariant: an operation that is not public says how to be let in; every refusal is a problem, whichever code it comes from.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from dayfold.http.cookies import CSRF_HEADER, SESSION
from dayfold.http.models import Problem
from dayfold.http.problems import CONTENT_TYPE
from dayfold.http.rights import Right, right_of

TEXT = """Exact daily metrics. Dates are plain `YYYY-MM-DD` and UTC days; a range names its first and its last day, both included.
Errors are problem details (RFC 9457): `code` is stable, `detail` says what is wrong and `hint` what to do."""
_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `dayfold token create`, a JWT of one's own product, or the secret of outside schedulers.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION,
        "description": f"The session of a browser that signed in, over HTTPS `__Host-{SESSION}`. A change needs {CSRF_HEADER} too.",
    },
}
#: What each refusal means; those of `_ANY` may meet every request, the others stand at the operations that have them.
_MEANINGS = {
    400: "The words do not fit; the answer says what to change.",
    401: "Nobody is known to ask: no token, or one that is not valid.",
    403: "The caller may not do this.",
    404: "There is no such name for this caller.",
    409: "The job is stopped, or a run of it is active.",
    413: "The body is too long.",
    422: "The answer would take too long.",
    429: "Too many tries; `Retry-After` says for how long.",
    500: "A fault; the server's log says where.",
    503: "A database does not answer.",
}
_ANY, _NOT_PUBLIC, _WITH_BODY = (400, 500, 503), (401, 403), (413,)


def told(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route passes as ``responses`` for the refusals that are its own.

    >>> told(404)
    {404: {'description': 'There is no such name for this caller.'}}
    """
    return {status: {"description": _MEANINGS[status]} for status in statuses}


def describe(api: FastAPI) -> None:
    """From now on `api.openapi` gives the whole description."""

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = _whole(api)
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]  # the framework's own way to do this


def _whole(api: FastAPI) -> dict[str, Any]:
    found = get_openapi(title=api.title, version=api.version, description=TEXT, routes=api.routes)
    parts = found.setdefault("components", {})
    shapes = parts.setdefault("schemas", {})
    # The framework's shape of a refusal, which is never sent.
    for name in ("HTTPValidationError", "ValidationError"):
        shapes.pop(name, None)
    shapes["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    parts["securitySchemes"] = _SCHEMES
    for route in api.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _complete(found["paths"][route.path_format][method.lower()], right_of(route), route.responses)
    return found


def _complete(operation: dict[str, Any], right: Right | None, own: dict[int | str, dict[str, Any]]) -> None:
    """An operation says how to be let in and every refusal that it may meet."""
    answers: dict[str, Any] = operation["responses"]
    if 422 not in own:
        answers.pop("422", None)
    common = [*_ANY]
    if right is not Right.PUBLIC:
        operation["security"] = (
            [{"bearer": []}] if right in (Right.CRON, Right.SELF) else [{"bearer": []}, {"cookie": []}]
        )
        common += _NOT_PUBLIC
    if "requestBody" in operation:
        common += _WITH_BODY
    for status in common:
        answers.setdefault(str(status), {"description": _MEANINGS[status]})
    for code, answer in answers.items():
        if int(code) >= 400:
            answer.setdefault("content", {})[CONTENT_TYPE] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    operation["responses"] = dict(sorted(answers.items()))
