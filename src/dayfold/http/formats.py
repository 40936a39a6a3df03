"""The forms that answers are given in over HTTP: JSON, CSV and Parquet, whole or in pieces. HTTP door."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
#: Rows that are written at once.
_PIECE_ROWS = 10_000
#: Bytes of a file that are sent at once.
_PIECE_BYTES = 1 << 20
_json = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def encoded(value: object) -> bytes:
    """JSON; integers and decimals with all their digits, days as plain dates.

    >>> import datetime as dt
    >>> encoded({"day": dt.date(2026, 1, 2), "sum": Decimal("10.50"), "wide": 2**70})
    b'{"day":"2026-01-02","sum":10.50,"wide":1180591620717411303424}'
    """
    try:
        return _json.encode(value)
    except OverflowError:
        return _json.encode(_wide(value))


def _wide(value: Any) -> Any:
    """Integers beyond 64 bits as decimals, which the encoder writes digit by digit."""
    if isinstance(value, dict):
        return {name: _wide(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_wide(part) for part in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return Decimal(value)
    return value


def pieces(form: str, said: dict[str, Any], rows: pa.Table, documents: frozenset[str] = frozenset()) -> Iterator[bytes]:
    r"""An answer in one of the forms, piece by piece.

    ``said``: what stands beside the rows in JSON; ``documents``: columns whose texts are JSON.

    >>> import pyarrow as pa
    >>> rows = pa.table({"n": [1, None]})
    >>> b"".join(pieces("json", {"to": "b"}, rows)), b"".join(pieces("csv", {}, rows))
    (b'{"to":"b","rows":[{"n":1},{"n":null}]}', b'"n"\n1\n\n')
    """
    match form:
        case "csv":
            yield from _csv(rows)
        case "parquet":
            yield from _parquet(rows)
        case _:
            head = encoded(said)
            yield head[:-1] + (b',"rows":[' if said else b'"rows":[')
            for number, batch in enumerate(rows.to_batches(max_chunksize=_PIECE_ROWS)):
                if batch.num_rows:
                    yield (b"," if number else b"") + encoded(_opened(batch.to_pylist(), documents))[1:-1]
            yield b"]}"


def _opened(rows: list[dict[str, Any]], documents: frozenset[str]) -> list[dict[str, Any]]:
    for name in documents:
        for row in rows:
            if row[name] is not None:
                row[name] = msgspec.Raw(row[name].encode())
    return rows


def _csv(rows: pa.Table) -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow import csv

    header = True
    for piece in rows.to_batches(max_chunksize=_PIECE_ROWS) or [None]:
        sink = pa.BufferOutputStream()
        some = rows.slice(0, 0) if piece is None else pa.Table.from_batches([piece])
        csv.write_csv(some, sink, csv.WriteOptions(include_header=header, quoting_style="needed"))
        header = False
        yield sink.getvalue().to_pybytes()


def _parquet(rows: pa.Table) -> Iterator[bytes]:
    import tempfile

    from pyarrow import parquet

    with tempfile.TemporaryFile() as file:
        parquet.write_table(rows, file)
        file.seek(0)
        while piece := file.read(_PIECE_BYTES):
            yield piece
