"""``resilient-client get URL`` and the other verbs: one call through the whole default chain.

The body goes to stdout, everything about the call to stderr. The exit code is 0 for a status below 400 and 1 for any
other result. Wrong input raises before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import typer

from resilient_client._cli import inputs, options, reply
from resilient_client._cli.errors import FAILED, OK, print_error
from resilient_client._cli.explain import render_explanation
from resilient_client._cli.output import err, out
from resilient_client._cli.signals import run
from resilient_client._cli.trace import Trace
from resilient_client._client.client import APIClient
from resilient_client._core.call import Call
from resilient_client._core.causes import RefusalCause
from resilient_client._core.errors import (
    APIError,
    APIStatusError,
    ConfigurationError,
    InvalidRequestError,
    RedirectError,
)
from resilient_client._core.response import Response
from resilient_client._core.types import NOT_GIVEN, NotGiven
from resilient_client._settings.config import FollowRedirects
from resilient_client.auth import BasicAuth

_REDIRECTS: dict[str | None, FollowRedirects | NotGiven] = {
    None: NOT_GIVEN,
    "same-origin": "same-origin",
    "any": "any",
    "none": None,
}
_EPILOG = (
    "Exit code: 0 below status 400, 1 for any failure, 2 for wrong input (nothing was sent), 130 when interrupted."
)

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


def register(app: typer.Typer) -> None:
    """Add one command per method to ``app``."""
    for name in METHODS:
        output = "status and headers" if name == "head" else "the body of the reply"
        help_ = f"Send one {name.upper()} call and print {output}."
        app.command(name, help=help_, epilog=_EPILOG)(_verb(name.upper()))


def _verb(method: str) -> Callable[..., int]:
    def command(
        url: options.Url,
        header: options.Headers = None,
        param: options.Params = None,
        json: options.Json = None,
        data: options.Data = None,
        user: options.User = None,
        idempotency_key: options.Key = None,
        timeout: options.Total = None,
        attempt_timeout: options.Attempt = None,
        max_attempts: options.MaxAttempts = None,
        no_retry: options.NoRetry = False,
        redirects: options.Redirects = None,
        include: options.Include = False,
        output: options.Output = None,
        trace: options.Trace = False,
        explain: options.Explain = False,
    ) -> int:
        call_options: dict[str, Any] = {
            "headers": inputs.header_pairs(header or ()),
            "params": inputs.param_pairs(param or ()),
            **inputs.timeout_option(timeout, attempt_timeout),
            **inputs.retry_option(max_attempts, no_retry),
        }
        if idempotency_key is not None:
            call_options["idempotency_key"] = idempotency_key
        _add_body(call_options, json, data)
        call: Call[Response] = Call(method, inputs.checked_url(url), **call_options)
        api = APIClient(
            auth=BasicAuth(*inputs.credentials(user)) if user is not None else None,
            follow_redirects=_REDIRECTS[redirects],
        )
        if explain:
            return _explain(api, call)
        if trace:
            api.subscribe(Trace(err()))
        return _send_and_write(
            api, call, include=include or method == "HEAD", destination=inputs.checked_destination(output)
        )

    return command


def _add_body(call_options: dict[str, Any], json: str | None, data: str | None) -> None:
    """Add the body to the options of a call, and its media type unless a header sets it."""
    if json is not None and data is not None:
        raise ConfigurationError("--json and --data exclude each other; give one")
    if json is not None:
        call_options["content"] = inputs.json_body(json)
        if not any(name.lower() == "content-type" for name, _ in call_options["headers"]):
            call_options["headers"].append(("Content-Type", "application/json"))
    elif data is not None:
        call_options["content"] = inputs.raw_body(data)


def _explain(api: APIClient, call: Call[Response]) -> int:
    console = out()
    explained = api.explain(call.method, call.path, **call.given)
    console.print(
        render_explanation(explained) if console.is_terminal else str(explained), soft_wrap=not console.is_terminal
    )
    return OK


def _send_and_write(api: APIClient, call: Call[Response], *, include: bool, destination: Path | None) -> int:
    """Send the call, write the reply, and return the exit code.

    An error reply goes to stdout even with ``--output``: the file may hold the body of an earlier success.
    """
    try:
        response = run(_send(api, call))
    except InvalidRequestError:
        raise
    except APIStatusError as error:
        reply.show_reply(error.response, include=include)
        return _failed(error)
    except APIError as error:
        return _failed(error)
    if destination is not None:
        try:
            destination.write_bytes(response.content)
        except OSError as error:
            return print_error(
                f"--output: {str(destination)!r} cannot be written: {inputs.os_error_reason(error)}", FAILED
            )
    reply.show_reply(response, include=include, with_body=destination is None)
    return OK


def _failed(error: APIError) -> int:
    return print_error(str(_with_options(error)), FAILED)


def _with_options(error: APIError) -> APIError:
    """The same error, whose advice names options of the command line where the library's names arguments of Python."""
    shown = copy(error)
    if isinstance(error, RedirectError) and error.cross_origin:
        shown.advice = ("call that origin, or give --redirects any",)
    elif error.not_retried is RefusalCause.UNSAFE:
        method = "request" if error.request is None else error.request.method
        advice = f"not retried: the server may have acted on this {method}; give --idempotency-key auto"
        shown.advice = (f"{advice} if a repeat is harmless",)
    return shown


async def _send(api: APIClient, call: Call[Response]) -> Response:
    async with api:
        return await api.send(call)
