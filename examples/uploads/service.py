"""A tiny upload service that counts what it does: requests in a middleware, files with the request that stored them.

    python service.py                       # on http://127.0.0.1:8080, with the keys of six_weeks.py

A file goes to one of several storage providers, which are made up here: they fail, and take files without ever answering. The service
gives up on one after a moment and asks the next; its clients give up on it and try again, with the same Idempotency-Key.

No database is asked or written while a request is answered: what is counted goes to the live store, in one call.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import sys
import zlib
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dayfold import Dayfold

HERE = Path(__file__).parent
MOST_BYTES, MOST_WORD = 10_000_000, 100
#: What clients send their API key as.
HEADER = b"x-api-key"


class Unavailable(Exception):
    """A provider does not take a file."""


@dataclass
class Provider:
    """A storage provider that is not always there.

    Attributes:
        fails: The share of files that it refuses; ``hangs``: of files that it takes without answering.
        objects: What it holds: the size of each file.
    """

    name: str
    fails: float = 0.0
    hangs: float = 0.0
    delay_s: float = 0.0
    objects: dict[str, int] = field(default_factory=dict)
    chance: random.Random = field(default_factory=random.Random)

    async def put(self, upload_id: str, body: bytes) -> None:
        """The file is stored; again is harmless. Raises Unavailable."""
        luck = self.chance.random()
        await asyncio.sleep(self.delay_s)
        if luck < self.fails:
            raise Unavailable
        self.objects[upload_id] = len(body)
        if luck < self.fails + self.hangs:
            await asyncio.sleep(3600)


@dataclass(frozen=True)
class Key:
    """An API key and whose it is."""

    id: str
    user_id: str


@dataclass(frozen=True)
class Stored:
    """A file and where it is."""

    upload_id: str
    provider: str
    size: int


Keys = MutableMapping[str, Key]


class Counted:
    """Counts each request that is made with an API key, before it is answered.

    Once the client has its answer, what it did is in the live store, as durable as that is. Should the live store be down, the client
    waits no longer than ``[live] wait_ms``, and the increments wait in this process.
    """

    def __init__(self, app: ASGIApp, dayfold: Dayfold) -> None:
        self.app = app
        self.dayfold = dayfold
        self.by_key, self.by_provider = dayfold.counters.defined(["ApiKeyUsage", "ProviderUsage"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # It counts on the day on which it came.
        at = dt.datetime.now(dt.UTC)
        is_counted = False

        async def counted(message: Message) -> None:
            nonlocal is_counted
            if message["type"] == "http.response.start":
                is_counted = True
                await self.count(scope["state"], message["status"] < 400, at)
            await send(message)

        try:
            await self.app(scope, receive, counted)
        except Exception:
            if not is_counted:
                await self.count(scope["state"], False, at)
            raise

    async def count(self, state: dict[str, Any], is_good: bool, at: dt.datetime) -> None:
        """A request, and the file that it stored: that has an id, so that it counts once however often it is sent."""
        key: Key | None = state.get("key")
        if key is None:
            return
        stored: Stored | None = state.get("stored")
        by, read = {"api_key_id": key.id}, self.dayfold.counters.read
        outcome = {"total_requests": 1, "successful_requests": int(is_good), "failed_requests": int(not is_good)}
        adds = [read(self.by_key, by, outcome, key.user_id, at)]
        if stored is not None:
            size, id = stored.size, stored.upload_id
            file = {"total_files_uploaded": 1, "total_file_size": size}
            adds.append(read(self.by_key, by, file, key.user_id, at, id))
            place = {"upload_count": 1, "total_file_size": size}
            adds.append(read(self.by_provider, {**by, "provider": stored.provider}, place, key.user_id, at, id))
        await self.dayfold.counters.added(adds)


class Service:
    """The routes.

    Args:
        keys: API keys by their secrets; one that is deleted is gone from here, and its history stays.
        providers: Where files go.
        patience_s: Seconds that a provider has for one file.
    """

    def __init__(self, keys: Keys, providers: Sequence[Provider], patience_s: float) -> None:
        self.keys = keys
        self.providers = providers
        self.patience_s = patience_s
        self.files: dict[str, Stored] = {}

    async def upload(self, request: Request) -> Response:
        """The body is stored, by the Idempotency-Key once."""
        key = self._key(request)
        if key is None:
            return _said(401, "There is no such API key.")
        body = await request.body()
        word = request.headers.get("idempotency-key") or uuid4().hex
        if not body or len(body) > MOST_BYTES or len(word) > MOST_WORD:
            return _said(422, f"A file has 1 to {MOST_BYTES:,} bytes, and an Idempotency-Key {MOST_WORD} letters.")
        # Two clients may well think of the same word.
        upload_id = json.dumps([key.id, word])
        stored = self.files.get(upload_id) or await self._store(upload_id, body)
        if stored is None:
            return _said(502, "No provider took the file; try again with the same Idempotency-Key.")
        request.state.stored = self.files.setdefault(upload_id, stored)
        return JSONResponse({"id": word, "provider": stored.provider, "size": stored.size}, 201)

    async def _store(self, upload_id: str, body: bytes) -> Stored | None:
        """Where the file is now: with the first provider that says so. Each file has its own order of them."""
        first = zlib.crc32(upload_id.encode()) % len(self.providers)
        for one in (*self.providers[first:], *self.providers[:first]):
            try:
                async with asyncio.timeout(self.patience_s):
                    await one.put(upload_id, body)
            except (TimeoutError, Unavailable):
                continue
            return Stored(upload_id, one.name, len(body))
        return None

    async def look(self, request: Request) -> Response:
        """Where a file is."""
        key = self._key(request)
        if key is None:
            return _said(401, "There is no such API key.")
        found = self.files.get(json.dumps([key.id, request.path_params["word"]]))
        return JSONResponse({"provider": found.provider, "size": found.size}) if found else _said(404, "No such file.")

    async def forget_key(self, request: Request) -> Response:
        """The API key that asks for it is deleted."""
        if self._key(request) is None:
            return _said(401, "There is no such API key.")
        del self.keys[request.headers[HEADER.decode()]]
        return Response(status_code=204)

    def _key(self, request: Request) -> Key | None:
        """Whose request it is; the middleware counts it for them."""
        key = self.keys.get(request.headers.get(HEADER.decode(), ""))
        request.state.key = key
        return key


def _said(status: int, what: str) -> Response:
    return JSONResponse({"detail": what}, status)


def create(dayfold: Dayfold, keys: Keys, providers: Sequence[Provider], *, patience_s: float = 0.5) -> Starlette:
    """The service. Where increments wait in the store itself, it flushes them too; otherwise `dayfold serve` does."""
    service = Service(keys, providers, patience_s)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if dayfold.settings.live.url is None:
            dayfold.counters.start()
        yield
        # What is on its way to the live store gets there.
        dayfold.counters.close()

    app = Starlette(
        routes=[
            Route("/uploads", service.upload, methods=["POST"]),
            Route("/uploads/{word}", service.look),
            Route("/key", service.forget_key, methods=["DELETE"]),
        ],
        middleware=[Middleware(Counted, dayfold=dayfold)],
        lifespan=lifespan,
    )
    app.state.service = service
    return app


def _main() -> None:
    import uvicorn

    from dayfold import Dayfold

    sys.path.insert(0, str(HERE))
    from six_weeks import KEYS, PROVIDERS

    keys: Keys = {f"secret-of-{one.id}": Key(one.id, one.user_id) for one in KEYS}
    providers = [Provider(name, fails=0.1, hangs=0.02, delay_s=0.01) for name in PROVIDERS]
    with Dayfold(HERE / "metrics.py") as dayfold:
        uvicorn.run(create(dayfold, keys, providers), port=8080, access_log=False)


if __name__ == "__main__":
    _main()
