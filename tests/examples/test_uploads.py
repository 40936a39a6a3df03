"""The uploads example: every number of every key, provider and day, on DuckDB alone and on PostgreSQL with a real Valkey."""

from __future__ import annotations

import datetime as dt
import re
import secrets
import shlex
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvicorn

from dayfold import Dayfold
from dayfold.cli.main import outcome
from dayfold.clock import FixedClock
from dayfold.plan.sql import statement as sql
from tests.examples.uploads import BY_KEY, BY_PROVIDER, EXAMPLE, Truth, module, traffic, truth
from tests.servers import PostgresServer
from tests.sql import Session, is_duckdb, store_config
from tests.valkeys import ValkeyServer

pytestmark = pytest.mark.in_turn
drive, load, service = module("drive"), module("load"), module("service")
DAY = dt.timedelta(days=1)
JANUARY = {"from_": "2026-01-01", "to": "2026-01-31"}
#: The policies' expression, which needs no function of anybody's.
WHO = "current_setting('app.uid', true)"


@dataclass
class Uploads:
    """The example over one store; ``live``: where increments wait, None for the store itself."""

    url: str
    live: str | None
    folder: Path
    clock: FixedClock
    app: Dayfold

    @classmethod
    def open(cls, url: str, live: str | None, folder: Path, **config: Any) -> Uploads:
        clock = FixedClock(traffic.NOW)
        config = {**store_config(url), "live": {"url": live} if live else {}, **config}
        # A busy machine gets the time that it needs.
        config["live"] |= {"wait_ms": 20_000, "timeout_s": 20}
        return cls(url, live, folder, clock, Dayfold(EXAMPLE / "metrics.py", config, clock=clock))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What SQL reads, past the product where the store has room for a second reader."""
        if not is_duckdb(self.url):
            with Session(self.url) as session:
                return session.run(statement)
        with self.app.ledger.store.transaction(read_only=True) as session:
            return [tuple(row) for row in session.rows(sql(statement))]

    def ask(self, rollup: str, metrics: Sequence[str], by: Sequence[str] = (), **words: Any) -> set[tuple[Any, ...]]:
        """The rows of an answer without their days."""
        answer = self.app.query(rollup, list(metrics), by=list(by), grain=words.pop("grain", "total"), **words)
        return {tuple(row[name] for name in (*by, *metrics)) for row in answer.rows}


@contextmanager
def ground(request: pytest.FixtureRequest, folder: Path, engine: str) -> Iterator[tuple[str, str | None]]:
    """A fresh store, and a live store for it."""
    with ExitStack() as stack:
        if engine == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            yield stack.enter_context(server.database()), stack.enter_context(ValkeyServer()).url
        else:
            yield f"duckdb:///{folder}/uploads.duckdb", None


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def uploads(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uploads]:
    """The six weeks, counted and folded; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("uploads")
    with ground(request, folder, request.param) as (url, live):
        if is_duckdb(url):
            shutil.copy(request.getfixturevalue("folded"), folder)
        else:
            load.load(url, live)
        found = Uploads.open(url, live, folder)
        with found.app:
            if not is_duckdb(url):
                assert [run.status for run in found.app.fold()] == ["done"] * 3
            yield found


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DuckDB file with the six weeks, folded, to be copied."""
    path = tmp_path_factory.mktemp("folded") / "uploads.duckdb"
    load.load(f"duckdb:///{path}")
    with Uploads.open(f"duckdb:///{path}", None, path.parent).app as app:
        assert [run.status for run in app.fold()] == ["done"] * 3
    return path


@pytest.fixture(scope="module")
def expected() -> Truth:
    return truth()


# -- numbers -----------------------------------------------------------------------------------------


def test_every_day_of_every_key_and_provider(uploads: Uploads, expected: Truth) -> None:
    """The tables hold what the generator drew, row by row and nothing more; and so do the totals."""
    whose = {one.id: one.user_id for one in traffic.KEYS}
    for which, name, key, totals in (
        ("key", "api_key_usage", ["api_key_id"], BY_KEY),
        ("provider", "provider_usage", ["api_key_id", "provider"], BY_PROVIDER),
    ):
        columns = ", ".join(["usage_date", *key, *totals, "user_id"])
        found = uploads.rows(f"SELECT {columns} FROM {name}_daily")
        assert {row[:-1] for row in found} == expected.rows(which)
        assert len(found) == len(expected.rows(which))
        assert all(row[-1] == whose[row[1]] for row in found)
        sums = expected.sums(which, *range(1, len(key) + 1), first=traffic.FIRST, last=traffic.LAST)
        current = uploads.rows(f"SELECT {', '.join([*key, *totals, 'user_id'])} FROM {name}")
        assert set(current) == {(*group, *amounts, whose[group[0]]) for group, amounts in sums.items()}
    assert all(one.is_proved for one in uploads.app.verify())
    assert [one.holds for one in uploads.app.counters.conservation()] == [True, True]


def test_uploads_on_a_date_and_the_trend_of_seven_days(uploads: Uploads, expected: Truth) -> None:
    first, last = dt.date(2026, 2, 5), dt.date(2026, 2, 11)
    days = {
        (one, *expected.sums("key", first=one, last=one)[()]) for one in (first + DAY * n for n in range(7))
    }  # fmt: skip
    trend = uploads.app.query("ApiKeyUsage", list(BY_KEY), from_=first, to=last)
    assert {tuple(row.values()) for row in trend.rows} == days
    assert uploads.ask("ApiKeyUsage", BY_KEY, from_=last, to=last) == {row[1:] for row in days if row[0] == last}


def test_providers_of_each_day(uploads: Uploads, expected: Truth) -> None:
    first, last = dt.date(2026, 2, 9), dt.date(2026, 2, 11)
    answer = uploads.app.query("ProviderUsage", list(BY_PROVIDER), by=["provider"], from_=first, to=last)
    sums = expected.sums("provider", 0, 2, first=first, last=last)
    assert len(answer.rows) == len(sums) == 9
    assert {(row["day"], row["provider"], *(row[one] for one in BY_PROVIDER)) for row in answer.rows} == {
        (*group, *amounts) for group, amounts in sums.items()
    }


def test_this_week_against_the_week_before(uploads: Uploads, expected: Truth) -> None:
    """A whole week beside a whole week."""
    monday = dt.date(2026, 2, 2)
    words: dict[str, Any] = {"from_": monday, "to": monday + 6 * DAY, "grain": "week", "compare": "previous"}
    [row] = uploads.app.query("ApiKeyUsage", list(BY_KEY), **words).flat().to_pylist()
    for days, end in ((0, ""), (7, "_compared")):
        first = monday - days * DAY
        assert tuple(row[name + end] for name in BY_KEY) == expected.sums("key", first=first, last=first + 6 * DAY)[()]


def test_a_months_dashboard_and_the_keys_used_most(uploads: Uploads, expected: Truth) -> None:
    """Of one user and of all; the key that was deleted has its January."""
    first, last = dt.date(2026, 1, 1), dt.date(2026, 1, 31)
    sums = expected.sums("key", 1, first=first, last=last)
    mine = [amounts for (key,), amounts in sums.items() if key in ("key-01", "key-06", "key-11")]
    whole = tuple(map(sum, zip(*mine, strict=True)))
    assert uploads.ask("ApiKeyUsage", BY_KEY, where=["user_id=user-2"], **JANUARY) == {whole}
    [(rate,)] = uploads.ask("ApiKeyUsage", ["success_rate"], where=["user_id=user-2"], **JANUARY)
    assert rate == pytest.approx(whole[1] / whole[0])
    top = uploads.app.query(
        "ApiKeyUsage", list(BY_KEY), by=["api_key_id"], sort="-total_requests", grain="total", **JANUARY
    )
    assert {(row["api_key_id"],): tuple(row[one] for one in BY_KEY) for row in top.rows} == sums
    assert [row["total_requests"] for row in top.rows] == sorted((one[0] for one in sums.values()), reverse=True)
    assert sums["key-12",][0] > 0
    assert uploads.rows("SELECT count(*) FROM api_keys WHERE id = 'key-12'") == [(0,)]


def test_month_so_far_of_each_quota(uploads: Uploads, expected: Truth) -> None:
    """A share of what was agreed on; one key passes four fifths in February and is told of, today's uploads included."""
    quotas = {one.id: one.monthly_bytes for one in traffic.KEYS}
    for first, last in ((dt.date(2026, 1, 1), dt.date(2026, 1, 31)), (dt.date(2026, 2, 1), traffic.LAST)):
        used = {key: row[3] for (key,), row in expected.sums("key", 1, first=first, last=last).items()}
        answer = uploads.ask(
            "QuotaDaily", ["stored_bytes", "monthly_bytes", "quota_share"], ["api_key_id"], from_=first, to=last
        )
        assert {row[:3] for row in answer} == {(key, used.get(key, 0), size) for key, size in quotas.items()}
        assert all(share == pytest.approx(size / whole) for _, size, whole, share in answer)
    assert [key for key in used if used[key] > 0.8 * quotas[key]] == ["key-01"]
    [state] = [one for one in uploads.app.alerts().evaluate() if one.name == "QuotaNearlyUsed"]
    assert (state.state, state.firing) == ("firing", ('{"api_key_id": "key-01"}',))


def test_answers_in_the_readme_are_those_of_the_commands(
    folded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each command as it stands there, over the demo's data."""
    shutil.copy(folded, tmp_path)
    for name in ("metrics.py", "dayfold.toml"):
        shutil.copy(EXAMPLE / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAYFOLD_NOW", traffic.NOW.isoformat())
    blocks = re.findall(r"```console\n\$ dayfold (.+?)\n(.+?)\n```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 9
    for command, answer in blocks:
        capfd.readouterr()
        assert outcome(shlex.split(command)) == 0
        told = capfd.readouterr()
        assert (told.out + told.err).rstrip("\n") == answer, command


# -- the service -------------------------------------------------------------------------------------


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of an ASGI application over real HTTP; afterwards every request that came has been answered."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
def test_each_upload_counts_once_however_often_it_is_sent(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
) -> None:
    """Providers fail and do not answer, clients time out and try again, and at last everything is sent again to a new process's service.

    Each file counts once, with the provider that the service stored it at; each request counts once; the identity and the law of
    conservation hold all the while.
    """
    keys = {f"secret-{n}": service.Key(f"key-{n}", f"user-{n % 2}") for n in range(4)}
    sent: Counter[str] = Counter()
    files: dict[str, Any] = {}
    with ground(request, tmp_path, engine) as (url, live):
        load.load(url, live) if False else load.make(url, [])
        found = Uploads.open(url, live, tmp_path)
        found.clock.instant = dt.datetime.now(dt.UTC)
        counters = found.app.counters
        with found.app:
            counters.flush()
            for _ in range(2):
                providers = [service.Provider(name, 0.15, 0.03, 0.001) for name in traffic.PROVIDERS]
                app = service.create(found.app, dict(keys), providers, patience_s=0.05)
                with serving(app) as at, watched(found):
                    driven = drive.drive(at, list(keys), 120, clients=6)
                sent += driven.requests
                # Impatient clients and failures there were.
                assert {0, 201, 404} <= set(driven.answers)
                for id, one in app.state.service.files.items():
                    files.setdefault(id, one)
                counters.flush()
            by_key: dict[str, list[int]] = {one.id: [sent[secret], 0, 0] for secret, one in keys.items()}
            by_provider: Counter[tuple[str, str]] = Counter()
            for id, one in files.items():
                key = id.split('"')[1]
                by_key[key][1] += 1
                by_key[key][2] += one.size
                by_provider[key, one.provider] += 1
            rows = found.rows(
                "SELECT api_key_id, total_requests, total_files_uploaded, total_file_size FROM api_key_usage"
            )
            assert {key: amounts for key, *amounts in rows} == by_key
            rows = found.rows("SELECT api_key_id, provider, upload_count FROM provider_usage")
            assert {(key, provider): count for key, provider, count in rows} == by_provider
            assert holds(found)
            assert all(one.holds and not any(one.pending.values()) for one in counters.conservation())


def holds(found: Uploads) -> bool:
    """Whether requests are those that went well and those that did not."""
    odd = "total_requests <> successful_requests + failed_requests"
    return found.rows(f"SELECT count(*) FROM api_key_usage WHERE {odd}") == [(0,)]


@contextmanager
def watched(found: Uploads) -> Iterator[None]:
    """Meanwhile what is counted is flushed again and again, the identity holds, and so does the law of conservation."""
    ended, wrong = threading.Event(), list[str]()

    def look() -> None:
        while not ended.wait(0.05):
            found.app.counters.flush()
            if not holds(found):
                wrong.append("identity")
            wrong.extend(str(one) for one in found.app.counters.conservation() if not one.holds)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert wrong == []


def test_a_deleted_key_counts_no_more_and_keeps_its_history(tmp_path: Path) -> None:
    """Who asks without a key, or with one that is gone, is refused and counted for nobody."""
    url = f"duckdb:///{tmp_path}/uploads.duckdb"
    load.make(url, [])
    found = Uploads.open(url, None, tmp_path)
    found.clock.instant = dt.datetime.now(dt.UTC)
    with found.app:
        app = service.create(found.app, {"s": service.Key("k", "u")}, [service.Provider("amber")])
        with serving(app) as at:
            client = drive._Client(at, ["s"], "one")
            asked = [("POST", "/uploads", b"abc"), ("POST", "/uploads", b""), ("DELETE", "/key", None)]
            asked += [("POST", "/uploads", b"abc"), ("GET", "/uploads/1", None), ("DELETE", "/key", None)]
            statuses = [client._send(method, path, "s", 10, body) for method, path, body in asked]
            client._close()
        found.app.counters.flush()
        assert statuses == [201, 422, 204, 401, 401, 401]
        assert found.rows(f"SELECT api_key_id, user_id, {', '.join(BY_KEY)} FROM api_key_usage") == [
            ("k", "u", 3, 2, 1, 3, 1)
        ]


# -- who sees what -----------------------------------------------------------------------------------


@pytest.fixture
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Uploads, str, str]]:
    """The counters in PostgreSQL with two users' keys, and the names of the two roles."""
    mark = secrets.token_hex(4)
    owners, everybody = f"authenticated_{mark}", f"service_role_{mark}"
    with ExitStack() as stack:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = stack.enter_context(server.database())
        load.make(url, [traffic.ApiKey(f"key-{n}", f"user-{n}", 100) for n in (1, 2)])
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        for role in (owners, everybody):
            connection.execute(f"create role {role}")
            stack.callback(connection.execute, f"drop role {role}")
            stack.callback(connection.execute, f"drop owned by {role} cascade")
        rls = {"expression": WHO, "owner_roles": [owners], "all_roles": [everybody]}
        found = Uploads.open(url, None, tmp_path, rls=rls)
        with found.app:
            counters = found.app.counters
            for n in (1, 2, 2):
                words = {"api_key_id": f"key-{n}", "owner": f"user-{n}", "total_file_size": 10 * n}
                counters.add("ApiKeyUsage", total_requests=1, successful_requests=1, **words)
                counters.add("ProviderUsage", provider="amber", upload_count=1, **words)
            assert {run.status for run in found.app.fold()} == {"done"}
            found.app.policies().install()
            yield found, owners, everybody


def test_owners_see_their_rows_and_the_service_role_all(guarded: tuple[Uploads, str, str]) -> None:
    """Of the current totals, of the days, and of views over them that ask as their reader does."""
    found, owners, everybody = guarded
    tables = ["api_key_usage", "api_key_usage_daily", "provider_usage", "provider_usage_daily", "quota_daily"]
    with psycopg.connect(found.url, autocommit=True) as connection:
        for table in list(tables):
            connection.execute(f"create view seen_{table} with (security_invoker = true) as select * from {table}")
            connection.execute(f"grant select on seen_{table} to {owners}, {everybody}")
            tables.append(f"seen_{table}")

        def read(role: str, who: str, table: str) -> set[str]:
            connection.execute("select set_config('app.uid', %s, false)", [who])
            connection.execute(f"set role {role}")
            try:
                return {user for (user,) in connection.execute(f"select user_id from {table}").fetchall()}
            finally:
                connection.execute("reset role")

        for table in tables:
            assert read(owners, "user-1", table) == {"user-1"}, table
            assert read(owners, "user-2", table) == {"user-2"}, table
            assert read(owners, "", table) == set(), table
            assert read(everybody, "", table) == {"user-1", "user-2"}, table
        # What batches are added to is nobody's but the folds'.
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            read(owners, "user-1", "dayfold_counted_api_key_usage")
    assert {one.state for one in found.app.policies().status()} == {"ok"}
