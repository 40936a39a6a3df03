"""Pages that people made in the browser and keep. Ledger floor.

Invariant: a page is changed by its owner and by administrators alone, and holds words only: whoever looks at it reads within their own
scope, and does not find it where they may not see all that it shows. What is done is one transaction with its note in the audit table.

Weakness: owners are names, as the audit table has them; of two changes at once the later one stays.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dayfold.define.catalog import Catalog
from dayfold.define.page import PageDef, WrittenPage
from dayfold.define.page_words import Known, as_python, checked, class_name
from dayfold.engines.base import Session
from dayfold.errors import Forbidden, Problem, UnknownName, UsageError
from dayfold.ledger import audit
from dayfold.ledger.ledger import Ledger
from dayfold.plan.access import Scope
from dayfold.plan.sql import column

#: Pages of one owner, and letters of one's words.
MOST_PAGES, MOST_LETTERS = 500, 100_000
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks.

    Attributes:
        name: As the audit table names them.
        scope: What they see, its relations looked up.
        owns: Whether pages can be theirs: a person who signed in, and no token that several may have.
    """

    name: str
    scope: Scope
    is_admin: bool = False
    owns: bool = False


@dataclass(frozen=True, slots=True)
class SavedPage:
    """A page as the store has it. Moments are ISO text in UTC.

    Attributes:
        words: As of `dayfold.define.page.WrittenPage`.
        may_change: Whether it may be changed by whom it was read for.
    """

    id: str
    title: str
    owner: str
    shared: bool
    description: str
    words: Mapping[str, Any]
    created_at: str
    updated_at: str
    may_change: bool = False

    @property
    def written(self) -> WrittenPage:
        """Its words for the checker."""
        return WrittenPage(class_name(self.title), "", self.description, {**self.words, "title": self.title})

    @property
    def python(self) -> str:
        """The source of a class that is this page."""
        one = self.written
        return as_python(one.name, one.description, one.words)


class SavedPages:
    """The verbs of saved pages.

    Args:
        ledger: Of the store.
        catalog: The definitions that words are checked against.
    """

    def __init__(self, ledger: Ledger, catalog: Catalog) -> None:
        self.ledger = ledger
        self.catalog = catalog

    def known(self, scope: Scope) -> Known:
        """The definitions that somebody may name; what they do not see is not suggested to them either."""
        funnels = {name: one for name, one in self.catalog.funnels.items() if all(map(scope.sees, one.rollups))}
        return Known(scope.visible(self.catalog), funnels, {})

    def checked(self, page: WrittenPage, scope: Scope) -> tuple[PageDef | None, list[Problem]]:
        """A page as its viewer may have it, and what is wrong with it for them."""
        if "access" in page.words:
            raise UsageError("A page that is saved has no access: it is read within the scope of whoever looks at it.")
        return checked(page, self.known(scope))

    def listed(self, viewer: Viewer) -> list[SavedPage]:
        """The viewer's own pages and the shared ones that they may see; of an administrator all. By title."""
        rows = self._read(lambda session: _rows(self.ledger, session))
        found = [self._for(viewer, one) for one in rows]
        return sorted((one for one in found if one is not None), key=lambda one: (one.title.lower(), one.id))

    def get(self, number: str, viewer: Viewer) -> SavedPage:
        """A page. Raises UnknownName, also for one that is there and not for this viewer."""
        rows = self._read(lambda session: _rows(self.ledger, session, number))
        return self._visible(rows, viewer)

    def create(
        self, viewer: Viewer, title: str, description: str, words: Mapping[str, Any], *, shared: bool = False
    ) -> str:
        """A new page of the viewer's; its id. Raises UsageError for words that do not fit, Forbidden."""
        if not viewer.owns:
            raise Forbidden("Only a person who signed in has pages.", hint="Sign in: /sign-in")
        fresh = self._fitting(viewer, title, description, words)
        number = secrets.token_hex(8)

        def create(session: Session) -> str:
            if sum(one.owner == viewer.name for one in _rows(self.ledger, session)) >= MOST_PAGES:
                raise UsageError(f"You have {MOST_PAGES} pages, which are the most that are kept.", hint="Delete some.")
            add(self.ledger, session, number, viewer.name, fresh, shared=shared)
            self._note(session, viewer, "page-create", number)
            return number

        return self._write(create)

    def change(self, number: str, viewer: Viewer, title: str, description: str, words: Mapping[str, Any]) -> None:
        """A page has other words. Raises UnknownName, Forbidden, UsageError."""
        fresh = self._fitting(viewer, title, description, words)
        self._changing(number, viewer, "page-change", lambda session: update(self.ledger, session, number, fresh))

    def share(self, number: str, viewer: Viewer, *, shared: bool) -> None:
        """A page is there for everybody who may read what it shows, or for its owner alone. Raises UnknownName, Forbidden."""
        action = "page-share" if shared else "page-unshare"
        self._changing(number, viewer, action, lambda session: set_shared(self.ledger, session, number, shared=shared))

    def delete(self, number: str, viewer: Viewer) -> None:
        """A page is gone. Raises UnknownName, Forbidden."""
        self._changing(number, viewer, "page-delete", lambda session: remove(self.ledger, session, number))

    def _changing(self, number: str, viewer: Viewer, action: str, do: Callable[[Session], object]) -> None:
        def change(session: Session) -> None:
            if not self._visible(_rows(self.ledger, session, number), viewer).may_change:
                raise Forbidden("This page is somebody else's.", hint="Save a copy of it, which is yours.")
            do(session)
            self._note(session, viewer, action, number)

        self._write(change)

    def _visible(self, rows: list[SavedPage], viewer: Viewer) -> SavedPage:
        for one in rows:
            if (found := self._for(viewer, one)) is not None:
                return found
        raise UnknownName("There is no such page.", hint="See those that there are: /pages")

    def _for(self, viewer: Viewer, one: SavedPage) -> SavedPage | None:
        """A page as a viewer has it; None where it is not there for them."""
        mine = viewer.is_admin or (viewer.owns and one.owner == viewer.name)
        if not mine and not (one.shared and self.checked(one.written, viewer.scope)[0] is not None):
            return None
        return SavedPage(
            one.id, one.title, one.owner, one.shared, one.description, one.words, one.created_at, one.updated_at, may_change=mine
        )  # fmt: skip

    def _fitting(self, viewer: Viewer, title: str, description: str, words: Mapping[str, Any]) -> _Fresh:
        """What is kept of words that fit. Raises UsageError with everything that is wrong."""
        title = title.strip()
        inner = {name: value for name, value in words.items() if name != "title"}
        page = WrittenPage(class_name(title), "", " ".join(description.split()), {**inner, "title": title})
        _, problems = self.checked(page, viewer.scope)
        if problems:
            raise UsageError(" ".join(one.message for one in problems), hint=problems[0].hint)
        text = json.dumps(inner)
        if len(text) + len(page.description) > MOST_LETTERS or "\0" in page.description:
            raise UsageError(f"A page is described by at most {MOST_LETTERS:,} letters.")
        return _Fresh(title, page.description, text)

    def _note(self, session: Session, viewer: Viewer, action: str, number: str) -> None:
        audit.note(self.ledger, session, viewer.name, action, number, audit.OK)

    def _read(self, work: Callable[[Session], Result]) -> Result:
        with self.ledger.store.transaction(read_only=True) as session:
            return work(session)

    def _write(self, work: Callable[[Session], Result]) -> Result:
        def once() -> Result:
            with self.ledger.store.transaction() as session:
                return work(session)

        return self.ledger.retried(once)


@dataclass(frozen=True, slots=True)
class _Fresh:
    """What is kept of a page."""

    title: str
    description: str
    words: str


def add(ledger: Ledger, session: Session, number: str, owner: str, fresh: _Fresh, *, shared: bool) -> None:
    """A page is there."""
    session.execute(
        ledger.sql(
            "insert into dayfold__pages (id, title, owner, shared, description, words, created_at, updated_at) values "
            "(:id, :title, :owner, :shared, :description, :words, :now::timestamptz, :now::timestamptz)",
            id=number, title=fresh.title, owner=owner, shared=shared, description=fresh.description, words=fresh.words,
            now=ledger.clock.now(),
        )
    )  # fmt: skip


def update(ledger: Ledger, session: Session, number: str, fresh: _Fresh) -> None:
    """A page has other words. Again is harmless."""
    session.rows(
        ledger.sql(
            "update dayfold__pages set title = :title, description = :description, words = :words, updated_at = :now::timestamptz "
            "where id = :id returning id",
            id=number, title=fresh.title, description=fresh.description, words=fresh.words, now=ledger.clock.now(),
        )
    )  # fmt: skip


def set_shared(ledger: Ledger, session: Session, number: str, *, shared: bool) -> None:
    """A page is shared, or not any more. Again is harmless."""
    session.rows(
        ledger.sql("update dayfold__pages set shared = :shared where id = :id returning id", id=number, shared=shared)
    )


def remove(ledger: Ledger, session: Session, number: str) -> None:
    """A page is gone. Again is harmless."""
    session.execute(ledger.sql("delete from dayfold__pages where id = :id", id=number))


def disown(ledger: Ledger, session: Session, owner: str) -> None:
    """The pages of an owner who is gone are nobody's: administrators have them, and no other one of that name."""
    session.rows(ledger.sql("update dayfold__pages set owner = '' where owner = :owner returning id", owner=owner))


def _rows(ledger: Ledger, session: Session, number: str | None = None) -> list[SavedPage]:
    """All pages, or one."""
    moment = ledger.home.dialect.piece
    query = ledger.sql(
        "select id, title, owner, shared, description, words, _created, _updated from dayfold__pages"
        + (" where id = :id" if number is not None else ""),
        _created=moment("iso_moment", _x=column("created_at")), _updated=moment("iso_moment", _x=column("updated_at")),
        **({"id": number} if number is not None else {}),
    )  # fmt: skip
    return [
        SavedPage(number, title, owner, bool(shared), description, json.loads(words), *moments)
        for number, title, owner, shared, description, words, *moments in session.rows(query)
    ]
