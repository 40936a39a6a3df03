"""Alerts over real rollups: what each kind of rule sees, one episode from its beginning to its end, and messages that arrive."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from dayfold import Alert, Count, Dayfold, Gauge, Max, Profile, Rollup, Size, Sum
from dayfold.errors import Conflict
from dayfold.jobs import alerts as jobs_alerts
from dayfold.jobs.alerts import AlertLoop, Alerts
from dayfold.ledger import alerts as records
from tests.engines.ground import Ground, march
from tests.engines.receivers import Receiver, is_signed

pytestmark = pytest.mark.in_turn

SECRET = "whsec-4711"
DDL = "id bigint, campaign text, spend bigint, made timestamptz"
LEVELS = "mrr bigint, measured timestamptz"


def spend(day: int, amount: int, campaign: str = "a") -> dict[str, Any]:
    return {"id": day * 1000 + amount, "campaign": campaign, "spend": amount, "made": march(day)}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


def ads(ground: Ground, **more: Any) -> type[Rollup]:
    ad = ground.table("ad")
    return type("AdsDaily", (Rollup,), {
        "key": "campaign", "ad_spend": Sum(ad, "spend", at="made"), "ads": Count(ad, at="made"), "latest": Max(ad, "made", at="made"),
        **more,
    })  # fmt: skip


def define(ground: Ground, *classes: type[Any], receiver: Receiver | None = None, **config: Any) -> Alerts:
    """The application with these definitions; its alerts go to the receiver."""
    channels = {"ops": {"url": receiver.url, "secret": SECRET}} if receiver else {}
    ground.config = {**ground.pairing.config, "alerts": {"channels": channels, **config}}
    return ground.define(*classes).alerts()


def rule(**words: Any) -> type[Alert]:
    return type("Watched", (Alert,), {"__doc__": "What is watched.", **words})


def folded(ground: Ground, rows: list[dict[str, Any]], *rules: type[Alert], **more: Any) -> Alerts:
    ground.load("ad", DDL, rows)
    found = define(ground, ads(ground), *rules, **more)
    ground.fold()
    return found


def states(alerts: Alerts) -> list[tuple[str, str]]:
    return [(one.name, one.state) for one in alerts.look()]


def episodes(alerts: Alerts) -> list[dict[str, Any]]:
    return list(alerts.listed()["alerts"])


def subject_of(what: str) -> str:
    return "AdsDaily" if what == "rule" else '{"campaign": "a"}'


def set_spend(ground: Ground, day: int, amount: int) -> None:
    """One day's only fact is another one, and folded."""
    ground.source("update ad set spend = $1 where id >= $2 and id < $3", [amount, day * 1000, day * 1000 + 1000])
    ground.fold()


# -- thresholds ----------------------------------------------------------------------------------------


def test_threshold_opens_once_recovers_once_and_opens_again(store: Ground, receiver: Receiver) -> None:
    """A rule that goes on holding tells nothing more; recovery is told once; a second episode is a new one."""
    alerts = folded(store, [spend(11, 50)], rule(when="ad_spend < 100"), receiver=receiver)
    for _ in range(3):
        assert states(alerts) == [("Watched", "firing")]
        alerts.deliver()
    assert receiver.events == [("Watched", "opened")]
    set_spend(store, 11, 100)
    for _ in range(3):
        assert states(alerts) == [("Watched", "clear")]
        alerts.deliver()
    assert receiver.events == [("Watched", "opened"), ("Watched", "recovered")]
    set_spend(store, 11, 99)
    states(alerts)
    alerts.deliver()
    assert receiver.events[2:] == [("Watched", "opened")]
    assert [(one["rule"], one["subject"], one["closed_at"] is None) for one in episodes(alerts)] == [
        ("Watched", "AdsDaily", True), ("Watched", "AdsDaily", False),
    ]  # fmt: skip
    assert [one["alert"] for one in receiver.bodies] == [receiver.bodies[0]["alert"]] * 2 + [episodes(alerts)[0]["id"]]


def test_message_says_what_since_when_value_bound_and_where_to_look(store: Ground, receiver: Receiver) -> None:
    """Every field of the body that receivers are promised."""
    alerts = folded(store, [spend(11, 1250)], rule(when="ad_spend > 1000"), receiver=receiver)
    alerts.look()
    alerts.deliver()
    [(path, headers, raw)] = receiver.requests
    body = json.loads(raw)
    assert path == "/hooks/alerts?team=a"
    assert (headers["Content-Type"], headers["Dayfold-Event"], headers["Dayfold-Delivery"]) == (
        "application/json", "opened", body["delivery"],
    )  # fmt: skip
    assert is_signed(headers, raw, SECRET)
    assert not is_signed(headers, raw + b" ", SECRET)
    assert not is_signed(headers, raw, "another")
    assert f"t={int(store.clock.now().timestamp())}," in headers["Dayfold-Signature"]
    assert body == {
        "delivery": body["delivery"], "event": "opened", "alert": body["alert"], "rule": "Watched", "kind": "threshold",
        "description": "What is watched.", "subject": "AdsDaily", "opened_at": "2026-03-12T12:00:00Z", "closed_at": None,
        "message": "ad_spend is 1,250 on 2026-03-11. The rule: ad_spend > 1000.",
        "details": {
            "rollup": "AdsDaily", "from": "2026-03-11", "to": "2026-03-11", "metrics": {"ad_spend": 1250}, "value": 1250, "bound": 1000,
        },
        "look": "dayfold query AdsDaily -m ad_spend --from 2026-03-11 --to 2026-03-11",
    }  # fmt: skip


def test_today_is_not_judged(store: Ground) -> None:
    """A day that is still running says little: the last covered day is one that is over."""
    alerts = folded(store, [spend(11, 500), spend(12, 1)], rule(when="ad_spend < 100"))
    assert states(alerts) == [("Watched", "clear")]
    store.clock.instant = march(13, 1)
    store.fold()
    assert states(alerts) == [("Watched", "firing")]
    assert episodes(alerts)[0]["details"]["to"] == "2026-03-12"


def test_previous_week_is_the_seven_days_before_the_last_seven(store: Ground) -> None:
    """Both weeks end with a covered day: 5 to 11 March beside 26 February to 4 March."""
    before = [
        {**spend(1, 0), "spend": 10, "made": dt.datetime(2026, 2, 25 + n, 12, tzinfo=dt.UTC)} for n in range(1, 4)
    ]
    rows = [
        spend(1, 9_999, "old"),
        *before,
        *(spend(day, 10) for day in range(1, 5)),
        *(spend(day, 15) for day in range(5, 12)),
    ]
    alerts = folded(store, rows, rule(when="ad_spend > 1.4 * previous week", where={"campaign": "a"}))
    assert states(alerts) == [("Watched", "firing")]
    [one] = episodes(alerts)
    assert one["message"] == (
        "ad_spend is 105 over 2026-03-05..2026-03-11; over 2026-02-26..2026-03-04 ad_spend was 70. "
        "The rule: ad_spend > 1.4 * previous week; the bound is 98 now."
    )
    assert one["details"]["compared"] == {"ad_spend": 70}
    assert (one["details"]["compared_from"], one["details"]["compared_to"]) == ("2026-02-26", "2026-03-04")
    assert one["details"]["bound"] == 98


def test_gauge_beside_the_previous_week_is_its_level_then(store: Ground) -> None:
    """Of a level the last covered day of each week counts."""
    store.load("level", LEVELS, [{"mrr": 1000 - 20 * day, "measured": march(day)} for day in range(1, 12)])
    level = store.table("level")
    mrr = type("Revenue", (Rollup,), {"mrr": Gauge(level, "mrr", at="measured"), "since": "2026-02-20"})
    alerts = define(store, mrr, rule(when="mrr < 0.9 * previous week"))
    store.fold()
    assert states(alerts) == [("Watched", "firing")]
    details = episodes(alerts)[0]["details"]
    assert (details["value"], details["compared"]) == (780, {"mrr": 920})


def test_missing_numbers_neither_fire_nor_recover(store: Ground) -> None:
    """An uncovered day before the history is no zero, and a level without a fact is none either."""
    store.load("level", LEVELS, [{"mrr": 900, "measured": march(11)}])
    level = store.table("level")
    mrr = type("Revenue", (Rollup,), {"mrr": Gauge(level, "mrr", at="measured"), "facts": Count(level, at="measured")})
    alerts = define(store, mrr, rule(when="mrr < 1000"), type("Falling", (Alert,), {"when": "facts > previous week"}))
    assert states(alerts) == [("Watched", "unknown"), ("Falling", "unknown")]
    store.fold()
    assert states(alerts) == [("Watched", "firing"), ("Falling", "unknown")]
    store.clock.instant = march(14)
    store.fold()
    assert states(alerts) == [("Watched", "unknown"), ("Falling", "unknown")]
    assert [one["closed_at"] for one in episodes(alerts)] == [None]


def test_days_whose_source_failed_are_not_judged(store: Ground) -> None:
    """A number of an older fold is not the last word, and an earlier day says nothing of this one: the episode stays as it is."""
    alerts = folded(store, [spend(2, 500), spend(11, 50)], rule(when="ad_spend < 100"))
    assert states(alerts) == [("Watched", "firing")]
    store.source("alter table ad rename to gone")
    for now in (march(12), march(13)):
        store.clock.instant = now
        [run] = store.opened.fold()
        assert run.error
        assert states(alerts) == [("Watched", "unknown")]
    assert [one["closed_at"] for one in episodes(alerts)] == [None]
    store.source("alter table gone rename to ad")
    store.fold()
    assert states(alerts) == [("Watched", "firing")]
    assert [one["details"]["to"] for one in episodes(alerts)] == ["2026-03-11"]


def test_each_value_of_by_has_its_own_episode(store: Ground, receiver: Receiver) -> None:
    """The key stands in subject and message; one that recovers leaves the other open."""
    rows = [spend(11, 500, "a"), spend(11, 700, "b"), spend(11, 1, "c")]
    alerts = folded(store, rows, rule(when="ad_spend > 100", by="campaign"), receiver=receiver)
    alerts.look()
    assert [(one["subject"], one["message"]) for one in reversed(episodes(alerts))] == [
        ('{"campaign": "a"}', 'ad_spend is 500 on 2026-03-11 of {"campaign": "a"}. The rule: ad_spend > 100.'),
        ('{"campaign": "b"}', 'ad_spend is 700 on 2026-03-11 of {"campaign": "b"}. The rule: ad_spend > 100.'),
    ]
    store.source("update ad set spend = 1 where campaign = 'b'")
    store.fold()
    alerts.look()
    assert [one["subject"] for one in episodes(alerts) if one["closed_at"]] == ['{"campaign": "b"}']
    alerts.deliver()
    alerts.deliver()
    assert sorted(receiver.events) == [("Watched", "opened"), ("Watched", "opened"), ("Watched", "recovered")]


def test_key_without_rows_is_judged_by_its_zeros(store: Ground) -> None:
    """A campaign that ended has spent nothing on a covered day, which is known, so its episode ends."""
    alerts = folded(store, [spend(11, 500, "a"), spend(12, 5, "b")], rule(when="ad_spend > 100", by=["campaign"]))
    alerts.look()
    store.clock.instant = march(13)
    store.fold()
    alerts.look()
    assert [(one["subject"], one["closed_at"]) for one in episodes(alerts)] == [
        ('{"campaign": "a"}', "2026-03-13T12:00:00Z")
    ]


def test_number_of_watched_keys_is_bounded(store: Ground) -> None:
    """More than a hundred values would be a flood of messages: the rule says so instead."""
    rows = [spend(11, 500, f"c{n}") for n in range(101)]
    alerts = folded(store, rows, rule(when="ad_spend > 100", by="campaign"))
    [state] = alerts.look()
    assert (state.state, state.error) == (
        "failed", "AdsDaily has more than 100 values of campaign; an alert watches at most so many.",
    )  # fmt: skip
    assert episodes(alerts) == []


def test_rule_that_cannot_be_judged_leaves_the_others_working(store: Ground, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is shown and logged once, not every minute."""
    broken = type("Broken", (Alert,), {"when": "latest > 3"})
    alerts = folded(store, [spend(11, 50)], broken, rule(when="ad_spend < 100"))
    with caplog.at_level(logging.ERROR, "dayfold.alerts"):
        alerts.look()
        found = {one.name: (one.state, one.error) for one in alerts.look()}
    assert found["Watched"] == ("firing", None)
    assert found["Broken"] == ("failed", "AdsDaily: a condition compares numbers, got datetime.")
    assert [record.getMessage() for record in caplog.records] == [
        "The alert Broken cannot be judged: AdsDaily: a condition compares numbers, got datetime."
    ]


def test_episode_of_a_rule_that_is_gone_ends_without_a_message(store: Ground, receiver: Receiver) -> None:
    """Nothing would ever close it; and nothing has recovered."""
    alerts = folded(store, [spend(11, 50)], rule(when="ad_spend < 100"), receiver=receiver)
    alerts.look()
    alerts = define(store, ads(store), receiver=receiver)
    store.clock.instant = march(12, 12, 15)
    alerts.look()
    alerts.deliver()
    assert [one["closed_at"] for one in episodes(alerts)] == ["2026-03-12T12:15:00Z"]
    assert receiver.events == [("Watched", "opened")]


@pytest.mark.parametrize("what", ["rule", "subject"])
def test_replica_that_lacks_a_rule_leaves_its_episode_to_the_others(
    store: Ground, receiver: Receiver, what: str
) -> None:
    """Definitions reach one replica before another: what is new to one is not gone, until none has had it for a quarter of an hour."""
    store.load("ad", DDL, [spend(11, 50)])
    watched = rule(when="ad_spend < 100", by="campaign") if what == "subject" else rule(when="ad_spend < 100")
    new = define(store, ads(store), watched, receiver=receiver)
    store.fold()
    new.look()
    old = Alerts(store.opened.sibling())
    old.reads.catalog = replace(old.reads.catalog, alerts={})
    if what == "subject":
        # The same rule by another key: it knows nothing of this subject.
        other = replace(new.rules["Watched"].watch, by=())  # type: ignore[type-var]
        old.reads.catalog = replace(old.reads.catalog, alerts={"Watched": replace(new.rules["Watched"], watch=other)})
    for minute in (4, 8, 12, 16, 20):
        store.clock.instant = march(12, 12, minute)
        old.look()
        new.look()
    assert [one["closed_at"] for one in episodes(new) if one["subject"] == subject_of(what)] == [None]
    new.deliver()
    assert receiver.events.count(("Watched", "opened")) == (1 if what == "rule" else 2)
    store.clock.instant = march(12, 12, 30)
    old.look()
    assert [one["closed_at"] for one in episodes(old) if one["subject"] == subject_of(what)] == [None]
    store.clock.instant = march(12, 12, 31)
    old.look()
    assert [one["closed_at"] for one in episodes(old) if one["subject"] == subject_of(what)] == ["2026-03-12T12:31:00Z"]


# -- drift, staleness, jobs ----------------------------------------------------------------------------


def test_drift_opens_after_a_verification_and_closes_after_a_clean_one(store: Ground) -> None:
    """A verification of other days does not hide what an earlier one found."""
    rows = [spend(day, 10) for day in range(1, 12)]
    alerts = folded(
        store, rows, rule(drift_above=0), type("Share", (Alert,), {"drift_above": "30%", "rollup": "AdsDaily"})
    )
    assert states(alerts) == [("Watched", "unknown"), ("Share", "unknown")]
    store.opened.verify()
    assert states(alerts) == [("Watched", "clear"), ("Share", "clear")]
    store.stored("update ads_daily set ad_spend = 99 where day = date '2026-03-04'")
    store.opened.verify(from_="2026-03-01", to="2026-03-05")
    assert states(alerts) == [("Watched", "firing"), ("Share", "clear")]
    assert episodes(alerts)[0]["message"].startswith("1 of 5 cells of AdsDaily that run ")
    store.opened.verify(from_="2026-03-01", to="2026-03-03")
    assert states(alerts) == [("Watched", "firing"), ("Share", "clear")]
    store.stored("update ads_daily set ad_spend = 99 where day = date '2026-03-05'")
    store.opened.verify(from_="2026-03-04", to="2026-03-05")
    assert states(alerts) == [("Watched", "firing"), ("Share", "firing")]
    store.opened.verify(from_="2026-03-04", to="2026-03-05", heal=True)
    assert states(alerts) == [("Watched", "clear"), ("Share", "clear")]
    assert [one["closed_at"] is None for one in episodes(alerts)] == [False, False]


def test_rollup_that_is_not_folded_is_stale(store: Ground) -> None:
    """Hours since the last fold that was done; a fold ends the episode."""
    alerts = folded(store, [spend(11, 50)], rule(stale_hours=30))
    assert states(alerts) == [("Watched", "clear")]
    store.clock.instant += dt.timedelta(hours=29)
    assert states(alerts) == [("Watched", "clear")]
    store.clock.instant += dt.timedelta(hours=2)
    assert states(alerts) == [("Watched", "firing")]
    [one] = episodes(alerts)
    assert one["message"] == "AdsDaily was last folded at 2026-03-12 12:00 UTC, 31.0 hours ago."
    assert (one["details"]["value"], one["details"]["bound"], one["details"]["day"]) == (31.0, 30.0, None)
    store.fold()
    assert states(alerts) == [("Watched", "clear")]


def test_profile_is_stale_by_its_last_fold_and_a_missed_size_is_no_day_that_waits(store: Ground) -> None:
    """A whole life is on no day that could be settled; a day without a size never will be."""
    store.load("ad", DDL, [spend(11, 50)])
    people = type("Campaigns", (Profile,), {"key": "campaign", "ads": Count(store.table("ad"))})
    alerts = define(store, people, type("Sizes", (Rollup,), {"campaigns": Size(people)}), rule(stale_hours=30))
    store.fold()
    assert states(alerts) == [("Watched", "clear")]
    store.clock.instant += dt.timedelta(days=3)
    assert states(alerts) == [("Watched", "firing")]
    store.fold()
    assert states(alerts) == [("Watched", "clear")]


def test_day_that_stays_unsettled_is_stale_though_folds_go_on(store: Ground) -> None:
    """A fold that could not read every source does not count; and of a day that stays open, the moment when it was over."""
    store.load("other", DDL, [spend(11, 1)])
    store.load("ad", DDL, [spend(11, 50)])
    both = type("Both", (Rollup,), {
        "ads": Count(store.table("ad"), at="made"), "others": Count(store.table("other"), at="made"),
    })  # fmt: skip
    alerts = define(store, both, rule(stale_hours=20))
    store.fold()
    store.source("alter table other rename to gone")
    store.clock.instant = march(13, 19)
    store.opened.fold()
    assert states(alerts) == [("Watched", "firing")]
    assert episodes(alerts)[0]["message"] == "Both was last folded at 2026-03-12 12:00 UTC, 31.0 hours ago."
    store.source("alter table gone rename to other")
    store.fold()
    assert states(alerts) == [("Watched", "clear")]
    # A day that its own fold leaves open, as one whose source is not ready.
    store.stored("update dayfold__coverage set state = 'open' where day = date '2026-03-12' and source like '%other'")
    store.clock.instant = march(13, 21)
    assert states(alerts) == [("Watched", "firing")]
    assert episodes(alerts)[0]["message"] == (
        "Both has not settled 2026-03-12, which is over since 2026-03-13 00:00 UTC, 21.0 hours ago."
    )
    assert episodes(alerts)[0]["details"]["day"] == "2026-03-12"


def test_never_folded_is_unknown(store: Ground) -> None:
    """Nothing says since when it should have been."""
    store.load("ad", DDL, [spend(11, 50)])
    alerts = define(store, ads(store), rule(stale_hours=1), type("Low", (Alert,), {"when": "ads < 1"}))
    assert states(alerts) == [("Watched", "unknown"), ("Low", "unknown")]


def note_run(
    ground: Ground, number: int, job: str, status: str, attempt: int = 1, error: str | None = None, hour: int = 11
) -> None:
    """A row as the runner of jobs writes it."""
    ground.stored(
        "insert into dayfold__job_runs (id, job, cause, attempt, request, asked_by, status, asked_at, finished_at, stop_asked, error) "
        "values ($1, $2, 'schedule', $3, '{}', 'schedule', $4, timestamptz '2026-03-12 10:00:00+00', "
        f"timestamptz '2026-03-12 {hour}:00:00+00', false, $5)",
        [number, job, attempt, status, error],
    )


def test_job_that_failed_after_its_last_attempt(store: Ground, receiver: Receiver) -> None:
    """A run that waits or runs changes nothing; the next one that is done is the recovery."""
    only = type("Verify", (Alert,), {"job_failed": "verify"})
    alerts = folded(store, [spend(11, 50)], rule(job_failed=True), only, receiver=receiver)
    assert states(alerts) == [("Watched", "unknown"), ("Verify", "unknown")]
    note_run(store, 1, "fold", "done")
    assert states(alerts) == [("Watched", "clear"), ("Verify", "unknown")]
    note_run(store, 2, "fold", "failed", 3, "AdsDaily: the source ad could not be read.")
    assert states(alerts) == [("Watched", "firing"), ("Verify", "unknown")]
    note_run(store, 3, "fold", "running")
    assert states(alerts) == [("Watched", "firing"), ("Verify", "unknown")]
    [one] = episodes(alerts)
    assert (one["subject"], one["message"]) == (
        "fold", "The job fold failed after 3 attempts: AdsDaily: the source ad could not be read.",
    )  # fmt: skip
    note_run(store, 4, "fold", "done")
    assert states(alerts) == [("Watched", "clear"), ("Verify", "unknown")]
    alerts.deliver()
    alerts.deliver()
    assert [(one["event"], one["message"], one["look"]) for one in receiver.bodies] == [
        (
            "opened",
            "The job fold failed after 3 attempts: AdsDaily: the source ad could not be read.",
            "GET /v1/runs/2",
        ),
        ("recovered", "The job fold is done.", "GET /v1/runs/4"),
    ]


def test_job_that_ended_last_is_not_the_one_that_was_asked_for_last(store: Ground) -> None:
    """A retry keeps the number of its run, so a run with a smaller number may end later."""
    alerts = folded(store, [spend(11, 50)], rule(job_failed=True))
    note_run(store, 1, "fold", "failed", 3, "AdsDaily: the source ad could not be read.", hour=12)
    note_run(store, 2, "fold", "done", hour=11)
    assert states(alerts) == [("Watched", "firing")]


# -- messages ------------------------------------------------------------------------------------------


def test_message_that_is_refused_is_tried_again_later_with_the_same_identity(store: Ground) -> None:
    """Fails twice and is then taken: three attempts, one identity, each later than the one before; one message in the end."""
    with Receiver([500, 302]) as receiver:
        alerts = folded(store, [spend(11, 50)], rule(when="ad_spend < 100"), receiver=receiver)
        alerts.look()
        assert alerts.deliver() == 0
        [told] = episodes(alerts)[0]["deliveries"]
        assert (told["state"], told["attempts"], told["next_at"], told["error"]) == (
            "waiting", 1, "2026-03-12T12:00:30Z", "127.0.0.1 answered 500; expected 200 to 299.",
        )  # fmt: skip
        assert alerts.deliver() == 0
        assert len(receiver.requests) == 1
        store.clock.instant += dt.timedelta(seconds=30)
        alerts.deliver()
        [told] = episodes(alerts)[0]["deliveries"]
        assert (told["next_at"], told["error"]) == (
            "2026-03-12T12:01:30Z", "127.0.0.1 answered 302. Redirects are not followed: write the last address.",
        )  # fmt: skip
        store.clock.instant += dt.timedelta(seconds=60)
        assert alerts.deliver() == 1
        store.clock.instant += dt.timedelta(days=1)
        assert alerts.deliver() == 0
        assert len({headers["Dayfold-Delivery"] for _, headers, _ in receiver.requests}) == 1
        assert len({headers["Dayfold-Signature"] for _, headers, _ in receiver.requests}) == 3
        assert all(is_signed(headers, body, SECRET) for _, headers, body in receiver.requests)
        assert [path for path, _, _ in receiver.requests] == ["/hooks/alerts?team=a"] * 3
        [told] = episodes(alerts)[0]["deliveries"]
        assert (told["state"], told["attempts"], told["error"]) == ("delivered", 3, None)


def test_message_is_given_up_after_its_last_attempt(store: Ground) -> None:
    """The error stays visible, and nothing more is sent."""
    with Receiver([500] * 9) as receiver:
        alerts = folded(store, [spend(11, 50)], rule(when="ad_spend < 100"), receiver=receiver, attempts=2)
        alerts.look()
        for _ in range(4):
            alerts.deliver()
            store.clock.instant += dt.timedelta(hours=2)
        assert len(receiver.requests) == 2
        [told] = episodes(alerts)[0]["deliveries"]
        assert (told["state"], told["attempts"], told["error"]) == (
            "given up", 2, "127.0.0.1 answered 500; expected 200 to 299.",
        )  # fmt: skip


def test_recovery_is_not_told_before_the_opening(store: Ground) -> None:
    """While the first message waits for its next attempt, the second one waits behind it."""
    with Receiver([500]) as receiver:
        alerts = folded(store, [spend(11, 50)], rule(when="ad_spend < 100"), receiver=receiver)
        alerts.look()
        alerts.deliver()
        set_spend(store, 11, 500)
        alerts.look()
        assert alerts.deliver() == 0
        store.clock.instant += dt.timedelta(seconds=31)
        assert [alerts.deliver(), alerts.deliver()] == [1, 1]
        assert receiver.events == [("Watched", "opened"), ("Watched", "opened"), ("Watched", "recovered")]


def test_message_survives_the_process_that_opened_the_episode(store: Ground, receiver: Receiver) -> None:
    """The episode and what is told of it are one transaction; another process sends it."""
    watched = rule(when="ad_spend < 100")
    alerts = folded(store, [spend(11, 50)], watched, receiver=receiver)
    alerts.look()
    again = define(store, ads(store), watched, receiver=receiver)
    again.look()
    assert again.deliver() == 1
    assert receiver.events == [("Watched", "opened")]


def test_process_that_ends_while_sending_leaves_the_message_to_another(
    store: Ground, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether it arrived, so it is sent again, with the same identity, when the attempt's time is over."""
    watched = rule(when="ad_spend < 100")
    alerts = folded(store, [spend(11, 50)], watched, receiver=receiver)
    alerts.look()
    sent = jobs_alerts.send

    def send_and_end(*words: Any) -> None:
        sent(*words)
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs_alerts, "send", send_and_end)
    with pytest.raises(KeyboardInterrupt):
        alerts.deliver()
    monkeypatch.setattr(jobs_alerts, "send", sent)
    again = define(store, ads(store), watched, receiver=receiver)
    assert again.deliver() == 0
    store.clock.instant += dt.timedelta(minutes=1)
    assert again.deliver() == 1
    assert len({headers["Dayfold-Delivery"] for _, headers, _ in receiver.requests}) == 1
    assert len(receiver.requests) == 2


def test_message_to_a_channel_that_is_gone_is_given_up(store: Ground, receiver: Receiver) -> None:
    """It would wait for ever."""
    alerts = folded(store, [spend(11, 50)], rule(when="ad_spend < 100"), receiver=receiver)
    alerts.look()
    alerts = define(store, ads(store), rule(when="ad_spend < 100"))
    alerts.deliver()
    [told] = episodes(alerts)[0]["deliveries"]
    assert (told["state"], told["error"]) == ("given up", "There is no channel 'ops' any more.")
    assert receiver.requests == []


def test_channel_that_fails_does_not_keep_others_waiting(store: Ground, receiver: Receiver) -> None:
    """In one round a failing channel is tried once, and the others get all that is theirs."""
    with Receiver([500] * 9) as failing:
        channels = {"bad": {"url": failing.url}, "good": {"url": receiver.url}}
        rows = [spend(11, 500, "a"), spend(11, 700, "b")]
        alerts = folded(store, rows, rule(when="ad_spend > 100", by="campaign"), channels=channels)
        alerts.look()
        assert alerts.deliver() == 2
        assert (len(failing.requests), len(receiver.requests)) == (1, 2)
        assert "Dayfold-Signature" not in receiver.requests[0][1]


def test_two_evaluators_at_once_open_one_episode_and_send_one_message(store: Ground, receiver: Receiver) -> None:
    """Whoever comes second finds the number of the episode taken, or the episode open."""
    watched = [rule(when="ad_spend < 100"), *(type(f"More{n}", (Alert,), {"when": "ads < 10"}) for n in range(5))]
    first = folded(store, [spend(11, 50)], *watched, receiver=receiver)
    second = (
        Alerts(store.opened)
        if store.engine == "duckdb"
        # Another process, as far as the database can tell.
        else Dayfold([ads(store), *watched], store.config, clock=store.clock).alerts()
    )
    with ThreadPoolExecutor(2) as threads:
        for _ in range(3):
            list(threads.map(lambda one: one.look(), (first, second)))
            list(threads.map(lambda one: one.deliver(), (first, second)))
    assert sorted(receiver.events) == sorted((one.__name__, "opened") for one in watched)
    set_spend(store, 11, 500)
    with ThreadPoolExecutor(2) as threads:
        for _ in range(3):
            list(threads.map(lambda one: one.look(), (first, second)))
            list(threads.map(lambda one: one.deliver(), (first, second)))
    assert [event for event in receiver.events if event[1] == "recovered"] == [("Watched", "recovered")]
    if second.reads is not store.opened:
        second.reads.close()  # type: ignore[attr-defined]


def late_twice(ground: Ground, write: Callable[[Any], object]) -> None:
    """A write of a transaction whose snapshot is older than the same write of another one."""
    ledger = ground.opened.ledger
    with ledger.store.transaction() as late:
        late.rows(ledger.sql("select count(*) from dayfold__alerts"))
        late.rows(ledger.sql("select count(*) from dayfold__deliveries"))
        with ledger.store.transaction() as quick:
            assert write(quick)
        write(late)


def test_what_a_transaction_does_not_see_it_cannot_do_again(store: Ground, receiver: Receiver) -> None:
    """Opening, closing and sending: who was later is refused, and looks again."""
    alerts = folded(store, [spend(11, 50)], rule(when="ad_spend < 100"), receiver=receiver)
    ledger = store.opened.ledger
    with pytest.raises(Conflict):
        late_twice(store, lambda session: records.open_episode(ledger, session, "Watched", "AdsDaily", "low", {}))
    with ledger.store.transaction() as session:
        [one] = records.open_episodes(ledger, session)
        assert records.open_episode(ledger, session, "Watched", "AdsDaily", "low", {}) is None
    with pytest.raises(Conflict):
        late_twice(store, lambda session: records.close_episode(ledger, session, one.id))
    with ledger.store.transaction() as session:
        assert not records.close_episode(ledger, session, one.id)
        assert records.open_episodes(ledger, session) == []
    alerts.look()
    with ledger.store.transaction(read_only=True) as session:
        [due] = records.due(ledger, session, 9)
    with pytest.raises(Conflict):
        late_twice(store, lambda session: records.claim(ledger, session, due, march(13)))
    with ledger.store.transaction() as session:
        assert not records.claim(ledger, session, due, march(13))
        assert records.due(ledger, session, 9) == []


def test_loop_looks_when_poked_and_ends_with_the_server(store: Ground, receiver: Receiver) -> None:
    """A poke does not wait for the minute; after stop nothing runs any more."""
    alerts = folded(store, [spend(11, 50)], rule(when="ad_spend < 100"), receiver=receiver)
    loop = AlertLoop(alerts)
    loop.start()
    receiver.wait(1)
    with store.opened.ledger.store.transaction() as session:
        session.execute(
            store.opened.ledger.sql("update dayfold__alerts set closed_at = :now::timestamptz", now=store.clock.now())
        )
    loop.poke()
    receiver.wait(2)
    loop.stop()
    loop.stop()
    assert not loop._thread.is_alive()
    assert receiver.events == [("Watched", "opened")] * 2
