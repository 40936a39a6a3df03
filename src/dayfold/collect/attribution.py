"""Sessions and touches of the events of a group, by what the ledger knows of their visitors. Collect floor.

A group goes `fill`, `write` within the transaction of its events, then `kept`, or `dropped` where they were not. Where this process
alone writes to the store, the states of the visitors that came last stay in memory and are the truth; where others write too, they are
read for every group.

Invariant: what stands in memory was committed, or belongs to the group under way, with which it is thrown away.

Weakness: two processes that meet a new visitor in the same moment begin a session each.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from operator import attrgetter

from dayfold.collect.event import Event
from dayfold.collect.visits import SLACK, Session, Touch, Visitor, campaign_key
from dayfold.engines.base import Session as Transaction
from dayfold.ledger import visitors
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.visitors import AliasRow, TouchRow, key_of

#: Visitors that are kept: some 50 MB.
KEPT = 50_000
_occurred = attrgetter("occurred_at")


class _Generation:
    """Visitors by id: those of late, and those before them, which go when there are as many of late."""

    def __init__(self, most: int) -> None:
        self._half = max(most // 2, 1)
        self._young: dict[str, Visitor] = {}
        self._old: dict[str, Visitor] = {}

    def get(self, id: str) -> Visitor | None:
        found = self._young.get(id)
        if found is None:
            found = self._old.pop(id, None)
            if found is not None:
                self.keep(id, found)
        return found

    def keep(self, id: str, visitor: Visitor) -> None:
        if len(self._young) >= self._half and id not in self._young:
            self._old, self._young = self._young, {}
        self._young[id] = visitor

    def drop(self, id: str) -> None:
        self._young.pop(id, None)
        self._old.pop(id, None)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class Attributor:
    """Knows visitors, and what their events belong to. One group at a time.

    Args:
        ledger: Of the store that the log stands in.
        keeps: How many visitors stay in memory between groups, where nobody else writes.
        past: For one group of events of the past: the transaction that reads what is known, and the moment before which it has to be.
    """

    def __init__(self, ledger: Ledger, *, keeps: int = KEPT, past: tuple[Transaction, int] | None = None) -> None:
        self._ledger = ledger
        # PostgreSQL has other replicas that write; a DuckDB file has one owner.
        self._is_alone = ledger.store.dialect.name == "duckdb"
        self._past = past
        self._lock = threading.Lock()
        self._keeps = keeps
        self._browsers, self._actors = _Generation(keeps), _Generation(keeps)
        self._forgotten = False
        self._begin()

    def _begin(self) -> None:
        """No group is under way."""
        self._group_browsers: dict[str, Visitor] = {}
        self._group_actors: dict[str, Visitor] = {}
        #: Actors beside those of the group, who got touches of their browsers.
        self._others: set[str] = set()
        self._touches: list[tuple[Visitor | None, str, Touch, Session | None]] = []
        self._sessions: dict[Session, Visitor] = {}
        self._links: list[AliasRow] = []
        self._renewed: dict[str, Visitor] = {}

    def fill(self, events: Iterable[Event]) -> None:
        """Each event has its session, the first page of it, and the first and last touch of its visitor.

        Events are taken in the order in which they occurred. Those of bots and of spam get nothing, and make no more than known whose a
        browser is. What an earlier
        group that was neither kept nor dropped has found is dropped.
        """
        with self._lock:
            self._drop()
            self._forgotten = False
            some = [one for one in events if one.anonymous_id is not None or one.actor_id is not None]
            self._load(some)
            some.sort(key=_occurred)
            for event in some:
                self._fill(event)
            self._thin()

    def _fill(self, event: Event) -> None:
        anonymous, actor = event.anonymous_id, event.actor_id
        browser = self._group_browsers[anonymous] if anonymous is not None else None
        person = self._group_actors[actor] if actor is not None else None
        is_linked = False
        if browser is not None and anonymous is not None and actor is not None:
            is_linked = browser.link(event.occurred_at, actor)
            if is_linked:
                self._links.append(AliasRow(browser.key, anonymous, actor, event.occurred_at))
        own = browser or person
        assert own is not None
        is_person = not event.is_bot and event.referrer_class != "spam"
        session = self._visit(own, event) if is_person else None
        if browser is not None and person is not None and actor is not None and (is_linked or len(browser.links) > 1):
            for touch in browser.of_actor(actor, session):
                self._copy(person, touch)
        if not is_person:
            return
        whose = person or own
        at = event.occurred_at
        first = whose.first(at)
        if first is not None:
            event.first_source, event.first_medium, event.first_campaign = first
            last = whose.last(at)
            if last is not None:
                event.last_source, event.last_medium, event.last_campaign = last
        else:
            event.first_source = event.first_medium = event.first_campaign = None
            event.last_source = event.last_medium = event.last_campaign = None

    def _visit(self, own: Visitor, event: Event) -> Session | None:
        """The session of an event and the touch that it makes are known, and noted to be written."""
        session: Session | None = None
        if event.source == "web" or event.page is not None:
            session, touch = own.visit(event, self._resolve)
            event.session_id = session.id
            if session.landing is not None:
                event.landing_page = session.landing
            if session.is_dirty:
                self._sessions[session] = own
        else:
            key = campaign_key(event)
            touch = own.claim(event, key) if key is not None else None
        if touch is not None:
            self._touches.append((own, own.key, touch, session))
            # An actor's state has no sign-ins: only a browser may be somebody's.
            owner = own.owner(touch.at)
            if owner is not None:
                self._hand_on(owner, touch)
        return session

    def _hand_on(self, actor: str, touch: Touch) -> None:
        """A touch of a browser is the actor's too, whether their state is at hand or not."""
        person = self._group_actors.get(actor)
        if person is None and self._is_alone:
            person = self._actors.get(actor)
            self._others.add(actor)
        if person is not None:
            self._copy(person, touch)
        else:
            self._touches.append((None, key_of("actor", actor), touch, None))

    def _copy(self, person: Visitor, touch: Touch) -> None:
        if person.add(touch):
            self._touches.append((person, person.key, touch, None))

    def _resolve(self, session: Session) -> None:
        """A session that was read has its true end."""
        until, read = session.stored + SLACK, self._ledger.store.peek
        if self._past is not None:
            until, read = min(until, self._past[1] - 1), self._past[0].rows
        found = visitors.last_event(self._ledger, session.id, session.stored, until, read)
        session.until = max(session.until, found or 0)
        session.unsure = 0

    def _load(self, events: list[Event]) -> None:
        """The states of all visitors of a group are at hand."""
        self._load_states(
            {one.anonymous_id for one in events if one.anonymous_id is not None},
            {one.actor_id for one in events if one.actor_id is not None},
        )

    def _load_states(self, anonymous_ids: set[str], actor_ids: set[str]) -> None:
        missing: dict[str, Visitor] = {}
        browsers: list[str] = []
        for id in anonymous_ids:
            state = self._browsers.get(id) if self._is_alone else None
            if state is None:
                state = Visitor(key_of("browser", id))
                missing[state.key] = state
                browsers.append(state.key)
            self._group_browsers[id] = state
        for id in actor_ids:
            state = self._actors.get(id) if self._is_alone else None
            if state is None:
                state = Visitor(key_of("actor", id))
                missing[state.key] = state
            self._group_actors[id] = state
        if not missing:
            return
        ledger, keys = self._ledger, list(missing)
        if self._past is None:
            _restore(missing, visitors.read(ledger, keys, browsers), None)
        else:
            session, before = self._past
            _restore(missing, visitors.read_many(ledger, session, keys, browsers, before), before)

    def link(self, links: Iterable[tuple[str, str, int]]) -> int:
        """It is known whose browsers were, by anonymous ids, actors and moments, to be written; how much of that was new."""
        with self._lock:
            self._drop()
            self._forgotten = False
            known = list(links)
            self._load_states({browser for browser, *_ in known}, set())
            for id, actor, at in known:
                browser = self._group_browsers[id]
                if browser.link(at, actor):
                    self._links.append(AliasRow(browser.key, id, actor, at))
            return len(self._links)

    def _thin(self) -> None:
        """Visitors of whom there is too much are to be written anew."""
        for state in (*(state for state, *_ in self._touches if state is not None), *self._sessions.values()):
            if state.thin():
                self._renewed[state.key] = state

    def write(self, session: Transaction) -> None:
        """What the group has found is written, in the transaction of its events; again in another one, where that failed."""
        with self._lock:
            rows: list[TouchRow] = []
            for state in self._renewed.values():
                visitors.remove(self._ledger, session, state.key)
                rows += [_touch_row(state.key, one, None) for one in state.touches]
                rows += [_session_row(state.key, one) for one in state.sessions]
            told = set()
            for _, key, touch, visit in self._touches:
                if key not in self._renewed:
                    rows.append(_touch_row(key, touch, visit))
                    told.add(visit)
            rows += [
                _session_row(state.key, one)
                for one, state in self._sessions.items()
                if state.key not in self._renewed and one not in told
            ]
            if rows or self._links:
                visitors.write(self._ledger, session, rows, self._links)

    def kept(self) -> None:
        """The group is committed."""
        with self._lock:
            if self._forgotten or not self._is_alone:
                self._drop()
                return
            for one in self._sessions:
                one.stored, one.is_new = one.until, False
            for state, *_ in self._touches:
                if state is not None:
                    state.rows += 1
            for state in self._sessions.values():
                state.rows += 1
            for id, state in self._group_browsers.items():
                self._browsers.keep(id, state)
            for id, state in self._group_actors.items():
                self._actors.keep(id, state)
            self._begin()

    def dropped(self) -> None:
        """The group is not committed: what it found is not known."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        for id in self._group_browsers:
            self._browsers.drop(id)
        for id in (*self._group_actors, *self._others):
            self._actors.drop(id)
        self._begin()

    def forget(self) -> None:
        """No state is kept; after somebody was erased, or stored events were enriched anew."""
        with self._lock:
            self._forgotten = True
            self._browsers, self._actors = _Generation(self._keeps), _Generation(self._keeps)

    def __len__(self) -> int:
        """How many visitors are kept."""
        return len(self._browsers) + len(self._actors)


def _touch_row(key: str, touch: Touch, session: Session | None) -> TouchRow:
    return TouchRow(
        key, touch.at, session.until if session is not None else touch.at, session.id if session is not None else None, True,
        touch.is_campaign, touch.channel, touch.source, touch.medium, touch.campaign or None,
        session.landing if session is not None else None,
    )  # fmt: skip


def _session_row(key: str, session: Session) -> TouchRow:
    source, medium, campaign = session.key or (None, None, None)
    return TouchRow(
        key, session.start, session.until, session.id, False, session.key is not None, None, source, medium, campaign or None,
        session.landing,
    )  # fmt: skip


def _restore(states: dict[str, Visitor], found: visitors.Known, before: int | None) -> None:
    """States are as the rows say, taken together; sessions as they were ``before`` a moment."""
    sessions: dict[tuple[str, str], Session] = {}
    for row in sorted(found.touches, key=lambda one: (one.touched_at, one.seen_until)):
        state = states[row.visitor]
        state.rows += 1
        if row.is_touch:
            state.add(
                Touch(row.touched_at, row.source or "", row.medium or "", row.campaign or "", row.channel or "", row.is_campaign)
            )  # fmt: skip
        if row.session_id is None:
            continue
        session = sessions.get((row.visitor, row.session_id))
        if session is None:
            session = Session(row.session_id, row.touched_at, None, None)
            sessions[row.visitor, row.session_id] = session
            state.sessions.append(session)
        session.until = max(session.until, row.seen_until)
        if row.is_campaign:
            session.key, session.keyed_at = (row.source or "", row.medium or "", row.campaign or ""), row.touched_at
        session.landing = session.landing or row.landing_page
    for session in sessions.values():
        session.stored, session.unsure, session.is_new = session.until, session.until + SLACK, False
        if before is not None and session.until >= before:
            session.until, session.unsure = before - 1, 0
    for alias in found.aliases:
        states[alias.visitor].link(alias.linked_at, alias.actor_id)
