"""What is worked out once and used again: it never outlives what it was made of."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dayfold import Dayfold
from dayfold.errors import UsageError
from dayfold.http.addresses import Addresses
from dayfold.http.glance import Glance
from dayfold.ledger import look as looking
from dayfold.ledger import tokens
from dayfold.ledger.look import Seen
from dayfold.plan.access import EVERYTHING
from tests.conftest import Pairing
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, order, rollups
from tests.http.site import Site, header, problem

QUERY = "/v1/rollups/ShopDaily/query"
MARCH_9 = {"from_": "2026-03-09", "to": "2026-03-09", "metrics": "orders"}


@pytest.fixture
def site(store: Ground) -> Iterator[Site]:
    """Two shops, on each engine."""
    store.load("orders", COLUMNS, [order(1, 9, 500), order(2, 9, 700), order(2, 9, 900)])
    store.define(*rollups(store))
    store.fold()
    with Site(store) as made:
        yield made


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each look that read the store."""
    made: list[int] = []
    read = looking.look

    def counted(*words: object) -> Seen:
        made.append(len(made))
        return read(*words)  # type: ignore[arg-type]

    monkeypatch.setattr("dayfold.http.glance.look", counted)
    return made


def test_a_store_of_this_process_alone_is_looked_at_once(site: Site, looks: list[int]) -> None:
    """Nothing was committed, so nothing changed; a store that others write to is looked at for each request."""
    token = header(site.token())
    for _ in range(3):
        assert site.get(QUERY, token, **MARCH_9).status_code == 200
    settled = len(looks)
    for _ in range(5):
        assert site.get(QUERY, token, **MARCH_9).status_code == 200
    assert len(looks) - settled == (5 if site.app.ledger.store.commits is None else 0)


def test_each_commit_is_seen_by_the_next_request(site: Site) -> None:
    """A revoked token lets nobody in any more, a new one does, and a fold shows at once."""
    mine = site.token()
    assert site.get(QUERY, header(mine), **MARCH_9).status_code == 200
    other = site.token()
    assert site.get(QUERY, header(other), **MARCH_9).status_code == 200
    ledger = site.app.ledger
    with ledger.store.transaction() as session:
        [known, *_] = [one for one in tokens.listed(ledger, session) if one.revoked_at is None]
        tokens.revoke(ledger, session, known.id)
    answers = [site.get(QUERY, header(one), **MARCH_9).status_code for one in (mine, other)]
    assert sorted(answers) == [200, 401]


def test_a_token_expires_though_nothing_was_committed(site: Site, store: Ground) -> None:
    """Time alone ends a token: it is looked at again once the first of those that were seen has ended."""
    ledger, clock = site.app.ledger, store.clock
    soon = clock.now() + dt.timedelta(seconds=90)
    with ledger.store.transaction() as session:
        secret = tokens.create(ledger, session, "short", "read", EVERYTHING, soon, "a test")[1]
    assert site.get(QUERY, header(secret), **MARCH_9).status_code == 200
    clock.instant = soon - dt.timedelta(seconds=1)
    assert site.get(QUERY, header(secret), **MARCH_9).status_code == 200
    clock.instant = soon
    assert problem(site.get(QUERY, header(secret), **MARCH_9))[0] == 401


def test_a_commit_during_a_look_is_not_overlooked(store: Ground) -> None:
    """What a look read before a commit that came while it ran is not taken for what is there after it."""
    store.load("orders", COLUMNS, [order(1, 9, 500)])
    store.define(*rollups(store))
    store.fold()
    ledger = store.opened.ledger
    ledger.ready()

    async def run() -> tuple[Seen, Seen]:
        with ThreadPoolExecutor(1) as threads:
            glance = Glance(ledger, threads)
            read = glance._read

            def read_and_then_commit(asked: object) -> Seen:
                seen = read(asked)  # type: ignore[arg-type]
                with ledger.store.transaction() as session:
                    session.execute(ledger.sql("update dayfold__rollups set revision = revision + 1"))
                return seen

            glance._read = read_and_then_commit  # type: ignore[method-assign]
            before = await glance.look()
            glance._read = read  # type: ignore[method-assign]
            return before, await glance.look()

    before, after = asyncio.run(run())
    assert after.standings["ShopDaily"].revision == before.standings["ShopDaily"].revision + 1


def test_the_same_address_is_read_for_each_scope(site: Site) -> None:
    """Two callers ask the same; what was made of the words of one is not used for the other."""
    everybody, second = header(site.token()), site.reader({"shop_id": ["2"]})
    nobody = site.reader({"shop_id": []})
    found = [
        site.get(QUERY, one, **MARCH_9).json()["rows"][0]["orders"]
        for one in (everybody, second, nobody, second, everybody)
    ]
    assert found == [3, 2, 0, 2, 3]


def test_a_refused_address_stays_refused(site: Site) -> None:
    """What was refused once is refused again with the same words."""
    token = header(site.token())
    for words in ({"metrics": "ordrs"}, {"colour": "red"}, {"grain": "decade"}, {"token": "x"}):
        first, second = (problem(site.get(QUERY, token, **words)) for _ in range(2))
        assert first == second
        assert first[0] in (400, 404)


def test_frames_follow_the_coverage(postgres_url: str) -> None:
    """Two processes over one store: what one knows of a rollup's days ends with the other's fold."""
    with Ground(Pairing("postgres-same", postgres_url, postgres_url)) as ground:
        ground.load("orders", COLUMNS, [order(1, 9, 500)])
        ground.define(*rollups(ground))
        ground.clock.instant -= dt.timedelta(days=2)
        ground.fold()
        with Site(ground) as site, Dayfold(rollups(ground), ground.config, clock=ground.clock) as other:
            token = header(site.token())
            ground.clock.instant += dt.timedelta(days=2)
            days = {"from_": "2026-03-09", "to": "2026-03-11", "metrics": "orders"}
            assert [row["orders"] for row in site.get(QUERY, token, **days).json()["rows"]] == [1, 0, None]
            other.fold()
            told = site.get(QUERY, token, **days).json()
            assert ([row["orders"] for row in told["rows"]], told["missing"]) == ([1, 0, 0], [])


def test_refusals_and_long_addresses_are_not_kept() -> None:
    """Only what was made of an address of an ordinary length is."""
    kept: Addresses[int] = Addresses()
    count = itertools.count()

    def refuse() -> int:
        next(count)
        raise UsageError("No.")

    for _ in range(2):
        with pytest.raises(UsageError):
            kept.get(b"q", None, refuse)
    assert next(count) == 2
    long = b"x" * 10_000
    assert [kept.get(long, None, lambda: next(count)) for _ in range(2)] == [3, 4]
    assert [kept.get(b"q", "one", lambda: next(count)), kept.get(b"q", "two", lambda: next(count))] == [5, 6]


def test_kept_addresses_are_bounded() -> None:
    """A caller that asks for something else each time does not fill the memory."""
    kept: Addresses[int] = Addresses()
    for n in range(10_000):
        assert kept.get(str(n).encode(), None, lambda n=n: n) == n  # type: ignore[misc]
    assert len(kept._kept) <= 4_000
