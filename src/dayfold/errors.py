"""Every error that Dayfold raises on purpose; the ground floor, imports nothing of the project.

::

    DayfoldError                 exit status 1
    ├── UsageError               2  wrong words in a command or a call
    │   ├── TooOld               2  an increment whose id may have been forgotten
    │   ├── UnknownName          2  a name that is not there, with the nearest that is
    │   ├── BadDate              2
    │   ├── Sealed               2  a day that is never computed again
    │   ├── DefinitionsDiffer    2  a server has other definitions than the command that it should run
    │   ├── TooOld               2  an increment whose id is not remembered any more
    │   └── QueryRefused         2  a question that has no truthful answer
    ├── ConfigError              2  dayfold.toml or the environment
    ├── DefinitionError          2  everything wrong in one metrics.py, at once
    ├── ConnectionFailed         1  a database that does not answer
    │   ├── FileLocked           1  a DuckDB file that another process owns
    │   ├── Unsent               1  nothing was sent, for sure: there was no connection
    │   └── MissingDriver        1  an optional package that is not installed
    ├── StoreError               1  the store refused a statement
    │   ├── Conflict             1  another transaction wrote the same rows at the same time
    │   ├── RowsRefused          1  a constraint or a trigger does not take a row
    │   ├── StoreExhausted       1  no disk, memory, lock or time for it just now
    │   ├── StoreNewer           1  made by a later version of the program
    │   ├── StoreNotMigrated     1  made by an earlier version of the program
    │   ├── StoreAltered         1  changed by hand
    │   ├── StoreMoved           1  it goes, or went, elsewhere, and is only read
    │   ├── StoreIncomplete      1  a move has not filled it yet
    │   └── CopyDiffers          1  a moved table is not the original
    ├── SourceFailed             1  a source could not be read or computed
    ├── AccessRefused            2
    │   ├── Unauthenticated      2  no token, or one that is not valid any more
    │   ├── Forbidden            2  a caller who may not do this
    │   ├── AccessUnknown        1  what a caller may see cannot be found out just now
    │   └── TooMany              2  more tries than are allowed in a while
    ├── NoSuchEntity             1  a profile has no row of this key, or none that the caller may see
    ├── NotReady                 1  a function source has a day's facts later
    ├── DeliveryFailed           1  a message that a channel did not take
    ├── TookTooLong              1  work that was given a limit of time went past it
    ├── SuddenlyEmpty            1  a source that had facts returns none
    ├── Busy                     1  another run holds the rollup, or is active of the job
    ├── LeaseLost                1  another run took the rollup over
    └── Stopped                  1  a run, or a job, that was told to stop

Invariant: a message never holds a row's values, a token or a password. Messages of a database server are
therefore not passed on; only their class and the place are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class DayfoldError(Exception):
    r"""Something went wrong that Dayfold can explain. ``code`` is stable; ``exit_status`` is the command's.

    >>> str(DayfoldError("The cat sat on the keyboard.", hint="Remove the cat."))
    'The cat sat on the keyboard.\n  Remove the cat.'
    """

    code = "error"
    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        return self.message + (f"\n  {self.hint}" if self.hint else "")


class UsageError(DayfoldError):
    """The words of a command or a call do not fit together."""

    code = "usage"
    exit_status = 2


class UnknownName(UsageError):
    """A name that does not exist."""

    code = "unknown-name"


class BadDate(UsageError):
    """A date that is not one, or a range that ends before it starts."""

    code = "bad-date"


class Sealed(UsageError):
    """What was asked for would compute sealed days again."""

    code = "sealed"


class DefinitionsDiffer(UsageError):
    """Another process has other definitions: the server that a command reached, or the one that published since a server read its own."""

    code = "definitions-differ"


class QueryRefused(UsageError):
    """A question that cannot be answered truthfully."""

    code = "query-refused"


class TooOld(UsageError):
    """An increment with an id that is older than ids are remembered: whether it was counted, nobody knows any more."""

    code = "too-old"


class ConfigError(DayfoldError):
    """A setting that is missing or wrong."""

    code = "config"
    exit_status = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a definition: its stable code, its place, what is wrong and what to do."""

    code: str
    place: str
    subject: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        head = " ".join(part for part in (f"[{self.code}]", self.place, self.subject) if part)
        lines = [self.message, *self.hint.splitlines()]
        return "\n".join([f"DefinitionError {head}", *(f"  {line}" for line in lines)])


class DefinitionError(DayfoldError):
    """All mistakes of one set of definitions, in the order of their places."""

    code = "definition"
    exit_status = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConnectionFailed(DayfoldError):
    """A database did not let us in."""

    code = "connection-failed"


class FileLocked(ConnectionFailed):
    """A DuckDB file belongs to another process; ``path`` is the file."""

    code = "file-locked"

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class MissingDriver(ConnectionFailed):
    """The package that speaks to this kind of database is not installed."""

    code = "missing-driver"


class Unsent(ConnectionFailed):
    """There was no connection to send by: nothing was done, for sure."""

    code = "unsent"


class StoreError(DayfoldError):
    """The store refused what it was asked to do."""

    code = "store"


class Conflict(StoreError):
    """Another transaction wrote the same rows, or made the same tables, at the same time; this one was undone."""

    code = "conflict"


class RowsRefused(StoreError):
    """A constraint, or a trigger that somebody made, does not take a row."""

    code = "rows-refused"


class StoreExhausted(StoreError):
    """The store has no disk, memory, lock or time for it just now; there is nothing wrong with what it was asked to do."""

    code = "store-exhausted"


class StoreNewer(StoreError):
    """The store was made by a later version of Dayfold."""

    code = "store-newer"


class StoreNotMigrated(StoreError):
    """The store was made by an earlier version of Dayfold."""

    code = "store-not-migrated"


class StoreAltered(StoreError):
    """A table of the store is not as Dayfold made it."""

    code = "store-altered"


class StoreMoved(StoreError):
    """The store is being moved, or was: what stands in it can be read, and nothing is written to it."""

    code = "store-moved"


class StoreIncomplete(StoreError):
    """The store is being filled by a move, and nobody works with it before it is whole."""

    code = "store-incomplete"


class CopyDiffers(StoreError):
    """A table that was moved does not hold what the original holds."""

    code = "copy-differs"


class SourceFailed(DayfoldError):
    """A source could not be read, or its values could not be computed with."""

    code = "source-failed"

    def __init__(self, message: str, *, source: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.source = source


class AccessRefused(DayfoldError):
    """A caller was not let in."""

    code = "access-refused"
    exit_status = 2


class Unauthenticated(AccessRefused):
    """Nobody knows who asks: there is no token, or it is malformed, expired or revoked."""

    code = "unauthenticated"


class Forbidden(AccessRefused):
    """The caller is known and may not do this."""

    code = "forbidden"


class AccessUnknown(AccessRefused):
    """What decides about a caller's access cannot be found out just now, so that nothing is shown."""

    code = "access-unknown"
    exit_status = 1


class TooMany(AccessRefused):
    """More tries than are allowed in a while; ``retry_after_s`` seconds until the next one."""

    code = "too-many"

    def __init__(self, message: str, *, retry_after_s: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class NoSuchEntity(DayfoldError):
    """A profile has no row of this key, or none that the caller may see: nobody is told which."""

    code = "no-such-entity"


class NotReady(DayfoldError):
    """Raised by a function source: the day's facts are not there yet. Its text is shown as the reason.

    >>> raise NotReady("the report comes after two days")
    Traceback (most recent call last):
    dayfold.errors.NotReady: the report comes after two days
    """

    code = "not-ready"

    def __init__(self, reason: str = "", *, hint: str = "") -> None:
        super().__init__(str(reason) or "it says that it is not ready", hint=hint)


class DeliveryFailed(DayfoldError):
    """A channel did not take a message."""

    code = "delivery-failed"


class TookTooLong(DayfoldError):
    """What was given a limit of time takes longer."""

    code = "took-too-long"


class SuddenlyEmpty(DayfoldError):
    """A source returns nothing for days that had facts before."""

    code = "suddenly-empty"


class Busy(DayfoldError):
    """Another run holds the rollup, or is active of the job; ``run_id`` is that run's number, where it is known."""

    code = "busy"

    def __init__(self, message: str, *, run_id: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.run_id = run_id


class LeaseLost(DayfoldError):
    """Another run took the rollup over while this one was paused."""

    code = "lease-lost"


class Stopped(DayfoldError):
    """Somebody told the run to stop; or the job is stopped, and begins no run."""

    code = "stopped"
