"""Raw events over HTTP: whose they are, what is shown of them, and one's own by a signed token."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from dayfold import Count, Dayfold, Rollup, events
from dayfold.clock import FixedClock
from dayfold.define.events import PERSONAL
from dayfold.http.embed import Embed
from dayfold.plan.access import Scope
from dayfold.settings_auth import JwtSettings
from tests.engines.ground import NOW
from tests.eventlog import NOON, event, send
from tests.http.site import Site, header, problem
from tests.sql import store_config

ENTITIES = events.columns(shop_id="bigint")
SECRET = "s" * 32
AUTH = {"secret": SECRET, "algorithms": ["HS256"], "audience": "dayfold", "claims": {"rows": {"shop_id": "shop"}}}


class ShopDaily(Rollup):
    """Events of one shop."""

    key = "shop_id"
    views = Count(events, at="occurred_at")


class _Ground:
    """What a site stands on, where nothing but an application is needed."""

    def __init__(self, app: Dayfold) -> None:
        self.opened = app


@pytest.fixture
def site(store_url: str) -> Iterator[Site]:
    """A site with the events of two people, and signed tokens of a product."""
    with Dayfold([ShopDaily, ENTITIES], store_config(store_url), clock=FixedClock(NOW)) as app:
        app.fold()
        send(
            app,
            *(
                event(
                    n, shop_id=42 + n % 2, actor_id="anna" if n % 2 else "ben", anonymous_id=f"b{n % 2}", session_id=f"s{n}",
                    occurred_at=NOON + dt.timedelta(minutes=n), user_agent="Browser", page="https://x.test/p?who=anna",
                )
                for n in range(1, 7)
            ),
            event(7, anonymous_id="b1", occurred_at=NOON + dt.timedelta(minutes=7)),
        )  # fmt: skip
        with Site(_Ground(app)) as made:  # type: ignore[arg-type]
            made.service.doorkeeper.embed = Embed(JwtSettings.model_validate(AUTH), app.catalog, app.folder)
            yield made


def signed(**claims: Any) -> dict[str, str]:
    """The header of a token that the product signed."""
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    return header(jwt.encode({"aud": "dayfold", "exp": ends, **claims}, SECRET, "HS256"))


def numbers(answer: Any) -> list[int]:
    """The events of an answer, by their numbers."""
    assert answer.status_code == 200, answer.text
    return [int(one["id"].replace("-", ""), 16) for one in answer.json()["events"]]


def test_events_are_answered_in_pages(site: Site) -> None:
    """An administrator sees all of them, whole; nothing is kept by anybody on the way."""
    admin = header(site.token("admin"))
    first = site.get("/v1/events", admin, limit=4)
    assert first.headers["cache-control"] == "no-store"
    assert numbers(first) == [7, 6, 5, 4]
    assert numbers(site.get("/v1/events", admin, limit=4, after=first.json()["next"])) == [3, 2, 1]
    told = first.json()["events"][1]
    assert (told["occurred_at"], told["actor_id"], told["shop_id"], told["properties"], told["page"]) == (
        "2026-03-09T12:06:00Z", "ben", 42, {"n": 1}, "https://x.test/p?who=anna",
    )  # fmt: skip
    assert numbers(site.get("/v1/events", admin, actor="anna")) == [5, 3, 1]
    assert numbers(site.get("/v1/events", admin, session="s4")) == [4]
    assert numbers(site.get("/v1/events", admin, entity_type="shop", entity_id=43, from_="2026-03-09", to="2026-03-09")) == [
        5, 3, 1,
    ]  # fmt: skip


def test_a_reader_sees_no_personal_data_unless_given(site: Site) -> None:
    """A plain token is shown empty columns and may not ask for somebody; `--personal` opens both."""
    plain = header(site.app.accounts.create_token("plain", "read").secret)
    seen = site.get("/v1/events", plain).json()["events"]
    assert len(seen) == 7
    assert {one[name] for one in seen for name in PERSONAL} == {None}
    assert "anna" not in site.get("/v1/events", plain).text
    assert problem(site.get("/v1/events", plain, actor="anna")) == (
        403, "forbidden", "Asking for an actor takes the right to see personal data.",
        "Make a token that has it: dayfold token create NAME --kind read --personal",
    )  # fmt: skip
    given = header(site.app.accounts.create_token("given", "read", personal=True).secret)
    assert numbers(site.get("/v1/events", given, actor="anna")) == [5, 3, 1]
    told = site.get("/v1/me", given).json()
    assert (told["personal"], "events" in told) == (True, False)


def test_a_limited_token_sees_the_events_of_its_entities(site: Site) -> None:
    """Of other rows none; of limited rollups none, unless it was given raw events."""
    assert numbers(site.get("/v1/events", site.reader({"shop_id": ["42"]}))) == [6, 4, 2]
    assert numbers(site.get("/v1/events", site.reader({"country": ["FR"]}))) == []
    assert numbers(site.get("/v1/events", site.reader(rollups=["ShopDaily"]))) == []
    given = site.app.accounts.create_token("given", "read", rollups=["ShopDaily"], rows=["shop_id=43"], events=True)
    assert numbers(site.get("/v1/events", header(given.secret))) == [5, 3, 1]
    assert numbers(site.get("/v1/events", signed(shop=43))) == [5, 3, 1]


def test_words_are_checked(site: Site) -> None:
    """As problems, which repeat no value."""
    admin = header(site.token("admin"))
    assert problem(site.get("/v1/events", admin, entity_id="42")) == (
        400, "usage", "entity_id is an id of some type; entity_type is missing.", "Types of entities: shop",
    )  # fmt: skip
    assert problem(site.get("/v1/events", admin, entity_type="shops"))[:3] == (
        404, "unknown-name", "There is no type of entity 'shops'; the nearest is 'shop'.",
    )  # fmt: skip
    assert problem(site.get("/v1/events", admin, limit=1001))[2] == "limit is a number from 1 to 1,000."
    assert problem(site.get("/v1/events", admin, actors="anna"))[2] == (
        "There is no parameter 'actors'; the nearest is 'actor'."
    )
    assert problem(site.get("/v1/events", admin, after="x"))[2] == "after is not a place in this list of events."


def test_a_person_sees_their_own_events(site: Site) -> None:
    """The subject of a signed token is the actor: all of theirs, whole, whatever else the token claims or lacks."""
    for mine in (signed(sub="anna"), signed(sub="anna", shop=42), signed(sub="anna", shop=[], admin=True, actor="ben")):
        answer = site.get("/v1/me/events", mine)
        assert numbers(answer) == [7, 5, 3, 1]
        assert answer.json()["events"][1]["actor_id"] == "anna"
        assert answer.json()["events"][1]["user_agent"] == "Browser"
    assert numbers(site.get("/v1/me/events", signed(sub="ben"))) == [6, 4, 2]
    assert numbers(site.get("/v1/me/events", signed(sub="nobody"))) == []
    page = site.get("/v1/me/events", signed(sub="anna"), limit=3)
    assert numbers(site.get("/v1/me/events", signed(sub="anna"), limit=3, after=page.json()["next"])) == [1]


def test_nobody_else_is_a_person(site: Site) -> None:
    """A token of ours, however mighty, says of nobody which actor they are; neither does a signed token without subject."""
    assert problem(site.get("/v1/me/events")) == (
        401, "unauthenticated", "This needs a token.",
        "Send it as a header: Authorization: Bearer …; `dayfold token create` makes one.",
    )  # fmt: skip
    for kind in ("admin", "read", "jobs", "track"):
        status, code, told, hint = problem(site.get("/v1/me/events", header(site.token(kind))))
        assert (status, code) == (403, "forbidden")
        assert told.endswith("may not do this: it takes the right 'self'.")
        assert hint == "Send the signed token of your own product, whose sub is the actor."
    for claims in ({"shop": 42}, {"sub": ""}):
        assert (
            problem(site.get("/v1/me/events", signed(**claims)))[2] == "The token is not accepted: it names no subject."
        )
    assert problem(site.get("/v1/me/events", signed(sub="anna"), actor="ben"))[2].startswith(
        "There is no parameter 'actor'"
    )
    # The same token is no key to the events of others.
    assert problem(site.get("/v1/events", signed(sub="anna")))[2] == "The token lacks the claim 'shop'."
    ended = jwt.encode({"aud": "dayfold", "exp": 1, "sub": "anna"}, SECRET, "HS256")
    assert problem(site.get("/v1/me/events", header(ended)))[2] == "The token is not accepted: it has expired."
    for other in ("x" * 32, ""):
        forged = jwt.encode(
            {"aud": "dayfold", "exp": 2**33, "sub": "anna"}, other or None, "HS256" if other else "none"
        )
        assert site.get("/v1/me/events", header(forged)).status_code == 401


def test_only_readers_are_given_raw_events(site: Site) -> None:
    """The other kinds see all of them, or none."""
    from dayfold.errors import UsageError

    for kind in ("jobs", "admin", "track"):
        with pytest.raises(UsageError) as refused:
            site.app.accounts.create_token("x", kind, personal=True)
        assert str(refused.value) == (
            f"Only the kind 'read' is given raw events and personal data, got '{kind}'.\n"
            "  Leave out --personal and --events, or write --kind read; administrators see both."
        )
        assert site.get("/v1/events", header(site.token(kind))).status_code == (200 if kind == "admin" else 403)


def test_what_a_token_was_given_is_kept(site: Site) -> None:
    """The list of tokens has it."""
    site.app.accounts.create_token("a", "read", personal=True, events=True)
    [one] = site.app.accounts.tokens()
    assert one.scope == Scope.of(None, {}, personal=True, events=True)
