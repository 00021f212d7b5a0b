"""Checks of the objects that a client is built from, so that a wrong one fails here and not in the first call."""

from __future__ import annotations

import inspect
import random
from collections.abc import Sequence
from types import GenericAlias

from yarl import URL

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.events import Event
from resilient_client._core.listeners import Listener
from resilient_client._core.protocols import Auth, Middleware, Transport
from resilient_client._core.randomness import new_generator
from resilient_client._core.validation import accepts, has_methods, is_async, kind_of, shorten
from resilient_client._policies.http.urls import parse_base, parse_endpoints
from resilient_client._settings.config import ClientConfig


def checked_auth(auth: Auth | None) -> Auth | None:
    """Return an auth object, or ``None``.

    Raises:
        ConfigurationError: The value is something else, such as a bare token or a class.
    """
    if auth is None or has_methods(auth, "apply", "refresh"):
        return auth
    raise ConfigurationError(
        f"auth is {kind_of(auth)}; give BearerAuth(token), BasicAuth(user, password) or your own Auth"
    )


def checked_middlewares(name: str, value: Sequence[Middleware]) -> tuple[Middleware, ...]:
    """Return the middlewares, in order.

    Args:
        name: The argument's name, for the error message.
        value: The argument.

    Raises:
        ConfigurationError: The value is not a list or tuple, or one of its items cannot be a middleware.
    """
    given: object = value
    if not isinstance(given, (list, tuple)):
        raise ConfigurationError(f"{name} is {kind_of(given)}; give a list of async functions (request, call_next)")
    for index, each in enumerate(given):
        if fault := _middleware_fault(each):
            raise ConfigurationError(f"{name}[{index}] {fault}; give a list of async functions (request, call_next)")
    return tuple(given[:])


def _middleware_fault(middleware: object) -> str:
    """Why an object cannot be a middleware; ``""`` if it can."""
    if isinstance(middleware, (type, GenericAlias)) or not callable(middleware):
        return f"is {kind_of(middleware)}"
    called = getattr(type(middleware), "__call__", None)  # noqa: B004 - the method itself, to see how it is declared
    for function in (middleware, called):
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            return "yields, where a middleware awaits call_next(request) and returns its response"
    if not accepts(middleware, 2):
        return "cannot be called with a request and the next handler"
    return ""


def checked_event_types(types: tuple[object, ...]) -> tuple[type[Event], ...]:
    """Return the types of event that a listener wants.

    Raises:
        ConfigurationError: One of them is not a class of events.
    """
    for each in types:
        if not (isinstance(each, type) and issubclass(each, Event)):
            shown = repr(each.__name__) if isinstance(each, type) else kind_of(each)
            raise ConfigurationError(
                f"the type of event is {shown}; give classes of resilient_client.events, such as CallFinished, "
                "or none for all events"
            )
    return types  # type: ignore[return-value]  # checked one by one


def checked_listener(listener: Listener) -> Listener:
    """Return a listener of events.

    Raises:
        ConfigurationError: It cannot be called with an event, or would have to be awaited.
    """
    if not callable(listener) or isinstance(listener, type):
        raise ConfigurationError(f"the listener is {kind_of(listener)}; give a function of one event")
    if is_async(listener):
        raise ConfigurationError(
            "the listener is async, but is not awaited; give a plain function, such as queue.put_nowait"
        )
    if not accepts(listener, 1):
        raise ConfigurationError("the listener cannot be called with one event; give a function of one event")
    return listener


def checked_transport(transport: Transport | None) -> Transport | None:
    """Return a transport, or ``None``.

    Raises:
        ConfigurationError: The value has no ``send`` or no ``close``.
    """
    if transport is None or has_methods(transport, "send", "close"):
        return transport
    raise ConfigurationError(f"transport is {kind_of(transport)}; give an object with send and close, or leave it out")


def checked_config(config: ClientConfig | None) -> ClientConfig | None:
    """Return a config, or ``None``.

    Raises:
        ConfigurationError: The value is something else.
    """
    if config is None or issubclass(type(config), ClientConfig):  # isinstance() of pydantic reads an attribute of it
        return config
    raise ConfigurationError(f"config is {kind_of(config)}; give ClientConfig(...) or leave it out")


def checked_base(base_url: str | Sequence[str] | None, settings: ClientConfig) -> tuple[URL | None, tuple[URL, ...]]:
    """Return the base URL, and all base URLs that an attempt may choose from.

    The second value is empty for a single base URL, unless its endpoints are resolved again while the client runs. The
    base URL is ``None`` if there is none, or else the first one.

    Raises:
        ConfigurationError: A URL is wrong, the list is empty, its URLs do not agree, or there is nothing to resolve.
    """
    resolved = settings.load_balancing.resolve is not None
    if base_url is None:
        if resolved:
            raise ConfigurationError("LoadBalancing.resolve needs endpoints to begin with; give a list of base URLs")
        return None, ()
    if isinstance(base_url, str) and not resolved:
        return parse_base(base_url), ()
    base_urls = parse_endpoints((base_url,) if isinstance(base_url, str) else base_url)
    return base_urls[0], base_urls


def checked_rng(rng: random.Random | None) -> random.Random:
    """Return a random generator, a new one for ``None``, which a fork does not repeat.

    Raises:
        ConfigurationError: The value is something else, such as a seed.
    """
    if rng is None:
        return new_generator()
    if isinstance(rng, random.Random):
        return rng
    raise ConfigurationError(f"rng is {kind_of(rng)}; give random.Random(seed) or leave it out")


def checked_name(name: str | None, default: str | None) -> str:
    """Return the name of a client: ``name``, or else ``default``, or else ``"client"``.

    Raises:
        ConfigurationError: The name is not text, or is empty.
    """
    if name is None or (isinstance(name, str) and name):
        return name or default or "client"
    raise ConfigurationError(f"name is {shorten(name)}; give a text that is not empty, or leave it out")
