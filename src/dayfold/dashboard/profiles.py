"""``/profiles`` and ``/profiles/NAME``: who there is, found, put in order, and counted by what they are. Dashboard door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard.cards import card
from dayfold.dashboard.filters import FORM, SIGNS, chips, chosen, comparison_word, key_words, led_on
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.sizes import sizes
from dayfold.dashboard.standing import standing
from dayfold.dashboard.view import View, address
from dayfold.define.lasting import Case, Collect, Exists, Mode
from dayfold.define.metric import Count, Formula, Max, Min, Ratio, Sum
from dayfold.define.rollup import RollupDef
from dayfold.errors import QueryRefused, UnknownName, UsageError
from dayfold.http.asked import words
from dayfold.http.rights import Right
from dayfold.names import suggestion
from dayfold.plan.comparisons import profile_columns
from dayfold.query.profile import ProfileAnswer
from dayfold.query.profile_request import COUNT, ProfileRequest, check_profile

router = APIRouter(route_class=PageRoute, include_in_schema=False)
#: Entities of a page, columns that are shown where none are asked for, and values of a segment.
PAGE, _FIRST_COLUMNS, _VALUES = 50, 8, 10
ENTITIES, SEGMENTS = "entities", "segments"
_STATE = ("where", "sort", "after", "columns", "show", "by", *FORM)
#: What NULL is called: there may be a text "none".
NO_VALUE = "no value"
#: One of each of these kinds is shown first, beside the key and what entities are put into.
_TELLING = (Count, Sum, Max, Min, Ratio, Formula)


@dataclass(frozen=True, slots=True)
class StudyLink:
    """A cohort or a funnel, and what it is over."""

    name: str
    url: str
    description: str
    profile: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A column of the table: the address that puts the rows in its order, and the order they are in."""

    name: str
    url: str | None
    is_number: bool
    order: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """A column whose few values are chosen from: each value's name, its filter and whether it is on."""

    name: str
    values: Sequence[tuple[str, str, bool]]
    is_on: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of entities."""

    answer: ProfileAnswer
    headings: Sequence[Heading]
    rows: Sequence[tuple[str, Mapping[str, Any]]]
    found: int
    following: str | None


@dataclass(frozen=True, slots=True)
class Segment:
    """How many entities have each value of a column, the most first; ``rest``: those of further values."""

    name: str
    values: Sequence[tuple[Any, int, str]]
    rest: int
    total: int


@router.get("/profiles", openapi_extra=shows(Right.READ))
def profiles(view: View) -> Response:
    """Everything about entities that the caller may see."""
    found = [one for one in view.rollups() if one.is_profile]
    return view.page("profiles.html", "Profiles", cards=[card(view, one) for one in found], studies=studies(view))


def studies(view: View) -> dict[str, list[StudyLink]]:
    """The cohorts and funnels that the caller may see."""
    visible, catalog = {one.name for one in view.rollups()}, view.app.catalog
    return {
        path: [
            StudyLink(one.name, view.to(f"/{path}/{one.name}"), one.description, one.profile.name)
            for one in known
            if all(rollup.name in visible for rollup in one.rollups)
        ]
        for path, known in (("cohorts", catalog.cohorts.values()), ("funnels", catalog.funnels.values()))
    }


@router.get("/profiles/{name}", openapi_extra=shows(Right.READ, *_STATE))
def profile(view: View, name: str) -> Response:
    """The entities of one profile, or how many there are of each kind."""
    found = view.rollup(name)
    check_profile(found)
    known = profile_columns(found, is_limited=view.scope.is_limited)
    onward = led_on(view, known, found.key)
    if onward is not None:
        return onward
    show, on = view.one_of("show", (ENTITIES, SEGMENTS), ENTITIES), chips(view, found, known)
    said: dict[str, Any] = {
        "profile": found, "known": known, "chips": on, "where": view.params("where"), "signs": SIGNS, "show": show,
        "standing": standing(view, found), "choices": [_choice(view, found, one) for one in found.metrics if _is_choice(found, one)],
        "studies": {path: [one for one in some if one.profile == found.name] for path, some in studies(view).items()},
        "listing": None, "segments": [], "sizes": [], "refused": None, "columns": [], "looked_for": _looked_for(view, found),
        "tabs": [
            ("Entities", view.url(show=None, by=None, after=None), show == ENTITIES),
            ("Segments", view.url(show=SEGMENTS, after=None), show == SEGMENTS),
        ],
    }  # fmt: skip
    status = 200
    if view.covered(found.name):
        try:
            if show == SEGMENTS:
                said |= {"segments": _segments(view, found, known), "sizes": sizes(view, found)}
            else:
                said["columns"] = _columns(view, found, known)
                said["listing"] = _listing(view, found, said["columns"])
                said["downloads"] = [
                    (form, _download(view, found, said["columns"], form)) for form in ("csv", "parquet")
                ]
        except (QueryRefused, UsageError) as error:
            said["refused"], status = error, 422 if isinstance(error, QueryRefused) else 400
    return view.page("profile.html", found.name, status, **said)


# -- the table ---------------------------------------------------------------------------------------


def _columns(view: View, profile: RollupDef, known: Sequence[str]) -> list[str]:
    """The columns that are asked for beside the key, else those that tell most."""
    asked = [name for one in view.params("columns") for name in words(one)]
    for name in asked:
        if name not in known:
            raise UnknownName(f"{profile.name} has no column '{name}' to show{suggestion(name, known)}.")
    if asked:
        return [*profile.key, *(one for one in dict.fromkeys(asked) if one not in profile.key)]
    return first_columns(profile)


def first_columns(profile: RollupDef) -> list[str]:
    """The key, what entities are put into, what is indexed, and one column of each kind, up to eight."""
    cases = [name for name, one in profile.metrics.items() if isinstance(one, Case)][:2]
    # What is indexed is what people look for.
    indexed = [name for names in profile.index for name in names if name in profile.metrics]
    telling = [next((name for name, one in profile.metrics.items() if type(one) is kind), None) for kind in _TELLING]
    found = list(dict.fromkeys([*profile.key, *cases, *indexed, *(one for one in telling if one is not None)]))
    others = [name for name, one in profile.metrics.items() if name not in found and not isinstance(one, Collect)]
    return [*found, *others][: max(_FIRST_COLUMNS, len(profile.key) + 1)]


def _listing(view: View, profile: RollupDef, columns: Sequence[str]) -> Listing:
    where = view.params("where")
    asked = ProfileRequest.page(
        profile, where=where, sort=view.param("sort"), limit=PAGE, after=view.param("after"), columns=columns, today=view.today,
        scope=view.scope,
    )  # fmt: skip
    answer = view.app.profile_answer(asked)
    found = view.kept([profile.name], ("size", *where), lambda: view.app.profile_size(asked))
    rows = [(view.to(f"/profiles/{profile.name}/one", key=key_words(profile.key, row)), row) for row in answer.rows]
    headings = [_heading(view, profile, name, answer) for name in columns]
    return Listing(answer, headings, rows, found, view.url(after=answer.next) if answer.next else None)


def _heading(view: View, profile: RollupDef, name: str, answer: ProfileAnswer) -> Heading:
    """A column's heading: numbers and moments are first put in order from the greatest."""
    import pyarrow as pa

    kind = answer.table.schema.field(name).type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    sort = view.param("sort") or profile.key[0]
    order = "ascending" if sort == name else "descending" if sort == f"-{name}" else None
    is_greatest_first = is_number or pa.types.is_temporal(kind)
    other = name if order == "descending" or (order is None and not is_greatest_first) else f"-{name}"
    url = None if name in answer.documents else view.url(sort=other, after=None)
    return Heading(name, url, is_number, order)


def _download(view: View, profile: RollupDef, columns: Sequence[str], form: str) -> str:
    """Where all entities that are found are given as a file."""
    asked = {"columns": ",".join(columns), "where": view.params("where"), "sort": view.param("sort"), "format": form}
    return address(f"/v1/profiles/{profile.name}", asked)


# -- filters -----------------------------------------------------------------------------------------


def _is_choice(profile: RollupDef, name: str) -> bool:
    return isinstance(profile.metrics[name], Case | Exists)


def _choice(view: View, profile: RollupDef, name: str) -> Choice:
    """The values of a column that has few."""
    metric = profile.metrics[name]
    values: list[object] = [True, False]
    if isinstance(metric, Case):
        values = [*metric.words, *([] if metric.default in metric.words else [metric.default])]
    on = chosen(view.params("where"), name)
    found = [
        (value_name(one), comparison_word(name, "=", one), comparison_word(name, "=", one) == on) for one in values
    ]
    return Choice(name, found, any(is_on for *_, is_on in found))


def value_name(value: object) -> str:
    """A value as the name of a choice.

    >>> value_name(True), value_name(None), value_name("new")
    ('yes', 'no value', 'new')
    """
    match value:
        case None:
            return NO_VALUE
        case bool():
            return "yes" if value else "no"
        case "":
            return '""'
    return str(value)


def _looked_for(view: View, profile: RollupDef) -> tuple[str, str]:
    """The key column and the value that are looked for."""
    for name in reversed(profile.key):
        word = chosen(view.params("where"), name)
        if word is not None and word != f"{name}=":
            return name, word.partition("=")[2]
    return profile.key[-1], ""


# -- segments ----------------------------------------------------------------------------------------


def _segments(view: View, profile: RollupDef, known: Sequence[str]) -> list[Segment]:
    """How many entities each value has: of the columns that are asked for, else of those that put entities into few groups."""
    asked = [name for one in view.params("by") for name in words(one)]
    if asked:
        return [_segment(view, profile, name) for name in dict.fromkeys(asked)]
    found = []
    few = [name for kind in (Case, Exists, Mode) for name, one in profile.metrics.items() if isinstance(one, kind)]
    for name in [*few, *profile.key[:-1]]:
        try:
            found.append(_segment(view, profile, name))
        except QueryRefused:
            # Such as a list of values, which is not counted by.
            continue
    return found


def _segment(view: View, profile: RollupDef, name: str) -> Segment:
    where = view.params("where")
    asked = ProfileRequest.page(
        profile, where=where, sort=f"-{COUNT}", limit=_VALUES, count_by=[name], today=view.today, scope=view.scope
    )
    rows = view.kept(
        [profile.name], ("segment", name, *where), lambda: list(view.app.profile_answer(asked).table.to_pylist())
    )
    total = view.kept([profile.name], ("size", *where), lambda: view.app.profile_size(asked))
    kept = [one for one in where if not one.startswith(f"{name}=")]
    values = [
        (row[name], int(row[COUNT]), view.url(show=None, by=None, after=None, where=[*kept, comparison_word(name, "=", row[name])]))
        for row in rows
    ]  # fmt: skip
    return Segment(name, values, total - sum(count for _, count, _ in values), total)
