"""Kept answers: never older than what is stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dayfold import Dayfold
from dayfold.http.cache import Cache, Kept
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, order, rollups
from tests.http.site import Site, header, in_loop

QUERY = "/v1/rollups/ShopDaily/query"
SPAN = {"from_": "2026-03-01", "to": "2026-03-04"}
INSERT = "INSERT INTO orders (shop_id, channel, customer, cents, made_at) VALUES (1, 'web', 'q', 5, TIMESTAMPTZ '2026-03-09 12:00:00+00')"


@pytest.fixture
def site(store: Ground) -> Iterator[Site]:
    """One shop, on each engine."""
    store.load("orders", COLUMNS, [order(1, 9, 500)])
    store.define(*rollups(store))
    store.fold()
    with Site(store) as made:
        yield made


def counts(site: Site) -> tuple[int, int]:
    """Answers that were there, and those computed."""
    return site.service.cache.hits, site.service.cache.misses


def test_miss_stored_hit_changed(site: Site) -> None:
    """The second question is answered from memory; after the source changed and was folded the next read differs."""
    token = header(site.token())
    words = {"from_": "2026-03-09", "to": "2026-03-09", "metrics": "orders"}
    first = site.get(QUERY, token, **words)
    assert (first.json()["rows"][0]["orders"], counts(site)) == (1, (0, 1))
    second = site.get(QUERY, token, **words)
    assert (second.content, second.headers["etag"], counts(site)) == (first.content, first.headers["etag"], (1, 1))
    with site.app.ledger.store.transaction() as session:
        session.execute(INSERT)
    assert site.get(QUERY, token, **words).content == first.content, "what is not folded is not stored"
    site.app.fold()
    third = site.get(QUERY, token, **words)
    assert (third.json()["rows"][0]["orders"], counts(site)) == (2, (2, 2))
    assert third.headers["etag"] != first.headers["etag"]


def test_an_unchanged_answer_is_304(site: Site) -> None:
    """A tag that matches saves the body; after a change it does not match."""
    token = header(site.token())
    words = {"from_": "2026-03-09", "to": "2026-03-09", "metrics": "orders"}
    etag = site.get(QUERY, token, **words).headers["etag"]
    for tag in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = site.get(QUERY, {**token, "If-None-Match": tag}, **words)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    with site.app.ledger.store.transaction() as session:
        session.execute(INSERT)
    site.app.fold()
    assert site.get(QUERY, {**token, "If-None-Match": etag}, **words).status_code == 200


def test_the_tag_is_checked_after_the_token(site: Site) -> None:
    """Who may not read is not told that nothing changed."""
    etag = site.get(QUERY, header(site.token()), **SPAN).headers["etag"]
    assert site.get(QUERY, {"If-None-Match": etag}, **SPAN).status_code == 401


def test_a_replica_learns_of_a_publication_by_another_process(postgres_url: str) -> None:
    """Two applications over one store: what one publishes, the other answers at once."""
    from tests.conftest import Pairing

    with Ground(Pairing("postgres-same", postgres_url, postgres_url)) as ground:
        ground.load("orders", COLUMNS, [order(1, 9, 500)])
        ground.define(*rollups(ground))
        ground.fold()
        with Site(ground) as site, Dayfold(rollups(ground), ground.config, clock=ground.clock) as other:
            token = header(site.token())
            words = {"from_": "2026-03-09", "to": "2026-03-09", "metrics": "orders"}
            assert site.get(QUERY, token, **words).json()["rows"][0]["orders"] == 1
            with other.ledger.store.transaction() as session:
                session.execute(INSERT)
            other.fold()
            assert site.get(QUERY, token, **words).json()["rows"][0]["orders"] == 2


def test_a_day_that_passes_changes_the_answer(site: Site, store: Ground) -> None:
    """Resolved dates are part of the key: what `today` means, and whether a day is over, moves at midnight."""
    import datetime as dt

    token = header(site.token())
    before = site.get(QUERY, token, from_="today", to="today", metrics="orders").json()
    store.clock.instant += dt.timedelta(days=1)
    after = site.get(QUERY, token, from_="today", to="today", metrics="orders").json()
    assert (before["from"], after["from"]) == ("2026-03-12", "2026-03-13")
    assert after["missing"][0]["reason"] == "never folded"


def test_readers_during_publications_never_go_back(site: Site) -> None:
    """While rows are published again and again, no reader is shown fewer than a reader before it had been."""
    token = header(site.token())
    words = {"from_": "2026-03-09", "to": "2026-03-09", "metrics": "orders"}
    ended = threading.Event()

    def publish() -> None:
        for _ in range(6):
            with site.app.ledger.store.transaction() as session:
                session.execute(INSERT)
            site.app.fold()
        ended.set()

    writer = threading.Thread(target=publish)
    writer.start()
    seen = []
    while not ended.is_set():
        seen.append(site.get(QUERY, token, **words).json()["rows"][0]["orders"])
    writer.join()
    seen.append(site.get(QUERY, token, **words).json()["rows"][0]["orders"])
    assert seen == sorted(seen)
    assert seen[-1] == 7


def test_live_answers_are_never_kept(site: Site) -> None:
    """They are of their moment: each is computed, and says so."""
    token = header(site.token())
    for _ in range(2):
        answer = site.get(QUERY, token, live="1", **SPAN)
        assert answer.headers["cache-control"] == "no-store"
    assert counts(site) == (0, 0)


def test_the_least_recently_used_leaves() -> None:
    """Memory stays within its limit, and one large answer does not push all others out."""

    async def fill() -> tuple[int, int, int]:
        cache = Cache(20_000)

        def of(size: int) -> Kept:
            return Kept.of(b"x" * size, "text/plain")

        async def ask(key: str, size: int) -> None:
            async def compute() -> Kept:
                return of(size)

            await cache.get(key, compute)

        for number in range(10):
            await ask(f"k{number}", 3_000)
            await ask("k0", 3_000)
        await ask("huge", 10_000)
        hits = cache.hits
        await ask("k0", 3_000)
        return len(cache), cache.size_bytes, cache.hits - hits

    count, size_bytes, hit = in_loop(fill())
    assert (count, size_bytes, hit) == (5, 20_000, 1)


def test_a_thousand_at_once_compute_once() -> None:
    """Those who come while an answer is computed wait for it; one who leaves does not end it; a failure is not kept."""
    import asyncio

    async def crowd() -> tuple[int, int, int]:
        cache = Cache(1_000_000)
        gate = asyncio.Event()

        async def compute() -> Kept:
            await gate.wait()
            return Kept.of(b"x", "text/plain")

        asks = [asyncio.create_task(cache.get("k", compute)) for _ in range(1_000)]
        await asyncio.sleep(0)
        asks[0].cancel()
        gate.set()
        answers = await asyncio.gather(*asks, return_exceptions=True)
        kept = [one for one in answers if isinstance(one, tuple)]

        async def fail() -> Kept:
            raise ValueError

        for _ in range(2):
            with pytest.raises(ValueError):  # noqa: PT011
                await cache.get("broken", fail)
        return len(kept), cache.misses, len(cache)

    assert in_loop(crowd()) == (999, 3, 1)
