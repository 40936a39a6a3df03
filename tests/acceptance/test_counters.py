"""Counters on the command line: alone, in the server that owns the store, and beside Valkey."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold
from tests.acceptance.command import dayfold, fails, succeeds
from tests.acceptance.serving import served
from tests.valkeys import ValkeyServer

METRICS = """\
from dayfold import Counter, Total


class ApiKeyUsage(Counter):
    key = "api_key_id"
    owner = "user_id"

    total_requests = Total()
    total_file_size = Total(negative=True)
"""
TODAY = "2026-01-10"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "metrics.py").write_text(METRICS)
    (tmp_path / "dayfold.toml").write_text("[live]\nwait_ms = 20_000\n")
    return tmp_path


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer() as found:
        yield found


def add(project: Path, *amounts: dict[str, Any]) -> None:
    """Increments of key k1 are in the live store."""
    with Dayfold(project / "metrics.py") as app:
        for one in amounts:
            said = {"api_key_id": "k1", "owner": "u1", "at": TODAY} | one
            assert app.counters.add("api_key_usage", **said) == "accepted"


def test_a_counter_from_its_definition_to_its_days(project: Path) -> None:
    """What waits is shown, flushed and accounted for; then the days are asked as those of any rollup."""
    assert succeeds("counters", "flush", cwd=project).out == "api_key_usage: 0 rows\n"
    add(project, {"total_requests": 2}, {"total_requests": 1, "at": "2026-01-09"})
    [head, _, row] = succeeds("counters", "status", cwd=project).out.splitlines()[1:]
    assert head.split() == ["counter", "keys", "pending", "held", "last", "flush", "law"]
    assert row.split()[:7] == ["api_key_usage", "0", "2026-01-09", "(1", "key),", TODAY, "(1"]
    shown = succeeds("counters", "check", cwd=project).out.splitlines()
    assert shown[0].split() == ["counter", "total", "accepted", "applied", "pending", "held", "lost", "missing"]
    assert shown[2].split() == ["api_key_usage", "total_requests", "3", "0", "3", "0", "0", "0"]
    assert succeeds("counters", "flush", cwd=project).out == "api_key_usage: 2 rows (total_requests +3)\n"
    [law] = succeeds("counters", "check", "--json", cwd=project).json["laws"]
    assert (law["applied"]["total_requests"], law["pending"]["total_requests"], law["holds"]) == (3, 0, True)
    succeeds("fold", cwd=project)
    asked = ("query", "ApiKeyUsage", "-m", "total_requests", "--from", "2026-01-09", "--to", TODAY, "--json")
    assert [row["total_requests"] for row in succeeds(*asked, cwd=project).rows] == [1, 2]


def test_held_rows(project: Path) -> None:
    """What the definitions do not take any more is listed with its reason, and applied once they do again."""
    add(project, {"total_file_size": -5})
    (project / "metrics.py").write_text(METRICS.replace("negative=True", ""))
    assert "1 row held back" in succeeds("counters", "flush", cwd=project).out
    [one] = succeeds("counters", "held", "api_key_usage", "--json", cwd=project).json["held"]
    assert (one["reason"], one["day"], one["key"], one["amounts"]) == (
        "negative", TODAY, ["k1"], {"total_file_size": -5},
    )  # fmt: skip
    assert "total_file_size -5" in succeeds("counters", "held", "api_key_usage", cwd=project).out
    assert "In quarantine: 1 negative. See them:" in succeeds("counters", "status", cwd=project).out
    assert succeeds("counters", "replay", cwd=project).out == "0 rows applied, 1 still held\n"
    (project / "metrics.py").write_text(METRICS)
    assert succeeds("counters", "replay", "--json", cwd=project).json == {"replayed": 1, "kept": 0}
    assert succeeds("counters", "held", "api_key_usage", cwd=project).out == "No row is held back.\n"
    succeeds("counters", "check", cwd=project)


def test_a_server_runs_the_commands_and_goes_on_counting(project: Path) -> None:
    """While it owns the DuckDB file; what it acknowledged is seen, flushed and accounted for."""
    (project / "dayfold.toml").write_text("[serve]\njobs = false\n[live]\nwait_ms = 20_000\n")
    key = succeeds("token", "create", "uploads", "--kind", "track", "--json", cwd=project).json["token"]
    with served(cwd=project) as server:
        one = {"counter": "api_key_usage", "key": {"api_key_id": "k1"}, "owner": "u1", "add": {"total_requests": 1}}

        def count() -> Any:
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            request = urllib.request.Request(f"{server.url}/v1/count", json.dumps([one, one]).encode(), headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())

        for rounds in (1, 2):
            assert count() == {"accepted": 2, "repeated": 0}
            [law] = succeeds("counters", "check", "--json", cwd=project).json["laws"]
            assert (law["accepted"]["total_requests"], law["pending"]["total_requests"]) == (2 * rounds, 2)
            done = succeeds("counters", "flush", "api_key_usage", "--json", cwd=project).json["flushed"]
            assert [(flushed["rows"], flushed["amounts"]["total_requests"]) for flushed in done] == [(1, 2)]
        assert count() == {"accepted": 2, "repeated": 0}
        # Edited definitions are read again with the next command, and counted by from then on.
        (project / "metrics.py").write_text(METRICS + "    failed_requests = Total()\n")
        succeeds("counters", "flush", cwd=project)
        one["add"]["failed_requests"] = 1
        assert count() == {"accepted": 2, "repeated": 0}
    [law] = succeeds("counters", "check", "--json", cwd=project).json["laws"]
    assert (law["applied"]["total_requests"], law["pending"]["total_requests"], law["holds"]) == (6, 2, True)
    assert (law["applied"]["failed_requests"], law["pending"]["failed_requests"]) == (0, 2)


def test_a_server_flushes_by_itself(project: Path, valkey: ValkeyServer) -> None:
    """What waited when it starts, of whatever day, and what comes later: nobody has to ask, and no job has to be due."""
    (project / "dayfold.toml").write_text(
        f'[live]\nurl = "{valkey.url}"\nwait_ms = 20_000\nflush_s = 0.2\n[schedule]\nfold = "off"\nfinalize = "off"\nverify = "off"\n'
    )
    add(project, {"total_requests": 7})
    with served(cwd=project):
        for accepted in (7, 12):
            give_up = time.monotonic() + 30
            while (law := succeeds("counters", "check", "--json", cwd=project).json["laws"][0])["applied"][
                "total_requests"
            ] < accepted:
                assert time.monotonic() < give_up, law
            assert (law["applied"]["total_requests"], law["pending"]["total_requests"]) == (accepted, 0)
            if accepted == 7:
                # Whoever adds needs the live store alone, not the file that the server owns.
                add(project, {"total_requests": 5})


def test_a_live_store_that_lost_its_memory_fails_the_check(project: Path, valkey: ValkeyServer) -> None:
    """The command says so, how much where that is known, and ends with 1."""
    (project / "dayfold.toml").write_text(f'[live]\nurl = "{valkey.url}"\nwait_ms = 20_000\n')
    add(project, {"total_requests": 7})
    succeeds("counters", "flush", cwd=project)
    add(project, {"total_requests": 5})
    with valkey.client() as client:
        client.flushall()
    done = succeeds("counters", "flush", cwd=project)
    said = "api_key_usage: the live store has lost increments. See: dayfold counters check api_key_usage\n"
    assert done.err.endswith(said)
    failed = dayfold("counters", "check", cwd=project)
    assert failed.status == 1
    assert failed.err.startswith("api_key_usage: Of what was added, ")
    assert dayfold("counters", "check", "--json", cwd=project).json["laws"][0]["holds"] is False
    accepted = succeeds("counters", "accept-loss", "api_key_usage", cwd=project).out
    assert accepted.startswith("api_key_usage: taken note of. Of what was added, ")
    assert succeeds("counters", "check", "--json", cwd=project).json["laws"][0]["holds"] is True


def test_old_keys_are_imported_once(project: Path, valkey: ValkeyServer) -> None:
    """A dry run only adds up; what does not fit is left, and said."""
    with valkey.client() as client:
        client.hset("daily:2026-01-08:k1:metrics", mapping={"requests": 4, "size": 100, "note": "x"})
        client.hset("daily:2026-01-09:k1:metrics", mapping={"requests": 1})
        client.hset("daily:someday:k1:metrics", mapping={"requests": 1})
    words = (
        "counters", "import", "ApiKeyUsage", "--pattern", "daily:{date}:{api_key_id}:metrics", "--url", valkey.url,
        "--field", "requests=total_requests", "--field", "size=total_file_size", "--field", "note=",
    )  # fmt: skip
    dry = dayfold(*words, "--dry-run", cwd=project)
    assert dry.out == "3 keys would be imported: total_requests +5, total_file_size +100\n"
    assert (dry.status, dry.err) == (1, "1 key left: its date, or a part of its key, is none.\n")
    done = dayfold(*words, "--json", cwd=project).json
    assert (done["rows"], done["amounts"]) == (2, {"total_requests": 5, "total_file_size": 100})
    assert dayfold(*words, "--json", cwd=project).json["amounts"] == {}
    with valkey.client() as client:
        assert len(client.keys()) == 1
    [law] = succeeds("counters", "check", "--json", cwd=project).json["laws"]
    assert law["applied"] == {"total_requests": 5, "total_file_size": 100}


def test_mistakes(project: Path) -> None:
    """Wrong words are refused in a sentence."""
    assert fails("counters", "flush", "api_key_usag", cwd=project, status=2) == (
        "There is no counter 'api_key_usag'; the nearest is 'api_key_usage'.\n  Counters: api_key_usage"
    )
    words = ("counters", "import", "api_key_usage", "--pattern", "daily:{date}:{api_key_id}:metrics")
    assert fails(*words, cwd=project, status=2) == (
        "Nothing says which server holds the old keys.\n  Name it: --url redis://HOST:6379/0"
    )
    assert fails(*words, "--field", "requests", cwd=project, status=2) == (
        "--field is OLD=TOTAL, got 'requests'.\n  OLD= leaves a field out."
    )
    assert fails(*words, "--field", "a=total_request", cwd=project, status=2) == (
        "api_key_usage has no total 'total_request'; the nearest is 'total_requests'.\n"
        "  Totals: total_requests, total_file_size"
    )
    assert fails("counters", "scripts", "ad", cwd=project, status=2) == (
        "There is no script 'ad'; the nearest is 'add'.\n  Scripts: add, seal, look, read, drop, seen"
    )


def test_scripts_are_printed_as_they_are_run(tmp_path: Path) -> None:
    """Their text alone on standard output, and for programs with its digest; no definitions are needed."""
    text = succeeds("counters", "scripts", cwd=tmp_path).out
    found = succeeds("counters", "scripts", "add", "--json", cwd=tmp_path).json
    assert found["text"] == text
    assert (found["contract"], found["shards"], len(found["sha1"])) == (1, 16, 40)
    assert text.endswith("return {'ok', epoch, refused, redis.call('HGETALL', accepted)}\n")
