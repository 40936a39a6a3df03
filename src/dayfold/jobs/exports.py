"""Exports that somebody asked for: written by a job, kept for some hours, fetched with a signed link. Jobs floor.

Weakness: a file stays for some time after its hours, until exports are looked at again or `retain` runs; nobody gets it meanwhile.
A link is good for whoever has it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dayfold.define.catalog import Catalog
from dayfold.errors import Forbidden, TooMany, UnknownName
from dayfold.jobs.shelf import Shelf
from dayfold.ledger import exports as ledger_exports
from dayfold.ledger import jobs as ledger_jobs
from dayfold.ledger.exports import EVENTS, ExportRow
from dayfold.ledger.jobs import QUEUED
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.runs import DONE, FAILED, INTERRUPTED
from dayfold.plan.access import Scope
from dayfold.plan.exports import ExportAsked
from dayfold.query.exports import Progress, export
from dayfold.settings import ExportSettings

#: Exports of one owner that may wait at once.
MOST_WAITING = 10
#: Bytes of a file that are sent at once.
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ExportView:
    """An export as it stands.

    Attributes:
        state: ``queued``, ``running``, ``done``, or how the run that should have written it ended.
        progress: While it runs: ``days_done`` of ``days``.
        error: Why there is no file.
    """

    row: ExportRow
    state: str
    progress: dict[str, Any] | None
    error: str | None


class Exports:
    """The exports of one application.

    Args:
        ledger: Of the store.
        catalog: The definitions.
        settings: ``[export]``.
        base: The folder of dayfold.toml.
        today: The present UTC day.
    """

    def __init__(self, ledger: Ledger, catalog: Catalog, settings: ExportSettings, base: Path, today: dt.date) -> None:
        self.ledger = ledger
        self.catalog = catalog
        self.settings = settings
        self.base = base
        self.today = today

    @property
    def shelf(self) -> Shelf:
        """Where the files are."""
        return Shelf.of(self.settings.folder, self.settings.s3, self.base, self.ledger.store.address)

    # -- asking ----------------------------------------------------------------------------------

    def ask(
        self, asked: ExportAsked, scope: Scope, owner: str, asked_by: str, queue: Callable[[dict[str, Any]], int]
    ) -> ExportView:
        """An export is written as soon as the job comes to it.

        Args:
            asked: What is exported.
            scope: What its asker may see, the relations looked up; the export holds no more.
            owner: Who may see it: `owner_of`.
            asked_by: Who asks, for the record.
            queue: Queues the run of a request, and gives its number.

        Raises:
            TooMany: where many of the owner wait already; Stopped: where the job is stopped.
        """
        self.tidy()
        waiting = [one for one in self.listed(owner) if one.state in ledger_jobs.ACTIVE]
        if len(waiting) >= MOST_WAITING:
            raise TooMany(
                f"{len(waiting)} exports of yours wait already.",
                retry_after_s=60,
                hint="Wait for one of them, or delete one.",
            )
        number = secrets.token_hex(16)
        file = f"{number}.{asked.form}"
        self._write(
            lambda session: ledger_exports.add(self.ledger, session, number, asked, scope, owner, asked_by, file)
        )
        try:
            run_id = queue({"export": number})
        except BaseException:
            self._write(lambda session: ledger_exports.remove(self.ledger, session, number))
            raise
        self._write(lambda session: ledger_exports.begun(self.ledger, session, number, run_id))
        return self.one(number)

    def work(self, number: str, progress: Progress, stop: Callable[[], object]) -> dict[str, Any]:
        """An export's file is there; how many rows and bytes it has. Again writes it anew.

        Raises:
            UnknownName: where it was deleted, also in the middle; Stopped.
        """
        began = time.perf_counter()
        row = self._row(number)
        shelf, looked = self.shelf, time.monotonic()

        def check() -> None:
            nonlocal looked
            stop()
            if time.monotonic() - looked > 1:
                looked = time.monotonic()
                self._row(number)

        with shelf.writing(row.file) as stream:
            done = export(
                self.ledger, self.catalog, self.today, row.asked, row.scope, stream, progress=progress, check=check
            )
            check()
        size = shelf.size(row.file)
        until = self.ledger.clock.now() + dt.timedelta(hours=self.settings.keep_hours)
        if not self._write(
            lambda session: ledger_exports.finish(self.ledger, session, number, until, size, done.rows, done.remarks())
        ):
            shelf.remove(row.file)
            raise _gone()
        return {"rows": done.rows, "size_bytes": size, "seconds": round(time.perf_counter() - began, 3)}

    # -- looking ---------------------------------------------------------------------------------

    def listed(self, owner: str | None = None) -> list[ExportView]:
        """The exports of an owner, or of all, the newest first."""
        self.tidy()
        with self.ledger.store.transaction(read_only=True) as session:
            rows = ledger_exports.listed(self.ledger, session, owner=owner)
            return [self._view(session, one) for one in rows]

    def one(self, number: str, owner: str | None = None) -> ExportView:
        """One export, of an owner or of anybody. Raises UnknownName."""
        row = self._row(number, owner)
        with self.ledger.store.transaction(read_only=True) as session:
            return self._view(session, row)

    def _row(self, number: str, owner: str | None = None) -> ExportRow:
        with self.ledger.store.transaction(read_only=True) as session:
            found = ledger_exports.listed(self.ledger, session, number=number, owner=owner)
        if not found or _is_over(found[0], self.ledger.clock.now()):
            raise _gone()
        return found[0]

    def _view(self, session: Any, row: ExportRow) -> ExportView:
        if row.finished_at is not None:
            return ExportView(row, DONE, None, None)
        run = ledger_jobs.run(self.ledger, session, row.run_id) if row.run_id is not None else None
        if run is None:
            return ExportView(row, QUEUED if row.run_id is None else FAILED, None, None)
        told = {name: value for name, value in (run.progress or {}).items() if name in ("days_done", "days")}
        state = run.status
        if state == INTERRUPTED:
            # Another run goes on with it, under a number of its own.
            others = ledger_jobs.active(self.ledger, session, run.job)
            state = next((one.status for one in others if one.request == run.request), FAILED)
        return ExportView(row, state, told or None, run.error)

    # -- deleting --------------------------------------------------------------------------------

    def remove(self, number: str, owner: str | None = None) -> None:
        """An export and its file are gone; one that is being written ends. Raises UnknownName."""
        self._remove(self._row(number, owner))

    def _remove(self, row: ExportRow) -> None:
        # The file first: what cannot be deleted must be found again.
        self.shelf.remove(row.file)
        self._write(lambda session: ledger_exports.remove(self.ledger, session, row.id))

    def erase(self, rollups: Sequence[str] = (), naming: Sequence[str] = ()) -> list[str]:
        """Every export that may hold raw events is gone, with its file; their numbers.

        One that is being written ends without leaving a file. What somebody has fetched, or had written with `dayfold export`, is
        theirs and not found.

        Args:
            rollups: Exports of these go too.
            naming: And those that were asked for, or are limited, by one of these texts, such as the ids of a person.
        """
        holds = {EVENTS, *(f"rollup:{name}" for name in rollups)}
        with self.ledger.store.transaction(read_only=True) as session:
            found = [
                one
                for one in ledger_exports.listed(self.ledger, session)
                if one.holds in holds or any(text in word for text in naming for word in _words(one))
            ]
        for row in found:
            self._remove(row)
        return [row.id for row in found]

    def tidy(self) -> int:
        """Exports that are past their time are gone, and so are those that were never finished; how many went."""
        now = self.ledger.clock.now()
        with self.ledger.store.transaction(read_only=True) as session:
            found = [one for one in ledger_exports.listed(self.ledger, session) if _is_over(one, now)]
            late = dt.timedelta(hours=self.settings.keep_hours)
            found += [
                one
                for one in ledger_exports.listed(self.ledger, session)
                if one.finished_at is None and now - one.asked_at > late and not self._is_active(session, one)
            ]
        for row in found:
            self._remove(row)
        return len(found)

    def _is_active(self, session: Any, row: ExportRow) -> bool:
        return self._view(session, row).state in ledger_jobs.ACTIVE

    def _write(self, work: Callable[[Any], Any]) -> Any:
        def once() -> Any:
            with self.ledger.store.transaction() as session:
                return work(session)

        return self.ledger.retried(once)

    # -- fetching --------------------------------------------------------------------------------

    def link(self, row: ExportRow) -> tuple[int, str]:
        """Until when a file may be fetched with a link that is made now, in seconds since 1970, and the link's signature."""
        now = self.ledger.clock.now()
        ends = now + dt.timedelta(minutes=self.settings.link_minutes)
        until = int(min(ends, row.expires_at or ends).timestamp())
        return until, self._signature(row.id, until)

    def fetched(self, number: str, expires: int, signature: str) -> tuple[ExportRow, Iterator[bytes]]:
        """An export's file, piece by piece, for whoever has a link.

        Raises:
            Forbidden: where the link is not ours or has expired; UnknownName: where the export is gone.
        """
        right, given = self._signature(number, expires).encode(), signature.encode("utf-8", "surrogatepass")
        is_late = expires < self.ledger.clock.now().timestamp()
        if not hmac.compare_digest(right, given) or is_late:
            raise Forbidden("The link is not right, or has expired.", hint="GET /v1/exports/{id} gives a new one.")
        row = self._row(number)
        stream = self.shelf.open(row.file)

        def pieces() -> Iterator[bytes]:
            with stream:
                while piece := stream.read(_PIECE_BYTES):
                    yield piece

        return row, pieces()

    def _signature(self, number: str, expires: int) -> str:
        with self.ledger.store.transaction(read_only=True) as session:
            key = hmac.digest(self.ledger.store_key(session).encode(), b"links to exports", "sha256")
        return hmac.new(key, f"{number}\n{expires}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def owner_of(name: str, scope: Scope, subject: str | None = None) -> str:
    """Whose an export is: of somebody with a name and what they see, or of an actor; it tells neither.

    >>> owner_of("jwt", Scope(), "anna") == owner_of("jwt", Scope(), "anna"), owner_of("jwt", Scope(), "ben") == owner_of("jwt", Scope())
    (True, False)
    """
    words = f"actor\n{subject}" if subject is not None else f"caller\n{name}\n{scope.mark}"
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()


def _words(row: ExportRow) -> list[str]:
    """What an export was asked for by, and what its scope is limited to."""
    limits = [value for _, values in row.scope.rows for value in values if value is not None]
    return [row.asked.name or "", *row.asked.where, *row.asked.filters.values(), *limits]


def _is_over(row: ExportRow, now: dt.datetime) -> bool:
    return row.expires_at is not None and row.expires_at <= now


def _gone() -> UnknownName:
    return UnknownName(
        "There is no such export.", hint="GET /v1/exports lists them; they are deleted after some hours."
    )
