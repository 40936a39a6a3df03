"""``/profiles/NAME/one``: all that is known of one entity, what it did, and its days. Dashboard door."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.filters import key_words
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.span import first_day
from dayfold.dashboard.view import View, address
from dayfold.days import Days
from dayfold.define.events import IDENTITIES, EventLog
from dayfold.define.lasting import Case, Collect, Exists, First, Mode
from dayfold.define.metric import Avg, Computed, Count, Distinct, Measured
from dayfold.define.rollup import RollupDef
from dayfold.errors import QueryRefused
from dayfold.http.rights import Right
from dayfold.plan.access import Scope
from dayfold.plan.comparisons import STAMPS
from dayfold.query.event_pages import EventPage
from dayfold.query.profile_request import ProfileRequest
from dayfold.query.profile_request import key_words as key_of
from dayfold.ready import VISITOR

if TYPE_CHECKING:
    import pyarrow as pa

router = APIRouter(route_class=PageRoute, include_in_schema=False)
#: Beside the identities of the log.
_SESSION = "session_id"
#: Days of an entity, rollups and metrics that are drawn, and events that are shown.
DAYS, _ROLLUPS, _LINES, EVENTS = 90, 4, 4, 20
GROUPS = (
    "Segments", "Dates", "Counts", "Amounts", "Rates and figures", "Firsts, lasts and favourites", "Lists", "Record",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """A column of an entity. ``receipt``: where its value tells where it comes from; None where it is no metric."""

    name: str
    value: Any
    receipt: str | None


@dataclass(frozen=True, slots=True)
class Daily:
    """What a rollup says of an entity, by day.

    Attributes:
        rows: The days with something, the newest first, each with the address of each number's receipt.
        is_past: Whether the days end before today, because nothing came since.
    """

    rollup: RollupDef
    metrics: Sequence[str]
    days: Days
    rows: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]
    payload: Mapping[str, Any]
    is_past: bool
    url: str
    missing: Sequence[str]


@router.get("/profiles/{name}/one", openapi_extra=shows(Right.READ, "key", "to"))
def one(view: View, name: str) -> Response:
    """One entity by its key; another's is answered like one that is not there."""
    profile = view.rollup(name)
    key = key_of(view.params("key"))
    answer = view.app.profile_answer(ProfileRequest.one(profile, key, today=view.today, scope=view.scope))
    row = answer.found
    where = key_words(profile.key, row)
    return view.page(
        "entity.html", " · ".join(str(row[name]) for name in profile.key), profile=profile, row=row, answer=answer,
        groups=_groups(view, profile, row, answer.table, where), events=_events(view, profile, row),
        daily=_dailies(view, profile, where), above=view.to(f"/profiles/{profile.name}"),
        api=address(f"/v1/profiles/{profile.name}/one", {"key": where}),
    )  # fmt: skip


# -- columns -----------------------------------------------------------------------------------------


def _groups(
    view: View, profile: RollupDef, row: Mapping[str, Any], table: pa.Table, where: Sequence[str]
) -> list[tuple[str, list[Fact]]]:
    """The columns beside the key, by what they are."""
    found: dict[str, list[Fact]] = {name: [] for name in GROUPS}
    for name, value in row.items():
        if name in profile.key:
            continue
        is_metric = name in profile.metrics
        receipt = view.to(f"/receipt/{profile.name}/{name}", where=list(where)) if is_metric else None
        found[group_of(profile, name, table.schema.field(name).type)].append(Fact(name, value, receipt))
    return [(name, facts) for name, facts in found.items() if facts]


def group_of(profile: RollupDef, name: str, kind: pa.DataType) -> str:
    """The group of a column, by what it is and what it holds."""
    import pyarrow as pa

    metric = profile.metrics.get(name)
    if name in STAMPS and metric is None:
        return "Record"
    if isinstance(metric, Collect):
        return "Lists"
    if isinstance(metric, Case | Exists) or pa.types.is_boolean(kind):
        return "Segments"
    if pa.types.is_temporal(kind):
        return "Dates"
    if isinstance(metric, Count | Distinct):
        return "Counts"
    if isinstance(metric, Computed | Avg) and not pa.types.is_string(kind):
        return "Rates and figures"
    if isinstance(metric, First | Mode) or pa.types.is_string(kind):
        return "Firsts, lasts and favourites"
    return "Amounts"


# -- events ------------------------------------------------------------------------------------------


def _events(view: View, profile: RollupDef, row: Mapping[str, Any]) -> EventPage | None:
    """The newest events of an entity; None where the log does not know it, or shows the caller none of its events."""
    if not view.app.event_log.is_used:
        return None
    columns = event_columns(view, profile)
    assert view.caller is not None
    scope = view.caller.raw_scope
    if columns is None or scope.event_filters(view.app.catalog.entities.types) is None:
        return None
    if not scope.personal and not {*columns.values()} <= {*view.app.catalog.entities.types}:
        # As the API has it: asking for a person takes the right to see personal data.
        return None
    texts = {columns[name]: str(row[name]) for name in profile.key}
    session = texts.pop(_SESSION, None)
    found = None
    for more in _ways(texts):
        # What is asked for narrows what may be seen: so all parts of a key hold, and no event is read past the caller's scope.
        within = scope.narrowed(Scope.of(None, more, personal=True, events=True))
        found = view.app.events(session=session, limit=EVENTS, scope=within)
        if found.rows:
            break
    return found


def _ways(texts: Mapping[str, str]) -> Iterator[dict[str, list[str | None]]]:
    """What the events of an entity have in the log's columns: a visitor is who signed in, else a browser."""
    plain: dict[str, list[str | None]] = {name: [text] for name, text in texts.items() if name != VISITOR}
    if VISITOR in texts:
        yield {**plain, "actor_id": [texts[VISITOR]]}
        yield {**plain, "actor_id": [None], "anonymous_id": [texts[VISITOR]]}
    else:
        yield plain


def event_columns(view: View, profile: RollupDef) -> dict[str, str] | None:
    """The column of the event log that holds each key column; None where one has none."""
    known = {*view.app.catalog.entities.types, *IDENTITIES, _SESSION, VISITOR}
    naming: dict[str, str] = {}
    for metric in profile.metrics.values():
        if isinstance(metric, Measured) and isinstance(metric.source, EventLog):
            naming |= metric.source.naming
    found = {name: naming.get(name, name) for name in profile.key}
    return found if all(column in known for column in found.values()) else None


# -- days --------------------------------------------------------------------------------------------


def _dailies(view: View, profile: RollupDef, where: Sequence[str]) -> list[Daily]:
    """The rollups that tell of each day of an entity: those whose key has its key."""
    found: list[Daily] = []
    for rollup in view.rollups():
        if rollup.is_profile or not set(profile.key) <= set(rollup.key) or not view.covered(rollup.name):
            continue
        if len(found) < _ROLLUPS and (daily := _daily(view, profile, rollup, where)) is not None:
            found.append(daily)
    return found


def _daily(view: View, profile: RollupDef, rollup: RollupDef, where: Sequence[str]) -> Daily | None:
    metrics = _answered(view, rollup, where)
    if not metrics:
        return None
    end = _newest(view, rollup, metrics, where)
    days = Days(end - dt.timedelta(days=DAYS - 1), end)
    answer = view.answer(rollup.name, metrics, from_=days.first, to=days.last, where=where)
    # Where the rollup tells more apart than the entity, a number of a day is of several cells; its receipt lists them.
    rows = [
        (
            row,
            {
                name: view.to(f"/receipt/{rollup.name}/{name}", from_=row["day"], to=row["day"], where=list(where))
                for name in metrics
            },
        )
        for row in answer.rows
        if any(row[name] for name in metrics)
    ]
    payload = {
        "x": [row["day"] for row in answer.rows],
        "series": [
            {"label": name.replace("_", " "), "metric": name, "values": [row[name] for row in answer.rows]}
            for name in _drawn(rollup, metrics)
        ],
        "missing": [[gap.days.first, gap.days.last] for gap in answer.missing],
        "open": [view.today] if view.today in days else [],
    }
    url = view.to(f"/rollups/{rollup.name}", where=list(where), from_=days.first, to=days.last)
    missing = [f"{gap.days}: {gap.reason}" for gap in answer.missing]
    return Daily(rollup, metrics, days, rows[::-1], payload, end < view.today, url, missing)


def _answered(view: View, rollup: RollupDef, where: Sequence[str]) -> list[str]:
    """The first metrics that have an answer for an entity."""
    found: list[str] = []
    for name in rollup.metrics:
        try:
            view.answer(rollup.name, [name], from_=view.today, to=view.today, where=where)
        except QueryRefused:
            continue
        found.append(name)
        if len(found) == _LINES:
            break
    return found


def _drawn(rollup: RollupDef, metrics: Sequence[str]) -> list[str]:
    """The first metric and one of another kind: a chart has two measures."""
    kind = rollup.metrics[metrics[0]].kind
    other = next((name for name in metrics if rollup.metrics[name].kind != kind), None)
    return [metrics[0], *([other] if other is not None else metrics[1:2])]


def _newest(view: View, rollup: RollupDef, metrics: Sequence[str], where: Sequence[str]) -> dt.date:
    """Today, or where the entity did nothing for long the end of the last month in which it did something."""
    first = first_day(view, rollup)
    if first is None or first > view.today:
        return view.today
    try:
        months = view.answer(rollup.name, metrics, from_=first, to=view.today, where=where, grain="month").rows
    except QueryRefused:
        return view.today
    last = max((row["day"] for row in months if any(row[name] for name in metrics)), default=view.today)
    end: dt.date = last.replace(day=calendar.monthrange(last.year, last.month)[1])
    return view.today if (view.today - end).days < DAYS // 2 else end
