"""Erase: nothing of a person stays in the store or its files, and what was folded of them is right afterwards."""

from __future__ import annotations

import datetime as dt
import json
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dayfold import Collect, Count, Dayfold, Distinct, First, Min, Profile, Rollup, Sum, events
from dayfold.collect.event import Event
from dayfold.collect.intake import Held, Record, Ticket
from dayfold.days import Days
from dayfold.engines.connect import duckdb_path, is_duckdb
from dayfold.errors import Busy, UsageError
from dayfold.fold.erase import Outside
from dayfold.fold.fold import FoldResult
from dayfold.ledger import coverage, holders, quarantine, receipts, runs
from dayfold.ledger import events as log
from dayfold.ledger import jobs as ledger_jobs
from dayfold.ledger.events import Outcome
from dayfold.ledger.migrations import TABLES
from dayfold.plan.access import UNREDACTED
from dayfold.plan.exports import ExportAsked
from tests.eventlog import NOON, event, send
from tests.sql import Session, is_clickhouse, ledger_of, rows_of, store_config

TODAY = dt.date(2026, 3, 12)
DAY = NOON.date()
#: Of one person: what must be found nowhere afterwards.
ACTOR, BROWSER = "person-5b1f77e0", "browser-90c2aa4d"
MAIL, PAGE = "ada.5b1f77@example.org", "https://shop.example/secret-5b1f77"
VALUES = (ACTOR, BROWSER, MAIL, PAGE)
SAID = events.columns(project_id="text")


class Daily(Rollup):
    """What happened in one project on one day."""

    key = "project_id"
    views = Count(events, at="occurred_at")
    visitors = Distinct(events, "coalesce(actor_id, anonymous_id)", at="occurred_at")
    pages = Distinct(events, "page", at="occurred_at")
    cents = Sum(events, "(props->>'cents')::bigint", at="occurred_at", trust="public")


class ByActor(Rollup):
    """What one actor did in one hour."""

    key = "actor_id"
    grain = "hour"
    views = Count(events, at="occurred_at")
    browsers = Distinct(events, "anonymous_id", at="occurred_at")


class Whole(Rollup):
    """The platform, from the projects."""

    visitors = Distinct(Daily, "visitors", at="day")


visits = events.source(columns={"visitor": "coalesce(actor_id, anonymous_id)"})


class Visitors(Profile):
    """Each visitor's whole life."""

    key = ("project_id", "visitor")
    index = ("first_page",)
    first_at = Min(visits, "occurred_at")
    first_page = First(visits, "page", at="occurred_at", ties="id")
    mails = Collect(visits, "props->>'email'", at="occurred_at", ties="id", trust="public")
    views = Count(visits)


class ByPage(Rollup):
    """Visitors by the page that they came to first."""

    key = "first_page"
    visitors = Count(Visitors, at="first_at")


class Clock:
    """Stands still at the noon of a day."""

    def now(self) -> dt.datetime:
        """The moment."""
        return dt.datetime.combine(TODAY, dt.time(12), dt.UTC)


Make = Callable[..., Dayfold]


@pytest.fixture
def make(store_url: str) -> Iterator[Make]:
    """Applications over one store, on each engine."""
    made: list[Dayfold] = []

    def make(*rollups: Any, **settings: Any) -> Dayfold:
        if made:
            made.pop().close()
        said = [*(rollups or (Daily, ByActor, Whole)), SAID]
        made.append(Dayfold(said, {**store_config(store_url, long_view=""), **settings}, clock=Clock()))
        return made[0]

    yield make
    for app in made:
        app.close()


def theirs(number: int, **more: Any) -> dict[str, Any]:
    """An event of the person."""
    words = {
        "actor_id": ACTOR,
        "anonymous_id": BROWSER,
        "page": PAGE,
        "props": {"email": MAIL, "cents": 100},
        "project_id": "p",
    }
    return event(number, **{**words, **more})


def others(number: int, who: str = "u", **more: Any) -> dict[str, Any]:
    """An event of somebody else."""
    return event(
        number, **{"actor_id": who, "anonymous_id": f"b-{who}", "props": {"cents": 1}, "project_id": "p", **more}
    )


def query(app: Dayfold, text: str, **values: Any) -> list[tuple[Any, ...]]:
    """What the store holds; ``_log``: the events."""
    with app.ledger.store.transaction(read_only=True) as session:
        place = log.table(log.TABLE, app.ledger.store.schema)
        values = {**values, "_log": place} if "_log" in text else values
        return [tuple(row) for row in session.rows(app.ledger.sql(text, **values))]


def total(app: Dayfold, rollup: str, metric: str, first: dt.date = DAY, last: dt.date = TODAY) -> tuple[Any, bool]:
    """A metric over a range, and whether it is exact."""
    answer = app.query(rollup, [metric], from_=first, to=last, grain="total", allow_missing=True)
    return answer.rows[0][metric], answer.exact.get(metric, True)


def hold(app: Dayfold, number: int, **words: Any) -> None:
    """An event is in quarantine."""
    moment = int(NOON.timestamp() * 1e6)
    one = Event(str(uuid.UUID(int=number)), "x", moment, moment, 0, "public", "web", **words)
    held = Held(one.id, quarantine.UNDECLARED, "It is of no declared type.", one)
    app.event_log._take(Ticket(Record(tuple(app.catalog.entities.types), [], [held]), 0))


def seal(app: Dayfold, rollup: str, days: Days) -> None:
    """Days are sealed, as retention does it."""
    name, store = app.catalog[rollup].name, app.ledger.store
    bound = next(one for one in app.bind().rollups if one.name == name)
    with store.transaction() as session:
        run_id = runs.begin(app.ledger, session, "seal", name, 1, "a test", days)
        for source in dict.fromkeys(scan.label for scan in bound.scans):
            coverage.seal(app.ledger, session, name, 1, source, days, run_id)
        receipts.record(app.ledger, session, bound.shape, name, 1, days, run_id, lasting=True)
        runs.finish(app.ledger, session, run_id, runs.DONE, None)


def test_a_person_is_gone_and_counts_are_right(make: Make) -> None:
    """Their events go, with those of their browsers from before they were known; everybody else's stay, on every grain."""
    app = make()
    app.fold()
    send(
        app,
        theirs(1),
        theirs(2, actor_id=None),
        others(3),
        others(4, anonymous_id=BROWSER),
        theirs(5, occurred_at=NOON + dt.timedelta(days=1), project_id="q"),
    )
    app.fold()
    assert total(app, "Daily", "views") == (5, True)
    made = app.erase([ACTOR])
    assert made.state == "done"
    assert [one["rows"] for one in made.searched[:3]] == [3, 3, 0]
    assert [one["kind"] for one in made.identifiers] == ["actor", "anonymous"]
    assert [one["given"] for one in made.identifiers] == [True, False]
    assert sorted((one["rollup"], one["error"]) for one in made.refolded) == [
        ("ByActor", None),
        ("Daily", None),
        ("Whole", None),
    ]
    assert query(app, "select actor_id, coalesce(anonymous_id, '') from _log order by 2") == [("u", ""), ("u", "b-u")]
    assert total(app, "Daily", "views") == (2, True)
    assert total(app, "Daily", "visitors") == (1, True)
    assert total(app, "Daily", "cents") == (2, True)
    assert total(app, "Whole", "visitors") == (1, True)
    assert query(app, "select count(*) from dayfold__marks") == [(0,)]
    assert all(one.is_proved for one in app.verify(from_=DAY, to=TODAY))


def test_a_second_erasure_finds_nothing(make: Make) -> None:
    """Again is harmless, and says so."""
    app = make()
    app.fold()
    send(app, theirs(1))
    app.erase([ACTOR])
    again = app.erase([ACTOR], [BROWSER])
    assert (again.rows, again.state, again.refolded, again.rewritten) == (0, "done", [], [])
    assert "  Nothing was found.\n" in again.text()


def test_looking_changes_nothing(make: Make) -> None:
    """A dry run counts what would go."""
    app = make()
    app.fold()
    send(app, theirs(1), others(2))
    app.fold()
    made = app.erase([ACTOR], dry_run=True)
    assert (made.state, made.erasure) == ("dry run", 0)
    assert {one["holder"]: one["rows"] for one in made.searched}["events"] == 1
    assert made.text().startswith("What an erasure would do\n")
    assert query(app, "select count(*) from _log") == [(2,)]
    assert query(app, "select count(*) from dayfold__erasures") == [(0,)]


def test_nobody_is_erased_by_mistake(make: Make) -> None:
    """A name has to be given, and to be one."""
    app = make()
    with pytest.raises(UsageError) as caught:
        app.erase()
    assert str(caught.value) == "Nobody is named.\n  Name them: dayfold erase --actor ID, --anonymous ID, or both."
    with pytest.raises(UsageError) as caught:
        app.erase([" "])
    assert str(caught.value) == "A name is empty, or holds a NUL.\n  Give each as the events have it."
    with pytest.raises(UsageError) as caught:
        app.erase([str(n) for n in range(1001)])
    assert str(caught.value) == "1,001 names were given; one person has at most 1,000.\n  Erase one person at a time."


def test_held_events_go_with_whom_they_name(make: Make) -> None:
    """Also deep in their properties; those of others stay, though something of theirs has the number that a person has."""
    app = make()
    app.fold()
    hold(app, 1, properties=json.dumps({"friends": [{"id": ACTOR}]}))
    hold(app, 2, actor_id="42")
    hold(app, 3, entities=("42",), properties='{"project_id":"42"}')
    made = app.erase([ACTOR])
    assert {one["holder"]: one["rows"] for one in made.searched}["quarantine"] == 1
    app.erase(["42"])
    assert query(app, "select cast(id as text) from dayfold__quarantine") == [(str(uuid.UUID(int=3)),)]


@pytest.mark.parametrize("name", ["42", "rows", 'Zoë "Z"'])
def test_what_names_nobody_stays_as_it_was(make: Make, name: str) -> None:
    """A person's id may be a number that stands in counts, moments and words of ours too; the records are read as before."""
    app = make()
    app.fold()
    send(app, theirs(1, actor_id=name))
    summary = {"rows": 42, "at": "12:42:10", "of": f"cells of {name}, and more"}
    with app.ledger.store.transaction() as session:
        number = ledger_jobs.queue(app.ledger, session, "fold", "manual", {"erasure": 42}, f"embed {name}")
        query = "update dayfold__job_runs set summary = :summary where id = :id"
        session.execute(app.ledger.sql(query, summary=json.dumps(summary), id=number))
    app.erase([name])
    with app.ledger.store.transaction(read_only=True) as session:
        run = ledger_jobs.run(app.ledger, session, number)
    assert run is not None
    assert (run.request, run.asked_by) == ({"erasure": 42}, "embed erased")
    assert run.summary == {"rows": 42, "at": "12:42:10", "of": "cells of erased, and more"}


def test_an_erased_event_does_not_come_back(make: Make) -> None:
    """A client that sends it again, with whatever payload, adds nothing and is not told of a conflict."""
    app = make()
    app.fold()
    send(app, theirs(1))
    app.erase([ACTOR])
    assert send(app, theirs(1), theirs(1, payload=7)) == [Outcome.REPEATED, Outcome.REPEATED]
    assert query(app, "select count(*) from _log") == [(0,)]
    assert query(app, "select count(*) from dayfold__quarantine") == [(0,)]


def test_sealed_sets_lose_the_person_and_say_so(make: Make) -> None:
    """Published numbers stay; a union over a reduced set is not exact any more, and nothing drifts."""
    app = make()
    app.fold()
    next_day = NOON + dt.timedelta(days=1)
    send(
        app,
        theirs(1), others(2), others(3, "v"),
        theirs(4, occurred_at=next_day), others(5, occurred_at=next_day), others(6, "w", occurred_at=next_day),
    )  # fmt: skip
    app.fold()
    days = Days(DAY, next_day.date())
    for name in ("Daily", "Whole", "ByActor"):
        seal(app, name, days)
    assert total(app, "Daily", "visitors") == (4, True)
    hashes = query(
        app,
        "select count(*) from (select unnest(visitors) as h from _s) as x where h < 0",
        _s=log.table("daily__sets", app.ledger.store.schema),
    )
    assert hashes == [(0,)]
    made = app.erase([ACTOR])
    assert made.sealed == [
        {"rollup": "ByActor", "sets": 2, "keys": 2},
        {"rollup": "Daily", "sets": 2, "keys": 0},
        {"rollup": "Whole", "sets": 2, "keys": 0},
    ]
    for rollup in ("Daily", "Whole"):
        assert total(app, rollup, "visitors", DAY, DAY) == (3, True)
        assert total(app, rollup, "visitors") == (3, False)
    answer = app.query("Daily", ["visitors"], from_=DAY, to=TODAY, grain="total", allow_missing=True)
    assert answer.error == {"visitors": 2 / 3}
    assert total(app, "Daily", "views") == (6, True)
    keys = [
        key
        for (key,) in query(
            app, "select distinct actor_id from _t order by 1", _t=log.table("by_actor", app.ledger.store.schema)
        )
    ]
    assert [key.startswith("erased-") for key in keys] == [True, False, False, False]
    assert all(one.is_proved for one in app.verify(from_=DAY, to=TODAY))
    assert query(app, "select count(*) from dayfold__marks") == [(0,)]
    assert "sets on sealed days of values that are no name of the person: Daily.pages" in made.not_reached


def test_what_holds_personal_data_elsewhere_is_asked(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and files register in one list, and stand in the certificate; what waits for the log is brought in first."""
    app = make()
    app.fold()
    asked: list[str] = []
    monkeypatch.setattr(app.event_log, "settle", lambda: send(app, theirs(9)) and asked.append("settled"))
    app.outside.append(
        Outside("files", "what they did", lambda one: asked.append(",".join(one.names)) or 1, "files elsewhere")
    )
    made = app.erase([ACTOR])
    assert asked == ["settled", ACTOR, ACTOR]
    assert {"holder": "files", "holds": "what they did", "rows": 1} in made.searched
    assert "files elsewhere" in made.not_reached
    assert query(app, "select count(*) from _log") == [(0,)]


def test_files_of_all_that_was_folded_of_events_go(make: Make, tmp_path: Path) -> None:
    """Also of a rollup that is folded from another one, whose keys name people."""

    class Monthly(Rollup):
        """What one actor did, from their hours."""

        key = "actor_id"
        views = Sum(ByActor, "views", at="day")

    app = make(ByActor, Monthly, export={"folder": str(tmp_path / "files")})
    app.fold()
    send(app, theirs(1))
    app.fold()
    words = ExportAsked.parse(app.catalog, UNREDACTED, TODAY, what="rollup", name="Monthly", from_=DAY, to=DAY)
    row = app.exports.ask(words, UNREDACTED, "me", "me", lambda request: 1).row
    app.exports.work(row.id, lambda *_: None, lambda: None)
    [file] = (tmp_path / "files").iterdir()
    assert ACTOR in file.read_text()
    made = app.erase([ACTOR])
    assert {one["holder"]: one["rows"] for one in made.searched}["exports"] == 1
    assert list((tmp_path / "files").iterdir()) == []


def test_what_comes_meanwhile_knows_nothing_of_before(duckdb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event of the person that arrives while they are erased does not bring back what led them here."""
    told = threading.Event()

    def viewed(number: int, **more: Any) -> Ticket:
        moment = int(NOON.timestamp() * 1e6)
        words = {"anonymous_id": BROWSER, "page": "https://shop.example/", "entities": (None,), **more}
        one = Event(str(uuid.UUID(int=number)), "page_viewed", moment, moment, 0, "public", "web", **words)
        return Ticket(Record(("project_id",), [one]), 1, waits=True)

    with Dayfold([Daily, SAID], store_config(duckdb_url, long_view=""), clock=Clock()) as app:
        app.ledger.ready()
        intake = app.event_log.open(lambda tickets: told.set())
        intake.offer(viewed(1, actor_id=ACTOR, utm_source=MAIL))
        intake.settle()
        erase = holders.erase

        def erase_slowly(*words: Any) -> dict[str, int]:
            told.clear()
            intake.offer(viewed(2))
            # The log would take it at once.
            told.wait(1)
            return erase(*words)

        monkeypatch.setattr(holders, "erase", erase_slowly)
        app.erase([ACTOR], [BROWSER])
        intake.settle()
        assert query(app, "select first_source, last_source from _log") == [("(direct)", "(direct)")]


def test_every_table_of_the_ledger_is_said_to_hold_personal_data_or_not() -> None:
    """Whoever adds a table decides which: an entry of `HOLDERS`, or of `WITHOUT` with a reason."""
    held = {name for one in holders.HOLDERS for name in one.tables}
    assert held & set(holders.WITHOUT) == set()
    assert held - {log.TABLE} | set(holders.WITHOUT) == set(TABLES)
    assert all(holders.WITHOUT.values())


def test_a_rollup_that_cannot_be_folded_keeps_no_name(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells stay marked, as whole days; the certificate says why, and the next fold makes them right."""
    app = make()
    app.fold()
    send(app, theirs(1), others(2))
    app.fold()
    whole = app.fold

    def fold(names: Any = None, **more: Any) -> Any:
        results = whole(["Daily", "Whole"], **more)
        return [*results, FoldResult("ByActor", runs.FAILED, error="it is closed")]

    monkeypatch.setattr(app, "fold", fold)
    made = app.erase([ACTOR])
    assert {"rollup": "ByActor", "cells": 0, "error": "it is closed"} in made.refolded
    assert query(app, "select distinct rollup, key, day from dayfold__marks") == [("ByActor", None, DAY)]
    monkeypatch.undo()
    app.fold()
    assert query(app, "select actor_id from _t", _t=log.table("by_actor", app.ledger.store.schema)) == [("u",)]


def test_sealed_sets_in_the_long_view(store_url: str) -> None:
    """The view over all rollups goes on to say what was published of each day."""
    words = store_config(store_url)
    with Dayfold([Daily, SAID], words, clock=Clock()) as app:
        app.fold()
        send(app, theirs(1), others(2), theirs(3, project_id="q"))
        app.fold()
        seal(app, "Daily", Days(DAY, DAY))
        text = "select period, value from _t where metric = 'visitors' and period in ('day', 'week') order by 1, 2"
        place = log.table(app.settings.store.long_view, app.ledger.store.schema)
        before = query(app, text, _t=place)
        app.erase([ACTOR])
        assert [row for row in query(app, text, _t=place) if row[0] == "day"] == [
            row for row in before if row[0] == "day"
        ]
        assert total(app, "Daily", "visitors", DAY, DAY) == (2, False)


def test_an_open_transaction_is_waited_for(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that still sees the person keeps tables from being rewritten; the next erasure ends what was begun."""
    import psycopg

    from dayfold.engines import postgres

    monkeypatch.setattr(postgres, "_REWRITE_WAIT_S", 1)
    with Dayfold([Daily, SAID], store_config(postgres_url, long_view=""), clock=Clock()) as app:
        app.fold()
        send(app, theirs(1))
        app.fold()
        with psycopg.connect(postgres_url) as reader:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT count(*) FROM dayfold_events")
            with pytest.raises(Busy) as caught:
                app.erase([ACTOR])
        assert str(caught.value) == (
            f"A transaction of {app.ledger.store.address}, or of its server, that began before is still open, and sees what was deleted.\n"
            "  End it, and run the same again; nothing is lost."
        )
        assert query(app, "select state from dayfold__erasures") == [("erased",)]
        assert where(app, postgres_url)[ACTOR]
        # Other databases of the server have their own work, which ends by itself.
        monkeypatch.setattr(postgres, "_REWRITE_WAIT_S", 60)
        app.erase([ACTOR])
        assert query(app, "select distinct state from dayfold__erasures") == [("done",)]
        assert where(app, postgres_url) == {value: [] for value in VALUES}


def test_a_transaction_of_another_database_is_waited_for(
    new_postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees none of the rows; but while it writes, PostgreSQL keeps what was deleted on the whole server since it began."""
    import psycopg

    from dayfold.engines import postgres

    monkeypatch.setattr(postgres, "_REWRITE_WAIT_S", 1)
    ours, theirs_url = new_postgres(), new_postgres()
    with Dayfold([Daily, SAID], store_config(ours, long_view=""), clock=Clock()) as app:
        app.fold()
        with psycopg.connect(theirs_url) as writer:
            writer.execute("SELECT pg_current_xact_id()")
            send(app, theirs(1))
            app.fold()
            with pytest.raises(Busy):
                app.erase([ACTOR])
        monkeypatch.setattr(postgres, "_REWRITE_WAIT_S", 60)
        app.erase([ACTOR])
        assert where(app, ours) == {value: [] for value in VALUES}


# -- files -----------------------------------------------------------------------------------------


def files(app: Dayfold, url: str) -> dict[str, bytes]:
    """The bytes that the store has on disk: a DuckDB file with all beside it, the tables of a PostgreSQL or ClickHouse database."""
    if is_clickhouse(url):
        return clickhouse_files(url) | files(app, ledger_of(url))
    if is_duckdb(url):
        path = Path(duckdb_path(url, Path()))
        return {one.name: one.read_bytes() for one in path.parent.iterdir() if one.is_file()}
    with app.ledger.store.transaction() as session:
        session.execute("select 1")
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        [(folder,)] = connection.execute("SHOW data_directory").fetchall()
        found = connection.execute(
            "SELECT oid::regclass::text, pg_relation_filepath(oid) FROM pg_class WHERE relfilenode <> 0 OR relkind = 'r'"
        ).fetchall()
        held = {name: Path(folder) / path for name, path in found if path}
        return {name: one.read_bytes() for name, one in held.items() if one.exists()}


def clickhouse_files(url: str) -> dict[str, bytes]:
    """What stands in the files of each table of a database, those that were dropped and are not removed yet included."""
    with Session(rows_of(url)) as session:
        kept = session.run("SELECT name, arrayJoin(data_paths) FROM system.tables WHERE database = currentDatabase()")
        dropped = session.run("SELECT uuid FROM system.dropped_tables WHERE database = currentDatabase()")
        [(root,)] = session.run("SELECT path FROM system.disks WHERE name = 'default'")
    folders = {name: Path(root, path) for name, path in kept}
    folders |= {f"dropped {uuid}": Path(root, "store", str(uuid)[:3], str(uuid)) for (uuid,) in dropped}
    return {
        f"{name}: {one.relative_to(folder)}": plain_bytes(one.read_bytes())
        for name, folder in folders.items()
        for one in folder.rglob("*")
        if one.is_file()
    }


def plain_bytes(held: bytes) -> bytes:
    """A file of ClickHouse's without its compression: blocks of a sum, a method, two sizes and the data; another file as it is."""
    codecs, found, at = {0x82: "lz4_raw", 0x90: "zstd", 0x02: None}, [], 0
    while at < len(held):
        method, packed, size = struct.unpack_from("<BII", held, at + 16) if at + 25 <= len(held) else (0, 0, 0)
        data = held[at + 25 : at + 16 + packed]
        if method not in codecs or packed < 9 or at + 16 + packed > len(held):
            return held
        codec = codecs[method]
        found.append(pa.decompress(data, size, codec, asbytes=True) if codec else data)
        at += 16 + packed
    return b"".join(found)


def where(app: Dayfold, url: str) -> dict[str, list[str]]:
    """The files that each value of the person is found in."""
    held = files(app, url)
    return {value: sorted(name for name, data in held.items() if value.encode() in data) for value in VALUES}


def plain(url: str, app: Dayfold) -> None:
    """DuckDB keeps texts as they are, so that a search of bytes would find them."""
    if is_duckdb(ledger_of(url)):
        app.ledger.ready()
        store: Any = app.ledger.store.home
        store._connection.execute("PRAGMA force_compression = 'uncompressed'")


def checkpoint(url: str, app: Dayfold) -> None:
    """What was written is in the file."""
    if is_duckdb(ledger_of(url)):
        store: Any = app.ledger.store.home
        store._connection.execute("CHECKPOINT")


def filled(make: Make, url: str, *rollups: type[Rollup]) -> Dayfold:
    """An application in which the person has left traces wherever one can."""
    app = make(*rollups)
    plain(url, app)
    app.fold()
    for part in range(4):
        rows = [others(1000 * part + n, f"u{n}", page=f"https://shop.example/{n}") for n in range(200)]
        send(app, *rows, *(theirs(1000 * part + 500 + n, occurred_at=NOON - dt.timedelta(hours=n)) for n in range(20)))
        checkpoint(url, app)
    app.fold()
    checkpoint(url, app)
    app.accounts.note(f"embed {ACTOR}", "read", f"/v1/events?actor={ACTOR}", "refused")
    hold(app, 1, properties=json.dumps({"user": ACTOR, "email": MAIL, "page": PAGE}))
    checkpoint(url, app)
    return app


def test_no_byte_of_a_person_stays(make: Make, store_url: str) -> None:
    """After the erasure and the rewriting that it ends with, no file of the store has a name or a value of theirs."""
    app = filled(make, store_url)
    before = where(app, store_url)
    assert all(before.values())
    if is_clickhouse(store_url):
        assert all(any(name.startswith("dayfold_versions__") for name in found) for found in before.values())
    made = app.erase([ACTOR])
    assert made.rewritten
    checkpoint(store_url, app)
    assert where(app, store_url) == {value: [] for value in VALUES}
    assert total(app, "Daily", "visitors")[0] == 200
    assert query(app, "select actor, target from dayfold__audit where action = 'read'") == [
        ("embed erased", "/v1/events?actor=erased")
    ]


def test_no_byte_of_a_person_stays_in_profiles(make: Make, store_url: str) -> None:
    """Nor in whole lives, their indexes, and what is folded over them."""
    app = filled(make, store_url, Visitors, ByPage)
    app.erase([ACTOR])
    checkpoint(store_url, app)
    assert where(app, store_url) == {value: [] for value in VALUES}
    visitors, by_page = app.ledger.place("visitors"), app.ledger.place("by_page")
    assert query(app, "select count(*), sum(views) from _t", _t=visitors) == [(200, 800)]
    assert query(app, "select sum(visitors) from _t", _t=by_page) == [(200,)]
    assert query(app, "select count(*) from dayfold__marks") == [(0,)]
    assert all(one.is_proved for one in app.verify())


def test_deleting_alone_leaves_bytes(make: Make, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search finds what the rewriting takes away: without it, the test above would fail."""
    app = filled(make, store_url)
    monkeypatch.setattr(type(app.ledger.store), "rewrite", lambda self, names: ([], []))
    app.erase([ACTOR])
    checkpoint(store_url, app)
    assert any(where(app, store_url).values())


def test_a_rewritten_store_goes_on(make: Make, store_url: str) -> None:
    """Triggers, sequences, keys, views and other threads outlive the rewriting."""
    app = filled(make, store_url)
    before = query(app, "select max(id) from dayfold__runs")
    app.erase([ACTOR])
    assert query(app, "select max(id) from dayfold__runs") > before
    assert send(app, others(7001), others(1)) == [Outcome.ACCEPTED, Outcome.REPEATED]
    assert query(app, "select count(*) from dayfold__marks") == [(3 - 1,)]
    app.fold()
    assert all(one.is_proved for one in app.verify(from_=DAY, to=TODAY))
    assert query(app, "select count(*) from dayfold_runs where status = 'running'") == [(0,)]
    make().fold()
