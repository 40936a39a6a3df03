"""A site: an application over a real store, and what is asked of it over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Self, TypeVar

from fastapi import FastAPI
from starlette.testclient import TestClient

from dayfold import Dayfold
from dayfold.http.application import make
from dayfold.http.route import Route
from dayfold.http.service import Service
from dayfold.http.straight import Straight
from dayfold.ledger import tokens
from dayfold.plan.access import EVERYTHING, Scope
from tests.engines.ground import Ground

Result = TypeVar("Result")


def in_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine returns, in an event loop of its own: a browser may have left one that runs in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class Site:
    """The HTTP application over the opened application of a ground, and its clients."""

    make: ClassVar[Callable[[Service], FastAPI]] = staticmethod(make)

    def __init__(self, ground: Ground, client: tuple[str, int] = ("203.0.113.9", 4711)) -> None:
        self.app: Dayfold = ground.opened
        self.app.ledger.ready()
        self.service = Service(self.app)
        self.api: FastAPI = self.make(self.service)
        outermost = Straight(self.api, self.service)
        self.client = TestClient(outermost, raise_server_exceptions=False, client=client)

    def __enter__(self) -> Self:
        self.client.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.client.__exit__(*error)
        self.service.close()

    def token(self, kind: str = "read", scope: Scope = EVERYTHING) -> str:
        """A token of a kind."""
        with self.app.ledger.store.transaction() as session:
            return tokens.create(self.app.ledger, session, f"a {kind} token", kind, scope, None, "a test")[1]

    def reader(
        self, rows: Mapping[str, Iterable[str | None]] | None = None, rollups: Iterable[str] | None = None
    ) -> dict[str, str]:
        """The header of a token that reads some rows."""
        return header(self.token("read", Scope.of(rollups, rows or {})))

    def get(self, path: str, headers: Mapping[str, str] | None = None, **words: Any) -> Any:
        """An answer; ``from_`` is the parameter ``from``."""
        return self.client.get(path, headers=headers, params={name.rstrip("_"): value for name, value in words.items()})


def header(token: str) -> dict[str, str]:
    """A token as it is sent."""
    return {"Authorization": f"Bearer {token}"}


def problem(answer: Any) -> tuple[int, str, str, str]:
    """What an answer says is wrong: status, code, detail and hint."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    said = answer.json()
    assert said["status"] == answer.status_code
    assert said["type"] == f"urn:dayfold:{said['code']}"
    return answer.status_code, said["code"], said["detail"], said.get("hint", "")


def routes(of: Any) -> Iterator[Route]:
    """Every route of an application; one that does not pass the check of all is a failed test."""
    for one in of.routes:
        inner = getattr(one, "original_router", None)
        if inner is not None:
            yield from routes(inner)
            continue
        assert isinstance(one, Route), f"{one!r} does not pass `admit`"
        yield one
