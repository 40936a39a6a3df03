"""The column types that definitions speak of, the same for every engine. Definitions floor, pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a column holds, whatever an engine calls it."""

    BOOL = "boolean"
    INT = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    TEXT = "text"
    UUID = "uuid"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    JSON = "json"
    HASHES = "hashes"
    NULL = "null"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Type:
    """A kind and, for decimals, precision and scale in digits (``None``: as many as a value has).

    >>> str(decimal(12, 2))
    'decimal(12,2)'
    """

    kind: Kind
    precision: int | None = None
    scale: int | None = None

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.scale is not None else str(self.kind)

    @property
    def is_number(self) -> bool:
        """Whether arithmetic is defined on it."""
        return self.kind in (Kind.INT, Kind.DECIMAL, Kind.FLOAT)

    @property
    def is_temporal(self) -> bool:
        """Whether it names a day or a moment."""
        return self.kind in (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)


def decimal(precision: int | None, scale: int | None) -> Type:
    """A decimal of so many digits, ``scale`` of them after the point."""
    return Type(Kind.DECIMAL, precision, scale)


BOOL = Type(Kind.BOOL)
INT = Type(Kind.INT)
FLOAT = Type(Kind.FLOAT)
TEXT = Type(Kind.TEXT)
UUID = Type(Kind.UUID)
DATE = Type(Kind.DATE)
TIMESTAMP = Type(Kind.TIMESTAMP)
TIMESTAMPTZ = Type(Kind.TIMESTAMPTZ)
JSON = Type(Kind.JSON)
HASHES = Type(Kind.HASHES)
NULL = Type(Kind.NULL)
OTHER = Type(Kind.OTHER)
#: The widest decimal that every engine has.
MAX_DIGITS = 38

#: The words for types that rows are declared with.
DECLARED = {
    "text": TEXT,
    "bigint": INT,
    "boolean": BOOL,
    "date": DATE,
    "timestamptz": TIMESTAMPTZ,
    "uuid": UUID,
    "double precision": FLOAT,
    "json": JSON,
}
_NUMERIC = re.compile(r"numeric\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)\Z")


def declared_type(words: str) -> Type | None:
    """The type that some words declare, or None where they declare none.

    >>> str(declared_type("numeric(12, 2)")), str(declared_type("bigint")), declared_type("money")
    ('decimal(12,2)', 'integer', None)
    """
    text = " ".join(words.lower().split())
    if digits := _NUMERIC.match(text):
        precision, scale = int(digits[1]), int(digits[2])
        return decimal(precision, scale) if 1 <= precision <= MAX_DIGITS and scale <= precision else None
    return DECLARED.get(text)
