"""Styles, scripts and pictures of the pages, all from here. Dashboard door.

Invariant: an address holds the digest of all files together, so that what it gave once is what it gives for ever, and modules find
each other by relative addresses.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from dayfold.errors import UnknownName
from dayfold.http.rights import Right, needs
from dayfold.http.route import QuickRoute

_FOLDER = Path(__file__).parent / "static"
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
router = APIRouter(route_class=QuickRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent, as it is and compressed."""

    kind: str
    content: bytes
    packed: bytes


@cache
def files() -> dict[str, File]:
    """Every file, by its path from the folder."""
    found = {}
    for path in sorted(_FOLDER.rglob("*")):
        if path.is_file() and path.suffix in _KINDS:
            content = path.read_bytes()
            packed = gzip.compress(content, mtime=0)
            found[path.relative_to(_FOLDER).as_posix()] = File(_KINDS[path.suffix], content, packed)
    return found


@cache
def digest() -> str:
    """A short text that moves with any of the files."""
    sums = hashlib.sha256()
    for name, file in files().items():
        sums.update(f"{name} {len(file.content)} ".encode() + file.content)
    return sums.hexdigest()[:12]


def address(name: str) -> str:
    """Where a file is served.

    >>> address("dayfold.css").endswith("/dayfold.css")
    True
    """
    if name not in files():
        raise LookupError(f"There is no file {name} to serve.")
    return f"/static/{digest()}/{name}"


@router.get("/static/{mark}/{name:path}", openapi_extra=needs(Right.PUBLIC))
async def file(request: Request, mark: str, name: str) -> Response:
    """A file, for as long as a browser likes to keep it where the address holds the present digest."""
    found = files().get(name)
    if found is None:
        raise UnknownName("There is no such file.")
    is_packed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if mark == digest() else "no-cache",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        **({"Content-Encoding": "gzip"} if is_packed else {}),
    }
    return Response(found.packed if is_packed else found.content, headers=headers, media_type=found.kind)
