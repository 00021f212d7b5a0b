"""The objects a client is built from, checked: what is of the wrong kind is found here, not in the first call."""

from __future__ import annotations

import random
from collections.abc import Sequence

from yarl import URL

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.protocols import Auth, Middleware, Transport
from resilient_client._core.validation import kind_of, shorten
from resilient_client._policies.http.urls import parse_base, parse_endpoints
from resilient_client._settings.config import ClientConfig


def checked_auth(auth: Auth | None) -> Auth | None:
    """An auth object, or none.

    Raises:
        ConfigurationError: It is something else, such as a bare token or a class.
    """
    whole = callable(getattr(auth, "apply", None)) and callable(getattr(auth, "refresh", None))
    if auth is None or (whole and not isinstance(auth, type)):
        return auth
    raise ConfigurationError(
        f"auth is {kind_of(auth)}; give BearerAuth(token), BasicAuth(user, password) or your own Auth"
    )


def checked_middlewares(what: str, given: Sequence[Middleware]) -> tuple[Middleware, ...]:
    """Middlewares, in order.

    Raises:
        ConfigurationError: It is no sequence, or something in it cannot be called.
    """
    if isinstance(given, (list, tuple)) and all(callable(each) and not isinstance(each, type) for each in given):
        return tuple(given)
    raise ConfigurationError(f"{what} is {kind_of(given)}; give a list of async functions (request, call_next)")


def checked_transport(transport: Transport | None) -> Transport | None:
    """A transport, or none.

    Raises:
        ConfigurationError: It cannot send or be closed.
    """
    if transport is None or (hasattr(transport, "send") and hasattr(transport, "close")):
        return transport
    raise ConfigurationError(f"transport is {kind_of(transport)}; give an object with send and close, or leave it out")


def checked_config(config: ClientConfig | None) -> ClientConfig | None:
    """A config, or none.

    Raises:
        ConfigurationError: It is something else.
    """
    if config is None or isinstance(config, ClientConfig):
        return config
    raise ConfigurationError(f"config is {kind_of(config)}; give ClientConfig(...) or leave it out")


def checked_base(base_url: str | Sequence[str] | None, settings: ClientConfig) -> tuple[URL | None, tuple[URL, ...]]:
    """The base URL, and all of them where each attempt picks one: of a list, or of what is resolved anew.

    Raises:
        ConfigurationError: One is wrong, there is none in the list, or they do not agree.
    """
    resolved = settings.load_balancing.resolve is not None
    if base_url is None:
        if resolved:
            raise ConfigurationError("LoadBalancing.resolve needs endpoints to begin with; give a list of base URLs")
        return None, ()
    if isinstance(base_url, str) and not resolved:
        return parse_base(base_url), ()
    several = parse_endpoints((base_url,) if isinstance(base_url, str) else base_url)
    return several[0], several


def checked_rng(rng: random.Random | None) -> random.Random:
    """A source of chance, a new one if none is given.

    Raises:
        ConfigurationError: It is something else, such as a seed.
    """
    if rng is None:
        return random.Random()
    if isinstance(rng, random.Random):
        return rng
    raise ConfigurationError(f"rng is {kind_of(rng)}; give random.Random(seed) or leave it out")


def checked_name(name: str | None, otherwise: str | None) -> str:
    """The name of a client.

    Raises:
        ConfigurationError: It is no text.
    """
    if name is None or (isinstance(name, str) and name):
        return name or otherwise or "client"
    raise ConfigurationError(f"name is {shorten(name)}; give a text that is not empty, or leave it out")
