"""The registry of event types: what `events.types(…)` declares, and whether an event is as declared. Definitions floor, pure.

Invariant: a complaint names properties and types as they were declared, never what an event holds.
Weakness: nested values are not described; they are ``json``.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from dayfold.define.events import Said
from dayfold.define.source import Place
from dayfold.errors import Problem
from dayfold.names import listing, suggestion

#: What the collector and its tracker themselves call events; these need no declaration.
BUILT_IN = ("page_viewed", "page_engaged", "screen_viewed", "identified", "grouped", "aliased")
#: The most letters of a type's, family's or property's name.
NAME_LETTERS = 200
#: For so many unknown types the nearest known one is looked for: that takes as long as a thousand checks.
_LOOKED_UP = 1000
_BIGINT = 1 << 63
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}").fullmatch
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)"
).fullmatch


def _is_bigint(value: object) -> bool:
    whole = value.is_integer() if isinstance(value, float) else isinstance(value, int) and not isinstance(value, bool)
    return whole and -_BIGINT <= value < _BIGINT  # type: ignore[operator]


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and _DATE(value) is not None and dt.date.fromisoformat(value) is not None
    except ValueError:
        return False


def _is_moment(value: object) -> bool:
    try:
        return (
            isinstance(value, str)
            and _MOMENT(value) is not None
            and dt.datetime.fromisoformat(value.upper()) is not None
        )
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type of properties: which values are of it, what a person expects, and what other languages call it."""

    fits: Callable[[Any], bool]
    expected: str
    typescript: str
    schema: Mapping[str, object]


_KINDS = {
    "text": _Kind(lambda value: isinstance(value, str), "text", "string", {"type": "string"}),
    "bigint": _Kind(
        _is_bigint, "bigint (a whole number of 64 bits)", "number",
        {"type": "integer", "minimum": -_BIGINT, "maximum": _BIGINT - 1},
    ),
    "numeric": _Kind(
        lambda value: isinstance(value, int | float | Decimal) and not isinstance(value, bool),
        "numeric (a number)", "number", {"type": "number"},
    ),
    "boolean": _Kind(lambda value: isinstance(value, bool), "boolean", "boolean", {"type": "boolean"}),
    "date": _Kind(_is_date, "date (YYYY-MM-DD)", "string", {"type": "string", "format": "date"}),
    "timestamptz": _Kind(
        _is_moment, "timestamptz (ISO with a zone, such as 2026-03-09T10:00:00Z)", "string",
        {"type": "string", "format": "date-time"},
    ),
    "json": _Kind(lambda value: True, "json", "unknown", {}),
    "uuid": _Kind(
        lambda value: isinstance(value, str) and _UUID(value) is not None,
        "uuid", "string", {"type": "string", "format": "uuid"},
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a type of events, as it was declared.

    Attributes:
        type: One of text, bigint, numeric, boolean, date, timestamptz, json and uuid.
        values: The only texts that it may be; none: any value of its type.

    >>> one = Property("format", "text", required=False, values=("pdf", "png"))
    >>> print(one.words, one.complaint(None), one.complaint("gif"), sep="; ")
    "pdf" | "png"; None; the property 'format' is text, expected "pdf" or "png".
    """

    name: str
    type: str
    required: bool = True
    values: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Its type as a person writes it."""
        return " | ".join(map(_quoted, self.values)) or self.type

    def test(self) -> Callable[[Any], bool]:
        """Whether a value is of its type; quick, and made once."""
        if self.values:
            allowed = frozenset(self.values)
            return lambda value: isinstance(value, str) and value in allowed
        return _KINDS[self.type].fits

    def complaint(self, *values: object) -> str | None:
        """What is wrong with its value, none where it is missing; None where it is as declared.

        Null is as good as missing, but for ``json``.
        """
        absent = not values or (values[0] is None and self.type != "json")
        if not self.required if absent else self.test()(values[0]):
            return None
        expected = " or ".join(map(_quoted, self.values)) or _KINDS[self.type].expected
        return f"the property '{self.name}' is {_called(values[0]) if values else 'missing'}, expected {expected}."

    def schema(self) -> dict[str, object]:
        """Its values as JSON Schema."""
        if self.values:
            return {"enum": [*self.values, *([] if self.required else [None])]}
        found = dict(_KINDS[self.type].schema)
        if found and not self.required:
            found["type"] = [found["type"], "null"]
        return found

    def typescript(self) -> list[str]:
        """Its lines of an interface."""
        type_ = self.words if self.values else _KINDS[self.type].typescript
        if not self.required and type_ != "unknown":
            type_ += " | null"
        note = [f"/** {_KINDS[self.type].expected} */"] if self.type not in ("text", "boolean", "json") else []
        return [*note, f"{_member(self.name)}{'' if self.required else '?'}: {type_};"]


#: A check as the door makes it: the property's name, whether a value is of its type, and who says what is wrong.
_Check = tuple[str, Callable[[Any], bool], Property]


@dataclass(frozen=True, slots=True)
class EventTypes:
    """The types of events that an application declares.

    Attributes:
        families: Family, type, and the properties of that type.

    >>> words = {"license": {"license_created": {"revenue_cents": "bigint", "currency?": "text"}}}
    >>> types = EventTypes.of([Said("types", {"": words}, Place("metrics.py", 3))])
    >>> types.complaint("license_created", {"revenue_cents": 500, "note": "kept"})
    >>> types.complaint("license_created", {"revenue_cents": True})
    "the property 'revenue_cents' is boolean, expected bigint (a whole number of 64 bits)."
    >>> types.complaint("licence_created", {})
    "its type is not declared; the nearest is 'license_created'."
    """

    families: Mapping[str, Mapping[str, tuple[Property, ...]]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    _checks: dict[str, tuple[_Check, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _unknown: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        checks: dict[str, tuple[_Check, ...]] = {}
        for types in self.families.values():
            for name, properties in types.items():
                checks[name] = tuple((one.name, one.test(), one) for one in properties)
        if checks:
            self._checks.update({**dict.fromkeys(BUILT_IN, ()), **checks})

    @classmethod
    def of(cls, statements: Iterable[Said]) -> EventTypes:
        """The types of all statements together, and every mistake in them."""
        reading = _Reading()
        for one in statements:
            if one.what == "types":
                reading.statement(one.words.get(""), one.place)
        return cls(reading.families, tuple(reading.problems))

    def complaint(self, event_type: str, properties: Mapping[str, Any]) -> str | None:
        """Why an event is not as declared, in words without its values; None where it is, or where nothing is declared."""
        checks = self._checks.get(event_type)
        if checks is None:
            return self._not_declared(event_type) if self._checks else None
        for name, fits, one in checks:
            value = properties.get(name)
            if value is None or not fits(value):
                wrong = one.complaint(value) if name in properties else one.complaint()
                if wrong:
                    return wrong
        return None

    def _not_declared(self, event_type: str) -> str:
        """The complaint about an unknown type; whoever sends one after another keeps nobody busy."""
        found = self._unknown.get(event_type)
        if found is None:
            known = len(self._unknown) < _LOOKED_UP and len(event_type) <= NAME_LETTERS
            found = f"its type is not declared{suggestion(event_type, self._checks) if known else ''}."
            if known:
                self._unknown[event_type] = found
        return found

    def as_typescript(self) -> str:
        """Declarations for a front end: what each type holds, and the union of their names.

        >>> print(EventTypes().as_typescript())
        // Written by `dayfold events types --format ts`; edit the definitions and run it again.
        <BLANKLINE>
        /** The properties of each type of events. An event may have others beside them. */
        export interface EventTypes {}
        <BLANKLINE>
        /** The name of a type of events. */
        export type EventType = keyof EventTypes;
        <BLANKLINE>
        """
        lines = []
        for family, types in self.families.items():
            for name, properties in types.items():
                lines.append(f"  /** Of the family {_in_comment(family)}. */")
                if properties:
                    members = [f"    {line}" for one in properties for line in one.typescript()]
                    lines += [f"  {_member(name)}: {{", *members, "  };"]
                else:
                    lines.append(f"  {_member(name)}: Record<string, unknown>;")
        body = "{\n" + "\n".join(lines) + "\n}" if lines else "{}"
        return (
            "// Written by `dayfold events types --format ts`; edit the definitions and run it again.\n\n"
            "/** The properties of each type of events. An event may have others beside them. */\n"
            f"export interface EventTypes {body}\n\n"
            "/** The name of a type of events. */\n"
            "export type EventType = keyof EventTypes;\n"
        )

    def as_json(self) -> dict[str, object]:
        """The family of each type, and the JSON Schema of its properties.

        >>> EventTypes({"asset": {"asset_viewed": (Property("page", "bigint", required=False),)}}).as_json()["types"]
        {'asset_viewed': {'family': 'asset', 'schema': {'$schema': 'https://json-schema.org/draft/2020-12/schema',
        'title': 'asset_viewed', 'type': 'object', 'properties': {'page': {'type': ['integer', 'null'],
        'minimum': -9223372036854775808, 'maximum': 9223372036854775807}}, 'required': []}}}
        """
        return {
            "types": {
                name: {
                    "family": family,
                    "schema": {
                        "$schema": "https://json-schema.org/draft/2020-12/schema",
                        "title": name,
                        "type": "object",
                        "properties": {one.name: one.schema() for one in properties},
                        "required": [one.name for one in properties if one.required],
                    },
                }
                for family, types in self.families.items()
                for name, properties in types.items()
            }
        }


class _Reading:
    """Statements being read: what they declare, and each mistake with its place."""

    def __init__(self) -> None:
        self.families: dict[str, dict[str, tuple[Property, ...]]] = {}
        self.problems: list[Problem] = []
        self._places: dict[str, Place] = {}
        self._place = Place("", 0)

    def statement(self, families: object, place: Place) -> None:
        """Take in what one statement says."""
        self._place = place
        for family, types in self._items(families, "families", '{"asset": {"asset_viewed": {}}}'):
            if not self._named("a family", family):
                continue
            known = self.families.setdefault(family, {})
            for name, properties in self._items(types, f"the family '{family}'", '{"asset_viewed": {}}'):
                if not self._named("a type", name):
                    continue
                if taken := self._places.get(name):
                    self._problem("duplicate-name", f"the type '{name}' is taken by {taken}.")
                    continue
                self._places[name] = place
                known[name] = tuple(self._properties(family, name, properties))

    def _properties(self, family: str, type_: str, given: object) -> Iterator[Property]:
        taken = set()
        example = '{"revenue_cents": "bigint", "currency?": "text"}'
        if isinstance(given, str | list | tuple):
            # What a property holds: the families were left out.
            example = f'{{"family": {{"{family}": {{"{type_}": …}}}}}} if \'{family}\' is a type, else {example}'
        for written, kind in self._items(given, f"the type '{type_}'", example):
            name = written[:-1] if isinstance(written, str) and written.endswith("?") else written
            if not self._named(f"a property of '{type_}'", name):
                continue
            if name in taken:
                self._problem(
                    "duplicate-name", f"the property '{name}' of '{type_}' is there twice, with and without '?'."
                )
                continue
            taken.add(name)
            if found := self._property(type_, name, kind, required=name == written):
                yield found

    def _property(self, type_: str, name: str, kind: object, *, required: bool) -> Property | None:
        subject = f"the property '{name}' of '{type_}'"
        if isinstance(kind, str):
            word = kind.strip().lower()
            if word in _KINDS:
                return Property(name, word, required)
            self._problem(
                "bad-value",
                f"{subject} has no type {kind!r}{suggestion(kind, _KINDS)}.",
                f"Types: {listing(_KINDS)}; or a list of texts, one of which it is.",
            )
        elif isinstance(kind, list | tuple):
            if kind and all(isinstance(one, str) for one in kind):
                return Property(name, "text", required, tuple(dict.fromkeys(kind)))
            got = "a list of others" if kind else "an empty list"
            self._problem("bad-value", f"{subject}: expected a list of texts, got {got}.")
        else:
            self._problem(
                "bad-value",
                f"{subject}: expected a type or a list of texts, got {type(kind).__name__}.",
                f"Types: {listing(_KINDS)}",
            )
        return None

    def _items(self, given: object, what: str, example: str) -> Iterable[tuple[Any, object]]:
        if isinstance(given, Mapping):
            return given.items()
        self._problem("bad-value", f"{what}: expected a mapping, got {type(given).__name__}.", f"Write {example}.")
        return ()

    def _named(self, what: str, name: object) -> bool:
        if isinstance(name, str) and 0 < len(name) <= NAME_LETTERS and name.isprintable() and name == name.strip():
            return True
        got = repr(name) if not isinstance(name, str) or len(name) <= NAME_LETTERS else f"{len(name)} letters"
        self._problem("bad-name", f"{what} has a name of 1 to {NAME_LETTERS} printable letters, got {got}.")
        return False

    def _problem(self, code: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(code, str(self._place), "events.types", message, hint))


def _called(value: object) -> str:
    """What JSON calls the type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "text"
        case int() | float() | Decimal():
            return "a number"
        case Mapping():
            return "an object"
    return "a list"


def _quoted(text: str) -> str:
    """A text as JSON and TypeScript write it."""
    return json.dumps(text, ensure_ascii=False)


def _member(name: str) -> str:
    """A name as the member of an interface."""
    return name if re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_$]*", name) else _quoted(name)


def _in_comment(text: str) -> str:
    """A text that ends no comment."""
    return text.replace("*/", "* /")
