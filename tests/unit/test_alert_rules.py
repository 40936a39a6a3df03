"""Alert rules as they are written: what they mean, and every mistake with its place."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dayfold import Alert, Count, Dayfold, Profile, Rollup, Sum, Table
from dayfold.define.alert import Drift, Held, JobFailed, LeftOpen, Stale, Threshold, checked, of_settings
from dayfold.define.catalog import catalog, load
from dayfold.define.condition import Condition, condition
from dayfold.define.expr import ExpressionError
from dayfold.errors import DefinitionError

order = Table("orders")


class CreatorDaily(Rollup):
    key = "channel"
    mrr = Sum(order, "amount", at="made")
    ad_spend = Sum(order, "cost", at="made")


class ShopDaily(Rollup):
    mrr = Sum(order, "amount", at="made")
    shops = Count(order, at="made")


ROLLUPS = catalog([CreatorDaily, ShopDaily]).rollups


def read(channels: tuple[str, ...] | None = None, **words: Any) -> tuple[Any, list[str]]:
    """What one rule of the settings watches, and its mistakes."""
    found, problems = checked(of_settings({"r": words}), ROLLUPS, channels)
    return found["r"].watch if "r" in found else None, [str(one) for one in problems]


def test_words_in_a_class_and_in_the_settings_mean_the_same() -> None:
    """One mechanism: the kinds and words are those of both."""

    class LowRevenue(Alert):
        """Revenue fell below
        what pays the bills."""

        rollup = "CreatorDaily"
        when = "mrr < 1000"
        where = {"channel": ["ios", None, ""]}  # noqa: RUF012  # as a definition is written
        by = "channel"
        to = "ops"

    found = catalog([CreatorDaily, ShopDaily, LowRevenue])
    assert found.problems == ()
    one = found.alerts["LowRevenue"]
    assert (one.description, one.to) == ("Revenue fell below what pays the bills.", ("ops",))
    assert one.place.startswith("test_alert_rules.py:")
    watch, problems = read(
        rollup="creator_daily", when="mrr < 1000", where={"channel": ["ios", None, ""]}, by=["channel"], to=["ops"]
    )
    assert problems == []
    assert isinstance(watch, Threshold)
    assert watch == one.watch
    assert watch.where == ("channel=ios", "channel=", 'channel=""')


@pytest.mark.parametrize(("words", "watch"), [
    ({"job_failed": True}, JobFailed(None)),
    ({"job_failed": "verify"}, JobFailed(("verify",))),
    ({"job_failed": ["fold", "fold:ShopDaily"]}, JobFailed(("fold", "fold:ShopDaily"))),
    ({"drift_above": 10}, Drift(None, 10, None)),
    ({"drift_above": "1.5 %", "rollup": "ShopDaily"}, Drift("ShopDaily", None, Fraction(3, 200))),
    ({"stale_hours": 26}, Stale(None, 26.0)),
    ({"left_open": True}, LeftOpen(None)),
    ({"held_above": 0}, Held(0)),
    ({"left_open": True, "rollup": "ShopDaily"}, LeftOpen("ShopDaily")),
])  # fmt: skip
def test_kinds(words: dict[str, Any], watch: object) -> None:
    """Each kind by its word."""
    assert read(**words) == (watch, [])


def test_metric_that_one_rollup_has_needs_no_rollup() -> None:
    """The name alone says whose it is."""
    watch, problems = read(when="ad_spend > 1.5 × previous week")
    assert (watch.rollup, watch.condition.period, watch.condition.days, problems) == ("CreatorDaily", "week", 7, [])


def test_condition_is_of_rollups_and_a_profile_that_has_the_metric_is_none() -> None:
    """A profile has no last covered day: it makes no name ambiguous, and is refused where it is named."""

    class Channels(Profile):
        key = "channel"
        ad_spend = Sum(Table("ad"), "amount")

    def read(**words: Any) -> list[str]:
        found = catalog([CreatorDaily, ShopDaily, Channels, type("Watched", (Alert,), words)])
        return [f"{one.message} {one.hint}" for one in found.problems]

    assert read(when="ad_spend > 1") == []
    assert read(when="ad_spend > 1", rollup="Channels") == [
        "when is about the last covered day, and Channels is a profile, which has no days. Count its entities in a rollup, such as "
        "Size(…), and watch that; or write a Check."
    ]


KINDS = "when, job_failed, drift_above, stale_hours, left_open, held_above, unaccounted, check_failed"
WORDS = f"{KINDS}, rollup, where, by, over, to"
JOBS = "fold, finalize, verify, enrich, rebuild, retain, export, fold:CreatorDaily, fold:ShopDaily"
EXAMPLES = 'Write a comparison such as "mrr < 1000" or "ad_spend > 1.5 * previous week".'
MISTAKES: list[tuple[dict[str, Any], str, str, str]] = [
    ({}, "bad-alert", f"an Alert says one of {KINDS}, got none of them.", ""),
    ({"when": "shops < 1", "job_failed": True}, "bad-alert", f"an Alert says one of {KINDS}, got when, job_failed.", ""),
    ({"job_failed": True, "by": "channel"}, "bad-alert", "by does not go with job_failed.", ""),
    ({"stale_hours": 1, "where": {}}, "bad-alert", "where does not go with stale_hours.", ""),
    ({"job_failed": True, "too": "ops"}, "unknown-attribute", "an Alert has no attribute 'too'; the nearest is 'to'.",
     f"Attributes: {WORDS}; constants of your own are written in capitals."),
    ({"job_failed": False}, "bad-value", "job_failed is true, a job's name or a list of them, got False.", ""),
    ({"job_failed": 3}, "bad-value", "job_failed is true, a job's name or a list of them, got 3.", ""),
    ({"job_failed": "folds"}, "unknown-job", "there is no job 'folds'; the nearest is 'fold'.", f"Jobs: {JOBS}"),
    ({"job_failed": "fold:Shop"}, "unknown-job", "there is no job 'fold:Shop'; the nearest is 'fold:ShopDaily'.", f"Jobs: {JOBS}"),
    ({"drift_above": -1}, "bad-value", 'drift_above is a number of cells, or a share such as "1%", got -1.', ""),
    ({"drift_above": "101%"}, "bad-value", "drift_above is a number of cells, or a share such as \"1%\", got '101%'.", ""),
    ({"drift_above": 0.5}, "bad-value", 'drift_above is a number of cells, or a share such as "1%", got 0.5.', ""),
    ({"stale_hours": 0}, "bad-value", "stale_hours is a number of hours above 0, got 0.", ""),
    ({"left_open": 1}, "bad-value", "left_open is true, got 1.", ""),
    ({"held_above": True}, "bad-value", "held_above is a number of events, got True.", ""),
    ({"held_above": "1%"}, "bad-value", "held_above is a number of events, got '1%'.", ""),
    ({"held_above": 5, "rollup": "ShopDaily"}, "bad-alert", "rollup does not go with held_above.", ""),
    ({"stale_hours": "26"}, "bad-value", "stale_hours is a number of hours above 0, got '26'.", ""),
    ({"stale_hours": 2, "rollup": "ShopDayly"}, "unknown-rollup", "there is no rollup 'ShopDayly'; the nearest is 'ShopDaily'.",
     "Rollups: CreatorDaily, ShopDaily"),
    ({"job_failed": True, "to": []}, "bad-value", "to is a channel's name or a list of them, got [].", ""),
    ({"when": "mrr < 1"}, "bad-alert", "when names mrr, which several rollups have: CreatorDaily, ShopDaily.",
     'Say which: rollup = "CreatorDaily"'),
    ({"when": "mrrr < 1"}, "unknown-metric", "when names 'mrrr', which is no metric of any rollup; the nearest is 'mrr'.",
     "Metrics: mrr, ad_spend, shops"),
    ({"when": "shops < 1", "rollup": "CreatorDaily"}, "unknown-metric", "when names 'shops', which is no metric of CreatorDaily.",
     "Metrics: mrr, ad_spend"),
    ({"when": "shops < ad_spend"}, "bad-alert", "when names ad_spend, shops, which no rollup has together.", ""),
    ({"when": "ad_spend < 1", "by": "chanel"}, "unknown-column",
     "by names 'chanel', which is no key column of CreatorDaily; the nearest is 'channel'.", "Key columns: channel"),
    ({"when": "ad_spend < 1", "where": {"shop": 1}}, "unknown-column", "where names 'shop', which is no key column of CreatorDaily.",
     "Key columns: channel"),
    ({"when": "ad_spend < 1", "where": "channel = 'a'"}, "bad-value",
     "where maps key columns to values, such as {\"channel\": \"ios\"}, got \"channel = 'a'\".", ""),
    ({"when": "ad_spend < 1", "where": {"channel": 1.5}}, "bad-value",
     "where: 'channel' is a text, a whole number, true, false or a list of these.", ""),
    ({"when": 3}, "bad-expression", "when: expected a condition as text, got 3.", EXAMPLES),
    ({"when": "ad_spend <"}, "bad-expression", "when: 'ad_spend <' cannot be read: it ends too early.",
     'For anything else write the source as Table(sql="select …"), in the engine\'s own SQL.'),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "message", "hint"), MISTAKES, ids=[one[2] for one in MISTAKES])
def test_mistakes(words: dict[str, Any], code: str, message: str, hint: str) -> None:
    """Each has its setting as its place, says what was expected, and what to do."""
    text = f"DefinitionError [{code}] alerts.rules.r\n  {message}"
    found = read(**words)[1]
    if code == "bad-expression" and "cannot be read" in message:
        assert [one.partition("cannot be read")[0] for one in found] == [text.partition("cannot be read")[0]]
        return
    assert found == [text + (f"\n  {hint}" if hint else "")]


def test_unknown_channel_names_the_known_ones() -> None:
    """A rule that tells nobody would be found out too late."""
    assert read(("ops", "mail"), job_failed=True, to="opps")[1] == [
        "DefinitionError [unknown-channel] alerts.rules.r\n  to names the channel 'opps', which the settings do not have; the nearest is "
        "'ops'.\n  Channels: ops, mail. Add [alerts.channels.opps] to dayfold.toml."
    ]


CONDITIONS = [
    ("mrr", "'mrr': expected a comparison, got 'mrr'.", EXAMPLES),
    ("1 < 2", "'1 < 2' names no metric.", EXAMPLES),
    ("mrr < 'a'", "'mrr < 'a'': expected a number, got ''a''.", EXAMPLES),
    ("mrr + (mrr < 2) > 3", "'mrr + (mrr < 2) > 3': expected a number, got 'mrr < 2'.", EXAMPLES),
    ("mrr < 2 and mrr", "'mrr < 2 and mrr': expected a comparison, got 'mrr'.", EXAMPLES),
    ("mrr is null", "'mrr is null': expected a comparison, got 'mrr IS NULL'.", EXAMPLES),
    ("coalesce(mrr, 0) < 1", "'coalesce(mrr, 0) < 1': expected a number, got 'COALESCE(mrr, 0)'.", EXAMPLES),
    ("mrr < previous weak", "'mrr < previous weak' says 'previous weak'; the nearest is 'week'.", "Periods: day, week, month, year"),
    ("mrr < previous week and mrr > previous day",
     "'mrr < previous week and mrr > previous day' compares with more than one period: week, day.", "Write one rule for each."),
    ("mrr < ad_spend + previous week", "'mrr < ad_spend + previous week' does not say of which metric 'previous week' is meant.",
     "Write: previous week of ad_spend"),
    ("", "expected a condition as text, got ''.", EXAMPLES),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "hint"), CONDITIONS, ids=[one[0] for one in CONDITIONS])
def test_what_is_no_condition(text: str, message: str, hint: str) -> None:
    """A comparison of numbers, and nothing that would make something of missing data."""
    with pytest.raises(ExpressionError) as refused:
        condition(text)
    assert (str(refused.value), refused.value.hint) == (message, hint)


JUDGED: list[tuple[str, dict[str, Any], dict[str, Any], bool | None]] = [
    ("mrr < 1000", {"mrr": 999}, {}, True),
    ("mrr < 1000", {"mrr": 1000}, {}, False),
    ("mrr < 1000", {"mrr": None}, {}, None),
    ("mrr < 0.1 + 0.2", {"mrr": Decimal("0.3")}, {}, False),
    ("mrr = 1 / 3", {"mrr": 1 / 3}, {}, False),
    ("7 / 2 > 3.4 and mrr >= 0", {"mrr": 0}, {}, True),
    ("mrr / mrr > 0", {"mrr": 0}, {}, None),
    ("mrr > 0", {"mrr": float("nan")}, {}, None),
    ("not mrr > 0", {"mrr": None}, {}, None),
    ("mrr > 0 or a > 0", {"mrr": None, "a": 1}, {}, True),
    ("mrr > 0 or a > 0", {"mrr": None, "a": 0}, {}, None),
    ("mrr > 0 and a > 0", {"mrr": None, "a": 0}, {}, False),
    ("mrr > 0 and a > 0", {"mrr": None, "a": 1}, {}, None),
    ("mrr between 1 and 3", {"mrr": 3}, {}, True),
    ("mrr not between 1 and 3", {"mrr": 4}, {}, True),
    ("abs(mrr - previous day) > 0.5 * previous day", {"mrr": 4}, {"mrr": 10}, True),
    ("-mrr <> 2", {"mrr": -2}, {}, False),
    ("a > 2 * previous month of mrr", {"a": 5, "mrr": 1}, {"mrr": 2}, True),
    ("mrr < previous year", {"mrr": 1}, {"mrr": None}, None),
    ("mrr > 1 and (mrr < 3)", {"mrr": 2}, {}, True),
    ("mrr < 9007199254740993", {"mrr": 9007199254740992}, {}, True),
]  # fmt: skip


@pytest.mark.parametrize(("text", "now", "before", "holds"), JUDGED, ids=[f"{one[0]} {one[1]}" for one in JUDGED])
def test_conditions_are_judged_exactly(
    text: str, now: dict[str, Any], before: dict[str, Any], holds: bool | None
) -> None:
    """Without rounding, and with what is missing left open."""
    assert condition(text).judge(now, before).holds is holds


def test_condition_says_what_it_reads() -> None:
    """Metrics over both ranges, and how long these are."""
    one = condition("a > 2 * previous month of mrr")
    assert isinstance(one, Condition)
    assert (one.metrics, one.earlier, one.period, one.days) == (("a", "mrr"), ("mrr",), "month", 30)


METRICS = """\
from dayfold import Alert, Count, Rollup, Table

class Signups(Rollup):
    total = Count(Table("user"), at="created_at")

class Few(Alert):
    when = "totl < 1"

class few(Alert):
    job_failed = True
    to = ["ops"]
"""


def test_all_mistakes_of_file_and_settings_are_told_at_once(tmp_path: Path) -> None:
    """Rules of the file by their line, rules of the settings by their name."""
    path = tmp_path / "metrics.py"
    path.write_text(METRICS)
    config = {
        "store": {"url": "duckdb:///:memory:"},
        "alerts": {"rules": {"FEW": {"job_failed": True}, "old": {"stale_hours": -1}}},
    }
    with Dayfold(path, config) as app, pytest.raises(DefinitionError) as refused:
        app.catalog.check()
    assert str(refused.value) == (
        "DefinitionError [duplicate-name] alerts.rules.FEW\n  the alert's name 'FEW' is taken by metrics.py:9.\n"
        "DefinitionError [bad-value] alerts.rules.old\n  stale_hours is a number of hours above 0, got -1.\n"
        "DefinitionError [unknown-metric] metrics.py:6 Few\n  when names 'totl', which is no metric of Signups; the nearest is "
        "'total'.\n  Metrics: total\n"
        "DefinitionError [duplicate-name] metrics.py:9 few\n  the alert's name 'few' is taken by metrics.py:6.\n"
        "DefinitionError [unknown-channel] metrics.py:9 few\n  to names the channel 'ops', which the settings do not have.\n"
        "  Channels: none. Add [alerts.channels.ops] to dayfold.toml."
    )


def test_file_with_alerts_alone_defines_no_rollup(tmp_path: Path) -> None:
    """Alerts watch rollups; without any there is nothing to fold."""
    path = tmp_path / "metrics.py"
    path.write_text("from dayfold import Alert\nclass Jobs(Alert):\n    job_failed = True\n")
    assert [one.code for one in load(path).problems] == ["no-rollups"]
