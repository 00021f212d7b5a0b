"""OAuth 2.0 client credentials (RFC 6749 section 4.4): a service gets its own tokens.

Builds one token request, sends it with an ``APIClient`` and reads the answer. The token keeper decides when. No request
of the caller passes through this module.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Literal
from urllib.parse import quote_plus

from pydantic import SecretStr
from yarl import URL

from resilient_client._client.client import APIClient
from resilient_client._core.call import Call
from resilient_client._core.errors import APIError, APIResponseValidationError, APIStatusError, ConfigurationError
from resilient_client._core.frames import forgets_arguments
from resilient_client._core.protocols import Transport
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_duration, check_mapping, has_methods, kind_of, shorten
from resilient_client._policies.http.urls import parse_url
from resilient_client._settings.connection import ConnectionSettings
from resilient_client._settings.timeout import Timeout
from resilient_client._transport import AiohttpTransport
from resilient_client.auth._bearer import BearerAuth
from resilient_client.auth._secrets import TEXT, check_secret
from resilient_client.auth._static import basic_credentials
from resilient_client.auth._token import Token

_RESERVED_FIELDS = frozenset({"grant_type", "client_id", "client_secret", "scope", "audience"})


class OAuth2ClientCredentials(BearerAuth):
    """Gets a token with a client id and secret, and renews it before it expires.

    Shortly before expiry one background task renews the token, while calls use the one that is still valid. Calls wait
    only when the token has expired. If the early renewal fails, the old token is used until it expires.

    The circuit and the retry budget of the token endpoint live as long as this object, for all clients and event loops
    that share it, and a failed fetch is kept for a second. So a token endpoint that is down gets about one request per
    second, as any other upstream does. There is nothing to close: each token request opens and closes a connection.
    """

    __slots__ = (
        "_api",
        "_client_auth",
        "_client_id",
        "_client_secret",
        "_form",
        "_timeout",
        "_token_url",
        "_transport",
        "_used_at",
    )

    @forgets_arguments
    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str | SecretStr,
        *,
        scope: str | None = None,
        audience: str | None = None,
        extra: Mapping[str, str] | None = None,
        early_refresh: Duration = 30.0,
        client_auth: Literal["basic", "post"] = "basic",
        timeout: Duration = 10.0,
        transport: Transport | None = None,
    ) -> None:
        """Get tokens from ``token_url``.

        Args:
            token_url: The token endpoint: https, or http on this machine (RFC 6749 section 3.2).
            client_id: The client identifier of the service.
            client_secret: The secret of the service.
            scope: Scope names separated by spaces. With ``None`` the server's default applies.
            audience: The API that the token is for, if the server needs it (not a standard parameter).
            extra: Further form fields of the token request.
            early_refresh: How long before expiry the token is renewed, 0 or more, but never more than half of its
                lifetime.
            client_auth: Whether id and secret are sent in a header (``"basic"``, which every server must support,
                RFC 6749 section 2.3.1) or in the body (``"post"``).
            timeout: How long one fetch with its retries may take, above 0.
            transport: The transport for token requests. Its owner closes it. With ``None`` each token request opens
                and closes a connection of its own, since they are rare.

        Raises:
            ConfigurationError: An argument cannot be used. The message never shows a secret.
        """
        self._token_url = _check_url(token_url)
        self._client_id = check_secret(client_id, "OAuth2ClientCredentials.client_id", TEXT)
        self._client_secret = check_secret(client_secret, "OAuth2ClientCredentials.client_secret", TEXT)
        if not isinstance(client_auth, str) or client_auth not in ("basic", "post"):
            raise ConfigurationError(
                f"OAuth2ClientCredentials.client_auth is {shorten(client_auth)}, but must be 'basic' or 'post'"
            )
        self._client_auth = client_auth
        further = {} if extra is None else check_mapping("OAuth2ClientCredentials.extra", extra, ConfigurationError)
        if unnamed := [name for name in further if not isinstance(name, str)]:
            raise ConfigurationError(
                f"OAuth2ClientCredentials.extra has the name {shorten(unnamed[0])}; names are text"
            )
        if reserved := _RESERVED_FIELDS.intersection(further):
            raise ConfigurationError(
                f"OAuth2ClientCredentials.extra has {', '.join(sorted(reserved))}; use the arguments of that name"
            )
        fields = {"grant_type": "client_credentials", "scope": scope, "audience": audience, **further}
        self._form = {
            name: check_secret(value, f"OAuth2ClientCredentials.{name}", TEXT)
            for name, value in fields.items()
            if value is not None
        }
        seconds = check_duration("OAuth2ClientCredentials.timeout", timeout)
        self._timeout = Timeout(total=seconds)
        if transport is not None and not has_methods(transport, "send", "close"):
            raise ConfigurationError(
                f"OAuth2ClientCredentials.transport is {kind_of(transport)}; give an object with send and close"
            )
        self._transport = _UnsharedConnections() if transport is None else transport
        self._api: APIClient | None = None
        self._used_at = -math.inf
        # The keeper gets one second more, so that the client's timeout fires first: its error has more detail.
        super().__init__(self._fetch, timeout=seconds + 1.0, early_refresh=early_refresh)

    async def _fetch(self) -> Token:
        try:
            reply = await self._client().send(self._token_call())
        except APIError as error:
            reason = _refusal(error.response) if isinstance(error, APIStatusError) else error.summary
            error.summary, error.label = f"no token from {self._token_url.origin()}: {reason}", ""
            error.retryable = False  # retried here already, which each waiting call would multiply
            raise
        return self._read(reply)

    def _client(self) -> APIClient:
        """A client for one fetch on the running loop. All of them share one circuit and one retry budget."""
        now = asyncio.get_running_loop().time()
        # An open circuit would stay open if the clock of this loop is far behind that of the last one (virtual time).
        if self._api is None or now < self._used_at - 1.0:
            self._api = APIClient(None, timeout=self._timeout, transport=self._transport)
        self._used_at = now
        return self._api._unbound()

    def _token_call(self) -> Call[Response]:
        """The token request. A ``Call`` does not show its options, where frames of this module would show theirs."""
        headers, form = self._credentials()
        return Call.post(str(self._token_url), headers=headers, data=form, idempotent=True)

    def _credentials(self) -> tuple[dict[str, str], dict[str, str]]:
        """The headers and the form of the token request (RFC 6749 sections 2.3.1 and 4.4.2)."""
        form = {name: value.get_secret_value() for name, value in self._form.items()}
        client_id, client_secret = self._client_id.get_secret_value(), self._client_secret.get_secret_value()
        headers = {"Accept": "application/json"}
        if self._client_auth == "post":
            return headers, form | {"client_id": client_id, "client_secret": client_secret}
        basic = basic_credentials(SecretStr(quote_plus(client_id)), SecretStr(quote_plus(client_secret)))
        return headers | {"Authorization": basic.get_secret_value()}, form

    def _read(self, reply: Response) -> Token:
        """The token in a reply. The error for a reply without one does not hold it, because its body is secret."""
        token = _token_or_reason(reply)
        if isinstance(token, str):
            raise APIResponseValidationError(f"no token from {self._token_url.origin()}: {token}", detail=token)
        return token


class _UnsharedConnections:
    """A transport that opens and closes a connection for each request.

    It belongs to no event loop, so the auth object may be used on any number of them and needs no closing.
    """

    async def send(self, request: Request) -> Response:
        """Send one request."""
        transport = AiohttpTransport(ConnectionSettings(keepalive=0))
        try:
            return await transport.send(request)
        finally:
            await transport.close()

    async def close(self) -> None:
        """Do nothing: no connection outlives its request."""


def _check_url(text: str) -> URL:
    try:
        url = parse_url(text)
        host = url.host or ""
    except (TypeError, ValueError):
        raise ConfigurationError(
            "OAuth2ClientCredentials.token_url is not a URL; give one such as 'https://...'"
        ) from None
    if not host or url.user or url.password or "#" in text:
        raise ConfigurationError(
            "OAuth2ClientCredentials.token_url must have a host, and neither a user name nor a fragment"
        )
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(host)):
        raise ConfigurationError(
            f"OAuth2ClientCredentials.token_url is at {url.origin()}, but secrets are sent over https only"
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _token_or_reason(reply: Response) -> Token | str:
    """The token in a reply (RFC 6749 section 5.1), or why there is none: no frame that raises holds the answer."""
    try:
        answer = reply.json()
    except APIResponseValidationError:
        return "it is not JSON"
    if not isinstance(answer, dict):
        return "it is not a JSON object"
    if "access_token" not in answer and isinstance(answer.get("error"), str):  # GitHub refuses with a 200
        return _refusal(reply)
    if str(answer.get("token_type")).lower() != "bearer":
        return "token_type is not 'bearer'"
    try:
        return Token(answer.get("access_token", ""), _lifetime(answer.get("expires_in")))
    except ConfigurationError:
        return "access_token is not a text that fits into a header"


def _lifetime(seconds: object) -> float | None:
    """``expires_in`` as a number above 0. ``None`` for anything else that servers send: a 401 ends such a token."""
    try:
        number = float(seconds) if isinstance(seconds, (int, float, str)) and not isinstance(seconds, bool) else 0.0
    except (ValueError, OverflowError):  # the latter for an int of more than 308 digits
        return None
    return number if 0 < number < float("inf") else None


def _refusal(reply: Response) -> str:
    """The status and ``error`` (RFC 6749 section 5.2), without ``error_description``: free text may echo a secret."""
    try:
        answer = reply.json()
    except APIResponseValidationError:
        answer = None
    code = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(code, str):
        return f"status {reply.status}"
    return f"status {reply.status}, error {''.join(c for c in code if ' ' <= c <= '~')[:200]!r}"
