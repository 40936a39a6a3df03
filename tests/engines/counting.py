"""What tests of counters stand on: an application on PostgreSQL or DuckDB with a real Valkey, and plain looks past the product."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Self

import redis

from dayfold import Counter, Dayfold, Total
from dayfold.clock import FixedClock
from dayfold.count.conservation import Conservation
from dayfold.count.flush import Flusher, Step
from dayfold.count.valkey import Valkey, script
from tests.sql import run_sql, store_config

NOW = dt.datetime(2026, 3, 12, 12, tzinfo=dt.UTC)
TODAY = dt.date(2026, 3, 12)


class Usage(Counter):
    """Requests of an API key."""

    key = "k"
    owner = "who"
    identities = ("total = good + bad",)
    total = Total()
    good = Total()
    bad = Total()
    size = Total(negative=True)


def no_step(name: str) -> None:
    """Goes on."""


class Counting:
    """A store and, unless increments wait in it, a Valkey."""

    def __init__(self, store: str, live: dict[str, Any] | None = None) -> None:
        self.store = store
        self.live = live
        self.clock = FixedClock(NOW)
        self.app: Dayfold | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.app is not None:
            self.app.close()
            self.app = None

    def define(self, *definitions: type[Any], **live: Any) -> Dayfold:
        """An application with these definitions, of which the tables are there."""
        self.close()
        words: dict[str, Any] = store_config(self.store, long_view="")
        if self.live or live:
            words["live"] = {**(self.live or {}), **live}
        self.app = Dayfold(definitions or (Usage,), words, clock=self.clock)
        self.app.counters.make()
        return self.app

    @property
    def opened(self) -> Dayfold:
        return self.app or self.define()

    def add(self, k: str, total: int = 1, **more: Any) -> str:
        """Some good requests."""
        return str(self.opened.counters.add("usage", k=k, total=total, good=total, **more))

    def flusher(self, step: Step = no_step, live: Any = None) -> Flusher:
        return Flusher(self.opened.ledger, live or self.opened.counters.live, step)

    def flush(self, step: Step = no_step) -> Any:
        [counter] = self.opened.counters.defined()
        return self.flusher(step).flush(counter)

    @property
    def law(self) -> Conservation:
        [found] = self.opened.counters.conservation()
        return found

    def rows(self, columns: str = "k, total", table: str = "dayfold_counted_usage") -> list[tuple[Any, ...]]:
        """What a table of the counter holds, read past the product."""
        if self.store.startswith("duckdb"):
            self.close()
        return sorted(run_sql(self.store, f"SELECT {columns} FROM {table}"))

    def sql(self, text: str) -> None:
        if self.store.startswith("duckdb"):
            self.close()
        run_sql(self.store, text)

    # -- programs in other languages -------------------------------------------------------------

    @property
    def client(self) -> redis.Redis:
        live = self.opened.counters.live
        assert isinstance(live, Valkey)
        return live._connected()  # type: ignore[no-any-return]

    def foreign(
        self, *adds: tuple[str | bytes, str | bytes, str | bytes, str | bytes, Sequence[str]], shard: int = 0
    ) -> Any:
        """Day, key, owner, id, and totals with amounts, as another program sends them: whatever it is."""
        assert self.live is not None
        words: list[str | bytes | int] = ["", 0, "", len(adds)]
        for day, key, owner, id_, totals in adds:
            words += [day, key, owner, id_, len(totals) // 2, *totals]
        base = f"{{{self.live['prefix']}:1:usage:{shard}}}:"
        return self.client.eval(script("add"), 1, base, *words)
