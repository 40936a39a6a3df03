"""``dayfold serve``: the HTTP API and the dashboard in one process. A door."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli import errand
from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, write_json
from dayfold.errors import MissingDriver

if TYPE_CHECKING:
    from dayfold.app import Dayfold


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
    needed()
    from dayfold.http.opening import opening

    with open_app(app, here=True) as dayfold:
        where = opening(dayfold, host)

        def announce(url: str) -> None:
            login = url + where.login_path if where.login_path else None
            if json:
                write_json({"url": url, "login_url": login} if login else {"url": url})
            else:
                show(url, login)

        until_stopped(dayfold, where.host, dayfold.settings.serve.port if port is None else port, announce)


def needed() -> None:
    """What serves is installed. Raises MissingDriver."""
    try:
        import dayfold.dashboard.application
        import dayfold.http.server  # noqa: F401
    except ImportError as error:
        raise MissingDriver(
            f"`dayfold serve` needs {error.name}, which is not installed.",
            hint="Install it: pip install 'dayfold[serve]'",
        ) from None


def until_stopped(dayfold: Dayfold, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve at an address, and write a log, until the process is told to stop."""
    from dayfold.dashboard.application import make
    from dayfold.http.logs import write_log
    from dayfold.http.server import serve

    write_log(dayfold.settings.serve.log)
    serve(dayfold, host, port, announce, errand.run, make)


def show(url: str, login: str | None) -> None:
    """Say where a server listens, and how to come in where nobody can yet."""
    print(f"Serving at {url}", flush=True)
    if login:
        print(f"Nobody may come in yet. Sign in once, within 15 minutes: {login}", flush=True)
