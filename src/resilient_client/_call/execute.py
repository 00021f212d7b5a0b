"""One call from start to end, on one page.

::

    begin     settings resolved, deadline fixed, request built
      ▼
    handler   the chain, down to the transport and back
      ▼
    finish    complete the response, decode the value             or complete the error, then fallback or raise

``run`` returns what ``give`` makes of the value; ``open_stream`` stops after the chain and leaves the body to the
caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from resilient_client._call import finish
from resilient_client._call.fallback import fall_back, fallback_for
from resilient_client._call.prepare import RequestBuilder
from resilient_client._call.settings import SettingsStack
from resilient_client._call.stream import StreamResponse, check_stream_options
from resilient_client._core.call import Call
from resilient_client._core.context import CallContext
from resilient_client._core.deadline import ambient_deadline
from resilient_client._core.errors import APIError, InvalidRequestError, ResilientClientError
from resilient_client._core.events import CallFinished
from resilient_client._core.frames import without_frames
from resilient_client._core.models import validator_for
from resilient_client._core.protocols import Handler, Runner
from resilient_client._core.request import Request
from resilient_client._core.response import Response

if TYPE_CHECKING:
    from resilient_client._client.runtime import Runtime

T = TypeVar("T")
R = TypeVar("R")


class Executor:
    """Executes the calls of one client or view.

    Attributes:
        runtime: What all views of the client share.
        builder: Builds the requests.
        stack: The layers of settings.
    """

    __slots__ = ("builder", "runtime", "stack")

    def __init__(self, runtime: Runtime, builder: RequestBuilder, stack: SettingsStack) -> None:
        self.runtime = runtime
        self.builder = builder
        self.stack = stack

    async def run(self, call: Call[T], give: Callable[..., R], runner: Runner, *, wrap: bool = False) -> R:
        """Execute a call.

        Args:
            call: What to do.
            give: Makes the result of the call, the value, its source and the error that a fallback replaced, if any.
            runner: Runs the ``Call`` of a fallback.
            wrap: Whether an unexpected exception is raised as an ``APIError``.

        Raises:
            APIError: The call failed.
            ConfigurationError: The client is closed or belongs to another event loop.
        """
        runtime = self.runtime
        if asyncio.get_running_loop() is not runtime.loop:
            runtime.bind()
        request, handler = self.begin(call)
        try:
            response = finish.complete(request, await handler(request))
            model = call.response_model
            value: Any = response if model is None else finish.decode(request, response, model)
        except APIError as error:
            fallback = fallback_for(request, finish.failed(request, error), self.stack.config.fallback)
            if fallback is None:
                raise error from error.__cause__  # not by a name that lasts: only the collector would free it
            failure = error
        except asyncio.CancelledError as cancellation:
            finish.annotate_cancelled(request, cancellation)
            raise
        except Exception as error:
            wrapped = finish.failed(request, finish.unexpected(error))
            if wrap:
                raise wrapped from error
            raise
        else:
            # perf: -2.9 % instructions per call, with the other places that look up the listeners first
            if response.status >= 400 or runtime.events.listeners_of[CallFinished]:
                finish.succeeded(request, response)
            return give(call, value, response)
        try:
            return give(call, await fall_back(request, failure, fallback, runner), failure, failure)
        except asyncio.CancelledError as cancellation:
            finish.annotate_cancelled(request, cancellation)
            raise
        finally:
            del failure  # an error whose frame refers to it is freed only by the collector

    async def open_stream(self, call: Call[Response]) -> StreamResponse:
        """Execute a call up to the headers of its response.

        Raises:
            APIError: The call failed before its body began.
            ConfigurationError: The client is closed or belongs to another event loop.
        """
        check_stream_options(call.given)
        runtime = self.runtime
        if asyncio.get_running_loop() is not runtime.loop:
            runtime.bind()
        request, _ = self.begin(call, streaming=True)
        context = request.context
        try:
            response = finish.complete(request, await runtime.handler(request))
            if context.open_response is response:
                context.open_response = None  # from here on the stream owns it
            return StreamResponse(response, request, partial(finish.stream_ended, request, response))
        except APIError as error:
            raise finish.failed(request, error) from error.__cause__
        except asyncio.CancelledError as cancellation:
            finish.annotate_cancelled(request, cancellation)
            raise
        finally:
            context.close_open_response()

    def begin(self, call: Call[Any], *, streaming: bool = False) -> tuple[Request, Handler]:
        """The request of a call, and the chain for it.

        Raises:
            InvalidRequestError: The call cannot be sent as it is.
        """
        try:
            runtime = self.runtime
            runtime.log.follow_levels()
            settings = self.stack.for_call(call.given) if call.given else self.stack.defaults
            now = runtime.loop_time()
            ends_at = ambient_deadline()
            total = settings.limits.total
            if total is not None and now + total < ends_at:
                ends_at = now + total
            context = CallContext(call, runtime, settings, now, ends_at, streaming)
            request = self.builder.build(context)
            if call.response_model is not None:
                validator_for(call.response_model)  # a type that cannot be used is refused before anything is sent
            if settings.hedging is None or streaming:
                return request, runtime.handlers[True, False] if settings.coalesce else runtime.handler
            return request, runtime.handlers[settings.coalesce, True]
        except InvalidRequestError as error:
            raise without_frames(error)  # noqa: B904 -- the same one, without the frames that hold the refused values
        except ResilientClientError:
            raise
        except Exception as failure:  # an argument with methods of its own, which may raise anything
            invalid = finish.unreadable_call(call, failure)
        raise invalid  # outside: __context__ would keep the exception, which may hold a secret
