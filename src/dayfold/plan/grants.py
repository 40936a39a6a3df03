"""Scopes from the words that a person writes for a token or a user, checked against the definitions. Plan floor, pure.

Invariant: a scope that is given out names rollups and key columns that are there; a misspelt one is refused, not ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from dayfold.define.catalog import Catalog
from dayfold.define.rollup import RollupDef
from dayfold.errors import UnknownName, UsageError
from dayfold.names import listing, suggestion
from dayfold.plan.access import EVERYTHING, Grant, Scope
from dayfold.plan.keys import filter_value, key_column

HINT = 'Write key=value,value; key= for NULL, key="" for the empty text, key:none for no row at all, and \\, for a comma in a value.'


def grant(
    catalog: Catalog,
    kind: str,
    rollups: Sequence[str],
    rows: Sequence[str],
    accesses: Sequence[str] = (),
    *,
    personal: bool = False,
    events: bool = False,
) -> Scope:
    """What ``--rollup``, ``--rows`` and ``--access`` allow: rollups, values of key columns, and access that a database decides.

    ``personal`` and ``events`` are those of `Scope`.

    Whether the accesses fit the definitions is `dayfold.app.Dayfold.check_scope`'s to say.

    Raises:
        UsageError: for words that are none, and for a scope of a kind that sees no numbers, or all of them.
        UnknownName: for a rollup or key column that is not there.
    """
    if (personal or events) and kind != "read":
        raise UsageError(
            f"Only the kind 'read' is given raw events and personal data, got '{kind}'.",
            hint="Leave out --personal and --events, or write --kind read; administrators see both.",
        )
    if not rollups and not rows and not accesses:
        return replace(EVERYTHING, personal=personal, events=events)
    if kind != "read":
        raise UsageError(
            f"Only the kind 'read' has rollups, rows and access, got '{kind}'.",
            hint="Leave out --rollup, --rows and --access, or write --kind read.",
        )
    catalog.check()
    named = [catalog[name] for name in rollups]
    found: dict[str, list[str | None]] = {}
    closed = set()
    for word in rows:
        key, values = _row_words(word)
        check_key(catalog, named, key, "for --rows")
        found.setdefault(key, []).extend(values)
        if not values:
            closed.add(key)
    for key in closed:
        if found[key]:
            raise UsageError(
                f"--rows says no row and some rows of '{key}'.", hint=f"Leave out {key}:none or the others."
            )
    names = [one.name for one in named] if named else None
    return Scope.of(names, found, map(_access_words, accesses), personal=personal, events=events)


def check_key(catalog: Catalog, named: Sequence[RollupDef], key: str, purpose: str) -> None:
    """A key column of each of these rollups, or of any where none is named. Raises UnknownName."""
    for rollup in named:
        key_column(rollup, key, purpose)
    known = list(dict.fromkeys(column for rollup in catalog.rollups.values() for column in rollup.key))
    if key not in known:
        raise UnknownName(
            f"No rollup has a key column '{key}' {purpose}{suggestion(key, known)}.",
            hint=f"Key columns: {listing(known)}",
        )


def _access_words(word: str) -> Grant:
    """The access and its parameters of one word of ``--access``.

    >>> _access_words("Brand:brand_id=7,region=eu")
    Grant(access='Brand', params=(('brand_id', '7'), ('region', 'eu')))
    """
    name, _, params = word.partition(":")
    found = {}
    for part in filter(None, re.split(r"(?<!\\),", params)):
        key, sign, value = part.partition("=")
        if not sign or not key:
            raise UsageError("A word of --access is not NAME:parameter=value,….", hint="Such as Brand:brand_id=7.")
        found[key] = value.replace("\\,", ",")
    return Grant.of(name, found)


def _row_words(word: str) -> tuple[str, list[str | None]]:
    r"""The key column and the values of one word of ``--rows``.

    >>> _row_words(r"shop_id=42,4\,3"), _row_words("shop_id="), _row_words("shop_id:none")
    (('shop_id', ['42', '4,3']), ('shop_id', [None]), ('shop_id', []))
    """
    if closed := re.fullmatch(r"([^=:]+):none", word):
        return closed[1], []
    key, sign, values = word.partition("=")
    if not sign or not key:
        raise UsageError("A word of --rows is not key=values.", hint=HINT)
    parts = re.split(r"(?<!\\),", values)
    return key, [filter_value(part.replace("\\,", ",")) for part in parts]
