"""``dayfold token``: the tokens that programs come in with over HTTP. A door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, show_table, write_json
from dayfold.define.events import PUBLIC_TYPES

if TYPE_CHECKING:
    from dayfold.ledger.tokens import Limits, Token
    from dayfold.plan.access import Scope

app = typer.Typer(no_args_is_help=True, help="Tokens that programs come in with over HTTP.")
RollupOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rollup", metavar="ROLLUP", help="A rollup that is seen; again for more. Only of the kind read.",
        show_default="all",
    ),
]  # fmt: skip
RowsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rows",
        metavar="KEY=VALUES",
        help='The rows that are seen: key=value,value; key= for NULL, key="" for the empty text, key:none for no row. Again for '
        "more values or keys. Only of the kind read.",
        show_default="all",
    ),
]
AccessOption = Annotated[
    list[str] | None,
    typer.Option(
        "--access",
        metavar="NAME:PARAM=VALUE",
        help="An access of the definitions, such as Brand:brand_id=7: its queries say which rows are seen. Again for more. Only of "
        "the kind read.",
        show_default="none",
    ),
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="read: numbers; jobs: see and steer jobs; track: write events, for servers; public: write some types of events, "
            "for pages that everybody can read; admin: everything.",
        ),
    ],
    rollup: RollupOption = None,
    rows: RowsOption = None,
    access: AccessOption = None,
    personal: Annotated[
        bool, typer.Option("--personal", help="Personal data of raw events are shown. Only of the kind read.")
    ] = False,
    events: Annotated[
        bool,
        typer.Option(
            "--events", help="Raw events may be exported, and are seen beside --rollup. Only of the kind read."
        ),
    ] = False,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="DAYS|DAY",
            help="90d, or the last day that it is good on: YYYY-MM-DD (UTC).",
            show_default="never",
        ),
    ] = None,
    type_: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="A type of events that may be sent; again for more. Only of the kind public.",
            show_default="page_viewed, asset_viewed",
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            "--origin",
            metavar="ORIGIN",
            help="An origin of pages, such as https://shop.example; again for more. Only of the kind public.",
            show_default="any",
        ),
    ] = None,
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Make a token and show it, this once: only its hash is kept."""
    with open_app(file) as dayfold:
        made = dayfold.accounts.create_token(
            name,
            kind,
            rollups=rollup or (),
            rows=rows or (),
            accesses=access or (),
            personal=personal,
            events=events,
            expires=expires,
            types=type_ or (),
            origins=origin or (),
        )
    if json:
        write_json({"id": made.id, "name": name, "token": made.secret})
        return
    print(made.secret)
    typer.echo(f"Keep it: it is not shown again. Its id is {made.id}.", err=True)


@app.command(name="list")
def list_(file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """List all tokens, the newest first; never the secrets."""
    from dayfold.ledger.accounts import state_of

    with open_app(file) as dayfold:
        found = [(one, state_of(one, dayfold.clock.now())) for one in dayfold.accounts.tokens()]
    if json:
        tokens = [
            {
                "id": one.id, "name": one.name, "kind": one.kind, "state": state, **one.scope.as_object(),
                **({"types": one.limits.types, "origins": one.limits.origins} if one.kind == "public" else {}),
                "created_at": one.created_at, "created_by": one.created_by, "expires_at": one.expires_at,
                "revoked_at": one.revoked_at,
            }
            for one, state in found
        ]  # fmt: skip
        write_json({"tokens": tokens})
    elif found:
        show_table(
            ("id", "name", "kind", "may", "created", "expires", "state"),
            [
                (
                    one.id,
                    one.name,
                    one.kind,
                    _may(one),
                    one.created_at,
                    one.expires_at or "–",
                    state,
                )
                for one, state in found
            ],
        )
    else:
        print("There is no token.")


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="ID|NAME", help="The token's id, or the name of one or several.")],
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Let a token in no more, from the next request on. Again is harmless."""
    with open_app(file) as dayfold:
        done = dayfold.accounts.revoke_token(token)
    if json:
        write_json({"revoked": [one.id for one in done]})
        return
    for one in done:
        print(f"{one.name} ({one.id}): revoked")


def _may(one: Token) -> str:
    """What a token is good for, in one line."""
    match one.kind:
        case "public":
            return f"send {sends(one.limits)}"
        case "track":
            return "send any event"
        case "jobs":
            return "see and steer jobs"
        case "admin":
            return "do everything"
    return f"see {sees(one.scope)}"


def sends(limits: Limits) -> str:
    """What a public key sends, in one line.

    >>> from dayfold.ledger.tokens import Limits
    >>> sends(Limits(("cta_clicked",), ("https://shop.example",)))
    'cta_clicked from https://shop.example'
    """
    types = ", ".join(limits.types or sorted(PUBLIC_TYPES))
    return f"{types} from {', '.join(limits.origins)}" if limits.origins else types


def sees(scope: Scope) -> str:
    """A scope in one line.

    >>> from dayfold.plan.access import Scope
    >>> sees(Scope.of(["Sales"], {"shop_id": ["42", None], "country": []}))
    'Sales where country is none, shop_id is NULL or 42'
    >>> sees(Scope.of(None, {}, personal=True, events=True))
    'everything, personal data, exports of events'
    """
    rollups = "everything" if scope.rollups is None else ", ".join(scope.rollups)
    rollups += ", personal data" if scope.personal else ""
    rollups += ", exports of events" if scope.events else ""
    rows = [
        f"{key} is {' or '.join('NULL' if one is None else one or chr(34) * 2 for one in values) or 'none'}"
        for key, values in scope.rows
    ]
    rows += [f"{one.access}({', '.join(f'{name}={value}' for name, value in one.params)})" for one in scope.relations]
    return f"{rollups} where {', '.join(rows)}" if rows else rollups
