"""The secret of outside schedulers, and secrets in addresses."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from dayfold.errors import ConfigError
from dayfold.settings import load
from tests.http.doors import Doors, problem

SECRET = "the-secret-of-a-scheduler"
IN_ADDRESS = (
    400,
    "usage",
    "A secret was sent in the address, where logs keep it.",
    "Revoke it, and send the new one as a header: Authorization: Bearer …",
)


@pytest.fixture
def door(make_doors: Callable[..., Doors]) -> Doors:
    """An application that outside schedulers may come to."""
    return make_doors(cron_secret=SECRET)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_cron_secret_triggers(door: Doors, method: str) -> None:
    """By the header, on the routes for it; an administrator's token does as well."""
    for secret, name in ((SECRET, "cron"), (door.token(name="ops"), "token ops")):
        answer = door.browser().request(method, "/try/cron", headers={"Authorization": f"Bearer {secret}"})
        assert answer.json()["name"].startswith(name)


@pytest.mark.parametrize("right", ["read", "jobs", "admin", "track"])
def test_cron_secret_does_nothing_else(door: Doors, right: str) -> None:
    """It reads nothing and steers nothing."""
    kind = f"Make a token for it: dayfold token create NAME --kind {right}"
    assert problem(door.get(f"/try/{right}", SECRET)) == (
        403, "forbidden", f"cron may not do this: it takes the right '{right}'.", kind,
    )  # fmt: skip


def test_other_tokens_do_not_trigger(door: Doors) -> None:
    """Not even one that steers jobs."""
    made = door.app.accounts.create_token("ops", "jobs")
    assert problem(door.get("/try/cron", made.secret)) == (
        403, "forbidden", f"token ops ({made.id}) may not do this: it takes the right 'cron'.",
        "Send the secret of [auth] cron_secret, or the token of an administrator.",
    )  # fmt: skip
    assert problem(door.get("/try/cron", SECRET + "x"))[0] == 401
    assert problem(door.get("/try/cron", SECRET[:-1]))[0] == 401


def test_without_a_cron_secret_none_is_accepted(make_doors: Callable[..., Doors]) -> None:
    """An empty one is no secret."""
    door = make_doors()
    for header in ("Bearer ", "Bearer None", "Bearer"):
        assert door.browser().get("/try/cron", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("secret", ["guess me", "guess-me", "x" * 15, "sixteen letters and more"])
def test_cron_secret_that_is_short_or_cannot_be_sent_is_refused(secret: str) -> None:
    """It could be guessed, or be no word of a header; its value is not repeated."""
    with pytest.raises(ConfigError) as error:
        load({"auth": {"cron_secret": secret}})
    assert str(error.value) == (
        "the configuration: auth.cron_secret: expected 16 or more letters, digits and signs, without spaces."
    )


@pytest.mark.parametrize(
    "query",
    ["secret=x", "token=x", "access_token=x", "Access-Token=x", "key=x", "KEY", "password=", "cron_secret=x", "a=1&jwt=x",
     "%74oken=x", "where=shop%3Ddfk_abc", "dfk_abc"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/try/cron", "/healthz", "/sign-in", "/no/such/path"])
def test_secret_in_an_address_is_refused_everywhere(door: Doors, path: str, query: str) -> None:
    """Before anything else is looked at, also with a good header, on public and unknown paths."""
    answer = door.get(f"{path}?{query}", SECRET)
    assert problem(answer) == IN_ADDRESS
    assert door.browser().post(f"{path}?{query}").status_code == 400


@pytest.mark.parametrize(
    "query", ["from=2026-03-01&where=shop%3D42", "code=x", "by=key", "metrics=tokens", "state=x&iss=y"]
)
def test_other_words_of_an_address_are_let_through(door: Doors, query: str) -> None:
    """Names that only remind of secrets are words of questions."""
    assert door.browser().get(f"/healthz?{query}").status_code == 200


def test_secret_is_in_no_log(door: Doors, caplog: pytest.LogCaptureFixture) -> None:
    """The path is told and the query string is not."""
    with caplog.at_level(logging.DEBUG):
        door.get("/try/cron?secret=rosebud", SECRET)
        door.get("/try/read", "dfk_rosebud")
        door.browser().post("/sign-in", data={"name": "rosebud", "password": "rosebud"})
    [record] = [one for one in caplog.records if one.name == "dayfold.http"]
    assert record.getMessage() == "A secret was sent in an address and refused"
    assert vars(record)["path"] == "/try/cron"
    ours = [one for one in caplog.records if one.name.startswith("dayfold")]
    assert "rosebud" not in "".join(str(vars(one)) for one in ours)
