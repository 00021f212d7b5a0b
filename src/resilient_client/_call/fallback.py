"""The fallback's value in place of the error of a failed call.

Not involved in a call that succeeds. The circuit, the budget and the listeners know of the failure by then, so a
fallback hides nothing from them. It has the rest of the call's deadline, and no time of its own.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from resilient_client._core.call import Call
from resilient_client._core.context import ClientContext
from resilient_client._core.deadline import RESOLUTION, TaskTimeout, deadline
from resilient_client._core.errors import APIError, DeadlineExceededError, ResilientClientError
from resilient_client._core.events import FallbackUsed
from resilient_client._core.outcome import Failure
from resilient_client._core.protocols import Runner
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._core.types import NOT_GIVEN
from resilient_client._settings.fallback import Fallback

_answering: ContextVar[tuple[ClientContext, ...]] = ContextVar("resilient_client_answering", default=())
"""The clients whose calls are being answered by a fallback in this context."""


def fallback_for(request: Request, error: APIError, default: Fallback | None) -> Fallback | None:
    """The fallback for ``error``: that of the call, or that of the client, if it names that kind.

    Within a fallback of a client, the client's own does not apply: a dead upstream would make it recurse.
    """
    own = request.context.call.given.get("fallback", NOT_GIVEN)
    if own is NOT_GIVEN:
        own = None if request.context.client in _answering.get() else default
    return own if own is not None and error.kind in own.kinds else None


async def fall_back(request: Request, error: APIError, fallback: Fallback, client: Runner) -> Any:
    """The fallback's value.

    Args:
        request: The request that failed.
        error: Its error, complete.
        fallback: What replaces the error.
        client: Sends the ``Call`` of a fallback, unless that carries its own client.

    Raises:
        APIError: ``error``, if the fallback failed too. Its advice says so, and its ``__context__`` is the reason.
    """
    context = request.context
    try:
        with _answers(request):
            value = await _value(request, error, fallback.source, client)
    except Exception as failure:
        problem = failure
    else:
        context.emit(FallbackUsed, kind=error.kind, ok=True)
        return value
    if problem is not error:  # a function that raises its argument has no value to offer
        ours = isinstance(problem, ResilientClientError)  # any other text may contain anything
        detail = str(problem) if ours else type(problem).__name__
        error.advice = (*error.advice, f"its fallback failed: {detail}")
        error.__context__ = problem
    context.emit(FallbackUsed, kind=error.kind, ok=False, detail=type(problem).__name__)
    try:
        raise error
    finally:
        del error, problem  # an error that knows a frame that knows the error is only freed by the collector


@contextmanager
def _answers(request: Request) -> Iterator[None]:
    """Calls made inside end with this call, and do not fall back themselves."""
    token = _answering.set((*_answering.get(), request.context.client))
    try:
        with deadline(at=request.context.deadline):
            yield
    finally:
        _answering.reset(token)


async def _value(request: Request, error: APIError, source: object, client: Runner) -> Any:
    if isinstance(source, Call):
        _check_time(request)
        return await _made(request.context.call, source, client)
    if not callable(source):
        return source
    given = source(error)
    return await _awaited(request, given) if inspect.isawaitable(given) else given


async def _made(call: Call[Any], instead: Call[Any], client: Runner) -> Any:
    outcome = await (instead.client or client).run(instead)
    if isinstance(outcome, Failure):
        raise outcome.error
    value = outcome.value
    if not isinstance(value, Response):
        return value
    value.from_fallback = True
    wanted = call.response_model if instead.response_model is None else None
    return value if wanted is None else value.parse(wanted)


async def _awaited(request: Request, given: Awaitable[object]) -> object:
    """The result of an awaitable, if it comes before the deadline."""
    try:
        _check_time(request)
    except DeadlineExceededError:
        if (give_up := getattr(given, "close", None) or getattr(given, "cancel", None)) is not None:
            give_up()
        raise
    context = request.context
    timeout = TaskTimeout(context.client.timer, context.deadline, context)
    try:
        return await given
    except asyncio.CancelledError:
        if not timeout.uncancel():
            raise
    finally:
        timeout.close()
    raise _no_time()


def _check_time(request: Request) -> None:
    context = request.context
    if context.deadline - context.client.loop_time() < RESOLUTION:
        raise _no_time()


def _no_time() -> DeadlineExceededError:
    return DeadlineExceededError("no time was left for it")
