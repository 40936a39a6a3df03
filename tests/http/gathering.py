"""A collector over a real store, and senders that come to it; what became of their events is read from the store."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from typing import Any, Self

from dayfold import Count, Distinct, Rollup, Sum, events
from dayfold.ledger import events as log
from dayfold.ledger import quarantine
from dayfold.ledger.events import IDS
from tests.engines.ground import NOW, Ground
from tests.http.site import Site, header

ENTITIES = {"project_id": "text", "asset_id": "bigint", "licence_id": "uuid", "is_trial": "boolean", "due_on": "date"}
SAID = events.columns(**ENTITIES)
ADDRESS = "203.0.113.9"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


class Daily(Rollup):
    """What happened in one project on one day."""

    key = "project_id"

    happened = Count(events, at="occurred_at")
    people = Distinct(events, "coalesce(actor_id, anonymous_id)", at="occurred_at")
    cents = Sum(events, "(props->>'cents')::bigint", at="occurred_at")


class Gathering:
    """A site that collects events.

    Args:
        ground: An empty one.
        definitions: More statements about events.
        settings: More of ``dayfold.toml``.
    """

    def __init__(self, ground: Ground, *definitions: Any, **settings: Mapping[str, Any]) -> None:
        ground.config |= settings
        self.ground = ground
        self.app = ground.define(Daily, SAID, *definitions)
        self.site = Site(ground, (ADDRESS, 4711))

    def __enter__(self) -> Self:
        self.site.__enter__()
        self.site.service.collector.start()
        self.server = self.key("track")
        self.page = self.key("public")
        return self

    def __exit__(self, *error: Any) -> None:
        self.site.__exit__(*error)

    def key(self, kind: str, **limits: Any) -> str:
        """A new key."""
        return self.app.accounts.create_token(f"a {kind} key", kind, **limits).secret

    def post(self, body: Any, path: str = "/v1/events", key: str | None = "", **headers: str) -> Any:
        """The answer to a body as it is, or as JSON; with the server's key unless another, or None, is given."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", "user-agent": AGENT}
        if key is not None:
            sent |= header(key or self.server)
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.site.client.post(path, content=content, headers=sent | more)

    def send(self, *sent: Mapping[str, Any], key: str = "", **headers: str) -> dict[str, Any]:
        """What became of events, once they are in the log."""
        answer = self.post(list(sent), "/v1/events?wait=log", key, **headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def settle(self) -> None:
        """What was acknowledged is in the log."""
        intake = self.site.service.collector.intake
        assert intake is not None
        intake.settle()

    def rows(self, columns: str, table: str = log.TABLE) -> list[tuple[Any, ...]]:
        """Rows of a table of the store, in the order of the columns; every id stands once in the log and once among the ids."""
        self.settle()
        store = self.app.ledger.store
        with store.transaction(read_only=True) as session:

            def read(text: str, name: str = table) -> list[tuple[Any, ...]]:
                return [tuple(row) for row in session.rows(self.app.ledger.sql(text, _t=log.table(name, store.schema)))]

            [(events_,)] = read("select count(*) from _t", log.TABLE)
            [(different,)] = read("select count(distinct id) from _t", log.TABLE)
            [(ids,)] = read("select count(*) from _t", IDS)
            assert events_ == different == ids
            return read(f"select {columns} from _t order by 1")

    def held(self) -> list[tuple[str, str, str]]:
        """Reason, detail and type of what is in quarantine."""
        self.settle()
        with self.app.ledger.store.transaction(read_only=True) as session:
            return sorted(
                (one.reason, one.detail, one.event_type) for one in quarantine.listed(self.app.ledger, session)
            )

    def counted(self) -> dict[str, int]:
        """Events by what became of them, as the ledger counts."""
        from dayfold.ledger import intake

        self.settle()
        with self.app.ledger.store.transaction(read_only=True) as session:
            return {word: events for _, word, events in intake.counted(self.app.ledger, session, dt.date(2000, 1, 1))}


def ago(**span: float) -> str:
    """A moment before the clock's, as ISO text."""
    return (NOW - dt.timedelta(**span)).isoformat()


def basic(key: str) -> str:
    """A key as the user of Basic."""
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


def kept(accepted: int = 0, **more: Any) -> dict[str, Any]:
    """What an answer says of events."""
    return {"accepted": accepted, "quarantined": 0, "ignored": 0, "errors": []} | more
