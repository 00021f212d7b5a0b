"""The client: the edge where calls begin and end.

Here a call gets its context and its deadline, and here its value is decoded, its error completed, its outcome made.
Everything between happens in the chain; see ``chain`` for its order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Never, Self, TypeVar

from typing_extensions import Unpack

from resilient_client._call import finish
from resilient_client._call.fallback import fall_back, fallback_for
from resilient_client._call.prepare import RequestBuilder
from resilient_client._call.settings import Layers
from resilient_client._call.stream import StreamContext, StreamResponse, check_stream_options
from resilient_client._client.arguments import (
    checked_auth,
    checked_base,
    checked_config,
    checked_middlewares,
    checked_name,
    checked_rng,
    checked_transport,
)
from resilient_client._client.explain import Explanation
from resilient_client._client.fan_out import FanOut
from resilient_client._client.inspection import Inspection
from resilient_client._client.runtime import Runtime
from resilient_client._client.verbs import Verbs
from resilient_client._core.call import Call, CallOptions
from resilient_client._core.deadline import ambient_deadline
from resilient_client._core.errors import APIError, ConfigurationError
from resilient_client._core.models import validator_for
from resilient_client._core.outcome import Failure, Outcome, Success
from resilient_client._core.protocols import Auth, Handler, Middleware, Transport
from resilient_client._core.request import CallContext, Request
from resilient_client._core.response import Response
from resilient_client._core.types import NOT_GIVEN, HeadersLike, NotGiven, Priority, QueryParams
from resilient_client._core.validation import suggest
from resilient_client._policies.http.redaction import redact_url
from resilient_client._settings.bulkhead import AdaptiveConcurrency, Bulkhead
from resilient_client._settings.circuit_breaker import CircuitBreaker
from resilient_client._settings.config import ClientConfig, FollowRedirects
from resilient_client._settings.connection import ConnectionSettings
from resilient_client._settings.fallback import Fallback
from resilient_client._settings.hedging import Hedging
from resilient_client._settings.load_balancing import LoadBalancing
from resilient_client._settings.rate_limit import RateLimit
from resilient_client._settings.retry import Retry, RetryBudget
from resilient_client._settings.timeout import Timeout
from resilient_client._transport import AiohttpTransport

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
R = TypeVar("R")


class APIClient(Verbs, FanOut, Inspection):
    """Calls one upstream, or many, and can be trusted to end, to spare the upstream, and to say what happened.

    Touches no event loop until it is first used, so it may be built at import time; from then on it belongs to that
    loop, and any number of its tasks may share it. Close it with ``async with`` or ``await api.close()``.
    """

    __slots__ = ("_layers", "_owner", "_request_builder", "_runtime")

    def __init__(
        self,
        base_url: str | Sequence[str] | None = None,
        *,
        name: str | None = None,
        headers: HeadersLike | None = None,
        params: QueryParams | None = None,
        auth: Auth | None = None,
        timeout: Timeout | float | str | NotGiven | None = NOT_GIVEN,
        retry: Retry | NotGiven | None = NOT_GIVEN,
        retry_budget: RetryBudget | NotGiven | None = NOT_GIVEN,
        circuit_breaker: CircuitBreaker | NotGiven | None = NOT_GIVEN,
        hedging: Hedging | NotGiven | None = NOT_GIVEN,
        rate_limit: RateLimit | NotGiven | None = NOT_GIVEN,
        bulkhead: Bulkhead | AdaptiveConcurrency | NotGiven | None = NOT_GIVEN,
        fallback: Fallback | NotGiven | None = NOT_GIVEN,
        coalesce: bool | NotGiven = NOT_GIVEN,
        follow_redirects: FollowRedirects | NotGiven = NOT_GIVEN,
        raise_for_status: bool | NotGiven = NOT_GIVEN,
        load_balancing: LoadBalancing | NotGiven = NOT_GIVEN,
        connection: ConnectionSettings | NotGiven = NOT_GIVEN,
        middleware: Sequence[Middleware] = (),
        attempt_middleware: Sequence[Middleware] = (),
        session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
        config: ClientConfig | None = None,
        rng: random.Random | None = None,
        **unknown: Never,
    ) -> None:
        """Describe a client. Settings left out keep their safe defaults; ``None`` switches a pattern off.

        Args:
            base_url: What every path is appended to; several that serve the same: a list. ``None``: every call names
                an absolute URL.
            name: For events and errors; the host of the base URL if left out.
            headers: Sent with every call.
            params: Query parameters of every call.
            auth: Who the caller is, applied to each attempt.
            timeout: How long things may take; a bare number sets ``total``, in seconds.
            retry: When an attempt is repeated; ``None``: exactly one wire request a call.
            retry_budget: What bounds retries in an outage.
            circuit_breaker: When a failing endpoint is left alone.
            hedging: When a second attempt is started beside a slow one; off if left out.
            rate_limit: How many attempts an endpoint gets in a stretch of time; off if left out.
            bulkhead: How many it gets at once, fixed or learnt (``AdaptiveConcurrency``); off if left out.
            fallback: What to give in place of an error, for the kinds it names.
            coalesce: Whether GET and HEAD calls that are alike, at the same time, share one flight.
            follow_redirects: ``"same-origin"``, ``"any"``, or ``None``: redirects are given back.
            raise_for_status: Whether a 4xx or 5xx reply raises.
            load_balancing: Which of several endpoints an attempt goes to.
            connection: How connections are made and kept.
            middleware: Your own, once a call, outermost first; outside retry.
            attempt_middleware: Your own, once an attempt, outermost first; inside auth.
            session: An aiohttp session of yours to send through; never closed here.
            transport: What sends instead of aiohttp, such as a ``MockUpstream``; closed with the client.
            config: All settings in one object; those given as keywords lie over it.
            rng: The source of chance, for repeatable tests; one of its own if left out.
            unknown: Nothing: a misspelt keyword is answered with the closest known one.

        Raises:
            ConfigurationError: A setting is wrong; names it, its value, what is allowed, what to do.
        """
        if unknown:
            raise _unknown_keyword(next(iter(unknown)))
        if session is not None and transport is not None:
            raise ConfigurationError("session and transport exclude each other; give the one that shall send")
        given = {
            "timeout": timeout,
            "retry": retry,
            "retry_budget": retry_budget,
            "circuit_breaker": circuit_breaker,
            "hedging": hedging,
            "rate_limit": rate_limit,
            "bulkhead": bulkhead,
            "fallback": fallback,
            "coalesce": coalesce,
            "follow_redirects": follow_redirects,
            "raise_for_status": raise_for_status,
            "load_balancing": load_balancing,
            "connection": connection,
        }
        layers = Layers().over("config", checked_config(config) or {})
        self._layers = layers.over("client", {key: value for key, value in given.items() if value is not NOT_GIVEN})
        settings = self._layers.config
        base, several = checked_base(base_url, settings)
        self._request_builder = RequestBuilder.build(base, headers, params, settings.idempotency_header)
        self._runtime = Runtime(
            checked_name(name, None if base is None else base.host),
            settings,
            checked_transport(transport) or AiohttpTransport(settings.connection, session),
            self._layers.usual.limits,
            several,
            auth=checked_auth(auth),
            middleware=checked_middlewares("middleware", middleware),
            attempt_middleware=checked_middlewares("attempt_middleware", attempt_middleware),
            rng=checked_rng(rng),
        )
        self._owner = True

    # -- calls ---------------------------------------------------------------------------------------------------

    def send(self, call: Call[T]) -> Coroutine[Any, Any, T]:
        """Make a described call and give its value; the verbs describe and make one in a single step.

        Raises:
            APIError: The call failed.
            ConfigurationError: The client is closed or belongs to another event loop.
        """
        return self._make(call, _value)

    async def run(self, call: Call[T]) -> Outcome[T]:
        """Make a described call; a failure is an outcome, not an exception. Cancellation propagates."""
        try:
            return await self._make(call, _success, wrap=True)
        except APIError as error:
            return Failure(error, key=getattr(call, "key", None))  # what is no call has none
        except ConfigurationError as error:  # before there was a request: the client is closed, or of another loop
            return Failure(finish.misused(call, error), key=call.key)
        except Exception as error:
            return Failure(finish.unexpected(error), key=call.key)

    def stream(self, method: str, path: str, **options: Unpack[CallOptions]) -> StreamContext:
        """Open a reply and leave its body to the caller: ``async with api.stream("GET", "/export") as reply``.

        Retry and all other policies apply up to the headers, the deadline to the whole body.

        Raises:
            APIError: On entry: the call failed before its body began.
        """
        return StreamContext(lambda: self._open_stream(Call(method, path, **options)))

    # -- views, insight, lifecycle -------------------------------------------------------------------------------

    def with_options(
        self,
        *,
        timeout: Timeout | float | str | NotGiven | None = NOT_GIVEN,
        retry: Retry | NotGiven | None = NOT_GIVEN,
        hedging: Hedging | NotGiven | None = NOT_GIVEN,
        fallback: Fallback | NotGiven | None = NOT_GIVEN,
        coalesce: bool | NotGiven = NOT_GIVEN,
        raise_for_status: bool | NotGiven = NOT_GIVEN,
        priority: Priority | NotGiven = NOT_GIVEN,
        headers: HeadersLike | None = None,
        params: QueryParams | None = None,
        **unknown: Never,
    ) -> APIClient:
        """A view of this client with other options: same connections, circuits and budgets. Needs no closing.

        Settings are laid over this client's field by field; headers and parameters are added.

        Raises:
            ConfigurationError: A value is wrong, or the option cannot differ between views.
        """
        if unknown:
            raise _unknown_keyword(next(iter(unknown)), "with_options()", _VIEW_OPTIONS)
        given = {
            "timeout": timeout,
            "retry": retry,
            "hedging": hedging,
            "fallback": fallback,
            "coalesce": coalesce,
            "raise_for_status": raise_for_status,
            "priority": priority,
        }
        view = object.__new__(type(self))
        view._runtime = self._runtime
        view._layers = self._layers.over(
            "options", {key: value for key, value in given.items() if value is not NOT_GIVEN}
        )
        view._request_builder = self._request_builder.over(headers, params)
        view._owner = False
        return view

    def explain(self, method: str, path: str, **options: Unpack[CallOptions]) -> Explanation:
        """What a call would go through: the chain, each value in force, and the layer that set it. Sends nothing."""
        call: Call[Response] = Call(method, path, **options)
        url, *_ = self._request_builder.prepare(call)
        chosen = {key: value for key, value in options.items() if key in _VIEW_OPTIONS - {"headers", "params"}}
        layers = self._layers.over("call", chosen) if chosen else self._layers
        plan, count = layers.usual, len(self.endpoints)
        links = self._runtime.links(coalesce=plan.coalesce, hedging=plan.hedging is not None)
        more = f", or another of {count} endpoints" if count > 1 else ""
        return Explanation(f"{call.method} {redact_url(url)}{more}", links, tuple(layers.explained()))

    @property
    def config(self) -> ClientConfig:
        """The settings in force."""
        return self._layers.config

    def _bind(self) -> None:
        """Make sure that this client may be used on the running event loop, to which it belongs from now on.

        Raises:
            ConfigurationError: The client is closed or belongs to another event loop.
        """
        self._runtime.bind()

    async def __aenter__(self) -> Self:
        self._bind()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Calls in flight fail; further ones raise. A view closes nothing."""
        if self._owner:
            await self._runtime.close()

    def __repr__(self) -> str:
        base = self._request_builder.base
        return f"<APIClient {self._runtime.context.name!r}{'' if base is None else f' at {base}'}>"

    # -- the edge ------------------------------------------------------------------------------------------------

    async def _make(self, call: Call[T], give: Callable[..., R], *, wrap: bool = False) -> R:
        request, raises, handler = self._begin(call)
        try:
            response = finish.complete(request, await handler(request), raises)
            model = call.response_model
            value: Any = response if model is None else finish.decode(request, response, model)
        except APIError as error:
            fallback = fallback_for(request, finish.fail(request, error), self._layers.config.fallback)
            if fallback is None:
                raise error from error.__cause__  # by no name that lasts: it would be garbage for the collector
            failed = error
        except asyncio.CancelledError as cancellation:
            finish.leave(request, cancellation)
            raise
        except Exception as error:
            wrapped = finish.fail(request, finish.unexpected(error))
            if wrap:
                raise wrapped from error
            raise
        else:
            if request.context.client.events.active:
                finish.announce(request, response)
            return give(call, value, response)
        try:
            return give(call, await fall_back(request, failed, fallback, self), failed, failed)
        except asyncio.CancelledError as cancellation:
            finish.leave(request, cancellation)
            raise
        finally:
            del failed  # an error that knows a frame that knows the error is only freed by the collector

    async def _open_stream(self, call: Call[Response]) -> StreamResponse:
        check_stream_options(call.given)
        request, raises, _ = self._begin(call, streaming=True)
        context = request.context
        try:
            response = finish.complete(request, await self._runtime.handler(request), raises)
            body, context.open_stream = context.open_stream, None
            return StreamResponse(response, body, request, partial(finish.conclude, request, response))
        except APIError as error:
            raise finish.fail(request, error) from error.__cause__
        finally:
            if context.open_stream is not None:
                context.open_stream.close()

    def _begin(self, call: Call[Any], *, streaming: bool = False) -> tuple[Request, bool, Handler]:
        runtime = self._runtime
        loop = asyncio.get_running_loop()
        if loop is not runtime.loop:
            runtime.bind()
        now = loop.time()
        url, endpoint, headers, body, key = self._request_builder.prepare(call)
        if call.response_model is not None:
            validator_for(call.response_model)  # one that cannot be used is complained of before anything is sent
        given = call.given
        limits, retry, raises, coalesce, priority, hedging = self._layers.plan(given) if given else self._layers.usual
        end = ambient_deadline()
        if limits.total is not None and now + limits.total < end:
            end = now + limits.total
        context = CallContext(call, runtime.context, limits, retry, endpoint, now, end, key, streaming)
        if priority != "user":
            context.priority = priority
        request = Request(call.method, url, headers, body, context, None, endpoint)
        if hedging is None or streaming:
            return request, raises, runtime.handlers[True, False] if coalesce else runtime.handler
        context.hedging = hedging
        return request, raises, runtime.handlers[coalesce, True]


def _value(_call: Call[T], value: T, _told: Response | APIError, _replaced: APIError | None = None) -> T:
    return value


def _success(call: Call[T], value: T, told: Response | APIError, replaced: APIError | None = None) -> Outcome[T]:
    return Success(
        value, key=call.key, attempts=told.attempts, elapsed=told.elapsed, history=told.history, replaced=replaced
    )


_VIEW_OPTIONS = frozenset(
    {"timeout", "retry", "hedging", "fallback", "coalesce", "raise_for_status", "priority", "headers", "params"}
)
_KEYWORDS = frozenset(APIClient.__init__.__annotations__) - {"return", "unknown"}


def _unknown_keyword(name: str, where: str = "APIClient", known: frozenset[str] = _KEYWORDS) -> ConfigurationError:
    return ConfigurationError(f"{where} has no setting {name!r}; {suggest(name, known)}")
