"""Functions as sources, as they are written: every mistake with its line, and what makes two of them the same."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dayfold import Count, NotReady, Rollup, Sum, source
from dayfold.define.catalog import catalog, load
from dayfold.define.fingerprint import fingerprint
from dayfold.define.function import FunctionSource
from dayfold.define.rollup import definition
from dayfold.define.types import declared_type
from dayfold.errors import DefinitionError
from dayfold.fold.rows import RowsWrong, typed_rows

MESSY = """\
import datetime

from dayfold import Count, Rollup, Sum, Table, source


@source(columns={"day": "date", "spend": "money", "Spend": "text", "n": "bigintt", "p": "numeric(40,2)"}, sinse="2026")
def wrong(day):
    return []


@source
def bare(day):
    return []


@source(columns={"n": "bigint"}, since="2026-02-30", lookback=-1, wait_days=0)
def numbers():
    return []


@source(columns={"n": "bigint", "N": "text"})
async def late(day):
    return []


nameless = source(columns={"n": "bigint"})(lambda day: [])
nothing = source(columns={"n": "bigint"})(5)


@source(columns={"n": "bigint"})
def good(day):
    return []


class A(Rollup):
    a = Count(wrong)
    b = Count(bare)
    c = Count(numbers)
    d = Count(late)
    e = Count(nameless)
    f = Count(nothing)
    g = Sum(good, "n", at="made")
    h = Sum(good, "n")


class B(Rollup):
    of_h = Sum(A, "h", at="day")
    taken = Count(Table("good"), at="made")
"""

MESSAGES = """\
DefinitionError [unknown-option] metrics.py:6 source
  source has no option 'sinse'; the nearest is 'since'.
  Options: columns, since, lookback, wait_days
DefinitionError [bad-name] metrics.py:6 source wrong
  a column's name is of letters, digits and single '_', and not 'day', got 'day'.
  The day that is asked for is a column of its own.
DefinitionError [bad-value] metrics.py:6 source wrong
  the column 'spend' has no type 'money'.
  Types: text, bigint, boolean, date, timestamptz, uuid, double precision, json, numeric(p,s), p up to 38 digits, s of them after the point
DefinitionError [bad-value] metrics.py:6 source wrong
  the column 'n' has no type 'bigintt'; the nearest is 'bigint'.
  Types: text, bigint, boolean, date, timestamptz, uuid, double precision, json, numeric(p,s), p up to 38 digits, s of them after the point
DefinitionError [bad-value] metrics.py:6 source wrong
  the column 'p' has no type 'numeric(40,2)'; the nearest is 'numeric'.
  Types: text, bigint, boolean, date, timestamptz, uuid, double precision, json, numeric(p,s), p up to 38 digits, s of them after the point
DefinitionError [bad-value] metrics.py:11 source bare
  columns maps the names of the rows' columns to their types.
  Write @source(columns={"platform": "text", "spend": "numeric(12,2)"}).
DefinitionError [bad-date] metrics.py:16 source numbers
  since is a date written YYYY-MM-DD, got '2026-02-30'.
DefinitionError [bad-value] metrics.py:16 source numbers
  lookback is a number of days from 0 to 3660, got -1.
DefinitionError [bad-value] metrics.py:16 source numbers
  wait_days is a number of days from 1 to 3660, got 0.
DefinitionError [bad-source] metrics.py:16 source numbers
  the function is called with one value, the day: def f(day).
DefinitionError [duplicate-name] metrics.py:21 source late
  the column 'N' is there twice; databases do not tell upper and lower case apart.
DefinitionError [bad-source] metrics.py:21 source late
  the function is async; write it with def, a fold calls it and waits.
DefinitionError [bad-name] metrics.py:26 source <lambda>
  a function source needs a name of its own; write it with def.
DefinitionError [bad-source] metrics.py:27 source int
  @source stands above a function f(day), got int.
DefinitionError [bad-moment] metrics.py:42 A.g
  facts of a function count on the day that it was asked for, expected at="day", got 'made'.
DefinitionError [bad-source] metrics.py:47 B.of_h
  A.h is of the function good, which is not read through another rollup.
  Read the function itself: Sum(good, …). It is called once for all.
DefinitionError [duplicate-name] metrics.py:48 Table('good')
  the source's name 'good' is taken by metrics.py:30.
  Give the function another name."""


def test_mistakes_of_functions_are_told_with_all_others(tmp_path: Path) -> None:
    """Each with its line, what was expected and the nearest known name."""
    path = tmp_path / "metrics.py"
    path.write_text(MESSY)
    with pytest.raises(DefinitionError) as error:
        load(path).check()
    assert str(error.value) == MESSAGES


def made(columns: dict[str, str], name: str = "ad_spend", **options: Any) -> FunctionSource:
    def function(day: dt.date) -> list[Any]:
        raise NotReady("later")

    function.__name__ = name
    found: FunctionSource = source(columns=columns, **options)(function)
    return found


def test_a_source_is_its_name_and_its_columns() -> None:
    """How it is asked changes no number; other columns are another source, with another table."""
    one = made({"n": "bigint"})

    def mark(used: FunctionSource) -> str:
        return fingerprint(definition(type("A", (Rollup,), {"n": Sum(used, "n")}))[0])

    assert mark(one) == mark(made({"n": "BigInt"}, lookback=2, since="2026-01-01", wait_days=4))
    assert mark(one) != mark(made({"n": "numeric(12,2)"}))
    assert mark(one) != mark(made({"n": "bigint"}, "other"))
    assert one.staging != made({"n": "numeric(12,2)"}).staging
    assert len(made({"n": "bigint"}, "a" * 60).staging) == 63


def test_two_functions_of_one_name_are_refused() -> None:
    """The ledger knows a source by its name."""
    one, other = made({"n": "bigint"}), made({"n": "text"})
    found = catalog([type("A", (Rollup,), {"n": Count(one), "m": Count(other)})])
    assert [(problem.code, problem.subject) for problem in found.problems] == [("duplicate-name", "source ad_spend")]


def test_the_function_can_be_called_as_before() -> None:
    """Its own tests go on as they were; the moment is the day where none is named."""
    one = made({"n": "bigint"})
    with pytest.raises(NotReady, match=r"^later$"):
        one(dt.date(2026, 1, 1))
    moment = Count(one).moment
    assert moment is not None
    assert moment.column == "day"
    assert str(NotReady()) == "it says that it is not ready"


UUID = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)
VALUES: list[tuple[str, Any, Any]] = [
    ("text", "a", "a"), ("text", 1, None), ("text", b"a", None), ("text", "a\0b", None),
    ("bigint", 1, 1), ("bigint", "12", 12), ("bigint", 2.0, 2), ("bigint", 1.5, None), ("bigint", True, None),
    ("bigint", 2**63, None), ("bigint", "1_000", None),
    ("numeric(12,2)", 1, Decimal("1.00")), ("numeric(12,2)", "2.5", Decimal("2.50")), ("numeric(12,2)", 1.1, Decimal("1.10")),
    ("numeric(12,2)", "1e3", Decimal("1000.00")), ("numeric(12,2)", "1.005", None), ("numeric(12,2)", 10**11, None),
    ("numeric(12,2)", float("nan"), None), ("numeric(12,2)", True, None), ("numeric(12,2)", "x", None),
    ("double precision", 1, 1.0), ("double precision", "2.5", 2.5), ("double precision", float("inf"), None),
    ("double precision", float("nan"), None),
    ("boolean", True, True), ("boolean", 1, None), ("boolean", "true", None),
    ("date", dt.date(2026, 1, 2), dt.date(2026, 1, 2)), ("date", "2026-01-02", dt.date(2026, 1, 2)),
    ("date", "2026-02-30", None), ("date", NOON, None),
    ("timestamptz", NOON, NOON), ("timestamptz", "2026-01-02T14:00:00+02:00", NOON), ("timestamptz", "2026-01-02T12:00:00", None),
    ("timestamptz", NOON.replace(tzinfo=None), None),
    ("uuid", UUID, str(UUID)), ("uuid", str(UUID).upper(), str(UUID)), ("uuid", "x", None), ("uuid", 3, None),
    ("json", {"b": 1, "a": [None]}, '{"a": [null], "b": 1}'), ("json", "[1]", "[1]"), ("json", "{", None),
    ("json", float("nan"), None), ("json", {"a": "\0"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("words", "value", "kept"), VALUES, ids=lambda one: repr(one)[:30])
def test_a_value_is_kept_as_its_type_or_refused(words: str, value: Any, kept: Any) -> None:
    """Nothing is rounded, guessed or cut; what a column refuses, it refuses by name and without the value."""
    type_ = declared_type(words)
    assert type_ is not None
    if kept is None:
        with pytest.raises(RowsWrong, match=r"^a value of the column 'c' is no [a-z]+[^:]*$"):
            typed_rows([{"c": value}], {"c": type_})
        return
    found = typed_rows([{"c": value}, {"c": None}], {"c": type_})
    assert found["c"].to_pylist() == [kept, None]
    assert typed_rows([], {"c": type_}).schema == found.schema
