"""Leases: two runs never fold one rollup at once, and a holder that was paused cannot publish. Ledger floor.

The lease is renewed often, by its own short transactions. The fence is another row, changed only when the lease
is taken over; a publishing transaction locks it first and compares, so renewals disturb no publication.
Lease times are the database's own, so machines need not agree about the time.

Weakness: behind a transaction pooler the recorded connection may end while its holder lives; the lease is then taken
over early, and the holder is refused by the fence.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlglot import exp

from dayfold.engines.base import Session
from dayfold.errors import Busy, Conflict, DayfoldError, LeaseLost, StoreError
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import sql

LEASE_SECONDS = 30
_POLL_SECONDS = 0.2
_FAILED = {"action": "lease-failed"}
_log = logging.getLogger("dayfold.ledger")
#: Tells this process from any other, also from an earlier one with the same number.
PROCESS = secrets.token_hex(4)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to publish a rollup, until it is lost."""

    rollup: str
    holder: str
    token: int


def holder_name() -> str:
    """Who holds one lease, as others see it: host, process and a mark that no other lease has."""
    return f"{socket.gethostname()} process {os.getpid()} ({secrets.token_hex(4)})"


@contextmanager
def lease(ledger: Ledger, rollup: str, *, wait_s: float, lease_s: float = LEASE_SECONDS) -> Iterator[Lease]:
    """Hold a rollup's lease inside the block, renewing it in the background.

    Raises:
        Busy: when another run still holds it after ``wait_s`` seconds.
    """
    held = _acquire_within(ledger, rollup, wait_s, lease_s)
    stop = threading.Event()
    renewer = threading.Thread(
        target=_renew, args=(ledger, held, lease_s, stop), name=f"lease of {rollup}", daemon=True
    )
    renewer.start()
    try:
        yield held
    finally:
        stop.set()
        renewer.join()
        with contextlib.suppress(DayfoldError):
            _release(ledger, held)


def fence(ledger: Ledger, session: Session, held: Lease) -> None:
    """Lock the fence for this transaction and check that it is still ours.

    Raises:
        LeaseLost: when another run took the rollup over.
        Conflict: when the row was written and the token is still ours; the transaction may be tried again.
    """
    lock = (
        "select token from dayfold__fences where rollup = :rollup for no key update"
        if ledger.home.dialect.name == "postgres"
        # DuckDB finds conflicts between writers, not readers: writing the row is its lock.
        else "update dayfold__fences set token = token where rollup = :rollup returning token"
    )
    try:
        token = session.rows(ledger.sql(lock, rollup=held.rollup))
    except StoreError as error:
        if isinstance(error, Conflict) and _token(ledger, held.rollup) == held.token:
            raise
        raise _lost(held) from error
    if not token or token[0][0] != held.token:
        raise _lost(held)


def _token(ledger: Ledger, rollup: str) -> int | None:
    """The token as it is now, past any snapshot."""
    with ledger.store.transaction(read_only=True) as session:
        found = session.rows(ledger.sql("select token from dayfold__fences where rollup = :rollup", rollup=rollup))
    return int(found[0][0]) if found else None


def _lost(held: Lease) -> LeaseLost:
    return LeaseLost(
        f"The lease of {held.rollup} was taken over by another run while this one was paused.",
        hint="Nothing more was published by this run; the other one goes on.",
    )


def _acquire_within(ledger: Ledger, rollup: str, wait_s: float, lease_s: float) -> Lease:
    give_up = time.monotonic() + wait_s
    while True:
        try:
            taken = _acquire(ledger, rollup, lease_s)
        except Conflict:
            taken = "another run that takes the lease at this moment"
        if isinstance(taken, Lease):
            return taken
        if time.monotonic() >= give_up:
            raise Busy(
                f"{rollup} is being folded by {taken}.",
                hint="Wait for it to finish, or give this run more time with --wait SECONDS.",
            )
        time.sleep(_POLL_SECONDS)


def _acquire(ledger: Ledger, rollup: str, lease_s: float) -> Lease | str:
    """The lease, or who holds it."""
    me = holder_name()
    with ledger.store.transaction() as session:
        found = session.rows(
            ledger.sql(
                "select holder, backend, expires_at > now() from dayfold__leases where rollup = :rollup",
                rollup=rollup,
            )
        )
        if found and found[0][2] and not is_dead(ledger, session, found[0][1]):
            return str(found[0][0])
        query = (
            "update dayfold__leases set holder = :holder, backend = :backend, acquired_at = now(), expires_at = _until "
            "where rollup = :rollup"
            if found
            else "insert into dayfold__leases (rollup, holder, backend, acquired_at, expires_at) values (:rollup, "
            ":holder, :backend, now(), _until)"
        )
        session.execute(
            ledger.sql(query, rollup=rollup, holder=me, backend=backend(ledger, session), _until=_until(lease_s))
        )
        raised = "update dayfold__fences set token = token + 1 where rollup = :rollup returning token"
        [(token,)] = session.rows(ledger.sql(raised, rollup=rollup))
    return Lease(rollup, me, int(token))


def held(ledger: Ledger, session: Session) -> list[tuple[str, str]]:
    """What is leased now by somebody who is not certainly gone, and by whom."""
    found = session.rows(
        ledger.sql("select rollup, holder, backend from dayfold__leases where expires_at > now() order by rollup")
    )
    return [(rollup, holder) for rollup, holder, backend in found if not is_dead(ledger, session, backend)]


def _until(lease_s: float) -> exp.Expr:
    """The moment a lease taken now runs out."""
    return sql(f"now() + {int(lease_s * 1000)} * interval '1 millisecond'")


def backend(ledger: Ledger, session: Session) -> str:
    """What the database can say about our being alive: our connection, or our process."""
    if ledger.home.dialect.name != "postgres":
        return PROCESS
    return str(session.rows(ledger.sql("select pg_backend_pid()"))[0][0])


def is_dead(ledger: Ledger, session: Session, backend: str) -> bool:
    """Whether a holder is certainly gone, so that its lease need not run out first."""
    if ledger.home.dialect.name != "postgres":
        # One process owns a DuckDB file: a holder that is not this process has ended.
        return backend != PROCESS
    query = ledger.sql("select 1 from pg_stat_activity where pid = cast(:pid as integer)", pid=backend)
    return not session.rows(query)


def _renew(ledger: Ledger, held: Lease, lease_s: float, stop: threading.Event) -> None:
    """Push the end of the lease out until told to stop; failures show at the next publication's fence."""
    while not stop.wait(lease_s / 3):
        try:
            _push_end(ledger, held, lease_s)
        except DayfoldError as error:
            _log.warning("The lease of %s was not renewed: %s", held.rollup, error.message, extra=_FAILED)
        except Exception:
            # Without the thread the lease runs out, and the run is refused at the end of its work.
            _log.exception("Renewing the lease of %s met an error that nobody foresaw", held.rollup, extra=_FAILED)


def _push_end(ledger: Ledger, held: Lease, lease_s: float) -> None:
    with ledger.store.transaction() as session:
        session.execute(
            ledger.sql(
                "update dayfold__leases set expires_at = _until, backend = :backend where rollup = :rollup and "
                "holder = :holder",
                _until=_until(lease_s),
                backend=backend(ledger, session),
                rollup=held.rollup,
                holder=held.holder,
            )
        )


def _release(ledger: Ledger, held: Lease) -> None:
    with ledger.store.transaction() as session:
        session.execute(
            ledger.sql(
                "delete from dayfold__leases where rollup = :rollup and holder = :holder",
                rollup=held.rollup,
                holder=held.holder,
            )
        )
