"""OAuth 2.0 client credentials (RFC 6749 section 4.4): a service that gets its own tokens.

Describes one token request, makes it with an ``APIClient`` and reads the answer. When a token is fetched is the
business of the keeper; no request of the caller passes through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Literal
from urllib.parse import quote_plus

from pydantic import SecretStr
from yarl import URL

from resilient_client._client.client import APIClient
from resilient_client._core.errors import APIError, APIResponseValidationError, APIStatusError, ConfigurationError
from resilient_client._core.protocols import Transport
from resilient_client._core.response import Response
from resilient_client._settings.timeout import Timeout
from resilient_client.auth._bearer import BearerAuth
from resilient_client.auth._secrets import TEXT, checked_secret
from resilient_client.auth._static import basic_credentials
from resilient_client.auth._token import Token

_OURS = frozenset({"grant_type", "client_id", "client_secret", "scope", "audience"})


class OAuth2ClientCredentials(BearerAuth):
    """Gets a token with a client id and secret, and renews it before it expires.

    Near its end one background task renews the token while every call goes on with the one that is still valid; only
    an expired token is waited for. Should the early renewal fail, the old token serves to its end.
    """

    __slots__ = (
        "_client_auth",
        "_client_id",
        "_client_secret",
        "_form",
        "_limit",
        "_token_url",
        "_transport",
    )

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str | SecretStr,
        *,
        scope: str | None = None,
        audience: str | None = None,
        extra: Mapping[str, str] | None = None,
        early_refresh: float = 30.0,
        client_auth: Literal["basic", "post"] = "basic",
        timeout: float = 10.0,
        transport: Transport | None = None,
    ) -> None:
        """Get tokens from ``token_url``.

        Args:
            token_url: The token endpoint; https, or http on this very machine (RFC 6749 section 3.2).
            client_id: Who the service is.
            client_secret: How it proves that.
            scope: Names separated by spaces; ``None``: what the server gives by default.
            audience: What the token is for, where the server wants to be told (no standard parameter).
            extra: Further form fields of the token request.
            early_refresh: Seconds before the token's end at which it is renewed, but never more than half of its
                lifetime.
            client_auth: Whether id and secret travel in a header (``"basic"``, which every server must support,
                RFC 6749 section 2.3.1) or in the body (``"post"``).
            timeout: Seconds for one fetch, its retries included.
            transport: What the token request travels on, closed by whoever made it; ``None``: a connection opened
                and closed for each fetch, which is seldom enough.

        Raises:
            ConfigurationError: One of them cannot be used; secrets are never shown.
        """
        self._token_url = _checked_url(token_url)
        self._client_id = checked_secret(client_id, "OAuth2ClientCredentials.client_id", TEXT)
        self._client_secret = checked_secret(client_secret, "OAuth2ClientCredentials.client_secret", TEXT)
        if client_auth not in ("basic", "post"):
            raise ConfigurationError(
                f"OAuth2ClientCredentials.client_auth is {client_auth!r}, but must be 'basic' or 'post'"
            )
        self._client_auth = client_auth
        if taken := _OURS.intersection(extra or ()):
            raise ConfigurationError(
                f"OAuth2ClientCredentials.extra has {', '.join(sorted(taken))}; use the arguments of that name"
            )
        fields = {"grant_type": "client_credentials", "scope": scope, "audience": audience, **(extra or {})}
        self._form = {
            name: checked_secret(value, f"OAuth2ClientCredentials.{name}", TEXT)
            for name, value in fields.items()
            if value is not None
        }
        self._limit = Timeout(total=timeout)
        self._transport = None if transport is None else _Borrowed(transport)
        # One second more for the keeper: when both run out, the client knows better what happened.
        super().__init__(self._fetch, timeout=timeout + 1.0, early_refresh=early_refresh)

    async def _fetch(self) -> Token:
        try:
            async with APIClient(None, timeout=self._limit, transport=self._transport) as api:
                headers, form = self._credentials()
                reply = await api.post(str(self._token_url), headers=headers, data=form, idempotent=True)
        except APIError as error:
            reason = _refusal(error.response) if isinstance(error, APIStatusError) else error.summary
            error.summary, error.label = f"no token from {self._token_url.origin()}: {reason}", ""
            error.retryable = False  # it had its retries; those of the waiting calls would multiply them
            raise
        return self._read(reply)

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
        """The token in a reply (RFC 6749 section 5.1)."""
        try:
            answer = reply.json()
        except APIResponseValidationError:
            raise self._unfit("it is not JSON") from None
        if not isinstance(answer, dict):
            raise self._unfit("it is no JSON object")
        if str(answer.get("token_type")).lower() != "bearer":
            raise self._unfit("token_type is not 'bearer'")
        try:
            return Token(answer.get("access_token", ""), _lifetime(answer.get("expires_in")))
        except ConfigurationError:
            raise self._unfit("access_token is no text that fits into a header") from None

    def _unfit(self, why: str) -> APIResponseValidationError:
        """Without the reply, whose body is secret."""
        return APIResponseValidationError(f"no token from {self._token_url.origin()}: {why}", detail=why)


class _Borrowed:
    """A transport that stays open when the client of one fetch closes."""

    def __init__(self, transport: Transport) -> None:
        self.send = transport.send

    async def close(self) -> None:
        """Leave that to the owner."""


def _checked_url(text: str) -> URL:
    try:
        url = URL(text)
        host = url.host or ""
    except (TypeError, ValueError):
        raise ConfigurationError(
            "OAuth2ClientCredentials.token_url is no URL; give one such as 'https://...'"
        ) from None
    if not host or url.user or url.password or url.fragment:
        raise ConfigurationError(
            "OAuth2ClientCredentials.token_url must name a host and hold neither user name nor fragment"
        )
    if url.scheme != "https" and not (url.scheme == "http" and _is_this_machine(host)):
        raise ConfigurationError(
            f"OAuth2ClientCredentials.token_url goes to {url.origin()}, but secrets travel over https only"
        )
    return url


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _lifetime(seconds: object) -> float | None:
    """``expires_in`` as a number above 0; ``None`` for whatever else servers send: then a 401 tells."""
    try:
        number = float(seconds) if isinstance(seconds, (int, float, str)) and not isinstance(seconds, bool) else 0.0
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None


def _refusal(reply: Response) -> str:
    """The status and ``error`` (RFC 6749 section 5.2). Not ``error_description``: free text may echo a secret."""
    try:
        answer = reply.json()
    except APIResponseValidationError:
        answer = None
    code = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(code, str):
        return f"status {reply.status}"
    return f"status {reply.status}, error {''.join(c for c in code if ' ' <= c <= '~')[:200]!r}"
