"""The options of the verbs, declared once for all seven."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, TypeAlias

import typer

_sent = partial(typer.Option, rich_help_panel="Request")
_policy = partial(typer.Option, rich_help_panel="Policy")
_shown = partial(typer.Option, rich_help_panel="What is shown")

Url: TypeAlias = Annotated[str, typer.Argument(metavar="URL", help="Absolute: https://api.example.com/users")]

Headers: TypeAlias = Annotated[
    list[str] | None, _sent("--header", "-H", metavar="'NAME: VALUE'", help="May come many times.")
]
Params: TypeAlias = Annotated[
    list[str] | None, _sent("--param", "-p", metavar="NAME=VALUE", help="Into the query; may come many times.")
]
Json: TypeAlias = Annotated[
    str | None, _sent("--json", "-j", metavar="JSON", help="A body as JSON; @FILE or @- reads it.")
]
Data: TypeAlias = Annotated[
    str | None, _sent("--data", "-d", metavar="TEXT", help="A body as it is; @FILE or @- reads it.")
]
User: TypeAlias = Annotated[str | None, _sent("--user", "-u", metavar="NAME:PASSWORD", help="Basic credentials.")]
Key: TypeAlias = Annotated[
    str | None,
    _sent("--idempotency-key", metavar="KEY", help="Makes any method repeatable; 'auto' makes one up."),
]

Total: TypeAlias = Annotated[
    str | None, _policy("--timeout", metavar="TIME", help="For the whole call: 5, 500ms, 1.5m; 30 s if left out.")
]
Attempt: TypeAlias = Annotated[
    str | None, _policy("--attempt-timeout", metavar="TIME", help="For one attempt; 10 s if left out.")
]
MaxAttempts: TypeAlias = Annotated[
    int | None, _policy("--max-attempts", metavar="N", help="The first one included; 3 if left out.")
]
NoRetry: TypeAlias = Annotated[bool, _policy("--no-retry", help="Exactly one request on the wire.")]
Redirects: TypeAlias = Annotated[
    Literal["same-origin", "any", "none"] | None,
    _policy("--redirects", metavar="WHICH", help="same-origin (if left out), any or none."),
]

Include: TypeAlias = Annotated[bool, _shown("--include", "-i", help="Status and headers before the body.")]
Output: TypeAlias = Annotated[str | None, _shown("--output", "-o", metavar="FILE", help="The body into a file.")]
Trace: TypeAlias = Annotated[bool, _shown("--trace", "-t", help="Each attempt as it happens, on stderr.")]
Explain: TypeAlias = Annotated[
    bool, _shown("--explain", help="What the call would go through, and who set what; sends nothing.")
]
