"""Reads the pages of the documentation and plays the blocks that are marked as runnable.

A comment line before a block says what is done with it, all blocks of a page in order and in one folder:

- ``<!-- run -->``: a ``console`` block's ``$`` lines, or a ``python`` block as a script
- ``<!-- output -->``: what the script before it printed
- ``<!-- file: NAME -->`` and ``<!-- append: NAME -->``: becomes the file, or its end
- ``<!-- sql: ROLE -->``: statements for a database
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[a-z]+(?:: [^ ]+)?) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: what is done with it, its language, its text, and where the text stands in the page."""

    mark: str
    language: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Step:
    """Something that was run: its words, the output that the page shows (None: it shows none) and the real one."""

    words: str
    shown: str | None
    printed: str
    start: int
    end: int


def pages() -> list[Path]:
    """Every page that is written for people."""
    return [*(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")), *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    return [
        Block(found["mark"] or "", found["language"], found["text"], found.start("text"), found.end("text"))
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


class Player:
    """Runs the marked blocks of a page in a folder, with ``dayfold`` and ``python`` on the path."""

    def __init__(
        self, folder: Path, variables: Mapping[str, str], sql: Callable[[str, str], None] | None = None
    ) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        programs = folder / "bin"
        programs.mkdir()
        _program(programs / "python", f'exec "{sys.executable}" "$@"')
        # doctor compares the clocks, so it is not told another time.
        pretend = '[ "$1" = doctor ] && unset DAYFOLD_NOW'
        _program(programs / "dayfold", f'{pretend}\nexec "{sys.executable}" -m dayfold.cli.main "$@"')
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DAYFOLD_")}
        self.given = frozenset(variables)
        self.variables = {**kept, **variables, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        self.sql = sql

    def play(self, page: Path) -> Iterator[Step]:
        """What was run, step by step."""
        printed = ""
        for block in blocks(page):
            match block.mark.partition(": ")[::2]:
                case ("run", _) if block.language == "console":
                    yield from self._console(block)
                case ("run", _):
                    printed = self.script(block.text)
                    yield Step("the Python block", None, printed, block.start, block.end)
                case ("output", _):
                    yield Step("the Python block", block.text, printed, block.start, block.end)
                case ("file", name):
                    (self.folder / name).write_text(block.text)
                case ("append", name):
                    with (self.folder / name).open("a") as file:
                        file.write(block.text)
                case ("sql", role):
                    assert self.sql is not None
                    self.sql(role, block.text)

    def _console(self, block: Block) -> Iterator[Step]:
        for found in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
            words, shown = found[1], found[2]
            at = (block.start + found.start(2), block.start + found.end(2))
            if exported := re.fullmatch(r"export (\w+)=(.*)", words):
                # An address in a page is an example; the test's own database comes first.
                if exported[1] not in self.given:
                    self.variables[exported[1]] = exported[2].strip("'\"")
                continue
            yield Step(words, shown or None, self.command(words), *at)

    def script(self, text: str) -> str:
        """What a Python script printed."""
        return self._run([sys.executable, "-c", text])

    def command(self, words: str) -> str:
        """What a command line printed."""
        return self._run(["bash", "-c", words])

    def _run(self, command: list[str]) -> str:
        """What a command printed, errors last, and its exit status where that is not 0."""
        done = subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True, timeout=120)
        status = f"exit status {done.returncode}\n" if done.returncode else ""
        return "".join(f"{line.rstrip()}\n" for line in (done.stdout + done.stderr).splitlines()) + status


def same(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed; ``...`` stands for anything, and times taken may differ."""
    timed = re.compile(r"\d+\.\d\d s\b")
    shown, printed = (timed.sub("0.00 s", text).strip() + "\n" for text in (shown, printed))
    return doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS)


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
