"""Row-level policies in PostgreSQL: two real roles read the tables, the sets and a view, and see what they may."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from dayfold import Count, Distinct, Max, Rollup
from dayfold.errors import ConfigError, StoreError, UsageError
from dayfold.fold.doctor import Finding
from dayfold.fold.rls import PolicyStanding
from tests.conftest import Pairing
from tests.engines.ground import Ground, march

in_postgres = pytest.mark.parametrize("pairing", ["postgres-same"], indirect=True)
ANNA, BEN = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"


@dataclass
class Roles:
    """A database with two roles; who asks stands in a setting."""

    ground: Ground
    owners: str
    everybody: str

    def read(self, role: str, query: str, who: str | None = None) -> list[tuple[Any, ...]]:
        """What a role reads, as it is told who asks."""
        with psycopg.connect(self.ground.pairing.store) as connection:
            connection.execute("select set_config('app.uid', %s, false)", [who or ""])
            connection.execute(f'set role "{role}"')
            return connection.execute(query).fetchall()

    def refused(self, role: str, query: str) -> bool:
        """Whether a role may not do something at all."""
        try:
            self.read(role, query, ANNA)
        except psycopg.errors.InsufficientPrivilege:
            return True
        return False

    def admin(self, statement: str) -> list[tuple[Any, ...]]:
        return self.ground.stored(statement)

    @property
    def policies(self) -> Any:
        return self.ground.opened.policies()

    @property
    def status(self) -> list[tuple[str, str, str]]:
        return [(one.table, one.state, one.message) for one in self.policies.status()]


@pytest.fixture
def roles(ground: Ground) -> Iterator[Roles]:
    """A folded rollup whose rows belong to users, and roles that may not read it yet. One has letters to be quoted."""
    mark = secrets.token_hex(4)
    found = Roles(ground, f'some "users" {mark}', f"service_{mark}")
    uses = [(ANNA, 1, 5), (ANNA, 1, 6), (ANNA, 2, 6), (BEN, 3, 6), (None, 4, 6)]
    ground.load(
        "usage", "user_id uuid, api_key_id bigint, size bigint, made timestamptz",
        [{"user_id": u, "api_key_id": k, "size": k, "made": march(day)} for u, k, day in uses],
    )  # fmt: skip
    with psycopg.connect(ground.pairing.store, autocommit=True) as connection:
        connection.execute("create schema auth")
        connection.execute(
            "create function auth.uid() returns uuid language sql stable as $$ select nullif(current_setting('app.uid', "
            "true), '')::uuid $$"
        )
        for role in (found.owners, found.everybody):
            connection.execute(f'create role "{_doubled(role)}"')
            connection.execute(f'grant usage on schema auth to "{_doubled(role)}"')
        found.owners = _doubled(found.owners)
        configure(found)
        define(ground)
        ground.fold()
        yield found
        ground._close()
        for role in (found.owners, found.everybody):
            connection.execute(f'drop owned by "{role}" cascade')
            connection.execute(f'drop role "{role}"')


def _doubled(name: str) -> str:
    return name.replace('"', '""')


def configure(roles: Roles, **words: Any) -> None:
    """What ``[rls]`` says from the next definitions on."""
    rls = {
        "expression": "auth.uid()", "owner_roles": [roles.owners.replace('""', '"')], "all_roles": [roles.everybody],
    } | words  # fmt: skip
    roles.ground.config = {**roles.ground.config, "rls": rls}


def define(ground: Ground, *, sets: bool = True, more: bool = False, owner: str | None = "user_id") -> None:
    usage = ground.table("usage")
    metrics: dict[str, Any] = {"uses": Count(usage, at="made")}
    if sets:
        metrics["sizes"] = Distinct(usage, "size", at="made")
    if more:
        metrics["largest"] = Max(usage, "size", at="made")
    words = {"key": ("user_id", "api_key_id"), "owner": owner, **metrics}
    ground.define(type("UsageDaily", (Rollup,), words))


USES = "select user_id::text, sum(uses)::bigint from usage_daily group by 1 order by 1"
SETS = "select distinct user_id::text from usage_daily__sets order by 1"


def each_sees_its_own(roles: Roles, *, sets: bool = True) -> None:
    """Owners see their rows, of the table and of its sets; the service sees all; who says not who they are sees nothing."""
    assert roles.read(roles.owners, USES, ANNA) == [(ANNA, 3)]
    assert roles.read(roles.owners, USES, BEN) == [(BEN, 1)]
    assert roles.read(roles.owners, USES) == []
    assert roles.read(roles.everybody, USES) == [(ANNA, 3), (BEN, 1), (None, 1)]
    if sets:
        assert roles.read(roles.owners, SETS, ANNA) == [(ANNA,)]
        assert roles.read(roles.owners, SETS) == []
        assert roles.read(roles.everybody, SETS) == [(ANNA,), (BEN,), (None,)]


@in_postgres
def test_owners_see_their_rows_and_no_others(roles: Roles) -> None:
    """Before it nobody may read; afterwards each sees their own through the table, the sets and a view that asks as its reader."""
    assert roles.refused(roles.owners, USES)
    assert roles.refused(roles.everybody, USES)
    assert roles.policies.install() == ["usage_daily", "usage_daily__sets"]
    assert roles.policies.install(["usage_daily"]) == ["usage_daily", "usage_daily__sets"]
    each_sees_its_own(roles)
    roles.admin("create view mine with (security_invoker) as select * from usage_daily")
    roles.admin(f'grant select on mine to "{roles.owners}"')
    assert roles.read(roles.owners, "select distinct user_id::text from mine", BEN) == [(BEN,)]
    assert roles.status == [("usage_daily", "ok", ""), ("usage_daily__sets", "ok", "")]


@in_postgres
def test_roles_read_nothing_else(roles: Roles) -> None:
    """Neither the ledger and its views nor the sources are theirs, and nothing is written by them."""
    roles.policies.install()
    tables = roles.admin(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v') and "
        "not starts_with(relname, 'usage_daily')"
    )
    assert ("dayfold_runs",) in tables
    assert [name for (name,) in tables if not roles.refused(roles.owners, f"select 1 from {name}")] == []
    for statement in ("delete from usage_daily", "update usage_daily set uses = 0", "truncate usage_daily"):
        assert roles.refused(roles.owners, statement)
        assert roles.refused(roles.everybody, statement)


@in_postgres
def test_policies_outlive_folds_edits_and_rebuilds(roles: Roles) -> None:
    """The table keeps its identity; one that an edit adds, for sets, is protected like it; folds go on."""
    ground = roles.ground
    define(ground, sets=False)
    ground.fold()
    roles.policies.install()
    [(before,)] = roles.admin("select 'usage_daily'::regclass::oid")
    define(ground, sets=True, more=True)
    ground.fold()
    assert roles.admin("select 'usage_daily'::regclass::oid") == [(before,)]
    each_sees_its_own(roles)
    assert roles.read(roles.owners, "select max(largest) from usage_daily", ANNA) == [(2,)]
    assert roles.status == [("usage_daily", "ok", ""), ("usage_daily__sets", "ok", "")]
    ground.insert("usage", [{"user_id": BEN, "api_key_id": 3, "size": 9, "made": march(6)}])
    define(ground, sets=True, more=True)
    result = ground.opened.rebuild("UsageDaily", from_="2026-03-01", to="2026-03-11")
    assert result.rows_updated == 1
    assert roles.read(roles.owners, USES, BEN) == [(BEN, 2)]
    assert roles.read(roles.owners, USES, ANNA) == [(ANNA, 3)]
    assert ground.opened.verify("UsageDaily", from_="2026-03-01", to="2026-03-11")[0].is_proved


@in_postgres
def test_a_version_under_another_table_name_is_protected_too(roles: Roles) -> None:
    """The new table is readable by the same roles, each their rows."""
    roles.policies.install()
    usage = roles.ground.table("usage")
    words = {"key": ("user_id", "api_key_id"), "owner": "user_id", "table": "usage_by_day"}
    roles.ground.define(type("UsageDaily", (Rollup,), {**words, "uses": Count(usage, at="made")}))
    roles.ground.fold()
    query = USES.replace("usage_daily", "usage_by_day")
    assert roles.read(roles.owners, query, BEN) == [(BEN, 1)]
    assert roles.read(roles.everybody, query) == [(ANNA, 3), (BEN, 1), (None, 1)]


@in_postgres
def test_an_edit_cannot_take_the_owner_from_under_its_policy(roles: Roles) -> None:
    """PostgreSQL refuses it, naming the policy; the old version stays, protected, and removing the policies lets it go on."""
    roles.policies.install()
    usage = roles.ground.table("usage")
    edited = type("UsageDaily", (Rollup,), {"key": "api_key_id", "uses": Count(usage, at="made")})
    roles.ground.define(edited)
    [run] = roles.ground.opened.fold()
    assert "policy dayfold_owner on table usage_daily depends on column user_id of table usage_daily" in str(run.error)
    assert roles.read(roles.owners, USES, BEN) == [(BEN, 1)]
    roles.ground.define(edited)
    assert roles.policies.remove() == ["usage_daily", "usage_daily__sets"]
    roles.ground.fold()
    assert roles.admin("select count(distinct api_key_id) from usage_daily") == [(4,)]


@in_postgres
def test_remove_restores_what_was_there(roles: Roles) -> None:
    """Policies, row-level security and the right to read are gone; other people's policies keep it enabled."""
    roles.policies.install()
    roles.admin("create policy other on usage_daily__sets for select to public using (false)")
    define(roles.ground)
    assert roles.policies.remove() == ["usage_daily", "usage_daily__sets"]
    assert roles.admin(
        "select relname, relrowsecurity from pg_class where relname in ('usage_daily', 'usage_daily__sets') order by 1"
    ) == [("usage_daily", False), ("usage_daily__sets", True)]
    assert roles.admin("select polname::text from pg_policy") == [("other",)]
    for role in (roles.owners, roles.everybody):
        assert roles.refused(role, USES)
        assert roles.refused(role, SETS)
    define(roles.ground)
    assert roles.policies.remove() == []
    assert roles.status[0] == ("usage_daily", "missing", "it has no policies of ours")


@in_postgres
def test_statements_for_a_dba_do_the_same(roles: Roles) -> None:
    """What `--sql` prints makes the policies that `install` makes, and takes them away."""
    made = roles.policies.statements(["UsageDaily"])
    assert [name for name, _ in made] == ["usage_daily", "usage_daily__sets"]
    owners, everybody = roles.owners, roles.everybody
    assert made[0][1] == [
        'ALTER TABLE "public"."usage_daily" ENABLE ROW LEVEL SECURITY',
        'DROP POLICY IF EXISTS "dayfold_owner" ON "public"."usage_daily"',
        'DROP POLICY IF EXISTS "dayfold_all" ON "public"."usage_daily"',
        f'CREATE POLICY "dayfold_owner" ON "public"."usage_daily" FOR SELECT TO "{owners}" '
        'USING ("user_id" = (SELECT CAST(auth.uid() AS uuid)))',
        f'CREATE POLICY "dayfold_all" ON "public"."usage_daily" FOR SELECT TO "{everybody}" USING (true)',
        f'GRANT USAGE ON SCHEMA "public" TO "{owners}", "{everybody}"',
        f'GRANT SELECT ON "public"."usage_daily" TO "{owners}", "{everybody}"',
    ]
    for _, texts in made:
        for text in texts:
            roles.admin(text)
    define(roles.ground)
    assert roles.status == [("usage_daily", "ok", ""), ("usage_daily__sets", "ok", "")]
    removal = roles.policies.removal()
    for _, texts in removal:
        for text in texts:
            roles.admin(text)
    assert roles.admin("select count(*) from pg_policy") == [(0,)]


@in_postgres
def test_status_tells_what_was_changed_by_hand(roles: Roles) -> None:
    """A widened policy, disabled security, a policy or right that is gone, and other settings show."""
    roles.policies.install()

    def after(statement: str) -> tuple[str, str, str]:
        roles.admin(statement)
        define(roles.ground)
        [first, *_] = roles.status
        roles.policies.install()
        assert roles.status[0] == ("usage_daily", "ok", "")
        return first

    changed = ("usage_daily", "changed", "its policies are not those of [rls]: dayfold_owner")
    assert after("alter policy dayfold_owner on usage_daily using (true)") == changed
    assert after("alter policy dayfold_owner on usage_daily to public") == changed
    assert after("drop policy dayfold_owner on usage_daily") == changed
    assert after("alter table usage_daily disable row level security") == (
        "usage_daily", "exposed", "its policies are not in force: row-level security is disabled",
    )  # fmt: skip
    assert after(f"revoke select on usage_daily from {roles.everybody}") == (
        "usage_daily", "missing", f"it may not be read by {roles.everybody}",
    )  # fmt: skip
    configure(roles, expression="(select auth.uid())", all_roles=[])
    define(roles.ground)
    assert roles.status[0] == (
        "usage_daily", "changed", "its policies are not those of [rls]: dayfold_all, dayfold_owner",
    )  # fmt: skip


@in_postgres
def test_status_and_doctor_tell_what_gets_past_the_policies(roles: Roles) -> None:
    """Views with their owner's rights and what reads or stores these, a ledger that may be read, default rights to new tables."""
    roles.policies.install()
    owners = roles.owners.replace('""', '"')
    for statement in (
        "create view inner_view with (security_invoker = on) as select * from usage_daily",
        "create view over_inner as select * from inner_view",
        "create view all_rows as select * from usage_daily",
        "create view over_all as select * from all_rows",
        "create materialized view kept as select * from inner_view",
        f'grant select on inner_view, over_inner, over_all, kept, dayfold_stale to "{roles.owners}"',
        f'alter default privileges in schema public grant select on tables to "{roles.owners}"',
    ):
        roles.admin(statement)
    define(roles.ground)
    counts = {
        name: roles.read(roles.owners, f"select count(distinct api_key_id) from {name}", BEN)[0][0]
        for name in ("inner_view", "over_inner", "over_all", "kept")
    }
    assert counts == {"inner_view": 1, "over_inner": 1, "over_all": 4, "kept": 4}
    found = roles.policies.status()[2:]
    assert found == [
        PolicyStanding(
            "", "kept", "exposed", f"it shows every row to {owners}: a view runs with its owner's rights",
            f'REVOKE SELECT ON kept FROM "{roles.owners}";',
        ),
        PolicyStanding(
            "", "over_all", "exposed", f"it shows every row to {owners}: a view runs with its owner's rights",
            "ALTER VIEW over_all SET (security_invoker = true);",
        ),
        PolicyStanding(
            "", "dayfold_stale", "exposed", f"it is the ledger's or a fold's own, and may be read by {owners}",
            f'REVOKE SELECT ON "public"."dayfold_stale" FROM "{roles.owners}";',
        ),
        PolicyStanding(
            "", "public", "exposed",
            f"every new table in it may be read by {owners}, those that folds build aside too",
            f'ALTER DEFAULT PRIVILEGES IN SCHEMA "public" REVOKE SELECT ON TABLES FROM "{roles.owners}";',
        ),
    ]  # fmt: skip
    findings = roles.ground.opened.doctor()
    assert Finding("ok", "usage_daily", "its row-level policies are those of [rls]") in findings
    assert Finding("problem", "kept", found[0].message, found[0].advice) in findings
    for standing in found:
        roles.admin(standing.advice)
    define(roles.ground)
    assert roles.status == [("usage_daily", "ok", ""), ("usage_daily__sets", "ok", "")]
    assert roles.refused(roles.owners, "select * from over_all")


@in_postgres
def test_doctor_tells_missing_policies(roles: Roles) -> None:
    """A rollup with an owner and no policies is a warning; one without settings a problem; without an owner there is nothing."""
    findings = roles.ground.opened.doctor()
    assert Finding("warning", "usage_daily", "it has no policies of ours", "dayfold rls install") in findings
    roles.ground.config = {**roles.ground.config, "rls": {}}
    define(roles.ground)
    subjects = {one.subject: one for one in roles.ground.opened.doctor()}
    assert subjects["rls"].message == "[rls] says not who asks, or not which roles see their own rows."
    define(roles.ground, owner=None)
    assert "rls" not in {one.subject for one in roles.ground.opened.doctor()}
    with pytest.raises(UsageError) as error:
        roles.policies.install(["UsageDaily"])
    assert str(error.value) == 'UsageDaily names no owner.\n  Say which key column owns a row: owner = "user_id".'


@in_postgres
def test_roles_that_no_policy_binds_are_refused(roles: Roles) -> None:
    """Nothing is granted to a role that would see every row: a superuser, BYPASSRLS, the table owner's, a member of all_roles."""
    name = roles.owners.replace('""', '"')

    def refusal() -> str:
        define(roles.ground)
        with pytest.raises(UsageError) as error:
            roles.policies.install()
        assert roles.refused(roles.everybody, USES)
        return error.value.message

    free = f"No policy binds {name}: such a role is a superuser, has BYPASSRLS, or has the rights of the owner of usage_daily."
    roles.admin(f'alter role "{roles.owners}" bypassrls')
    assert refusal() == free
    roles.admin(f'alter role "{roles.owners}" nobypassrls')
    roles.admin(f'grant {roles.everybody} to "{roles.owners}"')
    assert refusal() == f"The role {name} is a member of {roles.everybody}, which sees every row."
    roles.admin(f'revoke {roles.everybody} from "{roles.owners}"')
    roles.admin(f'alter table usage_daily owner to "{roles.everybody}"')
    roles.admin(f'grant {roles.everybody} to "{roles.owners}"')
    configure(roles, all_roles=[])
    define(roles.ground)
    with pytest.raises(UsageError) as error:
        roles.policies.install()
    assert error.value.message == free
    roles.admin("alter table usage_daily owner to owner")
    configure(roles, all_roles=["nobody_at_all"])
    define(roles.ground)
    with pytest.raises(UsageError) as error:
        roles.policies.install()
    assert str(error.value) == (
        "There is no role 'nobody_at_all', which [rls] names.\n  Make it: CREATE ROLE \"nobody_at_all\" NOLOGIN;"
    )


@in_postgres
def test_an_expression_that_postgresql_refuses_changes_nothing(roles: Roles) -> None:
    """A function that is not there is an error that says what the expression needs; no table is half protected."""
    configure(roles, expression="auth.nobody()")
    define(roles.ground)
    with pytest.raises(StoreError) as error:
        roles.policies.install()
    assert error.value.hint == (
        "The store's user has to own the table; and [rls] expression has to name functions that it may call, and give "
        "what the owner's column can be compared with."
    )
    assert roles.admin("select count(*) from pg_policy") == [(0,)]
    assert roles.refused(roles.everybody, USES)


@in_postgres
def test_a_rollup_that_was_never_folded_has_no_table_to_protect(roles: Roles) -> None:
    """The command says to fold first."""
    usage = roles.ground.table("usage")
    words = {"key": "user_id", "owner": "user_id", "uses": Count(usage, at="made")}
    roles.ground.define(type("Other", (Rollup,), words))
    with pytest.raises(UsageError) as error:
        roles.policies.install()
    assert str(error.value) == "Other has no table with the column user_id yet.\n  Run: dayfold fold Other"
    assert roles.status == [("other", "missing", "it was never folded")]


@pytest.mark.parametrize("pairing", ["duckdb-same"], indirect=True)
def test_duckdb_has_no_policies(pairing: Pairing) -> None:
    """It is refused with the reason, and doctor says nothing of it."""
    with Ground(pairing) as ground:
        ground.load("usage", "user_id uuid, api_key_id bigint, size bigint, made timestamptz", [])
        define(ground)
        for verb in ("install", "remove", "status"):
            with pytest.raises(UsageError) as error:
                getattr(ground.opened.policies(), verb)()
            assert str(error.value) == (
                f"{ground.opened.databases.store.address} has no row-level policies: a DuckDB file has neither users nor roles, "
                "and who opens it reads all of it.\n"
                "  Make PostgreSQL the store; or give people the HTTP API, whose tokens limit rows on every engine."
            )
        assert {one.level for one in ground.opened.doctor()} == {"ok"}


@in_postgres
def test_without_settings_nothing_is_installed(ground: Ground) -> None:
    """Who asks has to be said."""
    ground.load("usage", "user_id uuid, api_key_id bigint, size bigint, made timestamptz", [])
    define(ground)
    with pytest.raises(ConfigError) as error:
        ground.opened.policies().install()
    assert str(error.value) == (
        "[rls] says not who asks, or not which roles see their own rows.\n"
        '  Such as: expression = "auth.uid()", or "current_setting(\'app.user_id\', true)". And: owner_roles = '
        '["authenticated"]'
    )
