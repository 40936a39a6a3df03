"""The uploads example as the tests load it, and the oracle that adds up its traffic by hand.

The oracle goes through the requests that the generator drew, one by one; it imports nothing of the product.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

EXAMPLE = Path(__file__).parents[2] / "examples" / "uploads"
BY_KEY = ("total_requests", "successful_requests", "failed_requests", "total_file_size", "total_files_uploaded")
BY_PROVIDER = ("upload_count", "total_file_size")


def module(name: str) -> ModuleType:
    """A file of the example."""
    if str(EXAMPLE) not in sys.path:
        sys.path.append(str(EXAMPLE))
    spec = importlib.util.spec_from_file_location(f"uploads_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


traffic = module("six_weeks")
#: What has been added up, by (day, key) or (day, key, provider).
Cells = Counter[tuple[Any, ...]]


@dataclass
class Truth:
    """What requests come to: of each total a sum for each day and key, and for each day, key and provider."""

    by_key: dict[str, Cells] = field(default_factory=lambda: {name: Counter() for name in BY_KEY})
    by_provider: dict[str, Cells] = field(default_factory=lambda: {name: Counter() for name in BY_PROVIDER})

    def rows(self, which: str) -> set[tuple[Any, ...]]:
        """The rows of the table of days."""
        cells = self.by_key if which == "key" else self.by_provider
        keys = {cell for counts in cells.values() for cell in counts}
        return {(*cell, *(counts[cell] for counts in cells.values())) for cell in keys}

    def sums(self, which: str, *by: int, first: dt.date, last: dt.date) -> dict[tuple[Any, ...], tuple[int, ...]]:
        """Sums over a range of days, for each value of some places of the cells."""
        cells = self.by_key if which == "key" else self.by_provider
        found: dict[tuple[Any, ...], list[int]] = {}
        for place, counts in enumerate(cells.values()):
            for cell, amount in counts.items():
                if first <= cell[0] <= last:
                    group = tuple(cell[one] for one in by)
                    found.setdefault(group, [0] * len(cells))[place] += amount
        return {group: tuple(amounts) for group, amounts in found.items()}


def truth() -> Truth:
    """Every request of the traffic, added up."""
    found = Truth()
    for one in traffic.requests():
        cell = (one.at.astimezone(dt.UTC).date(), one.key.id)
        found.by_key["total_requests"][cell] += 1
        found.by_key["successful_requests" if one.is_good else "failed_requests"][cell] += 1
        if one.size:
            found.by_key["total_file_size"][cell] += one.size
            found.by_key["total_files_uploaded"][cell] += 1
            found.by_provider["upload_count"][*cell, one.provider] += 1
            found.by_provider["total_file_size"][*cell, one.provider] += one.size
    return found
