"""Functions as sources: what a Python function returns for a day are that day's facts. Definitions floor, pure.

The rows that were fetched live in a table of the store, and every rollup reads them there; only a fold calls the function.

Weakness: editing the function's body changes nothing that was fetched; a rebuild fetches days again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from dayfold.define.source import Place, Table, caller, unknown_options
from dayfold.define.types import DATE, DECLARED, Type, declared_type
from dayfold.names import fitted, is_plain, listing, suggestion

#: The moment of a function's facts: the day that it was asked for.
DAY = "day"
OPTIONS = ("columns", "since", "lookback", "wait_days")
#: Days before today that every fold asks for again, because their figures may have been corrected.
LOOKBACK_DAYS = 7
_MOST_DAYS = 3660
_TYPES = (*DECLARED, "numeric(p,s)")
#: What the names of the tables begin with that hold fetched rows.
PREFIX = "dayfold__source_"


class FunctionSource(Table):
    """A function ``f(day) -> rows`` as a source; made by `source`.

    Attributes:
        function: Called with a day; returns its facts, or raises `NotReady`.
        types: The declared columns.
        since: The first day that it can be asked for.
        lookback: Days before today that every fold asks for again.
        wait_days: After how many days one that is not ready counts as failed; None: never.
    """

    def __init__(
        self,
        function: object,
        place: Place,
        *,
        columns: object = None,
        since: object = None,
        lookback: object = LOOKBACK_DAYS,
        wait_days: object = None,
        unknown: Mapping[str, Any] | None = None,
    ) -> None:
        self.title_ = str(getattr(function, "__name__", type(function).__name__))
        super().__init__(self.title_)
        self.place = place
        self.problems = unknown_options("source", place, unknown or {}, OPTIONS)
        self.function: Callable[[dt.date], Any] = function  # type: ignore[assignment]  # anything else is a problem, kept below
        self.types = self._types(columns)
        self.since = self._since(since)
        self.lookback = self._number("lookback", lookback, 0) if lookback is not None else LOOKBACK_DAYS
        self.wait_days = self._number("wait_days", wait_days, 1) if wait_days is not None else None
        self._check_function(function)
        self.name = staging_name(self.title_, self.types)
        self.__doc__ = getattr(function, "__doc__", None)

    def __call__(self, day: dt.date) -> Any:
        """What the function itself returns."""
        return self.function(day)

    @property
    def _subject(self) -> str:
        return f"source {self.title_}"

    def _check_function(self, function: object) -> None:
        if not callable(function) or isinstance(function, type):
            self._problem("bad-source", f"@source stands above a function f(day), got {type(function).__name__}.")
            return
        if not is_plain(self.title_):
            self._problem("bad-name", "a function source needs a name of its own; write it with def.")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            self._problem("bad-source", "the function is async; write it with def, a fold calls it and waits.")
        try:
            inspect.signature(function).bind(dt.date.min)
        except TypeError:
            self._problem("bad-source", "the function is called with one value, the day: def f(day).")
        except ValueError:
            # Some functions written in C do not say what they take.
            return

    def _types(self, columns: object) -> dict[str, Type]:
        example = '@source(columns={"platform": "text", "spend": "numeric(12,2)"})'
        if not isinstance(columns, Mapping) or not columns:
            self._problem(
                "bad-value", "columns maps the names of the rows' columns to their types.", f"Write {example}."
            )
            return {}
        found: dict[str, Type] = {}
        for name, words in columns.items():
            if not isinstance(name, str) or not is_plain(name) or name.lower() == DAY or "__" in name:
                self._problem(
                    "bad-name",
                    f"a column's name is of letters, digits and single '_', and not 'day', got {name!r}.",
                    "The day that is asked for is a column of its own.",
                )
            elif name.lower() in {one.lower() for one in found}:
                self._problem(
                    "duplicate-name",
                    f"the column '{name}' is there twice; databases do not tell upper and lower case apart.",
                )
            elif not isinstance(words, str) or (type_ := declared_type(words)) is None:
                near = (
                    suggestion(str(words).partition("(")[0], [*DECLARED, "numeric"]) if isinstance(words, str) else ""
                )
                self._problem(
                    "bad-value",
                    f"the column '{name}' has no type {words!r}{near}.",
                    f"Types: {listing(_TYPES)}, p up to 38 digits, s of them after the point",
                )
            else:
                found[name] = type_
        return found

    def _since(self, since: object) -> dt.date | None:
        if isinstance(since, str):
            try:
                return dt.date.fromisoformat(since)
            except ValueError:
                self._problem("bad-date", f"since is a date written YYYY-MM-DD, got {since!r}.")
                return None
        if since is None or (isinstance(since, dt.date) and not isinstance(since, dt.datetime)):
            return since
        self._problem("bad-date", f"since is a date written YYYY-MM-DD, got {since!r}.")
        return None

    def _number(self, what: str, days: object, least: int) -> int:
        if isinstance(days, bool) or not isinstance(days, int) or not least <= days <= _MOST_DAYS:
            self._problem("bad-value", f"{what} is a number of days from {least} to {_MOST_DAYS}, got {days!r}.")
            return LOOKBACK_DAYS
        return days

    @property
    def described(self) -> dict[str, Type]:
        """The columns of its facts: the day that was asked for, and those that are declared."""
        return {DAY: DATE, **self.types}

    @property
    def staging(self) -> str:
        """The table of the store that holds what was fetched; other columns have another table."""
        assert self.name is not None
        return self.name

    @property
    def reports_changes(self) -> bool:
        """What is fetched is marked where it differs from what was there."""
        return True

    @property
    def label(self) -> str:
        """The function's name."""
        return self.title_

    @property
    def title(self) -> str:
        """The function's name."""
        return self.title_

    @property
    def identity(self) -> tuple[Any, ...]:
        """Its name, its columns and the line it stands on: two functions of one name are two sources."""
        return ("function", self.name, self.place)

    def as_words(self) -> list[Any]:
        """What decides its rows: the table that holds them, which is named by function and columns."""
        return [None, self.name, None, [[name, str(type_)] for name, type_ in self.types.items()], "function"]

    def __repr__(self) -> str:
        return f"source {self.title_}"


def staging_name(name: str, types: Mapping[str, Type]) -> str:
    """The table that holds what a function of these columns returned.

    >>> staging_name("ad_spend", {"platform": declared_type("text")})
    'dayfold__source_ad_spend_df51cc'
    """
    words = json.dumps([name, [[one, str(type_)] for one, type_ in types.items()]])
    mark = hashlib.sha256(words.encode()).hexdigest()[:6]
    return f"{fitted(f'{PREFIX}{name.lower()}', 63 - len(mark) - 1)}_{mark}"


def source(
    columns: object = None,
    *,
    since: dt.date | str | None = None,
    lookback: int = LOOKBACK_DAYS,
    wait_days: int | None = None,
    **unknown: Any,
) -> Any:
    """A decorator: the function below it is a source, whose facts for a day are the rows that it returns for it.

    Rows are dicts, tuples in the order of the columns, or an Arrow table. ``[]`` is a day without facts; `NotReady` says
    that the day's facts are not there yet. Their moment is ``at="day"``.

    Args:
        columns: Names of the rows' columns with their types: text, bigint, boolean, date, timestamptz, uuid,
            numeric(p,s), double precision, json.
        since: The first day to ask for. Default: the rollup's ``since``, else ``lookback`` days before the first fold.
        lookback: Days before today that every fold asks for again, for corrections.
        wait_days: After how many days one that is not ready counts as failed and is asked for no more. Default: never.
        unknown: Any other is a mistake, told with all others.

    >>> @source(columns={"platform": "text", "spend": "numeric(12,2)"}, since="2026-01-01")
    ... def ad_spend(day):
    ...     return [{"platform": "tiktok", "spend": "12.50"}]
    >>> ad_spend
    source ad_spend
    >>> ad_spend(dt.date(2026, 1, 1))
    [{'platform': 'tiktok', 'spend': '12.50'}]
    """
    place = caller()
    if callable(columns):
        # Written without its brackets: told with what it needs.
        return FunctionSource(columns, place)

    def decorate(function: object) -> FunctionSource:
        return FunctionSource(
            function, place, columns=columns, since=since, lookback=lookback, wait_days=wait_days, unknown=unknown
        )

    return decorate
