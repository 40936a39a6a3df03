"""The scripted history of an example, so that every page of its demo has something true to show. A door.

A ``demo.toml`` names the steps, each of a kind below. Every step goes through what `dayfold serve` and the commands do: the runs, drifts,
sealed days, alerts and notes that it leaves are those of the real thing. A step that changes a stored number behind Dayfold's back has it
found and healed before it ends.

``story.txt`` in the demo's folder says what was done. A step that was interrupted is done again the next time.

Weakness: the store is an embedded DuckDB file, as that of every demo is.
"""

from __future__ import annotations

import calendar
import datetime as dt
import importlib.util
import json
import logging
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dayfold.cli import errand
from dayfold.days import as_day
from dayfold.errors import DayfoldError
from dayfold.names import listing, plural
from dayfold.plan.shape import quoted

if TYPE_CHECKING:
    from dayfold.app import Dayfold
    from dayfold.jobs.desk import Desk
    from dayfold.jobs.scheduler import Scheduler
    from dayfold.ledger.jobs import JobRun
    from dayfold.settings import Settings

FILE = "story.txt"
#: How long the nightly verification of the story may take; the next ones go on from there.
_VERIFY_S = 2.0
#: How long a run of a job may take until the story gives up.
_RUN_S = 300.0
_AWAY = "__away"
_TIMEOUT_S = 30.0


def begin(folder: Path, title: str) -> None:
    """A folder is new: its story is to be told."""
    (folder / FILE).write_text(f"What was made to happen here, beside the example's own data: {title}\n")


def tell(folder: Path, origin: Path, steps: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> list[str]:
    """Do the steps that are not done yet; a line for each. None where the folder was not begun by this command.

    Raises:
        DayfoldError: where a step did not end as it is told.
    """
    file = folder / FILE
    if not file.exists():
        return []
    done = len(file.read_text(encoding="utf-8").splitlines()) - 1
    told = []
    for step in steps[done:]:
        words = dict(step)
        try:
            with quiet(), at(folder):
                text = _KINDS[words.pop("kind")](Stage(folder, origin), words)
        except DayfoldError as error:
            raise DayfoldError(
                f"The story of this demo did not go on: {error.message}",
                hint=f"Begin anew: delete {folder}, and run the demo again.",
            ) from error
        with file.open("a", encoding="utf-8") as out:
            out.write(f"{text}\n")
        told.append(text)
        say(text)
    return told


def module(origin: Path, name: str) -> ModuleType:
    """A module of an example, which finds those beside it."""
    spec = importlib.util.spec_from_file_location(f"dayfold_example_{origin.name}_{name}", origin / f"{name}.py")
    if spec is None or spec.loader is None or not (origin / f"{name}.py").exists():
        raise DayfoldError(f"The example {origin.name} has no {name}.py.")
    found = importlib.util.module_from_spec(spec)
    # Classes of a module look for it while they are made.
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a story happens."""

    folder: Path
    origin: Path

    @contextmanager
    def opened(self) -> Iterator[Actor]:
        """The application as its definitions are now, with its jobs."""
        from dayfold.app import Dayfold

        with Dayfold(self.folder / "metrics.py", clock=errand.clock()) as app:
            app.ledger.ready()
            yield Actor(app.sibling(settings=_brief(app.settings)))


def _brief(settings: Settings, **more: Any) -> Settings:
    """Settings by which a run that fails is not tried again, and a verification is short."""
    jobs = settings.jobs.model_copy(update={"attempts": 1})
    verify = settings.verify.model_copy(update={"budget_s": _VERIFY_S})
    return settings.model_copy(update={"jobs": jobs, "verify": verify, **more})


class Actor:
    """Does things with an application as a server does them."""

    def __init__(self, app: Dayfold) -> None:
        self.app = app

    def use(self, **settings: Any) -> Actor:
        """The same with other settings."""
        return Actor(self.app.sibling(settings=_brief(self.app.settings, **settings)))

    def due(self) -> list[JobRun]:
        """Every job that is due is run."""
        scheduler, desk = self._jobs()
        first = time.monotonic()
        before = {one.id for one in desk.runs(100)}
        while True:
            scheduler.step()
            scheduler.join()
            runs = [desk.run(one.id) for one in desk.runs(100, job=None) if one.id not in before and _is_job(one)]
            if all(_is_over(one) for one in runs):
                break
            _in_time(first)
        self._judge()
        return sorted(runs, key=lambda one: one.id)

    def run(self, job: str, expected: str, **request: Any) -> JobRun:
        """A job is run, as if somebody had asked for it over HTTP; it ends as expected."""
        scheduler, desk = self._jobs()
        number = desk.trigger(job, request, "the story of the demo")
        first = time.monotonic()
        while not _is_over(found := desk.run(number)):
            scheduler.step()
            scheduler.join()
            _in_time(first)
        if found.status != expected:
            raise DayfoldError(
                f"run {number} of the job {job} had to be {expected}, and is {found.status}: {found.error}"
            )
        self._judge()
        return found

    def _jobs(self) -> tuple[Scheduler, Desk]:
        from dayfold.jobs.desk import Desk
        from dayfold.jobs.scheduler import Scheduler

        return Scheduler(self.app), Desk(self.app)

    def _judge(self) -> None:
        """The alert rules see what a run left, and whoever is to be told is."""
        alerts = self.app.alerts()
        alerts.look()
        alerts.deliver()

    def execute(self, *statements: str) -> int:
        """Statements in one transaction, past Dayfold; how many rows the last one changed."""
        count = 0
        with self.app.databases.store.transaction() as session:
            for statement in statements:
                count = session.execute(statement)
        return count

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """The answer to a query, past Dayfold."""
        from dayfold.plan.sql import Statement, Values, sql

        with self.app.databases.store.transaction(read_only=True) as session:
            rows: list[tuple[Any, ...]] = session.rows(Statement(sql(text), Values()))
        return rows


def _is_job(run: object) -> bool:
    return hasattr(run, "attempt")


def _is_over(run: JobRun) -> bool:
    from dayfold.ledger.jobs import ACTIVE

    return run.status not in ACTIVE


def _in_time(since: float) -> None:
    if time.monotonic() - since > _RUN_S:
        raise DayfoldError("A job did not end in time.")
    time.sleep(0.02)


# -- the kinds of steps ------------------------------------------------------------------------------


def _jobs(stage: Stage, words: dict[str, Any]) -> str:
    """The jobs that are due when a server is started for the first time."""
    with stage.opened() as actor:
        runs = actor.due()
    return f"The jobs ran that are due when a server begins: {listing(f'{one.job} ({one.status})' for one in runs)}."


def _failing(stage: Stage, words: dict[str, Any]) -> str:
    """A source cannot be read for one fold: a ``table`` of the application, or the address in a variable, ``address``."""
    with stage.opened() as actor:
        with _gone(actor, words):
            failed = actor.run("fold", "failed")
        again = actor.run("fold", "done")
    what = (
        f"{words['table']} gave nothing that could be computed with" if "table" in words
        else f"nobody answered where {words['address']} says"
    )  # fmt: skip
    return (
        f"A source failed: for one fold {what}, so run {failed.id} failed and said so; what it does not feed was folded. "
        f"Run {again.id} read it again."
    )


def _gone(actor: Actor, words: Mapping[str, Any]) -> AbstractContextManager[None]:
    """A source fails inside the block, and is as it was afterwards."""
    return _nobody_at(words["address"]) if "address" in words else _failing_table(actor, words["table"])


@contextmanager
def _nobody_at(variable: str) -> Iterator[None]:
    """A variable names an address inside the block where nobody listens."""
    before = os.environ.get(variable)
    os.environ[variable] = "http://127.0.0.1:9"
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


@contextmanager
def _failing_table(actor: Actor, name: str) -> Iterator[None]:
    """A view that fails stands inside the block where a table of the application was."""
    away = name + _AWAY
    back = (f"drop view if exists {quoted(name)}", f"alter table {quoted(away)} rename to {quoted(name)}")
    if actor.query(f"select 1 from duckdb_tables() where table_name = '{away}'"):
        # The process ended in the middle of it the last time.
        actor.execute(*back)
    # A table with indexes cannot be renamed.
    indexes = actor.query(f"select index_name, sql from duckdb_indexes() where table_name = '{name}'")
    columns = actor.query(f"select column_name from duckdb_columns() where table_name = '{name}' order by column_index")
    fails = "error('taken away for one fold, as the story of this demo goes')"
    shown = ", ".join(f"case when {fails} is null then {quoted(one)} end as {quoted(one)}" for (one,) in columns)
    actor.execute(
        *(f"drop index {quoted(one)}" for one, _ in indexes),
        f"alter table {quoted(name)} rename to {quoted(away)}",
        f"create view {quoted(name)} as select {shown} from {quoted(away)}",
    )
    try:
        yield
    finally:
        actor.execute(*back, *(made for _, made in indexes))


def _drift(stage: Stage, words: dict[str, Any]) -> str:
    """Somebody changes stored rows of a ``rollup`` past Dayfold, and it is found and healed: ``set``, ``where``, ``from`` and ``to``."""
    with stage.opened() as actor:
        name = words["rollup"]
        words |= _days(actor.app, words)
        count = _tamper(actor, words)
        asked = {"rollup": name, "from": words["from"], "to": words["to"]}
        found = actor.run("verify", "failed", **asked)
        with actor.app.accounts.noted("heal", name):
            healed = actor.run("verify", "done", heal=True, **asked)
    cells = sum(one["healed"] for one in (healed.summary or {})["verified"])
    return (
        f"Drift: somebody changed {plural(count, 'row')} of {name} by hand; the verification of run {found.id} found it, "
        f"and run {healed.id} healed {plural(cells, 'cell')}."
    )


def _days(app: Dayfold, words: Mapping[str, Any]) -> dict[str, str]:
    """The first and the last day as they are asked for."""
    return {end: as_day(words[end], app.today).isoformat() for end in ("from", "to")}


def _tamper(actor: Actor, words: Mapping[str, Any]) -> int:
    definition = actor.app.catalog[words["rollup"]]
    days = f"{quoted(definition.day_column)} between date '{words['from']}' and date '{words['to']}'"
    more = f" and ({words['where']})" if words.get("where") else ""
    count = actor.execute(f"update {quoted(definition.table)} set {words['set']} where {days}{more}")
    if not count:
        raise DayfoldError(f"there is no row of {definition.name} to change.")
    return count


def _rebuild(stage: Stage, words: dict[str, Any]) -> str:
    """Days of a ``rollup`` are folded again after stored rows were changed (``set``), or the application's (``late``)."""
    with stage.opened() as actor:
        name = words["rollup"]
        words |= _days(actor.app, words)
        if "late" in words:
            actor.execute(words["late"])
            why = words["why"]
        else:
            why = f"{plural(_tamper(actor, words), 'row')} of {name} had been changed by hand"
        span = {"from_": words["from"], "to": words["to"]}
        shown = actor.app.rebuild(name, **span, dry_run=True)
        with actor.app.accounts.noted("rebuild", name):
            run = actor.run("rebuild", "done", rollup=name, **{"from": words["from"], "to": words["to"]})
    written = shown.rows_inserted + shown.rows_updated + shown.rows_deleted
    return (
        f"Rebuild: {why}. A dry run showed {plural(written, 'row')} that differ between {words['from']} and {words['to']}, and run "
        f"{run.id} wrote them."
    )


def _seal(stage: Stage, words: dict[str, Any]) -> str:
    """A ``month`` of a ``rollup`` is taken over from a ``table`` and sealed, with those before it from ``since`` on.

    A number is so many months from the present one.
    """
    with stage.opened() as actor:
        app, name = actor.app, words["rollup"]
        last = _month(words["month"], app.today)[1]
        first = _month(words.get("since", words["month"]), app.today)[0]
        shape = next(one.shape for one in app.bind([name]).rollups if one.name == name)
        columns = ", ".join(
            quoted(one) for one in [*(c.name for c in shape.key), shape.day_column, *(c.name for c in shape.values)]
        )
        actor.execute(
            f"create or replace table {quoted(words['table'])} as select {columns} from {quoted(app.catalog[name].table)} "
            f"where {quoted(shape.day_column)} between date '{first}' and date '{last}'"
        )
        done = app.adopt(name, words["table"], to=last)
    assert done.sealed is not None
    return (
        f"Sealed: {plural(len(done.sealed), 'day')} of {name}, {done.sealed}, taken over from {words['table']}, a copy of their rows; "
        f"{plural(done.compared, 'cell')} were compared with the source, and the days are never computed again."
    )


def _month(word: str | int, today: dt.date) -> tuple[dt.date, dt.date]:
    """The first and the last day of a month.

    >>> _month("2026-02", dt.date(2026, 3, 5)), _month(-3, dt.date(2026, 3, 5))[0]
    ((datetime.date(2026, 2, 1), datetime.date(2026, 2, 28)), datetime.date(2025, 12, 1))
    """
    if isinstance(word, int):
        year, month = divmod(today.year * 12 + today.month - 1 + word, 12)
        first = dt.date(year, month + 1, 1)
    else:
        first = dt.date.fromisoformat(f"{word}-01")
    return first, first.replace(day=calendar.monthrange(first.year, first.month)[1])


def _retain(stage: Stage, words: dict[str, Any]) -> str:
    """Events before a day, ``before``, are past their time: their days are sealed, and they go."""
    with stage.opened() as actor:
        keep = (actor.app.today - dt.date.fromisoformat(words["before"])).days
        retain = actor.app.settings.retain.model_copy(update={"events_days": keep})
        run = actor.use(retain=retain).run("retain", "done")
    summary = run.summary or {}
    sealed = listing(f"{name} {plural(count, 'day')}" for name, count in summary.get("sealed", {}).items())
    return (
        f"Sealed: run {run.id} kept the numbers of the events before {words['before']} for good ({sealed}) and deleted "
        f"{plural(summary['deleted']['events'], 'raw event')}."
    )


def _changes(stage: Stage, words: dict[str, Any]) -> str:
    """Old rows of the application change in many ways, as a ``function`` of the loader does it; a verification finds what that moved.

    ``rollups``: those whose older days it heals.
    """
    url = _store(stage)
    count = getattr(module(stage.origin, "load"), words["function"])(url)
    with stage.opened() as actor:
        found = actor.run("verify", "failed")
        fold = actor.run("fold", "done")
        healed = [_healed(actor, name) for name in words["rollups"]]
    cells = sum(one["healed"] for run in healed for one in (run.summary or {})["verified"])
    return (
        f"{words['title']}: {plural(count, 'statement')} changed old rows of the application. Run {found.id} found that numbers differ, "
        f"run {fold.id} folded what a fold looks at, and {listing([f'run {run.id}' for run in healed])} healed {plural(cells, 'cell')} "
        "of older days."
    )


def _healed(actor: Actor, name: str) -> JobRun:
    """All days of a rollup are verified and healed."""
    states = [parts for source in actor.app.covered(name).values() for parts in source.values()]
    first = min(one["from"] for parts in states for one in parts)
    with actor.app.accounts.noted("heal", name):
        span = {"from": first.isoformat(), "to": actor.app.today.isoformat()}
        return actor.run("verify", "done", rollup=name, heal=True, **span)


def _traffic(stage: Stage, words: dict[str, Any]) -> str:
    """Something is counted now, as a ``function`` of the loader does it."""
    with stage.opened() as actor:
        count = getattr(module(stage.origin, "load"), words["function"])(actor.app)
        run = actor.run("fold", "done")
    return f"Counted: {plural(count, 'request')} of today, flushed and folded by run {run.id}."


def _quarantine(stage: Stage, words: dict[str, Any]) -> str:
    """Events of a type that nobody declared are sent to a server, and replayed once the definitions have it: ``adds``, below ``below``."""
    name, many = words["event_type"], words["events"]
    with stage.opened() as actor:
        told = _sent(actor, name, many)
    held = told.get("quarantined", 0)
    definitions = stage.folder / "metrics.py"
    text = definitions.read_text(encoding="utf-8")
    if words["adds"] not in text:
        if words["below"] not in text:
            raise DayfoldError(f"metrics.py does not have {words['below'].strip()} any more.")
        definitions.write_text(text.replace(words["below"], f"{words['below']}\n{words['adds']}", 1), encoding="utf-8")
    with stage.opened() as actor:
        with actor.app.accounts.noted("events-replay", name):
            found = actor.app.event_log.replay(event_type=name)
        run = actor.run("fold", "done")
        kept = sum(actor.app.event_log.status().held.values())
    if held != many or found.replayed != many:
        raise DayfoldError(f"{many} events were sent to be held; {held} were, and {found.replayed} replayed.")
    return (
        f"Quarantine: {plural(many, 'event')} of the type {name}, which was not declared, were held; metrics.py declares it now, and "
        f"they were replayed and folded by run {run.id}. {plural(kept, 'event')} of the example itself stay held."
    )


def _sent(actor: Actor, event_type: str, many: int) -> dict[str, int]:
    """What a server said to events that were sent to it."""
    from dayfold.http.server import serve

    app = actor.app
    made = app.accounts.create_token("the story of the demo", "track")
    events = [
        {"id": f"story-{n}", "event_type": event_type, "entity_type": "ip_asset", "entity_id": f"a{n + 1}"}
        for n in range(many)
    ]
    answer: dict[str, int] = {}

    def send(url: str) -> None:
        request = urllib.request.Request(
            f"{url}/v1/events?wait=log",
            json.dumps({"events": events}).encode(),
            {"Authorization": f"Bearer {made.secret}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            answer.update(json.load(response))

    settings = app.settings.serve.model_copy(update={"jobs": False})
    try:
        serve(actor.use(serve=settings).app, "127.0.0.1", 0, lambda url: None, errand.run, trial=send)
    finally:
        app.accounts.revoke_token("the story of the demo")
    return answer


_KINDS: dict[str, Callable[[Stage, dict[str, Any]], str]] = {
    "jobs": _jobs,
    "failing": _failing,
    "drift": _drift,
    "rebuild": _rebuild,
    "seal": _seal,
    "retain": _retain,
    "changes": _changes,
    "traffic": _traffic,
    "quarantine": _quarantine,
}


def _store(stage: Stage) -> str:
    from dayfold import settings as configuration

    url = configuration.load(None, stage.folder).store.url.get_secret_value()
    return f"duckdb:///{stage.folder / url.removeprefix('duckdb:///')}"


@contextmanager
def quiet() -> Iterator[None]:
    """What goes wrong as the story says is told by the story, and not by the log."""
    log = logging.getLogger("dayfold")
    handler, before = logging.NullHandler(), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.propagate = before
        log.removeHandler(handler)


@contextmanager
def at(folder: Path) -> Iterator[None]:
    """The present folder is another one: commands of the settings write where they stand."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
