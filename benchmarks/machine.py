"""What the figures were measured on, and how processes are timed."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

POLL_S = 0.01


@dataclass(frozen=True)
class Finished:
    """A process that has ended well: wall time, peak resident memory (0 where unknown), what it printed."""

    seconds: float
    peak_bytes: int
    output: str


class Failed(Exception):
    """A process ended with an error; the text holds the end of what it printed."""


def run(
    command: list[str], folder: Path, *, watch_memory: bool = False, environment: Mapping[str, str] | None = None
) -> Finished:
    """Run a command in a folder, with compiled bytecode, and time it from start to exit.

    Args:
        environment: More variables.

    Raises:
        Failed: the exit status is not 0, or the program does not exist.
    """
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    variables |= {"TZ": "UTC", "DO_NOT_TRACK": "1", **(environment or {})}
    log, errors = folder / "out.txt", folder / "err.txt"
    with log.open("w") as out, errors.open("w") as err:
        started = time.perf_counter()
        try:
            process = subprocess.Popen(
                command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        except FileNotFoundError as missing:
            raise Failed(f"{Path(command[0]).name} is not there") from missing
        # The polling costs a little time, so the two measurements are never taken in one run.
        peak = _watch(process) if watch_memory else 0
        status = process.wait()
        seconds = time.perf_counter() - started
    if status != 0:
        said = (errors.read_text() + log.read_text()).strip()
        raise Failed(f"{Path(command[0]).name} ended with {status}: {said[-600:]}")
    return Finished(seconds, peak, log.read_text())


def _watch(process: subprocess.Popen[bytes]) -> int:
    """Peak resident bytes, from the kernel's high-water mark of the new program.

    `ru_maxrss` will not do: it starts at the size of the parent that forked.
    """
    status, peak_kb = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        try:
            lines = status.read_text().splitlines()
        except OSError:
            break
        peak_kb = max([peak_kb, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))])
        time.sleep(POLL_S)
    return peak_kb * 1024


def versions_of(python: Path, packages: list[str]) -> str:
    """The installed versions in another environment, as one line."""
    program = (
        "import json, sys; from importlib.metadata import version; "
        "print(json.dumps([version(p) for p in sys.argv[1:]]))"
    )
    asked = subprocess.run([python, "-c", program, *packages], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        return "not installed"
    return ", ".join(f"{p} {v}" for p, v in zip(packages, json.loads(asked.stdout), strict=True))


def description() -> list[str]:
    """Cores, memory, versions and the date, a line each."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    own = ", ".join(
        f"{p} {_version(p)}" for p in ("dayfold", "duckdb", "pyarrow", "psycopg", "clickhouse-connect", "chdb")
    )
    computer = f"{os.cpu_count()} cores, {memory_gib:.0f} GiB of memory, {platform.system()} {platform.machine()}"
    return [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        computer,
        f"Python {platform.python_version()}, {own}",
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


class Stolen:
    """The share of the processors that others of the same host took from this machine since a moment; 0 where it does not say."""

    def __init__(self) -> None:
        self._before = _ticks()

    @property
    def share(self) -> float:
        """From 0 to 1, of all processors together."""
        whole, stolen = (now - then for now, then in zip(_ticks(), self._before, strict=True))
        return stolen / whole if whole else 0.0


def _ticks() -> tuple[int, int]:
    """All processors' time, and what of it was stolen."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:9]]
    except OSError:
        return 0, 0
    return sum(ticks), ticks[7]
