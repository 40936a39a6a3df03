"""At which address a server may listen. HTTP door.

Invariant: as long as nobody could be let in, nobody else's machine can reach the server; there is no anonymous access.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from dayfold.app import Dayfold
from dayfold.errors import UsageError

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Opening:
    """Where to listen, and the path of a one-time link where nobody could come in without."""

    host: str
    login_path: str | None = None


def opening(app: Dayfold, host: str | None) -> Opening:
    """Where a server listens: at ``host``, else ``[serve] host``, else everywhere, once somebody is known.

    Before that it is this machine only, and a link signs an administrator in, once, within 15 minutes.

    Raises:
        UsageError: where another address was asked for and nobody is known.
    """
    asked = host or app.settings.serve.host
    if _is_anybody_known(app):
        return Opening(asked or EVERYWHERE)
    if asked is not None and not is_loopback(asked):
        raise UsageError(
            f"Dayfold does not listen at {asked} while nobody may come in: there is no token, user, JWT or OIDC.",
            hint="Make one first: dayfold user add NAME, or dayfold token create NAME --kind read. "
            f"Without an address it listens at {LOOPBACK}.",
        )
    return Opening(asked or LOOPBACK, f"/sign-in?code={app.accounts.make_link()}")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_anybody_known(app: Dayfold) -> bool:
    auth = app.settings.auth
    return auth.jwt.is_on or auth.oidc.is_on or app.accounts.is_anybody_known()
