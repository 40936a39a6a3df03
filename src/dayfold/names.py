"""Names: how they are made, compared and suggested. Ground floor.

Invariant: a name that passes `is_plain` can be a column, a table and a keyword argument everywhere.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Iterable

RESERVED = frozenset({"day", "bucket", "created_at", "updated_at", "run_id", "exact", "missing"})
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")


#: A table leaves room for what is made beside it: ``…__sets``, its indexes.
TABLE_LETTERS = 50


def fitted(name: str, room: int = 63) -> str:
    """A name of at most ``room`` characters: as it is, or its beginning and a digest of the whole.

    >>> fitted("orders"), fitted("a" * 40, 12)
    ('orders', 'aaaaa_e33cdf')
    """
    if len(name) <= room:
        return name
    return f"{name[: room - 7]}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def is_plain(name: str) -> bool:
    """Whether a name may be that of a table, key or metric: letters, digits and ``_``, at most 63.

    >>> is_plain("orders"), is_plain("2nd"), is_plain("a b")
    (True, False, False)
    """
    return bool(_PLAIN.match(name))


def snake_case(name: str) -> str:
    """The table name of a class.

    >>> snake_case("SalesDaily"), snake_case("APIKeyUsage")
    ('sales_daily', 'api_key_usage')
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return spaced.lower()


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, or None where none is alike.

    >>> nearest("aproved_at", ["id", "approved_at"])
    'approved_at'
    """
    names = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return names[found[0]] if found else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: ``"; the nearest is 'x'"``, or nothing.

    >>> suggestion("ordres", ["orders"])
    "; the nearest is 'orders'"
    """
    found = nearest(name, known)
    return f"; the nearest is '{found}'" if found else ""


def way_back(start: str, edges: Callable[[str], Iterable[str]]) -> list[str]:
    """The path from a name back to itself, or nothing.

    >>> way_back("a", {"a": ["b"], "b": ["c", "a"], "c": []}.__getitem__)
    ['a', 'b', 'a']
    """

    def walk(name: str, path: list[str]) -> list[str]:
        for one in edges(name):
            if one == start:
                return [*path, one]
            if one not in path and (whole := walk(one, [*path, one])):
                return whole
        return []

    return walk(start, [start])


def listing(names: Iterable[str]) -> str:
    """Names as a person lists them.

    >>> listing(["a", "b"])
    'a, b'
    """
    return ", ".join(names) or "none"


def plural(count: int, what: str) -> str:
    """A counted noun.

    >>> plural(1, "day"), plural(2000, "day"), plural(2, "entity")
    ('1 day', '2,000 days', '2 entities')
    """
    if count != 1:
        what = f"{what.removesuffix('y')}ies" if what == "entity" else f"{what}s"
    return f"{count:,} {what}"
