"""``/events``: what comes in, what is held back, and what brought whoever came. Dashboard door."""

from __future__ import annotations

import datetime as dt
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.view import View, address
from dayfold.define.events import COLUMNS, IDENTITIES
from dayfold.errors import UsageError
from dayfold.http.formats import encoded
from dayfold.http.rights import Right
from dayfold.ledger.quarantine import REASONS, HeldEvent
from dayfold.plan.access import Scope
from dayfold.plan.event_sieve import redact
from dayfold.query.event_figures import REPORTS, SPANS

router = APIRouter(route_class=PageRoute, include_in_schema=False)
#: Events that the page has at first, and keeps; those of a page of quarantine; rows of a report.
_SHOWN, _HELD, _ROWS = 50, 50, 100
#: Seconds between two looks at the rates at least, and how many times as long as a look took.
_EVERY_S, _TIMES = 30, 10
_FILTERS = ("event_type", "entity_type", "entity_id")
_PERIODS = {"7 days": "-6d", "30 days": "-29d", "90 days": "-89d", "12 months": "-364d"}
_REPORT_NAMES = {
    "campaign": "Campaigns", "source": "Sources", "medium": "Mediums", "referrer": "Referrers", "channel": "Channels",
    "first-touch": "First touch", "last-touch": "Last touch",
}  # fmt: skip
_MOMENTS = ("occurred_at", "received_at", "sent_at", "original_timestamp")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@router.get("/events", openapi_extra=shows(Right.READ, *_FILTERS, "span"))
def events(view: View) -> Response:
    """The newest events and those that come in meanwhile; how many of each type came lately."""
    _check_used(view)
    asked: dict[str, Any] = {name: view.param(name) for name in _FILTERS}
    scope = _raw_scope(view)
    found = view.app.events(**asked, limit=_SHOWN, scope=scope)
    columns = _columns(view, scope)
    return view.page(
        "events.html", "Events", tabs=_tabs(view), asked=asked, columns=columns, shown=_SHOWN,
        rows=[_shown(one, columns) for one in found.rows], entity_types=_entity_types(view),
        stream=address("/v1/events/stream", asked), page_of=address("/v1/events", {**asked, "limit": _SHOWN}),
        is_whole=view.app.databases.store.journal is not None, **_figures(view),
    )  # fmt: skip


@router.get("/events/rates", openapi_extra=shows(Right.READ, "span"))
def rates(view: View) -> Response:
    """How many of each type came lately, as a part of the page."""
    _check_used(view)
    return view.page("events_rates.html", "Events", **_figures(view))


@router.get("/events/quarantine", openapi_extra=shows(Right.JOBS, "reason", "type", "after", "replayed", "kept"))
def quarantine(view: View) -> Response:
    """Events that are held back, and why."""
    _check_used(view)
    desk = view.app.event_log
    reason, event_type = view.param("reason"), view.param("type")
    held = desk.quarantined(reason=reason, event_type=event_type, limit=_HELD + 1, after=view.param("after") or "")
    is_personal = _raw_scope(view).personal
    page = held[:_HELD]
    replayed, kept = (_number(view.param(name)) for name in ("replayed", "kept"))
    return view.page(
        "quarantine.html", "Quarantine", tabs=_tabs(view), counts=desk.status().held, reason=reason, event_type=event_type,
        reasons=REASONS, held=[(one, _spread(_held(one, personal=is_personal))) for one in page],
        next_url=view.url(after=page[-1].id) if len(held) > _HELD else None, is_personal=is_personal,
        may_replay=view.may(Right.ADMIN), replayed=replayed, kept=kept,
    )  # fmt: skip


@router.post("/events/quarantine/replay", openapi_extra=shows(Right.ADMIN, audit="events-replay"))
def replay(view: View) -> Response:
    """Held events that the definitions know by now are taken into the log."""
    _check_used(view)
    view.app.catalog.check()
    event_type = view.form.get("type") or None
    found = view.app.event_log.replay(event_type=event_type)
    words = {"replayed": found.replayed, "kept": found.kept, **({"type": event_type} if event_type else {})}
    return view.onward(f"/events/quarantine?{urlencode(words)}")


@router.get("/events/reports", openapi_extra=shows(Right.READ, "from", "to", "by"))
def reports(view: View) -> Response:
    """Campaigns and referrers, by how many came."""
    _check_used(view)
    by = view.one_of("by", tuple(REPORTS), "campaign")
    first, last = view.param("from") or "-29d", view.param("to") or "today"
    found = view.app.event_report(by, first, last, limit=_ROWS, scope=view.scope)
    most = max((row[-2] for row in found.rows), default=0)
    periods = [
        (name, view.url(from_=start, to=None), (first, last) == (start, "today")) for name, start in _PERIODS.items()
    ]
    return view.page(
        "event_reports.html", _REPORT_NAMES[by], tabs=_tabs(view), report=found, most=most, periods=periods, limit=_ROWS,
        kinds=[(name, view.url(by=one), one == by) for one, name in _REPORT_NAMES.items()],
    )  # fmt: skip


def _check_used(view: View) -> None:
    if not view.app.event_log.is_used:
        raise UsageError(
            "These definitions say nothing of events.",
            hint="Say events.columns() in metrics.py, or fold a rollup from events.",
        )


def _raw_scope(view: View) -> Scope:
    assert view.caller is not None
    return view.caller.raw_scope


def _sees_all(view: View) -> bool:
    scope = view.scope
    return not scope.is_limited and scope.event_filters(view.app.catalog.entities.types) is not None


def _tabs(view: View) -> list[tuple[str, str, bool]]:
    here = view.request.url.path
    pages = [("Live", "/events", True), ("Campaigns and referrers", "/events/reports", _sees_all(view))]
    pages.append(("Quarantine", "/events/quarantine", view.may(Right.JOBS)))
    return [(name, view.to(path), here == path) for name, path, is_there in pages if is_there]


def _figures(view: View) -> dict[str, Any]:
    """The rates of types, and what came of all that was sent lately: the latter only for who sees all events."""
    span = view.one_of("span", tuple(SPANS), "day")
    status = view.app.event_log.status() if _sees_all(view) else None
    began = time.monotonic()
    rates = view.app.event_rates(span, scope=view.scope)
    return {
        "rates": rates,
        # A look never takes more than a tenth of the time.
        "every": max(_EVERY_S, math.ceil(_TIMES * (time.monotonic() - began))),
        "span": span,
        "log": status,
        "outcomes": sorted({name for day in status.taken.values() for name in day}) if status else [],
        "rates_url": view.to("/events/rates", span=span),
        "spans": [("24 hours", view.to("/events", span="day"), span == "day"),
                  ("30 days", view.to("/events", span="month"), span == "month")],
    }  # fmt: skip


def _entity_types(view: View) -> list[str]:
    return [name.removesuffix("_id") for name in view.app.catalog.entities.types]


def _columns(view: View, scope: Scope) -> list[str]:
    """The columns that a row of the page has; the others stand in its details."""
    who = list(IDENTITIES) if scope.personal else []
    return ["occurred_at", "event_type", *view.app.catalog.entities.types, *who, "source", "page"]


def _shown(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """An event of a page: its cells as texts, and all of it in JSON, without what it does not have."""
    whole = {name: value for name, value in row.items() if value is not None}
    return {
        "id": row["id"],
        "cells": [_cell(row[name]) for name in columns],
        "whole": _spread(whole),
    }


def _spread(value: object) -> str:
    """JSON over several lines, its numbers with all their digits."""
    return msgspec.json.format(encoded(value), indent=1).decode()


def _cell(value: object) -> str:
    """A value as `static/pages/events.js` writes it."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _held(one: HeldEvent, *, personal: bool) -> dict[str, Any]:
    """A held event as it was read; without personal data its properties are shown by what they are."""
    body: dict[str, Any] = json.loads(one.body)
    properties = json.loads(body.get("properties", "{}"))
    row: dict[str, Any] = {name: body.get(name) for name in COLUMNS}
    if not personal:
        redact(row)
        properties = {name: _kind(value) for name, value in properties.items()}
    for name in _MOMENTS:
        if (micros := row[name]) is not None:
            row[name] = _EPOCH + dt.timedelta(microseconds=micros)
    row["properties"] = properties
    if body.get("entity"):
        row["entity_type"], row["entity_id"] = body["entity"]
    return {name: value for name, value in row.items() if value is not None}


def _kind(value: object) -> str:
    """What a value of JSON is.

    >>> _kind("anna"), _kind(3), _kind(True), _kind([1])
    ('text', 'number', 'boolean', 'list')
    """
    kinds = {bool: "boolean", str: "text", int: "number", float: "number", list: "list", dict: "object"}
    return kinds.get(type(value), "null")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else None
