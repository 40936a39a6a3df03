"""The page of counters: every number is that of the law, today's and the greatest keys with what is pending."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from tests.dashboard.test_events import Visitor, cells
from tests.engines.ground import NOW, Ground
from tests.http.site import header
from tests.http.test_count import ApiKeyUsage, Level, Tallying


@pytest.fixture
def tallying(store: Ground) -> Iterator[Tallying]:
    """Counters, on each engine."""
    with Tallying(store) as found:
        yield found


def add(tallying: Tallying, key: str, total: int, day: dt.datetime = NOW) -> None:
    """So many good requests of a key."""
    body = {
        "counter": "api_key_usage",
        "key": {"api_key_id": key},
        "owner": f"<{key}>",
        "add": {"total": total, "good": total},
    }
    assert tallying.post({**body, "at": day.isoformat()}).status_code == 200


def test_acknowledged_is_applied_and_pending_in_one_moment(tallying: Tallying) -> None:
    """Before and after a flush, with a row that is held; nobody but an administrator sees it."""
    site = tallying.site
    admin = Visitor(site, tallying.admin)
    assert "Nothing was counted yet" in admin.page("/counters")
    add(tallying, "k1", 1000, NOW - dt.timedelta(days=1))
    add(tallying, "k2", 20)
    tallying.app.counters.flush()
    add(tallying, "k2", 3)
    add(tallying, "k1", 7)
    page = admin.page("/counters")
    law = cells(page, "Every total of api_key_usage")
    assert law == [
        ["total", "30", "1,030", "1,020", "10", "0", "0", "0"], ["good", "30", "1,030", "1,020", "10", "0", "0", "0"],
        ["bad", "0", "0", "0", "0", "0", "0", "0"],
    ]  # fmt: skip
    assert cells(page, "Keys of api_key_usage") == [
        ["k1", "<k1>", "1,007", "1,007", "0"],
        ["k2", "<k2>", "23", "23", "0"],
    ]
    assert "2</data> with something pending" in page
    assert "all accounted for" in page
    tallying.app.counters.flush()
    part = admin.page("/counters/live")
    assert "<html" not in part
    assert cells(part, "Every total of api_key_usage")[0][1:5] == ["30", "1,030", "1,030", "0"]
    assert "with something pending" not in part
    for kind in ("read", "jobs"):
        visitor = Visitor(site, header(site.token(kind)))
        assert visitor.client.get("/counters").status_code == 403
    assert 'href="/counters"' not in Visitor(site, header(site.token("read"))).page("/")


def test_what_is_lost_is_said(duck: Ground) -> None:
    """What was applied and is gone from the table is missing, in words and as a number."""
    with Tallying(duck) as tallying:
        add(tallying, "k1", 5)
        tallying.app.counters.flush()
        ledger = tallying.app.ledger
        [counter] = tallying.app.counters.defined([ApiKeyUsage])
        with ledger.store.transaction() as session:
            session.execute(f"update {counter.counted.label} set total = 3, good = 3")
        page = Visitor(tallying.site, tallying.admin).page("/counters")
        assert "something is missing" in page
        assert cells(page, "Every total of api_key_usage")[0][-1] == "2"
        assert Level.__doc__ in page
