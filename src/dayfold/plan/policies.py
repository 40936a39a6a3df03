"""Row-level policies of PostgreSQL: who sees which rows of a rollup's tables, as statements. Plan floor, pure.

Invariant: the column is compared with what the expression gives for the asker, and never with a column of the row itself, which
would let every row through.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from dayfold.errors import ConfigError
from dayfold.names import listing
from dayfold.plan.shape import quoted
from dayfold.settings import RlsSettings

#: What the policies are called on every table.
OWNERS, EVERYBODY = "dayfold_owner", "dayfold_all"
_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Create, exp.Drop, exp.Command)
_HINT = 'Such as: expression = "auth.uid()", or "current_setting(\'app.user_id\', true)".'


@dataclass(frozen=True, slots=True)
class Rules:
    """Who asks, and which roles see their own rows or all of them.

    Attributes:
        expression: In PostgreSQL's words.
    """

    expression: str
    owner_roles: tuple[str, ...]
    all_roles: tuple[str, ...]

    @classmethod
    def of(cls, settings: RlsSettings) -> Rules:
        """The rules of ``[rls]``. Raises ConfigError where they are missing or contradict one another.

        >>> Rules.of(RlsSettings(expression="auth.uid()", owner_roles=["authenticated"])).expression
        'auth.uid()'
        """
        if settings.expression is None or not settings.owner_roles:
            raise ConfigError(
                "[rls] says not who asks, or not which roles see their own rows.",
                hint=f'{_HINT} And: owner_roles = ["authenticated"]',
            )
        if both := sorted(set(settings.owner_roles) & set(settings.all_roles)):
            raise ConfigError(
                f"[rls] has {listing(both)} both in owner_roles and in all_roles.", hint="A role stands in one of them."
            )
        return cls(_expression(settings.expression), tuple(settings.owner_roles), tuple(settings.all_roles))

    @property
    def roles(self) -> tuple[str, ...]:
        """All roles that may read."""
        return (*self.owner_roles, *self.all_roles)

    def policies(self, target: str, owner: str, type_: str) -> list[str]:
        """The policies of a table whose rows belong to the value of a column.

        The expression stands in a query of its own, so that it is computed once for a statement and not for each row.
        """
        asker = f"(SELECT CAST({self.expression} AS {type_}))"
        made = [policy(OWNERS, target, self.owner_roles, f"{quoted(owner)} = {asker}")]
        if self.all_roles:
            made.append(policy(EVERYBODY, target, self.all_roles, "true"))
        return made

    def install(self, schema: str, target: str, owner: str, type_: str) -> list[str]:
        """What makes a table be read by the roles, each its rows. To be run in one transaction."""
        return [
            f"ALTER TABLE {target} ENABLE ROW LEVEL SECURITY",
            *drop(target),
            *self.policies(target, owner, type_),
            f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {_listed(self.roles)}",
            grant(target, self.roles),
        ]


def _expression(text: str) -> str:
    """The expression as PostgreSQL reads it. Raises ConfigError where it is not one that names no column of the row."""
    try:
        trees = sqlglot.parse(text, read="postgres")
    except (SqlglotError, RecursionError):
        trees = []
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Condition | exp.Subquery) or any(
        tree.find_all(*_WRITES, exp.Placeholder, exp.Parameter)
    ):
        raise ConfigError("[rls] expression is not one expression in PostgreSQL's SQL.", hint=_HINT)
    for column in tree.find_all(exp.Column):
        if column.find_ancestor(exp.Select) is None:
            raise ConfigError(
                f"[rls] expression names a column, {column.sql('postgres')}, where it should say who asks.",
                hint=f"A column of the row is equal to itself, so that every row would be shown. {_HINT}",
            )
    return tree.sql(dialect="postgres", comments=False, normalize_functions=False)


def _listed(roles: Iterable[str]) -> str:
    return ", ".join(map(quoted, roles))


def policy(name: str, target: str, roles: Iterable[str], condition: str) -> str:
    """The statement for one policy: what some roles may read."""
    return f"CREATE POLICY {quoted(name)} ON {target} FOR SELECT TO {_listed(roles)} USING ({condition})"


def grant(target: str, roles: Iterable[str]) -> str:
    """The statement that lets roles read a table as far as its policies let them."""
    return f"GRANT SELECT ON {target} TO {_listed(roles)}"


def drop(target: str) -> list[str]:
    """The statements that drop our policies where they are there."""
    return [f"DROP POLICY IF EXISTS {quoted(name)} ON {target}" for name in (OWNERS, EVERYBODY)]


def remove(target: str, roles: Iterable[str], *, others: bool) -> list[str]:
    """What takes our policies away, and first the right to read, which would show every row without them.

    ``others``: somebody else has policies on the table, so that row-level security stays enabled.
    """
    named = sorted(set(roles))
    made = [f"REVOKE SELECT ON {target} FROM {_listed(named)}"] if named else []
    made += drop(target)
    return made if others else [*made, f"ALTER TABLE {target} DISABLE ROW LEVEL SECURITY"]
