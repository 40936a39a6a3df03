"""``dayfold demo``: a bundled example on real data, folded, shown and served. A door."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dayfold.cli import errand, story
from dayfold.cli.fold import as_object, progress_shown, show
from dayfold.cli.output import JsonOption, number, open_app, show_table, sparkline, write_json
from dayfold.cli.query import cell
from dayfold.errors import MissingDriver, UnknownName
from dayfold.names import listing, suggestion

if TYPE_CHECKING:
    from dayfold.app import Dayfold
    from dayfold.fold.fold import FoldResult

#: How long a server may take to say that it is ready.
_READY_S = 30.0


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The example.")] = "retail",
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="Where to put it.", show_default="dayfold-demo/NAME"),
    ] = None,
    serve: Annotated[
        bool | None,
        typer.Option(
            "--serve/--no-serve",
            help="Serve it until stopped; --no-serve only asks a server once whether it is ready.",
            show_default="--serve on a terminal",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            metavar="PORT",
            help="0 takes a free one.",
            show_default="[serve] port, or a free one where that is taken",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fold a bundled example of real data in a folder of its own, show what came out, and serve it.

    The first time something happens to it too: a source fails, numbers drift and are healed, days are rebuilt and a month is sealed.
    Without a terminal, a server is started, asked whether it is ready, and stopped.
    """
    origin = examples() / name
    known = sorted(path.parent.name for path in examples().glob("*/demo.toml"))
    if name not in known:
        raise UnknownName(f"There is no example '{name}'{suggestion(name, known)}.", hint=f"Examples: {listing(known)}")
    words = tomllib.loads((origin / "demo.toml").read_text(encoding="utf-8"))
    target = folder or Path("dayfold-demo") / name
    target.mkdir(parents=True, exist_ok=True)
    for file in ("metrics.py", "dayfold.toml"):
        if not (target / file).exists():
            shutil.copyfile(origin / file, target / file)
    say: Callable[[str], None] = (lambda text: None) if json else print
    say(f"{words['title']}\n{words['origin']}\n")
    with _beside(origin, words):
        results = _fold(origin, target, words, say, json=json)
        told = _tell(origin, target, words, say)
        if not json:
            if words.get("changes"):
                _show_all(target, words)
            print(f"\nWhat to try next, in {target}:")
            for line in words["next"]:
                print(f"  {line}")
        found = {"folder": str(target), "runs": [as_object(result) for result in results], "story": told}
        is_folded = all(result.status == "done" for result in results)
        is_watched = sys.stdin.isatty() and sys.stdout.isatty() and not json
        is_ready = _serve(target.resolve(), is_watched if serve is None else serve, port, found if json else None)
    if not (is_folded and is_ready):
        raise typer.Exit(1)


def _fold(
    origin: Path, target: Path, words: dict[str, Any], say: Callable[[str], None], *, json: bool
) -> list[FoldResult]:
    """The example is loaded where it was not, and folded."""
    with open_app(target / "metrics.py", here=True) as dayfold:
        url = dayfold.settings.store.url.get_secret_value()
        path = target / url.removeprefix("duckdb:///")
        if not path.exists():
            count = story.module(origin, "load").load(f"duckdb:///{path}")
            story.begin(target, words["title"])
            say(f"Loaded {count:,} rows into {path}.")
        with progress_shown() as progress:
            results = dayfold.fold(progress=progress)
        for result in results:
            if not json:
                show(result)
        if not json and not words.get("changes"):
            for part in words["show"]:
                _show(dayfold, part)
    return results


def _show_all(target: Path, words: dict[str, Any]) -> None:
    """The pictures, where the story has changed what they show."""
    with open_app(target / "metrics.py", here=True) as dayfold:
        for part in words["show"]:
            _show(dayfold, part)


def _tell(origin: Path, target: Path, words: dict[str, Any], say: Callable[[str], None]) -> list[str]:
    """What the story of the example says to be done is done, once; a line for each step. None where nothing can be served."""
    from dayfold.cli.serve import needed

    steps = words.get("story", [])
    try:
        needed()
    except MissingDriver:
        return []
    is_first = True

    def each(text: str) -> None:
        nonlocal is_first
        if is_first:
            say("\nThen, for the pages:")
        is_first = False
        say(f"- {text}")

    return story.tell(target.resolve(), origin, steps, each)


def _serve(target: Path, until_stopped: bool, port: int | None, found: dict[str, Any] | None) -> bool:
    """Serve the folder until stopped, or ask a server once whether it is ready; whether it was. ``found`` goes into the JSON."""
    from dayfold.cli import serve as serving

    try:
        serving.needed()
    except MissingDriver as error:
        if found is None:
            print(f"\n{error.message} {error.hint}")
        else:
            write_json(found)
        return True
    from dayfold.http.opening import LOOPBACK, opening

    # The commands of its settings write where they stand.
    with story.at(target), open_app(target / "metrics.py", here=True) as dayfold:
        if not until_stopped:
            is_ready = _is_ready(dayfold)
            if found is not None:
                write_json({**found, "ready": is_ready})
            elif is_ready:
                print("\nThe server answers at /readyz: ready.")
            else:
                print("The server does not answer at /readyz that it is ready.", file=sys.stderr)
            return is_ready
        where = opening(dayfold, LOOPBACK)
        place = _free(where.host, dayfold.settings.serve.port) if port is None else port

        def announce(url: str) -> None:
            login = url + where.login_path if where.login_path else None
            if found is not None:
                write_json({**found, "url": url, "login_url": login})
            else:
                print()
                serving.show(url, login)
                print("Ctrl-C stops it.", flush=True)

        # Ctrl-C is how it is meant to end.
        with suppress(KeyboardInterrupt):
            serving.until_stopped(dayfold, where.host, place, announce)
    return True


def _is_ready(dayfold: Dayfold) -> bool:
    """Whether a server of the application, which runs no jobs and is ended at once, says that it is ready."""
    from dayfold.dashboard.application import make
    from dayfold.http.opening import LOOPBACK
    from dayfold.http.server import serve

    answers: list[int] = []

    def ask(url: str) -> None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=_READY_S) as answer:
            answers.append(answer.status)

    settings = dayfold.settings.serve.model_copy(update={"jobs": False})
    quiet = dayfold.sibling(settings=dayfold.settings.model_copy(update={"serve": settings}))
    with story.quiet():
        serve(quiet, LOOPBACK, 0, lambda url: None, errand.run, make, trial=ask)
    return answers == [200]


def _free(host: str, port: int) -> int:
    """The port, or 0 where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return 0
    return port


@contextmanager
def _beside(origin: Path, words: dict[str, Any]) -> Iterator[None]:
    """What the example needs beside it on this machine runs inside the block, unless a variable names another one."""
    beside = words.get("beside")
    if not beside or os.environ.get(beside["address"]):
        yield
        return
    made = story.module(origin, beside["module"])
    server = made.server(made.present)
    threading.Thread(target=server.serve_forever, name="beside the demo", daemon=True).start()
    os.environ[beside["address"]] = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield
    finally:
        del os.environ[beside["address"]]
        server.shutdown()
        server.server_close()


def examples() -> Path:
    """The folder of the bundled examples: in the package, or beside it in a clone."""
    inside = Path(str(files("dayfold"))) / "examples"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[3] / "examples"


def _show(dayfold: Dayfold, part: dict[str, Any]) -> None:
    """One picture of the example: a table, or a line for each metric."""
    words = dict(part)
    title, kind = words.pop("title"), words.pop("kind")
    answer = dayfold.query(
        words.pop("rollup"), words.pop("metrics"), from_=words.pop("from"), to=words.pop("to"), **words
    )
    print(f"\n{title}")
    if kind == "sparkline":
        for metric in answer.request.metrics:
            values = [row[metric] for row in answer.rows]
            known = [value for value in values if value is not None]
            span = f"{number(min(known))} to {number(max(known))}" if known else "nothing"
            print(f"  {metric:12} {sparkline(values)}  {span}")
        return
    names = [name for name in answer.table.column_names if name != "day" or answer.request.grain != "total"]
    keys = {"day", *answer.request.by}
    cells = [[cell(row[name], name in keys) for name in names] for row in answer.rows]
    show_table(names, cells, [name not in keys for name in names])
