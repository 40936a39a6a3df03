"""What the expression language refuses, word for word, and what SQL it makes."""

from __future__ import annotations

import datetime as dt

import pytest

from dayfold.define.expr import CASTS, FUNCTIONS, ExpressionError, columns, parse, reads_clock
from dayfold.define.types import (
    BOOL,
    DATE,
    FLOAT,
    INT,
    JSON,
    OTHER,
    TEXT,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    Kind,
    Type,
    decimal,
)
from dayfold.plan.dialect import DUCKDB, POSTGRES, Dialect
from dayfold.plan.expressions import Compiler, Typed
from dayfold.plan.sql import column

TYPES = {
    "num": INT, "price": decimal(12, 2), "free": decimal(None, None), "ratio": FLOAT, "txt": TEXT, "ok": BOOL, "born": DATE,
    "seen": TIMESTAMP, "sent": TIMESTAMPTZ, "uid": UUID, "doc": JSON, "tags": OTHER, "Shop Name": TEXT, "a": INT, "A": INT,
}  # fmt: skip
WAY_OUT = 'For anything else write the source as Table(sql="select …"), in the engine\'s own SQL.'
KNOWN = f"Functions: {', '.join(FUNCTIONS)}. {WAY_OUT}"
ADDS_UP = (
    "A metric already says how it adds up: name the metric itself. Distinct values are never summed, "
    "because one value may stand in several rows."
)
CAST_LIST = f"casts go to {', '.join(CASTS)}."


def compiled(expression: str, dialect: Dialect = DUCKDB) -> Typed:
    scope = {name: Typed(column(name), type_) for name, type_ in TYPES.items()}
    return Compiler(scope, dialect, "facts").compile(parse(expression))


#: (expression, message, hint): what is no part of the language
NOT_PARSED = [
    ("num +", "'num +' cannot be read: near '+' at column 5.", WAY_OUT),
    ("num = 'a", "'num = 'a' cannot be read: it has an unclosed quote or bracket.", WAY_OUT),
    ("num; num", "'num; num' is not one expression.", "Write one expression, without ';'."),
    ("", "expected an expression as text, got ''.", ""),
    ("lower()", "'lower()' cannot be read: near ')' at column 7.", WAY_OUT),
    ("lower(txt, txt)", "'lower(txt, txt)' cannot be read: near ')' at column 15.", WAY_OUT),
    ("num ~ 'a'", "'num ~ 'a'' uses 'num ~ 'a'', which expressions do not have.", WAY_OUT),
    ("txt COLLATE \"C\"", "'txt COLLATE \"C\"' uses 'txt COLLATE \"C\"', which expressions do not have.", WAY_OUT),
    ("sent AT TIME ZONE 'UTC'", "'sent AT TIME ZONE 'UTC'' uses 'sent AT TIME ZONE 'UTC'', which expressions do not have.", WAY_OUT),
    ("doc #>> '{a}'", "'doc #>> '{a}'' uses 'doc #>> '{a}'', which expressions do not have.", WAY_OUT),
    ("num AS n", "'num AS n' uses 'num AS n', which expressions do not have.", WAY_OUT),
    ("*", "'*' uses '*', which expressions do not have.", WAY_OUT),
    ("$1", "'$1' uses '$1', which expressions do not have.", WAY_OUT),
    ("E'a'", "'E'a'' uses 'e'a'', which expressions do not have.", WAY_OUT),
    ("ARRAY[1]", "'ARRAY[1]' uses 'ARRAY[1]', which expressions do not have.", WAY_OUT),
    ("log(num)", "'log(num)' uses the function log(), which expressions do not have.", KNOWN),
    ("Their_Own (num)", "'Their_Own (num)' uses the function their_own(), which expressions do not have.", KNOWN),
    ("count(*)", "'count(*)' uses the function count(), which expressions do not have.", ADDS_UP),
    ("1 + sum(num)", "'1 + sum(num)' uses the function sum(), which expressions do not have.", ADDS_UP),
    ("num IN (SELECT 1)", "'num IN (SELECT 1)' holds a subquery, which expressions do not have.", WAY_OUT),
    ("(SELECT num)", "'(SELECT num)' holds a subquery, which expressions do not have.", WAY_OUT),
    ("SELECT num", "'SELECT num' holds a subquery, which expressions do not have.", WAY_OUT),
    ("DROP TABLE facts", "'DROP TABLE facts' uses 'DROP TABLE facts', which expressions do not have.", WAY_OUT),
    ("num IN ()", "'num IN ()' has an empty list after IN.", ""),
    ("facts.num", "'facts.num' names a table in 'facts.num'; an expression names columns only.", ""),
    ("now(3)", "'now(3)' cannot be read: near ')' at column 6.", WAY_OUT),
    ("current_timestamp", "'current_timestamp' uses 'CURRENT_TIMESTAMP', which expressions do not have.", WAY_OUT),
    ("current_date", "'current_date' uses 'CURRENT_DATE', which expressions do not have.", WAY_OUT),
    ("date_trunc('day', sent, 'UTC')",
     "'date_trunc('day', sent, 'UTC')' uses a form of 'DATE_TRUNC('DAY', sent, 'UTC')' that expressions do not have.", WAY_OUT),
    ("timestamp_trunc(sent, day)",
     "'timestamp_trunc(sent, day)' uses the function timestamp_trunc(), which expressions do not have.", KNOWN),
    ("sent - interval '1 month'", "'sent - interval '1 month'': a month has no fixed length.",
     "Write days, such as interval '30 days', or compare date_trunc('month', …)."),
    ("sent - interval '2 years'", "'sent - interval '2 years'': a year has no fixed length.",
     "Write days, such as interval '365 days', or compare date_trunc('year', …)."),
    *((f"sent + interval {words}", f"'sent + interval {words}': an interval is one whole number and one unit, "
       "such as interval '30 days'.", "Units: weeks, days, hours, minutes, seconds. Several are added one after the other.")
      for words in ("'1'", "''", "'1.5 days'", "'x days'", "'1 day 2 hours'", "'1 fortnight'", "num", "'1-2' year to month")),
    *((f"sent + interval '{words}'", f"'sent + interval '{words}'': an interval has at most 1,000,000 days.", "")
      for words in ("1000001 days", "-142858 weeks", "86400000001 seconds", "9" * 20 + " hours")),
    *((text, f"'{text}' uses an interval by itself, which expressions do not have.",
       "An interval stands after + or -, beside a moment: sent_at + interval '2 hours'.")
      for text in ("interval '1 day'", "- interval '1 day'", "interval '1 day' * 3", "interval '1 day' + sent",
                   "sent + (interval '1 day')", "interval '1 day' > interval '2 hours'", "COALESCE(interval '1 day')")),
    ("num BETWEEN SYMMETRIC 1 AND 2",
     "'num BETWEEN SYMMETRIC 1 AND 2' uses a form of 'num BETWEEN SYMMETRIC 1 AND 2' that expressions do not have.", WAY_OUT),
    ("CAST(num AS text FORMAT 'x')",
     "'CAST(num AS text FORMAT 'x')' uses a form of the function cast() that expressions do not have.", WAY_OUT),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "message", "hint"), NOT_PARSED, ids=[one[0] for one in NOT_PARSED])
def test_what_is_not_of_the_language(expression: str, message: str, hint: str) -> None:
    """The message shows what its writer wrote and names the way out."""
    with pytest.raises(ExpressionError) as refused:
        parse(expression)
    assert (str(refused.value), refused.value.hint) == (message, hint)


@pytest.mark.parametrize("value", [None, 5, b"num"])
def test_an_expression_is_text(value: object) -> None:
    """A number or bytes in place of an expression are a mistake like any other."""
    with pytest.raises(ExpressionError, match=r"^expected an expression as text, got "):
        parse(value)


#: expression: message
NOT_TYPED = {
    "nun": "facts has no column 'nun'; the nearest is 'num'.",
    '"NUM"': "facts has no column 'NUM'; the nearest is 'num'.",
    "nothing_like_it": "facts has no column 'nothing_like_it'.",
    "txt + 1": "expected a number, but 'txt' is text.",
    "- ok": "expected a number, but 'ok' is boolean.",
    "num || txt": "expected text (cast it with ::text), but 'num' is integer.",
    "num AND ok": "expected a condition, but 'num' is integer.",
    "NOT txt": "expected a condition, but 'txt' is text.",
    "num IS TRUE": "expected a condition, but 'num' is integer.",
    "lower(num)": "expected text, but 'num' is integer.",
    "length(born)": "expected text, but 'born' is date.",
    "num LIKE 'a'": "expected text, but 'num' is integer.",
    "txt LIKE txt": "'txt LIKE txt': the pattern of LIKE is written out, such as 'video%'.",
    "txt LIKE 'a\\'": "'txt LIKE 'a\\'': the pattern ends with its escape sign; write it twice.",
    "txt LIKE 'a!!!' ESCAPE '!'": "'txt LIKE 'a!!!'': the pattern ends with its escape sign; write it twice.",
    "txt LIKE 'a' ESCAPE ''": "'txt LIKE 'a' ESCAPE ''': ESCAPE takes one ASCII sign that is no letter, digit, % or _.",
    "txt LIKE 'a' ESCAPE 'x'": "'txt LIKE 'a' ESCAPE 'x'': ESCAPE takes one ASCII sign that is no letter, digit, % or _.",
    "txt LIKE 'a' ESCAPE '_'": "'txt LIKE 'a' ESCAPE '_'': ESCAPE takes one ASCII sign that is no letter, digit, % or _.",
    "num = 'a'": "'num' and ''a'' cannot be compared: one is integer, the other text.",
    "num IN (1, txt)": "'num' and 'txt' cannot be compared: one is integer, the other text.",
    "ok = 1": "'ok' and '1' cannot be compared: one is boolean, the other integer.",
    "born > 5": "'born' and '5' cannot be compared: one is date, the other integer.",
    "NULLIF(num, txt)": "'num' and 'txt' cannot be compared: one is integer, the other text.",
    "CASE num WHEN 'a' THEN 1 END": "'num' and ''a'' cannot be compared: one is integer, the other text.",
    "doc = '{}'": "'doc' is json, which is not compared; take a value out of it first.",
    "tags = tags": "'tags' is other, which is not compared; take a value out of it first.",
    "born = 'yesterday'": "'yesterday' cannot be read as date; expected ISO 8601, such as 2026-01-31.",
    "born = '2026-02-30'": "'2026-02-30' cannot be read as date; expected ISO 8601, such as 2026-01-31.",
    "sent < '2026-01-01T25:00'": "'2026-01-01T25:00' cannot be read as timestamptz; expected ISO 8601, such as 2026-01-31.",
    "'2026-01-01 10:00'::date": "'2026-01-01 10:00' cannot be read as date; expected ISO 8601, such as 2026-01-31.",
    "uid = 'x'": "'x' cannot be read as uuid.",
    "'5x'::int": "'5x' cannot be read as integer.",
    "'1e3'::numeric(5,2)": "'1e3' cannot be read as decimal(5,2).",
    "CASE WHEN ok THEN 1 ELSE 'a' END": "''a'' is text where the other values are integer.",
    "COALESCE(num, txt)": "'txt' is text where the other values are integer.",
    "COALESCE(tags, tags)": "'tags' is other where the other values are null.",
    "GREATEST(doc, doc)": "'GREATEST(doc, doc)': JSON values have no order; take one out with ->> and cast it.",
    "num ->> 'a'": "expected JSON, but 'num' is integer.",
    "doc ->> txt": "'doc ->> txt': -> and ->> take one name or one position.",
    "ratio % 2": "'ratio % 2' is the remainder of a float; cast it to numeric(p,s) first.",
    "round(ratio, 2)": "'ROUND(ratio, 2)' rounds a float; cast it to numeric(p,s), which rounds it.",
    "round(price, num)": "'ROUND(price, num)': round takes a number of digits, such as 2.",
    "round(price, -1)": "'ROUND(price, -1)': round takes a number of digits, such as 2.",
    "left(txt, -1)": "'LEFT(txt, -1)': left takes whole numbers from 0 on.",
    "right(txt, num)": "'RIGHT(txt, num)': right takes whole numbers from 0 on.",
    "substr(txt, 0)": "'SUBSTRING(txt FROM 0)': positions in text start at 1.",
    "substring(txt from 'a.')": "'SUBSTRING(txt FROM 'a.')': substring takes whole numbers from 0 on.",
    "extract(second from sent)": "extract knows year, quarter, month, day, hour, minute, dow, isodow, epoch; got 'second'.",
    "extract(year from txt)": "expected a date or a moment, but 'txt' is text.",
    "extract(year from born - born)": "expected a date or a moment, but 'born - born' is integer.",
    "date_trunc('hour', sent)": "date_trunc knows day, week, month, quarter, year; got 'hour'.",
    "date_trunc(txt, sent)": "date_trunc knows day, week, month, quarter, year; got 'txt'.",
    "date_trunc('day', txt)": "expected a date or a moment, but 'txt' is text.",
    "date_trunc('day', '2026-01-01')": "expected a date or a moment, but ''2026-01-01'' is text.",
    "num + interval '1 day'": "expected a date or a moment, but 'num' is integer.",
    "txt - interval '1 day'": "expected a date or a moment, but 'txt' is text.",
    "born + 1000001": "'1000001' is more than 1,000,000 days.",
    "born * 2": "expected a number, but 'born' is date.",
    "- born": "expected a number, but 'born' is date.",
    "born / 2": "expected a number, but 'born' is date.",
    "num - born": "'num - born' subtracts date from integer, which has no meaning.",
    "num - sent": "'num - sent' subtracts timestamptz from integer, which has no meaning.",
    "num::numeric": "'CAST(num AS DECIMAL)': say numeric's digits, such as numeric(18,2): at most 38, and 30 after the point.",
    "num::numeric(39,2)":
        "'CAST(num AS DECIMAL(39, 2))': say numeric's digits, such as numeric(18,2): at most 38, and 30 after the point.",
    "num::smallint": f"'CAST(num AS SMALLINT)': {CAST_LIST}",
    "txt::varchar(3)": f"'CAST(txt AS VARCHAR(3))': {CAST_LIST}",
    "txt::int[]": f"'CAST(txt AS INT[])': {CAST_LIST}",
    "ratio::text": "'CAST(ratio AS TEXT)': the language has no cast from float to text, because engines disagree about it.",
    "sent::text": "'CAST(sent AS TEXT)': the language has no cast from timestamptz to text, because engines disagree about it.",
    "num::boolean": "'CAST(num AS BOOLEAN)': the language has no cast from integer to boolean, because engines disagree about it.",
    "doc::text": "'CAST(doc AS TEXT)': the language has no cast from json to text, because engines disagree about it.",
    "price * 1.0000000000000000000000000001":
        "'price * 1.0000000000000000000000000001' has 30 digits after the point; cast its parts to fewer.",
    "1" * 39: f"{'1' * 39} has 39 digits; a number has at most 38.",
    "1e400": "1e400 is beyond the range of double precision.",
    "1e-400": "1e-400 is beyond the range of double precision.",
    "txt = 'a\x00b'": "a text holds a NUL character, which no database column can.",
}  # fmt: skip


@pytest.mark.parametrize("dialect", [DUCKDB, POSTGRES], ids=lambda one: one.name)
@pytest.mark.parametrize(("expression", "message"), NOT_TYPED.items(), ids=list(NOT_TYPED))
def test_what_does_not_fit(expression: str, message: str, dialect: Dialect) -> None:
    """The same mistake is found on every engine, before any row is read."""
    with pytest.raises(ExpressionError) as refused:
        compiled(expression, dialect)
    assert str(refused.value) == message


def test_an_unknown_column_lists_those_there_are() -> None:
    """The hint names every column."""
    with pytest.raises(ExpressionError) as refused:
        compiled("nun")
    assert (
        refused.value.hint
        == "Columns: num, price, free, ratio, txt, ok, born, seen, sent, uid, doc, tags, Shop Name, a, A"
    )


#: (expression, message, hint): what is neither a step from a day or a moment nor a number of days
NOT_STEPPED = [
    ("sent - sent", "'sent - sent' is a length of time, which expressions do not have.",
     "For the number of days write cast(sent as date) - cast(sent as date)."),
    ("born - sent", "'born - sent' is a length of time, which expressions do not have.",
     "For the number of days write cast(born as date) - cast(sent as date)."),
    ("seen - born", "'seen - born' is a length of time, which expressions do not have.",
     "For the number of days write cast(seen as date) - cast(born as date)."),
    ("born + sent", "'born' and 'sent' are both a date or a moment, and are not added.", ""),
    ("sent + 1", "expected an interval beside 'sent', which is timestamptz, but '1' is integer.",
     "Write sent + interval '1 day', or cast(sent as date) + 1 for a date."),
    ("7 + seen", "expected an interval beside 'seen', which is timestamp, but '7' is integer.",
     "Write seen + interval '1 day', or cast(seen as date) + 1 for a date."),
    ("sent - '1 day'", "expected an interval beside 'sent', which is timestamptz, but ''1 day'' is text.",
     "Write sent - interval '1 day', or cast(sent as date) - 1 for a date."),
    ("born - '2026-01-01'", "expected a whole number of days beside 'born', but ''2026-01-01'' is text.",
     "A written date is cast: '2026-01-31'::date."),
    ("born + 1.5", "expected a whole number of days beside 'born', but '1.5' is decimal(2,1).", ""),
    ("ratio + born", "expected a whole number of days beside 'born', but 'ratio' is float.", ""),
    ("sent < now()", "now() is of profiles only: what a rollup says of a day must not depend on when it is folded.",
     "Take it out, or move the metric to a Profile, whose rows are as of today."),
]  # fmt: skip


@pytest.mark.parametrize("dialect", [DUCKDB, POSTGRES], ids=lambda one: one.name)
@pytest.mark.parametrize(("expression", "message", "hint"), NOT_STEPPED, ids=[one[0] for one in NOT_STEPPED])
def test_what_is_no_step(expression: str, message: str, hint: str, dialect: Dialect) -> None:
    """A mistake about days and moments names what could be written instead."""
    with pytest.raises(ExpressionError) as refused:
        compiled(expression, dialect)
    assert (str(refused.value), refused.value.hint) == (message, hint)


def test_a_tree_that_reads_the_clock_is_known() -> None:
    """However deep it stands; a column or a text of that name is no clock."""
    assert reads_clock(parse("CASE WHEN sent > NOW() - interval '1 day' THEN 1 END"))
    assert not reads_clock(parse("now + 1"))
    assert not reads_clock(parse("txt = 'now()'"))


#: expression: its type, which is the same on every engine
GIVEN_TYPES = {
    "num + 1": INT,
    "num / 1": FLOAT,
    "num + 1.5": decimal(21, 1),
    "price + price": decimal(13, 2),
    "price * price": decimal(24, 4),
    "price * price * price * price": decimal(38, 8),
    "price + ratio": FLOAT,
    "free * price": Type(Kind.DECIMAL),
    "COALESCE(free, 0)": Type(Kind.DECIMAL),
    "round(free, 2)": decimal(38, 2),
    "CASE WHEN ok THEN num ELSE price END": decimal(21, 2),
    "COALESCE(born, seen)": TIMESTAMP,
    "COALESCE(NULL, NULL)": Type(Kind.NULL),
    "doc -> 'a'": JSON,
    "doc ->> 'a'": TEXT,
    "Num": INT,
    '"Shop Name"': TEXT,
    "a": INT,
    "1.50": decimal(3, 2),
    "9223372036854775808": decimal(19, 0),
    "1e3": FLOAT,
    "sent::date": DATE,
    "tags IS NULL": BOOL,
    "born + 1": DATE,
    "num + born": DATE,
    "born - born": INT,
    "born + interval '1 day'": TIMESTAMP,
    "seen - interval '1 day'": TIMESTAMP,
    "sent - interval '1 day'": TIMESTAMPTZ,
    "date_trunc('week', sent)": DATE,
}


@pytest.mark.parametrize("dialect", [DUCKDB, POSTGRES], ids=lambda one: one.name)
@pytest.mark.parametrize(("expression", "type_"), GIVEN_TYPES.items(), ids=list(GIVEN_TYPES))
def test_types(expression: str, type_: Type, dialect: Dialect) -> None:
    """A metric's column has the same type wherever it is computed."""
    assert compiled(expression, dialect).type == type_


def test_a_name_that_two_columns_share_but_for_case_is_ambiguous() -> None:
    """Unquoted names fold only where one column can be meant."""
    scope = {name: Typed(column(name), INT) for name in ("Ab", "aB")}
    with pytest.raises(ExpressionError, match=r"^facts has no column 'ab'; the nearest is '(Ab|aB)'\.$"):
        Compiler(scope, DUCKDB, "facts").compile(parse("ab"))


def test_columns_are_those_that_are_named() -> None:
    """Names inside texts and JSON arrows are none."""
    assert sorted(one.name for one in columns(parse("a + b * COALESCE(doc ->> 'c', 'd')::int"))) == ["a", "b", "doc"]


def test_comments_are_no_part_of_an_expression() -> None:
    """Writing a comment changes neither the SQL nor the definition's fingerprint."""
    assert parse("a /* one */ + b -- two").sql() == parse("a + b").sql()


INJECTIONS = ["x'; DROP TABLE facts; --", "\\'", "'' OR 1=1", "*/ x /*", "$1", ":v0", "{}", "%s", "_x", '"x"']


@pytest.mark.parametrize("dialect", [DUCKDB, POSTGRES], ids=lambda one: one.name)
@pytest.mark.parametrize("text", INJECTIONS)
def test_a_literal_stays_a_literal(text: str, dialect: Dialect) -> None:
    """Whatever a text holds, it is one quoted literal in the engine's words."""
    quoted = "'" + text.replace("'", "''") + "'"
    made = compiled(f"txt = {quoted}", dialect).tree.sql(dialect.name, identify=True)
    assert made == f'CAST("txt" AS TEXT) = {quoted}'


@pytest.mark.parametrize("dialect", [DUCKDB, POSTGRES], ids=lambda one: one.name)
def test_now_is_the_start_of_the_given_day(dialect: Dialect) -> None:
    """It is written with its offset, so that no session reads it in a time zone of its own."""
    made = Compiler({}, dialect, "facts", now=dt.date(2026, 3, 9)).compile(parse("now()"))
    assert made.type == TIMESTAMPTZ
    assert made.tree.sql(dialect.name) == "CAST('2026-03-09 00:00:00+00:00' AS TIMESTAMPTZ)"


RENDERED = [
    ("num / 2", "duckdb", '(CAST("num" AS DOUBLE) / NULLIF(CAST(2 AS DOUBLE), 0))'),
    ("txt < 'b'", "postgres", 'CAST("txt" AS TEXT) COLLATE "C" < \'b\' COLLATE "C"'),
    ("num = 1 AND NOT ok", "postgres", '("num" = 1 AND NOT ("ok"))'),
    ("sent >= '2026-01-01'", "postgres", "\"sent\" >= CAST('2026-01-01 00:00:00+00:00' AS TIMESTAMPTZ)"),
    ("sent + interval '1 week'", "postgres", "(\"sent\" + INTERVAL '168 HOURS')"),
    ("sent - interval '2 days'", "duckdb", "(\"sent\" - INTERVAL '48' HOURS)"),
    ("seen >= '2026-01-01T01:00+01:00'", "duckdb", "\"seen\" >= CAST('2026-01-01 00:00:00' AS TIMESTAMP)"),
]


@pytest.mark.parametrize(("expression", "engine", "text"), RENDERED, ids=[one[0] for one in RENDERED])
def test_sql(expression: str, engine: str, text: str) -> None:
    """Bare columns stay bare where an index could serve them."""
    assert compiled(expression, Dialect(engine)).tree.sql(engine, identify=True) == text
