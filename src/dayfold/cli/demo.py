"""``dayfold demo``: a bundled example on real data, folded and shown. A door."""

from __future__ import annotations

import importlib.util
import shutil
import tomllib
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dayfold.cli.fold import as_object, progress_shown, show
from dayfold.cli.output import JsonOption, number, open_app, show_table, sparkline, write_json
from dayfold.cli.query import cell
from dayfold.errors import DayfoldError, UnknownName
from dayfold.names import listing, suggestion

if TYPE_CHECKING:
    from dayfold.app import Dayfold


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The example.")] = "retail",
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="Where to put it.", show_default="dayfold-demo/NAME"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fold a bundled example of real data in a folder of its own, and show what came out."""
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
    if not json:
        print(f"{words['title']}\n{words['origin']}\n")
    with open_app(target / "metrics.py", here=True) as dayfold:
        url = dayfold.settings.store.url.get_secret_value()
        path = target / url.removeprefix("duckdb:///")
        if not path.exists():
            count = _loader(origin).load(f"duckdb:///{path}")
            if not json:
                print(f"Loaded {count:,} rows into {path}.")
        with progress_shown() as progress:
            results = dayfold.fold(progress=progress)
        if json:
            write_json({"folder": str(target), "runs": [as_object(result) for result in results]})
        else:
            for result in results:
                show(result)
            for part in words["show"]:
                _show(dayfold, part)
            print(f"\nWhat to try next, in {target}:")
            for line in words["next"]:
                print(f"  {line}")
    if any(result.status != "done" for result in results):
        raise typer.Exit(1)


def examples() -> Path:
    """The folder of the bundled examples: in the package, or beside it in a clone."""
    inside = Path(str(files("dayfold"))) / "examples"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[3] / "examples"


def _loader(origin: Path) -> ModuleType:
    """The example's own loader."""
    spec = importlib.util.spec_from_file_location(f"dayfold_example_{origin.name}", origin / "load.py")
    if spec is None or spec.loader is None:
        raise DayfoldError(f"The example {origin.name} has no loader.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
