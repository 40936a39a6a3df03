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
#: What marks a tree that only ClickHouse understands.
FOREIGN = "clickhouse"


@dataclass(frozen=True, slots=True)
class Spelling:
    """One piece of SQL in the words of each engine."""

    duckdb: str
    postgres: str
    clickhouse: str


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
_FAIL_CLICKHOUSE = "toString(toInt64(concat('!', assumeNotNull(toString(_x)))))"
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

_JSON_NUMBER_CLICKHOUSE = (
    f"CASE WHEN abs(JSONExtractFloat(_x, _place)) >= 1e20 THEN {_FAIL_CLICKHOUSE} ELSE "
    r"replaceRegexpOne(toDecimalString(toDecimal128(toString(JSONExtractFloat(_x, _place)), 18), 18), '\\.?0+$', '') END"
)
# A number of more than 64 bits is a string to ClickHouse: one that nowhere stands in quotes.
_JSON_STRING_CLICKHOUSE = (
    "CASE WHEN match(JSONExtractString(_x, _place), '^-?[0-9]{19,}$') "
    "AND position(_x, concat('\"', JSONExtractString(_x, _place), '\"')) = 0 "
    f"THEN {_FAIL_CLICKHOUSE} ELSE JSONExtractString(_x, _place) END"
)
_JSON_TEXT_CLICKHOUSE = (
    "CASE WHEN _x IS NULL OR JSONType(_x, _place) = 'Null' THEN NULL "
    f"WHEN JSONType(_x, _place) IN ('Object', 'Array') THEN {_FAIL_CLICKHOUSE} "
    f"WHEN JSONType(_x, _place) = 'Double' THEN {_JSON_NUMBER_CLICKHOUSE} "
    f"WHEN JSONType(_x, _place) = 'String' THEN {_JSON_STRING_CLICKHOUSE} ELSE JSONExtractRaw(_x, _place) END"
)
# The offsets a day before and a day after are those on both sides of a change. A time that is said twice is the later of its instants; one
# that is never said takes the offset before the change: the greater of the two in both cases.
_IN_ZONE_CLICKHOUSE = (
    "arrayElement(arrayMap(p__ -> CASE WHEN p__.3 AND NOT p__.4 THEN p__.1 WHEN p__.4 AND NOT p__.3 THEN p__.2 "
    "ELSE greatest(p__.1, p__.2) END, "
    "arrayMap(p__ -> tuple(p__.1, p__.2, addSeconds(p__.1, timeZoneOffset(toTimeZone(p__.1, _zone))) = p__.3, "
    "addSeconds(p__.2, timeZoneOffset(toTimeZone(p__.2, _zone))) = p__.3), "
    "arrayMap(w__ -> tuple(subtractSeconds(w__, timeZoneOffset(toTimeZone(subtractDays(w__, 1), _zone))), "
    "subtractSeconds(w__, timeZoneOffset(toTimeZone(addDays(w__, 1), _zone))), w__), [_x]))), 1)"
)
# Signs are characters and not bytes; past the last one that stays nothing is left.
_LEFT_CLICKHOUSE = "arraySlice(_a, arrayFirstIndex(c__ -> NOT has(_s, c__), arrayPushBack(_a, '')))"
_RIGHT_CLICKHOUSE = f"arrayReverse({_LEFT_CLICKHOUSE.replace('_a', 'arrayReverse(_a)')})"


def _trimmed(kept: str) -> str:
    """A text of which some characters are kept, in ClickHouse's words; arrays have no NULL there."""
    whole = kept.replace("_a", "extractAll(assumeNotNull(_x), '(?s).')").replace(
        "_s", "extractAll(assumeNotNull(_signs), '(?s).')"
    )
    return f"CASE WHEN NOT _x IS NULL AND NOT _signs IS NULL THEN arrayStringConcat({whole}) END"


# Each value has the number of times that it was there up to its place: the greatest of these is that of the commonest one.
_MODE_CLICKHOUSE = (
    "arrayElementOrNull(arrayMap(t__ -> tupleElement(t__, 3), arraySort(arrayMap((n__, v__) -> "
    # Among identifiers it has an order of its own.
    "tuple(-toInt64(n__), if(toTypeName(v__) LIKE '%UUID%', toString(v__), ''), v__), "
    "arrayEnumerateUniq(groupArray(_x) FILTER (WHERE _w)), groupArray(_x) FILTER (WHERE _w)))), 1)"
)
_FLOOR_CLICKHOUSE = (
    "fromUnixTimestamp64Micro(toUnixTimestamp64Micro(CAST(_x AS DateTime64(6, 'UTC'))) - "
    "positiveModulo(toUnixTimestamp64Micro(CAST(_x AS DateTime64(6, 'UTC'))), {}), 'UTC')"
)

# DuckDB's utc_date goes through microseconds: 0.04 s for 10 M rows, where a cast under a time zone takes 0.6 s.
PIECES = {
    "divide": Spelling(
        "CAST(_x AS DOUBLE) / NULLIF(CAST(_y AS DOUBLE), 0)",
        "CAST(_x AS double precision) / NULLIF(CAST(_y AS double precision), 0)",
        "CAST(_x AS Float64) / NULLIF(CAST(_y AS Float64), 0)",
    ),
    "matches": Spelling("REGEXP_FULL_MATCH(_x, _pattern)", "_x ~ _pattern", "match(_x, _pattern)"),
    "fail": Spelling(_FAIL_DUCKDB, _FAIL_POSTGRES, _FAIL_CLICKHOUSE),
    "trimmed": Spelling("TRIM(_x, ' \t\n\v\f\r')", "BTRIM(_x, ' \t\n\v\f\r')", "trimBoth(_x, ' \t\n\v\f\r')"),
    # Engines differ past the sixth digit: one cuts, another rounds, which may even change the day.
    "to_microseconds": Spelling(
        "_x", r"REGEXP_REPLACE(_x, '(\.[0-9]{6})[0-9]+', '\1')", r"replaceRegexpOne(_x, '(\\.[0-9]{6})[0-9]+', '\\1')"
    ),
    "bool_from_text": Spelling(
        _BOOL_FROM_TEXT.format(_FAIL_DUCKDB),
        _BOOL_FROM_TEXT.format(_FAIL_POSTGRES),
        _BOOL_FROM_TEXT.format(_FAIL_CLICKHOUSE),
    ),
    "json_text": Spelling(_JSON_TEXT_DUCKDB, _JSON_TEXT_POSTGRES, _JSON_TEXT_CLICKHOUSE),
    "json_value": Spelling("JSON_EXTRACT(_x, _path)", "_x -> _step", "nullIf(JSONExtractRaw(_x, _place), '')"),
    "hash": Spelling(
        "CAST('0x' || SUBSTR(MD5(_salt || _x), 1, 15) AS BIGINT)",
        "CAST(CAST('x0' || LEFT(MD5(_salt || _x), 15) AS bit(64)) AS bigint)",
        "toInt64(bitShiftRight(halfMD5(concat(_salt, _x)), 4))",
    ),
    "hash_set": Spelling(
        "LIST_SORT(LIST_DISTINCT(LIST(_x) FILTER (WHERE _t)))",
        "ARRAY_AGG(DISTINCT _x ORDER BY _x) FILTER (WHERE _t)",
        "arraySort(groupUniqArray(_x) FILTER (WHERE _t))",
    ),
    "united_sets": Spelling(
        "LIST_SORT(LIST_DISTINCT(FLATTEN(LIST(_x) FILTER (WHERE _t))))",
        "(SELECT ARRAY_AGG(DISTINCT h ORDER BY h) FROM UNNEST(CAST(STRING_TO_ARRAY("
        "STRING_AGG(ARRAY_TO_STRING(_x, ','), ',') FILTER (WHERE _t), ',') AS bigint[])) AS u(h))",
        "arraySort(groupUniqArrayArray(_x) FILTER (WHERE _t))",
    ),
    "lower_ascii": Spelling(
        "TRANSLATE(_x, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')",
        "TRANSLATE(_x, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')",
        "TRANSLATE(_x, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')",
    ),
    "upper_ascii": Spelling(
        "TRANSLATE(_x, 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')",
        "TRANSLATE(_x, 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')",
        "TRANSLATE(_x, 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')",
    ),
    "bytewise": Spelling("_x", '_x COLLATE "C"', "_x"),
    "equal": Spelling("_x IS NOT DISTINCT FROM _y", "ARRAY[_x] = ARRAY[_y]", "_x IS NOT DISTINCT FROM _y"),
    # What the author of a query gave: a number with all its digits, a double, a truth, or something that has a text.
    "nature": Spelling(
        "CASE WHEN REGEXP_FULL_MATCH(TYPEOF(_x), 'U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL.*') THEN 'number' "
        "WHEN TYPEOF(_x) IN ('FLOAT', 'DOUBLE') THEN 'double' WHEN TYPEOF(_x) = 'BOOLEAN' THEN 'boolean' ELSE 'text' END",
        "CASE WHEN CAST(PG_TYPEOF(_x) AS text) IN ('smallint', 'integer', 'bigint', 'numeric') THEN 'number' "
        "WHEN CAST(PG_TYPEOF(_x) AS text) IN ('real', 'double precision') THEN 'double' "
        "WHEN CAST(PG_TYPEOF(_x) AS text) = 'boolean' THEN 'boolean' ELSE 'text' END",
        "multiIf(match(toTypeName(_x), '^(Nullable[(])?(U?Int|Decimal)'), 'number', "
        "match(toTypeName(_x), '^(Nullable[(])?Float'), 'double', "
        "match(toTypeName(_x), '^(Nullable[(])?Bool'), 'boolean', 'text')",
    ),
    "finite": Spelling("ISFINITE(_x)", "_x NOT IN ('NaN', 'Infinity', '-Infinity')", "isFinite(_x)"),
    # The shortest text that reads back as the same double. From 2^53 on engines disagree about it in rare cases, and
    # there the first 15 digits are taken, as PostgreSQL's own cast to numeric does.
    "float_text": Spelling(
        "CASE WHEN ABS(_x) < 9007199254740992 THEN CAST(_x AS VARCHAR) ELSE FORMAT('{:.15g}', _x) END",
        "CASE WHEN ABS(_x) < 9007199254740992 THEN CAST(_x AS text) ELSE CAST(CAST(_x AS numeric) AS text) END",
        "CASE WHEN abs(_x) < 9007199254740992 THEN toString(_x) ELSE printf('%.15g', _x) END",
    ),
    # DuckDB's own conversion of long decimals to double may be off by one unit in the last place.
    "exact_decimal": Spelling("CAST(_x AS VARCHAR)", "_x", "toString(_x)"),
    # The remainder of the least integer by -1 is an overflow on DuckDB and 0 on PostgreSQL.
    "modulo": Spelling(
        "CAST(CAST(_x AS HUGEINT) % NULLIF(_y, 0) AS BIGINT)",
        "_x % NULLIF(_y, 0)",
        "accurateCast(modulo(toInt128(_x), nullIf(_y, 0)), 'Int64')",
    ),
    "utc_date": Spelling(
        "CAST(MAKE_TIMESTAMP(EPOCH_US(_x)) AS DATE)",
        "CAST(_x AT TIME ZONE 'UTC' AS date)",
        "toDate32(toTimeZone(_x, 'UTC'))",
    ),
    # An infinite date is a number like others to DuckDB, and an error to PostgreSQL.
    "days_between": Spelling(
        "CASE WHEN ISFINITE(_x) AND ISFINITE(_y) THEN _x - _y "
        f"WHEN NOT _x IS NULL AND NOT _y IS NULL THEN CAST({_FAIL_DUCKDB} AS BIGINT) END",
        "CAST(_x - _y AS bigint)",
        "toInt64(dateDiff('day', _y, _x))",
    ),
    "in_zone": Spelling("_x AT TIME ZONE _zone", "_x AT TIME ZONE _zone", _IN_ZONE_CLICKHOUSE),
    # The time on the clocks of a zone at an instant; "in_zone" is the way back.
    "wall": Spelling(
        "_x AT TIME ZONE _zone",
        "_x AT TIME ZONE _zone",
        "addSeconds(CAST(_x AS DateTime64(6, 'UTC')), timeZoneOffset(toTimeZone(_x, _zone)))",
    ),
    "length": Spelling("LENGTH(_x)", "LENGTH(_x)", "lengthUTF8(_x)"),
    "trim_left": Spelling("LTRIM(_x, _signs)", "LTRIM(_x, _signs)", _trimmed(_LEFT_CLICKHOUSE)),
    "trim_right": Spelling("RTRIM(_x, _signs)", "RTRIM(_x, _signs)", _trimmed(_RIGHT_CLICKHOUSE)),
    "trim_both": Spelling(
        "TRIM(_x, _signs)", "BTRIM(_x, _signs)", _trimmed(_RIGHT_CLICKHOUSE.replace("_a", _LEFT_CLICKHOUSE))
    ),
    "replaced": Spelling("REPLACE(_x, _old, _new)", "REPLACE(_x, _old, _new)", "replaceAll(_x, _old, _new)"),
    "starts_with": Spelling("STARTS_WITH(_x, _part)", "STARTS_WITH(_x, _part)", "startsWith(_x, _part)"),
    "position": Spelling("STRPOS(_x, _part)", "STRPOS(_x, _part)", "positionUTF8(_x, _part)"),
    "bool_text": Spelling("CAST(_x AS VARCHAR)", "CAST(_x AS text)", "toString(CAST(_x AS Bool))"),
    # ClickHouse orders identifiers by their second half first.
    "uuid_order": Spelling("_x", "_x", "toString(_x)"),
    # There is no NULL of a set in ClickHouse: an empty one stands for it, and no other is empty.
    "differ": Spelling("_x IS DISTINCT FROM _y", "_x IS DISTINCT FROM _y", "_x IS DISTINCT FROM _y"),
    "sets_differ": Spelling("_x IS DISTINCT FROM _y", "_x IS DISTINCT FROM _y", "_x <> _y"),
    "set_present": Spelling("NOT _x IS NULL", "NOT _x IS NULL", "notEmpty(_x)"),
    "as_utc": Spelling("CAST(_x AS TIMESTAMPTZ)", "_x AT TIME ZONE 'UTC'", "CAST(_x AS DateTime64(6, 'UTC'))"),
    "utc_start": Spelling("_x AT TIME ZONE 'UTC'", "_x AT TIME ZONE 'UTC'", "CAST(_x AS DateTime64(6, 'UTC'))"),
    # PostgreSQL multiplies intervals in double precision, so seconds and their fraction are taken apart.
    "from_micros": Spelling(
        "CAST(MAKE_TIMESTAMP(_x) AS TIMESTAMPTZ)",
        "(CAST('1970-01-01 00:00:00+00' AS timestamptz) + (_x / 1000000) * INTERVAL '1 second' "
        "+ (_x % 1000000) * INTERVAL '1 microsecond')",
        "fromUnixTimestamp64Micro(_x, 'UTC')",
    ),
    "epoch_micros": Spelling(
        "EPOCH_US(_x)",
        "CAST(EXTRACT(EPOCH FROM _x) * 1000000 AS bigint)",
        "toUnixTimestamp64Micro(CAST(_x AS DateTime64(6, 'UTC')))",
    ),
    # A set as text: the same hashes with commas between them.
    "set_text": Spelling(
        "TRANSLATE(CAST(_x AS VARCHAR), '[] ', '')",
        "TRANSLATE(CAST(_x AS text), '{} ', '')",
        "nullIf(arrayStringConcat(_x, ','), '')",
    ),
    "floor_to": Spelling(
        "TIME_BUCKET(INTERVAL '15 minutes', _x)",
        "DATE_BIN(INTERVAL '15 minutes', _x, CAST('2000-01-01 00:00:00+00' AS timestamptz))",
        _FLOOR_CLICKHOUSE.format(900_000_000),
    ),
    "floor_hour": Spelling(
        "TIME_BUCKET(INTERVAL '60 minutes', _x)",
        "DATE_BIN(INTERVAL '60 minutes', _x, CAST('2000-01-01 00:00:00+00' AS timestamptz))",
        _FLOOR_CLICKHOUSE.format(3_600_000_000),
    ),
    "last_value": Spelling(
        "ARG_MAX(_x, ROW(_at, _x)) FILTER (WHERE NOT _x IS NULL)",
        "(ARRAY_AGG(_x ORDER BY _at DESC, _x DESC) FILTER (WHERE NOT _x IS NULL))[1]",
        "argMax(_x, tuple(_at, _x)) FILTER (WHERE NOT _x IS NULL)",
    ),
    # ``_row`` and ``_order`` are the same expressions: what facts are ordered by, among equals the value itself, which is the
    # ``_n``-th. The least row takes two thirds of the time of ARG_MIN by a row.
    "first_of": Spelling(
        "STRUCT_EXTRACT(MIN(ROW(_row)) FILTER (WHERE _w), _n)",
        "(ARRAY_AGG(_x ORDER BY _order) FILTER (WHERE _w))[1]",
        "argMin(_x, tuple(_row)) FILTER (WHERE _w)",
    ),
    "last_of": Spelling(
        "STRUCT_EXTRACT(MAX(ROW(_row)) FILTER (WHERE _w), _n)",
        "(ARRAY_AGG(_x ORDER BY _order) FILTER (WHERE _w))[1]",
        "argMax(_x, tuple(_row)) FILTER (WHERE _w)",
    ),
    "oldest_of": Spelling(
        "LIST(_x ORDER BY _order) FILTER (WHERE _w)",
        "ARRAY_AGG(_x ORDER BY _order) FILTER (WHERE _w)",
        "arrayMap(t__ -> tupleElement(t__, _n + 1), arraySort(groupArray(tuple(_row, _x)) FILTER (WHERE _w)))",
    ),
    "newest_of": Spelling(
        "LIST(_x ORDER BY _order) FILTER (WHERE _w)",
        "ARRAY_AGG(_x ORDER BY _order) FILTER (WHERE _w)",
        "arrayMap(t__ -> tupleElement(t__, _n + 1), arrayReverse(arraySort(groupArray(tuple(_row, _x)) FILTER (WHERE _w))))",
    ),
    "json_list": Spelling(
        "CAST('[' || ARRAY_TO_STRING((_x)[1:_n], ',') || ']' AS JSON)",
        "CAST('[' || ARRAY_TO_STRING((_x)[1:_n], ',') || ']' AS jsonb)",
        "nullIf(concat('[', arrayStringConcat(arraySlice(_x, 1, _n), ','), ']'), '[]')",
    ),
    # Among equally frequent values both take the first of their order. DuckDB computes equal aggregates once, and a histogram also
    # says how many different values there are.
    "mode": Spelling(
        "MAP_KEYS(HISTOGRAM(_x) FILTER (WHERE _w))[LIST_POSITION(MAP_VALUES(HISTOGRAM(_x) FILTER (WHERE _w)), "
        "LIST_MAX(MAP_VALUES(HISTOGRAM(_x) FILTER (WHERE _w))))]",
        "MODE() WITHIN GROUP (ORDER BY _x) FILTER (WHERE _w)",
        _MODE_CLICKHOUSE,
    ),
    "commonest": Spelling(
        "STRUCT_EXTRACT(MIN(ROW(-_n, _x)), 2)",
        "(ARRAY_AGG(_x ORDER BY _n DESC, _x))[1]",
        "argMin(_x, tuple(-toInt64(_n), if(toTypeName(_x) LIKE '%UUID%', toString(_x), ''), _x))",
    ),
    "different": Spelling(
        "COALESCE(CARDINALITY(HISTOGRAM(_x) FILTER (WHERE _w)), 0)",
        "COUNT(DISTINCT _x) FILTER (WHERE _w)",
        "coalesce(uniqExact(_x) FILTER (WHERE _w), 0)",
    ),
    "joined_by": Spelling(
        "STRING_AGG(_x, ',' ORDER BY _by) FILTER (WHERE _w)",
        "STRING_AGG(_x, ',' ORDER BY _by) FILTER (WHERE _w)",
        "nullIf(arrayStringConcat(arrayMap(t__ -> tupleElement(t__, 2), "
        "arraySort(groupArray(tuple(_by, _x)) FILTER (WHERE _w))), ','), '')",
    ),
    "any_value": Spelling("ANY_VALUE(_x)", "(ARRAY_AGG(_x) FILTER (WHERE NOT _x IS NULL))[1]", "any(_x)"),
    "json_empty": Spelling("CAST('{}' AS JSON)", "CAST('{}' AS jsonb)", "'{}'"),
    "any_of": Spelling("ANY_VALUE(_x)", "MAX(_x)", "max(_x)"),
    "exploded": Spelling("UNNEST(_x)", "UNNEST(_x)", "arrayJoin(_x)"),
    "iso_moment": Spelling(
        "STRFTIME(_x, '%Y-%m-%dT%H:%M:%SZ')",
        'TO_CHAR(_x, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\')',
        "concat(substring(replaceOne(toString(toTimeZone(_x, 'UTC')), ' ', 'T'), 1, 19), 'Z')",
    ),
    # Keys of cells travel as JSON arrays of texts.
    "json_string": Spelling("CAST(TO_JSON(_x) AS VARCHAR)", "CAST(TO_JSON(_x) AS text)", "toJSONString(_x)"),
    "json_item": Spelling(
        "JSON_EXTRACT_STRING(_x, _path)", "CAST(_x AS json) ->> _step", "JSONExtract(_x, _step + 1, 'Nullable(String)')"
    ),
    "json_items": Spelling(
        "UNNEST(CAST(CAST(_x AS JSON) AS JSON[]))",
        "JSON_ARRAY_ELEMENTS(CAST(_x AS json))",
        "arrayJoin(JSONExtractArrayRaw(_x))",
    ),
    "digest_total": Spelling(
        "CAST(REGEXP_EXTRACT(_x, '-?[0-9]+$') AS HUGEINT)",
        "CAST(SUBSTRING(_x FROM '-?[0-9]+$') AS numeric)",
        "toInt256(regexpExtract(_x, '-?[0-9]+$', 0))",
    ),
    "row_hash": Spelling("HASH(_x)", "HASH_RECORD_EXTENDED(ROW(_x), 0)", "cityHash64(tuple(_x))"),
    "hash_kind": Spelling(
        "'duckdb ' || VERSION()",
        "'postgres ' || CURRENT_SETTING('server_version_num')",
        "concat('clickhouse ', VERSION())",
    ),
    "wide_sum_text": Spelling(
        "CAST(SUM(CAST(_x AS HUGEINT)) AS VARCHAR)",
        "CAST(SUM(CAST(_x AS numeric)) AS text)",
        "toString(sum(toInt256(_x)))",
    ),
    "iso_micros": Spelling(
        "STRFTIME(_x, '%Y-%m-%dT%H:%M:%S.%fZ')",
        'TO_CHAR(_x, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\')',
        "concat(replaceOne(toString(CAST(_x AS DateTime64(6, 'UTC'))), ' ', 'T'), 'Z')",
    ),
    "clock": Spelling("NOW()", "CLOCK_TIMESTAMP()", "now64(6, 'UTC')"),
    "smallest": Spelling(f"_x[1:{SET_LIMIT}]", f"_x[1:{SET_LIMIT}]", f"arraySlice(_x, 1, {SET_LIMIT})"),
    "set_size": Spelling("LEN(_x)", "CARDINALITY(_x)", "toInt64(length(_x))"),
    "set_first": Spelling("_x[1]", "_x[1]", "arrayElementOrNull(_x, 1)"),
    # What is taken out of a set leaves a mark where no hash can be, so that it is known to hold less than it counts.
    "reduced_set": Spelling(
        "LIST_SORT(LIST_TRANSFORM(_x, LAMBDA h: CASE WHEN LIST_CONTAINS(_gone, h) THEN -1 ELSE h END))",
        "ARRAY(SELECT CASE WHEN h = ANY(_gone) THEN -1 ELSE h END FROM UNNEST(_x) AS u(h) ORDER BY 1)",
        "arraySort(arrayMap(h__ -> CASE WHEN has(_gone, h__) THEN -1 ELSE h__ END, _x))",
    ),
    "sets_meet": Spelling("LIST_HAS_ANY(_x, _gone)", "_x && _gone", "hasAny(_x, _gone)"),
    # What stands before the query and the fragment of an address.
    "bare_address": Spelling(
        "SPLIT_PART(SPLIT_PART(_c, '?', 1), '#', 1)",
        "SPLIT_PART(SPLIT_PART(_c, '?', 1), '#', 1)",
        "CASE WHEN NOT _c IS NULL THEN arrayElement(splitByChar('#', arrayElement(splitByChar('?', assumeNotNull(_c)), 1)), 1) END",
    ),
    "set_last": Spelling("LIST_LAST(_x)", "_x[CARDINALITY(_x)]", "arrayElementOrNull(_x, -1)"),
}

#: Beside them for facts that anybody may have sent: what cannot be read is NULL there, and no error that ends a fold.
_NOTHING_DUCKDB, _NOTHING_POSTGRES = "CAST(NULL AS VARCHAR)", "CAST(NULL AS text)"
_NOTHING_CLICKHOUSE = "CAST(NULL AS Nullable(String))"
FORGIVING = {
    "fail": Spelling(_NOTHING_DUCKDB, _NOTHING_POSTGRES, _NOTHING_CLICKHOUSE),
    "bool_from_text": Spelling(
        _BOOL_FROM_TEXT.format(_NOTHING_DUCKDB),
        _BOOL_FROM_TEXT.format(_NOTHING_POSTGRES),
        _BOOL_FROM_TEXT.format(_NOTHING_CLICKHOUSE),
    ),
    "json_text": Spelling(
        _JSON_TEXT_DUCKDB.replace(_FAIL_DUCKDB, _NOTHING_DUCKDB),
        "CASE JSONB_TYPEOF(CAST(_x -> _step AS jsonb)) "
        f"WHEN 'object' THEN {_NOTHING_POSTGRES} WHEN 'array' THEN {_NOTHING_POSTGRES} "
        "WHEN 'number' THEN CASE WHEN ABS(CAST(CAST(_x -> _step AS jsonb) AS NUMERIC)) < 1e20 THEN "
        "CAST(TRIM_SCALE(CAST(CAST(_x -> _step AS jsonb) AS NUMERIC(38, 18))) AS text) END ELSE _x ->> _step END",
        _JSON_TEXT_CLICKHOUSE.replace(_FAIL_CLICKHOUSE, _NOTHING_CLICKHOUSE),
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
    Kind.TIMESTAMP: Spelling("TIMESTAMP", "timestamp", "DateTime64(6)"),
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

    def read(self, tree: exp.Expr, type_: Type) -> exp.Expr:
        """A text that fits a type's grammar as that type; it is not NULL."""
        if self.name != "clickhouse":
            return self.cast(tree, type_)
        if self.forgiving:
            return exp.TryCast(this=tree.copy(), to=self.data_type(type_))
        # Only a text of a type without NULL fails where it cannot be read.
        given: exp.Expr = self.sql("assumeNotNull(_x)", _x=tree)
        if type_.kind is Kind.INT:
            given = self.sql("toInt128(_x)", _x=given)
        if type_.kind is Kind.DATE:
            # 30 February is 2 March to a cast to a date, and an error to a cast to a moment.
            given = self.cast(given, Type(Kind.TIMESTAMP))
        return self.cast(given, type_)

    def exactly(self, tree: exp.Expr, type_: Type) -> exp.Expr:
        """A number in a type that surely holds it."""
        if self.name != "clickhouse" or type_.kind is not Kind.DECIMAL:
            return self.cast(tree, type_)
        return exp.Anonymous(this="CAST", expressions=[tree.copy(), exp.Literal.string(self.type_name(type_))])

    def spacious(self, tree: exp.Expr, type_: Type) -> exp.Expr:
        """An operand of arithmetic in a type that holds every result: elsewhere one that does not fit is an error anyway."""
        if self.name != "clickhouse" or type_.kind is Kind.FLOAT:
            return tree
        if type_.kind is Kind.INT:
            return self.sql("toInt128(_x)", _x=tree)
        return self.sql("toDecimal256(_x, _scale)", _x=tree, _scale=exp.Literal.number(type_.scale or 0))

    def total(self, tree: exp.Expr, type_: Type) -> exp.Expr:
        """The aggregate that adds up numbers of a type; sums that leave it are errors, and do not wrap."""
        return sql("sum(_x)", _x=self.spacious(tree, type_))

    def days_from(self, first: exp.Expr, last: exp.Expr) -> exp.Expr:
        """A select of the days from one to another as ``day``."""
        if self.name == "clickhouse":
            how_many = self.sql("toUInt32(dateDiff('day', _a, _b) + 1)", _a=first, _b=last)
            return self.sql("SELECT _a + toInt32(arrayJoin(range(_n))) AS day", _a=first, _n=how_many)
        text = "select cast(s.d as date) as day from generate_series(_a::timestamp, _b::timestamp, interval '1 day') as s(d)"
        return sql(text, _a=first, _b=last)

    def text(self, tree: exp.Expr, type_: Type) -> exp.Expr:
        """The text of a value of a type."""
        if type_.kind is Kind.BOOL:
            return self.piece("bool_text", _x=tree)
        if self.name == "clickhouse" and type_.kind is Kind.DECIMAL:
            # Its own text of a decimal lacks the zeros at its end.
            return self.sql("toDecimalString(_x, _scale)", _x=tree, _scale=exp.Literal.number(type_.scale or 0))
        return self.cast(tree, Type(Kind.TEXT))

    def piece(self, what: str, **parts: Part) -> exp.Expr:
        """A named piece with its parts."""
        pieces = FORGIVING if self.forgiving and what in FORGIVING else PIECES
        found = sql(getattr(pieces[what], self.name), self.name, **parts)
        if self.name == "clickhouse":
            # Its words are understood nowhere else: where the ledger is apart, a statement with them is not for the ledger.
            found.meta[FOREIGN] = True
        return found

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
