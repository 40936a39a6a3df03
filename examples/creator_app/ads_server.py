"""Stands in for an advertising network: a day's report is 404 until two days later, then a first figure, then a corrected one.

    python ads_server.py 8900 &
    export ADS_URL=http://127.0.0.1:8900

Every figure is drawn from the hash of day, campaign and channel, so it is the same on every machine. `DAYFOLD_NOW` is the present, if it
is set.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CAMPAIGNS = ("campaign-1", "campaign-3", "campaign-5", None)
CHANNELS = ("paid_social", "search")
#: Nothing was advertised on this day, and campaign-5 ended here.
DOWN, ENDED = dt.date(2026, 1, 15), dt.date(2026, 1, 10)


def report(day: dt.date, age_days: int) -> list[dict[str, Any]] | None:
    """The rows of a day as they are so many days later; None before there are any."""
    if age_days < 2:
        return None
    if day == DOWN:
        return []
    return [
        _row(day, campaign, channel, corrected=age_days > 2)
        for campaign in CAMPAIGNS
        for channel in CHANNELS
        if campaign != "campaign-5" or day <= ENDED
    ]


def _row(day: dt.date, campaign: str | None, channel: str, *, corrected: bool) -> dict[str, Any]:
    drawn = int(hashlib.md5(f"{day} {campaign} {channel}".encode()).hexdigest()[:12], 16)
    clicks = 50 + drawn % 400
    # Clicks of machines are found out and not charged.
    machines = clicks // 20 if corrected else 0
    spend_cents = (clicks - machines) * (20 + drawn % 60)
    return {
        "campaign": campaign,
        "channel": channel,
        "spend": f"{spend_cents // 100}.{spend_cents % 100:02}",
        "fee": f"{spend_cents // 1000}.{spend_cents // 10 % 100:02}",
        "impressions": clicks * 37,
        "clicks": clicks - machines,
        "conversions": clicks // 30,
    }


def server(today: Callable[[], dt.date], port: int = 0) -> ThreadingHTTPServer:
    """A server on this machine that is not running yet; a port of 0 takes a free one."""

    class Reports(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            day = dt.date.fromisoformat(self.path.rpartition("/")[2])
            rows = report(day, (today() - day).days)
            self.send_response(404 if rows is None else 200)
            self.end_headers()
            self.wfile.write(b"" if rows is None else json.dumps(rows).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing of requests."""

    return ThreadingHTTPServer(("127.0.0.1", port), Reports)


def present() -> dt.date:
    """The UTC day of the machine, or of DAYFOLD_NOW."""
    pretended = os.environ.get("DAYFOLD_NOW")
    now = dt.datetime.fromisoformat(pretended) if pretended else dt.datetime.now(dt.UTC)
    return now.astimezone(dt.UTC).date()


if __name__ == "__main__":
    server(present, int(sys.argv[1]) if len(sys.argv) > 1 else 8900).serve_forever()
