"""The pages of the testimonials application: cards, series and funnel of one shop from the real `dayfold serve`, on both engines."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from tests.acceptance.serving import served
from tests.examples.testimonials import EXAMPLE, METRICS, NOW, SCALE, Figures, module, totals, truth
from tests.servers import PostgresServer
from tests.sql import Session, run_sql, store_config

#: The application's own code.
reads = module("reads")
SHOP, OTHER = 7, 2
TODAY = NOW.date()
SILENT = 5
DAY = dt.timedelta(days=1)
#: The stages of the funnel, by the metric that counts each.
STORED = {
    "sent": "requests_sent",
    "clicked": "requests_clicked",
    "submitted": "submissions_count",
    "approved": "approved_count",
    "published": "published_count",
}
#: What happened since the last fold: a request on the day that goes on, with its click, and a submission of a month ago.
SINCE = (
    f"INSERT INTO testimonial_request VALUES (930000000, {SHOP}, '2026-02-05 00:10:00+00', '2026-02-05 00:20:00+00')",
    f"INSERT INTO testimonial_submission VALUES (930000000, {SHOP}, 'video', '2026-01-10 12:00:00+00', NULL, NULL, 'pending')",
)


@dataclass(frozen=True)
class Site:
    """The served example, and what is true of it.

    Attributes:
        url: Where it listens.
        tables: The application's own database.
        folded: The numbers at the last fold.
        present: The numbers now.
        tokens: Secrets, by what they are for.
    """

    url: str
    tables: str
    folded: Figures
    present: Figures
    tokens: dict[str, str]


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Folded once, with changes since; this server only answers, as beside one that runs the jobs."""
    folder = tmp_path_factory.mktemp("served")
    with ExitStack() as stack:
        url = tables = f"duckdb:///{folder}/store.duckdb"
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = tables = stack.enter_context(server.database())
        module("load").load(url, SCALE)
        for name in ("metrics.py", "dayfold.toml"):
            shutil.copy(EXAMPLE / name, folder)
        with Dayfold(folder / "metrics.py", store_config(url), clock=FixedClock(NOW)) as app:
            app.track_install()
            assert [run.status for run in app.fold()] == ["done"]
            folded = truth(url)
            tokens = {
                name: app.accounts.create_token(
                    name, "read", rollups=["TestimonialDaily"], rows=[f"shop_id={shop}"]
                ).secret
                for name, shop in (("shop", SHOP), ("silent", SILENT), ("other", OTHER))
            }
            tokens["all"] = app.accounts.create_token("all", "read").secret
            for statement in SINCE:
                run_sql(url, statement)
            present = truth(url)
        if request.param == "duckdb":
            # The server is the one process that may open its file; the application has its own.
            tables = f"duckdb:///{folder}/application.duckdb"
            shutil.copy(folder / "store.duckdb", folder / "application.duckdb")
        environment = {"DAYFOLD_STORE__URL": url, "DAYFOLD_SERVE__JOBS": "false", "DAYFOLD_NOW": NOW.isoformat()}
        running = stack.enter_context(served(cwd=folder, env=environment))
        yield Site(running.url, tables, folded, present, tokens)


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def expected(figures: Figures, first: dt.date, last: dt.date, shop: int | None = SHOP) -> dict[str, Any]:
    """The sums of a range, with the rate of the sums."""
    sums: dict[str, Any] = dict(zip(METRICS, totals(figures, first, last, shop), strict=True))
    sent = sums["requests_sent"]
    return sums | {"response_rate": sums["submissions_count"] / sent if sent else None}


@pytest.mark.parametrize(
    ("first", "last"),
    [("2026-01-01", "2026-01-31"), ("2025-01-01", "2026-02-04"), ("2025-06-10", "2025-06-20"), ("2025-06-15", "2025-06-15")],
)  # fmt: skip
def test_cards_are_the_sums_of_the_tables(site: Site, first: str, last: str) -> None:
    """Of a month, of everything, over the day without data and of that day alone; for one shop and for all of them."""
    for token, shop in (("shop", SHOP), ("silent", SILENT), ("other", OTHER), ("all", None)):
        found = reads.kpi(reads.over_http(site.url, site.tokens[token]), day(first), day(last))
        sums = expected(site.folded, day(first), day(last), shop)
        assert found == {name: sums[name] for name in reads.CARDS}, token


def test_cards_with_live_count_what_was_not_folded_yet(site: Site) -> None:
    """Until a fold, a card is what it was; asked live, it has the late row and the day that goes on."""
    ask = reads.over_http(site.url, site.tokens["shop"])
    stored, live = (reads.kpi(ask, day("2026-01-01"), TODAY, live=live) for live in (False, True))
    before, now = (expected(figures, day("2026-01-01"), TODAY) for figures in (site.folded, site.present))
    assert stored == {name: before[name] for name in reads.CARDS}
    assert live == {name: now[name] for name in reads.CARDS}
    assert live["requests_sent"] == stored["requests_sent"] + 1


def test_series_has_every_day_with_zeros_where_nothing_happened(site: Site) -> None:
    """A row for each day of the range, the day without data and the days of a silent shop among them."""
    for token, shop in (("shop", SHOP), ("silent", SILENT)):
        ask = reads.over_http(site.url, site.tokens[token])
        found = reads.series(ask, day("2025-06-01"), day("2025-08-31"), METRICS)
        days = [day("2025-06-01") + n * DAY for n in range(92)]
        assert found == [
            {"day": one, **dict(zip(METRICS, totals(site.folded, one, one, shop), strict=True))} for one in days
        ]
    assert {row["requests_sent"] for row in found} == {0}


def test_series_is_unknown_where_nothing_was_folded(site: Site) -> None:
    """Before the history and after today: None, and not zero; sums over such days are not known either."""
    ask = reads.over_http(site.url, site.tokens["shop"])
    [before, first] = reads.series(ask, day("2024-12-31"), day("2025-01-01"), ["requests_sent"])
    known = expected(site.folded, day("2025-01-01"), day("2025-01-01"))["requests_sent"]
    assert (before["requests_sent"], first["requests_sent"]) == (None, known)
    assert set(reads.kpi(ask, day("2026-02-01"), TODAY + DAY).values()) == {None}


def opened_by_hand(site: Site, shop: int, first: dt.date, last: dt.date) -> int:
    """Requests of a shop whose first opening lies in a range, row by row."""
    with Session(site.tables) as session:
        shops = dict(session.run("SELECT id, shop_id FROM testimonial_request"))
        events = session.run("SELECT request_id, \"at\" FROM testimonial_request_event WHERE type = 'opened'")
    earliest: dict[int, dt.datetime] = {}
    for request, at in events:
        earliest[request] = min(at, earliest.get(request, at))
    days = [at.astimezone(dt.UTC).date() for request, at in earliest.items() if shops.get(request) == shop]
    return sum(first <= one <= last for one in days)


def test_funnel_combines_what_is_stored_with_what_is_counted_now(site: Site) -> None:
    """Five stages of the rollup, with what came since the last fold, and one that only the application's tables know."""
    ask = reads.over_http(site.url, site.tokens["shop"])
    for first, last in ((day("2026-01-01"), TODAY), (day("2025-03-01"), day("2025-03-31"))):
        opened = reads.count_opened(lambda sql, words: run_sql(site.tables, sql, words), SHOP, first, last)
        assert opened == opened_by_hand(site, SHOP, first, last) > 50
        sums = expected(site.present, first, last)
        counts = {name: sums[metric] for name, metric in STORED.items()}
        stages = reads.funnel(ask, first, last, opened=opened)
        assert [(one.name, one.count) for one in stages] == [
            ("sent", counts.pop("sent")), ("opened", opened), *counts.items(),
        ]  # fmt: skip
        assert [one.share for one in stages] == [one.count / stages[0].count for one in stages]
        assert [one.is_live for one in stages] == [last == TODAY or one.name == "opened" for one in stages]
    stored = reads.funnel(ask, day("2026-01-01"), TODAY, live=False)
    sums = expected(site.folded, day("2026-01-01"), TODAY)
    assert [(one.name, one.count, one.is_live) for one in stored] == [
        (name, sums[metric], False) for name, metric in STORED.items()
    ]


def test_funnel_of_a_shop_with_nothing_has_no_shares(site: Site) -> None:
    """Zero of zero is not a rate."""
    stages = reads.funnel(reads.over_http(site.url, site.tokens["silent"]), day("2025-09-01"), day("2025-09-30"))
    assert {(one.count, one.share) for one in stages} == {(0, None)}


def test_token_of_a_shop_sees_its_shop_alone(site: Site) -> None:
    """Asked for another shop, or by shop, it gives its own rows; stored or live, and without a token nothing."""
    ask, everybody = (reads.over_http(site.url, site.tokens[name]) for name in ("shop", "all"))
    words = {"metrics": "requests_sent", "from": "2026-01-01", "to": "2026-01-31", "grain": "total"}
    path = "rollups/TestimonialDaily/query"
    sums = expected(site.folded, day("2026-01-01"), day("2026-01-31"))
    for live in ("0", "1"):
        by_shop = words | {"by": "shop_id", "live": live}
        assert ask(path, by_shop)["rows"] == [
            {"day": "2026-01-01", "shop_id": SHOP, "requests_sent": sums["requests_sent"]}
        ]
        assert ask(path, by_shop | {"where": f"shop_id={OTHER}"})["rows"] == []
        assert ask(path, words | {"where": f"shop_id={OTHER}", "live": live})["rows"] == [
            {"day": "2026-01-01", "requests_sent": 0}
        ]
        assert {SHOP, OTHER, None} < {row["shop_id"] for row in everybody(path, by_shop)["rows"]}
    with pytest.raises(reads.Refused) as refused:
        reads.kpi(reads.over_http(site.url, "dfk_nobody"), day("2026-01-01"), day("2026-01-31"))
    assert str(refused.value) == "The token is not known, or it has expired or was revoked. Ask for a new one."


@pytest.mark.parametrize("site", ["postgres"], indirect=True)
def test_code_of_the_readme_runs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands there, but for the server's address; it opens the application's PostgreSQL."""
    [code] = re.findall(r"```python\n(from datetime.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    monkeypatch.setitem(sys.modules, "reads", reads)
    edited = code.replace("http://localhost:8787", site.url).replace("    funnel(ask", "    found = funnel(ask")
    assert edited.count(site.url) == 1
    names: dict[str, Any] = {"token_of_shop_7": site.tokens["shop"], "database": site.tables}
    exec(edited, names)
    assert [one.name for one in names["found"]] == ["sent", "opened", "clicked", "submitted", "approved", "published"]


def test_second_reading_comes_from_memory(site: Site) -> None:
    """A page that is loaded again costs no computation."""
    address = f"{site.url}/v1/rollups/TestimonialDaily/query?metrics=approved_count&from=2025-02-01&to=2025-02-28"
    asked = urllib.request.Request(address, headers={"Authorization": f"Bearer {site.tokens['shop']}"})

    def hits() -> float:
        with urllib.request.urlopen(f"{site.url}/metrics".replace("0.0.0.0", "127.0.0.1")) as figures:
            [line] = [one for one in figures.read().decode().splitlines() if one.startswith("dayfold_cache_hits_total")]
            return float(line.split()[1])

    before, found = hits(), []
    for _ in range(2):
        with urllib.request.urlopen(asked) as answer:
            found.append(json.load(answer))
    assert found[0] == found[1]
    assert hits() == before + 1
