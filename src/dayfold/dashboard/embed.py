"""``/embed/…``: the frame in which other sites show a page, with a token of theirs. Dashboard door.

The frame holds no number. The token comes after the ``#`` of its address, which no server is sent, or in a form; the frame's script
takes it out of the address bar and sends it as a header with every request, where `dayfold.http.doorkeeper` looks at it as at any
other.

Invariant: the frame alone may stand in other sites, in those that ``[dashboard] embed_in`` names; what is in it is read with the
token only.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.view import POLICY, View, address
from dayfold.errors import UnknownName
from dayfold.http.rights import Right

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/embed/{path:path}", openapi_extra=shows(Right.PUBLIC))
def embed(view: View, path: str) -> Response:
    """The frame; its script reads the token after the ``#``."""
    return _frame(view, path, None)


@router.post("/embed/{path:path}", openapi_extra=shows(Right.PUBLIC))
def embed_by_form(view: View, path: str) -> Response:
    """The same for a form with the field ``token``, whose target is the frame."""
    return _frame(view, path, view.form.get("token") or None)


def _frame(view: View, path: str, token: str | None) -> Response:
    origins = view.app.settings.dashboard.embed_in
    if not origins:
        raise UnknownName(
            "Nothing is embedded from here.",
            hint='Name the sites that may: [dashboard] embed_in = ["https://shop.example"]',
        )
    words = {name: view.request.query_params.getlist(name) for name in view.request.query_params}
    said = {"page": address(f"/{path.lstrip('/')}", words), "origins": origins, "token": token}
    policy = POLICY.replace("frame-ancestors 'none'", f"frame-ancestors {' '.join(origins)}")
    return view.page("embed.html", "Dayfold", headers={"Content-Security-Policy": policy}, said=said)
