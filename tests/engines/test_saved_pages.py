"""Pages that people saved, on both engines: who finds, changes and deletes them; what goes with a person who is erased."""

from __future__ import annotations

from typing import Any

import pytest

from dayfold import Count, Rollup
from dayfold.errors import Forbidden, UnknownName, UsageError
from dayfold.ledger import holders
from dayfold.ledger.pages import Viewer
from dayfold.ledger.persons import Person
from dayfold.plan.access import EVERYTHING, Scope
from tests.engines.ground import Ground, march

ANNA = Viewer("user anna", EVERYTHING, owns=True)
BEN = Viewer("user ben", EVERYTHING, owns=True)
ADMIN = Viewer("user root", EVERYTHING, is_admin=True, owns=True)
LIMITED = Viewer("jwt", Scope.of(None, {"shop": ["1"]}))
STRANGER = Viewer("jwt", Scope.of(["Other"], {}))


def words(metric: str = "visits", **more: Any) -> dict[str, Any]:
    return {"period": "7d", "parts": [{"part": "card", "name": "a", "rollup": "Visits", "metric": metric, **more}]}


def test_pages_are_their_owners(store: Ground) -> None:
    """Unshared ones are there for the owner and administrators; shared ones for whoever may read what they show."""
    store.load("visit", "shop bigint, made timestamptz", [{"shop": 1, "made": march(1)}])
    store.define(type("Visits", (Rollup,), {"key": "shop", "visits": Count(store.table("visit"), at="made")}))
    store.fold()
    app = store.opened
    pages = app.saved_pages
    with pytest.raises(Forbidden, match="Only a person who signed in has pages"):
        pages.create(LIMITED, "Mine", "", words())
    with pytest.raises(UsageError, match="Visits has no metric 'visit'; the nearest is 'visits'"):
        pages.create(ANNA, "Mine", "", words("visit"))
    with pytest.raises(UsageError, match="has no access"):
        pages.create(ANNA, "Mine", "", {**words(), "access": "Manager"})
    number = pages.create(ANNA, " Mine ", "What  I\nsee.", words(where={"shop": "person-7"}))
    one = pages.get(number, ANNA)
    assert (one.title, one.owner, one.shared, one.description, one.may_change) == (
        "Mine", "user anna", False, "What I see.", True,
    )  # fmt: skip
    assert [each.id for each in pages.listed(ADMIN)] == [number]
    for viewer in (BEN, LIMITED, STRANGER):
        assert pages.listed(viewer) == []
        with pytest.raises(UnknownName, match="There is no such page"):
            pages.get(number, viewer)
        with pytest.raises(UnknownName):
            pages.delete(number, viewer)
    pages.share(number, ANNA, shared=True)
    for viewer in (BEN, LIMITED):
        assert [each.may_change for each in pages.listed(viewer)] == [False]
        with pytest.raises(Forbidden, match="somebody else's"):
            pages.change(number, viewer, "Theirs", "", words())
        with pytest.raises(Forbidden):
            pages.share(number, viewer, shared=False)
    with pytest.raises(UnknownName):
        pages.get(number, STRANGER)
    pages.change(number, ADMIN, "Ours", "", words(where={"shop": "person-7"}, title="Of person-7"))
    assert pages.get(number, BEN).title == "Ours"
    assert 'Card("Visits", "visits", title="Of person-7", where={"shop": "person-7"})' in pages.get(number, BEN).python
    with app.ledger.store.transaction() as session:
        holders.erase(app.ledger, session, Person(("person-7",), ()))
    assert "person-7" not in str(pages.get(number, ADMIN))
    assert pages.get(number, ADMIN).words["parts"][0]["where"] == {"shop": "erased"}
    app.accounts.add_user("anna", "four words make one", "read")
    app.accounts.remove_user("anna")
    with pytest.raises(Forbidden):
        pages.delete(number, ANNA)
    pages.delete(number, ADMIN)
    assert pages.listed(ADMIN) == []
    actions = {(note.actor, note.action) for note in app.accounts.notes() if note.action.startswith("page-")}
    assert actions == {
        ("user anna", "page-create"), ("user anna", "page-share"), ("user root", "page-change"), ("user root", "page-delete"),
    }  # fmt: skip
