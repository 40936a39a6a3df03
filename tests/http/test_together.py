"""Many requests at once, while folds publish and definitions are read again; and callers who leave in the middle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dayfold.http import reads
from tests.engines.ground import Ground, march
from tests.http.shops import COLUMNS, order, rollups
from tests.http.site import Site, header, in_loop

QUERY = "/v1/rollups/ShopDaily/query"
SPAN = {"from": "2026-03-02", "to": "2026-03-05"}
#: What is asked, and the statuses that it may have.
MIXED: list[tuple[str, str, dict[str, Any], set[int]]] = [
    ("GET", QUERY, {"params": {"by": "shop_id", **SPAN}}, {200}),
    ("GET", QUERY, {"params": {"by": "shop_id", "format": "parquet", **SPAN}}, {200}),
    ("GET", QUERY, {"params": {"live": "1", **SPAN}}, {200}),
    ("GET", "/v1/metrics/orders", {"params": {"shop_id": "1", **SPAN}}, {200}),
    ("GET", "/v1/rollups/ShopDaily/explain", {"params": {"metric": "orders", "day": "2026-03-03", "where": "shop_id=1"}}, {200}),
    ("GET", QUERY, {"params": {"metrics": "ordres"}}, {404}),
    ("GET", "/v1/coverage", {}, {200}),
    ("GET", "/v1/jobs", {}, {200}),
    ("GET", "/v1/runs", {}, {200}),
    ("POST", "/v1/verify", {"json": {"sample": 2}}, {202, 409}),
    ("POST", "/v1/jobs/fold/stop", {}, {200, 409}),
    ("POST", "/v1/jobs/fold/start", {}, {200, 409}),
    ("POST", "/v1/rebuild", {"content": b"[" * 10_000, "headers": {"Content-Type": "application/json"}}, {400}),
    ("GET", "/metrics", {}, {200}),
    ("GET", "/nothing", {}, {404}),
]  # fmt: skip


@pytest.fixture
def site(store: Ground) -> Iterator[Site]:
    """Two shops on each engine."""
    store.load("orders", COLUMNS, [order(shop, day, 10 * day) for shop in (1, 2) for day in range(2, 6)])
    store.define(*rollups(store))
    store.fold()
    with Site(store) as made:
        yield made


def test_two_hundred_requests_while_folds_publish(site: Site) -> None:
    """None fails, and no answer is of half a fold: every shop has one more order each time, or none has."""
    admin = header(site.token("admin"))
    asked = [one for one in MIXED for _ in range(200 // len(MIXED) + 1)]
    random.Random(7).shuffle(asked)

    def publish() -> None:
        for _ in range(4):
            with site.app.ledger.store.transaction() as session:
                for shop in (1, 2):
                    session.execute(
                        f"INSERT INTO orders (shop_id, channel, customer, cents, made_at) VALUES ({shop}, 'web', 'c', 1, '{march(3)}')"
                    )
            assert not [run.error for run in site.app.fold() if run.error]
            site.service._serve(site.app)

    async def ask(client: httpx.AsyncClient, method: str, path: str, how: dict[str, Any], statuses: set[int]) -> None:
        answer = await client.request(method, path, **{**how, "headers": admin | how.get("headers", {})})
        assert answer.status_code in statuses, (method, path, answer.text)
        if path == QUERY and answer.headers["content-type"] == "application/json":
            counts = {row["orders"] for row in answer.json()["rows"] if row["day"] == "2026-03-03"}
            assert len(counts) == 1, counts

    async def everything() -> None:
        transport = httpx.ASGITransport(site.api)
        async with httpx.AsyncClient(transport=transport, base_url="http://metrics.test", timeout=120) as client:
            folds = asyncio.get_running_loop().run_in_executor(None, publish)
            await asyncio.gather(folds, *(ask(client, *one) for one in asked))

    assert len(asked) >= 200
    in_loop(everything())


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_who_leaves_in_the_middle_harms_nobody(site: Site, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """A caller who hangs up after the first piece of a large answer ends it; the next one is answered whole."""
    monkeypatch.setattr(reads, "WHOLE_ROWS", 1)
    admin = header(site.token("admin"))
    words = {"by": "shop_id", "format": form, **SPAN}
    whole = site.client.get(QUERY, headers=admin, params=words).content

    async def leave() -> list[str]:
        gone = asyncio.Event()
        sent: list[str] = []
        request = httpx.Request("GET", f"http://metrics.test{QUERY}", params=words, headers=admin)
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": QUERY,
            "raw_path": QUERY.encode(), "query_string": request.url.query, "client": ("203.0.113.9", 1), "server": ("metrics.test", 80),
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            # Nothing is read before: these questions have no body.
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message["type"])
            if message["type"] == "http.response.body":
                gone.set()
                # As a connection that takes nothing any more: whoever writes waits.
                await asyncio.Event().wait()

        await asyncio.wait_for(site.api(scope, receive, send), 30)
        return sent

    assert in_loop(leave()) == ["http.response.start", "http.response.body"]
    assert site.client.get(QUERY, headers=admin, params=words).content == whole
