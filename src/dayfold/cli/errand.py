"""What a command sees of whoever called it: in its own process, or in a server that runs it for another one. A door."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dayfold.errors import ConfigError, DefinitionsDiffer

if TYPE_CHECKING:
    from dayfold.app import Dayfold
    from dayfold.clock import Clock
    from dayfold.http.owner import Errand
    from dayfold.settings import Settings

#: The errand that the present command is; None where it runs in the process that was called.
_present: ContextVar[Errand | None] = ContextVar("errand", default=None)
#: Variables that change what a command says or when it believes to be; secrets are among none of them.
VARIABLES = (
    "DAYFOLD_NOW", "DAYFOLD_DEBUG", "NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM", "COLUMNS", "LINES", "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
)  # fmt: skip
#: Sections of the settings that are the command's own: how much it does at once, and how long it may take.
OF_WORK = ("fold", "query", "verify")


def environ() -> Mapping[str, str]:
    """The variables of whoever called the command."""
    errand = _present.get()
    return os.environ if errand is None else errand.environ


def place(path: Path) -> Path:
    """A path as whoever called the command means it."""
    errand = _present.get()
    return path if errand is None else Path(errand.folder) / path


def clock() -> Clock:
    """The clock of a command: the machine's, or the moment that DAYFOLD_NOW pretends."""
    import datetime as dt

    from dayfold.clock import FixedClock, SystemClock

    pretended = environ().get("DAYFOLD_NOW")
    if not pretended:
        return SystemClock()
    try:
        moment = dt.datetime.fromisoformat(pretended)
        return FixedClock((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC))
    except (ValueError, OverflowError):
        raise ConfigError(f"DAYFOLD_NOW is a moment such as 2026-01-31T12:00:00+00:00, got {pretended!r}.") from None


def run(errand: Errand) -> int:
    """Run a command in this process for another one; its exit status."""
    from dayfold.cli.main import outcome

    token = _present.set(errand)
    try:
        return outcome(errand.words)
    finally:
        _present.reset(token)


def app() -> Dayfold | None:
    """The application that an errand works with, over the connections of the server; None where the command is none.

    Raises:
        DefinitionsDiffer, DefinitionError: where the server's definitions are not, or cannot become, those of the command.
        ConfigError: where its store or databases are not those of the server.
    """
    errand = _present.get()
    if errand is None:
        return None
    found = _same_definitions(errand)
    _check_settings(errand, found.settings)
    work = {name: errand.settings["work"][name] for name in OF_WORK}
    settings = found.settings.model_copy(
        update={name: type(getattr(found.settings, name)).model_validate(words) for name, words in work.items()}
    )
    return found.sibling(settings=settings, clock=clock())


def _same_definitions(errand: Errand) -> Dayfold:
    """The application with the definitions of the command, which are read again where they were edited since."""
    found = errand.service.app
    mine, given = found.catalog.origin, errand.definitions
    if mine is None or mine.fingerprint == given["fingerprint"]:
        return found
    path = str(mine.path.resolve())
    theirs = f"{path}, fingerprint {mine.fingerprint}"
    if given["path"] != path:
        raise DefinitionsDiffer(
            f"{errand.owner.title} owns the store and has other definitions: {theirs}; this command has {given['path']}, "
            f"fingerprint {given['fingerprint']}.",
            hint=f"Name the server's with -a {path}, or stop the server and run the command by itself.",
        )
    found = errand.service.reload(given["fingerprint"])
    if found.catalog.origin and found.catalog.origin.fingerprint != given["fingerprint"]:
        raise DefinitionsDiffer(
            f"{errand.owner.title} owns the store and reads other definitions in {theirs}; this command read fingerprint "
            f"{given['fingerprint']} there.",
            hint="If the file was edited at this moment, run it again. If it depends on more than itself and the modules "
            "beside it, start the server again.",
        )
    return found


def _check_settings(errand: Errand, settings: Settings) -> None:
    """The databases are the same ones; what else differs in the file is said."""
    import sys

    mine = seals(settings, Path(errand.definitions["path"]), errand.owner.secret)
    given = errand.settings["seals"]
    differing = [name for name in sorted({*mine, *given} - {"file"}) if mine.get(name) != given.get(name)]
    if differing:
        named = " and ".join(f"[{name}]" for name in differing)
        raise ConfigError(
            f"{named} of this command {'is' if len(differing) == 1 else 'are'} not what {errand.owner.title}, which owns the "
            "store, was started with.",
            hint="The server reads its settings when it starts; start it again to take new ones.",
        )
    if errand.settings["file"] != errand.service.settings_file:
        print(
            f"dayfold.toml was edited since {errand.owner.title} read it; what concerns the server holds from its next start.",
            file=sys.stderr,
        )


def seals(settings: Settings, definitions: Path, secret: str) -> dict[str, str]:
    """Digests of the addresses that a command and its server have to share; they tell nobody what they seal."""
    from dayfold.engines.connect import duckdb_path, is_duckdb
    from dayfold.http.wire import seal

    found = {"store": seal(secret, repr(settings.store.db_schema))}
    for name, one in settings.databases.items():
        url = one.url.get_secret_value()
        where = str(Path(duckdb_path(url, definitions.parent)).resolve()) if is_duckdb(url) else url
        found[f"databases.{name}"] = seal(secret, where)
    return found


def work_settings(settings: Settings) -> dict[str, Any]:
    """The sections that are the command's own."""
    return {name: getattr(settings, name).model_dump(mode="json", by_alias=True) for name in OF_WORK}
