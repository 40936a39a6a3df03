"""Where personal data stands in the store: one list of all that holds any, and how each lets a person go. Ledger floor.

Invariant: every table of the ledger is either held here or named in `WITHOUT` with its reason, and a test refuses any other. A new
place for personal data is a `Holder` more in `HOLDERS`, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dayfold.define.events import TABLE
from dayfold.engines.base import Session
from dayfold.ledger import events, held_counts, quarantine, visitors
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.persons import OTHERS, THEIRS, Person

#: The least integer, which SQL reads as the negation of one that is too large.
_NO_PAYLOAD = f"({events.ERASED + 1} - 1)"
#: What stands where a name stood.
GONE = "erased"
#: A text of JSON, and whether it is the name of a member, which is a word of ours.
_JSON_TEXT = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?')


@dataclass(frozen=True, slots=True)
class Holder:
    """Tables that may hold something of a person.

    Attributes:
        name: What a certificate calls it; ``holds``: what it has of a person.
        tables: Its tables, which are rewritten where something went.
        erase: Lets a person go, in the transaction of all others; how many rows it touched. Again is harmless.
        not_reached: What of it stays, as a certificate says it; empty where nothing does.
    """

    name: str
    holds: str
    tables: tuple[str, ...]
    erase: Callable[[Ledger, Session, Person], int]
    not_reached: str = ""


def _events(ledger: Ledger, session: Session, person: Person) -> int:
    """Their events are gone; those of others from the same browser stay without its id. Triggers mark the cells."""
    if not events.exists(ledger):
        return 0
    session.execute(person.query(ledger, f"update _t set anonymous_id = null where {OTHERS}", TABLE))
    return session.execute(person.query(ledger, f"delete from _t where {THEIRS}", TABLE))


def _ids(ledger: Ledger, session: Session, person: Person) -> int:
    """The ids of their events stay and say that they were erased: a client that sends one again adds nothing."""
    if not events.exists(ledger):
        return 0
    text = (
        f"update dayfold__event_ids set digest = {_NO_PAYLOAD} where id in (select id from _t where {THEIRS}) "
        f"and digest <> {_NO_PAYLOAD}"
    )
    return session.execute(person.query(ledger, text, TABLE))


def _quarantine(ledger: Ledger, session: Session, person: Person) -> int:
    """Held events of theirs, and those that name them anywhere, are gone; a bare number may be anything's, and names nobody."""
    gone = session.execute(person.query(ledger, f"delete from _t where {THEIRS} or {OTHERS}", quarantine.TABLE))
    text = "delete from dayfold__quarantine where strpos(body, :plain::text) > 0 or strpos(body, :within::text) > 0"
    for one in person.names:
        if not one.isdecimal():
            plain = f'"{_in_json(one)}"'
            # Properties are a text of JSON within the JSON of the event.
            gone += session.execute(ledger.sql(text, plain=plain, within=_in_json(plain)))
    return gone


def _held_counts(ledger: Ledger, session: Session, person: Person) -> int:
    """Held rows of counters that name them, as key or as owner, are gone; a bare number may be anything's, and names nobody."""
    gone = 0
    for name in person.names:
        if not name.isdecimal():
            gone += held_counts.drop_held(ledger, session, f'"{_in_json(name)}"')
    return gone


def _visitors(ledger: Ledger, session: Session, person: Person) -> int:
    """Touches and links of the person and of their browsers are gone."""
    found = visitors.erase(ledger, session, person.actor_ids, person.anonymous_ids)
    return found.touches + found.links


def _in_json(text: str) -> str:
    import msgspec

    return msgspec.json.encode(text).decode()[1:-1]


def _texts(name: str, key: str, columns: Sequence[str]) -> Callable[[Ledger, Session, Person], int]:
    """In these columns of a table another word stands where one of their names stood by itself."""

    def erase(ledger: Ledger, session: Session, person: Person) -> int:
        found: dict[object, dict[str, str]] = {}
        for one in person.names:
            forms = {"name": one, "ascii": json.dumps(one)[1:-1], "json": _in_json(one)}
            within = " or ".join(f"strpos({column}, :{form}::text) > 0" for column in columns for form in forms)
            rows = session.rows(ledger.sql(f"select {key}, {', '.join(columns)} from {name} where {within}", **forms))
            for row_key, *texts in rows:
                before = found.get(row_key) or dict(zip(columns, texts, strict=True))
                found[row_key] = {column: text and _without(text, one) for column, text in before.items()}
        changes = ", ".join(f"{column} = :{column}::text" for column in columns)
        for row_key, fresh in found.items():
            session.execute(ledger.sql(f"update {name} set {changes} where {key} = :row_key", row_key=row_key, **fresh))
        return len(found)

    return erase


def _without(text: str, name: str) -> str:
    """A text without a name; of JSON only the texts within it, so that it stays JSON whatever the name is.

    >>> _without('{"rows": 42, "at": "12:42:10", "actor": "42"}', "42"), _without("token of 42", "42")
    ('{"rows": 42, "at": "12:42:10", "actor": "erased"}', 'token of erased')
    """
    if not text.startswith(("{", "[")):
        return _replaced(text, name)
    try:
        json.loads(text)
    except ValueError:
        return _replaced(text, name)

    def fresh(found: re.Match[str]) -> str:
        before = str(json.loads(found[1]))
        after = _replaced(before, name)
        return found[0] if found[2] or after == before else json.dumps(after)

    return _JSON_TEXT.sub(fresh, text)


def _replaced(text: str, name: str) -> str:
    # A number that is a part of a moment, or of a longer number, is nobody's name.
    return re.sub(rf"(?<![\w-])(?<!\d[:.,]){re.escape(name)}(?![\w-])(?![:.,]\d)", GONE, text)


#: All that holds personal data in the store, in the order in which it is erased: what leads to a person goes last.
HOLDERS: tuple[Holder, ...] = (
    Holder(
        "event ids", "the ids of their events", (events.IDS,), _ids,
        "the ids of erased events, as long as events of their day are kept, so that one that is sent again is refused; an id says "
        "nothing of a person",
    ),
    Holder(
        "events", "what they did, from where, with all properties", (TABLE,), _events,
        "events of others that name the person in their properties",
    ),
    Holder(
        "quarantine", "events that were held back", (quarantine.TABLE,), _quarantine,
        "held events of others that name the person by a bare number",
    ),
    Holder(
        "held counts", "increments of their keys that were held back", ("dayfold__held_counts",), _held_counts,
        "held increments of others that name the person by a bare number",
    ),
    Holder(
        "visitors", "what brought them, when, and which browsers were theirs", ("dayfold__touches", "dayfold__aliases"), _visitors
    ),
    Holder(
        "audit", "notes of what they did or what was done to them", ("dayfold__audit",),
        _texts("dayfold__audit", "id", ("actor", "target")),
    ),
    Holder(
        "alerts", "what was told of cells that are named by them", ("dayfold__alerts",),
        _texts("dayfold__alerts", "id", ("subject", "message", "details")),
    ),
    Holder(
        "deliveries", "the same, as it was sent", ("dayfold__deliveries",), _texts("dayfold__deliveries", "id", ("body", "error")),
        "alerts that were delivered",
    ),
    Holder(
        "job runs", "what was asked for, and by whom", ("dayfold__job_runs",),
        _texts("dayfold__job_runs", "id", ("request", "asked_by", "progress", "summary", "error")),
    ),
    Holder(
        "saved pages", "pages that name them; owners are accounts of the service", ("dayfold__pages",),
        _texts("dayfold__pages", "id", ("title", "description", "words")),
    ),
)  # fmt: skip

#: The tables of the ledger that hold nothing of a person whose events are kept, each with its reason.
WITHOUT: dict[str, str] = {
    "dayfold__store": "the store's own key",
    "dayfold__rollups": "definitions",
    "dayfold__sources": "names and types of columns",
    "dayfold__leases": "machines and processes",
    "dayfold__fences": "numbers",
    "dayfold__coverage": "days, and why one is open",
    "dayfold__runs": "counts; an error holds no value of a row",
    "dayfold__marks": "keys of cells, until the fold that an erasure ends with; those that no fold took are blurred by it",
    "dayfold__cursors": "moments",
    "dayfold__tracked": "stamps of triggers",
    "dayfold__verifications": "counts",
    "dayfold__receipts": "digests of whole days",
    "dayfold__jobs": "schedules",
    "dayfold__tokens": "accounts of the service, not of those whose events are kept",
    "dayfold__users": "accounts of the service",
    "dayfold__sessions": "accounts of the service",
    "dayfold__links": "digests",
    "dayfold__tries": "accounts of the service; gone after a day",
    "dayfold__fetches": "days of functions",
    "dayfold__removed": "names of rollups",
    "dayfold__intake": "counts",
    "dayfold__journals": "positions",
    "dayfold__salts": "salts, gone after two days",
    "dayfold__exports": "what was asked for; whatever may name a person goes with its file",
    "dayfold__live": "epochs and sums of whole shards",
    "dayfold__tallies": "sums of whole counters",
    "dayfold__count_ids": "ids of increments, gone with [live] remember_days",
    "dayfold__flushes": "sums of whole batches",
    "dayfold__adds": "increments that wait for the next flush, with which an erasure begins",
    "dayfold__adders": "processes, and sums of what each has added",
    "dayfold__checks": "counts, verdicts, and the two numbers of a comparison",
    "dayfold__moves": "addresses of stores, and counts",
    "dayfold__erasures": "names until they are erased, and certificates with salted digests",
}


def erase(ledger: Ledger, session: Session, person: Person) -> dict[str, int]:
    """Nothing of a person stands in any holder, once the transaction commits; the rows that each touched, by its name."""
    return {one.name: one.erase(ledger, session, person) for one in HOLDERS}
