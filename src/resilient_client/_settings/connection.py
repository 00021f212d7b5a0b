"""How connections are made and kept."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import ConfigDict, Field, SecretStr, field_validator

from resilient_client._settings.base import PositiveSeconds, Seconds, Settings


class ConnectionSettings(Settings):
    """The connection pool and the wire. Applies to a session the client makes itself."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    pool_size: Annotated[int, Field(ge=0)] = 100
    """Connections at once; 0 means no limit."""
    pool_size_per_host: Annotated[int, Field(ge=0)] = 0
    """Connections at once to one endpoint; 0 means no limit beyond ``pool_size``."""
    keepalive: Seconds = 15.0
    """Seconds an idle connection is kept for reuse; 0: each request makes its own, and closes it. Keep it below the
    server's own, or reuse meets closed ones."""
    dns_ttl: PositiveSeconds | None = 10.0
    """Seconds a resolved name is kept; ``None``: resolve for every new connection."""
    tls: ssl.SSLContext | bool = True
    """``True``: verify against the system's authorities; a context of your own; ``False``: verify nothing (tests)."""
    proxy: SecretStr | None = None
    """The URL of an HTTP proxy; secret, because it may hold credentials."""
    trust_env: bool = False
    """Whether proxies and credentials are taken from the environment and ``.netrc``."""
    cookies: bool = False
    """Whether cookies are kept between calls."""
    max_response_size: Annotated[int, Field(gt=0)] | None = 64 * 1024 * 1024
    """Bytes of a body after decompression; ``None``: no limit. A streamed body has no limit."""
    aiohttp_middlewares: tuple[Callable[..., Any], ...] = ()
    """aiohttp client middlewares, handed through to the wire; they see each wire request."""

    @field_validator("proxy")
    @classmethod
    def _proxy_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("the proxy must be an http:// or https:// URL, such as 'http://proxy.example:3128'")
        return value
