"""Answers questions about the entities of a profile: standing and rows are read in one snapshot. Query floor."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dayfold.define.source import Table
from dayfold.define.types import Kind, Type
from dayfold.engines.base import Session
from dayfold.errors import NoSuchEntity, QueryRefused
from dayfold.ledger import versions
from dayfold.ledger.ledger import Ledger
from dayfold.query.known import Known, known
from dayfold.query.profile_request import ProfileRequest
from dayfold.query.profile_rows import ProfileRows, place_read, place_text
from dayfold.query.profile_standing import ProfileStanding, is_waiting, waiting
from dayfold.query.profile_standing import standing as standing_of
from dayfold.query.run import MAX_ROWS, narrowed

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of an answer that are read at once.
_FEW = 5_000


@dataclass(frozen=True)
class ProfileAnswer:
    """Rows of a profile, and what has to be said with them.

    Attributes:
        table: The rows as Arrow, moments in UTC; a list of values is JSON text there, and a list in `rows`.
        documents: The columns that hold such lists.
        next: The place that the next page begins at; None at the end.
    """

    request: ProfileRequest
    table: pa.Table
    documents: frozenset[str]
    standing: ProfileStanding
    next: str | None = None

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        found: list[dict[str, Any]] = self.table.to_pylist()
        for name in self.documents:
            for row in found:
                if row[name] is not None:
                    row[name] = json.loads(row[name], parse_float=Decimal)
        return found

    @property
    def found(self) -> dict[str, Any]:
        """The one row that was asked for by its key. Raises NoSuchEntity."""
        if self.row is None:
            raise NoSuchEntity(
                f"{self.request.profile.name} has no entity of this key.",
                hint="It has one once a source has a fact of it, and the next fold is done.",
            )
        return self.row

    @property
    def row(self) -> dict[str, Any] | None:
        """The one row that was asked for by its key; None where there is no such entity."""
        return self.rows[0] if self.rows else None

    def said(self) -> dict[str, Any]:
        """What stands beside the rows in JSON."""
        found = {"profile": self.request.profile.name, **self.standing.as_object()}
        return found | ({"next": self.next} if self.next is not None else {})

    def as_object(self) -> dict[str, Any]:
        """The answer for JSON: ``rows``, or the one ``row``, and beside them what has to be said."""
        return {**self.said(), **({"rows": self.rows} if self.request.key is None else {"row": self.row})}


def answer(ledger: Ledger, request: ProfileRequest, *, told_waiting: bool | None = None) -> ProfileAnswer:
    """The answer to a question.

    Args:
        ledger: Of the store.
        request: The question.
        told_waiting: Whether a change waits to be folded, where the caller has looked already.

    Raises:
        QueryRefused: when the profile was never folded, a column's definition was edited since, or there are too many rows;
            UsageError: for a value that is not of its column's type.
    """
    place = None if request.after is None else place_read(request.mark, request.after)
    with snapshot(ledger, request) as seen:
        session, found, types = seen.session, seen.found, seen.types
        rows = ProfileRows(request, found.version.table, ledger.store.schema, types, ledger.store.dialect)
        most = request.limit or MAX_ROWS
        query = rows.page(most + 1, place) if request.key is None else rows.one()
        table = session.arrow(query, rows.columns, few=most <= _FEW or request.key is not None)
        number = found.version.number
        waits = told_waiting
        if waits is None:
            waits = seen.waits and is_waiting(ledger, session, request, number, types)
        stands = standing_of(request, found, found.lives(ledger, session), is_waiting=waits)
    following = None
    if table.num_rows > most:
        if request.limit is None:
            raise QueryRefused(
                f"The answer has more than {MAX_ROWS:,} rows; no more are given at once.",
                hint=f"Take it page by page with limit, or as a file: dayfold export profile {request.profile.name}",
            )
        table = table.slice(0, most)
        following = place_text(request.mark, rows.place_of(table, most - 1))
    if request.count_by:
        table = narrowed(table)
    documents = frozenset(name for name, type_ in rows.selected.items() if type_.kind is Kind.JSON)
    return ProfileAnswer(request, shown(table, rows), documents, stands, following)


def size(ledger: Ledger, request: ProfileRequest) -> int:
    """How many entities a question finds. Raises QueryRefused, UsageError, as its answer."""
    with snapshot(ledger, request) as seen:
        rows = ProfileRows(request, seen.found.version.table, ledger.store.schema, seen.types, ledger.store.dialect)
        return int(seen.session.rows(rows.size())[0][0])


def looked(ledger: Ledger, request: ProfileRequest, standing: object) -> bool | None:
    """Whether a change waits to be folded, as far as the caller may know; None where an answer has to look itself.

    ``standing``: how the profile was seen to stand.
    """
    found = ledger.kept.get(request.profile.name)
    types = (
        ledger.types.get(found.version.identity) if isinstance(found, Known) and found.standing == standing else None
    )
    if types is None or not isinstance(found, Known):
        return None
    query = waiting(ledger, request, found.version.number, types)
    return query is not None and bool(ledger.store.peek(query))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A profile in one snapshot. ``types``: of the columns of its table; ``waits``: whether a change of it may wait to be folded."""

    session: Session
    found: Known
    types: Mapping[str, Type]
    waits: bool


@contextlib.contextmanager
def snapshot(ledger: Ledger, request: ProfileRequest) -> Iterator[Snapshot]:
    """One snapshot of a profile that has what is asked for, as it stands, with the types of its columns. Raises QueryRefused."""
    ledger.store.open()
    while True:
        with ledger.store.transaction(read_only=True) as session:
            stands, waits = None, True
            if request.profile.name in ledger.kept:
                stands, waits = versions.waiting_of(ledger, session, request.profile.name)
            found = folded(ledger, session, request, stands)
            types = ledger.types.get(found.version.identity)
            if types is not None:
                _check_columns(request, types)
                yield Snapshot(session, found, types, waits)
                return
        table = Table(f"{ledger.store.schema}.{found.version.table}")
        ledger.types[found.version.identity] = ledger.store.describe(table)


def folded(
    ledger: Ledger, session: Session, request: ProfileRequest, standing: versions.Standing | None = None
) -> Known:
    """The profile as it stands, which must have what is asked for. Raises QueryRefused. ``standing``: how it does, where that was read."""
    profile = request.profile
    found = known(ledger, session, profile.name, standing)
    if found is None:
        raise QueryRefused(f"{profile.name} was never folded.", hint=f"Run: dayfold fold {profile.name}")
    metrics, others = found.edited(profile)
    if edited := [*(name for name in request.named if name in metrics), *others]:
        raise _edited(request, edited)
    return found


def _check_columns(request: ProfileRequest, types: Mapping[str, Type]) -> None:
    if absent := [name for name in request.named if name not in types]:
        raise _edited(request, absent)


def _edited(request: ProfileRequest, names: list[str]) -> QueryRefused:
    return QueryRefused(
        f"The definition of {request.profile.name} was edited since it was folded: {', '.join(names)}.",
        hint=f"Run: dayfold fold {request.profile.name}",
    )


def shown(table: pa.Table, rows: ProfileRows) -> pa.Table:
    """Rows as they are given out: what a place was made of is gone, and moments are in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = table.select(list(rows.selected))
    for place, one in enumerate(table.schema):
        if pa.types.is_timestamp(one.type):
            aware = table.column(place)
            aware = pc.assume_timezone(aware, "UTC") if one.type.tz is None else aware
            table = table.set_column(place, one.name, pc.cast(aware, pa.timestamp("us", tz="UTC")))
    return table
