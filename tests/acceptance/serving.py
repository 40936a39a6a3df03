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
    """A server that listens: its first words, its process, and what it has said once it has ended."""

    words: dict[str, Any]
    process: subprocess.Popen[bytes]
    said: bytes = b""

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
        server = Served(json.loads(text), process)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            server.said = b"".join(process.communicate(timeout=LIMIT_S))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class Serving:
    """A running server and the folder of its definitions."""

    process: subprocess.Popen[str]
    url: str
    folder: Path

    @property
    def owner_file(self) -> Path:
        return self.folder / "dayfold.duckdb.owner"

    @property
    def owner(self) -> dict[str, Any]:
        """What the owner file says."""
        return dict(json.loads(self.owner_file.read_text()))


@contextmanager
def serving(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Serving]:
    """A server of a folder's definitions, stopped afterwards unless it has ended already."""
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--json"],
        # What the tests do is all that is done: no job folds meanwhile.
        cwd=folder, env=environment({"DAYFOLD_SERVE__JOBS": "false", **(env or {})}), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            text = ""
            while not text.endswith("}\n"):
                line = process.stdout.readline()
                assert line, process.communicate(timeout=LIMIT_S)[1]
                text += line
            yield Serving(process, json.loads(text)["url"], folder)
        finally:
            process.terminate()
            try:
                process.communicate(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@contextmanager
def begun(*words: object, cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A command that is under way; it is killed where the test does not end it."""
    with subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=cwd, env=environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
