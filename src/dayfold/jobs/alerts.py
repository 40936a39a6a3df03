"""Alerts: judges all rules, keeps their episodes, and tells the channels. Jobs floor.

`Alerts.look` judges and writes down what begins and ends; `Alerts.deliver` sends what was written down. Between the two a process may end:
what is to be told stands in the ledger.

Invariant: an episode is told of once when it opens and once when it closes, in the transaction that opens or closes it.

Weakness: a message is sent at least once: where a process ends between sending and writing that down, it is sent again with the same
identity. A replica that was paused between judging and writing may open an episode that another has closed; the next look closes it.
The episode of a rule that is gone ends only when no replica has had the rule for a quarter of an hour.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

from dayfold.define.alert import AlertDef
from dayfold.engines.base import Session
from dayfold.errors import Conflict, DayfoldError, DeliveryFailed, UnknownName, UsageError
from dayfold.jobs.channels import Message, send
from dayfold.jobs.findings import Finding, Reads, State
from dayfold.jobs.jobs import GONE_AFTER, SEEN_EVERY
from dayfold.jobs.report import report
from dayfold.jobs.rules import judge
from dayfold.ledger import alerts as ledger_alerts
from dayfold.ledger.alerts import OPENED, RECOVERED, Due, Episode
from dayfold.names import listing, suggestion

#: The pause after a first failed attempt; each later one is twice as long, up to the longest.
FIRST_PAUSE = dt.timedelta(seconds=30)
LONGEST_PAUSE = dt.timedelta(hours=1)
#: What an attempt may take beyond its channel's own limit before another replica tries.
_GRACE = dt.timedelta(seconds=30)
#: Messages that one round sends.
_ROUND = 100
#: A look happens at least so often.
EVERY_S = 60.0
_STOP_S = 30.0
_log = logging.getLogger("dayfold.alerts")


@dataclass(frozen=True, slots=True)
class RuleState:
    """How a rule stood when it was last judged.

    Attributes:
        state: ``firing`` (of some subject), ``clear``, ``unknown`` (numbers are missing), ``failed`` (it cannot be judged) or
            ``not looked at`` yet.
        firing: The subjects that it holds of.
    """

    name: str
    kind: str
    place: str
    description: str
    to: tuple[str, ...]
    state: str
    firing: tuple[str, ...] = ()
    error: str | None = None
    looked_at: str | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """What happened to a test message."""

    channel: str
    kind: str
    ok: bool
    seconds: float
    error: str | None = None


class Alerts:
    """The alerts of one application."""

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self.ledger = reads.ledger
        self.settings = reads.settings.alerts
        self._states: dict[str, RuleState] = {}

    @property
    def rules(self) -> dict[str, AlertDef]:
        """The rules by name, as they are defined now."""
        return self.reads.catalog.alerts

    # -- judging -----------------------------------------------------------------------------------

    def look(self) -> list[RuleState]:
        """Every rule is judged, what begins is opened and what ended is closed; how they stand."""
        self.ledger.ready()
        with self.ledger.store.transaction(read_only=True) as session:
            known = ledger_alerts.open_episodes(self.ledger, session)
        watched: set[int] = set()
        for name, rule in self.rules.items():
            mine = {one.subject: one for one in known if one.rule == name}
            findings = self._judged(rule, list(mine))
            for one in findings:
                self._write(rule, one, mine.get(one.subject))
            gone = {one.subject for one in findings if one.state is State.GONE}
            watched |= {one.id for subject, one in mine.items() if subject not in gone}
        self._retire_unwatched(known, watched)
        return self.states()

    def evaluate(self) -> list[RuleState]:
        """Every rule is judged and nothing is written; how they stand."""
        if not self.ledger.exists():
            return self.states()
        with self.ledger.store.transaction(read_only=True) as session:
            known = ledger_alerts.open_episodes(self.ledger, session)
        for name, rule in self.rules.items():
            self._judged(rule, [one.subject for one in known if one.rule == name])
        return self.states()

    def states(self) -> list[RuleState]:
        """How every rule stood at the last look of this process."""
        return [self._states.get(name) or self._state(rule, "not looked at") for name, rule in self.rules.items()]

    def _judged(self, rule: AlertDef, open_subjects: Sequence[str]) -> list[Finding]:
        """A rule's findings; one that cannot be judged leaves the others to be."""
        now = _iso(self.reads.clock.now())
        try:
            findings = judge(self.reads, rule, open_subjects)
        except DayfoldError as error:
            self._fail(rule, error.message, now)
            return []
        except Exception as error:
            # Its text may hold values of rows.
            self._fail(rule, f"It met an error that nobody foresaw: {type(error).__name__}.", now)
            report(error, "alert-rule-failed")
            return []
        firing = tuple(one.subject for one in findings if one.state is State.FIRING)
        unknown = any(one.state is State.UNKNOWN for one in findings) or not findings
        state = "firing" if firing else "unknown" if unknown else "clear"
        self._states[rule.name] = self._state(rule, state, firing=firing, looked_at=now)
        return findings

    def _fail(self, rule: AlertDef, error: str, now: str) -> None:
        before = self._states.get(rule.name)
        if before is None or before.error != error:
            _log.error(
                "The alert %s cannot be judged: %s",
                rule.name,
                error,
                extra={"action": "alert-rule-failed", "rule": rule.name},
            )
        self._states[rule.name] = self._state(rule, "failed", error=error, looked_at=now)

    def _state(self, rule: AlertDef, state: str, **more: Any) -> RuleState:
        return RuleState(rule.name, rule.watch.kind, rule.place, rule.description, self._channels(rule), state, **more)

    def _channels(self, rule: AlertDef) -> tuple[str, ...]:
        return rule.to if rule.to is not None else tuple(self.settings.channels)

    # -- episodes ----------------------------------------------------------------------------------

    def _write(self, rule: AlertDef, found: Finding, episode: Episode | None) -> None:
        """Open or close the episode of one subject, with what is told of it. Another replica's doing is as good."""
        if found.state is State.FIRING and episode is None:
            done = self._tried(lambda session: self._open(session, rule, found))
            event = OPENED
        elif found.state is State.CLEAR and episode is not None:
            done = self._tried(lambda session: self._close(session, rule, found, episode))
            event = RECOVERED
        else:
            return
        if done:
            _log.warning(
                "The alert %s %s: %s", rule.name, event, found.message,
                extra={"action": f"alert-{event}", "rule": rule.name},
            )  # fmt: skip

    def _tried(self, write: Callable[[Session], bool]) -> bool:
        try:
            with self.ledger.store.transaction() as session:
                return write(session)
        except Conflict:
            return False

    def _noted(self, write: Callable[[Session], None]) -> None:
        """What became of a message is written, also where another transaction looks at it at the same moment."""

        def once() -> None:
            with self.ledger.store.transaction() as session:
                write(session)

        self.ledger.retried(once)

    def _open(self, session: Session, rule: AlertDef, found: Finding) -> bool:
        number = ledger_alerts.open_episode(
            self.ledger, session, rule.name, found.subject, found.message, found.details
        )
        if number is None:
            return False
        self._queue(session, rule, OPENED, number, found, _iso(self.ledger.clock.now()), None)
        return True

    def _close(self, session: Session, rule: AlertDef, found: Finding, episode: Episode) -> bool:
        if not ledger_alerts.close_episode(self.ledger, session, episode.id):
            return False
        self._queue(session, rule, RECOVERED, episode.id, found, episode.opened_at, _iso(self.ledger.clock.now()))
        return True

    def _queue(
        self,
        session: Session,
        rule: AlertDef,
        event: str,
        number: int,
        found: Finding,
        opened_at: str,
        closed_at: str | None,
    ) -> None:
        for channel in self._channels(rule):
            delivery = ledger_alerts.next_id(self.ledger, session)
            body = {
                "delivery": str(delivery), "event": event, "alert": number, "rule": rule.name, "kind": rule.watch.kind,
                "description": rule.description, "subject": found.subject, "message": found.message, "opened_at": opened_at,
                "closed_at": closed_at, "details": found.details, "look": found.look,
            }  # fmt: skip
            ledger_alerts.queue(self.ledger, session, delivery, number, channel, event, ledger_alerts.as_json(body))

    def _retire_unwatched(self, known: Sequence[Episode], watched: Set[int]) -> None:
        """Episodes whose rule and subject this process has are noted as watched; those that none has had for long end."""
        if not known:
            return
        now = self.ledger.clock.now()
        with self.ledger.store.transaction(read_only=True) as session:
            quiet = ledger_alerts.unseen(self.ledger, session, now - SEEN_EVERY) & watched
            gone = ledger_alerts.unseen(self.ledger, session, now - GONE_AFTER) - watched
        if quiet:
            self._tried(lambda session: ledger_alerts.touch(self.ledger, session, sorted(quiet)))
        for episode in known:
            if episode.id in gone:
                self._retire(episode)

    def _retire(self, episode: Episode) -> None:
        """End the episode of a rule or subject that is there no more; nobody is told."""
        if self._tried(lambda session: ledger_alerts.close_episode(self.ledger, session, episode.id)):
            _log.info(
                "The episode %s of %s ended: it is not watched any more", episode.id, episode.rule,
                extra={"action": "alert-retired", "rule": episode.rule},
            )  # fmt: skip

    # -- sending -----------------------------------------------------------------------------------

    def deliver(self) -> int:
        """What is due is sent; how many messages arrived. A channel that fails is left alone for the rest of the round."""
        with self.ledger.store.transaction(read_only=True) as session:
            waiting = ledger_alerts.due(self.ledger, session, _ROUND)
        arrived = 0
        failing: set[str] = set()
        for one in waiting:
            if one.channel in failing:
                continue
            error = self._attempt(one)
            if error is None:
                arrived += 1
            else:
                failing.add(one.channel)
        return arrived

    def _attempt(self, one: Due) -> str | None:
        """Try one message once: why it did not arrive, or None where it did or another replica has it."""
        attempt = one.attempts + 1
        channel = self.settings.channels.get(one.channel)
        if channel is None:
            return self._failed(one, one.attempts, f"There is no channel '{one.channel}' any more.", None)
        if attempt > self.settings.attempts:
            return self._failed(one, one.attempts, "The process ended during its last attempt.", None)
        now = self.ledger.clock.now()
        unless_done = now + max(pause(attempt), dt.timedelta(seconds=channel.timeout_s) + _GRACE)
        if not self._tried(lambda session: ledger_alerts.claim(self.ledger, session, one, unless_done)):
            return None
        try:
            send(channel, Message(str(one.id), one.event, one.body, int(now.timestamp())))
        except DeliveryFailed as error:
            again = self.ledger.clock.now() + pause(attempt) if attempt < self.settings.attempts else None
            return self._failed(one, attempt, str(error).replace("\n  ", " "), again)
        self._noted(lambda session: ledger_alerts.delivered(self.ledger, session, one.id))
        return None

    def _failed(self, one: Due, attempts: int, error: str, again: dt.datetime | None) -> str:
        self._noted(lambda session: ledger_alerts.failed(self.ledger, session, one.id, attempts, error, again))
        _log.warning(
            "Message %s to %s did not arrive%s: %s", one.id, one.channel, "" if again else " and is given up", error,
            extra={"action": "alert-not-delivered", "channel": one.channel},
        )  # fmt: skip
        return error

    def next_due(self) -> dt.datetime | None:
        """When the next message is to be sent; None where none waits."""
        with self.ledger.store.transaction(read_only=True) as session:
            return ledger_alerts.next_due(self.ledger, session)

    def test(self, channel: str | None = None) -> list[Tried]:
        """A test message was sent to one channel, or to each; what happened. It is not tried again.

        Raises:
            UsageError: where there is no channel at all; UnknownName: no channel of that name.
        """
        channels = self.settings.channels
        if not channels:
            raise UsageError("There is no channel to send to.", hint="Add [alerts.channels.NAME] to dayfold.toml.")
        if channel is not None and channel not in channels:
            raise UnknownName(
                f"There is no channel '{channel}'{suggestion(channel, channels)}.",
                hint=f"Channels: {listing(channels)}",
            )
        return [self._test(name) for name in ([channel] if channel is not None else channels)]

    def _test(self, name: str) -> Tried:
        now = self.reads.clock.now()
        body: dict[str, Any] = {
            "delivery": f"test-{int(now.timestamp())}", "event": "test", "alert": None, "rule": "test", "kind": "test", "description": "",
            "subject": name, "message": "This is a test of Dayfold's alerts.", "opened_at": _iso(now), "closed_at": None, "details": {},
            "look": "GET /v1/alerts",
        }  # fmt: skip
        channel = self.settings.channels[name]
        began, error = time.monotonic(), None
        try:
            send(channel, Message(str(body["delivery"]), "test", ledger_alerts.as_json(body), int(now.timestamp())))
        except DeliveryFailed as failure:
            error = str(failure).replace("\n  ", " ")
        return Tried(name, channel.kind, error is None, round(time.monotonic() - began, 3), error)

    # -- showing -----------------------------------------------------------------------------------

    def listed(self, *, only_open: bool = False, limit: int = 100, before: int | None = None) -> dict[str, Any]:
        """Episodes, the newest first, with their messages, and how the rules stand."""
        with self.ledger.store.transaction(read_only=True) as session:
            found = ledger_alerts.listed(self.ledger, session, only_open=only_open, limit=limit + 1, before=before)
            told = ledger_alerts.deliveries(self.ledger, session, [one.id for one in found[:limit]])
        return {
            "alerts": [_episode(one, told[one.id]) for one in found[:limit]],
            "rules": [asdict(one) for one in self.states()],
            "before": found[limit - 1].id if len(found) > limit else None,
        }


def pause(attempt: int) -> dt.timedelta:
    """How long after so many failed attempts the next one is made.

    >>> [int(pause(attempt).total_seconds()) for attempt in (1, 2, 3, 9)]
    [30, 60, 120, 3600]
    """
    return min(FIRST_PAUSE * (1 << min(attempt - 1, 20)), LONGEST_PAUSE)


def _episode(one: Episode, told: Sequence[ledger_alerts.Delivery]) -> dict[str, Any]:
    messages = [
        {
            "id": each.id, "channel": each.channel, "event": each.event, "state": each.state, "attempts": each.attempts,
            "next_at": each.next_at, "delivered_at": each.delivered_at, "error": each.error,
        }
        for each in told
    ]  # fmt: skip
    return {**asdict(one), "deliveries": messages}


def _iso(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


class AlertLoop:
    """Looks and delivers in a thread of its own: when poked, when a message is due, and at least each minute."""

    def __init__(self, alerts: Alerts) -> None:
        self.alerts = alerts
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dayfold-alerts", daemon=True)

    def start(self) -> None:
        """The thread runs."""
        self._thread.start()

    def poke(self) -> None:
        """Look now: something happened, such as the end of a job's run."""
        self._wake.set()

    def stop(self) -> None:
        """The thread has ended, after the message that it is sending; again, or without a start, is harmless."""
        self._ending.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.clear()
            pause_s = EVERY_S
            try:
                self.alerts.look()
                self.alerts.deliver()
                pause_s = self._pause_s()
            except DayfoldError as error:
                _log.error("Alerts could not be looked at: %s", error.message, extra={"action": "alerts-failed"})
            except Exception as error:
                _log.exception("Alerts met an error that nobody foresaw", extra={"action": "alerts-failed"})
                report(error, "alerts-failed")
            self._wake.wait(0 if self._ending.is_set() else pause_s)

    def _pause_s(self) -> float:
        """Seconds until a message is due, at least one and at most a minute."""
        due = self.alerts.next_due()
        if due is None:
            return EVERY_S
        return min(max((due - self.alerts.reads.clock.now()).total_seconds(), 1.0), EVERY_S)
