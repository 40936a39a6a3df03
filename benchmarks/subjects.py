"""The contestants: hand-written SQL, Dayfold, SQLMesh and dbt, each on a fresh copy of the events."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from benchmarks.events import store_copy
from benchmarks.machine import Failed, Finished, run

HERE = Path(__file__).parent
ROOT = HERE.parent
WORK = HERE / ".work"


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder under the working files, removed afterwards."""
    WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK) as path:
        yield Path(path)


def hand_written_duckdb(variant: str, rows: int) -> float:
    """Seconds from BEGIN to the end of COMMIT, in this process, which has DuckDB loaded."""
    sql = (HERE / "sql" / f"duckdb_{variant}.sql").read_text()
    with folder() as place, duckdb.connect(str(store_copy(rows, WORK, place))) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        started = time.perf_counter()
        connection.execute(sql)
        return time.perf_counter() - started


def hand_written_postgres(variant: str, url: str) -> float:
    """Seconds from BEGIN to the end of COMMIT, on a connection that is open."""
    import psycopg

    sql = (HERE / "sql" / f"postgres_{variant}.sql").read_text()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        started = time.perf_counter()
        connection.execute(sql)
        return time.perf_counter() - started


def dayfold_command() -> list[str]:
    """The command of this environment; a Failed later if it is not installed."""
    return [str(Path(sys.executable).parent / "dayfold")]


def set_up_dayfold(place: Path, variant: str, store_url: str) -> None:
    """`metrics.py` and `dayfold.toml`."""
    shutil.copyfile(HERE / "rollups" / f"{variant}.py", place / "metrics.py")
    (place / "dayfold.toml").write_text(f'[store]\nurl = "{store_url}"\n')


def fold(
    place: Path, *, watch_memory: bool = False, now: dt.datetime | None = None
) -> tuple[Finished, list[dict[str, float]]]:
    """One `dayfold fold --json` as a whole process, and its runs; ``now`` is taken for the present."""
    environment = {"DAYFOLD_NOW": now.isoformat()} if now else {}
    command = [*dayfold_command(), "fold", "--json"]
    finished = run(command, place, watch_memory=watch_memory, environment=environment)
    runs = json.loads(finished.output)["runs"]
    if any(entry["status"] != "done" for entry in runs):
        raise Failed(f"dayfold fold: {[entry['status'] for entry in runs]}")
    return finished, runs


def dayfold_duckdb(variant: str, rows: int) -> tuple[float, float]:
    """Seconds of the fold itself, and of the whole process."""
    with folder() as place:
        store_copy(rows, WORK, place)
        set_up_dayfold(place, variant, "duckdb:///store.duckdb")
        finished, runs = fold(place)
        return sum(entry["seconds"] for entry in runs), finished.seconds


def dayfold_postgres(variant: str, url: str) -> tuple[float, float]:
    """Seconds of the fold itself, and of the whole process; source and store are the database at `url`."""
    with folder() as place:
        set_up_dayfold(place, variant, url)
        finished, runs = fold(place)
        return sum(entry["seconds"] for entry in runs), finished.seconds


def rival_python(name: str) -> Path:
    """The Python of a rival's environment, made from its lock when it is not there."""
    environment = ROOT / f".venv-bench-{name}"
    python = environment / "bin" / "python"
    # The mark is the Makefile's own: an environment without it was left half made.
    if not (environment / ".ready").exists():
        lock = ROOT / "requirements" / f"bench-{name}.lock"
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--require-hashes", "-r", lock], check=True)
        (environment / ".ready").touch()
    return python


def rival(name: str, variant: str, rows: int) -> float:
    """Seconds of a rival's backfill as a whole process, on a fresh store without any state of its own."""
    programs = rival_python(name).parent
    command = {
        "sqlmesh": [str(programs / "sqlmesh"), "plan", "--auto-apply", "--no-prompts"],
        "dbt": [str(programs / "dbt"), "run", "--profiles-dir", "."],
    }[name]
    with folder() as place:
        shutil.copytree(HERE / name / variant, place, dirs_exist_ok=True)
        store = store_copy(rows, WORK, place)
        seconds = run(command, place).seconds
        _check_rival(name, store, rows)
        return seconds


def _check_rival(name: str, store: Path, rows: int) -> None:
    """A rival that folded less than everything would look fast."""
    schema = {"sqlmesh": "bench", "dbt": "main"}[name]
    with duckdb.connect(str(store), read_only=True) as connection:
        found = connection.execute(f"SELECT count(DISTINCT day), sum(events) FROM {schema}.event_daily").fetchone()
    if found != (90, rows):
        raise Failed(f"{name} folded {found} days and events, expected (90, {rows})")
