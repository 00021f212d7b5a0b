"""The options that the seven verbs share."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, TypeAlias

import typer

_request_option = partial(typer.Option, rich_help_panel="Request")
_policy_option = partial(typer.Option, rich_help_panel="Policy")
_output_option = partial(typer.Option, rich_help_panel="Output")

Url: TypeAlias = Annotated[str, typer.Argument(metavar="URL", help="Absolute: https://api.example.com/users")]

Headers: TypeAlias = Annotated[
    list[str] | None, _request_option("--header", "-H", metavar="'NAME: VALUE'", help="A header; repeatable.")
]
Params: TypeAlias = Annotated[
    list[str] | None,
    _request_option("--param", "-p", metavar="NAME=VALUE", help="A query parameter; repeatable."),
]
Json: TypeAlias = Annotated[
    str | None, _request_option("--json", "-j", metavar="JSON", help="A JSON body; @FILE reads a file, @- stdin.")
]
Data: TypeAlias = Annotated[
    str | None,
    _request_option("--data", "-d", metavar="TEXT", help="A body sent as it is; @FILE reads a file, @- stdin."),
]
User: TypeAlias = Annotated[
    str | None, _request_option("--user", "-u", metavar="NAME:PASSWORD", help="Basic credentials.")
]
Key: TypeAlias = Annotated[
    str | None,
    _request_option("--idempotency-key", metavar="KEY", help="Makes any method repeatable; 'auto' generates a key."),
]

Total: TypeAlias = Annotated[
    str | None,
    _policy_option("--timeout", metavar="TIME", help="For the whole call: 5, 500ms, 1.5m; default 30 s."),
]
Attempt: TypeAlias = Annotated[
    str | None, _policy_option("--attempt-timeout", metavar="TIME", help="For one attempt; default 10 s.")
]
MaxAttempts: TypeAlias = Annotated[
    int | None, _policy_option("--max-attempts", metavar="N", help="The first one included; default 3.")
]
NoRetry: TypeAlias = Annotated[bool, _policy_option("--no-retry", help="Exactly one request on the wire.")]
Redirects: TypeAlias = Annotated[
    Literal["same-origin", "any", "none"] | None,
    _policy_option("--redirects", metavar="WHICH", help="same-origin (the default), any or none."),
]

Include: TypeAlias = Annotated[
    bool, _output_option("--include", "-i", help="Print status and headers before the body.")
]
Output: TypeAlias = Annotated[
    str | None, _output_option("--output", "-o", metavar="FILE", help="Write the body to a file.")
]
Trace: TypeAlias = Annotated[bool, _output_option("--trace", "-t", help="Print each attempt as it happens, on stderr.")]
Explain: TypeAlias = Annotated[
    bool, _output_option("--explain", help="Print the chain and the settings of the call; sends nothing.")
]
