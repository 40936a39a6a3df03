"""What the pages of the application show: KPI cards, a daily series and the funnel of one shop.

The application keeps a token for each shop (or signs one, see the README) and asks `dayfold serve` with it, so that a page shows
the rows of its own shop whatever it asks for. Nothing but the standard library is needed.

    ask = over_http("http://localhost:8787", token_of_the_shop)
    kpi(ask, date(2026, 1, 1), date(2026, 1, 31))

All ranges are of UTC days, both ends included. A number that is not known is None, and never zero: a range that ends after today has
no sums.
"""

from __future__ import annotations

import datetime as dt
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: What a question to the API is asked with: its path under /v1 and its parameters; the answer's JSON.
Ask = Callable[[str, dict[str, str]], dict[str, Any]]
#: What runs a statement with $1, $2 in the application's own database: `psycopg.RawCursor`, DuckDB, or what your framework has.
Run = Callable[[str, Sequence[Any]], Sequence[tuple[Any, ...]]]

CARDS = ("requests_sent", "requests_clicked", "submissions_count", "approved_count", "published_count", "response_rate")
#: The stages that the rollup stores, in their order.
STAGES = {
    "sent": "requests_sent",
    "clicked": "requests_clicked",
    "submitted": "submissions_count",
    "approved": "approved_count",
    "published": "published_count",
}
TIMEOUT_S = 10
OPENED = """
    SELECT count(*)
    FROM (
        SELECT e.request_id
        FROM testimonial_request_event AS e
        JOIN testimonial_request AS r ON r.id = e.request_id
        WHERE r.shop_id = $1 AND e.type = 'opened'
        GROUP BY e.request_id
        HAVING min(e."at") >= $2 AND min(e."at") < $3
    ) AS opened
"""


class Refused(Exception):
    """The API did not answer the question; the message says why, and what to change."""


@dataclass(frozen=True)
class Stage:
    """One card of the funnel.

    `share` is of the requests sent in the same range, None where there are none. `is_live`: some of it, or all, was counted just now.
    """

    name: str
    count: int | None
    share: float | None
    is_live: bool


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


def kpi(ask: Ask, first: dt.date, last: dt.date, *, live: bool = False) -> dict[str, Any]:
    """The sums of a range; `response_rate` is one of sums. With `live`, what came in since the last fold is counted too."""
    [row] = _query(ask, CARDS, first, last, grain="total", live=live)["rows"]
    return {name: row[name] for name in CARDS}


def series(
    ask: Ask,
    first: dt.date,
    last: dt.date,
    metrics: Sequence[str] = ("requests_sent", "submissions_count"),
    *,
    live: bool = False,
) -> list[dict[str, Any]]:
    """One entry a day, also of a day on which nothing happened: zero then, and None where the day was never folded."""
    rows = _query(ask, metrics, first, last, grain="day", live=live)["rows"]
    return [row | {"day": dt.date.fromisoformat(row["day"])} for row in rows]


def funnel(ask: Ask, first: dt.date, last: dt.date, *, live: bool = True, opened: int | None = None) -> list[Stage]:
    """The stages of a range: sent, opened where it is given, clicked, submitted, approved, published.

    Each is counted on the day of its own moment, so that a stage may be greater than the one before: a request sent in December is approved
    in January. With `live`, cells that changed since the last fold and days that are not over are counted now.
    """
    answer = _query(ask, list(STAGES.values()), first, last, grain="total", live=live)
    [row] = answer["rows"]
    now = {metric for part in answer.get("provisional", ()) for metric in part["metrics"]}
    stages = [_stage(name, row[metric], row["requests_sent"], metric in now) for name, metric in STAGES.items()]
    if opened is not None:
        stages.insert(1, _stage("opened", opened, row["requests_sent"], True))
    return stages


def count_opened(run: Run, shop: int, first: dt.date, last: dt.date) -> int:
    """A stage that no rollup stores, from the application's own tables: requests that were first opened in the range.

    This is a query of the application, so it is here that the shop has to be named. A funnel that needs it every day is a reason to
    add it to the rollup.
    """
    start = dt.datetime.combine(first, dt.time(), dt.UTC)
    end = dt.datetime.combine(last + dt.timedelta(days=1), dt.time(), dt.UTC)
    [(count,)] = run(OPENED, [shop, start, end])
    return int(count)


def _query(
    ask: Ask, metrics: Sequence[str], first: dt.date, last: dt.date, *, grain: str, live: bool
) -> dict[str, Any]:
    words = {"metrics": ",".join(metrics), "from": str(first), "to": str(last), "grain": grain}
    return ask("rollups/TestimonialDaily/query", words | ({"live": "1"} if live else {}))


def _stage(name: str, count: int | None, sent: int | None, is_live: bool) -> Stage:
    return Stage(name, count, count / sent if count is not None and sent else None, is_live)
