"""``dayfold counters``: live counters. A door."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, noted, open_app, show_table, write_json
from dayfold.errors import UsageError
from dayfold.names import listing, plural, suggestion

if TYPE_CHECKING:
    from dayfold.count.conservation import Conservation

app = typer.Typer(no_args_is_help=True, help="Live counters.")
CountersArgument = Annotated[
    list[str] | None, typer.Argument(metavar="COUNTER", help="Counters by name.", show_default="all")
]
CounterArgument = Annotated[str, typer.Argument(metavar="COUNTER", help="The counter.")]
_NONE = "No counter is defined; write a class of Counter in metrics.py."


@app.command()
def status(file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Show what waits in the live store, of which days, what is held, and whether nothing is missing."""
    with open_app(file) as dayfold:
        found = dayfold.counters.status()
        waiting = dayfold.counters.figures
    if json:
        write_json({"counters": [one.as_words() for one in found]})
        return
    if not found:
        print(_NONE)
        return
    print(f"Live store: {found[0].live}{'' if all(one.law.reachable for one in found) else ' (it does not answer)'}")
    if waiting is not None and waiting.waiting:
        print(f"Waiting in this process: {plural(waiting.waiting, 'increment')}. {waiting.failing}")
    rows = []
    for one in found:
        days = ", ".join(f"{day} ({plural(keys, 'key')})" for day, keys in one.pending_days.items())
        rows.append(
            (
                one.counter, f"{one.keys:,}", days or "–", f"{sum(one.held.values()):,}", one.last_flush or "–",
                "holds" if one.law.holds else "broken",
            )
        )  # fmt: skip
    show_table(
        ("counter", "keys", "pending", "held", "last flush", "law"), rows, (False, True, False, True, False, False)
    )
    for one in found:
        if one.held:
            held = ", ".join(f"{count:,} {reason}" for reason, count in sorted(one.held.items()))
            print(f"In quarantine: {held}. See them: dayfold counters held {one.counter}")
        if not one.law.holds:
            print(f"{one.counter}: {one.law.said} See: dayfold counters check {one.counter}")


@app.command()
def check(counters: CountersArgument = None, file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Account for every increment: accepted = applied + pending + quarantined; exit 1 where that does not hold, or cannot be known.

    What is lost and was taken note of with `accept-loss` is a part of its own.
    """
    with open_app(file) as dayfold:
        found = dayfold.counters.conservation(counters or None)
    if json:
        write_json({"laws": [one.as_words() for one in found]})
    elif found:
        _show(found)
    else:
        print(_NONE)
    for one in found:
        if not one.reachable:
            print(
                f"{one.counter}: the live store does not answer, so that what waits there is not known.",
                file=sys.stderr,
            )
        if not one.holds:
            print(f"{one.counter}: {one.said}", file=sys.stderr)
    if not all(one.holds and one.reachable for one in found):
        raise typer.Exit(1)


def _show(found: Sequence[Conservation]) -> None:
    rows = [
        (
            one.counter,
            total,
            *(
                f"{part.get(total, 0):,}"
                for part in (one.accepted, one.applied, one.pending, one.quarantined, one.lost, one.missing)
            ),
        )
        for one in found
        for total in one.accepted
    ]
    headings = ("counter", "total", "accepted", "applied", "pending", "held", "lost", "missing")
    show_table(headings, rows, (False, False, *[True] * 6))


@app.command(name="accept-loss")
def accept_loss(counters: CountersArgument = None, file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Take note of what is missing, once it is understood: it is lost, and `check` holds again."""
    with open_app(file) as dayfold, noted(dayfold, "counters-accept-loss", ", ".join(counters or ["counters"])):
        dayfold.catalog.check()
        found = dayfold.counters.accept_loss(counters or None)
    if json:
        write_json({"laws": [one.as_words() for one in found]})
    elif not found:
        print(_NONE)
    for one in found if not json else ():
        print(f"{one.counter}: {one.said if one.holds else 'taken note of. ' + one.said}")


@app.command()
def flush(counters: CountersArgument = None, file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Bring what waits in the live store into the store, exactly once. Any number of flushes may run at once."""
    with open_app(file) as dayfold, noted(dayfold, "counters-flush", ", ".join(counters or ["counters"])):
        dayfold.catalog.check()
        found = dayfold.counters.flush(counters or None)
    if json:
        flushed = [
            {
                "counter": one.counter, "batches": one.batches, "rows": one.rows, "held": one.held, "amounts": one.amounts,
                "repeated": one.repeated, "lost": one.lost, "vanished": one.vanished,
            }
            for one in found
        ]  # fmt: skip
        write_json({"flushed": flushed})
    elif not found:
        print(_NONE)
    for one in found if not json else ():
        amounts = ", ".join(f"{name} {amount:+,}" for name, amount in one.amounts.items() if amount)
        print(f"{one.counter}: {plural(one.rows, 'row')}{f' ({amounts})' if amounts else ''}")
        if one.held:
            print(f"{one.counter}: {plural(one.held, 'row')} held back. See: dayfold counters held {one.counter}")
    for one in found:
        if one.vanished or one.lost:
            print(
                f"{one.counter}: the live store has lost increments. See: dayfold counters check {one.counter}",
                file=sys.stderr,
            )


@app.command()
def held(
    counter: CounterArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, metavar="N", help="At most so many.")] = 20,
    after: Annotated[
        str, typer.Option("--after", metavar="ID", help="Only those after this one.", show_default="from the first")
    ] = "",
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """List rows that the store or the definitions did not take, and why."""
    from dayfold.counterdesk import held_as_words

    with open_app(file) as dayfold:
        found = dayfold.counters.held(counter, limit=limit, after=after)
    if json:
        write_json({"held": [held_as_words(one) for one in found]})
    elif found:
        rows = [
            (
                one.id, one.held_at, one.day, one.key, ", ".join(f"{name} {amount:+,}" for name, amount in one.amounts.items()),
                one.reason, one.detail,
            )
            for one in found
        ]  # fmt: skip
        show_table(("id", "held", "day", "key", "amounts", "reason", "detail"), rows)
    else:
        print("No row is held back.")


@app.command()
def replay(counters: CountersArgument = None, file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Apply held rows that are taken by now, each once."""
    with open_app(file) as dayfold, noted(dayfold, "counters-replay", ", ".join(counters or ["counters"])):
        dayfold.catalog.check()
        found = dayfold.counters.replay(counters or None)
    if json:
        write_json({"replayed": found.replayed, "kept": found.kept})
    else:
        print(f"{plural(found.replayed, 'row')} applied, {found.kept} still held")


@app.command(name="import")
def import_(
    counter: CounterArgument,
    pattern: Annotated[
        str,
        typer.Option(
            "--pattern",
            metavar="PATTERN",
            help='What the keys are like: "daily:{date}:{api_key_id}:metrics". {date} is the day, {total} '
            "the total that a single number is of, every other name a key column or the owner.",
        ),
    ],
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="The server that holds them.", show_default="[live] url"),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="OLD=TOTAL",
            help="A field of their hashes and the total that it is; OLD= leaves it out.",
            show_default="fields are called as totals are",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and add up, and change nothing.")] = False,
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Drain home-made counters of a Redis or Valkey into a counter, each key once, and delete them there.

    Run again it goes on: a key is renamed, applied, and deleted. Exit 1 where some were left.
    """  # fmt: skip
    names = dict(_field(one) for one in fields or ())
    with open_app(file) as dayfold, noted(dayfold, None if dry_run else "counters-import", counter):
        dayfold.catalog.check()
        [one] = dayfold.counters.defined([counter])
        if wrong := [total for total in names.values() if total and total not in one.totals]:
            raise UsageError(
                f"{one.name} has no total '{wrong[0]}'{suggestion(wrong[0], one.totals)}.",
                hint=f"Totals: {listing(one.totals)}",
            )
        found = dayfold.counters.import_(
            counter, pattern, url=url, fields=names, dry_run=dry_run, progress=_lines(one.name)
        )
    if json:
        write_json(
            {
                "dry_run": dry_run, "keys": found.keys, "rows": found.rows, "held": found.held, "amounts": found.amounts,
                "left": found.left,
            }
        )  # fmt: skip
    else:
        amounts = ", ".join(f"{name} {amount:+,}" for name, amount in found.amounts.items())
        print(
            f"{plural(found.keys, 'key')}{' would be' if dry_run else ''} imported{f': {amounts}' if amounts else ''}"
        )
        if found.held:
            print(f"{plural(found.held, 'row')} held back. See: dayfold counters held {one.name}")
    for why, count in sorted(found.left.items(), key=lambda each: -each[1]):
        print(f"{plural(count, 'key')} left: {why}.", file=sys.stderr)
    if found.left:
        raise typer.Exit(1)


def _lines(counter: str) -> Callable[[int], None]:
    """Says how many keys were looked at, at most once a second: how many there are, nobody knows before the end."""
    last = time.monotonic()

    def moved(keys: int) -> None:
        nonlocal last
        if (now := time.monotonic()) >= last + 1:
            last = now
            print(f"{counter}: {plural(keys, 'key')}", file=sys.stderr, flush=True)

    return moved


def _field(text: str) -> tuple[str, str]:
    old, equals, total = text.partition("=")
    if not equals or not old:
        raise UsageError(f"--field is OLD=TOTAL, got '{text}'.", hint="OLD= leaves a field out.")
    return old, total


@app.command()
def scripts(
    name: Annotated[str, typer.Argument(metavar="NAME", help="add, seal, look, read, drop or seen.")] = "add",
    json: JsonOption = False,
) -> None:
    """Print a script of the live store's contract, for a service in another language. Nothing is opened."""
    import hashlib

    from dayfold.count.live import CONTRACT, SHARDS
    from dayfold.count.valkey import script

    known = ("add", "seal", "look", "read", "drop", "seen")
    if name not in known:
        raise UsageError(f"There is no script '{name}'{suggestion(name, known)}.", hint=f"Scripts: {listing(known)}")
    text = script(name)
    if json:
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        write_json({"name": name, "contract": CONTRACT, "shards": SHARDS, "sha1": sha, "text": text})
    else:
        sys.stdout.write(text)
