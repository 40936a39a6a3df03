"""One event on its way into the log: what the door has read and what enrichment adds. Collect floor, pure.

Its fields are the columns of the log (`dayfold.define.events.COLUMNS`), moments in microseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import msgspec

from dayfold.define.events import COLUMNS


class Event(msgspec.Struct, omit_defaults=True, gc=False):
    """An event as it is being made. Every field but the first ones may be filled by whoever knows it.

    Attributes:
        id: A UUID as text, in small letters.
        digest: 64 bits over all that its sender decided, signed.
        trust: ``public`` where everybody may hold the key that sent it, else ``server``.
        source: ``web``, ``server`` or ``import``.
        properties: JSON text; ``props`` holds the same as it was decoded, until the event is written.
        entity: What it is about as its sender named it: the entity's type and id.
        entities: A value for each declared column, in their order.
        address: The sender's IP address, used for the country and dropped.
        context: Of the declared columns, those that a message of Segment's says beside its properties, as it says them.
    """

    id: str
    event_type: str
    occurred_at: int
    received_at: int
    digest: int
    trust: str
    source: str
    properties: str = "{}"
    props: dict[str, Any] = {}
    entity: tuple[str, str] | None = None
    entities: tuple[Any, ...] = ()
    sent_at: int | None = None
    original_timestamp: int | None = None
    actor_type: str | None = None
    actor_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None
    click_id: str | None = None
    channel: str | None = None
    page: str | None = None
    landing_page: str | None = None
    referrer: str | None = None
    referrer_class: str | None = None
    referrer_name: str | None = None
    first_source: str | None = None
    first_medium: str | None = None
    first_campaign: str | None = None
    last_source: str | None = None
    last_medium: str | None = None
    last_campaign: str | None = None
    user_agent: str | None = None
    device_type: str | None = None
    browser: str | None = None
    os: str | None = None
    country: str | None = None
    is_bot: bool | None = None
    address: str | None = None
    context: dict[str, Any] = {}


#: The columns of the log that are the same in every application, of one event.
row_of = attrgetter(*COLUMNS)
