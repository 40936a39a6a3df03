"""``dayfold alerts``: episodes of alert rules, and a test of the channels. A door."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, show_table, write_json

app = typer.Typer(no_args_is_help=True, help="Alerts: rules, their episodes, and the channels that are told.")


@app.command(name="list")
def list_(
    file: AppOption = DEFAULT_APP,
    only_open: Annotated[bool, typer.Option("--open", help="Only episodes that are open.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, metavar="N", help="At most so many episodes.")] = 20,
    json: JsonOption = False,
) -> None:
    """Judge every rule now, and show the newest episodes. Nothing is written and nobody is told."""
    with open_app(file) as dayfold:
        dayfold.catalog.check()
        alerts = dayfold.alerts()
        alerts.evaluate()
        page = alerts.listed(only_open=only_open, limit=limit)
    if json:
        write_json(page)
        return
    if page["rules"]:
        show_table(
            ("rule", "kind", "state", "to", "about"),
            [
                (one["name"], one["kind"], one["state"], ", ".join(one["to"]), one["error"] or ", ".join(one["firing"]))
                for one in page["rules"]
            ],
        )
    else:
        print("No rule is defined; write an Alert in metrics.py, or [alerts.rules.NAME] in dayfold.toml.")
    if page["alerts"]:
        print()
        show_table(
            ("episode", "rule", "opened", "recovered", "messages", "message"),
            [
                (str(one["id"]), one["rule"], one["opened_at"], one["closed_at"] or "", _told(one["deliveries"]), one["message"])
                for one in page["alerts"]
            ],
        )  # fmt: skip


def _told(deliveries: list[dict[str, object]]) -> str:
    """How the messages of an episode stand, counted by state."""
    states = [str(one["state"]) for one in deliveries]
    return ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))


@app.command(name="test")
def try_channels(
    channel: Annotated[
        str | None, typer.Argument(metavar="CHANNEL", help="A channel's name.", show_default="each channel")
    ] = None,
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Send a test message, and say what happened. Exit status 1 where a channel did not take it."""
    with open_app(file) as dayfold:
        tried = dayfold.alerts().test(channel)
    if json:
        write_json({"channels": [asdict(one) for one in tried]})
    else:
        for one in tried:
            print(f"{one.channel} ({one.kind}): {'it took the message' if one.ok else one.error}, {one.seconds:.2f} s")
    if not all(one.ok for one in tried):
        raise typer.Exit(1)
