"""Exports over HTTP: asking, following, fetching with a signed link, deleting; and one's own."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pytest

from dayfold.http.exports import DOWNLOAD
from dayfold.ledger.audit import OK, REFUSED
from dayfold.plan.access import Scope
from tests.http.site import Site, header, problem
from tests.http.test_events import signed, site

__all__ = ["site"]
GONE = (
    404,
    "unknown-name",
    "There is no such export.",
    "GET /v1/exports lists them; they are deleted after some hours.",
)


@pytest.fixture(autouse=True)
def _folder(site: Site, tmp_path: Path) -> None:
    site.app.settings.export.folder = tmp_path / "files"


def settle(site: Site) -> None:
    """Do what waits."""
    for _ in range(10):
        site.service.scheduler.step()
        site.service.scheduler.join()


def ask(site: Site, who: dict[str, str], path: str = "/v1/exports", **asked: Any) -> Any:
    """An export that was taken on."""
    answer = site.client.post(path, headers=who, json=asked)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["href"]
    return answer.json()


def test_an_export_is_asked_for_followed_and_fetched(site: Site, tmp_path: Path) -> None:
    """Queued, then done with a link; whoever has the link has the file, without a token."""
    admin = header(site.token("admin"))
    queued = ask(site, admin, what="events", format="jsonl", personal=True, actor="anna")
    assert {name: queued[name] for name in queued if name not in ("id", "href", "asked_by", "asked_at")} == {
        "what": "events", "name": None, "format": "jsonl", "personal": True, "from": None, "to": None, "where": [],
        "filters": {"actor": "anna"}, "state": "queued", "progress": None, "error": None, "finished_at": None, "expires_at": None,
        "rows": None, "size_bytes": None, "remarks": {}, "download": None,
    }  # fmt: skip
    settle(site)
    done = site.get(queued["href"], admin).json()
    assert (done["state"], done["rows"], done["expires_at"]) == ("done", 3, "2026-03-13T12:00:00Z")
    assert re.fullmatch(
        rf"/v1/exports/{done['id']}/download\?expires=1773320400&signature=[0-9a-f]{{64}}", done["download"]
    )
    file = site.client.get(done["download"])
    assert (file.status_code, file.headers["content-type"]) == (200, "application/x-ndjson")
    assert file.headers["content-length"] == str(done["size_bytes"]) == str(len(file.content))
    assert file.headers["content-disposition"] == f'attachment; filename="dayfold-events-{done["id"][:8]}.jsonl"'
    assert (file.headers["cache-control"], file.headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert [json.loads(line)["actor_id"] for line in file.text.splitlines()] == ["anna"] * 3
    assert site.get("/v1/exports", admin).json()["exports"][0]["id"] == done["id"]
    assert site.client.delete(done["href"], headers=admin).status_code == 204
    assert problem(site.get(done["href"], admin)) == GONE
    assert problem(site.client.get(done["download"])) == GONE
    assert list((tmp_path / "files").iterdir()) == []


def test_a_link_that_is_not_ours_leads_nowhere(site: Site) -> None:
    """Whatever is changed of it, and whoever asks; anybody can send such links, so that none is noted."""
    admin = header(site.token("admin"))
    made = ask(site, admin, what="events")
    settle(site)
    link = site.get(made["href"], admin).json()["download"]
    wrong = (
        link[:-1],
        link.replace("expires=1", "expires=9"),
        link.replace(made["id"], "0" * 32),
        f"{link[:-64]}{'é' * 64}",
    )
    for one in wrong:
        for who in (None, admin):
            assert problem(site.client.get(one, headers=who)) == (
                403, "forbidden", "The link is not right, or has expired.", "GET /v1/exports/{id} gives a new one.",
            )  # fmt: skip
    assert problem(site.client.get(link.partition("?")[0]))[0] == 400
    site.app.clock.instant += dt.timedelta(hours=2)  # type: ignore[attr-defined]
    assert problem(site.client.get(link))[0] == 403
    site.service.trail.close()
    assert [one for one in site.app.accounts.notes(100) if one.action == DOWNLOAD] == []


def test_who_asked_and_who_fetched_is_noted(site: Site) -> None:
    """Never whom it is about."""
    admin = header(site.token("admin"))
    made = ask(site, admin, what="actor", name="anna", personal=True)
    settle(site)
    site.client.get(site.get(made["href"], admin).json()["download"])
    site.client.delete(made["href"], headers=admin)
    site.client.post("/v1/exports", headers=site.reader(), json={"what": "events"})
    site.service.trail.close()
    notes = [one for one in site.app.accounts.notes(100) if one.action.startswith("export")]
    assert [(one.action, one.target, one.outcome) for one in reversed(notes)] == [
        ("export", "actor csv", OK),
        (DOWNLOAD, f"actor csv of {made['asked_by']}", OK),
        ("export-delete", made["href"], OK),
        ("export", "/v1/exports", REFUSED),
    ]
    assert "anna" not in str(site.app.accounts.notes(100))
    assert "anna" not in site.get("/v1/runs", admin).text


def test_raw_events_are_not_for_every_reader(site: Site) -> None:
    """A rollup is, within the scope; raw events with the right to them, personal data with that to see them."""
    plain, limited = site.reader(), site.reader({"shop_id": ["42"]})
    told = (
        403, "forbidden", "Raw events are exported by administrators, and with tokens that were given it.",
        "Make a token that may: dayfold token create NAME --kind read --events",
    )  # fmt: skip
    for who in (plain, limited, signed(shop=42)):
        for body in ({"what": "events"}, {"what": "actor", "name": "anna"}):
            assert problem(site.client.post("/v1/exports", headers=who, json=body)) == told
    given = header(site.token("read", Scope.of(None, {"shop_id": ["42"]}, events=True)))
    assert problem(site.client.post("/v1/exports", headers=given, json={"what": "events", "personal": True}))[2] == (
        "Personal data are exported with the right to see them."
    )
    made = [
        ask(site, given, what="events", format="jsonl"),
        ask(site, limited, what="rollup", name="ShopDaily", format="jsonl"),
    ]
    site.app.fold()
    settle(site)
    for one, who in zip(made, (given, limited), strict=True):
        file = site.client.get(site.get(one["href"], who).json()["download"])
        assert {json.loads(line)["shop_id"] for line in file.text.splitlines()} == {42}
    assert problem(
        site.client.post("/v1/exports", headers=site.reader(rollups=[]), json={"what": "rollup", "name": "ShopDaily"})
    )[:3] == (404, "unknown-name", "There is no rollup 'ShopDaily'.")
    assert (
        site.client.post("/v1/exports", headers=header(site.token("jobs")), json={"what": "events"}).status_code == 403
    )


def test_exports_are_seen_by_who_asked_and_administrators(site: Site) -> None:
    """Another token of the same scope, and a signed token of another scope, find nothing."""
    one, other, admin = site.reader(), site.reader(), header(site.token("admin"))
    made = ask(site, one, what="rollup", name="ShopDaily")
    mine = ask(site, signed(shop=42), what="rollup", name="ShopDaily")
    for who in (other, signed(shop=42), header(site.token("read"))):
        assert problem(site.get(made["href"], who)) == GONE
        assert problem(site.client.delete(made["href"], headers=who)) == GONE
    assert problem(site.get(mine["href"], signed(shop=43))) == GONE
    assert site.get(mine["href"], signed(shop=42)).status_code == 200
    assert [one["id"] for one in site.get("/v1/exports", one).json()["exports"]] == [made["id"]]
    assert {one["id"] for one in site.get("/v1/exports", admin).json()["exports"]} == {made["id"], mine["id"]}


def test_words_are_checked_before_anything_is_queued(site: Site) -> None:
    """As problems."""
    admin = header(site.token("admin"))

    def refused(**body: Any) -> tuple[int, str, str, str]:
        return problem(site.client.post("/v1/exports", headers=admin, json=body))

    assert refused(what="rollup", name="ShopDayly")[:3] == (
        404, "unknown-name", "There is no rollup 'ShopDayly'; the nearest is 'ShopDaily'.",
    )  # fmt: skip
    assert refused(what="events", entity_id="1")[2] == "entity_id is an id of some type; entity_type is missing."
    assert refused(what="events", **{"from": "2026-03-02", "to": "2026-03-01"})[1] == "bad-date"
    assert refused(what="everything")[1] == "usage"
    assert refused(what="events", actors="x")[1] == "usage"
    assert problem(site.client.post("/v1/jobs/export/trigger", headers=admin, json={})) == (
        400, "usage", "An export is of something that was asked for.", "Ask for it with POST /v1/exports.",
    )  # fmt: skip
    assert site.get("/v1/exports", admin).json() == {"exports": []}


def test_only_so_many_wait_at_once(site: Site) -> None:
    """Of each who asks; a job that is stopped takes none on."""
    one = site.reader()
    for _ in range(10):
        ask(site, one, what="rollup", name="ShopDaily")
    again = site.client.post("/v1/exports", headers=one, json={"what": "rollup", "name": "ShopDaily"})
    assert problem(again) == (
        429,
        "too-many",
        "10 exports of yours wait already.",
        "Wait for one of them, or delete one.",
    )
    assert again.headers["retry-after"] == "60"
    admin = header(site.token("admin"))
    ask(site, admin, what="rollup", name="ShopDaily")
    site.client.post("/v1/jobs/export/stop", headers=admin)
    assert site.get("/v1/exports", one).json()["exports"][0]["state"] == "stopped"
    assert problem(site.client.post("/v1/exports", headers=admin, json={"what": "rollup", "name": "ShopDaily"}))[:2] == (
        409, "stopped",
    )  # fmt: skip
    assert len(site.get("/v1/exports", admin).json()["exports"]) == 11


def test_why_an_export_failed_is_for_administrators(site: Site, tmp_path: Path) -> None:
    """Others learn that it did."""
    (tmp_path / "files").write_text("in the way")
    site.app.settings.jobs.attempts = 1
    one, admin = site.reader(), header(site.token("admin"))
    made = ask(site, one, what="rollup", name="ShopDaily")
    settle(site)
    told = site.get(made["href"], one).json()
    assert (told["state"], told["download"]) == ("failed", None)
    assert told["error"] == "It could not be written; who runs the service sees why."
    assert site.get(made["href"], admin).json()["error"].startswith("An export's file cannot be written or deleted: ")


def test_a_person_exports_what_is_known_of_them(site: Site) -> None:
    """All of theirs, personal data too, whatever else their token claims; nobody else finds it."""
    made = ask(site, signed(sub="anna"), "/v1/me/exports", format="jsonl")
    assert (made["what"], made["name"], made["href"]) == ("actor", "anna", f"/v1/me/exports/{made['id']}")
    settle(site)
    done = site.get(made["href"], signed(sub="anna", shop=1)).json()
    found = [json.loads(line) for line in site.client.get(done["download"]).text.splitlines()]
    assert [(one["kind"], one["actor_id"], one["session_id"]) for one in found] == [
        ("event", "anna", "s1"), ("event", "anna", "s3"), ("event", "anna", "s5"), ("event", None, None),
    ]  # fmt: skip
    assert problem(site.get(made["href"], signed(sub="ben"))) == GONE
    assert problem(site.get(f"/v1/exports/{made['id']}", site.reader())) == GONE
    assert site.get("/v1/me/exports", signed(sub="ben")).json() == {"exports": []}
    assert problem(site.client.delete(made["href"], headers=signed(sub="ben"))) == GONE
    assert problem(site.client.post("/v1/me/exports", headers=signed(sub="ben"), json={"name": "anna"}))[1] == "usage"
    for kind in ("admin", "read"):
        assert site.client.post("/v1/me/exports", headers=header(site.token(kind)), json={}).status_code == 403
    assert site.client.delete(made["href"], headers=signed(sub="anna")).status_code == 204
    assert site.get("/v1/me/exports", signed(sub="anna")).json() == {"exports": []}
