"""Looks up what relations let somebody see: grants become values of key columns, asked of the source's own database. Query floor.

An answer is used again for at most ``[auth] relation_s`` seconds by the monotonic clock, counted from before it was asked for.
Of all who want the same one at once, one asks.

Invariant: nothing opens by failing. An error, too many values, an access that is not defined any more and an answer that is too
old all end the read; an empty answer sees nothing, and so does a NULL among the values.

Weakness: what was revoked in the database may be seen for ``relation_s`` seconds more, by each process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, replace

from sqlglot import exp

from dayfold.define.access import AccessDef, Asked
from dayfold.define.catalog import Catalog, by_place
from dayfold.define.source import Table
from dayfold.engines.base import Source
from dayfold.engines.databases import Databases
from dayfold.errors import AccessUnknown, DayfoldError, Forbidden, Problem, TookTooLong, UnknownName, UsageError
from dayfold.names import listing, suggestion
from dayfold.plan.access import Grant, Scope
from dayfold.plan.sql import Constant
from dayfold.plan.sql import Values as Bound

#: How long the queries of one grant may take together.
LIMIT_S = 5.0
#: The most values that one query may give.
MOST_VALUES = 100_000
#: How many values are kept of all grants together; the oldest answers go first.
_MOST_KEPT = 1_000_000
#: How long one waits for another who asks: longer than asking and connecting may take.
_WAIT_S = 60.0
_log = logging.getLogger("dayfold.relations")

#: For each key column the values that a grant lets through.
Values = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What was answered, and the moment before it was asked for."""

    values: Values
    asked_at: float


@dataclass(frozen=True, slots=True)
class _Asking:
    """Somebody asks just now, since a moment; the others wait for what comes of it."""

    asked_at: float
    answer: Future[_Known]


class Relations:
    """The relations of one application.

    Args:
        fresh_s: Seconds for which an answer is used again.
        monotonic: Where the time comes from that answers grow old by.
    """

    def __init__(
        self,
        databases: Databases,
        catalog: Catalog,
        fresh_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.databases = databases
        self.catalog = catalog
        self.fresh_s = fresh_s
        self.monotonic = monotonic
        self._lock = threading.Lock()
        self._known: dict[Grant, _Known] = {}
        self._asking: dict[Grant, _Asking] = {}
        self._scopes: dict[Scope, tuple[tuple[_Known, ...], Scope]] = {}

    def resolve(self, scope: Scope) -> Scope:
        """The scope with rows in place of its relations.

        Raises:
            AccessUnknown: when a database does not tell; Forbidden: when a grant does not fit the definitions any more;
                DefinitionError.
        """
        if not scope.relations:
            return scope
        self.catalog.check()
        answers = tuple(self._answer(one) for one in scope.relations)
        with self._lock:
            before = self._scopes.get(scope)
            if before is not None and before[0] == answers:
                return before[1]
        made = scope
        for one in answers:
            made = made.within(one.values)
        with self._lock:
            self._scopes[scope] = (answers, made)
        return made

    def _is_fresh(self, asked_at: float) -> bool:
        return self.monotonic() - asked_at < self.fresh_s

    def _answer(self, grant: Grant) -> _Known:
        """What a grant lets through: known, waited for, or asked."""
        with self._lock:
            known = self._known.get(grant)
            if known is not None and self._is_fresh(known.asked_at):
                return known
            other = self._asking.get(grant)
            mine = None
            if other is None or not self._is_fresh(other.asked_at):
                mine = self._asking[grant] = _Asking(self.monotonic(), Future())
        if mine is None:
            assert other is not None
            return self._awaited(grant, other)
        try:
            known = _Known(self._ask(grant), mine.asked_at)
        except BaseException as error:
            self._end(grant, mine)
            told = error if isinstance(error, DayfoldError) else _unknown(grant, "asking for it failed")
            mine.answer.set_exception(told)
            raise
        with self._lock:
            self._keep(grant, known)
        self._end(grant, mine)
        mine.answer.set_result(known)
        return known

    def _awaited(self, grant: Grant, other: _Asking) -> _Known:
        try:
            return other.answer.result(_WAIT_S)
        except Late:
            raise _unknown(grant, "somebody else asks for it, and does not come back") from None
        except DayfoldError as error:
            # One exception belongs to one thread: its traceback grows with every raise.
            raise type(error)(error.message, hint=error.hint) from None

    def _end(self, grant: Grant, mine: _Asking) -> None:
        with self._lock:
            if self._asking.get(grant) is mine:
                del self._asking[grant]

    def _keep(self, grant: Grant, known: _Known) -> None:
        """Remember an answer; those that are too old are forgotten, and the oldest where there is no room."""
        later = self._known.get(grant)
        if later is not None and later.asked_at > known.asked_at:
            return
        kept = {one: each for one, each in self._known.items() if one != grant and self._is_fresh(each.asked_at)}
        kept[grant] = known
        size = sum(_size(one) for one in kept.values())
        for one in list(kept):
            if size <= _MOST_KEPT:
                break
            size -= _size(kept.pop(one))
        self._known = kept
        alive = set(map(id, kept.values()))
        self._scopes = {scope: pair for scope, pair in self._scopes.items() if all(id(one) in alive for one in pair[0])}

    def _ask(self, grant: Grant) -> Values:
        access = self.catalog.accesses.get(grant.access)
        try:
            check_grant(self.catalog, self.databases, grant)
        except UsageError as error:
            raise Forbidden(
                error.message, hint="Who issued the token makes a new one that fits the definitions."
            ) from None
        assert access is not None
        try:
            return self._asked(access, grant)
        except TookTooLong:
            raise _unknown(grant, f"it takes longer than {LIMIT_S:g} s") from None
        except AccessUnknown:
            raise
        except DayfoldError as error:
            # The caller learns that it failed; where and why is for who runs the service.
            _log.warning(
                "What %s lets through cannot be looked up: %s", grant.access, error.message,
                extra={"action": "relation-failed", "access": grant.access},
            )  # fmt: skip
            raise _unknown(grant, "its database does not tell") from error

    def _asked(self, access: AccessDef, grant: Grant) -> Values:
        """The values of each key column, all in one snapshot."""
        store = database_of(self.databases, access)
        given = dict(grant.params)
        found = {}
        with store.transaction(read_only=True) as session, session.limit(LIMIT_S):
            for column, query in access.asked(store.dialect.name).items():
                with session.within(_source(access, query.text)):
                    rows = session.rows(_listed(query, given))
                if len(rows) > MOST_VALUES:
                    raise _unknown(grant, f"its query for {column} gives more than {MOST_VALUES:,} values")
                found[column] = tuple(value for (value,) in rows)
        return found


def _size(known: _Known) -> int:
    return 1 + sum(len(one) for one in known.values.values())


def _listed(query: Asked, given: Mapping[str, str]) -> Constant:
    """The statement for a query's values as texts: each once, without NULL, and one more than may be."""
    text = (
        f"SELECT DISTINCT CAST(dayfold_q.v AS text) FROM ({query.text}) AS dayfold_q(v) "
        f"WHERE NOT dayfold_q.v IS NULL LIMIT {MOST_VALUES + 1}"
    )
    return Constant(exp.null(), Bound(dict(given)), text=text, names=tuple(query.names), side="rows")


def _unknown(grant: Grant, why: str) -> AccessUnknown:
    return AccessUnknown(
        f"What the access {grant.access} lets you see cannot be looked up: {why}.",
        hint="Nothing is shown until it can; try again in a while. The log of the service says more.",
    )


def _source(access: AccessDef, text: str) -> Table:
    """A query as a source, so that its tables are found where it says."""
    return Table(sql=text, database=access.database)


def database_of(databases: Databases, access: AccessDef) -> Source:
    """The database that an access asks."""
    return databases.of(_source(access, ""))


def check_grant(catalog: Catalog, databases: Databases, grant: Grant) -> None:
    """Raise UnknownName or UsageError where a grant names no access, or has not exactly the parameters of its queries."""
    access = catalog.accesses.get(grant.access)
    if access is None:
        raise UnknownName(
            f"There is no access '{grant.access}'{suggestion(grant.access, catalog.accesses)}.",
            hint=f"Accesses: {listing(catalog.accesses)}",
        )
    wanted = access.parameters(database_of(databases, access).dialect.name)
    given = tuple(name for name, _ in grant.params)
    if wanted != given:
        raise UsageError(
            f"The access {access.name} takes the parameters {listing(wanted)}; got {listing(given)}.",
            hint="Name each of them once, and no other.",
        )


def checked(catalog: Catalog, databases: Databases) -> Catalog:
    """The catalog with the mistakes that only the databases' own languages show."""
    found: list[Problem] = []
    for access in catalog.accesses.values():
        if access.database is not None and not databases.known(access.database):
            found.append(
                Problem(
                    "unknown-database", str(access.place), access.name,
                    f"there is no [databases.{access.database}] in dayfold.toml{suggestion(access.database, databases.names)}.",
                    f"Databases: {listing(databases.names)}",
                )
            )  # fmt: skip
        else:
            found += access.mistakes(database_of(databases, access).dialect.name)
    if not found:
        return catalog
    return replace(catalog, problems=tuple(sorted(dict.fromkeys([*catalog.problems, *found]), key=by_place)))
