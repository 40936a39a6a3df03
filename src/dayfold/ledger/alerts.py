"""Alerts: episodes of rules, and the messages that are on their way about them. Ledger floor.

An episode is one row of ``dayfold__alerts`` from when a rule began to hold of a subject until it held no more. What is told of it stands
in ``dayfold__deliveries``, written in the same transaction, and is sent afterwards.

Invariant: a rule has at most one open episode of a subject. Episodes of one are numbered from 1 on and the number is unique, so of two
replicas that open one at once the second is refused.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import column

OPENED, RECOVERED = "opened", "recovered"
WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given up"


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode. Moments are ISO text in UTC; ``closed_at`` is null while it is open."""

    id: int
    rule: str
    subject: str
    opened_at: str
    closed_at: str | None
    message: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way to one channel. ``error`` is that of the last attempt."""

    id: int
    alert_id: int
    channel: str
    event: str
    attempts: int
    next_at: str | None
    delivered_at: str | None
    error: str | None

    @property
    def state(self) -> str:
        """``waiting`` (for its first or next attempt), ``delivered`` or ``given up``."""
        return DELIVERED if self.delivered_at else WAITING if self.next_at else GIVEN_UP


@dataclass(frozen=True, slots=True)
class Due:
    """A message that is to be sent now."""

    id: int
    channel: str
    event: str
    body: str
    attempts: int


_json = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def as_json(value: object) -> str:
    """JSON; integers and decimals with all their digits.

    >>> as_json({"mrr": Decimal("850.50")})
    '{"mrr":850.50}'
    """
    return _json.encode(value).decode()


_EPISODE = "id, rule, subject, _opened, _closed, message, details"


def _episode_parts(ledger: Ledger) -> dict[str, Any]:
    iso = ledger.home.dialect.piece
    return {
        "_opened": iso("iso_moment", _x=column("opened_at")),
        "_closed": iso("iso_moment", _x=column("closed_at")),
    }


def _episode(row: tuple[Any, ...]) -> Episode:
    number, rule, subject, opened_at, closed_at, message, details = row
    return Episode(number, rule, subject, opened_at, closed_at, message, json.loads(details, parse_float=Decimal))


def open_episodes(ledger: Ledger, session: Session) -> list[Episode]:
    """Every open episode, the oldest first."""
    query = ledger.sql(
        f"select {_EPISODE} from dayfold__alerts where closed_at is null order by id", **_episode_parts(ledger)
    )
    return [_episode(row) for row in session.rows(query)]


def listed(ledger: Ledger, session: Session, *, only_open: bool, limit: int, before: int | None) -> list[Episode]:
    """The newest episodes first, those with a smaller number than ``before`` where one is given."""
    tests = ["closed_at is null"] if only_open else []
    tests += ["id < :before"] if before is not None else []
    where = f" where {' and '.join(tests)}" if tests else ""
    words = {"before": before} if before is not None else {}
    query = ledger.sql(
        f"select {_EPISODE} from dayfold__alerts{where} order by id desc limit :limit",
        limit=limit, **words, **_episode_parts(ledger),
    )  # fmt: skip
    return [_episode(row) for row in session.rows(query)]


def next_id(ledger: Ledger, session: Session) -> int:
    """A number that no other episode or message has."""
    sequence = f'"{ledger.home.schema}"."dayfold__alert_ids"'
    return int(session.rows(ledger.sql("select nextval(:sequence)", sequence=sequence))[0][0])


def open_episode(
    ledger: Ledger, session: Session, rule: str, subject: str, message: str, details: Mapping[str, Any]
) -> int | None:
    """Begin an episode: its number, or None where one is open. Raises Conflict where another transaction began it at once."""
    found = session.rows(
        ledger.sql(
            "insert into dayfold__alerts (id, rule, subject, episode, opened_at, message, details, seen_at) select :id::bigint, "
            ":rule::text, :subject::text, coalesce(max(episode), 0) + 1, :now::timestamptz, :message::text, :details::text, "
            ":now::timestamptz from dayfold__alerts "
            "where rule = :rule::text and subject = :subject::text "
            "having coalesce(sum(case when closed_at is null then 1 else 0 end), 0) = 0 returning id",
            id=next_id(ledger, session), rule=rule, subject=subject, now=ledger.clock.now(), message=message,
            details=as_json(details),
        )
    )  # fmt: skip
    return int(found[0][0]) if found else None


def unseen(ledger: Ledger, session: Session, since: dt.datetime) -> set[int]:
    """The open episodes that no process which has their rule and subject has looked at since a moment."""
    query = "select id from dayfold__alerts where closed_at is null and seen_at <= :since::timestamptz"
    return {int(number) for (number,) in session.rows(ledger.sql(query, since=since))}


def touch(ledger: Ledger, session: Session, episode_ids: Iterable[int]) -> bool:
    """There is a process that has the rules and subjects of these open episodes. Raises Conflict where another notes it at once."""
    for number in episode_ids:
        # Replaced, as `close_episode` does: on DuckDB such an update is met by none of another kind.
        note = (
            "update dayfold__alerts set seen_at = :now::timestamptz where id = :id and closed_at is null returning id"
        )
        session.rows(ledger.sql(note, now=ledger.clock.now(), id=number))
    return True


def close_episode(ledger: Ledger, session: Session, episode_id: int) -> bool:
    """End an episode; False where it ended before. Raises Conflict where another transaction ends it at once."""
    close = "update dayfold__alerts set closed_at = :now::timestamptz where id = :id and closed_at is null returning id"
    return bool(session.rows(ledger.sql(close, now=ledger.clock.now(), id=episode_id)))


def queue(
    ledger: Ledger, session: Session, delivery_id: int, alert_id: int, channel: str, event: str, body: str
) -> None:
    """A message is to be sent as soon as this transaction is committed."""
    session.execute(
        ledger.sql(
            "insert into dayfold__deliveries (id, alert_id, channel, event, body, attempts, next_at) values "
            "(:id, :alert, :channel, :event, :body, 0, :now::timestamptz)",
            id=delivery_id, alert=alert_id, channel=channel, event=event, body=body, now=ledger.clock.now(),
        )
    )  # fmt: skip


def due(ledger: Ledger, session: Session, limit: int) -> list[Due]:
    """Messages whose time has come, the oldest first; one about a recovery waits for the one before it."""
    query = ledger.sql(
        "select d.id, d.channel, d.event, d.body, d.attempts from dayfold__deliveries as d where d.delivered_at is null and "
        "d.next_at <= :now::timestamptz and not exists (select 1 from dayfold__deliveries as e where e.alert_id = d.alert_id and "
        "e.channel = d.channel and e.id < d.id and e.delivered_at is null and e.next_at is not null) order by d.id limit :limit",
        now=ledger.clock.now(), limit=limit,
    )  # fmt: skip
    return [Due(*row) for row in session.rows(query)]


def next_due(ledger: Ledger, session: Session) -> dt.datetime | None:
    """When the next message is to be sent; None where none waits."""
    query = ledger.sql(
        "select _next from (select min(next_at) as next_at from dayfold__deliveries where delivered_at is null) as d",
        _next=ledger.home.dialect.piece("iso_moment", _x=column("next_at")),
    )
    [(text,)] = session.rows(query)
    return dt.datetime.fromisoformat(text) if text else None


def claim(ledger: Ledger, session: Session, one: Due, again_at: dt.datetime) -> bool:
    """Begin an attempt; False where another replica did. Until ``again_at`` nobody else begins one, should this process end."""
    take = (
        "update dayfold__deliveries set attempts = attempts + 1, next_at = :again::timestamptz where id = :id and "
        "attempts = :attempts and delivered_at is null and next_at is not null returning id"
    )
    return bool(session.rows(ledger.sql(take, again=again_at, id=one.id, attempts=one.attempts)))


def delivered(ledger: Ledger, session: Session, delivery_id: int) -> None:
    """A message arrived; it is not sent again. Raises Conflict where another transaction claims it at once."""
    done = (
        "update dayfold__deliveries set delivered_at = :now::timestamptz, next_at = null, error = null where id = :id "
        "returning id"
    )
    session.rows(ledger.sql(done, now=ledger.clock.now(), id=delivery_id))


def failed(
    ledger: Ledger, session: Session, delivery_id: int, attempts: int, error: str, again_at: dt.datetime | None
) -> None:
    """An attempt failed; ``again_at`` None: it was the last one. Harmless where a later attempt began since."""
    note = (
        "update dayfold__deliveries set error = :error, next_at = :again::timestamptz where id = :id and attempts = :attempts and "
        "delivered_at is null returning id"
    )
    session.rows(ledger.sql(note, error=error, again=again_at, id=delivery_id, attempts=attempts))


def deliveries(ledger: Ledger, session: Session, alert_ids: Iterable[int]) -> dict[int, list[Delivery]]:
    """The messages about each of some episodes, the oldest first."""
    ids = list(alert_ids)
    if not ids:
        return {}
    iso = ledger.home.dialect.piece
    query = ledger.sql(
        "select id, alert_id, channel, event, attempts, _next, _delivered, error from dayfold__deliveries where "
        "alert_id >= :first and alert_id <= :last order by id",
        first=min(ids), last=max(ids), _next=iso("iso_moment", _x=column("next_at")),
        _delivered=iso("iso_moment", _x=column("delivered_at")),
    )  # fmt: skip
    found: dict[int, list[Delivery]] = {one: [] for one in ids}
    for row in session.rows(query):
        if row[1] in found:
            found[row[1]].append(Delivery(*row))
    return found


# -- what rules look at ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How the last run of a job ended."""

    job: str
    run_id: int
    status: str
    attempt: int
    error: str | None
    finished_at: str | None


def job_ends(ledger: Ledger, session: Session) -> list[JobEnd]:
    """The run of each job that was the last to end well or, after its last attempt, badly; a retry keeps its number.

    Dry runs are left out: whoever asked for one looks at what became of it, and nothing was to be done.
    """
    query = ledger.sql(
        "select r.job, r.id, r.status, r.attempt, r.error, _finished from dayfold__job_runs as r join (select id, row_number() over "
        "(partition by job order by finished_at desc, id desc) as place from dayfold__job_runs where (status = 'done' or "
        """status = 'failed') and not request like '%"dry_run": true%') as l on l.id = r.id where l.place = 1 order by r.job""",
        _finished=ledger.home.dialect.piece("iso_moment", _x=column("finished_at", "r")),
    )
    return [JobEnd(*row) for row in session.rows(query)]


@dataclass(frozen=True, slots=True)
class LeftOpen:
    """The days that a run of `finalize` left open or failed, by rollup."""

    run_id: int
    days: dict[str, set[dt.date]]


def left_open(ledger: Ledger, session: Session) -> LeftOpen | None:
    """What the last run of `finalize` that came so far left open; None where there is none."""
    query = (
        "select id, summary from dayfold__job_runs where job = 'finalize' and finished_at is not null and "
        """summary like '%"open_days":%' order by finished_at desc, id desc limit 1"""
    )
    found = session.rows(ledger.sql(query))
    if not found:
        return None
    days: dict[str, set[dt.date]] = {}
    for one in json.loads(found[0][1])["open"]:
        days.setdefault(one["rollup"], set()).add(dt.date.fromisoformat(one["day"]))
    return LeftOpen(int(found[0][0]), days)


@dataclass(frozen=True, slots=True)
class Drifted:
    """What one verification found on the days that no later one has looked at: ``cells`` of all that it compared."""

    rollup: str
    run_id: int
    cells: int
    drifted: int


def drifts(ledger: Ledger, session: Session) -> list[Drifted]:
    """The verifications that some day of a rollup was last looked at by."""
    query = ledger.sql(
        "select v.rollup, v.run_id, cast(max(r.cells) as bigint), cast(sum(v.drifted) as bigint) from dayfold_verifications as v "
        "join dayfold__runs as r on r.id = v.run_id group by v.rollup, v.run_id order by v.rollup, v.run_id"
    )
    return [Drifted(*row) for row in session.rows(query)]


def last_folds(ledger: Ledger, session: Session) -> dict[str, dt.datetime]:
    """When each rollup was last brought up to date with all of its sources."""
    query = ledger.sql(
        "select f.rollup, _finished from (select r.rollup, max(r.finished_at) as finished_at from dayfold__runs as r where "
        "r.status = 'done' and (r.job = 'fold' or r.job = 'heal') group by r.rollup) as f",
        _finished=ledger.home.dialect.piece("iso_moment", _x=column("finished_at")),
    )
    return {rollup: dt.datetime.fromisoformat(text) for rollup, text in session.rows(query)}
