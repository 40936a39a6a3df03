"""``/pages``: pages of the definitions, and pages that people build and save. Dashboard door."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dayfold.dashboard import building
from dayfold.dashboard.parts import Shown
from dayfold.dashboard.route import PageRoute, shows
from dayfold.dashboard.shown_page import ShownPage, looked_at, page_of, visible
from dayfold.dashboard.view import HEADERS, View, address
from dayfold.define.page import PARTS, PageDef, WrittenPage
from dayfold.define.page_words import COMPARE, GRAINS, class_name
from dayfold.errors import Problem, UnknownName, UsageError
from dayfold.http.asked import OPEN
from dayfold.http.rights import Right
from dayfold.ledger.pages import SavedPage, Viewer
from dayfold.periods import CHOICES, CUSTOM, ROLLING, USUAL

router = APIRouter(route_class=PageRoute, include_in_schema=False)
#: A page's own parameters are parameters of its address, which its code checks.
_OPEN = {**shows(Right.READ), OPEN: True}
_WORDS = [word for one in PARTS.values() for word in one.words_known]
_KINDS = {
    "card": "Card: one number",
    "series": "Series: over time",
    "top": "Top: a list",
    "steps": "Steps: a funnel",
    "text": "Text",
}


def viewer(view: View) -> Viewer:
    """Who looks, for the pages that people saved."""
    assert view.caller is not None
    return Viewer(view.caller.name, view.scope, view.may(Right.ADMIN), owns=view.caller.by_cookie)


@router.get("/pages", openapi_extra=shows(Right.READ))
def pages(view: View) -> Response:
    """The pages that the caller may see."""
    defined = [one for one in view.app.catalog.pages.values() if visible(view, one)]
    saved = view.app.saved_pages.listed(viewer(view))
    mine = [one for one in saved if one.owner == viewer(view).name]
    others = [one for one in saved if one not in mine]
    return view.page("pages.html", "Pages", defined=defined, mine=mine, others=others, may_build=viewer(view).owns)


@router.get("/pages/new", openapi_extra=_OPEN)
def build(view: View) -> Response:
    """A form that builds a page, with what it shows so far."""
    words = building.of_address(view) or building.usual(view)
    return _form(view, words, "Build a page", "/pages/new")


@router.post("/pages/new", openapi_extra=shows(Right.READ))
def save(view: View) -> Response:
    """A page is saved; it is there for its owner alone until it is shared."""
    title, description, words = _said(view)
    number = view.app.saved_pages.create(viewer(view), title, description, words, shared=view.form.get("shared") == "1")
    return view.onward(f"/pages/saved/{number}")


@router.get("/pages/saved/{number}", openapi_extra=_OPEN)
def saved_page(view: View, number: str) -> Response:
    """A saved page."""
    one = view.app.saved_pages.get(number, viewer(view))
    page, problems = view.app.saved_pages.checked(one.written, view.scope)
    if page is None:
        return view.page("page_broken.html", one.title, saved=one, problems=problems)
    return _shown(view, looked_at(view, page), one)


@router.get("/pages/saved/{number}/edit", openapi_extra=_OPEN)
def edit(view: View, number: str) -> Response:
    """The form with a saved page in it; somebody else's is built upon as a copy."""
    one = view.app.saved_pages.get(number, viewer(view))
    words = building.of_address(view) or {**one.words, "title": one.title, "description": one.description}
    if not one.may_change:
        return view.onward(address("/pages/new", building.fields(words)))
    return _form(view, words, f"Edit {one.title}", f"/pages/saved/{number}/edit", one)


@router.post("/pages/saved/{number}/edit", openapi_extra=shows(Right.READ))
def change(view: View, number: str) -> Response:
    """A saved page has other words."""
    title, description, words = _said(view)
    view.app.saved_pages.change(number, viewer(view), title, description, words)
    return view.onward(f"/pages/saved/{number}")


@router.post("/pages/saved/{number}/share", openapi_extra=shows(Right.READ))
def share(view: View, number: str) -> Response:
    """A saved page is there for everybody who may read what it shows, or for its owner alone."""
    view.app.saved_pages.share(number, viewer(view), shared=view.form.get("shared") == "1")
    return view.onward(f"/pages/saved/{number}")


@router.post("/pages/saved/{number}/delete", openapi_extra=shows(Right.READ))
def delete(view: View, number: str) -> Response:
    """A saved page is gone."""
    view.app.saved_pages.delete(number, viewer(view))
    return view.onward("/pages")


@router.get("/pages/saved/{number}/export.py", openapi_extra=shows(Right.READ))
def export(view: View, number: str) -> Response:
    """A saved page as a class for ``metrics.py``."""
    one = view.app.saved_pages.get(number, viewer(view))
    name = f"{class_name(one.title)}.py"
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(one.python, headers=headers, media_type="text/x-python; charset=utf-8")


@router.get("/pages/{name}", openapi_extra=_OPEN)
def page(view: View, name: str) -> Response:
    """A page of the definitions."""
    return _shown(view, looked_at(view, page_of(view, name)), None)


def _shown(view: View, page: ShownPage, saved: SavedPage | None) -> Response:
    tabs = [
        (label, view.url(period=word, from_=None, to=None), page.period == word)
        for word, label in CHOICES.items() if word != CUSTOM
    ]  # fmt: skip
    return view.page(
        "page.html", page.page.title, page=page, saved=saved, tabs=tabs, is_custom=page.period == CUSTOM,
        rows=_rows(page),
    )  # fmt: skip


def _rows(page: ShownPage | None) -> list[list[Shown]]:
    """The parts in rows: cards that follow each other stand side by side."""
    return [list(found) for _, found in groupby(page.parts if page else (), lambda one: one.part.kind == "card" or one)]


def _said(view: View) -> tuple[str, str, dict[str, Any]]:
    """The page that a form sends."""
    words = building.of_form(view.form.get("words", ""))
    title = view.form.get("title", "").strip()
    if not title:
        raise UsageError("A page needs a title.", hint="Go back and give it one.")
    return (
        title,
        view.form.get("description", ""),
        {name: words[name] for name in ("period", "parts", "parameters") if name in words},
    )


def _form(view: View, words: dict[str, Any], heading: str, action: str, saved: SavedPage | None = None) -> Response:
    """The form, what is wrong with what it holds, and what it shows."""
    if not viewer(view).owns:
        raise UnknownName("Only a person who signed in builds pages.", hint="Sign in: /sign-in")
    parts = list(words.get("parts", ()))
    if saved is not None and "parameters" in saved.words:
        words = {**words, "parameters": saved.words["parameters"]}
    kept: dict[str, Any] = {name: words[name] for name in ("period", "parts", "parameters") if name in words}
    title = words.get("title", "")
    page, problems = _checked(view, title or "Page", words.get("description", ""), kept)
    known = view.app.saved_pages.known(view.scope)
    slots = [
        {
            "number": number, "part": dict.fromkeys(_WORDS) | part, "kind": part["part"],
            "rollup": next((one for one in known.rollups.values() if part.get("rollup") in (one.name, one.table)), None),
            "metrics": _several(part.get("metric") or part.get("metrics")), "by": _several(part.get("by")),
            "where": building.where_text(part.get("where", {})),
            "up": building.link(view, words, building.moved(parts, number - 1)) if number > 1 else None,
            "without": building.link(view, words, [*parts[: number - 1], *parts[number:]]),
        }
        for number, part in enumerate(parts, 1)
    ]  # fmt: skip
    words = {"title": "", "description": "", **words}
    first = next((one.name for one in known.rollups.values() if not one.is_profile), None)
    return view.page(
        "page_build.html", heading, action=action, words=words, slots=slots, problems=problems, saved=saved,
        rollups=[one for one in known.rollups.values() if not one.is_profile], funnels=list(known.funnels.values()),
        kinds=_KINDS, grains=GRAINS, compares=COMPARE, periods=[(one, CHOICES[one]) for one in ROLLING],
        period=words.get("period", USUAL), json=json.dumps(kept),
        more=[(label, building.link(view, words, [*parts, _fresh(kind, first, known.funnels)])) for kind, label in _KINDS.items()
              if (kind != "steps" or known.funnels) and len(parts) < building.MOST],
        page=(found := looked_at(view, page, is_asked=False) if page is not None else None), rows=_rows(found),
    )  # fmt: skip


def _checked(view: View, title: str, description: str, words: dict[str, Any]) -> tuple[PageDef | None, list[Problem]]:
    return view.app.saved_pages.checked(
        WrittenPage(class_name(title), "", description, {**words, "title": title}), view.scope
    )


def _several(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _fresh(kind: str, rollup: str | None, funnels: Any) -> dict[str, Any]:
    """A part that was just added."""
    found: dict[str, Any] = {"part": kind, "name": ""}
    if "rollup" in PARTS[kind].words_known and rollup:
        found["rollup"] = rollup
    if kind == "steps":
        found["funnel"] = next(iter(funnels), "")
    if kind == "text":
        found["text"] = "Words"
    return found
