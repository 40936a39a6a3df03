"""What is wrong with the shape of an event, in the words of its sender. Collect floor, pure.

Invariant: no value of an event is repeated, and of its names only those that an event has not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import msgspec

from dayfold.names import listing, suggestion

#: Letters of a name that are repeated.
_LETTERS = 200
_PLACE = r"(?: - at `\$\.?(?P<place>[^`]*)`)?"
_UNKNOWN = re.compile(rf"Object contains unknown field `(?P<name>.*?)`{_PLACE}", re.DOTALL)
_MISSING = re.compile(rf"Object missing required field `(?P<name>[^`]*)`{_PLACE}")
_OTHER = re.compile(rf"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`{_PLACE}")
#: What the decoder calls the kinds of JSON.
_KINDS = {
    "object": "an object",
    "array": "a list",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
}


def complaint(
    error: msgspec.ValidationError, fields: Collection[str], columns: Iterable[str] = (), subject: str = "An event"
) -> str:
    """What the decoder found wrong with an event, or with what events are sent in.

    Args:
        error: What it said.
        fields: The fields that it has.
        columns: What the definitions declare beside them.
        subject: What it is called.

    >>> class Event(msgspec.Struct, forbid_unknown_fields=True):
    ...     event_type: str
    >>> def said(body: bytes) -> str:
    ...     try:
    ...         msgspec.json.decode(body, type=Event)
    ...     except msgspec.ValidationError as error:
    ...         return complaint(error, ["event_type"], ["asset_id"])
    >>> said(b"{}")
    "'event_type' is missing."
    >>> said(b'{"event_typ": "a"}')
    "An event has no field 'event_typ'; the nearest is 'event_type'."
    >>> said(b'{"event_type": ["a"]}')
    "'event_type' is a text, got a list."
    """
    text = str(error)
    if (found := _MISSING.fullmatch(text)) is not None:
        return f"'{_path(found)}' is missing."
    if (found := _UNKNOWN.fullmatch(text)) is not None:
        name, place = found["name"][:_LETTERS], found["place"]
        if place:
            return f"'{place}' has no field '{name}'."
        if name in columns:
            return f"{subject} has no field '{name}': it is a column, and is said in 'properties'."
        nearest = suggestion(name, fields)
        rest = ", and says all else in 'properties'" if "properties" in fields else ""
        more = "" if nearest else f"; it has {listing(fields)}{rest}"
        return f"{subject} has no field '{name}'{nearest or more}."
    if (found := _OTHER.fullmatch(text)) is not None:
        kinds = [one for one in found["expected"].split(" | ") if one != "null"]
        expected = " or ".join(_KINDS.get(one, one) for one in kinds)
        what = f"'{found['place']}'" if found["place"] else subject
        return f"{what} is {expected}, got {_KINDS.get(found['got'], found['got'])}."
    return f"{text}."


def _path(found: re.Match[str]) -> str:
    return f"{found['place']}.{found['name']}" if found["place"] else found["name"]
