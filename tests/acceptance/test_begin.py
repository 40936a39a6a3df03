"""The first five minutes: init, demo, help."""

from __future__ import annotations

import datetime as dt
import json
import os
import pty
import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.jobs.desk import Desk
from dayfold.ledger.alerts import open_episodes
from dayfold.ledger.jobs import JobRun
from tests.acceptance.command import COMMAND, LIMIT_S, dayfold, environment, fails, succeeds

LATE = {"DAYFOLD_NOW": "2011-12-10T12:00:00+00:00"}


def test_init_writes_files_that_define_something(tmp_path: Path) -> None:
    """The two files are valid as they are: the next complaint is about the database that they name."""
    done = succeeds("init", cwd=tmp_path)
    assert done.out.startswith("wrote metrics.py\nwrote dayfold.toml\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dayfold.toml", "metrics.py"]
    message = fails("plan", cwd=tmp_path, status=1, env={"APP_DATABASE_URL": "postgresql://readonly@127.0.0.1:1/app"})
    assert message.startswith("postgresql://127.0.0.1:1/app cannot be reached: ")


def test_init_never_overwrites_unless_told_to(tmp_path: Path) -> None:
    """Files that are there stay as they are, the one that is not there is not made; --force replaces both."""
    (tmp_path / "metrics.py").write_text("mine")
    assert fails("init", cwd=tmp_path, status=2) == (
        "metrics.py exists already.\n  Name another folder, or replace them with --force."
    )
    assert (tmp_path / "metrics.py").read_text() == "mine"
    assert not (tmp_path / "dayfold.toml").exists()
    assert succeeds("init", "--force", "--json", cwd=tmp_path).json == {"written": ["metrics.py", "dayfold.toml"]}
    assert "class ShopDaily(Rollup)" in (tmp_path / "metrics.py").read_text()


def test_init_makes_the_folder_it_is_given(tmp_path: Path) -> None:
    succeeds("init", "new/shop", cwd=tmp_path)
    assert (tmp_path / "new" / "shop" / "dayfold.toml").exists()


#: By example: the present moment, what its pictures are called, and how its story has days sealed.
EXAMPLES = {
    "retail": (LATE["DAYFOLD_NOW"], "The last months", {"ReturnsDaily": 62}),
    "testimonials": ("2026-02-05T06:00:00+00:00", "The last months", {"TestimonialDaily": 31}),
    "licensing": (
        "2026-02-05T06:00:00+00:00",
        "Campaigns, by last touch",
        dict.fromkeys(
            ("DailyMetrics", "CampaignFirstTouch", "CampaignLastTouch", "PlatformDaily", "TrafficDaily", "PagesDaily"),
            30,
        ),
    ),
    "salon": ("2026-02-05T06:00:00+00:00", "The last years, by month", {"AnalyticsAppointmentsByLocationDaily": 28}),
    "uploads": ("2026-02-12T15:00:00+00:00", "Providers, January 2026", {"QuotaDaily": 31}),
    "creator_app": ("2026-02-05T06:00:00+00:00", "Revenue, month by month", {"PostsDaily": 31}),
}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", EXAMPLES)
def test_demo_has_a_true_history_and_then_nothing_to_write(name: str, tmp_path: Path) -> None:
    """A source failed, drift was healed, days were rebuilt and sealed; after all of it every number is that of its source."""
    now, picture, sealed = EXAMPLES[name]
    env = {"DAYFOLD_NOW": now}
    done = succeeds("demo", name, cwd=tmp_path, env=env)
    assert done.out.index("Then, for the pages:") < done.out.index("What to try next")
    assert picture in done.out
    assert done.out.endswith("The server answers at /readyz: ready.\n")
    told = [line[2:] for line in done.out.splitlines() if line.startswith("- ")]
    folder = tmp_path / "dayfold-demo" / name
    assert (folder / "story.txt").read_text().splitlines()[1:] == told

    with Dayfold(folder / "metrics.py", clock=FixedClock(dt.datetime.fromisoformat(now))) as app:
        runs = [one for one in Desk(app).runs(200) if isinstance(one, JobRun)]
        ends = {(one.job, one.status) for one in runs}
        assert ends >= {
            ("fold", "failed"),
            ("fold", "done"),
            ("verify", "failed"),
            ("verify", "done"),
            ("rebuild", "done"),
        }
        assert {(one.job, one.status) for one in app.status(100).runs} >= {("verify", "done")}
        assert sum(one["healed"] for run in runs for one in (run.summary or {}).get("verified", ())) > 0
        days = {
            rollup: sum((part["to"] - part["from"]).days + 1 for part in next(iter(states.values())).get("sealed", ()))
            for rollup in app.catalog.rollups
            if (states := app.covered(rollup))
        }
        assert {rollup: count for rollup, count in days.items() if count} == sealed
        outcomes = {(one.action, one.outcome) for one in app.accounts.notes()}
        assert outcomes >= {("heal", "ok"), ("rebuild", "ok")}
        with app.ledger.store.transaction(read_only=True) as session:
            # What the story did is over; what its numbers say holds still.
            assert not {one.rule for one in open_episodes(app.ledger, session)} & {
                "jobs",
                "drift",
                "drift_cells",
                "late",
            }
        # The widest would take as long as all the others.
        rollups = [one for one in app.catalog.rollups.values() if not one.is_profile and one.name != "EngagementDaily"]
        proved = app.verify([one.name for one in rollups], from_="2009-01-01", to="today")
        proved += (
            app.verify([one for one in app.catalog.rollups if app.catalog[one].is_profile]) if name == "salon" else []
        )
        assert [one.rollup for one in proved if not one.is_proved or one.drifted] == []
        if name == "licensing":
            held = app.event_log.status().held
            assert not app.event_log.quarantined(event_type="collection_saved")
            assert sum(held.values()) > 0
            assert len(app.events(event_type="collection_saved").rows) == 12
        if name == "salon":
            assert {one.verdict for one in app.checks()} == {"passed"}

    again = succeeds("demo", name, "--json", cwd=tmp_path, env=env).json
    assert (again["folder"], again["story"], again["ready"]) == (f"dayfold-demo/{name}", [], True)
    written = {run["rollup"]: run["rows_inserted"] + run["rows_updated"] + run["rows_deleted"] for run in again["runs"]}
    assert written == dict.fromkeys(app.catalog.rollups, 0)


def test_demo_shows_a_picture(tmp_path: Path) -> None:
    """Real data, folded and shown; where what serves is not installed, it says so and does without."""
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "uvicorn.py").write_text("raise ModuleNotFoundError('no', name='uvicorn')")
    path = os.pathsep.join(filter(None, [str(tmp_path / "lacking"), os.environ.get("PYTHONPATH")]))
    done = succeeds("demo", cwd=tmp_path, env={**LATE, "PYTHONPATH": path})
    assert "Loaded 1,067,371 rows" in done.out
    assert "SalesDaily: done, 740 days, 3,237 cells, +3,237 ~0 -0 rows" in done.out
    table = done.out[done.out.index("The last months") :]
    assert table.splitlines()[1].split() == [
        *("day", "lines", "orders", "customers", "items", "revenue", "cancelled_lines", "revenue_per_order"),
    ]
    assert "Netherlands" in table
    assert "What to try next" in table
    assert any(set("▁▂▃▄▅▆▇█") & set(line) for line in table.splitlines())
    assert done.out.endswith("which is not installed. Install it: pip install 'dayfold[serve]'\n")
    assert "Then, for the pages" not in done.out


def test_demo_on_a_terminal_serves_until_it_is_stopped(tmp_path: Path) -> None:
    """At an address that it prints, with a link to come in by, and at a free port where its own is taken."""
    ours, theirs = pty.openpty()
    now = EXAMPLES["uploads"][0]
    env = environment({"DAYFOLD_NOW": now, "TERM": "dumb"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = subprocess.Popen(
            [*COMMAND, "demo", "uploads"], cwd=tmp_path, env={**env, "DAYFOLD_SERVE__PORT": str(port)},
            stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        try:
            text = ""
            while "Ctrl-C stops it." not in text:
                text += os.read(ours, 10_000).decode()
            found = re.search(r"Serving at (http://127\.0\.0\.1:(\d+))\s", text)
            assert found is not None
            assert int(found[2]) != port
            assert f"{found[1]}/sign-in?code=" in text
            with urllib.request.urlopen(f"{found[1]}/readyz", timeout=LIMIT_S) as answer:
                assert answer.status == 200
            # The server runs what the page says to try next.
            assert (
                "ApiKeyUsage"
                in succeeds("status", cwd=tmp_path / "dayfold-demo" / "uploads", env={"DAYFOLD_NOW": now}).out
            )
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()
            process.wait()
            os.close(ours)


def test_demo_of_nothing_names_the_examples(tmp_path: Path) -> None:
    assert fails("demo", "retial", cwd=tmp_path, status=2) == (
        "There is no example 'retial'; the nearest is 'retail'.\n  Examples: creator_app, licensing, retail, salon, testimonials, uploads"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["init", "demo", "plan", "fold", "query", "status", "doctor", "migrate"])
def test_every_command_explains_itself_and_takes_json(command: str, tmp_path: Path) -> None:
    help_text = succeeds(command, "--help", cwd=tmp_path).out
    assert help_text.startswith(f"Usage: dayfold {command} ")
    assert "--json" in help_text


def test_words_that_are_no_command_are_wrong_usage(tmp_path: Path) -> None:
    assert "No such command 'frob'" in fails("frob", cwd=tmp_path, status=2)
    assert "No such option: --colour" in fails("plan", "--colour", cwd=tmp_path, status=2)


def test_missing_definitions_are_said_in_words_and_as_json(tmp_path: Path) -> None:
    """Every command that needs definitions names the file that it looked for."""
    words = (
        "There is no definitions file metrics.py.",
        "Run `dayfold init` for a commented one, or name yours with `-a FILE` or DAYFOLD_APP.",
    )
    for command in ("fold", "status"):
        assert fails(command, cwd=tmp_path, status=2) == "\n  ".join(words)
    done = dayfold("query", "ShopDaily", "--json", cwd=tmp_path)
    assert done.status == 2
    assert json.loads(done.out) == {"error": {"code": "config", "message": words[0], "hint": words[1]}}
    assert list(tmp_path.iterdir()) == []
