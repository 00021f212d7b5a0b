"""The client: its settings, its views and its lifecycle.

Verbs, fan-out and inspection are mixed in from the other modules of this package. What happens to a call is on one page
in ``_call.execute``.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Never, Self, TypeVar

from typing_extensions import Unpack

from resilient_client._call import finish
from resilient_client._call.execute import Executor
from resilient_client._call.prepare import RequestBuilder
from resilient_client._call.settings import SettingsStack
from resilient_client._call.stream import StreamContext
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
from resilient_client._core.call import OPTION_NAMES, Call, CallOptions
from resilient_client._core.errors import APIError, ConfigurationError
from resilient_client._core.foreign_names import hint_for_client
from resilient_client._core.frames import forgets_arguments
from resilient_client._core.outcome import Failure, Outcome, Success
from resilient_client._core.protocols import Auth, Middleware, Transport
from resilient_client._core.response import Response
from resilient_client._core.types import NOT_GIVEN, Duration, HeadersLike, NotGiven, Priority, QueryParams
from resilient_client._core.validation import check_duration, shorten, suggest
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


class APIClient(Verbs, FanOut, Inspection):
    """Calls one upstream, or many. A call ends by its deadline, spares the upstream, and says what happened.

    Touches no event loop until it is first used, so it may be built at import time. From then on it belongs to that
    loop, and any number of its tasks may share it. Close it with ``async with`` or ``await api.close()``.
    """

    __slots__ = ("_executor", "_is_view", "_runtime")

    @forgets_arguments
    def __init__(
        self,
        base_url: str | Sequence[str] | None = None,
        *,
        name: str | None = None,
        headers: HeadersLike | None = None,
        params: QueryParams | None = None,
        auth: Auth | None = None,
        timeout: Timeout | Duration | NotGiven | None = NOT_GIVEN,
        retry: Retry | NotGiven | None = NOT_GIVEN,
        retry_budget: RetryBudget | NotGiven | None = NOT_GIVEN,
        circuit_breaker: CircuitBreaker | NotGiven | None = NOT_GIVEN,
        hedging: Hedging | NotGiven | None = NOT_GIVEN,
        rate_limit: RateLimit | NotGiven | None = NOT_GIVEN,
        bulkhead: Bulkhead | AdaptiveConcurrency | NotGiven | None = NOT_GIVEN,
        fallback: Fallback | NotGiven | None = NOT_GIVEN,
        coalesce: bool | NotGiven = NOT_GIVEN,
        follow_redirects: FollowRedirects | NotGiven = NOT_GIVEN,
        max_redirects: int | NotGiven = NOT_GIVEN,
        raise_for_status: bool | NotGiven = NOT_GIVEN,
        max_json_values: int | NotGiven | None = NOT_GIVEN,
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
            base_url: Every path is appended to it. A list: several endpoints that serve the same. ``None``: every call
                names an absolute URL.
            name: For events and errors; defaults to the host of the base URL.
            headers: Sent with every call.
            params: Query parameters of every call.
            auth: The credentials, applied to each attempt.
            timeout: How long a call and its parts may take; a bare duration sets ``total``.
            retry: When an attempt is repeated; ``None``: exactly one wire request per call.
            retry_budget: The bound on retries in an outage.
            circuit_breaker: When a failing endpoint is left alone.
            hedging: When a second attempt starts alongside a slow one; off by default.
            rate_limit: How many attempts an endpoint gets per period; off by default.
            bulkhead: How many attempts an endpoint gets at once, fixed or learnt (``AdaptiveConcurrency``); off by
                default.
            fallback: The value in place of an error, for the kinds it names.
            coalesce: Whether equal GET and HEAD calls that run at the same time share one flight.
            follow_redirects: ``"same-origin"``, ``"any"``, or ``None``: redirects are returned.
            max_redirects: How many redirects may follow each other, 1 to 100, 5 by default.
            raise_for_status: Whether a 4xx or 5xx response raises.
            max_json_values: How many values a JSON body may hold, 1,000,000 by default, or ``None`` for any number.
            load_balancing: Which of several endpoints an attempt goes to.
            connection: How connections are made and kept.
            middleware: Your middlewares that run once per call, outermost first; outside retry.
            attempt_middleware: Your middlewares that run once per attempt, outermost first; inside auth.
            session: Your own aiohttp session to send through; never closed here.
            transport: Sends instead of aiohttp, such as a ``MockUpstream``; closed with the client.
            config: All settings in one object; keywords are laid over it.
            rng: The random generator, for repeatable tests; by default each client has its own, seeded again in a
                forked process. A generator that is given is copied by a fork with its state, as Python does.
            unknown: Nothing: a misspelt keyword is answered with the closest known one.

        Raises:
            ConfigurationError: A setting is wrong; names it, its value, what is allowed, what to do.
        """
        if unknown:
            raise _unknown_keyword(next(iter(unknown)))
        if session is not None and transport is not None:
            raise ConfigurationError("session and transport exclude each other; give the one that is to send")
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
            "max_redirects": max_redirects,
            "raise_for_status": raise_for_status,
            "max_json_values": max_json_values,
            "load_balancing": load_balancing,
            "connection": connection,
        }
        stack = SettingsStack().over("config", checked_config(config) or {})
        stack = stack.over("client", {key: value for key, value in given.items() if value is not NOT_GIVEN})
        settings = stack.config
        base, base_urls = checked_base(base_url, settings)
        runtime = Runtime(
            checked_name(name, None if base is None else base.host),
            settings,
            checked_transport(transport) or AiohttpTransport(settings.connection, session),
            stack.defaults.limits,
            base_urls,
            auth=checked_auth(auth),
            middleware=checked_middlewares("middleware", middleware),
            attempt_middleware=checked_middlewares("attempt_middleware", attempt_middleware),
            rng=checked_rng(rng),
        )
        builder = RequestBuilder.of(base, headers, params, settings.idempotency_header)
        self._runtime = runtime
        self._executor = Executor(runtime, builder, stack)
        self._is_view = False

    # -- calls -------------------------------------------------------------------------------------------------------

    def send(self, call: Call[T]) -> Coroutine[Any, Any, T]:
        """Send a call and return its value; the verbs describe and send one in a single step.

        Raises:
            APIError: The call failed.
            ConfigurationError: The client is closed or belongs to another event loop.
        """
        return self._executor.run(call, _value, self)

    async def run(self, call: Call[T]) -> Outcome[T]:
        """Send a call and return its outcome; a failure is an outcome, not an exception. Cancellation propagates."""
        try:
            return await self._executor.run(call, _success, self, wrap=True)
        except APIError as error:
            return Failure(error, key=call.key if isinstance(call, Call) else None)
        except ConfigurationError as error:  # raised before there was a request
            return Failure(finish.misused(call, error), key=call.key)
        except Exception as error:
            return Failure(finish.unexpected(error), key=call.key)

    def stream(self, method: str, path: str, **options: Unpack[CallOptions]) -> StreamContext:
        """Open a response and leave its body to the caller: ``async with api.stream("GET", "/export") as response``.

        Retry and all other policies apply up to the headers, the deadline to the whole body.

        Raises:
            APIError: On entry: the call failed before its body began.
        """
        return StreamContext(lambda: self._executor.open_stream(Call(method, path, **options)))

    # -- views, inspection, lifecycle --------------------------------------------------------------------------------

    @forgets_arguments
    def with_options(
        self,
        *,
        timeout: Timeout | Duration | NotGiven | None = NOT_GIVEN,
        retry: Retry | NotGiven | None = NOT_GIVEN,
        hedging: Hedging | NotGiven | None = NOT_GIVEN,
        fallback: Fallback | NotGiven | None = NOT_GIVEN,
        coalesce: bool | NotGiven = NOT_GIVEN,
        raise_for_status: bool | NotGiven = NOT_GIVEN,
        max_json_values: int | NotGiven | None = NOT_GIVEN,
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
            "max_json_values": max_json_values,
            "priority": priority,
        }
        executor = self._executor
        view = object.__new__(type(self))
        view._runtime = self._runtime
        view._executor = Executor(
            self._runtime,
            executor.builder.over(headers, params),
            executor.stack.over("options", {key: value for key, value in given.items() if value is not NOT_GIVEN}),
        )
        view._is_view = True
        return view

    def _unbound(self) -> APIClient:
        """A view that belongs to no event loop yet, for one use on any: see ``Runtime.unbound``."""
        view = self.with_options()
        view._runtime = self._runtime.unbound()
        view._executor = Executor(view._runtime, view._executor.builder, view._executor.stack)
        return view

    def explain(self, method: str, path: str, **options: Unpack[CallOptions]) -> Explanation:
        """What a call would go through: the chain, each value in force, and the layer that set it. Sends nothing."""
        call: Call[Response] = Call(method, path, **options)
        request, _ = self._executor.begin(call)
        chosen = {key: value for key, value in options.items() if key in _VIEW_OPTIONS - {"headers", "params"}}
        stack = self._executor.stack
        stack = stack.over("call", chosen) if chosen else stack
        settings, count = stack.defaults, len(self.endpoints)
        links = self._runtime.links(coalesce=settings.coalesce, hedging=settings.hedging is not None)
        more = f", or another of {count} endpoints" if count > 1 else ""
        path = getattr(self._runtime.transport, "path", "")
        return Explanation(f"{call.method} {redact_url(request.url)}{more}", links, tuple(stack.explained()), path)

    @property
    def config(self) -> ClientConfig:
        """The settings in force."""
        return self._executor.stack.config

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

    async def close(self, *, grace: Duration = 0) -> None:
        """Close the client: refuse new calls, end those in flight, and close the connections. A view closes nothing.

        A call that is ended fails with a ``CallCancelledError``, whose ``stage`` and ``maybe_processed`` say how far it
        had come, or, between two attempts, with its last failure. Later calls raise a ``ClientClosedError``. The client
        may be closed twice. If closing is cancelled in its grace period, the rest is ended at once.

        Args:
            grace: The time that calls and streams in flight have to end by themselves, from now on: seconds, text such
                as ``"10s"``, or a ``timedelta``. By default none.

        Raises:
            ConfigurationError: ``grace`` is not a duration of 0 or more.
        """
        seconds = check_duration("close(grace=)", grace, zero=True, infinite=True)
        if not self._is_view:
            await self._runtime.close(seconds)

    async def aclose(self, *, grace: Duration = 0) -> None:
        """Close the client: the same as ``close``, for ``contextlib.aclosing`` and the habits of other libraries."""
        await self.close(grace=grace)

    def __reduce__(self) -> Never:
        """Refuse to be pickled.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            f"the client {self._runtime.name!r} cannot be pickled, because its connections belong to this process; "
            "build an APIClient in each process, for example from the same ClientConfig, which can be pickled"
        )

    def __copy__(self) -> Self:
        """Return the client itself: a copy of what refers to it, such as a ``Call``, shares it."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the client itself, like ``__copy__``."""
        return self

    def __repr__(self) -> str:
        base = self._executor.builder.base
        return f"<APIClient {self._runtime.name!r}{'' if base is None else f' at {base}'}>"


def _value(_call: Call[T], value: T, _source: Response | APIError, _replaced: APIError | None = None) -> T:
    return value


def _success(call: Call[T], value: T, source: Response | APIError, replaced: APIError | None = None) -> Outcome[T]:
    return Success(
        value, key=call.key, attempts=source.attempts, elapsed=source.elapsed, history=source.history, replaced=replaced
    )


_VIEW_OPTIONS = frozenset(
    {
        *("timeout", "retry", "hedging", "fallback", "coalesce", "raise_for_status", "max_json_values"),
        *("priority", "headers", "params"),
    }
)
_KEYWORDS = frozenset(APIClient.__init__.__annotations__) - {"return", "unknown"}


def _unknown_keyword(name: str, where: str = "APIClient", known: frozenset[str] = _KEYWORDS) -> ConfigurationError:
    hint = hint_for_client(name)
    if name in OPTION_NAMES:
        hint = f"it is an option of a call: api.request(method, path, {name}=...)"
    elif name in _KEYWORDS:
        hint = f"all views of a client share it: APIClient({name}=...); a view takes {', '.join(sorted(known))}"
    return ConfigurationError(f"{where} has no setting {shorten(name)}; {hint or suggest(name, known)}")
