"""The event log on the command line: what the definitions declare, what is in it, and exports."""

from __future__ import annotations

import datetime as dt
import io
import json
import urllib.request
from pathlib import Path

import pytest
from pyarrow import parquet

from dayfold import Dayfold
from dayfold.clock import FixedClock
from tests.acceptance.command import NOW, dayfold, fails, succeeds
from tests.acceptance.serving import served, serving
from tests.eventlog import event, send
from tests.sql import run_sql

METRICS = """\
from dayfold import Count, Rollup, Table, events

events.types(
    {
        "asset": {"asset_viewed": {}, "asset_downloaded": {"format": ["pdf", "png"], "bytes?": "bigint"}},
    }
)

class Signups(Rollup):
    total = Count(Table("signup"), at="seen_at")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "metrics.py").write_text(METRICS)
    return tmp_path


def test_types_are_shown_and_nothing_is_opened(project: Path) -> None:
    """A line for each property; no store comes into being."""
    assert [line.rstrip() for line in succeeds("events", "types", cwd=project).out.splitlines()] == [
        "family   type               property   holds",
        "────────────────────────────────────────────────────",
        "asset    asset_viewed",
        'asset    asset_downloaded   format     "pdf" | "png"',
        "asset    asset_downloaded   bytes?     bigint",
    ]
    assert not list(project.glob("*.duckdb"))


def test_types_for_a_front_end(project: Path) -> None:
    """TypeScript and JSON Schema, alone on standard output."""
    shown = succeeds("events", "types", "--format", "ts", cwd=project).out
    assert shown.startswith(
        "// Written by `dayfold events types --format ts`; edit the definitions and run it again.\n"
    )
    assert shown.endswith("export type EventType = keyof EventTypes;\n")
    found = succeeds("events", "types", "--format", "json", cwd=project).json
    assert found["types"]["asset_downloaded"]["schema"]["required"] == ["format"]
    assert found["types"]["asset_viewed"]["family"] == "asset"


def test_no_types(project: Path) -> None:
    """A file that declares none says what that means."""
    (project / "metrics.py").write_text("from dayfold import *\n\n" + METRICS[METRICS.index("class") :])
    assert succeeds("events", "types", cwd=project).out == (
        "No type of events is declared, so that every type is allowed; write events.types({…}) in metrics.py.\n"
    )


def test_mistakes(project: Path) -> None:
    """A wrong form, and wrong declarations."""
    assert fails("events", "types", "--format", "tss", cwd=project, status=2) == (
        "format is one of table, ts, json, got 'tss'; the nearest is 'ts'."
    )
    (project / "metrics.py").write_text(METRICS.replace('"bigint"', '"bigintt"'))
    assert fails("events", "types", cwd=project, status=2) == (
        "DefinitionError [bad-value] metrics.py:3 events.types\n"
        "  the property 'bytes' of 'asset_downloaded' has no type 'bigintt'; the nearest is 'bigint'.\n"
        "  Types: text, bigint, numeric, boolean, date, timestamptz, json, uuid; or a list of texts, one of which it is."
    )


LOGGED = (
    METRICS
    + '\nevents.columns(shop_id="bigint")\n\n\nclass Daily(Rollup):\n    key = "shop_id"\n    n = Count(events, at="occurred_at")\n'
)


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A project whose log has two events, folded."""
    (tmp_path / "metrics.py").write_text(LOGGED.replace('Table("signup")', "events").replace("seen_at", "occurred_at"))
    with Dayfold(tmp_path / "metrics.py", clock=FixedClock(dt.datetime.fromisoformat(NOW))) as app:
        app.fold()
        at = dt.datetime(2026, 1, 9, 12, tzinfo=dt.UTC)
        rows = [
            event(
                n,
                shop_id=42 + n,
                actor_id="anna",
                event_type="asset_viewed",
                occurred_at=at,
                page="https://x.test/?a=1",
            )
            for n in (1, 2)
        ]
        send(app, *rows)
        app.fold()
    return tmp_path


def test_events_are_listed(logged: Path) -> None:
    """For a person, and whole for a program; the next page is named."""
    done = succeeds("events", "list", "--limit", 1, cwd=logged)
    [head, _, row] = done.out.splitlines()
    assert head.split() == ["occurred_at", "event_type", "actor_id", "anonymous_id", "session_id", "shop_id", "page"]
    assert row.split() == ["2026-01-09T12:00:00Z", "asset_viewed", "anna", "–", "–", "44", "https://x.test/?a=1"]
    after = done.err.removeprefix("There are more: --after ").strip()
    found = succeeds("events", "list", "--after", after, "--json", cwd=logged).json
    assert [(one["shop_id"], one["properties"]) for one in found["events"]] == [(43, {"n": 1})]
    assert succeeds("events", "list", "--event-type", "nothing", cwd=logged).out == "There is no such event.\n"
    assert fails("events", "list", "--entity-id", "43", cwd=logged, status=2) == (
        "entity_id is an id of some type; entity_type is missing.\n  Types of entities: shop"
    )


def test_exports_are_written_to_files_and_to_standard_output(logged: Path) -> None:
    """The same bytes by the command alone and in the server that owns the file; what has to be said is on standard error."""
    alone = {}
    wanted = {
        "csv": ("events", "--entity-type", "shop", "--entity-id", 43),
        "jsonl": ("actor", "anna", "--personal"),
        "parquet": ("rollup", "Daily"),
    }
    for form, words in wanted.items():
        done = succeeds("export", *words, "--format", form, cwd=logged)
        assert done.err.splitlines()[-1].endswith((": 1 row", ": 2 rows"))
        said = succeeds("export", *words, "--out", f"mine.{form}", "--json", cwd=logged).json
        assert (said["file"], (logged / f"mine.{form}").read_bytes()) == (f"mine.{form}", done.output)
        alone[form] = done.output
    assert alone["csv"].decode().splitlines()[1].endswith(",43")
    assert [json.loads(line)["actor_id"] for line in alone["jsonl"].splitlines()] == ["anna", "anna"]
    assert parquet.read_table(io.BytesIO(alone["parquet"])).to_pylist()[0]["n"] == 1
    with serving(logged):
        for form, words in wanted.items():
            done = succeeds("export", *words, "--format", form, cwd=logged)
            assert done.output == alone[form]
            succeeds("export", *words, "--out", f"theirs.{form}", cwd=logged)
            assert (logged / f"theirs.{form}").read_bytes() == alone[form]
    noted = run_sql(
        f"duckdb:///{logged / 'dayfold.duckdb'}",
        "SELECT DISTINCT action, target FROM dayfold_audit WHERE action = 'export'",
    )
    assert sorted(noted) == [("export", "actor jsonl"), ("export", "events csv")]


def test_exports_that_cannot_be(logged: Path) -> None:
    """Nothing is left of them."""
    assert fails("export", "events", "--format", "xlsx", cwd=logged, status=2) == (
        "There is no format 'xlsx'.\n  Known: csv, jsonl, parquet"
    )
    assert fails("export", "events", "--out", "events.json", cwd=logged, status=2) == (
        "'events.json' does not end like a format that is known; the nearest is 'jsonl'.\n"
        "  Say which one to write: --format csv|jsonl|parquet"
    )
    assert fails("export", "rollup", "Dayly", cwd=logged, status=2).startswith("There is no rollup 'Dayly'")
    assert fails("export", "events", "--out", "no/where.csv", cwd=logged, status=2).endswith(
        "no/where.csv cannot be written: there is no such folder."
    )
    refused = dayfold("export", "events", "--json", cwd=logged)
    assert (refused.status, refused.json["error"]["message"]) == (2, "--json says what was written, and needs a file.")
    assert not [*logged.glob("*.csv"), *logged.glob("*.json")]


def test_held_events_are_seen_and_replayed(logged: Path) -> None:
    """Status counts them, the list says why, and a replay after the mend takes in what fits by now; twice is as good as once."""
    metrics = (logged / "metrics.py").read_text()
    key = succeeds("token", "create", "shop", "--kind", "track", "--json", cwd=logged).json["token"]
    sent = [
        {"id": "a", "event_type": "asset_seen"},
        {"id": "b", "event_type": "asset_downloaded", "properties": {"format": "doc"}},
        {"id": "c", "event_type": "asset_viewed"},
    ]
    with served(cwd=logged) as server:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{server.url}/v1/events?wait=log", json.dumps(sent).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            told = json.loads(answer.read())
        assert (told["accepted"], told["quarantined"]) == (1, 2)
        # The command asks the server that owns the file.
        assert succeeds("events", "status", "--json", cwd=logged).json["events"] == 3
    shown = succeeds("events", "status", cwd=logged).out
    assert "\nIn quarantine: 2 undeclared. See them: dayfold events quarantine\n" in shown
    held = succeeds("events", "quarantine", "--json", cwd=logged).json["quarantine"]
    assert sorted((one["event_type"], one["reason"]) for one in held) == [
        ("asset_downloaded", "undeclared"), ("asset_seen", "undeclared"),
    ]  # fmt: skip
    assert succeeds("events", "replay", cwd=logged).out.startswith("0 events taken into the log, 2 still held\n")
    mended = metrics.replace('"asset_viewed": {}', '"asset_viewed": {}, "asset_seen": {}')
    (logged / "metrics.py").write_text(mended)
    assert succeeds("events", "replay", "--json", cwd=logged).json["replayed"] == 1
    (logged / "metrics.py").write_text(mended.replace('["pdf"', '["doc", "pdf"'))
    assert succeeds("events", "replay", cwd=logged).out == "1 event taken into the log, 0 still held\n"
    assert succeeds("events", "replay", cwd=logged).out == "0 events taken into the log, 0 still held\n"
    assert succeeds("events", "quarantine", cwd=logged).out == "No event is held back.\n"
    assert succeeds("events", "status", "--json", cwd=logged).json["events"] == 5


def test_stored_events_are_enriched_anew(logged: Path) -> None:
    """Newer rules reach what is stored, and what did not change is not touched."""
    (logged / "dayfold.toml").write_text('[collect]\nscrub_names = ["a"]\n')
    words = ("events", "enrich", "--from", "2026-01-09", "--to", "2026-01-09")
    assert succeeds(*words, "--json", cwd=logged).json == {"events": 2, "changed": 2}
    assert succeeds(*words, cwd=logged).out == "2 events looked at, 0 changed\n"
    pages = [one["page"] for one in succeeds("events", "list", "--json", cwd=logged).json["events"]]
    assert pages == ["https://x.test/?a=(removed)"] * 2


def test_definitions_that_cannot_be_served_are_told_instead_of_an_address(logged: Path) -> None:
    """Whoever waits for the first words of a server does not go on with one that ends at once."""
    with (logged / "metrics.py").open("a") as file:
        file.write("\nevents.types(seen={})\n")
    done = dayfold("serve", "--port", "0", "--json", cwd=logged)
    assert done.status == 2, str(done)
    assert done.json["error"]["code"] == "definition"
