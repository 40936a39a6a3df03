"""Tokens, users and the first start through the real command line, and a server that they come to."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.acceptance.command import COMMAND, LIMIT_S, dayfold, environment, fails, succeeds
from tests.acceptance.serving import served
from tests.sql import run_sql

PASSWORD = "four words are enough"


def with_input(text: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that reads a password from standard input."""
    return subprocess.run(
        [*COMMAND, *words], cwd=cwd, env=environment(), input=text, capture_output=True, text=True, timeout=LIMIT_S
    )


@pytest.fixture
def project(tmp_path: Path, postgres_url: str) -> Path:
    """Definitions over a PostgreSQL store, which other processes may write to while a server runs."""
    (tmp_path / "metrics.py").write_text(
        "from dayfold import Count, Rollup, Table\n\n\n"
        "class Visits(Rollup):\n"
        '    """Visits of one shop."""\n\n'
        '    key = "shop"\n'
        '    visits = Count(Table(sql="select 42 as shop, timestamptz \'2026-01-01 10:00:00+00\' as made"), at="made")\n'
    )
    (tmp_path / "dayfold.toml").write_text(f'[store]\nurl = "{postgres_url}"\n')
    return tmp_path


def test_token_is_shown_once_and_its_hash_is_kept(shop: Path) -> None:
    """The secret alone goes to standard output, so that a script can take it; the list never has it."""
    done = succeeds("token", "create", "dashboards", "--kind", "read", cwd=shop)
    secret = done.out.strip()
    assert secret.startswith("dfk_")
    words = succeeds("token", "list", "--json", cwd=shop).json
    [token] = words["tokens"]
    assert done.err == f"Keep it: it is not shown again. Its id is {token['id']}.\n"
    assert token.pop("created_by").startswith("command")
    assert token == {
        "id": token["id"], "name": "dashboards", "kind": "read", "state": "valid", "rollups": None, "rows": {},
        "created_at": "2026-01-10T12:00:00Z", "expires_at": None, "revoked_at": None,
    }  # fmt: skip
    assert secret not in str(run_sql(f"duckdb:///{shop / 'dayfold.duckdb'}", "SELECT * EXCLUDE (created_at, expires_at, "
                                     "revoked_at) FROM dayfold__tokens"))  # fmt: skip


def test_token_is_listed_with_what_it_sees_and_revoked(shop: Path) -> None:
    """Its rollups and rows in one line; its state says whether it still lets in."""
    made = succeeds(
        "token", "create", "embed", "--kind", "read", "--rollup", "shop_daily", "--rows", "shop_id=42,43", "--rows",
        "country:none", "--expires", "2026-01-31", "--json", cwd=shop,
    ).json  # fmt: skip
    assert set(made) == {"id", "name", "token"}
    lines = succeeds("token", "list", cwd=shop).out.splitlines()
    assert [line.split(maxsplit=3) for line in lines[-1:]] == [
        [made["id"], "embed", "read", "see ShopDaily where country is none, shop_id is 42 or 43   2026-01-10T12:00:00Z   "
         "2026-02-01T00:00:00Z   valid"],
    ]  # fmt: skip
    assert (
        succeeds("token", "list", cwd=shop, env={"DAYFOLD_NOW": "2026-02-01T00:00:00+00:00"}).out.split()[-1]
        == "expired"
    )
    assert succeeds("token", "revoke", "embed", cwd=shop).out == f"embed ({made['id']}): revoked\n"
    assert succeeds("token", "revoke", made["id"], "--json", cwd=shop).json == {"revoked": [made["id"]]}
    assert succeeds("token", "list", cwd=shop).out.split()[-1] == "revoked"
    assert fails("token", "revoke", "embbed", cwd=shop, status=2) == (
        "There is no token 'embbed'; the nearest is 'embed'.\n  Tokens: embed"
    )


def test_nothing_to_list_is_said(shop: Path) -> None:
    """In words."""
    assert succeeds("token", "list", cwd=shop).out == "There is no token.\n"
    assert succeeds("user", "list", cwd=shop).out == "There is no user.\n"


def test_user_is_added_with_a_password_from_standard_input(shop: Path) -> None:
    """Listed without it, given another one, and removed."""
    done = with_input(f"{PASSWORD}\n", "user", "add", "anna", "--kind", "read", "--rows", "shop_id=", cwd=shop)
    assert (done.returncode, done.stdout, done.stderr) == (0, "anna may sign in.\n", "")
    [user] = succeeds("user", "list", "--json", cwd=shop).json["users"]
    assert user == {
        "name": "anna", "kind": "read", "rollups": None, "rows": {"shop_id": [None]},
        "created_at": "2026-01-10T12:00:00Z", "changed_at": "2026-01-10T12:00:00Z",
    }  # fmt: skip
    assert "everything where shop_id is NULL" in succeeds("user", "list", cwd=shop).out
    again = with_input(PASSWORD, "user", "add", "anna", cwd=shop)
    assert (again.returncode, again.stderr) == (
        2, "There is a user 'anna' already.\n  Change the password: dayfold user password anna; or remove the user first.\n",
    )  # fmt: skip
    short = with_input("short", "user", "password", "anna", cwd=shop)
    assert (short.returncode, short.stderr) == (
        2, "A password has 10 to 1,000 letters, got 5.\n  Take a longer one, such as four words.\n",
    )  # fmt: skip
    other = with_input("another long password", "user", "password", "anna", cwd=shop)
    assert other.stdout == "anna has another password, and is signed out everywhere.\n"
    assert succeeds("user", "remove", "anna", cwd=shop).out == "anna may sign in no more.\n"
    assert fails("user", "remove", "anna", cwd=shop, status=2) == "There is no user 'anna'.\n  Users: none"


def test_password_is_asked_for_twice_on_a_terminal_and_not_shown(shop: Path) -> None:
    """As people know it."""
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "user", "add", "anna"], cwd=shop, env=environment(), stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        for prompt in (b"Password: ", b"Repeat for confirmation: "):
            while not shown.endswith(prompt):
                shown += os.read(mine, 1000)
            os.write(mine, f"{PASSWORD}\n".encode())
        out, _ = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
        os.close(mine)
    assert out == b"anna may sign in.\n"
    assert PASSWORD.encode() not in shown


def test_first_start_listens_to_this_machine_only_and_signs_in_once(shop: Path) -> None:
    """The link that is printed makes an administrator of one browser; nobody is let in without."""
    with served(cwd=shop) as server:
        assert server.url.startswith("http://127.0.0.1:")
        login = server.words["login_url"]
        assert login.startswith(f"{server.url}/sign-in?code=")
        with httpx.Client(base_url=server.url) as browser:
            assert browser.get("/v1/me").status_code == 401
            assert browser.get(login).status_code == 303
            assert browser.get("/v1/me").json()["name"] == "user first-start"
        assert httpx.get(login).json()["detail"] == "This link was used before, or is older than 15 minutes."


@pytest.mark.parametrize(("trusted", "secure"), [('["127.0.0.1"]', True), ("[]", False)])
def test_only_trusted_proxies_say_how_a_request_came(shop: Path, trusted: str, secure: bool) -> None:
    """By HTTPS the cookie is marked so; an address that nobody trusts is not believed."""
    with served(cwd=shop, env={"DAYFOLD_AUTH__TRUSTED_PROXIES": trusted}) as server:
        answer = httpx.get(
            server.words["login_url"], headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.1"}
        )
        assert ("; Secure" in answer.headers["set-cookie"]) is secure


@pytest.mark.parametrize("how", ["option", "setting"])
def test_first_start_refuses_to_listen_elsewhere(shop: Path, how: str) -> None:
    """An open address without anybody who may come in is a mistake; the message says what to make."""
    words = ("--host", "0.0.0.0") if how == "option" else ()
    env = {} if how == "option" else {"DAYFOLD_SERVE__HOST": "0.0.0.0"}
    assert fails("serve", "--port", "0", *words, cwd=shop, status=2, env=env) == (
        "Dayfold does not listen at 0.0.0.0 while nobody may come in: there is no token, user, JWT or OIDC.\n"
        "  Make one first: dayfold user add NAME, or dayfold token create NAME --kind read. Without an address it listens "
        "at 127.0.0.1."
    )


def test_with_a_token_the_server_listens_everywhere(shop: Path) -> None:
    """And prints no link; an expired or revoked token does not count."""
    secret = succeeds("token", "create", "ops", "--kind", "admin", "--expires", "1d", cwd=shop).out.strip()
    with served(cwd=shop) as server:
        assert server.words == {"url": server.url}
        assert server.url.startswith("http://0.0.0.0:")
        address = server.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{address}/v1/me", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    with served("--host", "127.0.0.1", cwd=shop, env={"DAYFOLD_NOW": "2026-01-12T00:00:00+00:00"}) as server:
        assert "login_url" in server.words


def test_settings_that_do_not_fit_together_keep_the_server_from_starting(shop: Path) -> None:
    """With what was expected, before it listens."""
    (shop / "dayfold.toml").write_text((shop / "dayfold.toml").read_text() + '\n[auth.jwt]\nalgorithms = ["RS256"]\n')
    assert fails("serve", "--port", "0", cwd=shop, status=2) == (
        "auth.jwt: expected one of secret, public_key and jwks_url, got none.\n"
        "  A secret that both sides know, or the key that only your product can sign with."
    )


def test_token_revoked_while_serving_stops_at_the_next_request(project: Path) -> None:
    """By another process over the same store; and a user that is removed is out."""
    secret = succeeds("token", "create", "ops", "--kind", "admin", cwd=project).out.strip()
    with_input(PASSWORD, "user", "add", "anna", cwd=project)
    with served("--host", "127.0.0.1", cwd=project) as server, httpx.Client(base_url=server.url) as browser:
        signed = browser.post("/sign-in", data={"name": "anna", "password": PASSWORD})
        assert signed.status_code == 303
        ask: list[Callable[[], int]] = [
            lambda: httpx.get(f"{server.url}/v1/me", headers={"Authorization": f"Bearer {secret}"}).status_code,
            lambda: browser.get("/v1/me").status_code,
        ]
        assert [one() for one in ask] == [200, 200]
        succeeds("token", "revoke", "ops", cwd=project)
        succeeds("user", "remove", "anna", cwd=project)
        assert [one() for one in ask] == [401, 401]


def test_rebuild_and_heal_stand_in_the_audit_table(folded: Path) -> None:
    """With how they ended; a dry run and a verification without healing change nothing and do not."""
    span = ("--from", "2026-01-01", "--to", "2026-01-02")
    succeeds("rebuild", "ShopDaily", *span, "--dry-run", cwd=folded)
    succeeds("rebuild", "ShopDaily", *span, cwd=folded)
    dayfold("rebuild", "ShopDail", *span, cwd=folded)
    succeeds("verify", "ShopDaily", *span, cwd=folded)
    succeeds("verify", "ShopDaily", *span, "--heal", cwd=folded)
    found = run_sql(
        f"duckdb:///{folded / 'dayfold.duckdb'}", "SELECT action, target, outcome FROM dayfold_audit ORDER BY id"
    )
    assert found == [("rebuild", "ShopDaily", "ok"), ("rebuild", "ShopDail", "refused"), ("heal", "ShopDaily", "ok")]
