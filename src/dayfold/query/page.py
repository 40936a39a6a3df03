"""Pages of a long answer: each goes on after the row that the last one ended with. Query floor, pure.

A place is the identity of a row, its bucket and keys, and not a number of rows: rows that are published between two pages
neither repeat nor hide others.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dayfold.errors import QueryRefused, UsageError

if TYPE_CHECKING:
    import pyarrow as pa


def page(rows: pa.Table, identity: Sequence[str], limit: int | None, after: str | None) -> tuple[pa.Table, str | None]:
    """At most ``limit`` rows that come after a place, and the place to go on from, None at the end.

    Raises:
        UsageError: when ``after`` is no place; QueryRefused: when its row is gone.

    >>> import pyarrow as pa
    >>> rows = pa.table({"day": ["a", "b", "c"], "n": [1, 2, 3]})
    >>> first, place = page(rows, ["day"], 2, None)
    >>> page(rows, ["day"], 2, place)[0].to_pylist(), page(rows, ["day"], 2, place)[1]
    ([{'day': 'c', 'n': 3}], None)
    """
    if after is not None:
        rows = rows.slice(_place(rows, identity, after) + 1)
    if limit is None or rows.num_rows <= limit:
        return rows, None
    rows = rows.slice(0, limit)
    last = [rows[name][limit - 1].as_py() for name in identity]
    text = json.dumps([None if value is None else str(value) for value in last], ensure_ascii=False)
    return rows, base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(rows: pa.Table, identity: Sequence[str], after: str) -> int:
    """Where the row of a place is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wrong = UsageError("after is not a place in this answer.", hint="Pass on the 'next' of the page before.")
    try:
        values = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise wrong from None
    if not isinstance(values, list) or len(values) != len(identity):
        raise wrong
    found = pa.array([True] * rows.num_rows, pa.bool_())
    for name, value in zip(identity, values, strict=True):
        if value is not None and not isinstance(value, str):
            raise wrong
        texts = pc.cast(rows[name], pa.string())
        found = pc.and_(found, pc.is_null(texts) if value is None else pc.fill_null(pc.equal(texts, value), False))
    place = pc.index(found, pa.scalar(True)).as_py()
    if place < 0:
        raise QueryRefused(
            "The row that 'after' names is gone from the answer.", hint="Begin again with the first page."
        )
    return int(place)
