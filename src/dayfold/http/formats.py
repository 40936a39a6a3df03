"""The forms that answers are given in over HTTP. HTTP door."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

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
