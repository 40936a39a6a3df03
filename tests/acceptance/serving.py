"""Starts the real `dayfold serve` in a process of its own, and ends it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.command import COMMAND, LIMIT_S, environment


@dataclass
class Served:
    """A server that listens: its first words, and its process."""

    words: dict[str, Any]
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.words["url"])


@contextmanager
def served(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """A server on a free port; it has to end well when it is told to stop."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--json", *words],
        cwd=cwd, env=environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        text = b""
        while not text.endswith(b"}\n"):
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read().decode()
            text += line
        yield Served(json.loads(text), process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
