"""A little OpenID Connect provider on this machine: real HTTP, signatures with RSA, PKCE checked."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.loopback import Answers, Loopback

CLIENT, SECRET = "dayfold", "s3cret:of the client"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEY_ID = "first"


class Provider(Loopback):
    """What it answers can be bent by a test: `claims` of the next id_token, the `key` that signs it, its `algorithm`.

    Attributes:
        claims: Put over the claims of an id_token; None leaves one out.
        described: Put over the discovery document.
    """

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.described: dict[str, Any] = {}
        self.key: Any = KEY
        self.algorithm = "RS256"
        self.codes: dict[str, dict[str, str]] = {}
        super().__init__(self._answers())
        self.issuer = self.origin

    def agree(self, url: str) -> dict[str, str]:
        """The person agrees at the address that the browser was sent to; what the browser is sent back with."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{self.issuer}/authorize?")
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    def id_token(self, asked: dict[str, str]) -> str:
        """What says who the person is."""
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": "248289761001", "email": "anna@example.com", "iat": now,
            "exp": now + 60, "nonce": asked["nonce"], "groups": ["staff", "analysts"],
        } | self.claims  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.key, self.algorithm, headers={"kid": KEY_ID})

    def tokens(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """What a code is exchanged for, once and by the client that can prove itself only."""
        asked = self.codes.pop(form["code"], None)
        name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        )
        if (
            asked is None
            or (unquote(name), unquote(secret)) != (CLIENT, SECRET)
            or challenge != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
            or form["grant_type"] != "authorization_code"
        ):
            return 400, {"error": "invalid_grant"}
        return 200, {"id_token": self.id_token(asked), "access_token": "unused", "token_type": "Bearer"}

    def get(self, path: str) -> dict[str, Any]:
        """The discovery document and the keys."""
        if path == "/keys":
            return {
                "keys": [
                    json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": KEY_ID, "use": "sig"}
                ]
            }
        return {
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys",
        } | self.described  # fmt: skip

    def _answers(self) -> type[Answers]:
        provider = self

        class Handler(Answers):
            def do_GET(self) -> None:
                self.say(200, provider.get(self.path))

            def do_POST(self) -> None:
                form = {name: values[0] for name, values in parse_qs(self.asked().decode()).items()}
                self.say(*provider.tokens(form, self.headers.get("authorization", "")))

            def say(self, status: int, words: dict[str, Any]) -> None:
                self.answer(status, json.dumps(words).encode(), Content_Type="application/json")

        return Handler
