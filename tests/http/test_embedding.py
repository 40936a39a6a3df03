"""JSON Web Tokens of one's own product: what is accepted, what is refused and why, and what their bearers see."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dayfold.errors import ConfigError
from tests.http.doors import Doors, problem

SECRET = "a secret that the product and Dayfold share"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> str:
    """The public half of a key."""
    return str(
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def settings(**more: Any) -> dict[str, Any]:
    return {
        "secret": SECRET, "algorithms": ["HS256"], "audience": "dayfold", "claims": {"rows": {"shop": "shop_id"}},
    } | more  # fmt: skip


def signed(key: Any = SECRET, algorithm: str = "HS256", headers: Any = None, without: str = "", **more: Any) -> str:
    """A token that is good for a minute; PyJWT looks at the machine's clock."""
    now = int(time.time())
    claims = {"aud": "dayfold", "iat": now, "exp": now + 60, "shop_id": 42, **more}
    claims.pop(without, None)
    return jwt.encode(claims, key, algorithm, headers=headers)


def refused(why: str) -> tuple[int, str, str, str]:
    return 401, "unauthenticated", f"The token is not accepted: {why}.", "Have a new one signed."


@pytest.fixture
def shared(make_doors: Callable[..., Doors]) -> Doors:
    """An application that accepts tokens signed with a secret."""
    return make_doors(jwt=settings())


def test_claims_say_what_is_seen(make_doors: Callable[..., Doors]) -> None:
    """Rows by the value of the mapped claim, one or a list; rollups by class or table name."""
    door = make_doors(jwt=settings(claims={"rows": {"shop": "shop_id"}, "rollups": "sees"}))
    for shop, values in ((42, ["42"]), ("a,b", ["a,b"]), ([42, "43"], ["42", "43"]), ([], []), ("", [""])):
        answer = door.get("/try/read", signed(shop_id=shop, sees=["visits", "Nothing"]))
        assert answer.json() == {"name": "jwt", "rollups": ["Nothing", "Visits"], "rows": {"shop": values}}


def test_bearer_may_read_and_nothing_else(shared: Doors) -> None:
    """Whatever the token claims about its kind."""
    token = signed(kind="admin", rights=["admin"], scope="admin")
    assert shared.get("/try/read", token).status_code == 200
    for right in ("jobs", "admin", "track", "cron"):
        assert problem(shared.get(f"/try/{right}", token))[:3] == (
            403, "forbidden", f"jwt may not do this: it takes the right '{right}'.",
        )  # fmt: skip


@pytest.mark.parametrize("value", [None, {"a": 1}, 1.5, ["42", None], [["42"]]])
def test_claim_of_another_form_is_refused(shared: Doors, value: Any) -> None:
    """Null, floats and nested lists are no values of a key; guessing one could open rows."""
    assert problem(shared.get("/try/read", signed(shop_id=value))) == (
        401, "unauthenticated", "The claim 'shop_id' of the token cannot be read.",
        "Expected a text, an integer, or a list of these.",
    )  # fmt: skip


def test_missing_claim_closes(make_doors: Callable[..., Doors]) -> None:
    """A token without a mapped claim sees nothing rather than everything: it is refused."""
    door = make_doors(jwt=settings(claims={"rows": {"shop": "shop_id"}, "rollups": "sees"}))
    for without, more in (("shop_id", {"sees": ["Visits"]}), ("sees", {})):
        assert problem(door.get("/try/read", signed(without=without, **more))) == (
            401, "unauthenticated", f"The token lacks the claim '{without}'.", "Sign it with all claims that are asked for.",
        )  # fmt: skip


def unsigned(**claims: Any) -> str:
    """A token with the algorithm `none`."""
    return jwt.encode(claims, None, "none")


def forged(header: dict[str, Any], signature: str = "") -> str:
    """A token put together by hand."""
    now = int(time.time())
    parts = [header, {"aud": "dayfold", "exp": now + 60, "shop_id": 42}]
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts), signature]
    )


def test_what_is_not_accepted_is_refused_with_the_reason(shared: Doors) -> None:
    """No signature, another algorithm or key, no expiry, expired, not yet valid, another audience, malformed."""
    now = int(time.time())
    cases = {
        unsigned(aud="dayfold", exp=now + 60, shop_id=42): "its algorithm is not one that is accepted",
        forged({"alg": "none"}): "its algorithm is not one that is accepted",
        forged({"alg": "NONE"}): "its algorithm is not one that is accepted",
        forged({}): "its algorithm is not one that is accepted",
        forged({"alg": "HS256"}): "its signature is not right",
        signed(algorithm="HS512", key=SECRET * 2): "its algorithm is not one that is accepted",
        signed(key="another secret that nobody here knows"): "its signature is not right",
        signed(RSA, "RS256"): "its algorithm is not one that is accepted",
        signed(without="exp"): "it lacks the claim exp",
        signed(exp=now - 3600): "it has expired",
        signed(exp="soon"): "it is malformed",
        signed(exp=1e400): "it is malformed",
        signed(nbf=now + 3600): "it is not valid yet",
        signed(aud="somebody else"): "it is for another audience",
        signed(without="aud"): "it lacks the claim aud",
        "a.b.c": "it is malformed",
        "..": "it is malformed",
        forged({"alg": "HS256"}) + "x" * 20_000: "it is too long",
        base64.urlsafe_b64encode(b"[" * 9000).decode() + ".e30.x": "it is malformed",
    }
    for token, why in cases.items():
        assert problem(shared.get("/try/read", token)) == refused(why), why


def test_clocks_may_differ_by_the_leeway(make_doors: Callable[..., Doors]) -> None:
    """A token that has just expired is accepted, one that expired earlier is not."""
    door = make_doors(jwt=settings(leeway_s=600))
    assert door.get("/try/read", signed(exp=int(time.time()) - 300)).status_code == 200
    assert problem(door.get("/try/read", signed(exp=int(time.time()) - 900))) == refused("it has expired")


def test_longest_lifetime_is_kept(make_doors: Callable[..., Doors]) -> None:
    """A token that is good for years is as bad as one that never expires; without iat nobody knows."""
    door = make_doors(jwt=settings(max_lifetime_s=300))
    now = int(time.time())
    assert door.get("/try/read", signed(iat=now, exp=now + 300)).status_code == 200
    assert problem(door.get("/try/read", signed(iat=now, exp=now + 301))) == refused("it is good for longer than 300 s")
    assert problem(door.get("/try/read", signed(without="iat"))) == refused("it lacks the claim iat")


def test_issuer_is_looked_at_where_it_is_set(make_doors: Callable[..., Doors]) -> None:
    """Another one, or none, is refused."""
    door = make_doors(jwt=settings(issuer="shop.example"))
    assert door.get("/try/read", signed(iss="shop.example")).status_code == 200
    assert problem(door.get("/try/read", signed(iss="evil.example"))) == refused("it is of another issuer")
    assert problem(door.get("/try/read", signed())) == refused("it lacks the claim iss")


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA")])
def test_public_key_checks_tokens(make_doors: Callable[..., Doors], key: Any, algorithm: str) -> None:
    """Of the algorithm that is pinned; one signed with the public key itself as a secret is refused."""
    door = make_doors(jwt=settings(secret=None, public_key=pem(key), algorithms=[algorithm]))
    assert door.get("/try/read", signed(key, algorithm)).status_code == 200
    head = {"alg": "HS256", "typ": "JWT"}
    body = forged(head).rpartition(".")[0]
    signature = jwt.get_algorithm_by_name("HS256").sign(body.encode(), pem(key).encode())
    token = f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert problem(door.get("/try/read", token)) == refused("its algorithm is not one that is accepted")
    token = f"{forged({**head, 'alg': algorithm}).rpartition('.')[0]}.{token.rpartition('.')[2]}"
    assert problem(door.get("/try/read", token)) == refused("its signature is not right")


def test_public_key_may_be_a_file(make_doors: Callable[..., Doors], tmp_path: Path) -> None:
    """Its name is taken from the folder of dayfold.toml."""
    (tmp_path / "product.pem").write_text(pem(RSA))
    door = make_doors(jwt=settings(secret=None, public_key=str(tmp_path / "product.pem"), algorithms=["RS256"]))
    assert door.get("/try/read", signed(RSA, "RS256")).status_code == 200


def test_without_settings_no_jwt_is_accepted(door: Doors) -> None:
    """It is a token that nobody knows, as any other."""
    assert problem(door.get("/try/read", signed()))[2] == "The token is not known, or it has expired or was revoked."


private = RSA.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
SECRETS, PUBLICS = "HS256, HS384, HS512", "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA"
MISTAKES = {
    "no key": (
        {"secret": None},
        "auth.jwt: expected one of secret, public_key and jwks_url, got none.\n"
        "  A secret that both sides know, or the key that only your product can sign with.",
    ),
    "two keys": (
        {"public_key": pem(RSA)},
        "auth.jwt: expected one of secret, public_key and jwks_url, got secret, public_key.\n"
        "  A secret that both sides know, or the key that only your product can sign with.",
    ),
    "no algorithm": (
        {"algorithms": []},
        f"auth.jwt.algorithms: expected some of {SECRETS}, which fit secret; got none.\n"
        '  Name those that your product signs with: algorithms = ["HS256"]',
    ),
    "none": (
        {"algorithms": ["HS256", "none"]},
        f"auth.jwt.algorithms: expected some of {SECRETS}, which fit secret; got none.\n"
        '  Name those that your product signs with: algorithms = ["HS256"]',
    ),
    "a secret's algorithm for a public key": (
        {"secret": None, "public_key": pem(RSA), "algorithms": ["RS256", "HS256"]},
        f"auth.jwt.algorithms: expected some of {PUBLICS}, which fit public_key; got HS256.\n"
        '  Name those that your product signs with: algorithms = ["RS256"]',
    ),
    "a public key's algorithm for a secret": (
        {"algorithms": ["RS256"]},
        f"auth.jwt.algorithms: expected some of {SECRETS}, which fit secret; got RS256.\n"
        '  Name those that your product signs with: algorithms = ["HS256"]',
    ),
    "a public key as the secret": (
        {"secret": pem(RSA)},
        "auth.jwt.secret is a key in PEM, which is public or another kind of secret.\n"
        "  Put a public key into auth.jwt.public_key.",
    ),
    "a short secret": (
        {"secret": "short"},
        "auth.jwt.secret: expected 32 bytes or more for HS256, got 5.\n"
        "  Make one: python -c 'import secrets; print(secrets.token_urlsafe(64))'",
    ),
    "no audience": (
        {"audience": None},
        "auth.jwt.audience is needed: tokens that are made for somebody else are refused by it.\n"
        '  Write what your product puts into aud, such as audience = "dayfold".',
    ),
    "no rows": (
        {"claims": {}},
        "auth.jwt.claims.rows is needed: it says which claim limits which key column.\n"
        '  Write rows = { shop_id = "shop" }, or rows = {} for tokens that see all rows.',
    ),
    "an unknown key column": (
        {"claims": {"rows": {"shp": "shop"}}},
        "No rollup has a key column 'shp' for auth.jwt.claims.rows; the nearest is 'shop'.\n"
        "  Key columns: shop, country",
    ),
    "no such file": (
        {"secret": None, "public_key": "nowhere.pem", "algorithms": ["RS256"]},
        "auth.jwt.public_key is neither a key in PEM nor a file that can be read.\n"
        "  Write the PEM text, or a file's name, from the folder of dayfold.toml.",
    ),
    "a private key": (
        {"secret": None, "public_key": private, "algorithms": ["RS256"]},
        "auth.jwt.public_key is no public key for RS256.\n"
        "  Put the public half there, in PEM, of the kind that the algorithms sign with.",
    ),
    "a key of another kind": (
        {"secret": None, "public_key": pem(EC), "algorithms": ["RS256"]},
        "auth.jwt.public_key is no public key for RS256.\n"
        "  Put the public half there, in PEM, of the kind that the algorithms sign with.",
    ),
    "no address": (
        {"secret": None, "jwks_url": "file:///keys", "algorithms": ["RS256"]},
        "auth.jwt.jwks_url: expected an address that begins with https://.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_settings_that_do_not_fit_together_are_refused(make_doors: Callable[..., Doors], case: str) -> None:
    """Before the server listens, with what was expected; a secret is never repeated."""
    more, message = MISTAKES[case]
    with pytest.raises(ConfigError) as error:
        make_doors(jwt=settings(**more))
    assert str(error.value) == message
