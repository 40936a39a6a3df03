"""``dayfold events``: the event log. A door."""

from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli.fold import progress_shown
from dayfold.cli.output import (
    DEFAULT_APP,
    AppOption,
    JsonOption,
    noted,
    number,
    open_app,
    show_table,
    size,
    write_json,
)
from dayfold.errors import UsageError
from dayfold.names import listing, plural, suggestion

if TYPE_CHECKING:
    from dayfold.define.event_types import EventTypes

app = typer.Typer(no_args_is_help=True, help="The event log.")
#: The forms of the registry.
FORMS = ("table", "ts", "json")


@app.command()
def types(
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORM", help="table; ts: declarations for a front end in TypeScript; json: JSON Schema."
        ),
    ] = "table",
    file: AppOption = DEFAULT_APP,
) -> None:
    """Show the types of events that the definitions declare. Only their file is read."""
    from dayfold.define.catalog import load

    if form not in FORMS:
        raise UsageError(f"format is one of {listing(FORMS)}, got '{form}'{suggestion(form, FORMS)}.")
    found = load(file)
    found.check()
    if form == "json":
        write_json(found.event_types.as_json())
    elif form == "ts":
        sys.stdout.write(found.event_types.as_typescript())
    else:
        _show(found.event_types)


@app.command(name="list")
def list_(
    entity_type: Annotated[
        str | None,
        typer.Option(
            "--entity-type", metavar="TYPE", help="What they are about: a column of an entity, or its name without _id."
        ),
    ] = None,
    entity_id: Annotated[
        str | None, typer.Option("--entity-id", metavar="ID", help="Which one; with --entity-type.")
    ] = None,
    event_type: Annotated[str | None, typer.Option("--event-type", metavar="TYPE", help="Their type.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", metavar="ID", help="The actor_id.")] = None,
    session: Annotated[str | None, typer.Option("--session", metavar="ID", help="The session_id.")] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DAY",
            help="First day: YYYY-MM-DD, today, yesterday or -7d (UTC).",
            show_default="the first there is",
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="Last day, included.", show_default="the last there is")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="NEXT", help="The place that the page before ended with.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most so many, up to 1,000.")] = 100,
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """List events, the newest first, with all that is known of them."""
    with open_app(file) as dayfold:
        found = dayfold.events(
            entity_type=entity_type, entity_id=entity_id, event_type=event_type, actor=actor, session=session, from_=from_,
            to=to, after=after, limit=limit,
        )  # fmt: skip
        entities = list(dayfold.catalog.entities.types)
    if json:
        write_json(found.as_object())
        return
    if not found.rows:
        print("There is no such event.")
        return
    names = ("occurred_at", "event_type", "actor_id", "anonymous_id", "session_id", *entities, "page")
    show_table(names, [[_cell(row[name]) for name in names] for row in found.rows])
    if found.next is not None:
        print(f"There are more: --after {found.next}", file=sys.stderr)


def _cell(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return number(value) if value is None or isinstance(value, bool) else str(value)


def _show(types: EventTypes) -> None:
    """The registry as a table: a line for each property."""
    rows = []
    for family, known in types.families.items():
        for name, properties in known.items():
            holds = [(f"{one.name}{'' if one.required else '?'}", one.words) for one in properties] or [("", "")]
            rows += [(family, name, *one) for one in holds]
    if rows:
        show_table(("family", "type", "property", "holds"), rows)
    else:
        print("No type of events is declared, so that every type is allowed; write events.types({…}) in metrics.py.")


@app.command()
def status(file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Show how many events the log holds, what came in the last days, and what is held back."""
    with open_app(file) as dayfold:
        found = dayfold.event_log.status()
    if json:
        days = [{"day": day, **outcomes} for day, outcomes in found.taken.items()]
        write_json(
            {
                "events": found.events, "bytes": found.bytes, "quarantined": found.held, "waiting": found.waiting,
                "failing": found.failing or None, "days": days,
            }
        )  # fmt: skip
        return
    print(f"{plural(found.events, 'event')}, {size(found.bytes)}")
    if found.failing:
        print(f"Waiting for the log: {plural(found.waiting, 'event')}. {found.failing}")
    if found.held:
        held = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.held.items()))
        print(f"In quarantine: {held}. See them: dayfold events quarantine")
    if found.taken:
        outcomes = sorted({outcome for day in found.taken.values() for outcome in day})
        show_table(
            ("day", *outcomes),
            [(str(day), *(f"{one.get(outcome, 0):,}" for outcome in outcomes)) for day, one in found.taken.items()],
            (False, *[True] * len(outcomes)),
        )


ReasonOption = Annotated[
    str | None,
    typer.Option(
        "--reason", metavar="REASON", help="undeclared: not as the definitions say; conflict: another event has its id; refused: the "
        "store does not take it.", show_default="all",
    ),
]  # fmt: skip
TypeOption = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Only events of this type.", show_default="all")
]


@app.command(name="quarantine")
def held(
    reason: ReasonOption = None,
    type_: TypeOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, metavar="N", help="At most so many.")] = 20,
    after: Annotated[
        str, typer.Option("--after", metavar="ID", help="Only those after this one.", show_default="from the oldest")
    ] = "",
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """List events that are held back, and why; with --json each whole."""
    with open_app(file) as dayfold:
        found = dayfold.event_log.quarantined(reason=reason, event_type=type_, limit=limit, after=after)
    if json:
        import json as reader

        events = [
            {
                "id": one.id, "event_id": one.event_id, "reason": one.reason, "detail": one.detail, "event_type": one.event_type,
                "occurred_at": one.occurred_at, "received_at": one.received_at, "event": reader.loads(one.body),
            }
            for one in found
        ]  # fmt: skip
        write_json({"quarantine": events})
    elif found:
        show_table(
            ("id", "received", "type", "reason", "detail"),
            [(one.id, one.received_at, one.event_type, one.reason, one.detail) for one in found],
        )
    else:
        print("No such event is held back." if reason or type_ or after else "No event is held back.")


@app.command()
def replay(type_: TypeOption = None, file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Take held events into the log that the definitions know by now; their cells are stale then."""
    with open_app(file) as dayfold, noted(dayfold, "events-replay", type_ or "events"):
        dayfold.catalog.check()
        found = dayfold.event_log.replay(event_type=type_)
    if json:
        write_json({"replayed": found.replayed, "kept": found.kept, "why": found.why})
        return
    print(f"{plural(found.replayed, 'event')} taken into the log, {found.kept} still held")
    for why, count in sorted(found.why.items(), key=lambda one: -one[1])[:20]:
        print(f"  {count} × {why}")


@app.command()
def enrich(
    from_: Annotated[str, typer.Option("--from", metavar="DAY", help="First day (UTC).")],
    to: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day (UTC), included.")],
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Apply today's rules to stored events: browsers, bots, referrers, campaigns, sessions and touches. Changed cells are stale then."""
    with open_app(file) as dayfold, progress_shown("events") as show, noted(dayfold, "events-enrich", f"{from_} {to}"):
        dayfold.catalog.check()
        found = dayfold.event_log.renew(from_, to, progress=show)
    if json:
        write_json({"events": found.events, "changed": found.changed})
    else:
        print(f"{plural(found.events, 'event')} looked at, {found.changed} changed")
