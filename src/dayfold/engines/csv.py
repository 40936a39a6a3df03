"""Arrow to PostgreSQL's CSV and back, whole columns at a time. Engines floor.

NULL is an empty field and an empty text is ``""``, as both sides write and read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from dayfold.define.types import MAX_DIGITS, Kind, Type
from dayfold.plan.shape import Column

_ARROW = {
    Kind.BOOL: pa.bool_(),
    Kind.INT: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.TEXT: pa.string(),
    Kind.UUID: pa.string(),
    Kind.JSON: pa.string(),
    Kind.DATE: pa.date32(),
    Kind.TIMESTAMP: pa.timestamp("us"),
    Kind.TIMESTAMPTZ: pa.timestamp("us", tz="UTC"),
    Kind.HASHES: pa.list_(pa.int64()),
}


def arrow_type(type_: Type) -> pa.DataType:
    """The Arrow type of a column.

    >>> from dayfold.define.types import decimal
    >>> arrow_type(decimal(12, 2))
    Decimal128Type(decimal128(12, 2))
    """
    if type_.kind is Kind.DECIMAL:
        return pa.decimal128(type_.precision or MAX_DIGITS, type_.scale or 0)
    return _ARROW[type_.kind]


def from_csv(text: bytes, columns: Sequence[Column]) -> pa.Table:
    """A table from what ``COPY … TO STDOUT (FORMAT csv)`` wrote."""
    types = {one.name: pa.string() if one.type.kind is Kind.HASHES else arrow_type(one.type) for one in columns}
    if not text:
        return pa.table({one.name: pa.array([], arrow_type(one.type)) for one in columns})
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(
            column_names=[one.name for one in columns], block_size=max(1 << 20, len(text) + 1)
        ),
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    for place, one in enumerate(columns):
        if one.type.kind is Kind.HASHES:
            table = table.set_column(place, one.name, _hashes(table[one.name]))
    return table


def written(rows: Iterable[Sequence[bytes | None]], columns: Sequence[Column]) -> bytes:
    r"""Fields of a few rows, as PostgreSQL prints them, as ``COPY … TO STDOUT (FORMAT csv)`` would write them.

    >>> from dayfold.define.types import INT, TEXT
    >>> written([[b"1", b"a, b"], [None, b""]], [Column("n", INT), Column("t", TEXT)])
    b'1,"a, b"\n,""\n'
    """
    quoted = [one.type.kind is Kind.HASHES or arrow_type(one.type) == pa.string() for one in columns]
    lines = (b",".join([_field(*pair) for pair in zip(row, quoted, strict=True)]) for row in rows)
    return b"".join([line + b"\n" for line in lines])


def _field(value: bytes | None, is_quoted: bool) -> bytes:
    if value is None:
        return b""
    return b'"' + value.replace(b'"', b'""') + b'"' if is_quoted else value


def _hashes(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """``{1,2}`` as lists of integers."""
    parts = pc.split_pattern(pc.utf8_trim(texts, "{}"), ",")
    return pc.cast(parts, pa.list_(pa.int64()))


def to_csv(rows: pa.Table, columns: Sequence[Column]) -> bytes:
    r"""A table as ``COPY … FROM STDIN (FORMAT csv)`` reads it.

    >>> from dayfold.define.types import INT
    >>> parts = [pa.table({"n": pa.array(values, pa.int64())}) for values in ([], [1])]
    >>> to_csv(pa.concat_tables(parts), [Column("n", INT)])
    b'1\n'
    """
    if rows.num_rows and any(not len(chunk) for one in rows.columns for chunk in one.chunks):
        # Arrow writes memory that it never filled for an empty part that comes first.
        rows = rows.combine_chunks()
    for place, one in enumerate(columns):
        if one.type.kind is Kind.HASHES:
            joined = pc.binary_join(pc.cast(rows.column(place), pa.list_(pa.string())), ",")
            rows = rows.set_column(place, one.name, pc.binary_join_element_wise("{", joined, "}", ""))
    sink = pa.BufferOutputStream()
    csv.write_csv(rows, sink, csv.WriteOptions(include_header=False, quoting_style="needed"))
    return bytes(sink.getvalue())
