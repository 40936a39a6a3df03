"""The words of a question over HTTP: one table says which parameters there are, reads them and describes them. HTTP door.

The framework can do both as well; for a question with fifteen parameters that takes it longer than all else that a kept answer costs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from dayfold.days import GRAINS
from dayfold.errors import UsageError
from dayfold.http.formats import MEDIA_TYPES
from dayfold.http.rights import Right, needs
from dayfold.memo import Memo
from dayfold.names import listing, suggestion
from dayfold.periods import ROLLING, SO_FAR, days_of
from dayfold.query.cohort_request import GRAINS as COHORT_GRAINS
from dayfold.query.request import COMPARISONS

#: Where a route that reads its own parameters names them.
PARAMETERS = "x-dayfold-parameters"
#: A route that takes key columns as parameters, beside those that it names.
OPEN = "x-dayfold-open-parameters"
_LONGEST = 4_000


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: what it is for, and what it may be.

    Attributes:
        kind: ``text``; ``texts``, given any number of times; ``names``, separated by commas; ``flag``; ``number``.
        choices: What a text may be; none: anything of at most 4,000 letters.
        least, most: The ends of a number, both included.
    """

    about: str
    kind: str = "text"
    default: Any = None
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 0
    required: bool = False
    example: str | None = None

    def read(self, name: str, given: list[str]) -> Any:
        """The value of what was given. Raises UsageError, which does not repeat it."""
        if self.kind == "texts":
            return given
        if len(given) > 1:
            raise UsageError(f"The parameter '{name}' is given twice; it has one value.")
        text = given[0]
        if len(text) > _LONGEST:
            raise UsageError(f"{name} is longer than {_LONGEST:,} letters.")
        match self.kind:
            case "names":
                return words(text)
            case "flag":
                if text.lower() not in ("0", "1", "true", "false"):
                    raise UsageError(f"{name} is 1 or 0.")
                return text.lower() in ("1", "true")
            case "number":
                if not (text.isascii() and text.isdigit()) or not self.least <= int(text) <= self.most:
                    raise UsageError(f"{name} is a number from {self.least:,} to {self.most:,}.")
                return int(text)
        if self.choices and text not in self.choices:
            raise UsageError(f"{name} is one of {listing(self.choices)}{suggestion(text, self.choices)}.")
        return text

    def schema(self) -> dict[str, Any]:
        """The form of its values, for the description of the API."""
        match self.kind:
            case "texts":
                return {"type": "array", "items": {"type": "string"}}
            case "flag":
                return {"type": "boolean", "default": False}
            case "number":
                found: dict[str, Any] = {"type": "integer", "minimum": self.least, "maximum": self.most}
            case _:
                found = {"type": "string", "maxLength": _LONGEST}
        if self.choices:
            found["enum"] = list(self.choices)
        return found if self.default is None or self.kind == "names" else {**found, "default": self.default}


#: Every parameter of the routes that read.
KNOWN: Mapping[str, Parameter] = {
    "metrics": Parameter("Metrics, separated by commas. Default: all.", "names", [], example="orders,revenue"),
    "metric": Parameter("The metric.", required=True),
    "from": Parameter("First day: YYYY-MM-DD, today, yesterday or -7d (UTC). Default: -29d.", example="2026-01-01"),
    "to": Parameter("Last day, included. Default: today.", example="2026-01-31"),
    "day": Parameter("YYYY-MM-DD, today, yesterday or -7d (UTC); a profile has none.", example="2026-01-01"),
    "period": Parameter(
        "Instead of from and to: so many days, or months, that end today, or the calendar month or year so far.",
        choices=(*ROLLING, *SO_FAR),
    ),
    "by": Parameter("Key columns to group by, separated by commas.", "names", []),
    "where": Parameter(
        '`k=v`, `k!=v`, `k=` for NULL or `k=""` for the empty text. The same key twice: any of the values.', "texts", []
    ),
    "grain": Parameter("The size of the buckets.", default="day", choices=GRAINS),
    "tz": Parameter("Days of this zone, of a rollup of a finer grain.", example="Europe/London"),
    "compare": Parameter("Beside an earlier range.", choices=COMPARISONS),
    "allow_missing": Parameter("1: add up covered days where others are missing.", "flag", False),
    "live": Parameter("1: compute stale, open and unfolded days from the sources now.", "flag", False),
    "sort": Parameter("A metric, key or `day`; `-name` for the greatest first."),
    "limit": Parameter("At most so many rows; `next` leads to the others.", "number", least=1, most=1_000_000),
    "after": Parameter("The `next` of the page before."),
    "format": Parameter("The form of the answer.", default="json", choices=tuple(MEDIA_TYPES)),
    "entities": Parameter(
        "At most so many entities; `next` leads to the others. Default: 100 in JSON, which alone has a `next`, else all.",
        "number",
        least=1,
        most=1_000_000,
    ),
    "columns": Parameter(
        "Columns that are shown, separated by commas. Default: all. With `count_by`: integers and decimals that are added up.",
        "names",
        [],
        example="segment,revenue",
    ),
    "count_by": Parameter(
        "Count entities by the values of these columns, separated by commas.", "names", [], example="segment"
    ),
    "any_column": Parameter(
        "Of any column `k=v`, `k!=v`, `k=` for NULL, or `k>v`, `k>=v`, `k<v`, `k<=v` of numbers, days and moments; these may be `today` "
        "or `-30d`. The same column equal to several values: any of them.",
        "texts",
        [],
    ),
    "any_order": Parameter(
        "A column; `-name` for the greatest first. NULLs are last, and the key decides among equals."
    ),
    "key": Parameter("`column=value`, once for each column of the key.", "texts", required=True),
    "n": Parameter("How many.", "number", 10, least=1, most=10_000),
    "rows": Parameter("At most so many source rows.", "number", 20, least=1, most=10_000),
    "first_day": Parameter(
        "First day: YYYY-MM-DD, today, yesterday or -7d (UTC).", required=True, example="2026-01-01"
    ),
    "cohort_grain": Parameter("The size of cohorts and ages.", default="month", choices=COHORT_GRAINS),
    "unbounded": Parameter("1: count whoever was active at an age or later.", "flag", False),
    "split_by": Parameter("Columns of the profile to split by, separated by commas.", "names", []),
    "periods": Parameter("At most so many ages.", "number", least=1, most=40_000),
    "offset": Parameter("How many source rows come before the first one.", "number", 0, least=0, most=1_000_000_000),
    "rollup": Parameter("One rollup. Default: all."),
    "entity_type": Parameter(
        "What events are about: a column of `events.columns(…)`, or its name without `_id`.", example="project"
    ),
    "entity_id": Parameter("Which one; with `entity_type`."),
    "event_type": Parameter("The type of the events.", example="page_viewed"),
    "actor": Parameter("The `actor_id`; only for callers who see personal data."),
    "session": Parameter("The `session_id`; only for callers who see personal data."),
    "since": Parameter(
        "First day: YYYY-MM-DD, today, yesterday or -7d (UTC). Default: the first there is.", example="2026-01-01"
    ),
    "until": Parameter("Last day, included. Default: the last there is.", example="2026-01-31"),
    "events": Parameter("At most so many events; `next` leads to the others.", "number", 100, least=1, most=1_000),
    "resolution": Parameter(
        "The size of the buckets.", default="daily", choices=("hourly", "daily", "weekly", "monthly")
    ),
}
QUESTION = (
    "metrics", "from", "to", "period", "by", "where", "grain", "tz", "compare", "allow_missing", "live", "sort", "limit", "after", "format",
)  # fmt: skip


def takes(right: Right, *names: str, renamed: Mapping[str, str] | None = None, is_open: bool = False) -> dict[str, Any]:
    """What a route passes as ``openapi_extra``: what it asks for, and its parameters by their names in `KNOWN`.

    ``renamed``: for a parameter of another name in this route, its name in `KNOWN`; ``is_open``: key columns are parameters too.
    """
    mine = {**{name: name for name in names}, **(renamed or {})}
    described = [
        {
            "name": name,
            "in": "query",
            "required": KNOWN[known].required,
            "description": KNOWN[known].about,
            "schema": KNOWN[known].schema(),
            **({"example": KNOWN[known].example} if KNOWN[known].example else {}),
        }
        for name, known in mine.items()
    ]
    return {**needs(right), PARAMETERS: mine, "parameters": described, **({OPEN: True} if is_open else {})}


def read(request: Request) -> dict[str, Any]:
    """The parameters that a route `takes`, by name, with the defaults of those that are not given.

    Raises:
        UsageError: naming the parameter, what was expected and the nearest known name.
    """
    mine: Mapping[str, str] = request.scope["route"].openapi_extra[PARAMETERS]
    given = request.query_params
    found = {}
    for name, known in mine.items():
        parameter = KNOWN[known]
        if name in given:
            found[name] = parameter.read(name, given.getlist(name))
        elif parameter.required:
            raise UsageError(f"The parameter '{name}' is missing: {parameter.about}")
        else:
            found[name] = parameter.default
    return found


def check_parameters(request: Request, known: Memo[bytes, bool]) -> None:
    """Every parameter of the URL is one that the route has; ``known``: the queries of it that were found right before.

    Raises:
        UsageError: with the nearest parameter that it has.
    """
    query = request.scope.get("query_string")
    if not query or known.get(query):
        return
    _check_parameters(request.scope["route"], list(request.query_params))
    if len(query) <= _LONGEST:
        known.learn(query, True)


def _check_parameters(route: APIRoute, names: list[str]) -> None:
    extra = route.openapi_extra or {}
    if extra.get(OPEN):
        return
    known = extra.get(PARAMETERS) or _parameters(route)
    for name in names:
        if name not in known:
            raise UsageError(
                f"There is no parameter '{name}'{suggestion(name, known)}.", hint=f"Parameters: {listing(known)}"
            )


def _parameters(route: APIRoute) -> list[str]:
    """The parameters that the framework reads for a route."""

    def names(dependant: Dependant) -> Iterable[str]:
        yield from (one.alias for one in dependant.query_params)
        for part in dependant.dependencies:
            yield from names(part)

    return list(names(route.dependant))


def words(text: str | None) -> list[str]:
    """The parts of a list.

    >>> words("a, b,"), words(None)
    (['a', 'b'], [])
    """
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def asked_range(
    first: str | None, last: str | None, period: str | None, today: dt.date
) -> tuple[str | dt.date, str | dt.date]:
    """A range from its words. Raises UsageError where a period stands beside a day.

    >>> asked_range(None, None, "month", dt.date(2026, 11, 21))
    (datetime.date(2026, 11, 1), datetime.date(2026, 11, 21))
    """
    if period is None:
        return (first if first is not None else "-29d", last if last is not None else "today")
    if first is not None or last is not None:
        raise UsageError("A period is a range of its own; it does not stand beside from or to.")
    days = days_of(period, today)
    return days.first, days.last


@dataclass(frozen=True, slots=True)
class Question:
    """All that a question to one rollup may say."""

    metrics: list[str]
    first: str | None = None
    last: str | None = None
    period: str | None = None
    by: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    grain: str = "day"
    tz: str | None = None
    compare: str | None = None
    allow_missing: bool = False
    live: bool = False
    sort: str | None = None
    limit: int | None = None
    after: str | None = None
    form: str = "json"

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Question:
        """A question from the parameters that a route has read; those that it does not have are as if not given."""
        return cls(
            said.get("metrics", []), said.get("from"), said.get("to"), said.get("period"), tuple(said.get("by", ())),
            tuple(said.get("where", ())), said.get("grain", "day"), said.get("tz"), said.get("compare"),
            said.get("allow_missing", False), said.get("live", False), said.get("sort"), said.get("limit"), said.get("after"),
            said.get("format", "json"),
        )  # fmt: skip
