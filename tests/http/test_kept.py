"""What is worked out once and used again: it never outlives what it was made of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from dayfold import Dayfold
from dayfold.engines.duckdb import DuckStore
from dayfold.engines.postgres import PostgresStore
from dayfold.errors import StoreError
from dayfold.http.glance import Glance
from dayfold.ledger import look as looking
from dayfold.ledger import tokens
from dayfold.ledger.look import Seen
from dayfold.memo import Memo
from dayfold.plan.access import EVERYTHING
from dayfold.plan.sql import statement
from tests.conftest import Pairing
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, order, rollups
from tests.http.site import Site, header, in_loop, problem
from tests.sql import store_config

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

    before, after = in_loop(run())
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


def test_coverage_that_is_forgotten_shows_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody dropped a rollup's table and the fold that makes it anew is ended: its days are missing, and not zero."""
    token, ledger = header(site.token()), site.app.ledger
    assert site.get(QUERY, token, **MARCH_9).json()["rows"][0]["orders"] == 3
    with ledger.store.transaction() as session:
        session.execute(f'DROP TABLE "{ledger.store.schema}"."shop_daily"')

    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dayfold.fold.chunk.Chunk._replace", end)
    with pytest.raises(KeyboardInterrupt):
        site.app.fold()
    told = site.get(QUERY, token, **MARCH_9, where="shop_id!=7").json()
    assert (told["rows"][0]["orders"], told["missing"][0]["reason"]) == (None, "never folded")


def test_a_secret_that_nobody_has_costs_one_look_of_its_own(site: Site, looks: list[int]) -> None:
    """It is looked up by itself, again and again, and those that are known stay known."""
    token = header(site.token())
    for _ in range(3):
        site.get(QUERY, token, **MARCH_9)
    settled = len(looks)
    for n in range(3):
        assert site.get(QUERY, header(f"dfk_{n}"), **MARCH_9).status_code == 401
    assert len(looks) - settled == 3
    site.get(QUERY, token, **MARCH_9)
    assert len(looks) - settled == (4 if site.app.ledger.store.commits is None else 3)


def test_a_file_that_was_let_go_is_looked_at_anew(tmp_path: Path) -> None:
    """Another process may have written to it: what was seen before it was closed does not count."""
    url = f"duckdb:///{tmp_path}/shops.duckdb"
    with Ground(Pairing("duckdb-same", url, url)) as ground:
        ground.load("orders", COLUMNS, [order(1, 9, 500)])
        ground.define(*rollups(ground))
        ground.fold()
        with Site(ground) as site:
            token = header(site.token())
            assert site.get(QUERY, token, **MARCH_9).status_code == 200
            site.app.ledger.store.close()
            assert site.app.ledger.store.commits is None
            with duckdb.connect(f"{tmp_path}/shops.duckdb") as other:
                other.execute("UPDATE dayfold__tokens SET revoked_at = created_at")
            assert site.get(QUERY, token, **MARCH_9).status_code == 401


def test_two_openings_of_one_file_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However its path is written: what one commits, the other does not overlook."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with Dayfold([], store_config(f"duckdb:///{tmp_path}/one.duckdb")) as first:
        first.ledger.ready()
        before = first.ledger.store.commits
        with DuckStore("~/one.duckdb").transaction() as session:
            session.execute("CREATE TABLE mine (n bigint)")
        assert before is not None
        assert first.ledger.store.commits != before


def test_a_question_that_fails_is_computed_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also at an address that was answered before; the refusal is told as it always is."""
    token = header(site.token())
    site.get(QUERY, token, **MARCH_9)
    site.service.cache._kept.clear()
    asked = []

    def refuse(*_: object, **__: object) -> None:
        asked.append(1)
        raise StoreError("The store is away.")

    monkeypatch.setattr("dayfold.query.run.answer", refuse)
    answer = site.get(QUERY, token, **MARCH_9)
    assert (problem(answer)[0], len(asked)) == (500, 1)


def test_a_known_address_lets_no_long_body_through(site: Site) -> None:
    """What a request says of its body is looked at on the short way too."""
    token = header(site.token())
    for _ in range(2):
        assert site.get(QUERY, token, **MARCH_9).status_code == 200
        answer = site.get(QUERY, {**token, "Content-Length": "9999999"}, **MARCH_9)
        assert answer.status_code == 413


def test_known_addresses_take_only_what_they_took_before(site: Site) -> None:
    """Other methods, and what nobody may ask, are refused there as elsewhere."""
    token = header(site.token())
    words = {"from": "2026-03-09", "to": "2026-03-09", "metrics": "orders"}
    for _ in range(2):
        assert site.client.get(QUERY, headers=token, params=words).status_code == 200
        assert site.client.post(QUERY, headers=token, params=words).status_code == 405
        assert site.client.head(QUERY, headers=token, params=words).status_code == 405
        assert site.client.get(QUERY, params=words).status_code == 401
        assert site.client.get(QUERY, headers=header(site.token("track")), params=words).status_code == 403


def test_long_ranges_and_long_scopes_are_not_kept_in_memory(site: Site) -> None:
    """What is kept of questions is bounded by what it holds, and not only by how many there are."""
    token = header(site.token())
    long = site.reader({"shop_id": [str(n) for n in range(500)]})
    short = site.reader({"shop_id": ["1", "2"]})
    known = site.app.ledger.kept
    for first in ("2020-01-01", "2020-01-02"):
        site.get(QUERY, token, from_=first, to="2026-03-09", metrics="orders", limit=1)
    assert not len(known["ShopDaily"]._frames)  # type: ignore[attr-defined]
    before = len(site.service.readings)
    assert site.get(QUERY, long, **MARCH_9).json() == site.get(QUERY, short, **MARCH_9).json()
    assert len(site.service.readings) - before == 1


def test_a_refused_statement_leaves_connections_open(postgres_url: str) -> None:
    """It says nothing of the connections that wait."""
    store = PostgresStore(postgres_url)
    with store.transaction(read_only=True), store.transaction(read_only=True):
        pass
    waiting = list(store._idle)
    for _ in range(2):
        with pytest.raises(StoreError, match="a table does not exist"):
            store.peek(statement("select * from nothing_here where 1 = :a", a=1))
    assert sorted(map(id, store._idle)) == sorted(map(id, waiting))
    assert not any(one.closed for one in waiting)
    store.close()


def test_nothing_is_prepared_in_the_server(postgres_url: str) -> None:
    """A pooler may send the next statement to another process of the server, which would not know it."""
    store = PostgresStore(postgres_url)
    for _ in range(8):
        assert store.peek(statement("select cast(:a as bigint)", a=1)) == [(1,)]
        with store.transaction(read_only=True) as session:
            session.rows(statement("select cast(:a as bigint)", a=2))
    assert store.peek(statement("select count(*) from pg_prepared_statements where 1 = :a", a=1)) == [(0,)]
    assert len(store._idle) == 1
    store.close()


def test_a_memo_is_bounded() -> None:
    """A caller that asks for something else each time does not fill the memory."""
    memo: Memo[int, int] = Memo(100)
    for n in range(1_000):
        memo.learn(n, n)
        assert memo.get(n) == n
        assert len(memo) <= 100
    memo.learn(999, 0)
    assert memo.get(999) == 0
