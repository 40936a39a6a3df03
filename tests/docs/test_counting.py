"""The page about counting: what it shows was printed, and its middleware counts."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold
from tests.docs.pages import DOCS, Player, blocks
from tests.docs.test_pages import NOW, check

PAGE = DOCS / "how-to" / "count.md"
#: A slow machine is no live store that is down.
PATIENT = {"DAYFOLD_LIVE__WAIT_MS": "20000"}


def test_page_runs_as_it_stands(tmp_path: Path) -> None:
    """From the definition to the law, in an empty folder."""
    check(PAGE, list(Player(tmp_path, {**NOW, **PATIENT}).play(PAGE)))


def test_middleware_counts_each_request_of_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever became of it; the identity of the page's counter holds, and requests without a key are let through."""
    texts = {one.mark: one.text for one in blocks(PAGE)}
    (tmp_path / "metrics.py").write_text(texts["file: metrics.py"])
    monkeypatch.setenv(*next(iter(PATIENT.items())))
    names: dict[str, Any] = {}
    exec(texts["file: middleware.py"], names)

    async def answering(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/broken":
            raise RuntimeError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(counting: Any, path: str, *headers: tuple[bytes, bytes]) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        try:
            await counting({"type": "http", "path": path, "headers": list(headers)}, None, send)
        except RuntimeError:
            return 500
        return int(sent[0]["status"])

    async def all_of_them(counting: Any) -> list[int]:
        key = (b"x-api-key", b"k1")
        return [await ask(counting, "/", key), await ask(counting, "/broken", key), await ask(counting, "/")]

    with Dayfold(tmp_path / "metrics.py") as app:
        counting = names["CountRequests"](answering, app.counters)
        assert asyncio.run(all_of_them(counting)) == [200, 500, 200]
        app.counters.flush()
        [law] = app.counters.conservation()
        assert (law.applied["total_requests"], law.applied["failed_requests"], law.holds) == (2, 1, True)
        today = dt.datetime.now(dt.UTC).date()
        app.fold()
        rows = app.query("ApiKeyUsage", ["total_requests"], from_=today - dt.timedelta(days=1), to=today).rows
        assert sum(row["total_requests"] or 0 for row in rows) == 2
