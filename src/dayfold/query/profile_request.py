"""A question about the entities of one profile, checked before anything is read. Query floor, pure.

Invariant: it names only columns that the profile has, and carries what the asker may see.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dayfold.define.metric import Distinct
from dayfold.define.rollup import RollupDef, siblings
from dayfold.errors import QueryRefused, UnknownName, UsageError
from dayfold.names import listing, suggestion
from dayfold.plan.access import EVERYTHING, Scope
from dayfold.plan.comparisons import Comparison, comparisons, known_column, profile_columns
from dayfold.plan.keys import KeyFilter

#: What the number of entities is called where they are counted.
COUNT = "count"


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """One question.

    Attributes:
        columns: What is shown of each entity; where they are counted, the columns that are added up.
        where: What was asked for; ``rights``: what the caller may see. Both have to be met.
        key: Of one entity, the value of each key column, as texts; None: a page of entities.
        count_by: Columns whose values are counted.
        sort: A column; ``-name`` for the greatest first. NULLs are last either way, and the key decides among equals.
        after: The place of a page before.
        mark: Tells the scope that the question was asked in.
    """

    profile: RollupDef
    columns: tuple[str, ...]
    where: tuple[Comparison, ...]
    rights: tuple[KeyFilter, ...]
    today: dt.date
    key: tuple[str, ...] | None = None
    count_by: tuple[str, ...] = ()
    sort: str | None = None
    limit: int | None = None
    after: str | None = field(default=None, repr=False)
    is_limited: bool = False
    mark: str = "all"

    @classmethod
    def page(
        cls,
        profile: RollupDef,
        *,
        where: Sequence[str] = (),
        sort: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        columns: Sequence[str] | None = None,
        count_by: Sequence[str] = (),
        today: dt.date,
        scope: Scope = EVERYTHING,
    ) -> ProfileRequest:
        """A question for a page of entities, or for how many there are of each value, from words; of a profile that the scope sees.

        Raises:
            UnknownName, UsageError, QueryRefused: saying what is wrong and what there is.
        """
        check_profile(profile)
        known = profile_columns(profile, is_limited=scope.is_limited)
        name = profile.name
        groups = tuple(known_column(name, known, one, "to count by") for one in dict.fromkeys(count_by))
        chosen = (
            _added(profile, known, columns or (), groups)
            if groups
            else tuple(known_column(name, known, one, "to show") for one in dict.fromkeys(columns or known))
        )
        if limit is not None and limit < 1:
            raise UsageError(f"limit is a number of rows from 1 on, got {limit}.")
        if sort is not None:
            _check_sort(name, sort, (*groups, COUNT, *chosen) if groups else known)
        return cls(
            profile, chosen, comparisons(name, known, where), scope.filters(profile), today, None, groups, sort, limit, after,
            scope.is_limited, _mark(profile, scope, where, sort, groups),
        )  # fmt: skip

    @classmethod
    def one(
        cls,
        profile: RollupDef,
        key: Mapping[str, str],
        *,
        columns: Sequence[str] | None = None,
        today: dt.date,
        scope: Scope = EVERYTHING,
    ) -> ProfileRequest:
        """A question for one entity by the text of each key column, of a profile that the scope sees.

        Raises:
            UnknownName: for a column that there is not; UsageError: where the key is not named wholly.
        """
        check_profile(profile)
        known = profile_columns(profile, is_limited=scope.is_limited)
        for name in key:
            known_column(profile.name, profile.key, name, "in its key")
        if absent := [name for name in profile.key if name not in key]:
            example = " ".join(f"--key {name}=…" for name in profile.key)
            raise UsageError(
                f"An entity of {profile.name} has a whole key; {listing(absent)} is missing.", hint=example
            )
        chosen = tuple(known_column(profile.name, known, one, "to show") for one in dict.fromkeys(columns or known))
        return cls(
            profile, chosen, (), scope.filters(profile), today, tuple(key[name] for name in profile.key),
            is_limited=scope.is_limited,
        )  # fmt: skip

    @property
    def named(self) -> tuple[str, ...]:
        """Every column that the answer depends on."""
        sorted_by = [] if self.sort is None else [self.sort.removeprefix("-")]
        found = (*self.profile.key, *self.columns, *self.count_by, *(one.column for one in self.where), *sorted_by)
        # What is counted is no column of the table.
        return tuple(dict.fromkeys(one for one in found if not (self.count_by and one == COUNT)))

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that tell the rows of the answer apart."""
        return self.count_by or self.profile.key


def check_profile(found: RollupDef) -> None:
    """Refuse a rollup, whose rows are of days. Raises QueryRefused."""
    if not found.is_profile:
        raise QueryRefused(
            f"{found.name} is a rollup: its rows are of days, and it has no entities.",
            hint=f"Ask for days: dayfold query {found.name}",
        )


def sources_of(profile: RollupDef, name: str) -> set[str]:
    """The sources that a column's values come from; a key's are all of them."""
    if name in profile.measured:
        return {profile.measured[name].source.label}
    if name not in profile.metrics:
        return {source.label for source in profile.sources}
    parts = siblings(profile.computed[name])
    return {source for part in parts for source in sources_of(profile, part)}


def key_words(words: Sequence[str]) -> dict[str, str]:
    """The words of ``--key``. Raises UsageError.

    >>> key_words(["shop=s1", "customer=a=b"])
    {'shop': 's1', 'customer': 'a=b'}
    """
    found: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise UsageError("A key is written column=value.", hint='An empty text is column="".')
        if name in found:
            raise UsageError(f"'{name}' is given twice; an entity has one value of it.")
        if not value:
            raise UsageError(
                f"'{name}' has no value; no entity has a NULL in its key.", hint=f'The empty text is {name}="".'
            )
        found[name] = "" if value == '""' else value
    return found


def key_texts(key: Mapping[str, object]) -> dict[str, str]:
    """The values of a key as texts. Raises UsageError.

    >>> key_texts({"shop": 7, "is_new": True, "day": dt.date(2026, 3, 1)})
    {'shop': '7', 'is_new': 'true', 'day': '2026-03-01'}
    """
    if absent := [name for name, value in key.items() if value is None]:
        raise UsageError(f"'{absent[0]}' has no value; no entity has a NULL in its key.")
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in key.items()}


def _added(profile: RollupDef, known: Sequence[str], columns: Sequence[str], groups: Sequence[str]) -> tuple[str, ...]:
    """The columns that are added up beside a count."""
    chosen = tuple(known_column(profile.name, known, one, "to add up") for one in dict.fromkeys(columns))
    for name in chosen:
        if isinstance(profile.metrics.get(name), Distinct):
            raise QueryRefused(
                f"'{name}' counts distinct values, which are never added up: one value may stand in several rows.",
                hint="Count the values in a rollup, whose sets are united.",
            )
    if taken := sorted({COUNT, *groups} & set(chosen) | ({COUNT} & set(groups))):
        raise QueryRefused(
            f"'{taken[0]}' would stand twice in the answer.",
            hint=f"An answer by counts has the values of --count-by, the number of entities as '{COUNT}', and the sums.",
        )
    return chosen


def _check_sort(title: str, sort: str, known: Sequence[str]) -> None:
    name = sort.removeprefix("-")
    if name not in known:
        raise UnknownName(
            f"The answer of {title} has no '{name}' to sort by{suggestion(name, known)}.",
            hint=f"Sort by: {listing(known)}",
        )


def _mark(profile: RollupDef, scope: Scope, where: Sequence[str], sort: str | None, groups: Sequence[str]) -> str:
    """What is the same for pages of one question alone."""
    words = [profile.name, scope.mark, sorted(where), sort, groups]
    return hashlib.sha256(json.dumps(words).encode("utf-8", "surrogatepass")).hexdigest()[:16]
