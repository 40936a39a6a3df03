"""Runs the real command line in a process of its own, as a person or a cron job does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

#: The moment that commands take for the present, a Saturday.
NOW = "2026-01-10T12:00:00+00:00"
COMMAND = (sys.executable, "-m", "dayfold.cli.main")
#: No command of these tests takes longer, unless it hangs.
LIMIT_S = 300
#: How this Python was told to run; a user's has been told nothing.
_OURS = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")


@dataclass(frozen=True)
class Done:
    """A finished command."""

    words: tuple[str, ...]
    status: int
    output: bytes
    err: str

    @property
    def out(self) -> str:
        return self.output.decode()

    @property
    def json(self) -> Any:
        """Standard output as JSON, numbers with a fraction as decimals: every digit counts."""
        return json.loads(self.output, parse_float=Decimal)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of a query's JSON."""
        return list(self.json["rows"])

    def __str__(self) -> str:
        return f"dayfold {' '.join(self.words)}\nstatus {self.status}\n{self.out}\n{self.err}"


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a command sees: this process's variables, without those that would change its answers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAYFOLD_") and name not in _OURS}
    return {**kept, "DAYFOLD_NOW": NOW, **(env or {})}


def dayfold(*words: object, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """Run one command to its end."""
    texts = tuple(map(str, words))
    done = subprocess.run(
        [*COMMAND, *texts],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
    )
    return Done(texts, done.returncode, done.stdout, done.stderr.decode())


def succeeds(*words: object, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """Run one command that has to end well."""
    done = dayfold(*words, cwd=cwd, env=env)
    assert done.status == 0, str(done)
    return done


def fails(*words: object, cwd: Path, status: int, env: Mapping[str, str] | None = None) -> str:
    """Run one command that has to be refused, without a traceback and with nothing on standard output; its message."""
    done = dayfold(*words, cwd=cwd, env=env)
    assert done.status == status, str(done)
    assert "Traceback" not in done.err, str(done)
    assert done.out == "", str(done)
    return done.err.rstrip("\n")
