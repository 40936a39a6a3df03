"""How SQLGlot prints trees of ours for ClickHouse. Plan floor, pure.

SQLGlot knows ClickHouse; this adds what it takes for the same value to come out as on the other engines: wide days and moments, numbers
that fail where they would wrap or be cut, NULLs that equal NULLs, and parameters that the session names with their types.

Weakness: a text in a column that may be NULL, cast to another type, gives NULL where it cannot be read; `dayfold.plan.dialect` has a
piece that fails, for texts that somebody else wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.clickhouse import ClickHouse as _ClickHouse

#: What this spelling is called where SQLGlot is told which one to use.
NAME = "dayfoldclickhouse"
MOMENT = "DateTime64(6, 'UTC')"
#: The most digits of a number that others than ClickHouse have as well.
_MAX_DIGITS = 38

_T = exp.DataType.Type
_NAMES = {
    _T.BOOLEAN: "Bool",
    _T.SMALLINT: "Int16",
    _T.INT: "Int32",
    _T.BIGINT: "Int64",
    _T.INT128: "Int128",
    _T.INT256: "Int256",
    _T.FLOAT: "Float32",
    _T.DOUBLE: "Float64",
    _T.TEXT: "String",
    _T.VARCHAR: "String",
    _T.JSON: "String",
    _T.JSONB: "String",
    _T.UUID: "UUID",
    _T.DATE: "Date32",
    _T.DATE32: "Date32",
    _T.TIMESTAMP: MOMENT,
    _T.TIMESTAMPTZ: MOMENT,
    _T.TIMESTAMPNTZ: MOMENT,
    _T.DATETIME: MOMENT,
    _T.DATETIME64: MOMENT,
}
#: Whole numbers that do not fit are an error in these; ClickHouse's own cast lets them wrap.
_WHOLE = (_T.SMALLINT, _T.INT, _T.BIGINT)
_FIELDS = {
    "YEAR": "toYear(_x)",
    "QUARTER": "toQuarter(_x)",
    "MONTH": "toMonth(_x)",
    "DAY": "toDayOfMonth(_x)",
    "HOUR": "toHour(_x)",
    "MINUTE": "toMinute(_x)",
    "SECOND": "toSecond(_x)",
    "DOW": "toDayOfWeek(_x) % 7",
    "ISODOW": "toDayOfWeek(_x)",
}


class DayfoldClickhouse(_ClickHouse):
    """ClickHouse as Dayfold speaks it."""

    class Generator(_ClickHouse.Generator):  # type: ignore[misc, valid-type]
        """Trees of ours, as the module says."""

        TYPE_MAPPING: ClassVar[dict[Any, str]] = {**_ClickHouse.Generator.TYPE_MAPPING, **_NAMES}
        TRANSFORMS: ClassVar[dict[Any, Any]] = {
            kind: how for kind, how in _ClickHouse.Generator.TRANSFORMS.items() if kind not in (exp.Lag, exp.Lead)
        }

        def parameter_sql(self, expression: exp.Parameter) -> str:
            return f"${expression.name}"

        def cast_sql(self, expression: exp.Cast, safe_prefix: str | None = None) -> str:
            to, value = expression.to, expression.this
            text, kind = self.sql(value), type_name(to)
            if isinstance(value, exp.Null):
                # There is no NULL of an array; an empty one stands for it.
                return f"CAST([] AS {kind})" if to.this is _T.ARRAY else f"CAST({text} AS Nullable({kind}))"
            if to.this in (_T.DECIMAL, _T.DECIMAL128, _T.DECIMAL256) and not isinstance(value, exp.Literal):
                return _rounded(text, kind, *_digits(to))
            if to.this in _WHOLE:
                return f"accurateCast({text}, '{kind}')"
            return f"CAST({text} AS {kind})"

        def trycast_sql(self, expression: exp.TryCast) -> str:
            return f"accurateCastOrNull({self.sql(expression.this)}, {_quoted(type_name(expression.to))})"

        def extract_sql(self, expression: exp.Extract) -> str:
            if expression.name.upper() == "EPOCH":
                return f"toUnixTimestamp64Micro(CAST({self.sql(expression.expression)} AS {MOMENT})) / 1000000"
            return f"({_FIELDS[expression.name.upper()].replace('_x', self.sql(expression.expression))})"

        def interval_sql(self, expression: exp.Interval) -> str:
            unit = str(expression.args["unit"]).lower().removesuffix("s").capitalize()
            number = expression.this
            shown = number.name if isinstance(number, exp.Literal) else self.sql(number)
            return f"toInterval{unit}({shown})"

        def is_sql(self, expression: exp.Is) -> str:
            if isinstance(expression.expression, exp.Boolean):
                wanted = expression.expression.this
                test = f"coalesce({self.sql(expression.this)}, {'FALSE' if wanted else 'TRUE'})"
                return test if wanted else f"(NOT {test})"
            return f"({self.sql(expression.this)} IS NULL)"

        def in_sql(self, expression: exp.In) -> str:
            options = expression.expressions
            if not options or all(isinstance(one, exp.Literal) for one in options):
                return str(super().in_sql(expression))
            # A list takes constants of the value's own type, and no NULL among them makes it unknown.
            tests = [exp.EQ(this=expression.this.copy(), expression=one.copy()) for one in options]
            return f"({' OR '.join(self.sql(one) for one in tests)})"

        def escape_sql(self, expression: exp.Escape) -> str:
            like = expression.this
            pattern = translated_pattern(like.expression.name, expression.expression.name)
            return str(self.sql(type(like)(this=like.this.copy(), expression=exp.Literal.string(pattern))))

        def translate_sql(self, expression: exp.Translate) -> str:
            parts = (expression.this, expression.args["from_"], expression.args["to"])
            return f"translate({', '.join(self.sql(one) for one in parts)})"

        def lag_sql(self, expression: exp.Lag) -> str:
            # A column without NULLs has some other value where there is no such row.
            return f"lag(toNullable({self.sql(expression.this)}))"

        def lead_sql(self, expression: exp.Lead) -> str:
            return f"lead(toNullable({self.sql(expression.this)}))"

        def logicalor_sql(self, expression: exp.LogicalOr) -> str:
            return f"max({self.sql(expression.this)})"

        def logicaland_sql(self, expression: exp.LogicalAnd) -> str:
            return f"min({self.sql(expression.this)})"

        def values_sql(self, expression: exp.Values, values_as_table: bool = True) -> str:
            if not isinstance(expression.parent, exp.From | exp.Join):
                return str(super().values_sql(expression, values_as_table))
            columns = [self.sql(one) for one in expression.args["alias"].columns]
            rows = [
                ", ".join(f"{self.sql(v)} AS {c}" for v, c in zip(row.expressions, columns, strict=True))
                for row in expression.expressions
            ]
            whole = " UNION ALL ".join(f"SELECT {row}" for row in rows)
            return f"({whole}) AS {self.sql(expression.args['alias'], 'this')}"

        def exists_sql(self, expression: exp.Exists) -> str:
            found = as_membership(expression)
            return str(self.sql(found) if found is not None else super().exists_sql(expression))

        def select_sql(self, expression: exp.Select) -> str:
            """Lists that a select unfolds side by side; several of them would be unfolded in all their combinations."""
            for one in expression.expressions:
                if isinstance(one, exp.Column) and one.table and not isinstance(one.this, exp.Star):
                    # Where another relation has a column of that name, the result's would be called "relation.name".
                    one.replace(exp.alias_(one.copy(), one.this.copy()))
            lists = [one for one in expression.expressions if isinstance(one.unalias(), exp.Explode | exp.Unnest)]
            if len(lists) < 2:
                return str(super().select_sql(expression))
            tree = expression.copy()
            named = [one for one in tree.expressions if isinstance(one.unalias(), exp.Explode | exp.Unnest)]
            parts = [one.unalias() for one in named]
            arrays = [one.expressions[0] if isinstance(one, exp.Unnest) else one.this for one in parts]
            zipped = exp.Anonymous(
                this="arrayJoin",
                expressions=[exp.Anonymous(this="arrayZipUnaligned", expressions=[one.copy() for one in arrays])],
            )
            for place, one in enumerate(named):
                element = exp.Anonymous(this="tupleElement", expressions=[zipped.copy(), exp.Literal.number(place + 1)])
                one.replace(exp.alias_(element, one.alias, quoted=True) if one.alias else element)
            return str(super().select_sql(tree))

        def count_sql(self, expression: exp.Count) -> str:
            """A number with a sign, as every other whole number is: ClickHouse knows no type for one of each."""
            text = str(self.function_fallback_sql(expression))
            return text if isinstance(expression.parent, exp.Filter | exp.Window) else f"toInt64({text})"

        def filter_sql(self, expression: exp.Filter) -> str:
            text = str(super().filter_sql(expression))
            inside = isinstance(expression.parent, exp.Window) or not isinstance(expression.this, exp.Count)
            return str(text) if inside else f"toInt64({text})"

        def window_sql(self, expression: exp.Window) -> str:
            text = str(super().window_sql(expression))
            of = expression.this.this if isinstance(expression.this, exp.Filter) else expression.this
            return f"toInt64({text})" if isinstance(of, exp.Count | exp.RowNumber | exp.Rank) else text

        def windowspec_sql(self, expression: exp.WindowSpec) -> str:
            if expression.args.get("kind") != "GROUPS":
                return str(super().windowspec_sql(expression))
            # There are no frames of groups. Ours are over days, of which the group before is at most the day before.
            other = expression.copy()
            other.set("kind", "RANGE")
            return str(super().windowspec_sql(other))


def type_name(to: exp.DataType) -> str:
    """What ClickHouse calls a type, without whether it may be NULL."""
    if to.this is _T.ARRAY:
        # What is called a list in ClickHouse's own words says whether there are NULLs in it; what is in others' words may have some.
        [inner] = to.expressions
        return (
            f"Array({type_name(inner)})"
            if inner.args.get("nullable") is False
            else f"Array(Nullable({type_name(inner)}))"
        )
    if to.this in (_T.DECIMAL, _T.DECIMAL128, _T.DECIMAL256):
        precision, scale = _digits(to)
        return f"Decimal({precision}, {scale})"
    return _NAMES[to.this]


def _digits(to: exp.DataType) -> tuple[int, int]:
    numbers = [int(one.name) for one in to.expressions]
    if not numbers:
        return _MAX_DIGITS, _MAX_DIGITS // 2
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def _rounded(text: str, kind: str, precision: int, scale: int) -> str:
    """A number as a decimal: rounded half away from zero, and an error where it has more digits.

    ClickHouse's own cast cuts digits off, and takes numbers of more digits where they fit the bytes.
    """
    limit = f"toDecimal256('1e{precision - scale}', 0)"
    # The value is named once, so that nested casts do not double their text. What fails depends on it: a constant would fail always.
    fits = f"CASE WHEN abs(v__) < {limit} THEN CAST(v__ AS {kind}) WHEN NOT v__ IS NULL THEN "
    fails = f"CAST(concat('!', toString(assumeNotNull(v__))) AS {kind}) END"
    return f"arrayElement(arrayMap(v__ -> {fits}{fails}, [round(toDecimal256({text}, {scale + 1}), {scale})]), 1)"


def _quoted(text: str) -> str:
    return exp.Literal.string(text).sql(dialect="clickhouse")


def translated_pattern(pattern: str, mark: str) -> str:
    r"""A pattern of LIKE with ClickHouse's own escape sign, which is a backslash and escapes three signs only.

    >>> translated_pattern("a!_b%", "!")
    'a\\_b%'
    """
    found, signs = "", iter(pattern)
    for sign in signs:
        if sign == mark:
            escaped = next(signs, "")
            found += f"\\{escaped}" if escaped in ("%", "_", "\\") else escaped
        else:
            found += "\\\\" if sign == "\\" else sign
    return found


def as_membership(exists: exp.Exists) -> exp.In | None:
    """An EXISTS that compares columns of its own with others from outside, as an IN over tuples; None where it is none.

    In an EXISTS of ClickHouse's, NULL is never found to be like NULL, and much else that is correlated is refused.
    """
    select = exists.this
    if isinstance(select, exp.Subquery):
        select = select.this
    if not isinstance(select, exp.Select) or select.args.get("group") or select.args.get("where") is None:
        return None
    mine = {one.alias_or_name for one in _relations(select)}
    outer, inner, rest = [], [], []
    for test in _conjunction(select.args["where"].this):
        places = {one.table for one in test.find_all(exp.Column) if one.find_ancestor(exp.Select) is select}
        sides = (test.left, test.right) if isinstance(test, exp.EQ | exp.NullSafeEQ) else ()
        if all(place in mine for place in places) or not sides:
            if any(place and place not in mine for place in places):
                return None
            rest.append(test)
            continue
        here = [side for side in sides if _is_of(side, mine)]
        there = [side for side in sides if not any(one.table in mine for one in side.find_all(exp.Column))]
        if len(here) != 1 or len(there) != 1:
            if any(place and place not in mine for place in places):
                return None
            rest.append(test)
            continue
        inner.append(here[0].copy())
        outer.append(there[0].copy())
        if isinstance(test, exp.EQ):
            rest.append(exp.Not(this=exp.Is(this=here[0].copy(), expression=exp.Null())))
    if not inner:
        return None
    query = select.copy()
    for part in ("expressions", "distinct", "where"):
        query.set(part, None)
    query.set("expressions", [exp.Anonymous(this="tuple", expressions=inner)])
    if rest:
        query = query.where(*(one.copy() for one in rest))
    return exp.In(this=exp.Anonymous(this="tuple", expressions=outer), query=exp.Subquery(this=query))


def _relations(select: exp.Select) -> Iterator[exp.Expr]:
    source = select.args.get("from_") or select.args.get("from")
    if source is not None:
        yield source.this
    for join in select.args.get("joins") or []:
        yield join.this


def _conjunction(tree: exp.Expr) -> Iterator[exp.Expr]:
    tree = tree.unnest()
    if isinstance(tree, exp.And):
        yield from _conjunction(tree.left)
        yield from _conjunction(tree.right)
    else:
        yield tree


def _is_of(tree: exp.Expr, relations: set[str]) -> bool:
    """Whether all columns of a tree are said to be of some relations, and there are some."""
    columns = list(tree.find_all(exp.Column))
    return bool(columns) and all(one.table in relations for one in columns)
