"""Refuses secrets in addresses before anything else looks at a request. HTTP door.

Addresses stand in the logs of proxies, in histories of browsers and in Referer headers. A secret that was sent in one is
refused everywhere, also where it would not be needed, so that nobody gets used to it.
"""

from __future__ import annotations

import logging
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from dayfold.errors import UsageError
from dayfold.http import problems
from dayfold.ledger.tokens import PREFIX
from dayfold.memo import Memo

#: Names of parameters that hold secrets, in small letters without - and _.
_SECRET_NAMES = frozenset(
    {
        "secret", "token", "key", "password", "cronsecret", "clientsecret", "accesstoken", "authtoken", "bearertoken",
        "idtoken", "refreshtoken", "bearer", "auth", "authorization", "jwt", "apitoken", "accesskey", "secretkey",
    }
)  # fmt: skip
#: Longer queries are rare, and looked through each time.
_LONGEST = 2_000
_log = logging.getLogger("dayfold.http")


class NoSecretsInAddresses:
    """Answers 400 where the query string of a request holds a secret, or the name of one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        #: Queries without a secret; those with one are not held on to.
        self._clean: Memo[tuple[bool, bytes], bool] = Memo(4_000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        query = scope.get("query_string", b"")
        if query and scope["type"] == "http" and not self._is_clean(query, names_entity(scope["path"])):
            _log.warning(
                "A secret was sent in an address and refused",
                extra={"action": "secret-in-address", "path": scope["path"]},
            )
            error = UsageError(
                "A secret was sent in the address, where logs keep it.",
                hint="Revoke it, and send the new one as a header: Authorization: Bearer …",
            )
            await problems.of_error(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_clean(self, query: bytes, names_entity: bool) -> bool:
        if self._clean.get((names_entity, query)):
            return True
        if has_secret(query, names_entity=names_entity):
            return False
        if len(query) <= _LONGEST:
            self._clean.learn((names_entity, query), True)
        return True


def names_entity(path: str) -> bool:
    """Whether a path takes the key of an entity as `key`.

    >>> names_entity("/v1/profiles/Customers/one"), names_entity("/profiles/Customers/one"), names_entity("/v1/profiles/Customers")
    (True, True, False)
    >>> names_entity("/embed/profiles/Customers/one")
    True
    """
    path = path.removeprefix("/embed")
    return path.startswith(("/v1/profiles/", "/profiles/")) and path.endswith("/one")


def has_secret(query: bytes, *, names_entity: bool = False) -> bool:
    """Whether a query string holds one of our tokens, or a parameter that is named like a secret.

    ``names_entity``: a parameter `key` whose value is written ``column=value`` is none.

    >>> has_secret(b"from=2026-01-01&Access-Token=x"), has_secret(b"where=shop_id%3D42&code=x")
    (True, False)
    >>> has_secret(b"where=k%3Ddfk_abc")
    True
    >>> has_secret(b"key=id%3D7", names_entity=True), has_secret(b"key=abc", names_entity=True), has_secret(b"key=id%3D7")
    (False, True, True)
    """
    if not query:
        return False
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return any(_is_secret(name, value, names_entity=names_entity) for name, value in pairs)


def _is_secret(name: str, value: str, *, names_entity: bool) -> bool:
    if PREFIX in name or PREFIX in value:
        return True
    if names_entity and name == "key" and "=" in value.rstrip("="):
        return False
    return name.lower().replace("-", "").replace("_", "") in _SECRET_NAMES
