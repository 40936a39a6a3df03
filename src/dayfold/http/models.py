"""The shapes of answers, for the description of the API; the answers themselves are written without them. HTTP door."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = int | float | None


class Problem(BaseModel):
    """What is wrong and what to do (RFC 9457)."""

    model_config = ConfigDict(json_schema_extra={"example": {
        "type": "urn:dayfold:unknown-name", "title": "Not Found", "status": 404, "code": "unknown-name",
        "detail": "There is no rollup 'ShopDayly'; the nearest is 'ShopDaily'.", "hint": "Rollups: ShopDaily",
    }})  # fmt: skip

    type: str = Field(description="urn:dayfold: and the code.")
    title: str
    status: int
    code: str = Field(description="Stable; docs/reference/errors.md lists all.")
    detail: str
    hint: str | None = None


class MetricModel(BaseModel):
    """A metric of a rollup."""

    name: str
    kind: str


class RollupModel(BaseModel):
    """A rollup."""

    name: str
    kind: Literal["rollup", "profile"]
    table: str
    description: str
    key: list[str]
    grain: str = Field(description="`life` of a profile, whose rows are of no day.")
    metrics: list[MetricModel]
    coverage: dict[str, dict[str, list[RangeModel]]] | None = None


class RollupList(BaseModel):
    """The rollups that the caller may see."""

    rollups: list[RollupModel]


class RangeModel(BaseModel):
    """Days, both ends included."""

    model_config = ConfigDict(populate_by_name=True)

    first: dt.date = Field(alias="from")
    last: dt.date = Field(alias="to")


class GapModel(RangeModel):
    """Days of some metrics that something has to be said of."""

    reason: str
    metrics: list[str]


class AnswerModel(BaseModel):
    """Metrics over a range of days."""

    model_config = ConfigDict(populate_by_name=True)

    rollup: str
    first: dt.date = Field(alias="from")
    last: dt.date = Field(alias="to")
    grain: str
    tz: str
    revision: int | None = Field(default=None, description="Only for a caller who sees all rows.")
    rows: list[dict[str, Any]] = Field(description="`day` (the first day of the bucket), the keys and the metrics.")
    exact: dict[str, bool]
    missing: list[GapModel] = Field(description="Days that are null, and why.")
    stale: list[GapModel] | None = None
    provisional: list[GapModel] | None = None
    partial: list[dt.date] | None = Field(default=None, description="Buckets that the range cuts short.")
    error: dict[str, float] | None = Field(default=None, description="The relative standard error of estimates.")
    compare: dict[str, Any] | None = None
    next: str | None = Field(default=None, description="Pass it as `after` for the next page.")


class LackModel(BaseModel):
    """Columns of a profile that something has to be said of."""

    reason: str
    columns: list[str]


class ProfileStandingModel(BaseModel):
    """How a profile stands."""

    profile: str
    as_of: dt.date | None = Field(description="What `now()` was; null where nothing depends on it.")
    folded_at: dt.datetime | None = Field(default=None, description="Only for a caller who sees all rows.")
    revision: int | None = Field(default=None, description="Only for a caller who sees all rows.")
    complete: bool = Field(description="Whether every value is the last word, as far as the sources told.")
    missing: list[LackModel] = Field(description="Columns that are null because their source could not be read.")
    stale: list[LackModel] = Field(description="Columns that show older values.")


class EntitiesModel(ProfileStandingModel):
    """Entities of a profile, or how many there are of each value."""

    rows: list[dict[str, Any]]
    next: str | None = Field(default=None, description="Pass it as `after` for the next page.")


class EntityModel(ProfileStandingModel):
    """One entity of a profile."""

    row: dict[str, Any]


class LatestModel(AnswerModel):
    """Metrics of the last covered day."""

    day: dt.date
    open: bool = Field(description="Whether the day is not over, so that its numbers may still change.")


class CohortModel(BaseModel):
    """Who came back, by the period of their start."""

    model_config = ConfigDict(populate_by_name=True)

    cohort: str
    profile: str
    activity: str
    first: dt.date = Field(alias="from")
    last: dt.date = Field(alias="to")
    grain: str
    unbounded: bool
    rows: list[dict[str, Any]] = Field(
        description="`cohort` (the first day of its period), the split, `size`, `age`, `period`, `active`, `rate`, for each value its sum, "
        "`…_cumulative` and `…_per_entity`, and `partial`: the age is not over."
    )
    missing: list[GapModel] = Field(description="Days of the activity that make ages null, and why.")
    stale: list[GapModel] | None = None
    partial: list[dt.date] | None = Field(
        default=None, description="Cohorts that the range cuts short or that are not over."
    )
    remarks: list[str] | None = Field(default=None, description="What has to be said of the profile's rows.")


class CountsModel(BaseModel):
    """One of the counts of a funnel."""

    label: str = Field(description="What is counted.")
    rows: list[dict[str, Any]] = Field(
        description="The split, `step`, `moment`, `entities`, `rate_from_first`, `rate_from_previous` and, of the cohort, `open`."
    )


class FunnelModel(BaseModel):
    """Two counts side by side: of a cohort, and of days."""

    model_config = ConfigDict(populate_by_name=True)

    funnel: str
    profile: str
    first: dt.date = Field(alias="from")
    last: dt.date = Field(alias="to")
    window_days: int | None
    cohort: CountsModel
    days: CountsModel
    remarks: list[str] | None = None


class CoverageModel(BaseModel):
    """The days of each rollup and source, by state."""

    today: dt.date
    coverage: dict[str, dict[str, dict[str, list[RangeModel]]]]


class ExplanationModel(BaseModel):
    """Where one number comes from; docs/reference/json.md describes every field."""

    model_config = ConfigDict(extra="allow")

    rollup: str
    metric: str
    day: dt.date | None = Field(description="Null of a profile, whose cells are whole lives.")
    key: dict[str, str | None]
    value: Any
    why: list[str]


class MetricOfRollups(BaseModel):
    """A metric's name and the rollups that have one of this name."""

    metric: str
    rollups: list[str]
    dimensions: list[str] = Field(description="The key columns that it can be asked by, in any of them.")


class MetricList(BaseModel):
    """All metrics that the caller may see."""

    metrics: list[MetricOfRollups]


class GrantModel(BaseModel):
    """Rows by a relation of the definitions."""

    access: str
    params: dict[str, str | int]


class CallerModel(BaseModel):
    """Who asks, and what they may see."""

    name: str
    rights: list[str]
    rollups: list[str] | None = Field(description="Null: all.")
    rows: dict[str, list[str | None]] = Field(description="The values of each limited key column.")
    relations: list[GrantModel] | None = None
    personal: bool | None = Field(default=None, description="True: personal data of raw events are shown.")
    events: bool | None = Field(default=None, description="True: raw events may be exported.")
    csrf_token: str | None = Field(default=None, description="What changes need, in a browser's session.")


class EventModel(BaseModel):
    """An event as it was kept (docs/how-to/read-and-export-events.md); columns of entities stand beside the others."""

    model_config = ConfigDict(extra="allow")

    id: str
    occurred_at: dt.datetime
    event_type: str
    properties: dict[str, Any] | None = Field(description="Null for callers who may not see personal data.")


class EventList(BaseModel):
    """Events, the newest first."""

    events: list[EventModel]
    next: str | None = Field(default=None, description="Pass it as `after` for the next page.")


class NoteModel(BaseModel):
    """A line of the audit table."""

    id: int
    at: dt.datetime
    actor: str
    action: str
    target: str | None
    outcome: Literal["ok", "refused", "failed"]


class NoteList(BaseModel):
    """Notes, the newest first."""

    notes: list[NoteModel]


class DeliveryModel(BaseModel):
    """A message on its way to one channel."""

    id: int
    channel: str
    event: str
    state: str
    attempts: int
    next_at: dt.datetime | None
    delivered_at: dt.datetime | None
    error: str | None


class EpisodeModel(BaseModel):
    """A time in which an alert rule held of a subject."""

    id: int
    rule: str
    subject: str
    opened_at: dt.datetime
    closed_at: dt.datetime | None = Field(description="Null while it is open.")
    message: str
    details: dict[str, Any]
    deliveries: list[DeliveryModel]


class RuleModel(BaseModel):
    """How an alert rule stood when this process last looked."""

    name: str
    kind: str
    place: str
    description: str
    to: list[str]
    state: str
    firing: list[str]
    error: str | None
    looked_at: dt.datetime | None


class AlertList(BaseModel):
    """Episodes and rules."""

    alerts: list[EpisodeModel]
    rules: list[RuleModel]
    before: int | None = Field(description="Pass it as `before` for the next page.")


class CheckModel(BaseModel):
    """A check of the definitions, and how it ended last."""

    check: str
    severity: Literal["error", "warning"]
    of: list[str] = Field(description="The definitions that it is of; none: all.")
    description: str
    verdict: Literal["passed", "failed", "error"] | None = Field(description="Null where it never ran.")
    reason: str | None = Field(description="Why it did not pass.")
    offending: int | None = Field(description="How many rows its query returned.")
    left: float | None = Field(description="The number on the left of a comparison.")
    right: float | None
    seconds: float | None
    checked_at: dt.datetime | None
    run_id: int | None = Field(description="The fold or verification that it came after.")


class CheckList(BaseModel):
    """The checks of the definitions."""

    checks: list[CheckModel]


class TriedModel(BaseModel):
    """What happened to a test message."""

    channel: str
    kind: str
    ok: bool
    seconds: float
    error: str | None


class TriedList(BaseModel):
    """What happened to the test messages."""

    channels: list[TriedModel]


class Health(BaseModel):
    """The process answers."""

    status: Literal["up", "ready"]


class RefusedEvent(BaseModel):
    """An event of a request that is not in the log."""

    index: int = Field(description="Its place in the request, from 0.")
    code: str = Field(
        description="`bad-event`, `not-allowed` for this key, or `quarantined`: kept, but not as the definitions know it."
    )
    detail: str


class Taken(BaseModel):
    """What became of the events of a request. They are durable."""

    accepted: int = Field(description="Events that are kept, those that had been sent before included.")
    quarantined: int = Field(description="Events that are held back until the definitions know them.")
    ignored: int = Field(description="Events of a browser that asks not to be tracked; they are not kept.")
    token_refused: str | None = Field(
        default=None,
        description="Why the token of whoever is signed in was not believed; the events have no actor then.",
    )
    repeated: int | None = Field(default=None, description="With `wait=log`: events that were in the log already.")
    conflicts: int | None = Field(
        default=None,
        description="With `wait=log`: events with the id of another one; they are in quarantine.",
    )
    errors: list[RefusedEvent]


class SegmentTaken(BaseModel):
    """What became of the messages of a request. They are durable; how many they were is said only where some are not kept."""

    success: bool
    accepted: int | None = Field(default=None, description="Messages that are kept.")
    quarantined: int | None = Field(
        default=None, description="Messages that are held back until the definitions know them."
    )
    ignored: int | None = Field(default=None, description="Messages of a browser that asks not to be tracked.")
    token_refused: str | None = Field(
        default=None, description="Why the token of whoever is signed in was not believed."
    )
    errors: list[RefusedEvent] | None = None


class LibrarySettings(BaseModel):
    """What Segment's browser library asks for first."""

    integrations: dict[str, Any] = Field(description="Where it sends its messages: to this server.")
    plan: dict[str, Any]
    metrics: dict[str, Any]
