"""What levels grew by, computed a second way. Plan floor, pure.

Every fact up to the last day is read, whatever index there is. The last moment of an entity's day is its greatest
microsecond, the level the greatest value at that microsecond, and the level before it that of the greatest earlier day.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from dayfold.plan.dialect import Dialect
from dayfold.plan.sql import alias, both, column, sql

#: The microsecond that a fact counts at, its level, and the first microsecond of its day.
MICROS, VALUE, START = "us__", "v0__", "start__"


def entity(n: int) -> str:
    """The n-th column that says whose level a fact observes."""
    return f"p{n}__"


def grown(
    facts: exp.Select, listed: exp.Expr, entities: int, keys: Sequence[str], dialect: Dialect, start: exp.Expr
) -> exp.Select:
    """A select of what each entity grew by: its key, ``day`` of the listed days, and ``grown__``.

    ``facts``: those of all days up to the last; ``listed``: ``start`` and ``day`` of ``d``; ``start``: the first
    microsecond of a fact's day.
    """
    per = [entity(n) for n in range(entities)]

    def same(left: str, right: str, *names: str) -> exp.Expr:
        pairs = [dialect.piece("equal", _x=column(one, left), _y=column(one, right)) for one in per]
        return both([*pairs, *(sql("_a = _b", _a=column(one, left), _b=column(one, right)) for one in names)])

    def of(relation: str, *names: str) -> list[exp.Expr]:
        return [column(one, relation) for one in (*per, *names)]

    dated = exp.select("*", alias(start, START)).from_(facts.subquery("all__"))
    dated = dated.where(sql("not _v is null", _v=column(VALUE)))
    last = exp.select(*of("f", START), alias(sql("max(_u)", _u=column(MICROS, "f")), MICROS))
    last = last.from_("dated__ as f").group_by(*of("f", START))
    level = exp.select(*of("f", START, MICROS), alias(sql("max(_v)", _v=column(VALUE, "f")), VALUE))
    level = level.from_("dated__ as f").join("last__ as l", on=same("f", "l", START, MICROS))
    level = level.group_by(*of("f", START, MICROS))
    order = [exp.Ordered(this=column(one, "f"), desc=True, nulls_first=False) for one in keys]
    place = exp.Window(
        this=sql("row_number()"),
        partition_by=of("f", START),
        order=exp.Order(expressions=order) if order else None,
    )
    own = exp.select(*of("f", START, VALUE, *keys), alias(place, "place__"))
    own = own.from_("dated__ as f").join("level__ as l", on=same("f", "l", START, MICROS, VALUE))
    earlier = sql("_a < _b", _a=column(START, "b"), _b=column(START, "l"))
    before = exp.select(*of("l", START), alias(sql("max(_s)", _s=column(START, "b")), "before__"))
    before = before.from_("level__ as l").join("level__ as b", on=both([same("l", "b"), earlier]))
    before = before.join(listed, on=sql("_a = _b", _a=column(START, "l"), _b=column("start", "d")))
    before = before.group_by(*of("l", START))
    growth = sql(
        "case when _b is null or _l < _b then _l else _l - _b end", _l=column(VALUE, "o"), _b=column(VALUE, "e")
    )
    rows = exp.select(*(column(one, "o") for one in keys), column("day", "d"), alias(growth, "grown__"))
    rows = rows.from_("own__ as o").join(
        listed.copy(), on=sql("_a = _b", _a=column(START, "o"), _b=column("start", "d"))
    )
    rows = rows.join("before__ as b", on=same("o", "b", START), join_type="left")
    there = both([same("e", "b"), sql("_a = _b", _a=column(START, "e"), _b=column("before__", "b"))])
    rows = rows.join("level__ as e", on=there, join_type="left").where(sql("_p = 1", _p=column("place__", "o")))
    named = {"dated__": dated, "last__": last, "level__": level, "own__": own, "before__": before}
    for name, one in named.items():
        rows = rows.with_(exp.to_identifier(name), as_=one)
    return rows
