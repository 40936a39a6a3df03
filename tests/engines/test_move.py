"""Moves of a whole store: what is asked of it before and after has one answer, and nobody writes to what has gone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from dayfold import Count, Dayfold, Distinct, Rollup, Sum, Table, events
from dayfold.clock import FixedClock
from dayfold.define.types import DATE, HASHES, INT, JSON, TEXT, decimal
from dayfold.errors import Busy, CopyDiffers, StoreIncomplete, StoreMoved, UsageError
from dayfold.fold.move import MoveResult
from dayfold.fold.move_copy import canonical, difference
from dayfold.fold.move_tables import Moved
from dayfold.ledger import leases, moves
from dayfold.movedesk import MoveDesk, place_of
from dayfold.plan.shape import Column
from dayfold.plan.sql import statement, table
from tests.engines import moving
from tests.engines.ground import NOW, march
from tests.eventlog import send
from tests.sql import Session, run_sql, store_config

Places = Callable[[str, str], str]


@pytest.fixture
def places(request: pytest.FixtureRequest, new_duckdb: Callable[..., str], new_postgres: Callable[[], str]) -> Places:
    """Makes an empty place on an engine, by a name of its own."""

    def make(engine: str, name: str) -> str:
        if engine == "clickhouse":
            return str(request.getfixturevalue("new_clickhouse")())
        return new_duckdb(name) if engine == "duckdb" else new_postgres()

    return make


def test_questions_are_more_than_two_hundred_of_every_kind() -> None:
    """What moves are judged by."""
    asked = moving.questions()
    assert len(asked) >= 200
    assert {verb for verb, _, _ in asked} == {
        "query", "profile", "profiles", "cohort", "funnel", "events", "event_rates", "event_report", "covered", "explain", "export",
    }  # fmt: skip


def test_a_moved_store_gives_the_same_answers(places: Places, new_clickhouse: Callable[..., str]) -> None:
    """Every question, coverage, marks that wait, receipts and what they say; there and back again. Then it goes on as it would have."""
    app = places("duckdb", "app")
    urls = [places("duckdb", "here"), places("postgres", ""), new_clickhouse("postgres"), places("duckdb", "there")]
    moving.fill(urls[0], app)
    with moving.opened(urls[0], app) as dayfold:
        said, known = moving.answers(dayfold), moving.standing(dayfold)
    assert known["receipts of Shops"][1] == ["2026-03-02"]
    for here, there in pairwise(urls):
        with moving.opened(here, app) as dayfold:
            result = moving.go(dayfold, there)
        assert (result.status, result.resumed) == ("moved", False)
        with moving.opened(there, app) as dayfold:
            assert moving.unlike(said, moving.answers(dayfold)) == []
            assert moving.standing(dayfold) == known
    with moving.opened(urls[-1], app) as dayfold:
        cells = {run.rollup: (run.cells, run.error) for run in dayfold.fold()}
    # Nine cells of events are marked, and nothing else is computed of them: triggers have missed nothing.
    assert cells["Seen"] == (9, None)


# -- a small store ---------------------------------------------------------------------------------------


def small(url: str, source: str) -> Dayfold:
    """A rollup with sets and a NULL key, over a table in another database."""
    visit = Table("visit", database="app")
    metrics = {
        "visits": Count(visit, at="made"),
        "people": Distinct(visit, "who", at="made"),
        "paid": Sum(visit, "paid", at="made"),
    }
    rollup = type("Visits", (Rollup,), {"key": "shop", **metrics})
    words = {**store_config(url, long_view=""), "databases": {"app": {"url": source}}}
    return Dayfold([rollup], words, clock=FixedClock(NOW))


@pytest.fixture
def source(new_duckdb: Callable[..., str]) -> str:
    """Visits of ten days."""
    url = new_duckdb("source")
    with Session(url) as session:
        session.run("CREATE TABLE visit (shop bigint, who text, paid numeric(12,2), made timestamptz)")
        rows = [
            {"shop": n % 4 or None, "who": f"p{n % 13}", "paid": n / 4, "made": march(n % 10 + 1)} for n in range(200)
        ]
        session.insert("visit", rows)
    return url


@pytest.fixture(params=[("duckdb", "postgres"), ("postgres", "clickhouse"), ("clickhouse", "duckdb")], ids="-".join)
def pair(request: pytest.FixtureRequest, places: Places, source: str) -> tuple[str, str]:
    """A folded store, and an empty place on the other engine."""
    here, there = (places(engine, name) for engine, name in zip(request.param, ("here", "there"), strict=True))
    with small(here, source) as app:
        assert [run.error for run in app.fold()] == [None]
    return here, there


def elsewhere(app: Dayfold, there: str) -> Dayfold:
    """The application over a place as tests name it."""
    to, _, ledger = there.partition("#")
    return app.elsewhere(to, ledger=ledger or None)


def third(source: str) -> str:
    """A place that is neither of a pair."""
    return source.replace("source.duckdb", "third.duckdb")


def in_portions(app: Dayfold, there: str, size: int, **how: Any) -> MoveResult:
    """The store goes in portions of so many rows."""
    to, _, ledger = there.partition("#")
    return MoveDesk(app, rows_at_once=size).move(to, ledger=ledger or None, **how)


def rows(app: Dayfold) -> list[dict[str, Any]]:
    """What the store says."""
    return list(app.query("Visits", from_="2026-03-01", to="2026-03-12", by=["shop"]).rows)


def test_portions_of_any_size_make_the_same_copy(pair: tuple[str, str], source: str) -> None:
    """Also of a few rows, where every third row of every table ends a portion, NULL keys among them."""
    with small(pair[0], source) as app:
        before = rows(app)
        result = in_portions(app, pair[1], 3)
    assert result.tables["visits"] == len([row for row in before if row["visits"]])
    with small(pair[1], source) as app:
        assert rows(app) == before
        assert [run.rows_inserted + run.rows_updated for run in app.fold()] == [0]


def test_nobody_writes_to_a_store_that_went(pair: tuple[str, str], source: str) -> None:
    """A fold is told where it went, and so is whoever goes past Dayfold; what is in it can be read."""
    here, there = pair
    with small(here, source) as app:
        before = rows(app)
        target = place_of(elsewhere(app, there).ledger.store)
        moving.go(app, there)
        with pytest.raises(StoreMoved) as refused:
            app.fold()
        assert str(refused.value) == (
            f"The store {app.ledger.store.address} was moved to {target}, and is not written to any more.\n"
            "  Name that one in dayfold.toml: [store] url. What stands in the old one can still be read."
        )
        assert rows(app) == before
        with pytest.raises(StoreMoved, match="was moved to"):
            app.accounts.create_token("reader", "read")
        assert moving.go(app, there).status == "moved before"
        [ledger] = [one for one in app.doctor() if one.subject == "ledger"]
        assert (ledger.level, ledger.message) == ("problem", refused.value.message)
        with pytest.raises(StoreMoved, match="was moved to"):
            app.move(third(source))
        with pytest.raises(StoreMoved, match="was moved to"):
            app.move(abandon=True)
    rows_at, _, ledger_at = here.partition("#")
    texts = [
        (ledger_at or rows_at, "DELETE FROM dayfold__coverage"),
        (ledger_at or rows_at, "UPDATE dayfold__fences SET token = 0"),
    ]
    # Rows in ClickHouse are those that the ledger has published.
    for url, text in [*texts, *([] if ledger_at else [(here, "UPDATE visits SET visits = 0")])]:
        with pytest.raises(Exception, match=r"dayfold: The store .* was moved to"):
            run_sql(url, text)


@pytest.mark.in_turn
def test_dry_run_says_what_would_go_and_changes_nothing(pair: tuple[str, str], source: str) -> None:
    """Tables with their rows; the other place stays empty."""
    here, there = pair
    with small(here, source) as app:
        result = moving.go(app, there, dry_run=True)
        assert (result.status, result.tables["visits"], result.tables["visits__sets"]) == ("planned", 20, 20)
        assert result.notes[-1] == "Grants, and indexes and views that others made, stay behind."
        assert [run.error for run in app.fold()] == [None]
    with small(there, source) as app:
        assert not app.ledger.exists()


def test_a_move_that_is_stopped_goes_on(pair: tuple[str, str], source: str) -> None:
    """Meanwhile one store is read and not written, and the other is neither; elsewhere it cannot go."""
    here, there = pair
    portions = 0

    def stop() -> None:
        nonlocal portions
        portions += 1
        if portions == 30:
            raise KeyboardInterrupt

    with small(here, source) as app:
        before = rows(app)
        with pytest.raises(KeyboardInterrupt):
            in_portions(app, there, 7, stop=stop)
        assert rows(app) == before
        with pytest.raises(StoreMoved, match=r"is being moved to .*, and is not written to meanwhile") as refused:
            app.fold()
        assert refused.value.hint == (
            "What stands in it can be read meanwhile. To go on: dayfold move --to URL. To stay: dayfold move --abandon."
        )
        with pytest.raises(UsageError, match="is being moved to"):
            app.move(third(source))
    with small(there, source) as app:
        for use in (app.fold, lambda: rows(app), app.status):
            with pytest.raises(StoreIncomplete, match="is being filled by a move, and is not whole yet"):
                use()
    with small(here, source) as app:
        assert moving.go(app, there, dry_run=True).resumed
        result = moving.go(app, there)
        assert (result.status, result.resumed) == ("moved", True)
    with small(there, source) as app:
        assert rows(app) == before


@pytest.mark.in_turn
def test_an_abandoned_move_leaves_the_store_as_it_was(pair: tuple[str, str], source: str) -> None:
    """It is folded again; what the other place has of it is refused, by another move too."""
    here, there = pair
    told: list[int] = []

    def progress(what: str, done: int, total: int) -> None:
        told.append(done)
        if len(told) == 5:
            raise KeyboardInterrupt

    with small(here, source) as app:
        with pytest.raises(KeyboardInterrupt):
            moving.go(app, there, progress=progress)
        result = app.move(abandon=True)
        assert result.status == "abandoned"
        assert [run.error for run in app.fold()] == [None]
        with pytest.raises(UsageError, match="is not being moved"):
            app.move(abandon=True)
        with pytest.raises(UsageError, match="holds a part of another move, which is not this one"):
            moving.go(app, there)


def test_a_place_with_something_in_it_is_refused(duckdb_url: str, postgres_url: str, source: str) -> None:
    """A store of its own, a table of a name that comes, and the store itself; nothing is changed by any of them."""
    here, there = duckdb_url, postgres_url
    with small(here, source) as app:
        app.fold()
    run_sql(there, "CREATE TABLE visits (a bigint)")
    with small(here, source) as app:
        with pytest.raises(UsageError, match="has tables already that are called like ours: visits"):
            moving.go(app, there)
        with pytest.raises(UsageError, match="is the store already"):
            moving.go(app, here)
        with pytest.raises(UsageError, match="Nothing says where the store should go"):
            app.move()
        assert [run.error for run in app.fold()] == [None]
    run_sql(there, "DROP TABLE visits")
    with small(there, source) as app:
        app.fold()
    with (
        small(here, source) as app,
        pytest.raises(UsageError, match=r"There is a store at .* already, with rows of its own"),
    ):
        moving.go(app, there)
    with (
        small(third(source), source) as app,
        pytest.raises(UsageError, match=r"There is no store at .*, so that nothing"),
    ):
        moving.go(app, there)


@pytest.mark.in_turn
def test_a_store_that_is_worked_with_does_not_go(pair: tuple[str, str], source: str) -> None:
    """Whoever holds a rollup is named; the store is written to afterwards as before."""
    here, there = pair
    with small(here, source) as app:
        held = pytest.raises(Busy, match=r"is being worked with: Visits is held by .* process \d+")
        with leases.lease(app.ledger, "Visits", wait_s=0), held:
            moving.go(app, there)
        assert [run.error for run in app.fold()] == [None]


def test_what_comes_into_two_databases_is_marked_there(places: Places) -> None:
    """No mark is lost on the way and nothing begins to be tracked: events of before and after the move change their cells, and no other."""
    app, here, there = places("duckdb", "app"), places("duckdb", "here"), places("clickhouse", "there")

    def opened(url: str) -> Dayfold:
        seen = {"seen": Count(events, at="occurred_at"), "actors": Distinct(events, "actor_id", at="occurred_at")}
        rollup = type("Seen", (Rollup,), {"key": "event_type", **seen})
        return Dayfold([rollup, events.columns(project="text")], moving.config(url, app), clock=FixedClock(moving.NOW))

    with opened(here) as dayfold:
        moving.assert_folded(dayfold)
        send(dayfold, *(moving.happened(n, n % 10 + 1) for n in range(60)))
        moving.assert_folded(dayfold)
        send(dayfold, moving.happened(600, 2))
        moving.go(dayfold, there)
    with opened(there) as dayfold:
        send(dayfold, moving.happened(601, 5))
        assert [(run.cells, run.error) for run in dayfold.fold()] == [(2, None)]


@pytest.mark.parametrize(
    ("to", "ledger", "message"),
    [
        ("clickhouse://h/d", None, "A store in ClickHouse has its ledger in another database"),
        ("clickhouse://h/d", "clickhouse://h/l", "The ledger cannot stand in ClickHouse"),
        ("duckdb:///other.duckdb", "duckdb:///ledger.duckdb", "Only a store in ClickHouse has its ledger in another"),
    ],
)
def test_a_ledger_is_named_where_one_is_needed(
    duckdb_url: str, source: str, to: str, ledger: str | None, message: str
) -> None:
    """And nowhere else."""
    with small(duckdb_url, source) as app, pytest.raises(UsageError, match=message):
        app.move(to, ledger=ledger)


def test_the_two_databases_of_a_store_are_two_empty_places(
    places: Places, new_clickhouse: Callable[..., str], source: str
) -> None:
    """A ledger does not go where the store is, and rows do not go beside those that another ledger knows."""
    here, there, rows_alone = places("duckdb", "here"), places("clickhouse", "there"), new_clickhouse("")
    with small(here, source) as app:
        app.fold()
        with pytest.raises(UsageError, match="holds a part of the store that is to be moved"):
            app.move(rows_alone, ledger=here)
    with small(there, source) as app:
        app.fold()
    with small(here, source) as app:
        with pytest.raises(UsageError, match="has tables already that are called like ours: visits"):
            app.move(there.partition("#")[0], ledger=places("postgres", ""))
        assert [run.error for run in app.fold()] == [None]
    with (
        small(f"{there.partition('#')[0]}#{places('postgres', '')}", source) as app,
        pytest.raises(UsageError, match="holds rows of a store whose ledger is not at"),
    ):
        app.fold()


def test_a_process_that_takes_events_in_does_not_move_their_store(duckdb_url: str, source: str) -> None:
    """What it acknowledged afterwards would stay in a journal that nobody reads."""
    with Dayfold([events.columns(shop="text")], {"store": {"url": duckdb_url}}, clock=FixedClock(NOW)) as app:
        app.ledger.ready()
        app.event_log.open(lambda tickets: None)
        with pytest.raises(Busy, match="This process takes events in"):
            app.move(third(source))


@pytest.mark.in_turn
def test_a_copy_that_somebody_changed_is_not_gone_to(
    pair: tuple[str, str], source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table, the day and the column are named, and no value."""
    here, there = pair
    whole = moves.note

    def note(ledger: Any, session: Any, mark: str, part: Any) -> None:
        whole(ledger, session, mark, part)
        if (part.name, part.state) == ("visits", moves.COPIED):
            change = "update _t set visits = visits + 1 where day = date '2026-03-04' and shop = 1"
            session.execute(statement(change, _t=table("visits", ledger.store.schema)))

    monkeypatch.setattr(moves, "note", note)
    with small(here, source) as app:
        address = elsewhere(app, there).ledger.store.address
        with pytest.raises(CopyDiffers) as refused:
            moving.go(app, there)
        assert refused.value.message == (
            f"The copy of visits in {address} is not the original: it differs in visits on 2026-03-04."
        )
        assert app.move(abandon=True).status == "abandoned"


@pytest.mark.parametrize("sources", [None, "old"], ids=["unnamed", "named"])
def test_sources_of_the_store_stay_in_it(postgres_url: str, duckdb_url: str, sources: str | None) -> None:
    """Triggers that mark in it are removed first. Named as the database that it is now, the sources are the same; else others."""

    def rollup(database: str | None) -> type[Any]:
        visit = Table("visit", database=database, changes="trigger")
        return type("Visits", (Rollup,), {"key": "shop", "visits": Count(visit, at="made")})

    with Session(postgres_url) as session:
        session.run("CREATE TABLE visit (shop bigint, made timestamptz)")
        session.insert("visit", [{"shop": n % 3, "made": march(n % 9 + 1)} for n in range(30)])
    clock = FixedClock(NOW)
    with Dayfold([rollup(None)], {"store": {"url": postgres_url, "long_view": ""}}, clock=clock) as app:
        app.track_install()
        app.fold()
        with pytest.raises(UsageError) as refused:
            app.move(duckdb_url)
        assert refused.value.message == "Triggers on visit mark in the store that is to be moved."
        app.track_remove()
        result = app.move(duckdb_url, sources=sources)
    begin = (
        f"visit stands in the old store, and stays there: name it in dayfold.toml, [databases.{sources or 'NAME'}] url"
    )
    assert result.notes[1].startswith(begin)
    words = {"store": {"url": duckdb_url, "long_view": ""}, "databases": {"old": {"url": postgres_url}}}
    with Dayfold([rollup("old")], words, clock=clock) as app:
        [run] = app.fold()
        assert (run.error, run.rows_inserted + run.rows_updated) == (None, 0)
        with app.ledger.store.transaction(read_only=True) as session:
            [(version,)] = session.rows(app.ledger.sql("select version from dayfold__rollups"))
    assert version == (1 if sources else 2)


# -- the comparison --------------------------------------------------------------------------------------


MIXED = Moved(
    "mixed",
    (
        Column("day", DATE),
        Column("n", decimal(12, 2)),
        Column("doc", JSON),
        Column("set", HASHES),
        Column("t", TEXT),
        Column("i", INT),
    ),
    (Column("day", DATE),),
    "day",
    is_identified=False,
)


def mixed(*found: tuple[Any, ...]) -> Any:
    """Rows as an engine gives them."""
    import pyarrow as pa

    types = (pa.date32(), pa.decimal128(12, 2), pa.string(), pa.list_(pa.int64()), pa.string(), pa.int64())
    columns = zip(*found, strict=True)
    names = [one.name for one in MIXED.columns]
    return canonical(
        pa.table([pa.array(values, type_) for values, type_ in zip(columns, types, strict=True)], names), MIXED
    )


DAY = dt.date(2026, 3, 1)


def test_cells_are_compared_by_value_and_not_by_spelling() -> None:
    """The order of rows, that of a document's names, an empty set for none."""
    one = mixed((DAY, Decimal("1.50"), '{"a":1.0,"b":[1e2]}', None, "x", None), (DAY, None, None, [1, 2], "", 3))
    other = mixed((DAY, None, None, [1, 2], "", 3), (DAY, Decimal("1.5"), '{"b": [100], "a": 1}', [], "x", None))
    assert one.equals(other)


@pytest.mark.parametrize(
    ("place", "value"), [(1, None), (2, '{"a": 1.00000000000000000001}'), (3, [1, 3]), (4, None), (4, "X"), (5, 0)]
)
def test_no_difference_is_too_small(place: int, value: Any) -> None:
    """Nothing for something, a digit, a letter's case, an empty text for NULL; the difference is told by column and day."""
    row = [DAY, Decimal("1.50"), '{"a": 1}', [1, 2], "", None]
    changed = [*row[:place], value, *row[place + 1 :]]
    one, other = mixed(tuple(row)), mixed(tuple(changed))
    assert not one.equals(other)
    assert difference(one, other, "day") == f"it differs in {MIXED.columns[place].name} on 2026-03-01"
    more = mixed(tuple(row), tuple(row))
    assert difference(one, more, "day") == "it has 2 rows where the original has 1, first on 2026-03-01"
