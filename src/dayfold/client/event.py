"""One event as the collector reads it: JSON on one line, whatever was given. Of the client, standard library only.

Invariant: what comes out is UTF-8 without a line break, and JSON to every reader.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import os
import time
from collections.abc import Mapping
from typing import Any

#: Numbers below are seconds since 1970, others milliseconds: the former reach to the year 5138, the latter begin in 1973.
_MILLISECONDS_FROM = 1e11
#: Nesting beyond is nobody's event.
_DEPTH = 64


def new_id() -> str:
    """A new UUID whose beginning grows with time (version 7), so that an index of ids stays together.

    >>> len(new_id()), new_id()[14], new_id() < new_id()[:8] + "~"
    (36, '7', True)
    """
    moment, chance = f"{time.time_ns() // 1_000_000:012x}", os.urandom(9).hex()
    return f"{moment[:8]}-{moment[8:]}-7{chance[:3]}-{'89ab'[int(chance[3], 16) & 3]}{chance[4:7]}-{chance[6:18]}"


def moment(given: object) -> object:
    """When something happened, as the collector reads it: ISO text, or milliseconds since 1970.

    A datetime without a zone is UTC.

    >>> moment(dt.datetime(2026, 3, 9, 10)), moment(1773050400), moment(1773050400000), moment("2026-03-09")
    ('2026-03-09T10:00:00+00:00', 1773050400000, 1773050400000, '2026-03-09')
    """
    if isinstance(given, dt.datetime):
        return (given if given.tzinfo else given.replace(tzinfo=dt.UTC)).isoformat()
    if isinstance(given, int | float):
        return int(given * 1000) if abs(given) < _MILLISECONDS_FROM else int(given)
    return given.isoformat() if isinstance(given, dt.date) else str(given)


def line(event: Mapping[str, object]) -> bytes:
    r"""An event as JSON; what JSON cannot hold is made text.

    Raises:
        Exception: of any kind, where that cannot be done: a value that contains itself, or has no text.

    >>> line({"at": dt.date(2026, 3, 9), "share": float("nan"), "tags": {"a"}, ("x", 1): b"\xff", "text": "\ud800"})
    b'{"at":"2026-03-09","share":"nan","tags":["a"],"(\'x\', 1)":"\xef\xbf\xbd","text":"?"}'
    """
    try:
        text = _encode(event)
    except (TypeError, ValueError):
        text = _encode(_plain(event, ()))
    return text.encode("utf-8", "replace")


def _text(value: object) -> object:
    """What stands for a value that JSON does not have."""
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    if hasattr(value, "__index__"):
        return int(value)
    return str(value)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_text).encode


def _plain(value: Any, above: tuple[int, ...]) -> object:
    """A copy that JSON can hold; ``above``: the containers that it stands in."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        made = _text(value)
        return made if isinstance(made, str) else _plain(made, (*above, id(value)))
    if id(value) in above or len(above) >= _DEPTH:
        raise ValueError("it contains itself, or is nested too deeply")
    above = (*above, id(value))
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): _plain(one, above) for key, one in value.items()}
    return [_plain(one, above) for one in value]
