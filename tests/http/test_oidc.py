"""Sign-in with an OpenID Connect provider, against a real little one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from dayfold.errors import ConfigError
from tests.http.doors import Doors, problem
from tests.http.provider import CLIENT, KEY, KEY_ID, SECRET, Provider

PUBLIC_URL = "https://metrics.example.com"
RIGHTS = {
    "owners": {"kind": "admin"},
    "analysts": {"kind": "read", "rollups": ["visits"], "rows": {"shop": ["42", "43"]}},
    "shops": {"kind": "read", "row_claims": {"shop": "shop_ids"}},
}


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider that answers."""
    with Provider() as one:
        yield one


def settings(provider: Provider, **more: Any) -> dict[str, Any]:
    return {"issuer": provider.issuer, "client_id": CLIENT, "client_secret": SECRET, "rights": RIGHTS} | more


@pytest.fixture
def door(make_doors: Callable[..., Doors], provider: Provider) -> Doors:
    """An application that signs people in through the provider."""
    return make_doors(public_url=PUBLIC_URL, oidc=settings(provider))


def come_back(door: Doors, provider: Provider, browser: Any = None, onward: str = "/dash", **bent: str) -> Any:
    """Go to the provider, agree there, and come back."""
    browser = browser or door.browser()
    sent = browser.get(f"/sign-in/oidc?next={onward}")
    assert sent.status_code == 303
    return browser.get("/sign-in/oidc/return", params=provider.agree(sent.headers["location"]) | bent)


def refused(why: str) -> tuple[int, str, str, str]:
    return 401, "unauthenticated", f"Nobody was signed in: {why}.", "Begin again: /sign-in"


def test_person_of_the_provider_is_signed_in(door: Doors, provider: Provider) -> None:
    """With the rights of the first value that the settings name, by the code flow with PKCE."""
    browser = door.browser()
    answer = come_back(door, provider, browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/dash")
    assert browser.get("/try/read").json() == {
        "name": "user anna@example.com", "rollups": ["Visits"], "rows": {"shop": ["42", "43"]},
    }  # fmt: skip
    assert "dayfold_oidc" not in browser.cookies
    assert 'href="/sign-in/oidc?next=/"' in door.browser().get("/sign-in").text


def test_rights_go_by_the_claim(door: Doors, provider: Provider) -> None:
    """The first right in the settings counts; rows may come from a claim; without a right nobody comes in."""
    seen = {}
    for groups in (["owners", "analysts"], "analysts", ["shops"]):
        provider.claims = {"groups": groups, "shop_ids": [7, "8"], "email": None}
        browser = door.browser()
        assert come_back(door, provider, browser).status_code == 303
        words = browser.get("/v1/me").json()
        seen[str(groups)] = (words["name"], words["rights"][0], words["rows"])
    assert seen == {
        "['owners', 'analysts']": ("user 248289761001", "admin", {}),
        "analysts": ("user 248289761001", "read", {"shop": ["42", "43"]}),
        "['shops']": ("user 248289761001", "read", {"shop": ["7", "8"]}),
    }
    for claims in ({"groups": ["others"]}, {"groups": None}, {"groups": []}):
        provider.claims = claims
        assert problem(come_back(door, provider)) == refused("this account has no rights here")
    provider.claims = {"groups": ["shops"]}
    assert problem(come_back(door, provider))[2] == "The token lacks the claim 'shop_ids'."


STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_id_token_that_is_not_right_is_refused(door: Doors, provider: Provider) -> None:
    """Another signature, algorithm, audience, issuer, application or sign-in; expired; without its subject."""
    now = int(time.time())
    accepted = "The token is not accepted: "
    cases: list[tuple[dict[str, Any], str]] = [
        ({"claims": {"aud": "another"}}, f"{accepted}it is for another audience."),
        ({"claims": {"aud": [CLIENT, "another"]}}, "Nobody was signed in: the id_token is for another application."),
        ({"claims": {"azp": "another"}}, "Nobody was signed in: the id_token is for another application."),
        ({"claims": {"iss": "https://evil.example"}}, f"{accepted}it is of another issuer."),
        ({"claims": {"nonce": "another"}}, "Nobody was signed in: the id_token is of another sign-in."),
        ({"claims": {"nonce": None}}, "Nobody was signed in: the id_token is of another sign-in."),
        ({"claims": {"exp": now - 60}}, f"{accepted}it has expired."),
        ({"claims": {"exp": None}}, f"{accepted}it lacks the claim exp."),
        ({"claims": {"sub": None}}, f"{accepted}it lacks the claim sub."),
        ({"key": STRANGER}, f"{accepted}its signature is not right."),
        ({"key": None, "algorithm": "none"}, f"{accepted}its algorithm is not one that is accepted."),
        ({"key": SECRET * 2, "algorithm": "HS256"}, f"{accepted}its algorithm is not one that is accepted."),
    ]
    for bent, message in cases:
        for name, value in ({"claims": {}, "key": KEY, "algorithm": "RS256"} | bent).items():
            setattr(provider, name, value)
        answer = come_back(door, provider)
        assert problem(answer)[:3] == (401, "unauthenticated", message)
        assert "dayfold_session" not in answer.headers["set-cookie"]


def test_answer_to_another_browser_is_refused(door: Doors, provider: Provider) -> None:
    """The state belongs to the browser that began, so nobody is signed in by a link; a cookie made by hand is none."""
    why = "the answer is not to the sign-in that this browser began"
    assert problem(come_back(door, provider, state="another")) == refused(why)
    began, other = door.browser(), door.browser()
    words = provider.agree(began.get("/sign-in/oidc").headers["location"])
    assert problem(other.get("/sign-in/oidc/return", params=words)) == refused(why)
    other.get("/sign-in/oidc")
    assert problem(other.get("/sign-in/oidc/return", params=words)) == refused(why)
    made = door.browser(cookies={"dayfold_oidc": f"{began.cookies['dayfold_oidc'].partition('.')[0]}x.y"})
    assert problem(made.get("/sign-in/oidc/return", params=words)) == refused(why)


def test_code_serves_once(door: Doors, provider: Provider) -> None:
    """The provider takes no code twice, and neither does the browser's cookie last."""
    browser = door.browser()
    words = provider.agree(browser.get("/sign-in/oidc").headers["location"])
    cookie = browser.cookies["dayfold_oidc"]
    assert browser.get("/sign-in/oidc/return", params=words).status_code == 303
    again = door.browser(cookies={"dayfold_oidc": cookie})
    assert problem(again.get("/sign-in/oidc/return", params=words)) == refused(
        "the provider gave no id_token for the code"
    )


def test_answer_after_ten_minutes_is_refused(door: Doors, provider: Provider) -> None:
    """A sign-in that was left open is begun anew."""
    browser = door.browser()
    words = provider.agree(browser.get("/sign-in/oidc").headers["location"])
    door.later(minutes=10, seconds=1)
    assert problem(browser.get("/sign-in/oidc/return", params=words)) == refused("it took longer than 10 minutes")


def test_refusal_of_the_provider_is_told(door: Doors, provider: Provider) -> None:
    """By its code, where it is one; never text that somebody put into the address. As a page for a browser."""
    assert problem(come_back(door, provider, error="access_denied")) == refused("the provider says access_denied")
    assert problem(come_back(door, provider, error="<b>Hi")) == refused("the provider refused")
    assert problem(come_back(door, provider, code="")) == refused("the provider refused")
    assert problem(come_back(door, provider, iss="https://evil.example")) == refused(
        "the answer comes from another provider"
    )
    page = come_back(door, provider, door.browser(headers={"Accept": "text/html"}), error="access_denied")
    assert page.status_code == 401
    assert "Nobody was signed in: the provider says access_denied. Begin again: /sign-in" in page.text


def test_sign_in_leads_to_own_paths_only(door: Doors, provider: Provider) -> None:
    """As with a password."""
    assert come_back(door, provider, onward="https://evil.example").headers["location"] == "/"


def test_provider_that_does_not_answer_is_named(door: Doors, provider: Provider) -> None:
    """A 503 that says where to look; and one that describes itself as another is not believed."""
    silent = (
        503, "connection-failed", f"The provider at {provider.issuer} does not answer as one.",
        "Look at it, and at [auth.oidc].",
    )  # fmt: skip
    provider.described = {"token_endpoint": None}
    assert problem(door.browser().get("/sign-in/oidc")) == silent
    for described in ({"issuer": "https://evil.example"}, {"token_endpoint": "http://evil.example/token"}):
        provider.described = described
        assert problem(door.browser().get("/sign-in/oidc")) == (
            503, "connection-failed", f"The provider at {provider.issuer} describes itself as another one.",
            "Look at [auth.oidc] issuer.",
        )  # fmt: skip
    provider.described = {}
    assert door.browser().get("/sign-in/oidc").status_code == 303
    browser = door.browser()
    words = provider.agree(browser.get("/sign-in/oidc").headers["location"])
    provider.end()
    assert problem(browser.get("/sign-in/oidc/return", params=words)) == silent


def test_secrets_of_a_sign_in_stay_on_the_server(door: Doors) -> None:
    """Neither the cookie nor the address holds the verifier that the code is exchanged with."""
    browser = door.browser()
    state = browser.get("/sign-in/oidc").headers["location"].partition("state=")[2].partition("&")[0]
    assert door.service.oidc is not None
    assert door.service.oidc._derived("verifier", state) not in str(browser.cookies)


def test_published_keys_check_the_tokens_of_a_product(make_doors: Callable[..., Doors], provider: Provider) -> None:
    """`jwks_url` of [auth.jwt]: keys by their id; one that is not published is refused, and no answer is a 503."""
    door = make_doors(
        jwt={
            "jwks_url": f"{provider.issuer}/keys", "algorithms": ["RS256"], "audience": "dayfold",
            "claims": {"rows": {"shop": "shop_id"}},
        }
    )  # fmt: skip
    claims = {"aud": "dayfold", "exp": int(time.time()) + 60, "shop_id": 42}
    good = jwt.encode(claims, KEY, "RS256", headers={"kid": KEY_ID})
    assert door.get("/try/read", good).json()["rows"] == {"shop": ["42"]}
    stranger = jwt.encode(claims, STRANGER, "RS256", headers={"kid": "another"})
    assert problem(door.get("/try/read", stranger)) == (
        401, "unauthenticated", "The token is not accepted: it is signed with a key that is not known.",
        "Have a new one signed.",
    )  # fmt: skip
    silent = make_doors(
        jwt={
            "jwks_url": "http://127.0.0.1:9/keys",
            "algorithms": ["RS256"],
            "audience": "dayfold",
            "claims": {"rows": {}},
        }
    )
    assert problem(silent.get("/try/read", good)) == (
        503, "connection-failed", "The keys that tokens are signed with cannot be read.",
        "Look at the provider, and at its address.",
    )  # fmt: skip


PUBLICS = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA"
SHOWN = "The provider shows it where Dayfold is registered."
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "issuer": ({"issuer": None}, f"auth.oidc.issuer is needed.\n  {SHOWN}"),
    "client_id": ({"client_id": None}, f"auth.oidc.client_id is needed.\n  {SHOWN}"),
    "client_secret": ({"client_secret": None}, f"auth.oidc.client_secret is needed.\n  {SHOWN}"),
    "plain issuer": (
        {"issuer": "http://login.example"}, "auth.oidc.issuer: expected an address that begins with https://.",
    ),
    "algorithms": (
        {"algorithms": ["HS256"]}, f"auth.oidc.algorithms: expected some of {PUBLICS}; got HS256.",
    ),
    "rights": (
        {"rights": {}},
        "auth.oidc.rights is needed: without it nobody may come in.\n"
        '  Give each value of the claim groups its rights: [auth.oidc.rights.analysts] kind = "read"',
    ),
    "rows of an administrator": (
        {"rights": {"owners": {"kind": "admin", "rows": {"shop": ["1"]}}}},
        "auth.oidc.rights.owners: only the kind 'read' has rollups and rows, got 'admin'.",
    ),
    "rollup": (
        {"rights": {"owners": {"kind": "read", "rollups": ["Visit"]}}},
        "auth.oidc.rights.owners: There is no rollup 'Visit'; the nearest is 'Visits'.\n  Rollups: Visits, Sales",
    ),
    "key": (
        {"rights": {"owners": {"kind": "read", "row_claims": {"shp": "shop"}}}},
        "No rollup has a key column 'shp' for auth.oidc.rights.owners; the nearest is 'shop'.\n"
        "  Key columns: shop, country",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_settings_that_do_not_fit_together_are_refused(
    make_doors: Callable[..., Doors], provider: Provider, case: str
) -> None:
    """Before the server listens."""
    more, message = MISTAKES[case]
    with pytest.raises(ConfigError) as error:
        make_doors(public_url=PUBLIC_URL, oidc=settings(provider, **more))
    assert str(error.value) == message


def test_public_address_is_needed(make_doors: Callable[..., Doors], provider: Provider) -> None:
    """Where people come back to is never taken from a request."""
    with pytest.raises(ConfigError) as error:
        make_doors(oidc=settings(provider))
    assert str(error.value) == (
        "auth.public_url: expected an address that begins with https://.\n"
        "  Browsers come back to it: register /sign-in/oidc/return behind it at the provider."
    )
