"""Very many events on each engine that may be the store: backfills, a late row, a question over all days, bytes, memory, the log."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks import subjects
from benchmarks.collect import METRICS, key_bytes
from benchmarks.engines import ENGINES, Engine, Peak, cleared, script
from benchmarks.machine import Failed, Stolen, run
from benchmarks.measures import MIB, millions
from benchmarks.results import Line, missing
from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.collect.event import Event
from dayfold.collect.writing import as_batch
from dayfold.errors import DayfoldError
from dayfold.ledger import events as log
from dayfold.ledger import marks, versions

#: After the last day of the events, so that none is open.
NOW = dt.datetime(2025, 4, 2, 12, tzinfo=dt.UTC)
FIRST, LAST, DAYS = "2025-01-01", "2025-03-31", 90
MANY, ROUNDS, SAMPLE = 1_000, 5, "account-007"
#: Events that are written to the log: batches as a busy collector makes them, and as one makes them that is not.
BATCHES = ((20_000, 10), (500, 40))
#: Rows of two days, one for each account, then of other days.
LATE = {
    "duckdb": "INSERT INTO event SELECT {first} + n, 'account-' || lpad((n % 500)::varchar, 3, '0'), "
    "TIMESTAMPTZ '2025-01-02 12:00:00+00' + (n // 500 * 40)::integer * INTERVAL '1 day', 'purchase', 12.34, 'late' "
    "FROM range({count}) AS t (n)",
    "postgres": "INSERT INTO event SELECT {first} + n, 'account-' || lpad((n % 500)::text, 3, '0'), "
    "timestamptz '2025-01-02 12:00:00+00' + n / 500 * interval '40 days', 'purchase', 12.34, 'late' "
    "FROM generate_series(0, {count} - 1) AS t (n)",
    "clickhouse": "INSERT INTO event SELECT toInt64({first} + number), concat('account-', leftPad(toString(number % 500), 3, '0')), "
    "addDays(toDateTime64('2025-01-02 12:00:00', 6, 'UTC'), intDiv(number, 500) * 40), 'purchase', toDecimal64('12.34', 2), 'late' "
    "FROM numbers({count})",
}
#: Ids whose key is measured.
KEYS = 5_000_000
ROLLUPS = {"CountsDaily": "without a Distinct", "VisitorsDaily": "with a Distinct"}
_SCRIPTS = {"CountsDaily": "counts", "VisitorsDaily": "distinct"}
_TABLES = {"CountsDaily": ["counts_daily"], "VisitorsDaily": ["visitors_daily", "visitors_daily__sets"]}


def large(rows: int, engines: Sequence[str]) -> Iterator[Line]:
    """Lines for each engine; what they answer is compared, and has to be the same."""
    answers: dict[str, dict[str, Any]] = {}
    for name in engines:
        with subjects.folder() as place:
            title = name
            try:
                with ENGINES[name](place) as engine:
                    title = engine.name
                    answers[title] = {}
                    yield from _of_engine(engine, place, rows, answers[title])
            except (Failed, DayfoldError, OSError, ValueError) as failed:
                yield missing(f"large, {millions(rows)}, {title}", "Dayfold", str(failed))
    if len(answers) > 1:
        found = {json.dumps(one, sort_keys=True, default=str) for one in answers.values()}
        said = "the same numbers" if len(found) == 1 else f"NOT the same numbers: {answers}"
        yield Line(f"large, {millions(rows)}", " and ".join(answers), "–", "–", said)


def _of_engine(engine: Engine, place: Path, rows: int, answers: dict[str, Any]) -> Iterator[Line]:
    work = f"large, {millions(rows)}, {engine.name}"
    began = time.perf_counter()
    engine.run(script(_key(engine), "large", rows))
    if engine.name == "PostgreSQL":
        engine.run("CREATE INDEX ON event (account, occurred_at)")
        engine.run("CREATE INDEX ON event USING brin (occurred_at)")
        engine.run("VACUUM ANALYZE event")
    made = time.perf_counter() - began
    size = engine.bytes_of("event")
    yield Line(
        work,
        "bytes of an event",
        f"{size / rows:.1f}",
        "–",
        f"made there in {made:.0f} s, with its indexes where it has any",
    )
    place.joinpath("dayfold.toml").write_text(engine.toml)
    shutil.copyfile(subjects.HERE / "rollups" / "large.py", place / "metrics.py")
    for rollup in ROLLUPS:
        yield from _backfill(engine, place, work, rows, rollup)
    with Dayfold(place / "metrics.py", clock=FixedClock(NOW)) as app:
        yield from _sizes(app, work)
        answers["history"] = _totals(app)
        for rollup in ROLLUPS:
            yield from _late(engine, app, work, rows, rollup)
        yield from _questions(engine, app, work, answers)
    yield from _logged(engine, place, work)


def _key(engine: Engine) -> str:
    return {"DuckDB": "duckdb", "PostgreSQL": "postgres", "ClickHouse": "clickhouse"}[engine.name]


def _backfill(engine: Engine, place: Path, work: str, rows: int, rollup: str) -> Iterator[Line]:
    """The SQL that a person would write, then the product, once each: at this size a round is minutes."""
    title = f"backfill {ROLLUPS[rollup]}"
    stolen = Stolen()
    with Peak(engine.pids) as peak:
        by_hand = engine.run(script(_key(engine), _SCRIPTS[rollup]))
    said = _memory(engine, peak.bytes, None) + f"the host took {stolen.share:.0%} of the processors"
    yield Line(work, f"{title}, hand-written SQL", f"{by_hand:.2f} s", "–", said)
    cleared(engine)
    stolen = Stolen()
    command = [*subjects.dayfold_command(), "fold", rollup, "--json"]
    with Peak(engine.pids) as peak:
        finished = run(command, place, watch_memory=True, environment={"DAYFOLD_NOW": NOW.isoformat()})
    [told] = json.loads(finished.output)["runs"]
    if told["status"] != "done":
        raise Failed(f"{rollup}: {told['status']}")
    ours = float(told["seconds"])
    said = (
        f"{ours / by_hand:.2f} × the hand-written SQL; {rows / ours / 1e6:.2f} M events a second; {told['cells']:,} cells; "
        f"{_memory(engine, peak.bytes, finished.peak_bytes)}the host took {stolen.share:.0%} of the processors"
    )
    yield Line(work, f"{title}, Dayfold", f"{ours:.2f} s", "–", said)


def _memory(engine: Engine, of_engine: int, of_ours: int | None) -> str:
    """The most memory of both, in words."""
    ours = f"{of_ours / MIB:,.0f} MiB at most in Dayfold's process" if of_ours is not None else ""
    if not engine.pids():
        return f"{ours}, the engine in it; " if ours else ""
    theirs = f"{of_engine / MIB:,.0f} MiB in the engine's"
    return f"{ours}, {theirs}; " if ours else f"{theirs}; "


def _sizes(app: Dayfold, work: str) -> Iterator[Line]:
    """What a cell takes on disk, with its indexes and all that is kept of it."""
    with app.ledger.store.transaction(read_only=True) as session:
        for rollup, tables in _TABLES.items():
            sizes = app.ledger.store.sizes(session, tables)
            cells = sizes[tables[0]][0]
            row = sizes[tables[0]][1] / cells
            said = f"{cells:,} cells"
            if len(tables) > 1:
                [(_, whole)] = [sizes[tables[1]]]
                said += f"; {whole / cells:,.0f} bytes more for its set"
            yield Line(work, f"bytes of a cell {ROLLUPS[rollup]}", f"{row:.0f}", "–", said)


def _totals(app: Dayfold) -> Any:
    """What was folded in all; two engines that differ are wrong, however fast."""
    answer = app.query(
        "VisitorsDaily", ["events", "purchases", "revenue", "biggest"], from_=FIRST, to=LAST, grain="total"
    )
    return {name: str(value) for name, value in answer.rows[0].items()}


def _insert(engine: Engine, rows: int, count: int) -> list[tuple[str, dt.date]]:
    """Late rows are there, each in a cell of its own: the cells."""
    engine.run(LATE[_key(engine)].format(first=rows, count=count))
    return [(f"account-{n % 500:03d}", dt.date(2025, 1, 2) + dt.timedelta(days=n // 500 * 40)) for n in range(count)]


def _late(engine: Engine, app: Dayfold, work: str, rows: int, rollup: str) -> Iterator[Line]:
    """Rows arrive late and their cells are marked, as triggers, cursors or the event log would."""
    for count, rounds in ((1, ROUNDS), (MANY, 3)):
        times = []
        for turn in range(rounds + 1):
            cells = _insert(engine, rows, count)
            _mark(app, rollup, cells)
            began = time.perf_counter()
            [result] = app.fold([rollup])
            # The first fold of a process prepares what the others find; it is not counted.
            times += [time.perf_counter() - began] if turn else []
            if result.error or result.cells != count:
                raise Failed(result.error or f"expected {count} cells, got {result.cells}")
        title = "one late row" if count == 1 else f"{count:,} stale cells"
        said = (
            f"{min(times) / count * 1e6:,.0f} µs a cell"
            if count > 1
            else "1 cell computed, and two empty days looked at, in a process that is up"
        )
        yield Line(work, f"{title} {ROLLUPS[rollup]}", f"{min(times):.3f} s", f"{statistics.median(times):.3f} s", said)


def _mark(app: Dayfold, rollup: str, cells: Sequence[tuple[str, dt.date]]) -> None:
    """The cells are marked, in one transaction."""
    rows = {
        "key": pa.array([json.dumps([account]) for account, _ in cells], pa.string()),
        "day": pa.array([day for _, day in cells], pa.date32()),
        "marked_at": pa.array([NOW] * len(cells), pa.timestamp("us", "UTC")),
        "reason": pa.array(["late"] * len(cells), pa.string()),
    }
    with app.ledger.store.transaction() as session:
        version = versions.version_of(app.ledger, session, rollup)
        assert version is not None
        session.load("dayfold_late__", marks.COLUMNS_WITH_REASON[1:], pa.table(rows))
        marks.take_over(app.ledger, session, rollup, version.number, "dayfold_late__")


def _questions(engine: Engine, app: Dayfold, work: str, answers: dict[str, Any]) -> Iterator[Line]:
    """The visitors of 90 days: from the rollup's sets, and by hand from the events."""
    where = [f"account={SAMPLE}"]
    one = f" AND account = '{SAMPLE}'"
    asked: list[tuple[str, Callable[[], Any], str]] = [
        ("the visitors of one account by day", lambda: _ask(app, where, "day"), ""),
        ("the visitors of one account", lambda: _ask(app, where, "total"), one),
        ("the visitors of everybody", lambda: _ask(app, [], "total"), " "),
    ]
    for title, ask, condition in asked:
        times = []
        for _ in range(2 if condition == " " else ROUNDS):
            began = time.perf_counter()
            answers[title] = ask()
            times.append(time.perf_counter() - began)
        said = ""
        if condition:
            text = f"SELECT count(DISTINCT visitor) FROM event WHERE occurred_at >= '{FIRST}' AND occurred_at < '2025-04-01'{condition}"
            taken, counted = engine.ask(text)
            if counted != answers[title][0][1]:
                raise Failed(f"{title}: {answers[title]}, counted by hand {counted}")
            said = f"exact; {taken:.3f} s by hand from the events"
        yield Line(work, f"90 days, {title}", f"{min(times):.3f} s", f"{statistics.median(times):.3f} s", said)


def _ask(app: Dayfold, where: Sequence[str], grain: str) -> list[list[Any]]:
    answer = app.query("VisitorsDaily", ["visitors"], from_=FIRST, to=LAST, where=where, grain=grain)
    if not answer.exact:
        raise Failed("not exact")
    return [[str(row["day"]), row["visitors"]] for row in answer.rows]


def _logged(engine: Engine, place: Path, work: str) -> Iterator[Line]:
    """Events through the one way into the log: ids, rows, marks, all durable, by one process."""
    folder = place / "log"
    folder.mkdir()
    folder.joinpath("dayfold.toml").write_text(engine.toml)
    folder.joinpath("metrics.py").write_text(METRICS)
    with Dayfold(folder / "metrics.py", clock=FixedClock(NOW)) as app:
        app.ledger.ready()
        app.event_log.make()
        app.fold()
        sent = 0
        for size, turns in BATCHES:
            batches = [as_batch(_events(size), app.catalog.entities.types) for _ in range(turns + 1)]
            times = []
            for turn, batch in enumerate(batches):
                began = time.perf_counter()
                log.append(app.ledger, batch, app.catalog.entities.types)
                times += [time.perf_counter() - began] if turn else []
                sent += size
            rates = [size / one for one in times]
            said = f"{statistics.median(times) * 1000:.0f} ms a transaction in the median, of one process"
            title = f"event log, batches of {size:,}"
            yield Line(work, title, f"{max(rates):,.0f} a second", f"{statistics.median(rates):,.0f} a second", said)
        with app.ledger.store.transaction(read_only=True) as session:
            sizes = app.ledger.store.sizes(session, ["dayfold_events", log.IDS])
            pending = session.rows(app.ledger.sql("select count(*) from dayfold__marks"))[0][0]
        of_log, of_ids = (sizes[name][1] / sent for name in ("dayfold_events", log.IDS))
        said = f"{of_ids:.0f} bytes more for its id; {sent:,} events left {int(pending):,} marks"
        yield Line(work, "event log, bytes of an event", f"{of_log:.0f}", "–", said)
    if engine.name == "DuckDB":
        # What is looked up of it has to be in memory, and in the end that is all.
        bytes_ = key_bytes(KEYS) / KEYS
        yield Line(work, "event log, memory of a key of ids", f"{bytes_:.0f} bytes", "–", f"an id, of {millions(KEYS)}")


def _events(count: int) -> list[Event]:
    """Events of one minute, as a collector has them."""
    began = int(dt.datetime(2025, 4, 1, 12, tzinfo=dt.UTC).timestamp() * 1e6)
    return [
        Event(
            str(uuid.uuid4()), "asset_viewed" if n % 10 else "asset_downloaded", began + n * 3_000, began + n * 3_000, n, "server",
            "web", f'{{"seconds": {n % 60}, "title": "A page of the catalogue"}}',
            entities=(f"project-{n % 20}", f"asset-{n % 200}", None), anonymous_id=f"visitor-{n * 7919 % 20000}",
            session_id=f"session-{n * 7919 % 20000}", page=f"https://studio.example/assets/{n % 300}", utm_source="letter",
            utm_campaign="autumn", device_type="desktop", browser="Chrome", os="Windows", is_bot=False,
        )
        for n in range(count)
    ]  # fmt: skip
