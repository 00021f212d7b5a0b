"""What to write for a keyword or attribute that another HTTP library has.

Only for error messages: the names are what users of requests, httpx, aiohttp and urllib3 type out of habit.
"""

from __future__ import annotations

from typing import Final

_TLS = "connection=ConnectionSettings(tls=...): an ssl.SSLContext, or False to verify nothing"
_PROXY = "connection=ConnectionSettings(proxy='http://user:password@proxy.example:3128')"
_RETRY = "retry=Retry(max_attempts=...), which counts the first attempt, or retry=None"
_POOL = "connection=ConnectionSettings(pool_size=..., pool_size_per_host=...)"
_KEEPALIVE = "connection=ConnectionSettings(keepalive=...)"
_COOKIES = (
    "connection=ConnectionSettings(cookies=True) to keep cookies, or headers={'Cookie': 'name=value'} to send one"
)
_REDIRECTS = "follow_redirects='same-origin' (the default), 'any', or None to follow none"
_HOOKS = "middleware=[...], or api.subscribe(listener)"
_LOGIN = "auth=BasicAuth(user, password)"
_IDLE = "timeout=Timeout(idle=...) for a silent server, timeout=Timeout(attempt=...) for one attempt"
_CONNECT = "timeout=Timeout(connect=...)"

ON_CLIENT: Final = {
    "allow_redirects": _REDIRECTS,
    "redirects": _REDIRECTS,
    "cert": _TLS,
    "ssl": _TLS,
    "ssl_context": _TLS,
    "verify": _TLS,
    "verify_ssl": _TLS,
    "proxies": _PROXY,
    "proxy": _PROXY,
    "proxy_auth": _PROXY,
    "proxy_url": _PROXY,
    "mounts": "connection=ConnectionSettings(proxy=...), or transport=... to replace the wire",
    "trust_env": "connection=ConnectionSettings(trust_env=True)",
    "connector": f"{_POOL}, or session=... with an aiohttp session of your own",
    "limit": _POOL,
    "limit_per_host": _POOL,
    "limits": _POOL,
    "max_connections": _POOL,
    "pool_connections": _POOL,
    "pool_maxsize": _POOL,
    "pool_size": _POOL,
    "keepalive_expiry": _KEEPALIVE,
    "keepalive_timeout": _KEEPALIVE,
    "cookie_jar": _COOKIES,
    "cookies": _COOKIES,
    "event_hooks": _HOOKS,
    "hooks": _HOOKS,
    "trace_configs": _HOOKS,
    "middlewares": "middleware=[...] per call, or attempt_middleware=[...] per attempt",
    "http2": "nothing: this client speaks HTTP/1.1",
    "app": "transport=MockUpstream(), or the URL of a running server",
}
"""Names of settings that belong to a client, with what to write there."""

ANYWHERE: Final = {
    "attempts": _RETRY,
    "max_attempts": _RETRY,
    "max_retries": _RETRY,
    "retry_options": _RETRY,
    "backoff_factor": "retry=Retry(backoff=Backoff(initial=..., max_delay=...))",
    "status_forcelist": "retry=Retry(statuses={...})",
    "connect_timeout": _CONNECT,
    "sock_connect": _CONNECT,
    "read_timeout": _IDLE,
    "sock_read": _IDLE,
    "total_timeout": "timeout=Timeout(total=...)",
    "user_agent": "headers={'User-Agent': ...}",
    "raise_on_error": "raise_for_status=True or False",
}
"""Names of settings that a client, a view and a call may have."""

ON_CALL: Final = {
    "body": "content=... for bytes and text, or json=... for a value",
    "chunked": "content=... with an iterable",
    "form": "data={...}",
    "model": "response_model=...",
    "query": "params={...}",
    "query_params": "params={...}",
    "response_class": "response_model=...",
    "response_type": "response_model=...",
    "stream": "async with api.stream(method, path) as response",
    "url_params": "path_params={...}",
}
"""Names of options that a call has."""

CREDENTIALS: Final = {
    "api_key": "auth=APIKeyAuth(key)",
    "bearer": "auth=BearerAuth(token)",
    "login": _LOGIN,
    "password": _LOGIN,
    "token": "auth=BearerAuth(token)",
    "username": _LOGIN,
}
"""Names of credentials, which a client has in one place."""

CLIENT_ONLY: Final = frozenset(
    {
        "attempt_middleware",
        "auth",
        "base_url",
        "bulkhead",
        "circuit_breaker",
        "config",
        "connection",
        "follow_redirects",
        "load_balancing",
        "max_redirects",
        "middleware",
        "name",
        "rate_limit",
        "retry_budget",
        "rng",
        "session",
        "transport",
    }
)
"""The keywords of a client that neither a view nor a call has."""

RESPONSE: Final = {
    "aread": "response.content, which is read already",
    "body": "response.content",
    "cookies": "response.headers.getall('Set-Cookie')",
    "charset": "response.headers['Content-Type']",
    "data": "response.json()",
    "encoding": "response.headers['Content-Type']",
    "iter_bytes": "async with api.stream(method, path) as response",
    "iter_content": "async with api.stream(method, path) as response",
    "iter_lines": "async with api.stream(method, path) as response",
    "is_error": "response.status >= 400",
    "is_success": "response.status < 400",
    "raise_for_status": "nothing: a 4xx or 5xx status raises, unless the call has raise_for_status=False",
    "read": "response.content, which is read already",
    "reason": "http.HTTPStatus(response.status).phrase",
    "reason_phrase": "http.HTTPStatus(response.status).phrase",
    "release": "nothing: the body is read, and its connection is free",
    "status_code": "response.status",
}
"""Attributes of the responses of other libraries."""


def hint_for_client(name: str) -> str | None:
    """What to write on a client, or ``None`` if no library has that name."""
    text = ON_CLIENT.get(name) or ANYWHERE.get(name) or CREDENTIALS.get(name)
    return None if text is None else f"write {text}"


def hint_for_call(name: str) -> str | None:
    """What to write in a call, or on its client where only that has such a setting, or ``None``."""
    if (text := ON_CALL.get(name) or ANYWHERE.get(name)) is not None:
        return f"write {text}"
    text = ON_CLIENT.get(name) or CREDENTIALS.get(name) or (f"{name}=..." if name in CLIENT_ONLY else None)
    return None if text is None else f"it is a setting of the client: {text}"
