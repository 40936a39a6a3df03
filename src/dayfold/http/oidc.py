"""Sign-in with an OpenID Connect provider: authorization code with PKCE, state and nonce. HTTP door.

What one sign-in has to remember travels in a signed cookie of ten minutes, so any replica can end what another began. The
nonce and the PKCE verifier are derived from its state with a key of the store and are never sent to the browser as such.

Invariant: a person's rights come from the signed id_token alone, and a value that no setting names gives none.

Weakness: rights are those of the moment of sign-in, until the session ends; claims that only userinfo has are not seen.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from dayfold.app import Dayfold
from dayfold.errors import ConfigError, ConnectionFailed, Unauthenticated
from dayfold.http.claims import check_words, scope_of, texts
from dayfold.http.embed import PUBLIC, decoded, is_safe, published
from dayfold.ledger.sessions import Guest
from dayfold.names import listing
from dayfold.settings_auth import OidcSettings

COOKIE = "dayfold_oidc"
RETURN = "/sign-in/oidc/return"
COOKIE_S = 600
_TIMEOUT_S = 10
_LEEWAY_S = 30


class Oidc:
    """Signs people in through the provider of ``[auth.oidc]``. Raises ConfigError where the settings do not fit together."""

    def __init__(self, app: Dayfold) -> None:
        self.settings = app.settings.auth.oidc
        self.catalog = app.catalog
        self.ledger = app.ledger
        self.clock = app.clock
        _check(app)
        self.issuer = (self.settings.issuer or "").rstrip("/")
        self.redirect_uri = (app.settings.auth.public_url or "").rstrip("/") + RETURN
        self._lock = threading.Lock()
        self._found: dict[str, Any] | None = None
        self._keys: Any = None

    def start(self, onward: str) -> tuple[str, str]:
        """Where to send the browser, and the cookie that it brings back; ``onward`` is a path of ours.

        Raises:
            ConnectionFailed: where the provider does not answer as one.
        """
        state = secrets.token_urlsafe(32)
        challenge = _plain(hashlib.sha256(self._derived("verifier", state).encode()).digest())
        words = {
            "response_type": "code", "client_id": self.settings.client_id, "redirect_uri": self.redirect_uri,
            "scope": " ".join(self.settings.scopes), "state": state, "nonce": self._derived("nonce", state),
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        address = str(self._provider()["authorization_endpoint"])
        ends = int(self.clock.now().timestamp()) + COOKIE_S
        content = _plain(json.dumps([state, ends, onward]).encode())
        url = f"{address}{'&' if '?' in address else '?'}{urlencode(words)}"
        return url, f"{content}.{self._derived('cookie', content)}"

    def finish(self, query: Mapping[str, str], cookie: str | None) -> tuple[Guest, str]:
        """Who came back from the provider, and the path to go on to.

        Raises:
            Unauthenticated: saying why; ConnectionFailed.
        """
        state, onward = self._remembered(cookie)
        if not hmac.compare_digest(query.get("state", "").encode(), state.encode()):
            raise _refused("the answer is not to the sign-in that this browser began")
        if "iss" in query and query["iss"].rstrip("/") != self.issuer:
            raise _refused("the answer comes from another provider")
        if "error" in query or not query.get("code"):
            said = query.get("error", "")
            raise _refused(
                f"the provider says {said}" if re.fullmatch(r"[a-z_]{1,50}", said) else "the provider refused"
            )
        claims = self._claims(self._exchanged(query["code"], state))
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), self._derived("nonce", state).encode()):
            raise _refused("the id_token is of another sign-in")
        return self._guest(claims), onward

    def _remembered(self, cookie: str | None) -> tuple[str, str]:
        content, _, signature = (cookie or "").partition(".")
        if not hmac.compare_digest(signature.encode(), self._derived("cookie", content).encode()):
            raise _refused("the answer is not to the sign-in that this browser began")
        state, ends, onward = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
        if ends < self.clock.now().timestamp():
            raise _refused(f"it took longer than {COOKIE_S // 60} minutes")
        return str(state), str(onward)

    def _exchanged(self, code: str, state: str) -> str:
        """The id_token for a code."""
        found = self._provider()
        client = self.settings.client_id or ""
        secret = self.settings.client_secret.get_secret_value() if self.settings.client_secret else ""
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri,
            "code_verifier": self._derived("verifier", state),
        }  # fmt: skip
        auth = None
        if "client_secret_basic" in found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            auth = httpx.BasicAuth(quote(client, safe=""), quote(secret, safe=""))
        else:
            form |= {"client_id": client, "client_secret": secret}
        try:
            answer = httpx.post(str(found["token_endpoint"]), data=form, auth=auth, timeout=_TIMEOUT_S)
            words = answer.json() if answer.status_code == httpx.codes.OK else {}
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            raise _silent(self.issuer) from None
        token = words.get("id_token") if isinstance(words, dict) else None
        if not isinstance(token, str):
            raise _refused("the provider gave no id_token for the code")
        return token

    def _claims(self, token: str) -> Mapping[str, Any]:
        claims = decoded(
            token, self._keys, self.settings.algorithms, audience=self.settings.client_id,
            issuer=str(self._provider()["issuer"]), leeway_s=_LEEWAY_S, require=["exp", "iat", "aud", "iss", "sub"],
        )  # fmt: skip
        others = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if others else self.settings.client_id) != self.settings.client_id:
            raise _refused("the id_token is for another application")
        return claims

    def _guest(self, claims: Mapping[str, Any]) -> Guest:
        """Who somebody is here: the first right whose value the claim has."""
        mine = texts(claims, self.settings.claim) if self.settings.claim in claims else []
        name = str(claims.get(self.settings.name_claim) or claims["sub"])[:100]
        for value, right in self.settings.rights.items():
            if value in mine:
                scope = scope_of(
                    self.catalog,
                    claims,
                    rollups=right.rollups,
                    rows=right.rows,
                    row_claims=right.row_claims,
                    access=right.access,
                )
                return Guest("".join(one for one in name if one.isprintable()), right.kind, scope)
        raise _refused("this account has no rights here")

    def _provider(self) -> dict[str, Any]:
        """The provider's own description, read once it is needed and then kept."""
        with self._lock:
            if self._found is None:
                found = _described(self.issuer)
                self._keys = published(str(found["jwks_uri"]), "auth.oidc.issuer")
                self._found = found
            return self._found

    def _derived(self, purpose: str, text: str) -> str:
        """A text that only this store's servers can derive, another for each purpose."""
        with self.ledger.store.transaction(read_only=True) as session:
            key = self.ledger.store_key(session)
        return _plain(hmac.new(key.encode(), f"dayfold oidc {purpose} {text}".encode(), hashlib.sha256).digest())


def _described(issuer: str) -> dict[str, Any]:
    """The discovery document of a provider. Raises ConnectionFailed."""
    try:
        answer = httpx.get(f"{issuer}/.well-known/openid-configuration", timeout=_TIMEOUT_S)
        found = answer.json() if answer.status_code == httpx.codes.OK else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        raise _silent(issuer) from None
    needed = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
    if not isinstance(found, dict) or any(not isinstance(found.get(name), str) for name in needed):
        raise _silent(issuer)
    if found["issuer"].rstrip("/") != issuer or not all(is_safe(found[name]) for name in needed):
        raise ConnectionFailed(
            f"The provider at {issuer} describes itself as another one.", hint="Look at [auth.oidc] issuer."
        )
    return found


def _check(app: Dayfold) -> None:
    """The settings are whole. Raises ConfigError."""
    settings: OidcSettings = app.settings.auth.oidc
    for name in ("issuer", "client_id", "client_secret"):
        if not getattr(settings, name):
            raise ConfigError(f"auth.oidc.{name} is needed.", hint="The provider shows it where Dayfold is registered.")
    for place, url in (("auth.oidc.issuer", settings.issuer), ("auth.public_url", app.settings.auth.public_url)):
        if not url or not is_safe(url):
            raise ConfigError(
                f"{place}: expected an address that begins with https://.",
                hint=f"Browsers come back to it: register {RETURN} behind it at the provider."
                if place == "auth.public_url"
                else "",
            )
    if not settings.algorithms or (wrong := [one for one in settings.algorithms if one not in PUBLIC]):
        got = listing(wrong) if settings.algorithms else "none"
        raise ConfigError(f"auth.oidc.algorithms: expected some of {listing(PUBLIC)}; got {got}.")
    if not settings.rights:
        raise ConfigError(
            "auth.oidc.rights is needed: without it nobody may come in.",
            hint=f'Give each value of the claim {settings.claim} its rights: [auth.oidc.rights.analysts] kind = "read"',
        )
    for value, right in settings.rights.items():
        place = f"auth.oidc.rights.{value}"
        if right.kind != "read" and (right.rollups is not None or right.rows or right.row_claims or right.access):
            raise ConfigError(f"{place}: only the kind 'read' has rollups and rows, got '{right.kind}'.")
        check_words(app.catalog, place, right.rollups, {**right.rows, **right.row_claims})


def _plain(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"Nobody was signed in: {why}.", hint="Begin again: /sign-in")


def _silent(issuer: str) -> ConnectionFailed:
    return ConnectionFailed(f"The provider at {issuer} does not answer as one.", hint="Look at it, and at [auth.oidc].")
