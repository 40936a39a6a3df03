"""Writes docs/reference/commands.md and routes.md from the program: `python docs/generate.py`.

A test holds the files against `commands()` and `routes()`, so the reference cannot fall behind the program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from dayfold.cli.main import app
from dayfold.http.application import described
from dayfold.http.rights import MARK

REFERENCE = Path(__file__).resolve().parent / "reference"
TARGET = REFERENCE / "commands.md"
ROUTES = REFERENCE / "routes.md"
HEAD = """\
<!-- Written by docs/generate.py; edit the program and run it again. -->
# Commands

```
dayfold [--version] COMMAND …
```

`dayfold` looks for `metrics.py` in the current folder; `-a FILE` or the variable `DAYFOLD_APP` names another one.
`dayfold.toml` is the one beside the definitions. A day is a UTC date, and a range includes its first and its last day.

| exit status | meaning |
| --- | --- |
| 0 | done |
| 1 | something failed: a source, a connection, the store, or `doctor` found a problem |
| 2 | wrong usage, settings or definitions; nothing was written |
| 130 | interrupted by Ctrl-C; what was published stays |

Answers go to standard output. Errors, remarks and progress go to standard error. With `--json`, standard output is one
JSON document; [its shapes](json.md).
"""


ROUTES_HEAD = """\
<!-- Written by docs/generate.py; edit the program and run it again. -->
# Routes

Every path that `dayfold serve` answers; [what they have in common](http.md). `GET /openapi.json` describes them for programs, with
the shapes of bodies and answers. The right says [whose token](../how-to/give-access.md) is let in.
"""


def routes() -> str:
    """The reference of the HTTP API, from its description."""
    paths = described().openapi()["paths"]
    parts = [ROUTES_HEAD]
    subjects: dict[str, list[str]] = {}
    for path, verbs in sorted(paths.items()):
        for verb, one in verbs.items():
            subjects.setdefault(one["tags"][0], []).append(_route(f"{verb.upper()} {path}", one))
    for subject, texts in sorted(subjects.items()):
        parts += [f"## {subject[0].upper()}{subject[1:]}", "", *texts]
    return "\n".join(parts)


def _route(title: str, one: dict[str, Any]) -> str:
    lines = [
        f"### {title}",
        "",
        f"{one['summary']}. {one.get('description', '')}".strip(),
        "",
        f"Right: `{one[MARK]}`.",
        "",
    ]
    if one.get("parameters"):
        lines += ["| parameter | meaning |", "| --- | --- |"]
        lines += [f"| `{p['name']}` | {_cell(p)} |" for p in one["parameters"]]
        lines.append("")
    return "\n".join(lines)


def _cell(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    words = [parameter.get("description") or schema.get("description", "")]
    if "enum" in schema:
        words.append(", ".join(f"`{value}`" for value in schema["enum"]) + ".")
    if schema.get("default") not in (None, False):
        words.append(f"Default: `{schema['default']}`.")
    return " ".join(words).replace("|", "\\|")


def commands() -> str:
    """The whole reference of the command line."""
    group: Any = typer.main.get_command(app)
    parts = [HEAD]
    for name, one in group.commands.items():
        inner = getattr(one, "commands", None)
        parts += [_command(f"{name} {word}", each) for word, each in inner.items()] if inner else [_command(name, one)]
    return "\n".join(parts)


def _command(name: str, one: Any) -> str:
    arguments = [p for p in one.params if p.param_type_name == "argument"]
    options = [p for p in one.params if p.param_type_name == "option"]
    words = ["dayfold", name, *(_argument(p) for p in arguments), *(_usage(p) for p in options)]
    lines = [f"## dayfold {name}", "", one.help, "", "```", *_wrapped(words), "```", ""]
    if arguments:
        lines += ["| argument | meaning | default |", "| --- | --- | --- |"]
        lines += [f"| `{_label(p)}` | {p.help} | {_default(p)} |" for p in arguments]
        lines.append("")
    lines += ["| option | meaning | default |", "| --- | --- | --- |"]
    lines += [f"| {_names(p)} | {_meaning(p)} | {_default(p)} |" for p in options]
    return "\n".join([*lines, ""])


def _label(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.rstrip("_")).strip("[].").upper()


def _argument(parameter: Any) -> str:
    word = _label(parameter) + ("…" if parameter.nargs == -1 else "")
    return word if parameter.required else f"[{word}]"


def _value(parameter: Any) -> str:
    return "" if parameter.is_flag else f" {parameter.metavar or parameter.name.rstrip('_').upper()}"


def _usage(parameter: Any) -> str:
    short = min(parameter.opts, key=len)
    return f"[{short}{_value(parameter)}]" + ("…" if parameter.multiple else "")


def _names(parameter: Any) -> str:
    longest = sorted(parameter.opts, key=len, reverse=True)
    return "<br>".join(f"`{one}{_value(parameter)}`".replace("|", "\\|") for one in longest)


def _meaning(parameter: Any) -> str:
    text = str(parameter.help).replace("|", "\\|")
    return f"{text} Variable: `{parameter.envvar}`." if parameter.envvar else text


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.default is None or getattr(parameter, "is_flag", False):
        return ""
    return f"`{parameter.default}`"


def _wrapped(words: list[str], width: int = 110) -> list[str]:
    """A usage line, broken between words."""
    lines = [" ".join(words[:2])]
    for word in words[2:]:
        if len(lines[-1]) + 1 + len(word) > width:
            lines.append(" " * len(" ".join(words[:2])))
        lines[-1] += f" {word}"
    return lines


if __name__ == "__main__":
    TARGET.write_text(commands(), encoding="utf-8")
    ROUTES.write_text(routes(), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(Path.cwd())}" if TARGET.is_relative_to(Path.cwd()) else f"wrote {TARGET}")
