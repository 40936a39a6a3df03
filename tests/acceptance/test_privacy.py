"""Erase and retain through the real command line, alone and in a server that owns the file."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold
from tests.acceptance.command import fails, succeeds
from tests.acceptance.serving import Served, served
from tests.eventlog import event, send

METRICS = """\
from dayfold import Count, Rollup, events


class Views(Rollup):
    total = Count(events, at="occurred_at")
"""
NOW = {"DAYFOLD_NOW": "2026-03-30T12:00:00+00:00"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two people's events of one day, folded."""
    (tmp_path / "metrics.py").write_text(METRICS)
    (tmp_path / "dayfold.toml").write_text("[retain]\nevents_days = 10\n")
    succeeds("fold", cwd=tmp_path, env=NOW)
    with Dayfold(tmp_path / "metrics.py") as app:
        send(app, event(1, actor_id="person-77"), event(2, actor_id="u"))
    succeeds("fold", cwd=tmp_path, env=NOW)
    return tmp_path


#: What would tell of the person.
TRACES = (b"person-77", b"seventy-seven@mail.example")
#: Other types are held back.
STRICT = """
events.types({"views": {"seen": {}}})
"""


def _bytes_of(project: Path) -> bytes:
    """All that lies in the folder: the definitions, the store's file, what is beside it, its journal and files of exports."""
    return b"".join(one.read_bytes() for one in project.rglob("*") if one.is_file())


def test_a_person_is_erased(project: Path) -> None:
    """The certificate is printed and written, without the name; a second time finds nothing."""
    looked = succeeds("erase", "--actor", "person-77", "--dry-run", cwd=project, env=NOW).out
    assert looked.startswith("What an erasure would do\n")
    assert "  events: 1 row (what they did, from where, with all properties)\n" in looked
    done = succeeds("erase", "--actor", "person-77", "--certificate", "c.json", cwd=project, env=NOW).out
    assert ": done\n" in done
    assert "\nFolded again:\n  Views: 1 cell\n" in done
    assert "\nNot reached:\n  backups and replicas\n" in done
    written = (project / "c.json").read_text()
    assert "person-77" not in done + written
    assert json.loads(written)["state"] == "done"
    assert b"person-77" not in _bytes_of(project)
    again = succeeds("erase", "--actor", "person-77", "--json", cwd=project, env=NOW).json
    assert (sum(one["rows"] for one in again["searched"]), again["rewritten"]) == (0, [])
    nobody = fails("erase", cwd=project, env=NOW, status=2)
    assert nobody == "Nobody is named.\n  Name them: dayfold erase --actor ID, --anonymous ID, or both."


def test_nobody_is_erased_whose_certificate_cannot_be_written(project: Path) -> None:
    """The ids are nowhere else once the person is gone, so that is found out before."""
    words = ("erase", "--actor", "person-77", "--certificate")
    refused = fails(*words, "no/where.json", cwd=project, env=NOW, status=2)
    assert refused.endswith("no/where.json cannot be written: there is no such folder.")
    assert fails(*words, ".", cwd=project, env=NOW, status=2).endswith("cannot be written: it is a folder.")
    found = succeeds("erase", "--actor", "person-77", "--dry-run", "--json", cwd=project, env=NOW).json
    assert {one["holder"]: one["rows"] for one in found["searched"]}["events"] == 1
    assert not list(project.rglob("*where*"))


def test_what_is_past_its_time_is_shown_and_deleted(project: Path) -> None:
    """Nothing goes until it is said."""
    shown = succeeds("retain", cwd=project, env=NOW).out.splitlines()
    assert shown[2].split() == ["events", "2", "2026-03-09", "2026-03-09"]
    assert shown[-2:] == ["To be sealed: Views 1 day", "Nothing was deleted. Delete it: dayfold retain --yes"]
    done = succeeds("retain", "--yes", "--json", cwd=project, env=NOW).json
    assert (done["deleted"], done["things"][0]["count"], done["sealed"], done["kept"]) == (True, 2, {"Views": 1}, [])
    assert succeeds("verify", "--from", "2026-03-09", "--to", "2026-03-09", cwd=project, env=NOW)
    found = succeeds(
        "query", "Views", "-m", "total", "--from", "2026-03-09", "--to", "2026-03-09", "--json", cwd=project, env=NOW
    ).json
    assert found["rows"][0]["total"] == 2


def asked(server: Served, path: str, key: str, body: object = None) -> Any:
    """The JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(server.url + path, data, headers), timeout=30) as answer:
        return json.loads(answer.read())


def test_a_serving_process_erases_and_goes_on(project: Path) -> None:
    """The command runs in the server that owns the file, which is written anew under it; readers notice nothing but a wait.

    What was written of the person lies in the log, in a journal that the log has not taken yet, in quarantine, in a file of an export
    and in questions that were asked; nothing of it is left in the project's folder, nor in what the server said.
    """
    (project / "metrics.py").write_text(METRICS + STRICT)
    admin = succeeds("token", "create", "admin", "--kind", "admin", "--json", cwd=project, env=NOW).json["token"]
    with served(cwd=project, env={**NOW, "DAYFOLD_SERVE__LOG": "json"}) as server:
        done = asked(server, "/v1/exports", admin, {"what": "events", "format": "jsonl", "personal": True})
        while (done := asked(server, done["href"], admin))["state"] in ("queued", "running"):
            time.sleep(0.05)
        asked(server, "/v1/events?actor=person-77", admin)
        said = {"actor": {"id": "person-77"}, "properties": {"mail": "seventy-seven@mail.example"}}
        asked(server, "/v1/events", admin, [{"event_type": "seen", **said}, {"event_type": "unknown", **said}])
        assert all(one in _bytes_of(project) for one in TRACES)
        assert any(
            b"person-77" in one.read_bytes() for one in (project / "dayfold-exports").rglob("*") if one.is_file()
        )
        erased = succeeds("erase", "--actor", "person-77", "--json", cwd=project, env=NOW).json
        assert (erased["state"], erased["rewritten"]) == ("done", ["the file dayfold.duckdb"])
        held = {one["holder"]: one["rows"] for one in erased["searched"]}
        assert (held["events"], held["quarantine"], held["exports"]) == (2, 1, 1)
        found = _bytes_of(project)
        assert [one for one in TRACES if one in found] == []
        with urllib.request.urlopen(f"{server.url}/readyz", timeout=30) as answer:
            assert answer.status == 200
        words = ("query", "Views", "-m", "total", "--from", "2026-03-09", "--to", "2026-03-09", "--json")
        assert succeeds(*words, cwd=project, env=NOW).json["rows"][0]["total"] == 1
    assert [one for one in TRACES if one in server.said] == []
