"""Settings: where they come from, what is wrong with them, and that secrets stay secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dayfold.errors import ConfigError
from dayfold.settings import load

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the machine stay out."""
    import os

    for name in [name for name in os.environ if name.upper().startswith("DAYFOLD_")]:
        monkeypatch.delenv(name)


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    """An empty folder is a working configuration."""
    settings = load(None, tmp_path)
    assert settings.store.url.get_secret_value() == "duckdb:///dayfold.duckdb"
    assert (settings.databases, settings.fold.chunk_rows, settings.fold.wait_s) == ({}, 10_000_000, 60)


def test_variables_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Section by section: what a variable does not say stays as the file says."""
    path = tmp_path / "dayfold.toml"
    path.write_text(
        '[store]\nurl = "duckdb:///a.duckdb"\nschema = "kept"\n[databases.app]\nurl = "duckdb:///b.duckdb"\n'
    )
    monkeypatch.setenv("DAYFOLD_STORE__URL", "duckdb:///c.duckdb")
    monkeypatch.setenv("DAYFOLD_FOLD__CHUNK_ROWS", "5")
    monkeypatch.setenv("DAYFOLD_FOLD__WAIT_S", "")
    settings = load(path)
    assert settings.store.url.get_secret_value() == "duckdb:///c.duckdb"
    assert settings.store.db_schema == "kept"
    assert settings.databases["app"].url.get_secret_value() == "duckdb:///b.duckdb"
    assert (settings.fold.chunk_rows, settings.fold.wait_s) == (5, 60)


@pytest.mark.parametrize(("text", "value"), [
    ("postgresql://${WHO}:${PW}@db/app", f"postgresql://me:{SECRET}@db/app"),
    ("${NOT_SET:-duckdb:///x.duckdb}", "duckdb:///x.duckdb"),
    ("${WHO:-other}", "me"),
    ("${NOT_SET:-}", ""),
    ("$WHO ${} ${1A}", "$WHO ${} ${1A}"),
])  # fmt: skip
def test_values_read_variables(monkeypatch: pytest.MonkeyPatch, text: str, value: str) -> None:
    """``${NAME}`` and ``${NAME:-default}``, any number of them; what a variable holds is not read again."""
    monkeypatch.setenv("WHO", "me")
    monkeypatch.setenv("PW", SECRET)
    monkeypatch.delenv("NOT_SET", raising=False)
    assert load({"store": {"url": text}}).store.url.get_secret_value() == value


def test_a_variable_may_hold_what_looks_like_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password such as ``${x}`` is taken as it is."""
    monkeypatch.setenv("PW", "${x}")
    assert load({"store": {"url": "${PW}"}}).store.url.get_secret_value() == "${x}"


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"stor": {}},
     "the configuration: there is no setting 'stor'; the nearest is 'store'.\n"
     "  Settings: store, ledger, databases, fold, query, verify, serve, auth, rls, alerts, errors, schedule, jobs, retain, collect, live, "
     "export, dashboard"),
    ({"fold": {"chunk_row": 1}},
     "the configuration: there is no setting 'fold.chunk_row'; the nearest is 'chunk_rows'.\n  Settings: chunk_rows, wait_s"),
    ({"databases": {"app": {"url": "x", "user": SECRET}}},
     "the configuration: there is no setting 'databases.app.user'.\n  Settings: url"),
    ({"alerts": {"channels": {"ops": {}}}}, "the configuration: alerts.channels.ops: expected one of url, command, host, got none."),
    ({"alerts": {"channels": {"ops": {"url": "http://x", "host": "y"}}}},
     "the configuration: alerts.channels.ops: expected one of url, command, host, got url, host."),
    ({"alerts": {"channels": {"ops": {"urll": SECRET}}}},
     "the configuration: there is no setting 'alerts.channels.ops.urll'; the nearest is 'url'.\n"
     "  Settings: url, secret, command, host, port, user, password, from, to, tls, timeout_s"),
    *[({"alerts": {"channels": {"ops": {"url": url}}}},
       "the configuration: alerts.channels.ops: url is http://HOST/… or https://HOST/…, without a user or password in it.")
      for url in ("ftp://x/y", f"https://me:{SECRET}@x/", "https://", "hooks", "http://x/ y", "http://x:y/")],
    ({"alerts": {"channels": {"ops": {"command": ["a"], "secret": SECRET}}}},
     "the configuration: alerts.channels.ops: secret does not go with command."),
    ({"alerts": {"channels": {"ops": {"host": "mail"}}}},
     "the configuration: alerts.channels.ops: a mail channel needs from and to."),
    ({"alerts": {"channels": {"ops": {"host": "mail", "from": "a@b", "to": ["c@d"], "password": SECRET}}}},
     "the configuration: alerts.channels.ops: user and password belong together."),
    ({"alerts": {"rules": {"low": {"whn": "x"}}}},
     "the configuration: there is no setting 'alerts.rules.low.whn'; the nearest is 'when'.\n"
     "  Settings: when, job_failed, drift_above, stale_hours, left_open, held_above, unaccounted, check_failed, over, rollup, where, by, "
     "to"),
    ({"databases": {"app": {}}}, "the configuration: databases.app.url: it is needed and not there."),
    ({"store": {"memory_limit": "2"}}, "the configuration: store.memory_limit: expected a size such as 512MB or 2GB."),
    ({"store": {"long_view": "a b"}},
     "the configuration: store.long_view: expected a name of letters, digits and _, or nothing."),
    ({"dashboard": {"embed_in": ["https://shop.example/page"]}},
     "the configuration: dashboard.embed_in: expected origins: a scheme and a host, such as https://shop.example, without a path."),
    ({"export": {"s3": SECRET}},
     "the configuration: export.s3: expected an address such as s3://BUCKET/PREFIX?region=eu-north-1."),
    ({"fold": {"chunk_rows": 0}}, "the configuration: fold.chunk_rows: Input should be greater than 0."),
    ({"fold": {"chunk_rows": SECRET}},
     "the configuration: fold.chunk_rows: Input should be a valid integer, unable to parse string as an integer."),
    ({"schedule": {"fold": "hourly"}},
     'the configuration: schedule.fold: expected a cron expression of five fields such as "*/5 * * * *", a time of day such as '
     '"01:00", or "off".'),
    ({"schedule": {"timezone": "Europe/Londn"}},
     "the configuration: schedule.timezone: expected a time zone such as Europe/London; the nearest is 'Europe/London'."),
    ({"store": {"url": "${NOT_SET}"}}, "the configuration: store.url reads the variable NOT_SET, which is not set.\n"
     "  Set it, or give a default: ${NOT_SET:-value}"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[one[1].splitlines()[0] for one in MISTAKES])
def test_mistakes(monkeypatch: pytest.MonkeyPatch, words: dict[str, Any], message: str) -> None:
    """The setting is named, with the nearest known one; its value never is."""
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigError) as refused:
        load(words)
    assert str(refused.value) == message
    assert refused.value.exit_status == 2


def test_a_schedule_may_read_variables_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time of day stands wherever a cron expression may, so that a variable may hold either."""
    words = {
        "schedule": {
            "fold": "${METRICS_AGGREGATION_TIME:-01:00}", "verify": "off", "timezone": "${METRICS_AGGREGATION_TIMEZONE:-UTC}",
        }
    }  # fmt: skip
    found = load(words).schedule
    assert (found.fold, found.verify, found.timezone) == ("01:00", "off", "UTC")
    monkeypatch.setenv("METRICS_AGGREGATION_TIME", "0 */2 * * *")
    monkeypatch.setenv("METRICS_AGGREGATION_TIMEZONE", "Europe/London")
    found = load(words).schedule
    assert (found.fold, found.timezone) == ("0 */2 * * *", "Europe/London")


def test_a_variable_with_one_underscore_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be passed over, and the numbers would go into another store."""
    monkeypatch.setenv("DAYFOLD_STORE_URL", "duckdb:///elsewhere.duckdb")
    with pytest.raises(ConfigError) as refused:
        load({})
    assert str(refused.value) == (
        "The variable DAYFOLD_STORE_URL sets nothing.\n  Sections end with two '_': DAYFOLD_STORE__URL"
    )


def test_files_that_are_none(tmp_path: Path) -> None:
    """A named file must be there, and be TOML."""
    path = tmp_path / "dayfold.toml"
    with pytest.raises(ConfigError) as missing:
        load(path)
    assert str(missing.value) == f"There is no configuration file {path}.\n  Run `dayfold init` for a commented one."
    path.write_text("[store")
    with pytest.raises(ConfigError) as broken:
        load(path)
    assert str(broken.value).startswith(f"{path} is not TOML: ")


def test_secrets_are_shown_nowhere() -> None:
    """Neither in a repr, nor in a dump, nor in an error about something else."""
    words = {
        "store": {"url": f"postgresql://me:{SECRET}@db/app"},
        "databases": {"app": {"url": f"postgresql://{SECRET}@db/x"}},
    }
    settings = load(words)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    for wrong in (
        {"fold": {"chunk_rows": SECRET}},
        {"store": {"url": [SECRET]}},
        {"store": {"url": SECRET, "x": SECRET}},
    ):
        with pytest.raises(ConfigError) as refused:
            load({**words, **wrong})
        assert SECRET not in f"{refused.value!r} {refused.value} {refused.value.__cause__!r}"


def test_access_is_set_by_variables_and_its_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections inside [auth] have variables too, lists and tables as JSON; no secret shows where settings are printed."""
    for name, value in {
        "CRON_SECRET": "rosebud-rosebud-rosebud",
        "JWT__SECRET": "rosebud" * 5,
        "JWT__ALGORITHMS": '["HS256"]',
        "JWT__CLAIMS__ROWS": '{"shop_id": "shop"}',
        "OIDC__CLIENT_SECRET": "rosebud",
        "OIDC__RIGHTS": '{"owners": {"kind": "admin"}}',
    }.items():
        monkeypatch.setenv(f"DAYFOLD_AUTH__{name}", value)
    auth = load({"auth": {"jwt": {"audience": "dayfold"}}}).auth
    assert (auth.jwt.algorithms, auth.jwt.audience, auth.jwt.claims.rows) == (["HS256"], "dayfold", {"shop_id": "shop"})
    assert auth.oidc.rights["owners"].kind == "admin"
    assert (auth.jwt.is_on, auth.oidc.is_on) == (True, True)
    assert "rosebud" not in repr(auth)


def test_access_is_off_where_nothing_is_set() -> None:
    """Neither JWT nor OIDC, and no secret for schedulers."""
    auth = load({}).auth
    assert (auth.jwt.is_on, auth.oidc.is_on, auth.cron_secret) == (False, False, None)
