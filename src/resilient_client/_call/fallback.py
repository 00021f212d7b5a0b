"""At the edge, when a call has failed: the fallback's value in place of the error.

Never on the way of a call that succeeds. The failure has been told by then, to the circuit, the budget and the
listeners: a fallback hides nothing from them. It has what is left of the call's deadline, and no time of its own.
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
"""The clients for whose calls a fallback is being made here."""


def fallback_for(request: Request, error: APIError, usual: Fallback | None) -> Fallback | None:
    """What stands in for ``error``: the call's own fallback, or the client's usual one, if it names that kind.

    Within a fallback of a client its usual one does not apply: a dead upstream would ask for it again and again.
    """
    own = request.context.call.given.get("fallback", NOT_GIVEN)
    if own is NOT_GIVEN:
        own = None if request.context.client in _answering.get() else usual
    return own if own is not None and error.kind in own.kinds else None


async def fall_back(request: Request, error: APIError, fallback: Fallback, client: Runner) -> Any:
    """The fallback's value.

    Args:
        request: What failed.
        error: How; complete.
        fallback: What stands in for it.
        client: Who makes the ``Call`` of a fallback, unless that carries a client.

    Raises:
        APIError: ``error``, when there is no value to be had. It says so, and its ``__context__`` is why.
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
    if problem is not error:  # a function that raises what it was given has nothing better
        ours = isinstance(problem, ResilientClientError)  # the text of any other may hold anything
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
    """Calls made inside end with this one, and do not fall back for their part."""
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
    """The result, if it is there before the deadline."""
    try:
        _check_time(request)
    except DeadlineExceededError:
        if (give_up := getattr(given, "close", None) or getattr(given, "cancel", None)) is not None:
            give_up()
        raise
    timeout = TaskTimeout(request.context.client.timer, request.context.deadline)
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
