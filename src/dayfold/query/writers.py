"""Rows as they are written into files, portion by portion: CSV, JSON lines and Parquet. Query floor.

Integers and decimals keep all their digits, days are plain dates, moments ISO 8601 in UTC. In CSV, NULL is an empty field and the
empty text is ``""``. A text there that a spreadsheet would run as a formula, or that begins with an apostrophe itself, has one
apostrophe before it: taking one off gives the text back.
"""

from __future__ import annotations

from typing import IO, Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

#: How the texts begin that spreadsheets run, wide forms of the same letters too.
_RISKY = "^[=+\\-@\t\r'\uff1d\uff0b\uff0d\uff20]"
_json = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


class Writer(Protocol):
    """Writes one file."""

    def write(self, rows: pa.Table) -> None:
        """Rows of the columns that the writer was made for."""
        ...

    def close(self) -> None:
        """The file is whole; the stream stays open."""
        ...


def writer(form: str, stream: IO[bytes], schema: pa.Schema, documents: frozenset[str] = frozenset()) -> Writer:
    r"""What writes one form into a stream; ``documents``: columns whose texts are JSON.

    >>> import io
    >>> file, rows = io.BytesIO(), pa.table({"a": ["=1+1", "", None], "n": [-1, 2**53 + 1, None]})
    >>> made = writer("csv", file, rows.schema)
    >>> made.write(rows)
    >>> made.close()
    >>> file.getvalue()
    b'"a","n"\n"\'=1+1",-1\n"",9007199254740993\n,\n'
    """
    match form:
        case "csv":
            return _Csv(stream, schema)
        case "jsonl":
            return _JsonLines(stream, documents)
        case _:
            return _Parquet(stream, schema)


class _Csv:
    def __init__(self, stream: IO[bytes], schema: pa.Schema) -> None:
        self.stream = stream
        self._put(schema.empty_table(), header=True)

    def write(self, rows: pa.Table) -> None:
        self._put(as_texts(rows), header=False)

    def _put(self, rows: pa.Table, *, header: bool) -> None:
        sink = pa.BufferOutputStream()
        # Arrow writes memory that it never filled for an empty part that comes first.
        csv.write_csv(rows.combine_chunks(), sink, csv.WriteOptions(include_header=header, quoting_style="needed"))
        self.stream.write(sink.getvalue().to_pybytes())

    def close(self) -> None:
        """Nothing ends a CSV file."""


def as_texts(rows: pa.Table) -> pa.Table:
    """Rows as CSV has them: moments as texts in UTC, and no text that a spreadsheet would run."""
    for place, one in enumerate(rows.schema):
        column = rows.column(place)
        if pa.types.is_timestamp(one.type):
            # A tenth of the time that formatting them takes.
            texts = pc.cast(pc.cast(column, pa.timestamp("us")), pa.string())
            column = pc.binary_join_element_wise(pc.replace_substring(texts, " ", "T"), "Z", "")
        elif pa.types.is_string(one.type) or pa.types.is_large_string(one.type):
            risky = pc.match_substring_regex(column, _RISKY)
            if not pc.any(risky).as_py():
                continue
            column = pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)
        else:
            continue
        rows = rows.set_column(place, one.name, column)
    return rows


class _JsonLines:
    def __init__(self, stream: IO[bytes], documents: frozenset[str]) -> None:
        self.stream = stream
        self.documents = documents

    def write(self, rows: pa.Table) -> None:
        found = rows.to_pylist()
        for name in self.documents & set(rows.column_names):
            for row in found:
                row[name] = _document(row[name])
        self.stream.write(_json.encode_lines(found))

    def close(self) -> None:
        """Nothing ends JSON lines."""


def _document(text: str | None) -> Any:
    """A document as it was kept, digit by digit, on one line."""
    if text is None:
        return None
    return msgspec.Raw(msgspec.json.format(text, indent=-1).encode() if "\n" in text or "\r" in text else text.encode())


class _Parquet:
    def __init__(self, stream: IO[bytes], schema: pa.Schema) -> None:
        self.schema = schema
        self.file = parquet.ParquetWriter(stream, schema)

    def write(self, rows: pa.Table) -> None:
        self.file.write_table(rows.cast(self.schema))

    def close(self) -> None:
        self.file.close()
