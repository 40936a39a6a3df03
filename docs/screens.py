"""Takes the pictures in docs/screens: pages of the demos in Chromium, light and dark, wide and narrow.

python docs/screens.py FOLDER      # where `dayfold demo NAME --no-serve` was run for each example
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.acceptance.serving import served  # noqa: E402  (beside this folder)
from tests.chromium import chromium  # noqa: E402

WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 360, "height": 740}
#: For each picture the example, the page, its size and its colours.
PICTURES: dict[str, tuple[str, str, dict[str, int], str]] = {
    "overview": ("salon", "/", WIDE, "light"),
    "overview-phone": ("licensing", "/", NARROW, "dark"),
    "rollup": ("retail", "/rollups/SalesDaily?metrics=revenue,orders&period=90d&compare=year", WIDE, "light"),
    "rollup-by-key": (
        "retail", "/rollups/SalesDaily?metrics=revenue&by=country&where=country!%3DUnited%20Kingdom&period=12m&grain=week",
        WIDE, "dark",
    ),
    "rollup-phone": ("retail", "/rollups/SalesDaily?metrics=revenue&period=30d", NARROW, "light"),
    "receipt": ("retail", "/receipt/SalesDaily/revenue?from=2011-12-01&to=2011-12-01&where=country%3DFrance", WIDE, "light"),
    "profile": ("salon", "/profiles/CustomerAnalytics?sort=-total_revenue_cents", WIDE, "light"),
    "entity": ("salon", "/profiles/CustomerAnalytics/one?key=organization_id%3D1&key=square_customer_id%3DC000001", WIDE, "dark"),
    "cohort": ("salon", "/cohorts/BookingRetention", WIDE, "light"),
    "funnel": ("salon", "/funnels/BookingFunnel", WIDE, "light"),
    "events": ("licensing", "/events", WIDE, "light"),
    "quarantine": ("licensing", "/events/quarantine", WIDE, "light"),
    "counters": ("uploads", "/counters", WIDE, "light"),
    "jobs": ("testimonials", "/jobs", WIDE, "light"),
    "runs": ("testimonials", "/jobs/runs", WIDE, "dark"),
    "coverage": ("testimonials", "/jobs/coverage", WIDE, "light"),
    "drifts": ("creator_app", "/jobs/drifts", WIDE, "light"),
    "page-creator": ("licensing", "/pages/CreatorPage", WIDE, "light"),
    "page-platform": ("licensing", "/pages/PlatformPage", WIDE, "dark"),
    "page-builder": ("licensing", "/pages/new", WIDE, "light"),
}  # fmt: skip


def take(browser: Browser, folder: Path, example: str) -> None:
    """The pictures of one example."""
    environment = {"DAYFOLD_SERVE__JOBS": "false", "DAYFOLD_NOW": dt.datetime.now(dt.UTC).isoformat()}
    with served(cwd=folder / "dayfold-demo" / example, env=environment) as server:
        context = browser.new_context(locale="en-GB", timezone_id="UTC")
        page = context.new_page()
        page.goto(str(server.words["login_url"]))
        for name, (of, path, size, colours) in PICTURES.items():
            if of == example:
                page.emulate_media(color_scheme=colours)  # type: ignore[arg-type]
                page.set_viewport_size(size)  # type: ignore[arg-type]
                page.goto(server.url + path)
                page.wait_for_load_state("load")
                page.wait_for_timeout(500)
                page.screenshot(path=ROOT / "docs" / "screens" / f"{name}.jpg", type="jpeg", quality=72)
                print(name)
        context.close()


def main() -> None:
    """Take all of them."""
    folder = Path(sys.argv[1]).resolve()
    (ROOT / "docs" / "screens").mkdir(exist_ok=True)
    with chromium() as browser:
        for example in dict.fromkeys(example for example, *_ in PICTURES.values()):
            take(browser, folder, example)


if __name__ == "__main__":
    main()
