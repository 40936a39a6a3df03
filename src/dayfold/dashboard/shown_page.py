"""A page that was defined, as somebody looks at it: who may, with which parameters, over which days. Dashboard door.

Invariant: a page with an access is there for whoever was given that access, with their own parameters, and for whoever sees all rows,
who may choose them; whatever is chosen only ever narrows what the caller sees.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dayfold.dashboard.parts import Shown, common, shown
from dayfold.dashboard.span import newest
from dayfold.dashboard.view import EVERYWHERE, View
from dayfold.days import Days
from dayfold.define.page import PageDef, ParameterDef
from dayfold.define.page_words import value_of
from dayfold.errors import Forbidden, UnknownName, UsageError
from dayfold.names import listing, suggestion
from dayfold.periods import CUSTOM, asked_days
from dayfold.plan.access import Grant, Scope

#: Parameters of every page's address, beside its own.
OWN = ("period", "from", "to", "part", *EVERYWHERE)


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter as it is shown; ``is_fixed``: it follows from who looks."""

    parameter: ParameterDef
    value: str
    is_fixed: bool


@dataclass(frozen=True, slots=True)
class ShownPage:
    """A page with its numbers.

    Attributes:
        only: The one part that was asked for.
        is_everybodys: Whether it shows the rows of all whom its access would tell apart.
        ended: The last day with something, where that is long before today.
        remarks: What has to be said of several parts.
    """

    page: PageDef
    period: str
    days: Days
    fields: Sequence[Field]
    parts: Sequence[Shown]
    only: str | None
    is_everybodys: bool
    ended: dt.date | None
    remarks: Sequence[str]


def visible(view: View, page: PageDef) -> bool:
    """Whether a page is there for the caller."""
    assert view.caller is not None
    access, given = page.access, {grant.access for grant in view.caller.grants}
    if access is not None and (view.scope.is_limited or given) and access.name not in given:
        return False
    return all(view.scope.sees(rollup) for rollup in page.rollups)


def page_of(view: View, name: str) -> PageDef:
    """A page of the definitions. Raises UnknownName, also for one that is there and not for the caller, in the same words."""
    known = {one.name: one for one in view.app.catalog.pages.values() if visible(view, one)}
    if name in known:
        return known[name]
    raise UnknownName(f"There is no page '{name}'{suggestion(name, known)}.", hint=f"Pages: {listing(known)}")


def looked_at(view: View, page: PageDef, *, is_asked: bool = True) -> ShownPage:
    """A page as the address asks for it; not ``is_asked``: as it is without any parameter.

    Raises:
        UsageError: for a parameter that it does not have, or a value that is none; Forbidden, AccessUnknown.
    """

    def ask(name: str) -> str | None:
        return view.param(name) if is_asked else None

    names = {*OWN, *page.parameters}
    for name in view.request.query_params if is_asked else ():
        if name not in names:
            raise UsageError(
                f"There is no parameter '{name}'{suggestion(name, names)}.",
                hint=f"Parameters: {listing(sorted(names))}",
            )
    given = _given(page, view.caller.grants if view.caller else ())
    fields = [_field(one, ask(one.name), given.get(one.name)) for one in page.parameters.values()]
    values = {one.parameter.name: one.value for one in fields if one.value}
    within, is_everybodys = _within(view, page, values)
    more = [(one.column, values[one.name]) for one in page.parameters.values() if one.column and one.name in values]
    end = _end(within, page)
    period, days = asked_days(ask("period"), ask("from"), ask("to"), usual=page.period, covered=end, today=view.today)
    only = ask("part")
    known = [part.name for part in page.parts]
    if only is not None and only not in known:
        raise UnknownName(f"The page has no part '{only}'{suggestion(only, known)}.", hint=f"Parts: {listing(known)}")
    parts = [
        shown(within, part, days, more, has_receipts=within is view) for part in page.parts if only in (None, part.name)
    ]
    is_past = period != CUSTOM and end is not None and end < view.today
    return ShownPage(page, period, days, fields, parts, only, is_everybodys, end if is_past else None, common(parts))


def _given(page: PageDef, grants: Sequence[Grant]) -> Mapping[str, str]:
    """What the caller's own access fills in."""
    if page.access is None:
        return {}
    own = [dict(grant.params) for grant in grants if grant.access == page.access.name]
    # Of two grants of one access both have to be met, so that neither is who somebody is.
    return own[0] if len(own) == 1 else {}


def _field(parameter: ParameterDef, asked: str | None, own: str | None) -> Field:
    if own is not None and parameter.column is None:
        if asked is not None and asked != own:
            raise Forbidden(f"The parameter '{parameter.name}' follows from who you are.", hint="Leave it out.")
        return Field(parameter, own, is_fixed=True)
    text = asked if asked is not None else parameter.default or ""
    if not text:
        return Field(parameter, "", is_fixed=False)
    try:
        return Field(parameter, value_of(parameter.type, text), is_fixed=False)
    except ValueError as error:
        raise UsageError(f"The parameter '{parameter.name}' is {error}.") from None


def _within(view: View, page: PageDef, values: Mapping[str, str]) -> tuple[View, bool]:
    """The view whose scope the page is read in, and whether it is that of everybody."""
    assert view.caller is not None
    if page.access is None or view.caller.grants:
        return view, False
    chosen = {
        one.name: values[one.name] for one in page.parameters.values() if one.column is None and one.name in values
    }
    if not chosen:
        return view, True
    lacking = [one.name for one in page.parameters.values() if one.column is None and one.name not in chosen]
    if lacking:
        raise UsageError(f"The parameter '{lacking[0]}' is missing.", hint="Give all of the page's access, or none.")
    grant = Scope.of(None, {}, [Grant.of(page.access.name, chosen)], personal=True, events=True)
    return _of(view, view.app.resolved(view.scope.narrowed(grant))), False


def _end(view: View, page: PageDef) -> dt.date | None:
    """The last day that there is something of, of the first numbers of a page."""
    found = []
    for part in page.parts:
        if part.rollup is not None and part.metrics:
            found.append(newest(view, part.rollup, part.metrics[0]))
        if len(found) == 2:
            break
    return max(found, default=None)


def _of(view: View, scope: Scope) -> View:
    """The same view within another scope."""
    other = View(view.request, view.form)
    assert view.caller is not None
    other.caller = replace(view.caller, scope=scope)
    return other
