"""Filters over the columns of a profile, as forms send them, as addresses hold them and in words. Dashboard door, pure.

A form sends a column, a sign and a value by themselves; the page leads on to an address that holds them as the API takes them, so that
one address is one picture, whoever made it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from starlette.responses import Response

from dayfold.dashboard.view import View
from dayfold.dashboard.words import Chip
from dayfold.define.rollup import RollupDef
from dayfold.plan.comparisons import Comparison, comparisons

#: What a form sends beside ``where``.
FORM = ("find", "find_in", "column", "sign", "value")
EMPTY, FILLED = "empty", "filled"
#: The signs of comparisons, and what they are called.
SIGNS = {
    "=": "is", "!=": "is not", ">=": "is at least", "<=": "is at most", ">": "is over", "<": "is under", EMPTY: "has no value",
    FILLED: "has a value",
}  # fmt: skip
#: Those that say which entities of a study are looked at: its filters are over keys.
KEY_SIGNS = ("=", "!=")


def comparison_word(name: str, sign: str, value: object) -> str:
    """A filter as the API takes it.

    >>> comparison_word("shop", "=", 7), comparison_word("shop", "=", None), comparison_word("shop", "!=", "")
    ('shop=7', 'shop=', 'shop!=""')
    >>> comparison_word("is_new", "=", True), comparison_word("cents", ">=", "500"), comparison_word("cents", "filled", "")
    ('is_new=true', 'cents>=500', 'cents!=')
    """
    if sign in (EMPTY, FILLED) or value is None:
        return f"{name}{'!=' if sign in (FILLED, '!=') else '='}"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{name}{sign}" + (text or '""')


def key_words(key: Sequence[str], row: dict[str, object]) -> list[str]:
    """The whole key of an entity as words of filters, and of ``key``."""
    return [comparison_word(name, "=", row[name]) for name in key]


def led_on(view: View, columns: Collection[str], key: Sequence[str]) -> Response | None:
    """Where a form that was sent leads: to the address with its filter; None where no form was sent."""
    if not any(view.params(name) for name in FORM):
        return None
    where = view.params("where")
    find, column, value = view.param("find"), view.param("column"), view.param("value")
    if find:
        name = view.one_of("find_in", key, key[-1])
        # Who looks for one leaves what they looked for before.
        where = [one for one in where if not one.startswith(f"{name}=")]
        where.append(comparison_word(name, "=", find.strip() or '""'))
    sign = view.one_of("sign", list(SIGNS), "=")
    if column in columns and (value or sign in (EMPTY, FILLED)):
        where.append(comparison_word(str(column), sign, value))
    cleared = dict.fromkeys((*FORM, "after"))
    return view.onward(view.url(**cleared, where=list(dict.fromkeys(where)) or None))


def chips(view: View, profile: RollupDef, columns: Collection[str]) -> list[Chip]:
    """The filters of the address. Raises UsageError, UnknownName for one that is none."""
    given = view.params("where")
    return [
        Chip(said(comparisons(profile.name, columns, [one])[0]), view.url(where=[two for two in given if two != one] or None, after=None))
        for one in given
    ]  # fmt: skip


def said(one: Comparison) -> str:
    """A filter in words.

    >>> said(Comparison("cents", ">=", ("5",))), said(Comparison("segment", "=", (None,))), said(Comparison("note", "!=", ("",)))
    ('cents is at least 5', 'segment has no value', 'note is not ""')
    """
    [value] = one.values
    name = one.column.replace("_", " ")
    if value is None:
        return f"{name} {SIGNS[FILLED if one.sign == '!=' else EMPTY]}"
    return f"{name} {SIGNS[one.sign]} " + (value or '""')


def chosen(where: Sequence[str], name: str) -> str | None:
    """The one filter of a column, where it has one that names a value.

    >>> chosen(["segment=new", "cents>5"], "segment"), chosen(["segment=new", "segment=old"], "segment"), chosen(["cents>5"], "cents")
    ('segment=new', None, None)
    """
    mine = [one for one in where if one.startswith((f"{name}=", f"{name}!=", f"{name}>", f"{name}<"))]
    return mine[0] if len(mine) == 1 and mine[0].startswith(f"{name}=") else None
