"""The registry of event types: what is declared, whether an event is as declared, and every mistake with its place."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dayfold import Count, Dayfold, Rollup, Table, events
from dayfold.define.catalog import catalog, load, load_again
from dayfold.define.event_types import BUILT_IN, EventTypes
from dayfold.define.events import Said
from dayfold.define.source import Place
from dayfold.errors import DefinitionError

FAMILIES = {
    "asset": {"asset_viewed": {}, "asset_downloaded": {"format": ["pdf", "png"], "bytes?": "bigint"}},
    "license": {
        "license_created": {
            "revenue_cents": "bigint", "price": "numeric", "currency?": "text", "trial": "boolean", "starts": "date",
            "signed": "timestamptz", "contract": "uuid", "terms": "json",
        }
    },
}  # fmt: skip
CREATED = {
    "revenue_cents": 500, "price": 4.5, "trial": False, "starts": "2026-03-09", "signed": "2026-03-09T10:00:00Z",
    "contract": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "terms": None,
}  # fmt: skip


def registry(*families: Any) -> EventTypes:
    """The types of some statements, one a line."""
    return EventTypes.of(Said("types", {"": one}, Place("metrics.py", line)) for line, one in enumerate(families, 1))


TYPES = registry(FAMILIES)


def test_what_is_declared_is_known_by_family() -> None:
    """Family, type, properties with their types, and whether they may be missing."""
    assert TYPES.problems == ()
    assert {family: list(types) for family, types in TYPES.families.items()} == {
        "asset": ["asset_viewed", "asset_downloaded"],
        "license": ["license_created"],
    }
    found = [(one.name, one.words, one.required) for one in TYPES.families["asset"]["asset_downloaded"]]
    assert found == [("format", '"pdf" | "png"', True), ("bytes", "bigint", False)]


@pytest.mark.parametrize(
    ("event_type", "properties"),
    [
        pytest.param("asset_viewed", {}, id="without-properties"),
        pytest.param("asset_viewed", {"from": [1, {}]}, id="others-are-kept"),
        pytest.param("asset_downloaded", {"format": "png"}, id="may-be-missing"),
        pytest.param("asset_downloaded", {"format": "png", "bytes": None}, id="null-is-missing"),
        pytest.param("license_created", CREATED, id="every-type"),
        pytest.param("license_created", CREATED | {"revenue_cents": 500.0}, id="whole-float-is-bigint"),
        pytest.param("license_created", CREATED | {"revenue_cents": -(2**63)}, id="least-bigint"),
        pytest.param("license_created", CREATED | {"price": Decimal("4.50")}, id="decimal-is-numeric"),
        pytest.param("license_created", CREATED | {"price": 10**30}, id="numeric-has-no-end"),
        pytest.param("license_created", CREATED | {"signed": "2026-03-09 10:00+02"}, id="short-moment"),
        pytest.param("license_created", CREATED | {"signed": "2026-03-09t10:00:00.123456z"}, id="long-moment"),
        *(pytest.param(name, {}, id=f"of-the-collector-{name}") for name in BUILT_IN),
    ],
)
def test_an_event_as_declared_is_no_matter_of_complaint(event_type: str, properties: dict[str, Any]) -> None:
    """Values of the declared types pass, and properties that nobody declared."""
    assert TYPES.complaint(event_type, properties) is None


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CREATED.items() if key != name}


BIGINT = "expected bigint (a whole number of 64 bits)."
MOMENT = "expected timestamptz (ISO with a zone, such as 2026-03-09T10:00:00Z)."


@pytest.mark.parametrize(
    ("event_type", "properties", "complaint"),
    [
        ("asset_vieved", {}, "its type is not declared; the nearest is 'asset_viewed'."),
        ("zzz", {}, "its type is not declared."),
        ("asset_viewed" * 100, {}, "its type is not declared."),
        ("asset_downloaded", {}, "the property 'format' is missing, expected \"pdf\" or \"png\"."),
        ("asset_downloaded", {"format": None}, "the property 'format' is null, expected \"pdf\" or \"png\"."),
        ("asset_downloaded", {"format": "gif"}, "the property 'format' is text, expected \"pdf\" or \"png\"."),
        ("asset_downloaded", {"format": ["pdf"]}, "the property 'format' is a list, expected \"pdf\" or \"png\"."),
        ("license_created", without("revenue_cents"), f"the property 'revenue_cents' is missing, {BIGINT}"),
        ("license_created", CREATED | {"revenue_cents": True}, f"the property 'revenue_cents' is boolean, {BIGINT}"),
        ("license_created", CREATED | {"revenue_cents": 1.5}, f"the property 'revenue_cents' is a number, {BIGINT}"),
        ("license_created", CREATED | {"revenue_cents": 2**63}, f"the property 'revenue_cents' is a number, {BIGINT}"),
        ("license_created", CREATED | {"revenue_cents": 2.0**63}, f"the property 'revenue_cents' is a number, {BIGINT}"),
        ("license_created", CREATED | {"revenue_cents": "5"}, f"the property 'revenue_cents' is text, {BIGINT}"),
        ("license_created", CREATED | {"price": "4.5"}, "the property 'price' is text, expected numeric (a number)."),
        ("license_created", CREATED | {"price": True}, "the property 'price' is boolean, expected numeric (a number)."),
        ("license_created", CREATED | {"currency": 1}, "the property 'currency' is a number, expected text."),
        ("license_created", CREATED | {"trial": 1}, "the property 'trial' is a number, expected boolean."),
        ("license_created", CREATED | {"starts": "2026-02-30"}, "the property 'starts' is text, expected date (YYYY-MM-DD)."),
        ("license_created", CREATED | {"starts": "20260309"}, "the property 'starts' is text, expected date (YYYY-MM-DD)."),
        ("license_created", CREATED | {"signed": "2026-03-09T10:00:00"}, f"the property 'signed' is text, {MOMENT}"),
        ("license_created", CREATED | {"signed": "2026-03-09T25:00:00Z"}, f"the property 'signed' is text, {MOMENT}"),
        ("license_created", CREATED | {"signed": 1773050400}, f"the property 'signed' is a number, {MOMENT}"),
        ("license_created", CREATED | {"contract": {}}, "the property 'contract' is an object, expected uuid."),
        ("license_created", CREATED | {"contract": "6ba7b8109dad11d180b400c04fd430c8"}, "the property 'contract' is text, expected uuid."),
        ("license_created", without("terms"), "the property 'terms' is missing, expected json."),
    ],
)  # fmt: skip
def test_complaint_names_what_was_declared(event_type: str, properties: dict[str, Any], complaint: str) -> None:
    """The reason, the property and what it was to be; never the value, nor the name of an unknown type."""
    assert TYPES.complaint(event_type, properties) == complaint


def test_without_a_declaration_everything_is_allowed() -> None:
    """The registry is there for those who want one."""
    assert EventTypes().complaint("anything", {"of": "any kind"}) is None
    assert registry({}).complaint("anything", {}) is None


def test_a_declared_type_of_the_collector_is_held_to_it() -> None:
    """What the definitions say of page_viewed counts."""
    types = registry({"site": {"page_viewed": {"title": "text"}}})
    assert types.complaint("page_viewed", {}) == "the property 'title' is missing, expected text."
    assert types.complaint("identified", {}) is None


def test_many_unknown_types_cost_little_and_are_not_kept() -> None:
    """After the first thousand the nearest name is not looked for, and those are all that is kept."""
    types = registry(FAMILIES)
    for number in range(1000):
        types.complaint(f"unknown {number}", {})
    assert types.complaint("asset_vieved", {}) == "its type is not declared."
    assert types.complaint("unknown 1", {}) == "its type is not declared."
    assert len(types._unknown) == 1000


def test_statements_add_up() -> None:
    """A family may be spread over statements."""
    types = registry({"asset": {"asset_viewed": {}}}, {"asset": {"asset_moved": {}}, "site": {}})
    assert types.problems == ()
    assert {family: list(known) for family, known in types.families.items()} == {
        "asset": ["asset_viewed", "asset_moved"],
        "site": [],
    }


KNOWN = "\n  Types: text, bigint, numeric, boolean, date, timestamptz, json, uuid"
OR_TEXTS = f"{KNOWN}; or a list of texts, one of which it is."
NAME = "has a name of 1 to 200 printable letters, got"
PROPERTY = "the property 'p' of 'x'"


@pytest.mark.parametrize(
    ("families", "code", "text"),
    [
        ([], "bad-value", 'families: expected a mapping, got list.\n  Write {"asset": {"asset_viewed": {}}}.'),
        ({"a": ["x"]}, "bad-value", "the family 'a': expected a mapping, got list.\n  Write {\"asset_viewed\": {}}."),
        (
            {"a": {"x": "text"}}, "bad-value",
            "the type 'x': expected a mapping, got str.\n  Write {\"family\": {\"a\": {\"x\": …}}} if 'a' is a type, else "
            "{\"revenue_cents\": \"bigint\", \"currency?\": \"text\"}.",
        ),
        ({"a": {"x": 5}}, "bad-value",
         "the type 'x': expected a mapping, got int.\n  Write {\"revenue_cents\": \"bigint\", \"currency?\": \"text\"}."),
        ({"": {}}, "bad-name", f"a family {NAME} ''."),
        ({"a": {5: {}}}, "bad-name", f"a type {NAME} 5."),
        ({"a": {"x" * 201: {}}}, "bad-name", f"a type {NAME} 201 letters."),
        ({"a": {"x": {"?": "text"}}}, "bad-name", f"a property of 'x' {NAME} ''."),
        ({"a": {"x": {"p": "bigintt"}}}, "bad-value", f"{PROPERTY} has no type 'bigintt'; the nearest is 'bigint'.{OR_TEXTS}"),
        ({"a": {"x": {"p": "money"}}}, "bad-value", f"{PROPERTY} has no type 'money'.{OR_TEXTS}"),
        ({"a": {"x": {"p": int}}}, "bad-value", f"{PROPERTY}: expected a type or a list of texts, got type.{KNOWN}"),
        ({"a": {"x": {"p": []}}}, "bad-value", f"{PROPERTY}: expected a list of texts, got an empty list."),
        ({"a": {"x": {"p": [1]}}}, "bad-value", f"{PROPERTY}: expected a list of texts, got a list of others."),
        ({"a": {"x": {"p": "text", "p?": "text"}}}, "duplicate-name", f"{PROPERTY} is there twice, with and without '?'."),
        ({"a": {"x": {}}, "b": {"x": {}}}, "duplicate-name", "the type 'x' is taken by metrics.py:1."),
    ],
)  # fmt: skip
def test_mistakes_in_a_declaration(families: object, code: str, text: str) -> None:
    """The place, what was expected and what is there, and the nearest known name."""
    assert [str(one) for one in registry(families).problems] == [
        f"DefinitionError [{code}] metrics.py:1 events.types\n  {text}"
    ]


def test_all_mistakes_are_told_at_once() -> None:
    """What is right beside them is still read."""
    types = registry({"a": {"x": {"p": "txt", "q": "text"}, "": {}}}, {"b": {"x": {}, "y": {}}})
    assert [one.code for one in types.problems] == ["bad-value", "bad-name", "duplicate-name"]
    assert [one.name for one in types.families["a"]["x"]] == ["q"]
    assert list(types.families["b"]) == ["y"]


def test_typescript() -> None:
    """An interface with what each type holds, and the union of the types; names that are none of TypeScript's are quoted."""
    types = registry({**FAMILIES, "odd */ family": {"Order Completed": {"product-id": "text", "note?": "json"}}})
    assert types.as_typescript() == (
        "// Written by `dayfold events types --format ts`; edit the definitions and run it again.\n"
        "\n"
        "/** The properties of each type of events. An event may have others beside them. */\n"
        "export interface EventTypes {\n"
        "  /** Of the family asset. */\n"
        "  asset_viewed: Record<string, unknown>;\n"
        "  /** Of the family asset. */\n"
        "  asset_downloaded: {\n"
        '    format: "pdf" | "png";\n'
        "    /** bigint (a whole number of 64 bits) */\n"
        "    bytes?: number | null;\n"
        "  };\n"
        "  /** Of the family license. */\n"
        "  license_created: {\n"
        "    /** bigint (a whole number of 64 bits) */\n"
        "    revenue_cents: number;\n"
        "    /** numeric (a number) */\n"
        "    price: number;\n"
        "    currency?: string | null;\n"
        "    trial: boolean;\n"
        "    /** date (YYYY-MM-DD) */\n"
        "    starts: string;\n"
        "    /** timestamptz (ISO with a zone, such as 2026-03-09T10:00:00Z) */\n"
        "    signed: string;\n"
        "    /** uuid */\n"
        "    contract: string;\n"
        "    terms: unknown;\n"
        "  };\n"
        "  /** Of the family odd * / family. */\n"
        '  "Order Completed": {\n'
        '    "product-id": string;\n'
        "    note?: unknown;\n"
        "  };\n"
        "}\n"
        "\n"
        "/** The name of a type of events. */\n"
        "export type EventType = keyof EventTypes;\n"
    )


def test_json_schema() -> None:
    """Each type has its family and the schema of its properties."""
    found = registry(FAMILIES).as_json()["types"]
    assert json.loads(json.dumps(found))["asset_downloaded"] == {
        "family": "asset",
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "asset_downloaded",
            "type": "object",
            "properties": {
                "format": {"enum": ["pdf", "png"]},
                "bytes": {"type": ["integer", "null"], "minimum": -(2**63), "maximum": 2**63 - 1},
            },
            "required": ["format"],
        },
    }


class Signups(Rollup):
    total = Count(Table("signup"), at="seen_at")


METRICS = """\
from dayfold import Count, Rollup, Table, events
import {module}

events.columns(project_id="uuid")
events.types({{"asset": {{"asset_viewed": {{}}}}}})

class Signups(Rollup):
    total = Count(Table("signup"), at="seen_at")
"""
BESIDE = """\
from dayfold import events

events.columns(asset="text")
events.types({"asset": {"asset_moved": {}}})
"""


@pytest.fixture
def definitions(tmp_path: Path) -> Any:
    """A definitions file and a module beside it, whose name no other test has."""
    module = f"beside_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(BESIDE)
    (tmp_path / "metrics.py").write_text(METRICS.format(module=module))
    yield tmp_path / "metrics.py"
    sys.path.remove(str(tmp_path.resolve()))
    sys.modules.pop(module, None)


def test_a_file_and_the_modules_beside_it_speak_of_events(definitions: Path) -> None:
    """What both say is the application's; a second reading in the same process finds the same."""
    for found in (load(definitions), load(definitions), load_again(load(definitions).origin)):  # type: ignore[arg-type]
        assert found.problems == ()
        assert {name: str(one) for name, one in found.entities.types.items()} == {"project_id": "uuid", "asset": "text"}
        assert list(found.event_types.families["asset"]) == ["asset_viewed", "asset_moved"]


def test_two_applications_do_not_meet(definitions: Path, tmp_path: Path) -> None:
    """What one file says of events is not known to another."""
    load(definitions)
    other = tmp_path / "other.py"
    other.write_text(METRICS.format(module="json").replace("project_id", "shop_id"))
    assert list(load(other).entities.types) == ["shop_id"]


def test_mistakes_about_events_are_among_those_of_the_file(definitions: Path) -> None:
    """Each with the line of its own file."""
    text = definitions.read_text().replace('"asset_viewed": {}', '"asset_viewed": {"n": "int"}')
    definitions.write_text(text.replace('"uuid"', '"number"'))
    assert [str(one) for one in load(definitions).problems] == [
        "DefinitionError [bad-value] metrics.py:4 events.columns\n"
        "  the column 'project_id' has no type 'number'.\n"
        "  Types of ids: text, bigint, boolean, date, uuid",
        "DefinitionError [bad-value] metrics.py:5 events.types\n"
        f"  the property 'n' of 'asset_viewed' has no type 'int'; the nearest is 'bigint'.{KNOWN};"
        " or a list of texts, one of which it is.",
    ]


def test_statements_among_given_classes(tmp_path: Path) -> None:
    """In Python, what events.columns and events.types return is given with the classes."""
    given = [Signups, events.columns(asset="text"), events.types({"asset": {"asset_viewed": {}}})]
    with Dayfold(given, {"store": {"url": f"duckdb:///{tmp_path}/s.duckdb"}}) as app:
        assert (list(app.catalog.entities.types), list(app.catalog.event_types.families)) == (["asset"], ["asset"])
        app.catalog.check()
    with pytest.raises(
        DefinitionError, match=r"\[bad-value\] test_event_types.py:\d+ events.types\n  families: expected a mapping"
    ):
        catalog([Signups, events.types("asset")]).check()  # type: ignore[arg-type]
