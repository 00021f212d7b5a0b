"""How connections are made and kept."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import ConfigDict, Field, SecretStr, field_validator

from resilient_client._settings.base import PositiveSeconds, Seconds, Settings


class ConnectionSettings(Settings):
    """The connection pool and the wire. Applies only to a session that the client creates."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    _secrets = frozenset({"proxy"})

    pool_size: Annotated[int, Field(ge=0)] = 100
    """Connections at once, idle ones included: the oldest idle one makes room for a new one. 0: no limit."""
    pool_size_per_host: Annotated[int, Field(ge=0)] = 0
    """Connections at once to one endpoint. 0: no limit other than ``pool_size``."""
    keepalive: Seconds = 15.0
    """Seconds an idle connection is kept for reuse. 0: each request opens and closes its own. Keep it below the
    server's own time, or reused connections turn out to be closed."""
    dns_ttl: PositiveSeconds | None = 10.0
    """Seconds a resolved name is kept. ``None``: resolve for every new connection; concurrent lookups are shared."""
    tls: ssl.SSLContext | bool = True
    """``True``: verify against the system's authorities; an ``SSLContext``; ``False``: verify nothing (for tests)."""
    proxy: SecretStr | None = None
    """The URL of an HTTP proxy. A secret, because it may hold credentials."""
    trust_env: bool = False
    """Whether proxies and credentials are read from the environment and ``.netrc``. An ``Authorization`` header or the
    auth of a call takes precedence over the ``.netrc``."""
    cookies: bool = False
    """Whether cookies are kept between calls, and sent back to their host as they came (RFC 6265)."""
    max_response_size: Annotated[int, Field(gt=0)] | None = 64 * 1024 * 1024
    """Bytes of a body after decompression. ``None``: no limit. A streamed body has no limit."""
    max_field_size: Annotated[int, Field(gt=0)] = 8190
    """Bytes of one header field of a reply, and of its status line. A larger one is a ``ResponseTooLargeError``."""
    max_headers: Annotated[int, Field(gt=0)] = 128
    """Header fields of a reply. More are a ``ResponseTooLargeError``."""
    aiohttp_middlewares: tuple[Callable[..., Any], ...] = ()
    """aiohttp client middlewares, passed to the session. Each of them sees every wire request."""

    @field_validator("proxy")
    @classmethod
    def _check_proxy_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("the proxy must be an http:// or https:// URL, such as 'http://proxy.example:3128'")
        return value
