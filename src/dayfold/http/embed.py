"""Signed JSON Web Tokens of one's own product, for embedding: who they are for and what they see. HTTP door.

Invariant: the algorithm comes from the settings and never from the token, and only one kind of key is ever tried: with a
public key there is no secret that a token could be signed with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt

from dayfold.collect.reading import LONGEST_NAME
from dayfold.define.catalog import Catalog
from dayfold.errors import ConfigError, ConnectionFailed, Unauthenticated
from dayfold.http.claims import check_words, scope_of, texts
from dayfold.names import listing
from dayfold.plan.access import Scope
from dayfold.settings_auth import JwtSettings

#: Algorithms with a shared secret, each with the fewest bytes of one, and those with a public key.
SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
PUBLIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
#: Longer ones are not looked at.
_LETTERS = 16_384
_KEYS_TIMEOUT_S = 5
#: What a refused token is told; the first class that its error is one of.
_WHY: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "it has expired"),
    (jwt.ImmatureSignatureError, "it is not valid yet"),
    (jwt.InvalidAudienceError, "it is for another audience"),
    (jwt.InvalidIssuerError, "it is of another issuer"),
    (jwt.InvalidAlgorithmError, "its algorithm is not one that is accepted"),
    (jwt.InvalidSignatureError, "its signature is not right"),
    (jwt.PyJWKClientError, "it is signed with a key that is not known"),
)


class Embed:
    """Checks JWTs by the settings ``[auth.jwt]``.

    Args:
        settings: With a key, algorithms and an audience.
        catalog: The definitions.
        folder: Where a file with a public key is looked for.

    Raises:
        ConfigError: where the settings do not fit together.
    """

    def __init__(self, settings: JwtSettings, catalog: Catalog, folder: Path) -> None:
        check(settings, catalog)
        assert settings.claims.rows is not None
        self.settings = settings
        self.catalog = catalog
        self.rows = settings.claims.rows
        self._key = _key(settings, folder)

    @property
    def asks(self) -> bool:
        """Whether keys are asked for over the network, so that a check may take a while."""
        return self.settings.jwks_url is not None

    def scope(self, token: str) -> Scope:
        """What a token's bearer sees.

        Raises:
            Unauthenticated: saying why; ConnectionFailed where the keys cannot be read.
        """
        claims = self._claims(token)
        named = self.settings.claims.rollups
        rollups = texts(claims, named) if named else None
        return scope_of(
            self.catalog,
            claims,
            rollups=rollups,
            row_claims=self.rows,
            access=self.settings.claims.access,
            given=self.settings.claims.grants,
        )

    def subject(self, token: str) -> str:
        """The actor that a token's bearer is, whatever else it claims.

        Raises:
            Unauthenticated: saying why; ConnectionFailed where the keys cannot be read.
        """
        subject = self._claims(token).get("sub")
        if not isinstance(subject, str) or not subject or "\0" in subject:
            raise refused("it names no subject")
        if len(subject) > LONGEST_NAME or any("\ud800" <= letter <= "\udfff" for letter in subject):
            raise refused("its subject is no name that can be kept")
        return subject

    def _claims(self, token: str) -> Mapping[str, Any]:
        longest = self.settings.max_lifetime_s
        if len(token) > _LETTERS:
            raise refused("it is too long")
        claims = decoded(
            token, self._key, self.settings.algorithms, audience=self.settings.audience, issuer=self.settings.issuer,
            leeway_s=self.settings.leeway_s, require=["exp", "aud", *(["iat"] if longest else [])],
        )  # fmt: skip
        if longest and int(claims["exp"]) - int(claims["iat"]) > longest:
            raise refused(f"it is good for longer than {longest:g} s")
        return claims


def decoded(
    token: str,
    key: Callable[[str], Any],
    algorithms: Sequence[str],
    *,
    audience: str | None,
    issuer: str | None,
    leeway_s: float,
    require: Sequence[str],
) -> Mapping[str, Any]:
    """The claims of a signed token. Raises Unauthenticated saying why, and ConnectionFailed where keys cannot be read."""
    try:
        found: Mapping[str, Any] = jwt.decode(
            token, key(token), algorithms=list(algorithms), audience=audience, issuer=issuer, leeway=leeway_s,
            options={"require": list(require)},
        )  # fmt: skip
        return found
    except jwt.PyJWKClientConnectionError:
        raise ConnectionFailed(
            "The keys that tokens are signed with cannot be read.", hint="Look at the provider, and at its address."
        ) from None
    except jwt.MissingRequiredClaimError as error:
        raise refused(f"it lacks the claim {error.claim}") from None
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        why = next((words for kind, words in _WHY if isinstance(error, kind)), "it is malformed")
        raise refused(why) from None


def refused(why: str) -> Unauthenticated:
    """The error of a token that is not accepted."""
    return Unauthenticated(f"The token is not accepted: {why}.", hint="Have a new one signed.")


def check(settings: JwtSettings, catalog: Catalog) -> None:
    """The settings say one key, algorithms of its kind, an audience and rows. Raises ConfigError."""
    keys = [name for name in ("secret", "public_key", "jwks_url") if getattr(settings, name)]
    if len(keys) != 1:
        raise ConfigError(
            f"auth.jwt: expected one of secret, public_key and jwks_url, got {listing(keys)}.",
            hint="A secret that both sides know, or the key that only your product can sign with.",
        )
    known = list(SECRET_BYTES) if settings.secret else list(PUBLIC)
    if not settings.algorithms or (wrong := [one for one in settings.algorithms if one not in known]):
        got = listing(wrong) if settings.algorithms else "none"
        raise ConfigError(
            f"auth.jwt.algorithms: expected some of {listing(known)}, which fit {keys[0]}; got {got}.",
            hint=f'Name those that your product signs with: algorithms = ["{known[0]}"]',
        )
    if settings.secret:
        _check_secret(settings.secret.get_secret_value(), settings.algorithms)
    if not settings.audience:
        raise ConfigError(
            "auth.jwt.audience is needed: tokens that are made for somebody else are refused by it.",
            hint='Write what your product puts into aud, such as audience = "dayfold".',
        )
    if settings.claims.rows is None:
        raise ConfigError(
            "auth.jwt.claims.rows is needed: it says which claim limits which key column.",
            hint='Write rows = { shop_id = "shop" }, or rows = {} for tokens that see all rows.',
        )
    check_words(catalog, "auth.jwt.claims.rows", None, settings.claims.rows)


def _check_secret(secret: str, algorithms: Sequence[str]) -> None:
    fewest = max(SECRET_BYTES[one] for one in algorithms)
    if secret.lstrip().startswith("-----BEGIN"):
        raise ConfigError(
            "auth.jwt.secret is a key in PEM, which is public or another kind of secret.",
            hint="Put a public key into auth.jwt.public_key.",
        )
    if len(secret.encode()) < fewest:
        raise ConfigError(
            f"auth.jwt.secret: expected {fewest} bytes or more for {listing(algorithms)}, got {len(secret.encode())}.",
            hint="Make one: python -c 'import secrets; print(secrets.token_urlsafe(64))'",
        )


def _key(settings: JwtSettings, folder: Path) -> Callable[[str], Any]:
    """What gives the key that a token has to be signed with."""
    if settings.secret:
        secret = settings.secret.get_secret_value()
        return lambda token: secret
    if settings.jwks_url:
        return published(settings.jwks_url, "auth.jwt.jwks_url")
    text = settings.public_key or ""
    if not text.lstrip().startswith("-----BEGIN"):
        try:
            text = (folder / text).read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise ConfigError(
                "auth.jwt.public_key is neither a key in PEM nor a file that can be read.",
                hint="Write the PEM text, or a file's name, from the folder of dayfold.toml.",
            ) from None
    for algorithm in settings.algorithms:
        try:
            key = jwt.get_algorithm_by_name(algorithm).prepare_key(text)
        except (jwt.PyJWTError, ValueError, TypeError):
            key = None
        if key is None or not hasattr(key, "public_bytes"):
            raise ConfigError(
                f"auth.jwt.public_key is no public key for {algorithm}.",
                hint="Put the public half there, in PEM, of the kind that the algorithms sign with.",
            )
    return lambda token: text


def published(url: str, setting: str) -> Callable[[str], Any]:
    """What gives the key of a token from where keys are published, kept for some minutes. Raises ConfigError."""
    if not is_safe(url):
        raise ConfigError(f"{setting}: expected an address that begins with https://.")
    client = jwt.PyJWKClient(url, timeout=_KEYS_TIMEOUT_S)
    return lambda token: client.get_signing_key_from_jwt(token).key


def is_safe(url: str) -> bool:
    """Whether nobody between can change what an address answers: HTTPS, or this machine.

    >>> is_safe("https://login.example.com"), is_safe("http://login.example.com"), is_safe("http://127.0.0.1:8080")
    (True, False, True)
    """
    parts = urlsplit(url)
    return (parts.scheme == "https" and bool(parts.hostname)) or (
        parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    )
