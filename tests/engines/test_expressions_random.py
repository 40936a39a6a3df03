"""Random expressions: equal values on both engines, or errors on both; and numbers against a Python oracle."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dayfold.define.expr import ExpressionError
from dayfold.plan.sql import statement
from tests.conftest import SOAK, new_chdb
from tests.engines.evaluate import ERROR, Bench, bench
from tests.servers import PostgresServer

ROWS: list[dict[str, Any]] = [
    {},
    {
        "small": 7, "num": -3, "big": 2**40, "price": Decimal("1.05"), "rate": Decimal("-0.1250"), "wide": Decimal("12345678901.5"),
        "ratio": 0.1, "single": 0.25, "txt": "Video", "other": "é_%", "mood": "Happy", "ok": True, "born": dt.date(2026, 2, 28),
        "seen": "2026-03-01T00:30", "sent": "2026-02-28T23:30:00-01:00", "doc": '{"a": "12", "b": {"c": 1.5}, "l": ["x"]}',
    },
    {
        "small": -32768, "num": 0, "big": -(2**63), "price": Decimal("-9999999999.99"), "rate": Decimal("0.0000"),
        "wide": Decimal("-9999999999999999999999999999.9999999999"), "ratio": -2.5, "single": -0.125, "txt": "", "other": " 12 ",
        "mood": "élan", "ok": False, "born": dt.date(1969, 12, 31), "seen": "1969-12-31T23:59:59.999999",
        "sent": "1970-01-01T00:00:00Z", "doc": '{"a": null, "b": 5, "l": []}',
    },
    {
        "small": 32767, "num": 2**31 - 1, "big": 2**63 - 1, "price": Decimal("0.50"), "rate": Decimal("2.5000"), "wide": Decimal(3),
        "ratio": 1e15, "single": 1e10, "txt": "👍 a_b", "other": "1.5", "mood": "sad", "ok": True, "born": dt.date(2024, 2, 29),
        "seen": "2024-02-29T00:00", "sent": "2024-02-29T00:00:00Z", "doc": '["x", {"c": 2}]',
    },
]  # fmt: skip


ENGINES = ("duckdb", "postgres")
ALL = (*ENGINES, "clickhouse")


@pytest.fixture(scope="module")
def rows(
    postgres_server: PostgresServer, chdb_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """The rows, in each database."""
    folder = tmp_path_factory.mktemp("expressions")
    with postgres_server.database() as url:
        made = bench(
            {"duckdb": f"duckdb:///{folder}/facts.duckdb", "postgres": url, "clickhouse": new_chdb(chdb_folder)}, ROWS
        )
        yield made
        made.close()


# Floats stay away from the ends of their range, where one engine says infinity and the other an error.
numbers = st.sampled_from(
    ["small", "num", "big", "price", "rate", "ratio", "single", "7", "0", "-2", "2.5", "0.001", "1e3", "NULL"]
)
texts = st.sampled_from(["txt", "other", "mood", "'Video'", "'é'", "''", "'12'", "doc ->> 'a'", "NULL"])
dates = st.sampled_from(["born", "seen", "sent", "'2026-02-28'::date", "'2026-03-01T00:30'::timestamp", "now()"])
conditions = st.sampled_from(["ok", "TRUE", "num IS NULL", "doc -> 'b' IS NULL"])


def _templates(*words: str) -> Any:
    return st.sampled_from(words)


def _filled(templates: Any, **parts: Any) -> Any:
    return st.builds(lambda text, values: text.format(**values), templates, st.fixed_dictionaries(parts))


def _grown(depth: int) -> dict[str, Any]:
    """Expressions of each kind, of at most so many levels."""
    kinds = {"n": numbers, "t": texts, "d": dates, "c": conditions}
    for _ in range(depth):
        n, t, d, c = kinds["n"], kinds["t"], kinds["d"], kinds["c"]
        parts = {"n": n, "m": n, "t": t, "u": t, "d": d, "e": d, "c": c, "b": c}
        kinds = {
            "n": n | _filled(_templates(
                "({n} + {m})", "({n} - {m})", "({n} * {m})", "({n} / {m})", "({n} % {m})", "(- {n})", "abs({n})", "sign({n})",
                "ceil({n})", "floor({n})", "round({n}, 1)", "COALESCE({n}, {m})", "NULLIF({n}, {m})", "GREATEST({n}, {m})",
                "LEAST({n}, {m}, 1)", "CASE WHEN {c} THEN {n} ELSE {m} END", "length({t})", "strpos({t}, {u})", "({t})::int",
                "({t})::numeric(10,2)", "({n})::bigint", "({n})::numeric(20,3)", "({n})::double precision", "({c})::int",
                "extract(day from {d})", "extract(isodow from {d})", "(({d})::date - ({e})::date)"), **parts),
            "t": t | _filled(_templates(
                "({t} || {u})", "lower({t})", "upper({t})", "trim({t})", "left({t}, 2)", "right({t}, 3)", "substr({t}, 2, 2)",
                "replace({t}, {u}, 'é')", "ltrim({t}, {u})", "COALESCE({t}, {u})", "NULLIF({t}, {u})", "GREATEST({t}, {u})",
                "CASE WHEN {c} THEN {t} ELSE {u} END", "({c})::text", "(({n})::bigint)::text", "({d})::date::text"), **parts),
            "d": d | _filled(_templates(
                "({d})::date", "({d})::timestamp", "({d})::timestamptz", "COALESCE({d}, {e})", "GREATEST({d}, {e})",
                "CASE WHEN {c} THEN {d} ELSE {e} END", "({d} - interval '36 hours')", "({d} + interval '2 weeks')",
                "(({d})::date + ({n})::int % 1000)", "(({d})::date - length({t}))", "date_trunc('week', {d})",
                "date_trunc('quarter', {d})"), **parts),
            "c": c | _filled(_templates(
                "({n} = {m})", "({n} < {m})", "({t} = {u})", "({t} < {u})", "({d} >= {e})", "({d} BETWEEN {e} AND now())",
                "({t} BETWEEN {u} AND 'z')",
                "({n} BETWEEN -1 AND {m})", "({n} IN (1, {m}, NULL))", "({t} NOT IN ('a', {u}))", "({c} AND {b})", "({c} OR {b})",
                "(NOT {c})", "({n} IS DISTINCT FROM {m})", "({t} IS NOT DISTINCT FROM {u})", "({c} IS NOT TRUE)",
                "({t} LIKE '%e_')", "({t} ILIKE 'v%')", "starts_with({t}, {u})", "({n} IS NULL)", "({d} IS NULL)"), **parts),
        }  # fmt: skip
    return kinds


GROWN = _grown(3)
EXPRESSIONS = GROWN["n"] | GROWN["t"] | GROWN["d"] | GROWN["c"]


def _plain(value: Any) -> Any:
    """A value with its type; a zero has no sign."""
    return type(value).__name__, str(value + 0 if isinstance(value, float) else value)


@settings(max_examples=5_000 if SOAK else 250)
@given(EXPRESSIONS)
def test_engines_agree_about_random_expressions(rows: Bench, expression: str) -> None:
    """Whatever the language lets through has one value for each row, or is an error on both engines."""
    refusals = {look: _refusal(rows, look, expression) for look in ALL}
    assert len(set(refusals.values())) == 1
    if refusals["duckdb"]:
        return
    found = [[_plain(value) for value in rows.values(look, expression, range(len(ROWS)))] for look in ALL]
    differing = [each for each in zip(*found, strict=True) if len({*each}) > 1]
    # An engine need not look at a value beside a constant NULL, nor at a constant that nothing needs.
    excused = {_plain(None), _plain(ERROR)} if "'" in expression or "NULL" in expression else None
    assert [each for each in differing if {*each} != excused] == []


def _refusal(rows: Bench, look: str, expression: str) -> str | None:
    """What the compiler has against an expression."""
    try:
        rows.compiled(look, expression)
    except ExpressionError as error:
        return str(error)
    return None


def _rounded(text: str, precision: int, scale: int) -> Any:
    """What a number's text is as numeric(p,s)."""
    with localcontext() as context:
        context.prec = 800
        value = Decimal(text).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
    return str(value + 0) if abs(value) < Decimal(10) ** (precision - scale) else ERROR


def _numeric(rows: Bench, column: str, value: Any, precision: int, scale: int) -> dict[str, Any]:
    """A cast on each engine, of one value written into a row."""
    found = {}
    for look in ENGINES:
        with rows.stores[look].transaction() as session:
            session.execute(statement(f"update facts set {column} = :value where id = 0", value=value))
        given_back = rows.value(look, f"{column}::numeric({precision},{scale})", 0)
        found[look] = given_back if given_back is ERROR else str(given_back + 0)
    return found


digits = st.integers(1, 38).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, min(p, 30))))


@settings(max_examples=5_000 if SOAK else 150)
@given(st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-(10**6), 10**6, places=3).map(float), digits)
@example(1.005, (10, 2))
@example(2.5, (5, 0))
@example(1e22, (38, 2))
@example(-0.0, (3, 2))
@example(5e-324, (38, 30))
@example(9.5, (1, 0))
@example(4.515461395944606e16, (17, 0))
@example(float(2**53 - 1), (20, 0))
@example(float(2**53), (20, 0))
def test_a_float_becomes_the_decimal_that_it_shows(rows: Bench, value: float, pair: tuple[int, int]) -> None:
    """Its shortest text, from 2^53 on its first 15 digits, rounded half away from zero; or an error if too long."""
    expected = _rounded(repr(value) if abs(value) < 2**53 else f"{value:.15g}", *pair)
    found = _numeric(rows, "ratio", value, *pair)
    assert found == {"duckdb": expected, "postgres": expected}


NUMBER_TEXTS = st.from_regex(r"[+-]?([0-9]{1,42}(\.[0-9]{0,42})?|\.[0-9]{1,42})", fullmatch=True)


@settings(max_examples=5_000 if SOAK else 150)
@given(NUMBER_TEXTS, digits)
@example("99.95", (3, 1))
@example("9" * 38 + ".5", (38, 0))
def test_text_becomes_the_decimal_that_it_says(rows: Bench, text: str, pair: tuple[int, int]) -> None:
    """Every digit counts, rounded half away from zero."""
    expected = _rounded(text, *pair)
    found = _numeric(rows, "txt", text, *pair)
    assert found == {"duckdb": expected, "postgres": expected}
