"""Row-level policies on the tables of rollups that have an owner: installed on request, removed, and looked after. Fold floor.

The policies stand on the rollup's own table and on that of its sets, which keep their identity for life; a table that an edited
definition adds gets those of the rollup's. The store's user owns the tables, and is not bound by their policies.

Invariant: a role that was given the right to read is bound by a policy in the same transaction.

Weakness: other permissive policies on the same table, which are somebody else's, let more rows through, and are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from dayfold.define.catalog import Catalog
from dayfold.define.rollup import RollupDef
from dayfold.engines.base import Session, Store, undone
from dayfold.errors import DayfoldError, StoreError, UsageError
from dayfold.names import listing
from dayfold.plan import policies
from dayfold.plan.policies import Rules
from dayfold.plan.shape import SETS_SUFFIX, quoted, rendered
from dayfold.plan.sql import Constant, Values, table
from dayfold.settings import RlsSettings

OK, MISSING, CHANGED, EXPOSED = "ok", "missing", "changed", "exposed"
#: How long installing waits for transactions that read or write a table.
_LOCK_SECONDS = 10
_INSTALL = "dayfold rls install"


@dataclass(frozen=True, slots=True)
class PolicyStanding:
    """How one table is protected: ``ok``, ``missing``, ``changed`` or ``exposed``, and what that means.

    Attributes:
        rollup: Empty for what belongs to none, such as the ledger.
        advice: The command or statement that mends it.
    """

    rollup: str
    table: str
    state: str
    message: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class _Target:
    """A table to be protected: its rollup, the column that owns a row, and that column's type in the table."""

    rollup: str
    table: str
    owner: str
    type_: str


@dataclass(frozen=True, slots=True)
class Policies:
    """The row-level policies of one application's rollups."""

    store: Store
    catalog: Catalog
    settings: RlsSettings

    # -- what there should be --------------------------------------------------------------------

    def _check_engine(self) -> None:
        if self.store.dialect.name != "postgres":
            why = "a DuckDB file has neither users nor roles, and who opens it reads all of it"
            if self.store.dialect.name == "clickhouse":
                why = "policies of ClickHouse hold per user, and Dayfold makes none there"
            raise UsageError(
                f"{self.store.address} has no row-level policies: {why}.",
                hint="Make PostgreSQL the store; or give people the HTTP API, whose tokens limit rows on every engine.",
            )

    def _owned(self, names: Sequence[str]) -> list[RollupDef]:
        """The rollups with an owner, or those of some names. Raises UnknownName, UsageError."""
        self.catalog.check()
        rollups = [self.catalog[name] for name in dict.fromkeys(names)] or list(self.catalog.rollups.values())
        owned = [one for one in rollups if one.owner is not None]
        if unowned := [one.name for one in rollups if one.owner is None and names]:
            raise UsageError(
                f"{listing(unowned)} names no owner.", hint='Say which key column owns a row: owner = "user_id".'
            )
        if not owned:
            raise UsageError(
                "No rollup names an owner.", hint='Say in one which key column owns a row: owner = "user_id".'
            )
        return owned

    def _tables(self, rollup: RollupDef) -> list[str]:
        """The tables of a rollup that people read, whether they are there or not: of a counter its current totals too."""
        counter = self.catalog.counters.find(rollup.name)
        return [rollup.table, rollup.table + SETS_SUFFIX, *([counter.totals_table] if counter else [])]

    def _targets(self, session: Session, rollup: RollupDef) -> list[_Target]:
        """The tables of a rollup that are there."""
        assert rollup.owner is not None
        found = self.store.stored_columns(session, self._tables(rollup))
        return [
            _Target(rollup.name, name, rollup.owner, columns[rollup.owner])
            for name, columns in found.items()
            if rollup.owner in columns
        ]

    def _reference(self, name: str) -> str:
        return rendered(table(name, self.store.schema))

    def statements(self, names: Sequence[str] = ()) -> list[tuple[str, list[str]]]:
        """What protects the tables of some rollups, or of all with an owner, as a DBA would run it: table and statements.

        Raises:
            UsageError: on an engine without policies, for a rollup without an owner or table, for roles that they would not
                bind; ConfigError.
        """
        self._check_engine()
        owned, rules = self._owned(names), Rules.of(self.settings)
        found = []
        for rollup in owned:
            with self.store.transaction(read_only=True) as session:
                targets = self._targets(session, rollup)
                if not targets:
                    raise UsageError(
                        f"{rollup.name} has no table with the column {rollup.owner} yet.",
                        hint=f"Run: dayfold fold {rollup.name}",
                    )
                for target in targets:
                    self._check_roles(session, rules, target.table)
                    made = rules.install(self.store.schema, self._reference(target.table), target.owner, target.type_)
                    found.append((target.table, made))
        return found

    def _check_roles(self, session: Session, rules: Rules, name: str) -> None:
        """Every role is there, and those that should see their own rows only are bound by policies. Raises UsageError."""
        rows = session.rows(_asked(_ROLES, list(rules.roles), self.store.schema, name))
        known = dict(rows)
        for role in rules.roles:
            if role not in known:
                raise UsageError(
                    f"There is no role '{role}', which [rls] names.",
                    hint=f"Make it: CREATE ROLE {quoted(role)} NOLOGIN;",
                )
        if free := [role for role in rules.owner_roles if known[role]]:
            raise UsageError(
                f"No policy binds {listing(free)}: such a role is a superuser, has BYPASSRLS, or has the rights of the owner of "
                f"{name}.",
                hint="Name a role in owner_roles that has none of these.",
            )
        for one, other in session.rows(_asked(_MEMBERS, list(rules.owner_roles), list(rules.all_roles))):
            raise UsageError(
                f"The role {one} is a member of {other}, which sees every row.", hint=f"REVOKE {other} FROM {one};"
            )

    # -- what is done ----------------------------------------------------------------------------

    def install(self, names: Sequence[str] = ()) -> list[str]:
        """Make the policies, each table's in one transaction; again is harmless. The tables that have them now.

        Raises:
            UsageError, ConfigError: as `statements`; StoreError: where PostgreSQL refuses the expression.
        """
        done = []
        for name, texts in self.statements(names):
            with _explained(), self.store.transaction() as session:
                self._run(session, texts)
            done.append(name)
        return done

    def removal(self, names: Sequence[str] = ()) -> list[tuple[str, list[str]]]:
        """What takes our policies from the tables of some rollups, or from all that have some: table and statements."""
        self._check_engine()
        wanted = {name for one in names for name in self._tables(self.catalog[one])}
        with self.store.transaction(read_only=True) as session:
            rows = session.rows(_asked(_PROTECTED, self.store.schema))
        return [
            (name, policies.remove(self._reference(name), roles or (), others=others))
            for name, roles, others in rows
            if not names or name in wanted
        ]

    def remove(self, names: Sequence[str] = ()) -> list[str]:
        """Take our policies away, and the right to read from their roles; the tables that had some."""
        done = []
        for name, texts in self.removal(names):
            with self.store.transaction() as session:
                self._run(session, texts)
            done.append(name)
        return done

    def _run(self, session: Session, texts: Iterable[str]) -> None:
        session.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        for text in texts:
            session.execute(text)

    # -- what there is ---------------------------------------------------------------------------

    def status(self) -> list[PolicyStanding]:
        """How each table is protected, and what shows more than the policies let through. Changes nothing."""
        self._check_engine()
        owned, rules = self._owned(()), Rules.of(self.settings)
        found = []
        tables = []
        for rollup in owned:
            with undone(self.store) as session:
                targets = self._targets(session, rollup)
                tables += [one.table for one in targets]
                found += [self._standing(session, rules, one) for one in targets]
            if not targets:
                advice = f"dayfold fold {rollup.name}, and then {_INSTALL}"
                found.append(PolicyStanding(rollup.name, rollup.table, MISSING, "it was never folded", advice))
        with self.store.transaction(read_only=True) as session:
            return [*found, *self._exposed(session, rules, tables)]

    def _standing(self, session: Session, rules: Rules, target: _Target) -> PolicyStanding:
        def standing(state: str, message: str) -> PolicyStanding:
            return PolicyStanding(target.rollup, target.table, state, message, "" if state == OK else _INSTALL)

        real = _policies(session, self._reference(target.table))
        if not real:
            return standing(MISSING, "it has no policies of ours")
        self._check_roles(session, rules, target.table)
        # The server spells an expression anew; the same policies on an empty copy say how.
        probe = f"pg_temp.{quoted(target.table)}"
        with _explained():
            session.execute(f"CREATE TEMP TABLE {quoted(target.table)} (LIKE {self._reference(target.table)})")
            for text in rules.policies(probe, target.owner, target.type_):
                session.execute(text)
        wanted = _policies(session, probe)
        if real != wanted:
            names = sorted(one for one in {*real, *wanted} if real.get(one) != wanted.get(one))
            return standing(CHANGED, f"its policies are not those of [rls]: {listing(names)}")
        [(enabled,)] = session.rows(_asked(_ENABLED, self._reference(target.table)))
        if not enabled:
            return standing(EXPOSED, "its policies are not in force: row-level security is disabled")
        rows = session.rows(_asked(_READERS, self._reference(target.table), self.store.schema, list(rules.roles)))
        if lacking := [role for role, may in rows if not may]:
            return standing(MISSING, f"it may not be read by {listing(lacking)}")
        return standing(OK, "")

    def _exposed(self, session: Session, rules: Rules, tables: list[str]) -> list[PolicyStanding]:
        """What the owners' roles may read past the policies."""
        schema, roles = self.store.schema, list(rules.owner_roles)
        found = []
        for name, role, stored in session.rows(_asked(_VIEWS, schema, tables, roles)):
            message = f"it shows every row to {role}: a view runs with its owner's rights"
            advice = f"REVOKE SELECT ON {name} FROM {quoted(role)};"
            mended = advice if stored else f"ALTER VIEW {name} SET (security_invoker = true);"
            found.append(PolicyStanding("", name, EXPOSED, message, mended))
        for name, role in session.rows(_asked(_LEDGER, schema, roles)):
            message = f"it is the ledger's or a fold's own, and may be read by {role}"
            advice = f"REVOKE SELECT ON {self._reference(name)} FROM {quoted(role)};"
            found.append(PolicyStanding("", name, EXPOSED, message, advice))
        for role, grantee, everywhere in session.rows(_asked(_DEFAULTS, schema, roles)):
            message = f"every new table in it may be read by {role}, those that folds build aside too"
            where = "" if everywhere else f"IN SCHEMA {quoted(schema)} "
            whom = "PUBLIC" if grantee is None else quoted(grantee)
            advice = f"ALTER DEFAULT PRIVILEGES {where}REVOKE SELECT ON TABLES FROM {whom};"
            found.append(PolicyStanding("", schema, EXPOSED, message, advice))
        return found


def follow(store: Store, session: Session, table_name: str, fresh: Sequence[str]) -> None:
    """Tables that an edited definition makes are protected as the rollup's table is; its roles may read them then."""
    if store.dialect.name != "postgres":
        return
    old = rendered(table(table_name, store.schema))
    found = _policies(session, old)
    for name in fresh if found else ():
        target = rendered(table(name, store.schema))
        session.execute(f"ALTER TABLE {target} ENABLE ROW LEVEL SECURITY")
        for called, (_, _, roles, condition) in found.items():
            session.execute(policies.policy(called, target, roles, condition))
            session.execute(policies.grant(target, roles))


def _policies(session: Session, reference: str) -> dict[str, tuple[str, bool, tuple[str, ...], str]]:
    """Our policies on a table, by name: for what, permissive or not, for whom, and what they let through."""
    return {
        name: (kind, permissive, tuple(roles or ()), condition)
        for name, kind, permissive, roles, condition in session.rows(_asked(_POLICIES, reference))
    }


def _asked(text: str, *values: Any) -> Constant:
    named = {f"v{n}": value for n, value in enumerate(values)}
    return Constant(exp.null(), Values(named), text=text, names=tuple(named))


class _explained:  # reads as a phrase in the with statement
    """Says what may be wrong where PostgreSQL refuses a policy."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: Any) -> None:
        if isinstance(error, StoreError) and not error.hint:
            error.hint = (
                "The store's user has to own the table; and [rls] expression has to name functions that it may call, and give "
                "what the owner's column can be compared with."
            )


_OURS = f"('{policies.OWNERS}', '{policies.EVERYBODY}')"
_ROLES = """
SELECT r.rolname::text, r.rolsuper OR r.rolbypassrls OR pg_has_role(r.oid, c.relowner, 'USAGE')
FROM pg_roles AS r, pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE r.rolname = ANY($1) AND n.nspname = $2 AND c.relname = $3
"""
_MEMBERS = """
SELECT a.rolname::text, b.rolname::text FROM pg_roles AS a, pg_roles AS b
WHERE a.rolname = ANY($1) AND b.rolname = ANY($2) AND pg_has_role(a.oid, b.oid, 'USAGE') ORDER BY 1, 2
"""
_POLICIES = f"""
SELECT p.polname::text, p.polcmd::text, p.polpermissive,
  (SELECT array_agg(r.rolname::text ORDER BY r.rolname) FROM pg_roles AS r WHERE r.oid = ANY(p.polroles)),
  pg_get_expr(p.polqual, p.polrelid)
FROM pg_policy AS p WHERE p.polrelid = to_regclass($1) AND p.polname IN {_OURS} ORDER BY 1
"""
_ENABLED = "SELECT relrowsecurity FROM pg_class WHERE oid = to_regclass($1)"
_READERS = """
SELECT r.rolname::text, has_table_privilege(r.oid, to_regclass($1), 'SELECT') AND has_schema_privilege(r.oid, $2::text, 'USAGE')
FROM pg_roles AS r WHERE r.rolname = ANY($3) ORDER BY 1
"""
_PROTECTED = f"""
SELECT c.relname::text,
  (SELECT array_agg(DISTINCT r.rolname::text) FROM pg_policy AS p JOIN pg_roles AS r ON r.oid = ANY(p.polroles)
   WHERE p.polrelid = c.oid AND p.polname IN {_OURS}),
  EXISTS (SELECT 1 FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname NOT IN {_OURS})
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND EXISTS (SELECT 1 FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname IN {_OURS})
ORDER BY 1
"""
# A view with its owner's rights over a table gets past the policies, and so does what reads such a view, and what stores its rows.
# One that asks as its reader does not, nor does another over it: there PostgreSQL asks as the reader too.
_VIEWS = """
WITH RECURSIVE views AS (
  SELECT v.oid, v.relkind = 'm' AS stored, coalesce(
    (SELECT o.option_value::boolean FROM pg_options_to_table(v.reloptions) AS o WHERE o.option_name = 'security_invoker'),
    false) AS asks
  FROM pg_class AS v WHERE v.relkind IN ('v', 'm')
), readers AS (
  SELECT c.oid, true AS at_table, false AS past FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  WHERE n.nspname = $1 AND c.relname = ANY($2)
  UNION
  SELECT v.oid, false, r.past OR v.stored OR (r.at_table AND NOT v.asks) FROM readers AS r
  JOIN pg_depend AS d ON d.refobjid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_rewrite AS w ON w.oid = d.objid JOIN views AS v ON v.oid = w.ev_class
)
SELECT DISTINCT v.oid::regclass::text, r.rolname::text, v.stored FROM readers AS u JOIN views AS v ON v.oid = u.oid, pg_roles AS r
WHERE u.past AND NOT v.asks AND r.rolname = ANY($3) AND has_table_privilege(r.oid, v.oid, 'SELECT') ORDER BY 1, 2
"""
_LEDGER = """
SELECT c.relname::text, r.rolname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace, pg_roles AS r
WHERE n.nspname = $1 AND starts_with(c.relname, 'dayfold_') AND c.relkind IN ('r', 'p', 'v', 'm') AND r.rolname = ANY($2)
  AND has_table_privilege(r.oid, c.oid, 'SELECT') ORDER BY 1, 2
"""
_DEFAULTS = """
SELECT DISTINCT r.rolname::text, (SELECT g.rolname::text FROM pg_roles AS g WHERE g.oid = a.grantee), d.defaclnamespace = 0
FROM pg_default_acl AS d CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a, pg_roles AS r
WHERE d.defaclobjtype = 'r' AND a.privilege_type = 'SELECT' AND r.rolname = ANY($2)
  AND d.defaclrole = (SELECT u.oid FROM pg_roles AS u WHERE u.rolname = current_user)
  AND (d.defaclnamespace = 0 OR d.defaclnamespace = (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname = $1))
  AND (a.grantee = 0 OR pg_has_role(r.oid, a.grantee, 'USAGE')) ORDER BY 1, 2, 3
"""


def standings(policies_: Policies) -> list[PolicyStanding] | DayfoldError:
    """How the tables are protected, or why that cannot be said; nothing where no rollup has an owner, or no engine policies."""
    owned = any(one.owner is not None for one in policies_.catalog.rollups.values())
    if not owned or policies_.store.dialect.name != "postgres":
        return []
    try:
        return policies_.status()
    except DayfoldError as error:
        return error
