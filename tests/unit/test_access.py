"""Access by relation as it is written, scopes as they travel, and who asks in row-level policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from dayfold import Access, Count, Dayfold, Rollup, Table
from dayfold.define.access import asked
from dayfold.define.catalog import catalog
from dayfold.errors import AccessUnknown, ConfigError, DefinitionError, Forbidden, UsageError
from dayfold.http.problems import status_of
from dayfold.plan.access import EVERYTHING, Grant, Scope
from dayfold.plan.policies import Rules
from dayfold.settings import RlsSettings, load

MESSY = '''\
from dayfold import Access, Count, Rollup, Table

view = Table("view", database="app")


class AssetDaily(Rollup):
    key = ("asset_id", "country")
    views = Count(view, at="seen_at")


class Brand(Access):
    """What a brand may see."""

    database = "ap"
    asset_id = "select asset_id from license where brand_id = :brand_id"


class Several(Access):
    database = "app"
    asset_id = "select a, b from license where brand_id = :brand_id"
    contry = "select * from license where brand_id = :brand_id"
    day = "select from"
    country = 5


class Wrong(Access):
    asset_id = "delete from license where brand_id = :brand_id returning asset_id"
    country = "select country from license"


class Nothing(Access):
    NOTE = "capitals are the author's own"


class assetdaily(Access):
    asset_id = "select asset_id from license where brand_id = ?"
    country = "select 'fr' where :a = 1; select 1"
    database = 3
'''

MESSAGES = """\
DefinitionError [unknown-database] metrics.py:11 Brand
  there is no [databases.ap] in dayfold.toml; the nearest is 'app'.
  Databases: app
DefinitionError [bad-value] metrics.py:18 Several.country
  the query of a key column is a text, got 5.
  Such as: select asset_id from license where brand_id = :brand_id
DefinitionError [unknown-column] metrics.py:18 Several.contry
  no rollup has a key column 'contry'; the nearest is 'country'.
  Key columns: asset_id, country
DefinitionError [reserved-name] metrics.py:18 Several.day
  'day' is a name that Dayfold uses itself, so that it is no key column.
DefinitionError [bad-query] metrics.py:18 Several.asset_id
  the query gives 2 columns, expected the one column that holds the values.
  Such as: select asset_id from license where brand_id = :brand_id
DefinitionError [bad-query] metrics.py:18 Several.contry
  the query gives *, expected the one column that holds the values.
  Such as: select asset_id from license where brand_id = :brand_id
DefinitionError [bad-query] metrics.py:18 Several.day
  the query cannot be read as SQL of postgres.
  Such as: select asset_id from license where brand_id = :brand_id
DefinitionError [bad-query] metrics.py:26 Wrong.asset_id
  expected one select that changes nothing.
  Such as: select asset_id from license where brand_id = :brand_id
DefinitionError [no-parameters] metrics.py:26 Wrong.country
  the query has no parameter, so that everybody would see the same.
  Name one. Such as: select asset_id from license where brand_id = :brand_id
DefinitionError [no-queries] metrics.py:31 Nothing
  an Access needs a query for at least one key column.
  Such as: asset_id = "select asset_id from license where brand_id = :brand_id"
DefinitionError [bad-value] metrics.py:35 assetdaily
  database is a text, got 3.
DefinitionError [duplicate-name] metrics.py:35 assetdaily
  the class name 'assetdaily' is taken by metrics.py:6.
DefinitionError [bad-query] metrics.py:35 assetdaily.asset_id
  a parameter of the query has no name.
  Write it as :name.
DefinitionError [bad-query] metrics.py:35 assetdaily.country
  expected one select that changes nothing.
  Such as: select asset_id from license where brand_id = :brand_id"""


def test_all_mistakes_of_accesses_are_told_with_all_others(tmp_path: Path) -> None:
    """Each with its line, also those that only the language of its database shows."""
    (tmp_path / "metrics.py").write_text(MESSY)
    databases = {"app": {"url": "postgresql://nobody@127.0.0.1:1/app"}}
    with Dayfold(tmp_path / "metrics.py", {"databases": databases}) as app, pytest.raises(DefinitionError) as error:
        app.catalog.check()
    assert str(error.value) == MESSAGES


def test_queries_are_inherited_and_may_be_replaced() -> None:
    """As metrics of a rollup are."""

    class AssetDaily(Rollup):
        key = ("asset_id", "country")
        views = Count(Table("view"), at="seen_at")

    class Brand(Access):
        asset_id = "select asset_id from license where brand_id = :brand_id"
        country = "select country from license where brand_id = :brand_id"

    class Partner(Brand):
        country = "select country from partner where region = :region and brand_id = :brand_id"

    found = catalog([AssetDaily, Brand, Partner])
    assert found.problems == ()
    assert found.accesses["Partner"].parameters("postgres") == ("brand_id", "region")
    assert found.accesses["Brand"].parameters("postgres") == ("brand_id",)


@pytest.mark.parametrize("text", [
    "with gone as (delete from license where brand = :b returning id) select id from gone",
    "select id into other from license where brand = :b",
    "select id from license where brand = $1",
    "insert into license values (:b)",
    "values (:b)",
    "drop table license",
    "call f(:b)",
    "",
])  # fmt: skip
@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
def test_what_is_no_query_is_refused(text: str, dialect: str) -> None:
    """Only one select that reads, with named parameters."""
    with pytest.raises(ValueError, match=r"query|select|parameter"):
        asked(text, dialect)


def test_a_query_keeps_its_meaning() -> None:
    """Names keep their case, each parameter its place, and what only looks like one is left alone."""
    text = """select distinct L."AssetId" from License as L -- :no
        where L.brand = :brand and note <> ':also no' and owner = :brand and until > :day::date"""
    found = asked(text, "postgres")
    assert found.names == ("brand", "day")
    assert found.text == (
        "SELECT DISTINCT L.\"AssetId\" FROM License AS L WHERE L.brand = $1 AND note <> ':also no' AND owner = $1 "
        "AND until > CAST($2 AS DATE)"
    )


GRANTED = Scope.of(["AssetDaily"], {"country": ["fr", None]}, [Grant.of("Brand", {"brand_id": "7"})])


def test_a_scope_travels_as_json() -> None:
    """A grant is the name of an access and its parameters; a scope that was written before there were any still loads."""
    assert GRANTED.as_object() == {
        "rollups": ["AssetDaily"],
        "rows": {"country": [None, "fr"]},
        "relations": [{"access": "Brand", "params": {"brand_id": "7"}}],
    }
    assert Scope.from_object(GRANTED.as_object()) == GRANTED
    old = {"rollups": None, "rows": {"k": ["1"]}}
    assert Scope.from_object(old) == Scope.of(None, {"k": ["1"]})
    assert Scope.from_object(old).as_object() == old
    numbered = {"rollups": None, "rows": {}, "relations": [{"access": "Brand", "params": {"brand_id": 7}}]}
    assert Scope.from_object(numbered) == Scope.of(None, {}, [Grant.of("Brand", {"brand_id": "7"})])


@pytest.mark.parametrize("value", [True, None, 7.5, ["7"], {"a": "7"}])
def test_a_parameter_is_a_text_or_a_whole_number(value: object) -> None:
    """Anything else in a token is refused, and its value is not repeated."""
    with pytest.raises(UsageError) as error:
        Grant.of("Brand", {"brand_id": value})
    assert str(error.value) == "The parameter 'brand_id' of the access 'Brand' is neither a text nor a whole number."


def test_marks_of_scopes_differ_where_scopes_do() -> None:
    """Grants are part of the mark, and order is not."""
    other = Scope.of(["AssetDaily"], {"country": ["fr", None]}, [Grant.of("Brand", {"brand_id": "8"})])
    bare = Scope.of(["AssetDaily"], {"country": [None, "fr"]})
    assert len({GRANTED.mark, other.mark, bare.mark, EVERYTHING.mark}) == 4
    assert Scope.from_object(GRANTED.as_object()).mark == GRANTED.mark
    assert GRANTED.narrowed(EVERYTHING) == GRANTED
    assert bare.narrowed(GRANTED) == GRANTED
    assert GRANTED.is_limited


def test_a_relation_that_cannot_be_looked_up_is_no_fault_of_the_asker() -> None:
    """Over HTTP it is 503, to be tried again, and a grant that fits no more is 403."""
    assert status_of(AccessUnknown("…")).value == 503
    assert status_of(Forbidden("…")).value == 403


@pytest.mark.parametrize("text", [
    "", "a, b", "select 1", "1; drop table x", "drop table x", "1) or (true", "uid() from x", "uid() as x", "$1", ":who",
    "(with gone as (delete from x returning 1) select 1 from gone)",
])  # fmt: skip
def test_who_asks_is_one_expression(text: str) -> None:
    """A policy has room for one expression and nothing else."""
    with pytest.raises(ConfigError) as error:
        Rules.of(RlsSettings(expression=text, owner_roles=["a"]))
    assert str(error.value) == (
        "[rls] expression is not one expression in PostgreSQL's SQL.\n"
        '  Such as: expression = "auth.uid()", or "current_setting(\'app.user_id\', true)".'
    )


@pytest.mark.parametrize(("text", "kept"), [
    ("auth.uid()", "auth.uid()"),
    ("(select auth.uid())", "(SELECT auth.uid())"),
    ("current_setting('app.user_id', true)::bigint -- who", "CAST(current_setting('app.user_id', TRUE) AS BIGINT)"),
    ("(auth.jwt() ->> 'sub')::uuid", "CAST((auth.jwt() ->> 'sub') AS UUID)"),
    ('public."UID"()', 'public."UID"()'),
    ("current_user", "CURRENT_USER"),
])  # fmt: skip
def test_who_asks_keeps_its_meaning(text: str, kept: str) -> None:
    """Functions of schemas, casts, queries and keywords stay what they are."""
    assert Rules.of(RlsSettings(expression=text, owner_roles=["a"])).expression == kept


def test_who_asks_is_no_column_of_the_row() -> None:
    """The owner's column compared with itself would show every row."""
    with pytest.raises(ConfigError) as error:
        Rules.of(RlsSettings(expression="lower(user_id)", owner_roles=["a"]))
    assert str(error.value) == (
        "[rls] expression names a column, user_id, where it should say who asks.\n"
        '  A column of the row is equal to itself, so that every row would be shown. Such as: expression = "auth.uid()", or '
        "\"current_setting('app.user_id', true)\"."
    )


def test_a_role_sees_its_rows_or_all() -> None:
    """A role in both lists is a contradiction."""
    with pytest.raises(ConfigError) as error:
        Rules.of(RlsSettings(expression="auth.uid()", owner_roles=["a", "b"], all_roles=["b"]))
    assert str(error.value) == "[rls] has b both in owner_roles and in all_roles.\n  A role stands in one of them."


def test_roles_are_quoted() -> None:
    """A role's name is never SQL."""
    rules = Rules.of(RlsSettings(expression="auth.uid()", owner_roles=['a" to public; --']))
    assert rules.policies("t", "user_id", "uuid") == [
        'CREATE POLICY "dayfold_owner" ON t FOR SELECT TO "a"" to public; --" USING ("user_id" = (SELECT CAST(auth.uid() AS uuid)))'
    ]


@pytest.mark.parametrize(("words", "message"), [
    ({"auth": {"relation_s": 61}}, "auth.relation_s: Input should be less than or equal to 60."),
    ({"auth": {"relation_s": -1}}, "auth.relation_s: Input should be greater than or equal to 0."),
    ({"rls": {"owner_roles": "authenticated"}}, 'rls.owner_roles: expected a list of texts, such as ["one"].'),
])  # fmt: skip
def test_settings_have_bounds(words: dict[str, object], message: str) -> None:
    """An answer is used again for at most a minute."""
    with pytest.raises(ConfigError) as error:
        load(words)
    assert str(error.value) == f"the configuration: {message}"


def test_an_owner_is_a_key_column() -> None:
    """Otherwise no row could be somebody's."""

    class Usage(Rollup):
        key = ("user_id", "api_key_id")
        owner = "userid"
        uses = Count(Table("usage"), at="made")

    [problem] = catalog([Usage]).problems
    assert (problem.code, problem.message, problem.hint) == (
        "unknown-column", "owner is one of the key columns, got 'userid'; the nearest is 'user_id'.", "Key: user_id, api_key_id",
    )  # fmt: skip
