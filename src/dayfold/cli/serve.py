"""``dayfold serve``: the HTTP API and the dashboard in one process. A door."""

from __future__ import annotations

from typing import Annotated

import typer

from dayfold.cli import errand
from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, write_json
from dayfold.errors import MissingDriver


def run(
    app: AppOption = DEFAULT_APP,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Where to listen.",
            show_default="[serve] host, else 0.0.0.0; 127.0.0.1 until there is a token or a user",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, metavar="PORT", help="0 takes a free one.", show_default="[serve] port"
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Serve the HTTP API and the dashboard, and run the jobs, until stopped.

    As long as there is no token, user, JWT or OIDC it listens at 127.0.0.1 only, and prints a link that signs in once.
    """
    try:
        from dayfold.dashboard.application import make
        from dayfold.http.logs import write_log
        from dayfold.http.opening import opening
        from dayfold.http.server import serve
    except ImportError as error:
        raise MissingDriver(
            f"`dayfold serve` needs {error.name}, which is not installed.",
            hint="Install it: pip install 'dayfold[serve]'",
        ) from None

    with open_app(app, here=True) as dayfold:
        settings = dayfold.settings.serve
        where = opening(dayfold, host)

        def announce(url: str) -> None:
            login = url + where.login_path if where.login_path else None
            if json:
                write_json({"url": url, "login_url": login} if login else {"url": url})
            else:
                print(f"Serving at {url}", flush=True)
            if login and not json:
                print(f"Nobody may come in yet. Sign in once, within 15 minutes: {login}", flush=True)

        write_log(settings.log)
        serve(dayfold, where.host, settings.port if port is None else port, announce, errand.run, make)
