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
    clickhouse: str = ""


# Text that is to become a value is checked against one grammar, because engines accept different ones
# ('1.5', '1_000', 'now'); what fails it raises an error, and never becomes another value.
_ISO_DAY = r"([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[0-9]{2}-[0-9]{2}"
_ISO_TIME = r"[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
_ISO_ZONE = r"(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"
# An exponent is bounded so that no text leaves the range of a double: there, one engine says infinity and another
# an error. Decimals take none: DuckDB refuses some that would fit.
_DIGITS = r"[+-]?([0-9]{1,60}(\.[0-9]{0,60})?|\.[0-9]{1,60})"
_EXPONENT = r"([eE][+-]?([01]?[0-9]{1,2}|2[0-3][0-9]))?"
GRAMMARS = {
    Kind.INT: r"[+-]?[0-9]{1,19}",
    Kind.DECIMAL: _DIGITS,
    Kind.FLOAT: _DIGITS + _EXPONENT,
    Kind.UUID: r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    Kind.DATE: _ISO_DAY,
    Kind.TIMESTAMP: f"{_ISO_DAY}({_ISO_TIME})?",
    Kind.TIMESTAMPTZ: f"{_ISO_DAY}({_ISO_TIME}{_ISO_ZONE}?)?",
}
ISO_WITH_ZONE = f"{_ISO_DAY}{_ISO_TIME}{_ISO_ZONE}"

# No text makes the inner cast succeed. Other types would not do: PostgreSQL reads '!now' as the present moment.
_FAIL_DUCKDB = "ERROR('a value cannot be converted')"
_FAIL_POSTGRES = "CAST(CAST('!' || CAST(_x AS text) AS bigint) AS text)"
_BOOL_FROM_TEXT = (
    "CASE WHEN _x IN ('true', 't', 'yes', 'y', 'on', '1') THEN TRUE "
    "WHEN _x IN ('false', 'f', 'no', 'n', 'off', '0') THEN FALSE WHEN NOT _x IS NULL THEN CAST({} AS BOOLEAN) END"
)
# The text of a JSON value: a string's own, a number below 10^20 with at most 18 digits after the point, without
# trailing zeros or exponent, true, false. An object or an array is an error, because engines write them
# differently. DuckDB parses the document for every function, so the type is only asked for where the text may be
# other than a string's.
_JSON_TEXT_DUCKDB = (
    "CASE WHEN JSON_EXTRACT_STRING(_x, _path) IS NULL THEN NULL "
    "WHEN NOT SUBSTR(JSON_EXTRACT_STRING(_x, _path), 1, 1) IN "
    "('{', '[', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9') THEN JSON_EXTRACT_STRING(_x, _path) "
    f"WHEN JSON_TYPE(_x, _path) IN ('OBJECT', 'ARRAY') THEN {_FAIL_DUCKDB} "
    "WHEN JSON_TYPE(_x, _path) = 'DOUBLE' THEN "
    f"CASE WHEN ABS(CAST(JSON_EXTRACT_STRING(_x, _path) AS DOUBLE)) >= 1e20 THEN {_FAIL_DUCKDB} ELSE REGEXP_REPLACE("
    r"CAST(CAST(JSON_EXTRACT_STRING(_x, _path) AS DECIMAL(38, 18)) AS VARCHAR), '\.?0+$', '') END "
    "ELSE JSON_EXTRACT_STRING(_x, _path) END"
)
_JSON_TEXT_POSTGRES = (
    "CASE JSONB_TYPEOF(CAST(_x -> _step AS jsonb)) "
    f"WHEN 'object' THEN {_FAIL_POSTGRES} WHEN 'array' THEN {_FAIL_POSTGRES} "
    "WHEN 'number' THEN CAST(TRIM_SCALE(CAST(CAST(_x -> _step AS jsonb) AS NUMERIC(38, 18))) AS text) "
    "ELSE _x ->> _step END"
)

# DuckDB's utc_date goes through microseconds: 0.04 s for 10 M rows, where a cast under a time zone takes 0.6 s.
PIECES = {
    "divide": Spelling(
        "CAST(_x AS DOUBLE) / NULLIF(CAST(_y AS DOUBLE), 0)",
        "CAST(_x AS double precision) / NULLIF(CAST(_y AS double precision), 0)",
    ),
    "matches": Spelling("REGEXP_FULL_MATCH(_x, _pattern)", "_x ~ _pattern"),
    "fail": Spelling(_FAIL_DUCKDB, _FAIL_POSTGRES),
    "trimmed": Spelling("TRIM(_x, ' \t\n\v\f\r')", "BTRIM(_x, ' \t\n\v\f\r')"),
    # Engines differ past the sixth digit: one cuts, another rounds, which may even change the day.
    "to_microseconds": Spelling("_x", r"REGEXP_REPLACE(_x, '(\.[0-9]{6})[0-9]+', '\1')"),
    "bool_from_text": Spelling(_BOOL_FROM_TEXT.format(_FAIL_DUCKDB), _BOOL_FROM_TEXT.format(_FAIL_POSTGRES)),
    "json_text": Spelling(_JSON_TEXT_DUCKDB, _JSON_TEXT_POSTGRES),
    "json_value": Spelling("JSON_EXTRACT(_x, _path)", "_x -> _step"),
    "hash": Spelling(
        "CAST('0x' || SUBSTR(MD5(_salt || _x), 1, 15) AS BIGINT)",
        "CAST(CAST('x0' || LEFT(MD5(_salt || _x), 15) AS bit(64)) AS bigint)",
    ),
    "hash_set": Spelling(
        "LIST_SORT(LIST_DISTINCT(LIST(_x) FILTER (WHERE _t)))",
        "ARRAY_AGG(DISTINCT _x ORDER BY _x) FILTER (WHERE _t)",
    ),
    "united_sets": Spelling(
        "LIST_SORT(LIST_DISTINCT(FLATTEN(LIST(_x) FILTER (WHERE _t))))",
        "(SELECT ARRAY_AGG(DISTINCT h ORDER BY h) FROM UNNEST(CAST(STRING_TO_ARRAY("
        "STRING_AGG(ARRAY_TO_STRING(_x, ','), ',') FILTER (WHERE _t), ',') AS bigint[])) AS u(h))",
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
    # What the author of a query gave: a number with all its digits, a double, a truth, or something that has a text.
    "nature": Spelling(
        "CASE WHEN REGEXP_FULL_MATCH(TYPEOF(_x), 'U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL.*') THEN 'number' "
        "WHEN TYPEOF(_x) IN ('FLOAT', 'DOUBLE') THEN 'double' WHEN TYPEOF(_x) = 'BOOLEAN' THEN 'boolean' ELSE 'text' END",
        "CASE WHEN CAST(PG_TYPEOF(_x) AS text) IN ('smallint', 'integer', 'bigint', 'numeric') THEN 'number' "
        "WHEN CAST(PG_TYPEOF(_x) AS text) IN ('real', 'double precision') THEN 'double' "
        "WHEN CAST(PG_TYPEOF(_x) AS text) = 'boolean' THEN 'boolean' ELSE 'text' END",
    ),
    "finite": Spelling("ISFINITE(_x)", "_x NOT IN ('NaN', 'Infinity', '-Infinity')"),
    # The shortest text that reads back as the same double. From 2^53 on engines disagree about it in rare cases, and
    # there the first 15 digits are taken, as PostgreSQL's own cast to numeric does.
    "float_text": Spelling(
        "CASE WHEN ABS(_x) < 9007199254740992 THEN CAST(_x AS VARCHAR) ELSE FORMAT('{:.15g}', _x) END",
        "CASE WHEN ABS(_x) < 9007199254740992 THEN CAST(_x AS text) ELSE CAST(CAST(_x AS numeric) AS text) END",
    ),
    # DuckDB's own conversion of long decimals to double may be off by one unit in the last place.
    "exact_decimal": Spelling("CAST(_x AS VARCHAR)", "_x"),
    # The remainder of the least integer by -1 is an overflow on DuckDB and 0 on PostgreSQL.
    "modulo": Spelling("CAST(CAST(_x AS HUGEINT) % NULLIF(_y, 0) AS BIGINT)", "_x % NULLIF(_y, 0)"),
    "utc_date": Spelling("CAST(MAKE_TIMESTAMP(EPOCH_US(_x)) AS DATE)", "CAST(_x AT TIME ZONE 'UTC' AS date)"),
    # An infinite date is a number like others to DuckDB, and an error to PostgreSQL.
    "days_between": Spelling(
        "CASE WHEN ISFINITE(_x) AND ISFINITE(_y) THEN _x - _y "
        f"WHEN NOT _x IS NULL AND NOT _y IS NULL THEN CAST({_FAIL_DUCKDB} AS BIGINT) END",
        "CAST(_x - _y AS bigint)",
    ),
    "in_zone": Spelling("_x AT TIME ZONE _zone", "_x AT TIME ZONE _zone"),
    "as_utc": Spelling("CAST(_x AS TIMESTAMPTZ)", "_x AT TIME ZONE 'UTC'"),
    "utc_start": Spelling("_x AT TIME ZONE 'UTC'", "_x AT TIME ZONE 'UTC'"),
    # PostgreSQL multiplies intervals in double precision, so seconds and their fraction are taken apart.
    "from_micros": Spelling(
        "CAST(MAKE_TIMESTAMP(_x) AS TIMESTAMPTZ)",
        "(CAST('1970-01-01 00:00:00+00' AS timestamptz) + (_x / 1000000) * INTERVAL '1 second' "
        "+ (_x % 1000000) * INTERVAL '1 microsecond')",
    ),
    "epoch_micros": Spelling("EPOCH_US(_x)", "CAST(EXTRACT(EPOCH FROM _x) * 1000000 AS bigint)"),
    # A set as text: the same hashes with commas between them.
    "set_text": Spelling("TRANSLATE(CAST(_x AS VARCHAR), '[] ', '')", "TRANSLATE(CAST(_x AS text), '{} ', '')"),
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
    # ``_row`` and ``_order`` are the same expressions: what facts are ordered by, among equals the value itself, which is the
    # ``_n``-th. The least row takes two thirds of the time of ARG_MIN by a row.
    "first_of": Spelling(
        "STRUCT_EXTRACT(MIN(ROW(_row)) FILTER (WHERE _w), _n)", "(ARRAY_AGG(_x ORDER BY _order) FILTER (WHERE _w))[1]"
    ),
    "last_of": Spelling(
        "STRUCT_EXTRACT(MAX(ROW(_row)) FILTER (WHERE _w), _n)", "(ARRAY_AGG(_x ORDER BY _order) FILTER (WHERE _w))[1]"
    ),
    "oldest_of": Spelling(
        "LIST(_x ORDER BY _order) FILTER (WHERE _w)", "ARRAY_AGG(_x ORDER BY _order) FILTER (WHERE _w)"
    ),
    "newest_of": Spelling(
        "LIST(_x ORDER BY _order) FILTER (WHERE _w)", "ARRAY_AGG(_x ORDER BY _order) FILTER (WHERE _w)"
    ),
    "json_list": Spelling(
        "CAST('[' || ARRAY_TO_STRING((_x)[1:_n], ',') || ']' AS JSON)",
        "CAST('[' || ARRAY_TO_STRING((_x)[1:_n], ',') || ']' AS jsonb)",
    ),
    # Among equally frequent values both take the first of their order. DuckDB computes equal aggregates once, and a histogram also
    # says how many different values there are.
    "mode": Spelling(
        "MAP_KEYS(HISTOGRAM(_x) FILTER (WHERE _w))[LIST_POSITION(MAP_VALUES(HISTOGRAM(_x) FILTER (WHERE _w)), "
        "LIST_MAX(MAP_VALUES(HISTOGRAM(_x) FILTER (WHERE _w))))]",
        "MODE() WITHIN GROUP (ORDER BY _x) FILTER (WHERE _w)",
    ),
    "commonest": Spelling("STRUCT_EXTRACT(MIN(ROW(-_n, _x)), 2)", "(ARRAY_AGG(_x ORDER BY _n DESC, _x))[1]"),
    "different": Spelling(
        "COALESCE(CARDINALITY(HISTOGRAM(_x) FILTER (WHERE _w)), 0)", "COUNT(DISTINCT _x) FILTER (WHERE _w)"
    ),
    "joined_by": Spelling(
        "STRING_AGG(_x, ',' ORDER BY _by) FILTER (WHERE _w)", "STRING_AGG(_x, ',' ORDER BY _by) FILTER (WHERE _w)"
    ),
    "any_value": Spelling("ANY_VALUE(_x)", "(ARRAY_AGG(_x) FILTER (WHERE NOT _x IS NULL))[1]"),
    "json_empty": Spelling("CAST('{}' AS JSON)", "CAST('{}' AS jsonb)"),
    "any_of": Spelling("ANY_VALUE(_x)", "MAX(_x)"),
    "exploded": Spelling("UNNEST(_x)", "UNNEST(_x)"),
    "iso_moment": Spelling("STRFTIME(_x, '%Y-%m-%dT%H:%M:%SZ')", 'TO_CHAR(_x, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\')'),
    # Keys of cells travel as JSON arrays of texts.
    "json_string": Spelling("CAST(TO_JSON(_x) AS VARCHAR)", "CAST(TO_JSON(_x) AS text)"),
    "json_item": Spelling("JSON_EXTRACT_STRING(_x, _path)", "CAST(_x AS json) ->> _step"),
    "json_items": Spelling("UNNEST(CAST(CAST(_x AS JSON) AS JSON[]))", "JSON_ARRAY_ELEMENTS(CAST(_x AS json))"),
    "digest_total": Spelling(
        "CAST(REGEXP_EXTRACT(_x, '-?[0-9]+$') AS HUGEINT)", "CAST(SUBSTRING(_x FROM '-?[0-9]+$') AS numeric)"
    ),
    "row_hash": Spelling("HASH(_x)", "HASH_RECORD_EXTENDED(ROW(_x), 0)"),
    "hash_kind": Spelling("'duckdb ' || VERSION()", "'postgres ' || CURRENT_SETTING('server_version_num')"),
    "wide_sum_text": Spelling("CAST(SUM(CAST(_x AS HUGEINT)) AS VARCHAR)", "CAST(SUM(CAST(_x AS numeric)) AS text)"),
    "iso_micros": Spelling("STRFTIME(_x, '%Y-%m-%dT%H:%M:%S.%fZ')", 'TO_CHAR(_x, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\')'),
    "clock": Spelling("NOW()", "CLOCK_TIMESTAMP()"),
    "smallest": Spelling(f"_x[1:{SET_LIMIT}]", f"_x[1:{SET_LIMIT}]"),
    "set_size": Spelling("LEN(_x)", "CARDINALITY(_x)"),
    "set_first": Spelling("_x[1]", "_x[1]"),
    # What is taken out of a set leaves a mark where no hash can be, so that it is known to hold less than it counts.
    "reduced_set": Spelling(
        "LIST_SORT(LIST_TRANSFORM(_x, LAMBDA h: CASE WHEN LIST_CONTAINS(_gone, h) THEN -1 ELSE h END))",
        "ARRAY(SELECT CASE WHEN h = ANY(_gone) THEN -1 ELSE h END FROM UNNEST(_x) AS u(h) ORDER BY 1)",
    ),
    "sets_meet": Spelling("LIST_HAS_ANY(_x, _gone)", "_x && _gone"),
    "set_last": Spelling("LIST_LAST(_x)", "_x[CARDINALITY(_x)]"),
}

#: Beside them for facts that anybody may have sent: what cannot be read is NULL there, and no error that ends a fold.
_NOTHING_DUCKDB, _NOTHING_POSTGRES = "CAST(NULL AS VARCHAR)", "CAST(NULL AS text)"
FORGIVING = {
    "fail": Spelling(_NOTHING_DUCKDB, _NOTHING_POSTGRES),
    "bool_from_text": Spelling(_BOOL_FROM_TEXT.format(_NOTHING_DUCKDB), _BOOL_FROM_TEXT.format(_NOTHING_POSTGRES)),
    "json_text": Spelling(
        _JSON_TEXT_DUCKDB.replace(_FAIL_DUCKDB, _NOTHING_DUCKDB),
        "CASE JSONB_TYPEOF(CAST(_x -> _step AS jsonb)) "
        f"WHEN 'object' THEN {_NOTHING_POSTGRES} WHEN 'array' THEN {_NOTHING_POSTGRES} "
        "WHEN 'number' THEN CASE WHEN ABS(CAST(CAST(_x -> _step AS jsonb) AS NUMERIC)) < 1e20 THEN "
        "CAST(TRIM_SCALE(CAST(CAST(_x -> _step AS jsonb) AS NUMERIC(38, 18))) AS text) END ELSE _x ->> _step END",
    ),
}
#: Whole numbers that 64 bits surely hold: all but the last hundredth of those with 19 digits.
SAFE_INT = r"[+-]?([0-9]{1,18}|[0-8][0-9]{18}|9[01][0-9]{17})"

_TYPES = {
    Kind.BOOL: Spelling("BOOLEAN", "boolean", "Bool"),
    Kind.INT: Spelling("BIGINT", "bigint", "Int64"),
    Kind.FLOAT: Spelling("DOUBLE", "double precision", "Float64"),
    Kind.TEXT: Spelling("VARCHAR", "text", "String"),
    Kind.UUID: Spelling("UUID", "uuid", "UUID"),
    Kind.DATE: Spelling("DATE", "date", "Date32"),
    Kind.TIMESTAMP: Spelling("TIMESTAMP", "timestamp", "DateTime64(6, 'UTC')"),
    Kind.TIMESTAMPTZ: Spelling("TIMESTAMPTZ", "timestamptz", "DateTime64(6, 'UTC')"),
    Kind.JSON: Spelling("JSON", "jsonb", "String"),
    Kind.HASHES: Spelling("BIGINT[]", "bigint[]", "Array(Int64)"),
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One engine's spelling.

    Attributes:
        forgiving: Whether a value that cannot be read is NULL: for facts that anybody may have sent.
    """

    name: str
    forgiving: bool = False

    def type_name(self, type_: Type) -> str:
        """How the engine names a type in DDL and casts."""
        if type_.kind is Kind.DECIMAL:
            if self.name == "clickhouse":
                # It has no decimal of any number of digits: as many before the point as after it.
                return f"Decimal({type_.precision or MAX_DIGITS}, {MAX_DIGITS // 2 if type_.scale is None else type_.scale})"
            return "NUMERIC" if type_.scale is None else f"NUMERIC({type_.precision or MAX_DIGITS}, {type_.scale})"
        return str(getattr(_TYPES[type_.kind], self.name))

    def nullable(self, type_: Type) -> str:
        """How the engine names a type whose values may be NULL: ClickHouse says so, and has no NULL of lists."""
        name = self.type_name(type_)
        return f"Nullable({name})" if self.name == "clickhouse" and type_.kind is not Kind.HASHES else name

    def data_type(self, type_: Type) -> exp.DataType:
        """The type as a tree."""
        return exp.DataType.build(self.nullable(type_), dialect=self.name)

    def cast(self, tree: exp.Expr, type_: Type) -> exp.Expr:
        """A cast to a type of ours."""
        return exp.Cast(this=tree.copy(), to=self.data_type(type_))

    def piece(self, what: str, **parts: Part) -> exp.Expr:
        """A named piece with its parts."""
        pieces = FORGIVING if self.forgiving and what in FORGIVING else PIECES
        return sql(getattr(pieces[what], self.name), self.name, **parts)

    def grammar(self, type_: Type) -> str:
        """What a text has to look like to be read as a type; where a value must not fail, it also fits the type's size."""
        if self.forgiving and type_.kind is Kind.INT:
            return SAFE_INT
        if self.forgiving and type_.kind is Kind.DECIMAL and type_.scale is not None:
            # One digit less, which rounding may add.
            whole = (type_.precision or MAX_DIGITS) - type_.scale - 1
            return (
                rf"[+-]?0*([0-9]{{1,{whole}}}(\.[0-9]{{0,60}})?|\.[0-9]{{1,60}})"
                if whole > 0
                else r"[+-]?(0(\.0[0-9]{0,60})?|\.0[0-9]{0,60})"
            )
        return GRAMMARS[type_.kind]

    def matches(self, tree: exp.Expr, grammar: str) -> exp.Expr:
        """Whether the whole of a text fits a grammar."""
        # DuckDB's function matches the whole text; PostgreSQL's operator needs the anchors.
        pattern = grammar if self.name == "duckdb" else f"^({grammar})$"
        return self.piece("matches", _x=tree, _pattern=exp.Literal.string(pattern))

    def sql(self, text: str, **parts: Part) -> exp.Expr:
        """A template in this engine's own words."""
        return sql(text, self.name, **parts)

    def statement(self, text: str, **parts: Any) -> Statement:
        """A statement in this engine's own words."""
        return statement(text, self.name, **parts)


DUCKDB = Dialect("duckdb")
POSTGRES = Dialect("postgres")
CLICKHOUSE = Dialect("clickhouse")
