"""The options of the verbs, declared once for all seven."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, TypeAlias

import typer

_request_option = partial(typer.Option, rich_help_panel="Request")
_policy_option = partial(typer.Option, rich_help_panel="Policy")
_output_option = partial(typer.Option, rich_help_panel="What is shown")

Url: TypeAlias = Annotated[str, typer.Argument(metavar="URL", help="Absolute: https://api.example.com/users")]

Headers: TypeAlias = Annotated[
    list[str] | None, _request_option("--header", "-H", metavar="'NAME: VALUE'", help="May come many times.")
]
Params: TypeAlias = Annotated[
    list[str] | None,
    _request_option("--param", "-p", metavar="NAME=VALUE", help="Into the query; may come many times."),
]
Json: TypeAlias = Annotated[
    str | None, _request_option("--json", "-j", metavar="JSON", help="A body as JSON; @FILE or @- reads it.")
]
Data: TypeAlias = Annotated[
    str | None, _request_option("--data", "-d", metavar="TEXT", help="A body as it is; @FILE or @- reads it.")
]
User: TypeAlias = Annotated[
    str | None, _request_option("--user", "-u", metavar="NAME:PASSWORD", help="Basic credentials.")
]
Key: TypeAlias = Annotated[
    str | None,
    _request_option("--idempotency-key", metavar="KEY", help="Makes any method repeatable; 'auto' makes one up."),
]

Total: TypeAlias = Annotated[
    str | None,
    _policy_option("--timeout", metavar="TIME", help="For the whole call: 5, 500ms, 1.5m; 30 s if left out."),
]
Attempt: TypeAlias = Annotated[
    str | None, _policy_option("--attempt-timeout", metavar="TIME", help="For one attempt; 10 s if left out.")
]
MaxAttempts: TypeAlias = Annotated[
    int | None, _policy_option("--max-attempts", metavar="N", help="The first one included; 3 if left out.")
]
NoRetry: TypeAlias = Annotated[bool, _policy_option("--no-retry", help="Exactly one request on the wire.")]
Redirects: TypeAlias = Annotated[
    Literal["same-origin", "any", "none"] | None,
    _policy_option("--redirects", metavar="WHICH", help="same-origin (if left out), any or none."),
]

Include: TypeAlias = Annotated[bool, _output_option("--include", "-i", help="Status and headers before the body.")]
Output: TypeAlias = Annotated[
    str | None, _output_option("--output", "-o", metavar="FILE", help="The body into a file.")
]
Trace: TypeAlias = Annotated[bool, _output_option("--trace", "-t", help="Each attempt as it happens, on stderr.")]
Explain: TypeAlias = Annotated[
    bool, _output_option("--explain", help="What the call would go through, and who set what; sends nothing.")
]
