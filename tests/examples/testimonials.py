"""The testimonials example as the tests load it, and the oracle that counts its tables by hand.

The oracle reads the three tables as rows and counts in Python; it imports nothing of the product.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from tests.sql import Session

EXAMPLE = Path(__file__).parents[2] / "examples" / "testimonials"
NOW = dt.datetime(2026, 2, 5, 0, 30, tzinfo=dt.UTC)
#: A twentieth of the example's size: ten shops.
SCALE = 0.05
ROWS = 44_724
METRICS = (
    "requests_sent",
    "requests_clicked",
    "submissions_count",
    "approved_count",
    "published_count",
    "video_submissions_count",
    "photo_submissions_count",
)
Cell = tuple[int | None, dt.date]
Figures = dict[Cell, tuple[int, ...]]


def module(name: str) -> Any:
    """A file of the example."""
    spec = importlib.util.spec_from_file_location(f"testimonials_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


def truth(url: str) -> Figures:
    """Every shop and day that has facts, counted row by row from the tables as they are now."""
    with Session(url) as session:
        requests = session.run("SELECT id, shop_id, sent_at, clicked_at FROM testimonial_request")
        clicks = session.run("SELECT request_id, \"at\" FROM testimonial_request_event WHERE type = 'clicked'")
        submissions = session.run(
            "SELECT shop_id, media_type, submitted_at, approved_at, published_at FROM testimonial_submission"
        )
    first: dict[int, dt.datetime] = {}
    for request, at in clicks:
        first[request] = min(at, first.get(request, at))
    counts: dict[str, Counter[Cell]] = defaultdict(Counter)

    def count(metric: str, shop: int | None, moment: dt.datetime | None) -> None:
        if moment is not None:
            counts[metric][shop, moment.astimezone(dt.UTC).date()] += 1

    for number, shop, sent_at, clicked_at in requests:
        count("requests_sent", shop, sent_at)
        count("requests_clicked", shop, clicked_at or first.get(number))
    for shop, media_type, submitted_at, approved_at, published_at in submissions:
        count("submissions_count", shop, submitted_at)
        count("approved_count", shop, approved_at)
        count("published_count", shop, published_at)
        if media_type in ("video", "photo"):
            count(f"{media_type}_submissions_count", shop, submitted_at)
    cells = {cell for counter in counts.values() for cell in counter}
    return {cell: tuple(counts[metric][cell] for metric in METRICS) for cell in cells}


def totals(figures: Figures, first: dt.date, last: dt.date, shop: int | None = None) -> tuple[int, ...]:
    """The sums over a range of days, of one shop or of all."""
    chosen = [row for (one, day), row in figures.items() if first <= day <= last and shop in (None, one)]
    return tuple(map(sum, zip(*chosen, strict=True))) if chosen else (0,) * len(METRICS)


def stored_figures(url: str) -> Figures:
    """What the rollup's table holds."""
    with Session(url) as session:
        found = session.run(f"SELECT shop_id, date, {', '.join(METRICS)} FROM testimonial_daily_analytics")
    rows = {(shop, day): tuple(figures) for shop, day, *figures in found}
    assert len(rows) == len(found)
    return rows


def row_stamps(url: str) -> dict[Cell, tuple[Any, ...]]:
    """When each row of the rollup was made and last changed, and by which run."""
    with Session(url) as session:
        rows = session.run("SELECT shop_id, date, created_at, updated_at, run_id FROM testimonial_daily_analytics")
    return {(shop, day): tuple(found) for shop, day, *found in rows}


def untracked_definitions() -> str:
    """The same definitions where the sources tell nothing: the default lookback of seven days."""
    text, count = re.subn(r',\s*changes="trigger"', "", (EXAMPLE / "metrics.py").read_text())
    assert count == 3
    return text
