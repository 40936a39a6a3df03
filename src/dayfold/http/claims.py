"""Scopes from the claims of a signed token. HTTP door.

Invariant: a claim that is missing, or not of the form that is expected, refuses its bearer; it never widens what they see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dayfold.define.catalog import Catalog
from dayfold.errors import ConfigError, Unauthenticated, UnknownName
from dayfold.plan.access import Grant, Scope
from dayfold.plan.grants import check_key


def scope_of(
    catalog: Catalog,
    claims: Mapping[str, Any],
    *,
    rollups: Iterable[str] | None = None,
    rows: Mapping[str, Iterable[str]] | None = None,
    row_claims: Mapping[str, str] | None = None,
    access: Mapping[str, Mapping[str, str]] | None = None,
    given: str | None = None,
) -> Scope:
    """What the bearer of some claims sees.

    Args:
        catalog: The definitions.
        claims: Of a token whose signature was checked.
        rollups: Names of rollups; None: all.
        rows: For each key column the values that are seen.
        row_claims: For each key column the claim with the values that are seen.
        access: For each access its parameters, each with the claim of its one value.
        given: The claim with accesses of its own, by name with their parameters.

    Raises:
        Unauthenticated: where a claim is missing, or no text, number or list of these.
    """
    names = None if rollups is None else [_class_name(catalog, name) for name in rollups]
    found: dict[str, Iterable[str]] = dict(rows or {})
    for key, claim in (row_claims or {}).items():
        values = texts(claims, claim)
        found[key] = set(values) & set(found[key]) if key in found else values
    grants = [
        Grant.of(name, {param: _only(claims, claim) for param, claim in params.items()})
        for name, params in (access or {}).items()
    ]
    return Scope.of(names, found, [*grants, *(_given(catalog, claims, given) if given else ())])


def _given(catalog: Catalog, claims: Mapping[str, Any], claim: str) -> list[Grant]:
    """The accesses that a claim gives; none at all would show every row."""
    value = claims.get(claim)
    if not isinstance(value, dict) or not value or not all(isinstance(one, dict) for one in value.values()):
        raise Unauthenticated(
            f"The claim '{claim}' of the token is missing or gives no access.",
            hint='Expected such as {"Brand": {"brand_id": "b7"}}.',
        )
    if any(name not in catalog.accesses for name in value):
        raise Unauthenticated(f"The claim '{claim}' of the token names an access that there is not.")
    texts_of = {name: {param: _text(one) for param, one in params.items()} for name, params in value.items()}
    if any(text is None for params in texts_of.values() for text in params.values()):
        raise Unauthenticated(
            f"The claim '{claim}' of the token cannot be read.", hint="Expected parameters that are texts or integers."
        )
    return [Grant.of(name, {k: v for k, v in params.items() if v is not None}) for name, params in texts_of.items()]


def _only(claims: Mapping[str, Any], claim: str) -> str:
    """The one value of a claim."""
    values = texts(claims, claim)
    if len(values) != 1:
        raise Unauthenticated(
            f"The claim '{claim}' of the token has not one value.", hint="Expected a text or an integer."
        )
    return values[0]


def texts(claims: Mapping[str, Any], claim: str) -> list[str]:
    """The values of a claim that is one value or a list of them.

    Raises:
        Unauthenticated: where it is missing, or something else.

    >>> texts({"shop": 42, "shops": ["a", 7, True]}, "shop"), texts({"shops": ["a", 7, True]}, "shops")
    (['42'], ['a', '7', 'true'])
    """
    if claim not in claims:
        raise Unauthenticated(
            f"The token lacks the claim '{claim}'.", hint="Sign it with all claims that are asked for."
        )
    value = claims[claim]
    found = [_text(one) for one in (value if isinstance(value, list) else [value])]
    if None in found:
        raise Unauthenticated(
            f"The claim '{claim}' of the token cannot be read.", hint="Expected a text, an integer, or a list of these."
        )
    return [one for one in found if one is not None]


def _text(value: object) -> str | None:
    match value:
        case bool():
            return str(value).lower()
        case str() | int():
            return str(value)
    return None


def _class_name(catalog: Catalog, name: str) -> str:
    """A rollup's class name; a name that is not known stays, and nothing is there for it."""
    return next((one.name for one in catalog.rollups.values() if name in (one.name, one.table)), name)


def check_words(catalog: Catalog, setting: str, rollups: Iterable[str] | None, keys: Iterable[str]) -> None:
    """The rollups and key columns that settings name are there. Raises ConfigError."""
    try:
        named = [catalog[name] for name in rollups or ()]
    except UnknownName as error:
        raise ConfigError(f"{setting}: {error.message}", hint=error.hint) from None
    try:
        for key in keys:
            check_key(catalog, named, key, f"for {setting}")
    except UnknownName as error:
        raise ConfigError(error.message, hint=error.hint) from None
