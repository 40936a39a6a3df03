"""What engines spell differently, each difference in one place. Plan floor, pure.

Invariant: for equal input both spellings of a piece give equal values; the engine suite pins each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from dayfold.define.types import MAX_DIGITS, Kind, Type
from dayfold.plan.sql import Part, Statement, sql, statement

#: Hashes kept of one bucket's distinct values, the smallest ones.
SET_LIMIT = 16_384
#: Hashes are the first 15 hexadecimal digits of an md5.
HASH_SPACE = 16**15


@dataclass(frozen=True, slots=True)
class Spelling:
    """One piece of SQL in the words of each engine."""

    duckdb: str
    postgres: str


# Text that is to become a value is checked against one grammar, because engines accept different ones
# ('1.5', '1_000', 'now'); what fails it raises an error, and never becomes another value.
_ISO_DAY = r"\d{4}-\d{2}-\d{2}"
_ISO_TIME = r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"
_ISO_ZONE = r"(Z|[+-]\d{2}(:?\d{2})?)"
GRAMMARS = {
    Kind.INT: r"\s*[+-]?\d{1,19}\s*",
    Kind.DECIMAL: r"\s*[+-]?(\d+(\.\d*)?|\.\d+)\s*",
    Kind.FLOAT: r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*",
    Kind.UUID: r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    Kind.DATE: _ISO_DAY,
    Kind.TIMESTAMP: f"{_ISO_DAY}({_ISO_TIME})?",
    Kind.TIMESTAMPTZ: f"{_ISO_DAY}({_ISO_TIME}{_ISO_ZONE}?)?",
}
ISO_WITH_ZONE = f"{_ISO_DAY}{_ISO_TIME}{_ISO_ZONE}"

# DuckDB's utc_date goes through microseconds: 0.04 s for 10 M rows, where a cast under a time zone takes 0.6 s.
PIECES = {
    "divide": Spelling(
        "CAST(_x AS DOUBLE) / NULLIF(CAST(_y AS DOUBLE), 0)",
        "CAST(_x AS double precision) / NULLIF(CAST(_y AS double precision), 0)",
    ),
    "matches": Spelling("REGEXP_FULL_MATCH(_x, _pattern)", "_x ~ _pattern"),
    "fail": Spelling("ERROR('a value cannot be converted')", "'!' || _x"),
    "json_text": Spelling("JSON_EXTRACT_STRING(_x, _path)", "_x ->> _step"),
    "json_value": Spelling("JSON_EXTRACT(_x, _path)", "_x -> _step"),
    "hash": Spelling(
        "CAST('0x' || SUBSTR(MD5(_salt || _x), 1, 15) AS BIGINT)",
        "CAST(CAST('x0' || LEFT(MD5(_salt || _x), 15) AS bit(64)) AS bigint)",
    ),
    "hash_set": Spelling(
        "LIST_SORT(LIST_DISTINCT(LIST(_x) FILTER (WHERE _t)))",
        "ARRAY_AGG(DISTINCT _x ORDER BY _x) FILTER (WHERE _t)",
    ),
    "lower_ascii": Spelling(
        "TRANSLATE(_x, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')",
        "TRANSLATE(_x, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')",
    ),
    "upper_ascii": Spelling(
        "TRANSLATE(_x, 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')",
        "TRANSLATE(_x, 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')",
    ),
    "bytewise": Spelling("_x", '_x COLLATE "C"'),
    "equal": Spelling("_x IS NOT DISTINCT FROM _y", "ARRAY[_x] = ARRAY[_y]"),
    "finite": Spelling("ISFINITE(_x)", "_x NOT IN ('NaN', 'Infinity', '-Infinity')"),
    "float_text": Spelling("CAST(_x AS VARCHAR)", "CAST(_x AS text)"),
    "utc_date": Spelling("CAST(MAKE_TIMESTAMP(EPOCH_US(_x)) AS DATE)", "CAST(_x AT TIME ZONE 'UTC' AS date)"),
    "in_zone": Spelling("_x AT TIME ZONE _zone", "_x AT TIME ZONE _zone"),
    "as_utc": Spelling("CAST(_x AS TIMESTAMPTZ)", "_x AT TIME ZONE 'UTC'"),
    "from_seconds": Spelling(
        "CAST(MAKE_TIMESTAMP(CAST(ROUND(_x * 1000000) AS BIGINT)) AS TIMESTAMPTZ)",
        "CAST('1970-01-01 00:00:00+00' AS timestamptz) + CAST(ROUND(_x * 1000000) AS bigint) * INTERVAL '1 microsecond'",
    ),
    "from_millis": Spelling(
        "CAST(MAKE_TIMESTAMP(CAST(ROUND(_x * 1000) AS BIGINT)) AS TIMESTAMPTZ)",
        "CAST('1970-01-01 00:00:00+00' AS timestamptz) + CAST(ROUND(_x * 1000) AS bigint) * INTERVAL '1 microsecond'",
    ),
    "floor_to": Spelling(
        "TIME_BUCKET(INTERVAL '15 minutes', _x)",
        "DATE_BIN(INTERVAL '15 minutes', _x, CAST('2000-01-01 00:00:00+00' AS timestamptz))",
    ),
    "floor_hour": Spelling(
        "TIME_BUCKET(INTERVAL '60 minutes', _x)",
        "DATE_BIN(INTERVAL '60 minutes', _x, CAST('2000-01-01 00:00:00+00' AS timestamptz))",
    ),
    "last_value": Spelling(
        "ARG_MAX(_x, ROW(_at, _x)) FILTER (WHERE NOT _x IS NULL)",
        "(ARRAY_AGG(_x ORDER BY _at DESC, _x DESC) FILTER (WHERE NOT _x IS NULL))[1]",
    ),
    "any_of": Spelling("ANY_VALUE(_x)", "MAX(_x)"),
    "exploded": Spelling("UNNEST(_x)", "UNNEST(_x)"),
    "iso_moment": Spelling("STRFTIME(_x, '%Y-%m-%dT%H:%M:%SZ')", 'TO_CHAR(_x, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\')'),
    "smallest": Spelling(f"_x[1:{SET_LIMIT}]", f"_x[1:{SET_LIMIT}]"),
    "set_size": Spelling("LEN(_x)", "CARDINALITY(_x)"),
    "set_last": Spelling("LIST_LAST(_x)", "_x[CARDINALITY(_x)]"),
    "days_between": Spelling(
        "SELECT CAST(d AS DATE) AS day FROM UNNEST(GENERATE_SERIES(CAST(_x AS TIMESTAMP), CAST(_y AS TIMESTAMP), INTERVAL '1 day')) AS s(d)",
        "SELECT CAST(d AS date) AS day FROM GENERATE_SERIES(CAST(_x AS timestamp), CAST(_y AS timestamp), INTERVAL '1 day') AS s(d)",
    ),
}

_TYPES = {
    Kind.BOOL: Spelling("BOOLEAN", "boolean"),
    Kind.INT: Spelling("BIGINT", "bigint"),
    Kind.FLOAT: Spelling("DOUBLE", "double precision"),
    Kind.TEXT: Spelling("VARCHAR", "text"),
    Kind.UUID: Spelling("UUID", "uuid"),
    Kind.DATE: Spelling("DATE", "date"),
    Kind.TIMESTAMP: Spelling("TIMESTAMP", "timestamp"),
    Kind.TIMESTAMPTZ: Spelling("TIMESTAMPTZ", "timestamptz"),
    Kind.JSON: Spelling("JSON", "jsonb"),
    Kind.HASHES: Spelling("BIGINT[]", "bigint[]"),
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One engine's spelling."""

    name: str

    def type_name(self, type_: Type) -> str:
        """How the engine names a type in DDL and casts."""
        if type_.kind is Kind.DECIMAL:
            digits = type_.precision or MAX_DIGITS
            return f"NUMERIC({digits}, {type_.scale or 0})"
        return str(getattr(_TYPES[type_.kind], self.name))

    def data_type(self, type_: Type) -> exp.DataType:
        """The type as a tree."""
        return exp.DataType.build(self.type_name(type_), dialect=self.name)

    def cast(self, tree: exp.Expr, type_: Type) -> exp.Expr:
        """A cast to a type of ours."""
        return exp.Cast(this=tree.copy(), to=self.data_type(type_))

    def piece(self, what: str, **parts: Part) -> exp.Expr:
        """A named piece with its parts."""
        return sql(getattr(PIECES[what], self.name), self.name, **parts)

    def sql(self, text: str, **parts: Part) -> exp.Expr:
        """A template in this engine's own words."""
        return sql(text, self.name, **parts)

    def statement(self, text: str, **parts: Any) -> Statement:
        """A statement in this engine's own words."""
        return statement(text, self.name, **parts)


DUCKDB = Dialect("duckdb")
POSTGRES = Dialect("postgres")
