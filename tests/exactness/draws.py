"""What hypothesis draws: rows with every awkward key, moment and value, changes of rows, and questions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.exactness.oracle import Condition, Spec
from tests.exactness.rollups import SPECS

Row = dict[str, Any]

# -- rows ----------------------------------------------------------------------------------------------------

JOINER = "\u200d"
TENANTS = [
    "a",
    "b",
    "a:b",
    "a/b",
    "a",
    "",
    " a",
    JOINER,
    f"a{JOINER}",
    "caf\u00e9",
    "cafe\u0301",
    "x" * 200,
    None,
]
#: (a, 1, 12) and (a1, 12) or (11, 2) must never meet.
SHOPS = [1, 2, 12, 11, 112, -1, 0, 2**60, None]
BUYERS = ["ann", "Ann", "bob", "b:ob", "caf\u00e9", "cafe\u0301", "", "ann ", "y" * 200, None]
STATES = ["paid", "open", "Paid", None]
TIMES = [
    dt.time(0, 0),
    dt.time(23, 59, 59, 999_999),
    dt.time(12, 0),
    dt.time(18, 14, 59),
    dt.time(18, 15),
    dt.time(4, 59, 59),
    dt.time(5, 0),
    dt.time(1, 30),
]
#: A hundred of these still fit 64 bits when added up.
UNITS = [0, 1, -1, 3, 2**53 + 1, 2**55, -(2**55) - 1]
HUGE = [2**60, 2**60 - 1, -(2**60), 2**60 + 1, 0, 7]

tenants = st.sampled_from(TENANTS)
shops = st.sampled_from(SHOPS)
buyers = st.sampled_from(BUYERS)
states = st.sampled_from(STATES)
units = st.none() | st.sampled_from(UNITS) | st.integers(-5, 5)
huge = st.none() | st.sampled_from(HUGE)
amounts = st.none() | st.integers(-500_00, 999_999_99).map(lambda n: Decimal(n).scaleb(-2))
#: Days before today: mostly recent, sometimes late, sometimes in the future.
ages = st.integers(0, 4) | st.integers(-3, 12) | st.sampled_from([40, 200, 366])


@st.composite
def moments(draw: st.DrawFn) -> tuple[int, dt.time] | None:
    """An age in days and a time of day; None for NULL."""
    if draw(st.integers(0, 9)) == 0:
        return None
    return draw(ages), draw(st.sampled_from(TIMES) | st.times())


Drawn = Mapping[str, Any]
drawn_rows: st.SearchStrategy[Drawn] = st.fixed_dictionaries(
    {
        "tenant": tenants,
        "shop": shops,
        "made_at": moments(),
        "paid_at": moments(),
        "due": moments(),
        "amount": amounts,
        "units": units,
        "huge": huge,
        "buyer": buyers,
        "state": states,
    }
)
#: One change of one row: its key, one of its moments, or a value.
drawn_changes: st.SearchStrategy[Drawn] = st.one_of(
    st.fixed_dictionaries({"tenant": tenants, "shop": shops}),
    st.fixed_dictionaries({"made_at": moments()}),
    st.fixed_dictionaries({"paid_at": moments(), "state": states}),
    st.fixed_dictionaries({"due": moments()}),
    st.fixed_dictionaries({"amount": amounts, "units": units}),
    st.fixed_dictionaries({"huge": huge, "buyer": buyers}),
)


def dated(drawn: Drawn, today: dt.date) -> Row:
    """Drawn columns with their ages turned into moments of the column's own type."""
    row = dict(drawn)
    for name in {"made_at", "paid_at", "due"} & row.keys():
        if row[name] is not None:
            age, time = row[name]
            naive = dt.datetime.combine(today - dt.timedelta(days=age), time)
            row[name] = {"made_at": naive.replace(tzinfo=dt.UTC), "paid_at": naive, "due": naive.date()}[name]
    return row


# -- questions -----------------------------------------------------------------------------------------------


@st.composite
def questions(draw: st.DrawFn, tables: Sequence[str]) -> dict[str, Any]:
    """One of the rollups, a range counted back from today, a grain, keys to keep and keys to filter."""
    table = draw(st.sampled_from(tables))
    spec = SPECS[table]
    from_age = draw(st.integers(0, 40) | st.sampled_from([200, 370]))
    zones = [None, "Asia/Kathmandu", "Europe/London", "America/New_York"]
    return {
        "table": table,
        "from_age": from_age,
        "to_age": draw(st.integers(0, from_age)),
        "grain": draw(st.sampled_from(["day", "week", "month", "quarter", "year", "total"])),
        "by": draw(st.lists(st.sampled_from(spec.key), unique=True)) if spec.key else [],
        "where": draw(st.lists(conditions(spec), max_size=3)) if spec.key else [],
        "allow_missing": draw(st.booleans()),
        "zone": draw(st.sampled_from(zones)) if spec.grain < dt.timedelta(days=1) else None,
    }


def conditions(spec: Spec) -> st.SearchStrategy[Condition]:
    """A key included or excluded, NULL too."""
    values: dict[str, st.SearchStrategy[Any]] = {"tenant": tenants, "shop": shops}
    # An empty value says NULL on the command line, so the empty text is not asked for.
    return st.sampled_from(spec.key).flatmap(
        lambda name: st.tuples(
            st.just(name), st.sampled_from(["=", "!="]), values[name].filter(lambda value: value != "")
        )
    )


def where_text(condition: Condition) -> str:
    """A condition as it is written at every door."""
    name, sign, value = condition
    return f"{name}{sign}{'' if value is None else value}"


def alike(got: Any, expected: Any) -> bool:
    """Equal; floats to twelve digits, because a quotient may be rounded twice."""
    if isinstance(expected, float) and got is not None:
        return abs(float(got) - expected) <= 1e-12 * max(1.0, abs(expected))
    return bool(got == expected)
