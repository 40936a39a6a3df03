"""Exports: what stands in the files, who may have them, where they are and when they go."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import fs, parquet

from dayfold import Count, Dayfold, Distinct, Gauge, Ratio, Rollup, Sum, events
from dayfold.clock import FixedClock
from dayfold.define.events import COLUMNS, PERSONAL
from dayfold.errors import ConfigError, Forbidden, Stopped, StoreError, UnknownName, UsageError
from dayfold.jobs.exports import Exports, owner_of
from dayfold.jobs.shelf import Shelf
from dayfold.jobs.work import Task, do
from dayfold.ledger import quarantine
from dayfold.plan.access import EVERYTHING, UNREDACTED, Scope
from dayfold.plan.exports import ExportAsked
from dayfold.query import exports as query_exports
from tests.engines.ground import NOW
from tests.eventlog import NOON, event, send
from tests.sql import store_config

pytestmark = pytest.mark.in_turn

ENTITIES = events.columns(shop_id="bigint", city="text")
TODAY = NOW.date()


class ShopDaily(Rollup):
    """Events of one shop."""

    key = ("shop_id", "city")
    seen = Count(events, at="occurred_at", where="event_type = 'asset_viewed'")
    visitors = Distinct(events, "anonymous_id", at="occurred_at")
    cents = Sum(events, "(props->>'cents')::bigint", at="occurred_at", trust="public")
    level = Gauge(events, "(props->>'cents')::bigint", at="occurred_at", trust="public")
    per_view = Ratio("cents", "seen")


def at(**span: float) -> dt.datetime:
    """A moment after the noon that the events begin at."""
    return NOON + dt.timedelta(**span)


BIG = 2**53 + 1
STORY = (
    event(1, shop_id=42, city="", anonymous_id="b1", props={"cents": BIG, "price": 1.10, "note": "a\nb"},
          page="https://x.test/?mail=a@x.test", event_type="asset_viewed"),
    event(2, shop_id=42, city="=1+1", actor_id="anna", anonymous_id="b1", occurred_at=at(hours=1), props={"cents": 5}),
    event(3, shop_id=43, city=None, actor_id="ben", anonymous_id="b2", occurred_at=at(days=2), props={"cents": 7}),
    event(4, city="'quoted", actor_id="+49 1", occurred_at=at(days=2, microseconds=1), user_agent="-2+3"),
)  # fmt: skip


@pytest.fixture
def make(store_url: str, tmp_path: Path) -> Iterator[Callable[..., Dayfold]]:
    """Makes applications over one store, with settings of exports."""
    made: list[Dayfold] = []

    def make(**export: Any) -> Dayfold:
        while made:
            made.pop().close()
        config = {**store_config(store_url), "export": {"folder": str(tmp_path / "files"), **export}}
        made.append(Dayfold([ShopDaily, ENTITIES], config, clock=FixedClock(NOW)))
        return made[0]

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make: Callable[..., Dayfold]) -> Dayfold:
    """An application whose log has the story, folded."""
    found = make()
    found.fold()
    send(found, *STORY)
    found.fold()
    return found


def written(app: Dayfold, what: str, name: str | None = None, form: str = "csv", **how: Any) -> bytes:
    """What an export writes."""
    stream = io.BytesIO()
    app.export(what, name, out=stream, form=form, **how)
    return stream.getvalue()


def lines(content: bytes) -> list[Any]:
    """JSON lines as objects."""
    return [json.loads(line) for line in content.decode().splitlines()]


def table(content: bytes) -> pa.Table:
    """Parquet as a table."""
    return parquet.read_table(io.BytesIO(content))


def test_events_in_each_form_are_the_same(app: Dayfold) -> None:
    """All digits, plain days, moments in UTC, and the empty text told from null."""
    found = lines(written(app, "events", form="jsonl", personal=True))
    assert [int(one["id"].replace("-", ""), 16) for one in found] == [1, 2, 3, 4]
    assert list(found[0]) == [*COLUMNS, "shop_id", "city"]
    assert (found[0]["occurred_at"], found[3]["occurred_at"]) == ("2026-03-09T12:00:00Z", "2026-03-11T12:00:00.000001Z")
    assert found[0]["properties"] == {"cents": BIG, "price": 1.1, "note": "a\nb"}
    assert [one["city"] for one in found] == ["", "=1+1", None, "'quoted"]
    rows = table(written(app, "events", form="parquet", personal=True)).to_pylist()
    assert [one["occurred_at"] for one in rows] == [NOON, at(hours=1), at(days=2), at(days=2, microseconds=1)]
    assert [json.loads(one.pop("properties")) for one in rows] == [one.pop("properties") for one in found]
    moments = ("occurred_at", "received_at")
    assert [{**one, **dict.fromkeys(moments)} for one in rows] == [{**one, **dict.fromkeys(moments)} for one in found]


def test_a_spreadsheet_runs_nothing_of_a_csv(app: Dayfold) -> None:
    """Texts that begin like a formula, or with an apostrophe, have one before them; numbers and all else are as they are."""
    text = written(app, "events", personal=True).decode()
    found = list(csv.DictReader(io.StringIO(text)))
    assert [one["city"] for one in found] == ["", "'=1+1", "", "''quoted"]
    assert (found[3]["actor_id"], found[3]["user_agent"], found[0]["is_bot"]) == ("'+49 1", "'-2+3", "")
    assert found[0]["occurred_at"] == "2026-03-09T12:00:00.000000Z"
    assert json.loads(found[0]["properties"])["cents"] == BIG
    # Null is nothing, and the empty text two quotes.
    assert text.rstrip("\n").splitlines()[1].endswith(',42,""')
    assert ",43,\n" in text


def test_personal_data_are_only_in_an_export_that_asks(app: Dayfold) -> None:
    """In each form; and only where the asker may see them."""
    for form in ("csv", "jsonl", "parquet"):
        content = written(app, "events", form=form)
        found = table(content).to_pylist() if form == "parquet" else None
        found = found or (lines(content) if form == "jsonl" else list(csv.DictReader(io.StringIO(content.decode()))))
        assert {one[name] or None for one in found for name in PERSONAL} == {None}
        assert found[0]["page"] == "https://x.test/"
    with pytest.raises(Forbidden) as refused:
        written(app, "events", personal=True, scope=Scope(events=True))
    assert str(refused.value) == (
        "Personal data are exported with the right to see them.\n"
        "  Leave personal out, or make a token that has it: dayfold token create NAME --kind read --personal"
    )


def test_raw_events_are_for_administrators_unless_given(app: Dayfold) -> None:
    """A rollup is for whoever sees it."""
    for what, name in (("events", None), ("actor", "anna")):
        with pytest.raises(Forbidden) as refused:
            written(app, what, name, scope=Scope(personal=True))
        assert str(refused.value) == (
            "Raw events are exported by administrators, and with tokens that were given it.\n"
            "  Make a token that may: dayfold token create NAME --kind read --events"
        )
    mine = Scope.of(None, {"shop_id": ["42"]}, events=True)
    assert [one["shop_id"] for one in lines(written(app, "events", form="jsonl", scope=mine))] == [42, 42]
    assert [one["seen"] for one in lines(written(app, "rollup", "ShopDaily", "jsonl", scope=mine))] == [1, 1]
    with pytest.raises(UnknownName, match="There is no rollup 'ShopDaily'"):
        written(app, "rollup", "ShopDaily", scope=Scope.of(["Other"], {}))


def test_events_are_narrowed_as_reads_are(app: Dayfold) -> None:
    """Days, entities, types, actors and sessions."""

    def found(**how: Any) -> list[int]:
        content = written(app, "events", form="jsonl", personal=True, **how)
        return [int(one["id"].replace("-", ""), 16) for one in lines(content)]

    assert found(from_="2026-03-10") == [3, 4]
    assert found(to="2026-03-09") == [1, 2]
    assert found(entity_type="shop", entity_id="42") == [1, 2]
    assert found(actor="anna") == [2]
    assert found(event_type="nothing") == []
    assert written(app, "events", event_type="nothing", form="csv").decode().startswith('"id","occurred_at"')
    assert table(written(app, "events", event_type="nothing", form="parquet")).num_rows == 0


@pytest.mark.parametrize("portion", [1, 2, 3, 7, 50])
def test_portions_hold_every_event_once(app: Dayfold, monkeypatch: pytest.MonkeyPatch, portion: int) -> None:
    """However many are read at once, and however many happened at one moment."""
    send(app, *(event(100 + n, occurred_at=at(days=n % 4, seconds=n % 3)) for n in range(40)))
    whole = lines(written(app, "events", form="jsonl"))
    assert len(whole) == 44
    monkeypatch.setattr(query_exports, "PORTION_ROWS", portion)
    told: list[tuple[str, int, int]] = []
    assert lines(written(app, "events", form="jsonl", progress=lambda *one: told.append(one))) == whole
    assert told[-1] == ("events", 4, 4)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert table(written(app, "events", form="parquet")).num_rows == 44


def test_a_rollup_is_exported_as_it_is_asked(app: Dayfold) -> None:
    """A row for each key of each day, with what a question for that day answers; nothing of it is lost in any form."""
    found = lines(written(app, "rollup", "shop_daily", "jsonl"))
    asked = app.query("ShopDaily", from_=NOON.date(), to=NOON.date(), by=["shop_id", "city"])
    assert [one for one in found if one["day"] == "2026-03-09"] == [
        {**row, "day": str(row["day"])} for row in asked.rows
    ]
    assert {(one["day"], one["shop_id"], one["city"], one["cents"]) for one in found} == {
        ("2026-03-09", 42, "", BIG), ("2026-03-09", 42, "=1+1", 5), ("2026-03-11", 43, None, 7),
        ("2026-03-11", None, "'quoted", 0),
    }  # fmt: skip
    rows = table(written(app, "rollup", "ShopDaily", "parquet"))
    assert str(rows.schema.field("day").type) == "date32[day]"
    assert [{**one, "day": str(one["day"])} for one in rows.to_pylist()] == found
    text = written(app, "rollup", "ShopDaily").decode()
    assert f'\n2026-03-09,42,"",1,1,{BIG},{BIG},' in text
    only = lines(
        written(app, "rollup", "ShopDaily", "jsonl", where=["shop_id=42"], from_="2026-03-01", to="2026-03-31")
    )
    assert {one["shop_id"] for one in only} == {42}


def test_days_without_a_number_are_counted(app: Dayfold) -> None:
    """A file has no place for the reason."""
    found = app.export("rollup", "ShopDaily", out=io.BytesIO(), from_="2026-03-10", to="2026-03-14")
    assert found.remarks() == {"missing_days": 2}


def test_what_is_known_of_one_actor(app: Dayfold) -> None:
    """Their events, what their browser did before, and what is held back; of nobody else anything."""
    with app.ledger.store.transaction() as session:
        for number, actor in ((1, "anna"), (2, "ben")):
            rows = {
                "id": f"00000000-0000-0000-0000-00000000000{number}", "event_id": f"00000000-0000-0000-0000-0000000000f{number}",
                "reason": "undeclared", "detail": "d", "event_type": "odd", "trust": "public", "actor_id": actor,
                "anonymous_id": None, "occurred_at": NOON, "received_at": NOON, "body": '{"secret": 12345678901234567890}',
            }  # fmt: skip
            session.append(
                quarantine.TABLE, quarantine.COLUMNS, pa.table({name: [value] for name, value in rows.items()})
            )
    content = written(app, "actor", "anna", "jsonl", personal=True)
    found = lines(content)
    assert [(one["kind"], one["event_type"], one["actor_id"]) for one in found] == [
        ("event", "asset_viewed", None), ("event", "asset_viewed", "anna"), ("held", "odd", "anna"),
    ]  # fmt: skip
    assert b"12345678901234567890" in content
    assert b"ben" not in content
    # Without personal data nothing of it says who, and what was held back is left out whole.
    redacted = written(app, "actor", "anna", "jsonl")
    assert len(lines(redacted)) == 2
    assert b"anna" not in redacted
    assert len(lines(written(app, "actor", "anna", "jsonl", personal=True, from_="2026-03-10"))) == 1


def test_words_that_do_not_fit_are_refused(app: Dayfold) -> None:
    """Before anything is read or written."""
    refused: dict[str, tuple[Any, ...]] = {
        "There is no export 'rollups'; the nearest is 'rollup'.\n  Known: events, rollup, profile, actor": ("rollups",),
        "An export of a rollup names it; the name is missing.": ("rollup",),
        "An export of an actor names it; the name is missing.": ("actor", ""),
        "All events have no name.\n  Narrow them with entity_type, event_type, actor or session.": ("events", "x"),
        "There is no format 'xlsx'.\n  Known: csv, jsonl, parquet": ("events", None, "xlsx"),
    }
    for told, words in refused.items():
        with pytest.raises(UsageError) as error:
            written(app, *words)
        assert str(error.value) == told
    with pytest.raises(UsageError) as error:
        written(app, "events", where=["shop_id=42"])
    assert str(error.value) == (
        "'where' is about a rollup or a profile.\n  Events are narrowed with entity_type, entity_id, event_type, actor, session."
    )
    with pytest.raises(UsageError) as error:
        written(app, "rollup", "ShopDaily", actor="anna")
    assert str(error.value) == "actor narrows an export of events.\n  Leave it out here."


def test_a_file_is_there_when_it_is_whole(app: Dayfold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails in the middle leaves nothing, and the file of before as it was."""
    target = tmp_path / "events.csv"
    app.export("events", out=target)
    before = target.read_bytes()
    assert before.count(b"\n") == 5

    def fail(name: str, done: int, total: int) -> None:
        raise Stopped("enough")

    with pytest.raises(Stopped):
        app.export("events", out=str(target), form="jsonl", progress=fail)
    assert target.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["events.csv"]
    for wrong, told in ((tmp_path / "no" / "x.csv", "there is no such folder."), (tmp_path, "it is a folder.")):
        with pytest.raises(UsageError) as refused:
            app.export("events", out=wrong)
        assert str(refused.value) == f"{wrong} cannot be written: {told}"


# -- exports that are asked for --------------------------------------------------------------------


def asked(app: Dayfold, what: str = "events", name: str | None = None, scope: Scope = UNREDACTED, **how: Any) -> Any:
    """An export that was asked for, its job not yet run."""
    words = ExportAsked.parse(app.catalog, scope, TODAY, what=what, name=name, **how)
    return app.exports.ask(words, scope, owner_of("me", scope), "me", lambda request: queue(app, request))


def queue(app: Dayfold, request: dict[str, Any]) -> int:
    """A run of the job waits."""
    from dayfold.jobs.desk import Desk

    return Desk(app).trigger("export", request, "me")


def run(app: Dayfold, number: str) -> Any:
    """What the job does."""
    from dayfold.jobs.jobs import jobs

    job = jobs(app.catalog, app.settings)["export"]
    return do(Task(app, job, {"export": number}, None, lambda *_: None, lambda: None))


def files(tmp_path: Path) -> list[str]:
    """The names in the folder of exports."""
    folder = tmp_path / "files"
    return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


def test_an_export_is_a_run_of_a_job(app: Dayfold, tmp_path: Path) -> None:
    """Queued first; then there is a file that only its owner reads, and what is known of it."""
    view = asked(app, form="jsonl", personal=True)
    assert (view.state, view.row.size_bytes, files(tmp_path)) == ("queued", None, [])
    outcome = run(app, view.row.id)
    assert outcome.errors == []
    done = app.exports.one(view.row.id)
    assert done.state == "done"
    assert (done.row.row_count, done.row.expires_at) == (4, NOW + dt.timedelta(hours=24))
    [name] = files(tmp_path)
    assert name == f"{view.row.id}.jsonl"
    content = (tmp_path / "files" / name).read_bytes()
    assert (content, len(content)) == (written(app, "events", form="jsonl", personal=True), done.row.size_bytes)
    assert stat.S_IMODE((tmp_path / "files" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "files").stat().st_mode) == 0o700
    assert outcome.summary["export"].keys() == {"rows", "size_bytes", "seconds"}


def test_a_signed_link_leads_to_the_file_for_an_hour(app: Dayfold) -> None:
    """Another id, another time, another signature and another store have no right to it."""
    exports, row = app.exports, run_whole(app)
    until, signature = exports.link(row)
    assert until == int((NOW + dt.timedelta(hours=1)).timestamp())
    _, pieces = exports.fetched(row.id, until, signature)
    assert b"".join(pieces).count(b"\n") == 4
    other = run_whole(app)
    wrong = (
        (row.id, until + 1, signature),
        (other.id, until, signature),
        (row.id, until, signature[:-1]),
        (row.id, until, "é\ud800"),
    )
    for words in wrong:
        with pytest.raises(Forbidden) as refused:
            exports.fetched(*words)
        assert str(refused.value) == ("The link is not right, or has expired.\n  GET /v1/exports/{id} gives a new one.")
    app.clock.instant += dt.timedelta(hours=1, seconds=1)  # type: ignore[attr-defined]
    with pytest.raises(Forbidden):
        exports.fetched(row.id, until, signature)


def run_whole(app: Dayfold, **how: Any) -> Any:
    """An export that is done."""
    view = asked(app, **({"form": "jsonl"} | how))
    outcome = run(app, view.row.id)
    assert outcome.errors == []
    return app.exports.one(view.row.id).row


def test_a_file_goes_after_its_hours(make: Callable[..., Dayfold], app: Dayfold, tmp_path: Path) -> None:
    """Nobody finds it from then on; looking, and `retain`, delete it. A link ends with the file."""
    row = run_whole(app)
    app.clock.instant += dt.timedelta(hours=23, minutes=30)  # type: ignore[attr-defined]
    until, signature = app.exports.link(row)
    assert until == int((NOW + dt.timedelta(hours=24)).timestamp())
    app.clock.instant += dt.timedelta(minutes=30)  # type: ignore[attr-defined]
    for look in (lambda: app.exports.one(row.id), lambda: app.exports.fetched(row.id, until, signature)):
        with pytest.raises(UnknownName) as gone:
            look()
        assert str(gone.value) == (
            "There is no such export.\n  GET /v1/exports lists them; they are deleted after some hours."
        )
    assert len(files(tmp_path)) == 1
    assert app.exports.tidy() == 1
    assert files(tmp_path) == []
    assert app.exports.tidy() == 0


def test_exports_are_their_owners(app: Dayfold) -> None:
    """Of one who asked, and of another one nothing."""
    row = run_whole(app)
    mine, other = owner_of("me", UNREDACTED), owner_of("me", EVERYTHING)
    assert [one.row.id for one in app.exports.listed(mine)] == [row.id]
    assert app.exports.listed(other) == []
    for act in (app.exports.one, app.exports.remove):
        with pytest.raises(UnknownName):
            act(row.id, other)
    app.exports.remove(row.id, mine)
    assert app.exports.listed() == []


def test_erasing_finds_every_file_with_events(app: Dayfold, tmp_path: Path) -> None:
    """Those of events and of actors, done or waiting; rollups only where they are named. What was asked for goes too."""
    kept = run_whole(app, what="rollup", name="ShopDaily")
    gone = {run_whole(app).id, run_whole(app, what="actor", name="anna", personal=True).id}
    waiting = asked(app, actor="anna", personal=True).row.id
    assert set(app.exports.erase()) == gone | {waiting}
    assert files(tmp_path) == [kept.file]
    assert [one.row.id for one in app.exports.listed()] == [kept.id]
    with app.ledger.store.transaction(read_only=True) as session:
        left = session.rows(app.ledger.sql("select id, asked, scope, remarks from dayfold__exports"))
    assert "anna" not in str(left)
    assert app.exports.erase(naming=["Bergen"]) == []
    named = run_whole(app, what="rollup", name="ShopDaily", where=["city=Oslo"])
    limited = run_whole(app, what="rollup", name="ShopDaily", scope=Scope.of(None, {"city": ["Oslo"]}))
    assert set(app.exports.erase(naming=["Oslo", "Bergen"])) == {named.id, limited.id}
    assert app.exports.erase(["ShopDaily"]) == [kept.id]
    assert files(tmp_path) == []


def test_an_export_that_is_erased_while_it_is_written_leaves_no_file(
    app: Dayfold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the middle nor after its last row."""
    number = asked(app).row.id
    finish = Shelf.size

    def size(shelf: Shelf, name: str) -> int:
        found = finish(shelf, name)
        app.exports.erase()
        return found

    monkeypatch.setattr(Shelf, "size", size)
    outcome = run(app, number)
    assert (outcome.is_final, [code for code, _ in outcome.errors]) == (True, ["unknown-name"])
    assert files(tmp_path) == []
    monkeypatch.undo()
    number = asked(app).row.id
    original = query_exports.EventReader.counts
    monkeypatch.setattr(query_exports.EventReader, "counts", lambda *one: (app.exports.erase(), original(*one))[1])
    outcome = run(app, number)
    assert outcome.errors
    assert files(tmp_path) == []


def test_what_fails_is_told_and_leaves_no_file(app: Dayfold, tmp_path: Path) -> None:
    """A folder that cannot be written to; an export that is gone."""
    (tmp_path / "files").write_text("in the way")
    number = asked(app).row.id
    outcome = run(app, number)
    assert outcome.errors == [
        (
            "store",
            "An export's file cannot be written or deleted: file exists.\n  Look at [export] folder or s3, and at the room and the "
            "rights there.",
        )
    ]
    assert not outcome.is_final
    (tmp_path / "files").unlink()
    assert run(app, number).errors == []
    assert run(app, "nothing").is_final


def test_a_scope_of_limited_rows_is_kept_for_the_job(app: Dayfold) -> None:
    """The file holds what its asker sees, whoever runs the job."""
    row = run_whole(app, what="rollup", name="ShopDaily", scope=Scope.of(None, {"shop_id": ["43"]}))
    with app.exports.shelf.open(row.file) as stream:
        assert [json.loads(line)["shop_id"] for line in stream.read().decode().splitlines()] == [43]


def test_a_shelf_is_any_file_system_of_arrow(app: Dayfold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What S3 is used through, over another file system: written whole, read, deleted."""
    inner = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    (tmp_path / "bucket").mkdir()
    shelf = Shelf(inner, "bucket")
    assert not shelf.is_local
    monkeypatch.setattr(Exports, "shelf", property(lambda exports: shelf))
    row = run_whole(app)
    assert [one.name for one in (tmp_path / "bucket").iterdir()] == [row.file]
    _, pieces = app.exports.fetched(row.id, *app.exports.link(row))
    assert b"".join(pieces).count(b"\n") == 4
    app.exports.remove(row.id)
    app_files = list((tmp_path / "bucket").iterdir())
    assert app_files == []
    shelf.remove(row.file)
    with pytest.raises(UnknownName, match="The export's file is gone"):
        shelf.open(row.file)


def test_settings_of_exports_are_checked(make: Callable[..., Dayfold]) -> None:
    """One place; an address of S3 is one."""
    for words, told in (
        ({"s3": "s3://bucket/x"}, "export: expected folder or s3, got both"),
        ({"s3": "https://bucket", "folder": None}, "export.s3: "),
        ({"keep_hours": 0}, "export.keep_hours: "),
    ):
        with pytest.raises(ConfigError) as refused:
            make(**words)
        assert told in str(refused.value)


def test_the_default_folder_is_beside_the_store(store_url: str, tmp_path: Path) -> None:
    """A DuckDB file's, else that of dayfold.toml."""
    shelf = Shelf.of(None, None, tmp_path, store_url)
    beside = Path(store_url.removeprefix("duckdb:///")).parent if store_url.startswith("duckdb") else tmp_path
    assert shelf.folder == str((beside / "dayfold-exports").resolve())
    bucket = Shelf.of(None, "s3://bucket/some/prefix?region=eu-west-1", tmp_path, store_url)
    assert (bucket.folder, bucket.is_local) == ("bucket/some/prefix", False)
    with pytest.raises(StoreError) as refused:
        Shelf.of(None, "s3://bucket/x?nothing=1", tmp_path, store_url)
    assert str(refused.value) == (
        "The bucket of export.s3 cannot be reached.\n  Look at its address, and at the keys of this machine."
    )
