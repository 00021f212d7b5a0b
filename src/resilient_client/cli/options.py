"""The options of the verbs, declared once for all seven."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

_REQUEST, _POLICY, _SHOWN = "Request", "Policy", "What is shown"

Url: TypeAlias = Annotated[str, typer.Argument(metavar="URL", help="Absolute: https://api.example.com/users")]
Headers: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="May come many times.", rich_help_panel=_REQUEST),
]
Params: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--param", "-p", metavar="NAME=VALUE", help="Into the query; may come many times.", rich_help_panel=_REQUEST
    ),
]
Json: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--json", "-j", metavar="JSON", help="A body as JSON; @FILE or @- reads it.", rich_help_panel=_REQUEST
    ),
]
Data: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--data", "-d", metavar="TEXT", help="A body as it is; @FILE or @- reads it.", rich_help_panel=_REQUEST
    ),
]
User: TypeAlias = Annotated[
    str | None,
    typer.Option("--user", "-u", metavar="NAME:PASSWORD", help="Basic credentials.", rich_help_panel=_REQUEST),
]
Key: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="Makes any method repeatable; 'auto' makes one up.",
        rich_help_panel=_REQUEST,
    ),
]
Total: TypeAlias = Annotated[
    str | None,
    typer.Option("--timeout", metavar="TIME", help="For the whole call: 5, 500ms, 1.5m. [30]", rich_help_panel=_POLICY),
]
Attempt: TypeAlias = Annotated[
    str | None,
    typer.Option("--attempt-timeout", metavar="TIME", help="For one attempt. [10]", rich_help_panel=_POLICY),
]
MaxAttempts: TypeAlias = Annotated[
    int | None,
    typer.Option("--max-attempts", metavar="N", help="The first one included. [3]", rich_help_panel=_POLICY),
]
NoRetry: TypeAlias = Annotated[
    bool, typer.Option("--no-retry", help="Exactly one request on the wire.", rich_help_panel=_POLICY)
]
Redirects: TypeAlias = Annotated[
    Literal["same-origin", "any", "none"] | None,
    typer.Option(
        "--redirects",
        metavar="WHICH",
        help="Followed: same-origin, any or none. [same-origin]",
        rich_help_panel=_POLICY,
    ),
]
Include: TypeAlias = Annotated[
    bool, typer.Option("--include", "-i", help="Status and headers before the body.", rich_help_panel=_SHOWN)
]
Output: TypeAlias = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="The body into a file.", rich_help_panel=_SHOWN)
]
Trace: TypeAlias = Annotated[
    bool, typer.Option("--trace", "-t", help="Each attempt as it happens, on stderr.", rich_help_panel=_SHOWN)
]
Explain: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--explain", help="What the call would go through, and who set what; sends nothing.", rich_help_panel=_SHOWN
    ),
]
