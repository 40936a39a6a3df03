"""What a function returned, as typed columns. Fold floor.

Invariant: rows that pass hold every declared column and no other, each value of the declared type; a message about those that
do not names the column and never a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from dayfold.define.types import Kind, Type
from dayfold.engines.csv import arrow_type
from dayfold.names import listing, suggestion
from dayfold.plan.dialect import GRAMMARS


class RowsWrong(Exception):
    """Rows are not as they are declared."""


def typed_rows(found: object, types: Mapping[str, Type]) -> pa.Table:
    """Rows as a table with the declared columns, in their order.

    Args:
        found: Dicts, tuples in the order of the columns, or anything that Arrow reads as a table.
        types: The declared columns.

    Raises:
        RowsWrong: naming the column.

    >>> from dayfold.define.types import INT, decimal
    >>> typed_rows([{"spend": "12.5", "clicks": 3}], {"spend": decimal(12, 2), "clicks": INT}).to_pylist()
    [{'spend': Decimal('12.50'), 'clicks': 3}]
    """
    columns = _columns(found, types)
    return pa.table({name: _typed(name, columns[name], type_) for name, type_ in types.items()})


def _columns(found: object, types: Mapping[str, Type]) -> Mapping[str, Any]:
    """The values of each declared column."""
    if isinstance(found, pa.Table | pa.RecordBatch) or hasattr(found, "__arrow_c_stream__"):
        table = pa.table(found)
        _check_names(table.column_names, types)
        return {name: table.column(name) for name in types}
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        raise RowsWrong(f"it returned {_kind(found)}; expected rows, [] for a day without facts")
    rows = list(found)
    if all(isinstance(row, Mapping) for row in rows):
        _check_names(set[str]().union(*rows) if rows else types, types)
        try:
            return {name: [row[name] for row in rows] for name in types}
        except KeyError as error:
            raise RowsWrong(f"a row lacks the column '{error.args[0]}'") from None
    if not all(isinstance(row, tuple | list) for row in rows):
        raise RowsWrong("a row is neither a dict nor a tuple, or the rows are not of one kind")
    wrong = {len(row) for row in rows} - {len(types)}
    if wrong:
        raise RowsWrong(f"a row has {min(wrong)} values; expected {len(types)}: {listing(types)}")
    return dict(zip(types, zip(*rows, strict=True), strict=True)) if rows else {name: [] for name in types}


def _kind(found: object) -> str:
    return "nothing (None)" if found is None else f"one {type(found).__name__}"


def _check_names(names: Iterable[object], types: Mapping[str, Type]) -> None:
    have = [str(name) for name in names]
    unknown = sorted(name for name in have if name not in types)
    if unknown:
        near = suggestion(unknown[0], types)
        raise RowsWrong(f"a row has the column '{unknown[0]}', which is not declared{near}")
    if missing := [name for name in types if name not in have]:
        raise RowsWrong(f"a row lacks the column '{missing[0]}'")


def _typed(name: str, values: Any, type_: Type) -> pa.ChunkedArray | pa.Array:
    """One column's values in its type."""
    try:
        found = _READERS[type_.kind](values, type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, ArithmeticError):
        found = None
    if found is None:
        raise RowsWrong(f"a value of the column '{name}' is no {_said(type_)}")
    return found


def _said(type_: Type) -> str:
    """A type as it is declared."""
    words = {Kind.INT: "bigint", Kind.FLOAT: "double precision (NaN and infinity are none)"}
    if type_.kind is Kind.DECIMAL:
        return f"numeric({type_.precision},{type_.scale})"
    return words.get(type_.kind, str(type_.kind))


def _plain(values: Any) -> pa.ChunkedArray | pa.Array:
    """The values in the type that they have of themselves."""
    return values if isinstance(values, pa.ChunkedArray | pa.Array) else pa.array(values)


def _listed(values: Any) -> Sequence[Any]:
    """The values one by one."""
    found: Sequence[Any] = values.to_pylist() if isinstance(values, pa.ChunkedArray | pa.Array) else values
    return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _in_grammar(texts: Any, kind: Kind) -> bool:
    """Whether texts are written as the engines' casts take them."""
    matches = pc.match_substring_regex(texts, f"^(?:{GRAMMARS[kind]})$")
    return pc.all(matches).as_py() is not False


def _same(*accepted: Callable[[pa.DataType], bool]) -> Callable[[Any, Type], Any]:
    """A reader of values that are of the type already, or are all null."""

    def read(values: Any, type_: Type) -> Any:
        found = _plain(values)
        if not (pa.types.is_null(found.type) or any(one(found.type) for one in accepted)):
            return None
        return found.cast(arrow_type(type_))

    return read


def _text(values: Any, type_: Type) -> Any:
    """Texts without the character 0, which PostgreSQL has none of."""
    found = _same(_is_text)(values, type_)
    return found if found is not None and pc.any(pc.match_substring(found, "\0")).as_py() is not True else None


def _written(kind: pa.DataType) -> bool:
    """Whether values of a kind are read through their text."""
    return _is_text(kind) or pa.types.is_null(kind)


def _integer(values: Any, type_: Type) -> Any:
    found = _plain(values)
    if _is_text(found.type) and not _in_grammar(found, Kind.INT):
        return None
    kinds = (pa.types.is_integer, pa.types.is_decimal, pa.types.is_floating)
    if not _written(found.type) and not any(one(found.type) for one in kinds):
        return None
    return found.cast(pa.int64())


def _decimal(values: Any, type_: Type) -> Any:
    """Through the text of each number, so that a float is the decimal it shows."""
    if isinstance(values, pa.ChunkedArray | pa.Array):
        kinds = (pa.types.is_integer, pa.types.is_decimal, pa.types.is_floating)
        if not _written(values.type) and not any(one(values.type) for one in kinds):
            return None
        texts = values.cast(pa.string())
    else:
        texts = pa.array([None if value is None else _number(value) for value in values], pa.string())
    if not _in_grammar(texts, Kind.FLOAT):
        return None
    return texts.cast(arrow_type(type_))


def _number(value: object) -> str:
    if isinstance(value, bool):
        raise TypeError
    return str(value)


def _float(values: Any, type_: Type) -> Any:
    if not isinstance(values, pa.ChunkedArray | pa.Array):
        values = pa.array([None if value is None else float(_number(value)) for value in values], pa.float64())
    kinds = (pa.types.is_integer, pa.types.is_decimal, pa.types.is_floating)
    if not pa.types.is_null(values.type) and not any(one(values.type) for one in kinds):
        return None
    found = values.cast(pa.float64())
    return found if pc.all(pc.is_finite(found)).as_py() is not False else None


def _date(values: Any, type_: Type) -> Any:
    found = _plain(values)
    if _is_text(found.type) and not _in_grammar(found, Kind.DATE):
        return None
    return found.cast(pa.date32()) if _written(found.type) or pa.types.is_date(found.type) else None


def _moment(values: Any, type_: Type) -> Any:
    """Moments with their offset: without one, a moment is not known."""
    found = _plain(values)
    aware = pa.types.is_timestamp(found.type) and found.type.tz is not None
    if _is_text(found.type) and not _in_grammar(found, Kind.TIMESTAMPTZ):
        return None
    return found.cast(arrow_type(type_)) if _written(found.type) or aware else None


def _uuid(values: Any, type_: Type) -> Any:
    texts = pa.array([str(one) if isinstance(one, UUID) else one for one in _listed(values)], pa.string())
    return pc.utf8_lower(texts) if _in_grammar(texts, Kind.UUID) else None


def _json(values: Any, type_: Type) -> Any:
    """Texts are JSON that is written already; anything else is written as JSON."""
    return pa.array([None if one is None else _document(one) for one in _listed(values)], pa.string())


def _document(value: object) -> str:
    """A JSON document; NaN is none."""
    text = json.dumps(json.loads(value) if isinstance(value, str) else value, allow_nan=False, sort_keys=True)
    if "\\u0000" in text:
        raise ValueError
    return text


_READERS: dict[Kind, Callable[[Any, Type], Any]] = {
    Kind.TEXT: _text,
    Kind.BOOL: _same(pa.types.is_boolean),
    Kind.INT: _integer,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.DATE: _date,
    Kind.TIMESTAMPTZ: _moment,
    Kind.UUID: _uuid,
    Kind.JSON: _json,
}
