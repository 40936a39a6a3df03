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
        self._clean: Memo[bytes, bool] = Memo(4_000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        query = scope.get("query_string", b"")
        if query and scope["type"] == "http" and not self._is_clean(query):
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

    def _is_clean(self, query: bytes) -> bool:
        if self._clean.get(query):
            return True
        if has_secret(query):
            return False
        if len(query) <= _LONGEST:
            self._clean.learn(query, True)
        return True


def has_secret(query: bytes) -> bool:
    """Whether a query string holds one of our tokens, or a parameter that is named like a secret.

    >>> has_secret(b"from=2026-01-01&Access-Token=x"), has_secret(b"where=shop_id%3D42&code=x")
    (True, False)
    >>> has_secret(b"where=k%3Ddfk_abc")
    True
    """
    if not query:
        return False
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return any(
        name.lower().replace("-", "").replace("_", "") in _SECRET_NAMES or PREFIX in name or PREFIX in value
        for name, value in pairs
    )
