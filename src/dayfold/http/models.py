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
    table: str
    description: str
    key: list[str]
    grain: str
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


class LatestModel(AnswerModel):
    """Metrics of the last covered day."""

    day: dt.date
    open: bool = Field(description="Whether the day is not over, so that its numbers may still change.")


class CoverageModel(BaseModel):
    """The days of each rollup and source, by state."""

    today: dt.date
    coverage: dict[str, dict[str, dict[str, list[RangeModel]]]]


class ExplanationModel(BaseModel):
    """Where one number comes from; docs/reference/json.md describes every field."""

    model_config = ConfigDict(extra="allow")

    rollup: str
    metric: str
    day: dt.date
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


class Health(BaseModel):
    """The process answers."""

    status: Literal["up", "ready"]
