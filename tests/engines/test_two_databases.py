"""A store in two databases: what travels between them, and what several processes see and leave of each other."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp

from dayfold import Count, Dayfold, Distinct, Rollup, Table
from dayfold.define.types import DATE, INT, TEXT
from dayfold.engines import compacting, duckdb, pair
from dayfold.engines.clickhouse import ClickHouse
from dayfold.engines.pair import PairStore
from dayfold.engines.writes import Writes
from dayfold.errors import Conflict
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, sql, table
from tests.sql import ledger_of, rows_of, run_sql, store_config

visit = Table(
    sql="select number % 50 as shop, concat('v', toString(number % 700)) as visitor, "
    "addHours(toDateTime('2026-03-01 00:00:00', 'UTC'), number % 72) as at from numbers(6000)"
)


class ShopDaily(Rollup):
    """What happened in one shop on one day."""

    key = "shop"
    visits = Count(visit, at="at")
    visitors = Distinct(visit, "visitor", at="at")


def test_first_fold_sends_the_ledger_days_and_no_cells(
    clickhouse_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and sets stay in ClickHouse: what comes to the ledger grows with days, however many keys there are."""
    loaded: list[int] = []
    load = duckdb.DuckSession.load

    def noted(self: Any, name: str, columns: Any, rows: Any) -> None:
        loaded.append(rows.num_rows)
        load(self, name, columns, rows)

    monkeypatch.setattr(duckdb.DuckSession, "load", noted)
    settings = {"store": {"url": clickhouse_url}, "ledger": {"url": f"duckdb:///{tmp_path}/ledger.duckdb"}}
    with Dayfold([ShopDaily], settings) as app:
        [result] = app.fold()
    assert (result.error, result.cells) == (None, 150)
    assert max(loaded) <= 10


@pytest.mark.parametrize("ledger", ["duckdb", "postgres"])
def test_nobody_sees_half_of_a_transaction(new_clickhouse: Callable[..., str], ledger: str) -> None:
    """Rows of two months change together, in statements of their own; our readers and the view of other programs see all or nothing."""
    url = new_clickhouse(ledger)
    columns = [Column("day", DATE), Column("n", INT)]
    rows = pa.table({"day": pa.array([dt.date(2026, 1, 5), dt.date(2026, 2, 5)], pa.date32()), "n": pa.array([100, 0])})
    first, second = (exp.cast(exp.Literal.string(day), "date") for day in ("2026-01-05", "2026-02-05"))
    found: list[tuple[str, int]] = []
    done = threading.Event()
    with Dayfold([], store_config(url)) as app:
        app.ledger.ready()
        store = app.databases.store
        place = table("moved", store.schema)
        with store.transaction() as session:
            session.make("moved", columns, identity=["day"], required=["day"], day="day")
            session.append("moved", columns, rows)

        def look() -> None:
            raw = ClickHouse(rows_of(url))
            while not done.is_set():
                with raw.transaction(read_only=True) as other:
                    found.append(("view", other.query("SELECT toInt64(sum(n)) FROM moved")[0][0]))
                with store.transaction(read_only=True) as session:
                    found.append(
                        ("ours", session.rows(Statement(sql("select cast(sum(n) as bigint) from _t", _t=place)))[0][0])
                    )
            raw.close()

        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(look)
            for _ in range(60):
                with store.transaction() as session:
                    # By turns over and back: in between the sum is another one.
                    for day, change in ((first, -1), (second, 1)):
                        update = sql(
                            "update _t set n = n + _c where day = _d", _t=place, _c=exp.Literal.number(change), _d=day
                        )
                        assert session.execute(Statement(update)) == 1
            done.set()
            looking.result()
        with store.transaction(read_only=True) as session:
            stored = session.rows(Statement(sql("select n from _t order by day", _t=place)))
    assert stored == [(40,), (60,)]
    assert {total for _, total in found} == {100}
    assert len(found) > 20


# -- several processes over one store ------------------------------------------------------------------

COLUMNS = [Column("day", DATE), Column("n", INT)]


class Shared:
    """A table of one store that several processes have open."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.apps: list[Dayfold] = []

    def store(self) -> PairStore:
        """The store as a process of its own has it."""
        app = Dayfold([], store_config(self.url))
        self.apps.append(app)
        if len(self.apps) == 1:
            app.ledger.ready()
            with app.databases.store.transaction() as session:
                session.make("shared", COLUMNS, identity=["day"], required=["day"], day="day")
        store = app.databases.store
        assert isinstance(store, PairStore)
        return store


@pytest.fixture
def shared(new_clickhouse: Callable[..., str]) -> Iterator[Shared]:
    """A table in ClickHouse, its ledger in PostgreSQL."""
    one = Shared(new_clickhouse("postgres"))
    yield one
    for app in one.apps:
        app.close()


def add(session: Any, *days: int, to: str = "shared") -> None:
    """A row for each of these days of January."""
    rows = {"day": pa.array([dt.date(2026, 1, day) for day in days], pa.date32()), "n": pa.array([1] * len(days))}
    session.append(to, COLUMNS, pa.table(rows))


def change(store: PairStore) -> None:
    """Every row has another number."""
    with store.transaction() as session:
        session.execute(Statement(sql("update _t set n = n + 1", _t=table("shared", store.schema))))


def days(store: PairStore) -> list[int]:
    """The days that are there."""
    with store.transaction(read_only=True) as session:
        return days_of(session, store)


def days_of(session: Any, store: PairStore) -> list[int]:
    """The days that a transaction sees."""
    rows = session.rows(Statement(sql("select day from _t order by day", _t=table("shared", store.schema))))
    return [day.day for (day,) in rows]


def test_what_another_process_is_writing_is_not_seen_and_not_tidied_away(shared: Shared) -> None:
    """A write that goes on is nobody's business but its own, however often others clean up."""
    mine, theirs = shared.store(), shared.store()
    with mine.transaction() as session:
        add(session, 1, 2)
        assert days(theirs) == []
        theirs.writes.tidy()
        assert days_of(session, mine) == [1, 2]
    assert days(theirs) == [1, 2]


def test_two_of_one_process_leave_the_writes_of_each_other_alone(new_clickhouse: Callable[..., str]) -> None:
    """A DuckDB file has one process, which may have it open more than once: as a server and a scheduler, say."""
    both = Shared(new_clickhouse("duckdb"))
    mine, theirs = both.store(), both.store()
    with mine.transaction() as session:
        add(session, 1, 2)
        theirs.writes.tidy()
    assert days(theirs) == days(mine) == [1, 2]
    for app in both.apps:
        app.close()


def test_what_was_published_while_others_clean_up_stays(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cleans up has listed a write that was going on, and comes to it when it is published."""
    mine, theirs = shared.store(), shared.store()
    listed, published = threading.Event(), threading.Event()
    is_abandoned = Writes._is_abandoned

    def slow(self: Writes, *words: Any) -> bool:
        listed.set()
        assert published.wait(60)
        return is_abandoned(self, *words)

    with ThreadPoolExecutor(1) as pool:
        with mine.transaction() as session:
            add(session, 1, 2)
            monkeypatch.setattr(theirs.writes, "_is_abandoned", slow.__get__(theirs.writes))
            tidied = pool.submit(theirs.writes.tidy)
            assert listed.wait(60)
        published.set()
        tidied.result()
    assert days(theirs) == days(mine) == [1, 2]


def test_rows_that_are_added_while_a_table_is_written_anew_are_not_lost(shared: Shared) -> None:
    """They would stand in a table that nobody reads: the transaction is refused, and is whole at its second try."""
    mine, theirs = shared.store(), shared.store()
    with mine.transaction() as session:
        add(session, 1)

    def add_another(meanwhile: Callable[[], object] = lambda: None) -> None:
        with mine.transaction() as session:
            add(session, 2)
            meanwhile()

    def write_anew() -> None:
        with theirs.transaction() as session:
            session.renew("shared")

    with pytest.raises(Conflict):
        add_another(write_anew)
    assert days(mine) == days(theirs) == [1]
    add_another()
    assert days(mine) == days(theirs) == [1, 2]


def test_reader_from_before_a_compaction_is_refused(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it read may have been gone: that is no answer. Whoever begins afterwards reads on."""
    monkeypatch.setattr(pair, "KEEP_S", 0)
    mine, theirs = shared.store(), shared.store()
    with mine.transaction() as session:
        add(session, 1, 2)

    def read() -> None:
        with mine.transaction(read_only=True) as session:
            assert days_of(session, mine) == [1, 2]
            change(theirs)
            assert compacting.compact(theirs, keep_s=0) == ["shared"]

    with pytest.raises(Conflict, match="may be gone"):
        read()
    assert days(mine) == [1, 2]


def test_what_a_long_write_replaces_stays_for_whoever_reads_by_it(shared: Shared) -> None:
    """Versions are old by when they were replaced, and not by when the write began that replaced them."""
    mine, theirs = shared.store(), shared.store()
    with mine.transaction() as session:
        add(session, 1, 2)
    with contextlib.ExitStack() as reading:
        with theirs.transaction() as session:
            session.execute(Statement(sql("update _t set n = n + 1", _t=table("shared", theirs.schema))))
            with mine.transaction() as other:
                # Younger than that write, and published before it.
                other.make("another", COLUMNS, identity=["day"], required=["day"], day="day")
            compacting.compact(mine, keep_s=0)
            reader = reading.enter_context(mine.transaction(read_only=True))
            assert days_of(reader, mine) == [1, 2]
        later(shared.url)
        compacting.compact(mine)
        assert days_of(reader, mine) == [1, 2]


def test_transaction_that_writes_for_long_is_not_refused(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it may need stays until it ends, whatever others publish and clean up meanwhile."""
    monkeypatch.setattr(pair, "KEEP_S", 0)
    mine, theirs = shared.store(), shared.store()
    with mine.transaction() as session:
        add(session, 1, 2)
        session.make("another", COLUMNS, identity=["day"], required=["day"], day="day")
    with contextlib.ExitStack() as reading:
        with theirs.transaction() as other:
            # Going on when the long one begins, and published long before it ends.
            other.execute(Statement(sql("update _t set n = n + 1", _t=table("shared", theirs.schema))))
            long = reading.enter_context(mine.transaction())
            assert days_of(long, mine) == [1, 2]
            add(long, 4, to="another")
        compacting.compact(theirs, keep_s=0)
        assert days_of(long, mine) == [1, 2]
    assert days(mine) == [1, 2]


WHO = [Column("who", TEXT), Column("day", DATE), Column("n", INT)]


def test_rows_of_nobody_are_compacted_like_others(shared: Shared) -> None:
    """A key may be NULL: of its rows, too, the newest stays, and one that is gone does not come back."""
    store = shared.store()
    place = table("known", store.schema)
    rows = {
        "who": pa.array([None, "a", None, "a"]),
        "day": pa.array([dt.date(2026, 1, day) for day in (1, 1, 2, 2)], pa.date32()),
        "n": pa.array([1, 1, 1, 1]),
    }
    with store.transaction() as session:
        session.make("known", WHO, identity=["who", "day"], required=["day"], day="day")
        session.append("known", WHO, pa.table(rows))
    for text in (
        "update _t set n = n + 1",
        "delete from _t where day = date '2026-01-02'",
        "insert into _t (who, day, n) values (null, date '2026-01-02', 7)",
        "update _t set n = n + 1 where day = date '2026-01-01'",
    ):
        with store.transaction() as session:
            session.execute(Statement(sql(text, _t=place)))
    look = Statement(sql("select coalesce(who, '-') as w, n from _t order by day, w", _t=place))
    with store.transaction(read_only=True) as session:
        assert (before := session.rows(look)) == [("-", 3), ("a", 3), ("-", 7)]
    assert compacting.compact(store, keep_s=0) == ["known"]
    with store.transaction(read_only=True) as session:
        assert session.rows(look) == before
    [(name,)] = run_sql(shared.url, "SELECT versions FROM dayfold__tables WHERE name = 'known' AND NOT revised")
    assert run_sql(shared.url, f'SELECT count(*) FROM "{name}"') == [(3,)]


def later(url: str) -> None:
    """Two hours go by for the ledger."""
    run_sql(url, "UPDATE dayfold__horizons SET noted_at = noted_at - interval '2 hours'")


def versions(shared: Shared) -> int:
    """How many versions of rows stand in the table."""
    [(name,)] = run_sql(shared.url, "SELECT versions FROM dayfold__tables WHERE name = 'shared'")
    [(count,)] = run_sql(shared.url, f'SELECT count(*) FROM "{name}"')
    return int(count)


def test_replaced_versions_go_where_no_process_lives_long(shared: Shared) -> None:
    """A fold by cron is a process of seconds: each looks in the ledger whether it is time, whoever looked last."""
    with shared.store().transaction() as session:
        add(session, 1, 2)
    for _ in range(3):
        change(shared.store())
    assert versions(shared) == 8
    later(shared.url)
    # The first notes what is settled, and the next, when that is old, removes what was replaced up to there.
    change(shared.store())
    assert versions(shared) == 10
    later(shared.url)
    change(shared.store())
    assert versions(shared) == 4
    assert days(shared.store()) == [1, 2]


# -- a ledger from a backup ----------------------------------------------------------------------------


def test_rows_that_are_newer_than_the_ledger_are_not_seen_again(new_clickhouse: Callable[..., str]) -> None:
    """The ledger is one from yesterday: it would give out numbers again, and what was written under them would come back."""
    url = new_clickhouse("duckdb")
    file = Path(ledger_of(url).removeprefix("duckdb:///"))
    with Dayfold([], store_config(url)) as app:
        app.ledger.ready()
        with app.databases.store.transaction() as session:
            session.make("shared", COLUMNS, identity=["day"], required=["day"], day="day")
        with app.databases.store.transaction() as session:
            add(session, 1)
    yesterday = file.read_bytes()
    with Dayfold([], store_config(url)) as app:
        for day in range(2, 6):
            with app.databases.store.transaction() as session:
                add(session, day)
        with app.databases.store.transaction() as session:
            session.make("lost", COLUMNS, identity=["day"], required=["day"], day="day")
    file.write_bytes(yesterday)
    with Dayfold([], store_config(url)) as app:
        store = app.databases.store
        assert isinstance(store, PairStore)
        assert days(store) == [1]
        for day in range(6, 8):
            with store.transaction() as session:
                add(session, day)
        assert days(store) == [1, *range(6, 8)]
    raw = ClickHouse(rows_of(url))
    with raw.transaction(read_only=True) as other:
        assert other.query("SELECT toDayOfMonth(day) FROM shared ORDER BY day") == [(day,) for day in (1, *range(6, 8))]
        query = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND endsWith(name, '__lost')"
        assert other.query(query) == [(0,)]
    raw.close()


def test_process_that_outlives_its_ledger_gives_out_no_number_twice(shared: Shared) -> None:
    """The database of the ledger fell over to a copy that lacks the last commits, while a process went on."""
    mine = shared.store()
    [(last,)] = run_sql(shared.url, "SELECT last FROM dayfold__head")
    for day in (1, 2, 3):
        with mine.transaction() as session:
            add(session, day)
    run_sql(shared.url, "DELETE FROM dayfold__published WHERE id > $1", [last])
    run_sql(shared.url, "DELETE FROM dayfold__writes WHERE id > $1", [last])
    run_sql(shared.url, "UPDATE dayfold__head SET last = $1", [last])
    assert days(mine) == []
    idle = shared.store()
    for day in (4, 5, 6, 7):
        with mine.transaction() as session:
            add(session, day)
    assert days(mine) == days(idle) == days(shared.store()) == [4, 5, 6, 7]


def test_thousands_of_lost_writes_are_removed_at_once(shared: Shared) -> None:
    """A backup of the ledger that is a day old lacks many writes; one statement for each table removes what they left."""
    mine = shared.store()
    [(last,)] = run_sql(shared.url, "SELECT last FROM dayfold__head")
    with mine.transaction() as session:
        add(session, 1)
    [(name,)] = run_sql(shared.url, "SELECT versions FROM dayfold__tables WHERE name = 'shared'")
    raw = ClickHouse(rows_of(shared.url))
    with raw.transaction() as other:
        other.command(
            f"INSERT INTO \"{name}\" SELECT toDate32('2026-01-02') + intDiv(number, 1000), 1, ({last} + 10 + number) * 65536 + 1, false, "
            "false FROM numbers(8000)"
        )
    raw.close()
    fresh = shared.store()
    with fresh.transaction() as session:
        add(session, 20)
    assert days(fresh) == days(mine) == [1, 20]
    assert versions(shared) == 2
