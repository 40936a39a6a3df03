"""Tokens: whom they let in, until when, to do what, and seeing what."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from dayfold.errors import BadDate, UnknownName, UsageError
from dayfold.http.rights import Right
from tests.http.doors import Doors, problem

UNKNOWN = (401, "unauthenticated", "The token is not known, or it has expired or was revoked.", "Ask for a new one.")
NEEDED = (
    401,
    "unauthenticated",
    "This needs a token.",
    "Send it as a header: Authorization: Bearer …; `dayfold token create` makes one.",
)


def test_token_lets_in_whom_it_was_made_for(doors: Doors) -> None:
    """Its name, its id and its scope are the caller's."""
    made = doors.app.accounts.create_token("embed", "read", rollups=["visits"], rows=["shop=42,"])
    assert made.secret.startswith("dfk_")
    assert doors.get("/try/read", made.secret).json() == {
        "name": f"token embed ({made.id})",
        "rollups": ["Visits"],
        "rows": {"shop": [None, "42"]},
    }


def test_only_a_hash_of_the_token_is_stored(doors: Doors) -> None:
    """No part of the secret stands in the table."""
    secret = doors.token()
    [row] = doors.stored("select id, name, digest, kind, scope, created_by from dayfold__tokens")
    assert secret.removeprefix("dfk_")[:10] not in str(row)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer a b", "Basic YTpi", "Token dfk_x", "dfk_x"])
def test_malformed_header_lets_nobody_in(door: Doors, header: str) -> None:
    """One word after Bearer is a token, and nothing else is."""
    answer = door.browser().get("/try/read", headers={"Authorization": header})
    assert problem(answer) == NEEDED
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("secret", ["dfk_", "dfk_x", "x" * 5000, "' or 1=1 --", "a.b.c", "\xff\xfe"])
def test_unknown_token_lets_nobody_in(door: Doors, secret: str) -> None:
    """Nobody learns whether it ever was one."""
    door.token()
    answer = door.browser().get("/try/read", headers={"Authorization": f"Bearer {secret}".encode("latin-1")})
    assert problem(answer) in (UNKNOWN, NEEDED)


def test_token_is_good_to_the_end_of_its_last_day(doors: Doors) -> None:
    """A day that is named is included, as everywhere."""
    secret = doors.token(expires="2026-03-13")
    doors.clock.instant = dt.datetime(2026, 3, 13, 23, 59, 59, tzinfo=dt.UTC)
    assert doors.get("/try/read", secret).status_code == 200
    doors.later(seconds=1)
    assert problem(doors.get("/try/read", secret)) == UNKNOWN


def test_token_is_good_for_so_many_days(doors: Doors) -> None:
    """From the moment that it is made."""
    secret = doors.token(expires="2d")
    doors.later(days=2, seconds=-1)
    assert doors.get("/try/read", secret).status_code == 200
    doors.later(seconds=1)
    assert problem(doors.get("/try/read", secret)) == UNKNOWN


def test_revoked_token_stops_at_the_next_request(doors: Doors) -> None:
    """Nothing is remembered of whom a token let in before."""
    secret, other = doors.token(name="gone"), doors.token(name="stays")
    assert doors.get("/try/read", secret).status_code == 200
    [done] = doors.app.accounts.revoke_token("gone")
    assert doors.app.accounts.revoke_token(done.id)[0].id == done.id
    assert problem(doors.get("/try/read", secret)) == UNKNOWN
    assert doors.get("/try/read", other).status_code == 200


def test_token_revoked_by_another_process_stops_at_the_next_request(doors: Doors) -> None:
    """Replicas need not be told."""
    secret = doors.token()
    assert doors.get("/try/read", secret).status_code == 200
    doors.revoke_elsewhere()
    assert problem(doors.get("/try/read", secret)) == UNKNOWN


RIGHTS = {
    "read": {Right.READ},
    "jobs": {Right.JOBS},
    "track": {Right.TRACK},
    # Which actor somebody is, no token of ours says.
    "admin": set(Right) - {Right.PUBLIC, Right.KNOWN, Right.SELF},
}


@pytest.mark.parametrize("kind", RIGHTS)
def test_token_may_do_what_its_kind_says_and_nothing_else(door: Doors, kind: str) -> None:
    """A key that writes events cannot read, one that reads cannot steer jobs, only an administrator may do all."""
    made = door.app.accounts.create_token("trial", kind)
    for right in set(Right) - {Right.PUBLIC, Right.KNOWN}:
        answer = door.get(f"/try/{right}", made.secret)
        if right in RIGHTS[kind]:
            assert answer.status_code == 200, (kind, right)
            continue
        hint = f"Make a token for it: dayfold token create NAME --kind {right}"
        if right is Right.CRON:
            hint = "Send the secret of [auth] cron_secret, or the token of an administrator."
        elif right is Right.NEAR:
            hint = "Ask from the same machine, or send the token of an administrator."
        elif right is Right.SELF:
            hint = "Send the signed token of your own product, whose sub is the actor."
        detail = f"token trial ({made.id}) may not do this: it takes the right '{right}'."
        assert problem(answer) == (403, "forbidden", detail, hint)
    assert door.get("/try/known", made.secret).status_code == 200


def test_route_that_does_not_say_what_it_needs_is_open_to_nobody(door: Doors) -> None:
    """Forgetting the mark closes a route, also to administrators."""
    assert problem(door.get("/try/unmarked", door.token())) == (
        403, "forbidden", "This path is open to nobody.", "GET /openapi.json lists the paths that are.",
    )  # fmt: skip


def test_empty_list_sees_nothing(doors: Doors) -> None:
    """`key:none` is a list without values: of the rows that are there none comes back, through the one scope of all reads."""
    doors.app.fold()
    nothing = doors.app.accounts.create_token("none", "read", rows=["shop:none"])
    some = doors.app.accounts.create_token("some", "read", rows=["shop=42"])
    seen = {}
    for made in (nothing, some):
        words = doors.get("/v1/me", made.secret).json()
        bearer = next(one for one in doors.app.accounts.tokens() if one.id == made.id)
        assert words["rows"] == {key: list(values) for key, values in bearer.scope.rows}
        answer = doors.app.query("Visits", from_="2026-03-01", to="2026-03-01", by=["shop"], scope=bearer.scope)
        seen[made.id] = [row["visits"] for row in answer.rows]
    assert seen == {nothing.id: [], some.id: [1]}


def refusal(kind: type[Exception], work: Callable[[], object]) -> str:
    with pytest.raises(kind) as refused:
        work()
    return str(refused.value)


def test_words_of_a_token_are_checked_against_the_definitions(door: Doors) -> None:
    """A misspelt rollup or key column would see too much or too little, so it is refused with the nearest name."""

    def create(kind: str = "read", name: str = "trial", **how: object) -> Callable[[], object]:
        return lambda: door.app.accounts.create_token(name, kind, **how)  # type: ignore[arg-type]

    hint = 'Write key=value,value; key= for NULL, key="" for the empty text, key:none for no row at all, and \\, for a comma in a value.'
    assert refusal(UnknownName, create(rollups=["Visit"])) == (
        "There is no rollup 'Visit'; the nearest is 'Visits'.\n  Rollups: Visits, Sales"
    )
    assert refusal(UnknownName, create(rows=["shp=42"])) == (
        "No rollup has a key column 'shp' for --rows; the nearest is 'shop'.\n  Key columns: shop, country"
    )
    assert refusal(UnknownName, create(rollups=["Sales", "Visits"], rows=["country=FR"])) == (
        "Visits has no key column 'country' for --rows.\n  Key columns: shop"
    )
    assert refusal(UsageError, create(rows=["shop"])) == f"A word of --rows is not key=values.\n  {hint}"
    assert refusal(UsageError, create(rows=["shop:none", "shop=42"])) == (
        "--rows says no row and some rows of 'shop'.\n  Leave out shop:none or the others."
    )
    assert refusal(UsageError, create("jobs", rows=["shop=42"])) == (
        "Only the kind 'read' has rollups, rows and access, got 'jobs'.\n  Leave out --rollup, --rows and --access, or write --kind read."
    )
    assert refusal(UsageError, create("raed")) == (
        "There is no kind 'raed'; the nearest is 'read'.\n  Kinds: read, jobs, track, public, admin"
    )
    assert refusal(UsageError, create(name="a\nb")) == (
        "This is no name of a token.\n  Expected 1 to 100 letters, digits, spaces and any of . _ - @ : +"
    )
    assert refusal(BadDate, create(expires="soon")) == (
        "'soon' is no time to expire.\n  Expected a number of days such as 90d, or a day YYYY-MM-DD."
    )
    assert refusal(BadDate, create(expires="2026-03-11")) == (
        "--expires names a day that is over: 2026-03-11.\n  Name today or a later day (UTC)."
    )
    door.token(name="dashboards")
    assert refusal(UnknownName, lambda: door.app.accounts.revoke_token("dashboard")) == (
        "There is no token 'dashboard'; the nearest is 'dashboards'.\n  Tokens: dashboards"
    )
    assert len(door.app.accounts.tokens()) == 1
