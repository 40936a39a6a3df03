"""How a profile stands whose rows are told: as of which day, and what of it is not the last word. Query floor.

Weakness: of a source that cannot report changes nobody knows what changed since its last fold.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dayfold.define.profile import time_driven
from dayfold.define.types import Type
from dayfold.engines.base import Session
from dayfold.ledger.coverage import FAILED, LifeCover
from dayfold.ledger.ledger import Ledger
from dayfold.plan.cells import encoded
from dayfold.plan.comparisons import cast_name, value_of
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, remembered, sql, table
from dayfold.query.known import Known
from dayfold.query.profile_request import ProfileRequest, sources_of

#: Why values may not be the last word although their source was read.
CHANGED = "changed since it was folded"
SOME_CHANGED = "some entities changed since they were folded"


@dataclass(frozen=True, slots=True)
class Lack:
    """Columns of which something has to be said, and why."""

    reason: str
    columns: tuple[str, ...]

    def as_object(self) -> dict[str, Any]:
        """The lack for JSON."""
        return {"reason": self.reason, "columns": list(self.columns)}


@dataclass(frozen=True, slots=True)
class ProfileStanding:
    """How a profile stands.

    Attributes:
        as_of: The day that `now()` was when its rows were computed, the earliest of its sources'; None where nothing depends on it.
        folded_at: When a source was last read whole, the earliest of them, in UTC; None where that is not the caller's to know.
        missing: Columns that are null because their source could not be read; ``stale``: those that show older values.
    """

    as_of: dt.date | None
    folded_at: str | None
    revision: int | None
    missing: tuple[Lack, ...]
    stale: tuple[Lack, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every value is the last word, as far as the sources told."""
        return not (self.missing or self.stale)

    def as_object(self) -> dict[str, Any]:
        """The standing for JSON."""
        found: dict[str, Any] = {"as_of": self.as_of}
        if self.revision is not None:
            found |= {"folded_at": self.folded_at, "revision": self.revision}
        found["complete"] = self.is_complete
        found |= {
            "missing": [one.as_object() for one in self.missing],
            "stale": [one.as_object() for one in self.stale],
        }
        return found

    def remarks(self) -> list[str]:
        """What has to be said with the rows, a line each."""
        lines = [f"missing: {', '.join(one.columns)}: {one.reason}" for one in self.missing]
        return lines + [f"stale: {', '.join(one.columns)}: {one.reason}" for one in self.stale]


def standing(request: ProfileRequest, found: Known, lives: Sequence[LifeCover], *, is_waiting: bool) -> ProfileStanding:
    """How a profile stands for a question. ``is_waiting``: whether a change waits to be folded."""
    limited = request.is_limited
    missing, stale = _unread(request, lives)
    days = [one.as_of for one in lives if one.as_of is not None]
    as_of = min(days, default=None)
    if as_of is not None and as_of != request.today:
        moved = [name for name in time_driven(request.profile) if name in request.columns]
        if moved:
            stale.setdefault(f"as of {as_of}", []).extend(moved)
    if is_waiting:
        stale[CHANGED if request.key is not None else SOME_CHANGED] = list(request.columns)
    moments = [one.folded_at for one in lives if one.folded_at is not None]
    return ProfileStanding(
        as_of, None if limited else min(moments, default=None), None if limited else found.version.revision,
        _lacks(missing), _lacks(stale),
    )  # fmt: skip


def _unread(request: ProfileRequest, lives: Sequence[LifeCover]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The columns of sources that could not be read, by reason: those that are null, and those that show older values."""
    missing: dict[str, list[str]] = {}
    stale: dict[str, list[str]] = {}
    covered = {one.source: one for one in lives}
    lacking = {
        one.label for one in request.profile.sources if (it := covered.get(one.label)) is None or it.state == FAILED
    }
    # Mostly none: looking at every column's sources would take a third of what reading an entity does.
    for name in request.columns if lacking else ():
        for source in sorted(lacking & sources_of(request.profile, name)) if name in request.profile.metrics else ():
            one = covered.get(source)
            ever = one is not None and one.folded_at is not None
            why = "never folded" if one is None else "failed" if request.is_limited else f"failed: {one.reason}"
            (stale if ever else missing).setdefault(why, []).append(name)
    return missing, stale


def _lacks(found: dict[str, list[str]]) -> tuple[Lack, ...]:
    return tuple(Lack(reason, tuple(dict.fromkeys(names))) for reason, names in found.items())


def waiting(ledger: Ledger, request: ProfileRequest, version: int, types: Mapping[str, Type]) -> Statement | None:
    """What finds whether a change waits to be folded: of one entity, or of any; None where that is not the caller's to know."""
    dialect, schema = ledger.store.dialect, ledger.store.schema
    mine = "rollup = _rollup and version = _version"
    if request.key is None:
        if request.is_limited:
            return None
        values: list[Any] = []
        test = ""
    else:
        parts = list(zip(request.profile.key, request.key, strict=True))
        values = [value_of(name, text, types[name], dt.date.min) for name, text in parts]
        # A mark without a key is of the rows of others too.
        test = " and key = _key" if request.is_limited else " and (key is null or key = _key)"

    def build() -> Statement:
        bound = Values()
        words: dict[str, Any] = {
            "_rollup": bound.bind(request.profile.name, "text"),
            "_version": bound.bind(version, "bigint"),
        }
        if request.key is not None:
            columns = [Column(name, types[name]) for name in request.profile.key]
            trees = [bound.bind(value, cast_name(one.type)) for one, value in zip(columns, values, strict=True)]
            words["_key"] = encoded(dialect, zip(columns, trees, strict=True))
        return Statement(
            sql(f"select 1 from _m where {mine}{test} limit 1", _m=table("dayfold__marks", schema), **words), bound
        )

    key = ("waiting", request.profile.key, tuple(types[name] for name in request.profile.key), test, schema)
    return remembered(key, [request.profile.name, version, *values], build)


def is_waiting(
    ledger: Ledger, session: Session, request: ProfileRequest, version: int, types: Mapping[str, Type]
) -> bool:
    """Whether a change waits to be folded, as far as the caller may know."""
    query = waiting(ledger, request, version, types)
    return query is not None and bool(session.rows(query))
