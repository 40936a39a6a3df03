"""Texts from outside made fit to be stored. Collect floor, pure.

Invariant: what comes out can be stored in both engines: no NUL, no other control characters, no lone surrogates, and not longer than
the limit.
"""

from __future__ import annotations

import re

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")


def text(value: object, limit: int) -> str:
    r"""A text without what cannot be stored, cut at ``limit`` characters; whatever is not a text is empty.

    >>> text(" spring\x00 sale ", 100), text(None, 100), text("abcdef", 3)
    ('spring sale', '', 'abc')
    """
    if not isinstance(value, str):
        return ""
    if len(value) > limit:
        value = value[:limit]
    if not value.isprintable():
        value = _UNFIT.sub(" ", value)
        value = re.sub(r"\s+", " ", value)
    return value.strip()
