"""The words of a page as the fields of a form, so that its address holds what is being built and works without scripts. Dashboard door.

Invariant: what `fields` writes, `of_address` reads as the same words, as far as the form has them; others are kept by their JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dayfold.dashboard.view import View, address
from dayfold.define.alert import filter_text
from dayfold.define.page import PARTS, USUAL_ROWS
from dayfold.errors import UsageError
from dayfold.periods import USUAL

#: The parts that a form has room for.
MOST = 20
_LISTS = ("metrics", "by")
_TEXTS = ("rollup", "funnel", "title", "text", "grain", "compare")


def of_address(view: View) -> dict[str, Any] | None:
    """The words that an address holds; None where it holds none. ``description`` stands among them."""
    return of_fields(view.param, view.params)


def of_fields(one: Any, several: Any) -> dict[str, Any] | None:
    """The words of fields: ``one`` gives the value of a name, ``several`` all of them."""
    parts = []
    for number in range(1, MOST + 1):
        kind = one(f"p{number}_part")
        if kind in PARTS:
            parts.append(_part(str(kind), f"p{number}_", one, several))
    head = {name: one(name) for name in ("title", "description", "period")}
    if not parts and not any(head.values()):
        return None
    for number, part in enumerate(parts, 1):
        part["name"] = f"part_{number}"
    return {name: value for name, value in head.items() if value} | {"parts": parts}


def _part(kind: str, prefix: str, one: Any, several: Any) -> dict[str, Any]:
    known = PARTS[kind].words_known
    found: dict[str, Any] = {"part": kind, "name": ""}
    for name in _TEXTS:
        if name in known and (value := one(prefix + name)):
            found[name] = value
    for name in _LISTS:
        values = list(dict.fromkeys(several(prefix + name)))
        if name in known and values:
            found[name] = values
    if kind == "card":
        metrics = several(f"{prefix}metrics")
        found |= {"metric": metrics[0]} if metrics else {}
    if kind == "series" and "by" in found:
        [found["by"], *_] = found["by"]
        found["metrics"] = found.get("metrics", [])[:1]
    if (
        "n" in known
        and (number := one(f"{prefix}n") or "").isdecimal()
        and len(number) < 6
        and int(number) != USUAL_ROWS
    ):
        found["n"] = int(number)
    if "where" in known and (where := _where(one(f"{prefix}where") or "")):
        found["where"] = where
    return found


def _where(text: str) -> dict[str, Any]:
    """Filters of lines ``column=value``."""
    found: dict[str, list[str | None]] = {}
    for line in text.splitlines():
        name, is_there, value = line.partition("=")
        if is_there and name.strip():
            found.setdefault(name.strip(), []).append(None if value == "" else "" if value == '""' else value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def where_text(where: Mapping[str, Any]) -> str:
    r"""Filters as lines.

    >>> where_text({"channel": ["ios", None], "shop": 7})
    'channel=ios\nchannel=\nshop=7'
    """
    return "\n".join(
        f"{name}={filter_text(value)}"
        for name, values in where.items()
        for value in (values if isinstance(values, list | tuple) else [values])
    )


def fields(words: Mapping[str, Any]) -> dict[str, object]:
    """Words as the fields of the form."""
    found: dict[str, object] = {name: words.get(name) or None for name in ("title", "description", "period")}
    for number, part in enumerate(words.get("parts", ()), 1):
        prefix = f"p{number}_"
        found[f"{prefix}part"] = part["part"]
        for name in _TEXTS:
            if part.get(name):
                found[prefix + name] = part[name]
        metrics = part.get("metric") or part.get("metrics") or []
        found[f"{prefix}metrics"] = [metrics] if isinstance(metrics, str) else list(metrics)
        by = part.get("by", [])
        found[f"{prefix}by"] = [by] if isinstance(by, str) else list(by)
        if "n" in part:
            found[f"{prefix}n"] = part["n"]
        if part.get("where"):
            found[f"{prefix}where"] = where_text(part["where"])
    return found


def link(view: View, words: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> str:
    """The address of the form with other parts."""
    return address(view.path, fields({**words, "parts": parts}))


def moved(parts: Sequence[Any], place: int) -> list[Any]:
    """The parts with one of them a place further up.

    >>> moved(["a", "b", "c"], 2)
    ['a', 'c', 'b']
    """
    found = list(parts)
    found[place - 1 : place + 1] = found[place : place + 1] + found[place - 1 : place]
    return found


def usual(view: View) -> dict[str, Any]:
    """What the form begins with: a card and a series of the first rollup."""
    rollups = [one for one in view.rollups() if not one.is_profile]
    if not rollups:
        return {"period": USUAL, "parts": []}
    first = rollups[0]
    metric = next(iter(first.metrics))
    return {
        "title": "", "period": USUAL,
        "parts": [
            {"part": "card", "name": "part_1", "rollup": first.name, "metric": metric, "compare": "previous"},
            {"part": "series", "name": "part_2", "rollup": first.name, "metrics": [metric]},
        ],
    }  # fmt: skip


def of_form(text: str) -> dict[str, Any]:
    """The words that a form sends. Raises UsageError where they are none."""
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, dict):
        raise UsageError("The words of the page cannot be read.", hint="Build it at /pages/new")
    return words
