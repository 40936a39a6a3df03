"""A store with something of everything, the questions that are asked of it, and all that is said of it: for moves of stores.

The questions are a recorded list, the same for every engine: `questions` has more than two hundred, of every kind, and `answers` what
each gives, refusals included, in words that say nothing of the engine.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from dayfold import (
    Avg,
    Case,
    Cohort,
    Collect,
    Count,
    Counter,
    Dayfold,
    Distinct,
    First,
    Formula,
    Funnel,
    Gauge,
    Increase,
    Last,
    Max,
    Min,
    Mode,
    Profile,
    Ratio,
    Rollup,
    Sum,
    Table,
    Total,
    events,
    source,
)
from dayfold.clock import FixedClock
from dayfold.days import Days
from dayfold.errors import DayfoldError
from dayfold.fold.move import MoveResult
from dayfold.ledger import receipts, versions
from tests.eventlog import event, send
from tests.sql import Session, run_sql, store_config

NOW = dt.datetime(2026, 3, 12, 12, tzinfo=dt.UTC)
DDL = (
    "id bigint, shop bigint, kind text, who text, amount numeric(12,2), plan text, ok boolean, token uuid, "
    "made timestamptz, stamped_at timestamptz"
)
PEOPLE = ("ann", "böb", "C c", "d,d", 'e"e', "f\\f", None)
KINDS = ("new", "Old", "", None, "ünt")


def definitions() -> list[Any]:
    """Rollups of every grain and kind, a profile with studies over it, events, a counter, and a function."""
    order = Table("orders", database="app", changes="stamped_at")

    @source(columns={"shop": "bigint", "cost": "numeric(10,2)", "note": "text"}, since="2026-03-05", lookback=2)
    def ads(day: dt.date) -> list[tuple[Any, ...]]:
        return [(1, Decimal(day.day) + Decimal("0.25"), f"é {day}"), (None, 3, None)]

    shop = {
        "orders": Count(order, at="made"),
        "good": Count(order, at="made", where="ok"),
        "paid": Sum(order, "amount", at="made"),
        "least": Min(order, "amount", at="made"),
        "most": Max(order, "amount", at="made"),
        "mean": Avg(order, "amount", at="made"),
        "people": Distinct(order, "who", at="made"),
        "level": Gauge(order, "amount", at="made"),
        "share": Ratio("good", "orders"),
        "twice": Formula("orders * 2 + 0.5"),
    }
    shops = type("Shops", (Rollup,), {"key": ("shop", "kind"), "index": ["kind"], **shop})
    hours = {
        "orders": Count(order, at="made"),
        "people": Distinct(order, "who", at="made"),
        "paid": Sum(order, "amount", at="made"),
    }
    tokens = {"orders": Count(order, at="made"), "most": Max(order, "amount", at="made")}
    grown = Increase(order, "id", per="who", at="made")
    upper = {"orders": Sum(shops, "orders", at="day"), "people": Distinct(shops, "people", at="day")}
    customers = type(
        "Customers",
        (Profile,),
        {
            "key": ("who",),
            "orders": Count(order),
            "paid": Sum(order, "amount"),
            "plan": First(order, "plan", at="made", ties="id"),
            "kind": Last(order, "kind", at="made", ties="id"),
            "plans": Collect(order, "plan", at="made", ties="id", most=5),
            "often": Mode(order, "kind"),
            "began": Min(order, "made"),
            "lately": Max(order, "made"),
            "size": Case({"small": "orders < 10", "large": "orders >= 10"}),
        },
    )
    daily = type(
        "CustomerDaily",
        (Rollup,),
        {"key": "who", "orders": Count(order, at="made"), "paid": Sum(order, "amount", at="made")},
    )
    seen = {
        "seen": Count(events, at="occurred_at"),
        "actors": Distinct(events, "actor_id", at="occurred_at"),
        "weight": Sum(events, "(props->>'n')::int", at="occurred_at"),
    }
    return [
        shops,
        type("Hours", (Rollup,), {"key": "shop", "grain": "hour", **hours}),
        type("Tokens", (Rollup,), {"key": "token", **tokens}),
        type("Spending", (Rollup,), {"key": "shop", "spent": Sum(ads, "cost")}),
        type("Grown", (Rollup,), {"key": (), "grown": grown}),
        type("Platform", (Rollup,), upper),
        customers,
        daily,
        type("Retention", (Cohort,), {"profile": customers, "start": "began", "activity": daily, "values": "paid"}),
        type("Returning", (Funnel,), {"profile": customers, "steps": ("began", "lately"), "window_days": 30}),
        type("Seen", (Rollup,), {"key": "project", **seen}),
        type("Usage", (Counter,), {"key": "api_key", "owner": "who", "total": Total(), "size": Total(negative=True)}),
        events.columns(project="text"),
    ]  # fmt: skip


def config(store: str, app: str, **more: Any) -> dict[str, Any]:
    """What ``dayfold.toml`` would say."""
    words = store_config(store, long_view="")
    return {**words, "databases": {"app": {"url": app}}, "retain": {"events_days": 20}, **more}


def opened(store: str, app: str, **more: Any) -> Dayfold:
    """The application over a store."""
    return Dayfold(definitions(), config(store, app, **more), clock=FixedClock(NOW))


def go(app: Dayfold, there: str, **how: Any) -> MoveResult:
    """The store of an application goes to a place as tests name it."""
    to, _, ledger = there.partition("#")
    return app.move(to, ledger=ledger or None, **how)


# -- the world -----------------------------------------------------------------------------------------


def orders(first: int, last: int, late: bool = False) -> Iterator[dict[str, Any]]:
    """Orders by number: several a day, back to January."""
    for n in range(first, last):
        made = NOW - dt.timedelta(hours=5 * (n % 300) + (900 if late else 0), minutes=n % 60, microseconds=n)
        yield {
            "id": n, "shop": (1, 2, None, 3)[n % 4], "kind": KINDS[n % 5], "who": PEOPLE[n % 7],
            "amount": Decimal(n * 7 % 500 - 100) / 4, "plan": ("free", "pro", None)[n % 3], "ok": (True, False, None)[n % 3],
            "token": f"00000000-0000-4000-8000-{n % 9:012x}" if n % 10 else None, "made": made,
            "stamped_at": NOW + dt.timedelta(days=1) if late else made,
        }  # fmt: skip


def happened(number: int, days: int, **more: Any) -> dict[str, Any]:
    """An event, so many days ago."""
    props = {"n": number % 5, "b": 1.50, "a": ["x", None, {"é": "ü"}], "big": 12345678901234567890}
    known = {
        "actor_id": f"u{number % 6}", "session_id": f"s{number % 4}", "anonymous_id": f"b{number % 6}",
        "project": ("p", "q", None)[number % 3],
        "event_type": ("page_viewed", "asset_viewed", "bought")[number % 3], "page": f"https://a.example/{number}?q=1",
        "utm_campaign": ("spring", None)[number % 2], "channel": "paid", "is_bot": False, "country": "NP",
    }  # fmt: skip
    at = NOW - dt.timedelta(days=days, minutes=number)
    return event(number, payload=number, props=props, occurred_at=at, received_at=at, **{**known, **more})


def fill(store: str, app: str) -> None:
    """A store that was worked with for a while: folded, sealed, verified, tampered with, and with changes that wait."""
    with Session(app) as session:
        session.run(f"CREATE TABLE orders ({DDL})")
        session.insert("orders", orders(0, 900))
    with opened(store, app) as dayfold:
        assert_folded(dayfold)
        send(dayfold, *(happened(n, n % 45) for n in range(1, 200)))
        for n in range(20):
            dayfold.counters.add(
                "usage", api_key=f"k{n % 3}", owner=f"o{n % 2}", total=n, size=-n, at=NOW - dt.timedelta(days=n % 4)
            )
        assert_folded(dayfold)
        dayfold.retain(yes=True)
        dayfold.verify()
        dayfold.accounts.create_token("reader", "read", personal=True)
    # Past Dayfold: a day of which every receipt knows.
    run_sql(store, "UPDATE shops SET orders = orders + 1 WHERE day = DATE '2026-03-02' AND shop = 1")
    with opened(store, app) as dayfold:
        send(dayfold, *(happened(n, n % 9) for n in range(300, 330)))
    with Session(app) as session:
        session.insert("orders", orders(900, 960, late=True))


def assert_folded(app: Dayfold) -> None:
    """A fold of which nothing failed."""
    assert [run.error for run in app.fold() if run.error] == []


# -- what is asked -------------------------------------------------------------------------------------

Question = tuple[str, tuple[Any, ...], dict[str, Any]]
MARCH, LONG, YEAR = ("2026-03-01", "2026-03-12"), ("2026-01-05", "2026-03-12"), ("2025-06-01", "2026-05-31")


def questions() -> list[Question]:
    """What is asked: verb, words, and named words."""
    return [*_of_rollups(), *_of_profiles(), *_of_studies(), *_of_events(), *_of_cells(), *_of_files()]


def _of_rollups() -> Iterator[Question]:
    ranges = [{"from_": a, "to": b} for a, b in (MARCH, LONG, YEAR)]
    for days in ranges:
        for grain in ("day", "week", "month", "quarter", "year", "total"):
            for name in ("Shops", "Hours", "Platform", "Seen", "Usage"):
                yield "query", (name,), {**days, "grain": grain, "allow_missing": True}
        for by, where in (
            (("shop",), ()), (("kind",), ("shop=1",)), (("shop", "kind"), ("kind=",)), ((), ("shop=", "kind!=new")),
            ((), ("shop=2", "shop=3")),
        ):  # fmt: skip
            for grain in ("day", "total"):
                yield "query", ("Shops",), {**days, "by": by, "where": where, "grain": grain}
    for name in ("Tokens", "Spending", "Grown", "CustomerDaily"):
        for grain in ("day", "month", "total"):
            yield "query", (name,), {**ranges[0], "grain": grain}
            yield "query", (name,), {**ranges[1], "grain": grain, "allow_missing": True}
    for tz in ("America/New_York", "Europe/London"):
        for grain in ("hour", "day", "week"):
            days = {"from_": "2026-03-06", "to": "2026-03-09"}
            yield "query", ("Hours",), {**days, "tz": tz, "grain": grain, "by": ("shop",)}
    for compare in ("previous", "year"):
        for grain in ("day", "total"):
            yield (
                "query",
                ("Shops", ["orders", "people", "share"]),
                {"from_": "2026-03-05", "to": "2026-03-10", "compare": compare, "grain": grain},
            )
    for metric in ("orders", "paid", "least", "most", "mean", "people", "level", "share", "twice"):
        yield (
            "query",
            ("Shops", [metric]),
            {**ranges[0], "by": ("kind",), "grain": "total", "sort": f"-{metric}", "limit": 3},
        )
    for name in ("Shops", "Seen"):
        yield "query", (name,), {"from_": "2026-03-09", "to": "2026-03-12", "live": True, "grain": "day"}


def _of_profiles() -> Iterator[Question]:
    for who in (*PEOPLE, "nobody"):
        yield "profile", ("Customers", {"who": who}), {}
    for sort in ("orders", "-orders", "paid", "-lately", "plan", "who"):
        yield "profiles", ("Customers",), {"sort": sort, "limit": 3}
    for where in (("orders>10",), ("plan=pro",), ("plan=",), ("began>=2026-01-01",), ("size=large", "paid<100000")):
        yield "profiles", ("Customers",), {"where": where}
    for by in (("plan",), ("kind", "size"), ("often",)):
        yield "profiles", ("Customers",), {"count_by": by, "columns": ("orders", "paid")}


def _of_studies() -> Iterator[Question]:
    for grain in ("day", "week", "month"):
        for unbounded in (False, True):
            yield "cohort", ("Retention",), {"from_": LONG[0], "to": LONG[1], "grain": grain, "unbounded": unbounded}
    yield "cohort", ("Retention",), {"from_": LONG[0], "to": LONG[1], "by": ("plan",)}
    for by in ((), ("plan",), ("size",)):
        yield "funnel", ("Returning",), {"from_": LONG[0], "to": LONG[1], "by": by}


def _of_events() -> Iterator[Question]:
    yield "events", (), {"limit": 1000}
    for words in (
        {"actor": "u1"}, {"session": "s2"}, {"event_type": "bought"}, {"entity_type": "project", "entity_id": "p"},
        {"from_": "2026-03-01", "to": "2026-03-05"}, {"actor": "u2", "own": True}, {"limit": 5},
    ):  # fmt: skip
        yield "events", (), words
    for span in ("day", "month"):
        yield "event_rates", (span,), {}
    for by in ("campaign", "source", "medium", "referrer", "channel", "first-touch", "last-touch"):
        yield "event_report", (by, *MARCH), {}


def _of_cells() -> Iterator[Question]:
    for name in (
        "Shops",
        "Hours",
        "Tokens",
        "Spending",
        "Grown",
        "Platform",
        "CustomerDaily",
        "Seen",
        "Usage",
        "Customers",
    ):
        yield "covered", (name,), {}
    for day in ("2026-03-02", "2026-03-11"):
        for metric in ("orders", "people", "share"):
            yield "explain", ("Shops", metric), {"day": day, "where": ("shop=1", "kind=new")}
            yield "explain", ("Shops", metric), {"day": day, "where": ("shop=", "kind=")}
        yield "explain", ("Seen", "actors"), {"day": day, "where": ("project=p",)}
    yield "explain", ("Customers", "paid"), {"where": ("who=ann",)}


def _of_files() -> Iterator[Question]:
    for what, name in (
        ("rollup", "Shops"),
        ("rollup", "Hours"),
        ("profile", "Customers"),
        ("events", None),
        ("actor", "u1"),
    ):
        days = {"from_": MARCH[0]} if what == "rollup" else {}
        yield "export", (what, name), {"form": "csv", "personal": True, **days}


def answers(app: Dayfold) -> list[Any]:
    """What is said to each of the questions."""
    return [answer(app, one) for one in questions()]


def answer(app: Dayfold, question: Question) -> Any:
    """What is said to one question; a refusal in its own words."""
    verb, words, named = question
    try:
        if verb == "export":
            out = io.BytesIO()
            app.export(*words, out=out, **named)
            return _rows(out.getvalue().decode())
        found = getattr(app, verb)(*words, **named)
    except DayfoldError as error:
        return [error.code, str(error)]
    return plain(found.as_object() if hasattr(found, "as_object") else found)


def unlike(before: list[Any], after: list[Any]) -> list[tuple[Question, Any, Any]]:
    """The questions with two answers."""
    return [found for found in zip(questions(), before, after, strict=True) if found[1] != found[2]]


#: What an engine says in its own words, or what a clock or a disk decides.
_OWN = {"sql", "digest"}


def plain(value: Any, name: str = "") -> Any:
    """A value in words that compare: rows of one day in one order, JSON without its spelling."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({one.name: getattr(value, one.name) for one in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {str(key): plain(one, str(key)) for key, one in value.items() if key not in _OWN}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if name == "properties" and isinstance(value, str):
        return json.loads(value)
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _rows(text: str) -> list[Any]:
    """The lines of a CSV file, whatever their order; properties without their spelling."""
    return sorted(
        sorted((key, _unspelled(key, cell)) for key, cell in row.items()) for row in csv.DictReader(io.StringIO(text))
    )


def _unspelled(name: str, cell: str) -> str:
    return json.dumps(json.loads(cell), sort_keys=True) if name in ("properties", "plans") and cell else cell


# -- what is known -------------------------------------------------------------------------------------


def standing(app: Dayfold) -> dict[str, Any]:
    """What the ledger knows: coverage, marks, receipts and what they say of the rows, runs, and the counts of all else."""
    ledger = app.ledger
    found: dict[str, Any] = {}
    with ledger.store.transaction(read_only=True) as session:
        for name, columns in _COLUMNS.items():
            texts = ", ".join(f"cast({one} as text)" for one in columns)
            found[name] = sorted(map(str, session.rows(ledger.sql(f"select {texts} from dayfold__{name}"))))
        known = versions.versions(ledger, session)
        whole = Days(dt.date.min, dt.date.max)
        for rollup in app.bind().rollups:
            version = known[rollup.name].number
            mine = receipts.receipts(ledger, session, rollup.name, version, whole)
            altered = receipts.altered(ledger, session, rollup.shape, rollup.name, version, mine)
            words = [
                (str(one.day), one.rows, one.run_id, one.at, one.origin, one.digest[:3] == "md5")
                for one in mine.values()
            ]
            found[f"receipts of {rollup.name}"] = (words, sorted(map(str, altered)))
        found["key"] = ledger.store_key(session)
    return found


_COLUMNS = {
    "marks": ("id", "rollup", "version", "key", "day", "reason"),
    "coverage": ("rollup", "version", "source", "day", "state", "facts", "run_id", "reason", "as_of"),
    "runs": ("id", "job", "rollup", "version", "status", "cells", "rows_inserted"),
    "fences": ("rollup", "token"),
}
