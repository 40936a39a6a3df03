"""How the lists in the package come from what their authors publish; the tests hold the two against each other.

After new files were put into the folder that DAYFOLD_FIELD_DATA names, `DAYFOLD_REFRESH_LISTS=1 make test ARGS=tests/field` writes
the package's copies.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import yaml

import dayfold.collect.lists

PACKAGED = Path(dayfold.collect.lists.__file__).parent


def crawlers(folder: Path) -> list[dict[str, Any]]:
    """The entries of crawler-user-agents: pattern, instances and what is said of them."""
    with gzip.open(folder / "ua_bots" / "crawler-user-agents.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def bots(folder: Path) -> str:
    """`bots.txt`: the patterns alone, one a line, in the order of the list."""
    head = "# Patterns of crawler-user-agents; see LICENSE-bots.txt beside this file.\n"
    return head + "".join(f"{entry['pattern']}\n" for entry in crawlers(folder))


def _yaml(folder: Path, name: str) -> dict[str, Any]:
    return yaml.safe_load((folder / "referrers" / name).read_text(encoding="utf-8"))


def spammers(folder: Path) -> list[str]:
    """The domains of the spam list."""
    with gzip.open(folder / "referrers" / "spammers.txt.gz", "rt", encoding="utf-8") as file:
        return file.read().split()


def referrers(folder: Path) -> str:
    """`referrers.json`: one line for each name or entry; of a search engine its addresses, parameters and letters' encodings."""
    search = [
        [name, entry["urls"], entry.get("params", []), entry.get("charsets", [])]
        for name, entries in _yaml(folder, "SearchEngines.yml").items()
        for entry in entries
    ]
    parts: dict[str, list[Any]] = {
        "search": search,
        "social": [[name, urls] for name, urls in _yaml(folder, "Socials.yml").items()],
        "ai": [[name, urls] for name, urls in _yaml(folder, "AIAssistants.yml").items()],
        "spam": spammers(folder),
    }
    blocks = []
    for kind, entries in parts.items():
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in entries)
        blocks.append(f'"{kind}":[\n{lines}\n]')
    return "{" + ",\n".join(blocks) + "}\n"
