"""``dayfold serve``: the HTTP API in one process. A door."""

from __future__ import annotations

from typing import Annotated

import typer

from dayfold.cli import errand
from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, write_json
from dayfold.errors import MissingDriver


def run(
    app: AppOption = DEFAULT_APP,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Where to listen.", show_default="[serve] host")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, metavar="PORT", help="0 takes a free one.", show_default="[serve] port"
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Serve the HTTP API until stopped."""
    try:
        from dayfold.http.server import serve
    except ImportError as error:
        raise MissingDriver(
            f"`dayfold serve` needs {error.name}, which is not installed.",
            hint="Install it: pip install 'dayfold[serve]'",
        ) from None

    def announce(url: str) -> None:
        if json:
            write_json({"url": url})
        else:
            print(f"Serving at {url}", flush=True)

    with open_app(app, here=True) as dayfold:
        settings = dayfold.settings.serve
        serve(
            dayfold, host or settings.host or "127.0.0.1", settings.port if port is None else port, announce, errand.run
        )
