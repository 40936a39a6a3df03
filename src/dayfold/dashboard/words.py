"""Filters by key as they stand in addresses and on pages. Dashboard door, pure but for what it is given."""

from __future__ import annotations

from dataclasses import dataclass

from dayfold.dashboard.view import View
from dayfold.define.rollup import RollupDef
from dayfold.plan.keys import key_filters


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that is on: in words, and the address without it."""

    text: str
    without: str


def filter_word(key: str, value: object, *, exclude: bool = False) -> str:
    """A filter as the API takes it: NULL, the empty text and all others.

    >>> filter_word("shop", 7), filter_word("shop", None), filter_word("shop", ""), filter_word("shop", "a", exclude=True)
    ('shop=7', 'shop=', 'shop=""', 'shop!=a')
    """
    sign = "!=" if exclude else "="
    text = "" if value is None else str(value) or '""'
    return f"{key}{sign}{text}"


def filters(view: View, rollup: RollupDef) -> list[Chip]:
    """The filters of the page's address. Raises UsageError, UnknownName for one that is none."""
    given = view.params("where")
    key_filters(rollup, given)
    return [Chip(_said(one), view.url(where=[other for other in given if other != one] or None)) for one in given]


def _said(word: str) -> str:
    key, sign, value = word.partition("!=") if "!=" in word.partition("=")[0] + "=" else word.partition("=")
    name, verb = key.removesuffix("!"), "is not" if sign == "!=" or key.endswith("!") else "is"
    return f"{name} {verb} {value or 'NULL'}"
