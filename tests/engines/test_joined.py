"""A source over a join: a change of any table it reads leads to the cells of the joined rows, before and after it."""

from __future__ import annotations

from typing import Any

import pytest

from dayfold import Count, Distinct, Read, Rollup, Sum, Table
from dayfold.errors import DefinitionError
from tests.engines.ground import Ground, march

pytestmark = pytest.mark.triggers
CLICKS = (
    "select r.id as request_id, r.shop_id, coalesce(r.clicked_at, min(e.at_)) as clicked_at "
    "from request as r left join request_event as e on e.request_id = r.id and e.type = 'click' "
    "group by r.id, r.shop_id, r.clicked_at"
)
BOOKINGS = (
    "select b.id, coalesce(c.merged_into, c.id) as customer_id, b.amount, b.start_at "
    "from booking as b join customer as c on c.id = b.customer_id"
)


def changed(ground: Ground) -> tuple[int, int]:
    """Fold: the cells computed and the rows written."""
    [run] = ground.fold()
    assert run.warnings == []
    return run.cells, run.rows_inserted + run.rows_updated + run.rows_deleted


@pytest.fixture(params=["derived", "said"])
def clicks(request: pytest.FixtureRequest, store: Ground) -> Ground:
    """Requests, some of whose clicks are held by an event only."""
    store.load(
        "request",
        "id bigint primary key, shop_id bigint, clicked_at timestamptz",
        [{"id": n, "shop_id": n % 3, "clicked_at": march(n) if n % 2 else None} for n in range(1, 9)],
    )
    store.load(
        "request_event",
        "request_id bigint, type text, at_ timestamptz, payload json",
        [{"request_id": 2, "type": "click", "at_": march(2), "payload": "{}"}],
    )
    said = [Read("request", on={"id": "request_id"}), Read("request_event", on={"request_id": "request_id"})]
    reads = said if request.param == "said" else ["request", "request_event"]
    source = Table(sql=CLICKS, reads=reads, changes="trigger", database=store.pairing.database)
    store.define(
        type("Clicked", (Rollup,), {"key": "shop_id", "clicked": Distinct(source, "request_id", at="clicked_at")})
    )
    store.opened.track_install()
    store.fold()
    return store


def clicked(ground: Ground) -> Any:
    return ground.stored("SELECT shop_id, day, clicked FROM clicked ORDER BY 1, 2")


def truth(ground: Ground) -> Any:
    return ground.source(
        f"SELECT shop_id, CAST(clicked_at AT TIME ZONE 'UTC' AS DATE), count(DISTINCT request_id) FROM ({CLICKS}) AS s "
        "WHERE NOT clicked_at IS NULL GROUP BY 1, 2 ORDER BY 1, 2"
    )


def event(request: int, day: int) -> dict[str, Any]:
    return {"request_id": request, "type": "click", "at_": march(day), "payload": '{"a": 1}'}


def test_click_held_only_in_an_event_is_one_cell(clicks: Ground) -> None:
    """A click that arrives in the event table counts on its day, for the shop of its request."""
    assert clicked(clicks) == truth(clicks)
    clicks.insert("request_event", [event(4, 6)])
    assert changed(clicks) == (1, 1)
    assert clicked(clicks) == truth(clicks)
    assert changed(clicks) == (0, 0)


def test_earlier_click_moves_the_request_to_its_day(clicks: Ground) -> None:
    """Both the day it was counted on and the day it belongs to are folded."""
    clicks.insert("request_event", [event(4, 6)])
    clicks.fold()
    clicks.insert("request_event", [event(4, 5)])
    assert changed(clicks) == (2, 2)
    assert clicked(clicks) == truth(clicks)


def test_event_deleted_moved_or_given_to_another_request(clicks: Ground) -> None:
    """Each leaves no count behind."""
    clicks.insert("request_event", [event(4, 6), event(6, 7), event(8, 8)])
    clicks.fold()
    for change in (
        "DELETE FROM request_event WHERE request_id = 4",
        "UPDATE request_event SET at_ = TIMESTAMPTZ '2026-03-09 01:00:00+00' WHERE request_id = 6",
        "UPDATE request_event SET request_id = 4 WHERE request_id = 8",
        "UPDATE request_event SET type = 'view' WHERE request_id = 6",
    ):
        clicks.source(change)
        changed(clicks)
        assert clicked(clicks) == truth(clicks), change


def test_change_of_the_request_itself(clicks: Ground) -> None:
    """Its shop, its own click, and its end."""
    for change in (
        "UPDATE request SET shop_id = 7 WHERE id = 2",
        "UPDATE request SET clicked_at = TIMESTAMPTZ '2026-03-10 01:00:00+00' WHERE id = 2",
        "DELETE FROM request WHERE id = 2",
        "DELETE FROM request WHERE id = 3",
    ):
        clicks.source(change)
        assert changed(clicks)[0] <= 2, change
        assert clicked(clicks) == truth(clicks), change


@pytest.mark.parametrize("key", ["", " primary key"], ids=["no primary key", "primary key"])
def test_merged_customer_moves_all_their_bookings(store: Ground, key: str) -> None:
    """The cells of the customer who goes, and of the one who stays; no others."""
    store.load("customer", f"id bigint{key}, merged_into bigint", [{"id": n, "merged_into": None} for n in range(1, 5)])
    bookings = [{"id": n, "customer_id": n % 4 + 1, "amount": n, "start_at": march(n % 5 + 1)} for n in range(40)]
    store.load("booking", "id bigint, customer_id bigint, amount bigint, start_at timestamptz", bookings)
    source = Table(
        sql=BOOKINGS,
        changes="trigger",
        database=store.pairing.database,
        reads=[Read("customer", on={"id": "customer_id"}), "booking"],
    )
    # A merged customer's rows stand under another id, so the customer table leads by the booking's own column.
    source = Table(
        sql=BOOKINGS.replace("select ", "select b.customer_id as booked_by, "),
        changes="trigger",
        database=store.pairing.database,
        reads=["customer", "booking"],
    )
    metrics = {"bookings": Count(source, at="start_at"), "spent": Sum(source, "amount", at="start_at")}
    store.define(type("Spending", (Rollup,), {"key": "customer_id", **metrics}))
    store.opened.track_install()
    store.fold()

    def stored() -> Any:
        return store.stored("SELECT customer_id, day, bookings, spent FROM spending ORDER BY 1, 2")

    def right() -> Any:
        return store.source(
            "SELECT customer_id, CAST(start_at AT TIME ZONE 'UTC' AS DATE), count(*), CAST(sum(amount) AS BIGINT) "
            f"FROM ({BOOKINGS}) AS s GROUP BY 1, 2 ORDER BY 1, 2"
        )

    assert stored() == right()
    store.source("UPDATE customer SET merged_into = 2 WHERE id = 1")
    mine = {row["start_at"].date() for row in bookings if row["customer_id"] == 1}
    cells, _ = changed(store)
    assert cells == 2 * len(mine)
    assert stored() == right()
    store.source("UPDATE customer SET merged_into = 3 WHERE id = 1")
    changed(store)
    assert stored() == right()
    store.source("DELETE FROM customer WHERE id = 3")
    changed(store)
    assert stored() == right()


def test_link_that_cannot_be_derived_is_a_definition_error(store: Ground) -> None:
    """The error names what to write, or to leave changes out."""
    store.load("booking", "id bigint, customer_id bigint, start_at timestamptz", [])
    text = "select s.n, s.start_at from (select count(*) as n, min(start_at) as start_at from booking) as s"
    source = Table(sql=text, reads=["booking"], changes="trigger", database=store.pairing.database)
    store.define(type("Few", (Rollup,), {"few": Count(source, at="start_at")}))
    with pytest.raises(DefinitionError) as refused:
        store.opened.fold()
    [problem] = refused.value.problems
    assert problem.code == "unknown-link"
    assert problem.message == (
        "how 'booking' leads to the rows of the query cannot be derived: it is not one of the tables that it selects from."
    )
    assert 'Read("booking", on={"column of booking": "column of the query"})' in problem.hint


def test_rows_that_go_with_a_deleted_row_are_not_lost(postgres_url: str) -> None:
    """ON DELETE CASCADE: each trigger sees both tables' rows gone, and every cell is looked at again."""
    from tests.conftest import Pairing

    with Ground(Pairing("postgres-same", postgres_url, postgres_url)) as ground:
        ground.source("CREATE TABLE request (id bigint PRIMARY KEY, shop_id bigint, clicked_at timestamptz)")
        ground.source(
            "CREATE TABLE request_event (request_id bigint REFERENCES request ON DELETE CASCADE, type text, at_ timestamptz)"
        )
        ground.insert("request", [{"id": n, "shop_id": n % 3, "clicked_at": None} for n in range(1, 9)])
        ground.source(
            "INSERT INTO request_event SELECT id, 'click', TIMESTAMPTZ '2026-03-01 12:00+00' + id * interval '1 day' FROM request"
        )
        source = Table(
            sql=CLICKS, reads=["request", "request_event"], changes="trigger", database=ground.pairing.database
        )
        ground.define(
            type("Clicked", (Rollup,), {"key": "shop_id", "clicked": Distinct(source, "request_id", at="clicked_at")})
        )
        ground.opened.track_install()
        ground.fold()
        ground.source("DELETE FROM request WHERE id = 4")
        changed(ground)
        assert clicked(ground) == truth(ground)
        ground.source("DELETE FROM request_event WHERE request_id = 5")
        assert changed(ground)[0] == 1
        assert clicked(ground) == truth(ground)
