"""What the audit table learns, and when."""

from __future__ import annotations

import logging

import pytest

from dayfold.errors import SourceFailed, UsageError
from dayfold.ledger.accounts import local_actor
from tests.http.doors import Doors, problem

ME = local_actor()


def test_use_of_a_token_is_noted_once_a_day_and_kind_of_path(doors: Doors) -> None:
    """The first use on a day; another kind of path and another day are noted anew, further requests are not."""
    made = doors.app.accounts.create_token("trial", "read")
    who = f"token trial ({made.id})"
    for _ in range(3):
        doors.get("/try/read", made.secret)
        doors.get("/v1/me", made.secret)
    doors.later(days=1)
    doors.get("/v1/me", made.secret)
    assert doors.notes() == [
        (ME, "token-create", f"trial ({made.id})", "ok"),
        (who, "token-use", "/try/read", "ok"),
        (who, "token-use", "/v1/me", "ok"),
        (who, "token-use", "/v1/me", "ok"),
    ]


def test_use_that_another_process_noted_is_not_noted_again(doors: Doors) -> None:
    """Replicas and restarts share the table."""
    made = doors.app.accounts.create_token("trial", "read")
    doors.app.accounts.note(f"token trial ({made.id})", "token-use", "/v1/me", "ok")
    doors.get("/v1/me", made.secret)
    assert len([one for one in doors.notes() if one[1] == "token-use"]) == 1


def test_change_is_noted_when_its_answer_comes(doors: Doors) -> None:
    """Who, what, on which target, how it ended; refused and failed ones too."""
    jobs, reader = (doors.app.accounts.create_token(kind, kind) for kind in ("jobs", "read"))
    headers = {"Authorization": f"Bearer {jobs.secret}"}
    assert doors.browser().post("/try/noted/rebuild", headers=headers).status_code == 202
    newest = doors.app.accounts.notes(1)[0]
    assert (newest.actor, newest.action, newest.target, newest.outcome, newest.at) == (
        f"token jobs ({jobs.id})", "rebuild", "Visits 2026-03-01..2026-03-02", "ok", "2026-03-12T12:00:00Z",
    )  # fmt: skip
    doors.browser().post("/try/noted/start", headers=headers)
    failed = doors.browser().post("/try/noted/fails", headers=headers)
    assert problem(failed) == (
        500, "error", "Dayfold met an error that it did not foresee: RuntimeError.", "The server's log says where.",
    )  # fmt: skip
    for _ in range(2):
        doors.browser().post("/try/noted/start", headers={"Authorization": f"Bearer {reader.secret}"})
    doors.browser().post("/try/noted/start")
    assert doors.notes()[2:] == [
        (f"token jobs ({jobs.id})", "rebuild", "Visits 2026-03-01..2026-03-02", "ok"),
        (f"token jobs ({jobs.id})", "start", "/try/noted/start", "ok"),
        (f"token jobs ({jobs.id})", "fails", "/try/noted/fails", "failed"),
        (f"token read ({reader.id})", "start", "/try/noted", "refused"),
    ]


def test_access_is_noted(doors: Doors) -> None:
    """Tokens and users that come and go, links, sign-in and sign-out; never a secret."""
    accounts = doors.app.accounts
    made = accounts.create_token("trial", "read")
    accounts.revoke_token("trial")
    accounts.add_user("anna", "four words are enough")
    accounts.set_password("anna", "four other words here")
    browser = doors.browser()
    browser.post("/sign-in", data={"name": "anna", "password": "wrong"})
    browser.post("/sign-in", data={"name": "nobody", "password": "wrong"})
    browser.post("/sign-in", data={"name": "anna", "password": "four other words here"})
    browser.post("/sign-out", headers={"X-CSRF-Token": browser.get("/v1/me").json()["csrf_token"]})
    doors.browser().get(f"/sign-in?code={accounts.make_link()}")
    accounts.remove_user("anna")
    assert doors.notes() == [
        (ME, "token-create", f"trial ({made.id})", "ok"),
        (ME, "token-revoke", f"trial ({made.id})", "ok"),
        (ME, "user-add", "anna", "ok"),
        (ME, "user-password", "anna", "ok"),
        ("user anna", "sign-in", None, "refused"),
        ("nobody", "sign-in", None, "refused"),
        ("user anna", "sign-in", "password", "ok"),
        ("user anna", "sign-out", None, "ok"),
        (ME, "link-create", None, "ok"),
        ("user first-start", "sign-in", "link", "ok"),
        (ME, "user-remove", "anna", "ok"),
    ]
    assert len(doors.stored("select id, actor, action, target, outcome from dayfold_audit where actor <> ''")) == 11


def test_work_is_noted_with_how_it_ended(door: Doors) -> None:
    """Done, refused for its words, or failed."""
    accounts = door.app.accounts
    with accounts.noted("rebuild", "Visits"):
        pass
    with pytest.raises(UsageError), accounts.noted("rebuild", "Visits"):
        raise UsageError("No.")
    with pytest.raises(SourceFailed), accounts.noted("rebuild", "Visits"):
        raise SourceFailed("No.")
    assert door.notes() == [(ME, "rebuild", "Visits", how) for how in ("ok", "refused", "failed")]


def test_administrator_reads_the_notes_page_by_page(door: Doors) -> None:
    """The newest first; nobody else may."""
    reader, admin = door.token("read", "reader"), door.token("admin", "admin")
    # From here on the use of tokens is not noted, so that the pages stand still.
    door.service.trail.close()
    for n in range(5):
        door.app.accounts.note("user anna", "export", f"part {n}", "ok")
    first = door.get("/v1/audit?limit=2", admin).json()["notes"]
    assert [one["target"] for one in first] == ["part 4", "part 3"]
    assert set(first[0]) == {"id", "at", "actor", "action", "target", "outcome"}
    second = door.get(f"/v1/audit?limit=2&before={first[-1]['id']}", admin).json()["notes"]
    assert [one["target"] for one in second] == ["part 2", "part 1"]
    assert door.get("/v1/audit", reader).status_code == 403
    for query, detail in (
        ("limit=0", "limit (query): Input should be greater than or equal to 1."),
        ("limit=1001", "limit (query): Input should be less than or equal to 1000."),
        ("before=x", "before (query): Input should be a valid integer, unable to parse string as an integer."),
    ):
        assert problem(door.get(f"/v1/audit?{query}", admin)) == (
            400, "usage", detail, "GET /openapi.json describes every parameter.",
        )  # fmt: skip


def test_audit_that_cannot_be_written_blocks_no_read(door: Doors, caplog: pytest.LogCaptureFixture) -> None:
    """The question is answered, and the log says what is missing."""
    secret = door.token("read")
    with door.app.ledger.store.transaction() as session:
        session.execute("ALTER TABLE dayfold__audit RENAME TO gone")
    with caplog.at_level(logging.ERROR):
        assert door.get("/try/read", secret).status_code == 200
        door.service.trail.close()
    assert [one.getMessage().partition(":")[0] for one in caplog.records] == ["The audit table could not be written"]


def test_closing_the_application_writes_what_waits(door: Doors) -> None:
    """The last use before the end is noted, and after it nothing touches the store any more."""
    secret = door.token("read")
    door.get("/try/read", secret)
    door.app.close()
    assert [one.action for one in door.app.accounts.notes()] == ["token-use", "token-create"]
