"""Sign-in with a browser: cookies, CSRF, throttling, one-time links."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dayfold.errors import Conflict
from dayfold.ledger import passwords, tries, users
from tests.http.doors import HOST, Doors, csrf_of, problem

PASSWORD = "four words are enough"
WRONG = (
    401,
    "unauthenticated",
    "The name or the password is not right.",
    "After 5 tries a name has to wait for 15 minutes.",
)
TOO_MANY = (429, "too-many", "There were too many tries to sign in.", "Wait as many seconds as Retry-After says.")
NO_CSRF = (
    403, "forbidden", "This change came without the CSRF token of the session.", "Send it as X-CSRF-Token; GET /v1/me has it.",
)  # fmt: skip
OTHER_SITE = (
    403, "forbidden", "This change came from a page of another site.",
    "Open Dayfold at its own address; behind a proxy, name it in [auth] public_url.",
)  # fmt: skip
ENDED = (401, "unauthenticated", "The session has ended.", "Sign in again: /sign-in")
USED = (
    401, "unauthenticated", "This link was used before, or is older than 15 minutes.",
    "Start `dayfold serve` again for a new one, or make a user: dayfold user add NAME",
)  # fmt: skip


def sign_in(browser: Any, name: str = "anna", password: str = PASSWORD, **more: Any) -> Any:
    return browser.post("/sign-in", data={"name": name, "password": password, **more.pop("fields", {})}, **more)


@pytest.fixture
def anna(doors: Doors) -> Doors:
    """An application with an administrator, on each engine."""
    doors.app.accounts.add_user("anna", PASSWORD)
    return doors


@pytest.fixture
def only_anna(door: Doors) -> Doors:
    """An application with an administrator, on DuckDB."""
    door.app.accounts.add_user("anna", PASSWORD)
    return door


def test_password_opens_a_session(anna: Doors) -> None:
    """A cookie that scripts cannot read lets the browser in, with the user's rights; the store has its digest only."""
    browser = anna.browser()
    answer = sign_in(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    secret = browser.cookies["dayfold_session"]
    assert cookie == f"dayfold_session={secret}; HttpOnly; Max-Age=43200; Path=/; SameSite=lax"
    me = browser.get("/v1/me").json()
    assert me.pop("csrf_token")
    assert me == {
        "name": "user anna",
        "rights": ["admin", "cron", "jobs", "read", "track"],
        "rollups": None,
        "rows": {},
    }
    assert browser.get("/try/read").status_code == 200
    [row] = anna.stored("select digest, origin, username from dayfold__sessions")
    assert row == (hashlib.sha256(b"session " + secret.encode()).hexdigest(), "password", "anna")


def test_password_is_kept_as_scrypt_with_its_parameters(only_anna: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hashes of one password differ, and harder parameters of tomorrow leave today's hashes good."""
    first, second = passwords.hashed("the same password"), passwords.hashed("the same password")
    assert first != second
    assert first.startswith("scrypt$16$8$3$")
    monkeypatch.setattr(passwords, "_N", 2**5)
    assert passwords.fits("the same password", first)
    assert not passwords.fits("another password", first)
    assert sign_in(only_anna.browser()).status_code == 303


def test_user_sees_what_their_scope_says(door: Doors) -> None:
    """A session carries the user's kind and rows."""
    door.app.accounts.add_user("ben", PASSWORD, "read", rollups=["Visits"], rows=["shop=42"])
    browser = door.browser()
    sign_in(browser, "ben")
    assert browser.get("/try/read").json() == {"name": "user ben", "rollups": ["Visits"], "rows": {"shop": ["42"]}}
    assert problem(browser.get("/try/admin")) == (
        403, "forbidden", "user ben may not do this: it takes the right 'admin'.",
        "Make a token for it: dayfold token create NAME --kind admin",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("anna", "wrong"),
        ("anna", ""),
        ("anna", PASSWORD + "x" * 2000),
        ("ben", PASSWORD),
        ("", ""),
        ("' or 1=1 --", "x"),
    ],
)
def test_wrong_password_and_unknown_name_are_told_alike(only_anna: Doors, name: str, password: str) -> None:
    """In the same words, by the same status, without a cookie."""
    answer = sign_in(only_anna.browser(), name, password)
    assert problem(answer) == WRONG
    assert "set-cookie" not in answer.headers


def test_unknown_name_costs_a_hash_as_well(only_anna: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an answer does not tell who has an account."""
    costs: list[tuple[int, int, int]] = []
    real = hashlib.scrypt

    def counted(password: bytes, *, n: int, r: int, p: int, **more: Any) -> bytes:
        costs.append((n, r, p))
        return real(password, n=n, r=r, p=p, **more)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    for name in ("anna", "nobody"):
        sign_in(only_anna.browser(), name, "wrong")
    assert costs == [(16, 8, 3), (16, 8, 3)]


def test_browser_is_answered_with_a_page(only_anna: Doors) -> None:
    """The page has labels, says what was wrong, loads nothing and runs no script; what was typed is not repeated."""
    browser = only_anna.browser(headers={"Accept": "text/html"})
    page = browser.get("/sign-in?next=/dash%22%3E")
    assert page.status_code == 200
    assert '<label for="password">' in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "same-origin"
    refused = sign_in(browser, "<b>", "wrong")
    assert refused.status_code == 401
    assert (
        '<p role="alert">The name or the password is not right. After 5 tries a name has to wait for 15 minutes.</p>'
        in refused.text
    )
    assert "<b>" not in refused.text


@pytest.mark.parametrize(
    ("onward", "leads_to"),
    [("/dash?a=1", "/dash?a=1"), ("//evil.example", "/"), ("https://evil.example", "/"), ("/\\evil", "/"),
     ("/a\r\nSet-Cookie: x=y", "/"), ("", "/")],
)  # fmt: skip
def test_sign_in_leads_to_own_paths_only(only_anna: Doors, onward: str, leads_to: str) -> None:
    """A link to the sign-in page cannot send people elsewhere."""
    assert sign_in(only_anna.browser(), fields={"next": onward}).headers["location"] == leads_to


def test_change_by_cookie_needs_the_csrf_token(anna: Doors) -> None:
    """As a header or a form's field; reading does not. A token of another session is none."""
    browser, other = anna.browser(), anna.browser()
    sign_in(browser)
    sign_in(other)
    token, foreign = (one.get("/v1/me").json()["csrf_token"] for one in (browser, other))
    assert problem(browser.post("/try/jobs")) == NO_CSRF
    assert problem(browser.post("/try/jobs", headers={"X-CSRF-Token": foreign})) == NO_CSRF
    assert problem(browser.post("/try/jobs", headers={"X-CSRF-Token": ""})) == NO_CSRF
    assert problem(browser.post("/try/jobs", data={"csrf_token": "x"})) == NO_CSRF
    assert problem(browser.post("/try/jobs", json={"csrf_token": token})) == NO_CSRF
    assert browser.post("/try/jobs", headers={"X-CSRF-Token": token}).status_code == 200
    assert browser.post("/try/jobs", data={"csrf_token": token}).status_code == 200
    assert browser.get("/try/jobs").status_code == 200


def test_change_by_token_needs_no_csrf_token(door: Doors) -> None:
    """A browser does not send a token by itself."""
    headers = {"Authorization": f"Bearer {door.token()}", "Origin": "https://evil.example"}
    assert door.browser().post("/try/jobs", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://metrics.test.evil.example", "http://metrics.test:81"]
)
def test_change_from_another_site_is_refused(only_anna: Doors, origin: str) -> None:
    """Also with the CSRF token, and signing in itself: nobody is signed in as somebody else by a page elsewhere."""
    browser = only_anna.browser()
    sign_in(browser, headers={"Origin": HOST})
    token = browser.get("/v1/me").json()["csrf_token"]
    assert problem(browser.post("/try/jobs", headers={"X-CSRF-Token": token, "Origin": origin})) == OTHER_SITE
    assert problem(sign_in(only_anna.browser(), headers={"Origin": origin})) == OTHER_SITE
    assert browser.post("/try/jobs", headers={"X-CSRF-Token": token, "Origin": HOST}).status_code == 200


def test_public_address_is_an_own_origin(make_doors: Callable[..., Doors]) -> None:
    """A proxy that passes another Host on is named in the settings."""
    door = make_doors(public_url="https://metrics.example.com")
    door.app.accounts.add_user("anna", PASSWORD)
    assert sign_in(door.browser(), headers={"Origin": "https://metrics.example.com"}).status_code == 303


def test_cookie_goes_by_https_only_where_the_request_did(make_doors: Callable[..., Doors]) -> None:
    """And where the settings say so; then its name keeps other hosts of the domain from setting it."""
    door = make_doors()
    door.app.accounts.add_user("anna", PASSWORD)
    answer = sign_in(door.browser(base_url="https://metrics.test"))
    assert answer.headers["set-cookie"].startswith("__Host-dayfold_session=")
    assert answer.headers["set-cookie"].endswith("; HttpOnly; Max-Age=43200; Path=/; SameSite=lax; Secure")
    planted = door.browser(base_url="https://metrics.test", cookies={"dayfold_session": "x"})
    assert problem(planted.get("/try/read"))[0] == 401
    door.app.settings.auth.secure_cookies = True
    assert "; Secure" in sign_in(door.browser()).headers["set-cookie"]


def test_sign_out_ends_the_session(anna: Doors) -> None:
    """With the CSRF token only; afterwards the cookie lets nobody in, wherever it was copied to."""
    browser = anna.browser()
    sign_in(browser)
    secret = browser.cookies["dayfold_session"]
    assert problem(browser.post("/sign-out")) == NO_CSRF
    page = browser.get("/sign-in")
    assert "You are signed in as anna." in page.text
    answer = browser.post("/sign-out", data={"csrf_token": csrf_of(page.text)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert 'dayfold_session=""; HttpOnly; Max-Age=0' in answer.headers["set-cookie"]
    copied = anna.browser(cookies={"dayfold_session": secret})
    assert problem(copied.get("/try/read")) == ENDED
    assert copied.post("/sign-out").status_code == 303


def test_session_ends_by_itself(anna: Doors) -> None:
    """After `[auth] session_hours`, whatever the browser thinks."""
    browser = anna.browser()
    sign_in(browser)
    anna.later(hours=12, seconds=-1)
    assert browser.get("/try/read").status_code == 200
    anna.later(seconds=1)
    assert problem(browser.get("/try/read")) == ENDED


@pytest.mark.parametrize("how", ["removed", "another password"])
def test_session_ends_with_its_user(anna: Doors, how: str) -> None:
    """At the next request; and a user of the same name who comes later does not inherit it."""
    browser = anna.browser()
    sign_in(browser)
    anna.later(seconds=1)
    if how == "removed":
        anna.app.accounts.remove_user("anna")
        assert problem(browser.get("/try/read")) == ENDED
        anna.app.accounts.add_user("anna", PASSWORD)
    else:
        anna.app.accounts.set_password("anna", "another password")
        assert problem(sign_in(anna.browser())) == WRONG
        assert sign_in(anna.browser(), password="another password").status_code == 303
    assert problem(browser.get("/try/read")) == ENDED


def test_session_made_before_the_password_changed_is_none_though_its_row_is_there(anna: Doors) -> None:
    """A sign-in that runs while the password is changed leaves a row; it lets nobody in."""
    browser = anna.browser()
    sign_in(browser)
    with anna.app.ledger.store.transaction() as session:
        session.execute("UPDATE dayfold__users SET changed_at = changed_at + INTERVAL '1' SECOND")
    assert problem(browser.get("/try/read")) == ENDED


def test_password_that_changes_beside_a_sign_in_stays_changed(anna: Doors) -> None:
    """A sign-in that looked before holds the user after it: it is refused, and the old password is not written back."""
    ledger = anna.app.ledger
    with ledger.store.transaction(read_only=True) as session:
        _, old = users.found(ledger, session, "anna")
    assert old is not None

    def begin() -> None:
        with ledger.store.transaction() as late:
            users.found(ledger, late, "anna")
            anna.app.accounts.set_password("anna", "another password")
            users.hold(ledger, late, "anna", old)

    with pytest.raises(Conflict):
        begin()
    assert sign_in(anna.browser(), password=PASSWORD).status_code == 401
    assert sign_in(anna.browser(), password="another password").status_code == 303


def test_password_that_changes_while_it_is_checked_opens_nothing(anna: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was right when it was read has to be right when the session begins."""
    real = passwords.fits

    def slow(password: str, kept: str | None) -> bool:
        found = real(password, kept)
        anna.app.accounts.set_password("anna", "another password")
        return found

    monkeypatch.setattr(passwords, "fits", slow)
    assert problem(sign_in(anna.browser())) == WRONG
    assert anna.stored("select digest from dayfold__sessions") == []


def test_secret_of_a_session_is_no_token_and_the_other_way_round(only_anna: Doors) -> None:
    """One kind of secret never serves as the other."""
    browser = only_anna.browser()
    sign_in(browser)
    assert problem(only_anna.get("/try/read", browser.cookies["dayfold_session"]))[0] == 401
    assert problem(only_anna.browser(cookies={"dayfold_session": only_anna.token()}).get("/try/read")) == ENDED


def test_header_counts_before_the_cookie(only_anna: Doors) -> None:
    """A bad token is refused though the browser is signed in."""
    browser = only_anna.browser()
    sign_in(browser)
    assert problem(browser.get("/try/read", headers={"Authorization": "Bearer dfk_x"}))[0] == 401


def test_cookie_triggers_no_job_of_outside_schedulers(only_anna: Doors) -> None:
    """Those answer to GET as well, which another site's link can send."""
    browser = only_anna.browser()
    sign_in(browser)
    assert problem(browser.get("/try/cron"))[:3] == (401, "unauthenticated", "This needs a token.")


def test_tries_of_one_name_are_limited(anna: Doors) -> None:
    """After five wrong passwords even the right one has to wait, from any address; so does a name that is not known."""
    for name in ("anna", "nobody"):
        for n in range(tries.USER_TRIES):
            anna.later(seconds=1)
            assert problem(sign_in(anna.browser(client=(f"10.0.0.{n}", 1)), name, "wrong")) == WRONG
        refused = sign_in(anna.browser(), name)
        assert problem(refused) == TOO_MANY
        assert refused.json()["retry_after_s"] == int(refused.headers["retry-after"]) == 15 * 60 - 3
    anna.later(minutes=15)
    assert sign_in(anna.browser()).status_code == 303


def test_tries_from_one_address_are_limited(only_anna: Doors) -> None:
    """Whatever names are tried; another address is not concerned. A page says so too."""
    here, there = {"client": ("10.0.0.1", 1)}, {"client": ("10.0.0.2", 1)}
    for n in range(tries.ADDRESS_TRIES):
        assert problem(sign_in(only_anna.browser(**here), f"user{n}", "wrong")) == WRONG
    refused = sign_in(only_anna.browser(**here), headers={"Accept": "text/html"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "901")
    assert "There were too many tries to sign in. Wait as many seconds as Retry-After says." in refused.text
    assert sign_in(only_anna.browser(**there)).status_code == 303


def test_who_signs_in_is_not_counted(only_anna: Doors) -> None:
    """People behind one address who know their passwords keep nobody out, and start anew with their own tries."""
    for n in range(30):
        only_anna.later(seconds=1)
        knows = n % 3 == 2 or n > 12
        answer = sign_in(only_anna.browser(), password=PASSWORD if knows else "wrong")
        assert answer.status_code == (303 if knows else 401)
    assert len(only_anna.stored("select subject from dayfold__tries")) == 9


def test_tries_at_once_are_limited_together(anna: Doors) -> None:
    """Twenty at the same time, as many replicas would bring them: no more than five passwords are looked at."""
    with ThreadPoolExecutor(20) as threads:
        statuses = list(threads.map(lambda _: sign_in(anna.browser(), "anna", "wrong").status_code, range(20)))
    assert set(statuses) <= {401, 429}
    assert statuses.count(401) <= tries.USER_TRIES


def test_what_was_typed_is_not_stored(only_anna: Doors) -> None:
    """A password in the field of the name stands neither among the tries nor in the audit table."""
    sign_in(only_anna.browser(), "my secret password", "x")
    rows = only_anna.stored("select subject from dayfold__tries") + only_anna.stored(
        "select actor, target from dayfold__audit"
    )
    assert "my secret" not in str(rows)


def test_link_signs_in_once(doors: Doors) -> None:
    """An administrator, by the first use only; the code itself is not stored."""
    code = doors.app.accounts.make_link()
    assert code not in str(doors.stored("select digest from dayfold__links"))
    browser = doors.browser()
    answer = browser.get(f"/sign-in?code={code}&next=/dash")
    assert (answer.status_code, answer.headers["location"]) == (303, "/dash")
    assert browser.get("/try/admin").json()["name"] == "user first-start"
    again = doors.browser().get(f"/sign-in?code={code}")
    assert problem(again) == USED
    assert "set-cookie" not in again.headers


def test_link_is_good_for_a_quarter_of_an_hour(doors: Doors) -> None:
    """Not a second longer, and a made-up one is good for nothing."""
    code = doors.app.accounts.make_link()
    doors.later(minutes=15)
    assert problem(doors.browser().get(f"/sign-in?code={code}")) == USED
    assert problem(doors.browser().get("/sign-in?code=x")) == USED


def test_link_used_by_many_at_once_signs_in_one(doors: Doors) -> None:
    """Who comes second is refused, however close."""
    code = doors.app.accounts.make_link()
    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(lambda _: doors.browser().get(f"/sign-in?code={code}").status_code, range(8)))
    assert sorted(statuses) == [303, *[401] * 7]


@pytest.mark.parametrize("body", [b"", b"name=%FF", b"name=a&" * 30, b"x" * 20_000])
def test_form_that_cannot_be_read_is_refused(only_anna: Doors, body: bytes) -> None:
    """With what was expected; it is never a fault of the server."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert only_anna.browser().post("/sign-in", content=body, headers=kind).status_code in (400, 401)
    assert problem(only_anna.browser().post("/sign-in", json={"name": "anna"})) == (
        400, "usage", "This needs a form of at most 16,384 bytes.", "Send it as application/x-www-form-urlencoded.",
    )  # fmt: skip


def test_there_is_no_provider_by_default(door: Doors) -> None:
    """The paths of OIDC say how it is switched on."""
    for path in ("/sign-in/oidc", "/sign-in/oidc/return"):
        assert problem(door.browser().get(path)) == (
            404, "unknown-name", "There is no provider to sign in with.", "Write [auth.oidc] in dayfold.toml.",
        )  # fmt: skip
