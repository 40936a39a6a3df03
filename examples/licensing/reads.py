"""What the dashboards of the platform show: a creator's portfolio, a brand's assets and campaigns, the platform's growth.

The application keeps a token for each creator and brand (or signs one, see the README) and asks `dayfold serve` with it, so
that a page shows the rows of its own caller whatever it asks for. Nothing but the standard library is needed.

    ask = over_http("http://localhost:8787", token_of_the_creator)
    portfolio(ask, date(2026, 1, 1), date(2026, 1, 28))

    python reads.py campaigns --url http://localhost:8787 --token TOKEN --from 2026-01-01 --to 2026-01-28

All ranges are of UTC days, both ends included. A number that is not known is None, and never zero.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

#: What a question to the API is asked with: its path under /v1 and its parameters; the answer's JSON.
Ask = Callable[[str, dict[str, str]], dict[str, Any]]
Row = dict[str, Any]

TOTALS = ("views", "clicks", "conversions", "revenue_cents", "unique_visitors", "engagement_time", "conversion_rate")
REPORT = ("visitors", "sessions", "impressions", "clicks", "conversions", "revenue_cents", "cost_cents", "roi")
GROWTH = ("signups", "active_users", "new_creators", "new_brands", "visitors", "conversions", "revenue_cents")
#: The rollup of each model of attribution, and what its key columns begin with.
MODELS = {"first": ("CampaignFirstTouch", "first_"), "last": ("CampaignLastTouch", "last_")}
CAMPAIGN = ("source", "medium", "campaign")
TIMEOUT_S = 10


class Refused(Exception):
    """The API did not answer the question; the message says why, and what to change."""


def over_http(url: str, token: str) -> Ask:
    """Asks `dayfold serve` at an address, with a token."""

    def ask(path: str, parameters: dict[str, str]) -> dict[str, Any]:
        address = f"{url}/v1/{path}?{urllib.parse.urlencode(parameters)}"
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            problem = json.load(error)
            raise Refused(f"{problem['detail']} {problem.get('hint', '')}".rstrip()) from None
        return found

    return ask


# -- creators and brands ---------------------------------------------------------------------------


def portfolio(ask: Ask, first: dt.date, last: dt.date) -> Row:
    """The totals of every asset that the caller may see. Visitors are counted once, however many assets they saw."""
    [row] = _query(ask, "DailyMetrics", TOTALS, first, last)
    return {name: row[name] for name in TOTALS}


def top_assets(ask: Ask, first: dt.date, last: dt.date, by: str = "views", limit: int = 10) -> list[Row]:
    """The assets with the most of something, the first one first."""
    return _query(ask, "DailyMetrics", TOTALS, first, last, by="ip_asset_id", sort=f"-{by}", limit=str(limit))


def revenue_timeline(ask: Ask, first: dt.date, last: dt.date, grain: str = "day") -> list[Row]:
    """Revenue by day, week or month: zero where nothing was sold, None where nothing was folded."""
    rows = _query(ask, "DailyMetrics", ("revenue_cents",), first, last, grain=grain)
    return [row | {"day": dt.date.fromisoformat(row["day"])} for row in rows]


# -- campaigns -------------------------------------------------------------------------------------


def campaign_report(ask: Ask, first: dt.date, last: dt.date, model: str = "last") -> list[Row]:
    """What each campaign brought and cost, by first or last touch; the one with the most revenue first.

    `roi` is (revenue - cost) / cost, and None where a campaign cost nothing. Visitors and sessions are counted once over the whole range.
    """
    rollup, prefix = MODELS[model]
    by = ",".join(prefix + name for name in CAMPAIGN)
    rows = _query(ask, rollup, REPORT, first, last, by=by)
    found = [{name: row[prefix + name] for name in CAMPAIGN} | {name: row[name] for name in REPORT} for row in rows]
    return sorted(found, key=lambda row: (-row["revenue_cents"], *(row[name] or "" for name in CAMPAIGN)))


# -- the platform ----------------------------------------------------------------------------------


def growth(ask: Ask, first: dt.date, last: dt.date, grain: str = "month") -> list[Row]:
    """How the platform grew, by day, week or month; `revenue_growth` is against the bucket before, None for the first one."""
    rows = _query(ask, "PlatformDaily", GROWTH, first, last, grain=grain)
    before = None
    for row in rows:
        now = row["revenue_cents"]
        row["revenue_growth"] = now / before - 1 if before and now is not None else None
        before = now
    return rows


def _query(ask: Ask, rollup: str, metrics: Sequence[str], first: dt.date, last: dt.date, **more: str) -> list[Row]:
    words = {"metrics": ",".join(metrics), "from": str(first), "to": str(last), "grain": "total", **more}
    rows: list[Row] = ask(f"rollups/{rollup}/query", words)["rows"]
    return rows


# -- the command -----------------------------------------------------------------------------------


def shown(rows: Sequence[Row]) -> str:
    """Rows as a table of text: cents as money, rates in percent."""
    if not rows:
        return "There is nothing in this range."
    names = [name for name in rows[0] if name != "day" or len({row["day"] for row in rows}) > 1]
    cells = [[_title(name) for name in names], *([_cell(name, row[name]) for name in names] for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(names))]
    lines = []
    for line in cells:
        parts = [
            text.ljust(width) if isinstance(rows[0][name], str | None) and name not in REPORT else text.rjust(width)
            for name, text, width in zip(names, line, widths, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _title(name: str) -> str:
    return name.removesuffix("_cents").replace("_", " ")


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_cents"):
        return f"{value / 100:,.2f}"
    if name in ("roi", "conversion_rate", "revenue_growth"):
        return f"{100 * value:,.1f} %"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("campaigns", "assets", "revenue", "growth"))
    parser.add_argument("--url", default="http://localhost:8787", help="where `dayfold serve` listens")
    parser.add_argument("--token", required=True, help="a token of the kind read")
    parser.add_argument("--from", dest="first", required=True, type=dt.date.fromisoformat, help="first day")
    parser.add_argument("--to", dest="last", required=True, type=dt.date.fromisoformat, help="last day, included")
    parser.add_argument(
        "--model", choices=tuple(MODELS), default="last", help="campaigns: by which touch (default: last)"
    )
    parser.add_argument(
        "--grain", choices=("day", "week", "month"), default="month", help="revenue, growth: of what length"
    )
    words = parser.parse_args()
    ask = over_http(words.url, words.token)
    try:
        if words.what == "campaigns":
            rows = campaign_report(ask, words.first, words.last, words.model)
        elif words.what == "assets":
            rows = top_assets(ask, words.first, words.last)
        elif words.what == "revenue":
            rows = revenue_timeline(ask, words.first, words.last, words.grain)
        else:
            rows = growth(ask, words.first, words.last, words.grain)
    except Refused as refused:
        sys.exit(str(refused))
    print(shown(rows))


if __name__ == "__main__":
    _main()
