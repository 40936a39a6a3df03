"""Events as rows of the log. Collect floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from dayfold.collect.event import Event, row_of
from dayfold.define.events import COLUMNS
from dayfold.define.types import Kind, Type

if TYPE_CHECKING:
    import pyarrow as pa

_PORTION = 1_000


def as_batch(events: Sequence[Event], entities: Mapping[str, Type]) -> pa.Table:
    """The rows of some events, with their digests."""
    import pyarrow as pa

    # In portions that a processor's cache can hold.
    parts = [_part(events[start : start + _PORTION], entities) for start in range(0, len(events), _PORTION)]
    return pa.concat_tables(parts or [_part(events, entities)])


def _part(events: Sequence[Event], entities: Mapping[str, Type]) -> pa.Table:
    import pyarrow as pa

    count = len(events)
    names = [*COLUMNS, *entities]
    types = [*COLUMNS.values(), *entities.values()]
    # No rows have no columns to turn: a request may bring nothing but what is held back.
    told: list[tuple[Any, ...]] = list(zip(*map(row_of, events), strict=True)) or [()] * len(COLUMNS)
    told += list(zip(*(one.entities for one in events), strict=True)) or [()] * len(entities)
    columns = [_array(values, type_, count) for values, type_ in zip(told, types, strict=True)]
    columns.append(pa.array([one.digest for one in events], pa.int64()))
    return pa.table(columns, [*names, "digest"])


def _array(values: tuple[Any, ...], type_: Type, count: int) -> pa.Array:
    import pyarrow as pa

    kind = _arrow(type_)
    if not any(values) and values.count(None) == count:
        return pa.nulls(count, kind)
    if type_.kind is Kind.TIMESTAMPTZ:
        # As whole microseconds, which are read as moments without looking at each.
        return pa.array(values, pa.int64()).view(kind)
    if type_.kind is Kind.DATE:
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)


@cache
def _arrow(type_: Type) -> pa.DataType:
    from dayfold.engines.csv import arrow_type

    return arrow_type(type_)
