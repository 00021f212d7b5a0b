import asyncio
import json
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import pytest
from tests.unit.auth.support import CANARY, Upstream, others, reply_to, request_to

from resilient_client._core.errors import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    InternalServerError,
)
from resilient_client._core.kinds import Stage
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._middleware.auth import AuthMiddleware
from resilient_client.auth import BasicAuth, OAuth2ClientCredentials
from resilient_client.testing._virtual_time import run_virtual

URL = "https://id.example.com/token"


class TokenEndpoint:
    """A transport that answers token requests with t1, t2 ..., or with ``answer``."""

    def __init__(self, answer: Mapping[str, object] | bytes | None = None, *, status: int = 200) -> None:
        self.answer = answer
        self.status = status
        self.seen: list[Request] = []
        self.closed = False

    async def send(self, request: Request) -> Response:
        self.seen.append(request)
        await asyncio.sleep(0.1)
        answer = self.answer
        if answer is None:
            answer = {"access_token": f"t{len(self.seen)}", "token_type": "Bearer", "expires_in": 3600}
        return reply_to(request, self.status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    async def close(self) -> None:
        self.closed = True

    @property
    def form(self) -> dict[str, str]:
        """The form of the last request."""
        body = self.seen[-1].body
        assert body is not None
        return dict(parse_qsl(body.source.decode()))


def auth_at(endpoint: TokenEndpoint, **options: Any) -> OAuth2ClientCredentials:
    """Credentials with a secret that must not be shown anywhere."""
    return OAuth2ClientCredentials(URL, "me", CANARY, transport=endpoint, **options)


def failure_of(endpoint: TokenEndpoint, **options: Any) -> APIError:
    """The error of a call that needs a token from ``endpoint``."""

    async def main() -> None:
        await AuthMiddleware(auth_at(endpoint, **options))(request_to(), Upstream())

    with pytest.raises(APIError) as caught:
        run_virtual(main())
    return caught.value


def test_first_calls_share_one_fetch() -> None:
    """The token endpoint gets one request for all calls, no task is left, and the caller's transport stays open."""
    endpoint, upstream = TokenEndpoint(), Upstream("Bearer t1")

    async def main() -> None:
        link = AuthMiddleware(auth_at(endpoint))
        replies = await asyncio.gather(*(link(request_to(), upstream) for _ in range(100)))
        assert {reply.status for reply in replies} == {200}
        assert not others()

    run_virtual(main())
    assert len(endpoint.seen) == 1
    assert not endpoint.closed


def test_401_fetches_another_token() -> None:
    """A revoked token is replaced once for all calls that got the 401."""
    endpoint, upstream = TokenEndpoint(), Upstream("Bearer t2")

    async def main() -> None:
        link = AuthMiddleware(auth_at(endpoint))
        replies = await asyncio.gather(*(link(request_to(), upstream) for _ in range(100)))
        assert {reply.status for reply in replies} == {200}

    run_virtual(main())
    assert len(endpoint.seen) == 2


def test_token_request_follows_rfc_6749() -> None:
    """By default id and secret are sent form-encoded in a Basic header (RFC 6749 sections 2.3.1 and 4.4.2)."""
    endpoint = TokenEndpoint()
    auth = OAuth2ClientCredentials(
        URL, "me:1", "a b%", scope="read write", audience="orders", extra={"tenant": "7"}, transport=endpoint
    )
    run_virtual(auth.apply(request_to()))
    expected = request_to()
    asyncio.run(BasicAuth("me%3A1", "a+b%25").apply(expected))
    request = endpoint.seen[0]
    assert (request.method, str(request.url)) == ("POST", URL)
    assert request.headers["Authorization"] == expected.headers["Authorization"]
    assert endpoint.form == {
        "grant_type": "client_credentials",
        "scope": "read write",
        "audience": "orders",
        "tenant": "7",
    }


def test_client_auth_post_sends_secret_in_body() -> None:
    """The alternative of RFC 6749 section 2.3.1."""
    endpoint = TokenEndpoint()
    run_virtual(auth_at(endpoint, client_auth="post").apply(request_to()))
    assert "Authorization" not in endpoint.seen[0].headers
    assert endpoint.form == {"grant_type": "client_credentials", "client_id": "me", "client_secret": CANARY}


@pytest.mark.parametrize(
    ("expires_in", "fetches"),
    [
        *[(3600, 2), ("3600", 2), (None, 1), ("soon", 1), (0, 1), (-1, 1), (True, 1), (float("inf"), 1)],
        *[(float("nan"), 1), (10**400, 1), (-(10**400), 1), ("9" * 5000, 1), ("1e400", 1), ([3600], 1), ({}, 1)],
        (1e308, 1),
    ],
)
def test_lifetime_is_read_leniently(expires_in: object, fetches: int) -> None:
    """A token whose lifetime cannot be read is kept until a 401."""
    endpoint = TokenEndpoint({"access_token": "t", "token_type": "bearer", "expires_in": expires_in})

    async def main() -> None:
        auth = auth_at(endpoint)
        await auth.apply(request_to())
        await asyncio.sleep(3601)
        await auth.apply(request_to())

    run_virtual(main())
    assert len(endpoint.seen) == fetches


def test_client_refused_error_has_endpoint_and_code() -> None:
    """The error has the endpoint and the OAuth error code, but no free text of the server."""
    answer = {"error": "invalid_client\n", "error_description": f"wrong secret {CANARY}"}
    error = failure_of(TokenEndpoint(answer, status=401))
    assert isinstance(error, AuthenticationError)
    assert str(error) == "no token from https://id.example.com: status 401, error 'invalid_client'"
    assert (error.stage, error.maybe_processed) == (Stage.LOCAL, False)


def test_token_endpoint_failing_is_retried_once() -> None:
    """The fetch has its own retries. The waiting call does not repeat them."""
    endpoint = TokenEndpoint(b"oops", status=503)
    error = failure_of(endpoint)
    assert isinstance(error, InternalServerError)
    assert not error.retryable
    assert len(endpoint.seen) == 3


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not a JSON object"),
        ({"access_token": CANARY}, "token_type"),
        ({"access_token": CANARY, "token_type": "mac"}, "token_type"),
        ({"token_type": "bearer"}, "access_token"),
        ({"access_token": f"{CANARY}\r\n", "token_type": "bearer"}, "access_token"),
        ({"access_token": 7, "token_type": "bearer"}, "access_token"),
    ],
)
def test_token_answer_invalid_is_refused(answer: Mapping[str, object] | bytes, why: str) -> None:
    """The error says what is wrong with the reply, and does not show its content."""
    error = failure_of(TokenEndpoint(answer))
    assert isinstance(error, APIResponseValidationError)
    assert why in str(error)
    assert CANARY not in str(error)
    assert error.response is None


@pytest.mark.parametrize("error", ["invalid_client\n", "bad_verification_code"])
def test_refusal_with_status_200_has_code(error: str) -> None:
    """Some servers, GitHub among them, refuse with a 200. The error has the code, but no free text of the server."""
    answer = {"error": error, "error_description": f"wrong secret {CANARY}"}
    refused = failure_of(TokenEndpoint(answer))
    assert isinstance(refused, APIResponseValidationError)
    assert str(refused) == f"no token from https://id.example.com: status 200, error {error.strip()!r}"


@pytest.mark.parametrize("client_auth", ["basic", "post"])
@pytest.mark.parametrize("status", [200, 400, 503])
def test_failure_shows_no_secret(status: int, client_auth: str) -> None:
    """The secret is neither in the error nor in its traceback with locals."""
    error = failure_of(TokenEndpoint(b"{}", status=status), client_auth=client_auth)
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert CANARY not in f"{''.join(trace.format())}{error!r}{error.detail}"
    assert error.__context__ is None
    if isinstance(error, APIStatusError):
        assert CANARY not in repr(error.response)


def test_repr_shows_no_secret() -> None:
    """``repr`` shows the class only."""
    assert repr(auth_at(TokenEndpoint())) == "OAuth2ClientCredentials('***')"


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com/token",
        "http://localhost.example.com/token",
        "ftp://localhost/token",
        "https://me:pw@id.example.com/token",
        "https://id.example.com/token#here",
        "https://id.example.com/token#",
        "/token",
        "https://[/token",
        "",
    ],
)
def test_token_url_unsafe_or_invalid_is_refused(url: str) -> None:
    """Secrets are sent over https, or stay on this machine."""
    with pytest.raises(ConfigurationError, match="token_url"):
        OAuth2ClientCredentials(url, "me", CANARY)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080"])
def test_token_url_http_on_loopback_is_allowed(host: str) -> None:
    """A token endpoint on this machine, such as a sidecar or a test server, needs no TLS."""
    OAuth2ClientCredentials(f"http://{host}/token", "me", CANARY)


@pytest.mark.parametrize(
    "options",
    [
        {"client_secret": f"{CANARY}\n"},
        {"client_id": f"{CANARY}\r"},
        {"client_auth": "jwt"},
        {"extra": {"client_secret": CANARY}},
        {"scope": ["read", "write"]},
        {"extra": 3},
    ],
)
def test_setting_invalid_is_refused(options: dict[str, Any]) -> None:
    """Mistakes are reported at construction, without a secret."""
    with pytest.raises(ConfigurationError) as caught:
        OAuth2ClientCredentials(**{"token_url": URL, "client_id": "me", "client_secret": "x", **options})
    assert CANARY not in str(caught.value)
